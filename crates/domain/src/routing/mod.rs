//! routing: what a person wants, and who does it.
//!
//! | a case that is | `AcceptCase` | `StartCase` | `ResolveCase` | `CancelCase` | `RequeueCase` |
//! |---|---|---|---|---|---|
//! | open | accepted | refused | refused | cancelled | on its queue again, 2 min after the last time |
//! | accepted | no change | in progress | resolved | cancelled | refused |
//! | in progress | no change | no change | resolved | cancelled | refused |
//! | resolved | refused | refused | no change | refused | refused |
//! | cancelled | refused | refused | refused | no change | refused |
//!
//! An accepted case and one in progress are their holder's: anybody else is refused and told who
//! has it, except that an operator may cancel it. A refusal says what is allowed. `ClaimNext`
//! accepts the next open case of a queue: the most urgent one, of these the oldest.
//!
//! The brand of a case, and the voice of an answer, come from the menu, the store or the last
//! purchase, in that order.
//!
//! Invariants: a case is on exactly one queue; while a case with the same customer, brand and
//! rule is neither resolved nor cancelled, no second one opens; a case is held by at most one
//! worker; nothing looks through all cases.

mod case;
mod route;
mod state;

pub use case::{Case, CaseView, REASON_AT_MOST, REQUEUE_AFTER, Stage};
pub use state::{Purchase, State};

use crate::configuration::{CASE_CANCELLED, CASE_RESOLVED, Configuration, Mode, Priority};
use crate::person::{Address, ChannelEvent, ReplyRight};
use crate::{
    At, BrandId, CaseId, ChannelId, CustomerId, Decider, Decision, QueueId, Refusal, Wakeup,
};

/// The rules.
#[derive(Debug)]
pub struct Routing;

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
    /// A worker takes the case that a queue serves next.
    Claim {
        /// The queue.
        queue: QueueId,
        /// The worker.
        by: String,
    },
    /// A worker begins with it.
    Start {
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
    /// Nobody will do it.
    Cancel {
        /// The case.
        case: CaseId,
        /// Who says so.
        by: String,
        /// Whether that counts against its holder.
        overrules: bool,
        /// Why.
        reason: String,
    },
    /// It is not on its queue, and should be.
    Requeue {
        /// The case.
        case: CaseId,
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
        /// All of it. [`Case::queued_times`] tells whether it is there again.
        case: Case,
    },
    /// Somebody took it.
    Accepted {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it leaves.
        queue: QueueId,
        /// With which priority it was there.
        priority: Priority,
        /// Who.
        by: String,
    },
    /// Its holder works on it.
    Started {
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
    /// It is given up.
    Cancelled {
        /// The case.
        id: CaseId,
        /// Whose it is.
        customer: CustomerId,
        /// The queue that it leaves, or left.
        queue: QueueId,
        /// With which priority it was there.
        priority: Priority,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// What is known of a customer belongs to another one now: cases and the last purchase.
    Moved {
        /// The customer that was absorbed.
        from: CustomerId,
        /// The survivor.
        to: CustomerId,
    },
    /// The customer bought of another brand than before.
    PurchaseNoted {
        /// The customer.
        customer: CustomerId,
        /// What is to be remembered of it.
        purchase: Purchase,
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

impl Decider for Routing {
    type State = State;
    type Input = Input;
    type Event = Event;
    /// The case as it is now; `None` when a claim finds nothing to take.
    type Answer = Option<CaseView>;

    fn decide(
        state: &State,
        configuration: &Configuration,
        input: &Input,
        at: At,
    ) -> Decision<Event, Option<CaseView>> {
        match input {
            Input::Channel { customer, event, address } => {
                let reachable = address.is_some();
                let events = route::route(state, configuration, *customer, event, reachable, at);
                Decision::events(events)
            }
            Input::Merged { survivor, absorbed } => {
                let moved = Event::Moved { from: *absorbed, to: *survivor };
                Decision::events(state.knows(*absorbed).then_some(moved).into_iter().collect())
            }
            Input::Accept { case, by } => {
                act(state, configuration, *case, |view| view.accept(by, at))
            }
            Input::Claim { queue, by } => match state.next_on(queue) {
                Some(next) => act(state, configuration, next.id, |view| view.accept(by, at)),
                None if configuration.queues.contains_key(queue) => {
                    Decision::answered(Vec::new(), None)
                }
                None => Decision::refused(Refusal::not_found("queue", queue.as_str())),
            },
            Input::Start { case, by } => {
                act(state, configuration, *case, |view| view.start(by, at))
            }
            Input::Resolve { case, by } => {
                act(state, configuration, *case, |view| view.resolve(by, at))
            }
            Input::Cancel { case, by, overrules, reason } => {
                act(state, configuration, *case, |view| view.cancel(by, *overrules, reason, at))
            }
            Input::Requeue { case } => requeue(state, *case, at).unwrap_or_else(Decision::refused),
            Input::Wakeup(Wakeup::Due | Wakeup::Configured) => Decision::silent(),
        }
    }

    fn evolve(state: &mut State, event: &Event, at: At) {
        match event {
            Event::Opened { id, case } => state.put(*id, case.clone()),
            Event::Queued { id, case: queued } => state.change(*id, |case| {
                case.queued_at = queued.queued_at;
                case.queued_times = queued.queued_times;
            }),
            Event::Accepted { id, by, .. } => {
                state.change(*id, |case| case.stage = Stage::Accepted { by: by.clone(), at });
            }
            Event::Started { id, by, .. } => {
                state.change(*id, |case| case.stage = Stage::InProgress { by: by.clone(), at });
            }
            Event::Resolved { id, by, .. } => {
                state.change(*id, |case| case.stage = Stage::Resolved { by: by.clone(), at });
            }
            Event::Cancelled { id, by, reason, .. } => state.change(*id, |case| {
                let (by, reason) = (by.clone(), reason.clone());
                case.stage = Stage::Cancelled { by, at, reason };
            }),
            Event::Moved { from, to } => state.move_all(*from, *to),
            Event::PurchaseNoted { customer, purchase } => {
                state.note_purchase(*customer, purchase.clone());
            }
            Event::MessageRequested(_) => {}
        }
    }

    fn due(_state: &State) -> Option<At> {
        None
    }
}

/// One transition of one case, and what has to be told about it.
fn act(
    state: &State,
    configuration: &Configuration,
    id: CaseId,
    transition: impl FnOnce(&CaseView) -> Result<Option<Stage>, Refusal>,
) -> Decision<Event, Option<CaseView>> {
    let moved = state.known(id).and_then(|view| Ok((transition(&view)?, view)));
    match moved {
        Err(refusal) => Decision::refused(refusal),
        Ok((None, view)) => Decision::answered(Vec::new(), Some(view)),
        Ok((Some(next), CaseView { case, .. })) => {
            let changed = Case { stage: next, ..case };
            let events = events(configuration, id, &changed);
            Decision::answered(events, Some(CaseView { id, case: changed }))
        }
    }
}

/// How a case came to its new stage, as the ledger tells it.
fn events(configuration: &Configuration, id: CaseId, case: &Case) -> Vec<Event> {
    let (customer, queue, priority) = (case.customer, case.queue.clone(), case.priority);
    let (event, told) = match case.stage.clone() {
        // Nothing leads back to it.
        Stage::Open => return Vec::new(),
        Stage::Accepted { by, .. } => (Event::Accepted { id, customer, queue, priority, by }, None),
        Stage::InProgress { by, .. } => (Event::Started { id, customer, by }, None),
        Stage::Resolved { by, .. } => (Event::Resolved { id, customer, by }, Some(CASE_RESOLVED)),
        Stage::Cancelled { by, reason, .. } => {
            let told = configuration.templates.contains_key(CASE_CANCELLED);
            let event = Event::Cancelled { id, customer, queue, priority, by, reason };
            (event, told.then_some(CASE_CANCELLED))
        }
    };
    let told = told.map(|template| {
        Event::MessageRequested(MessageRequest {
            customer,
            channel: case.channel.clone(),
            brand: case.brand.clone(),
            templates: vec![template.to_owned()],
            case: Some(id),
            reply: None,
            mode: configuration.mode(&case.channel),
        })
    });
    [event].into_iter().chain(told).collect()
}

fn requeue(
    state: &State,
    id: CaseId,
    at: At,
) -> Result<Decision<Event, Option<CaseView>>, Refusal> {
    let case = state.known(id)?.queue_again(at)?;
    let events = vec![Event::Queued { id, case: case.clone() }];
    Ok(Decision::answered(events, Some(CaseView { id, case })))
}
