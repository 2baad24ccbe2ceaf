//! `--step` stops before each step until Enter, and whatever happens at a stop, the run stays as it
//! should be.
//!
//! What a stop says is compared with what the system shows just then. What happens there is what
//! may happen in a classroom: a signal from a second terminal, Ctrl-C, Ctrl-D, one process killed.

// The tests call what has no safe wrapper, each time with a SAFETY comment.

use std::collections::HashSet;
use std::slice;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios};
use nix::sys::termios::{SpecialCharacterIndices, cfmakeraw, tcgetattr, tcsetattr};
use rexpect::session::{PtySession, spawn_command};

use crate::support::terminal::Terminal;
use crate::support::told::*;
use crate::support::*;

/// What each stop is before, in the order of the story, and who stands there.
const STOPS: [(&str, Side); 10] = [
    ("measures its argument", Side::Sender),
    ("fills in the struct", Side::Sender),
    ("forks", Side::Sender),
    ("registers its handler", Side::Listener),
    ("handler is in place", Side::Listener),
    ("creates the segment", Side::Sender),
    ("sends the signal", Side::Sender),
    ("tells of the signal", Side::Listener),
    ("tells what it has read", Side::Listener),
    ("removes the segment", Side::Sender),
];

const FORKS: usize = 2;
const REGISTERS: usize = 3;
const IN_PLACE: usize = 4;
const CREATES: usize = 5;
const SENDS: usize = 6;
const TELLS: usize = 7;
const READ: usize = 8;
const REMOVES: usize = 9;

/// The last line of a stop.
const WAITS: &str = "[Enter goes on]";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sender,
    Listener,
}

#[test]
fn at_each_stop_the_system_shows_what_is_promised() {
    assert_shown_at_each_stop(SIGUSR1);
}

#[test]
fn at_each_stop_with_another_signal_the_system_shows_what_is_promised() {
    for signal in [SIGUSR2, SIGTERM, SIGWINCH] {
        assert_shown_at_each_stop(signal);
    }
}

#[track_caller]
fn assert_shown_at_each_stop(signal: Signal) {
    let scratch = Scratch::new();
    let name = &signal.as_str()[3..];
    let mut class = Class::start(&scratch, &["--signal", name]);
    let sender = class.sender;
    let caught = |pid| signals(pid, "SigCgt:") & bit(signal);
    let mut known =
        Known { signal, key: scratch.key(), sender, listener: None, segment: None, left: None };

    // Nothing is made before it is told, not even the second process.
    for number in 0..=FORKS {
        let stop = class.stop(number);
        assert_eq!(scratch.segments(), []);
        assert_eq!(children(sender), []);
        stop.assert_true(&known);
        // Other signals mean what they always do, until the fork.
        let is_blocked = has_signal(sender, "SigBlk:", signal);
        assert_eq!(is_blocked, name.starts_with("USR"), "blocked");
        class.enter();
    }
    let stop = class.stop(REGISTERS);
    let [listener] = children(sender)[..] else {
        panic!("{:?}", children(sender));
    };
    known.listener = Some(listener);
    stop.assert_true(&known);
    stop.assert_suggests(&format!("kill -{name} {listener}"));
    assert_eq!(caught(listener), 0, "no handler yet");
    assert_eq!(scratch.segments(), []);
    class.enter();

    let stop = class.stop(IN_PLACE);
    stop.assert_true(&known);
    assert_ne!(caught(listener), 0, "a handler");
    assert_eq!(scratch.segments(), []);
    class.enter();

    let stop = class.stop(CREATES);
    assert_eq!(listener_in(&class.text), listener.as_raw());
    stop.assert_true(&known);
    stop.assert_suggests(&format!("kill -{name} {listener}"));
    assert_eq!(scratch.segments(), []);
    class.enter();

    let stop = class.stop(SENDS);
    let [segment] = &scratch.segments()[..] else {
        panic!("{:?}", scratch.segments());
    };
    let id = segment.id;
    known.segment = Some(id);
    let expected = Segment {
        key: scratch.key(),
        id,
        mode: 0o600,
        size: 1024,
        creator_pid: sender.as_raw(),
        last_pid: sender.as_raw(),
        attached: 1,
        owner: nix::unistd::geteuid().as_raw(),
        creator: nix::unistd::geteuid().as_raw(),
    };
    assert_eq!(*segment, expected);
    let ftok = format!(", 1) = 0x{:08x}", scratch.key());
    assert!(class.text.contains(&ftok), "{ftok:?} in {}", class.text);
    let shmget = format!("shmget(0x{:08x}, 1024, IPC_CREAT|IPC_EXCL|0600) = {id}", scratch.key());
    assert!(class.text.contains(&shmget), "{shmget:?} in {}", class.text);
    let [from_sender] = &mappings(sender, id)[..] else {
        panic!("{:?}", mappings(sender, id));
    };
    assert!(from_sender.permissions.starts_with("rw"), "{from_sender:?}");
    let shmat = format!("shmat({id}, NULL, 0) = 0x{:x}", from_sender.address);
    assert!(class.text.contains(&shmat), "{shmat:?} in {}", class.text);
    assert_eq!(mappings(listener, id), [], "the listener has not looked");
    stop.assert_true(&known);
    stop.assert_suggests(&format!("grep SYSV /proc/{sender}/maps"));
    stop.assert_suggests(&format!("kill -{name} {listener}"));
    class.enter();

    // The listener has taken a copy and detached before it stops.
    let expected = Segment { last_pid: listener.as_raw(), ..expected };
    for number in [TELLS, READ] {
        let stop = class.stop(number);
        assert_eq!(scratch.segments(), slice::from_ref(&expected));
        assert_eq!(mappings(listener, id), []);
        assert_eq!(mappings(sender, id), slice::from_ref(from_sender));
        for call in [
            format!("listener  shmat({id}, NULL, SHM_RDONLY) = 0x"),
            "listener  shmdt(0x".to_owned(),
        ] {
            assert!(class.text.contains(&call), "{call:?} in {}", class.text);
        }
        stop.assert_true(&known);
        class.enter();
    }

    let stop = class.stop(REMOVES);
    assert_eq!(scratch.segments(), [expected], "still there");
    assert!(is_gone(listener), "reaped");
    stop.assert_true(&known);
    class.enter();

    let (text, status) = class.end();
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{text}");
    let expected = transcript_with(signal, listener.as_raw(), 12, "Hello, world");
    assert_eq!(without_explanations(&text.replace("\n\n", "\n")), plain(&expected));
    assert_eq!(scratch.segments(), []);
}

#[test]
fn at_each_stop_of_two_programs_the_system_shows_what_is_promised() {
    for (is_left, signal) in [(false, SIGUSR1), (true, SIGUSR1), (false, SIGINT), (true, SIGCHLD)] {
        let name = &signal.as_str()[3..];
        let scratch = Scratch::new();
        let stepping = |arguments: &[&str]| {
            let mut command = scratch.sigshm(["--step", "--color=never", "--signal", name]);
            command.args(arguments).stdin(Stdio::piped());
            Program::start(command)
        };
        let mut listener = stepping(&["--listen"]);
        let mut known = Known {
            signal,
            key: scratch.key(),
            sender: Pid::from_raw(0),
            listener: Some(listener.pid()),
            segment: None,
            left: is_left.then(|| leave_behind(&scratch).id),
        };
        for next in [REGISTERS, IN_PLACE] {
            listener.step_to(STOPS[next].0);
            Stop::read(&listener.printed()).assert_true(&known);
        }
        listener.enter();
        listener.until_printed("# Registering");

        let pid = listener.pid().to_string();
        let mut sender = stepping(&["--to", &pid, "Hello, world"]);
        known.sender = sender.pid();
        for next in [0, 1, CREATES, SENDS] {
            sender.step_to(STOPS[next].0);
            if next == SENDS {
                known.segment = Some(scratch.segments()[0].id);
                known.left = None;
            }
            let stop = Stop::read(&sender.printed());
            stop.assert_true(&known);
            if next >= CREATES {
                stop.assert_suggests(&format!("kill -{name} {pid}"));
            }
        }
        // What is suggested there: the message lies there, so the listener takes it.
        send_stray_of(signal, listener.pid());
        for next in [TELLS, READ] {
            listener.step_to(STOPS[next].0);
            Stop::read(&listener.printed()).assert_true(&known);
        }
        sender.step_to(STOPS[REMOVES].0);
        Stop::read(&sender.printed()).assert_true(&known);
        sender.enter();
        listener.enter();
        let (sent_out, taken_in) = (sender.finish(), listener.finish());
        assert_eq!((sent_out.code, taken_in.code), (Some(0), Some(0)));
        assert!(taken_in.text().contains("# Received: Hello, world"));
    }
}

#[test]
fn at_each_stop_a_process_has_told_all_that_it_did_before_and_each_call_is_told_once() {
    let scratch = Scratch::new();
    let whole = run(scratch.sigshm(["--explain", "--color", "never", "Hello, world"]));
    let mut piped = Piped::start(&scratch, &[]);
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
        piped.walk_to(number);
        let told = [("sender", Some(sender)), ("listener", listener)];
        for (who, expected) in told {
            let names = without_waits(names_told(&piped.text, who));
            let last = names.last().map(String::as_str);
            assert_eq!(last, expected, "stop {number}: {}", piped.text);
            let all = without_waits(names_told(whole.text(), who));
            assert!(all.starts_with(&names), "stop {number}: {}", piped.text);
        }
    }
    piped.enter();
    let (finished, _) = piped.end();
    assert_stopped_and_delivered(&finished, STOPS.len());
    for who in ["sender", "listener"] {
        let [told, all] =
            [finished.text(), whole.text()].map(|text| without_waits(names_told(text, who)));
        assert_eq!(told, all, "{who}");
    }
    // Whenever it was told: the timeline has it in the order in which it happened.
    let [steps, all] = [finished.text(), whole.text()].map(|text| {
        let events = events(text).into_iter();
        let what = |(_, who, what, crosses): (u64, &'static str, String, String)| {
            let digits = |text: String| text.replace(|it: char| it.is_ascii_digit(), "");
            (who, digits(what), digits(crosses))
        };
        // (When the listener spins is a matter of chance.)
        let spins = |event: &(u64, &str, String, String)| event.2.starts_with("spins ");
        let events = events.filter(|event| !spins(event));
        events.map(what).collect::<Vec<_>>()
    });
    assert_eq!(steps, all);
}

/// Whether a process has to wait, and how, differs from run to run.
fn without_waits(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !["sigprocmask", "pselect"].contains(&name.as_str()));
    names
}

#[test]
fn each_process_names_each_manual_page_once_where_it_first_tells_of_such_a_call() {
    let scratch = Scratch::new();
    let through_a_socket = scratch.via_socket(["--step", "--color", "never", "Hello, world"]);
    let mut texts = Vec::new();
    for demo in [stepping(&scratch), through_a_socket] {
        texts.push(Program::start_with_enters(demo).finish_well());
    }
    let mut listener = scratch.sigshm(["--step", "--color", "never"]);
    listener.arg("--listen");
    let listener = Program::start_with_enters(listener);
    listener.until_printed("# Registering");
    let mut sender = stepping(&scratch);
    sender.args(["--to", &listener.pid().to_string()]);
    texts.push(Program::start_with_enters(sender).finish_well());
    texts.push(listener.finish_well());

    for text in &texts {
        let told = told_pages(text);
        for who in ["sender", "listener"] {
            let first = told.iter().position(|it| it.who == who);
            let (before, own) = told.split_at(first.unwrap_or(told.len()));
            // What was named before the fork is above the lines of both.
            let named = before.iter().filter_map(|it| it.named.as_ref());
            let mut seen: HashSet<&String> = named.collect();
            for call in own.iter().filter(|call| call.who == who) {
                let is_first = call.page.as_ref().is_some_and(|page| seen.insert(page));
                let expected = call.page.clone().filter(|_| is_first);
                assert_eq!(call.named, expected, "{call:?} in {text}");
            }
        }
    }
    // Each names its own: what the other one has named since the fork is not left out.
    let of = |who: &str| {
        let told = told_pages(&texts[0]).into_iter();
        let named = told.filter(|it| it.who == who).filter_map(|it| it.named);
        named.collect::<HashSet<_>>()
    };
    let both = &of("sender") & &of("listener");
    for page in ["ftok(3)", "shmget(2)", "shmat(2)", "shmctl(2)", "shmdt(2)"] {
        assert!(both.contains(page), "{page}: {}", texts[0]);
    }
}

// A signal from a second terminal.

#[test]
fn a_stray_sigusr1_at_a_stop_changes_nothing() {
    let scratch = Scratch::new();
    for number in [REGISTERS, IN_PLACE, CREATES, TELLS, READ] {
        let mut class = Class::start(&scratch, &[]);
        class.walk_to(number);
        class.stray(number);
        class.enter();
        for number in number + 1..STOPS.len() {
            class.stop(number);
            if number == CREATES {
                // What came before has been looked at before the message is there.
                class.until_listener_sleeps();
            }
            class.enter();
        }
        let said = class.text.matches("* A signal, but no message: ").count();
        let expected = usize::from(number <= CREATES);
        assert_eq!(said, expected, "{number}: {}", class.text);
        class.assert_delivered(STOPS.len());
        scratch.assert_nothing_left();
    }
}

#[test]
fn stray_sigusr1s_at_all_stops_of_the_same_run_change_nothing() {
    let scratch = Scratch::new();
    let mut class = Class::start(&scratch, &[]);
    for number in 0..STOPS.len() {
        class.stop(number);
        // The sender has it blocked from the beginning, and never lets it in.
        kill(class.sender, SIGUSR1).unwrap();
        if [REGISTERS, IN_PLACE, CREATES, TELLS, READ].contains(&number) {
            class.stray(number);
        }
        class.enter();
    }
    // At two stops it stayed pending, and the two became one.
    assert!(class.text.contains("* A signal, but no message: "), "{}", class.text);
    assert!(class.text.contains("with the same result: 1."), "{}", class.text);
    class.assert_delivered(STOPS.len());
}

#[test]
fn a_stray_sigusr1_when_the_message_lies_there_makes_the_listener_take_it_without_stops() {
    let scratch = Scratch::new();
    let mut class = Class::start(&scratch, &[]);
    class.walk_to(SENDS);
    class.stray(SENDS);
    // The sender's stop ends with the listener, without Enter. Its next one is its own.
    class.stop_after(REMOVES, SENDS + 1);
    assert!(class.text.contains("# Received: Hello, world\n"));
    class.enter();
    // Its signal came too late for anybody, and that did no harm.
    let sends = format!("kill({}, SIGUSR1) = 0", listener_in(&class.text));
    assert!(class.text.contains(&sends), "{}", class.text);
    class.assert_delivered(SENDS + 2);
}

// Ctrl-C, Ctrl-D, and the end of input.

#[test]
fn ctrl_c_at_any_stop_ends_both_processes_and_leaves_nothing() {
    let scratch = Scratch::new();
    for number in 0..STOPS.len() {
        let mut class = Class::start(&scratch, &[]);
        class.walk_to(number);
        let listener = children(class.sender);
        let lives = (REGISTERS..=READ).contains(&number);
        assert_eq!(listener.len(), usize::from(lives));
        class.session.send_control('c').unwrap();

        let (text, status) = class.end();
        assert!(matches!(status, WaitStatus::Signaled(_, SIGINT, _)), "stop {number}: {status:?}");
        // No word more than what the terminal says itself.
        let last = format!("{WAITS}\n^C");
        assert!(text.ends_with(&last), "stop {number}: {text}");
        assert!(listener.into_iter().all(is_gone), "stop {number}");
        scratch.assert_nothing_left();
    }
}

#[test]
fn ctrl_d_at_any_stop_lets_the_run_go_on_without_stopping() {
    let scratch = Scratch::new();
    // The terminal tells it once, to the one that stands there: before the fork, after it, or
    // before its end. From then on the other one must not stop either.
    for number in 0..STOPS.len() {
        let mut class = Class::start(&scratch, &[]);
        class.walk_to(number);
        class.session.send_control('d').unwrap();
        class.assert_delivered(number + 1);
        scratch.assert_nothing_left();
    }
}

/// Changes how a terminal is set.
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

/// A run on a terminal that was set before, started by a shell, whose terminal it stays.
struct Typing {
    terminal: Terminal,
    before: Termios,
    shell: Child,
}

impl Typing {
    fn start(scratch: &Scratch, set: Set) -> Self {
        let terminal = Terminal::new();
        // Without an echo, all that is shown is the program's.
        terminal.set(|it| {
            it.local_flags.remove(LocalFlags::ECHO);
            set(it);
        });
        let before = terminal.settings();
        let program = stepping(scratch);
        let mut shell = Command::new("sh");
        // It is interrupted too, and goes on. In the end it waits, since its own end would reset
        // the terminal.
        let script = "trap : INT; \"$@\"; echo \"sh: $?\"; while :; do sleep 1; done";
        shell.args(["-c", script, "sh"]).arg(program.get_program());
        shell.args(program.get_args()).env_remove("NO_COLOR");
        with_default_signals(&mut shell);
        terminal.becomes_terminal_of(&mut shell);
        let shell = shell.spawn().unwrap();
        Self { terminal, before, shell }
    }

    /// Presses this key at each stop until it stands at the one with this number.
    #[track_caller]
    fn walk_to(&mut self, number: usize, enter: &str) {
        for stops in 1..=number {
            self.terminal.until_shown(WAITS, stops);
            self.terminal.press(enter);
        }
        self.terminal.until_shown(WAITS, number + 1);
    }

    /// Waits for the end of both processes. What was shown, and the exit status.
    #[track_caller]
    fn end(&mut self, scratch: &Scratch) -> (String, String) {
        self.terminal.until_shown("sh: ", 1);
        wait_until("the status is shown", || self.terminal.shown().ends_with('\n'));
        let shell = self.shell.id() as i32;
        wait_until("only the shell is left", || scratch.processes() == [shell]);
        let shown = self.terminal.shown().replace('\r', "");
        let (text, status) = shown.split_once("sh: ").unwrap();
        (text.to_owned(), status.trim().to_owned())
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[test]
fn enter_goes_on_however_the_terminal_is_set_and_that_is_left_as_it_was() {
    let scratch = Scratch::new();
    for (name, set) in SETTINGS {
        for enter in ["\r", "\n"] {
            eprintln!("{name}, {enter:?}"); // shown if it fails
            let mut typing = Typing::start(&scratch, set);
            typing.walk_to(REMOVES, enter);
            typing.terminal.press(enter);
            let (text, status) = typing.end(&scratch);
            assert_eq!(status, "0", "{name} {enter:?}: {text}");
            assert_is_transcript(&text, STOPS.len());
            assert_eq!(typing.terminal.settings(), typing.before, "{name} {enter:?}");
            drop(typing);
            scratch.assert_nothing_left();
        }
    }
}

#[test]
fn enter_goes_on_although_a_shell_has_set_the_terminal_anew_during_a_stop() {
    let scratch = Scratch::new();
    let unset: Set = |it| it.input_flags.remove(InputFlags::ICRNL);
    let mut typing = Typing::start(&scratch, unset);
    typing.walk_to(1, "\r");
    // As after Ctrl-Z and fg.
    typing.terminal.set(unset);
    wait_until("it is set for Enter again", || {
        typing.terminal.settings().input_flags.contains(InputFlags::ICRNL)
    });
    typing.terminal.press("\r");
    typing.terminal.until_shown(WAITS, 3);
}

#[test]
fn the_interrupt_character_ends_the_run_however_the_terminal_is_set() {
    let scratch = Scratch::new();
    for (name, set) in SETTINGS {
        // Alone, and then each of the two while the other one waits for it.
        for number in [0, IN_PLACE, SENDS, READ] {
            eprintln!("{name}, stop {number}"); // shown if it fails
            let mut typing = Typing::start(&scratch, set);
            typing.walk_to(number, "\r");
            typing.terminal.press("\x03");
            let (text, status) = typing.end(&scratch);
            assert_eq!(status, "130", "{name}, stop {number}: {text}");
            // Not a word more.
            assert!(text.trim_end().ends_with(WAITS), "{name}: {text}");
            drop(typing);
            scratch.assert_nothing_left();
        }
    }
}

#[test]
fn without_standard_input_it_does_not_wait() {
    let scratch = Scratch::new();
    let finished = run(stepping(&scratch).stdin(Stdio::null()));
    assert_stopped_and_delivered(&finished, 1);

    let coloured = run(scratch.sigshm(["--step", "Hello, world"]));
    let expected = transcript(listener_in(coloured.text()), 12, "Hello, world");
    assert_eq!(without_explanations(coloured.text()), expected);
}

#[test]
fn a_pipe_gives_as_many_enters_as_it_has_lines() {
    let scratch = Scratch::new();
    // With exactly as many lines as there are stops, and with more, it stops everywhere. At the end
    // of fewer it stops once more to find that there are none.
    for lines in 0..=STOPS.len() + 2 {
        for line in ["\n", "next, please\n"] {
            let mut running = Program::start(stepping(&scratch).stdin(Stdio::piped()));
            let mut stdin = running.child.stdin.take().unwrap();
            stdin.write_all(line.repeat(lines).as_bytes()).unwrap();
            drop(stdin);
            assert_stopped_and_delivered(&running.finish(), STOPS.len().min(lines + 1));
        }
    }
}

#[test]
fn a_pipe_that_closes_at_a_stop_lets_the_run_go_on_without_stopping() {
    let scratch = Scratch::new();
    for number in 0..STOPS.len() {
        let mut piped = Piped::start(&scratch, &[]);
        piped.walk_to(number);
        drop(piped.stdin.take());
        let (finished, _) = piped.end();
        assert_stopped_and_delivered(&finished, number + 1);
    }
}

#[test]
fn what_is_typed_without_enter_does_not_go_on() {
    let scratch = Scratch::new();
    let mut piped = Piped::start(&scratch, &[]);
    piped.walk_to(SENDS);
    let stdin = piped.stdin.as_mut().unwrap();
    stdin.write_all(b"not yet").unwrap();
    // It has been read when there is nothing left in the pipe, and then the sender stands at its
    // stop as before.
    let sender = piped.running.pid();
    wait_until("what was typed is read", || unread(stdin) == 0);
    wait_until("the sender sleeps again", || state(sender) == Some('S'));
    let attached: Vec<u64> = scratch.segments().iter().map(|it| it.attached).collect();
    assert_eq!(attached, [1], "the listener has been signalled");
    piped.enter();
    piped.stop(TELLS);
    drop(piped.stdin.take());
    let (finished, _) = piped.end();
    assert_stopped_and_delivered(&finished, TELLS + 1);
}

#[test]
fn timeouts_do_not_apply_while_a_class_looks() {
    // At these, one process waits for the other, and would not for long if it had a timeout. That
    // nothing happens cannot be waited for, so each is held for several times as long, side by
    // side.
    let scratches: Vec<Scratch> = (REGISTERS..=READ).map(|_| Scratch::new()).collect();
    let mut runs: Vec<Piped> = Vec::new();
    for (scratch, number) in scratches.iter().zip(REGISTERS..) {
        let mut piped = Piped::start(scratch, &["--timeout", "0.05"]);
        piped.walk_to(number);
        runs.push(piped);
    }
    thread::sleep(Duration::from_millis(300));
    for mut piped in runs {
        piped.walk_to(REMOVES);
        piped.enter();
        let (finished, _) = piped.end();
        assert_stopped_and_delivered(&finished, STOPS.len());
    }
    for scratch in &scratches {
        scratch.assert_nothing_left();
    }
}

// One of the two is killed.

#[test]
fn when_one_is_killed_while_the_other_stands_at_a_stop_that_one_ends_by_itself() {
    // The one that stands there waits for Enter, which never comes.
    for (number, stands) in stops_of_two() {
        let killed = match stands {
            Side::Sender => Side::Listener,
            Side::Listener => Side::Sender,
        };
        assert_ends_when_killed(number, killed);
    }
}

#[test]
fn when_the_one_that_stands_at_a_stop_is_killed_the_other_ends_by_itself() {
    for (number, stands) in stops_of_two() {
        assert_ends_when_killed(number, stands);
    }
}

/// The stops at which there are two processes, and who stands there.
fn stops_of_two() -> impl Iterator<Item = (usize, Side)> {
    let stops = STOPS.iter().map(|stop| stop.1).enumerate();
    stops.filter(|(number, _)| (REGISTERS..=READ).contains(number))
}

/// Kills one of the two at a stop. The other one must end within two seconds. The sender says why;
/// the listener is killed with its parent. What the killed one could not clean up must be gone
/// after the next run.
#[track_caller]
fn assert_ends_when_killed(number: usize, killed: Side) {
    let scratch = Scratch::new();
    let mut piped = Piped::start(&scratch, &[]);
    piped.walk_to(number);
    let sender = piped.running.pid();
    let listener = children(sender)[0];
    let (victim, survivor) = match killed {
        Side::Sender => (sender, listener),
        Side::Listener => (listener, sender),
    };
    kill(victim, SIGKILL).unwrap();
    let since = Instant::now();
    // Standard output closes when both have ended. Standard input stays open until then.
    let (finished, ended) = piped.end();
    let case = format!("stop {number}, {killed:?} killed: {finished:#?}");
    assert!(ended - since < Duration::from_secs(2), "{case}");
    wait_until("the other one has ended", || is_gone(survivor) || state(survivor) == Some('Z'));

    match killed {
        Side::Sender => {
            let outcome = (finished.signal, finished.stderr.as_str());
            assert_eq!(outcome, (Some(libc::SIGKILL), ""), "{case}");
        }
        Side::Listener => {
            assert_eq!(finished.code, Some(1), "{case}");
            assert_eq!(finished.stderr.lines().count(), 1, "{case}");
            assert!(finished.stderr.starts_with("sigshm: error: "), "{case}");
            let named = format!("PID {victim}");
            assert!(finished.stderr.contains(&named), "{case}");
            assert!(!finished.text().contains("# All done"), "{case}");
            scratch.assert_nothing_left();
        }
    }
    run(scratch.sigshm(["Hello, world"])).assert_delivered(12, "Hello, world");
}

/// Whether the process sleeps and has taken every signal before.
fn sleeps(pid: Pid) -> bool {
    !is_pending(pid) && state(pid) == Some('S')
}

/// Where a segment is in a process's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    address: u64,
    permissions: String,
}

/// The attachments of this segment, which `/proc/PID/maps` lists under its key, with its identifier
/// as the inode.
fn mappings(pid: Pid, id: i32) -> Vec<Mapping> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mapping = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_it = line.contains("/SYSV") && columns[4] == id.to_string();
        let (address, _) = columns[0].split_once('-').unwrap();
        is_it.then(|| Mapping {
            address: u64::from_str_radix(address, 16).unwrap(),
            permissions: columns[1].to_owned(),
        })
    };
    maps.lines().filter_map(mapping).collect()
}

/// How many bytes are in a pipe.
fn unread(pipe: &impl std::os::fd::AsRawFd) -> libc::c_int {
    let mut unread = 0;
    // SAFETY: FIONREAD writes one number to where it is told, and `unread` is there for it.
    let done = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut unread) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    unread
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

/// What a stop says.
struct Stop {
    /// A command, and what it is said to show.
    commands: Vec<(String, String)>,
}

impl Stop {
    /// Reads the last stop in `text`, which must be the one with this number, after so many others.
    #[track_caller]
    fn last_in(text: &str, number: usize, others: usize) -> Self {
        let (before, stop) = text.rsplit_once("[next: ").expect("a stop");
        assert_eq!(before.matches("[next: ").count(), others, "{text}");
        let (next, _) = STOPS[number];
        let (heading, _) = stop.split_once("]\n").unwrap();
        let heading = heading.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(heading.contains(next), "{next:?} is not in {heading:?}");
        Self::read(text)
    }

    /// Reads the last stop in `text`.
    fn read(text: &str) -> Self {
        let (_, stop) = text.rsplit_once("[next: ").expect("a stop");
        let (_, suggestions) = stop.split_once("]\n").unwrap();
        let mut commands: Vec<(String, String)> = Vec::new();
        for line in suggestions.lines().map(str::trim) {
            if let Some(command) = line.strip_prefix("$ ") {
                commands.push((command.to_owned(), String::new()));
            } else if let Some((_, shows)) = commands.last_mut().filter(|_| line != WAITS) {
                shows.push_str(if shows.is_empty() { "" } else { " " });
                shows.push_str(line);
            }
        }
        Self { commands }
    }

    #[track_caller]
    fn assert_suggests(&self, command: &str) {
        assert!(
            self.commands.iter().any(|(other, _)| other == command),
            "{command:?} is not in {:?}",
            self.commands
        );
    }

    /// What is said is true just now, and no number is in the commands but the real ones.
    #[track_caller]
    fn assert_true(&self, known: &Known) {
        assert!(!self.commands.is_empty(), "nothing to type");
        for (command, shows) in &self.commands {
            let listener = known.listener.map(Pid::as_raw);
            let real = [Some(known.sender.as_raw()), listener, known.segment];
            // The 1 of -USR1 is no number, since it follows a letter.
            let words = command.split(|character: char| !character.is_ascii_alphanumeric());
            for number in words.filter_map(|word| word.parse::<i32>().ok()) {
                let is_real = real.contains(&Some(number));
                assert!(is_real, "{number} in {command:?}: {real:?}");
            }
            // What a signal does is another test's.
            if !command.starts_with("kill ") {
                assert_shows(command, shows, known);
            }
        }
    }
}

/// Types the command, and compares what it shows with what it is said to show.
#[track_caller]
fn assert_shows(command: &str, shows: &str, known: &Known) {
    let mut sh = Command::new("sh");
    sh.args(["-c", command]).env("LC_ALL", "C");
    let output = sh.output().unwrap();
    if output.status.code() == Some(127) && !command.starts_with("grep ") {
        not_tested(&format!("what a stop suggests: {command}"), "it is not installed");
        return;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let has = |what: &str| text.split_whitespace().any(|word| word == what);
    let lines_of = |pid: Option<Pid>| {
        let pid = pid.map(|pid| pid.to_string());
        let first = |line: &&str| line.split_whitespace().next().map(str::to_owned) == pid;
        text.lines().filter(first).count()
    };
    let set = |label: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        u64::from_str_radix(line.expect(label).trim(), 16).unwrap()
    };
    let is_caught = || set("SigCgt:") & bit(known.signal) != 0;
    let bit = format!("bit {:#x}", bit(known.signal));
    let lacks = format!("SigCgt lacks {bit}");
    let (what, detail) = shows.split_once(": ").unwrap_or((shows, ""));
    let is_true = match (what, detail) {
        ("the segments there are", "none of this run") | ("still no segment of this run", "") => {
            // Only what a dead run has left may be at the key.
            let mut at_key = text.lines().filter(|it| it.contains(&format!("0x{:08x}", known.key)));
            let is_left = |line: &str| known.left.is_some_and(|id| line.contains(&id.to_string()));
            text.contains("Segments") && at_key.all(is_left)
        }
        ("FLOCK", _) => has("FLOCK") && has(&known.sender.to_string()),
        ("one process, for now", "") => lines_of(Some(known.sender)) == 1,
        ("two now, one of them the parent of the other", "") => {
            let child = format!("{} {} ", known.listener.unwrap(), known.sender);
            let columns = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            let is_child = |line: &str| columns(line).starts_with(&child);
            lines_of(Some(known.sender)) == 1 && text.lines().any(is_child)
        }
        ("nothing", "a child that has been reaped is no process any more") => {
            lines_of(known.listener) == 0
        }
        ("where in the sender's memory", "") => {
            text.lines().count() == 1 && text.contains(&format!("{:08x}", known.key))
        }
        ("nattch=1", _) => has("nattch=1"),
        ("lpid", _) => has(&format!("lpid={}", known.listener.unwrap())) && has("nattch=1"),
        (set, "the handler is there") => set == format!("SigCgt has {bit}") && is_caught(),
        (set, said) if set == lacks => {
            said == format!("there is no handler for {} yet", known.signal) && !is_caught()
        }
        ("0", "there is no shared memory in the sender yet") => text == "0\n",
        _ => panic!("nobody has looked whether this is true: {shows:?}"),
    };
    assert!(is_true, "{shows:?} is not what {command:?} shows: {text}");
}

fn stepping(scratch: &Scratch) -> Command {
    scratch.sigshm(["--step", "--color", "never", "Hello, world"])
}

#[track_caller]
fn assert_stopped_and_delivered(finished: &Finished, stops: usize) {
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:#?}");
    assert_is_transcript(finished.text(), stops);
}

#[track_caller]
fn assert_is_transcript(text: &str, stops: usize) {
    let expected = plain(&transcript(listener_in(text), 12, "Hello, world"));
    // A terminal shows Enter as an empty line.
    let shown = without_explanations(&text.replace("\n\n", "\n"));
    assert_eq!(shown, expected);
    assert_eq!(text.matches(WAITS).count(), stops, "{text}");
    for line in explanations(text) {
        // What has been read from a terminal has a character for each byte.
        let line = line.replace("\u{e2}\u{80}\u{a6}", "…");
        assert!(line.chars().count() <= 80, "{line:?}");
    }
}

/// A run on a terminal of its own.
struct Class {
    session: PtySession,
    sender: Pid,
    /// What has been shown until the last stop.
    text: String,
}

impl Class {
    fn start(scratch: &Scratch, options: &[&str]) -> Self {
        let mut command = stepping(scratch);
        command.args(options).stdin(Stdio::inherit());
        let mut session = spawn_command(command, Some(TIMEOUT.as_millis() as u64)).unwrap();
        session.process_mut().set_kill_timeout(Some(1000));
        let terminal = session.process().get_file_handle().unwrap();
        // It is alone until it has forked, which it has not before the first stop.
        let mut sender = None;
        wait_until("the program is there", || {
            sender = scratch.processes().first().copied();
            sender.is_some()
        });
        // What is typed is shown, as it is in a classroom.
        let mut settings = tcgetattr(&terminal).unwrap();
        settings.local_flags.insert(LocalFlags::ECHO);
        tcsetattr(&terminal, SetArg::TCSANOW, &settings).unwrap();
        Self { session, sender: Pid::from_raw(sender.unwrap()), text: String::new() }
    }

    /// Waits for the stop with this number, which must be the next one.
    #[track_caller]
    fn stop(&mut self, number: usize) -> Stop {
        self.stop_after(number, number)
    }

    /// As [`stop`](Self::stop), after so many others.
    #[track_caller]
    fn stop_after(&mut self, number: usize, others: usize) -> Stop {
        let last_line = format!("{WAITS}\r\n");
        let mut shown = String::new();
        let since = Instant::now();
        // What waits for a string in the session looks ten times a second only, and there are
        // hundreds of stops.
        while !shown.ends_with(&last_line) {
            match self.session.try_read() {
                Some(character) => shown.push(character),
                None if self.session.process().status() == Some(WaitStatus::StillAlive) => {
                    thread::sleep(Duration::from_millis(1));
                }
                None => {
                    let rest = self.session.exp_eof();
                    panic!("no stop {number}: {}{shown}{rest:?}", self.text);
                }
            }
            let text = &self.text;
            assert!(since.elapsed() < TIMEOUT, "no stop {number}: {text}{shown}");
        }
        self.text += &shown.replace("\r\n", "\n");
        Stop::last_in(&self.text, number, others)
    }

    fn enter(&mut self) {
        self.session.send_line("").unwrap();
    }

    #[track_caller]
    fn walk_to(&mut self, number: usize) {
        for before in 0..number {
            self.stop(before);
            self.enter();
        }
        self.stop(number);
    }

    #[track_caller]
    fn until_listener_sleeps(&self) {
        let listener = children(self.sender)[0];
        wait_until("the listener sleeps", || sleeps(listener));
    }

    /// Sends the listener a SIGUSR1 at this stop, and waits until that has had its effect.
    fn stray(&self, number: usize) {
        let listener = children(self.sender)[0];
        if number == CREATES {
            // Whatever came before, it has looked.
            self.until_listener_sleeps();
        }
        let looks = || -> u64 {
            let times = status(listener, "voluntary_ctxt_switches:");
            times.parse().unwrap()
        };
        let before = looks();
        let mut sh = Command::new("sh");
        let sent = run(sh.args(["-c", &format!("kill -USR1 {listener}")]));
        assert_eq!(sent.code, Some(0), "{sent:?}");
        match number {
            CREATES => wait_until("the listener has looked and sleeps again", || {
                sleeps(listener) && looks() > before
            }),
            // The message lies there, so that any signal makes the listener take it.
            SENDS => wait_until("the listener has ended", || is_gone(listener)),
            _ => assert!(is_pending(listener), "nobody waits for it, so it waits"),
        }
    }

    /// Waits for the end, which must come without another Enter.
    #[track_caller]
    fn end(mut self) -> (String, WaitStatus) {
        let rest = match self.session.exp_eof() {
            Ok(rest) => rest,
            Err(error) => panic!("no end: {error}\nafter {}", self.text),
        };
        let mut status = None;
        wait_until("the sender has ended", || {
            status = self.session.process().status();
            status != Some(WaitStatus::StillAlive)
        });
        (self.text + &rest.replace("\r\n", "\n"), status.expect("nobody else has reaped it"))
    }

    #[track_caller]
    fn assert_delivered(self, stops: usize) {
        let (text, status) = self.end();
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}: {text}");
        assert_is_transcript(&text, stops);
    }
}

/// A run whose Enter comes through a pipe.
struct Piped {
    running: Program,
    stdin: Option<std::process::ChildStdin>,
    lines: Receiver<String>,
    /// What has been shown until the last stop.
    text: String,
    /// The next stop.
    next: usize,
}

impl Piped {
    fn start(scratch: &Scratch, options: &[&str]) -> Self {
        let mut command = stepping(scratch);
        let command = command.args(options).stdin(Stdio::piped());
        let mut running = Program::start_into(Stdio::piped(), command);
        let stdin = running.child.stdin.take();
        let stdout = BufReader::new(running.child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                // If nobody listens any more, the test is over.
                let _ = sender.send(line.unwrap());
            }
        });
        Self { running, stdin, lines, text: String::new(), next: 0 }
    }

    #[track_caller]
    fn stop(&mut self, number: usize) -> Stop {
        loop {
            let line = match self.lines.recv_timeout(TIMEOUT) {
                Ok(line) => line,
                Err(error) => panic!("no stop {number}: {error}\nafter {}", self.text),
            };
            self.text += &line;
            self.text.push('\n');
            if line.ends_with(WAITS) {
                self.next = number + 1;
                return Stop::last_in(&self.text, number, number);
            }
        }
    }

    fn enter(&mut self) {
        self.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Presses Enter at each stop until it stands at this one.
    #[track_caller]
    fn walk_to(&mut self, number: usize) {
        for next in self.next..=number {
            if next > 0 {
                self.enter();
            }
            self.stop(next);
        }
    }

    /// Waits for the end of both processes, without another Enter. Tells also when their output
    /// ended.
    #[track_caller]
    fn end(mut self) -> (Finished, Instant) {
        loop {
            match self.lines.recv_timeout(TIMEOUT) {
                Ok(line) => self.text += &format!("{line}\n"),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("no end: {error}\nafter {}", self.text),
            }
        }
        let ended = Instant::now();
        let finished = Finished { stdout: self.text.into_bytes(), ..self.running.finish() };
        (finished, ended)
    }
}
