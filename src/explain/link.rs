//! How the child's entries reach the parent: through a pipe, each as it comes.
//!
//! So nothing is lost if the child is killed or stopped. The parent reads the pipe when the child
//! has ended. Nobody ever waits for the pipe, which is non-blocking: if it is full, entries are
//! dropped and counted.
//!
//! With `--step`, a second pipe tells the other process that standard input has ended: it is
//! readable from then on, and nobody reads it.

use std::fs::File;
use std::io::{Read, stdin};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use super::Entry;
use crate::output::palette::Role;
use crate::sys::Error;
use crate::sys::fd::{self, LOOK_INTERVAL, read_byte};
use crate::sys::trace::{self, Call};

/// How many bytes of entries are written at most: almost as many as a pipe of Linux holds.
const LIMIT: usize = 60 * 1024;

/// The pipes between the two processes of a run that is explained.
#[derive(Default)]
pub(super) struct Link {
    /// The two ends of the pipe of entries. After the fork the parent has the reading end and the
    /// child the other one.
    read: Option<OwnedFd>,
    write: Option<OwnedFd>,
    input_ended: Option<(OwnedFd, OwnedFd)>,
    /// How many bytes of entries have been written, and how many entries dropped.
    written: usize,
    dropped: usize,
}

impl Link {
    /// Makes the pipes, before the fork. Fails as pipe(2) does.
    pub(super) fn open(live: bool) -> Result<Self> {
        let pipe = || trace::untraced(fd::new_pipe);
        let (read, write) = pipe()?;
        fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self {
            read: Some(read),
            write: Some(write),
            input_ended: live.then(pipe).transpose()?,
            ..Self::default()
        })
    }

    /// Keeps the end of this process, after the fork.
    pub(super) fn divide(&mut self, is_child: bool) {
        drop(if is_child { self.read.take() } else { self.write.take() });
    }

    /// Hands an entry to the parent. Returns `false` if there is none to hand it to.
    pub(super) fn send(&mut self, entry: &Entry) -> bool {
        let (None, Some(fd)) = (&self.read, &self.write) else {
            return false;
        };
        // No text has a NUL: what is printed is escaped.
        let event = entry.event.as_ref().map_or("", |(_, event)| event);
        let text = format!("{}\0{}\0{event}\0", entry.at.as_nanos(), entry.text);
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
        if let (None, Some(fd)) = (&self.read, &self.write) {
            // If the parent has ended, nobody asks for it.
            let _ = write(fd, format!("dropped: {}", self.dropped).as_bytes());
        }
    }

    /// All that the child, which has ended, has handed over; and how many entries it has dropped,
    /// `None` if its last word is not there: it was killed, or the pipe was full even for that.
    pub(super) fn receive(&mut self) -> (Vec<Entry>, Option<usize>) {
        let Some(read) = self.read.take() else {
            return (Vec::new(), Some(0));
        };
        // If there was no fork, it is still here, and the pipe would have no end.
        self.write = None;
        let mut bytes = Vec::new();
        // What was read before an error is worth telling.
        let _ = File::from(read).read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let fields: Vec<&str> = text.split('\0').collect();
        let entry = |fields: &[&str]| {
            let at = Duration::from_nanos(fields[0].parse().ok()?);
            let event = (!fields[2].is_empty()).then(|| (Role::Listener, fields[2].to_owned()));
            Some(Entry { at, text: fields[1].to_owned(), event })
        };
        let dropped = fields.last().and_then(|last| last.strip_prefix("dropped: ")?.parse().ok());
        (fields.chunks_exact(3).filter_map(entry).collect(), dropped)
    }

    /// Waits until Enter is pressed, or until the other process has ended. Returns `false` at the
    /// end of standard input, and tells the other process. `check` is called once a second: whether
    /// the other process is still there. Fails as it does, or as read(2) does.
    pub(super) fn wait_for_enter(&self, check: impl Fn() -> Result<bool, Error>) -> Result<bool> {
        let stdin = stdin();
        loop {
            let mut fds = vec![PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            // Nothing is asked for; but poll(2) says anyway that nobody has the other end open.
            if let Some(fd) = self.read.as_ref().or(self.write.as_ref()) {
                fds.push(PollFd::new(fd.as_fd(), PollFlags::empty()));
            }
            if poll(&mut fds, PollTimeout::try_from(LOOK_INTERVAL)?) == Ok(0) {
                if check()? {
                    continue;
                }
                return Ok(true);
            }
            if fds.get(1).and_then(PollFd::any) == Some(true) {
                return Ok(true);
            }
            match read_byte(&stdin) {
                Ok(Some(b'\n')) => return Ok(true),
                // Up to the end of the line and no further: the rest is for the next stop.
                Ok(Some(_)) | Err(Errno::EINTR | Errno::EAGAIN) => {}
                Ok(None) => {
                    if let Some((_, fd)) = &self.input_ended {
                        write(fd, b"!")?;
                    }
                    return Ok(false);
                }
                Err(errno) => return Err(Error::call(Call::Read(0, None), errno).into()),
            }
        }
    }

    /// Whether one of the processes has seen the end of standard input.
    pub(super) fn input_has_ended(&self) -> bool {
        self.input_ended.as_ref().is_some_and(|(fd, _)| {
            let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO) == Ok(1)
        })
    }
}
