//! The two roles as programs of their own (`--listen`, `--to`), which share nothing but a path.
//!
//! In the [demo](mod@crate::demo) the two processes are parent and child. Here nobody has forked
//! anybody: the key, which both make from the same file, leads them to one segment.
//!
//! There is no pipe between them either, and no exit status. But the kernel keeps a status of each
//! segment: how many are attached, and who was the last to attach or detach. When the listener was
//! the last, and only the sender is attached, the message has been read. So a listener in any
//! language will do.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use nix::unistd::{Pid, getpid};

use crate::listener::{receive, register};
use crate::message::{Message, NOTIFICATION};
use crate::output::note;
use crate::run::Run;
use crate::sender::{self, Sent};
use crate::step::Step;
use crate::sys::{Deadline, Error, RunLock, Segment, Status};
use crate::sys::{cleanup, process, signal, trace};

/// How often the sender looks at the segment's status: nobody tells it that it has changed.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Waits for a message from anybody, and prints it: `--listen`. Fails if none has come.
pub fn listen(run: &mut Run) -> Result<()> {
    signal::prepare(NOTIFICATION)?;
    register(None, run)?;
    receive(None, run, may_take)
}

/// Whether the segment may hold a message for this listener. A sender that was killed leaves its
/// segment behind, message and all; the signal of somebody else must not deliver it.
fn may_take(segment: &Segment<Message>) -> Result<bool, Error> {
    let why_not = match segment.status() {
        Err(error) if error.is_forbidden() => error.to_string(),
        Ok(status) if process::has_exited(status.creator_pid) => {
            format!("{status} was left behind")
        }
        status => return status.map(|_| true),
    };
    note::still_listening(&why_not);
    Ok(false)
}

/// Sends a message to a process that listens already: `--to`. Fails if it has not been read.
pub fn send(text: &[u8], listener: Pid, run: &mut Run) -> Result<()> {
    let message = Message::new(text)?;
    signal::prepare(NOTIFICATION)?;
    let _lock = RunLock::take(&run.path, run.timeout, || note::waiting_for_lock(&run.path))?;
    ensure_listening(listener)?;

    run.tell(Step::MessageSize(message.size))?;
    run.tell(Step::CreatingMessage)?;
    cleanup::install()?;
    let sent = sender::write(&message, listener, run)?;
    let looked = wait_until_alone(&sent, listener, run)?;
    let has_read = || is_read(&sent, listener, looked);
    if let Err(error) = sender::notify(listener, run) {
        // The signal of somebody else may have made the listener read it, and end.
        if !has_read()? {
            return Err(error);
        }
    }
    let what = format!("PID {listener} has not read the message");
    wait_until(&sent, &what, run, |_| has_read())?;
    run.tell(Step::AllDone)?;
    sent.free()
}

/// Makes sure that a process is there and has a handler: without one, the signal would kill it.
fn ensure_listening(listener: Pid) -> Result<()> {
    let hint = "start a listener (sigshm --listen) and use the PID it prints";
    process::ensure_exists(listener).map_err(|error| anyhow!("{error}; {hint}"))?;
    if process::has_handler(listener, NOTIFICATION) == Some(false) {
        bail!(
            "PID {listener} has no handler for {NOTIFICATION} (SigCgt in /proc/{listener}/status), \
             which would kill it or be ignored; {hint}"
        );
    }
    Ok(())
}

/// Waits until nobody else is attached, and this process was the last to attach. From then on the
/// status tells who attaches. Returns whether the listener has looked already, woken by the signal
/// of somebody else while the message was being written; then it may have read it.
fn wait_until_alone(sent: &Sent, listener: Pid, run: &Run) -> Result<bool> {
    let (us, mut looked) = (getpid(), false);
    wait_until(sent, "somebody else is still attached", run, |status| {
        looked |= status.last_pid == listener;
        if status.attached == 1 && status.last_pid != us {
            // Attach and detach: then we are the last.
            drop(sent.segment.attach_read_only()?);
        }
        Ok(status.attached == 1 && status.last_pid == us)
    })?;
    Ok(looked)
}

/// Whether the listener has read the message: it was the last to attach or detach, and only we are
/// attached now. Or it has looked early and has ended, which it does when it has read. (A listener
/// that looked too early, and was then killed, is taken for one that has read.)
fn is_read(sent: &Sent, listener: Pid, looked: bool) -> Result<bool> {
    // Asked first, so that the status has all that it did before it ended.
    let exited = process::has_exited(listener);
    let status = sent.segment.status()?;
    let read = status.last_pid == listener && status.attached == 1;
    if exited && !read && !looked {
        bail!("the listener (PID {listener}) ended before it had read the message");
    }
    Ok(read || exited)
}

/// Looks at the segment's status until it is as it should be.
fn wait_until(
    sent: &Sent,
    what: &str,
    run: &Run,
    mut holds: impl FnMut(&Status) -> Result<bool>,
) -> Result<()> {
    let mut deadline = Deadline::after(run.timeout, what);
    loop {
        let status = sent.segment.status()?;
        if holds(&status)? {
            return Ok(());
        }
        if status.removed {
            bail!("somebody else has removed segment {}", status.id);
        }
        deadline.check()?;
        trace::sleep(POLL_INTERVAL);
    }
}
