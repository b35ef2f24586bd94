use std::collections::BTreeMap;

use mainstem_domain::configuration::{Configuration, Mode};
use mainstem_domain::custody::{self, Custody};
use mainstem_domain::notification::{
    Event, ITEM_ERASED, Input, Item, Notification, Outcome, SETTLED_FOR, State,
};
use mainstem_domain::person::{Address, Carrier};
use mainstem_domain::routing::MessageRequest;
use mainstem_domain::{ChannelId, CustomerId, ErasureId, ItemId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Change, PEOPLE, Service, World, change, line, member, person_of};

struct TheNotification;

impl Service for TheNotification {
    type Decider = Notification;
    type Event = Event;
    type State = State;
    const FOLLOWS: bool = true;

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
            Event::AddressLearned { customer, .. }
            | Event::Suppressed { customer, .. }
            | Event::Failed { customer, .. }
            | Event::Begun { customer, .. }
            | Event::Settled { customer, .. } => Some(*customer),
            Event::AddressesMoved { to, .. } => Some(*to),
            Event::Queued { item, .. } | Event::ItemRestated { item, .. } => Some(item.customer),
            Event::RequestVoided { .. } | Event::ItemsVoided { .. } => None,
            Event::Custody(event) => event.owner(),
        }
    }

    fn carrier(_state: &State, event: &Event) -> Option<Carrier> {
        event.carrier()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Seen {
        person: usize,
        channel: u8,
    },
    /// `late`: routing decided it now, and it comes when the custodian begins.
    Request {
        person: usize,
        channel: u8,
        late: bool,
    },
    Send {
        person: usize,
        channel: u8,
    },
    Begin {
        item: usize,
    },
    Record {
        item: usize,
    },
    Wait {
        hours: u64,
    },
    Change(Change),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..PEOPLE, 0..2_u8).prop_map(|(person, channel)| Op::Seen { person, channel }),
        5 => (0..PEOPLE, 0..2_u8, any::<bool>())
            .prop_map(|(person, channel, late)| Op::Request { person, channel, late }),
        2 => (0..PEOPLE, 0..2_u8).prop_map(|(person, channel)| Op::Send { person, channel }),
        2 => (0..9_usize).prop_map(|item| Op::Begin { item }),
        4 => (0..9_usize).prop_map(|item| Op::Record { item }),
        1 => prop::sample::select(vec![1, 71, 73]).prop_map(|hours| Op::Wait { hours }),
        6 => change().prop_map(Op::Change),
    ];
    vec(op, 1..60)
}

fn channel(number: u8) -> ChannelId {
    format!("line-{number}").parse().unwrap()
}

struct Bench {
    world: World<TheNotification>,
    /// Every item that ever was, and whose it is.
    items: Vec<(ItemId, Option<usize>)>,
    late: Vec<Input>,
}

impl Bench {
    fn new() -> Self {
        let configuration: Configuration =
            serde_json::from_value(serde_json::json!({"templates": {"t": {"house": "hello"}}}))
                .unwrap();
        Self { world: World::new(configuration), items: Vec::new(), late: Vec::new() }
    }

    fn give(&mut self, input: &Input) -> Vec<Event> {
        let decided = self.world.give(input).events;
        for event in &decided {
            if let Event::Queued { id, item } = event {
                self.items.push((*id, item.carrier.map(person_of)));
            }
        }
        decided
    }

    fn request(&mut self, person: usize, number: u8) -> Input {
        Input::Requested {
            id: format!("request {}", self.world.number()),
            request: MessageRequest {
                customer: self.world.customer(person),
                channel: channel(number),
                brand: None,
                templates: vec!["t".to_owned()],
                text: None,
                case: None,
                reply: None,
                mode: Mode::Live,
                carrier: Some(Carrier::of(&member(person))),
                staff: None,
                rule: None,
            },
        }
    }

    fn run(&mut self, op: &Op) {
        let item = |bench: &Self, item: usize| {
            bench.items.get(item).map_or(ItemId::derive("none"), |(id, _)| *id)
        };
        match op {
            Op::Seen { person, channel: number } => {
                self.give(&Input::Seen {
                    customer: self.world.customer(*person),
                    address: Address { channel: channel(*number), user: format!("U{person}") },
                    carrier: Some(Carrier::of(&line(*person))),
                });
            }
            Op::Request { person, channel, late } => {
                let request = self.request(*person, *channel);
                if *late {
                    self.late.push(request);
                } else {
                    self.give(&request);
                }
            }
            Op::Send { person, channel: number } => {
                let send = Input::Send {
                    id: format!("send {}", self.world.number()),
                    customer: self.world.customer(*person),
                    channel: channel(*number),
                    text: "hello".to_owned(),
                };
                self.give(&send);
            }
            Op::Begin { item: number } => {
                let item = item(self, *number);
                self.give(&Input::Begin { item, attempt: "a".to_owned() });
            }
            Op::Record { item: number } => {
                let item = item(self, *number);
                self.give(&Input::Record { item, outcome: Outcome::Sent });
            }
            Op::Wait { hours } => {
                self.world.at = self.world.at.after(std::time::Duration::from_hours(*hours));
            }
            Op::Change(Change::Custodian) => self.custodian(),
            // What routing said before comes before the next split of the same customer.
            Op::Change(change @ Change::Erase { .. }) => self.world.change(change),
            Op::Change(change) => {
                if self.world.is_busy() {
                    self.custodian();
                }
                self.world.change(change);
            }
        }
    }

    fn custodian(&mut self) {
        for request in std::mem::take(&mut self.late) {
            self.give(&request);
        }
        self.world.custodian();
    }

    fn check(&self) -> Result<(), TestCaseError> {
        self.world.check()?;
        let mut known = BTreeMap::new();
        for (id, person) in &self.items {
            let Some(delivery) = self.world.state.delivery(*id) else { continue };
            let Item { customer, carrier, .. } = delivery.item;
            if let Some(person) = person {
                prop_assert!(self.world.ids(*person).contains(&customer), "{} is another's", id);
                known.insert(*id, carrier);
            }
        }
        prop_assert!(known.values().all(Option::is_some));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn nothing_of_one_person_is_found_under_another(ops in ops()) {
        let mut bench = Bench::new();
        for op in &ops {
            bench.run(op);
        }
        bench.custodian();
        bench.check()?;
    }
}

/// Whose address moved twice, and then the customer in between: who goes back to an earlier one takes
/// it along, also in a log that lacks the later one.
#[test]
fn an_address_that_was_moved_twice_is_not_left_on_the_way() {
    let mut bench = Bench::new();
    for op in [
        Op::Seen { person: 1, channel: 0 },
        Op::Change(Change::Merge { survivor: 3, absorbed: 1 }),
        Op::Seen { person: 0, channel: 0 },
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
        bench.run(&Op::Seen { person, channel: u8::try_from(person).unwrap() });
    }
    bench.run(&Op::Change(Change::Merge { survivor: 0, absorbed: 1 }));
    let late = bench.request(1, 1);
    bench.world.change(&Change::Split { of: 0, apart: 1 << 1, parts: false });
    let decided = bench.give(&late);
    let [Event::Queued { item, .. }] = &decided[..] else { panic!("{decided:?}") };
    assert_eq!((item.customer, item.address.user.as_str()), (bench.world.own[1], "U1"));
}

#[test]
fn after_a_split_nobody_is_told_what_was_meant_for_the_other() {
    let mut bench = Bench::new();
    bench.run(&Op::Seen { person: 0, channel: 0 });
    bench.run(&Op::Change(Change::Merge { survivor: 0, absorbed: 1 }));
    bench.run(&Op::Seen { person: 1, channel: 0 });
    bench.world.change(&Change::Split { of: 0, apart: 1 << 1, parts: true });
    for person in [0, 1] {
        let request = bench.request(person, 0);
        let decided = bench.give(&request);
        let [Event::Queued { item, .. }] = &decided[..] else { panic!("{decided:?}") };
        assert_eq!(item.address.user, format!("U{person}"));
    }
}

#[test]
fn what_waits_for_who_is_erased_is_not_sent_and_a_late_request_names_nobody() {
    let mut bench = Bench::new();
    bench.run(&Op::Seen { person: 0, channel: 0 });
    bench.run(&Op::Send { person: 0, channel: 0 });
    let late = bench.request(0, 0);
    let (item, customer) = (bench.items[0].0, bench.world.own[0]);
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
    bench.run(&Op::Seen { person: 1, channel: 0 });
    bench.run(&Op::Send { person: 1, channel: 0 });
    bench.run(&Op::Record { item: 1 });
    let refusal = bench.world.give(&begin).answer.unwrap().unwrap_err();
    assert_eq!(refusal.reason, "NOT_FOUND");
}
