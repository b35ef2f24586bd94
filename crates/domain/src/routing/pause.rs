//! Queues that give nothing out for a while.
//!
//! While a queue is paused nobody is given a case of it, by whichever way: [`Input::Claim`](super::Input)
//! answers that it is paused, accepting and queueing again are refused, and the queue keeper takes its
//! items off. Everything else goes on as ever: cases are opened, transferred there and away, made urgent
//! and cancelled, whoever has one works on it, and clocks run: a promise to a customer is no shorter
//! because a unit does not work. So a case can be warned of and be late on a paused queue. What waits
//! keeps its place.

use serde::{Deserialize, Serialize};

use super::case::CaseView;
use super::event::{Answer, Event};
use super::state::State;
use crate::configuration::Configuration;
use crate::{At, CaseId, Decision, QueueId, Refusal, RefusalCode};

/// Why a queue gives nothing out, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who paused it.
    pub by: String,
    /// Why, for staff.
    pub reason: String,
    /// Since when.
    pub at: At,
}

/// A queue as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// The queue.
    pub queue: QueueId,
    /// How many cases are open on it.
    pub open: usize,
    /// Which of them is served next; none: it is empty.
    pub next: Option<CaseId>,
    /// Why it gives nothing out; none: it does.
    pub pause: Option<Pause>,
}

/// A queue is paused. Once more changes nothing, and keeps the first reason.
pub(super) fn pause(
    state: &State,
    configuration: &Configuration,
    (queue, by, reason): (&QueueId, &str, &str),
    at: At,
) -> Decision<Event, Answer> {
    if !configuration.queues.contains_key(queue) {
        return Decision::refused(Refusal::not_found("queue", queue.as_str()));
    }
    let now = state.queue(queue);
    if now.pause.is_some() {
        return Decision::answered(Vec::new(), Answer::Queue(now));
    }
    let (by, reason) = (by.to_owned(), reason.to_owned());
    let paused = Pause { by: by.clone(), reason: reason.clone(), at };
    let events = vec![Event::QueuePaused { queue: queue.clone(), by, reason }];
    Decision::answered(events, Answer::Queue(QueueView { pause: Some(paused), ..now }))
}

/// A queue is paused no more; also one that is not in the directory any more.
pub(super) fn resume(
    state: &State,
    configuration: &Configuration,
    queue: &QueueId,
    by: &str,
) -> Decision<Event, Answer> {
    let now = state.queue(queue);
    if now.pause.is_none() {
        if !configuration.queues.contains_key(queue) {
            return Decision::refused(Refusal::not_found("queue", queue.as_str()));
        }
        return Decision::answered(Vec::new(), Answer::Queue(now));
    }
    let events = vec![Event::QueueResumed { queue: queue.clone(), by: by.to_owned() }];
    Decision::answered(events, Answer::Queue(QueueView { pause: None, ..now }))
}

impl State {
    /// A queue as it is now.
    #[must_use]
    pub fn queue(&self, queue: &QueueId) -> QueueView {
        QueueView {
            queue: queue.clone(),
            open: self.open_on(queue),
            next: self.next_on(queue).map(|view| view.id),
            pause: self.paused.get(queue).cloned(),
        }
    }

    /// Queues on which a case is open, or that are paused, in the order of their ids, from the one
    /// after `after` on.
    pub fn queues_after<'a>(
        &'a self,
        after: Option<&'a QueueId>,
    ) -> impl Iterator<Item = QueueView> + 'a {
        let mut queues: Vec<_> = self.used_queues().chain(self.paused.keys()).collect();
        queues.sort_unstable();
        queues.dedup();
        let later = move |queue: &&QueueId| after.is_none_or(|after| *queue > after);
        queues.into_iter().filter(later).map(|queue| self.queue(queue))
    }

    /// Refuses to give out a case whose queue is paused.
    pub(super) fn not_paused(&self, view: &CaseView) -> Result<(), Refusal> {
        let CaseView { id, case } = view;
        let Some(Pause { by, reason, at }) = self.paused.get(&case.queue) else { return Ok(()) };
        let message = format!(
            "queue {} is paused by {by} since {at}: {reason}; allowed for case {id}: \
             TransferCase, SetPriority, CancelCase; ResumeQueue gives it out again",
            case.queue
        );
        let refusal = Refusal::new(RefusalCode::FailedPrecondition, "QUEUE_PAUSED", message);
        Err(refusal.with("queue", &case.queue).with("since", at))
    }
}
