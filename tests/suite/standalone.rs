//! The listener (`--listen`) and the sender (`--to`) as programs of their own, which share nothing
//! but a path.

use crate::support::terminal::Terminal;
use crate::support::told::*;
use crate::support::tracer::{Point, Side, can_trace, freeze};
use crate::support::*;

#[test]
fn a_listener_and_a_sender_each_print_their_lines_of_the_transcript() {
    let longest = "x".repeat(LONGEST);
    for (option, message, shown) in [
        ("--color=always", HELLO, HELLO),
        ("--color=never", HELLO, HELLO),
        ("--color=always", "", ""),
        ("--color=always", &longest, &longest),
        ("--color=always", "日本 🦀", "日本 🦀"),
        ("--color=always", "\x1b[2J\n", r"\x1b[2J\n"),
    ] {
        let scratch = Scratch::new();
        let coloured = |text: String| if option == "--color=never" { plain(&text) } else { text };
        let listener = scratch.listen(&[option]);
        let pid = listener.pid();
        // Nothing more until there is a message, and nothing in the kernel either.
        assert_eq!(listener.printed(), coloured(registered(pid)));
        assert_eq!(scratch.segments(), []);
        let sender = Program::start(scratch.sender(pid, &[option], message));
        assert_eq!(sender.finish_well(), coloured(sent(message.len(), shown)));
        assert_eq!(listener.finish_well(), coloured(received(pid, shown)));
    }
}

#[test]
fn put_together_their_lines_are_the_whole_transcript() {
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // Nobody forks here.
    let whole = transcript(42, 12, HELLO).replace("# Forking...\n", "");
    assert_eq!(sorted(whole), sorted(sent(12, HELLO) + &received(Pid::from_raw(42), HELLO)));
}

#[test]
fn a_listener_gives_up_only_if_it_is_given_a_timeout() {
    let scratch = Scratch::new();
    let without = scratch.listen(&["--explain"]);
    let with = scratch.listen(&["--timeout=0.2"]);
    let pid = with.pid();
    let finished = with.finish();
    finished.assert_failed_with(&["no message", "0.2 seconds", "--timeout"]);
    assert_eq!(finished.text(), registered(pid));
    assert_eq!(scratch.segments(), []);
    // The other one is still there when the message comes. It looks once a second: all that is told
    // as one sleep, which the signal ends.
    let pid = without.pid();
    scratch.assert_sends(pid, HELLO);
    let text = without.finish_well();
    assert_eq!(without_explanations(&text), received(pid, HELLO));
    let words = words(&text);
    let sleep = "pselect(0, [], NULL, NULL, {tv_sec=1, tv_nsec=0}, []) = -1 EINTR";
    assert!(words.contains(sleep), "{words}");
    assert_eq!(words.matches("= -1 EINTR").count(), 1, "{words}");
}

#[test]
fn bad_usage_is_refused_with_its_reason_and_the_listener_goes_on() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    let (pid, long) = (listener.pid().to_string(), "x".repeat(LONGEST + 1));
    let is_long = format!("is {} bytes long, and {LONGEST} is the limit", LONGEST + 1);
    for (arguments, named) in [
        // Options that exclude each other.
        (&["--listen", HELLO][..], "--listen"),
        (&["--listen", ""], "--listen"),
        (&["--listen", "--to", &pid], "--to"),
        (&["--listen", "--to", &pid, HELLO], "--listen"),
        (&["--to", &pid], "<MESSAGE>"),
        // Numbers that are no PID.
        (&["--to", "0", HELLO], "--to <PID>"),
        (&["--to=-1", HELLO], "--to <PID>"),
        (&["--to", "-1", HELLO], "-1"),
        (&["--to", "abc", HELLO], "--to <PID>"),
        (&["--to", "", HELLO], "--to <PID>"),
        (&["--to", "2147483648", HELLO], "--to <PID>"),
        (&["--to", &pid, &long], &is_long),
    ] {
        let finished = run(scratch.sigshm(arguments));
        assert_eq!((finished.code, finished.text()), (Some(2), ""), "{arguments:?}: {finished:#?}");
        assert!(finished.stderr.contains(named), "{finished:#?}");
        assert_eq!(scratch.segments(), [], "{arguments:?}");
    }
    scratch.assert_delivers(HELLO, listener, &[]);
}

#[test]
fn a_pid_that_does_not_exist_and_a_zombie_are_refused() {
    // More than the kernel's limit, which is 4194304.
    assert_refused(Pid::from_raw(i32::MAX), &["ESRCH", "No such process"]);
    needs!(needs_linux("a zombie"));
    let zombie = Program::start(Command::new("true"));
    wait_until("it has ended", || state(zombie.pid()) == Some('Z'));
    let named = format!("PID {} is a zombie: ", zombie.pid());
    let stderr = assert_refused(zombie.pid(), &[&named, "has not waited for it"]);
    // kill(2) finds a zombie like any other process: no call has failed.
    let mut untrue = ["failed", "ESRCH", "No such process"].into_iter();
    assert!(!untrue.any(|it| stderr.contains(it)), "{stderr}");
}

#[test]
fn a_process_without_a_handler_is_refused_is_sent_nothing_and_lives_on() {
    needs!(needs_linux("a process without a handler"));
    let block = || SigSet::from(SIGUSR1).thread_block();
    let ignore = move || block().and_then(|()| set(SIGUSR1, SigHandler::SigIgn));
    // Where it is blocked, a signal that had been sent would still be seen, pending.
    for (row, target) in [
        ("the signal would kill it", sleep(|| Ok(()))),
        ("it blocks the signal", sleep(block)),
        ("it ignores the signal", sleep(ignore)),
    ] {
        let pid = target.pid();
        assert_refused(pid, &["no handler for SIGUSR1", "SigCgt"]);
        assert!(target.is_alive() && !is_pending(pid), "{row}");
        if has_signal(pid, "SigBlk:", SIGUSR1) {
            kill(pid, SIGUSR1).unwrap();
            assert!(is_pending(pid), "{row}");
        }
    }
}

#[test]
fn somebody_elses_process_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    let theirs = |arguments: &[&str]| scratch.sigshm_as(65534, arguments);
    // For root each process may be signalled: it is the other user who may not.
    let is_theirs = |pid: &Pid| kill(*pid, None) == Err(Errno::EPERM);
    let target = match Uid::effective().is_root() {
        true => Some(listener.pid()),
        false => process_ids().into_iter().map(Pid::from_raw).find(is_theirs),
    };
    if let Some(target) = target {
        let finished = run(theirs(&["--to", &target.to_string(), HELLO]));
        let call = format!("kill({target}, 0)");
        let why = "another user's: run both as one user";
        finished.assert_failed_with(&[&call, "EPERM", if uses_linux() { why } else { "another" }]);
        assert_eq!((finished.text(), scratch.segments()), ("", vec![]));
    } else {
        not_tested("somebody else's process", "all that can be seen are ours");
    }
    assert!(!is_pending(listener.pid()));
    scratch.assert_delivers(HELLO, listener, &[]);
    // It was the process that was in the way: that user's own listener gets its message.
    let listener = Program::start(theirs(&["--listen"]));
    listener.until_printed("# Registering");
    let pid = listener.pid();
    let sender = run(theirs(&["--to", &pid.to_string(), HELLO]));
    assert_eq!(sender.outcome(), (Some(0), "", &*sent(12, HELLO)));
    assert_eq!(listener.finish_well(), received(pid, HELLO));
}

#[test]
fn explained_both_tell_of_the_same_key_segment_and_processes() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&["--explain"]);
    wait_until("it waits", || state(listener.pid()) == Some('S'));
    listener.stop();
    let sender = Program::start(scratch.sender(listener.pid(), &["--explain"], HELLO));
    let id = until_notified(&scratch, &sender, &listener).id;
    listener.go_on();
    let (from, to) = (sender.pid(), listener.pid());
    let (sent_out, taken_in) = (sender.finish_well(), listener.finish_well());

    // What the system says of the run, from outside, is what each of them says.
    let key = format!("0x{:08x}", scratch.key());
    let of_sender = [
        format!("= {key}"),
        format!("shmget({key}, 1024, IPC_CREAT|IPC_EXCL|0600) = {id}"),
        format!("kill({to}, SIGUSR1) = 0"),
        format!("{{shm_lpid={to}, shm_nattch=1, …}}"),
        format!("shmctl({id}, IPC_RMID, NULL) = 0"),
    ];
    let of_listener = [
        format!("= {key}"),
        format!("shmget({key}, 1024, 0) = {id}"),
        format!("shmat({id}, NULL, SHM_RDONLY) = 0x"),
        format!("{{shm_cpid={from}, shm_nattch=2, …}}"),
    ];
    let created = format!("shmget() = {id}");
    let events_of_sender = [&created, "copies the message in", "kill()", "removes the segment"];
    for (text, calls, events, transcript) in [
        (&sent_out, &of_sender[..], &events_of_sender, sent(12, HELLO)),
        (&taken_in, &of_listener, &LISTENERS_EVENTS, received(to, HELLO)),
    ] {
        let words = words(text);
        for call in calls {
            assert!(words.contains(call), "{call:?} is not in {words}");
        }
        let is_wide = |line: &&str| line.chars().count() > 80;
        assert_eq!(plain(text).lines().find(is_wide), None, "beyond 80 columns");
        assert_timeline(text, (from, to), events);
        // Without the explanations it is what they print anyway.
        assert_eq!(without_explanations(text), transcript);
    }

    needs!(has_documented_bytes("the bytes that are told, letter for letter"));
    let picture = "    field   at  bytes                                           as text
    id      000 01 00 00 00                                     = 1
    padding 004 00 00 00 00
    size    008 0c 00 00 00 00 00 00 00                         = 12
    text    010 48 65 6c 6c 6f 2c 20 77 6f 72 6c 64             Hello, world
    unused  01c 00 ... 996 bytes of zeros, up to 3ff
";
    let shown = plain(&taken_in);
    assert!(shown.contains(picture), "{picture} is not in {shown}");
}

#[test]
fn step_by_step_each_stops_until_enter_and_the_segment_can_be_looked_at_meanwhile() {
    let scratch = Scratch::new();
    let told = |program: &Program| without_explanations(&program.printed());
    let has_handler = |pid| has_signal(pid, "SigCgt:", SIGUSR1);
    let mut listener =
        Program::start_at(scratch.sigshm(["--listen", "--step"]), "the listener tells its PID");
    let pid = listener.pid();
    assert_eq!((told(&listener), has_handler(pid)), (String::new(), false));
    // A listener that has no handler yet is refused, and reached later.
    if uses_linux() {
        let early = run(scratch.sender(pid, &[], "too early"));
        early.assert_failed_with(&["no handler for SIGUSR1"]);
        assert_eq!((early.text(), scratch.segments()), ("", vec![]));
    }
    listener.step_to("its handler is in place");
    assert!(has_handler(pid));
    listener.enter();
    listener.until_printed("# Registering");

    // The listener is at a pipe, the sender at a terminal.
    let mut sender = Program::start_on(Terminal::new(), scratch.sender(pid, &["--step"], HELLO));
    for (stop, next, segments) in [
        (1, "the sender measures its argument", 0),
        (2, "the sender fills in the struct", 0),
        (3, "the sender creates the segment", 0),
        (4, "the sender sends the signal", 1),
    ] {
        sender.step_to(next);
        let now = (stops(&sender.printed()), scratch.segments().len());
        assert_eq!(now, (stop, segments), "before {next}");
    }
    let segment = scratch.segment();
    let status = (segment.size, segment.mode & 0o777, segment.attached);
    assert_eq!(status, (1024, 0o600, 1));
    let by = sender.pid().as_raw();
    assert_eq!((segment.creator_pid, segment.last_pid), (by, by));
    assert_eq!(told(&listener), registered(pid), "nobody has notified it");
    sender.enter();
    // The listener has a copy and has detached before it says a word. But the segment stays until
    // the sender has had its Enter.
    let detached = Segment { attached: 1, last_pid: pid.as_raw(), ..segment };
    listener.step_to("the listener, woken, tells of the signal");
    assert_eq!(scratch.segment(), detached);
    assert_eq!(told(&listener), registered(pid), "it tells after the stop");
    listener.step_to("the listener tells what it has read");
    assert_eq!(scratch.segment(), detached);
    sender.step_to("the sender removes the segment and detaches");
    assert_eq!(scratch.segment(), detached);
    assert!(!told(&sender).contains("# All done"), "it tells after the stop");
    listener.enter();
    sender.enter();
    // A terminal shows Enter as an empty line.
    let text = sender.finish_well().replace('\r', "").replace("\n\n", "\n");
    assert_eq!((stops(&text), without_explanations(&text)), (5, sent(12, HELLO)));
    assert_eq!(without_explanations(&listener.finish_well()), received(pid, HELLO));
}

#[test]
fn at_the_end_of_standard_input_both_go_on_without_stops() {
    let scratch = Scratch::new();
    // Both find the end at once.
    let listener = scratch.listen(&["--step"]);
    let pid = listener.pid();
    let sender = Program::start(scratch.sender(pid, &["--step"], HELLO));
    for (program, told) in [(sender, sent(12, HELLO)), (listener, received(pid, HELLO))] {
        let text = program.finish_well();
        assert_eq!(without_explanations(&text), told);
        assert_eq!(stops(&text), 1, "{text}");
    }
}

#[test]
fn a_signal_that_comes_before_the_listener_waits_for_it_is_in_the_timeline_too() {
    let scratch = Scratch::new();
    // The handler is in place, and what the listener waits for is Enter.
    let mut listener =
        Program::start_at(scratch.sigshm(["--listen", "--step"]), "its handler is in place");
    let pid = listener.pid();
    let sender = Program::start(scratch.sender(pid, &[], HELLO));
    let from = sender.pid();
    wait_until("the signal is sent", || {
        matches!(scratch.segments()[..], [Segment { attached: 1, .. }])
            && sender.printed().contains("text:")
            && (is_pending(pid) || state(from) == Some('S'))
    });
    listener.enter_for_ever();
    assert_eq!(sender.finish_well(), sent(12, HELLO));
    assert_timeline(&listener.finish_well(), (from, pid), &LISTENERS_EVENTS);
}

#[test]
fn a_listener_woken_early_while_the_sender_stops_has_read_the_message() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    let pid = listener.pid();
    let stepping = scratch.sender(pid, &["--step"], HELLO);
    let mut sender = Program::start_at(stepping, "the sender sends the signal");
    // The message lies there, and anybody's signal makes the listener look: the stop suggests that.
    kill(pid, SIGUSR1).unwrap();
    assert_eq!(listener.finish_well(), received(pid, HELLO));
    sender.enter_for_ever();
    assert_eq!(without_explanations(&sender.finish_well()), sent(12, HELLO));
}

#[test]
fn a_listener_prints_the_message_even_if_the_segment_was_removed_when_it_had_detached() {
    for option in ["--color=always", "--explain"] {
        let scratch = Scratch::new();
        let terminal = Terminal::new();
        let mut command = scratch.sigshm(["--listen", option]);
        terminal.becomes_stdout_of(&mut command);
        let listener = Program::start(command);
        let pid = listener.pid();
        terminal.until_shown("# Registering", 1);
        wait_until("it sleeps", || is_blocked_in(pid, libc::SYS_pselect6));
        // From now on it cannot print. All that it has to print is still to come: it has a copy.
        terminal.stop();
        scratch.assert_sends(pid, HELLO);
        assert_eq!(scratch.segments(), []);
        wait_until("it prints", || is_blocked_in_write(pid));
        let shown = || without_explanations(&terminal.shown().replace('\r', ""));
        assert_eq!(shown(), registered(pid), "it detaches before it prints");
        terminal.go_on();
        wait_until("it prints all", || shown() == received(pid, HELLO) && !listener.is_alive());
        assert_eq!(listener.finish_well(), "");
    }
}

#[test]
fn of_a_hundred_listeners_only_the_one_that_is_named_prints_the_message_each_its_own() {
    let scratch = Scratch::new();
    let mut listeners: Vec<_> = (0..100).map(|_| scratch.listen(&[])).collect();
    while !listeners.is_empty() {
        let named = listeners.remove(listeners.len() / 2);
        scratch.assert_delivers(&format!("message {}", listeners.len()), named, &[]);
        for other in listeners.iter().step_by(20) {
            assert!(other.is_alive() && !is_pending(other.pid()));
            assert_eq!(other.printed(), registered(other.pid()));
        }
    }
}

#[test]
fn two_senders_to_two_listeners_run_one_after_the_other() {
    let scratch = Scratch::new();
    let (slow, quick) = (scratch.listen(&[]), scratch.listen(&[]));
    let (slow_pid, quick_pid) = (slow.pid(), quick.pid());
    slow.stop();
    let first = Program::start(scratch.sender(slow_pid, &[], "first"));
    let segment = until_notified(&scratch, &first, &slow);
    let second = Program::start(scratch.sender(quick_pid, &[], "second"));
    // It says so, and does nothing else.
    second.until_complained("sigshm: waiting: ");
    assert_eq!(second.printed(), "");
    assert_eq!(scratch.segments(), [segment]);
    assert!(!is_pending(quick_pid));

    slow.go_on();
    assert_eq!(first.finish_well(), sent(5, "first"));
    assert_eq!(slow.finish_well(), received(slow_pid, "first"));
    let finished = second.finish();
    assert_eq!((finished.code, finished.text()), (Some(0), &*sent(6, "second")), "{finished:#?}");
    assert_eq!(quick.finish_well(), received(quick_pid, "second"));
}

#[test]
fn what_a_killed_sender_has_left_behind_is_no_message_and_the_next_one_reclaims_it() {
    for (option, is_over) in [("--timeout=1", true), ("--wait=sleep", false)] {
        let scratch = Scratch::new();
        let mut listener = scratch.listen(&[option]);
        let left = format!("segment {}", leave_behind_for(&listener, &scratch).id);
        listener.go_on();
        listener.until_complained("left behind");
        if is_over {
            let pid = listener.pid();
            let finished = listener.finish();
            assert_eq!((finished.code, finished.text()), (Some(1), &*registered(pid)));
            let lines: Vec<_> = finished.stderr.lines().collect();
            scratch.assert_noted(lines[0], &[&left]);
            let is_told = |it: &&str| lines[1].contains(it);
            let words = ["error: no message", "1 second;", "--timeout"];
            assert!(words.iter().all(is_told) && lines.len() == 2, "{lines:?}");
            // It is not a listener's to remove.
            assert_eq!(scratch.segments().len(), 1);
            listener = scratch.listen(&[]);
        }
        let pid = listener.pid();
        let sender = run(scratch.sender(pid, &[], HELLO));
        assert_eq!((sender.code, sender.text()), (Some(0), &*sent(12, HELLO)), "{sender:#?}");
        assert_eq!(sender.stderr.lines().count(), 1, "{sender:#?}");
        let is_told = sender.stderr.contains("reclaimed") && sender.stderr.contains(&left);
        assert!(is_told, "{sender:#?}");
        let finished = listener.finish();
        assert_eq!((finished.code, finished.text()), (Some(0), &*received(pid, HELLO)));
        scratch.assert_noted(&finished.stderr, if is_over { &[] } else { &["left behind"] });
    }
}

#[test]
fn a_sender_whose_listener_is_killed_says_so_at_once() {
    let scratch = Scratch::new();
    // Whether its exit status is still there or not.
    for reaped in [false, true] {
        if !reaped && !needs_linux("a listener that is a zombie") {
            continue;
        }
        let mut listener = scratch.listen(&[]);
        let pid = listener.pid();
        listener.stop();
        let sender = Program::start(scratch.sender(pid, &[], HELLO));
        until_notified(&scratch, &sender, &listener);
        let killed = Instant::now();
        kill(pid, SIGKILL).unwrap();
        if reaped {
            listener.child.wait().unwrap();
        }
        let finished = sender.finish();
        assert!(killed.elapsed() < Duration::from_secs(2));
        finished.assert_failed_with(&[&format!("PID {pid}) ended before it had read the message")]);
        assert!(!finished.text().contains("# All done"), "{finished:#?}");
        assert_eq!(scratch.segments(), []);
    }
    scratch.assert_delivers("next", scratch.listen(&[]), &[]);
}

#[test]
fn whoever_is_interrupted_dies_of_the_signal_and_a_sender_takes_its_message_along() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        listener.stop();
        let sender = Program::start(scratch.sender(listener.pid(), &[], HELLO));
        until_notified(&scratch, &sender, &listener);
        kill(sender.pid(), signal).unwrap();
        let finished = sender.finish();
        assert_eq!((finished.signal, &*finished.stderr), (Some(signal as i32), ""));
        assert_eq!(scratch.segments(), []);
        listener.go_on();
        wait_until("it has looked", || !is_pending(listener.pid()));

        let listener = scratch.listen(&[]);
        let pid = listener.pid();
        kill(pid, signal).unwrap();
        let finished = listener.finish();
        assert_eq!(finished.signal, Some(signal as i32));
        assert_eq!(finished.outcome(), (None, "", &*registered(pid)));
    }
    listener.until_complained("still listening");
    scratch.assert_delivers("next", listener, &[NO_SEGMENT]);
}

#[test]
fn a_signal_without_a_message_is_not_a_message() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    for _ in 0..10 {
        send_stray(listener.pid());
    }
    assert_eq!(listener.printed(), registered(listener.pid()));
    scratch.assert_delivers(HELLO, listener, &[NO_SEGMENT]);
}

#[test]
fn in_a_storm_of_signals_the_message_arrives_and_success_means_that_it_was_read() {
    needs!(needs_linux("a listener that has ended early, and is a zombie"));
    let scratch = Scratch::new();
    for number in 0..50 {
        let message = format!("message {number}");
        let listener = scratch.listen(&[]);
        let pid = listener.pid();
        let storm = storm_over(pid);
        let sender = run(scratch.sender(pid, &[], &message));
        // From now on there is no segment: what the listener has not read, it never will.
        assert_eq!(scratch.segments(), []);
        drop(storm);
        let sent = sent(message.len(), &message);
        assert_eq!(sender.outcome(), (Some(0), "", &*sent), "{}", listener.printed());
        let finished = listener.finish();
        assert_eq!((finished.code, finished.text()), (Some(0), &*received(pid, &message)));
        for note in finished.stderr.lines() {
            scratch.assert_noted(note, &[""]);
        }
    }
}

#[test]
fn a_storm_of_signals_does_not_prolong_a_listeners_timeout() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&["--timeout=0.5"]);
    let pid = listener.pid();
    let storm = storm_over(pid);
    let began = Instant::now();
    wait_until("it gives up", || state(pid) == Some('Z'));
    assert!(began.elapsed() < Duration::from_secs(8));
    drop(storm);
    let finished = listener.finish();
    assert_eq!((finished.code, finished.text()), (Some(1), &*registered(pid)));
    // The reason why there was no message is said once, and then the error.
    let (note, error) = finished.stderr.split_once('\n').unwrap();
    scratch.assert_noted(note, &[NO_SEGMENT]);
    assert_eq!(
        error,
        "sigshm: error: no message came within 0.5 seconds; if it is only slow, wait longer with \
         --timeout\n"
    );
}

#[test]
fn a_segment_that_holds_no_message_is_named_as_such_and_left_untouched() {
    let scratch = Scratch::new();
    let huge = usize::MAX.to_string();
    let large = format!("size is {}", LONGEST + 1);
    let rows = [
        (&*large, message_bytes(1, LONGEST + 1, HELLO.as_bytes())),
        (&huge, message_bytes(1, usize::MAX, HELLO.as_bytes())),
        ("id is 2", message_bytes(2, 12, HELLO.as_bytes())),
        ("id is -1", message_bytes(-1, 12, HELLO.as_bytes())),
        // Not behind the text, and not at the end of its room.
        ("NUL", message_bytes(1, 5, HELLO.as_bytes())),
        ("NUL", message_bytes(1, LONGEST, &[b'x'; LONGEST + 1])),
        ("there is a NUL within its size", message_bytes(1, 7, b"one\0two")),
        // As a 32-bit program writes "A", a longer text, and a text that reads as a small size.
        ("(it looks like a 32-bit program's): there is a NUL within its size", of_32_bits(b"A")),
        ("(it looks like a 32-bit program's)", of_32_bits(HELLO.as_bytes())),
        ("(it looks like a 32-bit program's)", of_32_bits(b"\x01")),
    ];
    // To a 32-bit program itself, the last three are messages.
    for (what, bytes) in &rows[..rows.len() - if cfg!(target_pointer_width = "32") { 3 } else { 0 }]
    {
        let listener = scratch.listen(&[]);
        let pid = listener.pid();
        let planted = Planted::new(&scratch, bytes);
        kill(pid, SIGUSR1).unwrap();
        let finished = listener.finish();
        finished.assert_failed_with(&["not a message", what]);
        assert_eq!(finished.stderr.contains("32-bit"), what.contains("32-bit"), "{what}");
        assert!(finished.text().starts_with(&registered(pid)));
        assert!(!finished.text().contains("# Received"), "{finished:#?}");
        let segment = scratch.segment();
        let status = (segment.id, segment.attached, segment.creator_pid);
        assert_eq!(status, (planted.id, 0, std::process::id() as i32));
        assert_eq!(&planted.bytes(), bytes, "it was written to");
    }
}

#[test]
fn an_empty_segment_is_no_message_and_stands_in_the_way_of_one() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    let pid = listener.pid();
    let planted = Planted::empty(&scratch, 1024, 0o600);
    kill(pid, SIGUSR1).unwrap();
    wait_until("the listener has looked", || {
        let now = scratch.segment();
        (now.last_pid, now.attached) == (pid.as_raw(), 0)
    });
    let named = format!("segment {}", planted.id);
    let finished = run(scratch.sender(pid, &["--timeout=0.3"], HELLO));
    finished.assert_failed_with(&[
        "EEXIST",
        &named,
        "a process has the PID of its creator",
        "ipcrm",
    ]);
    assert!(!is_pending(pid), "there was nothing to notify it of");
    assert_eq!(planted.bytes(), [0; 1024]);
    assert_eq!(listener.printed(), registered(pid));
    drop(planted);
    scratch.assert_delivers(HELLO, listener, &["it holds no message"]);
}

#[test]
fn a_stray_that_comes_before_the_sender_has_attached_is_told_so() {
    needs!(can_trace());
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    let pid = listener.pid();
    let mut sender = scratch.sender(pid, &[], HELLO);
    let frozen = freeze(&mut sender, ATTACHES).expect("it attaches");
    send_stray(pid);
    listener.until_complained("nobody is attached to it yet: still listening");
    frozen.release().finish(TIMEOUT);
    assert_eq!(listener.finish().text(), received(pid, HELLO));
}

#[test]
fn a_sender_that_is_not_alone_does_not_say_that_it_is_the_one_who_stays_attached() {
    needs!(can_trace());
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    let mut sender = scratch.sender(listener.pid(), &["--timeout=0.3"], HELLO);
    let frozen = freeze(&mut sender, ATTACHES).expect("it attaches");
    let id = scratch.segment().id;
    let attach = || Attached::new(id, SHM_RDONLY).map(mem::forget);
    let other = Helper::doing(attach).unwrap();
    let finished = frozen.release().finish(TIMEOUT);
    let cause = format!("others are attached to segment {id}: 1");
    let error =
        format!("sigshm: error: somebody else did not detach within 0.3 seconds: {cause}\n");
    assert_eq!((finished.code, finished.stderr), (Some(1), error));
    drop(other);
    scratch.assert_delivers("next", listener, &[]);
}

#[test]
fn a_listener_whose_segment_somebody_removes_while_it_looks_goes_on_listening() {
    needs!(can_trace());
    for (step, said) in [
        (calls::SYS_shmget, NO_SEGMENT),
        (calls::SYS_shmctl, "IPC_STAT, …) failed: Invalid argument (EINVAL)"),
        (calls::SYS_shmat, "NULL, SHM_RDONLY) failed: Invalid argument (EINVAL)"),
        // It is attached, so it is still there for this one.
        (calls::SYS_shmdt, "it holds no message"),
    ] {
        let scratch = Scratch::new();
        let listens = |pid: &i32| has_signal(Pid::from_raw(*pid), "SigCgt:", SIGUSR1);
        let listener = || scratch.processes().into_iter().find(listens);
        // Whose signal it is, its segment may be taken.
        let creator = Helper::start(|| {
            wait_until("it listens", || listener().is_some());
            create_segment(scratch.key(), 1024, 0o600)?;
            kill(Pid::from_raw(listener().unwrap()), SIGUSR1)
        });
        let looks = Point::Call(Side::Parent, step);
        let frozen = freeze(&mut scratch.sigshm(["--listen"]), looks).expect("it listens");
        drop(creator);
        let pid = frozen.parent();
        remove_segment(scratch.segment().id);
        let listener = frozen.release();
        wait_until("it sleeps", || is_blocked_in(pid, libc::SYS_pselect6));
        scratch.assert_sends(pid, HELLO);
        let finished = listener.finish(TIMEOUT);
        assert_eq!((finished.code, finished.text()), (Some(0), &*received(pid, HELLO)));
        scratch.assert_noted(&finished.stderr, &[said]);
    }
}

/// When a sender has created its segment, and has not attached it.
const ATTACHES: Point = Point::Call(Side::Parent, calls::SYS_shmat);
/// What the listener's timeline has.
const LISTENERS_EVENTS: [&str; 4] =
    ["registers its handler", "the handler stores it", "copies the message out", "ends"];

/// The timeline names both processes, and has these events in this order and in that of their times.
#[track_caller]
fn assert_timeline(text: &str, (sender, listener): (Pid, Pid), expected: &[&str]) {
    let rows = timeline(text);
    let heads = [0, 1].map(|row| format!("{} {}", rows[row].left, rows[row].right));
    assert_eq!(heads, ["sender listener".to_owned(), format!("PID {sender} PID {listener}")]);
    let events = events(text);
    assert!(events.is_sorted_by_key(|event| event.0), "{events:?}");
    let are_these = events.iter().zip(expected).all(|(event, it)| event.2.contains(it));
    assert!(are_these && events.len() == expected.len(), "{expected:?} is not {events:?}");
}

/// The explanations as if they had not been broken into lines.
fn words(text: &str) -> String {
    let text = explanations(text).join(" ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A sender to this process refuses, names the process and the reason, and has created nothing.
#[track_caller]
fn assert_refused(target: Pid, reasons: &[&str]) -> String {
    let scratch = Scratch::new();
    let finished = run(scratch.sender(target, &[], HELLO));
    finished.assert_failed_with(&[reasons, &[&target.to_string(), "sigshm --listen"]].concat());
    assert_eq!(finished.text(), "");
    finished.stderr
}

/// A process that does nothing, prepared by `prepare`.
fn sleep(prepare: impl FnMut() -> nix::Result<()> + Send + Sync + 'static) -> Program {
    let mut command = Command::new("sleep");
    Program::start(command.arg(TIMEOUT.as_secs().to_string()).in_child(prepare))
}

/// Waits until the sender has notified its listener, which is stopped.
#[track_caller]
fn until_notified(scratch: &Scratch, sender: &Program, listener: &Program) -> Segment {
    wait_until("the signal is sent", || {
        assert!(sender.is_alive(), "the sender has ended");
        is_pending(listener.pid())
    });
    let segment = scratch.segment();
    assert_eq!((segment.creator_pid, segment.attached), (sender.pid().as_raw(), 1));
    segment
}

/// Stops the listener, and leaves it a signal of this test and the segment of a killed sender.
/// (Signals of one kind merge: the sender's own comes to nothing.)
#[track_caller]
fn leave_behind_for(listener: &Program, scratch: &Scratch) -> Segment {
    listener.stop();
    kill(listener.pid(), SIGUSR1).unwrap();
    let sender = Program::start(scratch.sender(listener.pid(), &[], "left behind"));
    wait_until("the sender has attached its segment", || {
        assert!(sender.is_alive(), "the sender has ended");
        matches!(scratch.segments()[..], [Segment { attached: 1, .. }])
    });
    kill(sender.pid(), SIGKILL).unwrap();
    assert_eq!(sender.finish().signal, Some(libc::SIGKILL));
    scratch.segment()
}

/// The article's struct as a 32-bit program lays it out: `int; unsigned int; char[1016]`.
fn of_32_bits(text: &[u8]) -> Vec<u8> {
    let mut bytes = 1i32.to_ne_bytes().to_vec();
    bytes.extend((text.len() as u32).to_ne_bytes());
    bytes.extend(text);
    bytes.resize(1024, 0);
    bytes
}

/// Sends SIGUSR1 to a process, over and over, until it is dropped: before that PID is reaped.
#[track_caller]
fn storm_over(pid: Pid) -> Program {
    // If it is forgotten, it ends by its limit.
    let script = format!("ulimit -t {}; while kill -USR1 {pid}; do echo; done", TIMEOUT.as_secs());
    let storm = Program::start(Command::new("sh").args(["-c", &script]));
    storm.until_printed("\n\n\n");
    storm
}
