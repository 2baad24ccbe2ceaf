//! The stops of `--step`: what is about to happen, what to type in a second terminal just then, and
//! the wait for Enter.
//!
//! At any time only one process reads Enter: the one that has the stop.

use std::io::{IsTerminal, stdin};
use std::os::fd::AsFd;

use anyhow::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::entry::Known;
use super::lessons;
use super::link::Link;
use crate::output::palette::Role;
use crate::output::stdout::{INDENT, Stdout};
use crate::step::Step;
use crate::sys::fd::{self, CHECK_INTERVAL, read_byte};
use crate::sys::terminal::Keyboard;
use crate::sys::trace::{self, Call};
use crate::sys::{Error, proc, process};

/// Stops before a step, until Enter. Returns `false` if this process is to stop no more. Fails as
/// write(2) to standard output and read(2) from standard input do.
pub(super) fn stop(step: &Step<'_>, known: &Known, link: &mut Link, out: Stdout) -> Result<bool> {
    // Woken by the signal of somebody else, the listener does not stop: the sender may stand at a
    // stop of its own, and read Enter there.
    let is_stray = matches!(step, Step::ReceivedSignal(_, it) if Some(*it) != known.sender);
    if known.related && is_stray {
        return Ok(false);
    }
    // A child in another PID namespace knows no numbers that are right in a terminal.
    let is_namespaced = known.sender == Some(Pid::from_raw(0));
    let mut text = String::new(); // for the marks see lessons.rs
    for (mark, line) in lessons::of(step, known) {
        text += &match mark {
            '$' | '=' if is_namespaced => continue,
            '>' => out.lesson("", &format!("[next: {line}]")),
            '$' => out.line(Role::Parent, &format!("{INDENT}  $ {line}")),
            '=' => out.lesson("      ", &line),
            _ => continue,
        };
    }
    if text.is_empty() {
        return Ok(true);
    }
    text += &out.lesson("", "[Enter goes on]");
    let mut keyboard = Keyboard::usual(); // before Enter is asked for
    out.print(&text)?;
    let listener = known.listener.unwrap_or(Pid::from_raw(0));
    wait_for_enter(link, || {
        keyboard.set(); // after Ctrl-Z and fg
        match step {
            Step::Notifying(segment) => trace::untraced(|| {
                segment.ensure_reachable(listener)?;
                Ok(!proc::has_exited(listener))
            }),
            _ => {
                if known.is_child() {
                    known.sender.map(process::parent_or_exit);
                }
                Ok(true)
            }
        }
    })
}

/// Waits until Enter is pressed, or until the child has ended. Returns `false` at the end of
/// standard input. `check` is called once a second: whether there is still something to wait for.
/// Fails as it does, or as read(2) does.
fn wait_for_enter(link: &mut Link, mut check: impl FnMut() -> Result<bool>) -> Result<bool> {
    let stdin = stdin();
    loop {
        let fds = [Some(stdin.as_fd()), link.child()].into_iter().flatten();
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let ready = poll(&mut fds, PollTimeout::try_from(CHECK_INTERVAL)?);
        let [enter, child] = [0, 1].map(|it| fds.get(it).and_then(PollFd::any) == Some(true));
        if ready == Ok(0) && !check()? || child && !link.read_some() {
            return Ok(true);
        }
        if !enter && matches!(ready, Ok(_) | Err(Errno::EINTR)) {
            continue;
        }
        match read_byte(&stdin) {
            Ok(Some(b'\n')) => return Ok(true),
            // Typed before this stop, on a terminal that leaves it as it is.
            Ok(Some(b'\r')) if stdin.is_terminal() => return Ok(true),
            // Up to the end of the line and no further: the rest is for the next stop.
            Ok(Some(_)) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if ready.is_ok() => {}
            Ok(None) | Err(Errno::ECONNRESET) => break,
            // The terminal is closed.
            Err(Errno::EIO) if fd::has_no_reader(&stdin) => break,
            Err(errno) => return Err(Error::call(Call::Read(0), errno).into()),
        }
    }
    link.end_input().map(|()| false)
}
