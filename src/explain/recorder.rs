//! What is recorded: the steps that a process takes, its calls, and when.
//!
//! A look that finds nothing is made again and again. The first one is recorded as it was; those
//! that came to the same end are counted.

use std::cell::RefCell;
use std::mem::{replace, take};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::errno::Errno;
use nix::sys::signal::SigmaskHow;
use nix::unistd::Pid;

use super::entry::{Entry, Kind, Known};
use super::link::Link;
use super::{bytes, calls, lessons};
use crate::output::palette::Role;
use crate::output::words;
use crate::step::{Step, Who};
use crate::sys::process;
use crate::sys::trace::{self, Answer, Call, Record};

/// A look at something that was not there yet.
struct Look {
    end: String, // how it ended
    at: Duration,
    again: usize, // how many more came to the same end
}

/// Records what one process does. It is shared with the recorder of calls.
pub(super) struct Recorder {
    started: Instant,
    pub known: Known,
    pub link: Link,
    pub live: bool,          // whether each process tells its own entries, as it goes
    pub entries: Vec<Entry>, // recorded here, and not told yet
    times: Times,
    /// The looks that found nothing. From the first one on, what follows is held back until it is
    /// known how that look ends.
    looks: Vec<Look>,
    held_back: Vec<Entry>,
}

/// Times since the start.
#[derive(Clone, Copy, Default)]
struct Times {
    last_step: Duration,
    last_signal: Duration,
    unblocked: Duration,        // when the signal was unblocked
    spun: (Duration, Duration), // from then until it was blocked: the time, the processor time
    processor: Duration,        // the processor time when it was last asked for
}

impl Recorder {
    /// Starts to record what this process does.
    pub(super) fn start(known: Known, live: bool) -> Rc<RefCell<Self>> {
        let (started, link, times) = (Instant::now(), Link::default(), Times::default());
        let (entries, looks, held_back) = (Vec::new(), Vec::new(), Vec::new());
        let recorder = Self { started, known, link, live, entries, times, looks, held_back };
        let recorder = Rc::new(RefCell::new(recorder));
        recorder.borrow_mut().step(&Step::Preparing, Duration::ZERO);
        let calls = Rc::clone(&recorder);
        trace::record(move |record| calls.borrow_mut().call(record));
        recorder
    }

    /// Records a call.
    fn call(&mut self, record: &Record) {
        let is_listener = self.known.who == Who::Listener;
        // The listener spins between two calls of sigprocmask, and sleeps in pselect.
        let used = if is_listener { self.take_processor_time() } else { Duration::ZERO };
        let since_start = |time: Instant| time.saturating_duration_since(self.started);
        let (began, ended) = (since_start(record.began), since_start(record.ended));
        // A call may take effect from its beginning on. A call that waits has what it waited for at
        // its end.
        let mut at = match record.call {
            Call::Read(..) | Call::Recv(..) | Call::Poll(..) | Call::Pselect(..) => ended,
            Call::Waitpid(..) | Call::Flock(..) => ended,
            _ => began,
        };
        match (&record.call, &record.result) {
            (Call::Fork, Ok(answer)) => {
                let pid = answer.number() as i32;
                self.known.related = true;
                self.link.after_fork(pid == 0);
                if pid == 0 {
                    // What was recorded before the fork is the parent's to tell.
                    self.entries.clear();
                    self.known.who = Who::Listener;
                    at = ended;
                } else {
                    self.known.listener = Some(Pid::from_raw(pid));
                }
            }
            (Call::Shmget(_, _, flags), Ok(answer)) => {
                self.known.segment = Some(answer.number() as i32);
                self.known.created = *flags != 0;
            }
            // (A child knows its parent.)
            (_, Ok(Answer::Status(status))) if is_listener && !self.known.related => {
                self.known.sender = Some(status.creator_pid);
            }
            (Call::Sigprocmask(SigmaskHow::SIG_UNBLOCK, _), _) => self.times.unblocked = ended,
            (Call::Sigprocmask(SigmaskHow::SIG_BLOCK, _), _) => {
                self.times.spun = (began.saturating_sub(self.times.unblocked), used);
            }
            (Call::CopyIn(..), _) => self.known.written = true,
            (Call::Arrival(..), _) => self.times.last_signal = began,
            _ => {}
        }
        let role = if let Call::Arrival(..) = record.call { Role::Receiver } else { Role::Detail };
        let text = calls::text(record, self.known.written);
        let page = calls::page(record).to_owned();
        self.add(Entry { role, page, ..self.entry(at, Kind::Call, text) });
        if let Some((what, kind, crosses)) = calls::event(record, &self.known) {
            self.add(Entry { crosses, ..self.entry(at, kind, what) });
        }
        match (&record.call, &record.result) {
            (Call::Pselect(..), _) => self.add_wait(at, "slept", (ended - began, used)),
            (Call::Nanosleep(_), _) | (Call::Flock(..), Err(Errno::EINTR)) => {
                self.looked(record.call.to_string(), at);
            }
            _ => {}
        }
        // To record it is no part of the next wait.
        if is_listener {
            self.take_processor_time();
        }
    }

    /// The processor time that this process has used since this was last asked.
    fn take_processor_time(&mut self) -> Duration {
        let now = process::processor_time();
        now.saturating_sub(replace(&mut self.times.processor, now))
    }

    /// How the listener has waited, for how long, and what processor time that took.
    fn add_wait(&mut self, at: Duration, how: &str, (time, used): (Duration, Duration)) {
        // (The processor time is that since the last call, so it may begin before the wait.)
        let (time, used) = (time.as_micros(), used.min(time).as_micros());
        let text = format!("({how} for {time} us; processor time: {used} us)");
        self.add(self.entry(at, Kind::Call, text));
    }

    /// Takes in what a step tells, before it is recorded itself. Returns when it began; or `None`
    /// if there is no more to it, because it is a part of another step. Fails as pipe(2) does.
    pub(super) fn begin(&mut self, step: &Step<'_>) -> Result<Option<Duration>> {
        let now = self.started.elapsed();
        let Times { last_signal, unblocked, spun, .. } = self.times;
        match step {
            Step::FoundNothing(why) => {
                let text = format!("A signal, but no message: {why}");
                self.held_back.push(self.entry(now, Kind::Lesson, text));
                self.held_back.push(self.entry(last_signal, Kind::Event, "a signal, no message"));
                self.looked(why.to_string(), now);
            }
            Step::Spun(rounds) => {
                self.add_wait(unblocked, &format!("spun {rounds} rounds"), spun);
                let event = format!("spins {rounds} rounds");
                self.add(self.entry(unblocked, Kind::Event, event));
            }
            Step::Woken => self.times.last_step = now,
            Step::Forking => self.link = Link::open()?,
            Step::Listening(parent, listener) => {
                (self.known.sender, self.known.listener) = (*parent, Some(*listener));
            }
            Step::Writing(_, listener) => self.known.listener = Some(*listener),
            Step::AllDone | Step::Done => self.take_over(true),
            _ => {}
        }
        if matches!(step, Step::FoundNothing(_) | Step::Spun(_) | Step::Woken) {
            return Ok(None);
        }
        self.release();
        Ok(Some(now))
    }

    /// Records a step, which began `at` this time: its lines, its lessons, and the bytes if a
    /// message was read.
    pub(super) fn step(&mut self, step: &Step<'_>, at: Duration) {
        // A heading is told after its calls, because they make it true. But it is to stand above
        // them: so it gets the time of the step before.
        let heading = replace(&mut self.times.last_step, at) + Duration::from_nanos(1);
        let stands = match step {
            Step::Registered(_) => heading,
            Step::ReceivedSignal(_, signaler) if Some(*signaler) == self.known.sender => heading,
            _ => at,
        };
        if let Step::ReceivedSignal(_, signaler) = step {
            let at = self.times.last_signal;
            let mut event = self.entry(at, Kind::Event, "the handler stores it");
            // In the demo the arrow is drawn at the parent's kill, and nobody draws one for a
            // signal that has come from elsewhere.
            if Some(*signaler) == self.known.sender && !self.known.related {
                event.kind = Kind::ToListener;
                event.crosses = self.known.signal.to_string();
            }
            self.add(event);
        }
        let (role, text) = words::of(step);
        for line in text.lines() {
            self.add(Entry { role, ..self.entry(stands, Kind::Line, line) });
        }
        for (mark, text) in lessons::of(step, &self.known) {
            match mark {
                '#' => self.add(self.entry(stands, Kind::Heading, text)),
                '*' => self.add(self.entry(stands, Kind::Lesson, text)),
                _ => {} // for a stop
            }
        }
        if let Step::Received(message) = step {
            for (role, row) in bytes::picture(*message) {
                self.add(Entry { role, ..self.entry(stands, Kind::Picture, row) });
            }
        }
    }

    fn entry(&self, at: Duration, kind: Kind, text: impl Into<String>) -> Entry {
        Entry::new(at, self.known.who, kind, text)
    }

    fn add(&mut self, entry: Entry) {
        if self.looks.is_empty() { self.keep([entry]) } else { self.held_back.push(entry) }
    }

    fn keep(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            // The parent tells what it has been handed. But in a live run each tells its own.
            if !self.link.send(&entry) || self.live {
                self.entries.push(entry);
            }
        }
    }

    /// This process has looked in vain, and will look again. If an earlier look ended in the same
    /// way, what was held back is only counted.
    fn looked(&mut self, end: String, at: Duration) {
        let held_back = take(&mut self.held_back);
        if let Some(look) = self.looks.iter_mut().find(|look| look.end == end) {
            look.again += 1;
        } else {
            self.looks.push(Look { end, at, again: 0 });
            self.keep(held_back);
        }
    }

    /// Says how often nothing was found, each in its place, and keeps what was held back.
    fn release(&mut self) {
        for Look { at, again, .. } in take(&mut self.looks).into_iter().filter(|it| it.again > 0) {
            let text = format!("Looked again, with the same result: {again}.");
            self.keep([self.entry(at + Duration::from_nanos(1), Kind::Lesson, text)]);
        }
        let held_back = take(&mut self.held_back);
        self.keep(held_back);
    }

    /// Takes over what the child, which has ended, has recorded. If it was killed, that goes as far
    /// as it came. In a live run it has told its own, and only the timeline needs its events.
    fn take_over(&mut self, was_successful: bool) {
        let (entries, dropped) = self.link.receive();
        let is_event =
            |it: &Entry| matches!(it.kind, Kind::Event | Kind::ToListener | Kind::ToSender);
        self.entries.extend(entries.into_iter().filter(|it| !self.live || is_event(it)));
        if dropped.map_or(was_successful, |dropped| dropped > 0) {
            let count = dropped.map_or("unknown".to_owned(), |dropped| dropped.to_string());
            let text = format!("Lines of the listener that are missing here: {count}.");
            self.add(self.entry(self.started.elapsed(), Kind::Lesson, text));
        }
    }

    /// The run is over.
    pub(super) fn end(&mut self) {
        self.release();
        self.take_over(false);
        if self.known.who == Who::Listener {
            self.add(self.entry(self.started.elapsed(), Kind::Event, "ends"));
        }
        self.link.close();
    }
}
