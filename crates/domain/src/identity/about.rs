//! What an event says of its person.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::graph::Who;
use super::resolve::{Knot, Known, unused_suggestion};
use super::similarity::compare;
use super::{Event, Fact, Facts, SUGGESTIONS_AT_MOST, Token, likeness, split};
use crate::identifier::Kind;
use crate::person::{Answer, Attribute, ChannelEvent, Consent};
use crate::{At, CustomerId};

impl Knot<'_> {
    /// What the event says of the person, as far as it is news.
    pub(super) fn tell(
        &self,
        customer: CustomerId,
        group: &[Who],
        tokens: &[Token],
        events: &mut Vec<Event>,
    ) {
        let ChannelEvent { attributes, consents, .. } = self.event;
        let refused = self.refused_before(tokens);
        if attributes.is_empty() && consents.is_empty() && refused.is_empty() {
            return;
        }
        let graph = &self.state.graph;
        let told_at = self.event.occurred_at.min(self.at);
        let nodes = || group.iter().flat_map(|who| graph.nodes(*who));
        let lead = self.lead(group).unwrap_or(self.kept[0]);
        let own = lead.node.and_then(|node| graph.facts(node));
        // The same value told later is news: what was told in between is old.
        let news = |attribute: &&Attribute| {
            let fact = Fact { attribute: (*attribute).clone(), told_at };
            let own = own.and_then(|facts| facts.attribute(&attribute.name));
            own.is_none_or(|own| fact.counts_more(own))
        };
        let attributes: Vec<_> = attributes.iter().filter(news).cloned().collect();
        if !attributes.is_empty() {
            events.push(Event::Described {
                customer,
                identifier: lead.identifier.clone(),
                attributes,
                told_at,
                source: self.source(),
            });
        }
        // An answer is news when it is later than all that is known of the customer: a grant that
        // one of two gave before a merge, and that comes again, lifts no refusal of the other's.
        let news = |consent: &&Consent| {
            let Consent { means, purpose, answer } = *consent;
            let known = nodes().filter_map(|node| graph.facts(node)?.consent(means, purpose));
            let last = known.map(|told| (told.told_at, told.consent.answer)).max();
            // Of the same moment it is news for what is new itself, and for what it comes by when
            // that has said nothing as late: or it would be news when it comes again after a split.
            let fresh = self.kept.iter().any(|one| one.owner.is_none())
                || own
                    .and_then(|facts| facts.consent(means, purpose))
                    .is_none_or(|told| (told.told_at, told.consent.answer) < (told_at, *answer));
            last.is_none_or(|last| {
                (told_at, *answer) > last || (fresh && (told_at, *answer) == last)
            })
        };
        let consents: Vec<_> = consents.iter().filter(news).cloned().collect();
        if !consents.is_empty() {
            let source = self.source();
            events.push(Event::Consented { customer, consents, told_at, source });
        }
        // Said as of the erasure: what the person grants after it counts, also by this very event.
        for (told_at, consents) in refused {
            let source = self.source();
            events.push(Event::Consented { customer, consents, told_at, source });
        }
    }

    /// Who is so much alike that a person should look at both, the most alike first. Compared when
    /// something that is compared has changed.
    pub(super) fn alike(&self, customer: CustomerId, group: &[Who], events: &mut Vec<Event>) {
        let (state, graph) = (self.state, &self.state.graph);
        let attributes = events.iter().find_map(|event| {
            let Event::Described { attributes, .. } = event else { return None };
            Some(attributes.as_slice())
        });
        let compared = |one: &&Known<'_>| {
            one.owner.is_none() && matches!(one.identifier.kind(), Kind::Phone | Kind::Email)
        };
        let new: Vec<_> = self.kept.iter().filter(compared).map(|one| one.identifier).collect();
        let described = || group.iter().any(|who| likeness::is_described(graph, *who));
        if state.likeness.is_empty() || (attributes.is_none() && (new.is_empty() || !described())) {
            return;
        }
        let mut told = Facts::default();
        let told_at = self.event.occurred_at.min(self.at);
        for attribute in attributes.unwrap_or_default() {
            told.describe(Fact { attribute: attribute.clone(), told_at });
        }
        let mut have = self.new;
        for who in group {
            have.add_all(&self.counts(*who));
        }
        let traits = likeness::traits_with(graph, group, &told, &new);
        let weights = &self.rules.similarity;
        let mut alike = Vec::new();
        for other in state.likeness.met(&traits) {
            let Some(who) = graph.who(other).filter(|who| !group.contains(who)) else { continue };
            if group.iter().any(|one| state.review.is_suggested(graph.id(*one), other)) {
                continue;
            }
            let mut union = have;
            union.add_all(&self.counts(who));
            let mut both: SmallVec<[Who; 2]> = SmallVec::from_slice(group);
            both.push(who);
            if union.exceeds(self.limits).is_some() || split::are_cut(graph, &both) {
                continue;
            }
            let score = compare(&traits, &likeness::traits(graph, &[who]), weights);
            if score.suggests(weights, graph.customers()) {
                alike.push((other, score));
            }
        }
        alike.sort_by_key(|(other, score)| (std::cmp::Reverse(score.bits), *other));
        let lead: Vec<_> = self.lead(group).iter().map(Known::sighting).collect();
        for (number, (other, score)) in alike.into_iter().take(SUGGESTIONS_AT_MOST).enumerate() {
            // Behind those that identifiers suggest.
            let id = unused_suggestion(state, self.event, SUGGESTIONS_AT_MOST + number);
            let evidence = self.evidence(lead.clone());
            let likeness = Some(score);
            events.push(Event::Suggested { id, customer, other, evidence, likeness });
        }
    }

    /// What was refused by whoever had one of the new identifiers and was erased, by when that was.
    pub(super) fn refused_before(&self, tokens: &[Token]) -> BTreeMap<At, Vec<Consent>> {
        let mut refused = BTreeMap::new();
        if self.state.refused.is_empty() {
            return refused;
        }
        let sightings = self.event.sightings.iter().zip(tokens);
        let mut last: BTreeMap<_, At> = BTreeMap::new();
        for (_, token) in sightings.filter(|(sighting, _)| {
            self.kept
                .iter()
                .any(|one| one.owner.is_none() && *one.identifier == sighting.identifier)
        }) {
            for (what, erased_at) in self.state.refused.get(token).into_iter().flatten() {
                let last = last.entry(what.clone()).or_insert(*erased_at);
                *last = (*last).max(*erased_at);
            }
        }
        for ((means, purpose), erased_at) in last {
            let refuse = Consent { means, purpose, answer: Answer::Refused };
            refused.entry(erased_at).or_insert_with(Vec::new).push(refuse);
        }
        refused
    }
}
