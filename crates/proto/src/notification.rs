//! notification's records and answers.

use mainstem_domain::ItemId;
use mainstem_domain::notification::{Delivery, Event, Item, Outcome, Way};
use mainstem_domain::person::Address;

use crate::custody::{self, Kinds};
use crate::error::{DecodeError, FieldError};
use crate::field::{
    parse_carrier, parse_channel, parse_customer, parse_item, parse_time, text, timestamp,
};
use crate::record::{self, Encoded};
use crate::wire::notification as wire;

/// The customer can be reached there.
pub const ADDRESS_LEARNED: &str = "mainstem.notification.address-learned.v1";
/// An absorbed customer's addresses are the survivor's.
pub const ADDRESSES_MOVED: &str = "mainstem.notification.addresses-moved.v1";
/// An item is on its way; the body is the [`wire::Delivery`] itself.
pub const DELIVERY_QUEUED: &str = "mainstem.notification.delivery-queued.v1";
/// A request ended without an item: nothing is to be said there now.
pub const REQUEST_SUPPRESSED: &str = "mainstem.notification.request-suppressed.v1";
/// A request ended without an item.
pub const REQUEST_FAILED: &str = "mainstem.notification.request-failed.v1";
/// A sender is about to reply.
pub const DELIVERY_BEGUN: &str = "mainstem.notification.delivery-begun.v1";
/// An item ended.
pub const DELIVERY_SETTLED: &str = "mainstem.notification.delivery-settled.v1";

/// An item belongs to a piece of the customer that it belonged to.
pub const DELIVERY_RESTATED: &str = "mainstem.notification.delivery-restated.v1";
/// A request of a customer who was erased ended without an item.
pub const REQUEST_VOIDED: &str = "mainstem.notification.request-voided.v1";
/// Items of a customer who was erased.
pub const DELIVERIES_VOIDED: &str = "mainstem.notification.deliveries-voided.v1";
/// A customer is taken apart.
pub const SPLIT_BEGUN: &str = "mainstem.notification.split-begun.v1";
/// Some of what belongs to a piece of it.
pub const DIVIDED: &str = "mainstem.notification.divided.v1";
/// The service that this one follows has moved its records.
pub const UPSTREAM_MOVED: &str = "mainstem.notification.upstream-moved.v1";
/// The records under an id stand under their owners.
pub const RECORDS_MOVED: &str = "mainstem.notification.records-moved.v1";
/// A customer is forgotten.
pub const CUSTOMERS_FORGOTTEN: &str = "mainstem.notification.customers-forgotten.v1";
/// Its records are gone.
pub const ERASURE_DONE: &str = "mainstem.notification.erasure-done.v1";
/// identity-merge knows that they are.
pub const ERASURE_REPORTED: &str = "mainstem.notification.erasure-reported.v1";

const CUSTODY: Kinds = Kinds {
    split_begun: SPLIT_BEGUN,
    divided: DIVIDED,
    upstream_moved: UPSTREAM_MOVED,
    records_moved: RECORDS_MOVED,
    customers_forgotten: CUSTOMERS_FORGOTTEN,
    erasure_done: ERASURE_DONE,
    erasure_reported: ERASURE_REPORTED,
};

/// The record of an event.
#[must_use]
pub fn encode(event: &Event) -> Encoded {
    match event {
        Event::AddressLearned { customer, address, carrier } => record::write(
            ADDRESS_LEARNED,
            &wire::AddressLearned {
                customer: customer.to_string(),
                channel: address.channel.to_string(),
                user: address.user.clone(),
                carrier: text(carrier.as_ref()),
            },
        ),
        Event::AddressesMoved { from, to } => record::write(
            ADDRESSES_MOVED,
            &wire::AddressesMoved { absorbed: from.to_string(), survivor: to.to_string() },
        ),
        Event::Queued { id, item } => record::write(DELIVERY_QUEUED, &delivery_to_wire(*id, item)),
        Event::ItemRestated { id, item } => record::write(
            DELIVERY_RESTATED,
            &wire::DeliveryRestated { delivery: Some(delivery_to_wire(*id, item)) },
        ),
        Event::RequestVoided { id } => {
            record::write(REQUEST_VOIDED, &wire::RequestVoided { item: id.to_string() })
        }
        Event::ItemsVoided { items } => record::write(
            DELIVERIES_VOIDED,
            &wire::DeliveriesVoided { items: items.iter().map(ToString::to_string).collect() },
        ),
        Event::Custody(event) => custody::encode(&CUSTODY, event),
        Event::Suppressed { id, customer, channel, reason, carrier } => record::write(
            REQUEST_SUPPRESSED,
            &wire::RequestSuppressed {
                item: id.to_string(),
                customer: customer.to_string(),
                channel: channel.to_string(),
                reason: reason.clone(),
                carrier: text(carrier.as_ref()),
            },
        ),
        Event::Failed { id, customer, channel, reason, carrier } => record::write(
            REQUEST_FAILED,
            &wire::RequestFailed {
                item: id.to_string(),
                customer: customer.to_string(),
                channel: channel.to_string(),
                reason: reason.clone(),
                carrier: text(carrier.as_ref()),
            },
        ),
        Event::Begun { id, customer, attempt, carrier } => record::write(
            DELIVERY_BEGUN,
            &wire::DeliveryBegun {
                item: id.to_string(),
                customer: customer.to_string(),
                attempt: attempt.clone(),
                carrier: text(carrier.as_ref()),
            },
        ),
        Event::Settled { id, customer, outcome, carrier } => {
            let (state, reason) = outcome_to_wire(Some(outcome));
            record::write(
                DELIVERY_SETTLED,
                &wire::DeliverySettled {
                    item: id.to_string(),
                    customer: customer.to_string(),
                    state: state.into(),
                    reason,
                    carrier: text(carrier.as_ref()),
                },
            )
        }
    }
}

/// The event of a record that [`encode`] made.
pub fn decode(kind: &str, body: &[u8]) -> Result<Event, DecodeError> {
    match kind {
        ADDRESS_LEARNED => {
            let record: wire::AddressLearned = record::read(body)?;
            let channel = parse_channel("channel", &record.channel)?;
            Ok(Event::AddressLearned {
                customer: parse_customer("customer", &record.customer)?,
                address: Address { channel, user: record.user },
                carrier: parse_carrier("carrier", &record.carrier)?,
            })
        }
        ADDRESSES_MOVED => {
            let record: wire::AddressesMoved = record::read(body)?;
            Ok(Event::AddressesMoved {
                from: parse_customer("absorbed", &record.absorbed)?,
                to: parse_customer("survivor", &record.survivor)?,
            })
        }
        DELIVERY_QUEUED => {
            let Delivery { id, item } = record::read::<wire::Delivery>(body)?.try_into()?;
            Ok(Event::Queued { id, item })
        }
        REQUEST_SUPPRESSED => {
            let record: wire::RequestSuppressed = record::read(body)?;
            Ok(Event::Suppressed {
                id: parse_item("item", &record.item)?,
                customer: parse_customer("customer", &record.customer)?,
                channel: parse_channel("channel", &record.channel)?,
                reason: record.reason,
                carrier: parse_carrier("carrier", &record.carrier)?,
            })
        }
        REQUEST_FAILED => {
            let record: wire::RequestFailed = record::read(body)?;
            Ok(Event::Failed {
                id: parse_item("item", &record.item)?,
                customer: parse_customer("customer", &record.customer)?,
                channel: parse_channel("channel", &record.channel)?,
                reason: record.reason,
                carrier: parse_carrier("carrier", &record.carrier)?,
            })
        }
        DELIVERY_BEGUN => {
            let record: wire::DeliveryBegun = record::read(body)?;
            Ok(Event::Begun {
                id: parse_item("item", &record.item)?,
                customer: parse_customer("customer", &record.customer)?,
                attempt: record.attempt,
                carrier: parse_carrier("carrier", &record.carrier)?,
            })
        }
        DELIVERY_SETTLED => {
            let record: wire::DeliverySettled = record::read(body)?;
            Ok(Event::Settled {
                id: parse_item("item", &record.item)?,
                customer: parse_customer("customer", &record.customer)?,
                outcome: parse_outcome(record.state, record.reason)?,
                carrier: parse_carrier("carrier", &record.carrier)?,
            })
        }
        DELIVERY_RESTATED => {
            let record: wire::DeliveryRestated = record::read(body)?;
            let delivery =
                record.delivery.ok_or_else(|| FieldError::new("delivery", "is missing"))?;
            let read = Delivery::try_from(delivery).map_err(|error| error.within("delivery"))?;
            Ok(Event::ItemRestated { id: read.id, item: read.item })
        }
        REQUEST_VOIDED => {
            let record: wire::RequestVoided = record::read(body)?;
            Ok(Event::RequestVoided { id: parse_item("item", &record.item)? })
        }
        DELIVERIES_VOIDED => {
            let record: wire::DeliveriesVoided = record::read(body)?;
            let items = record.items.iter().map(|item| parse_item("items", item));
            Ok(Event::ItemsVoided { items: items.collect::<Result<_, _>>()? })
        }
        _ => custody::decode(&CUSTODY, kind, body)?
            .map(Event::Custody)
            .ok_or_else(|| DecodeError::UnknownKind(kind.to_owned())),
    }
}

/// How an item ended, from the fields `state` and `reason` of a record or a request.
pub fn parse_outcome(state: i32, reason: String) -> Result<Outcome, FieldError> {
    match wire::DeliveryState::try_from(state) {
        Ok(wire::DeliveryState::Sent) if reason.is_empty() => Ok(Outcome::Sent),
        Ok(wire::DeliveryState::Sent) => {
            Err(FieldError::new("reason", "must be empty unless state is FAILED"))
        }
        Ok(wire::DeliveryState::Failed) => Ok(Outcome::Failed { reason }),
        Ok(wire::DeliveryState::Unspecified | wire::DeliveryState::Waiting) | Err(_) => {
            Err(FieldError::new("state", "must be SENT or FAILED"))
        }
    }
}

fn outcome_to_wire(outcome: Option<&Outcome>) -> (wire::DeliveryState, String) {
    match outcome {
        None => (wire::DeliveryState::Waiting, String::new()),
        Some(Outcome::Sent) => (wire::DeliveryState::Sent, String::new()),
        Some(Outcome::Failed { reason }) => (wire::DeliveryState::Failed, reason.clone()),
    }
}

fn delivery_to_wire(id: ItemId, item: &Item) -> wire::Delivery {
    let (state, reason) = outcome_to_wire(item.outcome.as_ref());
    wire::Delivery {
        item: id.to_string(),
        customer: item.customer.to_string(),
        channel: item.address.channel.to_string(),
        user: item.address.user.clone(),
        reply_token: match &item.way {
            Way::Reply { token } => token.clone(),
            Way::Push => String::new(),
        },
        texts: item.texts.clone(),
        create_time: Some(timestamp(item.asked_at)),
        state: state.into(),
        reason,
        attempts: item.attempts.clone(),
        end_time: item.ended_at.map(timestamp),
        carrier: text(item.carrier.as_ref()),
    }
}

impl From<&Delivery> for wire::Delivery {
    fn from(delivery: &Delivery) -> Self {
        delivery_to_wire(delivery.id, &delivery.item)
    }
}

impl TryFrom<wire::Delivery> for Delivery {
    type Error = FieldError;

    fn try_from(delivery: wire::Delivery) -> Result<Self, FieldError> {
        let outcome = if delivery.state == i32::from(wire::DeliveryState::Waiting) {
            None
        } else {
            Some(parse_outcome(delivery.state, delivery.reason)?)
        };
        let way = if delivery.reply_token.is_empty() {
            Way::Push
        } else {
            Way::Reply { token: delivery.reply_token }
        };
        let channel = parse_channel("channel", &delivery.channel)?;
        Ok(Self {
            id: parse_item("item", &delivery.item)?,
            item: Item {
                customer: parse_customer("customer", &delivery.customer)?,
                address: Address { channel, user: delivery.user },
                way,
                texts: delivery.texts,
                asked_at: parse_time("create_time", delivery.create_time)?,
                attempts: delivery.attempts,
                outcome,
                ended_at: delivery
                    .end_time
                    .map(|time| parse_time("end_time", Some(time)))
                    .transpose()?,
                carrier: parse_carrier("carrier", &delivery.carrier)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_domain::{At, CustomerId};

    #[test]
    fn a_delivery_is_the_body_of_its_record() {
        let delivery = Delivery {
            id: ItemId::derive("1"),
            item: Item {
                customer: CustomerId::derive("1"),
                address: Address { channel: "line-1".parse().unwrap(), user: "U1".to_owned() },
                way: Way::Reply { token: "t".to_owned() },
                texts: vec!["好".to_owned()],
                asked_at: At::from_millis(0),
                attempts: Vec::new(),
                outcome: None,
                ended_at: None,
                carrier: None,
            },
        };
        let event = Event::Queued { id: delivery.id, item: delivery.item.clone() };
        let record = encode(&event);
        let body: wire::Delivery = serde_json::from_slice(&record.body).unwrap();
        assert_eq!(body, wire::Delivery::from(&delivery));
        assert_eq!(Delivery::try_from(body), Ok(delivery));
        assert_eq!(decode(record.kind, &record.body), Ok(event));
    }

    #[test]
    fn only_an_end_is_an_outcome() {
        let parse = |state: wire::DeliveryState, reason: &str| {
            parse_outcome(state.into(), reason.to_owned()).map_err(|error| error.field)
        };
        let failed = Outcome::Failed { reason: "blocked".to_owned() };
        assert_eq!(parse(wire::DeliveryState::Sent, ""), Ok(Outcome::Sent));
        assert_eq!(parse(wire::DeliveryState::Failed, "blocked"), Ok(failed));
        assert_eq!(parse(wire::DeliveryState::Sent, "x"), Err("reason".to_owned()));
        assert_eq!(parse(wire::DeliveryState::Waiting, ""), Err("state".to_owned()));
        assert_eq!(parse(wire::DeliveryState::Unspecified, ""), Err("state".to_owned()));
        assert!(parse_outcome(99, String::new()).is_err());
    }
}
