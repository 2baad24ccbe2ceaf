//! What ptrace(2) does to one thread: how it stopped, and how it goes on.

pub use crate::support::tracer::call;
use crate::support::tracer::syscall_info;
use crate::support::*;

/// How a thread has stopped or ended; see "Stopped states" in ptrace(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Exited(i32),
    Killed(i32),
    /// A signal is about to come to it. (Real-time signals have numbers only.)
    Signal(i32),
    /// At the entry or the exit of a system call.
    Call,
    /// One of `PTRACE_EVENT_…`.
    Event(i32),
}

/// Reaps this thread or child, or any, if it has ended, or tells how it has stopped. `None` if
/// there is nobody; `Some(None)` if nobody has ended or stopped.
#[allow(clippy::option_option)]
pub fn next_stop(of: Option<Pid>) -> Option<Option<(Pid, Stop)>> {
    let (of, mut status) = (of.map_or(-1, Pid::as_raw), 0);
    // SAFETY: waitpid writes one number.
    let pid = unsafe { libc::waitpid(of, &mut status, libc::WNOHANG | libc::__WALL) };
    let stop = match pid {
        -1 => return None,
        0 => return Some(None),
        _ if libc::WIFEXITED(status) => Stop::Exited(libc::WEXITSTATUS(status)),
        _ if libc::WIFSIGNALED(status) => Stop::Killed(libc::WTERMSIG(status)),
        _ if status >> 16 != 0 => Stop::Event(status >> 16),
        _ if libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80 => Stop::Call,
        _ => Stop::Signal(libc::WSTOPSIG(status)),
    };
    Some(Some((Pid::from_raw(pid), stop)))
}

/// Lets the thread go on to its next system call, with this signal if it is not 0.
pub fn to_next_call(thread: Pid, signal: i32) {
    request(libc::PTRACE_SYSCALL as _, thread, signal);
}

/// Lets it make one instruction, or enter the handler of the signal.
pub fn step(thread: Pid, signal: i32) {
    request(libc::PTRACE_SINGLESTEP as _, thread, signal);
}

fn request(request: libc::c_long, thread: Pid, signal: i32) {
    // SAFETY: both requests take numbers.
    let made = unsafe {
        libc::syscall(libc::SYS_ptrace, request, thread.as_raw(), 0, libc::c_long::from(signal))
    };
    match Errno::result(made) {
        // That it has been killed meanwhile is seen by the next wait.
        Ok(_) | Err(Errno::ESRCH) => {}
        Err(errno) => panic!("ptrace({request}) of PID {thread}: {errno}"),
    }
}

/// The result of the system call at whose exit the thread is stopped, as the kernel has it: an
/// error is negative.
pub fn result(thread: Pid) -> Option<i64> {
    const EXIT: u8 = 2;
    // The kernel writes the result where an entry has the number.
    syscall_info(thread).ok().filter(|it| it.op == EXIT).map(|it| it.number as i64)
}

/// Where its stack ends.
pub fn stack_pointer(thread: Pid) -> u64 {
    syscall_info(thread).map_or(0, |it| it.stack_pointer)
}

/// Whether a handler returns by this call; see sigreturn(2).
pub fn is_return_of_handler(call: libc::c_long) -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "arm"))]
    if call == libc::SYS_sigreturn {
        return true;
    }
    call == libc::SYS_rt_sigreturn
}

/// Where its next instruction is.
pub fn instruction_pointer(thread: Pid) -> Option<u64> {
    syscall_info(thread).ok().map(|it| it.instruction_pointer)
}

/// Whether the next instruction makes a system call.
pub fn is_at_call(thread: Pid) -> bool {
    let at = instruction_pointer(thread).unwrap_or_default();
    let instruction = ptrace::read(thread, at as ptrace::AddressType).unwrap_or_default();
    SYSTEM_CALLS.iter().any(|it| instruction.to_ne_bytes().starts_with(it))
}

/// The machine's instructions that make a system call, as far as they are known here.
pub const SYSTEM_CALLS: &[&[u8]] = match () {
    () if cfg!(target_arch = "x86_64") => &[&[0x0f, 0x05]],
    // Which one depends on who has made the processor.
    () if cfg!(target_arch = "x86") => &[&[0x0f, 0x34], &[0x0f, 0x05], &[0xcd, 0x80]],
    () if cfg!(target_arch = "aarch64") => &[&[0x01, 0x00, 0x00, 0xd4]],
    () => &[],
};
