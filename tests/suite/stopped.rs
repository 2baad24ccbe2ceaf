//! SIGSTOP, SIGTSTP (Ctrl-Z) and SIGCONT at every step of a run. A listener that stays stopped is
//! given up; a run that is continued goes on.

use crate::support::tracer::{Frozen, Point, Released, Side, freeze};
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

/// A run whose listener was stopped.
enum Stopped {
    /// It is.
    Listener(Released),
    /// There was none, or it was just making its last system call.
    Nobody,
    /// The run does not have this step.
    NoStep,
}

/// Starts a run and stops its listener, and nobody else, at the point.
fn stop_listener_at(scratch: &Scratch, timeout: &str, point: Point) -> Stopped {
    let mut command = scratch.sigshm(["--timeout", timeout, "Hello, world"]);
    let frozen = match freeze(&mut command, point) {
        Ok(frozen) => frozen,
        Err(finished) => {
            finished.assert_delivered(12, "Hello, world");
            return Stopped::NoStep;
        }
    };
    let listener = frozen.living_listener();
    if let Some(listener) = listener {
        kill(listener, SIGSTOP).unwrap();
    }
    let released = frozen.release();
    if listener.is_some_and(is_stopped) {
        return Stopped::Listener(released);
    }
    released.finish(TIMEOUT).assert_delivered(12, "Hello, world");
    scratch.assert_nothing_left();
    Stopped::Nobody
}

#[test]
fn a_listener_stopped_at_any_step_is_given_up_killed_and_reaped() {
    // All the parents wait at the same time. Of the parent's steps every third is enough: the step
    // at which the listener is stopped then is a matter of chance.
    let mut runs: Vec<(Scratch, Released)> = Vec::new();
    for (side, stride) in [(Side::Child, 1), (Side::Parent, 3)] {
        let before = runs.len();
        for step in (0..).step_by(stride) {
            let scratch = Scratch::new();
            match stop_listener_at(&scratch, "1", Point::Step(side, step)) {
                Stopped::Listener(released) => runs.push((scratch, released)),
                Stopped::Nobody => {}
                Stopped::NoStep => break,
            }
        }
        let count = runs.len() - before;
        assert!(count > 10, "{side:?} {count}");
    }
    for (scratch, released) in runs {
        let listener = released.listener().unwrap();
        let finished = released.finish(LIMIT);
        assert_eq!(finished.code, Some(1), "{}", finished.text());
        let is_ready = finished.text().contains("# Writing message");
        let what = if is_ready { "has not ended" } else { "was not ready" };
        finished.assert_failed_with(&[
            &format!("the listener (PID {listener}) {what} within 1 second: "),
            ": a signal has stopped it",
            "--timeout",
        ]);
        wait_until("the listener is reaped", || is_gone(listener));
        scratch.assert_nothing_left();
    }
}

#[test]
fn a_parent_whose_listener_is_stopped_at_any_step_dies_of_an_ending_signal() {
    let mut signals = ENDING.into_iter().cycle();
    let mut count = 0;
    for step in 0.. {
        let scratch = Scratch::new();
        let released = match stop_listener_at(&scratch, "60", Point::Step(Side::Child, step)) {
            Stopped::Listener(released) => released,
            Stopped::Nobody => continue,
            Stopped::NoStep => break,
        };
        let signal = signals.next().unwrap();
        kill(released.parent(), signal).unwrap();
        let finished = released.finish(LIMIT);
        assert_eq!(finished.signal, Some(signal as i32), "step {step}");
        assert_eq!(finished.stderr, "", "{signal} at step {step}");
        scratch.assert_nothing_left();
        count += 1;
    }
    assert!(count > 30, "{count}");
}

#[test]
fn a_stopped_listener_does_not_outlive_its_parent() {
    let mut count = 0;
    for step in 0.. {
        let scratch = Scratch::new();
        let released = match stop_listener_at(&scratch, "60", Point::Step(Side::Child, step)) {
            Stopped::Listener(released) => released,
            Stopped::Nobody => continue,
            Stopped::NoStep => break,
        };
        kill(released.parent(), SIGKILL).unwrap();
        let finished = released.finish(LIMIT);
        assert_eq!(finished.stderr, "", "step {step}");
        run(scratch.sigshm(["second"])).assert_delivered(6, "second");
        scratch.assert_nothing_left();
        count += 1;
    }
    assert!(count > 30, "{count}");
}

/// Stops one side at every step of its own and continues it at once.
fn stop_and_continue_at_every_step(side: Side) {
    for step in 0.. {
        let scratch = Scratch::new();
        let point = Point::Step(side, step);
        let Ok(frozen) = freeze(&mut scratch.sigshm(["Hello, world"]), point) else {
            assert!(step > 30, "{step}");
            break;
        };
        let pid = match side {
            Side::Parent => frozen.parent(),
            Side::Child => frozen.listener().unwrap(),
        };
        kill(pid, SIGSTOP).unwrap();
        let released = frozen.release();
        if is_stopped(pid) {
            kill(pid, SIGCONT).unwrap();
        }
        let finished = released.finish(TIMEOUT);
        finished.assert_delivered(12, "Hello, world");
        assert_eq!(finished.stderr, "", "step {step}");
    }
}

#[test]
fn a_parent_stopped_and_continued_at_any_step_delivers() {
    stop_and_continue_at_every_step(Side::Parent);
}

#[test]
fn a_listener_stopped_and_continued_at_any_step_delivers() {
    stop_and_continue_at_every_step(Side::Child);
}

/// Suspends runs with a `--timeout` of one second at these steps of a side.
fn suspend(
    side: Side,
    steps: impl Iterator<Item = usize>,
    stop: impl Fn(&Frozen),
) -> Vec<(Scratch, Released)> {
    let mut suspended = Vec::new();
    for step in steps {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(["--timeout=1", "Hello, world"]);
        let frozen = match freeze(&mut command, Point::Step(side, step)) {
            Ok(frozen) => frozen,
            Err(finished) => {
                finished.assert_delivered(12, "Hello, world");
                break;
            }
        };
        stop(&frozen);
        suspended.push((scratch, frozen.release()));
    }
    assert!(suspended.len() > 10, "{side:?} {}", suspended.len());
    suspended
}

#[test]
fn a_group_suspended_at_any_step_for_longer_than_its_timeout_and_a_second_delivers_when_continued()
{
    // Ctrl-Z stops the group. A debugger, or somebody with a PID, may stop the parent alone.
    let ctrl_z = |frozen: &Frozen| killpg(frozen.parent(), SIGTSTP).unwrap();
    let stop_parent = |frozen: &Frozen| kill(frozen.parent(), SIGSTOP).unwrap();
    // The timeout is that of the parent, which waits during the steps of the listener. Of its own
    // steps, most have nothing to do with time, and every third is enough.
    let mut suspended = suspend(Side::Child, 0.., ctrl_z);
    suspended.extend(suspend(Side::Parent, (0..).step_by(3), ctrl_z));
    suspended.extend(suspend(Side::Parent, (1..).step_by(3), stop_parent));
    let (waiting_scratch, waiting) = wait_for_lock_and_suspend();
    for (_, released) in &suspended {
        let parent = released.parent();
        wait_until("the parent is stopped or has ended", || {
            matches!(state(parent), None | Some('T' | 'Z'))
        });
    }

    // All at the same time. Not to wait for anything, but because it is the length that matters.
    thread::sleep(Duration::from_millis(2100));
    let mut scratches = Vec::new();
    for (scratch, released) in suspended {
        let _ = killpg(released.parent(), SIGCONT);
        let finished = released.finish(TIMEOUT);
        finished.assert_delivered(12, "Hello, world");
        assert_eq!(finished.stderr, "");
        scratches.push(scratch);
    }
    // When all have ended: as long as they were there, each of these looks took long.
    for scratch in scratches {
        scratch.assert_nothing_left();
    }
    // The wait for the lock has begun anew, so it has not timed out yet, and the lock is free now.
    kill(waiting.pid(), SIGCONT).unwrap();
    waiting.finish().assert_delivered(12, "Hello, world");
    waiting_scratch.assert_nothing_left();
}

/// A run that was suspended while it waited for the lock, which has been given back since.
fn wait_for_lock_and_suspend() -> (Scratch, Program) {
    let scratch = Scratch::new();
    let file = File::open(scratch.path()).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
    let mut command = scratch.sigshm(["--timeout=1", "Hello, world"]);
    // A group of its own, with a parent outside it, as a shell's job is: an orphaned group, as the
    // test's may be, takes no notice of Ctrl-Z.
    let run = Program::start(command.process_group(0));
    let pid = run.pid();
    wait_until("the run waits for the lock", || is_blocked_in(pid, libc::SYS_flock));
    kill(pid, SIGTSTP).unwrap();
    wait_until("the run is stopped", || state(pid) == Some('T'));
    drop(lock);
    (scratch, run)
}
