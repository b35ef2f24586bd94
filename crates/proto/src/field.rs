//! Fields that many messages have: ids, identifiers, request ids and times.

use std::collections::BTreeSet;
use std::str::FromStr;

use mainstem_domain::identifier::{Identifier, IdentifierError, normalise};
use mainstem_domain::person::{Carrier, NoCarrier};
use mainstem_domain::{
    At, CaseId, ChannelId, CustomerId, DisputeId, ErasureId, IdError, ItemId, QueueId, SuggestionId,
};
pub use pbjson_types::Timestamp;

use crate::error::FieldError;

/// 0001-01-01T00:00:00Z, the first moment of proto3's `Timestamp`.
const FIRST_SECOND: i64 = -62_135_596_800;

/// 9999-12-31T23:59:59Z, the last second of proto3's `Timestamp`.
const LAST_SECOND: i64 = 253_402_300_799;

/// Reads a customer's id.
pub fn parse_customer(field: &str, text: &str) -> Result<CustomerId, FieldError> {
    parse_id(field, text)
}

/// Reads a case's id.
pub fn parse_case(field: &str, text: &str) -> Result<CaseId, FieldError> {
    parse_id(field, text)
}

/// Reads a send item's id.
pub fn parse_item(field: &str, text: &str) -> Result<ItemId, FieldError> {
    parse_id(field, text)
}

/// Reads a suggestion's id.
pub fn parse_suggestion(field: &str, text: &str) -> Result<SuggestionId, FieldError> {
    parse_id(field, text)
}

/// Reads a dispute's id.
pub fn parse_dispute(field: &str, text: &str) -> Result<DisputeId, FieldError> {
    parse_id(field, text)
}

/// Reads an erasure's id.
pub fn parse_erasure(field: &str, text: &str) -> Result<ErasureId, FieldError> {
    parse_id(field, text)
}

/// Reads a channel's id.
pub fn parse_channel(field: &str, text: &str) -> Result<ChannelId, FieldError> {
    parse_id(field, text)
}

/// Reads a queue's id.
pub fn parse_queue(field: &str, text: &str) -> Result<QueueId, FieldError> {
    parse_id(field, text)
}

/// Reads `kind:value` of a request, as a person or a system wrote it, into its normal form.
pub fn parse_identifier(field: &str, text: &str) -> Result<Identifier, FieldError> {
    normalise(text).map(|normal| normal.identifier).map_err(|error| identifier_error(field, &error))
}

/// Reads `kind:value` of a record. What the ledger holds is not normalised again, so that it reads
/// the same for ever, whatever numbers countries give out.
pub fn parse_stored_identifier(field: &str, text: &str) -> Result<Identifier, FieldError> {
    text.parse().map_err(|error| identifier_error(field, &error))
}

/// What is wrong with the identifier in that field.
#[must_use]
pub fn identifier_error(field: &str, error: &IdentifierError) -> FieldError {
    FieldError::new(field, error.to_string())
}

/// Reads `request_id`; `None` when the request is not idempotent.
pub fn parse_request_id(text: &str) -> Result<Option<String>, FieldError> {
    if text.is_empty() {
        Ok(None)
    } else if is_token(text) {
        Ok(Some(text.to_owned()))
    } else {
        let rule = "must be 1 to 64 printable ASCII characters without blanks, or empty";
        Err(FieldError::new("request_id", rule))
    }
}

/// Reads what a caller made up to tell one thing from all others.
pub fn parse_token(field: &str, text: &str) -> Result<String, FieldError> {
    if is_token(text) {
        Ok(text.to_owned())
    } else {
        let rule = "must be 1 to 64 printable ASCII characters without blanks";
        Err(FieldError::new(field, rule))
    }
}

/// A blank at an end would not come back from a header as it went in.
fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Reads a time that must be there, to the millisecond.
pub fn parse_time(field: &str, time: Option<Timestamp>) -> Result<At, FieldError> {
    let Timestamp { seconds, nanos } = time.ok_or_else(|| FieldError::new(field, "is missing"))?;
    let fits =
        (FIRST_SECOND..=LAST_SECOND).contains(&seconds) && (0..1_000_000_000).contains(&nanos);
    if fits {
        Ok(At::from_millis(seconds * 1_000 + i64::from(nanos / 1_000_000)))
    } else {
        Err(FieldError::new(field, "must be from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z"))
    }
}

/// The moment on the wire; one outside the years 1 to 9999 becomes the nearest inside.
#[must_use]
pub fn timestamp(at: At) -> Timestamp {
    let millis = at.as_millis().clamp(FIRST_SECOND * 1_000, LAST_SECOND * 1_000 + 999);
    let nanos = i32::try_from(millis.rem_euclid(1_000)).unwrap_or(0) * 1_000_000;
    Timestamp { seconds: millis.div_euclid(1_000), nanos }
}

/// Reads ids, each of which counts once.
pub fn parse_all<T: FromStr<Err = IdError> + Ord>(
    field: &str,
    texts: &[String],
) -> Result<BTreeSet<T>, FieldError> {
    texts.iter().map(|text| parse_id(field, text)).collect()
}

/// Reads an id that must be there.
pub fn parse_id<T: FromStr<Err = IdError>>(field: &str, text: &str) -> Result<T, FieldError> {
    text.parse().map_err(|error: IdError| FieldError::new(field, error.rule))
}

/// Reads an id that may be left out: empty is none.
pub fn parse_optional<T: FromStr<Err = IdError>>(
    field: &str,
    text: &str,
) -> Result<Option<T>, FieldError> {
    if text.is_empty() { Ok(None) } else { parse_id(field, text).map(Some) }
}

/// Reads what a thing hangs on; empty: nobody knows.
pub(crate) fn parse_carrier(field: &str, text: &str) -> Result<Option<Carrier>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: NoCarrier| FieldError::new(field, error.to_string()))
}

/// None is empty.
pub(crate) fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_back_and_stays_in_range() {
        for millis in [0, -1, 1_795_219_200_123, FIRST_SECOND * 1_000, LAST_SECOND * 1_000 + 999] {
            let at = At::from_millis(millis);
            assert_eq!(parse_time("t", Some(timestamp(at))), Ok(at), "{at}");
        }
        for millis in [i64::MIN, i64::MAX] {
            assert!(parse_time("t", Some(timestamp(At::from_millis(millis)))).is_ok());
        }
        let bad = |seconds, nanos| parse_time("t", Some(Timestamp { seconds, nanos })).is_err();
        assert!(bad(LAST_SECOND + 1, 0) && bad(FIRST_SECOND - 1, 0));
        assert!(bad(0, -1) && bad(0, 1_000_000_000) && bad(i64::MAX, i32::MAX));
        assert_eq!(parse_time("t", None).unwrap_err().to_string(), "t: is missing");
    }

    #[test]
    fn a_request_id_is_printable_or_absent() {
        assert_eq!(parse_request_id(""), Ok(None));
        assert_eq!(parse_request_id("r-1"), Ok(Some("r-1".to_owned())));
        assert!(parse_request_id(&"x".repeat(64)).is_ok());
        for bad in ["a b", " a", "a\n", "é", &"x".repeat(65)] {
            assert_eq!(parse_request_id(bad).unwrap_err().field, "request_id", "{bad:?}");
        }
    }

    #[test]
    fn an_id_of_another_kind_names_the_field() {
        let case = CaseId::derive("x");
        assert_eq!(parse_case("case", case.as_str()), Ok(case));
        assert_eq!(parse_customer("other", case.as_str()).unwrap_err().field, "other");
        assert_eq!(parse_identifier("identifier", "fax:1").unwrap_err().field, "identifier");
    }

    #[test]
    fn a_request_is_normalised_and_a_record_is_not() {
        let asked = |text| parse_identifier("i", text).map(String::from).map_err(|e| e.to_string());
        let stored = |text| parse_stored_identifier("i", text).map(String::from).ok();
        let written = "phone:０９１２－３４５－６７８ 分機 12";
        assert_eq!((asked(written), stored(written)), (Ok("phone:+886912345678".to_owned()), None));
        let mixed = "email:Lin@Example.COM";
        assert_eq!(asked(mixed), Ok("email:lin@example.com".to_owned()));
        assert_eq!(stored(mixed), Some(mixed.to_owned()), "an older ledger holds it");
        let retired = "phone:+88691234560";
        assert_eq!(stored(retired), Some(retired.to_owned()), "valid once");
        assert!(asked(retired).unwrap_err().starts_with("i: is no phone number"));
        assert!(asked("phone:0800000123").unwrap_err().contains("of a service"));
        for bad in ["", "member:", "member:a\nb", &format!("member:{}", "x".repeat(250))] {
            let error = asked(bad).unwrap_err();
            assert!(error.starts_with("i: ") && !error.contains("xx"), "{error}");
        }
    }
}
