//! Signals: one handler, the flags it sets, and the waits in which they may arrive.
//!
//! # The order, and why
//! 1. [`take_charge`], before anything else: every signal that concerns us is *blocked*. A blocked
//!    signal is not lost. It stays pending until we are ready for it, so nothing is interrupted
//!    halfway, and a SIGUSR1 that comes before its handler is in place does not kill the process
//!    (which is what SIGUSR1 does by default).
//! 2. [`catch_announcements`], in the process that listens: the handler for SIGUSR1.
//! 3. [`wait`]: here the signals are let in, and nowhere else ([`wait_in`] aside, for the one call
//!    that cannot be waited for like this). Looking whether a signal has come and
//!    then going to sleep would leave a gap between the two, and a signal that falls into it would
//!    be slept through. So letting in and sleeping are one system call, `pselect(2)`.
//! 4. After the wait, the flags are looked at, in ordinary code.
//!
//! The handler does nothing but store into an atomic. It runs *between any two instructions* of the
//! program, maybe in the middle of an allocation or of a line being printed, so that anything which
//! allocates, locks or prints may find its own data half-changed; signal-safety(7) lists what is
//! allowed. The article prints, and attaches memory, in its handler; it works until the day on
//! which the signal comes at the wrong moment.
//!
//! This module is the only home of `sigaction` and its `unsafe`.

use std::cell::Cell;
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use libc::c_int;
use nix::errno::Errno;
use nix::sys::select::{FD_SETSIZE, FdSet, pselect};
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use crate::calls::{self, CallError};

/// The signal that announces a message.
pub const ANNOUNCEMENT: Signal = Signal::SIGUSR1;

/// The signals by which a user or the system ends a program early.
const INTERRUPTIONS: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// How often a system call that cannot be waited for otherwise is interrupted to look at the clock
/// and the flags.
const TICK: Duration = Duration::from_millis(50);

/// How long a process sleeps before it looks again for something that nobody announces.
const MOMENT: Duration = Duration::from_millis(2);

/// Some systems refuse to sleep for years. We are woken after a day and sleep again.
const DAY: Duration = Duration::from_secs(86_400);

/// More than any signal's number; the real-time signals of Linux end at 64.
const SIGNALS: usize = 128;

/// Which signals have come since somebody last looked, by number.
static CAUGHT: [AtomicBool; SIGNALS] = [const { AtomicBool::new(false) }; SIGNALS];

thread_local! {
    /// What is blocked while [`wait`] sleeps: what was blocked when we were started, but nothing
    /// that interrupts; and the two signals that are let in only by who waits for them.
    static MASK_WHILE_WAITING: Cell<SigSet> = Cell::new(SigSet::empty());
}

/// The handler of every signal that we catch: one store to an atomic, and nothing else.
extern "C" fn handler(signal: c_int) {
    if let Some(caught) = CAUGHT.get(signal as usize) {
        // Relaxed is enough: the handler runs on the very thread that will look.
        caught.store(true, Ordering::Relaxed);
    }
}

/// Whether the signal has come; from now on it has not.
fn take(signal: Signal) -> bool {
    CAUGHT[signal as usize].swap(false, Ordering::Relaxed)
}

/// A signal that interrupted the run. The process is to clean up and then die of it; see
/// [`die_of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted(pub Signal);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by {}", self.0)
    }
}

impl std::error::Error for Interrupted {}

impl Interrupted {
    /// Whether a process that died of `signal` was interrupted by somebody, and did not fail by
    /// itself.
    pub fn by(signal: Signal) -> Option<Self> {
        INTERRUPTIONS.contains(&signal).then_some(Self(signal))
    }
}

/// Blocks the signals that concern us and catches those that end a program early, so that there is
/// time to clean up.
///
/// Whatever our starter did to SIGUSR1 and SIGCHLD is undone: ignored, they would take the
/// message's announcement and the child's exit status from us. An interruption that it ignores
/// stays ignored, as nohup(1) expects.
///
/// # Errors
/// Those of sigaction(2) and sigprocmask(2), which do not fail with these arguments.
pub fn take_charge() -> Result<(), CallError> {
    let interrupting: SigSet = INTERRUPTIONS.into_iter().chain([Signal::SIGCONT]).collect();
    let ours: SigSet = interrupting
        .iter()
        .chain([ANNOUNCEMENT, Signal::SIGCHLD])
        .collect();
    let before = calls::made(
        || ours.thread_swap_mask(SigmaskHow::SIG_BLOCK),
        |before| {
            let before = before
                .map(|before| Names(before).to_string())
                .unwrap_or_default();
            format!("sigprocmask(SIG_BLOCK, {}, {before})", Names(&ours))
        },
    )?;
    calls::aside(catch_interruptions)?;
    let others = before.iter().chain([ANNOUNCEMENT, Signal::SIGCHLD]);
    MASK_WHILE_WAITING.set(
        others
            .filter(|&signal| !interrupting.contains(signal))
            .collect(),
    );
    Ok(())
}

fn catch_interruptions() -> Result<(), CallError> {
    // Ignored, it would make the kernel reap the child before we have seen how it ended. Caught, it
    // tells when that is so.
    set_action(Signal::SIGCHLD, SigHandler::Handler(handler))?;
    // A file that may not grow any more is to be an error of write(2), and not to kill.
    set_action(Signal::SIGXFSZ, SigHandler::SigIgn)?;
    for interruption in INTERRUPTIONS {
        let before = set_action(interruption, SigHandler::Handler(handler))?;
        if matches!(before.handler(), SigHandler::SigIgn) {
            set_action(interruption, SigHandler::SigIgn)?;
        }
    }
    // It continues a stopped process whatever we do. Catching it tells a waiter that the clock ran
    // on meanwhile.
    set_action(Signal::SIGCONT, SigHandler::Handler(handler))?;
    Ok(())
}

/// Registers the handler for SIGUSR1, which may be waited for from now on.
///
/// # Errors
/// Those of sigaction(2), which does not fail with these arguments.
pub fn catch_announcements() -> Result<(), CallError> {
    set_action(ANNOUNCEMENT, SigHandler::Handler(handler))?;
    Ok(())
}

/// Sends SIGUSR1 to `listener`.
///
/// # Errors
/// Those of kill(2): ESRCH if there is no such process, EPERM if it is not ours to signal.
pub fn announce(listener: Pid) -> Result<(), CallError> {
    let kill = || signal::kill(listener, ANNOUNCEMENT);
    calls::made(kill, |_| format!("kill({listener}, {ANNOUNCEMENT})"))
}

/// Ends this process by the signal that interrupted it, so that whoever started it sees it die of
/// that signal.
///
/// Returns only if the signal does not kill, which it does not if it is ignored.
pub fn die_of(Interrupted(signal): Interrupted) {
    // Nothing is left to clean up and nobody to report to: if one of these fails, the caller's exit
    // status must do.
    let _ = set_action(signal, SigHandler::SigDfl);
    let _ = signal::raise(signal);
    let _ = SigSet::from(signal).thread_unblock();
}

fn set_action(signal: Signal, handler: SigHandler) -> Result<SigAction, CallError> {
    // No SA_RESTART: a signal is to end the wait it arrives in. And a child that only stops is none
    // of our concern.
    let flags = if signal == Signal::SIGCHLD {
        SaFlags::SA_NOCLDSTOP
    } else {
        SaFlags::empty()
    };
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: what is installed is the default, ignoring, or `handler`, whose one store to an
    // atomic is async-signal-safe. What was installed before is only compared or put back unread,
    // never called by us.
    let sigaction = || unsafe { signal::sigaction(signal, &action) };
    calls::made(sigaction, |before| {
        let before = before
            .map(|before| Action(before).to_string())
            .unwrap_or_default();
        format!("sigaction({signal}, {}, {before})", Action(&action))
    })
}

/// A disposition as strace(1) writes it.
struct Action<'a>(&'a SigAction);

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.handler() {
            SigHandler::SigDfl => f.write_str("{sa_handler=SIG_DFL")?,
            SigHandler::SigIgn => f.write_str("{sa_handler=SIG_IGN")?,
            SigHandler::Handler(function) => write!(f, "{{sa_handler={function:p}")?,
            SigHandler::SigAction(function) => write!(f, "{{sa_sigaction={function:p}")?,
        }
        write!(
            f,
            ", sa_mask={}, sa_flags={:#x}}}",
            Names(&self.0.mask()),
            self.0.flags().bits()
        )
    }
}

/// How long a wait may last, and when that is over.
#[derive(Clone, Copy, Debug)]
pub struct Timer {
    patience: Option<Duration>,
    end: Option<Instant>,
}

impl Timer {
    /// Starts the clock; a `patience` of `None` never ends.
    pub fn start(patience: Option<Duration>) -> Self {
        // One that ends later than an Instant can say does not end either.
        let end = patience.and_then(|patience| Instant::now().checked_add(patience));
        Self { patience, end }
    }

    /// How long it may last in all, if that has an end.
    pub fn patience(&self) -> Duration {
        self.patience.unwrap_or_default()
    }

    /// What is left of the patience; `None` if it has no end.
    fn left(&self) -> Option<Duration> {
        self.end
            .map(|end| end.saturating_duration_since(Instant::now()))
    }
}

/// What a process can wait for.
#[derive(Clone, Copy, Debug)]
pub enum For<'fd> {
    /// One of the two signals that are waited for and interrupt nothing else: SIGCHLD, or SIGUSR1
    /// if [`catch_announcements`] has asked for it.
    Signal(Signal),
    /// Something to read, or the end of it.
    Readable(BorrowedFd<'fd>),
    /// Room to write.
    Writable(BorrowedFd<'fd>),
    /// Something that nobody announces: it is ready after a moment, and to be looked at again.
    Look,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// What was waited for is there.
    Ready,
    /// The other process has said something, or is gone.
    ByPeer,
    /// The patience has ended.
    TimedOut,
}

/// Sleeps until what is waited for is there, until `peer` has something to read or is closed, or
/// until time is up.
///
/// If the process was stopped and continued meanwhile, the patience begins anew: whoever presses
/// Ctrl-Z has not waited in vain.
///
/// # Errors
/// [`Interrupted`] if a signal has come that ends the program, else those of pselect(2).
pub fn wait(awaited: For<'_>, peer: Option<BorrowedFd<'_>>, timer: &mut Timer) -> Result<Woken> {
    loop {
        look_at_flags(timer)?;
        if let For::Signal(signal) = awaited {
            if take(signal) {
                return Ok(Woken::Ready);
            }
        }
        let (read, write) = match awaited {
            For::Readable(fd) => (Some(fd), None),
            For::Writable(fd) => (None, Some(fd)),
            For::Signal(_) | For::Look => (None, None),
        };
        let (mut readable, mut writable) = (FdSet::new(), FdSet::new());
        for fd in [read, peer].into_iter().flatten() {
            insert(&mut readable, fd)?;
        }
        if let Some(fd) = write {
            insert(&mut writable, fd)?;
        }
        // Said, because looking for it in the sets would take longer than the call itself.
        let numbers = [read, peer, write]
            .into_iter()
            .flatten()
            .map(|fd| fd.as_raw_fd());
        let width = numbers.max().map_or(0, |highest| highest + 1);
        let left = timer.left();
        let mask = mask_for(awaited);
        let looks = matches!(awaited, For::Look);
        let longest = if looks { MOMENT } else { DAY };
        let time = match left {
            None if !looks => None,
            left => Some(TimeSpec::from(left.unwrap_or(longest).min(longest))),
        };
        let pselect = || pselect(width, &mut readable, &mut writable, None, &time, &mask);
        match calls::made(pselect, |_| words(width, [read, peer], write, time, &mask)) {
            // A signal has come; which one, the flags tell.
            Err(error) if error.errno() == Errno::EINTR => {}
            Err(error) => return Err(error.into()),
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(Woken::TimedOut),
            Ok(0) if looks => return Ok(Woken::Ready),
            Ok(0) => {}
            Ok(_) => {
                let_in(mask)?;
                look_at_flags(timer)?;
                let ready = match awaited {
                    For::Readable(fd) => readable.contains(fd),
                    For::Writable(fd) => writable.contains(fd),
                    For::Signal(_) | For::Look => false,
                };
                return Ok(if ready { Woken::Ready } else { Woken::ByPeer });
            }
        }
    }
}

/// What is blocked while this is waited for.
fn mask_for(awaited: For<'_>) -> SigSet {
    let mut mask = MASK_WHILE_WAITING.get();
    if let For::Signal(signal) = awaited {
        mask.remove(signal);
    }
    mask
}

/// Lets in the signals that have come meanwhile.
///
/// pselect(2) lets them in while it sleeps. If there is nothing to sleep for, it need not (and on
/// Linux does not), and an interruption would go unheard for as long as the run finds everything
/// ready.
fn let_in(mask: SigSet) -> Result<(), CallError> {
    let swap = |mask: SigSet| mask.thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let let_in = || swap(mask).and_then(swap).map(drop);
    calls::aside(|| calls::made(let_in, |_| "sigprocmask(SIG_SETMASK, …)".to_owned()))
}

fn look_at_flags(timer: &mut Timer) -> Result<(), Interrupted> {
    for interruption in INTERRUPTIONS {
        if take(interruption) {
            return Err(Interrupted(interruption));
        }
    }
    if take(Signal::SIGCONT) {
        *timer = Timer::start(timer.patience);
    }
    Ok(())
}

fn insert<'fd>(set: &mut FdSet<'fd>, fd: BorrowedFd<'fd>) -> Result<()> {
    let number = fd.as_raw_fd();
    if usize::try_from(number).map_or(true, |number| number >= FD_SETSIZE) {
        bail!(
            "pselect({number} + 1, …) failed: only file descriptors below {FD_SETSIZE} can be \
             waited for; start this process with fewer open files"
        );
    }
    set.insert(fd);
    Ok(())
}

/// The wait as strace(1) writes it.
fn words(
    width: c_int,
    read: [Option<BorrowedFd<'_>>; 2],
    write: Option<BorrowedFd<'_>>,
    time: Option<TimeSpec>,
    mask: &SigSet,
) -> String {
    let numbers = |fds: &[Option<BorrowedFd<'_>>]| -> Vec<c_int> {
        fds.iter().flatten().map(|fd| fd.as_raw_fd()).collect()
    };
    let time = time.map_or_else(
        || "NULL".to_owned(),
        |time| format!("{{tv_sec={}, tv_nsec={}}}", time.tv_sec(), time.tv_nsec()),
    );
    let (read, write) = (numbers(&read), numbers(&[write]));
    format!(
        "pselect({width}, {read:?}, {write:?}, NULL, {time}, {})",
        Names(mask)
    )
}

/// Makes a system call that blocks and that nothing else can wait for, until it succeeds or time is
/// up (`None`).
///
/// A clock tick interrupts it every now and then, so that neither the time nor an interruption is
/// missed. (One tick would not do: it could come just before the call begins.)
///
/// # Errors
/// [`Interrupted`] if a signal has come that ends the program, else those of `call`, but for EINTR.
pub fn wait_in<T>(
    timer: &mut Timer,
    mut call: impl FnMut() -> Result<T, CallError>,
) -> Result<Option<T>> {
    let _ticking = Ticking::start()?;
    loop {
        look_at_flags(timer)?;
        match call() {
            Ok(value) => return Ok(Some(value)),
            Err(error) if error.errno() == Errno::EINTR => {
                // Before the clock is looked at: it may be that the process was stopped meanwhile.
                look_at_flags(timer)?;
                if timer.left().is_some_and(|left| left.is_zero()) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// While this lives, signals are let in everywhere, and a SIGALRM comes every [`TICK`].
struct Ticking {
    mask: SigSet,
    action: SigAction,
    timer: libc::itimerval,
}

impl Ticking {
    fn start() -> Result<Self, CallError> {
        calls::aside(|| {
            let action = set_action(Signal::SIGALRM, SigHandler::Handler(handler))?;
            let tick = libc::timeval {
                tv_sec: 0,
                tv_usec: TICK.subsec_micros() as _,
            };
            let timer = set_timer(&libc::itimerval {
                it_interval: tick,
                it_value: tick,
            })?;
            let mut mask = MASK_WHILE_WAITING.get();
            mask.remove(Signal::SIGALRM);
            let swap = || mask.thread_swap_mask(SigmaskHow::SIG_SETMASK);
            let mask = calls::made(swap, |_| "sigprocmask(SIG_SETMASK, …)".to_owned())?;
            Ok(Self {
                mask,
                action,
                timer,
            })
        })
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        // None of these fails with what the system itself has handed out. First the timer, so that
        // no tick is late.
        let _ = calls::aside(|| set_timer(&self.timer));
        let _ = self.mask.thread_set_mask();
        // SAFETY: this puts back what was installed when we were started, which is the default or
        // ignoring: a program starts without handlers.
        let _ = unsafe { signal::sigaction(Signal::SIGALRM, &self.action) };
    }
}

fn set_timer(timer: &libc::itimerval) -> Result<libc::itimerval, CallError> {
    let mut before = *timer;
    // SAFETY: both pointers are to values that live until the call has returned.
    let mut call = || unsafe { libc::setitimer(libc::ITIMER_REAL, timer, &raw mut before) };
    calls::made(
        || Errno::result(call()),
        |_| "setitimer(ITIMER_REAL, …)".to_owned(),
    )?;
    Ok(before)
}

/// A set of signals as strace(1) writes it.
struct Names<'a>(&'a SigSet);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, signal) in self.0.iter().enumerate() {
            let name = signal.as_str().trim_start_matches("SIG");
            write!(f, "{}{name}", if index == 0 { "" } else { " " })?;
        }
        f.write_str("]")
    }
}
