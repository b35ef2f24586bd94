//! What an event leaves in doubt: suggestions, conflicts, hubs and disputes.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::graph::{Node, Who};
use super::resolve::{Knot, Known, unused_conflict, unused_dispute, unused_suggestion};
use super::rules::Counts;
use super::{Conflict, Event, LISTED_AT_MOST, SUGGESTIONS_AT_MOST, split};
use crate::CustomerId;
use crate::identifier::Kind;

impl<'a> Knot<'a> {
    /// Whoever else identifiers lead to may be the same person, unless a limit or a cut says no.
    pub(super) fn suggest(
        &mut self,
        customer: CustomerId,
        group: &[Who],
        have: &Counts,
        events: &mut Vec<Event>,
    ) {
        let graph = &self.state.graph;
        let mut others: Vec<(Who, Vec<Known<'a>>)> = Vec::new();
        for one in &self.kept {
            let Some(owner) = one.owner.filter(|owner| !group.contains(owner)) else { continue };
            match others.iter_mut().find(|(other, _)| *other == owner) {
                Some((_, by)) => by.push(*one),
                None => others.push((owner, vec![*one])),
            }
        }
        let lead = self.lead(group).map(|one| one.sighting());
        let mut suggested = 0;
        for (who, by) in others {
            let other = graph.id(who);
            if suggested == SUGGESTIONS_AT_MOST {
                self.set_aside.extend(by);
                continue;
            }
            let known = |one: &Who| self.state.review.is_suggested(graph.id(*one), other);
            let just_now = events.iter().any(
                |event| matches!(event, Event::Suggested { other: known, .. } if *known == other),
            );
            if just_now || group.iter().any(known) {
                continue;
            }
            let mut union = *have;
            union.add_all(&self.counts(who));
            if let Some(kind) = union.exceeds(self.limits) {
                self.exceeded.insert(kind);
                self.set_aside.extend(by);
                continue;
            }
            let mut both: SmallVec<[Who; 2]> = SmallVec::from_slice(group);
            both.push(who);
            if split::are_cut(graph, &both) {
                self.cut = true;
                self.set_aside.extend(by);
                continue;
            }
            let by = lead.iter().cloned().chain(by.iter().map(Known::sighting));
            let evidence = self.evidence(by.take(LISTED_AT_MOST).collect());
            let id = unused_suggestion(self.state, self.event, suggested);
            events.push(Event::Suggested { id, customer, other, evidence, likeness: None });
            suggested += 1;
        }
    }

    /// What was set aside although it is verified now for one member, and was for another.
    pub(super) fn disputes(&self, customer: CustomerId, group: &[Who]) -> Vec<Known<'a>> {
        if !self.exceeded.contains(&Kind::Member) {
            return Vec::new();
        }
        let graph = &self.state.graph;
        let is_member = |who: Who| graph.nodes(who).any(|node| graph.kind(node) == Kind::Member);
        let member = self.kept.iter().any(|one| one.identifier.kind() == Kind::Member)
            || group.iter().any(|who| is_member(*who));
        let disputed = |one: &&Known<'_>| {
            let (Some(node), Some(owner)) = (one.node, one.owner) else { return false };
            member
                && one.verified
                && matches!(one.identifier.kind(), Kind::Phone | Kind::Email)
                && graph.is_verified(node)
                && graph.id(owner) != customer
                && !group.contains(&owner)
                && is_member(owner)
        };
        self.set_aside.iter().filter(disputed).copied().collect()
    }

    pub(super) fn conflict(
        &mut self,
        customer: CustomerId,
        group: &[Who],
        disputed: &[Known<'_>],
        events: &mut Vec<Event>,
    ) {
        let is_disputed =
            |one: &Known<'_>| disputed.iter().any(|other| other.identifier == one.identifier);
        self.set_aside.sort_by_key(|one| one.place);
        let aside: Vec<_> = self.set_aside.iter().filter(|one| !is_disputed(one)).collect();
        if aside.is_empty() && self.unlisted == 0 {
            return;
        }
        let set_aside: Vec<_> =
            aside.iter().take(LISTED_AT_MOST).map(|one| one.sighting()).collect();
        if self.state.review.is_known(customer, &set_aside) {
            return;
        }
        let mut others = Vec::new();
        for owner in aside.iter().filter_map(|one| one.owner).filter(|one| !group.contains(one)) {
            let owner = self.state.graph.id(owner);
            if !others.contains(&owner) && others.len() < LISTED_AT_MOST {
                others.push(owner);
            }
        }
        let unlisted = aside.len() - set_aside.len() + self.unlisted;
        let conflict = Conflict {
            customer,
            others,
            set_aside,
            unlisted: u32::try_from(unlisted).unwrap_or(u32::MAX),
            kinds: self.exceeded.iter().copied().collect(),
            cannot_link: self.cut,
            recorded_at: self.at,
            evidence: self.evidence(self.kept.first().map(Known::sighting).into_iter().collect()),
        };
        events.push(Event::Conflicted { id: unused_conflict(self.state, self.event), conflict });
    }

    /// Takes note of every identifier that somebody else has, and finds hubs.
    pub(super) fn carry(
        &self,
        customer: CustomerId,
        group: &[Who],
        disputed: &[Known<'_>],
        taken: &mut BTreeMap<Who, BTreeSet<Node>>,
        events: &mut Vec<Event>,
    ) {
        let (state, graph) = (self.state, &self.state.graph);
        let mut hubs = Vec::new();
        for one in self.kept.iter().chain(&self.set_aside) {
            let (Some(node), Some(who)) = (one.node, one.owner) else { continue };
            if group.contains(&who)
                || disputed.iter().any(|other| other.identifier == one.identifier)
            {
                continue;
            }
            let window = self.rules.hub.window();
            let owner = graph.id(who);
            let mut carriers: Vec<CustomerId> = Vec::new();
            let before = state.review.carriers(one.identifier, window, self.at);
            let merged = |id| {
                let id = state.current(id);
                if group.iter().any(|who| graph.id(*who) == id) { customer } else { id }
            };
            for carrier in before.map(merged).filter(|id| *id != customer && *id != owner) {
                if !carriers.contains(&carrier) {
                    carriers.push(carrier);
                }
            }
            carriers.push(customer);
            let identifier = one.identifier.clone();
            // Whoever has it counts as one.
            if carriers.len() + 1 > usize::from(self.rules.hub.customers) {
                taken.entry(who).or_default().insert(node);
                hubs.push(Event::HubFound { identifier, customer: owner, carriers });
            } else {
                events.push(Event::Carried { customer, identifier });
            }
        }
        events.extend(hubs);
    }

    pub(super) fn dispute(
        &self,
        customer: CustomerId,
        disputed: &[Known<'_>],
        taken: &mut BTreeMap<Who, BTreeSet<Node>>,
        events: &mut Vec<Event>,
    ) {
        for one in disputed {
            let (Some(node), Some(who)) = (one.node, one.owner) else { continue };
            events.push(Event::Disputed {
                id: unused_dispute(self.state, self.event, one.place),
                identifier: one.identifier.clone(),
                claimants: vec![self.state.graph.id(who), customer],
                source: self.source(),
            });
            taken.entry(who).or_default().insert(node);
        }
    }
}

/// Withdraws nothing from an owner who would fall into more pieces than one input may say: what was
/// to be a hub was carried, and the next event that carries it finds it again.
pub(super) fn take_back(owner: CustomerId, customer: CustomerId, events: &mut Vec<Event>) {
    for event in &mut *events {
        if let Event::HubFound { identifier, customer: of, .. } = event
            && *of == owner
        {
            *event = Event::Carried { customer, identifier: identifier.clone() };
        }
    }
    let disputed = |event: &Event| matches!(event, Event::Disputed { claimants, .. } if claimants.first() == Some(&owner));
    events.retain(|event| !disputed(event));
}
