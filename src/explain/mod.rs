//! What happens between the lines: recorded while the run goes on, told afterwards.
//!
//! An explained run is a plain run: it makes the same system calls, and prints nothing meanwhile
//! (only `--listen` does, before it waits). Each process records its steps and calls, all on one
//! clock. The child hands them to the parent through a pipe, as they come. When the run is over,
//! the parent merges both by time and tells the whole, in the order in which it happened.
//!
//! With `--step` each process tells its own, as the run goes on: at each stop, what it has done
//! since the last one. They never speak at the same time: a process tells all that it has done
//! *before* it lets the other one go (its byte "ready", its signal, its end), and after that it is
//! silent until the other one lets it go.
//!
//! The texts are in `lessons.txt`, the two pictures in [`bytes`] and [`timeline`].

pub mod bytes;
mod calls;
mod lessons;
mod link;
pub mod timeline;

use std::cell::RefCell;
use std::mem::{replace, take};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::errno::Errno;
use nix::sys::signal::SigmaskHow;
use nix::unistd::{Pid, getpid};

use self::link::Link;
use self::timeline::Crosses;
use crate::output::palette::{Line, Role};
use crate::output::stdout::{INDENT, Stdout};
use crate::step::Step;
use crate::sys::process;
use crate::sys::signal::Signal;
use crate::sys::trace::{self, Call, Record};

/// Something that a process did: when, since the start; what is told of it, in lines as they are
/// printed; and what it is in the timeline.
struct Entry {
    at: Duration,
    text: String,
    event: Option<Line>,
}

/// What is known of the two processes and the segment.
#[derive(Default)]
struct Known {
    /// The signal that notifies the listener; none if the message goes through a socket.
    signal: Option<Signal>,
    sender: Option<Pid>,
    listener: Option<Pid>,
    /// Whether they are parent and child.
    related: bool,
    segment: Option<i32>,
    /// Whether this process has created the segment, and written the message.
    created: bool,
    written: bool,
}

/// A look at something that was not there yet. The first one is told as it was; those that came to
/// the same end are counted.
struct Look {
    end: String,
    at: Duration,
    again: usize,
}

/// Explains a run, in one of its processes. It is shared with the recorder of calls.
pub struct Explainer {
    stdout: Stdout,
    /// Whether this process is the sender or the listener.
    who: Role,
    started: Instant,
    known: Known,
    /// Whether it is told as it happens, and whether this process still stops before its steps.
    live: bool,
    stops: bool,
    link: Link,
    /// What has not been told yet, and what of the timeline has been.
    entries: Vec<Entry>,
    events: Vec<(Duration, Line)>,
    last_step: Duration,
    /// When the last signal came.
    arrived: Duration,
    /// When the signal was unblocked; and until it was blocked again, the time and the processor
    /// time.
    unblocked: Duration,
    spun: (Duration, Duration),
    /// The processor time of this process when it was last asked for.
    processor_time: Duration,
    /// The looks that found nothing. From the first one on, what follows is held back until it is
    /// known how that look ends.
    looks: Vec<Look>,
    held_back: Vec<Entry>,
    /// The manual pages that have been named.
    named: Vec<&'static str>,
}

impl Explainer {
    /// Starts to record what this process does. If `live`, it is told as it happens, with stops.
    /// `who` is the role of this process: the sender, or the listener. `signal` notifies the
    /// listener; none does if the message goes through a socket.
    pub fn start(
        who: Role,
        signal: Option<Signal>,
        live: bool,
        stdout: Stdout,
    ) -> Rc<RefCell<Self>> {
        let explainer = Rc::new(RefCell::new(Self {
            stdout,
            who,
            started: Instant::now(),
            known: Known { signal, sender: Some(getpid()), ..Known::default() },
            live,
            stops: live,
            link: Link::default(),
            entries: Vec::new(),
            events: Vec::new(),
            last_step: Duration::ZERO,
            arrived: Duration::ZERO,
            unblocked: Duration::ZERO,
            spun: (Duration::ZERO, Duration::ZERO),
            processor_time: Duration::ZERO,
            looks: Vec::new(),
            held_back: Vec::new(),
            named: Vec::new(),
        }));
        let recorder = Rc::clone(&explainer);
        trace::record(move |record| recorder.borrow_mut().note(record));
        explainer
    }

    /// Takes in a call.
    fn note(&mut self, record: &Record) {
        // The listener spins between two calls of sigprocmask, and sleeps in pselect.
        let used = match record.call {
            Call::Sigprocmask(..) | Call::Pselect(..) if self.who == Role::Listener => {
                self.processor_time_since()
            }
            _ => Duration::ZERO,
        };
        let is_child = matches!((&record.call, record.result), (Call::Fork, Ok(0)));
        match (&record.call, record.result) {
            (Call::Fork, Ok(child)) => {
                self.known.related = true;
                self.link.divide(is_child);
                if is_child {
                    // What was recorded before the fork is the parent's to tell.
                    self.entries.clear();
                    self.events.clear();
                    self.who = Role::Listener;
                } else {
                    self.known.listener = Some(Pid::from_raw(child as i32));
                }
                self.named.extend(calls::named_by_the_other(is_child));
            }
            (Call::Shmget(_, _, flags), Ok(id)) => {
                self.known.segment = Some(id as i32);
                self.known.created = *flags != 0;
            }
            (Call::Sigprocmask(SigmaskHow::SIG_UNBLOCK, _), _) => {
                self.unblocked = record.ended - self.started;
            }
            (Call::Sigprocmask(SigmaskHow::SIG_BLOCK, _), _) => {
                self.spun = (record.began - self.started - self.unblocked, used);
            }
            (Call::IpcStat(_, Some(status)), _) if self.who == Role::Listener => {
                let creator = status.iter().find(|(name, _)| *name == "shm_cpid");
                self.known.sender = creator.map(|&(_, pid)| Pid::from_raw(pid as i32));
            }
            (Call::CopyIn(..), _) => self.known.written = true,
            (Call::Arrival(..), _) => self.arrived = record.began - self.started,
            _ => {}
        }
        // A call may take effect from its beginning on. A call that waits has what it waited for at
        // its end.
        let at = match record.call {
            Call::Fork if is_child => record.ended,
            Call::Read(..) | Call::Recv(..) | Call::Poll(..) | Call::Pselect(..) => record.ended,
            Call::Waitpid(..) | Call::Flock(..) => record.ended,
            _ => record.began,
        };
        let at = at.saturating_duration_since(self.started);
        let event = timeline::event_of(record, self.who, &self.known);
        let mut text = self.call(record);
        if let Call::Pselect(..) = record.call {
            text += &self.wait("slept", (record.ended - record.began, used));
        }
        self.add(at, text, event);
        if let (Call::Nanosleep(_), _) | (Call::Flock(..), Err(Errno::EINTR)) =
            (&record.call, record.result)
        {
            self.find_nothing(record.call.to_string(), at);
        }
        if self.who == Role::Listener {
            // To record it is no part of the next wait.
            self.processor_time_since();
        }
    }

    /// The processor time that this process has used since this was last asked.
    fn processor_time_since(&mut self) -> Duration {
        let now = process::processor_time();
        now.saturating_sub(replace(&mut self.processor_time, now))
    }

    /// How the listener has waited, for how long, and what processor time that took.
    fn wait(&self, how: &str, (time, used): (Duration, Duration)) -> String {
        // (The processor time is that since the last call, so it may begin before the wait.)
        let (time, used) = (time.as_micros(), used.min(time).as_micros());
        self.detail(Role::Detail, &format!("({how} for {time} us; processor time: {used} us)"))
    }

    /// Takes in a step and its lines of the transcript. In a live run, what was before it is told
    /// first. Fails as write(2) to standard output does, and, if there are stops, read(2) from
    /// standard input.
    pub fn tell(&mut self, step: &Step<'_>, lines: String) -> Result<()> {
        let now = self.started.elapsed();
        match step {
            Step::FoundNothing(why) => {
                if self.find_nothing(why.to_string(), now) {
                    let text =
                        self.stdout.lesson("* ", &format!("A signal, but no message: {why}"));
                    let event = Some(timeline::arrival("a signal, no message", None));
                    self.keep(Entry { at: now, text, event: None });
                    self.keep(Entry { at: self.arrived, text: String::new(), event });
                }
                return Ok(());
            }
            Step::Spun(rounds) => {
                let event = format!("spins {rounds} rounds");
                let event = timeline::event(self.who, &event, &Crosses::Nothing);
                let text = self.wait(&format!("spun {rounds} rounds"), self.spun);
                self.add(self.unblocked, text, Some(event));
                return Ok(());
            }
            Step::Woken => {
                self.last_step = now;
                return Ok(());
            }
            Step::Forking => self.link = Link::open(self.live)?,
            Step::Listening(parent, listener) => {
                self.known.sender = *parent;
                self.known.listener = Some(*listener);
            }
            Step::Writing(_, listener) => self.known.listener = Some(*listener),
            Step::AllDone | Step::Done => self.take_over(true),
            _ => {}
        }
        self.release();
        if self.live {
            self.flush()?;
            self.stop(step)?;
        }
        self.add_step(step, now, lines);
        self.last_step = now;
        if self.live || (matches!(step, Step::Registered(_)) && !self.known.related) {
            self.flush()?;
        }
        Ok(())
    }

    /// Stops before a step, until Enter.
    fn stop(&mut self, step: &Step<'_>) -> Result<()> {
        // Woken by the signal of somebody else, the listener does not stop: the sender may stand at
        // a stop of its own, and read Enter there.
        let is_stray =
            matches!(step, Step::ReceivedSignal(_, it) if Some(*it) != self.known.sender);
        if self.known.related && is_stray || self.link.input_has_ended() {
            self.stops = false;
        }
        let mut text = String::new();
        for (kind, line) in lessons::of(step, &self.known) {
            text += &match kind {
                '*' => continue,
                // A child in another PID namespace knows no numbers that are right in a terminal.
                '$' | '=' if self.known.sender == Some(Pid::from_raw(0)) => continue,
                '>' => self.stdout.lesson("", &format!("[next: {line}]")),
                '$' => self.stdout.line(Role::Parent, &format!("{INDENT}  $ {line}")),
                _ => self.stdout.lesson("      ", &line),
            };
        }
        if self.stops && !text.is_empty() {
            text += &self.stdout.lesson("", "[Enter goes on]");
            self.stdout.print(&text)?;
            let listener = self.known.listener.unwrap_or(Pid::from_raw(0));
            self.stops = self.link.wait_for_enter(|| match step {
                Step::Notifying(segment) => trace::untraced(|| {
                    segment.ensure_reachable(listener)?;
                    Ok(!process::has_exited(listener))
                }),
                _ => Ok(true),
            })?;
        }
        Ok(())
    }

    /// Adds a step: its lines, its lessons, and the bytes if a message was read.
    fn add_step(&mut self, step: &Step<'_>, now: Duration, mut text: String) {
        let lines = lessons::of(step, &self.known);
        for (_, lesson) in lines.iter().filter(|(kind, _)| *kind == '*') {
            text += &self.stdout.lesson("* ", lesson);
        }
        // These lines are printed after their calls, because the calls make them true. They stand
        // above the calls: right after the step before.
        let heading = self.last_step + Duration::from_nanos(1);
        let mut at = now;
        match step {
            Step::MessageSize(_) | Step::Registered(_) => at = heading,
            Step::ReceivedSignal(_, sender) => {
                let is_expected = Some(*sender) == self.known.sender;
                at = if is_expected { heading } else { now };
                let arrow = self.known.signal.filter(|_| is_expected && !self.known.related);
                let event = timeline::arrival("the handler stores it", arrow);
                self.add(self.arrived, String::new(), Some(event));
            }
            Step::Received(message) => text += &self.stdout.block(bytes::picture(message)),
            _ => {}
        }
        self.add(at, text, None);
    }

    fn add(&mut self, at: Duration, text: String, event: Option<Line>) {
        let entry = Entry { at, text, event };
        if self.looks.is_empty() { self.keep(entry) } else { self.held_back.push(entry) }
    }

    fn keep(&mut self, entry: Entry) {
        // The parent tells what it has been handed. But in a live run each tells its own.
        if !self.link.send(&entry) || self.live {
            self.entries.push(entry);
        }
    }

    /// This process has looked in vain, and will look again. `end` is how the look ended. Returns
    /// whether it is the first one that has ended so.
    fn find_nothing(&mut self, end: String, at: Duration) -> bool {
        let held_back = take(&mut self.held_back);
        if let Some(look) = self.looks.iter_mut().find(|look| look.end == end) {
            look.again += 1;
            return false;
        }
        self.looks.push(Look { end, at, again: 0 });
        held_back.into_iter().for_each(|entry| self.keep(entry));
        true
    }

    /// Says how often nothing was found, each in its place, and lets go of what was held back.
    fn release(&mut self) {
        for Look { at, again, .. } in take(&mut self.looks) {
            if again > 0 {
                let lesson = format!("Looked again, with the same result: {again}.");
                let at = at + Duration::from_nanos(1);
                self.keep(Entry { at, text: self.stdout.lesson("* ", &lesson), event: None });
            }
        }
        take(&mut self.held_back).into_iter().for_each(|entry| self.keep(entry));
    }

    /// Takes over what the child, which has ended, has recorded. In a live run it has told its own.
    /// If it was killed, it is told as far as it came.
    fn take_over(&mut self, was_successful: bool) {
        let (entries, dropped) = self.link.receive();
        for Entry { at, text, event } in entries {
            let text = if self.live { String::new() } else { text };
            self.entries.push(Entry { at, text, event });
        }
        if dropped.map_or(was_successful, |dropped| dropped > 0) {
            let count = dropped.map_or("unknown".to_owned(), |dropped| dropped.to_string());
            let what = format!("Lines of the listener that are missing here: {count}.");
            let text = self.stdout.lesson("* ", &what);
            self.add(self.started.elapsed(), text, None);
        }
    }

    /// Prints what has not been told yet, in the order of time.
    fn flush(&mut self) -> Result<()> {
        self.entries.sort_by_key(|entry| entry.at);
        for Entry { at, text, event } in self.entries.drain(..) {
            self.stdout.print(&text)?;
            self.events.extend(event.map(|event| (at, event)));
        }
        Ok(())
    }

    /// Tells what has not been told yet, and the timeline. Fails as write(2) to stdout does.
    pub fn finish(&mut self) -> Result<()> {
        self.release();
        self.take_over(false);
        if self.who == Role::Listener {
            let end = timeline::event(self.who, "ends", &Crosses::Nothing);
            self.add(self.started.elapsed(), String::new(), Some(end));
        }
        self.link.close();
        self.flush()?;
        let is_child = self.who == Role::Listener && self.known.related;
        if is_child || self.events.is_empty() {
            return Ok(());
        }
        let name = |pid: Option<Pid>| pid.map(|pid| format!("PID {pid}")).unwrap_or_default();
        let (sender, listener) = (name(self.known.sender), name(self.known.listener));
        let events = take(&mut self.events);
        self.stdout.print(&self.stdout.block(timeline::picture(&sender, &listener, events)))
    }

    /// A call, and where it first appears its manual page.
    fn call(&mut self, record: &Record) -> String {
        let mut text = calls::brief(record, self.known.written);
        if let Some(page) = calls::page(&record.call).filter(|page| !self.named.contains(page)) {
            self.named.push(page);
            // At the right margin, or on a line of its own.
            let room = calls::ROOM.saturating_sub(text.chars().count() + 1);
            text += &format!(" {page:>room$}");
        }
        let is_signal = matches!(record.call, Call::Arrival(..));
        self.detail(if is_signal { Role::Receiver } else { Role::Detail }, &text)
    }

    /// What a process did, and which.
    fn detail(&self, role: Role, text: &str) -> String {
        let who = if self.who == Role::Sender { "sender    " } else { "listener  " };
        self.stdout.paragraph((self.who, who), (role, text))
    }
}
