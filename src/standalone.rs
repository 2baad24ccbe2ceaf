//! The two roles as separate programs (`--listen`, `--to`), which share nothing but a path.
//!
//! In the [demo](mod@crate::demo) the two processes are parent and child. Here nobody has forked
//! anybody: the key, which both make from the same file, leads them to one segment.
//!
//! There is no pipe between them either, and no exit status. But the kernel keeps a status of each
//! segment: how many are attached, and who was the last to attach or detach. When the listener was
//! the last, and only the sender is attached, the message has been read. So a listener in any
//! language will do.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::unistd::{Pid, Uid, getpid};

use crate::listener::{receive, register};
use crate::message::{MESSAGE_SIZE, Message, PROJECT};
use crate::output::note;
use crate::run::Run;
use crate::sender::{self, Sent};
use crate::step::Step;
use crate::sys::signal::Signal;
use crate::sys::{Deadline, Error, Key, RunLock, Segment, Status};
use crate::sys::{cleanup, fd, proc, process, signal, trace};

/// How often the sender looks at the segment's status: nobody tells it that it has changed.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Waits for a message from anybody, and prints it: `--listen`. Fails if none has come.
pub fn listen(run: &mut Run) -> Result<()> {
    signal::prepare(run.signal)?;
    // From here on, one that comes before its handler stays pending.
    signal::block(run.signal)?;
    // Without the file nobody could ever reach this listener.
    Key::from_path(&run.path, PROJECT)?;
    if run.signal == Signal::SIGINT {
        note::interrupt_is_caught();
    }
    register(None, run)?;
    receive(None, run, may_take)
}

/// Makes sure that the segment's message is for this listener: its creator has sent the signal, or
/// is there and attached. A sender may end right after it has sent the signal. But one that was
/// killed leaves its message behind, and the signal of somebody else must not deliver it.
fn may_take(segment: &Segment<Message>, sender: Pid) -> Result<(), Error> {
    let status = segment.status()?;
    let creator = status.creator_pid;
    if !status.is_ours() {
        Err(segment.rejected("it is another user's"))
    } else if status.size != MESSAGE_SIZE {
        Err(segment.rejected("its size is not that of a message"))
    } else if creator == sender && creator.as_raw() > 0 && creator != getpid()
        || status.attached > 0 && !status.creator_has_exited()
    {
        Ok(())
    } else if status.attached == 0 && creator.as_raw() > 0 && !status.creator_has_exited() {
        Err(segment.rejected("nobody is attached to it yet"))
    } else {
        Err(segment.rejected("it was left behind"))
    }
}

/// Sends a message to a process that listens already: `--to`. Fails if it has not been read.
pub fn send(text: &[u8], listener: Pid, run: &mut Run) -> Result<()> {
    let message = Message::new(text)?;
    signal::prepare(run.signal)?;
    let _lock = RunLock::take(&run.path, run.timeout, note::waiting_for_lock)?;
    ensure_listening(listener, run.signal)?;

    run.tell(Step::MessageSize(message.size))?;
    run.tell(Step::CreatingMessage)?;
    cleanup::install()?;
    let sent = sender::write(&message, listener, run)?;
    let looked = wait_until_alone(&sent, listener, run)?;
    let has_read = || is_read(&sent, listener, looked);
    run.tell(Step::Notifying(&sent.segment))?;
    // Again: with --step it may have ended long ago, and its PID may be another process's.
    let notified = ensure_listening(listener, run.signal)
        .and_then(|()| Ok(signal::send(listener, run.signal)?));
    if let Err(error) = notified {
        // The signal of somebody else may have made the listener read it, and end.
        if !has_read()? {
            return Err(error);
        }
    }
    let what = format!("PID {listener} has not read the message");
    wait_until(&sent, listener, &what, run, |_| has_read())?;
    run.tell(Step::AllDone)?;
    sent.free()
}

/// Makes sure that a process is there, can read the message, and has a handler: without one, most
/// signals would kill it.
fn ensure_listening(listener: Pid, signal: Signal) -> Result<()> {
    let hint =
        "start a listener (sigshm --listen, with the same --signal) and use the PID it prints";
    let has_handler = proc::has_handler(listener, signal);
    process::ensure_exists(listener).map_err(|error| match error.errno() {
        Some(Errno::EPERM) => anyhow!("{error}; it is another user's: run both as one user"),
        _ => anyhow!("{error}; {hint}"),
    })?;
    ensure!(listener != getpid(), "PID {listener} is this process itself; {hint}");
    let (program, us) = (proc::describe(listener), Uid::effective());
    let user = proc::user(listener).filter(|&user| user != us && !user.is_root());
    match (has_handler, user) {
        (Some(false), _) => bail!(
            "{program} has no handler for {signal} (SigCgt in /proc/{listener}/status), so it \
             would be killed or stopped, or would not notice; {hint}"
        ),
        (None, _) if cfg!(target_os = "linux") => bail!(
            "nobody can tell whether PID {listener} has a handler for {signal}, which may kill it \
             otherwise: there is no /proc of this PID namespace; mount it (unshare --mount-proc)"
        ),
        (_, Some(user)) => bail!(
            "{program} is user {user}'s, and could not read the message, which is for user {us} \
             alone; run both as one user"
        ),
        _ if proc::shares_ipc(listener) == Some(false) => bail!(
            "{program} is in another IPC namespace, and could not find the message; run both in \
             one"
        ),
        _ => Ok(()),
    }
}

/// Waits until nobody else is attached, and this process was the last to attach. From then on the
/// status tells who attaches. Returns whether the listener has looked already, woken by the signal
/// of somebody else while the message was being written; then it may have read it.
fn wait_until_alone(sent: &Sent, listener: Pid, run: &Run) -> Result<bool> {
    let (us, mut looked) = (getpid(), false);
    wait_until(sent, listener, "somebody else did not detach", run, |status| {
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
    listener: Pid,
    what: &str,
    run: &Run,
    mut holds: impl FnMut(&Status) -> Result<bool>,
) -> Result<()> {
    let mut deadline = Deadline::after(run.timeout, what);
    let mut next_check = Instant::now() + fd::LOOK_INTERVAL;
    loop {
        let status = sent.segment.status()?;
        if holds(&status)? {
            return Ok(());
        }
        if status.removed || Instant::now() > next_check {
            trace::untraced(|| sent.segment.ensure_reachable(listener))?;
            next_check += fd::LOOK_INTERVAL;
        }
        deadline
            .check()
            .map_err(|error| anyhow!("{error}: {}", cause(sent, listener, run.signal)))?;
        trace::sleep(POLL_INTERVAL);
    }
}

/// Why the listener has not read the message, as far as the system tells.
fn cause(sent: &Sent, listener: Pid, signal: Signal) -> String {
    let Ok(Status { id, attached, last_pid, .. }) = sent.segment.status() else {
        return "its status cannot be read".to_owned();
    };
    if proc::is_stopped(listener) == Some(true) {
        format!("a signal has stopped PID {listener}; let it go on (fg, kill -CONT)")
    } else if last_pid != getpid() {
        let last = proc::describe(last_pid);
        format!("{last} was the last to attach or detach segment {id}, attached now: {attached}")
    } else if attached > 1 {
        format!("others are attached to segment {id}: {}", attached - 1)
    } else if matches!(signal, Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU) {
        format!(
            "it has not looked at segment {id}; if it was stopped meanwhile, the SIGCONT that let \
             it go on has discarded {signal}: send the message again"
        )
    } else {
        let key = sent.segment.key();
        format!(
            "it has not looked at segment {id}, whose key is {key}; let it listen at the same \
             file (its standard error names what it found), or wait longer with --timeout"
        )
    }
}
