//! The listener: the child's role, or that of a program of its own (`--listen`). It registers the
//! handler, waits for the signal, and takes the message out of shared memory.

use std::hint;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use nix::unistd::{Pid, getpid};

use crate::handler::{self, handler};
use crate::message::{Message, NOTIFICATION, PROJECT};
use crate::run::Run;
use crate::step::Step;
use crate::sys::process::{self, Parent};
use crate::sys::{Deadline, Error, Key, Segment, signal};

/// Waits for the parent's message, and prints it. Fails if the message is not valid.
pub fn listener(parent: &Parent, run: &mut Run) -> Result<()> {
    register(Some(parent.pid()), run)?;
    run.tell(Step::Ready)?;
    parent.notify_ready()?;
    // A run that was killed leaves its segment behind, message and all. So take only a segment that
    // our parent has created, and that somebody is attached to.
    receive(Some(parent), run, |segment| {
        let status = segment.status()?;
        Ok(status.creator_pid == parent.pid() && status.attached > 0)
    })
}

/// Says who listens, and registers the handler.
pub fn register(parent: Option<Pid>, run: &mut Run) -> Result<()> {
    run.tell(Step::Listening(parent, getpid()))?;
    signal::register(NOTIFICATION, handler)?;
    // Said when it is true: whoever reads this line may send the signal.
    run.tell(Step::Registered)
}

/// Waits for the signal and for a message in a segment that `may_take` accepts; prints it.
pub fn receive(
    parent: Option<&Parent>,
    run: &mut Run,
    may_take: impl Fn(&Segment<Message>) -> Result<bool, Error>,
) -> Result<()> {
    // In the demo it is the parent that gives up.
    let timeout = if parent.is_some() { None } else { run.timeout };
    let mut deadline = Deadline::after(timeout, "no message came");
    let spin_until = Instant::now() + run.spin;
    let mut rounds = 0;
    loop {
        rounds += spin(spin_until)?;
        let Some((number, sender)) = handler::take() else {
            // pselect(2) unblocks the signal and sleeps in one call, so none is missed.
            if !signal::sleep(NOTIFICATION, parent, &mut deadline)? {
                // The parent has ended, and nobody wants to know more.
                process::exit(1);
            }
            continue;
        };
        run.tell(Step::Woken(rounds))?;
        rounds = 0;
        // Anybody may send the signal at any time. If there is no message, the listener goes on.
        let Some(message) = take_message(&run.path, &may_take)? else {
            run.tell(Step::FoundNothing)?;
            continue;
        };
        run.tell(Step::ReceivedSignal(number, Pid::from_raw(sender)))?;
        // Checks the message (`Message::text`), and prints "# Received: …".
        return run.tell(Step::Received(&message));
    }
}

/// The article's endless loop, but with an end, because a loop that spins keeps a processor busy.
/// The signal is unblocked only here and in `signal::sleep`. Returns how many rounds it made.
fn spin(until: Instant) -> Result<u64> {
    let mut rounds = 0;
    if Instant::now() < until {
        signal::unblock(NOTIFICATION)?;
        while !handler::has_run() && Instant::now() < until {
            rounds += 1;
            hint::spin_loop();
        }
        signal::block(NOTIFICATION)?;
    }
    Ok(rounds)
}

/// Looks into shared memory, knowing nothing but the path.
fn take_message(
    path: &Path,
    may_take: impl Fn(&Segment<Message>) -> Result<bool, Error>,
) -> Result<Option<Message>> {
    let look = || -> Result<_, Error> {
        let key = Key::from_path(path, PROJECT)?; // ftok(3)
        match Segment::find(key)? {
            // Copied once, and detached at once: from here on nobody can change it.
            Some(segment) if may_take(&segment)? => Ok(Some(segment.attach_read_only()?.read())),
            _ => Ok(None),
        }
    };
    match look() {
        // Its creator has removed it meanwhile.
        Err(error) if error.is_removed() => Ok(None),
        found => Ok(found?.filter(Message::is_written)),
    }
}
