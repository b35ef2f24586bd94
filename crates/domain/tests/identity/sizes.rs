//! One input leads to less than 1,000 records, and each fits one message.

use std::collections::BTreeMap;

use mainstem_domain::identifier::{Identifier, Kind};
use mainstem_domain::identity::{Event, Input, Restated};
use proptest::prelude::*;

use crate::world::{World, configuration, id, inbound, tries};

fn limits(at_most: u16) -> serde_json::Value {
    let kinds = ["member", "phone", "email", "line", "external", "cookie"];
    serde_json::Value::Object(
        kinds.map(|kind| (kind.to_owned(), at_most.into())).into_iter().collect(),
    )
}

fn numbered(number: usize) -> Identifier {
    // Nothing but zeros is a placeholder.
    let number = number + 6_000;
    id(&match number % 6 {
        0 => format!("member:{number}"),
        1 => format!("phone:+8860000{number:06}"),
        2 => format!("email:{number}@example"),
        3 => format!("line:p:{number}"),
        4 => format!("external:x:{number}x"),
        _ => format!("cookie:{number}"),
    })
}

/// A world with one customer of so many identifiers: each tied to the one before, or all to the
/// first one.
fn one_of(count: usize, chain: bool) -> World {
    let identity = serde_json::json!({"limits": limits(1_000)});
    let mut world = World::new(configuration(&identity));
    for number in 1..count {
        let other = if chain { number - 1 } else { 0 };
        let both = vec![(numbered(other), true), (numbered(number), true)];
        world.take(&inbound(&format!("e{number}"), world.at, both));
    }
    assert_eq!(world.state.customers(), 1);
    world
}

fn size(restated: &Restated) -> usize {
    let json = |value: serde_json::Result<String>| value.unwrap().len();
    let kept = restated.identifiers.iter().map(|one| json(serde_json::to_string(one)));
    let ties = restated.ties.iter().map(|one| json(serde_json::to_string(one)));
    let aliases = restated.aliases.iter().map(|one| json(serde_json::to_string(one)));
    kept.chain(ties).chain(aliases).sum()
}

#[test]
fn a_customer_of_a_thousand_identifiers_splits_right() {
    for chain in [true, false] {
        let mut world = one_of(1_000, chain);
        let customer = world.state.owner(&numbered(0)).unwrap();
        let off: Vec<_> = if chain { (400..500).collect() } else { (1..300).collect() };
        let decision = world.take(&Input::Split {
            customer,
            identifiers: off.iter().map(|number| numbered(*number)).collect(),
            origin: "split".to_owned(),
            validate_only: false,
        });
        assert!(decision.events.len() < 1_000, "{}", decision.events.len());
        // Of a chain two ends and a middle; of a star the star, and each of the others alone.
        assert_eq!(world.state.customers(), if chain { 3 } else { 300 });
        assert_eq!(world.state.identifiers(), 1_000);
        assert_eq!(world.state.owner(&numbered(0)), Some(customer));
        let rest = if chain { 399 } else { 300 };
        assert_eq!(world.state.owner(&numbered(rest)), Some(customer));
        assert_ne!(world.state.owner(&numbered(off[0])), Some(customer));
        let again = crate::world::fold(&world.ledger);
        assert!(again == world.state);
        let fits = |event: &Event| match event {
            Event::Restated(restated) => size(restated) < 900 * 1_024,
            _ => true,
        };
        assert!(decision.events.iter().all(fits));
        // What was cut stays cut.
        let both = vec![(numbered(off[0]), true), (numbered(off[0] - 1), true)];
        world.take(&inbound("again", world.at, both));
        assert_ne!(world.state.owner(&numbered(off[0])), world.state.owner(&numbered(off[0] - 1)));
    }
}

/// The one that ties all the others is taken apart, or taken away.
#[test]
fn a_customer_that_falls_into_a_thousand_pieces_fits_one_batch() {
    let mut world = one_of(990, false);
    let customer = world.state.owner(&numbered(0)).unwrap();
    let decision = world.decide(&Input::Split {
        customer,
        identifiers: [numbered(0)].into(),
        origin: "split".to_owned(),
        validate_only: false,
    });
    assert!(decision.events.len() < 1_000, "{}", decision.events.len());
    for number in 0..9 {
        let person = (id(&format!("member:person-{number}")), true);
        world.take(&inbound(&format!("alone-{number}"), world.at, vec![person.clone()]));
        let both = vec![person, (numbered(0), false)];
        let decision = world.take(&inbound(&format!("p{number}"), world.at, both));
        assert!(decision.events.len() < 1_000, "{}", decision.events.len());
    }
    assert_eq!(world.state.hubs_after(None).count(), 1);
    assert_eq!(world.state.customers(), 9 + 989);
}

/// Fifteen tablets, each of which ties a hundred browsers, become hubs by one event: as many as fit,
/// and the others by those that follow.
#[test]
fn hubs_that_do_not_fit_one_batch_are_found_by_the_next_event() {
    let mut world = World::default();
    let cookie = |tablet: usize, number: usize| (id(&format!("cookie:t{tablet}-{number}")), false);
    for tablet in 0..15 {
        let browsers = (0..100).map(|number| cookie(tablet, number)).collect();
        world.take(&inbound(&format!("t{tablet}"), world.at, browsers));
    }
    let mut hubs = Vec::new();
    for number in 0..14 {
        let mut carries = vec![(id(&format!("member:m{number}")), true)];
        world.take(&inbound(&format!("k{number}"), world.at, carries.clone()));
        carries.extend((0..15).map(|tablet| cookie(tablet, 0)));
        let decision = world.take(&inbound(&format!("c{number}"), world.at, carries));
        assert!(decision.events.len() < 1_000, "{}", decision.events.len());
        hubs.push(world.state.hubs_after(None).count());
    }
    assert_eq!(hubs[..7], [0; 7], "{hubs:?}");
    assert!((1..15).contains(&hubs[7]), "{hubs:?}");
    assert_eq!(hubs.last(), Some(&15), "{hubs:?}");
    assert_eq!(world.state.customers(), 15 * 99 + 14);
    assert!(crate::world::fold(&world.ledger) == world.state);
}

/// A number that a shop gives with everybody leaves a conflict for each, and all are said again when
/// its owner is taken apart.
#[test]
fn what_waits_is_said_again_as_far_as_it_fits_one_batch() {
    let mut world = World::default();
    let shop = || (id("phone:+886223456789"), true);
    for number in 0..1_100 {
        let email = (id(&format!("email:person-{number}@example.com")), true);
        world.at = world.at.after(std::time::Duration::from_secs(1));
        world.take(&inbound(&format!("e{number}"), world.at, vec![shop(), email]));
    }
    let customer = world.state.owner(&shop().0).unwrap();
    assert!(world.state.conflicts_after(None).count() > 1_000);
    let decision = world.take(&Input::Split {
        customer,
        identifiers: [shop().0].into(),
        origin: "split".to_owned(),
        validate_only: false,
    });
    assert!(decision.events.len() < 1_000, "{}", decision.events.len());
    let newest = world.state.conflicts_after(None).map(|(_, one)| one.evidence.source.clone());
    assert!(newest.flatten().any(|source| source.event.as_str() == "e1099"));
    assert!(crate::world::fold(&world.ledger) == world.state);
}

proptest! {
    #![proptest_config(tries(24))]

    /// Large events: as many customers and new identifiers as it takes to be over every limit.
    #[test]
    fn one_event_leads_to_less_than_a_thousand_records(
        known in 0..1_500_usize,
        new in 0..1_500_usize,
        (verified, new_verified) in any::<(bool, bool)>(),
    ) {
        let identity = serde_json::json!({"limits": limits(150)});
        let mut world = World::new(configuration(&identity));
        for number in 0..known {
            let one = vec![(numbered(number), true)];
            world.take(&inbound(&format!("k{number}"), world.at, one));
        }
        let many = (0..known + new).map(|number| {
            (numbered(number), if number < known { verified } else { new_verified })
        });
        let decision = world.take(&inbound("many", world.at, many.collect()));
        prop_assert!(decision.events.len() < 1_000, "{}", decision.events.len());
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for profile in world.customers() {
            counts.clear();
            for one in profile.identifiers.keys() {
                *counts.entry(one.kind()).or_default() += 1;
            }
            prop_assert!(counts.values().all(|count| *count <= 150));
        }
    }
}
