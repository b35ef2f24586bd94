use mainstem_domain::access::{Caller, Role, Scope};
use mainstem_domain::configuration::{Configuration, Mode};
use mainstem_domain::custody::{Custody, ERASED};
use mainstem_domain::person::{Act, Address, Business, Carrier, ChannelEvent, Sighting};
use mainstem_domain::routing::{
    Actor, ConversationEvent, ConversationInput, Event, Input, Routing, Stage, State, Withdrawn,
};
use mainstem_domain::{CustomerId, Decider as _, Wakeup, custody};
use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Change, PEOPLE, Service, World, change, member, person_of};

pub(super) struct TheRouting;

impl Service for TheRouting {
    type Decider = Routing;
    type Event = Event;
    type State = State;
    const FOLLOWS: bool = false;

    fn custody(state: &State) -> &Custody {
        state.custody()
    }

    fn input(input: custody::Input) -> Input {
        Input::Custody(input)
    }

    fn merged(survivor: CustomerId, absorbed: CustomerId) -> Input {
        Input::Merged { survivor, absorbed }
    }

    fn stands(event: &Event) -> Option<CustomerId> {
        match event {
            Event::Opened { case, .. }
            | Event::Queued { case, .. }
            | Event::CaseRestated { case, .. } => Some(case.customer),
            Event::Accepted { customer, .. }
            | Event::Started { customer, .. }
            | Event::Waits { customer, .. }
            | Event::Resolved { customer, .. }
            | Event::Closed { customer, .. }
            | Event::Reopened { customer, .. }
            | Event::Transferred { customer, .. }
            | Event::Prioritised { customer, .. }
            | Event::Warned { customer, .. }
            | Event::Escalated { customer, .. }
            | Event::SerialShared { customer, .. }
            | Event::Cancelled { customer, .. }
            | Event::PurchaseNoted { customer, .. }
            | Event::Bound { customer, .. }
            | Event::BindingEnded { customer, .. }
            | Event::BindingRestated { customer, .. } => Some(*customer),
            Event::Moved { to, .. } => Some(*to),
            Event::MessageRequested(request) => Some(request.customer),
            Event::RulesTried(tried) => Some(tried.customer),
            Event::Conversation(event) => match event {
                ConversationEvent::Opened { conversation, .. }
                | ConversationEvent::Restated { conversation, .. } => Some(conversation.customer),
                ConversationEvent::Active { about, .. }
                | ConversationEvent::Tagged { about, .. }
                | ConversationEvent::Offered { about, .. }
                | ConversationEvent::Accepted { about, .. }
                | ConversationEvent::Assigned { about, .. }
                | ConversationEvent::Replied { about, .. }
                | ConversationEvent::Closed { about, .. } => Some(about.customer),
                ConversationEvent::Stands { .. }
                | ConversationEvent::Reviewed { .. }
                | ConversationEvent::Forgotten { .. }
                | ConversationEvent::IdleRestated { .. } => None,
            },
            Event::Custody(event) => event.owner(),
            Event::Withdrawn(_)
            | Event::RuleFailed(_)
            | Event::QueuePaused { .. }
            | Event::QueueResumed { .. }
            | Event::CodeIssued { .. }
            | Event::CodeRevoked { .. }
            | Event::CodeRefused { .. }
            | Event::HandOverBegun(_)
            | Event::HandOverDone { .. } => None,
        }
    }

    fn carrier(state: &State, event: &Event) -> Option<Carrier> {
        state.carrier_of(event)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Tap { person: usize, menu: u8 },
    Buy { person: usize, brand: &'static str, minutes_ago: i64 },
    Work { case: usize, what: u8 },
    Talk { conversation: usize, what: u8 },
    Staff { who: &'static str, available: bool },
    Wait { minutes: u64 },
    Change(Change),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let brand = prop::sample::select(vec!["aurora", "borea"]);
    let op = prop_oneof![
        4 => (0..8_usize, 0..5_u8)
            .prop_map(|(conversation, what)| Op::Talk { conversation, what }),
        2 => (prop::sample::select(vec!["c1", "c2"]), prop::bool::weighted(0.8))
            .prop_map(|(who, available)| Op::Staff { who, available }),
        2 => prop::sample::select(vec![1, 4, 60 * 24 * 31])
            .prop_map(|minutes| Op::Wait { minutes }),
        8 => (0..PEOPLE, 0..4_u8).prop_map(|(person, menu)| Op::Tap { person, menu }),
        3 => (0..PEOPLE, brand, 0..3_i64)
            .prop_map(|(person, brand, minutes_ago)| Op::Buy { person, brand, minutes_ago }),
        5 => (0..8_usize, 0..8_u8).prop_map(|(case, what)| Op::Work { case, what }),
        6 => change().prop_map(Op::Change),
    ];
    vec(op, 1..60)
}

fn configuration() -> Configuration {
    serde_json::from_value(serde_json::json!({
        "brands": {"aurora": {"name": "Aurora"}, "borea": {"name": "Borea"}},
        "queues": {"repair": {"name": "Repair"}, "advice": {"name": "Advice"}},
        "desks": {"central": {"name": "Central"}},
        "staff": {
            "c1": {"name": "C1", "desk": "central", "capacity": 2},
            "c2": {"name": "C2", "desk": "central", "capacity": 1},
        },
        "rules": [
            {"name": "r3", "when": "event.menu == 'm3'", "targets": ["central_desk"]},
            {"name": "r0", "when": "event.menu == 'm0'", "open": {"queue": "repair"}, "reply": "hello"},
            {"name": "r1", "when": "event.menu == 'm1'", "open": {"queue": "repair", "priority": "P1"}},
            {"name": "r2", "when": "event.menu == 'm2'", "reply": "hello"},
        ],
        "templates": {
            "hello": {"house": "hello"},
            "case-resolved": {"house": "done"},
            "case-cancelled": {"house": "not done"},
        },
    }))
    .unwrap()
}

fn act(world: &mut World<TheRouting>, person: usize, act: Act, brand: Option<&str>) {
    let event = ChannelEvent {
        id: format!("e{}", world.number()).parse().unwrap(),
        channel: "line-1".parse().unwrap(),
        mode: Mode::Live,
        store: None,
        brand: brand.map(|brand| brand.parse().unwrap()),
        act,
        sightings: vec![Sighting { identifier: member(person), verified: true }],
        occurred_at: world.at,
        received_at: world.at,
        reply_token: None,
        attributes: Vec::new(),
        consents: Vec::new(),
        message: None,
    };
    let address = Address { channel: event.channel.clone(), user: format!("U{person}").into() };
    let customer = world.customer(person);
    let (event, address) = (Box::new(event), Some(address));
    world.give(&Input::Channel { customer, event, address, code: None });
}

fn asked_for(wish: ConversationInput) -> Input {
    let scope = Scope { all: true, ..Scope::default() };
    let caller = Box::new(Caller { name: "desk".to_owned(), role: Role::Desk, scope });
    Input::Conversation { wish, caller }
}

fn run(world: &mut World<TheRouting>, op: &Op) {
    while Routing::due(&world.state).is_some_and(|due| due <= world.at) {
        world.give(&Input::Wakeup(Wakeup::Due));
    }
    match op {
        Op::Tap { person, menu } => {
            act(world, *person, Act::Postback(format!("menu=m{menu}")), None);
        }
        Op::Buy { person, brand, minutes_ago } => {
            let now = world.at;
            world.at = mainstem_domain::At::from_millis(now.as_millis() - minutes_ago);
            act(world, *person, Act::Business(Business::OrderPaid), Some(*brand));
            world.at = now.max(world.at);
        }
        Op::Work { case, what } => {
            let Some((id, _)) = world.state.cases_after(None).nth(*case) else { return };
            let (case, by) = (*id, "unit/a".to_owned());
            let (to, reason) = ("advice".parse().unwrap(), "not ours".to_owned());
            world.give(&match what {
                4 => Input::Wait { case, by },
                5 => Input::Transfer { case, to, by, overrules: true, reason },
                6 => Input::Reopen { case, by },
                7 => Input::Close { case, by },
                0 => Input::Accept { case, by },
                1 => Input::Start { case, by },
                2 => Input::Resolve { case, by },
                _ => Input::Cancel { case, by, overrules: true, reason: "no".to_owned() },
            });
        }
        Op::Talk { conversation, what } => {
            let Some((id, one)) = world.state.conversations_after(None).nth(*conversation) else {
                return;
            };
            let (conversation, asked) = (*id, one.stage.staff().cloned());
            let actor = Actor { by: "desk".to_owned(), staff: None, overrules: true };
            let input = match (what, asked) {
                (0 | 1, Some(staff)) => ConversationInput::Accept { conversation, staff },
                (2, Some(staff)) => ConversationInput::Reject { conversation, staff },
                (3, Some(staff)) => {
                    ConversationInput::Reply { conversation, staff, text: "yes".to_owned() }
                }
                _ => ConversationInput::Close { conversation, actor },
            };
            world.give(&asked_for(input));
        }
        Op::Staff { who, available } => {
            let (staff, available) = (who.parse().unwrap(), *available);
            let wish = ConversationInput::Presence { staff, available, capacity: None };
            world.give(&asked_for(wish));
        }
        Op::Wait { minutes } => {
            world.at = world.at.after(std::time::Duration::from_mins(*minutes));
        }
        Op::Change(change) => world.change(change),
    }
}

fn check(world: &World<TheRouting>) -> Result<(), TestCaseError> {
    world.check()?;
    for (id, case) in world.state.cases_after(None) {
        let person = person_of(case.carrier.unwrap());
        prop_assert_eq!(case.customer, world.customer(person), "case {} is another's", id);
    }
    for (id, one) in world.state.conversations_after(None) {
        let person = person_of(one.carrier.unwrap());
        prop_assert_eq!(one.customer, world.customer(person), "conversation {} is another's", id);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn nothing_of_one_person_is_found_under_another(ops in ops()) {
        let mut world = World::new(configuration());
        for op in &ops {
            run(&mut world, op);
        }
        world.custodian();
        check(&world)?;
    }
}

/// Two people who were taken for one, and are told apart again.
fn apart() -> (World<TheRouting>, usize, usize) {
    let mut world = World::new(configuration());
    world.change(&Change::Merge { survivor: 0, absorbed: 1 });
    (world, 0, 1)
}

#[test]
fn an_open_case_keeps_its_place_and_its_clock_when_its_customer_is_split() {
    let (mut world, one, other) = apart();
    run(&mut world, &Op::Tap { person: other, menu: 0 });
    run(&mut world, &Op::Tap { person: 2, menu: 0 });
    let queue = "repair".parse().unwrap();
    let before = world.state.next_on(&queue).unwrap();
    assert_eq!(before.case.customer, world.customer(one));
    world.change(&Change::Split { of: one, apart: 1 << other, parts: false });
    let after = world.state.next_on(&queue).unwrap();
    assert_eq!(after.case.customer, world.own[other], "from the moment of the split");
    assert_eq!((after.id, after.case.queued_at), (before.id, before.case.queued_at));
    assert_eq!(after.case.opened_at, before.case.opened_at);
    // The wish is known for the one who has it, and for nobody else.
    let cases = |world: &World<TheRouting>| world.state.cases_after(None).count();
    run(&mut world, &Op::Tap { person: other, menu: 0 });
    assert_eq!(cases(&world), 2);
    run(&mut world, &Op::Tap { person: one, menu: 0 });
    assert_eq!(cases(&world), 3);
}

#[test]
fn the_brand_of_the_last_purchase_is_each_persons_own_again() {
    let (mut world, one, other) = apart();
    run(&mut world, &Op::Buy { person: one, brand: "aurora", minutes_ago: 0 });
    run(&mut world, &Op::Buy { person: other, brand: "borea", minutes_ago: 0 });
    world.change(&Change::Split { of: one, apart: 1 << other, parts: true });
    let brand = |person: usize| {
        let purchase = world.state.purchase(world.customer(person));
        purchase.map(|purchase| purchase.brand.as_str().to_owned())
    };
    assert_eq!((brand(one).as_deref(), brand(other).as_deref()), (Some("aurora"), Some("borea")));
}

#[test]
fn the_cases_of_who_is_erased_are_cancelled_and_nobody_is_told() {
    let mut world = World::new(configuration());
    for (person, menu) in [(0, 0), (0, 1), (1, 0)] {
        run(&mut world, &Op::Tap { person, menu });
    }
    let (customer, erasure) = (world.own[0], mainstem_domain::ErasureId::derive("1"));
    let erased = custody::Input::Erased { erasure, customers: vec![customer] };
    let decided = world.give(&Input::Custody(erased)).events;
    assert_eq!(decided.len(), 5, "{decided:?}");
    // Last, what stays in the ledger for whoever comes later, and says which cases but not whose.
    for event in &decided[3..] {
        assert!(matches!(event, Event::Withdrawn(Withdrawn::Case { .. })), "{event:?}");
    }
    for event in &decided[..2] {
        assert!(matches!(event, Event::Cancelled { reason, .. } if reason == ERASED), "{event:?}");
    }
    assert_eq!(world.state.cases_after(None).count(), 1);
    assert!(world.state.cases_after(None).all(|(_, case)| case.stage == Stage::Open));
    // What was under way when the customer was forgotten is written nowhere.
    let ledger_is_silent = |world: &mut World<TheRouting>| {
        let before = world.state.clone();
        run(world, &Op::Tap { person: 0, menu: 0 });
        before == world.state
    };
    assert!(ledger_is_silent(&mut world));
}
