//! What holds whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstem_domain::configuration::Configuration;
use mainstem_domain::identifier::{Identifier, Kind};
use mainstem_domain::identity::{Event, Evidence, Identity, Input, SEEN_FOR, State};
use mainstem_domain::person::{ChannelEvent, Sighting};
use mainstem_domain::{CustomerId, Decider, Decision};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::{Model, Verdict};
use crate::world::{IDENTIFIERS, Seen, World, created, id, mostly, narrow, ops, seen, wide};

/// Identifiers by customer, without the customers' ids.
fn partition(world: &World) -> BTreeSet<BTreeSet<Identifier>> {
    let all = world.customers().into_iter();
    all.map(|profile| profile.customer.identifiers.into_iter().collect()).collect()
}

/// What belongs together when every event ties what it carries, found by joining sets until no
/// event joins two.
fn components(events: &[Seen]) -> BTreeSet<BTreeSet<Identifier>> {
    let carried = |seen: &Seen| -> BTreeSet<Identifier> {
        let all = seen.sightings.iter().map(|(number, _)| id(IDENTIFIERS[*number]));
        all.filter(|one| !crate::model::is_blocked(one)).collect()
    };
    let mut sets: Vec<_> = events.iter().map(carried).filter(|set| !set.is_empty()).collect();
    'again: loop {
        for one in 0..sets.len() {
            for other in one + 1..sets.len() {
                if !sets[one].is_disjoint(&sets[other]) {
                    let joined = sets.remove(other);
                    sets[one].extend(joined);
                    continue 'again;
                }
            }
        }
        return sets.into_iter().collect();
    }
}

/// Events with different ids, and the same ones in another order.
fn shuffled(
    verified: impl Fn() -> BoxedStrategy<bool>,
) -> impl Strategy<Value = (Vec<Seen>, Vec<Seen>)> {
    vec(seen(1, verified()), 1..20).prop_flat_map(|mut events| {
        for (number, seen) in events.iter_mut().enumerate() {
            seen.event = u8::try_from(number).unwrap();
        }
        (Just(events.clone()), Just(events).prop_shuffle())
    })
}

fn told(events: &[Seen], configuration: Configuration) -> World {
    let mut world = World::new(configuration);
    for seen in events {
        world.at = world.at.after(Duration::from_secs(1));
        world.take(&seen.input());
    }
    world
}

fn evidence_of(event: &Event) -> Option<&Evidence> {
    match event {
        Event::Created { evidence, .. }
        | Event::Attached { evidence, .. }
        | Event::Merged { evidence, .. } => evidence.as_ref(),
        Event::Suggested { evidence, .. } | Event::Conflicted { evidence, .. } => Some(evidence),
        Event::Channel { .. } => None,
    }
}

/// What the decider said about an event, in the words of the model.
fn verdict(decision: &[Event]) -> Verdict {
    let mut said = Verdict::default();
    for event in decision {
        match event {
            Event::Created { sightings, .. } => {
                said.attached.extend(sightings.iter().map(|one| one.identifier.clone()));
            }
            Event::Attached { sighting, .. } => said.attached.push(sighting.identifier.clone()),
            Event::Merged { absorbed, .. } => said.merged.push(*absorbed),
            Event::Suggested { other, .. } => said.suggested.push(*other),
            Event::Conflicted { set_aside, kinds, .. } => {
                said.conflict = true;
                said.set_aside.clone_from(set_aside);
                said.kinds = kinds.iter().copied().collect();
            }
            Event::Channel { customer, .. } => said.customer = *customer,
        }
    }
    said
}

fn ties_of(event: &ChannelEvent, before: &State, customer: CustomerId) -> Vec<Sighting> {
    let leads = |one: &&Sighting| before.owner(&one.identifier) == Some(customer);
    event.sightings.iter().filter(leads).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn everything_is_decided_as_the_model_decides_it(ops in ops()) {
        let mut world = World::new(narrow());
        let mut model =
            Model { limits: world.configuration.identity.limits.clone(), ..Model::default() };
        for op in &ops {
            let Some((input, decision)) = world.run(op) else { continue };
            let wanted = model.run(&input, world.at, created(&decision));
            if let Input::Inbound(event) = &input {
                match wanted {
                    None => prop_assert_eq!(&decision, &Decision::silent()),
                    Some(mut wanted) => {
                        // The same conflict again is not recorded again.
                        if !wanted.conflict {
                            wanted.set_aside.clear();
                            wanted.kinds.clear();
                        }
                        let mut found = verdict(&decision.events);
                        wanted.merged.sort_unstable();
                        found.merged.sort_unstable();
                        prop_assert_eq!(found, wanted);
                        let itself = Event::Channel {
                            customer: found_customer(&decision.events),
                            channel: event.channel.clone(),
                            event: event.id.clone(),
                        };
                        prop_assert_eq!(decision.events.last(), Some(&itself));
                    }
                }
            }

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
            for text in IDENTIFIERS {
                let identifier = id(text);
                let owner = model.has(&identifier).map(|index| model.people[index].ids[0]);
                prop_assert_eq!(world.state.owner(&identifier), owner);
            }
            let pairs: BTreeSet<BTreeSet<_>> = world
                .state
                .suggestions_after(None)
                .map(|(_, suggestion)| BTreeSet::from([suggestion.customer, suggestion.other]))
                .collect();
            let wanted: BTreeSet<_> = model.suggestions.iter().cloned().collect();
            prop_assert_eq!(world.state.suggestions_after(None).count(), wanted.len());
            prop_assert_eq!(pairs, wanted);
            prop_assert_eq!(world.state.conflicts_after(None).count(), model.conflicts.len());
        }
    }

    #[test]
    fn an_identifier_is_never_in_two_customers_and_never_lost(ops in ops()) {
        let mut world = World::new(narrow());
        let mut met: BTreeSet<Identifier> = BTreeSet::new();
        for op in &ops {
            world.run(op);
            for (event, _) in &world.ledger {
                match event {
                    Event::Created { sightings, .. } => {
                        met.extend(sightings.iter().map(|one| one.identifier.clone()));
                    }
                    Event::Attached { sighting, .. } => {
                        met.insert(sighting.identifier.clone());
                    }
                    Event::Merged { .. }
                    | Event::Suggested { .. }
                    | Event::Conflicted { .. }
                    | Event::Channel { .. } => {}
                }
            }
            let all = world.customers();
            for identifier in &met {
                let having: Vec<_> = all
                    .iter()
                    .filter(|profile| profile.customer.identifiers.contains(identifier))
                    .map(|profile| profile.id)
                    .collect();
                prop_assert_eq!(having.len(), 1, "{} is in {:?}", identifier, having);
                prop_assert_eq!(world.state.owner(identifier), Some(having[0]));
            }
            let had: usize = all.iter().map(|profile| profile.customer.identifiers.len()).sum();
            prop_assert_eq!(had, met.len());
        }
    }

    #[test]
    fn nobody_has_more_of_a_kind_than_the_limit(ops in ops()) {
        let mut world = World::new(narrow());
        for op in &ops {
            world.run(op);
            for profile in world.customers() {
                for kind in Kind::ALL {
                    let of_kind = profile.customer.identifiers.iter().filter(|i| i.kind() == kind);
                    let limit = world.configuration.identity.limits.of(kind);
                    prop_assert!(of_kind.count() <= limit, "{} has too many {kind}", profile.id);
                }
            }
        }
    }

    #[test]
    fn the_same_event_again_changes_nothing(ops in ops(), span in 0..=SEEN_FOR.as_millis()) {
        let mut world = World::new(narrow());
        let span = Duration::from_millis(u64::try_from(span).unwrap());
        for op in &ops {
            let Some((input @ Input::Inbound(_), decision)) = world.run(op) else { continue };
            if decision.events.is_empty() {
                continue;
            }
            // At once, later, and at the last moment of the time that it is remembered for.
            for later in [Duration::ZERO, span, SEEN_FOR] {
                let at = world.at.after(later);
                let again = Identity::decide(&world.state, &world.configuration, &input, at);
                prop_assert_eq!(again, Decision::silent());
            }
        }
    }

    /// And so for events that come again after others have been taken meanwhile.
    #[test]
    fn no_event_is_recorded_twice_within_its_time(ops in ops()) {
        let mut world = World::new(narrow());
        for op in &ops {
            world.run(op);
        }
        let recorded: Vec<_> = world
            .ledger
            .iter()
            .filter_map(|(event, at)| match event {
                Event::Channel { channel, event, .. } => Some((channel, event, *at)),
                Event::Created { .. }
                | Event::Attached { .. }
                | Event::Merged { .. }
                | Event::Suggested { .. }
                | Event::Conflicted { .. } => None,
            })
            .collect();
        for (index, (channel, event, at)) in recorded.iter().enumerate() {
            for (other_channel, other, earlier) in &recorded[..index] {
                let same = channel == other_channel && event == other;
                prop_assert!(!same || at.since(*earlier) > SEEN_FOR);
            }
        }
    }

    /// Where all evidence is verified and no limit is near, nothing is ever in doubt.
    #[test]
    fn verified_events_in_any_order_give_the_connected_components(
        (events, others) in shuffled(|| Just(true).boxed())
    ) {
        for events in [&events, &others] {
            let world = told(events, wide());
            prop_assert!(world.undoubted());
            prop_assert_eq!(partition(&world), components(events));
        }
    }

    /// Asserted evidence and limits may raise doubts in one order and not in another; an order that
    /// raises none gives the connected components, and so all of these give the same.
    #[test]
    fn an_order_without_doubts_gives_the_connected_components(
        (events, others) in shuffled(mostly)
    ) {
        for events in [&events, &others] {
            let world = told(events, narrow());
            if world.undoubted() {
                prop_assert_eq!(partition(&world), components(events));
                // And so events that were forgotten meanwhile change nobody when they come again.
                let mut later = told(events, narrow());
                later.at = later.at.after(SEEN_FOR * 2);
                for seen in events {
                    later.take(&seen.input());
                }
                prop_assert_eq!(later.customers(), world.customers());
            }
        }
    }

    #[test]
    fn a_merge_by_event_is_proven_by_verified_identifiers_of_that_event(ops in ops()) {
        let mut world = World::new(narrow());
        for op in &ops {
            let before = world.state.clone();
            let Some((Input::Inbound(event), decision)) = world.run(op) else { continue };
            for merged in &decision.events {
                let Event::Merged { survivor, absorbed, evidence } = merged else { continue };
                let evidence = evidence.as_ref().unwrap();
                prop_assert_eq!((&evidence.channel, &evidence.event), (&event.channel, &event.id));
                prop_assert_eq!(evidence.by.len(), 2);
                for (one, by) in [survivor, absorbed].into_iter().zip(&evidence.by) {
                    prop_assert!(by.verified);
                    prop_assert!(ties_of(&event, &before, *one).contains(by));
                }
            }
        }
    }

    #[test]
    fn the_oldest_survives(ops in ops()) {
        let mut world = World::new(narrow());
        for op in &ops {
            let before = world.state.clone();
            let Some((_, decision)) = world.run(op) else { continue };
            for merged in &decision.events {
                let Event::Merged { survivor, absorbed, .. } = merged else { continue };
                let born = |id| before.customer(id).map(|profile| profile.customer.created_at);
                prop_assert!(born(*survivor) <= born(*absorbed));
                prop_assert_eq!(before.current(*survivor), *survivor);
            }
        }
    }

    #[test]
    fn every_id_ever_given_leads_to_a_living_customer_in_one_step(ops in ops()) {
        let mut world = World::new(narrow());
        for op in &ops {
            world.run(op);
            for id in &world.ids {
                let current = world.state.current(*id);
                prop_assert_eq!(world.state.current(current), current);
                prop_assert!(world.customers().iter().any(|profile| profile.id == current));
            }
        }
    }

    /// So that no record tells of somebody what their event did not.
    #[test]
    fn evidence_names_nothing_that_the_event_did_not_carry(ops in ops()) {
        let mut world = World::new(narrow());
        for op in &ops {
            let Some((input, decision)) = world.run(op) else { continue };
            for event in &decision.events {
                let Some(evidence) = evidence_of(event) else { continue };
                let Input::Inbound(inbound) = &input else {
                    return Err(TestCaseError::fail("a command has no evidence"));
                };
                let mut named = evidence.by.clone();
                if let Event::Conflicted { set_aside, .. } = event {
                    named.extend(set_aside.iter().cloned());
                }
                for one in named {
                    let carried = inbound.sightings.iter().any(|s| s.identifier == one.identifier);
                    prop_assert!(carried, "{:?}", one);
                }
            }
        }
    }

    #[test]
    fn an_answer_is_the_state_after_it_and_a_refusal_changes_nothing(ops in ops()) {
        let mut world = World::new(narrow());
        for op in &ops {
            let Some((input, decision)) = world.run(op) else { continue };
            match (&input, decision.answer) {
                (Input::Inbound(_) | Input::Wakeup(_), answer) => prop_assert_eq!(answer, None),
                (_, Some(Err(refusal))) => {
                    prop_assert!(decision.events.is_empty());
                    // Refusals are logged.
                    for text in IDENTIFIERS {
                        prop_assert!(!format!("{refusal:?}").contains(text), "{:?}", refusal);
                    }
                }
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
        let mut world = World::new(narrow());
        for op in &ops {
            world.run(op);
        }
        let mut folded = State::default();
        for (event, at) in &world.ledger {
            Identity::evolve(&mut folded, event, *at);
        }
        prop_assert!(folded == world.state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Large events: as many customers and new identifiers as it takes to be over every limit.
    #[test]
    fn one_event_leads_to_less_than_a_thousand_records(
        known in 0..1_500_usize,
        new in 0..1_500_usize,
        (verified, new_verified) in any::<(bool, bool)>(),
    ) {
        let mut world = World::new(crate::world::configuration(&serde_json::json!({
            "member": 150, "phone": 150, "email": 150, "line": 150, "external": 150, "cookie": 150,
        })));
        let identifier = |number: usize| {
            id(&match number % 6 {
                0 => format!("member:{number}"),
                1 => format!("phone:+8860000{number:06}"),
                2 => format!("email:{number}@example"),
                3 => format!("line:p:{number}"),
                4 => format!("external:x:{number}x"),
                _ => format!("cookie:{number}"),
            })
        };
        for number in 0..known {
            let one = vec![(identifier(number), true)];
            world.take(&crate::world::inbound(&format!("k{number}"), 0, one));
        }
        let many = (0..known + new).map(|number| {
            (identifier(number), if number < known { verified } else { new_verified })
        });
        let decision = world.take(&crate::world::inbound("many", 0, many.collect()));
        prop_assert!(decision.events.len() < 1_000, "{}", decision.events.len());
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for profile in world.customers() {
            counts.clear();
            for one in &profile.customer.identifiers {
                *counts.entry(one.kind()).or_default() += 1;
            }
            prop_assert!(counts.values().all(|count| *count <= 150));
        }
    }
}

fn found_customer(events: &[Event]) -> Option<CustomerId> {
    verdict(events).customer
}

/// The generators reach what they are for: else the properties above say little.
#[test]
fn the_generators_meet_every_row_of_the_table() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..300 {
        let ops = ops().new_tree(&mut runner).unwrap().current();
        let mut world = World::new(narrow());
        for op in &ops {
            let Some((Input::Inbound(_), decision)) = world.run(op) else { continue };
            let said = verdict(&decision.events);
            let mut count = |what, holds: bool| *met.entry(what).or_default() += usize::from(holds);
            count("again", decision.events.is_empty());
            count("nobody", !decision.events.is_empty() && said.customer.is_none());
            count("created", created(&decision).is_some());
            count("attached", created(&decision).is_none() && !said.attached.is_empty());
            count("merged", said.merged.len() == 1);
            count("three merged", said.merged.len() > 1);
            count("suggested", !said.suggested.is_empty());
            count("conflict", said.conflict);
            count("merged after a conflict", said.conflict && !said.merged.is_empty());
            count("suggested after a merge", !said.suggested.is_empty() && !said.merged.is_empty());
        }
    }
    assert!(met.values().all(|times| *times >= 10), "{met:?}");
}
