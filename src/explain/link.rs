//! What connects the two processes of an explained run: a pipe, through which the child's entries
//! reach the parent, each as it comes.
//!
//! So nothing is lost if the child is killed or stopped. The parent reads the pipe when the child
//! has ended. Nobody ever waits for the pipe: if it is full, entries are dropped and counted.
//!
//! With `--step`, each process must also learn that the other one has seen the end of standard
//! input. Both hold the reading end, which is one open file description (open(2)). Its flag
//! O_NONBLOCK, which means nothing there, says so.

use std::mem::take;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{read, write};

use super::entry::{Entry, Kind};
use crate::output::palette::Role;
use crate::step::Who;
use crate::sys::{fd, trace};

/// How many bytes of entries are written at most: almost as many as a pipe of Linux holds.
const LIMIT: usize = 60 * 1024;

/// How many fields an entry has in the pipe.
const FIELDS: usize = 6;

/// The link, in one of the two processes. Before [`open`](Self::open) there is none.
#[derive(Default)]
pub(super) struct Link {
    read: Option<OwnedFd>,        // the reading end, which both have
    before_fork: Option<OwnedFd>, // the writing end, before the fork
    write: Option<OwnedFd>,       // the same in the child
    written: usize,               // how many bytes, by the child
    dropped: usize,               // how many entries, by the child
    received: Vec<u8>,            // what the parent has read already
}

impl Link {
    /// Makes the pipe, before the fork. Fails as pipe(2) does.
    pub(super) fn open() -> Result<Self> {
        let (read, write) = trace::untraced(fd::new_pipe)?;
        fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { read: Some(read), before_fork: Some(write), ..Self::default() })
    }

    /// After the fork, the parent closes its writing end: so the pipe ends when the child does.
    pub(super) fn after_fork(&mut self, is_child: bool) {
        self.write = self.before_fork.take().filter(|_| is_child);
    }

    /// Hands an entry to the parent. Returns `false` if there is none to hand it to.
    pub(super) fn send(&mut self, entry: &Entry) -> bool {
        let Some(fd) = &self.write else { return false };
        let Entry { at, kind, role, text, page, crosses, .. } = entry;
        let (at, kind, role) = (at.as_nanos(), *kind as usize, *role as usize);
        // No text has a NUL: what is printed is escaped.
        let text = format!("{at}\0{kind}\0{role}\0{text}\0{page}\0{crosses}\0");
        let fields = || text.split('\0').take(FIELDS).collect::<Vec<_>>();
        debug_assert_eq!(decode(&fields()).as_ref(), Some(entry), "KINDS or ROLES lacks one");
        let fits = self.written + text.len() <= LIMIT;
        if fits && write(fd, text.as_bytes()) == Ok(text.len()) {
            self.written += text.len();
        } else {
            // From the first that does not fit, all are dropped: half of it may be in the pipe.
            (self.written, self.dropped) = (LIMIT, self.dropped + 1);
        }
        true
    }

    /// The last word of the child: how many entries it has dropped.
    pub(super) fn close(&mut self) {
        if let Some(fd) = &self.write {
            // If the parent has ended, nobody asks for it.
            let _ = write(fd, format!("dropped: {}", self.dropped).as_bytes());
        }
    }

    /// All that the child, which has ended, has handed over; and how many entries it has dropped,
    /// `None` if its last word is not there: it was killed, or the pipe was full even for that.
    pub(super) fn receive(&mut self) -> (Vec<Entry>, Option<usize>) {
        if self.write.is_some() || self.read.is_none() {
            return (Vec::new(), Some(0));
        }
        // If there was no fork, it is still here, and the pipe would have no end.
        self.before_fork = None;
        // O_NONBLOCK: if the child could not be killed, there may be no end of it.
        let _ = self.end_input();
        while self.read_some() {}
        self.read = None;
        let bytes = take(&mut self.received);
        let text = String::from_utf8_lossy(&bytes);
        let fields: Vec<&str> = text.split('\0').collect();
        let dropped = fields.last().and_then(|last| last.strip_prefix("dropped: ")?.parse().ok());
        (fields.chunks_exact(FIELDS).filter_map(decode).collect(), dropped)
    }

    /// Reads some of what the child has handed over. Returns `false` at the end.
    pub(super) fn read_some(&mut self) -> bool {
        let mut buffer = [0; 4096];
        // What was read before an error is worth telling.
        let got = self.read.as_ref().map_or(0, |fd| read(fd, &mut buffer).unwrap_or(0));
        self.received.extend(&buffer[..got]);
        got > 0
    }

    /// Whether one of the processes has seen the end of standard input.
    pub(super) fn input_has_ended(&self) -> bool {
        let flags = self.read.as_ref().and_then(|fd| fcntl(fd, FcntlArg::F_GETFL).ok());
        flags.is_some_and(|flags| OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK))
    }

    /// Tells the other process that this one has seen the end of standard input.
    pub(super) fn end_input(&self) -> Result<()> {
        let set = |fd| fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        Ok(self.read.as_ref().map_or(Ok(0), set).map(drop)?)
    }

    /// In the parent: what is readable when the child has sent something, or has ended.
    pub(super) fn child(&self) -> Option<BorrowedFd<'_>> {
        self.read.as_ref().filter(|_| self.write.is_none()).map(AsFd::as_fd)
    }
}

/// An entry that the child has sent. (The arrays are in the order of the enums; `send` checks it.)
fn decode(fields: &[&str]) -> Option<Entry> {
    const KINDS: [Kind; 8] = {
        use Kind::*;
        [Line, Call, Heading, Lesson, Picture, Event, ToListener, ToSender]
    };
    const ROLES: [Role; 7] = {
        use Role::*;
        [Parent, Listener, Sender, Receiver, Lesson, Detail, Number]
    };
    let &[at, kind, role, text, page, crosses] = fields else { return None };
    let at = Duration::from_nanos(at.parse().ok()?);
    let kind = *KINDS.get(kind.parse::<usize>().ok()?)?;
    let role = *ROLES.get(role.parse::<usize>().ok()?)?;
    let [text, page, crosses] = [text, page, crosses].map(str::to_owned);
    Some(Entry { at, who: Who::Listener, kind, role, text, page, crosses })
}
