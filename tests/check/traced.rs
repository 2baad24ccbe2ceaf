//! What only ptrace(2) can show: the parent that waits, the calls of a handler, and a signal that
//! comes at the worst moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::Check;
use crate::functions::{Functions, UNSAFE_CALLS};
use crate::promises::Promise::*;
use crate::runs::lines;
use crate::support::*;
use crate::trace::{Event, HOLD, Trace, is_pending_at, lets_in};
use crate::tracee::{self, SYSTEM_CALLS, Stop, instruction_pointer, is_at_call, stack_pointer};

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

impl Check {
    pub fn traced(&mut self) {
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
        let (mut calls, mut interrupted) = (BTreeMap::new(), None);
        // The thread that runs a handler and its stack before, and the unsafe calls there.
        let (mut handling, mut unsafe_calls) = (None, BTreeSet::new());
        while let Some(event) = trace.next() {
            match event {
                Event::Entry(thread, number) => {
                    let (made, last) = calls.entry(thread).or_insert((0, 0));
                    (*made, *last) = (*made + 1, number);
                    interrupted = interrupted.filter(|it| *it != thread);
                    // A handler has less stack than what it interrupts, unless it has been left.
                    let stack = stack_pointer(thread);
                    handling = handling.filter(|it: &(Pid, u64)| it.0 != thread || stack < it.1);
                    if handling.is_some_and(|it| it.0 == thread) {
                        let found = UNSAFE_CALLS.iter().find(|(it, _)| *it == number);
                        unsafe_calls.extend(found.map(|it| it.1.to_owned()));
                        if tracee::is_return_of_handler(number) {
                            // One that was left by siglongjmp(3) does not come here.
                            listened.unsafe_calls.append(&mut unsafe_calls);
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
                    unsafe_calls.clear();
                }
                Event::Ending(process) if process == main => unreaped = trace.children_there(main),
                _ => {}
            }
            trace.let_children_go_first(event);
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
            trace.let_children_go_first(event);
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

    /// A run whose listener stands at the instruction by which it goes to sleep until the signal is
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
