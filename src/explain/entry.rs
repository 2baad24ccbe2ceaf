//! What is recorded of a run, typed until it is printed, and what is known of its processes.

use std::time::Duration;

use nix::unistd::{Pid, getpid};

use crate::output::palette::Role;
use crate::step::{Via, Who};
use crate::sys::signal::Signal;

/// Something that there is to tell of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Duration, // when it happened, since the start of the program
    pub who: Who,     // which process has recorded it
    pub kind: Kind,
    pub role: Role, // its colour
    pub text: String,
    pub page: String,    // the manual page of a call, if it has one
    pub crosses: String, // what crosses to the other process at an event
}

/// What kind of thing an entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Line,       // of the transcript
    Call,       // what the process did: a system call, a copy, a wait
    Heading,    // of what the process does before the first line
    Lesson,     // what there is to learn
    Picture,    // a row of the picture of the bytes
    Event,      // of the timeline
    ToListener, // an event at which something crosses
    ToSender,   // the same
}

impl Entry {
    /// An entry in the usual colour of its kind.
    pub fn new(at: Duration, who: Who, kind: Kind, text: impl Into<String>) -> Self {
        let role = match (kind, who) {
            (Kind::Call, _) => Role::Detail,
            (Kind::Heading | Kind::Lesson, _) => Role::Lesson,
            (_, Who::Sender) => Role::Sender,
            (_, Who::Listener) => Role::Listener,
        };
        let (text, page, crosses) = (text.into(), String::new(), String::new());
        Self { at, who, kind, role, text, page, crosses }
    }
}

/// What is known of the two processes and the segment, in one of the two.
pub(super) struct Known {
    pub who: Who, // which of the two this process is
    pub via: Via,
    pub signal: Signal, // that notifies the listener
    pub sender: Option<Pid>,
    pub listener: Option<Pid>,
    pub related: bool, // whether they are parent and child
    pub segment: Option<i32>,
    pub created: bool, // whether this process has created the segment
    pub written: bool, // and has written the message
}

impl Known {
    pub(super) fn new(who: Who, via: Via, signal: Signal) -> Self {
        let (sender, listener, segment) = (Some(getpid()), None, None);
        let (related, created, written) = (false, false, false);
        Self { who, via, signal, sender, listener, related, segment, created, written }
    }

    /// Whether this is a child, whose parent tells the whole.
    pub(super) fn is_child(&self) -> bool {
        self.related && self.who == Who::Listener
    }
}
