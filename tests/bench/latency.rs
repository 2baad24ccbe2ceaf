//! What each way to send a message costs.
//!
//! A message of 1024 bytes goes to another process and one comes back, over and over: through
//! shared memory, announced by a signal (the receiver spins, or sleeps) or by a semaphore, and
//! through a pipe or a socket. For scale, two processes spin on one word of shared memory, without
//! a message. (Here a receiver that spins never sleeps. In sigshm it does after 100 ms.)
//!
//! `cargo bench --bench latency` prints a table and a chart; `-- --csv FILE` writes the same
//! figures into a file. Each message is timed one way, by both processes, with `CLOCK_MONOTONIC`,
//! which is one clock for all of them. First back to back, then after a pause of 10 ms. (Of these
//! only the first of two messages counts: its answer finds a process that has just run.) The ways
//! take turns, in rounds, so that whatever else the machine does meets them all. The first trips of
//! each round are a warm-up; of the others none is left out.
//!
//! Beside the signal runs a C program that does the same (`tests/peers/signal_latency.c`).
//!
//! Without `--bench` (as `cargo test --benches` starts it) it makes a few trips, to show that it
//! works.

#![allow(unsafe_code)] // fork(2), and a POSIX semaphore in shared memory.

#[allow(dead_code, unused_imports)] // The tests use the rest.
#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, hint, io, iter, ptr, thread};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

use sigshm::handler::{self, handler};
use sigshm::output::palette::{Line, Role};
use sigshm::output::stdout::Stdout;
use sigshm::sys::process::processor_time;
use sigshm::sys::{
    Attachment, Deadline, Key, OwnedSegment, SelfContained, WritableAttachment, fd, process, signal,
};

use support::{Scratch, compile_peer, end_after};

/// In seconds, and much longer than everything takes on a busy machine.
const TIMEOUT: u32 = 600;

/// A message; its first word is its number.
type Packet = [u32; 256];

/// How a message is sent, and how its receiver learns of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Word,
    SignalSpin,
    SignalSleep,
    Semaphore,
    Pipe,
    Socket,
}

const WAYS: [Way; 6] =
    [Way::Word, Way::SignalSpin, Way::SignalSleep, Way::Semaphore, Way::Pipe, Way::Socket];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Word => "spin on a word",
            Self::SignalSpin => "signal, spinning",
            Self::SignalSleep => "signal, asleep",
            Self::Semaphore => "semaphore",
            Self::Pipe => "pipe",
            Self::Socket => "Unix socket",
        }
    }

    fn spins(self) -> bool {
        matches!(self, Self::Word | Self::SignalSpin)
    }

    /// Its colour in the chart.
    fn role(self) -> Role {
        match self {
            Self::SignalSpin | Self::SignalSleep => Role::Receiver,
            Self::Word | Self::Semaphore => Role::Sender,
            Self::Pipe | Self::Socket => Role::Parent,
        }
    }
}

fn main() -> ExitCode {
    let is_whole = env::args_os().any(|argument| argument == "--bench");
    // What cargo test hands down is for other tests.
    let csv = if is_whole { csv_file() } else { Ok(None) };
    let csv = match csv {
        Ok(csv) => csv,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    end_after(TIMEOUT);
    signal::prepare(Signal::SIGUSR1).unwrap();
    signal::register(Signal::SIGUSR1, handler).unwrap();

    let processors = processors();
    let (first, second) = (processors[0], other_core(&processors));
    // Two that spin on one processor would only measure the scheduler.
    let on_two = WAYS.into_iter().filter(|_| first != second);
    let on_two = on_two.map(|way| Case::new(way, [first, second]));
    let on_one = WAYS.into_iter().filter(|way| !way.spins());
    let on_one = on_one.map(|way| Case::new(way, [first, first]));
    let mut cases: Vec<Case> = on_two.chain(on_one).collect();

    let plan = Plan::new(is_whole);
    let shared = Shared::new();
    for round in 0..plan.rounds {
        for case in &mut cases {
            let phases = plan.phases(round);
            // The C program runs before and after ours in turns.
            if round % 2 == 0 {
                case.measure_peer(&shared, phases);
            }
            case.measure(&shared, phases);
            if round % 2 != 0 {
                case.measure_peer(&shared, phases);
            }
        }
    }
    shared.scratch.assert_nothing_left();

    let stdout = Stdout { colored: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) };
    let lines = [plan.description(processors.len()), table(&cases), chart(&cases), ratios(&cases)];
    let text =
        lines.concat().iter().map(|(role, line)| stdout.line(*role, line)).collect::<String>();
    let written = csv.map_or(Ok(()), |file| write_csv(&cases, file));
    if let Err(error) = stdout.print(&text).and(written.map_err(Into::into)) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The file that the command line names, if it names one. It is made now: not after all the rounds.
fn csv_file() -> Result<Option<File>, String> {
    let mut arguments = env::args_os().skip(1).filter(|argument| argument != "--bench");
    match (arguments.next(), arguments.next(), arguments.next()) {
        (None, ..) => Ok(None),
        (Some(option), Some(path), None) if option == "--csv" => {
            File::create(&path).map(Some).map_err(|error| format!("{path:?}: {error}"))
        }
        _ => Err("usage: cargo bench --bench latency [-- --csv FILE]".to_owned()),
    }
}

/// The processors on which this process may run.
fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|&processor| allowed.is_set(processor).unwrap()).collect()
}

/// A processor of another core than the first, if there is one. (Two processors of one core share
/// its caches.)
fn other_core(processors: &[usize]) -> usize {
    let core = |processor: usize| {
        let topology = format!("/sys/devices/system/cpu/cpu{processor}/topology");
        fs::read_to_string(topology + "/thread_siblings_list").ok()
    };
    let first = core(processors[0]);
    let other = processors.iter().find(|&&processor| core(processor) != first);
    *other.or(processors.last()).expect("there is one")
}

/// One of the two processes, and all that it may need for any of the ways.
struct Link {
    way: Way,
    peer: Pid,
    /// Both processes have one segment: the message in it is replaced by its answer.
    to_write: WritableAttachment<Packet>,
    to_read: Attachment<Packet>,
    word_to_write: WritableAttachment<u32>,
    word_to_read: Attachment<u32>,
    /// The semaphore that the peer waits for, and the one for which this process waits.
    semaphores: [*mut libc::sem_t; 2],
    reads: File,
    writes: File,
    socket: OwnedFd,
    packet: Packet,
}

impl Link {
    fn send(&mut self, number: u32) {
        self.packet[0] = number;
        match self.way {
            Way::Word => self.word_to_write.write(&number),
            Way::SignalSpin | Way::SignalSleep => {
                self.to_write.write(&self.packet);
                signal::send(self.peer, Signal::SIGUSR1).unwrap();
            }
            Way::Semaphore => {
                self.to_write.write(&self.packet);
                // SAFETY: it is in a segment that stays attached until this process ends.
                Errno::result(unsafe { libc::sem_post(self.semaphores[0]) }).unwrap();
            }
            Way::Pipe => self.writes.write_all(self.packet.bytes()).unwrap(),
            Way::Socket => fd::send_value(&self.socket, &self.packet).unwrap(),
        }
    }

    fn receive(&mut self, number: u32) {
        self.packet = match self.way {
            Way::Word => {
                while self.word_to_read.read() != number {
                    hint::spin_loop();
                }
                return;
            }
            Way::SignalSpin => {
                while !handler::has_run() {
                    hint::spin_loop();
                }
                // It is unblocked; but no other one comes before this message is answered.
                handler::take();
                self.to_read.read()
            }
            Way::SignalSleep => {
                let mut deadline = Deadline::after(None, "");
                while handler::take().is_none() {
                    let woken = signal::sleep(Signal::SIGUSR1, Some(&self.reads), &mut deadline);
                    assert!(woken.unwrap(), "the peer has ended");
                }
                self.to_read.read()
            }
            Way::Semaphore => {
                // SAFETY: as above.
                Errno::result(unsafe { libc::sem_wait(self.semaphores[1]) }).unwrap();
                self.to_read.read()
            }
            Way::Pipe => {
                self.reads.read_exact(self.packet.bytes_mut()).unwrap();
                self.packet
            }
            Way::Socket => fd::receive_value(&self.socket).unwrap().expect("the peer has ended"),
        };
        assert_eq!(self.packet[0], number);
    }
}

/// Some round trips, each after a pause.
#[derive(Clone, Copy)]
struct Phase {
    trips: usize,
    pause: Duration,
}

/// How much is measured.
struct Plan {
    rounds: usize,
    warm_up: Phase,
    back_to_back: Phase,
    idle: Phase,
    /// One trip, in the first round: what it costs the receiver to wait for so long.
    wait: Phase,
}

impl Plan {
    fn new(is_whole: bool) -> Self {
        let phase = |trips, pause| Phase { trips, pause: Duration::from_millis(pause) };
        let [rounds, warm_up, trips, idle, wait] =
            if is_whole { [10, 100, 1000, 30, 1000] } else { [2, 1, 10, 1, 1] };
        Self {
            rounds,
            warm_up: phase(warm_up, 0),
            back_to_back: phase(trips, 0),
            idle: phase(idle, 10),
            wait: phase(1, wait as u64),
        }
    }

    fn description(&self, processors: usize) -> Vec<Line> {
        let (size, rounds, wait) = (size_of::<Packet>(), self.rounds, self.wait.pause.as_millis());
        let (trips, idle) = (self.back_to_back.trips, self.idle.trips);
        let mut lines = vec![
            format!("One message of {size} bytes, one way, in microseconds: {rounds} rounds of"),
            format!("{trips} round trips back to back, and of {idle} after 10 ms of idling."),
            "spin on a word: for scale. One word is written, and no message.".to_owned(),
            "p50: half of the messages were faster. msg/s: messages a second.".to_owned(),
            "CPU: processor time of both processes for a message, in microseconds.".to_owned(),
            format!("waiting: processor time of the receiver in {wait} ms of waiting, in ms."),
            format!("This process may run on {processors} processors."),
        ];
        if cfg!(debug_assertions) {
            lines.push("This is a debug build, whose figures say nothing.".into());
        }
        plain(lines)
    }

    fn phases(&self, round: usize) -> [Phase; 4] {
        let wait = Phase { trips: usize::from(round == 0), ..self.wait };
        [self.warm_up, self.back_to_back, self.idle, wait]
    }
}

/// A way, and the processors on which its two processes run.
struct Case {
    way: Way,
    processors: [usize; 2],
    /// Times in nanoseconds: of each message back to back, there and back; of each round trip; of
    /// each message that is sent after a pause.
    messages: Vec<u64>,
    trips: Vec<u64>,
    after_pause: Vec<u64>,
    /// Round trips of the C program, which does what [`Way::SignalSleep`] does.
    trips_in_c: Vec<u64>,
    /// Back to back: the time it took, and the processor time of both processes.
    elapsed: u64,
    used: Duration,
    /// The processor time of the receiver while it waited once.
    used_to_wait: Duration,
}

impl Case {
    fn new(way: Way, processors: [usize; 2]) -> Self {
        let none = Vec::new;
        Self {
            way,
            processors,
            messages: none(),
            trips: none(),
            after_pause: none(),
            trips_in_c: none(),
            elapsed: 0,
            used: Duration::ZERO,
            used_to_wait: Duration::ZERO,
        }
    }

    /// On which processors the two run.
    fn place(&self) -> String {
        match self.processors {
            [one, other] if one == other => format!("both on processor {one}"),
            [one, other] => format!("processors {one}, {other}"),
        }
    }

    fn measure(&mut self, shared: &Shared, phases: [Phase; 4]) {
        let [mut link, mut other] = shared.links(self.way);
        let parent = getpid();
        // SAFETY: this program has one thread.
        let child = match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                drop(link);
                other.peer = parent;
                let processor = self.processors[1];
                let answer = AssertUnwindSafe(|| {
                    // Nobody else would end it, if it spins.
                    set_pdeathsig(Signal::SIGKILL).unwrap();
                    assert_eq!(getppid(), parent);
                    run_on(processor);
                    other.answer(phases);
                });
                process::exit(catch_unwind(answer).is_err().into())
            }
        };
        drop(other);
        link.peer = child;
        run_on(self.processors[0]);
        let (sides, used) = link.ask(phases);
        let (answers, others_used) = link.report(phases);
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "{:?}", self.way);

        let [warm_up, back_to_back, idle, _] = phases.map(|phase| phase.trips);
        let ([began, _], [_, ended]) = (sides[warm_up], sides[warm_up + back_to_back - 1]);
        self.elapsed += ended - began;
        for (trip, ([sent, came_back], answered)) in iter::zip(sides, answers).enumerate() {
            let there = answered.checked_sub(sent).expect("there is one clock");
            let back = came_back.checked_sub(answered).expect("there is one clock");
            match trip.checked_sub(warm_up) {
                None => {}
                Some(trip) if trip < back_to_back => {
                    self.messages.extend([there, back]);
                    self.trips.push(there + back);
                }
                Some(trip) if trip < back_to_back + idle => self.after_pause.push(there),
                Some(_) => self.used_to_wait = others_used[3],
            }
        }
        self.used += used[1] + others_used[1];
    }

    /// Runs the C program, if this is the case that it is compared with.
    fn measure_peer(&mut self, shared: &Shared, [warm_up, back_to_back, ..]: [Phase; 4]) {
        if self.way != Way::SignalSleep {
            return;
        }
        let mut command = Command::new(&shared.peer);
        let numbers = [warm_up.trips, back_to_back.trips].into_iter().chain(self.processors);
        let output = command.args(numbers.map(|it| it.to_string())).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let times = String::from_utf8(output.stdout).unwrap();
        self.trips_in_c.extend(times.lines().map(|time| time.parse::<u64>().unwrap()));
    }
}

impl Link {
    /// A receiver that spins has the signal unblocked, one that sleeps only while it sleeps.
    fn let_signal_in(&self) {
        if self.way == Way::SignalSpin {
            signal::unblock(Signal::SIGUSR1).unwrap();
        }
    }

    /// Sends the messages, and waits for the answer to each. When each was sent and answered, and
    /// the processor time of each phase.
    fn ask(&mut self, phases: [Phase; 4]) -> (Vec<[u64; 2]>, [Duration; 4]) {
        self.let_signal_in();
        let mut times = Vec::with_capacity(phases.iter().map(|phase| phase.trips).sum());
        let used = phases.map(|Phase { trips, pause }| {
            let before = processor_time();
            for _ in 0..trips {
                if !pause.is_zero() {
                    thread::sleep(pause);
                }
                let number = 2 * times.len() as u32 + 1;
                let sent = now();
                self.send(number);
                self.receive(number + 1);
                times.push([sent, now()]);
            }
            processor_time() - before
        });
        signal::block(Signal::SIGUSR1).unwrap();
        (times, used)
    }

    /// Answers each message, and then reports when, and what it took.
    fn answer(&mut self, phases: [Phase; 4]) {
        self.let_signal_in();
        let mut times = Vec::with_capacity(phases.iter().map(|phase| phase.trips).sum());
        let used = phases.map(|Phase { trips, .. }| {
            let before = processor_time();
            for _ in 0..trips {
                let number = 2 * times.len() as u32 + 1;
                self.receive(number);
                times.push(now());
                self.send(number + 1);
            }
            (processor_time() - before).as_nanos() as u64
        });
        // If this process reported now, that would wake the other one before it sees the signal.
        self.reads.read_exact(&mut [0]).unwrap();
        let numbers = times.into_iter().chain(used);
        let report: Vec<u8> = numbers.flat_map(u64::to_ne_bytes).collect();
        self.writes.write_all(&report).unwrap();
    }

    /// What the other process reports: times, and the processor time of each phase.
    fn report(&mut self, phases: [Phase; 4]) -> (Vec<u64>, [Duration; 4]) {
        self.writes.write_all(b"!").unwrap();
        let mut report = Vec::new();
        self.reads.read_to_end(&mut report).unwrap();
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
        let numbers: Vec<u64> = report.chunks_exact(8).map(number).collect();
        let (times, used) = numbers.split_at(phases.iter().map(|phase| phase.trips).sum());
        let used: [u64; 4] = used.try_into().expect("the whole report");
        (times.to_vec(), used.map(Duration::from_nanos))
    }
}

/// What all pairs of processes use.
struct Shared {
    scratch: Scratch,
    /// The C program.
    peer: PathBuf,
    semaphores: [*mut libc::sem_t; 2],
}

impl Shared {
    fn new() -> Self {
        let size = 2 * size_of::<libc::sem_t>();
        // SAFETY: numbers only.
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, size, libc::IPC_CREAT | 0o600) };
        let id = Errno::result(id).unwrap();
        // SAFETY: with a null address the kernel maps it where nothing else is.
        let first = unsafe { libc::shmat(id, ptr::null(), 0) }.cast::<libc::sem_t>();
        assert_ne!(first.addr(), usize::MAX, "{}", Errno::last());
        // SAFETY: the third argument is not looked at. The segment stays until all have ended.
        let removed = unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) };
        Errno::result(removed).unwrap();
        let semaphores = [first, first.wrapping_add(1)];
        for semaphore in semaphores {
            // SAFETY: there is room for two, and nobody uses them yet.
            Errno::result(unsafe { libc::sem_init(semaphore, 1, 0) }).unwrap();
        }
        Self { scratch: Scratch::new(), peer: compile_peer("signal_latency"), semaphores }
    }

    /// The two ends of a connection. (The processes that have them do not exist yet.)
    fn links(&self, way: Way) -> [Link; 2] {
        let key = Key::from_path(&self.scratch.path(), 1).unwrap();
        let (packet, _) = OwnedSegment::<Packet>::create(&key, Duration::from_secs(5)).unwrap();
        let packets = [(); 2].map(|()| (packet.attach(), packet.attach_read_only()));
        packet.remove().unwrap(); // it stays as long as somebody is attached
        let (word, _) = OwnedSegment::<u32>::create(&key, Duration::from_secs(5)).unwrap();
        let words = [(); 2].map(|()| (word.attach(), word.attach_read_only()));
        word.remove().unwrap();
        let [(one_reads, other_writes), (other_reads, one_writes)] =
            [(); 2].map(|()| fd::new_pipe().unwrap());
        let (one_socket, other_socket) = fd::new_socket_pair().unwrap();
        let [first, second] = self.semaphores;
        let ends = [
            (one_reads, one_writes, one_socket, [second, first]),
            (other_reads, other_writes, other_socket, [first, second]),
        ];
        let mut memory = iter::zip(packets, words);
        ends.map(|(reads, writes, socket, semaphores)| {
            let ((to_write, to_read), (word_to_write, word_to_read)) = memory.next().unwrap();
            Link {
                way,
                peer: Pid::from_raw(0),
                to_write: to_write.unwrap(),
                to_read: to_read.unwrap(),
                word_to_write: word_to_write.unwrap(),
                word_to_read: word_to_read.unwrap(),
                semaphores,
                reads: reads.into(),
                writes: writes.into(),
                socket,
                packet: [0; 256],
            }
        })
    }
}

/// The figures of a case. Times are in microseconds.
struct Figures {
    back_to_back: [f64; 4],
    after_pause: [f64; 2],
    messages_a_second: f64,
    used_a_message: f64,
    used_to_wait: f64,
}

impl From<&Case> for Figures {
    fn from(case: &Case) -> Self {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let messages = case.messages.len() as f64;
        Self {
            back_to_back: percentiles(&case.messages, [0.5, 0.99, 0.999, 1.0]).map(micros),
            after_pause: percentiles(&case.after_pause, [0.5, 0.99]).map(micros),
            messages_a_second: messages / (case.elapsed as f64 / 1e9),
            used_a_message: case.used.as_secs_f64() * 1e6 / messages,
            used_to_wait: case.used_to_wait.as_secs_f64() * 1e6,
        }
    }
}

fn table(cases: &[Case]) -> Vec<Line> {
    let row = |name: &str, columns: [&str; 9]| {
        let cells = iter::zip(columns, [5, 5, 6, 5, 5, 5, 8, 5, 7]);
        let cells: String = cells.map(|(cell, width)| format!(" {cell:>width$}")).collect();
        format!("{name:19}{cells}")
    };
    let columns = ["p50", "p99", "p99.9", "max", "p50", "p99", "msg/s", "CPU", "waiting"];
    let mut lines = vec![String::new(), format!("{:22}back to back{:11}after 10 ms", "", "")];
    for (number, place) in places(cases).enumerate() {
        lines.push(row(&place[0].place(), if number == 0 { columns } else { [""; 9] }));
        for case in place {
            let figures = Figures::from(case);
            let messages = format!("{:.0}", figures.messages_a_second);
            let times = figures.back_to_back.into_iter().chain(figures.after_pause).map(short);
            let used = [figures.used_a_message, figures.used_to_wait / 1e3].map(short);
            let cells: Vec<String> = times.chain([messages]).chain(used).collect();
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            lines.push(row(case.way.name(), cells.try_into().expect("nine columns")));
        }
    }
    plain(lines)
}

/// The cases by the processors on which they run.
fn places(cases: &[Case]) -> impl Iterator<Item = &[Case]> {
    cases.chunk_by(|one, other| one.processors == other.processors)
}

/// A row a way: a bar from 0.1 us to the p50 back to back, and on to that after a pause.
fn chart(cases: &[Case]) -> Vec<Line> {
    let title = "p50 on a logarithmic scale: █ back to back, ░ after 10 ms of idling";
    let mut lines = plain(vec![String::new(), title.to_owned()]);
    for place in places(cases) {
        let scale = "0.1       1         10        100       1000 us";
        lines.extend(plain(vec![format!("{:20}{scale}", place[0].place())]));
        for case in place {
            let Figures { back_to_back: [p50, ..], after_pause: [after, _], .. } = case.into();
            let length =
                |time: f64| ((time / 0.1).log10() * 10.0).round().clamp(1.0, 44.0) as usize;
            let rest = length(after).saturating_sub(length(p50));
            let bar = "█".repeat(length(p50)) + &"░".repeat(rest);
            let (p50, after) = (short(p50), short(after));
            let row = format!("{:20}{bar:44}{p50:>8}{after:>8}", case.way.name());
            lines.push((case.way.role(), row));
        }
    }
    lines
}

/// The round trips beside those of the C program.
fn ratios(cases: &[Case]) -> Vec<Line> {
    if cfg!(debug_assertions) {
        return Vec::new();
    }
    let mut lines = vec![
        String::new(),
        "There and back by signal, asleep, p50, beside a C program that does the same".to_owned(),
        "(goal: at most 1.15 times as long):".to_owned(),
    ];
    for case in cases.iter().filter(|case| !case.trips_in_c.is_empty()) {
        let p50 = |times: &[u64]| percentiles(times, [0.5])[0] as f64 / 1e3;
        let (ours, c) = (p50(&case.trips), p50(&case.trips_in_c));
        let (place, ratio) = (case.place(), ours / c);
        let (ours, c) = (short(ours), short(c));
        lines.push(format!("  {place:20}sigshm {ours} us, C {c} us, ratio {ratio:.2}"));
    }
    plain(lines)
}

fn plain(lines: Vec<String>) -> Vec<Line> {
    lines.into_iter().map(|line| (Role::Parent, line.trim_end().to_owned())).collect()
}

fn write_csv(cases: &[Case], mut file: File) -> io::Result<()> {
    writeln!(
        file,
        "way,processor,processor of the receiver,p50 us,p99 us,p99.9 us,max us,\
         p50 us after 10 ms,p99 us after 10 ms,msg/s,CPU us per message,CPU us in the wait"
    )?;
    for case in cases {
        let figures = Figures::from(case);
        let [one, other] = case.processors;
        let times = figures.back_to_back.into_iter().chain(figures.after_pause);
        let rest = [figures.messages_a_second, figures.used_a_message, figures.used_to_wait];
        let numbers: Vec<_> = times.chain(rest).map(|number| format!("{number:.3}")).collect();
        let way = case.way.name().replace(',', "");
        writeln!(file, "{way},{one},{other},{}", numbers.join(","))?;
    }
    Ok(())
}

/// The number, with three digits at least.
fn short(number: f64) -> String {
    let decimals = match number {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

fn run_on(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

/// For each share, the least of the values that so many of them do not exceed.
fn percentiles<const N: usize>(values: &[u64], shares: [f64; N]) -> [u64; N] {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    shares.map(|share| sorted[((share * sorted.len() as f64).ceil() as usize).max(1) - 1])
}
