//! What each safeguard is for: `tests/peers/careful.c` with one of them left out, beside the whole
//! program.
//!
//! `cargo test safeguards:: -- --nocapture` prints the table. With `SAFEGUARDS=long` in the
//! environment there are ten times as many runs. If nobody sees the table, there are fewer. Some of
//! these failures are a matter of luck, and come often enough by themselves. Others are provoked: a
//! process is stopped, or gets its signal, at the worst moment.

use std::env;

use crate::support::tracer::{Point, Side, can_trace, freeze, start_and_stop};
use crate::support::*;

/// A safeguard: what is left out, how many runs show it, how they are made, what goes wrong
/// without it, and what runs the program in a folder of its own, once or several times.
type Row = (&'static [&'static str], usize, &'static str, &'static str, Round);

type Round = fn(&Path, &Scratch) -> Vec<Outcome>;

/// So many runs are shown of what goes wrong in each of them.
const SURE: usize = 10;

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Right,
    /// As the row says.
    Wrong,
    /// In another way. That may be, but not in the whole program.
    Otherwise(String),
    /// It cannot be tried on this machine, for this reason.
    NotTested(&'static str),
}

use Outcome::{NotTested, Otherwise, Right, Wrong};

const ROWS: [Row; 11] = [
    (&["READY"], 200, "one after the other", "the message is lost", plain),
    (&["BLOCK"], SURE, "ptrace: at pause()", "it waits for ever", signal_just_before_the_sleep),
    (&["INLINE_TEXT"], SURE, "listener: new program", "garbage, or a crash", second_exec),
    (&["EXCLUSIVE"], SURE, "a segment is there", "overwritten, removed", somebody_elses_segment),
    (&["LOCK"], 200, "20 at once", "shmget: File exists", one_fails),
    (&["LOCK", "EXCLUSIVE"], 400, "20 at once", "another run's message", one_is_crossed),
    (&["REAP"], 400, "one after the other", "the message is lost", plain),
    (&["REAP"], SURE, "the listener stopped", "\"All done\" is not true", stopped_listener),
    (&["REAP"], SURE, "parent stopped at end", "the child is a zombie", stopped_parent),
    (&["REMOVE"], SURE, "one after the other", "a segment stays", segments_left),
    (&["FLUSH"], SURE, "output into a pipe", "first lines twice", lines_twice),
];

#[test]
fn without_each_safeguard_something_goes_wrong() {
    needs!(compiles_c());
    let is_shown = env::args().any(|argument| argument == "--nocapture");
    let enough = |shown: usize| match env::var("SAFEGUARDS").as_deref() {
        Err(_) | Ok("") if is_shown => shown,
        Err(_) | Ok("") => shown / 10,
        Ok("long") => shown * 10,
        Ok(other) => panic!("SAFEGUARDS={other:?}: it can only be long"),
    };
    assert_the_lesson_shows_this_table();
    // Without INLINE_TEXT, a copy of the parent still has a copy of the text.
    let without = compile_peer_without("careful", &["INLINE_TEXT"]);
    let finished = run(command(&without, &Scratch::new(), HELLO));
    assert_eq!(judge(&finished, HELLO, false), Right);
    let whole = compile_peer("careful");
    println!("\nHow often something goes wrong: without the safeguard, and in the whole program.");
    println!("{}", line(["left out", "runs", "how", "what goes wrong", "without", "whole"]));
    for (left_out, shown, how, what, round) in ROWS {
        if ["ptrace", "stopped"].iter().any(|it| how.contains(it)) && !can_trace() {
            continue;
        }
        let without = compile_peer_without("careful", left_out);
        let name = left_out.join(", ");
        let mut outcomes = Vec::new();
        // In turns, so that whatever else the machine does meets both alike. What is a matter of
        // luck may need more runs (REAP does, on one processor that is not busy).
        while outcomes.len() < enough(shown)
            || (!outcomes.contains(&Wrong) && outcomes.len() < 10 * shown)
        {
            for outcome in round(&whole, &Scratch::unchecked()) {
                let is_right = matches!(outcome, Right | NotTested(_));
                assert!(is_right, "the whole program, beside {name}: {outcome:?}");
            }
            outcomes.extend(round(&without, &Scratch::unchecked()));
        }
        if let NotTested(why) = outcomes[0] {
            not_tested(&name, why);
            continue;
        }
        let runs = outcomes.len();
        let wrong = outcomes.iter().filter(|outcome| **outcome == Wrong).count();
        println!("{}", line([&name, &runs.to_string(), how, what, &wrong.to_string(), "0"]));
        let least = if shown == SURE { runs } else { 1 };
        assert!(wrong >= least, "{name}: {what}: {wrong} of {runs}: {outcomes:?}");
    }
}

fn assert_the_lesson_shows_this_table() {
    let lesson = include_str!("../../src/lesson.md");
    for (left_out, runs, how, what, _) in ROWS {
        let line = line([&left_out.join(", "), &runs.to_string(), how, what, "", "0"]);
        let fixed = line.strip_suffix("0").unwrap().trim_end();
        let shown = lesson.lines().find_map(|line| line.strip_prefix(fixed));
        let shown = shown.unwrap_or_else(|| panic!("there is no {fixed:?}"));
        // How often it goes wrong is another number each time.
        let [wrong, whole] = shown.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{shown:?}");
        };
        assert!(wrong.parse::<usize>().unwrap() > 0 && whole == "0", "{shown:?}");
    }
}

/// A line of the table.
fn line([left_out, runs, how, wrong, without, whole]: [&str; 6]) -> String {
    let line = format!("{left_out:15} {runs:>4} {how:22} {wrong:22} {without:>7} {whole:>5}");
    assert!(line.chars().count() <= 80, "{line}");
    line
}

fn command(program: &Path, scratch: &Scratch, message: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(message).arg(scratch.path()).stdin(Stdio::null());
    with_default_signals(&mut command);
    command
}

/// Right if the run has said and done all that it should; wrong if `is_wrong`.
fn judge(finished: &Finished, message: &str, is_wrong: bool) -> Outcome {
    let said = String::from_utf8_lossy(&finished.stdout);
    let is_delivered = said.contains("# Listening on PID=")
        && said == transcript(listener_in(&said), message.len(), message)
        && (finished.code, &*finished.stderr) == (Some(0), "");
    match (is_delivered, is_wrong) {
        (true, false) => Right,
        (false, true) => Wrong,
        _ => Otherwise(format!("{finished:?}")),
    }
}

fn has_received(finished: &Finished, message: &str) -> bool {
    let said = String::from_utf8_lossy(&finished.stdout);
    said.contains(&format!("# Received: {message}\x1b[0m\n"))
}

/// READY: the signal kills the child. REAP: the segment is gone before the child has looked.
fn plain(program: &Path, scratch: &Scratch) -> Vec<Outcome> {
    let one = || {
        let finished = run(command(program, scratch, HELLO));
        judge(&finished, HELLO, !has_received(&finished, HELLO))
    };
    iter::repeat_with(one).take(20).collect()
}

/// BLOCK. The gap between the look at the flag and pause(2) is two instructions wide. So the child
/// is driven, instruction by instruction, to the one that makes the call. There the signal comes.
fn signal_just_before_the_sleep(program: &Path, scratch: &Scratch) -> Vec<Outcome> {
    let mut command = command(program, scratch, HELLO);
    let mut run = freeze(&mut command, Point::Ready).expect("it has not ended");
    if run.step_to_next_call().is_none() {
        return vec![NotTested("it is not known which instruction makes a system call here")];
    }
    let listener = run.living_listener().unwrap();
    run.release_parent();
    wait_until("the parent has sent the signal", || is_pending(listener));
    if run.listener_sleeps_in(calls::SYS_pause) {
        // The parent sends nothing more: it waits for the child to end.
        wait_until("the parent waits", || is_blocked_in(run.parent(), libc::SYS_wait4));
        return vec![Wrong];
    }
    vec![judge(&run.release().finish(TIMEOUT), HELLO, false)]
}

/// INLINE_TEXT. A program of its own has no copy of the text.
fn second_exec(program: &Path, scratch: &Scratch) -> Vec<Outcome> {
    let finished = run(command(program, scratch, HELLO).arg("exec"));
    vec![judge(&finished, HELLO, !has_received(&finished, HELLO))]
}

/// EXCLUSIVE. A segment that is there already belongs to somebody else. The program must not write
/// to it and must not remove it: to refuse is right.
fn somebody_elses_segment(program: &Path, scratch: &Scratch) -> Vec<Outcome> {
    let segment = leave_behind(scratch);
    let attached = Attached::new(segment.id, 0).unwrap();
    let theirs = vec![b'x'; segment.size];
    attached.write(0, &theirs);

    let finished = run(command(program, scratch, HELLO));
    let refuses = finished.code == Some(1) && finished.stderr.contains("File exists");
    vec![match (attached.bytes() != theirs, scratch.segments().is_empty(), refuses) {
        (false, false, true) => Right,
        (true, true, false) => Wrong,
        _ => Otherwise(format!("{finished:?}")),
    }]
}

/// LOCK: the segment of another run is there.
fn one_fails(program: &Path, scratch: &Scratch) -> Vec<Outcome> {
    twenty_at_once(program, scratch, |finished, _| finished.stderr.contains("File exists"))
}

/// LOCK and EXCLUSIVE: two runs use one segment.
fn one_is_crossed(program: &Path, scratch: &Scratch) -> Vec<Outcome> {
    twenty_at_once(program, scratch, |finished, own| {
        let received = String::from_utf8_lossy(&finished.stdout).contains("# Received: message");
        received && !has_received(finished, own)
    })
}

fn twenty_at_once(
    program: &Path,
    scratch: &Scratch,
    is_wrong: fn(&Finished, &str) -> bool,
) -> Vec<Outcome> {
    let messages: [String; 20] = std::array::from_fn(|number| format!("message {number}"));
    let runs = messages.each_ref().map(|it| Program::start(command(program, scratch, it)));
    let outcome = |(run, message): (Program, &String)| {
        let finished = run.finish();
        judge(&finished, message, is_wrong(&finished, message))
    };
    iter::zip(runs, &messages).map(outcome).collect()
}

/// REAP: the listener is stopped when it has said that it is ready. "All done" would not be true.
fn stopped_listener(program: &Path, scratch: &Scratch) -> Vec<Outcome> {
    let run = start_and_stop(&mut command(program, scratch, HELLO), Point::Ready);
    let parent = run.parent();
    wait_until("the parent has ended, or waits", || {
        is_blocked_in(parent, libc::SYS_wait4) || matches!(state(parent), None | Some('Z'))
    });
    let printed = run.printed();
    vec![match (printed.contains("# All done"), printed.contains("# Received")) {
        (false, false) => Right,
        (true, false) => Wrong,
        _ => Otherwise(printed),
    }]
}

/// REAP: the parent is stopped when it has removed the segment. After that it only ends.
fn stopped_parent(program: &Path, scratch: &Scratch) -> Vec<Outcome> {
    let mut command = command(program, scratch, HELLO);
    let run = start_and_stop(&mut command, Point::Call(Side::Parent, calls::SYS_shmctl));
    wait_until("the parent is stopped", || state(run.parent()) == Some('T'));
    let listener = run.listener().unwrap();
    wait_until("the child has ended", || matches!(state(listener), None | Some('Z')));
    vec![if is_gone(listener) { Right } else { Wrong }]
}

/// REMOVE. Each run has a path of its own; at the same one the next run would fail.
fn segments_left(program: &Path, scratch: &Scratch) -> Vec<Outcome> {
    let finished = run(command(program, scratch, HELLO));
    match scratch.segments().len() {
        0 => vec![judge(&finished, HELLO, false)],
        1 if has_received(&finished, HELLO) => vec![Wrong],
        _ => vec![Otherwise(format!("{finished:?}"))],
    }
}

/// FLUSH.
fn lines_twice(program: &Path, scratch: &Scratch) -> Vec<Outcome> {
    let finished = run(command(program, scratch, HELLO));
    let first = ["# Message size is: ", "# Creating message object.\n", "# Forking...\n"];
    // The library of musl writes the first one at once.
    let first = &first[usize::from(cfg!(target_env = "musl"))..];
    let are_twice = first.iter().all(|line| finished.text().matches(line).count() == 2);
    vec![judge(&finished, HELLO, are_twice)]
}
