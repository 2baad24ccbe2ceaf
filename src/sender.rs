//! The sender: the parent's part. It puts the message into shared memory and announces it.

use std::path::Path;

use anyhow::Result;
use nix::unistd::Pid;

use crate::diagnostics;
use crate::message::Message;
use crate::narrator::Narrator;
use crate::shm::{Key, OwnedSegment, WritableAttachment};
use crate::signals;

/// A message that is on its way: the segment it lies in, still attached. Dropping it detaches and
/// removes the segment.
#[derive(Debug)]
pub struct Sent {
    // Dropped in this order: detached first, then removed.
    attached: WritableAttachment<Message>,
    segment: OwnedSegment<Message>,
}

/// Writes `message` into the segment that belongs to `path`, and sends SIGUSR1 to `listener`, who
/// must be listening.
///
/// # Errors
/// The segment cannot be had (see [`OwnedSegment::claim`]), or a system call failed.
pub fn send(
    message: &Message,
    listener: Pid,
    path: &Path,
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
    narrator.announcing()?;
    signals::announce(listener)?;
    narrator.announced()?;
    Ok(Sent { attached, segment })
}

impl Sent {
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
