//! A call as a text, and its manual page.

use crate::sys::trace::{Answer, Call, Record};

/// A call in the notation of strace(1). `…` stands for what the lessons are not about.
pub(super) fn text(record: &Record, has_written: bool) -> String {
    let (Call::IpcStat(id), Ok(Answer::Status(status))) = (&record.call, &record.result) else {
        return record.to_string();
    };
    // They ask whose the segment is; but a sender that has written, who was there last.
    let (field, pid) = match has_written {
        true => ("shm_lpid", status.last_pid),
        false => ("shm_cpid", status.creator_pid),
    };
    format!("shmctl({id}, IPC_STAT, {{{field}={pid}, shm_nattch={}, …}}) = 0", status.attached)
}

/// The manual page of what was recorded, if there is one. (Two processes return from fork, but only
/// one has called it.)
pub(super) fn page(record: &Record) -> &'static str {
    match (&record.call, &record.result) {
        (Call::Fork, Ok(answer)) if answer.number() == 0 => "",
        (Call::Open(_), _) => "open(2)",
        (Call::Flock(..), _) => "flock(2)",
        (Call::Sigaction(..), _) => "sigaction(2)",
        (Call::Sigprocmask(..), _) => "sigprocmask(2)",
        (Call::Pipe, _) => "pipe(2)",
        (Call::Socketpair, _) => "socketpair(2)",
        (Call::Fork, _) => "fork(2)",
        (Call::Read(_), _) => "read(2)",
        (Call::Write(..), _) => "write(2)",
        (Call::Send(..), _) => "send(2)",
        (Call::Recv(..), _) => "recv(2)",
        (Call::Poll(..), _) => "poll(2)",
        (Call::Pselect(..), _) => "pselect(2)",
        (Call::Ftok(..), _) => "ftok(3)",
        (Call::Shmget(..), _) => "shmget(2)",
        (Call::Shmat(..), _) => "shmat(2)",
        (Call::Shmdt(_), _) => "shmdt(2)",
        (Call::IpcStat(_) | Call::IpcRmid(_), _) => "shmctl(2)",
        (Call::Nanosleep(_), _) => "nanosleep(2)",
        (Call::Kill(..), _) => "kill(2)",
        (Call::Waitpid(_), _) => "waitpid(2)",
        (Call::Arrival(..), _) => "signal(7)",
        (Call::CopyIn(..) | Call::CopyOut(..), _) => "",
    }
}
