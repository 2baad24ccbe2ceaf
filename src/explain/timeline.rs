//! The timeline: who did what when, and what crossed from one process to the other.
//!
//! It is made of letters only, so that it reads the same in every terminal, on paper and without
//! colours, and it is not wider than 80 columns.

use std::time::Duration;

use nix::sys::wait::WaitStatus;

use super::Known;
use crate::output::palette::{Line, Role};
use crate::sys::signal::Signal;
use crate::sys::trace::{Call, Record};

/// The widths of the sender's column and of the column of arrows.
const LEFT: usize = 22;
const MIDDLE: usize = 22;

/// What crosses from one process to the other, if anything.
pub enum Crosses {
    Nothing,
    ToListener(String),
    ToSender(String),
}

/// The event of a call; most calls have none.
pub(super) fn event_of(record: &Record, who: Role, known: &Known) -> Option<Line> {
    use Crosses::{Nothing, ToListener, ToSender};
    use Role::{Listener, Sender};

    let through = ToListener(format!("segment {}", known.segment.unwrap_or_default()));
    let number = record.result.ok()?;
    let (what, crosses) = match (who, &record.call) {
        (Sender, Call::Fork) => (format!("fork() = {number}"), ToListener("fork".into())),
        (Listener, Call::Fork) => ("fork() = 0".into(), Nothing),
        (Listener, Call::Sigaction(_, libc::SIG_DFL | libc::SIG_IGN)) => return None,
        (Listener, Call::Sigaction(..)) => ("registers its handler".into(), Nothing),
        (Listener, Call::Write(..)) => ("says: ready".into(), ToSender("ready".into())),
        (Sender, Call::Read(_, Some(_))) => ("reads: ready".into(), Nothing),
        (Sender, Call::Shmget(..)) => (format!("shmget() = {number}"), Nothing),
        (Sender, Call::CopyIn(..)) => ("copies the message in".into(), through),
        (Sender, Call::Kill(_, Some(signal))) => ("kill()".into(), ToListener(signal.to_string())),
        (Listener, Call::CopyOut(..)) => ("copies the message out".into(), through),
        (Sender, Call::Send(..)) => ("sends the message".into(), ToListener("message".into())),
        (Listener, Call::Recv(..)) => ("receives the message".into(), Nothing),
        (Sender, Call::Waitpid(_, Some(WaitStatus::Exited(_, status)))) => {
            (format!("waitpid() = {number}"), ToSender(format!("exit status {status}")))
        }
        (Sender, Call::IpcRmid(_)) if known.created => ("removes the segment".into(), Nothing),
        (Sender, Call::IpcRmid(_)) => ("removes what was left".into(), Nothing),
        _ => return None,
    };
    Some(event(who, &what, &crosses))
}

/// The arrival of a signal, with an arrow if this is where it is drawn: in the demo that is at the
/// parent's kill, and nobody draws one for a signal that has come from elsewhere.
pub(super) fn arrival(what: &str, arrow: Option<Signal>) -> Line {
    let name = arrow.map(|signal| Crosses::ToListener(signal.to_string()));
    event(Role::Listener, what, &name.unwrap_or(Crosses::Nothing))
}

/// An event of the timeline, but for its time: what one process did, and what crossed then.
pub fn event(who: Role, what: &str, crosses: &Crosses) -> Line {
    let (left, right) = if who == Role::Sender { (what, "") } else { ("", what) };
    // An arrow is one column shorter than its room: `----- fork ------->`
    let width = MIDDLE - 2;
    let middle = match crosses {
        Crosses::Nothing => String::new(),
        Crosses::ToListener(what) => format!("{:-^width$}>", format!(" {what} ")),
        Crosses::ToSender(what) => format!("<{:-^width$}", format!(" {what} ")),
    };
    (who, columns(left, &middle, right))
}

fn columns(left: &str, middle: &str, right: &str) -> String {
    format!("{left:<LEFT$}{middle:<MIDDLE$}{right}").trim_end().to_owned()
}

/// Draws a run in two columns, the sender's and the listener's, time running down.
///
/// The time is in microseconds, or in milliseconds if the run was too long for the column.
pub fn picture(sender: &str, listener: &str, mut events: Vec<(Duration, Line)>) -> Vec<Line> {
    events.sort_by_key(|(at, _)| *at);
    let is_long = events.last().is_some_and(|(at, _)| at.as_micros() >= 100_000_000);
    let (unit, name) = if is_long { ("ms", "milliseconds") } else { ("us", "microseconds") };
    let mut lines = vec![
        (Role::Lesson, format!("The run, in {name} since its start:")),
        (Role::Lesson, format!("{unit:>8}  {}", columns("sender", "", "listener"))),
        (Role::Lesson, format!("{:>8}  {}", "", columns(sender, "", listener))),
    ];
    lines.extend(events.into_iter().map(|(at, (role, event))| {
        let at = if is_long { at.as_millis() } else { at.as_micros() };
        (role, format!("{at:>8}  {event}"))
    }));
    lines
}
