//! identity-merge's records and answers.

use mainstem_domain::identifier::Kind;
use mainstem_domain::identity::{Conflict, Event, Evidence, Profile, Suggestion};
use mainstem_domain::person::Sighting;
use mainstem_domain::{ConflictId, CustomerId, SuggestionId};

use crate::error::{DecodeError, FieldError};
use crate::field::{parse_customer, parse_id, parse_identifier, timestamp};
use crate::record::{self, Encoded};
use crate::wire::channel;
use crate::wire::identity as wire;

/// Somebody new.
pub const CUSTOMER_CREATED: &str = "mainstem.identity.customer-created.v1";
/// One identifier more.
pub const IDENTIFIER_ATTACHED: &str = "mainstem.identity.identifier-attached.v1";
/// Two are one.
pub const CUSTOMERS_MERGED: &str = "mainstem.identity.customers-merged.v1";
/// Two may be one.
pub const MERGE_SUGGESTED: &str = "mainstem.identity.merge-suggested.v1";
/// Something was set aside.
pub const CONFLICT_RECORDED: &str = "mainstem.identity.conflict-recorded.v1";

/// The record of an event; `None` for [`Event::Channel`], whose body is the inbound event's own
/// bytes under its own kind.
#[must_use]
pub fn encode(event: &Event) -> Option<Encoded> {
    Some(match event {
        Event::Created { customer, sightings, evidence } => record::write(
            CUSTOMER_CREATED,
            &wire::CustomerCreated {
                customer: customer.to_string(),
                identifiers: sightings.iter().map(sighting_to).collect(),
                evidence: evidence.as_ref().map(evidence_to),
            },
        ),
        Event::Attached { customer, sighting, evidence } => record::write(
            IDENTIFIER_ATTACHED,
            &wire::IdentifierAttached {
                customer: customer.to_string(),
                identifier: Some(sighting_to(sighting)),
                evidence: evidence.as_ref().map(evidence_to),
            },
        ),
        Event::Merged { survivor, absorbed, evidence } => record::write(
            CUSTOMERS_MERGED,
            &wire::CustomersMerged {
                survivor: survivor.to_string(),
                absorbed: absorbed.to_string(),
                evidence: evidence.as_ref().map(evidence_to),
            },
        ),
        Event::Suggested { id, customer, other, evidence } => record::write(
            MERGE_SUGGESTED,
            &wire::MergeSuggested {
                suggestion: id.to_string(),
                customer: customer.to_string(),
                other: other.to_string(),
                evidence: Some(evidence_to(evidence)),
            },
        ),
        Event::Conflicted { id, customer, others, set_aside, unlisted, kinds, evidence } => {
            record::write(
                CONFLICT_RECORDED,
                &wire::ConflictRecorded {
                    conflict: id.to_string(),
                    customer: customer.to_string(),
                    others: others.iter().map(ToString::to_string).collect(),
                    set_aside: set_aside.iter().map(sighting_to).collect(),
                    unlisted: *unlisted,
                    kinds: kinds.iter().map(ToString::to_string).collect(),
                    evidence: Some(evidence_to(evidence)),
                },
            )
        }
        Event::Channel { .. } => return None,
    })
}

/// The event of a record that [`encode`] made.
pub fn decode(kind: &str, body: &[u8]) -> Result<Event, DecodeError> {
    match kind {
        CUSTOMER_CREATED => Ok(created(record::read(body)?)?),
        IDENTIFIER_ATTACHED => Ok(attached(record::read(body)?)?),
        CUSTOMERS_MERGED => Ok(merged(record::read(body)?)?),
        MERGE_SUGGESTED => Ok(suggested(record::read(body)?)?),
        CONFLICT_RECORDED => Ok(conflicted(record::read(body)?)?),
        _ => Err(DecodeError::UnknownKind(kind.to_owned())),
    }
}

fn created(record: wire::CustomerCreated) -> Result<Event, FieldError> {
    Ok(Event::Created {
        customer: parse_customer("customer", &record.customer)?,
        sightings: sightings_from("identifiers", record.identifiers)?,
        evidence: record.evidence.map(evidence_from).transpose()?,
    })
}

fn attached(record: wire::IdentifierAttached) -> Result<Event, FieldError> {
    Ok(Event::Attached {
        customer: parse_customer("customer", &record.customer)?,
        sighting: sighting_from("identifier", &record.identifier.unwrap_or_default())?,
        evidence: record.evidence.map(evidence_from).transpose()?,
    })
}

fn merged(record: wire::CustomersMerged) -> Result<Event, FieldError> {
    Ok(Event::Merged {
        survivor: parse_customer("survivor", &record.survivor)?,
        absorbed: parse_customer("absorbed", &record.absorbed)?,
        evidence: record.evidence.map(evidence_from).transpose()?,
    })
}

fn suggested(record: wire::MergeSuggested) -> Result<Event, FieldError> {
    Ok(Event::Suggested {
        id: parse_id("suggestion", &record.suggestion)?,
        customer: parse_customer("customer", &record.customer)?,
        other: parse_customer("other", &record.other)?,
        evidence: evidence_from(record.evidence.unwrap_or_default())?,
    })
}

fn conflicted(record: wire::ConflictRecorded) -> Result<Event, FieldError> {
    let kind = |(index, name): (usize, &String)| {
        Kind::from_name(name)
            .ok_or_else(|| FieldError::new(&format!("kinds[{index}]"), "is no kind of identifiers"))
    };
    let other = |(index, text): (usize, &String)| parse_customer(&format!("others[{index}]"), text);
    Ok(Event::Conflicted {
        id: parse_id("conflict", &record.conflict)?,
        customer: parse_customer("customer", &record.customer)?,
        others: record.others.iter().enumerate().map(other).collect::<Result<_, _>>()?,
        set_aside: sightings_from("set_aside", record.set_aside)?,
        unlisted: record.unlisted,
        kinds: record.kinds.iter().enumerate().map(kind).collect::<Result<_, _>>()?,
        evidence: evidence_from(record.evidence.unwrap_or_default())?,
    })
}

fn evidence_from(evidence: wire::Evidence) -> Result<Evidence, FieldError> {
    let within = |error: FieldError| error.within("evidence");
    Ok(Evidence {
        channel: parse_id("channel", &evidence.channel).map_err(within)?,
        event: parse_id("event", &evidence.event).map_err(within)?,
        by: sightings_from("by", evidence.by).map_err(within)?,
    })
}

fn sightings_from(
    field: &str,
    sightings: Vec<channel::Sighting>,
) -> Result<Vec<Sighting>, FieldError> {
    let read = |(index, sighting)| sighting_from(&format!("{field}[{index}]"), &sighting);
    sightings.into_iter().enumerate().map(read).collect()
}

fn sighting_from(field: &str, sighting: &channel::Sighting) -> Result<Sighting, FieldError> {
    let identifier = parse_identifier("identifier", &sighting.identifier)
        .map_err(|error| error.within(field))?;
    Ok(Sighting { identifier, verified: sighting.verified })
}

fn evidence_to(evidence: &Evidence) -> wire::Evidence {
    wire::Evidence {
        channel: evidence.channel.to_string(),
        event: evidence.event.to_string(),
        by: evidence.by.iter().map(sighting_to).collect(),
    }
}

fn sighting_to(sighting: &Sighting) -> channel::Sighting {
    channel::Sighting {
        identifier: sighting.identifier.to_string(),
        verified: sighting.verified,
        extension: String::new(),
    }
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

/// A suggestion as it is answered.
#[must_use]
pub fn suggestion_to(id: SuggestionId, suggestion: &Suggestion) -> wire::Suggestion {
    wire::Suggestion {
        suggestion: id.to_string(),
        customer: suggestion.customer.to_string(),
        other: suggestion.other.to_string(),
        create_time: Some(timestamp(suggestion.suggested_at)),
        evidence: Some(evidence_to(&suggestion.evidence)),
    }
}

/// A conflict as it is answered; `current` tells the id that a customer has now.
#[must_use]
pub fn conflict_to(
    id: ConflictId,
    conflict: &Conflict,
    current: impl Fn(CustomerId) -> CustomerId,
) -> wire::Conflict {
    wire::Conflict {
        conflict: id.to_string(),
        customer: current(conflict.customer).to_string(),
        others: conflict.others.iter().map(|id| current(*id).to_string()).collect(),
        set_aside: conflict.set_aside.iter().map(sighting_to).collect(),
        unlisted: conflict.unlisted,
        kinds: conflict.kinds.iter().map(ToString::to_string).collect(),
        create_time: Some(timestamp(conflict.recorded_at)),
        evidence: Some(evidence_to(&conflict.evidence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_domain::CustomerId;

    #[test]
    fn a_record_is_compact_json_and_reads_back() {
        let (survivor, absorbed) = (CustomerId::derive("1"), CustomerId::derive("2"));
        let event = Event::Merged { survivor, absorbed, evidence: None };
        let record = encode(&event).unwrap();
        assert_eq!(record.kind, "mainstem.identity.customers-merged.v1");
        let body = format!(r#"{{"survivor":"{survivor}","absorbed":"{absorbed}"}}"#);
        assert_eq!(record.body, body.as_bytes());
        assert_eq!(decode(record.kind, &record.body), Ok(event));
    }

    #[test]
    fn what_is_wrong_with_a_record_is_typed() {
        let body = format!(
            r#"{{"customer":"{}","identifiers":[{{"identifier":"member:1"}},{{"identifier":"x"}}]}}"#,
            CustomerId::derive("1")
        );
        let error = decode(CUSTOMER_CREATED, body.as_bytes()).unwrap_err();
        assert!(
            matches!(error, DecodeError::Field(error) if error.field == "identifiers[1].identifier")
        );
        assert!(matches!(decode(CUSTOMER_CREATED, b"["), Err(DecodeError::Json(_))));
        assert_eq!(decode("x", b"{}"), Err(DecodeError::UnknownKind("x".to_owned())));
    }
}
