//! Every word and colour on standard output: the transcript, as the article's program prints it.
//!
//! Two processes speak through one standard output. So that they never tear each other's lines,
//! each line is one write(2); and so that nothing is said twice, nothing is kept in a buffer, which
//! `fork` would copy. (The C program's printf(3) keeps its first lines as soon as the output is not
//! a terminal, and then both processes print them.)

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::rc::Rc;

use anyhow::Result;
use nix::errno::Errno;
use nix::unistd::{getpid, write};
use owo_colors::{OwoColorize, Style};

use crate::calls;
use crate::message::Message;
use crate::printable::Printable;
use crate::process::Peer;
use crate::signals::{self, ANNOUNCEMENT, For, Timer, Woken};

/// When to colour the transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// If standard output is a terminal
    Auto,
    /// Even when captured
    Always,
    /// Not at all
    Never,
}

impl ColorChoice {
    fn is_on(self) -> bool {
        match self {
            Self::Auto => io::stdout().is_terminal(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Tells the story, a line for each step.
///
/// Every line can fail: with the errors of write(2), with [`Interrupted`](signals::Interrupted), or
/// because the process on whose behalf we speak has ended. A reader who has left is no failure; the
/// story goes on without one.
#[derive(Debug)]
pub struct Narrator {
    colored: bool,
    peer: Option<Rc<Peer>>,
}

impl Narrator {
    /// Somebody who speaks in colours or without.
    pub fn new(color: ColorChoice) -> Self {
        Self {
            colored: color.is_on(),
            peer: None,
        }
    }

    /// From now on no line is waited for longer than `peer` lives.
    pub fn follow(&mut self, peer: &Rc<Peer>) {
        self.peer = Some(Rc::clone(peer));
    }

    /// The parent has looked at its argument.
    pub fn message_size(&mut self, bytes: usize) -> Result<()> {
        self.say(Style::new(), format_args!("# Message size is: {bytes}"))
    }

    /// The parent fills in the struct.
    pub fn creating_message(&mut self) -> Result<()> {
        self.say(Style::new(), "# Creating message object.")
    }

    /// The parent is about to make a second process.
    pub fn forking(&mut self) -> Result<()> {
        self.say(Style::new(), "# Forking...")
    }

    /// The listener is there.
    pub fn listening(&mut self) -> Result<()> {
        self.say(
            Style::new().magenta(),
            format_args!("# Listening on PID={}", getpid()),
        )
    }

    /// The listener has its handler in place.
    pub fn registered(&mut self) -> Result<()> {
        self.say(
            Style::new().magenta(),
            format_args!("# Registering signal handler for {ANNOUNCEMENT}"),
        )
    }

    /// The sender is about to write the message.
    pub fn writing(&mut self, message: &Message) -> Result<()> {
        let cyan = Style::new().cyan();
        self.say(cyan, "# Writing message to shared memory a new message.")?;
        self.say(cyan, format_args!("\tid={}", message.id()))?;
        self.say(cyan, format_args!("\ttext:{}.", Printable(message.text()?)))
    }

    /// The signal has come, and with it a message.
    pub fn received_signal(&mut self) -> Result<()> {
        let number = ANNOUNCEMENT as i32;
        self.say(
            Style::new().yellow(),
            format_args!("# PID={} received signal {number}", getpid()),
        )
    }

    /// The listener has read the message.
    pub fn received(&mut self, text: &[u8]) -> Result<()> {
        self.say(
            Style::new().yellow(),
            format_args!("# Received: {}", Printable(text)),
        )
    }

    /// The parent has reaped the listener and is about to remove the segment.
    pub fn all_done(&mut self) -> Result<()> {
        self.say(Style::new(), "# All done. Freeing memory.")
    }

    fn say(&self, style: Style, line: impl Display) -> Result<()> {
        let style = if self.colored { style } else { Style::new() };
        self.write(format!("{}\n", line.style(style)).as_bytes())
    }

    fn write(&self, mut rest: &[u8]) -> Result<()> {
        let stdout = io::stdout();
        while !rest.is_empty() {
            // Waiting comes first, so that a reader who takes nothing cannot keep us from hearing a
            // signal.
            let peer = self.peer.as_ref();
            let lifeline = peer.map(|peer| peer.lifeline());
            let room = For::Writable(stdout.as_fd());
            let woken = signals::wait(room, lifeline, &mut Timer::start(None))?;
            if let (Woken::ByPeer, Some(peer)) = (woken, peer) {
                return Err(peer.gone().into());
            }
            let words = |_: Option<&usize>| format!("write(1, …, {})", rest.len());
            match calls::made(|| write(&stdout, rest), words) {
                Ok(written) => rest = &rest[written..],
                Err(error) => match error.errno() {
                    // The reader has left.
                    Errno::EPIPE => break,
                    Errno::EINTR | Errno::EAGAIN => {}
                    _ => return Err(error.advise("make room for standard output").into()),
                },
            }
        }
        Ok(())
    }
}
