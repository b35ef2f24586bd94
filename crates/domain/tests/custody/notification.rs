use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_domain::configuration::{Configuration, Mode};
use mainstem_domain::custody::{self, Custody};
use mainstem_domain::notification::{
    Class, Consent, Deed, Event, Input, Notification, Outcome, Preferences, Request, State, Told,
    Trait, Words,
};
use mainstem_domain::person::{Address, Answer, Carrier};
use mainstem_domain::routing::MessageRequest;
use mainstem_domain::{At, ChannelId, CustomerId, Decider as _, ItemId, Language, Wakeup};
use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Change, PEOPLE, Service, World, change, line, member, person_of};

pub(super) struct TheNotification;

impl Service for TheNotification {
    type Decider = Notification;
    type Event = Event;
    type State = State;
    const FOLLOWS: bool = true;

    fn custody(state: &State) -> &Custody {
        state.custody()
    }

    fn input(input: custody::Input) -> Input {
        match input {
            custody::Input::Part(part) => Input::Part { consent: consent_on(&part.carriers), part },
            custody::Input::Split(_)
            | custody::Input::Erased { .. }
            | custody::Input::UpstreamMoved { .. }
            | custody::Input::JobDone { .. }
            | custody::Input::Reported(_) => Input::Custody(input),
        }
    }

    fn merged(survivor: CustomerId, absorbed: CustomerId) -> Input {
        Input::Merged { survivor, absorbed }
    }

    fn stands(event: &Event) -> Option<CustomerId> {
        match event {
            Event::AddressLearned { customer, .. }
            | Event::Followed { customer, .. }
            | Event::Engaged { customer }
            | Event::TraitTold { customer, .. }
            | Event::ConsentTold { customer, .. }
            | Event::PreferencesSet { customer, .. }
            | Event::PersonRestated { customer, .. }
            | Event::WishesRestated { customer, .. }
            | Event::Released { customer, .. }
            | Event::Ended { customer, .. }
            | Event::Begun { customer, .. }
            | Event::Settled { customer, .. } => Some(*customer),
            Event::PersonMoved { to, .. } => Some(*to),
            Event::Deferred { deferred, .. } => Some(deferred.request.customer),
            Event::Queued { item, .. } | Event::Handed { item, .. } => Some(item.customer),
            Event::Restated { standing, .. } => Some(standing.customer()),
            Event::RequestVoided { .. } | Event::ItemsVoided { .. } => None,
            Event::Custody(event) => event.owner(),
        }
    }

    fn carrier(_state: &State, event: &Event) -> Option<Carrier> {
        event.carrier()
    }
}

/// What identity-merge says of these identifiers: two people refused by their member number, and one
/// of them allowed it by LINE later.
fn consent_on(carriers: &[Carrier]) -> Option<Consent> {
    let consent = |answer, millis| Consent { answer, told_at: At::from_millis(millis) };
    let said = [
        (member(0), consent(Answer::Refused, 10)),
        (member(1), consent(Answer::Refused, 20)),
        (line(1), consent(Answer::Granted, 30)),
    ];
    let theirs = said.iter().filter(|(identifier, _)| carriers.contains(&Carrier::of(identifier)));
    theirs.map(|(_, consent)| *consent).max_by_key(|consent| (consent.answer, consent.told_at))
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Seen {
        person: usize,
        channel: u8,
        deed: Deed,
    },
    Tell {
        person: usize,
        by_member: bool,
        language: Language,
    },
    Consent {
        person: usize,
        answer: Answer,
    },
    Prefer {
        person: usize,
        marketing: Option<Answer>,
    },
    /// `late`: routing decided it now, and it comes when the custodian begins. `news`: of a case,
    /// which waits for the morning.
    Request {
        person: usize,
        channel: u8,
        news: bool,
        late: bool,
    },
    Send {
        person: usize,
        channel: Option<u8>,
        class: Class,
        keyed: bool,
    },
    Begin {
        item: usize,
    },
    Record {
        item: usize,
        outcome: Outcome,
    },
    Wait {
        hours: u64,
    },
    Change(Change),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let deed = prop::sample::select(vec![
        Deed::Acted,
        Deed::Acted,
        Deed::Followed,
        Deed::Blocked,
        Deed::Nothing,
    ]);
    let answer = || prop::sample::select(vec![Answer::Granted, Answer::Refused]);
    let language = prop::sample::select(Language::ALL.to_vec());
    let class = prop::sample::select(vec![Class::Marketing, Class::Marketing, Class::Service]);
    let outcome = prop::sample::select(vec![
        Outcome::Sent,
        Outcome::Sent,
        Outcome::Expired { reason: "late".into() },
    ]);
    let news = any::<(bool, bool)>();
    let op = prop_oneof![
        8 => (0..PEOPLE, 0..2_u8, deed)
            .prop_map(|(person, channel, deed)| Op::Seen { person, channel, deed }),
        1 => (0..PEOPLE, any::<bool>(), language)
            .prop_map(|(person, by_member, language)| Op::Tell { person, by_member, language }),
        1 => (0..PEOPLE, answer()).prop_map(|(person, answer)| Op::Consent { person, answer }),
        1 => (0..PEOPLE, prop::option::of(answer()))
            .prop_map(|(person, marketing)| Op::Prefer { person, marketing }),
        5 => (0..PEOPLE, 0..2_u8, news).prop_map(|(person, channel, (news, late))| {
            Op::Request { person, channel, news, late }
        }),
        6 => (0..PEOPLE, prop::option::of(0..2_u8), class, any::<bool>()).prop_map(
            |(person, channel, class, keyed)| Op::Send { person, channel, class, keyed }
        ),
        2 => (0..9_usize).prop_map(|item| Op::Begin { item }),
        4 => (0..9_usize, outcome).prop_map(|(item, outcome)| Op::Record { item, outcome }),
        3 => prop::sample::select(vec![1, 12, 24, 71, 73]).prop_map(|hours| Op::Wait { hours }),
        6 => change().prop_map(Op::Change),
    ];
    vec(op, 1..60)
}

fn channel(number: u8) -> ChannelId {
    format!("line-{number}").parse().unwrap()
}

pub(super) struct Bench {
    pub(super) world: World<TheNotification>,
    /// Every request that ever was.
    pub(super) items: Vec<ItemId>,
    late: Vec<Input>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let configuration: Configuration =
            serde_json::from_value(serde_json::json!({"templates": {"t": {"house": "hello"}}}))
                .unwrap();
        Self { world: World::new(configuration), items: Vec::new(), late: Vec::new() }
    }

    pub(super) fn give(&mut self, input: &Input) -> Vec<Event> {
        let decided = self.world.give(input).events;
        for event in &decided {
            if let Event::Queued { id, .. } | Event::Deferred { id, .. } | Event::Ended { id, .. } =
                event
                && !self.items.contains(id)
            {
                self.items.push(*id);
            }
        }
        decided
    }

    /// What somebody of the staff says, or news of a case.
    pub(super) fn request(&mut self, person: usize, number: u8, news: bool) -> Input {
        Input::Requested {
            id: format!("request {}", self.world.number()),
            request: MessageRequest {
                customer: self.world.customer(person),
                channel: channel(number),
                brand: None,
                templates: vec!["t".to_owned()],
                text: (!news).then(|| "hello".to_owned()),
                case: None,
                reply: None,
                mode: Mode::Live,
                carrier: Some(Carrier::of(&member(person))),
                staff: None,
                rule: None,
            },
        }
    }

    fn send(&mut self, person: usize, number: Option<u8>, class: Class, keyed: bool) -> Input {
        let request = Request {
            customer: self.world.customer(person),
            carrier: None,
            class,
            channel: number.map(channel),
            elsewhere: false,
            mode: Mode::Live,
            brand: None,
            words: Words { templates: vec!["t".to_owned()], ..Words::default() },
            reply: None,
            collapse_key: keyed.then(|| "spring".to_owned()),
            deadline: Some(self.world.at.after(Duration::from_hours(20 * 24))),
            digest: true,
            asked_at: At::default(),
        };
        Input::Send { id: format!("send {}", self.world.number()), request: Box::new(request) }
    }

    pub(super) fn run(&mut self, op: &Op) {
        let item = |bench: &Self, item: usize| {
            bench.items.get(item).copied().unwrap_or(ItemId::derive("none"))
        };
        let occurred_at = self.world.at;
        match op {
            Op::Seen { person, channel: number, deed } => {
                self.give(&Input::Seen {
                    customer: self.world.customer(*person),
                    address: Some(Address {
                        channel: channel(*number),
                        user: format!("U{person}").into(),
                    }),
                    carrier: Some(Carrier::of(&line(*person))),
                    deed: *deed,
                    occurred_at,
                });
            }
            Op::Tell { person, by_member, language } => {
                let carrier =
                    Carrier::of(&if *by_member { member(*person) } else { line(*person) });
                let what = Trait::Language(*language);
                let told = vec![Told { carrier, what, verified: *by_member, told_at: occurred_at }];
                self.give(&Input::Told { customer: self.world.customer(*person), told });
            }
            Op::Consent { person, answer } => {
                let consent = Consent { answer: *answer, told_at: occurred_at };
                self.give(&Input::Consented { customer: self.world.customer(*person), consent });
            }
            Op::Prefer { person, marketing } => {
                let customer = self.world.customer(*person);
                let preferences = Preferences { marketing: *marketing, ..Preferences::default() };
                self.give(&Input::SetPreferences { customer, preferences });
            }
            Op::Request { person, channel, news, late } => {
                let request = self.request(*person, *channel, *news);
                if *late {
                    self.late.push(request);
                } else {
                    self.give(&request);
                }
            }
            Op::Send { person, channel, class, keyed } => {
                let send = self.send(*person, *channel, *class, *keyed);
                self.give(&send);
            }
            Op::Begin { item: number } => {
                let item = item(self, *number);
                self.give(&Input::Begin { item, attempt: "a".to_owned() });
            }
            Op::Record { item: number, outcome } => {
                let item = item(self, *number);
                self.give(&Input::Record { item, outcome: outcome.clone() });
            }
            Op::Wait { hours } => {
                self.world.at = self.world.at.after(Duration::from_hours(*hours));
                self.wake();
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

    pub(super) fn custodian(&mut self) {
        for request in std::mem::take(&mut self.late) {
            self.give(&request);
        }
        self.world.custodian();
    }

    fn wake(&mut self) {
        while Notification::due(&self.world.state).is_some_and(|due| due <= self.world.at) {
            let decided = self.give(&Input::Wakeup(Wakeup::Due));
            assert!(!decided.is_empty(), "goes round for ever");
        }
    }

    pub(super) fn check(&self) -> Result<(), TestCaseError> {
        self.world.check()?;
        let state = &self.world.state;
        let mut known = 0;
        for id in &self.items {
            let Some(delivery) = state.delivery(*id) else { continue };
            known += 1;
            let customer = delivery.standing.customer();
            if let Some(carrier) = delivery.standing.carrier() {
                let ids = self.world.ids(person_of(carrier));
                prop_assert!(ids.contains(&customer), "{} is another's", id);
            }
            let listed = state.deliveries_of(customer);
            prop_assert!(listed.iter().any(|it| it.id == *id), "{} is not listed", id);
        }
        let customers: BTreeSet<_> = (0..PEOPLE).map(|it| self.world.customer(it)).collect();
        let listed = customers.iter().map(|customer| state.deliveries_of(*customer).len());
        prop_assert_eq!(listed.sum::<usize>(), known, "each is somebody's once");
        for person in 0..PEOPLE {
            let Some(known) = state.person(self.world.customer(person)) else { continue };
            for place in known.places() {
                let of = person_of(place.carrier.unwrap());
                prop_assert!(self.world.ids(of).contains(&self.world.customer(person)));
                prop_assert_eq!(&place.user, &format!("U{of}"));
            }
        }
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
