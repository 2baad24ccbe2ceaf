//! SIGSTOP at every step of a run. A listener that stays stopped is given up; whoever is continued goes on.
#![cfg(target_os = "linux")]

mod support;

use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::tracer::{Moment, Released, Side, freeze};
use support::*;

/// Much longer than the `--timeout` of these runs, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(10);

/// Waits until a SIGSTOP has come through. A process that is just making its last system call ends instead, and then
/// this is false.
fn is_stopped(pid: Pid) -> bool {
    wait_until("the process is stopped or has ended", || {
        matches!(state(pid), None | Some('T' | 'Z'))
    });
    state(pid) == Some('T')
}

/// Starts a run and stops its listener, and nobody else, at the moment. `None` if there is no listener then, or if the
/// run or the listener ends instead.
fn stop_listener_at(scratch: &Scratch, timeout: &str, moment: Moment) -> Option<Released> {
    let mut command = scratch.sigshm(["--timeout", timeout, "Hello, world"]);
    let frozen = freeze(&mut command, moment).ok()?;
    let listener = frozen.living_listener()?;
    kill(listener, Signal::SIGSTOP).unwrap();
    let released = frozen.release();
    if is_stopped(listener) {
        return Some(released);
    }
    released
        .finish(PATIENCE)
        .assert_delivered(12, "Hello, world");
    scratch.assert_nothing_left();
    None
}

/// Stops the listener for good at each of the moments, and expects the parent to give it up.
///
/// All the parents wait at the same time.
fn the_parent_gives_up_at(moments: impl Iterator<Item = Moment>) -> usize {
    let runs: Vec<(Scratch, Released)> = moments
        .filter_map(|moment| {
            let scratch = Scratch::new();
            let released = stop_listener_at(&scratch, "0.5", moment)?;
            Some((scratch, released))
        })
        .collect();
    let count = runs.len();
    for (scratch, released) in runs {
        let listener = released.listener().unwrap();
        let finished = released.finish(LIMIT);
        assert_eq!(finished.code, Some(1), "{}", finished.text());
        finished.assert_failed_with(&[
            &format!("the listener (PID {listener}) was not "),
            " within 0.5 seconds",
            "--timeout",
        ]);
        wait_until("the listener is reaped", || is_gone(listener));
        scratch.assert_nothing_left();
    }
    count
}

/// How many steps a run has.
fn steps(side: Side) -> usize {
    (0..)
        .find(|&step| {
            let scratch = Scratch::new();
            let moment = Moment::Step(side, step);
            freeze(&mut scratch.sigshm(["Hello, world"]), moment).is_err()
        })
        .unwrap()
}

#[test]
fn a_listener_stopped_at_any_step_of_its_own_is_given_up_killed_and_reaped() {
    let moments = (0..steps(Side::Child)).map(|step| Moment::Step(Side::Child, step));
    let count = the_parent_gives_up_at(moments);
    assert!(count > 30, "{count}");
}

#[test]
fn a_listener_stopped_at_any_step_of_the_parent_is_given_up_killed_and_reaped() {
    // Up to the announcement: after it, the listener may have closed its pipe, which is the last thing that it does,
    // and those moments belong to the test of its own steps.
    let is_before_the_announcement = |step: &usize| {
        let scratch = Scratch::new();
        let moment = Moment::Step(Side::Parent, *step);
        freeze(&mut scratch.sigshm(["Hello, world"]), moment)
            .is_ok_and(|frozen| !frozen.printed().contains("received signal"))
    };
    let moments = (0..)
        .take_while(is_before_the_announcement)
        .map(|step| Moment::Step(Side::Parent, step));
    let count = the_parent_gives_up_at(moments);
    assert!(count > 20, "{count}");
}

#[test]
fn a_parent_whose_listener_is_stopped_at_any_step_can_still_be_interrupted() {
    let mut count = 0;
    for step in 0..steps(Side::Child) {
        let scratch = Scratch::new();
        let moment = Moment::Step(Side::Child, step);
        let Some(released) = stop_listener_at(&scratch, "60", moment) else {
            continue;
        };
        let listener = released.listener().unwrap();
        assert_eq!(state(listener), Some('T'), "step {step}");
        kill(released.parent(), Signal::SIGINT).unwrap();
        let finished = released.finish(LIMIT);
        assert_eq!(finished.signal, Some(libc::SIGINT), "step {step}");
        scratch.assert_nothing_left();
        count += 1;
    }
    assert!(count > 30, "{count}");
}

/// Stops one side at every step of its own and continues it at once.
fn stop_and_continue_at_every_step(side: Side) {
    for step in 0.. {
        let scratch = Scratch::new();
        let moment = Moment::Step(side, step);
        let Ok(frozen) = freeze(&mut scratch.sigshm(["Hello, world"]), moment) else {
            assert!(step > 30, "{step}");
            break;
        };
        let pid = match side {
            Side::Parent => frozen.parent(),
            Side::Child => frozen.listener().unwrap(),
        };
        kill(pid, Signal::SIGSTOP).unwrap();
        let released = frozen.release();
        if is_stopped(pid) {
            kill(pid, Signal::SIGCONT).unwrap();
        }
        let finished = released.finish(PATIENCE);
        finished.assert_delivered(12, "Hello, world");
        assert_eq!(finished.stderr, "", "step {step}");
        scratch.assert_nothing_left();
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

#[test]
fn a_parent_stopped_for_longer_than_the_timeout_at_any_step_delivers_when_continued() {
    let mut runs = Vec::new();
    for step in 0..steps(Side::Parent) {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(["--timeout=1", "Hello, world"]);
        let Ok(frozen) = freeze(&mut command, Moment::Step(Side::Parent, step)) else {
            continue;
        };
        kill(frozen.parent(), Signal::SIGSTOP).unwrap();
        runs.push((scratch, frozen.release()));
    }
    assert!(runs.len() > 50, "{}", runs.len());
    // Not to wait for anything, but because it is the length of the stop that matters.
    thread::sleep(Duration::from_millis(1200));
    for (scratch, released) in runs {
        kill(released.parent(), Signal::SIGCONT).unwrap();
        released
            .finish(PATIENCE)
            .assert_delivered(12, "Hello, world");
        scratch.assert_nothing_left();
    }
}

#[test]
fn a_stopped_listener_does_not_outlive_its_parent() {
    let mut count = 0;
    for step in 0..steps(Side::Child) {
        let scratch = Scratch::new();
        let moment = Moment::Step(Side::Child, step);
        let Ok(frozen) = freeze(&mut scratch.sigshm(["Hello, world"]), moment) else {
            continue;
        };
        // From its first line on: earlier, it has had no time yet to ask for a signal at its parent's death.
        if !frozen.printed().contains("# Listening") {
            continue;
        }
        let listener: Pid = frozen.listener().unwrap();
        kill(listener, Signal::SIGSTOP).unwrap();
        let released = frozen.release();
        if !is_stopped(listener) {
            continue;
        }
        kill(released.parent(), Signal::SIGKILL).unwrap();
        released.finish(LIMIT);
        run(&mut scratch.sigshm(["second"])).assert_delivered(6, "second");
        scratch.assert_nothing_left();
        count += 1;
    }
    assert!(count > 30, "{count}");
}
