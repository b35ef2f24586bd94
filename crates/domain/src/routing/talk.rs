//! What becomes of conversations: by what customers write, by time, and what follows from a step.

use std::collections::BTreeSet;

use super::conversation::{
    About, Conversation, ConversationEvent, ConversationView, OfferEnd, Talk,
};
use super::event::Event;
use super::floor::{Place, Post, Review};
use super::offer::{Offer, last, offer};
use super::state::State;
use crate::configuration::{CAPACITY_AT_MOST, Configuration, Rule};
use crate::custody::RESTATED_AT_MOST;
use crate::person::{Act, Carrier, ChannelEvent, ReplyRight};
use crate::{At, BrandId, ConversationId, CustomerId, Decider as _, StaffId, StoreId};

/// Conversations and staff that one wakeup looks at, so that an input stays one atomic batch of
/// the broker; the next wakeup follows at once.
const DUE_AT_MOST: usize = 100;

/// Conversations that one record forgets.
const FORGOTTEN_AT_MOST: usize = 5_000;

/// What a customer's message is to the conversation that it belongs to.
pub(super) struct Heard {
    /// What is decided about it.
    pub(super) event: ConversationEvent,
    /// The conversation begins by it, or begins anew.
    pub(super) begins: bool,
}

/// A message, or what a rule hands to somebody. `known`: the conversation that it belongs to.
pub(super) fn hear(
    state: &State,
    configuration: &Configuration,
    (customer, brand): (CustomerId, Option<&BrandId>),
    known: Option<(ConversationId, &Conversation)>,
    event: &ChannelEvent,
    rule: Option<&Rule>,
    at: At,
) -> Option<Heard> {
    if rule.is_some_and(|rule| rule.close) {
        return None;
    }
    if let Some((id, one)) = known.filter(|(_, one)| !one.stage.is_closed()) {
        let is_message = matches!(event.act, Act::Text(_) | Act::Media(_));
        let handed = rule.is_some_and(|rule| !rule.targets.is_empty());
        let (about, reply) = (one.about(id), right(event));
        let rule = rule.map(|rule| rule.name.clone());
        let event = ConversationEvent::Active { about, event: event.id.clone(), rule, reply };
        return (is_message || handed).then_some(Heard { event, begins: false });
    }
    let rule = rule.filter(|rule| !rule.targets.is_empty())?;
    let (id, again) = match known {
        Some((id, _)) => (id, true),
        None => (new_id(state, brand, event), false),
    };
    let mut conversation = Conversation {
        customer,
        channel: event.channel.clone(),
        brand: brand.cloned(),
        store: event.store.clone().or_else(|| known.and_then(|(_, one)| one.store.clone())),
        rule: rule.name.clone(),
        event: event.id.clone(),
        // One that begins anew goes where it went before: what was said in it hangs on that.
        carrier: known.map_or_else(|| Carrier::of_event(event), |(_, one)| one.carrier),
        priority: rule.priority,
        waiting_since: at,
        active_at: at,
        chain: rule.targets.clone(),
        stage: Talk::Waiting,
        tags: known.map(|(_, one)| one.tags.clone()).unwrap_or_default(),
        passed: Vec::new(),
        reply: right(event),
    };
    conversation.tags.extend(rule.tags.iter().cloned());
    let Offer { talk, passed_over } = offer(state, configuration, &conversation, 0, None, at);
    conversation.stage = talk;
    let event = ConversationEvent::Opened { id, conversation, again, passed_over };
    Some(Heard { event, begins: true })
}

/// A conversation that is open is marked, if it is not.
pub(super) fn tagged(id: ConversationId, one: &Conversation, rule: &Rule) -> Option<Event> {
    let tags: BTreeSet<_> = rule.tags.difference(&one.tags).cloned().collect();
    let marks = !tags.is_empty() && !one.stage.is_closed();
    let (about, rule) = (one.about(id), rule.name.clone());
    marks.then_some(Event::Conversation(ConversationEvent::Tagged { about, tags, rule }))
}

/// What answers an event uses the right to: nothing of it is left for the conversation.
pub(super) fn right_is_used(events: &mut [Event]) {
    for event in events {
        if let Event::Conversation(
            ConversationEvent::Opened { conversation: Conversation { reply, .. }, .. }
            | ConversationEvent::Active { reply, .. },
        ) = event
        {
            *reply = None;
        }
    }
}

fn right(event: &ChannelEvent) -> Option<ReplyRight> {
    let token = event.reply_token.clone()?;
    Some(ReplyRight { token, received_at: event.received_at })
}

fn new_id(state: &State, brand: Option<&BrandId>, event: &ChannelEvent) -> ConversationId {
    let brand = brand.map_or("", BrandId::as_str);
    let mut origin = format!("{}/{brand}/{}", event.channel, event.id);
    let mut id = ConversationId::derive(&origin);
    while state.floor.get(id).is_some() {
        origin.push('+');
        id = ConversationId::derive(&origin);
    }
    id
}

/// A rule closes what is open.
pub(super) fn closed_by_rule(
    known: Option<(ConversationId, &Conversation)>,
    rule: &Rule,
) -> Option<ConversationEvent> {
    let (id, one) = known.filter(|(_, one)| !one.stage.is_closed())?;
    Some(ConversationEvent::Closed { about: one.about(id), by: rule.name.clone() })
}

/// Offers it to the next one after somebody did not take it.
pub(super) fn next_offer(
    state: &State,
    configuration: &Configuration,
    (id, one): (ConversationId, &Conversation),
    ended: OfferEnd,
    at: At,
) -> ConversationEvent {
    let before = one.stage.staff();
    let said_no = matches!(ended, OfferEnd::Rejected | OfferEnd::TimedOut);
    let passed = one.passed_also(before.filter(|_| said_no), at);
    let moved = Conversation { passed: passed.clone(), ..one.clone() };
    let (from, target_until) = match &one.stage {
        Talk::Offered { target, target_until, .. } => {
            let over = target_until.is_some_and(|until| until <= at);
            if over { (target + 1, None) } else { (*target, *target_until) }
        }
        Talk::Waiting => (last(&one.chain), None),
        Talk::InProgress { .. } | Talk::Closed { .. } => (0, None),
    };
    let Offer { talk, passed_over } = offer(state, configuration, &moved, from, target_until, at);
    let (about, chain) = (one.about(id), None);
    ConversationEvent::Offered { about, stage: talk, ended, chain, passed, passed_over }
}

/// What has to become of conversations and staff without anybody asking; at most so many events.
/// What does not fit is due at once again.
pub(super) fn due(state: &State, configuration: &Configuration, room: usize, at: At) -> Vec<Event> {
    let mut steps = Steps { configuration, state: state.clone(), events: Vec::new(), room, at };
    if let Some(cursor) = state.floor.review.clone() {
        steps.review(cursor.after());
    }
    let shifts: Vec<_> = state.floor.shifts_until(at).take(DUE_AT_MOST).cloned().collect();
    for staff in shifts {
        if let Some(stands) = stands_now(&steps.state, configuration, &staff, at) {
            steps.decide(stands);
        }
    }
    while let Some(event) = steps.stranded() {
        steps.decide(event);
    }
    let mut due: Vec<_> = state.floor.due_until(at).take(DUE_AT_MOST).collect();
    // Those in line come last and in its order: whoever is free by then serves the oldest first.
    due.sort_by_key(|id| {
        let one = state.floor.get(*id);
        let place = one.and_then(Conversation::place_in_line);
        let deadline = one.and_then(Conversation::deadline).filter(|_| place.is_none());
        (place, deadline, *id)
    });
    for id in due {
        let Some(one) = steps.state.floor.get(id) else { continue };
        if one.deadline().is_none_or(|deadline| deadline > at) {
            continue;
        }
        let ended = if one.stage == Talk::Waiting { OfferEnd::Free } else { OfferEnd::TimedOut };
        let event = next_offer(&steps.state, configuration, (id, one), ended, at);
        steps.decide(event);
    }
    let ids: Vec<_> = steps.state.floor.forgotten_by(at).take(FORGOTTEN_AT_MOST).collect();
    if !ids.is_empty() {
        steps.decide(ConversationEvent::Forgotten { ids });
    }
    steps.events
}

/// Another configuration is in force: everybody who ever said to be there is looked at again.
pub(super) fn configured(state: &State, configuration: &Configuration, at: At) -> Vec<Event> {
    let (state, room) = (state.clone(), RESTATED_AT_MOST);
    let mut steps = Steps { configuration, state, events: Vec::new(), room, at };
    steps.review(None);
    steps.events
}

/// One step after the other, as long as the batch has room.
struct Steps<'a> {
    configuration: &'a Configuration,
    state: State,
    events: Vec<Event>,
    room: usize,
    at: At,
}

impl Steps<'_> {
    /// Whether one more step fits, with all that can follow from it: somebody who comes takes as
    /// many as fit one person.
    fn fits(&self) -> bool {
        self.events.len() + CAPACITY_AT_MOST as usize + 2 < self.room
    }

    /// Nothing, when it does not fit.
    fn decide(&mut self, event: ConversationEvent) {
        if self.fits() {
            let (state, more) = settled(&self.state, self.configuration, vec![event], self.at);
            self.state = state;
            self.events.extend(more);
        }
    }

    /// Looks at the staff after this one, and notes how far when the batch is full.
    fn review(&mut self, after: Option<&StaffId>) {
        let staff: Vec<_> = self.state.floor.staff_after(after).map(|(id, _)| id.clone()).collect();
        let mut last = after.cloned();
        for id in staff {
            let looked = self.fits() && self.look_at(&id);
            if !looked {
                return take(&mut self.state, &mut self.events, reviewed(last), self.at);
            }
            last = Some(id);
        }
        if self.state.floor.review.is_some() {
            self.decide(ConversationEvent::Reviewed { up_to: None, again: false });
        }
    }

    /// Whether there was room for everything that follows for one of the staff: the directory says
    /// otherwise than before, or what waits is offered.
    fn look_at(&mut self, staff: &StaffId) -> bool {
        if let Some(stands) = stands_now(&self.state, self.configuration, staff, self.at) {
            self.decide(stands);
            return true;
        }
        let room = (&mut self.events, self.room.saturating_sub(1));
        serve(&mut self.state, self.configuration, staff, room, self.at)
    }

    /// The next conversation of somebody who is not there any more.
    fn stranded(&self) -> Option<ConversationEvent> {
        let floor = &self.state.floor;
        let staff = floor.first_stranded().filter(|_| self.fits())?;
        let id = floor.standing(staff)?.held.get_min().copied()?;
        let one = floor.get(id)?;
        Some(next_offer(&self.state, self.configuration, (id, one), OfferEnd::Gone, self.at))
    }
}

fn stands_now(
    state: &State,
    configuration: &Configuration,
    staff: &StaffId,
    at: At,
) -> Option<ConversationEvent> {
    let known = &state.floor.standing(staff)?.post;
    let post = Post::new(configuration, staff, known.available, known.own_capacity, at);
    let before = known.left_for(&post);
    (post != *known).then(|| ConversationEvent::Stands { staff: staff.clone(), post, before })
}

/// With everything that follows at once: whoever has room is offered what waits.
///
/// The state that comes of it is the one that folding the events gives.
pub(super) fn settled(
    state: &State,
    configuration: &Configuration,
    events: Vec<ConversationEvent>,
    at: At,
) -> (State, Vec<Event>) {
    let mut next = state.clone();
    let mut decided = Vec::with_capacity(events.len());
    for event in events {
        let free = freed(&next, &event);
        take(&mut next, &mut decided, event, at);
        if let Some(staff) = free {
            serve(&mut next, configuration, &staff, (&mut decided, usize::MAX), at);
        }
    }
    (next, decided)
}

/// After customers are forgotten, whoever had their conversations has room.
pub(super) fn with_room(
    state: &State,
    configuration: &Configuration,
    events: Vec<Event>,
    at: At,
) -> Vec<Event> {
    let mut next = state.clone();
    for event in &events {
        super::Routing::evolve(&mut next, event, at);
    }
    let had = |(staff, before): (&StaffId, &super::Standing)| {
        let after = next.floor.standing(staff).map_or(0, super::Standing::spare);
        (after > before.spare()).then(|| staff.clone())
    };
    let free: Vec<_> = state.floor.staff_after(None).filter_map(had).collect();
    let mut decided = events;
    let mut last = None;
    for staff in free {
        if !serve(&mut next, configuration, &staff, (&mut decided, RESTATED_AT_MOST - 1), at) {
            // The rest are served by the wakeup that follows at once.
            take(&mut next, &mut decided, reviewed(last), at);
            break;
        }
        last = Some(staff);
    }
    decided
}

/// The staff up to this one were looked at; none: nobody was yet.
fn reviewed(up_to: Option<StaffId>) -> ConversationEvent {
    let again = up_to.is_none();
    ConversationEvent::Reviewed { up_to, again }
}

/// Since when everybody is idle, so that the log says so without the records that go.
pub(super) fn idle_restated(state: &State) -> Option<Event> {
    let since = state.floor.staff_after(None);
    let since: Vec<_> = since.map(|(staff, one)| (staff.clone(), one.idle_since)).collect();
    let restated = ConversationEvent::IdleRestated { since };
    (state.floor.staff_after(None).next().is_some()).then_some(Event::Conversation(restated))
}

/// Who may have more room after this than before.
fn freed(state: &State, event: &ConversationEvent) -> Option<StaffId> {
    let of = |about: &About| state.floor.get(about.id).and_then(|one| one.stage.staff().cloned());
    match event {
        ConversationEvent::Stands { staff, .. } => Some(staff.clone()),
        ConversationEvent::Offered { about, .. }
        | ConversationEvent::Assigned { about, .. }
        | ConversationEvent::Closed { about, .. } => of(about),
        ConversationEvent::Opened { .. }
        | ConversationEvent::Active { .. }
        | ConversationEvent::Tagged { .. }
        | ConversationEvent::Accepted { .. }
        | ConversationEvent::Replied { .. }
        | ConversationEvent::Restated { .. }
        | ConversationEvent::Reviewed { .. }
        | ConversationEvent::IdleRestated { .. }
        | ConversationEvent::Forgotten { .. } => None,
    }
}

fn take(state: &mut State, decided: &mut Vec<Event>, event: ConversationEvent, at: At) {
    let event = Event::Conversation(event);
    super::Routing::evolve(state, &event, at);
    decided.push(event);
}

/// Offers what waits as long as somebody at the central desk has room, and says whether that is all:
/// there is room for so many events. Whoever has most room is asked first, so when many are free they
/// are all served by this.
fn serve(
    state: &mut State,
    configuration: &Configuration,
    staff: &StaffId,
    (decided, room): (&mut Vec<Event>, usize),
    at: At,
) -> bool {
    loop {
        let Some(standing) = state.floor.standing(staff) else { return true };
        let central = standing.post.place == Some(Place::Central);
        if !central || !standing.post.is_ready() || standing.spare() == 0 {
            return true;
        }
        let waiting = state.floor.next_for(staff, at);
        let Some((id, one)) = waiting.and_then(|id| Some((id, state.floor.get(id)?))) else {
            return true;
        };
        if decided.len() >= room {
            return false;
        }
        let event = next_offer(state, configuration, (id, one), OfferEnd::Free, at);
        take(state, decided, event, at);
    }
}

/// Takes in what is decided about conversations and staff.
pub(super) fn evolve(state: &mut State, event: &ConversationEvent, at: At) {
    let floor = &mut state.floor;
    match event {
        ConversationEvent::Opened { id, conversation, .. }
        | ConversationEvent::Restated { id, conversation } => {
            floor.put(*id, conversation.clone(), at);
        }
        ConversationEvent::Active { about, reply, .. } => floor.touch(about, |one| {
            one.active_at = at;
            one.reply.clone_from(reply);
        }),
        ConversationEvent::Tagged { about, tags, .. } => {
            floor.touch(about, |one| one.tags.extend(tags.iter().cloned()));
        }
        ConversationEvent::Offered { about, stage, chain, passed, .. } => {
            floor.update(about.id, at, |one| {
                one.stage = stage.clone();
                one.passed.clone_from(passed);
                if let Some(chain) = chain {
                    one.chain.clone_from(chain);
                }
            });
        }
        ConversationEvent::Accepted { about, staff, .. }
        | ConversationEvent::Assigned { about, staff, .. } => floor.update(about.id, at, |one| {
            one.stage = Talk::InProgress { staff: staff.clone(), at };
            one.passed.clear();
        }),
        ConversationEvent::Replied { about, .. } => floor.touch(about, |one| one.reply = None),
        ConversationEvent::Closed { about, by } => floor.update(about.id, at, |one| {
            one.stage = Talk::Closed { by: by.clone(), at };
            one.passed.clear();
            one.reply = None;
        }),
        ConversationEvent::Stands { staff, post, .. } => floor.stand(staff, post.clone(), at),
        ConversationEvent::Reviewed { up_to, again } => {
            floor.review = up_to.clone().map(Review::After).or(again.then_some(Review::All));
        }
        ConversationEvent::IdleRestated { since } => floor.restate_idle(since),
        ConversationEvent::Forgotten { ids } => floor.forget_these(ids, at),
    }
}

impl State {
    /// The store that a conversation belongs to.
    /// That in which it began; else that of the binding.
    pub(super) fn store_of(&self, one: &Conversation) -> Option<StoreId> {
        let bound = || self.binding(one.customer, one.brand.as_ref())?.store.clone();
        one.store.clone().or_else(bound)
    }

    /// A conversation by its id.
    #[must_use]
    pub fn conversation(&self, id: ConversationId) -> Option<ConversationView> {
        self.floor.view(id)
    }

    /// Conversations in the order of their ids, from the one after `after` on.
    pub fn conversations_after(
        &self,
        after: Option<ConversationId>,
    ) -> impl Iterator<Item = (&ConversationId, &Conversation)> {
        self.floor.after(after)
    }

    /// These conversations.
    pub fn these_conversations<'a>(
        &'a self,
        ids: impl IntoIterator<Item = &'a ConversationId>,
    ) -> impl Iterator<Item = (ConversationId, &'a Conversation)> {
        ids.into_iter().filter_map(|id| Some((*id, self.floor.get(*id)?)))
    }

    /// The conversations that somebody has or is asked about, those of one person after the other.
    pub fn held(&self) -> impl Iterator<Item = (ConversationId, &Conversation)> {
        self.staff_after(None).flat_map(|(_, one)| self.these_conversations(&one.held))
    }

    /// The conversations that wait in line.
    pub fn in_line(&self) -> impl Iterator<Item = (ConversationId, &Conversation)> {
        self.floor.in_line().filter_map(|id| Some((id, self.floor.get(id)?)))
    }

    /// The conversations of a customer.
    pub fn conversations_of(
        &self,
        customer: CustomerId,
    ) -> impl Iterator<Item = (ConversationId, &Conversation)> {
        self.floor.of_customer(customer)
    }

    /// How a member of staff stands; `None`: the person never said to be there.
    #[must_use]
    pub fn standing(&self, staff: &StaffId) -> Option<&super::Standing> {
        self.floor.standing(staff)
    }

    /// Everybody who ever said to be there, in the order of their ids.
    pub fn staff_after(
        &self,
        after: Option<&StaffId>,
    ) -> impl Iterator<Item = (&StaffId, &super::Standing)> {
        self.floor.staff_after(after)
    }

    /// How many conversations wait in line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.floor.waiting()
    }
}
