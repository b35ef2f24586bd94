use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::identifier::{Identifier, Kind};
use mainstem_domain::identity::Input;
use mainstem_domain::person::Answer;
use mainstem_domain::{At, CustomerId, SplitId};

use super::{Given, Model, is_blocked};

type Taken = Result<(), &'static str>;

impl Model {
    pub(super) fn command(&mut self, input: &Input, at: At, given: &Given<'_>) -> Taken {
        match input {
            Input::Attach { customer, identifier } => self.attach(*customer, identifier, at),
            Input::Merge { customer, other, validate_only } => {
                self.merge(*customer, *other, *validate_only, at)
            }
            Input::AcceptSuggestion(id) => {
                let proposal = self.proposals.iter().find(|one| one.id == *id);
                let (one, other) =
                    proposal.map(|one| (one.customer, one.other)).ok_or("NOT_FOUND")?;
                self.merge(one, other, false, at)
            }
            Input::RejectSuggestion(id) => {
                let place = self.proposals.iter().position(|one| one.id == *id);
                let proposal = self.proposals.remove(place.ok_or("NOT_FOUND")?);
                self.rejected.insert(BTreeSet::from([proposal.customer, proposal.other]));
                Ok(())
            }
            Input::Split { customer, identifiers, validate_only, .. } => {
                let person = self.person(*customer).ok_or("NOT_FOUND")?;
                let all = identifiers.len() == person.identifiers.len();
                if identifiers.is_empty() || all || !identifiers.is_subset(&person.identifiers) {
                    return Err("INVALID_FIELD");
                }
                if self.splits.values().any(|(customer, _)| *customer == person.ids[0]) {
                    return Err("SPLIT_UNDERWAY");
                }
                if !validate_only {
                    self.split(&person, identifiers, at, given);
                }
                Ok(())
            }
            Input::ReleaseHub(identifier) => {
                self.hubs.remove(identifier).map(|_| ()).ok_or("NOT_FOUND")
            }
            Input::SettleDispute { dispute, customer } => {
                let known = self.disputes.get(dispute).cloned();
                let (identifier, claimants) = known.ok_or("NOT_FOUND")?;
                if let Some(customer) = customer {
                    let person = self.person(*customer).ok_or("NOT_FOUND")?;
                    if !claimants.iter().any(|one| person.ids.contains(one)) {
                        return Err("INVALID_FIELD");
                    }
                    self.room(&person.identifiers, identifier.kind(), at)?;
                    self.give_to(person.ids[0], &identifier, true, at);
                }
                self.disputes.remove(dispute);
                Ok(())
            }
            Input::Erase { customer, force, open_cases, tokens, .. } => {
                let person = self.person(*customer).ok_or("NOT_FOUND")?;
                if !force && !open_cases.is_empty() {
                    return Err("CASES_OPEN");
                }
                if self.splits.keys().any(|split| self.may_be_from(*split, &person.ids)) {
                    return Err("SPLIT_UNDERWAY");
                }
                let consents = self.facts(&person).consents.into_iter().map(|told| told.consent);
                for consent in consents.filter(|consent| consent.answer == Answer::Refused) {
                    for token in person.identifiers.iter().filter_map(|one| tokens.get(one)) {
                        let (means, purpose) = (consent.means.clone(), consent.purpose.clone());
                        self.refused.insert((token.clone(), means, purpose), at);
                    }
                }
                self.erase(&person.ids, &person.identifiers);
                Ok(())
            }
            Input::Moved { split, .. } => {
                self.splits.remove(split);
                if self.splits.is_empty() {
                    self.parted.clear();
                }
                Ok(())
            }
            Input::Hidden { unsend, .. } => {
                self.unsends.remove(unsend);
                Ok(())
            }
            Input::ReportErasure { .. } | Input::Wakeup(_) | Input::Inbound { .. } => Ok(()),
        }
    }

    fn room(&self, identifiers: &BTreeSet<Identifier>, kind: Kind, at: At) -> Taken {
        let room = self.count(identifiers, kind, at) < self.limit(kind);
        room.then_some(()).ok_or("TOO_MANY_IDENTIFIERS")
    }

    fn attach(&mut self, customer: CustomerId, identifier: &Identifier, at: At) -> Taken {
        let person = self.person(customer).ok_or("NOT_FOUND")?;
        if person.identifiers.contains(identifier) {
            return Ok(());
        }
        if self.had.contains_key(identifier) {
            return Err("IDENTIFIER_TAKEN");
        }
        if is_blocked(identifier) {
            return Err("INVALID_FIELD");
        }
        if self.is_withdrawn(identifier) {
            return Err("IDENTIFIER_WITHDRAWN");
        }
        self.room(&person.identifiers, identifier.kind(), at)?;
        self.give_to(person.ids[0], identifier, false, at);
        Ok(())
    }

    /// A person says whose an identifier is.
    fn give_to(&mut self, customer: CustomerId, identifier: &Identifier, verified: bool, at: At) {
        let person = self.person(customer).expect("it is there");
        let strongest = self.strongest(&person);
        self.give(identifier, verified, at);
        match strongest {
            Some(one) => {
                let verified = verified && self.had[&one].verified;
                self.tie(&one, identifier, None, verified, at);
            }
            None => self.named_mut(customer).founder = Some(identifier.clone()),
        }
        let named = self.named_mut(customer);
        if named.founder.is_none() {
            named.founder = Some(identifier.clone());
        }
    }

    fn merge(&mut self, one: CustomerId, other: CustomerId, validate_only: bool, at: At) -> Taken {
        let mut both =
            [self.person(one).ok_or("NOT_FOUND")?, self.person(other).ok_or("NOT_FOUND")?];
        if both[0].ids == both[1].ids {
            return Ok(());
        }
        let union: BTreeSet<_> = both.iter().flat_map(|one| one.identifiers.clone()).collect();
        if Kind::ALL.into_iter().any(|kind| self.count(&union, kind, at) > self.limit(kind)) {
            return Err("TOO_MANY_IDENTIFIERS");
        }
        if validate_only {
            return Ok(());
        }
        both.sort_by_key(|person| (self.named(person.ids[0]).created_at, person.ids[0]));
        if let (Some(one), Some(other)) = (self.strongest(&both[0]), self.strongest(&both[1])) {
            let verified = self.had[&one].verified && self.had[&other].verified;
            self.tie(&one, &other, None, verified, at);
        }
        self.absorb(both[0].ids[0], both[1].ids[0]);
        Ok(())
    }

    /// Whether records of a person may stand under whom a split took apart: it, and every later one
    /// of what came of it, is gone through.
    fn may_be_from(&self, split: SplitId, ids: &[CustomerId]) -> bool {
        let first = self.parted.iter().position(|(id, ..)| *id == split).expect("it is known");
        let (_, began, ..) = &self.parted[first];
        let mut led = BTreeMap::from([(self.splits[&split].0, *began)]);
        loop {
            let before = led.clone();
            for (_, at, of, into) in &self.parted {
                let came = |id| led.get(id).is_some_and(|came: &At| came <= at);
                if of.iter().chain(into).any(came) {
                    for id in into {
                        let known = led.entry(*id).or_insert(*at);
                        *known = (*known).min(*at);
                    }
                }
            }
            if led == before {
                return ids.iter().any(|id| led.contains_key(id));
            }
        }
    }

    fn erase(&mut self, ids: &[CustomerId], identifiers: &BTreeSet<Identifier>) {
        self.had.retain(|identifier, _| !identifiers.contains(identifier));
        self.ties.retain(|tie| !identifiers.contains(&tie.one));
        self.named.retain(|named| !ids.contains(&named.id));
        self.gone.extend(ids);
        self.parted
            .retain(|(_, _, of, into)| !ids.iter().any(|id| of.contains(id) || into.contains(id)));
        self.unsends.retain(|_, (theirs, ..)| theirs.iter().all(|id| !ids.contains(id)));
        for side in self.cuts.iter_mut().flatten() {
            side.retain(|one| !identifiers.contains(one));
        }
        self.proposals.retain(|one| !ids.contains(&one.customer) && !ids.contains(&one.other));
        self.rejected.retain(|pair| ids.iter().all(|id| !pair.contains(id)));
        self.noted.retain(|(_, noted)| !ids.contains(&noted.customer));
        // Of what is erased nothing is known any more, also not who else carried it.
        self.carried.retain(|(carried, carrier, _)| {
            !ids.contains(carrier) && !identifiers.contains(carried)
        });
        // Other people's, too: they stay withdrawn as long as anybody is left who carried them.
        let gone = |id: &CustomerId| ids.contains(id);
        let hubs = std::mem::take(&mut self.hubs).into_iter();
        self.hubs = hubs
            .filter_map(|(identifier, (customer, mut carriers))| {
                if !gone(&customer) {
                    return Some((identifier, (customer, carriers)));
                }
                carriers.retain(|one| !gone(one));
                let first = carriers.first().map(|first| self.current(*first))?;
                Some((identifier, (first, carriers)))
            })
            .collect();
        for (_, claimants) in self.disputes.values_mut() {
            claimants.retain(|one| !ids.contains(one));
        }
        self.disputes.retain(|_, (_, claimants)| !claimants.is_empty());
    }
}
