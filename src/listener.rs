//! The listener: the child, or a separate program (`--listen`). It registers the handler, waits for
//! the signal, and takes the message out of shared memory.

use std::hint;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use nix::unistd::{Pid, getpid};

use crate::handler::{self, handler};
use crate::message::{Message, PROJECT};
use crate::output::note;
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
    // our parent has created. And if that run had our parent's PID, nobody is attached to it.
    receive(Some(parent), run, |segment, _| {
        let status = segment.status()?;
        if status.creator_pid != parent.pid() {
            Err(segment.rejected("our parent has not created it"))
        } else if status.attached == 0 {
            Err(segment.rejected("nobody is attached to it yet"))
        } else {
            Ok(())
        }
    })
}

/// Says who listens, and registers the handler.
pub fn register(parent: Option<Pid>, run: &mut Run) -> Result<()> {
    run.tell(Step::Listening(parent, getpid()))?;
    signal::register(run.signal, handler)?;
    // Said when it is true: whoever reads this line may send the signal.
    run.tell(Step::Registered(run.signal))
}

/// Waits for the signal and for a message, and prints it. `may_take` is given the segment and the
/// signal's sender; it fails if that segment's message is not for this listener.
pub fn receive(
    parent: Option<&Parent>,
    run: &mut Run,
    may_take: impl Fn(&Segment<Message>, Pid) -> Result<(), Error>,
) -> Result<()> {
    // In the demo it is the parent that gives up, and kills its child.
    let timeout = if parent.is_some() { None } else { run.timeout };
    let mut deadline = Deadline::after(timeout, "no message came");
    spin(run)?;
    loop {
        let Some((number, sender)) = handler::take() else {
            // pselect(2) unblocks the signal and sleeps in one call, so none is missed.
            if !signal::sleep(run.signal, parent, &mut deadline)? {
                // The parent has ended, and nobody waits for the outcome.
                process::exit(1);
            }
            continue;
        };
        run.tell(Step::Woken)?;
        let sender = Pid::from_raw(sender);
        // The parent sends it when the message is there. (0 is a process that we cannot see.)
        let is_expected = sender.as_raw() != 0 && Some(sender) == parent.map(Parent::pid);
        let message = match take_message(&run.path, |segment| may_take(segment, sender)) {
            Ok(message) => message,
            // Anybody else may send it at any time: then the listener goes on.
            Err(why) if why.is_absence() && !is_expected => {
                run.tell(Step::FoundNothing(&why))?;
                if parent.is_none() {
                    note::still_listening(run.signal, &run.path, &why);
                }
                continue;
            }
            Err(error) => return Err(error).with_context(|| note::no_message(&run.path)),
        };
        // Told only now: a signal that brings no message prints nothing.
        run.tell(Step::ReceivedSignal(number, sender))?;
        // Checks the message (`Message::text`), and prints "# Received: …".
        return run.tell(Step::Received(&message));
    }
}

/// The article's endless loop, but with an end, because a loop that spins keeps a processor busy.
/// The signal is unblocked only here and in `signal::sleep`.
fn spin(run: &mut Run) -> Result<()> {
    if run.spin.is_zero() {
        return Ok(());
    }
    let until = Instant::now() + run.spin;
    let mut rounds = 0;
    signal::unblock(run.signal)?;
    while !handler::has_run() && Instant::now() < until {
        rounds += 1;
        hint::spin_loop();
    }
    signal::block(run.signal)?;
    run.tell(Step::Spun(rounds))
}

/// Looks into shared memory, knowing nothing but the path.
fn take_message(
    path: &Path,
    may_take: impl Fn(&Segment<Message>) -> Result<(), Error>,
) -> Result<Message, Error> {
    let key = Key::from_path(path, PROJECT)?; // ftok(3)
    let segment = Segment::find(&key)?; // shmget(2)
    may_take(&segment)?;
    let attached = segment.attach_read_only()?; // shmat(2)
    let message = attached.read(); // copied once: nobody can change what we have
    drop(attached); // shmdt(2)
    if message.is_written() { Ok(message) } else { Err(segment.rejected("it holds no message")) }
}
