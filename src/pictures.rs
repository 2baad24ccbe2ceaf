//! Two pictures: a segment byte by byte, and a run from beginning to end.
//!
//! Both are made of letters only, so that they read the same in every terminal, on paper and
//! without colours; and neither is wider than 80 columns with the indentation it is given.

use owo_colors::Style;

use crate::diary::{Arrow, Part, Row};
use crate::message::{Field, Message};
use crate::printable::ascii;

/// A line of a picture, and its colour.
pub type Line = (Style, String);

/// How many bytes are shown side by side.
const ACROSS: usize = 16;

/// Shows the bytes of a message, field by field, in hexadecimal and as text.
///
/// Every field starts a line of its own and is named there. Zeros that fill the rest are counted
/// and not shown.
pub fn segment(message: &Message) -> Vec<Line> {
    let dim = Style::new().dimmed();
    let mut lines = vec![
        (dim, "The segment, as the listener finds it:".to_owned()),
        (dim, row("field", "at", "bytes", "as text")),
    ];
    for field in message.fields() {
        let (style, meaning) = match field.name {
            "id" => (Style::new().green(), Some(format!("= {}", message.id()))),
            "padding" => (dim, Some(String::new())),
            "size" => (Style::new().blue(), Some(format!("= {}", message.size()))),
            "text" => (Style::new().yellow(), None),
            _ if field.bytes.iter().all(|&byte| byte == 0) => (dim, Some(String::new())),
            _ => (dim, None),
        };
        lines.extend(
            rows(&field, meaning.as_deref())
                .into_iter()
                .map(|line| (style, line)),
        );
    }
    lines
}

/// Shows one field; beside its bytes what they mean, or else themselves as text.
fn rows(field: &Field<'_>, meaning: Option<&str>) -> Vec<String> {
    let at = |index: usize| format!("{:03x}", field.offset + index * ACROSS);
    if field.bytes.is_empty() {
        return vec![row(field.name, &at(0), "", "(empty)")];
    }
    let mut lines = Vec::new();
    for (index, bytes) in field.bytes.chunks(ACROSS).enumerate() {
        // The name stands where the field begins, and only there.
        let name = if index == 0 { field.name } else { "" };
        let rest = &field.bytes[index * ACROSS..];
        if rest.len() > ACROSS && rest.iter().all(|&byte| byte == 0) {
            let last = field.offset + field.bytes.len() - 1;
            let folded = format!("00 ... {} bytes of zeros, up to {last:03x}", rest.len());
            lines.push(row(name, &at(index), &folded, ""));
            break;
        }
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = || bytes.iter().map(|&byte| ascii(byte)).collect();
        let text = meaning.map_or_else(text, str::to_owned);
        lines.push(row(name, &at(index), &hex.join(" "), &text));
    }
    lines
}

fn row(name: &str, at: &str, bytes: &str, text: &str) -> String {
    format!("{name:<8}{at:<4}{bytes:<48}{text}")
        .trim_end()
        .to_owned()
}

const LEFT: usize = 22;
const MIDDLE: usize = 22;

/// Shows a run in two columns, the sender's and the listener's, time running down.
///
/// The time is in microseconds; of a run that a class has looked at for longer than fits into the
/// column, in milliseconds.
pub fn run(sender: &str, listener: &str, mut rows: Vec<Row>) -> Vec<Line> {
    rows.sort_by_key(|row| row.at);
    let long = rows
        .last()
        .is_some_and(|row| row.at.as_micros() >= 100_000_000);
    let (unit, name) = if long {
        ("ms", "milliseconds")
    } else {
        ("us", "microseconds")
    };
    let line = |time: &str, left: &str, middle: &str, right: &str| {
        format!("{time:>8}  {left:<LEFT$}{middle:<MIDDLE$}{right}")
            .trim_end()
            .to_owned()
    };
    let dim = Style::new().dimmed();
    let mut lines = vec![
        (dim, format!("The run, in {name} since its start:")),
        (dim, line(unit, "sender", "", "listener")),
        (dim, line("", sender, "", listener)),
    ];
    for Row {
        at,
        part,
        what,
        arrow,
    } in rows
    {
        let time = if long { at.as_millis() } else { at.as_micros() }.to_string();
        let middle = arrow.as_ref().map(draw).unwrap_or_default();
        let (style, left, right) = match part {
            Part::Sender => (Style::new().cyan(), what.as_str(), ""),
            Part::Listener => (Style::new().magenta(), "", what.as_str()),
        };
        lines.push((style, line(&time, left, &middle, right)));
    }
    lines
}

/// `----- fork ------->`, one column shorter than its room.
fn draw(Arrow { what, to_listener }: &Arrow) -> String {
    let width = MIDDLE - 2;
    if *to_listener {
        format!("{:-^width$}>", format!(" {what} "))
    } else {
        format!("<{:-^width$}", format!(" {what} "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn the_segment_names_every_field_and_folds_the_zeros_at_its_end() {
        let message = Message::new(b"Hello, world, and all").unwrap();
        assert_eq!(
            text(&segment(&message)),
            [
                "The segment, as the listener finds it:",
                "field   at  bytes                                           as text",
                "id      000 01 00 00 00                                     = 1",
                "padding 004 00 00 00 00",
                "size    008 15 00 00 00 00 00 00 00                         = 21",
                "text    010 48 65 6c 6c 6f 2c 20 77 6f 72 6c 64 2c 20 61 6e Hello, world, an",
                "        020 64 20 61 6c 6c                                  d all",
                "unused  025 00 ... 987 bytes of zeros, up to 3ff",
            ]
        );
    }

    #[test]
    fn the_timeline_is_in_order_whoever_was_heard_first() {
        let at = Duration::from_micros;
        let fork = Arrow {
            what: "fork".to_owned(),
            to_listener: true,
        };
        let row = |micros, part, what: &str, arrow| Row {
            at: at(micros),
            part,
            what: what.to_owned(),
            arrow,
        };
        let rows = vec![
            row(120, Part::Listener, "starts", None),
            row(35, Part::Sender, "forks", Some(fork)),
        ];
        assert_eq!(
            text(&run("PID 1", "PID 2", rows)),
            [
                "The run, in microseconds since its start:",
                "      us  sender                                      listener",
                "          PID 1                                       PID 2",
                "      35  forks                 ------- fork ------->",
                "     120                                              starts",
            ]
        );
    }
}
