//! Codes, bindings and hand-overs. What merges, splits and erasures do to bindings is looked at, beside
//! a naive model, in the tests of custody.

#![expect(clippy::unwrap_used, reason = "a test may stop")]
#![expect(clippy::wildcard_enum_match_arm, reason = "what else can happen is not this test's")]

mod codes;
mod hand_over;
mod issue;

use std::time::Duration;

use mainstem_domain::access::{Caller, Role, Scope};
use mainstem_domain::configuration::{Configuration, Handle, Mode};
use mainstem_domain::identifier::Identifier;
use mainstem_domain::person::{Act, Address, ChannelEvent, Sighting};
use mainstem_domain::routing::{
    Answer, Claims, Event, Input, MessageRequest, NewCode, Nonce, Opened, Presented, Routing, State,
};
use mainstem_domain::{At, BrandId, CustomerId, Decider, Decision, StaffId, Wakeup};

type Decided = Decision<Event, Answer>;

fn configuration() -> Configuration {
    let configuration: Configuration = serde_json::from_value(serde_json::json!({
        "brands": {"aurora": {"name": "Aurora"}, "borea": {"name": "Borea"}},
        "stores": {"taipei-1": {"name": "Taipei 1"}, "taipei-2": {"name": "Taipei 2"}},
        "channels": {
            "line-1": {"store": "taipei-1", "basic_id": "@taipei1"},
            "line-2": {"store": "taipei-2", "mode": "retired", "basic_id": "@taipei2"},
            "line-entry": {"basic_id": "@entry"},
        },
        "entry": {"channel": "line-entry", "link": "https://lin.ee/x"},
        "desks": {"aurora": {"name": "Aurora", "brands": ["aurora"]}, "central": {"name": "All"}},
        "staff": {
            "lin": {"name": "Lin", "store": "taipei-1"},
            "chen": {"name": "Chen", "store": "taipei-1", "brands": ["aurora"]},
            "wu": {"name": "Wu", "store": "taipei-2"},
            "ho": {"name": "Ho", "desk": "aurora"},
            "su": {"name": "Su", "desk": "central"},
        },
        "queues": {"repair": {"name": "Repair"}},
        "rules": [
            {"name": "broken", "when": "event.text.contains('broken')", "open": {"queue": "repair"}, "reply": "opened"},
            {"name": "all", "when": "true", "reply": "hello"},
        ],
        "templates": {
            "hello": {"house": "hello"},
            "opened": {"house": "{case}"},
            "moved": {"house": "{link}"},
            "case-resolved": {"house": "done"},
            "binding-done": {"house": "{staff}", "brands": {"aurora": "Aurora: {staff}"}},
            "binding-expired": {"house": "too late"},
            "binding-forged": {"house": "no"},
            "binding-revoked": {"house": "not any more"},
            "binding-handed-over": {"house": "now {staff}"},
        },
    }))
    .unwrap();
    assert_eq!(configuration.lint(), []);
    configuration
}

/// Everything goes one minute after the other, so that each moment is a full one.
struct World {
    configuration: Configuration,
    state: State,
    ledger: Vec<(Event, At)>,
    at: At,
    events: usize,
}

impl World {
    fn new() -> Self {
        Self {
            configuration: configuration(),
            state: State::default(),
            ledger: Vec::new(),
            at: At::from_millis(1_800_000_000_000),
            events: 0,
        }
    }

    fn give(&mut self, input: &Input) -> Decided {
        let decision = Routing::decide(&self.state, &self.configuration, input, self.at);
        for event in &decision.events {
            Routing::evolve(&mut self.state, event, self.at);
            self.ledger.push((event.clone(), self.at));
        }
        decision
    }

    fn pass(&mut self, seconds: u64) {
        self.at = self.at.after(Duration::from_secs(seconds));
    }

    /// Everything that is due; the events of each wakeup.
    fn wake(&mut self) -> Vec<Vec<Event>> {
        let mut woken = Vec::new();
        while Routing::due(&self.state).is_some_and(|due| due <= self.at) {
            woken.push(self.give(&Input::Wakeup(Wakeup::Due)).events);
            assert!(woken.len() < 100, "it is due for ever");
        }
        woken
    }

    /// Lin's by default.
    fn wish(staff: &str) -> NewCode {
        NewCode {
            staff: staff.parse().unwrap(),
            store: None,
            brand: None,
            valid_for: Duration::from_mins(10),
            caller: everything(),
            request: "r-1".to_owned(),
        }
    }

    fn issue(&mut self, wish: NewCode) -> Claims {
        let decided = self.give(&Input::IssueCode(Box::new(wish)));
        let Some(Ok(Answer::Code(answer))) = decided.answer else { panic!("{decided:?}") };
        answer.claims
    }

    fn code(&mut self, staff: &str, of: Option<&str>) -> Claims {
        self.issue(NewCode { brand: of.map(brand), ..Self::wish(staff) })
    }

    fn event(&mut self, person: u32) -> ChannelEvent {
        self.events += 1;
        let identifier = Identifier::Member(format!("m{person}").into());
        ChannelEvent {
            id: format!("e{}", self.events).parse().unwrap(),
            channel: "line-1".parse().unwrap(),
            mode: Mode::Live,
            store: None,
            brand: None,
            act: Act::Text("MS-…".to_owned()),
            sightings: vec![Sighting { identifier, verified: true }],
            occurred_at: self.at,
            received_at: self.at,
            reply_token: Some("token".to_owned()),
            attributes: Vec::new(),
            consents: Vec::new(),
            message: None,
        }
    }

    fn present(
        &mut self,
        person: u32,
        opened: Opened,
        alone: bool,
        event: ChannelEvent,
    ) -> Decided {
        let address = Address { channel: event.channel.clone(), user: "U1".into() };
        self.give(&Input::Channel {
            customer: customer(person),
            event: Box::new(event),
            address: Some(address),
            code: Some(Presented { opened, alone }),
        })
    }

    /// A person sends a code, and nothing else.
    fn scan(&mut self, person: u32, claims: Claims) -> Decided {
        let event = self.event(person);
        self.present(person, Opened::Code(claims), true, event)
    }

    fn bound(&self, person: u32, of: Option<&str>) -> Option<String> {
        let brand = of.map(brand);
        let staff = self.state.bound_staff(customer(person), brand.as_ref());
        staff.map(|staff| staff.to_string())
    }

    /// The ledger folds to the state, and a snapshot gives it back.
    fn check(&self) {
        let mut folded = State::default();
        for (event, at) in &self.ledger {
            Routing::evolve(&mut folded, event, *at);
        }
        assert!(folded == self.state);
        let snapshot = postcard::to_allocvec(&self.state).unwrap();
        assert!(postcard::from_bytes::<State>(&snapshot).unwrap() == self.state);
    }
}

fn everything() -> Caller {
    let scope = Scope { all: true, ..Scope::default() };
    Caller { name: "operator/1".to_owned(), role: Role::Operator, scope }
}

fn customer(person: u32) -> CustomerId {
    CustomerId::derive(&person.to_string())
}

fn staff(id: &str) -> StaffId {
    id.parse().unwrap()
}

fn brand(id: &str) -> BrandId {
    id.parse().unwrap()
}

fn told(events: &[Event]) -> Vec<&MessageRequest> {
    let requests = events.iter().filter_map(|event| match event {
        Event::MessageRequested(request) => Some(request),
        _ => None,
    });
    requests.collect()
}

fn templates(decided: &Decided) -> Vec<&str> {
    let requests = told(&decided.events);
    requests.iter().flat_map(|request| &request.templates).map(String::as_str).collect()
}

fn bindings(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Bound { .. })).count()
}

/// What nobody issued, and a seal of ours would be on it.
fn claims(staff: &str, expires_at: At) -> Claims {
    Claims {
        nonce: Nonce::from_bytes([1, 2, 3, 4, 5]),
        staff: Handle::of(staff),
        store: None,
        brand: None,
        expires_minute: u32::try_from(expires_at.as_millis() / 60_000).unwrap(),
    }
}
