//! Two pictures: a segment byte by byte, and a run from beginning to end.
//!
//! Both are made of letters only, so that they read the same in every terminal, on paper and without
//! colours; and neither is wider than 80 columns with the indentation it is given.

use std::fmt::Write;

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
    let heading = format!("{:<8}{:<4}{:<48}{}", "field", "at", "bytes", "as text");
    let mut lines = vec![(Style::new(), heading)];
    for Field {
        name,
        offset,
        bytes,
    } in message.fields()
    {
        let (style, meaning) = match name {
            "id" => (Style::new().green(), format!("= {}", message.id())),
            "size" => (Style::new().blue(), format!("= {}", message.size())),
            "text" => (Style::new().yellow(), String::new()),
            _ => (Style::new().dimmed(), String::new()),
        };
        let mut name = name;
        let mut at = offset;
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            let label = format!("{name:<8}{at:03x} ");
            let zeros = rest.iter().all(|&byte| byte == 0);
            if zeros && rest.len() > ACROSS {
                let last = at + rest.len() - 1;
                let folded = format!("00 ... {} bytes of zeros, up to {last:03x}", rest.len());
                lines.push((style, label + &folded));
                break;
            }
            let (row, after) = rest.split_at(rest.len().min(ACROSS));
            let hex: String = row.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x} ");
                hex
            });
            let text = if meaning.is_empty() && name != "padding" && !zeros {
                row.iter().map(|&byte| ascii(byte)).collect()
            } else {
                meaning.clone()
            };
            lines.push((
                style,
                format!("{label}{hex:<48}{text}").trim_end().to_owned(),
            ));
            // The name stands where the field begins, and only there.
            name = "";
            at += row.len();
            rest = after;
        }
    }
    lines
}

const LEFT: usize = 22;
const MIDDLE: usize = 22;

/// Shows a run in two columns, the sender's and the listener's, time running down.
pub fn run(sender: &str, listener: &str, mut rows: Vec<Row>) -> Vec<Line> {
    rows.sort_by_key(|row| row.at);
    let line = |time: &str, left: &str, middle: &str, right: &str| {
        format!("{time:>8}  {left:<LEFT$}{middle:<MIDDLE$}{right}")
            .trim_end()
            .to_owned()
    };
    let mut lines = vec![
        (Style::new(), line("us", "sender", "", "listener")),
        (Style::new(), line("", sender, "", listener)),
    ];
    for Row {
        at,
        part,
        what,
        arrow,
    } in rows
    {
        let time = at.as_micros().to_string();
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
                "      us  sender                                      listener",
                "          PID 1                                       PID 2",
                "      35  forks                 ------- fork ------->",
                "     120                                              starts",
            ]
        );
    }
}
