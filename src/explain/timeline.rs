//! The timeline: who did what when, and what crossed from one process to the other.
//!
//! It is made of letters only, so that it reads the same in every terminal, on paper and without
//! colours, and it is not wider than 80 columns.

use super::entry::{Entry, Kind};
use crate::output::palette::{Line, Role};
use crate::step::Who;

/// The widths of the sender's column and of the column of arrows.
const LEFT: usize = 22;
const MIDDLE: usize = 22;

/// What one process did, in its column, and what crossed then.
fn row(Entry { who, kind, text, crosses, .. }: &Entry) -> String {
    let (left, right) = if *who == Who::Sender { (text.as_str(), "") } else { ("", text.as_str()) };
    // An arrow is one column shorter than its room: `----- fork ------->`
    let width = MIDDLE - 2;
    let middle = match kind {
        Kind::ToListener => format!("{:-^width$}>", format!(" {crosses} ")),
        Kind::ToSender => format!("<{:-^width$}", format!(" {crosses} ")),
        _ => String::new(),
    };
    columns(left, &middle, right)
}

fn columns(left: &str, middle: &str, right: &str) -> String {
    format!("{left:<LEFT$}{middle:<MIDDLE$}{right}").trim_end().to_owned()
}

/// Draws a run in two columns, the sender's and the listener's, time running down.
///
/// The time is in microseconds, or in milliseconds if the run was too long for the column.
pub fn picture(sender: &str, listener: &str, events: &[Entry]) -> Vec<Line> {
    let mut events: Vec<&Entry> = events.iter().collect();
    events.sort_by_key(|event| event.at);
    let Some(last) = events.last() else { return Vec::new() };
    let is_long = last.at.as_secs() >= 100;
    let (unit, name) = if is_long { ("ms", "milliseconds") } else { ("us", "microseconds") };
    let mut lines = vec![
        (Role::Lesson, format!("The run, in {name} since its start:")),
        (Role::Lesson, format!("{unit:>8}  {}", columns("sender", "", "listener"))),
        (Role::Lesson, format!("{:>8}  {}", "", columns(sender, "", listener))),
    ];
    for event in events {
        let at = if is_long { event.at.as_millis() } else { event.at.as_micros() };
        lines.push((event.role, format!("{at:>8}  {}", row(event))));
    }
    lines
}
