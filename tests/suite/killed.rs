//! SIGKILL to either process or to both, at every step of a run. If the parent is killed, the
//! kernel kills the listener. If the listener is killed, the parent says so. The next run clears
//! away what could not be cleared away.

use crate::support::tracer::{Frozen, Point, Released, Side, freeze, start_and_stop_parent};
use crate::support::*;

/// How soon the surviving process must have ended: much earlier than it would give up.
const SOON: Duration = Duration::from_secs(20);

/// The run that is killed.
fn first(scratch: &Scratch) -> Command {
    scratch.sigshm(["--timeout=60", "first"])
}

/// Kills at every step of `side`, looks at the run's outcome with `check`, and lets the next run
/// deliver.
///
/// Returns at how many steps somebody was killed, and at how many a segment was left.
fn kill_at_every_step(
    side: Side,
    kill_them: impl Fn(&Frozen) -> bool,
    check: impl Fn(&Finished, &Scene),
) -> (usize, usize) {
    kill_at(0.., side, kill_them, check)
}

/// Kills at these steps, as far as there are such.
fn kill_at(
    steps: impl Iterator<Item = usize>,
    side: Side,
    kill_them: impl Fn(&Frozen) -> bool,
    check: impl Fn(&Finished, &Scene),
) -> (usize, usize) {
    let (mut kills, mut leftovers) = (0, 0);
    for step in steps {
        let scratch = Scratch::new();
        let frozen = match freeze(&mut first(&scratch), Point::Step(side, step)) {
            Ok(frozen) => frozen,
            Err(finished) => {
                finished.assert_delivered(5, "first");
                scratch.assert_nothing_left();
                break;
            }
        };
        if !kill_them(&frozen) {
            // Nobody is there to be killed at this step: the run goes on undisturbed.
            frozen.release().finish(TIMEOUT).assert_delivered(5, "first");
            scratch.assert_nothing_left();
            continue;
        }
        let scene = Scene {
            step,
            parent: frozen.parent().as_raw(),
            listener: frozen.listener().map(|listener| listener.as_raw()),
        };
        let finished = frozen.release().finish(SOON);
        check(&finished, &scene);
        leftovers += usize::from(the_next_run_delivers(&scratch, scene.parent));
        kills += 1;
    }
    (kills, leftovers)
}

/// The next run delivers, and reclaims the segment that `killed` may have left. Whether there was
/// one.
fn the_next_run_delivers(scratch: &Scratch, killed: i32) -> bool {
    // Asked before the run, which is to clear it away.
    let left = scratch.segments();
    let next = run(scratch.sigshm(["second"]));
    next.assert_delivered(6, "second");
    match &left[..] {
        [] => assert_eq!(next.stderr, ""),
        [segment] => {
            let parts =
                ["reclaimed", &format!("segment {} ", segment.id), &format!("PID {killed})")];
            assert!(parts.iter().all(|part| next.stderr.contains(part)), "{next:#?}");
            assert_eq!(next.stderr.lines().count(), 1, "{next:#?}");
        }
        many => panic!("one run has left {many:?}"),
    }
    scratch.assert_nothing_left();
    !left.is_empty()
}

/// Who was there when the signal came.
#[derive(Debug)]
#[allow(dead_code)] // The step is for the message of an assertion that has failed.
struct Scene {
    step: usize,
    parent: i32,
    listener: Option<i32>,
}

fn kill_parent(frozen: &Frozen) -> bool {
    kill(frozen.parent(), SIGKILL).unwrap();
    true
}

fn kill_listener(frozen: &Frozen) -> bool {
    frozen.living_listener().map(|listener| kill(listener, SIGKILL).unwrap()).is_some()
}

fn kill_both(frozen: &Frozen) -> bool {
    kill_listener(frozen) && kill_parent(frozen)
}

/// The parent is dead, and nobody has said a word about it. (That the listener has ended, too, is
/// what the end of the run means here.)
fn nobody_says_anything(finished: &Finished, scene: &Scene) {
    let ended = (finished.signal, finished.stderr.as_str());
    assert_eq!(ended, (Some(libc::SIGKILL), ""), "{scene:?}");
}

/// The listener is dead, and the parent says so, and how it died.
fn the_parent_says_so(finished: &Finished, scene: &Scene) {
    let listener = scene.listener.unwrap();
    let line = format!("sigshm: error: the listener (PID {listener}) was killed by SIGKILL\n");
    assert_eq!(finished.stderr, line, "{scene:?}");
    assert_eq!(finished.code, Some(1), "{scene:?}");
    // The parent was there, so it has reaped its child: nobody is left to be waited for.
    wait_until("the listener is reaped", || is_gone(Pid::from_raw(listener)));
}

#[test]
fn if_the_parent_is_killed_at_any_step_of_its_own_the_listener_ends_and_the_next_run_reclaims() {
    let (kills, leftovers) = kill_at_every_step(Side::Parent, kill_parent, nobody_says_anything);
    assert!(kills > 60 && leftovers > 10, "{kills} {leftovers}");
    assert!(leftovers < kills - 10, "{kills} {leftovers}");
}

#[test]
fn if_the_parent_is_killed_at_any_step_of_the_listener_that_ends_and_the_next_run_reclaims() {
    let (kills, leftovers) = kill_at_every_step(Side::Child, kill_parent, nobody_says_anything);
    assert!(kills > 30 && leftovers > 10, "{kills} {leftovers}");
}

#[test]
fn if_the_listener_is_killed_at_any_step_of_its_own_the_parent_reaps_it_and_leaves_nothing() {
    let (kills, leftovers) = kill_at_every_step(Side::Child, kill_listener, the_parent_says_so);
    assert!(kills > 30, "{kills}");
    assert_eq!(leftovers, 0);
}

#[test]
fn if_the_listener_is_killed_at_any_step_of_the_parent_the_parent_reaps_it_and_leaves_nothing() {
    let (kills, leftovers) = kill_at_every_step(Side::Parent, kill_listener, the_parent_says_so);
    assert!(kills > 30, "{kills}");
    assert_eq!(leftovers, 0);
}

#[test]
fn if_both_are_killed_the_next_run_reclaims() {
    // Every third step, because there is little new in it: a parent that is killed takes the
    // listener along, at every step. An odd number, so that entries as well as exits of calls are
    // among them.
    for side in [Side::Parent, Side::Child] {
        let steps = (0..).step_by(3);
        let (kills, leftovers) = kill_at(steps, side, kill_both, nobody_says_anything);
        assert!(kills > 10 && leftovers > 1, "{kills} {leftovers}");
    }
}

/// Runs whose listeners sleep, all at the same time, and whose parents are stopped.
fn asleep(count: usize) -> Vec<(Scratch, Released, Scene)> {
    let start = |_| {
        let scratch = Scratch::new();
        let released = start_and_stop_parent(&mut first(&scratch));
        let scene = Scene {
            step: 0,
            parent: released.parent().as_raw(),
            listener: released.listener().map(|listener| listener.as_raw()),
        };
        (scratch, released, scene)
    };
    let runs: Vec<_> = (0..count).map(start).collect();
    for (_, released, _) in &runs {
        released.until_listener_sleeps();
    }
    runs
}

#[test]
fn when_the_parent_of_a_listener_that_sleeps_is_killed_the_listener_ends_and_says_nothing() {
    // Several, because two things end the listener, and either may come first: the kernel closes
    // the parent's pipe, and a little later it sends the signal at the parent's death. All at once,
    // so that the processors are busy and the time in between is longer.
    let runs = asleep(20);
    for (_, released, _) in &runs {
        kill(released.parent(), SIGKILL).unwrap();
    }
    for (scratch, released, scene) in runs {
        nobody_says_anything(&released.finish(SOON), &scene);
        the_next_run_delivers(&scratch, scene.parent);
    }
}

#[test]
fn when_a_listener_that_sleeps_is_killed_the_parent_says_so() {
    for (scratch, released, scene) in asleep(1) {
        kill(released.listener().unwrap(), SIGKILL).unwrap();
        kill(released.parent(), SIGCONT).unwrap();
        the_parent_says_so(&released.finish(SOON), &scene);
        the_next_run_delivers(&scratch, scene.parent);
    }
}

/// The beginnings of the lines that the listener prints.
const LISTENER_PRINTS: [&str; 4] =
    ["\x1b[35m# Listening on", "\x1b[35m# Registering", "\x1b[33m# PID=", "\x1b[33m# Received"];

/// A run whose listener is blocked in the write of one of its lines, and what must be kept
/// meanwhile.
struct Blocked {
    scratch: Scratch,
    run: Program,
    listener: Pid,
    _reader: OwnedFd,
}

fn block_in_write_of(line: &str) -> Blocked {
    let scratch = Scratch::new();
    // The longest PID that there is. If it is shorter, the room that is left is still too small.
    let transcript = transcript(9_999_999, 5, "first");
    let room = transcript.find(line).unwrap();
    let (run, reader) = Program::start_with_room_for(room, &mut first(&scratch));
    let mut listener = None;
    wait_until("the listener is blocked in a write", || {
        listener = children(run.pid()).first().copied();
        listener.is_some_and(|listener| is_blocked_in(listener, libc::SYS_write))
    });
    Blocked { scratch, run, listener: listener.unwrap(), _reader: reader }
}

#[test]
fn a_listener_that_is_blocked_in_a_write_ends_with_its_parent_even_if_it_is_stopped() {
    for line in LISTENER_PRINTS {
        for is_stopped in [false, true] {
            let blocked = block_in_write_of(line);
            let (parent, listener) = (blocked.run.pid(), blocked.listener);
            if is_stopped {
                kill(listener, SIGSTOP).unwrap();
                wait_until("the listener is stopped", || state(listener) == Some('T'));
            }
            kill(parent, SIGKILL).unwrap();
            let finished = blocked.run.finish();
            assert_eq!(finished.signal, Some(libc::SIGKILL), "{line:?}");
            wait_until("the listener has ended", || matches!(state(listener), None | Some('Z')));
            assert_eq!(finished.stderr, "", "{line:?}");
            the_next_run_delivers(&blocked.scratch, parent.as_raw());
        }
    }
}

#[test]
fn a_listener_whose_parent_was_killed_before_it_could_do_anything_does_nothing() {
    let scratch = Scratch::new();
    let frozen = freeze(&mut first(&scratch), Point::Step(Side::Child, 0)).unwrap();
    let parent = frozen.parent();
    kill(parent, SIGKILL).unwrap();
    // So it is too late for the listener to ask for a signal at its parent's death.
    wait_until("the parent has ended", || state(parent) == Some('Z'));
    let finished = frozen.release().finish(SOON);
    let said = (finished.text(), finished.stderr.as_str());
    let three_lines = "# Message size is: 5\n# Creating message object.\n# Forking...\n";
    assert_eq!(said, (three_lines, ""));
    the_next_run_delivers(&scratch, parent.as_raw());
}

#[test]
fn what_a_zombie_has_left_is_reclaimed_too() {
    let scratch = Scratch::new();
    // The segment is made and written, and nobody has been told.
    let point = Point::Call(Side::Parent, libc::SYS_kill);
    let frozen = freeze(&mut first(&scratch), point).unwrap();
    let parent = frozen.parent();
    kill(parent, SIGSTOP).unwrap();
    let released = frozen.release();
    wait_until("the parent is stopped", || state(parent) == Some('T'));
    kill(parent, SIGKILL).unwrap();
    wait_until("the parent is a zombie", || state(parent) == Some('Z'));
    assert_eq!(scratch.segments().len(), 1);

    let next = run(scratch.sigshm(["second"]));
    next.assert_delivered(6, "second");
    assert!(next.stderr.contains(&format!("PID {parent})")), "{next:#?}");
    assert_eq!(state(parent), Some('Z'), "it is this test that reaps it");
    released.finish(SOON);
}
