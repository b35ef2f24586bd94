//! What happens outside, phase by phase; follows from the seed alone, so that a world with faults
//! and one without see the same.
//!
//! In a phase everything has the same moment, and each customer has at most one story, so nothing
//! but causes orders what is decided about one customer. Between phases the world becomes quiet,
//! and the ledgers note how far everything was read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mainstem_bus::engine::Applied;
use mainstem_bus::record::header;
use mainstem_bus::{Headers, Machine as _, Record, topology};
use mainstem_domain::configuration::Configuration;
use mainstem_domain::{At, CaseId, CustomerId};
use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_routing::RoutingMachine;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::calls::{Asked, CLAIMED, Call, cancel, claim, method, resolve, resolves_at_once};

/// Between two phases: some times the span for which an engine stays silent about its position,
/// and shorter than the broker remembers ids.
const PHASE: Duration = Duration::from_mins(1);

const START: At = At::from_millis(1_795_219_200_000);

const DESK: &str = "desk/central";

/// Everything that will happen.
#[derive(Debug)]
pub struct Workload {
    /// One after the other.
    pub phases: Vec<Phase>,
    /// Every event with its channel, however often it is delivered.
    pub events: BTreeSet<(String, String)>,
    /// How many messages nobody can read.
    pub unreadable: usize,
}

/// What happens at one moment.
#[derive(Debug)]
pub struct Phase {
    /// The moment.
    pub at: At,
    /// Published to `INBOUND` in this order.
    pub inbound: Vec<Record>,
    /// Each list by a client of its own.
    pub calls: Vec<Vec<Call>>,
}

/// One customer as the workload knows it.
#[derive(Clone, Debug)]
struct Person {
    users: Vec<usize>,
    known: Option<Known>,
    /// The one membership number that a customer can have.
    member: Option<usize>,
    /// Cases that are not finished, by brand and rule.
    open: BTreeMap<(&'static str, &'static str), String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    since: At,
    id: CustomerId,
    /// The channel on which the customer was seen.
    channel: &'static str,
}

struct Maker {
    rng: ChaCha8Rng,
    people: Vec<Person>,
    phase: Phase,
    made: Workload,
    next: usize,
    /// Open cases of the queue that is claimed from, in the order in which it is served.
    waiting: BTreeSet<(At, String)>,
    /// Whether one of them left in this phase: which one a second claim meets would be chance.
    left: bool,
}

/// What people write and tap, and the rule that opens a case for it.
const ACTS: [(&str, &str, Option<&str>); 8] = [
    ("text", "my bag is broken", Some("broken")),
    ("postback", "menu=repair&from=menu", Some("repair")),
    ("postback", "menu=advice", Some("advice")),
    ("text", "what is the price?", None),
    ("text", "good morning", None),
    ("postback", "menu=none", None),
    ("follow", "", None),
    ("other", "beacon", None),
];

/// Channels with their brands.
const CHANNELS: [(&str, &str); 2] = [("line-1", "aurora"), ("line-2", "borea")];

impl Workload {
    /// The workload of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let people = (0..14)
            .map(|user| Person {
                users: vec![user],
                known: None,
                member: None,
                open: BTreeMap::new(),
            })
            .collect();
        let mut maker = Maker {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x0077_6f72_6b6c_6f61),
            people,
            phase: Phase { at: START, inbound: Vec::new(), calls: Vec::new() },
            made: Self { phases: Vec::new(), events: BTreeSet::new(), unreadable: 0 },
            next: 0,
            waiting: BTreeSet::new(),
            left: false,
        };
        maker.configure(1);
        let phases = maker.rng.random_range(4..=6);
        for phase in 0..phases {
            if phase == phases / 2 {
                maker.configure(2);
            }
            maker.stories();
        }
        maker.made
    }

    /// Every configuration that is applied.
    pub fn configurations(&self) -> impl Iterator<Item = &Arc<Applied>> {
        let calls = self.phases.iter().flat_map(|phase| phase.calls.iter().flatten());
        calls.filter_map(|call| match &call.asked {
            Asked::Configure(applied) => Some(applied),
            Asked::Method { .. } => None,
        })
    }
}

impl Maker {
    fn end_phase(&mut self) {
        let next = Phase { at: self.phase.at.after(PHASE), inbound: Vec::new(), calls: Vec::new() };
        self.made.phases.push(std::mem::replace(&mut self.phase, next));
        self.left = false;
    }

    /// A phase of its own: which configuration an event meets must not be left to chance.
    fn configure(&mut self, version: u32) {
        let applied =
            Arc::new(Applied { digest: format!("{version:064}"), configuration: rules(version) });
        let services =
            [IdentityMachine::SERVICE, RoutingMachine::SERVICE, NotificationMachine::SERVICE];
        for service in services {
            let asked = Asked::Configure(applied.clone());
            let call = Call::command(service, "operator/x", &format!("apply/{version}"), asked);
            self.phase.calls.push(vec![call]);
        }
        self.end_phase();
    }

    fn stories(&mut self) {
        self.people.shuffle(&mut self.rng);
        let mut index = 0;
        while index < self.people.len() {
            if self.claims(index) {
                index += 1;
                continue;
            }
            match self.rng.random_range(0..20) {
                0..9 => self.act(index),
                9..11 => self.attach(index),
                11..13 => self.send(index),
                13..15 => self.end(index),
                15 | 19 if index + 1 < self.people.len() => index += self.meet(index),
                16 => self.nobody(),
                17 => self.nonsense(),
                18 => self.repeat(),
                _ => {}
            }
            index += 1;
        }
        self.end_phase();
    }

    /// The customer does something on a channel.
    fn act(&mut self, index: usize) {
        let (kind, what, rule) = ACTS[self.rng.random_range(0..ACTS.len())];
        let (channel, brand) = CHANNELS[self.rng.random_range(0..CHANNELS.len())];
        let person = &self.people[index];
        let user = person.users[self.rng.random_range(0..person.users.len())];
        let mut identifiers =
            vec![json!({"identifier": format!("line:p:U{user}"), "verified": true})];
        let member = self.rng.random_ratio(1, 3);
        if member {
            // A second one is set aside: it is only asserted.
            identifiers.push(json!({"identifier": format!("member:M{user}")}));
        }
        if self.rng.random_ratio(1, 6) {
            identifiers.push(json!({"identifier": "cookie:null", "verified": true}));
        }
        let event = self.event(channel, brand, kind, what, &identifiers);
        let person = &mut self.people[index];
        if member {
            person.member.get_or_insert(user);
        }
        person.known.get_or_insert_with(|| Known {
            since: self.phase.at,
            id: CustomerId::derive(&format!("{channel}/{event}")),
            channel,
        });
        let Some(rule) = rule else { return };
        let key = (brand, rule);
        let case = CaseId::derive(&format!("{channel}/{event}")).to_string();
        if person.open.contains_key(&key) {
            return;
        }
        if rule == CLAIMED {
            self.waiting.insert((self.phase.at, case.clone()));
            person.open.insert(key, case);
        } else if !resolves_at_once(&case) {
            person.open.insert(key, case);
        }
    }

    /// The worker claims the customer's case, if it is the one that comes next.
    fn claims(&mut self, index: usize) -> bool {
        let Some((opened_at, case)) = self.waiting.first() else { return false };
        let theirs = self.people[index].open.values().any(|open| open == case);
        let settled = *opened_at < self.phase.at && !self.left;
        if !theirs || !settled || self.rng.random_ratio(1, 3) {
            return false;
        }
        self.waiting.pop_first();
        self.left = true;
        let id = self.request_id("claim");
        self.phase.calls.push(vec![claim(&id, CLAIMED)]);
        true
    }

    fn attach(&mut self, index: usize) {
        let Some(known) = self.people[index].known else { return };
        let number = self.rng.random_range(0..6);
        let id = self.request_id("attach");
        let body = json!({
            "requestId": id, "customer": known.id.as_str(), "identifier": format!("phone:+88690000000{number}"),
        });
        // Two of one phase must not want the same number.
        let taken = self.phase.calls.iter().flatten().any(|call| match &call.asked {
            Asked::Method { body, .. } => body.contains(&format!("phone:+88690000000{number}\"")),
            Asked::Configure(_) => false,
        });
        if !taken {
            self.ask(IdentityMachine::SERVICE, &id, "AttachIdentifier", &body);
        }
    }

    fn send(&mut self, index: usize) {
        let Some(known) = self.people[index].known else { return };
        let id = self.request_id("send");
        let body = json!({
            "requestId": id, "customer": known.id.as_str(), "channel": known.channel, "text": format!("news {id}"),
        });
        self.ask(NotificationMachine::SERVICE, &id, "Send", &body);
        if self.rng.random_ratio(1, 3) {
            // Then another request under the same id.
            let mut other = body;
            other["text"] = "something else".into();
            let asked = method("Send", &other);
            let call = Call::command(NotificationMachine::SERVICE, DESK, &id, asked);
            self.phase.calls.last_mut().expect("it was just put there").push(call);
        }
    }

    /// The worker ends a case: one that nobody has claimed can only be cancelled.
    fn end(&mut self, index: usize) {
        let Some(entry) = self.people[index].open.first_entry() else { return };
        let case = entry.get().clone();
        let waits = self.waiting.iter().find(|(_, waiting)| *waiting == case).cloned();
        if let Some(waits) = waits {
            if waits.0 == self.phase.at || self.left {
                return;
            }
            entry.remove();
            self.waiting.remove(&waits);
            self.left = true;
            self.phase.calls.push(vec![cancel(&case)]);
            return;
        }
        entry.remove();
        let gives_up = case.bytes().map(u32::from).sum::<u32>().is_multiple_of(3);
        self.phase.calls.push(vec![if gives_up { cancel(&case) } else { resolve(&case) }]);
    }

    /// This customer and the next one are found to be one, by a command or by an event; or it is
    /// only asserted, or two membership numbers forbid it. How many stories it took from others.
    fn meet(&mut self, index: usize) -> usize {
        let (one, other) = (self.people[index].clone(), self.people[index + 1].clone());
        let (Some(known), Some(met)) = (one.known, other.known) else { return 0 };
        let asserted = self.rng.random_ratio(1, 4);
        let merges = !asserted && (one.member.is_none() || other.member.is_none());
        if merges && !one.open.is_empty() && !other.open.is_empty() {
            return 0;
        }
        if !asserted && self.rng.random_ratio(1, 3) {
            let id = self.request_id("merge");
            let body = json!({
                "requestId": id, "customer": known.id.as_str(), "other": met.id.as_str(),
            });
            self.ask(IdentityMachine::SERVICE, &id, "MergeCustomers", &body);
        } else {
            let (channel, brand) = CHANNELS[self.rng.random_range(0..CHANNELS.len())];
            let line = |user: usize, verified: bool| json!({"identifier": format!("line:p:U{user}"), "verified": verified});
            let both = [line(one.users[0], true), line(other.users[0], !asserted)];
            self.event(channel, brand, "other", "account-link", &both);
        }
        if !merges {
            return 1;
        }
        self.people.remove(index + 1);
        let person = &mut self.people[index];
        person.known = person.known.min(Some(met));
        person.users.extend(other.users);
        person.member = person.member.or(other.member);
        person.open.extend(other.open);
        0
    }

    fn nobody(&mut self) {
        let blocked = json!({"identifier": "member:0000", "verified": true});
        let identifiers = if self.rng.random() { vec![blocked] } else { Vec::new() };
        self.event("line-1", "aurora", "other", "account-link", &identifiers);
    }

    fn nonsense(&mut self) {
        self.made.unreadable += 1;
        let body =
            if self.rng.random() { "{\"id\": 7" } else { "{\"id\":\"x\",\"channel\":\"A B\"}" };
        self.publish("line-1", "aurora", &format!("bad-{}", self.made.unreadable), body.to_owned());
    }

    /// The source delivers an event again that it has delivered before.
    fn repeat(&mut self) {
        let earlier: Vec<_> = self
            .made
            .phases
            .iter()
            .flat_map(|phase| &phase.inbound)
            .chain(&self.phase.inbound)
            .collect();
        let readable: Vec<_> = earlier
            .into_iter()
            .filter(|record| !record.header(header::ID).unwrap_or_default().starts_with("bad"))
            .collect();
        if readable.is_empty() {
            return;
        }
        let again = readable[self.rng.random_range(0..readable.len())].clone();
        self.phase.inbound.push(again);
    }

    fn request_id(&mut self, what: &str) -> String {
        self.next += 1;
        format!("{what}/{}", self.next)
    }

    fn ask(&mut self, service: &'static str, id: &str, name: &'static str, body: &Value) {
        let call = Call::command(service, DESK, id, method(name, body));
        self.phase.calls.push(vec![call]);
    }

    fn event(
        &mut self,
        channel: &str,
        brand: &str,
        kind: &str,
        what: &str,
        identifiers: &[Value],
    ) -> String {
        self.next += 1;
        let id = format!("e{}", self.next);
        let mut body = json!({
            "id": id, "channel": channel, "store": "taipei-1", "brand": brand,
            "occurTime": self.phase.at.to_string(), "receiveTime": self.phase.at.to_string(),
            "identifiers": identifiers,
        });
        body[kind] = if kind == "follow" { json!({}) } else { what.into() };
        if self.rng.random() {
            body["replyToken"] = format!("token-{id}").into();
        }
        self.made.events.insert((channel.to_owned(), id.clone()));
        self.publish(channel, brand, &id, body.to_string());
        id
    }

    fn publish(&mut self, channel: &str, brand: &str, id: &str, body: String) {
        let mut headers = Headers::default();
        headers.set(header::SPEC_VERSION, "1.0");
        headers.set(header::ID, id);
        headers.set(header::SOURCE, format!("/mainstem/channels/{channel}"));
        headers.set(header::TYPE, "mainstem.channel.line.event.v1");
        headers.set(header::TIME, self.phase.at.to_string());
        headers.set(header::CHANNEL, channel);
        headers.set(header::BRAND, brand);
        let channel = channel.parse().expect("a channel's id");
        let subject = topology::inbound_subject("line", &channel, "h");
        self.phase.inbound.push(Record { subject, headers, body: body.into() });
    }
}

/// The rules; the second version says things differently and knows one more word.
fn rules(version: u32) -> Configuration {
    let mut configuration = json!({
        "brands": {"aurora": {"name": "Aurora"}, "borea": {"name": "Borea"}},
        "stores": {"taipei-1": {"name": "Taipei 1"}},
        "channels": {
            "line-1": {"brand": "aurora", "store": "taipei-1"},
            "line-2": {"brand": "borea", "store": "taipei-1"},
        },
        "queues": {"repair": {"name": "Repair"}, "advice": {"name": "Advice"}},
        "rules": [
            {"name": "repair", "when": "event.menu == 'repair'", "open": {"queue": "repair", "priority": "P2"}, "reply": "opened"},
            {"name": "advice", "when": "event.menu == 'advice'", "open": {"queue": "advice"}, "reply": "opened"},
            {"name": "broken", "when": "event.text.lowerAscii().contains('broken')", "open": {"queue": "repair"}, "reply": "opened"},
            {"name": "price", "when": "event.text.lowerAscii().contains('price')", "reply": "price"},
            {"name": "hello", "when": "event.type == 'follow'", "reply": "hello"},
        ],
        // A test says the same at every time of the day.
        "notification": {"quiet_hours": null},
        "templates": {
            "opened": {"house": format!("v{version}: case {{case}}"), "brands": {"aurora": "Aurora has {case}"}},
            "price": {"house": format!("v{version}: it depends")},
            "hello": {"house": "welcome"},
            "case-resolved": {"house": "done: {case}"},
            "case-cancelled": {"house": "not done: {case}"},
        },
    });
    if version > 1 {
        let rules = configuration["rules"].as_array_mut().expect("a list");
        rules.push(json!({"name": "greet", "when": "event.text.lowerAscii().contains('morning')", "reply": "hello"}));
    }
    serde_json::from_value(configuration).expect("a configuration")
}
