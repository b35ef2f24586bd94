//! The table of the module, row by row, and what its words decide.

use mainstem_domain::configuration::Configuration;
use mainstem_domain::identifier::{Identifier, Kind};
use mainstem_domain::identity::{Conflict, Event, Input, Suggestion};
use mainstem_domain::{CustomerId, RefusalCode};

use crate::world::{World, configuration, id, inbound};

/// Tells an event with these identifiers, verified unless they start with `?`; whose it is.
pub(crate) fn tell(world: &mut World, event: &str, identifiers: &[&str]) -> Option<CustomerId> {
    world.at = world.at.after(std::time::Duration::from_secs(1));
    let sightings = identifiers.iter().map(|text| match text.strip_prefix('?') {
        Some(text) => (id(text), false),
        None => (id(text), true),
    });
    let decision = world.take(&inbound(event, world.at, sightings.collect()));
    let channel = decision.events.iter().find_map(|event| match event {
        Event::Channel { customer, .. } => Some(*customer),
        _ => None,
    });
    channel.expect("the event stands on somebody's record or nobody's")
}

pub(crate) fn owner(world: &World, identifier: &str) -> Option<CustomerId> {
    world.state.owner(&id(identifier))
}

pub(crate) fn conflicts(world: &World) -> Vec<Conflict> {
    world.state.conflicts_after(None).map(|(_, conflict)| conflict.clone()).collect()
}

pub(crate) fn suggestions(world: &World) -> Vec<Suggestion> {
    world.state.suggestions_after(None).map(|(_, suggestion)| suggestion.clone()).collect()
}

pub(crate) fn set_aside(conflict: &Conflict) -> Vec<String> {
    conflict.set_aside.iter().map(|one| one.identifier.to_string()).collect()
}

#[test]
fn without_identifiers_or_with_blocked_ones_it_is_nobodys() {
    let own = serde_json::json!({"blocked": ["phone:+886223456789"]});
    let mut world = World::new(configuration(&own));
    assert_eq!(tell(&mut world, "e1", &[]), None);
    let blocked = ["member:0000", "cookie:NULL", "external:pos:-1", "phone:+886223456789"];
    assert_eq!(tell(&mut world, "e2", &blocked), None);
    assert_eq!(world.state.customers(), 0);
    let one = tell(&mut world, "e3", &["line:p:U1", "member:null", "phone:+886223456789"]);
    let other = tell(&mut world, "e4", &["line:p:U2", "member:null", "phone:+886223456789"]);
    assert_ne!(one, other);
    assert_eq!(owner(&world, "member:null"), None);
}

#[test]
fn a_new_member_id_with_a_known_email_makes_a_new_customer() {
    let mut world = World::default();
    let first = tell(&mut world, "e1", &["member:1", "email:a@b"]);
    let second = tell(&mut world, "e2", &["member:2", "?email:a@b"]);
    assert_ne!(first, second);
    assert_eq!(owner(&world, "email:a@b"), first);
    assert_eq!(owner(&world, "member:2"), second);
    let found = conflicts(&world);
    assert_eq!(found.len(), 1);
    assert_eq!(set_aside(&found[0]), ["email:a@b"]);
    assert_eq!((Some(found[0].customer), &found[0].others[..]), (second, &[first.unwrap()][..]));
    assert_eq!(found[0].kinds, [Kind::Member]);
    // The same again, under another id: the same answer, and nothing more to review.
    assert_eq!(tell(&mut world, "e3", &["member:2", "?email:a@b"]), second);
    assert_eq!(conflicts(&world).len(), 1);
}

#[test]
fn a_chain_of_customers_becomes_the_oldest() {
    let mut world = World::default();
    let oldest = tell(&mut world, "e1", &["cookie:1"]);
    let middle = tell(&mut world, "e2", &["phone:+88691234560"]);
    let newest = tell(&mut world, "e3", &["line:p:U1", "email:a@b"]);
    let all = ["line:p:U1", "phone:+88691234560", "member:1", "cookie:1"];
    assert_eq!(tell(&mut world, "e4", &all), oldest);
    for gone in [middle, newest] {
        assert_eq!(world.state.current(gone.unwrap()), oldest.unwrap());
    }
    for identifier in all.into_iter().chain(["email:a@b"]) {
        assert_eq!(owner(&world, identifier), oldest);
    }
    // The older is absorbed first, and each record says by what.
    let merged: Vec<(CustomerId, Vec<Identifier>)> = world
        .ledger
        .iter()
        .filter_map(|(event, _)| match event {
            Event::Merged { absorbed, evidence, .. } => Some((*absorbed, evidence.by.clone())),
            _ => None,
        })
        .map(|(absorbed, by)| (absorbed, by.into_iter().map(|one| one.identifier).collect()))
        .collect();
    let by = |text: &str| vec![id("cookie:1"), id(text)];
    assert_eq!(
        merged,
        [(middle.unwrap(), by("phone:+88691234560")), (newest.unwrap(), by("line:p:U1"))]
    );
}

#[test]
fn a_limit_that_is_hit_exactly_lets_through_and_one_more_does_not() {
    let mut world = World::default();
    let phones: Vec<_> = (0..6).map(|n| format!("phone:+8869123456{n}")).collect();
    let one = tell(&mut world, "e1", &["member:1", &phones[0], &phones[1]]);
    let other = tell(&mut world, "e2", &["line:p:U1", &phones[2], &phones[3], &phones[4]]);
    assert_ne!(one, other);
    // Five together.
    assert_eq!(tell(&mut world, "e3", &["member:1", "line:p:U1"]), one);
    assert_eq!(owner(&world, &phones[4]), one);
    assert_eq!(conflicts(&world), []);
    // The sixth goes its own way with whoever it comes with: the member id is stronger.
    assert_eq!(tell(&mut world, "e4", &["member:1", &phones[5]]), one);
    assert_eq!(owner(&world, &phones[5]), None);
    assert_eq!(set_aside(&conflicts(&world)[0]), [phones[5].clone()]);
    // And it is stronger than a LINE user id.
    let new = tell(&mut world, "e5", &["line:p:U1", &phones[5]]);
    assert_ne!(new, one);
    assert_eq!(owner(&world, &phones[5]), new);
    assert_eq!(owner(&world, "line:p:U1"), one);
}

#[test]
fn two_customers_that_may_not_be_one_stay_two() {
    let mut world = World::default();
    let one = tell(&mut world, "e1", &["member:1", "line:p:U1"]);
    let other = tell(&mut world, "e2", &["member:2", "cookie:1"]);
    // The cookie is set aside, though verified; the event is the LINE user's.
    assert_eq!(tell(&mut world, "e3", &["cookie:1", "line:p:U1"]), one);
    assert_eq!(owner(&world, "cookie:1"), other);
    assert_eq!(conflicts(&world)[0].others, [other.unwrap()]);
    assert_eq!(suggestions(&world), []);
}

#[test]
fn what_is_only_asserted_suggests_once_and_a_merge_settles_it() {
    let mut world = World::default();
    let one = tell(&mut world, "e1", &["line:p:U1"]);
    let other = tell(&mut world, "e2", &["phone:+88691234560"]);
    assert_eq!(tell(&mut world, "e3", &["line:p:U1", "?phone:+88691234560", "?cookie:1"]), one);
    assert_eq!(owner(&world, "cookie:1"), one);
    assert_eq!(world.state.customers(), 2);
    let found = suggestions(&world);
    assert_eq!((found[0].customer, found[0].other), (one.unwrap(), other.unwrap()));
    let by: Vec<_> =
        found[0].evidence.by.iter().map(|one| (one.identifier.to_string(), one.verified)).collect();
    let wanted = [("line:p:U1".to_owned(), true), ("phone:+88691234560".to_owned(), false)];
    assert_eq!(by, wanted);
    // From either side.
    tell(&mut world, "e4", &["line:p:U1", "?phone:+88691234560"]);
    tell(&mut world, "e5", &["?line:p:U1", "phone:+88691234560"]);
    assert_eq!(suggestions(&world), found);

    let third = tell(&mut world, "e6", &["email:a@b"]);
    tell(&mut world, "e7", &["email:a@b", "?phone:+88691234560"]);
    let merge =
        Input::Merge { customer: one.unwrap(), other: other.unwrap(), validate_only: false };
    world.take(&merge);
    // What was said of the absorbed is said of the survivor.
    let left = suggestions(&world);
    assert_eq!(left.len(), 1);
    assert_eq!((Some(left[0].customer), Some(left[0].other)), (third, one));
    tell(&mut world, "e8", &["email:a@b", "line:p:U1"]);
    assert_eq!(suggestions(&world), []);
    assert_eq!(world.state.customers(), 1);
}

#[test]
fn with_nothing_verified_it_goes_to_the_owner_of_the_strongest() {
    let mut world = World::default();
    let cookie = tell(&mut world, "e1", &["?cookie:1"]);
    let phone = tell(&mut world, "e2", &["?phone:+88691234560"]);
    assert_eq!(tell(&mut world, "e3", &["?cookie:1", "?phone:+88691234560"]), phone);
    assert_eq!(suggestions(&world)[0].other, cookie.unwrap());
}

#[test]
fn whoever_asserts_draws_no_event_to_somebody_else() {
    let mut world = World::default();
    let victim = tell(&mut world, "e1", &["member:1", "email:a@b"]);
    let liar = tell(&mut world, "e2", &["member:2", "line:p:U1"]);
    // What somebody else has: the two can never be one.
    assert_eq!(tell(&mut world, "e3", &["line:p:U1", "?email:a@b"]), liar);
    assert_eq!((owner(&world, "email:a@b"), owner(&world, "line:p:U1")), (victim, liar));
    assert_eq!(set_aside(&conflicts(&world)[0]), ["email:a@b"]);
    assert_eq!(suggestions(&world), []);
    // What nobody has yet, though it is of a stronger kind.
    assert_eq!(tell(&mut world, "e4", &["line:p:U1", "?member:3"]), liar);
    assert_eq!(owner(&world, "member:3"), None);
}

#[test]
fn some_verified_and_some_asserted_merge_and_suggest() {
    let mut world = World::default();
    let one = tell(&mut world, "e1", &["line:p:U1"]);
    tell(&mut world, "e2", &["line:q:U1"]);
    let third = tell(&mut world, "e3", &["phone:+88691234560"]);
    assert_eq!(tell(&mut world, "e4", &["line:q:U1", "line:p:U1", "?phone:+88691234560"]), one);
    assert_eq!(world.state.customers(), 2);
    let found = suggestions(&world);
    assert_eq!((Some(found[0].customer), Some(found[0].other)), (one, third));
}

/// One sighting is enough to verify an identifier.
#[test]
fn the_same_identifier_twice_in_one_event_counts_once() {
    let mut world = World::default();
    let one = tell(&mut world, "e1", &["line:p:U1"]);
    tell(&mut world, "e2", &["line:q:U1"]);
    assert_eq!(tell(&mut world, "e3", &["?line:q:U1", "line:p:U1", "line:q:U1"]), one);
    assert_eq!(world.state.customers(), 1);
}

#[test]
fn commands_keep_to_the_limits_of_each_kind() {
    let mut world = World::default();
    let one = tell(&mut world, "e1", &["member:1"]).unwrap();
    let other = tell(&mut world, "e2", &["member:2"]).unwrap();
    let refused = |world: &World, input: &Input| {
        let decision = world.decide(input);
        assert_eq!(decision.events, []);
        decision.answer.unwrap().unwrap_err()
    };
    for validate_only in [true, false] {
        let refusal = refused(&world, &Input::Merge { customer: one, other, validate_only });
        assert_eq!(refusal.code, RefusalCode::FailedPrecondition);
        assert_eq!(refusal.reason, "TOO_MANY_IDENTIFIERS");
        assert_eq!((&*refusal.metadata["kind"], &*refusal.metadata["limit"]), ("member", "1"));
    }
    let attach = |identifier: &str| Input::Attach { customer: one, identifier: id(identifier) };
    let refusal = refused(&world, &attach("member:3"));
    assert_eq!(refusal.code, RefusalCode::ResourceExhausted);
    assert_eq!(refusal.reason, "TOO_MANY_IDENTIFIERS");
    assert_eq!(refused(&world, &attach("member:2")).reason, "IDENTIFIER_TAKEN");
    assert_eq!(refused(&world, &attach("cookie:null")).violations[0].field, "identifier");
    assert_eq!(world.take(&attach("cookie:1")).events.len(), 1);
    assert_eq!(world.take(&attach("cookie:1")).events, []);
    assert_eq!(owner(&world, "cookie:1"), Some(one));
}

/// Who has more keeps it, and still gets what is within the limits of other kinds.
#[test]
fn a_limit_that_is_lowered_takes_nothing_from_anybody() {
    let mut world = World::default();
    let one = tell(&mut world, "e1", &["line:p:U1", "phone:+88691234560", "phone:+88691234561"]);
    world.configuration = configuration(&serde_json::json!({"limits": {"phone": 1}}));
    assert_eq!(tell(&mut world, "e2", &["phone:+88691234560", "email:a@b"]), one);
    assert_eq!(owner(&world, "email:a@b"), one);
    assert_eq!(owner(&world, "phone:+88691234561"), one);
    assert_eq!(conflicts(&world), []);
}

/// An event that is forgotten and comes again, or an id that a source used twice.
#[test]
fn an_event_id_used_twice_gives_nothing_an_id_twice() {
    let mut world = World::default();
    for round in 0..3 {
        world.at = world.at.after(mainstem_domain::identity::SEEN_FOR * 2);
        // What was seen is forgotten when the next event is taken.
        tell(&mut world, &format!("between-{round}"), &[]);
        let line = format!("line:p:{round}");
        let member = [format!("member:{round}a"), format!("member:{round}b")];
        tell(&mut world, "e", &[&line, &member[0], &member[1]]);
    }
    assert_eq!(world.state.customers(), 3);
    assert_eq!(conflicts(&world).len(), 3);
}

#[test]
fn the_section_of_the_configuration_refuses_what_makes_no_sense() {
    let read = |json: serde_json::Value| {
        serde_json::from_value::<Configuration>(serde_json::json!({"identity": json}))
    };
    assert!(read(serde_json::json!({"limits": {"phone": 3}})).is_ok());
    assert!(read(serde_json::json!({"limits": {"phone": {"at_most": 3, "within": "7d"}}})).is_ok());
    for bad in [
        serde_json::json!({"limits": {"phone": 0}}),
        serde_json::json!({"limits": {"phone": 1_001}}),
        serde_json::json!({"limits": {"phone": {"at_most": 3, "within": "8d"}}}),
        serde_json::json!({"limits": {"fax": 1}}),
        serde_json::json!({"blocked": ["phone:12"]}),
    ] {
        assert!(read(bad.clone()).is_err(), "{bad}");
    }
}
