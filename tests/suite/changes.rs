//! Segments that change while the run uses them: one that was left behind, and its own between the
//! write and the read. What is no message of ours is never delivered.

use super::segments::*;
use crate::support::tracer::{Frozen, Point, Side, at_steps, can_trace, freeze};
use crate::support::*;

// One that was left behind.

#[test]
fn a_segment_left_by_a_run_that_was_killed_is_reclaimed() {
    needs!(can_trace());
    let scratch = Scratch::new();
    let (run, _) = hold_at(LOOK_UP, &scratch);
    kill(run.parent(), SIGKILL).unwrap();
    assert_eq!(let_go(run).signal, Some(libc::SIGKILL));

    let occupant = Occupant::at_the_key_of(&scratch, Vec::new());
    occupant.assert_reclaimed(&say_hello(&scratch));
}

/// A run finds a segment that was left behind, and somebody else changes that at one of its steps,
/// for each of them. It must deliver all the same. `change` is given the segment, if it is still
/// there. It must be at seven steps or more that the run is about to look, or has looked.
fn change_at_every_step(change: impl Fn(&Scratch, &Segment) + Sync) {
    let command = |scratch: &Scratch| {
        leave_behind(scratch);
        scratch.sigshm(["--timeout=60", HELLO])
    };
    let has_looked = at_steps(Side::Parent, 0.., command, |_, scratch, frozen| {
        let left =
            scratch.segments().into_iter().find(|it| it.creator_pid != frozen.parent().as_raw());
        // Having said what it writes, it asks for the segment.
        let has_looked = left.is_some() && frozen.printed().contains("text:");
        if let Some(left) = left {
            change(&scratch, &left);
        }
        let finished = frozen.release().finish(TIMEOUT);
        finished.assert_delivered(12, HELLO);
        let mut notes = finished.stderr.lines();
        assert!(notes.all(|it| it.starts_with("sigshm: reclaimed segment ")));
        has_looked
    });
    assert!(has_looked.len() > 60, "{has_looked:?}");
    // It cannot create its own, finds this one, looks at it, and is about to remove it: each is a
    // call, with an entry and, but for the last, an exit.
    let looked = has_looked.iter().filter(|&&it| it).count();
    assert!(looked >= 7, "{looked}");
}

#[test]
fn a_left_segment_that_somebody_else_removes_at_any_step_of_the_run_is_no_hindrance() {
    needs!(can_trace());
    change_at_every_step(|_, left| remove_segment(left.id));
}

#[test]
fn a_left_segment_that_another_one_replaces_at_any_step_of_the_run_is_no_hindrance() {
    needs!(can_trace());
    change_at_every_step(|scratch, left| {
        remove_segment(left.id);
        leave_behind(scratch);
    });
}

// Its own, between the write and the read.

/// The listener's steps from the signal to the read: it looks the segment up, asks whose it is, and
/// attaches it. Held at the beginning of each, everything may still change that the step relies on.
const STEPS: [libc::c_long; 3] = [LOOK_UP, ASK, ATTACH];
const LOOK_UP: libc::c_long = calls::SYS_shmget;
const ASK: libc::c_long = calls::SYS_shmctl;
const ATTACH: libc::c_long = calls::SYS_shmat;

/// A run that has written its message and sent the signal, and is held when the listener is about to
/// take the step; and the segment. Its timeout is longer than a test may take.
#[track_caller]
fn hold_at(step: libc::c_long, scratch: &Scratch) -> (Frozen, i32) {
    let mut command = scratch.sigshm(["--timeout=1000", HELLO]);
    let run = freeze(&mut command, Point::Call(Side::Child, step))
        .unwrap_or_else(|run| panic!("the listener has not come to this step: {run:#?}"));
    let Segment { id, creator_pid, .. } = Occupant::at_the_key_of(scratch, Vec::new()).segment;
    assert_eq!(creator_pid, run.parent().as_raw());
    (run, id)
}

/// Lets both processes go on, and waits for their end.
#[track_caller]
fn let_go(run: Frozen) -> Finished {
    run.release().finish(TIMEOUT)
}

/// As [`let_go`]. The listener, which knows that its parent has sent the signal, says at once what
/// it has found instead of a message.
#[track_caller]
fn assert_fails_with(error: &str, reason: &str, run: Frozen) {
    let finished = let_go(run);
    finished.assert_failed_with(&["sigshm: error: ", error, reason]);
    assert_not_delivered(&finished);
}

const NO_MESSAGE: &str = "sigshm: error: there is no message at ";

#[test]
fn a_listener_that_is_held_and_let_go_delivers() {
    needs!(can_trace());
    for step in STEPS {
        let scratch = Scratch::new();
        let (run, id) = hold_at(step, &scratch);
        let written = message_bytes(1, 12, b"Hello, world");
        assert!(holds(id, &written), "the message is there");
        let_go(run).assert_delivered(12, HELLO);
    }
}

#[test]
fn a_removed_segment_is_an_error_at_once_unless_the_listener_has_found_it_before() {
    needs!(can_trace());
    for step in STEPS {
        let scratch = Scratch::new();
        let (run, id) = hold_at(step, &scratch);
        remove_segment(id);
        if step == LOOK_UP {
            assert_fails_with(NO_MESSAGE, "ENOENT); no segment is at this key", run);
        } else {
            // The kernel keeps it for as long as the sender is attached, and does not give its
            // identifier to another.
            let_go(run).assert_delivered(12, HELLO);
        }
    }
}

#[test]
fn a_segment_put_in_place_of_the_runs_own_is_neither_delivered_nor_touched() {
    needs!(can_trace());
    let hostile = message_bytes(1, 7, b"hostile");
    let larger = [&hostile[..], &[b'x'; 3 * SIZE]].concat();
    let without_nul = message_bytes(1, LONGEST, &[b'x'; LONGEST + 1]);
    let (not_ours, smaller) =
        ("our parent has not created it", "EINVAL); the segment at this key is smaller");
    for (what, content, reason) in [
        ("a message", hostile.clone(), not_ours),
        ("just beyond the capacity", message_bytes(1, LONGEST + 1, b"hostile"), not_ours),
        ("far beyond the capacity", message_bytes(1, usize::MAX, b"hostile"), not_ours),
        ("an unknown id", message_bytes(7, 7, b"hostile"), not_ours),
        ("a text without a NUL", without_nul, not_ours),
        ("a segment that is smaller", hostile[..32].to_vec(), smaller),
        ("a segment that is larger", larger, not_ours),
    ] {
        for step in STEPS {
            println!("{what}, when the listener is at system call {step}");
            let scratch = Scratch::unchecked();
            let (run, id) = hold_at(step, &scratch);
            remove_segment(id);
            let hostile = Occupant::created_by(us(), &scratch, 0o666, content.clone()).abandoned();
            if step == LOOK_UP {
                // It finds this one, which is not its parent's.
                assert_fails_with(NO_MESSAGE, reason, run);
            } else {
                // It goes on with the segment that it has found.
                let_go(run).assert_delivered(12, HELLO);
            }
            hostile.assert_untouched(&scratch);
            assert!(segment_status(id).is_err(), "the run's own segment is left");
        }
    }
}

#[test]
fn a_message_that_somebody_overwrites_before_the_read_is_an_error_at_once() {
    needs!(can_trace());
    let full = [b'x'; LONGEST + 1];
    let mut rows = vec![(NO_MESSAGE, "it holds no message".to_owned(), vec![0; SIZE])];
    let mut is_no_message = |cause, bytes| rows.push(("not a message", cause, bytes));
    for size in [LONGEST + 1, SIZE, usize::MAX - (SIZE - full.len()) + 1, usize::MAX] {
        let cause = format!("its size is {size} bytes");
        is_no_message(cause, message_bytes(1, size, b"hostile"));
    }
    for id in [7, -1] {
        is_no_message(format!("its id is {id},"), message_bytes(id, 7, b"hostile"));
    }
    for size in [0, 7, LONGEST] {
        let cause = "its text does not end in NUL".to_owned();
        is_no_message(cause, message_bytes(1, size, &full));
    }
    for (error, cause, bytes) in &rows {
        for step in STEPS {
            println!("{cause}, when the listener is at system call {step}");
            let scratch = Scratch::new();
            let (run, id) = hold_at(step, &scratch);
            let overwrite = || Attached::new(id, 0).map(|it| it.write(0, bytes));
            Helper::doing(overwrite).expect("it can be attached");
            assert_fails_with(error, cause, run);
        }
    }
}
