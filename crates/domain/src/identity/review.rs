use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use imbl::{OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};

use super::{Evidence, Score, Source};
use crate::identifier::{Identifier, Kind};
use crate::person::Sighting;
use crate::{At, ConflictId, CustomerId, DisputeId, SuggestionId};

/// How many conflicts are kept for review; the oldest goes first. Their records stay.
pub const CONFLICTS_AT_MOST: usize = 100_000;

/// How many customers are remembered who carried an identifier of another; the oldest goes first.
/// A hub is found long before.
const CARRIERS_AT_MOST: usize = 64;

/// Two customers who may be one person: by identifiers that were only asserted, or because what is
/// known of them is alike.
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
    /// How alike they are, where no identifier suggests it.
    pub likeness: Option<Score>,
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
    /// but a cut, or [`SUGGESTIONS_AT_MOST`](super::SUGGESTIONS_AT_MOST).
    pub kinds: Vec<Kind>,
    /// Whether a split keeps some of these customers apart.
    pub cannot_link: bool,
    /// When.
    pub recorded_at: At,
    /// The event; with the strongest identifier that was not set aside.
    pub evidence: Evidence,
}

/// An identifier that ties nobody, because too many people share it, until a person releases it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hub {
    /// Who had it.
    pub customer: CustomerId,
    /// Whose events carried it, the last one last.
    pub carriers: Vec<CustomerId>,
    /// Since when.
    pub since: At,
}

/// An identifier that two people claim, and that ties neither until a person decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// The identifier.
    pub identifier: Identifier,
    /// Who had it, then who claimed it, in that order.
    pub claimants: Vec<CustomerId>,
    /// Since when, or since when somebody more claims it.
    pub since: At,
    /// The event that claimed it last.
    pub source: Source,
}

/// What was said of two customers who may be one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Pair {
    Suggested(SuggestionId),
    Rejected,
}

/// What waits for people to look at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Review {
    suggestions: OrdMap<SuggestionId, Suggestion>,
    /// Each pair twice, so that either customer finds it.
    pairs: OrdMap<CustomerId, OrdMap<CustomerId, Pair>>,
    /// Who carried an identifier of another, and when last; the last one last.
    carriers: OrdMap<Identifier, Vector<(CustomerId, At)>>,
    hubs: OrdMap<Identifier, Hub>,
    disputes: OrdMap<DisputeId, Dispute>,
    disputed: OrdMap<Identifier, DisputeId>,
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

    pub(super) fn hubs_after(
        &self,
        after: Option<&Identifier>,
    ) -> impl Iterator<Item = (&Identifier, &Hub)> {
        self.hubs.range((after.map_or(Unbounded, |after| Excluded(after.clone())), Unbounded))
    }

    pub(super) fn disputes_after(
        &self,
        after: Option<DisputeId>,
    ) -> impl Iterator<Item = (&DisputeId, &Dispute)> {
        self.disputes.range((after.map_or(Unbounded, Excluded), Unbounded))
    }

    pub(super) fn hub(&self, identifier: &Identifier) -> Option<&Hub> {
        if self.hubs.is_empty() { None } else { self.hubs.get(identifier) }
    }

    pub(super) fn dispute(&self, id: DisputeId) -> Option<&Dispute> {
        self.disputes.get(&id)
    }

    pub(super) fn disputed_as(&self, identifier: &Identifier) -> Option<DisputeId> {
        if self.disputed.is_empty() { None } else { self.disputed.get(identifier).copied() }
    }

    /// Whether an identifier ties nobody for now.
    pub(super) fn withdrawn(&self, identifier: &Identifier) -> bool {
        self.hub(identifier).is_some() || self.disputed_as(identifier).is_some()
    }

    /// Who carried an identifier of another within a span before `at`, the last one last.
    pub(super) fn carriers(
        &self,
        identifier: &Identifier,
        window: Duration,
        at: At,
    ) -> impl Iterator<Item = CustomerId> {
        let carriers = self.carriers.get(identifier);
        let recent = move |(_, carried): &&(CustomerId, At)| at.since(*carried) < window;
        carriers.into_iter().flatten().filter(recent).map(|(customer, _)| *customer)
    }

    pub(super) fn carried(&mut self, identifier: &Identifier, customer: CustomerId, at: At) {
        let carriers = self.carriers.entry(identifier.clone()).or_default();
        carriers.retain(|(known, _)| *known != customer);
        carriers.push_back((customer, at));
        if carriers.len() > CARRIERS_AT_MOST {
            carriers.pop_front();
        }
    }

    /// Who carried it is counted anew: records that say so may be deleted after a split.
    pub(super) fn counts_carriers(&self) -> bool {
        !self.carriers.is_empty()
    }

    pub(super) fn carried_no_more(&mut self, identifier: &Identifier) {
        self.carriers.remove(identifier);
    }

    pub(super) fn hub_found(&mut self, identifier: Identifier, hub: Hub) {
        self.carriers.remove(&identifier);
        self.hubs.insert(identifier, hub);
    }

    pub(super) fn hub_released(&mut self, identifier: &Identifier) {
        self.hubs.remove(identifier);
    }

    pub(super) fn disputed(&mut self, id: DisputeId, dispute: Dispute) {
        self.carriers.remove(&dispute.identifier);
        self.disputed.insert(dispute.identifier.clone(), id);
        self.disputes.insert(id, dispute);
    }

    pub(super) fn settled(&mut self, id: DisputeId) -> Option<Dispute> {
        let dispute = self.disputes.remove(&id)?;
        self.disputed.remove(&dispute.identifier);
        Some(dispute)
    }

    /// Everything of a customer's that waits, before it is taken apart; `ids` are its own and its
    /// aliases, as a conflict names whom it was recorded for. `now` tells whom the same input makes
    /// one: then the older suggestion stays, and that they are two people outlives both.
    pub(super) fn of(
        &self,
        customer: CustomerId,
        ids: &BTreeSet<CustomerId>,
        now: &dyn Fn(CustomerId) -> CustomerId,
    ) -> Waiting<'_> {
        let mut pairs: BTreeMap<CustomerId, Option<(At, SuggestionId)>> = BTreeMap::new();
        for (other, pair) in self.pairs.get(&customer).into_iter().flatten() {
            let this = match pair {
                Pair::Suggested(id) => {
                    self.suggestions.get(id).map(|suggestion| (suggestion.suggested_at, *id))
                }
                Pair::Rejected => None,
            };
            let known = pairs.entry(now(*other)).or_insert(this);
            *known = (*known).min(this);
        }
        let suggestions = pairs.into_iter().filter_map(|(other, pair)| {
            let (_, id) = pair?;
            let mut suggestion = self.suggestions.get(&id)?.clone();
            if suggestion.customer == customer {
                suggestion.other = other;
            } else {
                suggestion.customer = other;
            }
            Some((id, suggestion))
        });
        Waiting {
            suggestions: suggestions.collect(),
            conflicts: self
                .conflicts
                .iter()
                .filter(|(_, conflict)| ids.contains(&conflict.customer))
                .map(|(id, conflict)| (*id, conflict))
                .collect(),
        }
    }

    /// What was suggested of a customer, and its conflicts, are void; they are said again of what
    /// comes of it.
    pub(super) fn taken_apart(&mut self, customer: CustomerId) {
        for (other, pair) in self.pairs.remove(&customer).unwrap_or_default() {
            self.forget_pair(other, customer);
            if let Pair::Suggested(id) = pair {
                self.suggestions.remove(&id);
            }
        }
        let gone: OrdSet<ConflictId> = self
            .conflicts
            .iter()
            .filter(|(_, conflict)| conflict.customer == customer)
            .map(|(id, _)| *id)
            .collect();
        for id in &gone {
            self.forget_conflict(*id);
        }
        if !gone.is_empty() {
            self.conflict_order.retain(|id| !gone.contains(id));
        }
    }

    /// A customer is erased: what names it alone goes too.
    pub(super) fn forget(&mut self, customer: CustomerId) {
        let carried: Vec<_> = self
            .carriers
            .iter()
            .filter(|(_, carriers)| carriers.iter().any(|(known, _)| *known == customer))
            .map(|(identifier, _)| identifier.clone())
            .collect();
        for identifier in carried {
            let Some(carriers) = self.carriers.get_mut(&identifier) else { continue };
            carriers.retain(|(known, _)| *known != customer);
            if carriers.is_empty() {
                self.carriers.remove(&identifier);
            }
        }
        let of_customer = self.hubs.iter().filter(|(_, hub)| hub.customer == customer);
        let hubs: Vec<_> = of_customer.map(|(identifier, _)| identifier.clone()).collect();
        for identifier in &hubs {
            self.hubs.remove(identifier);
        }
        let disputes: Vec<_> = self
            .disputes
            .iter()
            .filter(|(_, dispute)| dispute.claimants.contains(&customer))
            .map(|(id, _)| *id)
            .collect();
        for id in disputes {
            self.settled(id);
        }
    }

    fn forget_conflict(&mut self, id: ConflictId) {
        if let Some(conflict) = self.conflicts.remove(&id) {
            let key = (conflict.customer, identifiers(&conflict.set_aside));
            self.known_conflicts.remove(&key);
        }
    }

    /// Whether two customers were suggested, or are known to be two people.
    pub(super) fn is_suggested(&self, one: CustomerId, other: CustomerId) -> bool {
        self.pairs.get(&one).is_some_and(|others| others.contains_key(&other))
    }

    pub(super) fn is_known(&self, customer: CustomerId, set_aside: &[Sighting]) -> bool {
        self.known_conflicts.contains_key(&(customer, identifiers(set_aside)))
    }

    pub(super) fn suggest(&mut self, id: SuggestionId, suggestion: Suggestion) {
        // Said again after a split whose own record is gone, it is about the others no more.
        if let Some(before) = self.suggestions.remove(&id) {
            self.forget_suggested(before.customer, before.other, id);
            self.forget_suggested(before.other, before.customer, id);
        }
        let Suggestion { customer, other, .. } = suggestion;
        let known = self.pairs.get(&customer).and_then(|others| others.get(&other)).copied();
        if let Some(Pair::Suggested(known)) = known {
            self.suggestions.remove(&known);
        }
        self.pair(customer, other, Pair::Suggested(id));
        self.suggestions.insert(id, suggestion);
    }

    fn pair(&mut self, one: CustomerId, other: CustomerId, pair: Pair) {
        self.pairs.entry(one).or_default().insert(other, pair);
        self.pairs.entry(other).or_default().insert(one, pair);
    }

    pub(super) fn reject(&mut self, id: SuggestionId) {
        if let Some(suggestion) = self.suggestions.remove(&id) {
            self.pair(suggestion.customer, suggestion.other, Pair::Rejected);
        }
    }

    pub(super) fn conflict_recorded(&mut self, id: ConflictId, conflict: Conflict) {
        if self.conflicts.contains_key(&id) {
            self.forget_conflict(id);
            self.conflict_order.retain(|known| *known != id);
        }
        self.known_conflicts.insert((conflict.customer, identifiers(&conflict.set_aside)), id);
        self.conflicts.insert(id, conflict);
        self.conflict_order.push_back(id);
        while self.conflict_order.len() > CONFLICTS_AT_MOST {
            let Some(oldest) = self.conflict_order.pop_front() else { break };
            self.forget_conflict(oldest);
        }
    }

    /// What was suggested about one customer is said of the other from now on; that the two may be
    /// one is settled. Where both may be the same third, the older suggestion stays.
    pub(super) fn merged(&mut self, survivor: CustomerId, absorbed: CustomerId) {
        for (other, pair) in self.pairs.remove(&absorbed).unwrap_or_default() {
            self.forget_pair(other, absorbed);
            let known = self.pairs.get(&survivor).and_then(|others| others.get(&other)).copied();
            let Pair::Suggested(id) = pair else {
                // That they are two people stays said, as long as they are.
                if other != survivor {
                    if let Some(Pair::Suggested(known)) = known {
                        self.suggestions.remove(&known);
                    }
                    self.pair(survivor, other, Pair::Rejected);
                }
                continue;
            };
            let Some(mut suggestion) = self.suggestions.remove(&id) else { continue };
            if other == survivor {
                continue;
            }
            match known {
                Some(Pair::Rejected) => continue,
                Some(Pair::Suggested(twin)) => {
                    if let Some(known) = self.suggestions.get(&twin) {
                        if (known.suggested_at, twin) <= (suggestion.suggested_at, id) {
                            continue;
                        }
                        self.suggestions.remove(&twin);
                    }
                }
                None => {}
            }
            if suggestion.customer == absorbed {
                suggestion.customer = survivor;
            } else {
                suggestion.other = survivor;
            }
            self.suggest(id, suggestion);
        }
    }

    fn forget_suggested(&mut self, one: CustomerId, other: CustomerId, id: SuggestionId) {
        let pair = self.pairs.get(&one).and_then(|others| others.get(&other));
        if pair == Some(&Pair::Suggested(id)) {
            self.forget_pair(one, other);
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

/// See [`Review::of`].
pub(super) struct Waiting<'a> {
    pub(super) suggestions: Vec<(SuggestionId, Suggestion)>,
    pub(super) conflicts: Vec<(ConflictId, &'a Conflict)>,
}

fn identifiers(sightings: &[Sighting]) -> Vec<Identifier> {
    sightings.iter().map(|sighting| sighting.identifier.clone()).collect()
}
