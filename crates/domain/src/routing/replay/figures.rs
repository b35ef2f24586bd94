//! Who had how much, and who waited how long.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::conversation::{ConversationEvent, Talk};
use super::super::event::Event;
use super::super::state::State;
use super::assume::place_of;
use crate::configuration::Configuration;
use crate::{At, ConversationId, StaffId};

/// What one past comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Conversations that began, or began anew.
    pub begun: u64,
    /// Of these, how many somebody had.
    pub taken: u64,
    /// Of these, how many nobody had at the end, and were still open.
    pub left: u64,
    /// How long it took until somebody had one.
    pub waited: Spread,
    /// How often one had to wait in line, because nobody was free.
    pub in_line: u64,
    /// How many waited in line at once, at most.
    pub line: u64,
    /// Who had how many.
    pub by_staff: BTreeMap<String, u64>,
    /// The same by where they work.
    pub by_place: BTreeMap<String, u64>,
    /// Cases opened, by queue.
    pub by_queue: BTreeMap<String, u64>,
    /// The same by the unit that serves it.
    pub by_unit: BTreeMap<String, u64>,
    /// How long it took until somebody had a case, from its opening.
    pub case_waited: Spread,
    /// Cases that were late, once for each unit.
    pub late: u64,
    /// Since when the customers of conversations wait that nobody has had yet.
    waiting: BTreeMap<ConversationId, At>,
}

/// Spans of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread(Vec<Duration>);

impl Spread {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// That which so many hundredths of them do not exceed; none, when there are none.
    #[must_use]
    pub fn percentile(&self, hundredths: usize) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        sorted.get((sorted.len() * hundredths).div_ceil(100).saturating_sub(1).min(last)).copied()
    }
}

impl Figures {
    /// Takes note of an event, before the state has taken it in.
    pub(super) fn note(
        &mut self,
        configuration: &Configuration,
        state: &State,
        event: &Event,
        at: At,
    ) {
        if let Event::Opened { case, .. } = event {
            *self.by_queue.entry(case.queue.to_string()).or_default() += 1;
            if let Some((unit, _)) = configuration.unit_of(&case.queue) {
                *self.by_unit.entry(unit.to_string()).or_default() += 1;
            }
        }
        if let Event::Accepted { id, .. } = event
            && let Some(view) = state.case(*id)
        {
            self.case_waited.0.push(at.since(view.case.opened_at));
        }
        self.late += u64::from(matches!(event, Event::Escalated { .. }));
        let Event::Conversation(event) = event else { return };
        if let ConversationEvent::Opened { id, conversation, .. } = event {
            self.begun += 1;
            self.waiting.insert(*id, at);
            self.in_line += u64::from(conversation.stage == Talk::Waiting);
        }
        if let ConversationEvent::Offered { stage, .. } = event {
            self.in_line += u64::from(*stage == Talk::Waiting);
        }
        if let ConversationEvent::Accepted { about, staff }
        | ConversationEvent::Assigned { about, staff, .. } = event
        {
            self.takes(state, about.id, staff, at);
        }
    }

    fn takes(&mut self, state: &State, id: ConversationId, staff: &StaffId, at: At) {
        *self.by_staff.entry(staff.to_string()).or_default() += 1;
        *self.by_place.entry(place_of(state, staff)).or_default() += 1;
        // Of one that changes hands the customer waited once.
        if let Some(since) = self.waiting.remove(&id) {
            self.taken += 1;
            self.waited.0.push(at.since(since));
        }
    }

    pub(super) fn note_line(&mut self, waiting: usize) {
        self.line = self.line.max(u64::try_from(waiting).unwrap_or(u64::MAX));
    }

    /// That was all.
    pub(super) fn end(&mut self, state: &State) {
        let open = self.waiting.keys().filter(|id| {
            state.conversation(**id).is_some_and(|view| !view.conversation.stage.is_closed())
        });
        self.left = u64::try_from(open.count()).unwrap_or(u64::MAX);
    }
}
