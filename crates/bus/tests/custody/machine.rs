//! Small deciders: one keeps notes of customers, splits, hides and erases them; two read the first.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use bytes::Bytes;
use mainstem_bus::custody::{Chore, Counts, Keeper, Message};
use mainstem_bus::record::header;
use mainstem_bus::topology::{self, channel_subject, customer_of, identity_subject};
use mainstem_bus::{
    Call, Draft, Machine, Method, Record, Stored, Unreadable, Upstream, read_request, sha256_hex,
};
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::configuration::Configuration;
use mainstem_domain::{At, ChannelId, CustomerId, Decider, Decision, Refusal, Wakeup};
use serde::{Deserialize, Serialize};

#[derive(Debug)]
pub(crate) struct Notes;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Whose each note is.
    pub(crate) notes: BTreeMap<String, CustomerId>,
    /// Of whom notes that begin with `b` went to whom.
    splits: BTreeMap<CustomerId, CustomerId>,
    open: BTreeMap<String, Job>,
    pub(crate) done: BTreeMap<String, Counts>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Job {
    Split(CustomerId),
    Hide(Vec<CustomerId>, String),
    Erase(Vec<CustomerId>),
}

pub(crate) enum Input {
    Note(Vec<(CustomerId, String)>),
    Split(CustomerId, CustomerId),
    Hide(Vec<CustomerId>, String),
    Erase(Vec<CustomerId>),
    Done(String, Counts),
    Nothing,
}

impl From<Wakeup> for Input {
    fn from(_: Wakeup) -> Self {
        Self::Nothing
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    Noted(CustomerId, String),
    Split(CustomerId, CustomerId),
    /// What is left of a note that was hidden.
    Blank(CustomerId, String),
    Unsent(Vec<CustomerId>, String),
    Erased(Vec<CustomerId>),
    Done(String, Counts),
}

impl Decider for Notes {
    type State = State;
    type Input = Input;
    type Event = Event;
    type Answer = Vec<CustomerId>;

    fn decide(
        state: &State,
        _: &Configuration,
        input: &Input,
        _: At,
    ) -> Decision<Event, Self::Answer> {
        match input {
            Input::Note(notes) => Decision::events(
                notes.iter().map(|(who, text)| Event::Noted(*who, text.clone())).collect(),
            ),
            Input::Hide(all, text) => {
                Decision::answered(vec![Event::Unsent(all.clone(), text.clone())], Vec::new())
            }
            Input::Split(who, other) => {
                Decision::answered(vec![Event::Split(*who, *other)], vec![*who, *other])
            }
            Input::Erase(all) => Decision::answered(vec![Event::Erased(all.clone())], Vec::new()),
            Input::Done(job, counts) if state.open.contains_key(job) => {
                Decision::events(vec![Event::Done(job.clone(), counts.clone())])
            }
            Input::Done(..) | Input::Nothing => Decision::silent(),
        }
    }

    fn evolve(state: &mut State, event: &Event, _: At) {
        match event {
            Event::Noted(who, text) => {
                state.notes.insert(name_of(text), *who);
            }
            // A note stands there by its hash, if it must not be found in the state.
            Event::Blank(who, text) => {
                state.notes.insert(text.clone(), *who);
            }
            Event::Unsent(all, text) => {
                let job = Job::Hide(all.clone(), text.clone());
                state.open.insert(format!("hide-{}", &text[..8]), job);
            }
            Event::Split(who, other) => {
                state.splits.insert(*who, *other);
                state.open.insert(format!("split-{who}"), Job::Split(*who));
                state.notes.retain(|text, owner| *owner != *who || !text.starts_with('x'));
                for (text, owner) in &mut state.notes {
                    if owner == who && text.starts_with('b') {
                        *owner = *other;
                    }
                }
            }
            Event::Erased(all) => {
                state.notes.retain(|_, owner| !all.contains(owner));
                state.open.insert(format!("erase-{}", all[0]), Job::Erase(all.clone()));
            }
            Event::Done(job, counts) => {
                state.open.remove(job);
                state.done.insert(job.clone(), counts.clone());
            }
        }
    }

    fn due(_: &State) -> Option<At> {
        None
    }
}

/// What stands for a note that can be taken back, which has an `m`.
pub(crate) fn name_of(text: &str) -> String {
    if text.contains('m') { sha256_hex(text.as_bytes()) } else { text.to_owned() }
}

fn text_of(message: &Stored) -> Option<String> {
    match serde_json::from_slice(&message.record.body) {
        Ok(Event::Noted(_, text)) => Some(text),
        _ => None,
    }
}

fn line_1() -> ChannelId {
    "line-1".parse().unwrap()
}

impl Machine for Notes {
    type Decider = Self;
    const SERVICE: &'static str = "identity-merge";
    const LEDGER: &'static str = "CUSTOMER";
    const UPSTREAMS: &'static [Upstream] = &[Upstream { stream: "INBOUND", ledger: false }];
    const SNAPSHOT_VERSION: u32 = 1;
    const METHODS: &'static [Method] = &[
        Method { name: "Split", endpoint: "split", roles: &[Role::Operator] },
        Method { name: "Hide", endpoint: "hide", roles: &[Role::Operator] },
        Method { name: "Erase", endpoint: "erase", roles: &[Role::Operator] },
        Method { name: "Look", endpoint: "look", roles: &[Role::Operator] },
    ];

    fn input(_: &str, message: &Stored) -> Result<Option<Input>, Unreadable> {
        serde_json::from_slice(&message.record.body)
            .map(|notes: Vec<_>| (!notes.is_empty()).then_some(Input::Note(notes)))
            .map_err(|error| Unreadable(error.to_string()))
    }

    fn encode(event: &Event, _: Option<&Stored>) -> Draft {
        let (subject, kind, headers) = match event {
            Event::Noted(who, _) => (
                channel_subject(Some(*who), &line_1()),
                "note.v1",
                vec![(header::CUSTOMER, who.to_string())],
            ),
            Event::Split(who, _) => {
                (identity_subject(*who), "split.v1", vec![(header::CUSTOMER, who.to_string())])
            }
            Event::Blank(..) => unreachable!("only a copy is blank"),
            Event::Unsent(all, _) => match all.first() {
                Some(who) => {
                    (identity_subject(*who), "unsent.v1", vec![(header::CUSTOMER, who.to_string())])
                }
                None => (channel_subject(None, &line_1()), "unsent.v1", Vec::new()),
            },
            Event::Erased(_) => {
                (topology::ledger_subject(Self::SERVICE, "erased"), "erased.v1", Vec::new())
            }
            Event::Done(..) => {
                (topology::ledger_subject(Self::SERVICE, "erased"), "done.v1", Vec::new())
            }
        };
        let body = serde_json::to_vec(event).unwrap().into();
        Draft { subject, kind: Cow::Borrowed(kind), body, headers }
    }

    fn decode(message: &Stored) -> Result<Event, Unreadable> {
        serde_json::from_slice(&message.record.body).map_err(|e| Unreadable(e.to_string()))
    }

    fn answer(answer: &Vec<CustomerId>) -> String {
        serde_json::to_string(&serde_json::json!({ "customers": answer })).unwrap()
    }

    fn call(
        state: &State,
        method: &str,
        _: &Caller,
        _: &str,
        body: &[u8],
    ) -> Result<Call<Input>, Refusal> {
        #[derive(Deserialize)]
        struct Request {
            #[serde(default)]
            customers: Vec<CustomerId>,
            #[serde(default)]
            text: String,
        }
        let Request { customers, text } = read_request(body)?;
        Ok(match method {
            "Split" => Call::Command(Input::Split(customers[0], customers[1])),
            "Hide" => Call::Command(Input::Hide(customers, name_of(&text))),
            "Erase" => Call::Command(Input::Erase(customers)),
            _ => Call::Read(serde_json::to_string(state).unwrap()),
        })
    }

    fn chores(state: &State) -> Vec<Chore> {
        let chore = |(name, job): (&String, &Job)| match job {
            Job::Split(who) => Chore::Move { job: name.clone(), customers: vec![*who] },
            Job::Hide(all, text) => Chore::Hide {
                job: name.clone(),
                customers: all.clone(),
                message: Message { channel: line_1(), id: text.clone() },
            },
            Job::Erase(all) => Chore::Erase { job: name.clone(), customers: all.clone() },
        };
        state.open.iter().map(chore).collect()
    }

    fn keeper_of(state: &State, message: &Stored) -> Keeper {
        let owner = customer_of(&message.record.subject);
        let other = owner.and_then(|owner| state.splits.get(&owner));
        match (text_of(message), other) {
            (Some(text), Some(other)) if text.starts_with('b') => {
                Keeper::Belongs(*other, channel_subject(Some(*other), &line_1()))
            }
            (Some(text), Some(_)) if text.starts_with('x') => Keeper::Deleted,
            _ => Keeper::Stays,
        }
    }

    fn without(message: &Message, record: &Record) -> Option<Bytes> {
        // On INBOUND there are several notes in one message.
        if let Ok(notes) = serde_json::from_slice::<Vec<(CustomerId, String)>>(&record.body) {
            let held = notes.iter().any(|(_, text)| name_of(text) == message.id);
            return held.then(Bytes::new);
        }
        let Ok(Event::Noted(who, text)) = serde_json::from_slice(&record.body) else { return None };
        let blank = || serde_json::to_vec(&Event::Blank(who, message.id.clone())).unwrap();
        (name_of(&text) == message.id).then(|| blank().into())
    }

    fn stands_alone(event: &Event, _: Option<&Stored>) -> bool {
        matches!(event, Event::Noted(_, text) if text.contains('m'))
    }

    fn moved(message: &Stored) -> Result<Option<Event>, Unreadable> {
        let owner = customer_of(&message.record.subject);
        if let Ok(Event::Blank(_, name)) = Self::decode(message) {
            return Ok(owner.map(|owner| Event::Blank(owner, name)));
        }
        Ok(owner.zip(text_of(message)).map(|(owner, text)| Event::Noted(owner, text)))
    }

    fn chore_done(job: &str, counts: Counts) -> Option<Input> {
        Some(Input::Done(job.to_owned(), counts))
    }
}

/// Hears of every note of [`Notes`], and must hear of none twice. Keeps no text.
#[derive(Debug)]
pub(crate) struct Hearing<P>(PhantomData<P>);

/// The first and the second of those who read CUSTOMER.
pub(crate) type Reader = Hearing<Routing>;
pub(crate) type Second = Hearing<Notification>;

#[derive(Debug)]
pub(crate) struct Routing;
#[derive(Debug)]
pub(crate) struct Notification;

/// Where somebody hears.
pub(crate) trait Place: std::fmt::Debug + Send + Sync + 'static {
    const SERVICE: &'static str;
    const LEDGER: &'static str;
    const SUBJECT: &'static str;
}

impl Place for Routing {
    const SERVICE: &'static str = "routing";
    const LEDGER: &'static str = "ROUTING";
    const SUBJECT: &'static str = "staff.one";
}

impl Place for Notification {
    const SERVICE: &'static str = "notification";
    const LEDGER: &'static str = "NOTIFICATION";
    const SUBJECT: &'static str = "batch.one.send";
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heard(pub(crate) BTreeSet<String>, pub(crate) u64);

pub(crate) struct News(Option<String>);

impl From<Wakeup> for News {
    fn from(_: Wakeup) -> Self {
        Self(None)
    }
}

impl<P: Place> Decider for Hearing<P> {
    type State = Heard;
    type Input = News;
    type Event = String;
    type Answer = Heard;

    fn decide(
        state: &Heard,
        _: &Configuration,
        News(news): &News,
        _: At,
    ) -> Decision<String, Heard> {
        match news {
            Some(text) => Decision::events(vec![text.clone()]),
            None => Decision::answered(Vec::new(), state.clone()),
        }
    }

    fn evolve(state: &mut Heard, event: &String, _: At) {
        state.0.insert(event.clone());
        state.1 += 1;
    }

    fn due(_: &Heard) -> Option<At> {
        None
    }
}

impl<P: Place> Machine for Hearing<P> {
    type Decider = Self;
    const SERVICE: &'static str = P::SERVICE;
    const LEDGER: &'static str = P::LEDGER;
    const UPSTREAMS: &'static [Upstream] = &[Upstream { stream: "CUSTOMER", ledger: true }];
    const SNAPSHOT_VERSION: u32 = 1;
    const METHODS: &'static [Method] =
        &[Method { name: "Heard", endpoint: "heard", roles: &[Role::Operator] }];

    fn input(_: &str, message: &Stored) -> Result<Option<News>, Unreadable> {
        Ok(text_of(message).map(|text| News(Some(sha256_hex(text.as_bytes())))))
    }

    fn encode(event: &String, _: Option<&Stored>) -> Draft {
        Draft {
            subject: P::SUBJECT.to_owned(),
            kind: Cow::Borrowed("heard.v1"),
            body: serde_json::to_vec(event).unwrap().into(),
            headers: Vec::new(),
        }
    }

    fn decode(message: &Stored) -> Result<String, Unreadable> {
        serde_json::from_slice(&message.record.body).map_err(|e| Unreadable(e.to_string()))
    }

    fn answer(heard: &Heard) -> String {
        serde_json::to_string(heard).unwrap()
    }

    fn call(state: &Heard, _: &str, _: &Caller, _: &str, _: &[u8]) -> Result<Call<News>, Refusal> {
        Ok(Call::Read(Self::answer(state)))
    }
}
