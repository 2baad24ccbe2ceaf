//! The sender: the parent's role, or that of a program of its own (`--to`). It puts the message
//! into shared memory, and sends the signal that says so.

use anyhow::{Result, anyhow};
use nix::unistd::Pid;

use crate::message::{Message, NOTIFICATION, PROJECT};
use crate::output::note;
use crate::run::Run;
use crate::step::Step;
use crate::sys::{Error, Key, OwnedSegment, WritableAttachment, signal};

/// A message that lies in shared memory. Dropping it detaches and removes the segment. Until then
/// the sender stays attached: so the listener sees that a live process holds the message.
#[derive(Debug)]
pub struct Sent {
    message: Message,
    // Fields are dropped in this order: detached first, then removed.
    attached: WritableAttachment<Message>,
    /// Where it lies.
    pub segment: OwnedSegment<Message>,
}

/// Writes the message into shared memory, and notifies the listener. Fails if the segment cannot be
/// created ([`OwnedSegment::create`]).
pub fn sender(message: &Message, listener: Pid, run: &mut Run) -> Result<Sent> {
    let sent = write(message, listener, run)?;
    notify(listener, run)?;
    Ok(sent)
}

/// Writes the message into the segment that belongs to the run's path.
pub fn write(message: &Message, listener: Pid, run: &mut Run) -> Result<Sent> {
    run.tell(Step::Writing(message, listener))?;
    let key = Key::from_path(&run.path, PROJECT)?; // ftok(3)
    // shmget(2). The article's IPC_CREAT alone would take whatever segment is there, with an old
    // message in it. This one removes what a killed run has left, and waits for a run that lives.
    let (segment, reclaimed) = OwnedSegment::create(key, run.timeout)?;
    if let Some(old) = reclaimed {
        note::reclaimed(&old);
    }
    let mut attached = segment.attach()?; // shmat(2)
    attached.write(message); // the id last: it says that the rest is there
    Ok(Sent { message: *message, attached, segment })
}

/// Sends the signal. It carries no message: it says that there is one.
pub fn notify(listener: Pid, run: &mut Run) -> Result<()> {
    run.tell(Step::Notifying)?;
    signal::send(listener, NOTIFICATION)?; // kill(2)
    Ok(())
}

impl Sent {
    /// If the listener took too long, adds what somebody else has done to the message meanwhile.
    pub fn with_cause(&self, error: Error) -> anyhow::Error {
        match (&error, self.segment.changed_by_others(&self.attached, &self.message)) {
            (Error::TimedOut(_), Some(how)) => anyhow!("{how}: {error}"),
            _ => error.into(),
        }
    }

    /// Frees the memory: detaches, and removes the segment. The kernel would keep it for ever.
    /// Fails as shmctl(2) does.
    pub fn free(self) -> Result<()> {
        drop(self.attached);
        self.segment.remove()?;
        Ok(())
    }
}
