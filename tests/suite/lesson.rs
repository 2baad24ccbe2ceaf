//! The lesson, typed: what it says that appears is what appears. (Numbers that differ from run to
//! run are not compared.)

use std::os::unix::fs::symlink;

use crate::support::terminal::Terminal;
use crate::support::tracer::can_trace;
use crate::support::*;

const ALL: usize = usize::MAX;

const LESSON: &str = include_str!("../../src/lesson.md");

#[test]
fn what_the_lesson_shows_appears() {
    needs!(compiles_c() && is_there("strace") && can_trace());
    // The heading, and the lines that are not a matter of luck, if not all: so many at the end.
    let rows = [
        ("\n## 1. ", 3),
        ("\n## 2. ", 5),
        ("\n## 4. ", ALL),
        ("\n## 5. ", ALL),
        ("\n**A second signal.** ", ALL),
        ("\n**Easier.** ", ALL),
    ];
    at_once(rows, |(heading, lines)| assert_shows(heading, lines));
}

#[test]
fn a_child_that_nobody_waits_for_is_shown_beside_one_that_somebody_has_waited_for() {
    needs!(compiles_c() && is_there("ps"));
    if run(Command::new("ps").args(["--ppid", "1"])).stderr.is_empty() {
        assert_shows("\n## 8. ", ALL);
    } else {
        not_tested("stop 8", "ps has no --ppid here");
    }
}

#[test]
fn among_65537_files_two_have_one_key() {
    needs!(compiles_c());
    assert_typed("\n**One key, two files.** ", 0, |shown| {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lines: Vec<_> = shown.lines().map(words).collect();
        let [usual, one, two] = &lines[..] else { return false };
        usual[4] != one[4] && one[4] == two[4] && one[1] != two[1]
    });
}

#[test]
fn sigterm_leaves_no_segment_and_sigkill_leaves_one() {
    needs!(compiles_c() && is_there("ipcs"));
    assert_typed("\n**Please finish.** ", 0, |shown| shown == "alive\n");
    assert_typed("\n**Please finish.** ", 1, |shown| {
        let reclaimed = shown.split_once("sigshm: reclaimed segment ");
        let Some((listed, reclaimed)) = reclaimed else { return false };
        let id = reclaimed.split(' ').next().unwrap();
        // (Other tests have segments meanwhile.)
        let has_it = |listing: &str| listing.split_whitespace().any(|word| word == id);
        listed.split("nattch").skip(1).map(has_it).eq([false, true])
    });
}

/// The solutions that the homework names do what its commands show.
#[test]
fn the_homework_is_solved_by_the_listener_and_the_sender_in_c() {
    needs!(compiles_c());
    for (task, statuses) in [("\n**A listener.** ", 3), ("\n**A sender.** ", 2)] {
        assert_typed(task, 0, |shown| {
            let is = |line: &&str| ["0", "1007"].contains(line);
            let figures: Vec<_> = shown.lines().filter(is).collect();
            let received = shown.matches("# Received: Hello, world").count();
            figures.iter().filter(|it| **it == "0").count() == statuses
                && figures.contains(&"1007")
                && received == statuses - 1
        });
    }
}

#[test]
fn a_window_that_changes_its_size_sends_a_signal_and_the_size_must_be_asked_for() {
    let mut shell = sigshm_from("sh");
    shell.args(["-c", block("\n**A window.** ", "sh", 0)]);
    let run = Program::start_on(Terminal::new(), shell);
    let mut sizes = [(20, 70), (24, 80)].into_iter().cycle();
    // (One that comes before the shell listens is lost.)
    wait_until("both sizes are shown", || {
        let (rows, columns) = sizes.next().unwrap();
        run.terminal().resize(rows, columns);
        thread::sleep(Duration::from_millis(100));
        let shown = run.printed();
        ["20 70", "24 80"].iter().all(|it| shown.contains(it))
    });
}

/// The block in this language, of this number after the heading.
fn block(heading: &str, language: &str, number: usize) -> &'static str {
    let (_, rest) = LESSON.split_once(heading).expect(heading);
    let block = rest.split(&format!("\n```{language}\n")).nth(number + 1).expect(heading);
    block.split("\n```").next().unwrap()
}

/// Types a block of commands, in a folder that looks like this package's.
fn run_block(heading: &str, number: usize) -> Finished {
    let scratch = Scratch::unchecked();
    let [peers, debug] = ["tests", "target/debug"].map(|it| scratch.dir().join(it));
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), peers).unwrap();
    fs::create_dir_all(&debug).unwrap();
    symlink(program(), debug.join("sigshm")).unwrap();
    let article = scratch.dir().join("target/article");
    symlink(compile_peer("article"), article).unwrap();
    // What a student has written; see the homework.
    let mine = if heading.contains("sender") { "sender" } else { "listener" };
    symlink(compile_peer(mine), scratch.dir().join("mine")).unwrap();
    let commands = block(heading, "sh", number);
    let cargo = "cargo() { shift 3; ./target/debug/sigshm \"$@\"; }; clear() { printf '\\f'; }\n";
    let mut shell = sigshm_from("sh");
    run(shell.current_dir(scratch.dir()).args(["-c", &(cargo.to_owned() + commands)]))
}

/// The last lines of what the lesson shows appear.
fn assert_shows(heading: &str, lines: usize) {
    let promised = shape(block(heading, "text", 0), lines);
    assert_typed(heading, 0, |shown| shape(shown, lines) == promised);
}

/// What a block of commands shows is right. (The lesson's delays may be too short for a machine
/// that is busy with other tests. So there are five tries.)
fn assert_typed(heading: &str, number: usize, is_right: impl Fn(&str) -> bool) {
    for attempt in 1.. {
        let typed = run_block(heading, number);
        // (The segments that ipcs lists may be anybody's.)
        let fits = |screen: &str| screen.lines().filter(|it| !it.starts_with("0x")).count() <= 24;
        assert!(typed.text().split('\x0c').all(fits), "{}", typed.text());
        if is_right(typed.text()) {
            return;
        }
        assert!(attempt < 5, "{heading}: {}{}", typed.text(), typed.stderr);
    }
}

/// The last lines, without what differs: PIDs, a user, a terminal, and how the C library asks for a
/// file's status.
fn shape(text: &str, lines: usize) -> Vec<String> {
    let text = text.replace(&format!("si_uid={}}}", Uid::current()), "si_uid=1000}");
    let shape = |line: &str| {
        let parts = line.split_whitespace().flat_map(|word| {
            let is_other = |it: char| !it.is_ascii_alphanumeric();
            word.split(is_other).map(move |part| (part, part == word)).collect::<Vec<_>>()
        });
        let differs = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let parts = parts.filter(|(part, is_word)| !differs(part) || (*is_word && part.len() == 1));
        parts.map(|(part, _)| part).collect::<Vec<_>>().join(" ")
    };
    let shown: Vec<String> = text.lines().map(shape).collect();
    let shown = &shown[shown.len().saturating_sub(lines)..];
    shown.iter().filter(|it| !it.contains("stat")).cloned().collect()
}
