//! Bytes that came from outside, made safe to print.
//!
//! A message that is printed as it is could recolour the terminal, move its cursor or change the
//! reading direction. [`Escaped`] shows what a terminal would obey as an escape.

use std::fmt::{self, Write};

/// Shows bytes as text that no terminal obeys.
///
/// Escaped are the control characters (C0, DEL and C1), what else ends a line for somebody (U+2028
/// and U+2029), the characters that control the reading direction (Unicode's Bidi_Control), and
/// whatever is not UTF-8.
///
/// ```
/// use sigshm::output::escape::Escaped;
///
/// assert_eq!(Escaped(b"\x1b[2Jna\xc3\xafve\xff\n").to_string(), r"\x1b[2Jnaïve\xff\n");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\t' | '\n' | '\r' => write!(f, "{}", character.escape_default())?,
                    '\0'..='\x1f' | '\x7f' => write!(f, r"\x{:02x}", u32::from(character))?,
                    '\u{80}'..='\u{9f}'
                    | '\u{61c}'
                    | '\u{200e}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2066}'..='\u{2069}' => {
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
