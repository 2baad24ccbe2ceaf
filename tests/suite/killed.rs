//! SIGKILL to either process or to both, at every step of a run. If the parent is killed, the
//! kernel kills the listener. If the listener is killed, the parent says so. The next run clears
//! away what could not be cleared away.

use crate::support::tracer::*;
use crate::support::*;

/// How soon the surviving process must have ended: much earlier than it would give up.
const SOON: Duration = Duration::from_secs(20);

/// The run that is killed.
fn hello(scratch: &Scratch) -> Command {
    scratch.sigshm(["--timeout=60", "Hello, world"])
}

/// Kills these processes at these steps of `side`, and lets the next run deliver. If there is no
/// listener, and it is to be killed, the run goes on undisturbed.
///
/// Returns at how many steps somebody was killed, and at how many a segment was left.
fn kill_at(
    side: Side,
    steps: impl Iterator<Item = usize> + Send,
    killed: &[Target],
) -> (usize, usize) {
    let was_left = at_steps(side, steps, hello, |_, scratch, frozen| {
        let (parent, listener) = (frozen.parent(), frozen.living_listener());
        if killed.contains(&Target::Listener) && listener.is_none() {
            frozen.release().finish_hello();
            return None;
        }
        for target in killed {
            target.send(SIGKILL, parent, listener).unwrap();
        }
        let finished = frozen.release().finish(SOON);
        if killed.contains(&Target::Parent) {
            assert_nobody_says_anything(&finished);
        } else {
            assert_the_parent_says_so(&finished, listener.unwrap());
        }
        Some(the_next_run_delivers(scratch, parent))
    });
    let was_left: Vec<bool> = was_left.into_iter().flatten().collect();
    (was_left.len(), was_left.iter().filter(|&&it| it).count())
}

/// The next run delivers, and reclaims the segment that `killed` may have left. Whether there was
/// one.
fn the_next_run_delivers(scratch: Scratch, killed: Pid) -> bool {
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
    !left.is_empty()
}

/// The parent is dead, and nobody has said a word about it. (That the listener has ended, too, is
/// what the end of the run means here.)
#[track_caller]
fn assert_nobody_says_anything(finished: &Finished) {
    assert_eq!((finished.signal, &*finished.stderr), (Some(libc::SIGKILL), ""));
}

/// The listener is dead, and the parent says so, and how it died.
#[track_caller]
fn assert_the_parent_says_so(finished: &Finished, listener: Pid) {
    let line = format!("sigshm: error: the listener (PID {listener}) was killed by SIGKILL\n");
    assert_eq!((finished.code, &*finished.stderr), (Some(1), &*line));
    // The parent was there, so it has reaped its child: nobody is left to be waited for.
    wait_until("the listener is reaped", || is_gone(listener));
}

#[test]
fn if_the_parent_is_killed_at_any_step_of_either_side_the_listener_ends_and_the_next_run_reclaims()
{
    needs!(can_trace());
    let (kills, leftovers) = kill_at(Side::Parent, 0.., &[Target::Parent]);
    assert!(kills > 60 && leftovers > 10 && leftovers < kills - 10, "{kills} {leftovers}");
    let (kills, leftovers) = kill_at(Side::Child, 0.., &[Target::Parent]);
    assert!(kills > 30 && leftovers > 10, "{kills} {leftovers}");
}

#[test]
fn if_the_listener_is_killed_at_any_step_of_either_side_the_parent_reaps_it_and_leaves_nothing() {
    needs!(can_trace());
    for side in [Side::Child, Side::Parent] {
        let (kills, leftovers) = kill_at(side, 0.., &[Target::Listener]);
        assert!(kills > 30 && leftovers == 0, "{side:?} {kills} {leftovers}");
    }
}

#[test]
fn if_both_are_killed_the_next_run_reclaims() {
    needs!(can_trace());
    // Every third step, because there is little new in it: a parent that is killed takes the
    // listener along, at every step. An odd number, so that entries as well as exits of calls are
    // among them.
    for side in [Side::Parent, Side::Child] {
        let both = [Target::Listener, Target::Parent];
        let (kills, leftovers) = kill_at(side, (0..).step_by(3), &both);
        assert!(kills > 10 && leftovers > 1, "{kills} {leftovers}");
    }
}

#[test]
fn when_the_parent_of_a_listener_that_sleeps_is_killed_the_listener_ends_and_says_nothing() {
    needs!(can_trace());
    // Several, because two things end the listener, and either may come first: the kernel closes
    // the parent's pipe, and a little later it sends the signal at the parent's death. All at once,
    // so that the processors are busy and the time in between is longer.
    let runs = start_asleep(20, hello);
    for (_, released) in &runs {
        kill(released.parent(), SIGKILL).unwrap();
    }
    for (scratch, released) in runs {
        let parent = released.parent();
        assert_nobody_says_anything(&released.finish(SOON));
        the_next_run_delivers(scratch, parent);
    }
}

#[test]
fn when_the_parent_of_an_explained_run_is_killed_nothing_is_told_and_the_listener_ends() {
    needs!(can_trace());
    let explained = |scratch: &Scratch| scratch.sigshm(["--explain", "--timeout=60", HELLO]);
    for (scratch, released) in start_asleep(1, explained) {
        let parent = released.parent();
        kill(parent, SIGKILL).unwrap();
        let finished = released.finish(SOON);
        assert_nobody_says_anything(&finished);
        assert_eq!(finished.text(), "");
        the_next_run_delivers(scratch, parent);
    }
}

#[test]
fn when_a_listener_that_sleeps_is_killed_the_parent_says_so() {
    needs!(can_trace());
    for (scratch, released) in start_asleep(1, hello) {
        let (parent, listener) = (released.parent(), released.listener().unwrap());
        kill(listener, SIGKILL).unwrap();
        kill(parent, SIGCONT).unwrap();
        assert_the_parent_says_so(&released.finish(SOON), listener);
        the_next_run_delivers(scratch, parent);
    }
}

/// The beginnings of the lines that the listener prints.
const LISTENER_PRINTS: [&str; 4] =
    ["\x1b[35m# Listening on", "\x1b[35m# Registering", "\x1b[33m# PID=", "\x1b[33m# Received"];

#[test]
fn a_listener_that_is_blocked_in_a_write_ends_with_its_parent_even_if_it_is_stopped() {
    for line in LISTENER_PRINTS {
        for is_stopped in [false, true] {
            let scratch = Scratch::new();
            let (run, reader) = Program::start_blocked_at(line, hello(&scratch));
            let (parent, listener) = (run.pid(), children(run.pid())[0]);
            assert!(is_blocked_in_write(listener), "{line:?}");
            if is_stopped {
                kill(listener, SIGSTOP).unwrap();
                wait_until("the listener is stopped", || state(listener) == Some('T'));
            }
            kill(parent, SIGKILL).unwrap();
            assert_nobody_says_anything(&run.finish());
            // Where the kernel does not end it, it ends when it goes on.
            let _reader = uses_linux().then_some(reader);
            if is_stopped && !uses_linux() {
                kill(listener, SIGCONT).unwrap();
            }
            wait_until("the listener has ended", || matches!(state(listener), None | Some('Z')));
            the_next_run_delivers(scratch, parent);
        }
    }
}

#[test]
fn a_listener_whose_parent_was_killed_before_it_could_do_anything_does_nothing() {
    needs!(can_trace());
    let scratch = Scratch::new();
    let frozen = freeze(&mut hello(&scratch), Point::Step(Side::Child, 0)).unwrap();
    let parent = frozen.parent();
    kill(parent, SIGKILL).unwrap();
    // So it is too late for the listener to ask for a signal at its parent's death.
    wait_until("the parent has ended", || state(parent) == Some('Z'));
    let finished = frozen.release().finish(SOON);
    let three_lines = "# Message size is: 12\n# Creating message object.\n# Forking...\n";
    assert_eq!(finished.outcome(), (None, "", three_lines));
    the_next_run_delivers(scratch, parent);
}

#[test]
fn what_a_zombie_has_left_is_reclaimed_too() {
    needs!(can_trace());
    needs!(needs_linux("what a zombie has left"));
    let scratch = Scratch::new();
    // The segment is made and written, and nobody has been told.
    let point = Point::Call(Side::Parent, libc::SYS_kill);
    let released = start_and_stop(&mut hello(&scratch), point);
    let parent = released.parent();
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
