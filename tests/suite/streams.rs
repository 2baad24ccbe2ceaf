//! Every way in which standard output can fail or end, for every command.

use std::io::{Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

#[cfg(target_os = "linux")]
use crate::support::told::without_explanations;
use crate::support::*;
#[cfg(target_os = "linux")]
use nix::fcntl::SealFlag;
use nix::pty::openpty;
#[cfg(target_os = "linux")]
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::close;

const LOCALHOST: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
/// The arguments of each command. `--to` is also told to whom, when that process has been started.
const COMMANDS: &[&[&str]] = &[
    &[HELLO],
    &["--via=socket", HELLO],
    &["--explain", "--color=never", HELLO],
    #[cfg(target_os = "linux")] // which tells when it listens
    &["--listen"],
    &["--to"],
    &["--help"],
    &["-h"],
    &["--version"],
];

/// How the command ends that `start` starts. The message has arrived if it succeeds, and nothing is
/// left in any case.
fn end_of(arguments: &[&str], start: impl FnOnce(Command, &Scratch) -> Program) -> Finished {
    let scratch = Scratch::new();
    // If its sender fails, the listener is ended: it would wait for the next one.
    let listener = (arguments == ["--to"]).then(|| scratch.listen(&[]));
    let command = match (&listener, arguments) {
        (Some(listener), _) => scratch.sender(listener.pid(), &[], HELLO),
        (None, ["--via=socket", rest @ ..]) => scratch.via_socket(rest),
        (None, _) => scratch.sigshm(arguments),
    };
    let running = start(command, &scratch);
    let pid = running.pid();
    let mut sender = None;
    if arguments == ["--listen"] {
        #[cfg(target_os = "linux")]
        let listens = || has_signal(pid, "SigCgt:", SIGUSR1);
        #[cfg(not(target_os = "linux"))]
        let listens = || true;
        wait_until("it listens, or has ended", || listens() || !running.is_alive());
        sender = listens().then(|| run(scratch.sender(pid, &[], HELLO)));
    }
    let finished = running.finish();
    if finished.code == Some(0) {
        if let Some(listener) = listener {
            let whole = received(listener.pid(), HELLO);
            assert_eq!(listener.finish().text(), whole);
        }
        if arguments == ["--listen"] {
            assert_eq!(sender.expect("one has sent a message").text(), sent(12, HELLO));
        }
    }
    finished
}

/// Makes a standard output for the command. An error says why that cannot be tried.
type Way = fn(&mut Command) -> io::Result<Stdio>;

/// With this standard output, each command succeeds and says nothing. Or, if there is a reason why
/// not, each fails, and says in one line that it could not write, and why.
fn assert_each_ends(what: &str, why_not: &[&str], way: Way) {
    if let Err(error) = way(&mut sigshm()) {
        return not_tested(what, &error.to_string());
    }
    for &arguments in COMMANDS {
        let end = end_of(arguments, |mut command, _| {
            let stdout = way(&mut command).unwrap();
            Program::start_into(stdout, command)
        });
        if why_not.is_empty() {
            assert_eq!((end.code, &*end.stderr), (Some(0), ""), "{what}: {arguments:?}");
        } else {
            println!("{what}: {arguments:?}"); // Shown if it fails.
            end.assert_failed_with(why_not);
            assert!(end.stderr.starts_with("sigshm: error: write(1, "), "{end:#?}");
        }
    }
}

/// Waits until a write fails in this way. (Another test may be starting a program, which has a copy
/// of the reader's end until it calls exec.)
fn until_write_fails(stdout: impl AsFd, errno: Errno) {
    wait_until("its reader has left", || write(&stdout, b".") == Err(errno));
}

#[test]
fn a_standard_output_that_is_closed_or_whose_reader_has_left_is_no_error_for_any_command() {
    let ways: &[(&str, Way)] = &[
        ("standard output closed", |command| {
            command.in_child(|| close(1));
            Ok(Stdio::null())
        }),
        ("a pipe whose reader has left", |_| {
            let (reader, writer) = new_pipe();
            drop(reader);
            until_write_fails(&writer, Errno::EPIPE);
            Ok(writer.into())
        }),
        // It has left before it had read all. So the connection is reset, and the next write fails
        // with ECONNRESET, once.
        ("a connection whose reader has left", |_| {
            let listener = TcpListener::bind(LOCALHOST)?;
            let writer = TcpStream::connect(listener.local_addr()?)?;
            let (mut reader, _) = listener.accept()?;
            (&writer).write_all(b"..")?;
            reader.read_exact(&mut [0])?;
            close_socket(reader);
            Ok(OwnedFd::from(writer).into())
        }),
        #[cfg(target_os = "linux")]
        // The same between two sockets of one system.
        ("packets whose reader has left", |_| {
            let (reader, writer) = packet_sockets();
            write(&writer, b".")?;
            close_socket(reader);
            Ok(writer.into())
        }),
        // ECONNREFUSED, once, and then ENOTCONN.
        ("datagrams whose reader has left", |_| {
            let (reader, writer) = UnixDatagram::pair()?;
            close_socket(reader);
            Ok(OwnedFd::from(writer).into())
        }),
        // Every other one is refused.
        ("packets of a network whose reader has left", |_| {
            let (reader, writer) = (UdpSocket::bind(LOCALHOST)?, UdpSocket::bind(LOCALHOST)?);
            writer.connect(reader.local_addr()?)?;
            close_socket(reader);
            writer.send(b".")?;
            Ok(OwnedFd::from(writer).into())
        }),
        ("a terminal that has been closed", |command| {
            command.in_child(|| set(SIGHUP, SigHandler::SigIgn));
            let ends = openpty(None, None)?;
            close_on_exec(&ends.master);
            drop(ends.master);
            until_write_fails(&ends.slave, Errno::EIO);
            Ok(ends.slave.into())
        }),
    ];
    at_once(ways, |&(what, way)| assert_each_ends(what, &[], way));
}

#[test]
fn a_standard_output_that_takes_nothing_is_an_error_for_every_command_which_says_why() {
    let ways: &[(&str, &[&str], Way)] = &[
        ("a full device", &["No space left on device (ENOSPC)", "make room"], |_| {
            Ok(File::options().write(true).open("/dev/full")?.into())
        }),
        ("an I/O error of anything but a closed terminal", &["EIO"], |_| {
            let memory = File::options().write(true).open("/proc/self/mem")?;
            // At the address 0 there is none.
            match write(&memory, b".") {
                Err(Errno::EIO) => Ok(memory.into()),
                other => Err(io::Error::other(format!("/proc/self/mem: {other:?}"))),
            }
        }),
        #[cfg(target_os = "linux")]
        ("a memory file that is sealed", &["sealed"], |_| {
            let file = memfd_create("output", MFdFlags::MFD_ALLOW_SEALING)?;
            fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE))?;
            Ok(file.into())
        }),
        ("a standard output that is open for reading only", &["EBADF"], |_| {
            Ok(File::open("/dev/null")?.into())
        }),
        ("a file that may not grow", &["EFBIG"], |command| {
            const LIMIT: libc::rlim_t = 4096;
            command.in_child(|| setrlimit(Resource::RLIMIT_FSIZE, LIMIT, LIMIT));
            // Its standard error is a file too, and may grow that far.
            let mut full = tempfile::tempfile()?;
            full.seek(SeekFrom::Start(4096))?;
            Ok(full.into())
        }),
    ];
    at_once(ways, |&(what, why, way)| assert_each_ends(what, why, way));
}

#[cfg(target_os = "linux")]
#[test]
fn when_a_paused_reader_reads_on_the_output_of_every_command_is_whole() {
    for &arguments in COMMANDS {
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
                assert_eq!(without_explanations(text), plain(&demo()));
                assert!(text.ends_with("  removes the segment\n"), "{text}");
            }
            ["--listen"] => assert_eq!(text, received(Pid::from_raw(listener_in(text)), HELLO)),
            ["--to"] => assert_eq!(text, sent(12, HELLO)),
            asks => assert_eq!(text, run(sigshm().args(asks)).text()),
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn sigterm_ends_every_command_whose_reader_is_paused_and_a_sender_at_any_line() {
    let text = sent(12, HELLO);
    let ends = text.match_indices('\n').map(|(at, _)| at + 1);
    let rooms = ends.filter(|&room| room < text.len()); // after the last line there is no more
    let at_lines = rooms.map(|room| (&["--to"][..], room));
    let mut had_segment = false;
    for (arguments, room) in COMMANDS.iter().map(|&it| (it, 0)).chain(at_lines) {
        let mut reader = None;
        let end = end_of(arguments, |mut command, scratch| {
            let (running, paused) = Program::start_with_room_for(room, &mut command);
            reader = Some(paused);
            wait_until("it is blocked", || is_blocked_in_write(running.pid()));
            had_segment |= !scratch.segments().is_empty();
            kill(running.pid(), SIGTERM).unwrap();
            running
        });
        let end = (end.signal, &*end.stderr);
        assert_eq!(end, (Some(libc::SIGTERM), ""), "{arguments:?} after {room} bytes");
    }
    assert!(had_segment, "no sender was ended while it had a segment");
}
