//! routing: what a person wants, and who does it.
//!
//! What may become of a case stands in a table at [`Stage`], how long it may take at [`Timing`], and
//! when two wishes are one case at [`REPEATED_WITHIN`]. `ClaimNext` accepts the next open case of a
//! queue: the most urgent one, of these the oldest, counted from its opening. A case that is
//! transferred, reopened or given another priority is served by its age as well.
//!
//! The brand of a case, and the voice of an answer, come from the menu, the store or the last
//! purchase, in that order.
//!
//! When a customer is split, cases and purchases follow the identifier that carried the event that
//! they came from ([`Carrier`](crate::person::Carrier)); an open case keeps its place and its clock, a
//! taken one its holder. Of a customer who is erased every unfinished case is cancelled, without a word
//! to the customer, and everything is forgotten: see [`custody`](mod@crate::custody).
//!
//! A customer is bound to a salesperson by a code that the salesperson shows and the customer sends:
//! see [`Binding`]. The seal of a code is made and looked at outside, where the key is; here it is
//! what it says ([`Claims`]), and counts by the moment of the decision, the directory and what was
//! revoked.
//!
//! Invariants: a case is on exactly one queue; while a case with the same customer, brand and serial
//! number is neither closed nor cancelled, no second one opens; a case is held by at most one
//! worker; the clocks of its units add up to the time since it was opened less that in which it stood;
//! its unit is warned once and told once that it is late; nothing looks through all cases.

mod bind;
mod binding;
mod bindings;
mod case;
mod clock;
mod conversation;
mod converse;
mod event;
mod floor;
mod hand_over;
mod message;
mod offer;
mod open;
mod parted;
mod pause;
pub mod replay;
mod route;
mod serial;
mod state;
mod step;
mod talk;

pub use binding::{
    Binding, BindingView, CODE_VALID_AT_MOST, Claims, CodeAnswer, Ended, EndedWhy, HandOver,
    IssuedCode, Made, NewCode, NoNonce, Nonce, Opened, Presented, RefusedWhy,
};
pub use bindings::{Bindings, Refused};
pub use case::{
    CLOSER, Case, CaseView, Details, Opener, REASON_AT_MOST, REOPENED_WITHIN, REQUEUE_AFTER, Stage,
};
pub use clock::{Clock, Timing};
pub use conversation::{
    About, Conversation, ConversationEvent, ConversationView, OFFERED_FOR, OfferEnd, PASSED_FOR,
    PassedOver, REMEMBERED_FOR, Talk, Why,
};
pub use event::{Actor, Answer, ConversationInput, Event, Input, NewCase};
pub use floor::{Place, Post, Standing};
pub use message::{MessageRequest, RulesTried};
pub use open::REPEATED_WITHIN;
pub use parted::Withdrawn;
pub use pause::{Pause, QueueView};
pub use serial::Serial;
pub use state::{Purchase, State};

use crate::configuration::Configuration;
use crate::custody::RESTATED_AT_MOST;
use crate::{At, Decider, Decision, Refusal, Wakeup};

/// The rules.
#[derive(Debug)]
pub struct Routing;

impl Decider for Routing {
    type State = State;
    type Input = Input;
    type Event = Event;
    type Answer = Answer;

    fn decide(
        state: &State,
        configuration: &Configuration,
        input: &Input,
        at: At,
    ) -> Decision<Event, Answer> {
        let act = |case, by: &str, step: &dyn Fn(&CaseView) -> case::Step| {
            step::act(state, configuration, case, by, at, step)
        };
        match input {
            // An id that nothing may be written under any more.
            Input::Channel { customer, .. } if state.custody.is_erased(*customer) => {
                Decision::silent()
            }
            Input::Channel { code: Some(_), .. } => {
                Decision::events(bind::present(state, configuration, input, at))
            }
            Input::Channel { customer, event, address, code: None } => {
                let reachable = address.is_some();
                let events = route::route(state, configuration, *customer, event, reachable, at);
                Decision::events(events)
            }
            Input::Merged { survivor, absorbed } => {
                let known = [*survivor, *absorbed].map(|id| state.custody.is_erased(id));
                let moved = Event::Moved { from: *absorbed, to: *survivor };
                Decision::events((!known.contains(&true)).then_some(moved).into_iter().collect())
            }
            Input::Open(wish) => {
                open::open(state, configuration, wish, at).unwrap_or_else(Decision::refused)
            }
            Input::Accept { case, by } => act(*case, by, &|view| {
                let next = view.accept(by, at)?;
                next.is_some().then(|| state.not_paused(view)).transpose()?;
                Ok(next)
            }),
            Input::Claim { queue, .. } if state.paused.contains_key(queue) => {
                Decision::answered(Vec::new(), Answer::Paused(state.queue(queue)))
            }
            Input::Pause { queue, by, reason } => {
                pause::pause(state, configuration, (queue, by, reason), at)
            }
            Input::Resume { queue, by } => pause::resume(state, configuration, queue, by),
            Input::Claim { queue, by } => match state.next_on(queue) {
                Some(next) => act(next.id, by, &|view| view.accept(by, at)),
                None if configuration.queues.contains_key(queue) => {
                    Decision::answered(Vec::new(), Answer::Nothing)
                }
                None => Decision::refused(Refusal::not_found("queue", queue.as_str())),
            },
            Input::Start { case, by } => act(*case, by, &|view| view.start(by, at)),
            Input::Wait { case, by } => act(*case, by, &|view| view.wait(by, at)),
            Input::Resolve { case, by } => act(*case, by, &|view| view.resolve(by, at)),
            Input::Close { case, by } => act(*case, by, &|view| view.close(by, at)),
            Input::Reopen { case, by } => act(*case, by, &|view| {
                let next = view.reopen(by, at)?;
                state.not_replaced(view)?;
                Ok(next)
            }),
            Input::Cancel { case, by, overrules, reason } => {
                act(*case, by, &|view| view.cancel(by, *overrules, reason, at))
            }
            Input::Transfer { .. } => step::transfer(state, configuration, input, at),
            Input::Prioritise { case, priority, by } => {
                step::prioritise(state, configuration, *case, *priority, by, at)
                    .unwrap_or_else(Decision::refused)
            }
            Input::Requeue { case, by } => {
                step::requeue(state, *case, by, at).unwrap_or_else(Decision::refused)
            }
            Input::Conversation { wish, caller } => {
                converse::command(state, configuration, wish, caller, at)
            }
            Input::Custody(input) => {
                Decision::events(parted::take_custody(state, configuration, input, at))
            }
            Input::Wakeup(Wakeup::Due) => {
                let cases = step::due(state, configuration, at);
                let room = RESTATED_AT_MOST.saturating_sub(cases.len());
                let conversations = talk::due(state, configuration, room, at);
                Decision::events(cases.into_iter().chain(conversations).collect())
            }
            Input::Wakeup(Wakeup::Configured) => {
                Decision::events(talk::configured(state, configuration, at))
            }
            Input::IssueCode(wish) => {
                bind::issue(state, configuration, wish, at).unwrap_or_else(Decision::refused)
            }
            Input::RevokeCode { nonce, by } => {
                bind::revoke(state, *nonce, by).unwrap_or_else(Decision::refused)
            }
            Input::EndBinding { customer, brand, by } => {
                bind::end(state, *customer, brand.as_ref(), by, at)
                    .unwrap_or_else(Decision::refused)
            }
            Input::HandOver(wish) => {
                hand_over::begin(state, configuration, wish, at).unwrap_or_else(Decision::refused)
            }
        }
    }

    fn evolve(state: &mut State, event: &Event, at: At) {
        match event {
            Event::Opened { id, case } | Event::CaseRestated { id, case } => {
                state.put(*id, case.clone());
            }
            Event::Moved { from, to } => state.move_all(*from, *to, at),
            Event::PurchaseNoted { customer, purchase } => {
                state.note_purchase(*customer, purchase.clone());
            }
            Event::MessageRequested(_) | Event::Withdrawn(_) | Event::RulesTried(_) => {}
            Event::RuleFailed(_) => state.rules_failed += 1,
            Event::Conversation(event) => talk::evolve(state, event, at),
            Event::Custody(event) => parted::evolve(state, event, at),
            Event::QueuePaused { queue, by, reason } => {
                let (by, reason) = (by.clone(), reason.clone());
                state.paused.insert(queue.clone(), Pause { by, reason, at });
            }
            Event::QueueResumed { queue, .. } => {
                state.paused.remove(queue);
            }
            Event::CodeIssued { code, .. } => state.bindings.issue(code, at),
            Event::CodeRevoked { nonce, .. } => state.bindings.revoke(*nonce),
            Event::CodeRefused { why, .. } => state.bindings.count_refused(*why),
            Event::Bound { customer, binding }
            | Event::BindingEnded { customer, binding }
            | Event::BindingRestated { customer, binding } => {
                state.bindings.put(*customer, binding);
            }
            Event::HandOverBegun(hand_over) => state.bindings.begin_hand_over(hand_over, at),
            Event::HandOverDone { from, .. } => state.bindings.end_hand_over(from),
            Event::Queued { id, .. }
            | Event::Accepted { id, .. }
            | Event::Started { id, .. }
            | Event::Waits { id, .. }
            | Event::Resolved { id, .. }
            | Event::Closed { id, .. }
            | Event::Reopened { id, .. }
            | Event::Cancelled { id, .. }
            | Event::Transferred { id, .. }
            | Event::Prioritised { id, .. }
            | Event::Warned { id, .. }
            | Event::Escalated { id, .. }
            | Event::SerialShared { id, .. } => {
                state.change(*id, |case| step::evolve(case, event, at));
            }
        }
    }

    fn due(state: &State) -> Option<At> {
        state.next_deadline()
    }
}
