//! The message, and whatever else two peers must agree on.
//!
//! The article's struct ends in a `char *text`. An address means nothing in another process: its C
//! works only because `fork` happened to copy the heap that the address points into. Here the text
//! lies *in* the struct: it is the whole message, which a program in any language can read.
//!
//! What comes out of shared memory may have been written by anybody who was allowed to attach it.
//! So a [`Message`] is only bytes. [`Message::checked`] checks that they have the form of a
//! message, and only a [`Checked`] one can be printed. Its text may still be any bytes: what a
//! terminal would obey is printed as an escape (output/escape.rs).

use anyhow::{Result, ensure};
use libc::{c_int, size_t};

use crate::sys::signal::Signal;

/// The article's project number for ftok(3): the same file and number make the same key.
pub const PROJECT: c_int = 1;

/// The signal that says: there is a message. (`--signal` names another one.)
pub const NOTIFICATION: Signal = Signal::SIGUSR1;

/// The `id` of every message, as in the article. In a new segment it is 0: no message yet.
pub const MESSAGE_ID: c_int = 1;

/// The size of a message in bytes: that of the article's segment.
pub const MESSAGE_SIZE: usize = 1024;

/// The room for the text, in bytes: 1008 where pointers have 64 bits.
const CAPACITY: usize = MESSAGE_SIZE - 2 * size_of::<size_t>();

/// The longest text, in bytes. The last byte of the room is always NUL, so that a program in C can
/// read the text as a string.
pub const LONGEST_TEXT: usize = CAPACITY - 1;

// Checks that the struct has no padding without a name, and no address.
crate::self_contained! {
    /// The article's `s_message`. In C, where pointers have 64 bits:
    /// `struct { int id; size_t size; char text[1008]; }`.
    pub struct Message {
        /// Always [`MESSAGE_ID`]. It is written last: a reader that finds it finds the rest.
        pub id: c_int,
        /// The C compiler leaves the same padding.
        pub padding: [u8; size_of::<size_t>() - size_of::<c_int>()],
        /// How many bytes of text there are.
        pub size: size_t,
        /// The text, and zeros behind it.
        pub text: [u8; CAPACITY],
    }
}

impl Message {
    /// Makes the message that carries `text`: any bytes, but not more than [`LONGEST_TEXT`].
    pub fn new(text: &[u8]) -> Result<Self> {
        let size = text.len();
        ensure!(
            size <= LONGEST_TEXT,
            "the message is {size} bytes long, and {LONGEST_TEXT} is the limit; send a shorter one"
        );
        let mut room = [0; CAPACITY];
        room[..size].copy_from_slice(text);
        Ok(Self { id: MESSAGE_ID, padding: Default::default(), size, text: room })
    }

    /// Whether somebody has written a message here.
    pub fn is_written(&self) -> bool {
        self.id != 0
    }

    /// The same message, checked. Fails if these bytes are not a message.
    pub fn checked(&self) -> Result<Checked<'_>> {
        let Self { id, padding, size, text } = self;
        // A 32-bit program has the size where our padding is.
        let is_32_bit = padding.iter().any(|&byte| byte != 0);
        let hint = if is_32_bit { " (it looks like a 32-bit program's)" } else { "" };
        let what = format!("what the segment holds is not a message{hint}");
        ensure!(*id == MESSAGE_ID, "{what}: its id is {id}, and only {MESSAGE_ID} is ever sent");
        ensure!(
            *size <= LONGEST_TEXT,
            "{what}: its size is {size} bytes, and {LONGEST_TEXT} is the limit"
        );
        let ends = text[*size] == 0 && text[LONGEST_TEXT] == 0;
        ensure!(ends, "{what}: its text does not end in NUL");
        ensure!(!text[..*size].contains(&0), "{what}: there is a NUL within its size");
        Ok(Checked(self))
    }
}

/// A message that has been checked: its numbers are right, and it has a text.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a>(&'a Message);

impl<'a> Checked<'a> {
    /// Any bytes but NUL, at most [`LONGEST_TEXT`] of them.
    pub fn text(self) -> &'a [u8] {
        &self.0.text[..self.0.size]
    }

    /// All its bytes, the padding and what lies behind the text too.
    pub fn message(self) -> &'a Message {
        self.0
    }
}
