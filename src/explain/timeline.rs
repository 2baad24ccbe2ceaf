//! The timeline: who did what when, and what crossed from one process to the other.
//!
//! It is made of letters only, so that it reads the same in every terminal, on paper and without
//! colours, and it is not wider than 80 columns.

use nix::sys::wait::WaitStatus;

use super::entry::{Entry, Kind, Known};
use crate::output::palette::{Line, Role};
use crate::step::Who;
use crate::sys::trace::{Answer, Call, Record};

/// The widths of the sender's column and of the column of arrows.
const LEFT: usize = 22;
const MIDDLE: usize = 22;

/// The event of a call, and what crosses then; most calls have none.
pub(super) fn event_of(record: &Record, known: &Known) -> Option<(String, Kind, String)> {
    use Kind::{Event, ToListener, ToSender};
    use Who::{Listener, Sender};

    let answer = record.result.as_ref().ok()?;
    let number = answer.number();
    let segment = format!("segment {}", known.segment.unwrap_or_default());
    let (what, kind, crosses) = match (known.who, &record.call, answer) {
        (Sender, Call::Fork, _) => (&*format!("fork() = {number}"), ToListener, "fork"),
        (Listener, Call::Fork, _) => ("fork() = 0", Event, ""),
        (Listener, Call::Sigaction(_, libc::SIG_DFL | libc::SIG_IGN), _) => return None,
        (Listener, Call::Sigaction(..), _) => ("registers its handler", Event, ""),
        (Listener, Call::Write(..), _) => ("says: ready", ToSender, "ready"),
        (Sender, Call::Read(_), Answer::Byte(Some(_))) => ("reads: ready", Event, ""),
        (Sender, Call::Shmget(..), _) => (&*format!("shmget() = {number}"), Event, ""),
        (Sender, Call::CopyIn(..), _) => ("copies the message in", ToListener, &*segment),
        (Sender, Call::Kill(_, Some(signal)), _) => ("kill()", ToListener, signal.as_str()),
        (Listener, Call::CopyOut(..), _) => ("copies the message out", ToListener, &*segment),
        (Sender, Call::Send(..), _) => ("sends the message", ToListener, "message"),
        (Listener, Call::Recv(..), _) => ("receives the message", Event, ""),
        (Sender, Call::Waitpid(_), Answer::Ended(WaitStatus::Exited(_, status))) => {
            (&*format!("waitpid() = {number}"), ToSender, &*format!("exit status {status}"))
        }
        (Sender, Call::IpcRmid(_), _) if known.created => ("removes the segment", Event, ""),
        (Sender, Call::IpcRmid(_), _) => ("removes what was left", Event, ""),
        _ => return None,
    };
    Some((what.to_owned(), kind, crosses.to_owned()))
}

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
