//! What can be asked for on the command line.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use clap::{Parser, value_parser};
use nix::unistd::Pid;

use crate::diagnostics;
use crate::explain::Explainer;
use crate::printable::Printable;
use crate::screen::ColorChoice;

/// Send a message to another process through System V shared memory and SIGUSR1
#[derive(Debug, Parser)]
#[command(version, bin_name = "sigshm", override_usage = USAGE, after_help = AFTER_HELP)]
pub struct Request {
    /// What to send: any bytes, at most 1007 of them
    #[arg(required_unless_present = "listen", conflicts_with = "listen")]
    message: Option<OsString>,

    /// Fork nobody: send to PID, which listens already
    #[arg(long, value_name = "PID", value_parser = value_parser!(i32).range(1..))]
    to: Option<i32>,

    /// Fork nobody: wait for a message, by default for ever
    #[arg(long, conflicts_with = "to")]
    listen: bool,

    /// Show what each line took: system calls, memory, why
    #[arg(long)]
    explain: bool,

    /// Explain, and stop before each step until Enter
    #[arg(long)]
    step: bool,

    /// The file that ftok(3) takes
    #[arg(long, value_name = "PATH", default_value = "./shared_path")]
    pub path: PathBuf,

    /// Colours: auto, always or never [default: always]
    #[arg(long, value_name = "WHEN", value_enum, hide_possible_values = true)]
    color: Option<ColorChoice>,

    /// Longest wait, but none with --step [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task<'a> {
    /// The whole story, with a forked child.
    Demo(&'a OsStr),
    /// The listener's part alone.
    Listen,
    /// The sender's part alone, for this listener.
    Send(&'a OsStr, Pid),
}

const USAGE: &str = "sigshm [OPTIONS] [--to <PID>] [--] <MESSAGE>
       sigshm [OPTIONS] --listen";

const AFTER_HELP: &str = "\
Colours are on even when captured; a NO_COLOR that is not empty turns them off,
unless --color is given.

Exit status: 0 if the message was delivered, 1 if it was not (standard error
says why), 2 for bad usage; an interrupted run dies of that signal.";

/// How long each wait may last if nothing else is asked for.
const PATIENCE: Duration = Duration::from_secs(5);

impl Request {
    /// Reads the command line. Does not return if it only asks for help or the version, or makes no
    /// sense.
    pub fn from_command_line() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            if !error.use_stderr() {
                error.exit();
            }
            // What is wrong is quoted in the error, and must not be obeyed by the terminal either.
            for line in error.to_string().lines() {
                diagnostics::line(Printable::os(line));
            }
            process::exit(error.exit_code())
        })
    }

    /// When to colour the transcript, with the environment taken into account (no-color.org).
    pub fn color(&self) -> ColorChoice {
        let unwanted = || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        self.color.unwrap_or_else(|| {
            if unwanted() {
                ColorChoice::Never
            } else {
                ColorChoice::Always
            }
        })
    }

    /// What is to be done.
    pub fn task(&self) -> Task<'_> {
        match (&self.message, self.to) {
            (Some(message), Some(listener)) => Task::Send(message, Pid::from_raw(listener)),
            (Some(message), None) => Task::Demo(message),
            // clap sees to it that there is a message, or else --listen.
            (None, _) => Task::Listen,
        }
    }

    /// How long each wait may last; `None` for ever, which is as long as a class looks around.
    pub fn patience(&self) -> Option<Duration> {
        let unasked = (!self.listen).then_some(PATIENCE);
        if self.step {
            None
        } else {
            self.timeout.or(unasked)
        }
    }

    /// Somebody who explains the run, if that is asked for.
    pub fn explainer(&self) -> Option<Explainer> {
        (self.explain || self.step).then(|| Explainer::new(self.step))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse().map(Duration::try_from_secs_f64) {
        Ok(Ok(duration)) if !duration.is_zero() => Ok(duration),
        _ => Err("a number of seconds greater than 0 is needed, such as 5 or 0.5".to_owned()),
    }
}
