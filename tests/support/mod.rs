//! What the tests share. `use crate::support::*` brings it, and what most tests need of the
//! libraries. Which helper when:
//!
//! - the demo: [`Scratch::sigshm`] makes its command, [`run`] runs it to its end, and
//!   [`Finished::assert_delivered`] compares all that it printed;
//! - two programs: [`Scratch::listen`], [`Scratch::sender`], [`Scratch::assert_delivers`];
//! - a program that is looked at while it runs, or that stops at its steps: [`Program`].
//!
//! These have a `use` of their own: `tracer` (a run held at an exact step), `told` (what an
//! explained run tells, read back), `strace`, `refusal` (calls that the kernel refuses), `terminal`.

#![allow(unsafe_code)] // For system calls that nobody wraps, and for what a child does before exec.

#[cfg(target_os = "linux")]
pub mod calls;
#[cfg(target_os = "linux")]
pub mod namespaces;
mod peers;
mod pipes;
#[cfg(target_os = "linux")]
mod proc;
mod process;
mod program;
#[cfg(target_os = "linux")]
pub mod refusal;
mod scratch;
mod segment;
#[cfg(target_os = "linux")]
pub mod strace;
pub mod terminal;
pub mod told;
#[cfg(target_os = "linux")]
pub mod tracer;
mod transcript;

use std::fmt::Debug;
use std::panic::{Location, resume_unwind};

pub use std::borrow::BorrowMut;
pub use std::ffi::OsStr;
pub use std::fs::{self, File, Permissions};
pub use std::io::{self, BufRead, BufReader, Read, Write};
pub use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
pub use std::os::unix::ffi::OsStrExt;
pub use std::os::unix::fs::{MetadataExt, PermissionsExt};
pub use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
pub use std::os::unix::process::{CommandExt, ExitStatusExt};
pub use std::path::{Path, PathBuf};
pub use std::process::{Child, Command, Stdio};
pub use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub use std::sync::mpsc;
pub use std::sync::{Arc, LazyLock};
pub use std::thread;
pub use std::time::{Duration, Instant};
pub use std::{env, iter, mem, ptr};

pub use nix::errno::Errno;
pub use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl};
#[cfg(target_os = "linux")]
pub use nix::sys::ptrace;
pub use nix::sys::resource::{Resource, setrlimit};
pub use nix::sys::signal::{SigHandler, SigSet, Signal, Signal::*, kill, killpg, signal};
pub use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
pub use nix::unistd::{Pid, Uid, alarm, write};
pub use tempfile::{NamedTempFile, TempDir, TempPath};

pub use peers::*;
pub use pipes::*;
#[cfg(target_os = "linux")]
pub use proc::*;
pub use process::*;
pub use program::*;
pub use scratch::*;
pub use segment::*;
pub use transcript::*;

/// The message, where it does not matter which.
pub const HELLO: &str = "Hello, world";

/// Longer than anything here takes on a busy machine. A wait that reaches it has failed.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The signals that end a run and are not the notification signal.
#[cfg(target_os = "linux")]
pub const ENDING: [Signal; 13] = [
    SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGALRM, SIGTERM, SIGUSR2, SIGVTALRM, SIGPROF, SIGXCPU,
    SIGSTKFLT, SIGIO, SIGPWR,
];

/// Waits for a state that the system shows but tells nobody of, and fails if it does not come.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < TIMEOUT, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The two lists are the same. If not, both are shown from where they part.
#[track_caller]
pub fn assert_same<L: PartialEq<R> + Debug, R: Debug>(left: &[L], right: &[R], case: &str) {
    let same = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    assert_eq!(left[same..], right[same..], "{case} (number {same})");
}

/// If this process hangs, it ends after so many seconds: by SIGALRM, which kills.
#[allow(dead_code)] // For the benchmarks.
pub fn end_after(seconds: u32) {
    set(SIGALRM, SigHandler::SigDfl).unwrap();
    SigSet::from(SIGALRM).thread_unblock().unwrap();
    alarm::set(seconds);
}

/// Does the work for each row, all of them at the same time: for rows that mostly wait. One that
/// panics says which row it is; the first is row 0.
pub fn at_once<T: Send, R: Send>(
    rows: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let spawn = |(number, row)| {
            let thread = thread::Builder::new().name(format!("row {number}"));
            thread.spawn_scoped(scope, move || work(row)).unwrap()
        };
        let rows: Vec<_> = rows.into_iter().enumerate().map(spawn).collect();
        rows.into_iter().map(|row| row.join().unwrap_or_else(|why| resume_unwind(why))).collect()
    })
}

/// Says aloud that `what` is not tested, and why. (Not by `eprintln!`: what a test says in that way
/// is shown only if it fails.)
pub fn not_tested(what: &str, why: &str) {
    let line = format!("\nNOT TESTED, because {why}: {what}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Whether there is such a program. If not, it is said aloud.
#[track_caller]
pub fn is_there(program: &str) -> bool {
    let mut look = Command::new("sh");
    let is_there = run(look.args(["-c", &format!("command -v {program}")])).code == Some(0);
    if !is_there {
        not_tested(&Location::caller().to_string(), &format!("there is no {program} here"));
    }
    is_there
}

/// Ends the test unless it has what it needs. What has looked for that has said NOT TESTED.
#[allow(unused_macros)] // In the benchmarks.
macro_rules! needs {
    ($has:expr) => {
        if !$has {
            return;
        }
    };
}
#[allow(unused_imports)]
pub(crate) use needs;

/// Keeps the processors busy, with two threads for each, until it is dropped.
pub struct Busy {
    _lives: Arc<()>,
}

impl Busy {
    pub fn start() -> Self {
        let lives = Arc::new(());
        for _ in 0..2 * thread::available_parallelism().unwrap().get() {
            let busy = Arc::downgrade(&lives);
            thread::spawn(move || while busy.strong_count() > 0 {});
        }
        Self { _lives: lives }
    }
}
