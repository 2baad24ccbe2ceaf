//! Every word and colour of the transcript: what the article's program prints.
//!
//! The narrator is told of each step of the story. Of most it tells a line; if the run is to be
//! explained, it hands each of them on to the [`Explainer`], who adds what happens between the
//! lines.

use std::rc::Rc;

use anyhow::Result;
use nix::errno::Errno;
use nix::unistd::{Pid, getpid};
use owo_colors::Style;

use crate::explain::Explainer;
use crate::lessons::Moment;
use crate::message::Message;
use crate::printable::Printable;
use crate::process::Peer;
use crate::screen::{ColorChoice, Screen};
use crate::shm::{Record, Segment, SelfContained};
use crate::signals::ANNOUNCEMENT;

/// Tells the story, step by step.
///
/// Everything here can fail as [`Screen::line`] can.
#[derive(Debug)]
pub struct Narrator {
    screen: Screen,
    explainer: Option<Explainer>,
}

impl Narrator {
    /// Somebody who tells the story, and explains it if there is an `explainer`.
    pub fn new(color: ColorChoice, explainer: Option<Explainer>) -> Self {
        Self {
            screen: Screen::new(color),
            explainer,
        }
    }

    /// The sender has looked at its argument.
    pub fn message_size(&mut self, bytes: usize) -> Result<()> {
        let line = format!("# Message size is: {bytes}");
        self.tell(Moment::MessageSize, Style::new(), &[line])
    }

    /// The sender fills in the struct.
    pub fn creating_message(&mut self) -> Result<()> {
        let line = "# Creating message object.".to_owned();
        self.tell(Moment::CreatingMessage, Style::new(), &[line])
    }

    /// The parent is about to make a second process.
    pub fn forking(&mut self) -> Result<()> {
        self.tell(Moment::Forking, Style::new(), &["# Forking...".to_owned()])
    }

    /// The parent has a child now.
    pub fn forked(&mut self, child: &Rc<Peer>) -> Result<()> {
        self.screen.follow(Some(child));
        self.pass(Moment::Forked(child.pid()))
    }

    /// The listener is there; if it has a parent, it lives no longer than that.
    pub fn listening(&mut self, parent: Option<&Rc<Peer>>) -> Result<()> {
        self.screen.follow(parent);
        let line = format!("# Listening on PID={}", getpid());
        let parent = parent.map(|parent| parent.pid());
        self.tell(
            Moment::Listening { parent },
            Style::new().magenta(),
            &[line],
        )
    }

    /// The listener has its handler in place.
    pub fn registered(&mut self) -> Result<()> {
        let line = format!("# Registering signal handler for {ANNOUNCEMENT}");
        self.tell(Moment::Registered, Style::new().magenta(), &[line])
    }

    /// The listener has told its parent that it is ready.
    pub fn ready(&mut self) -> Result<()> {
        self.pass(Moment::Ready)
    }

    /// The sender is about to write the message for `listener`.
    pub fn writing(&mut self, message: &Message, listener: Pid) -> Result<()> {
        let lines = [
            "# Writing message to shared memory a new message.".to_owned(),
            format!("\tid={}", message.id()),
            format!("\ttext:{}.", Printable(message.text()?)),
        ];
        self.tell(Moment::Writing { listener }, Style::new().cyan(), &lines)
    }

    /// Something has changed that the kernel keeps on record of the segment.
    pub fn segment<T: SelfContained>(&mut self, segment: &Segment<T>) -> Result<()> {
        let Some(explainer) = &mut self.explainer else {
            return Ok(());
        };
        match segment.record() {
            Ok(record) => explainer.segment(record),
            // Its creator has removed it as soon as we had detached it.
            Err(error) if matches!(error.errno(), Errno::EINVAL | Errno::EIDRM) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The listener has found the segment that has this record.
    pub fn found(&mut self, record: Record) {
        if let Some(explainer) = &mut self.explainer {
            explainer.segment(record);
        }
    }

    /// The message lies there, and the sender is about to send the signal.
    pub fn announcing(&mut self) -> Result<()> {
        self.pass(Moment::Announcing)
    }

    /// The signal is sent.
    pub fn announced(&mut self) -> Result<()> {
        self.pass(Moment::Announced)
    }

    /// A signal has come, and there is no message.
    pub fn nothing_there(&mut self) -> Result<()> {
        self.pass(Moment::NothingThere)
    }

    /// A signal has come, and with it a message.
    pub fn received_signal(&mut self) -> Result<()> {
        let line = format!("# PID={} received signal {}", getpid(), ANNOUNCEMENT as i32);
        self.tell(Moment::ReceivedSignal, Style::new().yellow(), &[line])
    }

    /// The listener has read the message.
    pub fn received(&mut self, message: &Message) -> Result<()> {
        let line = format!("# Received: {}", Printable(message.text()?));
        self.tell(Moment::Received(message), Style::new().yellow(), &[line])
    }

    /// The listener has nothing left to do.
    pub fn listened(&mut self) -> Result<()> {
        self.pass(Moment::Listened)
    }

    /// The message has been read, the sender has reaped its child if it has one, and is about to
    /// remove the segment.
    pub fn all_done(&mut self) -> Result<()> {
        self.screen.follow(None);
        let line = "# All done. Freeing memory.".to_owned();
        self.tell(Moment::AllDone, Style::new(), &[line])
    }

    /// The segment is removed, and the story is over.
    pub fn freed(&mut self) -> Result<()> {
        self.pass(Moment::Freed)
    }

    /// A step that the transcript has lines for.
    fn tell(&mut self, moment: Moment<'_>, style: Style, lines: &[String]) -> Result<()> {
        if let Some(explainer) = &mut self.explainer {
            explainer.before(moment, &self.screen)?;
        }
        for line in lines {
            self.screen.line(style, line)?;
        }
        if let Some(explainer) = &mut self.explainer {
            explainer.after(moment, &self.screen)?;
        }
        Ok(())
    }

    /// A step that the transcript passes over.
    fn pass(&mut self, moment: Moment<'_>) -> Result<()> {
        self.tell(moment, Style::new(), &[])
    }
}
