//! The transcript: the roles tell it each step of the story, and it prints what there is to print.
//!
//! In a plain run that is the lines of the step. To explain a run, it hands each step to the
//! [explainer](crate::explain), which also prints what happens between the lines.

use anyhow::Result;

use crate::explain::Explainer;
use crate::output::stdout::Stdout;
use crate::output::words;
use crate::step::{Step, Via, Who};
use crate::sys::signal::Signal;

/// How a run is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    Plain,      // the lines, as it goes
    Explained,  // all that happens, when it is over
    StepByStep, // all that happens, as it goes, with stops
}

/// Tells the story, step by step.
pub struct Transcript {
    stdout: Stdout,
    explainer: Option<Explainer>,
}

impl Transcript {
    /// The transcript of one process, the sender or the listener of a message that goes this way;
    /// `signal` notifies the listener.
    pub fn new(telling: Telling, who: Who, via: Via, signal: Signal, stdout: Stdout) -> Self {
        let is_live = telling == Telling::StepByStep;
        let start = || Explainer::start(who, via, signal, is_live, stdout);
        Self { stdout, explainer: (telling != Telling::Plain).then(start) }
    }

    /// Tells a step. Fails as write(2) to standard output does, and [`Explainer::tell`].
    pub fn tell(&mut self, step: &Step<'_>) -> Result<()> {
        if let Some(explainer) = &mut self.explainer {
            return explainer.tell(step);
        }
        let (role, text) = words::of(step);
        let lines = text.lines().map(|line| self.stdout.line(role, line));
        self.stdout.print(&lines.collect::<String>())
    }

    /// Tells what is left, after the cleaning up. Fails as write(2) to standard output does.
    pub fn finish(&mut self) -> Result<()> {
        self.explainer.as_mut().map_or(Ok(()), Explainer::finish)
    }
}
