//! The seven properties of identity, by their numbers; the fourth stands beside the model.

mod apart;
mod order;
mod refusals;

use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Event, Input, SEEN_FOR};
use mainstem_domain::{CustomerId, Decision};
use proptest::prelude::*;

use crate::story::{Op, ops, under};
use crate::world::{World, tries};

/// Who has which identifiers.
fn owners(world: &World) -> BTreeMap<CustomerId, BTreeSet<Identifier>> {
    let all = world.customers().into_iter();
    all.map(|profile| (profile.id, profile.identifiers.into_keys().collect())).collect()
}

fn event_of(input: &Input) -> String {
    let Input::Inbound { event, .. } = input else { return String::new() };
    format!("{}/{}", event.channel, event.id)
}

/// All events once more, after they were forgotten.
fn tell_again(world: &mut World) {
    let told = world.told.clone();
    let mut once = BTreeSet::new();
    world.at = world.at.after(SEEN_FOR * 2);
    for input in told.iter().filter(|input| once.insert(event_of(input))) {
        world.take(input);
    }
}

proptest! {
    #![proptest_config(tries(192))]

    /// Property 1: "Applying the same events again, any number of times, changes
    /// nothing." But that its message, which was taken back, is hidden where it came in again.
    #[test]
    fn p1_the_same_event_again_changes_nothing(
        under in under(),
        ops in ops(),
        span in 0..=SEEN_FOR.as_millis(),
    ) {
        let mut world = World::under(under);
        let span = std::time::Duration::from_millis(u64::try_from(span).unwrap());
        for op in &ops {
            let Some((input @ Input::Inbound { .. }, decision)) = world.run(op) else { continue };
            if !decision.events.iter().any(|event| matches!(event, Event::Channel { .. })) {
                continue;
            }
            // At once, later, and at the last moment of the time that it is remembered for.
            let mut later = world.clone();
            for after in [std::time::Duration::ZERO, span, SEEN_FOR] {
                later.at = world.at.after(after);
                let decided = later.decide(&input);
                let Input::Inbound { event, .. } = &input else { continue };
                let [Event::Unsent { message, .. }] = decided.events.as_slice() else {
                    prop_assert_eq!(decided, Decision::silent());
                    continue;
                };
                prop_assert_eq!(Some(message.as_str()), event.message.as_deref());
            }
        }
        // And so for events that come again after others have been taken meanwhile.
        let mut recorded = BTreeMap::new();
        for (event, at) in &world.ledger {
            let Event::Channel { channel, event, .. } = event else { continue };
            if let Some(earlier) = recorded.insert((channel, event), *at) {
                prop_assert!(at.since(earlier) > SEEN_FOR, "{} at {} and {}", event, earlier, at);
            }
        }
    }

    /// The same, also where the event was forgotten meanwhile and a person split: what is split
    /// stays split.
    #[test]
    fn p1_events_that_were_forgotten_change_nobody(ops in ops()) {
        let mut world = World::under(crate::story::Under::Wide);
        for op in ops.iter().filter(|op| {
            matches!(op, Op::Tell(_) | Op::Again(_) | Op::Split { .. } | Op::Moved | Op::Wait(_))
        }) {
            // What is only asserted may lead somewhere else once more is known.
            let mut op = op.clone();
            if let Op::Tell(told) = &mut op {
                told.carries.iter_mut().for_each(|sight| sight.1 = true);
            }
            world.run(&op);
        }
        // What a limit or a cut set aside may find room once that is gone.
        let conflict = |(event, _): &(Event, _)| matches!(event, Event::Conflicted { .. });
        prop_assume!(!world.ledger.iter().any(conflict));
        let before = owners(&world);
        for _ in 0..2 {
            tell_again(&mut world);
            prop_assert_eq!(owners(&world), before.clone());
        }
    }

    /// Property 5: "No identifier is ever in two customers; none is ever lost, except
    /// by erasure." Hubs and disputes are nobody's until a person decides.
    #[test]
    fn p5_an_identifier_is_in_one_customer_and_not_lost(under in under(), ops in ops()) {
        let mut world = World::under(under);
        let mut had: BTreeSet<Identifier> = BTreeSet::new();
        for op in &ops {
            let before = world.state.clone();
            let Some((_, decision)) = world.run(op) else { continue };
            for event in &decision.events {
                match event {
                    Event::Created { sightings, .. } | Event::Attached { sightings, .. } => {
                        had.extend(sightings.iter().map(|one| one.identifier.clone()));
                    }
                    Event::HubFound { identifier, .. } | Event::Disputed { identifier, .. } => {
                        had.remove(identifier);
                    }
                    Event::Erased { customers, .. } => {
                        let erased = before.customer(customers[0]).expect("it was there");
                        had.retain(|one| !erased.identifiers.contains_key(one));
                    }
                    _ => {}
                }
            }
            let all = owners(&world);
            let together: Vec<_> = all.values().flatten().cloned().collect();
            prop_assert_eq!(together.len(), had.len());
            prop_assert_eq!(together.into_iter().collect::<BTreeSet<_>>(), had.clone());
            prop_assert_eq!(world.state.identifiers(), had.len());
            for (customer, identifiers) in &all {
                for identifier in identifiers {
                    prop_assert_eq!(world.state.owner(identifier), Some(*customer));
                }
            }
            // Every id that was given leads to somebody in one step, until it is erased.
            for id in &world.ids {
                let current = world.state.current(*id);
                prop_assert_eq!(world.state.current(current), current);
                prop_assert_eq!(all.contains_key(&current), world.state.knows(*id));
            }
        }
    }
}
