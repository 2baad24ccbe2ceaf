//! What a machine's kernel and its C library make of the calls of the story: their names and their
//! numbers.
//!
//! A test names a call by one number. Where the C library makes another call for it, that one is
//! meant too: [`the_tests_number`] names a call that was made, and [`all_like`] has all that a
//! filter must refuse.

use libc::c_long;

/// The calls that have another name in the kernel of some machine: that one, and the story's.
pub const NAMES: [(&str, &str); 19] = [
    ("clock_nanosleep", "nanosleep"),
    ("clock_nanosleep_time64", "nanosleep"),
    ("clone", "fork"),
    ("clone3", "fork"),
    ("fcntl64", "fcntl"),
    ("fstatat64", "stat"),
    ("newfstatat", "stat"),
    ("openat", "open"),
    ("pipe2", "pipe"),
    ("ppoll", "poll"),
    ("ppoll_time64", "poll"),
    ("pselect6", "pselect"),
    ("pselect6_time64", "pselect"),
    ("recvfrom", "recv"),
    ("rt_sigaction", "sigaction"),
    ("rt_sigprocmask", "sigprocmask"),
    ("sendto", "send"),
    ("vfork", "fork"),
    ("wait4", "waitpid"),
];

/// All names of a call of the story.
pub fn names_of(story: &str) -> impl Iterator<Item = &str> {
    let others = NAMES.iter().filter(move |(_, name)| *name == story).map(|(kernel, _)| *kernel);
    others.chain([story])
}

#[cfg(target_pointer_width = "32")]
pub use libc::SYS_fstatat64 as SYS_newfstatat;
#[cfg(not(target_pointer_width = "32"))]
pub use libc::SYS_newfstatat;

#[cfg(not(any(target_arch = "x86", target_arch = "s390x")))]
pub use libc::{SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_shmget};
/// Younger than ipc(2) there, and `libc` does not have them.
#[cfg(any(target_arch = "x86", target_arch = "s390x"))]
mod of_segments {
    #![allow(non_upper_case_globals)]
    use super::c_long;
    pub const SYS_shmget: c_long = 395;
    pub const SYS_shmctl: c_long = 396;
    pub const SYS_shmat: c_long = 397;
    pub const SYS_shmdt: c_long = 398;
}
#[cfg(any(target_arch = "x86", target_arch = "s390x"))]
pub use of_segments::*;

/// A call by which a kernel does what another one does.
#[derive(Clone, Copy, Debug)]
pub struct Like {
    pub number: c_long,
    /// Which argument it has then, by its index; see ipc(2) for instance.
    pub only_with: Option<(usize, u64)>,
    /// Where each argument of the other call lies in it, if it does.
    pub arguments: &'static [Option<u32>],
}

/// The tests' number of a call, and what is made in its place on this machine.
const LIKE: &[&[(c_long, Like)]] = &[
    &[like(libc::SYS_clone, libc::SYS_clone3)],
    #[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64")))]
    &[
        like(libc::SYS_clone, libc::SYS_fork),
        like(libc::SYS_clone, libc::SYS_vfork),
        like(libc::SYS_pipe2, libc::SYS_pipe),
        like(libc::SYS_ppoll, libc::SYS_poll),
        // Without the folder in which the others look their path up.
        with(libc::SYS_openat, libc::SYS_open, &[None, Some(0), Some(1)]),
        with(libc::SYS_readlinkat, libc::SYS_readlink, &[None, Some(0)]),
        with(SYS_newfstatat, libc::SYS_stat, &[None, Some(0)]),
    ],
    // With times of 64 bits.
    #[cfg(target_pointer_width = "32")]
    &[
        like(libc::SYS_clock_nanosleep, 407),
        like(libc::SYS_pselect6, 413),
        like(libc::SYS_ppoll, 414),
        // The standard library makes it without this flag.
        only_with(2, libc::AT_NO_AUTOMOUNT as u64, with(SYS_newfstatat, libc::SYS_statx, &[])),
    ],
    #[cfg(any(target_arch = "x86", target_arch = "s390x"))]
    &[
        only_with(0, 21, with(SYS_shmat, libc::SYS_ipc, &[Some(1), Some(4), Some(2)])),
        only_with(0, 22, with(SYS_shmdt, libc::SYS_ipc, &[Some(4)])),
        only_with(0, 23, with(SYS_shmget, libc::SYS_ipc, &[Some(1), Some(2), Some(3)])),
        only_with(0, 24, with(SYS_shmctl, libc::SYS_ipc, &[Some(1), Some(2), Some(4)])),
        // Their arguments lie in memory.
        only_with(0, 8, with(libc::SYS_socketpair, libc::SYS_socketcall, &[])),
        only_with(0, 9, with(libc::SYS_sendto, libc::SYS_socketcall, &[])),
        only_with(0, 10, with(libc::SYS_recvfrom, libc::SYS_socketcall, &[])),
        only_with(0, 11, with(libc::SYS_sendto, libc::SYS_socketcall, &[])),
        only_with(0, 12, with(libc::SYS_recvfrom, libc::SYS_socketcall, &[])),
    ],
];

const fn like(call: c_long, number: c_long) -> (c_long, Like) {
    with(call, number, &[Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)])
}

const fn with(call: c_long, number: c_long, arguments: &'static [Option<u32>]) -> (c_long, Like) {
    (call, Like { number, only_with: None, arguments })
}

#[cfg(any(target_pointer_width = "32", target_arch = "s390x"))]
const fn only_with(index: usize, value: u64, (call, like): (c_long, Like)) -> (c_long, Like) {
    (call, Like { only_with: Some((index, value)), ..like })
}

/// The number by which the tests name the call that was made, with these arguments.
pub fn the_tests_number(made: c_long, arguments: &[u64; 6]) -> c_long {
    let is_it = |like: &Like| {
        like.number == made && like.only_with.is_none_or(|(index, it)| arguments[index] == it)
    };
    LIKE.iter().copied().flatten().find(|(_, like)| is_it(like)).map_or(made, |&(call, _)| call)
}

/// The call itself, and what else may be made for it.
pub fn all_like(call: c_long) -> impl Iterator<Item = Like> {
    let others = LIKE.iter().copied().flatten().filter(move |it| it.0 == call).map(|it| it.1);
    others.chain([like(call, call).1])
}
