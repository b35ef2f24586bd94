//! Notification by name: who is told what after people were taken for one and are apart again.

use std::time::Duration;

use mainstem_domain::ErasureId;
use mainstem_domain::custody;
use mainstem_domain::notification::{
    Class, Deed, Delivery, Event, ITEM_ERASED, Input, Outcome, SETTLED_FOR, Standing,
};
use mainstem_domain::person::Answer;

use super::notification::{Bench, Op};
use super::world::Change;

fn seen(person: usize, channel: u8) -> Op {
    Op::Seen { person, channel, deed: Deed::Acted }
}

fn send(person: usize) -> Op {
    Op::Send { person, channel: Some(0), class: Class::Transactional, keyed: false }
}

/// Whose address moved twice, and then the customer in between: who goes back to an earlier one takes
/// it along, also in a log that lacks the later one.
#[test]
fn an_address_that_was_moved_twice_is_not_left_on_the_way() {
    let mut bench = Bench::new();
    for op in [
        seen(1, 0),
        Op::Change(Change::Merge { survivor: 3, absorbed: 1 }),
        seen(0, 0),
        Op::Change(Change::Merge { survivor: 5, absorbed: 1 }),
        Op::Change(Change::Split { of: 1, apart: 1 << 1, parts: false }),
        Op::Change(Change::Split { of: 3, apart: 1 << 3, parts: false }),
        Op::Change(Change::Custodian),
        Op::Change(Change::Erase { of: 5 }),
    ] {
        bench.run(&op);
    }
    bench.custodian();
    bench.check().unwrap();
}

/// Routing decided before it knew of the split, and notification reads that after it knows.
#[test]
fn a_request_from_before_a_split_goes_to_whom_it_was_meant_for() {
    let mut bench = Bench::new();
    for person in [0, 1] {
        bench.run(&seen(person, u8::try_from(person).unwrap()));
    }
    bench.run(&Op::Change(Change::Merge { survivor: 0, absorbed: 1 }));
    let late = bench.request(1, 1, false);
    bench.world.change(&Change::Split { of: 0, apart: 1 << 1, parts: false });
    let decided = bench.give(&late);
    let [Event::Queued { item, .. }, Event::Handed { .. }] = &decided[..] else {
        panic!("{decided:?}")
    };
    assert_eq!((item.customer, item.address.user.as_str()), (bench.world.own[1], "U1"));
}

#[test]
fn after_a_split_nobody_is_told_what_was_meant_for_the_other() {
    let mut bench = Bench::new();
    bench.run(&seen(0, 0));
    bench.run(&Op::Change(Change::Merge { survivor: 0, absorbed: 1 }));
    bench.run(&seen(1, 0));
    bench.world.change(&Change::Split { of: 0, apart: 1 << 1, parts: true });
    for person in [0, 1] {
        let request = bench.request(person, 0, false);
        let decided = bench.give(&request);
        let [Event::Queued { item, .. }, Event::Handed { .. }] = &decided[..] else {
            panic!("{decided:?}")
        };
        assert_eq!(item.address.user, format!("U{person}"));
    }
}

#[test]
fn what_waits_for_who_is_erased_is_not_sent_and_a_late_request_names_nobody() {
    let mut bench = Bench::new();
    bench.run(&seen(0, 0));
    bench.run(&send(0));
    let late = bench.request(0, 0, true);
    let (item, customer) = (bench.items[0], bench.world.own[0]);
    let erasure = ErasureId::derive("1");
    let erased = custody::Input::Erased { erasure, customers: vec![customer] };
    let decided = bench.give(&Input::Custody(erased));
    assert!(matches!(&decided[0], Event::Settled { outcome: Outcome::Failed { .. }, .. }));
    assert_eq!(bench.world.state.delivery(item), None);
    assert_eq!(bench.world.state.waiting(), 0);
    let begin = Input::Begin { item, attempt: "a".to_owned() };
    let refusal = bench.world.give(&begin).answer.unwrap().unwrap_err();
    assert_eq!(refusal.reason, ITEM_ERASED);
    let decided = bench.give(&late);
    assert!(matches!(&decided[..], [Event::RequestVoided { .. }]), "{decided:?}");
    // Its id is remembered no longer than that of any other item.
    bench.world.at = bench.world.at.after(SETTLED_FOR * 2);
    bench.run(&seen(1, 0));
    bench.run(&send(1));
    bench.run(&Op::Record { item: 1, outcome: Outcome::Sent });
    let refusal = bench.world.give(&begin).answer.unwrap().unwrap_err();
    assert_eq!(refusal.reason, "NOT_FOUND");
}

/// What waits for the morning, for the next digest, and what was counted, go with whom they are for.
#[test]
fn what_waits_and_what_is_counted_is_divided() {
    let mut bench = Bench::new();
    let to = |person, channel| Op::Send {
        person,
        channel: Some(channel),
        class: Class::Marketing,
        keyed: false,
    };
    for op in [
        Op::Seen { person: 0, channel: 0, deed: Deed::Followed },
        Op::Seen { person: 1, channel: 1, deed: Deed::Followed },
        Op::Change(Change::Merge { survivor: 0, absorbed: 1 }),
        to(1, 1),
        Op::Wait { hours: 12 },
        to(1, 1),
        to(0, 0),
        Op::Request { person: 0, channel: 0, news: true, late: false },
        Op::Change(Change::Split { of: 0, apart: 1 << 1, parts: true }),
    ] {
        bench.run(&op);
    }
    let state = &bench.world.state;
    let [zero, one] = [0, 1].map(|person| bench.world.own[person]);
    let waits = |customer| {
        let deferred = |it: &Delivery| matches!(it.standing, Standing::Deferred(_));
        state.deliveries_of(customer).iter().filter(|it| deferred(it)).count()
    };
    assert_eq!((waits(zero), waits(one)), (1, 1));
    let span = Duration::from_hours(24);
    let pushed = |customer| state.person(customer).unwrap().pushes_within(span, bench.world.at);
    assert_eq!((pushed(zero), pushed(one)), (0, 1));
    bench.custodian();
    bench.check().unwrap();
    // There is room for what waited for the budget of both, when its time comes.
    bench.run(&Op::Wait { hours: 24 });
    bench.custodian();
    bench.check().unwrap();
    assert_eq!(bench.world.state.deferred_count(), 0);
}

/// After the custodian nothing is left of what belongs to others, and the rest of the log says the
/// same.
fn lives_through(ops: &[Op]) -> Bench {
    let mut bench = Bench::new();
    for op in ops {
        bench.run(op);
    }
    bench.custodian();
    bench.check().unwrap();
    bench
}

fn marketing(person: usize, channel: Option<u8>) -> Op {
    Op::Send { person, channel, class: Class::Marketing, keyed: false }
}

fn merge(survivor: usize, absorbed: usize) -> Op {
    Op::Change(Change::Merge { survivor, absorbed })
}

fn split(of: usize, apart: u8) -> Op {
    Op::Change(Change::Split { of, apart, parts: false })
}

/// Its end stands under the survivor and goes to the piece, and the request stands under an alias
/// of the piece and stays: whoever folds the log from the start must not send it again.
#[test]
fn what_waited_before_two_merges_is_not_sent_again_after_a_split() {
    let start = [seen(0, 0), merge(3, 0), marketing(0, Some(0)), seen(1, 1), merge(1, 3)];
    let told = |ends: &[Op]| {
        let ends = [ends, &[Op::Wait { hours: 73 }, split(0, 0b11_0010)]].concat();
        lives_through(&[&start[..], &ends].concat());
    };
    let refuses = Op::Prefer { person: 0, marketing: Some(Answer::Refused) };
    told(&[refuses, Op::Wait { hours: 12 }]);
    told(&[Op::Wait { hours: 12 }, Op::Record { item: 0, outcome: Outcome::Sent }]);
}

/// The record that it went apart is erased with it, and its id must not lead to the other any more.
#[test]
fn who_went_apart_and_is_erased_takes_nothing_of_the_other_along() {
    let erase = Op::Change(Change::Erase { of: 2 });
    let custodian = Op::Change(Change::Custodian);
    let bench = lives_through(&[
        merge(4, 2),
        split(2, 1 << 2),
        seen(0, 0),
        marketing(4, None),
        custodian,
        erase,
    ]);
    assert_eq!(bench.world.state.deliveries_of(bench.world.own[4]).len(), 1);
}

/// What was said again of both when a third one went apart is divided when they part.
#[test]
fn an_address_that_was_said_again_goes_when_its_person_is_erased() {
    let erase = Op::Change(Change::Erase { of: 2 });
    let custodian = Op::Change(Change::Custodian);
    let start = [seen(2, 0), merge(4, 2), merge(0, 2), split(0, 0b1101), split(2, 0b11)];
    let bench = lives_through(&[&start[..], &[custodian, erase]].concat());
    let left = bench.world.state.person(bench.world.own[0]);
    assert!(left.is_none_or(|person| person.places().is_empty()));
}

/// It was queued under an alias of a piece, and said again and settled under the piece; then the
/// alias goes apart with the person whom it is for.
#[test]
fn what_was_queued_under_an_alias_is_not_on_its_way_again() {
    let sent = Op::Record { item: 0, outcome: Outcome::Sent };
    let bench = lives_through(&[
        seen(1, 0),
        merge(2, 1),
        send(1),
        merge(0, 2),
        merge(5, 0),
        split(5, 0b111),
        sent,
        Op::Wait { hours: 73 },
        split(0, 0b1),
    ]);
    assert_eq!(bench.world.state.waiting(), 0);
}
