//! What there is to learn from each step, and what a stop says. The texts are in `lessons.txt`, a
//! section for each step: `>` what is about to happen, `$` what to type in a second terminal just
//! then, `=` what that shows, `*` what there is to learn. Words in capitals stand for real numbers.

use super::Known;
use crate::message::NOTIFICATION;
use crate::step::Step;

/// What there is to say about a step, line by line, and in front of each line its kind.
pub(super) fn of(step: &Step<'_>, known: &Known) -> Vec<(char, String)> {
    let name = name(step, known.related);
    let mut sections = include_str!("lessons.txt").split("\n\n");
    let section = sections.find_map(|section| section.strip_prefix(name)?.strip_prefix('\n'));
    let text = fill_in(&section.unwrap_or_default().replace("\n  ", " "), known);
    let line = |line: &str| Some((line.chars().next()?, line.get(2..)?.to_owned()));
    text.lines().filter_map(line).collect()
}

fn name(step: &Step<'_>, related: bool) -> &'static str {
    match step {
        Step::MessageSize(_) => "MessageSize",
        Step::CreatingMessage => "CreatingMessage",
        Step::Forking => "Forking",
        Step::Listening(Some(_), _) => "Listening",
        Step::Listening(None, _) => "ListeningAlone",
        Step::Registered => "Registered",
        Step::Ready => "Ready",
        Step::Writing(..) => "Writing",
        Step::Notifying(_) => "Notifying",
        Step::ReceivedSignal(..) => "ReceivedSignal",
        Step::Received(_) => "Received",
        Step::AllDone if related => "AllDone",
        Step::AllDone => "AllDoneAlone",
        Step::Woken(_) | Step::FoundNothing(_) => "",
    }
}

/// Puts in the real numbers.
fn fill_in(text: &str, known: &Known) -> String {
    let number = |number: Option<i32>| number.unwrap_or_default().to_string();
    let bit = format!("bit {:x}", 1u64 << (NOTIFICATION as u32 - 1));
    text.replace("SENDER", &number(known.sender.map(|pid| pid.as_raw())))
        .replace("LISTENER", &number(known.listener.map(|pid| pid.as_raw())))
        .replace("SEGMENT", &number(known.segment))
        .replace("BIT", &bit)
}
