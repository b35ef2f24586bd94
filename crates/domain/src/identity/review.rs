use std::ops::Bound::{Excluded, Unbounded};

use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};

use super::Evidence;
use crate::identifier::{Identifier, Kind};
use crate::person::Sighting;
use crate::{At, ConflictId, CustomerId, SuggestionId};

/// How many conflicts are kept for review; the oldest goes first. Their records stay.
pub const CONFLICTS_AT_MOST: usize = 100_000;

/// Two customers who may be one person, by identifiers that were only asserted.
///
/// It stands as long as they are two. There is at most one for two customers, so a source that
/// asserts the same with every event is heard once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// Whose the event is that suggests it.
    pub customer: CustomerId,
    /// Who may be the same person.
    pub other: CustomerId,
    /// Since when it stands.
    pub suggested_at: At,
    /// Its event; the first identifier led to `customer`, the others to `other`.
    pub evidence: Evidence,
}

/// What was set aside of an event, because a limit did not let it tie.
///
/// What is set aside changes nobody: an identifier that somebody has stays theirs, and one that
/// nobody has is nobody's. The same identifiers set aside for the same customer are recorded once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Whose the event is.
    pub customer: CustomerId,
    /// Customers that identifiers which were set aside belong to; strongest identifier first, and
    /// no more than [`LISTED_AT_MOST`](super::LISTED_AT_MOST).
    pub others: Vec<CustomerId>,
    /// What was set aside; strongest first, no more than as many.
    pub set_aside: Vec<Sighting>,
    /// How many more were set aside; only the event lists them.
    pub unlisted: u32,
    /// The kinds of which there would have been too many. Empty when it was not a limit of a kind
    /// but [`SUGGESTIONS_AT_MOST`](super::SUGGESTIONS_AT_MOST).
    pub kinds: Vec<Kind>,
    /// When.
    pub recorded_at: At,
    /// The event; with the strongest identifier that was not set aside.
    pub evidence: Evidence,
}

/// What waits for people to look at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Review {
    suggestions: OrdMap<SuggestionId, Suggestion>,
    /// Each suggestion twice, so that either customer finds it.
    pairs: OrdMap<CustomerId, OrdMap<CustomerId, SuggestionId>>,
    conflicts: OrdMap<ConflictId, Conflict>,
    known_conflicts: OrdMap<(CustomerId, Vec<Identifier>), ConflictId>,
    conflict_order: Vector<ConflictId>,
}

impl Review {
    pub(super) fn suggestion(&self, id: SuggestionId) -> Option<&Suggestion> {
        self.suggestions.get(&id)
    }

    pub(super) fn conflict(&self, id: ConflictId) -> Option<&Conflict> {
        self.conflicts.get(&id)
    }

    pub(super) fn suggestions_after(
        &self,
        after: Option<SuggestionId>,
    ) -> impl Iterator<Item = (&SuggestionId, &Suggestion)> {
        self.suggestions.range((after.map_or(Unbounded, Excluded), Unbounded))
    }

    pub(super) fn conflicts_after(
        &self,
        after: Option<ConflictId>,
    ) -> impl Iterator<Item = (&ConflictId, &Conflict)> {
        self.conflicts.range((after.map_or(Unbounded, Excluded), Unbounded))
    }

    pub(super) fn is_suggested(&self, one: CustomerId, other: CustomerId) -> bool {
        self.pairs.get(&one).is_some_and(|others| others.contains_key(&other))
    }

    pub(super) fn is_known(&self, customer: CustomerId, set_aside: &[Sighting]) -> bool {
        self.known_conflicts.contains_key(&(customer, identifiers(set_aside)))
    }

    pub(super) fn suggest(&mut self, id: SuggestionId, suggestion: Suggestion) {
        let Suggestion { customer, other, .. } = suggestion;
        self.pairs.entry(customer).or_default().insert(other, id);
        self.pairs.entry(other).or_default().insert(customer, id);
        self.suggestions.insert(id, suggestion);
    }

    pub(super) fn conflict_recorded(&mut self, id: ConflictId, conflict: Conflict) {
        self.known_conflicts.insert((conflict.customer, identifiers(&conflict.set_aside)), id);
        self.conflicts.insert(id, conflict);
        self.conflict_order.push_back(id);
        while self.conflict_order.len() > CONFLICTS_AT_MOST {
            let Some(oldest) = self.conflict_order.pop_front() else { break };
            if let Some(conflict) = self.conflicts.remove(&oldest) {
                let key = (conflict.customer, identifiers(&conflict.set_aside));
                self.known_conflicts.remove(&key);
            }
        }
    }

    /// What was suggested about one customer is said of the other from now on; that the two may be
    /// one is settled. Where both may be the same third, the older suggestion stays.
    pub(super) fn merged(&mut self, survivor: CustomerId, absorbed: CustomerId) {
        for (other, id) in self.pairs.remove(&absorbed).unwrap_or_default() {
            self.forget_pair(other, absorbed);
            let Some(mut suggestion) = self.suggestions.remove(&id) else { continue };
            if other == survivor {
                continue;
            }
            let twin = self.pairs.get(&survivor).and_then(|others| others.get(&other)).copied();
            if let Some(twin) = twin
                && let Some(known) = self.suggestions.get(&twin)
            {
                if (known.suggested_at, twin) <= (suggestion.suggested_at, id) {
                    continue;
                }
                self.suggestions.remove(&twin);
            }
            if suggestion.customer == absorbed {
                suggestion.customer = survivor;
            } else {
                suggestion.other = survivor;
            }
            self.suggest(id, suggestion);
        }
    }

    fn forget_pair(&mut self, one: CustomerId, other: CustomerId) {
        if let Some(others) = self.pairs.get_mut(&one) {
            others.remove(&other);
            if others.is_empty() {
                self.pairs.remove(&one);
            }
        }
    }
}

fn identifiers(sightings: &[Sighting]) -> Vec<Identifier> {
    sightings.iter().map(|sighting| sighting.identifier.clone()).collect()
}
