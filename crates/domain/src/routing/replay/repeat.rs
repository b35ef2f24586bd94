//! What people did, done again as it would have been.

use super::super::conversation::{ConversationEvent, OfferEnd};
use super::super::event::{Actor, ConversationInput, Event, Input};
use super::super::state::State;
use super::super::{About, CLOSER};
use super::assume::talk;
use super::stands_the_same;
use crate::CaseId;
use crate::configuration::Who;

/// What is done as it would have been.
#[derive(Debug)]
pub(super) enum Repeated {
    /// It is decided again.
    Input(Input),
    /// It is taken as it stands.
    Event(Box<Event>),
}

/// What a command of which this was recorded does as it would have been. What followed from it is
/// decided again, and so it is left out here.
pub(super) fn inputs(was: &State, would: &State, recorded: &[Event]) -> Vec<Repeated> {
    // A command is told by its first record. A case that staff opened, and what is about bindings and
    // whose records are whose, by all of them.
    let Some(first) = recorded.first() else { return Vec::new() };
    match first {
        Event::Conversation(event) => match conversation(was, would, event, recorded) {
            Some(input) => vec![Repeated::Input(input)],
            None => rest(was, would, event, recorded),
        },
        Event::Opened { id, .. } if would.case(*id).is_none() => {
            recorded.iter().cloned().map(Box::new).map(Repeated::Event).collect()
        }
        Event::CodeIssued { .. }
        | Event::CodeRevoked { .. }
        | Event::Bound { .. }
        | Event::BindingEnded { .. }
        | Event::HandOverBegun(_)
        | Event::HandOverDone { .. }
        | Event::QueuePaused { .. }
        | Event::QueueResumed { .. }
        | Event::Custody(_) => {
            recorded.iter().cloned().map(Box::new).map(Repeated::Event).collect()
        }
        Event::Queued { .. }
        | Event::Accepted { .. }
        | Event::Started { .. }
        | Event::Waits { .. }
        | Event::Resolved { .. }
        | Event::Closed { .. }
        | Event::Reopened { .. }
        | Event::Cancelled { .. }
        | Event::Transferred { .. }
        | Event::Prioritised { .. } => {
            case(was, would, first).map(Repeated::Input).into_iter().collect()
        }
        // It is open already; the others never begin what a command leads to.
        Event::Opened { .. }
        | Event::Warned { .. }
        | Event::Escalated { .. }
        | Event::SerialShared { .. }
        | Event::Moved { .. }
        | Event::PurchaseNoted { .. }
        | Event::MessageRequested(_)
        | Event::RulesTried(_)
        | Event::RuleFailed(_)
        | Event::CaseRestated { .. }
        | Event::Withdrawn(_)
        | Event::CodeRefused { .. }
        | Event::BindingRestated { .. } => Vec::new(),
    }
}

/// What is left of a command whose first record was erased with its customer: somebody had room by it.
fn rest(
    was: &State,
    would: &State,
    event: &ConversationEvent,
    recorded: &[Event],
) -> Vec<Repeated> {
    let ConversationEvent::Offered { about, ended, .. } = event else { return Vec::new() };
    let same = stands_the_same(was, would, about.id) && *ended == OfferEnd::Free;
    let rest = recorded.iter().filter(|_| same).cloned();
    rest.map(Box::new).map(Repeated::Event).collect()
}

/// The same step of a case that is on the queue on which it was.
fn case(was: &State, would: &State, event: &Event) -> Option<Input> {
    let on_the_same = |id: &CaseId| {
        let queue = |state: &State| Some(state.case(*id)?.case.queue);
        queue(was).is_some() && queue(was) == queue(would)
    };
    let (case, overrules) = (event.case().filter(on_the_same)?, true);
    Some(match event.clone() {
        Event::Queued { .. } => Input::Requeue { case, by: CLOSER.to_owned() },
        Event::Accepted { by, .. } => Input::Accept { case, by },
        Event::Started { by, .. } => Input::Start { case, by },
        Event::Waits { by, .. } => Input::Wait { case, by },
        Event::Resolved { by, .. } => Input::Resolve { case, by },
        Event::Closed { by, .. } => Input::Close { case, by },
        Event::Reopened { by, .. } => Input::Reopen { case, by },
        Event::Cancelled { by, reason, .. } => Input::Cancel { case, by, overrules, reason },
        Event::Transferred { by, to, reason, .. } => {
            Input::Transfer { case, to, by, overrules, reason }
        }
        Event::Prioritised { by, to, .. } => Input::Prioritise { case, priority: to, by },
        Event::Opened { .. }
        | Event::Warned { .. }
        | Event::Escalated { .. }
        | Event::SerialShared { .. }
        | Event::Moved { .. }
        | Event::PurchaseNoted { .. }
        | Event::MessageRequested(_)
        | Event::RulesTried(_)
        | Event::RuleFailed(_)
        | Event::CaseRestated { .. }
        | Event::Conversation(_)
        | Event::Withdrawn(_)
        | Event::Custody(_)
        | Event::CodeIssued { .. }
        | Event::CodeRevoked { .. }
        | Event::CodeRefused { .. }
        | Event::Bound { .. }
        | Event::BindingEnded { .. }
        | Event::BindingRestated { .. }
        | Event::HandOverBegun(_)
        | Event::HandOverDone { .. }
        | Event::QueuePaused { .. }
        | Event::QueueResumed { .. } => return None,
    })
}

/// The same step of a conversation that stands as it stood, or the same that somebody said.
fn conversation(
    was: &State,
    would: &State,
    event: &ConversationEvent,
    recorded: &[Event],
) -> Option<Input> {
    let same = |about: &About| stands_the_same(was, would, about.id).then_some(about.id);
    let by = |by: &str| Actor { by: by.to_owned(), staff: None, overrules: true };
    let wish = match event {
        ConversationEvent::Stands { staff, post, .. } => ConversationInput::Presence {
            staff: staff.clone(),
            available: post.available,
            capacity: post.own_capacity,
        },
        ConversationEvent::Accepted { about, staff } => {
            ConversationInput::Accept { conversation: same(about)?, staff: staff.clone() }
        }
        ConversationEvent::Offered { about, ended: OfferEnd::Rejected, .. } => {
            let staff = about.staff.clone()?;
            ConversationInput::Reject { conversation: same(about)?, staff }
        }
        ConversationEvent::Offered { about, ended: OfferEnd::Transferred, chain, .. } => {
            let to = chain.as_ref().and_then(|chain| chain.first());
            let to = to.map_or(Who::CentralDesk, |target| target.who);
            ConversationInput::Transfer { conversation: same(about)?, to, actor: by(CLOSER) }
        }
        ConversationEvent::Assigned { about, staff, by: actor, reason } => {
            ConversationInput::Assign {
                conversation: same(about)?,
                to: staff.clone(),
                actor: by(actor),
                reason: reason.clone(),
            }
        }
        ConversationEvent::Replied { about, staff } => ConversationInput::Reply {
            conversation: same(about)?,
            staff: staff.clone(),
            text: said(recorded),
        },
        ConversationEvent::Closed { about, by: actor } => {
            ConversationInput::Close { conversation: same(about)?, actor: by(actor) }
        }
        ConversationEvent::Offered { .. }
        | ConversationEvent::Opened { .. }
        | ConversationEvent::Active { .. }
        | ConversationEvent::Tagged { .. }
        | ConversationEvent::Restated { .. }
        | ConversationEvent::Reviewed { .. }
        | ConversationEvent::Forgotten { .. }
        | ConversationEvent::IdleRestated { .. } => return None,
    };
    Some(talk(wish))
}

/// What the holder said; it cannot be told any more when the record is gone, and nothing hangs on it.
fn said(recorded: &[Event]) -> String {
    let said = recorded.iter().find_map(|event| {
        let Event::MessageRequested(request) = event else { return None };
        request.text.clone()
    });
    said.unwrap_or_else(|| "…".to_owned())
}
