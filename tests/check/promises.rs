//! What is promised, and how each promise is tried.
//!
//! The rule above all: a promise is called broken only if no correct program can look so. What a
//! program prints besides, how it finds its segment, and whether it has one, is its own affair.

use std::collections::{BTreeMap, BTreeSet};

use crate::functions::{Functions, UNSAFE_CALLS};
use crate::runs::{End, Limits, Outcome, Run, Stdout, Subject, has_received, lines};
use crate::support::*;
use crate::trace::{Event, Trace, is_pending_at, lets_in};
use crate::tracee::{self, SYSTEM_CALLS, Stop, instruction_pointer, is_at_call, stack_pointer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    Received,
    Lengths,
    ExitStatus,
    Once,
    AtOnce,
    Foreign,
    SegmentLeft,
    AfterSignal,
    ProcessLeft,
    Killed,
    Reaped,
    Handler,
    TooEarly,
    SleptThrough,
}

use Promise::*;

impl Promise {
    pub const ALL: [Self; 14] = [
        Received,
        Lengths,
        ExitStatus,
        Once,
        AtOnce,
        Foreign,
        SegmentLeft,
        AfterSignal,
        ProcessLeft,
        Killed,
        Reaped,
        Handler,
        TooEarly,
        SleptThrough,
    ];

    /// Its name in both tables.
    pub fn name(self) -> &'static str {
        match self {
            Received => "received",
            Lengths => "lengths",
            ExitStatus => "exit status",
            Once => "printed once",
            AtOnce => "20 at once",
            Foreign => "foreign segment",
            SegmentLeft => "segment left",
            AfterSignal => "after a signal",
            ProcessLeft => "process left",
            Killed => "listener killed",
            Reaped => "child reaped",
            Handler => "handler",
            TooEarly => "too early",
            SleptThrough => "slept through",
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Received => "The message is received in each run.",
            Lengths => "Messages of 0 and of 1,007 bytes are, too.",
            ExitStatus => "0 if and only if the message was received.",
            Once => "No line comes twice in a pipe.",
            AtOnce => "Each has its own message, and none fails.",
            Foreign => "One that is there already stays as it is.",
            SegmentLeft => "No segment is left after a run.",
            AfterSignal => "Nor after SIGTERM, SIGINT or SIGHUP.",
            ProcessLeft => "No process and no zombie is left.",
            Killed => "The program does not hang then.",
            Reaped => "The parent ends after it has reaped it.",
            Handler => "It calls only what signal-safety(7) lists.",
            TooEarly => "No signal is sent before its handler is set.",
            SleptThrough => "A signal just before the sleep wakes, too.",
        }
    }

    /// What to look at if it is broken.
    pub fn look(self) -> &'static str {
        match self {
            Received => "is the listener ready, and what does it find when it looks?",
            Lengths => "how large is what carries the message, and where does it end?",
            ExitStatus => "what does the parent learn of its child's end?",
            Once => "what is in the buffer of standard output when the program forks?",
            AtOnce => "what do two runs share, and who waits for whom?",
            Foreign => "does shmget have IPC_EXCL, and what happens if it fails?",
            SegmentLeft => "who removes the segment, and when?",
            AfterSignal => "who removes the segment if a signal comes, at any moment?",
            ProcessLeft => "how does the child learn that its parent has ended?",
            Killed => "does every wait end if the other process is gone?",
            Reaped => "where is the waitpid?",
            Handler => "what does signal-safety(7) list?",
            TooEarly => "what does the sender wait for before it sends the signal?",
            SleptThrough => "can it come between the look and the sleep, as in pselect(2)?",
        }
    }
}

/// How often a promise was tried and was broken, and what was seen then.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub runs: usize,
    pub broken: usize,
    pub evidence: Option<String>,
    /// Why it says nothing about this program.
    pub not_applicable: Option<&'static str>,
    /// Why it could not be tried on this machine.
    pub not_tested: Option<&'static str>,
}

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub runs: usize,
    pub rounds: usize,
    pub disturbed: usize,
    pub few: usize,
    /// No promise is tried longer than this, apart from its last run.
    pub time: Duration,
    pub limits: Limits,
}

impl Effort {
    /// For somebody's program: about half a minute.
    pub const FULL: Self = Self {
        runs: 200,
        rounds: 10,
        disturbed: 24,
        few: 3,
        time: Duration::from_secs(4),
        limits: Limits { end: Duration::from_secs(8), left: Duration::from_secs(8) },
    };
    /// For programs that are known.
    pub const SHORT: Self = Self {
        runs: 20,
        rounds: 2,
        disturbed: 12,
        few: 1,
        time: Duration::from_secs(4),
        limits: Limits { end: Duration::from_secs(3), left: Duration::from_secs(2) },
    };

    pub fn times(self, more: usize) -> Self {
        let Self { runs, rounds, disturbed, .. } = self;
        let time = self.time * more as u32;
        Self { runs: runs * more, rounds: rounds * more, disturbed: disturbed * more, time, ..self }
    }
}

pub struct Check {
    subject: Subject,
    effort: Effort,
    tallies: [Tally; Promise::ALL.len()],
    /// How long a run takes: the median.
    usual: Duration,
    main_listens: bool,
    /// How often some runs have shown each kind of line on a terminal.
    on_terminal: Vec<BTreeMap<String, usize>>,
    /// Whether a line that came twice was not part of a buffer.
    prints_apart: bool,
}

impl Check {
    /// Tries all promises.
    pub fn of(subject: &Subject, effort: Effort) -> [Tally; Promise::ALL.len()] {
        let mut check = Self {
            subject: subject.clone(),
            effort,
            tallies: Default::default(),
            usual: Duration::ZERO,
            main_listens: false,
            on_terminal: Vec::new(),
            prints_apart: false,
        };
        if check.one_after_the_other() == Some(End::Absent) {
            for promise in Promise::ALL {
                check.not_applicable(promise, "it could not be started");
            }
            return check.tallies;
        }
        check.lengths();
        check.captured();
        check.at_once();
        check.somebody_elses_segment();
        check.ended_by_signals();
        check.without_its_listener();
        check.traced();
        let prints_apart = check.prints_apart;
        let once = check.tally(Once);
        if once.broken < once.runs || prints_apart {
            // It may have had more to say in a pipe.
            (once.broken, once.evidence) = (0, None);
        }
        if once.runs == 0 {
            check.not_applicable(Once, "no message was received");
        }
        check.tallies
    }

    fn tally(&mut self, promise: Promise) -> &mut Tally {
        &mut self.tallies[promise as usize]
    }

    /// Counts a run for a promise. `broken` says what was seen if it was broken.
    fn count(&mut self, promise: Promise, broken: Option<String>) {
        self.count_seen(promise, broken.map(|seen| format!("{seen}: {}", promise.look())));
    }

    /// The same. Of a run that is out of hand, that is all that there is to say.
    fn count_run(&mut self, promise: Promise, run: &Run, broken: Option<String>) {
        match run.is_out_of_hand() {
            true => self.count_seen(promise, broken),
            false => self.count(promise, broken),
        }
    }

    fn count_seen(&mut self, promise: Promise, seen: Option<String>) {
        let tally = self.tally(promise);
        tally.runs += 1;
        tally.broken += usize::from(seen.is_some());
        tally.evidence = tally.evidence.take().or(seen);
    }

    fn is_broken(&self, promise: Promise) -> bool {
        self.tallies[promise as usize].broken > 0
    }

    fn is_ever_received(&self) -> bool {
        let tally = &self.tallies[Received as usize];
        tally.broken < tally.runs
    }

    fn not_applicable(&mut self, promise: Promise, why: &'static str) {
        self.tally(promise).not_applicable.get_or_insert(why);
    }

    /// Counts what holds for any run that was not hindered: nothing is left of it.
    fn count_left(&mut self, outcome: &Outcome, when: &str) {
        let left = &outcome.left;
        let told = || match &left[..] {
            [first] => format!("{when}, {first} was still there"),
            [first, others @ ..] => {
                format!("{when}, {first} and {} more were still there", others.len())
            }
            [] => unreachable!("somebody is left"),
        };
        self.count(ProcessLeft, (!left.is_empty()).then(told));
        if !left.is_empty() {
            // Once is enough to wait for whether they end by themselves.
            self.subject.limits.left = Duration::from_millis(500);
        }
    }

    /// Runs one by one, until there are enough or the time is up, or `run` says that it is enough.
    fn repeat(&mut self, times: usize, mut run: impl FnMut(&mut Self, usize) -> bool) {
        let start = Instant::now();
        for number in 0..times {
            if run(self, number) || start.elapsed() > self.effort.time {
                return;
            }
        }
    }

    /// How the last run has ended.
    fn one_after_the_other(&mut self) -> Option<End> {
        let (mut took, mut end) = (Vec::new(), None);
        let start = Instant::now();
        for number in 1..=self.effort.runs {
            let outcome = self.subject.run(&format!("message {number}"));
            let run = &outcome.runs[0];
            took.push(run.took);
            end = Some(run.end);
            let wrong = || match (run.has_received(), run.told()) {
                (true, told) => format!("the message of run {number} was received, but {told}"),
                (false, told) => format!(
                    "in run {number} no line ended in \"Received: {}\", and {told}",
                    run.message
                ),
            };
            let is_right = run.has_received() && !run.is_out_of_hand();
            self.count_run(Received, run, (!is_right).then(wrong));
            self.count_status(run, &format!("in run {number}"));
            if run.end == End::Hung {
                break;
            }
            self.count_left(&outcome, &format!("after run {number}"));
            let segments = || format!("run {number} left {} behind", outcome.segments);
            self.count(SegmentLeft, (outcome.segments > 0).then(segments));
            // Three times as long as the others, since it is the promise above all.
            if run.is_out_of_hand() || start.elapsed() > 3 * self.effort.time {
                break;
            }
        }
        took.sort_unstable();
        self.usual = took[took.len() / 2];
        if !self.is_ever_received() {
            // It may well hang each time.
            self.subject.limits.end = self.subject.limits.end.min(Duration::from_secs(2));
        }
        let known = self.subject.run_into(Stdout::Socket, "who");
        self.main_listens = known.runs[0].is_received_by_main;
        end
    }

    fn count_status(&mut self, run: &Run, when: &str) {
        let End::Exited(code) = run.end else { return };
        let told = |what| format!("{when} the message was {what}, and {}", run.told());
        self.count(
            ExitStatus,
            match (run.has_received(), code) {
                (true, 0) => None,
                (true, _) => Some(told("received")),
                (false, 0) => Some(told("not received")),
                (false, _) => None,
            },
        );
    }

    fn lengths(&mut self) {
        if self.is_broken(Received) {
            return self.not_applicable(Lengths, "it fails with ordinary messages, too");
        }
        for length in [0, 1007] {
            self.repeat(self.effort.few, |check, _| {
                let outcome = check.subject.run(&"x".repeat(length));
                let run = &outcome.runs[0];
                let broken =
                    || format!("a message of {length} bytes was not received: {}", run.told());
                check.count_run(Lengths, run, (!run.has_received()).then(broken));
                check.count_status(run, &format!("with {length} bytes"));
                check.count_left(&outcome, &format!("with {length} bytes"));
                run.is_out_of_hand()
            });
        }
    }

    /// A buffer that fork has copied is printed twice, but only if it is one: a terminal's lines
    /// are written one by one. What comes once on the terminal in each run, and twice in a pipe in
    /// each run, is such a copy.
    fn captured(&mut self) {
        self.repeat(3 * self.effort.few, |check, _| {
            let run = check.subject.run_into(Stdout::Terminal, "hello").runs.remove(0);
            let kinds = run.lines().into_iter().map(|it| without_numbers(&it));
            check.on_terminal.push(counted(kinds));
            run.is_out_of_hand()
        });
        self.repeat(3 * self.effort.few, |check, _| {
            let run = check.subject.run("hello").runs.remove(0);
            check.count_lines(&run);
            run.is_out_of_hand()
        });
    }

    /// Only if the message was received: then the listener has printed what is in its buffer.
    fn count_lines(&mut self, run: &Run) {
        if run.has_received() {
            let told = |(line, times)| format!("in a pipe {line:?} came {times} times");
            self.count(Once, self.twice(run).map(told));
        }
    }

    /// A line that comes more than once, and only once on a terminal.
    fn twice(&self, run: &Run) -> Option<(String, usize)> {
        let come_once = |line: &str| {
            let kind = without_numbers(line);
            self.on_terminal.iter().all(|run| run.get(&kind) == Some(&1))
        };
        let is_twice = |(line, times): &(String, usize)| *times > 1 && come_once(line);
        counted(run.lines()).into_iter().find(is_twice)
    }

    fn at_once(&mut self) {
        if !self.is_ever_received() {
            return self.not_applicable(AtOnce, "it has never done what it should");
        }
        let loses_alone = self.is_broken(Received);
        self.repeat(self.effort.rounds, |check, round| {
            let messages: Vec<_> =
                (0..20).map(|it| format!("message {it} of round {round}")).collect();
            let limit = check.effort.limits.end + 40 * check.usual;
            let scratch = Scratch::unchecked();
            let outcome = check.subject.watch(&scratch, Stdout::Pipe, &messages, limit, |_| {});
            for run in &outcome.runs {
                let others =
                    messages.iter().find(|it| **it != run.message && has_received(&run.stdout, it));
                let broken = match others {
                    Some(other) => Some(format!("{:?} received {other:?}", run.message)),
                    None if run.has_received() && run.end == End::Exited(0) => None,
                    // It does so when it is alone, too.
                    None if loses_alone => None,
                    None => Some(format!("one of the 20 failed: {}", run.told())),
                };
                check.count_run(AtOnce, run, broken);
            }
            outcome.runs.iter().any(Run::is_out_of_hand)
        });
        if loses_alone && !self.is_broken(AtOnce) {
            self.not_applicable(AtOnce, "it fails with one at a time, too");
        }
    }

    /// Its creator is this process, which lives and has attached it.
    fn somebody_elses_segment(&mut self) {
        self.repeat(self.effort.few, |check, _| {
            let scratch = Scratch::unchecked();
            // So large that whatever size is asked for, the segment has it.
            let planted = Planted::empty(&scratch, 1 << 16, 0o600);
            let attached = Attached::new(planted.id, 0).unwrap();
            let theirs: Vec<u8> = (0..1 << 16).map(|it: u32| (it % 251) as u8 | 1).collect();
            attached.write(0, &theirs);
            let status = || {
                let status = segment_status(planted.id).ok()?;
                Some((status.shm_perm.mode, status.shm_perm.uid, status.shm_perm.gid))
            };
            let before = status();
            let messages = ["hello".to_owned()];
            let limit = check.effort.limits.end;
            let outcome = check.subject.watch(&scratch, Stdout::Pipe, &messages, limit, |_| {});
            let run = &outcome.runs[0];
            let broken = match () {
                () if status() != before => {
                    Some("a segment that was there was removed, or its mode changed")
                }
                () if attached.bytes() != theirs => Some("a segment that was there was written to"),
                () => None,
            };
            check.count(Foreign, broken.map(|it| format!("{it}, and {}", run.told())));
            // Whoever waits for a segment to vanish may wait for ever.
            if run.end != End::Hung {
                check.count_status(run, "with a foreign segment at its key");
                check.count_left(&outcome, "with a foreign segment at its key");
            }
            run.end == End::Hung
        });
    }

    fn ended_by_signals(&mut self) {
        self.repeat(self.effort.disturbed * 2, |check, number| {
            let signal = [SIGTERM, SIGINT, SIGHUP][number % 3];
            let moment = check.moment(number / 3);
            let mut sent = false;
            let outcome = check.subject.disturbed(Stdout::Pipe, "hello", |now| {
                let is_now =
                    moment.map_or_else(|| !now.segments().is_empty(), |it| now.elapsed >= it);
                if is_now && !mem::replace(&mut sent, true) {
                    // Ctrl-C is for all that run on the terminal.
                    let _ = match signal {
                        SIGINT => killpg(now.main, signal),
                        _ => kill(now.main, signal),
                    };
                }
            });
            let run = &outcome.runs[0];
            // One that the signal did not end may leave what it leaves in any case.
            if sent && (run.end != End::Exited(0) || !check.is_broken(SegmentLeft)) {
                match run.end {
                    // It has died of something else.
                    End::Killed(other) if other != signal as i32 => {}
                    End::Exited(_) | End::Killed(_) => {
                        let left = || format!("after {signal}, a segment was left");
                        check.count(AfterSignal, (outcome.segments > 0).then(left));
                    }
                    _ => {
                        let told = format!("after {signal}, {}", run.told());
                        check.count_seen(AfterSignal, Some(told));
                    }
                }
                check.count_left(&outcome, &format!("after {signal}"));
            }
            run.end == End::Hung || check.is_broken(ProcessLeft) && !outcome.left.is_empty()
        });
        if self.tally(AfterSignal).runs == 0 {
            self.not_applicable(AfterSignal, "each run had ended before the signal came");
        }
    }

    /// When to disturb a run: at moments that are spread over it, and every other time as soon as
    /// there is something to disturb, which is `None`.
    fn moment(&self, number: usize) -> Option<Duration> {
        let part = (number / 2) as f64 * 0.618 % 1.0;
        (number % 2 == 1).then(|| self.usual.mul_f64(part))
    }

    fn without_its_listener(&mut self) {
        if !self.is_ever_received() {
            return self.not_applicable(Killed, "it has never done what it should");
        }
        if self.main_listens {
            return self
                .not_applicable(Killed, "the process that you start is the listener itself");
        }
        let mut statuses = Vec::new();
        // Most of them live for a small part of the run.
        self.repeat(4 * self.effort.disturbed, |check, number| {
            let moment = check.moment(number);
            let mut was_killed = false;
            let outcome = check.subject.disturbed(Stdout::Pipe, "hello", |now| {
                let is_now = now.elapsed >= moment.unwrap_or_default();
                let others = now.living.iter().filter(|it| **it != now.main);
                if is_now && !was_killed {
                    others.for_each(|it| was_killed |= kill(*it, SIGKILL).is_ok());
                }
            });
            let run = &outcome.runs[0];
            if was_killed {
                let broken = match run.end {
                    End::Exited(_) | End::Killed(_) => None,
                    _ => Some(run.told()),
                };
                check.count(Killed, broken);
                if !run.has_received() {
                    statuses.push((run.end == End::Exited(0), run.told()));
                }
            }
            run.end == End::Hung
        });
        // One that has learned of the message in time may say so, even if nobody has seen the line.
        // But that is rare.
        if statuses.len() > 2 && statuses.iter().filter(|it| it.0).count() * 2 > statuses.len() {
            for (is_zero, told) in statuses {
                let told = || format!("the listener was killed, and {told}");
                self.count(ExitStatus, is_zero.then(told));
            }
        }
        if self.tally(Killed).runs == 0 {
            self.not_applicable(Killed, "each run had ended before somebody could be killed");
        }
    }

    fn traced(&mut self) {
        if !tracer::can_trace() {
            for promise in [Reaped, Handler, TooEarly, SleptThrough] {
                self.tally(promise).not_tested =
                    Some("it needs ptrace(2), which does not work here");
            }
            return;
        }
        let start = Instant::now();
        let mut is_slow = false;
        self.repeat(self.effort.few, |check, _| {
            let listened = check.listener_is_ready();
            is_slow |= listened.hung;
            for run in [
                Self::child_is_slow,
                Self::calls_of_the_handler,
                Self::signal_just_before_the_sleep,
            ] {
                is_slow |= start.elapsed() > 3 * check.effort.time;
                if !is_slow {
                    run(check, &listened);
                }
            }
            is_slow
        });
        if SYSTEM_CALLS.is_empty() {
            let why = "it is not known which instruction makes a system call here";
            self.tally(SleptThrough).not_tested = Some(why);
        }
        let not_slept = match self.tally(Handler).runs {
            0 => "no handler of such a signal has run",
            _ => "it was not asleep when the signal came",
        };
        for (promise, why) in [
            (Reaped, "no child of the process that you start is known to be the listener"),
            (Handler, "no handler of such a signal has run"),
            (TooEarly, "no signal of its own was sent"),
            (SleptThrough, not_slept),
        ] {
            if self.tally(promise).runs == 0 {
                let why = if is_slow { "while it was traced, it did not end in time" } else { why };
                self.not_applicable(promise, why);
            }
        }
    }

    /// A run in which whoever forks goes on only when its child has done all that it does without a
    /// message.
    fn listener_is_ready(&mut self) -> Listened {
        let mut trace = Trace::start(&self.subject, "hello");
        let main = trace.main;
        let (mut listened, mut unreaped) = (Listened::default(), Vec::new());
        let (mut calls, mut interrupted, mut handling) = (BTreeMap::new(), None, None);
        let mut made_in_handler = BTreeSet::new();
        while let Some(event) = trace.next() {
            match event {
                Event::Forked(parent) => trace.hold(parent),
                Event::Entry(thread, number) => {
                    calls.entry(thread).or_insert((0, 0)).0 += 1;
                    calls.entry(thread).and_modify(|it| it.1 = number);
                    interrupted = interrupted.filter(|it| *it != thread);
                    // The handler has less stack than what it interrupts, or it has been left.
                    let stack = stack_pointer(thread);
                    handling = handling.filter(|it: &(Pid, u64)| it.0 != thread || stack < it.1);
                    if handling.is_some_and(|it| it.0 == thread) {
                        let found = UNSAFE_CALLS.iter().find(|(it, _)| *it == number);
                        made_in_handler.extend(found.map(|it| it.1.to_owned()));
                        if tracee::is_return_of_handler(number) {
                            // And not by siglongjmp(3), which leaves no trace.
                            listened.unsafe_calls.append(&mut made_in_handler);
                            handling = None;
                        }
                    }
                }
                Event::Exit(thread, result) if is_interrupted(result) => interrupted = Some(thread),
                Event::Signal(thread, signal) if trace.is_notification(thread, signal) => {
                    let sleeper = interrupted.filter(|it| *it == thread);
                    let sleep = sleeper.map(|it| {
                        let (calls, call) = calls[&it];
                        Sleep { signal, birth: trace.birth(it), calls, call }
                    });
                    listened.sleep = listened.sleep.or(sleep);
                    listened.has_handled = true;
                    handling = Some((thread, stack_pointer(thread)));
                    made_in_handler.clear();
                }
                Event::Ending(process) if process == main => unreaped = trace.children_there(main),
                _ => {}
            }
            if event == Event::Quiet || trace.held_for() > HOLD {
                trace.let_all_go();
            }
        }
        listened.hung = trace.hung;
        let partner = trace.partner_of(main);
        if let Some(child) = partner.filter(|_| !listened.hung) {
            let told = || "nobody had asked for the child's exit status when the parent ended";
            self.count(Reaped, unreaped.contains(&child).then(|| told().to_owned()));
        }
        listened.early = trace.early();
        let writes = mem::take(&mut trace.writes);
        let run = trace.finish();
        // Of a buffer that was copied, the line is not the last.
        let is_part = |line: &str| {
            writes.iter().map(|it| lines(it)).any(|it| {
                it.split_last().is_some_and(|(_, before)| before.iter().any(|it| it == line))
            })
        };
        self.prints_apart |= self.twice(&run).is_some_and(|(line, _)| !is_part(&line));
        self.count_lines(&run);
        listened
    }

    /// The same, instruction by instruction while a handler runs.
    fn calls_of_the_handler(&mut self, listened: &Listened) {
        let mut trace = Trace::start(&self.subject, "hello");
        let mut called = listened.unsafe_calls.clone();
        let mut has_run = listened.has_handled;
        while let Some(event) = trace.next() {
            match event {
                Event::Forked(parent) => trace.hold(parent),
                Event::Signal(thread, signal) if trace.is_notification(thread, signal) => {
                    has_run = true;
                    let functions = Functions::of(trace.process_of(thread));
                    let back = instruction_pointer(thread).unwrap_or_default();
                    let (stack, mut from) = (stack_pointer(thread), back);
                    for _ in 0..MANY {
                        let stop = trace.step(thread);
                        let Some(at) = instruction_pointer(thread) else { break };
                        // An interrupted call is made again: the instruction before. And a handler
                        // that siglongjmp(3) has left has given its stack back.
                        let is_back = at.abs_diff(back) <= 4 || stack_pointer(thread) >= stack;
                        if stop != Some(Stop::Signal(libc::SIGTRAP)) || is_back {
                            break;
                        }
                        called.extend(functions.called(from, at).map(str::to_owned));
                        from = at;
                    }
                }
                _ => {}
            }
            if event == Event::Quiet || trace.held_for() > HOLD {
                trace.let_all_go();
            }
        }
        if has_run {
            let names = Vec::from_iter(called).join(", ");
            self.count(Handler, (!names.is_empty()).then(|| format!("a handler called {names}")));
        }
    }

    /// A run in which each child stands at its first instruction until nobody else does anything.
    /// Whoever only sleeps for a while is not waiting for the child.
    fn child_is_slow(&mut self, listened: &Listened) {
        let mut trace = Trace::start(&self.subject, "hello");
        let main = trace.main;
        let mut sleeps = false;
        while let Some(event) = trace.next() {
            match event {
                Event::Born(child) => trace.hold(child),
                Event::Program(process) if process != main => trace.hold(process),
                Event::Entry(_, number) => {
                    sleeps = number == libc::SYS_clock_nanosleep || number == libc::SYS_nanosleep;
                }
                _ => {}
            }
            let is_over = match event {
                Event::Quiet => !sleeps || trace.held_for() > self.effort.limits.end / 2,
                _ => !sleeps && trace.held_for() > HOLD,
            };
            if is_over || trace.is_early() {
                trace.let_all_go();
            }
        }
        if let Some(told) = trace.early().max(listened.early.clone()) {
            self.count(TooEarly, told);
        }
    }

    /// A run whose listener stands at the instruction by which it goes to sleep, until the signal is
    /// pending.
    fn signal_just_before_the_sleep(&mut self, listened: &Listened) {
        let Some(Sleep { signal, birth, calls, call }) = listened.sleep else { return };
        let mut trace = Trace::start(&self.subject, "hello");
        let (mut made, mut sleeps) = (0, false);
        // The sender waits until the listener has come to the sleep.
        let (mut sender, mut held, mut came) = (None, None, None);
        while let Some(event) = trace.next() {
            let is_listener = |thread: Pid| trace.birth(thread) == birth;
            // Whether the listener has just made its last call before the sleep.
            let sleepy = match event {
                Event::Entry(thread, number) if is_listener(thread) => {
                    made += 1;
                    sleeps = number == call;
                    let is_last = made + 1 == calls;
                    (is_last && trace.finish_call(thread) == Some(Stop::Call)).then_some(thread)
                }
                // That call has waited for somebody.
                Event::Exit(thread, _) if is_listener(thread) => {
                    sleeps = false;
                    (made + 1 == calls).then_some(thread)
                }
                Event::Entry(thread, _) if trace.is_sending(thread) && made < calls => {
                    trace.hold(thread);
                    sender = Some(thread);
                    None
                }
                _ => None,
            };
            if let Some(thread) = sleepy {
                if !lets_in(thread, signal) {
                    // The signal comes in by the call itself, or not at all.
                    trace.finish();
                    return self.count(SleptThrough, None);
                }
                let trap = Some(Stop::Signal(libc::SIGTRAP));
                let mut steps = (0..MANY).map_while(|_| (trace.step(thread) == trap).then_some(()));
                if steps.any(|()| is_at_call(thread)) {
                    trace.hold(thread);
                    held = Some((thread, Instant::now()));
                }
            }
            if let Some(thread) = sender.filter(|_| held.is_some() || trace.held_for() > HOLD) {
                trace.let_go(thread);
                sender = None;
            }
            if let Some((thread, since)) = held {
                came = is_pending_at(thread, signal).then(Instant::now);
                if came.is_some() || since.elapsed() > HOLD {
                    trace.let_go(thread);
                    held = None;
                }
            }
        }
        if let Some(came) = came {
            // One that sleeps for a while only, and looks again, has done so by now.
            let slept_on = sleeps && came.elapsed() > Duration::from_millis(200);
            let told = "the signal came just before the listener went to sleep, and it slept on";
            self.count(SleptThrough, slept_on.then(|| told.to_owned()));
        }
    }
}

/// Nobody is held for longer, even if the others are busy.
const HOLD: Duration = Duration::from_millis(1500);

/// More instructions than are made between two system calls.
const MANY: usize = 300_000;

/// What was seen of a listener that had its message.
#[derive(Debug, Default)]
struct Listened {
    /// Whether a handler has run.
    has_handled: bool,
    sleep: Option<Sleep>,
    unsafe_calls: BTreeSet<String>,
    /// Whether it was sent, and what was wrong then.
    early: Option<Option<String>>,
    hung: bool,
}

/// How a process slept until the signal came.
#[derive(Clone, Copy, Debug)]
struct Sleep {
    signal: i32,
    /// Which process, by the order of births.
    birth: usize,
    /// How many calls it had made, with the one in which it slept, and which that is.
    calls: usize,
    call: libc::c_long,
}

/// Whether a call came back because of a signal: EINTR, or one of the kernel's own numbers for it.
fn is_interrupted(result: i64) -> bool {
    matches!(-result, 4 | 512..=514 | 516)
}

/// How often each of them is there.
fn counted(lines: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    lines.into_iter().for_each(|it| *times.entry(it).or_insert(0) += 1);
    times
}

fn without_numbers(line: &str) -> String {
    line.split(|it: char| it.is_ascii_digit())
        .filter(|it| !it.is_empty())
        .collect::<Vec<_>>()
        .join("#")
}
