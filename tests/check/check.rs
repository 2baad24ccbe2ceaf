//! How each promise is tried, as far as that shows from outside. (The rest: see `traced`.)
//!
//! The rule above all: a promise is called broken only if no correct program can look so. What a
//! program prints besides, how it finds its segment, and whether it has one, is its own affair.

use std::collections::BTreeMap;

use crate::promises::{Promise, Promise::*, ROWS, Tally};
use crate::runs::{End, Limits, Outcome, Run, Stdout, Subject, has_received};
use crate::support::*;

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
    /// For somebody's program: some seconds to a minute.
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
    pub subject: Subject,
    pub effort: Effort,
    tallies: [Tally; ROWS.len()],
    /// How long a run takes: the median.
    usual: Duration,
    main_listens: bool,
    /// How often some runs have shown each kind of line on a terminal.
    on_terminal: Vec<BTreeMap<String, usize>>,
    /// Whether a line that came twice was not part of a buffer.
    pub prints_apart: bool,
}

impl Check {
    /// Tries all promises.
    pub fn of(subject: &Subject, effort: Effort) -> [Tally; ROWS.len()] {
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
            for promise in Promise::all() {
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

    pub fn tally(&mut self, promise: Promise) -> &mut Tally {
        &mut self.tallies[promise as usize]
    }

    /// Counts a run for a promise. `broken` says what was seen if it was broken.
    pub fn count(&mut self, promise: Promise, broken: Option<String>) {
        self.count_seen(promise, broken.map(|seen| format!("{seen}: {}", promise.row().look)));
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

    pub fn not_applicable(&mut self, promise: Promise, why: &'static str) {
        self.tally(promise).not_applicable.get_or_insert(why);
    }

    /// Counts what holds for any run that has ended by itself: nothing is left of it.
    fn count_left(&mut self, outcome: &Outcome, when: &str) {
        let told = outcome.left.split_first().map(|(first, others)| match others.len() {
            0 => format!("{when}, {first} was still there"),
            more => format!("{when}, {first} and {more} more were still there"),
        });
        self.count(ProcessLeft, told);
        if !outcome.left.is_empty() {
            // Once is enough to wait for whether they end by themselves.
            self.subject.limits.left = Duration::from_millis(500);
        }
    }

    /// Runs one by one, until there are enough or the time is up, or `run` says that it is enough.
    pub fn repeat(&mut self, times: usize, mut run: impl FnMut(&mut Self, usize) -> bool) {
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
    pub fn count_lines(&mut self, run: &Run) {
        if run.has_received() {
            let told = |(line, times)| format!("in a pipe {line:?} came {times} times");
            self.count(Once, self.twice(run).map(told));
        }
    }

    /// A line that comes more than once, and only once on a terminal.
    pub fn twice(&self, run: &Run) -> Option<(String, usize)> {
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
