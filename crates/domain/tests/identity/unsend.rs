//! A message that was taken back, step by step.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::identity::{Event, Input, SEEN_FOR, State, Unsend};
use mainstem_domain::person::{Act, ChannelEvent, Sighting};
use mainstem_domain::{CustomerId, UnsendId};

use crate::rows::{owner, tell};
use crate::world::{World, arrives, channel_event, fold, id, token};

fn event(name: &str, identifiers: &[&str]) -> ChannelEvent {
    let sightings = identifiers.iter().map(|one| Sighting { identifier: id(one), verified: true });
    ChannelEvent {
        sightings: sightings.collect(),
        ..channel_event(name, 0, mainstem_domain::At::from_millis(0))
    }
}

fn sends(world: &mut World, name: &str, identifiers: &[&str], message: &str) -> Vec<Event> {
    let message = Some(message.into());
    let event = ChannelEvent { message, ..event(name, identifiers) };
    world.take(&arrives(event)).events
}

fn takes_back(world: &mut World, name: &str, identifiers: &[&str], message: &str) -> Vec<Event> {
    let act = Act::Unsend(message.to_owned());
    world.take(&arrives(ChannelEvent { act, ..event(name, identifiers) })).events
}

fn open(world: &World) -> Vec<Unsend> {
    world.state.unsends().map(|(_, open)| open.clone()).collect()
}

fn unsend(customers: &[CustomerId], message: &str) -> Unsend {
    let channel = "channel-0".parse().unwrap();
    Unsend { customers: customers.to_vec(), channel, message: message.to_owned() }
}

fn hide(world: &mut World) -> Vec<Event> {
    let (unsend, _) = world.state.unsends().next().unwrap();
    let counts = BTreeMap::from([("a place".to_owned(), 1)]);
    world.take(&Input::Hidden { unsend: *unsend, counts }).events
}

#[test]
fn it_is_somebodys_until_it_is_hidden() {
    let mut world = World::default();
    sends(&mut world, "1", &["line:p:U1"], "m");
    let customer = owner(&world, "line:p:U1").unwrap();
    let events = takes_back(&mut world, "2", &["line:p:U1"], "m");
    let [Event::Channel { customer: Some(of), .. }, Event::Unsent { id, .. }] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!((*of, *id), (customer, UnsendId::derive("channel-0/2")));
    assert_eq!((open(&world), events[1].owner()), (vec![unsend(&[customer], "m")], Some(customer)));
    assert!(takes_back(&mut world, "2", &["line:p:U1"], "m").is_empty(), "it comes again");
    let saved = postcard::to_allocvec(&world.state).unwrap();
    assert!(postcard::from_bytes::<State>(&saved).unwrap() == world.state);

    let hidden = hide(&mut world);
    assert!(
        matches!(hidden.as_slice(), [Event::Hidden { customer: Some(of), .. }] if *of == customer)
    );
    assert_eq!((open(&world), hidden[0].owner()), (Vec::new(), Some(customer)));
    let counts = BTreeMap::new();
    let again = world.take(&Input::Hidden { unsend: UnsendId::derive("channel-0/2"), counts });
    assert!(again.events.is_empty());
    let saved = postcard::to_allocvec(&world.state).unwrap();
    assert!(postcard::from_bytes::<State>(&saved).unwrap() == world.state);
    assert!(fold(&world.ledger) == world.state);
}

#[test]
fn it_is_nobodys_where_nobody_can_be_told() {
    let mut world = World::default();
    let events = takes_back(&mut world, "1", &[], "m");
    assert_eq!((open(&world), events[1].owner()), (vec![unsend(&[], "m")], None));
    assert!(matches!(hide(&mut world).as_slice(), [Event::Hidden { customer: None, .. }]));
}

#[test]
fn it_may_stand_under_every_id_that_the_person_had() {
    let mut world = World::default();
    let [one, other, third] = ["line:p:U1", "line:p:U2", "member:1"].map(|of| {
        world.at = world.at.after(std::time::Duration::from_millis(1));
        tell(&mut world, of, &[of]).unwrap()
    });
    world.take(&Input::Merge { customer: one, other, validate_only: false });
    takes_back(&mut world, "2", &["line:p:U2"], "m");
    assert_eq!(open(&world), [unsend(&[one, other], "m")]);
    hide(&mut world);
    // The event itself makes them one.
    takes_back(&mut world, "3", &["line:p:U2", "member:1"], "m");
    let [Unsend { customers, .. }] = open(&world).try_into().unwrap();
    assert_eq!((customers[0], customers.len()), (one, 3));
    assert_eq!(BTreeSet::from_iter(customers), BTreeSet::from([one, other, third]));
}

#[test]
fn after_a_split_it_is_whose_it_is_then() {
    let mut world = World::default();
    tell(&mut world, "1", &["line:p:U1", "line:p:U2"]);
    let before = owner(&world, "line:p:U1").unwrap();
    let identifiers = BTreeSet::from([id("line:p:U2")]);
    let (origin, validate_only) = ("s".to_owned(), false);
    world.take(&Input::Split { customer: before, identifiers, origin, validate_only });
    let apart = owner(&world, "line:p:U2").unwrap();
    assert_ne!(apart, before);
    takes_back(&mut world, "2", &["line:p:U2"], "m");
    assert_eq!(open(&world), [unsend(&[apart], "m")]);
}

#[test]
fn whoever_is_erased_leaves_nothing_to_hide() {
    let mut world = World::default();
    tell(&mut world, "1", &["line:p:U1"]);
    tell(&mut world, "2", &["line:p:U2"]);
    takes_back(&mut world, "3", &["line:p:U1"], "m");
    takes_back(&mut world, "4", &["line:p:U2"], "m");
    let (customer, other) =
        (owner(&world, "line:p:U1").unwrap(), owner(&world, "line:p:U2").unwrap());
    let tokens = BTreeMap::from([(id("line:p:U1"), token(&id("line:p:U1")))]);
    let (open_cases, origin) = (Vec::new(), "e".to_owned());
    world.take(&Input::Erase { customer, force: false, open_cases, tokens, origin });
    assert_eq!(open(&world), [unsend(&[other], "m")]);
}

#[test]
fn what_comes_after_it_was_taken_back_goes_as_well() {
    let mut world = World::default();
    takes_back(&mut world, "1", &["line:p:U1"], "m");
    let customer = owner(&world, "line:p:U1").unwrap();
    hide(&mut world);
    let late = sends(&mut world, "2", &["line:p:U1"], "m");
    assert!(matches!(late.as_slice(), [Event::Channel { .. }, Event::Unsent { .. }]), "{late:?}");
    hide(&mut world);
    // Once more: it is no news, but its content came in.
    let again = sends(&mut world, "2", &["line:p:U1"], "m");
    assert!(matches!(again.as_slice(), [Event::Unsent { .. }]), "{again:?}");
    assert_eq!(open(&world), [unsend(&[customer], "m")]);
    hide(&mut world);
    let other = sends(&mut world, "3", &["line:p:U1"], "other");
    assert!(matches!(other.as_slice(), [Event::Channel { .. }]), "{other:?}");
    world.at = world.at.after(SEEN_FOR * 2);
    let later = sends(&mut world, "4", &["line:p:U1"], "m");
    assert!(matches!(later.as_slice(), [Event::Channel { .. }]), "{later:?}");
}
