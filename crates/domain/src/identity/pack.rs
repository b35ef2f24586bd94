use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

/// Names that many entries share.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u16, RandomState>,
}

impl Names {
    /// A name's number; 0 when there are so many names that it has none.
    pub(super) fn number(&mut self, name: &str) -> u16 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let Ok(number) = u16::try_from(self.names.len() + 1) else { return 0 };
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    /// All of them, in the order of their numbers.
    pub(super) fn all(&self) -> Vec<&str> {
        self.names.iter().map(AsRef::as_ref).collect()
    }

    pub(super) fn has(&self, number: u16) -> bool {
        usize::from(number) <= self.names.len()
    }

    pub(super) fn get(&self, name: &str) -> Option<u16> {
        self.numbers.get(name).copied()
    }

    pub(super) fn name(&self, number: u16) -> &str {
        &self.names[usize::from(number) - 1]
    }
}

/// A packed text.
pub(super) type Packed = SmallVec<[u8; 64]>;

/// How many hexadecimal digits at its end make a text worth packing.
const HEX_AT_LEAST: usize = 16;

/// A text in few bytes: a long run of hexadecimal digits at its end, as LINE's user ids and hashed
/// event ids have, takes half. The first byte says how long the part before is, plus one; 0: the
/// text is as it was.
pub(super) fn pack(space: Option<&str>, text: &str) -> Packed {
    let bytes = text.as_bytes();
    let digits = hex_at_the_end(bytes) / 2 * 2;
    let before = bytes.len() - digits;
    let mut packed = Packed::new();
    match u8::try_from(before + 1) {
        Ok(length) if digits >= HEX_AT_LEAST && space.is_none() => {
            packed.push(length);
            packed.extend_from_slice(&bytes[..before]);
            packed.resize(1 + before + digits / 2, 0);
            let digit = |byte: u8| (byte & 15) + 9 * (byte >> 6);
            let pairs = bytes[before..].chunks_exact(2);
            for (both, pair) in packed[1 + before..].iter_mut().zip(pairs) {
                *both = digit(pair[0]) << 4 | digit(pair[1]);
            }
        }
        _ => {
            packed.push(0);
            if let Some(space) = space {
                packed.extend_from_slice(space.as_bytes());
                packed.push(0);
            }
            packed.extend_from_slice(bytes);
        }
    }
    packed
}

/// How many bytes at the end are hexadecimal digits in lower case. Sixteen are looked at together.
fn hex_at_the_end(bytes: &[u8]) -> usize {
    let is_hex = |byte: u8| byte.is_ascii_digit() | matches!(byte, b'a'..=b'f');
    let all = |chunk: &&[u8]| chunk.iter().fold(true, |all, byte| all & is_hex(*byte));
    let digits = bytes.rchunks_exact(16).take_while(all).count() * 16;
    let rest = &bytes[..bytes.len() - digits];
    digits + rest.iter().rev().take_while(|byte| is_hex(**byte)).count()
}

pub(super) fn unpack(packed: &[u8]) -> String {
    let (Some(first), rest) = (packed.first(), packed.get(1..).unwrap_or_default()) else {
        return String::new();
    };
    if *first == 0 {
        return String::from_utf8_lossy(rest).into_owned();
    }
    let (before, digits) = rest.split_at(usize::from(*first) - 1);
    let mut text = Vec::with_capacity(before.len() + digits.len() * 2);
    text.extend_from_slice(before);
    text.extend(digits.iter().flat_map(|byte| [byte >> 4, byte & 15].map(digit)));
    String::from_utf8(text).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into())
}

fn digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hexadecimal_end_takes_half() {
        assert_eq!(pack(None, "U206d25c2ea6bd87c17655609a1c37cb8").len(), 2 + 16);
        assert_eq!(pack(None, "member").len(), 1 + 6);
        assert_eq!(unpack(&pack(Some("shop"), "7")), "shop\u{0}7");
    }

    #[test]
    fn a_name_beyond_all_numbers_has_none() {
        let mut names = Names::default();
        for number in 0..=u32::from(u16::MAX) {
            names.number(&number.to_string());
        }
        assert_eq!(names.number("0"), 1);
        assert_eq!((names.number("one more"), names.get("one more")), (0, None));
        assert_eq!(names.name(u16::MAX), (u32::from(u16::MAX) - 1).to_string());
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(text in "(\\PC{0,20})([0-9a-f]{0,70})") {
            prop_assert_eq!(unpack(&pack(None, &text)), text);
        }
    }
}
