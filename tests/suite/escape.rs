//! Bytes that came from outside, made safe to print: what is escaped, how, and what is not.

use sigshm::output::escape::Escaped;

fn shown(bytes: impl AsRef<[u8]>) -> String {
    Escaped(bytes.as_ref()).to_string()
}

fn character(code: u32) -> String {
    char::from_u32(code).unwrap().to_string()
}

#[test]
fn every_control_character_is_escaped() {
    for code in (0..0x20).chain(0x7f..0xa0) {
        let shown = shown(character(code));
        let is_escaped = shown.starts_with('\\') && shown.bytes().all(|it| it.is_ascii_graphic());
        assert!(is_escaped, "U+{code:04X} is shown as {shown:?}");
    }
}

#[test]
fn a_control_character_is_escaped_as_in_rust_or_by_its_number() {
    for (character, escape) in [
        ("\t", r"\t"),
        ("\n", r"\n"),
        ("\r", r"\r"),
        ("\0", r"\x00"),
        ("\x1b", r"\x1b"),
        ("\x7f", r"\x7f"),
        ("\u{80}", r"\u{80}"),
        ("\u{9b}", r"\u{9b}"),
    ] {
        assert_eq!(shown(character), escape);
    }
}

#[test]
fn bidirectional_controls_are_escaped_and_their_neighbours_are_not() {
    // Unicode's Bidi_Control.
    let marks = [0x61c, 0x200e, 0x200f].into_iter();
    for code in marks.chain(0x202a..=0x202e).chain(0x2066..=0x2069) {
        assert_eq!(shown(character(code)), format!("\\u{{{code:x}}}"));
    }
    for harmless in [
        "\u{a0}", "\u{61b}", "\u{61d}", "\u{200d}", "\u{2010}", "\u{2027}", "\u{202f}", "\u{2065}",
        "\u{206a}", "ü", "日本", "🦀", "\\", "\"",
    ] {
        assert_eq!(shown(harmless), harmless);
    }
}

#[test]
fn line_and_paragraph_separators_are_escaped() {
    // All that Unicode has in its categories Zl and Zp. Whoever splits lines as Unicode does, as
    // Python's splitlines, ends a line there. What else ends one is a control character.
    for (separator, escape) in [("\u{2028}", r"\u{2028}"), ("\u{2029}", r"\u{2029}")] {
        assert_eq!(shown(separator), escape);
        assert_eq!(shown(format!("ab{separator}é")), format!("ab{escape}é"));
    }
}

#[test]
fn bytes_that_are_not_utf8_are_escaped_one_by_one() {
    assert_eq!(shown(b"a\xc3(\xe2\x82b\x80"), r"a\xc3(\xe2\x82b\x80");
}

#[test]
fn a_path_and_an_argument_are_escaped_as_their_bytes_are() {
    assert_eq!(shown(b"/\x1b[2J/na\xc3\xafve\xff"), r"/\x1b[2J/naïve\xff");
}
