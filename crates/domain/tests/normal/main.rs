//! What sources write, and the identifiers that come of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;

use mainstem_domain::identifier::{Identifier, IdentifierError, Kind, Normal, normalise};
use proptest::prelude::*;

/// The fixture's lines as (written, becomes).
fn table(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")).map(|line| {
        let (written, becomes) = line.rsplit_once(" => ").unwrap_or_else(|| panic!("{line}"));
        (unescaped(written), becomes)
    })
}

/// `\u{3000}` as the character.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u{");
    let mut all = parts.next().unwrap().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').unwrap();
        all.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
        all.push_str(rest);
    }
    all
}

/// As the fixtures write it.
fn shown(normal: Result<Normal, IdentifierError>) -> String {
    match normal {
        Ok(Normal { identifier, extension }) => {
            let mut text = identifier.value().to_owned();
            if let Some(extension) = extension {
                write!(text, " #{extension}").unwrap();
            }
            text
        }
        Err(error) => format!("!{error:?}"),
    }
}

/// What holds of every text: no panic, what is given is read by the ledger's reader, and it stays
/// as it is.
fn settles(text: &str) -> Option<Normal> {
    let normal = normalise(text).ok()?;
    let written = normal.identifier.to_string();
    assert_eq!(written.parse(), Ok(normal.identifier.clone()), "the strict reader, of {text:?}");
    let again = Normal { identifier: normal.identifier.clone(), extension: None };
    assert_eq!(normalise(&written), Ok(again), "of {text:?}");
    Some(normal)
}

fn check(kind: &str, fixture: &str, at_least: usize) {
    let (mut wrong, mut count) = (String::new(), 0);
    for (written, becomes) in table(fixture) {
        let text = format!("{kind}:{written}");
        let found = shown(normalise(&text));
        if found != becomes {
            writeln!(wrong, "{text:?} became {found}, not {becomes}").unwrap();
        }
        settles(&text);
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= at_least, "{count} lines");
}

#[test]
fn phone_numbers_become_what_the_table_says() {
    check("phone", include_str!("phones.txt"), 100);
}

#[test]
fn addresses_become_what_the_table_says() {
    check("email", include_str!("emails.txt"), 60);
}

#[test]
fn other_kinds_are_trimmed_and_otherwise_kept() {
    let becomes = |text: &str| normalise(text).unwrap().identifier.to_string();
    assert_eq!(becomes("member: M-1024\u{3000}"), "member:M-1024");
    assert_eq!(becomes(" cookie :Ａ b"), "cookie:Ａ b");
    assert_eq!(becomes("external: pos : 00:7 "), "external:pos:00:7");
    assert_eq!(becomes("line:p1:U1"), "line:p1:U1");
    // Opaque: what the vendor gave is not mended.
    assert_eq!(normalise("line:p1:U1 "), Err(IdentifierError::Characters));
}

#[test]
fn the_source_is_to_blame_for_nonsense_and_for_nothing_else() {
    let long = format!("member:{}", "x".repeat(250));
    for (text, error) in [
        ("", IdentifierError::Empty),
        (" \u{3000}", IdentifierError::Empty),
        ("phone:", IdentifierError::Empty),
        ("email: ", IdentifierError::Empty),
        ("external:7", IdentifierError::Empty),
        ("external: :7", IdentifierError::Empty),
        (&long, IdentifierError::Long),
        ("member:1\n", IdentifierError::Characters),
        ("phone:0912\t345678", IdentifierError::Characters),
        ("email:lin@example.com\u{0}", IdentifierError::Characters),
    ] {
        assert_eq!(normalise(text), Err(error.clone()), "{text:?}");
        assert!(error.is_malformed(), "{text:?}");
    }
    let grown = format!("email:{}@{}tw", "x".repeat(64), "é.".repeat(24));
    for (text, error) in [
        ("fax:1", IdentifierError::Kind),
        ("M-1024", IdentifierError::Kind),
        ("phone:0912", IdentifierError::Phone),
        ("phone:0800000123", IdentifierError::Service),
        ("email:lin", IdentifierError::Email),
        // Short enough as it is written, and too long in ASCII.
        (&grown, IdentifierError::Email),
    ] {
        assert_eq!(normalise(text), Err(error.clone()), "{text:?}");
        assert!(!error.is_malformed(), "{text:?}");
    }
}

/// An address of the test set, and whether it is free of every fault and oddity.
fn isemail_tests(xml: &str) -> Vec<(String, bool)> {
    let between = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    let tests = xml.split("<test id=").skip(1);
    tests
        .filter_map(|test| {
            let address = between(test, "address")?
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&amp;", "&");
            // The set writes control characters as their pictures.
            let control = |c: char| match u32::from(c).checked_sub(0x2400) {
                Some(code @ 0..=0x1f) => char::from_u32(code).unwrap_or(c),
                _ => c,
            };
            let address = characters(&address).chars().map(control).collect();
            Some((address, between(test, "category")? == "ISEMAIL_VALID_CATEGORY"))
        })
        .collect()
}

/// Undoes `&#x2407;`.
fn characters(text: &str) -> String {
    let mut parts = text.split("&#x");
    let mut all = parts.next().unwrap().to_owned();
    for part in parts {
        let (code, rest) = part.split_once(';').unwrap();
        all.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
        all.push_str(rest);
    }
    all
}

#[test]
fn the_isemail_set_settles_and_its_valid_addresses_are_taken() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/isemail-tests.xml");
    let Ok(xml) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: the isemail test set is not here");
        return;
    };
    let tests = isemail_tests(&xml);
    assert!(tests.len() >= 150, "{} tests", tests.len());
    let (mut taken, mut valid, mut valid_taken) = (0, 0, 0);
    for (address, is_valid) in &tests {
        let is_taken = settles(&format!("email:{address}")).is_some();
        taken += usize::from(is_taken);
        valid += usize::from(*is_valid);
        valid_taken += usize::from(*is_valid && is_taken);
        if *is_valid && !is_taken {
            eprintln!("valid by the set, and not taken: {address}");
        }
    }
    eprintln!("{taken} of {} taken, {valid_taken} of {valid} valid ones", tests.len());
    assert!(valid >= 10 && valid_taken * 10 >= valid * 8, "{valid_taken} of {valid}");
    assert!(taken >= 20 && taken * 2 < tests.len(), "{taken} of {}", tests.len());
}

/// Numbers much like real ones, written by many hands.
fn written_number() -> impl Strategy<Value = String> {
    let prefix = prop_oneof![
        Just(""),
        Just("0"),
        Just("+886"),
        Just("+886 (0)"),
        Just("886"),
        Just("002886"),
        Just("00"),
        Just("+"),
        Just("（０"),
        Just("+81"),
        Just("+1"),
        Just("+44 (0)"),
        Just("+52 1"),
        Just("+54 9"),
        Just("+39 0"),
        Just("tel:"),
    ];
    let suffix = "((#| ext\\.?|x|分機|轉|;ext=)[ :]?[0-9０-９]{0,8})?";
    (prefix, "[0-9０-９]{1,4}([-－ \u{a0}.)）ー]?[0-9０-９]{1,4}){0,4}", suffix)
        .prop_map(|(prefix, number, suffix)| format!("phone:{prefix}{number}{suffix}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_settles(
        text in "(member:|external:|line:|cookie:|phone:|email:| kind)?(\\PC{0,40}|.{0,90})",
    ) {
        settles(&text);
    }

    #[test]
    fn any_number_settles(text in written_number()) {
        if let Some(normal) = settles(&text) {
            prop_assert_eq!(normal.identifier.kind(), Kind::Phone);
        }
    }

    #[test]
    fn any_address_settles(
        text in "email:\"?[a-zA-Z.+ßİΣǅ\u{301}\u{200d}ｱ½林\\p{L}\\p{M}]{1,12}\"?[@＠][a-zß\u{301}\u{200d}台\\p{L}\\p{M}-]{1,12}[.。][a-z中\\p{L}]{1,6}",
    ) {
        settles(&text);
    }

    /// However it is written, it is one number.
    #[test]
    fn a_mobile_number_is_one_number(
        rest in "[0-8][0-9]{7}",
        prefix in prop::sample::select(vec!["0", "+886", "+886 (0)", "886", "００２８８６", "00886", ""]),
        between in prop::sample::select(vec!["", "-", " ", "\u{a0}", ".", "－"]),
        extension in prop::option::of("[0-9]{1,7}"),
    ) {
        let (first, second) = rest.split_at(5);
        let tail = extension.as_ref().map_or(String::new(), |digits| format!(" 分機 {digits}"));
        let normal = normalise(&format!("phone:{prefix}9{first}{between}{second}{tail}"));
        let identifier = Identifier::Phone(format!("+8869{rest}").into());
        prop_assert_eq!(normal, Ok(Normal { identifier, extension }));
    }
}
