//! The record of system calls: which call, its arguments, its result and its times.
//!
//! Every call that belongs to the story goes through `traced`. One that fails becomes an [`Error`]
//! that names it. While a [`record`] is kept, each call is handed to the recorder as it returns.

use std::cell::RefCell;
use std::time::{Duration, Instant};
use std::{fmt, ptr};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;

pub use super::answer::{Answer, Origin};
pub use super::call::{Call, shortened};
use super::error::Error;

/// A call as it was made, and what the kernel answered.
#[derive(Clone, Debug)]
pub struct Record {
    pub call: Call,
    pub result: Result<Answer, Errno>,
    pub began: Instant,
    pub ended: Instant,
}

type Recorder = Box<dyn FnMut(&Record)>;

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// From now on `recorder` is given each call of this thread, after a fork in both processes.
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

/// Makes a system call. `call` describes it, and runs afterwards, if the call is recorded or has
/// failed: a plain run builds no description.
pub(super) fn traced<T>(
    call: impl Fn() -> Call,
    make: impl FnOnce() -> nix::Result<T>,
) -> Result<T, Error>
where
    for<'a> Answer: From<&'a T>,
{
    let began = clock();
    let outcome = make();
    if let Some((began, ended)) = began.zip(clock()) {
        let result = outcome.as_ref().map(Answer::from).map_err(|&errno| errno);
        hand_over(Record { call: call(), result, began, ended });
    }
    outcome.map_err(|errno| Error::call(call(), errno))
}

/// Sleeps between two looks at the same thing. Fails as nanosleep(2) does, but not if a signal ends
/// the sleep. (std::thread::sleep would panic.)
pub fn sleep(time: Duration) -> Result<(), Error> {
    let time_spec = TimeSpec::from(time);
    // SAFETY: the time is only read, and nothing is written through the null pointer.
    let sleep = || Errno::result(unsafe { libc::nanosleep(time_spec.as_ref(), ptr::null_mut()) });
    match traced(|| Call::Nanosleep(time), sleep) {
        Err(Error::Call(_, Errno::EINTR)) => Ok(()),
        slept => slept.map(drop),
    }
}

/// Records what took no system call: a copy, or that a handler has run.
pub(super) fn traced_event(call: Call, at: Option<Instant>) {
    if let Some(at) = at {
        hand_over(Record { call, result: Ok(Answer::Number(0)), began: at, ended: at });
    }
}

/// The time, if a record is kept.
pub(super) fn clock() -> Option<Instant> {
    RECORDER.with_borrow(Option::is_some).then(Instant::now)
}

fn hand_over(record: Record) {
    RECORDER.with_borrow_mut(|recorder| recorder.iter_mut().for_each(|tell| tell(&record)));
}

impl fmt::Display for Record {
    /// As strace(1) writes it: `shmat(3, NULL, 0) = 0x7f0012340000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = &self.call;
        match (call, &self.result) {
            (Call::CopyIn(..) | Call::CopyOut(..), _) => write!(f, "({call}: no system call)")?,
            (Call::Arrival(..), _) => write!(f, "{call}")?,
            (_, Err(errno)) => write!(f, "{call} = -1 {errno:?} ({})", errno.desc())?,
            (_, Ok(answer)) => {
                call.write(f, Some(answer))?;
                match (call, answer.number()) {
                    (Call::Ftok(..), key) => write!(f, " = {key:#010x}")?,
                    (Call::Shmat(..), address) => write!(f, " = {address:#x}")?,
                    (_, number) => write!(f, " = {number}")?,
                }
            }
        }
        match call {
            Call::Poll(.., times @ 2..)
            | Call::Pselect(.., times @ 2..)
            | Call::Arrival(.., times @ 2..) => write!(f, " (the last of {times})"),
            _ => Ok(()),
        }
    }
}
