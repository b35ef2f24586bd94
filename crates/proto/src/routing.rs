//! routing's records and answers.

use mainstem_domain::person::ReplyRight;
use mainstem_domain::routing::{CaseView, Event, MessageRequest, Purchase};

use crate::binding;
pub use crate::binding::parse_nonce;
use crate::case::{case_to_wire, held_case, held_timing, timing_to_wire};
pub use crate::case::{details_from, parse_priority};
use crate::channel::{mode_from, mode_to};
use crate::conversation;
use crate::custody::{self, Kinds};
use crate::decision;
use crate::error::{DecodeError, FieldError};
use crate::field::{
    parse_carrier, parse_case, parse_channel, parse_customer, parse_id, parse_optional,
    parse_queue, parse_time, text, timestamp,
};
use crate::pause;
use crate::record::{self, Encoded};
use crate::watch::{self, CASE_WITHDRAWN, CONVERSATION_WITHDRAWN};
use crate::wire::routing as wire;

/// A case is open.
pub const CASE_OPENED: &str = "mainstem.routing.case-opened.v1";
/// A case is on offer on its queue.
pub const CASE_QUEUED: &str = "mainstem.routing.case-queued.v1";
/// Somebody took it.
pub const CASE_ACCEPTED: &str = "mainstem.routing.case-accepted.v1";
/// Its holder works on it.
pub const CASE_STARTED: &str = "mainstem.routing.case-started.v1";
/// Its holder waits for the customer.
pub const CASE_WAITS: &str = "mainstem.routing.case-waits.v1";
/// It is over and done.
pub const CASE_CLOSED: &str = "mainstem.routing.case-closed.v1";
/// It is to be done again.
pub const CASE_REOPENED: &str = "mainstem.routing.case-reopened.v1";
/// It is another queue's.
pub const CASE_TRANSFERRED: &str = "mainstem.routing.case-transferred.v1";
/// Its priority changed.
pub const CASE_PRIORITISED: &str = "mainstem.routing.case-prioritised.v1";
/// Most of its time is up.
pub const CASE_WARNED: &str = "mainstem.routing.case-warned.v1";
/// It is late.
pub const CASE_ESCALATED: &str = "mainstem.routing.case-escalated.v1";
/// Its machine came in with another customer.
pub const CASE_SERIAL_SHARED: &str = "mainstem.routing.case-serial-shared.v1";
/// It is given up.
pub const CASE_CANCELLED: &str = "mainstem.routing.case-cancelled.v1";
/// It is done.
pub const CASE_RESOLVED: &str = "mainstem.routing.case-resolved.v1";
/// What is known of an absorbed customer is the survivor's.
pub const CASES_MOVED: &str = "mainstem.routing.cases-moved.v1";
/// The customer bought of another brand than before.
pub const PURCHASE_NOTED: &str = "mainstem.routing.purchase-noted.v1";
/// A queue gives nothing out.
pub const QUEUE_PAUSED: &str = "mainstem.routing.queue-paused.v1";
/// It does again.
pub const QUEUE_RESUMED: &str = "mainstem.routing.queue-resumed.v1";
/// The customer is to be told something.
pub const MESSAGE_REQUESTED: &str = "mainstem.routing.message-requested.v1";
/// What the rules came to for an event.
pub const RULES_TRIED: &str = "mainstem.routing.rules-tried.v1";
/// The condition of a rule could not be evaluated.
pub const RULE_FAILED: &str = "mainstem.routing.rule-failed.v1";

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

/// A binding code is good from now on.
pub const CODE_ISSUED: &str = "mainstem.routing.binding-code-issued.v1";
/// It is good no more.
pub const CODE_REVOKED: &str = "mainstem.routing.binding-code-revoked.v1";
/// One that was presented bound nobody.
pub const CODE_REFUSED: &str = "mainstem.routing.binding-code-refused.v1";
/// A customer has this salesperson from now on.
pub const CUSTOMER_BOUND: &str = "mainstem.routing.customer-bound.v1";
/// Staff ended a binding.
pub const BINDING_ENDED: &str = "mainstem.routing.binding-ended.v1";
/// A binding belongs to a piece of the customer that it belonged to.
pub const BINDING_RESTATED: &str = "mainstem.routing.binding-restated.v1";
/// Customers are being handed over.
pub const HAND_OVER_BEGUN: &str = "mainstem.routing.hand-over-begun.v1";
/// That was all.
pub const HAND_OVER_DONE: &str = "mainstem.routing.hand-over-done.v1";

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
#[expect(clippy::too_many_lines, reason = "an arm for each event")]
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
        Event::Conversation(event) => conversation::encode(event),
        Event::Withdrawn(what) => watch::encode(what),
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
        Event::Started { id, customer, queue, by, timing } => record::write(
            CASE_STARTED,
            &wire::CaseStarted {
                queue: text(queue.as_ref()),
                case: id.to_string(),
                customer: customer.to_string(),
                holder: by.clone(),
                timing: Some(timing_to_wire(timing)),
            },
        ),
        Event::Waits { id, customer, queue, by, timing } => record::write(
            CASE_WAITS,
            &wire::CaseWaits {
                queue: text(queue.as_ref()),
                case: id.to_string(),
                customer: customer.to_string(),
                holder: by.clone(),
                timing: Some(timing_to_wire(timing)),
            },
        ),
        Event::Resolved { id, customer, queue, by, timing } => record::write(
            CASE_RESOLVED,
            &wire::CaseResolved {
                queue: text(queue.as_ref()),
                case: id.to_string(),
                customer: customer.to_string(),
                holder: by.clone(),
                timing: Some(timing_to_wire(timing)),
            },
        ),
        Event::Closed { id, customer, queue, by } => record::write(
            CASE_CLOSED,
            &wire::CaseClosed {
                queue: text(queue.as_ref()),
                case: id.to_string(),
                customer: customer.to_string(),
                actor: by.clone(),
            },
        ),
        Event::Reopened { id, customer, queue, by, timing } => record::write(
            CASE_REOPENED,
            &wire::CaseReopened {
                queue: text(queue.as_ref()),
                case: id.to_string(),
                customer: customer.to_string(),
                actor: by.clone(),
                timing: Some(timing_to_wire(timing)),
            },
        ),
        Event::Cancelled { id, customer, queue, priority, by, reason, timing } => record::write(
            CASE_CANCELLED,
            &wire::CaseCancelled {
                case: id.to_string(),
                customer: customer.to_string(),
                actor: by.clone(),
                reason: reason.clone(),
                queue: queue.to_string(),
                priority: priority.to_string(),
                timing: Some(timing_to_wire(timing)),
            },
        ),
        Event::Transferred { id, customer, queue, priority, to, by, reason, timing } => {
            record::write(
                CASE_TRANSFERRED,
                &wire::CaseTransferred {
                    case: id.to_string(),
                    customer: customer.to_string(),
                    queue: queue.to_string(),
                    priority: priority.to_string(),
                    to_queue: to.to_string(),
                    actor: by.clone(),
                    reason: reason.clone(),
                    timing: Some(timing_to_wire(timing)),
                },
            )
        }
        Event::Prioritised { id, customer, queue, priority, to, by, timing } => record::write(
            CASE_PRIORITISED,
            &wire::CasePrioritised {
                case: id.to_string(),
                customer: customer.to_string(),
                queue: queue.to_string(),
                priority: priority.to_string(),
                to_priority: to.to_string(),
                actor: by.clone(),
                timing: Some(timing_to_wire(timing)),
            },
        ),
        Event::Warned { id, customer, queue, unit } => record::write(
            CASE_WARNED,
            &wire::CaseWarned {
                queue: text(queue.as_ref()),
                case: id.to_string(),
                customer: customer.to_string(),
                unit: text(unit.as_ref()),
            },
        ),
        Event::Escalated { id, customer, queue, unit } => record::write(
            CASE_ESCALATED,
            &wire::CaseEscalated {
                queue: text(queue.as_ref()),
                case: id.to_string(),
                customer: customer.to_string(),
                unit: text(unit.as_ref()),
            },
        ),
        Event::SerialShared { id, customer, queue } => record::write(
            CASE_SERIAL_SHARED,
            &wire::CaseSerialShared {
                queue: text(queue.as_ref()),
                case: id.to_string(),
                customer: customer.to_string(),
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
                text: request.text.clone().unwrap_or_default(),
                staff: text(request.staff.as_ref()),
                rule: request.rule.clone().unwrap_or_default(),
            },
        ),
        Event::RulesTried(tried) => decision::tried(tried),
        Event::RuleFailed(failure) => decision::failed(failure),
        Event::QueuePaused { queue, by, reason } => pause::paused(queue, by, reason),
        Event::QueueResumed { queue, by } => pause::resumed(queue, by),
        Event::CodeIssued { code, by } => binding::issued(code, by),
        Event::CodeRevoked { nonce, staff, by } => binding::revoked(*nonce, staff, by),
        Event::CodeRefused { why, staff, channel } => {
            binding::refused(*why, staff.as_ref(), channel)
        }
        Event::Bound { customer, binding } => binding::bound(*customer, binding),
        Event::BindingEnded { customer, binding } => binding::ended(*customer, binding),
        Event::BindingRestated { customer, binding } => binding::restated(*customer, binding),
        Event::HandOverBegun(hand_over) => binding::hand_over_begun(hand_over),
        Event::HandOverDone { from, to } => binding::hand_over_done(from, to),
    }
}

/// The event of a record that [`encode`] made.
#[expect(clippy::too_many_lines, reason = "an arm for each event")]
pub fn decode(kind: &str, body: &[u8]) -> Result<Event, DecodeError> {
    match kind {
        kind if conversation::KINDS.contains(&kind) => {
            conversation::decode(kind, body).map(Event::Conversation)
        }
        CASE_WITHDRAWN | CONVERSATION_WITHDRAWN => watch::decode(kind, body).map(Event::Withdrawn),
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
                queue: parse_optional("queue", &record.queue)?,
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                timing: held_timing(record.timing)?,
                by: record.holder,
            })
        }
        CASE_WAITS => {
            let record: wire::CaseWaits = record::read(body)?;
            Ok(Event::Waits {
                queue: parse_optional("queue", &record.queue)?,
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                timing: held_timing(record.timing)?,
                by: record.holder,
            })
        }
        CASE_RESOLVED => {
            let record: wire::CaseResolved = record::read(body)?;
            Ok(Event::Resolved {
                queue: parse_optional("queue", &record.queue)?,
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                timing: held_timing(record.timing)?,
                by: record.holder,
            })
        }
        CASE_CLOSED => {
            let record: wire::CaseClosed = record::read(body)?;
            Ok(Event::Closed {
                queue: parse_optional("queue", &record.queue)?,
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                by: record.actor,
            })
        }
        CASE_REOPENED => {
            let record: wire::CaseReopened = record::read(body)?;
            Ok(Event::Reopened {
                queue: parse_optional("queue", &record.queue)?,
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                timing: held_timing(record.timing)?,
                by: record.actor,
            })
        }
        CASE_CANCELLED => {
            let record: wire::CaseCancelled = record::read(body)?;
            Ok(Event::Cancelled {
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                queue: parse_queue("queue", &record.queue)?,
                priority: parse_priority("priority", &record.priority)?,
                timing: held_timing(record.timing)?,
                by: record.actor,
                reason: record.reason,
            })
        }
        CASE_TRANSFERRED => {
            let record: wire::CaseTransferred = record::read(body)?;
            Ok(Event::Transferred {
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                queue: parse_queue("queue", &record.queue)?,
                priority: parse_priority("priority", &record.priority)?,
                to: parse_queue("to_queue", &record.to_queue)?,
                timing: held_timing(record.timing)?,
                by: record.actor,
                reason: record.reason,
            })
        }
        CASE_PRIORITISED => {
            let record: wire::CasePrioritised = record::read(body)?;
            Ok(Event::Prioritised {
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                queue: parse_queue("queue", &record.queue)?,
                priority: parse_priority("priority", &record.priority)?,
                to: parse_priority("to_priority", &record.to_priority)?,
                timing: held_timing(record.timing)?,
                by: record.actor,
            })
        }
        CASE_WARNED => {
            let record: wire::CaseWarned = record::read(body)?;
            Ok(Event::Warned {
                queue: parse_optional("queue", &record.queue)?,
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                unit: parse_optional("unit", &record.unit)?,
            })
        }
        CASE_ESCALATED => {
            let record: wire::CaseEscalated = record::read(body)?;
            Ok(Event::Escalated {
                queue: parse_optional("queue", &record.queue)?,
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
                unit: parse_optional("unit", &record.unit)?,
            })
        }
        CASE_SERIAL_SHARED => {
            let record: wire::CaseSerialShared = record::read(body)?;
            Ok(Event::SerialShared {
                queue: parse_optional("queue", &record.queue)?,
                id: parse_case("case", &record.case)?,
                customer: parse_customer("customer", &record.customer)?,
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
        CASES_MOVED => {
            let record: wire::CasesMoved = record::read(body)?;
            Ok(Event::Moved {
                from: parse_customer("absorbed", &record.absorbed)?,
                to: parse_customer("survivor", &record.survivor)?,
            })
        }
        RULES_TRIED | RULE_FAILED => decision::decode(kind, body),
        QUEUE_PAUSED | QUEUE_RESUMED => pause::decode(kind, body),
        MESSAGE_REQUESTED => Ok(Event::MessageRequested(requested(record::read(body)?)?)),
        CODE_ISSUED | CODE_REVOKED | CODE_REFUSED | CUSTOMER_BOUND | BINDING_ENDED
        | BINDING_RESTATED | HAND_OVER_BEGUN | HAND_OVER_DONE => binding::decode(kind, body),
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
        text: (!record.text.is_empty()).then_some(record.text),
        case: parse_optional("case", &record.case)?,
        reply,
        carrier: parse_carrier("carrier", &record.carrier)?,
        staff: parse_optional("staff", &record.staff)?,
        rule: (!record.rule.is_empty()).then_some(record.rule),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_domain::configuration::Priority;
    use mainstem_domain::routing::{Case, Details, Opener, Stage, Timing};
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
                opener: Opener::Event { rule: "menu".to_owned(), event: "e1".parse().unwrap() },
                details: Details::default(),
                carrier: None,
                opened_at: At::from_millis(1_500),
                queued_at: At::from_millis(1_500),
                queued_times: 1,
                stage: Stage::Open,
                timing: Timing::default(),
                tags: std::collections::BTreeSet::new(),
                shared_serial: false,
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
                r#""queueTime":"1970-01-01T00:00:01.500+00:00","queueCount":1,"timing":{{}}}}}}"#
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
            Stage::Waiting { by: by.clone(), at },
            Stage::Resolved { by: by.clone(), at },
            Stage::Closed { by: by.clone(), at, resolved_at: At::from_millis(8) },
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
        assert_eq!(path(|case| case.timing = None), "case.timing");
        let error = decode(CASE_OPENED, b"{}").unwrap_err();
        assert_eq!(error.to_string(), "case: is missing");
    }
}
