//! What can go wrong, in words: the call with its arguments, the errno, and the likely cause.

use std::{fmt, io};

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::call::Call;
use super::path;
use super::proc::Proc;
use super::status::{self, Denial};

/// The cause where users, modes and files do not explain that a call is refused.
pub(super) const POLICY: &str = "a security policy forbids this call (seccomp, Landlock, \
    AppArmor or SELinux): run outside of the sandbox, or change the policy";

/// The same where nobody can tell whether users explain it.
const USER_OR_POLICY: &str = "it is another user's, or a policy forbids this call (seccomp)";

/// Why something could not be done.
#[derive(Debug)]
pub enum Error {
    /// This system call failed with this errno(3). Shown as `shmget(0x0100c01a, 1024, 0) failed:
    /// Permission denied (EACCES)`, and the likely cause where there is one.
    Call(Box<Failure>, Errno),
    /// There is a segment at the key already, and it must not be removed. That may pass.
    Occupied { what: String, may_pass: bool },
    /// What was waited for did not happen in time.
    TimedOut(String),
    /// The same, because something holds the other process (a signal, a debugger).
    Held(String),
    /// What was waited for cannot happen any more.
    Unreachable(String),
    /// There is a segment, but not one that this reader takes.
    Rejected(String),
    /// There is a segment, and nobody is attached to it: not yet, or its creator has just ended.
    Unattached(String),
    /// The other process has ended, too early.
    Exited(String),
    /// The child failed: its exit status is not 0. It has said why itself.
    Failed(String),
    /// This signal killed the child.
    Killed(String, Signal),
    /// What the caller has given cannot be used for this. No system call was made.
    Unusable(String),
    /// This path, or what stands there, cannot be used for this.
    UnusableFile(String),
}

/// A call that has failed, and the likely cause, as far as it can be told.
#[derive(Debug)]
pub struct Failure {
    pub call: Call,
    cause: Option<String>,
}

impl Error {
    /// The error of a call that has failed. (The cause is looked for now: later, the other process
    /// or the file may be another one.)
    pub fn call(call: Call, errno: Errno) -> Self {
        let cause = likely_cause(&call, errno);
        Self::Call(Box::new(Failure { call, cause }), errno)
    }

    /// The error number, if it was a system call that failed.
    pub fn errno(&self) -> Option<Errno> {
        if let Self::Call(_, errno) = self { Some(*errno) } else { None }
    }

    /// Whether a reader has found nothing that it may take; something may be there later.
    pub fn is_absence(&self) -> bool {
        let absent = [Errno::ENOENT, Errno::ENOTDIR, Errno::EACCES, Errno::EINVAL, Errno::EIDRM];
        matches!(self, Self::Rejected(_) | Self::Unattached(_))
            || self.errno().is_some_and(|it| absent.contains(&it))
    }

    /// Whether there is no such segment any more: it has been removed.
    pub fn is_removed(&self) -> bool {
        matches!(self.errno(), Some(Errno::EINVAL | Errno::EIDRM))
    }

    /// Whether there is no such process any more.
    pub fn is_exited(&self) -> bool {
        matches!(self, Self::Exited(_)) || self.errno() == Some(Errno::ESRCH)
    }
}

/// The errno of an error of the standard library.
pub(super) fn errno(error: io::Error) -> Errno {
    Errno::try_from(error).unwrap_or(Errno::EINVAL)
}

/// The error of a call that is no part of the record.
pub(super) fn untraced(call: &str, errno: Errno) -> Error {
    let cause = if is_refusal(errno) { format!("; {POLICY}") } else { String::new() };
    Error::Unusable(format!("{call} failed: {} ({errno:?}){cause}", errno.desc()))
}

/// Whether a security policy may have answered so.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS)
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(failure, errno) => {
                let Failure { call, cause } = &**failure;
                write!(f, "{call} failed: {} ({errno:?})", errno.desc())?;
                cause.as_ref().map_or(Ok(()), |cause| write!(f, "; {cause}"))
            }
            Self::Unattached(segment) => write!(f, "{segment}: nobody is attached to it yet"),
            Self::Failed(child) => write!(f, "{child} failed"),
            Self::Killed(child, signal) => write!(f, "{child} was killed by {signal}"),
            Self::Occupied { what, .. }
            | Self::TimedOut(what)
            | Self::Held(what)
            | Self::Unreachable(what)
            | Self::Rejected(what)
            | Self::Exited(what)
            | Self::Unusable(what)
            | Self::UnusableFile(what) => f.write_str(what),
        }
    }
}

/// The likely cause, and what to do. For the limits see the calls' pages and proc_sys_kernel(5).
fn likely_cause(call: &Call, errno: Errno) -> Option<String> {
    let cause = match (call, errno) {
        (Call::IpcRmid(id), _) => {
            let policy = if is_refusal(errno) { format!("{POLICY}; ") } else { String::new() };
            return Some(format!("{policy}segment {id} is left: ipcrm -m {id} removes it"));
        }
        // For these one has to look at the system.
        (Call::Open(path) | Call::Ftok(path, _), Errno::ENOENT) => {
            return Some(path::why_missing(path));
        }
        (Call::Open(_), Errno::EWOULDBLOCK) => {
            "another process has a lease on the file (fcntl(2), F_SETLEASE)"
        }
        (Call::Open(path), Errno::EACCES) => return path::why_denied(path, true),
        (Call::Ftok(path, _), Errno::EACCES) => return path::why_denied(path, false),
        // Only our own child is ever killed.
        (Call::Kill(_, Some(Signal::SIGKILL)), Errno::EPERM) => POLICY,
        (Call::Kill(pid, _), Errno::EPERM) => {
            match Proc::ours().and_then(|proc| proc.users_allow_signal(*pid)) {
                Ok(true) => POLICY,
                Ok(false) => "it is another user's: run both as one user",
                Err(_) => USER_OR_POLICY,
            }
        }
        (Call::IpcStat(id), Errno::EACCES) => match status::denial(*id) {
            Denial::Anothers => return None, // the caller says whose it is
            Denial::Mode => "its mode does not let its owner read it",
            Denial::Policy => POLICY,
            Denial::Unknown => USER_OR_POLICY,
        },
        (_, Errno::EMFILE) | (Call::Poll(..), Errno::EINVAL) => {
            "no more files may be opened: raise RLIMIT_NOFILE (ulimit -n)"
        }
        (Call::Pipe, Errno::ENFILE) => {
            "the whole system may open no more files (fs.file-max), or this user's pipes may take \
             no more memory (fs.pipe-user-pages-hard): raise the limit (sysctl)"
        }
        (_, Errno::ENFILE) => "the whole system may open no more files: raise fs.file-max (sysctl)",
        (Call::Fork, Errno::ENOMEM) => {
            "not enough memory: free some; or the first process of this PID namespace has ended"
        }
        (_, Errno::ENOMEM) => "not enough memory: free some, or raise RLIMIT_AS (ulimit -v)",
        (Call::Fork, Errno::EAGAIN) => {
            "no more processes may be started: end some, or raise the limit, which may be this \
             user's (RLIMIT_NPROC, ulimit -u), the control group's (pids.max) or the system's \
             (kernel.threads-max, kernel.pid_max)"
        }
        (Call::Sigaction(signals, _), Errno::EINVAL)
            if signals.contains(Signal::SIGKILL) || signals.contains(Signal::SIGSTOP) =>
        {
            "no process may catch SIGKILL or SIGSTOP: use another signal (kill -l)"
        }
        (Call::Shmat(..) | Call::IpcStat(_), Errno::EINVAL | Errno::EIDRM) => {
            "somebody else has removed the segment"
        }
        (Call::Shmget(_, _, 0), Errno::ENOENT) => {
            "no segment is at this key: the file is not the sender's or has been replaced, or the \
             segment has been removed, or the sender is in another IPC namespace"
        }
        (Call::Shmget(_, _, 0), Errno::EINVAL) => {
            "the segment at this key is smaller, so it is not one of this program's"
        }
        (Call::Shmget(..), Errno::ENOSPC) => {
            "the system may have no more segments (kernel.shmmni) or no more pages in them \
             (kernel.shmall): remove those that nobody needs (ipcs -m, ipcrm -m ID) or raise the \
             limit (sysctl)"
        }
        (Call::Shmget(..), Errno::EINVAL) => "the size may exceed kernel.shmmax: raise it (sysctl)",
        (Call::Shmget(..), Errno::ENOSYS) => {
            "this kernel has no System V IPC (CONFIG_SYSVIPC), or a policy hides it (seccomp): run \
             on another kernel, or outside of the sandbox"
        }
        (Call::Flock(..), Errno::EBADF) => {
            "on NFS an exclusive lock needs a file that is open for writing: use a local file"
        }
        (Call::Flock(..), Errno::ENOLCK) => {
            "the kernel has no memory for one more lock, or the file's server has no locks"
        }
        (Call::Write(1, _), Errno::ENOSPC | Errno::EDQUOT) => "make room for standard output",
        (Call::Write(1, _), Errno::EFBIG) => {
            "make room for standard output, or raise RLIMIT_FSIZE (ulimit -f)"
        }
        (Call::Write(1, _), Errno::EBADF) => "standard output must be open for writing",
        (Call::Write(1, _), Errno::EPERM) => {
            "standard output is sealed (memfd_create(2)), or a policy forbids this call (seccomp)"
        }
        (Call::Socketpair, Errno::EAFNOSUPPORT) => {
            "this kernel has no Unix sockets (CONFIG_UNIX), or a policy forbids them (seccomp)"
        }
        (_, Errno::ENOSYS) => {
            "this kernel does not have this call, or a policy hides it (seccomp): run on another \
             kernel, or outside of the sandbox"
        }
        _ if is_refusal(errno) => POLICY,
        _ => return None,
    };
    Some(cause.to_owned())
}
