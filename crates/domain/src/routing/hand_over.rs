//! A salesperson leaves, and another one takes over.

use super::bind::next_moment;
use super::binding::{Binding, HandOver, Made};
use super::event::{Answer, Event};
use super::message::MessageRequest;
use super::state::State;
use crate::configuration::{BINDING_HANDED_OVER, Configuration, StaffMember};
use crate::custody::RESTATED_AT_MOST;
use crate::{At, CustomerId, Decision, Refusal, RefusalCode};

/// What the end of a hand-over and its beginning take of a batch.
const FRAME: usize = 2;

/// Whether a binding goes along: it is in force, of that store and brand, and for a brand that the
/// other one speaks for.
fn goes(hand_over: &HandOver, to: Option<&StaffMember>, binding: &Binding) -> bool {
    wanted(hand_over, binding) && to.is_none_or(|to| to.speaks_for(binding.brand.as_ref()))
}

fn wanted(hand_over: &HandOver, binding: &Binding) -> bool {
    hand_over.store.as_ref().is_none_or(|store| binding.store.as_ref() == Some(store))
        && hand_over.brand.as_ref().is_none_or(|brand| binding.brand.as_ref() == Some(brand))
}

/// The hand-over begins. What does not fit one batch follows by itself.
pub(super) fn begin(
    state: &State,
    configuration: &Configuration,
    wish: &HandOver,
    at: At,
) -> Result<Decision<Event, Answer>, Refusal> {
    let to = configuration.staff.get(&wish.to);
    let to = to.ok_or_else(|| Refusal::not_found("staff", wish.to.as_str()))?;
    if wish.from == wish.to {
        return Err(Refusal::field("to", "is who has them; name another"));
    }
    if let Some(brand) = wish.brand.as_ref().filter(|brand| !to.speaks_for(Some(brand))) {
        return Err(Refusal::field("to", format!("{} does not speak for {brand}", wish.to)));
    }
    if state.bindings.is_handing(&wish.from) {
        return Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "HAND_OVER_UNDER_WAY",
            format!("customers of {} are being handed over; wait until that is through", wish.from),
        ));
    }
    let held = || state.bindings.of_staff(&wish.from);
    let all = held().filter(|(_, binding)| wanted(wish, binding)).count();
    let going = held().filter(|(_, binding)| goes(wish, Some(to), binding)).count();
    let answer = Answer::HandedOver { bindings: going, left: all - going };
    if going == 0 {
        return Ok(Decision::answered(Vec::new(), answer));
    }
    let mut events = vec![Event::HandOverBegun(wish.clone())];
    events.extend(part(state, configuration, wish, RESTATED_AT_MOST - FRAME, at));
    Ok(Decision::answered(events, answer))
}

/// What the hand-over that is due has to do next, in at most so many events.
pub(super) fn due(state: &State, configuration: &Configuration, room: usize, at: At) -> Vec<Event> {
    match state.bindings.next_hand_over() {
        Some((since, hand_over)) if *since <= at && room > FRAME => {
            part(state, configuration, hand_over, room - FRAME, at)
        }
        Some(_) | None => Vec::new(),
    }
}

/// As many customers as there is room for, and the end, when these were all. A customer is not
/// divided, so that each is told once, however many bindings they have.
fn part(
    state: &State,
    configuration: &Configuration,
    hand_over: &HandOver,
    room: usize,
    at: At,
) -> Vec<Event> {
    let to = configuration.staff.get(&hand_over.to);
    let held = state.bindings.of_staff(&hand_over.from);
    let mut going = held.filter(|(_, binding)| goes(hand_over, to, binding)).peekable();
    let mut events = Vec::new();
    while let Some((customer, first)) = going.next() {
        let mut bindings = vec![first];
        while let Some((_, more)) = going.next_if(|(next, _)| *next == customer) {
            bindings.push(more);
        }
        let theirs = one(state, configuration, hand_over, customer, &bindings, at);
        if events.len() + theirs.len() > room {
            // Nobody has that many brands; what is left of such a customer follows, and is told.
            let rest = if events.is_empty() { room } else { 0 };
            events.extend(theirs.into_iter().take(rest));
            return events;
        }
        events.extend(theirs);
    }
    let (from, to) = (hand_over.from.clone(), hand_over.to.clone());
    events.push(Event::HandOverDone { from, to });
    events
}

fn one(
    state: &State,
    configuration: &Configuration,
    hand_over: &HandOver,
    customer: CustomerId,
    bindings: &[&Binding],
    at: At,
) -> Vec<Event> {
    let store = configuration.staff.get(&hand_over.to).and_then(|to| to.store.as_ref());
    let bound = bindings.iter().map(|binding| Event::Bound {
        customer,
        binding: Binding {
            bound_at: next_moment(state, customer, binding.brand.as_ref(), at),
            staff: hand_over.to.clone(),
            store: store.or(binding.store.as_ref()).cloned(),
            made: Made::HandOver { from: hand_over.from.clone() },
            ..(*binding).clone()
        },
    });
    let told =
        bindings.first().filter(|_| configuration.templates.contains_key(BINDING_HANDED_OVER));
    let told = told.map(|binding| {
        Event::MessageRequested(MessageRequest {
            customer,
            channel: binding.channel.clone(),
            brand: binding.brand.clone(),
            templates: vec![BINDING_HANDED_OVER.to_owned()],
            text: None,
            case: None,
            reply: None,
            mode: configuration.mode(&binding.channel),
            carrier: binding.carrier,
            staff: Some(hand_over.to.clone()),
            rule: None,
        })
    });
    bound.chain(told).collect()
}
