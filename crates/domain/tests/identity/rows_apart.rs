//! Rows on what takes people apart, and what keeps them apart.

use std::time::Duration;

use mainstem_domain::identity::{Input, SEEN_FOR};
use mainstem_domain::person::{Answer, Sighting};

use crate::rows::{conflicts, owner, set_aside, suggestions, tell};
use crate::world::{World, arrives, channel_event, configuration, consent, id};

fn split(world: &mut World, of: &str, off: &[&str]) {
    let customer = owner(world, of).unwrap();
    let identifiers = off.iter().map(|text| id(text)).collect();
    let origin = format!("split-{}", world.ledger.len());
    let input = Input::Split { customer, identifiers, origin, validate_only: false };
    let decision = world.take(&input);
    assert!(matches!(decision.answer, Some(Ok(_))), "{:?}", decision.answer);
    world.moved();
}

const PHONE: &str = "phone:+88691234560";

#[test]
fn a_recycled_number_is_disputed_until_a_person_decides() {
    let mut world = World::default();
    let old = tell(&mut world, "e1", &["member:1", PHONE]);
    let new = tell(&mut world, "e2", &["member:2", PHONE, "line:p:U1"]);
    assert_ne!(old, new);
    assert_eq!(owner(&world, PHONE), None);
    let (dispute, found) = world.state.disputes_after(None).next().unwrap();
    assert_eq!(found.claimants, [old.unwrap(), new.unwrap()]);
    let dispute = *dispute;
    // It ties nobody, whoever carries it.
    assert_eq!(tell(&mut world, "e3", &[PHONE]), None);
    assert_eq!(tell(&mut world, "e4", &["member:1", PHONE]), old);
    assert_eq!(owner(&world, PHONE), None);
    world.take(&Input::SettleDispute { dispute, customer: new });
    assert_eq!(owner(&world, PHONE), new);
    assert_eq!(world.state.disputes_after(None).count(), 0);
    // Whoever lost it may be erased.
    let customer = old.unwrap();
    let (force, origin) = (true, "erase".to_owned());
    let (open_cases, tokens) = (Vec::new(), std::collections::BTreeMap::new());
    world.take(&Input::Erase { customer, force, open_cases, tokens, origin });
    assert_eq!((owner(&world, PHONE), owner(&world, "member:1")), (new, None));
}

/// The hub's own customer falls apart where only the hub tied it.
#[test]
fn a_tablet_that_many_share_ties_nobody() {
    let mut world = World::new(configuration(&serde_json::json!({"hub": {"customers": 3}})));
    let first = tell(&mut world, "e1", &["cookie:tablet", "member:9"]);
    tell(&mut world, "e2", &["cookie:tablet", "line:p:U9"]);
    assert_eq!(world.state.customers(), 1);
    for number in 1..4 {
        let member = format!("member:{number}");
        tell(&mut world, &format!("m{number}"), &[&member, "?cookie:tablet"]);
    }
    assert_eq!(world.state.hubs_after(None).count(), 1);
    assert_eq!(owner(&world, "cookie:tablet"), None);
    assert_ne!(owner(&world, "line:p:U9"), owner(&world, "member:9"));
    assert_eq!(owner(&world, "member:9"), first);
    tell(&mut world, "e3", &["member:2", "cookie:tablet"]);
    assert_eq!(owner(&world, "cookie:tablet"), None);
    world.take(&Input::ReleaseHub(id("cookie:tablet")));
    assert_eq!(tell(&mut world, "e4", &["member:2", "cookie:tablet"]), owner(&world, "member:2"));
    assert_eq!(owner(&world, "cookie:tablet"), owner(&world, "member:2"));
}

/// The stricter of two answers counts, also when the identifier that it stood on is gone.
#[test]
fn whoever_became_one_with_a_tablet_that_refused_refuses_still() {
    let mut world = World::new(configuration(&serde_json::json!({"hub": {"customers": 3}})));
    let answers = [("cookie:tablet", Answer::Refused), ("member:9", Answer::Granted)];
    for (number, (identifier, answer)) in (1..).zip(answers) {
        world.at = world.at.after(Duration::from_secs(number));
        let mut event = channel_event(&format!("e{number}"), 0, world.at);
        event.sightings = vec![Sighting { identifier: id(identifier), verified: true }];
        event.consents = vec![consent("line", answer)];
        world.take(&arrives(event));
    }
    tell(&mut world, "e3", &["cookie:tablet", "member:9"]);
    for number in 1..4 {
        let member = format!("member:{number}");
        tell(&mut world, &format!("alone-{number}"), &[&member]);
        tell(&mut world, &format!("m{number}"), &[&member, "?cookie:tablet"]);
    }
    assert_eq!(owner(&world, "cookie:tablet"), None);
    let profile = world.state.customer(owner(&world, "member:9").unwrap()).unwrap();
    assert_eq!(profile.facts.consents[0].consent.answer, Answer::Refused);
}

#[test]
fn who_are_two_people_stay_so_when_one_is_absorbed() {
    let mut world = World::default();
    tell(&mut world, "e1", &["email:a@b"]);
    tell(&mut world, "e2", &["line:p:U1"]);
    tell(&mut world, "e3", &[PHONE]);
    tell(&mut world, "e4", &["line:p:U1", &format!("?{PHONE}")]);
    let (suggestion, _) = world.state.suggestions_after(None).next().unwrap();
    let suggestion = *suggestion;
    world.take(&Input::RejectSuggestion(suggestion));
    assert_eq!(tell(&mut world, "e5", &["email:a@b", "line:p:U1"]), owner(&world, "email:a@b"));
    tell(&mut world, "e6", &["email:a@b", &format!("?{PHONE}")]);
    tell(&mut world, "e7", &["?line:p:U1", PHONE]);
    assert_eq!(suggestions(&world), []);
}

/// Half open: what is exactly 7 days old is out of `7d`.
#[test]
fn a_window_is_over_to_the_millisecond() {
    let limits = serde_json::json!({"limits": {"email": {"at_most": 1, "within": "7d"}}});
    // `tell` waits for a second.
    let week = Duration::from_hours(7 * 24).saturating_sub(Duration::from_secs(1));
    for (less, fits) in [(1, false), (0, true)] {
        let mut world = World::new(configuration(&limits));
        tell(&mut world, "e1", &["member:1", "email:a@b"]);
        world.at = world.at.after(week.saturating_sub(Duration::from_millis(less)));
        tell(&mut world, "e2", &["member:1", "email:b@b"]);
        assert_eq!(owner(&world, "email:b@b").is_some(), fits);
    }
}

/// Whoever carried it exactly 30 days ago counts no more.
#[test]
fn carriers_count_for_a_window_to_the_millisecond() {
    let rules = serde_json::json!({"hub": {"customers": 3, "days": 30}});
    let month = Duration::from_hours(30 * 24).saturating_sub(Duration::from_secs(1));
    for (less, hubs) in [(1, 1), (0, 0)] {
        let mut world = World::new(configuration(&rules));
        tell(&mut world, "e0", &["member:9", "cookie:tablet"]);
        for number in 1..4 {
            tell(&mut world, &format!("m{number}"), &[&format!("member:{number}")]);
        }
        tell(&mut world, "e1", &["member:1", "?cookie:tablet"]);
        let first = world.at;
        tell(&mut world, "e2", &["member:2", "?cookie:tablet"]);
        world.at = first.after(month.saturating_sub(Duration::from_millis(less)));
        tell(&mut world, "e3", &["member:3", "?cookie:tablet"]);
        assert_eq!(world.state.hubs_after(None).count(), hubs);
    }
}

#[test]
fn what_is_split_stays_split_until_a_person_makes_it_one() {
    let mut world = World::default();
    let one = tell(&mut world, "e1", &["member:1", "email:a@b", "line:p:U1"]);
    split(&mut world, "member:1", &["line:p:U1"]);
    let other = owner(&world, "line:p:U1");
    assert_ne!(other, one);
    world.at = world.at.after(SEEN_FOR * 2);
    assert_eq!(tell(&mut world, "e1", &["member:1", "email:a@b", "line:p:U1"]), one);
    assert_eq!(owner(&world, "line:p:U1"), other);
    let found = conflicts(&world);
    assert_eq!(set_aside(&found[0]), ["line:p:U1"]);
    assert!(found[0].cannot_link && found[0].kinds.is_empty());
    // Nor is it suggested.
    tell(&mut world, "e2", &["member:1", "?line:p:U1"]);
    assert_eq!(suggestions(&world), []);
    let (customer, other) = (one.unwrap(), other.unwrap());
    world.take(&Input::Merge { customer, other, validate_only: false });
    assert_eq!(owner(&world, "line:p:U1"), owner(&world, "member:1"));
}

/// Also those that were recorded before the customer was absorbed.
#[test]
fn a_split_keeps_what_waits_for_review() {
    let mut world = World::default();
    tell(&mut world, "e1", &["email:a@b"]);
    let absorbed = tell(&mut world, "e2", &["line:p:U1"]);
    tell(&mut world, "e3", &["line:p:U1", "?member:2", "?member:3"]);
    let third = tell(&mut world, "e4", &["line:p:U2"]);
    tell(&mut world, "e5", &["line:p:U1", "?line:p:U2"]);
    assert_eq!((conflicts(&world).len(), suggestions(&world).len()), (1, 1));
    tell(&mut world, "e6", &["email:a@b", "line:p:U1"]);
    split(&mut world, "email:a@b", &["line:p:U1", "member:2"]);
    assert_eq!(owner(&world, "line:p:U1"), absorbed);
    assert_eq!(conflicts(&world)[0].customer, absorbed.unwrap());
    let found = suggestions(&world);
    assert_eq!((Some(found[0].customer), Some(found[0].other)), (absorbed, third));
}

/// The job of an erasure may still be deleting what stood under the id.
#[test]
fn an_erased_id_is_not_given_again() {
    let mut world = World::default();
    let customer = tell(&mut world, "e1", &["member:1"]).unwrap();
    let (force, origin) = (true, "erase".to_owned());
    let (open_cases, tokens) = (Vec::new(), std::collections::BTreeMap::new());
    world.take(&Input::Erase { customer, force, open_cases, tokens, origin });
    world.at = world.at.after(SEEN_FOR * 2);
    let again = tell(&mut world, "e1", &["member:1"]).unwrap();
    assert_ne!(again, customer);
}
