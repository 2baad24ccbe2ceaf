//! Two processes out of one: fork, the pipes that tell each about the other, and reaping.
//!
//! Each process holds the reading end of a pipe whose only writing end the other holds. A byte
//! through it is a word; its *closing* is the other's end, however it came, because the kernel
//! closes what a dying process had open. So neither needs to ask whether the other is still there,
//! and neither waits for one that is not.
//!
//! # The order, and why
//! 1. The pipes are made before `fork`, so that both processes have them.
//! 2. Right after it, each closes the two ends that are the other's. A process that kept the
//!    other's writing end open would never see its pipe close.
//! 3. The parent always reaps the child ([`Child`]): until then the child's exit status, and with
//!    it its process table entry, is kept by the kernel, a *zombie*. SIGCHLD says when it can be.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, getpid, pipe, read, write};

use crate::calls::{self, CallError};
use crate::signals::{self, ANNOUNCEMENT, For, Interrupted, Timer, Woken};

/// The process at the other end of the two pipes.
#[derive(Debug)]
pub struct Peer {
    pid: Pid,
    hear: OwnedFd,
    tell: OwnedFd,
}

impl Peer {
    /// Its process identifier.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What becomes readable when the peer has said something, or is gone.
    pub fn lifeline(&self) -> BorrowedFd<'_> {
        self.hear.as_fd()
    }

    /// The error of one who finds that the peer is gone.
    pub fn gone(&self) -> Gone {
        Gone(self.pid)
    }

    /// Tells the peer that this process is ready for it: one byte.
    ///
    /// That the peer is gone is no error here: its pipe has closed, and the next wait sees that.
    ///
    /// # Errors
    /// Those of write(2), but for EPIPE.
    pub fn ready(&self) -> Result<(), CallError> {
        let fd = self.tell.as_raw_fd();
        let words = |_: Option<&usize>| format!("write({fd}, \"!\", 1)");
        match calls::made(|| write(&self.tell, b"!"), words) {
            Err(error) if error.errno() != Errno::EPIPE => Err(error),
            _ => Ok(()),
        }
    }
}

/// The other process has ended too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone(Pid);

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the other process (PID {}) ended before the message was through",
            self.0
        )
    }
}

impl std::error::Error for Gone {}

/// A child that has not been reaped yet. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Child {
    peer: Rc<Peer>,
    reaped: bool,
}

impl Child {
    /// Its process identifier.
    pub fn pid(&self) -> Pid {
        self.peer.pid
    }

    /// The child as the process at the other end.
    pub fn peer(&self) -> &Rc<Peer> {
        &self.peer
    }

    /// Waits until the child has said that it is ready.
    ///
    /// # Errors
    /// [`ChildError`] if it has ended instead, or does nothing for as long as `patience`;
    /// [`Interrupted`], or those of read(2).
    pub fn until_ready(&mut self, patience: Option<Duration>) -> Result<()> {
        let word = For::Readable(self.peer.lifeline());
        self.until(word, "ready", &mut Timer::start(patience))?;
        let fd = self.peer.hear.as_raw_fd();
        let words = |byte: Option<&Option<u8>>| match byte {
            Some(Some(byte)) => format!("read({fd}, {:?}, 1)", char::from(*byte).to_string()),
            Some(None) => format!("read({fd}, \"\", 1)"),
            None => format!("read({fd}, …, 1)"),
        };
        match calls::made(|| read_byte(self.peer.hear.as_fd()), words)? {
            Some(_) => Ok(()),
            // Its pipe has closed, so it is about to end.
            None => {
                self.reap(WaitPidFlag::empty())?;
                Err(ChildError::Early(self.peer.pid).into())
            }
        }
    }

    /// Waits until the child has ended, and reaps it.
    ///
    /// # Errors
    /// [`ChildError`] if it has failed, or does not end for as long as `patience`; [`Interrupted`],
    /// also if it was the child that was interrupted; or those of waitpid(2).
    pub fn until_ended(&mut self, patience: Option<Duration>) -> Result<()> {
        let mut timer = Timer::start(patience);
        loop {
            self.until(For::Signal(Signal::SIGCHLD), "done", &mut timer)?;
            // The signal may have told of another child, one that this process has inherited.
            if self.reap(WaitPidFlag::WNOHANG)? {
                return Ok(());
            }
        }
    }

    fn until(&self, awaited: For<'_>, state: &'static str, timer: &mut Timer) -> Result<()> {
        match signals::wait(awaited, None, timer)? {
            Woken::Ready | Woken::ByPeer => Ok(()),
            Woken::TimedOut => {
                let (pid, patience) = (self.peer.pid, timer.patience());
                Err(ChildError::Slow {
                    pid,
                    state,
                    patience,
                }
                .into())
            }
        }
    }

    /// Reaps the child. Returns whether it has ended; without `WNOHANG`, this waits until it has.
    fn reap(&mut self, how: WaitPidFlag) -> Result<bool> {
        match self.wait(how)? {
            WaitStatus::StillAlive => Ok(false),
            WaitStatus::Exited(_, 0) => Ok(true),
            WaitStatus::Signaled(pid, signal, _) => match Interrupted::by(signal) {
                Some(interrupted) => Err(interrupted.into()),
                None => Err(ChildError::Killed { pid, signal }.into()),
            },
            _ => Err(ChildError::Failed(self.peer.pid).into()),
        }
    }

    fn wait(&mut self, how: WaitPidFlag) -> Result<WaitStatus, CallError> {
        let pid = self.peer.pid;
        let options = if how.is_empty() { "0" } else { "WNOHANG" };
        let outcome = calls::made(
            || waitpid(pid, Some(how)),
            |status| match status {
                Some(WaitStatus::StillAlive) => format!("waitpid({pid}, NULL, {options})"),
                Some(status) => format!("waitpid({pid}, [{}], {options})", Status(status)),
                None => format!("waitpid({pid}, …, {options})"),
            },
        );
        self.reaped = !matches!(outcome, Ok(WaitStatus::StillAlive));
        outcome
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            // SIGKILL, because it also ends a child that is stopped. Not reaped yet, so the PID is
            // still this child's.
            let _ = signal::kill(self.peer.pid, Signal::SIGKILL);
            let _ = self.wait(WaitPidFlag::empty());
        }
    }
}

/// What can go wrong with a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildError {
    /// It has failed, and has itself said why.
    Failed(Pid),
    /// It has ended without a word.
    Early(Pid),
    /// A signal has killed it.
    Killed {
        /// The child.
        pid: Pid,
        /// The signal.
        signal: Signal,
    },
    /// It does not do what it is waited for.
    Slow {
        /// The child.
        pid: Pid,
        /// What it should have become.
        state: &'static str,
        /// How long it was waited for.
        patience: Duration,
    },
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(pid) => write!(f, "the listener (PID {pid}) failed"),
            Self::Early(pid) => write!(f, "the listener (PID {pid}) ended before it was ready"),
            Self::Killed { pid, signal } => {
                write!(f, "the listener (PID {pid}) was killed by {signal}")
            }
            Self::Slow {
                pid,
                state,
                patience,
            } => {
                let seconds = patience.as_secs_f64();
                write!(
                    f,
                    "the listener (PID {pid}) was not {state} within {seconds} seconds; if it is \
                     only slow, wait longer with --timeout"
                )
            }
        }
    }
}

impl std::error::Error for ChildError {}

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Fork {
    /// The new one; with it comes its parent.
    Child(Rc<Peer>),
    /// The old one; with it comes its child.
    Parent(Child),
}

/// Makes a second process out of this one. It returns in both.
///
/// # Errors
/// Those of pipe(2) and fork(2): no more file descriptors, processes or memory to be had.
pub(crate) fn fork() -> Result<Fork, CallError> {
    let parent = getpid();
    let (child_hears, parent_tells) = channel()?;
    let (parent_hears, child_tells) = channel()?;

    // SAFETY: this program has one thread, so the child finds every lock free and all memory in
    // order, and may call whatever it likes.
    let fork = || unsafe { nix::unistd::fork() };
    let outcome = calls::made(fork, |_| "fork()".to_owned()).map_err(|error| match error.errno() {
        Errno::EAGAIN => error
            .advise("no more processes may be started: raise RLIMIT_NPROC (ulimit -u) or end some"),
        _ => error,
    });
    match outcome? {
        ForkResult::Child => {
            drop((parent_hears, parent_tells));
            survive_no_parent();
            differ_from_parent();
            let peer = Peer {
                pid: parent,
                hear: child_hears,
                tell: child_tells,
            };
            let peer = Rc::new(peer);
            // Never closed by hand: when the kernel closes these, this process is past being
            // stopped, so the parent, who sees it, will not wait long for it to end.
            std::mem::forget(Rc::clone(&peer));
            Ok(Fork::Child(peer))
        }
        ForkResult::Parent { child } => {
            drop((child_hears, child_tells));
            let peer = Peer {
                pid: child,
                hear: parent_hears,
                tell: parent_tells,
            };
            Ok(Fork::Parent(Child {
                peer: Rc::new(peer),
                reaped: false,
            }))
        }
    }
}

/// Ends this process at once; see _exit(2).
///
/// What exit(3) would do first is not for a forked child to do: it would write out copies of what
/// its parent has buffered, and call what its parent has registered. This program buffers and
/// registers nothing, so the parent has no need of it either.
pub fn end(status: u8) -> ! {
    // SAFETY: it does not return, and touches no memory. What had to be dropped has been dropped:
    // the caller has nothing left.
    unsafe { libc::_exit(status.into()) }
}

// Start-up work that the run does not need: loading libgcc_s, the shared library that unwinds a
// panicking stack. A release build does not unwind, yet the standard library refers to it. Linked
// statically, it need not be looked for, mapped and relocated at each start, which takes as long as
// a third of the whole story (`cargo bench`).
#[cfg(all(target_os = "linux", target_env = "gnu", not(debug_assertions)))]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
// SAFETY: nothing is declared here, so there is nothing that could be called wrongly.
unsafe extern "C" {}

/// A pipe: what is written into the second end is read from the first.
///
/// # Errors
/// Those of pipe(2): no more file descriptors to be had.
pub fn channel() -> Result<(OwnedFd, OwnedFd), CallError> {
    calls::made(pipe, |ends| match ends {
        Some((read, write)) => format!("pipe([{}, {}])", read.as_raw_fd(), write.as_raw_fd()),
        None => "pipe(…)".to_owned(),
    })
}

/// Reads one byte and no more; `None` at the end.
///
/// # Errors
/// Those of read(2).
pub fn read_byte(fd: BorrowedFd<'_>) -> nix::Result<Option<u8>> {
    let mut byte = [0];
    Ok((read(fd, &mut byte)? > 0).then_some(byte[0]))
}

/// How a process ended, as strace(1) writes it.
struct Status<'a>(&'a WaitStatus);

impl fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            WaitStatus::Exited(_, status) => {
                write!(f, "{{WIFEXITED(s) && WEXITSTATUS(s) == {status}}}")
            }
            WaitStatus::Signaled(_, signal, _) => {
                write!(f, "{{WIFSIGNALED(s) && WTERMSIG(s) == {signal}}}")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// Sees to it that this process, even when stopped, learns that its parent has died.
///
/// A running process learns it from its lifeline. A stopped one cannot look; SIGCONT wakes it, and
/// then it does. (On other systems than Linux a shell's job gets this SIGCONT anyway, when its
/// process group is orphaned.)
fn survive_no_parent() {
    #[cfg(target_os = "linux")]
    // It can only fail for a number that is no signal.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGCONT);
}

/// Makes this process's map of its memory differ from its parent's.
///
/// `fork` copies the map, and the kernel would fill both copies alike: parent and child would
/// attach a segment at the same address. That would be mere coincidence, but whoever watches could
/// take it for a rule. (Two programs that are strangers find it at different addresses anyway.)
fn differ_from_parent() {
    let (nowhere, page, unused) = (ptr::null_mut(), 1, libc::PROT_NONE);
    let private = libc::MAP_PRIVATE | libc::MAP_ANON;
    // SAFETY: the kernel chooses the address of this page, so it replaces nothing; nobody ever uses
    // it. If there is no room for it, there is none, and nothing is lost.
    unsafe { libc::mmap(nowhere, page, unused, private, -1, 0) };
}

/// Whether the process has certainly ended: there is none with this identifier, or only its exit
/// status is left.
pub fn is_gone(pid: Pid) -> bool {
    // 0 or less names no process; the kernel says 0 for a process that we cannot see from here
    // (pid_namespaces(7)).
    pid.as_raw() > 0 && (signal::kill(pid, None) == Err(Errno::ESRCH) || is_zombie(pid))
}

/// Whether the process has ended without having been reaped. Where the system does not say, it is
/// taken for alive.
fn is_zombie(pid: Pid) -> bool {
    fn ended(stat: &str) -> Option<bool> {
        // "PID (command) state …", where the command may contain anything, parentheses too; see
        // proc_pid_stat(5).
        let mut columns = stat.rsplit_once(") ")?.1.split(' ');
        let state = columns.next()?;
        // The state is that of the first thread, and others may live on without it.
        let threads: u32 = columns.nth(16)?.parse().ok()?;
        Some(matches!(state, "Z" | "X") && threads <= 1)
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| ended(&stat) == Some(true))
}

/// Makes sure that a process has a handler for SIGUSR1, which would kill it otherwise, and that we
/// may send it one. Where the system does not tell about handlers, it is believed to have one.
///
/// # Errors
/// Those of kill(2), or that there is no handler.
pub fn ensure_listening(listener: Pid) -> Result<()> {
    let advice = "start a listener (sigshm --listen) and use the PID it prints";
    let exists = || match signal::kill(listener, None) {
        Ok(()) if is_gone(listener) => Err(Errno::ESRCH),
        outcome => outcome,
    };
    calls::made(exists, |_| format!("kill({listener}, 0)"))
        .map_err(|error| error.advise(advice))?;
    match caught_by(listener) {
        Some(caught) if caught & 1 << (ANNOUNCEMENT as u32 - 1) == 0 => bail!(
            "PID {listener} has no handler for {ANNOUNCEMENT} (SigCgt in /proc/{listener}/status), \
             which would kill it or be ignored; {advice}"
        ),
        _ => Ok(()),
    }
}

/// The signals for which a process has handlers, signal 1 in the lowest bit; see
/// proc_pid_status(5).
fn caught_by(pid: Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))?;
    u64::from_str_radix(caught.trim(), 16).ok()
}
