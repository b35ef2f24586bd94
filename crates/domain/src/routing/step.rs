//! One step of one case, and what has to be told about it.

use super::case::{CLOSER, Case, CaseView, Stage, Step};
use super::event::{Answer, Event, Input};
use super::hand_over;
use super::message::MessageRequest;
use super::state::State;
use crate::configuration::{
    CASE_CANCELLED, CASE_REOPENED, CASE_RESOLVED, CASE_WAITING, Configuration, Priority,
};
use crate::custody::RESTATED_AT_MOST;
use crate::{At, CaseId, Decision, Refusal};

/// Cases that one wakeup looks at, so that an input stays one atomic batch of the broker; the next
/// wakeup follows at once.
const DUE_AT_MOST: usize = 300;

type Decided = Decision<Event, Answer>;

/// One transition of one case.
pub(super) fn act(
    state: &State,
    configuration: &Configuration,
    id: CaseId,
    by: &str,
    at: At,
    transition: impl FnOnce(&CaseView) -> Step,
) -> Decided {
    let moved = state.known(id).and_then(|view| Ok((transition(&view)?, view)));
    match moved {
        Err(refusal) => Decision::refused(refusal),
        Ok((None, view)) => Decision::answered(Vec::new(), Answer::Case(view)),
        Ok((Some(next), CaseView { case, .. })) => {
            let timing = match (case.timing.runs(), next.runs()) {
                (true, false) => case.timing.stopped(configuration, at),
                (false, true) => case.timing.running(configuration, &case.queue, case.priority, at),
                (true, true) | (false, false) => case.timing.clone(),
            };
            let mut changed = Case { stage: next, timing, ..case };
            if changed.stage == Stage::Open {
                changed = changed.queued(at);
            }
            let events = events(configuration, id, &changed, by);
            Decision::answered(events, Answer::Case(CaseView { id, case: changed }))
        }
    }
}

/// How a case came to its new stage, as the ledger tells it.
fn events(configuration: &Configuration, id: CaseId, case: &Case, by: &str) -> Vec<Event> {
    let (customer, queue, priority) = (case.customer, case.queue.clone(), case.priority);
    let (by, timing) = (by.to_owned(), case.timing.clone());
    let on = Some(case.queue.clone());
    let (event, template) = match case.stage.clone() {
        Stage::Open => {
            (Event::Reopened { id, customer, queue: on, by, timing }, Some(CASE_REOPENED))
        }
        Stage::Accepted { .. } => (Event::Accepted { id, customer, queue, priority, by }, None),
        Stage::InProgress { .. } => (Event::Started { id, customer, queue: on, by, timing }, None),
        Stage::Waiting { .. } => {
            (Event::Waits { id, customer, queue: on, by, timing }, Some(CASE_WAITING))
        }
        Stage::Resolved { .. } => {
            (Event::Resolved { id, customer, queue: on, by, timing }, Some(CASE_RESOLVED))
        }
        Stage::Closed { .. } => (Event::Closed { id, customer, queue: on, by }, None),
        Stage::Cancelled { reason, .. } => (
            Event::Cancelled { id, customer, queue, priority, by, reason, timing },
            Some(CASE_CANCELLED),
        ),
    };
    let queued = (case.stage == Stage::Open).then(|| Event::Queued { id, case: case.clone() });
    let told = template.and_then(|template| told(configuration, id, case, template));
    [event].into_iter().chain(queued).chain(told).collect()
}

/// News about a case, where there is a template for it.
pub(super) fn told(
    configuration: &Configuration,
    id: CaseId,
    case: &Case,
    template: &str,
) -> Option<Event> {
    // Which must be there is lint's; what is asked for without it fails where it is seen.
    let wanted = template == CASE_RESOLVED || configuration.templates.contains_key(template);
    wanted.then(|| {
        Event::MessageRequested(MessageRequest {
            customer: case.customer,
            channel: case.channel.clone(),
            brand: case.brand.clone(),
            templates: vec![template.to_owned()],
            text: None,
            case: Some(id),
            reply: None,
            mode: configuration.mode(&case.channel),
            carrier: case.carrier,
            staff: None,
            rule: None,
        })
    })
}

/// The case is another queue's, and open there.
pub(super) fn transfer(
    state: &State,
    configuration: &Configuration,
    input: &Input,
    at: At,
) -> Decided {
    let Input::Transfer { case: id, to, by, overrules, reason } = input else {
        return Decision::silent();
    };
    let view = state.known(*id).and_then(|view| {
        if !configuration.queues.contains_key(to) {
            return Err(Refusal::not_found("queue", to.as_str()));
        }
        view.may_transfer(by, *overrules, at)?;
        Ok(view)
    });
    let CaseView { id, case } = match view {
        Ok(view) if view.case.queue == *to => {
            return Decision::answered(Vec::new(), Answer::Case(view));
        }
        Ok(view) => view,
        Err(refusal) => return Decision::refused(refusal),
    };
    let timing = case.timing.running(configuration, to, case.priority, at);
    let event = Event::Transferred {
        id,
        customer: case.customer,
        queue: case.queue.clone(),
        priority: case.priority,
        to: to.clone(),
        by: by.clone(),
        reason: reason.clone(),
        timing: timing.clone(),
    };
    let changed = Case { queue: to.clone(), stage: Stage::Open, timing, ..case }.queued(at);
    let queued = Event::Queued { id, case: changed.clone() };
    Decision::answered(vec![event, queued], Answer::Case(CaseView { id, case: changed }))
}

/// The case is more urgent, or less.
pub(super) fn prioritise(
    state: &State,
    configuration: &Configuration,
    id: CaseId,
    to: Priority,
    by: &str,
    at: At,
) -> Result<Decided, Refusal> {
    let view = state.known(id)?;
    if view.case.stage.is_finished() {
        return Err(view.refused(by, at));
    }
    if view.case.priority == to {
        return Ok(Decision::answered(Vec::new(), Answer::Case(view)));
    }
    let CaseView { case, .. } = view;
    let timing = if case.timing.runs() {
        case.timing.running(configuration, &case.queue, to, at)
    } else {
        case.timing.clone()
    };
    let mut events = vec![Event::Prioritised {
        id,
        customer: case.customer,
        queue: case.queue.clone(),
        priority: case.priority,
        to,
        by: by.to_owned(),
        timing: timing.clone(),
    }];
    let mut changed = Case { priority: to, timing, ..case };
    if changed.stage == Stage::Open {
        changed = changed.queued(at);
        events.push(Event::Queued { id, case: changed.clone() });
    }
    Ok(Decision::answered(events, Answer::Case(CaseView { id, case: changed })))
}

pub(super) fn requeue(state: &State, id: CaseId, by: &str, at: At) -> Result<Decided, Refusal> {
    let view = state.known(id)?;
    let case = view.queue_again(by, at)?;
    state.not_paused(&view)?;
    let events = vec![Event::Queued { id, case: case.clone() }];
    Ok(Decision::answered(events, Answer::Case(CaseView { id, case })))
}

/// What has to become of cases whose deadline has come.
pub(super) fn due(state: &State, configuration: &Configuration, at: At) -> Vec<Event> {
    let mut events = cases_due(state, at);
    let room = RESTATED_AT_MOST.saturating_sub(events.len());
    events.extend(hand_over::due(state, configuration, room, at));
    events
}

fn cases_due(state: &State, at: At) -> Vec<Event> {
    let due = state.due_until(at).take(DUE_AT_MOST);
    due.flat_map(|CaseView { id, case }| {
        let (customer, queue) = (case.customer, Some(case.queue.clone()));
        if matches!(case.stage, Stage::Resolved { .. }) {
            return vec![Event::Closed { id, customer, queue, by: CLOSER.to_owned() }];
        }
        let clock = case.timing.clocks.last();
        let unit = clock.and_then(|clock| clock.unit.clone());
        let late = clock.is_some_and(|clock| clock.escalated);
        let has_come = |moment: Option<At>| moment.is_some_and(|moment| moment <= at);
        let warned = has_come(case.timing.warn_at);
        let warned = warned.then(|| Event::Warned {
            id,
            customer,
            queue: queue.clone(),
            unit: unit.clone(),
        });
        let escalated = !late && has_come(case.timing.due_at);
        let escalated = escalated.then_some(Event::Escalated { id, customer, queue, unit });
        warned.into_iter().chain(escalated).collect()
    })
    .collect()
}

/// Takes an event of a case into it.
pub(super) fn evolve(case: &mut Case, event: &Event, at: At) {
    match event {
        Event::Queued { case: queued, .. } => {
            case.queued_at = queued.queued_at;
            case.queued_times = queued.queued_times;
        }
        Event::Accepted { by, .. } => case.stage = Stage::Accepted { by: by.clone(), at },
        Event::Started { by, timing, .. } => {
            case.stage = Stage::InProgress { by: by.clone(), at };
            case.timing = timing.clone();
        }
        Event::Waits { by, timing, .. } => {
            case.stage = Stage::Waiting { by: by.clone(), at };
            case.timing = timing.clone();
        }
        Event::Resolved { by, timing, .. } => {
            case.stage = Stage::Resolved { by: by.clone(), at };
            case.timing = timing.clone();
        }
        Event::Closed { by, .. } => {
            let resolved_at = if let Stage::Resolved { at, .. } = case.stage { at } else { at };
            case.stage = Stage::Closed { by: by.clone(), at, resolved_at };
        }
        Event::Reopened { timing, .. } => {
            case.stage = Stage::Open;
            case.timing = timing.clone();
        }
        Event::Cancelled { by, reason, timing, .. } => {
            case.stage = Stage::Cancelled { by: by.clone(), at, reason: reason.clone() };
            case.timing = timing.clone();
        }
        Event::Transferred { to, timing, .. } => {
            case.stage = Stage::Open;
            case.queue = to.clone();
            case.timing = timing.clone();
        }
        Event::Prioritised { to, timing, .. } => {
            case.priority = *to;
            case.timing = timing.clone();
        }
        Event::Warned { .. } => {
            case.timing.warn_at = None;
            if let Some(clock) = case.timing.clocks.last_mut() {
                clock.warned = true;
            }
        }
        Event::Escalated { .. } => {
            if let Some(clock) = case.timing.clocks.last_mut() {
                clock.escalated = true;
            }
        }
        Event::SerialShared { .. } => case.shared_serial = true,
        Event::Opened { .. }
        | Event::CaseRestated { .. }
        | Event::Moved { .. }
        | Event::PurchaseNoted { .. }
        | Event::MessageRequested(_)
        | Event::RulesTried(_)
        | Event::RuleFailed(_)
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
        | Event::QueueResumed { .. } => {}
    }
}
