use std::collections::BTreeSet;

use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::Event;
use mainstem_domain::person::{Answer, Consent};
use mainstem_domain::{At, CustomerId};

use super::{Given, Model, Named, Noted, Person, last_answer};

/// Somebody else's side of a split, the other side, and what that leaves in pieces.
type Pieces = Vec<BTreeSet<Identifier>>;

impl Model {
    /// These two are one from now on; the first one stays.
    pub(super) fn absorb(&mut self, survivor: CustomerId, absorbed: CustomerId) {
        let seen_at = self.named(absorbed).seen_at.max(self.named(survivor).seen_at);
        self.named_mut(survivor).seen_at = seen_at;
        // Only where one of them has nothing left do the ids say so, and not the evidence.
        if self.named(absorbed).founder.is_none() {
            self.named_mut(absorbed).with = Some(survivor);
        } else if self.named(survivor).founder.is_none() {
            self.named_mut(survivor).with = Some(absorbed);
        }
        // What was said of the one is said of the other; of two proposals the older stays, and
        // that they are two people outlives both.
        for proposal in &mut self.proposals {
            for one in [&mut proposal.customer, &mut proposal.other] {
                if *one == absorbed {
                    *one = survivor;
                }
            }
        }
        let rejected = std::mem::take(&mut self.rejected).into_iter().map(|pair| {
            pair.into_iter().map(|id| if id == absorbed { survivor } else { id }).collect()
        });
        self.rejected = rejected.filter(|pair: &BTreeSet<_>| pair.len() == 2).collect();
        self.proposals.sort_by_key(|one| (one.since, one.id));
        let mut known = self.rejected.clone();
        self.proposals.retain(|one| {
            one.customer != one.other && known.insert(BTreeSet::from([one.customer, one.other]))
        });
        // A person who makes one of two that were cut lifts the cut.
        let person = self.person(survivor).expect("it is there");
        for [left, right] in &mut self.cuts {
            let on = |side: &BTreeSet<_>| !person.identifiers.is_disjoint(side);
            if on(left) && on(right) {
                left.retain(|one| !person.identifiers.contains(one));
                right.retain(|one| !person.identifiers.contains(one));
            }
        }
    }

    /// Takes identifiers from whoever has them; whether the rest falls apart.
    pub(super) fn withdraw(
        &mut self,
        owner: CustomerId,
        taken: &BTreeSet<Identifier>,
        at: At,
        given: &Given<'_>,
    ) -> bool {
        let person = self.person(owner).expect("somebody has them");
        let rest: BTreeSet<_> = person.identifiers.difference(taken).cloned().collect();
        for identifier in taken {
            let had = self.had.remove(identifier).expect("it is had");
            let about: BTreeSet<_> =
                had.answers.iter().map(|(_, c)| (c.means.clone(), c.purpose.clone())).collect();
            // Whoever refused refuses still.
            for (means, purpose) in about {
                let Some((told_at, Answer::Refused)) = last_answer(&had, &means, &purpose) else {
                    continue;
                };
                for one in &rest {
                    let theirs = self.had.get_mut(one).expect("it is had");
                    let refuses = last_answer(theirs, &means, &purpose);
                    if refuses.is_some_and(|(_, answer)| answer == Answer::Refused) {
                        continue;
                    }
                    theirs.answers.retain(|(_, c)| (&c.means, &c.purpose) != (&means, &purpose));
                    let answer = Answer::Refused;
                    let (means, purpose) = (means.clone(), purpose.clone());
                    let consent = Consent { means, purpose, answer };
                    theirs.answers.push((told_at, consent));
                }
            }
            self.ties.retain(|tie| tie.one != *identifier && tie.other != *identifier);
            self.carried.retain(|(carried, ..)| carried != identifier);
        }
        // The rest stays cut off what these were cut off.
        for side in self.cuts.iter_mut().flatten().filter(|side| !side.is_disjoint(taken)) {
            side.retain(|one| !taken.contains(one));
            side.extend(rest.iter().cloned());
        }
        self.found_anew(&person, taken, &rest);
        let pieces = self.pieces(&rest);
        let apart = pieces.len() > 1;
        if apart {
            self.take_apart(&person, &pieces, at, given);
        }
        apart
    }

    /// Whose first identifier is gone begins with the oldest that is left.
    fn found_anew(
        &mut self,
        person: &Person,
        taken: &BTreeSet<Identifier>,
        rest: &BTreeSet<Identifier>,
    ) {
        let oldest = rest.iter().min_by_key(|one| self.seniority(one)).cloned();
        for id in &person.ids {
            let named = self.named_mut(*id);
            if named.founder.as_ref().is_some_and(|founder| taken.contains(founder)) {
                named.founder.clone_from(&oldest);
                named.with = Some(person.ids[0]).filter(|living| living != id);
            }
        }
    }

    /// What is still tied, oldest first.
    pub(super) fn pieces(&self, identifiers: &BTreeSet<Identifier>) -> Pieces {
        let mut pieces: Pieces =
            identifiers.iter().map(|one| BTreeSet::from([one.clone()])).collect();
        for tie in &self.ties {
            let of = |end: &Identifier| pieces.iter().position(|piece| piece.contains(end));
            if let (Some(one), Some(other)) = (of(&tie.one), of(&tie.other))
                && one != other
            {
                let gone = pieces.remove(one.max(other));
                pieces[one.min(other)].extend(gone);
            }
        }
        pieces.sort_by_key(|piece| piece.iter().map(|one| self.seniority(one)).min());
        pieces
    }

    /// A person says that these are somebody else's.
    pub(super) fn split(
        &mut self,
        person: &Person,
        off: &BTreeSet<Identifier>,
        at: At,
        given: &Given<'_>,
    ) {
        self.ties.retain(|tie| {
            let theirs = person.identifiers.contains(&tie.one);
            !theirs || off.contains(&tie.one) == off.contains(&tie.other)
        });
        let pieces = self.pieces(&person.identifiers);
        let (theirs, rest): (Vec<_>, Vec<_>) =
            pieces.iter().cloned().partition(|piece| !piece.is_disjoint(off));
        for one in &theirs {
            self.cuts.extend(rest.iter().map(|other| [one.clone(), other.clone()]));
        }
        self.take_apart(person, &pieces, at, given);
    }

    /// Everybody gets back what began with them; a piece that nobody began with is somebody new.
    fn take_apart(&mut self, person: &Person, pieces: &Pieces, at: At, given: &Given<'_>) {
        let living = person.ids[0];
        let all = pieces.iter().flatten();
        let oldest = all.min_by_key(|one| self.seniority(one)).expect("not empty").clone();
        for id in &person.ids {
            let named = self.named_mut(*id);
            if named.founder.is_none() {
                named.founder = Some(oldest.clone());
            }
        }
        let mut ids = BTreeSet::new();
        for piece in pieces {
            let senior = piece.iter().min_by_key(|one| self.seniority(one)).expect("not empty");
            let began = |named: &&Named| {
                named.founder.as_ref().is_some_and(|founder| piece.contains(founder))
            };
            let first = self.named.iter().filter(began).min_by_key(|one| (one.created_at, one.id));
            let attached = |one: &Identifier| self.had[one].attached_at;
            let last = piece.iter().map(attached).max().expect("not empty");
            if let Some(first) = first.map(|named| named.id) {
                let named = self.named_mut(first);
                if first != living {
                    named.seen_at = last.max(named.created_at);
                }
                ids.insert(first);
            } else {
                let id = given.after.owner(senior).expect("somebody has it");
                let known = self.named.iter().any(|named| named.id == id);
                assert!(!known && !self.gone.contains(&id), "{id} was given before");
                let created_at = attached(senior);
                let founder = Some(senior.clone());
                let new = Named { id, created_at, seen_at: last, founder, with: None };
                self.named.push(new);
                ids.insert(id);
            }
        }
        let of_piece = |one: &Identifier| pieces.iter().any(|piece| piece.contains(one));
        self.carried.retain(|(carried, ..)| !of_piece(carried));
        self.say_again(person, &of_piece, at);
        let split = given.decided.events.iter().find_map(|event| match event {
            Event::Split { id, customer, .. } => (*customer == living).then_some(*id),
            _ => None,
        });
        let split = split.expect("it is said that they are taken apart");
        self.parted.push((split, at, person.ids.iter().copied().collect(), ids.clone()));
        self.splits.insert(split, (living, ids));
    }

    /// What waits is about whoever has now what led to it.
    fn say_again(&mut self, person: &Person, of_piece: &dyn Fn(&Identifier) -> bool, at: At) {
        let living = person.ids[0];
        let now = |model: &Self, by: &[Identifier]| {
            let first = by.iter().find(|one| of_piece(one))?;
            model.owner(first).map(|owner| owner.ids[0])
        };
        let all = std::mem::take(&mut self.proposals);
        for mut proposal in all {
            if proposal.customer == living {
                let Some(customer) = now(self, &proposal.by[..1]) else { continue };
                proposal.customer = customer;
                proposal.since = at;
            } else if proposal.other == living {
                let Some(other) = now(self, &proposal.by[1..]) else { continue };
                proposal.other = other;
                proposal.since = at;
            }
            self.proposals.push(proposal);
        }
        self.rejected.retain(|pair| !pair.contains(&living));
        let mut all: Vec<_> = std::mem::take(&mut self.noted);
        for (_, noted) in &mut all {
            let Noted { customer, by, .. } = noted;
            if person.ids.contains(customer) {
                let by: Vec<_> = by.iter().map(|one| one.identifier.clone()).collect();
                *customer = now(self, &by).unwrap_or(living);
            }
        }
        self.noted = all;
    }
}
