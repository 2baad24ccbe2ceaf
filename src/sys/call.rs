//! What a process did, as typed data, and in the notation of strace(1).

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libc::{c_int, key_t, size_t};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

use super::answer::{Answer, Origin};

/// What a process did: a system call with its arguments, or a copy, which takes no system call.
#[derive(Clone, Debug)]
pub enum Call {
    Open(PathBuf),            // for reading
    Flock(c_int, c_int),      // descriptor, operation
    Sigaction(SigSet, usize), // a call for each of the signals; the handler's address
    Sigprocmask(SigmaskHow, SigSet),
    Pipe,
    Socketpair,
    Fork,
    Read(c_int),                           // descriptor to read one byte from
    Write(c_int, size_t),                  // descriptor, number of bytes
    Send(c_int, size_t),                   // the same
    Recv(c_int, size_t),                   // the same
    Poll(c_int, c_int, u32), // descriptor to read from, timeout in ms; how often: this is the last
    Pselect(Option<c_int>, Duration, u32), // descriptor to read from, timeout; how often
    Ftok(PathBuf, c_int),    // path, project
    Shmget(key_t, size_t, c_int), // key, size, flags
    Shmat(c_int, c_int),     // segment, flags
    Shmdt(usize),            // address
    IpcStat(c_int),          // shmctl: segment
    IpcRmid(c_int),          // shmctl: segment
    Nanosleep(Duration),     // between two looks at the same thing
    Kill(Pid, Option<Signal>), // without a signal it only checks the PID
    Waitpid(Pid, WaitPidFlag),
    Arrival(Signal, Origin, u32), // the handler has run, the last time with this; how often
    CopyIn(size_t, usize),        // bytes into the segment attached at this address
    CopyOut(size_t, usize),       // bytes out of it
}

impl fmt::Display for Call {
    /// The call and its arguments as strace(1) writes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}

impl Call {
    /// The call, with what the kernel has written where it was told.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, answer: Option<&Answer>) -> fmt::Result {
        let told = match answer {
            Some(Answer::Ends(ends)) => format!("{ends:?}"),
            Some(Answer::Byte(byte)) => format!("\"{}\"", byte.as_slice().escape_ascii()),
            Some(Answer::Child(WaitStatus::Exited(_, status))) => {
                format!("[{{WIFEXITED(s) && WEXITSTATUS(s) == {status}}}]")
            }
            Some(Answer::Child(WaitStatus::Signaled(_, signal, _))) => {
                format!("[{{WIFSIGNALED(s) && WTERMSIG(s) == {signal}}}]")
            }
            _ => "…".to_owned(),
        };
        match self {
            Self::Open(path) => {
                write!(f, "open({}, O_RDONLY|O_NONBLOCK|O_CLOEXEC)", quoted(path))
            }
            Self::Flock(fd, libc::LOCK_EX) => write!(f, "flock({fd}, LOCK_EX)"),
            Self::Flock(fd, _) => write!(f, "flock({fd}, LOCK_EX|LOCK_NB)"),
            Self::Sigaction(signals, handler) => {
                let handler = match *handler {
                    libc::SIG_DFL => "SIG_DFL".to_owned(),
                    libc::SIG_IGN => "SIG_IGN".to_owned(),
                    address => format!("{address:#x}"),
                };
                let signals = match signals.iter().collect::<Vec<_>>()[..] {
                    [signal] => signal.to_string(),
                    _ => names(signals),
                };
                write!(f, "sigaction({signals}, {{sa_handler={handler}, …}}, …)")
            }
            Self::Sigprocmask(how, set) => write!(f, "sigprocmask({how:?}, {}, …)", names(set)),
            Self::Pipe => write!(f, "pipe({told})"),
            Self::Socketpair => write!(f, "socketpair(AF_UNIX, SOCK_STREAM, 0, {told})"),
            Self::Fork => f.write_str("fork()"),
            Self::Read(fd) => write!(f, "read({fd}, {told}, 1)"),
            Self::Write(fd, bytes) => write!(f, "write({fd}, …, {bytes})"),
            Self::Send(fd, bytes) => write!(f, "send({fd}, …, {bytes}, 0)"),
            Self::Recv(fd, bytes) => write!(f, "recv({fd}, …, {bytes}, MSG_WAITALL)"),
            Self::Poll(fd, timeout, _) => {
                write!(f, "poll([{{fd={fd}, events=POLLIN}}], 1, {timeout})")
            }
            Self::Pselect(fd, time, _) => {
                let (width, time) = (fd.map_or(0, |fd| fd + 1), timespec(time));
                write!(f, "pselect({width}, {:?}, NULL, NULL, {time}, [])", fd.as_slice())
            }
            Self::Ftok(path, project) => write!(f, "ftok({}, {project})", quoted(path)),
            Self::Shmget(key, size, 0) => write!(f, "shmget(0x{key:08x}, {size}, 0)"),
            Self::Shmget(key, size, flags) => {
                write!(f, "shmget(0x{key:08x}, {size}, IPC_CREAT|IPC_EXCL|0{:o})", flags & 0o777)
            }
            Self::Shmat(id, 0) => write!(f, "shmat({id}, NULL, 0)"),
            Self::Shmat(id, _) => write!(f, "shmat({id}, NULL, SHM_RDONLY)"),
            Self::Shmdt(address) => write!(f, "shmdt({address:#x})"),
            Self::IpcStat(id) => write!(f, "shmctl({id}, IPC_STAT, …)"),
            Self::IpcRmid(id) => write!(f, "shmctl({id}, IPC_RMID, NULL)"),
            Self::Nanosleep(time) => write!(f, "nanosleep({}, …)", timespec(time)),
            Self::Kill(pid, Some(signal)) => write!(f, "kill({pid}, {signal})"),
            Self::Kill(pid, None) => write!(f, "kill({pid}, 0)"),
            Self::Waitpid(pid, flags) => {
                let flags = if flags.is_empty() { "0" } else { "WNOHANG" };
                write!(f, "waitpid({pid}, {told}, {flags})")
            }
            Self::Arrival(signal, origin, _) => write!(f, "--- {signal} {{{origin}}} ---"),
            Self::CopyIn(bytes, address) => write!(f, "copied {bytes} bytes to {address:#x}"),
            Self::CopyOut(bytes, address) => write!(f, "copied {bytes} bytes from {address:#x}"),
        }
    }
}

fn timespec(time: &Duration) -> String {
    format!("{{tv_sec={}, tv_nsec={}}}", time.as_secs(), time.subsec_nanos())
}

/// A set of signals as strace(1) writes it. Of many, only the first three are named.
fn names(set: &SigSet) -> String {
    let mut names: Vec<&str> = set.iter().map(|signal| &signal.as_str()[3..]).collect();
    if names.len() > 4 {
        names.splice(3.., ["…"]);
    }
    format!("[{}]", names.join(" "))
}

/// The longest path that is shown whole, in characters, its quotation marks included.
const LONGEST_PATH: usize = 60;

/// A path in quotation marks, as errors show it; without its middle if it is very long.
pub fn quoted(path: &Path) -> String {
    shortened(&format!("{path:?}"), LONGEST_PATH)
}

/// The text, without its middle if it has more than `room` characters.
pub fn shortened(text: &str, room: usize) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    if letters.len() > room {
        // The end of a path says more than its beginning.
        let (head, tail) = (room / 3, room - room / 3 - 1);
        letters.splice(head..letters.len() - tail, ['…']);
    }
    letters.into_iter().collect()
}
