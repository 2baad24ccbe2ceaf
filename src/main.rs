//! Parses the command line, runs, and turns the outcome into an exit status.

use anyhow::Result;
use sigshm::cli::{Request, Task};
use sigshm::process::{self, ChildError};
use sigshm::signals::{self, Interrupted};
use sigshm::{demo, diagnostics, strangers};

fn main() {
    let status = match run(&Request::from_command_line()) {
        Ok(()) => 0,
        Err(error) => failure(&error),
    };
    process::end(status)
}

fn run(request: &Request) -> Result<()> {
    match request.task() {
        Task::Demo(message) => demo::run(request, message),
        Task::Listen => strangers::listen(request),
        Task::Send(message, listener) => strangers::send(request, message, listener),
    }
}

/// The one place where an error becomes an exit status. (Bad usage is clap's, and is 2.)
fn failure(error: &anyhow::Error) -> u8 {
    if let Some(&interrupted) = error.downcast_ref::<Interrupted>() {
        signals::die_of(interrupted);
    } else if !matches!(error.downcast_ref(), Some(ChildError::Failed(_))) {
        diagnostics::error(error);
    }
    1
}
