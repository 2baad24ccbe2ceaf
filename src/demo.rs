//! The story, from top to bottom: what the article's `main` does.

use std::os::unix::ffi::OsStrExt;

use anyhow::Result;

use crate::cli::Request;
use crate::listener;
use crate::message::Message;
use crate::narrator::Narrator;
use crate::process::{self, Fork};
use crate::sender;
use crate::signals;
use crate::turn::Turn;

/// Sends the message to a child and waits until it has come through.
///
/// It returns in both processes: in the child when the listener's part is over, in the parent when
/// everything is.
///
/// # Errors
/// The message has not been delivered, and the error says why.
pub fn run(request: &Request) -> Result<()> {
    let message = Message::new(request.message.as_bytes())?;
    let mut narrator = Narrator::new(request.color(), request.explainer());
    signals::take_charge()?;
    let _turn = Turn::take(&request.path, request.patience())?;

    narrator.message_size(request.message.len())?;
    narrator.creating_message()?;
    narrator.forking()?;
    match process::fork()? {
        Fork::Child(sender) => listener::listen(&request.path, &sender, &mut narrator),
        Fork::Parent(mut listener) => {
            narrator.forked(listener.peer())?;
            // A signal sent before the handler is in place would be lost.
            listener.until_ready(request.patience())?;
            let sent = sender::send(&message, listener.pid(), &request.path, &mut narrator)?;
            listener.until_ended(request.patience())?;
            narrator.all_done()?;
            sent.free(&mut narrator)
        }
    }
}
