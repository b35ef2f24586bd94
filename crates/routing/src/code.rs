//! The text of binding codes: sealed and opened with a key that the rules never see.
//!
//! `MS-` and 47 letters and digits (Crockford's base 32, so that no letter can be taken for a digit):
//!
//! | bytes | what |
//! |---|---|
//! | 5 | the nonce, in the clear |
//! | 16 | salesperson, store and brand by their handles, and the minute of expiry; 4 bytes each, hidden |
//! | 8 | the tag |
//!
//! Encrypt, then authenticate: what is hidden is combined with `HMAC(key, "seal" ‖ nonce)`, and the tag
//! is the beginning of `HMAC(key, "tag" ‖ nonce ‖ hidden)`. A nonce is used once.

use std::sync::{LazyLock, OnceLock};

use data_encoding::{Encoding, Specification};
use hmac::{Hmac, KeyInit as _, Mac as _};
use mainstem_domain::configuration::{Handle, parameter};
use mainstem_domain::person::Act;
use mainstem_domain::routing::{Claims, Nonce, Opened, Presented};
use mainstem_domain::{Refusal, RefusalCode};
use sha2::Sha256;

/// Set once, before anything is read; the same in every process of this service.
static KEY: OnceLock<Key> = OnceLock::new();

/// What every code begins with.
const PREFIX: &str = "MS-";

/// The parameter of a postback that carries a code.
const PARAMETER: &str = "bind";

const HIDDEN: usize = 16;
const TAG: usize = 8;
const TAGGED: usize = Nonce::LENGTH + HIDDEN;
const SEALED: usize = TAGGED + TAG;

/// Letters and digits behind the prefix.
const LETTERS: usize = (SEALED * 8).div_ceil(5);

/// Says by which key binding codes are sealed. With another key, those that are out there are good no
/// more; without one, none is issued and none accepted.
pub fn set_key(key: &str) {
    if !key.is_empty() {
        let _ = KEY.set(Key(key.as_bytes().to_vec()));
    }
}

/// Refuses to issue a code that nobody could seal.
///
/// # Errors
/// `FAILED_PRECONDITION` with the reason `NO_BINDING_KEY`.
pub(crate) fn need_key() -> Result<(), Refusal> {
    if KEY.get().is_some() {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::FailedPrecondition,
        "NO_BINDING_KEY",
        "routing has no key to seal binding codes with; give it one (routing.binding_key)",
    ))
}

/// The text of a code; none without a key.
pub(crate) fn seal(claims: &Claims) -> Option<String> {
    KEY.get()?.seal(claims)
}

/// What a code says, given as the customer sends it. Without a key, none is ours.
pub(crate) fn open(text: &str) -> Option<Opened> {
    let place = find(text)?;
    Some(KEY.get().map_or(Opened::Forged, |key| key.open(&text[place])))
}

/// The code that a customer presents, if they do: wherever it stands in a text, or as the parameter
/// `bind` of a tap, which is never anything else.
pub(crate) fn presented(act: &Act) -> Option<Presented> {
    let open = |text: &str| KEY.get().map_or(Opened::Forged, |key| key.open(text));
    match act {
        Act::Text(text) => {
            let place = find(text)?;
            let alone = text.trim().len() == place.len();
            Some(Presented { opened: open(&text[place]), alone })
        }
        Act::Postback(data) => {
            let code = parameter(data, PARAMETER)?;
            let opened = find(code).map_or(Opened::Forged, |place| open(&code[place]));
            Some(Presented { opened, alone: !data.contains('&') })
        }
        Act::Follow
        | Act::Unfollow
        | Act::Media(_)
        | Act::Unsend(_)
        | Act::Business(_)
        | Act::Other => None,
    }
}

/// Where a code stands in a text: the prefix in any letter case, where no word goes on, and behind it
/// a word of exactly so many letters and digits. Not every such word is a code.
fn find(text: &str) -> Option<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let long = PREFIX.len() + LETTERS;
    let begins = |start: &usize| {
        let before = start.checked_sub(1).and_then(|before| bytes.get(before));
        !before.is_some_and(u8::is_ascii_alphanumeric)
            && bytes[*start..].len() >= long
            && bytes[*start..*start + PREFIX.len()].eq_ignore_ascii_case(PREFIX.as_bytes())
    };
    let ends = |start: &usize| {
        let word = bytes[*start + PREFIX.len()..].iter();
        word.take_while(|byte| byte.is_ascii_alphanumeric()).count() == LETTERS
    };
    let start = (0..bytes.len()).filter(begins).find(ends)?;
    Some(start..start + long)
}

/// Crockford's base 32: upper and lower case are the same, and what looks like 0 or 1 is.
fn crockford() -> Option<&'static Encoding> {
    static ENCODING: LazyLock<Option<Encoding>> = LazyLock::new(|| {
        let mut specification = Specification::new();
        specification.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
        specification.translate.from.push_str("abcdefghjkmnpqrstvwxyzOoIiLl");
        specification.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
        specification.encoding().ok()
    });
    ENCODING.as_ref()
}

struct Key(Vec<u8>);

impl Key {
    fn mac(&self, purpose: &str, parts: &[u8]) -> Option<Hmac<Sha256>> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        Some(mac.chain_update(purpose).chain_update(parts))
    }

    /// Hides what is seen, and shows what is hidden.
    fn hide(&self, nonce: [u8; Nonce::LENGTH], bytes: &mut [u8]) -> Option<()> {
        let stream = self.mac("seal", &nonce)?.finalize().into_bytes();
        for (byte, key) in bytes.iter_mut().zip(stream) {
            *byte ^= key;
        }
        Some(())
    }

    fn seal(&self, claims: &Claims) -> Option<String> {
        let numbers = [
            claims.staff.number(),
            claims.store.map_or(0, Handle::number),
            claims.brand.map_or(0, Handle::number),
            claims.expires_minute,
        ];
        let mut hidden: Vec<u8> = numbers.into_iter().flat_map(u32::to_be_bytes).collect();
        let nonce = claims.nonce.bytes();
        self.hide(nonce, &mut hidden)?;
        let mut sealed = [&nonce[..], &hidden].concat();
        let tag = self.mac("tag", &sealed)?.finalize().into_bytes();
        sealed.extend_from_slice(&tag[..TAG]);
        Some(format!("{PREFIX}{}", crockford()?.encode(&sealed)))
    }

    fn open(&self, code: &str) -> Opened {
        self.claims(code).map_or(Opened::Forged, Opened::Code)
    }

    fn claims(&self, code: &str) -> Option<Claims> {
        let letters = code.get(PREFIX.len()..)?;
        let sealed: [u8; SEALED] = crockford()?.decode(letters.as_bytes()).ok()?.try_into().ok()?;
        let (tagged, tag) = sealed.split_at(TAGGED);
        self.mac("tag", tagged)?.verify_truncated_left(tag).ok()?;
        let (nonce, hidden) = tagged.split_at(Nonce::LENGTH);
        let nonce: [u8; Nonce::LENGTH] = nonce.try_into().ok()?;
        let mut seen: [u8; HIDDEN] = hidden.try_into().ok()?;
        self.hide(nonce, &mut seen)?;
        let mut numbers = seen.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes));
        Some(Claims {
            nonce: Nonce::from_bytes(nonce),
            staff: Handle::from_number(numbers.next()?)?,
            store: Handle::from_number(numbers.next()?),
            brand: Handle::from_number(numbers.next()?),
            expires_minute: numbers.next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> Key {
        Key(b"a binding key of at least thirty-two bytes".to_vec())
    }

    prop_compose! {
        fn claims()(
            bytes in any::<[u8; Nonce::LENGTH]>(),
            (staff, store, brand) in (1..=u32::MAX, any::<u32>(), any::<u32>()),
            (has_store, has_brand) in any::<(bool, bool)>(),
            expires_minute in any::<u32>(),
        ) -> Claims {
            Claims {
                nonce: Nonce::from_bytes(bytes),
                staff: Handle::from_number(staff).unwrap(),
                store: Handle::from_number(store).filter(|_| has_store),
                brand: Handle::from_number(brand).filter(|_| has_brand),
                expires_minute,
            }
        }
    }

    /// Whether two letters stand for the same five bits.
    fn alike(one: char, other: char) -> bool {
        let same = |letter: char| match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            letter => letter,
        };
        same(one) == same(other)
    }

    proptest! {
        #[test]
        fn a_code_reads_back_in_any_letter_case(claims in claims()) {
            let code = key().seal(&claims).unwrap();
            prop_assert_eq!(code.len(), 50);
            let opened = Opened::Code(claims);
            prop_assert_eq!(key().open(&code), opened);
            prop_assert_eq!(key().open(&code.to_lowercase()), opened);
            let confused = code.replace('0', "o").replace('1', "l");
            prop_assert_eq!(key().open(&confused), opened);
        }

        /// The last letter carries three bits that stand for nothing: they are zero, or it is forged.
        #[test]
        fn a_code_with_one_other_letter_is_forged(
            claims in claims(), place in PREFIX.len()..50_usize, letter in "[0-9A-Za-z]",
        ) {
            let code = key().seal(&claims).unwrap();
            let mut letters: Vec<char> = code.chars().collect();
            let letter = letter.chars().next().unwrap();
            prop_assume!(!alike(letters[place], letter));
            letters[place] = letter;
            let changed: String = letters.into_iter().collect();
            prop_assert_eq!(find(&changed), Some(0..50));
            prop_assert_eq!(key().open(&changed), Opened::Forged);
        }

        #[test]
        fn nobody_seals_with_another_key(claims in claims(), other in any::<[u8; 32]>()) {
            let code = Key(other.to_vec()).seal(&claims).unwrap();
            prop_assert_eq!(key().open(&code), Opened::Forged);
        }

        #[test]
        fn any_text_is_read(text in ".{0,80}", more in "(?i)(MS-)?[0-9a-z]{45,49}.{0,3}") {
            let _ = find(&text);
            let text = format!("{text}{more}");
            if let Some(place) = find(&text) {
                let _ = key().open(&text[place]);
            }
        }

        #[test]
        fn a_code_is_found_wherever_it_stands(
            claims in claims(), before in "(|.{0,20}[^0-9A-Za-z])", after in "(|[^0-9A-Za-z].{0,20})",
        ) {
            let code = key().seal(&claims).unwrap();
            let text = format!("{before}{code}{after}");
            prop_assert_eq!(find(&text).map(|place| &text[place]), Some(&*code));
        }
    }

    #[test]
    fn a_word_that_is_no_code_is_left_alone() {
        let claims = Claims {
            nonce: Nonce::from_bytes([7; 5]),
            staff: Handle::of("s-1"),
            store: None,
            brand: None,
            expires_minute: 1,
        };
        let code = key().seal(&claims).unwrap();
        for text in [
            "MS-200 is broken".to_owned(),
            format!("A{code}"),
            format!("{code}0"),
            code[..49].to_owned(),
            code.replace('-', " "),
        ] {
            assert_eq!(find(&text), None, "{text}");
        }
    }

    /// Every byte of what the ids are comes out otherwise with another nonce.
    #[test]
    fn a_code_does_not_show_whose_it_is() {
        let staff = Handle::of("staff-0042");
        let claims = |nonce: u8| Claims {
            nonce: Nonce::from_bytes([nonce; 5]),
            staff,
            store: None,
            brand: None,
            expires_minute: 29_000_000,
        };
        let code = key().seal(&claims(1)).unwrap();
        let sealed = crockford().unwrap().decode(&code.as_bytes()[3..]).unwrap();
        assert!(!sealed.windows(4).any(|four| four == staff.number().to_be_bytes()));
        assert!(!sealed.windows(4).any(|four| four == [0; 4]), "that there is no store shows");
        assert!(!code.contains("0042"));
        let other = key().seal(&claims(2)).unwrap();
        let alike = code[11..].bytes().zip(other[11..].bytes()).filter(|(one, other)| one == other);
        assert!(alike.count() < 8, "{code} {other}");
    }

    #[test]
    fn a_code_comes_by_text_or_by_tap_and_says_whether_it_comes_alone() {
        set_key("a binding key of at least thirty-two bytes");
        let claims = Claims {
            nonce: Nonce::from_bytes([9; 5]),
            staff: Handle::of("s-1"),
            store: Some(Handle::of("taipei-1")),
            brand: None,
            expires_minute: 29_000_000,
        };
        let code = seal(&claims).unwrap();
        let (text, tap) = (
            |text: &str| presented(&Act::Text(text.to_owned())),
            |data: &str| presented(&Act::Postback(data.to_owned())),
        );
        let found = |alone| Some(Presented { opened: Opened::Code(claims), alone });
        assert_eq!(text(&format!(" {code}\n")), found(true));
        assert_eq!(text(&format!("請綁定{}，謝謝", code.to_lowercase())), found(false));
        assert_eq!(text("hello"), None);
        assert_eq!(tap(&format!("bind={code}")), found(true));
        assert_eq!(tap(&format!("menu=store&bind={code}")), found(false));
        assert_eq!(tap("menu=store"), None);
        let forged = |alone| Some(Presented { opened: Opened::Forged, alone });
        assert_eq!(tap("bind=whatever"), forged(true));
        assert_eq!(text(&format!("MS-{}", "Z".repeat(47))), forged(true));
        assert_eq!(open(&code), Some(Opened::Code(claims)));
        assert_eq!(open("whatever"), None);
        assert_eq!(presented(&Act::Follow), None);
    }
}
