//! routing against a naive model: a list of cases, searched from the start each time.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

use mainstem_domain::configuration::{Configuration, MOVED, Mode, Priority};
use mainstem_domain::person::{Act, Address, ChannelEvent};
use mainstem_domain::routing::{Case, CaseView, Event, Input, Routing, Stage, State};
use mainstem_domain::{At, BrandId, CaseId, CustomerId, Decider, Decision, RefusalCode};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    /// Menu 0 and 1 open a case, 2 only answers, 3 matches no rule.
    Tap {
        customer: usize,
        brand: usize,
        menu: usize,
        reachable: bool,
        token: bool,
        mode: Mode,
    },
    Merge {
        survivor: usize,
        absorbed: usize,
    },
    /// Cases are picked among all ever opened; beyond them is an unknown one.
    Accept {
        case: usize,
        by: u8,
    },
    Resolve {
        case: usize,
        by: u8,
    },
}

fn ops(merges: u32) -> impl Strategy<Value = Vec<Op>> {
    let menu = prop::sample::select(vec![0, 0, 0, 0, 1, 2, 3]);
    let mode = prop::sample::select(vec![Mode::Live, Mode::Shadow, Mode::Retired]);
    let op = prop_oneof![
        6 => (0..3_usize, 0..2_usize, menu, any::<bool>(), any::<bool>(), mode).prop_map(
            |(customer, brand, menu, reachable, token, mode)| {
                Op::Tap { customer, brand, menu, reachable, token, mode }
            }
        ),
        merges => (0..3_usize, 0..3_usize)
            .prop_map(|(survivor, absorbed)| Op::Merge { survivor, absorbed }),
        4 => (0..6_usize, 0..2_u8).prop_map(|(case, by)| Op::Accept { case, by }),
        4 => (0..6_usize, 0..2_u8).prop_map(|(case, by)| Op::Resolve { case, by }),
    ];
    vec(op, 1..40)
}

fn configuration() -> Configuration {
    serde_json::from_value(serde_json::json!({
        "brands": {"aurora": {"name": "Aurora"}},
        "queues": {"repair": {"name": "Repair"}, "advice": {"name": "Advice"}},
        "rules": [
            {"name": "r0", "when": "event.menu == 'm0'", "open": {"queue": "repair", "priority": "P1"}, "reply": "hello"},
            {"name": "r1", "when": "event.menu == 'm1'", "open": {"queue": "advice"}},
            {"name": "r2", "when": "event.menu == 'm2'", "reply": "hello"},
        ],
        "templates": {"hello": {"house": "hello"}, "case-resolved": {"house": "done"}},
    }))
    .unwrap()
}

struct World {
    configuration: Configuration,
    state: State,
    ledger: Vec<(Event, At)>,
    at: At,
    taps: usize,
    cases: Vec<CaseId>,
    /// The three customers, as identity-merge names them now: after a merge two are the same.
    customers: [CustomerId; 3],
}

impl World {
    fn new() -> Self {
        Self {
            configuration: configuration(),
            state: State::default(),
            ledger: Vec::new(),
            at: At::default(),
            taps: 0,
            cases: Vec::new(),
            customers: [0, 1, 2].map(|number| CustomerId::derive(&format!("{number}"))),
        }
    }

    fn case_id(&self, pick: usize) -> CaseId {
        self.cases.get(pick).copied().unwrap_or(CaseId::derive("none"))
    }

    fn input(&mut self, op: &Op) -> Option<Input> {
        match op {
            Op::Tap { customer, brand, menu, reachable, token, mode } => {
                self.taps += 1;
                Some(tap(
                    self.customers[*customer],
                    &format!("e{}", self.taps),
                    [None, Some("aurora".parse().unwrap())][*brand].clone(),
                    *menu,
                    *reachable,
                    token.then(|| "token".to_owned()),
                    *mode,
                ))
            }
            Op::Merge { survivor, absorbed } => {
                let (survivor, absorbed) = (self.customers[*survivor], self.customers[*absorbed]);
                if survivor == absorbed {
                    return None;
                }
                for customer in self.customers.iter_mut().filter(|id| **id == absorbed) {
                    *customer = survivor;
                }
                Some(Input::Merged { survivor, absorbed })
            }
            Op::Accept { case, by } => {
                Some(Input::Accept { case: self.case_id(*case), by: worker(*by) })
            }
            Op::Resolve { case, by } => {
                Some(Input::Resolve { case: self.case_id(*case), by: worker(*by) })
            }
        }
    }

    /// Runs one operation; `None` for a merge of somebody with himself.
    fn run(&mut self, op: &Op) -> Option<(Input, Decision<Event, CaseView>)> {
        self.at = At::from_millis(self.at.as_millis() + 1);
        let input = self.input(op)?;
        let decision = Routing::decide(&self.state, &self.configuration, &input, self.at);
        for event in &decision.events {
            if let Event::Opened { id, .. } = event {
                self.cases.push(*id);
            }
            Routing::evolve(&mut self.state, event, self.at);
            self.ledger.push((event.clone(), self.at));
        }
        Some((input, decision))
    }
}

fn worker(number: u8) -> String {
    format!("unit/{number}")
}

fn tap(
    customer: CustomerId,
    id: &str,
    brand: Option<BrandId>,
    menu: usize,
    reachable: bool,
    reply_token: Option<String>,
    mode: Mode,
) -> Input {
    let event = ChannelEvent {
        id: id.parse().unwrap(),
        channel: "line-1".parse().unwrap(),
        store: None,
        brand,
        act: Act::Postback(format!("menu=m{menu}")),
        sightings: Vec::new(),
        mode,
        occurred_at: At::default(),
        received_at: At::default(),
        reply_token,
    };
    let address = Address { channel: event.channel.clone(), user: "U1".to_owned() };
    Input::Channel { customer, event: Box::new(event), address: reachable.then_some(address) }
}

fn all(state: &State) -> Vec<(CaseId, Case)> {
    state.cases_after(None).map(|(id, case)| (*id, case.clone())).collect()
}

fn opened(decision: &Decision<Event, CaseView>) -> Vec<&Case> {
    let mut cases = Vec::new();
    for event in &decision.events {
        if let Event::Opened { case, .. } = event {
            cases.push(case);
        }
    }
    cases
}

fn unresolved(case: &Case) -> bool {
    !matches!(case.stage, Stage::Resolved { .. })
}

/// Whatever a customer asks for by a rule that opens cases is in exactly one case: in one that is
/// not resolved, or else in a new one.
fn one_case_for_a_key(ops: &[Op]) -> Result<(), TestCaseError> {
    let mut world = World::new();
    for op in ops {
        let before = all(&world.state);
        let Some((Input::Channel { customer, event, .. }, decision)) = world.run(op) else {
            continue;
        };
        let Some(rule) = world.configuration.rule_for(&event) else {
            prop_assert_eq!(opened(&decision).len(), 0);
            continue;
        };
        let there: Vec<_> = before
            .iter()
            .filter(|(_, case)| {
                (case.customer, &case.brand, &case.rule) == (customer, &event.brand, &rule.name)
                    && unresolved(case)
            })
            .map(|(id, _)| *id)
            .collect();
        let opens = usize::from(rule.open.is_some() && there.is_empty());
        prop_assert_eq!(opened(&decision).len(), opens, "there: {:?}", there);
        for event in &decision.events {
            if let Event::MessageRequested(request) = event {
                let about = if opens == 1 { world.cases.last() } else { there.first() };
                prop_assert_eq!(request.case.is_some(), about.is_some());
                let right =
                    request.case.is_none_or(|case| Some(&case) == about || there.contains(&case));
                prop_assert!(right, "{:?} is not about {:?}", request, about);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_case_is_open_at_most_once_for_a_key(ops in ops(0)) {
        one_case_for_a_key(&ops)?;
    }

    /// The naive model of a case's life: the table in the head of the module.
    #[test]
    fn a_case_has_at_most_one_holder(ops in ops(1)) {
        let mut world = World::new();
        for op in &ops {
            let before = world.state.clone();
            let Some((input, decision)) = world.run(op) else { continue };
            let (Input::Accept { case: id, by } | Input::Resolve { case: id, by }) = &input else {
                prop_assert_eq!(&decision.answer, &None);
                continue;
            };
            let accepts = matches!(input, Input::Accept { .. });
            let at = world.at;
            let after = world.state.case(*id);
            let refused = |reason: &str| {
                let refusal = decision.answer.clone().unwrap().unwrap_err();
                prop_assert_eq!(&refusal.reason, reason);
                prop_assert_eq!(refusal.code, RefusalCode::FailedPrecondition);
                prop_assert!(decision.events.is_empty() && before == world.state);
                Ok(refusal)
            };
            let Some(case) = before.case(*id) else {
                let refusal = decision.answer.unwrap().unwrap_err();
                prop_assert_eq!(refusal.code, RefusalCode::NotFound);
                continue;
            };
            let expected = match (accepts, case.case.stage.clone()) {
                (true, Stage::Open) => Stage::Accepted { by: by.clone(), at },
                (false, Stage::Open) => {
                    refused("CASE_NOT_ACCEPTED")?;
                    continue;
                }
                (_, Stage::Accepted { by: holder, .. }) if holder != *by => {
                    let refusal = refused("CASE_TAKEN")?;
                    prop_assert_eq!(refusal.metadata.get("holder"), Some(&holder));
                    continue;
                }
                (false, Stage::Accepted { .. }) => Stage::Resolved { by: by.clone(), at },
                (true, Stage::Resolved { .. }) => {
                    refused("CASE_RESOLVED")?;
                    continue;
                }
                (true, stage @ Stage::Accepted { .. }) | (false, stage @ Stage::Resolved { .. }) => stage,
            };
            let changed = expected != case.case.stage;
            let expected = CaseView { id: *id, case: Case { stage: expected, ..case.case } };
            prop_assert_eq!(after.as_ref(), Some(&expected));
            prop_assert_eq!(decision.answer, Some(Ok(expected)));
            prop_assert_eq!(!decision.events.is_empty(), changed);
        }
    }

    #[test]
    fn who_resolves_a_case_has_the_customer_told_once(ops in ops(1)) {
        let mut world = World::new();
        for op in &ops {
            let Some((input, decision)) = world.run(op) else { continue };
            for (index, event) in decision.events.iter().enumerate() {
                let Event::Resolved { id, customer, .. } = event else { continue };
                let asked = matches!(input, Input::Resolve { .. });
                prop_assert!(asked);
                let Some(Event::MessageRequested(request)) = decision.events.get(index + 1) else {
                    return Err(TestCaseError::fail("nobody is told"));
                };
                prop_assert_eq!((request.case, request.customer), (Some(*id), *customer));
                prop_assert_eq!(decision.events.len(), 2);
                prop_assert_eq!(world.state.case(*id).unwrap().case.customer, *customer);
            }
        }
    }

    #[test]
    fn an_opened_case_is_queued_in_the_same_decision(ops in ops(1)) {
        let mut world = World::new();
        for op in &ops {
            let Some((_, decision)) = world.run(op) else { continue };
            let mut queued = 0;
            for (index, event) in decision.events.iter().enumerate() {
                if let Event::Opened { id, case } = event {
                    let next = Event::Queued { id: *id, case: case.clone() };
                    prop_assert_eq!(decision.events.get(index + 1), Some(&next));
                    prop_assert_eq!(&case.stage, &Stage::Open);
                    let priority = if case.rule == "r0" { Priority::P1 } else { Priority::P3 };
                    prop_assert_eq!(case.priority, priority);
                }
                queued += usize::from(matches!(event, Event::Queued { .. }));
            }
            prop_assert_eq!(queued, opened(&decision).len());
        }
    }

    #[test]
    fn a_merge_keeps_every_case(ops in ops(3)) {
        let mut world = World::new();
        for op in &ops {
            let mut expected = all(&world.state);
            let Some((Input::Merged { survivor, absorbed }, decision)) = world.run(op) else {
                continue;
            };
            let held = expected.iter().filter(|(_, case)| case.customer == absorbed).count();
            prop_assert_eq!(decision.events.len(), usize::from(held > 0));
            for (_, case) in expected.iter_mut().filter(|(_, case)| case.customer == absorbed) {
                case.customer = survivor;
            }
            prop_assert_eq!(all(&world.state), expected);
        }
    }

    #[test]
    fn only_somebody_reachable_is_answered(ops in ops(1)) {
        let mut world = World::new();
        for op in &ops {
            let Some((Input::Channel { event, address, .. }, decision)) = world.run(op) else {
                continue;
            };
            let rule = world.configuration.rule_for(&event);
            let mut templates: Vec<_> = rule.and_then(|rule| rule.reply.clone()).into_iter().collect();
            if event.mode == Mode::Retired && event.reply_token.is_some() {
                templates.push(MOVED.to_owned());
            }
            let mut requests = Vec::new();
            for event in &decision.events {
                if let Event::MessageRequested(request) = event {
                    requests.push(request);
                }
            }
            prop_assert_eq!(requests.len(), usize::from(!templates.is_empty() && address.is_some()));
            for request in requests {
                let token = request.reply.as_ref().map(|right| &right.token);
                prop_assert_eq!(token, event.reply_token.as_ref());
                prop_assert_eq!(&request.templates, &templates);
                prop_assert_eq!(request.mode, event.mode);
            }
        }
    }

    #[test]
    fn the_state_is_the_fold_of_the_ledger(ops in ops(1)) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
        }
        let mut folded = State::default();
        for (event, at) in &world.ledger {
            Routing::evolve(&mut folded, event, *at);
        }
        prop_assert!(folded == world.state);
    }
}

proptest! {
    // A case in a hundred meets two customers that both have a case with one key.
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_case_is_open_at_most_once_for_a_key_after_merges(ops in ops(2)) {
        one_case_for_a_key(&ops)?;
    }
}

/// The shortest way to see the worst of what the property above sees.
#[test]
fn a_merged_customer_can_ask_again() {
    let ask = |customer| Op::Tap {
        customer,
        brand: 0,
        menu: 0,
        reachable: false,
        token: false,
        mode: Mode::Live,
    };
    // Ids are hashes: with more resolved cases it gets likelier that one comes before the open one.
    for resolved in 0..6 {
        let mut world = World::new();
        let mut run = |op: Op| world.run(&op).unwrap().1;
        let end = |case| [Op::Accept { case, by: 0 }, Op::Resolve { case, by: 0 }];
        for case in 0..resolved {
            run(ask(0));
            for op in end(case) {
                run(op);
            }
        }
        run(ask(0));
        run(Op::Merge { survivor: 1, absorbed: 0 });
        for op in end(resolved) {
            run(op);
        }
        assert_eq!(opened(&run(ask(1))).len(), 1, "all {} cases are resolved", resolved + 1);
    }
}

/// identity-merge forgets an event after some days, and a source may use its id again: for
/// another person, or for the same.
#[test]
fn an_event_id_used_again_overwrites_no_case() {
    let mut world = World::new();
    for customer in world.customers {
        let input = tap(customer, "e1", None, 0, false, None, Mode::Live);
        let decision = Routing::decide(&world.state, &world.configuration, &input, world.at);
        for event in &decision.events {
            Routing::evolve(&mut world.state, event, world.at);
        }
    }
    assert_eq!(all(&world.state).len(), 3);
}
