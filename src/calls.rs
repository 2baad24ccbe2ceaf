//! System calls, put into words once: in strace's notation, with the arguments and the result they
//! really had.
//!
//! Every call that belongs to the story passes through [`made`]. A call that fails becomes a
//! [`CallError`], which names the call, its arguments, the errno and, where there is one, what to
//! do about it. The words are made only when somebody is to read them, so that a call that succeeds
//! costs nothing more than itself.

use std::fmt;

use nix::errno::Errno;

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

/// Takes the outcome of a system call; `call` puts the call itself into words, as strace(1) would.
///
/// # Errors
/// The call's own errno, with the call's words.
pub fn made<T>(outcome: nix::Result<T>, call: impl FnOnce() -> String) -> Result<T, CallError> {
    outcome.map_err(|errno| CallError {
        call: call(),
        errno,
        advice: limit_behind(errno).map(String::from),
    })
}

/// The limit behind the errors that any call may meet which asks for a file descriptor or for
/// memory.
fn limit_behind(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::EMFILE => "this process may open no more files: raise RLIMIT_NOFILE (ulimit -n)",
        Errno::ENFILE => "the whole system may open no more files: raise fs.file-max (sysctl)",
        Errno::ENOMEM => "there is not enough memory: free some, or raise RLIMIT_AS (ulimit -v)",
        _ => return None,
    })
}
