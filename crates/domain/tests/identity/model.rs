//! The rules once more: a plain list of all evidence, from which people are put together anew
//! whenever somebody asks. It copies nothing of how the decider remembers, and reckons time by hand.

mod apart;
mod commands;
mod inbound;

use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::identifier::{Identifier, Kind};
use mainstem_domain::identity::{Event, Fact, Facts, Input, Source, State, Tie, Told};
use mainstem_domain::person::{Answer, Attribute, Consent, Sighting};
use mainstem_domain::{
    At, ChannelId, ConflictId, CustomerId, DisputeId, EventId, Means, Purpose, SplitId,
    SuggestionId, UnsendId,
};

use crate::story::Under;
use crate::world::Decided;

const DAY: i64 = 86_400_000;

/// Somebody, as the evidence says.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// Oldest first: the living id, then its aliases.
    pub(crate) ids: Vec<CustomerId>,
    pub(crate) identifiers: BTreeSet<Identifier>,
}

/// An id that was given.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    id: CustomerId,
    pub(crate) created_at: At,
    pub(crate) seen_at: At,
    /// What it began with: where that is, there is this id.
    founder: Option<Identifier>,
    /// Where nothing is left that it began with: with whom it is.
    with: Option<CustomerId>,
}

/// An identifier that somebody has.
#[derive(Clone, Debug)]
pub(crate) struct Had {
    pub(crate) verified: bool,
    pub(crate) attached_at: At,
    /// Everything that events which it led ever told.
    told: Vec<(At, Attribute)>,
    /// Every answer that was ever given by whoever had it.
    answers: Vec<(At, Consent)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) id: SuggestionId,
    pub(crate) customer: CustomerId,
    pub(crate) other: CustomerId,
    since: At,
    by: Vec<Identifier>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) customer: CustomerId,
    pub(crate) others: Vec<CustomerId>,
    pub(crate) set_aside: Vec<Sighting>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) cannot_link: bool,
    pub(crate) by: Vec<Sighting>,
}

/// What should come of an input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing at all.
    Silence,
    /// It came before, and holds what was taken back since.
    TakenBack,
    /// The event is this customer's.
    Belongs(Option<CustomerId>),
    /// The command is taken.
    Taken,
    /// It is refused for this reason.
    Refused(&'static str),
}

/// See the module.
pub(crate) struct Model {
    limits: BTreeMap<Kind, (usize, Option<i64>)>,
    hub: (usize, i64),
    pub(crate) named: Vec<Named>,
    pub(crate) had: BTreeMap<Identifier, Had>,
    pub(crate) ties: Vec<Tie>,
    /// Who must not come together with whom.
    cuts: Vec<[BTreeSet<Identifier>; 2]>,
    pub(crate) proposals: Vec<Proposal>,
    rejected: BTreeSet<BTreeSet<CustomerId>>,
    pub(crate) noted: Vec<(ConflictId, Noted)>,
    /// Who carried what somebody else had, and when.
    carried: Vec<(Identifier, CustomerId, At)>,
    /// Who had it, and who carried it.
    pub(crate) hubs: BTreeMap<Identifier, (CustomerId, Vec<CustomerId>)>,
    pub(crate) disputes: BTreeMap<DisputeId, (Identifier, Vec<CustomerId>)>,
    pub(crate) splits: BTreeMap<SplitId, (CustomerId, BTreeSet<CustomerId>)>,
    /// Every split since any is under way: when, of which ids, into whom.
    parted: Vec<(SplitId, At, BTreeSet<CustomerId>, BTreeSet<CustomerId>)>,
    /// What people who are gone refused, by the token of each identifier.
    refused: BTreeMap<(String, Means, Purpose), At>,
    gone: BTreeSet<CustomerId>,
    seen: Vec<(At, ChannelId, EventId)>,
    taken_back: Vec<(At, ChannelId, String)>,
    /// Who may hold a message that was taken back: the living id, then the others in any order.
    pub(crate) unsends: BTreeMap<UnsendId, (Vec<CustomerId>, ChannelId, String)>,
}

/// What the decider gave that is its own affair: the ids of what is new.
struct Given<'a> {
    decided: &'a Decided,
    after: &'a State,
}

impl Model {
    pub(crate) fn under(under: Under) -> Self {
        let limit = |kind| match (under, kind) {
            (Under::Narrow, Kind::Member | Kind::Email) | (Under::Windows, Kind::Member) => {
                (1, None)
            }
            (Under::Narrow, Kind::Phone | Kind::Line | Kind::External) => (2, None),
            (Under::Narrow, Kind::Cookie) => (3, None),
            (Under::Windows, Kind::Phone | Kind::Cookie) => (2, Some(30 * DAY)),
            (Under::Windows, Kind::Email | Kind::External) => (1, Some(7 * DAY)),
            (Under::Windows, Kind::Line) => (2, Some(365 * DAY)),
            (Under::Wide, _) => (1_000, None),
        };
        Self {
            limits: Kind::ALL.into_iter().map(|kind| (kind, limit(kind))).collect(),
            hub: if matches!(under, Under::Wide) { (60, 30 * DAY) } else { (3, 7 * DAY) },
            named: Vec::new(),
            had: BTreeMap::new(),
            ties: Vec::new(),
            cuts: Vec::new(),
            proposals: Vec::new(),
            rejected: BTreeSet::new(),
            noted: Vec::new(),
            carried: Vec::new(),
            hubs: BTreeMap::new(),
            disputes: BTreeMap::new(),
            splits: BTreeMap::new(),
            parted: Vec::new(),
            refused: BTreeMap::new(),
            gone: BTreeSet::new(),
            seen: Vec::new(),
            taken_back: Vec::new(),
            unsends: BTreeMap::new(),
        }
    }

    /// Takes what the decider took, and says what should have come of it.
    pub(crate) fn run(
        &mut self,
        input: &Input,
        decided: &Decided,
        after: &State,
        at: At,
    ) -> Outcome {
        let given = Given { decided, after };
        match input {
            Input::Inbound { event, tokens } => self.inbound(event, tokens, at, &given),
            _ => self.command(input, at, &given).map_or_else(Outcome::Refused, |()| Outcome::Taken),
        }
    }

    /// Everybody: what is tied, and who began with it, joined until nothing joins any more.
    pub(crate) fn people(&self) -> Vec<Person> {
        let mut sets: Vec<(BTreeSet<&Identifier>, BTreeSet<CustomerId>)> = Vec::new();
        sets.extend(self.had.keys().map(|one| (BTreeSet::from([one]), BTreeSet::new())));
        sets.extend(self.named.iter().map(|one| (BTreeSet::new(), BTreeSet::from([one.id]))));
        for tie in &self.ties {
            join(&mut sets, |(had, _)| had.contains(&tie.one), |(had, _)| had.contains(&tie.other));
        }
        for one in &self.named {
            let is = |(_, ids): &(_, BTreeSet<CustomerId>)| ids.contains(&one.id);
            if let Some(founder) = &one.founder {
                join(&mut sets, is, |(had, _)| had.contains(founder));
            } else if let Some(with) = one.with {
                join(&mut sets, is, |(_, ids)| ids.contains(&with));
            }
        }
        let age = |id: &CustomerId| (self.named(*id).created_at, *id);
        sets.into_iter()
            .map(|(had, ids)| {
                let mut ids: Vec<_> = ids.into_iter().collect();
                ids.sort_by_key(age);
                Person { ids, identifiers: had.into_iter().cloned().collect() }
            })
            .collect()
    }

    pub(crate) fn named(&self, id: CustomerId) -> &Named {
        self.named.iter().find(|named| named.id == id).expect("the id was given")
    }

    fn named_mut(&mut self, id: CustomerId) -> &mut Named {
        self.named.iter_mut().find(|named| named.id == id).expect("the id was given")
    }

    pub(crate) fn owner(&self, identifier: &Identifier) -> Option<Person> {
        self.people().into_iter().find(|person| person.identifiers.contains(identifier))
    }

    fn person(&self, id: CustomerId) -> Option<Person> {
        self.people().into_iter().find(|person| person.ids.contains(&id))
    }

    fn current(&self, id: CustomerId) -> CustomerId {
        self.person(id).map_or(id, |person| person.ids[0])
    }

    /// How many of a kind somebody has that count.
    fn count<'a>(
        &self,
        identifiers: impl IntoIterator<Item = &'a Identifier>,
        kind: Kind,
        at: At,
    ) -> usize {
        let counts = |one: &&Identifier| {
            let since = at.as_millis() - self.had[*one].attached_at.as_millis();
            one.kind() == kind && self.limits[&kind].1.is_none_or(|window| since < window)
        };
        identifiers.into_iter().filter(counts).count()
    }

    fn limit(&self, kind: Kind) -> usize {
        self.limits[&kind].0
    }

    fn are_cut(&self, people: &[Person]) -> bool {
        let on = |person: &Person, side: &BTreeSet<_>| !person.identifiers.is_disjoint(side);
        self.cuts.iter().any(|[left, right]| {
            people.iter().enumerate().any(|(number, one)| {
                let others = people.iter().enumerate().filter(|(other, _)| *other != number);
                on(one, left) && others.into_iter().any(|(_, other)| on(other, right))
            })
        })
    }

    fn is_withdrawn(&self, identifier: &Identifier) -> bool {
        self.hubs.contains_key(identifier)
            || self.disputes.values().any(|(disputed, _)| disputed == identifier)
    }

    /// Verified before asserted, then by rank, then in their order.
    fn strongest(&self, person: &Person) -> Option<Identifier> {
        let strength = |one: &&Identifier| (!self.had[*one].verified, one.kind(), (*one).clone());
        person.identifiers.iter().min_by_key(strength).cloned()
    }

    fn seniority(&self, identifier: &Identifier) -> (At, Identifier) {
        (self.had[identifier].attached_at, identifier.clone())
    }

    fn give(&mut self, identifier: &Identifier, verified: bool, at: At) {
        let had = Had { verified, attached_at: at, told: Vec::new(), answers: Vec::new() };
        assert!(self.had.insert(identifier.clone(), had).is_none(), "{identifier} was had before");
    }

    /// One more piece of evidence, unless there is one for these two.
    fn tie(
        &mut self,
        one: &Identifier,
        other: &Identifier,
        by: Option<Source>,
        verified: bool,
        at: At,
    ) {
        let (one, other) = if one < other { (one, other) } else { (other, one) };
        if one != other && !self.ties.iter().any(|tie| (&tie.one, &tie.other) == (one, other)) {
            let (one, other) = (one.clone(), other.clone());
            self.ties.push(Tie { one, other, source: by, verified, at });
        }
    }

    /// What is known of a person: of each attribute the verified, then the newest value; of
    /// consents the strictest, of each identifier the last one.
    pub(crate) fn facts(&self, person: &Person) -> Facts {
        let all = || person.identifiers.iter().map(|one| &self.had[one]);
        let names: BTreeSet<_> = all().flat_map(|had| &had.told).map(|(_, a)| &a.name).collect();
        let attributes = names.into_iter().map(|name| {
            let told = all().flat_map(|had| &had.told).filter(|(_, a)| a.name == *name);
            let best = told.max_by_key(|(at, a)| (a.verified, *at, &a.value));
            let (told_at, attribute) = best.expect("somebody told it").clone();
            Fact { attribute, told_at }
        });
        let about: BTreeSet<_> =
            all().flat_map(|had| &had.answers).map(|(_, c)| (&c.means, &c.purpose)).collect();
        let consents = about.into_iter().map(|(means, purpose)| {
            let last = |had: &Had| last_answer(had, means, purpose);
            let answers: Vec<_> = all().filter_map(last).collect();
            let answer = answers.iter().map(|(_, answer)| *answer).max().expect("somebody said");
            let first = answers.iter().filter(|(_, one)| *one == answer).map(|(at, _)| *at).min();
            let consent = Consent { means: means.clone(), purpose: purpose.clone(), answer };
            Told { consent, told_at: first.expect("somebody said") }
        });
        Facts { attributes: attributes.collect(), consents: consents.collect() }
    }
}

/// The last answer; of two of the same moment the stricter.
fn last_answer(had: &Had, means: &Means, purpose: &Purpose) -> Option<(At, Answer)> {
    let about = had.answers.iter().filter(|(_, c)| (&c.means, &c.purpose) == (means, purpose));
    about.map(|(at, consent)| (*at, consent.answer)).max()
}

/// Makes the sets that these two are in one.
fn join<'a>(
    sets: &mut Vec<(BTreeSet<&'a Identifier>, BTreeSet<CustomerId>)>,
    one: impl Fn(&(BTreeSet<&'a Identifier>, BTreeSet<CustomerId>)) -> bool,
    other: impl Fn(&(BTreeSet<&'a Identifier>, BTreeSet<CustomerId>)) -> bool,
) {
    let (Some(one), Some(other)) = (sets.iter().position(one), sets.iter().position(other)) else {
        panic!("evidence about nothing that is had");
    };
    if one != other {
        let (keep, gone) = (one.min(other), one.max(other));
        let (had, ids) = sets.remove(gone);
        sets[keep].0.extend(had);
        sets[keep].1.extend(ids);
    }
}

pub(crate) fn is_blocked(identifier: &Identifier) -> bool {
    identifier.to_string() == "member:null"
}

impl Given<'_> {
    fn created(&self) -> CustomerId {
        let created = self.decided.events.iter().find_map(|event| match event {
            Event::Created { customer, .. } => Some(*customer),
            _ => None,
        });
        created.expect("somebody new")
    }
}
