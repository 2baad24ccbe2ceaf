//! `--explain` adds to the transcript and changes nothing of it. What it adds is true: it agrees
//! with itself, with the struct's layout, and with what strace(1) sees of the same run. And it
//! changes nothing of the run either: until the run is over, nothing is told.

// The tests call what has no safe wrapper, each time with a SAFETY comment.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;

use nix::sched::{CloneFlags, unshare};
use proptest::prelude::*;
use sigshm::explain::entry::{Entry, Kind};
use sigshm::explain::{bytes, timeline};
use sigshm::message::Message;
use sigshm::output::stdout::Stdout;
use sigshm::step::Who;

use crate::support::told::*;
use crate::support::tracer::{Frozen, Point, Released, Side, freeze};
use crate::support::*;

/// Nothing but the transcript may be wider.
const WIDTH: usize = 80;

// What is added, and how it looks.

#[test]
fn without_the_extra_lines_it_is_the_transcript() {
    let scratch = Scratch::new();
    for (message, shown) in [
        ("Hello, world", "Hello, world"),
        ("", ""),
        ("    sender    kill(1, SIGKILL) = 0", "    sender    kill(1, SIGKILL) = 0"),
        ("\n    \x1b[2mlistener\n", r"\n    \x1b[2mlistener\n"),
        // As what the listener hands to the sender begins.
        ("1 2 3\n1 2 3\n", r"1 2 3\n1 2 3\n"),
    ] {
        let coloured = explain(&scratch, "always", message);
        let expected = transcript(listener_in(coloured.text()), message.len(), shown);
        assert_eq!(without_explanations(coloured.text()), expected);
        assert_ne!(coloured.text(), expected, "nothing is explained");

        let uncoloured = explain(&scratch, "never", message);
        let listener = listener_in(uncoloured.text());
        let expected = plain(&transcript(listener, message.len(), shown));
        assert_eq!(without_explanations(uncoloured.text()), expected);
        assert_ne!(uncoloured.text(), expected, "nothing is explained");
    }
}

#[test]
fn color_never_leaves_no_escape_at_all() {
    let scratch = Scratch::new();
    let finished = explain(&scratch, "never", "\x1b[31mred");
    assert!(!finished.text().contains('\x1b'), "{}", finished.text());
}

#[test]
fn each_extra_line_starts_and_ends_its_own_style_and_lessons_have_none() {
    let scratch = Scratch::new();
    let finished = explain(&scratch, "always", "Hello, world");
    let mut styles: HashMap<&str, usize> = HashMap::new();
    let mut lesson = false;
    for line in finished.text().lines().filter(|line| is_explanation(line)) {
        let is_heading = ["    The ", "    field ", "          us ", "              PID "];
        let is_heading = is_heading.iter().any(|start| line.starts_with(start));
        lesson = line.starts_with("    * ") || lesson && line.starts_with("      ") || is_heading;
        if lesson {
            assert!(!line.contains('\x1b'), "{line:?}");
            continue;
        }
        // The process in its role's colour, and then the call, which is dim; the signal is not.
        let (sender, listener) =
            (format!("{SENDER}    sender    \x1b[0m"), format!("{LISTENER}    listener  \x1b[0m"));
        let call = line.strip_prefix(&sender).or(line.strip_prefix(&listener));
        if let Some(call) = call {
            let style = if call.contains("--- SIG") { RECEIVER } else { "\x1b[2m" };
            assert!(call.starts_with(style) && call.ends_with("\x1b[0m"), "{line:?}");
            assert_eq!(call.matches('\x1b').count(), 2, "{line:?}");
            continue;
        }
        // What goes on in the next line.
        let line = line.trim_start();
        let rest = line.strip_prefix("\x1b[").and_then(|it| it.split_once('m'));
        let (style, rest) = rest.unwrap_or_else(|| panic!("it has no style: {line:?}"));
        let inside = rest.strip_suffix("\x1b[0m").expect("the line resets");
        assert!(!inside.contains('\x1b'), "{line:?}");
        *styles.entry(style).or_default() += 1;
    }
    // Dim; the numbers and the text of the bytes; the sender and the listener of the timeline.
    for style in ["\x1b[2m", "\x1b[32m", RECEIVER, SENDER, LISTENER] {
        let style = style.trim_start_matches("\x1b[").trim_end_matches('m');
        assert!(styles.contains_key(style), "{style}: {styles:?}");
    }
    assert_eq!(styles.len(), 5, "{styles:?}");
}

#[test]
fn only_lines_of_the_transcript_are_wider_than_80_columns() {
    let scratch = Scratch::new();
    let long = deep_path(&scratch, 3000);
    assert!(long.len() > 3000);
    let longest = "x".repeat(1007);
    let escapes = "\x1b".repeat(1007);
    for (path, message) in [
        (scratch.path().into_os_string(), "Hello, world"),
        (scratch.path().into_os_string(), &longest),
        (scratch.path().into_os_string(), &escapes),
        (long.clone(), "Hello, world"),
        (long.clone(), &longest),
    ] {
        let mut command = sigshm();
        command.args(["--explain", "--path"]).arg(&path).arg(message);
        let finished = run(&mut command);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
        let extra = explanations(finished.text());
        for line in &extra {
            assert!(line.chars().count() <= WIDTH, "{line:?}");
        }
        // Of a path that is too long, the middle is missing.
        let calls = told_calls(finished.text());
        for ftok in named(&calls, "ftok", 2) {
            let whole = format!("ftok(\"{}\", 1)", path.to_str().unwrap());
            let is_cut = ftok.words.contains('…') && ftok.words.ends_with("shared_path\", 1)");
            assert!(is_cut || ftok.words == whole, "{ftok:?}");
            assert_eq!(is_cut, path == long, "{ftok:?}");
        }
    }
}

#[test]
fn lessons_are_broken_between_words_and_long_words_within() {
    let stdout = Stdout { colored: false };
    let x = |count: usize| "x".repeat(count);
    for (text, expected) in [
        // 74 letters have room beside the margin; these are 74 up to the last space.
        (format!("{} {} {}", x(36), x(37), x(5)), vec![format!("{} {}", x(36), x(37)), x(5)]),
        // Only the space at which the line is broken is dropped.
        (format!("a  b   {}", x(70)), vec!["a  b  ".to_owned(), x(70)]),
        (x(150), vec![x(74), x(74), x(2)]),
        // Too long for what the space leaves of the first line: it begins on the next one.
        (format!("b {}", x(100)), vec!["b".to_owned(), x(74), x(26)]),
        (String::new(), vec![String::new()]),
    ] {
        let margins = std::iter::once("    * ").chain(std::iter::repeat("      "));
        let lines = margins.zip(&expected).map(|(margin, line)| format!("{margin}{line}\n"));
        assert_eq!(stdout.lesson("* ", &text), lines.collect::<String>());
    }
}

#[test]
fn a_path_is_shown_as_it_is_spaces_and_all() {
    let scratch = Scratch::new();
    let path = scratch.dir().join("a  b");
    fs::write(&path, "").unwrap();
    let mut command = sigshm();
    command.args(["--explain", "--color", "never", "--path"]);
    let finished = run(command.arg(&path).arg("Hello, world"));
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let expected = format!("ftok(\"{}\", 1)", path.display());
    let calls = told_calls(finished.text());
    for ftok in named(&calls, "ftok", 2) {
        assert_eq!(ftok.words, expected);
    }
}

#[test]
fn each_call_is_told_under_the_line_that_it_belongs_to() {
    let scratch = Scratch::new();
    let finished = explain(&scratch, "never", "Hello, world");
    let mut line = String::new();
    let mut under: HashMap<String, String> = HashMap::new();
    for told in told(finished.text()) {
        match told {
            Told::Line(told) => line = told,
            Told::Call(call) => {
                let words = call.words.split(['{', '"']).next().unwrap();
                under.insert(format!("{} {words}", call.who), line.clone());
            }
            _ => {}
        }
    }
    let listener = listener_in(finished.text());
    for (call, line) in [
        ("sender flock(3, LOCK_EX|LOCK_NB)", "# Message size is: 12"),
        ("sender fork()", "# Forking..."),
        ("listener fork()", "# Forking..."),
        ("listener sigaction(SIGUSR1, ", "# Registering signal handler for SIGUSR1"),
        ("sender ftok(", "\ttext:Hello, world."),
        (&format!("sender kill({listener}, SIGUSR1)"), "\ttext:Hello, world."),
        ("listener ftok(", &format!("# PID={listener} received signal {}", libc::SIGUSR1)),
        (&format!("sender waitpid({listener}, [",), "# Received: Hello, world"),
    ] {
        assert_eq!(under.get(call).map(String::as_str), Some(line), "{call}");
    }
    let calls = told_calls(finished.text());
    let id = &named(&calls, "shmget", 2)[0].returned;
    for (call, line) in [
        (
            format!("listener shmat({id}, NULL, SHM_RDONLY)"),
            format!("# PID={listener} received signal {}", libc::SIGUSR1),
        ),
        (format!("sender shmat({id}, NULL, 0)"), "\ttext:Hello, world.".to_owned()),
        (format!("sender shmctl({id}, IPC_RMID, NULL)"), "# All done. Freeing memory.".to_owned()),
    ] {
        assert_eq!(under.get(&call), Some(&line), "{call}");
    }
}

#[test]
fn the_rounds_that_were_spun_stand_before_what_ended_the_spinning() {
    let scratch = Scratch::new();
    for strays in [0, 1] {
        let finished = explain_with_strays(&scratch, strays);
        let told = told(finished.text());
        let at = |what: &str| {
            let is_it = |told: &Told| match told {
                Told::Call(call) => call.who == "listener" && call.words.starts_with(what),
                Told::Signal { .. } => what == "a signal",
                Told::Words(words) => words.starts_with(what),
                _ => false,
            };
            told.iter().position(is_it).unwrap_or_else(|| panic!("{what}: {told:#?}"))
        };
        let order =
            ["sigprocmask(SIG_UNBLOCK", "(spun ", "sigprocmask(SIG_BLOCK", "pselect(", "a signal"];
        let order = order.map(at);
        assert!(order.is_sorted(), "{order:?} in {}", finished.text());
    }
}

#[test]
fn a_signal_that_the_starter_ignores_is_told_to_be_ignored() {
    let scratch = Scratch::new();
    let mut command = explained_command(&scratch);
    // SAFETY: between fork and exec this makes one system call.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            Ok(())
        })
    };
    let finished = run(&mut command);
    let calls = told_calls(finished.text());
    let caught = calls
        .iter()
        .position(|call| call.words.starts_with("sigaction([HUP INT QUIT …], {sa_handler=0x"));
    let ignored =
        calls.iter().position(|call| call.words == "sigaction(SIGHUP, {sa_handler=SIG_IGN, …}, …)");
    assert!(caught.is_some() && caught < ignored, "{calls:#?}");
}

// It agrees with itself.

#[test]
fn its_keys_ids_pids_and_addresses_agree() {
    let scratch = Scratch::new();
    let running = Program::start(explained_command(&scratch));
    let sender = running.pid().to_string();
    let finished = running.finish();
    let outcome = (finished.code, finished.stderr.as_str());
    assert_eq!(outcome, (Some(0), ""), "{finished:#?}");
    let text = finished.text();
    let calls = told_calls(text);
    let listener = listener_in(text).to_string();
    let key = format!("0x{:08x}", scratch.key());

    for ftok in named(&calls, "ftok", 2) {
        assert_eq!(ftok.returned, key);
    }
    let shmget = named(&calls, "shmget", 2);
    let id = &shmget[0].returned;
    let who = |calls: &[&Call]| calls.iter().map(|it| it.who.clone()).collect::<Vec<_>>();
    assert_eq!(who(&shmget), ["sender", "listener"]);
    let create = format!("shmget({key}, 1024, IPC_CREAT|IPC_EXCL|0600)");
    assert_eq!(shmget[0].words, create);
    assert_eq!(shmget[1].words, format!("shmget({key}, 1024, 0)"));
    assert_eq!(&shmget[1].returned, id);

    let shmat = named(&calls, "shmat", 2);
    assert_eq!(shmat[0].words, format!("shmat({id}, NULL, 0)"));
    assert_eq!(shmat[1].words, format!("shmat({id}, NULL, SHM_RDONLY)"));
    // The listener is the first to detach.
    let shmdt = named(&calls, "shmdt", 2);
    assert_eq!(who(&shmdt), ["listener", "sender"]);
    assert_eq!(shmdt[0].words, format!("shmdt({})", shmat[1].returned));
    assert_eq!(shmdt[1].words, format!("shmdt({})", shmat[0].returned));
    for (who, copied, address) in [
        ("sender    ", "copied 1024 bytes to", &shmat[0].returned),
        ("listener  ", "copied 1024 bytes from", &shmat[1].returned),
    ] {
        let copy = format!("    {who}({copied} {address}: no system call)\n");
        assert_eq!(text.matches(&copy).count(), 1, "{copy:?} in {text}");
    }

    // The segment is removed, and then detached.
    for (index, call) in named(&calls, "shmctl", 4).iter().enumerate() {
        let command = if index == 3 { "IPC_RMID, NULL)" } else { "IPC_STAT, {" };
        let words = format!("shmctl({id}, {command}");
        assert!(call.words.starts_with(&words), "{call:?}");
        assert_eq!(call.returned, "0");
    }

    let fork = named(&calls, "fork", 2);
    assert_eq!(who(&fork), ["sender", "listener"]);
    assert_eq!((&fork[0].returned, fork[1].returned.as_str()), (&listener, "0"));
    let kill = named(&calls, "kill", 1)[0];
    assert_eq!(kill.who, "sender");
    assert_eq!(kill.words, format!("kill({listener}, SIGUSR1)"));
    let waitpid = named(&calls, "waitpid", 1)[0];
    let exited = format!("waitpid({listener}, [{{WIFEXITED(s) && WEXITSTATUS(s) == 0}}], 0)");
    assert_eq!(waitpid.words, exited);
    assert_eq!(waitpid.returned, listener);

    // The kernel's status: whose it is, and how many are attached, as the two come.
    let status: Vec<_> = calls.iter().filter(|call| call.is_status()).collect();
    assert_eq!(who(&status), ["sender", "listener", "listener"]);
    let fields = |call: &Call| ["shm_cpid", "shm_nattch"].map(|it| call.field(it).to_owned());
    let fields: Vec<_> = status.iter().map(|call| fields(call)).collect();
    let expected = ["1", "1", "2"].map(|attached| [sender.clone(), attached.to_owned()]);
    assert_eq!(fields, expected);
}

// The bytes.

#[test]
fn the_picture_decodes_to_the_bytes_in_the_segment() {
    let scratch = Scratch::new();
    let mut messages: Vec<Vec<u8>> = [0, 1, 15, 16, 17, 31, 32, 33, 991, 992, 993, 1006, 1007]
        .map(|length| vec![b'm'; length])
        .into();
    messages.extend([
        (1..=255).collect(),
        b"\xff\xfe\xc3".to_vec(),
        b"\x1b[2J\n\t\r\x7f".to_vec(),
        "naïve 日本 \u{202e}".into(),
        b"00 ... 16 bytes of zeros, up to 3ff".to_vec(),
        vec![b' '; 40],
        b"unused  3ff 00".to_vec(),
    ]);
    for message in messages {
        assert_pictured(&scratch, &message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_picture_decodes_to_any_message(
        message in proptest::collection::vec(1u8..=255, 0..=1007)
    ) {
        assert_pictured(&Scratch::new(), &message);
    }
}

#[test]
fn the_picture_names_every_field_and_folds_the_zeros_at_its_end() {
    let message = Message::new(b"Hello, world, and all").unwrap();
    let lines = bytes::picture(message.checked().unwrap()).into_iter();
    assert_eq!(
        lines.map(|(_, line)| line).collect::<Vec<_>>(),
        [
            "The message, as the listener finds it:",
            "field   at  bytes                                           as text",
            "id      000 01 00 00 00                                     = 1",
            "padding 004 00 00 00 00",
            "size    008 15 00 00 00 00 00 00 00                         = 21",
            "text    010 48 65 6c 6c 6f 2c 20 77 6f 72 6c 64 2c 20 61 6e Hello, world, an",
            "        020 64 20 61 6c 6c                                  d all",
            "unused  025 00 ... 987 bytes of zeros, up to 3ff",
        ]
    );
}

#[test]
fn bytes_that_no_sender_writes_are_in_the_picture_too() {
    let mut message = Message::new(b"Hello").unwrap();
    message.padding = [1, 2, 3, 4];
    message.text[20] = b'x';
    let lines = bytes::picture(message.checked().unwrap()).into_iter();
    let text: String = lines.map(|(_, line)| format!("    {line}\n")).collect();
    let (fields, bytes) = bytes_pictured(&text);
    assert_eq!(bytes[4..8], [1, 2, 3, 4]);
    assert_eq!(bytes[16..21], *b"Hello");
    assert_eq!((bytes[35], bytes[36], bytes[37]), (0, b'x', 0));
    assert_eq!(bytes.len(), 1024);
    let names: Vec<&str> = fields.iter().map(|field| field.0.as_str()).collect();
    assert_eq!(names, ["id", "padding", "size", "text", "unused"]);
}

// The timeline.

#[test]
fn the_timeline_is_in_order_and_causes_come_before_effects() {
    let scratch = Scratch::new();
    for _ in 0..5 {
        let began = Instant::now();
        let running = Program::start(explained_command(&scratch));
        let sender = running.pid().to_string();
        let finished = running.finish();
        let lasted = began.elapsed();
        let text = finished.text();
        let listener = listener_in(text).to_string();

        let rows = timeline(text);
        let heads = |row: &Row| (row.left.clone(), row.middle.clone(), row.right.clone());
        let names = ("sender".to_owned(), String::new(), "listener".to_owned());
        assert_eq!(heads(&rows[0]), names);
        assert_eq!(rows[0].time, "us");
        let pids = (format!("PID {sender}"), String::new(), format!("PID {listener}"));
        assert_eq!(heads(&rows[1]), pids);

        let events = events(text);
        let times: Vec<u64> = events.iter().map(|event| event.0).collect();
        assert!(times.is_sorted(), "{times:?}");
        // The run is no longer than the program.
        assert!(times.last() <= Some(&(lasted.as_micros() as u64)), "{times:?}");
        assert_whole_story(text);
    }
}

/// The timeline is the whole story, each event after what has caused it.
#[track_caller]
fn assert_whole_story(text: &str) {
    let listener = listener_in(text).to_string();
    let calls = told_calls(text);
    let creates = |call: &&Call| call.name() == "shmget" && call.returned != "-1";
    let id = &calls.iter().rfind(creates).expect("a segment").returned;
    let events = events(text);
    let mut events: Vec<(&str, &str, &str)> = events
        .iter()
        .map(|(_, who, what, crosses)| (*who, what.as_str(), crosses.as_str()))
        .collect();
    // While the listener spins, the sender does what it does: that is one row, at its beginning.
    let at = |what: &str| events.iter().position(|row| row.1.starts_with(what));
    let [ready, spins, stores] = ["says: ready", "spins ", "the handler"].map(at);
    assert!(ready < spins && spins < stores, "{text}");
    let spins = events.remove(spins.unwrap());
    assert_eq!((spins.0, spins.2), ("listener", ""), "{text}");
    assert_eq!(
        events,
        [
            ("sender", &*format!("fork() = {listener}"), "fork ->"),
            ("listener", "fork() = 0", ""),
            ("listener", "registers its handler", ""),
            ("listener", "says: ready", "<- ready"),
            ("sender", "reads: ready", ""),
            ("sender", &format!("shmget() = {id}"), ""),
            ("sender", "copies the message in", &format!("segment {id} ->")),
            ("sender", "kill()", "SIGUSR1 ->"),
            ("listener", "the handler stores it", ""),
            ("listener", "copies the message out", &format!("segment {id} ->")),
            ("listener", "ends", ""),
            ("sender", &format!("waitpid() = {listener}"), "<- exit status 0"),
            ("sender", "removes the segment", ""),
        ],
        "{text}"
    );
}

#[test]
fn the_timeline_is_in_order_whichever_process_was_recorded_first() {
    let at = Duration::from_micros;
    let event = |time, who, kind, what: &str, crosses: &str| Entry {
        crosses: crosses.to_owned(),
        ..Entry::new(at(time), who, kind, what)
    };
    let events = [
        event(120, Who::Listener, Kind::Event, "starts", ""),
        event(35, Who::Sender, Kind::ToListener, "forks", "fork"),
        event(240, Who::Listener, Kind::ToSender, "ends", "status"),
    ];
    let lines = timeline::picture("PID 1", "PID 2", &events).into_iter();
    assert_eq!(
        lines.map(|(_, line)| line).collect::<Vec<_>>(),
        [
            "The run, in microseconds since its start:",
            "      us  sender                                      listener",
            "          PID 1                                       PID 2",
            "      35  forks                 ------- fork ------->",
            "     120                                              starts",
            "     240                        <------ status ------ ends",
        ]
    );
}

#[test]
fn a_run_of_ten_hours_fits_80_columns_too() {
    // If a class looks around, the numbers get long, and no test can wait for that. These are the
    // widest of everything else.
    let at = Duration::from_secs(36_000);
    let event = |who, what: &str| {
        let crosses = "segment 2147483647".to_owned();
        Entry { crosses, ..Entry::new(at, who, Kind::ToListener, what) }
    };
    let events = [
        event(Who::Sender, "shmget() = 2147483647"),
        event(Who::Listener, "copies the message out"),
    ];
    for (_, line) in timeline::picture("PID 4194304", "PID 4194304", &events) {
        // Printed, it is indented by four.
        assert!(4 + line.chars().count() <= WIDTH, "{line:?}");
    }
}

// It agrees with strace(1).

#[test]
fn strace_sees_the_calls_that_are_told_and_no_others() {
    let scratch = Scratch::new();
    let Some(watched) = watch(&scratch, &["--explain", "Hello, world"]) else {
        return;
    };
    assert_eq!(watched.finished.code, Some(0), "{:#?}", watched.finished);
    let calls = watched.assert_told_is_seen(&scratch);
    // It is the whole story: these, and in this order.
    let names = |who| -> Vec<&str> {
        let calls = calls.iter().filter(|call| call.who == who);
        let calls = calls.map(Call::name);
        calls.filter(|name| !WAIT.contains(name)).collect()
    };
    assert_eq!(
        names("sender"),
        [
            "sigaction",
            "sigaction",
            "open",
            "flock",
            "pipe",
            "pipe",
            "fork",
            "sigaction",
            "poll",
            "read",
            "ftok",
            "shmget",
            "shmat",
            "shmctl",
            "kill",
            "poll",
            "waitpid",
            "shmctl",
            "shmdt",
        ]
    );
    assert_eq!(
        names("listener"),
        ["fork", "sigaction", "write", "ftok", "shmget", "shmctl", "shmat", "shmctl", "shmdt",]
    );

    // The signal that kill has sent is the one that came, and it came from the sender.
    let listener = watched.listener.as_ref().unwrap();
    let [signal] = &listener.signals[..] else {
        panic!("{:?}", listener.signals);
    };
    assert!(signal.starts_with("SIGUSR1 {"), "{signal}");
    let from = format!("si_pid={},", watched.sender.pid);
    assert!(signal.contains(&from), "{from} in {signal}");
}

#[test]
fn strace_sees_the_calls_that_are_told_with_another_signal_and_another_way_to_wait() {
    for signal in ["WINCH", "TERM", "PIPE", "TSTP", "USR2"] {
        let scratch = Scratch::new();
        let arguments = ["--explain", "--wait=sleep", "--signal", signal, "Hello"];
        let Some(watched) = watch(&scratch, &arguments) else {
            return;
        };
        assert_eq!(watched.finished.code, Some(0), "{:#?}", watched.finished);
        watched.assert_told_is_seen(&scratch);
        let signals = &watched.listener.as_ref().unwrap().signals;
        assert_eq!(signals.len(), 1, "{signals:?}");
        assert!(signals[0].starts_with(&format!("SIG{signal} {{")));
    }
}

#[test]
fn strace_sees_the_calls_that_a_run_through_a_socket_tells_and_makes_without_telling() {
    let scratch = Scratch::new();
    let mut outlines = Vec::new();
    for option in ["--color=never", "--explain"] {
        let arguments = ["--via=socket", option, "Hello, world"];
        let Some(watched) = watch(&scratch, &arguments) else {
            return;
        };
        assert_eq!(watched.finished.code, Some(0), "{:#?}", watched.finished);
        if option == "--explain" {
            watched.assert_told_is_seen(&scratch);
        }
        outlines.push(watched.outlines(None));
    }
    assert_same(&outlines[0].0, &outlines[1].0, "the sender");
    assert_same(&outlines[0].1, &outlines[1].1, "the listener");
    let names = |calls: &[String]| calls.join("\n");
    let whole = names(&outlines[0].0) + &names(&outlines[0].1);
    for call in ["socketpair(", "sendto(", "recvfrom("] {
        assert_eq!(whole.matches(call).count(), 1, "{whole}");
    }
    for call in ["shm", "flock", "kill(", "pselect6", "pipe"] {
        assert!(!whole.contains(call), "{call} in {whole}");
    }
}

#[test]
fn strace_sees_as_many_polls_as_are_told_and_the_last_of_them_as_it_is_told() {
    let (in_time, for_ever) = ("--timeout=60", "--timeout=1e30");
    // What the first four polls come to, in place of what the kernel would say. (One comes before
    // them, at the start-up of the program.)
    let fails = |with: &str| format!("inject=poll:{with}:when=2..5");
    for (option, timeout, fault) in [
        ("--explain", in_time, None),
        ("--explain", in_time, Some(fails("retval=0"))),
        ("--explain", in_time, Some(fails("error=EINTR"))),
        ("--explain", for_ever, None),
        ("--explain", for_ever, Some(fails("retval=0"))),
        ("--explain", for_ever, Some(fails("error=EINTR"))),
        ("--step", for_ever, None),
    ] {
        let case = format!("{option} {timeout} {fault:?}");
        let scratch = Scratch::new();
        let options = fault.iter().flat_map(|it| ["-e", it]).collect::<Vec<_>>();
        let arguments = [option, timeout, "Hello, world"];
        let Some(mut strace) = strace_that(&options, &scratch, "run", &arguments) else {
            return;
        };
        let watched = Watched::new(&scratch, "run", run(&mut strace));
        let (code, stderr) = (watched.finished.code, watched.finished.stderr.as_str());
        assert_eq!((code, stderr), (Some(0), ""), "{case}");
        if option == "--explain" {
            watched.assert_told_is_seen(&scratch);
        }

        // The sender waits twice: until the listener is ready, and until it has ended. (At a stop
        // it waits for standard input, which is not told.)
        let calls = told_calls(watched.finished.text());
        let told = calls.iter().filter(|it| it.name() == "poll");
        let told: Vec<&Call> = told.collect();
        let seen = watched.sender.calls.iter();
        let seen = seen.filter(|it| it.name() == "poll" && !it.words.contains("fd=0,"));
        let seen: Vec<&Call> = seen.collect();
        let waits: Vec<&[&Call]> = seen.split_inclusive(|it| it.returned == "1").collect();
        assert_eq!((told.len(), waits.len()), (2, 2), "{case}: {told:#?} {seen:#?}");
        for (told, seen) in told.iter().zip(&waits) {
            assert_eq!(told.times(), seen.len(), "{case}: {told:?} {seen:#?}");
            assert_eq!(told.words, seen[seen.len() - 1].words, "{case}");
            // Without an end it looks once a second whether there is still something to wait for.
            let looks = told.words.ends_with("}], 1, 1000)");
            assert_eq!(looks, timeout == for_ever, "{case}: {told:?}");
        }
        assert_eq!(waits[0].len() > 4, fault.is_some(), "{case}: {seen:#?}");
    }
}

#[test]
fn strace_sees_as_many_sleeps_of_a_listener_as_are_told_and_the_last_of_them_as_it_is_told() {
    for option in ["--color=never", "--timeout=1e30", "--timeout=60"] {
        let scratch = Scratch::new();
        let arguments = ["--listen", "--explain", option];
        let Some(strace) = strace(&scratch, "listener", &arguments) else {
            return;
        };
        let listener = Program::start(strace);
        listener.until_printed("# Registering");
        let pid = listener_in(&listener.printed()).to_string();
        let log = scratch.dir().join(format!("listener.{pid}"));
        wait_until("it has slept three times", || {
            let log = fs::read_to_string(&log).unwrap();
            log.matches("\npselect6(").count() > 3
        });
        let sender = run(scratch.sigshm(["--to", &pid, "Hello, world"]));
        assert_eq!(sender.code, Some(0), "{option}: {sender:#?}");
        let watched = Watched::new(&scratch, "listener", listener.finish());
        let outcome = (watched.finished.code, watched.finished.stderr.as_str());
        assert_eq!(outcome, (Some(0), ""), "{option}");
        let calls = watched.assert_told_is_seen(&scratch);
        let told: Vec<&Call> = calls.iter().filter(|it| it.name() == "pselect").collect();
        let seen = watched.sender.calls.iter();
        let seen = seen.filter(|it| it.name() == "pselect6").count();
        assert_eq!(told.len(), 1, "{option}: {calls:#?}");
        assert_eq!(told[0].times(), seen, "{option}: {calls:#?}");
    }
}

/// How the listener waits differs from run to run: it may have to sleep after it has spun.
const WAIT: [&str; 2] = ["sigprocmask", "pselect"];

#[test]
fn strace_sees_the_calls_that_fail_too() {
    // A segment that was left behind, and is removed.
    let scratch = Scratch::new();
    let left = leave_behind(&scratch).id;
    let Some(watched) = watch(&scratch, &["--explain", "Hello, world"]) else {
        return;
    };
    assert_eq!(watched.finished.code, Some(0), "{:#?}", watched.finished);
    let calls = watched.assert_told_is_seen(&scratch);
    let [exists, removes] = ["shmget", "shmctl"].map(|name| {
        let mut named = calls.iter().filter(|call| call.name() == name);
        if name == "shmget" { named.next() } else { named.nth(1) }.unwrap()
    });
    assert!(exists.returned.starts_with("-1 EEXIST"), "{exists:?}");
    assert_eq!(removes.words, format!("shmctl({left}, IPC_RMID, NULL)"));
    assert_told_in_order(watched.finished.text());
    scratch.assert_nothing_left();

    // Somebody's segment that is not ours to remove: the run fails.
    let other = create_segment(&scratch, 512);
    let watched = watch(&scratch, &["--explain", "Hello, world"]).unwrap();
    assert_eq!(watched.finished.code, Some(1), "{:#?}", watched.finished);
    watched.assert_told_is_seen(&scratch);
    remove_segment(other);

    // One that is in use is looked at again and again, which is one entry.
    let other = create_segment(&scratch, 1024);
    let arguments = ["--explain", "--timeout", "0.2", "Hello, world"];
    let watched = watch(&scratch, &arguments).unwrap();
    assert_eq!(watched.finished.code, Some(1), "{:#?}", watched.finished);
    watched.assert_told_is_seen(&scratch);
    let looks = told(watched.finished.text()).into_iter();
    let looks: Vec<Told> = looks.filter(|it| matches!(it, Told::Looks(_))).collect();
    assert!(matches!(looks[..], [Told::Looks(2..)]), "{looks:?}");
    remove_segment(other);
}

#[test]
fn strace_sees_the_wait_for_the_lock_that_is_told() {
    let scratch = Scratch::new();
    let file = File::open(scratch.path()).unwrap();
    // SAFETY: flock takes two numbers and touches no memory.
    let flock = |operation| unsafe { libc::flock(file.as_raw_fd(), operation) };
    assert_eq!(flock(libc::LOCK_EX), 0);
    let Some(strace) = strace(&scratch, "run", &["--explain", "Hello, world"]) else {
        return;
    };
    let program = Program::start(strace);
    program.until_complained("sigshm: waiting: ");
    // It sleeps in flock(2) until the lock is free.
    let sleeper = Pid::from_raw(sleeper_in(&scratch));
    wait_until("it waits for the lock", || state(sleeper) == Some('S'));
    assert_eq!(flock(libc::LOCK_UN), 0);
    let mut finished = program.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    finished.stderr.clear();
    let watched = Watched::new(&scratch, "run", finished);
    let calls = watched.assert_told_is_seen(&scratch);
    let flock: Vec<_> = calls.iter().filter(|it| it.name() == "flock").collect();
    assert_eq!(flock.len(), 2, "{flock:?}");
    assert!(flock[0].returned.starts_with("-1 EAGAIN"), "{flock:?}");
    assert_eq!(flock[1].returned, "0");
}

#[test]
fn strace_sees_what_a_listener_and_a_sender_alone_tell() {
    let scratch = Scratch::new();
    let Some(strace_listener) = strace(&scratch, "listener", &["--listen", "--explain"]) else {
        return;
    };
    let listener = Program::start(strace_listener);
    listener.until_printed("# Registering");
    let pid = listener_in(&listener.printed()).to_string();
    let sleeps = || state(Pid::from_raw(pid.parse().unwrap())) == Some('S');
    wait_until("the listener sleeps", sleeps);
    // It is told of the strays what strace sees of them, and how many there were.
    for _ in 0..3 {
        send_stray(Pid::from_raw(pid.parse().unwrap()));
    }
    let arguments = ["--explain", "--to", &pid, "Hello, world"];
    let sender = Program::start(strace(&scratch, "sender", &arguments).unwrap());
    for (program, name) in [(sender, "sender"), (listener, "listener")] {
        let mut finished = program.finish();
        let notes = std::mem::take(&mut finished.stderr);
        let expected = usize::from(name == "listener");
        assert_eq!(notes.lines().count(), expected, "{notes}");
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        let watched = Watched::new(&scratch, name, finished);
        // Each tells its own calls, from the first on, and under its own name.
        let calls = watched.assert_told_is_seen(&scratch);
        assert!(calls.iter().all(|call| call.who == name), "{calls:#?}");
    }
}

#[test]
fn an_explained_run_makes_the_calls_of_a_plain_run_in_the_same_order() {
    let scratch = Scratch::new();
    let somebodys = |scratch: &Scratch| {
        create_segment(scratch, 512);
        scratch.segments().pop()
    };
    type Prepare<'a> = &'a dyn Fn() -> Option<Segment>;
    let cases: [(&str, Prepare<'_>, i32); 3] = [
        ("nothing is in the way", &|| None, 0),
        ("a segment was left behind", &|| Some(leave_behind(&scratch)), 0),
        ("a segment is somebody's", &|| somebodys(&scratch), 1),
    ];
    for (case, prepare, code) in cases {
        let mut outlines = Vec::new();
        for option in ["--color=never", "--explain"] {
            let segment = prepare();
            let Some(watched) = watch(&scratch, &[option, "Hello, world"]) else {
                return;
            };
            assert_eq!(watched.finished.code, Some(code), "{:#?}", watched.finished);
            outlines.push(watched.outlines(segment.as_ref()));
            if let Some(segment) = segment.filter(|_| code != 0) {
                remove_segment(segment.id);
            }
        }
        let [plain, explained] = &outlines[..] else { unreachable!() };
        assert_same(&plain.0, &explained.0, &format!("{case}: the sender"));
        if code == 0 {
            assert_same(&plain.1, &explained.1, &format!("{case}: the listener"));
        }
        assert!(plain.0.len() > 30, "{plain:#?}");
    }
}

#[test]
fn an_explained_run_that_waits_for_the_lock_makes_the_calls_of_a_plain_one() {
    let scratch = Scratch::new();
    let mut outlines = Vec::new();
    for option in ["--color=never", "--explain"] {
        let lock = take_lock(&scratch);
        let Some(strace) = strace(&scratch, "run", &[option, "Hello, world"]) else {
            return;
        };
        let program = Program::start(strace);
        program.until_complained("sigshm: waiting: ");
        let sleeper = Pid::from_raw(sleeper_in(&scratch));
        wait_until("it waits for the lock", || is_blocked_in_flock(sleeper));
        drop(lock);
        let watched = Watched::new(&scratch, "run", program.finish());
        assert_eq!(watched.finished.code, Some(0), "{:#?}", watched.finished);
        let (mut sender, listener) = watched.outlines(None);
        // How /proc is read depends on what else there is on the machine.
        sender.retain(|call| is_of_story(call));
        outlines.push((sender, listener));
    }
    assert_same(&outlines[0].0, &outlines[1].0, "the sender");
    assert_same(&outlines[0].1, &outlines[1].1, "the listener");
}

/// Whether this is no look at another process or at a segment's status, which differ from run to run.
fn is_of_story(call: &str) -> bool {
    const STORY: [&str; 15] = [
        "rt_sigprocmask",
        "rt_sigaction",
        "setitimer",
        "flock",
        "pipe2",
        "clone",
        "poll",
        "pselect6",
        "shmget",
        "shmat",
        "shmdt",
        "wait4",
        "IPC_RMID",
        "SIGUSR1",
        "write",
    ];
    STORY.iter().any(|name| call.starts_with(name))
}

fn is_blocked_in_flock(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/syscall"))
        .is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_flock)))
        && state(pid) == Some('S')
}

#[test]
fn explained_programs_make_the_calls_of_plain_ones_with_strays_too() {
    let scratch = Scratch::new();
    let mut outlines = Vec::new();
    for option in ["--color=never", "--explain"] {
        let Some(strace_listener) = strace(&scratch, "listener", &["--listen", option]) else {
            return;
        };
        let listener = Program::start(strace_listener);
        listener.until_printed("# Registering");
        let pid = listener_in(&listener.printed()).to_string();
        for _ in 0..3 {
            send_stray(Pid::from_raw(pid.parse().unwrap()));
        }
        let arguments = [option, "--to", &pid, "Hello, world"];
        let sender = Program::start(strace(&scratch, "sender", &arguments).unwrap());
        let sent = Watched::new(&scratch, "sender", sender.finish());
        let taken = Watched::new(&scratch, "listener", listener.finish());
        let names = |watched: &Watched| -> Vec<String> {
            assert_eq!(watched.finished.code, Some(0), "{:#?}", watched.finished);
            let calls = watched.sender.calls.iter().filter(|call| !is_free(call, &[]));
            let names = calls.map(|call| match call.words.split_once(' ') {
                _ if call.words.starts_with("SIGUSR1 ") => "SIGUSR1".to_owned(),
                Some((_, rest)) if call.name() == "shmctl" => {
                    rest.split(',').next().unwrap().to_owned()
                }
                _ => call.name().to_owned(),
            });
            names.filter(|name| is_of_story(name)).collect()
        };
        outlines.push((names(&sent), names(&taken)));
        scratch.assert_nothing_left();
    }
    assert_same(&outlines[0].0, &outlines[1].0, "the sender");
    assert_same(&outlines[0].1, &outlines[1].1, "the listener");
    assert!(outlines[0].1.iter().filter(|it| *it == "SIGUSR1").count() == 4, "{outlines:#?}");
}

#[test]
fn with_shm_rmid_forced_the_calls_that_are_told_are_seen_and_all_of_them_succeed() {
    let scratch = Scratch::new();
    let mut outlines = Vec::new();
    for option in ["--color=never", "--explain"] {
        let Some(mut strace) = strace(&scratch, "run", &[option, "Hello, world"]) else {
            return;
        };
        // SAFETY: between fork and exec this makes system calls only, and allocates nothing.
        unsafe {
            strace.pre_exec(|| {
                unshare(CloneFlags::CLONE_NEWIPC)?;
                let file = libc::open(
                    c"/proc/sys/kernel/shm_rmid_forced".as_ptr(),
                    libc::O_WRONLY | libc::O_CLOEXEC,
                );
                match libc::write(file, c"1".as_ptr().cast(), 1) {
                    1 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            })
        };
        if !nix::unistd::Uid::effective().is_root() {
            return not_tested("kernel.shm_rmid_forced=1", "it needs root");
        }
        let watched = Watched::new(&scratch, "run", run(&mut strace));
        let outcome = (watched.finished.code, watched.finished.stderr.as_str());
        assert_eq!(outcome, (Some(0), ""));
        outlines.push(watched.outlines(None));
        if option == "--explain" {
            let calls = watched.assert_told_is_seen(&scratch);
            assert!(calls.iter().all(|call| !call.returned.starts_with('-')), "{calls:#?}");
        }
    }
    assert_same(&outlines[0].0, &outlines[1].0, "the sender");
    assert_same(&outlines[0].1, &outlines[1].1, "the listener");
}

#[test]
fn each_manual_page_is_named_once_where_its_call_first_appears() {
    let scratch = Scratch::new();
    let mut texts = vec![explain(&scratch, "never", "Hello, world").text().to_owned()];
    leave_behind(&scratch);
    let left = run(explained_command(&scratch));
    assert_eq!(left.code, Some(0), "{left:#?}");
    texts.push(left.text().to_owned());
    for text in texts {
        let (mut named, mut called) = (Vec::new(), Vec::new());
        for told in told_pages(&text) {
            if told.named.is_some() {
                assert_eq!(told.named, told.page, "{text}");
                assert!(!called.contains(&told.page), "not the first: {told:?}");
                named.extend(told.named);
            }
            called.push(told.page);
        }
        let expected = [
            "sigprocmask(2)",
            "sigaction(2)",
            "open(2)",
            "flock(2)",
            "pipe(2)",
            "fork(2)",
            "write(2)",
            "poll(2)",
            "read(2)",
            "ftok(3)",
            "shmget(2)",
            "shmat(2)",
            "shmctl(2)",
            "kill(2)",
            "signal(7)",
            "shmdt(2)",
            "waitpid(2)",
        ];
        // (Whether the listener has to sleep differs from run to run.)
        let pages: BTreeSet<&str> =
            named.iter().map(String::as_str).filter(|it| *it != "pselect(2)").collect();
        assert_eq!(pages, BTreeSet::from(expected), "{text}");
        named.retain(|page| page != "pselect(2)");
        assert_eq!(named.len(), expected.len(), "one is named twice: {named:?}");
    }
}

/// The two lists are the same; if not, says where they part.
#[track_caller]
fn assert_same(plain: &[String], explained: &[String], whose: &str) {
    let same = plain.iter().zip(explained).take_while(|(a, b)| a == b).count();
    let [plain_rest, explained_rest] = [plain, explained].map(|it| &it[same..]);
    let [plain_next, explained_next] =
        [plain_rest, explained_rest].map(|it| &it[..it.len().min(5)]);
    assert!(
        plain_rest.is_empty() && explained_rest.is_empty(),
        "{whose}, after {same} calls: plain {plain_next:#?}, explained {explained_next:#?}"
    );
}

// It changes nothing of the run.

#[test]
fn nothing_is_told_before_the_run_is_over_and_no_reader_holds_it_up() {
    let scratch = Scratch::new();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    // Full from the beginning: the first write must wait until somebody reads.
    let capacity = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(4096)).unwrap() as usize;
    let mut writer = File::from(writer);
    writer.write_all(&vec![b'.'; capacity]).unwrap();
    let began = Instant::now();
    let mut command = explained_command(&scratch);
    command.stdout(writer).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(command);
    let pid = Pid::from_raw(child.id() as i32);
    wait_until("it wants to tell", || is_blocked_in_write(pid));
    // It is alone, and has removed the segment: the run is over.
    assert_eq!(children(pid), []);
    assert_eq!(scratch.segments(), []);
    let over = began.elapsed();

    // How long its reader takes is no part of the timeline.
    let mut text = Vec::new();
    File::from(reader).read_to_end(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let text = String::from_utf8(text.split_off(capacity)).unwrap();
    let expected = plain(&transcript(listener_in(&text), 12, "Hello, world"));
    assert_eq!(without_explanations(&text), expected);
    let last = events(&text).last().unwrap().0;
    assert!(u128::from(last) <= over.as_micros(), "{last} µs of {over:?}");
}

#[test]
fn a_reader_who_leaves_after_the_first_line_is_no_failure() {
    let scratch = Scratch::new();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    // With room for less than the whole, the program is certainly still writing when the reader
    // leaves.
    let page = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let whole = explain(&scratch, "always", "Hello, world").stdout.len();
    assert!(whole > page as usize + 1000, "{whole} bytes fit into the pipe");

    let mut command = scratch.sigshm(["--explain", "Hello, world"]);
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let mut line = Vec::new();
    // One byte at a time, so that nothing beyond the line is taken.
    let mut reader = BufReader::with_capacity(1, File::from(reader));
    reader.read_until(b'\n', &mut line).unwrap();
    assert_eq!(line, b"# Message size is: 12\n");
    drop(reader);

    let mut status = None;
    wait_until("the run ends without a reader", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let mut errors = String::new();
    child.stderr.unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "");
    assert_eq!(status.unwrap().code(), Some(0));
}

#[test]
fn in_10_runs_on_busy_processors_each_process_tells_the_same_calls() {
    let scratch = Scratch::new();
    let calls = |text: &str| {
        ["sender", "listener"].map(|who| {
            let mut names = names_told(text, who);
            names.retain(|name| who == "sender" || !WAIT.contains(&name.as_str()));
            names
        })
    };
    let expected = calls(explain(&scratch, "always", "Hello, world").text());
    let _busy = Busy::start();
    for _ in 0..10 {
        let finished = explain(&scratch, "always", "Hello, world");
        let text = finished.text();
        let expected_transcript = transcript(listener_in(text), 12, "Hello, world");
        assert_eq!(without_explanations(text), expected_transcript);
        assert_eq!(calls(text), expected);
        assert_whole_story(text);
        assert_told_in_order(text);
    }
}

/// Of what crosses from one process to the other, the cause is told before the effect.
#[track_caller]
fn assert_told_in_order(text: &str) {
    let calls = told_calls(text);
    // The last one of its kind: the listener may have looked before, and found nothing.
    let position = |who: &str, start: &str| {
        let found = calls.iter().rposition(|call| call.who == who && call.words.starts_with(start));
        found.unwrap_or_else(|| panic!("{who} {start} in {text}"))
    };
    let order = [
        position("sender", "fork("),
        position("listener", "fork("),
        position("listener", "sigaction(SIGUSR1"),
        position("listener", "write("),
        position("sender", "read("),
        position("sender", "shmget("),
        position("sender", "shmat("),
        position("sender", "kill("),
        position("listener", "shmget("),
        position("listener", "shmdt("),
        position("sender", "waitpid("),
        position("sender", "shmdt("),
    ];
    assert!(order.is_sorted(), "{order:?} in {text}");
}

// Signals without a message.

#[test]
fn strays_are_one_line_with_their_number_and_the_message_arrives() {
    let scratch = Scratch::new();
    for strays in [0, 1, 2, 5000] {
        let finished = explain_with_strays(&scratch, strays);
        let text = finished.text();
        let outcome = (finished.code, finished.stderr.as_str());
        assert_eq!(outcome, (Some(0), ""), "{strays}: {text}");
        let expected = plain(&transcript(listener_in(text), 12, "Hello, world"));
        assert_eq!(without_explanations(text), expected);
        let said: Vec<Told> =
            told(text).into_iter().filter(|told| matches!(told, Told::Looks(_))).collect();
        let count = (strays > 1).then(|| Told::Looks(strays - 1));
        assert_eq!(said, Vec::from_iter(count), "{text}");
        // The first look is told as it was, and the one that has found the message. No others.
        let looks = names_told(text, "listener");
        let looks = looks.iter().filter(|name| *name == "ftok").count();
        assert_eq!(looks, 1 + strays.min(1), "{text}");
        // It has spun until it slept, and not again.
        assert_eq!(text.matches("(spun ").count(), 1, "{text}");
        assert_told_in_order(text);
        assert_strays_in_their_place(text, strays);
    }
}

/// The first stray is told where it came, before anything that the sender did then, with its reason
/// and their number, and with no arrow: nobody knows from where it came.
#[track_caller]
fn assert_strays_in_their_place(text: &str, strays: usize) {
    let told = told(text);
    let signals = told.iter().filter(|it| matches!(it, Told::Signal { .. }));
    assert_eq!(signals.count(), 1 + strays.min(1), "{text}");
    let at = |what: &dyn Fn(&Told) -> bool| told.iter().position(what);
    let reason = at(&|it| matches!(it, Told::Words(it) if it.starts_with("A signal, but no ")));
    let count = at(&|it| matches!(it, Told::Looks(_)));
    let writes = at(&|it| matches!(it, Told::Line(it) if it.starts_with("# Writing")));
    assert_eq!(reason.is_some(), strays > 0, "{text}");
    assert_eq!(count, reason.filter(|_| strays > 1).map(|at| at + 1), "{text}");
    assert!(reason < writes, "{text}");
    let events = events(text);
    let mut rows = events.iter().map(|(_, who, what, crosses)| (*who, &**what, &**crosses));
    let stray = ("listener", "a signal, no message", "");
    assert_eq!(rows.clone().filter(|row| *row == stray).count(), strays.min(1));
    let before = rows.by_ref().take_while(|row| !row.1.starts_with("shmget()"));
    assert_eq!(before.filter(|row| *row == stray).count(), strays.min(1));
}

/// An explained run whose sender is stopped until the listener has looked for each of the strays.
fn explain_with_strays(scratch: &Scratch, strays: usize) -> Finished {
    let mut command = explained_command(scratch);
    // The listener is about to register its handler, and its parent waits for it.
    let point = Point::Call(Side::Child, libc::SYS_rt_sigaction);
    let frozen = freeze(&mut command, point).expect("the run has not ended");
    kill(frozen.parent(), SIGSTOP).unwrap();
    let run = frozen.release();
    let (sender, listener) = (run.parent(), run.listener().unwrap());
    let sleeps = || state(listener) == Some('S') && !is_pending(listener);
    wait_until("the listener has spun and sleeps", || state(sender) == Some('T') && sleeps());
    for _ in 0..strays {
        kill(listener, SIGUSR1).unwrap();
        // Taken first, asleep again then: in this order they cannot both be from before.
        let since = Instant::now();
        while is_pending(listener) || state(listener) != Some('S') {
            assert!(since.elapsed() < TIMEOUT, "the listener does not sleep");
            thread::yield_now();
        }
    }
    kill(sender, SIGCONT).unwrap();
    run.finish(TIMEOUT)
}

// What goes wrong.

#[test]
fn a_run_that_fails_is_told_as_far_as_it_came_and_then_names_the_error() {
    let scratch = Scratch::unchecked();
    // Not of the size that the program makes, so it must be left alone.
    let id = create_segment(&scratch, 512);

    let finished = run(scratch.sigshm(["--explain", "Hello, world"]));
    finished.assert_failed_with(&["shmget", "EEXIST", "its size is not ours"]);
    assert!(finished.stderr.contains(&format!("ipcrm -m {id}")), "{finished:#?}");
    // What was told is the transcript's beginning, and the calls up to the one that failed.
    let text = finished.text();
    let whole = transcript(listener_in(text), 12, "Hello, world");
    let told = without_explanations(text);
    assert_eq!(told.lines().count(), 8, "{told}");
    assert!(whole.starts_with(&told), "{told}");
    let calls = told_calls(text);
    let failed = calls.iter().find(|it| it.returned.starts_with("-1 "));
    let failed = failed.expect("a call has failed");
    assert_eq!((failed.name(), failed.who.as_str()), ("shmget", "sender"));
    // The listener was ended, and that is told as it was.
    let listener = listener_in(text);
    let killed = format!("waitpid({listener}, [{{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}}], 0)");
    assert_eq!(calls.last().map(|call| call.words.as_str()), Some(&*killed));
    // Nothing has crossed that has not.
    for (_, _, what, crosses) in events(text) {
        let never = ["copies", "SIGUSR1", "exit status", "removes"];
        assert!(!never.iter().any(|it| what.contains(it) || crosses.contains(it)), "{text}");
    }

    assert_eq!(scratch.processes(), [0; 0]);
    let left: Vec<i32> = scratch.segments().iter().map(|it| it.id).collect();
    assert_eq!(left, [id], "only what was there before");
}

#[test]
fn a_listener_stopped_at_any_step_ends_the_run_which_is_told_as_far_as_it_came() {
    let stop = |frozen: &Frozen| kill(frozen.listener().unwrap(), SIGSTOP).unwrap();
    // Stopped at the entry of a call, it still makes the call; so every other step is enough.
    let error = ["the listener (PID ", "0.5 seconds", "--timeout"];
    assert_told_as_far_as_it_came(2, stop, &error);
}

#[test]
fn a_listener_killed_at_any_step_ends_the_run_which_is_told_as_far_as_it_came() {
    let end = |frozen: &Frozen| kill(frozen.listener().unwrap(), SIGKILL).unwrap();
    // At entries and at exits of calls alike.
    assert_told_as_far_as_it_came(3, end, &["the listener (PID ", "SIGKILL"]);
}

/// `fault` happens to the listener at each `stride`-th of its steps. The run ends, tells all that
/// was done up to there and nothing else, and then names the error.
fn assert_told_as_far_as_it_came(stride: usize, fault: impl Fn(&Frozen) + Sync, error: &[&str]) {
    let whole = listener_names(explain(&Scratch::new(), "never", "Hello, world").text());
    let begun = Mutex::new(BTreeSet::new());
    at_each_step(Side::Child, stride, &["--timeout=0.5"], |scratch, step, frozen| {
        let call = call_at_hand(frozen.listener().unwrap());
        fault(&frozen);
        let finished = frozen.release().finish(TIMEOUT);
        let text = finished.text();
        if finished.code == Some(0) {
            assert_eq!(call, Some("_exit"), "step {step}: {text}");
            return true;
        }
        finished.assert_failed_with(error);
        assert!(!text.contains("# All done"), "step {step}: {text}");
        let transcript = match text.contains("# Listening") {
            true => plain(&transcript(listener_in(text), 12, "Hello, world")),
            false => "# Message size is: 12\n# Creating message object.\n# Forking...\n".to_owned(),
        };
        let lines = without_explanations(text);
        assert!(transcript.starts_with(&lines), "step {step}: {text}");
        assert_eq!(scratch.segments(), [], "step {step}");

        let names = listener_names(text);
        assert!(whole.starts_with(&names), "step {step}: {names:?}");
        // A call that had begun or returned was not recorded yet; but all before it was. (The
        // last word to the parent is a byte too.)
        let is_last = |call: &&str| *call == "write" && names.iter().any(|name| name == call);
        if let Some(call) = call.filter(|call| *call != "_exit" && !is_last(call)) {
            let next = whole.get(names.len()).map(String::as_str);
            assert_eq!(next, Some(call), "step {step}: {names:?}");
            begun.lock().unwrap().insert(call);
        }
        true
    });
    let begun = begun.into_inner().unwrap();
    assert!(begun.len() >= 2, "{begun:?}");
}

/// The call of the story that the process, which is held at a system call, has just begun or is
/// just returning from. (It may be another call, that the story does not tell of.)
fn call_at_hand(pid: Pid) -> Option<&'static str> {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let words: Vec<&str> = call.split_whitespace().collect();
    let number: libc::c_long = words.first()?.parse().ok()?;
    Some(match number {
        libc::SYS_rt_sigaction => "sigaction",
        // The byte that says "ready"; what is handed over is longer.
        libc::SYS_write if words[3] == "0x1" => "write",
        libc::SYS_newfstatat => "ftok",
        libc::SYS_shmget => "shmget",
        libc::SYS_shmctl => "shmctl",
        libc::SYS_shmat => "shmat",
        libc::SYS_shmdt => "shmdt",
        libc::SYS_exit_group => "_exit",
        _ => return None,
    })
}

/// The names of the calls that the listener tells, but for how it waits.
fn listener_names(text: &str) -> Vec<String> {
    let mut names = names_told(text, "listener");
    names.retain(|name| !WAIT.contains(&name.as_str()));
    names
}

#[test]
fn a_run_that_is_interrupted_tells_nothing() {
    // Ctrl-C sends the signal to both processes. And one of them may get it alone.
    let interrupt: [&(dyn Fn(&Frozen) + Sync); 2] =
        [&|frozen| killpg(frozen.parent(), SIGINT).unwrap(), &|frozen| {
            kill(frozen.parent(), SIGINT).unwrap()
        }];
    let interrupted = AtomicUsize::new(0);
    at_each_step(Side::Parent, 5, &[], |scratch, step, frozen| {
        // From here on the run is over, and what it tells is cut off somewhere.
        if !frozen.printed().is_empty() || frozen.call() == Some(libc::SYS_write) {
            return false;
        }
        interrupt[step / 5 % 2](&frozen);
        assert_silent(scratch, step, frozen.release());
        interrupted.fetch_add(1, Ordering::Relaxed);
        true
    });
    assert!(interrupted.into_inner() > 20);
    at_each_step(Side::Child, 6, &[], |scratch, step, frozen| {
        let listener = frozen.listener().unwrap();
        if call_at_hand(listener) == Some("_exit") {
            // Too late: its exit status is what its parent sees.
            assert_eq!(frozen.release().finish(TIMEOUT).code, Some(0));
            return true;
        }
        kill(listener, SIGINT).unwrap();
        assert_silent(scratch, step, frozen.release());
        true
    });
}

#[track_caller]
fn assert_silent(scratch: &Scratch, step: usize, run: Released) {
    let finished = run.finish(TIMEOUT);
    let outcome = (finished.signal, finished.text(), finished.stderr.as_str());
    assert_eq!(outcome, (Some(libc::SIGINT), "", ""), "step {step}");
    assert_eq!(scratch.segments(), [], "step {step}");
}

/// Freezes an explained run at each step of one side (or at each `stride`-th of them) and hands it
/// to `then`, until `then` says that it is enough or there are no more steps. The runs go side by
/// side.
fn at_each_step(
    side: Side,
    stride: usize,
    options: &[&str],
    then: impl Fn(&Scratch, usize, Frozen) -> bool + Sync,
) {
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    // As many as there are processors run under the tracer. All the others wait for their ends, so
    // that none is late because there are so many.
    let tracing = [Mutex::new(()), Mutex::new(())];
    let work = |worker: usize| {
        loop {
            let scratch = Scratch::new();
            let mut command = explained_command(&scratch);
            command.args(options);
            let tracing = tracing[worker % tracing.len()].lock().unwrap();
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            // No step is left out: those before it are under way.
            let step = next.fetch_add(stride, Ordering::Relaxed);
            let frozen = freeze(&mut command, Point::Step(side, step));
            drop(tracing);
            let goes_on = match frozen {
                Ok(frozen) => then(&scratch, step, frozen),
                Err(finished) => {
                    assert_eq!(finished.code, Some(0), "{finished:#?}");
                    false
                }
            };
            if !goes_on {
                is_over.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for worker in 0..48 {
            scope.spawn(move || work(worker));
        }
    });
}

#[test]
fn if_the_pipe_of_records_is_full_the_run_goes_on_and_says_how_many_are_missing() {
    let scratch = Scratch::new();
    // A page has room for what the listener hands over before the message, but not for the message,
    // which is shown in 3000 letters. So what is left of it has room for the number.
    let message = "\x1b".repeat(750);
    let text = explain_through_a_pipe_of(4096, &scratch, &message);
    let (_, missing) = text.split_once(MISSING).expect("it says so");
    let (missing, _) = missing.split_once('.').unwrap();
    let missing: usize = missing.parse().unwrap();
    assert!(missing > 0, "{text}");
    assert_told_in_part(&text, &scratch, &message);
}

#[test]
fn if_the_pipe_of_records_is_full_even_for_their_number_the_run_says_that_some_are_missing() {
    let scratch = Scratch::new();
    // When the listener looks for the segment, it has handed over what it did before.
    let point = Point::Call(Side::Child, libc::SYS_shmget);
    let frozen = freeze(&mut explained_command(&scratch), point).expect("the run has not ended");
    // What it hands over never fills the pipe to the last byte: so the test does, with bytes that
    // are no record.
    let mut options = File::options();
    let options = options.write(true).custom_flags(libc::O_NONBLOCK);
    let mut pipe = options.open(pipe_of_records(frozen.parent())).unwrap();
    for size in [4096, 1] {
        let full = loop {
            if let Err(error) = pipe.write_all(&vec![0; size]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock, "{full}");
    }
    // Only the listener has the writing end from now on, as the sender waits for its end.
    drop(pipe);

    let text = text_after(frozen);
    assert!(text.contains(&format!("{MISSING}unknown.")), "{text}");
    let told = listener_names(&text);
    assert_eq!(told.last().map(String::as_str), Some("ftok"), "{text}");
    assert_told_in_part(&text, &scratch, "Hello, world");
}

/// What is said of records for which the pipe had no room; their number follows.
const MISSING: &str = "* Lines of the listener that are missing here: ";

/// Runs `--explain`, and makes the pipe of records smaller before the listener uses it.
#[track_caller]
fn explain_through_a_pipe_of(bytes: i32, scratch: &Scratch, message: &str) -> String {
    let mut command = scratch.sigshm(["--explain", "--color", "never", message]);
    let point = Point::Call(Side::Parent, libc::SYS_clone);
    let frozen = freeze(&mut command, point).expect("the run has not ended");
    let mut options = File::options();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK);
    let pipe = options.open(pipe_of_records(frozen.parent())).unwrap();
    let size = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(bytes)).unwrap();
    assert_eq!(size, bytes, "the pages are larger here");
    drop(pipe);
    text_after(frozen)
}

/// The pipe of records of a run that has forked, or is about to.
fn pipe_of_records(parent: Pid) -> PathBuf {
    // The pipe is the first one made.
    let folder = format!("/proc/{parent}/fd");
    let numbers = fs::read_dir(&folder).unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_pipe = |number: &i32| {
        let file = fs::read_link(format!("{folder}/{number}")).unwrap();
        *number > 2 && file.to_str().unwrap().starts_with("pipe:")
    };
    let first = numbers.filter(is_pipe).min().expect("there is a pipe");
    Path::new(&folder).join(first.to_string())
}

/// Lets the run go on, and what it tells: it must deliver and have nothing to complain of.
#[track_caller]
fn text_after(frozen: Frozen) -> String {
    let finished = frozen.release().finish(TIMEOUT);
    let outcome = (finished.code, finished.stderr.as_str());
    assert_eq!(outcome, (Some(0), ""), "{finished:#?}");
    finished.text().to_owned()
}

/// What the sender has done is all there, and of the listener what came first.
#[track_caller]
fn assert_told_in_part(text: &str, scratch: &Scratch, message: &str) {
    let whole = explain(scratch, "never", message);
    let [told, all] = [text, whole.text()].map(|text| names_told(text, "sender"));
    assert_eq!(told, all);
    let [told, all] = [text, whole.text()].map(listener_names);
    assert!(all.starts_with(&told), "{told:?}");
    assert!(without_explanations(text).ends_with("# All done. Freeing memory.\n"));
    scratch.assert_nothing_left();
}

// Runs, and what they tell.

/// Runs `--explain`, which must deliver and have nothing to complain of.
#[track_caller]
fn explain(scratch: &Scratch, color: &str, message: impl AsRef<OsStr>) -> Finished {
    let mut command = scratch.sigshm(["--explain", "--color", color, "--"]);
    let finished = run(command.arg(message));
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:#?}");
    finished
}

fn explained_command(scratch: &Scratch) -> Command {
    scratch.sigshm(["--explain", "--color", "never", "Hello, world"])
}

/// A file's path of more than `length` bytes, in folders within folders.
fn deep_path(scratch: &Scratch, length: usize) -> OsString {
    let mut path = scratch.dir().to_owned();
    while path.as_os_str().len() < length {
        path.push("a folder with a long name ".repeat(8).trim_end());
    }
    fs::create_dir_all(&path).unwrap();
    path.push("shared_path");
    fs::write(&path, "").unwrap();
    path.into_os_string()
}

/// The calls with this name, of which there are so many.
#[track_caller]
fn named<'a>(calls: &'a [Call], name: &str, times: usize) -> Vec<&'a Call> {
    let named: Vec<&Call> = calls.iter().filter(|call| call.name() == name).collect();
    assert_eq!(named.len(), times, "{name} in {calls:#?}");
    named
}

/// A segment at the key, created by this test. It is removed with the scratch folder, at the
/// latest.
fn create_segment(scratch: &Scratch, size: usize) -> i32 {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
    // SAFETY: shmget takes three numbers and touches no memory.
    let id = unsafe { libc::shmget(scratch.key(), size, flags) };
    assert_ne!(id, -1, "{}", io::Error::last_os_error());
    id
}

/// The program, while strace(1) has it.
fn sleeper_in(scratch: &Scratch) -> i32 {
    let is_strace = |pid: &i32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "strace"
    };
    let mut processes = scratch.processes();
    processes.retain(|pid| !is_strace(pid));
    assert_eq!(processes.len(), 1, "{processes:?}");
    processes[0]
}

// What strace(1) sees.

/// strace(1) of the program with these arguments, which logs under this name. `None`, and a word
/// about it that nobody captures, if there is no strace.
fn strace(scratch: &Scratch, name: &str, arguments: &[&str]) -> Option<Command> {
    strace_that(&[], scratch, name, arguments)
}

/// As [`strace`], with options of its own: it can do more than look.
fn strace_that(
    options: &[&str],
    scratch: &Scratch,
    name: &str,
    arguments: &[&str],
) -> Option<Command> {
    let mut version = Command::new("strace");
    if let Err(error) = version.arg("-V").stdout(Stdio::null()).status() {
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        not_tested("whether strace sees what is told", "there is no strace");
        return None;
    }
    let program = match arguments {
        ["--via=socket", rest @ ..] => scratch.via_socket(rest),
        _ => scratch.sigshm(arguments),
    };
    let log = scratch.dir().join(name);
    let mut strace = Command::new("strace");
    strace.current_dir(scratch.dir());
    strace.args(["-ff", "-v", "-s", "4096", "-o"]).arg(log);
    strace
        .args(options)
        .arg(program.get_program())
        .args(program.get_args())
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    with_default_signals(&mut strace);
    Some(strace)
}

/// Runs the program under strace(1).
fn watch(scratch: &Scratch, arguments: &[&str]) -> Option<Watched> {
    let finished = run(strace(scratch, "run", arguments)?);
    Some(Watched::new(scratch, "run", finished))
}

/// What strace(1) has seen of a run, and what the run has told.
struct Watched {
    finished: Finished,
    /// The process that has loaded the program.
    sender: Process,
    /// Its child, if it has one.
    listener: Option<Process>,
}

/// What strace(1) has seen of one process.
struct Process {
    pid: i32,
    /// The calls that have returned, from the first one of the story on.
    calls: Vec<Call>,
    /// The signals that came, but for the one of a child's end.
    signals: Vec<String>,
}

impl Process {
    fn new(pid: i32, log: &str) -> Self {
        let (mut calls, mut signals) = (Vec::new(), Vec::new());
        let mut interrupted = None;
        // A signal comes after the call that it has interrupted.
        let mut arrived = Vec::new();
        for line in log.lines() {
            if let Some(signal) = line.strip_prefix("--- ") {
                if !signal.starts_with("SIGCHLD") {
                    let name = signal.split(' ').next().unwrap();
                    signals.push(signal.to_owned());
                    arrived.push(Call {
                        who: pid.to_string(),
                        words: signal.replace(&format!("si_signo={name}, "), ""),
                        returned: String::new(),
                    });
                }
                continue;
            }
            // If it was killed meanwhile, a call has not returned.
            let Some((words, returned)) = line.rsplit_once(" = ") else {
                continue;
            };
            let words = words.trim_end().to_owned();
            let call = |words, returned: &str| Call {
                who: pid.to_string(),
                words,
                returned: returned.to_owned(),
            };
            if returned.starts_with("? ERESTART") {
                interrupted = Some(words);
            } else if words.starts_with("rt_sigreturn(") {
                // A handler has run, so the call that was interrupted was not made again.
                calls.extend(interrupted.take().map(|words| call(words, "-1 EINTR")));
                calls.append(&mut arrived);
            } else if !returned.starts_with('?') {
                interrupted = None;
                let (returned, _) = returned.split_once(" (").unwrap_or((returned, ""));
                calls.push(call(words, returned));
            }
        }
        // What comes before is the start-up of the program.
        let first = calls.iter().position(|it| it.name() == "rt_sigprocmask");
        calls.drain(..first.unwrap_or_default());
        Self { pid, calls, signals }
    }

    /// The pipes and pairs of sockets that it has made, by their descriptors.
    fn pipes(&self) -> Vec<[i32; 2]> {
        let calls = self.calls.iter();
        let pipes = calls.filter(|call| matches!(call.name(), "pipe" | "pipe2" | "socketpair"));
        pipes.map(ends).collect()
    }
}

/// The two descriptors of a pipe.
fn ends(call: &Call) -> [i32; 2] {
    let (_, ends) = call.words.split_once('[').unwrap();
    let (ends, _) = ends.split_once(']').unwrap();
    let (read, write) = ends.split_once(", ").unwrap();
    [read.parse().unwrap(), write.parse().unwrap()]
}

/// The descriptor that a call is about, if it is about one.
fn descriptor(call: &Call) -> Option<i32> {
    let (name, arguments) = call.words.split_once('(')?;
    let of_one =
        ["read", "write", "close", "fcntl", "lseek", "fstat", "statx", "newfstatat", "fcntl64"];
    let (first, _) = arguments.split_once([',', ')'])?;
    of_one.contains(&name).then(|| first.parse().ok())?
}

impl Watched {
    fn new(scratch: &Scratch, name: &str, finished: Finished) -> Self {
        let mut processes: Vec<Process> = Vec::new();
        let mut parent = None;
        for file in fs::read_dir(scratch.dir()).unwrap().flatten() {
            let file_name = file.file_name().into_string().unwrap();
            let Some(pid) = file_name.strip_prefix(&format!("{name}.")) else {
                continue;
            };
            let log = fs::read_to_string(file.path()).unwrap();
            // The next run of this name must not find it.
            fs::remove_file(file.path()).unwrap();
            let process = Process::new(pid.parse().unwrap(), &log);
            match log.contains("execve(") {
                true => parent = Some(process),
                false => processes.push(process),
            }
        }
        assert!(processes.len() <= 1, "there are too many processes");
        Self {
            finished,
            sender: parent.expect("strace has seen the program"),
            listener: processes.pop(),
        }
    }

    /// The pipe through which the listener hands over its records: the one that is not told. A run
    /// that has not forked has none.
    fn records(&self) -> Vec<i32> {
        let calls = told_calls(self.finished.text());
        let told: Vec<[i32; 2]> = calls
            .iter()
            .filter(|call| matches!(call.name(), "pipe" | "socketpair"))
            .map(ends)
            .collect();
        let mut pipes = self.sender.pipes();
        pipes.retain(|pipe| !told.contains(pipe));
        assert!(pipes.len() <= 1, "these are not told: {pipes:?}");
        pipes.concat()
    }

    /// Each process tells the calls that strace(1) has seen of it, in the same order and with the
    /// same arguments and results, and no others. Returns those that are told.
    #[track_caller]
    fn assert_told_is_seen(&self, scratch: &Scratch) -> Vec<Call> {
        let records = self.records();
        let pipes = self.sender.pipes().concat();
        let listens_alone = self.listener.is_none() && self.finished.text().contains("# Listening");
        let parent = if listens_alone { "listener" } else { "sender" };
        for (who, process) in [(parent, Some(&self.sender)), ("listener", self.listener.as_ref())] {
            let Some(process) = process else { continue };
            let seen: Vec<String> = process
                .calls
                .iter()
                .enumerate()
                // How long it waits for the lock, with a timer and SIGALRM, is not of the story.
                .filter(|(index, call)| {
                    let before = process.calls[..*index].last().map(|call| call.words.as_str());
                    let is_one_of_many = before.is_some_and(|words| {
                        words.starts_with("rt_sigaction(") && !words.contains("(SIGALRM, ")
                    });
                    !call.words.starts_with("rt_sigaction(SIGALRM, ") || is_one_of_many
                })
                .filter_map(|(_, call)| as_it_is_told(call, scratch, &records, &pipes))
                .collect();
            let seen = one_for_each_handler(seen);
            let mut told: Vec<Option<String>> = Vec::new();
            let mut looks = None;
            for it in told_by(self.finished.text(), who) {
                match it {
                    Told::Looks(times) => looks = Some((told.len(), times)),
                    Told::Call(call) => {
                        told.resize(told.len() + call.times() - 1, None);
                        told.push(Some(without_cause(&call)));
                    }
                    Told::Signal { words, .. } => told.push(Some(words)),
                    _ => {}
                }
            }
            if let Some((at, times)) = looks {
                // One entry stands for as many looks as it says, each like the first one.
                let missing = seen.len().checked_sub(told.len()).expect("more is told");
                assert_eq!(missing % times, 0, "{who}: {seen:#?}");
                let each = missing / times;
                let names = |calls: &[String]| -> Vec<String> {
                    let names = calls.iter().map(|it| it.split('(').next().unwrap());
                    names.map(str::to_owned).collect()
                };
                for look in seen[at..at + missing].chunks(each) {
                    assert_eq!(names(look), names(&seen[at - each..at]), "{who}: {seen:#?}");
                }
                told.splice(at..at, vec![None; missing]);
            }
            let mut seen = &seen[..];
            if process.was_killed() && seen.len() == told.len() + 1 {
                // Killed between the call and its record.
                seen = &seen[..told.len()];
            }
            for (index, (told, seen)) in told.iter().zip(seen).enumerate() {
                if let Some(told) = told {
                    assert_eq!(told, &with_fields_of(told, seen), "call {index} of the {who}");
                }
            }
            let counts = (told.len(), seen.len());
            assert_eq!(counts.0, counts.1, "{who}: told {told:#?}, seen {seen:#?}");
        }
        told_calls(self.finished.text())
    }

    /// What each of the two processes did, with names for what differs from run to run, and without
    /// what an explained run may do otherwise: printing, handing over its records, clocks, memory.
    fn outlines(&self, other: Option<&Segment>) -> (Vec<String>, Vec<String>) {
        let is_explained = self.finished.text().contains("    sender    ");
        let records = if is_explained { self.records() } else { Vec::new() };
        let mut names: Vec<(String, String)> = vec![(self.sender.pid.to_string(), "SENDER".into())];
        let listener = self.listener.as_ref().expect("there was a listener");
        names.push((listener.pid.to_string(), "LISTENER".into()));
        names.extend(other.map(|it| (it.id.to_string(), "OTHER".to_owned())));
        names.extend(other.map(|it| (it.creator_pid.to_string(), "CREATOR".to_owned())));
        let creates = |call: &&Call| call.words.starts_with("shmget(") && call.returned != "-1";
        // (In a new IPC namespace it is a small number, and the same in each run.)
        let id = self.sender.calls.iter().rfind(creates);
        let id = id.filter(|call| call.returned.len() > 3);
        names.extend(id.map(|call| (call.returned.clone(), "SEGMENT".to_owned())));
        let mut pipes = self.sender.pipes();
        pipes.retain(|pipe| !records.contains(&pipe[0]));
        let pipes = pipes.concat();

        let outline = |process: &Process| -> Vec<String> {
            let calls = process.calls.iter();
            // What /proc says of a process differs, and so does how it is read.
            let mut in_proc = false;
            let mut is_of_proc = |call: &&Call| {
                let was_in = in_proc;
                in_proc = call.words.contains("\"/proc/") || was_in && call.name() != "close";
                in_proc || was_in
            };
            let calls = calls.filter(|call| !is_of_proc(call) && !is_free(call, &records));
            let calls = calls.map(|call| outline(call, &names, &pipes));
            calls.collect()
        };
        let mut listened = outline(listener);
        if let Some(ready) = listened.iter().position(|it| it.starts_with("write(PIPE")) {
            let rest = &listened[ready..];
            let wait =
                ready + rest.iter().position(|it| it.starts_with("rt_sig")).unwrap_or(rest.len());
            let ends = rest.iter().position(|it| it.starts_with("newfstatat"));
            let end = ends.map_or(listened.len(), |end| ready + end);
            let waited: Vec<String> = listened.drain(wait..end).collect();
            let unblocks = "rt_sigprocmask(SIG_UNBLOCK, [USR1]) = 0";
            let blocks = "rt_sigprocmask(SIG_BLOCK, [USR1]) = 0";
            let sleeps = "pselect6 = -1 EINTR";
            if ends.is_some() {
                let waited: Vec<&str> = waited.iter().map(String::as_str).collect();
                let signal = "SIGUSR1 {si_code=SI_USER, si_pid=SENDER, si_uid=";
                match waited[..] {
                    [first, came, last] if came.starts_with(signal) => {
                        assert_eq!([first, last], [unblocks, blocks]);
                    }
                    [a, b, c, came] if came.starts_with(signal) => {
                        assert_eq!([a, b, c], [unblocks, blocks, sleeps]);
                    }
                    _ => panic!("{waited:#?}"),
                }
            }
        }
        (outline(&self.sender), listened)
    }
}

impl Process {
    fn was_killed(&self) -> bool {
        let mut calls = self.calls.iter();
        !calls.any(|call| matches!(call.name(), "shmdt" | "recvfrom"))
    }
}

/// What one process tells: its calls, and how often it has looked.
fn told_by(text: &str, who: &str) -> Vec<Told> {
    let mut told = told(text);
    // In the runs that are watched, only one process looks again: the sender, or a listener alone.
    let looks = if text.contains("    sender    ") { "sender" } else { "listener" };
    told.retain(|it| match it {
        Told::Call(call) => call.who == who && (call.name() != "fork" || who == "sender"),
        Told::Looks(_) => who == looks,
        Told::Signal { who: it, .. } => it == who,
        _ => false,
    });
    told
}

/// A call, without the words for its errno. Of a path, only that it is one: a long one is cut.
fn without_cause(call: &Call) -> String {
    let Call { words, returned, .. } = call;
    let (returned, _) = returned.split_once(" (").unwrap_or((returned, ""));
    let words = match words.split('"').collect::<Vec<_>>()[..] {
        [start @ ("open(" | "ftok("), _, rest] => format!("{start}PATH{rest}"),
        _ => words.clone(),
    };
    format!("{words} = {returned}")
}

/// One handler for many signals is told in one line; strace(1) sees a call for each.
fn one_for_each_handler(seen: Vec<String>) -> Vec<String> {
    let mut told: Vec<(Vec<String>, String)> = Vec::new();
    for call in seen {
        let parts = call.strip_prefix("sigaction(SIG");
        let parts = parts.and_then(|it| it.split_once(", {sa_handler=0x"));
        match (parts, told.last_mut()) {
            (Some((signal, handler)), Some((signals, last))) if last == handler => {
                signals.push(signal.to_owned());
            }
            (Some((signal, handler)), _) => {
                told.push((vec![signal.to_owned()], handler.to_owned()));
            }
            _ => told.push((Vec::new(), call)),
        }
    }
    let told = told.into_iter().map(|(signals, rest)| match &signals[..] {
        [] => rest,
        [signal] => format!("sigaction(SIG{signal}, {{sa_handler=0x{rest}"),
        signals => {
            let signals = cut(&signals.join(" "));
            format!("sigaction([{signals}], {{sa_handler=0x{rest}")
        }
    });
    told.collect()
}

/// What was seen, with the fields of a status that are told: `{shm_cpid=4547, shm_nattch=1, …}`.
fn with_fields_of(told: &str, seen: &str) -> String {
    let parts = |call: &str| -> Option<(String, Vec<String>, String)> {
        let (start, rest) = call.split_once("IPC_STAT, {")?;
        let (fields, rest) = rest.split_once('}')?;
        let fields = fields.split(", ").map(str::to_owned).collect();
        Some((start.to_owned(), fields, rest.to_owned()))
    };
    let (Some((_, told, _)), Some((start, mut seen_fields, rest))) = (parts(told), parts(seen))
    else {
        return seen.to_owned();
    };
    assert_eq!(told.len(), 3, "{told:?}");
    seen_fields.retain(|field| told.contains(field));
    format!("{start}IPC_STAT, {{{}}}{rest}", seen_fields.join(", "))
}

/// A list of signals as it is told: of many, the first three.
fn cut(signals: &str) -> String {
    let signals: Vec<&str> = signals.split(' ').collect();
    match signals[..] {
        [first, second, third, _, _, ..] => format!("{first} {second} {third} …"),
        _ => signals.join(" "),
    }
}

/// A call that strace(1) has seen, in the words in which it is told; `None` if it is not of the
/// story.
fn as_it_is_told(call: &Call, scratch: &Scratch, records: &[i32], pipes: &[i32]) -> Option<String> {
    let Call { words, returned, .. } = call;
    let path = format!("\"{}\"", scratch.path().display());
    if words.starts_with("SIG") {
        return Some(words.clone());
    }
    let told = match call.name() {
        "socketpair" => words.clone(),
        "sendto" if words.ends_with(", 1024, 0, NULL, 0)") => {
            let (fd, _) = words.strip_prefix("sendto(")?.split_once(", ")?;
            format!("send({fd}, …, 1024, 0)")
        }
        "recvfrom" if words.ends_with(", 1024, MSG_WAITALL, NULL, NULL)") => {
            let (fd, _) = words.strip_prefix("recvfrom(")?.split_once(", ")?;
            format!("recv({fd}, …, 1024, MSG_WAITALL)")
        }
        "shmat" | "shmdt" | "kill" | "flock" => words.clone(),
        "poll" if words.contains("events=POLLIN}") => words.clone(),
        "shmget" => {
            let (key, rest) = words.strip_prefix("shmget(0x")?.split_once(", ")?;
            // Some versions of strace write no permissions as three digits.
            format!("shmget(0x{key:0>8}, {}", rest.replace(", 000)", ", 0)"))
        }
        "shmctl" if call.is_status() => {
            let (start, _) = words.split_once("IPC_STAT, ").unwrap();
            match returned.as_str() {
                "0" => {
                    let fields = ["shm_segsz", "shm_cpid", "shm_lpid", "shm_nattch"];
                    let fields = fields.map(|label| format!("{label}={}, ", call.field(label)));
                    format!("{start}IPC_STAT, {{{}…}})", fields.concat())
                }
                _ => format!("{start}IPC_STAT, …)"),
            }
        }
        "shmctl" => words.clone(),
        "wait4" => words.replace("wait4(", "waitpid(").replace(", 0, NULL)", ", 0)"),
        "openat" if words.contains(&path) => {
            words.replace("openat(AT_FDCWD, ", "open(").replace(&path, "PATH")
        }
        "newfstatat" | "stat" if words.contains(&path) => {
            return Some(format!("ftok(PATH, 1) = 0x{:08x}", scratch.key()));
        }
        "clock_nanosleep" => {
            let (_, time) = words.split_once('{')?;
            let (time, _) = time.split_once('}')?;
            format!("nanosleep({{{time}}}, …)")
        }
        "clone" | "clone3" | "fork" | "vfork" => "fork()".to_owned(),
        "pipe" | "pipe2" if !records.contains(&ends(call)[0]) => format!("pipe({:?})", ends(call)),
        "read" | "write" => {
            // One byte through a pipe: ready, or the end of the pipe.
            let descriptor = descriptor(call)?;
            let is_byte = words.ends_with(", 1)") && pipes.contains(&descriptor);
            if !is_byte || records.contains(&descriptor) {
                return None;
            }
            match call.name() {
                "read" => words.clone(),
                _ => format!("write({descriptor}, …, 1)"),
            }
        }
        "rt_sigprocmask" => {
            let (start, _) = words.split_once("],")?;
            let (start, signals) = start.strip_prefix("rt_")?.split_once('[')?;
            format!("{start}[{}], …)", cut(signals))
        }
        "rt_sigaction" => {
            let (signal, rest) = words.strip_prefix("rt_sigaction(SIG")?.split_once(", ")?;
            // Without a new action it only asks for the old one.
            let rest = rest.strip_prefix('{')?;
            let (handler, _) = rest.split_once(", ")?;
            format!("sigaction(SIG{signal}, {{{handler}, …}}, …)")
        }
        "pselect6" => {
            // If no descriptor is waited for, strace does not look at the set.
            let mut arguments = words.strip_prefix("pselect6(")?.splitn(3, ", ");
            let (width, set, rest) = (arguments.next()?, arguments.next()?, arguments.next()?);
            let set = if width == "0" { "[]" } else { set };
            let rest = rest.replace("{sigmask=", "").replace(", sigsetsize=8}", "");
            format!("pselect({width}, {set}, {rest}")
        }
        _ => return None,
    };
    Some(format!("{told} = {returned}"))
}

/// Whether an explained run may make this call more often, or less often, than a plain one.
fn is_free(call: &Call, records: &[i32]) -> bool {
    const MEMORY_AND_CLOCKS: [&str; 9] = [
        "brk",
        "mmap",
        "munmap",
        "mremap",
        "madvise",
        "mprotect",
        "clock_gettime",
        "gettimeofday",
        "getrusage",
    ];
    let is_of_records = match call.name() {
        "pipe" | "pipe2" => records.contains(&ends(call)[0]),
        _ => descriptor(call).is_some_and(|fd| records.contains(&fd)),
    };
    MEMORY_AND_CLOCKS.contains(&call.name()) || call.words.starts_with("write(1, ") || is_of_records
}

/// A call, with names instead of what differs from run to run.
fn outline(call: &Call, names: &[(String, String)], pipes: &[i32]) -> String {
    let mut returned = call.returned.as_str();
    // Some PIDs are also sizes.
    let sizes = [("(512 ", "(SMALL "), ("(1024 ", "(SIZE "), (", 1024,", ", SIZE,")];
    let words = call.words.clone();
    let words = sizes.iter().fold(words, |words, (size, name)| words.replace(size, name));
    let until = |mark: &str| words.split(mark).next().unwrap().to_owned();
    let words = match call.name() {
        // The times in them differ, and the timeout that is left.
        "shmctl" if call.is_status() => {
            let fields = ["shm_cpid", "shm_lpid", "shm_nattch"];
            let fields = fields.map(|label| format!("{label}={}", call.field(label)));
            format!("{}{fields:?}", until("{"))
        }
        // How long a line is depends on how long the PIDs in it are.
        "write" if words.starts_with("write(2, ") => {
            returned = "LENGTH";
            words.rsplit_once(", ").unwrap().0.to_owned()
        }
        "statx" | "newfstatat" => until("{"),
        "setitimer" | "pselect6" | "pipe2" | "clone" => call.name().to_owned(),
        "socketpair" => until("["),
        "sendto" | "recvfrom" => call.name().to_owned() + "(" + words.rsplit_once('"').unwrap().1,
        "rt_sigaction" => until(", sa_mask"),
        "rt_sigprocmask" => until("],") + "])",
        "poll" => until("}]"),
        _ => words.clone(),
    };
    let name = |word: &str| {
        let known = names.iter().find(|(number, _)| number == word);
        let address = word.strip_prefix("0x").filter(|digits| digits.len() > 8);
        match (known, address) {
            (Some((_, name)), _) => name.clone(),
            (_, Some(_)) => "ADDRESS".to_owned(),
            _ => word.to_owned(),
        }
    };
    let mut text = String::new();
    let whole = format!("{words} = {returned}");
    let mut rest = whole.as_str();
    // Word by word, with all that lies between.
    while !rest.is_empty() {
        let is_word = |letter: char| letter.is_ascii_alphanumeric();
        let word = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        text += &name(&rest[..word]);
        rest = &rest[word..];
        let gap = rest.find(is_word).unwrap_or(rest.len());
        text += &rest[..gap];
        rest = &rest[gap..];
    }
    // The pipes have other descriptors if there is one more.
    for (index, fd) in pipes.iter().enumerate() {
        let end = format!("PIPE {index}");
        let before = [format!("({fd},"), format!("({fd})"), format!("fd={fd},")];
        let after = [format!("({end},"), format!("({end})"), format!("fd={end},")];
        let is_of_descriptor = descriptor(call) == Some(*fd) || call.name() == "poll";
        for (before, after) in before.iter().zip(&after).filter(|_| is_of_descriptor) {
            text = text.replacen(before, after, 1);
        }
    }
    text
}

// What the picture of the bytes shows.

/// The picture of the bytes shows the 1024 bytes that the struct with this text has.
#[track_caller]
fn assert_pictured(scratch: &Scratch, message: &[u8]) {
    let finished = explain(scratch, "never", OsStr::from_bytes(message));
    let (fields, bytes) = bytes_pictured(finished.text());

    let mut expected = 1i32.to_ne_bytes().to_vec();
    expected.extend([0; 4]);
    expected.extend(message.len().to_ne_bytes());
    expected.extend(message);
    expected.resize(1024, 0);
    assert_eq!(bytes, expected);

    let end = 16 + message.len();
    let shown: String = message
        .iter()
        .map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        })
        .collect();
    let size = format!("= {}", message.len());
    let mut expected = vec![("id", 0, "= 1"), ("padding", 4, ""), ("size", 8, &size)];
    expected.push(("text", 16, &shown));
    expected.push(("unused", end, ""));
    let fields: Vec<(&str, usize, &str)> =
        fields.iter().map(|(name, at, text)| (name.as_str(), *at, text.as_str())).collect();
    assert_eq!(fields, expected);
}

/// Reads the picture of the bytes: the name, the place and the text column of each field; and the
/// bytes of all.
fn bytes_pictured(text: &str) -> (Vec<(String, usize, String)>, Vec<u8>) {
    let mut fields: Vec<(String, usize, String)> = Vec::new();
    let mut bytes = Vec::new();
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("    field   at  bytes"))
        .skip(1)
        .take_while(|line| line.starts_with("    ") && !line.starts_with("    sender"));
    for row in rows {
        let row = format!("{row:<80}");
        assert!(row.is_ascii() && row.len() == 80, "{row:?}");
        let (name, at, hexadecimal, shown) = (&row[4..12], &row[12..15], &row[16..64], &row[64..]);
        let at = usize::from_str_radix(at, 16).unwrap();
        assert_eq!(at, bytes.len(), "{row:?} is where it says");
        if !name.trim().is_empty() {
            fields.push((name.trim().to_owned(), at, String::new()));
        }
        let (name, _, text) = fields.last_mut().expect("the first row has a name");
        if let Some(zeros) = row[16..].strip_prefix("00 ... ") {
            let (count, last) = zeros.split_once(" bytes of zeros, up to ").unwrap();
            bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), 0);
            let last = usize::from_str_radix(last.trim(), 16).unwrap();
            assert_eq!(last, bytes.len() - 1, "{row:?}");
            continue;
        }
        let row_bytes: Vec<u8> = hexadecimal
            .split_whitespace()
            .map(|digits| u8::from_str_radix(digits, 16).unwrap())
            .collect();
        if shown.trim() == "(empty)" && row_bytes.is_empty() {
            continue;
        }
        assert!((1..=16).contains(&row_bytes.len()), "{row:?}");
        // A text may end in spaces, which are there but cannot be seen; it is as long as its bytes.
        if name == "text" {
            let (of_bytes, beyond) = shown.split_at(row_bytes.len());
            text.push_str(of_bytes);
            assert_eq!(beyond.trim(), "", "{row:?}");
        } else {
            text.push_str(shown.trim_end());
        }
        bytes.extend(row_bytes);
    }
    (fields, bytes)
}
