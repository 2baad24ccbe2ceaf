//! Every word on standard error: what is to be known and is not part of the transcript.

use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::select::{FdSet, select};
use nix::sys::time::{TimeVal, TimeValLike};

/// How long there may be no room for a line. Whoever does not read standard error is not told; but
/// nobody, and no segment, waits for that.
const PATIENCE_SECONDS: i64 = 1;

/// Says something that the user should know although the run goes on.
pub fn note(text: impl Display) {
    line(format_args!("sigshm: {text}"));
}

/// Says why the run has failed.
pub fn error(error: &anyhow::Error) {
    line(format_args!("sigshm: error: {error:#}"));
}

/// Writes a line, in one write(2), so that the two processes do not mix theirs.
pub fn line(text: impl Display) {
    let mut stderr = io::stderr();
    let mut room = FdSet::new();
    room.insert(stderr.as_fd());
    let width = stderr.as_raw_fd() + 1;
    let mut patience = TimeVal::seconds(PATIENCE_SECONDS);
    if select(width, None, &mut room, None, &mut patience).is_ok_and(|ready| ready > 0) {
        // If nobody reads standard error, nobody can be told. That is no reason to fail, as
        // `eprintln!` would.
        let _ = stderr.write_all(format!("{text}\n").as_bytes());
    }
}
