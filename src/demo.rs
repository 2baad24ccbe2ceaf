//! The story, from top to bottom: what the article's `main` does.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use anyhow::Result;

use crate::cli::Request;
use crate::listener::{self, Sender};
use crate::message::Message;
use crate::narrator::Narrator;
use crate::process::{self, Fork};
use crate::sender;
use crate::signals;
use crate::turn::Turn;

/// Sends a message to a child and waits until it has come through.
///
/// It returns in both processes: in the child when the listener's part is over, in the parent when
/// everything is.
///
/// # Errors
/// The message has not been delivered, and the error says why.
pub fn run(request: &Request, text: &OsStr) -> Result<()> {
    let message = Message::new(text.as_bytes())?;
    let (path, patience) = (&request.path, request.patience());
    let mut narrator = Narrator::new(request.color(), request.explainer());
    signals::take_charge()?;
    let _turn = Turn::take(path, patience)?;

    narrator.message_size(text.len())?;
    narrator.creating_message()?;
    narrator.forking()?;
    match process::fork()? {
        Fork::Child(parent) => listener::listen(path, Sender::Parent(&parent), None, &mut narrator),
        Fork::Parent(mut child) => {
            narrator.forked(child.peer())?;
            // In the article a signal that comes before the handler kills the child. Here it would
            // wait, blocked; but the listener is to say that it listens before anybody writes.
            child.until_ready(patience)?;
            let delivery = sender::send(&message, child.pid(), path, patience, &mut narrator)?;
            delivery.until_ended(&mut child, patience)?;
            narrator.all_done()?;
            delivery.free(&mut narrator)
        }
    }
}
