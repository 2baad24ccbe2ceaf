//! What there is to learn from each step, and what a stop says. The texts are in `lessons.txt`.
//!
//! Each step has a section under its name, and another one, with the way in parentheses, where
//! something else is true: for two processes that are not related (`alone`), or without shared
//! memory (`socket`). Each line begins with a mark: `>` what is about to happen, `$` what to type
//! in a second terminal just then, `=` what that shows, `#` a heading, `*` what there is to learn.
//! A line that goes on begins with two blanks. `{signal}` and the like stand for what the run has.

use super::entry::Known;
use crate::step::{Step, Via};

/// What there is to say about a step, line by line, each with its mark. Panics if the step has no
/// section, so that a misspelt one fails each run.
pub(super) fn of(step: &Step<'_>, known: &Known) -> Vec<(char, String)> {
    let name = match step {
        Step::Preparing => "Preparing",
        Step::Locking => "Locking",
        Step::Checking => "Checking",
        Step::MessageSize(_) => "MessageSize",
        Step::CreatingMessage => "CreatingMessage",
        Step::Forking => "Forking",
        Step::Listening(..) => "Listening",
        Step::Registered(_) => "Registered",
        Step::Ready => "Ready",
        Step::Waiting => "Waiting",
        Step::Writing(..) => "Writing",
        Step::Notifying(_) => "Notifying",
        Step::Sending(_) => "Sending",
        Step::ReceivedSignal(..) => "ReceivedSignal",
        Step::Received(_) => "Received",
        Step::AllDone | Step::Done => "AllDone",
        // They are parts of other steps.
        Step::Spun(_) | Step::Woken | Step::FoundNothing(_) => return Vec::new(),
    };
    let section = |title: &str| {
        let mut sections = include_str!("lessons.txt").split("\n\n");
        sections.find(|section| section.lines().next() == Some(title))
    };
    let way = match known.via {
        Via::Memory if known.related => String::new(),
        Via::Memory => " (alone)".to_owned(),
        way => format!(" ({way:?})").to_lowercase(),
    };
    let own = section(&format!("{name}{way}"));
    let section = own.or_else(|| section(name)).expect("each step has a section");
    let text = section.replace("\n  ", " ");
    let marked = |line: &str| Some((line.chars().next()?, fill_in(line.get(2..)?, known)));
    text.lines().filter_map(marked).collect()
}

/// Puts in the real numbers and names.
fn fill_in(line: &str, known: &Known) -> String {
    let number = |number: Option<i32>| number.unwrap_or_default().to_string();
    let signal = known.signal.as_str();
    // See signal(7).
    let default = match signal {
        "SIGCHLD" | "SIGURG" | "SIGWINCH" | "SIGINFO" => "does nothing",
        "SIGCONT" => "only lets a stopped process go on",
        "SIGTSTP" | "SIGTTIN" | "SIGTTOU" => "stops the process",
        _ => "kills the process",
    };
    line.replace("{sender}", &number(known.sender.map(|pid| pid.as_raw())))
        .replace("{listener}", &number(known.listener.map(|pid| pid.as_raw())))
        .replace("{segment}", &number(known.segment))
        .replace("{signal}", signal)
        .replace("{default}", default)
        .replace("{name}", &signal[3..])
        .replace("{bit}", &format!("bit {:#x}", 1u64 << (known.signal as u32 - 1)))
}
