//! What there is to learn from each step, and what a stop says. The texts are in `lessons.txt`, a
//! section for each step: `>` what is about to happen, `$` what to type in a second terminal just
//! then, `=` what that shows, `*` what there is to learn. Words in capitals stand for real numbers
//! and names.

use super::Known;
use crate::step::Step;

/// What there is to say about a step, line by line, and in front of each line its kind.
pub(super) fn of(step: &Step<'_>, known: &Known) -> Vec<(char, String)> {
    let name = name(step);
    let section = |name: &str| {
        let mut sections = include_str!("lessons.txt").split("\n\n");
        sections.find_map(|section| section.strip_prefix(name)?.strip_prefix('\n'))
    };
    let section = match known.signal {
        None => section(&format!("{name} (socket)")),
        Some(_) if known.related => section(name),
        Some(_) => section(&format!("{name} (alone)")).or(section(name)),
    };
    let text = fill_in(&section.unwrap_or_default().replace("\n  ", " "), known);
    let line = |line: &str| Some((line.chars().next()?, line.get(2..)?.to_owned()));
    text.lines().filter_map(line).collect()
}

fn name(step: &Step<'_>) -> &'static str {
    match step {
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
        Step::Spun(_) | Step::Woken | Step::FoundNothing(_) => "",
    }
}

/// Puts in the real numbers and names.
fn fill_in(text: &str, known: &Known) -> String {
    let number = |number: Option<i32>| number.unwrap_or_default().to_string();
    let mut text = text
        .replace("SENDER", &number(known.sender.map(|pid| pid.as_raw())))
        .replace("LISTENER", &number(known.listener.map(|pid| pid.as_raw())))
        .replace("SEGMENT", &number(known.segment));
    if let Some(signal) = known.signal {
        // See signal(7).
        let default = match signal.as_str() {
            "SIGCHLD" | "SIGURG" | "SIGWINCH" | "SIGINFO" => "does nothing",
            "SIGCONT" => "only lets a stopped process go on",
            "SIGTSTP" | "SIGTTIN" | "SIGTTOU" => "stops the process",
            _ => "kills the process",
        };
        text = text
            .replace("DEFAULT", default)
            .replace("SIGNAL", signal.as_str())
            .replace("NAME", &signal.as_str()[3..])
            .replace("BIT", &format!("bit {:#x}", 1u64 << (signal as u32 - 1)));
    }
    text
}
