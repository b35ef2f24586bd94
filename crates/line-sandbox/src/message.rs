//! What LINE takes as a message.
//!
//! LINE's OpenAPI file tells message types apart by `type` only, so a generated client sends an
//! image without its addresses and learns of it from LINE. Each type is checked for its fields here.

use serde_json::Value;

const MOST_MESSAGES: usize = 5;
const MOST_TEXT_UNITS: usize = 5_000;
const MOST_ALT_TEXT_UNITS: usize = 1_500;
const MOST_SENDER_NAME: usize = 20;
const MOST_QUICK_REPLIES: usize = 13;

/// A field that LINE refuses, in the form of its `details`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) property: String,
    pub(crate) message: &'static str,
}

/// The messages of a call as a person sees them, one text for each.
///
/// # Errors
/// The first field that LINE would refuse.
pub(crate) fn read(body: &Value) -> Result<Vec<String>, Wrong> {
    let messages = body.get("messages").and_then(Value::as_array);
    let Some(messages) = messages.filter(|all| (1..=MOST_MESSAGES).contains(&all.len())) else {
        let message = "Size must be between 1 and 5";
        return Err(Wrong { property: "messages".to_owned(), message });
    };
    let numbered = messages.iter().enumerate();
    numbered.map(|(index, message)| Checked { index, message }.shown()).collect()
}

struct Checked<'a> {
    index: usize,
    message: &'a Value,
}

impl Checked<'_> {
    fn wrong(&self, field: &str, message: &'static str) -> Wrong {
        Wrong { property: format!("messages[{}].{field}", self.index), message }
    }

    fn text(&self, field: &str) -> Result<&str, Wrong> {
        let pointer = format!("/{}", field.replace('.', "/"));
        let text = self.message.pointer(&pointer).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).ok_or_else(|| self.wrong(field, "May not be empty"))
    }

    fn short(&self, field: &str, most: usize, message: &'static str) -> Result<&str, Wrong> {
        let text = self.text(field)?;
        if text.encode_utf16().count() > most {
            return Err(self.wrong(field, message));
        }
        Ok(text)
    }

    fn address(&self, field: &str) -> Result<&str, Wrong> {
        let address = self.text(field)?;
        if !address.starts_with("https://") {
            return Err(self.wrong(field, "Must be a valid HTTPS URL"));
        }
        Ok(address)
    }

    fn number(&self, field: &str) -> Result<f64, Wrong> {
        let number = self.message.get(field).and_then(Value::as_f64);
        number.ok_or_else(|| self.wrong(field, "Must be a number"))
    }

    fn object(&self, field: &str) -> Result<(), Wrong> {
        let is_there = self.message.get(field).is_some_and(Value::is_object);
        is_there.then_some(()).ok_or_else(|| self.wrong(field, "May not be null"))
    }

    /// Checks all of it, and says what the person sees.
    fn shown(&self) -> Result<String, Wrong> {
        self.sender()?;
        self.quick_reply()?;
        match self.message.get("type").and_then(Value::as_str).unwrap_or_default() {
            "text" | "textV2" => Ok(self
                .short("text", MOST_TEXT_UNITS, "Length must be between 0 and 5000")?
                .to_owned()),
            "sticker" => {
                Ok(format!("[sticker {}/{}]", self.text("packageId")?, self.text("stickerId")?))
            }
            kind @ ("image" | "video") => {
                self.address("previewImageUrl")?;
                Ok(format!("[{kind} {}]", self.address("originalContentUrl")?))
            }
            "audio" => {
                self.number("duration")?;
                Ok(format!("[audio {}]", self.address("originalContentUrl")?))
            }
            "location" => {
                self.number("latitude")?;
                self.number("longitude")?;
                Ok(format!("[location {}, {}]", self.text("title")?, self.text("address")?))
            }
            "imagemap" => {
                self.address("baseUrl")?;
                self.object("baseSize")?;
                if !self.message.get("actions").is_some_and(Value::is_array) {
                    return Err(self.wrong("actions", "May not be null"));
                }
                Ok(format!("[imagemap {}]", self.alt_text()?))
            }
            "template" => {
                self.object("template")?;
                Ok(format!("[buttons {}]", self.alt_text()?))
            }
            "flex" => {
                self.object("contents")?;
                Ok(format!("[card {}]", self.alt_text()?))
            }
            "coupon" => Ok(format!("[coupon {}]", self.text("couponId")?)),
            _ => Err(self.wrong("type", "Must be one of the message types")),
        }
    }

    fn alt_text(&self) -> Result<&str, Wrong> {
        self.short("altText", MOST_ALT_TEXT_UNITS, "Length must be between 1 and 1500")
    }

    fn sender(&self) -> Result<(), Wrong> {
        let Some(sender) = self.message.get("sender") else { return Ok(()) };
        if let Some(name) = sender.get("name") {
            let name = name.as_str().unwrap_or_default();
            if !(1..=MOST_SENDER_NAME).contains(&name.chars().count()) {
                return Err(self.wrong("sender.name", "Length must be between 1 and 20"));
            }
            if name.to_lowercase().contains("line") {
                return Err(self.wrong("sender.name", "Must not contain a reserved word"));
            }
        }
        sender.get("iconUrl").map_or(Ok(()), |_| self.address("sender.iconUrl").map(|_| ()))
    }

    fn quick_reply(&self) -> Result<(), Wrong> {
        let Some(quick) = self.message.get("quickReply") else { return Ok(()) };
        let items = quick.get("items").and_then(Value::as_array).map_or(0, Vec::len);
        if (1..=MOST_QUICK_REPLIES).contains(&items) {
            return Ok(());
        }
        Err(self.wrong("quickReply.items", "Size must be between 1 and 13"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(message: &Value) -> Result<Vec<String>, Wrong> {
        read(&json!({"messages": [message]}))
    }

    const PICTURE: &str = "https://example.com/a.png";

    #[test]
    fn every_type_with_its_fields_is_taken() {
        for (message, shown) in [
            (json!({"type": "text", "text": "hi"}), "hi"),
            (json!({"type": "textV2", "text": "hi {x}"}), "hi {x}"),
            (
                json!({"type": "sticker", "packageId": "446", "stickerId": "1988"}),
                "[sticker 446/1988]",
            ),
            (
                json!({"type": "image", "originalContentUrl": PICTURE, "previewImageUrl": PICTURE}),
                "[image https://example.com/a.png]",
            ),
            (
                json!({"type": "audio", "originalContentUrl": PICTURE, "duration": 1}),
                "[audio https://example.com/a.png]",
            ),
            (
                json!({"type": "location", "title": "t", "address": "a", "latitude": 1.5, "longitude": 2}),
                "[location t, a]",
            ),
            (
                json!({"type": "imagemap", "baseUrl": PICTURE, "altText": "a", "baseSize": {}, "actions": []}),
                "[imagemap a]",
            ),
            (json!({"type": "template", "altText": "a", "template": {}}), "[buttons a]"),
            (json!({"type": "flex", "altText": "a", "contents": {}}), "[card a]"),
            (json!({"type": "coupon", "couponId": "c"}), "[coupon c]"),
        ] {
            assert_eq!(one(&message.clone()), Ok(vec![shown.to_owned()]), "{message}");
            // Each field that stands there is needed.
            for field in message.as_object().unwrap().keys() {
                let mut without = message.clone();
                without.as_object_mut().unwrap().remove(field);
                let wrong = one(&without).unwrap_err();
                assert_eq!(wrong.property, format!("messages[0].{field}"), "{message}");
            }
        }
    }

    #[test]
    fn what_is_too_long_or_not_allowed_is_refused_by_its_name() {
        let text =
            |more: Value| json!({"type": "text", "text": "hi", "sender": more["sender"].clone()});
        for (message, property) in [
            (json!({"type": "text", "text": "𝄞".repeat(2_501)}), "text"),
            (json!({"type": "flex", "altText": "x".repeat(1_501), "contents": {}}), "altText"),
            (
                json!({"type": "image", "originalContentUrl": "http://x", "previewImageUrl": PICTURE}),
                "originalContentUrl",
            ),
            (
                json!({"type": "text", "text": "hi", "quickReply": {"items": vec![0; 14]}}),
                "quickReply.items",
            ),
            (text(json!({"sender": {"name": "曜侖 on LINE"}})), "sender.name"),
            (text(json!({"sender": {"name": "x".repeat(21)}})), "sender.name"),
            (text(json!({"sender": {"name": "曜侖", "iconUrl": "x"}})), "sender.iconUrl"),
            (json!({"type": "hologram"}), "type"),
        ] {
            let wrong = one(&message).unwrap_err();
            assert_eq!(wrong.property, format!("messages[0].{property}"));
        }
        assert!(
            one(&json!({"type": "text", "text": "hi", "sender": {"name": "x".repeat(20)}})).is_ok()
        );
    }

    #[test]
    fn one_to_five() {
        let messages =
            |count| json!({"messages": vec![json!({"type": "text", "text": "x"}); count]});
        assert_eq!(read(&messages(5)).unwrap().len(), 5);
        for body in [messages(0), messages(6), json!({}), json!({"messages": "x"})] {
            assert_eq!(read(&body).unwrap_err().property, "messages");
        }
    }
}
