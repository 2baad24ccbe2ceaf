//! System calls, put into words once: in strace's notation, with the arguments and the result they
//! really had.
//!
//! Every call that belongs to the story passes through [`made`]. A call that fails becomes a
//! [`CallError`], which names the call, its arguments, the errno and, where there is one, what to
//! do about it. While a [`record`] is kept, every call is also noted with its times, for whoever
//! explains the run. Otherwise no words are made for a call that succeeds: it costs nothing more
//! than itself.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Instant;

use libc::{c_int, c_void};
use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::sys::signal::{SigAction, SigSet};
use nix::sys::wait::WaitStatus;
use nix::unistd::ForkResult;

/// A system call that failed.
///
/// Shown as `shmget(0x0100c01a, 1024, 0) failed: Permission denied (EACCES)`, followed by the
/// advice if any was given.
#[derive(Debug)]
pub struct CallError {
    call: String,
    errno: Errno,
    advice: Option<String>,
}

impl CallError {
    fn new(call: String, errno: Errno) -> Self {
        Self {
            call,
            errno,
            advice: limit_behind(errno),
        }
    }

    /// The error number the call left behind; see errno(3).
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// Adds what the reader can do about it, unless the errno alone has said it.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice.get_or_insert_with(|| advice.into());
        self
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} failed: {} ({:?})",
            self.call,
            self.errno.desc(),
            self.errno
        )?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CallError {}

/// Makes a system call; `words` puts it into words, as strace(1) would, given what it returned if
/// it succeeded.
///
/// # Errors
/// The call's own errno, with the call's words.
pub fn made<T: Returned>(
    call: impl FnOnce() -> nix::Result<T>,
    words: impl FnOnce(Option<&T>) -> String,
) -> Result<T, CallError> {
    let Some(began) = RECORDING.get().then(Instant::now) else {
        return call().map_err(|errno| CallError::new(words(None), errno));
    };
    let outcome = call();
    let ended = Instant::now();
    let words = words(outcome.as_ref().ok());
    let returned = match &outcome {
        Ok(value) => value.returned(),
        Err(errno) => format!("-1 {errno:?} ({})", errno.desc()),
    };
    let call = Call {
        began,
        ended,
        words: words.clone(),
        returned: Some(returned),
    };
    RECORD.with_borrow_mut(|record| record.push(call));
    outcome.map_err(|errno| CallError::new(words, errno))
}

/// The limit behind the errors that any call may meet which asks for a file descriptor or for
/// memory.
fn limit_behind(errno: Errno) -> Option<String> {
    let limit = match errno {
        Errno::EMFILE => "this process may open no more files: raise RLIMIT_NOFILE (ulimit -n)",
        Errno::ENFILE => "the whole system may open no more files: raise fs.file-max (sysctl)",
        Errno::ENOMEM => "there is not enough memory: free some, or raise RLIMIT_AS (ulimit -v)",
        _ => return None,
    };
    Some(limit.to_owned())
}

/// Something that happened in this process, for the record.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it began.
    pub began: Instant,
    /// When it was over.
    pub ended: Instant,
    /// The call and its arguments; or, for what is no system call, what was done.
    pub words: String,
    /// What it returned; `None` for what is no system call.
    pub returned: Option<String>,
}

impl Call {
    /// The name of the call: `shmget` for `shmget(…)`; or the first word.
    pub fn name(&self) -> &str {
        self.words.split(['(', ' ']).next().unwrap_or_default()
    }
}

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(false) };
    static RECORD: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
}

/// From now on a record is kept of what this process does.
pub fn record() {
    RECORDING.set(true);
}

/// Takes what has been recorded since somebody last took it.
pub fn take_record() -> Vec<Call> {
    RECORD.take()
}

/// Records something that is part of the story and no system call.
pub fn happened(words: impl FnOnce() -> String) {
    if RECORDING.get() {
        let now = Instant::now();
        let words = words();
        RECORD.with_borrow_mut(|record| {
            record.push(Call {
                began: now,
                ended: now,
                words,
                returned: None,
            });
        });
    }
}

/// Does what is not part of the story, and is not recorded.
pub fn aside<T>(work: impl FnOnce() -> T) -> T {
    let recording = RECORDING.replace(false);
    let outcome = work();
    RECORDING.set(recording);
    outcome
}

/// What a system call returned, as strace(1) writes it.
pub trait Returned {
    /// The words for this value.
    fn returned(&self) -> String {
        "0".to_owned()
    }
}

impl Returned for () {}
impl Returned for (OwnedFd, OwnedFd) {}
impl Returned for SigAction {}
impl Returned for SigSet {}
impl Returned for libc::itimerval {}

impl Returned for c_int {
    fn returned(&self) -> String {
        self.to_string()
    }
}

impl Returned for usize {
    fn returned(&self) -> String {
        self.to_string()
    }
}

impl Returned for Option<u8> {
    /// One byte has been read, or none because there will be no more.
    fn returned(&self) -> String {
        usize::from(self.is_some()).to_string()
    }
}

impl Returned for File {
    fn returned(&self) -> String {
        self.as_raw_fd().to_string()
    }
}

impl Returned for Flock<File> {}

impl Returned for NonNull<c_void> {
    fn returned(&self) -> String {
        format!("{:p}", self.as_ptr())
    }
}

impl Returned for ForkResult {
    fn returned(&self) -> String {
        match self {
            Self::Parent { child } => child.to_string(),
            Self::Child => "0".to_owned(),
        }
    }
}

impl Returned for WaitStatus {
    fn returned(&self) -> String {
        self.pid()
            .map_or_else(|| "0".to_owned(), |pid| pid.to_string())
    }
}
