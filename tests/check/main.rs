//! A check of programs that send a message to another process, in any language:
//!
//! ```sh
//! PROGRAM=./mine cargo test --test check -- --nocapture
//! ```
//!
//! The contract is no more than this. The program is called as `PROGRAM MESSAGE PATH`. It sends the
//! message to another process of its own, which prints a line that ends in `Received: MESSAGE`. Its
//! exit status is 0 if and only if the message was received. Whatever the program does, each run
//! ends and nothing of it is left: see `runs`. What is promised: see `promises`. How it is tried:
//! see `check`, and `traced` for what only ptrace(2) can show.
//!
//! Without PROGRAM, programs are checked of which it is known what they break: see `known`.

#![allow(unsafe_code)] // For ptrace(2) and waitpid(2).

#[cfg(target_os = "linux")]
mod check;
#[cfg(target_os = "linux")]
mod functions;
#[cfg(target_os = "linux")]
mod known;
#[cfg(target_os = "linux")]
mod promises;
#[cfg(target_os = "linux")]
mod runs;
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod trace;
#[cfg(target_os = "linux")]
mod traced;
#[cfg(target_os = "linux")]
mod tracee;

/// The program to check: a file, or a command such as `python3 mine.py`. If none is named, it is
/// careful.c, with all runs.
#[cfg(target_os = "linux")]
#[test]
fn the_program_keeps_its_promises() -> Result<(), String> {
    use crate::{check::*, runs::Subject, support::*};

    let _alone = known::alone();
    let named = env::var("PROGRAM").ok();
    if named.is_none() && !compiles_c() {
        return Ok(());
    }
    let program = named.unwrap_or_else(|| compile_peer("careful").display().to_string());
    let subject = Subject::named(&program, Effort::FULL.limits)?;
    println!("\nChecking {program}, and nothing else, which takes up to a minute ...");
    let tallies = Check::of(&subject, Effort::FULL);
    print!("{}", table::of_one(&tallies));
    match tallies.iter().filter(|it| it.broken > 0).count() {
        0 => Ok(()),
        1 => Err("1 promise is broken".to_owned()),
        broken => Err(format!("{broken} promises are broken")),
    }
}

#[cfg(not(target_os = "linux"))]
#[test]
fn the_program_keeps_its_promises() {
    support::not_tested("PROGRAM", "only Linux shows all that is checked");
}
