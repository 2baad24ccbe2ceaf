//! The floor: which of two processes that explain themselves on one screen may speak.
//!
//! In the plain run they take turns anyway: `fork` and `kill` let the child go, its readiness and
//! its end the parent. But each of these is a call that is explained after it was made, when the
//! other may be talking already. So in an explained run whoever has let the other go says what
//! there is to say, and then, through a pipe, gives it the floor. The last thing that comes through
//! is what the child leaves behind.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;
use nix::unistd::write;

use crate::calls;
use crate::process::{self, read_byte};
use crate::screen::Screen;
use crate::signals::For;

/// The bytes that give the floor: the run goes on step by step; or it does so no more.
const STEP_ON: u8 = b's';
const RUN_ON: u8 = b'r';

/// The pipes by which the floor is given.
#[derive(Debug)]
pub enum Floor {
    /// There is nobody else.
    Alone,
    /// Before the fork: to the child, and from it.
    Undivided([(OwnedFd, OwnedFd); 2]),
    /// After the fork: this process's ends.
    Shared {
        /// From the other process.
        hear: OwnedFd,
        /// To the other process.
        tell: OwnedFd,
    },
}

impl Floor {
    /// A floor that a parent and its child are to share.
    ///
    /// # Errors
    /// Those of pipe(2).
    pub fn new() -> Result<Self> {
        calls::aside(|| Ok(Self::Undivided([process::channel()?, process::channel()?])))
    }

    /// This process's part of the floor, once it has forked or been forked.
    #[must_use]
    pub fn divide(self, is_parent: bool) -> Self {
        match self {
            Self::Undivided([to_child, from_child]) if is_parent => Self::Shared {
                hear: from_child.0,
                tell: to_child.1,
            },
            Self::Undivided([to_child, from_child]) => Self::Shared {
                hear: to_child.0,
                tell: from_child.1,
            },
            divided => divided,
        }
    }

    /// Lets the other process speak, and tells it whether the run goes on step by step.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn give(&self, stepping: bool) -> Result<()> {
        self.tell(&[if stepping { STEP_ON } else { RUN_ON }])
    }

    /// Waits until this process may speak, and returns whether the run goes on step by step.
    ///
    /// # Errors
    /// As [`Screen::wait`]; the other process may have ended without giving the floor.
    pub fn take(&self, screen: &Screen) -> Result<bool> {
        let Self::Shared { hear, .. } = self else {
            return Ok(true);
        };
        calls::aside(|| screen.wait(For::Readable(hear.as_fd())))?;
        match (read_byte(hear.as_fd())?, screen.peer()) {
            (None, Some(peer)) => Err(peer.gone().into()),
            (byte, _) => Ok(byte == Some(STEP_ON)),
        }
    }

    /// Leaves `text` to the other process, for when this one has ended.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn leave(&self, text: &str) -> Result<()> {
        self.tell(text.as_bytes())
    }

    /// What the other process, which has ended, has left.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn left(self) -> Result<String> {
        let mut text = String::new();
        if let Self::Shared { hear, tell } = self {
            drop(tell);
            File::from(hear).read_to_string(&mut text)?;
        }
        Ok(text)
    }

    fn tell(&self, bytes: &[u8]) -> Result<()> {
        let Self::Shared { tell, .. } = self else {
            return Ok(());
        };
        match write(tell, bytes) {
            // If the other process has ended, whoever waits for it hears of that.
            Ok(_) | Err(Errno::EPIPE) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
