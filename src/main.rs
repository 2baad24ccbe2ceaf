//! Parses the command line, runs, and turns the outcome into an exit status.

use anyhow::Result;
use sigshm::cli::{self, Command};
use sigshm::demo::demo;
use sigshm::output::note;
use sigshm::run::Run;
use sigshm::standalone;
use sigshm::sys::signal::Signal;
use sigshm::sys::{Error, cleanup, process};

fn main() {
    let (command, mut run) = cli::parse();
    let outcome = match &command {
        Command::Demo(text) => demo(text, &mut run),
        Command::Listen => standalone::listen(&mut run),
        Command::Send(text, listener) => standalone::send(text, *listener, &mut run),
    };
    process::exit(status(outcome, &mut run))
}

/// The one place where an outcome becomes an exit status. (Bad usage is clap's, and is 2.)
fn status(outcome: Result<()>, run: &mut Run) -> i32 {
    if let Some(signal) = outcome.as_ref().err().and_then(ended_by) {
        cleanup::die_of(signal);
    }
    let Err(error) = outcome.and(run.transcript.finish()) else {
        return 0;
    };
    // If the child has failed, it has said itself why.
    if !matches!(error.downcast_ref(), Some(Error::Failed(_))) {
        note::error(&error);
    }
    1
}

/// The signal by which somebody has ended the child: the parent ends by it too.
fn ended_by(error: &anyhow::Error) -> Option<Signal> {
    match error.downcast_ref() {
        Some(Error::Killed(_, signal)) if cleanup::is_ending(*signal) => Some(*signal),
        _ => None,
    }
}
