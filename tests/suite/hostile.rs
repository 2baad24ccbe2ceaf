//! Whatever a segment holds, and whatever a message says: properties that hold for any bytes at
//! all.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use arbtest::arbitrary::{Result as Generated, Unstructured as Random};
use arbtest::arbtest;

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

/// Tries the property on [`CASES`] values or more. If it does not hold, the seed of that value is
/// printed; `ARBTEST_SEED=0x… cargo test NAME` tries it again.
fn holds_for<T>(any: impl Fn(&mut Random) -> Generated<T>, mut property: impl FnMut(T)) {
    // So many random bytes as none of the generators needs.
    let entropy = 2 * MESSAGE_SIZE as u32;
    let mut cases = 0;
    while cases < CASES {
        let case = |random: &mut Random| {
            property(any(random)?);
            cases += 1;
            Ok(())
        };
        // As many cases as it gets through in 100 ms.
        arbtest(case).size_min(entropy).size_max(entropy).run();
    }
}

/// So many of them.
fn several<T>(
    random: &mut Random,
    number: RangeInclusive<usize>,
    any: impl Fn(&mut Random) -> Generated<T>,
) -> Generated<Vec<T>> {
    (0..random.int_in_range(number)?).map(|_| any(random)).collect()
}

fn any_bytes(random: &mut Random, length: RangeInclusive<usize>) -> Generated<Vec<u8>> {
    let mut bytes = vec![0; random.int_in_range(length)?];
    random.fill_buffer(&mut bytes)?;
    Ok(bytes)
}

/// As an argument, which cannot carry a NUL.
fn without_nul(text: Vec<u8>) -> Vec<u8> {
    text.into_iter().map(|byte| byte.max(1)).collect()
}

/// A segment's bytes: entirely arbitrary, or a message with something wrong here and there.
fn any_segment(random: &mut Random) -> Generated<Vec<u8>> {
    if random.ratio(1, 4)? {
        return any_bytes(random, MESSAGE_SIZE..=MESSAGE_SIZE);
    }
    let id = match random.int_in_range(0..=9)? {
        0..8 => 1,
        8 => random.arbitrary()?,
        _ => random.int_in_range(-2..=9)?,
    };
    let size = match random.int_in_range(0..=9)? {
        0..4 => random.int_in_range(0..=LONGEST_TEXT)?,
        4..8 => random.int_in_range(LONGEST_TEXT - 8..=LONGEST_TEXT + 23)?,
        8 => random.arbitrary()?,
        _ => random.int_in_range(usize::MAX - 2 * MESSAGE_SIZE..=usize::MAX)?,
    };
    let (nul_after_text, nul_at_end) = (random.ratio(7, 10)?, random.ratio(7, 10)?);
    let may_have_nul = random.arbitrary()?;
    let text = any_bytes(random, LONGEST_TEXT + 1..=LONGEST_TEXT + 1)?;
    let mut bytes = vec![0xaa; TEXT_AT];
    bytes[..size_of::<i32>()].copy_from_slice(&i32::to_ne_bytes(id));
    bytes[SIZE_AT..].copy_from_slice(&usize::to_ne_bytes(size));
    bytes.extend(if may_have_nul { text } else { without_nul(text) });
    if nul_after_text && size <= LONGEST_TEXT {
        bytes[TEXT_AT + size] = 0;
    }
    if nul_at_end {
        bytes[MESSAGE_SIZE - 1] = 0;
    }
    Ok(bytes)
}

/// What the bytes mean, by the definition of the struct: a text, or what the error says.
fn meaning(bytes: &[u8]) -> Result<&[u8], String> {
    let id = i32::from_ne_bytes(bytes[..size_of::<i32>()].try_into().unwrap());
    let size = usize::from_ne_bytes(bytes[SIZE_AT..TEXT_AT].try_into().unwrap());
    let room = &bytes[TEXT_AT..];
    if id != 1 {
        Err(format!("its id is {id}, "))
    } else if size >= room.len() {
        Err(format!("its size is {size} bytes, "))
    } else if room[size] != 0 || room.last() != Some(&0) {
        Err("its text does not end in NUL".to_owned())
    } else if room[..size].contains(&0) {
        Err("there is a NUL within its size".to_owned())
    } else {
        Ok(&room[..size])
    }
}

#[test]
fn a_segment_with_arbitrary_content_is_read_as_exactly_the_message_it_holds_or_refused() {
    let scratch = Scratch::new();
    let key = Key::from_path(&scratch.path(), PROJECT).unwrap();
    let (segment, _) = OwnedSegment::<Raw>::create(&key, Duration::from_secs(5)).unwrap();
    let mut attached = segment.attach().unwrap();
    let mut seen = BTreeMap::new();

    holds_for(any_segment, |bytes| {
        attached.write(&Raw { bytes: bytes[..].try_into().unwrap() });
        // As the listener does it, which knows nothing but the key.
        let found = Segment::<Message>::find(&key).expect("the segment is there");
        let message = found.attach_read_only().unwrap().read();

        let kind = match (message.checked().map(Checked::text), meaning(&bytes)) {
            (Ok(text), Ok(expected)) => {
                assert_eq!(text, expected);
                assert!(text.len() <= LONGEST_TEXT);
                "a message".to_owned()
            }
            (Err(error), Err(cause)) => {
                assert!(error.to_string().contains(&cause), "{cause}: {error}");
                // Without the number, if there is one.
                cause.chars().take("its id".len()).collect()
            }
            (read, expected) => panic!("read {read:?}, expected {expected:?}"),
        };
        let is_written = bytes[..size_of::<i32>()] != [0; size_of::<i32>()];
        assert_eq!(message.is_written(), is_written);
        *seen.entry(kind).or_insert(0) += 1;
    });
    let cases: u32 = seen.values().sum();
    assert!(cases >= CASES, "{seen:?}");
    let is_tried = seen.len() == 5 && seen.values().all(|&times| times > cases / 20);
    assert!(is_tried, "one kind is hardly tried: {seen:?}");
}

#[test]
fn a_message_of_any_bytes_comes_out_of_a_segment_as_it_went_in() {
    let scratch = Scratch::new();
    let key = Key::from_path(&scratch.path(), PROJECT).unwrap();
    let (segment, _) = OwnedSegment::<Message>::create(&key, Duration::from_secs(5)).unwrap();
    let mut attached = segment.attach().unwrap();

    let any_argument = |random: &mut Random| {
        let length = match random.ratio(8, 9)? {
            true => 0..=LONGEST_TEXT,
            false => LONGEST_TEXT - 2..=LONGEST_TEXT + 2,
        };
        any_bytes(random, length).map(without_nul)
    };
    holds_for(any_argument, |text| {
        let message = match Message::new(&text) {
            Ok(message) => message,
            Err(too_long) => return assert!(text.len() > LONGEST_TEXT, "{too_long}"),
        };
        assert!(text.len() <= LONGEST_TEXT);
        attached.write(&message);
        let found = Segment::<Message>::find(&key).expect("the segment is there");
        let read = found.attach_read_only().unwrap().read();
        assert_eq!(read.checked().map(Checked::text).ok(), Some(&text[..]));
    });
}

#[test]
fn a_segment_that_changes_while_it_is_read_yields_a_checked_message_or_none() {
    let scratch = Scratch::new();
    let key = Key::from_path(&scratch.path(), PROJECT).unwrap();
    let (_segment, _) = OwnedSegment::<Raw>::create(&key, Duration::from_secs(5)).unwrap();
    let found = Segment::<Message>::find(&key).unwrap();
    // It is gone when the reader has finished, by a panic too.
    let reader = Arc::new(());
    let is_read = Arc::downgrade(&reader);

    thread::scope(|scope| {
        scope.spawn(|| {
            let mut attached = Segment::<Raw>::find(&key).unwrap().attach().unwrap();
            let texts = [&b"short"[..], &[b'x'; LONGEST_TEXT]];
            let mut round = 0;
            while is_read.strong_count() > 0 {
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
        let _reader = reader;
        let attached = found.attach_read_only().unwrap();
        let (mut messages, mut refused) = (0, 0);
        // Until both have been seen often, which the writer sees to.
        wait_until("messages and others were read", || {
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

/// The characters that a terminal would obey, that end a line, or that turn the reading direction.
const OBEYED: [RangeInclusive<u32>; 6] =
    [0..=0x1f, 0x7f..=0x9f, 0x61c..=0x61c, 0x200e..=0x200f, 0x2028..=0x202e, 0x2066..=0x2069];

fn is_obeyed(character: char) -> bool {
    OBEYED.iter().any(|codes| codes.contains(&character.into()))
}

/// Bytes that must be escaped unless the bytes beside them belong to the same character.
fn any_harmful_bytes(random: &mut Random) -> Generated<Vec<u8>> {
    let Some(codes) = OBEYED.get(random.int_in_range(0..=OBEYED.len())?) else {
        return Ok(vec![random.int_in_range(0x80..=u8::MAX)?]);
    };
    let code = random.int_in_range(codes.clone())?;
    Ok(char::from_u32(code).unwrap().to_string().into_bytes())
}

fn any_harmless(random: &mut Random) -> Generated<char> {
    let end = random.choose(&[0x80, 0x2100, 0x11_0000])?;
    let character = char::from_u32(random.int_in_range(0..=end - 1)?);
    Ok(character.filter(|it| !is_obeyed(*it)).unwrap_or('?'))
}

/// Of the characters up to U+20FF: all that are obeyed are among them.
fn any_character(random: &mut Random) -> Generated<char> {
    Ok(char::from_u32(random.int_in_range(0..=0x20ff)?).unwrap())
}

#[test]
fn what_is_shown_of_arbitrary_bytes_is_never_obeyed() {
    let any = |random: &mut Random| match random.int_in_range(0..=2)? {
        0 => any_bytes(random, 0..=199),
        1 => several(random, 0..=11, any_harmful_bytes).map(|it| it.concat()),
        _ => several(random, 0..=49, any_character).map(|it| String::from_iter(it).into_bytes()),
    };
    holds_for(any, |bytes| {
        let shown = Escaped(&bytes).to_string();
        assert!(!shown.chars().any(is_obeyed), "{shown:?}");
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    });
}

#[test]
fn what_needs_no_escape_is_shown_as_it_is() {
    // No harmful bytes are beside each other, so none of them can be part of a harmless character.
    let any_piece = |random: &mut Random| {
        let harmless = String::from_iter(several(random, 1..=7, any_harmless)?);
        Ok((harmless, any_harmful_bytes(random)?))
    };
    holds_for(
        |random| several(random, 0..=7, any_piece),
        |pieces| {
            let mut bytes = Vec::new();
            let mut expected = String::new();
            for (harmless, harmful) in &pieces {
                bytes.extend([harmless.as_bytes(), harmful].concat());
                let escape = Escaped(harmful).to_string();
                assert!(escape.starts_with('\\') && escape.is_ascii(), "{escape:?}");
                expected.extend([&harmless[..], &escape]);
            }
            assert_eq!(Escaped(&bytes).to_string(), expected);
        },
    );
}
