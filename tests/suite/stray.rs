//! Signals that do not tell of a message, and what a starter may have done to the signals that the
//! program needs.

use crate::support::tracer::*;
use crate::support::*;

fn hello(scratch: &Scratch) -> Command {
    scratch.sigshm(["Hello, world"])
}

#[test]
fn stray_signals_at_any_step_do_nothing_and_are_not_taken_for_the_message() {
    needs!(can_trace());
    // Those that end nothing by default all at once, so that every third step is enough. An odd
    // number, so that entries as well as exits of system calls are among them.
    let harmless = [SIGCHLD, SIGCONT, SIGURG, SIGWINCH];
    for (signals, target, side, stride) in [
        (&[SIGUSR1][..], Target::Group, Side::Child, 1),
        (&[SIGUSR1], Target::Listener, Side::Parent, 1),
        (&[SIGUSR1], Target::Parent, Side::Parent, 1),
        (&harmless, Target::Group, Side::Parent, 3),
        (&harmless, Target::Group, Side::Child, 3),
    ] {
        println!("{signals:?} to the {target:?}:"); // Shown if the test fails.
        at_steps(side, (0..).step_by(stride), hello, |_, _, frozen| {
            for &signal in signals {
                target.send(signal, frozen.parent(), frozen.living_listener());
            }
            frozen.release().finish_hello();
        });
    }
}

/// Sends a SIGUSR1, and waits until the listener has taken it.
fn send_and_see_it_taken(listener: Pid) {
    kill(listener, SIGUSR1).unwrap();
    wait_until("the signal is taken", || !is_pending(listener));
}

#[test]
fn strays_one_by_one_are_looked_into_and_none_is_taken_for_the_message() {
    needs!(can_trace());
    let scratch = Scratch::new();
    // The segment is there, without a message, and nobody is attached.
    let released = start_and_stop_parent(&mut hello(&scratch));
    let listener = released.listener().unwrap();
    // A thousand as fast as they are taken, and some that wake it from its sleep.
    for count in [1000, 1, 1, 1] {
        for _ in 0..count {
            send_and_see_it_taken(listener);
        }
        released.until_listener_sleeps();
    }
    // The parent goes on. The message arrives, and nothing else was taken for it meanwhile.
    let printed = released.printed();
    assert!(printed.ends_with("text:Hello, world.\x1b[0m\n"), "{printed}");
    kill(released.parent(), SIGCONT).unwrap();
    released.finish_hello();
}

#[test]
fn a_stray_does_not_deliver_what_a_dead_run_has_left() {
    needs!(can_trace());
    let scratch = Scratch::new();
    // A message that lies in shared memory, and nobody has been told.
    let point = Point::Call(Side::Parent, libc::SYS_kill);
    let frozen = freeze(&mut scratch.sigshm(["an old message"]), point).unwrap();
    kill(frozen.parent(), SIGKILL).unwrap();
    frozen.release().finish(TIMEOUT);
    let old = scratch.segments().pop().expect("it is left");

    // The parent has just learned that there is a segment.
    let released = start_and_stop_parent(&mut hello(&scratch));
    let listener = released.listener().unwrap();
    for _ in 0..3 {
        send_and_see_it_taken(listener);
        released.until_listener_sleeps();
    }
    assert_eq!(scratch.segments(), [old]);
    kill(released.parent(), SIGCONT).unwrap();
    let finished = released.finish(TIMEOUT);
    finished.assert_delivered(12, "Hello, world");
    assert!(finished.stderr.contains("reclaimed"), "{finished:?}");
}

#[test]
fn a_storm_of_strays_while_the_run_goes_on_does_not_keep_the_message_from_arriving() {
    needs!(can_trace());
    let scratch = Scratch::new();
    // The listener has been born, and its handler is not there.
    let frozen = freeze(&mut hello(&scratch), Point::Step(Side::Child, 0)).unwrap();
    let (parent, listener) = (frozen.parent(), frozen.listener().unwrap());
    // The parent makes no segment before the first thousand have come.
    kill(parent, SIGSTOP).unwrap();
    let released = frozen.release();
    let (is_over, strays) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            // As fast as they can be sent, for as long as there is somebody to send them to.
            while !is_over.load(Ordering::Relaxed) && kill(listener, SIGUSR1).is_ok() {
                let _ = kill(parent, SIGUSR1);
                strays.fetch_add(1, Ordering::Relaxed);
            }
        });
        wait_until("a thousand have been sent", || strays.load(Ordering::Relaxed) >= 1000);
        kill(parent, SIGCONT).unwrap();
        let finished = released.finish(TIMEOUT);
        is_over.store(true, Ordering::Relaxed);
        finished.assert_hello();
    });
}

/// The run, as started by a process that has had its way with some signals.
fn started_by(
    scratch: &Scratch,
    starter: impl Fn() -> nix::Result<()> + Send + Sync + 'static,
) -> Command {
    let mut command = hello(scratch);
    command.in_child(starter);
    command
}

#[test]
fn signals_that_the_starter_ignores_are_no_hindrance() {
    for ignored in [SIGUSR1, SIGCHLD, SIGCONT, SIGALRM, SIGPIPE] {
        let scratch = Scratch::new();
        run(started_by(&scratch, move || set(ignored, SigHandler::SigIgn))).assert_hello();
    }
}

#[test]
fn signals_that_the_starter_blocks_are_no_hindrance() {
    let each = Signal::iterator().map(SigSet::from);
    for blocked in each.chain([SigSet::all()]) {
        let scratch = Scratch::new();
        run(started_by(&scratch, move || blocked.thread_block())).assert_hello();
    }
}

#[test]
fn a_listener_that_fails_is_noticed_although_the_starter_ignores_sigchld() {
    needs!(can_trace());
    let scratch = Scratch::new();
    let mut command = started_by(&scratch, || set(SIGCHLD, SigHandler::SigIgn));
    let frozen = freeze(&mut command, Point::Call(Side::Child, calls::SYS_shmat)).unwrap();
    let listener = frozen.listener().unwrap();
    kill(listener, SIGKILL).unwrap();
    frozen.release().finish(TIMEOUT).assert_failed_with(&[&format!("PID {listener}"), "SIGKILL"]);
}
