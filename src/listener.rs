//! The listener: the child's part. It says that it listens, and then takes the message that a
//! signal announces.
//!
//! The article does all of this in its signal handler. Here the handler only notes that the signal
//! has come (see [`signals`]), and the loop does the rest.

use std::path::Path;
use std::rc::Rc;

use anyhow::Result;
use nix::errno::Errno;

use crate::message::Message;
use crate::narrator::Narrator;
use crate::process::Peer;
use crate::shm::{Attachment, Key, Record, Segment};
use crate::signals::{self, For, Timer, Woken};

/// Listens until the message from `sender` has come, and tells what it says.
///
/// # Errors
/// What was announced is not a message; the sender has ended; a system call failed.
pub fn listen(path: &Path, sender: &Rc<Peer>, narrator: &mut Narrator) -> Result<()> {
    narrator.listening(Some(sender))?;
    signals::catch_announcements()?;
    // Said when it is true: whoever reads this line may send the signal.
    narrator.registered()?;
    sender.ready()?;
    narrator.ready()?;

    let found = loop {
        // The article spins here, `for(;;);`, and keeps a processor busy.
        let mut patience = Timer::start(None);
        if signals::wait(For::Announcement, Some(sender.lifeline()), &mut patience)?
            == Woken::ByPeer
        {
            return Err(sender.gone().into());
        }
        // SIGUSR1 may come from anybody, at any time. If there is no message, we go on listening.
        match look(path, sender)? {
            Some(found) => break found,
            None => narrator.nothing_there()?,
        }
    };

    narrator.found(found.record);
    narrator.received_signal()?;
    narrator.received(&found.message)?;
    drop(found.attached);
    narrator.segment(&found.segment)?;
    narrator.listened()
}

/// A message, and where it was found.
struct Found {
    segment: Segment<Message>,
    record: Record,
    attached: Attachment<Message>,
    message: Message,
}

/// Looks into shared memory, as a stranger would who knows nothing but the path.
fn look(path: &Path, sender: &Peer) -> Result<Option<Found>> {
    let key = Key::from_path(path)?;
    let Some(segment) = Segment::<Message>::find(key)? else {
        return Ok(None);
    };
    let attached = segment.record().and_then(|record| {
        // Left behind by an earlier run, or put there by somebody else: not what we wait for.
        let ours = record.creator_pid == sender.pid();
        ours.then(|| Ok((record, segment.attach_read_only()?)))
            .transpose()
    });
    match attached {
        Ok(None) => Ok(None),
        Ok(Some((record, attached))) => {
            let message = attached.read();
            Ok(message.is_written().then_some(Found {
                segment,
                record,
                attached,
                message,
            }))
        }
        // Removed since we found it, or not ours to read: then there is no message for us.
        Err(error) if matches!(error.errno(), Errno::EINVAL | Errno::EIDRM | Errno::EACCES) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
