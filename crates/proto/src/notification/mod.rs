//! notification's records and answers.

mod delivery;
mod person;

use mainstem_domain::notification::{Budgeted, Delivery, Event, Outcome, Standing, Verdict};
use mainstem_domain::person::Address;
use std::sync::Arc;

use crate::custody::{self, Kinds};
use crate::error::{DecodeError, FieldError};
use crate::field::{
    parse_carrier, parse_channel, parse_customer, parse_item, parse_optional, parse_time, text,
    timestamp,
};
use crate::record::{self, Encoded};
use crate::wire::notification as wire;

pub use delivery::{class_to, outcome_to, parse_class, parse_outcome};
use delivery::{deferred_from_wire, deferred_to_wire, item_from_wire, item_to_wire};
use person::{
    consent_from_wire, consent_to_wire, restated_from_wire, restated_to_wire, trait_from_wire,
    trait_to_wire,
};
pub use person::{parse_preferences, person_to, preferences_to};

/// The customer can be reached there.
pub const ADDRESS_LEARNED: &str = "mainstem.notification.address-learned.v1";
/// The person followed or blocked an account.
pub const ACCOUNT_FOLLOWED: &str = "mainstem.notification.account-followed.v1";
/// The person did something for the first time since the last marketing message.
pub const CUSTOMER_ENGAGED: &str = "mainstem.notification.customer-engaged.v1";
/// The customer's language or zone became known.
pub const TRAIT_TOLD: &str = "mainstem.notification.trait-told.v1";
/// The person allowed or refused marketing messages.
pub const CONSENT_TOLD: &str = "mainstem.notification.consent-told.v1";
/// Somebody set what a customer prefers.
pub const PREFERENCES_SET: &str = "mainstem.notification.preferences-set.v1";
/// What is known of an absorbed customer is the survivor's.
pub const CUSTOMER_MOVED: &str = "mainstem.notification.customer-moved.v1";
/// Some of what is known of a customer who was a part of another one.
pub const CUSTOMER_RESTATED: &str = "mainstem.notification.customer-restated.v1";
/// What a customer who was a part of another one wants.
pub const WISHES_RESTATED: &str = "mainstem.notification.wishes-restated.v1";
/// What stood here does not any more.
pub const REQUEST_RELEASED: &str = "mainstem.notification.request-released.v1";
/// A request waits.
pub const REQUEST_DEFERRED: &str = "mainstem.notification.request-deferred.v1";
/// An item is on its way; the body is the [`wire::Delivery`] itself.
pub const DELIVERY_QUEUED: &str = "mainstem.notification.delivery-queued.v1";
/// Senders are told of it; the body is a [`wire::Delivery`] that says neither to whom nor what.
pub const DELIVERY_HANDED: &str = "mainstem.notification.delivery-handed.v1";
/// A request ended without an item: it is not to be said, or not there.
pub const REQUEST_SUPPRESSED: &str = "mainstem.notification.request-suppressed.v1";
/// A request ended without an item: it could not be said in time.
pub const REQUEST_EXPIRED: &str = "mainstem.notification.request-expired.v1";
/// A request ended without an item: it cannot be said.
pub const REQUEST_FAILED: &str = "mainstem.notification.request-failed.v1";
/// A sender is about to reply.
pub const DELIVERY_BEGUN: &str = "mainstem.notification.delivery-begun.v1";
/// An item ended.
pub const DELIVERY_SETTLED: &str = "mainstem.notification.delivery-settled.v1";
/// A request belongs to a piece of the customer that it belonged to.
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

/// Every kind that notification writes.
pub const KINDS: [&str; 28] = [
    WISHES_RESTATED,
    REQUEST_RELEASED,
    ADDRESS_LEARNED,
    ACCOUNT_FOLLOWED,
    CUSTOMER_ENGAGED,
    TRAIT_TOLD,
    CONSENT_TOLD,
    PREFERENCES_SET,
    CUSTOMER_MOVED,
    CUSTOMER_RESTATED,
    REQUEST_DEFERRED,
    DELIVERY_QUEUED,
    DELIVERY_HANDED,
    REQUEST_SUPPRESSED,
    REQUEST_EXPIRED,
    REQUEST_FAILED,
    DELIVERY_BEGUN,
    DELIVERY_SETTLED,
    DELIVERY_RESTATED,
    REQUEST_VOIDED,
    DELIVERIES_VOIDED,
    SPLIT_BEGUN,
    DIVIDED,
    UPSTREAM_MOVED,
    RECORDS_MOVED,
    CUSTOMERS_FORGOTTEN,
    ERASURE_DONE,
    ERASURE_REPORTED,
];

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
#[expect(clippy::too_many_lines, reason = "one arm for each event")]
pub fn encode(event: &Event) -> Encoded {
    match event {
        Event::AddressLearned { customer, address, carrier } => record::write(
            ADDRESS_LEARNED,
            &wire::AddressLearned {
                customer: customer.to_string(),
                channel: address.channel.to_string(),
                user: address.user.to_string(),
                carrier: text(carrier.as_ref()),
            },
        ),
        Event::Followed { customer, channel, carrier, blocked, told_at } => record::write(
            ACCOUNT_FOLLOWED,
            &wire::AccountFollowed {
                customer: customer.to_string(),
                channel: channel.to_string(),
                carrier: text(carrier.as_ref()),
                blocked: *blocked,
                tell_time: Some(timestamp(*told_at)),
            },
        ),
        Event::Engaged { customer } => record::write(
            CUSTOMER_ENGAGED,
            &wire::CustomerEngaged { customer: customer.to_string() },
        ),
        Event::TraitTold { customer, told } => record::write(
            TRAIT_TOLD,
            &wire::TraitTold { customer: customer.to_string(), r#trait: Some(trait_to_wire(told)) },
        ),
        Event::ConsentTold { customer, consent } => record::write(
            CONSENT_TOLD,
            &wire::ConsentTold {
                customer: customer.to_string(),
                consent: Some(consent_to_wire(*consent)),
            },
        ),
        Event::PreferencesSet { customer, preferences } => record::write(
            PREFERENCES_SET,
            &wire::PreferencesSet {
                customer: customer.to_string(),
                preferences: Some(preferences_to(preferences)),
            },
        ),
        Event::PersonMoved { from, to } => record::write(
            CUSTOMER_MOVED,
            &wire::CustomerMoved { absorbed: from.to_string(), survivor: to.to_string() },
        ),
        Event::PersonRestated { customer, carrier, portion } => {
            record::write(CUSTOMER_RESTATED, &restated_to_wire(*customer, *carrier, portion))
        }
        Event::WishesRestated { customer, consent, preferences, last } => record::write(
            WISHES_RESTATED,
            &wire::WishesRestated {
                customer: customer.to_string(),
                consent: consent.map(consent_to_wire),
                preferences: Some(preferences_to(preferences)),
                more: !last,
            },
        ),
        Event::Released { id, customer, carrier } => record::write(
            REQUEST_RELEASED,
            &wire::RequestReleased {
                item: id.to_string(),
                customer: customer.to_string(),
                carrier: text(carrier.as_ref()),
            },
        ),
        Event::Deferred { id, deferred } => {
            record::write(REQUEST_DEFERRED, &deferred_to_wire(*id, deferred))
        }
        Event::Queued { id, item } => record::write(DELIVERY_QUEUED, &item_to_wire(*id, item)),
        Event::Handed { id, item } => record::write(DELIVERY_HANDED, &item_to_wire(*id, item)),
        Event::Ended { id, customer, carrier, class, channel, asked_at, outcome } => {
            let (kind, reason) = match outcome {
                Outcome::Suppressed { reason } => (REQUEST_SUPPRESSED, reason.to_string()),
                Outcome::Expired { reason } => (REQUEST_EXPIRED, reason.to_string()),
                Outcome::Failed { reason } => (REQUEST_FAILED, reason.to_string()),
                // What is sent has an item.
                Outcome::Sent => (REQUEST_FAILED, String::new()),
            };
            record::write(
                kind,
                &wire::RequestEnded {
                    item: id.to_string(),
                    customer: customer.to_string(),
                    channel: text(channel.as_ref()),
                    reason,
                    carrier: text(carrier.as_ref()),
                    class: class_to(*class).into(),
                    create_time: Some(timestamp(*asked_at)),
                },
            )
        }
        Event::Restated { id, standing } => {
            let (delivery, deferred) = match standing {
                Standing::Deferred(deferred) => (None, Some(deferred_to_wire(*id, deferred))),
                Standing::Queued(_) | Standing::Ended(_) => {
                    let delivery = Delivery { id: *id, standing: standing.clone() };
                    (Some(wire::Delivery::from(&delivery)), None)
                }
            };
            record::write(DELIVERY_RESTATED, &wire::DeliveryRestated { delivery, deferred })
        }
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
            let (state, reason) = outcome_to(outcome);
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
        Event::RequestVoided { id } => {
            record::write(REQUEST_VOIDED, &wire::RequestVoided { item: id.to_string() })
        }
        Event::ItemsVoided { items } => record::write(
            DELIVERIES_VOIDED,
            &wire::DeliveriesVoided { items: items.iter().map(ToString::to_string).collect() },
        ),
        Event::Custody(event) => custody::encode(&CUSTODY, event),
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
                address: Address { channel, user: record.user.into() },
                carrier: parse_carrier("carrier", &record.carrier)?,
            })
        }
        ACCOUNT_FOLLOWED => {
            let record: wire::AccountFollowed = record::read(body)?;
            Ok(Event::Followed {
                customer: parse_customer("customer", &record.customer)?,
                channel: parse_channel("channel", &record.channel)?,
                carrier: parse_carrier("carrier", &record.carrier)?,
                blocked: record.blocked,
                told_at: parse_time("tell_time", record.tell_time)?,
            })
        }
        CUSTOMER_ENGAGED => {
            let record: wire::CustomerEngaged = record::read(body)?;
            Ok(Event::Engaged { customer: parse_customer("customer", &record.customer)? })
        }
        TRAIT_TOLD => {
            let record: wire::TraitTold = record::read(body)?;
            let told = record.r#trait.unwrap_or_default();
            Ok(Event::TraitTold {
                customer: parse_customer("customer", &record.customer)?,
                told: trait_from_wire(&told).map_err(|error| error.within("trait"))?,
            })
        }
        CONSENT_TOLD => {
            let record: wire::ConsentTold = record::read(body)?;
            let consent = consent_from_wire(record.consent.unwrap_or_default());
            Ok(Event::ConsentTold {
                customer: parse_customer("customer", &record.customer)?,
                consent: consent.map_err(|error| error.within("consent"))?,
            })
        }
        PREFERENCES_SET => {
            let record: wire::PreferencesSet = record::read(body)?;
            let preferences = parse_preferences(&record.preferences.unwrap_or_default());
            Ok(Event::PreferencesSet {
                customer: parse_customer("customer", &record.customer)?,
                preferences: preferences.map_err(|error| error.within("preferences"))?,
            })
        }
        CUSTOMER_MOVED => {
            let record: wire::CustomerMoved = record::read(body)?;
            Ok(Event::PersonMoved {
                from: parse_customer("absorbed", &record.absorbed)?,
                to: parse_customer("survivor", &record.survivor)?,
            })
        }
        CUSTOMER_RESTATED => {
            let (customer, carrier, portion) = restated_from_wire(record::read(body)?)?;
            Ok(Event::PersonRestated { customer, carrier, portion })
        }
        WISHES_RESTATED => {
            let record: wire::WishesRestated = record::read(body)?;
            let consent = record.consent.map(consent_from_wire).transpose();
            let preferences = parse_preferences(&record.preferences.unwrap_or_default());
            Ok(Event::WishesRestated {
                customer: parse_customer("customer", &record.customer)?,
                consent: consent.map_err(|error| error.within("consent"))?,
                preferences: preferences.map_err(|error| error.within("preferences"))?,
                last: !record.more,
            })
        }
        _ => decode_request(kind, body),
    }
}

/// The event of a record about a request.
fn decode_request(kind: &str, body: &[u8]) -> Result<Event, DecodeError> {
    match kind {
        REQUEST_DEFERRED => {
            let (id, deferred) = deferred_from_wire(record::read(body)?)?;
            Ok(Event::Deferred { id, deferred: Arc::new(deferred) })
        }
        REQUEST_RELEASED => {
            let record: wire::RequestReleased = record::read(body)?;
            Ok(Event::Released {
                id: parse_item("item", &record.item)?,
                customer: parse_customer("customer", &record.customer)?,
                carrier: parse_carrier("carrier", &record.carrier)?,
            })
        }
        DELIVERY_QUEUED | DELIVERY_HANDED => {
            let delivery: wire::Delivery = record::read(body)?;
            let id = parse_item("item", &delivery.item)?;
            let item = Arc::new(item_from_wire(delivery)?);
            let queued = kind == DELIVERY_QUEUED;
            Ok(if queued { Event::Queued { id, item } } else { Event::Handed { id, item } })
        }
        REQUEST_SUPPRESSED | REQUEST_EXPIRED | REQUEST_FAILED => {
            let record: wire::RequestEnded = record::read(body)?;
            let reason = record.reason.into();
            let outcome = match kind {
                REQUEST_SUPPRESSED => Outcome::Suppressed { reason },
                REQUEST_EXPIRED => Outcome::Expired { reason },
                _ => Outcome::Failed { reason },
            };
            Ok(Event::Ended {
                id: parse_item("item", &record.item)?,
                customer: parse_customer("customer", &record.customer)?,
                carrier: parse_carrier("carrier", &record.carrier)?,
                class: parse_class("class", record.class)?,
                channel: parse_optional("channel", &record.channel)?,
                asked_at: parse_time("create_time", record.create_time)?,
                outcome,
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
        DELIVERY_RESTATED => restated(record::read(body)?),
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

fn restated(record: wire::DeliveryRestated) -> Result<Event, DecodeError> {
    if let Some(deferred) = record.deferred {
        let read = deferred_from_wire(deferred).map_err(|error| error.within("deferred"))?;
        let (id, deferred) = read;
        return Ok(Event::Restated { id, standing: Standing::Deferred(Arc::new(deferred)) });
    }
    let delivery = record.delivery.ok_or_else(|| FieldError::new("delivery", "is missing"))?;
    let read = Delivery::try_from(delivery).map_err(|error| error.within("delivery"))?;
    Ok(Event::Restated { id: read.id, standing: read.standing })
}

/// What would become of a request.
#[must_use]
pub fn preview_to(verdict: &Verdict) -> wire::PreviewResponse {
    match verdict {
        Verdict::Queue(item) => wire::PreviewResponse {
            state: wire::DeliveryState::Waiting.into(),
            channel: item.address.channel.to_string(),
            messages: item.messages.iter().map(|message| message.as_str().to_owned()).collect(),
            ..wire::PreviewResponse::default()
        },
        Verdict::Defer { until, wait } => wire::PreviewResponse {
            state: wire::DeliveryState::Deferred.into(),
            reason: delivery::wait_reason(*wait).to_owned(),
            release_time: Some(timestamp(*until)),
            ..wire::PreviewResponse::default()
        },
        Verdict::End(outcome) => {
            let (state, reason) = outcome_to(outcome);
            wire::PreviewResponse { state: state.into(), reason, ..Default::default() }
        }
    }
}

/// How much of marketing a customer can bear.
#[must_use]
pub fn budget_to(budget: &Budgeted) -> wire::GetBudgetResponse {
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let spans = budget.spans.iter().map(|(sent, at_most, within)| wire::Budget {
        sent: count(*sent),
        at_most: count(*at_most),
        within: Some((*within).into()),
    });
    wire::GetBudgetResponse {
        budgets: spans.collect(),
        tired: budget.tired,
        room_time: Some(timestamp(budget.room_at)),
        quiet_until_time: Some(timestamp(budget.quiet_until)),
        refused: budget.refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_domain::notification::{Class, Item, Way};
    use mainstem_domain::voice::Message;
    use mainstem_domain::{At, CustomerId, ItemId};

    #[test]
    fn a_delivery_is_the_body_of_its_record() {
        let item = Item {
            customer: CustomerId::derive("1"),
            carrier: None,
            class: Class::Reply,
            address: Address { channel: "line-1".parse().unwrap(), user: "U1".into() },
            way: Way::Reply { token: "t".to_owned() },
            messages: vec![Message::text("好")],
            asked_at: At::from_millis(0),
            deadline: None,
            joined: Vec::new(),
            attempts: Vec::new(),
        };
        let id = ItemId::derive("1");
        let item = Arc::new(item);
        let event = Event::Queued { id, item: Arc::clone(&item) };
        let record = encode(&event);
        let body: wire::Delivery = serde_json::from_slice(&record.body).unwrap();
        let delivery = Delivery { id, standing: Standing::Queued(item) };
        assert_eq!(body, wire::Delivery::from(&delivery));
        assert_eq!(Delivery::try_from(body), Ok(delivery));
        assert_eq!(decode(record.kind, &record.body), Ok(event));
    }

    #[test]
    fn only_an_end_is_an_outcome() {
        let parse = |state: wire::DeliveryState, reason: &str| {
            parse_outcome(state.into(), reason.to_owned()).map_err(|error| error.field)
        };
        let failed = Outcome::Failed { reason: "blocked".into() };
        assert_eq!(parse(wire::DeliveryState::Sent, ""), Ok(Outcome::Sent));
        assert_eq!(parse(wire::DeliveryState::Failed, "blocked"), Ok(failed));
        assert_eq!(parse(wire::DeliveryState::Sent, "x"), Err("reason".to_owned()));
        for state in [
            wire::DeliveryState::Waiting,
            wire::DeliveryState::Deferred,
            wire::DeliveryState::Unspecified,
        ] {
            assert_eq!(parse(state, ""), Err("state".to_owned()));
        }
        assert!(parse_outcome(99, String::new()).is_err());
    }
}
