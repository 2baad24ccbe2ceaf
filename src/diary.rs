//! What each process did when, for the picture of the run.
//!
//! A process keeps its own diary: a [`Row`] for each recorded call that has a place in the picture.
//! A child leaves its diary to its parent as text, a line a row.

use std::time::{Duration, Instant};

use crate::calls::Call;

/// Which of the two processes did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The one on the left.
    Sender,
    /// The one on the right.
    Listener,
}

/// Something that crosses from one process to the other, or half of its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// What crosses.
    pub what: String,
    /// Whether it goes from the sender to the listener, so that the arrow points to the right.
    pub to_listener: bool,
}

/// One moment of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// When it was, counted from the start of the run.
    pub at: Duration,
    /// Who did it.
    pub part: Part,
    /// What was done.
    pub what: String,
    /// What crossed then.
    pub arrow: Option<Arrow>,
}

impl Row {
    /// What a call is in the picture of the run; most are nothing. `segment` is the identifier of
    /// the one that the message goes through, and `related` whether the two are parent and child.
    pub fn of(
        call: &Call,
        part: Part,
        started: Instant,
        segment: Option<i32>,
        related: bool,
    ) -> Option<Self> {
        use Part::{Listener, Sender};

        let to_listener = |what: &str| {
            Some(Arrow {
                what: what.to_owned(),
                to_listener: true,
            })
        };
        let to_sender = |what: &str| {
            Some(Arrow {
                what: what.to_owned(),
                to_listener: false,
            })
        };
        let id = segment.map(|id| id.to_string()).unwrap_or_default();
        let through = format!("segment {id}");
        // There may have been another one, left behind, that was found and removed first.
        let is_of = |returned: &Option<String>| returned.as_ref() == Some(&id);
        let removal = format!("shmctl({id}, IPC_RMID, NULL)");
        let returns = || {
            let returned = call.returned.as_deref().unwrap_or_default();
            format!("{}() = {returned}", call.name())
        };
        // What crosses has left when the call begins, and has arrived when it is over.
        let (at, what, arrow) = match (part, call.name()) {
            (Sender, "fork") => (call.began, returns(), to_listener("fork")),
            (Listener, "fork") => (call.ended, returns(), None),
            (Listener, "sigaction") => (call.ended, "registers its handler".into(), None),
            (Listener, "write") => (call.began, "says: ready".into(), to_sender("ready")),
            (Sender, "read") => (call.ended, "hears it".into(), None),
            (Sender, "shmget") if is_of(&call.returned) => (call.ended, returns(), None),
            (Sender, "copied") => (
                call.ended,
                "copies the message in".into(),
                to_listener(&through),
            ),
            (Sender, "kill") if call.words.contains("SIGUSR1") => {
                (call.began, "kill()".into(), to_listener("SIGUSR1"))
            }
            (Listener, "pselect") => {
                // A parent has a row of its own for the signal.
                let arrow = to_listener("SIGUSR1").filter(|_| !related);
                (call.ended, "the handler notes it".into(), arrow)
            }
            (Listener, "copied") => (
                call.ended,
                "copies the message out".into(),
                to_listener(&through),
            ),
            (Sender, "waitpid") if call.words.contains("WEXITSTATUS(s) == 0") => {
                (call.ended, returns(), to_sender("exit status 0"))
            }
            (Sender, "shmctl") if call.words == removal => {
                (call.ended, "removes the segment".into(), None)
            }
            _ => return None,
        };
        Some(Self {
            at: at.saturating_duration_since(started),
            part,
            what,
            arrow,
        })
    }

    /// The row as a line of text.
    pub fn to_line(&self) -> String {
        let arrow = self.arrow.as_ref().map(|arrow| {
            let direction = if arrow.to_listener { '>' } else { '<' };
            format!("{direction}{}", arrow.what)
        });
        format!(
            "{}\t{}\t{}\n",
            self.at.as_micros(),
            self.what,
            arrow.unwrap_or_default()
        )
    }

    /// The row that a listener has left as a line of text.
    pub fn from_line(line: &str) -> Option<Self> {
        let mut columns = line.split('\t');
        let at = Duration::from_micros(columns.next()?.parse().ok()?);
        let what = columns.next()?.to_owned();
        let arrow = columns.next()?;
        let arrow = arrow.chars().next().map(|direction| Arrow {
            what: arrow[1..].to_owned(),
            to_listener: direction == '>',
        });
        Some(Self {
            at,
            part: Part::Listener,
            what,
            arrow,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_being_text() {
        for arrow in [
            None,
            Some(Arrow {
                what: "segment 7".to_owned(),
                to_listener: true,
            }),
        ] {
            let row = Row {
                at: Duration::from_micros(1234),
                part: Part::Listener,
                what: "copies the message out".to_owned(),
                arrow,
            };
            assert_eq!(
                Row::from_line(row.to_line().trim_end_matches('\n')),
                Some(row)
            );
        }
    }
}
