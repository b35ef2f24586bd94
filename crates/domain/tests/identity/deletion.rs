//! What may be deleted of the ledger: after a split, older records under the id that was taken
//! apart which tell of what is somebody else's now; after an erasure, all of the erased ids; of what
//! holds a message that was taken back, all but a copy without it. The fold of the rest is the state.
//! And the state survives being saved.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Event, Evidence, Identity, SEEN_FOR, State};
use mainstem_domain::{At, ChannelId, CustomerId, Decider, UnsendId};
use proptest::prelude::*;

use crate::story::{Does, IDENTIFIERS, Name, Op, Sight, Span, Told, Under, ops, under};
use crate::world::{World, fold, tries};

type Ledger = Vec<(Event, At)>;

/// Under whose subject a record stands.
fn owner(event: &Event) -> Option<CustomerId> {
    match event {
        Event::Created { customer, .. }
        | Event::Attached { customer, .. }
        | Event::Tied { customer, .. }
        | Event::Merged { survivor: customer, .. }
        | Event::Described { customer, .. }
        | Event::Consented { customer, .. }
        | Event::Suggested { customer, .. }
        | Event::SuggestionRejected { customer, .. }
        | Event::Carried { customer, .. }
        | Event::HubFound { customer, .. }
        | Event::HubReleased { customer, .. }
        | Event::DisputeSettled { claimant: customer, .. }
        | Event::Split { customer, .. }
        | Event::Moved { customer, .. } => Some(*customer),
        Event::Conflicted { conflict, .. } => Some(conflict.customer),
        Event::Disputed { claimants, .. } => claimants.first().copied(),
        Event::Restated(restated) => Some(restated.customer),
        Event::Channel { customer, .. } | Event::Hidden { customer, .. } => *customer,
        Event::Unsent { customers, .. } => customers.first().copied(),
        // They stay: the receipt, and what keeps a refusal.
        Event::Erased { .. } | Event::ErasureReported { .. } => None,
    }
}

fn mentions(event: &Event) -> BTreeSet<Identifier> {
    fn by(evidence: &Evidence) -> impl Iterator<Item = Identifier> {
        evidence.by.iter().map(|one| one.identifier.clone())
    }
    let mut all: BTreeSet<Identifier> = BTreeSet::new();
    match event {
        Event::Created { sightings, evidence, .. }
        | Event::Attached { sightings, evidence, .. }
        | Event::Tied { sightings, evidence, .. } => {
            all.extend(sightings.iter().map(|one| one.identifier.clone()));
            all.extend(by(evidence));
        }
        Event::Merged { evidence, .. } | Event::Suggested { evidence, .. } => {
            all.extend(by(evidence));
        }
        Event::Conflicted { conflict, .. } => {
            all.extend(conflict.set_aside.iter().map(|one| one.identifier.clone()));
            all.extend(by(&conflict.evidence));
        }
        Event::Described { identifier, .. }
        | Event::Carried { identifier, .. }
        | Event::HubFound { identifier, .. }
        | Event::HubReleased { identifier, .. }
        | Event::Disputed { identifier, .. } => {
            all.insert(identifier.clone());
        }
        Event::Restated(restated) => {
            all.extend(restated.founder.clone());
            all.extend(restated.aliases.iter().filter_map(|alias| alias.founder.clone()));
            all.extend(restated.identifiers.iter().map(|kept| kept.identifier.clone()));
            all.extend(restated.ties.iter().flat_map(|tie| [tie.one.clone(), tie.other.clone()]));
        }
        Event::Consented { .. }
        | Event::SuggestionRejected { .. }
        | Event::DisputeSettled { .. }
        | Event::Split { .. }
        | Event::Moved { .. }
        | Event::Erased { .. }
        | Event::ErasureReported { .. }
        | Event::Unsent { .. }
        | Event::Hidden { .. }
        | Event::Channel { .. } => {}
    }
    all
}

/// How much is deleted after a split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Deleting {
    /// Of the id that was taken apart, what tells of what another piece has now.
    Moved,
    /// The same of every piece and alias, too.
    MovedOfAll,
    /// Of the id that was taken apart, what tells of anything that it has not; but for what says
    /// that an identifier is nobody's, or was carried.
    Foreign,
}

pub(crate) fn delete(ledger: &Ledger, deleting: Deleting) -> Ledger {
    let mut left: Vec<Option<(Event, At)>> = ledger.iter().cloned().map(Some).collect();
    for (place, (event, _)) in ledger.iter().enumerate() {
        let (pieces, forgets): (Vec<_>, Vec<CustomerId>) = match event {
            Event::Split { id, customer, pieces: restated_ids, aliases } => {
                let restated = ledger[place..].iter().filter_map(|(event, _)| match event {
                    Event::Restated(restated) if restated.split == *id => Some(restated),
                    _ => None,
                });
                let pieces = restated.map(|one| {
                    let has = one.identifiers.iter().map(|kept| kept.identifier.clone());
                    (one.customer, has.collect::<BTreeSet<_>>())
                });
                let mut of = vec![*customer];
                if deleting == Deleting::MovedOfAll {
                    of.extend(restated_ids.iter().chain(aliases).filter(|id| *id != customer));
                }
                (pieces.collect(), of)
            }
            Event::Erased { customers, .. } => {
                for one in &mut left[..place] {
                    let gone = one.as_ref().and_then(|(event, _)| owner(event));
                    if gone.is_some_and(|id| customers.contains(&id)) {
                        *one = None;
                    }
                }
                continue;
            }
            _ => continue,
        };
        for id in forgets {
            let has = |piece: &(CustomerId, BTreeSet<Identifier>)| piece.0 == id;
            let own: BTreeSet<_> =
                pieces.iter().filter(|one| has(one)).flat_map(|one| one.1.clone()).collect();
            let moved: BTreeSet<_> =
                pieces.iter().filter(|one| !has(one)).flat_map(|one| one.1.clone()).collect();
            for one in &mut left[..place] {
                let Some((event, _)) = one else { continue };
                let told = mentions(event);
                let deleted = match deleting {
                    Deleting::Moved | Deleting::MovedOfAll => !told.is_disjoint(&moved),
                    Deleting::Foreign => {
                        let of_nobody = matches!(
                            event,
                            Event::Carried { .. }
                                | Event::HubFound { .. }
                                | Event::HubReleased { .. }
                                | Event::Disputed { .. }
                        );
                        !told.is_subset(&own) && !of_nobody
                    }
                };
                if owner(event) == Some(id) && deleted {
                    *one = None;
                }
            }
        }
    }
    left.into_iter().flatten().collect()
}

/// What is remembered of deliveries goes with the time, and not by a record.
pub(crate) fn aged(mut state: State, at: At) -> State {
    let channel: ChannelId = "channel-9".parse().unwrap();
    let unsend = UnsendId::derive("aged");
    let message = "aged".to_owned();
    for event in [
        Event::Channel { customer: None, channel: channel.clone(), event: "aged".parse().unwrap() },
        Event::Unsent { id: unsend, customers: Vec::new(), channel: channel.clone(), message },
        Event::Hidden { unsend, customer: None, channel, counts: BTreeMap::new() },
    ] {
        Identity::evolve(&mut state, &event, at.after(SEEN_FOR * 2));
    }
    state
}

/// What holds a message that was taken back stands once more, without it, right before the record
/// that says so. Whoever folded all of it has met the originals, which are deleted.
fn hide(world: &World, deleted: bool) -> Ledger {
    let (mut left, mut open) = (Vec::new(), BTreeMap::new());
    for ((event, at), holds) in world.ledger.iter().zip(&world.holds) {
        if let Event::Unsent { id, customers, channel, message } = event {
            open.insert(*id, (customers, channel, Some(message)));
        }
        if let Event::Hidden { unsend, .. } = event
            && let Some((customers, channel, message)) = open.remove(unsend)
        {
            let goes = |(event, _, holds): &(Event, At, Option<&String>)| {
                let Event::Channel { customer, channel: of, .. } = event else { return false };
                let theirs = customer.map_or(customers.is_empty(), |id| customers.contains(&id));
                theirs && of == channel && *holds == message
            };
            let hidden: Vec<_> = (0..left.len()).filter(|place| goes(&left[*place])).collect();
            let copies: Vec<_> = hidden.iter().map(|place| left[*place].clone()).collect();
            // What is hidden by one is not hidden again by the next that takes the same back.
            if deleted {
                left.retain(|one| !goes(one));
            } else {
                for place in hidden {
                    left[place].2 = None;
                }
            }
            left.extend(copies.into_iter().map(|(event, at, _)| (event, at, None)));
        }
        left.push((event.clone(), *at, holds.as_ref()));
    }
    left.into_iter().map(|(event, at, _)| (event, at)).collect()
}

proptest! {
    #![proptest_config(tries(1500))]

    #[test]
    fn the_state_is_the_fold_of_the_ledger(under in under(), ops in ops()) {
        let mut world = World::under(under);
        for op in &ops {
            world.run(op);
        }
        prop_assert!(fold(&world.ledger) == world.state);
    }

    #[test]
    fn what_may_be_deleted_is_not_missed(under in under(), ops in ops()) {
        let mut world = World::under(under);
        for op in &ops {
            world.run(op);
        }
        let state = aged(world.state.clone(), world.at);
        for deleting in [Deleting::Moved, Deleting::MovedOfAll, Deleting::Foreign] {
            let left = delete(&world.ledger, deleting);
            prop_assert!(aged(fold(&left), world.at) == state, "{:?}", deleting);
        }
    }

    #[test]
    fn what_is_hidden_is_not_missed(under in under(), ops in ops()) {
        let mut world = World::under(under);
        for op in &ops {
            world.run(op);
        }
        world.hidden();
        let state = aged(fold(&hide(&world, false)), world.at);
        prop_assert!(aged(fold(&hide(&world, true)), world.at) == state);
    }

    /// A process that starts from a snapshot decides as one that never stopped.
    #[test]
    fn a_saved_state_is_the_same_and_decides_the_same(
        under in under(),
        ops in ops(),
        more in ops(),
    ) {
        let mut world = World::under(under);
        for op in &ops {
            world.run(op);
        }
        let saved = postcard::to_allocvec(&world.state).unwrap();
        let mut again = world.clone();
        again.state = postcard::from_bytes(&saved).unwrap();
        prop_assert!(again.state == world.state);
        prop_assert_eq!(again.state.forgotten_early(), world.state.forgotten_early());
        let order = |world: &World| -> Vec<_> {
            world.customers().into_iter().map(|profile| profile.id).collect()
        };
        prop_assert_eq!(order(&again), order(&world));
        for op in more.iter().chain([&Op::Again(0)]) {
            prop_assert_eq!(again.run(op).map(|one| one.1), world.run(op).map(|one| one.1));
            prop_assert!(again.state == world.state, "after {:?}", op);
        }
    }
}

/// Two members share a phone number, one of them is absorbed, and the dispute is settled then. What
/// says so must not go with whom it was absorbed by while the dispute stays.
#[test]
fn a_dispute_goes_with_what_settled_it() {
    let name =
        |identifier: &str| Name(IDENTIFIERS.iter().position(|one| *one == identifier).unwrap());
    let tell = |event: u16, channel: u8, carries: &[&str]| {
        let sight = |identifier: &&str| {
            Sight(name(identifier.trim_start_matches('?')), !identifier.starts_with('?'))
        };
        let (carries, late) = (carries.iter().map(sight).collect(), Span(Duration::ZERO));
        Op::Tell(Told { event, channel, late, carries, says: Vec::new(), does: Does::Nothing })
    };
    let split = |off: &str| Op::Split { off: vec![name(off)], validate_only: false };
    let mut world = World::under(Under::Narrow);
    for op in [
        tell(1, 2, &["member:2", "phone:+88691234560"]),
        tell(2, 2, &["member:3", "phone:+88691234560"]),
        tell(3, 0, &["?cookie:2"]),
        tell(4, 1, &["member:2", "cookie:2"]),
        Op::Settle { dispute: 0, to: None },
        split("cookie:2"),
        Op::Moved,
        Op::Erase { of: name("cookie:2"), force: false, case_open: false },
    ] {
        world.run(&op);
    }
    assert_eq!(world.state.disputes_after(None).count(), 0);
    for deleting in [Deleting::Moved, Deleting::MovedOfAll, Deleting::Foreign] {
        let left = delete(&world.ledger, deleting);
        assert_eq!(fold(&left).disputes_after(None).count(), 0, "{deleting:?}");
    }
}
