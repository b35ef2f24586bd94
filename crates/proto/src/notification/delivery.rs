//! Requests and what became of them.

use std::sync::Arc;

use mainstem_domain::notification::{
    Class, Deferred, Delivery, Ended, Item, Outcome, Reason, Request, Standing, Wait, Way, Words,
};
use mainstem_domain::person::Address;
use mainstem_domain::voice::Message;
use mainstem_domain::{At, ItemId};

use crate::channel::{mode_from, mode_to};
use crate::error::FieldError;
use crate::field::{
    parse_carrier, parse_channel, parse_customer, parse_item, parse_optional, parse_time, text,
    timestamp,
};
use crate::wire::channel::ChannelMode;
use crate::wire::notification as wire;

/// Of which kind a message is.
#[must_use]
pub fn class_to(class: Class) -> wire::MessageClass {
    match class {
        Class::Reply => wire::MessageClass::Reply,
        Class::Service => wire::MessageClass::Service,
        Class::Transactional => wire::MessageClass::Transactional,
        Class::Marketing => wire::MessageClass::Marketing,
    }
}

/// Of which kind a message is; not said: of service.
pub fn parse_class(field: &str, class: i32) -> Result<Class, FieldError> {
    match wire::MessageClass::try_from(class) {
        Ok(wire::MessageClass::Reply) => Ok(Class::Reply),
        Ok(wire::MessageClass::Unspecified | wire::MessageClass::Service) => Ok(Class::Service),
        Ok(wire::MessageClass::Transactional) => Ok(Class::Transactional),
        Ok(wire::MessageClass::Marketing) => Ok(Class::Marketing),
        Err(_) => Err(FieldError::new(field, "must be REPLY, SERVICE, TRANSACTIONAL or MARKETING")),
    }
}

/// What a request waits for, in words.
pub(super) fn wait_reason(wait: Wait) -> &'static str {
    match wait {
        Wait::QuietHours => "quiet hours",
        Wait::Budget => "the person's budget",
    }
}

/// How an item ended, from the fields `state` and `reason` of a record or a request.
pub fn parse_outcome(state: i32, reason: String) -> Result<Outcome, FieldError> {
    let reason: Reason = reason.into();
    match wire::DeliveryState::try_from(state) {
        Ok(wire::DeliveryState::Sent) if reason.is_empty() => Ok(Outcome::Sent),
        Ok(wire::DeliveryState::Sent) => {
            Err(FieldError::new("reason", "must be empty when state is SENT"))
        }
        Ok(wire::DeliveryState::Failed) => Ok(Outcome::Failed { reason }),
        Ok(wire::DeliveryState::Expired) => Ok(Outcome::Expired { reason }),
        Ok(wire::DeliveryState::Suppressed) => Ok(Outcome::Suppressed { reason }),
        Ok(
            wire::DeliveryState::Unspecified
            | wire::DeliveryState::Waiting
            | wire::DeliveryState::Deferred,
        )
        | Err(_) => Err(FieldError::new("state", "must be SENT, FAILED or EXPIRED")),
    }
}

/// The fields `state` and `reason` of how something ended.
#[must_use]
pub fn outcome_to(outcome: &Outcome) -> (wire::DeliveryState, String) {
    let state = match outcome {
        Outcome::Sent => wire::DeliveryState::Sent,
        Outcome::Suppressed { .. } => wire::DeliveryState::Suppressed,
        Outcome::Expired { .. } => wire::DeliveryState::Expired,
        Outcome::Failed { .. } => wire::DeliveryState::Failed,
    };
    (state, outcome.reason().unwrap_or_default().to_owned())
}

pub(super) fn optional_time(
    field: &str,
    time: Option<pbjson_types::Timestamp>,
) -> Result<Option<At>, FieldError> {
    time.map(|time| parse_time(field, Some(time))).transpose()
}

pub(super) fn item_to_wire(id: ItemId, item: &Item) -> wire::Delivery {
    wire::Delivery {
        item: id.to_string(),
        customer: item.customer.to_string(),
        channel: item.address.channel.to_string(),
        user: item.address.user.to_string(),
        reply_token: match &item.way {
            Way::Reply { token } => token.clone(),
            Way::Push => String::new(),
        },
        messages: item.messages.iter().map(|message| message.as_str().to_owned()).collect(),
        create_time: Some(timestamp(item.asked_at)),
        state: wire::DeliveryState::Waiting.into(),
        attempts: item.attempts.clone(),
        carrier: text(item.carrier.as_ref()),
        class: class_to(item.class).into(),
        expire_time: item.deadline.map(timestamp),
        joined: item.joined.iter().map(ToString::to_string).collect(),
        ..wire::Delivery::default()
    }
}

fn deferred_summary(id: ItemId, deferred: &Deferred) -> wire::Delivery {
    let Deferred { request, until, wait } = deferred;
    wire::Delivery {
        item: id.to_string(),
        customer: request.customer.to_string(),
        channel: text(request.channel.as_ref()),
        create_time: Some(timestamp(request.asked_at)),
        state: wire::DeliveryState::Deferred.into(),
        reason: wait_reason(*wait).to_owned(),
        carrier: text(request.carrier.as_ref()),
        class: class_to(request.class).into(),
        expire_time: request.deadline.map(timestamp),
        release_time: Some(timestamp(*until)),
        ..wire::Delivery::default()
    }
}

fn ended_to_wire(id: ItemId, ended: &Ended) -> wire::Delivery {
    let (state, reason) = outcome_to(&ended.outcome);
    wire::Delivery {
        item: id.to_string(),
        customer: ended.customer.to_string(),
        channel: text(ended.channel.as_ref()),
        create_time: Some(timestamp(ended.asked_at)),
        state: state.into(),
        reason,
        end_time: Some(timestamp(ended.ended_at)),
        carrier: text(ended.carrier.as_ref()),
        class: class_to(ended.class).into(),
        ..wire::Delivery::default()
    }
}

impl From<&Delivery> for wire::Delivery {
    fn from(delivery: &Delivery) -> Self {
        match &delivery.standing {
            Standing::Deferred(deferred) => deferred_summary(delivery.id, deferred),
            Standing::Queued(item) => item_to_wire(delivery.id, item),
            Standing::Ended(ended) => ended_to_wire(delivery.id, ended),
        }
    }
}

/// Reads one that is on its way, or that has ended. One that waits has no item yet.
impl TryFrom<wire::Delivery> for Delivery {
    type Error = FieldError;

    fn try_from(delivery: wire::Delivery) -> Result<Self, FieldError> {
        let id = parse_item("item", &delivery.item)?;
        if delivery.state == i32::from(wire::DeliveryState::Waiting) {
            let item = Arc::new(item_from_wire(delivery)?);
            return Ok(Self { id, standing: Standing::Queued(item) });
        }
        if delivery.state == i32::from(wire::DeliveryState::Deferred) {
            return Err(FieldError::new("state", "must not be DEFERRED: it has no item yet"));
        }
        let ended = Ended {
            customer: parse_customer("customer", &delivery.customer)?,
            carrier: parse_carrier("carrier", &delivery.carrier)?,
            class: parse_class("class", delivery.class)?,
            channel: parse_optional("channel", &delivery.channel)?,
            asked_at: parse_time("create_time", delivery.create_time)?,
            ended_at: parse_time("end_time", delivery.end_time)?,
            outcome: parse_outcome(delivery.state, delivery.reason)?,
        };
        Ok(Self { id, standing: Standing::Ended(Arc::new(ended)) })
    }
}

pub(super) fn item_from_wire(delivery: wire::Delivery) -> Result<Item, FieldError> {
    let way = if delivery.reply_token.is_empty() {
        Way::Push
    } else {
        Way::Reply { token: delivery.reply_token }
    };
    let channel = parse_channel("channel", &delivery.channel)?;
    let messages = delivery.messages.into_iter().map(Message::try_from);
    let messages = messages
        .collect::<Result<_, _>>()
        .map_err(|error| FieldError::new("messages", error.to_string()))?;
    let joined = delivery.joined.iter().map(|item| parse_item("joined", item));
    Ok(Item {
        customer: parse_customer("customer", &delivery.customer)?,
        carrier: parse_carrier("carrier", &delivery.carrier)?,
        class: parse_class("class", delivery.class)?,
        address: Address { channel, user: delivery.user.into() },
        way,
        messages,
        asked_at: parse_time("create_time", delivery.create_time)?,
        deadline: optional_time("expire_time", delivery.expire_time)?,
        joined: joined.collect::<Result<_, _>>()?,
        attempts: delivery.attempts,
    })
}

pub(super) fn deferred_to_wire(id: ItemId, deferred: &Deferred) -> wire::RequestDeferred {
    let Deferred { request, until, wait } = deferred;
    let Words { templates, text: words, variables, case, staff } = &request.words;
    wire::RequestDeferred {
        item: id.to_string(),
        request: Some(wire::WaitingRequest {
            customer: request.customer.to_string(),
            carrier: text(request.carrier.as_ref()),
            class: class_to(request.class).into(),
            channel: text(request.channel.as_ref()),
            elsewhere: request.elsewhere,
            mode: mode_to(request.mode).into(),
            brand: text(request.brand.as_ref()),
            templates: templates.clone(),
            text: words.clone().unwrap_or_default(),
            variables: variables.clone().into_iter().collect(),
            case: text(case.as_ref()),
            staff: text(staff.as_ref()),
            collapse_key: request.collapse_key.clone().unwrap_or_default(),
            expire_time: request.deadline.map(timestamp),
            digest: request.digest,
            create_time: Some(timestamp(request.asked_at)),
        }),
        release_time: Some(timestamp(*until)),
        wait: match wait {
            Wait::QuietHours => wire::Wait::QuietHours,
            Wait::Budget => wire::Wait::Budget,
        }
        .into(),
    }
}

pub(super) fn deferred_from_wire(
    record: wire::RequestDeferred,
) -> Result<(ItemId, Deferred), FieldError> {
    let id = parse_item("item", &record.item)?;
    let request = record.request.ok_or_else(|| FieldError::new("request", "is missing"))?;
    let request = request_from_wire(request).map_err(|error| error.within("request"))?;
    let until = parse_time("release_time", record.release_time)?;
    let wait = match wire::Wait::try_from(record.wait) {
        Ok(wire::Wait::QuietHours) => Wait::QuietHours,
        Ok(wire::Wait::Budget) => Wait::Budget,
        Ok(wire::Wait::Unspecified) | Err(_) => {
            return Err(FieldError::new("wait", "must be QUIET_HOURS or BUDGET"));
        }
    };
    Ok((id, Deferred { request, until, wait }))
}

fn request_from_wire(request: wire::WaitingRequest) -> Result<Request, FieldError> {
    let mode = ChannelMode::try_from(request.mode)
        .map_err(|_| FieldError::new("mode", "must be LIVE, SHADOW or RETIRED"))?;
    let case = match request.case.as_str() {
        "" => None,
        case => Some(crate::field::parse_case("case", case)?),
    };
    Ok(Request {
        customer: parse_customer("customer", &request.customer)?,
        carrier: parse_carrier("carrier", &request.carrier)?,
        class: parse_class("class", request.class)?,
        channel: parse_optional("channel", &request.channel)?,
        elsewhere: request.elsewhere,
        mode: mode_from(mode),
        brand: parse_optional("brand", &request.brand)?,
        words: Words {
            templates: request.templates,
            text: Some(request.text).filter(|text| !text.is_empty()),
            variables: request.variables.into_iter().collect(),
            case,
            staff: parse_optional("staff", &request.staff)?,
        },
        reply: None,
        collapse_key: Some(request.collapse_key).filter(|key| !key.is_empty()),
        deadline: optional_time("expire_time", request.expire_time)?,
        digest: request.digest,
        asked_at: parse_time("create_time", request.create_time)?,
    })
}
