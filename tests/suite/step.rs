//! `--step` stops before each step until Enter. What a stop says is what the system shows just
//! then, and whatever happens there in a classroom (a signal from a second terminal, Ctrl-C,
//! Ctrl-D, one process killed), the run stays as it should be.

use std::collections::HashSet;

use nix::sys::termios::{InputFlags, LocalFlags, SpecialCharacterIndices, Termios, cfmakeraw};

use crate::support::terminal::Terminal;
use crate::support::told::*;
use crate::support::*;

/// What each stop is before, in the order of the story.
const STOPS: [&str; 10] = [
    "measures its argument",
    "fills in the struct",
    "forks",
    "registers its handler",
    "handler is in place",
    "creates the segment",
    "sends the signal",
    "tells of the signal",
    "tells what it has read",
    "removes the segment",
];
const FORKS: usize = 2;
const REGISTERS: usize = 3;
const IN_PLACE: usize = 4;
const CREATES: usize = 5;
const SENDS: usize = 6;
const TELLS: usize = 7;
const READ: usize = 8;
const REMOVES: usize = 9;
/// The stops at which there are two processes.
const OF_TWO: std::ops::RangeInclusive<usize> = REGISTERS..=READ;
/// The last line of a stop.
const WAITS: &str = "[Enter goes on]";

#[test]
fn at_each_stop_the_system_shows_what_is_promised_whatever_the_signal_is() {
    at_once([SIGUSR1, SIGUSR2, SIGTERM, SIGWINCH], |signal| {
        let scratch = Scratch::new();
        let name = &signal.as_str()[3..];
        let mut run =
            Program::start_on(Terminal::new(), stepping(&scratch).args(["--signal", name]));
        let sender = run.pid();
        let mut known = Known::of(&scratch, signal, sender);
        let mut from_sender = Vec::new();
        for number in 0..STOPS.len() {
            walk_to(&mut run, number);
            let text = run.printed();
            let case = format!("{signal}, stop {number}: {text}");
            // Nothing is made before it is told, not even the second process. In the end it is
            // reaped, and the segment is still there.
            let children = children(sender);
            assert_eq!(children.len(), usize::from(OF_TWO.contains(&number)), "{case}");
            let segments = scratch.segments();
            assert_eq!(segments.len(), usize::from(number >= SENDS), "{case}");
            known.listener = known.listener.or(children.first().copied());
            known.segment = segments.first().map(|it| it.id);
            known.assert_true(&text);
            let Some(listener) = known.listener else {
                // Other signals mean what they always do, until the fork.
                assert_eq!(
                    has_signal(sender, "SigBlk:", signal),
                    name.starts_with("USR"),
                    "{case}"
                );
                continue;
            };
            if number < REMOVES {
                assert_eq!(has_signal(listener, "SigCgt:", signal), number > REGISTERS, "{case}");
            }
            if [REGISTERS, CREATES, SENDS].contains(&number) {
                assert_suggests(&text, &format!("kill -{name} {listener}"));
            }
            if number == CREATES {
                assert_eq!(listener_in(&text), listener.as_raw());
            }
            let Some(id) = known.segment else { continue };
            // The listener has taken a copy and detached before it stops.
            let last = if number == SENDS { sender } else { listener };
            let it = &segments[0];
            assert_eq!((it.mode, it.size, it.attached), (0o600, 1024, 1), "{case}");
            assert_eq!([it.creator_pid, it.last_pid], [sender, last].map(Pid::as_raw), "{case}");
            assert_eq!([it.owner, it.creator], [Uid::effective().as_raw(); 2], "{case}");
            let mut calls = Vec::new();
            if number == SENDS {
                from_sender = mappings(sender, id);
                let [(address, permissions)] = &from_sender[..] else { panic!("{case}") };
                assert!(permissions.starts_with("rw"), "{permissions}");
                let key = format!("0x{:08x}", scratch.key());
                calls.extend([
                    format!(", 1) = {key}"),
                    format!("shmget({key}, 1024, IPC_CREAT|IPC_EXCL|0600) = {id}"),
                    format!("shmat({id}, NULL, 0) = 0x{address:x}"),
                ]);
                assert_suggests(&text, &format!("grep SYSV /proc/{sender}/maps"));
            } else if number < REMOVES {
                calls.push(format!("listener shmat({id}, NULL, SHM_RDONLY) = 0x"));
                calls.push("listener shmdt(0x".into());
            }
            // A call with a long path has two lines.
            let told = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for call in calls {
                assert!(told.contains(&call), "{call:?} is not in {case}");
            }
            if number < REMOVES {
                assert_eq!(mappings(sender, id), from_sender, "{case}");
                assert_eq!(mappings(listener, id), [], "{case}");
            } else {
                assert!(is_gone(listener), "{case}");
            }
        }
        run.enter();
        assert_stopped_and_delivered(run, signal, STOPS.len());
        assert_eq!(scratch.segments(), []);
    });
}

#[test]
fn at_each_stop_of_two_programs_the_system_shows_what_is_promised() {
    let rows = [(false, SIGUSR1), (true, SIGUSR1), (false, SIGINT), (true, SIGCHLD)];
    at_once(rows, |(is_left, signal)| {
        let name = &signal.as_str()[3..];
        let scratch = Scratch::new();
        let options = ["--step", "--color=never", "--signal", name];
        let mut listener = Program::start_stepping(scratch.sigshm(["--listen"]).args(options));
        let mut known = Known::of(&scratch, signal, Pid::from_raw(0));
        known.listener = Some(listener.pid());
        known.left = is_left.then(|| leave_behind(&scratch).id);
        for next in [REGISTERS, IN_PLACE] {
            listener.step_to(STOPS[next]);
            known.assert_true(&listener.printed());
        }
        listener.enter();
        listener.until_printed("# Registering");
        let mut sender = Program::start_stepping(scratch.sender(listener.pid(), &options, "hi"));
        known.sender = sender.pid();
        for next in [0, 1, CREATES, SENDS] {
            sender.step_to(STOPS[next]);
            if next == SENDS {
                known.segment = Some(scratch.segments()[0].id);
                known.left = None;
            }
            known.assert_true(&sender.printed());
            if next >= CREATES {
                assert_suggests(&sender.printed(), &format!("kill -{name} {}", listener.pid()));
            }
        }
        // What is suggested there: the message lies there, so the listener takes it.
        send_stray_of(signal, listener.pid());
        for next in [TELLS, READ] {
            listener.step_to(STOPS[next]);
            known.assert_true(&listener.printed());
        }
        sender.step_to(STOPS[REMOVES]);
        known.assert_true(&sender.printed());
        sender.enter();
        listener.enter();
        let (sent_out, taken_in) = (sender.finish(), listener.finish());
        assert_eq!((sent_out.code, taken_in.code), (Some(0), Some(0)));
        assert!(taken_in.text().contains("# Received: hi"));
    });
}

#[test]
fn at_each_stop_a_process_has_told_all_that_it_did_before_and_each_call_is_told_once() {
    let scratch = Scratch::new();
    let whole = run(scratch.sigshm(["--explain", "--color", "never", HELLO]));
    let mut run = Program::start_stepping(stepping(&scratch));
    // Whether the listener has to wait, and how, differs from run to run.
    let names_told = |text: &str, who| -> Vec<String> {
        let names = names_told(text, who).into_iter();
        names.filter(|name| who == "sender" || !WAIT.contains(&&**name)).collect()
    };
    // What each process has told when it stands at a stop. The result of the call that lets the
    // other one go (fork, ready, kill) it tells when it speaks again.
    for (number, sender, listener) in [
        (0, "flock", None),
        (FORKS, "flock", None),
        (REGISTERS, "flock", Some("fork")),
        (IN_PLACE, "flock", Some("sigaction")),
        (CREATES, "read", Some("sigaction")),
        (SENDS, "shmctl", Some("sigaction")),
        (TELLS, "shmctl", Some("shmdt")),
        (READ, "shmctl", Some("shmdt")),
        (REMOVES, "waitpid", Some("shmdt")),
    ] {
        walk_to(&mut run, number);
        let text = run.printed();
        for (who, expected) in [("sender", Some(sender)), ("listener", listener)] {
            let names = names_told(&text, who);
            assert_eq!(names.last().map(String::as_str), expected, "stop {number}: {text}");
            assert!(names_told(whole.text(), who).starts_with(&names), "stop {number}: {text}");
        }
    }
    run.enter();
    let text = assert_stopped_and_delivered(run, SIGUSR1, STOPS.len());
    for who in ["sender", "listener"] {
        assert_eq!(names_told(&text, who), names_told(whole.text(), who), "{who}");
    }
    // Whenever it was told: the timeline has it in the order in which it happened.
    let [steps, all] = [&text, whole.text()].map(|text| {
        // (When the listener spins is a matter of chance.)
        let events = events(text).into_iter().filter(|it| !it.2.starts_with("spins "));
        let digitless = |text: String| text.replace(|it: char| it.is_ascii_digit(), "");
        events.map(|it| (it.1, digitless(it.2), digitless(it.3))).collect::<Vec<_>>()
    });
    assert_eq!(steps, all);
}

#[test]
fn whatever_is_shown_after_an_enter_fits_a_screen_of_24_lines_and_80_columns() {
    let scratch = Scratch::new();
    // With a longer path than this, a call may take one more line.
    let start = |options: &[&str]| {
        let mut command = sigshm();
        command.args(["--step", "--color=never"]).args(options).current_dir(scratch.dir());
        Program::start_on(Terminal::new(), command)
    };
    let mut screens = Vec::new();
    for (options, stops) in [
        (&["--wait=spin"][..], 10),
        (&["--wait=sleep"], 10),
        (&["--signal=VTALRM"], 10),
        (&["--signal=TSTP"], 10),
        (&["--via=socket"], 6),
    ] {
        let mut run = start(&[options, &[HELLO]].concat());
        for stop in 1..=stops {
            run.terminal().until_shown(WAITS, stop);
            run.enter();
        }
        screens.push((format!("{options:?}"), run.finish_well(), stops));
    }
    for (wait, signal) in [("spin", "VTALRM"), ("sleep", "USR1")] {
        let (wait, signal) = (format!("--wait={wait}"), format!("--signal={signal}"));
        let mut listener = start(&["--listen", &wait, &signal]);
        for stop in 1..=2 {
            listener.terminal().until_shown(WAITS, stop);
            listener.enter();
        }
        listener.until_printed("# Registering");
        let mut sender = start(&["--to", &listener.pid().to_string(), &signal, HELLO]);
        for stop in 1..=4 {
            sender.terminal().until_shown(WAITS, stop);
            sender.enter();
        }
        for stop in 3..=4 {
            listener.terminal().until_shown(WAITS, stop);
            listener.enter();
        }
        sender.terminal().until_shown(WAITS, 5);
        sender.enter();
        screens.push((format!("--listen {wait}"), listener.finish_well(), 4));
        screens.push((format!("--to, {signal}"), sender.finish_well(), 5));
    }
    for (case, text, stops) in screens {
        // Enter is an empty line. Before the first stop the command stands there.
        let text = format!("\n{}", text.replace('\r', ""));
        let screens: Vec<&str> = text.split_inclusive(&format!("{WAITS}\n")).collect();
        assert_eq!(screens.len(), stops + 1, "{case}: {text}");
        for screen in screens {
            let is_wide = |line: &str| line.chars().count() > 80;
            assert!(!screen.lines().any(is_wide), "{case}: {screen}");
            let lines = screen.lines().count();
            assert!(lines <= 24, "{case}: {lines} lines: {screen}");
        }
    }
}

#[test]
fn each_process_names_each_manual_page_once_where_it_first_tells_of_such_a_call() {
    let scratch = Scratch::new();
    let through_a_socket = scratch.via_socket(["--step", "--color", "never", HELLO]);
    let to_end = |command| Program::start_with_enters(command).finish_well();
    let mut texts = vec![to_end(stepping(&scratch)), to_end(through_a_socket)];
    let listener = scratch.sigshm(["--step", "--color", "never", "--listen"]);
    let listener = Program::start_with_enters(listener);
    listener.until_printed("# Registering");
    let mut sender = stepping(&scratch);
    sender.args(["--to", &listener.pid().to_string()]);
    texts.push(to_end(sender));
    texts.push(listener.finish_well());
    for text in &texts {
        let told = told_pages(text);
        for who in ["sender", "listener"] {
            // What was named before the fork is above the lines of both.
            let before = told.iter().take_while(|it| it.who != who);
            let mut seen: HashSet<_> = before.filter_map(|it| it.named.as_ref()).collect();
            for call in told.iter().filter(|call| call.who == who) {
                let is_first = call.page.as_ref().is_some_and(|page| seen.insert(page));
                let expected = call.page.clone().filter(|_| is_first);
                assert_eq!(call.named, expected, "{call:?} in {text}");
            }
        }
    }
    // Each names its own: what the other one has named since the fork is not left out.
    let told = told_pages(&texts[0]);
    for page in ["ftok(3)", "shmget(2)", "shmat(2)", "shmctl(2)", "shmdt(2)"] {
        let names = |who| told.iter().any(|it| it.who == who && it.named.as_deref() == Some(page));
        assert!(names("sender") && names("listener"), "{page}: {}", texts[0]);
    }
}

#[test]
fn a_stray_sigusr1_at_a_stop_changes_nothing() {
    at_once([REGISTERS, IN_PLACE, CREATES, TELLS, READ], |number| {
        let scratch = Scratch::new();
        let (mut run, listener) = on_terminal_at(&scratch, number);
        send_stray_at(number, listener.unwrap());
        if number < CREATES {
            // It has been looked at before the message is there.
            walk_to(&mut run, CREATES);
            until_sleeps(listener.unwrap());
        }
        walk_to(&mut run, REMOVES);
        run.enter();
        let text = assert_stopped_and_delivered(run, SIGUSR1, STOPS.len());
        let said = text.matches("* A signal, but no message: ").count();
        assert_eq!(said, usize::from(number <= CREATES), "stop {number}: {text}");
    });
}

#[test]
fn stray_sigusr1s_at_all_stops_of_the_same_run_change_nothing() {
    let scratch = Scratch::new();
    let (mut run, _) = on_terminal_at(&scratch, 0);
    for number in 0..STOPS.len() {
        walk_to(&mut run, number);
        // The sender has it blocked from the beginning, and never lets it in.
        kill(run.pid(), SIGUSR1).unwrap();
        if OF_TWO.contains(&number) && number != SENDS {
            send_stray_at(number, children(run.pid())[0]);
        }
    }
    run.enter();
    let text = assert_stopped_and_delivered(run, SIGUSR1, STOPS.len());
    // At two stops it stayed pending, and the two became one.
    assert!(text.contains("* A signal, but no message: "), "{text}");
    assert!(text.contains("with the same result: 1."), "{text}");
}

#[test]
fn a_stray_sigusr1_when_the_message_lies_there_makes_the_listener_take_it_without_stops() {
    let scratch = Scratch::new();
    let (mut run, listener) = on_terminal_at(&scratch, SENDS);
    let listener = listener.unwrap();
    type_kill(listener);
    wait_until("the listener has ended", || is_gone(listener));
    // The sender's stop ends with the listener, without Enter. Its next one is its own.
    assert_stands_at(&run, REMOVES, SENDS + 1);
    assert!(run.printed().contains("# Received: Hello, world\r\n"));
    run.enter();
    let text = assert_stopped_and_delivered(run, SIGUSR1, SENDS + 2);
    // Its signal came too late for anybody, and that did no harm.
    assert!(text.contains(&format!("kill({listener}, SIGUSR1) = 0")), "{text}");
}

#[test]
fn ctrl_c_at_any_stop_ends_both_processes_and_leaves_nothing() {
    at_once(0..STOPS.len(), |number| {
        let scratch = Scratch::new();
        let (mut run, listener) = on_terminal_at(&scratch, number);
        run.press("\x03");
        let finished = run.finish();
        assert_eq!(finished.signal, Some(libc::SIGINT), "stop {number}: {finished:#?}");
        // No word more than what the terminal says itself.
        let last = format!("{WAITS}\r\n^C");
        assert!(finished.text().ends_with(&last), "stop {number}: {finished:#?}");
        assert!(listener.is_none_or(is_gone), "stop {number}");
    });
}

type Set = fn(&mut Termios);

/// How a terminal may be set: the words of stty(1), and what they change.
const SETTINGS: [(&str, Set); 9] = [
    ("sane", |_| {}),
    ("-icrnl", |it| it.input_flags.remove(InputFlags::ICRNL)),
    ("igncr", |it| it.input_flags.insert(InputFlags::IGNCR)),
    ("inlcr", |it| it.input_flags.insert(InputFlags::INLCR)),
    ("-isig", |it| it.local_flags.remove(LocalFlags::ISIG)),
    ("-icrnl -icanon", |it| {
        it.input_flags.remove(InputFlags::ICRNL);
        it.local_flags.remove(LocalFlags::ICANON);
    }),
    ("-icrnl -isig", |it| {
        it.input_flags.remove(InputFlags::ICRNL);
        it.local_flags.remove(LocalFlags::ISIG);
    }),
    ("raw", cfmakeraw),
    ("raw min 5", |it| {
        cfmakeraw(it);
        it.control_chars[SpecialCharacterIndices::VMIN as usize] = 5;
    }),
];

/// A shell at a terminal that is set so, and in it a run, which comes to the stop with this number:
/// each Enter is this key. Also how the terminal was set before the run.
#[track_caller]
fn in_shell_at(scratch: &Scratch, set: Set, number: usize, enter: &str) -> (Program, Termios) {
    let terminal = Terminal::new();
    terminal.set(|it| {
        // Without an echo, all that is shown is the program's.
        it.local_flags.remove(LocalFlags::ECHO);
        set(it);
    });
    let before = terminal.settings();
    let program = stepping(scratch);
    let mut shell = Command::new("sh");
    // It is interrupted too, and goes on. Its own end would reset the terminal.
    shell.args(["-c", "trap : INT; \"$@\"; echo \"sh: $?\"; exec sleep 600", "sh"]);
    shell.arg(program.get_program()).args(program.get_args()).env_remove("NO_COLOR");
    with_default_signals(&mut shell);
    let mut run = Program::start_on(terminal, shell);
    for stops in 1..=number {
        run.terminal().until_shown(WAITS, stops);
        run.press(enter);
    }
    run.terminal().until_shown(WAITS, number + 1);
    (run, before)
}

/// Waits for the end of both processes. What was shown, and the exit status.
#[track_caller]
fn end_in_shell(run: &Program, scratch: &Scratch) -> (String, String) {
    run.until_printed("sh: ");
    wait_until("the status is shown", || run.printed().ends_with('\n'));
    wait_until("only the shell is left", || scratch.processes().is_empty());
    let shown = run.printed().replace('\r', "");
    let (text, status) = shown.split_once("sh: ").unwrap();
    (text.to_owned(), status.trim().to_owned())
}

#[test]
fn enter_goes_on_and_the_interrupt_character_ends_the_run_however_the_terminal_is_set() {
    at_once(SETTINGS, |(name, set)| {
        for enter in ["\r", "\n"] {
            let case = format!("{name}, {enter:?}");
            let scratch = Scratch::new();
            let (mut run, before) = in_shell_at(&scratch, set, REMOVES, enter);
            run.press(enter);
            let (text, status) = end_in_shell(&run, &scratch);
            assert_eq!(status, "0", "{case}: {text}");
            assert_is_transcript(&text, SIGUSR1, STOPS.len());
            assert_eq!(run.terminal().settings(), before, "{case}");
        }
        // Alone, and then each of the two while the other one waits for it.
        for number in [0, IN_PLACE, SENDS, READ] {
            let scratch = Scratch::new();
            let (mut run, _) = in_shell_at(&scratch, set, number, "\r");
            run.press("\x03");
            let (text, status) = end_in_shell(&run, &scratch);
            assert_eq!(status, "130", "{name}, stop {number}: {text}");
            // Not a word more.
            assert!(text.trim_end().ends_with(WAITS), "{name}, stop {number}: {text}");
        }
    });
}

#[test]
fn enter_goes_on_although_a_shell_has_set_the_terminal_anew_during_a_stop() {
    let scratch = Scratch::new();
    let (_, unset) = SETTINGS[1];
    let (mut run, _) = in_shell_at(&scratch, unset, 1, "\r");
    // As after Ctrl-Z and fg.
    run.terminal().set(unset);
    wait_until("it is set for Enter again", || {
        run.terminal().settings().input_flags.contains(InputFlags::ICRNL)
    });
    run.press("\r");
    run.terminal().until_shown(WAITS, 3);
}

#[test]
fn without_standard_input_it_does_not_wait() {
    let scratch = Scratch::new();
    assert_stopped_and_delivered(Program::start(stepping(&scratch)), SIGUSR1, 1);
    let coloured = run(scratch.sigshm(["--step", HELLO]));
    let expected = transcript(listener_in(coloured.text()), 12, HELLO);
    assert_eq!(without_explanations(coloured.text()), expected);
}

#[test]
fn a_pipe_gives_as_many_enters_as_it_has_lines() {
    // At the end of fewer lines it stops once more to find that there are none.
    at_once(0..=STOPS.len() + 2, |lines| {
        let scratch = Scratch::new();
        for line in ["\n", "next, please\n"] {
            let mut run = Program::start_stepping(stepping(&scratch));
            run.press(&line.repeat(lines));
            run.enter_for_ever();
            assert_stopped_and_delivered(run, SIGUSR1, STOPS.len().min(lines + 1));
        }
    });
}

#[test]
fn the_end_of_input_at_any_stop_lets_the_run_go_on_without_stopping() {
    // A terminal tells it once, to the one that stands there. The other one must not stop either.
    at_once(0..STOPS.len(), |number| {
        let scratch = Scratch::new();
        let (mut by_ctrl_d, _) = on_terminal_at(&scratch, number);
        by_ctrl_d.press("\x04");
        assert_stopped_and_delivered(by_ctrl_d, SIGUSR1, number + 1);
        let mut by_a_closed_pipe = Program::start_stepping(stepping(&scratch));
        walk_to(&mut by_a_closed_pipe, number);
        by_a_closed_pipe.enter_for_ever();
        assert_stopped_and_delivered(by_a_closed_pipe, SIGUSR1, number + 1);
    });
}

#[test]
fn what_is_typed_without_enter_does_not_go_on() {
    let scratch = Scratch::new();
    let mut run = Program::start_stepping(stepping(&scratch));
    walk_to(&mut run, SENDS);
    run.press("not yet");
    let pipe = run.child.stdin.as_ref().unwrap().as_raw_fd();
    wait_until("what was typed is read", || {
        let mut unread = 0;
        // SAFETY: FIONREAD writes one number to where it is told, and `unread` is there for it.
        let done = unsafe { libc::ioctl(pipe, libc::FIONREAD, &raw mut unread) };
        (done, unread) == (0, 0)
    });
    wait_until("the sender sleeps again", || state(run.pid()) == Some('S'));
    assert_eq!(scratch.segment().attached, 1, "the listener has been signalled");
    walk_to(&mut run, TELLS);
    run.enter_for_ever();
    assert_stopped_and_delivered(run, SIGUSR1, TELLS + 1);
}

#[test]
fn timeouts_do_not_apply_while_a_class_looks() {
    // That nothing happens cannot be waited for, so each is held for several times the timeout.
    at_once(OF_TWO, |number| {
        let scratch = Scratch::new();
        let mut run = Program::start_stepping(stepping(&scratch).arg("--timeout=0.05"));
        walk_to(&mut run, number);
        thread::sleep(Duration::from_millis(300));
        walk_to(&mut run, REMOVES);
        run.enter();
        assert_stopped_and_delivered(run, SIGUSR1, STOPS.len());
    });
}

#[test]
fn when_one_of_two_is_killed_at_a_stop_the_other_ends_by_itself_whoever_stands_there() {
    let rows = ["sender", "listener"].map(|killed| OF_TWO.map(move |number| (number, killed)));
    at_once(rows.into_iter().flatten(), |(number, killed)| {
        let scratch = Scratch::new();
        let mut stepped = Program::start_stepping(stepping(&scratch));
        walk_to(&mut stepped, number);
        let (sender, listener) = (stepped.pid(), children(stepped.pid())[0]);
        let both = [sender, listener];
        let [victim, survivor] = if killed == "sender" { both } else { [listener, sender] };
        let case = format!("the {killed} is killed before {:?}", STOPS[number]);
        kill(victim, SIGKILL).unwrap();
        let since = Instant::now();
        wait_until(&case, || matches!(state(survivor), None | Some('Z')));
        let took = since.elapsed();
        let finished = stepped.finish();
        let case = format!("{case}: {finished:#?}");
        // Within two seconds, and without Enter, which never comes.
        assert!(took < Duration::from_secs(2), "{took:?}, {case}");
        if killed == "sender" {
            // The listener is killed with its parent.
            assert_eq!((finished.signal, &*finished.stderr), (Some(libc::SIGKILL), ""), "{case}");
        } else {
            finished.assert_failed_with(&[&format!("PID {victim}")]);
            assert!(finished.stderr.starts_with("sigshm: error: "), "{case}");
            assert!(!finished.text().contains("# All done"), "{case}");
            scratch.assert_nothing_left();
        }
        // What the killed one could not clean up is gone after the next run.
        run(scratch.sigshm([HELLO])).assert_delivered(12, HELLO);
    });
}

/// The attachments of this segment: addresses and permissions. (Its id is listed as the inode.)
fn mappings(pid: Pid, id: i32) -> Vec<(u64, String)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let columns = maps.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_it = |it: &Vec<&str>| it.len() > 5 && it[5].contains("/SYSV") && it[4] == id.to_string();
    let address = |it: &str| u64::from_str_radix(it.split('-').next().unwrap(), 16).unwrap();
    columns.filter(is_it).map(|it| (address(it[0]), it[1].to_owned())).collect()
}

/// What there is when the sender or the listener stops.
struct Known {
    signal: Signal,
    key: i32,
    sender: Pid,
    listener: Option<Pid>,
    segment: Option<i32>,
    /// What a dead run has left at the key.
    left: Option<i32>,
}

impl Known {
    fn of(scratch: &Scratch, signal: Signal, sender: Pid) -> Self {
        Self { signal, key: scratch.key(), sender, listener: None, segment: None, left: None }
    }

    /// What the last stop in the text says is true now, and its commands have the real numbers.
    #[track_caller]
    fn assert_true(&self, text: &str) {
        let suggestions = suggestions(text);
        assert!(!suggestions.is_empty(), "nothing to type: {text}");
        let [sender, listener] = [Some(self.sender), self.listener].map(|it| it.map(Pid::as_raw));
        let is_real = |number| [sender, listener, self.segment].contains(&Some(number));
        for (command, shows) in suggestions {
            // The 1 of -USR1 is no number, since it follows a letter.
            let words = command.split(|it: char| !it.is_ascii_alphanumeric());
            let mut numbers = words.filter_map(|word| word.parse().ok());
            assert!(numbers.all(is_real), "{command:?}");
            // What a signal does is another test's.
            if !command.starts_with("kill ") {
                self.assert_shows(&command, &shows);
            }
        }
    }

    /// Types the command, and compares what it shows with what it is said to show.
    #[track_caller]
    fn assert_shows(&self, command: &str, shows: &str) {
        let Some(typed) = typed(command) else { return };
        let text = typed.text();
        let rows: Vec<Vec<_>> = text.lines().map(|it| it.split_whitespace().collect()).collect();
        let has = |what: &str| rows.iter().flatten().any(|word| *word == what);
        let sender = self.sender.to_string();
        let listener = self.listener.map(|it| it.to_string()).unwrap_or_default();
        let rows_of = |pid: &str| rows.iter().filter(|row| row.first() == Some(&pid)).count();
        let is_caught = || {
            let set = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            u64::from_str_radix(set.unwrap().trim(), 16).unwrap() & bit(self.signal) != 0
        };
        let key = format!("{:08x}", self.key);
        let bit = format!("bit {:#x}", bit(self.signal));
        let (what, detail) = shows.split_once(": ").unwrap_or((shows, ""));
        let is_true = match (what, detail) {
            ("the segments there are", "none of this run")
            | ("still no segment of this run", "") => {
                // Only what a dead run has left may be at the key.
                let left = self.left.map_or("nothing".to_owned(), |id| id.to_string());
                let mut at_key = text.lines().filter(|line| line.contains(&format!("0x{key}")));
                text.contains("Segments") && at_key.all(|line| line.contains(&left))
            }
            ("FLOCK", _) => has("FLOCK") && has(&sender),
            ("one process, for now", "") => rows_of(&sender) == 1,
            ("two now, one of them the parent of the other", "") => {
                rows_of(&sender) == 1
                    && rows.iter().any(|row| row.starts_with(&[&listener, &sender]))
            }
            ("nothing", "a child that has been reaped is no process any more") => {
                rows_of(&listener) == 0
            }
            ("where in the sender's memory", "") => rows.len() == 1 && text.contains(&key),
            ("nattch=1", _) => has("nattch=1"),
            ("lpid", _) => has(&format!("lpid={listener}")) && has("nattch=1"),
            (set, "the handler is there") => set == format!("SigCgt has {bit}") && is_caught(),
            (set, said) if set == format!("SigCgt lacks {bit}") => {
                said == format!("there is no handler for {} yet", self.signal) && !is_caught()
            }
            ("0", "there is no shared memory in the sender yet") => text == "0\n",
            _ => panic!("nobody has looked whether this is true: {shows:?}"),
        };
        assert!(is_true, "{shows:?} is not what {command:?} shows: {text}");
    }
}

/// The last stop in the text suggests this command.
#[track_caller]
fn assert_suggests(text: &str, command: &str) {
    let suggestions = suggestions(text);
    assert!(suggestions.iter().any(|it| it.0 == command), "{command:?} is not in {suggestions:?}");
}

fn stepping(scratch: &Scratch) -> Command {
    scratch.sigshm(["--step", "--color", "never", HELLO])
}

/// A run at a terminal, as in a classroom, that stands at this stop; and its listener if any.
#[track_caller]
fn on_terminal_at(scratch: &Scratch, number: usize) -> (Program, Option<Pid>) {
    let mut run = Program::start_on(Terminal::new(), stepping(scratch));
    walk_to(&mut run, number);
    let listeners = children(run.pid());
    assert_eq!(listeners.len(), usize::from(OF_TWO.contains(&number)), "stop {number}");
    (run, listeners.first().copied())
}

/// Presses Enter until the run stands at the stop with this number. Each must be the next one.
#[track_caller]
fn walk_to(run: &mut Program, number: usize) {
    let here = stops(&run.printed()).saturating_sub(1);
    for (next, name) in STOPS.iter().enumerate().take(number + 1).skip(here) {
        run.step_to(name);
        assert_stands_at(run, next, next);
    }
}

/// The run comes to the stop with this number, without Enter, after so many others.
#[track_caller]
fn assert_stands_at(run: &Program, number: usize, others: usize) {
    wait_until("the whole stop is shown", || {
        let text = run.printed();
        stops(&text) > others && text.ends_with('\n')
    });
    let text = run.printed();
    let (before, stop) = text.rsplit_once("[next: ").unwrap();
    assert_eq!(before.matches("[next: ").count(), others, "{text}");
    let heading: Vec<_> = stop.split(']').next().unwrap().split_whitespace().collect();
    let (heading, next) = (heading.join(" "), STOPS[number]);
    assert!(heading.contains(next), "{next:?} is not in {heading:?}");
}

/// Waits until the process sleeps and has taken every signal before.
#[track_caller]
fn until_sleeps(pid: Pid) {
    wait_until("it sleeps", || !is_pending(pid) && state(pid) == Some('S'));
}

/// Types what a stop suggests.
#[track_caller]
fn type_kill(listener: Pid) {
    let sent = run(Command::new("sh").args(["-c", &format!("kill -USR1 {listener}")]));
    assert_eq!(sent.code, Some(0), "{sent:?}");
}

/// Sends the listener a SIGUSR1 at this stop, and waits until that has had its effect.
#[track_caller]
fn send_stray_at(number: usize, listener: Pid) {
    if number != CREATES {
        type_kill(listener);
        return assert!(is_pending(listener), "nobody waits for it, so it waits");
    }
    // Whatever came before, it has looked.
    until_sleeps(listener);
    let looks = || status(listener, "voluntary_ctxt_switches:").parse::<u64>().unwrap();
    let before = looks();
    type_kill(listener);
    wait_until("the listener has looked", || looks() > before);
    until_sleeps(listener);
}

/// The run ends without another Enter. What was printed.
#[track_caller]
fn assert_stopped_and_delivered(run: Program, signal: Signal, stops: usize) -> String {
    let text = run.finish_well();
    assert_is_transcript(&text, signal, stops);
    text
}

#[track_caller]
fn assert_is_transcript(text: &str, signal: Signal, stops: usize) {
    let expected = plain(&transcript_with(signal, listener_in(text), 12, HELLO));
    // A terminal shows Enter as an empty line.
    let text = text.replace('\r', "").replace("\n\n", "\n");
    assert_eq!(without_explanations(&text), expected);
    assert_eq!(text.matches(WAITS).count(), stops, "{text}");
    assert!(explanations(&text).iter().all(|line| line.chars().count() <= 80), "{text}");
}
