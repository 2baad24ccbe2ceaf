//! The handler of the notification signal. It stores a few numbers, and that is all.
//!
//! A handler runs between any two instructions of the program. If the program is just printing a
//! line, or just allocating memory, a handler that prints or allocates as well meets data that are
//! half changed. The article's handler prints, attaches the segment and prints again. That goes
//! well there only because its loop does nothing that could be interrupted halfway. Here the
//! [listener](mod@crate::listener) does all of this in its loop, after the handler has returned.
//! And the handler need not register itself again: sigaction(2) keeps it.
//!
//! `signal_handler!` accepts stores to atomics and nothing else: put a `println!` into the handler,
//! and it does not compile. (It stores by itself what `--explain` shows of the signal's origin.)

use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use nix::unistd::Pid;

/// The signal that came; 0 if none has. (The handler interrupts the thread that reads this, so
/// Relaxed is enough. If it ran in another thread: see sys::signal::count_arrival.)
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The PID of the process that sent it.
static SIGNALER: AtomicI32 = AtomicI32::new(0);

crate::signal_handler! {
    /// Runs when the signal comes. `signaler` is the `si_pid` of sigaction(2).
    pub fn handler(signal, signaler) {
        SIGNALER.store(signaler, Relaxed);
        SIGNAL.store(signal, Relaxed);
    }
}

/// Whether the handler has run since the last `take`.
pub fn has_run() -> bool {
    SIGNAL.load(Relaxed) != 0
}

/// The signal that came and the PID of who sent it, if the handler has run since this was last
/// called. The signal must be blocked meanwhile, so that the two numbers belong together.
pub fn take() -> Option<(i32, Pid)> {
    let signal = SIGNAL.swap(0, Relaxed);
    (signal != 0).then(|| (signal, Pid::from_raw(SIGNALER.load(Relaxed))))
}
