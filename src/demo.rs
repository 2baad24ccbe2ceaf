//! The story from top to bottom: the article's `main`.

use anyhow::Result;

use crate::listener::listener;
use crate::message::{Message, NOTIFICATION};
use crate::output::note;
use crate::run::Run;
use crate::sender::sender;
use crate::step::Step;
use crate::sys::process::{Fork, fork};
use crate::sys::{RunLock, signal};

/// Sends a message to a child, and waits until the child has printed it. Fails if it has not been
/// delivered.
///
/// It returns in both processes: in the child when the listener is done, in the parent when
/// everything is.
pub fn demo(text: &[u8], run: &mut Run) -> Result<()> {
    let message = Message::new(text)?;
    // Blocked from here on, in the child too: a signal that comes before the handler waits for it.
    signal::prepare(NOTIFICATION)?;
    let _lock = RunLock::take(&run.path, run.timeout, || note::waiting_for_lock(&run.path))?;

    run.tell(Step::MessageSize(message.size))?;
    run.tell(Step::CreatingMessage)?;
    run.tell(Step::Forking)?;
    match fork("the listener")? {
        Fork::Child(parent) => listener(&parent, run),
        Fork::Parent(mut child) => {
            // The article's parent goes on at once, and its signal often comes too early.
            child.wait_until_ready(run.timeout)?;
            let sent = sender(&message, child.pid(), run)?;
            child.wait(run.timeout).map_err(|error| sent.with_cause(error))?;
            run.tell(Step::AllDone)?;
            sent.free()
        }
    }
}
