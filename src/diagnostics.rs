//! Every word on standard error: what is to be known and is not part of the transcript.

use std::fmt::Display;
use std::io::{self, Write};

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
    // If nobody reads standard error, nobody can be told. That is no reason to fail, as `eprintln!`
    // would.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}
