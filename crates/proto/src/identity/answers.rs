//! What identity-merge's methods answer with.

use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Conflict, Dispute, Erasure, Hub, Profile, Suggestion};
use mainstem_domain::{ConflictId, CustomerId, DisputeId, ErasureId, SuggestionId};

use super::{attribute_to, conflict_record, consent_to, evidence_to, likeness_to, texts};
use crate::field::timestamp;
use crate::wire::identity as wire;

impl From<&Profile> for wire::Customer {
    fn from(profile: &Profile) -> Self {
        let verified = profile.identifiers.iter().filter(|(_, known)| known.verified);
        Self {
            customer: profile.id.to_string(),
            create_time: Some(timestamp(profile.created_at)),
            identifiers: profile.identifiers.keys().map(ToString::to_string).collect(),
            aliases: profile.aliases.iter().map(ToString::to_string).collect(),
            see_time: Some(timestamp(profile.seen_at)),
            verified: verified.map(|(identifier, _)| identifier.to_string()).collect(),
            attributes: profile
                .facts
                .attributes
                .iter()
                .map(|fact| attribute_to(&fact.attribute))
                .collect(),
            consents: profile.facts.consents.iter().map(|told| consent_to(&told.consent)).collect(),
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
        likeness: suggestion.likeness.as_ref().map(likeness_to),
    }
}

/// A conflict as it is answered; `current` tells the id that a customer has now.
#[must_use]
pub fn conflict_to(
    id: ConflictId,
    conflict: &Conflict,
    current: impl Fn(CustomerId) -> CustomerId,
) -> wire::Conflict {
    let record = conflict_record(id, conflict);
    let mut others: Vec<_> = conflict.others.iter().map(|other| current(*other)).collect();
    others.dedup();
    wire::Conflict {
        conflict: record.conflict,
        customer: current(conflict.customer).to_string(),
        others: texts(&others),
        set_aside: record.set_aside,
        unlisted: record.unlisted,
        kinds: record.kinds,
        create_time: record.create_time,
        evidence: record.evidence,
        cannot_link: record.cannot_link,
    }
}

/// A hub as it is answered.
#[must_use]
pub fn hub_to(
    identifier: &Identifier,
    hub: &Hub,
    current: impl Fn(CustomerId) -> CustomerId,
) -> wire::Hub {
    wire::Hub {
        identifier: identifier.to_string(),
        customer: current(hub.customer).to_string(),
        carriers: hub.carriers.iter().map(|carrier| current(*carrier).to_string()).collect(),
        create_time: Some(timestamp(hub.since)),
    }
}

/// A dispute as it is answered.
#[must_use]
pub fn dispute_to(
    id: DisputeId,
    dispute: &Dispute,
    current: impl Fn(CustomerId) -> CustomerId,
) -> wire::Dispute {
    wire::Dispute {
        dispute: id.to_string(),
        identifier: dispute.identifier.to_string(),
        claimants: dispute.claimants.iter().map(|one| current(*one).to_string()).collect(),
        create_time: Some(timestamp(dispute.since)),
        channel: dispute.source.channel.to_string(),
        event: dispute.source.event.to_string(),
    }
}

/// An erasure as it is answered; `services` are all that must report.
#[must_use]
pub fn erasure_to(id: ErasureId, erasure: &Erasure, services: &[&str]) -> wire::Erasure {
    wire::Erasure {
        erasure: id.to_string(),
        customers: texts(&erasure.customers),
        create_time: Some(timestamp(erasure.erased_at)),
        done: services.iter().all(|service| erasure.reports.contains_key(*service)),
        reports: erasure
            .reports
            .iter()
            .map(|(service, counts)| wire::ErasureReport {
                service: service.clone(),
                counts: counts.clone().into_iter().collect(),
            })
            .collect(),
    }
}
