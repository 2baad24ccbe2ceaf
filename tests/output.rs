//! Standard output and standard error that do not take what is said.

use nix::unistd::dup2_stdout;

use crate::support::terminal::Terminal;
use crate::support::tracer::{Point, freeze};
use crate::support::*;

/// How many lines the transcript has.
const LINES: usize = 11;

/// The lines that the listener prints, counted from 1; the others are its parent's.
const LISTENERS: [usize; 4] = [4, 5, 9, 10];

/// The run, started with these descriptors closed.
fn started_without(scratch: &Scratch, descriptors: &'static [i32]) -> Command {
    let mut command = scratch.sigshm(["Hello, world"]);
    // SAFETY: between fork and exec this closes descriptors that the new program is to be without,
    // and allocates nothing.
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
    let finished = run(started_without(&scratch, &[1]));
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!((finished.text(), finished.stderr.as_str()), ("", ""));
}

#[test]
fn with_standard_error_closed_the_message_is_delivered() {
    let scratch = Scratch::new();
    run(started_without(&scratch, &[2])).assert_delivered(12, "Hello, world");
}

#[test]
fn with_everything_closed_the_message_is_delivered() {
    let scratch = Scratch::new();
    let finished = run(started_without(&scratch, &[0, 1, 2]));
    assert_eq!(finished.code, Some(0), "{finished:#?}");
}

#[test]
fn with_standard_error_closed_a_failure_is_still_a_failure() {
    let scratch = Scratch::new();
    fs::remove_file(scratch.path()).unwrap();
    let finished = run(started_without(&scratch, &[2]));
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
    assert_eq!(command.status().unwrap().code(), Some(2));
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
                Ok(setrlimit(Resource::RLIMIT_FSIZE, limit as u64, limit as u64)?)
            })
        };
        let name = scratch.dir().join("transcript");
        command.stdout(File::create(&name).unwrap());
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{limit} bytes: {output:?}");
        assert_eq!(fs::metadata(&name).unwrap().len(), limit as u64);
    }
}

/// The reading end of a pipe that has room for one line.
struct Narrow(File);

impl Narrow {
    /// Starts the run with the other end as its standard output.
    fn start(mut command: Command, flags: OFlag) -> (Program, Self) {
        // One page is one packet, and with O_DIRECT each write is a packet of its own, however
        // short.
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_DIRECT;
        let (reader, writer) = pipe2(flags).unwrap();
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        (Program::start_into(writer, &mut command), Self(reader.into()))
    }

    /// Takes one line out. `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut packet = [0; 4096];
        let length = self.0.read(&mut packet).unwrap();
        let line = String::from_utf8(packet[..length].to_vec()).unwrap();
        assert!(line.ends_with('\n') || line.is_empty(), "{line:?}");
        Some(line).filter(|line| !line.is_empty())
    }

    /// Takes out all lines until the run is blocked at this one, counted from 1. One line is in the
    /// pipe then.
    #[track_caller]
    fn block_at(&mut self, run: &Program, line: usize) -> String {
        let read: String = (2..line).map(|_| self.line().expect("a line")).collect();
        wait_until("the run is blocked", || {
            let mut everybody = iter::once(run.pid()).chain(children(run.pid()));
            everybody.any(is_blocked_in_write)
        });
        read
    }

    /// Takes out all that comes.
    fn rest(&mut self) -> String {
        iter::from_fn(|| self.line()).collect()
    }
}

/// The run, writing into a pipe that has room for one line.
fn into_a_narrow_pipe(scratch: &Scratch) -> (Program, Narrow) {
    let command = scratch.sigshm(["--timeout=60", "Hello, world"]);
    Narrow::start(command, OFlag::empty())
}

#[test]
fn a_reader_that_leaves_after_any_line_is_no_error_and_the_message_is_delivered() {
    for lines in 0..=LINES {
        let scratch = Scratch::new();
        let (running, mut pipe) = into_a_narrow_pipe(&scratch);
        for _ in 0..lines {
            pipe.line().expect("a line");
        }
        drop(pipe);
        let finished = running.finish();
        assert_eq!(finished.code, Some(0), "after {lines} lines: {finished:#?}");
        assert_eq!(finished.stderr, "");
    }
}

#[test]
fn a_connection_that_is_reset_before_any_line_is_no_error_and_the_message_is_delivered() {
    for line in 0..LINES {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(["Hello, world"]);
        let (reader, writer) = packet_sockets();
        // Since this is never read, the first write after the end fails with ECONNRESET.
        write(&writer, b".").unwrap();
        command.in_child(move || dup2_stdout(&writer));
        let frozen = freeze(&mut command, Point::Line(line))
            .unwrap_or_else(|run| panic!("there are only {line} lines: {run:#?}"));
        close_socket(reader);
        let finished = frozen.release().finish(TIMEOUT);
        let outcome = (finished.code, finished.stderr.as_str());
        assert_eq!(outcome, (Some(0), ""), "before line {}", line + 1);
    }
}

#[test]
fn piped_into_head_the_pipeline_shows_the_first_line_and_the_message_is_delivered() {
    let scratch = Scratch::new();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "{ \"$0\" --path \"$1\" 'Hello, world'; echo \"status $?\" >&2; } | head -1"])
        .arg(env!("CARGO_BIN_EXE_sigshm"))
        .arg(scratch.path());
    let finished = run(&mut shell);
    assert_eq!(finished.text(), "# Message size is: 12\n");
    assert_eq!(finished.stderr, "status 0\n");
}

#[test]
fn a_run_whose_reader_stops_reading_after_any_line_can_be_ended_and_leaves_nothing() {
    for line in 2..=LINES {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let scratch = Scratch::new();
            let (running, mut pipe) = into_a_narrow_pipe(&scratch);
            pipe.block_at(&running, line);
            kill(running.pid(), signal).unwrap();
            let finished = running.finish();
            let killed = Some(signal as i32);
            assert_eq!(finished.signal, killed, "at line {line}: {finished:#?}");
            assert_eq!(finished.stderr, "");
        }
    }
}

#[test]
fn a_reader_may_pause_for_longer_than_the_timeout_unless_the_listener_has_to_print() {
    const TIMEOUT: Duration = Duration::from_millis(400);
    let runs: Vec<_> = (2..=LINES)
        .map(|line| {
            let scratch = Scratch::new();
            let command = scratch.sigshm(["--timeout=0.4", "Hello, world"]);
            let (running, mut pipe) = Narrow::start(command, OFlag::empty());
            let read = pipe.block_at(&running, line);
            (line, scratch, running, pipe, read)
        })
        .collect();
    thread::sleep(TIMEOUT + Duration::from_millis(100));
    let (listeners, parents): (Vec<_>, Vec<_>) =
        runs.into_iter().partition(|(line, ..)| LISTENERS.contains(line));
    // The listener's printing is part of what the parent waits for. So the parent gives up, and
    // kills the listener.
    for (line, scratch, running, mut pipe, read) in listeners {
        let finished = running.finish();
        let what = if line < 6 { "was not ready" } else { "has not ended" };
        finished.assert_failed_with(&["the listener", what, "0.4 seconds", "--timeout"]);
        let text = read + &pipe.rest();
        assert_eq!(text.lines().count(), line - 1, "the lines before are whole");
        scratch.assert_nothing_left();
    }
    // Nobody waits for a parent that prints.
    for (line, scratch, running, mut pipe, read) in parents {
        let text = read + &pipe.rest();
        let finished = running.finish();
        assert_eq!(finished.code, Some(0), "at line {line}: {finished:#?}");
        assert_eq!(text, transcript(listener_in(&text), 12, "Hello, world"));
        assert_eq!(finished.stderr, "");
        scratch.assert_nothing_left();
    }
}

#[test]
fn a_pipe_that_is_full_from_the_beginning_can_be_waited_for_and_interrupted() {
    let scratch = Scratch::new();
    let (reader, writer) = full_pipe();
    let running = Program::start_into(writer, scratch.sigshm(["Hello, world"]));
    let pid = running.pid();
    wait_until("the run waits", || is_blocked_in_write(pid));
    assert_eq!(scratch.processes(), [pid.as_raw()]);
    kill(pid, SIGINT).unwrap();
    let finished = running.finish();
    assert_eq!(finished.signal, Some(libc::SIGINT), "{finished:#?}");
    scratch.assert_nothing_left();
    drop(reader);
}

#[test]
fn a_nonblocking_pipe_that_is_read_slowly_gets_every_line_whole() {
    let scratch = Scratch::new();
    let command = scratch.sigshm(["--timeout=60", "Hello, world"]);
    let (running, mut pipe) = Narrow::start(command, OFlag::O_NONBLOCK);
    let text = pipe.rest();
    assert_eq!(text, transcript(listener_in(&text), 12, "Hello, world"));
    let finished = running.finish();
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
}

#[test]
fn a_standard_error_that_nobody_reads_holds_nothing_up() {
    // The first gets the lock while it has no room to say that it waits, the second does not get it
    // in time, and the third has a path that is missing.
    let scratches = [(); 3].map(|()| Scratch::new());
    let lock = |scratch: &Scratch| {
        let file = File::open(scratch.path()).unwrap();
        Flock::lock(file, FlockArg::LockExclusive).unwrap()
    };
    let (first_lock, _second_lock) = (lock(&scratches[0]), lock(&scratches[1]));
    fs::remove_file(scratches[2].path()).unwrap();
    let mut runs = Vec::new();
    for (scratch, timeout) in scratches.iter().zip(["60", "0.3", "60"]) {
        let (reader, writer) = full_pipe();
        let mut command = scratch.sigshm(["--timeout", timeout, "Hello, world"]);
        let child = command.stdout(Stdio::null()).stderr(writer).spawn();
        runs.push((child.unwrap(), reader));
    }
    let waiting = Pid::from_raw(runs[0].0.id() as i32);
    wait_until("there is no room for what the run has to say", || {
        blocked_in(waiting).is_some_and(|call| call != libc::SYS_flock)
    });
    drop(first_lock);
    for ((run, _reader), code) in runs.iter_mut().zip([0, 1, 1]) {
        let mut status = None;
        wait_until("the run ends", || {
            status = run.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(code));
    }
    for scratch in &scratches {
        scratch.assert_nothing_left();
    }
}

// Terminals. One takes no more output if the user has pressed Ctrl-S, or if nobody reads it.

#[test]
fn a_run_at_a_terminal_that_stops_at_any_line_can_be_ended_and_nobody_is_left() {
    /// The signal goes to the parent, or to both, as with Ctrl-C.
    type Send = fn(Pid, Signal) -> nix::Result<()>;
    let ends: [(Send, Signal); 4] = [
        (|parent, signal| killpg(parent, signal), SIGINT),
        (|parent, signal| kill(parent, signal), SIGTERM),
        (|parent, signal| kill(parent, signal), SIGALRM),
        (|parent, signal| kill(parent, signal), SIGKILL),
    ];
    for line in 1..=LINES {
        for (send, signal) in ends {
            let scratch = Scratch::new().checked_if(signal != SIGKILL);
            let terminal = Terminal::new();
            let mut command = scratch.sigshm(["--timeout=60", "Hello, world"]);
            terminal.becomes_stdout_of(&mut command);
            let frozen = freeze(&mut command, Point::Line(line - 1))
                .unwrap_or_else(|run| panic!("there is no line {line}: {run:#?}"));
            terminal.stop();
            let run = frozen.release();
            wait_until("the run is blocked", || {
                let everybody = [Some(run.parent()), run.listener()];
                everybody.into_iter().flatten().any(is_blocked_in_write)
            });
            send(run.parent(), signal).unwrap();
            let finished = run.finish(TIMEOUT);
            let killed = Some(signal as i32);
            assert_eq!(finished.signal, killed, "at line {line}: {finished:#?}");
            assert_eq!(finished.stderr, "");
            wait_until("nobody is left", || scratch.processes().is_empty());
        }
    }
}

/// A run at a terminal of its own. Enter is pressed so many times; from the last time on, the
/// terminal takes no output, and then Ctrl-C is pressed.
#[track_caller]
fn assert_ctrl_c_ends(option: &str, enters: usize) {
    let scratch = Scratch::new();
    let mut terminal = Terminal::new();
    let mut command = scratch.sigshm([option, "Hello, world"]);
    terminal.becomes_terminal_of(&mut command);
    if enters == 0 {
        terminal.stop();
    }
    let mut run = command.spawn().unwrap();
    for enter in 1..=enters {
        terminal.until_shown("[Enter goes on]", enter);
        if enter == enters {
            terminal.stop();
        }
        terminal.press("\n");
    }
    wait_until("the run is blocked", || {
        let mut everybody = scratch.processes().into_iter().map(Pid::from_raw);
        everybody.any(is_blocked_in_write)
    });
    terminal.press("\x03");
    let mut status = None;
    wait_until("the run ends", || {
        status = run.try_wait().unwrap();
        status.is_some()
    });
    let signal = status.unwrap().signal();
    assert_eq!(signal, Some(libc::SIGINT), "{option}, after {enters} stops");
}

#[test]
fn ctrl_c_at_a_terminal_that_takes_no_output_ends_both_processes() {
    for option in ["--color=always", "--explain"] {
        assert_ctrl_c_ends(option, 0);
    }
    const STOPS: usize = 10;
    for enters in 0..=STOPS {
        assert_ctrl_c_ends("--step", enters);
    }
}
