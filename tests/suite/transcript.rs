//! The transcript is a contract: compared as a whole, colours included, however it is captured.

use crate::support::terminal::Terminal;
use crate::support::*;

/// What is asked for, as `--color` and as a variable; what a pipe and a terminal get then; and why.
const COLOURS: [[&str; 5]; 18] = [
    // Colours are on by default, and what a terminal is called does not change that.
    ["", "", "coloured", "coloured", "it is the coloured transcript"],
    ["", "TERM=dumb", "coloured", "coloured", "by default a dumb terminal is coloured too"],
    ["always", "TERM=dumb", "coloured", "coloured", "always colours a dumb terminal"],
    ["always", "", "coloured", "coloured", "always colours a pipe and a terminal"],
    ["never", "", "plain", "plain", "never colours neither a pipe nor a terminal"],
    ["auto", "", "plain", "coloured", "auto colours a terminal and not a pipe"],
    ["auto", "NO_COLOR=0", "plain", "plain", "auto does not colour if NO_COLOR is set"],
    ["auto", "NO_COLOR=", "plain", "coloured", "auto colours if NO_COLOR is empty"],
    ["auto", "TERM=dumb", "plain", "plain", "auto does not colour a dumb terminal"],
    ["auto", "TERM=dumber", "plain", "coloured", "auto colours any other terminal"],
    ["auto", "TERM=", "plain", "coloured", "auto colours a terminal without a name"],
    // Whatever it says: 0 is not empty either (no-color.org).
    ["", "NO_COLOR=1", "plain", "plain", "NO_COLOR that is not empty turns colours off"],
    ["", "NO_COLOR=0", "plain", "plain", "NO_COLOR that is not empty turns colours off"],
    ["", "NO_COLOR=false", "plain", "plain", "NO_COLOR that is not empty turns colours off"],
    ["", "NO_COLOR=", "coloured", "coloured", "an empty NO_COLOR changes nothing"],
    ["always", "NO_COLOR=1", "coloured", "coloured", "always outdoes NO_COLOR"],
    ["auto", "NO_COLOR=1", "plain", "plain", "auto does not outdo NO_COLOR"],
    ["never", "NO_COLOR=1", "plain", "plain", "never does not outdo NO_COLOR"],
];

#[test]
fn a_pipe_and_a_terminal_are_coloured_as_color_and_no_color_and_term_say() {
    at_once(COLOURS, |[color, variable, piped, on_terminal, claim]| {
        let scratch = Scratch::new();
        let command = || {
            let mut command = scratch.sigshm([HELLO]);
            command.args((!color.is_empty()).then(|| format!("--color={color}")));
            command.envs(variable.split_once('='));
            command
        };
        let case = format!("{claim}: {color:?} {variable:?}");
        let (reader, writer) = new_pipe();
        let run = Program::start_into(writer, command());
        let text = io::read_to_string(File::from(reader)).unwrap();
        assert_eq!(run.finish_well(), "");
        assert_eq!(shown(&text), piped, "a pipe, {case}");

        let text = Program::start_on(Terminal::new(), command()).finish_well();
        // A terminal ends its lines like this, and no line ends in any other way.
        let unix = text.replace("\r\n", "\n");
        assert_eq!(unix.replace('\n', "\r\n"), text, "{case}");
        assert!(!unix.contains('\r'), "{case}: {text:?}");
        assert_eq!(shown(&unix), on_terminal, "a terminal, {case}");
    });
}

/// How a run of `Hello, world` is shown.
#[track_caller]
fn shown(text: &str) -> &'static str {
    let coloured = transcript(listener_in(text), 12, HELLO);
    if text == coloured {
        return "coloured";
    }
    assert_eq!(text, plain(&coloured), "neither coloured nor plain");
    "plain"
}

#[test]
fn a_line_has_its_own_colour_and_reset_or_no_escape_at_all() {
    let scratch = Scratch::new();
    let text = Program::start(scratch.sigshm([HELLO])).finish_well();
    let mut coloured = 0;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("\x1b[") {
            let inside = rest.strip_suffix("\x1b[0m").expect("the line resets");
            assert!(!inside.contains('\x1b'), "{line:?}");
            coloured += 1;
        } else {
            assert!(!line.contains('\x1b'), "{line:?}");
        }
    }
    assert_eq!((text.lines().count(), coloured), (11, 7));
}

#[test]
fn two_programs_are_coloured_each_as_its_own_color_says() {
    let scratch = Scratch::new();
    for [of_listener, of_sender] in [["always", "never"], ["never", "always"]] {
        let listener = scratch.listen(&["--color", of_listener]);
        let pid = listener.pid();
        let sender = Program::start(scratch.sender(pid, &["--color", of_sender], HELLO));
        let as_asked = |color, text: String| if color == "never" { plain(&text) } else { text };
        assert_eq!(sender.finish_well(), as_asked(of_sender, sent(12, HELLO)));
        assert_eq!(listener.finish_well(), as_asked(of_listener, received(pid, HELLO)));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn each_line_is_one_write() {
    let scratch = Scratch::new();
    // A socket of packets keeps the bounds between writes: what one write puts in, one read takes
    // out. The escapes make the longest line that a message can have.
    for (message, shown) in
        [(HELLO.to_owned(), HELLO.to_owned()), ("\x1b".repeat(LONGEST), r"\x1b".repeat(LONGEST))]
    {
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
        assert_eq!(writes, Vec::from_iter(whole.split_inclusive('\n')));
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
