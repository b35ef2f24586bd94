//! What becomes of the records of customers who were taken apart or erased, and of those that hold what
//! was taken back.

use bytes::Bytes;
use mainstem_bus::custody::Message;
use mainstem_bus::record::header;
use mainstem_bus::{Chore, Counts, Keeper, Record, Stored, topology};
use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Input, State};
use mainstem_domain::person::Sighting;
use mainstem_domain::{CustomerId, UnsendId};
use mainstem_proto::wire::channel;
use mainstem_proto::{channel as channel_event, identity};
use serde::{Deserialize, Serialize};

use crate::IdentityMachine;

const SERVICE: &str = <IdentityMachine as mainstem_bus::Machine>::SERVICE;

pub(crate) fn chores(state: &State) -> Vec<Chore> {
    let moves = state
        .splits()
        .map(|(split, of)| Chore::Move { job: split.to_string(), customers: of.ids().collect() });
    let erasures = state.erasures_open().map(|(erasure, of)| Chore::Erase {
        job: erasure.to_string(),
        customers: of.customers.clone(),
    });
    let unsends = state.unsends().map(|(unsend, of)| Chore::Hide {
        job: unsend.to_string(),
        customers: of.customers.clone(),
        message: Message { channel: of.channel.clone(), id: of.message.clone() },
    });
    moves.chain(unsends).chain(erasures).collect()
}

pub(crate) fn chore_done(job: &str, counts: Counts) -> Option<Input> {
    if let Ok(split) = job.parse() {
        return Some(Input::Moved { split, counts });
    }
    if let Ok(unsend) = job.parse() {
        return Some(Input::Hidden { unsend, counts });
    }
    let erasure = job.parse().ok()?;
    Some(Input::ReportErasure { erasure, service: SERVICE.to_owned(), counts })
}

/// What `other` says of a message that was taken back.
pub(crate) const UNSENT: &str = "unsent";

/// A channel event without its message: who it was, where and when, and that it was taken back.
pub(crate) fn without(message: &Message, record: &Record) -> Option<Bytes> {
    let event = channel_event_of(record)?;
    if (event.channel.as_str(), &event.message) != (message.channel.as_str(), &message.id) {
        return None;
    }
    let unsent = channel::ChannelEvent {
        id: event.id,
        channel: event.channel,
        store: event.store,
        brand: event.brand,
        act: Some(channel::channel_event::Act::Other(UNSENT.to_owned())),
        identifiers: event.identifiers,
        occur_time: event.occur_time,
        receive_time: event.receive_time,
        mode: event.mode,
        ..channel::ChannelEvent::default()
    };
    serde_json::to_vec(&unsent).ok().map(Bytes::from)
}

/// Whether a record is what is left of a message that was taken back, where that stood.
pub(crate) fn is_hidden(record: &Record) -> bool {
    let job = record.header(header::MOVED_FROM).and_then(|from| from.split('/').next());
    job.is_some_and(|job| job.parse::<UnsendId>().is_ok())
}

/// Whether an event is of a message, which can be taken back.
pub(crate) fn is_message(record: &Record) -> bool {
    channel_event_of(record).is_some_and(|event| !event.message.is_empty())
}

fn channel_event_of(record: &Record) -> Option<channel::ChannelEvent> {
    let of_channel = record.kind().starts_with("mainstem.channel.");
    of_channel.then(|| serde_json::from_slice(&record.body).ok()).flatten()
}

/// A channel event is whose its strongest identifier is that any piece has. What says who somebody
/// is was restated: what names what another piece has now goes.
pub(crate) fn keeper_of(state: &State, message: &Stored) -> Keeper {
    let record = &message.record;
    let Some(customer) = topology::customer_of(&record.subject) else { return Keeper::Stays };
    match (owner_of(state, customer, &Says::of(message)), channel_of(message)) {
        (Owner::Stays, _) | (Owner::Piece(_), None) => Keeper::Stays,
        (Owner::Nobody, _) => Keeper::Deleted,
        (Owner::Piece(owner), Some(channel)) => {
            Keeper::Belongs(owner, topology::channel_subject(Some(owner), &channel))
        }
    }
}

/// What a record says of whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Says {
    /// A channel event carries these, the strongest first.
    Carries(Vec<Identifier>),
    /// It is about who somebody is, and names these.
    Names(Vec<Identifier>),
}

impl Says {
    pub(crate) fn of(message: &Stored) -> Self {
        let record = &message.record;
        if !record.kind().starts_with("mainstem.identity.") {
            let carried = strongest_first(message).into_iter();
            return Self::Carries(carried.map(|sighting| sighting.identifier).collect());
        }
        let event = identity::decode(record.kind(), &record.body);
        let named = event.map(|event| event.identifiers().into_iter().cloned().collect());
        Self::Names(named.unwrap_or_default())
    }
}

/// Whose a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The customer's under whom it stands.
    Stays,
    /// Another piece's.
    Piece(CustomerId),
    /// Nobody's.
    Nobody,
}

/// Whose a record is that stands under `customer`, be that an id of now or an alias.
pub(crate) fn owner_of(state: &State, customer: CustomerId, says: &Says) -> Owner {
    let own = state.current(customer);
    let elsewhere = |owner: &CustomerId| state.is_piece_of(*owner, customer);
    match says {
        Says::Names(named) => {
            let foreign =
                named.iter().filter_map(|one| state.owner(one)).any(|one| elsewhere(&one));
            if foreign { Owner::Nobody } else { Owner::Stays }
        }
        Says::Carries(carried) => carried
            .iter()
            .filter_map(|one| state.owner(one))
            .find(|owner| *owner == own || elsewhere(owner))
            .filter(|owner| *owner != own)
            .map_or(Owner::Stays, Owner::Piece),
    }
}

fn channel_of(message: &Stored) -> Option<mainstem_domain::ChannelId> {
    message.record.header(header::CHANNEL)?.parse().ok()
}

/// What a channel event carries, in the order in which it counts.
fn strongest_first(message: &Stored) -> Vec<Sighting> {
    let mut sightings = serde_json::from_slice::<channel::ChannelEvent>(&message.record.body)
        .ok()
        .and_then(|event| channel_event::decode(event).ok())
        .map(|read| read.event.sightings)
        .unwrap_or_default();
    sightings.sort_by_key(|one| (!one.verified, one.identifier.kind().rank()));
    sightings
}

#[cfg(test)]
mod tests {
    use mainstem_bus::Headers;
    use serde_json::{Value, json};

    use super::*;

    fn record(kind: &'static str, body: &Value) -> Record {
        let mut headers = Headers::default();
        headers.set(header::TYPE, kind);
        Record { subject: String::new(), headers, body: body.to_string().into() }
    }

    #[test]
    fn of_a_message_that_was_taken_back_only_who_where_and_when_is_left() {
        const KIND: &str = "mainstem.channel.line.message.v1";
        let stays = json!({
            "id": "e1", "channel": "line-1", "store": "s", "brand": "b",
            "identifiers": [{"identifier": "line:p:U1", "verified": true}],
            "occurTime": "2026-11-21T09:00:00+00:00", "receiveTime": "2026-11-21T09:00:01+00:00",
            "mode": "CHANNEL_MODE_SHADOW",
        });
        let goes = json!({
            "text": "words", "message": "7", "replyToken": "t", "raw": {"words": "words"},
            "attributes": [{"name": "name", "value": "words"}],
            "consents": [{"means": "line", "purpose": "words", "answer": "CONSENT_ANSWER_GRANTED"}],
        });
        let with = |more: &Value| {
            let mut whole = stays.clone();
            whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            whole
        };
        let of = |channel: &str, id: &str| Message {
            channel: channel.parse().unwrap(),
            id: id.to_owned(),
        };
        let sent = record(KIND, &with(&goes));
        assert!(is_message(&sent));
        let left: Value =
            serde_json::from_slice(&without(&of("line-1", "7"), &sent).unwrap()).unwrap();
        assert_eq!(left, with(&json!({"other": UNSENT})));
        let left = record(KIND, &left);
        assert!(!is_message(&left));
        for (message, record) in [
            (of("line-1", "8"), &sent),
            (of("line-2", "7"), &sent),
            (of("line-1", "7"), &left),
            (of("line-1", "7"), &record(KIND, &with(&json!({"unsend": {"message": "7"}})))),
            (of("line-1", "7"), &record("mainstem.identity.message-unsent.v1", &with(&goes))),
            (of("line-1", "7"), &record(KIND, &json!("7"))),
        ] {
            assert_eq!(without(&message, record), None, "{record:?}");
        }
    }
}
