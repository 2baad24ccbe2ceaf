//! System calls and files that the kernel refuses, as the policy of a sandbox has it; see
//! seccomp(2) and landlock(7).

use super::calls::{Like, all_like};
use super::*;
use nix::sys::prctl::set_no_new_privs;
use std::os::unix::fs::OpenOptionsExt;

/// In place of an errno: the call does nothing, and returns 0.
pub const NO_EFFECT: Errno = Errno::UnknownErrno;

/// A system call that is to fail, by its number, and by one of its arguments if that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    call: libc::c_long,
    /// The argument's index, the bits to look at, and what they must be. (Without a condition, none
    /// of the bits is looked at.)
    argument: (u32, u32, u32),
    /// What a filter returns; see seccomp(2).
    answer: u32,
}

impl Refusal {
    /// The call kills the process, by SIGSYS.
    pub const fn deadly(call: libc::c_long) -> Self {
        Self { call, argument: (0, 0, 0), answer: libc::SECCOMP_RET_KILL_PROCESS }
    }

    pub const fn of(call: libc::c_long, errno: Errno) -> Self {
        Self::deadly(call).with(errno)
    }

    /// The same call with this answer.
    pub const fn with(self, errno: Errno) -> Self {
        Self { answer: libc::SECCOMP_RET_ERRNO | errno as u32, ..self }
    }

    /// Only if the argument with this index is this.
    pub const fn if_is(self, argument: u32, value: i32) -> Self {
        Self { argument: (argument, u32::MAX, value as u32), ..self }
    }

    /// Only if these bits are set in the argument with this index.
    pub const fn if_has(self, argument: u32, bits: i32) -> Self {
        Self { argument: (argument, bits as u32, bits as u32), ..self }
    }

    /// shmctl(2) with this command. (Some machines add a bit to it, IPC_64.)
    pub const fn shmctl(command: i32, errno: Errno) -> Self {
        Self { argument: (1, 0xff, command as u32), ..Self::of(calls::SYS_shmctl, errno) }
    }

    /// The open(2) of the path. (The dynamic linker and the standard library open without this.)
    pub const fn open(errno: Errno) -> Self {
        Self::of(libc::SYS_openat, errno).if_has(2, libc::O_NONBLOCK)
    }

    /// The shmat(2) of the listener.
    pub const fn read_only_shmat(errno: Errno) -> Self {
        Self::of(calls::SYS_shmat, errno).if_has(2, SHM_RDONLY)
    }

    /// Installs a seccomp(2) filter for each call that may be made for this one.
    fn install(self) -> nix::Result<()> {
        all_like(self.call).try_for_each(|call| self.install_for(call))
    }

    /// Installs a filter, which holds until the process ends, for its children too.
    fn install_for(self, call: Like) -> nix::Result<()> {
        let (argument, bits, value) = self.argument;
        // If the argument cannot be looked at, the call is refused whatever it is.
        let (argument, bits, value) = match call.arguments.get(argument as usize) {
            Some(&Some(at)) => (at, bits, value),
            _ => (0, 0, 0),
        };
        let (index, only_bits, only) = match call.only_with {
            Some((index, value)) => (index as u32, u32::MAX, value as u32),
            None => (0, 0, 0),
        };
        // What there is to load: the number of the call, and the lower half of an argument.
        let number = mem::offset_of!(libc::seccomp_data, nr) as u32;
        let arguments = mem::offset_of!(libc::seccomp_data, args) as u32;
        let half = if cfg!(target_endian = "big") { 4 } else { 0 };
        let lower = |argument| arguments + 8 * argument + half;
        let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        let and = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        let answer = libc::BPF_RET | libc::BPF_K;
        // Each with how many of the next ones are left out if it is not equal.
        let filter = [
            (load, number, 0),
            (equal, call.number as u32, 7),
            (load, lower(index), 0),
            (and, only_bits, 0),
            (equal, only, 4),
            (load, lower(argument), 0),
            (and, bits, 0),
            (equal, value, 1),
            (answer, self.answer, 0),
            (answer, libc::SECCOMP_RET_ALLOW, 0),
        ];
        let filter =
            filter.map(|(code, k, jf)| libc::sock_filter { code: code as u16, jt: 0, jf, k });
        let program =
            libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        set_no_new_privs()?;
        let (set, mode) = (libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER);
        // SAFETY: prctl reads the program, which lives until the call has returned.
        Errno::result(unsafe { libc::prctl(set, mode, &raw const program) }).map(drop)
    }
}

/// Has the kernel refuse system calls to the program, and to what it starts.
pub fn refuse<C: BorrowMut<Command>>(mut command: C, refusals: &[Refusal]) -> C {
    for &refusal in refusals {
        command.borrow_mut().in_child(move || refusal.install());
    }
    command
}

/// The program may read no file and no folder in `scratch`, whatever their modes are; see
/// landlock(7). Fails if the kernel has no Landlock.
pub fn confine(command: &mut Command, scratch: &Path) -> io::Result<()> {
    const READ_FILE: u64 = 1 << 2;
    const READ_FOLDER: u64 = 1 << 3;
    const PATH_BENEATH: i32 = 1;
    #[repr(C, packed)]
    struct Beneath {
        allowed: u64,
        folder: i32,
    }
    let handled = READ_FILE | READ_FOLDER;
    // SAFETY: the kernel reads the eight bytes, and returns a new descriptor, which is nobody's.
    let rules = unsafe {
        let rules = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, 8, 0);
        OwnedFd::from_raw_fd(Errno::result(rules)? as i32)
    };
    // All but what leads there. To be executed, a program must be readable.
    let root = fs::read_dir("/")?.flatten().map(|entry| entry.path());
    let program = command.get_program().into();
    for path in root.filter(|it| !scratch.starts_with(it)).chain([program]) {
        let Ok(file) = File::options().read(true).custom_flags(libc::O_PATH).open(&path) else {
            continue;
        };
        let allowed = if file.metadata()?.is_dir() { handled } else { READ_FILE };
        let rule = Beneath { allowed, folder: file.as_raw_fd() };
        let (add, rules) = (libc::SYS_landlock_add_rule, rules.as_raw_fd());
        // SAFETY: the kernel reads the rule.
        Errno::result(unsafe { libc::syscall(add, rules, PATH_BENEATH, &raw const rule, 0) })?;
    }
    command.in_child(move || {
        set_no_new_privs()?;
        let restrict = libc::SYS_landlock_restrict_self;
        // SAFETY: the call takes numbers.
        Errno::result(unsafe { libc::syscall(restrict, rules.as_raw_fd(), 0) }).map(drop)
    });
    Ok(())
}
