//! Standard output, a line at a time.
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
use nix::unistd::write;
use owo_colors::{OwoColorize, Style};

use crate::calls;
use crate::process::Peer;
use crate::signals::{self, For, Timer, Woken};

/// When to colour what is printed.
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

/// Standard output, with or without colours.
#[derive(Debug)]
pub struct Screen {
    colored: bool,
    peer: Option<Rc<Peer>>,
}

impl Screen {
    /// A screen on which `color` decides about colours.
    pub fn new(color: ColorChoice) -> Self {
        Self {
            colored: color.is_on(),
            peer: None,
        }
    }

    /// From now on nothing is waited for longer than `peer` lives (or, if `None`, without end).
    pub fn follow(&mut self, peer: Option<&Rc<Peer>>) {
        self.peer = peer.cloned();
    }

    /// Whom this screen follows.
    pub fn peer(&self) -> Option<&Rc<Peer>> {
        self.peer.as_ref()
    }

    /// The style, if there are colours, else none.
    pub fn style(&self, style: Style) -> Style {
        if self.colored { style } else { Style::new() }
    }

    /// Prints a line, which starts its style and ends it.
    ///
    /// That the reader has left is no failure: the story goes on without one.
    ///
    /// # Errors
    /// Those of write(2), but for EPIPE; [`Interrupted`](signals::Interrupted); or
    /// [`Gone`](crate::process::Gone), if whom we follow has ended while there was no room to
    /// write.
    pub fn line(&self, style: Style, text: impl Display) -> Result<()> {
        let line = format!("{}\n", text.style(self.style(style)));
        calls::aside(|| self.write(line.as_bytes()))
    }

    fn write(&self, mut rest: &[u8]) -> Result<()> {
        let stdout = io::stdout();
        while !rest.is_empty() {
            // Waiting comes first, so that a reader who takes nothing cannot keep us from hearing a
            // signal.
            self.wait(For::Writable(stdout.as_fd()))?;
            let words = |_: Option<&usize>| format!("write(1, …, {})", rest.len());
            match calls::made(|| write(&stdout, rest), words) {
                Ok(written) => rest = &rest[written..],
                Err(error) => match error.errno() {
                    // The reader has left.
                    Errno::EPIPE => break,
                    Errno::EINTR | Errno::EAGAIN => {}
                    Errno::ENOSPC | Errno::EFBIG | Errno::EDQUOT => {
                        return Err(error.advise("make room for standard output").into());
                    }
                    _ => {
                        let advice = "standard output must be open for writing";
                        return Err(error.advise(advice).into());
                    }
                },
            }
        }
        Ok(())
    }

    /// Waits without a limit, but no longer than the one lives whom we follow.
    ///
    /// # Errors
    /// [`Interrupted`](signals::Interrupted) or [`Gone`](crate::process::Gone).
    pub fn wait(&self, awaited: For<'_>) -> Result<()> {
        let peer = self.peer.as_ref();
        let lifeline = peer.map(|peer| peer.lifeline());
        match (
            signals::wait(awaited, lifeline, &mut Timer::start(None))?,
            peer,
        ) {
            (Woken::ByPeer, Some(peer)) => Err(peer.gone().into()),
            _ => Ok(()),
        }
    }
}
