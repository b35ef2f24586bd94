//! Properties 3 and 7.

use std::collections::BTreeSet;

use mainstem_domain::CustomerId;
use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Input, Profile};
use proptest::collection::vec;
use proptest::prelude::*;

use super::tell_again;
use crate::story::{Does, Name, Op, Sight, Told, Under, Word, ops, under};
use crate::world::{World, id, tries};

/// An event after the merge: which of the two it is of, by which of its identifiers, and what else
/// it carries and says.
type After = (bool, usize, Option<u8>, Option<Word>);

fn after() -> impl Strategy<Value = After> {
    let word =
        (0..9_u8, any::<bool>()).prop_map(|(value, verified)| Word::Named { value, verified });
    let new = proptest::option::of(0..3_u8);
    (any::<bool>(), 0..8_usize, new, proptest::option::of(word))
}

/// Without what every event changes, and what a merge says of verified identifiers.
fn kept(profile: &Profile) -> impl PartialEq + std::fmt::Debug + use<> {
    let Profile { id, created_at, identifiers, aliases, facts, .. } = profile.clone();
    let identifiers: BTreeSet<Identifier> = identifiers.into_keys().collect();
    (id, created_at, identifiers, aliases, facts)
}

fn merge(world: &mut World, pair: [&Profile; 2], by_event: bool) {
    if by_event {
        let first = |profile: &Profile| profile.identifiers.keys().next().unwrap().clone();
        let both = pair.map(|profile| (first(profile), true));
        world.take(&crate::world::inbound("the-merge", world.at, both.to_vec()));
    } else {
        let [customer, other] = pair.map(|profile| profile.id);
        world.take(&Input::Merge { customer, other, validate_only: false });
    }
}

proptest! {
    #![proptest_config(tries(1000))]

    /// Property 3: "Merge then split of the same evidence gives back both customers:
    /// ids, identifiers, attributes, consent, and events after the merge divided by the identifier
    /// that carried them."
    #[test]
    fn p3_merge_then_split_gives_back_both(
        ops in ops(),
        pick in any::<(prop::sample::Index, prop::sample::Index)>(),
        by_event in any::<bool>(),
        afters in vec(after(), 0..5),
    ) {
        let mut world = World::under(Under::Wide);
        for op in &ops {
            world.run(op);
        }
        world.moved();
        let all = world.customers();
        let with: Vec<_> = all.iter().filter(|one| !one.identifiers.is_empty()).collect();
        prop_assume!(with.len() > 1);
        let one = with[pick.0.index(with.len())];
        let others: Vec<_> = with.iter().filter(|other| other.id != one.id).collect();
        let other = others[pick.1.index(others.len())];
        merge(&mut world, [one, other], by_event);
        // A cut lets only a person make them one.
        prop_assume!(world.state.current(one.id) == world.state.current(other.id));
        let merged = world.state.current(one.id);

        // Expected of each: what it was, and what was told by its own identifiers since.
        let mut apart = world.clone();
        let mut off: BTreeSet<_> = other.identifiers.keys().cloned().collect();
        let mut carried: Vec<(Identifier, CustomerId)> = Vec::new();
        for (number, (of_other, by, new, word)) in afters.iter().enumerate() {
            let whose = if *of_other { other } else { one };
            let by = whose.identifiers.keys().nth(by % whose.identifiers.len()).unwrap();
            let mut sightings = vec![(by.clone(), true)];
            if let Some(new) = new.filter(|_| afters[..number].iter().all(|a| a.2 != *new)) {
                let new = id(&format!("external:new:n{new}"));
                if *of_other {
                    off.insert(new.clone());
                }
                carried.push((new.clone(), whose.id));
                sightings.push((new, true));
            }
            carried.push((by.clone(), whose.id));
            let told = crate::world::inbound(&format!("after-{number}"), apart.at, sightings);
            let Input::Inbound { mut event, tokens } = told else { unreachable!() };
            if let Some(Word::Named { value, verified }) = word {
                event.attributes.push(mainstem_domain::person::Attribute {
                    name: "after".parse().unwrap(),
                    value: format!("{} of {}", value, whose.id),
                    verified: *verified,
                });
            }
            let decision = apart.take(&Input::Inbound { event, tokens });
            let mine = |event: &mainstem_domain::identity::Event| matches!(
                event,
                mainstem_domain::identity::Event::Channel { customer: Some(customer), .. }
                    if *customer == merged
            );
            prop_assert!(decision.events.iter().any(mine));
        }
        let split = Input::Split {
            customer: merged,
            identifiers: off,
            origin: "the-split".to_owned(),
            validate_only: false,
        };
        let decision = apart.take(&split);
        prop_assert!(matches!(decision.answer, Some(Ok(_))), "{:?}", decision.answer);

        if afters.is_empty() {
            for profile in [one, other] {
                let again = apart.state.customer(profile.id).unwrap();
                prop_assert_eq!(kept(&again), kept(profile));
            }
        }
        for (identifier, whose) in carried {
            prop_assert_eq!(apart.state.owner(&identifier), Some(whose), "{}", identifier);
        }
        for profile in [one, other] {
            let again = apart.state.customer(profile.id).unwrap();
            prop_assert_eq!(again.id, profile.id);
            let told = again.facts.attributes.iter().filter(|a| a.attribute.name.as_str() == "after");
            for fact in told {
                prop_assert!(fact.attribute.value.ends_with(profile.id.as_str()), "{:?}", fact);
            }
            let before: Vec<_> = profile.facts.attributes.iter().collect();
            let since = again.facts.attributes.iter();
            let since: Vec<_> = since.filter(|a| a.attribute.name.as_str() != "after").collect();
            prop_assert_eq!(since, before);
            prop_assert_eq!(&again.facts.consents, &profile.facts.consents);
        }
    }

    /// Property 7: "A split pair never comes together again by the same evidence." So
    /// also not when one of the identifiers that tied them is a hub or disputed by then.
    #[test]
    fn p7_a_split_pair_never_comes_together_again(under in under(), ops in ops()) {
        let mut world = World::under(under);
        let mut pairs: Vec<(Identifier, Identifier)> = Vec::new();
        for op in &ops {
            let by_person = matches!(
                op,
                Op::Attach { .. } | Op::Merge { .. } | Op::Join(..) | Op::Accept(_)
                    | Op::Settle { .. } | Op::Release(_) | Op::Erase { .. }
            );
            if by_person {
                continue;
            }
            let before = world.state.clone();
            let Some((input, decision)) = world.run(op) else { continue };
            if let (Input::Split { customer, identifiers, .. }, Some(Ok(_))) =
                (&input, &decision.answer)
                && !decision.events.is_empty()
            {
                let whole = before.customer(*customer).unwrap().identifiers;
                for off in identifiers {
                    let rest = whole.keys().filter(|one| !identifiers.contains(*one));
                    pairs.extend(rest.map(|one| (off.clone(), one.clone())));
                }
            }
        }
        let apart = |world: &World, (one, other): &(Identifier, Identifier)| {
            let (one, other) = (world.state.owner(one), world.state.owner(other));
            one.is_none() || one != other
        };
        pairs.retain(|pair| apart(&world, pair));
        for _ in 0..2 {
            tell_again(&mut world);
            for pair in &pairs {
                prop_assert!(apart(&world, pair), "{:?}", pair);
            }
        }
    }
}

/// One event tied three; the strongest of them is a hub when the event comes again.
#[test]
fn p7_a_cut_holds_though_what_was_cut_is_a_hub() {
    let (phone, email, line) = (13, 10, 7);
    let all = vec![Sight(Name(phone), true), Sight(Name(email), true), Sight(Name(line), true)];
    let told = |event, carries| {
        let late = crate::story::Span(std::time::Duration::ZERO);
        Op::Tell(Told { event, channel: 0, late, carries, says: Vec::new(), does: Does::Nothing })
    };
    let mut world = World::under(Under::Narrow);
    world.run(&told(1, all.clone()));
    world.run(&Op::Split { off: vec![Name(line)], validate_only: false });
    for (event, other) in (2..).zip([1, 2, 3, 4, 5]) {
        world.run(&told(event + 100, vec![Sight(Name(other), true)]));
        world.run(&told(event, vec![Sight(Name(other), true), Sight(Name(phone), false)]));
    }
    assert_eq!(world.state.hubs_after(None).count(), 1);
    tell_again(&mut world);
    let owner = |name: usize| world.state.owner(&Name(name).identifier());
    assert_eq!(owner(phone), None);
    assert_ne!(owner(email), owner(line));
}
