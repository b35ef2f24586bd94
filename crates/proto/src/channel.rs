//! What people do on channels, from the wire.

use mainstem_domain::identifier::Identifier;
use mainstem_domain::person::{Act, Address, ChannelEvent};

use crate::error::FieldError;
use crate::field::{parse_id, parse_optional, parse_time};
use crate::wire::channel as wire;

/// An event as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The event, with the identifiers that could be read.
    pub event: ChannelEvent,
    /// How many could not. They never fail an event: what else it says is still true.
    pub unreadable_identifiers: usize,
}

/// Reads an event.
pub fn decode(event: wire::ChannelEvent) -> Result<Read, FieldError> {
    let sightings = event.identifiers.len();
    let identifiers: Vec<Identifier> = event
        .identifiers
        .into_iter()
        .filter_map(|sighting| sighting.identifier.parse().ok())
        .collect();
    let unreadable_identifiers = sightings - identifiers.len();
    let act = match event.act {
        Some(wire::channel_event::Act::Text(text)) => Act::Text(text),
        Some(wire::channel_event::Act::Postback(data)) => Act::Postback(data),
        Some(wire::channel_event::Act::Follow(_)) => Act::Follow,
        Some(wire::channel_event::Act::Unfollow(_)) => Act::Unfollow,
        Some(wire::channel_event::Act::Other(_)) | None => Act::Other,
    };
    let event = ChannelEvent {
        id: parse_id("id", &event.id)?,
        channel: parse_id("channel", &event.channel)?,
        store: parse_optional("store", &event.store)?,
        brand: parse_optional("brand", &event.brand)?,
        act,
        identifiers,
        occurred_at: parse_time("occur_time", event.occur_time)?,
        received_at: parse_time("receive_time", event.receive_time)?,
        reply_token: Some(event.reply_token).filter(|token| !token.is_empty()),
    };
    Ok(Read { event, unreadable_identifiers })
}

/// Where the person of an event can be answered: the first LINE user id that the event carries,
/// on the event's own channel.
#[must_use]
pub fn address_of(event: &ChannelEvent) -> Option<Address> {
    event.identifiers.iter().find_map(|identifier| match identifier {
        Identifier::Line { user, .. } => {
            Some(Address { channel: event.channel.clone(), user: user.clone() })
        }
        Identifier::Phone(_)
        | Identifier::Email(_)
        | Identifier::Member(_)
        | Identifier::Cookie(_)
        | Identifier::External { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(change: &serde_json::Value) -> Result<Read, FieldError> {
        let mut json = serde_json::json!({
            "id": "e1", "channel": "line-1",
            "occurTime": "2026-11-21T09:00:00Z", "receiveTime": "2026-11-21T09:00:01.5Z",
        });
        json.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        decode(serde_json::from_value(json).unwrap())
    }

    #[test]
    fn what_cannot_be_read_of_an_identifier_does_not_fail_the_event() {
        let read = event(&serde_json::json!({
            "store": "s-1", "brand": "aurora", "text": "hello", "replyToken": "t",
            "identifiers": [
                {"identifier": "member:1"}, {"identifier": "fax:1"},
                {"identifier": "line:p:U1", "verified": true}, {"identifier": "line:p:U2"}, {},
            ],
            "raw": {"any": ["thing", 1]},
        }))
        .unwrap();
        assert_eq!(read.unreadable_identifiers, 2);
        assert_eq!(read.event.identifiers.len(), 3);
        assert_eq!(read.event.act, Act::Text("hello".to_owned()));
        assert_eq!(read.event.reply_token.as_deref(), Some("t"));
        assert_eq!(read.event.store.as_ref().unwrap().as_str(), "s-1");
        assert_eq!(read.event.received_at.since(read.event.occurred_at).as_millis(), 1_500);
        let address = address_of(&read.event).unwrap();
        assert_eq!((address.channel.as_str(), address.user.as_str()), ("line-1", "U1"));
    }

    #[test]
    fn what_is_absent_is_none() {
        let read =
            event(&serde_json::json!({"identifiers": [{"identifier": "member:1"}]})).unwrap();
        assert_eq!(read.event.act, Act::Other);
        assert_eq!((&read.event.store, &read.event.brand), (&None, &None));
        assert_eq!(read.event.reply_token, None);
        assert_eq!(address_of(&read.event), None);
    }

    #[test]
    fn every_act_is_read() {
        let act = |json| event(&json).unwrap().event.act;
        assert_eq!(act(serde_json::json!({"postback": "a=b"})), Act::Postback("a=b".to_owned()));
        assert_eq!(act(serde_json::json!({"follow": {}})), Act::Follow);
        assert_eq!(act(serde_json::json!({"unfollow": {}})), Act::Unfollow);
        assert_eq!(act(serde_json::json!({"other": "beacon"})), Act::Other);
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (json, field) in [
            (serde_json::json!({"id": "a b"}), "id"),
            (serde_json::json!({"channel": ""}), "channel"),
            (serde_json::json!({"store": "S"}), "store"),
            (serde_json::json!({"brand": "-"}), "brand"),
            (serde_json::json!({"occurTime": null}), "occur_time"),
            (serde_json::json!({"receiveTime": null}), "receive_time"),
        ] {
            assert_eq!(event(&json).unwrap_err().field, field);
        }
    }
}
