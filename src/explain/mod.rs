//! What happens between the lines: recorded while the run goes on, told afterwards.
//!
//! An explained run is a plain run: it makes the same system calls, and prints nothing meanwhile
//! (only `--listen` does, before it waits). Each process records its steps and calls, all on one
//! clock. The child hands them to the parent through a pipe, as they come. When the run is over,
//! the parent merges both by time and tells the whole, in the order in which it happened.
//!
//! With `--step` each process tells its own, as the run goes on: at each stop, what it has done
//! since the last one. They never speak at the same time: a process tells all that it has done
//! *before* it lets the other one go (its byte "ready", its signal, its end), and after that it is
//! silent until the other one lets it go.

pub mod bytes; // the picture of the message's bytes
mod calls; // a call's text, its manual page, its event in the timeline
pub mod entry; // what is recorded, as data
mod lessons; // the texts, which are in lessons.txt
mod link; // how the child's entries reach the parent
mod recorder; // steps and calls become entries
mod stops; // where --step stops
mod teller; // entries become lines on standard output
pub mod timeline; // the picture of who did what when

use std::cell::RefCell;
use std::mem::take;
use std::rc::Rc;

use anyhow::Result;

use self::entry::Known;
use self::recorder::Recorder;
use self::teller::Teller;
use crate::output::stdout::Stdout;
use crate::step::{Step, Telling, Via, Who};
use crate::sys::signal::Signal;

/// Explains a run, in one of its processes.
pub struct Explainer {
    recorder: Rc<RefCell<Recorder>>,
    teller: Teller,
    /// Whether this process stops before its steps.
    stops: bool,
}

impl Explainer {
    /// Starts to record what this process does. `signal` notifies the listener.
    pub fn start(how: Telling, who: Who, via: Via, signal: Signal, stdout: Stdout) -> Self {
        let live = how == Telling::StepByStep;
        let recorder = Recorder::start(Known::new(who, via, signal), live);
        Self { recorder, teller: Teller::new(stdout), stops: live }
    }

    /// Takes in a step. In a live run, what was before it is told first. Fails as write(2) to
    /// standard output does, and, if there are stops, read(2) from standard input.
    pub fn tell(&mut self, step: &Step<'_>) -> Result<()> {
        let mut recorder = self.recorder.borrow_mut();
        // Asked while the link is there: the last step closes it.
        self.stops = self.stops && !recorder.link.input_has_ended();
        let Some(began) = recorder.begin(step)? else { return Ok(()) };
        if recorder.live {
            self.teller.tell(take(&mut recorder.entries))?;
            let Recorder { known, link, .. } = &mut *recorder;
            self.stops = self.stops && stops::stop(step, known, link, self.teller.stdout)?;
        }
        recorder.step(step, began);
        if recorder.live || matches!(step, Step::Registered(_)) && !recorder.known.related {
            self.teller.tell(take(&mut recorder.entries))?;
        }
        Ok(())
    }

    /// Tells what has not been told yet, and the timeline. Fails as write(2) to stdout does.
    pub fn finish(&mut self) -> Result<()> {
        let mut recorder = self.recorder.borrow_mut();
        recorder.end();
        self.teller.tell(take(&mut recorder.entries))?;
        if recorder.known.is_child() {
            return Ok(());
        }
        self.teller.timeline(recorder.known.sender, recorder.known.listener)
    }
}
