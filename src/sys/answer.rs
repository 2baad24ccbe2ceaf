//! What the kernel tells, as typed data: its answers, a segment's status, a signal's origin.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{c_int, c_void, uid_t};
use nix::sys::signal::SigSet;
use nix::sys::wait::WaitStatus;
use nix::unistd::{Pid, Uid};

/// What the kernel answered: what the call returned, and what it wrote where it was told.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Number(i64),       // an address too
    Ends([c_int; 2]),  // the two descriptors of a pipe or of connected sockets
    Byte(Option<u8>),  // the one that was read; none at the end
    Status(Status),    // of a segment
    Child(WaitStatus), // how it has ended
}

/// How the answer follows from what the caller of a system call gets.
macro_rules! answers {
    ($($type:ty: $it:ident => $answer:expr;)+) => {$(
        impl From<&$type> for Answer {
            fn from($it: &$type) -> Self {
                $answer
            }
        }
    )+};
}

answers! {
    (): _it => Self::Number(0);
    c_int: it => Self::Number((*it).into());
    i64: it => Self::Number(*it); // a key, on the BSDs
    SigSet: _it => Self::Number(0);
    usize: it => Self::Number(*it as i64);
    *mut c_void: it => Self::Number(it.addr() as i64);
    File: it => Self::Number(it.as_raw_fd().into());
    (OwnedFd, OwnedFd): it => Self::Ends([it.0.as_raw_fd(), it.1.as_raw_fd()]);
    Option<u8>: it => Self::Byte(*it);
    Status: it => Self::Status(*it);
    WaitStatus: it => Self::Child(*it);
}

impl Answer {
    /// What the call returned.
    pub fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            Self::Ends(_) | Self::Status(_) => 0,
            Self::Byte(byte) => byte.is_some().into(),
            Self::Child(status) => status.pid().map_or(0, Pid::as_raw).into(),
        }
    }
}

/// What the kernel knows of a segment, as `shmctl(IPC_STAT)` tells it; see shmctl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The segment's identifier.
    pub id: c_int,
    /// The permissions, as in chmod(2).
    pub mode: u32,
    /// Whether it has been removed, and is there only for those who are attached. `false` where the
    /// system does not tell.
    pub removed: bool,
    /// The size in bytes, as asked for at its creation.
    pub size: usize,
    /// How many attachments there are now, in all processes together.
    pub attached: u64,
    /// The user who owns it.
    pub owner: Uid,
    /// The user who created it.
    pub creator: Uid,
    /// The process that created it.
    pub creator_pid: Pid,
    /// The process that attached or detached it last; 0 if none has.
    pub last_pid: Pid,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, size, mode, attached, owner, creator, creator_pid, .. } = self;
        let unit = if *size == 1 { "byte" } else { "bytes" };
        write!(
            f,
            "segment {id} ({size} {unit}, mode {mode:04o}, {attached} attached, owned by uid \
             {owner}, created by uid {creator} in PID {creator_pid})"
        )
    }
}

/// What the kernel says of a signal's origin; see sigaction(2), `siginfo_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// How it was sent (`si_code`).
    pub code: c_int,
    /// The process that sent it; 0 if none did, or one that cannot be seen from here.
    pub pid: Pid,
    /// That process's user.
    pub user: uid_t,
}

/// The codes with which a process sends a signal. Only with these is its PID there. (The codes of
/// the other systems differ. Without a process, the PID is 0 there.)
const CODES: &[(c_int, &str)] = match () {
    #[cfg(target_os = "linux")]
    () if super::USES_LINUX => {
        &[(libc::SI_USER, "SI_USER"), (libc::SI_QUEUE, "SI_QUEUE"), (libc::SI_TKILL, "SI_TKILL")]
    }
    () => &[],
};

impl Origin {
    /// Whether a signal with this code was sent by a process. A handler may call it.
    pub(super) fn is_process(code: c_int) -> bool {
        CODES.is_empty() || CODES.iter().any(|(it, _)| *it == code)
    }
}

impl fmt::Display for Origin {
    /// The fields as strace(1) writes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, pid, user } = self;
        match CODES.iter().find(|(it, _)| it == code) {
            Some((_, name)) => write!(f, "si_code={name}, si_pid={pid}, si_uid={user}"),
            None => write!(f, "si_code={code}, …"),
        }
    }
}
