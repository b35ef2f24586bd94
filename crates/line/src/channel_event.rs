use mainstem_domain::configuration::Mode;
use mainstem_domain::identifier::Identifier;
use mainstem_domain::person::Act;
use mainstem_domain::{At, BrandId, ChannelId, StoreId};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::LineEvent;
use crate::webhook::media_id;

/// What every event of one channel carries.
#[derive(Clone, Debug)]
pub struct ChannelFacts {
    /// The channel.
    pub channel: ChannelId,
    /// Its store, if it has one.
    pub store: Option<StoreId>,
    /// Its brand, if it has one.
    pub brand: Option<BrandId>,
    /// The provider inside which its user ids mean something.
    pub provider: String,
    /// How it is run now.
    pub mode: Mode,
}

/// The body of the event's message: `mainstem.channel.v1.ChannelEvent` in the proto3 JSON mapping.
///
/// Written by hand rather than through the generated type, because that would write LINE's object
/// anew, and it has to stay as LINE wrote it. Ingress's tests read it back with the generated one.
pub fn to_channel_event(
    event: &LineEvent<'_>,
    facts: &ChannelFacts,
    received_at: At,
) -> Result<Vec<u8>, serde_json::Error> {
    // A user id that is no identifier is kept in `raw`, and ties nobody.
    let identifier = event
        .source
        .person()
        .and_then(|user| format!("line:{}:{user}", facts.provider).parse::<Identifier>().ok());
    let identifiers =
        identifier.into_iter().map(|identifier| Sighting { identifier, verified: true });
    let mut wire = ChannelEvent {
        id: event.id.as_str(),
        channel: facts.channel.as_str(),
        store: facts.store.as_ref().map(StoreId::as_str),
        brand: facts.brand.as_ref().map(BrandId::as_str),
        text: None,
        postback: None,
        follow: None,
        unfollow: None,
        other: None,
        media: None,
        unsend: None,
        message: event.message.as_deref(),
        identifiers: identifiers.collect(),
        occur_time: event.occurred_at.unwrap_or(received_at).to_string(),
        receive_time: received_at.to_string(),
        reply_token: event.reply_token.as_deref(),
        raw: event.raw,
        mode: match facts.mode {
            Mode::Live => None,
            Mode::Shadow => Some("CHANNEL_MODE_SHADOW"),
            Mode::Retired => Some("CHANNEL_MODE_RETIRED"),
        },
    };
    match &event.act {
        Act::Text(text) => wire.text = Some(text),
        Act::Postback(data) => wire.postback = Some(data),
        Act::Follow => wire.follow = Some(Nothing {}),
        Act::Unfollow => wire.unfollow = Some(Nothing {}),
        Act::Media(_) => {
            let message = event.message.as_deref().unwrap_or_default();
            let id = media_id(&facts.channel, message);
            wire.media = Some(Media { id, kind: event.media_kind.unwrap_or_default() });
        }
        Act::Unsend(message) => wire.unsend = Some(Unsend { message }),
        Act::Business(_) | Act::Other => wire.other = Some(event.name()),
    }
    serde_json::to_vec(&wire)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChannelEvent<'a> {
    id: &'a str,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    brand: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postback: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    follow: Option<Nothing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unfollow: Option<Nothing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media: Option<Media>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsend: Option<Unsend<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    identifiers: Vec<Sighting>,
    occur_time: String,
    receive_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    raw: &'a RawValue,
}

/// An empty message: `{}`.
#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Media {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Unsend<'a> {
    message: &'a str,
}

#[derive(Serialize)]
struct Sighting {
    identifier: Identifier,
    verified: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_object_stays_byte_for_byte() {
        let json = r#"{ "type":"postback",  "source":{"type":"user","userId":"U1"},
            "postback":{"data":"menu=repair"}, "webhookEventId":"e1", "n": 1.50 }"#;
        let event = LineEvent::parse(serde_json::from_str(json).unwrap()).unwrap();
        let facts = ChannelFacts {
            channel: "line-07".parse().unwrap(),
            store: None,
            brand: Some("brand-3".parse().unwrap()),
            provider: "p1".to_owned(),
            mode: Mode::Retired,
        };
        let body = to_channel_event(&event, &facts, At::from_millis(1_500)).unwrap();
        let head = concat!(
            r#"{"id":"e1","channel":"line-07","brand":"brand-3","postback":"menu=repair","#,
            r#""identifiers":[{"identifier":"line:p1:U1","verified":true}],"#,
            r#""occurTime":"1970-01-01T00:00:01.500Z","receiveTime":"1970-01-01T00:00:01.500Z","mode":"CHANNEL_MODE_RETIRED","raw":"#,
        );
        assert_eq!(String::from_utf8(body).unwrap(), format!("{head}{json}}}"));
    }
}
