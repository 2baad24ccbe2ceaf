//! The pictures in the README: what the program prints, as a terminal shows it.
//!
//! What differs from run to run (PIDs, the segment's id, the times) is replaced, so that whole
//! pictures can be compared. To make them anew: `SNAPSHOTS=overwrite cargo test pictures::`.

use std::collections::BTreeSet;
use std::env;

use anstyle::{Ansi256Color, AnsiColor, RgbColor};
use anstyle_svg::{Term, VGA};
use sigshm::explain::entry::{Entry, Kind};
use sigshm::explain::timeline;
use sigshm::output::palette::{Role, paint};
use sigshm::output::stdout::Stdout;
use sigshm::step::Who;

use crate::support::told::{events, timeline as rows};
use crate::support::*;

#[test]
fn the_transcript_in_the_readme_is_what_the_program_prints() {
    assert_is_picture("transcript.svg", &transcript_picture());
}

#[test]
fn the_bytes_and_the_timeline_in_the_readme_are_what_the_program_explains() {
    needs!(has_documented_bytes("the picture of an explained run"));
    assert_is_picture("explained.svg", &explained_picture());
}

#[test]
fn each_text_in_a_picture_has_a_contrast_of_9_or_more_and_8_if_it_is_dim() {
    assert_eq!(contrast([0.0; 3], [255.0; 3]).round(), 21.0, "black on white");
    for picture in [roles_picture as fn() -> String, explained_picture, transcript_picture] {
        let svg = picture();
        let background = color_of(&svg, "bg").expect("it has a background");
        let texts = classes_of_texts(&svg);
        assert!(texts.len() >= 4, "{texts:?}");
        for classes in texts {
            let color = classes.iter().chain([&"fg"]).find_map(|class| color_of(&svg, class));
            let color = color.expect("a text has a colour");
            let names = ["opacity", "fill-opacity"];
            let each = classes.iter().flat_map(|class| names.map(|it| property(&svg, class, it)));
            let opacity: f64 = each.flatten().map(|it| it.parse::<f64>().unwrap()).product();
            let seen = |at| opacity * color[at] + (1.0 - opacity) * background[at];
            let contrast = contrast([seen(0), seen(1), seen(2)], background);
            let least = if opacity < 1.0 { 8.0 } else { 9.0 };
            assert!(contrast >= least, "{contrast:.2} for {classes:?}, {color:?}");
        }
    }
}

#[test]
#[should_panic(expected = "no shade is set for .fg-blue { fill: #0000AA }")]
fn a_colour_for_which_there_is_no_shade_is_not_drawn() {
    draw("\x1b[34mblue\x1b[0m");
}

/// The picture is the one in the repository. It becomes that first if the environment says so.
#[track_caller]
fn assert_is_picture(name: &str, drawn: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures").join(name);
    if env::var_os("SNAPSHOTS").is_some_and(|it| it == "overwrite") {
        fs::write(&path, drawn).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let [kept, drawn] = [&kept, drawn].map(|text| text.split('\n').collect::<Vec<_>>());
    let differences: Vec<_> = (0..kept.len().max(drawn.len()))
        .filter(|&at| kept.get(at) != drawn.get(at))
        .map(|at| format!("line {}: {:?}, now {:?}", at + 1, kept.get(at), drawn.get(at)))
        .collect();
    assert!(
        differences.is_empty(),
        "{name} is not what is drawn now. If that is right, make the pictures anew: \
         SNAPSHOTS=overwrite cargo test pictures::\n{differences:#?}"
    );
}

/// The classes of each text in the picture, each combination once.
fn classes_of_texts(svg: &str) -> BTreeSet<Vec<&str>> {
    let tags = svg.split("<tspan").skip(1).map(|it| it.split_once('>').unwrap().0);
    tags.map(|tag| {
        assert!(!tag.contains("fill") && !tag.contains("style") && !tag.contains("bg"), "{tag}");
        let (_, classes) = tag.split_once("class=\"").unwrap_or_default();
        classes.split('"').next().unwrap().split_whitespace().collect()
    })
    .collect()
}

/// What the picture's style says of this property of the class.
fn property<'a>(svg: &'a str, class: &str, name: &str) -> Option<&'a str> {
    let (_, rule) = svg.split_once(&format!("\n    .{class} {{"))?;
    let (rule, _) = rule.split_once('}').unwrap();
    let mut values = rule.split(';').filter_map(|it| it.trim().strip_prefix(name));
    values.find_map(|it| it.strip_prefix(": "))
}

/// The red, green and blue of the class, if it has a colour.
fn color_of(svg: &str, class: &str) -> Option<[f64; 3]> {
    let fill = property(svg, class, "fill")?;
    let digits = fill.strip_prefix('#').filter(|it| it.len() == 6).expect(fill);
    let number = u32::from_str_radix(digits, 16).expect(fill);
    Some([16, 8, 0].map(|shift| f64::from(number >> shift & 0xff)))
}

/// How well the one colour can be told from the other, as WCAG 2 defines it: from 1 to 21.
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let linear = |part: f64| match part / 255.0 {
        dark if dark <= 0.04045 => dark / 12.92,
        bright => ((bright + 0.055) / 1.055).powf(2.4),
    };
    let [one, other] = [one, other].map(|color| {
        let [red, green, blue] = color.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
    });
    one.max(other) / one.min(other)
}

fn transcript_picture() -> String {
    let scratch = Scratch::new();
    let finished = run(scratch.sigshm(["Hello, world"]));
    finished.assert_delivered(12, "Hello, world");
    let text = finished.text();
    let text = text.replace(&format!("PID={}", listener_in(text)), "PID=24535");
    draw(&text)
}

fn explained_picture() -> String {
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
    draw(&text)
}

/// A line in the colour of each role.
fn roles_picture() -> String {
    use Role::{Aside, Detail, Lesson, Listener, Number, Parent, Receiver, Sender};
    let line = |role| match role {
        // A new role does not compile until it stands here, and it must stand below.
        Parent | Listener | Sender | Receiver | Lesson | Detail | Number | Aside => {
            paint(role, &format!("{role:?}\n"), true)
        }
    };
    draw(&[Parent, Listener, Sender, Receiver, Lesson, Detail, Number, Aside].map(line).concat())
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
    // Brighter than those of a VGA; no other colour may be used.
    const SHADES: [(AnsiColor, RgbColor); 6] = [
        (AnsiColor::Black, RgbColor(13, 17, 23)),
        (AnsiColor::Green, RgbColor(126, 231, 135)),
        (AnsiColor::Yellow, RgbColor(242, 204, 96)),
        (AnsiColor::Magenta, RgbColor(255, 144, 255)),
        (AnsiColor::Cyan, RgbColor(86, 212, 221)),
        (AnsiColor::White, RgbColor(240, 246, 252)),
    ];
    let mut colors = VGA;
    for (color, shade) in SHADES {
        colors.0[usize::from(Ansi256Color::from_ansi(color).index())] = shade;
    }
    let terminal = Term::new().palette(colors).min_width_px(0);
    // A tab goes to the next eighth column, and all that there are stand at the start of a line.
    let svg = terminal.render_svg(&text.trim_end().replace('\t', "        "));
    let shades = SHADES.map(|(_, RgbColor(r, g, b))| format!("#{r:02X}{g:02X}{b:02X}"));
    let (style, _) = svg.split_once("</style>").unwrap();
    for color in style.lines().filter(|line| line.contains('#')) {
        let is_told = shades.iter().any(|shade| color.contains(shade));
        assert!(is_told, "no shade is set for {}", color.trim());
    }
    // In an SVG, `opacity` has no effect on a part of a text. And 0.4 would be hard to read.
    svg.replace(".dimmed { opacity: 0.4; }", ".dimmed { fill-opacity: 0.7; }")
}
