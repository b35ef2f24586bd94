//! Whose cases are whose, after a split or an erasure.

use super::case::{Case, CaseView};
use super::conversation::{Conversation, ConversationEvent};
use super::event::Event;
use super::state::State;
use super::talk;
use crate::configuration::Configuration;
use crate::custody::{self, ERASED, ERASER, RESTATED_AT_MOST};
use crate::person::Carrier;
use crate::{At, BrandId, CaseId, ConversationId, CustomerId, QueueId, StaffId, StoreId};

/// Something that somebody still had to do for a customer who is forgotten. Names no customer, so that
/// it stays when the records of the customer go, and whoever comes later learns it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// A case.
    Case {
        /// Which.
        id: CaseId,
        /// The queue that it was on.
        queue: QueueId,
    },
    /// A conversation.
    Conversation {
        /// Which.
        id: ConversationId,
        /// The store that it began in.
        store: Option<StoreId>,
        /// The brand that it was about.
        brand: Option<BrandId>,
        /// Who had it or was asked; none: it was waiting in line.
        staff: Option<StaffId>,
    },
}

/// Of what is forgotten with a customer so much is told, so that the input stays one atomic batch of the
/// broker with those who are served after it. Told is first what somebody may still show, then what is
/// cancelled, whose records go with the customer's anyhow. Of a customer with more than that, a watch that
/// is open shows the rest until it begins anew, and the queue keeper finds its items.
const TOLD_AT_MOST: usize = 700;

/// A customer is taken apart or forgotten.
pub(super) fn take_custody(
    state: &State,
    configuration: &Configuration,
    input: &custody::Input,
    at: At,
) -> Vec<Event> {
    let decided = state.custody.decide(input).into_iter().map(Event::Custody);
    match input {
        custody::Input::Part(part) => {
            let restated = restated(state, part);
            decided.chain(restated).chain(talk::idle_restated(state)).collect()
        }
        custody::Input::Erased { customers, .. } => {
            let cases = customers.iter().flat_map(|customer| state.cases_of(*customer));
            let unfinished = cases.filter(|view| !view.case.stage.is_finished());
            let cancelled = unfinished.map(|CaseView { id, case }| Event::Cancelled {
                id,
                customer: case.customer,
                timing: case.timing.stopped(configuration, at),
                queue: case.queue,
                priority: case.priority,
                by: ERASER.to_owned(),
                reason: ERASED.to_owned(),
            });
            let withdrawn: Vec<_> = withdrawn(state, customers).take(TOLD_AT_MOST).collect();
            let cancelled = cancelled.take(TOLD_AT_MOST - withdrawn.len());
            let events = cancelled.chain(decided).chain(withdrawn);
            let events: Vec<_> = events.chain(talk::idle_restated(state)).collect();
            talk::with_room(state, configuration, events, at)
        }
        custody::Input::Split(_)
        | custody::Input::UpstreamMoved { .. }
        | custody::Input::JobDone { .. }
        | custody::Input::Reported(_) => decided.collect(),
    }
}

/// Takes in what is decided about records.
pub(super) fn evolve(state: &mut State, event: &custody::Event, at: At) {
    match event {
        custody::Event::Divided(part) => divide(state, part),
        custody::Event::CustomersForgotten { customers, .. } => {
            for customer in customers {
                state.forget(*customer, at);
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

/// What hangs on the carriers of a part is nowhere, until it is said again of its piece.
fn divide(state: &mut State, part: &custody::Part) {
    let piece = part.customer;
    let mut partings = std::mem::take(&mut state.partings);
    for (place, carriers) in partings.places(part, |id| state.current(id)) {
        state.forget_carried(place, &carriers);
    }
    state.partings = partings;
    for alias in part.aliases.iter().filter(|alias| **alias != piece) {
        state.forget_all_purchases(*alias);
        state.bindings.forget(*alias);
    }
    state.divide_aliases(piece, &part.aliases);
}

/// What somebody may still show of customers who are forgotten.
fn withdrawn<'a>(
    state: &'a State,
    customers: &'a [CustomerId],
) -> impl Iterator<Item = Event> + 'a {
    let cases = customers.iter().flat_map(|customer| state.cases_of(*customer));
    let cases = cases
        .filter(|view| !view.case.stage.is_finished())
        .map(|CaseView { id, case }| Withdrawn::Case { id, queue: case.queue });
    let conversations = customers.iter().flat_map(|customer| state.conversations_of(*customer));
    let conversations = conversations.filter(|(_, one)| !one.stage.is_closed()).map(|(id, one)| {
        Withdrawn::Conversation {
            id,
            store: one.store.clone(),
            brand: one.brand.clone(),
            staff: one.stage.staff().cloned(),
        }
    });
    cases.chain(conversations).map(Event::Withdrawn)
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
    let cases = involved.iter().flat_map(|customer| state.cases_of(*customer));
    let cases = cases.filter(|view| theirs(view.case.carrier)).map(|CaseView { id, case }| {
        Event::CaseRestated { id, case: Case { customer: part.customer, ..case } }
    });
    let conversations = involved.iter().flat_map(|customer| state.conversations_of(*customer));
    let conversations = conversations.filter(|(_, one)| theirs(one.carrier)).map(|(id, one)| {
        let conversation = Conversation { customer: part.customer, ..one.clone() };
        Event::Conversation(ConversationEvent::Restated { id, conversation })
    });
    // The newest first: were there too many, the oldest of what is over would be lost.
    let bindings = state.bindings.newest_first(part.before);
    let bindings = bindings.filter(|binding| theirs(binding.carrier)).map(|binding| {
        Event::BindingRestated { customer: part.customer, binding: binding.clone() }
    });
    let live = purchases.chain(cases).chain(conversations);
    live.chain(bindings).take(RESTATED_AT_MOST).collect()
}

impl State {
    /// Forgets purchases and bindings of a customer, as far as they hang on one of these.
    fn forget_carried(&mut self, customer: CustomerId, carriers: &[Carrier]) {
        self.forget_purchases(customer, carriers);
        self.bindings.forget_carried(customer, carriers);
    }

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
            | Event::Waits { id, .. }
            | Event::Resolved { id, .. }
            | Event::Closed { id, .. }
            | Event::Reopened { id, .. }
            | Event::Transferred { id, .. }
            | Event::Prioritised { id, .. }
            | Event::Warned { id, .. }
            | Event::Escalated { id, .. }
            | Event::SerialShared { id, .. }
            | Event::Cancelled { id, .. } => of_case(*id),
            Event::PurchaseNoted { purchase, .. } => purchase.carrier,
            Event::MessageRequested(request) => {
                request.carrier.or_else(|| request.case.and_then(of_case))
            }
            Event::RulesTried(tried) => tried.carrier,
            Event::Conversation(event) => carrier_of_conversation(event),
            Event::Bound { binding, .. }
            | Event::BindingEnded { binding, .. }
            | Event::BindingRestated { binding, .. } => binding.carrier,
            Event::Moved { .. }
            | Event::Custody(_)
            | Event::CodeIssued { .. }
            | Event::CodeRevoked { .. }
            | Event::CodeRefused { .. }
            | Event::HandOverBegun(_)
            | Event::HandOverDone { .. }
            | Event::RuleFailed(_)
            | Event::QueuePaused { .. }
            | Event::QueueResumed { .. }
            | Event::Withdrawn(_) => None,
        }
    }
}

fn carrier_of_conversation(event: &ConversationEvent) -> Option<Carrier> {
    match event {
        ConversationEvent::Opened { conversation, .. }
        | ConversationEvent::Restated { conversation, .. } => conversation.carrier,
        ConversationEvent::Active { about, .. }
        | ConversationEvent::Tagged { about, .. }
        | ConversationEvent::Offered { about, .. }
        | ConversationEvent::Accepted { about, .. }
        | ConversationEvent::Assigned { about, .. }
        | ConversationEvent::Replied { about, .. }
        | ConversationEvent::Closed { about, .. } => about.carrier,
        ConversationEvent::Stands { .. }
        | ConversationEvent::Reviewed { .. }
        | ConversationEvent::IdleRestated { .. }
        | ConversationEvent::Forgotten { .. } => None,
    }
}
