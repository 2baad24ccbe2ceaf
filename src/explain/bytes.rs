//! The picture of a message's bytes.

use crate::message::{Checked, Message};
use crate::output::palette::{Line, Role};

/// How many bytes are shown side by side.
const ACROSS: usize = 16;

/// Shows the bytes of a message, field by field, in hexadecimal and as text.
///
/// Each field starts a line of its own and is named there. Zeros that fill the rest are counted.
pub fn picture(message: Checked<'_>) -> Vec<Line> {
    let Message { id, padding, size, text } = message.message();
    let (used, unused) = text.split_at(*size);
    let (id_is, size_is) = (format!("= {id}"), format!("= {size}"));
    let (id, size) = (id.to_ne_bytes(), size.to_ne_bytes());
    let zeros = unused.iter().all(|&byte| byte == 0).then_some("");
    let fields: [(_, _, &[u8], _); 5] = [
        (Role::Number, "id", &id, Some(id_is.as_str())),
        (Role::Detail, "padding", padding, Some("")),
        (Role::Number, "size", &size, Some(&size_is)),
        (Role::Receiver, "text", used, None),
        (Role::Detail, "unused", unused, zeros),
    ];
    let mut lines = vec![
        (Role::Lesson, "The message, as the listener finds it:".to_owned()),
        (Role::Lesson, row("field", "at", "bytes", "as text")),
    ];
    let mut at = 0;
    for (role, name, bytes, meaning) in fields {
        lines.extend(rows(name, at, bytes, meaning).into_iter().map(|row| (role, row)));
        at += bytes.len();
    }
    lines
}

/// Shows one field: its bytes, and beside them what they mean, or else their text.
fn rows(name: &str, offset: usize, bytes: &[u8], meaning: Option<&str>) -> Vec<String> {
    let at = |index: usize| format!("{:03x}", offset + index * ACROSS);
    if bytes.is_empty() {
        // A text may be empty. Padding is left out then: a 32-bit machine needs none.
        let is_text = meaning.is_none();
        return is_text.then(|| row(name, &at(0), "", "(empty)")).into_iter().collect();
    }
    let mut lines = Vec::new();
    for (index, chunk) in bytes.chunks(ACROSS).enumerate() {
        // The name stands where the field begins, and only there.
        let name = if index == 0 { name } else { "" };
        let rest = &bytes[index * ACROSS..];
        if rest.len() > ACROSS && rest.iter().all(|&byte| byte == 0) {
            let last = offset + bytes.len() - 1;
            let folded = format!("00 ... {} bytes of zeros, up to {last:03x}", rest.len());
            lines.push(row(name, &at(index), &folded, ""));
            break;
        }
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let letter = |&byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '.' };
        let text: String = chunk.iter().map(letter).collect();
        lines.push(row(name, &at(index), &hex.join(" "), meaning.unwrap_or(&text)));
    }
    lines
}

fn row(name: &str, at: &str, bytes: &str, text: &str) -> String {
    format!("{name:<8}{at:<4}{bytes:<48}{text}").trim_end().to_owned()
}
