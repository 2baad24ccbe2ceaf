//! The record of system calls: which call, its arguments, its result and its times.
//!
//! Every call that belongs to the story goes through `traced`, which describes it as a typed
//! [`Call`]. One that fails becomes an [`Error`] that names it. While a [`record`] is kept, each
//! call is also handed to the recorder as it returns.

use std::cell::RefCell;
use std::fmt;
use std::time::{Duration, Instant};

use nix::errno::Errno;

pub use super::call::{Call, shortened};
use super::error::Error;
pub use super::origin::Origin;

/// A call as it was made.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which call, and its arguments.
    pub call: Call,
    /// What it returned; an address as a number.
    pub result: Result<i64, Errno>,
    pub began: Instant,
    pub ended: Instant,
}

type Recorder = Box<dyn FnMut(&Record)>;

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// From now on `recorder` is given each call of this thread as it returns. After a fork that is so
/// in both processes.
pub fn record(recorder: impl FnMut(&Record) + 'static) {
    RECORDER.set(Some(Box::new(recorder)));
}

/// Runs `look` without recording its calls: they are not part of what is explained.
pub fn untraced<T>(look: impl FnOnce() -> T) -> T {
    let recorder = RECORDER.take();
    let outcome = look();
    RECORDER.set(recorder);
    outcome
}

/// Makes a system call. `number` is what strace(1) would show of its result, and `call` describes
/// the call, given its result if it succeeded.
pub(super) fn traced<T>(
    make: impl FnOnce() -> nix::Result<T>,
    number: impl FnOnce(&T) -> i64,
    call: impl FnOnce(Option<&T>) -> Call,
) -> Result<T, Error> {
    let began = clock();
    let outcome = make();
    let ended = clock();
    let call = call(outcome.as_ref().ok());
    if let (Some(began), Some(ended)) = (began, ended) {
        let result = outcome.as_ref().map(number).map_err(|&errno| errno);
        note(Record { call: call.clone(), result, began, ended });
    }
    outcome.map_err(|errno| Error::call(call, errno))
}

/// As [`traced`], for a call that returns 0.
pub(super) fn traced_zero<T>(
    make: impl FnOnce() -> nix::Result<T>,
    call: impl FnOnce(Option<&T>) -> Call,
) -> Result<T, Error> {
    traced(make, |_| 0, call)
}

/// Sleeps between two looks at the same thing.
pub fn sleep(time: Duration) {
    let sleep = || {
        std::thread::sleep(time);
        Ok(())
    };
    let _ = traced_zero(sleep, |_| Call::Nanosleep(time));
}

/// Notes what took no system call: a copy, or that a handler has run.
pub(super) fn traced_event(call: Call, at: Option<Instant>) {
    if let Some(at) = at {
        note(Record { call, result: Ok(0), began: at, ended: at });
    }
}

/// The time, if a record is kept.
pub(super) fn clock() -> Option<Instant> {
    RECORDER.with_borrow(Option::is_some).then(Instant::now)
}

fn note(record: Record) {
    RECORDER.with_borrow_mut(|recorder| recorder.iter_mut().for_each(|tell| tell(&record)));
}

impl fmt::Display for Record {
    /// As strace(1) writes it: `shmat(3, NULL, 0) = 0x7f0012340000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = &self.call;
        match (call, self.result) {
            (Call::CopyIn(..) | Call::CopyOut(..), _) => write!(f, "({call}: no system call)"),
            (Call::Arrival(..), _) => write!(f, "{call}"),
            (_, Err(errno)) => write!(f, "{call} = -1 {errno:?} ({})", errno.desc()),
            (Call::Ftok(..), Ok(key)) => write!(f, "{call} = {key:#010x}"),
            (Call::Shmat(..), Ok(address)) => write!(f, "{call} = {address:#x}"),
            (_, Ok(number)) => write!(f, "{call} = {number}"),
        }
    }
}
