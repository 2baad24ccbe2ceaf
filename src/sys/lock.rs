//! The run lock: one run at a time for each file.
//!
//! Two runs at one file have one segment, and would write over each other's message. So each locks
//! the file first, see flock(2). The kernel drops the lock when both processes of the run have
//! closed the file, or have ended, however they ended.
//!
//! # How a run waits for it
//! In flock(2) itself: that costs no processor time, and the kernel serves the first to come first.
//! flock(2) has no timeout, so a timer interrupts it, at the deadline and not earlier: a waiter
//! that is interrupted loses its place. From then on the timer repeats, since its first firing may
//! come just before flock(2) has begun.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{mem, ptr};

use libc::{c_int, c_void, itimerval, siginfo_t};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Pid;

use super::error::{errno, untraced};
use super::proc::{self, Proc};
use super::trace::{self, Call};
use super::{Deadline, Error, cleanup, path, quoted, signal};

/// How often the timer fires after its first time.
const TIMER_INTERVAL: Duration = Duration::from_millis(10);

/// The most that every system's timer can hold: 10⁸ seconds, which is three years.
const LONGEST: Duration = Duration::from_secs(100_000_000);

/// How often the path may lead to another file than the one just opened, although nobody has had
/// the time to replace it. There are file systems where each look finds another inode number.
const ODD_ROUNDS: u32 = 5;

/// The right to use the segment of a file, until this process and its children drop it or end.
#[derive(Debug)]
pub struct RunLock(#[allow(dead_code)] File); // Never read: it only has to stay open.

impl RunLock {
    /// Takes the lock on the file at `path`. If another process has it, `on_wait` is told which, as
    /// far as the system tells, and then this waits for up to `timeout` (for ever if `None`). Fails
    /// as open(2) and flock(2) do, with [`Error::TimedOut`], or with [`Error::UnusableFile`].
    pub fn take(
        path: &Path,
        timeout: Option<Duration>,
        on_wait: impl FnOnce(&Path, &str),
    ) -> Result<Self, Error> {
        let mut deadline = Deadline::after(timeout, "");
        let (mut on_wait, mut odd_rounds) = (Some(on_wait), 0);
        // O_NONBLOCK: should it have become a FIFO, this does not wait for somebody to write.
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let open = || options.open(path).map_err(errno);
        let unusable = |why: &str| Error::UnusableFile(format!("{} {why}", quoted(path)));
        loop {
            path::ensure_harmless(path)?;
            let file = trace::traced(|| Call::Open(path.to_owned()), open)?;
            let locked = flock(&file, libc::LOCK_EX | libc::LOCK_NB);
            let must_wait = matches!(locked, Err(Error::Call(_, Errno::EWOULDBLOCK)));
            if must_wait {
                if let Some(on_wait) = on_wait.take() {
                    on_wait(path, &name(holder(&file)));
                }
                wait_for(&file, path, &mut deadline)?;
            } else {
                locked?;
            }
            // It may have been replaced while we waited, and the key is made from the new file.
            let look = || Ok((identity(file.metadata())?, identity(fs::metadata(path))?));
            let found @ (opened, now) = look().map_err(|errno: Errno| {
                unusable(&format!("cannot be looked up: {} ({errno:?})", errno.desc()))
            })?;
            if now.is_some() && opened == now {
                return Ok(Self(file));
            }
            // To replace it takes time. So it is odd if nobody has waited, and if the next look
            // finds yet another file.
            odd_rounds += u32::from(!must_wait || look() != Ok(found));
            if odd_rounds == ODD_ROUNDS {
                return Err(unusable(
                    "is another file at each look: its inode number changes, or somebody keeps \
                     replacing it",
                ));
            }
            deadline.what = format!("{} was replaced meanwhile: it was not locked", quoted(path));
            deadline.check()?;
        }
    }
}

/// Which file it is; `None` if there is none.
fn identity(file: io::Result<Metadata>) -> nix::Result<Option<(u64, u64)>> {
    match file.map_err(errno) {
        Err(Errno::ENOENT) => Ok(None),
        file => file.map(|it| Some((it.dev(), it.ino()))),
    }
}

/// Who has locked the file, as far as the system tells.
fn holder(file: &File) -> Option<Pid> {
    Proc::ours().ok().and_then(|proc| proc.lock_holder(file))
}

fn name(holder: Option<Pid>) -> String {
    holder.map_or("another process".to_owned(), proc::describe)
}

fn flock(file: &File, operation: c_int) -> Result<(), Error> {
    let fd = file.as_raw_fd();
    // SAFETY: flock takes two numbers and touches no memory of ours.
    let flock = || Errno::result(unsafe { libc::flock(fd, operation) });
    trace::traced(|| Call::Flock(fd, operation), flock).map(drop)
}

fn wait_for(file: &File, path: &Path, deadline: &mut Deadline) -> Result<(), Error> {
    loop {
        let alarm = Alarm::start(deadline.left())?;
        let locked = flock(file, libc::LOCK_EX);
        drop(alarm);
        if !matches!(locked, Err(Error::Call(_, Errno::EINTR))) {
            return locked;
        }
        let (holder, path) = (holder(file), quoted(path));
        deadline.what = format!("{} has locked the file {path}: it was not free", name(holder));
        deadline.check().map_err(|error| match holder {
            Some(pid) => proc::with_hold(error, pid),
            None => error,
        })?;
    }
}

/// The real-time timer, and a handler for its SIGALRM. Dropping it gives both back.
///
/// The program that started this one may have set an alarm(2), which exec(2) keeps. It is obeyed:
/// if it is due first, the timer fires then; and what is left of it is set again.
struct Alarm {
    action: SigAction,
    /// The starter's alarm: when it is due, and its repetition.
    starters: Option<(Instant, Duration)>,
}

/// The timer's signal only ends the call that it comes in.
extern "C" fn interrupt(_: c_int, _: *mut siginfo_t, _: *mut c_void) {}

/// As [`interrupt`]. But a SIGALRM that a process has sent kills, as it would without a handler.
extern "C" fn interrupt_or_die(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel has handed `info` to this very handler.
    if unsafe { signal::signaler(info) } != 0 {
        cleanup::die_of(Signal::SIGALRM);
    }
}

impl Alarm {
    /// The timer fires after `time` (never if `None`), and then again and again. Fails as
    /// setitimer(2) and sigaction(2) do.
    fn start(time: Option<Duration>) -> Result<Self, Error> {
        // Before the handler is there: it would swallow the starter's alarm.
        let now = Instant::now();
        let (left, again) = set_timer(Duration::ZERO, Duration::ZERO)?;
        // SAFETY: without a new action it only writes the old one, for which zeros are valid.
        let is_ignored = unsafe {
            let mut old: libc::sigaction = mem::zeroed();
            libc::sigaction(libc::SIGALRM, ptr::null(), &mut old);
            old.sa_sigaction == libc::SIG_IGN
        };
        let handler = SigHandler::SigAction(if is_ignored { interrupt } else { interrupt_or_die });
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: both handlers do nothing that signal-safety(7) forbids.
        let action = unsafe { sigaction(Signal::SIGALRM, &action) }
            .map_err(|errno| untraced("sigaction(SIGALRM, …)", errno))?;
        let starters = (!left.is_zero()).then_some((now + left, again));
        if let Some(first) = time.into_iter().chain(starters.map(|_| left)).min() {
            // 0 would stop it.
            set_timer(first.clamp(Duration::from_micros(1), LONGEST), TIMER_INTERVAL)?;
        }
        Ok(Self { action, starters })
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let _ = set_timer(Duration::ZERO, Duration::ZERO);
        // SAFETY: this puts back what was installed before. It cannot fail with that.
        let _ = unsafe { sigaction(Signal::SIGALRM, &self.action) };
        if let Some((due, again)) = self.starters {
            let left = due.saturating_duration_since(Instant::now());
            let _ = set_timer(if left.is_zero() { again } else { left }, again);
            if left.is_zero() {
                let _ = raise(Signal::SIGALRM);
            }
        }
    }
}

/// Sets the timer; 0 stops it. Returns the first firing and the repetition that were set before.
/// See setitimer(2), which does not fail with such times, unless a policy refuses it.
fn set_timer(first: Duration, again: Duration) -> Result<(Duration, Duration), Error> {
    // Rounded up: it must not fire before its time.
    let micros = |time: Duration| time.as_nanos().div_ceil(1000) as i64;
    let value = |time| *TimeVal::microseconds(micros(time)).as_ref();
    let timer = itimerval { it_interval: value(again), it_value: value(first) };
    let mut before = timer;
    // SAFETY: both pointers are to values that live until the call has returned.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, &mut before) };
    Errno::result(set).map_err(|errno| untraced("setitimer(ITIMER_REAL, …)", errno))?;
    let time = |it| Duration::from_micros(TimeVal::from(it).num_microseconds() as u64);
    Ok((time(before.it_value), time(before.it_interval)))
}
