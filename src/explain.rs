//! What happens between the lines, told as it happens.
//!
//! The explainer hears of every step from the narrator, and prints under the transcript's lines
//! what each took: the calls that [`calls`] has recorded, the [`lessons`](crate::lessons), and the
//! [`pictures`]. If the run goes step by step, it also stops before each step, and offers what can
//! be looked at from a second terminal just then.
//!
//! Some steps are told before they are done ("Forking..."), others when they are done. Either way
//! the calls they took are printed under their line.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::Result;
use nix::errno::Errno;
use nix::unistd::{Pid, getpid};
use owo_colors::Style;

use crate::calls::{self, Call};
use crate::diary::{Part, Row};
use crate::floor::Floor;
use crate::lessons::{Cast, Moment};
use crate::pictures;
use crate::process::read_byte;
use crate::screen::Screen;
use crate::shm::Record;
use crate::signals::For;

/// Nothing is printed beyond this column.
const WIDTH: usize = 80;

/// What sets explanations apart from the transcript, beside being dim.
const INDENT: &str = "    ";

/// Whoever explains a run, in one of its processes.
#[derive(Debug)]
pub struct Explainer {
    part: Part,
    stepping: bool,
    started: Instant,
    cast: Cast,
    floor: Floor,
    /// How many signals have come without a message.
    strays: usize,
    /// The calls made since they were last printed.
    calls: Vec<Call>,
    /// What this process did when.
    diary: Vec<Row>,
}

impl Explainer {
    /// Starts recording what this process does. If `stepping`, it also stops before each step.
    pub fn new(stepping: bool) -> Self {
        calls::record();
        Self {
            part: Part::Sender,
            stepping,
            started: Instant::now(),
            cast: Cast {
                sender: Some(getpid()),
                ..Cast::default()
            },
            floor: Floor::Alone,
            strays: 0,
            calls: Vec::new(),
            diary: Vec::new(),
        }
    }

    /// Hears what the kernel has on record of the segment.
    pub fn segment(&mut self, record: Record) {
        self.cast.segment = Some(record);
        self.cast.sender = Some(record.creator_pid);
    }

    /// Explains what led to `moment`, if it is told of before it happens, and stops there.
    ///
    /// # Errors
    /// As [`Screen::line`]; and the floor may never come, because the other process has ended.
    pub fn before(&mut self, moment: Moment<'_>, screen: &Screen) -> Result<()> {
        match moment {
            Moment::Listening { parent } => self.become_listener(parent),
            Moment::Writing { listener } => self.cast.listener = Some(listener),
            _ => {}
        }
        // The other process has been speaking until now.
        if let Moment::Listening { .. }
        | Moment::Writing { .. }
        | Moment::ReceivedSignal
        | Moment::AllDone = moment
        {
            self.stepping &= self.floor.take(screen)?;
        }
        if !moment.is_told_afterwards() {
            self.tell_calls(screen)?;
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
        if let Moment::NothingThere = moment {
            // Nothing of this belongs to the story, and it may happen a thousand times.
            self.strays += 1;
            calls::take_record();
            return Ok(());
        }
        for lesson in self.cast.lessons(moment) {
            tell("* ", lesson, screen)?;
        }
        match moment {
            Moment::ReceivedSignal => self.tell_wait(screen)?,
            _ if moment.is_told_afterwards() => self.tell_calls(screen)?,
            _ => {}
        }
        match moment {
            Moment::Forking => self.floor = Floor::new()?,
            Moment::Forked(child) => {
                self.cast.listener = Some(child);
                self.share_floor(true);
                self.floor.give(self.stepping)?;
            }
            Moment::Ready | Moment::Announced => self.floor.give(self.stepping)?,
            Moment::Received(message) => {
                show(pictures::segment(message), screen)?;
            }
            Moment::Listened => self.end_listening(screen)?,
            Moment::Freed => {
                let floor = std::mem::replace(&mut self.floor, Floor::Alone);
                self.diary
                    .extend(floor.left()?.lines().filter_map(Row::from_line));
                self.show_run(screen)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn become_listener(&mut self, parent: Option<Pid>) {
        self.part = Part::Listener;
        self.cast.sender = parent;
        self.cast.listener = Some(getpid());
        if parent.is_some() {
            // What was recorded before the fork is the parent's to tell.
            self.diary.clear();
            let calls = calls::take_record().into_iter();
            self.note(calls.skip_while(|call| call.name() != "fork").collect());
            self.share_floor(false);
        }
    }

    fn share_floor(&mut self, is_parent: bool) {
        self.cast.related = true;
        self.floor = std::mem::replace(&mut self.floor, Floor::Alone).divide(is_parent);
    }

    fn note(&mut self, calls: Vec<Call>) {
        let Cast {
            segment, related, ..
        } = self.cast;
        let segment = segment.map(|record| record.id);
        let row = |call| Row::of(call, self.part, self.started, segment, related);
        self.diary.extend(calls.iter().filter_map(row));
        self.calls.extend(calls);
    }

    /// Prints the calls made since this was done last.
    fn tell_calls(&mut self, screen: &Screen) -> Result<()> {
        self.note(calls::take_record());
        self.calls
            .drain(..)
            .try_for_each(|call| tell_call(self.part, &call, screen))
    }

    /// Prints the calls up to the wait that the signal has ended. What follows, the listener has
    /// done with the message, and belongs there.
    fn tell_wait(&mut self, screen: &Screen) -> Result<()> {
        if self.strays > 0 {
            let strays = format!("Times it had come without a message: {}.", self.strays);
            tell("* ", &strays, screen)?;
        }
        // A wait that something else interrupted went on: of several, the last one counts.
        let mut calls = calls::take_record();
        let last = calls.iter().rposition(|call| call.name() == "pselect");
        let mut index = 0..;
        calls.retain(|call| index.next() == last || call.name() != "pselect");
        self.note(calls);
        let wait = self.calls.iter().rposition(|call| call.name() == "pselect");
        let until = wait.map_or(0, |wait| wait + 1);
        self.calls
            .drain(..until)
            .try_for_each(|call| tell_call(self.part, &call, screen))
    }

    /// Waits for Enter, and says what can be looked at meanwhile.
    fn stop(&mut self, moment: Moment<'_>, screen: &Screen) -> Result<()> {
        let Some(next) = moment.next() else {
            return Ok(());
        };
        tell("", &format!("[next: {next}]"), screen)?;
        for (command, shows) in self.cast.suggestions(moment) {
            screen.line(Style::new(), format_args!("{INDENT}  $ {command}"))?;
            tell("      ", &shows, screen)?;
        }
        tell("", "[Enter goes on]", screen)?;
        self.stepping = wait_for_enter(screen)?;
        Ok(())
    }

    fn end_listening(&mut self, screen: &Screen) -> Result<()> {
        let (at, what) = (self.started.elapsed(), "ends".to_owned());
        self.diary.push(Row {
            at,
            part: self.part,
            what,
            arrow: None,
        });
        if !self.cast.related {
            return self.show_run(screen);
        }
        self.floor.give(self.stepping)?;
        self.floor
            .leave(&self.diary.iter().map(Row::to_line).collect::<String>())
    }

    fn show_run(&mut self, screen: &Screen) -> Result<()> {
        let name = |pid: Option<Pid>| pid.map(|pid| format!("PID {pid}")).unwrap_or_default();
        let rows = std::mem::take(&mut self.diary);
        let run = pictures::run(&name(self.cast.sender), &name(self.cast.listener), rows);
        show(run, screen)
    }
}

/// Prints a call as strace(1) does, and who has made it.
fn tell_call(part: Part, call: &Call, screen: &Screen) -> Result<()> {
    let who = match part {
        Part::Sender => "sender    ",
        Part::Listener => "listener  ",
    };
    match &call.returned {
        Some(returned) => tell(who, &format!("{} = {returned}", call.words), screen),
        None => tell(who, &format!("({}: no system call)", call.words), screen),
    }
}

/// Reads up to the end of a line, no further: the rest is for the next stop, maybe in the other
/// process. Returns whether there was one.
fn wait_for_enter(screen: &Screen) -> Result<bool> {
    let stdin = io::stdin();
    loop {
        calls::aside(|| screen.wait(For::Readable(stdin.as_fd())))?;
        let read = || calls::made(|| read_byte(stdin.as_fd()), |_| "read(0, …, 1)".to_owned());
        match calls::aside(read) {
            Ok(Some(b'\n')) => return Ok(true),
            Ok(None) => return Ok(false),
            Ok(Some(_)) => {}
            Err(error) if matches!(error.errno(), Errno::EINTR | Errno::EAGAIN) => {}
            Err(error) => {
                return Err(error
                    .advise("--step reads Enter from standard input")
                    .into());
            }
        }
    }
}

fn show(picture: Vec<pictures::Line>, screen: &Screen) -> Result<()> {
    let mut lines = picture.into_iter();
    lines.try_for_each(|(style, line)| screen.line(style, format_args!("{INDENT}{line}")))
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

/// Breaks `text` into lines of at most `room` characters, at a space where there is one. (Only that
/// space is dropped; a path may have several in a row.)
fn wrap(text: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut lines = Vec::new();
    let mut rest = letters.as_slice();
    while rest.len() > room {
        let space = rest[..=room]
            .iter()
            .rposition(|&letter| letter == ' ')
            .filter(|&at| at > 0);
        let (line, after) = rest.split_at(space.unwrap_or(room));
        lines.push(line.iter().collect());
        rest = if space.is_some() { &after[1..] } else { after };
    }
    lines.push(rest.iter().collect());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_long_words_within() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("a  b   c", 4), ["a  b", "  c"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
