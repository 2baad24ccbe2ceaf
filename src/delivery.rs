//! A message on its way: from when it lies in shared memory until it has been read and removed.
//!
//! A child tells its parent by its end that it has read. A stranger tells nothing, but the kernel
//! keeps a record of each segment: how many are attached, and who was the last to attach or detach.
//! When the listener was the last, and only the sender is attached, the message has been read.

use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::unistd::{Pid, getpid};

use crate::calls;
use crate::message::Message;
use crate::narrator::Narrator;
use crate::process::{self, Child, ChildError};
use crate::shm::{OwnedSegment, Record, WritableAttachment};
use crate::signals::{self, For, Timer, Woken};

/// A message on its way, and the segment it lies in, still attached. Dropping it detaches and
/// removes the segment.
#[derive(Debug)]
pub struct Delivery {
    message: Message,
    listener: Pid,
    // Dropped in this order: detached first, then removed.
    attached: WritableAttachment<Message>,
    segment: OwnedSegment<Message>,
    /// Whether the listener has looked while the message was being written, and may have read it.
    early: bool,
}

impl Delivery {
    /// Takes charge of a message that has been written into `segment` for `listener`.
    ///
    /// Waits until nobody else is attached, and this process was the last to attach. Somebody
    /// else's signal may have made the listener look while the message was being written; from here
    /// on, whoever attaches finds it, and the kernel's record tells that.
    ///
    /// # Errors
    /// Somebody stays attached for as long as `patience`; or those of shmctl(2) and shmat(2).
    pub fn new(
        message: Message,
        listener: Pid,
        attached: WritableAttachment<Message>,
        segment: OwnedSegment<Message>,
        patience: Option<Duration>,
    ) -> Result<Self> {
        let delivery = Self {
            message,
            listener,
            attached,
            segment,
            early: false,
        };
        let us = getpid();
        let mut early = false;
        delivery.until("nobody else is attached", patience, |record| {
            early |= record.last_pid == listener;
            if record.attached == 1 && record.last_pid != us {
                // The next look finds that we were the last.
                drop(delivery.segment.attach_read_only()?);
            }
            Ok(record.attached == 1 && record.last_pid == us)
        })?;
        Ok(Self { early, ..delivery })
    }

    /// Sends the signal.
    ///
    /// # Errors
    /// Those of kill(2), unless the listener has taken the message already, woken by somebody
    /// else, and has ended.
    pub fn announce(&self) -> Result<()> {
        match signals::announce(self.listener) {
            Err(error) if error.errno() == Errno::ESRCH && self.is_read()? => Ok(()),
            announced => Ok(announced?),
        }
    }

    /// Whether the listener has read the message: it was the last to attach or detach, and only we
    /// are attached now. Or it has looked early, and has ended: which it does when it has read.
    /// (One that looked too early to find the message, and was killed right after, looks the same.)
    fn is_read(&self) -> Result<bool> {
        let listener = self.listener;
        // Asked first: what it did before it ended must not be missed.
        let gone = process::is_gone(listener);
        let record = self.segment.record()?;
        let read = record.last_pid == listener && record.attached == 1;
        if gone && !read && !self.early {
            bail!("the listener (PID {listener}) ended before it had read the message");
        }
        Ok(read || gone)
    }

    /// Waits until a listener that is a stranger has read the message. No word from it is needed,
    /// only the kernel's record of the segment, so that any program can listen.
    ///
    /// # Errors
    /// The listener has ended without reading, or does not read for as long as `patience`.
    pub fn until_read(&self, patience: Option<Duration>, narrator: &mut Narrator) -> Result<()> {
        let what = format!("PID {} has read the message", self.listener);
        self.until(&what, patience, |_| self.is_read())?;
        narrator.segment(&self.segment)
    }

    /// Waits until a listener that is our child has ended, which it does when it has read the
    /// message.
    ///
    /// # Errors
    /// As [`Child::until_ended`]; if somebody has meddled with the segment, that is said too.
    pub fn until_ended(&self, child: &mut Child, patience: Option<Duration>) -> Result<()> {
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
