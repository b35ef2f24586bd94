//! Property 6.

use std::collections::BTreeSet;

use mainstem_domain::Means;
use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Event, Input};
use mainstem_domain::person::Answer;
use proptest::prelude::*;

use super::tell_again;
use crate::story::{Op, Word, ops, under};
use crate::world::{World, tries};

fn refuses(world: &World, identifier: &Identifier, means: &Means) -> Option<bool> {
    let profile = world.state.customer(world.state.owner(identifier)?)?;
    let refused = profile
        .facts
        .consents
        .iter()
        .any(|told| told.consent.means == *means && told.consent.answer == Answer::Refused);
    Some(refused)
}

/// What was refused by whoever has an identifier, as long as nobody grants anything.
#[derive(Default)]
struct Refusals {
    standing: BTreeSet<(Identifier, Means)>,
    /// Of people who were erased.
    kept: BTreeSet<(Identifier, Means)>,
}

impl Refusals {
    fn take(&mut self, world: &World, before: &World, input: &Input, events: &[Event]) {
        for event in events {
            match event {
                Event::Consented { customer, consents, .. } => {
                    let Some(profile) = world.state.customer(*customer) else { continue };
                    for means in consents.iter().map(|consent| &consent.means) {
                        let all = profile.identifiers.keys();
                        self.standing.extend(all.map(|one| (one.clone(), means.clone())));
                    }
                }
                Event::Erased { customers, .. } => {
                    let erased = before.state.customer(customers[0]).expect("it was there");
                    let is = |(one, _): &&(Identifier, Means)| erased.identifiers.contains_key(one);
                    // The whole customer refuses.
                    for (_, means) in self.standing.iter().filter(is).cloned().collect::<Vec<_>>() {
                        let all = erased.identifiers.keys();
                        self.kept.extend(all.map(|one| (one.clone(), means.clone())));
                    }
                    self.standing.retain(|(one, _)| !erased.identifiers.contains_key(one));
                }
                // What is nobody's any more refuses nothing; what comes back begins anew.
                Event::HubFound { identifier, .. } | Event::Disputed { identifier, .. } => {
                    self.standing.retain(|(one, _)| one != identifier);
                }
                _ => {}
            }
        }
        // Only events come with the tokens that tell of the erased.
        if let Input::Attach { identifier, .. } = input {
            self.kept.retain(|(one, _)| one != identifier);
        }
        if let Input::SettleDispute { dispute, .. } = input
            && let Some((_, dispute)) =
                before.state.disputes_after(None).find(|(id, _)| *id == dispute)
        {
            self.kept.retain(|(one, _)| *one != dispute.identifier);
        }
    }

    fn hold(&self, world: &World) -> Result<(), TestCaseError> {
        for (identifier, means) in self.standing.iter().chain(&self.kept) {
            let holds = refuses(world, identifier, means);
            prop_assert_ne!(holds, Some(false), "{} refused {}", identifier, means);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(tries(1000))]

    /// Property 6: "A refusal of consent survives any merge, split and replay." And
    /// erasure, of marketing: "A keyed hash keeps a refusal of marketing for the erased addresses."
    #[test]
    fn p6_a_refusal_survives_whatever_happens(under in under(), ops in ops()) {
        let mut world = World::under(under);
        let mut refusals = Refusals::default();
        for op in &ops {
            let mut op = op.clone();
            if let Op::Tell(told) = &mut op {
                told.says.retain(|word| !matches!(word, Word::Grants(_)));
            }
            let before = world.clone();
            let Some((input, decision)) = world.run(&op) else { continue };
            refusals.take(&world, &before, &input, &decision.events);
            refusals.hold(&world)?;
        }
        // And when all is told again.
        if world.ledger.iter().all(|(event, _)| !matches!(event, Event::Disputed { .. })) {
            let recorded = world.ledger.len();
            tell_again(&mut world);
            let hub = |(event, _): &(Event, _)| matches!(event, Event::HubFound { .. });
            if !world.ledger[recorded..].iter().any(hub) {
                let disputed =
                    |(event, _): &(Event, _)| matches!(event, Event::Disputed { .. });
                if !world.ledger[recorded..].iter().any(disputed) {
                    refusals.hold(&world)?;
                }
            }
        }
    }

    /// Whoever refuses by the stricter of two answers still does when both are told again.
    #[test]
    fn p6_what_is_told_again_lifts_no_refusal(ops in ops()) {
        let mut world = World::under(crate::story::Under::Wide);
        for op in ops.iter().filter(|op| !matches!(op, Op::Erase { .. } | Op::Again(_))) {
            world.run(op);
        }
        let conflict = |(event, _): &(Event, _)| {
            matches!(event, Event::Conflicted { .. } | Event::Disputed { .. })
        };
        prop_assume!(!world.ledger.iter().any(conflict));
        let mut refusing = Vec::new();
        for profile in world.customers() {
            for told in &profile.facts.consents {
                if told.consent.answer == Answer::Refused {
                    refusing.push((profile.id, told.consent.means.clone()));
                }
            }
        }
        tell_again(&mut world);
        for (customer, means) in refusing {
            let profile = world.state.customer(customer).unwrap();
            let (identifier, _) = profile.identifiers.first_key_value().unwrap();
            prop_assert_eq!(refuses(&world, identifier, &means), Some(true), "{}", customer);
        }
    }

    /// A grant that is older than the refusal changes nothing, one that is later lifts it, and an
    /// answer given while two are one stands for both after a split.
    #[test]
    fn p6_only_a_later_grant_lifts_a_refusal(
        first in -5_i64..5,
        again in -5_i64..5,
        granted in -6_i64..6,
        apart in any::<bool>(),
    ) {
        let mut world = World::default();
        world.at = mainstem_domain::At::from_millis(1_000);
        let tell = |world: &mut World, event: &str, by: &str, said: Option<(i64, Answer)>| {
            let at = mainstem_domain::At::from_millis(said.map_or(0, |(at, _)| at) + 100);
            let mut told = crate::world::channel_event(event, 0, at);
            told.sightings = by
                .split(' ')
                .map(|one| mainstem_domain::person::Sighting {
                    identifier: crate::world::id(one),
                    verified: true,
                })
                .collect();
            told.consents =
                said.iter().map(|(_, answer)| crate::world::consent("line", *answer)).collect();
            world.take(&crate::world::arrives(told));
        };
        tell(&mut world, "e1", "member:1 line:p:U1", None);
        tell(&mut world, "e2", "member:1", Some((first, Answer::Refused)));
        tell(&mut world, "e3", "line:p:U1", Some((again, Answer::Refused)));
        tell(&mut world, "e4", "member:1", Some((granted, Answer::Granted)));
        if apart {
            world.run(&Op::Split {
                off: vec![crate::story::Name(7)],
                validate_only: false,
            });
            prop_assert_eq!(world.state.customers(), 2);
        }
        for identifier in ["member:1", "line:p:U1"] {
            let means = "line".parse().unwrap();
            let still = refuses(&world, &crate::world::id(identifier), &means);
            prop_assert_eq!(still, Some(granted <= first.max(again)), "{}", identifier);
        }
    }
}
