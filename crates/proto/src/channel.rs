//! What people do on channels, from the wire.

use mainstem_domain::configuration::Mode;
use mainstem_domain::identifier::{Identifier, normalise};
use mainstem_domain::person::{
    Act, Address, Answer, Attribute, Business, ChannelEvent, Consent, Sighting,
};

use crate::error::FieldError;
use crate::field::{parse_id, parse_optional, parse_time};
use crate::wire::channel as wire;

/// How many characters the value of an attribute can have.
pub const ATTRIBUTE_AT_MOST: usize = 256;

/// An event as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The event, with the identifiers that could be read, in their normal form and each once.
    pub event: ChannelEvent,
    /// How many could not. They never fail an event: what else it says is still true.
    pub unreadable_identifiers: usize,
}

/// Reads an event.
pub fn decode(event: wire::ChannelEvent) -> Result<Read, FieldError> {
    let mode = mode_from(event.mode());
    let mut sightings: Vec<Sighting> = Vec::with_capacity(event.identifiers.len());
    let mut unreadable_identifiers = 0;
    for wire::Sighting { identifier, verified, .. } in event.identifiers {
        // Ingress normalises; what an older one stored is still on its way.
        let Ok(normal) = normalise(&identifier) else {
            unreadable_identifiers += 1;
            continue;
        };
        let identifier = normal.identifier;
        match sightings.iter_mut().find(|known| known.identifier == identifier) {
            Some(known) => known.verified |= verified,
            None => sightings.push(Sighting { identifier, verified }),
        }
    }
    let act = match event.act {
        Some(wire::channel_event::Act::Text(text)) => Act::Text(text),
        Some(wire::channel_event::Act::Postback(data)) => Act::Postback(data),
        Some(wire::channel_event::Act::Follow(_)) => Act::Follow,
        Some(wire::channel_event::Act::Unfollow(_)) => Act::Unfollow,
        Some(wire::channel_event::Act::Business(act)) => {
            let act = wire::BusinessAct::try_from(act).ok().and_then(business_from);
            act.map_or(Act::Other, Act::Business)
        }
        Some(wire::channel_event::Act::Media(media)) => Act::Media(media.id),
        Some(wire::channel_event::Act::Unsend(unsend)) => Act::Unsend(unsend.message),
        Some(wire::channel_event::Act::Other(_)) | None => Act::Other,
    };
    let event = ChannelEvent {
        id: parse_id("id", &event.id)?,
        channel: parse_id("channel", &event.channel)?,
        store: parse_optional("store", &event.store)?,
        brand: parse_optional("brand", &event.brand)?,
        mode,
        act,
        sightings,
        occurred_at: parse_time("occur_time", event.occur_time)?,
        received_at: parse_time("receive_time", event.receive_time)?,
        reply_token: Some(event.reply_token).filter(|token| !token.is_empty()),
        attributes: event.attributes.into_iter().filter_map(attribute_from).collect(),
        consents: event.consents.into_iter().filter_map(consent_from).collect(),
        message: Some(event.message.into_boxed_str()).filter(|message| !message.is_empty()),
    };
    Ok(Read { event, unreadable_identifiers })
}

/// As with identifiers: one that cannot be read does not fail the event.
fn attribute_from(attribute: wire::Attribute) -> Option<Attribute> {
    let wire::Attribute { name, value, verified } = attribute;
    let fits = (1..=ATTRIBUTE_AT_MOST).contains(&value.chars().count())
        && !value.chars().any(char::is_control);
    fits.then_some(())?;
    Some(Attribute { name: name.parse().ok()?, value, verified })
}

fn consent_from(consent: wire::Consent) -> Option<Consent> {
    let answer = answer_from(consent.answer())?;
    let wire::Consent { means, purpose, .. } = consent;
    Some(Consent { means: means.parse().ok()?, purpose: purpose.parse().ok()?, answer })
}

/// An answer as it was read; none is `None`.
#[must_use]
pub fn answer_from(answer: wire::ConsentAnswer) -> Option<Answer> {
    match answer {
        wire::ConsentAnswer::Granted => Some(Answer::Granted),
        wire::ConsentAnswer::Refused => Some(Answer::Refused),
        wire::ConsentAnswer::Unspecified => None,
    }
}

/// An answer as it is written.
#[must_use]
pub fn answer_to(answer: Answer) -> wire::ConsentAnswer {
    match answer {
        Answer::Granted => wire::ConsentAnswer::Granted,
        Answer::Refused => wire::ConsentAnswer::Refused,
    }
}

/// A mode as it was read.
#[must_use]
pub fn mode_from(mode: wire::ChannelMode) -> Mode {
    match mode {
        wire::ChannelMode::Unspecified | wire::ChannelMode::Live => Mode::Live,
        wire::ChannelMode::Shadow => Mode::Shadow,
        wire::ChannelMode::Retired => Mode::Retired,
    }
}

/// A mode as it is written.
#[must_use]
pub fn mode_to(mode: Mode) -> wire::ChannelMode {
    match mode {
        Mode::Live => wire::ChannelMode::Live,
        Mode::Shadow => wire::ChannelMode::Shadow,
        Mode::Retired => wire::ChannelMode::Retired,
    }
}

/// What a business system told, as it is written.
#[must_use]
pub fn business_to(act: Business) -> wire::BusinessAct {
    match act {
        Business::OrderPlaced => wire::BusinessAct::OrderPlaced,
        Business::OrderPaid => wire::BusinessAct::OrderPaid,
        Business::OrderShipped => wire::BusinessAct::OrderShipped,
        Business::OrderCancelled => wire::BusinessAct::OrderCancelled,
        Business::OrderReturned => wire::BusinessAct::OrderReturned,
        Business::PageViewed => wire::BusinessAct::PageViewed,
        Business::ItemClicked => wire::BusinessAct::ItemClicked,
        Business::MemberSignedUp => wire::BusinessAct::MemberSignedUp,
        Business::MemberUpdated => wire::BusinessAct::MemberUpdated,
        Business::CallReceived => wire::BusinessAct::CallReceived,
        Business::StoreVisited => wire::BusinessAct::StoreVisited,
        Business::StaffMessage => wire::BusinessAct::StaffMessage,
    }
}

/// What a business system told, as it was read; of a later version, nothing.
#[must_use]
pub fn business_from(act: wire::BusinessAct) -> Option<Business> {
    Business::ALL.into_iter().find(|known| business_to(*known) == act)
}

/// Where the person of an event can be answered: the first LINE user id that the event carries,
/// on the event's own channel.
#[must_use]
pub fn address_of(event: &ChannelEvent) -> Option<Address> {
    event.sightings.iter().find_map(|sighting| match &sighting.identifier {
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
        assert_eq!(read.event.sightings.len(), 3);
        assert_eq!(read.event.act, Act::Text("hello".to_owned()));
        assert_eq!(read.event.reply_token.as_deref(), Some("t"));
        assert_eq!(read.event.store.as_ref().unwrap().as_str(), "s-1");
        assert_eq!(read.event.received_at.since(read.event.occurred_at).as_millis(), 1_500);
        let address = address_of(&read.event).unwrap();
        assert_eq!((address.channel.as_str(), address.user.as_str()), ("line-1", "U1"));
    }

    #[test]
    fn identifiers_are_normalised_and_each_counts_once() {
        let read = event(&serde_json::json!({"identifiers": [
            {"identifier": "phone:0912-345-678"},
            {"identifier": "phone:+886912345678", "verified": true, "extension": "12"},
            {"identifier": "email:Lin@Example.com", "verified": true},
            {"identifier": "email:lin@example.com"},
            {"identifier": "phone:110"}, {"identifier": "phone:0800000123"},
        ]}))
        .unwrap();
        let sighting = |text: &str| Sighting { identifier: text.parse().unwrap(), verified: true };
        let expected = [sighting("phone:+886912345678"), sighting("email:lin@example.com")];
        assert_eq!(read.event.sightings, expected);
        assert_eq!(read.unreadable_identifiers, 2);
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
        let media = serde_json::json!({"media": {"id": "m1", "type": "image"}});
        assert_eq!(act(media), Act::Media("m1".to_owned()));
        let sent = event(&serde_json::json!({"text": "x", "message": "7"})).unwrap().event;
        assert_eq!(sent.message.as_deref(), Some("7"));
        let unsend = serde_json::json!({"unsend": {"message": "7"}});
        assert_eq!(act(unsend), Act::Unsend("7".to_owned()));
        for business in Business::ALL {
            let name = business_to(business).as_str_name();
            assert_eq!(act(serde_json::json!({"business": name})), Act::Business(business));
        }
    }

    #[test]
    fn the_mode_is_read_and_live_without_one() {
        let mode = |json| event(&json).unwrap().event.mode;
        assert_eq!(mode(serde_json::json!({})), Mode::Live);
        for one in [Mode::Live, Mode::Shadow, Mode::Retired] {
            assert_eq!(mode(serde_json::json!({"mode": mode_to(one).as_str_name()})), one);
        }
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
