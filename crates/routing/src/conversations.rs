//! Methods about conversations and the staff who hold them.

use std::collections::BTreeSet;

use mainstem_bus::record::header;
use mainstem_bus::{Call, Draft, Machine as _, read_request, topology};
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::routing::{
    Actor, Answer, Conversation, ConversationEvent, ConversationInput, ConversationView, Event,
    Input, Place, Post, State,
};
use mainstem_domain::{BrandId, ConversationId, CustomerId, Refusal, StaffId};
use mainstem_proto::FieldError;
use mainstem_proto::conversation::{parse_target, standing_to_wire, state_of};
use mainstem_proto::field::{parse_customer, parse_id, parse_optional};
use mainstem_proto::routing;
use mainstem_proto::wire::routing as wire;

use crate::RoutingMachine;
use crate::machine::page_size;
use crate::wish::reason;

type Called = Result<Call<Input>, Refusal>;

/// A method about conversations or staff; `None`: it is about something else.
pub(crate) fn call(state: &State, method: &str, caller: &Caller, body: &[u8]) -> Option<Called> {
    Some(match method {
        "GetConversation" => get(state, caller, body),
        "ListConversations" => list(state, caller, body),
        "ListStaff" => list_staff(state, caller, body),
        "AcceptConversation" => wish(state, caller, body, |state, caller, body| {
            let request: wire::AcceptConversationRequest = read_request(body)?;
            let conversation = seen(state, caller, &request.conversation)?;
            Ok(ConversationInput::Accept { conversation, staff: staff(&request.staff)? })
        }),
        "RejectConversation" => wish(state, caller, body, |state, caller, body| {
            let request: wire::RejectConversationRequest = read_request(body)?;
            let conversation = seen(state, caller, &request.conversation)?;
            Ok(ConversationInput::Reject { conversation, staff: staff(&request.staff)? })
        }),
        "TransferConversation" => wish(state, caller, body, transfer),
        "ReplyConversation" => wish(state, caller, body, |state, caller, body| {
            let request: wire::ReplyConversationRequest = read_request(body)?;
            let conversation = seen(state, caller, &request.conversation)?;
            let staff = staff(&request.staff)?;
            Ok(ConversationInput::Reply { conversation, staff, text: request.text })
        }),
        "CloseConversation" => wish(state, caller, body, |state, caller, body| {
            let request: wire::CloseConversationRequest = read_request(body)?;
            let conversation = seen(state, caller, &request.conversation)?;
            Ok(ConversationInput::Close { conversation, actor: actor(caller, &request.staff)? })
        }),
        "SetPresence" => wish(state, caller, body, |_, _, body| {
            let request: wire::SetPresenceRequest = read_request(body)?;
            Ok(ConversationInput::Presence {
                staff: staff(&request.staff)?,
                available: request.available,
                capacity: (request.capacity > 0).then_some(request.capacity),
            })
        }),
        _ => return None,
    })
}

fn wish(
    state: &State,
    caller: &Caller,
    body: &[u8],
    read: impl FnOnce(&State, &Caller, &[u8]) -> Result<ConversationInput, Refusal>,
) -> Called {
    let wish = read(state, caller, body)?;
    Ok(Call::Command(Input::Conversation { wish, caller: Box::new(caller.clone()) }))
}

fn transfer(state: &State, caller: &Caller, body: &[u8]) -> Result<ConversationInput, Refusal> {
    let request: wire::TransferConversationRequest = read_request(body)?;
    let conversation = seen(state, caller, &request.conversation)?;
    let actor = actor(caller, &request.staff)?;
    let to: Option<StaffId> = parse_optional("to_staff", &request.to_staff)?;
    match (to, request.to_target.as_str()) {
        (Some(to), "") => {
            let reason = reason(&request.reason)?;
            Ok(ConversationInput::Assign { conversation, to, actor, reason })
        }
        (None, "") => Err(Refusal::field("to_staff", "must be given, or to_target".to_owned())),
        (None, target) => {
            let to = parse_target("to_target", target)?;
            Ok(ConversationInput::Transfer { conversation, to, actor })
        }
        (Some(_), _) => {
            Err(Refusal::field("to_target", "must be left out, or to_staff".to_owned()))
        }
    }
}

/// Who decides: a member of staff, or the caller over whoever has the conversation.
fn actor(caller: &Caller, staff: &str) -> Result<Actor, Refusal> {
    let staff: Option<StaffId> = parse_optional("staff", staff)?;
    let by = staff.as_ref().map_or_else(|| caller.name.clone(), ToString::to_string);
    let overrules = staff.is_none() && matches!(caller.role, Role::Desk | Role::Operator);
    if staff.is_none() && !overrules {
        return Err(Refusal::field("staff", "must be given: who decides about it".to_owned()));
    }
    Ok(Actor { by, staff, overrules })
}

fn staff(text: &str) -> Result<StaffId, FieldError> {
    if text.is_empty() {
        return Err(FieldError::new("staff", "must be given, as it stands in the directory"));
    }
    parse_id("staff", text)
}

/// A caller sees the conversations of its stores and brands, and those that its staff have or are
/// asked about.
pub(crate) fn reaches(state: &State, caller: &Caller, one: &Conversation) -> bool {
    let held = || one.stage.staff().and_then(|staff| state.standing(staff));
    caller.reaches(one.store.as_ref(), None, one.brand.as_ref())
        || held().is_some_and(|standing| reaches_staff(caller, &standing.post))
}

fn reaches_staff(caller: &Caller, post: &Post) -> bool {
    reaches_place(caller, post.place.as_ref(), &post.brands)
}

/// Whether a caller sees somebody who works there and speaks for these brands.
pub(crate) fn reaches_place(
    caller: &Caller,
    place: Option<&Place>,
    brands: &BTreeSet<BrandId>,
) -> bool {
    let store = match place {
        Some(Place::Store(store)) => Some(store),
        Some(Place::Desk(_) | Place::Central) | None => None,
    };
    caller.reaches(store, None, None)
        || brands.iter().any(|brand| caller.reaches(None, None, Some(brand)))
}

/// A conversation out of the caller's scope does not exist for that caller.
fn seen(state: &State, caller: &Caller, id: &str) -> Result<ConversationId, Refusal> {
    let id: ConversationId = parse_id("conversation", id)?;
    let view = state.conversation(id);
    view.filter(|view| reaches(state, caller, &view.conversation))
        .map(|view| view.id)
        .ok_or_else(|| Refusal::not_found("conversation", id.as_str()))
}

fn get(state: &State, caller: &Caller, body: &[u8]) -> Called {
    let request: wire::GetConversationRequest = read_request(body)?;
    let id = seen(state, caller, &request.conversation)?;
    let conversation = state.conversation(id).as_ref().map(wire::Conversation::from);
    let response = wire::GetConversationResponse { conversation };
    Ok(Call::Read(serde_json::to_string(&response).unwrap_or_default()))
}

fn list(state: &State, caller: &Caller, body: &[u8]) -> Called {
    let request: wire::ListConversationsRequest = read_request(body)?;
    let customer: Option<CustomerId> = match request.customer.as_str() {
        "" => None,
        customer => Some(state.current(parse_customer("customer", customer)?)),
    };
    let staff: Option<StaffId> = parse_optional("staff", &request.staff)?;
    let after: Option<ConversationId> = page("page_token", &request.page_token)?;
    let size = page_size(request.page_size)?;
    let wanted = |one: &Conversation| {
        staff.as_ref().is_none_or(|staff| one.stage.staff() == Some(staff))
            && (request.state() == wire::ConversationState::Unspecified
                || request.state() == state_of(&one.stage))
            && reaches(state, caller, one)
    };
    // Of what is open alone, however much was closed.
    let found: Box<dyn Iterator<Item = (ConversationId, &Conversation)>> =
        match (customer, &staff, request.state()) {
            (Some(customer), _, _) => Box::new(state.conversations_of(customer)),
            (None, Some(staff), _) => {
                let held = state.standing(staff).into_iter();
                Box::new(held.flat_map(|one| state.these_conversations(&one.held)))
            }
            (
                None,
                None,
                wire::ConversationState::Offered | wire::ConversationState::InProgress,
            ) => Box::new(in_order(state.held())),
            (None, None, wire::ConversationState::Waiting) => Box::new(in_order(state.in_line())),
            (
                None,
                None,
                wire::ConversationState::Unspecified | wire::ConversationState::Closed,
            ) => Box::new(state.conversations_after(after).map(|(id, one)| (*id, one))),
        };
    let later = |id: &ConversationId| after.is_none_or(|after| *id > after);
    let mut found = found.filter(|(id, one)| later(id) && wanted(one));
    let conversations: Vec<_> = found
        .by_ref()
        .take(size)
        .map(|(id, one)| ConversationView { id, conversation: one.clone() })
        .map(|view| wire::Conversation::from(&view))
        .collect();
    let next_page_token = match conversations.last().filter(|_| found.next().is_some()) {
        Some(last) => last.conversation.clone(),
        None => String::new(),
    };
    let response = wire::ListConversationsResponse { conversations, next_page_token };
    Ok(Call::Read(serde_json::to_string(&response).unwrap_or_default()))
}

fn in_order<'a>(
    found: impl Iterator<Item = (ConversationId, &'a Conversation)>,
) -> impl Iterator<Item = (ConversationId, &'a Conversation)> {
    let mut found: Vec<_> = found.collect();
    found.sort_unstable_by_key(|(id, _)| *id);
    found.into_iter()
}

fn list_staff(state: &State, caller: &Caller, body: &[u8]) -> Called {
    let request: wire::ListStaffRequest = read_request(body)?;
    let after: Option<StaffId> = page("page_token", &request.page_token)?;
    let size = page_size(request.page_size)?;
    let found = state.staff_after(after.as_ref());
    let mut found = found.filter(|(_, standing)| reaches_staff(caller, &standing.post));
    let staff: Vec<_> = found
        .by_ref()
        .take(size)
        .map(|(staff, standing)| standing_to_wire(staff, standing))
        .collect();
    let next_page_token = match staff.last().filter(|_| found.next().is_some()) {
        Some(last) => last.staff.clone(),
        None => String::new(),
    };
    let response = wire::ListStaffResponse { staff, next_page_token };
    Ok(Call::Read(serde_json::to_string(&response).unwrap_or_default()))
}

fn page<T: std::str::FromStr<Err = mainstem_domain::IdError>>(
    field: &str,
    token: &str,
) -> Result<Option<T>, FieldError> {
    parse_optional(field, token).map_err(|_| {
        FieldError::new(field, "is none that this method gave; begin at the first page")
    })
}

/// What a command about a conversation or a person is answered with; `None`: it is about something
/// else.
pub(crate) fn answer(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Conversation(view) => {
            let conversation = Some(wire::Conversation::from(view.as_ref()));
            let response = wire::GetConversationResponse { conversation };
            Some(serde_json::to_string(&response).unwrap_or_default())
        }
        Answer::Staff(staff, standing) => {
            let staff = standing.as_ref().map(|standing| standing_to_wire(staff, standing));
            let response = wire::SetPresenceResponse { staff };
            Some(serde_json::to_string(&response).unwrap_or_default())
        }
        Answer::Nothing
        | Answer::Paused(_)
        | Answer::Queue(_)
        | Answer::Case(_)
        | Answer::Existing(_)
        | Answer::Code(_)
        | Answer::Revoked(_)
        | Answer::Ended { .. }
        | Answer::HandedOver { .. } => None,
    }
}

/// How what is decided about conversations and staff stands in the ledger.
pub(crate) fn draft(event: &ConversationEvent) -> Draft {
    let of_customer = |customer: CustomerId, mut headers: Vec<(&'static str, String)>| {
        headers.push((header::CUSTOMER, customer.to_string()));
        (topology::conversation_subject(customer), headers)
    };
    let (subject, headers) = match event {
        ConversationEvent::Opened { conversation, .. }
        | ConversationEvent::Restated { conversation, .. } => of_customer(
            conversation.customer,
            topology::place_headers(
                Some(&conversation.channel),
                conversation.store.as_ref(),
                conversation.brand.as_ref(),
            ),
        ),
        ConversationEvent::Active { about, .. }
        | ConversationEvent::Tagged { about, .. }
        | ConversationEvent::Offered { about, .. }
        | ConversationEvent::Accepted { about, .. }
        | ConversationEvent::Assigned { about, .. }
        | ConversationEvent::Replied { about, .. }
        | ConversationEvent::Closed { about, .. } => of_customer(
            about.customer,
            topology::place_headers(None, about.store.as_ref(), about.brand.as_ref()),
        ),
        ConversationEvent::Stands { staff, .. } => (topology::staff_subject(staff), Vec::new()),
        ConversationEvent::Forgotten { .. }
        | ConversationEvent::Reviewed { .. }
        | ConversationEvent::IdleRestated { .. } => {
            (topology::ledger_subject(RoutingMachine::SERVICE, topology::STAFF), Vec::new())
        }
    };
    let encoded = routing::encode(&Event::Conversation(event.clone()));
    Draft { subject, kind: encoded.kind.into(), body: encoded.body, headers }
}

#[cfg(test)]
mod tests {
    use mainstem_domain::access::Scope;
    use mainstem_domain::configuration::Configuration;
    use mainstem_domain::routing::Routing;
    use mainstem_domain::{At, Decider as _};
    use serde_json::{Value, json};

    use super::*;

    /// The staff of a store, of a brand's desk and of the central desk say to be there.
    fn staffed() -> State {
        let configuration: Configuration = serde_json::from_value(json!({
            "brands": {"aurora": {"name": "Aurora"}},
            "stores": {"s1": {"name": "One"}},
            "desks": {
                "aurora-desk": {"name": "Aurora", "brands": ["aurora"]},
                "central": {"name": "Central"},
            },
            "staff": {
                "a": {"name": "A", "store": "s1"},
                "b": {"name": "B", "desk": "aurora-desk"},
                "c": {"name": "C", "desk": "central"},
            },
        }))
        .unwrap();
        let scope = Scope { all: true, ..Scope::default() };
        let caller = Caller { name: "desk/all".to_owned(), role: Role::Desk, scope };
        let mut state = State::default();
        for staff in ["a", "b", "c"] {
            let staff = staff.parse().unwrap();
            let wish = ConversationInput::Presence { staff, available: true, capacity: None };
            let input = Input::Conversation { wish, caller: Box::new(caller.clone()) };
            let at = At::default();
            for event in Routing::decide(&state, &configuration, &input, at).events {
                Routing::evolve(&mut state, &event, at);
            }
        }
        state
    }

    fn read(state: &State, method: &str, scope: Scope, body: &Value) -> Value {
        let caller = Caller { name: "desk/x".to_owned(), role: Role::Desk, scope };
        match call(state, method, &caller, body.to_string().as_bytes()).unwrap().unwrap() {
            Call::Read(answer) => serde_json::from_str(&answer).unwrap(),
            Call::Look(_) | Call::Command(_) => panic!("{method} only reads"),
        }
    }

    #[test]
    fn a_caller_sees_the_staff_of_its_stores_and_of_the_desks_of_its_brands() {
        let state = staffed();
        let seen = |scope| {
            let listed = read(&state, "ListStaff", scope, &json!({}));
            let staff = listed["staff"].as_array().cloned().unwrap_or_default();
            staff.iter().map(|one| one["staff"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let brands = [String::from("aurora").try_into().unwrap()].into();
        assert_eq!(seen(Scope { brands, ..Scope::default() }), ["b"]);
        let stores = [String::from("s1").try_into().unwrap()].into();
        assert_eq!(seen(Scope { stores, ..Scope::default() }), ["a"]);
        assert_eq!(seen(Scope { all: true, ..Scope::default() }), ["a", "b", "c"]);
        assert_eq!(seen(Scope::default()), [""; 0]);
    }

    #[test]
    fn nobody_has_what_somebody_unknown_has() {
        let scope = Scope { all: true, ..Scope::default() };
        let listed = read(&staffed(), "ListConversations", scope, &json!({"staff": "nobody"}));
        assert_eq!(listed, json!({}));
    }
}
