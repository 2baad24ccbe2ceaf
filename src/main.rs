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

// Start-up work that the run does not need: loading libgcc_s, the shared library that unwinds a
// panicking stack. A release build does not unwind, yet the standard library refers to it. Linked
// statically, it need not be looked for, mapped and relocated at each start, which takes as long as
// a third of the whole story (`cargo bench`).
#[cfg(all(target_os = "linux", target_env = "gnu", not(debug_assertions)))]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
// SAFETY: nothing is declared here, so there is nothing that could be called wrongly.
unsafe extern "C" {}
