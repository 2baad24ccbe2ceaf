//! Keys and segments: who creates, who finds, who removes; see sysvipc(7).
//!
//! # The order, and why
//! 1. [`Key::from_path`]: both processes make the same number from the same file.
//! 2. [`OwnedSegment::create`] in one process, [`Segment::find`] in the other. Creation is
//!    *exclusive*: with `IPC_CREAT` alone, as in the article, a process silently gets whatever
//!    segment is there, with an old message in it.
//! 3. Attach; write or read a whole value; detach: see [`Attachment`].
//! 4. Remove. The kernel holds a segment, not a process: what nobody removes stays until the
//!    machine restarts. So an [`OwnedSegment`] removes itself when it is dropped.

use std::ffi::CString;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::{fmt, ptr};

use libc::{c_int, key_t};
use nix::errno::Errno;
use nix::unistd::Pid;

use super::attach::{Attachment, SHM_RDONLY, WritableAttachment};
use super::ownership::{HAS_CREATED, Obstacle};
use super::status::{Denial, denial, describe, status};
use super::trace::{self, Call};
use super::{Deadline, Error, SelfContained, Status, cleanup, quoted};

/// The mode of a new segment: reading and writing for its owner, nothing for anybody else.
const MODE: c_int = 0o600;

/// How often a segment that is in use is looked at again.
const OCCUPIED_INTERVAL: Duration = Duration::from_millis(10);

/// The number that two processes derive from the same file to find the same segment; see ftok(3).
#[derive(Clone, Debug)]
pub struct Key {
    number: key_t,
    path: PathBuf,
    project: c_int,
}

impl Key {
    /// Derives the key from the file's device and inode number, and from the low eight bits of
    /// `project`. The file is not read. Fails as stat(2) does: there must be a file at `path`.
    pub fn from_path(path: &Path, project: c_int) -> Result<Self, Error> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| {
            Error::UnusableFile(format!("no path has a NUL in it, as {path:?} has"))
        })?;
        // SAFETY: ftok only reads its path, a NUL-terminated string that outlives the call.
        let ftok = || Errno::result(unsafe { libc::ftok(name.as_ptr(), project) });
        let number = trace::traced(|| Call::Ftok(path.to_owned(), project), ftok)?;
        Ok(Self { number, path: path.to_owned(), project })
    }
}

impl fmt::Display for Key {
    /// As ipcs(1) writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.number)
    }
}

/// A segment that is there: its identifier, and the type of what it holds. Its creator may remove
/// it at any time, and then every use of it fails.
#[derive(Debug)]
pub struct Segment<T> {
    id: c_int,
    holds: PhantomData<T>,
}

impl<T: SelfContained> Segment<T> {
    /// Asks for the segment at `key`. Fails as shmget(2) does: ENOENT if there is none, EINVAL if
    /// it is smaller than a `T`.
    pub fn find(key: &Key) -> Result<Self, Error> {
        shmget(key, size_of::<T>(), 0).map(|id| Self { id, holds: PhantomData })
    }

    /// Asks the kernel for the segment's status. Fails as shmctl(2) does: EACCES if this user may
    /// not read it, EINVAL or EIDRM if it has been removed.
    pub fn status(&self) -> Result<Status, Error> {
        match status(self.id) {
            Err(error @ Error::Call(_, Errno::EACCES)) => {
                let segment = describe(self.id);
                Err(Error::Rejected(match denial(self.id) {
                    Denial::Anothers => format!("{segment} is another user's ({error})"),
                    _ => format!("{segment}: {error}"),
                }))
            }
            status => status,
        }
    }

    /// The error of a reader that does not take what the segment holds.
    pub fn rejected(&self, why: &str) -> Error {
        let segment = status(self.id).map_or_else(|_| describe(self.id), |it| it.to_string());
        Error::Rejected(format!("{segment}: {why}"))
    }

    /// Attaches the segment for reading, at an address that the kernel chooses. Fails as shmat(2)
    /// does: with EINVAL or EIDRM if it has been removed.
    pub fn attach_read_only(&self) -> Result<Attachment<T>, Error> {
        Attachment::new(self.id, SHM_RDONLY)
    }

    /// As [`attach_read_only`](Self::attach_read_only), for writing too.
    pub fn attach(&self) -> Result<WritableAttachment<T>, Error> {
        Attachment::new(self.id, 0).map(WritableAttachment)
    }
}

/// A segment that this process has created. Dropping it removes it. Create it after `fork`, not
/// before: both processes would think that it is theirs to remove.
#[derive(Debug)]
pub struct OwnedSegment<T> {
    segment: Segment<T>,
    key: Key,
}

impl<T: SelfContained> OwnedSegment<T> {
    /// Creates the segment at `key`, filled with zeros, for this user alone. Fails as shmget(2)
    /// does. Panics if [`cleanup`] already has a segment to remove.
    ///
    /// A segment that is there already is removed first if it is certainly abandoned: owned and
    /// created by this user, as large as a `T`, attached by nobody, its creator dead. Its status is
    /// returned beside the new segment. Otherwise this looks again every 10 ms, until `timeout` is
    /// over, if that can help, and then fails with [`Error::Occupied`]; or with
    /// [`Error::TimedOut`], if others create segments there again and again.
    pub fn create(key: &Key, timeout: Duration) -> Result<(Self, Option<Status>), Error> {
        let what = format!("others keep creating and removing segments at {key}: it was not free");
        let mut deadline = Deadline::after(Some(timeout), &what);
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | MODE;
        let (mut reclaimed, mut was_free) = (None, false);
        loop {
            match cleanup::create_segment(|| shmget(key, size_of::<T>(), flags)) {
                Err(Error::Call(_, Errno::EEXIST)) => {}
                id => {
                    let segment = Segment { id: id?, holds: PhantomData };
                    HAS_CREATED.store(true, Relaxed);
                    return Ok((Self { segment, key: key.clone() }, reclaimed));
                }
            }
            match reclaim(key, size_of::<T>()) {
                Err(Error::Occupied { may_pass: true, .. }) if deadline.check().is_ok() => {
                    trace::sleep(OCCUPIED_INTERVAL)?;
                    continue;
                }
                // Somebody else has removed it, between two of our calls.
                Err(error) if error.is_removed() => {}
                outcome => reclaimed = outcome?.or(reclaimed),
            }
            // The key was free for a moment. But it may be taken again, and again.
            if was_free {
                deadline.check()?;
                trace::sleep(OCCUPIED_INTERVAL)?;
            }
            was_free = true;
        }
    }

    /// Makes sure that the process `reader` can still find the segment, if it has not attached it
    /// yet. Fails with [`Error::Unreachable`] if somebody else has removed the segment, or has
    /// replaced the file from which its key was made.
    pub fn ensure_reachable(&self, reader: Pid) -> Result<(), Error> {
        let (id, key) = (self.id, &self.key);
        let what = match self.status() {
            Ok(status) if status.last_pid == reader || status.attached > 1 => return Ok(()),
            Ok(status) if !status.removed => match Key::from_path(&key.path, key.project) {
                Ok(now) if now.number == key.number => return Ok(()),
                Ok(now) => format!(
                    "somebody has replaced the file {}: its key was {key} and is {now}, so nobody \
                     finds segment {id} any more",
                    quoted(&key.path)
                ),
                Err(error) => format!("nobody finds segment {id} any more: {error}"),
            },
            _ => format!("somebody else has removed segment {id}"),
        };
        Err(Error::Unreachable(what))
    }

    /// The key at which it lies.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Removes the segment. The kernel frees its memory as soon as nobody is attached. Fails as
    /// shmctl(2) does, but not if it has been removed already.
    pub fn remove(self) -> Result<(), Error> {
        // What Drop would do, but here somebody can be told how it went.
        match remove(ManuallyDrop::new(self).id) {
            Err(error) if error.is_removed() => Ok(()),
            removed => removed,
        }
    }
}

impl<T> Deref for OwnedSegment<T> {
    type Target = Segment<T>;

    fn deref(&self) -> &Segment<T> {
        &self.segment
    }
}

impl<T> Drop for OwnedSegment<T> {
    fn drop(&mut self) {
        // Something else has failed already, and is the error. This one is kept beside it.
        match remove(self.segment.id) {
            Err(error) if !error.is_removed() => cleanup::failed(error.to_string()),
            _ => {}
        }
    }
}

/// Removes the segment at `key` if it is certainly abandoned, and returns its status; `None` if
/// there is none any more. Fails as shmctl(2) does if somebody else removes it meanwhile.
fn reclaim(key: &Key, size: usize) -> Result<Option<Status>, Error> {
    let id = match shmget(key, 0, 0) {
        Err(Error::Call(_, Errno::ENOENT)) => return Ok(None),
        id => id?,
    };
    let (segment, Obstacle { reason, may_pass }) = match status(id) {
        Ok(status) => match status.obstacle(size) {
            Some(obstacle) => (status.to_string(), obstacle),
            None => return remove(id).map(|()| Some(status)),
        },
        // We may not ask for it.
        Err(error @ Error::Call(_, Errno::EACCES)) => {
            let reason = match denial(id) {
                Denial::Anothers => "it is another user's".to_owned(),
                _ => error.to_string(),
            };
            (describe(id), Obstacle { reason, may_pass: false })
        }
        Err(error) => return Err(error),
    };
    let exists = Errno::EEXIST.desc();
    let what = format!(
        "shmget({key}, …) failed: {exists} (EEXIST); {segment} is left alone, because {reason}; if \
         nobody needs it, its owner removes it with: ipcrm -m {id}"
    );
    Err(Error::Occupied { what, may_pass })
}

fn shmget(key: &Key, size: usize, flags: c_int) -> Result<c_int, Error> {
    // SAFETY: shmget takes three numbers and touches no memory of ours.
    let shmget = || Errno::result(unsafe { libc::shmget(key.number, size, flags) });
    trace::traced(|| Call::Shmget(key.number, size, flags), shmget)
}

fn remove(id: c_int) -> Result<(), Error> {
    // SAFETY: IPC_RMID does not look at its third argument. Whoever is attached stays attached, so
    // no memory goes away.
    let rmid = || Errno::result(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) });
    let removed = trace::traced(|| Call::IpcRmid(id), rmid);
    cleanup::forget_segment(id);
    match removed {
        // It is there all the same: that was a policy's answer.
        Err(error) if error.is_removed() && status(id).is_ok_and(|status| !status.removed) => {
            Err(Error::Unusable(error.to_string()))
        }
        removed => removed.map(drop),
    }
}
