//! Signals that do not tell of a message, and what a starter may have done to the signals that the
//! program needs.

use crate::support::tracer::{Frozen, Point, Released, Side, freeze, start_and_stop_parent};
use crate::support::*;

/// Sends stray signals at every step of one side; the run must not care.
fn disturb_at_every_step(side: Side, disturb: impl Fn(&Frozen)) {
    disturb_at(0.., side, disturb);
}

/// Sends stray signals at these steps of one side, as far as there are such.
fn disturb_at(steps: impl Iterator<Item = usize>, side: Side, disturb: impl Fn(&Frozen)) {
    for step in steps {
        let scratch = Scratch::new();
        let point = Point::Step(side, step);
        let Ok(frozen) = freeze(&mut scratch.sigshm(["Hello, world"]), point) else {
            assert!(step > 30, "{step}");
            break;
        };
        disturb(&frozen);
        let finished = frozen.release().finish(TIMEOUT);
        finished.assert_delivered(12, "Hello, world");
        assert_eq!(finished.stderr, "", "step {step}");
    }
}

#[test]
fn a_stray_sigusr1_to_both_at_any_step_of_the_listener_is_not_taken_for_the_message() {
    disturb_at_every_step(Side::Child, |frozen| {
        killpg(frozen.parent(), SIGUSR1).unwrap();
    });
}

#[test]
fn a_stray_sigusr1_to_the_listener_at_any_step_of_the_parent_is_not_taken_for_the_message() {
    disturb_at_every_step(Side::Parent, |frozen| {
        if let Some(listener) = frozen.living_listener() {
            kill(listener, SIGUSR1).unwrap();
        }
    });
}

#[test]
fn a_stray_sigusr1_to_the_parent_at_any_step_does_nothing() {
    disturb_at_every_step(Side::Parent, |frozen| {
        kill(frozen.parent(), SIGUSR1).unwrap();
    });
}

#[test]
fn signals_that_end_nothing_by_default_do_nothing_at_any_step() {
    // All of them at once, so that every third step is enough. An odd number, so that entries as
    // well as exits of system calls are among them.
    for side in [Side::Parent, Side::Child] {
        disturb_at((0..).step_by(3), side, |frozen| {
            for signal in [SIGCHLD, SIGCONT, SIGURG, SIGWINCH] {
                killpg(frozen.parent(), signal).unwrap();
            }
        });
    }
}

/// Lets the parent go on, which was stopped. The message arrives, and nothing else has been taken
/// for it meanwhile.
fn continue_and_deliver(released: Released, scratch: &Scratch) {
    let printed = released.printed();
    let end = "text:Hello, world.\x1b[0m\n";
    assert!(printed.ends_with(end), "{printed}");
    kill(released.parent(), SIGCONT).unwrap();
    let finished = released.finish(TIMEOUT);
    finished.assert_delivered(12, "Hello, world");
    assert_eq!(finished.stderr, "");
    scratch.assert_nothing_left();
}

#[test]
fn a_thousand_strays_one_by_one_are_looked_into_and_none_is_taken_for_the_message() {
    let scratch = Scratch::new();
    // The segment is there, without a message, and nobody is attached.
    let released = start_and_stop_parent(&mut scratch.sigshm(["Hello, world"]));
    let listener = released.listener().unwrap();
    for _ in 0..1000 {
        kill(listener, SIGUSR1).unwrap();
        wait_until("the signal is taken", || !is_pending(listener));
    }
    released.until_listener_sleeps();
    continue_and_deliver(released, &scratch);
}

#[test]
fn a_stray_that_wakes_the_listener_from_its_sleep_is_not_taken_for_the_message() {
    let scratch = Scratch::new();
    let released = start_and_stop_parent(&mut scratch.sigshm(["Hello, world"]));
    let listener = released.listener().unwrap();
    for _ in 0..3 {
        released.until_listener_sleeps();
        kill(listener, SIGUSR1).unwrap();
        wait_until("the signal is taken", || !is_pending(listener));
    }
    released.until_listener_sleeps();
    continue_and_deliver(released, &scratch);
}

#[test]
fn a_stray_does_not_deliver_what_a_dead_run_has_left() {
    let scratch = Scratch::new();
    // A message that lies in shared memory, and nobody has been told.
    let point = Point::Call(Side::Parent, libc::SYS_kill);
    let frozen = freeze(&mut scratch.sigshm(["an old message"]), point).unwrap();
    kill(frozen.parent(), SIGKILL).unwrap();
    frozen.release().finish(TIMEOUT);
    let old = scratch.segments().pop().expect("it is left");

    // The parent has just learned that there is a segment.
    let released = start_and_stop_parent(&mut scratch.sigshm(["Hello, world"]));
    let listener = released.listener().unwrap();
    for _ in 0..3 {
        kill(listener, SIGUSR1).unwrap();
        wait_until("the signal is taken", || !is_pending(listener));
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
    let scratch = Scratch::new();
    // The listener has been born, and its handler is not there.
    let frozen =
        freeze(&mut scratch.sigshm(["Hello, world"]), Point::Step(Side::Child, 0)).unwrap();
    let (parent, listener) = (frozen.parent(), frozen.listener().unwrap());
    // The parent makes no segment before the first thousand have come.
    kill(parent, SIGSTOP).unwrap();
    let released = frozen.release();
    let (is_over, strays) = (AtomicBool::new(false), AtomicUsize::new(0));
    let finished = thread::scope(|scope| {
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
        finished
    });
    finished.assert_delivered(12, "Hello, world");
    assert_eq!(finished.stderr, "");
}

/// The run, as started by a process that has had its way with some signals.
fn started_by(scratch: &Scratch, starter: impl Fn() + Send + Sync + 'static) -> Command {
    let mut command = scratch.sigshm(["Hello, world"]);
    // SAFETY: the starters below make a system call or two each, and allocate nothing.
    unsafe {
        command.pre_exec(move || {
            starter();
            Ok(())
        })
    };
    command
}

fn ignore(ignored: Signal) {
    // SAFETY: ignoring a signal installs no function.
    unsafe { signal(ignored, SigHandler::SigIgn) }.unwrap();
}

#[test]
fn signals_that_the_starter_ignores_are_no_hindrance() {
    for ignored in [SIGUSR1, SIGCHLD, SIGCONT, SIGALRM, SIGPIPE] {
        let scratch = Scratch::new();
        let finished = run(started_by(&scratch, move || ignore(ignored)));
        finished.assert_delivered(12, "Hello, world");
        assert_eq!(finished.stderr, "", "{ignored}");
    }
}

#[test]
fn signals_that_the_starter_blocks_are_no_hindrance() {
    for blocked in Signal::iterator() {
        let scratch = Scratch::new();
        let block = move || SigSet::from(blocked).thread_block().unwrap();
        let finished = run(started_by(&scratch, block));
        finished.assert_delivered(12, "Hello, world");
        assert_eq!(finished.stderr, "", "{blocked}");
    }
    let scratch = Scratch::new();
    let block = || SigSet::all().thread_block().unwrap();
    run(started_by(&scratch, block)).assert_delivered(12, "Hello, world");
}

#[test]
fn a_listener_that_fails_is_noticed_although_the_starter_ignores_sigchld() {
    let scratch = Scratch::new();
    let mut command = started_by(&scratch, || ignore(SIGCHLD));
    let frozen = freeze(&mut command, Point::Call(Side::Child, libc::SYS_shmat)).unwrap();
    let listener = frozen.listener().unwrap();
    kill(listener, SIGKILL).unwrap();
    frozen.release().finish(TIMEOUT).assert_failed_with(&[&format!("PID {listener}"), "SIGKILL"]);
}
