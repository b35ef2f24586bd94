//! What watchers of desks and queues have to see, told from the whole ledger by the state before and
//! after each record, and not by what the record says of itself.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_bus::{Machine as _, Stored, engine::kind};
use mainstem_domain::Decider as _;
use mainstem_domain::routing::{
    About, Conversation, ConversationEvent, Event, Place, Routing, State, Talk,
};
use mainstem_domain::{CaseId, ConversationId, StaffId, StoreId};
use mainstem_proto::conversation::standing_to_wire;
use mainstem_proto::pause::pause_to_wire;
use mainstem_proto::wire::routing as wire;
use mainstem_routing::RoutingMachine;
use mainstem_tests::deployment::counted;
use serde_json::Value;

/// The key of what is said about a queue itself.
pub(crate) const PAUSE: &str = "!";

/// What a watcher was told: one message that is no heartbeat.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) key: String,
    /// 0: it was there.
    pub(crate) sequence: u64,
    /// The change, by its name, and whose it is.
    pub(crate) change: &'static str,
    pub(crate) customer: String,
    pub(crate) whole: Option<Value>,
}

/// What a watcher may see.
#[derive(Clone, Copy, Debug)]
pub(crate) enum View {
    Staff(&'static str),
    Store(&'static str),
    Desk(&'static str),
    Central,
    /// Whatever a caller with this store may see.
    Everything(Option<&'static str>),
    Queue(&'static str),
}

impl View {
    fn has(self, state: &State, staff: &StaffId) -> bool {
        let place = state.standing(staff).and_then(|standing| standing.post.place.as_ref());
        match (self, place) {
            (Self::Staff(one), Some(_)) => one == staff.as_str(),
            (Self::Store(there) | Self::Everything(Some(there)), Some(Place::Store(store))) => {
                store.as_str() == there
            }
            (Self::Desk(there), Some(Place::Desk(desk))) => desk.as_str() == there,
            (Self::Central, Some(Place::Central)) | (Self::Everything(None), Some(_)) => true,
            _ => false,
        }
    }

    fn reaches(self, state: &State, one: &Conversation) -> bool {
        let held = one.stage.staff().is_some_and(|staff| self.has(state, staff));
        let store = one.store.as_ref().map(StoreId::as_str);
        let waits = one.stage == Talk::Waiting;
        held || match self {
            Self::Store(there) => waits && store == Some(there),
            Self::Desk(_) => waits && one.brand.as_ref().is_some_and(|it| it.as_str() == "aurora"),
            Self::Central => waits,
            Self::Everything(there) => there.is_none_or(|there| store == Some(there)),
            Self::Staff(_) | Self::Queue(_) => false,
        }
    }

    fn key(self, before: &State, event: &Event, after: &State) -> Option<String> {
        if let Self::Queue(queue) = self {
            if let Event::QueuePaused { queue: paused, .. }
            | Event::QueueResumed { queue: paused, .. } = event
            {
                return (paused.as_str() == queue).then(|| PAUSE.to_owned());
            }
            let id = case_of(event)?;
            let on = |state: &State| {
                state.case(id).is_some_and(|view| view.case.queue.as_str() == queue)
            };
            return (on(before) || on(after)).then(|| id.to_string());
        }
        let Event::Conversation(event) = event else { return None };
        if let ConversationEvent::Stands { staff, .. } = event {
            let seen = self.has(before, staff) || self.has(after, staff);
            return seen.then(|| format!("staff/{staff}"));
        }
        let id = conversation_of(event)?;
        let seen = |state: &State| {
            state.conversation(id).is_some_and(|it| self.reaches(state, &it.conversation))
        };
        (seen(before) || seen(after)).then(|| format!("conversation/{id}"))
    }

    fn present(self, state: &State, key: &str) -> Option<Value> {
        let value = if let Some(id) = key.strip_prefix("conversation/") {
            let view = state.conversation(id.parse().unwrap())?;
            let one = &view.conversation;
            let open = !one.stage.is_closed() && self.reaches(state, one);
            open.then(|| serde_json::to_value(wire::Conversation::from(&view)).unwrap())
        } else if let Some(staff) = key.strip_prefix("staff/") {
            let staff = staff.parse().unwrap();
            let standing = state.standing(&staff)?;
            self.has(state, &staff)
                .then(|| serde_json::to_value(standing_to_wire(&staff, standing)).unwrap())
        } else {
            let Self::Queue(queue) = self else { panic!("{key}") };
            if key == PAUSE {
                let pause = state.queue(&queue.parse().unwrap()).pause?;
                return Some(serde_json::to_value(pause_to_wire(&pause)).unwrap());
            }
            let view = state.case(key.parse().unwrap())?;
            let there = view.case.queue.as_str() == queue && !view.case.stage.is_finished();
            there.then(|| serde_json::to_value(wire::Case::from(&view)).unwrap())
        };
        value.map(without_load)
    }

    /// All that is there.
    fn keys(self, state: &State) -> BTreeSet<String> {
        let conversations =
            state.conversations_after(None).map(|(id, _)| format!("conversation/{id}"));
        let staff = state.staff_after(None).map(|(staff, _)| format!("staff/{staff}"));
        let cases = state.cases_after(None).map(|(id, _)| id.to_string());
        let all: Vec<_> = if let Self::Queue(_) = self {
            cases.chain([PAUSE.to_owned()]).collect()
        } else {
            conversations.chain(staff).collect()
        };
        all.into_iter().filter(|key| self.present(state, key).is_some()).collect()
    }
}

/// How much somebody has changes without a record of the person's own.
pub(crate) fn without_load(mut whole: Value) -> Value {
    if whole["capacity"].is_number() {
        let standing = whole.as_object_mut().unwrap();
        standing.remove("conversations");
        standing.remove("idleStartTime");
    }
    whole
}

fn conversation_of(event: &ConversationEvent) -> Option<ConversationId> {
    match event {
        ConversationEvent::Opened { id, .. }
        | ConversationEvent::Restated { id, .. }
        | ConversationEvent::Active { about: About { id, .. }, .. }
        | ConversationEvent::Tagged { about: About { id, .. }, .. }
        | ConversationEvent::Offered { about: About { id, .. }, .. }
        | ConversationEvent::Accepted { about: About { id, .. }, .. }
        | ConversationEvent::Assigned { about: About { id, .. }, .. }
        | ConversationEvent::Replied { about: About { id, .. }, .. }
        | ConversationEvent::Closed { about: About { id, .. }, .. } => Some(*id),
        ConversationEvent::Stands { .. }
        | ConversationEvent::Reviewed { .. }
        | ConversationEvent::Forgotten { .. }
        | ConversationEvent::IdleRestated { .. } => None,
    }
}

fn case_of(event: &Event) -> Option<CaseId> {
    match event {
        Event::Opened { id, .. }
        | Event::Queued { id, .. }
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
        | Event::SerialShared { id, .. }
        | Event::CaseRestated { id, .. } => Some(*id),
        Event::Moved { .. }
        | Event::PurchaseNoted { .. }
        | Event::MessageRequested(_)
        | Event::RulesTried(_)
        | Event::RuleFailed(_)
        | Event::QueuePaused { .. }
        | Event::QueueResumed { .. }
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
        | Event::HandOverDone { .. } => None,
    }
}

/// The whole ledger, with the state after each record.
pub(crate) struct Model {
    records: Vec<(u64, Event)>,
    /// One more than records: the first is before all of them.
    states: Vec<State>,
}

impl Model {
    pub(crate) fn new(messages: Vec<Stored>) -> Self {
        let (messages, _) = counted(messages);
        let (mut records, mut states) = (Vec::new(), vec![State::default()]);
        for message in messages.iter().filter(|one| !one.record.kind().starts_with(kind::OWN)) {
            let event = RoutingMachine::decode(message).unwrap();
            let mut state = states.last().unwrap().clone();
            Routing::evolve(&mut state, &event, message.decided_at());
            records.push((message.sequence, event));
            states.push(state);
        }
        Self { records, states }
    }

    /// The last record that tells something in this view.
    pub(crate) fn last(&self, view: View) -> u64 {
        let seen = (0..self.records.len()).rev().find(|at| self.key(view, *at).is_some());
        self.records[seen.unwrap()].0
    }

    fn key(&self, view: View, at: usize) -> Option<String> {
        view.key(&self.states[at], &self.records[at].1, &self.states[at + 1])
    }

    /// A watcher that began when the ledger ended at `begun` was told everything, once, in order.
    pub(crate) fn check(&self, view: View, begun: u64, told: &[Told]) {
        let start = self.records.iter().take_while(|(sequence, _)| *sequence <= begun).count();
        let mut expected: BTreeMap<String, Vec<(u64, usize)>> =
            view.keys(&self.states[start]).into_iter().map(|key| (key, Vec::new())).collect();
        for at in start..self.records.len() {
            if let Some(key) = self.key(view, at) {
                expected.entry(key).or_default().push((self.records[at].0, at + 1));
            }
        }
        let mut seen: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
        for one in told {
            assert!(expected.contains_key(&one.key), "{view:?} has nothing to do with {one:?}");
            seen.entry(&one.key).or_default().push(one);
        }
        for (key, records) in &expected {
            let told = seen.remove(key.as_str()).unwrap_or_default();
            let (there, changes): (Vec<&Told>, Vec<&Told>) =
                told.into_iter().partition(|one| one.sequence == 0);
            let changes: Vec<_> = changes.iter().map(|one| one.sequence).collect();
            let sequences: Vec<_> = records.iter().map(|(sequence, _)| *sequence).collect();
            assert!(
                sequences.ends_with(&changes),
                "{view:?} {key}: was told {changes:?} of {sequences:?}"
            );
            // What came before that was there, or had gone.
            let before = records.len() - changes.len();
            let state = before.checked_sub(1).map_or(start, |last| records[last].1);
            let there: Vec<_> = there.iter().map(|one| one.whole.clone().unwrap()).collect();
            let present: Vec<_> = view.present(&self.states[state], key).into_iter().collect();
            assert_eq!(there, present, "{view:?} {key} after {before} of {sequences:?}");
        }
        let changes: Vec<_> = told.iter().map(|one| one.sequence).collect();
        assert!(changes.is_sorted(), "what is there first, then everything in order: {changes:?}");
    }
}
