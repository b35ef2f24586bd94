//! Bindings, the codes that make them, and hand-overs.

use mainstem_domain::routing::{
    Binding, BindingView, Ended, EndedWhy, Event, HandOver, IssuedCode, Made, NoNonce, Nonce,
    RefusedWhy,
};
use mainstem_domain::{ChannelId, CustomerId, StaffId};

use crate::error::{DecodeError, FieldError};
use crate::field::{
    parse_carrier, parse_channel, parse_customer, parse_id, parse_optional, parse_time, text,
    timestamp,
};
use crate::record::{self, Encoded};
use crate::routing::{
    BINDING_ENDED, BINDING_RESTATED, CODE_ISSUED, CODE_REFUSED, CODE_REVOKED, CUSTOMER_BOUND,
    HAND_OVER_BEGUN, HAND_OVER_DONE,
};
use crate::wire::routing as wire;

/// Reads what tells a binding code from others.
pub fn parse_nonce(field: &str, text: &str) -> Result<Nonce, FieldError> {
    text.parse().map_err(|error: NoNonce| FieldError::new(field, error.to_string()))
}

pub(crate) fn issued(code: &IssuedCode, by: &str) -> Encoded {
    let code = wire::BindingCode::from(code);
    record::write(
        CODE_ISSUED,
        &wire::BindingCodeIssued { binding_code: Some(code), actor: by.to_owned() },
    )
}

pub(crate) fn revoked(nonce: Nonce, staff: &StaffId, by: &str) -> Encoded {
    record::write(
        CODE_REVOKED,
        &wire::BindingCodeRevoked {
            nonce: nonce.to_string(),
            staff: staff.to_string(),
            actor: by.to_owned(),
        },
    )
}

pub(crate) fn refused(why: RefusedWhy, staff: Option<&StaffId>, channel: &ChannelId) -> Encoded {
    let fault = match why {
        RefusedWhy::Expired => wire::BindingCodeFault::Expired,
        RefusedWhy::Revoked => wire::BindingCodeFault::Revoked,
        RefusedWhy::Forged => wire::BindingCodeFault::Forged,
    };
    record::write(
        CODE_REFUSED,
        &wire::BindingCodeRefused {
            fault: fault.into(),
            staff: text(staff),
            channel: channel.to_string(),
        },
    )
}

pub(crate) fn bound(customer: CustomerId, binding: &Binding) -> Encoded {
    let binding = Some(to_wire(customer, binding));
    record::write(CUSTOMER_BOUND, &wire::CustomerBound { binding })
}

pub(crate) fn ended(customer: CustomerId, binding: &Binding) -> Encoded {
    let binding = Some(to_wire(customer, binding));
    record::write(BINDING_ENDED, &wire::BindingEnded { binding })
}

pub(crate) fn restated(customer: CustomerId, binding: &Binding) -> Encoded {
    let binding = Some(to_wire(customer, binding));
    record::write(BINDING_RESTATED, &wire::BindingRestated { binding })
}

pub(crate) fn hand_over_begun(hand_over: &HandOver) -> Encoded {
    record::write(
        HAND_OVER_BEGUN,
        &wire::HandOverBegun {
            from_staff: hand_over.from.to_string(),
            to_staff: hand_over.to.to_string(),
            store: text(hand_over.store.as_ref()),
            brand: text(hand_over.brand.as_ref()),
            actor: hand_over.by.clone(),
        },
    )
}

pub(crate) fn hand_over_done(from: &StaffId, to: &StaffId) -> Encoded {
    record::write(
        HAND_OVER_DONE,
        &wire::HandOverDone { from_staff: from.to_string(), to_staff: to.to_string() },
    )
}

/// The event of a record of one of these kinds.
pub(crate) fn decode(kind: &str, body: &[u8]) -> Result<Event, DecodeError> {
    match kind {
        CODE_ISSUED => {
            let record: wire::BindingCodeIssued = record::read(body)?;
            let code = record.binding_code;
            let code = code.ok_or_else(|| FieldError::new("binding_code", "is missing"))?;
            let code = IssuedCode::try_from(code).map_err(|error| error.within("binding_code"))?;
            Ok(Event::CodeIssued { code, by: record.actor })
        }
        CODE_REVOKED => {
            let record: wire::BindingCodeRevoked = record::read(body)?;
            Ok(Event::CodeRevoked {
                nonce: parse_nonce("nonce", &record.nonce)?,
                staff: parse_id("staff", &record.staff)?,
                by: record.actor,
            })
        }
        CODE_REFUSED => {
            let record: wire::BindingCodeRefused = record::read(body)?;
            let why = match record.fault() {
                wire::BindingCodeFault::Expired => RefusedWhy::Expired,
                wire::BindingCodeFault::Revoked => RefusedWhy::Revoked,
                wire::BindingCodeFault::Forged => RefusedWhy::Forged,
                wire::BindingCodeFault::Unspecified => {
                    return Err(FieldError::new("fault", "is missing or unknown").into());
                }
            };
            Ok(Event::CodeRefused {
                why,
                staff: parse_optional("staff", &record.staff)?,
                channel: parse_channel("channel", &record.channel)?,
            })
        }
        CUSTOMER_BOUND => {
            let record: wire::CustomerBound = record::read(body)?;
            let (customer, binding) = held(record.binding)?;
            Ok(Event::Bound { customer, binding })
        }
        BINDING_ENDED => {
            let record: wire::BindingEnded = record::read(body)?;
            let (customer, binding) = held(record.binding)?;
            Ok(Event::BindingEnded { customer, binding })
        }
        BINDING_RESTATED => {
            let record: wire::BindingRestated = record::read(body)?;
            let (customer, binding) = held(record.binding)?;
            Ok(Event::BindingRestated { customer, binding })
        }
        HAND_OVER_BEGUN => {
            let record: wire::HandOverBegun = record::read(body)?;
            Ok(Event::HandOverBegun(HandOver {
                from: parse_id("from_staff", &record.from_staff)?,
                to: parse_id("to_staff", &record.to_staff)?,
                store: parse_optional("store", &record.store)?,
                brand: parse_optional("brand", &record.brand)?,
                by: record.actor,
            }))
        }
        HAND_OVER_DONE => {
            let record: wire::HandOverDone = record::read(body)?;
            Ok(Event::HandOverDone {
                from: parse_id("from_staff", &record.from_staff)?,
                to: parse_id("to_staff", &record.to_staff)?,
            })
        }
        _ => Err(DecodeError::UnknownKind(kind.to_owned())),
    }
}

fn to_wire(customer: CustomerId, binding: &Binding) -> wire::Binding {
    let (nonce, event, from_staff) = match &binding.made {
        Made::Code { nonce, event } => (nonce.to_string(), event.to_string(), String::new()),
        Made::HandOver { from } => (String::new(), String::new(), from.to_string()),
    };
    let ended = binding.ended.as_ref();
    wire::Binding {
        customer: customer.to_string(),
        staff: binding.staff.to_string(),
        brand: text(binding.brand.as_ref()),
        store: text(binding.store.as_ref()),
        channel: binding.channel.to_string(),
        bind_time: Some(timestamp(binding.bound_at)),
        nonce,
        event,
        from_staff,
        carrier: text(binding.carrier.as_ref()),
        end_time: ended.map(|ended| timestamp(ended.at)),
        ended_by: ended.map(|ended| ended.by.clone()).unwrap_or_default(),
        end: wire::BindingEnd::Unspecified.into(),
    }
}

fn held(binding: Option<wire::Binding>) -> Result<(CustomerId, Binding), FieldError> {
    let binding = binding.ok_or_else(|| FieldError::new("binding", "is missing"))?;
    read(binding).map_err(|error| error.within("binding"))
}

fn read(binding: wire::Binding) -> Result<(CustomerId, Binding), FieldError> {
    let made = if binding.from_staff.is_empty() {
        Made::Code {
            nonce: parse_nonce("nonce", &binding.nonce)?,
            event: parse_id("event", &binding.event)?,
        }
    } else {
        Made::HandOver { from: parse_id("from_staff", &binding.from_staff)? }
    };
    let ended = match binding.end_time {
        None => None,
        end_time => Some(Ended { at: parse_time("end_time", end_time)?, by: binding.ended_by }),
    };
    let customer = parse_customer("customer", &binding.customer)?;
    let read = Binding {
        bound_at: parse_time("bind_time", binding.bind_time)?,
        staff: parse_id("staff", &binding.staff)?,
        brand: parse_optional("brand", &binding.brand)?,
        store: parse_optional("store", &binding.store)?,
        channel: parse_channel("channel", &binding.channel)?,
        made,
        carrier: parse_carrier("carrier", &binding.carrier)?,
        ended,
    };
    Ok((customer, read))
}

impl From<&BindingView> for wire::Binding {
    fn from(view: &BindingView) -> Self {
        let end = view.end.map_or(wire::BindingEnd::Unspecified, |(_, why)| match why {
            EndedWhy::Replaced => wire::BindingEnd::Replaced,
            EndedWhy::HandedOver => wire::BindingEnd::HandedOver,
            EndedWhy::ByStaff => wire::BindingEnd::ByStaff,
        });
        Self {
            end_time: view.end.map(|(at, _)| timestamp(at)),
            end: end.into(),
            ..to_wire(view.customer, &view.binding)
        }
    }
}

impl From<&IssuedCode> for wire::BindingCode {
    fn from(code: &IssuedCode) -> Self {
        Self {
            nonce: code.nonce.to_string(),
            staff: code.staff.to_string(),
            store: text(code.store.as_ref()),
            brand: text(code.brand.as_ref()),
            expire_time: Some(timestamp(code.expires_at)),
        }
    }
}

impl TryFrom<wire::BindingCode> for IssuedCode {
    type Error = FieldError;
    fn try_from(code: wire::BindingCode) -> Result<Self, FieldError> {
        Ok(Self {
            nonce: parse_nonce("nonce", &code.nonce)?,
            staff: parse_id("staff", &code.staff)?,
            store: parse_optional("store", &code.store)?,
            brand: parse_optional("brand", &code.brand)?,
            expires_at: parse_time("expire_time", code.expire_time)?,
        })
    }
}
