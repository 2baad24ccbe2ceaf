//! The sender: the parent's part, or that of a program of its own (`--to`). It puts the message into
//! shared memory and announces it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::unistd::{Pid, getpid};

use crate::calls;
use crate::diagnostics;
use crate::message::Message;
use crate::narrator::Narrator;
use crate::process::{self, Child, ChildError};
use crate::shm::{Key, OwnedSegment, Record, WritableAttachment};
use crate::signals::{self, For, Timer, Woken};

/// A message that is on its way: the segment it lies in, still attached. Dropping it detaches and
/// removes the segment.
#[derive(Debug)]
pub struct Sent {
    message: Message,
    // Dropped in this order: detached first, then removed.
    attached: WritableAttachment<Message>,
    segment: OwnedSegment<Message>,
    /// Whether the listener has looked while the message was being written, and may have read it.
    early: bool,
}

/// Writes `message` into the segment that belongs to `path`, and sends SIGUSR1 to `listener`, who
/// must be listening.
///
/// # Errors
/// The segment cannot be had (see [`OwnedSegment::claim`]); somebody keeps looking at it for as
/// long as `patience`; or a system call failed.
pub fn send(
    message: &Message,
    listener: Pid,
    path: &Path,
    patience: Option<Duration>,
    narrator: &mut Narrator,
) -> Result<Sent> {
    narrator.writing(message, listener)?;
    let key = Key::from_path(path)?;
    let (segment, reclaimed) = OwnedSegment::<Message>::claim(key)?;
    if let Some(left) = reclaimed {
        diagnostics::note(format_args!("reclaimed {left}, which was left behind"));
    }
    narrator.segment(&segment)?;
    let mut attached = segment.attach()?;
    attached.write(message);
    let mut sent = Sent {
        message: *message,
        attached,
        segment,
        early: false,
    };
    sent.until_alone(listener, patience)?;
    narrator.announcing()?;
    match signals::announce(listener) {
        // Woken by somebody else, it has taken the message already, and has ended.
        Err(error) if error.errno() == Errno::ESRCH && sent.is_read_by(listener)? => {}
        announced => announced?,
    }
    narrator.announced()?;
    Ok(sent)
}

impl Sent {
    /// Waits until nobody else is attached, and we were the last to attach.
    ///
    /// Somebody else's signal may have made the listener look while the message was being written.
    /// From here on, whoever attaches finds it, and the kernel's record tells that.
    fn until_alone(&mut self, listener: Pid, patience: Option<Duration>) -> Result<()> {
        let us = getpid();
        let mut early = false;
        self.until("nobody else is attached", patience, |record| {
            early |= record.last_pid == listener;
            if record.attached == 1 && record.last_pid != us {
                // The next look finds that we were the last.
                drop(self.segment.attach_read_only()?);
            }
            Ok(record.attached == 1 && record.last_pid == us)
        })?;
        self.early = early;
        Ok(())
    }

    /// Whether `listener` has read the message: it was the last to attach or detach, and only we
    /// are attached now. Or it has looked early, and has ended: which it does when it has read.
    fn is_read_by(&self, listener: Pid) -> Result<bool> {
        // Asked first: what it did before it ended must not be missed.
        let gone = process::is_gone(listener);
        let record = self.segment.record()?;
        let read = record.last_pid == listener && record.attached == 1;
        if gone && !read && !self.early {
            bail!("the listener (PID {listener}) ended before it had read the message");
        }
        Ok(read || gone)
    }

    /// Waits until `listener` has read the message. No word from it is needed, only the kernel's
    /// record of the segment, so that any program can listen.
    ///
    /// # Errors
    /// The listener has ended without reading, or does not read for as long as `patience`.
    pub fn until_read_by(
        &self,
        listener: Pid,
        patience: Option<Duration>,
        narrator: &mut Narrator,
    ) -> Result<()> {
        let what = format!("PID {listener} has read the message");
        self.until(&what, patience, |_| self.is_read_by(listener))?;
        narrator.segment(&self.segment)
    }

    /// Waits until `child`, who listens, has ended, which it does when it has read the message.
    ///
    /// # Errors
    /// As [`Child::until_ended`]; if somebody has meddled with the segment, that is said too.
    pub fn until_read(&self, child: &mut Child, patience: Option<Duration>) -> Result<()> {
        child.until_ended(patience).or_else(|error| {
            let slow = matches!(error.downcast_ref(), Some(ChildError::Slow { .. }));
            let meddled = if slow { self.meddled()? } else { None };
            Err(match meddled {
                Some(how) => error.context(how),
                None => error,
            })
        })
    }

    /// What somebody else has done to the message, if anything.
    fn meddled(&self) -> Result<Option<String>> {
        let record = self.segment.record()?;
        let how = if record.removed {
            "removed"
        } else if self.attached.read() != self.message {
            "overwritten"
        } else {
            return Ok(None);
        };
        Ok(Some(format!(
            "somebody else has {how} segment {}",
            record.id
        )))
    }

    /// Waits until the kernel's record of the segment is as it should be. Nobody announces that.
    fn until(
        &self,
        what: &str,
        patience: Option<Duration>,
        mut holds: impl FnMut(&Record) -> Result<bool>,
    ) -> Result<()> {
        let mut timer = Timer::start(patience);
        calls::aside(|| {
            loop {
                let record = self.segment.record()?;
                if holds(&record)? {
                    return Ok(());
                }
                if record.removed {
                    bail!("somebody else has removed segment {}", record.id);
                }
                if signals::wait(For::Look, None, &mut timer)? == Woken::TimedOut {
                    bail!(
                        "waited {} seconds until {what}, in vain; wait longer with --timeout",
                        patience.unwrap_or_default().as_secs_f64()
                    );
                }
            }
        })
    }

    /// Frees the memory, once the message has been read.
    ///
    /// # Errors
    /// Those of shmctl(2).
    pub fn free(self, narrator: &mut Narrator) -> Result<()> {
        drop(self.attached);
        narrator.segment(&self.segment)?;
        self.segment.remove()?;
        narrator.freed()
    }
}
