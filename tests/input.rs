//! What a user may type: messages that a toy would trip over, and bad usage, which must leave
//! nothing behind.

use crate::support::*;

const LONGEST: usize = 1007;

// Good input.

#[test]
fn without_a_path_the_shared_path_of_the_current_folder_is_used() {
    let scratch = Scratch::new();
    let mut command = sigshm();
    command.arg("Hello, world").current_dir(scratch.dir());
    run(&mut command).assert_delivered(12, "Hello, world");
}

#[test]
fn the_empty_message_is_delivered() {
    assert_shown("", "");
}

#[test]
fn the_longest_message_is_delivered() {
    let message = "x".repeat(LONGEST);
    assert_shown(&message, &message);
}

#[test]
fn the_longest_message_may_end_in_a_character_of_several_bytes() {
    let message = "x".repeat(LONGEST - 4) + "🦀";
    assert_shown(&message, &message);
}

#[test]
fn characters_of_several_bytes_are_shown_as_they_are_and_counted_in_bytes() {
    // Two, three and four bytes each, and one that is made of several characters.
    for message in ["Zażółć gęślą jaźń", "日本語のメッセージ", "🦀🐚", "👩‍🚀 e\u{301}"]
    {
        assert_ne!(message.len(), message.chars().count());
        assert_shown(message, message);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_delivered_and_shown_escaped() {
    assert_shown(OsStr::from_bytes(b"\xff"), r"\xff");
    assert_shown(OsStr::from_bytes(b"a\xc3(\xe2\x82b\x80"), r"a\xc3(\xe2\x82b\x80");
    // An encoded surrogate, and an overlong slash.
    assert_shown(OsStr::from_bytes(b"\xed\xa0\x80"), r"\xed\xa0\x80");
    assert_shown(OsStr::from_bytes(b"\xc0\xaf"), r"\xc0\xaf");
}

#[test]
fn every_byte_that_an_argument_can_carry_is_delivered() {
    let every_byte: Vec<u8> = (1..=255).collect();
    let shown: String = (1..=255)
        .map(|byte| match byte {
            b'\t' => r"\t".to_owned(),
            b'\n' => r"\n".to_owned(),
            b'\r' => r"\r".to_owned(),
            b' '..=b'~' => char::from(byte).to_string(),
            // From 0x80 on, none of them is followed by what would make it a character.
            _ => format!(r"\x{byte:02x}"),
        })
        .collect();
    assert_shown(OsString::from_vec(every_byte), &shown);
}

#[test]
fn control_characters_and_escape_sequences_are_shown_and_not_obeyed() {
    for (message, shown) in [
        // Clear the screen, set the title, move the cursor up and rewrite the line.
        ("\x1b[2J\x1b[H", r"\x1b[2J\x1b[H"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[Aforged\r\n# All done.", r"\x1b[Aforged\r\n# All done."),
        // Colours that would never end, and an end to ours.
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x1b[0m", r"\x1b[0m"),
        // The same sequences in one character of C1.
        ("\u{9b}2J", r"\u{9b}2J"),
        ("\u{9d}0;title\u{9c}", r"\u{9d}0;title\u{9c}"),
        ("\u{85}", r"\u{85}"),
        ("back\x08space, DEL\x7f, bell\x07", r"back\x08space, DEL\x7f, bell\x07"),
        ("\ttab", r"\ttab"),
    ] {
        assert_shown(message, shown);
    }
}

#[test]
fn bidirectional_overrides_and_isolates_are_shown_and_not_obeyed() {
    for code in (0x202a..=0x202e).chain(0x2066..=0x2069) {
        let control = char::from_u32(code).unwrap();
        assert_shown(format!("abc{control}def"), &format!("abc\\u{{{code:x}}}def"));
    }
    // Writing from right to left is not the same as overriding the direction.
    assert_shown("שלום", "שלום");
}

/// Everything that ends a line for somebody: for Python's `str.splitlines`, which knows the most.
const LINE_ENDS: &str = "\n\r\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}";

#[test]
fn whatever_ends_a_line_for_somebody_is_shown_and_ends_none() {
    for end in LINE_ENDS.chars() {
        let shown = match end {
            '\n' | '\r' => end.escape_default().to_string(),
            '\0'..='\x1f' => format!(r"\x{:02x}", end as u32),
            _ => end.escape_unicode().to_string(),
        };
        assert_shown(format!("one{end}two"), &format!("one{shown}two"));
    }
}

#[test]
fn whoever_splits_lines_as_unicode_does_sees_the_lines_that_are_printed() {
    let scratch = Scratch::new();
    let ends = |before: &str| format!("{before}{LINE_ENDS}.");
    let path = scratch.dir().join(ends("path"));
    fs::write(&path, "").unwrap();
    let missing = ends("/missing");
    let with_path = |path: &OsStr, rest: &[&str]| {
        let mut command = sigshm();
        command.arg("--path").arg(path).args(rest);
        command
    };
    let mut all = String::new();
    // What is run, its exit status, and how many lines it prints, if that is known.
    for (mut command, code, lines) in [
        (scratch.sigshm([LINE_ENDS]), 0, Some(11)),
        (scratch.via_socket([LINE_ENDS]), 0, Some(10)),
        (scratch.sigshm(["--explain", LINE_ENDS]), 0, None),
        (scratch.via_socket(["--explain", LINE_ENDS]), 0, None),
        (scratch.sigshm(["--step", LINE_ENDS]), 0, None),
        // A path, where it is told and where it is an error.
        (with_path(path.as_os_str(), &["--explain", "hi"]), 0, None),
        (with_path(path.as_os_str(), &["--step", "hi"]), 0, None),
        (with_path(missing.as_ref(), &["hi"]), 1, Some(0)),
        (with_path(missing.as_ref(), &["--listen"]), 1, Some(0)),
        // Bad usage quotes what was typed.
        (scratch.sigshm([ends("--explian")]), 2, Some(0)),
        (scratch.sigshm(["one".into(), ends("two")]), 2, Some(0)),
        (scratch.sigshm([ends("--color="), "hi".into()]), 2, Some(0)),
        (scratch.sigshm([ends("--timeout="), "hi".into()]), 2, Some(0)),
        (scratch.sigshm([ends("--signal="), "hi".into()]), 2, Some(0)),
        (scratch.sigshm([ends("--to="), "hi".into()]), 2, Some(0)),
    ] {
        let finished = run(&mut command);
        assert_eq!(finished.code, Some(code), "{finished:#?}");
        let printed = finished.text().matches('\n').count();
        assert_eq!(printed, lines.unwrap_or(printed), "{finished:#?}");
        let said = finished.stderr.matches('\n').count();
        assert_eq!(said == 0, code == 0, "{finished:#?}");
        let text = finished.text().to_owned() + &finished.stderr;
        assert!(text.contains(r"\u{2028}"), "{command:?}: {text:?}");
        let ends = |it: &char| LINE_ENDS.contains(*it) && *it != '\n';
        assert_eq!(text.chars().find(ends), None, "{command:?}: {text:?}");
        all += &text;
    }
    match lines_to_python(&all) {
        Some(lines) => assert_eq!(lines, all.matches('\n').count(), "{all:?}"),
        None => not_tested("whether Python sees as many lines", "there is no python3"),
    }
}

/// How many lines this is to Python. `None` if there is none here.
fn lines_to_python(text: &str) -> Option<usize> {
    let count = "import sys; print(len(sys.stdin.buffer.read().decode().splitlines()))";
    let mut python = Command::new("python3");
    python.args(["-c", count]).stdin(Stdio::piped());
    let child = python.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.ok()?;
    let written = child.stdin.take().unwrap().write_all(text.as_bytes());
    let output = child.wait_with_output().unwrap();
    // (What stands there as python3 may only be a script that looks for one.)
    written.ok().filter(|()| output.status.success())?;
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.trim().parse().ok()
}

#[test]
fn a_message_that_starts_with_a_dash_goes_after_two_dashes() {
    for message in ["-x", "--help", "--", "-"] {
        let scratch = Scratch::new();
        run(scratch.sigshm(["--", message])).assert_delivered(message.len(), message);
    }
}

// Bad input.

#[test]
fn no_message_is_bad_usage() {
    let scratch = Scratch::new();
    assert_bad_usage(
        scratch.sigshm([""; 0]),
        &["required arguments were not provided", "<MESSAGE>", "Usage: sigshm"],
    );
}

#[test]
fn words_without_quotes_are_bad_usage_and_the_advice_is_to_quote_them() {
    let scratch = Scratch::new();
    for (arguments, unexpected) in [
        (&["Hello,", "world"][..], "'world'"),
        (&["Hello,", "my", "world"], "'my'"),
        (&["no,", "no,", "no,"], "'no,'"),
        (&["--explain", "Hello,", "--step", "world"], "'world'"),
        (&["--to", "1", "Hello,", "world"], "'world'"),
        (&["--via=socket", "Hello,", "world"], "'world'"),
        (&["--", "Hello,", "world"], "'world'"),
        (&["--", "-5", "-3"], "'-3'"),
        (&["--", "--step", "--step"], "'--step'"),
        (&["--", "-h", "-V"], "'-V'"),
        (&["--", "--help", "--help"], "'--help'"),
        (&["--step", "--", "one", "--step"], "'--step'"),
        (&["--explain", "--", "one", "--"], "'--'"),
        (&["5", "-", "3"], "'-'"),
        (&["minus", "-5"], "'-5'"),
        (&["rock", "-n-", "roll"], "'-n-'"),
        (&["hello", "-hurry"], "'-hurry'"),
        (&["hello", "-Vx"], "'-Vx'"),
        (&["the", "--end"], "'--end'"),
        (&["one", ""], "''"),
    ] {
        let parts = [unexpected, "in quotes", "\"Hello, world\"", "Usage: sigshm"];
        assert_bad_usage(scratch.sigshm(arguments), &parts);
    }
    // With --listen there is no message at all.
    for (arguments, said) in [
        (["--listen", "Hello,", "world"], "cannot be used with"),
        (["--listen", "--to=5", "-x"], "cannot be used with"),
        (["--listen", "--explain", "-x"], "unexpected argument '-x'"),
    ] {
        let finished = assert_bad_usage(scratch.sigshm(arguments), &[said]);
        assert!(!finished.stderr.contains("tip"), "{finished:#?}");
    }
}

#[test]
fn a_misspelt_option_is_answered_with_the_right_one() {
    let scratch = Scratch::new();
    for (misspelt, right) in [
        ("--expain", "'--explain'"),
        ("--Explain", "'--explain'"),
        ("--setp", "'--step'"),
        ("--steps", "'--step'"),
        ("--liste", "'--listen'"),
        ("--colour=never", "'--color'"),
        ("--no-color", "'--color'"),
        ("--timout=5", "'--timeout'"),
        ("--singal=WINCH", "'--signal'"),
        ("--wiat=spin", "'--wait'"),
        ("--verison", "'--version'"),
        // One dash, as some other programs have it.
        ("-explain", "'--explain'"),
        ("-expalin", "'--explain'"),
        ("-listen", "'--listen'"),
        ("-Version", "'--version'"),
        ("-Via=socket", "'--via'"),
        ("-hlep", "'--help'"),
        ("-timeout=5", "'--timeout'"),
        // And a misspelt value.
        ("--via=memroy", "'memory'"),
        ("--wait=slep", "'sleep'"),
        ("--color=nevr", "'never'"),
    ] {
        for arguments in [[misspelt, "hi"], ["hi", misspelt]] {
            let finished = assert_bad_usage(scratch.sigshm(arguments), &["similar", right]);
            assert!(!finished.stderr.contains("put "), "{finished:#?}");
        }
    }
}

#[test]
fn a_message_with_a_dash_in_front_is_bad_usage_and_the_advice_is_to_put_two_before_it() {
    let scratch = Scratch::new();
    for message in ["-5", "-5 degrees", "-say hello", "- item", "--quiet", "-x", "--="] {
        let parts = [&format!("'{message}'"), "two dashes", "sigshm -- -5"];
        let finished = assert_bad_usage(scratch.sigshm([message]), &parts);
        assert!(!finished.stderr.contains("similar"), "{finished:#?}");
    }
}

#[test]
fn a_timeout_may_be_endless_or_shorter_than_anything() {
    let scratch = Scratch::new();
    for value in ["inf", "infinity", "1e999", "1e30", "18446744073709551616"] {
        run(scratch.sigshm(["--timeout", value, "Hello, world"]))
            .assert_delivered(12, "Hello, world");
    }
    // It is greater than 0, and so it is a timeout.
    for value in ["1e-12", "0.0000000001"] {
        let finished = run(scratch.sigshm(["--timeout", value, "--listen"]));
        finished.assert_failed_with(&[" within 0.000000001 seconds", "--timeout"]);
    }
}

#[test]
fn errors_show_a_long_path_or_argument_without_its_middle() {
    let long = format!("/{}", "folder/".repeat(428) + "shared_path");
    assert!(long.len() > 3000);
    for argument in ["--listen", "Hello, world"] {
        let finished = run(sigshm().args(["--path", &long, argument]));
        finished.assert_failed_with(&["\"/folder/folder/fold…", "/shared_path\"", "ENOENT"]);
        assert!(finished.stderr.len() < 300, "{finished:#?}");
    }
    for option in ["--to", "--timeout", "--color"] {
        let finished = run(sigshm().args([option, &long, "Hello, world"]));
        assert_eq!(finished.code, Some(2), "{finished:#?}");
        let parts = ["error: invalid value '/folder/", "…", option];
        assert!(parts.iter().all(|part| finished.stderr.contains(part)), "{finished:#?}");
        assert!(finished.stderr.lines().all(|line| line.chars().count() <= 300));
    }
}

#[test]
fn a_timeout_that_is_no_positive_number_of_seconds_is_bad_usage() {
    let scratch = Scratch::new();
    for value in ["0", "-1", "nan", "-inf", "abc", "", "0x10", "5s"] {
        assert_bad_usage(
            scratch.sigshm(["--timeout", value, "Hello, world"]),
            &["--timeout <SECONDS>", "a number of seconds greater than 0"],
        );
    }
    assert_bad_usage(
        scratch.sigshm(["--timeout=-1", "Hello, world"]),
        &["-1", "a number of seconds greater than 0"],
    );
    assert_bad_usage(scratch.sigshm(["--timeout", "-1", "Hello, world"]), &["-1"]);
}

#[test]
fn a_color_that_is_none_of_the_three_is_bad_usage() {
    let scratch = Scratch::new();
    assert_bad_usage(
        scratch.sigshm(["--color", "sometimes", "Hello, world"]),
        &["sometimes", "auto", "always", "never"],
    );
}

#[test]
fn bad_usage_is_quoted_without_being_obeyed() {
    let scratch = Scratch::new();
    for arguments in [
        ["--color", "\x1b[31mred\u{202e}", "Hello, world"],
        ["--timeout", "\x1b]0;title\x07", "Hello, world"],
        ["one", "\x1b[2J\u{9b}2J\rtwo", "three"],
        ["--\x1b[2J", "one", "two"],
    ] {
        let finished = assert_bad_usage(scratch.sigshm(arguments), &[r"\x1b"]);
        assert_defused(&finished.stderr);
    }
    // Nor does it make a line that looks like one of the program's.
    for arguments in [
        ["one", "two\nsigshm: fine"],
        ["-path=\nsigshm: fine", "one"],
        ["--color=\nsigshm: fine", "one"],
        ["--timeout=\nsigshm: fine", "one"],
        ["--signal=\nsigshm: fine", "one"],
    ] {
        assert_bad_usage(scratch.sigshm(arguments), &[r"\nsigshm: fine"]);
    }
}

#[test]
fn a_message_of_1008_bytes_is_bad_usage() {
    let scratch = Scratch::new();
    // Fewer characters than 1007, but more bytes.
    for message in ["x".repeat(LONGEST + 1), "日".repeat(336)] {
        let parts = ["1008 bytes", "1007 is the limit", "send a shorter one"];
        assert_bad_usage(scratch.sigshm([message]), &parts);
    }
}

#[test]
fn a_much_too_long_message_is_bad_usage_and_its_length_is_named() {
    let scratch = Scratch::new();
    let parts = ["100000 bytes", "1007 is the limit"];
    assert_bad_usage(scratch.sigshm(["x".repeat(100_000)]), &parts);
    // With --to as well, before the listener is looked for.
    let mut command = scratch.sigshm(["--to", "1", "--"]);
    command.arg("x".repeat(100_000));
    assert_bad_usage(command, &parts);
}

#[test]
fn a_missing_path_is_named_with_what_to_do() {
    let scratch = Scratch::new();
    let missing = scratch.dir().join("missing");
    let finished = run(sigshm().arg("--path").arg(&missing).arg("Hello, world"));
    let named = missing.to_str().unwrap();
    finished.assert_failed_with(&["open(", named, "ENOENT", "touch", "--path"]);
    assert_eq!(finished.text(), "");
    assert!(!missing.exists(), "it was created");
}

#[test]
fn a_missing_default_path_is_named_with_what_to_do() {
    let scratch = Scratch::new();
    let empty = scratch.dir().join("empty");
    fs::create_dir(&empty).unwrap();
    let finished = run(sigshm().arg("Hello, world").current_dir(&empty));
    finished.assert_failed_with(&["./shared_path", "ENOENT", "touch", "--path"]);
    assert_eq!(finished.text(), "");
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0, "it was created");
}

#[test]
fn a_path_is_quoted_without_being_obeyed() {
    let finished = run(sigshm().args(["--path", "/\x1b[31m\r\n\u{202e}missing", "Hello, world"]));
    finished.assert_failed_with(&[r"/\u{1b}[31m\r\n\u{202e}missing", "ENOENT"]);
    assert_defused(&finished.stderr);
}

#[test]
fn an_unreadable_path_is_named_with_what_to_do() {
    let scratch = Scratch::new();
    // The same run with a readable file succeeds, so it is the file that makes it fail.
    run(unprivileged(&scratch)).assert_delivered(12, "Hello, world");

    fs::set_permissions(scratch.path(), Permissions::from_mode(0o000)).unwrap();
    let finished = run(unprivileged(&scratch));
    let path = scratch.path();
    finished.assert_failed_with(&["open(", path.to_str().unwrap(), "EACCES", "chmod", "--path"]);
    assert_eq!(finished.text(), "");
}

// What asks for something else than a run.

#[test]
fn the_short_help_fits_one_screen_and_begins_with_what_the_program_does() {
    let help = help("-h");
    let first = help.lines().next().unwrap().to_lowercase();
    for word in ["send", "message", "shared memory", "signal"] {
        assert!(first.contains(word), "{word:?} is not in {first:?}");
    }
    // The prompt of the shell takes the last of the 24 lines.
    assert!(help.lines().count() < 24, "too long:\n{help}");
}

#[test]
fn the_long_help_says_more_and_ends_with_five_examples_that_make_sense() {
    let (short, long) = (help("-h"), help("--help"));
    // Whatever the short one says, and something more about each option.
    for line in short.lines().filter(|line| line.starts_with("      --")) {
        let (option, words) = line.trim().split_once("  ").unwrap();
        let (_, rest) = long.split_once(&format!("\n      {option}\n")).unwrap();
        let words = words.trim().trim_end_matches(" [default: memory]");
        let rest = rest.trim_start().strip_prefix(words).expect(words);
        let more = rest.trim_start().split("\n\n").next().unwrap();
        let is_more = !more.starts_with(['-', '[']);
        assert!(is_more, "nothing more about {option}");
    }
    let (_, examples) = long.split_once("\nExamples:\n").unwrap();
    assert_eq!(examples.lines().count(), 5, "{examples}");
    for example in examples.lines() {
        let command = example.trim().split("   ").next().unwrap();
        let command = command.trim_end_matches(" | less -R");
        let quoted: Vec<&str> = command.split('"').collect();
        let words = quoted[0].split_whitespace().skip(1).chain(quoted.get(1).copied());
        // Here there is no such file: it comes that far if the usage is right.
        let scratch = Scratch::new();
        let missing = scratch.dir().join("missing");
        let finished = run(sigshm().arg("--path").arg(missing).args(words));
        assert_eq!(finished.code, Some(1), "{example}: {finished:#?}");
    }
}

#[track_caller]
fn help(option: &str) -> String {
    let finished = run(sigshm().arg(option));
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:#?}");
    let help = finished.text();
    for option in [
        "[MESSAGE]",
        "--to",
        "--listen",
        "--via",
        "--signal",
        "--wait",
        "--explain",
        "--step",
        "--path",
        "--color",
        "--timeout",
        "--help",
        "--version",
    ] {
        assert!(help.contains(option), "{option} is not in {help}");
    }
    for line in help.lines() {
        let columns = line.chars().count();
        assert!(columns <= 80, "{columns} columns: {line}");
    }
    assert_defused(help);
    help.to_owned()
}

#[test]
fn the_version_is_the_packages() {
    for option in ["--version", "-V"] {
        let finished = run(sigshm().arg(option));
        assert_eq!(finished.text(), concat!("sigshm ", env!("CARGO_PKG_VERSION"), "\n"));
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    }
}

/// What the kernel refuses, and what nobody so much as tries.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod with_a_filter {
    use super::*;

    use std::io;

    use libc::{
        BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
        SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, c_long, sock_filter, sock_fprog,
    };

    #[test]
    fn on_a_kernel_without_system_v_ipc_the_run_says_so_and_leaves_nothing() {
        let scratch = Scratch::new();
        let no_such_call = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        let mut command = scratch.sigshm(["Hello, world"]);
        answer(&mut command, &[libc::SYS_shmget], no_such_call);
        let finished = run(&mut command);
        finished.assert_failed_with(&["shmget(", "ENOSYS", "System V"]);
        assert!(is_gone_for_good(finished.text()), "{finished:#?}");
    }

    #[test]
    fn bad_input_is_refused_before_a_process_or_a_segment_is_asked_for() {
        let scratch = Scratch::new();
        let missing = scratch.dir().join("missing");
        let too_long = "x".repeat(LONGEST + 1);
        let refused = [
            (2, scratch.sigshm([""; 0])),
            (2, scratch.sigshm(["one", "two"])),
            (2, scratch.sigshm(["--timeout", "0", "Hello, world"])),
            (2, scratch.sigshm(["--color", "red", "Hello, world"])),
            (2, scratch.sigshm([&too_long])),
            (1, {
                let mut command = sigshm();
                command.arg("--path").arg(missing).arg("Hello, world");
                command
            }),
        ];
        for (code, mut command) in refused {
            kill_what_creates(&mut command);
            let finished = run(&mut command);
            assert_eq!((finished.code, finished.signal), (Some(code), None), "{finished:#?}");
            assert_eq!(finished.text(), "");
        }
        // The filter does what it is for: good input does not get away with it.
        let mut good = scratch.sigshm(["Hello, world"]);
        kill_what_creates(&mut good);
        assert_eq!(run(&mut good).signal, Some(libc::SIGSYS));
    }

    #[test]
    fn an_unreadable_path_is_refused_before_a_process_or_a_segment_is_asked_for() {
        let scratch = Scratch::new();
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o000)).unwrap();
        let mut command = unprivileged(&scratch);
        kill_what_creates(&mut command);
        run(&mut command).assert_failed_with(&["EACCES"]);
    }

    /// Whether the listener that the transcript names, if it does, has been reaped.
    fn is_gone_for_good(transcript: &str) -> bool {
        is_gone(nix::unistd::Pid::from_raw(listener_in(transcript)))
    }

    fn kill_what_creates(command: &mut Command) {
        let calls = [libc::SYS_clone, libc::SYS_clone3, libc::SYS_shmget];
        answer(command, &calls, SECCOMP_RET_KILL_PROCESS);
        #[cfg(target_arch = "x86_64")]
        answer(command, &[libc::SYS_fork, libc::SYS_vfork], SECCOMP_RET_KILL_PROCESS);
    }

    /// Has the kernel give `answer` to each of `calls` that the program makes; see seccomp(2).
    fn answer(command: &mut Command, calls: &[c_long], answer: u32) {
        let step = |code: u32, k: u32, jf: u8| sock_filter { code: code as u16, jt: 0, jf, k };
        // The number of the call is the first field of what a filter is given.
        let mut filter = vec![step(BPF_LD | BPF_W | BPF_ABS, 0, 0)];
        for &call in calls {
            filter.push(step(BPF_JMP | BPF_JEQ | BPF_K, call as u32, 1));
            filter.push(step(BPF_RET | BPF_K, answer, 0));
        }
        filter.push(step(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0));

        let install = move || {
            let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
            // Needed by whoever is not root.
            // SAFETY: the call takes numbers only.
            let made = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            if made == -1 {
                return Err(io::Error::last_os_error());
            }
            let mode = libc::SECCOMP_MODE_FILTER;
            // SAFETY: the kernel only reads the program, which lives until the call has returned.
            let made = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
            if made == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        };
        // SAFETY: between fork and exec this makes two system calls and allocates nothing.
        unsafe { command.pre_exec(install) };
    }
}

/// The message is delivered, appears as `shown`, and nothing that a terminal obeys is printed.
#[track_caller]
fn assert_shown(message: impl AsRef<OsStr>, shown: &str) {
    let scratch = Scratch::new();
    let message = message.as_ref();
    let mut command = scratch.sigshm([message]);
    let finished = run(&mut command);
    finished.assert_delivered(message.len(), shown);
    assert_eq!(finished.stderr, "");
    // Our own: the colours, and the one tab before the id and the text.
    let ours = [LISTENER, SENDER, RECEIVER, "\x1b[0m"];
    let mut text = finished.text().to_owned();
    for code in ours {
        text = text.replace(code, "");
    }
    text = text.replacen("\tid=", "id=", 1).replacen("\ttext:", "text:", 1);
    assert_defused(&text);
}

/// The text has no control character but the ends of its lines, nothing that turns the reading
/// direction around, and nothing else that ends a line.
#[track_caller]
fn assert_defused(text: &str) {
    let obeyed = |character: &char| {
        (character.is_control() && *character != '\n')
            || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(text.chars().find(obeyed), None, "{text:?}");
}

/// The run ends with status 2, says each of `parts` on standard error, and nothing on standard
/// output.
#[track_caller]
fn assert_bad_usage(mut command: Command, parts: &[&str]) -> Finished {
    let finished = run(&mut command);
    assert_eq!((finished.code, finished.text()), (Some(2), ""), "{finished:#?}");
    for part in parts {
        assert!(finished.stderr.contains(part), "{part:?} is not in {:?}", finished.stderr);
    }
    finished
}

/// A run of `Hello, world` by somebody whom permissions keep out, which root is not.
fn unprivileged(scratch: &Scratch) -> Command {
    const NOBODY: u32 = 65534;
    if !Uid::effective().is_root() {
        return scratch.sigshm(["Hello, world"]);
    }
    let mut command = Command::new(scratch.copy_for_anybody());
    command
        .arg("--path")
        .arg(scratch.path())
        .arg("Hello, world")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .uid(NOBODY)
        .gid(NOBODY);
    command
}
