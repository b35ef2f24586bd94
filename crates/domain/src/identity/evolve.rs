//! How an event changes what is remembered. It takes every event that was ever decided, also where
//! those before it are deleted.

use imbl::OrdMap;
use smallvec::SmallVec;

use super::graph::{Cuts, Node, Who, add_cuts};
use super::{
    Dispute, Erasure, Event, Evidence, Fact, Facts, Hub, SERVICE, Splitting, State, Suggestion,
    Told, Unsend, split,
};
use crate::identifier::Identifier;
use crate::person::Sighting;
use crate::{At, CustomerId};

impl State {
    /// Takes one event.
    #[expect(clippy::too_many_lines, reason = "one short arm for each event")]
    pub(super) fn take(&mut self, event: &Event, at: At) {
        let state = self;
        match event {
            Event::Created { customer, sightings, evidence } => {
                let who = state.graph.create(*customer, at);
                let nodes = state.attach(who, sightings, at);
                state.graph.found(who, nodes.first().copied());
                state.tie(&nodes, sightings, evidence, at);
            }
            Event::Attached { customer, sightings, evidence } => {
                let Some(who) = state.graph.who(*customer) else { return };
                let nodes = state.attach(who, sightings, at);
                let lead = evidence.by.first();
                state.tie_all(lead.into_iter().chain(sightings), evidence, at);
                if state.graph.founder(who).is_none() {
                    state.graph.found(who, nodes.first().copied());
                }
                state.likeness.follow(&state.graph, who);
            }
            Event::Tied { sightings, evidence, .. } => {
                let lead = evidence.by.first();
                state.tie_all(lead.into_iter().chain(sightings), evidence, at);
            }
            Event::Merged { survivor, absorbed, evidence } => {
                let (survivor, absorbed) = (*survivor, *absorbed);
                let graph = &state.graph;
                let (Some(one), Some(other)) = (graph.who(survivor), graph.who(absorbed)) else {
                    return;
                };
                state.graph.merge(one, other);
                state.tie_all(&evidence.by, evidence, at);
                state.likeness.forget(absorbed);
                state.likeness.follow(&state.graph, one);
                state.review.merged(survivor, absorbed);
            }
            Event::Described { identifier, attributes, told_at, .. } => {
                let Some(node) = state.graph.find(identifier) else { return };
                let facts = state.graph.facts_mut(node);
                for attribute in attributes {
                    facts.describe(Fact { attribute: attribute.clone(), told_at: *told_at });
                }
                let who = state.graph.owner(node);
                state.likeness.follow(&state.graph, who);
            }
            Event::Consented { customer, consents, told_at, .. } => {
                let Some(who) = state.graph.who(*customer) else { return };
                let nodes: Vec<_> = state.graph.nodes(who).collect();
                for node in nodes {
                    let facts = state.graph.facts_mut(node);
                    for consent in consents {
                        facts.answer(Told { consent: consent.clone(), told_at: *told_at });
                    }
                }
            }
            Event::Suggested { id, customer, other, evidence, likeness } => {
                let suggestion = Suggestion {
                    customer: *customer,
                    other: *other,
                    suggested_at: at,
                    evidence: evidence.clone(),
                    likeness: likeness.clone(),
                };
                state.review.suggest(*id, suggestion);
            }
            Event::SuggestionRejected { id, .. } => state.review.reject(*id),
            Event::Conflicted { id, conflict } => {
                state.review.conflict_recorded(*id, conflict.clone());
            }
            Event::Carried { customer, identifier } => {
                // Only a log that lacks what was deleted says it of an identifier that is nobody's.
                if state.graph.find(identifier).is_some() {
                    state.review.carried(identifier, *customer, at);
                }
            }
            Event::HubFound { identifier, customer, carriers } => {
                state.withdraw(identifier);
                let hub = Hub { customer: *customer, carriers: carriers.clone(), since: at };
                state.review.hub_found(identifier.clone(), hub);
            }
            Event::HubReleased { identifier, .. } => state.review.hub_released(identifier),
            Event::Disputed { id, identifier, claimants, source } => {
                state.withdraw(identifier);
                let dispute = Dispute {
                    identifier: identifier.clone(),
                    claimants: claimants.clone(),
                    since: at,
                    source: source.clone(),
                };
                state.review.disputed(*id, dispute);
            }
            Event::DisputeSettled { id, .. } => {
                state.review.settled(*id);
            }
            Event::Split { id, customer, pieces, aliases } => {
                for customer in [customer].into_iter().chain(pieces).chain(aliases) {
                    state.forget(*customer);
                }
                let splitting = Splitting {
                    customer: *customer,
                    pieces: pieces.iter().copied().collect(),
                    aliases: aliases.iter().copied().collect(),
                    split_at: at,
                    moved: false,
                };
                state.splits.insert(*id, splitting);
            }
            Event::Restated(restated) => split::restate(state, restated),
            Event::Moved { split, .. } => state.moved(*split),
            Event::Erased { id, customers, refused } => {
                for customer in customers {
                    state.forget(*customer);
                    state.review.forget(*customer);
                }
                for (token, what) in refused {
                    let refused = state.refused.entry(token.clone()).or_default();
                    refused.extend(what.iter().map(|what| (what.clone(), at)));
                }
                state.erased.extend(customers.iter().copied());
                state.forget_splits(customers);
                // Their records are deleted whole.
                let theirs =
                    |unsend: &Unsend| unsend.customers.iter().any(|id| customers.contains(id));
                let stay = state.unsends.iter().filter(|(_, unsend)| !theirs(unsend));
                state.unsends = stay.map(|(id, unsend)| (*id, unsend.clone())).collect();
                state.erasing.insert(*id);
                let erasure =
                    Erasure { customers: customers.clone(), erased_at: at, reports: OrdMap::new() };
                state.erasures.insert(*id, erasure);
            }
            Event::ErasureReported { id, service, counts } => {
                if let Some(erasure) = state.erasures.get_mut(id) {
                    erasure.reports.insert(service.clone(), counts.clone());
                }
                if service == SERVICE {
                    state.erasing.remove(id);
                }
            }
            Event::Unsent { id, customers, channel, message } => {
                state.taken_back.take(channel, message, at);
                let (customers, channel) = (customers.clone(), channel.clone());
                let unsend = Unsend { customers, channel, message: message.clone() };
                state.unsends.insert(*id, unsend);
            }
            Event::Hidden { unsend, .. } => {
                state.unsends.remove(unsend);
            }
            Event::Channel { customer, channel, event } => {
                state.seen.take(channel, event.as_str(), at);
                if let Some(who) = customer.and_then(|customer| state.graph.who(customer)) {
                    let who = state.graph.current(who);
                    state.graph.see(who, at);
                }
            }
        }
    }

    fn attach(&mut self, who: Who, sightings: &[Sighting], at: At) -> Vec<Node> {
        let attach = |Sighting { identifier, verified }: &Sighting| {
            self.graph.attach(who, identifier, *verified, at)
        };
        sightings.iter().map(attach).collect()
    }

    /// Ties all of these to the first of them.
    fn tie_all<'a>(
        &mut self,
        sightings: impl IntoIterator<Item = &'a Sighting>,
        evidence: &Evidence,
        at: At,
    ) {
        let (mut nodes, mut known) = (Vec::new(), Vec::new());
        for sighting in sightings {
            if let Some(node) = self.graph.find(&sighting.identifier) {
                nodes.push(node);
                known.push(sighting.clone());
            }
        }
        self.tie(&nodes, &known, evidence, at);
    }

    fn tie(&mut self, nodes: &[Node], sightings: &[Sighting], evidence: &Evidence, at: At) {
        let Some((first, rest)) = nodes.split_first() else { return };
        let by_source = evidence.source.is_some();
        for (node, sighting) in nodes.iter().zip(sightings) {
            if sighting.verified && by_source && !self.graph.is_verified(*node) {
                self.graph.verify(*node);
            }
        }
        let lead = sightings.first().is_some_and(|sighting| sighting.verified);
        let owner = self.graph.owner(*first);
        let theirs = rest.iter().zip(&sightings[1..]);
        let others: SmallVec<[(Node, bool); 4]> = theirs
            .filter(|(node, _)| self.graph.owner(**node) == owner)
            .map(|(node, sighting)| (*node, lead && sighting.verified))
            .collect();
        self.graph.tie(*first, &others, evidence.source.as_ref(), at);
    }

    /// Takes an identifier from whoever has it, who still refuses what was refused by it, and stays
    /// cut off what it was cut off.
    fn withdraw(&mut self, identifier: &Identifier) {
        let Some(node) = self.graph.find(identifier) else { return };
        let (who, facts) = (self.graph.owner(node), self.graph.facts(node).cloned());
        let cuts = Cuts::from_slice(self.graph.cuts(node));
        self.graph.detach(node);
        if !cuts.is_empty() {
            for node in self.graph.nodes(who).collect::<Vec<_>>() {
                let mut all = Cuts::from_slice(self.graph.cuts(node));
                add_cuts(&mut all, &cuts);
                self.graph.cut(node, all);
            }
        }
        if let Some(facts) = facts.filter(Facts::refuse_something) {
            let nodes: Vec<_> = self.graph.nodes(who).collect();
            for node in nodes {
                self.graph.facts_mut(node).refuse_as(&facts);
            }
        }
        self.likeness.follow(&self.graph, who);
    }

    /// Takes a customer out of the graph, by its id or as an alias, with who carried what it had.
    /// Whose alias it is stays.
    pub(super) fn forget(&mut self, customer: CustomerId) {
        self.review.taken_apart(customer);
        self.likeness.forget(customer);
        let Some(who) = self.graph.who(customer) else { return };
        if self.graph.current(who) == who {
            if self.review.counts_carriers() {
                for node in self.graph.nodes(who) {
                    self.review.carried_no_more(&self.graph.identifier(node));
                }
            }
            self.graph.remove(who);
        }
    }
}
