//! What happens between the lines: the system calls, what they teach, and where to look meanwhile.
//!
//! The explainer hears of every step from the narrator, and prints under the transcript's lines what
//! each took: the calls that [`calls`] has recorded, a sentence where there is a lesson, and the
//! [`pictures`]. If the run goes step by step, it also stops before each step, and offers what can
//! be looked at from a second terminal just then.
//!
//! # The order, and why
//! Two processes explain themselves on one screen, and must not talk at once. In the plain run they
//! take turns anyway: `fork` and `kill` let the child go, its readiness and its end the parent. But
//! each of these is a call that is explained after it was made, when the other may be talking
//! already. So an explained run has a *floor*: whoever has let the other go says what there is to
//! say, and then, through a pipe, gives it the floor. At the end the child leaves behind when it did
//! what, for the picture of the run.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::errno::Errno;
use nix::unistd::{Pid, getpid, write};
use owo_colors::Style;

use crate::calls::{self, Call};
use crate::message::Message;
use crate::pictures::{self, Arrow, Part, Row};
use crate::process::{self, read_byte};
use crate::screen::Screen;
use crate::shm::Record;
use crate::signals::For;

/// Nothing is printed beyond this column.
const WIDTH: usize = 80;

/// What sets explanations apart from the transcript, beside being dim.
const INDENT: &str = "    ";

/// A step of the story.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'a> {
    /// The sender has looked at its argument.
    MessageSize,
    /// The sender fills in the struct.
    CreatingMessage,
    /// The parent is about to make a second process.
    Forking,
    /// The parent has this child now.
    Forked(Pid),
    /// The listener is there.
    Listening {
        /// Its parent, if it has one that takes part.
        parent: Option<Pid>,
    },
    /// The listener has its handler in place.
    Registered,
    /// The listener has told its parent that it is ready.
    Ready,
    /// The sender is about to write the message.
    Writing {
        /// Whom it is for.
        listener: Pid,
    },
    /// The sender is about to send the signal.
    Announcing,
    /// The signal is sent.
    Announced,
    /// A signal has come, and there is no message.
    NothingThere,
    /// A signal has come, and with it a message.
    ReceivedSignal,
    /// The listener has read this message.
    Received(&'a Message),
    /// The listener has nothing left to do.
    Listened,
    /// The message has been read.
    AllDone,
    /// The segment is removed.
    Freed,
}

impl Moment<'_> {
    /// What is about to happen, for whoever may stop it.
    fn next(self) -> Option<&'static str> {
        Some(match self {
            Self::MessageSize => "the sender measures its argument",
            Self::CreatingMessage => "the sender fills in the struct",
            Self::Forking => "the sender forks, and the child becomes the listener",
            Self::Listening { .. } => "the listener tells its PID and registers its handler",
            Self::Registered => "the listener says that its handler is in place",
            Self::Writing { .. } => "the sender creates the segment and writes the message",
            Self::Announcing => "the sender sends the signal",
            Self::ReceivedSignal => "the listener, woken, tells of the signal",
            Self::Received(_) => "the listener tells what it has read",
            Self::AllDone => "the sender detaches and removes the segment",
            _ => return None,
        })
    }

    /// What there is to learn.
    fn lessons(self) -> &'static [&'static str] {
        match self {
            Self::MessageSize => &["Runs that share a file take turns: each locks it first."],
            Self::CreatingMessage => &[
                "The text lies in the struct itself. The article keeps its address there, which \
                 would mean nothing in another process.",
            ],
            Self::Forking => &[
                "One process calls fork, and two return from it. The pipes will tell each when the \
                 other is ready, or gone.",
            ],
            Self::Listening { .. } => &["A signal is sent to a PID: to this one."],
            Self::Registered => {
                &["The listener must be ready first: without a handler, SIGUSR1 would kill it."]
            }
            Self::Ready => &["So the parent waits for a byte through the pipe: ready."],
            Self::Writing { .. } => &[
                "ftok makes the key from the file's device and inode: who has the path, has the \
                 key.",
            ],
            Self::Announcing => &["A signal carries no data. All it says is: look."],
            Self::ReceivedSignal => &[
                "The handler has only stored a number. It may run between any two instructions, \
                 so whatever else it did could find its data half-changed. The loop does the rest.",
            ],
            Self::Received(_) => &[
                "Each process has a map of its own memory, so the address differs from the \
                 sender's. The bytes do not: the segment is one and the same.",
            ],
            Self::AllDone => &[
                "It is the kernel that holds the segment, not a process: nobody removes it but us.",
            ],
            _ => &[],
        }
    }

    /// Whether the calls that lead here were made before it is told, and so belong to it. Others
    /// are told of before the calls are made.
    fn is_told_afterwards(self) -> bool {
        !matches!(
            self,
            Self::CreatingMessage | Self::Forking | Self::Writing { .. } | Self::Announcing
        )
    }
}

/// How the sender knows that the listener has read the message, if that is its child.
const CHILD_ENDED: &str = "A parent must wait for its child: until it asks for the exit status, the \
                           kernel keeps it, and the child stays a zombie.";

/// How it knows if that is a stranger.
const STRANGER_READ: &str = "No word comes back. The kernel's record tells: the listener was the \
                             last to attach or detach, and only the sender is attached.";

/// Whoever explains a run, in one of its processes.
#[derive(Debug)]
pub struct Explainer {
    part: Part,
    stepping: bool,
    started: Instant,
    sender: Option<Pid>,
    listener: Option<Pid>,
    segment: Option<Record>,
    /// How many signals have come without a message.
    strays: usize,
    /// The calls made since they were last printed.
    calls: Vec<Call>,
    /// What this process did, for the picture of the run.
    rows: Vec<Row>,
    /// The pipes from parent to child and back, while it is not yet clear which of them we are.
    pipes: Option<[(OwnedFd, OwnedFd); 2]>,
    floor: Option<Floor>,
}

/// The ends of the two pipes by which processes that share a screen take turns, and through which
/// the child leaves its diary.
#[derive(Debug)]
struct Floor {
    hear: OwnedFd,
    tell: OwnedFd,
}

/// The bytes that give the floor: the run goes on step by step; or it does so no more.
const STEP_ON: u8 = b's';
const RUN_ON: u8 = b'r';

impl Explainer {
    /// Starts recording what this process does. If `stepping`, it also stops before each step.
    pub fn new(stepping: bool) -> Self {
        calls::record();
        Self {
            part: Part::Sender,
            stepping,
            started: Instant::now(),
            sender: Some(getpid()),
            listener: None,
            segment: None,
            strays: 0,
            calls: Vec::new(),
            rows: Vec::new(),
            pipes: None,
            floor: None,
        }
    }

    /// Hears what the kernel has on record of the segment.
    pub fn segment(&mut self, record: Record) {
        self.segment = Some(record);
        self.sender = Some(record.creator_pid);
    }

    /// Explains what led to `moment`, if it is told of before it happens, and stops there.
    ///
    /// # Errors
    /// As [`Screen::line`]; and the floor may never come, because the other process has ended.
    pub fn before(&mut self, moment: Moment<'_>, screen: &Screen) -> Result<()> {
        match moment {
            Moment::Listening { parent } => {
                self.become_listener(parent);
                self.take_floor(screen)?;
            }
            Moment::Writing { listener } => {
                self.listener = Some(listener);
                self.take_floor(screen)?;
            }
            Moment::ReceivedSignal | Moment::AllDone => self.take_floor(screen)?,
            _ => {}
        }
        if !moment.is_told_afterwards() {
            self.tell_calls(usize::MAX, screen)?;
        }
        if self.stepping {
            self.stop(moment, screen)?;
        }
        Ok(())
    }

    /// Explains `moment` when it has been told.
    ///
    /// # Errors
    /// As [`Screen::line`]; and the errors of pipe(2) and write(2).
    pub fn after(&mut self, moment: Moment<'_>, screen: &Screen) -> Result<()> {
        if let (Moment::AllDone, part) = (moment, self.floor.is_some()) {
            tell("* ", if part { CHILD_ENDED } else { STRANGER_READ }, screen)?;
        }
        for lesson in moment.lessons() {
            tell("* ", lesson, screen)?;
        }
        match moment {
            Moment::Forking => {
                self.pipes = Some(calls::aside(|| {
                    anyhow::Ok([process::channel()?, process::channel()?])
                })?);
            }
            Moment::ReceivedSignal => {
                if self.strays > 0 {
                    let strays = format!("Times it had come without a message: {}.", self.strays);
                    tell("* ", &strays, screen)?;
                }
                // What follows the wait, the listener did with the message.
                self.hear_calls();
                let waited = self.calls.iter().rposition(|call| call.name() == "pselect");
                return self.tell_calls(waited.map_or(0, |last| last + 1), screen);
            }
            Moment::NothingThere => {
                self.strays += 1;
                calls::take_record();
            }
            _ if moment.is_told_afterwards() => self.tell_calls(usize::MAX, screen)?,
            _ => {}
        }
        match moment {
            Moment::Forked(child) => {
                self.listener = Some(child);
                if let Some([to_child, from_child]) = self.pipes.take() {
                    self.floor = Some(Floor {
                        hear: from_child.0,
                        tell: to_child.1,
                    });
                }
                self.give_floor()
            }
            Moment::Ready | Moment::Announced => self.give_floor(),
            Moment::Received(message) => {
                let heading = "The segment, as the listener finds it:".to_owned();
                show(heading, pictures::segment(message), screen)
            }
            Moment::Listened => self.end_listening(screen),
            Moment::Freed => {
                self.read_diary()?;
                self.show_timeline(screen)
            }
            _ => Ok(()),
        }
    }

    /// Forgets what the parent was before the fork.
    fn become_listener(&mut self, parent: Option<Pid>) {
        self.part = Part::Listener;
        self.sender = parent;
        self.listener = Some(getpid());
        if parent.is_some() {
            self.rows.clear();
            self.calls.clear();
            self.hear_calls();
            self.calls.retain(|call| call.name() == "fork");
            self.rows.retain(|row| row.what.starts_with("fork"));
        }
        if let Some([from_parent, to_parent]) = self.pipes.take() {
            self.floor = Some(Floor {
                hear: from_parent.0,
                tell: to_parent.1,
            });
        }
    }

    fn give_floor(&self) -> Result<()> {
        self.write(&[if self.stepping { STEP_ON } else { RUN_ON }])
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        if let Some(floor) = &self.floor {
            // If the other process has ended, whoever waits for it hears of that.
            match write(&floor.tell, bytes) {
                Ok(_) | Err(Errno::EPIPE) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn take_floor(&mut self, screen: &Screen) -> Result<()> {
        if let Some(Floor { hear, .. }) = &self.floor {
            calls::aside(|| screen.wait(For::Readable(hear.as_fd())))?;
            self.stepping &= read_byte(hear.as_fd())? == Some(STEP_ON);
        }
        Ok(())
    }

    fn hear_calls(&mut self) {
        let calls = calls::take_record();
        let rows: Vec<Row> = calls.iter().filter_map(|call| self.row(call)).collect();
        self.rows.extend(rows);
        self.calls.extend(calls);
    }

    /// Prints the calls made since this was done last, `most` of them.
    fn tell_calls(&mut self, most: usize, screen: &Screen) -> Result<()> {
        self.hear_calls();
        let most = most.min(self.calls.len());
        for call in self.calls.drain(..most) {
            let words = match &call.returned {
                Some(returned) => format!("{} = {returned}", call.words),
                None => format!("({}: no system call)", call.words),
            };
            tell(&format!("{:<10}", name(self.part)), &words, screen)?;
        }
        Ok(())
    }
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Sender => "sender",
        Part::Listener => "listener",
    }
}

impl Explainer {
    /// Waits for Enter, and says what can be looked at meanwhile.
    fn stop(&mut self, moment: Moment<'_>, screen: &Screen) -> Result<()> {
        let Some(next) = moment.next() else {
            return Ok(());
        };
        let dim = Style::new().dimmed();
        screen.line(dim, format_args!("{INDENT}[next: {next}]"))?;
        for (command, expect) in self.suggestions(moment) {
            screen.line(Style::new(), format_args!("{INDENT}  $ {command}"))?;
            tell("      ", expect, screen)?;
        }
        screen.line(dim, format_args!("{INDENT}[Enter goes on]"))?;
        self.stepping = wait_for_enter(screen)?;
        Ok(())
    }

    /// Commands for a second terminal, and what they will show just now.
    fn suggestions(&self, moment: Moment<'_>) -> Vec<(String, &'static str)> {
        let sender = self.sender.map(|pid| pid.to_string()).unwrap_or_default();
        let listener = self.listener.map(|pid| pid.to_string()).unwrap_or_default();
        let id = self
            .segment
            .map(|record| record.id.to_string())
            .unwrap_or_default();
        let both = format!("ps -o pid,ppid,stat,args -p {sender},{listener}");
        let signals = format!("grep ^Sig /proc/{listener}/status");
        let signal = format!("kill -USR1 {listener}");
        let segment = format!("ipcs -m -i {id}");
        match moment {
            Moment::MessageSize => vec![
                (
                    "ipcs -m".to_owned(),
                    "the segments there are: none of this run",
                ),
                (
                    format!("grep {sender} /proc/locks"),
                    "FLOCK: it is this run's turn",
                ),
            ],
            Moment::CreatingMessage => vec![(
                format!("grep ^Sig /proc/{sender}/status"),
                "SigBlk, in which SIGUSR1 is bit 200: blocked, to come when it is waited for",
            )],
            Moment::Forking => vec![(
                format!("ps -o pid,ppid,stat,args -p {sender}"),
                "one process, for now",
            )],
            Moment::Listening { parent } => {
                let mut shown = vec![
                    (
                        signals,
                        "SigCgt lacks bit 200: there is no handler for SIGUSR1 yet",
                    ),
                    (
                        signal,
                        "nothing yet: it is blocked, and stays pending (ShdPnd)",
                    ),
                ];
                if parent.is_some() {
                    shown.insert(0, (both, "two processes now, one the other's parent"));
                }
                shown
            }
            Moment::Registered => vec![(signals, "SigCgt has bit 200: the handler is there")],
            Moment::Writing { .. } => vec![
                ("ipcs -m".to_owned(), "still no segment of this run"),
                (
                    signal,
                    "the listener looks, finds no message, and goes on listening",
                ),
            ],
            Moment::Announcing => vec![
                (segment, "nattch=1: the sender is attached"),
                (
                    format!("grep SYSV /proc/{sender}/maps"),
                    "where in the sender's memory",
                ),
                (
                    signal,
                    "the message lies there: the listener takes it, and waits for you",
                ),
            ],
            Moment::ReceivedSignal => vec![
                (segment, "nattch=2: both are attached"),
                (
                    format!("grep SYSV /proc/{sender}/maps /proc/{listener}/maps"),
                    "two addresses, one segment (the same inode); rw for one, r for the other",
                ),
            ],
            Moment::Received(_) => vec![(segment, "lpid: the listener was the last to attach")],
            Moment::AllDone => vec![
                (segment, "nattch=1: the listener has detached"),
                (
                    format!("ps -p {listener}"),
                    "a child that has been reaped is gone",
                ),
            ],
            _ => Vec::new(),
        }
    }

    /// The last thing that the listener does with a parent is to hand over its diary.
    fn end_listening(&mut self, screen: &Screen) -> Result<()> {
        self.rows.push(Row {
            at: self.started.elapsed(),
            part: Part::Listener,
            what: "ends".to_owned(),
            arrow: None,
        });
        if self.floor.is_none() {
            return self.show_timeline(screen);
        }
        self.give_floor()?;
        let diary: String = self.rows.iter().map(write_row).collect();
        self.write(diary.as_bytes())
    }

    /// Reads what the child, which has ended, has written down.
    fn read_diary(&mut self) -> Result<()> {
        if let Some(Floor { hear, tell }) = self.floor.take() {
            drop(tell);
            let mut diary = String::new();
            File::from(hear).read_to_string(&mut diary)?;
            self.rows.extend(diary.lines().filter_map(read_row));
        }
        Ok(())
    }

    fn show_timeline(&mut self, screen: &Screen) -> Result<()> {
        let title = |pid: Option<Pid>| pid.map(|pid| format!("PID {pid}")).unwrap_or_default();
        let heading = "The run, in microseconds since its start:".to_owned();
        let rows = std::mem::take(&mut self.rows);
        let lines = pictures::timeline(&title(self.sender), &title(self.listener), rows);
        show(heading, lines, screen)
    }

    /// What a call is in the picture of the run; most are nothing.
    fn row(&self, call: &Call) -> Option<Row> {
        let returned = call.returned.as_deref().unwrap_or_default();
        let arrow = |what: &str, to_listener| {
            Some(Arrow {
                what: what.to_owned(),
                to_listener,
            })
        };
        let segment = || self.segment.map(|record| format!("segment {}", record.id));
        let (at, what, arrow) = match (self.part, call.name()) {
            (Part::Sender, "fork") => (
                call.began,
                format!("fork() = {returned}"),
                arrow("fork", true),
            ),
            (Part::Sender, "read") => (call.ended, "hears it".to_owned(), None),
            (Part::Sender, "kill") if call.words.contains("SIGUSR1") => {
                (call.began, "kill()".to_owned(), arrow("SIGUSR1", true))
            }
            (Part::Sender, "waitpid") => (
                call.ended,
                format!("waitpid() = {returned}"),
                arrow("exit status 0", false),
            ),
            (Part::Sender, "shmget") => (call.ended, format!("shmget() = {returned}"), None),
            (Part::Sender, "shmctl") if call.words.contains("IPC_RMID") => {
                (call.ended, "removes the segment".to_owned(), None)
            }
            (Part::Sender, _) if call.words.contains(" to 0x") => (
                call.ended,
                "copies the message in".to_owned(),
                arrow(&segment()?, true),
            ),
            (Part::Listener, "fork") => (call.ended, format!("fork() = {returned}"), None),
            (Part::Listener, "sigaction") => (call.ended, "registers its handler".to_owned(), None),
            (Part::Listener, "write") => {
                (call.began, "says: ready".to_owned(), arrow("ready", false))
            }
            (Part::Listener, "pselect") => {
                // A parent has its own row for the signal.
                let arrow = arrow("SIGUSR1", true).filter(|_| self.floor.is_none());
                (call.ended, "the handler notes it".to_owned(), arrow)
            }
            (Part::Listener, _) if call.words.contains(" from 0x") => (
                call.ended,
                "copies the message out".to_owned(),
                arrow(&segment()?, true),
            ),
            _ => return None,
        };
        Some(Row {
            at: at.saturating_duration_since(self.started),
            part: self.part,
            what,
            arrow,
        })
    }
}

/// A row as a line of the diary.
fn write_row(row: &Row) -> String {
    let arrow = row.arrow.as_ref().map(|arrow| {
        let direction = if arrow.to_listener { '>' } else { '<' };
        format!("{direction}{}", arrow.what)
    });
    format!(
        "{}\t{}\t{}\n",
        row.at.as_micros(),
        row.what,
        arrow.unwrap_or_default()
    )
}

/// A line of the diary as a row.
fn read_row(line: &str) -> Option<Row> {
    let mut columns = line.split('\t');
    let at = Duration::from_micros(columns.next()?.parse().ok()?);
    let what = columns.next()?.to_owned();
    let arrow = columns.next()?;
    let arrow = arrow.chars().next().map(|direction| Arrow {
        what: arrow[1..].to_owned(),
        to_listener: direction == '>',
    });
    Some(Row {
        at,
        part: Part::Listener,
        what,
        arrow,
    })
}

/// Reads up to the end of a line, no further: the rest is for the next stop, maybe in the other
/// process. Returns whether there was one.
fn wait_for_enter(screen: &Screen) -> Result<bool> {
    let stdin = io::stdin();
    loop {
        calls::aside(|| screen.wait(For::Readable(stdin.as_fd())))?;
        match read_byte(stdin.as_fd()) {
            Ok(Some(b'\n')) => return Ok(true),
            Ok(None) => return Ok(false),
            Ok(Some(_)) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn show(heading: String, lines: Vec<pictures::Line>, screen: &Screen) -> Result<()> {
    screen.line(Style::new().dimmed(), format_args!("{INDENT}{heading}"))?;
    for (style, line) in lines {
        screen.line(style, format_args!("{INDENT}{line}"))?;
    }
    Ok(())
}

/// Prints an explanation: `mark` and then `text`, as many lines as it takes.
fn tell(mark: &str, text: &str, screen: &Screen) -> Result<()> {
    let room = WIDTH - INDENT.len() - mark.chars().count();
    for (index, line) in wrap(text, room).into_iter().enumerate() {
        let mark = if index == 0 {
            mark.to_owned()
        } else {
            " ".repeat(mark.chars().count())
        };
        screen.line(Style::new().dimmed(), format_args!("{INDENT}{mark}{line}"))?;
    }
    Ok(())
}

/// Breaks `text` into lines of at most `room` characters, between words where that is possible.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let letters: Vec<char> = word.chars().collect();
        for (index, piece) in letters.chunks(room).enumerate() {
            let line = lines.last_mut().expect("there is one from the start");
            let used = line.chars().count();
            let gap = usize::from(used > 0);
            if index == 0 && used + gap + piece.len() <= room {
                line.extend(std::iter::repeat_n(' ', gap).chain(piece.iter().copied()));
            } else {
                lines.push(piece.iter().collect());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_long_words_within() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(
            wrap("abcdefghij k", 4),
            ["", "abcd", "efgh", "ij k"][1..].to_vec()
        );
    }

    #[test]
    fn a_row_survives_the_diary() {
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
            assert_eq!(read_row(write_row(&row).trim_end()), Some(row));
        }
    }
}
