//! Two processes out of one: fork, what connects the two, and reaping.
//!
//! Each process holds the reading end of a pipe whose only writing end the other one holds. (Or
//! each holds one of two connected sockets.) A byte from the child says "ready". The *end of file*
//! says that the other process has ended, in whatever way: the kernel closes what it had open.
//!
//! # The order, and why
//! 1. The pipes are made before `fork`, so that both processes have them.
//! 2. Right after it, each closes the ends that belong to the other. A process that kept the
//!    other's writing end open would never see the end of file.
//! 3. The parent waits for the end of file, because waitpid(2) has no timeout, and then reaps the
//!    child. Until then the child is a *zombie*: the kernel keeps its exit status.
//! 4. No child outlives its parent. The parent's handlers kill it ([`cleanup`]); after a SIGKILL,
//!    the kernel does (on Linux, just after it has closed the pipe), or the pipe tells it.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use std::{fmt, thread};

use libc::c_int;
use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigmaskHow, Signal};
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid, write};

use super::trace::{self, Call};
use super::{Deadline, Error, SelfContained, cleanup, fd, proc, signal};

/// Which of the two processes this is, and what it has of the other one.
#[derive(Debug)]
pub enum Fork {
    Child(Parent),
    Parent(Child),
}

/// Makes a second process out of this one, and returns in both. `name` is what errors call the
/// child. Fails as pipe(2) and fork(2) do: no more descriptors, processes or memory are to be had.
///
/// In the child, `notification` is blocked. From then on, a signal that ends the parent also kills
/// the child and removes the segment that the parent creates ([`cleanup`]).
pub(crate) fn fork(name: &'static str, notification: Signal) -> Result<Fork, Error> {
    let (child_reads, parent_writes) = fd::new_pipe()?;
    let (parent_reads, child_writes) = fd::new_pipe()?;
    let pipe = parent_writes.as_raw_fd();
    let parents = End { reads: parent_reads, writes: Some(parent_writes) };
    let childs = End { reads: child_reads, writes: Some(child_writes) };
    let mut mask = cleanup::block(Some(notification))?;
    let forked = fork_with_ends(name, parents, childs);
    match &forked {
        Ok(Fork::Parent(child)) => {
            cleanup::remember_child(child.pid, pipe);
            cleanup::install_handlers(mask)?;
        }
        Ok(Fork::Child(_)) => mask.add(notification),
        Err(_) => {}
    }
    signal::change_mask(SigmaskHow::SIG_SETMASK, mask)?;
    forked
}

/// As [`fork`], but the two are connected by a pair of sockets, and the parent has no handlers.
/// Fails as socketpair(2) and fork(2) do.
pub(crate) fn fork_with_sockets(name: &'static str) -> Result<Fork, Error> {
    let (parents, childs) = fd::new_socket_pair()?;
    fork_with_ends(name, End { reads: parents, writes: None }, End { reads: childs, writes: None })
}

/// One process's end of the connection. A socket is for reading and writing.
#[derive(Debug)]
struct End {
    reads: OwnedFd,
    writes: Option<OwnedFd>,
}

fn fork_with_ends(name: &'static str, parents: End, childs: End) -> Result<Fork, Error> {
    let parent = getpid();
    // SAFETY: nothing in this crate starts a thread, and its callers have one only (README.md). So
    // the child finds every lock free and all memory in order, and may call what it likes. (If a
    // preloaded library has a thread, the C library keeps its own locks in order, malloc's too.)
    let fork = || {
        let pid = Errno::result(unsafe { libc::fork() })?;
        #[cfg(target_os = "linux")]
        if super::USES_LINUX && pid == 0 {
            // First of all: until then it would outlive its parent if it were stopped. SIGKILL
            // also ends a process that is stopped, or blocked in a write that nobody reads.
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        }
        Ok(pid)
    };
    let pid = Pid::from_raw(trace::traced(|| Call::Fork, fork)?);
    if pid.as_raw() != 0 {
        return Ok(Fork::Parent(Child { name, pid, end: parents, reaped: false }));
    }
    drop(parents);
    // If the parent ended before that call, nobody sends the signal.
    let pid = parent_or_exit(parent);
    Ok(Fork::Child(Parent { pid, end: ManuallyDrop::new(childs) }))
}

/// The PID of the parent, as this process sees it: `parent`, or 0 if that is in another PID
/// namespace. If the parent has ended, nobody waits for the outcome, and this process ends too: it
/// has got another parent then. See getppid(2).
pub fn parent_or_exit(parent: Pid) -> Pid {
    match getppid() {
        pid if pid == parent || pid.as_raw() == 0 => pid,
        pid if pid.as_raw() < 0 => parent, // a policy refuses to tell
        _ => exit(1),
    }
}

/// The parent, as its child sees it. Its descriptor's end of file says that it has ended.
#[derive(Debug)]
pub struct Parent {
    pid: Pid,
    // Never closed by hand: its end of file says that this process has really ended.
    end: ManuallyDrop<End>,
}

impl Parent {
    /// Its process identifier; 0 if it is in another PID namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Tells the parent that this process is ready: one byte. Fails as write(2) does, but not if
    /// the parent has ended: the next wait sees that.
    pub fn notify_ready(&self) -> Result<(), Error> {
        let fd = self.end.writes.as_ref().unwrap_or(&self.end.reads);
        let written = trace::traced(|| Call::Write(fd.as_raw_fd(), 1), || write(fd, b"!"));
        // If both processes share a processor, the parent can have it now.
        thread::yield_now();
        match written {
            Err(Error::Call(_, Errno::EPIPE)) => Ok(()),
            written => written.map(drop),
        }
    }

    /// Waits for a value that the parent sends through the socket; `None` if the parent has ended
    /// first. Fails as recv(2) does.
    pub fn receive<T: SelfContained>(&self) -> Result<Option<T>, Error> {
        fd::receive_value(&self.end.reads)
    }
}

impl AsFd for Parent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.reads.as_fd()
    }
}

/// A child that has not been reaped yet. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Child {
    name: &'static str,
    pid: Pid,
    end: End,
    reaped: bool,
}

impl Child {
    /// Its process identifier.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until the child has said that it is ready. Fails with [`Error::TimedOut`], or how the
    /// child has ended, or as poll(2) and read(2) do.
    pub fn wait_until_ready(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        self.wait_readable("was not ready", timeout, || Ok(()))?;
        let fd = &self.end.reads;
        if trace::traced(|| Call::Read(fd.as_raw_fd()), || fd::read_byte(fd))?.is_some() {
            return Ok(());
        }
        self.reap()?;
        Err(Error::Exited(format!("{self} ended before it was ready")))
    }

    /// Sends a value to the child through the socket. Fails as send(2) does, but not if the child
    /// has ended: [`wait`](Self::wait) says how.
    pub fn send<T: SelfContained>(&self, value: &T) -> Result<(), Error> {
        fd::send_value(&self.end.reads, value)
    }

    /// Waits until the child has ended, and reaps it. Fails with [`Error::TimedOut`], or with
    /// [`Error::Failed`] or [`Error::Killed`] if the child did not succeed, or as poll(2) and
    /// `check` do. `check` says why it is no use to wait; it is called at the timeout, or, if there
    /// is none, once a second.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        check: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.wait_readable("has not ended", timeout, check)?;
        self.reap()
    }

    fn wait_readable(
        &self,
        what: &str,
        timeout: Option<Duration>,
        check: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut deadline = Deadline::after(timeout, &format!("{self} {what}"));
        match fd::wait_readable(self.end.reads.as_fd(), &mut deadline, &check) {
            Err(Error::TimedOut(what)) => {
                check()?;
                Err(proc::with_hold(Error::TimedOut(what), self.pid))
            }
            outcome => outcome,
        }
    }

    /// Reaps the child, which is about to end.
    fn reap(&mut self) -> Result<(), Error> {
        cleanup::forget_child();
        self.reaped = true;
        match self.waitpid(WaitPidFlag::empty())? {
            WaitStatus::Exited(_, 0) => Ok(()),
            WaitStatus::Signaled(_, signal, _) => Err(Error::Killed(self.to_string(), signal)),
            _ => Err(Error::Failed(self.to_string())),
        }
    }

    fn waitpid(&self, flags: WaitPidFlag) -> Result<WaitStatus, Error> {
        trace::traced(|| Call::Waitpid(self.pid, flags), || waitpid(self.pid, Some(flags)))
    }

    /// Reaps the child, although the kernel has refused to kill it: it also ends when its parent's
    /// end of the connection is closed, unless it is stopped or blocked. So this waits for a second
    /// and no longer. Fails if the child may still run.
    fn end_without_kill(&mut self) -> Result<(), Error> {
        cleanup::forget_child();
        self.end.writes = None;
        let _ = shutdown(self.end.reads.as_raw_fd(), Shutdown::Both); // if it is a socket
        let mut deadline = Deadline::after(Some(cleanup::WITHOUT_KILL), "");
        while self.waitpid(WaitPidFlag::WNOHANG)? == WaitStatus::StillAlive {
            deadline.check()?;
            let _ = trace::sleep(cleanup::INTERVAL); // if that is refused, it only looks more often
        }
        Ok(())
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (PID {})", self.name, self.pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // SIGKILL also ends a stopped child. It is not reaped yet, so the PID is still its own.
        if let Err(error) = signal::send(self.pid, Signal::SIGKILL) {
            let ended = self.end_without_kill();
            let what = if ended.is_ok() { "has ended by itself" } else { "may still run" };
            return cleanup::failed(format!("{error}; {self} {what}"));
        }
        // But something may keep it from ending: a debugger, or a frozen control group.
        let what = "was killed, and has not ended";
        match self.wait_readable(what, Some(cleanup::AFTER_KILL), || Ok(())) {
            Err(error @ (Error::TimedOut(_) | Error::Held(_))) => {
                cleanup::failed(error.to_string())
            }
            _ => drop(self.reap()),
        }
    }
}

/// The processor time that this process has used, in user mode and in the kernel; see getrusage(2).
/// (0 if a policy refuses to tell.)
pub fn processor_time() -> Duration {
    let used = getrusage(UsageWho::RUSAGE_SELF).map(|it| it.user_time() + it.system_time());
    used.map_or(Duration::ZERO, |used| Duration::from_micros(used.num_microseconds() as u64))
}

/// Ends this process at once; see _exit(2). (exit(3) would first write out buffers, which in a
/// forked child are copies of its parent's.)
pub fn exit(status: c_int) -> ! {
    if cfg!(coverage) {
        // Its profile is written by one of the functions that exit(3) runs.
        std::process::exit(status);
    }
    // SAFETY: it does not return, and touches no memory.
    unsafe { libc::_exit(status) }
}
