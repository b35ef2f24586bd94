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
//! When a customer is split, cases and purchases follow the identifier that carried the event that
//! they came from ([`Carrier`]); an open case keeps its place and its clock, a taken one its holder.
//! Of a customer who is erased every unfinished case is cancelled, without a word to the customer,
//! and everything is forgotten: see [`custody`](mod@crate::custody).
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
use crate::custody::{self, ERASED, ERASER, RESTATED_AT_MOST};
use crate::person::{Address, Carrier, ChannelEvent, ReplyRight};
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
    /// A customer is taken apart or forgotten.
    Custody(custody::Input),
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
    /// A case belongs to a piece of the customer that it belonged to. Everything else is as it was.
    CaseRestated {
        /// The case.
        id: CaseId,
        /// All of it.
        case: Case,
    },
    /// Whose records are whose.
    Custody(custody::Event),
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
    /// What it hangs on: the event that it answers, or its case; none, when nobody knows.
    pub carrier: Option<Carrier>,
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
            // An id that nothing may be written under any more.
            Input::Channel { customer, .. } if state.custody.is_erased(*customer) => {
                Decision::silent()
            }
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
            Input::Custody(input) => Decision::events(take_custody(state, input, at)),
            Input::Wakeup(Wakeup::Due | Wakeup::Configured) => Decision::silent(),
        }
    }

    fn evolve(state: &mut State, event: &Event, at: At) {
        match event {
            Event::Opened { id, case } | Event::CaseRestated { id, case } => {
                state.put(*id, case.clone());
            }
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
            Event::Custody(event) => {
                match event {
                    custody::Event::Divided(part) => {
                        state.forget_purchases(part.before, &part.carriers);
                        // The record of a merge goes when its survivor is erased: then what was
                        // moved by it stands where it was.
                        state.forget_purchases(part.customer, &part.carriers);
                        for alias in &part.aliases {
                            state.forget_all_purchases(*alias);
                        }
                    }
                    custody::Event::CustomersForgotten { customers, .. } => {
                        for customer in customers {
                            state.forget(*customer);
                        }
                    }
                    custody::Event::SplitBegun(_)
                    | custody::Event::UpstreamMoved { .. }
                    | custody::Event::RecordsMoved { .. }
                    | custody::Event::ErasureDone { .. }
                    | custody::Event::ErasureReported { .. } => {}
                }
                state.custody.evolve(event, false, at);
            }
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
            carrier: case.carrier,
        })
    });
    [event].into_iter().chain(told).collect()
}

/// A customer is taken apart or forgotten.
fn take_custody(state: &State, input: &custody::Input, at: At) -> Vec<Event> {
    let decided = state.custody.decide(input).into_iter().map(Event::Custody);
    match input {
        custody::Input::Part(part) => decided.chain(restated(state, part)).collect(),
        custody::Input::Erased { customers, .. } => {
            let cases = customers.iter().flat_map(|customer| state.cases_of(*customer));
            let cancelled = cases.filter_map(|view| {
                let ends = view.cancel(ERASER, true, ERASED, at).ok().flatten();
                let CaseView { id, case } = view;
                ends.map(|_| Event::Cancelled {
                    id,
                    customer: case.customer,
                    queue: case.queue,
                    priority: case.priority,
                    by: ERASER.to_owned(),
                    reason: ERASED.to_owned(),
                })
            });
            cancelled.take(RESTATED_AT_MOST).chain(decided).collect()
        }
        custody::Input::Split(_)
        | custody::Input::UpstreamMoved { .. }
        | custody::Input::JobDone { .. }
        | custody::Input::Reported(_) => decided.collect(),
    }
}

/// What hangs on the carriers of a part, said again of its piece: also of the one that keeps the
/// id, as some of its records may stand under another id that took part.
fn restated(state: &State, part: &custody::Part) -> Vec<Event> {
    let theirs = |carrier: Option<Carrier>| carrier.is_some_and(|one| part.carriers.contains(&one));
    let purchases = state.purchases_of(part.before).filter(|purchase| theirs(purchase.carrier));
    let purchases = purchases.map(|purchase| Event::PurchaseNoted {
        customer: part.customer,
        purchase: purchase.clone(),
    });
    let involved = state.custody.involved(part);
    let cases = involved.into_iter().flat_map(|customer| state.cases_of(customer));
    let cases = cases.filter(|view| theirs(view.case.carrier)).map(|CaseView { id, case }| {
        Event::CaseRestated { id, case: Case { customer: part.customer, ..case } }
    });
    purchases.chain(cases).take(RESTATED_AT_MOST).collect()
}

impl State {
    /// What an event hangs on, by itself or by its case.
    #[must_use]
    pub fn carrier_of(&self, event: &Event) -> Option<Carrier> {
        let of_case = |id: CaseId| self.case(id).and_then(|view| view.case.carrier);
        match event {
            Event::Opened { case, .. }
            | Event::Queued { case, .. }
            | Event::CaseRestated { case, .. } => case.carrier,
            Event::Accepted { id, .. }
            | Event::Started { id, .. }
            | Event::Resolved { id, .. }
            | Event::Cancelled { id, .. } => of_case(*id),
            Event::PurchaseNoted { purchase, .. } => purchase.carrier,
            Event::MessageRequested(request) => {
                request.carrier.or_else(|| request.case.and_then(of_case))
            }
            Event::Moved { .. } | Event::Custody(_) => None,
        }
    }
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
