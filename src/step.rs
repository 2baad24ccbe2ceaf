//! The steps of the story: what the roles tell the [transcript](crate::transcript).
//!
//! Most steps are lines of the transcript. Most are also what the [explainer](crate::explain)
//! explains, and where `--step` stops.

use nix::unistd::Pid;

use crate::message::{Checked, Message};
use crate::sys::signal::Signal;
use crate::sys::{Error, OwnedSegment};

/// What carries the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Memory,
    Socket,
}

/// How a run is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    Plain,      // the lines, as it goes
    Explained,  // all that happens, when it is over
    StepByStep, // all that happens, as it goes, with stops
}

/// A process of the story, by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Sender, // the demo's parent
    Listener,
}

/// A step of the story.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    Preparing,                            // the process has started (told by the recorder)
    Locking,                              // the sender is about to lock the file
    Checking,                             // the sender is about to check the listener's PID
    MessageSize(usize),                   // of the argument, in bytes
    CreatingMessage,                      // the sender fills in the struct
    Forking,                              // the parent is about to make a second process
    Listening(Option<Pid>, Pid), // the listener's parent, if that is the sender; the listener
    Registered(Signal),          // the handler of this signal is in place
    Ready,                       // the listener is about to tell its parent that it is ready
    Spun(u64),                   // the listener has spun, so many rounds
    Woken,                       // the handler has run
    FoundNothing(&'a Error),     // there is no message, and why
    ReceivedSignal(i32, Pid),    // the signal that has brought a message, and who has sent it
    Received(Checked<'a>),       // the listener has read it
    Writing(Checked<'a>, Pid),   // the sender is about to write it, for this listener
    Notifying(&'a OwnedSegment<Message>), // the sender is about to send the signal
    AllDone, // the message has been read; the sender is about to remove the segment
    // Through a socket:
    Waiting,              // the listener is about to wait at its socket
    Sending(Checked<'a>), // the sender is about to send the message
    Done,                 // the message has been read, and there is nothing to remove
}
