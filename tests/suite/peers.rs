//! Peers in other languages: a program that knows the path and the struct can take part, in any
//! pairing.

use std::mem::offset_of;
use std::sync::LazyLock;

use sigshm::message::{LONGEST_TEXT, MESSAGE_SIZE, Message};
use sigshm::output::escape::Escaped;

// The pairings.
use crate::support::*;

#[test]
fn ours_to_c() {
    assert_all_messages_pass(Language::Rust, Language::C);
}

#[test]
fn c_to_ours() {
    assert_all_messages_pass(Language::C, Language::Rust);
}

#[test]
fn c_to_c() {
    assert_all_messages_pass(Language::C, Language::C);
}

#[test]
fn ours_to_python() {
    if python_is_there("ours to Python") {
        assert_all_messages_pass(Language::Rust, Language::Python);
    }
}

#[test]
fn python_to_ours() {
    if python_is_there("Python to ours") {
        assert_all_messages_pass(Language::Python, Language::Rust);
    }
}

#[test]
fn c_to_python() {
    if python_is_there("C to Python") {
        assert_all_messages_pass(Language::C, Language::Python);
    }
}

#[test]
fn python_to_c() {
    if python_is_there("Python to C") {
        assert_all_messages_pass(Language::Python, Language::C);
    }
}

#[test]
fn python_to_python() {
    if python_is_there("Python to Python") {
        assert_all_messages_pass(Language::Python, Language::Python);
    }
}

// What they agree on, and what they must not do.

#[test]
fn in_python_the_struct_is_laid_out_as_in_c_and_in_rust() {
    let rust = [
        offset_of!(Message, id),
        offset_of!(Message, size),
        offset_of!(Message, text),
        LONGEST_TEXT + 1,
        MESSAGE_SIZE,
    ];
    #[cfg(target_pointer_width = "64")]
    assert_eq!(rust, [0, 8, 16, 1008, 1024]);
    assert_eq!(numbers(&layout_in_c()), rust);
    if python_is_there("the layout of the struct in Python") {
        let mut python = python();
        python.current_dir(peers()).args([
            "-c",
            "import ctypes, peer
m = peer.Message
print(m.id.offset, m.size.offset, m.text.offset, m.text.size, ctypes.sizeof(m))",
        ]);
        assert_eq!(numbers(&run(&mut python)), rust);
        assert_no_traces();
    }
}

#[test]
fn the_careful_program_in_c_prints_the_same_transcript() {
    for (message, shown) in [("Hello, world", "Hello, world"), ("", ""), ("日本", "日本")] {
        let scratch = Scratch::new();
        let mut command = Command::new(compile_peer("careful"));
        command.arg(message).arg(scratch.path());
        with_default_signals(&mut command);
        let theirs = run(&mut command);
        theirs.assert_delivered(message.len(), shown);
        let ours = run(scratch.sigshm([message]));
        let anonymous = |finished: &Finished| {
            let listener = format!("PID={}", listener_in(finished.text()));
            finished.text().replace(&listener, "PID=…")
        };
        assert_eq!(anonymous(&theirs), anonymous(&ours));
        assert_eq!((theirs.stderr, ours.stderr), (String::new(), String::new()));
    }
}

#[test]
fn a_listener_in_another_language_goes_on_after_a_signal_without_a_message() {
    for language in [Language::C, Language::Python] {
        if language == Language::Python && !python_is_there("stray signals in Python") {
            continue;
        }
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
    for language in [Language::C, Language::Python] {
        if language == Language::Python && !python_is_there("bad PIDs in Python") {
            continue;
        }
        let scratch = Scratch::new();
        for pid in ["0", "abc"] {
            // To kill(2), 0 is everybody in its process group, so it gets one of its own. (-1 would
            // be everybody on the machine, which is not for a test to try.)
            let mut command = language.sender(&scratch, pid, OsStr::new("Hello, world"));
            command.process_group(0);
            let finished = Program::start(command).finish();
            let outcome = (finished.code.is_some_and(|code| code > 0), finished.signal);
            assert_eq!(outcome, (true, None), "{language:?}, {pid}: {finished:#?}");
            assert_eq!(finished.text(), "");
            assert_ne!(finished.stderr, "");
            scratch.assert_nothing_left();
        }
    }
}

/// Each message passes from a sender in one language to a listener in another, with nothing left
/// afterwards.
#[track_caller]
fn assert_all_messages_pass(from: Language, to: Language) {
    let longest = "x".repeat(LONGEST_TEXT);
    let messages: [&[u8]; 5] = [
        b"Hello, world",
        b"",
        longest.as_bytes(),
        "Zażółć 日本 🦀".as_bytes(),
        b"a\xc3(\xe2\x82b\x80\xff",
    ];
    for message in messages {
        let scratch = Scratch::new();
        let listener = to.listen(&scratch);
        assert_passes(&scratch, from, to, listener, OsStr::from_bytes(message));
    }
    assert_no_traces();
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
    command.env_remove("NO_COLOR");
    let sender = Program::start(command).finish();
    let taken = listener.finish();
    for (finished, part) in [(&sender, "sender"), (&taken, "listener")] {
        let outcome = (finished.code, finished.signal, finished.stderr.as_str());
        let pairing = format!("{part} of {from:?} to {to:?}, {message:?}: {finished:#?}");
        assert_eq!(outcome, (Some(0), None, ""), "{pairing}");
    }
    let shown = Escaped(message.as_bytes()).to_string();
    assert_eq!(sender.text(), from.sent(message, &shown));
    // Bytes: what a peer prints need not be UTF-8.
    assert_eq!(taken.stdout, to.received(pid, message, &shown), "{taken:?}");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Rust,
    C,
    Python,
}

impl Language {
    /// A listener that has its handler in place.
    #[track_caller]
    fn listen(self, scratch: &Scratch) -> Program {
        let command = match self {
            Self::Rust => scratch.sigshm(["--listen"]),
            Self::C => program(compile_peer("listener"), [scratch.path()]),
            Self::Python => script("listener.py", [scratch.path()]),
        };
        let listener = Program::start(command);
        // A peer says that it listens when it does. Ours says so in two lines.
        let last = if self == Self::Rust {
            "SIGUSR1\x1b[0m\n".to_owned()
        } else {
            format!("# Listening on PID={}\n", listener.pid())
        };
        listener.until_printed(&last);
        listener
    }

    fn sender(self, scratch: &Scratch, listener: &str, message: &OsStr) -> Command {
        let path = scratch.path().into_os_string();
        let arguments = [path, OsString::from(listener), message.to_owned()];
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
        if self == Self::Rust {
            sent(message.len(), shown)
        } else {
            "# All done. Freeing memory.\n".to_owned()
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

/// Where the peers' sources are.
fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

fn program<S: AsRef<OsStr>>(program: PathBuf, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    with_default_signals(&mut command);
    command
}

fn script<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = python();
    command.arg(peers().join(name)).args(arguments);
    command
}

/// The interpreter itself, in case `python3` is a script that looks for it: what we start is then
/// what listens.
static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let mut command = Command::new("python3");
    command.args(["-c", "import sys; print(sys.executable)"]);
    let output = match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    assert!(output.status.success(), "python3 fails: {output:?}");
    let executable = String::from_utf8(output.stdout).unwrap();
    Some(PathBuf::from(executable.trim_end()))
});

/// Python, told to leave no compiled modules behind.
fn python() -> Command {
    let mut command = Command::new(PYTHON.as_ref().unwrap());
    command.arg("-B").stdin(Stdio::null());
    command
}

/// Whether there is a `python3`. If not, it is said aloud that `what` is not tested.
fn python_is_there(what: &str) -> bool {
    if PYTHON.is_none() {
        not_tested(what, "there is no python3 here");
    }
    PYTHON.is_some()
}

/// No compiled modules lie beside the peers.
#[track_caller]
fn assert_no_traces() {
    let cache = peers().join("__pycache__");
    assert!(!cache.exists(), "{} is left", cache.display());
}

/// What a program in C says of where the fields of the peers' struct are.
#[track_caller]
fn layout_in_c() -> Finished {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (source, binary) = (dir.path().join("layout.c"), dir.path().join("layout"));
    let text = r#"
        #include "message.h"
        #include <stdio.h>
        int main(void) {
            printf("%zu %zu %zu %zu %zu\n", offsetof(s_message, id), offsetof(s_message, size),
                   offsetof(s_message, text), TEXT_CAPACITY, sizeof(s_message));
        }
    "#;
    fs::write(&source, text).unwrap();
    let mut cc = Command::new("cc");
    cc.arg("-I").arg(peers()).arg("-o").arg(&binary).arg(source);
    let compiled = run(&mut cc);
    assert_eq!(compiled.code, Some(0), "{compiled:#?}");
    run(&mut Command::new(binary))
}

fn numbers(finished: &Finished) -> Vec<usize> {
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let words = finished.text().split_whitespace();
    words.map(|word| word.parse().unwrap()).collect()
}
