//! The two roles as separate programs (`--listen`, `--to`), which share nothing but a path.
//!
//! In the [demo](mod@crate::demo) the two processes are parent and child. Here the key, which both
//! make from the same file, leads them to one segment. There is no pipe between them, and no exit
//! status. But the kernel keeps a status of each segment: how many are attached, and who was the
//! last to attach or detach. When the listener was the last, and only the sender is attached, the
//! message has been read. So a listener in any language will do.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use nix::unistd::{Pid, getpid};

use crate::listener::{receive, register};
use crate::message::{Message, PROJECT};
use crate::output::note;
use crate::peer::Peer;
use crate::run::Run;
use crate::sender::{self, SharedMessage};
use crate::step::Step;
use crate::sys::proc::{self, Hold, Proc, Reaction};
use crate::sys::signal::Signal;
use crate::sys::{Deadline, Key, RunLock, Status, USES_LINUX};
use crate::sys::{cleanup, fd, path, signal, trace};

/// How often the sender looks at the segment's status: nobody tells it that it has changed.
const STATUS_INTERVAL: Duration = Duration::from_millis(2);

/// Waits for a message from anybody, and prints it: `--listen`. Fails if none has come.
pub fn listen(run: &mut Run) -> Result<()> {
    signal::prepare(run.signal)?;
    // From here on, a signal that comes before the handler is registered stays pending.
    signal::block(run.signal)?;
    // Without the file nobody could ever reach this listener.
    path::ensure_harmless(&run.path)?;
    Key::from_path(&run.path, PROJECT)?;
    if run.signal == Signal::SIGINT {
        note::interrupt_is_caught();
    }
    register(Peer::Anybody, run)?;
    receive(Peer::Anybody, run)
}

/// Sends a message to a process that listens already: `--to`. Fails if it has not been read.
pub fn send(message: &Message, listener: Pid, run: &mut Run) -> Result<()> {
    signal::prepare(run.signal)?;
    run.tell(Step::Locking)?;
    let _lock = RunLock::take(&run.path, run.timeout, note::waiting_for_lock)?;
    run.tell(Step::Checking)?;
    ensure_listening(listener, run.signal)?;

    run.tell(Step::MessageSize(message.size))?;
    run.tell(Step::CreatingMessage)?;
    cleanup::install()?;
    let shared = sender::write(message, listener, run)?;
    let looked = wait_until_alone(&shared, listener, run)?;
    let has_read = || is_read(&shared, listener, looked);
    run.tell(Step::Notifying(&shared.segment))?;
    // Again: with --step it may have ended long ago, and its PID may be another process's.
    let notified = ensure_listening(listener, run.signal)
        .and_then(|()| Ok(signal::send(listener, run.signal)?));
    match notified {
        // The signal of somebody else may have made the listener read it, and end.
        Err(_) if has_read()? => {}
        notified => notified?,
    }
    let what = format!("PID {listener} has not read the message");
    wait_until(&shared, listener, &what, run, |_| has_read())?;
    run.tell(Step::AllDone)?;
    shared.free()
}

/// Makes sure that a process is there, can read the message, and has a handler for the signal.
fn ensure_listening(listener: Pid, signal: Signal) -> Result<()> {
    let hint =
        "start a listener (sigshm --listen, with the same --signal) and use the PID it prints";
    let reaction = Proc::ours().and_then(|proc| proc.reaction(listener, signal));
    proc::ensure_exists(listener).map_err(|error| match error.is_exited() {
        true => anyhow!("{error}; {hint}"),
        false => error.into(),
    })?;
    ensure!(listener != getpid(), "PID {listener} is this process itself; {hint}");
    let (program, us) = (proc::describe(listener), proc::own_user());
    let user = Proc::ours().and_then(|proc| proc.user(listener));
    let shares_ipc = Proc::ours().and_then(|proc| proc.shares_ipc(listener));
    match (reaction, user, shares_ipc) {
        (Ok(Reaction::Default), ..) => bail!(
            "{program} has no handler for {signal} (SigCgt in /proc/{listener}/status), so it \
             would be killed or stopped, or would not notice; {hint}"
        ),
        (Ok(Reaction::CleanUp), ..) => bail!(
            "{program} seems to catch {signal} only to clean up before it ends: it also catches \
             SIGXCPU and SIGVTALRM, as shells, editors and senders do; {hint}"
        ),
        (Err(unknown), ..) if USES_LINUX => bail!(
            "nobody can tell whether PID {listener} has a handler for {signal}, which may kill it \
             otherwise: {unknown}"
        ),
        (_, Ok(user), _) if user != us && !user.is_root() => bail!(
            "{program} is user {user}'s, and could not read the message, which is for user {us} \
             alone; run both as one user"
        ),
        (.., Ok(false)) => bail!(
            "{program} is in another IPC namespace, and could not find the message; run both in \
             one"
        ),
        _ => Ok(()),
    }
}

/// Waits until nobody else is attached, and this process was the last to attach or detach. From
/// then on the status tells who attaches. Returns whether the listener has attached already: the
/// signal of another process may have woken it early, and then it may have read the message.
fn wait_until_alone(shared: &SharedMessage, listener: Pid, run: &Run) -> Result<bool> {
    let (us, mut looked) = (getpid(), false);
    wait_until(shared, listener, "somebody else did not detach", run, |status| {
        looked |= status.last_pid == listener;
        if status.attached == 1 && status.last_pid != us {
            // Attach and detach: then we are the last.
            drop(shared.segment.attach_read_only()?);
        }
        Ok(status.attached == 1 && status.last_pid == us)
    })?;
    Ok(looked)
}

/// Whether the listener has read the message: it was the last to attach or detach, and only we are
/// attached now. Or it has ended, and had looked before: a listener ends when it has read. (One
/// that looked too early, and was then killed, is taken for one that has read.)
fn is_read(shared: &SharedMessage, listener: Pid, looked: bool) -> Result<bool> {
    // Asked first, so that the status has all that it did before it ended.
    let exited = proc::has_exited(listener);
    let status = shared.segment.status()?;
    let read = status.last_pid == listener && status.attached == 1;
    if exited && !read && !looked {
        bail!("the listener (PID {listener}) ended before it had read the message");
    }
    Ok(read || exited)
}

/// Looks at the segment's status until it is as it should be.
fn wait_until(
    shared: &SharedMessage,
    listener: Pid,
    what: &str,
    run: &Run,
    mut holds: impl FnMut(&Status) -> Result<bool>,
) -> Result<()> {
    let mut deadline = Deadline::after(run.timeout, what);
    let mut next_check = Instant::now() + fd::CHECK_INTERVAL;
    loop {
        let status = shared.segment.status()?;
        if holds(&status)? {
            return Ok(());
        }
        if status.removed || Instant::now() > next_check {
            trace::untraced(|| shared.segment.ensure_reachable(listener))?;
            next_check += fd::CHECK_INTERVAL;
        }
        let cause = || cause(shared, listener, run.signal);
        deadline.check().map_err(|error| anyhow!("{error}: {}", cause()))?;
        trace::sleep(STATUS_INTERVAL)?;
    }
}

/// Why the listener has not read the message, as far as the system tells.
fn cause(shared: &SharedMessage, listener: Pid, signal: Signal) -> String {
    let Ok(Status { id, attached, last_pid, .. }) = shared.segment.status() else {
        return "its status cannot be read".to_owned();
    };
    if let Ok(Some(Hold { what, release })) = Proc::ours().and_then(|proc| proc.hold(listener)) {
        format!("{what} PID {listener}; {release}, and send the message again")
    } else if Proc::ours().and_then(|proc| proc.is_pending(listener, signal)) == Ok(true) {
        format!(
            "{signal} is still pending: the listener waits for Enter (--step), or for somebody to \
             read its output; send the message again then"
        )
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
        let key = shared.segment.key();
        format!(
            "it has not looked at segment {id}, whose key is {key}; let it listen at the same \
             file (its standard error names what it found), or wait longer with --timeout"
        )
    }
}
