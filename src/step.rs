//! The steps of the story: what the roles tell the [transcript](crate::transcript).
//!
//! Most steps are lines of the transcript. All of them are what the [explainer](crate::explain)
//! explains, and where `--step` can stop.

use nix::unistd::Pid;

use crate::message::Message;

/// A step of the story.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The sender has measured its argument, in bytes.
    MessageSize(usize),
    /// The sender fills in the struct.
    CreatingMessage,
    /// The parent is about to make a second process.
    Forking,
    /// The listener is there: its parent, which in the demo is the sender, and itself.
    Listening(Option<Pid>, Pid),
    /// The listener has registered its handler.
    Registered,
    /// The listener is about to tell its parent that it is ready.
    Ready,
    /// The listener waits no longer: the handler has run. It has spun for so many rounds.
    Woken(u64),
    /// What was looked for is not there yet.
    FoundNothing,
    /// The signal with this number, sent by this process, has brought a message.
    ReceivedSignal(i32, Pid),
    /// The listener has read this message.
    Received(&'a Message),
    /// The sender is about to write this message, for this listener.
    Writing(&'a Message, Pid),
    /// The message is written, and the sender is about to send the signal.
    Notifying,
    /// The message has been read, and the sender is about to remove the segment.
    AllDone,
}
