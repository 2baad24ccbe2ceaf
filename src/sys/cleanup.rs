//! "Clean up and die": a signal that ends this process first removes what the process owns.
//!
//! A segment outlives its processes, and a child its parent. So the handler removes the segment,
//! kills and reaps the child, and then dies of the signal as if there were no handler. This is the
//! second of the two common designs of a handler (The Linux Programming Interface, section 21.1).
//! The rest of the program need not know of it: there is no flag to look at and no error to hand
//! up, and it works in the middle of any call that blocks.
//!
//! # The order, and why
//! 1. `process::fork` blocks these signals, forks, and installs the handlers in the parent alone. A
//!    process that does not fork calls [`install`].
//! 2. While a segment is created they are blocked again: the handler knows it as soon as it exists.
//!    They are never blocked around a wait.
//! 3. To remove: `IPC_RMID` first, then the identifier is forgotten. To reap: the PID is forgotten
//!    first, because after waitpid(2) it may be somebody else's.
//!
//! One segment and one child at a time, in a process with one thread.
//!
//! A policy may refuse a call of the cleaning up (a filter that forbids kill(2), for instance). No
//! run waits for ever because of that: the child also ends when its parent's end of the pipe is
//! closed. What was refused is said by the handler, or else kept as one of the [`failures`].

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{process, ptr};

use libc::c_int;
use nix::errno::Errno::{self, EIDRM, EINVAL};
use nix::sys::signal::Signal::{self, *};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction};
use nix::unistd::{Pid, getpid};

use super::Error;
use super::signal::change_mask;
use super::trace::{self, Call};

/// No segment (0 is the identifier of the first one in an IPC namespace), and no child (to kill(2),
/// 0 or less means several processes).
const NO_SEGMENT: c_int = -1;
const NO_CHILD: c_int = 0;

/// What the handler has to clean up, and whether it is installed.
static SEGMENT: AtomicI32 = AtomicI32::new(NO_SEGMENT);
static CHILD: AtomicI32 = AtomicI32::new(NO_CHILD);
static PIPE: AtomicI32 = AtomicI32::new(-1); // to the child: it ends when this is closed
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// How long to wait for the child's end: it may be that the kernel has refused to kill it, or that
/// something keeps it from ending (a debugger, a frozen control group). And how often to look.
pub(super) const WITHOUT_KILL: Duration = Duration::from_secs(1);
pub(super) const AFTER_KILL: Duration = Duration::from_secs(5);
pub(super) const INTERVAL: Duration = Duration::from_millis(1);

/// Says in the handler what is left. There are no numbers in it: a handler may not format them.
macro_rules! say {
    ($text:literal) => {
        write_line(concat!(env!("CARGO_PKG_NAME"), ": cleaning up: ", $text, "\n"))
    };
}

thread_local! {
    static FAILURES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What could not be cleaned up since this was last asked, and why. It is for the program to say: a
/// `drop`, which cleans up, cannot return an error.
pub fn failures() -> Vec<String> {
    FAILURES.take()
}

pub(super) fn failed(what: String) {
    FAILURES.with_borrow_mut(|failures| failures.push(what));
}

/// The handler. All signals are blocked while it runs, and it does not return.
///
/// It makes system calls and nothing else: no allocation, no lock. All are on signal-safety(7)'s
/// list but shmctl(2), which a system may build in a library. On Linux (glibc and musl), macOS and
/// the BSDs it is a bare system call, and IPC_RMID looks at no memory of this process. The
/// same goes for nanosleep(2).
extern "C" fn clean_up_and_die(signal: c_int) {
    let segment = SEGMENT.swap(NO_SEGMENT, SeqCst);
    // SAFETY: IPC_RMID does not look at its third argument.
    let remove = || unsafe { libc::shmctl(segment, libc::IPC_RMID, ptr::null_mut()) };
    if segment != NO_SEGMENT && remove() != 0 && ![EINVAL, EIDRM].contains(&Errno::last()) {
        say!("shmctl(IPC_RMID) was refused, and a segment is left: see ipcs -m, ipcrm -m ID");
    }
    let child = CHILD.swap(NO_CHILD, SeqCst);
    if child > 0 {
        end_child(child);
    }
    Signal::try_from(signal).map_or_else(|_| process::abort(), |signal| die_of(signal))
}

/// Kills and reaps the child. For the handler.
fn end_child(child: c_int) {
    let pause = libc::timespec { tv_sec: 0, tv_nsec: INTERVAL.subsec_nanos() as _ };
    // SAFETY: the child has not been reaped, so this is still its PID.
    let is_killed = unsafe { libc::kill(child, libc::SIGKILL) } == 0;
    let until = Instant::now() + if is_killed { AFTER_KILL } else { WITHOUT_KILL };
    // SAFETY: it is open while the child is not forgotten, and this process ends before any other
    // use of it.
    unsafe { libc::close(PIPE.load(SeqCst)) };
    let has_ended = loop {
        // SAFETY: a null status is not written.
        match unsafe { libc::waitpid(child, ptr::null_mut(), libc::WNOHANG) } {
            0 if Instant::now() > until => break Some(false),
            // SAFETY: the time is only read.
            0 => unsafe { libc::nanosleep(&pause, ptr::null_mut()) },
            reaped if reaped == child => break Some(true),
            _ => break None, // that is refused too
        };
    };
    match (is_killed, has_ended) {
        (true, Some(true) | None) => {}
        (true, Some(false)) => say!("the child was killed, and has not ended: see ps"),
        (false, Some(true)) => say!("kill(2) was refused, but the child has ended by itself"),
        (false, _) => say!("kill(2) was refused, and the child may still run: see ps"),
    }
}

/// Writes a line to standard error, unless nobody reads there. For the handler.
fn write_line(line: &str) {
    let mut stderr = libc::pollfd { fd: 2, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the kernel reads and writes no more than this one pollfd, and reads the line.
    unsafe {
        if libc::poll(&mut stderr, 1, WITHOUT_KILL.as_millis() as c_int) != 0 {
            libc::write(2, line.as_ptr().cast(), line.len());
        }
    }
}

/// Ends this process by `signal`, so that its parent sees it die of that. If the kernel spares it,
/// as PID 1 of a container, the exit status is what a shell makes of the signal, 128 and its
/// number. Calls only what a handler may call.
pub fn die_of(signal: Signal) -> ! {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed here; the default disposition is no code of ours.
    let _ = unsafe { sigaction(signal, &default) };
    let _ = SigSet::from(signal).thread_unblock();
    let _ = nix::sys::signal::raise(signal);
    // SAFETY: this ends the process at once and touches no memory.
    unsafe { libc::_exit(128 + signal as c_int) }
}

/// Whether [`install`] catches `signal`: it ends a program and can be caught, and is neither a
/// fault of the program itself (SIGSEGV and its like) nor a real-time signal; see signal(7). This
/// program ignores SIGPIPE and SIGXFSZ.
pub fn is_ending(signal: Signal) -> bool {
    let name = signal.as_str(); // Not every system has a constant for each.
    match signal {
        SIGHUP | SIGINT | SIGQUIT | SIGABRT | SIGALRM | SIGTERM | SIGUSR1 | SIGUSR2 => true,
        SIGVTALRM | SIGPROF | SIGXCPU => true,
        _ => cfg!(target_os = "linux") && ["SIGSTKFLT", "SIGIO", "SIGPWR"].contains(&name),
    }
}

fn ending() -> impl Iterator<Item = Signal> {
    Signal::iterator().filter(|&signal| is_ending(signal))
}

/// From now on, a signal that ends this process removes the segment that the process has created
/// since this call; see sigaction(2), which does not fail with these arguments.
///
/// A signal that is ignored stays ignored, as nohup(1) expects, and one that is blocked gets no
/// handler. With nothing to clean up, the handlers do what the signal does by default.
pub fn install() -> Result<(), Error> {
    let mask = block(None)?;
    install_handlers(mask)?;
    change_mask(SigmaskHow::SIG_SETMASK, mask).map(drop)
}

/// As [`install`], but only if this is PID 1, to which the kernel sends no signal that has no
/// handler; see pid_namespaces(7). Nothing that the starter had blocked stays blocked.
pub fn install_if_first() -> Result<(), Error> {
    if getpid().as_raw() != 1 {
        return Ok(());
    }
    block(None)?;
    install_handlers(SigSet::empty())?;
    change_mask(SigmaskHow::SIG_SETMASK, SigSet::empty()).map(drop)
}

/// Blocks the signals that end a program, and one more, and returns the mask from before.
pub(super) fn block(more: Option<Signal>) -> Result<SigSet, Error> {
    change_mask(SigmaskHow::SIG_BLOCK, ending().chain(more).collect())
}

/// Installs the handlers, while [`block`] keeps the signals out. Those in `mask`, which were
/// blocked before, get none.
pub(super) fn install_handlers(mask: SigSet) -> Result<(), Error> {
    if INSTALLED.swap(true, SeqCst) {
        return Ok(());
    }
    let caught: SigSet = ending().filter(|&signal| !mask.contains(signal)).collect();
    let handler = SigHandler::Handler(clean_up_and_die);
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::all());
    let mut ignored = SigSet::empty();
    let install = || {
        for signal in &caught {
            // SAFETY: the handler only makes calls that a handler may make; see there.
            let before = unsafe { sigaction(signal, &action) }?;
            if matches!(before.handler(), SigHandler::SigIgn) {
                // SAFETY: this puts back what was there: ignoring, which is no code.
                unsafe { sigaction(signal, &before) }?;
                ignored.add(signal);
            }
        }
        Ok(())
    };
    trace::traced(|| Call::Sigaction(caught, clean_up_and_die as *const () as usize), install)?;
    if ignored.iter().next().is_some() {
        trace::traced_event(Call::Sigaction(ignored, libc::SIG_IGN), trace::clock());
    }
    Ok(())
}

/// Creates a segment that the handler, if it is installed, removes from then on. Panics if it has
/// one to remove already.
pub(super) fn create_segment(
    create: impl FnOnce() -> Result<c_int, Error>,
) -> Result<c_int, Error> {
    if !INSTALLED.load(SeqCst) {
        return create();
    }
    assert_eq!(SEGMENT.load(SeqCst), NO_SEGMENT, "one segment at a time");
    let mask = block(None)?;
    let created = create().inspect(|&id| SEGMENT.store(id, SeqCst));
    change_mask(SigmaskHow::SIG_SETMASK, mask)?;
    created
}

/// The segment `id` has been removed. The handler may know of another one, and keeps it.
pub(super) fn forget_segment(id: c_int) {
    let _ = SEGMENT.compare_exchange(id, NO_SEGMENT, SeqCst, SeqCst);
}

/// There is a child, and this is the pipe to it.
pub(super) fn remember_child(child: Pid, pipe: RawFd) {
    PIPE.store(pipe, SeqCst);
    CHILD.store(child.as_raw(), SeqCst);
}

/// The child is about to be reaped.
pub(super) fn forget_child() {
    CHILD.store(NO_CHILD, SeqCst);
}
