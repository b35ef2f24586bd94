//! How a shop's own webhooks are read: JSON pointers, and a table of its event types.
//!
//! ```yaml
//! signature: { header: x-shop-hmac-sha256, encoding: base64 }  # without it: Standard Webhooks
//! source: my-shop                 # together with the id it tells the event from all others
//! id: [/topic, /order/id]         # its parts; one missing: the same content is the same event
//! time: [/updated_at]             # the first that is a moment; none: when it was taken
//! type:
//!   at: /topic
//!   is: { order/new: order-placed }   # any other is stored and decides nothing
//! identifiers:                    # those that are there
//!   - { kind: member, at: /customer/number }
//!   - { kind: phone, at: /customer/phone, types: [order/new] }
//! attributes:                     # those that are there; of two with one name the first counts
//!   - { name: city, at: /customer/city, types: [order/new] }
//! consents:                       # where either is told; any other value says nothing
//!   - { means: email, purpose: marketing, at: /customer/newsletter, granted: ["true"], refused: ["false"] }
//! brand: /brand
//! store: /store
//! ```

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::identifier::Owned;
use mainstem_domain::person::{Answer, Business};
use mainstem_domain::{At, AttributeName, Means, Purpose};
use mainstem_proto::FieldError;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::about::{ATTRIBUTES_AT_MOST, CONSENTS_AT_MOST};
use super::signature::ShopSignature;
use super::{About, Read, Told, told};

/// A mapping file. Reads any JSON: what is not there is left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// How the shop signs, if not by Standard Webhooks.
    pub(super) signature: Option<ShopSignature>,
    source: String,
    #[serde(default)]
    id: Vec<Pointer>,
    #[serde(default)]
    time: Vec<Pointer>,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    identifiers: Vec<Place>,
    #[serde(default)]
    attributes: Vec<AttributePlace>,
    #[serde(default)]
    consents: Vec<ConsentPlace>,
    brand: Option<Pointer>,
    store: Option<Pointer>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    at: Pointer,
    is: BTreeMap<String, String>,
}

/// Where an identifier stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    kind: String,
    at: Pointer,
    /// Only in events of these types; in all of them without.
    types: Option<Vec<String>>,
}

/// Where an attribute stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttributePlace {
    name: AttributeName,
    at: Pointer,
    /// Only in events of these types; in all of them without.
    types: Option<Vec<String>>,
}

/// Where a consent stands, and which texts there mean what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentPlace {
    means: Means,
    purpose: Purpose,
    at: Pointer,
    #[serde(default)]
    granted: Vec<String>,
    #[serde(default)]
    refused: Vec<String>,
    /// Only in events of these types; in all of them without.
    types: Option<Vec<String>>,
}

impl ConsentPlace {
    fn answer(&self, event: &Value) -> Option<Answer> {
        let text = self.at.text(event)?;
        if self.refused.contains(&text) {
            Some(Answer::Refused)
        } else {
            self.granted.contains(&text).then_some(Answer::Granted)
        }
    }
}

/// A JSON pointer (RFC 6901).
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Pointer(String);

impl TryFrom<String> for Pointer {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if text.starts_with('/') && escapes {
            Ok(Self(text))
        } else {
            Err("must be a JSON pointer, e.g. /order/customer/email")
        }
    }
}

impl Pointer {
    /// The text there; numbers and truth values count as text, an empty text as missing.
    fn text(&self, event: &Value) -> Option<String> {
        match event.pointer(&self.0)? {
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// Why a mapping file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Not YAML, or not the keys that a mapping has.
    #[error("{0}")]
    Format(String),
    /// A key is there and cannot be right.
    #[error("{key} {rule}")]
    Key {
        /// The key, e.g. `identifiers[1].kind`.
        key: String,
        /// What it must be.
        rule: String,
    },
}

impl Mapping {
    /// Reads a mapping file and checks all of it.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let mapping: Self = serde_yaml_ng::from_str(text)
            .map_err(|error| MappingError::Format(error.to_string()))?;
        mapping.check()?;
        Ok(mapping)
    }

    fn check(&self) -> Result<(), MappingError> {
        let refuse = |key: String, rule: String| Err(MappingError::Key { key, rule });
        if !(1..=64).contains(&self.source.len()) {
            return refuse("source".to_owned(), "must be 1 to 64 bytes".to_owned());
        }
        if self.kind.is.is_empty() {
            let rule = "is empty; write which of the shop's types is which of ours";
            return refuse("type.is".to_owned(), rule.to_owned());
        }
        for (theirs, ours) in &self.kind.is {
            if Business::from_name(ours).is_none() {
                let known: Vec<_> = Business::ALL.iter().map(|kind| kind.name()).collect();
                let rule = format!("is none of {}", known.join(", "));
                return refuse(format!("type.is.{theirs}"), rule);
            }
        }
        for (index, place) in self.identifiers.iter().enumerate() {
            let kind = Owned::try_from(place.kind.clone());
            if !kind.is_ok_and(|kind| !matches!(kind, Owned::Attribute(_))) {
                let rule = "must be member, phone, email, cookie or external:<system>";
                return refuse(format!("identifiers[{index}].kind"), rule.to_owned());
            }
            self.check_types("identifiers", index, place.types.as_ref())?;
        }
        let names: BTreeSet<_> = self.attributes.iter().map(|place| &place.name).collect();
        if names.len() > ATTRIBUTES_AT_MOST {
            let rule = format!("have more than {ATTRIBUTES_AT_MOST} names");
            return refuse("attributes".to_owned(), rule);
        }
        for (index, place) in self.attributes.iter().enumerate() {
            self.check_types("attributes", index, place.types.as_ref())?;
        }
        let asked: BTreeSet<_> =
            self.consents.iter().map(|place| (&place.means, &place.purpose)).collect();
        if asked.len() > CONSENTS_AT_MOST {
            let rule = format!("have more than {CONSENTS_AT_MOST} of means and purpose");
            return refuse("consents".to_owned(), rule);
        }
        for (index, place) in self.consents.iter().enumerate() {
            if place.granted.is_empty() && place.refused.is_empty() {
                let rule = "and refused are both empty; write which texts mean yes, and which no";
                return refuse(format!("consents[{index}].granted"), rule.to_owned());
            }
            if place.granted.iter().any(|text| place.refused.contains(text)) {
                let rule = "has a text that stands in granted too";
                return refuse(format!("consents[{index}].refused"), rule.to_owned());
            }
            self.check_types("consents", index, place.types.as_ref())?;
        }
        Ok(())
    }

    fn check_types(
        &self,
        list: &str,
        index: usize,
        types: Option<&Vec<String>>,
    ) -> Result<(), MappingError> {
        let strange = types.into_iter().flatten().find(|kind| !self.kind.is.contains_key(*kind));
        match strange {
            None => Ok(()),
            Some(strange) => Err(MappingError::Key {
                key: format!("{list}[{index}].types"),
                rule: format!("names {strange}, which is not in type.is"),
            }),
        }
    }

    /// Reads a body: one event, or an array of them.
    pub(super) fn read<'a>(&self, body: &'a [u8]) -> Read<'a> {
        let many = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let events = if many {
            serde_json::from_slice::<Vec<&RawValue>>(body)
        } else {
            serde_json::from_slice::<&RawValue>(body).map(|raw| vec![raw])
        };
        match events {
            Ok(events) => {
                events.into_iter().map(|raw| (raw.get().as_bytes(), self.read_one(raw))).collect()
            }
            Err(error) => vec![(body, Err(told::no_json("an event", &error)))],
        }
    }

    fn read_one<'a>(&self, raw: &'a RawValue) -> Result<Told<'a>, String> {
        let event: Value =
            serde_json::from_str(raw.get()).map_err(|_| told::UNREADABLE.to_owned())?;
        let theirs = told::attribute("the type", self.kind.at.text(&event).as_deref())?;
        let ours = self.kind.is.get(&theirs).unwrap_or(&theirs).clone();
        let parts: Option<Vec<_>> = self.id.iter().map(|part| part.text(&event)).collect();
        let about = self.about(&event, &theirs).map_err(|error| error.to_string())?;
        Ok(Told {
            source: self.source.clone(),
            // Parts may hold a '/', so they are written as a JSON array.
            id: parts.filter(|parts| !parts.is_empty()).map(|parts| Value::from(parts).to_string()),
            kind: ours,
            about,
            brand: self.brand.as_ref().and_then(|pointer| pointer.text(&event)),
            store: self.store.as_ref().and_then(|pointer| pointer.text(&event)),
            occurred_at: self
                .time
                .iter()
                .filter_map(|pointer| pointer.text(&event))
                .find_map(|text| moment(&text)),
            raw: Cow::Borrowed(raw),
        })
    }

    /// Errors name the pointer: the shop knows nothing of what we make of it.
    fn about(&self, event: &Value, theirs: &String) -> Result<About, FieldError> {
        let applies =
            |types: &Option<Vec<String>>| types.as_ref().is_none_or(|types| types.contains(theirs));
        let mut about = About::default();
        for place in self.identifiers.iter().filter(|place| applies(&place.types)) {
            if let Some(text) = place.at.text(event) {
                about.identifier(|| place.at.0.clone(), &format!("{}:{text}", place.kind))?;
            }
        }
        for place in self.attributes.iter().filter(|place| applies(&place.types)) {
            if let Some(text) = place.at.text(event) {
                about.named_attribute(|| place.at.0.clone(), &place.name, &text)?;
            }
        }
        for place in self.consents.iter().filter(|place| applies(&place.types)) {
            if let Some(answer) = place.answer(event) {
                about.answered(place.means.clone(), place.purpose.clone(), answer);
            }
        }
        Ok(about)
    }
}

/// RFC 3339, or seconds or milliseconds since 1970: what shops write.
fn moment(text: &str) -> Option<At> {
    /// Seconds of the year 2286; anything larger is milliseconds.
    const SECONDS_AT_MOST: i64 = 10_000_000_000;
    match text.parse::<i64>() {
        Ok(number) if number < SECONDS_AT_MOST => number.checked_mul(1_000).map(At::from_millis),
        Ok(number) => Some(At::from_millis(number)),
        Err(_) => At::parse(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "source: my-shop\nid: [/id]\ntime: [/at]\n\
        type: { at: /topic, is: { order/new: order-placed } }\n\
        identifiers: [{ kind: member, at: /m }, { kind: phone, at: /p, types: [order/new] }]\n\
        attributes: [{ name: city, at: /c }, { name: city, at: /d, types: [order/new] }]\n\
        consents: [{ means: email, purpose: marketing, at: /n, granted: ['true'], refused: ['false'] }]\n";

    fn error(text: &str) -> String {
        Mapping::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_key() {
        for (from, to, expected) in [
            ("source: my-shop", "source: ''", "source must be 1 to 64 bytes"),
            ("/id", "id", "must be a JSON pointer"),
            ("/id", "/a~2", "must be a JSON pointer"),
            ("kind: member", "kind: fax", "identifiers[0].kind must be member"),
            ("[order/new]", "[order/old]", "identifiers[1].types names order/old"),
            ("order-placed", "order", "type.is.order/new is none of order-placed, "),
            ("{ order/new: order-placed }", "{}", "type.is is empty"),
            ("kind: member", "kind: 'attribute:city'", "identifiers[0].kind must be member"),
            (
                "name: city, at: /c",
                "name: My City, at: /c",
                "attributes[0]: attribute: must be 1 to 64 of a-z",
            ),
            ("at: /d", "at: d", "attributes[1]: must be a JSON pointer"),
            ("/d, types: [order/new]", "/d, types: [x]", "attributes[1].types names x, which"),
            ("means: email", "means: E-mail", "consents[0]: means: must be 1 to 64 of a-z"),
            ("purpose: marketing", "purpose: ''", "consents[0]: purpose: must be 1 to 64 of a-z"),
            ("granted:", "yes:", "consents[0]: unknown field `yes`"),
            ("['true']", "['false']", "consents[0].refused has a text that stands in granted too"),
            (
                "granted: ['true'], refused: ['false']",
                "types: [order/new]",
                "consents[0].granted and refused are both empty",
            ),
            ("refused: ['false']", "types: [x]", "consents[0].types names x, which"),
            ("time:", "times:", "unknown field `times`"),
            ("source: my-shop", "", "missing field `source`"),
            (
                "source: my-shop",
                "source: x\nsignature: { header: 'a b', encoding: hex }",
                "signature: must be the name of an HTTP header at line 2 column",
            ),
            (
                "source: my-shop",
                "source: x\nsignature: { header: a, encoding: md5 }",
                "unknown variant `md5`",
            ),
        ] {
            let error = error(&FILE.replace(from, to));
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_there_is_read_and_what_is_not_left_out() {
        let mapping = Mapping::parse(FILE).unwrap();
        let read = |body: &str| {
            let raw: &RawValue = serde_json::from_str(body).unwrap();
            let told = mapping.read_one(raw)?;
            let Told { id, kind, about, occurred_at, .. } = told;
            let identifiers = about.identifiers.iter().map(|one| one.identifier.to_string());
            let identifiers: Vec<_> = identifiers.collect();
            Ok::<_, String>((id, kind, identifiers, occurred_at.map(At::as_millis)))
        };
        let told = read(r#"{"topic":"order/new","id":7,"m":"M 1 ","p":912345678,"at":1795219200}"#);
        let identifiers = vec!["member:M 1".to_owned(), "phone:+886912345678".to_owned()];
        let expected = (
            Some("[\"7\"]".to_owned()),
            "order-placed".to_owned(),
            identifiers,
            Some(1_795_219_200_000),
        );
        assert_eq!(told, Ok(expected));
        let told = read(r#"{"topic":"else","p":"0912","at":"2026-11-21T17:00:00+08:00"}"#);
        assert_eq!(told, Ok((None, "else".to_owned(), Vec::new(), Some(1_795_251_600_000))));
        for none in ["7", "{}", r#"{"topic":null}"#, r#"{"topic":""}"#] {
            assert!(read(none).unwrap_err().starts_with("the type must be"), "{none}");
        }
    }

    #[test]
    fn what_it_says_of_the_person_is_read() {
        let mapping = Mapping::parse(FILE).unwrap();
        let about = |body: &str| {
            let raw: &RawValue = serde_json::from_str(body).unwrap();
            let about = mapping.read_one(raw)?.about;
            let city = about.attributes.values().next().cloned();
            Ok::<_, String>((city, about.consents.into_values().next()))
        };
        let some = |city: &str| Some(city.to_owned());
        for (body, expected) in [
            (
                r#"{"topic":"x","c":" Tainan ","d":"Taipei","n":true}"#,
                (some("Tainan"), Some(Answer::Granted)),
            ),
            (
                r#"{"topic":"order/new","c":"","d":"Taipei","n":"false"}"#,
                (some("Taipei"), Some(Answer::Refused)),
            ),
            (r#"{"topic":"x","d":"Taipei","n":null}"#, (None, None)),
            (r#"{"topic":"x","c":["Taipei"],"n":"maybe"}"#, (None, None)),
        ] {
            assert_eq!(about(body), Ok(expected), "{body}");
        }
        let long = "private".repeat(50);
        for (body, expected) in [
            (format!(r#"{{"topic":"x","c":"{long}"}}"#), "/c: is longer than 256 characters"),
            (r#"{"topic":"x","c":"private\u0007x"}"#.to_owned(), "/c: has a control character"),
            (format!(r#"{{"topic":"x","m":"{long}"}}"#), "/m: is longer than 256 bytes"),
        ] {
            assert_eq!(about(&body), Err(expected.to_owned()));
        }
    }

    #[test]
    fn a_body_is_one_event_or_several() {
        let mapping = Mapping::parse(FILE).unwrap();
        let read = |body: &str| -> Vec<bool> {
            mapping.read(body.as_bytes()).iter().map(|(_, told)| told.is_ok()).collect()
        };
        assert_eq!(read(r#"{"topic":"x"}"#), [true]);
        assert_eq!(read(r#" [{"topic":"x"},7,{"topic":"y"}]"#), [true, false, true]);
        assert_eq!(read("[]"), Vec::<bool>::new());
        assert_eq!(read("[{"), [false]);
    }
}
