//! What becomes of codes and bindings: issued, presented, revoked, ended.

use sha2::{Digest as _, Sha256};

use super::binding::{
    Binding, CODE_VALID_AT_MOST, Claims, CodeAnswer, Ended, IssuedCode, Made, NewCode, Nonce,
    Opened, Presented, RefusedWhy, full_minute,
};
use super::event::{Answer, Event, Input};
use super::message::MessageRequest;
use super::route;
use super::state::State;
use super::talk;
use crate::access::Caller;
use crate::configuration::{
    BINDING_DONE, BINDING_EXPIRED, BINDING_FORGED, BINDING_REVOKED, ChannelKind, Configuration,
    MOVED, Mode, StaffMember,
};
use crate::person::{Carrier, ChannelEvent, ReplyRight};
use crate::{
    At, BrandId, CustomerId, Decider as _, Decision, Refusal, RefusalCode, StaffId, StoreId,
};

type Decided = Decision<Event, Answer>;

/// A code for a salesperson's customers.
pub(super) fn issue(
    state: &State,
    configuration: &Configuration,
    wish: &NewCode,
    at: At,
) -> Result<Decided, Refusal> {
    let staff = &wish.staff;
    let member = configuration.staff.get(staff);
    let member = member.ok_or_else(|| Refusal::not_found("staff", staff.as_str()))?;
    if let Some(store) = wish.store.as_ref().filter(|id| !configuration.stores.contains_key(*id)) {
        return Err(Refusal::not_found("store", store.as_str()));
    }
    if let Some(brand) = &wish.brand {
        if !configuration.brands.contains_key(brand) {
            return Err(Refusal::not_found("brand", brand.as_str()));
        }
        if !speaks_for(configuration, member, brand) {
            return Err(Refusal::field("brand", format!("{staff} does not speak for {brand}")));
        }
    }
    within(configuration, &wish.caller, member, wish)?;
    if wish.valid_for.is_zero() || wish.valid_for > CODE_VALID_AT_MOST {
        let days = CODE_VALID_AT_MOST.as_secs() / 86_400;
        return Err(Refusal::field("valid_minutes", format!("must be at most {days} days")));
    }
    let code = IssuedCode {
        nonce: nonce(state, wish, at),
        staff: staff.clone(),
        store: wish.store.clone().or_else(|| member.store.clone()),
        brand: wish.brand.clone(),
        expires_at: full_minute(at, wish.valid_for),
    };
    let account = account(configuration, code.store.as_ref());
    let answer = CodeAnswer { claims: Claims::of(&code), account, code: code.clone() };
    let issued = Event::CodeIssued { code, by: wish.caller.name.clone() };
    Ok(Decision::answered(vec![issued], Answer::Code(Box::new(answer))))
}

/// The brands that somebody at a desk speaks for are the desk's.
fn speaks_for(configuration: &Configuration, member: &StaffMember, brand: &BrandId) -> bool {
    let desk = member.desk.as_ref().and_then(|desk| configuration.desks.get(desk));
    let desk = desk.is_none_or(|desk| desk.is_central() || desk.brands.contains(brand));
    desk && member.speaks_for(Some(brand))
}

/// The salesperson must be among the caller's, and another store than the person's own as well.
fn within(
    configuration: &Configuration,
    caller: &Caller,
    member: &StaffMember,
    wish: &NewCode,
) -> Result<(), Refusal> {
    let outside = |what: &str| {
        let message = format!("{what} is not among the caller's");
        Err(Refusal::new(RefusalCode::PermissionDenied, "OUT_OF_SCOPE", message))
    };
    let theirs = configuration.is_among(member, caller);
    if !theirs {
        return outside(&format!("staff {}", wish.staff));
    }
    match &wish.store {
        Some(store) if wish.store != member.store && !caller.reaches(Some(store), None, None) => {
            outside(&format!("store {store}"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Made of where it comes from, so that the same request has the same code wherever it is decided.
/// Of no two codes that are good at the same time is it the same.
fn nonce(state: &State, wish: &NewCode, at: At) -> Nonce {
    let mut origin = format!("{}/{}/{at}/{}", wish.staff, wish.caller.name, wish.request);
    loop {
        let digest = Sha256::digest(&origin);
        let mut first = [0; Nonce::LENGTH];
        first.copy_from_slice(&digest[..Nonce::LENGTH]);
        let nonce = Nonce::from_bytes(first);
        if state.issued_code(nonce).is_none() {
            return nonce;
        }
        origin.push('+');
    }
}

/// The account that a code's link leads to: the live one of its store that has a basic id, else the
/// single entry.
fn account(configuration: &Configuration, store: Option<&StoreId>) -> Option<String> {
    let mut accounts = configuration.channels.values().filter(|channel| {
        let theirs = store.is_some() && channel.store.as_ref() == store;
        theirs && channel.kind == ChannelKind::Line && channel.mode == Mode::Live
    });
    let own = accounts.find_map(|channel| channel.basic_id.clone());
    let entry = configuration.entry.as_ref();
    let entry = entry.and_then(|entry| configuration.channels.get(&entry.channel));
    own.or_else(|| entry.and_then(|channel| channel.basic_id.clone()))
}

/// A code is good no more. Once more changes nothing.
pub(super) fn revoke(state: &State, nonce: Nonce, by: &str) -> Result<Decided, Refusal> {
    let (code, revoked) = state
        .issued_code(nonce)
        .ok_or_else(|| Refusal::not_found("binding code", &nonce.to_string()))?;
    let staff = code.staff.clone();
    let event = Event::CodeRevoked { nonce, staff, by: by.to_owned() };
    let events = (!revoked).then_some(event).into_iter().collect();
    Ok(Decision::answered(events, Answer::Revoked(code.clone())))
}

/// Nobody is the customer's salesperson for this brand any more, or for all.
pub(super) fn end(
    state: &State,
    customer: CustomerId,
    brand: Option<&BrandId>,
    by: &str,
    at: At,
) -> Result<Decided, Refusal> {
    let current = state.current(customer);
    let known = state.binding_for(current, brand);
    let known = known.ok_or_else(|| Refusal::not_found("binding of", customer.as_str()))?;
    let ended = Ended { at: at.max(known.bound_at), by: by.to_owned() };
    let binding = Binding { ended: Some(ended), ..known.clone() };
    let ended = Event::BindingEnded { customer: current, binding: binding.clone() };
    Ok(Decision::answered(vec![ended], Answer::Ended { customer: current, binding }))
}

/// What a code says, by the directory.
struct Read<'a> {
    staff: &'a StaffId,
    store: Option<&'a StoreId>,
    brand: Option<&'a BrandId>,
}

/// Whom a code binds to, or why it binds nobody, and whose it was, if that can be told.
fn read<'a>(
    state: &State,
    configuration: &'a Configuration,
    opened: Opened,
    at: At,
) -> Result<(Read<'a>, Nonce), (RefusedWhy, Option<&'a StaffId>)> {
    let Opened::Code(claims) = opened else { return Err((RefusedWhy::Forged, None)) };
    let staff = configuration.staff_of(claims.staff);
    if claims.expires_at() <= at {
        return Err((RefusedWhy::Expired, staff));
    }
    let store = claims.store.map(|store| configuration.store_of(store));
    let brand = claims.brand.map(|brand| configuration.brand_of(brand));
    match (staff, store, brand) {
        (Some(staff), None | Some(Some(_)), None | Some(Some(_)))
            if !state.bindings.is_revoked(claims.nonce) =>
        {
            let read = Read { staff, store: store.flatten(), brand: brand.flatten() };
            Ok((read, claims.nonce))
        }
        _ => Err((RefusedWhy::Revoked, staff)),
    }
}

/// A customer presents a code.
///
/// It is answered before whatever the event is answered with besides. A code that is all that was
/// said is no wish: no rule is asked, so that nobody is offered a conversation that consists of a
/// code.
pub(super) fn present(
    state: &State,
    configuration: &Configuration,
    input: &Input,
    at: At,
) -> Vec<Event> {
    let Input::Channel { customer, event, address, code: Some(Presented { opened, alone }) } =
        input
    else {
        return Vec::new();
    };
    let (customer, reachable) = (*customer, address.is_some());
    let carrier = Carrier::of_event(event);
    let brand = || route::brand(state, configuration, customer, event);
    let mut events = Vec::new();
    let (template, staff, voice) = match read(state, configuration, *opened, at) {
        Ok((read, nonce)) => {
            let binding = Binding {
                bound_at: next_moment(state, customer, read.brand, at),
                staff: read.staff.clone(),
                brand: read.brand.cloned(),
                store: read.store.cloned(),
                channel: event.channel.clone(),
                made: Made::Code { nonce, event: event.id.clone() },
                carrier,
                ended: None,
            };
            let known = state.binding_for(customer, read.brand);
            // Whoever scans a code twice is bound once.
            if known.is_none_or(|known| !says_the_same(known, &binding)) {
                events.push(Event::Bound { customer, binding });
            }
            (BINDING_DONE, Some(read.staff), read.brand.cloned().or_else(brand))
        }
        Err((why, staff)) => {
            let channel = event.channel.clone();
            events.push(Event::CodeRefused { why, staff: staff.cloned(), channel });
            let template = match why {
                RefusedWhy::Expired => BINDING_EXPIRED,
                RefusedWhy::Revoked => BINDING_REVOKED,
                RefusedWhy::Forged => BINDING_FORGED,
            };
            (template, staff, brand())
        }
    };
    let mut routed = Vec::new();
    if !alone {
        // Rules see who the customer is bound to from now on.
        let mut bound = state.clone();
        for event in &events {
            super::Routing::evolve(&mut bound, event, at);
        }
        routed = route::route(&bound, configuration, customer, event, reachable, at);
    }
    if reachable && configuration.templates.contains_key(template) {
        talk::right_is_used(&mut routed);
        let answer = || answer(customer, event, voice);
        let place = routed.iter().position(|event| matches!(event, Event::MessageRequested(_)));
        let place = place.unwrap_or_else(|| {
            routed.push(Event::MessageRequested(answer()));
            routed.len() - 1
        });
        // Before the rest: a reply token is good for one reply with all that there is to say.
        if let Event::MessageRequested(request) = &mut routed[place] {
            request.templates.insert(0, template.to_owned());
            request.staff = staff.cloned();
        }
    }
    events.extend(routed);
    events
}

/// An answer to an event, which has nothing to say yet but what everything that comes in at a
/// retired account is answered with.
fn answer(customer: CustomerId, event: &ChannelEvent, brand: Option<BrandId>) -> MessageRequest {
    let token = event.reply_token.clone();
    let reply = token.map(|token| ReplyRight { token, received_at: event.received_at });
    let moved = event.mode == Mode::Retired && reply.is_some();
    MessageRequest {
        customer,
        channel: event.channel.clone(),
        brand,
        templates: moved.then(|| MOVED.to_owned()).into_iter().collect(),
        text: None,
        case: None,
        reply,
        mode: event.mode,
        carrier: Carrier::of_event(event),
        staff: None,
        rule: None,
    }
}

/// Whether a new binding would tell nothing new: the same person, in the same store, of the same
/// part of the customer.
fn says_the_same(known: &Binding, new: &Binding) -> bool {
    known.staff == new.staff && known.store == new.store && known.carrier == new.carrier
}

/// Later than the last one for the same brand, so that the newer one is the newer one.
pub(super) fn next_moment(
    state: &State,
    customer: CustomerId,
    brand: Option<&BrandId>,
    at: At,
) -> At {
    let mut held = state.bindings.newest_first(customer);
    let last = held.find(|binding| binding.brand.as_ref() == brand);
    last.map_or(at, |last| at.max(At::from_millis(last.bound_at.as_millis().saturating_add(1))))
}
