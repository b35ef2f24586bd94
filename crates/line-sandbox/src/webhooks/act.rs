//! What one person does now, told to the account's webhook as LINE tells it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstem_domain::{At, ChannelId, derive_uuid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::post::{is_taken, url};
use crate::Sandbox;
use crate::platform::Content;

/// How often a webhook that was not taken is sent, where the account has redelivery.
const ATTEMPTS: u32 = 6;
/// Waited after a first failure, and doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// What a person does on an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActRequest {
    /// The account.
    pub channel: ChannelId,
    /// The person.
    pub user: String,
    /// What they do.
    pub act: Act,
}

/// Something that a person can do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// Adds the account, or takes a block back.
    Follow,
    /// Blocks the account.
    Block,
    /// Writes.
    Say {
        /// What.
        text: String,
    },
    /// Taps a button or the menu.
    Tap {
        /// The postback's data.
        data: String,
        /// Shown in the chat as the person's words.
        #[serde(default)]
        display_text: Option<String>,
        /// The moment that was picked: `date`, `time` or `datetime`.
        #[serde(default)]
        params: Option<Map<String, Value>>,
    },
    /// Scans a code. A link to a chat with words in it writes them; any other text is written.
    Scan {
        /// What stands in the code.
        text: String,
    },
    /// Sends a sticker.
    Sticker {
        /// Of the package.
        package: String,
        /// In it.
        sticker: String,
    },
    /// Sends a picture, a video, a sound or a file.
    Send {
        /// `image/png`, for example.
        media_type: String,
        /// In base 64.
        data: String,
        /// Of a file.
        #[serde(default)]
        name: Option<String>,
    },
    /// Tells where they are.
    Location {
        /// Latitude.
        latitude: f64,
        /// Longitude.
        longitude: f64,
        /// In words.
        address: String,
    },
    /// Takes a message back.
    Unsend {
        /// LINE's id of it.
        message: String,
    },
    /// Writes a message anew.
    Edit {
        /// LINE's id of it.
        message: String,
        /// What it says now.
        text: String,
    },
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// How the webhook was answered at last; 0: not at all; none: the account has no webhook.
    pub status: Option<u16>,
    /// LINE's id of the event.
    pub event: String,
    /// LINE's id of the message, if there is one.
    pub message: Option<String>,
}

/// Why a person cannot do that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActError {
    /// The channels file lacks the channel.
    UnknownChannel,
    /// The request makes no sense; says why.
    Invalid(&'static str),
}

impl Sandbox {
    /// Lets a person do something; tells the account's webhook, and waits until it is taken or given
    /// up.
    ///
    /// # Errors
    /// The channel is unknown, or the act makes no sense.
    pub async fn act(&self, request: ActRequest) -> Result<Acted, ActError> {
        let ActRequest { channel: id, user, act } = request;
        if user.is_empty() {
            return Err(ActError::Invalid("user: must not be empty"));
        }
        let channel = self.channels.get(&id).ok_or(ActError::UnknownChannel)?;
        let at = self.now();
        let (what, message) = self.event(&id, &user, act, at)?;
        let number = self.next_act();
        let event = event_id(number, at);
        let token = derive_uuid(&format!("line-sandbox reply token {number} {at}"));
        let gives_token = !matches!(what["type"].as_str(), Some("unfollow" | "unsend"));
        let body = |what: &Value, is_redelivery| {
            let mut json = json!({
                "type": what["type"], "mode": "active", "timestamp": at.as_millis(),
                "source": {"type": "user", "userId": user}, "webhookEventId": event,
                "deliveryContext": {"isRedelivery": is_redelivery},
            });
            if gives_token {
                json["replyToken"] = token.simple().to_string().into();
            }
            if let (Some(json), Some(what)) = (json.as_object_mut(), what.as_object()) {
                json.extend(what.clone());
            }
            json!({"destination": channel.destination, "events": [json]}).to_string()
        };
        self.witness(&id, &body(&what, false));
        let Some((address, redelivery)) = self.webhook_of(&id) else {
            return Ok(Acted { status: None, event, message });
        };
        let told = told(what);
        let mut status = self.post(&address, &id, channel, body(&told, false)).await;
        for attempt in 1..ATTEMPTS {
            if is_taken(status) || !redelivery {
                break;
            }
            tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt - 1)).await;
            status = self.post(&address, &id, channel, body(&told, true)).await;
        }
        Ok(Acted { status: Some(status), event, message })
    }

    /// The console's check: a webhook without events. How it was answered; `None`: there is nowhere to
    /// send it.
    pub async fn verify_webhook(&self, id: &ChannelId) -> Option<u16> {
        let channel = self.channels.get(id)?;
        let (address, _) = self.webhook_of(id)?;
        let body = json!({"destination": channel.destination, "events": []}).to_string();
        Some(self.post(&address, id, channel, body).await)
    }

    /// Tells an account what became of joining a person with an account of ours.
    pub async fn link(&self, link_token: &str, nonce: &str) -> Result<Acted, ActError> {
        // LINE asks for a nonce that is hard to guess.
        if !(10..=255).contains(&nonce.len()) {
            return Err(ActError::Invalid("nonce: must be 10 to 255 characters"));
        }
        let redeemed = self.platform().redeem_link(link_token, self.now());
        let (id, user) =
            redeemed.ok_or(ActError::Invalid("linkToken: is unknown, used or expired"))?;
        let channel = self.channels.get(&id).ok_or(ActError::UnknownChannel)?;
        let (at, number) = (self.now(), self.next_act());
        let event = event_id(number, at);
        let token = derive_uuid(&format!("line-sandbox reply token {number} {at}"));
        let body = json!({"destination": channel.destination, "events": [{
            "type": "accountLink", "mode": "active", "timestamp": at.as_millis(),
            "source": {"type": "user", "userId": user}, "webhookEventId": event,
            "deliveryContext": {"isRedelivery": false}, "replyToken": token.simple().to_string(),
            "link": {"result": "ok", "nonce": nonce},
        }]});
        let body = body.to_string();
        self.witness(&id, &body);
        let status = match self.webhook_of(&id) {
            Some((address, _)) => Some(self.post(&address, &id, channel, body).await),
            None => None,
        };
        Ok(Acted { status, event, message: None })
    }

    /// Where an account's webhooks go, and whether they go again.
    fn webhook_of(&self, id: &ChannelId) -> Option<(String, bool)> {
        let platform = self.platform();
        let settings = platform.settings(id)?;
        let redelivery = settings.redelivery;
        let own = settings.webhook.clone();
        drop(platform);
        let address = own.or_else(|| self.webhook_base().map(|base| url(&base, id)))?;
        Some((address, redelivery))
    }

    /// The event's own fields, and the id of its message.
    fn event(
        &self,
        channel: &ChannelId,
        user: &str,
        act: Act,
        at: At,
    ) -> Result<(Value, Option<String>), ActError> {
        let message = |mut fields: Value| {
            let id = self.platform().next_message_id();
            fields["id"] = id.clone().into();
            (json!({"type": "message", "message": fields}), Some(id))
        };
        let say = |text: String| {
            if text.trim().is_empty() {
                return Err(ActError::Invalid("text: must not be empty"));
            }
            Ok(message(json!({"type": "text", "text": text})))
        };
        match act {
            Act::Follow => {
                let platform = self.platform();
                let known = platform.people().friendship(channel, user).is_some();
                Ok((json!({"type": "follow", "follow": {"isUnblocked": known}}), None))
            }
            Act::Block => Ok((json!({"type": "unfollow"}), None)),
            Act::Say { text } => say(text),
            Act::Scan { text } => say(written(&text)),
            Act::Tap { data, display_text, params } => {
                let mut event = json!({"type": "postback", "postback": {"data": data}});
                if let Some(text) = display_text {
                    event["postback"]["displayText"] = text.into();
                }
                if let Some(params) = params {
                    event["postback"]["params"] = params.into();
                }
                Ok((event, None))
            }
            Act::Sticker { package, sticker } => Ok(message(json!({"type": "sticker",
                "packageId": package, "stickerId": sticker, "stickerResourceType": "STATIC"}))),
            Act::Location { latitude, longitude, address } => Ok(message(json!({
                "type": "location", "latitude": latitude, "longitude": longitude,
                "address": address}))),
            Act::Send { media_type, data, name } => {
                let bytes = STANDARD.decode(data);
                let bytes = bytes.map_err(|_| ActError::Invalid("data: must be base 64"))?;
                let size = bytes.len();
                let kind = media_type.split('/').next().unwrap_or_default();
                let (event, id) = message(match kind {
                    "image" => json!({"type": "image", "contentProvider": {"type": "line"}}),
                    "video" | "audio" => json!({"type": kind, "duration": 1_000,
                        "contentProvider": {"type": "line"}}),
                    _ => json!({"type": "file", "fileName": name.unwrap_or("file".to_owned()),
                        "fileSize": size}),
                });
                if let Some(id) = &id {
                    let content = Content { media_type, bytes: bytes.into() };
                    self.platform().hold(channel, id, content, at);
                }
                Ok((event, id))
            }
            Act::Unsend { message } => {
                Ok((json!({"type": "unsend", "unsend": {"messageId": message}}), None))
            }
            Act::Edit { message, text } => Ok((
                json!({"type": "messageEdited",
                    "message": {"type": "text", "id": message, "text": text}}),
                Some(message),
            )),
        }
    }
}

/// What the account is told of an event: words that a tap shows stand in the chat alone.
fn told(mut what: Value) -> Value {
    if let Some(postback) = what.get_mut("postback").and_then(Value::as_object_mut) {
        postback.remove("displayText");
    }
    what
}

/// What a scan writes into the chat: of a link that opens a chat with words in it
/// (`https://line.me/R/oaMessage/%40account/?words`) the words, of anything else all of it.
fn written(text: &str) -> String {
    let words = text.split_once("/oaMessage/").and_then(|(_, rest)| rest.split_once('?'));
    match words {
        Some((_, words)) => plain(words),
        None => text.to_owned(),
    }
}

/// Percent signs undone.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let number = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let number = number.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(number) = number.filter(|_| *first == b'%') {
            bytes.push(number);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A ULID of that moment.
fn event_id(number: u64, at: At) -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let millis = u128::from(u64::try_from(at.as_millis()).unwrap_or_default());
    let chance = derive_uuid(&format!("line-sandbox event {number} {at}")).as_u128();
    let whole = (millis << 80) | (chance >> 48);
    let digit = |place: u32| {
        let index = usize::try_from((whole >> (place * 5)) & 31).unwrap_or_default();
        char::from(LETTERS[index])
    };
    (0..26).rev().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scanned_link_writes_its_words() {
        for (scanned, said) in [
            ("https://line.me/R/oaMessage/%40shop/?MS-ABC", "MS-ABC"),
            ("https://line.me/R/oaMessage/%40shop/?%E7%B6%AD%E4%BF%AE%20100%", "維修 100%"),
            ("MS-ABC", "MS-ABC"),
            ("https://example.com/?q=1", "https://example.com/?q=1"),
        ] {
            assert_eq!(written(scanned), said);
        }
    }

    #[test]
    fn event_ids_are_ulids_in_order_of_time() {
        let at = |millis: i64| At::from_millis(1_795_219_200_000 + millis);
        let ids = [event_id(1, at(0)), event_id(2, at(1)), event_id(3, at(5_000))];
        assert!(ids.is_sorted() && ids.iter().all(|id| id.len() == 26 && id.starts_with("01")));
        assert_ne!(event_id(1, at(0)), event_id(2, at(0)));
    }
}
