//! What Linux tells of a process, in `/proc`.

use super::*;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::clock_getcpuclockid;

/// The processors on which this process may run.
pub fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|&processor| allowed.is_set(processor) == Ok(true)).collect()
}

/// Keeps this process on one of them.
pub fn run_on(processor: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// The processor time that the process has used, until it is reaped.
pub fn processor_time(pid: Pid) -> Duration {
    clock_getcpuclockid(pid).unwrap().now().unwrap().into()
}

/// The system call in which the process is blocked, by the number by which the tests name it, and
/// its arguments; see proc_pid_syscall(5).
pub fn call_of(pid: Pid) -> Option<(libc::c_long, [u64; 6])> {
    let syscall = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let (number, rest) = syscall.split_once(' ')?;
    let (number, mut arguments) = (number.parse().ok()?, [0; 6]);
    for (argument, word) in arguments.iter_mut().zip(rest.split_whitespace()) {
        *argument = u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()?;
    }
    Some((calls::the_tests_number(number, &arguments), arguments))
}

pub fn blocked_in(pid: Pid) -> Option<libc::c_long> {
    call_of(pid).map(|(number, _)| number)
}

pub fn is_blocked_in(pid: Pid, call: libc::c_long) -> bool {
    blocked_in(pid) == Some(call)
}

pub fn is_blocked_in_write(pid: Pid) -> bool {
    is_blocked_in(pid, libc::SYS_write)
}

/// The process, its children, and theirs.
pub fn descendants(pid: Pid) -> Vec<Pid> {
    let below = children(pid).into_iter().flat_map(descendants);
    iter::once(pid).chain(below).collect()
}

/// What `/proc/PID/status` has behind this label; see proc_pid_status(5).
#[track_caller]
pub fn status(pid: Pid, label: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(label));
    value.expect(label).trim().to_owned()
}

/// One of the sets of signals there.
#[track_caller]
pub fn signals(pid: Pid, label: &str) -> u64 {
    u64::from_str_radix(&status(pid, label), 16).unwrap()
}

/// A signal in such a set.
pub const fn bit(signal: Signal) -> u64 {
    1 << (signal as u32 - 1)
}

/// Whether the signal is in one of these sets: caught (`SigCgt:`), blocked (`SigBlk:`), pending
/// (`ShdPnd:`), ignored (`SigIgn:`).
#[track_caller]
pub fn has_signal(pid: Pid, label: &str, signal: Signal) -> bool {
    signals(pid, label) & bit(signal) != 0
}

/// Whether a SIGUSR1 has been sent to the process that it has not taken yet.
#[track_caller]
pub fn is_pending(pid: Pid) -> bool {
    has_signal(pid, "ShdPnd:", SIGUSR1)
}

/// Sends a listener that sleeps a SIGUSR1, and waits until it has looked and sleeps again.
#[track_caller]
pub fn send_stray(listener: Pid) {
    send_stray_of(SIGUSR1, listener);
}

/// As [`send_stray`], with the signal for which it listens.
#[track_caller]
pub fn send_stray_of(signal: Signal, listener: Pid) {
    kill(listener, signal).unwrap();
    wait_until("it has looked, and waits again", || {
        !has_signal(listener, "ShdPnd:", signal) && state(listener) == Some('S')
    });
}
