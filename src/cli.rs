//! What can be asked for on the command line.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use clap::Parser;

use crate::diagnostics;
use crate::explain::Explainer;
use crate::printable::Printable;
use crate::screen::ColorChoice;

/// Send a message to a forked child through System V shared memory and SIGUSR1
#[derive(Debug, Parser)]
#[command(version, bin_name = "sigshm", after_help = AFTER_HELP)]
pub struct Request {
    /// What to send: any bytes, at most 1007 of them
    pub message: OsString,

    /// The file that ftok(3) takes
    #[arg(long, value_name = "PATH", default_value = "./shared_path")]
    pub path: PathBuf,

    /// When to colour the transcript [default: always]
    #[arg(long, value_name = "WHEN", value_enum, hide_possible_values = true, help = COLOR_HELP)]
    color: Option<ColorChoice>,

    /// How long each wait may last
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,

    /// Show under each line what it took: the system calls, and why
    #[arg(long)]
    explain: bool,

    /// The same, and stop before each step until Enter; no timeouts
    #[arg(long)]
    step: bool,
}

const COLOR_HELP: &str = "Colours: auto, always or never [default: always]";

const AFTER_HELP: &str = "\
The transcript is coloured even when captured. A non-empty NO_COLOR in the
environment turns that off, unless --color is given. A message that starts with
a dash goes after --.

Exit status: 0 if the message was delivered, 1 if it was not (standard error
says why), 2 for bad usage; an interrupted run dies of the signal that
interrupted it.";

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

    /// How long each wait may last; `None` for ever, which is as long as a class looks around.
    pub fn patience(&self) -> Option<Duration> {
        (!self.step).then_some(self.timeout)
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
