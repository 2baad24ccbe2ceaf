//! System calls and files that the kernel refuses, as the policy of a sandbox has it; see
//! seccomp(2) and landlock(7).

use super::*;
use std::os::unix::fs::OpenOptionsExt;

/// A C library's poll(2).
#[cfg(target_arch = "x86_64")]
pub const SYS_POLL: libc::c_long = libc::SYS_poll;
#[cfg(not(target_arch = "x86_64"))]
pub const SYS_POLL: libc::c_long = libc::SYS_ppoll;

/// A system call that is to fail, by its number, and by one of its arguments if that is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    call: libc::c_long,
    /// The argument's index, the bits to look at, and what they must be.
    argument: Option<(u32, u32, u32)>,
    /// What a filter returns; see seccomp(2).
    answer: u32,
}

impl Refusal {
    pub const fn of(call: libc::c_long, errno: i32) -> Self {
        Self { call, argument: None, answer: libc::SECCOMP_RET_ERRNO | errno as u32 }
    }

    /// The call kills the process, by SIGSYS.
    pub const fn deadly(call: libc::c_long) -> Self {
        Self { call, argument: None, answer: libc::SECCOMP_RET_KILL_PROCESS }
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
        let statement =
            |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
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
            statement(libc::BPF_RET | libc::BPF_K, self.answer),
            statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        ];
        let program =
            libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: prctl reads the program, which lives until the call has returned, and no memory
        // of ours is written.
        let installed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
                    == 0
        };
        if installed { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Has the kernel refuse system calls to the program, and to what it starts.
pub fn refuse(command: &mut Command, refusals: impl IntoIterator<Item = Refusal>) {
    for refusal in refusals {
        // SAFETY: between fork and exec this makes system calls only, and allocates nothing.
        unsafe { command.pre_exec(move || refusal.install()) };
    }
}

/// The program may read no file and no folder in `scratch`, whatever their modes are; see
/// landlock(7). Fails if the kernel has no Landlock.
pub fn confine(command: &mut Command, scratch: &Path) -> io::Result<()> {
    const READ_FILE_AND_FOLDER: u64 = 1 << 2 | 1 << 3;
    #[repr(C, packed)]
    struct Beneath {
        allowed: u64,
        folder: i32,
    }
    let handled = READ_FILE_AND_FOLDER;
    // SAFETY: the kernel reads the eight bytes, and returns a new descriptor, which is nobody's.
    let rules = unsafe {
        let rules = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, 8, 0);
        OwnedFd::from_raw_fd(Errno::result(rules)? as i32)
    };
    // All but what leads there. To be executed, a program must be readable.
    let root = fs::read_dir("/")?.flatten().map(|entry| entry.path());
    let program = command.get_program().into();
    for path in root.filter(|it| !scratch.starts_with(it)).chain([program]) {
        let mut options = File::options();
        let options = options.read(true).custom_flags(libc::O_PATH);
        let Ok(file) = options.open(&path) else {
            continue;
        };
        let is_folder = file.metadata()?.is_dir();
        let allowed = if is_folder { handled } else { 1 << 2 };
        let rule = Beneath { allowed, folder: file.as_raw_fd() };
        // SAFETY: the kernel reads the rule, of the kind 1 (LANDLOCK_RULE_PATH_BENEATH).
        Errno::result(unsafe {
            let add = libc::SYS_landlock_add_rule;
            libc::syscall(add, rules.as_raw_fd(), 1, &raw const rule, 0)
        })?;
    }
    let restrict = move || {
        // SAFETY: both calls take numbers.
        let restricted = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0)
        };
        Ok(Errno::result(restricted).map(drop)?)
    };
    // SAFETY: between fork and exec this makes two system calls, and allocates nothing.
    unsafe { command.pre_exec(restrict) };
    Ok(())
}
