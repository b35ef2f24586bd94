//! identity-merge's records and answers.

mod answers;

use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::identifier::{Identifier, Kind};
use mainstem_domain::identity::{
    Alias, Bits, Conflict, Event, Evidence, Fact, Facts, Field, FieldScore, Kept, Level, Restated,
    Score, Source, Tie, Told,
};
use mainstem_domain::person::{Attribute, Consent, Sighting};
use mainstem_domain::{At, ChannelId, ConflictId, EventId};
use pbjson_types::Timestamp;

pub use answers::{conflict_to, dispute_to, erasure_to, hub_to, suggestion_to};

use crate::channel::{answer_from, answer_to};
use crate::error::{DecodeError, FieldError};
use crate::field::{parse_customer, parse_id, parse_stored_identifier, parse_time, timestamp};
use crate::record::{self, Encoded};
use crate::wire::channel;
use crate::wire::identity as wire;

/// Somebody new.
pub const CUSTOMER_CREATED: &str = "mainstem.identity.customer-created.v1";
/// More identifiers.
pub const IDENTIFIERS_ATTACHED: &str = "mainstem.identity.identifiers-attached.v1";
/// Evidence that ties what nothing tied directly.
pub const IDENTIFIERS_TIED: &str = "mainstem.identity.identifiers-tied.v1";
/// Two are one.
pub const CUSTOMERS_MERGED: &str = "mainstem.identity.customers-merged.v1";
/// Something was told of a person.
pub const CUSTOMER_DESCRIBED: &str = "mainstem.identity.customer-described.v1";
/// A person allowed or refused something.
pub const CONSENT_GIVEN: &str = "mainstem.identity.consent-given.v1";
/// Two may be one.
pub const MERGE_SUGGESTED: &str = "mainstem.identity.merge-suggested.v1";
/// The two are two.
pub const SUGGESTION_REJECTED: &str = "mainstem.identity.suggestion-rejected.v1";
/// Something was set aside.
pub const CONFLICT_RECORDED: &str = "mainstem.identity.conflict-recorded.v1";
/// An event carried what somebody else has.
pub const IDENTIFIER_CARRIED: &str = "mainstem.identity.identifier-carried.v1";
/// An identifier ties nobody from now on.
pub const HUB_FOUND: &str = "mainstem.identity.hub-found.v1";
/// It may tie again.
pub const HUB_RELEASED: &str = "mainstem.identity.hub-released.v1";
/// An identifier is disputed.
pub const IDENTIFIER_DISPUTED: &str = "mainstem.identity.identifier-disputed.v1";
/// It is somebody's, or nobody's.
pub const DISPUTE_SETTLED: &str = "mainstem.identity.dispute-settled.v1";
/// A customer is taken apart.
pub const CUSTOMER_SPLIT: &str = "mainstem.identity.customer-split.v1";
/// Some of what is known of a piece.
pub const CUSTOMER_RESTATED: &str = "mainstem.identity.customer-restated.v1";
/// All records stand under their owners.
pub const RECORDS_MOVED: &str = "mainstem.identity.records-moved.v1";
/// A message was taken back.
pub const MESSAGE_UNSENT: &str = "mainstem.identity.message-unsent.v1";
/// No record holds it any more.
pub const MESSAGE_HIDDEN: &str = "mainstem.identity.message-hidden.v1";
/// A customer is forgotten.
pub const CUSTOMER_ERASED: &str = "mainstem.identity.customer-erased.v1";
/// A service is through with an erasure.
pub const ERASURE_REPORTED: &str = "mainstem.identity.erasure-reported.v1";

/// The record of an event; `None` for [`Event::Channel`], whose body is the inbound event's own
/// bytes under its own kind.
#[must_use]
#[expect(clippy::too_many_lines, reason = "one arm for each event")]
pub fn encode(event: &Event) -> Option<Encoded> {
    Some(match event {
        Event::Created { customer, sightings, evidence } => record::write(
            CUSTOMER_CREATED,
            &wire::CustomerCreated {
                customer: customer.to_string(),
                identifiers: sightings.iter().map(sighting_to).collect(),
                evidence: Some(evidence_to(evidence)),
            },
        ),
        Event::Attached { customer, sightings, evidence } => record::write(
            IDENTIFIERS_ATTACHED,
            &wire::IdentifiersAttached {
                customer: customer.to_string(),
                identifiers: sightings.iter().map(sighting_to).collect(),
                evidence: Some(evidence_to(evidence)),
            },
        ),
        Event::Tied { customer, sightings, evidence } => record::write(
            IDENTIFIERS_TIED,
            &wire::IdentifiersTied {
                customer: customer.to_string(),
                identifiers: sightings.iter().map(sighting_to).collect(),
                evidence: Some(evidence_to(evidence)),
            },
        ),
        Event::Merged { survivor, absorbed, evidence } => record::write(
            CUSTOMERS_MERGED,
            &wire::CustomersMerged {
                survivor: survivor.to_string(),
                absorbed: absorbed.to_string(),
                evidence: Some(evidence_to(evidence)),
            },
        ),
        Event::Described { customer, identifier, attributes, told_at, source } => record::write(
            CUSTOMER_DESCRIBED,
            &wire::CustomerDescribed {
                customer: customer.to_string(),
                identifier: identifier.to_string(),
                attributes: attributes.iter().map(attribute_to).collect(),
                tell_time: Some(timestamp(*told_at)),
                channel: source.channel.to_string(),
                event: source.event.to_string(),
            },
        ),
        Event::Consented { customer, consents, told_at, source } => record::write(
            CONSENT_GIVEN,
            &wire::ConsentGiven {
                customer: customer.to_string(),
                consents: consents.iter().map(consent_to).collect(),
                tell_time: Some(timestamp(*told_at)),
                channel: source.channel.to_string(),
                event: source.event.to_string(),
            },
        ),
        Event::Suggested { id, customer, other, evidence, likeness } => record::write(
            MERGE_SUGGESTED,
            &wire::MergeSuggested {
                suggestion: id.to_string(),
                customer: customer.to_string(),
                other: other.to_string(),
                evidence: Some(evidence_to(evidence)),
                likeness: likeness.as_ref().map(likeness_to),
            },
        ),
        Event::SuggestionRejected { id, customer } => record::write(
            SUGGESTION_REJECTED,
            &wire::SuggestionRejected {
                suggestion: id.to_string(),
                customer: customer.to_string(),
            },
        ),
        Event::Conflicted { id, conflict } => {
            record::write(CONFLICT_RECORDED, &conflict_record(*id, conflict))
        }
        Event::Carried { customer, identifier } => record::write(
            IDENTIFIER_CARRIED,
            &wire::IdentifierCarried {
                customer: customer.to_string(),
                identifier: identifier.to_string(),
            },
        ),
        Event::HubFound { identifier, customer, carriers } => record::write(
            HUB_FOUND,
            &wire::HubFound {
                identifier: identifier.to_string(),
                customer: customer.to_string(),
                carriers: texts(carriers),
            },
        ),
        Event::HubReleased { identifier, customer } => record::write(
            HUB_RELEASED,
            &wire::HubReleased {
                identifier: identifier.to_string(),
                customer: customer.to_string(),
            },
        ),
        Event::Disputed { id, identifier, claimants, source } => record::write(
            IDENTIFIER_DISPUTED,
            &wire::IdentifierDisputed {
                dispute: id.to_string(),
                identifier: identifier.to_string(),
                claimants: texts(claimants),
                channel: source.channel.to_string(),
                event: source.event.to_string(),
            },
        ),
        Event::DisputeSettled { id, claimant, customer } => record::write(
            DISPUTE_SETTLED,
            &wire::DisputeSettled {
                dispute: id.to_string(),
                claimant: claimant.to_string(),
                customer: crate::field::text(customer.as_ref()),
            },
        ),
        Event::Split { id, customer, pieces, aliases } => record::write(
            CUSTOMER_SPLIT,
            &wire::CustomerSplit {
                split: id.to_string(),
                customer: customer.to_string(),
                pieces: texts(pieces),
                aliases: texts(aliases),
            },
        ),
        Event::Restated(restated) => record::write(CUSTOMER_RESTATED, &restated_to(restated)),
        Event::Moved { split, customer, counts } => record::write(
            RECORDS_MOVED,
            &wire::RecordsMoved {
                split: split.to_string(),
                customer: customer.to_string(),
                counts: counts.clone().into_iter().collect(),
            },
        ),
        Event::Erased { id, customers, refused } => record::write(
            CUSTOMER_ERASED,
            &wire::CustomerErased {
                erasure: id.to_string(),
                customers: texts(customers),
                refused: refused
                    .iter()
                    .flat_map(|(token, what)| what.iter().map(move |what| (token, what)))
                    .map(|(token, (means, purpose))| wire::ErasedRefusal {
                        token: token.clone(),
                        means: means.to_string(),
                        purpose: purpose.to_string(),
                    })
                    .collect(),
            },
        ),
        Event::ErasureReported { id, service, counts } => record::write(
            ERASURE_REPORTED,
            &wire::ErasureReported {
                erasure: id.to_string(),
                service: service.clone(),
                counts: counts.clone().into_iter().collect(),
            },
        ),
        Event::Unsent { id, customers, channel, message } => record::write(
            MESSAGE_UNSENT,
            &wire::MessageUnsent {
                unsend: id.to_string(),
                customers: texts(customers),
                channel: channel.to_string(),
                message: message.clone(),
            },
        ),
        Event::Hidden { unsend, customer, channel, counts } => record::write(
            MESSAGE_HIDDEN,
            &wire::MessageHidden {
                unsend: unsend.to_string(),
                customer: crate::field::text(customer.as_ref()),
                channel: channel.to_string(),
                counts: counts.clone().into_iter().collect(),
            },
        ),
        Event::Channel { .. } => return None,
    })
}

/// The event of a record that [`encode`] made; `at` is when it was recorded.
#[expect(clippy::too_many_lines, reason = "one arm for each kind")]
pub fn decode(kind: &str, body: &[u8]) -> Result<Event, DecodeError> {
    Ok(match kind {
        CUSTOMER_CREATED => {
            let record: wire::CustomerCreated = record::read(body)?;
            Event::Created {
                customer: parse_customer("customer", &record.customer)?,
                sightings: sightings_from("identifiers", &record.identifiers)?,
                evidence: evidence_from(record.evidence)?,
            }
        }
        IDENTIFIERS_ATTACHED => {
            let record: wire::IdentifiersAttached = record::read(body)?;
            Event::Attached {
                customer: parse_customer("customer", &record.customer)?,
                sightings: sightings_from("identifiers", &record.identifiers)?,
                evidence: evidence_from(record.evidence)?,
            }
        }
        IDENTIFIERS_TIED => {
            let record: wire::IdentifiersTied = record::read(body)?;
            Event::Tied {
                customer: parse_customer("customer", &record.customer)?,
                sightings: sightings_from("identifiers", &record.identifiers)?,
                evidence: evidence_from(record.evidence)?,
            }
        }
        CUSTOMERS_MERGED => {
            let record: wire::CustomersMerged = record::read(body)?;
            Event::Merged {
                survivor: parse_customer("survivor", &record.survivor)?,
                absorbed: parse_customer("absorbed", &record.absorbed)?,
                evidence: evidence_from(record.evidence)?,
            }
        }
        CUSTOMER_DESCRIBED => {
            let record: wire::CustomerDescribed = record::read(body)?;
            Event::Described {
                customer: parse_customer("customer", &record.customer)?,
                identifier: parse_stored_identifier("identifier", &record.identifier)?,
                attributes: each("attributes", &record.attributes, attribute_from)?,
                told_at: parse_time("tell_time", record.tell_time)?,
                source: source_from(&record.channel, &record.event)?,
            }
        }
        CONSENT_GIVEN => {
            let record: wire::ConsentGiven = record::read(body)?;
            Event::Consented {
                customer: parse_customer("customer", &record.customer)?,
                consents: each("consents", &record.consents, consent_from)?,
                told_at: parse_time("tell_time", record.tell_time)?,
                source: source_from(&record.channel, &record.event)?,
            }
        }
        MERGE_SUGGESTED => {
            let record: wire::MergeSuggested = record::read(body)?;
            Event::Suggested {
                id: parse_id("suggestion", &record.suggestion)?,
                customer: parse_customer("customer", &record.customer)?,
                other: parse_customer("other", &record.other)?,
                evidence: evidence_from(record.evidence)?,
                likeness: record.likeness.as_ref().map(likeness_from).transpose()?,
            }
        }
        SUGGESTION_REJECTED => {
            let record: wire::SuggestionRejected = record::read(body)?;
            Event::SuggestionRejected {
                id: parse_id("suggestion", &record.suggestion)?,
                customer: parse_customer("customer", &record.customer)?,
            }
        }
        CONFLICT_RECORDED => conflicted(record::read(body)?)?,
        IDENTIFIER_CARRIED => {
            let record: wire::IdentifierCarried = record::read(body)?;
            Event::Carried {
                customer: parse_customer("customer", &record.customer)?,
                identifier: parse_stored_identifier("identifier", &record.identifier)?,
            }
        }
        HUB_FOUND => {
            let record: wire::HubFound = record::read(body)?;
            Event::HubFound {
                identifier: parse_stored_identifier("identifier", &record.identifier)?,
                customer: parse_customer("customer", &record.customer)?,
                carriers: each("carriers", &record.carriers, |field, text| {
                    parse_customer(field, text)
                })?,
            }
        }
        HUB_RELEASED => {
            let record: wire::HubReleased = record::read(body)?;
            Event::HubReleased {
                identifier: parse_stored_identifier("identifier", &record.identifier)?,
                customer: parse_customer("customer", &record.customer)?,
            }
        }
        IDENTIFIER_DISPUTED => {
            let record: wire::IdentifierDisputed = record::read(body)?;
            Event::Disputed {
                id: parse_id("dispute", &record.dispute)?,
                identifier: parse_stored_identifier("identifier", &record.identifier)?,
                claimants: each("claimants", &record.claimants, |field, text| {
                    parse_customer(field, text)
                })?,
                source: source_from(&record.channel, &record.event)?,
            }
        }
        DISPUTE_SETTLED => {
            let record: wire::DisputeSettled = record::read(body)?;
            Event::DisputeSettled {
                id: parse_id("dispute", &record.dispute)?,
                claimant: parse_customer("claimant", &record.claimant)?,
                customer: crate::field::parse_optional("customer", &record.customer)?,
            }
        }
        CUSTOMER_SPLIT => {
            let record: wire::CustomerSplit = record::read(body)?;
            Event::Split {
                id: parse_id("split", &record.split)?,
                customer: parse_customer("customer", &record.customer)?,
                pieces: each("pieces", &record.pieces, |field, text| parse_customer(field, text))?,
                aliases: each("aliases", &record.aliases, |field, text| {
                    parse_customer(field, text)
                })?,
            }
        }
        CUSTOMER_RESTATED => Event::Restated(Box::new(restated_from(&record::read(body)?)?)),
        RECORDS_MOVED => {
            let record: wire::RecordsMoved = record::read(body)?;
            Event::Moved {
                split: parse_id("split", &record.split)?,
                customer: parse_customer("customer", &record.customer)?,
                counts: record.counts.into_iter().collect(),
            }
        }
        CUSTOMER_ERASED => erased(record::read(body)?)?,
        ERASURE_REPORTED => {
            let record: wire::ErasureReported = record::read(body)?;
            Event::ErasureReported {
                id: parse_id("erasure", &record.erasure)?,
                service: record.service,
                counts: record.counts.into_iter().collect(),
            }
        }
        MESSAGE_UNSENT => {
            let record: wire::MessageUnsent = record::read(body)?;
            Event::Unsent {
                id: parse_id("unsend", &record.unsend)?,
                customers: each("customers", &record.customers, |field, text| {
                    parse_customer(field, text)
                })?,
                channel: parse_id("channel", &record.channel)?,
                message: record.message,
            }
        }
        MESSAGE_HIDDEN => {
            let record: wire::MessageHidden = record::read(body)?;
            Event::Hidden {
                unsend: parse_id("unsend", &record.unsend)?,
                customer: crate::field::parse_optional("customer", &record.customer)?,
                channel: parse_id("channel", &record.channel)?,
                counts: record.counts.into_iter().collect(),
            }
        }
        _ => return Err(DecodeError::UnknownKind(kind.to_owned())),
    })
}

fn erased(record: wire::CustomerErased) -> Result<Event, FieldError> {
    let mut refused: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for (index, one) in record.refused.into_iter().enumerate() {
        let within = |error: FieldError| error.within(&format!("refused[{index}]"));
        let means = parse_id("means", &one.means).map_err(within)?;
        let purpose = parse_id("purpose", &one.purpose).map_err(within)?;
        refused.entry(one.token).or_default().insert((means, purpose));
    }
    Ok(Event::Erased {
        id: parse_id("erasure", &record.erasure)?,
        customers: each("customers", &record.customers, |field, text| parse_customer(field, text))?,
        refused,
    })
}

fn conflict_record(id: ConflictId, conflict: &Conflict) -> wire::ConflictRecorded {
    wire::ConflictRecorded {
        conflict: id.to_string(),
        customer: conflict.customer.to_string(),
        others: texts(&conflict.others),
        set_aside: conflict.set_aside.iter().map(sighting_to).collect(),
        unlisted: conflict.unlisted,
        kinds: texts(&conflict.kinds),
        evidence: Some(evidence_to(&conflict.evidence)),
        cannot_link: conflict.cannot_link,
        create_time: Some(timestamp(conflict.recorded_at)),
    }
}

fn conflicted(record: wire::ConflictRecorded) -> Result<Event, FieldError> {
    let kind = |field: &str, name: &String| {
        Kind::from_name(name).ok_or_else(|| FieldError::new(field, "is no kind of identifiers"))
    };
    Ok(Event::Conflicted {
        id: parse_id("conflict", &record.conflict)?,
        conflict: Conflict {
            customer: parse_customer("customer", &record.customer)?,
            others: each("others", &record.others, |field, text| parse_customer(field, text))?,
            set_aside: sightings_from("set_aside", &record.set_aside)?,
            unlisted: record.unlisted,
            kinds: each("kinds", &record.kinds, kind)?,
            cannot_link: record.cannot_link,
            recorded_at: parse_time("create_time", record.create_time)?,
            evidence: evidence_from(record.evidence)?,
        },
    })
}

fn restated_to(restated: &Restated) -> wire::CustomerRestated {
    wire::CustomerRestated {
        customer: restated.customer.to_string(),
        split: restated.split.to_string(),
        before: restated.before.to_string(),
        create_time: Some(timestamp(restated.created_at)),
        see_time: Some(timestamp(restated.seen_at)),
        founder: crate::field::text(restated.founder.as_ref()),
        aliases: restated
            .aliases
            .iter()
            .map(|alias| wire::RestatedAlias {
                customer: alias.customer.to_string(),
                create_time: Some(timestamp(alias.created_at)),
                founder: crate::field::text(alias.founder.as_ref()),
            })
            .collect(),
        identifiers: restated.identifiers.iter().map(kept_to).collect(),
        ties: restated.ties.iter().map(tie_to).collect(),
        more: restated.more,
    }
}

fn restated_from(record: &wire::CustomerRestated) -> Result<Restated, FieldError> {
    let alias = |field: &str, alias: &wire::RestatedAlias| {
        let within = |error: FieldError| error.within(field);
        Ok(Alias {
            customer: parse_customer("customer", &alias.customer).map_err(within)?,
            created_at: parse_time("create_time", alias.create_time).map_err(within)?,
            founder: optional_identifier("founder", &alias.founder).map_err(within)?,
        })
    };
    Ok(Restated {
        customer: parse_customer("customer", &record.customer)?,
        split: parse_id("split", &record.split)?,
        before: parse_customer("before", &record.before)?,
        created_at: parse_time("create_time", record.create_time)?,
        seen_at: parse_time("see_time", record.see_time)?,
        founder: optional_identifier("founder", &record.founder)?,
        aliases: each("aliases", &record.aliases, alias)?,
        identifiers: each("identifiers", &record.identifiers, kept_from)?,
        ties: each("ties", &record.ties, tie_from)?,
        more: record.more,
    })
}

fn kept_to(kept: &Kept) -> wire::RestatedIdentifier {
    let Facts { attributes, consents } = &kept.facts;
    wire::RestatedIdentifier {
        identifier: kept.identifier.to_string(),
        verified: kept.verified,
        attach_time: Some(timestamp(kept.attached_at)),
        attributes: attributes.iter().map(|fact| attribute_to(&fact.attribute)).collect(),
        attribute_times: attributes.iter().map(|fact| timestamp(fact.told_at)).collect(),
        consents: consents.iter().map(|told| consent_to(&told.consent)).collect(),
        consent_times: consents.iter().map(|told| timestamp(told.told_at)).collect(),
        cuts: kept.cuts.to_vec(),
    }
}

fn kept_from(field: &str, kept: &wire::RestatedIdentifier) -> Result<Kept, FieldError> {
    let within = |error: FieldError| error.within(field);
    let times = |name: &str, times: &[Timestamp], count: usize| {
        if times.len() == count {
            each(name, times, |field, time| parse_time(field, Some(*time)))
        } else {
            Err(FieldError::new(name, "has another length than what the times are of"))
        }
    };
    let attributes = each("attributes", &kept.attributes, attribute_from).map_err(within)?;
    let consents = each("consents", &kept.consents, consent_from).map_err(within)?;
    let attribute_times =
        times("attribute_times", &kept.attribute_times, attributes.len()).map_err(within)?;
    let consent_times =
        times("consent_times", &kept.consent_times, consents.len()).map_err(within)?;
    let facts = attributes.into_iter().zip(attribute_times);
    let told = consents.into_iter().zip(consent_times);
    Ok(Kept {
        identifier: parse_stored_identifier("identifier", &kept.identifier).map_err(within)?,
        verified: kept.verified,
        attached_at: parse_time("attach_time", kept.attach_time).map_err(within)?,
        facts: Facts {
            attributes: facts.map(|(attribute, told_at)| Fact { attribute, told_at }).collect(),
            consents: told.map(|(consent, told_at)| Told { consent, told_at }).collect(),
        },
        cuts: kept.cuts.as_slice().into(),
    })
}

/// A tie as it is answered and restated.
#[must_use]
pub fn tie_to(tie: &Tie) -> wire::Tie {
    let source = tie.source.as_ref();
    wire::Tie {
        one: tie.one.to_string(),
        other: tie.other.to_string(),
        channel: source.map(|source| source.channel.to_string()).unwrap_or_default(),
        event: source.map(|source| source.event.to_string()).unwrap_or_default(),
        verified: tie.verified,
        time: Some(timestamp(tie.at)),
    }
}

fn tie_from(field: &str, tie: &wire::Tie) -> Result<Tie, FieldError> {
    let within = |error: FieldError| error.within(field);
    Ok(Tie {
        one: parse_stored_identifier("one", &tie.one).map_err(within)?,
        other: parse_stored_identifier("other", &tie.other).map_err(within)?,
        source: optional_source(&tie.channel, &tie.event).map_err(within)?,
        verified: tie.verified,
        at: parse_time("time", tie.time).map_err(within)?,
    })
}

fn optional_identifier(field: &str, text: &str) -> Result<Option<Identifier>, FieldError> {
    if text.is_empty() { Ok(None) } else { parse_stored_identifier(field, text).map(Some) }
}

fn source_from(channel: &str, event: &str) -> Result<Source, FieldError> {
    let channel: ChannelId = parse_id("channel", channel)?;
    let event: EventId = parse_id("event", event)?;
    Ok(Source { channel, event })
}

/// Nothing where a person decided.
fn optional_source(channel: &str, event: &str) -> Result<Option<Source>, FieldError> {
    if channel.is_empty() && event.is_empty() {
        Ok(None)
    } else {
        source_from(channel, event).map(Some)
    }
}

fn evidence_from(evidence: Option<wire::Evidence>) -> Result<Evidence, FieldError> {
    let within = |error: FieldError| error.within("evidence");
    let evidence = evidence.unwrap_or_default();
    Ok(Evidence {
        source: optional_source(&evidence.channel, &evidence.event).map_err(within)?,
        by: sightings_from("by", &evidence.by).map_err(within)?,
    })
}

fn evidence_to(evidence: &Evidence) -> wire::Evidence {
    let source = evidence.source.as_ref();
    wire::Evidence {
        channel: source.map(|source| source.channel.to_string()).unwrap_or_default(),
        event: source.map(|source| source.event.to_string()).unwrap_or_default(),
        by: evidence.by.iter().map(sighting_to).collect(),
    }
}

/// Reads a list; an error names the place.
fn each<W, T>(
    field: &str,
    list: &[W],
    read: impl Fn(&str, &W) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    let entry = |(index, one)| read(&format!("{field}[{index}]"), one);
    list.iter().enumerate().map(entry).collect()
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn attribute_from(field: &str, wire: &channel::Attribute) -> Result<Attribute, FieldError> {
    let name = parse_id("name", &wire.name).map_err(|error| error.within(field))?;
    Ok(Attribute { name, value: wire.value.clone(), verified: wire.verified })
}

fn attribute_to(attribute: &Attribute) -> channel::Attribute {
    channel::Attribute {
        name: attribute.name.to_string(),
        value: attribute.value.clone(),
        verified: attribute.verified,
    }
}

fn consent_from(field: &str, wire: &channel::Consent) -> Result<Consent, FieldError> {
    let within = |error: FieldError| error.within(field);
    let answer = answer_from(wire.answer())
        .ok_or_else(|| FieldError::new("answer", "is neither granted nor refused"));
    Ok(Consent {
        means: parse_id("means", &wire.means).map_err(within)?,
        purpose: parse_id("purpose", &wire.purpose).map_err(within)?,
        answer: answer.map_err(within)?,
    })
}

fn consent_to(consent: &Consent) -> channel::Consent {
    channel::Consent {
        means: consent.means.to_string(),
        purpose: consent.purpose.to_string(),
        answer: answer_to(consent.answer).into(),
    }
}

fn likeness_to(score: &Score) -> wire::Likeness {
    let field = |score: &FieldScore| wire::FieldLikeness {
        field: score.field.name().to_owned(),
        level: score.level.name().to_owned(),
        weight: score.bits.hundredths(),
    };
    wire::Likeness {
        weight: score.bits.hundredths(),
        fields: score.fields.iter().map(field).collect(),
    }
}

fn likeness_from(likeness: &wire::Likeness) -> Result<Score, FieldError> {
    let field = |place: &str, wire: &wire::FieldLikeness| {
        let unknown = |name: &str| FieldError::new(name, "is none that is compared").within(place);
        Ok(FieldScore {
            field: Field::from_name(&wire.field).ok_or_else(|| unknown("field"))?,
            level: Level::from_name(&wire.level).ok_or_else(|| unknown("level"))?,
            bits: Bits::from_hundredths(wire.weight),
        })
    };
    Ok(Score {
        bits: Bits::from_hundredths(likeness.weight),
        fields: each("likeness.fields", &likeness.fields, field)?,
    })
}

fn sightings_from(
    field: &str,
    sightings: &[channel::Sighting],
) -> Result<Vec<Sighting>, FieldError> {
    each(field, sightings, sighting_from)
}

fn sighting_from(field: &str, sighting: &channel::Sighting) -> Result<Sighting, FieldError> {
    let identifier = parse_stored_identifier("identifier", &sighting.identifier)
        .map_err(|error| error.within(field))?;
    Ok(Sighting { identifier, verified: sighting.verified })
}

fn sighting_to(sighting: &Sighting) -> channel::Sighting {
    channel::Sighting {
        identifier: sighting.identifier.to_string(),
        verified: sighting.verified,
        extension: String::new(),
    }
}

/// A filter's time; none is no filter.
pub fn optional_time(field: &str, time: Option<Timestamp>) -> Result<Option<At>, FieldError> {
    time.map(|time| parse_time(field, Some(time))).transpose()
}
