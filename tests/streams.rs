//! Every way in which standard output can fail or end, for every command. A reader that has left is
//! no failure. What could not be written is one, with one line that says so.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)] // For what a child does between fork and exec.

mod support;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::pty::openpty;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::pipe;

use support::program::Program;
use support::*;

/// What can be asked of the program, and who else has to be there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Other {
    Nobody,
    Listener,
    Sender,
}

const COMMANDS: [(&[&str], Other); 7] = [
    (&["Hello, world"], Other::Nobody),
    (&["--explain", "Hello, world"], Other::Nobody),
    (&["--help"], Other::Nobody),
    (&["-h"], Other::Nobody),
    (&["--version"], Other::Nobody),
    (&["--to"], Other::Listener),
    (&["--listen"], Other::Sender),
];

/// Runs each command with a standard output that `redirect` makes, and hands its outcome to `check`,
/// with whether the other one has got or delivered the message.
fn each_command(
    redirect: impl Fn(&mut Command) -> Stdio,
    check: impl Fn(&str, &Finished, Option<bool>),
) {
    for (arguments, other) in COMMANDS {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(arguments);
        let listener = (other == Other::Listener).then(|| {
            let listener = Program::start(scratch.sigshm(["--listen"]));
            listener.until_printed("# Registering");
            command.args([&listener.pid().to_string(), "Hello, world"]);
            listener
        });
        let stdout = redirect(&mut command);
        let run = start_into(&mut command, stdout);
        // It holds a copy of the other end, perhaps.
        drop(command);
        let mut passed = None;
        if other == Other::Sender {
            let pid = run.pid();
            wait_until("it listens, or has ended", || {
                state(pid) == Some('Z') || signals(pid, "SigCgt:") & SIGUSR1 != 0
            });
            let mut sender = scratch.sigshm(["--to", &pid.to_string(), "Hello, world"]);
            passed = Some(support::run(&mut sender).code == Some(0));
        }
        let finished = run.finish();
        if let Some(listener) = listener {
            if finished.code != Some(0) {
                kill(listener.pid(), Signal::SIGTERM).unwrap();
            }
            let pid = listener.pid();
            let received = received(pid, "Hello, world");
            passed = Some(listener.finish().text() == received);
        }
        check(arguments[0], &finished, passed);
        scratch.assert_nothing_left();
    }
}

/// The reader has left, or was never there: that is no failure.
fn assert_no_failure(redirect: impl Fn(&mut Command) -> Stdio) {
    each_command(redirect, |command, finished, passed| {
        let outcome = (finished.code, finished.signal, finished.stderr.as_str());
        assert_eq!(outcome, (Some(0), None, ""), "{command}");
        assert_ne!(passed, Some(false), "{command}");
    });
}

/// Nothing can be written: that is a failure, and one line says so.
fn assert_failure(errno: &str, redirect: impl Fn(&mut Command) -> Stdio) {
    each_command(redirect, |command, finished, passed| {
        println!("{command}");
        finished.assert_failed_with(&["sigshm: error: write(1, …, ", errno]);
        assert_ne!(passed, Some(true), "{command}");
    });
}

#[test]
fn a_standard_output_that_is_closed_is_no_failure() {
    assert_no_failure(|command| {
        // SAFETY: between fork and exec this makes one system call.
        unsafe {
            command.pre_exec(|| {
                libc::close(1);
                Ok(())
            })
        };
        Stdio::null()
    });
}

#[test]
fn a_pipe_whose_reader_has_left_is_no_failure() {
    assert_no_failure(|_| pipe().unwrap().1.into());
}

#[test]
fn a_terminal_that_has_gone_is_no_failure() {
    // Not the controlling terminal, so that no SIGHUP comes.
    assert_no_failure(|_| openpty(None, None).unwrap().slave.into());
}

#[test]
fn a_full_device_is_a_failure() {
    assert_failure("ENOSPC", |_| {
        File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
            .into()
    });
}

#[test]
fn a_standard_output_that_is_open_for_reading_only_is_a_failure() {
    assert_failure("EBADF", |_| File::open("/dev/null").unwrap().into());
}

#[test]
fn a_file_that_may_not_grow_is_a_failure() {
    assert_failure("EFBIG", |command| {
        // SAFETY: between fork and exec this makes one system call.
        unsafe { command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?)) };
        tempfile::tempfile().unwrap().into()
    });
}

#[test]
fn while_its_reader_pauses_each_command_waits_and_can_be_ended() {
    for (arguments, other) in COMMANDS {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(arguments);
        let listener = (other == Other::Listener).then(|| {
            let listener = Program::start(scratch.sigshm(["--listen"]));
            listener.until_printed("# Registering");
            command.args([&listener.pid().to_string(), "Hello, world"]);
            listener
        });
        let (_reader, writer) = full_pipe();
        let run = start_into(&mut command, writer);
        wait_until("it is blocked", || {
            let mut everybody = scratch
                .processes()
                .into_iter()
                .map(nix::unistd::Pid::from_raw);
            is_blocked_in_write(run.pid()) || everybody.any(is_blocked_in_write)
        });
        kill(run.pid(), Signal::SIGTERM).unwrap();
        let finished = run.finish();
        let outcome = (finished.signal, finished.stderr.as_str());
        assert_eq!(outcome, (Some(libc::SIGTERM), ""), "{arguments:?}");
        drop(listener);
        scratch.assert_nothing_left();
    }
}

#[test]
fn when_a_reader_that_has_paused_reads_on_it_gets_all_of_it() {
    for arguments in [["--help"], ["-h"], ["--version"]] {
        let whole = run(sigshm().args(arguments));
        assert_eq!((whole.code, whole.stderr.as_str()), (Some(0), ""));
        let (mut reader, writer) = full_pipe();
        let mut command = sigshm();
        let run = start_into(command.args(arguments), writer);
        drop(command);
        wait_until("it is blocked", || is_blocked_in_write(run.pid()));
        let mut text = Vec::new();
        // As long as the process lives, there is somebody to write.
        loop {
            let mut some = [0; 4096];
            match reader.read(&mut some) {
                Ok(0) => break,
                Ok(read) => text.extend(&some[..read]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert!(text.ends_with(&whole.stdout), "{arguments:?}");
        assert_eq!(run.finish().code, Some(0));
    }
}
