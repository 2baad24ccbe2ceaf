//! Taking turns: one run at a time for each `shared_path`.
//!
//! The key names one segment, so two runs that share a path would write over each other's message.
//! Each takes an exclusive flock(2) on the file first, and keeps it for as long as either of its
//! processes lives.
//!
//! The lock is never given back by hand. The kernel drops it when the last process that has the
//! file open has ended, however it ended; unlocking it in one process would take it from the other
//! one too, since they share it.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::calls::{self, CallError};
use crate::diagnostics;
use crate::printable::Printable;
use crate::signals::{self, Timer};

/// How long a run waits for its turn before it says that it does.
const MOMENT: Duration = Duration::from_millis(250);

/// The right to use the segment of a path, until this process and its children have ended.
#[derive(Debug)]
pub struct Turn {
    _lock: ManuallyDrop<Flock<File>>,
}

impl Turn {
    /// Waits for up to `patience` (for ever if `None`) until no other run has its turn at `path`.
    ///
    /// # Errors
    /// The file cannot be opened or locked, or another run has kept its turn for too long.
    pub fn take(path: &Path, patience: Option<Duration>) -> Result<Self> {
        loop {
            let lock = lock(path, patience)?;
            // The file may have been replaced while we waited, and the key is made from the new
            // one.
            if is_still_at(&lock, path) {
                return Ok(Self {
                    _lock: ManuallyDrop::new(lock),
                });
            }
        }
    }
}

fn lock(path: &Path, patience: Option<Duration>) -> Result<Flock<File>> {
    let mut file = Some(open(path)?);
    let mut lock = |how| {
        let fd = file.as_ref().map(File::as_raw_fd).unwrap_or_default();
        let flock = || {
            let unlocked = file
                .take()
                .expect("a lock that was not had gives the file back");
            Flock::lock(unlocked, how).map_err(|(unlocked, errno)| {
                file = Some(unlocked);
                errno
            })
        };
        let advice = "let others lock the file, or name another with --path";
        calls::made(flock, |_| format!("flock({fd}, {})", Flags(how)))
            .map_err(|error| error.advise(format!("{advice} ({})", Printable::os(path))))
    };
    match lock(FlockArg::LockExclusiveNonblock) {
        Err(error) if error.errno() == Errno::EWOULDBLOCK => {
            wait_for(path, patience, || lock(FlockArg::LockExclusive))
        }
        lock => Ok(lock?),
    }
}

fn is_still_at(file: &File, path: &Path) -> bool {
    let identity = |file: Metadata| (file.dev(), file.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => identity(ours) == identity(theirs),
        _ => false,
    }
}

fn wait_for<T>(
    path: &Path,
    patience: Option<Duration>,
    mut lock: impl FnMut() -> Result<T, CallError>,
) -> Result<T> {
    let moment = patience.map_or(MOMENT, |patience| patience.min(MOMENT));
    if let Some(lock) = signals::wait_in(&mut Timer::start(Some(moment)), &mut lock)? {
        return Ok(lock);
    }
    let shown = Printable::os(path);
    diagnostics::note(format_args!("waiting for another run at {shown} to end"));
    let rest = patience.map(|patience| patience - moment);
    if let Some(lock) = signals::wait_in(&mut Timer::start(rest), &mut lock)? {
        return Ok(lock);
    }
    bail!(
        "flock(\"{shown}\", LOCK_EX) failed: another run has kept its turn for {} seconds; let it \
         end, name another file with --path, or wait longer with --timeout",
        patience.unwrap_or_default().as_secs_f64()
    )
}

/// How the file is opened; std adds the last one.
const FLAGS: &str = "O_RDONLY|O_NONBLOCK|O_CLOEXEC";

fn open(path: &Path) -> Result<File, CallError> {
    let open = || {
        // O_NONBLOCK: opening a FIFO must not wait for somebody to write into it.
        let options = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(path);
        options.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))
    };
    let words = |_: Option<&File>| format!("open(\"{}\", {FLAGS})", Printable::os(path));
    calls::made(open, words).map_err(|error| match error.errno() {
        Errno::ENOENT => error.advise(
            "ftok needs a file that exists: create it (touch), or name another with --path",
        ),
        Errno::EACCES => error.advise(
            "make the file readable and its folders searchable (chmod), or name another \
                 with --path",
        ),
        _ => error.advise("name another file with --path"),
    })
}

/// The operations of flock(2) as strace(1) writes them.
struct Flags(FlockArg);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            FlockArg::LockExclusiveNonblock => "LOCK_EX|LOCK_NB",
            _ => "LOCK_EX",
        })
    }
}
