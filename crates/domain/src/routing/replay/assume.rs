//! How people answer what they were never asked.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::conversation::{ConversationEvent, Talk};
use super::super::event::{ConversationInput, Event, Input};
use super::super::floor::Place;
use super::super::state::State;
use super::super::{About, Actor, Case, Stage};
use super::{Deed, Replay, stands_the_same};
use crate::access::{Caller, Role, Scope};
use crate::{At, CaseId, ConversationId, QueueId, StaffId};

/// Who takes a case that nobody ever took.
const SOMEBODY: &str = "replay/assumed";

/// What was assumed about one place or one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assumption {
    /// Where: a store, a desk, the central desk or a queue.
    pub place: String,
    /// How often something was offered there that never was.
    pub times: u64,
    /// After how long it was assumed to be taken; none: nobody ever took anything, so nobody does.
    pub taken_after: Option<Duration>,
    /// After how long what was taken was assumed to be over.
    pub done_after: Option<Duration>,
    /// How often somebody took something there as it was; 0: the medians are those of all places.
    pub seen: u64,
}

/// How people answered, as it was.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    taken: BTreeMap<String, Vec<Duration>>,
    done: BTreeMap<String, Vec<Duration>>,
    offered_at: BTreeMap<ConversationId, At>,
}

impl Habits {
    /// Learns from what was recorded, before the state has taken it in.
    pub fn learn(&mut self, state: &State, event: &Event, at: At) {
        match event {
            Event::Conversation(event) => self.learn_talk(state, event, at),
            Event::Accepted { id, queue, .. } => {
                if let Some(view) = state.case(*id) {
                    let waited = at.since(view.case.queued_at);
                    self.taken.entry(queue_name(queue)).or_default().push(waited);
                }
            }
            Event::Resolved { id, .. } => {
                if let Some(view) = state.case(*id)
                    && let Some(since) = held_since(&view.case)
                {
                    let took = at.since(since);
                    self.done.entry(queue_name(&view.case.queue)).or_default().push(took);
                }
            }
            Event::Opened { .. }
            | Event::Queued { .. }
            | Event::Started { .. }
            | Event::Waits { .. }
            | Event::Closed { .. }
            | Event::Reopened { .. }
            | Event::Cancelled { .. }
            | Event::Transferred { .. }
            | Event::Prioritised { .. }
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

    fn learn_talk(&mut self, state: &State, event: &ConversationEvent, at: At) {
        match event {
            ConversationEvent::Opened { id, .. } => {
                self.offered_at.insert(*id, at);
            }
            ConversationEvent::Offered { about, .. } => {
                self.offered_at.insert(about.id, at);
            }
            ConversationEvent::Accepted { about, staff } => {
                if let Some(offered_at) = self.offered_at.remove(&about.id) {
                    let place = place_of(state, staff);
                    self.taken.entry(place).or_default().push(at.since(offered_at));
                }
            }
            ConversationEvent::Closed { about, .. } => {
                let known = state.conversation(about.id).map(|view| view.conversation.stage);
                if let Some(Talk::InProgress { staff, at: since }) = known {
                    self.done.entry(place_of(state, &staff)).or_default().push(at.since(since));
                }
            }
            ConversationEvent::Active { .. }
            | ConversationEvent::Tagged { .. }
            | ConversationEvent::Assigned { .. }
            | ConversationEvent::Replied { .. }
            | ConversationEvent::Restated { .. }
            | ConversationEvent::Stands { .. }
            | ConversationEvent::Reviewed { .. }
            | ConversationEvent::Forgotten { .. }
            | ConversationEvent::IdleRestated { .. } => {}
        }
    }

    /// What is assumed of a place: by its own past, else by that of all places of its kind.
    fn at(&self, place: &str) -> Assumption {
        let is_queue = |name: &str| name.starts_with("queue ");
        let median = |seen: &BTreeMap<String, Vec<Duration>>| {
            let own = seen.get(place).filter(|own| !own.is_empty());
            let all = seen.iter().filter(|(name, _)| is_queue(name) == is_queue(place));
            let all = || all.flat_map(|(_, seen)| seen.iter().copied()).collect();
            let mut spans: Vec<Duration> = own.cloned().unwrap_or_else(all);
            spans.sort_unstable();
            spans.get(spans.len().saturating_sub(1) / 2).copied()
        };
        Assumption {
            place: place.to_owned(),
            times: 0,
            taken_after: median(&self.taken),
            done_after: median(&self.done),
            seen: self.taken.get(place).map_or(0, |seen| u64::try_from(seen.len()).unwrap_or(0)),
        }
    }
}

impl Replay {
    /// What follows from an event as it would have been, when it never was.
    pub(super) fn assume(&mut self, event: &Event, at: At) {
        if let Event::Opened { id, case } = event {
            self.assume_case(*id, case, at);
        }
        if let Event::Conversation(
            ConversationEvent::Opened { id, .. }
            | ConversationEvent::Offered { about: About { id, .. }, .. }
            | ConversationEvent::Accepted { about: About { id, .. }, .. }
            | ConversationEvent::Assigned { about: About { id, .. }, .. },
        ) = event
        {
            self.assume_talk(*id, at);
        }
    }

    fn assume_talk(&mut self, id: ConversationId, at: At) {
        self.agenda.retain(|(_, deed)| deed.conversation() != Some(id));
        if stands_the_same(&self.was, &self.would, id) {
            return;
        }
        let Some(view) = self.would.conversation(id) else { return };
        let (staff, is_offer) = match view.conversation.stage {
            Talk::Offered { staff, .. } => (staff, true),
            Talk::InProgress { staff, .. } => (staff, false),
            Talk::Waiting | Talk::Closed { .. } => return,
        };
        let habit = self.habit(&place_of(&self.would, &staff), is_offer);
        let (after, deed) = if is_offer {
            (habit.taken_after, Deed::Accept(id, staff))
        } else {
            (habit.done_after, Deed::Close(id, staff))
        };
        self.agenda.extend(after.map(|after| (at.after(after), deed)));
    }

    fn assume_case(&mut self, id: CaseId, case: &Case, at: At) {
        let was = self.was.case(id).filter(|view| view.case.queue == case.queue);
        if was.is_some() {
            return;
        }
        let habit = self.habit(&queue_name(&case.queue), true);
        self.agenda.extend(habit.taken_after.map(|after| (at.after(after), Deed::Take(id))));
    }

    fn habit(&mut self, place: &str, counts: bool) -> Assumption {
        let habits = &self.habits;
        let known = self.assumed.entry(place.to_owned()).or_insert_with(|| habits.at(place));
        known.times += u64::from(counts);
        known.clone()
    }

    /// Does what was assumed, if it still makes sense.
    pub(super) fn act(&mut self, deed: &Deed) {
        let input = match deed {
            Deed::Accept(conversation, staff) => talk(ConversationInput::Accept {
                conversation: *conversation,
                staff: staff.clone(),
            }),
            Deed::Close(conversation, staff) => {
                let by = staff.to_string();
                let actor = Actor { by, staff: Some(staff.clone()), overrules: false };
                talk(ConversationInput::Close { conversation: *conversation, actor })
            }
            Deed::Take(case) => Input::Accept { case: *case, by: SOMEBODY.to_owned() },
            Deed::Resolve(case) => Input::Resolve { case: *case, by: SOMEBODY.to_owned() },
        };
        let events = self.decide(&input, self.at);
        if let Deed::Take(id) = deed
            && !events.is_empty()
            && let Some(view) = self.would.case(*id)
        {
            let habit = self.habit(&queue_name(&view.case.queue), false);
            let resolved = habit.done_after.map(|after| (self.at.after(after), Deed::Resolve(*id)));
            self.agenda.extend(resolved);
        }
    }
}

impl Deed {
    fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::Accept(id, _) | Self::Close(id, _) => Some(*id),
            Self::Take(_) | Self::Resolve(_) => None,
        }
    }
}

/// As an operator asks.
pub(super) fn talk(wish: ConversationInput) -> Input {
    let scope = Scope { all: true, ..Scope::default() };
    let caller = Caller { name: "replay".to_owned(), role: Role::Operator, scope };
    Input::Conversation { wish, caller: Box::new(caller) }
}

/// Where a member of staff works, as people read it.
pub(super) fn place_of(state: &State, staff: &StaffId) -> String {
    match state.standing(staff).and_then(|standing| standing.post.place.as_ref()) {
        Some(Place::Store(store)) => format!("store {store}"),
        Some(Place::Desk(desk)) => format!("desk {desk}"),
        Some(Place::Central) => "central desk".to_owned(),
        None => "nowhere".to_owned(),
    }
}

fn queue_name(queue: &QueueId) -> String {
    format!("queue {queue}")
}

fn held_since(case: &Case) -> Option<At> {
    match &case.stage {
        Stage::Accepted { at, .. } | Stage::InProgress { at, .. } | Stage::Waiting { at, .. } => {
            Some(*at)
        }
        Stage::Open | Stage::Resolved { .. } | Stage::Closed { .. } | Stage::Cancelled { .. } => {
            None
        }
    }
}
