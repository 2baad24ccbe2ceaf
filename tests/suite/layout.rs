//! The bytes that both processes agree on are those that the C compiler makes of the same struct.

use std::mem::offset_of;
use std::sync::LazyLock;

use crate::support::*;
use libc::{c_int, size_t};
use sigshm::message::{LONGEST_TEXT, MESSAGE_ID, MESSAGE_SIZE, Message};

#[test]
fn a_message_is_as_large_as_the_articles_segment() {
    assert_eq!((size_of::<Message>(), MESSAGE_SIZE), (1024, 1024));
    assert_eq!(LAYOUT.size, size_of::<Message>());
    assert_eq!(LAYOUT.alignment, align_of::<Message>());
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_c_compiler_puts_the_fields_where_the_design_says() {
    assert_eq!((LAYOUT.id, LAYOUT.message_size, LAYOUT.text), (0, 8, 16));
    assert_eq!((LAYOUT.room, LONGEST_TEXT), (1008, 1007));
}

#[test]
fn each_field_is_where_the_c_compiler_puts_it() {
    let ours = (offset_of!(Message, id), offset_of!(Message, size), offset_of!(Message, text));
    assert_eq!((LAYOUT.id, LAYOUT.message_size, LAYOUT.text), ours);
    assert_eq!(LAYOUT.room, LONGEST_TEXT + 1);
    // Every byte of the text is one that occurs nowhere else, so a field that lay elsewhere would
    // be seen.
    let text = [0xa5; LONGEST_TEXT];
    let mut expected = vec![0; LAYOUT.size];
    let mut put = |at: usize, bytes: &[u8]| expected[at..at + bytes.len()].copy_from_slice(bytes);
    put(LAYOUT.id, &MESSAGE_ID.to_ne_bytes());
    put(LAYOUT.message_size, &text.len().to_ne_bytes());
    put(LAYOUT.text, &text);
    assert_eq!(bytes(&Message::new(&text).unwrap()), expected.as_slice());
}

#[test]
fn the_field_types_are_as_wide_as_the_c_compilers() {
    assert_eq!(LAYOUT.id_width, size_of::<c_int>());
    assert_eq!(LAYOUT.message_size_width, size_of::<size_t>());
}

#[test]
fn a_message_that_c_has_written_can_be_read() {
    assert_eq!(LAYOUT.written.len(), size_of::<Message>());
    // SAFETY: the bytes are as many as a message has, and it is valid for every pattern of bits.
    let message: Message = unsafe { ptr::read_unaligned(LAYOUT.written.as_ptr().cast()) };
    assert_eq!((message.id, message.size), (MESSAGE_ID, 6));
    assert_eq!(message.checked().unwrap().text(), b"from C");
    assert_eq!(message, Message::new(b"from C").unwrap());
}

/// What the C compiler says of the struct in `tests/peers/message.h`, and a message that it made.
struct Layout {
    size: usize,
    alignment: usize,
    id: usize,
    id_width: usize,
    message_size: usize,
    message_size_width: usize,
    text: usize,
    room: usize,
    written: Vec<u8>,
}

const PROGRAM: &str = r#"
#include "message.h"
#include <stdio.h>

int main(void) {
    static s_message message = {.id = 1, .size = 6, .text = "from C"};
    printf("%zu %zu %zu %zu %zu %zu %zu %zu\n", sizeof message, _Alignof(s_message),
           offsetof(s_message, id), sizeof message.id,
           offsetof(s_message, size), sizeof message.size,
           offsetof(s_message, text), sizeof message.text);
    return fwrite(&message, sizeof message, 1, stdout) == 1 ? 0 : 1;
}
"#;

static LAYOUT: LazyLock<Layout> = LazyLock::new(|| {
    let scratch = Scratch::new();
    let source = scratch.dir().join("layout.c");
    let binary = scratch.dir().join("layout");
    fs::write(&source, PROGRAM).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers"))
        .arg("-o")
        .args([&binary, &source])
        .stdin(Stdio::null());
    let compiled = run(&mut cc);
    assert_eq!(compiled.code, Some(0), "{compiled:#?}");

    let said = run(&mut Command::new(&binary));
    assert_eq!(said.code, Some(0), "{said:#?}");
    let end_of_line = said.stdout.iter().position(|&byte| byte == b'\n').unwrap();
    let (line, written) = said.stdout.split_at(end_of_line + 1);
    let mut numbers = std::str::from_utf8(line).unwrap().split_whitespace();
    let mut number = || numbers.next().unwrap().parse().unwrap();
    Layout {
        size: number(),
        alignment: number(),
        id: number(),
        id_width: number(),
        message_size: number(),
        message_size_width: number(),
        text: number(),
        room: number(),
        written: written.to_vec(),
    }
});

fn bytes(message: &Message) -> &[u8] {
    // SAFETY: a self-contained type has no padding, so each of its bytes is initialised.
    unsafe { std::slice::from_raw_parts(ptr::from_ref(message).cast(), size_of::<Message>()) }
}
