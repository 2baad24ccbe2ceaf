//! Whose segment it is: which one may be removed, and whose message a listener may take.
//!
//! A run that was killed leaves its segment and its message behind. The kernel tells its creator's
//! PID, which may be another process's by now. So each of the three rules asks for more: that the
//! creator is dead, or that somebody is attached, or that the creator has just sent the signal.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::unistd::{Pid, getpid};

use super::{Error, Status, proc};

/// Whether this process, or its parent before the fork, has created a segment since it was loaded.
/// From then on, one that its own PID has created may be a living one.
pub(super) static HAS_CREATED: AtomicBool = AtomicBool::new(false);

/// Why a segment must not be removed.
#[derive(Debug)]
pub(super) struct Obstacle {
    pub reason: String,
    pub may_pass: bool, // while one waits
}

impl Status {
    /// Why a program whose segments have this size must not remove this one, if so. The rules are
    /// those of PostgreSQL for its segments (`sysv_shmem.c`).
    pub(super) fn obstacle(&self, size: usize) -> Option<Obstacle> {
        let (reason, may_pass) = if !self.is_ours() {
            ("it is another user's".into(), false)
        } else if self.size != size {
            ("its size is not ours".into(), false)
        } else if self.attached != 0 {
            ("it is attached".into(), true)
        } else if self.creator_pid.as_raw() <= 0 {
            ("its creator cannot be seen from this PID namespace".into(), true)
        } else if !self.creator_has_exited() {
            let process = proc::describe(self.creator_pid);
            (format!("a process has the PID of its creator: {process}"), true)
        } else {
            return None;
        };
        Some(Obstacle { reason, may_pass })
    }

    /// Whether this user owns and has created it. Where user IDs do not tell, the mode does: nobody
    /// else could ask for the status of a segment that is its owner's alone.
    pub fn is_ours(&self) -> bool {
        let us = proc::own_user();
        let is_told = self.mode & 0o077 == 0 || proc::is_unique(us);
        self.owner == us && self.creator == us && is_told
    }

    /// Whether the creator has certainly ended: no process has its PID, or this one has it and has
    /// created nothing yet. (In a container the next run often gets the PID of a killed one.)
    pub fn creator_has_exited(&self) -> bool {
        match self.creator_pid == getpid() {
            true => !HAS_CREATED.load(Relaxed),
            false => proc::has_exited(self.creator_pid),
        }
    }

    /// Makes sure that a child may take it: its parent must have created it, and somebody must be
    /// attached (to that of a dead run, which had the parent's PID, nobody is).
    pub fn ensure_from_parent(&self, parent: Pid) -> Result<(), Error> {
        if self.creator_pid != parent {
            Err(Error::Rejected(format!("{self}: our parent has not created it")))
        } else if self.attached == 0 {
            Err(Error::Unattached(self.to_string()))
        } else {
            Ok(())
        }
    }

    /// Makes sure that a listener that knows no sender may take it: its creator must have sent the
    /// signal (it may have ended since), or be there and attached. Somebody else's signal must not
    /// deliver what a killed run has left.
    pub fn ensure_from_signaler(&self, signaler: Pid, size: usize) -> Result<(), Error> {
        let creator = self.creator_pid;
        let rejected = |why| Err(Error::Rejected(format!("{self}: {why}")));
        if !self.is_ours() {
            rejected("it is another user's")
        } else if self.size != size {
            rejected("its size is not that of a message")
        } else if creator == signaler && creator.as_raw() > 0 && creator != getpid()
            || self.attached > 0 && !self.creator_has_exited()
        {
            Ok(())
        } else if self.attached == 0 && creator.as_raw() > 0 && !self.creator_has_exited() {
            Err(Error::Unattached(self.to_string()))
        } else {
            rejected("it was left behind")
        }
    }
}
