//! The same story through a pair of sockets: the same messages, the same faults, the same ends. And
//! nothing is left, whatever is killed.

#[cfg(target_os = "linux")]
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

#[cfg(target_os = "linux")]
use crate::support::strace::is_of_c_library;
use crate::support::terminal::Terminal;
use crate::support::told::*;
#[cfg(target_os = "linux")]
use crate::support::tracer::{Point, Side, can_trace, freeze};
use crate::support::*;

/// How soon a run must have ended: much earlier than it would give up.
#[cfg(target_os = "linux")]
const SOON: Duration = Duration::from_secs(20);

/// What a run whose printed text this is must have printed.
fn expected(text: &str) -> String {
    transcript_via_socket(listener_in(text), HELLO.len(), HELLO)
}

#[track_caller]
fn assert_delivered(finished: &Finished) {
    assert_eq!(finished.outcome(), (Some(0), "", &*expected(finished.text())));
}

fn hello(scratch: &Scratch) -> Command {
    scratch.via_socket(["--timeout=60", HELLO])
}

#[test]
fn it_has_a_transcript_of_its_own() {
    let scratch = Scratch::new();
    // No file is needed.
    fs::remove_file(scratch.path()).unwrap();
    assert_delivered(&run(scratch.via_socket([HELLO])));
    let colourless = run(scratch.via_socket(["--color=never", HELLO]));
    assert_eq!(colourless.text(), plain(&expected(colourless.text())));
    let at_terminal = Program::start_on(Terminal::new(), scratch.via_socket([HELLO]));
    let shown = at_terminal.finish_well().replace("\r\n", "\n");
    assert_eq!(shown, expected(&shown));
}

#[test]
fn any_message_arrives_as_it_does_through_memory() {
    let scratch = Scratch::new();
    let every_byte: Vec<u8> = (1..=255).collect();
    for message in [
        b"".to_vec(),
        b"x".to_vec(),
        vec![b'x'; LONGEST],
        every_byte.clone(),
        every_byte.repeat(4)[..LONGEST].to_vec(),
        "naïve \u{202e}drow\u{2066}".into(),
        b"\x1b[2J\x1b]0;title\x07".to_vec(),
        b"--".to_vec(),
    ] {
        let [finished, through_memory] = [scratch.via_socket(["--"]), scratch.sigshm(["--"])]
            .map(|mut command| run(command.arg(OsStr::from_bytes(&message))));
        let received = |text: &str| {
            let (_, line) = text.split_once("# Received: ").expect("it was received");
            line.split_once("\x1b[0m\n").unwrap().0.to_owned()
        };
        let shown = received(finished.text());
        assert_eq!(shown, received(through_memory.text()));
        let expected = transcript_via_socket(listener_in(finished.text()), message.len(), &shown);
        assert_eq!(finished.outcome(), (Some(0), "", &*expected));
    }
}

#[test]
fn options_that_it_has_no_use_for_and_a_message_that_is_too_long_are_bad_usage_with_the_reason() {
    let scratch = Scratch::new();
    let long = "x".repeat(LONGEST + 1);
    let [socket, memory] = [run(scratch.via_socket([&long])), run(scratch.sigshm([&long]))];
    assert_eq!(socket.outcome(), (Some(2), &*memory.stderr, ""));
    for (arguments, option, reason) in [
        (&["--listen"][..], "--listen", "only a parent and its child"),
        (&["--to", "1", "hi"], "--to", "only a parent and its child"),
        (&["--signal=USR1", "hi"], "--signal", "no signal is needed"),
        (&["--wait", "sleep", "hi"], "--wait", "recv(2)"),
        (&["--path=./shared_path", "hi"], "--path", "no key"),
    ] {
        let finished = run(scratch.via_socket(arguments));
        assert_eq!((finished.code, finished.text()), (Some(2), ""));
        let first = finished.stderr.lines().next().unwrap();
        for part in [option, "--via socket", reason] {
            assert!(first.contains(part), "{part:?} is not in {first:?}");
        }
    }
    for way in ["pipe", "", "SOCKET"] {
        let finished = run(sigshm().args(["--via", way, "hi"]));
        assert_eq!((finished.code, finished.text()), (Some(2), ""));
        let names_both = ["memory", "socket"].iter().all(|it| finished.stderr.contains(it));
        assert!(names_both, "{finished:#?}");
    }
    // What is so anyway may be said.
    run(scratch.sigshm(["--via=memory", "hi"])).assert_delivered(2, "hi");
}

#[test]
fn sixty_at_once_deliver_sixty_messages_each_its_own() {
    let scratch = Scratch::new();
    at_once(0..60, |number| {
        let message = format!("message {number}");
        let command = scratch.via_socket(["--timeout=60", &message]); // for a slow machine
        let text = Program::start(command).finish_well();
        assert_eq!(text, transcript_via_socket(listener_in(&text), message.len(), &message));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn it_has_no_segment_no_lock_and_no_handler() {
    needs!(can_trace());
    let scratch = Scratch::new();
    let point = Point::Call(Side::Parent, libc::SYS_sendto);
    let frozen = freeze(&mut hello(&scratch), point).expect("it has not ended");
    let sender = frozen.parent();
    for process in [sender, frozen.listener().unwrap()] {
        for signal in ENDING.into_iter().chain([SIGUSR1]) {
            assert!(!has_signal(process, "SigCgt:", signal), "{signal}");
        }
        assert_eq!(signals(process, "SigBlk:"), 0);
    }
    assert_eq!(scratch.segments(), []);
    assert!(!segments().iter().any(|segment| segment.creator_pid == sender.as_raw()));
    let locks = fs::read_to_string("/proc/locks").unwrap();
    assert!(!locks.split_whitespace().any(|word| word == sender.to_string()));
    assert_delivered(&frozen.release().finish(TIMEOUT));
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_is_killed_at_any_step_nobody_outlives_the_other() {
    needs!(can_trace());
    let rows = [Side::Parent, Side::Child].map(|side| {
        let targets = [Side::Parent, Side::Child].map(|target| (side, target));
        targets.map(|(side, target)| [SIGKILL, SIGTERM].map(|signal| (side, target, signal)))
    });
    at_once(rows.concat().concat(), |(side, target, signal)| {
        let scratch = Scratch::new();
        let mut deaths = 0;
        for step in 0.. {
            let Ok(frozen) = freeze(&mut hello(&scratch), Point::Step(side, step)) else {
                break;
            };
            let listener = frozen.living_listener();
            let target = if target == Side::Parent { Some(frozen.parent()) } else { listener };
            // Whether it comes in time to end the run.
            let in_time = target.is_some_and(|target| {
                kill(target, signal).unwrap();
                !frozen.is_ending(target) || signal == SIGKILL
            });
            let finished = frozen.release().finish_after(&[signal], SOON);
            if !in_time {
                assert_delivered(&finished);
                continue;
            }
            deaths += 1;
            if target == listener && signal == SIGKILL {
                let pid = listener.unwrap();
                let line =
                    format!("sigshm: error: the listener (PID {pid}) was killed by SIGKILL\n");
                let ended = (finished.code, &*finished.stderr);
                assert_eq!(ended, (Some(1), &*line), "at {side:?} {step}");
            } else {
                // Whoever gets it: in the end the parent dies of it, and nobody says a word.
                let ended = (finished.signal, &*finished.stderr);
                assert_eq!(ended, (Some(signal as i32), ""), "at {side:?} {step}: {finished:#?}");
            }
        }
        assert!(deaths > 5, "{side:?} {target:?} {signal}: {deaths}");
    });
}

#[test]
fn a_hundred_and_fifty_kills_at_random_moments_leave_nothing() {
    const KILLS: usize = 150;
    let scratch = Scratch::new();
    // How long a run takes by itself, with all that this test does to start it.
    let time = |_| {
        let begun = Instant::now();
        assert_delivered(&run(hello(&scratch)));
        begun.elapsed()
    };
    let whole = (0..5).map(time).min().unwrap();
    let mut cut_short = 0;
    for number in 0..KILLS {
        let random = RandomState::new().hash_one(number);
        let moment = whole.mul_f64((random % 1000) as f64 / 1000.0);
        let started = Instant::now();
        let running = Program::start(hello(&scratch).process_group(0));
        while started.elapsed() < moment {
            std::hint::spin_loop();
        }
        let (signal, parent) = ([SIGKILL, SIGTERM, SIGINT][number % 3], running.pid());
        match number % 4 {
            0 => killpg(parent, signal).unwrap(),
            1 => children(parent).iter().for_each(|&child| {
                // It may have ended just now.
                let _ = kill(child, signal);
            }),
            _ => kill(parent, signal).unwrap(),
        }
        let finished = running.finish();
        cut_short += usize::from(finished.code != Some(0));
        // Whatever was printed is the beginning of the transcript.
        let text = finished.text();
        let listener = if text.contains("PID=") { listener_in(text) } else { 0 };
        let whole = transcript_via_socket(listener, HELLO.len(), HELLO);
        assert!(whole.starts_with(text), "{finished:#?}");
        assert!(finished.stderr.lines().count() <= 1, "{finished:#?}");
    }
    assert!(cut_short > KILLS / 5, "{cut_short}");
}

#[test]
fn a_run_that_may_open_no_more_files_says_so() {
    let scratch = Scratch::new();
    // Four files: the three standard ones, and the first socket.
    let finished = run(hello(&scratch).in_child(|| setrlimit(Resource::RLIMIT_NOFILE, 4, 4)));
    finished.assert_failed_with(&["socketpair(AF_UNIX, ", "EMFILE", "RLIMIT_NOFILE"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_listener_that_is_stopped_is_given_up_in_time() {
    needs!(can_trace());
    let stopped = if uses_linux() { "stopped it" } else { "" };
    at_once([libc::SYS_write, libc::SYS_recvfrom], |call| {
        let scratch = Scratch::new();
        let mut command = scratch.via_socket(["--timeout=0.3", HELLO]);
        let frozen = freeze(&mut command, Point::Call(Side::Child, call)).expect("it runs");
        kill(frozen.listener().unwrap(), SIGSTOP).unwrap();
        let finished = frozen.release().finish(SOON);
        finished.assert_failed_with(&["the listener (PID ", "within 0.3 seconds", stopped]);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_parent_that_dies_with_the_listeners_byte_unread_is_no_error_of_the_listener() {
    needs!(can_trace());
    // Several: the end of the parent's socket or the signal at its death may come first.
    at_once(0..20, |_| {
        let scratch = Scratch::new();
        // The listener is about to print its first line.
        let frozen = freeze(&mut hello(&scratch), Point::Line(3)).expect("it has not ended");
        kill(frozen.parent(), SIGSTOP).unwrap();
        let run = frozen.release();
        wait_until("the listener waits, and its parent is stopped", || {
            is_blocked_in(run.listener().unwrap(), libc::SYS_recvfrom)
                && state(run.parent()) == Some('T')
        });
        kill(run.parent(), SIGKILL).unwrap();
        let finished = run.finish(SOON);
        assert_eq!((finished.signal, &*finished.stderr), (Some(9), ""));
    });
}

#[test]
fn an_explained_run_is_the_transcript_with_its_calls_and_its_timeline() {
    let scratch = Scratch::new();
    let text = Program::start(scratch.via_socket(["--explain", HELLO])).finish_well();
    let listener = listener_in(&text);
    assert_eq!(without_explanations(&text), expected(&text));
    assert!(explanations(&text).iter().all(|line| line.chars().count() <= 80), "{text}");
    let calls = "sigprocmask sigaction sigaction socketpair fork poll read send poll waitpid";
    assert_eq!(names_told(&text, "sender").join(" "), calls);
    assert_eq!(names_told(&text, "listener"), ["fork", "write", "recv"]);
    let words = plain(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    for lesson in [
        "two copies",
        "works in place",
        "the notification are one call",
        "the end of the file",
        "The message, as the listener finds it:",
    ] {
        assert!(words.contains(lesson), "{lesson:?} is not in {words}");
    }
    let mut others = ["segment of", "ftok(", "SIGUSR1", "flock("].iter();
    assert_eq!(others.find(|it| words.contains(**it)), None, "{words}");
    let event = |(_, who, what, crosses)| format!("{who}|{what}|{crosses}");
    let told: Vec<_> = events(&text).into_iter().map(event).collect();
    assert_eq!(
        told,
        [
            &*format!("sender|fork() = {listener}|fork ->"),
            "listener|fork() = 0|",
            "listener|says: ready|<- ready",
            "sender|reads: ready|",
            "sender|sends the message|message ->",
            "listener|receives the message|",
            "listener|ends|",
            &*format!("sender|waitpid() = {listener}|<- exit status 0"),
        ]
    );
}

#[cfg(target_os = "linux")]
#[test]
fn step_stops_before_each_step_and_what_it_suggests_is_true() {
    let scratch = Scratch::new();
    let options = ["--step", "--color=never", HELLO];
    let mut run = Program::start_stepping(scratch.via_socket(options));
    let sender = run.pid();
    // Goes on to this stop, and types what it suggests that begins so.
    let typed_at = |run: &mut Program, next: &str, start: &str, is_true: &dyn Fn(&str) -> bool| {
        run.step_to(next);
        let mut suggested = suggestions(&run.printed()).into_iter();
        let (command, _) = suggested.find(|it| it.0.starts_with(start)).expect(start);
        let Some(typed) = typed(&command) else { return };
        assert!(is_true(typed.text()), "{command}: {typed:?}");
    };
    let own = format!("{sender} ");
    typed_at(&mut run, "the sender makes two connected sockets", "ps ", &|it| it.contains(&own));
    assert_eq!(children(sender), []);

    typed_at(&mut run, "the listener tells its PID", "ls ", &|it| {
        it.matches("socket:[").count() == 1
    });
    let [listener] = children(sender)[..] else { panic!("{:?}", children(sender)) };

    run.step_to("the listener waits at its socket");
    run.step_to("the sender sends the message");
    wait_until("the listener sleeps", || is_blocked_in(listener, libc::SYS_recvfrom));
    typed_at(&mut run, "the sender sends the message", "grep State", &|it| {
        it.starts_with("State:\tS")
    });

    typed_at(&mut run, "the listener tells what it has read", "ipcs", &|it| {
        it.contains("Segments")
    });
    assert!(!segments().iter().any(|segment| segment.creator_pid == sender.as_raw()));

    typed_at(&mut run, "the sender ends", "ps ", &|it| it.lines().count() == 1);
    run.enter();
    let text = run.finish_well();
    assert_eq!(without_explanations(&text), plain(&expected(&text)));
}

#[test]
fn a_step_ends_with_the_other_process() {
    at_once(["the sender sends the message", "the listener waits at"], |next| {
        let scratch = Scratch::new();
        let run = Program::start_at(scratch.via_socket(["--step", "--color=never", HELLO]), next);
        kill(children(run.pid())[0], SIGKILL).unwrap();
        run.finish().assert_failed_with(&["the listener", "was killed by SIGKILL"]);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_lesson_has_the_lines_and_the_system_calls_of_both_ways_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lesson = fs::read_to_string(root.join("src/lesson.md")).unwrap();
    let row = |name: &str| -> Vec<usize> {
        let row = lesson.lines().find_map(|line| line.strip_prefix(name));
        let columns = row.expect(name).split('|').map(str::trim);
        columns.filter_map(|column| column.parse().ok()).collect()
    };
    let lines = |files: &str| -> usize {
        let text = |file| fs::read_to_string(root.join("src").join(file)).unwrap();
        files.split(' ').map(|file| text(file).lines().count()).sum()
    };
    let said = row("| lines of the story, `message.rs` not counted |");
    let counted = [lines("demo.rs listener.rs handler.rs sender.rs"), lines("socket.rs")];
    assert_eq!(said, counted, "src/lesson.md says the first");
    let below = lines(
        "sys/shm.rs sys/attach.rs sys/status.rs sys/ownership.rs sys/signal.rs sys/cleanup.rs \
         sys/lock.rs sys/answer.rs sys/proc.rs",
    );
    let said = row("| lines of `src/sys/` that nothing else needs |")[0];
    assert!(said.abs_diff(below) < 100, "src/lesson.md says {said}, and they have {below} lines");

    needs!(is_there("strace"));
    needs!(can_trace());
    let scratch = Scratch::new();
    let memory = scratch.sigshm(["--timeout=60", "hi"]);
    let socket = scratch.via_socket(["--timeout=60", "hi"]);
    let programs = [scratch.via_socket(["--version"]), memory, socket];
    let [version, memory, socket] = programs.map(|program| count_calls(&scratch, &program));
    let said = row("| system calls beyond those of `--version` |");
    for (said, counted) in said.into_iter().zip([memory - version, socket - version]) {
        // One or two differ from one C library to another.
        assert!(said.abs_diff(counted) <= 3, "{said}, and it is {counted}");
    }
}

/// The fewest system calls that the program and its child make in ten runs: a listener that has to
/// sleep makes more. Not counted is what one C library or another does for itself, for memory for
/// instance. (And a debug build calls fcntl(2) to look at a descriptor before it closes it.)
#[cfg(target_os = "linux")]
fn count_calls(scratch: &Scratch, program: &Command) -> usize {
    let log = scratch.dir().join("calls");
    let count = || {
        let mut strace = Command::new("strace");
        let memory = "trace=!fcntl,?fcntl64,brk,mmap,?mmap2,munmap,mremap,madvise,mprotect";
        strace.args(["-f", "-qq", "-e", "signal=none", "-e", memory, "-o"]);
        strace.arg(&log).args(whole(program));
        with_default_signals(strace.current_dir(scratch.dir()).stdin(Stdio::null()));
        let output = strace.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let log = fs::read_to_string(&log).unwrap();
        let mut depths = HashMap::new();
        let counts = |line: &&str| {
            let (pid, call) = line.split_once(' ').unwrap();
            let call = call.trim_start().trim_start_matches("rt_");
            // One that was interrupted by a line of the other process has two lines.
            let is_rest = call.contains(" resumed>");
            !is_rest && !is_of_c_library(call, depths.entry(pid.to_owned()).or_default())
        };
        log.lines().filter(counts).count()
    };
    (0..10).map(|_| count()).min().unwrap()
}
