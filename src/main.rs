//! Parses the command line, runs, and turns the outcome into an exit status.

use anyhow::Result;
use sigshm::cli::{self, Command, Options};
use sigshm::demo::demo;
use sigshm::output::note;
use sigshm::output::stdout::Stdout;
use sigshm::run::Run;
use sigshm::step::{Via, Who};
use sigshm::sys::{Error, cleanup, process};
use sigshm::transcript::Transcript;
use sigshm::{socket, standalone};

fn main() {
    // PID 1 of a container does not get the signals that end a program, unless it has a handler.
    let prepared = cleanup::install_if_first().map_err(Into::into);
    let Options { command, path, signal, wait, timeout, telling, colored } = cli::parse();
    let (who, via) = match command {
        Command::Demo(via, _) => (Who::Sender, via),
        Command::Listen => (Who::Listener, Via::Memory),
        Command::Send(..) => (Who::Sender, Via::Memory),
    };
    let transcript = Transcript::new(telling, who, via, signal, Stdout { colored });
    let mut run = Run { path, timeout, signal, wait, transcript };
    let outcome = prepared.and_then(|()| match &command {
        Command::Demo(Via::Memory, message) => demo(message, &mut run),
        Command::Demo(Via::Socket, message) => socket::demo(message, &mut run),
        Command::Listen => standalone::listen(&mut run),
        Command::Send(message, listener) => standalone::send(message, *listener, &mut run),
    });
    process::exit(status(outcome, &mut run))
}

/// The one place where an outcome becomes an exit status. (Bad usage is clap's, and is 2.)
fn status(outcome: Result<()>, run: &mut Run) -> i32 {
    let say_what_is_left = || cleanup::failures().iter().for_each(|it| note::cleaning_up(it));
    match outcome.as_ref().err().and_then(|error| error.downcast_ref()) {
        // Somebody has ended the child by this signal: the parent ends by it too.
        Some(Error::Killed(_, signal)) if cleanup::is_ending(*signal) => {
            say_what_is_left();
            cleanup::die_of(*signal)
        }
        _ => {}
    }
    // With --explain, a run that has failed is told too, as far as it came.
    let Err(error) = outcome.and(run.transcript.finish()) else { return 0 };
    // If the child has failed, it has said itself why.
    if !matches!(error.downcast_ref(), Some(Error::Failed(_))) {
        note::error(&error);
    }
    say_what_is_left();
    1
}
