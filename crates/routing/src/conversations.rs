//! Methods about conversations and the staff who hold them.

use mainstem_bus::record::header;
use mainstem_bus::{Call, Draft, Machine as _, read_request, topology};
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::routing::{
    Actor, Answer, Conversation, ConversationEvent, ConversationInput, ConversationView, Event,
    Input, Place, Post, State,
};
use mainstem_domain::{ConversationId, CustomerId, Refusal, StaffId};
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
fn reaches(state: &State, caller: &Caller, one: &Conversation) -> bool {
    let held = || one.stage.staff().and_then(|staff| state.standing(staff));
    caller.reaches(one.store.as_ref(), None, one.brand.as_ref())
        || held().is_some_and(|standing| reaches_staff(caller, &standing.post))
}

fn reaches_staff(caller: &Caller, post: &Post) -> bool {
    let store = match &post.place {
        Some(Place::Store(store)) => Some(store),
        Some(Place::Desk(_) | Place::Central) | None => None,
    };
    caller.reaches(store, None, None)
        || post.brands.iter().any(|brand| caller.reaches(None, None, Some(brand)))
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
    let held = staff.as_ref().and_then(|staff| state.standing(staff));
    let found: Box<dyn Iterator<Item = (ConversationId, &Conversation)>> = match (customer, held) {
        (Some(customer), _) => Box::new(state.conversations_of(customer)),
        (None, Some(standing)) => Box::new(state.these_conversations(&standing.held)),
        (None, None) => Box::new(state.conversations_after(after).map(|(id, one)| (*id, one))),
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
