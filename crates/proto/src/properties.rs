//! Properties of every conversion: what was written reads back, and nothing that is read panics.

use mainstem_domain::configuration::{Mode, Priority};
use mainstem_domain::identifier::{Identifier, Kind};
use mainstem_domain::person::{Address, ReplyRight, Sighting};
use mainstem_domain::routing::{Case, CaseView, MessageRequest, Stage};
use mainstem_domain::{
    At, BrandId, CaseId, ChannelId, ConflictId, CustomerId, EventId, ItemId, QueueId, StoreId,
    SuggestionId, identity as id, notification as note, routing as route,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;

use crate::{channel, field, identity, notification, routing, wire};

/// Every kind that a service writes.
const KINDS: [&str; 21] = [
    identity::CUSTOMER_CREATED,
    identity::IDENTIFIER_ATTACHED,
    identity::CUSTOMERS_MERGED,
    identity::MERGE_SUGGESTED,
    identity::CONFLICT_RECORDED,
    routing::CASE_OPENED,
    routing::CASE_QUEUED,
    routing::CASE_ACCEPTED,
    routing::CASE_STARTED,
    routing::CASE_RESOLVED,
    routing::CASE_CANCELLED,
    routing::CASES_MOVED,
    routing::PURCHASE_NOTED,
    routing::MESSAGE_REQUESTED,
    notification::ADDRESS_LEARNED,
    notification::ADDRESSES_MOVED,
    notification::DELIVERY_QUEUED,
    notification::REQUEST_SUPPRESSED,
    notification::REQUEST_FAILED,
    notification::DELIVERY_BEGUN,
    notification::DELIVERY_SETTLED,
];

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
prop_compose! {
    fn event_id()(text in "[!-~]{1,128}") -> EventId { text.parse().unwrap() }
}
prop_compose! {
    fn address()(channel in channel_id(), user in any_text()) -> Address {
        Address { channel, user }
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
    fn evidence()(
        channel in channel_id(),
        event in event_id(),
        by in vec(sighting(), 0..3),
    ) -> id::Evidence {
        id::Evidence { channel, event, by }
    }
}

prop_compose! {
    fn conflicted()(
        (id, customer, others) in (any::<u64>(), customer(), vec(customer(), 0..3)),
        (set_aside, unlisted) in (vec(sighting(), 0..3), any::<u32>()),
        kinds in prop::sample::subsequence(Kind::ALL.to_vec(), 0..=6),
        evidence in evidence(),
    ) -> id::Event {
        let id = ConflictId::derive(&id.to_string());
        id::Event::Conflicted { id, customer, others, set_aside, unlisted, kinds, evidence }
    }
}

fn identity_event() -> impl Strategy<Value = id::Event> {
    prop_oneof![
        (customer(), vec(sighting(), 0..4), option::of(evidence())).prop_map(
            |(customer, sightings, evidence)| id::Event::Created { customer, sightings, evidence }
        ),
        (customer(), sighting(), option::of(evidence())).prop_map(
            |(customer, sighting, evidence)| id::Event::Attached { customer, sighting, evidence }
        ),
        (customer(), customer(), option::of(evidence())).prop_map(
            |(survivor, absorbed, evidence)| id::Event::Merged { survivor, absorbed, evidence }
        ),
        (any::<u64>(), customer(), customer(), evidence()).prop_map(
            |(id, customer, other, evidence)| {
                let id = SuggestionId::derive(&id.to_string());
                id::Event::Suggested { id, customer, other, evidence }
            }
        ),
        conflicted(),
    ]
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        Just(Stage::Open),
        (any_text(), at()).prop_map(|(by, at)| Stage::Accepted { by, at }),
        (any_text(), at()).prop_map(|(by, at)| Stage::InProgress { by, at }),
        (any_text(), at()).prop_map(|(by, at)| Stage::Resolved { by, at }),
        (any_text(), at(), any_text()).prop_map(|(by, at, reason)| Stage::Cancelled {
            by,
            at,
            reason
        }),
    ]
}

prop_compose! {
    fn case()(
        (customer, channel, brand, store) in
            (customer(), channel_id(), option::of(brand()), option::of(store())),
        (queue, rule, opened_by, opened_at) in (queue(), any_text(), event_id(), at()),
        (priority, queued_at, queued_times) in (priority(), at(), any::<u32>()),
        stage in stage(),
    ) -> Case {
        Case {
            customer, channel, brand, store, queue, priority, rule, opened_by, opened_at,
            queued_at, queued_times, stage,
        }
    }
}

fn priority() -> impl Strategy<Value = Priority> {
    prop::sample::select(vec![Priority::P1, Priority::P2, Priority::P3, Priority::P4])
}

prop_compose! {
    fn request()(
        customer in customer(),
        channel in channel_id(),
        brand in option::of(brand()),
        templates in vec(any_text(), 0..4),
        case in option::of(case_id()),
        reply in option::of((token(), at())),
        mode in prop::sample::select(vec![Mode::Live, Mode::Shadow, Mode::Retired]),
    ) -> MessageRequest {
        let reply = reply.map(|(token, received_at)| ReplyRight { token, received_at });
        MessageRequest { customer, channel, brand, templates, case, reply, mode }
    }
}

fn routing_event() -> impl Strategy<Value = route::Event> {
    prop_oneof![
        (case_id(), case()).prop_map(|(id, case)| route::Event::Opened { id, case }),
        (case_id(), case()).prop_map(|(id, case)| route::Event::Queued { id, case }),
        (case_id(), customer(), queue(), priority(), any_text()).prop_map(
            |(id, customer, queue, priority, by)| route::Event::Accepted {
                id,
                customer,
                queue,
                priority,
                by
            }
        ),
        (case_id(), customer(), any_text()).prop_map(|(id, customer, by)| route::Event::Started {
            id,
            customer,
            by
        }),
        (case_id(), customer(), queue(), priority(), any_text(), any_text()).prop_map(
            |(id, customer, queue, priority, by, reason)| route::Event::Cancelled {
                id,
                customer,
                queue,
                priority,
                by,
                reason
            }
        ),
        (customer(), brand(), at()).prop_map(|(customer, brand, at)| {
            let purchase = route::Purchase { brand, at };
            route::Event::PurchaseNoted { customer, purchase }
        }),
        (case_id(), customer(), any_text()).prop_map(|(id, customer, by)| route::Event::Resolved {
            id,
            customer,
            by
        }),
        (customer(), customer()).prop_map(|(from, to)| route::Event::Moved { from, to }),
        request().prop_map(route::Event::MessageRequested),
    ]
}

fn outcome() -> impl Strategy<Value = note::Outcome> {
    prop_oneof![
        Just(note::Outcome::Sent),
        any_text().prop_map(|reason| note::Outcome::Failed { reason }),
    ]
}

prop_compose! {
    fn item()(
        customer in customer(),
        address in address(),
        token in option::of(token()),
        texts in vec(any_text(), 1..4),
        asked_at in at(),
        attempts in vec("[!-~]{1,64}", 0..3),
        outcome in option::of(outcome()),
    ) -> note::Item {
        let way = token.map_or(note::Way::Push, |token| note::Way::Reply { token });
        note::Item { customer, address, way, texts, asked_at, attempts, outcome }
    }
}

fn notification_event() -> impl Strategy<Value = note::Event> {
    prop_oneof![
        (customer(), address())
            .prop_map(|(customer, address)| note::Event::AddressLearned { customer, address }),
        (customer(), customer()).prop_map(|(from, to)| note::Event::AddressesMoved { from, to }),
        (item_id(), item()).prop_map(|(id, item)| note::Event::Queued { id, item }),
        (item_id(), customer(), channel_id(), any_text()).prop_map(
            |(id, customer, channel, reason)| note::Event::Suppressed {
                id,
                customer,
                channel,
                reason
            }
        ),
        (item_id(), customer(), channel_id(), any_text()).prop_map(
            |(id, customer, channel, reason)| note::Event::Failed { id, customer, channel, reason }
        ),
        (item_id(), customer(), "[!-~]{1,64}")
            .prop_map(|(id, customer, attempt)| note::Event::Begun { id, customer, attempt }),
        (item_id(), customer(), outcome())
            .prop_map(|(id, customer, outcome)| note::Event::Settled { id, customer, outcome }),
    ]
}

/// JSON that is nearly a record: the right names, often with values of a wrong type or range.
fn nearly_a_record() -> impl Strategy<Value = Vec<u8>> {
    let names = "(case|customer|channel|brand|store|queue|priority|openingEvent|openTime|state\
                 |stateTime|queueTime|queueCount|purchaseTime|actor|holder|survivor|absorbed|identifier|identifiers|item|user|text\
                 |createTime|reason|attempt|attempts|replyToken|replyReceiveTime|id|occurTime|receiveTime|act)";
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
    for kind in KINDS {
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
        prop_assert!(KINDS.contains(&record.kind));
        prop_assert_eq!(identity::decode(record.kind, &record.body), Ok(event));
    }

    #[test]
    fn a_routing_record_reads_back(event in routing_event()) {
        let record = routing::encode(&event);
        prop_assert!(KINDS.contains(&record.kind));
        prop_assert_eq!(routing::decode(record.kind, &record.body), Ok(event));
    }

    #[test]
    fn a_notification_record_reads_back(event in notification_event()) {
        let record = notification::encode(&event);
        prop_assert!(KINDS.contains(&record.kind));
        prop_assert_eq!(notification::decode(record.kind, &record.body), Ok(event));
    }

    #[test]
    fn an_answer_reads_back(id in case_id(), case in case(), item_id in item_id(), item in item()) {
        let view = CaseView { id, case };
        prop_assert_eq!(CaseView::try_from(wire::routing::Case::from(&view)), Ok(view));
        let delivery = note::Delivery { id: item_id, item };
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
        let readable = texts.iter().filter(|text| text.parse::<Identifier>().is_ok()).count();
        let sightings = texts.len();
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
                prop_assert_eq!(read.event.sightings.len(), readable);
                prop_assert_eq!(read.unreadable_identifiers, sightings - readable);
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
