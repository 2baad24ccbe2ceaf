//! Standard error: what the user should know and is not part of the transcript.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::escape::Escaped;
use crate::message::NOTIFICATION;
use crate::sys::trace::Call;
use crate::sys::{Error, Status, fd};

/// How long to wait for room on standard error. After that the line is dropped.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Another run has the lock on this file.
pub fn waiting_for_lock(path: &Path) {
    line(format_args!("sigshm: waiting for another run at {} to end", Escaped::os(path)));
}

/// A segment that was abandoned has been removed.
pub fn reclaimed(segment: &Status) {
    line(format_args!("sigshm: reclaimed {segment}, which was left behind"));
}

/// A signal has come, but not a message.
pub fn still_listening(why: &str) {
    line(format_args!("sigshm: {NOTIFICATION} came, but {why}: still listening"));
}

/// Why the run has failed, and which option helps.
pub fn error(error: &anyhow::Error) {
    let option = match error.downcast_ref() {
        Some(Error::Call(call, _)) if matches!(**call, Call::Open(..) | Call::Flock(..)) => {
            "; or name another file with --path"
        }
        Some(Error::Call(call, _)) if matches!(**call, Call::Read(0, _)) => {
            "; --step reads Enter from standard input"
        }
        Some(Error::TimedOut(_)) => "; if it is only slow, wait longer with --timeout",
        _ => "",
    };
    line(format_args!("sigshm: error: {error:#}{option}"));
}

/// Writes a line, in one write(2), so that the two processes do not mix theirs.
pub fn line(text: impl Display) {
    let mut stderr = io::stderr();
    // If nobody reads standard error, nobody can be told. That is no reason to fail.
    if fd::wait_writable(&stderr, Some(LONGEST_WAIT)) != Ok(false) {
        let _ = stderr.write_all(format!("{text}\n").as_bytes());
    }
}
