//! Where a signal came from.

use std::fmt;

use libc::{c_int, uid_t};
use nix::unistd::Pid;

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

/// The codes with which a process sends a signal. Only with these is its PID there.
#[cfg(target_os = "linux")]
const CODES: &[(c_int, &str)] =
    &[(libc::SI_USER, "SI_USER"), (libc::SI_QUEUE, "SI_QUEUE"), (libc::SI_TKILL, "SI_TKILL")];
/// The codes of the other systems differ. Without a process, the PID is 0 there.
#[cfg(not(target_os = "linux"))]
const CODES: &[(c_int, &str)] = &[];

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
