//! What can happen, and a decider beside the naive model that both live through it.

use std::time::Duration;

use mainstem_domain::access::{Caller, Role, Scope};
use mainstem_domain::configuration::{Configuration, Mode, Who};
use mainstem_domain::custody;
use mainstem_domain::person::{Act, Address, ChannelEvent, ReplyRight};
use mainstem_domain::routing::{
    Actor, Answer, Claims, ConversationEvent, ConversationInput, Event, Input, IssuedCode, Nonce,
    Opened, Presented, Routing, State, Talk,
};
use mainstem_domain::{
    At, BrandId, ConversationId, CustomerId, Decider, Decision, ErasureId, StaffId, Wakeup,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::Model;

pub(crate) const STAFF: [&str; 7] = ["a1", "a2", "b1", "c1", "c2", "c3", "nobody"];

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Menus 0 and 1 hand over, 2 only answers, 3 closes; none is a text.
    Say {
        customer: usize,
        menu: Option<u8>,
        brand: Option<&'static str>,
        store: bool,
        token: bool,
    },
    Presence {
        staff: usize,
        available: bool,
        capacity: Option<u32>,
    },
    Accept {
        pick: usize,
        staff: usize,
    },
    /// Whoever is asked says yes, or no.
    Answer {
        pick: usize,
        yes: bool,
    },
    Reject {
        pick: usize,
        staff: usize,
    },
    Assign {
        pick: usize,
        to: usize,
    },
    Transfer {
        pick: usize,
        to: Who,
    },
    /// By its holder.
    TransferOwn {
        pick: usize,
        to: Who,
    },
    Reply {
        pick: usize,
    },
    Close {
        pick: usize,
    },
    Merge {
        survivor: usize,
        absorbed: usize,
    },
    Erase {
        customer: usize,
    },
    /// The directory changes: another one of three is in force.
    Configure {
        which: usize,
    },
    Pass {
        seconds: u64,
    },
    /// Everybody goes away for a month.
    Month,
    /// The customer scans somebody's code.
    Bind {
        customer: usize,
        to: usize,
        brand: &'static str,
    },
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let menu = prop::sample::select(vec![
        None,
        Some(0),
        Some(0),
        Some(0),
        Some(1),
        Some(1),
        Some(2),
        Some(3),
    ]);
    let brand = prop::sample::select(vec![None, Some("aurora"), Some("aurora"), Some("borea")]);
    let capacity = prop::sample::select(vec![None, None, None, Some(1), Some(2), Some(5)]);
    let who = || prop::sample::select(Who::ALL.to_vec());
    let seconds =
        prop::sample::select(vec![1, 59, 60, 61, 120, 180, 299, 300, 601, 3_600, 20_000, 90_000]);
    let (pick, staff) = (|| 0..8_usize, || 0..STAFF.len());
    let op = prop_oneof![
        10 => (0..4_usize, menu, brand, any::<bool>(), any::<bool>()).prop_map(
            |(customer, menu, brand, store, token)| Op::Say { customer, menu, brand, store, token }
        ),
        6 => (staff(), prop::bool::weighted(0.7), capacity)
            .prop_map(|(staff, available, capacity)| Op::Presence { staff, available, capacity }),
        2 => (pick(), staff()).prop_map(|(pick, staff)| Op::Accept { pick, staff }),
        6 => (pick(), any::<bool>()).prop_map(|(pick, yes)| Op::Answer { pick, yes }),
        1 => (pick(), staff()).prop_map(|(pick, staff)| Op::Reject { pick, staff }),
        1 => (pick(), staff()).prop_map(|(pick, to)| Op::Assign { pick, to }),
        1 => (pick(), who()).prop_map(|(pick, to)| Op::Transfer { pick, to }),
        1 => (pick(), who()).prop_map(|(pick, to)| Op::TransferOwn { pick, to }),
        1 => pick().prop_map(|pick| Op::Reply { pick }),
        2 => pick().prop_map(|pick| Op::Close { pick }),
        1 => (0..4_usize, 0..4_usize)
            .prop_map(|(survivor, absorbed)| Op::Merge { survivor, absorbed }),
        1 => (0..4_usize).prop_map(|customer| Op::Erase { customer }),
        1 => (0..3_usize).prop_map(|which| Op::Configure { which }),
        4 => seconds.prop_map(|seconds| Op::Pass { seconds }),
        1 => Just(Op::Month),
        3 => (0..4_usize, 0..6_usize, prop::sample::select(vec!["aurora", "aurora", "borea"]))
            .prop_map(|(customer, to, brand)| Op::Bind { customer, to, brand }),
    ];
    vec(op, 1..60)
}

/// Number 1 has neither a2 nor c2, and more room for c1; number 2 has other shifts.
pub(crate) fn configuration(which: usize) -> Configuration {
    let mut config = serde_json::json!({
        "brands": {"aurora": {"name": "Aurora"}, "borea": {"name": "Borea"}},
        "stores": {"s1": {"name": "One"}},
        "channels": {"line-1": {}},
        "calendars": {
            "day": {"week": {
                "mon": ["09:00-18:00"], "tue": ["09:00-12:00", "13:00-18:00"], "wed": ["00:00-24:00"],
                "thu": ["00:00-24:00"],
            }},
        },
        "desks": {"aurora-desk": {"name": "Aurora", "brands": ["aurora"]}, "central": {"name": "Central"}},
        "staff": {
            "a1": {"name": "A1", "store": "s1", "capacity": 1, "delegate": "c3"},
            "a2": {"name": "A2", "store": "s1", "brands": ["aurora"], "capacity": 2, "shift": "day"},
            "b1": {"name": "B1", "desk": "aurora-desk", "capacity": 1},
            "c1": {"name": "C1", "desk": "central", "capacity": 1, "shift": "day"},
            "c2": {"name": "C2", "desk": "central", "brands": ["borea"], "capacity": 1},
            "c3": {"name": "C3", "desk": "central"},
        },
        "rules": [
            {"name": "r0", "when": "event.menu == 'm0'", "reply": "hello",
             "targets": ["bound_staff 120s", "store_on_shift 180s", "brand_desk 600s", "central_desk"]},
            {"name": "r1", "when": "event.menu == 'm1'", "priority": "P1", "tags": ["urgent"],
             "targets": ["store_on_shift 60s", "central_desk 90s"]},
            {"name": "r2", "when": "event.menu == 'm2'", "reply": "hello", "tags": ["asked"]},
            {"name": "r3", "when": "event.menu == 'm3'", "close": true},
            {"name": "r4", "when": "event.menu == 'm4'", "reply": "hello",
             "open": {"queue": "repair"}, "targets": ["central_desk"]},
        ],
        "queues": {"repair": {"name": "Repair"}},
        "templates": {"hello": {"house": "hello"}},
    });
    if which == 1 {
        let staff = config["staff"].as_object_mut().unwrap();
        staff.remove("a2");
        staff.remove("c2");
        staff["c1"]["capacity"] = 4.into();
    }
    if which == 2 {
        config["staff"]["c1"]["shift"].take();
        config["staff"]["a1"]["shift"] = "day".into();
        config["staff"]["c3"]["capacity"] = 1.into();
    }
    serde_json::from_value(config).unwrap()
}

pub(crate) fn staff(number: usize) -> StaffId {
    STAFF[number].parse().unwrap()
}

pub(crate) struct World {
    pub(crate) configuration: Configuration,
    pub(crate) state: State,
    pub(crate) model: Model,
    pub(crate) ledger: Vec<(Event, At)>,
    /// The same by inputs, each with the configuration that it was decided under.
    pub(crate) steps: Vec<(Input, Vec<Event>, At, Configuration)>,
    pub(crate) at: At,
    pub(crate) events: usize,
    pub(crate) known: Vec<ConversationId>,
    /// As identity-merge names them now: after a merge two are the same.
    pub(crate) customers: [CustomerId; 4],
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            configuration: configuration(0),
            state: State::default(),
            model: Model::default(),
            ledger: Vec::new(),
            steps: Vec::new(),
            // A Monday.
            at: At::parse("2026-11-23T10:00:00+08:00").unwrap(),
            events: 0,
            known: Vec::new(),
            customers: [0, 1, 2, 3].map(|number| CustomerId::derive(&format!("{number}"))),
        }
    }

    fn id(&self, pick: usize) -> ConversationId {
        self.known.get(pick).copied().unwrap_or(ConversationId::derive("none"))
    }

    pub(crate) fn stage(&self, pick: usize) -> Option<Talk> {
        self.state.conversation(self.id(pick)).map(|view| view.conversation.stage)
    }

    pub(crate) fn open(&self) -> Vec<ConversationId> {
        let all = self.state.conversations_after(None);
        all.filter(|(_, one)| !one.stage.is_closed()).map(|(id, _)| *id).collect()
    }

    fn input(&mut self, op: &Op) -> Option<Input> {
        match op {
            Op::Say { customer, menu, brand, store, token } => {
                self.events += 1;
                let act = match menu {
                    Some(menu) => Act::Postback(format!("menu=m{menu}")),
                    None => Act::Text("hello?".to_owned()),
                };
                let event = self.event(act, *brand, *store, *token);
                let address = Address { channel: event.channel.clone(), user: "U1".into() };
                Some(Input::Channel {
                    customer: self.customers[*customer],
                    event: Box::new(event),
                    address: Some(address),
                    code: None,
                })
            }
            Op::Bind { customer, to, brand } => {
                self.events += 1;
                let code = IssuedCode {
                    nonce: Nonce::from_bytes([u8::try_from(self.events % 256).unwrap(); 5]),
                    staff: staff(*to),
                    store: None,
                    brand: Some(brand.parse().unwrap()),
                    expires_at: self.at.after(Duration::from_hours(1)),
                };
                let opened = Opened::Code(Claims::of(&code));
                let text = Act::Text("a code".to_owned());
                let event = self.event(text, None, false, false);
                Some(Input::Channel {
                    customer: self.customers[*customer],
                    event: Box::new(event),
                    address: None,
                    code: Some(Presented { opened, alone: true }),
                })
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
            Op::Erase { customer } => {
                self.events += 1;
                let gone = self.customers[*customer];
                let next = CustomerId::derive(&format!("after {gone} {}", self.events));
                for customer in self.customers.iter_mut().filter(|id| **id == gone) {
                    *customer = next;
                }
                let erasure = ErasureId::derive(&self.events.to_string());
                let customers = vec![gone];
                Some(Input::Custody(custody::Input::Erased { erasure, customers }))
            }
            Op::Configure { which } => {
                self.configuration = configuration(*which);
                Some(Input::Wakeup(Wakeup::Configured))
            }
            wish => self.wish(wish).map(asked_for),
        }
    }

    /// What staff ask for.
    fn wish(&self, op: &Op) -> Option<ConversationInput> {
        let overruling = || Actor { by: "desk".to_owned(), staff: None, overrules: true };
        let asked = |pick| self.stage(pick).and_then(|stage| stage.staff().cloned());
        let own = |pick| Actor { by: "own".to_owned(), staff: asked(pick), overrules: false };
        Some(match op {
            Op::Presence { staff: who, available, capacity } => ConversationInput::Presence {
                staff: staff(*who),
                available: *available,
                capacity: *capacity,
            },
            Op::Accept { pick, staff: who } => {
                ConversationInput::Accept { conversation: self.id(*pick), staff: staff(*who) }
            }
            Op::Reject { pick, staff: who } => {
                ConversationInput::Reject { conversation: self.id(*pick), staff: staff(*who) }
            }
            Op::Answer { pick, yes } => {
                let (conversation, staff) = (self.id(*pick), asked(*pick)?);
                if *yes {
                    ConversationInput::Accept { conversation, staff }
                } else {
                    ConversationInput::Reject { conversation, staff }
                }
            }
            Op::Assign { pick, to } => ConversationInput::Assign {
                conversation: self.id(*pick),
                to: staff(*to),
                actor: overruling(),
                reason: "knows more".to_owned(),
            },
            Op::Transfer { pick, to } => ConversationInput::Transfer {
                conversation: self.id(*pick),
                to: *to,
                actor: overruling(),
            },
            Op::TransferOwn { pick, to } => ConversationInput::Transfer {
                conversation: self.id(*pick),
                to: *to,
                actor: own(*pick),
            },
            Op::Reply { pick } => ConversationInput::Reply {
                conversation: self.id(*pick),
                staff: asked(*pick)?,
                text: "yes".to_owned(),
            },
            Op::Close { pick } => {
                ConversationInput::Close { conversation: self.id(*pick), actor: own(*pick) }
            }
            _ => return None,
        })
    }

    fn event(&self, act: Act, brand: Option<&str>, store: bool, token: bool) -> ChannelEvent {
        ChannelEvent {
            id: format!("e{}", self.events).parse().unwrap(),
            channel: "line-1".parse().unwrap(),
            store: store.then(|| "s1".parse().unwrap()),
            brand: brand.map(|brand| brand.parse().unwrap()),
            act,
            sightings: Vec::new(),
            mode: Mode::Live,
            occurred_at: self.at,
            received_at: self.at,
            reply_token: token.then(|| "token".to_owned()),
            attributes: Vec::new(),
            consents: Vec::new(),
            message: None,
        }
    }

    /// Something that somebody writes.
    pub(crate) fn text(&self) -> ChannelEvent {
        self.event(Act::Text("hello?".to_owned()), None, false, false)
    }

    /// Runs one operation; `None` for one without an input.
    pub(crate) fn run(&mut self, op: &Op) -> Option<Decision<Event, Answer>> {
        self.at = At::from_millis(self.at.as_millis() + 1);
        if matches!(op, Op::Month) {
            for staff in 0..STAFF.len() {
                self.run(&Op::Presence { staff, available: false, capacity: None });
            }
            return self.run(&Op::Pass { seconds: 2_700_000 });
        }
        if let Op::Pass { seconds } = op {
            let until = self.at.after(Duration::from_secs(*seconds));
            while let Some(due) = Routing::due(&self.state).filter(|due| *due <= until) {
                self.at = due.max(self.at);
                self.wake(Wakeup::Due);
            }
            self.at = until;
            return None;
        }
        let input = self.input(op)?;
        let decision = self.give(&input);
        // What is due at once comes before anything else.
        while Routing::due(&self.state).is_some_and(|due| due <= self.at) {
            self.wake(Wakeup::Due);
        }
        Some(decision)
    }

    pub(crate) fn wake(&mut self, wakeup: Wakeup) {
        self.give(&Input::Wakeup(wakeup));
    }

    /// Without the model; how many events it led to.
    pub(crate) fn decide_alone(&mut self, wakeup: Wakeup) -> usize {
        let input = Input::Wakeup(wakeup);
        let decision = Routing::decide(&self.state, &self.configuration, &input, self.at);
        for event in &decision.events {
            Routing::evolve(&mut self.state, event, self.at);
        }
        decision.events.len()
    }

    pub(crate) fn give(&mut self, input: &Input) -> Decision<Event, Answer> {
        let decision = Routing::decide(&self.state, &self.configuration, input, self.at);
        for event in &decision.events {
            if let Event::Conversation(ConversationEvent::Opened { id, again: false, .. }) = event {
                self.known.push(*id);
            }
            Routing::evolve(&mut self.state, event, self.at);
            self.ledger.push((event.clone(), self.at));
        }
        let told = (decision.events.clone(), self.at, self.configuration.clone());
        self.steps.push((input.clone(), told.0, told.1, told.2));
        let id = self.known.last().copied();
        self.model.input(&self.configuration, input, id, self.at);
        decision
    }

    /// Somebody at the central desk has room, and somebody waits that the person could have.
    pub(crate) fn served_too_late(&self) -> Option<(StaffId, ConversationId)> {
        let central = |staff: &StaffId| {
            let member = self.configuration.staff.get(staff);
            member.and_then(|member| member.desk.as_ref()).is_some_and(|d| d.as_str() == "central")
        };
        let free = self.state.staff_after(None).filter(|(staff, standing)| {
            central(staff) && standing.post.is_ready() && standing.spare() > 0
        });
        let waiting = || {
            let all = self.state.conversations_after(None);
            all.filter(|(_, one)| one.stage == Talk::Waiting)
        };
        free.flat_map(|(staff, standing)| {
            waiting().map(move |(id, one)| (staff, standing, id, one))
        })
        .find(|(staff, standing, _, one)| {
            let brands = &standing.post.brands;
            let speaks = |brand: &BrandId| brands.is_empty() || brands.contains(brand);
            speaks_for(one.brand.as_ref(), speaks)
                && !one.passed.iter().any(|(who, _)| who == *staff)
        })
        .map(|(staff, _, id, _)| (staff.clone(), *id))
    }

    pub(crate) fn reply_right(&self, pick: usize) -> Option<ReplyRight> {
        self.state.conversation(self.id(pick)).and_then(|view| view.conversation.reply)
    }
}

pub(crate) fn asked_for(wish: ConversationInput) -> Input {
    let scope = Scope { all: true, ..Scope::default() };
    let caller = Box::new(Caller { name: "desk".to_owned(), role: Role::Desk, scope });
    Input::Conversation { wish, caller }
}

fn speaks_for(brand: Option<&BrandId>, speaks: impl Fn(&BrandId) -> bool) -> bool {
    brand.is_none_or(speaks)
}
