//! What the story costs: this program beside a C program of the same behaviour
//! (`tests/peers/careful.c`), run alternately, so that whatever else the machine does meets both
//! alike.
//!
//! `cargo bench` prints the ratio and the goals. It judges nothing: it fails only if a run fails.
//! Without `--bench` (as `cargo test --all-targets` starts it) it makes a few runs, to show that it
//! works.

#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, alarm};

use support::{Scratch, compile_peer, run};

const MESSAGE: &str = "Hello, world";

/// In seconds, and much longer than all the runs together take on a busy machine.
const PATIENCE: u32 = 600;

fn main() {
    // If a run hangs, this ends the waiting for it: by SIGALRM, which kills.
    alarm::set(PATIENCE);
    let whole = std::env::args().any(|argument| argument == "--bench");
    let (warm_up, pairs, memory_runs) = if whole { (20, 400, 15) } else { (1, 2, 1) };

    let scratch = Scratch::new();
    let careful = compile_peer("careful");
    let rust = || scratch.sigshm([MESSAGE]);
    let c = || {
        let mut command = Command::new(&careful);
        command
            .arg(MESSAGE)
            .arg(scratch.path())
            .stdin(Stdio::null());
        command
    };
    // What is compared does the same.
    for mut command in [rust(), c()] {
        run(&mut command).assert_delivered(MESSAGE.len(), MESSAGE);
    }

    for _ in 0..warm_up {
        time(rust());
        time(c());
    }
    let (mut rust_times, mut c_times) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        rust_times.push(time(rust()));
        c_times.push(time(c()));
    }
    let (rust_time, c_time) = (median(rust_times), median(c_times));

    let rust_memory = median((0..memory_runs).map(|_| peak_memory(rust())).collect());
    let c_memory = median((0..memory_runs).map(|_| peak_memory(c())).collect());
    scratch.assert_nothing_left();
    // A peer is compiled for each process that wants it.
    fs::remove_file(&careful).unwrap();

    let profile = if cfg!(debug_assertions) {
        "a debug build, which says nothing about the goals"
    } else {
        "a release build"
    };
    println!("sigshm ({profile}) beside careful.c (cc -O2), medians of {pairs} pairs of runs");
    println!(
        "  whole process:  sigshm {:.0} µs, C {:.0} µs",
        micros(rust_time),
        micros(c_time)
    );
    println!(
        "                  ratio {:.2} (goal: at most 1.30)",
        micros(rust_time) / micros(c_time)
    );
    println!("  peak memory:    sigshm {rust_memory} KiB, C {c_memory} KiB");
    println!(
        "                  {:+} KiB (goal: less than +1024 KiB)",
        rust_memory as i64 - c_memory as i64
    );
}

/// The time from before a process is started until it has been reaped.
fn time(mut command: Command) -> Duration {
    command.stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status().unwrap();
    let elapsed = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    elapsed
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
    assert_eq!(
        waitpid(pid, None),
        Ok(WaitStatus::Stopped(pid, Signal::SIGTRAP))
    );
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
    assert_eq!(
        (peaks.len(), ended.len()),
        (2, 2),
        "{command:?}: a sender and a listener"
    );
    peaks.into_values().max().unwrap()
}

/// `VmHWM` of proc_pid_status(5), in KiB.
fn high_water_mark(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse()
        .unwrap()
}

fn median<T: Copy + Ord>(mut values: Vec<T>) -> T {
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
