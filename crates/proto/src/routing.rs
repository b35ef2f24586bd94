//! routing's records and answers.

use mainstem_domain::configuration::Priority;
use mainstem_domain::person::ReplyRight;
use mainstem_domain::routing::{Case, CaseView, Event, MessageRequest, Purchase, Stage};

use crate::channel::{mode_from, mode_to};
use crate::custody::{self, Kinds};
use crate::error::{DecodeError, FieldError};
use crate::field::{
    parse_carrier, parse_case, parse_channel, parse_customer, parse_id, parse_optional,
    parse_queue, parse_time, text, timestamp,
};
use crate::record::{self, Encoded};
use crate::wire::routing as wire;

/// A case is open.
pub const CASE_OPENED: &str = "mainstem.routing.case-opened.v1";
/// A case is on offer on its queue.
pub const CASE_QUEUED: &str = "mainstem.routing.case-queued.v1";
/// Somebody took it.
pub const CASE_ACCEPTED: &str = "mainstem.routing.case-accepted.v1";
/// Its holder works on it.
pub const CASE_STARTED: &str = "mainstem.routing.case-started.v1";
/// It is given up.
pub const CASE_CANCELLED: &str = "mainstem.routing.case-cancelled.v1";
/// It is done.
pub const CASE_RESOLVED: &str = "mainstem.routing.case-resolved.v1";
/// What is known of an absorbed customer is the survivor's.
pub const CASES_MOVED: &str = "mainstem.routing.cases-moved.v1";
/// The customer bought of another brand than before.
pub const PURCHASE_NOTED: &str = "mainstem.routing.purchase-noted.v1";
/// The customer is to be told something.
pub const MESSAGE_REQUESTED: &str = "mainstem.routing.message-requested.v1";

/// A case belongs to a piece of the customer that it belonged to.
pub const CASE_RESTATED: &str = "mainstem.routing.case-restated.v1";
/// A customer is taken apart.
pub const SPLIT_BEGUN: &str = "mainstem.routing.split-begun.v1";
/// Some of what belongs to a piece of it.
pub const DIVIDED: &str = "mainstem.routing.divided.v1";
/// The service that this one follows has moved its records.
pub const UPSTREAM_MOVED: &str = "mainstem.routing.upstream-moved.v1";
/// The records under an id stand under their owners.
pub const RECORDS_MOVED: &str = "mainstem.routing.records-moved.v1";
/// A customer is forgotten.
pub const CUSTOMERS_FORGOTTEN: &str = "mainstem.routing.customers-forgotten.v1";
/// Its records are gone.
pub const ERASURE_DONE: &str = "mainstem.routing.erasure-done.v1";
/// identity-merge knows that they are.
pub const ERASURE_REPORTED: &str = "mainstem.routing.erasure-reported.v1";

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
        Event::Opened { id, case } => {
            record::write(CASE_OPENED, &wire::CaseOpened { case: Some(case_to_wire(*id, case)) })
        }
        Event::Queued { id, case } => {
            record::write(CASE_QUEUED, &wire::CaseQueued { case: Some(case_to_wire(*id, case)) })
        }
        Event::CaseRestated { id, case } => record::write(
            CASE_RESTATED,
            &wire::CaseRestated { case: Some(case_to_wire(*id, case)) },
        ),
        Event::Custody(event) => custody::encode(&CUSTODY, event),
        Event::Accepted { id, customer, queue, priority, by } => record::write(
            CASE_ACCEPTED,
            &wire::CaseAccepted {
                case: id.to_string(),
                customer: customer.to_string(),
                holder: by.clone(),
                queue: queue.to_string(),
                priority: priority.to_string(),
            },
        ),
        Event::Started { id, customer, by } => record::write(
            CASE_STARTED,
            &wire::CaseStarted {
                case: id.to_string(),
                customer: customer.to_string(),
                holder: by.clone(),
            },
        ),
        Event::Resolved { id, customer, by } => record::write(
            CASE_RESOLVED,
            &wire::CaseResolved {
                case: id.to_string(),
                customer: customer.to_string(),
                holder: by.clone(),
            },
        ),
        Event::Cancelled { id, customer, queue, priority, by, reason } => record::write(
            CASE_CANCELLED,
            &wire::CaseCancelled {
                case: id.to_string(),
                customer: customer.to_string(),
                actor: by.clone(),
                reason: reason.clone(),
                queue: queue.to_string(),
                priority: priority.to_string(),
            },
        ),
        Event::PurchaseNoted { customer, purchase } => record::write(
            PURCHASE_NOTED,
            &wire::PurchaseNoted {
                customer: customer.to_string(),
                brand: purchase.brand.to_string(),
                purchase_time: Some(timestamp(purchase.at)),
                carrier: text(purchase.carrier.as_ref()),
            },
        ),
        Event::Moved { from, to } => record::write(
            CASES_MOVED,
            &wire::CasesMoved { absorbed: from.to_string(), survivor: to.to_string() },
        ),
        Event::MessageRequested(request) => record::write(
            MESSAGE_REQUESTED,
            &wire::MessageRequested {
                customer: request.customer.to_string(),
                channel: request.channel.to_string(),
                brand: text(request.brand.as_ref()),
                templates: request.templates.clone(),
                case: text(request.case.as_ref()),
                reply_token: request
                    .reply
                    .as_ref()
                    .map(|right| right.token.clone())
                    .unwrap_or_default(),
                reply_receive_time: request
                    .reply
                    .as_ref()
                    .map(|right| timestamp(right.received_at)),
                mode: mode_to(request.mode).into(),
                carrier: text(request.carrier.as_ref()),
            },
        ),
    }
}

/// The event of a record that [`encode`] made.
pub fn decode(kind: &str, body: &[u8]) -> Result<Event, DecodeError> {
    match kind {
        CASE_OPENED => {
            let record: wire::CaseOpened = record::read(body)?;
            let CaseView { id, case } = held_case(record.case)?;
            Ok(Event::Opened { id, case })
        }
        CASE_QUEUED => {
            let record: wire::CaseQueued = record::read(body)?;
            let CaseView { id, case } = held_case(record.case)?;
            Ok(Event::Queued { id, case })
        }
        CASE_RESTATED => {
            let record: wire::CaseRestated = record::read(body)?;
            let CaseView { id, case } = held_case(record.case)?;
            Ok(Event::CaseRestated { id, case })
        }
        CASE_ACCEPTED => {
            let record: wire::CaseAccepted = record::read(body)?;
            Ok(Event::Accepted {
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                queue: parse_queue("queue", &record.queue)?,
                priority: parse_priority("priority", &record.priority)?,
                by: record.holder,
            })
        }
        CASE_STARTED => {
            let record: wire::CaseStarted = record::read(body)?;
            Ok(Event::Started {
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                by: record.holder,
            })
        }
        CASE_CANCELLED => {
            let record: wire::CaseCancelled = record::read(body)?;
            Ok(Event::Cancelled {
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                queue: parse_queue("queue", &record.queue)?,
                priority: parse_priority("priority", &record.priority)?,
                by: record.actor,
                reason: record.reason,
            })
        }
        PURCHASE_NOTED => {
            let record: wire::PurchaseNoted = record::read(body)?;
            let brand = parse_id("brand", &record.brand)?;
            let at = parse_time("purchase_time", record.purchase_time)?;
            let customer = parse_customer("customer", &record.customer)?;
            let carrier = parse_carrier("carrier", &record.carrier)?;
            Ok(Event::PurchaseNoted { customer, purchase: Purchase { brand, at, carrier } })
        }
        CASE_RESOLVED => {
            let record: wire::CaseResolved = record::read(body)?;
            Ok(Event::Resolved {
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                by: record.holder,
            })
        }
        CASES_MOVED => {
            let record: wire::CasesMoved = record::read(body)?;
            Ok(Event::Moved {
                from: parse_customer("absorbed", &record.absorbed)?,
                to: parse_customer("survivor", &record.survivor)?,
            })
        }
        MESSAGE_REQUESTED => Ok(Event::MessageRequested(requested(record::read(body)?)?)),
        _ => custody::decode(&CUSTODY, kind, body)?
            .map(Event::Custody)
            .ok_or_else(|| DecodeError::UnknownKind(kind.to_owned())),
    }
}

fn requested(record: wire::MessageRequested) -> Result<MessageRequest, FieldError> {
    let mode = mode_from(record.mode());
    let reply = if record.reply_token.is_empty() {
        None
    } else {
        let received_at = parse_time("reply_receive_time", record.reply_receive_time)?;
        Some(ReplyRight { token: record.reply_token, received_at })
    };
    Ok(MessageRequest {
        customer: parse_customer("customer", &record.customer)?,
        channel: parse_channel("channel", &record.channel)?,
        brand: parse_optional("brand", &record.brand)?,
        mode,
        templates: record.templates,
        case: parse_optional("case", &record.case)?,
        reply,
        carrier: parse_carrier("carrier", &record.carrier)?,
    })
}

fn held_case(case: Option<wire::Case>) -> Result<CaseView, FieldError> {
    let case = case.ok_or_else(|| FieldError::new("case", "is missing"))?;
    CaseView::try_from(case).map_err(|error| error.within("case"))
}

fn case_to_wire(id: mainstem_domain::CaseId, case: &Case) -> wire::Case {
    let (state, holder, since) = match &case.stage {
        Stage::Open => (wire::CaseState::Open, "", case.opened_at),
        Stage::Accepted { by, at } => (wire::CaseState::Accepted, by.as_str(), *at),
        Stage::InProgress { by, at } => (wire::CaseState::InProgress, by.as_str(), *at),
        Stage::Resolved { by, at } => (wire::CaseState::Resolved, by.as_str(), *at),
        Stage::Cancelled { by, at, .. } => (wire::CaseState::Cancelled, by.as_str(), *at),
    };
    let cancel_reason = match &case.stage {
        Stage::Cancelled { reason, .. } => reason.clone(),
        Stage::Open
        | Stage::Accepted { .. }
        | Stage::InProgress { .. }
        | Stage::Resolved { .. } => String::new(),
    };
    wire::Case {
        case: id.to_string(),
        customer: case.customer.to_string(),
        channel: case.channel.to_string(),
        brand: text(case.brand.as_ref()),
        store: text(case.store.as_ref()),
        queue: case.queue.to_string(),
        priority: case.priority.to_string(),
        rule: case.rule.clone(),
        opening_event: case.opened_by.to_string(),
        open_time: Some(timestamp(case.opened_at)),
        state: state.into(),
        holder: holder.to_owned(),
        state_time: Some(timestamp(since)),
        queue_time: Some(timestamp(case.queued_at)),
        queue_count: case.queued_times,
        cancel_reason,
        carrier: text(case.carrier.as_ref()),
    }
}

impl From<&CaseView> for wire::Case {
    fn from(view: &CaseView) -> Self {
        case_to_wire(view.id, &view.case)
    }
}

impl TryFrom<wire::Case> for CaseView {
    type Error = FieldError;

    fn try_from(case: wire::Case) -> Result<Self, FieldError> {
        let since = || parse_time("state_time", case.state_time);
        let stage = match wire::CaseState::try_from(case.state) {
            Ok(wire::CaseState::Open) => Stage::Open,
            Ok(wire::CaseState::Accepted) => Stage::Accepted { by: case.holder, at: since()? },
            Ok(wire::CaseState::InProgress) => Stage::InProgress { by: case.holder, at: since()? },
            Ok(wire::CaseState::Resolved) => Stage::Resolved { by: case.holder, at: since()? },
            Ok(wire::CaseState::Cancelled) => {
                Stage::Cancelled { by: case.holder, at: since()?, reason: case.cancel_reason }
            }
            Ok(wire::CaseState::Unspecified) | Err(_) => {
                let rule = "must be OPEN, ACCEPTED, IN_PROGRESS, RESOLVED or CANCELLED";
                return Err(FieldError::new("state", rule));
            }
        };
        Ok(Self {
            id: parse_case("case", &case.case)?,
            case: Case {
                customer: parse_customer("customer", &case.customer)?,
                channel: parse_channel("channel", &case.channel)?,
                brand: parse_optional("brand", &case.brand)?,
                store: parse_optional("store", &case.store)?,
                queue: parse_queue("queue", &case.queue)?,
                priority: parse_priority("priority", &case.priority)?,
                rule: case.rule,
                opened_by: parse_id("opening_event", &case.opening_event)?,
                carrier: parse_carrier("carrier", &case.carrier)?,
                opened_at: parse_time("open_time", case.open_time)?,
                queued_at: parse_time("queue_time", case.queue_time)?,
                queued_times: case.queue_count,
                stage,
            },
        })
    }
}

fn parse_priority(field: &str, text: &str) -> Result<Priority, FieldError> {
    match text {
        "P1" => Ok(Priority::P1),
        "P2" => Ok(Priority::P2),
        "P3" => Ok(Priority::P3),
        "P4" => Ok(Priority::P4),
        _ => Err(FieldError::new(field, "must be P1, P2, P3 or P4")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_domain::{At, CaseId, CustomerId};

    fn case() -> CaseView {
        CaseView {
            id: CaseId::derive("1"),
            case: Case {
                customer: CustomerId::derive("1"),
                channel: "line-1".parse().unwrap(),
                brand: Some("aurora".parse().unwrap()),
                store: None,
                queue: "repair".parse().unwrap(),
                priority: Priority::P2,
                rule: "menu".to_owned(),
                opened_by: "e1".parse().unwrap(),
                carrier: None,
                opened_at: At::from_millis(1_500),
                queued_at: At::from_millis(1_500),
                queued_times: 1,
                stage: Stage::Open,
            },
        }
    }

    #[test]
    fn a_record_is_compact_json_and_reads_back() {
        let CaseView { id, case } = case();
        let customer = case.customer;
        let event = Event::Opened { id, case };
        let record = encode(&event);
        assert_eq!(record.kind, "mainstem.routing.case-opened.v1");
        let body = format!(
            concat!(
                r#"{{"case":{{"case":"{}","customer":"{}","channel":"line-1","brand":"aurora","#,
                r#""queue":"repair","priority":"P2","rule":"menu","openingEvent":"e1","#,
                r#""openTime":"1970-01-01T00:00:01.500+00:00","state":"CASE_STATE_OPEN","#,
                r#""stateTime":"1970-01-01T00:00:01.500+00:00","#,
                r#""queueTime":"1970-01-01T00:00:01.500+00:00","queueCount":1}}}}"#
            ),
            id, customer
        );
        assert_eq!(String::from_utf8_lossy(&record.body), body);
        assert_eq!(decode(record.kind, &record.body), Ok(event));
    }

    #[test]
    fn every_stage_comes_back() {
        let mut view = case();
        let (by, at) = ("unit/a".to_owned(), At::from_millis(9));
        let reason = "no parts".to_owned();
        for stage in [
            Stage::Open,
            Stage::Accepted { by: by.clone(), at },
            Stage::InProgress { by: by.clone(), at },
            Stage::Resolved { by: by.clone(), at },
            Stage::Cancelled { by, at, reason },
        ] {
            view.case.stage = stage;
            assert_eq!(CaseView::try_from(wire::Case::from(&view)), Ok(view.clone()));
        }
    }

    #[test]
    fn a_wrong_field_is_named_by_its_path() {
        let path = |change: fn(&mut wire::Case)| {
            let mut case = wire::Case::from(&case());
            change(&mut case);
            let body = serde_json::to_vec(&wire::CaseQueued { case: Some(case) }).unwrap();
            match decode(CASE_QUEUED, &body) {
                Err(DecodeError::Field(error)) => error.field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(path(|case| case.queue = "A".to_owned()), "case.queue");
        assert_eq!(path(|case| case.priority = "P5".to_owned()), "case.priority");
        assert_eq!(path(|case| case.state = 0), "case.state");
        assert_eq!(path(|case| case.open_time = None), "case.open_time");
        assert_eq!(path(|case| case.queue_time = None), "case.queue_time");
        let error = decode(CASE_OPENED, b"{}").unwrap_err();
        assert_eq!(error.to_string(), "case: is missing");
    }
}
