//! Bytes that came from outside, made safe to print.
//!
//! A message may carry any byte that argv can carry, so printed raw it could recolour the terminal,
//! move its cursor or turn the reading direction around. Printed through [`Printable`] it can do
//! none of this: what would be obeyed is shown as an escape, and everything else stays as it is.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// Shows bytes as text that no terminal obeys.
///
/// Escaped are the control characters (C0, DEL and C1), the bidirectional overrides and isolates
/// (U+202A–U+202E and U+2066–U+2069) and whatever is not UTF-8.
///
/// ```
/// use sigshm::printable::Printable;
///
/// assert_eq!(Printable(b"\x1b[2Jna\xc3\xafve\xff\n").to_string(), r"\x1b[2Jnaïve\xff\n");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a [u8]);

impl<'a> Printable<'a> {
    /// Shows what the operating system hands us as a string: an argument or a path.
    pub fn os<S: AsRef<OsStr> + ?Sized>(text: &'a S) -> Self {
        Self(text.as_ref().as_bytes())
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\t' => f.write_str(r"\t")?,
                    '\n' => f.write_str(r"\n")?,
                    '\r' => f.write_str(r"\r")?,
                    '\0'..='\x1f' | '\x7f' => write!(f, r"\x{:02x}", u32::from(character))?,
                    '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                        write!(f, "{}", character.escape_unicode())?;
                    }
                    harmless => f.write_char(harmless)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, r"\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// The byte as one column of a hexadecimal dump: itself if it is a graphic ASCII character or a
/// space, else a dot.
pub fn ascii(byte: u8) -> char {
    if byte == b' ' || byte.is_ascii_graphic() {
        char::from(byte)
    } else {
        '.'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_character_is_escaped() {
        for code in (0..0x20).chain(0x7f..0xa0) {
            let character = char::from_u32(code).unwrap().to_string();
            let shown = Printable(character.as_bytes()).to_string();
            assert!(
                shown.starts_with('\\'),
                "U+{code:04X} is shown as {shown:?}"
            );
            assert!(
                shown.bytes().all(|byte| byte.is_ascii_graphic()),
                "U+{code:04X} is shown as {shown:?}"
            );
        }
    }

    #[test]
    fn bidirectional_controls_are_escaped_and_their_neighbours_are_not() {
        for code in (0x202a..=0x202e).chain(0x2066..=0x2069) {
            let character = char::from_u32(code).unwrap().to_string();
            assert_eq!(
                Printable(character.as_bytes()).to_string(),
                format!("\\u{{{code:x}}}")
            );
        }
        for harmless in [
            "\u{a0}", "\u{2029}", "\u{202f}", "\u{2065}", "\u{206a}", "ü", "日本", "🦀", "\\", "\"",
        ] {
            assert_eq!(Printable(harmless.as_bytes()).to_string(), harmless);
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_escaped_one_by_one() {
        assert_eq!(
            Printable(b"a\xc3(\xe2\x82b\x80").to_string(),
            r"a\xc3(\xe2\x82b\x80"
        );
    }
}
