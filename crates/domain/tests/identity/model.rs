//! The rules once more, as a list of people that is searched from its start each time.

use std::collections::BTreeSet;

use mainstem_domain::identifier::{Identifier, Kind};
use mainstem_domain::identity::{Input, Limits, SEEN_FOR};
use mainstem_domain::person::{ChannelEvent, Sighting};
use mainstem_domain::{At, ChannelId, CustomerId, EventId};

#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// The first one is the living id, the rest are aliases.
    pub(crate) ids: Vec<CustomerId>,
    pub(crate) created_at: At,
    pub(crate) identifiers: BTreeSet<Identifier>,
}

/// What should be said about an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) customer: Option<CustomerId>,
    pub(crate) merged: Vec<CustomerId>,
    pub(crate) attached: Vec<Identifier>,
    pub(crate) suggested: Vec<CustomerId>,
    /// Also when it was recorded before.
    pub(crate) set_aside: Vec<Sighting>,
    pub(crate) kinds: BTreeSet<Kind>,
    /// Whether a conflict is recorded.
    pub(crate) conflict: bool,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) limits: Limits,
    pub(crate) people: Vec<Person>,
    /// By living ids.
    pub(crate) suggestions: Vec<BTreeSet<CustomerId>>,
    /// By the ids of their time.
    pub(crate) conflicts: Vec<(CustomerId, Vec<Identifier>)>,
    pub(crate) seen: Vec<(At, ChannelId, EventId)>,
}

impl Model {
    pub(crate) fn has(&self, identifier: &Identifier) -> Option<usize> {
        self.people.iter().position(|person| person.identifiers.contains(identifier))
    }

    pub(crate) fn is(&self, id: CustomerId) -> Option<usize> {
        self.people.iter().position(|person| person.ids.contains(&id))
    }

    /// What should happen. `new` is the id that the decider gave if it made somebody new; what
    /// the id is, is its own affair, but it must be a fresh one. `None`: nothing at all.
    pub(crate) fn run(
        &mut self,
        input: &Input,
        at: At,
        new: Option<CustomerId>,
    ) -> Option<Verdict> {
        match input {
            Input::Inbound(event) => return self.inbound(event, at, new),
            Input::Attach { customer, identifier } => {
                if let (Some(person), None) = (self.is(*customer), self.has(identifier)) {
                    let mut with = self.people[person].identifiers.clone();
                    with.insert(identifier.clone());
                    if !is_blocked(identifier) && !self.too_many(&with).contains(&identifier.kind())
                    {
                        self.people[person].identifiers = with;
                    }
                }
            }
            Input::Merge { customer, other, validate_only: false } => {
                let (Some(one), Some(other)) = (self.is(*customer), self.is(*other)) else {
                    return None;
                };
                if one != other && self.too_many(&self.union(&[one, other])).is_empty() {
                    self.merge(&[one, other]);
                }
            }
            Input::Merge { validate_only: true, .. } | Input::Wakeup(_) => {}
        }
        None
    }

    fn inbound(
        &mut self,
        event: &ChannelEvent,
        at: At,
        new: Option<CustomerId>,
    ) -> Option<Verdict> {
        if self.seen.iter().any(|(_, c, e)| (c, e) == (&event.channel, &event.id)) {
            return None;
        }
        self.seen.push((at, event.channel.clone(), event.id.clone()));
        self.seen.retain(|(seen, ..)| at.since(*seen) <= SEEN_FOR);

        let mut kept = strongest_first(&event.sightings);
        let mut said = Verdict::default();
        if kept.is_empty() {
            return Some(said);
        }
        let (group, fresh) = loop {
            let group = self.group(&kept);
            let fresh: Vec<_> = kept
                .iter()
                .map(|one| one.identifier.clone())
                .filter(|identifier| self.has(identifier).is_none())
                .collect();
            let mut union = self.union(&group);
            union.extend(fresh.iter().cloned());
            let Some(kind) = self.too_many(&union).first().copied() else { break (group, fresh) };
            said.kinds.insert(kind);
            said.set_aside.extend(kept.pop());
        };
        said.attached.clone_from(&fresh);
        let person = if group.is_empty() {
            let id = new.expect("somebody new");
            assert_eq!(self.is(id), None, "{id} was given before");
            let identifiers = BTreeSet::new();
            self.people.push(Person { ids: vec![id], created_at: at, identifiers });
            id
        } else {
            let ids: Vec<_> = group.iter().map(|index| self.people[*index].ids[0]).collect();
            let survivor = self.merge(&group);
            said.merged = ids.into_iter().filter(|id| *id != survivor).collect();
            survivor
        };
        said.customer = Some(person);
        let index = self.is(person).expect("it is there");
        self.people[index].identifiers.extend(fresh);
        self.others(index, &kept, &mut said);

        let order = strongest_first(&event.sightings);
        said.set_aside.sort_by_key(|one| order.iter().position(|other| other == one));
        let key =
            (person, said.set_aside.iter().map(|one| one.identifier.clone()).collect::<Vec<_>>());
        if !key.1.is_empty() && !self.conflicts.contains(&key) {
            self.conflicts.push(key);
            said.conflict = true;
        }
        Some(said)
    }

    /// Those that verified identifiers lead to; else the owner of the first that is known.
    fn group(&self, kept: &[Sighting]) -> Vec<usize> {
        let owner = |one: &Sighting| self.has(&one.identifier);
        let proven: BTreeSet<_> =
            kept.iter().filter(|one| one.verified).filter_map(owner).collect();
        if proven.is_empty() {
            kept.iter().find_map(owner).into_iter().collect()
        } else {
            proven.into_iter().collect()
        }
    }

    fn others(&mut self, person: usize, kept: &[Sighting], said: &mut Verdict) {
        let id = self.people[person].ids[0];
        let mut done = vec![person];
        for one in kept {
            let Some(other) = self.has(&one.identifier).filter(|other| !done.contains(other))
            else {
                continue;
            };
            done.push(other);
            let pair = BTreeSet::from([id, self.people[other].ids[0]]);
            if self.suggestions.contains(&pair) {
                continue;
            }
            if let Some(kind) = self.too_many(&self.union(&[person, other])).first() {
                said.kinds.insert(*kind);
                let theirs = kept.iter().filter(|one| self.has(&one.identifier) == Some(other));
                said.set_aside.extend(theirs.cloned());
            } else {
                said.suggested.push(self.people[other].ids[0]);
                self.suggestions.push(pair);
            }
        }
    }

    fn union(&self, people: &[usize]) -> BTreeSet<Identifier> {
        people.iter().flat_map(|index| self.people[*index].identifiers.clone()).collect()
    }

    fn too_many(&self, identifiers: &BTreeSet<Identifier>) -> Vec<Kind> {
        let count = |kind| identifiers.iter().filter(|one| one.kind() == kind).count();
        Kind::ALL.into_iter().filter(|kind| count(*kind) > self.limits.of(*kind)).collect()
    }

    /// These become one; its id.
    fn merge(&mut self, people: &[usize]) -> CustomerId {
        let mut all: Vec<_> = people.iter().map(|index| self.people[*index].clone()).collect();
        all.sort_by_key(|person| (person.created_at, person.ids[0]));
        let id = all[0].ids[0];
        for gone in &all[1..] {
            let index = self.is(gone.ids[0]).expect("it is there");
            self.people.remove(index);
            let kept = self.is(id).expect("it is there");
            self.people[kept].ids.extend(&gone.ids);
            self.people[kept].identifiers.extend(gone.identifiers.iter().cloned());
        }
        let living = |id: &CustomerId| self.people[self.is(*id).expect("known")].ids[0];
        let mut suggestions: Vec<BTreeSet<_>> =
            self.suggestions.iter().map(|pair| pair.iter().map(living).collect()).collect();
        suggestions.retain(|pair| pair.len() == 2);
        suggestions.sort();
        suggestions.dedup();
        self.suggestions = suggestions;
        id
    }
}

pub(crate) fn is_blocked(identifier: &Identifier) -> bool {
    identifier.to_string() == "member:null"
}

/// Each identifier once: verified before asserted, then by rank, then as they stand.
fn strongest_first(sightings: &[Sighting]) -> Vec<Sighting> {
    let mut once: Vec<Sighting> = Vec::new();
    for one in sightings {
        match once.iter_mut().find(|known| known.identifier == one.identifier) {
            Some(known) => known.verified = known.verified || one.verified,
            None if !is_blocked(&one.identifier) => once.push(one.clone()),
            None => {}
        }
    }
    let mut ordered = Vec::new();
    for verified in [true, false] {
        for kind in Kind::ALL {
            let fits = |one: &&Sighting| (one.verified, one.identifier.kind()) == (verified, kind);
            ordered.extend(once.iter().filter(fits).cloned());
        }
    }
    ordered
}
