//! SIGSTOP, SIGTSTP (Ctrl-Z) and SIGCONT at every step of a run. A listener that stays stopped is
//! given up; a run that is continued goes on.

use crate::support::tracer::*;
use crate::support::*;

/// Much longer than the `--timeout` of the runs that are to give up, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(30);

/// Waits until a signal that stops a process has come through. A process that is just making its
/// last system call ends instead, and then this is false.
fn is_stopped(pid: Pid) -> bool {
    wait_until("the process is stopped or has ended", || {
        matches!(state(pid), None | Some('T' | 'Z'))
    });
    state(pid) == Some('T')
}

fn hello(scratch: &Scratch, timeout: &str) -> Command {
    scratch.sigshm(["--timeout", timeout, "Hello, world"])
}

/// Runs whose listeners are stopped, and nobody else, at these steps of a side. Where there is no
/// listener, or it is just making its last system call, the run delivers. Returns what `act` has
/// returned for the others.
fn with_stopped_listener<R: Send>(
    timeout: &str,
    side: Side,
    steps: impl Iterator<Item = usize> + Send,
    act: impl Fn(usize, Scratch, Released) -> R + Sync,
) -> Vec<R> {
    let command = |scratch: &Scratch| hello(scratch, timeout);
    let runs = at_steps(side, steps, command, |step, scratch, frozen| {
        let listener = frozen.living_listener();
        listener.inspect(|&listener| kill(listener, SIGSTOP).unwrap());
        let released = frozen.release();
        if listener.is_some_and(is_stopped) {
            return Some(act(step, scratch, released));
        }
        released.finish_hello();
        None
    });
    runs.into_iter().flatten().collect()
}

#[test]
fn a_listener_stopped_at_any_step_is_given_up_killed_and_reaped() {
    needs!(can_trace());
    // All the parents wait at the same time. Of the parent's steps every third is enough: the step
    // at which the listener is stopped then is a matter of chance.
    let both = |_, scratch, released| (scratch, released);
    let of_listener = with_stopped_listener("3", Side::Child, 0.., both);
    let of_parent = with_stopped_listener("3", Side::Parent, (0..).step_by(3), both);
    assert!(of_listener.len() > 10 && of_parent.len() > 10);
    for (_scratch, released) in of_listener.into_iter().chain(of_parent) {
        let listener = released.listener().unwrap();
        let finished = released.finish(LIMIT);
        let is_ready = finished.text().contains("# Writing message");
        let what = if is_ready { "has not ended" } else { "was not ready" };
        finished.assert_failed_with(&[
            &format!("the listener (PID {listener}) {what} within 3 seconds"),
            if uses_linux() { ": a signal has stopped it" } else { "" },
            "--timeout",
        ]);
        wait_until("the listener is reaped", || is_gone(listener));
    }
}

#[test]
fn a_parent_whose_listener_is_stopped_at_any_step_dies_of_an_ending_signal() {
    needs!(can_trace());
    let runs = with_stopped_listener("60", Side::Child, 0.., |step, _, released| {
        let signal = ENDING[step % ENDING.len()];
        kill(released.parent(), signal).unwrap();
        let finished = released.finish(LIMIT);
        assert_eq!((finished.signal, &*finished.stderr), (Some(signal as i32), ""));
    });
    assert!(runs.len() > 30, "{}", runs.len());
}

#[test]
fn a_stopped_listener_does_not_outlive_its_parent() {
    needs!(can_trace());
    // Before this step it has not yet asked to be killed with its parent. (Where it cannot, it ends
    // when it goes on.)
    let asks = |&step: &usize| {
        let scratch = Scratch::new();
        let frozen = freeze(&mut hello(&scratch, "60"), Point::Step(Side::Child, step));
        frozen.expect("it asks").call() == Some(libc::SYS_prctl)
    };
    let first = if uses_linux() { (0..).find(asks).unwrap() } else { 0 };
    let runs = with_stopped_listener("60", Side::Child, first.., |_, scratch, released| {
        // A group whose other members have all ended is orphaned, and the kernel ends what is
        // stopped in it. So another one is needed in the group of this run.
        let mut other = Command::new("sleep");
        let _other = Program::start(other.arg("600").process_group(released.parent().as_raw()));
        kill(released.parent(), SIGKILL).unwrap();
        if !uses_linux() {
            kill(released.listener().unwrap(), SIGCONT).unwrap();
        }
        assert_eq!(released.finish(LIMIT).stderr, "");
        run(scratch.sigshm(["second"])).assert_delivered(6, "second");
    });
    assert!(runs.len() > 30, "{}", runs.len());
}

#[test]
fn a_parent_or_a_listener_stopped_and_continued_at_any_step_of_its_own_delivers() {
    needs!(can_trace());
    for side in [Side::Parent, Side::Child] {
        let command = |scratch: &Scratch| scratch.sigshm(["Hello, world"]);
        at_steps(side, 0.., command, |_, _, frozen| {
            let pid = match side {
                Side::Parent => frozen.parent(),
                Side::Child => frozen.listener().unwrap(),
            };
            kill(pid, SIGSTOP).unwrap();
            let released = frozen.release();
            if is_stopped(pid) {
                kill(pid, SIGCONT).unwrap();
            }
            released.finish_hello();
        });
    }
}

#[test]
fn a_group_suspended_at_any_step_for_longer_than_its_timeout_and_a_second_delivers_when_continued()
{
    needs!(can_trace());
    // The timeout is that of the parent, which waits during the steps of the listener. Of its own
    // steps, most have nothing to do with time, and every third is enough. Ctrl-Z stops the group.
    // A debugger, or somebody with a PID, may stop the parent alone.
    let mut suspended = Vec::new();
    for (side, first, stride, target, signal) in [
        (Side::Child, 0, 1, Target::Group, SIGTSTP),
        (Side::Parent, 0, 3, Target::Group, SIGTSTP),
        (Side::Parent, 1, 3, Target::Parent, SIGSTOP),
    ] {
        let command = |scratch: &Scratch| hello(scratch, "3");
        let runs = at_steps(side, (first..).step_by(stride), command, |_, scratch, frozen| {
            target.send(signal, frozen.parent(), None).unwrap();
            (scratch, frozen.release())
        });
        assert!(runs.len() > 10, "{side:?} {}", runs.len());
        suspended.extend(runs);
    }
    let (_scratch, waiting) = wait_for_lock_and_suspend();
    for (_, released) in &suspended {
        is_stopped(released.parent());
    }

    // All at the same time. Not to wait for anything, but because it is the length that matters.
    thread::sleep(Duration::from_millis(4100));
    let mut scratches = Vec::new();
    for (scratch, released) in suspended {
        let _ = killpg(released.parent(), SIGCONT);
        released.finish_hello();
        scratches.push(scratch);
    }
    // When all have ended: as long as they were there, each of these looks took long.
    drop(scratches);
    // The wait for the lock has begun anew, so it has not timed out yet, and the lock is free now.
    kill(waiting.pid(), SIGCONT).unwrap();
    waiting.finish().assert_delivered(12, "Hello, world");
}

/// A run that was suspended while it waited for the lock, which has been given back since.
fn wait_for_lock_and_suspend() -> (Scratch, Program) {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    let mut command = hello(&scratch, "1");
    // A group of its own, with a parent outside it, as a shell's job is: an orphaned group, as the
    // test's may be, takes no notice of Ctrl-Z.
    let run = Program::start(command.process_group(0));
    let pid = run.pid();
    wait_until("the run waits for the lock", || is_blocked_in(pid, libc::SYS_flock));
    kill(pid, SIGTSTP).unwrap();
    assert!(is_stopped(pid));
    drop(lock);
    (scratch, run)
}
