//! What staff do with conversations: they come and go, take them, give them away and answer.

use super::conversation::{Conversation, ConversationEvent, OfferEnd, Talk};
use super::event::{Actor, Answer, ConversationInput, Event};
use super::floor::Post;
use super::message::MessageRequest;
use super::offer::{Offer, offer};
use super::state::State;
use super::talk::{next_offer, settled};
use crate::access::Caller;
use crate::configuration::{CAPACITY_AT_MOST, Configuration, Mode, TEXT_AT_MOST, Target, Who};
use crate::{At, ConversationId, Decision, Refusal, RefusalCode, StaffId};

type Decided = Decision<Event, Answer>;

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

/// What the holder says to the customer.
fn said(configuration: &Configuration, one: &Conversation, text: &str) -> MessageRequest {
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
        rule: None,
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
