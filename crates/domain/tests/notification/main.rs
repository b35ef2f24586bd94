//! Whether, when and where people are sent what others want them to be told: by properties beside a
//! naive model, and by name what hurts people and those who write to them.

#![expect(clippy::unwrap_used, reason = "a test may stop")]
#![expect(clippy::wildcard_enum_match_arm, reason = "what else can happen is not this test's")]

mod items;
mod judge;
mod model;
mod ops;
mod quiet;
mod run;

mod stories;
mod tally;
mod world;

use std::collections::BTreeSet;

use mainstem_domain::notification::{Notification, Request, SETTLED_FOR, Standing, State};
use mainstem_domain::{CustomerId, Decider as _};
use proptest::prelude::*;

use crate::model::{Ask, Stand};
use crate::ops::story;
use crate::world::{CHANNELS, Checked, PEOPLE, World, channel, own, user};

/// The state and the model say the same of everybody and everything.
fn check(world: &World) -> Checked {
    for name in 0..PEOPLE {
        check_person(world, name)?;
    }
    for ask in &world.model.asks {
        check_request(world, ask)?;
    }
    let waits = |ask: &&Ask| matches!(ask.stand, Stand::Waits(..));
    let deferred = world.model.asks.iter().filter(waits).count();
    let over = |ask: &&Ask| matches!(ask.stand, Stand::Ended(..));
    let ended = world.model.asks.iter().filter(over).count();
    prop_assert_eq!(world.state.deferred_count(), deferred);
    prop_assert_eq!(world.tally.asked(), world.model.asks.len());
    prop_assert_eq!(world.tally.ended().iter().sum::<usize>(), ended);
    prop_assert_eq!(world.state.waiting(), world.tally.asked() - ended);
    for number in 0..CHANNELS.len() {
        let channel = channel(number);
        prop_assert_eq!(world.state.pushes_on(&channel), world.model.on_their_way(&channel));
    }
    Ok(())
}

fn check_person(world: &World, name: usize) -> Checked {
    let model = &world.model;
    let people = model.group(name);
    if people.is_empty() {
        return Ok(());
    }
    let person = world.state.person(own(name)).cloned().unwrap_or_default();
    for alias in &people {
        let same = world.state.person(own(*alias)).cloned().unwrap_or_default();
        prop_assert!(same == person, "{} is resolved by each of its ids", own(name));
    }
    let places: Vec<_> =
        person.places().iter().map(|it| (&it.channel, it.user.as_str(), it.blocked)).collect();
    let users: Vec<_> = model.places_of(name).map(|it| user(it.person)).collect();
    let expected = model.places_of(name).zip(&users);
    let expected: Vec<_> =
        expected.map(|(it, user)| (&it.channel, user.as_str(), it.is_blocked())).collect();
    prop_assert_eq!(places, expected);
    prop_assert_eq!(person.language(), model.language(name));
    prop_assert_eq!(person.zone().map(ToString::to_string), model.zone(name));
    prop_assert_eq!(person.refuses_marketing(), model.refuses(name));
    prop_assert_eq!(person.preferences(), model.preferences(name));
    prop_assert_eq!(person.is_tired(), model.is_tired(name));
    for (count, _, span) in model.spans(&world.configuration, name, world.at) {
        prop_assert_eq!(person.pushes_within(span, world.at), count);
    }
    let known = world.state.deliveries_of(own(name));
    let known: BTreeSet<_> = known.iter().map(|delivery| delivery.id).collect();
    let theirs = model.asks.iter().filter(|ask| people.contains(&ask.person));
    let theirs = theirs.filter(|ask| world.state.delivery(ask.id).is_some());
    prop_assert_eq!(known, theirs.map(|ask| ask.id).collect());
    let mut keys = BTreeSet::new();
    for (ask, _, _) in model.waiting(name) {
        let key = ask.request.collapse_key.clone();
        prop_assert!(key.is_none_or(|key| keys.insert(key)), "two wait under one key");
    }
    Ok(())
}

fn check_request(world: &World, ask: &Ask) -> Checked {
    let Some(delivery) = world.state.delivery(ask.id) else {
        let Stand::Ended(_, at) = &ask.stand else { panic!("{} is lost", ask.id) };
        prop_assert!(world.at.since(*at) > SETTLED_FOR);
        return Ok(());
    };
    let of = |customer: CustomerId| {
        (0..PEOPLE)
            .any(|it| own(it) == customer && world.model.named[it] == world.model.named[ask.person])
    };
    prop_assert!(of(delivery.standing.customer()), "{} is another's", ask.id);
    match (&delivery.standing, &ask.stand) {
        (Standing::Deferred(deferred), Stand::Waits(until, wait)) => {
            prop_assert_eq!((deferred.until, deferred.wait), (*until, *wait));
            let mut request = deferred.request.clone();
            request.customer = ask.request.customer;
            // A right to reply lives shorter than anything waits.
            let expected = Request { reply: None, ..ask.request.clone() };
            prop_assert_eq!(request, expected);
        }
        (Standing::Queued(item), Stand::Queued(expected, id)) => {
            let mut item = (**item).clone();
            item.customer = expected.customer;
            // Attempts are those of the item that the others have joined.
            if *id != ask.id {
                item.attempts.clone_from(&expected.attempts);
            }
            prop_assert_eq!(&item, &**expected);
        }
        (Standing::Ended(ended), Stand::Ended(outcome, at)) => {
            prop_assert_eq!((&ended.outcome, ended.ended_at), (outcome, *at));
        }
        (standing, stand) => prop_assert!(false, "{:?} rather than {:?}", standing, stand),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The machine and the model agree on every request and every person after every operation, and
    /// what is kept of it gives the same state.
    #[test]
    fn the_naive_model_agrees((start, ops) in story()) {
        let mut world = World::new(start);
        for op in &ops {
            world.run(op)?;
            check(&world)?;
        }
        let mut folded = State::default();
        for (event, at) in &world.ledger {
            Notification::evolve(&mut folded, event, *at);
        }
        prop_assert!(folded == world.state, "the state is not the fold of the ledger");
        let saved = postcard::to_allocvec(&world.state).unwrap();
        prop_assert!(postcard::from_bytes::<State>(&saved).unwrap() == world.state);
        let saved = serde_json::to_vec(&world.state).unwrap();
        prop_assert!(serde_json::from_slice::<State>(&saved).unwrap() == world.state);
    }
}
