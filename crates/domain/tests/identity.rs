//! identity-merge against a naive model: a list of people, searched from the start each time.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_domain::configuration::{Configuration, Mode};
use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{
    Event, IDENTIFIERS_AT_MOST, Identity, Input, Profile, SEEN_FOR, State,
};
use mainstem_domain::person::{Act, ChannelEvent, Sighting};
use mainstem_domain::{At, ChannelId, CustomerId, Decider, Decision, EventId};
use proptest::collection::vec;
use proptest::prelude::*;

/// So few that most operations meet what earlier ones left.
const IDENTIFIERS: u8 = 16;
const EVENTS: u8 = 4;

#[derive(Clone, Debug)]
enum Op {
    Inbound {
        event: u8,
        channel: u8,
        identifiers: Vec<u8>,
    },
    /// Customers are picked among all ids ever given out and one that is unknown.
    Attach {
        customer: usize,
        identifier: u8,
    },
    Merge {
        customer: usize,
        other: usize,
        validate_only: bool,
    },
    Wait(Duration),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let wait = prop_oneof![
        Just(SEEN_FOR),
        Just(SEEN_FOR + Duration::from_millis(1)),
        (0..100_000_000_u64).prop_map(Duration::from_millis),
    ];
    // Mostly one identifier, so that there are several customers to merge.
    let seen = prop_oneof![3 => vec(0..IDENTIFIERS, 1), 1 => vec(0..IDENTIFIERS, 0..4)];
    let op = prop_oneof![
        4 => (0..EVENTS, 0..2_u8, seen).prop_map(
            |(event, channel, identifiers)| Op::Inbound { event, channel, identifiers }
        ),
        1 => (0..64_usize, 0..IDENTIFIERS)
            .prop_map(|(customer, identifier)| Op::Attach { customer, identifier }),
        2 => (0..64_usize, 0..64_usize, any::<bool>()).prop_map(
            |(customer, other, validate_only)| Op::Merge { customer, other, validate_only }
        ),
        2 => wait.prop_map(Op::Wait),
    ];
    vec(op, 1..60)
}

fn identifier(number: u8) -> Identifier {
    format!("member:{number}").parse().unwrap()
}

fn inbound(event: &str, channel: u8, identifiers: Vec<Identifier>) -> Input {
    let event = ChannelEvent {
        id: event.parse().unwrap(),
        channel: format!("channel-{channel}").parse().unwrap(),
        store: None,
        brand: None,
        act: Act::Follow,
        sightings: identifiers
            .into_iter()
            .map(|identifier| Sighting { identifier, verified: true })
            .collect(),
        mode: Mode::Live,
        occurred_at: At::default(),
        received_at: At::default(),
        reply_token: None,
    };
    Input::Inbound(event)
}

/// The decider as the engine runs it, with everything that it has decided.
#[derive(Default)]
struct World {
    state: State,
    ledger: Vec<(Event, At)>,
    at: At,
    ids: Vec<CustomerId>,
}

impl World {
    fn customer(&self, pick: usize) -> CustomerId {
        let pick = pick % (self.ids.len() + 1);
        self.ids.get(pick).copied().unwrap_or(CustomerId::derive("nobody"))
    }

    fn input(&self, op: &Op) -> Option<Input> {
        match op {
            Op::Inbound { event, channel, identifiers } => {
                let identifiers = identifiers.iter().copied().map(identifier).collect();
                Some(inbound(&format!("e{event}"), *channel, identifiers))
            }
            Op::Attach { customer, identifier: number } => Some(Input::Attach {
                customer: self.customer(*customer),
                identifier: identifier(*number),
            }),
            Op::Merge { customer, other, validate_only } => Some(Input::Merge {
                customer: self.customer(*customer),
                other: self.customer(*other),
                validate_only: *validate_only,
            }),
            Op::Wait(_) => None,
        }
    }

    fn decide(&self, input: &Input) -> Decision<Event, Profile> {
        Identity::decide(&self.state, &Configuration::default(), input, self.at)
    }

    /// Runs one operation. `None`: time passed and nothing was asked.
    fn run(&mut self, op: &Op) -> Option<(Input, Decision<Event, Profile>)> {
        if let Op::Wait(span) = op {
            self.at = self.at.after(*span);
        }
        let input = self.input(op)?;
        let decision = self.decide(&input);
        for event in &decision.events {
            if let Event::Created { customer, .. } = event {
                self.ids.push(*customer);
            }
            Identity::evolve(&mut self.state, event, self.at);
            self.ledger.push((event.clone(), self.at));
        }
        Some((input, decision))
    }
}

#[derive(Clone, Debug)]
struct Person {
    /// The first one is the living id, the rest are aliases.
    ids: Vec<CustomerId>,
    created_at: At,
    identifiers: BTreeSet<Identifier>,
}

#[derive(Default)]
struct Model {
    people: Vec<Person>,
    seen: Vec<(At, ChannelId, EventId)>,
}

impl Model {
    fn has(&self, identifier: &Identifier) -> Option<usize> {
        self.people.iter().position(|person| person.identifiers.contains(identifier))
    }

    fn is(&self, id: CustomerId) -> Option<usize> {
        self.people.iter().position(|person| person.ids.contains(&id))
    }

    /// What should happen. `new` is the id that the decider gave if it made somebody new; what
    /// the id is, is its own affair, but it must be a fresh one.
    fn run(&mut self, input: &Input, at: At, new: Option<CustomerId>) {
        match input {
            Input::Inbound(event) => {
                if self.seen.iter().any(|(_, c, e)| (c, e) == (&event.channel, &event.id)) {
                    return;
                }
                self.seen.push((at, event.channel.clone(), event.id.clone()));
                self.seen.retain(|(seen, ..)| at.since(*seen) <= SEEN_FOR);
                if event.sightings.is_empty() {
                    return;
                }
                let owner =
                    event.sightings.iter().find_map(|sighting| self.has(&sighting.identifier));
                let owner = owner.unwrap_or_else(|| {
                    let id = new.expect("somebody new");
                    assert_eq!(self.is(id), None, "{id} was given before");
                    let identifiers = BTreeSet::new();
                    self.people.push(Person { ids: vec![id], created_at: at, identifiers });
                    self.people.len() - 1
                });
                for Sighting { identifier, .. } in &event.sightings {
                    if self.has(identifier).is_none() {
                        self.people[owner].identifiers.insert(identifier.clone());
                    }
                }
            }
            Input::Attach { customer, identifier } => {
                if let (Some(person), None) = (self.is(*customer), self.has(identifier)) {
                    self.people[person].identifiers.insert(identifier.clone());
                }
            }
            Input::Merge { customer, other, validate_only: false } => {
                let (Some(one), Some(other)) = (self.is(*customer), self.is(*other)) else {
                    return;
                };
                if one == other {
                    return;
                }
                let age = |index: usize| (self.people[index].created_at, self.people[index].ids[0]);
                let (kept, gone) = if age(one) < age(other) { (one, other) } else { (other, one) };
                let gone_person = self.people[gone].clone();
                self.people[kept].ids.extend(gone_person.ids);
                self.people[kept].identifiers.extend(gone_person.identifiers);
                self.people.remove(gone);
            }
            Input::Merge { validate_only: true, .. } | Input::Wakeup(_) => {}
        }
    }
}

fn created(decision: &Decision<Event, Profile>) -> Option<CustomerId> {
    decision.events.iter().find_map(|event| match event {
        Event::Created { customer, .. } => Some(*customer),
        Event::Attached { .. } | Event::Merged { .. } | Event::Channel { .. } => None,
    })
}

proptest! {
    /// Also: an identifier has at most one owner, none is lost, an alias leads to a living
    /// customer, and a merge keeps what both had.
    #[test]
    fn the_state_is_the_models(ops in ops()) {
        let (mut world, mut model) = (World::default(), Model::default());
        for op in &ops {
            let Some((input, decision)) = world.run(op) else { continue };
            model.run(&input, world.at, created(&decision));

            prop_assert_eq!(world.state.customers(), model.people.len());
            for person in &model.people {
                for id in &person.ids {
                    let profile = world.state.customer(*id).unwrap();
                    prop_assert_eq!(profile.id, person.ids[0]);
                    prop_assert_eq!(profile.customer.created_at, person.created_at);
                    prop_assert!(profile.customer.identifiers.iter().eq(&person.identifiers));
                    let aliases: BTreeSet<_> = person.ids[1..].iter().collect();
                    prop_assert!(profile.customer.aliases.iter().eq(aliases));
                }
            }
            for number in 0..IDENTIFIERS {
                let identifier = identifier(number);
                let owner = model.has(&identifier).map(|index| model.people[index].ids[0]);
                prop_assert_eq!(world.state.owner(&identifier), owner);
            }
        }
    }

    #[test]
    fn an_event_goes_to_the_owner_of_its_first_known_identifier(ops in ops()) {
        let mut world = World::default();
        for op in &ops {
            let before = world.state.clone();
            let Some((Input::Inbound(event), decision)) = world.run(op) else { continue };
            if before.has_seen(&event.channel, &event.id) {
                prop_assert_eq!(decision, Decision::silent());
                continue;
            }
            let known = event.sightings.iter().find_map(|sighting| before.owner(&sighting.identifier));
            let Some(Event::Channel { customer, channel, event: id }) = decision.events.last()
            else {
                return Err(TestCaseError::fail("the event itself is not the last record"));
            };
            prop_assert_eq!((channel, id), (&event.channel, &event.id));
            prop_assert_eq!(*customer, known.or(created(&decision)));
            prop_assert_eq!(customer.is_none(), event.sightings.is_empty());
        }
    }

    #[test]
    fn the_same_event_again_changes_nothing(ops in ops(), span in 0..=SEEN_FOR.as_millis()) {
        let mut world = World::default();
        let span = Duration::from_millis(u64::try_from(span).unwrap());
        for op in &ops {
            let Some((input @ Input::Inbound(_), decision)) = world.run(op) else { continue };
            if decision.events.is_empty() {
                continue;
            }
            // At once, later, and at the last moment of the time that it is remembered for.
            for later in [Duration::ZERO, span, SEEN_FOR] {
                let at = world.at.after(later);
                let configuration = Configuration::default();
                let again = Identity::decide(&world.state, &configuration, &input, at);
                prop_assert_eq!(again, Decision::silent());
            }
        }
    }

    /// And so for events that come again after others have been taken meanwhile.
    #[test]
    fn no_event_is_recorded_twice_within_its_time(ops in ops()) {
        let mut world = World::default();
        for op in &ops {
            world.run(op);
        }
        let recorded: Vec<_> = world
            .ledger
            .iter()
            .filter_map(|(event, at)| match event {
                Event::Channel { channel, event, .. } => Some((channel, event, *at)),
                Event::Created { .. } | Event::Attached { .. } | Event::Merged { .. } => None,
            })
            .collect();
        for (index, (channel, event, at)) in recorded.iter().enumerate() {
            for (other_channel, other, earlier) in &recorded[..index] {
                let same = channel == other_channel && event == other;
                prop_assert!(!same || at.since(*earlier) > SEEN_FOR);
            }
        }
    }

    #[test]
    fn an_answer_is_the_state_after_it_and_a_refusal_changes_nothing(ops in ops()) {
        let mut world = World::default();
        for op in &ops {
            let Some((input, decision)) = world.run(op) else { continue };
            match (&input, decision.answer) {
                (Input::Inbound(_) | Input::Wakeup(_), answer) => prop_assert_eq!(answer, None),
                (_, Some(Err(_))) => prop_assert!(decision.events.is_empty()),
                (Input::Merge { customer, other, validate_only: true }, Some(Ok(answer))) => {
                    prop_assert!(decision.events.is_empty());
                    let input =
                        Input::Merge { customer: *customer, other: *other, validate_only: false };
                    prop_assert_eq!(world.decide(&input).answer, Some(Ok(answer)));
                }
                (Input::Attach { .. } | Input::Merge { .. }, Some(Ok(answer))) => {
                    prop_assert_eq!(world.state.customer(answer.id), Some(answer));
                }
                (Input::Attach { .. } | Input::Merge { .. }, None) => {
                    return Err(TestCaseError::fail("a command without an answer"));
                }
            }
        }
    }

    #[test]
    fn the_state_is_the_fold_of_the_ledger(ops in ops()) {
        let mut world = World::default();
        for op in &ops {
            world.run(op);
        }
        let mut folded = State::default();
        for (event, at) in &world.ledger {
            Identity::evolve(&mut folded, event, *at);
        }
        prop_assert!(folded == world.state);
    }

    #[test]
    fn nobody_has_too_many_identifiers(
        events in vec((0..400_usize, 0..150_usize), 1..8),
    ) {
        let mut world = World::default();
        for (index, (first, count)) in events.into_iter().enumerate() {
            let identifiers =
                (first..first + count).map(|n| format!("member:{n}").parse().unwrap()).collect();
            let input = inbound(&format!("e{index}"), 0, identifiers);
            for event in world.decide(&input).events {
                if let Event::Created { customer, .. } = &event {
                    world.ids.push(*customer);
                }
                Identity::evolve(&mut world.state, &event, world.at);
            }
            for id in &world.ids {
                let profile = world.state.customer(*id).unwrap();
                prop_assert!(profile.customer.identifiers.len() <= IDENTIFIERS_AT_MOST);
            }
        }
    }
}

/// A customer is full: what is attached, merged or seen more is refused or left out.
#[test]
fn a_full_customer_takes_no_more() {
    let mut world = World::default();
    let numbered = |range: std::ops::Range<usize>| -> Vec<Identifier> {
        range.map(|n| format!("member:{n}").parse().unwrap()).collect()
    };
    let take = |world: &mut World, event: &str, identifiers| {
        let decision = world.decide(&inbound(event, 0, identifiers));
        for event in &decision.events {
            Identity::evolve(&mut world.state, event, world.at);
        }
        created(&decision)
    };
    let full = take(&mut world, "e1", numbered(0..IDENTIFIERS_AT_MOST)).unwrap();
    let other = take(&mut world, "e2", numbered(200..201)).unwrap();
    assert_eq!(take(&mut world, "e3", numbered(99..110)), None);
    let profile = world.state.customer(full).unwrap();
    assert_eq!(profile.customer.identifiers.len(), IDENTIFIERS_AT_MOST);

    let attach = Input::Attach { customer: full, identifier: identifier(201) };
    let merge = Input::Merge { customer: full, other, validate_only: false };
    for input in [attach, merge] {
        let decision = world.decide(&input);
        assert_eq!(decision.answer.unwrap().unwrap_err().reason, "TOO_MANY_IDENTIFIERS");
        assert_eq!(decision.events, []);
    }
}
