//! Whose the records may be that stand under an id, while those of a split are being moved: whatever
//! becomes of its pieces meanwhile. And what outlives whoever it was said of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstem_domain::CustomerId;
use mainstem_domain::identity::{Event, Input};
use mainstem_domain::person::Answer;

use crate::story::{Does, IDENTIFIERS, Name, Op, Sight, Span, Told, Under, Word};
use crate::world::World;

fn name(identifier: &str) -> Name {
    Name(IDENTIFIERS.iter().position(|one| *one == identifier).unwrap())
}

/// `?` stands before what is not verified.
fn tell(event: u16, carries: &[&str]) -> Op {
    let sight = |one: &&str| Sight(name(one.trim_start_matches('?')), !one.starts_with('?'));
    let carries = carries.iter().map(sight).collect();
    let late = Span(Duration::ZERO);
    Op::Tell(Told { event, channel: 0, late, carries, says: Vec::new(), does: Does::Nothing })
}

fn split(off: &str) -> Op {
    Op::Split { off: vec![name(off)], validate_only: false }
}

fn world(ops: &[Op]) -> World {
    world_under(Under::Wide, ops)
}

fn world_under(under: Under, ops: &[Op]) -> World {
    let mut world = World::under(under);
    for op in ops {
        world.run(op);
        world.run(&Op::Wait(Span(Duration::from_secs(1))));
    }
    world
}

fn has(world: &World, identifier: &str) -> CustomerId {
    world.state.owner(&name(identifier).identifier()).unwrap()
}

/// Whether a customer may be erased now, and is.
fn erases(world: &mut World, of: &str) -> bool {
    let erase = Op::Erase { of: name(of), force: true, case_open: false };
    let (_, decided) = world.run(&erase).unwrap();
    decided.events.iter().any(|event| matches!(event, Event::Erased { .. }))
}

#[test]
fn a_piece_that_became_part_of_another_still_has_what_was_its_own() {
    // An older customer absorbs the piece before its records are moved.
    let mut world = world(&[
        tell(1, &["member:1"]),
        tell(2, &["line:p:U1", "line:p:U2"]),
        split("line:p:U2"),
        Op::Join(name("member:1"), name("line:p:U2")),
    ]);
    let (before, survivor) = (has(&world, "line:p:U1"), has(&world, "line:p:U2"));
    assert_eq!(survivor, has(&world, "member:1"));
    assert!(world.state.is_piece_of(survivor, before));
    assert!(!world.state.is_piece_of(before, before));
    // Nothing may be erased that may still stand under somebody else.
    assert!(!erases(&mut world, "member:1"));
    world.run(&Op::Moved);
    assert!(!world.state.is_piece_of(survivor, before));
    assert!(erases(&mut world, "member:1"));
}

#[test]
fn a_piece_of_a_piece_still_has_what_was_its_own() {
    let mut world = world(&[
        tell(1, &["line:p:U1", "line:p:U2", "line:q:U1"]),
        Op::Split { off: vec![name("line:p:U2"), name("line:q:U1")], validate_only: false },
        // Both were tied to the first alone, so they are two.
        Op::Join(name("line:p:U2"), name("line:q:U1")),
        split("line:q:U1"),
    ]);
    let before = has(&world, "line:p:U1");
    let pieces = ["line:p:U2", "line:q:U1"].map(|one| has(&world, one));
    assert_eq!(BTreeSet::from([before, pieces[0], pieces[1]]).len(), 3);
    for piece in pieces {
        assert!(world.state.is_piece_of(piece, before));
    }
    // The later split is through first: the earlier one still moves to whom that one says.
    let later = world.state.splits().max_by_key(|(_, split)| split.split_at).map(|(id, _)| *id);
    world.take(&Input::Moved { split: later.unwrap(), counts: BTreeMap::new() });
    for piece in pieces {
        assert!(world.state.is_piece_of(piece, before));
    }
    assert!(!erases(&mut world, "line:q:U1"));
    world.run(&Op::Moved);
    assert_eq!(world.state.splits().count(), 0);
    assert!(erases(&mut world, "line:q:U1"));
}

#[test]
fn what_stands_under_an_alias_may_be_another_pieces() {
    let world = world(&[
        tell(1, &["member:1"]),
        tell(2, &["line:p:U1", "line:p:U2"]),
        Op::Join(name("member:1"), name("line:p:U1")),
        split("line:p:U2"),
    ]);
    let (survivor, piece) = (has(&world, "line:p:U1"), has(&world, "line:p:U2"));
    let (_, split) = world.state.splits().next().unwrap();
    let alias = split.aliases.iter().copied().next().unwrap();
    assert_eq!(world.state.current(alias), survivor);
    assert_eq!(split.ids().collect::<BTreeSet<_>>(), BTreeSet::from([survivor, piece, alias]));
    assert!(world.state.is_piece_of(piece, alias) && world.state.is_piece_of(piece, survivor));
    assert!(!world.state.is_piece_of(survivor, alias));
}

/// The third customer that carries an identifier makes it a hub.
fn becomes_a_hub(identifier: &str) -> Vec<Op> {
    let (mut ops, carried) = (Vec::new(), format!("?{identifier}"));
    for (number, member) in (0..).zip(["member:1", "member:2", "member:3"]) {
        ops.push(tell(100 + number, &[member]));
        ops.push(tell(200 + number, &[member, &carried]));
    }
    ops
}

#[test]
fn who_was_cut_stays_cut_when_what_carried_the_cut_is_a_hub() {
    let mut ops = vec![
        tell(1, &["phone:+88691234560", "email:a@b"]),
        split("email:a@b"),
        tell(2, &["phone:+88691234560", "line:p:U1"]),
    ];
    ops.extend(becomes_a_hub("phone:+88691234560"));
    ops.push(tell(3, &["line:p:U1", "email:a@b"]));
    let world = world_under(Under::Narrow, &ops);
    assert_eq!(world.state.hubs_after(None).count(), 1);
    assert_ne!(has(&world, "line:p:U1"), has(&world, "email:a@b"));
}

#[test]
fn a_refusal_of_who_was_erased_is_lifted_by_a_later_grant_alone() {
    let says = |event, late, word| {
        let carries = vec![Sight(name("phone:+88691234560"), true)];
        let late = Span(Duration::from_hours(late));
        let says = vec![word];
        Op::Tell(Told { event, channel: 0, late, carries, says, does: Does::Nothing })
    };
    for (late, answer) in [(24 * 40, Answer::Refused), (0, Answer::Granted)] {
        let begin = Op::Wait(Span(Duration::from_hours(24 * 100)));
        let mut world = world(&[begin, says(1, 0, Word::Refuses("line"))]);
        assert!(erases(&mut world, "phone:+88691234560"));
        world.run(&Op::Wait(Span(Duration::from_hours(24))));
        world.run(&says(2, late, Word::Grants("line")));
        let profile = world.state.customer(has(&world, "phone:+88691234560")).unwrap();
        let answers: Vec<_> =
            profile.facts.consents.iter().map(|told| told.consent.answer).collect();
        assert_eq!(answers, [answer], "a grant {late} h late");
    }
}
