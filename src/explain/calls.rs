//! A call as a line: not longer than there is room, and with its manual page.

use std::path::{Path, PathBuf};

use crate::sys::quoted;
use crate::sys::trace::{Call, Record, shortened};

/// How many characters have room beside the name of the process.
pub(super) const ROOM: usize = 66;

/// A call in the notation of strace(1), cut to what the lessons are about: `…` stands for the rest.
pub(super) fn brief(record: &Record, has_written: bool) -> String {
    let mut short = record.clone();
    if let Call::IpcStat(_, Some(fields)) = &mut short.call {
        // They ask whose the segment is; but a sender that has written, who was there last.
        let asked = if has_written { "shm_lpid" } else { "shm_cpid" };
        fields.retain(|(name, _)| *name == asked || *name == "shm_nattch");
    }
    let excess = short.to_string().chars().count().saturating_sub(ROOM);
    let cut = |path: &Path| {
        // Without the quotation marks.
        let shown = quoted(path).chars().count() - 2;
        PathBuf::from(shortened(&path.to_string_lossy(), shown.saturating_sub(excess).max(8)))
    };
    match &mut short.call {
        Call::Open(path) | Call::Ftok(path, _) if excess > 0 => *path = cut(path),
        _ => {}
    }
    match short.result {
        Err(errno) if excess > 0 => format!("{} = -1 {errno:?} (…)", short.call),
        _ => short.to_string(),
    }
}

/// The manual page of a call.
pub(super) fn page(call: &Call) -> Option<&'static str> {
    Some(match call {
        Call::Open(_) => "open(2)",
        Call::Flock(..) => "flock(2)",
        Call::Sigaction(..) => "sigaction(2)",
        Call::Sigprocmask(..) => "sigprocmask(2)",
        Call::Pipe(_) => "pipe(2)",
        Call::Socketpair(_) => "socketpair(2)",
        Call::Fork => "fork(2)",
        Call::Read(..) => "read(2)",
        Call::Write(..) => "write(2)",
        Call::Send(..) => "send(2)",
        Call::Recv(..) => "recv(2)",
        Call::Poll(..) => "poll(2)",
        Call::Pselect(..) => "pselect(2)",
        Call::Ftok(..) => "ftok(3)",
        Call::Shmget(..) => "shmget(2)",
        Call::Shmat(..) => "shmat(2)",
        Call::Shmdt(_) => "shmdt(2)",
        Call::IpcStat(..) | Call::IpcRmid(_) => "shmctl(2)",
        Call::Nanosleep(_) => "nanosleep(2)",
        Call::Kill(..) => "kill(2)",
        Call::Waitpid(..) => "waitpid(2)",
        Call::Arrival(..) => "signal(7)",
        Call::CopyIn(..) | Call::CopyOut(..) => return None,
    })
}

/// The pages that the other process names from the fork on: of the calls that both make, the sender
/// makes these first, and the listener is the first to detach.
pub(super) fn named_by_the_other(is_child: bool) -> &'static [&'static str] {
    match is_child {
        true => &["fork(2)", "ftok(3)", "shmget(2)", "shmat(2)", "shmctl(2)"],
        false => &["shmdt(2)"],
    }
}
