//! The signal that notifies the listener: every one that a process may catch, and none that it may
//! not. Only the listener takes it. In the sender it means what it always means.

use sigshm::cli::notification;

use crate::support::tracer::*;
use crate::support::*;

/// By these the system reports a fault of the process itself.
const FAULTS: [Signal; 6] = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS];

/// No process may catch these.
const UNCATCHABLE: [Signal; 2] = [SIGKILL, SIGSTOP];

/// By default these stop a process.
const STOPPING: [Signal; 3] = [SIGTSTP, SIGTTIN, SIGTTOU];

/// Those that two terminals use in these tests: they end, stop or do nothing by default.
const BETWEEN_TWO: [Signal; 15] = [
    SIGTERM, SIGINT, SIGHUP, SIGABRT, SIGALRM, SIGCHLD, SIGPIPE, SIGWINCH, SIGCONT, SIGTSTP,
    SIGTTIN, SIGTTOU, SIGURG, SIGUSR2, SIGXFSZ,
];

/// All that can be the notification.
fn usable() -> Vec<Signal> {
    let usable = Signal::iterator().filter(|it| !FAULTS.contains(it) && !UNCATCHABLE.contains(it));
    let usable: Vec<Signal> = usable.collect();
    // Linux has 31 standard signals.
    assert_eq!(usable.len(), 31 - FAULTS.len() - UNCATCHABLE.len());
    usable
}

fn name(signal: Signal) -> &'static str {
    &signal.as_str()[3..]
}

/// The program with this signal.
fn with(signal: Signal, scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = scratch.sigshm(["--timeout=60", "--signal", name(signal)]);
    command.args(arguments);
    command
}

fn hello(signal: Signal, scratch: &Scratch) -> Command {
    with(signal, scratch, &["Hello, world"])
}

/// A listener for this signal, which waits for a message.
fn listen(signal: Signal, scratch: &Scratch) -> Program {
    let listener = Program::start(with(signal, scratch, &["--listen"]));
    listener.until_printed("# Registering");
    listener
}

/// Sends a message to this listener with this signal.
fn send(signal: Signal, scratch: &Scratch, listener: &Program) -> Finished {
    run(with(signal, scratch, &["--to", &listener.pid().to_string(), "Hello, world"]))
}

#[track_caller]
fn assert_sent(finished: &Finished) {
    assert_eq!(finished.outcome(), (Some(0), "", &*sent(12, "Hello, world")));
}

#[track_caller]
fn assert_delivered(signal: Signal, finished: &Finished) {
    let listener = listener_in(finished.text());
    let expected = transcript_with(signal, listener, 12, "Hello, world");
    assert_eq!(finished.outcome(), (Some(0), "", &*expected), "{signal}");
}

// How it is written.

#[test]
fn a_signal_has_a_name_with_or_without_sig_in_any_case_and_a_number() {
    for signal in usable().into_iter().chain(UNCATCHABLE) {
        let full = signal.as_str();
        let number = (signal as i32).to_string();
        let lower = [full.to_lowercase(), name(signal).to_lowercase()];
        let mixed = format!("Sig{}", name(signal));
        for text in [full, name(signal), &number, &lower[0], &lower[1], &mixed] {
            assert_eq!(notification(text), Ok(signal), "{text:?}");
        }
    }
    // kill -l of some shells has these.
    for (text, signal) in [("POLL", SIGIO), ("sigiot", SIGABRT), ("CLD", SIGCHLD)] {
        assert_eq!(notification(text), Ok(signal), "{text:?}");
    }
    for signal in FAULTS {
        for text in [signal.as_str(), name(signal), &(signal as i32).to_string()] {
            let error = notification(text).unwrap_err();
            assert!(error.contains("fault of the process itself"), "{error}");
            assert!(error.starts_with(signal.as_str()), "{error}");
        }
    }
    for text in ["RTMIN", "SIGRTMIN", "rtmin+3", "SIGRTMAX-1", "32", "34", "64"] {
        let error = notification(text).unwrap_err();
        assert!(error.contains("real-time"), "{text:?}: {error}");
    }
    let unknown = "SIG 0 -1 65 1000 USR3 SIGSIGHUP SIG10 1O 010 +10 é RT RTFM".split(' ');
    for text in unknown.chain(["", "USR1 ", " USR1"]) {
        let error = notification(text).unwrap_err();
        let is_named = |signal: Signal| error.split_whitespace().any(|it| it == name(signal));
        for signal in usable().into_iter().chain(UNCATCHABLE) {
            assert!(is_named(signal), "{text:?}: {error}");
        }
        assert!(!FAULTS.into_iter().any(is_named), "{text:?}: {error}");
    }
}

#[test]
fn a_signal_that_cannot_notify_is_bad_usage() {
    for arguments in [&["hi"][..], &["--listen"], &["--to", "1", "hi"]] {
        for (text, reason) in [
            ("SEGV", "fault of the process itself"),
            ("11", "fault of the process itself"),
            ("RTMIN+1", "real-time"),
            ("40", "real-time"),
            ("nosuch", "HUP INT QUIT"),
            ("", "HUP INT QUIT"),
            ("-9", "HUP INT QUIT"),
        ] {
            let scratch = Scratch::new();
            let finished = run(scratch.sigshm(["--signal", text]).args(arguments));
            assert_eq!((finished.code, finished.text()), (Some(2), ""), "{finished:#?}");
            let first = finished.stderr.lines().next().unwrap();
            assert!(first.contains("--signal") && first.contains(reason), "{finished:#?}");
        }
    }
}

// In the demo.

#[test]
fn every_signal_that_can_be_caught_notifies_a_listener_that_spins_or_sleeps() {
    let deliver = |way, signal| {
        let scratch = Scratch::new();
        assert_delivered(signal, &run(with(signal, &scratch, &[way, HELLO])));
    };
    // One after the other, so that it need not wait for a processor, and sleep in the end.
    usable().into_iter().for_each(|signal| deliver("--wait=spin", signal));
    at_once(usable(), |signal| deliver("--wait=sleep", signal));
}

/// A run that is frozen when the message lies there, and the sender is about to say so.
fn before_the_signal(signal: Signal, scratch: &Scratch) -> Frozen {
    let point = Point::Call(Side::Parent, libc::SYS_kill);
    freeze(&mut hello(signal, scratch), point).expect("it has not ended")
}

/// A run that is frozen when the listener is about to register its handler.
fn before_the_handler(signal: Signal, scratch: &Scratch) -> Frozen {
    let point = Point::Call(Side::Child, libc::SYS_rt_sigaction);
    freeze(&mut hello(signal, scratch), point).expect("it has not ended")
}

#[test]
fn one_that_comes_before_its_handler_stays_pending() {
    needs!(can_trace());
    for signal in usable() {
        let scratch = Scratch::new();
        let frozen = before_the_handler(signal, &scratch);
        let listener = frozen.listener().unwrap();
        assert!(has_signal(listener, "SigBlk:", signal), "{signal}");
        kill(listener, signal).unwrap();
        assert_delivered(signal, &frozen.release().finish(TIMEOUT));
    }
}

#[test]
fn a_stop_signal_that_comes_before_its_handler_is_discarded_by_a_sigcont() {
    needs!(can_trace());
    for signal in STOPPING {
        let scratch = Scratch::new();
        let frozen = before_the_handler(signal, &scratch);
        let listener = frozen.listener().unwrap();
        let is_pending = || has_signal(listener, "ShdPnd:", signal);
        kill(listener, signal).unwrap();
        assert!(is_pending());
        kill(listener, SIGCONT).unwrap();
        assert!(!is_pending());
        assert_delivered(signal, &frozen.release().finish(TIMEOUT));
    }
}

// The sender.

#[test]
fn in_the_sender_the_signal_does_what_it_always_does_except_sigusr1_and_sigusr2() {
    needs!(can_trace());
    for signal in usable() {
        let scratch = Scratch::new();
        let frozen = before_the_signal(signal, &scratch);
        assert_eq!(scratch.segments().len(), 1);
        let sender = frozen.parent();
        kill(sender, signal).unwrap();
        let run = frozen.release();
        if STOPPING.contains(&signal) {
            wait_until("it is stopped", || state(sender) == Some('T'));
            kill(sender, SIGCONT).unwrap();
        }
        let finished = run.finish(TIMEOUT);
        if ENDING.contains(&signal) && signal != SIGUSR2 {
            assert_eq!((finished.signal, &*finished.stderr), (Some(signal as i32), ""));
        } else {
            assert_delivered(signal, &finished);
        }
    }
}

#[test]
fn the_signal_ends_a_run_that_waits_for_the_lock_except_sigusr1_and_sigusr2() {
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR2] {
        let scratch = Scratch::new();
        let lock = take_lock(&scratch);
        let run = Program::start(hello(signal, &scratch));
        run.until_complained("sigshm: waiting: ");
        wait_until("it waits for the lock", || is_blocked_in(run.pid(), libc::SYS_flock));
        kill(run.pid(), signal).unwrap();
        if signal == SIGUSR2 {
            drop(lock);
            assert_eq!(run.finish().code, Some(0));
        } else {
            assert_eq!(run.finish().signal, Some(signal as i32));
        }
    }
}

#[test]
fn sigusr1_ends_a_run_whose_notification_is_another_signal() {
    needs!(can_trace());
    for freeze in [before_the_signal, before_the_handler] {
        let scratch = Scratch::new();
        let frozen = freeze(SIGWINCH, &scratch);
        kill(frozen.parent(), SIGUSR1).unwrap();
        let finished = frozen.release().finish(TIMEOUT);
        assert_eq!(finished.signal, Some(SIGUSR1 as i32), "{finished:#?}");
    }
}

#[test]
fn a_signal_that_the_starter_ignores_or_blocks_notifies_all_the_same() {
    for notifies in [SIGINT, SIGHUP, SIGCHLD, SIGTSTP, SIGWINCH, SIGPIPE] {
        let scratch = Scratch::new();
        let starters: [fn(Signal) -> nix::Result<()>; 2] =
            [|it| set(it, SigHandler::SigIgn), |it| SigSet::from(it).thread_block()];
        for starter in starters {
            let mut command = hello(notifies, &scratch);
            command.in_child(move || starter(notifies));
            assert_delivered(notifies, &run(&mut command));
        }
    }
}

// Two programs.

#[test]
fn between_two_programs_a_signal_notifies_and_a_stray_one_changes_nothing_and_stops_nobody() {
    at_once(BETWEEN_TWO, |signal| {
        let scratch = Scratch::new();
        let listener = listen(signal, &scratch);
        let pid = listener.pid();
        let sleeps = || is_blocked_in(pid, libc::SYS_pselect6);
        wait_until("it sleeps", sleeps);
        // Whatever it does by default: here it only makes the listener look.
        for _ in 0..3 {
            send_stray_of(signal, pid);
        }
        listener.until_complained(&format!("{signal} came, but there is no message at "));
        wait_until("it sleeps again", sleeps);
        assert_sent(&send(signal, &scratch, &listener));
        let finished = listener.finish();
        let expected = received_with(signal, pid, "Hello, world");
        assert_eq!((finished.code, finished.text()), (Some(0), &*expected));
    });
}

#[test]
fn a_stop_signal_that_a_sigcont_has_discarded_is_said_to_be() {
    at_once(STOPPING, |signal| {
        let scratch = Scratch::new();
        let listener = listen(signal, &scratch);
        listener.stop();
        let options = ["--signal", name(signal), "--timeout=1"];
        let sender = Program::start(scratch.sender(listener.pid(), &options, "hi"));
        wait_until("it is pending", || has_signal(listener.pid(), "ShdPnd:", signal));
        listener.go_on();
        let reasons = ["SIGCONT", &format!("discarded {signal}"), "send the message again"];
        sender.finish().assert_failed_with(&reasons);
        // The listener is still there.
        assert_sent(&send(signal, &scratch, &listener));
        assert_eq!(listener.finish().code, Some(0));
    });
}

#[test]
fn a_sender_looks_for_a_handler_of_its_own_signal() {
    needs!(needs_linux("a process without a handler"));
    let scratch = Scratch::new();
    for (listens, sends) in
        [(SIGUSR1, SIGUSR2), (SIGWINCH, SIGUSR1), (SIGTERM, SIGINT), (SIGUSR2, SIGCHLD)]
    {
        let listener = listen(listens, &scratch);
        let pid = listener.pid().to_string();
        let refused = send(sends, &scratch, &listener);
        refused.assert_failed_with(&[&format!("no handler for {sends}"), &pid, "--signal"]);
        assert_eq!(refused.text(), "");
        // Nothing was sent: it is there, and takes a message.
        assert_sent(&send(listens, &scratch, &listener));
        let finished = listener.finish();
        assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    }
}

#[test]
fn a_listener_that_takes_sigint_says_how_to_end_it() {
    for signal in [SIGINT, SIGQUIT, SIGTERM, SIGUSR1] {
        let scratch = Scratch::new();
        let listener = listen(signal, &scratch);
        let ends = if signal == SIGQUIT { SIGINT } else { SIGQUIT };
        kill(listener.pid(), ends).unwrap();
        let finished = listener.finish();
        assert_eq!(finished.signal, Some(ends as i32), "{finished:#?}");
        let stderr = &finished.stderr;
        if signal == SIGINT {
            let is_said = ["Ctrl-C", "SIGINT", r"Ctrl-\"].iter().all(|it| stderr.contains(it));
            assert!(is_said && stderr.lines().count() == 1, "{stderr}");
        } else {
            assert_eq!(stderr, "");
        }
    }
}

// What the kernel refuses.

#[test]
fn no_process_may_catch_sigkill_or_sigstop_and_the_kernel_says_so() {
    let scratch = Scratch::new();
    // It comes first: nobody waits for the lock, and no file is needed.
    let _lock = take_lock(&scratch);
    let missing = Scratch::new();
    fs::remove_file(missing.path()).unwrap();
    let mut sleep = Command::new("sleep");
    let bystander = Program::start(sleep.arg("1000").stdin(Stdio::null()));
    let pid = bystander.pid().to_string();
    for signal in UNCATCHABLE {
        // Asked with what is no handler, so that no system could take it.
        let ignores = format!("sigaction({signal}, {{sa_handler=SIG_IGN, …}}, …)");
        let reasons = [&*ignores, "EINVAL", "no process may catch"];
        for arguments in [
            &["hi"][..],
            &["--listen"],
            &["--to", &pid, "hi"],
            &["--via=memory", "--explain", "hi"],
            &["--step", "hi"],
            &["--listen", "--step"],
        ] {
            run(with(signal, &missing, arguments)).assert_failed_with(&reasons);
            let finished = run(with(signal, &scratch, arguments));
            finished.assert_failed_with(&reasons);
            let text = finished.text();
            assert!(!text.contains('#'), "{text}");
            // It was really tried, and nothing untrue is told of it.
            let is_told = arguments.iter().any(|it| ["--explain", "--step"].contains(it));
            let told = format!("{ignores} = -1 EINVAL");
            assert_eq!(plain(text).contains(&told), is_told, "{text}");
            assert!(!text.contains("pending") && !text.contains("kill -"));
        }
    }
    assert!(bystander.is_alive());
    assert_ne!(state(bystander.pid()), Some('T'));
}

// What is told of it.

#[test]
fn an_explained_run_names_the_signal_and_the_default_that_it_has() {
    for (signal, default) in [
        (SIGUSR2, "kills the process"),
        (SIGTERM, "kills the process"),
        (SIGWINCH, "does nothing"),
        (SIGCONT, "only lets a stopped process go on"),
        (SIGTSTP, "stops the process"),
        (SIGPIPE, "kills the process"),
    ] {
        let scratch = Scratch::new();
        let finished = run(with(signal, &scratch, &["--explain", "--color=never", "Hello"]));
        assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
        let words = finished.text().split_whitespace().collect::<Vec<_>>();
        let text = words.join(" ");
        let listener = listener_in(&text);
        for part in [
            format!("by default, {signal} {default}."),
            format!("sigaction({signal}, {{sa_handler=0x"),
            format!("sigprocmask(SIG_UNBLOCK, [{}]", name(signal)),
            format!("kill({listener}, {signal}) = 0"),
            format!(
                "--- {signal} {{si_code={}",
                if uses_linux() { "SI_USER, si_pid=" } else { "" }
            ),
            format!("{signal} -----"),
        ] {
            assert!(text.contains(&part), "{part:?} is not in {text}");
        }
        assert!(!text.contains("USR1"), "{text}");
    }
}

#[test]
fn a_listener_gives_up_in_time_whatever_the_signal() {
    for signal in [SIGALRM, SIGTERM, SIGCONT] {
        let scratch = Scratch::new();
        let arguments = ["--signal", name(signal), "--timeout=0.1", "--listen"];
        let finished = run(scratch.sigshm(arguments));
        finished.assert_failed_with(&["no message came within 0.1 seconds"]);
    }
}
