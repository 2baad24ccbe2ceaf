//! What each way to send a message costs.
//!
//! A message of 1024 bytes goes to another process and one comes back, over and over: through
//! shared memory, announced by a signal (the receiver spins, or sleeps) or by a semaphore, and
//! through a pipe or a socket. For scale, two processes spin on one word of shared memory, without
//! a message. (Here a receiver that spins never sleeps. In sigshm it does after 100 ms.) Beside the
//! signal runs a C program that does the same (`tests/peers/signal_latency.c`).
//!
//! Each message is timed one way, by both processes, with `CLOCK_MONOTONIC`, which is one clock for
//! all of them. First back to back, then after a pause of 10 ms. (Of these only the first of two
//! messages counts: its answer finds a process that has just run.) The ways take turns, in rounds,
//! so that whatever else the machine does meets them all. The first trips of each round are a
//! warm-up; of the others none is left out.
//!
//! Without `--bench` (as `cargo test --benches` starts it) it makes a few trips, to show that it
//! works.

#![allow(unsafe_code)] // fork(2), and a POSIX semaphore in shared memory.

#[allow(dead_code, unused_imports)] // The tests use the rest.
#[path = "../../support/mod.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{env, hint};

use nix::sys::prctl::set_pdeathsig;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, fork, getpid, getppid};

use sigshm::handler::{self, handler};
use sigshm::output::palette::{Line, Role};
use sigshm::output::stdout::Stdout;
use sigshm::sys::process::processor_time;
use sigshm::sys::{
    Attachment, Deadline, Key, OwnedSegment, SelfContained, WritableAttachment, fd, process, signal,
};

use support::*;

/// A message; its first word is its number.
type Packet = [u32; 256];

/// How a message is sent, and how its receiver learns of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
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
    /// Its name, and its colour in the chart.
    fn shown(self) -> (&'static str, Role) {
        match self {
            Self::Word => ("spin on a word", Role::Sender),
            Self::SignalSpin => ("signal, spinning", Role::Receiver),
            Self::SignalSleep => ("signal, asleep", Role::Receiver),
            Self::Semaphore => ("semaphore", Role::Sender),
            Self::Pipe => ("pipe", Role::Parent),
            Self::Socket => ("Unix socket", Role::Parent),
        }
    }

    fn spins(self) -> bool {
        matches!(self, Self::Word | Self::SignalSpin)
    }
}

pub fn main() {
    let is_whole = env::args_os().any(|argument| argument == "--bench");
    end_after(600);
    signal::prepare(SIGUSR1).unwrap();
    signal::register(SIGUSR1, handler).unwrap();

    let processors = processors();
    let (first, second) = (processors[0], other_core(&processors));
    let case = |way, second| Case { way, processors: [first, second], ..Case::default() };
    // Two that spin on one processor would only measure the scheduler.
    let on_two = WAYS.into_iter().filter(|_| first != second).map(|way| case(way, second));
    let on_one = WAYS.into_iter().filter(|way| !way.spins()).map(|way| case(way, first));
    let mut cases: Vec<Case> = on_two.chain(on_one).collect();

    let (rounds, mut phases) = if is_whole {
        (10, [(100, 0), (1000, 0), (30, 10), (1, 1000)])
    } else {
        (2, [(1, 0), (10, 0), (1, 10), (1, 1)])
    };
    let description = description(rounds, &phases, processors.len());
    let shared = Shared::new();
    // The C program runs before and after ours in turns.
    let mut turns: [fn(&mut Case, &Shared, &Phases); 2] = [Case::measure_peer, Case::measure];
    for _ in 0..rounds {
        for case in &mut cases {
            turns.iter().for_each(|measure| measure(case, &shared, &phases));
        }
        turns.reverse();
        phases[3].0 = 0; // it is enough to have waited once
    }

    let stdout = Stdout { colored: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) };
    let lines = [description, table(&cases), chart(&cases), ratios(&cases)];
    let lines = lines.concat().into_iter().map(|(role, line)| stdout.line(role, line.trim_end()));
    stdout.print(&lines.collect::<String>()).unwrap();
}

/// A processor of another core than the first, if there is one. (Two processors of one core share
/// its caches.)
fn other_core(processors: &[usize]) -> usize {
    let core = |processor: &usize| {
        let topology = format!("/sys/devices/system/cpu/cpu{processor}/topology");
        fs::read_to_string(topology + "/thread_siblings_list").ok()
    };
    let other = processors.iter().find(|it| core(it) != core(&processors[0]));
    *other.or(processors.last()).expect("there is one")
}

/// A segment, to write and to read.
type Memory<T> = (WritableAttachment<T>, Attachment<T>);

/// A segment that both processes have.
fn memory<T: SelfContained>(key: &Key) -> (Memory<T>, Memory<T>) {
    let (segment, _) = OwnedSegment::<T>::create(key, Duration::from_secs(5)).unwrap();
    let attach = || (segment.attach().unwrap(), segment.attach_read_only().unwrap());
    let both = (attach(), attach());
    segment.remove().unwrap(); // it stays as long as somebody is attached
    both
}

/// One of the two processes, and all that it may need for any of the ways.
struct Link {
    way: Way,
    peer: Pid,
    /// Both processes have one segment: the message in it is replaced by its answer.
    packets: Memory<Packet>,
    words: Memory<u32>,
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
            Way::Word => self.words.0.write(&number),
            Way::SignalSpin | Way::SignalSleep => {
                self.packets.0.write(&self.packet);
                signal::send(self.peer, SIGUSR1).unwrap();
            }
            Way::Semaphore => {
                self.packets.0.write(&self.packet);
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
                while self.words.1.read() != number {
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
                self.packets.1.read()
            }
            Way::SignalSleep => {
                let mut deadline = Deadline::after(None, "");
                while handler::take().is_none() {
                    let woken = signal::sleep(SIGUSR1, Some(&self.reads), &mut deadline);
                    assert!(woken.unwrap(), "the peer has ended");
                }
                self.packets.1.read()
            }
            Way::Semaphore => {
                // SAFETY: as above.
                Errno::result(unsafe { libc::sem_wait(self.semaphores[1]) }).unwrap();
                self.packets.1.read()
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

/// How many round trips, and the milliseconds before each: a warm-up, back to back, after idling,
/// and one to see what it costs the receiver to wait for so long.
type Phases = [(usize, u64); 4];

fn description(rounds: usize, phases: &Phases, processors: usize) -> Vec<Line> {
    let [_, (trips, _), (idle, _), (_, wait)] = *phases;
    let size = size_of::<Packet>();
    let mut text = format!(
        "One message of {size} bytes, one way, in microseconds: {rounds} rounds of\n\
         {trips} round trips back to back, and of {idle} after 10 ms of idling.\n\
         spin on a word: for scale. One word is written, and no message.\n\
         p50: half of the messages were faster. msg/s: messages a second.\n\
         CPU: processor time of both processes for a message, in microseconds.\n\
         waiting: processor time of the receiver in {wait} ms of waiting, in ms.\n\
         This process may run on {processors} processors.\n"
    );
    if cfg!(debug_assertions) {
        text += "This is a debug build, whose figures say nothing.\n";
    }
    plain(&text)
}

/// A way, and the processors on which its two processes run.
#[derive(Default)]
struct Case {
    way: Way,
    processors: [usize; 2],
    /// Times in nanoseconds: of the messages back to back, there and back; of each message that is
    /// sent after a pause.
    messages: Vec<[u64; 2]>,
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
    /// On which processors the two run.
    fn place(&self) -> String {
        match self.processors {
            [one, other] if one == other => format!("both on processor {one}"),
            [one, other] => format!("processors {one}, {other}"),
        }
    }

    fn measure(&mut self, shared: &Shared, phases: &Phases) {
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
                    set_pdeathsig(SIGKILL).unwrap();
                    assert_eq!(getppid(), parent);
                    run_on(processor).unwrap();
                    other.answer(phases);
                });
                process::exit(catch_unwind(answer).is_err().into())
            }
        };
        drop(other);
        link.peer = child;
        run_on(self.processors[0]).unwrap();
        let (sides, used) = link.ask(phases);
        let (answers, others_used) = link.report();
        assert_eq!(sides.len(), answers.len());
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "{:?}", self.way);

        let [warm_up, back_to_back, idle, wait] = phases.map(|(trips, _)| trips);
        let ([began, _], [_, ended]) = (sides[warm_up], sides[warm_up + back_to_back - 1]);
        self.elapsed += ended - began;
        let times = iter::zip(sides, answers).map(|([sent, came_back], answered)| {
            [(sent, answered), (answered, came_back)]
                .map(|(from, to): (u64, u64)| to.checked_sub(from).expect("there is one clock"))
        });
        let times: Vec<_> = times.skip(warm_up).collect();
        let (messages, rest) = times.split_at(back_to_back);
        self.messages.extend(messages);
        self.after_pause.extend(rest[..idle].iter().map(|[there, _]| there));
        if wait > 0 {
            self.used_to_wait = others_used[3];
        }
        self.used += used[1] + others_used[1];
    }

    /// Runs the C program, if this is the case that it is compared with.
    fn measure_peer(&mut self, shared: &Shared, [warm_up, back_to_back, ..]: &Phases) {
        if self.way != Way::SignalSleep {
            return;
        }
        let mut command = Command::new(&shared.peer);
        let numbers = [warm_up.0, back_to_back.0].into_iter().chain(self.processors);
        let output = command.args(numbers.map(|it| it.to_string())).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let times = String::from_utf8(output.stdout).unwrap();
        self.trips_in_c.extend(times.lines().map(|time| time.parse::<u64>().unwrap()));
    }
}

impl Link {
    /// Makes the round trips of each phase: `trip` is given the number of the first of its two
    /// messages. What comes of each, and the processor time of each phase.
    fn phases<T>(
        &mut self,
        phases: &Phases,
        trip: impl Fn(&mut Self, Duration, u32) -> T,
    ) -> (Vec<T>, [Duration; 4]) {
        // A receiver that spins has the signal unblocked, one that sleeps only while it sleeps.
        if self.way == Way::SignalSpin {
            signal::unblock(SIGUSR1).unwrap();
        }
        let mut all = Vec::with_capacity(phases.iter().map(|(trips, _)| trips).sum());
        let used = phases.map(|(trips, pause)| {
            let before = processor_time();
            for _ in 0..trips {
                let number = 2 * all.len() as u32 + 1;
                all.push(trip(self, Duration::from_millis(pause), number));
            }
            processor_time() - before
        });
        (all, used)
    }

    /// Sends the messages, and waits for the answer to each. When each was sent and answered, and
    /// the processor time of each phase.
    fn ask(&mut self, phases: &Phases) -> (Vec<[u64; 2]>, [Duration; 4]) {
        let asked = self.phases(phases, |link, pause, number| {
            thread::sleep(pause);
            let sent = now();
            link.send(number);
            link.receive(number + 1);
            [sent, now()]
        });
        signal::block(SIGUSR1).unwrap();
        asked
    }

    /// Answers each message, and then reports when, and what it took.
    fn answer(&mut self, phases: &Phases) {
        let (times, used) = self.phases(phases, |link, _, number| {
            link.receive(number);
            let received = now();
            link.send(number + 1);
            received
        });
        // If this process reported now, that would wake the other one before it sees the signal.
        self.reads.read_exact(&mut [0]).unwrap();
        let numbers = times.into_iter().chain(used.map(|it| it.as_nanos() as u64));
        let report: Vec<u8> = numbers.flat_map(u64::to_ne_bytes).collect();
        self.writes.write_all(&report).unwrap();
    }

    /// What the other process reports: times, and the processor time of each phase.
    fn report(&mut self) -> (Vec<u64>, [Duration; 4]) {
        self.writes.write_all(b"!").unwrap();
        let mut report = Vec::new();
        self.reads.read_to_end(&mut report).unwrap();
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
        let numbers: Vec<u64> = report.chunks_exact(8).map(number).collect();
        let (times, used) = numbers.split_last_chunk().expect("the whole report");
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
        let id = create_segment(libc::IPC_PRIVATE, size, 0o600).unwrap();
        let memory = Attached::new(id, 0).unwrap();
        remove_segment(id); // it stays until all have ended
        let first = memory.address().cast::<libc::sem_t>();
        mem::forget(memory);
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
        let (packets, words) = (memory(&key), memory(&key));
        let (to, from) = (fd::new_pipe().unwrap(), fd::new_pipe().unwrap());
        let sockets = fd::new_socket_pair().unwrap();
        let [first, second] = self.semaphores;
        let link = |packets, words, semaphores, reads: OwnedFd, writes: OwnedFd, socket| Link {
            way,
            peer: Pid::from_raw(0),
            packets,
            words,
            semaphores,
            reads: reads.into(),
            writes: writes.into(),
            socket,
            packet: [0; 256],
        };
        [
            link(packets.0, words.0, [second, first], from.0, to.1, sockets.0),
            link(packets.1, words.1, [first, second], to.0, from.1, sockets.1),
        ]
    }
}

const COLUMNS: [&str; 9] = ["p50", "p99", "p99.9", "max", "p50", "p99", "msg/s", "CPU", "waiting"];

impl Case {
    /// The figures, a column each. Times are in microseconds; but that of the waiting, in
    /// milliseconds.
    fn figures(&self) -> [f64; 9] {
        let messages = self.messages.as_flattened();
        let [p50, p99, p999, max] = percentiles(messages, [0.5, 0.99, 0.999, 1.0]);
        let [after, after_p99] = percentiles(&self.after_pause, [0.5, 0.99]);
        let messages = messages.len() as f64;
        let used = self.used.as_secs_f64() * 1e6 / messages;
        let used_to_wait = self.used_to_wait.as_secs_f64() * 1e3;
        let rate = messages / (self.elapsed as f64 / 1e9);
        [p50, p99, p999, max, after, after_p99, rate, used, used_to_wait]
    }
}

/// The cases by the processors on which they run.
fn places(cases: &[Case]) -> impl Iterator<Item = &[Case]> {
    cases.chunk_by(|one, other| one.processors == other.processors)
}

fn table(cases: &[Case]) -> Vec<Line> {
    let row = |name: &str, cells: [String; 9]| {
        let cells = iter::zip(cells, [5, 5, 6, 5, 5, 5, 8, 5, 7]);
        let cells: String = cells.map(|(cell, width)| format!(" {cell:>width$}")).collect();
        format!("{name:19}{cells}\n")
    };
    let mut text = format!("\n{:22}back to back{:11}after 10 ms\n", "", "");
    for (number, place) in places(cases).enumerate() {
        let head = if number == 0 { COLUMNS } else { [""; 9] };
        text += &row(&place[0].place(), head.map(str::to_owned));
        text.extend(place.iter().map(|case| row(case.way.shown().0, case.figures().map(short))));
    }
    plain(&text)
}

/// A row a way: a bar from 0.1 us to the p50 back to back, and on to that after a pause.
fn chart(cases: &[Case]) -> Vec<Line> {
    let mut lines = plain("\np50 on a logarithmic scale: █ back to back, ░ after 10 ms of idling");
    for place in places(cases) {
        let scale = "0.1       1         10        100       1000 us";
        lines.extend(plain(&format!("{:20}{scale}", place[0].place())));
        for case in place {
            let [p50, _, _, _, after, ..] = case.figures();
            let [back_to_back, idle] = [p50, after]
                .map(|time| ((time / 0.1).log10() * 10.0).round().clamp(1.0, 44.0) as usize);
            let bar = "█".repeat(back_to_back) + &"░".repeat(idle.saturating_sub(back_to_back));
            let (name, role) = case.way.shown();
            let (p50, after) = (short(p50), short(after));
            lines.push((role, format!("{name:20}{bar:44}{p50:>8}{after:>8}")));
        }
    }
    lines
}

/// The round trips beside those of the C program. (The goal is a ratio of 1.15 at most.)
fn ratios(cases: &[Case]) -> Vec<Line> {
    if cfg!(debug_assertions) {
        return Vec::new();
    }
    let mut text =
        "\nThere and back by signal, asleep, p50, beside a C program that does the same:\n"
            .to_owned();
    for case in cases.iter().filter(|case| !case.trips_in_c.is_empty()) {
        let trips: Vec<u64> = case.messages.iter().map(|it| it.iter().sum()).collect();
        let [ours, c] = [&trips, &case.trips_in_c].map(|it| percentiles(it, [0.5])[0]);
        let (place, ratio) = (case.place(), ours / c);
        let (ours, c) = (short(ours), short(c));
        text += &format!("  {place:20}sigshm {ours} us, C {c} us, ratio {ratio:.2}\n");
    }
    plain(&text)
}

fn plain(text: &str) -> Vec<Line> {
    text.lines().map(|line| (Role::Parent, line.to_owned())).collect()
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
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_nanos() as u64
}

/// For each share, the least of the times that so many of them do not exceed, in microseconds.
fn percentiles<const N: usize>(nanos: &[u64], shares: [f64; N]) -> [f64; N] {
    let mut sorted = nanos.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| ((share * sorted.len() as f64).ceil() as usize).max(1) - 1;
    shares.map(|share| sorted[at(share)] as f64 / 1e3)
}
