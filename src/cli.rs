//! The command line, as plain data. Only this file knows clap.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, process};

use clap::builder::PossibleValue;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ColorChoice, CommandFactory, Parser, ValueEnum};
use nix::unistd::Pid;

use crate::message::{Message, NOTIFICATION};
use crate::output::escape::Escaped;
use crate::output::note;
use crate::output::stdout::Stdout;
use crate::run::{TIMEOUT, Wait};
use crate::step::{Telling, Via};
use crate::sys::signal::{self, SigSet, Signal};
use crate::sys::trace::shortened;

/// Send a message to another process through System V shared memory and a signal
#[derive(Debug, Parser)]
#[command(version, bin_name = "sigshm", override_usage = USAGE)]
#[command(after_long_help = AFTER_HELP)]
struct Arguments {
    /// What to send: any bytes, at most 1007 of them
    ///
    /// If it starts with a dash, put two dashes before it: sigshm -- -5
    /// Control characters, bidirectional controls and what is not UTF-8
    /// are printed as escapes.
    #[arg(verbatim_doc_comment, required_unless_present = "listen", conflicts_with = "listen")]
    message: Option<OsString>,

    /// Do not fork: send to PID, which is listening
    ///
    /// Both need the same file (--path) and the same signal (--signal).
    #[arg(long, value_name = "PID", verbatim_doc_comment, allow_hyphen_values = true)]
    #[arg(value_parser = pid)]
    to: Option<Pid>,

    /// Do not fork: wait for a message, by default for ever
    ///
    /// It prints the PID that --to needs.
    #[arg(long, verbatim_doc_comment, conflicts_with = "to")]
    listen: bool,

    /// Send through memory or socket
    ///
    /// A socket needs no signal and no file: --listen, --to, --signal,
    /// --wait and --path cannot be used with it.
    #[arg(long, value_name = "WAY", verbatim_doc_comment, default_value = "memory")]
    #[arg(value_enum, hide_possible_values = true)]
    via: Via,

    /// The signal that notifies the listener [default: USR1]
    ///
    /// A name or a number. Every standard signal will do, but not KILL and
    /// STOP, which no process can catch, and not SEGV and its like, which
    /// report a fault. Only the listener takes it as the notification:
    /// Ctrl-C ends the demo even with --signal INT. (Ctrl-\ ends --listen.)
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    #[arg(value_parser = notification, allow_hyphen_values = true)]
    signal: Option<Signal>,

    /// How a listener waits: spin, or sleep (--listen does)
    ///
    /// To spin keeps a processor busy. After 100 ms it sleeps in any case.
    #[arg(long, value_name = "HOW", verbatim_doc_comment)]
    #[arg(value_enum, hide_possible_values = true, conflicts_with = "to")]
    wait: Option<Wait>,

    /// Show and explain the system calls behind each line
    ///
    /// The run is a plain run. It is explained when it is over.
    #[arg(long, verbatim_doc_comment)]
    explain: bool,

    /// Explain, and stop before each step until Enter
    ///
    /// At each stop it suggests commands for a second terminal. In two
    /// terminals, use it in both: a sender without it does not wait for its
    /// listener longer than --timeout.
    #[arg(long, verbatim_doc_comment)]
    step: bool,

    /// The file that ftok(3) takes [default: ./shared_path]
    ///
    /// A regular file or a folder, which must exist and is not changed.
    /// Runs with the same file take turns.
    #[arg(long, value_name = "PATH", verbatim_doc_comment)]
    path: Option<PathBuf>,

    /// Colours: auto, always or never [default: always]
    ///
    /// Without --color, a NO_COLOR that is not empty turns them off. With
    /// auto there are colours on a terminal, unless NO_COLOR is not empty
    /// or TERM is dumb.
    #[arg(long, value_name = "WHEN", verbatim_doc_comment, hide_possible_values = true)]
    color: Option<ColorChoice>,

    /// Longest wait [default: 5]; with --step there is none
    ///
    /// It holds for each wait for another process: 0.5 is half a second.
    /// Without it, --listen waits for ever.
    #[arg(long, value_name = "SECONDS", verbatim_doc_comment)]
    #[arg(value_parser = seconds, allow_hyphen_values = true)]
    timeout: Option<Duration>,
}

const USAGE: &str = "sigshm [OPTIONS] [--to <PID>] [--] <MESSAGE>
       sigshm [OPTIONS] --listen";

const AFTER_HELP: &str = "\
Exit status:
  0  The message was delivered.
  1  It was not. Standard error says which system call failed, why, and what
     to do. (A standard output that cannot be written is a failure too, but not
     a reader that has left.)
  2  Bad usage, or a message that is too long.
  If a signal ends sigshm, it cleans up (not after SIGKILL) and dies of that
  signal. A shell shows 130 for Ctrl-C, 143 for SIGTERM.

Examples (in the folder of the source, cargo run -q -- does the same as sigshm,
and cargo install --path . makes the command sigshm):
  sigshm \"Hello, world\"                       a parent sends to its child
  sigshm --explain \"Hello, world\" | less -R   and explain the system calls
  sigshm --step \"Hello, world\"                the same, step by step
  sigshm --listen                             wait in one terminal
  sigshm --to 24535 \"Hello, world\"            send from another one";

/// Makes a value enum of a type. (clap can derive it only where the type stands, and only this file
/// knows clap.)
macro_rules! value_enum {
    ($type:ident: $($value:ident = $name:literal),+) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$value),+]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                Some(match self { $(Self::$value => $name.into()),+ })
            }
        }
    };
}

value_enum!(Via: Memory = "memory", Socket = "socket");
value_enum!(Wait: Spin = "spin", Sleep = "sleep");

const QUOTE: &str = "put a message of several words in quotes: sigshm \"Hello, world\"";
const TWO_DASHES: &str = "put two dashes before a message that starts with one: sigshm -- -5";

/// What is to be done, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub command: Command,
    pub path: PathBuf,             // the file from which the key is made
    pub signal: Signal,            // that notifies the listener
    pub wait: Wait,                // how the listener waits
    pub timeout: Option<Duration>, // of each wait for the other process; none: for ever
    pub telling: Telling,          // how the run is told
    pub colored: bool,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Command {
    Demo(Via, Message), // send this message to a forked child
    Listen,             // the listener alone
    Send(Message, Pid), // the sender alone: send this message to this process
}

/// Reads the command line. Does not return if it only asks for help, or makes no sense.
pub fn parse() -> Options {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| exit(with_tip(error)));
    let Arguments { via, listen, explain, step, .. } = arguments;
    if let Some(error) = unused_by_socket(&arguments).filter(|_| via == Via::Socket) {
        exit(Arguments::command().error(ErrorKind::ArgumentConflict, error));
    }
    let message = arguments.message.map(|text| Message::new(text.as_bytes())).transpose();
    let too_long = |error| exit(Arguments::command().error(ErrorKind::ValueValidation, error));
    let command = match (message.unwrap_or_else(too_long), arguments.to) {
        (Some(message), Some(listener)) => Command::Send(message, listener),
        (Some(message), None) => Command::Demo(via, message),
        // clap sees to it that there is a message, or else --listen.
        (None, _) => Command::Listen,
    };
    let telling = match (step, explain) {
        (true, _) => Telling::StepByStep,
        (_, true) => Telling::Explained,
        _ => Telling::Plain,
    };
    Options {
        command,
        path: arguments.path.unwrap_or_else(|| PathBuf::from("./shared_path")),
        signal: arguments.signal.unwrap_or(NOTIFICATION),
        wait: arguments.wait.unwrap_or(if listen { Wait::Sleep } else { Wait::Spin }),
        // With --step a stop may last as long as a lesson.
        timeout: arguments.timeout.or((!listen).then_some(TIMEOUT)).filter(|_| !step),
        telling,
        colored: is_colored(arguments.color),
    }
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
        Some(choice) => choice == ColorChoice::Always,
        None => !unwanted(),
    }
}

/// Names the argument that is one too many as it was given, with a tip: the option that was meant,
/// or how to give a message of several words, or one that starts with a dash.
fn with_tip(error: clap::Error) -> clap::Error {
    use ErrorKind::{ArgumentConflict, DisplayHelp, DisplayVersion, UnknownArgument};

    if !matches!(error.kind(), UnknownArgument | DisplayHelp | DisplayVersion) {
        return error;
    }
    let given: Vec<String> = env::args_os().map(|it| it.to_string_lossy().into()).collect();
    // The shortest beginning that fails so ends in the argument that is one too many.
    let parse = |given: &[String]| Arguments::try_parse_from(given);
    let fails = |at: &usize| parse(&given[..=*at]).is_err_and(|it| it.kind() == error.kind());
    let Some(at) = (1..given.len()).find(fails) else { return error };
    let (before, unknown) = (&given[..at], given[at].as_str());
    // To clap, a word with one dash is a row of letters; but one with three is a word.
    let is_row = unknown.len() > 2 && unknown.starts_with('-') && !unknown.starts_with("--");
    let word = if is_row { format!("--{unknown}") } else { unknown.to_owned() };
    let mut error = parse(&[before, &[word]].concat()).err().unwrap_or(error);
    if error.kind() != UnknownArgument {
        return error; // it asks for help
    }
    // No option has a space in it.
    let similar = error.remove(ContextKind::SuggestedArg).filter(|_| !unknown.contains(' '));
    let advice = |text: &'static str| ContextValue::StyledStrs(vec![text.into()]);
    let (kind, tip) = match (similar, parse(before)) {
        (Some(option), _) => (ContextKind::SuggestedArg, option),
        (_, Err(conflict)) if conflict.kind() == ArgumentConflict => return conflict,
        // --listen takes no message.
        (_, Ok(it)) if it.message.is_none() => (ContextKind::Suggested, ContextValue::None),
        (_, Ok(_)) => (ContextKind::Suggested, advice(QUOTE)),
        (_, Err(_)) => (ContextKind::Suggested, advice(TWO_DASHES)),
    };
    error.insert(kind, tip);
    error.insert(ContextKind::InvalidArg, ContextValue::String(unknown.to_owned()));
    error
}

/// Prints what clap has to say, and ends.
fn exit(mut error: clap::Error) -> ! {
    // A file that may not grow is an error of write(2), here too.
    let _ = signal::prepare(SigSet::empty());
    if !error.use_stderr() {
        if let Err(error) = (Stdout { colored: false }).print(&error.to_string()) {
            note::error(&error);
            process::exit(1);
        }
        process::exit(0)
    }
    // An argument that is quoted must not make lines of its own, nor control the terminal, nor fill
    // the screen.
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue] {
        if let Some(ContextValue::String(quoted)) = error.get(kind) {
            let quoted = Escaped(quoted.as_bytes()).to_string();
            error.insert(kind, ContextValue::String(quoted));
        }
    }
    for line in error.to_string().lines() {
        note::line(shortened(line, 300)); // characters
    }
    process::exit(error.exit_code())
}

/// The signals by which the system reports a fault of the process itself.
const FAULTS: [&str; 7] = ["SEGV", "BUS", "ILL", "FPE", "TRAP", "SYS", "EMT"];

/// The signal with this name or number. Fails if it cannot be the notification. (SIGKILL and
/// SIGSTOP are for the kernel to refuse.)
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

fn pid(text: &str) -> Result<Pid, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(Pid::from_raw(number)),
        _ => Err("a PID is needed, the number of a process; sigshm --listen prints its PID".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    // What is too long for a Duration is for ever, and what is too short is not nothing.
    let time = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    match text.parse() {
        Ok(seconds) if seconds > 0.0 => Ok(time(seconds).max(Duration::from_nanos(1))),
        _ => Err("a number of seconds greater than 0 is needed, such as 5 or 0.5".to_owned()),
    }
}
