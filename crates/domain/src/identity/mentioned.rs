use std::collections::BTreeSet;

use super::{Event, Evidence};
use crate::CustomerId;
use crate::identifier::Identifier;

impl Event {
    /// Under whose id it stands; nobody's, where it is about an erasure, or about what nobody did.
    #[must_use]
    pub fn owner(&self) -> Option<CustomerId> {
        match self {
            Self::Created { customer, .. }
            | Self::Attached { customer, .. }
            | Self::Tied { customer, .. }
            | Self::Described { customer, .. }
            | Self::Consented { customer, .. }
            | Self::Suggested { customer, .. }
            | Self::SuggestionRejected { customer, .. }
            | Self::Carried { customer, .. }
            | Self::HubFound { customer, .. }
            | Self::HubReleased { customer, .. }
            | Self::DisputeSettled { claimant: customer, .. }
            | Self::Split { customer, .. }
            | Self::Moved { customer, .. }
            | Self::Merged { survivor: customer, .. } => Some(*customer),
            Self::Conflicted { conflict, .. } => Some(conflict.customer),
            Self::Disputed { claimants, .. } => claimants.first().copied(),
            Self::Restated(restated) => Some(restated.customer),
            Self::Channel { customer, .. } | Self::Hidden { customer, .. } => *customer,
            Self::Unsent { customers, .. } => customers.first().copied(),
            Self::Erased { .. } | Self::ErasureReported { .. } => None,
        }
    }

    /// Every identifier that it names. What a channel event carried stands in its body, not here.
    #[must_use]
    pub fn identifiers(&self) -> BTreeSet<&Identifier> {
        fn by(evidence: &Evidence) -> impl Iterator<Item = &Identifier> {
            evidence.by.iter().map(|one| &one.identifier)
        }
        match self {
            Self::Created { sightings, evidence, .. }
            | Self::Attached { sightings, evidence, .. }
            | Self::Tied { sightings, evidence, .. } => {
                sightings.iter().map(|one| &one.identifier).chain(by(evidence)).collect()
            }
            Self::Merged { evidence, .. } | Self::Suggested { evidence, .. } => {
                by(evidence).collect()
            }
            Self::Conflicted { conflict, .. } => {
                let aside = conflict.set_aside.iter().map(|one| &one.identifier);
                aside.chain(by(&conflict.evidence)).collect()
            }
            Self::Described { identifier, .. }
            | Self::Carried { identifier, .. }
            | Self::HubFound { identifier, .. }
            | Self::HubReleased { identifier, .. }
            | Self::Disputed { identifier, .. } => BTreeSet::from([identifier]),
            Self::Restated(restated) => {
                let aliases = restated.aliases.iter().filter_map(|alias| alias.founder.as_ref());
                let kept = restated.identifiers.iter().map(|kept| &kept.identifier);
                let ties = restated.ties.iter().flat_map(|tie| [&tie.one, &tie.other]);
                restated.founder.iter().chain(aliases).chain(kept).chain(ties).collect()
            }
            Self::Consented { .. }
            | Self::SuggestionRejected { .. }
            | Self::DisputeSettled { .. }
            | Self::Split { .. }
            | Self::Moved { .. }
            | Self::Erased { .. }
            | Self::ErasureReported { .. }
            | Self::Unsent { .. }
            | Self::Hidden { .. }
            | Self::Channel { .. } => BTreeSet::new(),
        }
    }
}
