//! The command line, as plain data. Only this file knows clap.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, Parser, value_parser};
use nix::unistd::Pid;

use crate::message::{Message, NOTIFICATION};
use crate::output::escape::Escaped;
use crate::output::note;
use crate::output::palette::Role;
use crate::output::stdout::Stdout;
use crate::run::Run;
use crate::sys::signal;
use crate::sys::trace::shortened;
use crate::transcript::Transcript;

/// Send a message to another process through System V shared memory and SIGUSR1
#[derive(Debug, Parser)]
#[command(version, bin_name = "sigshm", override_usage = USAGE, after_help = AFTER_HELP)]
struct Arguments {
    /// What to send: any bytes, at most 1007 of them
    #[arg(required_unless_present = "listen", conflicts_with = "listen")]
    message: Option<OsString>,

    /// Do not fork: send to PID, which is listening
    #[arg(long, value_name = "PID", allow_hyphen_values = true)]
    #[arg(value_parser = value_parser!(i32).range(1..))]
    to: Option<i32>,

    /// Do not fork: wait for a message, by default for ever
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
    path: PathBuf,

    /// Colours: auto, always or never [default: always]
    #[arg(long, value_name = "WHEN", value_enum, hide_possible_values = true)]
    color: Option<ColorChoice>,

    /// Longest wait [default: 5]; with --step there is none
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true)]
    timeout: Option<Duration>,
}

const USAGE: &str = "sigshm [OPTIONS] [--to <PID>] [--] <MESSAGE>
       sigshm [OPTIONS] --listen";

const AFTER_HELP: &str = "\
Colours are on even when captured; a NO_COLOR that is not empty turns them off,
unless --color is given.

Exit status: 0 if the message was delivered, 1 if it was not (standard error
says why), 2 for bad usage. If a signal ends the run, it dies of that signal.";

/// How long each wait may last by default.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long the demo's listener spins before it sleeps.
const SPIN: Duration = Duration::from_millis(100);

/// The longest line of an error that quotes an argument, in characters.
const LONGEST_LINE: usize = 300;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Demo(Vec<u8>),      // send this text to a forked child
    Listen,             // the listener alone
    Send(Vec<u8>, Pid), // the sender alone: send this text to this process
}

/// Reads the command line. Does not return if it only asks for help, or makes no sense.
pub fn parse() -> (Command, Run) {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| exit(&error));
    let Arguments { listen, explain, step, .. } = arguments;
    let role = if listen { Role::Listener } else { Role::Sender };
    let explained = (explain || step).then_some((role, step));
    let transcript = Transcript::new(is_colored(arguments.color), explained);
    let run = Run {
        path: arguments.path,
        // With --step a stop may last as long as a lesson.
        timeout: arguments.timeout.or((!listen).then_some(TIMEOUT)).filter(|_| !step),
        spin: if listen { Duration::ZERO } else { SPIN },
        transcript,
    };
    let text = arguments.message.map(OsString::into_vec);
    if let Some(Err(error)) = text.as_deref().map(Message::new) {
        exit(&Arguments::command().error(ErrorKind::ValueValidation, error));
    }
    let command = match (text, arguments.to) {
        (Some(text), Some(listener)) => Command::Send(text, Pid::from_raw(listener)),
        (Some(text), None) => Command::Demo(text),
        // clap sees to it that there is a message, or else --listen.
        (None, _) => Command::Listen,
    };
    (command, run)
}

/// Whether there are colours, with the environment taken into account (no-color.org).
fn is_colored(choice: Option<ColorChoice>) -> bool {
    let unwanted = || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = || env::var_os("TERM").is_some_and(|value| value == "dumb");
    match choice {
        Some(ColorChoice::Auto) => io::stdout().is_terminal() && !unwanted() && !dumb(),
        Some(ColorChoice::Always) => true,
        Some(ColorChoice::Never) => false,
        None => !unwanted(),
    }
}

/// Prints what clap has to say, and ends.
fn exit(error: &clap::Error) -> ! {
    // A file that may not grow is an error of write(2), here too.
    let _ = signal::prepare(NOTIFICATION);
    if !error.use_stderr() {
        if let Err(error) = (Stdout { colored: false }).print(&error.to_string()) {
            note::error(&error);
            process::exit(1);
        }
        process::exit(0)
    }
    // The error quotes the argument, and the terminal must not obey that either.
    for line in error.to_string().lines() {
        note::line(shortened(&Escaped::os(line).to_string(), LONGEST_LINE));
    }
    process::exit(error.exit_code())
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        // What is too long for a Duration is for ever, and what is too short is not nothing.
        Ok(seconds) if seconds > 0.0 => Ok(Duration::try_from_secs_f64(seconds)
            .unwrap_or(Duration::MAX)
            .max(Duration::from_nanos(1))),
        _ => Err("a number of seconds greater than 0 is needed, such as 5 or 0.5".to_owned()),
    }
}
