use std::sync::Arc;

use mainstem_bus::engine::kind;
use mainstem_bus::{Draft, Headers, Record};
use mainstem_domain::person::{Address, Sighting};
use mainstem_domain::voice::Message;
use mainstem_domain::{At, ChannelId, CustomerId};

use super::*;

/// Writes streams as ingress and the services do.
#[derive(Default)]
struct World {
    tally: Tally,
    sequence: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self::default();
        for ledger in [CUSTOMER, ROUTING, NOTIFICATION] {
            world.epoch(ledger, 1);
        }
        world
    }

    fn store(
        &mut self,
        stream: &'static str,
        subject: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) {
        let mut all = Headers::default();
        for (name, value) in headers {
            all.set(*name, *value);
        }
        self.sequence += 1;
        let record =
            Record { subject: subject.to_owned(), headers: all, body: body.to_owned().into() };
        let message = Stored { sequence: self.sequence, stored_at: 0, record };
        self.tally.take(stream, &message).unwrap();
    }

    fn epoch(&mut self, ledger: &'static str, number: u64) {
        let number = number.to_string();
        self.store(ledger, "x", &[(header::TYPE, kind::EPOCH), (header::EPOCH, &number)], "{}");
    }

    fn draft(&mut self, ledger: &'static str, epoch: &str, draft: &Draft) {
        let mut headers = vec![(header::TYPE, &*draft.kind), (header::EPOCH, epoch)];
        headers.extend(draft.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let body = String::from_utf8(draft.body.to_vec()).unwrap();
        self.store(ledger, &draft.subject, &headers, &body);
    }

    fn inbound(&mut self, channel: &str, person: &str, id: &str) {
        self.inbound_of("line.message", channel, person, id, "{}");
    }

    fn inbound_of(&mut self, what: &str, channel: &str, person: &str, id: &str, body: &str) {
        let kind = format!("mainstem.channel.{what}.v1");
        let headers = [(header::TYPE, kind.as_str()), (header::CHANNEL, channel), (header::ID, id)];
        let (channel_kind, _) = what.split_once('.').unwrap();
        self.store(INBOUND, &["in", channel_kind, channel, person].join("."), &headers, body);
    }

    fn identity(&mut self, epoch: &str, event: &identity::Event) {
        self.draft(CUSTOMER, epoch, &IdentityMachine::encode(event, None));
    }

    fn placed(&mut self, channel: &str, id: &str) {
        let event = identity::Event::Channel {
            customer: Some(CustomerId::derive("c")),
            channel: channel.parse().unwrap(),
            event: id.parse().unwrap(),
        };
        self.identity("1", &event);
    }

    fn routing(&mut self, event: &routing::Event) {
        self.draft(ROUTING, "1", &RoutingMachine::encode(event, None));
    }

    fn notification(&mut self, event: &notification::Event) {
        self.draft(NOTIFICATION, "1", &NotificationMachine::encode(event, None));
    }

    fn finish(self) -> Report {
        self.tally.finish(&Seen::default())
    }
}

fn case(queue: &str) -> routing::Case {
    routing::Case {
        customer: CustomerId::derive("c"),
        channel: "line-1".parse().unwrap(),
        brand: None,
        store: None,
        queue: queue.parse().unwrap(),
        priority: mainstem_domain::configuration::Priority::P3,
        opener: routing::Opener::Event { rule: "r".to_owned(), event: "e".parse().unwrap() },
        details: routing::Details::default(),
        carrier: None,
        opened_at: At::from_millis(0),
        queued_at: At::from_millis(0),
        queued_times: 1,
        stage: routing::Stage::Open,
        timing: routing::Timing::default(),
        tags: std::collections::BTreeSet::new(),
        shared_serial: false,
    }
}

fn item(way: Way) -> Arc<notification::Item> {
    let channel: ChannelId = "line-1".parse().unwrap();
    Arc::new(notification::Item {
        customer: CustomerId::derive("c"),
        address: Address { channel, user: "U1".into() },
        way,
        messages: vec![Message::text("hi")],
        asked_at: At::from_millis(0),
        attempts: Vec::new(),
        carrier: None,
        class: notification::Class::Service,
        deadline: None,
        joined: Vec::new(),
    })
}

fn by_person() -> identity::Evidence {
    identity::Evidence { source: None, by: Vec::new() }
}

#[test]
fn a_good_day_has_nothing_that_should_not_be() {
    let mut world = World::new();
    for id in ["a", "b"] {
        world.inbound("line-1", "p", id);
    }
    let (one, other) = (CustomerId::derive("1"), CustomerId::derive("2"));
    for customer in [one, other] {
        let (sightings, evidence) = (Vec::new(), by_person());
        world.identity("1", &identity::Event::Created { customer, sightings, evidence });
    }
    let (survivor, absorbed, evidence) = (one, other, by_person());
    world.identity("1", &identity::Event::Merged { survivor, absorbed, evidence });
    world.placed("line-1", "a");
    world.placed("line-1", "b");
    let id = CaseId::derive("k");
    world.routing(&routing::Event::Opened { id, case: case("repair") });
    world.routing(&routing::Event::Queued { id, case: case("repair") });
    let by = "unit/x".to_owned();
    let timing = routing::Timing::default();
    world.routing(&routing::Event::Resolved { id, customer: one, queue: None, by, timing });
    let (reply, push, waiting) = (ItemId::derive("r"), ItemId::derive("p"), ItemId::derive("w"));
    let token = "t".to_owned();
    world
        .notification(&notification::Event::Queued { id: reply, item: item(Way::Reply { token }) });
    for id in [push, waiting] {
        world.notification(&notification::Event::Queued { id, item: item(Way::Push) });
    }
    for id in [reply, push] {
        let outcome = Outcome::Sent;
        world.notification(&notification::Event::Settled {
            id,
            customer: one,
            outcome,
            carrier: None,
        });
    }
    let expected = Report {
        accepted: 2,
        by_kind: [("line".to_owned(), 2)].into(),
        by_type: [("mainstem.channel.line.message.v1".to_owned(), 2)].into(),
        customers: 1,
        merges: 1,
        cases_by_queue: [("repair".to_owned(), 1)].into(),
        cases_resolved: 1,
        replies_delivered: 1,
        pushes_delivered: 1,
        deliveries_waiting: 1,
        requests: Requests { asked: 3, sent: 2, waiting: 1, ..Requests::default() },
        ..Report::default()
    };
    assert_eq!(world.finish(), expected);
}

#[test]
fn what_is_neither_placed_nor_dead_is_lost() {
    let mut world = World::new();
    world.inbound("line-1", "p", "a");
    world.inbound("line-1", "p", "b");
    let origin = format!("{{\"origin\":\"INBOUND/{}\",\"reason\":\"x\"}}", world.sequence);
    world.inbound("line-1", "p", "c");
    // The same id on another channel is another event.
    world.inbound("line-2", "p", "a");
    world.placed("line-1", "a");
    world.store(DEADLETTER, "x", &[], &origin);
    let report = world.finish();
    assert_eq!((report.accepted, report.lost, report.dead_lettered), (4, 2, 1));
}

#[test]
fn a_second_delivery_leaves_no_second_trace_or_is_doubled() {
    let mut world = World::new();
    for _ in 0..2 {
        world.inbound("line-1", "p", "a");
        world.inbound("line-1", "p", "b");
    }
    world.placed("line-1", "a");
    world.placed("line-1", "b");
    world.placed("line-1", "b");
    let id = CaseId::derive("k");
    for _ in 0..2 {
        world.routing(&routing::Event::Opened { id, case: case("repair") });
        let id = ItemId::derive("i");
        world.notification(&notification::Event::Queued { id, item: item(Way::Push) });
    }
    let taken = [("a", 2), ("b", 5)].map(|(id, times)| (source("line-1", id), times)).into();
    let line = Some(Delivered { doubled: 1, ..Delivered::default() });
    let report = world.tally.finish(&Seen { taken, line, ..Seen::default() });
    assert_eq!((report.duplicates_dropped, report.doubled, report.out_of_order), (4, 4, 0));
}

fn source(channel: &str, id: &str) -> Source {
    (channel.to_owned(), id.to_owned())
}

#[test]
fn what_was_answered_200_and_is_nowhere_is_lost() {
    let mut world = World::new();
    let told = r#"{"id":"hash","raw":{"specversion":"1.0","id":"order-1","data":{}}}"#;
    world.inbound_of("shop.order-placed", "shop-web", "p", "hash", told);
    world.placed("shop-web", "hash");
    // INBOUND forgets after a while; CUSTOMER does not.
    world.placed("line-1", "old");
    world.inbound_of("line.unreadable", "line-1", "q", "digest", "not JSON");
    let taken = [
        source("shop-web", "order-1"),
        source("line-1", "old"),
        source("line-1", "digest"),
        source("shop-web", "order-2"),
        source("line-1", "order-1"),
    ];
    assert!(world.tally.is_placed(&taken[0]) && !world.tally.is_placed(&taken[3]));
    let taken = taken.map(|source| (source, 1)).into();
    let report = world.tally.finish(&Seen { taken, not_relayed: 1, ..Seen::default() });
    assert_eq!((report.accepted, report.lost), (2, 3));
    assert_eq!(report.by_kind, [("line".to_owned(), 1), ("shop".to_owned(), 1)].into());
}

#[test]
fn what_line_is_said_to_have_taken_and_has_not_is_lost() {
    let mut world = World::new();
    for id in ["a", "b", "c"].map(ItemId::derive) {
        world.notification(&notification::Event::Queued { id, item: item(Way::Push) });
        let (customer, outcome) = (CustomerId::derive("c"), Outcome::Sent);
        world.notification(&notification::Event::Settled { id, customer, outcome, carrier: None });
    }
    let line = Some(Delivered { accepted: 2, pushes: 1, unseen: 1, ..Delivered::default() });
    let report = world.tally.finish(&Seen { line, relayed: 4, ..Seen::default() });
    assert_eq!((report.lost, report.pushes_delivered, report.pushes_unseen), (1, 1, 1));
    assert_eq!(report.relayed, 4);
}

fn sighting(identifier: &str) -> Sighting {
    Sighting { identifier: identifier.parse().unwrap(), verified: true }
}

#[test]
fn who_owns_what_follows_merges() {
    let (member, receipt, other) = ("member:1", "external:receipt:2", "external:receipt:3");
    let mut world = World::new();
    let epochs = std::mem::take(&mut world.tally.epochs);
    world.tally = Tally { epochs, ..Tally::asking([member, receipt, other].map(str::to_owned)) };
    let customers = ["1", "2", "3"].map(CustomerId::derive);
    for (customer, identifier) in customers.into_iter().zip([member, receipt]) {
        let sightings = vec![sighting(identifier)];
        let evidence = by_person();
        world.identity("1", &identity::Event::Created { customer, sightings, evidence });
    }
    assert!(!world.tally.together(member, receipt));
    let [first, second, third] = customers;
    let merged =
        |survivor, absorbed| identity::Event::Merged { survivor, absorbed, evidence: by_person() };
    world.identity("1", &merged(second, first));
    assert!(world.tally.together(member, receipt));
    assert!(!world.tally.together(member, other) && !world.tally.together(other, "member:9"));
    let (sightings, evidence) = (vec![sighting(other)], by_person());
    world.identity("1", &identity::Event::Attached { customer: third, sightings, evidence });
    world.identity("1", &merged(third, second));
    assert!(world.tally.together(member, other));
}

#[test]
fn a_case_that_is_queued_again_is_not_doubled() {
    let mut world = World::new();
    let id = CaseId::derive("k");
    for queued_times in [1, 2, 2] {
        let case = routing::Case { queued_times, ..case("repair") };
        world.routing(&routing::Event::Queued { id, case });
    }
    assert_eq!(world.finish().doubled, 1);
}

#[test]
fn only_what_one_person_did_on_one_channel_has_an_order() {
    let mut world = World::new();
    for (person, id) in [("p", "a"), ("q", "b"), ("p", "c"), ("p", "d")] {
        world.inbound("line-1", person, id);
    }
    for id in ["b", "c", "a", "d"] {
        world.placed("line-1", id);
    }
    assert_eq!(world.finish().out_of_order, 1);
}

#[test]
fn a_record_that_does_not_count_is_not_counted() {
    let mut world = World::new();
    world.inbound("line-1", "p", "a");
    world.epoch(CUSTOMER, 2);
    // The writer of epoch 1 had this in flight.
    world.placed("line-1", "a");
    let report = world.finish();
    assert_eq!((report.voided, report.lost), (1, 1));
}

#[test]
fn what_ingress_could_not_read_is_dead_lettered_and_not_lost() {
    let mut world = World::new();
    let kind = mainstem_bus::topology::inbound_kind(
        mainstem_domain::configuration::ChannelKind::Line,
        mainstem_bus::topology::UNREADABLE,
    );
    let headers =
        [(header::TYPE, kind.as_str()), (header::CHANNEL, "line-1"), (header::ID, "unreadable-1")];
    world.store(INBOUND, "in.h", &headers, "{garbage");
    let letter = format!(r#"{{"origin":"{INBOUND}/{}","reason":"no JSON"}}"#, world.sequence);
    world.store(DEADLETTER, "d", &[], &letter);
    let report = world.finish();
    assert_eq!((report.accepted, report.dead_lettered, report.lost), (1, 1, 0));
    assert_eq!(report.by_type[&kind], 1);
}
