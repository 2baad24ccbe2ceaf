//! A run under ptrace(2): the births, system calls, signals and ends of all its processes, one
//! event after the other. What an event tells of is stopped until the next one is asked for, or as
//! long as it is held.

use std::collections::{BTreeMap, BTreeSet};

use crate::runs::{BOMB, End, FLOOD, Run, Subject, adds_received, kill_all};
use crate::support::*;
use crate::tracee::{self, Stop};

/// If nothing happens for so long, whoever is not held waits for somebody, or spins.
const QUIET: Duration = Duration::from_millis(200);

/// Nobody is held for longer, even if the others are busy.
pub const HOLD: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new process stands at its first instruction.
    Born(Pid),
    /// A process has made another one.
    Forked(Pid),
    /// A process has become another program.
    Program(Pid),
    /// A thread enters a system call, which the tests know by this number.
    Entry(Pid, libc::c_long),
    /// It has made it, with this result.
    Exit(Pid, i64),
    /// A signal comes to the thread when it goes on.
    Signal(Pid, i32),
    /// The process is about to end.
    Ending(Pid),
    /// Nothing has happened for a while.
    Quiet,
}

pub struct Trace {
    /// Never waited for through this: what waitpid(2) tells a tracer is more.
    _child: Child,
    pub main: Pid,
    /// Who wrote the line by which the message was received.
    pub received_by: Option<i32>,
    /// Whether it is out of hand, and was killed.
    pub hung: bool,
    message: String,
    /// The segments that were there.
    before: BTreeSet<i32>,
    _scratch: Scratch,
    output: File,
    said: Vec<u8>,
    /// The same, in the parts in which it was written.
    pub writes: Vec<Vec<u8>>,
    end: Option<End>,
    processes: BTreeMap<i32, Process>,
    threads: BTreeMap<i32, Thread>,
    held_since: Option<Instant>,
    sent: Vec<Sent>,
    /// Whoever is at the entry of a call that sends one.
    sending: Option<Pid>,
    /// Whoever is stopped since the last event, and the signal that it gets.
    stopped: Option<(Pid, i32)>,
    start: Instant,
    limit: Duration,
    last: Instant,
}

/// What is known of a process, by its PID.
#[derive(Default)]
struct Process {
    parent: i32,
    /// The signal of which it has died.
    killed_by: Option<i32>,
    /// Whether it has ever waited for a signal, as in sigwait(3).
    waits: bool,
}

/// What is known of a thread, by its ID.
#[derive(Default)]
struct Thread {
    process: i32,
    has_begun: bool,
    is_held: bool,
    /// Whether it is in a call that may write to standard output.
    writes: bool,
    /// Whether it has asked to end without its process.
    leaves: bool,
}

/// A signal that a process has sent another one.
struct Sent {
    to: i32,
    signal: i32,
    /// Whether that one had a handler for it; or else blocked it, or ignored it.
    is_caught: bool,
    is_ready: bool,
}

impl Trace {
    pub fn start(subject: &Subject, message: &str) -> Self {
        let scratch = Scratch::unchecked();
        let (reader, writer) = new_pipe();
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut command = subject.command(message, &scratch);
        // So that what the program calls is not first looked up in the middle of a handler.
        command.env("LD_BIND_NOW", "1");
        command.stdout(writer).stderr(Stdio::null()).in_child(ptrace::traceme);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let main = Pid::from_raw(child.id() as i32);
        // The stop with which a traced process begins a new program.
        waitpid(main, Some(WaitPidFlag::__WALL)).unwrap();
        let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
            | ptrace::Options::PTRACE_O_TRACEFORK
            | ptrace::Options::PTRACE_O_TRACEVFORK
            | ptrace::Options::PTRACE_O_TRACECLONE
            | ptrace::Options::PTRACE_O_TRACEEXEC
            | ptrace::Options::PTRACE_O_TRACEEXIT
            | ptrace::Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(main, options).unwrap();
        let thread = Thread { process: main.as_raw(), has_begun: true, ..Thread::default() };
        Self {
            _child: child,
            main,
            received_by: None,
            hung: false,
            message: message.to_owned(),
            before: segments().iter().map(|it| it.id).collect(),
            _scratch: scratch,
            output: reader.into(),
            said: Vec::new(),
            writes: Vec::new(),
            end: None,
            processes: BTreeMap::from([(main.as_raw(), Process::default())]),
            threads: BTreeMap::from([(main.as_raw(), thread)]),
            held_since: None,
            sent: Vec::new(),
            sending: None,
            stopped: Some((main, 0)),
            start: Instant::now(),
            limit: subject.limits.end,
            last: Instant::now(),
        }
    }

    /// The next event, or `None` if there is nobody left.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((pid, signal)) = self.stopped.take() {
                if !self.thread(pid).is_held {
                    tracee::to_next_call(pid, signal);
                }
            }
            let Some((pid, stop)) = tracee::next_stop(None)? else {
                self.end_if_out_of_hand();
                if self.last.elapsed() > QUIET {
                    self.last = Instant::now();
                    return Some(Event::Quiet);
                }
                thread::sleep(Duration::from_micros(20));
                continue;
            };
            self.last = Instant::now();
            self.end_if_out_of_hand();
            if let Some(event) = self.note(pid, stop) {
                return Some(event);
            }
        }
    }

    fn end_if_out_of_hand(&mut self) {
        let is_too_large = self.said.len() > FLOOD || self.processes.len() > BOMB;
        if is_too_large || self.start.elapsed() > self.limit {
            self.hung = true;
            kill_all(&mut BTreeSet::new());
        }
    }

    fn note(&mut self, pid: Pid, stop: Stop) -> Option<Event> {
        self.stopped = Some((pid, 0));
        match stop {
            Stop::Exited(_) | Stop::Killed(_) => {
                self.stopped = None;
                if let (Stop::Killed(signal), Some(it)) =
                    (stop, self.processes.get_mut(&pid.as_raw()))
                {
                    it.killed_by = Some(signal);
                }
                if pid == self.main {
                    self.end = Some(match stop {
                        Stop::Exited(code) => End::Exited(code),
                        Stop::Killed(signal) => End::Killed(signal),
                        _ => unreachable!("it has ended"),
                    });
                }
                self.read(pid);
                None
            }
            // Each new thread begins with this stop.
            Stop::Signal(libc::SIGSTOP) if !self.thread(pid).has_begun => {
                self.thread(pid).has_begun = true;
                (self.process_of(pid) == pid).then_some(Event::Born(pid))
            }
            Stop::Signal(signal) => {
                self.stopped = Some((pid, signal));
                Some(Event::Signal(pid, signal))
            }
            Stop::Call => {
                if let Some((number, arguments)) = tracee::call(pid) {
                    self.note_sent(pid, number, arguments);
                    self.thread(pid).leaves |= number == libc::SYS_exit;
                    let writing = [libc::SYS_write, libc::SYS_writev];
                    self.thread(pid).writes = writing.contains(&number);
                    let process = self.process_of(pid).as_raw();
                    if let Some(process) = self.processes.get_mut(&process) {
                        process.waits |= number == libc::SYS_rt_sigtimedwait;
                    }
                    return Some(Event::Entry(pid, number));
                }
                self.read(pid);
                tracee::result(pid).map(|result| Event::Exit(pid, result))
            }
            Stop::Event(event) => match event {
                libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                    let child = Pid::from_raw(ptrace::getevent(pid).ok()? as i32);
                    let is_process = self.process_of(child) == child;
                    // In vfork(2) the parent waits for the child in any case.
                    let waits = event == libc::PTRACE_EVENT_VFORK;
                    (is_process && !waits).then_some(Event::Forked(pid))
                }
                libc::PTRACE_EVENT_EXEC => {
                    self.thread(pid).process = pid.as_raw();
                    Some(Event::Program(pid))
                }
                libc::PTRACE_EVENT_EXIT => {
                    // Its first thread may end before the others do.
                    let threads =
                        fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
                    let is_alone = threads == 1 || !self.thread(pid).leaves;
                    (self.process_of(pid) == pid && is_alone).then_some(Event::Ending(pid))
                }
                _ => None,
            },
        }
    }

    /// The thread, which may be new, as may its process.
    fn thread(&mut self, thread: Pid) -> &mut Thread {
        let processes = &mut self.processes;
        self.threads.entry(thread.as_raw()).or_insert_with(|| {
            let [process, parent] = ["Tgid:", "PPid:"].map(|it| number(thread, it));
            if process == thread.as_raw() {
                processes.entry(process).or_insert(Process { parent, ..Process::default() });
            }
            Thread { process, ..Thread::default() }
        })
    }

    pub fn process_of(&mut self, thread: Pid) -> Pid {
        Pid::from_raw(self.thread(thread).process)
    }

    /// What was printed until now. If the line of the message is there, this thread has written it,
    /// or another one that has not come back from its call yet.
    fn read(&mut self, by: Pid) {
        let mut now = [0; 1 << 16];
        while let Ok(length @ 1..) = self.output.read(&mut now) {
            self.writes.push(now[..length].to_owned());
            if adds_received(&mut self.said, &now[..length], &self.message) {
                let other = self.threads.values().find(|it| it.writes).map(|it| it.process);
                let own = self.process_of(by).as_raw();
                let writes = self.thread(by).writes;
                self.received_by.get_or_insert(if writes { own } else { other.unwrap_or(own) });
            }
        }
        self.thread(by).writes = false;
    }

    /// The thread does not go on with the next event, nor until it is let go.
    pub fn hold(&mut self, thread: Pid) {
        self.thread(thread).is_held = true;
        self.held_since.get_or_insert_with(Instant::now);
    }

    /// For how long somebody has been held.
    pub fn held_for(&self) -> Duration {
        self.held_since.map_or(Duration::ZERO, |it| it.elapsed())
    }

    pub fn let_go(&mut self, thread: Pid) {
        let was_held = mem::take(&mut self.thread(thread).is_held);
        // (Whoever is stopped just now goes on with the next event.)
        if was_held && self.stopped.is_none_or(|(it, _)| it != thread) {
            tracee::to_next_call(thread, 0);
        }
    }

    pub fn let_all_go(&mut self) {
        self.held_since = None;
        let held = self.threads.iter().filter(|(_, thread)| thread.is_held);
        for thread in held.map(|it| *it.0).collect::<Vec<_>>() {
            self.let_go(Pid::from_raw(thread));
        }
    }

    /// After each event: whoever forks goes on only when its child does nothing more.
    pub fn let_children_go_first(&mut self, event: Event) {
        if let Event::Forked(parent) = event {
            self.hold(parent);
        }
        if event == Event::Quiet || self.held_for() > HOLD {
            self.let_all_go();
        }
    }

    /// A process by the order of births. (Only the first thread of a process counts here.)
    pub fn birth(&self, thread: Pid) -> usize {
        self.processes.keys().position(|it| *it == thread.as_raw()).unwrap_or(usize::MAX)
    }

    /// The children that are there: alive, or not reaped.
    pub fn children_there(&self, parent: Pid) -> Vec<i32> {
        let is_there = |it: &i32| state(Pid::from_raw(*it)).is_some();
        self.children(parent).filter(is_there).collect()
    }

    fn children(&self, parent: Pid) -> impl Iterator<Item = i32> {
        let its = move |(_, it): &(&i32, &Process)| it.parent == parent.as_raw();
        self.processes.iter().filter(its).map(|it| *it.0)
    }

    /// The child with which the process has to do: its only one, or else the one that received the
    /// message. (Others may be helpers of the language.)
    pub fn partner_of(&self, parent: Pid) -> Option<i32> {
        let received = self.children(parent).find(|it| Some(*it) == self.received_by);
        let mut children = self.children(parent);
        received.or_else(|| children.next().filter(|_| children.next().is_none()))
    }

    /// Whether this signal, by which one process of the run tells another one something, comes to a
    /// handler.
    pub fn is_notification(&mut self, thread: Pid, signal: i32) -> bool {
        let Ok(info) = ptrace::getsiginfo(thread) else { return false };
        let is_sent = matches!(info.si_code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
        // SAFETY: a signal that was sent has the PID of its sender.
        let sender = if is_sent { unsafe { info.si_pid() } } else { 0 };
        let is_others =
            sender != self.process_of(thread).as_raw() && self.processes.contains_key(&sender);
        is_others && tells(signal) && has(thread, "SigCgt:", signal)
    }

    /// Takes in a call that sends a signal to another process of the run.
    fn note_sent(&mut self, by: Pid, call: libc::c_long, arguments: [u64; 6]) -> Option<()> {
        self.sending = None;
        let (to, signal) = match call {
            libc::SYS_kill | libc::SYS_rt_sigqueueinfo | libc::SYS_tkill => {
                (arguments[0], arguments[1])
            }
            libc::SYS_tgkill | libc::SYS_rt_tgsigqueueinfo => (arguments[1], arguments[2]),
            _ => return None,
        };
        let (to, signal) = (Pid::from_raw(to as i32), signal as i32);
        let process = self.threads.get(&to.as_raw())?.process;
        let lives = !matches!(state(to), None | Some('Z'));
        if lives && process != self.process_of(by).as_raw() && tells(signal) {
            let is_caught = has(to, "SigCgt:", signal);
            let is_ready = is_caught || has(to, "SigBlk:", signal) || has(to, "SigIgn:", signal);
            self.sent.push(Sent { to: process, signal, is_caught, is_ready });
            self.sending = Some(by);
        }
        Some(())
    }

    /// Whether the thread is at the entry of a call that sends a signal to another process.
    pub fn is_sending(&self, thread: Pid) -> bool {
        self.sending == Some(thread)
    }

    /// Whether a signal was sent that the other process had not made ready for.
    pub fn is_early(&self) -> bool {
        self.sent.iter().any(|it| !it.is_ready)
    }

    /// If processes have sent each other signals: what was wrong with one of them. The message was
    /// not received, because the signal has killed the other process, or does nothing if it comes
    /// too early. (Whoever waits in sigwait(3) does not block the signal just then, and gets it.)
    pub fn early(&self) -> Option<Option<String>> {
        let told = |&Sent { to, signal, is_caught, is_ready }: &Sent| {
            let does_nothing = matches!(signal, libc::SIGWINCH | libc::SIGURG);
            let process = self.processes.get(&to)?;
            let is_killed = process.killed_by == Some(signal) && !is_caught;
            let is_lost = is_killed || does_nothing && !is_ready && !process.waits;
            let name =
                Signal::try_from(signal).map_or(format!("signal {signal}"), |it| it.to_string());
            let told = format!("{name} was sent to a process that had no handler for it yet");
            (is_lost && self.received_by.is_none()).then_some(told)
        };
        (!self.sent.is_empty()).then(|| self.sent.iter().find_map(told))
    }

    /// Lets the thread that is stopped make one instruction, and a signal come to it. `None` if it
    /// has ended, or does not come back. Meanwhile all others stop at their next system call.
    pub fn step(&mut self, thread: Pid) -> Option<Stop> {
        self.alone(thread, tracee::step, Duration::from_secs(2))
    }

    /// The same up to the end of the system call at whose entry it is. (That may take the others.)
    pub fn finish_call(&mut self, thread: Pid) -> Option<Stop> {
        self.alone(thread, tracee::to_next_call, QUIET)
    }

    fn alone(&mut self, thread: Pid, go_on: fn(Pid, i32), limit: Duration) -> Option<Stop> {
        let (stopped, signal) = self.stopped.take()?;
        assert_eq!(stopped, thread);
        go_on(thread, signal);
        let start = Instant::now();
        let stop = loop {
            match tracee::next_stop(Some(thread))? {
                Some((_, stop)) => break stop,
                None if start.elapsed() > limit => return None,
                None => thread::yield_now(),
            }
        };
        match stop {
            Stop::Exited(_) | Stop::Killed(_) => _ = self.note(thread, stop),
            Stop::Signal(signal) if signal != libc::SIGTRAP => {
                self.stopped = Some((thread, signal))
            }
            _ => self.stopped = Some((thread, 0)),
        }
        Some(stop)
    }

    /// Lets the run go on to its end, and tells how it was.
    pub fn finish(mut self) -> Run {
        self.let_all_go();
        while self.next().is_some() {}
        let end = self.end.filter(|_| !self.hung).unwrap_or(End::Hung);
        Run {
            message: mem::take(&mut self.message),
            stdout: mem::take(&mut self.said),
            stderr: Vec::new(),
            end,
            took: self.start.elapsed(),
            is_received_by_main: self.received_by == Some(self.main.as_raw()),
        }
    }
}

impl Drop for Trace {
    /// Nothing of the run is left.
    fn drop(&mut self) {
        kill_all(&mut BTreeSet::new());
        let is_its = |it: &Segment| {
            !self.before.contains(&it.id) && self.processes.contains_key(&it.creator_pid)
        };
        segments().iter().filter(|it| is_its(it)).for_each(|it| remove_segment(it.id));
    }
}

/// A number in `/proc/PID/status`, or 0.
fn number(pid: Pid, label: &str) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|it| it.strip_prefix(label));
    value.map_or(0, |it| it.trim().parse().unwrap_or(0))
}

/// Whether a program may tell something by this signal. The others end, stop, or say how somebody
/// has ended.
fn tells(signal: i32) -> bool {
    use libc::{SIGABRT, SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT};
    let others = [SIGABRT, SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT];
    signal > 0 && !others.contains(&signal) && signal != libc::SIGSTOP && signal != libc::SIGTERM
}

/// Whether the signal is in this set of the thread; see proc_pid_status(5).
fn has(thread: Pid, label: &str, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let set = status.lines().find_map(|it| it.strip_prefix(label)).unwrap_or_default();
    u64::from_str_radix(set.trim(), 16).unwrap_or(0) >> (signal - 1) & 1 == 1
}

/// Whether a signal that comes now comes to a handler, and at once.
pub fn lets_in(thread: Pid, signal: i32) -> bool {
    has(thread, "SigCgt:", signal) && !has(thread, "SigBlk:", signal)
}

pub fn is_pending_at(thread: Pid, signal: i32) -> bool {
    ["SigPnd:", "ShdPnd:"].iter().any(|it| has(thread, it, signal))
}
