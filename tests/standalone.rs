//! The listener (`--listen`) and the sender (`--to`) as programs of their own, which share nothing
//! but a path.

// The tests call what has no safe wrapper, each time with a SAFETY comment.

use rexpect::session::spawn_command;

use crate::support::tracer::{Point, Side, freeze};
use crate::support::*;

const NOBODY: u32 = 65534;

// What they print.

#[test]
fn a_listener_and_a_sender_each_print_their_lines_of_the_transcript() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    // Nothing more until there is a message, and nothing in the kernel either.
    assert_eq!(listener.printed(), registered(listener.pid()));
    assert_eq!(scratch.segments(), []);

    let sender = send(&scratch, listener.pid(), &[], "Hello, world");
    assert_said(&sender.finish(), &sent(12, "Hello, world"));
    let pid = listener.pid();
    assert_said(&listener.finish(), &received(pid, "Hello, world"));
}

#[test]
fn put_together_their_lines_are_the_whole_transcript() {
    let whole = transcript(42, 12, "Hello, world");
    let both = sent(12, "Hello, world") + &received(Pid::from_raw(42), "Hello, world");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // Nobody forks here.
    assert_eq!(sorted(&whole.replace("# Forking...\n", "")), sorted(&both));
}

#[test]
fn without_colours_their_lines_have_no_escape() {
    let scratch = Scratch::new();
    let listener = Program::start(scratch.sigshm(["--listen", "--color", "never"]));
    listener.until_printed("# Registering signal handler for SIGUSR1\n");
    let pid = listener.pid();
    let sender = send(&scratch, pid, &["--color", "never"], "Hello, world");
    assert_said(&sender.finish(), &plain(&sent(12, "Hello, world")));
    assert_said(&listener.finish(), &plain(&received(pid, "Hello, world")));
}

#[test]
fn messages_that_are_hard_to_carry_pass_between_two_programs() {
    let scratch = Scratch::new();
    let longest = "x".repeat(1007);
    for (message, shown) in [
        ("", ""),
        (longest.as_str(), longest.as_str()),
        ("日本 🦀", "日本 🦀"),
        ("\x1b[2J\n", r"\x1b[2J\n"),
    ] {
        let listener = listen(&scratch, &[]);
        let pid = listener.pid();
        let sender = send(&scratch, pid, &[], message);
        assert_said(&sender.finish(), &sent(message.len(), shown));
        assert_said(&listener.finish(), &received(pid, shown));
    }
}

// How long a listener waits.

#[test]
fn a_listener_gives_up_only_if_it_is_given_a_timeout() {
    let scratch = Scratch::new();
    let without = listen(&scratch, &["--explain"]);
    let with = listen(&scratch, &["--timeout", "0.2"]);
    let pid = with.pid();
    let finished = with.finish();
    finished.assert_failed_with(&["no message", "0.2 seconds", "--timeout"]);
    assert_eq!(finished.text(), registered(pid));
    assert_eq!(scratch.segments(), []);

    // The other one is still there when the message comes. It looks once a second, and that is
    // one sleep to it, from then until the signal.
    assert_delivered(&scratch, without, "Hello, world", |said| {
        let words = explanations(said);
        let sleep = "pselect(0, [], NULL, NULL, {tv_sec=1, tv_nsec=0}, []) = -1 EINTR";
        assert!(words.contains(sleep), "{words}");
        assert_eq!(words.matches("= -1 EINTR").count(), 1, "{words}");
        without_explanations(said)
    });
}

// Usage that makes no sense.

#[test]
fn options_that_exclude_each_other_and_numbers_that_are_no_pid_are_bad_usage() {
    let scratch = Scratch::new();
    let target = sleeper(|| Ok(()));
    let pid = target.pid().to_string();
    let cases: &[(&[&str], &str)] = &[
        (&["--listen", "Hello, world"], "--listen"),
        (&["--listen", ""], "--listen"),
        (&["--listen", "--to", &pid], "--to"),
        (&["--listen", "--to", &pid, "Hello, world"], "--listen"),
        (&["--to", &pid], "<MESSAGE>"),
        (&["--to", "0", "Hello, world"], "--to <PID>"),
        (&["--to=-1", "Hello, world"], "--to <PID>"),
        (&["--to", "-1", "Hello, world"], "-1"),
        (&["--to", "abc", "Hello, world"], "--to <PID>"),
        (&["--to", "", "Hello, world"], "--to <PID>"),
        (&["--to", "2147483648", "Hello, world"], "--to <PID>"),
    ];
    for (arguments, named) in cases {
        let finished = run(scratch.sigshm(*arguments));
        let outcome = (finished.code, finished.signal, finished.text());
        assert_eq!(outcome, (Some(2), None, ""), "{arguments:?}: {finished:#?}");
        assert!(finished.stderr.contains(named), "{finished:#?}");
        assert_eq!(scratch.segments(), [], "{arguments:?}");
    }
    assert!(target.is_alive());
}

#[test]
fn a_message_that_is_too_long_is_refused_and_the_listener_goes_on() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    let sender = send(&scratch, listener.pid(), &[], &"x".repeat(1008));
    let finished = sender.finish();
    let outcome = (finished.code, finished.signal, finished.text());
    assert_eq!(outcome, (Some(2), None, ""), "{finished:#?}");
    for number in ["1008", "1007"] {
        assert!(finished.stderr.contains(number), "{finished:#?}");
    }
    assert_eq!(scratch.segments(), []);
    assert_delivered(&scratch, listener, "Hello, world", str::to_owned);
}

// Processes that do not listen.

#[test]
fn a_pid_that_does_not_exist_is_refused() {
    // More than the kernel's limit, which is 4194304.
    assert_refused(Pid::from_raw(i32::MAX), &["ESRCH", "No such process"]);
}

#[test]
fn a_zombie_is_refused() {
    let zombie = Program::start(Command::new("true"));
    wait_until("it has ended", || state(zombie.pid()) == Some('Z'));
    let named = format!("PID {} is a zombie: ", zombie.pid());
    let finished = assert_refused(zombie.pid(), &[&named, "has not waited for it"]);
    // kill(2) finds a zombie like any other process: no call has failed.
    for untrue in ["failed", "ESRCH", "No such process"] {
        assert!(!finished.stderr.contains(untrue), "{finished:#?}");
    }
}

#[test]
fn a_process_without_a_handler_is_refused_and_lives_on() {
    let target = sleeper(|| Ok(()));
    assert_refused(target.pid(), &["no handler for SIGUSR1", "SigCgt"]);
    assert!(target.is_alive());
}

#[test]
fn a_process_without_a_handler_is_sent_nothing_at_all() {
    // Where it is blocked, a signal that had been sent would still be seen, pending.
    let target = sleeper(block_sigusr1);
    assert_refused(target.pid(), &["no handler for SIGUSR1"]);
    assert!(!is_pending(target.pid()));
    kill(target.pid(), SIGUSR1).unwrap();
    assert!(is_pending(target.pid()));
}

#[test]
fn a_process_that_ignores_sigusr1_is_refused_and_sent_nothing() {
    let target = sleeper(|| {
        block_sigusr1()?;
        // SAFETY: nothing is installed that could be called.
        unsafe { signal(SIGUSR1, SigHandler::SigIgn) }?;
        Ok(())
    });
    assert_refused(target.pid(), &["no handler for SIGUSR1"]);
    assert!(!is_pending(target.pid()));
    assert!(target.is_alive());
}

#[test]
fn a_listener_that_has_no_handler_yet_is_refused_and_reached_later() {
    let scratch = Scratch::new();
    let mut listener =
        Program::start_at(scratch.sigshm(["--listen", "--step"]), "the listener tells its PID");
    let early = send(&scratch, listener.pid(), &[], "too early").finish();
    early.assert_failed_with(&["no handler for SIGUSR1"]);
    assert_eq!((early.text(), scratch.segments()), ("", vec![]));

    listener.step_to("its handler is in place");
    listener.enter_for_ever();
    listener.until_printed("# Registering");
    assert_delivered(&scratch, listener, "Hello, world", without_explanations);
}

#[test]
fn somebody_elses_process_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    if !Uid::effective().is_root() {
        // If this is not root, PID 1 is somebody else's process.
        let finished = send(&scratch, Pid::from_raw(1), &[], "Hello, world").finish();
        finished.assert_failed_with(&["kill(1, 0)", "EPERM"]);
        assert_eq!((finished.text(), scratch.segments()), ("", vec![]));
        return;
    }
    let listener = listen(&scratch, &[]);
    let copy = scratch.dir().join("copy");
    // By another process: while this one writes to the file, a child that another test starts has
    // it open for writing too, and then it cannot be run ("Text file busy").
    let mut cp = Command::new("cp");
    cp.arg(env!("CARGO_BIN_EXE_sigshm")).arg(&copy);
    assert_eq!(run(&mut cp).code, Some(0), "{cp:?}");
    for (path, mode) in [(scratch.dir(), 0o755), (copy.as_path(), 0o755)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let sender = |to: Pid| {
        let mut command = Command::new(&copy);
        command.args(["--to", &to.to_string(), "--path"]);
        command.arg(scratch.path()).arg("Hello, world");
        command.env_remove("NO_COLOR").stdin(Stdio::null());
        command.uid(NOBODY).gid(NOBODY);
        Program::start(command)
    };
    let finished = sender(listener.pid()).finish();
    let call = format!("kill({}, 0)", listener.pid());
    finished.assert_failed_with(&[&call, "EPERM", "another user's: run both as one user"]);
    assert_eq!((finished.text(), scratch.segments()), ("", vec![]));
    assert!(!is_pending(listener.pid()));
    assert_delivered(&scratch, listener, "Hello, world", str::to_owned);

    // It was the process that was in the way: that user's own listener gets its message.
    let mut command = Command::new(&copy);
    command.args(["--listen", "--path"]).arg(scratch.path());
    command.env_remove("NO_COLOR").stdin(Stdio::null());
    command.uid(NOBODY).gid(NOBODY);
    let theirs = Program::start(command);
    theirs.until_printed("SIGUSR1\x1b[0m\n");
    let pid = theirs.pid();
    assert_said(&sender(pid).finish(), &sent(12, "Hello, world"));
    assert_said(&theirs.finish(), &received(pid, "Hello, world"));
}

// Explained, and step by step.

#[test]
fn explained_both_tell_of_the_same_key_segment_and_processes() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &["--explain"]);
    wait_until("it waits", || state(listener.pid()) == Some('S'));
    listener.stop();
    let sender = send(&scratch, listener.pid(), &["--explain"], "Hello, world");
    let segment = until_notified(&scratch, &sender, &listener);
    listener.go_on();
    let (from, to) = (sender.pid(), listener.pid());
    let (sent_out, taken_in) = (sender.finish(), listener.finish());
    for finished in [&sent_out, &taken_in] {
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    }

    // What the system says of the run, from outside, is what each of them says.
    let (key, id) = (format!("0x{:08x}", scratch.key()), segment.id);
    let words = explanations(sent_out.text());
    for told in [
        format!("= {key}"),
        format!("shmget({key}, 1024, IPC_CREAT|IPC_EXCL|0600) = {id}"),
        format!("kill({to}, SIGUSR1) = 0"),
        format!("{{shm_lpid={to}, shm_nattch=1, …}}"),
        format!("shmctl({id}, IPC_RMID, NULL) = 0"),
    ] {
        assert!(words.contains(&told), "{told:?} is not in {words}");
    }
    let words = explanations(taken_in.text());
    for told in [
        format!("= {key}"),
        format!("shmget({key}, 1024, 0) = {id}"),
        format!("shmat({id}, NULL, SHM_RDONLY) = 0x"),
        format!("{{shm_cpid={from}, shm_nattch=2, …}}"),
    ] {
        assert!(words.contains(&told), "{told:?} is not in {words}");
    }

    let picture = "    field   at  bytes                                           as text
    id      000 01 00 00 00                                     = 1
    padding 004 00 00 00 00
    size    008 0c 00 00 00 00 00 00 00                         = 12
    text    010 48 65 6c 6c 6f 2c 20 77 6f 72 6c 64             Hello, world
    unused  01c 00 ... 996 bytes of zeros, up to 3ff
";
    let shown = plain(taken_in.text());
    assert!(shown.contains(picture), "{picture} is not in {shown}");

    let created = format!("shmget() = {id}");
    let events = [&created, "copies the message in", "kill()", "removes"];
    assert_timeline(sent_out.text(), (from, to), &events);
    let events =
        ["registers its handler", "the handler stores it", "copies the message out", "ends"];
    assert_timeline(taken_in.text(), (from, to), &events);

    for finished in [&sent_out, &taken_in] {
        for line in plain(finished.text()).lines() {
            assert!(line.chars().count() <= 80, "beyond 80 columns: {line}");
        }
    }
    // Without the explanations it is what they print anyway.
    assert_eq!(without_explanations(sent_out.text()), sent(12, "Hello, world"));
    assert_eq!(without_explanations(taken_in.text()), received(to, "Hello, world"));
}

#[test]
fn step_by_step_each_stops_until_enter_and_the_segment_can_be_looked_at_meanwhile() {
    let scratch = Scratch::new();
    let mut listener =
        Program::start_at(scratch.sigshm(["--listen", "--step"]), "the listener tells its PID");
    assert_eq!(without_explanations(&listener.printed()), "");
    assert!(!has_handler(listener.pid()));
    listener.step_to("its handler is in place");
    assert!(has_handler(listener.pid()));
    listener.enter();
    listener.until_printed("# Registering");

    let to = listener.pid().to_string();
    let mut sender =
        Program::start_stepping(scratch.sigshm(["--step", "--to", &to, "Hello, world"]));
    for next in [
        "the sender measures its argument",
        "the sender fills in the struct",
        "the sender creates the segment",
    ] {
        sender.step_to(next);
        assert_eq!(scratch.segments(), [], "before {next}");
    }
    sender.step_to("the sender sends the signal");
    let [segment] = &scratch.segments()[..] else {
        panic!("there is not one segment: {:?}", scratch.segments());
    };
    let status = (segment.size, segment.mode & 0o777, segment.attached);
    assert_eq!(status, (1024, 0o600, 1));
    let pids = (segment.creator_pid, segment.last_pid);
    assert_eq!(pids, (sender.pid().as_raw(), sender.pid().as_raw()));
    let told = without_explanations(&listener.printed());
    assert_eq!(told, registered(listener.pid()), "nobody has notified it");
    sender.enter();

    // The listener has a copy and has detached before it says a word. It takes no more for the
    // sender to go on; but the segment stays until the sender has had its Enter.
    let looks = |status: &[Segment]| {
        let of = |now: &Segment| (now.id, now.attached, now.last_pid);
        status.iter().map(of).collect::<Vec<_>>()
    };
    let detached = [(segment.id, 1, listener.pid().as_raw())];
    listener.step_to("the listener, woken, tells of the signal");
    assert_eq!(looks(&scratch.segments()), detached);
    let told = without_explanations(&listener.printed());
    assert_eq!(told, registered(listener.pid()), "it tells after the stop");
    listener.step_to("the listener tells what it has read");
    assert_eq!(looks(&scratch.segments()), detached);
    sender.step_to("the sender removes the segment and detaches");
    assert_eq!(looks(&scratch.segments()), detached);
    let told = without_explanations(&sender.printed());
    assert!(!told.contains("# All done"), "it tells after the stop");
    listener.enter();
    sender.enter();

    let pid = listener.pid();
    for (program, told) in
        [(sender, sent(12, "Hello, world")), (listener, received(pid, "Hello, world"))]
    {
        let finished = program.finish();
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
        assert_eq!(without_explanations(finished.text()), told);
    }
}

#[test]
fn at_the_end_of_standard_input_both_go_on_without_stops() {
    let scratch = Scratch::new();
    // Both find the end at once.
    let listener = listen(&scratch, &["--step"]);
    let pid = listener.pid();
    let sender = send(&scratch, pid, &["--step"], "Hello, world");
    for (program, told) in
        [(sender, sent(12, "Hello, world")), (listener, received(pid, "Hello, world"))]
    {
        let finished = program.finish();
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
        assert_eq!(without_explanations(finished.text()), told);
        assert_eq!(stops(finished.text()), 1, "{}", finished.text());
    }
}

#[test]
fn on_a_terminal_the_sender_goes_on_with_each_enter() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    let pid = listener.pid();
    let mut command = scratch.sigshm(["--step", "--to", &pid.to_string(), "Hello, world"]);
    command.stdin(Stdio::inherit());
    let mut terminal = spawn_command(command, Some(TIMEOUT.as_millis() as u64)).unwrap();
    for (next, segments) in [
        ("the sender measures its argument", 0),
        ("the sender fills in the struct", 0),
        ("the sender creates the segment", 0),
        ("the sender sends the signal", 1),
        ("the sender removes the segment and detaches", 1),
    ] {
        terminal.exp_string(next).unwrap();
        terminal.exp_string("[Enter goes on]").unwrap();
        assert_eq!(scratch.segments().len(), segments, "before {next}");
        terminal.send_line("").unwrap();
    }
    let rest = terminal.exp_eof().unwrap();
    assert!(!rest.contains("[Enter goes on]"), "{rest}");
    assert!(rest.contains("# All done. Freeing memory."), "{rest}");
    let status = terminal.process().wait().unwrap();
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
    assert_said(&listener.finish(), &received(pid, "Hello, world"));
}

#[test]
fn a_signal_that_comes_before_the_listener_waits_for_it_is_in_the_timeline_too() {
    let scratch = Scratch::new();
    let mut listener = Program::start_stepping(scratch.sigshm(["--listen", "--step"]));
    // The handler is in place, and what the listener waits for is Enter.
    listener.step_to("its handler is in place");
    let pid = listener.pid();
    let sender = send(&scratch, pid, &[], "Hello, world");
    wait_until("the signal is sent", || {
        let [segment] = &scratch.segments()[..] else {
            return false;
        };
        segment.attached == 1 && sender.printed().contains("text:") && {
            // It is let in at once, or stays pending until the listener waits for it.
            is_pending(pid) || state(sender.pid()) == Some('S')
        }
    });
    let from = sender.pid();
    listener.enter_for_ever();
    assert_said(&sender.finish(), &sent(12, "Hello, world"));
    let finished = listener.finish();
    let outcome = (finished.code, finished.stderr.as_str());
    assert_eq!(outcome, (Some(0), ""), "{finished:#?}");
    let events =
        ["registers its handler", "the handler stores it", "copies the message out", "ends"];
    assert_timeline(finished.text(), (from, pid), &events);
}

#[test]
fn a_listener_woken_early_while_the_sender_stops_has_read_the_message() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    let to = listener.pid().to_string();
    let mut sender = Program::start_at(
        scratch.sigshm(["--step", "--to", &to, "Hello, world"]),
        "the sender sends the signal",
    );
    // The message lies there, and anybody's signal makes the listener look. The sender's stop
    // suggests to try that.
    let pid = listener.pid();
    kill(pid, SIGUSR1).unwrap();
    assert_said(&listener.finish(), &received(pid, "Hello, world"));

    sender.enter_for_ever();
    let finished = sender.finish();
    assert_eq!(finished.code, Some(0), "it was read: {finished:#?}");
    let told = without_explanations(finished.text());
    assert_eq!(told, sent(12, "Hello, world"));
}

/// The sender may remove the segment as soon as the listener has detached. All that the listener
/// has to print is still to come then: it has a copy.
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_listener_prints_the_message_even_if_the_segment_was_removed_when_it_had_detached() {
    for options in [&["--listen"][..], &["--listen", "--explain"]] {
        assert_prints_a_copy(options);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[track_caller]
fn assert_prints_a_copy(options: &[&str]) {
    use nix::sys::ptrace;
    use nix::sys::wait::waitpid;

    let scratch = Scratch::new();
    let mut command = scratch.sigshm(options);
    // SAFETY: between fork and exec this makes one system call and allocates nothing.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(io::Error::from)) };
    let listener = Program::start(command);
    let pid = listener.pid();
    assert_eq!(waitpid(pid, None), Ok(WaitStatus::Stopped(pid, SIGTRAP)));
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options).unwrap();

    // From one system call to the next, until it has detached.
    let (mut sender, mut detaching, mut deliver) = (None, false, None);
    loop {
        ptrace::syscall(pid, deliver.take()).unwrap();
        match waitpid(pid, None).unwrap() {
            WaitStatus::PtraceSyscall(_) if detaching => break,
            WaitStatus::PtraceSyscall(_) => {
                let info = ptrace::syscall_info(pid).unwrap();
                // SAFETY: `op` says whether this is the part of the union that was written.
                detaching = info.op == libc::PTRACE_SYSCALL_INFO_ENTRY
                    && unsafe { info.u.entry.nr } as libc::c_long == libc::SYS_shmdt;
                if sender.is_none() && listener.printed().contains("# Registering") {
                    sender = Some(send(&scratch, pid, &[], "Hello, world"));
                }
            }
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            other => panic!("this was not to happen before it has detached: {other:?}"),
        }
    }
    let told = without_explanations(&listener.printed());
    assert_eq!(told, registered(pid), "it detaches before it prints");
    let finished = sender.unwrap().finish();
    assert_said(&finished, &sent(12, "Hello, world"));
    assert_eq!(scratch.segments(), []);

    ptrace::detach(pid, None).unwrap();
    let finished = listener.finish();
    let outcome = (finished.code, finished.stderr.as_str());
    assert_eq!(outcome, (Some(0), ""), "{finished:#?}");
    let told = without_explanations(finished.text());
    assert_eq!(told, received(pid, "Hello, world"));
}

// Many of them.

#[test]
fn of_several_listeners_only_the_one_that_is_named_prints_the_message() {
    let scratch = Scratch::new();
    let mut others: Vec<Program> = (0..5).map(|_| listen(&scratch, &[])).collect();
    let named = others.remove(2);
    assert_delivered(&scratch, named, "for the third", str::to_owned);
    for other in &others {
        assert!(!is_pending(other.pid()));
        assert!(other.is_alive());
        assert_eq!(other.printed(), registered(other.pid()));
    }
    for (number, other) in others.into_iter().enumerate() {
        assert_delivered(&scratch, other, &format!("number {number}"), str::to_owned);
    }
}

#[test]
fn a_hundred_messages_reach_a_hundred_listeners_each_its_own() {
    let scratch = Scratch::new();
    let start = |_| Program::start(scratch.sigshm(["--listen"]));
    let listeners: Vec<Program> = (0..100).map(start).collect();
    for listener in &listeners {
        listener.until_printed("SIGUSR1\x1b[0m\n");
    }
    // The last to come is the first to be served.
    for (number, listener) in listeners.iter().enumerate().rev() {
        let message = format!("message {number}");
        let sender = send(&scratch, listener.pid(), &[], &message);
        assert_said(&sender.finish(), &sent(message.len(), &message));
    }
    for (number, listener) in listeners.into_iter().enumerate() {
        let pid = listener.pid();
        let expected = received(pid, &format!("message {number}"));
        assert_said(&listener.finish(), &expected);
    }
}

#[test]
fn two_senders_to_two_listeners_run_one_after_the_other() {
    let scratch = Scratch::new();
    let (slow, quick) = (listen(&scratch, &[]), listen(&scratch, &[]));
    slow.stop();
    let first = send(&scratch, slow.pid(), &[], "first");
    let segment = until_notified(&scratch, &first, &slow);
    let second = send(&scratch, quick.pid(), &[], "second");
    // It says so, and does nothing else: there is still the one segment, and its listener has heard
    // nothing.
    second.until_complained("sigshm: waiting: ");
    assert_eq!(second.printed(), "");
    assert_eq!(scratch.segments(), [segment]);
    assert!(!is_pending(quick.pid()));

    slow.go_on();
    let (slow_pid, quick_pid) = (slow.pid(), quick.pid());
    assert_said(&first.finish(), &sent(5, "first"));
    assert_said(&slow.finish(), &received(slow_pid, "first"));
    let finished = second.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(finished.text(), sent(6, "second"));
    assert_said(&quick.finish(), &received(quick_pid, "second"));
}

// What goes wrong meanwhile.

#[test]
fn what_a_killed_sender_has_left_behind_is_no_message() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &["--timeout", "1"]);
    let left = leave_behind(&scratch, &listener);
    listener.go_on();
    let pid = listener.pid();
    let finished = listener.finish();
    assert_eq!(finished.text(), registered(pid));
    assert_eq!((finished.code, finished.signal), (Some(1), None));
    let [note, error] = &finished.stderr.lines().collect::<Vec<_>>()[..] else {
        panic!("there are not two lines: {finished:#?}");
    };
    let named = format!("segment {}", left.id);
    for words in ["left behind", &named, "still listening"] {
        assert!(note.contains(words), "{words:?} is not in {note:?}");
    }
    for words in ["error: no message", "1 second;", "--timeout"] {
        assert!(error.contains(words), "{words:?} is not in {error:?}");
    }
    // It is not a listener's to remove. The next pair does it, and works.
    assert_eq!(scratch.segments().len(), 1);
    let next = listen(&scratch, &[]);
    let pid = next.pid();
    let finished = send(&scratch, pid, &[], "Hello, world").finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(finished.text(), sent(12, "Hello, world"));
    assert!(finished.stderr.contains("reclaimed"), "{finished:#?}");
    assert!(finished.stderr.contains(&named), "{finished:#?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:#?}");
    assert_said(&next.finish(), &received(pid, "Hello, world"));
}

#[test]
fn a_listener_whose_sender_was_killed_is_there_for_the_next_one() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    leave_behind(&scratch, &listener);
    listener.go_on();
    listener.until_complained("left behind");
    let pid = listener.pid();
    let finished = send(&scratch, pid, &[], "Hello, world").finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(finished.text(), sent(12, "Hello, world"));
    let finished = listener.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(finished.text(), received(pid, "Hello, world"));
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:#?}");
}

#[test]
fn a_sender_whose_listener_is_killed_says_so_at_once() {
    let scratch = Scratch::new();
    // Whether its exit status is still there or not.
    for reaped in [false, true] {
        let mut listener = listen(&scratch, &[]);
        listener.stop();
        let sender = send(&scratch, listener.pid(), &[], "Hello, world");
        until_notified(&scratch, &sender, &listener);
        let killed = Instant::now();
        kill(listener.pid(), SIGKILL).unwrap();
        if reaped {
            listener.child.wait().unwrap();
        }
        let finished = sender.finish();
        assert!(killed.elapsed() < Duration::from_secs(2));
        let named = format!("PID {}", listener.pid());
        finished.assert_failed_with(&[&named, "ended before it had read the message"]);
        assert!(!finished.text().contains("# All done"), "{finished:#?}");
        assert_eq!(scratch.segments(), []);
    }
    assert_delivered(&scratch, listen(&scratch, &[]), "next", str::to_owned);
}

#[test]
fn a_sender_whose_listener_does_not_read_gives_up_and_the_listener_is_unharmed() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    listener.stop();
    let sender = send(&scratch, listener.pid(), &["--timeout", "0.3"], "Hello, world");
    let finished = sender.finish();
    let named = format!("PID {}", listener.pid());
    finished.assert_failed_with(&[&named, "0.3 seconds", "a signal has stopped PID", "kill -CONT"]);
    assert!(!finished.text().contains("# All done"), "{finished:#?}");
    assert_eq!(scratch.segments(), []);
    // It finds a signal, and no message.
    listener.go_on();
    listener.until_complained("still listening");
    assert_delivered_after(&[NO_SEGMENT], &scratch, listener, "next");
}

#[test]
fn an_interrupted_listener_dies_of_the_signal() {
    let scratch = Scratch::new();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let listener = listen(&scratch, &[]);
        let pid = listener.pid();
        kill(pid, signal).unwrap();
        let finished = listener.finish();
        let outcome = (finished.code, finished.signal, finished.stderr.as_str());
        assert_eq!(outcome, (None, Some(signal as i32), ""));
        assert_eq!(finished.text(), registered(pid));
        scratch.assert_nothing_left();
    }
}

#[test]
fn an_interrupted_sender_dies_of_the_signal_and_takes_its_message_along() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        listener.stop();
        let sender = send(&scratch, listener.pid(), &[], "Hello, world");
        until_notified(&scratch, &sender, &listener);
        kill(sender.pid(), signal).unwrap();
        let finished = sender.finish();
        let outcome = (finished.code, finished.signal, finished.stderr.as_str());
        assert_eq!(outcome, (None, Some(signal as i32), ""));
        assert_eq!(scratch.segments(), []);
        listener.go_on();
        wait_until("it has looked", || !is_pending(listener.pid()));
    }
    listener.until_complained("still listening");
    assert_delivered_after(&[NO_SEGMENT], &scratch, listener, "next");
}

// Signals without a message.

#[test]
fn a_signal_without_a_message_is_not_a_message() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    for _ in 0..10 {
        send_stray(listener.pid());
    }
    assert_eq!(listener.printed(), registered(listener.pid()));
    assert_delivered_after(&[NO_SEGMENT], &scratch, listener, "Hello, world");
}

#[test]
fn in_a_storm_of_signals_the_message_arrives_and_success_means_that_it_was_read() {
    let scratch = Scratch::new();
    for number in 0..50 {
        let message = format!("message {number}");
        let listener = listen(&scratch, &[]);
        let pid = listener.pid();
        let storm = Storm::over(&listener);
        let sender = send(&scratch, pid, &[], &message);
        let finished = sender.finish();
        // From now on there is no segment: what the listener has not read, it never will.
        assert_eq!(scratch.segments(), []);
        drop(storm);
        assert_eq!(
            (finished.code, finished.stderr.as_str()),
            (Some(0), ""),
            "number {number}, and the listener has printed {:?}",
            listener.printed()
        );
        assert_said(&finished, &sent(message.len(), &message));
        let finished = listener.finish();
        assert_eq!((finished.code, finished.text()), (Some(0), &*received(pid, &message)));
        for note in finished.stderr.lines() {
            assert_notes(note, &[""], &scratch);
        }
    }
}

#[test]
fn a_storm_of_signals_does_not_prolong_a_listeners_timeout() {
    const LIMIT: Duration = Duration::from_secs(8);
    let scratch = Scratch::new();
    let listener = listen(&scratch, &["--timeout", "0.5"]);
    let pid = listener.pid();
    let storm = Storm::over(&listener);
    let began = Instant::now();
    wait_until("it gives up, or should have long ago", || {
        state(pid) == Some('Z') || began.elapsed() > LIMIT
    });
    let gave_up = state(pid) == Some('Z');
    drop(storm);
    assert!(gave_up, "it still listens after {LIMIT:?}");
    let finished = listener.finish();
    // The reason why there was no message is said once, and then the error.
    let (note, error) = finished.stderr.split_once('\n').unwrap();
    assert_notes(note, &[NO_SEGMENT], &scratch);
    assert_eq!(
        error,
        "sigshm: error: no message came within 0.5 seconds; if it is only slow, wait longer with --timeout\n"
    );
    assert_eq!((finished.code, finished.text()), (Some(1), &*registered(pid)));
}

// Segments that are no sigshm's.

#[test]
fn a_segment_that_holds_no_message_is_named_as_such_and_left_untouched() {
    let scratch = Scratch::new();
    let huge = usize::MAX.to_string();
    for (what, bytes) in [
        ("size is 1008", message(1, 1008, b"Hello, world")),
        (&huge, message(1, usize::MAX, b"Hello, world")),
        ("id is 2", message(2, 12, b"Hello, world")),
        ("id is -1", message(-1, 12, b"Hello, world")),
        // Neither behind the text nor at the end of its room.
        ("NUL", message(1, 5, b"Hello, world")),
        ("NUL", message(1, 1007, &[b'x'; 1008])),
        ("there is a NUL within its size", message(1, 7, b"one\0two")),
        // As a 32-bit program writes "A", a longer text, and a text that reads as a small size.
        ("there is a NUL within its size", of_32_bits(b"A")),
        ("(it looks like a 32-bit program's)", of_32_bits(b"A")),
        ("(it looks like a 32-bit program's)", of_32_bits(b"Hello, world")),
        ("(it looks like a 32-bit program's)", of_32_bits(b"\x01")),
    ] {
        let listener = listen(&scratch, &[]);
        let pid = listener.pid();
        let planted = Planted::new(&scratch, &bytes);
        kill(pid, SIGUSR1).unwrap();
        let finished = listener.finish();
        finished.assert_failed_with(&["not a message", what]);
        assert!(finished.text().starts_with(&registered(pid)));
        assert!(!finished.text().contains("# Received"), "{finished:#?}");
        let [segment] = &scratch.segments()[..] else {
            panic!("there is not one segment: {:?}", scratch.segments());
        };
        let status = (segment.id, segment.attached, segment.creator_pid);
        assert_eq!(status, (planted.id, 0, std::process::id() as i32));
        assert_eq!(planted.bytes(), bytes, "it was written to");
    }
}

#[test]
fn an_empty_segment_is_no_message_and_stands_in_the_way_of_one() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    let planted = Planted::new(&scratch, &[0; 1024]);
    kill(listener.pid(), SIGUSR1).unwrap();
    wait_until("the listener has looked", || {
        let now = scratch.segments();
        now[0].last_pid == listener.pid().as_raw() && now[0].attached == 0
    });
    let timeout = ["--timeout", "0.3"];
    let finished = send(&scratch, listener.pid(), &timeout, "Hello, world").finish();
    let named = format!("segment {}", planted.id);
    finished.assert_failed_with(&["EEXIST", &named, "its creator is alive", "ipcrm"]);
    assert!(!is_pending(listener.pid()), "there was nothing to notify it of");
    assert_eq!(planted.bytes(), [0; 1024]);
    assert_eq!(listener.printed(), registered(listener.pid()));
    drop(planted);
    assert_delivered_after(&["it holds no message"], &scratch, listener, "Hello, world");
}

#[test]
fn a_stray_that_comes_before_the_sender_has_attached_is_told_so() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    let pid = listener.pid();
    let mut command = scratch.sigshm(["--to", &pid.to_string(), "Hello, world"]);
    let point = Point::Call(Side::Parent, libc::SYS_shmat);
    let frozen = freeze(&mut command, point).expect("it attaches");
    send_stray(pid);
    listener.until_complained("nobody is attached to it yet: still listening");
    frozen.release().finish(TIMEOUT);
    assert_eq!(listener.finish().text(), received(pid, "Hello, world"));
}

#[test]
fn a_sender_that_is_not_alone_does_not_say_that_it_is_the_one_who_stays_attached() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    let arguments = ["--timeout=0.3", "--to", &listener.pid().to_string(), "Hello, world"];
    let mut command = scratch.sigshm(arguments);
    let point = Point::Call(Side::Parent, libc::SYS_shmat);
    let frozen = freeze(&mut command, point).expect("it attaches");
    let id = scratch.segments()[0].id;
    // SAFETY: the kernel maps the segment where nothing else is.
    let address = unsafe { libc::shmat(id, ptr::null(), libc::SHM_RDONLY) };
    let sender = frozen.parent();
    let finished = frozen.release().finish(TIMEOUT);
    // (The children of other tests inherit this attachment until they call exec, so the last one
    // may have been one of them.)
    finished.assert_failed_with(&["somebody else did not detach within 0.3 seconds: "]);
    let is_named = finished.stderr.contains(&format!("PID {sender}"));
    assert!(!is_named, "it is not the one: {finished:#?}");
    // SAFETY: the address is what shmat returned, and nobody uses it.
    assert_eq!(unsafe { libc::shmdt(address) }, 0);
    assert_delivered(&scratch, listener, "next", str::to_owned);
}

#[test]
fn a_segment_that_is_too_small_for_a_message_is_none() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    let planted = Planted::new(&scratch, &message(1, 12, b"Hello, world")[..512]);
    send_stray(listener.pid());
    assert_eq!(listener.printed(), registered(listener.pid()));
    drop(planted);
    let smaller = ["EINVAL); the segment at this key is smaller"];
    assert_delivered_after(&smaller, &scratch, listener, "Hello, world");
}

/// The process will find that a signal has come, before its handler was in place, from one that has
/// created a segment at the key for it and has ended. Whose signal it is, its segment may be taken.
fn with_signal_of_creator(command: &mut Command, key: i32) {
    let prepare = move || {
        block_sigusr1()?;
        // SAFETY: the new process makes a few system calls and ends. They touch no memory.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
                let created = libc::shmget(key, 1024, flags) != -1;
                let sent = created && libc::kill(libc::getppid(), libc::SIGUSR1) == 0;
                libc::_exit(i32::from(!sent));
            }
            let mut status = 0;
            match libc::waitpid(child, &mut status, 0) == child && status == 0 {
                true => Ok(()),
                false => Err(io::ErrorKind::Other.into()),
            }
        }
    };
    // SAFETY: between fork and exec this makes a few system calls, and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

#[test]
fn a_listener_whose_segment_somebody_removes_while_it_looks_goes_on_listening() {
    let removed = |call: &str| format!("{call} failed: Invalid argument (EINVAL)");
    for (step, said) in [
        (libc::SYS_shmget, NO_SEGMENT.to_owned()),
        (libc::SYS_shmctl, removed("IPC_STAT, …)")),
        (libc::SYS_shmat, removed("NULL, SHM_RDONLY)")),
        // It is attached, so it is still there for this one.
        (libc::SYS_shmdt, "it holds no message".to_owned()),
    ] {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(["--listen"]);
        with_signal_of_creator(&mut command, scratch.key());
        let frozen = freeze(&mut command, Point::Call(Side::Parent, step)).expect("it listens");
        let pid = frozen.parent();
        let [segment] = &scratch.segments()[..] else {
            panic!("there is not one segment: {:?}", scratch.segments());
        };
        remove_segment(segment.id);
        let listener = frozen.release();
        wait_until("it sleeps", || is_blocked_in(pid, libc::SYS_pselect6));
        let sender = send(&scratch, pid, &[], "Hello, world");
        assert_said(&sender.finish(), &sent(12, "Hello, world"));
        let finished = listener.finish(TIMEOUT);
        assert_eq!(finished.text(), received(pid, "Hello, world"));
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        assert_notes(&finished.stderr, &[&said], &scratch);
    }
}

// What they say, as a whole.

/// The run succeeded, and said this and nothing else.
#[track_caller]
fn assert_said(finished: &Finished, stdout: &str) {
    assert_eq!(finished.text(), stdout, "{finished:#?}");
    let outcome = (finished.code, finished.signal, finished.stderr.as_str());
    assert_eq!(outcome, (Some(0), None, ""), "{finished:#?}");
}

/// A message reaches the listener, which ends. `transcript` drops what is not of the transcript.
#[track_caller]
fn assert_delivered(
    scratch: &Scratch,
    listener: Program,
    message: &str,
    transcript: impl FnOnce(&str) -> String,
) {
    let pid = listener.pid();
    let sender = send(scratch, pid, &[], message);
    assert_said(&sender.finish(), &sent(message.len(), message));
    let finished = listener.finish();
    assert_eq!(transcript(finished.text()), received(pid, message));
    let outcome = (finished.code, finished.signal, finished.stderr.as_str());
    assert_eq!(outcome, (Some(0), None, ""), "{finished:#?}");
}

/// As [`assert_delivered`], after signals without a message. The listener has said why there was
/// none: once for each of the reasons, in this order.
#[track_caller]
fn assert_delivered_after(reasons: &[&str], scratch: &Scratch, listener: Program, message: &str) {
    let pid = listener.pid();
    let sender = send(scratch, pid, &[], message);
    assert_said(&sender.finish(), &sent(message.len(), message));
    let finished = listener.finish();
    assert_eq!((finished.code, finished.text()), (Some(0), &*received(pid, message)));
    assert_notes(&finished.stderr, reasons, scratch);
}

/// These lines say that there was no message, and why.
#[track_caller]
fn assert_notes<'a>(lines: impl AsRef<str> + 'a, reasons: &[&str], scratch: &Scratch) {
    let lines: Vec<&str> = lines.as_ref().lines().collect();
    assert_eq!(lines.len(), reasons.len(), "{lines:#?}");
    let path = format!("{:?}", scratch.path());
    for (line, reason) in lines.iter().zip(reasons) {
        let start = format!("sigshm: SIGUSR1 came, but there is no message at {path}: ");
        assert!(line.starts_with(&start), "{line:?}");
        assert!(line.ends_with(": still listening"), "{line:?}");
        assert!(line.contains(reason), "{reason:?} is not in {line:?}");
    }
}

/// What the listener says if there is no segment at its key.
const NO_SEGMENT: &str = "ENOENT); no segment is at this key";

/// A sender to this process refuses, names the process and the reason, and has created nothing.
#[track_caller]
fn assert_refused(target: Pid, reasons: &[&str]) -> Finished {
    let scratch = Scratch::new();
    let finished = send(&scratch, target, &[], "Hello, world").finish();
    finished.assert_failed_with(reasons);
    finished.assert_failed_with(&[&target.to_string(), "sigshm --listen"]);
    assert_eq!(finished.text(), "");
    scratch.assert_nothing_left();
    finished
}

/// The lines that `--explain` adds are indented.
fn is_explanation(line: &str) -> bool {
    plain(line).starts_with("    ")
}

fn without_explanations(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !is_explanation(line)).collect()
}

/// The explanations as if they had not been broken into lines.
fn explanations(text: &str) -> String {
    let lines = text.lines().filter(|line| is_explanation(line));
    let lines: Vec<String> = lines.map(plain).collect();
    let words: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
    words.join(" ")
}

/// The timeline names both processes and has these events in this order, none at an earlier time
/// than the one before.
#[track_caller]
fn assert_timeline(text: &str, (sender, listener): (Pid, Pid), events: &[&str]) {
    let text = plain(text);
    let (_, timeline) = text.split_once("microseconds since").expect("a timeline");
    let mut lines = timeline.lines().skip(1);
    let heads = lines.next().unwrap();
    assert!(heads.contains("sender") && heads.contains("listener"));
    let heads = lines.next().unwrap();
    let (left, right) = (format!("PID {sender}"), format!("PID {listener}"));
    let columns = (heads.find(&left).unwrap(), heads.find(&right).unwrap());
    assert!(columns.0 < columns.1, "{timeline}");
    let mut shown = events.iter();
    let mut last = 0;
    for line in lines {
        let time = line.split_whitespace().next().unwrap();
        let time: u64 = time.parse().expect("it starts with its time");
        assert!(last <= time, "{timeline}");
        last = time;
        let Some(event) = shown.next() else {
            panic!("there are more than expected: {timeline}");
        };
        assert!(line.contains(event), "{event:?} is not in {line:?}");
    }
    assert_eq!(shown.next(), None, "{timeline}");
}

// The programs.

/// A listener that has its handler in place.
#[track_caller]
fn listen(scratch: &Scratch, options: &[&str]) -> Program {
    let mut command = scratch.sigshm(options);
    command.arg("--listen");
    let listener = Program::start(command);
    listener.until_printed("# Registering signal handler for SIGUSR1\x1b[0m\n");
    listener
}

fn send(scratch: &Scratch, listener: Pid, options: &[&str], message: &str) -> Program {
    let mut command = scratch.sigshm(options);
    command.args(["--to", &listener.to_string(), "--", message]);
    Program::start(command)
}

/// A process that does nothing, prepared by `prepare`.
fn sleeper(prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> Program {
    let mut command = Command::new("sleep");
    command.arg(TIMEOUT.as_secs().to_string());
    // SAFETY: what the tests prepare is a system call or two, and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    Program::start(command)
}

fn block_sigusr1() -> io::Result<()> {
    Ok(SigSet::from(SIGUSR1).thread_block()?)
}

/// Waits until the sender has notified its listener, which is stopped.
#[track_caller]
fn until_notified(scratch: &Scratch, sender: &Program, listener: &Program) -> Segment {
    wait_until("the signal is sent", || {
        assert!(sender.is_alive(), "the sender has ended");
        is_pending(listener.pid())
    });
    let mut segments = scratch.segments();
    assert_eq!(segments.len(), 1, "{segments:?}");
    let segment = segments.remove(0);
    let status = (segment.creator_pid, segment.attached);
    assert_eq!(status, (sender.pid().as_raw(), 1));
    segment
}

/// Stops the listener, and leaves it a signal of this test, and a segment of a sender that was
/// killed. (Signals of one kind merge: the sender's own comes to nothing.)
#[track_caller]
fn leave_behind(scratch: &Scratch, listener: &Program) -> Segment {
    listener.stop();
    kill(listener.pid(), SIGUSR1).unwrap();
    let sender = send(scratch, listener.pid(), &[], "left behind");
    wait_until("the sender has attached its segment", || {
        assert!(sender.is_alive(), "the sender has ended");
        matches!(scratch.segments()[..], [Segment { attached: 1, .. }])
    });
    kill(sender.pid(), SIGKILL).unwrap();
    assert_eq!(sender.finish().signal, Some(libc::SIGKILL));
    assert_eq!(scratch.segments().len(), 1, "nobody could remove it");
    scratch.segments().remove(0)
}

fn has_handler(pid: Pid) -> bool {
    has_signal(pid, "SigCgt:", SIGUSR1)
}

/// The article's struct as a 32-bit program lays it out: `int; unsigned int; char[1016]`.
fn of_32_bits(text: &[u8]) -> Vec<u8> {
    let mut bytes = 1i32.to_ne_bytes().to_vec();
    bytes.extend((text.len() as u32).to_ne_bytes());
    bytes.extend(text);
    bytes.resize(1024, 0);
    bytes
}

/// Sends SIGUSR1 to a process, over and over, until it is dropped. Drop it before the process is
/// reaped: until then its PID is nobody else's.
struct Storm {
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    /// Returns when it has begun.
    fn over(program: &Program) -> Self {
        let pid = program.pid();
        let enough = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicUsize::new(0));
        let thread = thread::spawn({
            let (enough, sent) = (Arc::clone(&enough), Arc::clone(&sent));
            move || {
                while !enough.load(Ordering::Relaxed) {
                    kill(pid, SIGUSR1).unwrap();
                    sent.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
            }
        });
        wait_until("there is a storm", || sent.load(Ordering::Relaxed) > 2);
        Self { enough, thread: Some(thread) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it is told where it happened, and must not become an abort here.
            let _ = thread.join();
        }
    }
}

/// A message as it would lie in shared memory, whatever sense it makes.
fn message(id: i32, size: usize, text: &[u8]) -> Vec<u8> {
    let word = size_of::<usize>();
    let mut bytes = vec![0; 1024];
    bytes[..4].copy_from_slice(&id.to_ne_bytes());
    bytes[word..2 * word].copy_from_slice(&size.to_ne_bytes());
    bytes[2 * word..][..text.len()].copy_from_slice(text);
    bytes
}

/// A segment that the test itself creates at the key, and removes at its end.
struct Planted {
    id: i32,
    size: usize,
}

impl Planted {
    fn new(scratch: &Scratch, bytes: &[u8]) -> Self {
        let (size, flags) = (bytes.len(), libc::IPC_CREAT | libc::IPC_EXCL | 0o600);
        // SAFETY: shmget takes three numbers and touches no memory of ours.
        let id = unsafe { libc::shmget(scratch.key(), size, flags) };
        assert_ne!(id, -1, "{}", io::Error::last_os_error());
        let planted = Self { id, size };
        // SAFETY: the segment has room for `size` bytes, which is how many there are.
        planted.attached(|address| unsafe { ptr::copy(bytes.as_ptr(), address, size) });
        planted
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size];
        // SAFETY: both have room for `size` bytes.
        self.attached(|address| unsafe { ptr::copy(address, bytes.as_mut_ptr(), self.size) });
        bytes
    }

    fn attached(&self, work: impl FnOnce(*mut u8)) {
        // SAFETY: the kernel maps the segment where nothing else is.
        let address = unsafe { libc::shmat(self.id, ptr::null(), 0) };
        assert_ne!(address.addr(), usize::MAX);
        work(address.cast());
        // SAFETY: the address is what shmat returned, and nobody uses it any more.
        assert_eq!(unsafe { libc::shmdt(address) }, 0);
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        remove_segment(self.id);
    }
}
