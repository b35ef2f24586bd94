//! CloudEvents 1.0 over HTTP: binary, structured and batch.
//!
//! In the binary mode the attributes are headers, which no signature covers; what is signed is the
//! data, with the identifiers in it.
//!
//! Of the data these are read, each if it is there; all of it is kept:
//!
//! ```json
//! { "identifiers": ["member:M-1024", "phone:(02)2345-6789 #12"],
//!   "brand": "aurelune", "store": "taipei-01",
//!   "attributes": { "city": "Taipei", "birth-date": "1990-01-31" },
//!   "consents": [{ "means": "email", "purpose": "marketing", "answer": "refused" }] }
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use mainstem_domain::At;
use mainstem_domain::person::Answer;
use mainstem_proto::FieldError;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{About, Read, Told, check_consents, header, told};

const STRUCTURED: &str = "application/cloudevents";
const BATCH: &str = "application/cloudevents-batch";

/// What the name of an attribute's header starts with.
const PREFIX: &str = "ce-";

/// Whether the headers say that the body is a CloudEvent, or several.
pub(super) fn is_one(headers: &HeaderMap) -> bool {
    media_type(headers).starts_with(STRUCTURED) || headers.contains_key("ce-specversion")
}

/// Reads a body in the mode that its headers tell.
pub(super) fn read<'a>(headers: &HeaderMap, body: &'a [u8]) -> Read<'a> {
    let media = media_type(headers);
    if media.starts_with(BATCH) {
        return match serde_json::from_slice::<Vec<&RawValue>>(body) {
            Ok(events) => {
                events.into_iter().map(|raw| (raw.get().as_bytes(), structured(raw))).collect()
            }
            Err(error) => vec![(body, Err(told::no_json("a batch of CloudEvents", &error)))],
        };
    }
    let one = if media.starts_with(STRUCTURED) {
        serde_json::from_slice::<&RawValue>(body)
            .map_err(|error| told::no_json("a CloudEvent", &error))
            .and_then(structured)
    } else {
        binary(headers, media, body)
    };
    vec![(body, one)]
}

/// The media type without its parameters.
fn media_type(headers: &HeaderMap) -> &str {
    let value = header(headers, "content-type").unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

fn structured(raw: &RawValue) -> Result<Told<'_>, String> {
    let value: Value = serde_json::from_str(raw.get()).map_err(|_| told::UNREADABLE.to_owned())?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    read_one(text, value.get("data"), Cow::Borrowed(raw))
}

fn binary<'a>(headers: &HeaderMap, media: &str, body: &'a [u8]) -> Result<Told<'a>, String> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(PREFIX) else { continue };
        let value = value.to_str().ok().and_then(decoded);
        let value = value.ok_or("a ce- header is no percent-encoded text")?;
        attributes.insert(name, value);
    }
    if attributes.is_empty() {
        return Err("neither a CloudEvent nor, without a mapping, anything else".to_owned());
    }
    let json = media.is_empty() || media.ends_with("/json") || media.ends_with("+json");
    let text = |name: &str| attributes.get(name).map(String::as_str);
    if body.is_empty() || !json {
        let data_base64 = (!body.is_empty()).then(|| STANDARD.encode(body));
        let whole = Whole { attributes: &attributes, data: None, data_base64 };
        return read_one(text, None, Cow::Owned(told::raw(&whole)?));
    }
    let data: &RawValue = serde_json::from_slice(body)
        .map_err(|error| told::no_json("the data of a CloudEvent", &error))?;
    let value: Value = serde_json::from_str(data.get()).map_err(|_| told::UNREADABLE.to_owned())?;
    let whole = Whole { attributes: &attributes, data: Some(data), data_base64: None };
    read_one(text, Some(&value), Cow::Owned(told::raw(&whole)?))
}

/// A binary event as a structured one, its data byte for byte.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    attributes: &'a BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

fn read_one<'v, 'a>(
    text: impl Fn(&str) -> Option<&'v str>,
    data: Option<&Value>,
    raw: Cow<'a, RawValue>,
) -> Result<Told<'a>, String> {
    if text("specversion") != Some("1.0") {
        return Err("specversion is not 1.0".to_owned());
    }
    let in_data = |name: &str| {
        data.and_then(|data| data.get(name)).and_then(Value::as_str).map(str::to_owned)
    };
    Ok(Told {
        source: told::attribute("source", text("source"))?,
        id: Some(told::attribute("id", text("id"))?),
        kind: told::attribute("type", text("type"))?,
        about: about(data).map_err(|error| error.within("data").to_string())?,
        brand: in_data("brand"),
        store: in_data("store"),
        occurred_at: match text("time") {
            Some(time) => Some(
                At::parse(time).ok_or("time is no RFC 3339 moment, e.g. 2026-11-21T09:00:00Z")?,
            ),
            None => None,
        },
        raw,
    })
}

/// What the data says about the person: `identifiers`, `attributes` and `consents`.
fn about(data: Option<&Value>) -> Result<About, FieldError> {
    let mut about = About::default();
    let Some(data) = data else { return Ok(about) };
    let identifiers = data.get("identifiers").and_then(Value::as_array);
    for (index, identifier) in identifiers.into_iter().flatten().enumerate() {
        if let Some(text) = identifier.as_str() {
            about.identifier(|| format!("identifiers[{index}]"), text)?;
        }
    }
    match data.get("attributes") {
        None | Some(Value::Null) => {}
        Some(Value::Object(attributes)) => {
            for (name, value) in attributes {
                let value = match value {
                    Value::Null => continue,
                    Value::String(text) => Cow::Borrowed(text.as_str()),
                    Value::Number(number) => Cow::Owned(number.to_string()),
                    Value::Bool(truth) => Cow::Owned(truth.to_string()),
                    Value::Array(_) | Value::Object(_) => {
                        return Err(FieldError::new("attributes", "has a value that is no text"));
                    }
                };
                about.attribute("attributes", name, &value)?;
            }
        }
        Some(_) => return Err(FieldError::new("attributes", "must be an object, name to text")),
    }
    match data.get("consents") {
        None | Some(Value::Null) => {}
        Some(Value::Array(consents)) => {
            check_consents("consents", consents.len())?;
            for (index, consent) in consents.iter().enumerate() {
                let text = |name: &str| consent.get(name).and_then(Value::as_str).unwrap_or("");
                let answer = match text("answer") {
                    "granted" => Some(Answer::Granted),
                    "refused" => Some(Answer::Refused),
                    _ => None,
                };
                let what = (text("means"), text("purpose"));
                about.consent(&format!("consents[{index}]"), what, answer)?;
            }
        }
        Some(_) => {
            let rule = "must be an array of {means, purpose, answer}";
            return Err(FieldError::new("consents", rule));
        }
    }
    Ok(about)
}

/// Undoes the percent-encoding of an attribute's header.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_percent_decoded() {
        assert_eq!(decoded("plain"), Some("plain".to_owned()));
        assert_eq!(decoded("%E5%8F%B0%20x"), Some("台 x".to_owned()));
        for bad in ["%", "%1", "%zz", "%ff", "%é"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }
}
