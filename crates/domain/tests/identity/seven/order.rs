//! Property 2.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::Event;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{owners, tell_again};
use crate::model::is_blocked;
use crate::story::{Told, Under, mostly, told};
use crate::world::{World, tries};

type Partition = BTreeSet<BTreeSet<Identifier>>;

fn partition(world: &World) -> Partition {
    owners(world).into_values().collect()
}

/// What belongs together when every event ties what it carries, found by joining sets until no
/// event joins two.
fn components(events: &[Told]) -> Partition {
    let carried = |told: &Told| -> BTreeSet<Identifier> {
        let all = told.carries.iter().map(|sight| sight.0.identifier());
        all.filter(|one| !is_blocked(one)).collect()
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
) -> impl Strategy<Value = (Vec<Told>, Vec<Told>)> {
    vec(told(1, verified()), 1..20).prop_flat_map(|mut events| {
        for (told, number) in events.iter_mut().zip(0..) {
            told.event = number;
        }
        (Just(events.clone()), Just(events).prop_shuffle())
    })
}

fn tell_all(events: &[Told], under: Under) -> World {
    let mut world = World::under(under);
    for told in events {
        world.at = world.at.after(Duration::from_secs(1));
        world.take(&told.input(world.at));
    }
    world
}

/// Whether every event so far was told without a doubt.
fn undoubted(world: &World) -> bool {
    world.ledger.iter().all(|(event, _)| {
        matches!(
            event,
            Event::Created { .. }
                | Event::Attached { .. }
                | Event::Tied { .. }
                | Event::Merged { .. }
                | Event::Described { .. }
                | Event::Consented { .. }
                | Event::Unsent { .. }
                | Event::Channel { .. }
        )
    })
}

proptest! {
    #![proptest_config(tries(256))]

    /// Property 2: "Conflict-free events in any order give the same partition of
    /// identifiers into customers." Where all is verified and no limit is near, nothing is ever in
    /// doubt.
    #[test]
    fn p2_verified_events_in_any_order_give_the_connected_components(
        (events, others) in shuffled(|| Just(true).boxed())
    ) {
        for events in [&events, &others] {
            let world = tell_all(events, Under::Wide);
            prop_assert!(undoubted(&world));
            prop_assert_eq!(partition(&world), components(events));
        }
    }

    /// Asserted evidence and limits may raise doubts in one order and not in another; an order that
    /// raises none gives the connected components, and so all of these give the same.
    #[test]
    fn p2_an_order_without_doubts_gives_the_connected_components(
        (events, others) in shuffled(mostly)
    ) {
        for events in [&events, &others] {
            let mut world = tell_all(events, Under::Narrow);
            if undoubted(&world) {
                prop_assert_eq!(partition(&world), components(events));
                // Since when an answer stands may change: on what came later it stands only now.
                let facts = |world: &World| -> Vec<_> {
                    let all = world.customers().into_iter().map(|one| {
                        let consents = one.facts.consents.into_iter().map(|told| told.consent);
                        (one.id, one.facts.attributes, consents.collect::<Vec<_>>())
                    });
                    all.collect()
                };
                let before = (owners(&world), facts(&world));
                tell_again(&mut world);
                prop_assert_eq!((owners(&world), facts(&world)), before);
            }
        }
    }
}
