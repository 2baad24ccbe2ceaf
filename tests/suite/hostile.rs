//! Whatever a segment holds, and whatever a message says: properties that hold for any bytes at
//! all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use crate::support::*;
use sigshm::message::{Checked, LONGEST_TEXT, MESSAGE_SIZE, Message, PROJECT};
use sigshm::output::escape::Escaped;
use sigshm::sys::{Key, OwnedSegment, Segment};

/// Where the size and the text are, from the definition of the struct in C.
const SIZE_AT: usize = size_of::<usize>();
const TEXT_AT: usize = 2 * size_of::<usize>();

const CASES: u32 = 5_000;

sigshm::self_contained! {
    /// A segment's bytes, whatever they are.
    struct Raw { bytes: [u8; MESSAGE_SIZE] }
}

/// Tries the property on [`CASES`] values, and fails with the smallest that it can find.
#[track_caller]
fn holds_for<S: Strategy>(any: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig {
        // A failure is printed, and is not kept in a file beside this one.
        failure_persistence: None,
        ..ProptestConfig::with_cases(CASES)
    };
    if let Err(error) = TestRunner::new(config).run(any, property) {
        panic!("{error}");
    }
}

/// As many arbitrary bytes, made of one number. (A strategy for each of a thousand bytes would take
/// most of the time of these tests.)
fn any_bytes(length: usize) -> impl Strategy<Value = Vec<u8>> {
    any::<u64>().prop_map(move |number| {
        // xorshift64; of 0 it makes zeros.
        let states = iter::successors(Some(number), |&state| {
            let state = state ^ state << 13;
            let state = state ^ state >> 7;
            Some(state ^ state << 17)
        });
        let mut bytes: Vec<u8> =
            states.take(length.div_ceil(8)).flat_map(u64::to_ne_bytes).collect();
        bytes.truncate(length);
        bytes
    })
}

/// A segment's bytes: entirely arbitrary, or a message with something wrong here and there.
fn any_segment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![1 => any_bytes(MESSAGE_SIZE), 3 => any_near_message()]
}

fn any_near_message() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![8 => Just(1), 1 => any::<i32>(), 1 => -2..10];
    let size = prop_oneof![
        4 => 0..=LONGEST_TEXT,
        4 => LONGEST_TEXT - 8..LONGEST_TEXT + 24,
        1 => any::<usize>(),
        1 => usize::MAX - 2 * MESSAGE_SIZE..=usize::MAX,
    ];
    let any_text = || any_bytes(MESSAGE_SIZE - TEXT_AT);
    let without_nul = |text: Vec<u8>| text.into_iter().map(|byte| byte.max(1)).collect();
    let text = prop_oneof![1 => any_text(), 1 => any_text().prop_map(without_nul)];
    let nul = (prop::bool::weighted(0.7), prop::bool::weighted(0.7));
    (id, size, text, nul).prop_map(|(id, size, text, (nul_after_text, nul_at_end))| {
        let mut bytes = vec![0xaa; TEXT_AT];
        bytes[..size_of::<i32>()].copy_from_slice(&id.to_ne_bytes());
        bytes[SIZE_AT..].copy_from_slice(&size.to_ne_bytes());
        bytes.extend(text);
        if nul_after_text && size <= LONGEST_TEXT {
            bytes[TEXT_AT + size] = 0;
        }
        if nul_at_end {
            bytes[MESSAGE_SIZE - 1] = 0;
        }
        bytes
    })
}

/// What is wrong with a segment's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Id(i32),
    Size(usize),
    NoNul,
    NulWithin,
}

impl Wrong {
    /// What the error says of it.
    fn cause(self) -> String {
        match self {
            Self::Id(id) => format!("its id is {id}, "),
            Self::Size(size) => format!("its size is {size} bytes, "),
            Self::NoNul => "its text does not end in NUL".to_owned(),
            Self::NulWithin => "there is a NUL within its size".to_owned(),
        }
    }
}

/// What the bytes mean, worked out from the definition of the struct.
fn meaning(bytes: &[u8]) -> Result<&[u8], Wrong> {
    let id = i32::from_ne_bytes(bytes[..size_of::<i32>()].try_into().unwrap());
    let size = usize::from_ne_bytes(bytes[SIZE_AT..TEXT_AT].try_into().unwrap());
    let room = &bytes[TEXT_AT..];
    if id != 1 {
        Err(Wrong::Id(id))
    } else if size >= room.len() {
        Err(Wrong::Size(size))
    } else if room[size] != 0 || room.last() != Some(&0) {
        Err(Wrong::NoNul)
    } else if room[..size].contains(&0) {
        // No argument can carry one.
        Err(Wrong::NulWithin)
    } else {
        Ok(&room[..size])
    }
}

#[test]
fn a_segment_with_arbitrary_content_is_read_as_exactly_the_message_it_holds_or_refused() {
    let scratch = Scratch::new();
    let key = Key::from_path(&scratch.path(), PROJECT).unwrap();
    let (segment, _) = OwnedSegment::<Raw>::create(&key, Duration::from_secs(5)).unwrap();
    let attached = RefCell::new(segment.attach().unwrap());
    let seen = RefCell::new(BTreeMap::new());

    holds_for(&any_segment(), |bytes| {
        let raw = Raw { bytes: bytes.clone().try_into().unwrap() };
        attached.borrow_mut().write(&raw);
        // As the listener does it, which knows nothing but the key.
        let found = Segment::<Message>::find(&key).expect("the segment is there");
        let message = found.attach_read_only().unwrap().read();

        let kind = match (message.checked().map(Checked::text), meaning(&bytes)) {
            (Ok(text), Ok(expected)) => {
                prop_assert_eq!(text, expected);
                prop_assert!(text.len() <= LONGEST_TEXT);
                "a message"
            }
            (Err(error), Err(wrong)) => {
                let (error, cause) = (error.to_string(), wrong.cause());
                prop_assert!(error.contains(&cause), "{:?}: {}", wrong, error);
                match wrong {
                    Wrong::Id(_) => "an unknown id",
                    Wrong::Size(_) => "a size beyond the capacity",
                    Wrong::NoNul => "no NUL",
                    Wrong::NulWithin => "a NUL within",
                }
            }
            (read, expected) => {
                let outcomes = format!("read {read:?}, expected {expected:?}");
                return Err(TestCaseError::fail(outcomes));
            }
        };
        let is_written = bytes[..size_of::<i32>()] != [0; size_of::<i32>()];
        prop_assert_eq!(message.is_written(), is_written);
        *seen.borrow_mut().entry(kind).or_insert(0) += 1;
        Ok(())
    });
    let seen = seen.into_inner();
    assert!(seen.values().sum::<u32>() >= CASES, "{seen:?}");
    assert!(
        seen.len() == 5 && seen.values().all(|&times| times > CASES / 20),
        "one kind is hardly tried: {seen:?}"
    );
}

#[test]
fn a_message_of_any_bytes_comes_out_of_a_segment_as_it_went_in() {
    let scratch = Scratch::new();
    let key = Key::from_path(&scratch.path(), PROJECT).unwrap();
    let (segment, _) = OwnedSegment::<Message>::create(&key, Duration::from_secs(5)).unwrap();
    let attached = RefCell::new(segment.attach().unwrap());

    let length = prop_oneof![8 => 0..=LONGEST_TEXT, 1 => LONGEST_TEXT - 2..LONGEST_TEXT + 3];
    // No argument can carry a NUL.
    let without_nul = |text: Vec<u8>| text.into_iter().map(|byte| byte.max(1)).collect();
    let text = length.prop_flat_map(any_bytes).prop_map(without_nul);
    holds_for(&text, |text: Vec<u8>| {
        let message = match Message::new(&text) {
            Ok(message) => message,
            Err(too_long) => {
                prop_assert!(text.len() > LONGEST_TEXT, "{}", too_long);
                return Ok(());
            }
        };
        prop_assert!(text.len() <= LONGEST_TEXT);
        attached.borrow_mut().write(&message);
        let found = Segment::<Message>::find(&key).expect("the segment is there");
        let read = found.attach_read_only().unwrap().read();
        prop_assert_eq!(read.checked().map(Checked::text).ok(), Some(&text[..]));
        Ok(())
    });
}

#[test]
fn a_segment_that_changes_while_it_is_read_yields_a_checked_message_or_none() {
    let scratch = Scratch::new();
    let key = Key::from_path(&scratch.path(), PROJECT).unwrap();
    let (_segment, _) = OwnedSegment::<Raw>::create(&key, Duration::from_secs(5)).unwrap();
    let found = Segment::<Message>::find(&key).unwrap();
    let finished = AtomicBool::new(false);

    /// Stops the writer even if the reader panics, or the scope would wait for ever.
    struct Finish<'a>(&'a AtomicBool);
    impl Drop for Finish<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut attached = Segment::<Raw>::find(&key).unwrap().attach().unwrap();
            let texts = [&b"short"[..], &[b'x'; LONGEST_TEXT]];
            let mut round = 0;
            while !finished.load(Ordering::Relaxed) {
                let mut bytes = [0; MESSAGE_SIZE];
                let text = texts[round % 2];
                bytes[0] = u8::from(round % 3 != 0);
                let size = if round % 5 == 0 { usize::MAX } else { text.len() };
                bytes[SIZE_AT..TEXT_AT].copy_from_slice(&size.to_ne_bytes());
                bytes[TEXT_AT..TEXT_AT + text.len()].copy_from_slice(text);
                attached.write(&Raw { bytes });
                round += 1;
            }
        });
        let _finish = Finish(&finished);
        let attached = found.attach_read_only().unwrap();
        let (mut messages, mut refused) = (0, 0);
        // Until both have been seen often, which the writer sees to.
        crate::support::wait_until("messages and others were read", || {
            for _ in 0..CASES {
                let message = attached.read();
                let first = message.checked().map(|it| it.text().to_vec()).ok();
                // What was copied once does not change any more, however the segment does.
                assert_eq!(message.checked().map(Checked::text).ok(), first.as_deref());
                match first {
                    Some(text) => {
                        assert!(text.len() == LONGEST_TEXT || text.len() == 5, "{text:?}");
                        messages += 1;
                    }
                    None => refused += 1,
                }
            }
            messages >= CASES && refused >= CASES
        });
    });
}

/// Whether a terminal would obey the character, it ends a line, or it turns the reading direction.
fn is_obeyed(character: char) -> bool {
    let code = u32::from(character);
    code < 0x20
        || (0x7f..0xa0).contains(&code)
        || [0x61c, 0x200e, 0x200f].contains(&code)
        || (0x2028..=0x202e).contains(&code)
        || (0x2066..=0x2069).contains(&code)
}

/// As many characters, of those up to U+20FF: all that are obeyed are among them.
fn any_text(length: usize) -> impl Strategy<Value = Vec<u8>> {
    any_bytes(2 * length).prop_map(|bytes| {
        let codes = bytes.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1]));
        let text: String = codes.filter_map(|code| char::from_u32(code % 0x2100)).collect();
        text.into_bytes()
    })
}

fn any_harmless_text() -> impl Strategy<Value = String> {
    let harmless =
        any::<char>().prop_map(|character| if is_obeyed(character) { '?' } else { character });
    vec(harmless, 1..8).prop_map(String::from_iter)
}

/// Bytes that must be escaped unless the bytes beside them belong to the same character.
fn any_harmful_bytes() -> impl Strategy<Value = Vec<u8>> {
    let obeyed = |codes: RangeInclusive<u32>| {
        codes.prop_map(|code| char::from_u32(code).unwrap().to_string().into_bytes())
    };
    prop_oneof![
        obeyed(0..=0x1f),
        obeyed(0x7f..=0x9f),
        obeyed(0x61c..=0x61c),
        obeyed(0x200e..=0x200f),
        obeyed(0x2028..=0x202e),
        obeyed(0x2066..=0x2069),
        (0x80..=u8::MAX).prop_map(|byte| vec![byte]),
    ]
}

#[test]
fn what_is_shown_of_arbitrary_bytes_is_never_obeyed() {
    let bytes = prop_oneof![
        (0..200_usize).prop_flat_map(any_bytes),
        vec(any_harmful_bytes(), 0..12).prop_map(|pieces| pieces.concat()),
        (0..50_usize).prop_flat_map(any_text),
    ];
    holds_for(&bytes, |bytes| {
        let shown = Escaped(&bytes).to_string();
        prop_assert!(!shown.chars().any(is_obeyed), "{:?}", shown);
        prop_assert!(!shown.chars().any(char::is_control), "{:?}", shown);
        Ok(())
    });
}

#[test]
fn what_needs_no_escape_is_shown_as_it_is() {
    // No harmful bytes are beside each other, so none of them can be part of a harmless character.
    let pieces = vec((any_harmless_text(), any_harmful_bytes()), 0..8);
    holds_for(&pieces, |pieces| {
        let mut bytes = Vec::new();
        let mut expected = String::new();
        for (harmless, harmful) in &pieces {
            bytes.extend([harmless.as_bytes(), harmful].concat());
            let escape = Escaped(harmful).to_string();
            prop_assert!(escape.starts_with('\\') && escape.is_ascii(), "{:?}", escape);
            expected.extend([&harmless[..], &escape]);
        }
        prop_assert_eq!(Escaped(&bytes).to_string(), expected);
        Ok(())
    });
}
