//! Whose an event is, by the table at the head of the module.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::Counts;
use super::{Event, Evidence, LISTED_AT_MOST, Limits, Rules, SUGGESTIONS_AT_MOST, State};
use crate::identifier::{Identifier, Kind};
use crate::person::{ChannelEvent, Sighting};
use crate::{ConflictId, CustomerId, SuggestionId};

pub(super) fn resolve(state: &State, rules: &Rules, event: &ChannelEvent) -> Vec<Event> {
    if state.has_seen(&event.channel, &event.id) {
        return Vec::new();
    }
    let known = known(state, rules, event);
    let (mut events, customer) = if known.is_empty() {
        (Vec::new(), None)
    } else {
        let (events, customer) = Tie::new(state, &rules.limits, known).decide(event);
        (events, Some(customer))
    };
    events.push(Event::Channel {
        customer,
        channel: event.channel.clone(),
        event: event.id.clone(),
    });
    events
}

/// One identifier of the event.
#[derive(Clone, Copy)]
struct Known<'a> {
    /// Among the identifiers of the event, strongest first.
    place: usize,
    identifier: &'a Identifier,
    verified: bool,
    owner: Option<CustomerId>,
}

impl Known<'_> {
    fn sighting(&self) -> Sighting {
        Sighting { identifier: self.identifier.clone(), verified: self.verified }
    }
}

/// Each identifier that is not blocked once, strongest first; verified if any sighting of it is.
fn known<'a>(state: &State, rules: &Rules, event: &'a ChannelEvent) -> Vec<Known<'a>> {
    let mut distinct: BTreeMap<&Identifier, (usize, bool)> = BTreeMap::new();
    for (place, sighting) in event.sightings.iter().enumerate() {
        if !rules.blocks(&sighting.identifier) {
            let (_, verified) = distinct.entry(&sighting.identifier).or_insert((place, false));
            *verified |= sighting.verified;
        }
    }
    let mut ordered: Vec<_> = distinct.into_iter().collect();
    ordered.sort_by_key(|(identifier, (place, verified))| {
        (!verified, identifier.kind().rank(), *place)
    });
    ordered
        .into_iter()
        .enumerate()
        .map(|(place, (identifier, (_, verified)))| {
            let owner = state.owners.get(identifier).copied();
            Known { place, identifier, verified, owner }
        })
        .collect()
}

/// What the identifiers of one event tie together. All counts follow [`kept`](Self::kept), so that
/// setting one aside costs the same however many there are.
struct Tie<'a> {
    state: &'a State,
    limits: &'a Limits,
    /// Strongest first; never empty.
    kept: Vec<Known<'a>>,
    set_aside: Vec<Known<'a>>,
    /// Of what there were too many.
    exceeded: BTreeSet<Kind>,
    /// Customers that verified identifiers lead to, with how many lead to each.
    proven: BTreeMap<CustomerId, usize>,
    /// What these customers have.
    proven_have: Counts,
    /// The first of `kept` that leads to somebody, while nothing verified does.
    asserted: Option<(Known<'a>, CustomerId, Counts)>,
    /// What nobody has.
    new: Counts,
}

impl<'a> Tie<'a> {
    fn new(state: &'a State, limits: &'a Limits, kept: Vec<Known<'a>>) -> Self {
        let (mut proven, mut proven_have, mut new) =
            (BTreeMap::new(), Counts::default(), Counts::default());
        for one in &kept {
            match one.owner {
                None => new.add(one.identifier.kind()),
                Some(owner) if one.verified => {
                    let leads = proven.entry(owner).or_insert(0);
                    if *leads == 0 {
                        proven_have.add_all(&counts(state, owner));
                    }
                    *leads += 1;
                }
                Some(_) => {}
            }
        }
        let asserted = kept.iter().find_map(|one| {
            let owner = one.owner.filter(|_| !one.verified)?;
            Some((*one, owner, counts(state, owner)))
        });
        let (set_aside, exceeded) = (Vec::new(), BTreeSet::new());
        Self { state, limits, kept, set_aside, exceeded, proven, proven_have, asserted, new }
    }

    /// Who becomes one customer, and what they have: everybody that is proven; else whoever the
    /// strongest identifier leads to; else nobody.
    fn group(&self) -> (Vec<CustomerId>, Counts) {
        if !self.proven.is_empty() {
            return (self.proven.keys().copied().collect(), self.proven_have);
        }
        match &self.asserted {
            Some((one, owner, have)) if one.place < self.kept.len() => (vec![*owner], *have),
            Some(_) | None => (Vec::new(), Counts::default()),
        }
    }

    /// The strongest kind of which the group would have too many. Who has too many since a limit
    /// was lowered is no obstacle as long as nothing is added.
    fn too_many(&self) -> Option<Kind> {
        let (several, have) = if self.proven.is_empty() {
            (false, self.group().1)
        } else {
            (self.proven.len() > 1, self.proven_have)
        };
        Kind::ALL.into_iter().find(|kind| {
            let new = self.new.get(*kind);
            (new > 0 || several) && have.get(*kind) + new > self.limits.of(*kind)
        })
    }

    fn set_weakest_aside(&mut self) {
        let Some(weakest) = self.kept.pop() else { return };
        match weakest.owner {
            None => self.new.remove(weakest.identifier.kind()),
            Some(owner) if weakest.verified => {
                if let Some(leads) = self.proven.get_mut(&owner) {
                    *leads -= 1;
                    if *leads == 0 {
                        self.proven.remove(&owner);
                        self.proven_have.remove_all(&counts(self.state, owner));
                    }
                }
            }
            Some(_) => {}
        }
        self.set_aside.push(weakest);
    }

    fn decide(mut self, event: &ChannelEvent) -> (Vec<Event>, CustomerId) {
        // The last one is always kept: alone, it leads to its owner or makes somebody new.
        while self.kept.len() > 1
            && let Some(kind) = self.too_many()
        {
            self.exceeded.insert(kind);
            self.set_weakest_aside();
        }
        let (group, mut have) = self.group();
        let mut events = Vec::new();
        let oldest = group.iter().copied().min_by_key(|id| self.state.age(*id));
        let customer = if let Some(survivor) = oldest {
            self.merge(event, survivor, &group, &mut events);
            self.attach(event, survivor, &group, &mut events);
            survivor
        } else {
            let customer = unused_id(self.state, event);
            events.push(Event::Created {
                customer,
                sightings: self.kept.iter().map(Known::sighting).collect(),
                evidence: Some(evidence(event, Vec::new())),
            });
            customer
        };
        have.add_all(&self.new);
        self.suggest(event, customer, &group, &have, &mut events);
        self.conflict(event, customer, &mut events);
        (events, customer)
    }

    /// The oldest absorbs the others, the older of them first.
    fn merge(
        &self,
        event: &ChannelEvent,
        survivor: CustomerId,
        group: &[CustomerId],
        events: &mut Vec<Event>,
    ) {
        let mut absorbed: Vec<_> = group.iter().copied().filter(|id| *id != survivor).collect();
        if absorbed.is_empty() {
            return;
        }
        absorbed.sort_by_key(|id| self.state.age(*id));
        let mut strongest: BTreeMap<CustomerId, Sighting> = BTreeMap::new();
        for one in self.kept.iter().filter(|one| one.verified) {
            if let Some(owner) = one.owner {
                strongest.entry(owner).or_insert_with(|| one.sighting());
            }
        }
        events.extend(absorbed.into_iter().map(|absorbed| {
            let by = [survivor, absorbed].into_iter();
            let by = by.filter_map(|id| strongest.get(&id).cloned());
            let evidence = Some(evidence(event, by.collect()));
            Event::Merged { survivor, absorbed, evidence }
        }));
    }

    fn attach(
        &self,
        event: &ChannelEvent,
        customer: CustomerId,
        group: &[CustomerId],
        events: &mut Vec<Event>,
    ) {
        let lead = self.strongest_lead(group);
        let new = self.kept.iter().filter(|one| one.owner.is_none());
        events.extend(new.map(|one| Event::Attached {
            customer,
            sighting: one.sighting(),
            evidence: Some(evidence(event, lead.iter().cloned().collect())),
        }));
    }

    /// Whoever else identifiers lead to may be the same person, unless a limit says no.
    fn suggest(
        &mut self,
        event: &ChannelEvent,
        customer: CustomerId,
        group: &[CustomerId],
        have: &Counts,
        events: &mut Vec<Event>,
    ) {
        let mut others: Vec<(CustomerId, Vec<Known<'a>>)> = Vec::new();
        let mut places = BTreeMap::new();
        for one in &self.kept {
            let Some(owner) = one.owner.filter(|owner| !group.contains(owner)) else { continue };
            let place = *places.entry(owner).or_insert(others.len());
            if place == others.len() {
                others.push((owner, Vec::new()));
            }
            others[place].1.push(*one);
        }
        let lead = self.strongest_lead(group);
        let mut suggested = 0;
        for (other, by) in others {
            if suggested == SUGGESTIONS_AT_MOST {
                self.set_aside.extend(by);
                continue;
            }
            if group.iter().any(|one| self.state.review.is_suggested(*one, other)) {
                continue;
            }
            let mut union = *have;
            union.add_all(&counts(self.state, other));
            if let Some(kind) = union.exceeds(self.limits) {
                self.exceeded.insert(kind);
                self.set_aside.extend(by);
                continue;
            }
            let by = lead.iter().cloned().chain(by.iter().map(Known::sighting));
            let evidence = evidence(event, by.take(LISTED_AT_MOST).collect());
            let id = unused_suggestion(self.state, event, suggested);
            events.push(Event::Suggested { id, customer, other, evidence });
            suggested += 1;
        }
    }

    fn conflict(&mut self, event: &ChannelEvent, customer: CustomerId, events: &mut Vec<Event>) {
        if self.set_aside.is_empty() {
            return;
        }
        self.set_aside.sort_by_key(|one| one.place);
        let listed = self.set_aside.iter().take(LISTED_AT_MOST);
        let set_aside: Vec<_> = listed.map(Known::sighting).collect();
        if self.state.review.is_known(customer, &set_aside) {
            return;
        }
        let mut others = Vec::new();
        let mut met = BTreeSet::new();
        for owner in self.set_aside.iter().filter_map(|one| one.owner) {
            if owner != customer && met.insert(owner) && others.len() < LISTED_AT_MOST {
                others.push(owner);
            }
        }
        let unlisted = self.set_aside.len() - set_aside.len();
        events.push(Event::Conflicted {
            id: unused_conflict(self.state, event),
            customer,
            others,
            set_aside,
            unlisted: u32::try_from(unlisted).unwrap_or(u32::MAX),
            kinds: self.exceeded.iter().copied().collect(),
            evidence: evidence(event, self.kept.first().map(Known::sighting).into_iter().collect()),
        });
    }

    /// By which the event came to its customer; for somebody new, the strongest of all.
    fn strongest_lead(&self, group: &[CustomerId]) -> Option<Sighting> {
        let leads = |one: &&Known<'_>| match one.owner {
            Some(owner) => group.contains(&owner),
            None => group.is_empty(),
        };
        self.kept.iter().find(leads).map(Known::sighting)
    }
}

fn counts(state: &State, customer: CustomerId) -> Counts {
    state.customers.get(&customer).map(Counts::of).unwrap_or_default()
}

fn evidence(event: &ChannelEvent, by: Vec<Sighting>) -> Evidence {
    Evidence { channel: event.channel.clone(), event: event.id.clone(), by }
}

/// The id comes from the event that made the customer known. Where a source used an event id
/// twice, days apart and for two people, the second gets another one.
fn unused_id(state: &State, event: &ChannelEvent) -> CustomerId {
    unused(format!("{}/{}", event.channel, event.id), CustomerId::derive, |id| {
        state.customers.contains_key(id) || state.aliases.contains_key(id)
    })
}

fn unused_suggestion(state: &State, event: &ChannelEvent, number: usize) -> SuggestionId {
    let origin = format!("{}/{}/{number}", event.channel, event.id);
    unused(origin, SuggestionId::derive, |id| state.review.suggestion(*id).is_some())
}

fn unused_conflict(state: &State, event: &ChannelEvent) -> ConflictId {
    unused(format!("{}/{}", event.channel, event.id), ConflictId::derive, |id| {
        state.review.conflict(*id).is_some()
    })
}

fn unused<Id>(mut origin: String, derive: fn(&str) -> Id, used: impl Fn(&Id) -> bool) -> Id {
    loop {
        let id = derive(&origin);
        if !used(&id) {
            return id;
        }
        origin.push('+');
    }
}
