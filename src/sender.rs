//! The sender: the parent's part, or that of a program of its own (`--to`). It puts the message
//! into shared memory and announces it.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use nix::unistd::Pid;

use crate::delivery::Delivery;
use crate::diagnostics;
use crate::message::Message;
use crate::narrator::Narrator;
use crate::shm::{Key, OwnedSegment};

/// Writes `message` into the segment that belongs to `path`, and sends SIGUSR1 to `listener`, who
/// must be listening. What is returned removes the segment when it is dropped.
///
/// # Errors
/// The segment cannot be had (see [`OwnedSegment::claim`]); somebody keeps looking at it for as
/// long as `patience`; or a system call failed.
pub fn send(
    message: &Message,
    listener: Pid,
    path: &Path,
    patience: Option<Duration>,
    narrator: &mut Narrator,
) -> Result<Delivery> {
    narrator.writing(message, listener)?;
    let key = Key::from_path(path)?;
    let (segment, reclaimed) = OwnedSegment::<Message>::claim(key)?;
    if let Some(left) = reclaimed {
        diagnostics::note(format_args!("reclaimed {left}, which was left behind"));
    }
    narrator.segment(&segment)?;
    let mut attached = segment.attach()?;
    attached.write(message);
    let delivery = Delivery::new(*message, listener, attached, segment, patience)?;
    narrator.announcing()?;
    delivery.announce()?;
    narrator.announced()?;
    Ok(delivery)
}
