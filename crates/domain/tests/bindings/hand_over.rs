//! Somebody leaves.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::custody::RESTATED_AT_MOST;
use mainstem_domain::routing::{Answer, EndedWhy, Event, HandOver, Input};

use super::{Decided, World, bindings, brand, customer, staff, told};

fn wish(from: &str, to: &str) -> HandOver {
    let (from, to) = (staff(from), staff(to));
    HandOver { from, to, store: None, brand: None, by: "operator/1".to_owned() }
}

fn counts(decided: &Decided) -> (usize, usize) {
    match decided.answer {
        Some(Ok(Answer::HandedOver { bindings, left })) => (bindings, left),
        ref other => panic!("{other:?}"),
    }
}

fn reason(decided: Decided) -> String {
    assert!(decided.events.is_empty());
    let refusal = decided.answer.unwrap().unwrap_err();
    let field = refusal.violations.first().map(|violation| violation.field.clone());
    field.unwrap_or(refusal.reason)
}

#[test]
fn thousands_of_customers_go_over_in_batches_and_each_is_told_once() {
    const PEOPLE: u32 = 2_000;
    let mut world = World::new();
    let valid_for = std::time::Duration::from_hours(48);
    let code = |world: &mut World, of: Option<&str>| {
        let brand = of.map(brand);
        world.issue(mainstem_domain::routing::NewCode { brand, valid_for, ..World::wish("lin") })
    };
    let (all, aurora, borea) =
        (code(&mut world, None), code(&mut world, Some("aurora")), code(&mut world, Some("borea")));
    for person in 0..PEOPLE {
        world.scan(person, all);
        if person % 3 == 0 {
            world.scan(person, aurora);
            world.scan(person, borea);
        }
    }
    let all_bindings = (PEOPLE + 2 * PEOPLE.div_ceil(3)) as usize;
    world.pass(60);
    let begun = world.at;
    // Who has left is in the directory no more.
    world.configuration.staff.remove(&staff("lin"));
    let decided = world.give(&Input::HandOver(wish("lin", "wu")));
    assert_eq!(counts(&decided), (all_bindings, 0));
    let again = world.give(&Input::HandOver(wish("lin", "su")));
    assert_eq!(reason(again), "HAND_OVER_UNDER_WAY");
    let mut batches = vec![decided.events];
    batches.extend(world.wake());
    assert!(batches.len() >= 5, "{}", batches.len());
    let mut news: BTreeMap<_, usize> = BTreeMap::new();
    for batch in &batches {
        assert!(batch.len() <= RESTATED_AT_MOST, "{}", batch.len());
        for request in told(batch) {
            *news.entry(request.customer).or_default() += 1;
            assert_eq!(request.templates, ["binding-handed-over"]);
            assert_eq!((&request.staff, &request.reply), (&Some(staff("wu")), &None));
        }
    }
    assert_eq!(news.len(), PEOPLE as usize);
    assert!(news.values().all(|count| *count == 1));
    assert_eq!(batches.iter().map(|batch| bindings(batch)).sum::<usize>(), all_bindings);
    let done = |event: &&Event| matches!(event, Event::HandOverDone { .. });
    assert_eq!(batches.iter().flatten().filter(done).count(), 1);
    assert!(batches.last().unwrap().iter().rev().take(1).any(|event| done(&event)));
    for person in [0, 1, PEOPLE - 1] {
        assert_eq!(world.bound(person, Some("aurora")).as_deref(), Some("wu"));
        let before = mainstem_domain::At::from_millis(begun.as_millis() - 1);
        let held = world.state.bound_staff_at(customer(person), None, before);
        assert_eq!(held, Some(staff("lin")));
        let first = world.state.bindings_of(customer(person)).next().unwrap();
        assert_eq!(first.end, Some((begun, EndedWhy::HandedOver)));
    }
    assert_eq!(world.state.bound_to(&staff("lin"), None).count(), 0);
    assert_eq!(world.state.bound_to(&staff("wu"), None).count(), PEOPLE as usize);
    // Nothing is left to do, and nothing to hand over.
    assert!(world.wake().is_empty());
    let nothing = world.give(&Input::HandOver(wish("lin", "su")));
    assert_eq!((counts(&nothing), nothing.events.len()), ((0, 0), 0));
    world.check();
}

#[test]
fn a_filter_takes_the_bindings_of_one_store_or_brand_alone() {
    let mut world = World::new();
    for (person, store, of) in
        [(0, "taipei-1", None), (1, "taipei-2", None), (2, "taipei-1", Some("aurora"))]
    {
        let wish = World::wish("lin");
        let store = Some(store.parse().unwrap());
        let brand = of.map(brand);
        let code = world.issue(mainstem_domain::routing::NewCode { store, brand, ..wish });
        world.scan(person, code);
    }
    world.pass(60);
    let over = |world: &mut World, wish: HandOver| {
        let decided = world.give(&Input::HandOver(wish));
        let customers: BTreeSet<_> = told(&decided.events).iter().map(|one| one.customer).collect();
        (counts(&decided), customers)
    };
    let store = Some("taipei-2".parse().unwrap());
    let done = over(&mut world, HandOver { store, ..wish("lin", "wu") });
    assert_eq!(done, ((1, 0), BTreeSet::from([customer(1)])));
    let aurora = || Some(brand("aurora"));
    let done = over(&mut world, HandOver { brand: aurora(), ..wish("lin", "chen") });
    assert_eq!(done, ((1, 0), BTreeSet::from([customer(2)])));
    // The new one looks after the customer in their own store.
    let done = over(&mut world, wish("lin", "wu"));
    assert_eq!(done, ((1, 0), BTreeSet::from([customer(0)])));
    let binding = world.state.binding(customer(0), None).unwrap();
    assert_eq!(binding.store.as_ref().unwrap().as_str(), "taipei-2");
    assert_eq!(world.bound(2, Some("aurora")).as_deref(), Some("chen"));
    world.check();
}

#[test]
fn what_the_other_one_does_not_speak_for_stays_and_is_counted() {
    let mut world = World::new();
    for (person, of) in [(0, None), (1, Some("aurora")), (2, Some("borea"))] {
        let code = world.code("lin", of);
        world.scan(person, code);
    }
    let decided = world.give(&Input::HandOver(wish("lin", "chen")));
    assert_eq!(counts(&decided), (2, 1));
    assert_eq!(world.bound(2, Some("borea")).as_deref(), Some("lin"));
    assert!(world.wake().is_empty());
    world.check();
}

#[test]
fn a_hand_over_that_makes_no_sense_is_refused() {
    let mut world = World::new();
    let code = world.code("lin", None);
    world.scan(1, code);
    let mut ask = |wish: HandOver| reason(world.give(&Input::HandOver(wish)));
    assert_eq!(ask(wish("lin", "nobody")), "NOT_FOUND");
    assert_eq!(ask(wish("lin", "lin")), "to");
    assert_eq!(ask(HandOver { brand: Some(brand("borea")), ..wish("lin", "chen") }), "to");
}

#[test]
fn nobody_is_told_without_the_template() {
    let mut world = World::new();
    world.configuration.templates.remove("binding-handed-over");
    let code = world.code("lin", None);
    world.scan(1, code);
    let decided = world.give(&Input::HandOver(wish("lin", "wu")));
    assert_eq!((bindings(&decided.events), told(&decided.events).len()), (1, 0));
    // In the same millisecond as it was made, and still the newer one.
    assert_eq!(world.bound(1, None).as_deref(), Some("wu"));
}
