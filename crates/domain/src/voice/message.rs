use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::card::Part;
use crate::configuration::Sender;

/// One message object of LINE's Messaging API, as compact JSON: what a person is shown.
///
/// Two are equal when their bytes are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Message(Box<RawValue>);

/// A card, which is one bubble of a flex message.
#[derive(Serialize)]
#[serde(tag = "type", rename = "bubble")]
pub(super) struct Bubble<'a> {
    pub(super) size: &'static str,
    /// A box.
    pub(super) body: Part<'a>,
}

/// A sender as LINE takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Name<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon_url: Option<&'a str>,
}

impl<'a> Name<'a> {
    fn of(sender: &'a Sender) -> Self {
        Self { name: &sender.name, icon_url: sender.icon.as_deref() }
    }
}

/// Why a text is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is not JSON at all.
    #[error("is no JSON: {0}")]
    NoJson(String),
    /// It is JSON of another kind.
    #[error("must be a JSON object, with the fields of a LINE message")]
    NoObject,
}

impl Message {
    /// A text in somebody's own words; nothing in it stands for anything else.
    ///
    /// LINE takes 1 to 5,000 UTF-16 units; whoever calls this has looked at that.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::said(text, None)
    }

    /// A text under the name of somebody.
    pub(super) fn said(text: &str, sender: Option<&Sender>) -> Self {
        #[derive(Serialize)]
        #[expect(clippy::struct_field_names, reason = "LINE's names")]
        struct Text<'a> {
            r#type: &'static str,
            text: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            sender: Option<Name<'a>>,
        }
        Self::of(&Text { r#type: "text", text, sender: sender.map(Name::of) })
    }

    /// A flex message of one card.
    pub(super) fn card(alt_text: &str, contents: Bubble<'_>, sender: Option<&Sender>) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Flex<'a> {
            r#type: &'static str,
            alt_text: &'a str,
            contents: Bubble<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            sender: Option<Name<'a>>,
        }
        Self::of(&Flex { r#type: "flex", alt_text, contents, sender: sender.map(Name::of) })
    }

    /// The message that these fields are, in the order in which they are written.
    fn of(fields: &impl Serialize) -> Self {
        let json = serde_json::value::to_raw_value(fields);
        Self(json.expect("fields with names that are texts are valid JSON"))
    }

    /// Its JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Its JSON, to be put into a body as it is.
    #[must_use]
    pub fn as_raw(&self) -> &RawValue {
        &self.0
    }
}

/// Takes any JSON object, with the very bytes it has: records outlive what LINE takes.
impl TryFrom<String> for Message {
    type Error = MessageError;

    fn try_from(json: String) -> Result<Self, MessageError> {
        let raw =
            RawValue::from_string(json).map_err(|error| MessageError::NoJson(error.to_string()))?;
        if raw.get().starts_with('{') { Ok(Self(raw)) } else { Err(MessageError::NoObject) }
    }
}

impl FromStr for Message {
    type Err = MessageError;

    fn from_str(json: &str) -> Result<Self, MessageError> {
        json.to_owned().try_into()
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        Box::<str>::from(message.0).into()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Message {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_said_as_it_is() {
        assert_eq!(
            Message::text("a \"{link}\"\n𝄞").as_str(),
            r#"{"type":"text","text":"a \"{link}\"\n𝄞"}"#
        );
    }

    #[test]
    fn what_was_frozen_reads_back_with_its_bytes() {
        for json in [
            r#"{"type":"text","text":"好"}"#,
            r#"{ "type": "hologram", "depth": 1.50, "type": "again" }"#,
            "{}",
        ] {
            let message: Message = json.parse().unwrap();
            assert_eq!(message.as_str(), json);
            let stored = serde_json::to_string(&message).unwrap();
            assert_eq!(serde_json::from_str::<Message>(&stored).unwrap(), message);
        }
        let no_json: Result<Message, _> = "{".parse();
        assert!(matches!(no_json, Err(MessageError::NoJson(_))), "{no_json:?}");
        for json in ["null", "[]", r#""{}""#, "1"] {
            assert_eq!(json.parse::<Message>(), Err(MessageError::NoObject), "{json}");
        }
    }
}
