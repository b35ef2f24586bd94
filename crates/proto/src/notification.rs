//! notification's records and answers.

use mainstem_domain::ItemId;
use mainstem_domain::notification::{Delivery, Event, Item, Outcome, Way};
use mainstem_domain::person::Address;

use crate::error::{DecodeError, FieldError};
use crate::field::{parse_channel, parse_customer, parse_item, parse_time, timestamp};
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

/// The record of an event.
#[must_use]
pub fn encode(event: &Event) -> Encoded {
    match event {
        Event::AddressLearned { customer, address } => record::write(
            ADDRESS_LEARNED,
            &wire::AddressLearned {
                customer: customer.to_string(),
                channel: address.channel.to_string(),
                user: address.user.clone(),
            },
        ),
        Event::AddressesMoved { from, to } => record::write(
            ADDRESSES_MOVED,
            &wire::AddressesMoved { absorbed: from.to_string(), survivor: to.to_string() },
        ),
        Event::Queued { id, item } => record::write(DELIVERY_QUEUED, &delivery_to_wire(*id, item)),
        Event::Suppressed { id, customer, channel, reason } => record::write(
            REQUEST_SUPPRESSED,
            &wire::RequestSuppressed {
                item: id.to_string(),
                customer: customer.to_string(),
                channel: channel.to_string(),
                reason: reason.clone(),
            },
        ),
        Event::Failed { id, customer, channel, reason } => record::write(
            REQUEST_FAILED,
            &wire::RequestFailed {
                item: id.to_string(),
                customer: customer.to_string(),
                channel: channel.to_string(),
                reason: reason.clone(),
            },
        ),
        Event::Begun { id, customer, attempt } => record::write(
            DELIVERY_BEGUN,
            &wire::DeliveryBegun {
                item: id.to_string(),
                customer: customer.to_string(),
                attempt: attempt.clone(),
            },
        ),
        Event::Settled { id, customer, outcome } => {
            let (state, reason) = outcome_to_wire(Some(outcome));
            record::write(
                DELIVERY_SETTLED,
                &wire::DeliverySettled {
                    item: id.to_string(),
                    customer: customer.to_string(),
                    state: state.into(),
                    reason,
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
            })
        }
        REQUEST_FAILED => {
            let record: wire::RequestFailed = record::read(body)?;
            Ok(Event::Failed {
                id: parse_item("item", &record.item)?,
                customer: parse_customer("customer", &record.customer)?,
                channel: parse_channel("channel", &record.channel)?,
                reason: record.reason,
            })
        }
        DELIVERY_BEGUN => {
            let record: wire::DeliveryBegun = record::read(body)?;
            Ok(Event::Begun {
                id: parse_item("item", &record.item)?,
                customer: parse_customer("customer", &record.customer)?,
                attempt: record.attempt,
            })
        }
        DELIVERY_SETTLED => {
            let record: wire::DeliverySettled = record::read(body)?;
            Ok(Event::Settled {
                id: parse_item("item", &record.item)?,
                customer: parse_customer("customer", &record.customer)?,
                outcome: parse_outcome(record.state, record.reason)?,
            })
        }
        _ => Err(DecodeError::UnknownKind(kind.to_owned())),
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
