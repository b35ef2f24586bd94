//! Named after what hurts the users of such systems.

use mainstem_domain::configuration::{Channel, Priority};
use mainstem_domain::custody;
use mainstem_domain::routing::{
    Answer, ConversationEvent, ConversationInput, Details, Event, Input, NewCase, PassedOver,
    Routing, Talk, Why,
};
use mainstem_domain::{At, ConversationId, CustomerId, Decider as _, ErasureId, Refusal, Wakeup};

use crate::world::{Op, World, asked_for, staff};

fn tap(customer: usize) -> Op {
    Op::Say { customer, menu: Some(0), brand: Some("aurora"), store: true, token: false }
}

fn urgent(customer: usize) -> Op {
    Op::Say { customer, menu: Some(1), brand: Some("aurora"), store: false, token: false }
}

fn there(who: usize) -> Op {
    Op::Presence { staff: who, available: true, capacity: None }
}

fn away(who: usize) -> Op {
    Op::Presence { staff: who, available: false, capacity: None }
}

fn after(ops: &[Op]) -> World {
    let mut world = World::new();
    for op in ops {
        world.run(op);
    }
    world
}

fn asked(world: &World, pick: usize) -> Option<String> {
    match world.stage(pick)? {
        Talk::Offered { staff, .. } => Some(format!("{staff}?")),
        Talk::InProgress { staff, .. } => Some(staff.to_string()),
        Talk::Waiting => Some("line".to_owned()),
        Talk::Closed { .. } => Some("closed".to_owned()),
    }
}

fn refusal(world: &mut World, op: &Op) -> Refusal {
    world.run(op).and_then(|decision| decision.answer).unwrap().unwrap_err()
}

const A1: usize = 0;
const A2: usize = 1;
const B1: usize = 2;
const C1: usize = 3;
const C3: usize = 5;

#[test]
fn returning_chat_is_not_stuck_with_an_offline_owner() {
    let mut world = after(&[there(A1), tap(0), Op::Answer { pick: 0, yes: true }]);
    assert_eq!(asked(&world, 0).as_deref(), Some("a1"));
    let since = world.state.conversation(world.known[0]).unwrap().conversation.waiting_since;
    world.run(&there(A2));
    world.run(&away(A1));
    assert_eq!(asked(&world, 0).as_deref(), Some("a2?"), "offered on as soon as a1 is away");
    world.run(&away(A2));
    assert_eq!(asked(&world, 0).as_deref(), Some("line"));
    let view = world.state.conversation(world.known[0]).unwrap();
    assert_eq!(view.conversation.waiting_since, since, "its place in line counts from the start");
    // Closed, and written to again while the owner is away: somebody else has it.
    let mut world = after(&[there(A1), tap(0), Op::Answer { pick: 0, yes: true }]);
    world.run(&Op::Close { pick: 0 });
    world.run(&away(A1));
    world.run(&there(B1));
    world.run(&tap(0));
    assert_eq!(asked(&world, 0).as_deref(), Some("b1?"));
    assert_eq!(world.known.len(), 1, "the same conversation");
}

#[test]
fn queued_chat_is_not_starved_by_newer_ones() {
    let mut world = after(&[tap(0), tap(1), urgent(2)]);
    world.run(&Op::Presence { staff: C3, available: true, capacity: Some(1) });
    assert_eq!(asked(&world, 2).as_deref(), Some("c3?"), "the urgent one first");
    world.run(&Op::Answer { pick: 2, yes: true });
    world.run(&tap(3));
    for served in [0, 1, 3] {
        world.run(&Op::Close {
            pick: if served == 0 { 2 } else { served - 1 - usize::from(served == 3) },
        });
        assert_eq!(asked(&world, served).as_deref(), Some("c3?"), "then the oldest");
        world.run(&Op::Answer { pick: served, yes: true });
    }
}

#[test]
fn merge_while_the_customer_is_chatting_keeps_holder_and_opens_nothing() {
    let mut world = after(&[there(A1), there(B1), tap(0), Op::Answer { pick: 0, yes: true }]);
    world.run(&Op::Say {
        customer: 1,
        menu: Some(0),
        brand: Some("aurora"),
        store: false,
        token: false,
    });
    world.run(&Op::Answer { pick: 1, yes: true });
    let (one, other) = (asked(&world, 0), asked(&world, 1));
    world.run(&Op::Merge { survivor: 1, absorbed: 0 });
    assert_eq!((asked(&world, 0), asked(&world, 1)), (one, other), "both keep their people");
    world.run(&tap(0));
    world.run(&tap(1));
    assert_eq!(world.known.len(), 2, "no third one opens");
    let view = world.state.conversation(world.known[0]).unwrap();
    assert_eq!(view.conversation.customer, world.customers[1]);
}

#[test]
fn merge_during_a_live_offer_keeps_the_offer_and_its_clock() {
    let mut world = after(&[there(A1), tap(0)]);
    let offered = world.stage(0);
    world.run(&Op::Merge { survivor: 1, absorbed: 0 });
    assert_eq!(world.stage(0), offered);
    world.run(&Op::Answer { pick: 0, yes: true });
    assert_eq!(asked(&world, 0).as_deref(), Some("a1"));
}

#[test]
fn whoever_says_no_is_not_asked_again_at_once_and_the_next_one_is() {
    let mut world = after(&[there(A1), there(A2), there(B1), tap(0)]);
    let Some(Talk::Offered { staff: first, until, .. }) = world.stage(0) else { panic!() };
    assert_eq!(first, staff(A2), "more spare capacity");
    world.run(&Op::Answer { pick: 0, yes: false });
    let Some(Talk::Offered { staff: second, until: same, .. }) = world.stage(0) else { panic!() };
    assert_eq!((second, same), (staff(A1), until), "the time is the target's");
    world.run(&Op::Pass { seconds: 180 });
    assert_eq!(asked(&world, 0).as_deref(), Some("b1?"), "then the next target");
    world.run(&Op::Pass { seconds: 600 });
    assert_eq!(asked(&world, 0).as_deref(), Some("line"), "the last target keeps it");
    world.run(&Op::Pass { seconds: 1_000_000 });
    assert_eq!(asked(&world, 0).as_deref(), Some("line"), "for ever");
}

#[test]
fn a_shift_that_ends_takes_nobody_off_the_line_and_one_that_begins_serves_it() {
    // c1 works on Mondays from 9 to 18, and it is 10.
    let mut world = after(&[there(C1), tap(0), Op::Answer { pick: 0, yes: true }]);
    assert_eq!(asked(&world, 0).as_deref(), Some("c1"));
    world.run(&Op::Pass { seconds: 8 * 3_600 });
    assert_eq!(asked(&world, 0).as_deref(), Some("line"));
    world.run(&Op::Pass { seconds: 15 * 3_600 });
    assert_eq!(asked(&world, 0).as_deref(), Some("c1?"), "on Tuesday at 9");
}

#[test]
fn capacity_is_exceeded_by_hand_alone() {
    let mut world = after(&[there(A1), tap(0), Op::Answer { pick: 0, yes: true }, tap(1)]);
    assert_eq!(asked(&world, 1).as_deref(), Some("line"));
    let full = refusal(&mut world, &Op::Accept { pick: 1, staff: A1 });
    assert_eq!(full.reason, "STAFF_FULL");
    world.run(&Op::Assign { pick: 1, to: A1 });
    assert_eq!(asked(&world, 1).as_deref(), Some("a1"));
    let gone = refusal(&mut world, &Op::Assign { pick: 1, to: B1 });
    assert_eq!(gone.reason, "STAFF_NOT_READY");
}

#[test]
fn whoever_comes_second_is_told_who_has_it() {
    let mut world = after(&[there(A1), there(A2), tap(0), Op::Answer { pick: 0, yes: true }]);
    let late = refusal(&mut world, &Op::Accept { pick: 0, staff: A1 });
    assert_eq!(late.reason, "CONVERSATION_TAKEN");
    assert!(late.message.contains("a2 has conversation"), "{late}");
    let again = world.run(&Op::Accept { pick: 0, staff: A2 }).unwrap();
    assert!(again.events.is_empty() && matches!(again.answer, Some(Ok(Answer::Conversation(_)))));
}

#[test]
fn an_answer_uses_the_right_to_reply_once() {
    let message = Op::Say { customer: 0, menu: None, brand: None, store: false, token: true };
    let mut world = after(&[there(A1), tap(0), Op::Answer { pick: 0, yes: true }, message]);
    assert!(world.reply_right(0).is_some());
    let said = |world: &mut World| {
        let decision = world.run(&Op::Reply { pick: 0 }).unwrap();
        let request = decision.events.into_iter().find_map(|event| match event {
            Event::MessageRequested(request) => Some(request),
            _ => None,
        });
        let request = request.unwrap();
        assert_eq!(request.text.as_deref(), Some("yes"));
        request.reply.is_some()
    };
    assert!(said(&mut world) && !said(&mut world));
    let other = ConversationInput::Reply {
        conversation: world.known[0],
        staff: staff(A2),
        text: "me too".to_owned(),
    };
    let answer = world.give(&asked_for(other)).answer;
    assert_eq!(answer.unwrap().unwrap_err().reason, "CONVERSATION_TAKEN");
}

#[test]
fn what_a_rule_answers_leaves_no_right_for_the_conversation() {
    let say = |menu, token| Op::Say { customer: 0, menu, brand: None, store: false, token };
    // The first is answered by its rule, the second is not: it goes on with what is open.
    let mut world = after(&[say(Some(0), true)]);
    assert_eq!(world.reply_right(0), None);
    world.run(&say(Some(0), true));
    assert!(world.reply_right(0).is_some());
    world.run(&say(None, false));
    assert_eq!(world.reply_right(0), None, "only the last message can be answered");
    // Menu 1 hands over without a word.
    let world = after(&[say(Some(1), true)]);
    assert!(world.reply_right(0).is_some());
}

#[test]
fn a_case_that_opens_in_the_middle_of_a_conversation_is_told_once() {
    let tap =
        |menu| Op::Say { customer: 0, menu: Some(menu), brand: None, store: false, token: false };
    let mut world = after(&[tap(0)]);
    let told = |world: &mut World, menu| {
        let events = world.run(&tap(menu)).unwrap().events;
        events.iter().any(|event| matches!(event, Event::MessageRequested(_)))
    };
    assert!(!told(&mut world, 0), "somebody will answer: that was said");
    assert!(told(&mut world, 4), "the number of the case was not");
    assert!(!told(&mut world, 4), "the same wish again is the same case");
    assert_eq!(world.known.len(), 1);
}

#[test]
fn the_record_says_who_was_passed_over_and_why() {
    let mut world = after(&[there(A1), away(A2), there(B1)]);
    let decision = world.run(&tap(0)).unwrap();
    let opened = decision.events.into_iter().find_map(|event| match event {
        Event::Conversation(ConversationEvent::Opened { passed_over, .. }) => Some(passed_over),
        _ => None,
    });
    let reasons: Vec<_> = opened
        .unwrap()
        .into_iter()
        .map(|PassedOver { who, staff, why }| (who.name(), staff.map(|s| s.to_string()), why))
        .collect();
    assert_eq!(
        reasons,
        [
            ("bound_staff", None, Why::NotBound),
            ("store_on_shift", Some("a2".to_owned()), Why::Away)
        ]
    );
}

#[test]
fn a_text_without_a_brand_goes_on_with_what_was_spoken_of_last() {
    let say = |menu, brand| Op::Say { customer: 0, menu, brand, store: false, token: false };
    let mut world = after(&[say(Some(0), Some("aurora")), say(Some(0), Some("borea"))]);
    let active = |world: &World, pick: usize| {
        world.state.conversation(world.known[pick]).unwrap().conversation.active_at
    };
    world.run(&say(None, None));
    assert!(active(&world, 1) > active(&world, 0));
    world.run(&say(None, Some("aurora")));
    assert!(active(&world, 0) > active(&world, 1));
    world.run(&say(None, None));
    assert_eq!(active(&world, 0), world.at);
}

#[test]
fn an_unknown_conversation_or_person_is_named() {
    let mut world = World::new();
    let unknown = refusal(&mut world, &Op::Accept { pick: 7, staff: A1 });
    assert!(unknown.message.contains(ConversationId::derive("none").as_str()), "{unknown}");
    assert!(refusal(&mut world, &there(6)).message.contains("nobody"));
}

#[test]
fn a_shift_of_hundreds_begins_in_batches_that_the_broker_takes() {
    let mut world = World::new();
    let mut config = serde_json::to_value(&world.configuration).unwrap();
    for number in 0..150 {
        config["staff"][format!("d{number}")] =
            serde_json::json!({"name": "D", "desk": "central", "capacity": 10, "shift": "day"});
    }
    world.configuration = serde_json::from_value(config).unwrap();
    // A Monday night.
    world.run(&Op::Pass { seconds: 14 * 3_600 });
    for number in 0..150 {
        let staff = format!("d{number}").parse().unwrap();
        world.give(&asked_for(ConversationInput::Presence {
            staff,
            available: true,
            capacity: None,
        }));
    }
    for number in 0..1_600 {
        world.customers[0] = mainstem_domain::CustomerId::derive(&format!("night {number}"));
        world.run(&urgent(0));
    }
    assert_eq!(world.state.waiting(), 1_600);
    world.at = mainstem_domain::At::parse("2026-11-24T09:00:00+08:00").unwrap();
    let mut most = 0;
    while Routing::due(&world.state).is_some_and(|due| due <= world.at) {
        most = most.max(world.decide_alone(Wakeup::Due));
    }
    assert!((100..=900).contains(&most), "{most} events of one input");
    assert_eq!(world.state.waiting(), 100, "the last ones of the night wait on");
    // Everybody leaves at once: another directory knows none of them.
    world.configuration = crate::world::configuration(0);
    let mut inputs = 0;
    let mut wakeup = Some(Wakeup::Configured);
    while let Some(next) = wakeup {
        let events = world.decide_alone(next);
        assert!(events <= 900, "{events} events of one input");
        let due = Routing::due(&world.state).is_some_and(|due| due <= world.at);
        wakeup = due.then_some(Wakeup::Due);
        inputs += 1;
    }
    assert!(inputs > 2, "{inputs}");
    assert_eq!(world.state.waiting(), 1_600, "nobody is lost");
}

#[test]
fn a_mark_of_a_rule_is_put_on_what_begins_and_what_goes_on_once_and_stays() {
    let tags = |world: &World| {
        let view = world.state.conversation(world.known[0]).unwrap();
        view.conversation.tags.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let marks = |world: &World| {
        let tagged = |event: &&(Event, At)| {
            matches!(event.0, Event::Conversation(ConversationEvent::Tagged { .. }))
        };
        world.ledger.iter().filter(tagged).count()
    };
    let ask = |menu| Op::Say {
        customer: 0,
        menu: Some(menu),
        brand: Some("aurora"),
        store: false,
        token: false,
    };
    let mut world = after(&[there(C3), ask(1)]);
    assert_eq!((tags(&world), marks(&world)), (vec!["urgent".to_owned()], 0));
    // A tap is no message, and marks all the same.
    for _ in 0..2 {
        world.run(&ask(2));
    }
    assert_eq!((tags(&world).len(), marks(&world)), (2, 1));
    world.run(&Op::Answer { pick: 0, yes: true });
    world.run(&Op::Close { pick: 0 });
    world.run(&ask(2));
    assert_eq!(marks(&world), 1, "what is closed is not marked");
    world.run(&ask(0));
    assert_eq!(tags(&world), ["asked", "urgent"]);
}

/// The broker takes no more than 1,000 records as one.
#[test]
fn a_customer_who_has_very_much_is_forgotten_in_one_batch_and_whoever_is_free_is_served() {
    let staff: Vec<String> = (0..60).map(|number| format!("c{number:02}")).collect();
    let directory = staff
        .iter()
        .map(|id| (id.clone(), serde_json::json!({"name": id, "desk": "central", "capacity": 8})));
    let directory: serde_json::Map<_, _> = directory.collect();
    let mut world = World::new();
    world.configuration = serde_json::from_value(serde_json::json!({
        "desks": {"central": {"name": "Central"}},
        "queues": {"repair": {"name": "Repair"}},
        "staff": directory,
        "rules": [{"name": "r", "when": "event.type == 'text'", "targets": ["central_desk"]}],
    }))
    .unwrap();
    let give = |world: &mut World, input: &Input| {
        let decision = Routing::decide(&world.state, &world.configuration, input, world.at);
        for event in &decision.events {
            Routing::evolve(&mut world.state, event, world.at);
        }
        decision.events.len()
    };
    for id in &staff {
        let wish = ConversationInput::Presence {
            staff: id.parse().unwrap(),
            available: true,
            capacity: None,
        };
        give(&mut world, &asked_for(wish));
    }
    let says = |world: &mut World, customer: CustomerId, channel: usize| {
        let mut event = world.text();
        event.id = format!("e{customer}{channel}").parse().unwrap();
        event.channel = format!("line-{channel}").parse().unwrap();
        let event = Box::new(event);
        give(world, &Input::Channel { customer, event, address: None, code: None });
    };
    let gone = CustomerId::derive("gone");
    for channel in 0..480 {
        says(&mut world, gone, channel);
    }
    for waiting in 0..500 {
        says(&mut world, CustomerId::derive(&format!("waiting {waiting}")), 0);
    }
    for serial in 0..480 {
        let wish = NewCase {
            customer: gone,
            channel: None,
            brand: None,
            store: None,
            queue: "repair".parse().unwrap(),
            priority: Priority::P3,
            details: Details { serial: format!("sn {serial}"), ..Details::default() },
            by: "store/1".to_owned(),
        };
        let wish = NewCase { channel: Some("line-0".parse().unwrap()), ..wish };
        world.configuration.channels.insert("line-0".parse().unwrap(), line());
        give(&mut world, &Input::Open(Box::new(wish)));
    }
    assert_eq!((world.state.waiting(), world.state.conversations_of(gone).count()), (500, 480));
    let erasure = ErasureId::derive("1");
    let erased = custody::Input::Erased { erasure, customers: vec![gone] };
    let records = give(&mut world, &Input::Custody(erased));
    assert!(records <= 900, "{records}");
    let mut wakeups = 0;
    while Routing::due(&world.state).is_some_and(|due| due <= world.at) {
        let records = give(&mut world, &Input::Wakeup(Wakeup::Due));
        wakeups += 1;
        assert!(records <= 900 && wakeups < 10, "{records} in wakeup {wakeups}");
    }
    assert_eq!(world.state.waiting(), 500 - 480, "everybody who was free has as many as fit");
}

fn line() -> Channel {
    serde_json::from_value(serde_json::json!({})).unwrap()
}
