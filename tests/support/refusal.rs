//! System calls that the kernel refuses, as the policy of a sandbox has it; see seccomp(2).

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A system call that is to fail, by its number, and by one of its arguments if that is given.
#[derive(Clone, Copy)]
pub struct Refusal {
    call: libc::c_long,
    /// The argument's index, the bits to look at, and what they must be.
    argument: Option<(u32, u32, u32)>,
    errno: i32,
}

impl Refusal {
    pub const fn of(call: libc::c_long, errno: i32) -> Self {
        Self {
            call,
            argument: None,
            errno,
        }
    }

    pub const fn when(mut self, argument: u32, bits: u32, value: u32) -> Self {
        self.argument = Some((argument, bits, value));
        self
    }

    /// Installs a seccomp(2) filter, which holds until the process ends, for its children too.
    ///
    /// Allocates nothing, so that it may be called between fork and exec.
    pub fn install(self) -> io::Result<()> {
        const NUMBER: u32 = 0; // offsetof(struct seccomp_data, nr)
        const ARGUMENTS: u32 = 16; // offsetof(struct seccomp_data, args)
        // Where the lower half of an argument lies.
        let lower = if cfg!(target_endian = "big") { 4 } else { 0 };
        let statement = |code: u32, k: u32| libc::sock_filter {
            code: code as u16,
            jt: 0,
            jf: 0,
            k,
        };
        let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
        let unless_equal_skip = |k: u32, skip: u8| libc::sock_filter {
            jf: skip,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k)
        };
        // Without a condition, none of the bits is looked at.
        let (argument, bits, value) = self.argument.unwrap_or((0, 0, 0));
        let filter = [
            load(NUMBER),
            unless_equal_skip(self.call as u32, 4),
            load(ARGUMENTS + 8 * argument + lower),
            statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits),
            unless_equal_skip(value, 1),
            statement(
                libc::BPF_RET | libc::BPF_K,
                libc::SECCOMP_RET_ERRNO | self.errno as u32,
            ),
            statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: prctl reads the program, which lives until the call has returned, and no memory
        // of ours is written.
        let installed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                ) == 0
        };
        if installed {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// Has the kernel refuse system calls to the program, and to what it starts.
pub fn refuse(command: &mut Command, refusals: impl IntoIterator<Item = Refusal>) {
    for refusal in refusals {
        // SAFETY: between fork and exec this makes system calls only, and allocates nothing.
        unsafe { command.pre_exec(move || refusal.install()) };
    }
}
