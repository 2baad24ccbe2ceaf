//! The transcript is a contract: compared as a whole, colours included, however it is captured.

use crate::support::*;
use rexpect::session::spawn_command;

#[test]
fn captured_through_a_pipe_it_is_the_coloured_transcript() {
    let scratch = Scratch::new();
    run(scratch.sigshm(["Hello, world"])).assert_delivered(12, "Hello, world");
}

#[test]
fn on_a_terminal_it_is_the_same_transcript() {
    let scratch = Scratch::new();
    assert_eq!(on_a_terminal(scratch.sigshm(["Hello, world"])), Shown::Coloured);
}

#[test]
fn color_always_colours_a_pipe_and_a_terminal() {
    let scratch = Scratch::new();
    let command = || scratch.sigshm(["--color", "always", "Hello, world"]);
    assert_eq!(through_a_pipe(command()), Shown::Coloured);
    assert_eq!(on_a_terminal(command()), Shown::Coloured);
}

#[test]
fn color_never_colours_neither_a_pipe_nor_a_terminal() {
    let scratch = Scratch::new();
    let command = || scratch.sigshm(["--color", "never", "Hello, world"]);
    assert_eq!(through_a_pipe(command()), Shown::Plain);
    assert_eq!(on_a_terminal(command()), Shown::Plain);
}

#[test]
fn color_auto_colours_a_terminal_and_not_a_pipe() {
    let scratch = Scratch::new();
    let command = || scratch.sigshm(["--color", "auto", "Hello, world"]);
    assert_eq!(through_a_pipe(command()), Shown::Plain);
    assert_eq!(on_a_terminal(command()), Shown::Coloured);
}

#[test]
fn color_auto_does_not_colour_a_terminal_if_no_color_is_set_or_the_terminal_is_dumb() {
    let scratch = Scratch::new();
    for (name, value, shown) in [
        ("NO_COLOR", "1", Shown::Plain),
        ("NO_COLOR", "0", Shown::Plain),
        ("NO_COLOR", "", Shown::Coloured),
        ("TERM", "dumb", Shown::Plain),
        ("TERM", "dumber", Shown::Coloured),
        ("TERM", "", Shown::Coloured),
    ] {
        let mut command = scratch.sigshm(["--color", "auto", "Hello, world"]);
        command.env(name, value);
        assert_eq!(on_a_terminal(command), shown, "{name}={value}");
    }
}

#[test]
fn a_dumb_terminal_is_coloured_unless_color_is_auto() {
    // Colours are on by default, and what a terminal is called does not change that.
    let scratch = Scratch::new();
    for color in [&["Hello, world"][..], &["--color=always", "Hello, world"]] {
        let mut command = scratch.sigshm(color);
        command.env("TERM", "dumb");
        assert_eq!(on_a_terminal(command), Shown::Coloured, "{color:?}");
    }
}

#[test]
fn no_color_that_is_not_empty_turns_colours_off() {
    let scratch = Scratch::new();
    // Whatever it says: 0 is not empty either (no-color.org).
    for value in ["1", "0", "false"] {
        let command = || {
            let mut command = scratch.sigshm(["Hello, world"]);
            command.env("NO_COLOR", value);
            command
        };
        assert_eq!(through_a_pipe(command()), Shown::Plain, "NO_COLOR={value}");
        assert_eq!(on_a_terminal(command()), Shown::Plain, "NO_COLOR={value}");
    }
}

#[test]
fn an_empty_no_color_changes_nothing() {
    let scratch = Scratch::new();
    let mut command = scratch.sigshm(["Hello, world"]);
    command.env("NO_COLOR", "");
    assert_eq!(through_a_pipe(command), Shown::Coloured);
}

#[test]
fn color_always_outdoes_no_color_and_the_others_do_not() {
    let scratch = Scratch::new();
    let command = |color| {
        let mut command = scratch.sigshm(["--color", color, "Hello, world"]);
        command.env("NO_COLOR", "1");
        command
    };
    assert_eq!(through_a_pipe(command("always")), Shown::Coloured);
    assert_eq!(on_a_terminal(command("always")), Shown::Coloured);
    assert_eq!(through_a_pipe(command("auto")), Shown::Plain);
    assert_eq!(through_a_pipe(command("never")), Shown::Plain);
}

#[test]
fn a_line_has_its_own_colour_and_reset_or_no_escape_at_all() {
    let scratch = Scratch::new();
    let finished = run(scratch.sigshm(["Hello, world"]));
    let mut coloured = 0;
    for line in finished.text().lines() {
        match line.strip_prefix("\x1b[") {
            Some(rest) => {
                let inside = rest.strip_suffix("\x1b[0m").expect("the line resets");
                assert!(!inside.contains('\x1b'), "{line:?}");
                coloured += 1;
            }
            None => assert!(!line.contains('\x1b'), "{line:?}"),
        }
    }
    assert_eq!((finished.text().lines().count(), coloured), (11, 7));
}

#[test]
fn each_line_is_one_write() {
    let scratch = Scratch::new();
    // A socket of packets keeps the bounds between writes: what one write puts in, one read takes
    // out. The escapes make the longest line that a message can have.
    for (message, shown) in [
        ("Hello, world".to_owned(), "Hello, world".to_owned()),
        ("\x1b".repeat(1007), r"\x1b".repeat(1007)),
    ] {
        let (ours, theirs) = packet_sockets();
        let mut command = scratch.sigshm([&message]);
        let child = command.stdout(theirs).stderr(Stdio::piped()).spawn().unwrap();
        // With it goes this process's copy of the other end, so that the end can be seen.
        drop(command);

        let mut writes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            match ours.recv(&mut buffer).expect("another line, or the end") {
                0 => break,
                length => writes.push(String::from_utf8(buffer[..length].to_vec()).unwrap()),
            }
        }
        // Both processes have closed their standard output, so this does not take long.
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stderr, b"");

        let whole = transcript(listener_in(&writes.concat()), message.len(), &shown);
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        assert_eq!(writes, lines);
    }
}

#[test]
fn in_100_runs_on_busy_processors_no_line_is_out_of_order() {
    let _busy = Busy::start();
    // Several at a time, so that the runs keep each other from the processors too.
    thread::scope(|scope| {
        for thread in 0..10 {
            scope.spawn(move || {
                let scratch = Scratch::new();
                for number in 0..10 {
                    let message = format!("message {number} of {thread}");
                    let finished = run(scratch.sigshm([&message]));
                    finished.assert_delivered(message.len(), &message);
                }
            });
        }
    });
}

/// What a run of `Hello, world` looks like.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Coloured,
    Plain,
}

impl Shown {
    #[track_caller]
    fn new(text: &str) -> Self {
        let coloured = transcript(listener_in(text), 12, "Hello, world");
        if text == coloured {
            return Self::Coloured;
        }
        assert_eq!(text, plain(&coloured), "neither coloured nor plain");
        Self::Plain
    }
}

#[track_caller]
fn through_a_pipe(mut command: Command) -> Shown {
    let finished = run(&mut command);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:#?}");
    Shown::new(finished.text())
}

/// Runs the command with a terminal as its standard input, output and error.
#[track_caller]
fn on_a_terminal(command: Command) -> Shown {
    let mut session = spawn_command(command, Some(TIMEOUT.as_millis() as u64)).unwrap();
    let text = session.exp_eof().unwrap();
    let status = session.process().wait().unwrap();
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
    // A terminal ends its lines like this, and no line ends in any other way.
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
    assert_eq!(text.matches('\r').count(), text.matches("\r\n").count(), "{text:?}");
    Shown::new(&text.replace("\r\n", "\n"))
}
