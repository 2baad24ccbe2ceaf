//! SIGKILL to either process or to both, at every step of a run: the other one ends by itself and says why, and the
//! next run clears away what could not be.
#![cfg(target_os = "linux")]

mod support;

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::tracer::{Frozen, Moment, Side, freeze};
use support::*;

/// How soon the surviving process must have ended.
const SOON: Duration = Duration::from_secs(2);

/// Kills at every step of `side`, looks at the run's outcome with `check`, and lets the next run deliver.
///
/// Returns how many moments there were, and at how many a segment was left.
fn kill_at_every_step(
    side: Side,
    kill_them: impl Fn(&Frozen) -> bool,
    check: impl Fn(&Finished, &Scene),
) -> (usize, usize) {
    let (mut moments, mut leftovers) = (0, 0);
    for step in 0.. {
        let scratch = Scratch::new();
        let frozen = match freeze(&mut scratch.sigshm(["first"]), Moment::Step(side, step)) {
            Ok(frozen) => frozen,
            Err(finished) => {
                finished.assert_delivered(5, "first");
                scratch.assert_nothing_left();
                break;
            }
        };
        if !kill_them(&frozen) {
            // Nobody there to be killed at this step: the run goes on undisturbed.
            frozen
                .release()
                .finish(PATIENCE)
                .assert_delivered(5, "first");
            scratch.assert_nothing_left();
            continue;
        }
        let scene = Scene {
            parent: frozen.parent().as_raw(),
            listener: frozen.listener().map(|listener| listener.as_raw()),
        };
        let finished = frozen.release().finish(SOON);
        check(&finished, &scene);
        // Asked before the next run, which is to clear it away.
        let left = scratch.segments();

        let next = run(&mut scratch.sigshm(["second"]));
        next.assert_delivered(6, "second");
        match &left[..] {
            [] => assert_eq!(next.stderr, "", "step {step}"),
            [segment] => {
                let parts = [
                    "reclaimed",
                    &format!("segment {} ", segment.id),
                    &format!("PID {})", scene.parent),
                ];
                assert!(
                    parts.iter().all(|part| next.stderr.contains(part)),
                    "{next:#?}"
                );
                assert_eq!(next.stderr.lines().count(), 1, "{next:#?}");
                leftovers += 1;
            }
            many => panic!("one run has left {many:?}"),
        }
        scratch.assert_nothing_left();
        moments += 1;
    }
    (moments, leftovers)
}

/// Who was there when the blow fell.
#[derive(Debug)]
struct Scene {
    parent: i32,
    listener: Option<i32>,
}

fn kill_parent(frozen: &Frozen) -> bool {
    kill(frozen.parent(), Signal::SIGKILL).unwrap();
    true
}

fn kill_listener(frozen: &Frozen) -> bool {
    frozen
        .living_listener()
        .map(|listener| kill(listener, Signal::SIGKILL).unwrap())
        .is_some()
}

fn kill_both(frozen: &Frozen) -> bool {
    kill_listener(frozen) && kill_parent(frozen)
}

/// The parent is dead. The listener, if there was one, has either taken the message or said why not.
fn the_listener_has_had_its_say(finished: &Finished, scene: &Scene) {
    assert_eq!(
        finished.signal,
        Some(libc::SIGKILL),
        "{scene:?} {finished:#?}"
    );
    let has_received = finished.text().contains("# Received: first");
    let complaint = match scene.listener {
        Some(_) if !has_received => format!(
            "sigshm: error: the other process (PID {}) ended before the message was through\n",
            scene.parent
        ),
        _ => String::new(),
    };
    assert_eq!(finished.stderr, complaint, "{scene:?} {finished:#?}");
}

/// The listener is dead, and the parent says so, and how it died.
fn the_parent_says_so(finished: &Finished, scene: &Scene) {
    let listener = scene.listener.unwrap();
    finished.assert_failed_with(&[
        &format!("the listener (PID {listener})"),
        "killed by SIGKILL",
    ]);
    // The parent was there, so it has reaped its child: nobody is left to be waited for.
    wait_until("the listener is reaped", || {
        is_gone(Pid::from_raw(listener))
    });
}

fn nobody_says_anything(finished: &Finished, scene: &Scene) {
    assert_eq!(
        finished.signal,
        Some(libc::SIGKILL),
        "{scene:?} {finished:#?}"
    );
    assert_eq!(finished.stderr, "", "{scene:?}");
}

#[test]
fn when_the_parent_is_killed_at_any_step_of_its_own_the_listener_ends_and_the_next_run_reclaims() {
    let (moments, leftovers) =
        kill_at_every_step(Side::Parent, kill_parent, the_listener_has_had_its_say);
    assert!(moments > 50 && leftovers > 10, "{moments} {leftovers}");
    assert!(leftovers < moments - 10, "{moments} {leftovers}");
}

#[test]
fn when_the_parent_is_killed_at_any_step_of_the_listener_the_listener_ends_and_the_next_run_reclaims()
 {
    let (moments, leftovers) =
        kill_at_every_step(Side::Child, kill_parent, the_listener_has_had_its_say);
    assert!(moments > 30 && leftovers > 10, "{moments} {leftovers}");
}

#[test]
fn when_the_listener_is_killed_at_any_step_of_its_own_the_parent_reaps_it_and_leaves_nothing() {
    let (moments, leftovers) = kill_at_every_step(Side::Child, kill_listener, the_parent_says_so);
    assert!(moments > 30, "{moments}");
    assert_eq!(leftovers, 0);
}

#[test]
fn when_the_listener_is_killed_at_any_step_of_the_parent_the_parent_reaps_it_and_leaves_nothing() {
    let (moments, leftovers) = kill_at_every_step(Side::Parent, kill_listener, the_parent_says_so);
    assert!(moments > 30, "{moments}");
    assert_eq!(leftovers, 0);
}

#[test]
fn when_both_are_killed_at_any_step_of_the_parent_the_next_run_reclaims() {
    let (moments, leftovers) = kill_at_every_step(Side::Parent, kill_both, nobody_says_anything);
    assert!(moments > 30 && leftovers > 5, "{moments} {leftovers}");
}

#[test]
fn when_both_are_killed_at_any_step_of_the_listener_the_next_run_reclaims() {
    let (moments, leftovers) = kill_at_every_step(Side::Child, kill_both, nobody_says_anything);
    assert!(moments > 30 && leftovers > 10, "{moments} {leftovers}");
}

#[test]
fn what_a_zombie_has_left_is_reclaimed_too() {
    let scratch = Scratch::new();
    // The segment is made and written, and nobody has been told.
    let moment = Moment::Call(Side::Parent, libc::SYS_kill);
    let frozen = freeze(&mut scratch.sigshm(["first"]), moment).unwrap();
    let parent = frozen.parent();
    kill(parent, Signal::SIGSTOP).unwrap();
    let released = frozen.release();
    wait_until("the parent is stopped", || state(parent) == Some('T'));
    kill(parent, Signal::SIGKILL).unwrap();
    wait_until("the parent is a zombie", || state(parent) == Some('Z'));
    assert_eq!(scratch.segments().len(), 1);

    let next = run(&mut scratch.sigshm(["second"]));
    next.assert_delivered(6, "second");
    assert!(next.stderr.contains(&format!("PID {parent})")), "{next:#?}");
    assert_eq!(state(parent), Some('Z'), "it is this test that reaps it");
    released.finish(SOON);
    scratch.assert_nothing_left();
}
