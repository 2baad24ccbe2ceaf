//! The two parts as programs of their own, which share nothing but a path.
//!
//! In the [demo](crate::demo) the two processes are relatives, and could have found other ways to
//! share memory. Here nobody has forked anybody: the key, which both make from the same file, is
//! all that leads them to the same segment. And nobody has a pipe to the other: the sender looks at
//! the listener before it sends the signal, and at the kernel's record of the segment after that.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use anyhow::Result;
use nix::unistd::Pid;

use crate::cli::Request;
use crate::listener::{self, Sender};
use crate::message::Message;
use crate::narrator::Narrator;
use crate::process;
use crate::sender;
use crate::signals;
use crate::turn::Turn;

/// Waits for a message from anybody: `--listen`.
///
/// # Errors
/// No message has come, and the error says why.
pub fn listen(request: &Request) -> Result<()> {
    let mut narrator = Narrator::new(request.color(), request.explainer());
    signals::take_charge()?;
    listener::listen(
        &request.path,
        Sender::Stranger,
        request.patience(),
        &mut narrator,
    )
}

/// Sends a message to a process that listens already: `--to`.
///
/// # Errors
/// The message has not been read, and the error says why.
pub fn send(request: &Request, text: &OsStr, listener: Pid) -> Result<()> {
    let message = Message::new(text.as_bytes())?;
    let mut narrator = Narrator::new(request.color(), request.explainer());
    signals::take_charge()?;
    let _turn = Turn::take(&request.path, request.patience())?;
    process::ensure_listening(listener)?;

    narrator.message_size(text.len())?;
    narrator.creating_message()?;
    let patience = request.patience();
    let delivery = sender::send(&message, listener, &request.path, patience, &mut narrator)?;
    delivery.until_read(patience, &mut narrator)?;
    narrator.all_done()?;
    delivery.free(&mut narrator)
}
