//! Many runs at one path take turns: each message arrives, and none is another run's.

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::ChildStderr;

use nix::fcntl::{Flock, FlockArg};

use support::*;

/// How many runs at once.
const RUNS: usize = 40;

fn take_turn(scratch: &Scratch) -> Flock<File> {
    let file = File::open(scratch.path()).unwrap();
    Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap()
}

fn note(scratch: &Scratch) -> String {
    format!(
        "sigshm: waiting for another run at {} to end\n",
        scratch.path().display()
    )
}

#[test]
fn forty_runs_at_once_deliver_forty_messages_each_its_own() {
    let scratch = Scratch::new();
    let messages: Vec<String> = (0..RUNS)
        .map(|run| format!("message {run} of 40"))
        .collect();
    // Nobody begins before everybody is there.
    let turn = take_turn(&scratch);
    let running: Vec<Running> = messages
        .iter()
        .map(|message| start(&mut scratch.sigshm(["--timeout=30", message])))
        .collect();
    for run in &running {
        wait_until("the run waits for its turn", || {
            state(run.pid()) == Some('S')
        });
    }
    assert_eq!(scratch.processes().len(), RUNS);
    drop(turn);
    for (message, run) in messages.iter().zip(running) {
        let finished = run.finish();
        finished.assert_delivered(message.len(), message);
        assert!(
            ["", &note(&scratch)].contains(&finished.stderr.as_str()),
            "{finished:#?}"
        );
    }
    scratch.assert_nothing_left();
}

/// Starts a run whose turn it is not, and waits until it has said so.
fn start_waiting(scratch: &Scratch) -> (Running, BufReader<ChildStderr>) {
    let mut running = start(&mut scratch.sigshm(["--timeout=60", "Hello, world"]));
    let mut stderr = BufReader::new(running.child().stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert_eq!(line, note(scratch));
    (running, stderr)
}

#[test]
fn a_run_that_waits_for_longer_than_a_moment_says_so_and_then_delivers() {
    let scratch = Scratch::new();
    let turn = take_turn(&scratch);
    let (running, mut stderr) = start_waiting(&scratch);

    drop(turn);
    running.finish().assert_delivered(12, "Hello, world");
    let mut rest = String::new();
    stderr.read_line(&mut rest).unwrap();
    assert_eq!(rest, "", "it is said once");
    scratch.assert_nothing_left();
}

#[test]
fn a_run_whose_file_is_replaced_while_it_waits_takes_its_turn_at_the_new_one() {
    let scratch = Scratch::new();
    let turn = take_turn(&scratch);
    let (running, _stderr) = start_waiting(&scratch);

    // As an editor does it: a new file, put in the place of the old one.
    let new = scratch.dir().join("new");
    fs::write(&new, "").unwrap();
    fs::rename(&new, scratch.path()).unwrap();
    let new_turn = take_turn(&scratch);
    let inode = fs::metadata(scratch.path()).unwrap().ino();
    drop(turn);
    let open = format!("/proc/{}/fd", running.pid());
    wait_until("the run has opened the new file", || {
        let files = fs::read_dir(&open).unwrap().flatten();
        files
            .filter_map(|file| fs::metadata(file.path()).ok())
            .any(|file| file.ino() == inode)
    });
    drop(new_turn);
    running.finish().assert_delivered(12, "Hello, world");
    scratch.assert_nothing_left();
}

#[test]
fn a_run_that_need_not_wait_does_not_speak_of_it() {
    let scratch = Scratch::new();
    for _ in 0..10 {
        let finished = run(&mut scratch.sigshm(["Hello, world"]));
        finished.assert_delivered(12, "Hello, world");
        assert_eq!(finished.stderr, "");
    }
    scratch.assert_nothing_left();
}

#[test]
fn a_run_whose_turn_does_not_come_gives_up_with_an_error() {
    // Shorter and longer than the moment after which it is said that we wait.
    for timeout in ["0.1", "0.6"] {
        let scratch = Scratch::new();
        let _turn = take_turn(&scratch);
        let finished = run(&mut scratch.sigshm(["--timeout", timeout, "Hello, world"]));
        assert_eq!(finished.code, Some(1), "{finished:#?}");
        assert_eq!(finished.text(), "", "nothing has begun");
        let error = finished
            .stderr
            .strip_prefix(&note(&scratch))
            .expect("it was said that we wait");
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in [
            "sigshm: error: flock(",
            &scratch.path().display().to_string(),
            &format!("kept its turn for {timeout} seconds"),
            "--timeout",
        ] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
        scratch.assert_nothing_left();
    }
}
