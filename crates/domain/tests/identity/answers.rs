//! What commands are answered, and what records say.

use std::collections::BTreeSet;

use mainstem_domain::identifier::Kind;
use mainstem_domain::identity::{Answer, Event, Evidence, Input};
use mainstem_domain::person::Sighting;
use proptest::prelude::*;

use crate::story::{IDENTIFIERS, Under, ops, under};
use crate::world::{World, tries};

fn evidence_of(event: &Event) -> Option<&Evidence> {
    match event {
        Event::Created { evidence, .. }
        | Event::Attached { evidence, .. }
        | Event::Tied { evidence, .. }
        | Event::Merged { evidence, .. }
        | Event::Suggested { evidence, .. } => Some(evidence),
        Event::Conflicted { conflict, .. } => Some(&conflict.evidence),
        _ => None,
    }
}

/// The same command, in earnest.
fn in_earnest(input: &Input) -> Input {
    let mut input = input.clone();
    if let Input::Merge { validate_only, .. } | Input::Split { validate_only, .. } = &mut input {
        *validate_only = false;
    }
    input
}

proptest! {
    #![proptest_config(tries(192))]

    #[test]
    fn an_answer_is_the_state_after_it_and_a_refusal_changes_nothing(
        under in under(),
        ops in ops(),
    ) {
        let mut world = World::under(under);
        for op in &ops {
            let Some((input, decision)) = world.run(op) else { continue };
            let previews = matches!(
                input,
                Input::Merge { validate_only: true, .. } | Input::Split { validate_only: true, .. }
            );
            match decision.answer {
                None => {
                    let is_event = matches!(input, Input::Inbound { .. });
                    prop_assert!(is_event, "a command is answered");
                }
                Some(Err(refusal)) => {
                    prop_assert!(decision.events.is_empty());
                    // Refusals are logged.
                    for text in IDENTIFIERS {
                        prop_assert!(!format!("{refusal:?}").contains(text), "{:?}", refusal);
                    }
                }
                Some(Ok(answer)) if previews => {
                    prop_assert!(decision.events.is_empty());
                    let earnest = in_earnest(&input);
                    prop_assert_eq!(world.decide(&earnest).answer, Some(Ok(answer.clone())));
                    let mut then = world.clone();
                    then.take(&earnest);
                    follows(&then, &answer)?;
                }
                Some(Ok(answer)) => follows(&world, &answer)?,
            }
        }
    }

    /// So that no record tells of somebody what their event did not.
    #[test]
    fn evidence_names_nothing_that_the_event_did_not_carry(under in under(), ops in ops()) {
        let mut world = World::under(under);
        for op in &ops {
            let Some((input, decision)) = world.run(op) else { continue };
            let Input::Inbound { event: inbound, .. } = &input else { continue };
            // After a split, what waited is said again with its own evidence.
            let own = decision.events.iter().take_while(|event| !matches!(event, Event::Split { .. }));
            for event in own {
                let Some(evidence) = evidence_of(event) else { continue };
                let source = evidence.source.as_ref().expect("an event is the source");
                prop_assert_eq!((&source.channel, &source.event), (&inbound.channel, &inbound.id));
                let mut named = evidence.by.clone();
                if let Event::Conflicted { conflict, .. } = event {
                    named.extend(conflict.set_aside.iter().cloned());
                }
                let carried: BTreeSet<_> =
                    inbound.sightings.iter().map(|one| &one.identifier).collect();
                for one in named {
                    prop_assert!(carried.contains(&one.identifier), "{:?}", one);
                }
            }
        }
    }

    #[test]
    fn a_merge_by_event_is_proven_by_verified_identifiers_of_that_event(
        under in under(),
        ops in ops(),
    ) {
        let mut world = World::under(under);
        for op in &ops {
            let before = world.state.clone();
            let Some((input, decision)) = world.run(op) else { continue };
            for merged in &decision.events {
                let Event::Merged { survivor, absorbed, evidence } = merged else { continue };
                let born = |id| before.customer(id).map(|profile| (profile.created_at, id));
                prop_assert!(born(*survivor) < born(*absorbed), "the oldest survives");
                let Input::Inbound { event, .. } = &input else { continue };
                prop_assert_eq!(evidence.by.len(), 2);
                for (whose, by) in [survivor, absorbed].into_iter().zip(&evidence.by) {
                    let carried = |one: &&Sighting| one.identifier == by.identifier && one.verified;
                    prop_assert!(by.verified && event.sightings.iter().any(|one| carried(&one)));
                    prop_assert_eq!(before.owner(&by.identifier), Some(*whose));
                }
            }
        }
    }

    #[test]
    fn nobody_has_more_of_a_kind_than_the_limit(ops in ops()) {
        let mut world = World::under(Under::Narrow);
        for op in &ops {
            world.run(op);
            for profile in world.customers() {
                for kind in Kind::ALL {
                    let of_kind = profile.identifiers.keys().filter(|one| one.kind() == kind);
                    let limit = world.configuration.identity.limits.of(kind).at_most();
                    prop_assert!(of_kind.count() <= limit, "{} has too many {}", profile.id, kind);
                }
            }
        }
    }
}

fn follows(world: &World, answer: &Answer) -> Result<(), TestCaseError> {
    let profiles = match answer {
        Answer::Customer(profile) => std::slice::from_ref(profile),
        Answer::Pieces(pieces) => pieces,
        Answer::Erasure(id) => {
            let erasure = world.state.erasure(*id).expect("it began");
            prop_assert!(erasure.customers.iter().all(|one| !world.state.knows(*one)));
            &[]
        }
        Answer::Done => &[],
    };
    for profile in profiles {
        prop_assert_eq!(world.state.customer(profile.id), Some(profile.clone()));
    }
    Ok(())
}
