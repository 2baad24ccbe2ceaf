//! What `src/explain/lessons.txt` says is told, all of it, and each line at its step.
//!
//! No compiler looks at that file: a misspelt name would be a section that nobody reads, and an
//! unknown mark or placeholder a line that is not told, or told as it is.

use std::collections::BTreeSet;

use crate::support::told::told_calls;
use crate::support::*;

const LESSONS: &str = include_str!("../../src/explain/lessons.txt");

/// Who tells, and the sections that are told there, in the order of the steps. Where a step has
/// another section for its way, the plain one would say what is not true.
const STORIES: [(&str, &str); 4] = [
    (
        "a parent and its child",
        "Preparing, Locking, MessageSize, CreatingMessage, Forking, Listening, Registered, Ready, \
         Writing, Notifying, ReceivedSignal, Received, AllDone",
    ),
    ("a listener alone", "Preparing, Listening (alone), Registered, ReceivedSignal, Received"),
    (
        "a sender alone",
        "Preparing, Locking, Checking, MessageSize, CreatingMessage, Writing, Notifying, \
         AllDone (alone)",
    ),
    (
        "a parent and its child, through a socket",
        "Preparing, MessageSize (socket), CreatingMessage (socket), Forking (socket), \
         Listening (socket), Waiting (socket), Sending (socket), Received (socket), \
         AllDone (socket)",
    ),
];

#[test]
fn each_step_has_its_section_there_are_no_others_and_only_two_are_empty() {
    let mut sections = sections();
    let steps: BTreeSet<&str> = STORIES.iter().flat_map(|(_, steps)| steps.split(", ")).collect();
    sections.sort_unstable();
    // In lists, so that a section that stands there twice is one too many: only the first is read.
    assert_eq!(Vec::from_iter(sections.iter().map(|it| it.0)), Vec::from_iter(steps));

    sections.retain(|(_, lines)| lines.is_empty());
    // Until the fork a run through a socket does nothing that there would be a word to say about.
    let titles = Vec::from_iter(sections.iter().map(|it| it.0));
    assert_eq!(titles, ["CreatingMessage (socket)", "MessageSize (socket)"]);
}

#[test]
fn each_line_of_each_section_is_told_at_its_step_with_the_real_numbers_and_no_placeholder_is_left()
{
    for ((text, sender, listener), (who, steps)) in stories().iter().zip(STORIES) {
        let calls = told_calls(text);
        let segment = calls.iter().find(|call| call.name() == "shmget");
        let known = [
            ("{sender}", sender.to_string()),
            ("{listener}", listener.to_string()),
            ("{segment}", segment.map(|call| call.returned.clone()).unwrap_or_default()),
            ("{signal}", "SIGUSR1".to_owned()),
            ("{name}", "USR1".to_owned()),
            ("{bit}", format!("bit {:#x}", 1 << (SIGUSR1 as u32 - 1))),
            ("{default}", "kills the process".to_owned()),
        ];
        let mut expected = Vec::new();
        for step in steps.split(", ") {
            let section = sections().into_iter().find(|(title, _)| *title == step);
            let (_, lines) = section.unwrap_or_else(|| panic!("{who}: there is no {step}"));
            for (mark, line) in lines {
                let real = known.iter().fold(line, |line, (name, real)| line.replace(name, real));
                expected.push((mark, real));
            }
        }
        let told = lines_told(text);
        assert_same(&told, &expected, &format!("{who} (left is what is told): {text}"));

        for (mark, line) in told {
            for after in line.split('{').skip(1) {
                let is_word = |it: &str| !it.is_empty() && !it.contains(char::is_whitespace);
                let is_placeholder = after.split_once('}').is_some_and(|(it, _)| is_word(it));
                assert!(!is_placeholder, "{who}: {mark} {line}");
            }
        }
    }
}

/// The sections of the file: their titles and their lines, each with its mark. The marks are taken
/// as they are: a line whose mark is wrong is none that is told.
fn sections() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let section = |section: &'static str| {
        let mut lines = section.lines();
        let title = lines.next().unwrap_or_default();
        let mut whole: Vec<(&str, String)> = Vec::new();
        for line in lines {
            match (line.strip_prefix("  "), whole.last_mut()) {
                (Some(rest), Some((_, before))) => *before += &format!(" {rest}"),
                _ => {
                    let (mark, words) = line.split_once(' ').unwrap_or((line, ""));
                    whole.push((mark, words.to_owned()));
                }
            }
        }
        (title, whole)
    };
    LESSONS.split("\n\n").map(section).collect()
}

/// The lines that a text tells, in order, with the marks that they have in the file. Those that
/// were broken are whole again.
fn lines_told(text: &str) -> Vec<(&'static str, String)> {
    // A mark, how a line of it begins, and how it goes on.
    let marks =
        [(">", "    [next: ", "    "), ("$", "      $ ", "          "), ("*", "    * ", "      ")];
    // A heading has no mark there, and ends in a colon. So does the one of a picture.
    let heading = |line: &str| {
        let words = line.strip_prefix("    ").filter(|it| it.ends_with(':'))?;
        let is_other = words.starts_with([' ', '*'])
            || ["The message", "The run"].iter().any(|it| words.starts_with(it));
        (!is_other).then(|| words.to_owned())
    };
    let mut told: Vec<(&str, String)> = Vec::new();
    let mut margin = None;
    for line in text.lines() {
        let rest = margin.and_then(|margin| line.strip_prefix(margin));
        if let Some((mark, start, goes_on)) = marks.iter().find(|it| line.starts_with(it.1)) {
            told.push((*mark, line[start.len()..].to_owned()));
            margin = Some(*goes_on);
        } else if let (Some(rest), Some((mark, words))) = (rest, told.last_mut()) {
            match *mark {
                // What a command shows has no mark of its own, only its margin.
                "$" => told.push(("=", rest.to_owned())),
                _ => *words += &format!(" {rest}"),
            }
        } else {
            told.extend(heading(line).map(|words| ("#", words)));
            margin = None;
        }
        if let Some((">", words)) = told.last_mut() {
            if let Some(whole) = words.strip_suffix(']') {
                (*words, margin) = (whole.to_owned(), None);
            }
        }
    }
    // How often a look found nothing is counted, and is no line of the file.
    told.retain(|(_, words)| !words.starts_with("Looked again, with the same result: "));
    told
}

/// What is shown of the stories above, told step by step with an Enter for each stop; and who the
/// sender and the listener are.
#[track_caller]
fn stories() -> [(String, Pid, Pid); 4] {
    let scratch = Scratch::new();
    let stepping = ["--step", "--color=never"];
    let of_two = |mut command: Command| {
        let program = Program::start_with_enters(command.arg(HELLO));
        let (sender, text) = (program.pid(), program.finish_well());
        let listener = Pid::from_raw(listener_in(&text));
        (text, sender, listener)
    };
    let demo = of_two(scratch.sigshm(stepping));
    let through_a_socket = of_two(scratch.via_socket(stepping));

    let listener = Program::start_with_enters(scratch.sigshm(stepping).arg("--listen"));
    listener.until_printed("# Registering");
    let to = listener.pid();
    let sender = Program::start_with_enters(scratch.sender(to, &stepping, HELLO));
    let from = sender.pid();
    let sender = (sender.finish_well(), from, to);
    [demo, (listener.finish_well(), from, to), sender, through_a_socket]
}
