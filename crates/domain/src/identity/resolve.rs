//! Whose an event is, by the table at the head of the module.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::graph::{Node, Who};
use super::rules::Counts;
use super::{
    Event, Evidence, IDENTIFIERS_AT_MOST, Limits, Rules, Source, State, Token, doubt, split,
};
use crate::identifier::{Identifier, Kind};
use crate::person::{Act, ChannelEvent, Sighting};
use crate::{At, ConflictId, CustomerId, DisputeId, SuggestionId, UnsendId};

pub(super) fn resolve(
    state: &State,
    rules: &Rules,
    event: &ChannelEvent,
    tokens: &[Token],
    at: At,
) -> Vec<Event> {
    let again = state.has_seen(&event.channel, &event.id, at);
    let unsent = taken_back(state, event, again, at);
    if again && unsent.is_none() {
        return Vec::new();
    }
    if unsent.is_none()
        && let Some(customer) = old_news(state, rules, event)
    {
        let channel = event.channel.clone();
        let customer = Some(customer);
        return vec![Event::Channel { customer, channel, event: event.id.clone() }];
    }
    let (known, unlisted) = known(state, rules, event);
    if let Some(message) = unsent.filter(|_| again) {
        // It is no news, but where it came in, its content stands again.
        let owner = known.iter().find_map(|one| one.owner).map(|who| state.graph.id(who));
        return vec![unsend(state, event, message, owner, &[])];
    }
    let (mut events, customer) = if known.is_empty() {
        (Vec::new(), None)
    } else {
        let (events, customer) = Knot::new(state, rules, event, at, known, unlisted).decide(tokens);
        (events, Some(customer))
    };
    // After everything that says whose identifiers are, and before what takes some away again.
    let place = events.iter().position(is_withdrawal).unwrap_or(events.len());
    let channel = event.channel.clone();
    if let Some(message) = unsent {
        let unsent = unsend(state, event, message, customer, &events);
        events.insert(place, unsent);
    }
    events.insert(place, Event::Channel { customer, channel, event: event.id.clone() });
    events
}

/// Whose an event is that says nothing but who sent it, by one identifier that somebody has and that
/// is verified if it ever can be: most events. The whole table says the same.
fn old_news(state: &State, rules: &Rules, event: &ChannelEvent) -> Option<CustomerId> {
    let [sighting] = event.sightings.as_slice() else { return None };
    let Sighting { identifier, verified } = sighting;
    if !event.attributes.is_empty() || !event.consents.is_empty() || !ties(state, rules, identifier)
    {
        return None;
    }
    let node = state.graph.find(identifier)?;
    if *verified && !state.graph.is_verified(node) {
        return None;
    }
    let who = state.graph.owner(node);
    state.graph.expect(who);
    Some(state.graph.id(who))
}

/// Whether an identifier tells anybody from others.
fn ties(state: &State, rules: &Rules, identifier: &Identifier) -> bool {
    !rules.blocks(identifier) && !state.review.withdrawn(identifier)
}

/// The message that goes: the one that the event takes back, or its own, which was taken back before.
fn taken_back<'a>(state: &State, event: &'a ChannelEvent, again: bool, at: At) -> Option<&'a str> {
    if let Act::Unsend(message) = &event.act {
        return (!again).then_some(message);
    }
    let message = event.message.as_deref()?;
    state.taken_back.has(&event.channel, message, at).then_some(message)
}

/// What takes a message back that stands under a customer, with whom these events make one.
fn unsend(
    state: &State,
    event: &ChannelEvent,
    message: &str,
    customer: Option<CustomerId>,
    events: &[Event],
) -> Event {
    let absorbed = events.iter().filter_map(|event| {
        let Event::Merged { absorbed, .. } = event else { return None };
        Some(*absorbed)
    });
    let mut customers: Vec<CustomerId> = customer.into_iter().chain(absorbed).collect();
    for place in 0..customers.len() {
        if let Some(who) = state.graph.who(customers[place]) {
            customers.extend(state.graph.aliases(who).map(|alias| state.graph.id(alias)));
        }
    }
    let id = unused(format!("{}/{}", event.channel, event.id), UnsendId::derive, |id| {
        state.unsends.contains_key(id)
    });
    Event::Unsent { id, customers, channel: event.channel.clone(), message: message.to_owned() }
}

fn is_withdrawal(event: &Event) -> bool {
    matches!(event, Event::HubFound { .. } | Event::Disputed { .. })
}

/// One identifier of the event.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// Among the identifiers of the event, strongest first.
    pub(super) place: usize,
    pub(super) identifier: &'a Identifier,
    pub(super) verified: bool,
    pub(super) node: Option<Node>,
    pub(super) owner: Option<Who>,
}

impl Known<'_> {
    pub(super) fn sighting(&self) -> Sighting {
        Sighting { identifier: self.identifier.clone(), verified: self.verified }
    }
}

pub(super) type Kept<'a> = SmallVec<[Known<'a>; 4]>;

/// Each identifier that ties somebody once, strongest first; verified if any sighting of it is.
/// And how many there were beyond those that count.
fn known<'a>(state: &State, rules: &Rules, event: &'a ChannelEvent) -> (Kept<'a>, usize) {
    let mut all: SmallVec<[(&Identifier, bool, usize); 4]> = SmallVec::new();
    for (place, Sighting { identifier, verified }) in event.sightings.iter().enumerate() {
        if ties(state, rules, identifier) {
            all.push((identifier, !verified, place));
        }
    }
    if all.len() > 1 {
        all.sort_unstable();
        let mut places = BTreeMap::new();
        if all.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            for (identifier, _, place) in &all {
                let first = places.entry(*identifier).or_insert(*place);
                *first = (*first).min(*place);
            }
            // Verified ones stand before asserted ones of the same identifier, and stay.
            all.dedup_by_key(|(identifier, ..)| *identifier);
            for (identifier, _, place) in &mut all {
                *place = places.get(*identifier).copied().unwrap_or(*place);
            }
        }
        all.sort_by_key(|(identifier, asserted, place)| {
            (*asserted, identifier.kind().rank(), *place)
        });
    }
    let unlisted = all.len().saturating_sub(IDENTIFIERS_AT_MOST);
    all.truncate(IDENTIFIERS_AT_MOST);
    let kept = all.into_iter().enumerate().map(|(place, (identifier, asserted, _))| {
        let node = state.graph.find(identifier);
        let owner = node.map(|node| state.graph.owner(node));
        Known { place, identifier, verified: !asserted, node, owner }
    });
    (kept.collect(), unlisted)
}

/// What the identifiers of one event tie together. All counts follow [`kept`](Self::kept), so that
/// setting one aside costs the same however many there are.
pub(super) struct Knot<'a> {
    pub(super) state: &'a State,
    pub(super) rules: &'a Rules,
    pub(super) limits: &'a Limits,
    pub(super) event: &'a ChannelEvent,
    pub(super) at: At,
    /// Strongest first; never empty.
    pub(super) kept: Kept<'a>,
    pub(super) set_aside: Vec<Known<'a>>,
    /// Identifiers beyond those that count.
    pub(super) unlisted: usize,
    /// Of what there were too many.
    pub(super) exceeded: BTreeSet<Kind>,
    /// Whether a cut kept customers apart.
    pub(super) cut: bool,
    /// Customers that verified identifiers lead to, with how many lead to each.
    pub(super) proven: SmallVec<[(Who, usize); 2]>,
    /// What these customers have. Counted only when something new or somebody else comes.
    pub(super) proven_have: Counts,
    /// The first of `kept` that leads to somebody, while nothing verified does.
    pub(super) asserted: Option<(Known<'a>, Who, Counts)>,
    /// What nobody has.
    pub(super) new: Counts,
}

impl<'a> Knot<'a> {
    fn new(
        state: &'a State,
        rules: &'a Rules,
        event: &'a ChannelEvent,
        at: At,
        kept: Kept<'a>,
        unlisted: usize,
    ) -> Self {
        let limits = &rules.limits;
        let mut proven: SmallVec<[(Who, usize); 2]> = SmallVec::new();
        let mut new = Counts::default();
        for one in &kept {
            match one.owner {
                None => new.add(one.identifier.kind()),
                Some(owner) if one.verified => {
                    match proven.iter_mut().find(|(known, _)| *known == owner) {
                        Some((_, leads)) => *leads += 1,
                        None => proven.push((owner, 1)),
                    }
                }
                Some(_) => {}
            }
        }
        let mut tie = Self {
            state,
            rules,
            limits,
            event,
            at,
            set_aside: Vec::new(),
            unlisted,
            exceeded: BTreeSet::new(),
            cut: false,
            proven,
            proven_have: Counts::default(),
            asserted: None,
            new,
            kept,
        };
        // Whoever is known by everything that the event carries has nothing to count.
        let settled = tie.kept[0].owner.is_some() && tie.same_owner();
        if !settled {
            let mut have = Counts::default();
            for (who, _) in &tie.proven {
                have.add_all(&tie.counts(*who));
            }
            tie.proven_have = have;
        }
        tie.asserted = tie.kept.iter().find_map(|one| {
            let owner = one.owner.filter(|_| !one.verified)?;
            let counted = !settled && tie.proven.is_empty();
            let counts = if counted { tie.counts(owner) } else { Counts::default() };
            Some((*one, owner, counts))
        });
        tie
    }

    fn same_owner(&self) -> bool {
        self.kept.iter().all(|one| one.owner == self.kept[0].owner)
    }

    pub(super) fn counts(&self, who: Who) -> Counts {
        Counts::of(&self.state.graph, who, self.limits, self.at)
    }

    /// Who becomes one customer, and what they have: everybody that is proven; else whoever the
    /// strongest identifier leads to; else nobody.
    fn group(&self) -> (SmallVec<[Who; 2]>, Counts) {
        if !self.proven.is_empty() {
            return (self.proven.iter().map(|(who, _)| *who).collect(), self.proven_have);
        }
        match &self.asserted {
            Some((one, owner, have)) if one.place < self.kept.len() => {
                (SmallVec::from_slice(&[*owner]), *have)
            }
            Some(_) | None => (SmallVec::new(), Counts::default()),
        }
    }

    /// Whether something stands against the group: the strongest kind of which it would have too
    /// many, or a cut. Who has too many since a limit was lowered is no obstacle as long as nothing
    /// is added.
    fn obstacle(&self) -> Option<Obstacle> {
        let several = self.proven.len() > 1;
        let have = if self.proven.is_empty() { self.group().1 } else { self.proven_have };
        let kind = Kind::ALL.into_iter().find(|kind| {
            let new = self.new.get(*kind);
            (new > 0 || several) && have.get(*kind) + new > self.limits.of(*kind).at_most()
        });
        if let Some(kind) = kind {
            return Some(Obstacle::TooMany(kind));
        }
        let cut = several && {
            let group: SmallVec<[Who; 2]> = self.proven.iter().map(|(who, _)| *who).collect();
            split::are_cut(&self.state.graph, &group)
        };
        cut.then_some(Obstacle::Cut)
    }

    fn set_weakest_aside(&mut self) {
        let Some(weakest) = self.kept.pop() else { return };
        match weakest.owner {
            None => self.new.remove(weakest.identifier.kind()),
            Some(owner) if weakest.verified => {
                let place = self.proven.iter().position(|(known, _)| *known == owner);
                if let Some(place) = place {
                    self.proven[place].1 -= 1;
                    if self.proven[place].1 == 0 {
                        self.proven.remove(place);
                        let counts = self.counts(owner);
                        self.proven_have.remove_all(&counts);
                        if self.proven.is_empty()
                            && let Some((_, owner, _)) = self.asserted
                        {
                            let counts = self.counts(owner);
                            if let Some((.., have)) = &mut self.asserted {
                                *have = counts;
                            }
                        }
                    }
                }
            }
            Some(_) => {}
        }
        self.set_aside.push(weakest);
    }

    fn decide(mut self, tokens: &[Token]) -> (Vec<Event>, CustomerId) {
        // The last one is always kept: alone, it leads to its owner or makes somebody new.
        while self.kept.len() > 1
            && let Some(obstacle) = self.obstacle()
        {
            match obstacle {
                Obstacle::TooMany(kind) => {
                    self.exceeded.insert(kind);
                }
                Obstacle::Cut => self.cut = true,
            }
            self.set_weakest_aside();
        }
        let (group, mut have) = self.group();
        let mut events = Vec::new();
        let oldest = group.iter().copied().min_by_key(|who| self.state.age(*who));
        let customer = if let Some(survivor) = oldest {
            self.state.graph.expect(survivor);
            let id = self.state.graph.id(survivor);
            if !self.is_old_news() {
                self.merge(id, survivor, &group, &mut events);
                self.attach(id, &group, &mut events);
            }
            id
        } else {
            let customer = unused_id(self.state, self.event);
            events.push(Event::Created {
                customer,
                sightings: self.kept.iter().map(Known::sighting).collect(),
                evidence: self.evidence(Vec::new()),
            });
            customer
        };
        self.tell(customer, &group, tokens, &mut events);
        self.alike(customer, &group, &mut events);
        if self.set_aside.is_empty() && self.same_group(&group) {
            return (events, customer);
        }
        have.add_all(&self.new);
        self.suggest(customer, &group, &have, &mut events);
        let disputed = self.disputes(customer, &group);
        self.conflict(customer, &group, &disputed, &mut events);
        let mut taken = BTreeMap::new();
        self.carry(customer, &group, &disputed, &mut taken, &mut events);
        self.dispute(customer, &disputed, &mut taken, &mut events);
        let mut taken: Vec<_> = taken.into_iter().collect();
        taken.sort_by_key(|(owner, _)| self.state.graph.id(*owner));
        for (owner, nodes) in taken {
            let graph = &self.state.graph;
            let id = graph.id(owner);
            let origin = format!("{}/{}/{id}", self.event.channel, self.event.id);
            let merged =
                |id| if group.iter().any(|who| graph.id(*who) == id) { customer } else { id };
            let room = split::RECORDS_AT_MOST.saturating_sub(events.len());
            let split =
                split::after_withdrawal(self.state, owner, &nodes, &origin, &merged, self.at, room);
            let Some(split) = split else {
                doubt::take_back(id, customer, &mut events);
                continue;
            };
            if !split.is_empty() {
                // The owner is another one then; whoever asserts it again is heard again.
                events.retain(
                    |event| !matches!(event, Event::Suggested { other, .. } if *other == id),
                );
            }
            events.extend(split);
        }
        (events, customer)
    }

    /// Whether the event carries one identifier alone, which somebody has and which is verified if
    /// it ever can be: most events.
    fn is_old_news(&self) -> bool {
        let [one] = self.kept.as_slice() else { return false };
        one.node.is_some_and(|node| !one.verified || self.state.graph.is_verified(node))
    }

    /// Whether every identifier leads to the group or to nobody.
    fn same_group(&self, group: &[Who]) -> bool {
        self.kept.iter().all(|one| one.owner.is_none_or(|owner| group.contains(&owner)))
    }

    /// The oldest absorbs the others, the older of them first.
    fn merge(&self, id: CustomerId, survivor: Who, group: &[Who], events: &mut Vec<Event>) {
        if group.len() < 2 {
            return;
        }
        let mut absorbed: Vec<_> = group.iter().copied().filter(|who| *who != survivor).collect();
        absorbed.sort_by_key(|who| self.state.age(*who));
        let strongest = |who: Who| {
            let leads = |one: &&Known<'_>| one.verified && one.owner == Some(who);
            self.kept.iter().find(leads).map(Known::sighting)
        };
        events.extend(absorbed.into_iter().map(|absorbed| {
            let by = [survivor, absorbed].into_iter().filter_map(strongest);
            Event::Merged {
                survivor: id,
                absorbed: self.state.graph.id(absorbed),
                evidence: self.evidence(by.collect()),
            }
        }));
    }

    /// Attaches what is new, and ties what nothing tied directly.
    fn attach(&self, customer: CustomerId, group: &[Who], events: &mut Vec<Event>) {
        let Some(lead) = self.lead(group) else { return };
        let new = self.kept.iter().filter(|one| one.owner.is_none());
        let sightings: Vec<_> = new.map(Known::sighting).collect();
        if !sightings.is_empty() {
            let evidence = self.evidence(vec![lead.sighting()]);
            events.push(Event::Attached { customer, sightings, evidence });
        }
        let graph = &self.state.graph;
        let theirs = |one: &&Known<'_>| one.owner.is_none_or(|owner| group.contains(&owner));
        let Some(strongest) = self.kept.iter().find(theirs).copied() else { return };
        // What a merge has tied to it is tied; what is new is tied to what led there.
        let strongest_itself = strongest.sighting();
        let merged = |one: &Known<'_>| {
            let one = one.sighting();
            events.iter().any(|event| {
                let Event::Merged { evidence, .. } = event else { return false };
                evidence.by.contains(&one) && evidence.by.contains(&strongest_itself)
            })
        };
        let untied = |one: &&Known<'_>| {
            if one.place == strongest.place {
                return strongest
                    .node
                    .is_some_and(|node| one.verified && !graph.is_verified(node) && !merged(one));
            }
            match (strongest.node, one.node) {
                (Some(first), Some(node)) => {
                    let told = one.verified && !graph.is_verified(node);
                    (told || !graph.are_tied(first, node)) && !merged(one)
                }
                // All of them are tied to what led there, which is the strongest itself.
                (Some(_), None) => false,
                (None, _) => one.place != lead.place,
            }
        };
        let rest = self.kept.iter().filter(theirs).filter(untied);
        let sightings: Vec<_> = rest.map(Known::sighting).collect();
        if !sightings.is_empty() {
            let evidence = self.evidence(vec![strongest_itself]);
            events.push(Event::Tied { customer, sightings, evidence });
        }
    }

    /// By what the event came to its customer; for somebody new, the strongest of all.
    pub(super) fn lead(&self, group: &[Who]) -> Option<Known<'a>> {
        let leads = |one: &&Known<'_>| match one.owner {
            Some(owner) => group.contains(&owner),
            None => group.is_empty(),
        };
        self.kept.iter().find(leads).copied()
    }

    pub(super) fn source(&self) -> Source {
        Source { channel: self.event.channel.clone(), event: self.event.id.clone() }
    }

    pub(super) fn evidence(&self, by: Vec<Sighting>) -> Evidence {
        Evidence { source: Some(self.source()), by }
    }
}

enum Obstacle {
    TooMany(Kind),
    Cut,
}

/// The id comes from the event that made the customer known. Where a source used an event id
/// twice, days apart and for two people, the second gets another one.
fn unused_id(state: &State, event: &ChannelEvent) -> CustomerId {
    let origin = [event.channel.as_str(), "/", event.id.as_str()].concat();
    unused(origin, CustomerId::derive, |id| state.knows(*id) || state.erased.contains(id))
}

pub(super) fn unused_suggestion(
    state: &State,
    event: &ChannelEvent,
    number: usize,
) -> SuggestionId {
    let origin = format!("{}/{}/{number}", event.channel, event.id);
    unused(origin, SuggestionId::derive, |id| state.review.suggestion(*id).is_some())
}

pub(super) fn unused_conflict(state: &State, event: &ChannelEvent) -> ConflictId {
    unused(format!("{}/{}", event.channel, event.id), ConflictId::derive, |id| {
        state.review.conflict(*id).is_some()
    })
}

pub(super) fn unused_dispute(state: &State, event: &ChannelEvent, number: usize) -> DisputeId {
    let origin = format!("{}/{}/{number}", event.channel, event.id);
    unused(origin, DisputeId::derive, |id| state.review.dispute(*id).is_some())
}

pub(super) fn unused<Id>(
    mut origin: String,
    derive: fn(&str) -> Id,
    used: impl Fn(&Id) -> bool,
) -> Id {
    loop {
        let id = derive(&origin);
        if !used(&id) {
            return id;
        }
        origin.push('+');
    }
}
