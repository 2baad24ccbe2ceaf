//! A line for the linker, which saves a third of the time that the whole story takes
//! (`cargo bench --bench cost`).
//!
//! The standard library refers to libgcc_s, which unwinds a panicking stack. A release build does
//! not unwind. Linked statically, that library need not be looked for and mapped at each start.

#[cfg(all(target_os = "linux", target_env = "gnu", not(debug_assertions)))]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
// SAFETY: nothing is declared here, so there is nothing that could be called wrongly.
unsafe extern "C" {}
