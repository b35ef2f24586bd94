//! What becomes of conversations: what customers write, what staff do, and what time does.

use super::conversation::{
    About, Conversation, ConversationEvent, ConversationView, OfferEnd, Talk,
};
use super::event::{Actor, Answer, ConversationInput, Event};
use super::floor::{Place, Post};
use super::message::MessageRequest;
use super::offer::{Offer, last, offer};
use super::state::State;
use crate::access::Caller;
use crate::configuration::{
    CAPACITY_AT_MOST, Configuration, Mode, Rule, TEXT_AT_MOST, Target, Who,
};
use crate::person::{Act, Carrier, ChannelEvent, ReplyRight};
use crate::{
    At, BrandId, ConversationId, CustomerId, Decider as _, Decision, Refusal, RefusalCode, StaffId,
    StoreId,
};

/// Conversations and staff that one wakeup looks at, so that an input stays one atomic batch of
/// the broker; the next wakeup follows at once.
const DUE_AT_MOST: usize = 100;

/// Conversations that one record forgets.
const FORGOTTEN_AT_MOST: usize = 5_000;

type Decided = Decision<Event, Answer>;

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
        let is_message = matches!(event.act, Act::Text(_));
        let handed = rule.is_some_and(|rule| !rule.targets.is_empty());
        let answered = rule.is_some_and(|rule| rule.reply.is_some() && rule.targets.is_empty());
        let reply = right(event).filter(|_| !answered);
        let event =
            ConversationEvent::Active { about: one.about(id), event: event.id.clone(), reply };
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
        passed: Vec::new(),
        reply: right(event).filter(|_| rule.reply.is_none()),
    };
    let Offer { talk, passed_over } = offer(state, configuration, &conversation, 0, None, at);
    conversation.stage = talk;
    let event = ConversationEvent::Opened { id, conversation, again, passed_over };
    Some(Heard { event, begins: true })
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

/// A command about conversations or staff.
pub(super) fn command(
    state: &State,
    configuration: &Configuration,
    input: &ConversationInput,
    caller: &Caller,
    at: At,
) -> Decided {
    if let Err(refusal) = may_ask(configuration, input, caller) {
        return Decision::refused(refusal);
    }
    let decided = match input {
        ConversationInput::Presence { staff, available, capacity } => {
            presence(state, configuration, staff, *available, *capacity, at)
        }
        ConversationInput::Accept { conversation, staff } => accept(state, *conversation, staff),
        ConversationInput::Reject { conversation, staff } => {
            reject(state, configuration, *conversation, staff, at)
        }
        ConversationInput::Assign { conversation, to, actor, reason } => {
            assign(state, *conversation, to, actor, reason)
        }
        ConversationInput::Transfer { conversation, to, actor } => {
            transfer(state, configuration, *conversation, *to, actor, at)
        }
        ConversationInput::Reply { conversation, staff, text } => {
            reply(state, configuration, *conversation, staff, text)
        }
        ConversationInput::Close { conversation, actor } => close(state, *conversation, actor),
    };
    match decided {
        Err(refusal) => Decision::refused(refusal),
        Ok(events) => {
            let (next, mut events) = settled(state, configuration, events, at);
            if let ConversationInput::Reply { conversation, text, .. } = input
                && let Some(one) = state.floor.get(*conversation)
            {
                events.push(Event::MessageRequested(said(configuration, one, text)));
            }
            let answer = match input {
                ConversationInput::Presence { staff, .. } => {
                    let standing = next.floor.standing(staff).cloned();
                    Answer::Staff(staff.clone(), standing.map(Box::new))
                }
                ConversationInput::Accept { conversation, .. }
                | ConversationInput::Reject { conversation, .. }
                | ConversationInput::Assign { conversation, .. }
                | ConversationInput::Transfer { conversation, .. }
                | ConversationInput::Reply { conversation, .. }
                | ConversationInput::Close { conversation, .. } => next
                    .floor
                    .view(*conversation)
                    .map_or(Answer::Nothing, |view| Answer::Conversation(Box::new(view))),
            };
            Decision::answered(events, answer)
        }
    }
}

/// Whoever acts as a member of staff must have that person in scope: by the store, or by a brand that
/// the person or the person's desk speaks for. Staff of the central desk are in the scope of whoever
/// has all.
fn may_ask(
    configuration: &Configuration,
    input: &ConversationInput,
    caller: &Caller,
) -> Result<(), Refusal> {
    let staff = match input {
        ConversationInput::Presence { staff, .. }
        | ConversationInput::Accept { staff, .. }
        | ConversationInput::Reject { staff, .. }
        | ConversationInput::Reply { staff, .. } => staff,
        ConversationInput::Assign { actor, .. }
        | ConversationInput::Transfer { actor, .. }
        | ConversationInput::Close { actor, .. } => match &actor.staff {
            Some(staff) => staff,
            None => return Ok(()),
        },
    };
    let unknown = || Refusal::not_found("staff", staff.as_str());
    let member = configuration.staff.get(staff).ok_or_else(unknown)?;
    if configuration.is_among(member, caller) {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::PermissionDenied,
        "OUT_OF_SCOPE",
        format!("neither the store nor a brand of {staff} is among the caller's"),
    ))
}

fn presence(
    state: &State,
    configuration: &Configuration,
    staff: &StaffId,
    available: bool,
    own_capacity: Option<u32>,
    at: At,
) -> Result<Vec<ConversationEvent>, Refusal> {
    if !configuration.staff.contains_key(staff) {
        return Err(Refusal::not_found("staff", staff.as_str()));
    }
    if own_capacity.is_some_and(|capacity| !(1..=CAPACITY_AT_MOST).contains(&capacity)) {
        let rule = format!("must be 1 to {CAPACITY_AT_MOST}, or left out");
        return Err(Refusal::field("capacity", rule));
    }
    let post = Post::new(configuration, staff, available, own_capacity, at);
    let known = state.floor.standing(staff).map(|known| &known.post);
    let before = known.and_then(|known| known.left_for(&post));
    let same = known.is_some_and(|known| *known == post);
    let stands = ConversationEvent::Stands { staff: staff.clone(), post, before };
    Ok((!same).then_some(stands).into_iter().collect())
}

fn accept(
    state: &State,
    id: ConversationId,
    staff: &StaffId,
) -> Result<Vec<ConversationEvent>, Refusal> {
    let one = known(state, id)?;
    match &one.stage {
        Talk::InProgress { staff: holder, .. } if holder == staff => return Ok(Vec::new()),
        // Late, but before anybody else was asked: the person wants it.
        Talk::Offered { staff: asked, .. } if asked == staff => {}
        Talk::Waiting => {
            let standing = ready(state, staff)?;
            if standing.spare() == 0 {
                return Err(full(staff));
            }
        }
        Talk::Offered { .. } | Talk::InProgress { .. } | Talk::Closed { .. } => {
            return Err(refused(id, one));
        }
    }
    Ok(vec![ConversationEvent::Accepted { about: one.about(id), staff: staff.clone() }])
}

fn reject(
    state: &State,
    configuration: &Configuration,
    id: ConversationId,
    staff: &StaffId,
    at: At,
) -> Result<Vec<ConversationEvent>, Refusal> {
    let one = known(state, id)?;
    match &one.stage {
        Talk::Offered { staff: asked, .. } if asked == staff => {}
        // The offer came to an end while the person said no.
        Talk::Offered { .. } | Talk::Waiting if one.was_passed_by(staff, at) => {
            return Ok(Vec::new());
        }
        Talk::Waiting | Talk::Offered { .. } | Talk::InProgress { .. } | Talk::Closed { .. } => {
            return Err(refused(id, one));
        }
    }
    Ok(vec![next_offer(state, configuration, (id, one), OfferEnd::Rejected, at)])
}

fn assign(
    state: &State,
    id: ConversationId,
    to: &StaffId,
    actor: &Actor,
    reason: &str,
) -> Result<Vec<ConversationEvent>, Refusal> {
    let one = known(state, id)?;
    if one.stage.is_closed() || !actor.may(&one.stage) {
        return Err(refused(id, one));
    }
    if one.stage.holder() == Some(to) {
        return Ok(Vec::new());
    }
    ready(state, to)?;
    Ok(vec![ConversationEvent::Assigned {
        about: one.about(id),
        staff: to.clone(),
        by: actor.by.clone(),
        reason: reason.to_owned(),
    }])
}

fn transfer(
    state: &State,
    configuration: &Configuration,
    id: ConversationId,
    to: Who,
    actor: &Actor,
    at: At,
) -> Result<Vec<ConversationEvent>, Refusal> {
    let one = known(state, id)?;
    if one.stage.is_closed() || !actor.may(&one.stage) {
        return Err(refused(id, one));
    }
    let mut chain = Vec::new();
    if to != Who::CentralDesk {
        let within = one.chain.iter().find(|target| target.who == to).and_then(|t| t.within);
        chain.push(Target { who: to, within: within.or(Some(super::OFFERED_FOR)) });
    }
    let central = one.chain.iter().find(|target| target.who == Who::CentralDesk).copied();
    chain.push(central.unwrap_or(Target { who: Who::CentralDesk, within: None }));
    // Whoever gives it away does not want it back at once.
    let passed = one.passed_also(one.stage.staff(), at);
    let moved = Conversation { chain: chain.clone(), passed: passed.clone(), ..one.clone() };
    let Offer { talk, passed_over } = offer(state, configuration, &moved, 0, None, at);
    Ok(vec![ConversationEvent::Offered {
        about: one.about(id),
        stage: talk,
        ended: OfferEnd::Transferred,
        chain: Some(chain),
        passed,
        passed_over,
    }])
}

fn reply(
    state: &State,
    configuration: &Configuration,
    id: ConversationId,
    staff: &StaffId,
    text: &str,
) -> Result<Vec<ConversationEvent>, Refusal> {
    let one = known(state, id)?;
    if one.stage.holder() != Some(staff) {
        return Err(refused(id, one));
    }
    if configuration.mode(&one.channel) == Mode::Shadow {
        return Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "CHANNEL_IN_SHADOW",
            format!("channel {} is in shadow; answer in the system that runs it", one.channel),
        ));
    }
    let units = text.encode_utf16().count();
    if !(1..=TEXT_AT_MOST).contains(&units) {
        let limit = format!("has {units} UTF-16 units; LINE takes 1 to {TEXT_AT_MOST}");
        return Err(Refusal::field("text", limit));
    }
    Ok(vec![ConversationEvent::Replied { about: one.about(id), staff: staff.clone() }])
}

fn close(
    state: &State,
    id: ConversationId,
    actor: &Actor,
) -> Result<Vec<ConversationEvent>, Refusal> {
    let one = known(state, id)?;
    if one.stage.is_closed() {
        return Ok(Vec::new());
    }
    if !actor.may(&one.stage) {
        return Err(refused(id, one));
    }
    Ok(vec![ConversationEvent::Closed { about: one.about(id), by: actor.by.clone() }])
}

/// Offers it to the next one after somebody did not take it.
fn next_offer(
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

/// What has to become of conversations and staff without anybody asking.
pub(super) fn due(state: &State, configuration: &Configuration, at: At) -> Vec<Event> {
    let mut next = state.clone();
    let mut events = Vec::new();
    let mut decide = |next: &mut State, event: ConversationEvent| {
        let (after, more) = settled(next, configuration, vec![event], at);
        *next = after;
        events.extend(more);
    };
    if let Some(cursor) = state.floor.review.clone() {
        let (batch, up_to) = review(state, configuration, Some(&cursor), at);
        for event in batch {
            decide(&mut next, event);
        }
        decide(&mut next, ConversationEvent::Reviewed { up_to });
    }
    let shifts: Vec<_> = state.floor.shifts_until(at).take(DUE_AT_MOST).cloned().collect();
    for staff in shifts {
        if let Some(stands) = stands_now(&next, configuration, &staff, at) {
            decide(&mut next, stands);
        }
    }
    for _ in 0..DUE_AT_MOST {
        let Some(staff) = next.floor.first_stranded() else { break };
        let held = next.floor.standing(staff).and_then(|one| one.held.get_min().copied());
        let Some((id, one)) = held.and_then(|id| Some((id, next.floor.get(id)?))) else { break };
        let event = next_offer(&next, configuration, (id, one), OfferEnd::Gone, at);
        decide(&mut next, event);
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
        let Some(one) = next.floor.get(id) else { continue };
        if one.deadline().is_none_or(|deadline| deadline > at) {
            continue;
        }
        let ended = if one.stage == Talk::Waiting { OfferEnd::Free } else { OfferEnd::TimedOut };
        let event = next_offer(&next, configuration, (id, one), ended, at);
        decide(&mut next, event);
    }
    let ids: Vec<_> = next.floor.forgotten_by(at).take(FORGOTTEN_AT_MOST).collect();
    if !ids.is_empty() {
        decide(&mut next, ConversationEvent::Forgotten { ids });
    }
    events
}

/// Another configuration is in force: everybody who ever said to be there is looked at again.
pub(super) fn configured(state: &State, configuration: &Configuration, at: At) -> Vec<Event> {
    let (batch, up_to) = review(state, configuration, None, at);
    let changes = !batch.is_empty();
    let reviewed = ConversationEvent::Reviewed { up_to: up_to.clone() };
    let marks = up_to.is_some() || state.floor.review.is_some();
    let events = batch.into_iter().chain(marks.then_some(reviewed)).collect();
    if changes || marks { settled(state, configuration, events, at).1 } else { Vec::new() }
}

/// What is to be decided about some of the staff after this one, and the last of them when there
/// are more.
fn review(
    state: &State,
    configuration: &Configuration,
    after: Option<&StaffId>,
    at: At,
) -> (Vec<ConversationEvent>, Option<StaffId>) {
    let mut batch = Vec::new();
    let mut staff = state.floor.staff_after(after);
    let mut last = None;
    for (id, _) in staff.by_ref().take(DUE_AT_MOST) {
        batch.extend(stands_now(state, configuration, id, at));
        last = Some(id.clone());
    }
    let more = staff.next().is_some();
    (batch, last.filter(|_| more))
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
            serve(&mut next, configuration, &staff, &mut decided, at);
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
    for staff in free {
        serve(&mut next, configuration, &staff, &mut decided, at);
    }
    decided
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

/// Offers somebody at the central desk what waits, as long as there is room.
pub(super) fn serve(
    state: &mut State,
    configuration: &Configuration,
    staff: &StaffId,
    decided: &mut Vec<Event>,
    at: At,
) {
    loop {
        let Some(standing) = state.floor.standing(staff) else { return };
        let central = standing.post.place == Some(Place::Central);
        if !central || !standing.post.is_ready() || standing.spare() == 0 {
            return;
        }
        let waiting = state.floor.next_for(staff, at);
        let Some((id, one)) = waiting.and_then(|id| Some((id, state.floor.get(id)?))) else {
            return;
        };
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
        ConversationEvent::Active { about, reply, .. } => floor.touch(about.id, |one| {
            one.active_at = at;
            one.reply.clone_from(reply);
        }),
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
        ConversationEvent::Replied { about, .. } => floor.touch(about.id, |one| one.reply = None),
        ConversationEvent::Closed { about, by } => floor.update(about.id, at, |one| {
            one.stage = Talk::Closed { by: by.clone(), at };
            one.passed.clear();
            one.reply = None;
        }),
        ConversationEvent::Stands { staff, post, .. } => floor.stand(staff, post.clone(), at),
        ConversationEvent::Reviewed { up_to } => floor.review.clone_from(up_to),
        ConversationEvent::IdleRestated { since } => floor.restate_idle(since),
        ConversationEvent::Forgotten { ids } => floor.forget_these(ids, at),
    }
}

/// What the holder says to the customer.
pub(super) fn said(
    configuration: &Configuration,
    one: &Conversation,
    text: &str,
) -> MessageRequest {
    MessageRequest {
        customer: one.customer,
        channel: one.channel.clone(),
        brand: one.brand.clone(),
        templates: Vec::new(),
        text: Some(text.to_owned()),
        case: None,
        reply: one.reply.clone(),
        staff: None,
        mode: configuration.mode(&one.channel),
        carrier: one.carrier,
    }
}

fn known(state: &State, id: ConversationId) -> Result<&Conversation, Refusal> {
    state.floor.get(id).ok_or_else(|| Refusal::not_found("conversation", id.as_str()))
}

fn ready<'a>(state: &'a State, staff: &StaffId) -> Result<&'a super::Standing, Refusal> {
    let standing = state.floor.standing(staff).filter(|standing| standing.post.is_ready());
    standing.ok_or_else(|| {
        Refusal::new(
            RefusalCode::FailedPrecondition,
            "STAFF_NOT_READY",
            format!("{staff} is away or off shift; choose somebody who is there"),
        )
    })
}

fn full(staff: &StaffId) -> Refusal {
    Refusal::new(
        RefusalCode::FailedPrecondition,
        "STAFF_FULL",
        format!("{staff} has as many conversations as fit; close one, or raise the capacity"),
    )
}

/// Why nothing else becomes of it now, and what could.
fn refused(id: ConversationId, one: &Conversation) -> Refusal {
    let allowed = one.stage.allowed();
    let (reason, message) = match &one.stage {
        Talk::Waiting => (
            "CONVERSATION_WAITING",
            format!("conversation {id} waits in line; allowed now: {allowed}"),
        ),
        Talk::Offered { staff, until, .. } => (
            "CONVERSATION_OFFERED",
            format!("conversation {id} is offered to {staff} until {until}; allowed: {allowed}"),
        ),
        Talk::InProgress { staff, at } => (
            "CONVERSATION_TAKEN",
            format!("{staff} has conversation {id} since {at}; allowed to its holder: {allowed}"),
        ),
        Talk::Closed { by, at } => (
            "CONVERSATION_CLOSED",
            format!("conversation {id} was closed by {by} at {at}; allowed now: {allowed}"),
        ),
    };
    let refusal = Refusal::new(RefusalCode::FailedPrecondition, reason, message)
        .with("state", one.stage.name())
        .with("allowed", allowed);
    match one.stage.staff() {
        Some(staff) => refusal.with("holder", staff),
        None => refusal,
    }
}

impl Actor {
    /// Whether the actor may decide about a conversation that stands so.
    fn may(&self, stage: &Talk) -> bool {
        self.overrules || (self.staff.is_some() && stage.holder() == self.staff.as_ref())
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

    /// The conversations that wait in line.
    pub fn in_line(&self) -> impl Iterator<Item = (ConversationId, &Conversation)> {
        self.floor.in_line().filter_map(|id| Some((id, self.floor.get(id)?)))
    }

    /// The conversations of a customer.
    pub fn conversations_of(
        &self,
        customer: CustomerId,
    ) -> impl Iterator<Item = (ConversationId, &Conversation)> {
        let ids = self.floor.of_customer(customer);
        ids.filter_map(|id| Some((id, self.floor.get(id)?)))
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
