//! `--explain` adds to the transcript and changes nothing of it. What it adds is true: it agrees
//! with itself, with the struct's layout, and with what strace(1) sees of the same run. And it
//! changes nothing of the run either: until the run is over, nothing is told.

use std::collections::BTreeSet;
use std::os::unix::fs::OpenOptionsExt;

use sigshm::explain::entry::{Entry, Kind};
use sigshm::explain::{bytes, timeline};
use sigshm::message::Message;
use sigshm::output::stdout::Stdout;
use sigshm::step::Who;

use crate::support::namespaces::with_ipc_setting;
use crate::support::strace::{Process, Strace, Watched, call_at_hand, inject};
use crate::support::told::*;
use crate::support::tracer::{Point, Side, at_steps, can_trace, freeze};
use crate::support::*;

// What is added, and how it looks.

#[test]
fn without_the_extra_lines_it_is_the_transcript_and_color_never_leaves_no_escape_at_all() {
    let scratch = Scratch::new();
    for (message, shown) in [
        (HELLO, HELLO),
        ("", ""),
        ("    sender    kill(1, SIGKILL) = 0", "    sender    kill(1, SIGKILL) = 0"),
        ("\n    \x1b[2mlistener\n", r"\n    \x1b[2mlistener\n"),
        ("\x1b[31mred", r"\x1b[31mred"),
        // As what the listener hands to the sender begins.
        ("1 2 3\n1 2 3\n", r"1 2 3\n1 2 3\n"),
    ] {
        for color in ["always", "never"] {
            let text = explain(&scratch, color, message);
            let coloured = transcript(listener_in(&text), message.len(), shown);
            let expected = if color == "always" { coloured } else { plain(&coloured) };
            assert_eq!(without_explanations(&text), expected);
            assert_ne!(text, expected, "nothing is explained");
            assert_eq!(text.contains('\x1b'), color == "always", "{text}");
        }
    }
}

#[test]
fn each_extra_line_starts_and_ends_its_own_style_and_only_manual_pages_and_ellipses_are_dim() {
    let text = explain(&Scratch::new(), "always", HELLO);
    let (mut styles, mut dim) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines().filter(|line| is_explanation(line)) {
        let (mut bright, mut rest) = (String::new(), line);
        while let Some((before, after)) = rest.split_once("\x1b[2m") {
            let (inside, after) = after.split_once("\x1b[0m").expect("the line resets");
            dim.insert(inside.to_owned());
            (bright, rest) = (bright + before, after);
        }
        bright += rest;
        // The process in its role's colour, and then the call, which has none; the signal has.
        let processes = [(SENDER, "sender    "), (LISTENER, "listener  ")];
        let process = processes.map(|(color, who)| format!("{color}    {who}\x1b[0m"));
        let mut rest = bright.trim();
        if let Some(call) = process.iter().find_map(|process| bright.strip_prefix(process)) {
            assert_eq!(call.starts_with(RECEIVER), call.contains("--- SIG"), "{line:?}");
            rest = call.trim_end();
        }
        if let Some(styled) = rest.strip_prefix("\x1b[") {
            let (style, inside) = styled.split_once('m').unwrap();
            styles.insert(format!("\x1b[{style}m"));
            rest = inside.strip_suffix("\x1b[0m").expect("the line resets");
        }
        assert!(!rest.contains('\x1b'), "{line:?}");
    }
    // The numbers and the text of the bytes; the sender and the listener of the timeline.
    let expected = ["\x1b[32m", RECEIVER, SENDER, LISTENER];
    assert_eq!(styles, expected.map(str::to_owned).into());
    let pages = told_pages(&text).into_iter().filter_map(|it| it.named);
    assert_eq!(dim, pages.chain(["…".to_owned()]).collect());
    // Lessons have no style, nor have headings.
    let headings = ["    The ", "    field ", "          us ", "              PID "];
    let mut is_plain = false;
    for line in text.lines() {
        is_plain = line.starts_with("    * ")
            || is_plain && line.starts_with("      ")
            || line.ends_with(':')
            || headings.iter().any(|start| line.starts_with(start));
        assert!(!is_plain || !line.contains('\x1b'), "{line:?}");
    }
}

#[test]
fn whatever_is_called_before_the_first_line_stands_under_a_heading_with_a_sentence() {
    let scratch = Scratch::new();
    let preparation = "Preparation: * sigprocmask sigaction sigaction";
    let lock = "The lock on the file: * open flock";
    let demo = explain(&scratch, "never", HELLO);
    let through_a_socket = run(scratch.via_socket(["--explain", "--color=never", HELLO]));
    let options = ["--explain", "--color=never"];
    let listener = scratch.listen(&options);
    let sender = run(scratch.sender(listener.pid(), &options, HELLO));
    let listens = format!("{preparation} sigprocmask ftok");
    let sends = format!("{preparation} {lock} The listener's PID: * kill");
    for (text, expected) in [
        (demo.as_str(), format!("{preparation} {lock}")),
        (through_a_socket.text(), preparation.to_owned()),
        (&listener.finish_well(), listens),
        (sender.text(), sends),
    ] {
        let before = told(text).into_iter().map_while(|it| match it {
            Told::Line(_) => None,
            Told::Call(call) => Some(call.name().to_owned()),
            Told::Words(words) => Some(words.strip_prefix("    ").unwrap_or("*").to_owned()),
            other => Some(format!("{other:?}")),
        });
        let mut before: Vec<String> = before.collect();
        before.dedup_by(|it, last| *it == "*" && *last == "*"); // a sentence or two
        assert_eq!(before.join(" "), expected, "{text}");
    }
    // And who is who is said once.
    for (text, said) in [
        (demo.as_str(), "the parent, which is the sender"),
        (through_a_socket.text(), "The parent is the sender"),
    ] {
        assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" ").matches(said).count(), 1);
    }
}

#[test]
fn only_lines_of_the_transcript_are_wider_than_80_columns_and_only_a_long_path_is_cut() {
    let scratch = Scratch::new();
    let folder = |name: &str| {
        let folder = scratch.dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    };
    let long = folder(&["a folder with a long name"; 120].join("/"));
    let (longest, escapes) = ("x".repeat(LONGEST), "\x1b".repeat(LONGEST));
    for (path, is_long, message) in [
        (scratch.path(), false, HELLO),
        (scratch.path(), false, &longest),
        (scratch.path(), false, &escapes),
        // A path is shown as it is, spaces and all.
        (folder("a  b"), false, HELLO),
        (long.clone(), true, HELLO),
        (long, true, &longest),
    ] {
        assert_eq!(path.as_os_str().len() > 3000, is_long);
        let text = Program::start(sigshm_at(&path, ["--explain", message])).finish_well();
        for line in explanations(&text) {
            assert!(line.chars().count() <= 80, "{line:?}");
        }
        // Of a path that is too long, the middle is missing.
        for ftok in named(&told_calls(&text), "ftok", 2) {
            let whole = format!("ftok(\"{}\", 1)", path.display());
            let is_cut = ftok.words.contains('…') && ftok.words.ends_with("a long name\", 1)");
            assert!(is_cut || ftok.words == whole, "{ftok:?}");
            assert_eq!(is_cut, is_long, "{ftok:?}");
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
        assert_eq!(stdout.lesson("* ", &text), format!("    * {}\n", expected.join("\n      ")));
    }
}

#[test]
fn a_signal_that_the_starter_ignores_is_told_to_be_ignored() {
    let scratch = Scratch::new();
    let mut command = explained_command(&scratch);
    command.in_child(|| set(SIGHUP, SigHandler::SigIgn));
    let calls = told_calls(&Program::start(command).finish_well());
    let [caught, ignored] = [
        "sigaction([HUP INT QUIT …], {sa_handler=0x",
        "sigaction(SIGHUP, {sa_handler=SIG_IGN, …}, …)",
    ]
    .map(|words| calls.iter().position(|call| call.words.starts_with(words)));
    assert!(caught.is_some() && caught < ignored, "{calls:#?}");
}

#[test]
fn each_manual_page_is_named_once_where_its_call_first_appears() {
    let scratch = Scratch::new();
    let mut texts = vec![explain(&scratch, "never", HELLO)];
    leave_behind(&scratch);
    texts.push(run(explained_command(&scratch)).text().to_owned());
    for text in texts {
        let mut pages = BTreeSet::new();
        for told in told_pages(&text) {
            let first = told.page.as_ref().filter(|page| pages.insert(page.to_string()));
            assert_eq!(told.named.as_ref(), first, "{told:?} in {text}");
        }
        // (Whether the listener has to sleep differs from run to run.)
        pages.remove("pselect(2)");
        let expected = "flock(2) fork(2) ftok(3) kill(2) open(2) pipe(2) poll(2) read(2) shmat(2) \
                        shmctl(2) shmdt(2) shmget(2) sigaction(2) signal(7) sigprocmask(2) \
                        waitpid(2) write(2)";
        assert_eq!(Vec::from_iter(pages).join(" "), expected, "{text}");
    }
}

// The bytes.

#[test]
fn the_picture_decodes_to_the_bytes_in_the_segment() {
    let scratch = Scratch::new();
    for length in [0, 1, 15, 16, 17, 31, 32, 33, 991, 992, 993, LONGEST - 1, LONGEST] {
        assert_pictured(&scratch, &vec![b'm'; length]);
    }
    assert_pictured(&scratch, &Vec::from_iter(1..=255));
    for message in [
        b"\xff\xfe\xc3",
        &b"\x1b[2J\n\t\r\x7f"[..],
        "naïve 日本 \u{202e}".as_bytes(),
        b"00 ... 16 bytes of zeros, up to 3ff",
        &[b' '; 40],
        b"unused  3ff 00",
    ] {
        assert_pictured(&scratch, message);
    }
}

#[test]
fn the_picture_decodes_to_any_message() {
    let scratch = Scratch::new();
    // All of them are one case: however slow the machine is, there are as many.
    let any = arbtest::arbtest(|any| {
        for _ in 0..30 {
            let length = any.int_in_range(0..=LONGEST)?;
            let message: Result<Vec<u8>, _> =
                (0..length).map(|_| any.int_in_range(1..=255)).collect();
            assert_pictured(&scratch, &message?);
        }
        Ok(())
    });
    any.size_min(30 * 1024).run();
}

/// The picture of the bytes shows the 1024 bytes that the struct with this text has.
#[track_caller]
fn assert_pictured(scratch: &Scratch, message: &[u8]) {
    let text = explain(scratch, "never", OsStr::from_bytes(message));
    let (fields, bytes) = bytes_pictured(&text);
    assert_eq!(bytes, message_bytes(1, message.len(), message));
    let letter = |&byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '.' };
    let word = size_of::<usize>();
    let mut expected = vec![
        ("id", 0, "= 1".to_owned()),
        ("padding", 4, String::new()),
        ("size", word, format!("= {}", message.len())),
        ("text", 2 * word, message.iter().map(letter).collect()),
        ("unused", 2 * word + message.len(), String::new()),
    ];
    // Between two numbers of four bytes there is none.
    expected.retain(|field| field.0 != "padding" || word > 4);
    let expected = expected.into_iter().map(|(name, at, text)| (name.to_owned(), at, text));
    assert_eq!(fields, Vec::from_iter(expected));
}

#[test]
fn the_picture_names_every_field_folds_the_zeros_and_has_the_bytes_that_no_sender_writes() {
    needs!(has_documented_bytes("a picture of bytes, letter for letter"));
    let mut message = Message::new(b"Hello, world, and all").unwrap();
    let mut shown = "\
The message, as the listener finds it:
field   at  bytes                                           as text
id      000 01 00 00 00                                     = 1
padding 004 00 00 00 00
size    008 15 00 00 00 00 00 00 00                         = 21
text    010 48 65 6c 6c 6f 2c 20 77 6f 72 6c 64 2c 20 61 6e Hello, world, an
        020 64 20 61 6c 6c                                  d all
unused  025 00 ... 987 bytes of zeros, up to 3ff"
        .to_owned();
    let picture = |message: &Message| shown_in(bytes::picture(message.checked().unwrap()));
    assert_eq!(picture(&message), shown);

    message.padding.iter_mut().zip(1..).for_each(|(byte, value)| *byte = value);
    message.text[40] = b'x';
    shown = shown.replace("004 00 00 00 00", "004 01 02 03 04").replace(
        "unused  025 00 ... 987 bytes",
        "\
unused  025 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 ................
        035 00 00 00 78 00 00 00 00 00 00 00 00 00 00 00 00 ...x............
        045 00 ... 955 bytes",
    );
    assert_eq!(picture(&message), shown);
}

// The timeline.

#[test]
fn in_10_runs_on_busy_processors_each_call_is_told_under_its_line_and_ids_and_the_timeline_agree() {
    let scratch = Scratch::new();
    let _busy = Busy::start();
    for _ in 0..10 {
        let began = Instant::now();
        let running = Program::start(scratch.sigshm(["--explain", HELLO]));
        let sender = running.pid();
        let text = running.finish_well();
        let lasted = began.elapsed();
        let listener = listener_in(&text);
        assert_eq!(without_explanations(&text), transcript(listener, 12, HELLO));
        // Causes come before effects, whichever process was faster.
        assert_story(&text, sender, &scratch, &[]);

        let [names, pids, ..] = &timeline(&text)[..] else { panic!("{text}") };
        let heads = |row: &Row| format!("{}|{}|{}|{}", row.time, row.left, row.middle, row.right);
        assert_eq!(heads(names), "us|sender||listener");
        assert_eq!(heads(pids), format!("|PID {sender}||PID {listener}"));
        let events = events(&text);
        let times: Vec<u64> = events.iter().map(|event| event.0).collect();
        assert!(times.is_sorted(), "{times:?}");
        // The run is no longer than the program.
        assert!(times.last() <= Some(&(lasted.as_micros() as u64)), "{times:?}");
        // While it spins, the sender does what it does: that is one row, at its beginning.
        let [ready, spins, stores] = ["says: ready", "spins ", "the handler"]
            .map(|what| events.iter().position(|event| event.2.starts_with(what)));
        assert!(ready < spins && spins < stores, "{text}");
        let (_, who, _, crosses) = &events[spins.unwrap()];
        assert_eq!((*who, crosses.as_str()), ("listener", ""), "{text}");
    }
}

#[test]
fn the_timeline_is_in_order_whichever_process_was_recorded_first_and_ten_hours_fit_80_columns_too()
{
    let event = |time, who, kind, what: &str, crosses: &str| Entry {
        crosses: crosses.to_owned(),
        ..Entry::new(Duration::from_micros(time), who, kind, what)
    };
    let pid = "PID 4194304";
    let picture = |events: &[Entry]| shown_in(timeline::picture(pid, pid, events));
    let shown = [
        "The run, in microseconds since its start:",
        "      us  sender                                      listener",
        "          PID 4194304                                 PID 4194304",
        "      35  forks                 ------- fork ------->",
        "     120                                              starts",
        "     240                        <------ status ------ ends",
    ];
    let events = [
        event(120, Who::Listener, Kind::Event, "starts", ""),
        event(35, Who::Sender, Kind::ToListener, "forks", "fork"),
        event(240, Who::Listener, Kind::ToSender, "ends", "status"),
    ];
    assert_eq!(picture(&events), shown.join("\n"));
    // No test can wait until the numbers are long. These are the widest of everything else.
    let (crosses, ten_hours) = ("segment 2147483647", 36_000_000_000);
    let events = [
        event(ten_hours, Who::Sender, Kind::ToListener, "shmget() = 2147483647", crosses),
        event(ten_hours, Who::Listener, Kind::ToListener, "copies the message out", crosses),
    ];
    for line in picture(&events).lines() {
        // Printed, it is indented by four.
        assert!(4 + line.chars().count() <= 80, "{line:?}");
    }
}

/// The lines of a picture.
fn shown_in<T>(picture: Vec<(T, String)>) -> String {
    picture.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n")
}

// It agrees with strace(1), and an explained run makes the calls of a plain one.

/// The options of a plain run and of an explained one.
const PLAIN_AND_EXPLAINED: [&str; 2] = ["--color=never", "--explain"];

#[test]
fn strace_sees_the_calls_that_are_told_and_no_others_and_those_of_a_plain_run() {
    let Some(strace) = Strace::find() else { return };
    let scratch = Scratch::new();
    let explained = assert_same_and_told("nothing is in the way", |option| {
        strace.watch(&scratch, &[option, HELLO], 0)
    });
    // It is the whole story, the signal that has come from the sender too.
    assert_story(explained.finished.text(), explained.sender.pid, &scratch, &[]);
    assert_eq!(explained.listener.as_ref().unwrap().signals().len(), 1);
    let length = explained.outline().iter().position(|it| it == "LISTENER:");
    assert!(length > Some(31), "{length:?}");
}

/// Watches a plain run and an explained one. Both make the same calls, and what the explained one
/// tells is what strace(1) sees. Returns that one.
#[track_caller]
fn assert_same_and_told(case: &str, watch: impl FnMut(&str) -> Watched) -> Watched {
    let [plain, explained] = PLAIN_AND_EXPLAINED.map(watch);
    assert_same(&plain.outline(), &explained.outline(), case);
    explained.assert_told_is_seen();
    explained
}

#[test]
fn strace_sees_the_calls_that_are_told_with_another_signal_and_another_way_to_wait() {
    let Some(strace) = Strace::find() else { return };
    at_once(["WINCH", "TERM", "PIPE", "TSTP", "USR2"], |signal| {
        let arguments = ["--explain", "--wait=sleep", "--signal", signal, "Hello"];
        let watched = strace.watch(&Scratch::new(), &arguments, 0);
        watched.assert_told_is_seen();
        let signals = watched.listener.as_ref().unwrap().signals();
        assert_eq!(signals.len(), 1, "{signals:?}");
        assert!(signals[0].starts_with(&format!("SIG{signal} {{")));
    });
}

#[test]
fn strace_sees_the_calls_that_a_run_through_a_socket_tells_and_makes_without_telling() {
    let Some(strace) = Strace::find() else { return };
    let scratch = Scratch::new();
    let explained = assert_same_and_told("through a socket", |option| {
        strace.watch(&scratch, &["--via=socket", option, HELLO], 0)
    });
    let whole = explained.outline().join("\n");
    for call in ["socketpair(", "send(", "recv("] {
        assert_eq!(whole.matches(call).count(), 1, "{whole}");
    }
    for call in ["shm", "flock", "kill(", "pselect", "pipe"] {
        assert!(!whole.contains(call), "{call} in {whole}");
    }
}

#[test]
fn strace_sees_as_many_polls_as_are_told_and_the_last_of_them_as_it_is_told() {
    let Some(strace) = Strace::find() else { return };
    let (in_time, for_ever) = ("--timeout=60", "--timeout=1e30");
    // What the first four polls come to, in place of what the kernel would say. (One comes before
    // them, at the start-up of the program.)
    let in_vain = Some(("poll", "retval=0", "2..5"));
    let interrupted = Some(("poll", "error=EINTR", "2..5"));
    // Each process attaches late, so that the sender waits for the listener for over a second.
    let slow = Some(("shmat", "delay_enter=1200000", "1"));
    let rows = [
        ("--explain", in_time, None),
        ("--explain", in_time, in_vain),
        ("--explain", in_time, interrupted),
        ("--explain", for_ever, None),
        ("--explain", for_ever, in_vain),
        ("--explain", for_ever, interrupted),
        ("--explain", for_ever, slow),
        ("--step", for_ever, None),
    ];
    at_once(rows, |(option, timeout, fault)| {
        let case = format!("{option} {timeout} {fault:?}");
        let scratch = Scratch::new();
        let fails = fault.map(|(call, answer, when)| inject(call, answer, when));
        let options: Vec<&str> = fails.iter().flat_map(|it| ["-e", it]).collect();
        let arguments = [option, timeout, HELLO];
        let finished = run(strace.command(&scratch, "run", &options, &arguments));
        assert_eq!((finished.code, &*finished.stderr), (Some(0), ""), "{case}");
        let watched = Watched::new(&scratch, "run", finished);
        if option == "--explain" {
            watched.assert_told_is_seen();
        }

        // The sender waits twice: until the listener is ready, and until it has ended. (At a stop
        // it waits for standard input, which is not told.)
        let calls = told_calls(watched.finished.text());
        let told = named(&calls, "poll", 2);
        let mut seen = watched.sender.called("poll");
        seen.retain(|it| !it.words.contains("fd=0,"));
        let waits: Vec<&[&Call]> = seen.split_inclusive(|it| it.returned == "1").collect();
        assert_eq!(waits.len(), 2, "{case}: {told:#?} {seen:#?}");
        for (told, seen) in told.iter().zip(&waits) {
            assert_eq!(told.times(), seen.len(), "{case}: {told:?} {seen:#?}");
            assert_eq!(told.words, seen[seen.len() - 1].words, "{case}");
            // Without an end it looks once a second whether there is still something to wait for.
            let looks = told.words.ends_with("}], 1, 1000)");
            assert_eq!(looks, timeout == for_ever, "{case}: {told:?}");
        }
        assert_eq!(waits[0].len() > 4, fault.is_some() && fault != slow, "{case}: {seen:#?}");
        assert!(waits[1].len() > 1 || fault != slow, "{case}: {seen:#?}");
    });
}

#[test]
fn strace_sees_as_many_sleeps_of_a_listener_as_are_told_and_the_last_of_them_as_it_is_told() {
    let Some(strace) = Strace::find() else { return };
    // The first three sleeps are over at once: nobody waits for seconds.
    let over = inject("pselect", "retval=0", "1..3");
    at_once(["--color=never", "--timeout=1e30", "--timeout=60"], |option| {
        let scratch = Scratch::new();
        let arguments = ["--listen", "--explain", option];
        let command = strace.command(&scratch, "listener", &["-e", &over], &arguments);
        let listener = Program::start(command);
        listener.until_printed("# Registering");
        let pid = Pid::from_raw(listener_in(&listener.printed()));
        wait_until("it has slept three times", || {
            Process::until_now(&scratch, "listener", pid).called("pselect").len() >= 3
        });
        let sent = run(scratch.sender(pid, &[], HELLO));
        assert_eq!(sent.code, Some(0), "{option}: {sent:#?}");
        let watched = Watched::new(&scratch, "listener", listener.finish());
        let outcome = (watched.finished.code, watched.finished.stderr.as_str());
        assert_eq!(outcome, (Some(0), ""), "{option}");
        let calls = watched.assert_told_is_seen();
        let told = named(&calls, "pselect", 1);
        assert_eq!(told[0].times(), watched.sender.called("pselect").len(), "{option}: {calls:#?}");
    });
}

#[test]
fn strace_sees_the_calls_that_fail_too_and_they_are_those_of_a_plain_run() {
    let Some(strace) = Strace::find() else { return };
    // A segment that was left behind, and is removed.
    let scratch = Scratch::new();
    let mut left = None;
    let removes = assert_same_and_told("a segment was left behind", |option| {
        left = Some(leave_behind(&scratch));
        strace.watch(&scratch, &[option, HELLO], 0)
    });
    let (Segment { id, creator_pid, .. }, key) = (left.unwrap(), scratch.key());
    let look = format!(
        "sender shmget(0x{key:08x}, 1024, IPC_CREAT|IPC_EXCL|0600) = -1 EEXIST (File exists)\n\
         sender sigprocmask(SIG_SETMASK, [USR1], …) = 0\n\
         sender shmget(0x{key:08x}, 0, 0) = {id}\n\
         sender shmctl({id}, IPC_STAT, {{shm_cpid={creator_pid}, shm_nattch=0, …}}) = 0\n\
         sender kill({creator_pid}, 0) = -1 ESRCH (No such process)\n\
         sender shmctl({id}, IPC_RMID, NULL) = 0\n\
         sender sigprocmask(SIG_BLOCK, [HUP INT QUIT …], …) = 0\n"
    );
    let rows = format!("sender shmget() = {id}|\nsender removes what was left|\n");
    let inserted = [("sender shmget(", &*look), ("sender shmget() ", &*rows)];
    assert_story(removes.finished.text(), removes.sender.pid, &scratch, &inserted);

    // Somebody's segment that is not ours to remove: the run fails.
    let other = Planted::empty(&scratch, 512, 0o600);
    assert_same_and_told("a segment is somebody's", |option| {
        strace.watch(&scratch, &[option, HELLO], 1)
    });
    drop(other);

    // One that is in use is looked at again and again, which is one entry: in vain, or until it is
    // removed.
    let other = Planted::empty(&scratch, 1024, 0o600);
    let in_vain = ["--explain", "--timeout", "0.5", HELLO];
    strace.watch(&scratch, &in_vain, 1).assert_told_is_seen();
    let arguments = ["--explain", "--timeout=60", HELLO];
    let program = Program::start(strace.command(&scratch, "run", &[], &arguments));
    wait_until("it has looked three times", || {
        let pauses = |&pid| Process::until_now(&scratch, "run", pid).called("nanosleep").len();
        children(program.pid()).first().map(pauses) >= Some(3)
    });
    drop(other);
    let waits = Watched::new(&scratch, "run", program.finish());
    assert_eq!(waits.finished.code, Some(0), "{:#?}", waits.finished);
    waits.assert_told_is_seen();
    let mut looks = told(waits.finished.text());
    looks.retain(|it| matches!(it, Told::Looks(_)));
    assert!(matches!(looks[..], [Told::Looks(2..)]), "{looks:?}");
}

#[test]
fn strace_sees_the_wait_for_the_lock_that_is_told_and_the_calls_of_a_plain_run_that_waits() {
    let Some(strace) = Strace::find() else { return };
    let scratch = Scratch::new();
    let explained = assert_same_and_told("waits for the lock", |option| {
        let lock = take_lock(&scratch);
        let command = strace.command(&scratch, "run", &[], &[option, HELLO]);
        let program = Program::start(command);
        program.until_complained("sigshm: waiting: ");
        let sleeper = children(program.pid())[0];
        wait_until("it sleeps until the lock is free", || {
            is_blocked_in(sleeper, libc::SYS_flock) && state(sleeper) == Some('S')
        });
        drop(lock);
        let finished = program.finish();
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        Watched::new(&scratch, "run", finished)
    });
    let calls = told_calls(explained.finished.text());
    let flock = named(&calls, "flock", 2);
    assert!(flock[0].returned.starts_with("-1 EAGAIN"), "{flock:?}");
    assert_eq!(flock[1].returned, "0");
}

#[test]
fn strace_sees_what_a_listener_and_a_sender_alone_tell_and_the_calls_of_plain_ones_strays_too() {
    let Some(strace) = Strace::find() else { return };
    let scratch = Scratch::new();
    let [plain, explained] = PLAIN_AND_EXPLAINED.map(|option| {
        let command = strace.command(&scratch, "listener", &[], &["--listen", option]);
        let listener = Program::start(command);
        listener.until_printed("# Registering");
        let pid = Pid::from_raw(listener_in(&listener.printed()));
        wait_until("the listener sleeps", || state(pid) == Some('S'));
        for _ in 0..3 {
            send_stray(pid);
        }
        let arguments = [option, "--to", &pid.to_string(), HELLO];
        let sender = run(strace.command(&scratch, "sender", &[], &arguments));
        let outlines = [(sender, "sender"), (listener.finish(), "listener")].map(|(it, name)| {
            assert_eq!(it.code, Some(0), "{it:#?}");
            // One note says that a signal came without a message.
            assert_eq!(it.stderr.lines().count(), usize::from(name == "listener"), "{it:#?}");
            let watched = Watched::new(&scratch, name, it);
            if option == "--explain" {
                // Each tells its own calls, from the first on, and under its own name.
                let calls = watched.assert_told_is_seen();
                assert!(calls.iter().all(|call| call.who == name), "{calls:#?}");
            }
            // How often they look at each other and sleep differs from run to run. And a listener's
            // set of what it has said asks getrandom(2) for a seed, if it is the first set in this
            // process: in an explained run there was one before the story begins.
            let free =
                ["IPC_STAT", "kill(PEER 1, 0)", "getpid", "nanosleep", "pselect = 0", "getrandom"];
            let mut calls = watched.outline();
            calls.retain(|call| !free.iter().any(|it| call.contains(it)));
            calls
        });
        outlines.concat()
    });
    let came = explained.iter().filter(|it| it.starts_with("SIGUSR1 ")).count();
    assert_eq!(came, 4, "{explained:#?}");
    assert_same(&plain, &explained, "alone");
}

#[test]
fn with_shm_rmid_forced_the_calls_that_are_told_are_seen_and_all_of_them_succeed() {
    let Some(strace) = Strace::find() else { return };
    let scratch = Scratch::new();
    let setting = |program: &Command| with_ipc_setting("shm_rmid_forced", 1, program);
    needs!(setting(&Command::new("true")).is_some());
    let explained = assert_same_and_told("shm_rmid_forced", |option| {
        let mut command = setting(&strace.command(&scratch, "run", &[], &[option, HELLO])).unwrap();
        command.current_dir(scratch.dir());
        Watched::new(&scratch, "run", run(command))
    });
    let (code, stderr, text) = explained.finished.outcome();
    assert_eq!((code, stderr), (Some(0), ""));
    let calls = told_calls(text);
    assert!(calls.iter().all(|call| !call.returned.starts_with('-')), "{calls:#?}");
}

// It changes nothing of the run.

#[test]
fn nothing_is_told_before_the_run_is_over_and_no_reader_holds_it_up() {
    let scratch = Scratch::new();
    let began = Instant::now();
    // Full from the beginning: the first write must wait until somebody reads.
    let (program, reader) = Program::start_with_room_for(0, explained_command(&scratch));
    wait_until("it wants to tell", || is_blocked_in_write(program.pid()));
    // It is alone, and has removed the segment: the run is over.
    assert_eq!(children(program.pid()), []);
    assert_eq!(scratch.segments(), []);
    let over = began.elapsed();

    // How long its reader takes is no part of the timeline.
    let text = io::read_to_string(File::from(reader)).unwrap();
    assert_eq!(program.finish().outcome(), (Some(0), "", ""));
    let text = text.trim_start_matches('.');
    let expected = plain(&transcript(listener_in(text), 12, HELLO));
    assert_eq!(without_explanations(text), expected);
    let last = events(text).last().unwrap().0;
    assert!(u128::from(last) <= over.as_micros(), "{last} µs of {over:?}");
}

#[test]
fn a_reader_who_leaves_after_the_first_line_is_no_failure() {
    let scratch = Scratch::new();
    let command = scratch.sigshm(["--explain", HELLO]);
    let (program, reader) = Program::start_with_room_for(1000, command);
    // One byte at a time, so that nothing beyond the line is taken.
    let mut reader = BufReader::with_capacity(1, File::from(reader));
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line.trim_start_matches('.'), "    Preparation:\n");
    wait_until("it has no room for more", || is_blocked_in_write(program.pid()));
    drop(reader);
    assert_eq!(program.finish().outcome(), (Some(0), "", ""));
}

// Signals without a message.

#[test]
fn strays_are_one_line_with_their_number_and_the_message_arrives() {
    needs!(can_trace());
    let scratch = Scratch::new();
    for strays in [0, 1, 2, 5000] {
        let mut command = explained_command(&scratch);
        // Its parent, which waits until the listener is ready, is stopped until that has looked
        // for each of the strays.
        let point = Point::Call(Side::Child, libc::SYS_rt_sigaction);
        let frozen = freeze(&mut command, point).expect("the run has not ended");
        kill(frozen.parent(), SIGSTOP).unwrap();
        let run = frozen.release();
        let (sender, listener) = (run.parent(), run.listener().unwrap());
        run.until_listener_sleeps();
        wait_until("the sender is stopped", || state(sender) == Some('T'));
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
        let finished = run.finish(TIMEOUT);
        let text = finished.text();
        assert_eq!((finished.code, &*finished.stderr), (Some(0), ""), "{strays}: {text}");
        // The first is told before anything that the sender did then, with its reason and their
        // number.
        let first = format!(
            "listener SIGUSR1 {{si_code=SI_USER, si_pid={}, si_uid={}}} ---\n\
             listener ftok(\"{}\", 1) = 0x{key:08x}\n\
             listener shmget(0x{key:08x}, 1024, 0) = -1 ENOENT (No such file or directory)\n\
             A signal, but no message: shmget(0x{key:08x}, 1024, 0) failed: No such file or \
             directory (ENOENT); no segment is at this key: the file is not the sender's or has \
             been replaced, or the segment has been removed, or the sender is in another IPC \
             namespace\n",
            std::process::id(),
            Uid::effective(),
            scratch.path().display(),
            key = scratch.key(),
        );
        let looks = match strays {
            0 => String::new(),
            1 => first,
            _ => format!("{first}* {} times more\n", strays - 1),
        };
        // With no arrow: nobody knows from where it came.
        let row = if strays == 0 { "" } else { "listener a signal, no message|\n" };
        let inserted = [("sender poll(", &*looks), ("sender reads: ready", row)];
        assert_story(text, sender, &scratch, &inserted);
        // It has spun until it slept, and not again. What it did before stands before it.
        assert_eq!(text.matches("(spun ").count(), 1, "{text}");
        let order = ["sigprocmask(SIG_UNBLOCK", "(spun ", "sigprocmask(SIG_BLOCK", "pselect("];
        let order = order.map(|what| text.find(&format!("    listener  {what}")));
        assert!(order[0].is_some() && order.is_sorted(), "{order:?} in {text}");
        assert!(order[3] < text.find("    listener  --- SIGUSR1"), "{text}");
    }
}

// What goes wrong.

#[test]
fn a_run_that_fails_is_told_as_far_as_it_came_and_then_names_the_error() {
    let scratch = Scratch::new();
    // Not of the size that the program makes, so it must be left alone.
    let other = Planted::empty(&scratch, 512, 0o600);
    let finished = run(scratch.sigshm(["--explain", HELLO]));
    finished.assert_failed_with(&["shmget", "EEXIST", "its size is not ours"]);
    assert!(finished.stderr.contains(&format!("ipcrm -m {}", other.id)), "{finished:#?}");
    // What was told is the transcript's beginning, and the calls up to the one that failed.
    let text = finished.text();
    let listener = listener_in(text);
    let told = without_explanations(text);
    assert_eq!(told.lines().count(), 8, "{told}");
    assert!(transcript(listener, 12, HELLO).starts_with(&told), "{told}");
    let calls = told_calls(text);
    let failed = calls.iter().find(|it| it.returned.starts_with("-1 ")).expect("a call has failed");
    assert_eq!((failed.name(), failed.who.as_str()), ("shmget", "sender"));
    // The listener was ended, and that is told as it was.
    let killed = format!("waitpid({listener}, [{{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}}], 0)");
    assert_eq!(calls.last().map(|call| call.words.as_str()), Some(&*killed));
    // Nothing has crossed that has not.
    for (_, _, what, crosses) in events(text) {
        let never = ["copies", "SIGUSR1", "exit status", "removes"];
        assert!(!never.iter().any(|it| what.contains(it) || crosses.contains(it)), "{text}");
    }
    assert_eq!(scratch.processes(), [0; 0]);
    assert_eq!(scratch.segment().id, other.id, "only what was there before");
}

#[test]
fn that_a_sender_looks_whether_the_listener_can_still_find_its_message_is_not_told() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    listener.stop();
    let sender = Program::start(scratch.sender(listener.pid(), &["--explain"], HELLO));
    wait_until("it waits", || is_pending(listener.pid()));
    // So it is that look that ends the run.
    fs::remove_file(scratch.path()).unwrap();
    let finished = sender.finish();
    finished.assert_failed_with(&["nobody finds segment"]);
    named(&told_calls(finished.text()), "ftok", 1);
}

#[test]
fn a_listener_stopped_or_killed_at_any_step_ends_the_run_which_is_told_as_far_as_it_came() {
    needs!(can_trace());
    let whole = listener_names(&explain(&Scratch::new(), "never", HELLO));
    // Stopped at the entry of a call, it still makes the call: so every other step is enough. It is
    // killed at entries and at exits alike.
    for (signal, stride, timeout, error) in [
        (SIGSTOP, 2, "--timeout=3", &["the listener (PID ", "3 seconds:", "--timeout"][..]),
        (SIGKILL, 3, "--timeout=60", &["the listener (PID ", "SIGKILL"]),
    ] {
        let command = |scratch: &Scratch| scratch.sigshm(["--explain", timeout, HELLO]);
        let steps = (0..).step_by(stride);
        let runs = at_steps(Side::Child, steps, command, |step, scratch, frozen| {
            let listener = frozen.listener().unwrap();
            let call = call_at_hand(listener);
            kill(listener, signal).unwrap();
            (step, call, scratch, frozen.release())
        });
        // All the parents have waited at the same time.
        let mut begun = BTreeSet::new();
        for (step, call, scratch, released) in runs {
            let finished = released.finish(TIMEOUT);
            let text = finished.text();
            if finished.code == Some(0) {
                assert_eq!(call, Some("_exit"), "step {step}: {text}");
                continue;
            }
            finished.assert_failed_with(error);
            assert!(!text.contains("# All done"), "step {step}: {text}");
            // The first lines do not name the listener.
            let listener = if text.contains("# Listening") { listener_in(text) } else { 0 };
            let transcript = transcript(listener, 12, HELLO);
            assert!(transcript.starts_with(&without_explanations(text)), "step {step}: {text}");
            assert_eq!(scratch.segments(), [], "step {step}");

            let names = listener_names(text);
            assert!(whole.starts_with(&names), "step {step}: {names:?}");
            // A call that had begun or returned was not recorded yet; but all before it was. (The
            // last word to the parent is a byte too.)
            let is_last = |call: &&str| *call == "write" && names.iter().any(|name| name == call);
            if let Some(call) = call.filter(|call| *call != "_exit" && !is_last(call)) {
                let next = whole.get(names.len()).map(String::as_str);
                assert_eq!(next, Some(call), "step {step}: {names:?}");
                begun.insert(call);
            }
        }
        assert!(begun.len() >= 2, "{begun:?}");
    }
}

/// The names of the calls that the listener tells, but for how it waits.
fn listener_names(text: &str) -> Vec<String> {
    let mut names = names_told(text, "listener");
    names.retain(|name| !WAIT.contains(&name.as_str()));
    names
}

#[test]
fn a_run_that_is_interrupted_tells_nothing() {
    needs!(can_trace());
    for (side, stride) in [(Side::Parent, 5), (Side::Child, 6)] {
        let command = |scratch: &Scratch| scratch.sigshm(["--explain", HELLO]);
        let steps = (0..).step_by(stride);
        let interrupted = at_steps(side, steps, command, |step, scratch, frozen| {
            let (parent, listener) = (frozen.parent(), frozen.listener());
            let is_too_late = match side {
                // From here on the run is over, and what it tells is cut off somewhere.
                Side::Parent => {
                    frozen.call() == Some(libc::SYS_write) || !frozen.printed().is_empty()
                }
                // Its exit status is what its parent sees.
                Side::Child => call_at_hand(listener.unwrap()) == Some("_exit"),
            };
            if is_too_late {
                assert_eq!(frozen.release().finish(TIMEOUT).code, Some(0));
                return false;
            }
            match side {
                // Ctrl-C sends the signal to both processes. And one of them may get it alone.
                Side::Parent if step / stride % 2 == 0 => killpg(parent, SIGINT).unwrap(),
                Side::Parent => kill(parent, SIGINT).unwrap(),
                Side::Child => kill(listener.unwrap(), SIGINT).unwrap(),
            }
            let finished = frozen.release().finish(TIMEOUT);
            let outcome = (finished.signal, finished.text(), finished.stderr.as_str());
            assert_eq!(outcome, (Some(libc::SIGINT), "", ""), "{side:?}, step {step}");
            assert_eq!(scratch.segments(), [], "{side:?}, step {step}");
            true
        });
        let interrupted = interrupted.into_iter().filter(|&it| it).count();
        let most = if cfg!(debug_assertions) { 20 } else { 10 };
        assert!(interrupted > if side == Side::Parent { most } else { 0 }, "{interrupted}");
    }
}

#[test]
fn if_the_pipe_of_records_is_full_the_run_goes_on_and_says_how_many_or_that_some_are_missing() {
    needs!(can_trace());
    // A page has room for what the listener hands over before this message, but not for the 3000
    // letters in which it is shown: so there is room for the number. If the pipe is full when the
    // listener looks for the segment, there is no room even for that.
    let long = "\x1b".repeat(750);
    for (message, point, has_room) in [
        (&*long, Point::Call(Side::Parent, libc::SYS_clone), true),
        (HELLO, Point::Call(Side::Child, calls::SYS_shmget), false),
    ] {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(["--explain", "--color=never", message]);
        let frozen = freeze(&mut command, point).expect("the run has not ended");
        // The pipe of records is the first pipe that the parent has made.
        let is_pipe = |path: &String| {
            fs::read_link(path).is_ok_and(|file| file.to_str().unwrap().starts_with("pipe:"))
        };
        let mut files = (3..100).map(|number| format!("/proc/{}/fd/{number}", frozen.parent()));
        let mut options = File::options();
        let options = options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let mut pipe = options.open(files.find(is_pipe).expect("there is a pipe")).unwrap();
        if has_room {
            let size = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
            assert_eq!(size, 4096, "the pages are larger here");
        } else {
            // To the last byte, which the listener would not do, with bytes that are no record.
            for size in [4096, 1] {
                let mut writes = iter::repeat_with(|| pipe.write_all(&vec![0; size]));
                let full = writes.find_map(Result::err);
                assert_eq!(full.map(|it| it.kind()), Some(io::ErrorKind::WouldBlock));
            }
        }
        drop(pipe);

        // It delivers, and all of the sender is told, and of the listener what came first.
        let finished = frozen.release().finish(TIMEOUT);
        let (code, stderr, text) = finished.outcome();
        assert_eq!((code, stderr), (Some(0), ""), "{text}");
        let whole = explain(&scratch, "never", message);
        let [told, all] = [text, &whole].map(|text| names_told(text, "sender"));
        assert_eq!(told, all);
        let [told, all] = [text, &whole].map(listener_names);
        assert!(all.starts_with(&told), "{told:?}");
        assert!(without_explanations(text).ends_with("# All done. Freeing memory.\n"));
        let missing = text.split_once("* Lines of the listener that are missing here: ");
        let (missing, _) = missing.expect("it says so").1.split_once('.').unwrap();
        // Their number is handed over last, if there is room for that.
        if has_room {
            assert!(missing.parse::<usize>().unwrap() > 0, "{missing}");
        } else {
            assert_eq!((missing, told.last().map(String::as_str)), ("unknown", Some("ftok")));
        }
    }
}

// Runs, and what they tell.

/// Runs `--explain`, which must deliver and have nothing to complain of.
#[track_caller]
fn explain(scratch: &Scratch, color: &str, message: impl AsRef<OsStr>) -> String {
    let mut command = scratch.sigshm(["--explain", "--color", color, "--"]);
    Program::start(command.arg(message)).finish_well()
}

fn explained_command(scratch: &Scratch) -> Command {
    scratch.sigshm(["--explain", "--color", "never", HELLO])
}
