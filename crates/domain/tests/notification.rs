//! notification against a naive model: lists of addresses and items, searched from the start.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

use std::time::Duration;

use mainstem_domain::configuration::{Configuration, Mode, TEXT_AT_MOST};
use mainstem_domain::notification::{
    Delivery, Event, Input, Item, Notification, Outcome, REPLY_WITHIN, SETTLED_FOR, State, Way,
};
use mainstem_domain::person::{Address, ReplyRight};
use mainstem_domain::routing::MessageRequest;
use mainstem_domain::{At, ChannelId, CustomerId, Decider, Decision, ItemId, RefusalCode};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Seen {
        customer: usize,
        channel: u8,
        user: u8,
    },
    Merge {
        survivor: usize,
        absorbed: usize,
    },
    /// The age of the reply right in milliseconds, if there is one; negative: from a clock ahead.
    Request {
        customer: usize,
        channel: u8,
        template: Vec<u8>,
        reply_age: Option<i64>,
        mode: Mode,
    },
    Send {
        customer: usize,
        channel: u8,
        units: usize,
    },
    /// Items are picked among all ever queued; beyond them is an unknown one.
    Begin {
        item: usize,
        attempt: u8,
    },
    Record {
        item: usize,
        outcome: Outcome,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let within = i64::try_from(REPLY_WITHIN.as_millis()).unwrap();
    let age = prop_oneof![
        2 => prop::sample::select(vec![within - 1, within, within + 1, 0, -1, i64::MAX]),
        1 => 0..2 * within,
    ];
    let outcome =
        prop_oneof![Just(Outcome::Sent), "[ab]".prop_map(|reason| Outcome::Failed { reason }),];
    let units = prop::sample::select(vec![0, 1, TEXT_AT_MOST, TEXT_AT_MOST + 1]);
    let mode = prop::sample::select(vec![Mode::Live, Mode::Live, Mode::Retired, Mode::Shadow]);
    let templates = prop_oneof![
        4 => vec(0..2_u8, 1..3),
        1 => vec(0..3_u8, 0..8),
    ];
    let op = prop_oneof![
        3 => (0..3_usize, 0..2_u8, 0..2_u8)
            .prop_map(|(customer, channel, user)| Op::Seen { customer, channel, user }),
        1 => (0..3_usize, 0..3_usize)
            .prop_map(|(survivor, absorbed)| Op::Merge { survivor, absorbed }),
        4 => (0..3_usize, 0..2_u8, templates, prop::option::of(age), mode).prop_map(
            |(customer, channel, template, reply_age, mode)| {
                Op::Request { customer, channel, template, reply_age, mode }
            }
        ),
        2 => (0..3_usize, 0..2_u8, units)
            .prop_map(|(customer, channel, units)| Op::Send { customer, channel, units }),
        4 => (0..6_usize, 0..3_u8).prop_map(|(item, attempt)| Op::Begin { item, attempt }),
        4 => (0..6_usize, outcome).prop_map(|(item, outcome)| Op::Record { item, outcome }),
    ];
    vec(op, 1..40)
}

fn configuration() -> Configuration {
    serde_json::from_value(serde_json::json!({
        "brands": {"aurora": {"name": "Aurora"}},
        "templates": {
            "t0": {"house": "house {case}", "brands": {"aurora": "aurora {case}"}},
            "t1": {"house": "hello"},
        },
    }))
    .unwrap()
}

fn channel(number: u8) -> ChannelId {
    format!("line-{number}").parse().unwrap()
}

struct World {
    configuration: Configuration,
    state: State,
    ledger: Vec<(Event, At)>,
    at: At,
    requests: usize,
    items: Vec<ItemId>,
    /// The three customers, as identity-merge names them now: after a merge two are the same.
    customers: [CustomerId; 3],
}

impl World {
    fn new() -> Self {
        Self {
            configuration: configuration(),
            state: State::default(),
            ledger: Vec::new(),
            at: At::from_millis(1_000_000),
            requests: 0,
            items: Vec::new(),
            customers: [0, 1, 2].map(|number| CustomerId::derive(&format!("{number}"))),
        }
    }

    fn next_request(&mut self) -> String {
        self.requests += 1;
        format!("request {}", self.requests)
    }

    fn item(&self, number: usize) -> ItemId {
        self.items.get(number).copied().unwrap_or(ItemId::derive("none"))
    }

    fn input(&mut self, op: &Op) -> Option<Input> {
        match op {
            Op::Seen { customer, channel: number, user } => Some(Input::Seen {
                customer: self.customers[*customer],
                address: Address { channel: channel(*number), user: format!("U{user}") },
                carrier: None,
            }),
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
            Op::Request { customer, channel: number, template, reply_age, mode } => {
                let received = |age| At::from_millis(self.at.as_millis().saturating_sub(age));
                let request = MessageRequest {
                    customer: self.customers[*customer],
                    channel: channel(*number),
                    brand: Some("aurora".parse().unwrap()),
                    templates: template.iter().map(|number| format!("t{number}")).collect(),
                    text: None,
                    mode: *mode,
                    case: None,
                    carrier: None,
                    staff: None,
                    rule: None,
                    reply: reply_age.map(|age| ReplyRight {
                        token: "token".to_owned(),
                        received_at: received(age),
                    }),
                };
                Some(Input::Requested { id: self.next_request(), request })
            }
            Op::Send { customer, channel: number, units } => Some(Input::Send {
                id: self.next_request(),
                customer: self.customers[*customer],
                channel: channel(*number),
                text: "好".repeat(*units),
            }),
            Op::Begin { item, attempt } => {
                Some(Input::Begin { item: self.item(*item), attempt: format!("a{attempt}") })
            }
            Op::Record { item, outcome } => {
                Some(Input::Record { item: self.item(*item), outcome: outcome.clone() })
            }
        }
    }

    fn take(&mut self, input: &Input) -> Decision<Event, Delivery> {
        let decision = Notification::decide(&self.state, &self.configuration, input, self.at);
        for event in &decision.events {
            if let Event::Queued { id, .. } = event {
                self.items.push(*id);
            }
            Notification::evolve(&mut self.state, event, self.at);
            self.ledger.push((event.clone(), self.at));
        }
        decision
    }

    /// Runs one operation; `None` for a merge of somebody with himself.
    fn run(&mut self, op: &Op) -> Option<(Input, Decision<Event, Delivery>)> {
        self.at = self.at.after(Duration::from_millis(1));
        let input = self.input(op)?;
        let decision = self.take(&input);
        Some((input, decision))
    }
}

/// What is known and what was asked for.
#[derive(Default)]
struct Model {
    addresses: Vec<(CustomerId, Address)>,
    items: Vec<(ItemId, Item)>,
}

impl Model {
    fn address(&self, customer: CustomerId, channel: &ChannelId) -> Option<Address> {
        let known = |(who, address): &&(CustomerId, Address)| {
            *who == customer && address.channel == *channel
        };
        self.addresses.iter().find(known).map(|(_, address)| address.clone())
    }

    fn learn(&mut self, customer: CustomerId, address: Address) {
        self.addresses.retain(|(who, old)| (*who, &old.channel) != (customer, &address.channel));
        self.addresses.push((customer, address));
    }

    fn merge(&mut self, survivor: CustomerId, absorbed: CustomerId) {
        let (gone, kept) = self.addresses.drain(..).partition(|(who, _)| *who == absorbed);
        self.addresses = kept;
        for (_, address) in gone as Vec<(CustomerId, Address)> {
            if self.address(survivor, &address.channel).is_none() {
                self.addresses.push((survivor, address));
            }
        }
    }

    /// What a request becomes: an item, or the reason why not.
    fn request(&self, request: &MessageRequest, at: At) -> Result<Item, &'static str> {
        let mut texts = Vec::new();
        for name in request.templates.iter().take(5) {
            texts.push(match name.as_str() {
                "t0" => "aurora ".to_owned(),
                "t1" => "hello".to_owned(),
                _ => return Err("no such template"),
            });
        }
        if texts.is_empty() {
            return Err("no such template");
        }
        let address = self.address(request.customer, &request.channel).ok_or("no address")?;
        let deadline = |right: &ReplyRight| {
            let within = i128::try_from(REPLY_WITHIN.as_millis()).unwrap();
            i128::from(right.received_at.as_millis()) + within
        };
        let way = match &request.reply {
            Some(right) if i128::from(at.as_millis()) < deadline(right) => {
                Way::Reply { token: right.token.clone() }
            }
            Some(_) | None => Way::Push,
        };
        let (attempts, outcome) = (Vec::new(), None);
        Ok(Item {
            customer: request.customer,
            address,
            way,
            texts,
            asked_at: at,
            attempts,
            outcome,
            ended_at: None,
            carrier: None,
        })
    }
}

proptest! {
    #[test]
    fn one_request_is_one_item_or_one_failure(ops in ops()) {
        let (mut world, mut model) = (World::new(), Model::default());
        for op in &ops {
            let Some((input, decision)) = world.run(op) else { continue };
            match input {
                Input::Seen { customer, address, .. } => {
                    let known = model.address(customer, &address.channel).as_ref() == Some(&address);
                    prop_assert_eq!(decision.events.len(), usize::from(!known));
                    model.learn(customer, address);
                }
                Input::Merged { survivor, absorbed } => model.merge(survivor, absorbed),
                Input::Requested { id, request } => {
                    let id = ItemId::derive(&id);
                    if request.mode == Mode::Shadow {
                        let silent = matches!(
                            &decision.events[..],
                            [Event::Suppressed { id: suppressed, .. }] if *suppressed == id
                        );
                        prop_assert!(silent, "{:?}", decision);
                        continue;
                    }
                    let expected = match model.request(&request, world.at) {
                        Ok(item) => {
                            model.items.push((id, item.clone()));
                            Event::Queued { id, item }
                        }
                        Err(reason) => Event::Failed {
                            id,
                            customer: request.customer,
                            channel: request.channel,
                            reason: reason.to_owned(),
                            carrier: None,
                        },
                    };
                    prop_assert_eq!(decision, Decision::events(vec![expected]));
                }
                Input::Send { id, customer, channel, text } => {
                    let id = ItemId::derive(&format!("{id}/{}", world.at.as_millis()));
                    let units = text.encode_utf16().count();
                    let address = model.address(customer, &channel);
                    let expected = if units == 0 || units > TEXT_AT_MOST {
                        Err(RefusalCode::InvalidArgument)
                    } else if let Some(address) = address {
                        let (way, attempts, outcome) = (Way::Push, Vec::new(), None);
                        let (texts, asked_at) = (vec![text], world.at);
                        let (ended_at, carrier) = (None, None);
                        Ok(Item {
                            customer,
                            address,
                            way,
                            texts,
                            asked_at,
                            attempts,
                            outcome,
                            ended_at,
                            carrier,
                        })
                    } else {
                        Err(RefusalCode::FailedPrecondition)
                    };
                    match expected {
                        Ok(item) => {
                            model.items.push((id, item.clone()));
                            let event = Event::Queued { id, item: item.clone() };
                            let answer = Delivery { id, item };
                            prop_assert_eq!(decision, Decision::answered(vec![event], answer));
                        }
                        Err(code) => {
                            prop_assert_eq!(decision.answer.unwrap().unwrap_err().code, code);
                            prop_assert_eq!(decision.events, vec![]);
                        }
                    }
                }
                Input::Begin { item: id, attempt } => {
                    let mut begun = Vec::new();
                    for (_, item) in model.items.iter_mut().filter(|(known, _)| *known == id) {
                        let replies = matches!(item.way, Way::Reply { .. });
                        if replies && item.outcome.is_none() && !item.attempts.contains(&attempt) {
                            item.attempts.push(attempt.clone());
                            let (customer, attempt) = (item.customer, attempt.clone());
                            begun.push(Event::Begun { id, customer, attempt, carrier: None });
                        }
                    }
                    prop_assert_eq!(decision.events, begun);
                    let answer = decision.answer.unwrap();
                    prop_assert_eq!(answer.ok(), world.state.delivery(id));
                }
                Input::Record { item, outcome } => {
                    for (_, item) in model.items.iter_mut().filter(|(id, _)| *id == item) {
                        item.attempts.clear();
                        item.outcome.get_or_insert(outcome.clone());
                        item.ended_at.get_or_insert(world.at);
                    }
                }
                // Has a world of its own: tests/custody.
                Input::Custody(_) | Input::Wakeup(_) => {}
            }
            for (id, item) in &model.items {
                let delivery = Delivery { id: *id, item: item.clone() };
                prop_assert_eq!(world.state.delivery(*id), Some(delivery));
            }
            let waiting = model.items.iter().filter(|(_, item)| item.outcome.is_none()).count();
            prop_assert_eq!(world.state.waiting(), waiting);
        }
    }

    #[test]
    fn an_item_is_settled_once_and_the_first_outcome_stands(ops in ops()) {
        let mut world = World::new();
        let mut first: Vec<(ItemId, Outcome)> = Vec::new();
        for op in &ops {
            let Some((Input::Record { item, outcome }, decision)) = world.run(op) else { continue };
            let Some(delivery) = world.state.delivery(item) else {
                prop_assert_eq!(
                    decision.answer.unwrap().unwrap_err().code,
                    RefusalCode::NotFound
                );
                continue;
            };
            let settled = first.iter().find(|(id, _)| *id == item).map(|(_, first)| first.clone());
            if settled.is_none() {
                let customer = delivery.item.customer;
                let (id, settled) = (item, outcome.clone());
                let event =
                    Event::Settled { id, customer, outcome: settled, carrier: None };
                prop_assert_eq!(&decision.events, &vec![event]);
                first.push((item, outcome.clone()));
            } else {
                prop_assert_eq!(&decision.events, &vec![]);
            }
            prop_assert_eq!(&delivery.item.outcome, &Some(settled.unwrap_or(outcome)));
            prop_assert_eq!(decision.answer, Some(Ok(delivery)));
        }
    }

    #[test]
    fn the_state_is_the_fold_of_the_ledger(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
        }
        let mut folded = State::default();
        for (event, at) in &world.ledger {
            Notification::evolve(&mut folded, event, *at);
        }
        prop_assert!(folded == world.state);
    }
}

/// At exactly [`REPLY_WITHIN`] a right is stale.
#[test]
fn a_stale_reply_right_becomes_a_push() {
    for (age, replies) in [(0, true), (49_999, true), (50_000, false), (50_001, false)] {
        let mut world = World::new();
        world.run(&Op::Seen { customer: 0, channel: 0, user: 0 });
        let request = Op::Request {
            customer: 0,
            channel: 0,
            template: vec![1],
            reply_age: Some(age),
            mode: Mode::Live,
        };
        world.run(&request);
        let delivery = world.state.delivery(world.items[0]).unwrap();
        assert_eq!(matches!(delivery.item.way, Way::Reply { .. }), replies, "{age} ms");
    }
}

/// A replayed upstream brings a request again.
#[test]
fn the_same_request_again_is_the_same_item() {
    let mut world = World::new();
    world.run(&Op::Seen { customer: 0, channel: 0, user: 0 });
    let op = Op::Request {
        customer: 0,
        channel: 0,
        template: vec![1],
        reply_age: None,
        mode: Mode::Live,
    };
    let (request, _) = world.run(&op).unwrap();
    world.run(&Op::Record { item: 0, outcome: Outcome::Sent });
    let again = world.take(&request);
    assert_eq!(again.events, []);
    assert_eq!(world.state.delivery(world.items[0]).unwrap().item.outcome, Some(Outcome::Sent));
}

/// Its receipt is gone after 24 h, and then it is a new request, not an old answer.
#[test]
fn a_request_id_that_is_used_again_later_sends_again() {
    let mut world = World::new();
    world.run(&Op::Seen { customer: 0, channel: 0, user: 0 });
    let mut send = |text: &str| {
        world.at = world.at.after(Duration::from_hours(25));
        let send = Input::Send {
            id: "request".to_owned(),
            customer: world.customers[0],
            channel: channel(0),
            text: text.to_owned(),
        };
        world.take(&send).answer.unwrap().unwrap().item.texts
    };
    assert_eq!(send("one"), ["one"]);
    assert_eq!(send("two"), ["two"]);
}

#[test]
fn a_settled_item_is_forgotten_and_a_waiting_one_never() {
    let mut world = World::new();
    world.run(&Op::Seen { customer: 0, channel: 0, user: 0 });
    for _ in 0..3 {
        world.run(&Op::Send { customer: 0, channel: 0, units: 1 });
    }
    world.run(&Op::Record { item: 0, outcome: Outcome::Sent });
    let known = |world: &World, item: usize| world.state.delivery(world.items[item]).is_some();
    world.at = world.at.after(SETTLED_FOR);
    world.run(&Op::Record { item: 1, outcome: Outcome::Sent });
    assert!(!known(&world, 0), "one millisecond more than that ago");
    assert!(known(&world, 1) && known(&world, 2));
    world.at = world.at.after(SETTLED_FOR);
    assert!(known(&world, 2));
}
