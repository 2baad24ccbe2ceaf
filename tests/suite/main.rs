//! The tests: one file a concern, and all of them one program. So what they share, in `support`, is
//! compiled once, and a test that waits does not hold up the next file.
//!
//! Names are claims: `cargo test` prints what the program promises. Those of one file, or one:
//! `cargo test killed::`, `cargo test killed::if_both`.
//!
//! A test makes a [`Scratch`](support::Scratch) folder, runs the program there, and looks at how the
//! run has [finished](support::Finished). At the end of the test nothing may be left of it: no
//! process and no segment. To catch a run at an exact step, see `support/tracer.rs`.

#![allow(unsafe_code)] // To look at segments and processes without the program's own code.

#[cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]
#[path = "../support/mod.rs"]
mod support;

mod cleanup;
mod escape;
mod hostile;
mod input;
mod layout;
mod lessons;
mod load;
mod peers;
mod pictures;
mod readme;
mod segments;
mod socket;
mod streams;
mod transcript;

// These look into /proc, or stop a run at a system call.
#[cfg(target_os = "linux")]
mod article;
#[cfg(target_os = "linux")]
mod changes;
#[cfg(target_os = "linux")]
mod coverage;
#[cfg(target_os = "linux")]
mod explain;
#[cfg(target_os = "linux")]
mod hampered;
#[cfg(target_os = "linux")]
mod interrupted;
#[cfg(target_os = "linux")]
mod killed;
#[cfg(target_os = "linux")]
mod kinds;
#[cfg(target_os = "linux")]
mod lesson;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod misses;
#[cfg(target_os = "linux")]
mod namespaces;
#[cfg(target_os = "linux")]
mod output;
#[cfg(target_os = "linux")]
mod refused;
#[cfg(target_os = "linux")]
mod signal;
#[cfg(target_os = "linux")]
mod standalone;
#[cfg(target_os = "linux")]
mod step;
#[cfg(target_os = "linux")]
mod stopped;
#[cfg(target_os = "linux")]
mod strace;
#[cfg(target_os = "linux")]
mod stray;
#[cfg(target_os = "linux")]
mod threads;
#[cfg(target_os = "linux")]
mod wait;
#[cfg(target_os = "linux")]
mod who;
