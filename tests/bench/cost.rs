//! What the story costs.
//!
//! 1. Time and memory, beside a C program of the same behaviour (`tests/peers/careful.c`). Both are
//!    run in turns, so that whatever else the machine does meets both alike. So are `sigshm
//!    --version` and a C program that does no more: what a run takes beyond these is the story
//!    alone.
//! 2. The timeline of `--explain`, which should not be much longer than what a plain run takes on a
//!    terminal. Both are run in turns.
//! 3. System calls, of both programs, beyond those of a program that only starts and ends.
//! 4. Many runs that wait for one lock: how fast they follow each other, in which order, and what
//!    the waiting costs.
//!
//! `cargo bench --bench cost` prints the figures and the goals. It judges nothing: it fails only if
//! a run fails.
//! Without `--bench` (as `cargo test --all-targets` starts it) it makes a few runs, to show that it
//! works.

#![allow(unsafe_code)] // ptrace(2) in a child, and the processor time of other processes.

#[allow(dead_code, unused_imports)] // The tests use the rest.
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::pty::openpty;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use support::told::events;
use support::{Scratch, compile_peer, end_after, is_blocked_in, run, wait_until};

const MESSAGE: &str = "Hello, world";

/// In seconds, and much longer than all the runs together take on a busy machine.
const TIMEOUT: u32 = 600;

fn main() {
    end_after(TIMEOUT);
    let whole = std::env::args().any(|argument| argument == "--bench");
    let careful = compile_peer("careful");
    let scratch = Scratch::new();
    let programs =
        Programs { hello: compile_hello(&scratch), scratch: &scratch, careful: &careful };
    // What is compared does the same.
    for mut command in [programs.sigshm(), programs.careful()] {
        run(&mut command).assert_delivered(MESSAGE.len(), MESSAGE);
    }
    let (warm_up, pairs, memory_runs) = if whole { (20, 400, 15) } else { (1, 2, 1) };
    time_and_memory(&programs, warm_up, pairs, memory_runs);
    explained_timeline(&programs, warm_up, pairs / 2);
    system_calls(&programs, if whole { 9 } else { 1 });
    scratch.assert_nothing_left();

    let (sizes, hold) =
        if whole { ([10, 200], Duration::from_secs(1)) } else { ([2, 3], Duration::ZERO) };
    println!("runs that wait for one lock, started one after the other");
    for waiters in sizes {
        queue(waiters, hold);
    }
}

/// The two programs that are compared, and two that only start and end.
struct Programs<'a> {
    scratch: &'a Scratch,
    careful: &'a Path,
    hello: PathBuf,
}

/// A C program that prints a line and ends.
fn compile_hello(scratch: &Scratch) -> PathBuf {
    let program = scratch.dir().join("hello");
    let source = program.with_extension("c");
    fs::write(&source, "#include <stdio.h>\nint main(void) { puts(\"hello 1\"); }\n").unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-o"]).arg(&program).arg(&source);
    assert!(cc.status().unwrap().success(), "{cc:?}");
    program
}

/// All are started in the same way, and without anything to do between fork and exec: then the
/// standard library starts a program in a faster way, and there is less beside what is measured.
impl Programs<'_> {
    fn sigshm(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sigshm"));
        command.arg("--path").arg(self.scratch.path()).arg(MESSAGE);
        command.env_remove("NO_COLOR").stdin(Stdio::null());
        command
    }

    fn careful(&self) -> Command {
        let mut command = Command::new(self.careful);
        command.arg(MESSAGE).arg(self.scratch.path());
        command.env_remove("NO_COLOR").stdin(Stdio::null());
        command
    }

    fn version(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sigshm"));
        command.arg("--version").stdin(Stdio::null());
        command
    }

    fn hello(&self) -> Command {
        let mut command = Command::new(&self.hello);
        command.stdin(Stdio::null());
        command
    }
}

fn time_and_memory(programs: &Programs, warm_up: usize, pairs: usize, memory_runs: usize) {
    let mut times: [Vec<Duration>; 4] = Default::default();
    for turn in 0..warm_up + pairs {
        let commands =
            [programs.sigshm(), programs.careful(), programs.version(), programs.hello()];
        for (times, command) in times.iter_mut().zip(commands) {
            let time = time(command, Stdio::null());
            if turn >= warm_up {
                times.push(time);
            }
        }
    }
    let [rust_time, c_time, version, hello] = times.map(|times| micros(median(times)));

    let median_peak = |command: &dyn Fn() -> Command| {
        median((0..memory_runs).map(|_| peak_memory(command())).collect())
    };
    let rust_memory = median_peak(&|| programs.sigshm());
    let c_memory = median_peak(&|| programs.careful());

    let profile = if cfg!(debug_assertions) {
        "a debug build, which says nothing about the goals"
    } else {
        "a release build"
    };
    println!("sigshm ({profile}) beside careful.c (cc -O2), medians of {pairs} runs of each");
    println!("  whole run:      sigshm {rust_time:.0} µs, C {c_time:.0} µs");
    println!("                  ratio {:.2} (goal: at most 1.15)", rust_time / c_time);
    println!(
        "                  (of that sigshm --version {version:.0} µs, a C hello {hello:.0} µs)"
    );
    println!("  story alone:    sigshm {:.0} µs, C {:.0} µs", rust_time - version, c_time - hello);
    println!("  peak memory:    sigshm {rust_memory} KiB, C {c_memory} KiB");
    println!(
        "                  {:+} KiB (goal: less than +1024 KiB)",
        rust_memory as i64 - c_memory as i64
    );
}

/// The time from before a process is started until it has been reaped.
fn time(mut command: Command, stdout: Stdio) -> Duration {
    command.stdout(stdout);
    let start = Instant::now();
    let status = command.status().unwrap();
    let elapsed = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    elapsed
}

/// The time of the last event that `--explain` tells, beside what a plain run on a terminal takes
/// beyond `sigshm --version`. (What is explained is printed after its last event.)
fn explained_timeline(programs: &Programs, warm_up: usize, turns: usize) {
    let mut times: [Vec<Duration>; 3] = Default::default();
    for turn in 0..warm_up + turns {
        let explained = run(programs.sigshm().arg("--explain"));
        let (last, ..) = *events(explained.text()).last().unwrap();
        let [plain, version] = [programs.sigshm(), programs.version()].map(|command| {
            // Nobody reads there meanwhile: it has room for more than these print.
            let terminal = openpty(None, None).unwrap();
            time(command, terminal.slave.into())
        });
        if turn >= warm_up {
            let all = [Duration::from_micros(last), plain, version];
            times.iter_mut().zip(all).for_each(|(it, time)| it.push(time));
        }
    }
    let [timeline, plain, version] = times.map(|times| micros(median(times)));
    let plain = plain - version;
    println!("  timeline:       {timeline:.0} µs, a plain run {plain:.0} µs beyond --version");
    println!("                  ratio {:.2} (goal: at most 1.30)", timeline / plain);
}

/// The peak of the resident memory in KiB, of whichever of the two processes needs more.
///
/// `ru_maxrss` would not do: a process that is started inherits the peak of the one that starts it.
/// So each process is traced, and asked when it is about to end and has its memory still.
#[allow(clippy::zombie_processes)] // What reaps it is waitpid(2), which tells a tracer more.
fn peak_memory(mut command: Command) -> u64 {
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    assert_eq!(waitpid(pid, None), Ok(WaitStatus::Stopped(pid, Signal::SIGTRAP)));
    ptrace::setoptions(
        pid,
        Options::PTRACE_O_TRACEEXIT | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_EXITKILL,
    )
    .unwrap();
    ptrace::cont(pid, None).unwrap();

    let mut peaks = HashMap::new();
    let mut ended = Vec::new();
    loop {
        // Both end within their own timeout, and after that there is nobody left to wait for.
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXIT)) => {
                peaks.insert(pid, high_water_mark(pid));
                ptrace::cont(pid, None).unwrap();
            }
            // The stop in which a new process is born.
            Ok(WaitStatus::PtraceEvent(pid, ..) | WaitStatus::Stopped(pid, Signal::SIGSTOP)) => {
                ptrace::cont(pid, None).unwrap();
            }
            Ok(WaitStatus::Stopped(pid, signal)) => ptrace::cont(pid, signal).unwrap(),
            Ok(WaitStatus::Exited(pid, 0)) => ended.push(pid),
            Err(Errno::ECHILD) => break,
            other => panic!("{command:?}: {other:?}"),
        }
    }
    assert_eq!((peaks.len(), ended.len()), (2, 2), "{command:?}: a sender and a listener");
    peaks.into_values().max().unwrap()
}

/// `VmHWM` of proc_pid_status(5), in KiB.
fn high_water_mark(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap().trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// System calls of a run, beyond those that each program makes to start and to end.
fn system_calls(programs: &Programs, runs: usize) {
    let version = Command::new("strace").arg("-V").output();
    if let Err(error) = version {
        println!("  system calls:   not counted, because strace cannot be run: {error}");
        return;
    }
    let log = programs.scratch.dir().join("strace");
    let median_count = |command: &dyn Fn() -> Command| -> i64 {
        median((0..runs).map(|_| count_calls(&command(), &log)).collect())
    };
    let rust = median_count(&|| programs.sigshm()) - count_calls(&programs.version(), &log);
    let c = median_count(&|| programs.careful()) - count_calls(&programs.hello(), &log);
    println!("  system calls:   sigshm {rust} beyond `sigshm --version` (goal: at most 71)");
    println!("                  C {c} beyond a C hello");
}

/// The number of system calls that the program and its children make, as strace(1) counts them.
fn count_calls(command: &Command, log: &Path) -> i64 {
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-c", "-o"])
        .arg(log)
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    assert!(strace.status().unwrap().success(), "{strace:?}");
    let table = fs::read_to_string(log).unwrap();
    // Percentage, seconds, microseconds a call, calls, maybe errors, and the name.
    let calls = |row: &str| -> Option<i64> {
        let column: Vec<&str> = row.split_whitespace().collect();
        let is_call = column.len() >= 5 && column.last() != Some(&"total");
        is_call.then(|| column[3].parse().ok()).flatten()
    };
    let all: Vec<i64> = table.lines().filter_map(calls).collect();
    assert!(!all.is_empty(), "{table}");
    all.iter().sum()
}

/// Lets so many runs wait for one lock, and then gives it to them.
fn queue(waiters: usize, hold: Duration) {
    let scratch = Scratch::new();
    let lock =
        Flock::lock(File::open(scratch.path()).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    // All of them write into one file. Each writes while it has the lock, so the order in the file
    // is the order in which they had it, whoever is seen to end first.
    let transcripts = scratch.dir().join("transcripts");
    let stdout = File::options().create(true).append(true).open(&transcripts).unwrap();

    let mut runs = Vec::new();
    for rank in 0..waiters {
        let mut command = scratch.sigshm(["--timeout=600", "--color=never"]);
        command.arg(rank.to_string()).stdout(stdout.try_clone().unwrap()).stderr(Stdio::null());
        let run = Waiter(command.spawn().unwrap());
        let pid = run.pid();
        wait_until("the run waits for the lock", || is_blocked_in(pid, libc::SYS_flock));
        let used = processor_time(pid);
        runs.push((run, used));
    }
    // Not to wait for anything, but to have something to measure: what the waiting costs.
    thread::sleep(hold);
    let used: Duration = runs.iter().map(|(run, before)| processor_time(run.pid()) - *before).sum();

    let start = Instant::now();
    drop(lock);
    for (run, _) in &mut runs {
        let status = run.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }
    let elapsed = start.elapsed();

    let transcripts = fs::read_to_string(transcripts).unwrap();
    let order: Vec<usize> = transcripts
        .lines()
        .filter_map(|line| line.strip_prefix("# Received: "))
        .map(|rank| rank.parse().unwrap())
        .collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..waiters), "{order:?}");
    let places: usize = order.iter().enumerate().map(|(place, rank)| place.abs_diff(*rank)).sum();
    scratch.assert_nothing_left();

    println!(
        "  {waiters:>3} waiters:    {:.2} ms a run, {:.2} places out of order in the mean\n\
         {:18}{:.3} s of processor time while they waited",
        elapsed.as_secs_f64() * 1e3 / waiters as f64,
        places as f64 / waiters as f64,
        "",
        used.as_secs_f64()
    );
}

/// A run that is killed and reaped if the measurement fails.
struct Waiter(Child);

impl Waiter {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The processor time that another process has used so far; see clock_getcpuclockid(3).
fn processor_time(pid: Pid) -> Duration {
    let mut clock = 0;
    // SAFETY: it writes a number into a variable that is there.
    let result = unsafe { libc::clock_getcpuclockid(pid.as_raw(), &mut clock) };
    assert_eq!(result, 0, "clock_getcpuclockid: {}", Errno::from_raw(result));
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes a time into a variable that is there.
    Errno::result(unsafe { libc::clock_gettime(clock, &mut time) }).unwrap();
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median<T: Copy + Ord>(mut values: Vec<T>) -> T {
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
