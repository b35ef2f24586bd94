use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;
use smol_str::SmolStr;

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
pub(super) type Packed = SmallVec<[u8; PACKED_INLINE]>;

/// How long one may be that is not allocated.
const PACKED_INLINE: usize = 64;

/// So many hexadecimal digits are looked at together.
const GROUP: usize = 8;

/// How many of these groups at its end make a text worth packing.
const GROUPS_AT_LEAST: usize = 2;

/// More than these are not looked for: no identifier is that long.
const GROUPS_AT_MOST: usize = 32;

/// The text behind this is as it was.
pub(super) const PLAIN: u8 = 0;

/// A text in few bytes: a long run of hexadecimal digits at its end, as LINE's user ids and hashed
/// event ids have, takes half. The first byte says how long the part before is, plus one, or
/// [`PLAIN`].
pub(super) fn pack(space: Option<&str>, text: &str) -> Packed {
    let bytes = text.as_bytes();
    if let Some(space) = space {
        return joined([&[PLAIN], space.as_bytes(), &[0], bytes]);
    }
    let groups = || bytes.rchunks_exact(GROUP).map_while(decode);
    if groups().take(GROUPS_AT_LEAST).count() < GROUPS_AT_LEAST {
        return joined([&[PLAIN], bytes]);
    }
    // Filled from its end on, as the digits are read.
    let mut all = [[0; GROUP / 2]; GROUPS_AT_MOST];
    let mut first = all.len();
    for (group, place) in groups().zip(all.iter_mut().rev()) {
        *place = group;
        first -= 1;
    }
    let digits = all[first..].as_flattened();
    let before = &bytes[..bytes.len() - digits.len() * 2];
    match u8::try_from(before.len() + 1) {
        Ok(length) => joined([&[length], before, digits]),
        Err(_) => joined([&[PLAIN], bytes]),
    }
}

/// The parts one after the other.
pub(super) fn joined<const AT_HAND: usize, const PARTS: usize>(
    parts: [&[u8]; PARTS],
) -> SmallVec<[u8; AT_HAND]> {
    let mut whole = [0; AT_HAND];
    let mut end = 0;
    for part in parts {
        let Some(place) = whole.get_mut(end..end + part.len()) else {
            return SmallVec::from_vec(parts.concat());
        };
        place.copy_from_slice(part);
        end += part.len();
    }
    SmallVec::from_buf_and_len(whole, end)
}

/// What a group of hexadecimal digits in lower case stands for: each digit in a byte of one number.
fn decode(group: &[u8]) -> Option<[u8; GROUP / 2]> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let all = u64::from_be_bytes(group.try_into().ok()?);
    // The highest bit of each byte of these says whether it is at least so much.
    let at_least = |least: u8| (all | HIGH) - u64::from(least) * EACH;
    let digits = at_least(b'0') & !at_least(b'9' + 1);
    let letters = at_least(b'a') & !at_least(b'f' + 1);
    if (digits | letters) & !all & HIGH != HIGH {
        return None;
    }
    let values = (all & (0x0F * EACH)) + 9 * (all >> 6 & EACH);
    // Two and two, then four and four, then all eight come together.
    let bytes = (values | values >> 4) & 0x00FF_00FF_00FF_00FF;
    let pairs = (bytes | bytes >> 8) & 0x0000_FFFF_0000_FFFF;
    let whole = u32::try_from((pairs | pairs >> 16) & 0xFFFF_FFFF).ok()?;
    Some(whole.to_be_bytes())
}

pub(super) fn unpack(packed: &[u8]) -> SmolStr {
    let Some((first, rest)) = packed.split_first() else { return SmolStr::default() };
    if *first == PLAIN {
        return text_of(rest);
    }
    let (before, digits) = rest.split_at(usize::from(*first) - 1);
    let length = before.len() + digits.len() * 2;
    let mut at_hand = [0; 2 * PACKED_INLINE];
    let mut large = Vec::new();
    let text = at_hand.get_mut(..length).unwrap_or_else(|| {
        large.resize(length, 0);
        &mut large
    });
    text[..before.len()].copy_from_slice(before);
    for (pair, byte) in text[before.len()..].chunks_exact_mut(2).zip(digits) {
        pair.copy_from_slice(&DIGITS[usize::from(*byte)]);
    }
    text_of(text)
}

/// All that was packed was text.
fn text_of(bytes: &[u8]) -> SmolStr {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes).into(), SmolStr::new)
}

/// Each byte in hexadecimal digits.
const DIGITS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut all = [[0; 2]; 256];
    let mut byte = 0;
    while byte < all.len() {
        all[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    all
};

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

        #[test]
        fn only_hexadecimal_digits_in_lower_case_are_decoded(
            group in proptest::collection::vec(
                prop_oneof![4 => (0_u8..16).prop_map(|n| b"0123456789abcdef"[usize::from(n)]), 1 => any::<u8>()],
                GROUP,
            )
        ) {
            let text = std::str::from_utf8(&group).ok();
            let plain = |text: &&str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            let number = text.filter(plain).and_then(|text| u32::from_str_radix(text, 16).ok());
            prop_assert_eq!(decode(&group), number.map(u32::to_be_bytes));
        }
    }
}
