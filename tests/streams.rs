//! Every way in which standard output can fail or end, for every command.

use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;

use std::io::{Seek, SeekFrom};

use crate::support::*;
use nix::fcntl::SealFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::close;

const HELLO: &str = "Hello, world";

/// The arguments of each command. `--to` is also told to whom, when that process has been started.
const COMMANDS: [&[&str]; 8] = [
    &[HELLO],
    &["--via=socket", HELLO],
    &["--explain", "--color=never", HELLO],
    &["--listen"],
    &["--to"],
    &["--help"],
    &["-h"],
    &["--version"],
];

/// For the ways that `tests/output.rs` tests with the demo.
const ALL_BUT_THE_DEMO: &[&[&str]] = COMMANDS.split_at(1).1;

/// How the command ends that `start` starts. The message has arrived if it succeeds, and nothing is
/// left in any case.
fn end_of(arguments: &[&str], start: impl FnOnce(Command, &Scratch) -> Program) -> Finished {
    let scratch = Scratch::new();
    let mut command = match arguments {
        ["--via=socket", rest @ ..] => scratch.via_socket(rest),
        _ => scratch.sigshm(arguments),
    };
    let listener = (arguments == ["--to"]).then(|| {
        let listener = Program::start(scratch.sigshm(["--listen"]));
        listener.until_printed(&registered(listener.pid()));
        command.args([&listener.pid().to_string(), HELLO]);
        listener
    });
    let running = start(command, &scratch);
    let sender = (arguments == ["--listen"] && has_come_to_listen(running.pid()))
        .then(|| run(scratch.sigshm(["--to", &running.pid().to_string(), HELLO])));
    let finished = running.finish();
    if finished.code != Some(0) {
        // A listener whose sender has failed would wait for the next one.
        drop(listener);
    } else if let Some(listener) = listener {
        let whole = received(listener.pid(), HELLO);
        assert_eq!(listener.finish().text(), whole);
    } else if arguments == ["--listen"] {
        let sender = sender.expect("it has been sent a message");
        assert_eq!(sender.text(), sent(12, HELLO));
    }
    scratch.assert_nothing_left();
    finished
}

/// Waits until the process can take a message. `false` if it has ended before.
fn has_come_to_listen(pid: Pid) -> bool {
    let listens = || has_signal(pid, "SigCgt:", SIGUSR1);
    let has_ended = || state(pid) == Some('Z');
    wait_until("it listens, or has ended", || listens() || has_ended());
    listens()
}

/// With the standard output that `stdout` makes, each command succeeds and says nothing. Or, if
/// there is a reason why not, each fails, and says in one line that it could not write, and why.
#[track_caller]
fn assert_each_ends(
    commands: &[&[&str]],
    why_not: Option<&str>,
    stdout: impl Fn(&mut Command) -> Stdio,
) {
    let start = |mut command: Command, _: &Scratch| {
        let stdout = stdout(&mut command);
        Program::start_into(stdout, &mut command)
    };
    let (code, lines) = if why_not.is_some() { (1, 1) } else { (0, 0) };
    let mut ends: Vec<_> = commands.iter().map(|it| (it, end_of(it, start))).collect();
    ends.retain(|(_, it)| {
        let line = it.stderr.strip_prefix("sigshm: error: write(1, ");
        let said = why_not.is_none_or(|why| line.is_some_and(|line| line.contains(why)));
        !said || (it.code, it.text(), it.stderr.lines().count()) != (Some(code), "", lines)
    });
    assert!(ends.is_empty(), "these do not: {ends:#?}");
}

fn writable(path: &str) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).custom_flags(libc::O_NOCTTY).open(path)
}

fn copy(file: &File) -> Stdio {
    file.try_clone().unwrap().into()
}

/// Has this done in the child, before it becomes the program.
fn before_exec(command: &mut Command, act: fn() -> nix::Result<()>) {
    command.in_child(act);
}

/// Waits until a write fails in this way. (Another test may be starting a program, which has a copy
/// of the reader's end until it calls exec.)
fn until_write_fails(stdout: impl AsFd, errno: Errno) {
    wait_until("its reader has left", || write(&stdout, b".") == Err(errno));
}

#[test]
fn with_standard_output_closed_every_command_succeeds() {
    assert_each_ends(ALL_BUT_THE_DEMO, None, |command| {
        before_exec(command, || close(1));
        // If it were not closed, the output would come out here.
        Stdio::piped()
    });
}

#[test]
fn a_pipe_whose_reader_has_left_is_no_error_for_any_command() {
    assert_each_ends(&COMMANDS, None, |_| {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        drop(reader);
        until_write_fails(&writer, Errno::EPIPE);
        writer.into()
    });
}

/// A TCP connection whose reader has left before it had read all: so it is reset, and the next
/// write fails with ECONNRESET, once.
fn reset_connection() -> io::Result<OwnedFd> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let writer = TcpStream::connect(listener.local_addr()?)?;
    let (mut reader, _) = listener.accept()?;
    (&writer).write_all(b"..")?;
    reader.read_exact(&mut [0])?;
    close_socket(reader);
    Ok(writer.into())
}

/// The same between two sockets of one system, with packets.
fn reset_packets() -> io::Result<OwnedFd> {
    let (reader, writer) = packet_sockets();
    write(&writer, b".")?;
    close_socket(reader);
    Ok(writer)
}

/// Datagrams whose reader has left: ECONNREFUSED, once, and then ENOTCONN.
fn refused_datagrams() -> io::Result<OwnedFd> {
    let (reader, writer) = UnixDatagram::pair()?;
    close_socket(reader);
    Ok(writer.into())
}

/// The same through the network: every other one is refused.
fn refused_packets() -> io::Result<OwnedFd> {
    let reader = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let writer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    writer.connect(reader.local_addr()?)?;
    close_socket(reader);
    writer.send(b".")?;
    Ok(writer.into())
}

#[test]
fn a_connection_whose_reader_has_left_is_no_error_for_any_command() {
    for left in [reset_connection, reset_packets, refused_datagrams, refused_packets] {
        if let Err(error) = left() {
            not_tested("a connection whose reader has left", &error.to_string());
            continue;
        }
        assert_each_ends(&COMMANDS, None, |_| left().unwrap().into());
    }
}

/// A terminal whose window has been closed.
fn closed_terminal() -> io::Result<File> {
    let window = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&window)?;
    unlockpt(&window)?;
    writable(&ptsname_r(&window)?)
}

#[test]
fn a_terminal_that_has_been_closed_is_no_error_for_any_command() {
    if let Err(error) = closed_terminal() {
        return not_tested("a terminal that has been closed", &error.to_string());
    }
    // SAFETY: to ignore a signal is nobody's code.
    let ignore = || unsafe { signal(SIGHUP, SigHandler::SigIgn) }.map(drop);
    assert_each_ends(&COMMANDS, None, |command| {
        before_exec(command, ignore);
        let terminal = closed_terminal().unwrap();
        until_write_fails(&terminal, Errno::EIO);
        terminal.into()
    });
}

#[test]
fn an_io_error_of_anything_but_a_closed_terminal_is_an_error_for_every_command() {
    // The memory of this process: at the address 0 there is none.
    match writable("/proc/self/mem").map(|memory| (write(&memory, b"."), memory)) {
        Ok((Err(Errno::EIO), memory)) => {
            assert_each_ends(&COMMANDS, Some("EIO"), |_| copy(&memory));
        }
        other => not_tested("an I/O error", &format!("/proc/self/mem: {other:?}")),
    }
}

#[test]
fn a_full_device_is_an_error_for_every_command() {
    match writable("/dev/full") {
        Ok(full) => assert_each_ends(ALL_BUT_THE_DEMO, Some("ENOSPC"), |_| copy(&full)),
        Err(error) => not_tested("a full device", &format!("/dev/full: {error}")),
    }
}

#[test]
fn a_memory_file_that_is_sealed_is_an_error_for_every_command() {
    let sealed = memfd_create("output", MFdFlags::MFD_ALLOW_SEALING).and_then(|file| {
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE))?;
        Ok(File::from(file))
    });
    match sealed {
        Ok(sealed) => assert_each_ends(&COMMANDS, Some("sealed"), |_| copy(&sealed)),
        Err(errno) => not_tested("a sealed memory file", errno.desc()),
    }
}

#[test]
fn a_standard_output_that_is_open_for_reading_only_is_an_error_for_every_command() {
    let null = File::open("/dev/null").unwrap();
    assert_each_ends(&COMMANDS, Some("EBADF"), |_| copy(&null));
}

#[test]
fn a_file_that_may_not_grow_is_an_error_for_every_command() {
    const LIMIT: u64 = 4096;
    assert_each_ends(&COMMANDS, Some("EFBIG"), |command| {
        before_exec(command, || {
            setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
            setrlimit(Resource::RLIMIT_FSIZE, LIMIT, LIMIT)
        });
        // Its standard error is a file too, and may grow that far.
        let mut full = tempfile::tempfile().unwrap();
        full.seek(SeekFrom::Start(LIMIT)).unwrap();
        full.into()
    });
}

#[test]
fn when_a_paused_reader_reads_on_the_output_of_every_command_is_whole() {
    for arguments in COMMANDS {
        let mut reading = None;
        let end = end_of(arguments, |mut command, _| {
            let (running, reader) = Program::start_with_room_for(0, &mut command);
            wait_until("it is blocked", || is_blocked_in_write(running.pid()));
            let read = || io::read_to_string(File::from(reader)).unwrap();
            reading = Some(thread::spawn(read));
            running
        });
        assert_eq!((end.code, &*end.stderr), (Some(0), ""), "{arguments:?}");
        let read = reading.unwrap().join().unwrap();
        let text = read.trim_start_matches('.'); // without what has filled the pipe
        let demo = || transcript(listener_in(text), 12, HELLO);
        match arguments {
            [HELLO] => assert_eq!(text, demo()),
            ["--via=socket", ..] => {
                assert_eq!(text, transcript_via_socket(listener_in(text), 12, HELLO));
            }
            ["--explain", ..] => {
                let is_told = |line: &&str| !line.starts_with("    ");
                let lines = text.split_inclusive('\n').filter(is_told);
                assert_eq!(lines.collect::<String>(), plain(&demo()));
                assert!(text.ends_with("  removes the segment\n"), "{text}");
            }
            ["--listen"] => assert_eq!(text, received(Pid::from_raw(listener_in(text)), HELLO)),
            ["--to"] => assert_eq!(text, sent(12, HELLO)),
            asks => assert_eq!(text, run(sigshm().args(asks)).text()),
        }
    }
}

#[test]
fn sigterm_ends_every_command_whose_reader_is_paused_and_a_sender_at_any_line() {
    let mut runs: Vec<(&[&str], usize)> = ALL_BUT_THE_DEMO.iter().map(|&it| (it, 0)).collect();
    let text = sent(12, HELLO);
    let ends = text.match_indices('\n').map(|(at, _)| at + 1);
    let rooms = ends.filter(|&room| room < text.len()); // after the last line there is no more
    runs.extend(rooms.map(|room| (&["--to"][..], room)));
    let mut had_segment = false;
    for (arguments, room) in runs {
        let mut reader = None;
        let end = end_of(arguments, |mut command, scratch| {
            let (running, paused) = Program::start_with_room_for(room, &mut command);
            reader = Some(paused);
            wait_until("it is blocked", || is_blocked_in_write(running.pid()));
            had_segment |= !scratch.segments().is_empty();
            kill(running.pid(), SIGTERM).unwrap();
            running
        });
        let (end, after) = ((end.signal, &*end.stderr), format!("after {room} bytes"));
        assert_eq!(end, (Some(libc::SIGTERM), ""), "{arguments:?} {after}");
    }
    assert!(had_segment, "no sender was ended while it had a segment");
}
