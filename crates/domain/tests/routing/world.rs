//! What can happen, and a decider beside the naive model that both live through it.

use std::time::Duration;

use mainstem_domain::configuration::{Configuration, Mode, Priority};
use mainstem_domain::person::{Act, Address, Business, ChannelEvent};
use mainstem_domain::routing::{Answer, Details, Event, Input, NewCase, Routing, State};
use mainstem_domain::{At, BrandId, CaseId, CustomerId, Decider, Decision, Wakeup};
use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Expected, Model};

pub(crate) type Decided = Decision<Event, Answer>;

/// Serial numbers as they are written, and which are the same one.
pub(crate) const SERIALS: [(&str, Option<&str>); 8] = [
    ("sn-001 a", Some("one")),
    ("ＳＮ００１Ａ", Some("one")),
    ("SN/001.a", Some("one")),
    ("sn-002", Some("two")),
    ("N/A", None),
    ("0000-00", None),
    (" - ", None),
    ("", None),
];

/// Products as they are written, and which are the same one.
pub(crate) const PRODUCTS: [(&str, &str); 4] =
    [("Watch", "watch"), ("ｗａｔｃｈ ", "watch"), ("ring", "ring"), ("", "")];

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Menus 0, 1 and 4 open a case, 2 only answers, 3 matches no rule; of 5 a condition fails,
    /// and another rule answers in a store of a brand; 6 only marks, and there is nothing to mark.
    Tap {
        customer: usize,
        menu: usize,
        /// In the data of the tap.
        said: Option<&'static str>,
        /// The store's.
        brand: Option<&'static str>,
        reachable: bool,
        token: bool,
        mode: Mode,
    },
    Buy {
        customer: usize,
        brand: Option<&'static str>,
        kind: Business,
        minutes_ago: i64,
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
    Claim {
        queue: &'static str,
        by: u8,
    },
    Start {
        case: usize,
        by: u8,
    },
    WaitCase {
        case: usize,
        by: u8,
    },
    Resolve {
        case: usize,
        by: u8,
    },
    Close {
        case: usize,
        by: u8,
    },
    Reopen {
        case: usize,
        by: u8,
    },
    Transfer {
        case: usize,
        to: &'static str,
        by: u8,
        overrules: bool,
    },
    Prioritise {
        case: usize,
        priority: Priority,
    },
    /// At a counter.
    Open {
        customer: usize,
        /// By the id that the customer once had.
        alias: bool,
        brand: Option<&'static str>,
        queue: &'static str,
        serial: &'static str,
        product: &'static str,
    },
    Cancel {
        case: usize,
        by: u8,
        overrules: bool,
    },
    Requeue {
        case: usize,
    },
    Pause {
        queue: &'static str,
    },
    Resume {
        queue: &'static str,
    },
    /// Time goes by. `asleep`: nobody looks at deadlines before the end of it.
    Pass {
        seconds: u64,
        asleep: bool,
    },
}

pub(crate) fn ops(merges: u32) -> impl Strategy<Value = Vec<Op>> {
    let menu = prop::sample::select(vec![0, 0, 0, 0, 1, 1, 2, 3, 4, 4, 5, 6]);
    let mode = prop::sample::select(vec![Mode::Live, Mode::Shadow, Mode::Retired]);
    let said =
        prop::sample::select(vec![None, None, None, Some("borea"), Some("nobody"), Some("?")]);
    let brand = || prop::sample::select(vec![None, Some("aurora")]);
    let bought = prop::sample::select(vec![None, Some("aurora"), Some("borea")]);
    let kind = prop::sample::select(vec![
        Business::OrderPlaced,
        Business::OrderPaid,
        Business::OrderShipped,
        Business::OrderCancelled,
        Business::PageViewed,
    ]);
    let queue = || prop::sample::select(vec!["repair", "repair", "advice", "loose", "nowhere"]);
    let serial = prop::sample::select(SERIALS.map(|(written, _)| written).to_vec());
    let product = prop::sample::select(PRODUCTS.map(|(written, _)| written).to_vec());
    let seconds = prop::sample::select(vec![
        1, 119, 120, 121, 1_799, 1_801, 7_200, 20_000, 90_000, 260_000, 1_209_599, 1_209_601,
    ]);
    let (case, by) = (|| 0..6_usize, || 0..2_u8);
    let people = prop_oneof![
        6 => (0..3_usize, menu, said, brand(), any::<bool>(), any::<bool>(), mode).prop_map(
            |(customer, menu, said, brand, reachable, token, mode)| {
                Op::Tap { customer, menu, said, brand, reachable, token, mode }
            }
        ),
        2 => (0..3_usize, bought, kind, -1..4_i64).prop_map(
            |(customer, brand, kind, minutes_ago)| Op::Buy { customer, brand, kind, minutes_ago }
        ),
        merges => (0..3_usize, 0..3_usize)
            .prop_map(|(survivor, absorbed)| Op::Merge { survivor, absorbed }),
        4 => (0..3_usize, any::<bool>(), brand(), queue(), serial, product).prop_map(
            |(customer, alias, brand, queue, serial, product)| {
                Op::Open { customer, alias, brand, queue, serial, product }
            }
        ),
        4 => (seconds, any::<bool>()).prop_map(|(seconds, asleep)| Op::Pass { seconds, asleep }),
    ];
    let workers = prop_oneof![
        4 => (case(), by()).prop_map(|(case, by)| Op::Accept { case, by }),
        2 => (queue(), by()).prop_map(|(queue, by)| Op::Claim { queue, by }),
        2 => (case(), by()).prop_map(|(case, by)| Op::WaitCase { case, by }),
        1 => (case(), by()).prop_map(|(case, by)| Op::Close { case, by }),
        2 => (case(), by()).prop_map(|(case, by)| Op::Reopen { case, by }),
        3 => (case(), queue(), by(), any::<bool>())
            .prop_map(|(case, to, by, overrules)| Op::Transfer { case, to, by, overrules }),
        2 => (case(), prop::sample::select(Priority::ALL.to_vec()))
            .prop_map(|(case, priority)| Op::Prioritise { case, priority }),
        3 => (case(), by()).prop_map(|(case, by)| Op::Start { case, by }),
        3 => (case(), by()).prop_map(|(case, by)| Op::Resolve { case, by }),
        2 => (case(), by(), any::<bool>())
            .prop_map(|(case, by, overrules)| Op::Cancel { case, by, overrules }),
        2 => case().prop_map(|case| Op::Requeue { case }),
        1 => queue().prop_map(|queue| Op::Pause { queue }),
        2 => queue().prop_map(|queue| Op::Resume { queue }),
    ];
    let op = prop_oneof![people, workers];
    vec(op, 1..50)
}

pub(crate) fn configuration() -> Configuration {
    serde_json::from_value(serde_json::json!({
        "brands": {"aurora": {"name": "Aurora"}, "borea": {"name": "Borea"}},
        "channels": {"line-1": {}},
        "queues": {
            "repair": {"name": "Repair"}, "advice": {"name": "Advice"}, "loose": {"name": "Loose"},
        },
        "calendars": {
            "workshop": {
                "week": {"mon": ["09:00-12:00", "13:00-18:00"], "tue": ["09:00-18:00"], "fri": ["09:00-18:00"]},
                "holidays": {"2026-11-27": "a holiday"},
            },
            "always": {
                "week": {
                    "mon": ["00:00-24:00"], "tue": ["00:00-24:00"], "wed": ["00:00-24:00"],
                    "thu": ["00:00-24:00"], "fri": ["00:00-24:00"], "sat": ["00:00-24:00"],
                    "sun": ["00:00-24:00"],
                },
            },
        },
        "units": {
            "workshop": {
                "name": "Workshop", "calendar": "workshop", "queues": ["repair"],
                "due": {"P1": "1h", "P2": "4h", "P3": "8h"},
            },
            "desk": {
                "name": "Desk", "calendar": "always", "queues": ["advice"],
                "due": {"P1": "5m", "P3": "2h", "P4": "30h"},
            },
        },
        "rules": [
            {"name": "r0", "when": "event.menu == 'm0'", "open": {"queue": "repair"}, "reply": "hello"},
            {"name": "r1", "when": "event.menu == 'm1'", "open": {"queue": "repair", "priority": "P1"}},
            {"name": "r2", "when": "event.menu == 'm2'", "reply": "hello"},
            {"name": "fails", "when": "event.menu == 'm5' && 1 / size(event.store) > 0"},
            {"name": "r5", "when": "event.menu == 'm5' && event.brand != ''", "reply": "hello"},
            {"name": "r6", "when": "event.menu == 'm6'", "tags": ["alone"]},
            {"name": "r4", "when": "event.menu == 'm4'", "tags": ["advice", "menu"], "open": {"queue": "advice", "priority": "P4"}},
        ],
        "templates": {
            "hello": {"house": "hello"},
            "case-opened": {"house": "opened"},
            "case-waiting": {"house": "waiting"},
            "case-reopened": {"house": "again"},
            "case-resolved": {"house": "done"},
            "case-cancelled": {"house": "not done"},
        },
    }))
    .unwrap()
}

pub(crate) fn brand(name: &str) -> BrandId {
    name.parse().unwrap()
}

pub(crate) fn worker(number: u8) -> String {
    format!("unit/{number}")
}

pub(crate) fn event(id: &str, act: Act, at: At) -> ChannelEvent {
    ChannelEvent {
        id: id.parse().unwrap(),
        channel: "line-1".parse().unwrap(),
        store: None,
        brand: None,
        act,
        sightings: Vec::new(),
        mode: Mode::Live,
        occurred_at: at,
        received_at: at,
        reply_token: None,
        attributes: Vec::new(),
        consents: Vec::new(),
        message: None,
    }
}

pub(crate) struct World {
    pub(crate) configuration: Configuration,
    pub(crate) state: State,
    pub(crate) model: Model,
    pub(crate) ledger: Vec<(Event, At)>,
    pub(crate) at: At,
    pub(crate) events: usize,
    pub(crate) cases: Vec<CaseId>,
    /// The three customers, as identity-merge names them now: after a merge two are the same.
    pub(crate) customers: [CustomerId; 3],
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            configuration: configuration(),
            state: State::default(),
            model: Model::default(),
            ledger: Vec::new(),
            at: At::parse("2026-11-23T08:00:00+08:00").unwrap(),
            events: 0,
            cases: Vec::new(),
            customers: [0, 1, 2].map(|number| CustomerId::derive(&format!("{number}"))),
        }
    }

    pub(crate) fn case_id(&self, pick: usize) -> CaseId {
        self.cases.get(pick).copied().unwrap_or(CaseId::derive("none"))
    }

    pub(crate) fn channel(
        &mut self,
        customer: usize,
        event: ChannelEvent,
        reachable: bool,
    ) -> Input {
        let address = Address { channel: event.channel.clone(), user: "U1".into() };
        let customer = self.customers[customer];
        let address = reachable.then_some(address);
        Input::Channel { customer, event: Box::new(event), address, code: None }
    }

    /// `None` when nothing happens but that time goes by.
    pub(crate) fn input(&mut self, op: &Op) -> Option<Input> {
        self.events += 1;
        let id = format!("e{}", self.events);
        Some(match op {
            Op::Tap { customer, menu, said, brand: store, reachable, token, mode } => {
                let said = said.map(|brand| format!("&brand={brand}")).unwrap_or_default();
                let act = Act::Postback(format!("menu=m{menu}{said}"));
                let event = ChannelEvent {
                    brand: store.map(brand),
                    mode: *mode,
                    reply_token: token.then(|| "token".to_owned()),
                    ..event(&id, act, self.at)
                };
                self.channel(*customer, event, *reachable)
            }
            Op::Buy { customer, brand: of, kind, minutes_ago } => {
                let when = At::from_millis(self.at.as_millis() - minutes_ago * 60_000);
                let event =
                    ChannelEvent { brand: of.map(brand), ..event(&id, Act::Business(*kind), when) };
                self.channel(*customer, event, false)
            }
            Op::Merge { survivor, absorbed } => {
                let (survivor, absorbed) = (self.customers[*survivor], self.customers[*absorbed]);
                if survivor == absorbed {
                    return None;
                }
                for customer in self.customers.iter_mut().filter(|id| **id == absorbed) {
                    *customer = survivor;
                }
                Input::Merged { survivor, absorbed }
            }
            Op::Accept { case, by } => Input::Accept { case: self.case_id(*case), by: worker(*by) },
            Op::Claim { queue, by } => {
                Input::Claim { queue: queue.parse().unwrap(), by: worker(*by) }
            }
            Op::Start { case, by } => Input::Start { case: self.case_id(*case), by: worker(*by) },
            Op::Resolve { case, by } => {
                Input::Resolve { case: self.case_id(*case), by: worker(*by) }
            }
            Op::Cancel { case, by, overrules } => Input::Cancel {
                case: self.case_id(*case),
                by: worker(*by),
                overrules: *overrules,
                reason: "no parts".to_owned(),
            },
            Op::Requeue { case } => {
                Input::Requeue { case: self.case_id(*case), by: "keeper".to_owned() }
            }
            Op::Pause { queue } => Input::Pause {
                queue: queue.parse().unwrap(),
                by: "operator/1".to_owned(),
                reason: format!("reason {}", self.events),
            },
            Op::Resume { queue } => {
                Input::Resume { queue: queue.parse().unwrap(), by: "operator/1".to_owned() }
            }
            Op::WaitCase { case, by } => Input::Wait { case: self.case_id(*case), by: worker(*by) },
            Op::Close { case, by } => Input::Close { case: self.case_id(*case), by: worker(*by) },
            Op::Reopen { case, by } => Input::Reopen { case: self.case_id(*case), by: worker(*by) },
            Op::Transfer { case, to, by, overrules } => Input::Transfer {
                case: self.case_id(*case),
                to: to.parse().unwrap(),
                by: worker(*by),
                overrules: *overrules,
                reason: "not ours".to_owned(),
            },
            Op::Prioritise { case, priority } => Input::Prioritise {
                case: self.case_id(*case),
                priority: *priority,
                by: "store/1".to_owned(),
            },
            Op::Open { customer, alias, brand: of, queue, serial, product } => {
                let once = CustomerId::derive(&customer.to_string());
                Input::Open(Box::new(NewCase {
                    customer: if *alias { once } else { self.customers[*customer] },
                    channel: Some("line-1".parse().unwrap()),
                    brand: of.map(brand),
                    store: None,
                    queue: queue.parse().unwrap(),
                    priority: Priority::P3,
                    details: Details {
                        serial: (*serial).to_owned(),
                        product: (*product).to_owned(),
                        ..Details::default()
                    },
                    by: "store/1".to_owned(),
                }))
            }
            Op::Pass { seconds, asleep } => {
                let until = self.at.after(Duration::from_secs(*seconds));
                while let Some(due) = Routing::due(&self.state).filter(|due| *due <= until) {
                    self.at = if *asleep { until } else { due.max(self.at) };
                    self.give(&Input::Wakeup(Wakeup::Due));
                }
                self.at = until;
                return None;
            }
        })
    }

    /// Runs one operation; `None` for one without an input.
    pub(crate) fn run(&mut self, op: &Op) -> Option<(Input, Decided, Expected)> {
        self.at = At::from_millis(self.at.as_millis() + 1);
        let input = self.input(op)?;
        let (decision, expected) = self.give(&input);
        Some((input, decision, expected))
    }

    pub(crate) fn give(&mut self, input: &Input) -> (Decided, Expected) {
        let decision = Routing::decide(&self.state, &self.configuration, input, self.at);
        let expected = self.model.input(&self.configuration, input, self.at);
        for event in &decision.events {
            if let Event::Opened { id, .. } = event {
                self.cases.push(*id);
            }
            Routing::evolve(&mut self.state, event, self.at);
            self.ledger.push((event.clone(), self.at));
        }
        (decision, expected)
    }
}
