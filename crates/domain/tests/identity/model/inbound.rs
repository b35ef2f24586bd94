use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::identifier::{Identifier, Kind};
use mainstem_domain::identity::{Event, Source};
use mainstem_domain::person::{Act, Answer, ChannelEvent, Consent, Sighting};
use mainstem_domain::{At, ChannelId, CustomerId};

use super::{DAY, Given, Model, Named, Noted, Outcome, Person, Proposal, is_blocked, last_answer};

/// What an event ties, while it is read.
#[derive(Default)]
struct Reading {
    kept: Vec<Sighting>,
    set_aside: Vec<Sighting>,
    kinds: BTreeSet<Kind>,
    cut: bool,
}

impl Model {
    pub(super) fn inbound(
        &mut self,
        event: &ChannelEvent,
        tokens: &[String],
        at: At,
        given: &Given<'_>,
    ) -> Outcome {
        let again = |(seen, channel, id): &(At, _, _)| {
            (channel, id) == (&event.channel, &event.id)
                && at.as_millis() - seen.as_millis() <= 3 * DAY
        };
        let again = self.seen.iter().any(again);
        let known = self.taken_back.iter().any(|(since, channel, message)| {
            (channel, Some(message.as_str())) == (&event.channel, event.message.as_deref())
                && at.as_millis() - since.as_millis() <= 3 * DAY
        });
        let message = match &event.act {
            Act::Unsend(message) => (!again).then(|| message.clone()),
            _ => event.message.as_deref().filter(|_| known).map(str::to_owned),
        };
        if again {
            let Some(message) = message else { return Outcome::Silence };
            let mut kept = strongest_first(&event.sightings);
            kept.retain(|one| !self.is_withdrawn(&one.identifier));
            let person = kept.iter().find_map(|one| self.owner(&one.identifier));
            self.take_back(event, message, person, at, given);
            return Outcome::TakenBack;
        }
        self.seen.push((at, event.channel.clone(), event.id.clone()));

        let mut kept = strongest_first(&event.sightings);
        kept.retain(|one| !self.is_withdrawn(&one.identifier));
        if kept.is_empty() {
            if let Some(message) = message {
                self.take_back(event, message, None, at, given);
            }
            return Outcome::Belongs(None);
        }
        let order = kept.clone();
        let mut reading = Reading { kept, ..Reading::default() };
        let group = self.read(&mut reading, at);
        let fresh: Vec<_> = reading.kept.iter().filter(|one| self.is_new(one)).cloned().collect();
        let leads = |one: &&Sighting| group.iter().any(|p| p.identifiers.contains(&one.identifier));
        let lead = reading.kept.iter().find(leads).unwrap_or(&reading.kept[0]).clone();
        let before = self.people();
        let customer = self.bring_together(event, (&lead, &reading.kept), &group, at, given);
        if let Some(message) = message {
            self.take_back(event, message, self.person(customer), at, given);
        }
        let lead = lead.identifier;
        self.named_mut(customer).seen_at = at;
        self.tell((event, tokens), (customer, &lead), &fresh, at);

        let owners: BTreeMap<Identifier, Person> = order
            .iter()
            .filter_map(|one| {
                let owner = before.iter().find(|p| p.identifiers.contains(&one.identifier))?;
                let is_other = group.iter().all(|person| person.ids[0] != owner.ids[0]);
                is_other.then(|| (one.identifier.clone(), owner.clone()))
            })
            .collect();
        let proposals = self.propose((customer, &lead), &mut reading, &owners, at);
        let place = |one: &Sighting| order.iter().position(|other| other == one);
        reading.set_aside.sort_by_key(place);
        let disputed = self.claimed(customer, &reading, &owners);
        self.note(customer, &reading, &disputed, &owners, given);
        let hubs = self.count_carriers(customer, &reading, &disputed, &owners, at);

        self.hubs.extend(hubs.clone());
        let mut taken: BTreeMap<CustomerId, BTreeSet<Identifier>> = BTreeMap::new();
        for identifier in hubs.into_keys().chain(disputed.iter().map(|one| one.identifier.clone()))
        {
            taken.entry(owners[&identifier].ids[0]).or_default().insert(identifier);
        }
        let mut fallen = BTreeSet::new();
        for (owner, identifiers) in taken {
            if self.withdraw(owner, &identifiers, at, given) {
                fallen.insert(owner);
            }
        }
        for event in &given.decided.events {
            if let Event::Disputed { id, identifier, claimants, .. } = event {
                self.disputes.insert(*id, (identifier.clone(), claimants.clone()));
            }
        }
        for disputed in &disputed {
            let claimants = vec![owners[&disputed.identifier].ids[0], customer];
            let known = self
                .disputes
                .values()
                .any(|one| one == &(disputed.identifier.clone(), claimants.clone()));
            assert!(known, "{} is disputed", disputed.identifier);
        }
        self.proposals.extend(proposals.into_iter().filter_map(|(other, by)| {
            if fallen.contains(&other) {
                return None;
            }
            let id = given.decided.events.iter().find_map(|event| match event {
                Event::Suggested { id, customer: one, other: two, .. } => {
                    ((*one, *two) == (customer, other)).then_some(*id)
                }
                _ => None,
            });
            let id = id.unwrap_or_else(|| panic!("{customer} and {other} may be one"));
            Some(Proposal { id, customer, other, since: at, by })
        }));
        Outcome::Belongs(Some(customer))
    }

    fn take_back(
        &mut self,
        event: &ChannelEvent,
        message: String,
        person: Option<Person>,
        at: At,
        given: &Given<'_>,
    ) {
        let new = given.decided.events.iter().find_map(|event| match event {
            Event::Unsent { id, .. } => Some(*id),
            _ => None,
        });
        let ids = person.map(|person| person.ids).unwrap_or_default();
        let unsend = (ids, event.channel.clone(), message.clone());
        self.unsends.insert(new.expect("it is taken back"), unsend);
        let lately = |(since, channel, known): &(At, ChannelId, String)| {
            (channel, known) == (&event.channel, &message)
                && at.as_millis() - since.as_millis() <= 3 * DAY
        };
        if !self.taken_back.iter().any(lately) {
            self.taken_back.push((at, event.channel.clone(), message));
        }
    }

    fn is_new(&self, one: &Sighting) -> bool {
        !self.had.contains_key(&one.identifier)
    }

    /// Sets the weakest aside until nothing stands against the rest. Who becomes one.
    fn read(&self, reading: &mut Reading, at: At) -> Vec<Person> {
        loop {
            let group = self.group(&reading.kept);
            if reading.kept.len() == 1 {
                return group;
            }
            let several = group.len() > 1;
            let too_many = Kind::ALL.into_iter().find(|kind| {
                let new = reading.kept.iter().filter(|one| self.is_new(one));
                let new = new.filter(|one| one.identifier.kind() == *kind).count();
                let have: usize =
                    group.iter().map(|one| self.count(&one.identifiers, *kind, at)).sum();
                (several || new > 0) && have + new > self.limit(*kind)
            });
            match too_many {
                Some(kind) => {
                    reading.kinds.insert(kind);
                }
                None if self.are_cut(&group) => reading.cut = true,
                None => return group,
            }
            reading.set_aside.extend(reading.kept.pop());
        }
    }

    /// Those that verified identifiers lead to; else the owner of the first that is known.
    fn group(&self, kept: &[Sighting]) -> Vec<Person> {
        let people = self.people();
        let has = |person: &Person, one: &Sighting| person.identifiers.contains(&one.identifier);
        let proven: Vec<_> = people
            .iter()
            .filter(|person| kept.iter().any(|one| one.verified && has(person, one)))
            .cloned()
            .collect();
        if !proven.is_empty() {
            return proven;
        }
        let first = kept.iter().find_map(|one| people.iter().find(|person| has(person, one)));
        first.cloned().into_iter().collect()
    }

    /// Whose the event is; they are one then, and the event is evidence of it.
    fn bring_together(
        &mut self,
        event: &ChannelEvent,
        (lead, kept): (&Sighting, &[Sighting]),
        group: &[Person],
        at: At,
        given: &Given<'_>,
    ) -> CustomerId {
        let source = Source { channel: event.channel.clone(), event: event.id.clone() };
        let fresh = kept.iter().find(|one| self.is_new(one)).cloned();
        let mut group: Vec<_> = group.to_vec();
        group.sort_by_key(|person| (self.named(person.ids[0]).created_at, person.ids[0]));
        let customer = group.first().map(|person| person.ids[0]);
        let theirs = |one: &&Sighting| {
            !self.had.contains_key(&one.identifier)
                || group.iter().any(|person| person.identifiers.contains(&one.identifier))
        };
        let theirs: Vec<Sighting> = kept.iter().filter(theirs).cloned().collect();
        let mut ties = Vec::new();
        for one in &theirs {
            let new = self.is_new(one);
            if new {
                self.give(&one.identifier, one.verified, at);
            } else {
                self.had.get_mut(&one.identifier).expect("had").verified |= one.verified;
            }
            // What is new is tied to what led there, and all to the strongest.
            for center in [&theirs[0]].into_iter().chain(new.then_some(lead)) {
                let verified = center.verified && one.verified;
                ties.push((center.identifier.clone(), one.identifier.clone(), verified));
            }
        }
        for (center, one, verified) in ties {
            self.tie(&center, &one, Some(source.clone()), verified, at);
        }
        let Some(customer) = customer else {
            let id = given.created();
            let known = self.named.iter().any(|named| named.id == id) || self.gone.contains(&id);
            assert!(!known, "{id} was given before");
            let founder = Some(lead.identifier.clone());
            self.named.push(Named { id, created_at: at, seen_at: at, founder, with: None });
            return id;
        };
        // What a merge is proven by belongs together, too.
        let proof = |person: &Person| {
            let proves =
                |one: &&Sighting| one.verified && person.identifiers.contains(&one.identifier);
            kept.iter().find(proves).map(|one| one.identifier.clone()).expect("it is proven")
        };
        for absorbed in group.iter().skip(1) {
            let (one, other) = (proof(&group[0]), proof(absorbed));
            self.tie(&one, &other, Some(source.clone()), true, at);
            self.absorb(customer, absorbed.ids[0]);
        }
        if self.named(customer).founder.is_none()
            && let Some(fresh) = fresh
        {
            self.named_mut(customer).founder = Some(fresh.identifier);
        }
        customer
    }

    fn tell(
        &mut self,
        (event, tokens): (&ChannelEvent, &[String]),
        (customer, lead): (CustomerId, &Identifier),
        fresh: &[Sighting],
        at: At,
    ) {
        let told_at = event.occurred_at.min(at);
        let told = event.attributes.iter().map(|attribute| (told_at, attribute.clone()));
        self.had.get_mut(lead).expect("had").told.extend(told);
        // What is older than anything that this person answered changes nothing.
        let person = self.person(customer).expect("it is there");
        let is_late = |consent: &&Consent| {
            let said = Some((told_at, consent.answer));
            let own = last_answer(&self.had[lead], &consent.means, &consent.purpose);
            person.identifiers.iter().any(|one| {
                let last = last_answer(&self.had[one], &consent.means, &consent.purpose);
                // Of the same moment it still stands on what is new with it, and when what led
                // there has not said as much.
                last > said || (last == said && fresh.is_empty() && own >= said)
            })
        };
        let answers = event.consents.iter().filter(|consent| !is_late(consent));
        let mut answers: Vec<_> = answers.map(|consent| (told_at, consent.clone())).collect();
        // Whoever was erased and had refused refuses still, unless a later answer says otherwise.
        for (sighting, token) in event.sightings.iter().zip(tokens) {
            if fresh.iter().any(|one| one.identifier == sighting.identifier) {
                let of_token = self.refused.iter().filter(|((known, ..), _)| known == token);
                answers.extend(of_token.map(|((_, means, purpose), erased_at)| {
                    let (means, purpose) = (means.clone(), purpose.clone());
                    (*erased_at, Consent { means, purpose, answer: Answer::Refused })
                }));
            }
        }
        for identifier in &person.identifiers {
            self.had.get_mut(identifier).expect("had").answers.extend(answers.iter().cloned());
        }
    }

    /// Who else may be the customer, with what led there.
    fn propose(
        &mut self,
        (customer, lead): (CustomerId, &Identifier),
        reading: &mut Reading,
        owners: &BTreeMap<Identifier, Person>,
        at: At,
    ) -> Vec<(CustomerId, Vec<Identifier>)> {
        let person = self.person(customer).expect("it is there");
        let mut proposals = Vec::new();
        let mut done = Vec::new();
        for one in &reading.kept {
            let Some(owner) = owners.get(&one.identifier) else { continue };
            if done.contains(&owner.ids[0]) {
                continue;
            }
            done.push(owner.ids[0]);
            let pair = BTreeSet::from([customer, owner.ids[0]]);
            let proposed = |one: &Proposal| BTreeSet::from([one.customer, one.other]) == pair;
            if self.rejected.contains(&pair) || self.proposals.iter().any(proposed) {
                continue;
            }
            let both = || person.identifiers.iter().chain(&owner.identifiers);
            let too_many = Kind::ALL
                .into_iter()
                .find(|kind| self.count(both(), *kind, at) > self.limit(*kind));
            let theirs = || {
                reading.kept.iter().filter(|one| {
                    owners.get(&one.identifier).is_some_and(|other| other.ids[0] == owner.ids[0])
                })
            };
            if let Some(kind) = too_many {
                reading.kinds.insert(kind);
                reading.set_aside.extend(theirs().cloned());
            } else if self.are_cut(&[person.clone(), owner.clone()]) {
                reading.cut = true;
                reading.set_aside.extend(theirs().cloned());
            } else {
                let mut by = vec![lead.clone()];
                by.extend(theirs().map(|one| one.identifier.clone()));
                proposals.push((owner.ids[0], by));
            }
        }
        proposals
    }

    /// What was set aside although it is verified now for one member, and was for another.
    fn claimed(
        &self,
        customer: CustomerId,
        reading: &Reading,
        owners: &BTreeMap<Identifier, Person>,
    ) -> Vec<Sighting> {
        let is_member =
            |person: &Person| person.identifiers.iter().any(|one| one.kind() == Kind::Member);
        let person = self.person(customer).expect("it is there");
        let claimed = |one: &&Sighting| {
            matches!(one.identifier.kind(), Kind::Phone | Kind::Email)
                && one.verified
                && owners.get(&one.identifier).is_some_and(is_member)
                && self.had[&one.identifier].verified
                && is_member(&person)
                && reading.kinds.contains(&Kind::Member)
        };
        reading.set_aside.iter().filter(claimed).cloned().collect()
    }

    fn note(
        &mut self,
        customer: CustomerId,
        reading: &Reading,
        disputed: &[Sighting],
        owners: &BTreeMap<Identifier, Person>,
        given: &Given<'_>,
    ) {
        let aside = reading.set_aside.iter().filter(|one| !disputed.contains(one));
        let set_aside: Vec<_> = aside.cloned().collect();
        let identifiers =
            |all: &[Sighting]| all.iter().map(|one| one.identifier.clone()).collect::<Vec<_>>();
        let same = |noted: &Noted| {
            noted.customer == customer && identifiers(&noted.set_aside) == identifiers(&set_aside)
        };
        if set_aside.is_empty() || self.noted.iter().any(|(_, noted)| same(noted)) {
            return;
        }
        let mut others = Vec::new();
        for owner in set_aside.iter().filter_map(|one| owners.get(&one.identifier)) {
            if !others.contains(&owner.ids[0]) {
                others.push(owner.ids[0]);
            }
        }
        let known: BTreeSet<_> = self.noted.iter().map(|(id, _)| *id).collect();
        let id = given.decided.events.iter().find_map(|event| match event {
            Event::Conflicted { id, .. } if !known.contains(id) => Some(*id),
            _ => None,
        });
        let id = id.unwrap_or_else(|| panic!("{set_aside:?} is set aside for {customer}"));
        let by = reading.kept.first().cloned().into_iter().collect();
        let kinds = reading.kinds.iter().copied().collect();
        let cannot_link = reading.cut;
        self.noted.push((id, Noted { customer, others, set_aside, kinds, cannot_link, by }));
    }

    /// Whoever carries what somebody else has is counted; what too many carry is a hub.
    fn count_carriers(
        &mut self,
        customer: CustomerId,
        reading: &Reading,
        disputed: &[Sighting],
        owners: &BTreeMap<Identifier, Person>,
        at: At,
    ) -> BTreeMap<Identifier, (CustomerId, Vec<CustomerId>)> {
        let mut hubs = BTreeMap::new();
        let all: BTreeSet<_> =
            reading.kept.iter().chain(&reading.set_aside).map(|one| &one.identifier).collect();
        for identifier in all {
            let Some(owner) = owners.get(identifier) else { continue };
            if disputed.iter().any(|one| one.identifier == *identifier) {
                continue;
            }
            self.carried.push((identifier.clone(), customer, at));
            let mut last: BTreeMap<CustomerId, usize> = BTreeMap::new();
            for (place, (carried, carrier, when)) in self.carried.iter().enumerate() {
                if carried == identifier && at.as_millis() - when.as_millis() < self.hub.1 {
                    last.insert(*carrier, place);
                }
            }
            let mut order: Vec<_> = last.into_iter().collect();
            order.sort_by_key(|(_, place)| *place);
            let mut carriers: Vec<CustomerId> = Vec::new();
            for (carrier, _) in order {
                let carrier = self.current(carrier);
                if ![customer, owner.ids[0]].contains(&carrier) && !carriers.contains(&carrier) {
                    carriers.push(carrier);
                }
            }
            carriers.push(customer);
            // Whoever has it counts as one.
            if carriers.len() + 1 > self.hub.0 {
                self.carried.retain(|(carried, ..)| carried != identifier);
                hubs.insert(identifier.clone(), (owner.ids[0], carriers));
            }
        }
        hubs
    }
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
