//! A decider with a deadline: what is due is an input like any other.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

use std::borrow::Cow;

use mainstem_bus::engine::{Ack, Append, Engine, Folded, Offered, Settings};
use mainstem_bus::record::header;
use mainstem_bus::{Call, Draft, Headers, Machine, Method, Record, Stored, Unreadable, Upstream};
use mainstem_domain::access::Caller;
use mainstem_domain::configuration::Configuration;
use mainstem_domain::{At, Decider, Decision, Refusal, Wakeup};
use serde::{Deserialize, Serialize};

const HOUR: i64 = 3_600_000;

/// An alarm clock: whatever comes in sets it to an hour later, and it rings once.
#[derive(Debug)]
struct Alarm;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    rings_at: Option<At>,
    rung: u32,
}

enum Input {
    Set,
    Wakeup(Wakeup),
}

impl From<Wakeup> for Input {
    fn from(wakeup: Wakeup) -> Self {
        Self::Wakeup(wakeup)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Set(At),
    Rung,
}

impl Decider for Alarm {
    type State = State;
    type Input = Input;
    type Event = Event;
    type Answer = ();

    fn decide(state: &State, _: &Configuration, input: &Input, at: At) -> Decision<Event, ()> {
        Decision::events(match input {
            Input::Set => vec![Event::Set(At::from_millis(at.as_millis() + HOUR))],
            Input::Wakeup(Wakeup::Due) if state.rings_at.is_some_and(|due| due <= at) => {
                vec![Event::Rung]
            }
            Input::Wakeup(Wakeup::Due | Wakeup::Configured) => Vec::new(),
        })
    }

    fn evolve(state: &mut State, event: &Event, _: At) {
        match event {
            Event::Set(at) => state.rings_at = Some(*at),
            Event::Rung => (state.rings_at, state.rung) = (None, state.rung + 1),
        }
    }

    fn due(state: &State) -> Option<At> {
        state.rings_at
    }
}

impl Machine for Alarm {
    type Decider = Self;
    const SERVICE: &'static str = "alarm";
    const LEDGER: &'static str = "ALARM";
    const UPSTREAMS: &'static [Upstream] = &[Upstream { stream: "INBOUND", ledger: false }];
    const SNAPSHOT_VERSION: u32 = 1;
    const METHODS: &'static [Method] = &[];

    fn input(_: &str, _: &Stored) -> Result<Option<Input>, Unreadable> {
        Ok(Some(Input::Set))
    }

    fn encode(event: &Event, _: Option<&Stored>) -> Draft {
        Draft {
            subject: "alarm".to_owned(),
            kind: Cow::Borrowed("alarm.v1"),
            body: serde_json::to_vec(event).unwrap().into(),
            headers: Vec::new(),
        }
    }

    fn decode(message: &Stored) -> Result<Event, Unreadable> {
        serde_json::from_slice(&message.record.body).map_err(|e| Unreadable(e.to_string()))
    }

    fn answer((): &()) -> String {
        String::new()
    }

    fn call(
        _: &State,
        method: &str,
        _: &Caller,
        _: &str,
        _: &[u8],
    ) -> Result<Call<Input>, Refusal> {
        Err(Refusal::not_found("method", method))
    }
}

fn at(millis: i64) -> At {
    At::from_millis(millis)
}

/// Stores everything that the engine wants stored.
fn store(engine: &mut Engine<Alarm>, ledger: &mut Vec<Record>) {
    while let Some(append) = engine.next_append() {
        match append {
            Append::One { expect, record } => {
                assert_eq!(expect, ledger.len() as u64);
                ledger.push(record);
            }
            Append::Batch { expect, records } => {
                assert_eq!(expect, ledger.len() as u64);
                ledger.extend(records);
            }
        }
        let sequence = ledger.len() as u64;
        engine.acknowledge(&Ack::Stored { sequence, duplicate: false }).unwrap();
    }
}

fn writer(ledger: &mut Vec<Record>, now: At) -> Engine<Alarm> {
    let mut engine = Engine::new(Settings::default());
    for (index, record) in ledger.iter().enumerate() {
        let sequence = index as u64 + 1;
        let message = Stored { sequence, stored_at: 0, record: record.clone() };
        assert_eq!(engine.fold(&message), Ok(Folded::Taken));
    }
    engine.fence(now);
    store(&mut engine, ledger);
    engine
}

fn inbound(sequence: u64) -> Stored {
    let record = Record { subject: String::new(), headers: Headers::default(), body: "".into() };
    Stored { sequence, stored_at: 0, record }
}

fn rung(ledger: &[Record]) -> Vec<&Record> {
    ledger.iter().filter(|record| record.body == r#""Rung""#).collect()
}

#[test]
fn a_deadline_is_decided_once_when_it_has_come() {
    let mut ledger = Vec::new();
    let mut engine = writer(&mut ledger, at(0));
    assert!(!engine.due(at(i64::MAX)), "nothing is due");
    assert_eq!(engine.offer("INBOUND", &inbound(1), at(10)), Offered::Taken);
    store(&mut engine, &mut ledger);
    assert_eq!(engine.next_due(), Some(at(10 + HOUR)));
    assert!(!engine.due(at(9 + HOUR)), "not yet");
    assert!(engine.due(at(10 + HOUR)));
    store(&mut engine, &mut ledger);
    assert!(!engine.due(at(i64::MAX)), "once");

    let [record] = rung(&ledger)[..] else { panic!("{ledger:?}") };
    assert_eq!(record.header(header::CAUSE), Some("due"));
    assert_eq!(record.header(header::RECORDED_TIME), Some(at(10 + HOUR).to_string().as_str()));
    assert!(record.header(header::POSITIONS).unwrap().starts_with("INBOUND=1@"));
}

#[test]
fn a_deadline_that_no_crash_stored_is_decided_by_the_next_writer_and_a_stored_one_is_not() {
    let mut ledger = Vec::new();
    let mut engine = writer(&mut ledger, at(0));
    engine.offer("INBOUND", &inbound(1), at(10));
    store(&mut engine, &mut ledger);
    // Decided, and lost before it was stored.
    assert!(engine.due(at(2 * HOUR)));
    drop(engine);

    // Its clock is behind; time does not go back behind what was decided.
    let mut engine = writer(&mut ledger, at(5));
    assert!(!engine.due(at(9 + HOUR)));
    assert!(engine.due(at(3 * HOUR)));
    store(&mut engine, &mut ledger);
    drop(engine);

    let mut engine = writer(&mut ledger, at(4 * HOUR));
    assert!(!engine.due(at(i64::MAX)));
    assert_eq!((rung(&ledger).len(), engine.state().rung), (1, 1));
}
