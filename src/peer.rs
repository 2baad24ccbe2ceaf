//! Whom a listener listens to: its parent, or anybody. That is what differs between the demo's
//! child and `--listen` while they wait.
//!
//! | | the demo's child | `--listen` |
//! |---|---|---|
//! | whose message it takes | its parent's | the signal's sender's, or an attached process's |
//! | what ends its wait | the end of its parent | the timeout, if there is one |
//! | a signal without a message | is ignored; an error if a living parent's | is noted on stderr |

use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::Pid;

use crate::message::{MESSAGE_SIZE, Message};
use crate::output::note;
use crate::run::Run;
use crate::step::Step;
use crate::sys::process::Parent;
use crate::sys::{Deadline, Error, Segment};

/// Whom a listener listens to.
#[derive(Clone, Copy, Debug)]
pub enum Peer<'a> {
    Parent(&'a Parent),
    Anybody,
}

impl<'a> Peer<'a> {
    /// The parent, if the listener has one. Its pipe tells the listener of its end.
    pub fn parent(self) -> Option<&'a Parent> {
        if let Self::Parent(parent) = self { Some(parent) } else { None }
    }

    /// When the listener gives up. (In the demo it is the parent that gives up, and kills it.)
    pub fn deadline(self, timeout: Option<Duration>) -> Deadline {
        let timeout = if let Self::Anybody = self { timeout } else { None };
        Deadline::after(timeout, "no message came")
    }

    /// Makes sure that the segment's message is for this listener. `signaler` has sent the signal.
    pub fn ensure_sent(self, segment: &Segment<Message>, signaler: Pid) -> Result<(), Error> {
        let status = segment.status()?;
        match self {
            Self::Parent(parent) => status.ensure_from_parent(parent.pid()),
            Self::Anybody => status.ensure_from_signaler(signaler, MESSAGE_SIZE),
        }
    }

    /// A signal has come, and there is no message, for this reason. Anybody may send a signal at
    /// any time, so the listener goes on. But it fails if the parent has sent it, or if it could
    /// not look. (A living parent is attached. If nobody is, it has just ended, and the next wait
    /// sees that.)
    pub fn go_on_or_fail(self, why: Error, signaler: Pid, run: &mut Run) -> Result<()> {
        // (It is 0 if the process that sent it cannot be seen from this PID namespace.)
        let is_parents = signaler.as_raw() != 0 && Some(signaler) == self.parent().map(Parent::pid);
        let is_missing = is_parents && !matches!(why, Error::Unattached(_));
        if is_missing || !why.is_absence() {
            return Err(why).with_context(|| note::no_message(&run.path));
        }
        run.tell(Step::FoundNothing(&why))?;
        if let Self::Anybody = self {
            note::still_listening(run.signal, &run.path, &why);
        }
        Ok(())
    }
}
