//! What `src/explain/lessons.txt` says is told, all of it, and each line at its step.
//!
//! The file is text, and no compiler looks at it: a name that is misspelt there would be a section
//! that nobody reads, and a mark or a placeholder that nobody knows would be a line that is not
//! told, or told as it is. So what is printed is compared with the file.

use std::collections::BTreeSet;

use crate::support::told::told_calls;
use crate::support::*;

const LESSONS: &str = include_str!("../../src/explain/lessons.txt");

/// Who tells, and the sections that are told there, in the order of the steps. Where a step has
/// another section for its way, the plain one would say what is not true.
const STORIES: [(&str, &str); 4] = [
    (
        "a parent and its child",
        "MessageSize, CreatingMessage, Forking, Listening, Registered, Ready, Writing, Notifying, \
         ReceivedSignal, Received, AllDone",
    ),
    ("a listener alone", "Listening (alone), Registered, ReceivedSignal, Received"),
    ("a sender alone", "MessageSize, CreatingMessage, Writing, Notifying, AllDone (alone)"),
    (
        "a parent and its child, through a socket",
        "MessageSize (socket), CreatingMessage (socket), Forking (socket), Listening (socket), \
         Waiting (socket), Sending (socket), Received (socket), AllDone (socket)",
    ),
];

#[test]
fn each_step_has_its_section_and_there_are_no_others() {
    let steps: BTreeSet<&str> = STORIES.iter().flat_map(|(_, steps)| steps.split(", ")).collect();
    let mut titles: Vec<&str> = sections().into_iter().map(|(title, _)| title).collect();
    titles.sort_unstable();
    // In lists, so that a section that stands there twice is one too many: only the first is read.
    assert_eq!(titles, steps.into_iter().collect::<Vec<_>>());
}

#[test]
fn only_two_sections_are_empty() {
    let empty = sections().into_iter().filter(|(_, lines)| lines.is_empty());
    let empty: BTreeSet<&str> = empty.map(|(title, _)| title).collect();
    // Until the fork a run through a socket does nothing that there would be a word to say about.
    assert_eq!(empty, BTreeSet::from(["CreatingMessage (socket)", "MessageSize (socket)"]));
}

#[test]
fn each_line_of_each_section_is_told_at_its_step_with_the_real_numbers_and_no_placeholder_is_left()
{
    for (Story { text, known }, (who, steps)) in stories().iter().zip(STORIES) {
        let mut expected = Vec::new();
        for step in steps.split(", ") {
            let section = sections().into_iter().find(|(title, _)| *title == step);
            let (_, lines) = section.unwrap_or_else(|| panic!("{who}: there is no {step}"));
            let real = |line: String| {
                known.iter().fold(line, |line, (placeholder, real)| line.replace(placeholder, real))
            };
            expected.extend(lines.into_iter().map(|(mark, line)| (mark, real(line))));
        }
        let told = lines_told(text);
        for (told, expected) in told.iter().zip(&expected) {
            assert_eq!(told, expected, "{who} (left is what is told): {text}");
        }
        assert_eq!(told.len(), expected.len(), "{who}: {text}");

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
    let mut told: Vec<(&str, String)> = Vec::new();
    // The line before, if it is told by the file and may go on.
    let mut open = "";
    for line in text.lines() {
        let begins = [(">", "    [next: "), ("$", "      $ "), ("*", "    * ")];
        let begun =
            begins.into_iter().find_map(|(mark, start)| Some((mark, line.strip_prefix(start)?)));
        let goes_on = match open {
            ">" => line.strip_prefix("    "),
            "=" => line.strip_prefix("          "),
            "*" => line.strip_prefix("      "),
            _ => None,
        };
        // What a command shows has no mark of its own, only its margin.
        let shown = line.strip_prefix("          ").filter(|_| open == "$");
        if let Some((mark, words)) = begun.or(shown.map(|words| ("=", words))) {
            told.push((mark, words.to_owned()));
            open = mark;
        } else if let Some(rest) = goes_on {
            told.last_mut().unwrap().1 += &format!(" {rest}");
        } else {
            open = "";
        }
        if let (">", Some((_, words))) = (open, told.last_mut()) {
            if let Some(whole) = words.strip_suffix(']') {
                *words = whole.to_owned();
                open = "";
            }
        }
    }
    // How often a look found nothing is counted, and is no line of the file.
    told.retain(|(_, words)| !words.starts_with("Looked again, with the same result: "));
    told
}

/// What one terminal shows of a run.
struct Story {
    text: String,
    /// The placeholders, and what the run has for them.
    known: Vec<(&'static str, String)>,
}

impl Story {
    fn new(text: String, sender: Pid, listener: Pid) -> Self {
        let calls = told_calls(&text);
        let segment = calls.iter().find(|call| call.name() == "shmget");
        let segment = segment.map(|call| call.returned.clone());
        let known = vec![
            ("{sender}", sender.to_string()),
            ("{listener}", listener.to_string()),
            ("{segment}", segment.unwrap_or_default()),
            ("{signal}", "SIGUSR1".to_owned()),
            ("{name}", "USR1".to_owned()),
            ("{bit}", format!("bit {:#x}", bit(SIGUSR1))),
            ("{default}", "kills the process".to_owned()),
        ];
        Self { text, known }
    }
}

/// The stories above, as they are told step by step, with an Enter for each stop.
#[track_caller]
fn stories() -> [Story; 4] {
    let scratch = Scratch::new();
    let stepping = ["--step", "--color=never"];
    let of_two = |mut command: Command| {
        let program = Program::start_with_enters(command.arg("Hello, world"));
        let (sender, text) = (program.pid(), program.finish_well());
        let listener = Pid::from_raw(listener_in(&text));
        Story::new(text, sender, listener)
    };
    let demo = of_two(scratch.sigshm(stepping));
    let through_a_socket = of_two(scratch.via_socket(stepping));

    let listener = Program::start_with_enters(scratch.sigshm(stepping).arg("--listen"));
    listener.until_printed("# Registering");
    let to = listener.pid();
    let sender = Program::start_with_enters(scratch.sender(to, &stepping, "Hello, world"));
    let from = sender.pid();
    let sender = Story::new(sender.finish_well(), from, to);
    let listener = Story::new(listener.finish_well(), from, to);
    [demo, listener, sender, through_a_socket]
}
