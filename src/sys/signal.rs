//! A handler that only stores, the mask that keeps it out, the wait that lets it in; see signal(7).
//!
//! # The order, and why
//! 1. [`prepare`], before anything else. Then the process that waits for a signal *blocks* it. A
//!    blocked signal stays pending (but a SIGCONT discards a signal that stops). So one that comes
//!    before its handler does not kill the process, as SIGUSR1 does by default.
//! 2. [`register`], in that process: the handler.
//! 3. [`unblock`] to look for it in a loop, [`block`] again, and then [`sleep`]. It lets the signal
//!    in and sleeps in one system call, pselect(2): between two calls, one could be missed.
//!
//! A handler runs between any two instructions of the program, so it may do very little; see
//! signal-safety(7). [`signal_handler!`](crate::signal_handler!) accepts stores to atomics and
//! nothing else: that is why to register such a handler is safe.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libc::{c_int, c_void, siginfo_t};
use nix::errno::Errno;
use nix::sys::select::{FD_SETSIZE, FdSet, pselect};
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigmaskHow};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

#[doc(hidden)] // For the macro.
pub use libc;
pub use nix::sys::signal::{SigSet, Signal};

use super::fd::CHECK_INTERVAL;
use super::trace::{self, Call, Origin};
use super::{Deadline, Error};

/// Prepares the signals of a program that sends or awaits these `notifications`, if any. Fails as
/// sigaction(2) does, with EINVAL for SIGKILL and SIGSTOP, which no process may catch.
///
/// Nothing stays blocked that the starter had blocked. SIGUSR1 and SIGUSR2 are blocked if they are
/// notifications: they mean nothing else, and a stray one then does nothing to the sender.
/// SIGCHLD gets its default disposition: if it were ignored, the kernel would throw away the exit
/// status of a child. SIGXFSZ is ignored: a file that may not grow is an error of write(2), and no
/// reason to die.
pub fn prepare(notifications: impl Into<SigSet>) -> Result<(), Error> {
    let notifications = notifications.into();
    let among = |signals: [Signal; 2]| signals.into_iter().filter(|&it| notifications.contains(it));
    for signal in among([Signal::SIGKILL, Signal::SIGSTOP]) {
        // This must fail, and the error is what we want. (FreeBSD accepts SIG_DFL for them.)
        set_disposition(signal, SigHandler::SigIgn, libc::SIG_IGN)?;
    }
    change_mask(SigmaskHow::SIG_SETMASK, among([Signal::SIGUSR1, Signal::SIGUSR2]).collect())?;
    set_disposition(Signal::SIGCHLD, SigHandler::SigDfl, libc::SIG_DFL)?;
    set_disposition(Signal::SIGXFSZ, SigHandler::SigIgn, libc::SIG_IGN)
}

/// A handler that only stores; [`signal_handler!`](crate::signal_handler!) makes one.
pub struct Handler(RawHandler);

type RawHandler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

impl Handler {
    /// # Safety
    /// The function may only do what signal-safety(7) allows.
    pub const unsafe fn new(handler: RawHandler) -> Self {
        Self(handler)
    }
}

/// Declares a [`Handler`](crate::sys::signal::Handler): a function that stores the signal's number
/// and the PID of who sent it in atomics, and can do nothing else. The PID is 0 if no process sent
/// the signal, or one that cannot be seen from here.
///
/// ```
/// use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
///
/// static SIGNAL: AtomicI32 = AtomicI32::new(0);
///
/// sigshm::signal_handler! {
///     pub fn handler(signal, signaler) {
///         SIGNAL.store(signal, Relaxed);
///     }
/// }
/// ```
///
/// A handler that does more does not compile (tests/hygiene.md).
#[macro_export]
macro_rules! signal_handler {
    (
        $(#[doc = $doc:expr])*
        $visibility:vis fn $name:ident($signal:ident, $signaler:ident) {
            $($atomic:ident.store($value:ident, Relaxed);)+
        }
    ) => {
        $(#[doc = $doc])*
        #[allow(non_upper_case_globals, unsafe_code)] // Named like the function it is.
        $visibility const $name: $crate::sys::signal::Handler = {
            extern "C" fn $name(
                $signal: $crate::sys::signal::libc::c_int,
                info: *mut $crate::sys::signal::libc::siginfo_t,
                _: *mut $crate::sys::signal::libc::c_void,
            ) {
                // SAFETY: the kernel has handed `info` to this very handler.
                let $signaler = unsafe { $crate::sys::signal::store_origin(info) };
                let _ = ($signal, $signaler);
                $(
                    // Never called: it does not compile if it takes `unsafe` to use this static.
                    let _ = || { let _ = &$atomic; };
                    let (atomic, value) = (&raw const $atomic, $value);
                    // SAFETY: it is a static that anybody may use, so it is always there.
                    unsafe { $crate::sys::signal::store(atomic, value) };
                )+
                $crate::sys::signal::count_arrival();
            }
            // SAFETY: it only stores numbers into atomics, which a handler may do. It calls only
            // functions of this crate, and they can take nothing but atomics.
            unsafe { $crate::sys::signal::Handler::new($name) }
        };
    };
}

/// Stores a number. The macro hands over the atomic itself and not a reference: to dereference
/// something else could run code (LazyLock).
///
/// # Safety
/// `atomic` must point to an atomic that is there.
#[doc(hidden)] // For the macro.
pub unsafe fn store(atomic: *const AtomicI32, value: c_int) {
    // SAFETY: the caller says that it is there.
    unsafe { (*atomic).store(value, Ordering::Relaxed) };
}

/// How often a [`Handler`] has run since its last arrival was recorded, and the origin of the last
/// one: code, PID, user (which is some other number if no process sent it, and is not shown then).
static ARRIVALS: AtomicU32 = AtomicU32::new(0);
static ORIGIN: [AtomicI32; 3] = [const { AtomicI32::new(0) }; 3];

/// Stores the origin of a signal, for the record. Returns its [`signaler`].
///
/// # Safety
/// As for [`signaler`].
#[doc(hidden)] // For the macro.
pub unsafe fn store_origin(info: *const siginfo_t) -> c_int {
    // SAFETY: the caller says that it is there.
    let (code, signaler, user) = unsafe { ((*info).si_code, signaler(info), (*info).si_uid()) };
    for (it, value) in ORIGIN.iter().zip([code, signaler, user as c_int]) {
        it.store(value, Ordering::Relaxed);
    }
    signaler
}

/// Counts a signal. The handler does this last: a thread that sees the count also sees all
/// that the handler has stored.
#[doc(hidden)] // For the macro.
pub fn count_arrival() {
    ARRIVALS.fetch_add(1, Ordering::Release);
}

/// The PID of the process that sent a signal; 0 if none did, or if it cannot be seen from here.
///
/// # Safety
/// `info` must be what the kernel has handed to a handler, and the handler must not have returned.
pub unsafe fn signaler(info: *const siginfo_t) -> c_int {
    // SAFETY: the caller says that it is there. With these codes, so is the PID; see sigaction(2).
    unsafe { if Origin::is_process((*info).si_code) { (*info).si_pid() } else { 0 } }
}

/// Records that `signal`, which is blocked, came at this time, if it has come.
fn record_arrival(signal: Signal, at: Option<Instant>) {
    let times = ARRIVALS.swap(0, Ordering::Acquire);
    if times > 0 {
        let [code, pid, user] = ORIGIN.each_ref().map(|it| it.load(Ordering::Relaxed));
        let origin = Origin { code, pid: Pid::from_raw(pid), user: user as u32 };
        trace::traced_event(Call::Arrival(signal, origin, times), at);
    }
}

/// Registers the handler for `signal`. Fails as [`prepare`] does; see sigaction(2).
pub fn register(signal: Signal, handler: Handler) -> Result<(), Error> {
    set_disposition(signal, SigHandler::SigAction(handler.0), handler.0 as *const () as usize)
}

fn set_disposition(signal: Signal, handler: SigHandler, address: usize) -> Result<(), Error> {
    // No SA_RESTART: the signal is to end the wait in which it comes. (SA_SIGINFO is added.)
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: it is the default, ignoring, or a `Handler`, which only does what a handler may do.
    let sigaction = || unsafe { signal::sigaction(signal, &action) }.map(drop);
    trace::traced(|| Call::Sigaction(signal.into(), address), sigaction)
}

/// Lets `signal` in: its handler may run at any moment from now on. See sigprocmask(2).
pub fn unblock(signal: Signal) -> Result<(), Error> {
    change_mask(SigmaskHow::SIG_UNBLOCK, signal.into()).map(drop)
}

/// Keeps `signal` out: it stays pending until it is let in. See sigprocmask(2).
pub fn block(signal: Signal) -> Result<(), Error> {
    // If the signal has come, it came before this call.
    let now = trace::clock();
    change_mask(SigmaskHow::SIG_BLOCK, signal.into())?;
    record_arrival(signal, now);
    Ok(())
}

/// Lets in `signal`, which is blocked, and all others, and sleeps until a handler has run. Returns
/// `false` if `peer` was closed first. Fails as pselect(2) does, or with [`Error::TimedOut`], or
/// with [`Error::Unusable`] if the descriptor of `peer` is not below `FD_SETSIZE`.
///
/// Once a second it looks whether the handler has run in another thread: a library that was loaded
/// before the program (a profiler's, for instance) may have started one, to which the kernel may
/// give the signal.
pub fn sleep(
    signal: Signal,
    peer: Option<impl AsFd>,
    deadline: &mut Deadline,
) -> Result<bool, Error> {
    let peer = peer.as_ref().map(AsFd::as_fd);
    let number = peer.map(|fd| fd.as_raw_fd());
    if let Some(number) = number.filter(|&number| number as usize >= FD_SETSIZE) {
        return Err(Error::Unusable(format!(
            "pselect(2) cannot wait for descriptor {number}, which is not below FD_SETSIZE \
             ({FD_SETSIZE}): start this process with fewer open files"
        )));
    }
    deadline.check()?;
    let (time, times) = (Cell::new(Duration::ZERO), Cell::new(0));
    let mut checked = Ok(());
    let sleep = || loop {
        let mut readable: FdSet<'_> = FdSet::new();
        peer.into_iter().for_each(|fd| readable.insert(fd));
        time.set(deadline.left().map_or(CHECK_INTERVAL, |left| left.min(CHECK_INTERVAL)));
        times.set(times.get() + 1);
        // Without the width, nix would look at all descriptors for the highest one.
        let (width, limit) = (number.map_or(0, |fd| fd + 1), TimeSpec::from(time.get()));
        let ready = pselect(width, &mut readable, None, None, &limit, &SigSet::empty());
        if ready != Ok(0) || ARRIVALS.load(Ordering::Relaxed) > 0 {
            return ready;
        }
        checked = deadline.check();
        if checked.is_err() {
            return ready;
        }
    };
    let slept = trace::traced(|| Call::Pselect(number, time.get(), times.get()), sleep);
    checked?;
    match slept {
        Err(Error::Call(_, Errno::EINTR)) | Ok(0) => {
            record_arrival(signal, trace::clock());
            Ok(true)
        }
        ready => ready.map(|_| false),
    }
}

/// Changes the mask of this thread, and returns the one from before; see sigprocmask(2).
pub(super) fn change_mask(how: SigmaskHow, set: SigSet) -> Result<SigSet, Error> {
    // Not pthread_sigmask(3): it returns its errno, and nix looks for -1 and finds no error.
    let change = || {
        let mut before = SigSet::empty();
        signal::sigprocmask(how, Some(&set), Some(&mut before)).map(|()| before)
    };
    trace::traced(|| Call::Sigprocmask(how, set), change)
}

/// Sends `signal` to a process. Fails as kill(2) does: ESRCH if there is none, EPERM if this user
/// may not.
pub fn send(pid: Pid, signal: Signal) -> Result<(), Error> {
    trace::traced(|| Call::Kill(pid, Some(signal)), || signal::kill(pid, signal))
}
