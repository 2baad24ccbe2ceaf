//! The transcript: the roles tell it each step of the story, and it prints what there is to print.
//!
//! In a plain run that is the lines of the step. To explain a run, it hands each step to the
//! [explainer](crate::explain), which also prints what happens between the lines.

use anyhow::Result;

use crate::explain::Explainer;
use crate::output::stdout::Stdout;
use crate::output::words;
use crate::step::{Step, Telling, Via, Who};
use crate::sys::signal::Signal;

/// Tells the story, step by step.
pub enum Transcript {
    Plain(Stdout),
    Explained(Explainer),
}

impl Transcript {
    /// The transcript of one process, the sender or the listener of a message that goes this way;
    /// `signal` notifies the listener.
    pub fn new(telling: Telling, who: Who, via: Via, signal: Signal, stdout: Stdout) -> Self {
        match telling {
            Telling::Plain => Self::Plain(stdout),
            _ => Self::Explained(Explainer::start(telling, who, via, signal, stdout)),
        }
    }

    /// Tells a step. Fails as write(2) to standard output does, and [`Explainer::tell`].
    pub fn tell(&mut self, step: &Step<'_>) -> Result<()> {
        match self {
            Self::Plain(stdout) => {
                let (role, text) = words::of(step);
                let lines = text.lines().map(|line| stdout.line(role, line));
                stdout.print(&lines.collect::<String>())
            }
            Self::Explained(explainer) => explainer.tell(step),
        }
    }

    /// Tells what is left, after the cleaning up. Fails as write(2) to standard output does.
    pub fn finish(&mut self) -> Result<()> {
        if let Self::Explained(explainer) = self { explainer.finish() } else { Ok(()) }
    }
}
