//! The pictures in the README: what the program prints, as a terminal shows it.
//!
//! What differs from run to run (PIDs, the segment's id, the times) is replaced, so that whole
//! pictures can be compared. To make them anew: `SNAPSHOTS=overwrite cargo test pictures::`.

use anstyle::{Ansi256Color, AnsiColor, RgbColor};
use anstyle_svg::{Term, VGA};
use sigshm::explain::entry::{Entry, Kind};
use sigshm::explain::timeline;
use sigshm::output::stdout::Stdout;
use sigshm::step::Who;
use snapbox::{assert_data_eq, file};

use crate::support::told::{events, timeline as rows};
use crate::support::*;

#[test]
fn the_transcript_in_the_readme_is_what_the_program_prints() {
    let scratch = Scratch::new();
    let finished = run(scratch.sigshm(["Hello, world"]));
    finished.assert_delivered(12, "Hello, world");
    let text = finished.text();
    let text = text.replace(&format!("PID={}", listener_in(text)), "PID=24535");
    assert_data_eq!(draw(&text), file!["pictures/transcript.svg"].raw());
}

#[test]
fn the_bytes_and_the_timeline_in_the_readme_are_what_the_program_explains() {
    let scratch = Scratch::new();
    // With --wait=spin, the row of the spinning would stand before the kill or after it, by chance.
    let finished = run(scratch.sigshm(["--explain", "--wait=sleep", "Hello, world"]));
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let text = finished.text();
    let (_, bytes) = text.split_once("    The message, as").unwrap();
    let bytes: Vec<&str> = bytes.lines().take(7).collect();
    let timeline = &text[text.find("    The run, in").unwrap()..];

    // A longer number moves what is beside it, so the timeline is drawn anew. The same drawing with
    // the numbers of this run is what the program has printed.
    let events = events(text);
    let pids = &rows(text)[1];
    assert_eq!(draw_timeline(&pids.left, &pids.right, &events), timeline);
    let timeline = draw_timeline("PID 24534", "PID 24535", &with_other_numbers(events));
    let text = format!("    The message, as{}\n\n{timeline}", bytes.join("\n"));
    assert_data_eq!(draw(&text), file!["pictures/explained.svg"].raw());
}

type Event = (u64, &'static str, String, String);

/// The same events, with the numbers of another run, which are always the same.
fn with_other_numbers(events: Vec<Event>) -> Vec<Event> {
    const MICROSECONDS: [u64; 13] =
        [86, 152, 213, 229, 252, 284, 314, 325, 351, 388, 443, 519, 554];
    assert_eq!(events.len(), MICROSECONDS.len(), "{events:#?}");
    let events = events.into_iter().zip(MICROSECONDS);
    let other = |((_, who, what, crosses), at): (Event, u64)| {
        let what = match what.split_once(" = ") {
            Some((call @ ("fork()" | "waitpid()"), _)) if who == "sender" => {
                format!("{call} = 24535")
            }
            Some((call @ "shmget()", _)) => format!("{call} = 32768"),
            _ => what,
        };
        let crosses = match crosses.strip_prefix("segment ") {
            Some(_) => "segment 32768 ->".into(),
            None => crosses,
        };
        (at, who, what, crosses)
    };
    events.map(other).collect()
}

fn draw_timeline(sender: &str, listener: &str, events: &[Event]) -> String {
    let entry = |(at, who, what, crosses): &Event| {
        let who = if *who == "sender" { Who::Sender } else { Who::Listener };
        let (kind, crosses) = match (crosses.strip_suffix(" ->"), crosses.strip_prefix("<- ")) {
            (Some(name), _) => (Kind::ToListener, name),
            (_, Some(name)) => (Kind::ToSender, name),
            _ => (Kind::Event, ""),
        };
        let event = Entry::new(Duration::from_micros(*at), who, kind, what);
        Entry { crosses: crosses.to_owned(), ..event }
    };
    let events: Vec<Entry> = events.iter().map(entry).collect();
    let lines = timeline::picture(sender, listener, &events);
    Stdout { colored: true }.block(lines)
}

/// An SVG picture of the text. It has a dark background of its own, so that it can be read on a
/// light page and on a dark one.
fn draw(text: &str) -> String {
    let mut colors = VGA;
    // Brighter than those of a VGA: each has a contrast of 9 or more, and what is dim here has 8.
    // (7 is the highest level of WCAG 2.)
    for (color, shown) in [
        (AnsiColor::Black, RgbColor(13, 17, 23)),
        (AnsiColor::Green, RgbColor(126, 231, 135)),
        (AnsiColor::Yellow, RgbColor(242, 204, 96)),
        (AnsiColor::Magenta, RgbColor(255, 144, 255)),
        (AnsiColor::Cyan, RgbColor(86, 212, 221)),
        (AnsiColor::White, RgbColor(240, 246, 252)),
    ] {
        let index = usize::from(Ansi256Color::from_ansi(color).index());
        colors.0[index] = shown;
    }
    let terminal = Term::new().palette(colors).min_width_px(0);
    // A tab goes to the next eighth column, and all that there are stand at the start of a line.
    let svg = terminal.render_svg(&text.trim_end().replace('\t', "        "));
    // In an SVG, `opacity` has no effect on a part of a text. And 0.4 would be hard to read.
    svg.replace(".dimmed { opacity: 0.4; }", ".dimmed { fill-opacity: 0.7; }")
}
