//! Standard error: what the user should know and is not part of the transcript.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::sys::signal::Signal;
use crate::sys::trace::Call;
use crate::sys::{Error, Status, fd, quoted};

/// How long to wait for room on standard error. After that the line is dropped.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What helps if the file cannot be used.
const ANOTHER_FILE: &str = "; you can name another file with --path";

thread_local! {
    /// Why there was no message, as it was said.
    static SAID: RefCell<HashSet<String>> = RefCell::default();
}

/// Another process, most often another run, has the lock on this file.
pub fn waiting_for_lock(path: &Path, holder: &str) {
    line(format_args!("sigshm: waiting: {holder} has locked the file {}", quoted(path)));
}

/// A segment that was abandoned has been removed.
pub fn reclaimed(segment: &Status) {
    line(format_args!("sigshm: reclaimed {segment}, which was left behind"));
}

/// A call of the cleaning up has failed.
pub fn cleaning_up(what: &str) {
    line(format_args!("sigshm: cleaning up: {what}"));
}

/// The listener takes SIGINT as its notification signal.
pub fn interrupt_is_caught() {
    let how_to_end = "press Ctrl-\\ to end this program";
    line(format_args!("sigshm: Ctrl-C sends SIGINT, the notification signal here: {how_to_end}"));
}

/// A signal has come, but not a message. Each reason is said once.
pub fn still_listening(signal: Signal, path: &Path, why: &Error) {
    let why = format!("{signal} came, but {}: {why}", no_message(path));
    if SAID.with_borrow_mut(|said| said.insert(why.clone())) {
        line(format_args!("sigshm: {why}: still listening"));
    }
}

/// What the listener has not found.
pub fn no_message(path: &Path) -> String {
    format!("there is no message at {}", quoted(path))
}

/// Why the run has failed, and which option helps.
pub fn error(error: &anyhow::Error) {
    let option = match error.downcast_ref() {
        Some(Error::Call(failure, errno)) => match (&failure.call, errno) {
            (Call::Read(0), _) => "; --step reads Enter from standard input",
            // Another file would fail in the same way.
            (_, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EPERM | Errno::ENOSYS)
            | (Call::Flock(..), Errno::EACCES) => "",
            (Call::Open(_) | Call::Flock(..) | Call::Ftok(..), _) => ANOTHER_FILE,
            _ => "",
        },
        Some(Error::UnusableFile(_)) => ANOTHER_FILE,
        Some(Error::TimedOut(_)) => "; if it is only slow, wait longer with --timeout",
        Some(Error::Held(_)) => "; run again, and let it go on before the --timeout is over",
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
