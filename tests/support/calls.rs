//! What a machine's kernel and its C library make of the calls of the story: their names, and the
//! numbers of those that not every kernel has.

/// The calls that have another name in the kernel of some machine: that one, and the story's.
pub const NAMES: [(&str, &str); 14] = [
    ("clock_nanosleep", "nanosleep"),
    ("clone", "fork"),
    ("clone3", "fork"),
    ("newfstatat", "stat"),
    ("openat", "open"),
    ("pipe2", "pipe"),
    ("ppoll", "poll"),
    ("pselect6", "pselect"),
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

#[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64")))]
pub use libc::{SYS_fork, SYS_pause, SYS_poll, SYS_readlink, SYS_vfork};
// The kernels of younger machines have what can do more, and nothing beside it.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
pub use libc::{
    SYS_clone as SYS_fork, SYS_clone as SYS_vfork, SYS_ppoll as SYS_pause, SYS_ppoll as SYS_poll,
    SYS_readlinkat as SYS_readlink,
};
