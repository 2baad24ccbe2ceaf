//! What is told: entries by time, painted, each manual page once, and then the timeline.

use std::collections::HashSet;

use anyhow::Result;
use nix::unistd::Pid;

use super::entry::{Entry, Kind};
use super::timeline;
use crate::output::palette::Role;
use crate::output::stdout::Stdout;
use crate::step::Who;

/// Tells a run, on standard output.
pub(super) struct Teller {
    pub stdout: Stdout,
    named: HashSet<String>, // the manual pages that this process has named
    events: Vec<Entry>,     // what the timeline will show
}

impl Teller {
    pub(super) fn new(stdout: Stdout) -> Self {
        Self { stdout, named: HashSet::new(), events: Vec::new() }
    }

    /// Tells these entries. Fails as write(2) to standard output does.
    pub(super) fn tell(&mut self, mut entries: Vec<Entry>) -> Result<()> {
        entries.sort_by_key(|entry| entry.at);
        for entry in entries {
            let Entry { who, kind, role, text, page, .. } = &entry;
            let lines = match kind {
                Kind::Line => self.stdout.line(*role, text),
                Kind::Call => {
                    let process = match who {
                        Who::Sender => (Role::Sender, "sender    "),
                        Who::Listener => (Role::Listener, "listener  "),
                    };
                    let is_first = self.named.insert(page.clone());
                    let page = if is_first { page } else { "" };
                    self.stdout.paragraph(process, (*role, text), page)
                }
                Kind::Lesson => self.stdout.lesson("* ", text),
                Kind::Heading | Kind::Picture => self.stdout.block(vec![(*role, text.clone())]),
                Kind::Event | Kind::ToListener | Kind::ToSender => {
                    self.events.push(entry);
                    continue;
                }
            };
            self.stdout.print(&lines)?;
        }
        Ok(())
    }

    /// Tells the timeline, if anything has happened. Fails as write(2) to standard output does.
    pub(super) fn timeline(&self, sender: Option<Pid>, listener: Option<Pid>) -> Result<()> {
        let name = |pid: Option<Pid>| pid.map(|pid| format!("PID {pid}")).unwrap_or_default();
        let picture = timeline::picture(&name(sender), &name(listener), &self.events);
        self.stdout.print(&self.stdout.block(picture))
    }
}
