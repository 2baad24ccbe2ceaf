//! What is recorded of a call: its text, its manual page, its event in the timeline.

use nix::sys::wait::WaitStatus;

use super::entry::{Kind, Known};
use crate::step::Who;
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
        (Call::Waitpid(..), _) => "waitpid(2)",
        (Call::Arrival(..), _) => "signal(7)",
        (Call::CopyIn(..) | Call::CopyOut(..), _) => "",
    }
}

/// The event of a call, and what crosses then; most calls have none.
pub(super) fn event(record: &Record, known: &Known) -> Option<(String, Kind, String)> {
    use Kind::{Event, ToListener, ToSender};
    use Who::{Listener, Sender};

    let answer = record.result.as_ref().ok()?;
    let number = answer.number();
    let segment = format!("segment {}", known.segment.unwrap_or_default());
    let (what, kind, crosses) = match (known.who, &record.call, answer) {
        (Sender, Call::Fork, _) => (&*format!("fork() = {number}"), ToListener, "fork"),
        (Listener, Call::Fork, _) => ("fork() = 0", Event, ""),
        (Listener, Call::Sigaction(_, libc::SIG_DFL | libc::SIG_IGN), _) => return None,
        (Listener, Call::Sigaction(..), _) => ("registers its handler", Event, ""),
        (Listener, Call::Write(..), _) => ("says: ready", ToSender, "ready"),
        (Sender, Call::Read(_), Answer::Byte(Some(_))) => ("reads: ready", Event, ""),
        (Sender, Call::Shmget(..), _) => (&*format!("shmget() = {number}"), Event, ""),
        (Sender, Call::CopyIn(..), _) => ("copies the message in", ToListener, &*segment),
        (Sender, Call::Kill(_, Some(signal)), _) => ("kill()", ToListener, signal.as_str()),
        (Listener, Call::CopyOut(..), _) => ("copies the message out", ToListener, &*segment),
        (Sender, Call::Send(..), _) => ("sends the message", ToListener, "message"),
        (Listener, Call::Recv(..), _) => ("receives the message", Event, ""),
        (Sender, Call::Waitpid(..), Answer::Child(WaitStatus::Exited(_, status))) => {
            (&*format!("waitpid() = {number}"), ToSender, &*format!("exit status {status}"))
        }
        (Sender, Call::IpcRmid(_), _) if known.created => ("removes the segment", Event, ""),
        (Sender, Call::IpcRmid(_), _) => ("removes what was left", Event, ""),
        _ => return None,
    };
    Some((what.to_owned(), kind, crosses.to_owned()))
}
