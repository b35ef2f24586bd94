use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, PhoneNumberType, Region};
use unicode_normalization::UnicodeNormalization as _;

use super::IdentifierError;
use super::normal::is_invisible;

/// Where a number without a country code belongs.
const REGION: Region = Region::TW;

/// What stands before an extension; of those that begin alike, the longer first.
const MARKERS: [&str; 13] = [
    "#",
    "extension",
    "extn",
    "ext",
    "x",
    "分機",
    "分机",
    "轉接",
    "轉",
    "转",
    "內線",
    "内線",
    "内线",
];

/// An extension has fewer digits than any number: more are a second number.
const EXTENSION_AT_MOST: usize = 7;

/// A Taiwanese number without its trunk zero has 8 or 9 digits. One of 8 may as well be a number of
/// Taipei without its area code, so it takes 9 to be read.
const WITHOUT_ZERO_AT_LEAST: usize = 9;

pub(super) struct Number {
    pub(super) e164: String,
    pub(super) extension: Option<String>,
}

pub(super) fn normal(value: &str) -> Result<Number, IdentifierError> {
    let text: String = value.chars().filter(|c| !is_invisible(*c)).nfkc().collect();
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_prefix("tel:").unwrap_or(&text);
    let (number, extension) = without_extension(text)?;
    let e164 = e164(&dialled(number)?)?;
    // Whatever the library makes of a number, what it made stays as it is.
    if self::e164(&e164)? != e164 {
        return Err(IdentifierError::Phone);
    }
    Ok(Number { e164, extension })
}

/// The number and the digits of its extension. `02-23456789#` has none.
fn without_extension(text: &str) -> Result<(&str, Option<String>), IdentifierError> {
    let first = MARKERS.iter().filter_map(|marker| text.find(marker)).min();
    let Some(first) = first else { return Ok((text, None)) };
    let (number, mut tail) = text.split_at(first);
    while let Some(rest) = MARKERS.iter().find_map(|marker| tail.strip_prefix(marker)) {
        tail =
            rest.trim_start_matches(|c| c == ' ' || matches!(c, '.' | ':' | '=' | ',') || dash(c));
    }
    let digits = tail.trim_end_matches([' ', '.', ')', '號', '号']);
    if digits.len() > EXTENSION_AT_MOST || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(IdentifierError::Phone);
    }
    let number = number.trim_end_matches([' ', ',', ';', '(']);
    Ok((number, Some(digits.to_owned()).filter(|digits| !digits.is_empty())))
}

/// The number as it may be dialled, without what may stand between its digits. Letters are refused,
/// though the library would take them for the keys they stand on: who writes them means a word.
fn dialled(number: &str) -> Result<String, IdentifierError> {
    let mut text = String::with_capacity(number.len());
    for c in number.chars() {
        match c {
            '0'..='9' | '+' | '(' | ')' => text.push(c),
            '.' | '/' => text.push('-'),
            c if dash(c) => text.push('-'),
            c if c.is_whitespace() => text.push(' '),
            _ => return Err(IdentifierError::Phone),
        }
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let international = text.contains('+');
    if !international && !digits.starts_with('0') && digits.len() < WITHOUT_ZERO_AT_LEAST {
        return Err(IdentifierError::Phone);
    }
    // Most of the world dials 00 where Taiwan dials 002, 005, 006, 007, 009 or 019; where it can be
    // none of these, it is meant so.
    if !international
        && let Some(rest) = digits.strip_prefix("00")
        && rest.starts_with(['1', '3', '4', '8'])
    {
        return Ok(format!("+{rest}"));
    }
    Ok(text)
}

fn e164(number: &str) -> Result<String, IdentifierError> {
    let number =
        PHONE_NUMBER_UTIL.parse(number, Some(REGION)).map_err(|_| IdentifierError::Phone)?;
    if !PHONE_NUMBER_UTIL.is_valid_number(&number) {
        return Err(IdentifierError::Phone);
    }
    match PHONE_NUMBER_UTIL.get_number_type(&number) {
        PhoneNumberType::TollFree
        | PhoneNumberType::PremiumRate
        | PhoneNumberType::SharedCost
        | PhoneNumberType::UAN
        | PhoneNumberType::VoiceMail => Err(IdentifierError::Service),
        PhoneNumberType::Unknown => Err(IdentifierError::Phone),
        PhoneNumberType::FixedLine
        | PhoneNumberType::Mobile
        | PhoneNumberType::FixedLineOrMobile
        | PhoneNumberType::VoIP
        | PhoneNumberType::PersonalNumber
        | PhoneNumberType::Pager => {
            Ok(PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned())
        }
    }
}

/// What people and their keyboards write for a dash, after NFKC.
fn dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2500}' | '\u{30fc}')
}
