//! The transcript: the roles tell it each step of the story, and it prints what there is to print.
//!
//! In a plain run that is the lines of the step. If the run is to be explained, it hands them to
//! the [explainer](crate::explain), which prints them together with what happens between the lines.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Result;

use crate::explain::Explainer;
use crate::output::palette::Role;
use crate::output::stdout::Stdout;
use crate::output::words;
use crate::step::Step;
use crate::sys::signal::Signal;

/// Tells the story, step by step.
pub struct Transcript {
    stdout: Stdout,
    explainer: Option<Rc<RefCell<Explainer>>>,
}

impl Transcript {
    /// A transcript on standard output; `colored` says whether there are colours. If it is
    /// explained, `explained` says whose it is, the sender's or the listener's, which signal
    /// notifies the listener, if one does, and whether there are stops.
    pub fn new(colored: bool, explained: Option<(Role, Option<Signal>, bool)>) -> Self {
        let stdout = Stdout { colored };
        let explainer =
            explained.map(|(who, signal, stops)| Explainer::start(who, signal, stops, stdout));
        Self { stdout, explainer }
    }

    /// Tells a step. Fails as write(2) to stdout does, or if the step's message is not valid.
    pub fn tell(&mut self, step: &Step<'_>) -> Result<()> {
        let mut lines = String::new();
        if let Some((role, text)) = words::of(step)? {
            lines.extend(text.lines().map(|line| self.stdout.line(role, line)));
        }
        match &self.explainer {
            None => self.stdout.print(&lines),
            Some(explainer) => explainer.borrow_mut().tell(step, lines),
        }
    }

    /// Tells what is left to tell. The run is over, and everything is cleaned up. Fails as write(2)
    /// to standard output does.
    pub fn finish(&mut self) -> Result<()> {
        self.explainer.as_ref().map_or(Ok(()), |explainer| explainer.borrow_mut().finish())
    }
}
