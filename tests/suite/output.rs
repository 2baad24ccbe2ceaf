//! Standard output and standard error that do not take what is said.

use nix::unistd::{close, dup2_stderr, dup2_stdout};

use crate::support::terminal::Terminal;
use crate::support::tracer::{Point, can_trace, freeze};
use crate::support::*;

/// How many lines the transcript has.
const LINES: usize = 11;

#[test]
fn with_standard_error_or_everything_closed_the_message_is_delivered_and_a_failure_is_one() {
    let scratch = Scratch::new();
    let without = |descriptors: &'static [i32]| {
        let mut command = scratch.sigshm([HELLO]);
        run(command.in_child(|| descriptors.iter().try_for_each(|&it| close(it))))
    };
    without(&[2]).assert_delivered(12, HELLO);
    assert_eq!(without(&[0, 1, 2]).outcome(), (Some(0), "", ""));
    fs::remove_file(scratch.path()).unwrap();
    assert_eq!(without(&[2]).outcome(), (Some(1), "", ""));
}

#[test]
fn a_standard_error_whose_reader_has_left_changes_nothing() {
    let scratch = Scratch::new();
    let (reader, writer) = new_pipe();
    drop(reader);
    let status = scratch.sigshm(["x".repeat(LONGEST + 1)]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn a_file_that_reaches_its_size_limit_at_any_line_leaves_nothing_behind() {
    // Each line is longer than ten bytes, so that every line is the first that does not fit. (1 is
    // the shortest PID there is.)
    for limit in (0..transcript(1, 12, HELLO).len() as libc::rlim_t).step_by(10) {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm([HELLO]);
        command.in_child(move || setrlimit(Resource::RLIMIT_FSIZE, limit, limit));
        let file = tempfile::tempfile().unwrap();
        let output = command.stdout(file.try_clone().unwrap()).output().unwrap();
        assert!(!output.status.success(), "{limit} bytes: {output:?}");
        assert_eq!(file.metadata().unwrap().len() as libc::rlim_t, limit);
    }
}

/// The run, which is blocked in the write of this line, counted from 1. (If there is none, or it has
/// given up already, it has ended.) Nobody reads its pipe, whose reading end comes back.
#[track_caller]
fn blocked_at(line: usize, scratch: &Scratch, timeout: &str) -> (Program, File) {
    // Whatever the PID is, there is room for the lines before this one, and not for this one.
    let longest = transcript(4_194_304, 12, HELLO);
    let room = longest.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let command = scratch.sigshm([timeout, HELLO]);
    let (run, reader) = Program::start_with_room_for(room, command);
    wait_until("the run is blocked", || {
        let is_blocked = descendants(run.pid()).into_iter().any(is_blocked_in_write);
        is_blocked || !run.is_alive()
    });
    (run, reader.into())
}

#[test]
fn a_reader_that_leaves_after_any_line_is_no_error_and_the_message_is_delivered() {
    for line in 1..=LINES + 1 {
        let scratch = Scratch::new();
        let (running, pipe) = blocked_at(line, &scratch, "--timeout=60");
        drop(pipe);
        assert_eq!(running.finish().outcome(), (Some(0), "", ""), "before line {line}");
    }
}

#[test]
fn a_connection_that_is_reset_before_any_line_is_no_error_and_the_message_is_delivered() {
    needs!(can_trace());
    for line in 0..LINES {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm([HELLO]);
        let (reader, writer) = packet_sockets();
        // Since this is never read, the first write after the end fails with ECONNRESET.
        write(&writer, b".").unwrap();
        command.in_child(move || dup2_stdout(&writer));
        let frozen = freeze(&mut command, Point::Line(line))
            .unwrap_or_else(|run| panic!("there are only {line} lines: {run:#?}"));
        close_socket(reader);
        let finished = frozen.release().finish(TIMEOUT);
        assert_eq!((finished.code, &*finished.stderr), (Some(0), ""), "before line {}", line + 1);
    }
}

#[test]
fn piped_into_head_the_pipeline_shows_the_first_line_and_the_message_is_delivered() {
    let scratch = Scratch::new();
    let script = "{ \"$@\"; echo \"status $?\" >&2; } | head -1";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).args(whole(&scratch.sigshm([HELLO])));
    let said = (Some(0), "status 0\n", "# Message size is: 12\n");
    assert_eq!(run(shell).outcome(), said);
}

#[test]
fn a_run_whose_reader_stops_reading_after_any_line_can_be_ended_and_leaves_nothing() {
    for line in 1..=LINES {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let scratch = Scratch::new();
            let (running, _pipe) = blocked_at(line, &scratch, "--timeout=60");
            let pid = running.pid();
            assert!(line > 3 || scratch.processes() == [pid.as_raw()], "before it says so");
            kill(pid, signal).unwrap();
            let finished = running.finish();
            let end = (finished.signal, &*finished.stderr);
            assert_eq!(end, (Some(signal as i32), ""), "at line {line}");
        }
    }
}

#[test]
fn a_reader_may_pause_for_longer_than_the_timeout_unless_the_listener_has_to_print() {
    at_once(1..=LINES, |line| {
        let scratch = Scratch::new();
        let (running, pipe) = blocked_at(line, &scratch, "--timeout=2");
        let read = || io::read_to_string(pipe).unwrap();
        if [4, 5, 9, 10].contains(&line) {
            // The parent waits for the listener, also for these lines. So it gives up, and kills it.
            let what = if line < 6 { "was not ready" } else { "has not ended" };
            let parts = ["the listener", what, "2 seconds", "--timeout"];
            running.finish().assert_failed_with(&parts);
            assert_eq!(read().lines().count(), line - 1, "the lines before are whole");
        } else {
            // Nobody waits for a parent that prints.
            thread::sleep(Duration::from_millis(2200));
            let text = read();
            assert_eq!(running.finish().outcome(), (Some(0), "", ""), "at line {line}");
            let whole = transcript(listener_in(&text), 12, HELLO);
            assert_eq!(text.trim_start_matches('.'), whole); // without what had filled the pipe
        }
    });
}

#[test]
fn a_nonblocking_pipe_that_is_read_slowly_gets_every_line_whole() {
    let scratch = Scratch::new();
    // It has room for one line: with O_DIRECT each write is a packet, and takes a page.
    let flags = OFlag::O_CLOEXEC | OFlag::O_DIRECT | OFlag::O_NONBLOCK;
    let (reader, writer) = nix::unistd::pipe2(flags).unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1)).unwrap();
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    let running = Program::start_into(writer, scratch.sigshm(["--timeout=60", HELLO]));
    let (mut reader, mut packet, mut text) = (File::from(reader), [0; 4096], String::new());
    while let length @ 1.. = reader.read(&mut packet).unwrap() {
        let line = std::str::from_utf8(&packet[..length]).unwrap();
        assert!(line.ends_with('\n'), "{line:?}");
        text += line;
    }
    assert_eq!(text, transcript(listener_in(&text), 12, HELLO));
    assert_eq!(running.finish().outcome(), (Some(0), "", ""));
}

#[test]
fn a_standard_error_that_nobody_reads_holds_nothing_up() {
    // The first gets the lock while it has no room to say that it waits, the second does not get it
    // in time, and the third has a path that is missing.
    let scratches = [(); 3].map(|()| Scratch::new());
    let (first_lock, _second_lock) = (take_lock(&scratches[0]), take_lock(&scratches[1]));
    fs::remove_file(scratches[2].path()).unwrap();
    let runs = [0, 1, 2].map(|number| {
        let (reader, writer) = full_pipe();
        let timeout = ["60", "0.3", "60"][number];
        let mut command = scratches[number].sigshm(["--timeout", timeout, HELLO]);
        command.in_child(move || dup2_stderr(&writer));
        (Program::start(command), reader)
    });
    wait_until("there is no room for what the run has to say", || {
        blocked_in(runs[0].0.pid()).is_some_and(|call| call != libc::SYS_flock)
    });
    drop(first_lock);
    let codes = runs.map(|(run, _reader)| run.finish().code);
    assert_eq!(codes, [Some(0), Some(1), Some(1)]);
}

// Terminals. One takes no more output if the user has pressed Ctrl-S, or if nobody reads it.

#[test]
fn a_run_at_a_terminal_that_stops_at_any_line_can_be_ended_and_nobody_is_left() {
    needs!(can_trace());
    for line in 1..=LINES {
        for signal in [SIGINT, SIGTERM, SIGALRM, SIGKILL] {
            let scratch = Scratch::new().checked_if(signal != SIGKILL);
            let terminal = Terminal::new();
            let mut command = scratch.sigshm(["--timeout=60", HELLO]);
            terminal.becomes_stdout_of(&mut command);
            let frozen = freeze(&mut command, Point::Line(line - 1))
                .unwrap_or_else(|run| panic!("there is no line {line}: {run:#?}"));
            terminal.stop();
            let run = frozen.release();
            wait_until("the run is blocked", || {
                let everybody = [Some(run.parent()), run.listener()];
                everybody.into_iter().flatten().any(is_blocked_in_write)
            });
            // To the parent, or to both, as with Ctrl-C.
            let parent = run.parent();
            let to = if signal == SIGINT { Pid::from_raw(-parent.as_raw()) } else { parent };
            kill(to, signal).unwrap();
            if signal == SIGKILL && !uses_linux() {
                terminal.go_on(); // Only then the listener ends.
            }
            let finished = run.finish(TIMEOUT);
            let end = (finished.signal, &*finished.stderr);
            assert_eq!(end, (Some(signal as i32), ""), "at line {line}");
            wait_until("nobody is left", || scratch.processes().is_empty());
        }
    }
}

#[test]
fn ctrl_c_at_a_terminal_that_takes_no_output_ends_both_processes() {
    // Enter is pressed so many times; from the last time on, the terminal takes no output.
    let steps = (0..=10).map(|enters| ("--step", enters));
    at_once(steps.chain([("--color=always", 0), ("--explain", 0)]), |(option, enters)| {
        let scratch = Scratch::new();
        let terminal = Terminal::new();
        if enters == 0 {
            terminal.stop();
        }
        let mut run = Program::start_on(terminal, scratch.sigshm([option, HELLO]));
        for enter in 1..=enters {
            run.terminal().until_shown("[Enter goes on]", enter);
            if enter == enters {
                run.terminal().stop();
            }
            run.press("\n");
        }
        wait_until("the run is blocked", || {
            let mut everybody = scratch.processes().into_iter().map(Pid::from_raw);
            everybody.any(is_blocked_in_write)
        });
        run.press("\x03");
        assert_eq!(run.finish().signal, Some(libc::SIGINT), "{option}, after {enters} stops");
    });
}
