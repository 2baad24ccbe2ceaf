//! Standard output and standard error that do not take what is said.
#![cfg(target_os = "linux")]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::pipe2;

use support::*;

/// How many lines the transcript has.
const LINES: usize = 11;

/// The run, started with a descriptor closed.
fn started_without(scratch: &Scratch, descriptors: &'static [i32]) -> Command {
    let mut command = scratch.sigshm(["Hello, world"]);
    // SAFETY: between fork and exec this closes descriptors that the new program is to be without, and allocates
    // nothing.
    unsafe {
        command.pre_exec(move || {
            for &descriptor in descriptors {
                libc::close(descriptor);
            }
            Ok(())
        })
    };
    command
}

#[test]
fn with_standard_output_closed_the_message_is_delivered() {
    let scratch = Scratch::new();
    let finished = run(&mut started_without(&scratch, &[1]));
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!((finished.text(), finished.stderr.as_str()), ("", ""));
    scratch.assert_nothing_left();
}

#[test]
fn with_standard_error_closed_the_message_is_delivered() {
    let scratch = Scratch::new();
    run(&mut started_without(&scratch, &[2])).assert_delivered(12, "Hello, world");
    scratch.assert_nothing_left();
}

#[test]
fn with_everything_closed_the_message_is_delivered() {
    let scratch = Scratch::new();
    let finished = run(&mut started_without(&scratch, &[0, 1, 2]));
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    scratch.assert_nothing_left();
}

#[test]
fn with_standard_error_closed_a_failure_is_still_a_failure() {
    let scratch = Scratch::new();
    std::fs::remove_file(scratch.path()).unwrap();
    let finished = run(&mut started_without(&scratch, &[2]));
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    assert_eq!((finished.text(), finished.stderr.as_str()), ("", ""));
}

#[test]
fn a_standard_error_whose_reader_has_left_changes_nothing() {
    let scratch = Scratch::new();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    drop(reader);
    let mut command = scratch.sigshm(["x".repeat(1008)]);
    command.stderr(writer);
    assert_eq!(command.status().unwrap().code(), Some(1));
    scratch.assert_nothing_left();
}

#[test]
fn a_full_device_is_an_error() {
    let scratch = Scratch::new();
    let mut command = scratch.sigshm(["Hello, world"]);
    command.stdout(File::options().write(true).open("/dev/full").unwrap());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for part in ["write(1, ", "No space left on device (ENOSPC)", "make room"] {
        assert!(stderr.contains(part), "{part:?} is not in {stderr:?}");
    }
    scratch.assert_nothing_left();
}

#[test]
fn a_file_that_reaches_its_size_limit_at_any_line_leaves_nothing_behind() {
    // With the shortest PID there is.
    let whole = transcript(1, 12, "Hello, world").len();
    // Each line is longer than ten bytes, so that every line is the first that does not fit.
    for limit in (0..whole).step_by(10) {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(["Hello, world"]);
        // SAFETY: between fork and exec this makes system calls only, and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
                Ok(setrlimit(
                    Resource::RLIMIT_FSIZE,
                    limit as u64,
                    limit as u64,
                )?)
            })
        };
        let name = scratch.dir().join("transcript");
        command.stdout(File::create(&name).unwrap());
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{limit} bytes: {output:?}");
        assert_eq!(std::fs::metadata(&name).unwrap().len(), limit as u64);
        scratch.assert_nothing_left();
    }
}

/// The run, writing into a pipe that has room for one line, from which the test reads.
fn into_a_narrow_pipe(scratch: &Scratch) -> (Running, BufReader<File>) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let mut command = scratch.sigshm(["--timeout=60", "Hello, world"]);
    let running = start_into(&mut command, writer);
    // One byte at a time, so that no line is taken from the pipe before it is asked for.
    (running, BufReader::with_capacity(1, File::from(reader)))
}

fn start_into(command: &mut Command, writer: OwnedFd) -> Running {
    // `start` captures both outputs; the pre_exec hook comes after that, and puts the pipe in place.
    let descriptor = writer.as_raw_fd();
    // SAFETY: between fork and exec this makes one system call on a descriptor that is open until `start` has returned.
    unsafe {
        command.pre_exec(move || {
            if libc::dup2(descriptor, 1) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        })
    };
    let running = start(command);
    drop(writer);
    running
}

#[test]
fn a_reader_that_leaves_after_any_line_is_no_error_and_the_message_is_delivered() {
    for lines in 0..=LINES {
        let scratch = Scratch::new();
        let (running, mut reader) = into_a_narrow_pipe(&scratch);
        let mut line = String::new();
        for _ in 0..lines {
            line.clear();
            reader.read_line(&mut line).unwrap();
            assert!(line.ends_with('\n'), "{line:?}");
        }
        drop(reader);
        let finished = running.finish();
        assert_eq!(finished.code, Some(0), "after {lines} lines: {finished:#?}");
        assert_eq!(finished.stderr, "");
        scratch.assert_nothing_left();
    }
}

#[test]
fn piped_into_head_the_pipeline_shows_the_first_line_and_the_message_is_delivered() {
    let scratch = Scratch::new();
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            "{ \"$0\" --path \"$1\" 'Hello, world'; echo \"status $?\" >&2; } | head -1",
        ])
        .arg(env!("CARGO_BIN_EXE_sigshm"))
        .arg(scratch.path());
    let finished = run(&mut shell);
    assert_eq!(finished.text(), "# Message size is: 12\n");
    assert_eq!(finished.stderr, "status 0\n");
    scratch.assert_nothing_left();
}

#[test]
fn a_run_whose_reader_stops_reading_after_any_line_can_be_interrupted_and_leaves_nothing() {
    // The pipe takes one line more than is read, so the last line that can be waited for is the last but one.
    for lines in 0..LINES - 1 {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            let scratch = Scratch::new();
            let (running, mut reader) = into_a_narrow_pipe(&scratch);
            let mut line = String::new();
            for _ in 0..lines {
                reader.read_line(&mut line).unwrap();
            }
            let parent = running.pid();
            wait_until("the run waits", || {
                let everybody = children(parent).into_iter().chain([parent]);
                let sleeping = everybody.map(state).all(|state| state == Some('S'));
                sleeping && has_something_to_read(reader.get_ref())
            });
            kill(parent, signal).unwrap();
            let finished = running.finish();
            assert_eq!(
                finished.signal,
                Some(signal as i32),
                "after {lines} lines: {finished:#?}"
            );
            assert_eq!(finished.stderr, "");
            scratch.assert_nothing_left();
        }
    }
}

fn has_something_to_read(pipe: &impl AsRawFd) -> bool {
    let mut bytes = 0;
    // SAFETY: FIONREAD writes one int to where it is told, and `bytes` is one.
    assert_eq!(
        unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) },
        0
    );
    bytes > 0
}

/// A pipe into which nothing more fits: the end to read from, and the other.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let mut writer = File::from(writer);
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    // The run shares the open file description, and so O_NONBLOCK; a pipe that blocks is the harder case.
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer.into())
}

#[test]
fn a_standard_error_that_nobody_reads_holds_nothing_up() {
    let scratch = Scratch::new();
    let (reader, writer) = full_pipe();
    // Held by somebody else, so that the run has something to say: that it waits, and then why it gives up.
    let file = File::open(scratch.path()).unwrap();
    let turn = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let mut command = scratch.sigshm(["--timeout", "0.3", "Hello, world"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .unwrap();
    drop(command);
    let mut status = None;
    wait_until("the run gives up", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(1));
    drop(turn);
    scratch.assert_nothing_left();
    drop(reader);
}

#[test]
fn a_pipe_that_is_full_from_the_beginning_can_be_waited_for_and_interrupted() {
    let scratch = Scratch::new();
    let (reader, writer) = full_pipe();
    let running = start_into(&mut scratch.sigshm(["Hello, world"]), writer);
    let pid = running.pid();
    wait_until("the run waits", || {
        state(pid) == Some('S') && scratch.processes() == [pid.as_raw()]
    });
    kill(pid, Signal::SIGINT).unwrap();
    let finished = running.finish();
    assert_eq!(finished.signal, Some(libc::SIGINT), "{finished:#?}");
    scratch.assert_nothing_left();
    drop(reader);
}

#[test]
fn a_nonblocking_pipe_that_is_read_slowly_gets_every_line_whole() {
    let scratch = Scratch::new();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let running = start_into(
        &mut scratch.sigshm(["--timeout=60", "Hello, world"]),
        writer,
    );
    let mut text = String::new();
    BufReader::with_capacity(1, File::from(reader))
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, transcript(listener_in(&text), 12, "Hello, world"));
    assert_eq!(running.finish().code, Some(0));
    scratch.assert_nothing_left();
}
