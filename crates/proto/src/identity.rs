//! identity-merge's records and answers.

use mainstem_domain::identity::{Event, Profile};

use crate::error::{DecodeError, FieldError};
use crate::field::{parse_customer, parse_identifier, timestamp};
use crate::record::{self, Encoded};
use crate::wire::identity as wire;

/// Somebody new.
pub const CUSTOMER_CREATED: &str = "mainstem.identity.customer-created.v1";
/// One identifier more.
pub const IDENTIFIER_ATTACHED: &str = "mainstem.identity.identifier-attached.v1";
/// Two are one.
pub const CUSTOMERS_MERGED: &str = "mainstem.identity.customers-merged.v1";

/// The record of an event; `None` for [`Event::Channel`], whose body is the inbound event's own
/// bytes under its own kind.
#[must_use]
pub fn encode(event: &Event) -> Option<Encoded> {
    match event {
        Event::Created { customer, identifiers } => Some(record::write(
            CUSTOMER_CREATED,
            &wire::CustomerCreated {
                customer: customer.to_string(),
                identifiers: identifiers.iter().map(ToString::to_string).collect(),
            },
        )),
        Event::Attached { customer, identifier } => Some(record::write(
            IDENTIFIER_ATTACHED,
            &wire::IdentifierAttached {
                customer: customer.to_string(),
                identifier: identifier.to_string(),
            },
        )),
        Event::Merged { survivor, absorbed } => Some(record::write(
            CUSTOMERS_MERGED,
            &wire::CustomersMerged {
                survivor: survivor.to_string(),
                absorbed: absorbed.to_string(),
            },
        )),
        Event::Channel { .. } => None,
    }
}

/// The event of a record that [`encode`] made.
pub fn decode(kind: &str, body: &[u8]) -> Result<Event, DecodeError> {
    match kind {
        CUSTOMER_CREATED => Ok(created(&record::read(body)?)?),
        IDENTIFIER_ATTACHED => Ok(attached(&record::read(body)?)?),
        CUSTOMERS_MERGED => Ok(merged(&record::read(body)?)?),
        _ => Err(DecodeError::UnknownKind(kind.to_owned())),
    }
}

fn created(record: &wire::CustomerCreated) -> Result<Event, FieldError> {
    let identifiers = record
        .identifiers
        .iter()
        .enumerate()
        .map(|(index, text)| parse_identifier(&format!("identifiers[{index}]"), text))
        .collect::<Result<_, _>>()?;
    Ok(Event::Created { customer: parse_customer("customer", &record.customer)?, identifiers })
}

fn attached(record: &wire::IdentifierAttached) -> Result<Event, FieldError> {
    Ok(Event::Attached {
        customer: parse_customer("customer", &record.customer)?,
        identifier: parse_identifier("identifier", &record.identifier)?,
    })
}

fn merged(record: &wire::CustomersMerged) -> Result<Event, FieldError> {
    Ok(Event::Merged {
        survivor: parse_customer("survivor", &record.survivor)?,
        absorbed: parse_customer("absorbed", &record.absorbed)?,
    })
}

impl From<&Profile> for wire::Customer {
    fn from(profile: &Profile) -> Self {
        Self {
            customer: profile.id.to_string(),
            create_time: Some(timestamp(profile.customer.created_at)),
            identifiers: profile.customer.identifiers.iter().map(ToString::to_string).collect(),
            aliases: profile.customer.aliases.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_domain::CustomerId;

    #[test]
    fn a_record_is_compact_json_and_reads_back() {
        let (survivor, absorbed) = (CustomerId::derive("1"), CustomerId::derive("2"));
        let event = Event::Merged { survivor, absorbed };
        let record = encode(&event).unwrap();
        assert_eq!(record.kind, "mainstem.identity.customers-merged.v1");
        let body = format!(r#"{{"survivor":"{survivor}","absorbed":"{absorbed}"}}"#);
        assert_eq!(record.body, body.as_bytes());
        assert_eq!(decode(record.kind, &record.body), Ok(event));
    }

    #[test]
    fn what_is_wrong_with_a_record_is_typed() {
        let body = format!(
            r#"{{"customer":"{}","identifiers":["member:1","x"]}}"#,
            CustomerId::derive("1")
        );
        let error = decode(CUSTOMER_CREATED, body.as_bytes()).unwrap_err();
        assert!(matches!(error, DecodeError::Field(error) if error.field == "identifiers[1]"));
        assert!(matches!(decode(CUSTOMER_CREATED, b"["), Err(DecodeError::Json(_))));
        assert_eq!(decode("x", b"{}"), Err(DecodeError::UnknownKind("x".to_owned())));
    }
}
