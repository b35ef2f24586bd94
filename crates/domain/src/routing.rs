//! routing: what a person wants, and who does it.
//!
//! | state of a case | `AcceptCase` | `ResolveCase` |
//! |---|---|---|
//! | open | accepted by the caller | refused: accept first |
//! | accepted | the same worker: no change; another: refused, told who has it | by its holder: resolved |
//! | resolved | refused | no change |
//!
//! Invariants: a case is on exactly one queue; while a case with the same customer, brand and
//! rule is not resolved, no second one opens; a case is held by at most one worker.

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::configuration::{CASE_RESOLVED, Configuration, MOVED, Mode, Priority};
use crate::person::{Address, ChannelEvent, ReplyRight};
use crate::{
    At, BrandId, CaseId, ChannelId, CustomerId, Decider, Decision, EventId, QueueId, Refusal,
    RefusalCode, StoreId, Wakeup,
};

/// The rules.
#[derive(Debug)]
pub struct Routing;

/// What routing remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    cases: OrdMap<CaseId, Case>,
    unresolved: OrdMap<(CustomerId, Option<BrandId>, String), OrdSet<CaseId>>,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Whose it is.
    pub customer: CustomerId,
    /// The channel it was opened on; news about it goes there.
    pub channel: ChannelId,
    /// The brand it is about.
    pub brand: Option<BrandId>,
    /// The store it was opened in.
    pub store: Option<StoreId>,
    /// The queue it is on.
    pub queue: QueueId,
    /// How urgent it is.
    pub priority: Priority,
    /// The rule that opened it.
    pub rule: String,
    /// The event that opened it.
    pub opened_by: EventId,
    /// When.
    pub opened_at: At,
    /// Where it stands.
    pub stage: Stage,
}

/// Where a case stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// On the queue, for anybody to take.
    Open,
    /// Somebody has it.
    Accepted {
        /// Who: the caller that accepted it.
        by: String,
        /// Since when.
        at: At,
    },
    /// Done.
    Resolved {
        /// By whom.
        by: String,
        /// When.
        at: At,
    },
}

/// What can happen to routing.
#[derive(Clone, Debug)]
pub enum Input {
    /// A customer did something.
    Channel {
        /// Who.
        customer: CustomerId,
        /// What.
        event: Box<ChannelEvent>,
        /// Where the person can be answered, if anywhere.
        address: Option<Address>,
    },
    /// Two customers are one.
    Merged {
        /// Keeps its id.
        survivor: CustomerId,
        /// An alias from now on.
        absorbed: CustomerId,
    },
    /// A worker takes a case.
    Accept {
        /// The case.
        case: CaseId,
        /// The worker.
        by: String,
    },
    /// A worker has done it.
    Resolve {
        /// The case.
        case: CaseId,
        /// The worker.
        by: String,
    },
    /// The engine's own.
    Wakeup(Wakeup),
}

impl From<Wakeup> for Input {
    fn from(wakeup: Wakeup) -> Self {
        Self::Wakeup(wakeup)
    }
}

/// What routing decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A case is open, and on its queue.
    Opened {
        /// The new case.
        id: CaseId,
        /// All of it.
        case: Case,
    },
    /// The work item for the back office; the broker copies it to the queue.
    Queued {
        /// The case.
        id: CaseId,
        /// All of it.
        case: Case,
    },
    /// Somebody took it.
    Accepted {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// Who.
        by: String,
    },
    /// It is done.
    Resolved {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// Who.
        by: String,
    },
    /// A customer's cases belong to another one now.
    Moved {
        /// The customer that was absorbed.
        from: CustomerId,
        /// The survivor.
        to: CustomerId,
    },
    /// The customer is to be told something.
    MessageRequested(MessageRequest),
}

/// What a customer is to be told, and how it may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRequest {
    /// The customer.
    pub customer: CustomerId,
    /// Where.
    pub channel: ChannelId,
    /// In whose voice.
    pub brand: Option<BrandId>,
    /// What: names of templates, one message each, in this order.
    pub templates: Vec<String>,
    /// The case it is about, if any.
    pub case: Option<CaseId>,
    /// The right to answer for free, when this answers an event that gave one.
    pub reply: Option<ReplyRight>,
    /// How the channel was run when the event that this answers came in; for news that answer
    /// nothing, how it is run now.
    pub mode: Mode,
}

/// A case with its id, as commands are answered and reads are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseView {
    /// The id.
    pub id: CaseId,
    /// The rest.
    pub case: Case,
}

impl State {
    /// A case by its id.
    #[must_use]
    pub fn case(&self, id: CaseId) -> Option<CaseView> {
        self.cases.get(&id).map(|case| CaseView { id, case: case.clone() })
    }

    /// Cases in the order of their ids, from the one after `after` on.
    pub fn cases_after(&self, after: Option<CaseId>) -> impl Iterator<Item = (&CaseId, &Case)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.cases.range((after.map_or(Unbounded, Excluded), Unbounded))
    }

    fn known(&self, id: CaseId) -> Result<&Case, Refusal> {
        self.cases.get(&id).ok_or_else(|| Refusal::not_found("case", id.as_str()))
    }
}

impl Decider for Routing {
    type State = State;
    type Input = Input;
    type Event = Event;
    type Answer = CaseView;

    fn decide(
        state: &State,
        configuration: &Configuration,
        input: &Input,
        at: At,
    ) -> Decision<Event, CaseView> {
        match input {
            Input::Channel { customer, event, address } => {
                let reachable = address.is_some();
                Decision::events(route(state, configuration, *customer, event, reachable, at))
            }
            Input::Merged { survivor, absorbed } => {
                let holds = state.cases.values().any(|case| case.customer == *absorbed);
                let moved = Event::Moved { from: *absorbed, to: *survivor };
                Decision::events(holds.then_some(moved).into_iter().collect())
            }
            Input::Accept { case, by } => {
                accept(state, *case, by, at).unwrap_or_else(Decision::refused)
            }
            Input::Resolve { case, by } => {
                resolve(state, configuration, *case, by, at).unwrap_or_else(Decision::refused)
            }
            Input::Wakeup(Wakeup::Due | Wakeup::Configured) => Decision::silent(),
        }
    }

    fn evolve(state: &mut State, event: &Event, at: At) {
        match event {
            Event::Opened { id, case } => {
                state.unresolved.entry(key(case)).or_default().insert(*id);
                state.cases.insert(*id, case.clone());
            }
            Event::Accepted { id, by, .. } => {
                if let Some(case) = state.cases.get_mut(id) {
                    case.stage = Stage::Accepted { by: by.clone(), at };
                }
            }
            Event::Resolved { id, by, .. } => {
                if let Some(case) = state.cases.get_mut(id) {
                    case.stage = Stage::Resolved { by: by.clone(), at };
                    let key = key(case);
                    if let Some(open) = state.unresolved.get_mut(&key) {
                        open.remove(id);
                        if open.is_empty() {
                            state.unresolved.remove(&key);
                        }
                    }
                }
            }
            Event::Moved { from, to } => {
                let moved: Vec<_> = state
                    .cases
                    .iter()
                    .filter(|(_, case)| case.customer == *from)
                    .map(|(id, case)| (*id, case.clone()))
                    .collect();
                for (id, mut case) in moved {
                    let open = state.unresolved.remove(&key(&case)).unwrap_or_default();
                    case.customer = *to;
                    if !open.is_empty() {
                        let kept = state.unresolved.entry(key(&case)).or_default();
                        kept.extend(open);
                    }
                    state.cases.insert(id, case);
                }
            }
            Event::Queued { .. } | Event::MessageRequested(_) => {}
        }
    }

    fn due(_state: &State) -> Option<At> {
        None
    }
}

/// Two requests with the same key are about the same case while it is not resolved.
fn key(case: &Case) -> (CustomerId, Option<BrandId>, String) {
    (case.customer, case.brand.clone(), case.rule.clone())
}

fn route(
    state: &State,
    configuration: &Configuration,
    customer: CustomerId,
    event: &ChannelEvent,
    reachable: bool,
    at: At,
) -> Vec<Event> {
    let rule = configuration.rule_for(event);
    let mut events = Vec::new();
    let mut about = None;
    if let Some((rule, open)) = rule.and_then(|rule| Some((rule, rule.open.as_ref()?))) {
        let case = Case {
            customer,
            channel: event.channel.clone(),
            brand: event.brand.clone(),
            store: event.store.clone(),
            queue: open.queue.clone(),
            priority: open.priority,
            rule: rule.name.clone(),
            opened_by: event.id.clone(),
            opened_at: at,
            stage: Stage::Open,
        };
        about = state.unresolved.get(&key(&case)).and_then(OrdSet::get_min).copied();
        if about.is_none() {
            let mut origin = format!("{}/{}", event.channel, event.id);
            let mut id = CaseId::derive(&origin);
            while state.cases.contains_key(&id) {
                origin.push('+');
                id = CaseId::derive(&origin);
            }
            about = Some(id);
            events.push(Event::Opened { id, case: case.clone() });
            events.push(Event::Queued { id, case });
        }
    }
    let reply =
        event.reply_token.clone().map(|token| ReplyRight { token, received_at: event.received_at });
    let mut templates: Vec<_> = rule.and_then(|rule| rule.reply.clone()).into_iter().collect();
    // Shown by reply alone: a push that only says where else to go would be a disturbance.
    if event.mode == Mode::Retired && reply.is_some() {
        templates.push(MOVED.to_owned());
    }
    if reachable && !templates.is_empty() {
        events.push(Event::MessageRequested(MessageRequest {
            customer,
            channel: event.channel.clone(),
            brand: event.brand.clone(),
            templates,
            case: about,
            reply,
            mode: event.mode,
        }));
    }
    events
}

fn refuse(reason: &str, message: String) -> Refusal {
    Refusal::new(RefusalCode::FailedPrecondition, reason, message)
}

fn accept(
    state: &State,
    id: CaseId,
    by: &str,
    at: At,
) -> Result<Decision<Event, CaseView>, Refusal> {
    let case = state.known(id)?;
    match &case.stage {
        Stage::Open => {
            let accepted =
                Case { stage: Stage::Accepted { by: by.to_owned(), at }, ..case.clone() };
            let event = Event::Accepted { id, customer: case.customer, by: by.to_owned() };
            Ok(Decision::answered(vec![event], CaseView { id, case: accepted }))
        }
        Stage::Accepted { by: holder, .. } if holder == by => {
            Ok(Decision::answered(Vec::new(), CaseView { id, case: case.clone() }))
        }
        Stage::Accepted { by: holder, at } => Err(refuse(
            "CASE_TAKEN",
            format!("{holder} has case {id} since {at}; take another one"),
        )
        .with("holder", holder)
        .with("since", at)),
        Stage::Resolved { .. } => {
            Err(refuse("CASE_RESOLVED", format!("case {id} is resolved; take another one")))
        }
    }
}

fn resolve(
    state: &State,
    configuration: &Configuration,
    id: CaseId,
    by: &str,
    at: At,
) -> Result<Decision<Event, CaseView>, Refusal> {
    let case = state.known(id)?;
    match &case.stage {
        Stage::Open => {
            Err(refuse("CASE_NOT_ACCEPTED", format!("nobody has case {id}; accept it first")))
        }
        Stage::Accepted { by: holder, .. } if holder == by => {
            let resolved =
                Case { stage: Stage::Resolved { by: by.to_owned(), at }, ..case.clone() };
            let events = vec![
                Event::Resolved { id, customer: case.customer, by: by.to_owned() },
                Event::MessageRequested(MessageRequest {
                    customer: case.customer,
                    channel: case.channel.clone(),
                    brand: case.brand.clone(),
                    templates: vec![CASE_RESOLVED.to_owned()],
                    case: Some(id),
                    reply: None,
                    mode: configuration.mode(&case.channel),
                }),
            ];
            Ok(Decision::answered(events, CaseView { id, case: resolved }))
        }
        Stage::Accepted { by: holder, at } => Err(refuse(
            "CASE_TAKEN",
            format!("{holder} has case {id} since {at}; only its holder resolves it"),
        )
        .with("holder", holder)
        .with("since", at)),
        Stage::Resolved { .. } => {
            Ok(Decision::answered(Vec::new(), CaseView { id, case: case.clone() }))
        }
    }
}
