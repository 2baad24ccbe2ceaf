//! The transcript is a contract: compared as a whole, colours included, however it is captured.

use crate::support::terminal::Terminal;
use crate::support::*;
use Shown::{Coloured, Plain};

#[test]
fn captured_through_a_pipe_it_is_the_coloured_transcript() {
    let scratch = Scratch::new();
    run(scratch.sigshm(["Hello, world"])).assert_delivered(12, "Hello, world");
}

/// What is asked for, as `--color` and as a variable, and what a pipe and a terminal get then.
type Row = (&'static str, &'static str, Shown, Shown);

/// Claims, and the runs that show each.
const COLOURS: [(&str, &[Row]); 9] = [
    ("on a terminal it is the same transcript", &[("", "", Coloured, Coloured)]),
    ("always colours a pipe and a terminal", &[("always", "", Coloured, Coloured)]),
    ("never colours neither a pipe nor a terminal", &[("never", "", Plain, Plain)]),
    ("auto colours a terminal and not a pipe", &[("auto", "", Plain, Coloured)]),
    (
        "auto does not colour a terminal if NO_COLOR is set or the terminal is dumb",
        &[
            ("auto", "NO_COLOR=1", Plain, Plain),
            ("auto", "NO_COLOR=0", Plain, Plain),
            ("auto", "NO_COLOR=", Plain, Coloured),
            ("auto", "TERM=dumb", Plain, Plain),
            ("auto", "TERM=dumber", Plain, Coloured),
            ("auto", "TERM=", Plain, Coloured),
        ],
    ),
    (
        // Colours are on by default, and what a terminal is called does not change that.
        "a dumb terminal is coloured unless it is auto",
        &[("", "TERM=dumb", Coloured, Coloured), ("always", "TERM=dumb", Coloured, Coloured)],
    ),
    (
        // Whatever it says: 0 is not empty either (no-color.org).
        "NO_COLOR that is not empty turns colours off",
        &[
            ("", "NO_COLOR=1", Plain, Plain),
            ("", "NO_COLOR=0", Plain, Plain),
            ("", "NO_COLOR=false", Plain, Plain),
        ],
    ),
    ("an empty NO_COLOR changes nothing", &[("", "NO_COLOR=", Coloured, Coloured)]),
    (
        "always outdoes NO_COLOR, and the others do not",
        &[
            ("always", "NO_COLOR=1", Coloured, Coloured),
            ("auto", "NO_COLOR=1", Plain, Plain),
            ("never", "NO_COLOR=1", Plain, Plain),
        ],
    ),
];

#[test]
fn a_pipe_and_a_terminal_are_coloured_as_color_and_no_color_and_term_say() {
    let rows =
        COLOURS.into_iter().flat_map(|(claim, rows)| rows.iter().map(move |row| (claim, row)));
    at_once(rows, |(claim, &(color, variable, piped, on_terminal))| {
        let scratch = Scratch::new();
        let command = || {
            let mut command = scratch.sigshm(["Hello, world"]);
            command.args((!color.is_empty()).then(|| format!("--color={color}")));
            command.envs(variable.split_once('='));
            command
        };
        let case = format!("{claim}: {color:?} {variable:?}");
        assert_eq!(Shown::new(&Program::start(command()).finish_well()), piped, "a pipe, {case}");

        let text = Program::start_on(Terminal::new(), command()).finish_well();
        // A terminal ends its lines like this, and no line ends in any other way.
        let unix = text.replace("\r\n", "\n");
        assert_eq!(unix.replace('\n', "\r\n"), text, "{case}");
        assert!(!unix.contains('\r'), "{case}: {text:?}");
        assert_eq!(Shown::new(&unix), on_terminal, "a terminal, {case}");
    });
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
        let run = Program::start_into(theirs, scratch.sigshm([&message]));
        let mut writes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            match ours.recv(&mut buffer).expect("another line, or the end") {
                0 => break,
                length => writes.push(String::from_utf8(buffer[..length].to_vec()).unwrap()),
            }
        }
        run.finish_well();

        let whole = transcript(listener_in(&writes.concat()), message.len(), &shown);
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        assert_eq!(writes, lines);
    }
}

#[test]
fn in_100_runs_on_busy_processors_no_line_is_out_of_order() {
    let _busy = Busy::start();
    // Several at a time, so that the runs keep each other from the processors too.
    at_once(0..10, |thread| {
        let scratch = Scratch::new();
        for number in 0..10 {
            let message = format!("message {number} of {thread}");
            run(scratch.sigshm([&message])).assert_delivered(message.len(), &message);
        }
    });
}

/// What a run of `Hello, world` looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
