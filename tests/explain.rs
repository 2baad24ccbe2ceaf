//! `--explain` adds lines to the transcript and changes none of it. What it adds is true: it agrees with itself, with
//! the struct's layout, and with what strace(1) sees of the same run.

mod support;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use proptest::prelude::*;
use sigshm::diary::{Arrow, Part, Row};
use sigshm::pictures;

use support::*;

/// Nothing but the transcript may be wider.
const WIDTH: usize = 80;

#[test]
fn without_the_extra_lines_it_is_the_transcript() {
    let scratch = Scratch::new();
    for (message, shown) in [
        ("Hello, world", "Hello, world"),
        ("", ""),
        (
            "    sender    kill(1, SIGKILL) = 0",
            "    sender    kill(1, SIGKILL) = 0",
        ),
        ("\n    \x1b[2mlistener\n", r"\n    \x1b[2mlistener\n"),
    ] {
        let coloured = explain(&scratch, "always", message);
        let expected = transcript(listener_in(coloured.text()), message.len(), shown);
        assert_eq!(without_explanations(coloured.text()), expected);
        assert_ne!(coloured.text(), expected, "nothing is explained");

        let uncoloured = explain(&scratch, "never", message);
        let expected = plain(&transcript(
            listener_in(uncoloured.text()),
            message.len(),
            shown,
        ));
        assert_eq!(without_explanations(uncoloured.text()), expected);
        assert_ne!(uncoloured.text(), expected, "nothing is explained");
    }
    scratch.assert_nothing_left();
}

#[test]
fn color_never_leaves_no_escape_at_all() {
    let scratch = Scratch::new();
    let finished = explain(&scratch, "never", "\x1b[31mred");
    assert!(!finished.text().contains('\x1b'), "{}", finished.text());
    scratch.assert_nothing_left();
}

#[test]
fn each_extra_line_starts_and_ends_its_own_style() {
    let scratch = Scratch::new();
    let finished = explain(&scratch, "always", "Hello, world");
    let mut styles: HashMap<&str, usize> = HashMap::new();
    let mut bare = Vec::new();
    for line in finished.text().lines().filter(|line| is_extra(line)) {
        let Some((style, rest)) = line
            .strip_prefix("\x1b[")
            .and_then(|rest| rest.split_once('m'))
        else {
            bare.push(line);
            continue;
        };
        let inside = rest.strip_suffix("\x1b[0m").expect("the line resets");
        assert!(!inside.contains('\x1b'), "{line:?}");
        *styles.entry(style).or_default() += 1;
    }
    // Dim; the id, the size and the text of the picture; the sender and the listener of the run.
    for style in ["2", "32", "34", "33", "36", "35"] {
        assert!(styles.contains_key(style), "{style}: {styles:?}");
    }
    assert_eq!(styles.len(), 6, "{styles:?}");
    assert_eq!(bare, [""; 0], "neither dim nor coloured");
    scratch.assert_nothing_left();
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
        command
            .args(["--explain", "--path"])
            .arg(&path)
            .arg(message);
        let finished = run(&mut command);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
        let extra: Vec<String> = explanations(finished.text());
        for line in &extra {
            assert!(line.chars().count() <= WIDTH, "{line:?}");
        }
        // However it was broken into lines, the path is there as a whole.
        let unbroken: String = extra.concat().split_whitespace().collect();
        let ftok = format!("ftok(\"{}\",1)=0x", path.to_str().unwrap().replace(' ', ""));
        assert_eq!(unbroken.matches(&ftok).count(), 2, "{unbroken}");
    }
    scratch.assert_nothing_left();
}

#[test]
fn a_run_of_ten_hours_fits_80_columns_too() {
    // A class that looks around makes the numbers long, and no test can wait for that. These are the widest of
    // everything else.
    let at = Duration::from_secs(36_000);
    let row = |part, what: &str, crossing: &str| Row {
        at,
        part,
        what: what.to_owned(),
        arrow: Some(Arrow {
            what: crossing.to_owned(),
            to_listener: true,
        }),
    };
    let rows = vec![
        row(Part::Sender, "shmget() = 2147483647", "segment 2147483647"),
        row(
            Part::Listener,
            "copies the message out",
            "segment 2147483647",
        ),
    ];
    for (_, line) in pictures::run("PID 4194304", "PID 4194304", rows) {
        // Printed, it is indented by four.
        assert!(4 + line.chars().count() <= WIDTH, "{line:?}");
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
    let explained = Explained::new(finished.text());
    let expected = format!("ftok(\"{}\", 1)", path.display());
    for ftok in explained.named("ftok") {
        assert_eq!(ftok.words, expected);
    }
    scratch.assert_nothing_left();
}

#[test]
fn its_keys_ids_pids_and_addresses_agree() {
    let scratch = Scratch::new();
    let running = start(&mut explained_command(&scratch));
    let sender = running.pid().to_string();
    let finished = running.finish();
    assert_eq!(
        (finished.code, finished.stderr.as_str()),
        (Some(0), ""),
        "{finished:#?}"
    );
    let text = finished.text();
    let explained = Explained::new(text);
    let listener = listener_in(text).to_string();
    let key = format!("0x{:08x}", scratch.key());

    let told = |name: &str, times: usize| {
        let calls = explained.named(name);
        assert_eq!(calls.len(), times, "{name} in {text}");
        calls
    };
    for ftok in told("ftok", 2) {
        assert_eq!(ftok.returned, key);
    }
    let shmget = told("shmget", 2);
    let id = &shmget[0].returned;
    assert_eq!(
        (&shmget[0].part, &shmget[1].part),
        (&"sender".to_owned(), &"listener".to_owned())
    );
    assert_eq!(
        shmget[0].words,
        format!("shmget({key}, 1024, IPC_CREAT|IPC_EXCL|0600)")
    );
    assert_eq!(shmget[1].words, format!("shmget({key}, 1024, 0)"));
    assert_eq!(&shmget[1].returned, id);

    let shmat = told("shmat", 2);
    assert_eq!(shmat[0].words, format!("shmat({id}, NULL, 0)"));
    assert_eq!(shmat[1].words, format!("shmat({id}, NULL, SHM_RDONLY)"));
    assert_ne!(shmat[0].returned, shmat[1].returned, "the same address");
    // The listener is the first to detach.
    let shmdt = told("shmdt", 2);
    assert_eq!(shmdt[0].words, format!("shmdt({})", shmat[1].returned));
    assert_eq!(shmdt[1].words, format!("shmdt({})", shmat[0].returned));
    let [into, out_of] = [
        format!("copied 1024 bytes to {}", shmat[0].returned),
        format!("copied 1024 bytes from {}", shmat[1].returned),
    ];
    assert_eq!(text.matches(&into).count(), 1, "{into:?} in {text}");
    assert_eq!(text.matches(&out_of).count(), 1, "{out_of:?} in {text}");

    for (index, call) in told("shmctl", 7).iter().enumerate() {
        let command = if index == 6 {
            "IPC_RMID, NULL)"
        } else {
            "IPC_STAT, {"
        };
        let words = format!("shmctl({id}, {command}");
        assert!(call.words.starts_with(&words), "{call:?}");
        assert_eq!(call.returned, "0");
    }

    let fork = told("fork", 2);
    assert_eq!(
        (fork[0].part.as_str(), &fork[0].returned),
        ("sender", &listener)
    );
    assert_eq!(
        (fork[1].part.as_str(), fork[1].returned.as_str()),
        ("listener", "0")
    );
    let kill = &told("kill", 1)[0];
    assert_eq!(kill.part, "sender");
    assert_eq!(kill.words, format!("kill({listener}, SIGUSR1)"));
    let waitpid = &told("waitpid", 1)[0];
    assert!(waitpid.words.starts_with(&format!("waitpid({listener}, [")));
    assert!(waitpid.words.contains("WEXITSTATUS(s) == 0"));
    assert_eq!(waitpid.returned, listener);

    for record in explained.records() {
        assert_eq!(record["key"], key);
        assert_eq!(record["shm_cpid"], sender);
        assert_eq!(record["shm_segsz"], "1024");
        assert_eq!(record["mode"], "0600");
        assert_eq!(record["uid"], nix::unistd::geteuid().to_string());
        assert_eq!(record["cuid"], nix::unistd::geteuid().to_string());
    }
    scratch.assert_nothing_left();
}

#[test]
fn the_kernels_records_count_the_attached_up_and_down_again() {
    let scratch = Scratch::new();
    let running = start(&mut explained_command(&scratch));
    let sender = running.pid().to_string();
    let finished = running.finish();
    let explained = Explained::new(finished.text());
    let listener = listener_in(finished.text()).to_string();
    let records = explained.records();
    let column = |name: &str| -> Vec<&str> {
        let column = records.iter().map(|record| record[name].as_str());
        column.collect()
    };
    assert_eq!(column("shm_nattch"), ["0", "1", "1", "2", "1", "0"]);
    let (sender, listener) = (sender.as_str(), listener.as_str());
    assert_eq!(
        column("shm_lpid"),
        ["0", sender, sender, listener, listener, sender]
    );
    scratch.assert_nothing_left();
}

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
    scratch.assert_nothing_left();
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
fn the_picture_of_the_run_is_in_order_and_names_both_processes() {
    let scratch = Scratch::new();
    for _ in 0..5 {
        let running = start(&mut explained_command(&scratch));
        let sender = running.pid().to_string();
        let finished = running.finish();
        let text = finished.text();
        let listener = listener_in(text).to_string();
        let id = Explained::new(text).named("shmget")[0].returned.clone();
        let [heads, pids, rows @ ..] = &run_picture(text)[..] else {
            panic!("no picture in {text}");
        };
        assert_eq!(
            (heads.left.as_str(), heads.right.as_str()),
            ("sender", "listener")
        );
        assert_eq!(pids.left, format!("PID {sender}"));
        assert_eq!(pids.right, format!("PID {listener}"));

        let times: Vec<u64> = rows.iter().map(|row| row.time.parse().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
        // Each row belongs to one of the two.
        for row in rows {
            assert_ne!(row.left.is_empty(), row.right.is_empty(), "{row:?}");
        }
        // What crosses, in the order of cause and effect, and who is busy with it.
        let segment = format!("segment {id}");
        let crossings: Vec<(bool, &str, bool)> = rows
            .iter()
            .filter(|row| !row.middle.is_empty())
            .map(|row| {
                let to_listener = row.middle.ends_with("->");
                assert_ne!(to_listener, row.middle.starts_with("<-"), "{row:?}");
                let what = row.middle.trim_matches(['<', '-', '>', ' ']);
                (!row.left.is_empty(), what, to_listener)
            })
            .collect();
        assert_eq!(
            crossings,
            [
                (true, "fork", true),
                (false, "ready", false),
                (true, &segment, true),
                (true, "SIGUSR1", true),
                (false, &segment, true),
                (true, "exit status 0", false),
            ],
            "{text}"
        );
        // The numbers in it are those of the calls.
        let left: Vec<&str> = rows.iter().map(|row| row.left.as_str()).collect();
        for what in [
            format!("fork() = {listener}"),
            format!("shmget() = {id}"),
            format!("waitpid() = {listener}"),
        ] {
            assert!(left.contains(&what.as_str()), "{what:?} in {left:?}");
        }
    }
    scratch.assert_nothing_left();
}

#[test]
fn strace_sees_the_same_keys_ids_pids_addresses_and_signals() {
    let scratch = Scratch::new();
    let Some(traced) = Traced::run(&scratch) else {
        return;
    };
    let explained = Explained::new(&traced.explained);

    for part in ["sender", "listener"] {
        // Each call of this part that is about shared memory or sends a signal, as strace writes it, and no other.
        let told: Vec<String> = explained
            .calls
            .iter()
            .filter(|call| call.part == part && concerns_sharing(call) && !is_record(call))
            .map(as_strace_writes_it)
            .collect();
        let seen: Vec<String> = traced
            .calls
            .iter()
            .filter(|call| call.part == part && concerns_sharing(call) && !is_record(call))
            .map(as_strace_writes_it)
            .collect();
        assert_eq!(told, seen, "{part}");
        assert!(told.len() >= 3, "{told:?}");

        // Records that are only polled need not be told; those that are told were made, in this order.
        let records = |calls: &[Call]| -> Vec<Vec<String>> {
            let mine = calls
                .iter()
                .filter(|call| call.part == part && is_record(call));
            mine.map(|call| comparable(&call.record())).collect()
        };
        let (told, seen) = (records(&explained.calls), records(&traced.calls));
        let mut rest = seen.iter();
        for record in &told {
            assert!(
                rest.any(|other| other == record),
                "{part} made no such {record:?}: {seen:#?}"
            );
        }
        assert!(told.len() >= 3, "{told:?}");
    }

    let only = |calls: &[Call], name: &str| -> Call {
        let mut found = calls.iter().filter(|call| call.name() == name);
        let first = found.next().expect(name).clone();
        assert_eq!(found.next().map(|call| &call.words), None, "{name}");
        first
    };
    let forked = traced
        .calls
        .iter()
        .find(|call| matches!(call.name(), "clone" | "clone3" | "fork" | "vfork"))
        .unwrap();
    assert_eq!(explained.named("fork")[0].returned, forked.returned);
    assert_eq!(
        only(&explained.calls, "waitpid").returned,
        only(&traced.calls, "wait4").returned
    );

    // The handler is the function that the kernel was told.
    let handler = |call: &Call| call.after("sa_handler=").to_owned();
    let registered = traced
        .calls
        .iter()
        .find(|call| call.part == "listener" && call.words.starts_with("rt_sigaction(SIGUSR1, {"))
        .unwrap();
    assert_eq!(
        handler(explained.named("sigaction")[0]),
        handler(registered)
    );

    // The signal that kill has sent is the one that came, and it came from the sender.
    let kill = only(&explained.calls, "kill");
    assert_eq!(kill.words, format!("kill({}, SIGUSR1)", traced.listener));
    assert_eq!(traced.signals.len(), 1, "{:?}", traced.signals);
    let (receiver, signal) = &traced.signals[0];
    assert_eq!(receiver, &traced.listener);
    assert!(signal.starts_with("SIGUSR1 {"), "{signal}");
    let from = format!("si_pid={},", traced.sender);
    assert!(signal.contains(&from), "{from} in {signal}");
    scratch.assert_nothing_left();
}

#[test]
fn strace_sees_the_file_opened_and_locked_with_the_same_flags() {
    let scratch = Scratch::new();
    let Some(traced) = Traced::run(&scratch) else {
        return;
    };
    let explained = Explained::new(&traced.explained);
    let flags = |call: &Call| {
        let (_, last) = call.words.rsplit_once(", ").unwrap();
        last.trim_end_matches(')').to_owned()
    };
    let path = format!("\"{}\"", scratch.path().display());
    let opened = traced
        .calls
        .iter()
        .find(|call| call.words.contains(&path) && call.name() == "openat")
        .unwrap();
    let locked = traced
        .calls
        .iter()
        .find(|call| call.name() == "flock")
        .unwrap();
    let told = ["open", "flock"].map(|name| flags(explained.named(name)[0]));
    assert_eq!(told, [flags(opened), flags(locked)]);
    assert_eq!(explained.named("open")[0].returned, opened.returned);
}

#[test]
fn a_run_that_fails_still_says_why_in_one_line() {
    let scratch = Scratch::new();
    // Not of the size that the program makes, so it must be left alone.
    // SAFETY: shmget takes three numbers and touches no memory.
    let id = unsafe { libc::shmget(scratch.key(), 512, libc::IPC_CREAT | 0o600) };
    assert_ne!(id, -1, "{}", io::Error::last_os_error());

    let finished = run(&mut scratch.sigshm(["--explain", "Hello, world"]));
    finished.assert_failed_with(&["shmget", "EEXIST", "its size is not ours"]);
    assert!(
        finished.stderr.contains(&format!("ipcrm -m {id}")),
        "{finished:#?}"
    );
    // What was told until then is the transcript's beginning.
    let whole = transcript(listener_in(finished.text()), 12, "Hello, world");
    let told = without_explanations(finished.text());
    assert_eq!(told.lines().count(), 8, "{told}");
    assert!(whole.starts_with(&told), "{told}");

    assert_eq!(scratch.processes(), [0; 0]);
    let left: Vec<i32> = scratch
        .segments()
        .iter()
        .map(|segment| segment.id)
        .collect();
    assert_eq!(left, [id], "only what was there before");
}

#[test]
fn a_reader_who_leaves_after_the_first_line_is_no_failure() {
    let scratch = Scratch::new();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    // With room for less than the whole, the program is certainly still writing when the reader leaves.
    let page = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let whole = explain(&scratch, "always", "Hello, world").stdout.len();
    assert!(
        whole > page as usize + 1000,
        "{whole} bytes fit into the pipe"
    );

    let mut command = scratch.sigshm(["--explain", "Hello, world"]);
    let mut child = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
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
    scratch.assert_nothing_left();
}

#[test]
fn in_20_runs_on_busy_processors_the_lines_keep_their_order() {
    let scratch = Scratch::new();
    let order = |finished: &Finished| -> Vec<String> {
        let lines = plain(finished.text());
        let mut order: Vec<String> = Vec::new();
        // The picture of the run is sorted by time, which differs from run to run.
        for line in lines.lines().take_while(|line| !line.contains("The run,")) {
            let name = |rest: &str| rest.split(['(', ' ']).next().unwrap().to_owned();
            if let Some(call) = line.strip_prefix("    sender    ") {
                order.push(format!("sender: {}", name(call)));
            } else if let Some(call) = line.strip_prefix("    listener  ") {
                order.push(format!("listener: {}", name(call)));
            } else if !line.starts_with("          ") {
                // All but what continues the line before, whose breaks depend on how long the numbers are.
                let digits = |character: char| character.is_ascii_digit();
                order.push(line.replace(digits, ""));
            }
        }
        order
    };
    let expected = order(&explain(&scratch, "always", "Hello, world"));
    assert!(expected.len() > 60, "{expected:#?}");
    let _busy = Busy::start();
    for _ in 0..20 {
        let finished = explain(&scratch, "always", "Hello, world");
        let listener = listener_in(finished.text());
        assert_eq!(
            without_explanations(finished.text()),
            transcript(listener, 12, "Hello, world")
        );
        assert_eq!(order(&finished), expected);
    }
    scratch.assert_nothing_left();
}

/// Runs `--explain`, which must deliver and have nothing to complain of.
#[track_caller]
fn explain(scratch: &Scratch, color: &str, message: impl AsRef<OsStr>) -> Finished {
    let mut command = scratch.sigshm(["--explain", "--color", color, "--"]);
    let finished = run(command.arg(message));
    assert_eq!(
        (finished.code, finished.stderr.as_str()),
        (Some(0), ""),
        "{finished:#?}"
    );
    finished
}

fn explained_command(scratch: &Scratch) -> Command {
    scratch.sigshm(["--explain", "--color", "never", "Hello, world"])
}

/// Lines of the transcript begin with `#` or a tab.
fn is_extra(line: &str) -> bool {
    plain(line).starts_with(' ')
}

fn without_explanations(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !is_extra(line)).collect()
}

/// The extra lines, without their colours.
fn explanations(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| is_extra(line));
    lines.map(plain).collect()
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

/// A call as it is told, or as strace has seen it.
#[derive(Clone, Debug)]
struct Call {
    part: String,
    words: String,
    returned: String,
}

impl Call {
    fn name(&self) -> &str {
        self.words.split('(').next().unwrap()
    }

    /// What follows `label`, up to the end of the field.
    fn after(&self, label: &str) -> &str {
        let (_, rest) = self.words.split_once(label).expect(label);
        rest.split([',', '}', ')']).next().unwrap()
    }

    /// The fields of an `IPC_STAT`.
    fn record(&self) -> HashMap<&'static str, String> {
        let names = [
            "key",
            "uid",
            "cuid",
            "mode",
            "shm_segsz",
            "shm_nattch",
            "shm_cpid",
            "shm_lpid",
        ];
        let field = |name: &'static str| {
            // Not the end of a longer name: uid= is in cuid= too.
            let at = [format!("{{{name}="), format!(" {name}=")];
            let label = at.iter().find(|label| self.words.contains(label.as_str()));
            (name, self.after(label.expect(name)).to_owned())
        };
        names.map(field).into()
    }
}

fn is_record(call: &Call) -> bool {
    call.words.contains(", IPC_STAT, ")
}

fn concerns_sharing(call: &Call) -> bool {
    ["shmget", "shmat", "shmdt", "shmctl", "kill"].contains(&call.name())
}

/// The whole call; strace does not pad the key with zeros.
fn as_strace_writes_it(call: &Call) -> String {
    let words = match call.words.strip_prefix("shmget(0x") {
        Some(rest) => format!("shmget(0x{}", rest.trim_start_matches('0')),
        None => call.words.clone(),
    };
    // Some versions of strace write no flags and no permissions as three digits.
    format!("{} = {}", words.replace(", 000)", ", 0)"), call.returned)
}

/// A record with its key as a number, which one writes in hexadecimal and the other may not.
fn comparable(record: &HashMap<&str, String>) -> Vec<String> {
    let mut fields: Vec<String> = record
        .iter()
        .map(|(name, value)| {
            let number = match value.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16).unwrap().to_string(),
                None => value.clone(),
            };
            format!("{name}={number}")
        })
        .collect();
    fields.sort();
    fields
}

/// The calls that an explained run tells of, without colours.
struct Explained {
    calls: Vec<Call>,
}

impl Explained {
    fn new(text: &str) -> Self {
        let mut told: Vec<(String, String)> = Vec::new();
        let mut is_open = false;
        for line in text.lines() {
            let call = ["sender", "listener"].into_iter().find_map(|part| {
                let words = line.strip_prefix(&format!("    {part:<10}"))?;
                Some((part.to_owned(), words.to_owned()))
            });
            match (call, line.strip_prefix(&" ".repeat(14))) {
                (Some(call), _) => {
                    told.push(call);
                    is_open = true;
                }
                (None, Some(rest)) if is_open => {
                    let (_, words) = told.last_mut().unwrap();
                    words.push(' ');
                    words.push_str(rest);
                }
                _ => is_open = false,
            }
        }
        let call = |(part, words): (String, String)| {
            // What was done without a call returns nothing.
            let (words, returned) = words.rsplit_once(" = ")?;
            Some(Call {
                part,
                words: words.to_owned(),
                returned: returned.to_owned(),
            })
        };
        Self {
            calls: told.into_iter().filter_map(call).collect(),
        }
    }

    fn named(&self, name: &str) -> Vec<&Call> {
        let calls = self.calls.iter();
        calls.filter(|call| call.name() == name).collect()
    }

    fn records(&self) -> Vec<HashMap<&'static str, String>> {
        let records = self.calls.iter().filter(|call| is_record(call));
        records.map(Call::record).collect()
    }
}

/// An explained run that strace(1) has watched.
struct Traced {
    explained: String,
    sender: String,
    listener: String,
    calls: Vec<Call>,
    /// The process, and what strace says of the signal that came to it.
    signals: Vec<(String, String)>,
}

impl Traced {
    /// `None`, and a word about it that nobody captures, if there is no strace.
    fn run(scratch: &Scratch) -> Option<Self> {
        let mut version = Command::new("strace");
        if let Err(error) = version.arg("-V").stdout(Stdio::null()).status() {
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
            let _ = writeln!(
                io::stderr(),
                "NOT TESTED: there is no strace to compare the explanations with"
            );
            return None;
        }
        let log = scratch.dir().join("strace");
        let program = explained_command(scratch);
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-v", "-s", "4096", "-e", "signal=SIGUSR1", "-e"])
            .arg(
                "trace=shmget,shmat,shmdt,shmctl,kill,wait4,clone,?clone3,?fork,?vfork,rt_sigaction,openat,flock",
            )
            .arg("-o")
            .arg(&log)
            .arg(program.get_program())
            .args(program.get_args())
            .stdin(Stdio::null());
        let finished = run(&mut strace);
        assert_eq!(
            (finished.code, finished.stderr.as_str()),
            (Some(0), ""),
            "{finished:#?}"
        );
        let explained = finished.text().to_owned();
        let listener = listener_in(&explained).to_string();
        Some(Self::new(
            explained,
            listener,
            &fs::read_to_string(log).unwrap(),
        ))
    }

    fn new(explained: String, listener: String, log: &str) -> Self {
        let mut sender = String::new();
        let (mut calls, mut signals) = (Vec::new(), Vec::new());
        let mut unfinished: HashMap<&str, &str> = HashMap::new();
        for line in log.lines() {
            let (pid, event) = line.split_once(' ').unwrap();
            let event = event.trim_start();
            if sender.is_empty() {
                // The first line is the parent's.
                sender = pid.to_owned();
            }
            if let Some(signal) = event.strip_prefix("--- ") {
                signals.push((pid.to_owned(), signal.to_owned()));
                continue;
            }
            if event.starts_with("+++") {
                continue;
            }
            if let Some(begun) = event.strip_suffix("<unfinished ...>") {
                unfinished.insert(pid, begun);
                continue;
            }
            let whole = match event.split_once(" resumed>") {
                Some((_, rest)) => unfinished.remove(pid).unwrap().to_owned() + rest,
                None => event.to_owned(),
            };
            let (words, returned) = whole.rsplit_once(" = ").unwrap();
            calls.push(Call {
                part: if pid == sender { "sender" } else { "listener" }.to_owned(),
                words: words.trim_end().to_owned(),
                returned: returned.to_owned(),
            });
        }
        Self {
            explained,
            sender,
            listener,
            calls,
            signals,
        }
    }
}

/// The picture of the segment shows the 1024 bytes that the struct with this text has.
#[track_caller]
fn assert_pictured(scratch: &Scratch, message: &[u8]) {
    let finished = explain(scratch, "never", OsStr::from_bytes(message));
    let (fields, bytes) = segment_picture(finished.text());

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
    let fields: Vec<(&str, usize, &str)> = fields
        .iter()
        .map(|(name, at, text)| (name.as_str(), *at, text.as_str()))
        .collect();
    assert_eq!(fields, expected);
}

/// Reads the picture of the segment: the name, the place and the text column of each field; and the bytes of all.
fn segment_picture(text: &str) -> (Vec<(String, usize, String)>, Vec<u8>) {
    let mut fields: Vec<(String, usize, String)> = Vec::new();
    let mut bytes = Vec::new();
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("    field   at  bytes"))
        .skip(1)
        .take_while(|line| line.starts_with("    ") && !line.starts_with("    listener"));
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

/// A row of the picture of the run, column by column.
#[derive(Debug)]
struct RunRow {
    time: String,
    left: String,
    middle: String,
    right: String,
}

fn run_picture(text: &str) -> Vec<RunRow> {
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("    The run,"))
        .skip(1);
    rows.map(|row| {
        let row = format!("{row:<80}");
        assert!(row.is_ascii() && row.len() == 80, "{row:?}");
        let column = |from, to| row[from..to].trim().to_owned();
        RunRow {
            time: column(4, 12),
            left: column(14, 36),
            middle: column(36, 58),
            right: column(58, 80),
        }
    })
    .collect()
}
