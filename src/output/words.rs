//! The transcript's words: what the article's program prints.

use nix::unistd::getpid;

use super::escape::Escaped;
use super::palette::Role;
use crate::message::Checked;
use crate::step::Step;

/// The lines of the transcript at a step, and their colour. Some steps have none.
pub fn of(step: &Step<'_>) -> (Role, String) {
    use Role::{Listener, Parent, Receiver, Sender};

    match step {
        Step::MessageSize(bytes) => (Parent, format!("# Message size is: {bytes}")),
        Step::CreatingMessage => (Parent, "# Creating message object.".into()),
        Step::Forking => (Parent, "# Forking...".into()),
        Step::Listening(_, pid) => (Listener, format!("# Listening on PID={pid}")),
        Step::Registered(it) => (Listener, format!("# Registering signal handler for {it}")),
        Step::Waiting => (Listener, "# Waiting for a message on a Unix socket".into()),
        Step::Writing(message, _) => {
            (Sender, with_message("# Writing message to shared memory a new message.", *message))
        }
        Step::Sending(message) => {
            (Sender, with_message("# Sending a new message through the socket.", *message))
        }
        Step::ReceivedSignal(signal, _) => {
            (Receiver, format!("# PID={} received signal {signal}", getpid()))
        }
        Step::Received(message) => (Receiver, format!("# Received: {}", Escaped(message.text()))),
        Step::Done => (Parent, "# All done.".into()),
        Step::AllDone => (Parent, "# All done. Freeing memory.".into()),
        Step::Preparing | Step::Locking | Step::Checking | Step::Ready => (Parent, String::new()),
        Step::Spun(_) | Step::Woken | Step::FoundNothing(_) | Step::Notifying(_) => {
            (Parent, String::new())
        }
    }
}

/// A line, and the message below it.
fn with_message(line: &str, message: Checked<'_>) -> String {
    format!("{line}\n\tid={}\n\ttext:{}.", message.message().id, Escaped(message.text()))
}
