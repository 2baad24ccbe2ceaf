//! What a user may type: messages that a toy would trip over, and bad usage, which must leave
//! nothing behind.

use crate::support::*;

// Good input.

#[test]
fn without_a_path_the_shared_path_of_the_current_folder_is_used() {
    let scratch = Scratch::new();
    run(sigshm().arg(HELLO).current_dir(scratch.dir())).assert_delivered(12, HELLO);
}

#[test]
fn messages_of_any_length_and_script_are_shown_as_they_are_and_counted_in_bytes() {
    for message in [
        "",
        // The longest, and one that ends in a character of several bytes.
        &"x".repeat(LONGEST),
        &("x".repeat(LONGEST - 4) + "🦀"),
        // Two, three and four bytes each, and one that is made of several characters.
        "Zażółć gęślą jaźń",
        "日本語のメッセージ",
        "🦀🐚",
        "👩‍🚀 e\u{301}",
        // Writing from right to left is not the same as overriding the direction.
        "שלום",
    ] {
        assert_shown(message, message);
    }
}

#[test]
fn every_byte_that_an_argument_can_carry_is_delivered_and_shown_escaped_if_it_is_not_utf8() {
    let every_byte: Vec<u8> = (1..=255).collect();
    let shown = |byte: &u8| match byte {
        b'\t' => r"\t".to_owned(),
        b'\n' => r"\n".to_owned(),
        b'\r' => r"\r".to_owned(),
        b' '..=b'~' => char::from(*byte).to_string(),
        // From 0x80 on, none of them is followed by what would make it a character.
        _ => format!(r"\x{byte:02x}"),
    };
    let shown: String = every_byte.iter().map(shown).collect();
    for (message, shown) in [
        (&every_byte[..], shown.as_str()),
        (b"\xff", r"\xff"),
        (b"a\xc3(\xe2\x82b\x80", r"a\xc3(\xe2\x82b\x80"),
        // An encoded surrogate, and an overlong slash.
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"\xc0\xaf", r"\xc0\xaf"),
    ] {
        assert_shown(OsStr::from_bytes(message), shown);
    }
}

/// Everything that ends a line for somebody: for Python's `str.splitlines`, which knows the most.
const LINE_ENDS: &str = "\n\r\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}";

#[test]
fn controls_escape_sequences_overrides_and_line_ends_are_shown_and_not_obeyed() {
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
        ("back\x08space, DEL\x7f, bell\x07", r"back\x08space, DEL\x7f, bell\x07"),
        ("\ttab", r"\ttab"),
    ] {
        assert_shown(message, shown);
    }
    // Bidirectional overrides and isolates, and whatever ends a line for somebody.
    let turns = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
    for it in turns.chain(LINE_ENDS.chars()) {
        let shown = match it {
            '\n' | '\r' => it.escape_default().to_string(),
            '\0'..='\x1f' => format!(r"\x{:02x}", it as u32),
            _ => it.escape_unicode().to_string(),
        };
        assert_shown(format!("one{it}two"), &format!("one{shown}two"));
    }
    assert_shown("\u{85}", r"\u{85}");
}

#[test]
fn whoever_splits_lines_as_unicode_does_sees_the_lines_that_are_printed() {
    let scratch = Scratch::new();
    let ends = |before: &str| format!("{before}{LINE_ENDS}.");
    let path = scratch.dir().join(ends("path"));
    fs::write(&path, "").unwrap();
    let missing = ends("/missing");
    let mut all = String::new();
    // What is run, its exit status, and how many lines it prints, if that is known.
    for (mut command, code, lines) in [
        (scratch.sigshm([LINE_ENDS]), 0, Some(11)),
        (scratch.via_socket([LINE_ENDS]), 0, Some(10)),
        (scratch.sigshm(["--explain", LINE_ENDS]), 0, None),
        (scratch.via_socket(["--explain", LINE_ENDS]), 0, None),
        (scratch.sigshm(["--step", LINE_ENDS]), 0, None),
        // A path, where it is told and where it is an error.
        (sigshm_at(&path, ["--explain", "hi"]), 0, None),
        (sigshm_at(&path, ["--step", "hi"]), 0, None),
        (sigshm_at(&missing, ["hi"]), 1, Some(0)),
        (sigshm_at(&missing, ["--listen"]), 1, Some(0)),
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
    let file = scratch.dir().join("all");
    fs::write(&file, &all).unwrap();
    let count = "import sys; print(len(open(sys.argv[1], 'rb').read().decode().splitlines()))";
    if let Some(mut python) = python("whether Python sees as many lines") {
        let lines = format!("{}\n", all.matches('\n').count());
        assert_eq!(run(python.args(["-c", count]).arg(file)).text(), lines, "{all:?}");
    }
}

#[test]
fn a_message_that_starts_with_a_dash_goes_after_two_dashes() {
    let scratch = Scratch::new();
    for message in ["-x", "--help", "--", "-"] {
        run(scratch.sigshm(["--", message])).assert_delivered(message.len(), message);
    }
}

// Bad input.

#[test]
fn bad_usage_names_what_is_wrong_without_obeying_it() {
    let much_longer = "x".repeat(100_000);
    let limit = &*format!("{LONGEST} is the limit");
    let length = LONGEST.next_multiple_of(3);
    let bytes = &*format!("{length} bytes");
    let rows: [(&[&str], &[&str]); 18] = [
        // No message, and a colour that is none of the three.
        (&[], &["required arguments were not provided", "<MESSAGE>", "Usage: sigshm"]),
        (&["--color", "sometimes", HELLO], &["sometimes", "auto", "always", "never"]),
        // A timeout that begins with a dash.
        (&["--timeout=-1", HELLO], &["-1", "a number of seconds greater than 0"]),
        (&["--timeout", "-1", HELLO], &["-1"]),
        // Each is too long. The second one has fewer characters than the limit.
        (&[&"x".repeat(length)], &[bytes, limit, "send a shorter one"]),
        (&[&"日".repeat(length / 3)], &[bytes, limit, "send a shorter one"]),
        // Named, with --to as well, before the listener is looked for.
        (&[&much_longer], &["100000 bytes", limit]),
        (&["--to", "1", "--", &much_longer], &["100000 bytes", limit]),
        // What would be obeyed by a terminal.
        (&["--color", "\x1b[31mred\u{202e}", HELLO], &[r"\x1b"]),
        (&["--timeout", "\x1b]0;title\x07", HELLO], &[r"\x1b"]),
        (&["one", "\x1b[2J\u{9b}2J\rtwo", "three"], &[r"\x1b"]),
        (&["--\x1b[2J", "one", "two"], &[r"\x1b"]),
        // What would make a line that looks like one of the program's.
        (&["one", "two\nsigshm: fine"], &[r"\nsigshm: fine"]),
        (&["-path=\nsigshm: fine", "one"], &[r"\nsigshm: fine"]),
        (&["--color=\nsigshm: fine", "one"], &[r"\nsigshm: fine"]),
        (&["--timeout=\nsigshm: fine", "one"], &[r"\nsigshm: fine"]),
        (&["--signal=\nsigshm: fine", "one"], &[r"\nsigshm: fine"]),
        (&["--to=\nsigshm: fine", "one"], &[r"\nsigshm: fine"]),
    ];
    let scratch = Scratch::new();
    for (arguments, parts) in rows {
        assert_bad_usage(&scratch, arguments, parts, "");
    }
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
        assert_bad_usage(&scratch, arguments, &parts, "");
    }
    // With --listen there is no message at all.
    for (arguments, said) in [
        (["--listen", "Hello,", "world"], "cannot be used with"),
        (["--listen", "--to=5", "-x"], "cannot be used with"),
        (["--listen", "--explain", "-x"], "unexpected argument '-x'"),
    ] {
        assert_bad_usage(&scratch, &arguments, &[said], "tip");
    }
}

#[test]
fn a_misspelt_option_is_answered_with_the_right_one() {
    let scratch = Scratch::new();
    // With one dash, as some other programs have it, too; and values.
    let options: [(&str, &[&str]); 13] = [
        ("'--explain'", &["--expain", "--Explain", "-explain", "-expalin"]),
        ("'--step'", &["--setp", "--steps"]),
        ("'--listen'", &["--liste", "-listen"]),
        ("'--color'", &["--colour=never", "--no-color"]),
        ("'--timeout'", &["--timout=5", "-timeout=5"]),
        ("'--signal'", &["--singal=WINCH"]),
        ("'--wait'", &["--wiat=spin"]),
        ("'--version'", &["--verison", "-Version"]),
        ("'--via'", &["-Via=socket"]),
        ("'--help'", &["-hlep"]),
        ("'memory'", &["--via=memroy"]),
        ("'sleep'", &["--wait=slep"]),
        ("'never'", &["--color=nevr"]),
    ];
    for (right, misspellings) in options {
        for misspelt in misspellings {
            for arguments in [[misspelt, "hi"], ["hi", misspelt]] {
                assert_bad_usage(&scratch, &arguments, &["similar", right], "put ");
            }
        }
    }
}

#[test]
fn a_message_with_a_dash_in_front_is_bad_usage_and_the_advice_is_to_put_two_before_it() {
    let scratch = Scratch::new();
    for message in ["-5", "-5 degrees", "-say hello", "- item", "--quiet", "-x", "--="] {
        let parts = [&format!("'{message}'"), "two dashes", "sigshm -- -5"];
        assert_bad_usage(&scratch, &[message], &parts, "similar");
    }
}

#[test]
fn a_timeout_may_be_endless_or_shorter_than_anything_but_is_a_positive_number_of_seconds() {
    let scratch = Scratch::new();
    for value in ["inf", "infinity", "1e999", "1e30", "18446744073709551616"] {
        run(scratch.sigshm(["--timeout", value, HELLO])).assert_delivered(12, HELLO);
    }
    // It is greater than 0, and so it is a timeout.
    for value in ["1e-12", "0.0000000001"] {
        let finished = run(scratch.sigshm(["--timeout", value, "--listen"]));
        finished.assert_failed_with(&[" within 0.000000001 seconds", "--timeout"]);
    }
    for value in ["0", "-1", "nan", "-inf", "abc", "", "0x10", "5s"] {
        let parts = ["--timeout <SECONDS>", "a number of seconds greater than 0"];
        assert_bad_usage(&scratch, &["--timeout", value, HELLO], &parts, "");
    }
}

#[test]
fn what_is_no_pid_is_answered_with_what_a_pid_is_and_where_it_comes_from() {
    let scratch = Scratch::new();
    for value in ["abc", "12x", "", " ", "-5", "0", "99999999999", "2147483648", "1.5", "0x10"] {
        let named = format!("invalid value '{value}' for '--to <PID>'");
        let parts =
            [&named, "a PID is needed", "the number of a process", "sigshm --listen prints"];
        assert_bad_usage(&scratch, &["--to", value, HELLO], &parts, "0..");
    }
}

#[test]
fn errors_show_a_long_path_or_argument_without_its_middle() {
    let long = format!("/{}", "folder/".repeat(428) + "shared_path");
    assert!(long.len() > 3000);
    for argument in ["--listen", HELLO] {
        let finished = run(sigshm_at(&long, [argument]));
        finished.assert_failed_with(&["\"/folder/folder/fold…", "/shared_path\"", "ENOENT"]);
        assert!(finished.stderr.len() < 300, "{finished:#?}");
    }
    let scratch = Scratch::new();
    for option in ["--to", "--timeout", "--color"] {
        let parts = ["error: invalid value '/folder/", "…", option];
        let said = assert_bad_usage(&scratch, &[option, &long, HELLO], &parts, "");
        assert!(said.lines().all(|line| line.chars().count() <= 300), "{said}");
    }
}

#[test]
fn a_missing_or_unreadable_path_is_named_with_what_to_do_and_is_not_obeyed_or_created() {
    let scratch = Scratch::new();
    let [missing, empty] = ["missing", "empty"].map(|name| scratch.dir().join(name));
    fs::create_dir(&empty).unwrap();
    let mut by_default = sigshm();
    by_default.arg(HELLO).current_dir(&empty);
    // By somebody whom permissions keep out, which root is not. It is the file that makes it fail.
    let (mut by_other, path) = (scratch.sigshm_as(65534, &[HELLO]), scratch.path());
    run(&mut by_other).assert_delivered(12, HELLO);
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let no_file = ["ENOENT", "touch"];
    let obeyed = "/\x1b[31m\r\n\u{202e}missing";
    for (command, named, [errno, advice]) in [
        (sigshm_at(&missing, [HELLO]), missing.to_str().unwrap(), no_file),
        (by_default, "./shared_path", no_file),
        (sigshm_at(obeyed, [HELLO]), r"/\u{1b}[31m\r\n\u{202e}missing", no_file),
        (by_other, path.to_str().unwrap(), ["EACCES", "chmod"]),
    ] {
        let finished = run(command);
        finished.assert_failed_with(&["open(", named, errno, advice, "--path"]);
        assert_eq!(finished.text(), "");
        assert_defused(&finished.stderr);
    }
    assert!(!missing.exists(), "it was created");
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0, "it was created");
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
        assert!(!rest.trim_start().starts_with(['-', '[']), "nothing more about {option}");
    }
    let (_, examples) = long.split_once("\nExamples").unwrap();
    let (how, examples) = examples.split_once("):\n").unwrap();
    assert!(how.contains("cargo run -q --") && how.contains("cargo install --path ."), "{how}");
    assert_eq!(examples.lines().count(), 5, "{examples}");
    for example in examples.lines() {
        let command = example.trim().split("   ").next().unwrap().trim_end_matches(" | less -R");
        let (words, message) = command.split_once(" \"").unwrap_or((command, ""));
        let words = words.split_whitespace().skip(1).chain(message.strip_suffix('"'));
        // Here there is no such file: it comes that far if the usage is right.
        let scratch = Scratch::new();
        let finished = run(sigshm_at(scratch.dir().join("missing"), words));
        assert_eq!(finished.code, Some(1), "{example}: {finished:#?}");
    }
}

#[track_caller]
fn help(option: &str) -> String {
    let help = Program::start(sigshm().arg(option)).finish_well();
    let options = "[MESSAGE] --to --listen --via --signal --wait --explain --step --path --color \
                   --timeout --help --version";
    for option in options.split(' ') {
        assert!(help.contains(option), "{option} is not in {help}");
    }
    let is_wide = |line: &&str| line.chars().count() > 80;
    assert_eq!(help.lines().find(is_wide), None);
    assert_defused(&help);
    help
}

#[test]
fn the_version_is_the_packages() {
    for option in ["--version", "-V"] {
        let version = concat!("sigshm ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(run(sigshm().arg(option)).outcome(), (Some(0), "", version));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn bad_input_is_refused_before_a_process_or_a_segment_is_asked_for() {
    use crate::support::refusal::{Refusal, refuse};

    let killed_if_it_creates =
        |command| run(refuse(command, &[libc::SYS_clone, calls::SYS_shmget].map(Refusal::deadly)));
    let (scratch, unreadable) = (Scratch::new(), Scratch::new());
    fs::set_permissions(unreadable.path(), Permissions::from_mode(0o000)).unwrap();
    for (command, code, said) in [
        (scratch.sigshm([""; 0]), 2, ""),
        (scratch.sigshm(["one", "two"]), 2, ""),
        (scratch.sigshm(["--timeout", "0", HELLO]), 2, ""),
        (scratch.sigshm(["--color", "red", HELLO]), 2, ""),
        (scratch.sigshm(["x".repeat(LONGEST + 1)]), 2, ""),
        (sigshm_at(scratch.dir().join("missing"), [HELLO]), 1, "ENOENT"),
        (unreadable.sigshm_as(65534, &[HELLO]), 1, "EACCES"),
    ] {
        let finished = killed_if_it_creates(command);
        assert_eq!((finished.code, finished.text()), (Some(code), ""), "{finished:#?}");
        if code == 1 {
            finished.assert_failed_with(&[said]);
        }
    }
    // The filter does what it is for: good input does not get away with it.
    assert_eq!(killed_if_it_creates(scratch.sigshm([HELLO])).signal, Some(libc::SIGSYS));
}

/// The message is delivered, appears as `shown`, and nothing that a terminal obeys is printed.
#[track_caller]
fn assert_shown(message: impl AsRef<OsStr>, shown: &str) {
    let scratch = Scratch::new();
    let message = message.as_ref();
    let finished = run(scratch.sigshm([message]));
    finished.assert_delivered(message.len(), shown);
    assert_eq!(finished.stderr, "");
    assert_defused(shown); // as the rest of the transcript is
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

/// The run ends with status 2, and says each of `parts` on standard error and nothing on standard
/// output. It does not say `unsaid`, if that is not empty.
#[track_caller]
fn assert_bad_usage(scratch: &Scratch, arguments: &[&str], parts: &[&str], unsaid: &str) -> String {
    let Finished { code, stdout, stderr, .. } = run(scratch.sigshm(arguments));
    assert_eq!((code, &stdout[..]), (Some(2), &b""[..]), "{arguments:?}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{arguments:?}: {part:?} is not in {stderr:?}");
    }
    assert!(unsaid.is_empty() || !stderr.contains(unsaid), "{arguments:?}: {stderr}");
    assert_defused(&stderr);
    stderr
}
