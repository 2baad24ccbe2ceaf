//! Runs whose cleaning up is refused: they end soon all the same, and say what they could not do.
//! And loops whose end depends on a file system, on another program or on a policy.

use crate::support::refusal::{NO_EFFECT, Refusal, refuse};
use crate::support::tracer::{Point, Released, Side, can_trace, freeze};
use crate::support::*;
use nix::errno::Errno::{EACCES, EEXIST, EIDRM, EINVAL, ENOSYS, EPERM};
use nix::unistd::dup2_stderr;

/// How soon a run must have ended. The longest of its waits takes five seconds.
const SOON: Duration = Duration::from_secs(20);

const KILL: Refusal = Refusal::of(libc::SYS_kill, EPERM);
const NOTIFY: Refusal = KILL.if_is(1, libc::SIGUSR1);
/// The notification is let through, so that there is somebody to wait for.
const END: Refusal = KILL.if_is(1, libc::SIGKILL);
/// As if the child were in a frozen control group, or held by a debugger.
const NO_KILL: Refusal = Refusal::of(libc::SYS_kill, NO_EFFECT);
const SHMGET: Refusal = Refusal::of(calls::SYS_shmget, EPERM);
const SHMAT: Refusal = Refusal::of(calls::SYS_shmat, EPERM);
const SEND: Refusal = Refusal::of(libc::SYS_sendto, EPERM);
const RMID: Refusal = Refusal::shmctl(libc::IPC_RMID, EPERM);
/// What raise(3) is made of.
const RAISE: [Refusal; 2] =
    [Refusal::of(libc::SYS_tgkill, EPERM), Refusal::of(libc::SYS_tkill, EPERM)];
/// What waiting for a child is made of.
const WAIT: [Refusal; 4] = [
    Refusal::of(libc::SYS_wait4, EPERM),
    Refusal::of(libc::SYS_waitid, EPERM),
    Refusal::of(libc::SYS_nanosleep, EPERM),
    Refusal::of(libc::SYS_clock_nanosleep, EPERM),
];

const PLAIN: &[&str] = &["--color=always"];
const EXPLAINED: &[&str] = &["--explain"];
const SOCKET: &[&str] = &["--via=socket"];
/// Its standard input is at its end, so it does not stop at its steps.
const STEPS: &[&str] = &["--step"];

/// The listener has begun, and has told the kernel not to let it outlive its parent.
const NOT_READY: Point = Point::Call(Side::Child, libc::SYS_getppid);
/// The segment is there, and the listener is to be notified.
const NOTIFIES: Point = Point::Call(Side::Parent, libc::SYS_kill);

fn hampered(scratch: &Scratch, arguments: &[&str], refusals: &[Refusal]) -> Command {
    let mut command =
        if arguments == SOCKET { scratch.via_socket([""; 0]) } else { scratch.sigshm(arguments) };
    command.arg(HELLO);
    refuse(command, refusals)
}

/// The run, whose listener is stopped when the run comes to this point.
fn with_stopped_listener(command: &mut Command, point: Point) -> Released {
    let frozen = freeze(command, point).expect("it has a listener");
    let listener = frozen.listener().unwrap();
    kill(listener, SIGSTOP).unwrap();
    let released = frozen.release();
    // On a busy machine the run may have given up already, and then the listener ends with it.
    wait_until("it is stopped", || matches!(state(listener), None | Some('T' | 'Z')));
    released
}

/// As [`with_stopped_listener`], when the run waits for its listener.
fn waiting(command: &mut Command, point: Point) -> Released {
    let released = with_stopped_listener(command.arg("--timeout=600"), point);
    // Its output is a file, and the listener is stopped: so it sleeps only to wait for that.
    wait_until("it waits", || state(released.parent()) == Some('S'));
    released
}

/// The run, which stops at its steps, before it notifies; and its listener, which waits.
fn before_it_notifies(scratch: &Scratch, refusals: &[Refusal]) -> (Program, Pid) {
    let command = hampered(scratch, STEPS, refusals);
    let run = Program::start_at(command, "the sender sends the signal");
    assert_eq!(scratch.segments().len(), 1);
    let listener = children(run.pid())[0];
    (run, listener)
}

// A run that gives up.

/// What is said of a listener that does not end although it was killed.
const NOT_ENDED: &str = "was killed, and has not ended";

/// The run has failed, and told in one more line what it could not do, and what that means.
#[track_caller]
fn assert_failed_and_left(case: &str, listener: Pid, parts: &[&str], finished: &Finished) {
    assert_eq!(finished.code, Some(1), "{case}: {finished:#?}");
    let lines = finished.stderr.lines();
    let (errors, rest): (Vec<_>, Vec<_>) = lines.partition(|it| it.starts_with("sigshm: error: "));
    assert_eq!((errors.len(), rest.len()), (1, 1), "{case}: {finished:#?}");
    for part in ["sigshm: ", &listener.to_string()].iter().chain(parts) {
        assert!(rest[0].contains(part), "{case}: no {part:?} in {finished:#?}");
    }
}

#[test]
fn a_run_that_cannot_kill_its_listener_gives_up_and_says_whether_that_has_ended() {
    needs!(can_trace());
    let stopped = [NOT_ENDED, if uses_linux() { "has stopped" } else { "" }];
    let has_ended: &[&str] = &["kill(", "EPERM", "has ended"];
    let may_still_run: &[&str] = &["kill(", "EPERM", "may still run"];
    let mut rows = vec![
        ("blocked in a write", PLAIN, vec![KILL], may_still_run),
        ("waits, and is killed in vain", &["--timeout=1"], vec![NO_KILL], &[NOT_ENDED]),
        ("stopped", PLAIN, vec![NO_KILL], &stopped),
    ];
    for arguments in [PLAIN, EXPLAINED, SOCKET] {
        for refusals in [vec![KILL], [&[KILL][..], &WAIT].concat()] {
            rows.push(("stopped", arguments, refusals, may_still_run));
        }
    }
    // Why it gives up: it may not notify, or it may not make what carries the message.
    for (arguments, why) in [
        (PLAIN, KILL),
        (PLAIN, SHMGET),
        (&["--wait=sleep"], SHMGET),
        (EXPLAINED, KILL),
        (EXPLAINED, SHMGET),
        (STEPS, KILL),
        (STEPS, SHMAT),
        (SOCKET, SEND),
    ] {
        rows.push(("waits, and the pipe is closed", arguments, vec![KILL, why], has_ended));
    }
    for (arguments, why) in [(PLAIN, SHMGET), (EXPLAINED, KILL), (SOCKET, SEND)] {
        let refusals = [&[KILL, why][..], &WAIT].concat();
        rows.push(("waits, and may not be waited for", arguments, refusals, may_still_run));
    }
    at_once(rows, |(case, arguments, refusals, parts)| {
        let scratch = Scratch::new();
        let mut command = hampered(&scratch, arguments, &refusals);
        let (listener, finished) = match case {
            "stopped" => {
                let run = with_stopped_listener(command.arg("--timeout=.3"), NOT_READY);
                (run.listener().unwrap(), run.finish_unreaped(SOON))
            }
            "blocked in a write" => {
                // No room for its first line, so that it is never ready, nor looks at its pipe.
                let room = transcript(9_999_999, 12, "").find(LISTENER).unwrap();
                let (run, _reader) = Program::start_with_room_for(room, command);
                let mut listener = None;
                wait_until("there is a listener", || {
                    listener = children(run.pid()).first().copied();
                    listener.is_some()
                });
                (listener.unwrap(), run.finish_within(SOON).unwrap())
            }
            _ => {
                let finished = run(command);
                (Pid::from_raw(listener_in(finished.text())), finished)
            }
        };
        let case = format!("{case} {arguments:?} {refusals:?}");
        assert_failed_and_left(&case, listener, parts, &finished);
    });
}

#[test]
fn a_run_that_cannot_end_its_stopped_listener_ends_and_after_a_second_if_it_may_not_kill_it() {
    at_once([("gives up", KILL), ("dies", KILL), ("dies", NO_KILL)], |(case, refusal)| {
        // Without Linux, what is stopped stays.
        let scratch = Scratch::new().checked_if(uses_linux());
        let (mut run, listener) = before_it_notifies(&scratch, &[refusal]);
        let pid = run.pid();
        kill(listener, SIGSTOP).unwrap();
        if case == "dies" {
            kill(pid, SIGTERM).unwrap()
        } else {
            run.enter_for_ever()
        }
        wait_until("it has ended", || state(pid) == Some('Z'));
        // It sleeps a millisecond between two looks: not more than a thousand times in a second,
        // and twice that if the wait begins anew, as it may once on a busy machine. In the five
        // seconds that it waits for one that it has killed there are several thousands.
        let sleeps: usize = status(pid, "voluntary_ctxt_switches:").parse().unwrap();
        assert!(sleeps < 2000 || refusal == NO_KILL, "{case}: {sleeps}");
        let finished = run.finish_within(SOON).unwrap();
        let said = if refusal == KILL { "may still run" } else { NOT_ENDED };
        assert!(finished.stderr.contains(said), "{case}: {finished:#?}");
        assert_eq!(finished.signal, (case == "dies").then_some(libc::SIGTERM), "{finished:#?}");
    });
}

#[test]
fn a_listener_asks_to_be_killed_with_its_parent_before_it_looks_whether_that_is_there() {
    needs!(can_trace());
    needs!(needs_linux("the end of a listener that is stopped early"));
    let scratch = Scratch::new();
    let run = waiting(&mut hampered(&scratch, PLAIN, &[]), NOT_READY);
    // Somebody else in its process group, who has a parent elsewhere. Without, the group would be
    // orphaned at the parent's end, and then the kernel ends what is stopped there, by SIGHUP.
    let mut other = Command::new("sleep");
    let _other = Program::start(other.arg("600").process_group(run.parent().as_raw()));
    kill(run.parent(), SIGKILL).unwrap();
    assert_eq!(run.finish(SOON).stderr, "");
}

// A run that is ended by a signal.

#[test]
fn a_run_that_may_not_kill_its_listener_dies_of_an_ending_signal_all_the_same() {
    needs!(can_trace());
    const SIGNALS: [Signal; 3] = [SIGINT, SIGTERM, SIGHUP];
    let (mut signals, mut rows) = (SIGNALS.into_iter().cycle(), Vec::new());
    for (refused, more) in [
        ("kill", &[][..]),
        ("kill and raise", &RAISE),
        ("kill and wait", &WAIT),
        ("kill, wait and raise", &[&WAIT[..], &RAISE].concat()),
    ] {
        let (by_kill, by_end) = ([&[KILL], more].concat(), [&[END], more].concat());
        for arguments in [PLAIN, EXPLAINED, STEPS, SOCKET] {
            let signal = signals.next().unwrap();
            rows.push(("not ready", arguments, refused, by_kill.clone(), signal));
        }
        rows.push(("to be notified", PLAIN, refused, by_end, SIGTERM));
        // This one is not stopped.
        rows.extend(SIGNALS.map(|it| ("waits", STEPS, refused, by_kill.clone(), it)));
    }
    at_once(rows, |(listener, arguments, refused, refusals, signal)| {
        let scratch = Scratch::new();
        let finished = if listener == "waits" {
            let (run, _) = before_it_notifies(&scratch, &refusals);
            kill(run.pid(), signal).unwrap();
            run.finish_within(SOON).unwrap()
        } else {
            let (point, segments) =
                if listener == "not ready" { (NOT_READY, 0) } else { (NOTIFIES, 1) };
            let run = waiting(&mut hampered(&scratch, arguments, &refusals), point);
            assert_eq!(scratch.segments().len(), segments);
            kill(run.parent(), signal).unwrap();
            run.finish_unreaped(SOON)
        };
        let case = format!("{listener} {arguments:?} {refused} {signal}: {finished:#?}");
        // Through sockets no signal is caught: the signal itself ends the run.
        let is_caught = arguments != SOCKET;
        let number = signal as i32;
        let is_status = is_caught && refused.ends_with("raise");
        let expected = if is_status { (Some(128 + number), None) } else { (None, Some(number)) };
        assert_eq!((finished.code, finished.signal), expected, "{case}");
        assert!(!is_caught || finished.stderr.contains("kill"), "{case}");
    });
}

#[test]
fn a_sender_that_dies_of_a_signal_says_that_a_segment_is_left_and_does_not_wait_for_a_reader() {
    needs!(can_trace());
    // Each waits for a listener that is stopped.
    for case in ["the demo", "a separate sender", "one whose standard error is full"] {
        let is_full = case == "one whose standard error is full";
        let scratch = Scratch::unchecked();
        let finished = if case == "the demo" {
            let run = waiting(&mut hampered(&scratch, PLAIN, &[RMID]), NOTIFIES);
            kill(run.parent(), SIGTERM).unwrap();
            run.finish_unreaped(SOON)
        } else {
            let listener = scratch.listen(&[]);
            listener.stop();
            let sender = scratch.sender(listener.pid(), &["--timeout=600"], HELLO);
            let mut sender = refuse(sender, &[RMID]);
            let (_reader, writer) = full_pipe();
            if is_full {
                sender.in_child(move || dup2_stderr(&writer));
            }
            let sender = Program::start(sender);
            wait_until("it has notified", || is_pending(listener.pid()));
            kill(sender.pid(), SIGTERM).unwrap();
            sender.finish_within(SOON).unwrap()
        };
        assert_eq!(finished.signal, Some(libc::SIGTERM), "{case}: {finished:#?}");
        assert_eq!(finished.stderr.lines().count(), usize::from(!is_full), "{finished:#?}");
        assert!(is_full || finished.stderr.contains("segment"), "{finished:#?}");
        assert_eq!(scratch.segments().len(), 1);
    }
}

// A segment that may not be removed, or that is not there any more.

#[test]
fn a_run_that_may_not_remove_its_segment_names_it_and_how_to_remove_it() {
    let mut rows = Vec::new();
    // Nothing else is refused, or the run fails before, for another reason.
    for more in [&[][..], &[SHMAT], &[NOTIFY], &[KILL]] {
        rows.extend([PLAIN, EXPLAINED, STEPS].map(|arguments| (EPERM, more, arguments)));
    }
    for more in [&[][..], &[SHMAT]] {
        rows.push((EPERM, more, &["--to"]));
        // It is said to have been removed, and is there.
        rows.extend([EINVAL, EIDRM].map(|errno| (errno, more, PLAIN)));
    }
    for (errno, more, arguments) in rows {
        let scratch = Scratch::unchecked();
        let refusals = [&[Refusal::shmctl(libc::IPC_RMID, errno)], more].concat();
        let finished = if arguments == ["--to"] {
            let listener = scratch.listen(&[]);
            run(refuse(scratch.sender(listener.pid(), &[], HELLO), &refusals))
        } else {
            run(hampered(&scratch, arguments, &refusals))
        };
        let case = format!("{arguments:?} {refusals:?}: {finished:#?}");
        assert_eq!(finished.code, Some(1), "{case}");
        let [Segment { id, .. }] = scratch.segments()[..] else { panic!("nothing was left") };
        let next = if errno == EPERM { "a security policy" } else { "segment" };
        let said =
            [format!("({errno:?}); {next}"), format!("; segment {id} is left: ipcrm -m {id}")];
        assert!(said.iter().all(|it| finished.stderr.contains(it)), "{case}");
    }
}

#[test]
fn a_run_that_fails_or_dies_does_not_speak_of_a_segment_that_somebody_else_has_removed() {
    needs!(can_trace());
    for signal in [None, Some(SIGTERM)] {
        let scratch = Scratch::new();
        // While it was attached, it could be removed twice.
        let point = Point::Call(Side::Parent, calls::SYS_shmat);
        let frozen = freeze(&mut hampered(&scratch, PLAIN, &[]), point).unwrap();
        remove_segment(scratch.segments()[0].id);
        if let Some(signal) = signal {
            kill(frozen.parent(), signal).unwrap();
        }
        let finished = frozen.release().finish(SOON);
        match signal {
            None => finished.assert_failed_with(&["shmat(", "somebody else has removed"]),
            Some(it) => assert_eq!((finished.signal, &*finished.stderr), (Some(it as i32), "")),
        }
    }
}

// Calls and files that are not as a run needs them.

#[test]
fn a_wait_whose_timer_or_sleep_is_refused_is_an_error_and_no_panic() {
    let timer = Refusal::of(libc::SYS_setitimer, EPERM);
    // The demo installs a handler for SIGALRM only when it has the lock.
    let handler = Refusal::of(libc::SYS_rt_sigaction, EPERM).if_is(0, libc::SIGALRM);
    for (refusal, name) in [(timer, "setitimer("), (handler, "sigaction(SIGALRM")] {
        let scratch = Scratch::new();
        let _lock = take_lock(&scratch);
        let finished = run(hampered(&scratch, PLAIN, &[refusal]).arg("--timeout=1"));
        assert_eq!(finished.code, Some(1), "{finished:#?}");
        let error = finished.stderr.lines().last().unwrap();
        assert!(error.contains(name) && error.contains("policy"), "{finished:#?}");
    }
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    listener.stop();
    let sender = refuse(scratch.sender(listener.pid(), &[], HELLO), &WAIT[2..]);
    run(sender).assert_failed_with(&["nanosleep(", "EPERM", "policy"]);
}

#[test]
fn a_file_that_may_not_be_looked_at_or_a_standard_output_that_takes_nothing_ends_a_run() {
    // Looked up by its path. (With an empty path, statx(2) looks at an open file.)
    let looks = [
        Refusal::of(libc::SYS_statx, EACCES).if_is(2, 0),
        Refusal::of(calls::SYS_newfstatat, EACCES).if_is(3, 0),
    ];
    // "0 bytes are written", and no error.
    let nothing = [Refusal::of(libc::SYS_write, NO_EFFECT).if_is(0, 1)];
    for (arguments, refusals, part) in
        [(PLAIN, &looks[..], "EACCES"), (STEPS, &looks, "EACCES"), (PLAIN, &nothing, "write(1, ")]
    {
        let scratch = Scratch::new();
        let finished = run(hampered(&scratch, arguments, refusals).arg("--timeout=600"));
        finished.assert_failed_with(&[part]);
    }
}

#[test]
fn a_full_standard_output_that_does_not_block_and_may_not_be_waited_for_is_an_error() {
    for errno in [EPERM, ENOSYS] {
        let scratch = Scratch::new();
        let (_reader, writer) = full_pipe();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        // Of one descriptor: the standard library looks at its three first.
        let poll = Refusal::of(libc::SYS_ppoll, errno).if_is(1, 1);
        let run = Program::start_into(writer, hampered(&scratch, PLAIN, &[poll]));
        run.finish().assert_failed_with(&["sigshm: error: "]);
    }
}

#[test]
fn a_processor_time_or_a_parent_that_may_not_be_asked_for_costs_no_message() {
    for (arguments, call) in
        [(EXPLAINED, libc::SYS_getrusage), (PLAIN, libc::SYS_getppid), (SOCKET, libc::SYS_getppid)]
    {
        let scratch = Scratch::new();
        let finished = run(hampered(&scratch, arguments, &[Refusal::of(call, EPERM)]));
        assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
        assert!(finished.text().contains("# Received: Hello, world"));
    }
    // At a stop the listener asks again, once a second.
    let scratch = Scratch::new();
    let command = hampered(&scratch, STEPS, &[Refusal::of(libc::SYS_getppid, EPERM)]);
    let mut run = Program::start_at(command, "registers its handler");
    thread::sleep(Duration::from_millis(1500));
    run.enter_for_ever();
    assert!(run.finish_well().contains("# Received: "));
}

#[test]
fn inode_numbers_that_change_at_each_look_are_an_error_that_says_so_and_nothing_to_a_listener() {
    needs!(loads_libraries());
    for how in ["CHANGING_INODES", "TWO_INODES"] {
        let scratch = Scratch::new();
        // It takes no lock, and ftok(3) looks at the file by itself.
        let mut listener = scratch.sigshm(["--listen"]);
        let library = library(how);
        let listener = Program::start(preload(&mut listener, &library));
        listener.until_printed("# Registering");
        for option in ["--color=auto", "--step"] {
            let demo = scratch.sigshm([option, HELLO]);
            let sender = scratch.sender(listener.pid(), &[option], HELLO);
            for mut command in [demo, sender] {
                run(preload(&mut command, &library))
                    .assert_failed_with(&["inode", "another file at each look"]);
            }
            assert!(listener.is_alive(), "it was told of nothing");
        }
        scratch.assert_delivers(HELLO, listener, &[]);
    }
}

// Segments that come and go.

#[test]
fn a_segment_that_is_there_and_is_not_there_again_and_again_ends_a_run_at_its_timeout() {
    let exists = Refusal::of(calls::SYS_shmget, EEXIST).if_has(2, libc::IPC_EXCL);
    let rows = [
        ("nothing is there, and always gone when one looks", exists, "--timeout=.3"),
        ("the same with the timeout of --step, five seconds", exists, "--step"),
        ("gone (EIDRM)", Refusal::shmctl(libc::IPC_STAT, EIDRM), "--timeout=.3"),
        ("gone (EINVAL)", Refusal::shmctl(libc::IPC_STAT, EINVAL), "--timeout=.3"),
        ("removed, and there", Refusal::shmctl(libc::IPC_RMID, NO_EFFECT), "--timeout=.3"),
    ];
    at_once(rows, |(case, refusal, option)| {
        let scratch = Scratch::unchecked();
        if refusal != exists {
            leave_behind(&scratch);
        }
        let finished = run(refuse(scratch.sigshm([option, HELLO]), &[refusal]));
        let error = "sigshm: error: others keep creating and removing segments";
        assert!(finished.stderr.contains(error), "{case}: {finished:#?}");
        finished.assert_failed_with(&[]);
    });
}

#[test]
fn runs_whose_key_somebody_else_uses_again_and_again_deliver_or_fail_in_time() {
    let scratch = Scratch::new();
    thread::scope(|scope| {
        let runs = scope.spawn(|| {
            for _ in 0..5 {
                let finished = run(scratch.sigshm(["--timeout=1", HELLO]));
                match finished.code {
                    Some(0) => finished.assert_delivered(12, HELLO),
                    _ => finished.assert_failed_with(&["sigshm: error: "]),
                }
                let steps = scratch.sigshm(["--step", "--color=never", HELLO]);
                let finished = Program::start_with_enters(steps).finish();
                assert!(matches!(finished.code, Some(0 | 1)), "{finished:#?}");
                let has_failed = finished.code == Some(1);
                assert_eq!(has_failed, finished.stderr.contains("sigshm: error: "));
            }
        });
        while !runs.is_finished() {
            if let Ok(id) = create_segment(scratch.key(), 1024, 0o600) {
                remove_segment(id);
            }
        }
        runs.join().unwrap();
    });
}
