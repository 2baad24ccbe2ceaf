//! Every way in which standard output can fail or end, for every command.

use std::io::{Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;

use crate::support::told::without_explanations;
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

/// How the command ends that `start` starts. The message has arrived if it succeeds, and nothing is
/// left in any case.
fn end_of(arguments: &[&str], start: impl FnOnce(Command, &Scratch) -> Program) -> Finished {
    let scratch = Scratch::new();
    // (If its sender fails, the listener is ended: it would wait for the next one.)
    let listener = (arguments == ["--to"]).then(|| scratch.listen(&[]));
    let command = match (&listener, arguments) {
        (Some(listener), _) => scratch.sender(listener.pid(), &[], HELLO),
        (None, ["--via=socket", rest @ ..]) => scratch.via_socket(rest),
        (None, _) => scratch.sigshm(arguments),
    };
    let running = start(command, &scratch);
    let sender = (arguments == ["--listen"] && has_come_to_listen(running.pid()))
        .then(|| run(scratch.sender(running.pid(), &[], HELLO)));
    let finished = running.finish();
    if let (Some(0), Some(listener)) = (finished.code, listener) {
        let whole = received(listener.pid(), HELLO);
        assert_eq!(listener.finish().text(), whole);
    }
    if finished.code == Some(0) && arguments == ["--listen"] {
        let sender = sender.expect("it has been sent a message");
        assert_eq!(sender.text(), sent(12, HELLO));
    }
    finished
}

/// Waits until the process can take a message. `false` if it has ended before.
fn has_come_to_listen(pid: Pid) -> bool {
    let listens = || has_signal(pid, "SigCgt:", SIGUSR1);
    let has_ended = || state(pid) == Some('Z');
    wait_until("it listens, or has ended", || listens() || has_ended());
    listens()
}

/// Makes a standard output for the command. An error says why that cannot be tried.
type Way = fn(&mut Command) -> io::Result<Stdio>;

/// With this standard output, each command succeeds and says nothing. Or, if there is a reason why
/// not, each fails, and says in one line that it could not write, and why.
#[track_caller]
fn assert_each_ends(what: &str, way: Way, why_not: &[&str]) {
    if let Err(error) = way(&mut sigshm()) {
        return not_tested(what, &error.to_string());
    }
    let start = |mut command: Command, _: &Scratch| {
        let stdout = way(&mut command).unwrap();
        Program::start_into(stdout, command)
    };
    let expected = if why_not.is_empty() { (Some(0), 0) } else { (Some(1), 1) };
    for arguments in COMMANDS {
        let end = end_of(arguments, start);
        let ended = (end.code, end.stderr.lines().count());
        assert_eq!(ended, expected, "{what}: {arguments:?}: {end:#?}");
        let said = |why: &&str| end.stderr.contains(why);
        let is_said =
            end.stderr.starts_with("sigshm: error: write(1, ") && why_not.iter().all(said);
        assert!(is_said || why_not.is_empty(), "{what}: {arguments:?}: {end:#?}");
    }
}

/// Waits until a write fails in this way. (Another test may be starting a program, which has a copy
/// of the reader's end until it calls exec.)
fn until_write_fails(stdout: impl AsFd, errno: Errno) {
    wait_until("its reader has left", || write(&stdout, b".") == Err(errno));
}

fn closed(command: &mut Command) -> io::Result<Stdio> {
    command.in_child(|| close(1));
    Ok(Stdio::null())
}

fn pipe(_: &mut Command) -> io::Result<Stdio> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    drop(reader);
    until_write_fails(&writer, Errno::EPIPE);
    Ok(writer.into())
}

/// A TCP connection whose reader has left before it had read all: so it is reset, and the next
/// write fails with ECONNRESET, once.
fn reset_connection(_: &mut Command) -> io::Result<Stdio> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let writer = TcpStream::connect(listener.local_addr()?)?;
    let (mut reader, _) = listener.accept()?;
    (&writer).write_all(b"..")?;
    reader.read_exact(&mut [0])?;
    close_socket(reader);
    Ok(OwnedFd::from(writer).into())
}

/// The same between two sockets of one system, with packets.
fn reset_packets(_: &mut Command) -> io::Result<Stdio> {
    let (reader, writer) = packet_sockets();
    write(&writer, b".")?;
    close_socket(reader);
    Ok(writer.into())
}

/// Datagrams whose reader has left: ECONNREFUSED, once, and then ENOTCONN.
fn refused_datagrams(_: &mut Command) -> io::Result<Stdio> {
    let (reader, writer) = UnixDatagram::pair()?;
    close_socket(reader);
    Ok(OwnedFd::from(writer).into())
}

/// The same through the network: every other one is refused.
fn refused_packets(_: &mut Command) -> io::Result<Stdio> {
    let reader = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let writer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    writer.connect(reader.local_addr()?)?;
    close_socket(reader);
    writer.send(b".")?;
    Ok(OwnedFd::from(writer).into())
}

/// A terminal whose window has been closed.
fn closed_terminal(command: &mut Command) -> io::Result<Stdio> {
    command.in_child(|| set(SIGHUP, SigHandler::SigIgn));
    let window = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&window)?;
    unlockpt(&window)?;
    let mut options = File::options();
    let terminal = options.write(true).custom_flags(libc::O_NOCTTY).open(ptsname_r(&window)?)?;
    drop(window);
    until_write_fails(&terminal, Errno::EIO);
    Ok(terminal.into())
}

#[test]
fn a_standard_output_that_is_closed_or_whose_reader_has_left_is_no_error_for_any_command() {
    let ways: [(&str, Way); 7] = [
        ("standard output closed", closed),
        ("a pipe whose reader has left", pipe),
        ("a connection whose reader has left", reset_connection),
        ("packets whose reader has left", reset_packets),
        ("datagrams whose reader has left", refused_datagrams),
        ("packets of a network whose reader has left", refused_packets),
        ("a terminal that has been closed", closed_terminal),
    ];
    at_once(ways, |(what, way)| assert_each_ends(what, way, &[]));
}

fn full_device(_: &mut Command) -> io::Result<Stdio> {
    Ok(File::options().write(true).open("/dev/full")?.into())
}

/// An I/O error, but not of a terminal that has been closed.
fn memory(_: &mut Command) -> io::Result<Stdio> {
    let memory = File::options().write(true).open("/proc/self/mem")?;
    // At the address 0 there is none.
    match write(&memory, b".") {
        Err(Errno::EIO) => Ok(memory.into()),
        other => Err(io::Error::other(format!("/proc/self/mem: {other:?}"))),
    }
}

fn sealed_file(_: &mut Command) -> io::Result<Stdio> {
    let file = memfd_create("output", MFdFlags::MFD_ALLOW_SEALING)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE))?;
    Ok(file.into())
}

fn file_to_read(_: &mut Command) -> io::Result<Stdio> {
    Ok(File::open("/dev/null")?.into())
}

fn limited_file(command: &mut Command) -> io::Result<Stdio> {
    const LIMIT: u64 = 4096;
    command.in_child(|| {
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        setrlimit(Resource::RLIMIT_FSIZE, LIMIT, LIMIT)
    });
    // Its standard error is a file too, and may grow that far.
    let mut full = tempfile::tempfile()?;
    full.seek(SeekFrom::Start(LIMIT))?;
    Ok(full.into())
}

#[test]
fn a_standard_output_that_takes_nothing_is_an_error_for_every_command_which_says_why() {
    let ways: [(&str, Way, &[&str]); 5] = [
        ("a full device", full_device, &["No space left on device (ENOSPC)", "make room"]),
        ("an I/O error of anything but a closed terminal", memory, &["EIO"]),
        ("a memory file that is sealed", sealed_file, &["sealed"]),
        ("a standard output that is open for reading only", file_to_read, &["EBADF"]),
        ("a file that may not grow", limited_file, &["EFBIG"]),
    ];
    at_once(ways, |(what, way, why)| assert_each_ends(what, way, why));
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
                assert_eq!(without_explanations(text), plain(&demo()));
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
    let mut runs: Vec<(&[&str], usize)> = COMMANDS.iter().map(|&it| (it, 0)).collect();
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
