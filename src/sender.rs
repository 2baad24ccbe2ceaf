//! The sender: the parent, or a separate program (`--to`). It puts the message into shared memory,
//! and sends the signal that says so.

use anyhow::Result;
use nix::unistd::Pid;

use crate::message::{Message, PROJECT};
use crate::output::note;
use crate::run::{Run, TIMEOUT};
use crate::step::Step;
use crate::sys::{Key, OwnedSegment, WritableAttachment, signal};

/// A message that lies in shared memory. Dropping it removes and detaches the segment. Until then
/// the sender stays attached: so the listener sees that a live process holds the message.
#[derive(Debug)]
pub struct SharedMessage {
    // Fields are dropped in this order: removed first, then detached.
    /// Where it lies.
    pub segment: OwnedSegment<Message>,
    attached: WritableAttachment<Message>,
}

/// Writes the message into shared memory, and notifies the listener. Fails as
/// [`OwnedSegment::create`] and kill(2) do.
pub fn sender(message: &Message, listener: Pid, run: &mut Run) -> Result<SharedMessage> {
    let shared = write(message, listener, run)?;
    run.tell(Step::Notifying(&shared.segment))?;
    // kill(2). The signal carries no message: it says that there is one.
    signal::send(listener, run.signal)?;
    Ok(shared)
}

/// Writes the message into the segment that belongs to the run's path. (`--to` waits before it
/// notifies, so it calls this.)
pub fn write(message: &Message, listener: Pid, run: &mut Run) -> Result<SharedMessage> {
    run.tell(Step::Writing(message.checked()?, listener))?;
    let key = Key::from_path(&run.path, PROJECT)?; // ftok(3)
    // shmget(2). The article's IPC_CREAT alone would take whatever segment is there, with an old
    // message in it. This one removes what a killed run has left. Two files may have the same key:
    // if a living run at another file has a segment there, this waits, but not for ever.
    let (segment, reclaimed) = OwnedSegment::create(&key, run.timeout.unwrap_or(TIMEOUT))?;
    if let Some(old) = reclaimed {
        note::reclaimed(&old);
    }
    let mut attached = segment.attach()?; // shmat(2)
    attached.write(message); // the id last: it says that the rest is there
    Ok(SharedMessage { segment, attached })
}

impl SharedMessage {
    /// Frees the memory: removes the segment, which the kernel would keep for ever, and detaches.
    /// Fails as shmctl(2) does.
    pub fn free(self) -> Result<()> {
        self.segment.remove()?;
        drop(self.attached);
        Ok(())
    }
}
