//! The decider beside the model, step by step.

use std::collections::BTreeSet;

use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Event, Input};
use mainstem_domain::{At, CustomerId, Decision};
use proptest::prelude::*;

use crate::model::{Model, Outcome};
use crate::story::{IDENTIFIERS, ops, under};
use crate::world::{Decided, World, id, tries};

fn outcome(input: &Input, decided: &Decided) -> Outcome {
    match (input, &decided.answer) {
        (Input::Inbound { .. }, None) => {
            let whose = decided.events.iter().find_map(|event| match event {
                Event::Channel { customer, .. } => Some(*customer),
                _ => None,
            });
            let unsent = matches!(decided.events.as_slice(), [Event::Unsent { .. }]);
            let none = if unsent { Outcome::TakenBack } else { Outcome::Silence };
            whose.map_or(none, Outcome::Belongs)
        }
        (_, Some(Ok(_))) => Outcome::Taken,
        (_, Some(Err(refusal))) => {
            let known = [
                "NOT_FOUND",
                "INVALID_FIELD",
                "IDENTIFIER_TAKEN",
                "IDENTIFIER_WITHDRAWN",
                "TOO_MANY_IDENTIFIERS",
                "SPLIT_UNDERWAY",
                "CASES_OPEN",
            ];
            let reason = known.into_iter().find(|reason| refusal.reason == *reason);
            Outcome::Refused(reason.expect("a reason that is known"))
        }
        (_, None) => panic!("a command without an answer"),
    }
}

/// Whether the decider knows what the model knows, and nothing else.
fn agree(world: &World, model: &Model) -> Result<(), TestCaseError> {
    let state = &world.state;
    let people = model.people();
    prop_assert_eq!(state.customers(), people.len());
    prop_assert_eq!(state.identifiers(), model.had.len());
    for person in &people {
        for id in &person.ids {
            prop_assert_eq!(state.current(*id), person.ids[0], "{:?} is one", person);
        }
        let living = model.named(person.ids[0]);
        let profile = state.customer(person.ids[0]).expect("it is known");
        prop_assert_eq!(profile.id, person.ids[0]);
        prop_assert_eq!(profile.created_at, living.created_at, "{} began", profile.id);
        prop_assert_eq!(profile.seen_at, living.seen_at, "{} was seen", profile.id);
        let aliases: BTreeSet<_> = person.ids[1..].iter().copied().collect();
        prop_assert_eq!(profile.aliases, aliases);
        let known: Vec<(&Identifier, bool, At)> = profile
            .identifiers
            .iter()
            .map(|(one, known)| (one, known.verified, known.attached_at))
            .collect();
        let had = person.identifiers.iter().map(|one| {
            let had = &model.had[one];
            (one, had.verified, had.attached_at)
        });
        prop_assert_eq!(known, had.collect::<Vec<_>>(), "of {}", profile.id);
        prop_assert_eq!(profile.facts, model.facts(person), "of {}", profile.id);
        let ties = model.ties.iter().filter(|tie| person.identifiers.contains(&tie.one));
        prop_assert_eq!(state.evidence(profile.id), Some(ties.cloned().collect()));
    }
    for text in IDENTIFIERS {
        let identifier = id(text);
        let owner = people.iter().find(|person| person.identifiers.contains(&identifier));
        prop_assert_eq!(state.owner(&identifier), owner.map(|person| person.ids[0]));
    }
    Ok(())
}

/// What waits for people.
fn agree_on_review(world: &World, model: &Model) -> Result<(), TestCaseError> {
    let state = &world.state;
    let found: BTreeSet<_> =
        state.suggestions_after(None).map(|(id, one)| (*id, one.customer, one.other)).collect();
    let wanted = model.proposals.iter().map(|one| (one.id, one.customer, one.other));
    prop_assert_eq!(found, wanted.collect());
    let mut noted: Vec<_> = model.noted.iter().map(|(id, noted)| (*id, noted.clone())).collect();
    noted.sort_by_key(|(id, _)| *id);
    let found: Vec<_> = state
        .conflicts_after(None)
        .map(|(id, one)| {
            let noted = crate::model::Noted {
                customer: one.customer,
                others: one.others.clone(),
                set_aside: one.set_aside.clone(),
                kinds: one.kinds.clone(),
                cannot_link: one.cannot_link,
                by: one.evidence.by.clone(),
            };
            (*id, noted)
        })
        .collect();
    prop_assert_eq!(found, noted);
    let hubs = state.hubs_after(None);
    let hubs = hubs.map(|(one, hub)| (one.clone(), (hub.customer, hub.carriers.clone())));
    prop_assert_eq!(&hubs.collect::<std::collections::BTreeMap<_, _>>(), &model.hubs);
    let disputes = state.disputes_after(None);
    let disputes = disputes.map(|(id, one)| (*id, (one.identifier.clone(), one.claimants.clone())));
    prop_assert_eq!(&disputes.collect::<std::collections::BTreeMap<_, _>>(), &model.disputes);
    let splits = state.splits();
    let splits =
        splits.map(|(id, one)| (*id, (one.customer, one.pieces.iter().copied().collect())));
    prop_assert_eq!(&splits.collect::<std::collections::BTreeMap<_, _>>(), &model.splits);
    let sorted = |ids: &[CustomerId]| {
        let mut ids = ids.to_vec();
        if let Some((_, aliases)) = ids.split_first_mut() {
            aliases.sort_unstable();
        }
        ids
    };
    let unsends = state
        .unsends()
        .map(|(id, one)| (*id, (sorted(&one.customers), one.channel.clone(), one.message.clone())));
    let wanted = model.unsends.iter().map(|(id, (ids, channel, message))| {
        (*id, (sorted(ids), channel.clone(), message.clone()))
    });
    prop_assert_eq!(unsends.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #![proptest_config(tries(2000))]

    /// Property 4: "The partition equals that of a naive reference model that
    /// recomputes connected components from all evidence." And so does all else that is known.
    #[test]
    fn p4_everything_is_as_the_model_makes_it_from_all_evidence(under in under(), ops in ops()) {
        let mut world = World::under(under);
        let mut model = Model::under(under);
        for op in &ops {
            let Some((input, decided)) = world.run(op) else { continue };
            let wanted = model.run(&input, &decided, &world.state, world.at);
            if wanted == Outcome::Silence {
                prop_assert_eq!(&decided, &Decision::silent());
            }
            prop_assert_eq!(outcome(&input, &decided), wanted, "{:?}", op);
            agree(&world, &model)?;
            agree_on_review(&world, &model)?;
        }
    }
}
