//! Programs of which it is known what they break: `tests/peers/careful.c` without one of its
//! safeguards, the article's program, programs of other design, and some that are out of hand.
//!
//! `cargo test --test check careful -- --nocapture` prints the table of the lesson's ninth stop.

use std::sync::{Mutex, MutexGuard};

use crate::check::{Check, Effort};
use crate::promises::{Promise, Promise::*, Tally};
use crate::runs::{Limits, Subject, descendants_of_this};
use crate::support::*;
use crate::table;

/// One check at a time: each waits for all children of this process, and ends them.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    ALONE.lock().unwrap_or_else(|it| it.into_inner())
}

/// The same, if nobody has named a program, and C can be compiled.
#[track_caller]
fn alone_and_known() -> Option<MutexGuard<'static, ()>> {
    let alone = alone();
    (env::var_os("PROGRAM").is_none() && compiles_c()).then_some(alone)
}

/// What is left out of careful.c, what it does there, and which promises are broken without it:
/// always, and if enough runs are made.
type Row = (&'static [&'static str], &'static str, &'static [Promise], &'static [Promise]);

const ROWS: [Row; 11] = [
    (&[], "(careful.c as it is)", &[], &[]),
    (&["READY"], "waits for the listener", &[TooEarly], &[Received]),
    (&["BLOCK"], "signal only while asleep", &[ProcessLeft, SleptThrough], &[]),
    (&["INLINE_TEXT"], "the text is in the struct", &[], &[]),
    (&["EXCLUSIVE"], "takes only a new segment", &[Foreign], &[]),
    (&["LOCK"], "one run at a time", &[], &[AtOnce]),
    (&["LOCK", "EXCLUSIVE"], "both of these", &[Foreign], &[AtOnce]),
    (&["REAP"], "waits for the child's end", &[ExitStatus, Reaped], &[Received]),
    (&["REMOVE"], "removes the segment", &[AtOnce, SegmentLeft], &[]),
    (&["CLEANUP"], "removes it after a signal", &[], &[AfterSignal]),
    (&["FLUSH"], "each line is one write", &[Once], &[]),
];

#[test]
fn careful_c_keeps_all_promises_and_without_a_safeguard_breaks_those_that_belong_to_it() {
    let Some(_alone) = alone_and_known() else { return };
    let header = ["broken then, in how many of the runs".to_owned()];
    print!("\n{}", table::of_safeguard("left out", "what it does", &header));
    for (left_out, does, always, with_luck) in ROWS {
        let subject = subject(&compile_peer_without("careful", left_out));
        let is_expected = |it: &Promise| always.contains(it) || with_luck.contains(it);
        let expected: Vec<_> = Promise::all().filter(is_expected).collect();
        let name = left_out.join(", ");
        let (tallies, mut broken) = until_broken(&subject, &expected);
        if left_out == ["BLOCK"] {
            // It is a matter of luck, though rare, that the signal comes at that moment by itself.
            broken.retain(|it| !matches!(it, Received | Lengths | AtOnce));
        }
        assert_the_lesson_shows(&name, does, &expected);
        print!("{}", table::of_safeguard(&name, does, &table::broken(&tallies)));
        assert_eq!(broken, expected, "{name}: {}", table::of_one(&tallies));
    }
}

/// How often a promise is broken is another number each time.
#[track_caller]
fn assert_the_lesson_shows(left_out: &str, does: &str, broken: &[Promise]) {
    let words = |text: &str| {
        let is_word = |it: &&str| !it.contains('/') || it.contains(char::is_alphabetic);
        text.split_whitespace()
            .filter(is_word)
            .map(|it| it.trim_end_matches(',').to_owned())
            .collect()
    };
    let names = broken.iter().map(|it| it.row().name.to_owned()).collect::<Vec<_>>();
    let names = if names.is_empty() { vec!["nothing".to_owned()] } else { names };
    let row: Vec<String> = words(&table::of_safeguard(left_out, does, &names));
    let lesson: Vec<String> = words(include_str!("../../src/lesson.md"));
    assert!(lesson.windows(row.len()).any(|it| it == row), "the lesson has no {row:?}");
}

/// Checks the program. What is a matter of luck may need more runs (READY and REAP do, on one
/// processor that is not busy).
fn until_broken(subject: &Subject, expected: &[Promise]) -> (Vec<Tally>, Vec<Promise>) {
    let mut effort = Effort::SHORT;
    loop {
        let tallies = Check::of(subject, effort);
        let table = table::of_one(&tallies);
        assert!(table.lines().all(|it| it.chars().count() <= 80), "{table}");
        let is_broken = |it: &Promise| tallies[*it as usize].broken > 0;
        let broken: Vec<_> = Promise::all().filter(is_broken).collect();
        // Without ptrace(2), four promises are not tested, and that has been said.
        let is_tested = |it: &Promise| tallies[*it as usize].not_tested.is_none();
        let expected: Vec<_> = expected.iter().copied().filter(is_tested).collect();
        if expected.iter().all(|it| broken.contains(it)) || effort.runs > 1000 {
            return (tallies.to_vec(), broken);
        }
        effort = effort.times(4);
    }
}

fn subject(program: &Path) -> Subject {
    Subject { words: vec![program.into()], limits: Effort::SHORT.limits }
}

#[test]
fn the_articles_program_breaks_what_the_lesson_says() {
    let Some(_alone) = alone_and_known() else { return };
    let expected =
        [Received, ExitStatus, Once, Foreign, SegmentLeft, AfterSignal, Reaped, Handler, TooEarly];
    let (tallies, mut broken) = until_broken(&subject(&compile_peer("article")), &expected);
    // If a signal ends its sender before that has sent its own, the listener spins on.
    broken.retain(|it| *it != ProcessLeft);
    print!("{}", table::of_safeguard("article.c", "", &table::broken(&tallies)));
    assert_eq!(broken, expected, "{}", table::of_one(&tallies));
}

#[test]
fn programs_of_other_design_break_nothing_and_with_one_fault_what_belongs_to_it() {
    let Some(_alone) = alone_and_known() else { return };
    let rows: [(&str, &[Promise]); 9] = [
        ("PRIVATE", &[]),
        ("POSIX", &[]),
        ("THREAD", &[]),
        ("GRANDCHILD", &[]),
        ("WITH_PRINTF", &[Handler]),
        ("WITH_SLEEP", &[TooEarly]),
        ("WITH_HANG", &[Killed]),
        ("WITH_CUT", &[Lengths, ExitStatus]),
        ("WITH_ZERO", &[ExitStatus]),
    ];
    for (design, expected) in rows {
        let program = compile_peer_with("designs", &[design.to_owned()]);
        let (tallies, mut broken) = until_broken(&subject(&program), expected);
        if design == "WITH_SLEEP" {
            // On a busy machine it sleeps too short now and then.
            broken.retain(|it| !matches!(it, Received | Lengths | AtOnce));
        }
        assert_eq!(broken, expected, "{design}: {}", table::of_one(&tallies));
    }
}

/// A script that does this.
fn script(scratch: &Scratch, text: &str) -> PathBuf {
    let path = scratch.dir().join("script");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn sigshm_itself_keeps_all_promises() {
    let Some(_alone) = alone_and_known() else { return };
    let scratch = Scratch::new();
    let sigshm = program();
    let run = format!("exec '{}' --wait sleep --path \"$2\" -- \"$1\"", sigshm.display());
    let script = script(&scratch, &run);
    let (tallies, broken) = until_broken(&subject(&script), &[]);
    assert_eq!(broken, [], "{}", table::of_one(&tallies));
    assert!(tallies.iter().all(|it| it.not_applicable.is_none()), "{}", table::of_one(&tallies));
}

#[test]
fn a_program_that_is_out_of_hand_is_said_to_be_and_nothing_of_it_is_left() {
    let Some(_alone) = alone_and_known() else { return };
    let limits = Limits { end: Duration::from_millis(500), left: Duration::from_millis(100) };
    for (does, said) in [
        ("while :; do sleep 1; done", "it hung, and was killed"),
        ("yes", "it printed more than 1048576 bytes, and was killed"),
        ("fork() { fork & fork & wait; }; fork", "it had more than 100 processes, and was killed"),
        ("kill -SEGV $$", "SIGSEGV killed it"),
        ("setsid sleep 1000 & echo Received: \"$1\"", "was still there"),
    ] {
        let scratch = Scratch::unchecked();
        let subject = Subject { limits, ..subject(&script(&scratch, does)) };
        let effort = Effort { runs: 3, disturbed: 3, rounds: 1, limits, ..Effort::SHORT };
        let table = table::of_one(&Check::of(&subject, effort));
        let words = table.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(said), "{does}: {table}");
        assert_eq!(descendants_of_this(0), [], "{does}");
    }
}

#[test]
fn a_program_that_cannot_be_started_is_named_with_what_to_do() {
    needs!(env::var_os("PROGRAM").is_none());
    let _alone = alone();
    let scratch = Scratch::new();
    let file = scratch.path().display().to_string();
    for (name, said) in [
        ("", "PROGRAM is empty"),
        (" ", "PROGRAM is empty"),
        (
            "./no-such-program",
            "there is no program \"./no-such-program\": it names a file, or a command",
        ),
        ("no-such-program", "there is no program \"no-such-program\""),
        ("README.md", "a file of this folder is ./README.md"),
        (&file, "is not executable: see chmod(1)"),
    ] {
        let error = Subject::named(name, Effort::SHORT.limits).unwrap_err();
        assert!(error.contains(said), "{name:?}: {error}");
    }
    let python = Subject::named("sh -c true", Effort::SHORT.limits).unwrap();
    assert_eq!(python.words, ["sh", "-c", "true"]);
}
