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
use crate::sys::signal::{self, Signal};
use crate::sys::trace::shortened;
use crate::transcript::Transcript;

/// Send a message to another process through System V shared memory and a signal
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

    /// Send through memory or socket
    #[arg(long, value_name = "WAY", default_value = "memory")]
    #[arg(value_parser = ["memory", "socket"], hide_possible_values = true)]
    via: String,

    /// The signal that notifies the listener [default: USR1]
    #[arg(long, value_name = "NAME", value_parser = notification, allow_hyphen_values = true)]
    signal: Option<Signal>,

    /// How a listener waits: spin, or sleep (--listen does)
    #[arg(long, value_name = "HOW", value_parser = ["spin", "sleep"], hide_possible_values = true)]
    #[arg(conflicts_with = "to")]
    wait: Option<String>,

    /// Show what each line took: system calls, memory, why
    #[arg(long)]
    explain: bool,

    /// Explain, and stop before each step until Enter
    #[arg(long)]
    step: bool,

    /// The file that ftok(3) takes [default: ./shared_path]
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,

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
A NO_COLOR that is not empty turns colours off, unless --color is given. Exit
status: 0 delivered, 1 not delivered (standard error says why), 2 bad usage.";

/// How long each wait may last by default.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a listener spins before it sleeps.
const SPIN: Duration = Duration::from_millis(100);

/// The longest line of an error that quotes an argument, in characters.
const LONGEST_LINE: usize = 300;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Demo(Vec<u8>),      // send this text to a forked child
    Socket(Vec<u8>),    // the same through a socket
    Listen,             // the listener alone
    Send(Vec<u8>, Pid), // the sender alone: send this text to this process
}

/// Reads the command line. Does not return if it only asks for help, or makes no sense.
pub fn parse() -> (Command, Run) {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| exit(&error));
    let Arguments { listen, explain, step, .. } = arguments;
    let through_socket = arguments.via == "socket";
    if let Some(error) = unused_by_socket(&arguments).filter(|_| through_socket) {
        exit(&Arguments::command().error(ErrorKind::ArgumentConflict, error));
    }
    let signal = arguments.signal.unwrap_or(NOTIFICATION);
    let role = if listen { Role::Listener } else { Role::Sender };
    let explained = (explain || step).then_some((role, (!through_socket).then_some(signal), step));
    let transcript = Transcript::new(is_colored(arguments.color), explained);
    // With --step a stop may last as long as a lesson.
    let timeout = arguments.timeout.or((!listen).then_some(TIMEOUT)).filter(|_| !step);
    let run = Run {
        path: arguments.path.unwrap_or_else(|| PathBuf::from("./shared_path")),
        timeout,
        signal,
        spin: match arguments.wait.as_deref() {
            Some("sleep") => Duration::ZERO,
            None if listen => Duration::ZERO,
            // It has not slept before the timeout is over, so there is nothing else that ends it.
            _ => timeout.map_or(SPIN, |timeout| timeout.min(SPIN)),
        },
        transcript,
    };
    let text = arguments.message.map(OsString::into_vec);
    if let Some(Err(error)) = text.as_deref().map(Message::new) {
        exit(&Arguments::command().error(ErrorKind::ValueValidation, error));
    }
    let command = match (text, arguments.to) {
        (Some(text), Some(listener)) => Command::Send(text, Pid::from_raw(listener)),
        (Some(text), None) if through_socket => Command::Socket(text),
        (Some(text), None) => Command::Demo(text),
        // clap sees to it that there is a message, or else --listen.
        (None, _) => Command::Listen,
    };
    (command, run)
}

/// The option that makes no sense with `--via socket`, if there is one, and why.
fn unused_by_socket(arguments: &Arguments) -> Option<String> {
    let Arguments { listen, to, signal, wait, path, .. } = arguments;
    let alone = "only a parent and its child share the two sockets";
    let options = [
        (*listen, "--listen", alone),
        (to.is_some(), "--to", alone),
        (signal.is_some(), "--signal", "no signal is needed, since a socket wakes its reader"),
        (wait.is_some(), "--wait", "the listener always sleeps, in recv(2)"),
        (path.is_some(), "--path", "nothing is looked for, so there is no key"),
    ];
    let (_, option, why) = options.into_iter().find(|(is_given, ..)| *is_given)?;
    Some(format!("{option} cannot be used with --via socket: {why}"))
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
    let _ = signal::prepare(None);
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

/// The signals by which the system reports a fault of the process itself.
const FAULTS: [&str; 7] = ["SEGV", "BUS", "ILL", "FPE", "TRAP", "SYS", "EMT"];

/// The signal with this name or number. Fails if it cannot be the notification. (SIGKILL and SIGSTOP
/// are for the kernel to refuse.)
pub fn notification(text: &str) -> Result<Signal, String> {
    let upper = text.to_ascii_uppercase();
    // Three have two names; see signal(7).
    let name = match upper.strip_prefix("SIG").unwrap_or(&upper) {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        name => name,
    };
    let mut signals = Signal::iterator().map(|it| (it, &it.as_str()[3..]));
    match signals.find(|(it, its)| *its == name || (*it as i32).to_string() == text) {
        Some((signal, name)) if FAULTS.contains(&name) => Err(format!(
            "{signal} reports a fault of the process itself; a handler that only stores would \
             return to the fault, again and again"
        )),
        Some((signal, _)) => Ok(signal),
        None if name.starts_with("RTM") || matches!(text.parse(), Ok(32..=64)) => {
            Err("it must be a standard signal, and not a real-time one".to_owned())
        }
        None => {
            let names = Signal::iterator().map(|it| &it.as_str()[3..]);
            let names: Vec<_> = names.filter(|name| !FAULTS.contains(name)).collect();
            Err(format!("the signals are {}", names.join(" ")))
        }
    }
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
