//! Properties of every conversion: what was written reads back, and nothing that is read panics.

use std::collections::BTreeSet;

use mainstem_domain::configuration::{Mode, Priority};
use mainstem_domain::custody;
use mainstem_domain::identifier::{Identifier, Kind, normalise};
use mainstem_domain::person::{Address, Answer, Attribute, Carrier, Consent, ReplyRight, Sighting};
use mainstem_domain::routing::{
    Case, CaseView, Clock, Details, MessageRequest, Opener, Stage, Timing,
};
use mainstem_domain::voice::Message;
use mainstem_domain::{
    At, BrandId, CaseId, ChannelId, ConflictId, CustomerId, DisputeId, ErasureId, EventId, ItemId,
    QueueId, SplitId, StoreId, SuggestionId, Tag, UnitId, UnsendId, identity as id,
    notification as note, routing as route,
};
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;

use crate::{channel, conversation, field, identity, notification, routing, watch, wire};

mod bindings;
mod cases;
mod conversations;
mod notifications;

use bindings::{binding_event, staff};
use cases::{case, routing_event};
use conversations::{conversation_event, withdrawn};
use notifications::{delivery, notification_event};

/// Every kind that a service writes.
const KINDS: [&str; 60] = [
    watch::CASE_WITHDRAWN,
    watch::CONVERSATION_WITHDRAWN,
    identity::CUSTOMER_CREATED,
    identity::IDENTIFIERS_ATTACHED,
    identity::IDENTIFIERS_TIED,
    identity::CUSTOMERS_MERGED,
    identity::CUSTOMER_DESCRIBED,
    identity::CONSENT_GIVEN,
    identity::MERGE_SUGGESTED,
    identity::SUGGESTION_REJECTED,
    identity::CONFLICT_RECORDED,
    identity::IDENTIFIER_CARRIED,
    identity::HUB_FOUND,
    identity::HUB_RELEASED,
    identity::IDENTIFIER_DISPUTED,
    identity::DISPUTE_SETTLED,
    identity::CUSTOMER_SPLIT,
    identity::CUSTOMER_RESTATED,
    identity::RECORDS_MOVED,
    identity::MESSAGE_UNSENT,
    identity::MESSAGE_HIDDEN,
    identity::CUSTOMER_ERASED,
    identity::ERASURE_REPORTED,
    routing::CASE_OPENED,
    routing::CASE_QUEUED,
    routing::CASE_ACCEPTED,
    routing::CASE_STARTED,
    routing::CASE_RESOLVED,
    routing::CASE_CANCELLED,
    routing::CASE_WAITS,
    routing::CASE_CLOSED,
    routing::CASE_REOPENED,
    routing::CASE_TRANSFERRED,
    routing::CASE_PRIORITISED,
    routing::CASE_WARNED,
    routing::CASE_ESCALATED,
    routing::CASE_SERIAL_SHARED,
    routing::CASES_MOVED,
    routing::PURCHASE_NOTED,
    routing::MESSAGE_REQUESTED,
    routing::RULES_TRIED,
    routing::RULE_FAILED,
    routing::QUEUE_PAUSED,
    routing::QUEUE_RESUMED,
    routing::CASE_RESTATED,
    routing::SPLIT_BEGUN,
    routing::DIVIDED,
    routing::UPSTREAM_MOVED,
    routing::RECORDS_MOVED,
    routing::CUSTOMERS_FORGOTTEN,
    routing::ERASURE_DONE,
    routing::ERASURE_REPORTED,
    routing::CODE_ISSUED,
    routing::CODE_REVOKED,
    routing::CODE_REFUSED,
    routing::CUSTOMER_BOUND,
    routing::BINDING_ENDED,
    routing::BINDING_RESTATED,
    routing::HAND_OVER_BEGUN,
    routing::HAND_OVER_DONE,
];

fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.into_iter().chain(conversation::KINDS).chain(notification::KINDS)
}

/// Any text, control characters, quotes and characters beyond 16 bits included.
fn any_text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect())
}

/// A text that is there: on the wire an empty token is none.
fn token() -> impl Strategy<Value = String> {
    vec(any::<char>(), 1..12).prop_map(|chars| chars.into_iter().collect())
}

fn slug() -> impl Strategy<Value = String> {
    "[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?"
}

fn at() -> impl Strategy<Value = At> {
    const FIRST: i64 = -62_135_596_800_000;
    const LAST: i64 = 253_402_300_799_999;
    prop_oneof![Just(FIRST), Just(LAST), FIRST..=LAST, -2_000..2_000_i64].prop_map(At::from_millis)
}

prop_compose! {
    fn customer()(origin in any::<u64>()) -> CustomerId { CustomerId::derive(&origin.to_string()) }
}
prop_compose! {
    fn case_id()(origin in any::<u64>()) -> CaseId { CaseId::derive(&origin.to_string()) }
}
prop_compose! {
    fn item_id()(origin in any::<u64>()) -> ItemId { ItemId::derive(&origin.to_string()) }
}
prop_compose! {
    fn channel_id()(text in slug()) -> ChannelId { text.parse().unwrap() }
}
prop_compose! {
    fn brand()(text in slug()) -> BrandId { text.parse().unwrap() }
}
prop_compose! {
    fn store()(text in slug()) -> StoreId { text.parse().unwrap() }
}
prop_compose! {
    fn queue()(text in slug()) -> QueueId { text.parse().unwrap() }
}
fn tags() -> impl Strategy<Value = BTreeSet<Tag>> {
    let tag = slug().prop_map(|text| text.parse().unwrap());
    prop::collection::btree_set(tag, 0..3)
}
prop_compose! {
    fn event_id()(text in "[!-~]{1,128}") -> EventId { text.parse().unwrap() }
}
prop_compose! {
    fn address()(channel in channel_id(), user in any_text()) -> Address {
        Address { channel, user: user.into() }
    }
}

fn identifier() -> impl Strategy<Value = Identifier> {
    let text = prop_oneof![
        "(member|cookie):\\PC{1,40}",
        "phone:\\+[0-9]{8,15}",
        "email:[^@\\pC]{1,20}@[^@\\pC]{1,20}",
        "(line|external):[^:\\pC]{1,20}:\\PC{1,20}",
    ];
    text.prop_filter_map("not an identifier", |text| text.parse().ok())
}

prop_compose! {
    fn sighting()(identifier in identifier(), verified in any::<bool>()) -> Sighting {
        Sighting { identifier, verified }
    }
}

prop_compose! {
    fn evidence()(source in option::of(source()), by in vec(sighting(), 0..3)) -> id::Evidence {
        id::Evidence { source, by }
    }
}

prop_compose! {
    fn conflict()(
        (customer, others) in (customer(), vec(customer(), 0..3)),
        (set_aside, unlisted, cannot_link) in (vec(sighting(), 0..4), any::<u32>(), any::<bool>()),
        kinds in prop::sample::subsequence(Kind::ALL.to_vec(), 0..=6),
        (recorded_at, evidence) in (at(), evidence()),
    ) -> id::Conflict {
        id::Conflict {
            customer, others, set_aside, unlisted, kinds, cannot_link, recorded_at, evidence,
        }
    }
}

prop_compose! {
    fn attribute()(name in slug(), value in any_text(), verified in any::<bool>()) -> Attribute {
        Attribute { name: name.parse().unwrap(), value, verified }
    }
}

prop_compose! {
    fn consent()(means in slug(), purpose in slug(), granted in any::<bool>()) -> Consent {
        let answer = if granted { Answer::Granted } else { Answer::Refused };
        Consent { means: means.parse().unwrap(), purpose: purpose.parse().unwrap(), answer }
    }
}

prop_compose! {
    fn source()(channel in channel_id(), event in event_id()) -> id::Source {
        id::Source { channel, event }
    }
}

fn score() -> impl Strategy<Value = id::Score> {
    let field = prop::sample::select(vec![id::Field::Name, id::Field::BirthDate, id::Field::Email]);
    let level = prop::sample::select(vec![id::Level::Exact, id::Level::Close]);
    let bits = any::<i32>().prop_map(id::Bits::from_hundredths);
    let one =
        (field, level, bits).prop_map(|(field, level, bits)| id::FieldScore { field, level, bits });
    (any::<i32>(), vec(one, 0..3))
        .prop_map(|(bits, fields)| id::Score { bits: id::Bits::from_hundredths(bits), fields })
}

prop_compose! {
    fn kept()(
        (identifier, verified, attached_at) in (identifier(), any::<bool>(), at()),
        attributes in vec((attribute(), at()), 0..3),
        consents in vec((consent(), at()), 0..3),
        cuts in vec(any::<u64>(), 0..3),
    ) -> id::Kept {
        let attributes = attributes.into_iter();
        let consents = consents.into_iter();
        let facts = id::Facts {
            attributes: attributes
                .map(|(attribute, told_at)| id::Fact { attribute, told_at })
                .collect(),
            consents: consents.map(|(consent, told_at)| id::Told { consent, told_at }).collect(),
        };
        id::Kept { identifier, verified, attached_at, facts, cuts: cuts.into() }
    }
}

prop_compose! {
    fn tie()(
        (one, other) in (identifier(), identifier()),
        source in option::of(source()),
        (verified, at) in (any::<bool>(), at()),
    ) -> id::Tie {
        id::Tie { one, other, source, verified, at }
    }
}

prop_compose! {
    fn restated()(
        (customer, before, split) in (customer(), customer(), any::<u64>()),
        (created_at, seen_at, founder) in (at(), at(), option::of(identifier())),
        aliases in vec((customer(), at(), option::of(identifier())), 0..3),
        (identifiers, ties, more) in (vec(kept(), 0..3), vec(tie(), 0..3), any::<bool>()),
    ) -> id::Event {
        let aliases = aliases.into_iter().map(|(customer, created_at, founder)| {
            id::Alias { customer, created_at, founder }
        });
        id::Event::Restated(Box::new(id::Restated {
            customer,
            split: SplitId::derive(&split.to_string()),
            before,
            created_at,
            seen_at,
            founder,
            aliases: aliases.collect(),
            identifiers,
            ties,
            more,
        }))
    }
}

fn counts() -> impl Strategy<Value = BTreeMap<String, u64>> {
    prop::collection::btree_map(any_text(), any::<u64>(), 0..3)
}

fn identity_event() -> impl Strategy<Value = id::Event> {
    let told = || (customer(), at(), source());
    let made = prop_oneof![
        (customer(), vec(sighting(), 0..4), evidence()).prop_map(
            |(customer, sightings, evidence)| id::Event::Created { customer, sightings, evidence }
        ),
        (customer(), vec(sighting(), 0..4), evidence()).prop_map(
            |(customer, sightings, evidence)| id::Event::Attached { customer, sightings, evidence }
        ),
        (customer(), vec(sighting(), 0..4), evidence()).prop_map(
            |(customer, sightings, evidence)| id::Event::Tied { customer, sightings, evidence }
        ),
        (customer(), customer(), evidence()).prop_map(|(survivor, absorbed, evidence)| {
            id::Event::Merged { survivor, absorbed, evidence }
        }),
        (told(), identifier(), vec(attribute(), 0..3)).prop_map(
            |((customer, told_at, source), identifier, attributes)| id::Event::Described {
                customer,
                identifier,
                attributes,
                told_at,
                source
            }
        ),
        (told(), vec(consent(), 0..3)).prop_map(|((customer, told_at, source), consents)| {
            id::Event::Consented { customer, consents, told_at, source }
        }),
    ];
    let reviewed = prop_oneof![
        (any::<u64>(), customer(), customer(), evidence(), option::of(score())).prop_map(
            |(id, customer, other, evidence, likeness)| {
                let id = SuggestionId::derive(&id.to_string());
                id::Event::Suggested { id, customer, other, evidence, likeness }
            }
        ),
        (any::<u64>(), customer()).prop_map(|(id, customer)| {
            id::Event::SuggestionRejected { id: SuggestionId::derive(&id.to_string()), customer }
        }),
        (any::<u64>(), conflict()).prop_map(|(id, conflict)| {
            id::Event::Conflicted { id: ConflictId::derive(&id.to_string()), conflict }
        }),
        (customer(), identifier())
            .prop_map(|(customer, identifier)| id::Event::Carried { customer, identifier }),
        (identifier(), customer(), vec(customer(), 0..3)).prop_map(
            |(identifier, customer, carriers)| id::Event::HubFound {
                identifier,
                customer,
                carriers
            }
        ),
        (identifier(), customer())
            .prop_map(|(identifier, customer)| id::Event::HubReleased { identifier, customer }),
        (any::<u64>(), identifier(), vec(customer(), 0..3), source()).prop_map(
            |(id, identifier, claimants, source)| {
                let id = DisputeId::derive(&id.to_string());
                id::Event::Disputed { id, identifier, claimants, source }
            }
        ),
        (any::<u64>(), customer(), option::of(customer())).prop_map(|(id, claimant, customer)| {
            let id = DisputeId::derive(&id.to_string());
            id::Event::DisputeSettled { id, claimant, customer }
        }),
    ];
    let parted = prop_oneof![
        (any::<u64>(), customer(), vec(customer(), 0..3), vec(customer(), 0..3)).prop_map(
            |(id, customer, pieces, aliases)| {
                let id = SplitId::derive(&id.to_string());
                id::Event::Split { id, customer, pieces, aliases }
            }
        ),
        restated(),
        (any::<u64>(), customer(), counts()).prop_map(|(id, customer, counts)| {
            id::Event::Moved { split: SplitId::derive(&id.to_string()), customer, counts }
        }),
        (
            any::<u64>(),
            vec(customer(), 1..3),
            prop::collection::btree_map(
                any_text(),
                prop::collection::btree_set((slug(), slug()), 1..3),
                0..3
            )
        )
            .prop_map(|(id, customers, refused)| {
                let id = ErasureId::derive(&id.to_string());
                let parse = |(means, purpose): (String, String)| {
                    (means.parse().unwrap(), purpose.parse().unwrap())
                };
                let refused = refused
                    .into_iter()
                    .map(|(token, what)| (token, what.into_iter().map(parse).collect()))
                    .collect();
                id::Event::Erased { id, customers, refused }
            }),
        (any::<u64>(), any_text(), counts()).prop_map(|(id, service, counts)| {
            id::Event::ErasureReported { id: ErasureId::derive(&id.to_string()), service, counts }
        }),
    ];
    prop_oneof![made, reviewed, parted, unsent_event()]
}

fn unsent_event() -> impl Strategy<Value = id::Event> {
    prop_oneof![
        (any::<u64>(), vec(customer(), 0..3), slug(), any_text()).prop_map(
            |(id, customers, channel, message)| {
                let (id, channel) = (UnsendId::derive(&id.to_string()), channel.parse().unwrap());
                id::Event::Unsent { id, customers, channel, message }
            }
        ),
        (any::<u64>(), option::of(customer()), slug(), counts()).prop_map(
            |(id, customer, channel, counts)| {
                let unsend = UnsendId::derive(&id.to_string());
                id::Event::Hidden { unsend, customer, channel: channel.parse().unwrap(), counts }
            }
        ),
    ]
}

fn carrier() -> impl Strategy<Value = Option<Carrier>> {
    option::of(identifier().prop_map(|identifier| Carrier::of(&identifier)))
}

fn custody_event() -> impl Strategy<Value = custody::Event> {
    let split = || any::<u64>().prop_map(|id| SplitId::derive(&id.to_string()));
    let erasure = || any::<u64>().prop_map(|id| ErasureId::derive(&id.to_string()));
    let carriers = vec(identifier().prop_map(|identifier| Carrier::of(&identifier)), 0..3);
    prop_oneof![
        (split(), customer(), vec(customer(), 0..3), vec(customer(), 0..3)).prop_map(
            |(split, before, pieces, aliases)| custody::Event::SplitBegun(custody::Split {
                split,
                before,
                pieces,
                aliases,
            })
        ),
        (split(), customer(), customer(), vec(customer(), 0..3), carriers, any::<bool>()).prop_map(
            |(split, before, customer, aliases, carriers, last)| {
                custody::Event::Divided(custody::Part {
                    split,
                    before,
                    customer,
                    aliases,
                    carriers,
                    last,
                })
            }
        ),
        (split(), customer())
            .prop_map(|(split, before)| custody::Event::UpstreamMoved { split, before }),
        (split(), customer(), counts()).prop_map(|(split, customer, counts)| {
            custody::Event::RecordsMoved { split, customer, counts }
        }),
        (erasure(), vec(customer(), 0..3)).prop_map(|(erasure, customers)| {
            custody::Event::CustomersForgotten { erasure, customers }
        }),
        (erasure(), counts())
            .prop_map(|(erasure, counts)| custody::Event::ErasureDone { erasure, counts }),
        erasure().prop_map(|erasure| custody::Event::ErasureReported { erasure }),
    ]
}

/// JSON that is nearly a record: the right names, often with values of a wrong type or range.
fn nearly_a_record() -> impl Strategy<Value = Vec<u8>> {
    let names = "(case|customer|channel|brand|store|queue|priority|openingEvent|openTime|state\
                 |stateTime|nonce|staff|bindingCode|binding|bindTime|endTime|expireTime|fromStaff|queueTime|queueCount|timing|clocks|unit|runMs|workMs|dueTime|details|photos|resolveTime|toQueue|toPriority|purchaseTime|actor|holder|survivor|absorbed|identifier|identifiers|item|user|text\
                 |createTime|endTime|carrier|carriers|split|before|pieces|aliases|erasure|customers|counts|reason|attempt|attempts|replyToken|replyReceiveTime|id|occurTime|receiveTime|act)";
    let text = prop_oneof![
        any_text(),
        customer().prop_map(String::from),
        case_id().prop_map(String::from),
        slug(),
        Just("9999-12-31T23:59:60Z".to_owned()),
        Just("+262142-12-31T23:59:59Z".to_owned()),
        Just("2026-11-21T09:00:00Z".to_owned()),
        Just("CASE_STATE_ACCEPTED".to_owned()),
        Just("DELIVERY_STATE_FAILED".to_owned()),
    ];
    let value = prop_oneof![
        4 => text.prop_map(serde_json::Value::from),
        1 => any::<i64>().prop_map(serde_json::Value::from),
        1 => Just(serde_json::Value::Null),
    ];
    let tree = value.prop_recursive(2, 24, 8, move |inner| {
        Union::new([
            vec(inner.clone(), 0..3).prop_map(serde_json::Value::from).boxed(),
            vec((names, inner), 0..8)
                .prop_map(|pairs| pairs.into_iter().collect::<serde_json::Map<_, _>>().into())
                .boxed(),
        ])
    });
    tree.prop_map(|json| json.to_string().into_bytes())
}

/// Reads a body as everything that it could be.
fn read_as_everything(body: &[u8]) {
    for kind in kinds() {
        let _ = identity::decode(kind, body);
        let _ = routing::decode(kind, body);
        let _ = notification::decode(kind, body);
    }
    if let Ok(event) = serde_json::from_slice::<wire::channel::ChannelEvent>(body) {
        let _ = channel::decode(event);
    }
}

proptest! {
    #[test]
    fn an_identity_record_reads_back(event in identity_event()) {
        let record = identity::encode(&event).unwrap();
        prop_assert!(kinds().any(|kind| kind == record.kind));
        prop_assert_eq!(identity::decode(record.kind, &record.body), Ok(event));
    }

    #[test]
    fn a_routing_record_reads_back(event in routing_event()) {
        let record = routing::encode(&event);
        prop_assert!(kinds().any(|kind| kind == record.kind));
        prop_assert_eq!(routing::decode(record.kind, &record.body), Ok(event));
    }

    #[test]
    fn a_notification_record_reads_back(event in notification_event()) {
        let record = notification::encode(&event);
        prop_assert!(kinds().any(|kind| kind == record.kind));
        prop_assert_eq!(notification::decode(record.kind, &record.body), Ok(event));
    }

    #[test]
    fn an_answer_reads_back(id in case_id(), case in case(), delivery in delivery()) {
        let view = CaseView { id, case };
        prop_assert_eq!(CaseView::try_from(wire::routing::Case::from(&view)), Ok(view));
        let wire = wire::notification::Delivery::from(&delivery);
        prop_assert_eq!(note::Delivery::try_from(wire), Ok(delivery));
    }

    #[test]
    fn every_moment_can_be_written(millis in any::<i64>(), case in case(), id in case_id()) {
        let at = At::from_millis(millis);
        prop_assert!(field::parse_time("time", Some(field::timestamp(at))).is_ok());
        let event = route::Event::Opened { id, case: Case { opened_at: at, ..case } };
        let record = routing::encode(&event);
        prop_assert!(routing::decode(record.kind, &record.body).is_ok());
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(body in vec(any::<u8>(), 0..200)) {
        read_as_everything(&body);
    }

    #[test]
    fn any_json_is_a_record_or_an_error(body in nearly_a_record()) {
        read_as_everything(&body);
    }

    /// A record with one byte changed, cut off, or twice.
    #[test]
    fn a_damaged_record_is_a_record_or_an_error(
        event in routing_event(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = routing::encode(&event).body.to_vec();
        let place = place.index(body.len());
        read_as_everything(&body[..place]);
        read_as_everything(&body.repeat(2));
        body[place] = byte;
        read_as_everything(&body);
    }

    #[test]
    fn any_channel_event_is_an_event_or_names_a_field(
        (id, channel, store, brand) in (any_text(), any_text(), any_text(), any_text()),
        texts in vec(prop_oneof![1 => any_text(), 3 => identifier().prop_map(String::from)], 0..6),
        times in vec(option::of((any::<i64>(), any::<i32>())), 2),
        (good_names, good_times) in any::<(bool, bool)>(),
    ) {
        let time = |index: usize| {
            times[index].map(|(seconds, nanos)| pbjson_types::Timestamp { seconds, nanos })
        };
        let readable: Vec<Identifier> =
            texts.iter().filter_map(|text| Some(normalise(text).ok()?.identifier)).collect();
        let unreadable = texts.len() - readable.len();
        let distinct: BTreeSet<_> = readable.into_iter().collect();
        let mut event = wire::channel::ChannelEvent {
            id, channel, store, brand,
            identifiers: texts
                .into_iter()
                .map(|identifier| wire::channel::Sighting { identifier, ..Default::default() })
                .collect(),
            occur_time: time(0),
            receive_time: time(1),
            ..Default::default()
        };
        if good_names {
            event.id = "e".to_owned();
            event.channel = "c".to_owned();
            event.store.clear();
            event.brand.clear();
        }
        if good_times {
            event.occur_time = Some(field::timestamp(At::from_millis(0)));
            event.receive_time = event.occur_time;
        }
        match channel::decode(event) {
            Ok(read) => {
                let sightings = read.event.sightings.iter();
                let read_ones: BTreeSet<_> = sightings.map(|one| one.identifier.clone()).collect();
                prop_assert_eq!(read.event.sightings.len(), distinct.len());
                prop_assert_eq!(read_ones, distinct);
                prop_assert_eq!(read.unreadable_identifiers, unreadable);
                let address = channel::address_of(&read.event);
                let line = read.event.sightings.iter().any(|sighting| {
                    matches!(sighting.identifier, Identifier::Line { .. })
                });
                prop_assert_eq!(address.is_some(), line);
            }
            Err(error) => prop_assert!(!(good_names && good_times), "{}", error),
        }
    }
}
