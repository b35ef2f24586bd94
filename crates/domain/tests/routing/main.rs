//! routing against a naive model.

#![expect(clippy::unwrap_used, reason = "a test may stop")]
#![expect(clippy::wildcard_enum_match_arm, reason = "what else can happen is not this test's")]

mod calendar;
mod cases;
mod model;
mod world;

use std::time::Duration;

use mainstem_domain::configuration::{Mode, Priority};
use mainstem_domain::person::Act;
use mainstem_domain::routing;
use mainstem_domain::routing::{
    CaseView, Event, Input, MessageRequest, Opener, Purchase, REQUEUE_AFTER, Routing, State,
};
use mainstem_domain::{At, CaseId, CustomerId, Decider, Refusal, RefusalCode};
use proptest::prelude::*;

use world::{Decided, Op, World, event, ops};

fn opened(decision: &Decided) -> usize {
    decision.events.iter().filter(|event| matches!(event, Event::Opened { .. })).count()
}

fn told(decision: &Decided) -> Vec<&MessageRequest> {
    let mut requests = Vec::new();
    for event in &decision.events {
        if let Event::MessageRequested(request) = event {
            requests.push(request);
        }
    }
    requests
}

fn all<'a>(cases: impl Iterator<Item = (&'a CaseId, &'a routing::Case)>) -> Vec<CaseView> {
    cases.map(|(id, case)| CaseView { id: *id, case: case.clone() }).collect()
}

/// The state, by every way into it, is what the model has.
fn same_as_model(world: &World) -> Result<(), TestCaseError> {
    let (state, model) = (&world.state, &world.model);
    let configuration = &world.configuration;
    let mut cases: Vec<_> = model.cases.iter().map(|known| known.view(configuration)).collect();
    cases.sort_by_key(|view| view.id);
    prop_assert_eq!(&all(state.cases_after(None)), &cases);
    cases.retain(|view| !view.case.stage.is_finished());
    prop_assert_eq!(&all(state.unfinished_after(None)), &cases);
    for queue in ["repair", "advice", "loose", "nowhere"] {
        let queue = queue.parse().unwrap();
        let next = model.next_on(&queue).map(|known| known.view(configuration));
        prop_assert_eq!(state.next_on(&queue), next);
        prop_assert_eq!(state.queue(&queue), model.queue(&queue));
    }
    for customer in [0, 1, 2].map(|number| CustomerId::derive(&format!("{number}"))) {
        let bought = model.bought(customer);
        let bought =
            bought.map(|(_, brand, at)| Purchase { brand: brand.clone(), at: *at, carrier: None });
        prop_assert_eq!(state.purchase(customer), bought.as_ref());
    }
    Ok(())
}

/// Everything that is decided and remembered is what the naive model says.
fn as_the_model_says(ops: &[Op]) -> Result<(), TestCaseError> {
    let mut world = World::new();
    for op in ops {
        let before = world.state.clone();
        let Some((input, decision, expected)) = world.run(op) else { continue };
        same_as_model(&world)?;
        prop_assert_eq!(opened(&decision), expected.opened);
        let queued = decision.events.iter().filter(|event| matches!(event, Event::Queued { .. }));
        prop_assert_eq!(queued.count(), expected.queued);
        match (&decision.answer, &expected.answer) {
            (Some(Err(refusal)), Some(Err(reason))) => {
                prop_assert_eq!(&refusal.reason, reason);
                prop_assert!(decision.events.is_empty() && before == world.state);
                says_what_is_allowed(&before, &input, refusal, world.at)?;
            }
            (Some(Ok(answer)), Some(Ok(wanted))) => {
                prop_assert_eq!(answer, wanted);
                let now = answer.case().and_then(|view| world.state.case(view.id));
                prop_assert_eq!(answer.case(), now.as_ref());
            }
            (None, None) => {}
            (answer, _) => return Err(TestCaseError::fail(format!("{input:?}: {answer:?}"))),
        }
        let requests = told(&decision);
        prop_assert_eq!(requests.len(), usize::from(expected.told.is_some()));
        if let (Some(request), Some((templates, case, brand))) = (requests.first(), expected.told) {
            prop_assert_eq!(&request.templates, &templates);
            prop_assert_eq!((request.case, &request.brand), (case, &brand));
            if let Input::Channel { event, .. } = &input {
                let token = request.reply.as_ref().map(|right| &right.token);
                prop_assert_eq!((token, request.mode), (event.reply_token.as_ref(), event.mode));
            }
        }
        if let Input::Channel { .. } = &input {
            tells_its_rule(&decision, expected.rule.as_deref(), &expected.failed)?;
        }
        // What changes nothing is written nowhere, but why nothing comes of an event.
        let explained = expected.rule.is_some() || !expected.failed.is_empty();
        let leaves = before != world.state || !requests.is_empty() || explained;
        prop_assert_eq!(leaves, !decision.events.is_empty());
    }
    let mut folded = State::default();
    for (event, at) in &world.ledger {
        Routing::evolve(&mut folded, event, *at);
    }
    prop_assert!(folded == world.state);
    Ok(())
}

/// Whatever an event leads to says by which rule, and which conditions failed before it. What says so
/// and nothing else is there when nothing else does.
fn tells_its_rule(
    decision: &Decided,
    rule: Option<&str>,
    failed: &[&str],
) -> Result<(), TestCaseError> {
    let (mut says, mut tried) = (Vec::new(), Vec::new());
    for event in &decision.events {
        match event {
            Event::Opened { case, .. } => match &case.opener {
                Opener::Event { rule, .. } => says.push(Some(rule.as_str())),
                Opener::Staff { .. } => says.push(None),
            },
            Event::MessageRequested(request) => says.push(request.rule.as_deref()),
            Event::RulesTried(told) => tried.push(told),
            _ => {}
        }
    }
    prop_assert!(says.iter().all(|said| *said == rule), "{:?} by {:?}", says, rule);
    let alone = says.is_empty() && rule.is_some();
    prop_assert_eq!(tried.len(), usize::from(alone || !failed.is_empty()));
    for told in tried {
        prop_assert_eq!(told.rule.as_deref(), rule);
        let rules: Vec<_> = told.failed.iter().map(|failure| failure.rule.as_str()).collect();
        prop_assert_eq!(&rules, failed);
    }
    let counted = decision.events.iter().filter(|event| matches!(event, Event::RuleFailed(_)));
    prop_assert_eq!(counted.count(), failed.len());
    Ok(())
}

/// Who comes second is told who has it, and everybody what would be allowed.
fn says_what_is_allowed(
    state: &State,
    input: &Input,
    refusal: &Refusal,
    at: At,
) -> Result<(), TestCaseError> {
    if refusal.code == RefusalCode::NotFound {
        return Ok(());
    }
    prop_assert_eq!(refusal.code, RefusalCode::FailedPrecondition);
    let (Input::Accept { case, .. }
    | Input::Start { case, .. }
    | Input::Wait { case, .. }
    | Input::Resolve { case, .. }
    | Input::Close { case, .. }
    | Input::Reopen { case, .. }
    | Input::Cancel { case, .. }
    | Input::Transfer { case, .. }
    | Input::Prioritise { case, .. }
    | Input::Requeue { case, .. }) = input
    else {
        return Err(TestCaseError::fail("a claim takes what is open"));
    };
    let now = state.case(*case).unwrap().case.stage;
    if refusal.reason == "QUEUE_PAUSED" {
        prop_assert!(refusal.metadata.contains_key("queue"));
        return Ok(());
    }
    if refusal.reason == "CASE_REPLACED" {
        prop_assert!(refusal.metadata.contains_key("case"));
        return Ok(());
    }
    let allowed = match now.name() {
        "open" => "AcceptCase, TransferCase, SetPriority, CancelCase",
        "accepted" | "waiting for the customer" => {
            "StartCase, ResolveCase, TransferCase, SetPriority, CancelCase"
        }
        "in progress" => "WaitCase, ResolveCase, TransferCase, SetPriority, CancelCase",
        "resolved" => "CloseCase, ReopenCase, CancelCase",
        "closed" if now.allowed(at) == "ReopenCase" => "ReopenCase",
        _ => "none",
    };
    prop_assert_eq!(refusal.metadata.get("allowed").map(String::as_str), Some(allowed));
    prop_assert_eq!(refusal.metadata.get("state").map(String::as_str), Some(now.name()));
    prop_assert_eq!(refusal.metadata.get("holder").map(String::as_str), now.holder());
    let holder = now.holder().filter(|_| refusal.reason == "CASE_TAKEN").unwrap_or_default();
    prop_assert!(refusal.message.contains(holder));
    prop_assert!(!refusal.message.contains("no parts"), "a reason is for staff only");
    Ok(())
}

proptest! {
    // Two customers that both have a case with one key meet once in a hundred merges.
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn one_customer_after_the_other_is_served_as_the_model_says(ops in ops(0)) {
        as_the_model_says(&ops)?;
    }

    #[test]
    fn merges_keep_cases_holders_places_and_the_newest_purchase(ops in ops(3)) {
        as_the_model_says(&ops)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// However workers race, a case is opened once, queued in the decision that opens it, each time
    /// tells that it is again, and each unit is warned once and told once that it is late.
    #[test]
    fn every_case_has_one_life(ops in ops(1)) {
        let mut world = World::new();
        for op in &ops {
            let Some((_, decision, _)) = world.run(op) else { continue };
            for (index, event) in decision.events.iter().enumerate() {
                let Event::Opened { id, case } = event else { continue };
                let next = Event::Queued { id: *id, case: case.clone() };
                prop_assert_eq!(decision.events.get(index + 1), Some(&next));
                prop_assert_eq!((case.queued_times, case.queued_at), (1, case.opened_at));
            }
        }
        for id in &world.cases {
            let mut opened = 0;
            let mut again = Vec::new();
            let (mut warned, mut late) = (Vec::new(), Vec::new());
            for (event, _) in &world.ledger {
                match event {
                    Event::Opened { id: whose, .. } if whose == id => opened += 1,
                    Event::Queued { id: whose, case } if whose == id => again.push(case.queued_times),
                    Event::Warned { id: whose, unit, .. } if whose == id => warned.push(unit),
                    Event::Escalated { id: whose, unit, .. } if whose == id => late.push(unit),
                    _ => {}
                }
            }
            prop_assert_eq!(opened, 1);
            let counted: Vec<_> = (1..).take(again.len()).collect();
            prop_assert_eq!(again, counted);
            for told in [warned, late] {
                let distinct: std::collections::BTreeSet<_> = told.iter().collect();
                prop_assert_eq!(distinct.len(), told.len());
            }
        }
    }

    /// The clocks of all units together are the time since a case was opened less that in which it
    /// stood, told from the records alone.
    #[test]
    fn the_clocks_of_the_units_add_up(ops in ops(1)) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
        }
        for id in &world.cases {
            let (mut stood, mut since, mut begun) = (Duration::ZERO, None, None);
            for (event, at) in &world.ledger {
                match event {
                    Event::Opened { id: whose, .. } if whose == id => begun = Some(*at),
                    Event::Waits { id: whose, .. }
                    | Event::Resolved { id: whose, .. }
                    | Event::Cancelled { id: whose, .. } if whose == id => {
                        since.get_or_insert(*at);
                    }
                    Event::Started { id: whose, .. }
                    | Event::Reopened { id: whose, .. }
                    | Event::Transferred { id: whose, .. } if whose == id => {
                        stood += since.take().map_or(Duration::ZERO, |since| at.since(since));
                    }
                    _ => {}
                }
            }
            stood += since.map_or(Duration::ZERO, |since| world.at.since(since));
            let view = world.state.case(*id).unwrap();
            let ran: Duration = view.case.timing.ran(world.at).map(|(_, ran)| ran).sum();
            prop_assert_eq!(ran + stood, world.at.since(begun.unwrap()));
        }
    }
}

fn tap(customer: usize, menu: usize) -> Op {
    let (said, brand, mode) = (None, None, Mode::Live);
    Op::Tap { customer, menu, said, brand, reachable: true, token: true, mode }
}

/// The shortest way to see the worst of what merges can do.
#[test]
fn a_merged_customer_can_ask_again() {
    // Ids are hashes: with more finished cases it gets likelier that one comes before the open one.
    for finished in 0..6 {
        let mut world = World::new();
        let mut run = |op: Op| world.run(&op).unwrap().1;
        for case in 0..=finished {
            run(tap(0, 0));
            if case == finished {
                run(Op::Merge { survivor: 1, absorbed: 0 });
            }
            run(Op::Accept { case, by: 0 });
            run(match case % 2 {
                0 => Op::Resolve { case, by: 0 },
                _ => Op::Cancel { case, by: 0, overrules: false },
            });
        }
        assert_eq!(opened(&run(tap(1, 0))), 1, "all {} cases are finished", finished + 1);
    }
}

#[test]
fn a_second_wish_is_told_of_the_case_that_is_there_with_the_same_template() {
    let mut world = World::new();
    let first = world.run(&tap(0, 0)).unwrap().1;
    world.run(&Op::Accept { case: 0, by: 0 }).unwrap();
    let second = world.run(&tap(0, 0)).unwrap().1;
    let (first, second) = (told(&first)[0].clone(), told(&second)[0].clone());
    assert_eq!((first.case, &first.templates), (Some(world.cases[0]), &second.templates));
    assert_eq!(first.case, second.case);
    assert_eq!(world.cases.len(), 1);
}

#[test]
fn an_item_that_nobody_accepted_is_queued_again_after_two_minutes_and_keeps_its_place() {
    let mut world = World::new();
    let wait = REQUEUE_AFTER.saturating_sub(Duration::from_millis(3));
    world.run(&tap(0, 0)).unwrap();
    world.run(&tap(1, 0)).unwrap();
    world.at = world.at.after(wait);
    let early = world.run(&Op::Requeue { case: 0 }).unwrap().1;
    assert_eq!(early.answer.unwrap().unwrap_err().reason, "CASE_QUEUED_RECENTLY");
    let again = world.run(&Op::Requeue { case: 0 }).unwrap().1;
    let [Event::Queued { case, .. }] = &again.events[..] else { panic!("{again:?}") };
    assert_eq!((case.queued_times, case.queued_at), (2, world.at));
    // Decided once: a second keeper, or the same one again, changes nothing.
    let second = world.run(&Op::Requeue { case: 0 }).unwrap().1;
    assert_eq!(second.answer.unwrap().unwrap_err().reason, "CASE_QUEUED_RECENTLY");
    // Its age counts from its opening.
    let claimed = world.run(&Op::Claim { queue: "repair", by: 0 }).unwrap().1;
    assert_eq!(claimed.answer.unwrap().unwrap().case().unwrap().id, world.cases[0]);
}

#[test]
fn a_queue_is_served_by_priority_and_then_by_age() {
    let mut world = World::new();
    for (customer, menu) in [(0, 0), (1, 0), (2, 4), (2, 1), (0, 1)] {
        world.run(&tap(customer, menu)).unwrap();
    }
    let mut served = Vec::new();
    while let Some(view) = {
        let claimed = world.run(&Op::Claim { queue: "repair", by: 0 }).unwrap().1;
        claimed.answer.unwrap().unwrap().case().cloned()
    } {
        let whose = world.customers.iter().position(|id| *id == view.case.customer);
        served.push((view.case.priority, whose));
    }
    let wanted = [(Priority::P1, 2), (Priority::P1, 0), (Priority::P3, 0), (Priority::P3, 1)];
    assert_eq!(served, wanted.map(|(priority, customer)| (priority, Some(customer))));
}

/// identity-merge forgets an event after some days, and a source may use its id again: for
/// another person, or for the same.
#[test]
fn an_event_id_used_again_overwrites_no_case() {
    let mut world = World::new();
    for customer in 0..3 {
        let event = event("e1", Act::Postback("menu=m0".to_owned()), world.at);
        let input = world.channel(customer, event, false);
        let decision = Routing::decide(&world.state, &world.configuration, &input, world.at);
        for event in &decision.events {
            Routing::evolve(&mut world.state, event, world.at);
        }
    }
    assert_eq!(all(world.state.cases_after(None)).len(), 3);
}
