//! What hurts users of such systems, one test each.

use std::time::Duration;

use mainstem_domain::configuration::Priority;
use mainstem_domain::routing::{Answer, Case, Event, REOPENED_WITHIN, Stage};
use mainstem_domain::{At, Decider as _, routing::Routing};

use super::world::{Decided, Op, World};
use super::{opened, tap, told};

fn run(world: &mut World, op: &Op) -> Decided {
    world.run(op).unwrap().1
}

/// Accepted, begun, and then this.
fn worked(world: &mut World, case: usize, then: &Op) -> Decided {
    run(world, &Op::Accept { case, by: 0 });
    run(world, &Op::Start { case, by: 0 });
    run(world, then)
}

fn counter(customer: usize, serial: &'static str, product: &'static str) -> Op {
    let (brand, queue) = (Some("aurora"), "repair");
    Op::Open { customer, alias: false, brand, queue, serial, product }
}

fn pass(hours: u64) -> Op {
    Op::Pass { seconds: hours * 3_600, asleep: false }
}

fn case(world: &World, pick: usize) -> Case {
    world.state.case(world.cases[pick]).unwrap().case
}

fn warnings(world: &World) -> (usize, usize) {
    let count =
        |wanted: fn(&Event) -> bool| world.ledger.iter().filter(|(event, _)| wanted(event)).count();
    (
        count(|event| matches!(event, Event::Warned { .. })),
        count(|event| matches!(event, Event::Escalated { .. })),
    )
}

fn taipei(text: &str) -> At {
    At::parse(&format!("{text}+08:00")).unwrap()
}

/// The next thing happens then.
fn at(world: &mut World, text: &str) {
    world.at = At::from_millis(taipei(text).as_millis() - 1);
}

#[test]
fn the_due_clock_does_not_run_after_resolve() {
    let mut world = World::new();
    run(&mut world, &tap(0, 0));
    world.run(&pass(2));
    worked(&mut world, 0, &Op::Resolve { case: 0, by: 0 });
    world.run(&pass(13 * 24));
    assert_eq!(warnings(&world), (0, 0));
    let before = case(&world, 0).timing;
    run(&mut world, &Op::Reopen { case: 0, by: 1 });
    // About an hour of 8 was up: it was opened at 8, and the workshop opens at 9.
    let timing = case(&world, 0).timing;
    assert_eq!(timing.clocks, before.clocks);
    assert_eq!(timing.clocks[0].worked.as_secs() / 60, 60);
    assert!(timing.due_at.is_some() && before.due_at.is_none());
}

#[test]
fn the_due_clock_does_not_run_while_the_customer_is_waited_for() {
    let mut world = World::new();
    run(&mut world, &tap(0, 4));
    let waits = worked(&mut world, 0, &Op::WaitCase { case: 0, by: 0 });
    assert_eq!(told(&waits)[0].templates, ["case-waiting"]);
    world.run(&pass(1_000));
    assert_eq!(warnings(&world), (0, 0));
    run(&mut world, &Op::Start { case: 0, by: 0 });
    world.run(&pass(23));
    assert_eq!(warnings(&world), (0, 0));
    world.run(&pass(1));
    assert_eq!(warnings(&world), (1, 0));
    world.run(&pass(6));
    assert_eq!(warnings(&world), (1, 1));
}

#[test]
fn due_times_are_in_business_hours_and_each_unit_is_told_once() {
    let mut world = World::new();
    // Monday, before the workshop opens: 8 h are up on Monday at 18:00, exactly on closing.
    run(&mut world, &tap(0, 0));
    let timing = case(&world, 0).timing;
    assert_eq!(timing.due_at, Some(taipei("2026-11-23T18:00:00")));
    assert_eq!(timing.warn_at, Some(taipei("2026-11-23T16:24:00")));
    // Monday evening: Tuesday has 9 hours; Wednesday and Thursday none, and Friday is a holiday.
    at(&mut world, "2026-11-24T14:00:00");
    run(&mut world, &tap(1, 0));
    assert_eq!(case(&world, 1).timing.due_at, Some(taipei("2026-11-30T14:00:00")));
    world.run(&pass(24 * 30));
    assert_eq!(warnings(&world), (2, 2));
    // Late is late: another priority, another holder, nobody is told again.
    run(&mut world, &Op::Prioritise { case: 0, priority: Priority::P1 });
    world.run(&pass(24 * 30));
    assert_eq!(warnings(&world), (2, 2));
}

#[test]
fn each_unit_keeps_its_own_clock_and_its_own_due_time() {
    let mut world = World::new();
    run(&mut world, &tap(0, 0));
    at(&mut world, "2026-11-23T11:00:00");
    let to = |to| Op::Transfer { case: 0, to, by: 0, overrules: false };
    let moved = run(&mut world, &to("advice"));
    let [Event::Transferred { queue, .. }, Event::Queued { case: queued, .. }] = &moved.events[..]
    else {
        panic!("{moved:?}")
    };
    assert_eq!((queue.as_str(), queued.queue.as_str()), ("repair", "advice"));
    assert_eq!(case(&world, 0).timing.due_at, Some(world.at.after(Duration::from_hours(2))));
    world.run(&pass(1));
    run(&mut world, &to("repair"));
    // 2 of 8 h were up in the workshop; now it is noon, and 5 more are left of the day.
    assert_eq!(case(&world, 0).timing.due_at, Some(taipei("2026-11-24T10:00:00")));
    let timing = case(&world, 0).timing;
    let ran: Vec<_> =
        timing.ran(world.at).map(|(unit, ran)| (unit.unwrap().as_str(), ran)).collect();
    assert_eq!(ran[0].0, "desk");
    assert_eq!((ran[0].1.as_secs() / 60, ran[1].1.as_secs() / 60), (60, 179));
    assert!(run(&mut world, &to("repair")).events.is_empty());
}

#[test]
fn two_counters_open_one_repair_at_the_same_moment_and_it_is_one_case() {
    for (one, other) in [("sn-001 a", "ＳＮ００１Ａ"), ("N/A", "")] {
        let mut world = World::new();
        let first = run(&mut world, &counter(0, one, "Watch"));
        let second = run(&mut world, &counter(0, other, "ｗａｔｃｈ "));
        assert_eq!((opened(&first), opened(&second)), (1, 0));
        assert_eq!(told(&first)[0].templates, ["case-opened"]);
        let Some(Ok(Answer::Existing(view))) = second.answer else { panic!("{second:?}") };
        assert_eq!(view.id, world.cases[0]);
        // Another thing without a number is another case.
        assert_eq!(opened(&run(&mut world, &counter(0, "", "ring"))), 1);
    }
}

#[test]
fn a_double_tap_on_the_repair_button_is_one_case() {
    let mut world = World::new();
    assert_eq!(opened(&run(&mut world, &tap(0, 0))), 1);
    assert_eq!(opened(&run(&mut world, &tap(0, 0))), 0);
    world.run(&Op::Pass { seconds: 1_799, asleep: false });
    assert_eq!(opened(&run(&mut world, &tap(0, 0))), 0);
    world.run(&Op::Pass { seconds: 1, asleep: false });
    assert_eq!(opened(&run(&mut world, &tap(0, 0))), 1);
}

#[test]
fn a_second_hand_machine_with_a_strangers_case_is_a_new_case_and_both_are_flagged() {
    let mut world = World::new();
    run(&mut world, &counter(0, "sn-001 a", ""));
    let second = run(&mut world, &counter(1, "SN/001.a", ""));
    assert_eq!(opened(&second), 1);
    assert!(case(&world, 0).shared_serial && case(&world, 1).shared_serial);
    // Each is told of the own case, and nobody of the other's.
    let requests = told(&second);
    assert_eq!(requests.len(), 1);
    assert_eq!(
        (requests[0].customer, requests[0].case),
        (world.customers[1], Some(world.cases[1]))
    );
    let strangers = world.customers[0].as_str();
    assert!(!format!("{:?}", case(&world, 1)).contains(strangers));
    // Once flagged, nothing more is written of the others.
    let third = run(&mut world, &counter(2, "sn-001 a", ""));
    assert!(!third.events.iter().any(|event| matches!(event, Event::SerialShared { .. })));
}

#[test]
fn a_merge_while_a_case_is_open_opens_no_second_one() {
    let mut world = World::new();
    run(&mut world, &counter(0, "sn-002", ""));
    let before = case(&world, 0);
    run(&mut world, &Op::Merge { survivor: 1, absorbed: 0 });
    let after = case(&world, 0);
    assert_eq!(after, Case { customer: world.customers[1], ..before });
    // By whichever id the counter has.
    for alias in [false, true] {
        let (customer, brand) = (0, Some("aurora"));
        let (queue, serial, product) = ("repair", "sn-002", "");
        let again = Op::Open { customer, alias, brand, queue, serial, product };
        assert_eq!(opened(&run(&mut world, &again)), 0);
    }
}

#[test]
fn what_was_resolved_is_closed_after_two_weeks_and_reopened_until_then() {
    let mut world = World::new();
    for customer in 0..2 {
        run(&mut world, &counter(customer, "sn-002", ""));
        worked(&mut world, customer, &Op::Resolve { case: customer, by: 0 });
    }
    let resolved = case(&world, 1).stage;
    let Stage::Resolved { at, .. } = resolved else { panic!("{resolved:?}") };
    // Somebody closed one by hand: it can be reopened as long.
    run(&mut world, &Op::Close { case: 0, by: 1 });
    world.at = at.after(REOPENED_WITHIN.saturating_sub(Duration::from_mins(1)));
    let again = run(&mut world, &Op::Reopen { case: 0, by: 1 });
    assert!(matches!(again.events[..], [Event::Reopened { .. }, Event::Queued { .. }, _]));
    assert_eq!(told(&again)[0].templates, ["case-reopened"]);
    assert_eq!(Routing::due(&world.state), Some(at.after(REOPENED_WITHIN)));
    world.run(&pass(1));
    assert!(matches!(case(&world, 1).stage, Stage::Closed { .. }));
    let late = run(&mut world, &Op::Reopen { case: 1, by: 1 });
    assert_eq!(late.answer.unwrap().unwrap_err().metadata["allowed"], "none");
}

#[test]
fn a_closed_case_is_not_reopened_beside_a_newer_one_of_the_same_machine() {
    let mut world = World::new();
    run(&mut world, &counter(0, "sn-002", ""));
    worked(&mut world, 0, &Op::Resolve { case: 0, by: 0 });
    // Resolved and not closed: it is the same case.
    assert_eq!(opened(&run(&mut world, &counter(0, "sn-002", ""))), 0);
    run(&mut world, &Op::Close { case: 0, by: 0 });
    assert_eq!(opened(&run(&mut world, &counter(0, "sn-002", ""))), 1);
    let refused = run(&mut world, &Op::Reopen { case: 0, by: 0 }).answer.unwrap().unwrap_err();
    assert_eq!(refused.metadata["case"], world.cases[1].to_string());
}
