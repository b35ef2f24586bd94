//! What can happen, and the machine beside the model that both live through it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstem_domain::configuration::{Configuration, Mode};
use mainstem_domain::identifier::Identifier;
use mainstem_domain::notification::{
    Answer, Class, Event, Input, Notification, State, Trait, Verdict,
};
use mainstem_domain::person::Carrier;
use mainstem_domain::{At, ChannelId, CustomerId, Decider as _, Decision, ItemId};
use proptest::prelude::*;

use crate::model::{Fates, Model, Place};
use crate::tally::Tally;

pub(crate) const PEOPLE: usize = 4;

/// An account, a shop.
pub(crate) struct Account {
    pub(crate) name: &'static str,
    pub(crate) mode: Mode,
    pub(crate) brand: Option<&'static str>,
    pub(crate) is_line: bool,
}

const fn account(name: &'static str, mode: Mode, brand: Option<&'static str>) -> Account {
    Account { name, mode, brand, is_line: true }
}

pub(crate) const ENTRY: &str = "entry";

pub(crate) const CHANNELS: [Account; 6] = [
    account("aurora", Mode::Live, Some("aurora")),
    account("borea", Mode::Live, Some("borea")),
    account(ENTRY, Mode::Live, None),
    account("old", Mode::Retired, Some("aurora")),
    account("shadow", Mode::Shadow, Some("borea")),
    Account { name: "shop", mode: Mode::Live, brand: Some("aurora"), is_line: false },
];

/// The world begins before clocks are moved in New York, in Berlin, on Lord Howe Island, and before
/// a leap day.
pub(crate) const STARTS: [&str; 5] = [
    "2026-03-06T12:00:00Z",
    "2026-03-28T13:29:00Z",
    "2026-04-03T20:00:00Z",
    "2026-10-24T01:00:00Z",
    "2028-02-27T13:30:00Z",
];

/// Two in a row; and one after a day of work.
const HOLIDAYS: [&str; 6] =
    ["2026-03-09", "2026-03-10", "2026-03-31", "2026-04-06", "2026-10-26", "2028-02-29"];

pub(crate) fn configuration() -> Configuration {
    let channel = |it: &Account| {
        let kind = if it.is_line { "line" } else { "shop" };
        (it.name, serde_json::json!({"mode": it.mode, "brand": it.brand, "kind": kind}))
    };
    let channels: BTreeMap<_, _> = CHANNELS.iter().map(channel).collect();
    let holidays: BTreeMap<_, _> = HOLIDAYS.iter().map(|date| (date, "holiday")).collect();
    serde_json::from_value(serde_json::json!({
        "brands": {"aurora": {"name": "Aurora"}, "borea": {"name": "Borea"}},
        "channels": channels,
        "entry": {"channel": ENTRY, "link": "https://line.me/x"},
        "calendars": {"days": {"week": {}, "holidays": holidays}},
        "notification": {"holidays": "days", "waiting_at_most": 6},
        "templates": {
            "t0": {"house": "house {case}", "brands": {"aurora": "aurora {case}"}},
            "t1": {"house": {"zh-TW": "你好", "en": "hello"}},
        },
    }))
    .unwrap()
}

pub(crate) fn channel(number: usize) -> ChannelId {
    CHANNELS[number].name.parse().unwrap()
}

/// The id that each person began with, and goes back to.
pub(crate) fn own(person: usize) -> CustomerId {
    CustomerId::derive(&person.to_string())
}

pub(crate) fn user(person: usize) -> String {
    format!("U{person}")
}

pub(crate) fn line(person: usize) -> Carrier {
    Carrier::of(&Identifier::Line { provider: "p".into(), user: user(person).into() })
}

pub(crate) fn member(person: usize) -> Carrier {
    Carrier::of(&Identifier::Member(format!("m{person}").into()))
}

pub(crate) struct World {
    pub(crate) configuration: Configuration,
    pub(crate) state: State,
    pub(crate) ledger: Vec<(Event, At)>,
    pub(crate) at: At,
    pub(crate) model: Model,
    pub(crate) tally: Tally,
    numbers: usize,
}

pub(crate) type Checked = Result<(), TestCaseError>;

impl World {
    pub(crate) fn new(start: &str) -> Self {
        let configuration = configuration();
        Self {
            state: State::default(),
            ledger: Vec::new(),
            at: At::parse(start).unwrap(),
            model: Model::new(&configuration),
            tally: Tally::default(),
            numbers: 0,
            configuration,
        }
    }

    pub(crate) fn number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers
    }

    /// The id of the customer that a person is now.
    pub(crate) fn customer(&self, person: usize) -> CustomerId {
        own(self.model.named[person])
    }

    /// All requests that ever were, in the order in which they were asked for.
    pub(crate) fn item(&self, pick: usize) -> ItemId {
        self.model.asks.get(pick).map_or(ItemId::derive("none"), |ask| ask.id)
    }

    pub(crate) fn try_take(
        &mut self,
        input: &Input,
    ) -> Result<Decision<Event, Answer>, TestCaseError> {
        let decision = Notification::decide(&self.state, &self.configuration, input, self.at);
        for event in &decision.events {
            self.tally.count(event)?;
            Notification::evolve(&mut self.state, event, self.at);
            self.ledger.push((event.clone(), self.at));
        }
        Ok(decision)
    }

    /// Gives an input that leads to what the model expects, and to nothing else of requests.
    pub(crate) fn expect(&mut self, input: &Input, expected: &Fates) -> Checked {
        let decision = self.try_take(input)?;
        prop_assert_eq!(&fates(&decision.events), expected, "{:?} at {}", input, self.at);
        self.check_queued(&decision.events)
    }

    /// What must hold of everything that goes out, whatever the model thinks of it.
    pub(crate) fn check_queued(&self, events: &[Event]) -> Checked {
        for (index, event) in events.iter().enumerate() {
            let Event::Queued { id, item } = event else {
                let after = index.checked_sub(1).map(|before| &events[before]);
                let behind_one = matches!(after, Some(Event::Queued { .. }));
                let fits = !matches!(event, Event::Handed { .. }) || behind_one;
                prop_assert!(fits, "told of nothing, or first");
                continue;
            };
            let Some(Event::Handed { id: told, item: rest }) = events.get(index + 1) else {
                return Err(TestCaseError::fail("senders are not told"));
            };
            let way = (id, item.class, &item.way, item.deadline, &item.address.channel);
            prop_assert_eq!(
                way,
                (told, rest.class, &rest.way, rest.deadline, &rest.address.channel)
            );
            prop_assert!(rest.messages.is_empty() && rest.address.user.is_empty());
            let person = (0..PEOPLE).find(|it| user(*it) == item.address.user).unwrap();
            let name = self.model.named[person];
            prop_assert_eq!(item.customer, own(name));
            let there = |it: &&Place| it.channel == item.address.channel;
            let place = self.model.places_of(name).filter(there).find(|it| it.person == person);
            prop_assert!(place.is_some_and(|it| !it.is_blocked()), "on a blocked account");
            prop_assert!((1..=5).contains(&item.messages.len()));
            let quiet = self.model.quiet_until(&self.configuration, name, item.class, self.at);
            prop_assert_eq!(quiet, self.at, "in quiet hours");
            if item.class != Class::Marketing {
                prop_assert!(item.joined.is_empty());
                continue;
            }
            prop_assert!(!self.model.refuses(name));
            let pushes = self.model.pushes_of(name);
            for budget in &self.configuration.notification.marketing {
                let span = budget.within.duration();
                let young = pushes.iter().filter(|push| push.at.after(span) > self.at).count();
                prop_assert!(young <= usize::from(budget.at_most), "{young} within {span:?}");
            }
        }
        Ok(())
    }
}

/// What events say of requests that were not on their way.
pub(crate) fn fates(events: &[Event]) -> Fates {
    let fate = |event: &Event| match event {
        Event::Queued { id, item } => Some((*id, Verdict::Queue(Arc::clone(item)))),
        Event::Deferred { id, deferred } => {
            Some((*id, Verdict::Defer { until: deferred.until, wait: deferred.wait }))
        }
        Event::Ended { id, outcome, .. } => Some((*id, Verdict::End(outcome.clone()))),
        _ => None,
    };
    events.iter().filter_map(fate).collect()
}

pub(crate) fn zone(name: &str) -> Trait {
    Trait::Zone(name.parse().unwrap())
}
