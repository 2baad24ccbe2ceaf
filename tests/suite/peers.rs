//! Peers in other languages: a program that knows the path and the struct can take part, in any
//! pairing.

use sigshm::message::LONGEST_TEXT;
use sigshm::output::escape::Escaped;

use crate::support::*;

#[test]
fn any_message_passes_in_every_pairing_of_languages_and_leaves_no_trace() {
    let longest = "x".repeat(LONGEST_TEXT);
    let messages: [&[u8]; 5] = [
        b"Hello, world",
        b"",
        longest.as_bytes(),
        "Zażółć 日本 🦀".as_bytes(),
        b"a\xc3(\xe2\x82b\x80\xff",
    ];
    let others = other_languages("the pairings with other languages");
    let ours = others.iter().flat_map(|&it| [(Language::Rust, it), (it, Language::Rust)]);
    let theirs = others.iter().flat_map(|&from| others.iter().map(move |&to| (from, to)));
    at_once(ours.chain(theirs), |(from, to)| {
        for message in messages {
            let scratch = Scratch::new();
            let listener = to.listen(&scratch);
            assert_passes(&scratch, from, to, listener, OsStr::from_bytes(message));
        }
    });
    assert_no_traces();
}

#[test]
fn the_careful_program_in_c_prints_the_same_transcript() {
    needs!(compiles_c());
    for (message, shown) in [("Hello, world", "Hello, world"), ("", ""), ("日本", "日本")] {
        let scratch = Scratch::new();
        let careful = program(compile_peer("careful"), [Path::new(message), &scratch.path()]);
        let (theirs, ours) = (run(careful), run(scratch.sigshm([message])));
        theirs.assert_delivered(message.len(), shown);
        let anonymous = |finished: &Finished| {
            let listener = format!("PID={}", listener_in(finished.text()));
            finished.text().replace(&listener, "PID=…")
        };
        assert_eq!(anonymous(&theirs), anonymous(&ours));
        assert_eq!((&*theirs.stderr, &*ours.stderr), ("", ""));
    }
}

#[test]
fn a_pointer_in_the_segment_leads_nowhere_in_a_new_program_and_to_a_copy_in_a_child() {
    needs!(compiles_c());
    let pointer = compile_peer_without("careful", &["INLINE_TEXT"]);
    for (how, is_received) in [(&["exec"][..], false), (&[], true)] {
        let scratch = Scratch::new();
        let mut pointer = program(pointer.clone(), [Path::new(HELLO), &scratch.path()]);
        let text = run(pointer.args(how)).text().to_owned();
        assert!(text.contains(" received signal "), "{text}");
        assert_eq!(text.contains("# Received: Hello, world\x1b"), is_received, "{text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_listener_in_another_language_goes_on_after_a_signal_without_a_message() {
    for language in other_languages("stray signals in other languages") {
        let scratch = Scratch::new();
        let listener = language.listen(&scratch);
        for _ in 0..3 {
            send_stray(listener.pid());
        }
        assert_passes(&scratch, Language::Rust, language, listener, OsStr::new("Hi"));
    }
}

#[test]
fn a_sender_in_another_language_takes_no_pid_that_means_several_processes() {
    for language in other_languages("bad PIDs in other languages") {
        for pid in ["0", "abc"] {
            let scratch = Scratch::new();
            // To kill(2), 0 is everybody in its process group, so it gets one of its own. (-1 would
            // be everybody on the machine, which is not for a test to try.)
            let mut command = language.sender(&scratch, pid, OsStr::new(HELLO));
            let finished = run(command.process_group(0));
            let outcome = (finished.code.is_some_and(|code| code > 0), finished.signal);
            assert_eq!(outcome, (true, None), "{language:?}, {pid}: {finished:#?}");
            assert_eq!(finished.text(), "");
            assert_ne!(finished.stderr, "");
        }
    }
}

#[track_caller]
fn assert_passes(
    scratch: &Scratch,
    from: Language,
    to: Language,
    listener: Program,
    message: &OsStr,
) {
    let pid = listener.pid();
    let mut command = from.sender(scratch, &pid.to_string(), message);
    let sender = run(command.env_remove("NO_COLOR"));
    let taken = listener.finish();
    for (finished, part) in [(&sender, "sender"), (&taken, "listener")] {
        let outcome = (finished.code, finished.signal, finished.stderr.as_str());
        let pairing = format!("{part} of {from:?} to {to:?}, {message:?}: {finished:#?}");
        assert_eq!(outcome, (Some(0), None, ""), "{pairing}");
    }
    let shown = Escaped(message.as_bytes()).to_string();
    assert_eq!(sender.text(), from.sent(message, &shown), "{from:?} to {to:?}");
    // Bytes: what a peer prints need not be UTF-8.
    assert_eq!(taken.stdout, to.received(pid, message, &shown), "{from:?} to {to:?}: {taken:?}");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Rust,
    C,
    Python,
}

/// C and Python, if they are there. If not, it is said aloud that `what` is not tested.
#[track_caller]
fn other_languages(what: &str) -> Vec<Language> {
    let c = compiles_c().then_some(Language::C);
    c.into_iter().chain(python_as_peer(what).map(|_| Language::Python)).collect()
}

impl Language {
    /// A listener that has its handler in place.
    #[track_caller]
    fn listen(self, scratch: &Scratch) -> Program {
        let listener = match self {
            Self::Rust => return scratch.listen(&[]),
            Self::C => Program::start(program(compile_peer("listener"), [scratch.path()])),
            Self::Python => Program::start(script("listener.py", [scratch.path()])),
        };
        listener.until_printed(&format!("# Listening on PID={}\n", listener.pid()));
        listener
    }

    fn sender(self, scratch: &Scratch, listener: &str, message: &OsStr) -> Command {
        let path = scratch.path();
        let arguments = [path.as_ref(), OsStr::new(listener), message];
        match self {
            Self::Rust => {
                let mut command = scratch.sigshm(["--to", listener, "--"]);
                command.arg(message);
                command
            }
            Self::C => program(compile_peer("sender"), arguments),
            Self::Python => script("sender.py", arguments),
        }
    }

    fn sent(self, message: &OsStr, shown: &str) -> String {
        match self {
            Self::Rust => sent(message.len(), shown),
            Self::C | Self::Python => "# All done. Freeing memory.\n".to_owned(),
        }
    }

    fn received(self, listener: Pid, message: &OsStr, shown: &str) -> Vec<u8> {
        if self == Self::Rust {
            return received(listener, shown).into_bytes();
        }
        let signal = libc::SIGUSR1;
        // The peers print the bytes as they are.
        let lines = format!(
            "# Listening on PID={listener}\n# PID={listener} received signal {signal}\n# Received: "
        );
        [lines.as_bytes(), message.as_bytes(), b"\n"].concat()
    }
}

fn program<S: AsRef<OsStr>>(program: PathBuf, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    with_default_signals(&mut command);
    command
}

fn script<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = python_as_peer(name).expect("whoever asks has found it");
    command.arg(peers().join(name)).args(arguments);
    command
}
