//! The listener: the child's part, or that of a program of its own (`--listen`). It says that it
//! listens, and then takes the message that a signal announces.
//!
//! The article does all of this in its signal handler. Here the handler only notes that the signal
//! has come (see [`signals`]), and the loop does the rest.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::diagnostics;
use crate::message::Message;
use crate::narrator::Narrator;
use crate::process::{self, Peer};
use crate::shm::{Attachment, Key, Record, Segment};
use crate::signals::{self, ANNOUNCEMENT, For, Timer, Woken};

/// From whom a listener takes a message.
#[derive(Clone, Copy, Debug)]
pub enum Sender<'a> {
    /// From its parent, and no longer than that lives.
    Parent(&'a Rc<Peer>),
    /// From whoever knows the path and sends the signal.
    Stranger,
}

/// Listens until a message has come, and tells what it says. A stranger's message is waited for
/// with `patience`, for ever if `None`; a parent has its own.
///
/// # Errors
/// What was announced is not a message; the parent has ended; nothing came; a system call failed.
pub fn listen(
    path: &Path,
    sender: Sender<'_>,
    patience: Option<Duration>,
    narrator: &mut Narrator,
) -> Result<()> {
    narrator.listening(sender.parent())?;
    signals::catch_announcements()?;
    // Said when it is true: whoever reads this line may send the signal.
    narrator.registered()?;
    if let Sender::Parent(parent) = sender {
        parent.ready()?;
        narrator.ready()?;
    }

    let mut timer = Timer::start(patience);
    let found = loop {
        sender.until_announced(&mut timer)?;
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

impl<'a> Sender<'a> {
    fn parent(self) -> Option<&'a Rc<Peer>> {
        match self {
            Self::Parent(parent) => Some(parent),
            Self::Stranger => None,
        }
    }

    /// Sleeps until the signal comes. (The article spins, `for(;;);`, and keeps a processor busy.)
    fn until_announced(self, timer: &mut Timer) -> Result<()> {
        let lifeline = self.parent().map(|parent| parent.lifeline());
        match signals::wait(For::Signal(ANNOUNCEMENT), lifeline, timer)? {
            Woken::Ready => Ok(()),
            Woken::ByPeer => Err(self
                .parent()
                .expect("only a parent has a lifeline")
                .gone()
                .into()),
            Woken::TimedOut => bail!(
                "no message has come within {} seconds; wait longer with --timeout, or without it",
                timer.patience().as_secs_f64()
            ),
        }
    }

    /// Whether what lies in the segment may be this sender's message.
    ///
    /// A run that was killed leaves its segment behind, message and all. Somebody else's signal
    /// must not make it ours.
    fn may_have_created(self, record: &Record) -> bool {
        match self {
            Self::Parent(parent) => record.creator_pid == parent.pid(),
            Self::Stranger if process::is_gone(record.creator_pid) => {
                diagnostics::note(format_args!(
                    "SIGUSR1 came, but {record} was left behind: still listening"
                ));
                false
            }
            Self::Stranger => true,
        }
    }
}

/// A message, and where it was found.
struct Found {
    segment: Segment<Message>,
    record: Record,
    attached: Attachment<Message>,
    message: Message,
}

/// Looks into shared memory, as a stranger would who knows nothing but the path.
fn look(path: &Path, sender: Sender<'_>) -> Result<Option<Found>> {
    let key = Key::from_path(path)?;
    let Some(segment) = Segment::<Message>::find(key)? else {
        return Ok(None);
    };
    let attached = segment.record().and_then(|record| {
        let attach = || Ok((record, segment.attach_read_only()?));
        sender.may_have_created(&record).then(attach).transpose()
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
        // Removed since we found it.
        Err(error) if matches!(error.errno(), Errno::EINVAL | Errno::EIDRM) => Ok(None),
        Err(error) if error.errno() == Errno::EACCES => {
            if let Sender::Stranger = sender {
                diagnostics::note(format_args!("SIGUSR1 came, but {error}: still listening"));
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
