//! The bytes that all peers agree on are those that the C compiler makes of the same struct.

use std::mem::offset_of;
use std::slice;

use crate::support::*;
use libc::{c_int, size_t};
use sigshm::message::{LONGEST_TEXT, MESSAGE_ID, MESSAGE_SIZE, Message};

/// The struct's size and alignment, and where each field is and how wide: the id, the size, the
/// text.
const LAYOUT: [usize; 8] = [
    size_of::<Message>(),
    align_of::<Message>(),
    offset_of!(Message, id),
    size_of::<c_int>(),
    offset_of!(Message, size),
    size_of::<size_t>(),
    offset_of!(Message, text),
    LONGEST_TEXT + 1,
];

#[test]
fn a_message_is_as_large_as_the_articles_segment() {
    assert_eq!((size_of::<Message>(), MESSAGE_SIZE), (1024, 1024));
    needs!(compiles_c());
    assert_eq!(LAYOUT[..2], layout_in_c().0[..2]);
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_c_compiler_puts_the_fields_where_the_design_says() {
    assert_eq!(LONGEST_TEXT, 1007);
    needs!(compiles_c());
    assert_eq!(layout_in_c().0, [1024, 8, 0, 4, 8, 8, 16, 1008]);
}

#[test]
fn each_field_is_where_the_c_compiler_puts_it_and_as_wide() {
    needs!(compiles_c());
    assert_eq!(layout_in_c().0, LAYOUT);
    let [size, _, id_at, _, size_at, _, text_at, _] = LAYOUT;
    // Every byte of the text is one that occurs nowhere else, so a field that lay elsewhere would
    // be seen.
    let text = [0xa5; LONGEST_TEXT];
    let mut expected = vec![0; size];
    let mut put = |at: usize, bytes: &[u8]| expected[at..at + bytes.len()].copy_from_slice(bytes);
    put(id_at, &MESSAGE_ID.to_ne_bytes());
    put(size_at, &text.len().to_ne_bytes());
    put(text_at, &text);
    let message = Message::new(&text).unwrap();
    // SAFETY: a self-contained type has no padding, so each of its bytes is initialised.
    let bytes = unsafe { slice::from_raw_parts(ptr::from_ref(&message).cast::<u8>(), size) };
    assert_eq!(bytes, expected);
}

#[test]
fn a_message_that_c_has_written_can_be_read() {
    needs!(compiles_c());
    let (_, written) = layout_in_c();
    assert_eq!(written.len(), size_of::<Message>());
    // SAFETY: the bytes are as many as a message has, and it is valid for every pattern of bits.
    let message: Message = unsafe { ptr::read_unaligned(written.as_ptr().cast()) };
    assert_eq!((message.id, message.size), (MESSAGE_ID, 6));
    assert_eq!(message.checked().unwrap().text(), b"from C");
    assert_eq!(message, Message::new(b"from C").unwrap());
}

#[test]
fn in_python_the_struct_is_laid_out_as_in_c_and_in_rust() {
    needs!(compiles_c());
    assert_eq!(layout_in_c().0, LAYOUT);
    if let Some(mut python) = python_as_peer("the layout of the struct in Python") {
        python.current_dir(peers()).args([
            "-c",
            "import ctypes, peer
m = peer.Message
print(ctypes.sizeof(m), ctypes.alignment(m))
for field in m.id, m.size, m.text:
    print(field.offset, field.size)",
        ]);
        let said = run(python);
        assert_eq!((said.code, &*said.stderr), (Some(0), ""), "{said:?}");
        assert_eq!(numbers(said.text()), LAYOUT);
        assert_no_traces();
    }
}

/// What the C compiler says of the struct in `tests/peers/message.h`, in the same order, and a
/// message that it made.
fn layout_in_c() -> (Vec<usize>, Vec<u8>) {
    let said = run(Command::new(compile_peer("layout")));
    assert_eq!((said.code, &*said.stderr), (Some(0), ""), "{said:?}");
    let end_of_line = said.stdout.iter().position(|&byte| byte == b'\n').unwrap();
    let (line, written) = said.stdout.split_at(end_of_line + 1);
    (numbers(std::str::from_utf8(line).unwrap()), written.to_vec())
}

fn numbers(text: &str) -> Vec<usize> {
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}
