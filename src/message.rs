//! The bytes that both processes agree on.
//!
//! The article's struct ends in a `char *text`. An address means nothing in another process: its C
//! works only because `fork` happened to copy the heap that the address points into. Here the text
//! sits *in* the struct, so that the struct is the whole message, and anybody who attaches the
//! segment, in any language, can read it.
//!
//! What comes out of shared memory may have been written by anyone who was allowed to attach it. So
//! a [`Message`] that was read is only bytes; [`Message::text`] checks them before it hands out a
//! slice.

use std::borrow::Cow;
use std::fmt;

use libc::{c_int, size_t};

/// The size of a message in bytes, which is the size of the article's segment.
pub const MESSAGE_SIZE: usize = 1024;

/// The `id` that every message carries, as in the article. 0 is what a new segment holds: no
/// message yet.
pub const MESSAGE_ID: c_int = 1;

/// The room for the text, in bytes: what the two numbers before it leave. 1008 where pointers have
/// 64 bits.
const TEXT_CAPACITY: usize = MESSAGE_SIZE - 2 * size_of::<size_t>();

/// The longest text, in bytes: the last byte of the room is always NUL, for peers that read a C
/// string.
pub const LONGEST_TEXT: usize = TEXT_CAPACITY - 1;

crate::self_contained! {
    /// A message as it lies in shared memory; in C: `struct { int id; size_t size; char text[1008];
    /// }`.
    pub struct Message {
        // First, because an attachment writes it last: whoever sees the id sees the rest of the
        // message too.
        id: c_int,
        // The C compiler leaves the same gap. Here it has a name, so that it is written like every
        // other byte.
        padding: [u8; size_of::<size_t>() - size_of::<c_int>()],
        size: size_t,
        text: [u8; TEXT_CAPACITY],
    }
}

impl Message {
    /// Makes the message that carries `text`, which may be any bytes at all.
    ///
    /// # Errors
    /// [`TooLong`] if there are more than [`LONGEST_TEXT`] of them.
    pub fn new(text: &[u8]) -> Result<Self, TooLong> {
        let size = text.len();
        if size > LONGEST_TEXT {
            return Err(TooLong { length: size });
        }
        let mut message = Self {
            id: MESSAGE_ID,
            padding: Default::default(),
            size,
            text: [0; TEXT_CAPACITY],
        };
        message.text[..size].copy_from_slice(text);
        Ok(message)
    }

    /// Whether somebody has written a message here: a new segment is all zeros.
    pub fn is_written(&self) -> bool {
        self.id != 0
    }

    /// The number of the message.
    pub fn id(&self) -> c_int {
        self.id
    }

    /// How many bytes of text there are, as the sender says; see [`text`](Self::text).
    pub fn size(&self) -> size_t {
        self.size
    }

    /// The bytes as they lie in memory, field by field, for whoever wants to look at them. What of
    /// the text's room is not used is a field of its own.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let Self {
            id,
            padding,
            size,
            text,
        } = self;
        let (used, unused) = text.split_at((*size).min(TEXT_CAPACITY));
        let fields: [(_, Cow<'_, [u8]>); 5] = [
            ("id", id.to_ne_bytes().to_vec().into()),
            ("padding", padding.as_slice().into()),
            ("size", size.to_ne_bytes().to_vec().into()),
            ("text", used.into()),
            ("unused", unused.into()),
        ];
        let mut offset = 0;
        fields.into_iter().map(move |(name, bytes)| {
            let field = Field {
                name,
                offset,
                bytes,
            };
            offset += field.bytes.len();
            field
        })
    }

    /// The text, once its description has been checked against the room it has.
    ///
    /// # Errors
    /// [`Malformed`] if no sender can have meant these bytes.
    pub fn text(&self) -> Result<&[u8], Malformed> {
        if self.id != MESSAGE_ID {
            return Err(Malformed::UnknownId(self.id));
        }
        if self.size > LONGEST_TEXT {
            return Err(Malformed::SizeBeyondCapacity(self.size));
        }
        let (text, rest) = self.text.split_at(self.size);
        if rest[0] != 0 || rest[rest.len() - 1] != 0 {
            return Err(Malformed::NoNul);
        }
        Ok(text)
    }
}

/// Some of the bytes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// What the field is called.
    pub name: &'static str,
    /// Where it begins, in bytes from the beginning of the message.
    pub offset: usize,
    /// What is in it.
    pub bytes: Cow<'a, [u8]>,
}

/// A text that does not fit into a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    length: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { length } = self;
        write!(
            f,
            "the message is {length} bytes long, and {LONGEST_TEXT} is the limit; send a shorter one"
        )
    }
}

impl std::error::Error for TooLong {}

/// Bytes from shared memory that are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The id is one that no sender uses.
    UnknownId(c_int),
    /// The size is more than fits into the text.
    SizeBeyondCapacity(size_t),
    /// The text is not followed by the NUL that ends a C string, or the last byte of its room is
    /// not NUL.
    NoNul,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what the segment holds is not a message: ")?;
        match self {
            Self::UnknownId(id) => write!(f, "its id is {id}, and only {MESSAGE_ID} is ever sent"),
            Self::SizeBeyondCapacity(size) => write!(
                f,
                "its size is {size} bytes, and {LONGEST_TEXT} is the limit"
            ),
            Self::NoNul => f.write_str("its text does not end in NUL"),
        }
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn the_fields_are_where_c_puts_them() {
        assert_eq!(size_of::<Message>(), MESSAGE_SIZE);
        assert_eq!(offset_of!(Message, id), 0);
        assert_eq!(offset_of!(Message, size), size_of::<size_t>());
        assert_eq!(offset_of!(Message, text), 2 * size_of::<size_t>());
        #[cfg(target_pointer_width = "64")]
        assert_eq!(
            (
                offset_of!(Message, size),
                offset_of!(Message, text),
                LONGEST_TEXT
            ),
            (8, 16, 1007)
        );
    }
}
