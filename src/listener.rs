//! The listener: the child, or a separate program (`--listen`). It registers the handler, waits for
//! the signal, and takes the message out of shared memory.

use std::hint;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::unistd::getpid;

use crate::handler::{self, handler};
use crate::message::{Message, PROJECT};
use crate::peer::Peer;
use crate::run::{Run, Wait};
use crate::step::Step;
use crate::sys::process::{self, Parent};
use crate::sys::{Error, Key, Segment, signal};

/// How long a listener spins before it sleeps, at most.
const SPIN: Duration = Duration::from_millis(100);

/// Waits for the parent's message, and prints it. Fails if the message is not valid.
pub fn listener(parent: &Parent, run: &mut Run) -> Result<()> {
    let peer = Peer::Parent(parent);
    register(peer, run)?;
    run.tell(Step::Ready)?;
    parent.notify_ready()?;
    receive(peer, run)
}

/// Says who listens, and registers the handler.
pub fn register(peer: Peer<'_>, run: &mut Run) -> Result<()> {
    run.tell(Step::Listening(peer.parent().map(Parent::pid), getpid()))?;
    signal::register(run.signal, handler)?;
    // Said when it is true: whoever reads this line may send the signal.
    run.tell(Step::Registered(run.signal))
}

/// Waits for the signal and for the peer's message, and prints it.
pub fn receive(peer: Peer<'_>, run: &mut Run) -> Result<()> {
    let mut deadline = peer.deadline(run.timeout);
    spin(run)?;
    loop {
        let Some((number, signaler)) = handler::take() else {
            // No signal yet: sleep, and look again. pselect(2) unblocks the signal and sleeps in
            // one call, so none is missed. `false` says that the parent's pipe was closed.
            if !signal::sleep(run.signal, peer.parent(), &mut deadline)? {
                // The parent has ended, and nobody waits for the outcome.
                process::exit(1);
            }
            continue;
        };
        run.tell(Step::Woken)?; // prints nothing
        match read_message(&run.path, |segment| peer.ensure_sent(segment, signaler)) {
            Ok(message) => {
                // Told only now: a signal that brings no message has no line.
                run.tell(Step::ReceivedSignal(number, signaler))?;
                // Checks the message, and prints "# Received: …" (output/words.rs).
                return run.tell(Step::Received(message.checked()?));
            }
            // A stray signal: the listener goes on. The parent's without a message is an error.
            Err(why) => peer.go_on_or_fail(why, signaler, run)?,
        }
    }
}

/// The article's endless loop, but with an end, because a loop that spins keeps a processor busy.
/// The signal is unblocked only here and in `signal::sleep`.
fn spin(run: &mut Run) -> Result<()> {
    if run.wait == Wait::Sleep {
        return Ok(());
    }
    // This loop does not check the timeout, so it must not be longer.
    let until = Instant::now() + run.timeout.map_or(SPIN, |timeout| timeout.min(SPIN));
    let mut rounds = 0;
    signal::unblock(run.signal)?;
    while !handler::has_run() && Instant::now() < until {
        rounds += 1;
        hint::spin_loop();
    }
    signal::block(run.signal)?;
    run.tell(Step::Spun(rounds))
}

/// Finds the segment by the path, makes sure whose it is, and copies the message out.
fn read_message(
    path: &Path,
    ensure_sent: impl Fn(&Segment<Message>) -> Result<(), Error>,
) -> Result<Message, Error> {
    let key = Key::from_path(path, PROJECT)?; // ftok(3)
    let segment = Segment::find(&key)?; // shmget(2)
    ensure_sent(&segment)?; // shmctl(2): a killed run leaves its segment behind, with its message
    let attached = segment.attach_read_only()?; // shmat(2)
    let message = attached.read(); // copied once: nobody can change what we have
    drop(attached); // shmdt(2)
    if message.is_written() { Ok(message) } else { Err(segment.rejected("it holds no message")) }
}
