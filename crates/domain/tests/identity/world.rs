//! The decider as the engine runs it, and what happens to it: few identifiers and low limits, so
//! that most of what happens meets what was there before.

use std::time::Duration;

use mainstem_domain::configuration::{Configuration, Mode};
use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Event, Identity, Input, Profile, SEEN_FOR, State};
use mainstem_domain::person::{Act, ChannelEvent, Sighting};
use mainstem_domain::{At, CustomerId, Decider, Decision};
use proptest::collection::vec;
use proptest::prelude::*;

/// Everything that can be seen of anybody.
pub(crate) const IDENTIFIERS: [&str; 20] = [
    "cookie:1",
    "cookie:2",
    "cookie:3",
    "cookie:4",
    "cookie:5",
    "external:pos:1",
    "external:pos:2",
    "external:shop:1",
    "line:p:U1",
    "line:p:U2",
    "line:q:U1",
    "email:a@b",
    "email:b@b",
    "email:c@b",
    "phone:+88691234560",
    "phone:+88691234561",
    "phone:+88691234562",
    "member:1",
    "member:2",
    "member:null",
];

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Inbound(Seen),
    /// Customers are picked among all ids ever given out and one that is unknown.
    Attach {
        customer: usize,
        identifier: usize,
    },
    Merge {
        customer: usize,
        other: usize,
        validate_only: bool,
    },
    Wait(Duration),
}

/// An event: its number, its channel, and places in [`IDENTIFIERS`], each verified or not.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) event: u8,
    pub(crate) channel: u8,
    pub(crate) sightings: Vec<(usize, bool)>,
}

/// Mostly one or two identifiers, so that there are several customers to join; sometimes many.
pub(crate) fn seen(events: u8, verified: BoxedStrategy<bool>) -> impl Strategy<Value = Seen> {
    let one = (0..IDENTIFIERS.len(), verified);
    let sightings = prop_oneof![
        4 => vec(one.clone(), 1),
        4 => vec(one.clone(), 2),
        3 => vec(one.clone(), 3),
        1 => vec(one, 0..8),
    ];
    (0..events, 0..2_u8, sightings).prop_map(|(event, channel, sightings)| Seen {
        event,
        channel,
        sightings,
    })
}

pub(crate) fn mostly() -> BoxedStrategy<bool> {
    prop_oneof![1 => Just(false), 3 => Just(true)].boxed()
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let wait = prop_oneof![
        Just(SEEN_FOR),
        Just(SEEN_FOR + Duration::from_millis(1)),
        (0..100_000_000_u64).prop_map(Duration::from_millis),
    ];
    let op = prop_oneof![
        8 => seen(20, mostly()).prop_map(Op::Inbound),
        1 => (0..64_usize, 0..IDENTIFIERS.len())
            .prop_map(|(customer, identifier)| Op::Attach { customer, identifier }),
        1 => (0..64_usize, 0..64_usize, any::<bool>()).prop_map(
            |(customer, other, validate_only)| Op::Merge { customer, other, validate_only }
        ),
        2 => wait.prop_map(Op::Wait),
    ];
    vec(op, 1..50)
}

/// Limits that a few events reach exactly.
pub(crate) fn narrow() -> Configuration {
    configuration(&serde_json::json!({
        "member": 1, "phone": 2, "email": 1, "line": 2, "external": 2, "cookie": 3,
    }))
}

/// Limits that nothing here reaches.
pub(crate) fn wide() -> Configuration {
    configuration(&serde_json::json!({"member": 150, "phone": 150, "email": 150}))
}

pub(crate) fn configuration(limits: &serde_json::Value) -> Configuration {
    serde_json::from_value(serde_json::json!({"identity": {"limits": limits}})).unwrap()
}

pub(crate) fn id(text: &str) -> Identifier {
    text.parse().unwrap()
}

pub(crate) fn inbound(event: &str, channel: u8, sightings: Vec<(Identifier, bool)>) -> Input {
    Input::Inbound(ChannelEvent {
        id: event.parse().unwrap(),
        channel: format!("channel-{channel}").parse().unwrap(),
        store: None,
        brand: None,
        act: Act::Follow,
        sightings: sightings
            .into_iter()
            .map(|(identifier, verified)| Sighting { identifier, verified })
            .collect(),
        mode: Mode::Live,
        occurred_at: At::default(),
        received_at: At::default(),
        reply_token: None,
        attributes: Vec::new(),
        consents: Vec::new(),
    })
}

impl Seen {
    pub(crate) fn input(&self) -> Input {
        let sightings = self.sightings.iter().map(|(n, v)| (id(IDENTIFIERS[*n]), *v)).collect();
        inbound(&format!("e{}", self.event), self.channel, sightings)
    }
}

/// The decider as the engine runs it, with everything that it has decided.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) configuration: Configuration,
    pub(crate) state: State,
    pub(crate) ledger: Vec<(Event, At)>,
    pub(crate) at: At,
    /// Every id that was ever given.
    pub(crate) ids: Vec<CustomerId>,
}

impl World {
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self { configuration, ..Self::default() }
    }

    fn customer(&self, pick: usize) -> CustomerId {
        let pick = pick % (self.ids.len() + 1);
        self.ids.get(pick).copied().unwrap_or(CustomerId::derive("nobody"))
    }

    fn input(&self, op: &Op) -> Option<Input> {
        match op {
            Op::Inbound(seen) => Some(seen.input()),
            Op::Attach { customer, identifier } => Some(Input::Attach {
                customer: self.customer(*customer),
                identifier: id(IDENTIFIERS[*identifier]),
            }),
            Op::Merge { customer, other, validate_only } => Some(Input::Merge {
                customer: self.customer(*customer),
                other: self.customer(*other),
                validate_only: *validate_only,
            }),
            Op::Wait(_) => None,
        }
    }

    pub(crate) fn decide(&self, input: &Input) -> Decision<Event, Profile> {
        Identity::decide(&self.state, &self.configuration, input, self.at)
    }

    pub(crate) fn take(&mut self, input: &Input) -> Decision<Event, Profile> {
        let decision = self.decide(input);
        for event in &decision.events {
            if let Event::Created { customer, .. } = event {
                self.ids.push(*customer);
            }
            Identity::evolve(&mut self.state, event, self.at);
            self.ledger.push((event.clone(), self.at));
        }
        decision
    }

    /// Runs one operation. `None`: time passed and nothing was asked.
    pub(crate) fn run(&mut self, op: &Op) -> Option<(Input, Decision<Event, Profile>)> {
        if let Op::Wait(span) = op {
            self.at = self.at.after(*span);
        }
        let input = self.input(op)?;
        let decision = self.take(&input);
        Some((input, decision))
    }

    /// Every living customer once.
    pub(crate) fn customers(&self) -> Vec<Profile> {
        let all = self.state.customers_after(None);
        all.map(|(id, customer)| Profile { id: *id, customer: customer.clone() }).collect()
    }

    /// Whether every event so far was told without a doubt.
    pub(crate) fn undoubted(&self) -> bool {
        self.ledger
            .iter()
            .all(|(event, _)| !matches!(event, Event::Suggested { .. } | Event::Conflicted { .. }))
    }
}

pub(crate) fn created(decision: &Decision<Event, Profile>) -> Option<CustomerId> {
    decision.events.iter().find_map(|event| match event {
        Event::Created { customer, .. } => Some(*customer),
        Event::Attached { .. }
        | Event::Merged { .. }
        | Event::Suggested { .. }
        | Event::Conflicted { .. }
        | Event::Channel { .. } => None,
    })
}
