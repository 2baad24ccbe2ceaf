//! What both roles need for a run, whether they are two processes of one program or two programs.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::step::Step;
use crate::sys::signal::Signal;
use crate::transcript::Transcript;

/// How long a wait may last by default. (`--listen` and `--step` have no such limit.)
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// How a listener waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Spin, // for a while, and then it sleeps
    Sleep,
}

/// A run: where the two processes meet, how long they wait, and where they tell what they do.
pub struct Run {
    pub path: PathBuf,             // the file from which both make the key
    pub timeout: Option<Duration>, // of each wait for another process; none: for ever
    pub signal: Signal,            // that notifies the listener
    pub wait: Wait,                // how the listener waits
    pub transcript: Transcript,    // what is printed
}

impl Run {
    /// Tells a step: prints its lines (output/words.rs). Fails as write(2) to standard output does.
    pub fn tell(&mut self, step: Step<'_>) -> Result<()> {
        self.transcript.tell(&step)
    }
}
