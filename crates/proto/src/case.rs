//! Cases and their clocks.

use std::time::Duration;

use mainstem_domain::CaseId;
use mainstem_domain::configuration::Priority;
use mainstem_domain::routing::{Case, CaseView, Clock, Details, Opener, Stage, Timing};

use crate::error::FieldError;
use crate::field::{
    parse_all, parse_carrier, parse_case, parse_channel, parse_customer, parse_id, parse_optional,
    parse_queue, parse_time, text, timestamp,
};
use crate::wire::routing as wire;

pub(crate) fn held_case(case: Option<wire::Case>) -> Result<CaseView, FieldError> {
    let case = case.ok_or_else(|| FieldError::new("case", "is missing"))?;
    CaseView::try_from(case).map_err(|error| error.within("case"))
}

pub(crate) fn case_to_wire(id: CaseId, case: &Case) -> wire::Case {
    let (state, holder, since) = match &case.stage {
        Stage::Open => (wire::CaseState::Open, "", case.opened_at),
        Stage::Accepted { by, at } => (wire::CaseState::Accepted, by.as_str(), *at),
        Stage::InProgress { by, at } => (wire::CaseState::InProgress, by.as_str(), *at),
        Stage::Waiting { by, at } => (wire::CaseState::WaitingCustomer, by.as_str(), *at),
        Stage::Resolved { by, at } => (wire::CaseState::Resolved, by.as_str(), *at),
        Stage::Closed { by, at, .. } => (wire::CaseState::Closed, by.as_str(), *at),
        Stage::Cancelled { by, at, .. } => (wire::CaseState::Cancelled, by.as_str(), *at),
    };
    let cancel_reason = match &case.stage {
        Stage::Cancelled { reason, .. } => reason.clone(),
        Stage::Open
        | Stage::Accepted { .. }
        | Stage::InProgress { .. }
        | Stage::Waiting { .. }
        | Stage::Closed { .. }
        | Stage::Resolved { .. } => String::new(),
    };
    let resolve_time = match case.stage {
        Stage::Closed { resolved_at, .. } => Some(timestamp(resolved_at)),
        Stage::Open
        | Stage::Accepted { .. }
        | Stage::InProgress { .. }
        | Stage::Waiting { .. }
        | Stage::Cancelled { .. }
        | Stage::Resolved { .. } => None,
    };
    let (rule, opening_event, opener) = match &case.opener {
        Opener::Event { rule, event } => (rule.clone(), event.to_string(), String::new()),
        Opener::Staff { by } => (String::new(), String::new(), by.clone()),
    };
    wire::Case {
        case: id.to_string(),
        customer: case.customer.to_string(),
        channel: case.channel.to_string(),
        brand: text(case.brand.as_ref()),
        store: text(case.store.as_ref()),
        queue: case.queue.to_string(),
        priority: case.priority.to_string(),
        rule,
        opening_event,
        opener,
        open_time: Some(timestamp(case.opened_at)),
        state: state.into(),
        holder: holder.to_owned(),
        state_time: Some(timestamp(since)),
        queue_time: Some(timestamp(case.queued_at)),
        queue_count: case.queued_times,
        cancel_reason,
        resolve_time,
        carrier: text(case.carrier.as_ref()),
        details: Some(details_to_wire(&case.details))
            .filter(|_| case.details != Details::default()),
        timing: Some(timing_to_wire(&case.timing)),
        shared_serial: case.shared_serial,
        tags: case.tags.iter().map(ToString::to_string).collect(),
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
            Ok(wire::CaseState::WaitingCustomer) => {
                Stage::Waiting { by: case.holder, at: since()? }
            }
            Ok(wire::CaseState::Resolved) => Stage::Resolved { by: case.holder, at: since()? },
            Ok(wire::CaseState::Closed) => Stage::Closed {
                by: case.holder,
                at: since()?,
                resolved_at: parse_time("resolve_time", case.resolve_time)?,
            },
            Ok(wire::CaseState::Cancelled) => {
                Stage::Cancelled { by: case.holder, at: since()?, reason: case.cancel_reason }
            }
            Ok(wire::CaseState::Unspecified) | Err(_) => {
                let rule = "must be OPEN, ACCEPTED, IN_PROGRESS, WAITING_CUSTOMER, RESOLVED, CLOSED \
                            or CANCELLED";
                return Err(FieldError::new("state", rule));
            }
        };
        let opener = if case.opening_event.is_empty() {
            Opener::Staff { by: case.opener }
        } else {
            let event = parse_id("opening_event", &case.opening_event)?;
            Opener::Event { rule: case.rule, event }
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
                opener,
                details: case.details.map(details_from).unwrap_or_default(),
                carrier: parse_carrier("carrier", &case.carrier)?,
                opened_at: parse_time("open_time", case.open_time)?,
                queued_at: parse_time("queue_time", case.queue_time)?,
                queued_times: case.queue_count,
                stage,
                timing: held_timing(case.timing)?,
                tags: parse_all("tags", &case.tags)?,
                shared_serial: case.shared_serial,
            },
        })
    }
}

fn details_to_wire(details: &Details) -> wire::CaseDetails {
    let Details { product, serial, purchase, warranty, symptom, photos, reference } =
        details.clone();
    wire::CaseDetails { product, serial, purchase, warranty, symptom, photos, reference }
}

/// What staff wrote down, as it came.
#[must_use]
pub fn details_from(details: wire::CaseDetails) -> Details {
    let wire::CaseDetails { product, serial, purchase, warranty, symptom, photos, reference } =
        details;
    Details { product, serial, purchase, warranty, symptom, photos, reference }
}

pub(crate) fn timing_to_wire(timing: &Timing) -> wire::CaseTiming {
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let clocks = timing.clocks.iter().map(|clock| wire::UnitClock {
        unit: text(clock.unit.as_ref()),
        run_ms: millis(clock.ran),
        work_ms: millis(clock.worked),
        warned: clock.warned,
        escalated: clock.escalated,
    });
    wire::CaseTiming {
        clocks: clocks.collect(),
        run_start_time: timing.running_since.map(timestamp),
        warn_time: timing.warn_at.map(timestamp),
        due_time: timing.due_at.map(timestamp),
    }
}

pub(crate) fn held_timing(timing: Option<wire::CaseTiming>) -> Result<Timing, FieldError> {
    let timing = timing.ok_or_else(|| FieldError::new("timing", "is missing"))?;
    timing_from(timing).map_err(|error| error.within("timing"))
}

fn timing_from(timing: wire::CaseTiming) -> Result<Timing, FieldError> {
    let time = |field, time: Option<_>| time.map(|time| parse_time(field, Some(time))).transpose();
    let millis = |field, millis| {
        let fits = u64::try_from(millis).map(Duration::from_millis);
        fits.map_err(|_| FieldError::new(field, "must not be negative"))
    };
    let clocks = timing.clocks.into_iter().map(|clock| {
        Ok(Clock {
            unit: parse_optional("clocks.unit", &clock.unit)?,
            ran: millis("clocks.run_ms", clock.run_ms)?,
            worked: millis("clocks.work_ms", clock.work_ms)?,
            warned: clock.warned,
            escalated: clock.escalated,
        })
    });
    Ok(Timing {
        clocks: clocks.collect::<Result<_, FieldError>>()?,
        running_since: time("run_start_time", timing.run_start_time)?,
        warn_at: time("warn_time", timing.warn_time)?,
        due_at: time("due_time", timing.due_time)?,
    })
}

/// Reads a priority, `P1` to `P4`.
pub fn parse_priority(field: &str, text: &str) -> Result<Priority, FieldError> {
    match text {
        "P1" => Ok(Priority::P1),
        "P2" => Ok(Priority::P2),
        "P3" => Ok(Priority::P3),
        "P4" => Ok(Priority::P4),
        _ => Err(FieldError::new(field, "must be P1, P2, P3 or P4")),
    }
}
