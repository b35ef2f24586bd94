//! What notification remembers, and how events change it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

use super::event::{Event, Portion};
use super::person::{Consent, Person, Place, Push, insert};
use super::request::{Class, Deferred, Item, Outcome, Standing, Way};
use crate::custody::{self, Custody, Owner, Partings};
use crate::person::Carrier;
use crate::shelf::Shelf;
use crate::{At, ChannelId, CustomerId, ItemId, Refusal, RefusalCode};

/// What has ended is remembered for this long after its end: longer than LINE remembers a retry
/// key (24 h) and than a sender may try (23 h). Its records stay in the ledger.
pub const SETTLED_FOR: Duration = Duration::from_hours(72);

/// The reason of the refusal of an item whose customer was erased.
pub const ITEM_ERASED: &str = "ITEM_ERASED";

/// What notification remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    people: Shelf<CustomerId, Arc<Person>>,
    /// Customers who moved, and the survivor that has all of theirs now: a request that was
    /// decided before the merge may come after it.
    aliases: OrdMap<CustomerId, CustomerId>,
    deliveries: Shelf<ItemId, Standing>,
    /// Those that are deferred, by the moment at which they are looked at again, then by the one at
    /// which they were asked for.
    due: OrdSet<(At, At, ItemId)>,
    /// Those that have ended, and void ones, by the moment of their end, in the order of their ids.
    ended: OrdMap<At, SmallVec<[ItemId; 1]>>,
    /// Items of customers who were erased, that a sender may still ask about.
    void: OrdSet<ItemId>,
    /// How many requests are on their way by push, by account.
    pushes: OrdMap<ChannelId, u64>,
    custody: Custody,
    partings: Partings,
}

/// A request with its id, as commands are answered and reads are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The id.
    pub id: ItemId,
    /// Where it stands.
    pub standing: Standing,
}

impl State {
    /// A request by the id of its item.
    #[must_use]
    pub fn delivery(&self, id: ItemId) -> Option<Delivery> {
        self.deliveries.get(&id).map(|standing| Delivery { id, standing: standing.clone() })
    }

    /// The requests of a customer; the one that was asked for last is the first. What ended longer
    /// than [`SETTLED_FOR`] ago stands in the ledger alone.
    #[must_use]
    pub fn deliveries_of(&self, customer: CustomerId) -> Vec<Delivery> {
        let of = |(id, standing): (ItemId, &Standing)| Delivery { id, standing: standing.clone() };
        let mut deliveries: Vec<_> = self.standings_of(customer).map(of).collect();
        let age = |delivery: &Delivery| (delivery.standing.asked_at(), delivery.id);
        deliveries.sort_unstable_by_key(|delivery| std::cmp::Reverse(age(delivery)));
        deliveries
    }

    /// Requests that have not ended.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.deliveries.values().filter(|standing| standing.outcome().is_none()).count()
    }

    /// Requests that wait for quiet hours to end or for the budget.
    #[must_use]
    pub fn deferred_count(&self) -> usize {
        self.due.len()
    }

    /// Requests that are on their way by push on an account.
    #[must_use]
    pub fn pushes_on(&self, channel: &ChannelId) -> u64 {
        self.pushes.get(channel).copied().unwrap_or(0)
    }

    /// Splits and erasures that are under way.
    #[must_use]
    pub fn custody(&self) -> &Custody {
        &self.custody
    }

    /// What is known of a person.
    #[must_use]
    pub fn person(&self, customer: CustomerId) -> Option<&Person> {
        self.people.get(&self.current(customer)).map(Arc::as_ref)
    }

    pub(super) fn next_due(&self) -> Option<At> {
        self.due.get_min().map(|(at, _, _)| *at)
    }

    /// The deferred request that is looked at next, if its time has come.
    pub(super) fn due_at(&self, at: At) -> Option<ItemId> {
        let (until, _, id) = self.due.get_min()?;
        (*until <= at).then_some(*id)
    }

    /// A request that waits.
    pub(super) fn deferred(&self, id: ItemId) -> Option<Arc<Deferred>> {
        match self.deliveries.get(&id)? {
            Standing::Deferred(deferred) => Some(Arc::clone(deferred)),
            Standing::Queued(_) | Standing::Ended(_) => None,
        }
    }

    /// Whose a request is that may have been decided before a merge, a split or an erasure; `None`
    /// when the customer was erased.
    pub(super) fn whose(
        &self,
        customer: CustomerId,
        carrier: Option<Carrier>,
    ) -> Option<CustomerId> {
        let customer = match self.custody.owner(customer, carrier) {
            Owner::Same => self.current(customer),
            Owner::Other(owner) => owner,
            Owner::Nobody => return None,
        };
        Some(customer).filter(|customer| !self.custody.is_erased(*customer))
    }

    pub(super) fn current(&self, customer: CustomerId) -> CustomerId {
        self.aliases.get(&customer).copied().unwrap_or(customer)
    }

    /// Whether anything is known of exactly this id.
    pub(super) fn knows(&self, customer: CustomerId) -> bool {
        self.people.contains_key(&customer)
    }

    pub(super) fn known(&self, id: ItemId) -> Result<&Standing, Refusal> {
        if self.void.contains(&id) {
            return Err(Refusal::new(
                RefusalCode::FailedPrecondition,
                ITEM_ERASED,
                format!("the customer of item {id} was erased; drop it"),
            ));
        }
        self.deliveries.get(&id).ok_or_else(|| Refusal::not_found("item", id.as_str()))
    }

    /// What was asked for under this id, and under those that it absorbed or was absorbed by.
    pub(super) fn standings_of(
        &self,
        customer: CustomerId,
    ) -> impl Iterator<Item = (ItemId, &Standing)> {
        let ids = self.person(customer).into_iter().flat_map(|person| &person.deliveries);
        ids.filter_map(|id| Some((*id, self.deliveries.get(id)?)))
    }

    /// The deferred requests of a person; the one that was asked for first is the first.
    pub(super) fn deferred_of(&self, customer: CustomerId) -> Vec<(ItemId, Arc<Deferred>)> {
        let deferred = |(id, standing): (ItemId, &Standing)| match standing {
            Standing::Deferred(deferred) => Some((id, Arc::clone(deferred))),
            Standing::Queued(_) | Standing::Ended(_) => None,
        };
        let ids = self.person(customer).into_iter().flat_map(|person| &person.rare().deferred);
        let standings = ids.filter_map(|id| Some((*id, self.deliveries.get(id)?)));
        let mut found: Vec<_> = standings.filter_map(deferred).collect();
        found.sort_unstable_by_key(|(id, deferred)| (deferred.request.asked_at, *id));
        found
    }

    fn edit(&mut self, customer: CustomerId, change: impl FnOnce(&mut Person)) {
        if let Some(person) = self.people.get_mut(&customer) {
            let person = Arc::make_mut(person);
            change(person);
            if person.is_empty() {
                self.people.remove(&customer);
            }
            return;
        }
        let mut person = Person::default();
        change(&mut person);
        if !person.is_empty() {
            self.people.insert(customer, Arc::new(person));
        }
    }

    /// Lists a request under whoever has it now, and in no other list.
    fn list(&mut self, id: ItemId, customer: CustomerId, waits: bool) {
        self.edit(self.current(customer), |person| person.list(id, waits));
    }

    fn unlist(&mut self, id: ItemId, customer: CustomerId) {
        self.edit(self.current(customer), |person| person.unlist(id));
    }

    fn put(&mut self, id: ItemId, standing: &Standing) {
        let lists = (standing.customer(), standing.waits());
        let old = self.deliveries.insert(id, standing.clone());
        if let Some(old) = &old {
            self.unfile(id, old);
        }
        match standing {
            Standing::Deferred(deferred) => {
                self.due.insert((deferred.until, deferred.request.asked_at, id));
            }
            Standing::Queued(item) if item.way == Way::Push => {
                match self.pushes.get_mut(&item.address.channel) {
                    Some(count) => *count += 1,
                    None => {
                        self.pushes.insert(item.address.channel.clone(), 1);
                    }
                }
            }
            Standing::Queued(_) => {}
            Standing::Ended(ended) => self.forget_after(id, ended.ended_at),
        }
        let listed = old.map(|old| (old.customer(), old.waits()));
        if listed != Some(lists) {
            let (customer, waits) = lists;
            if let Some((before, _)) = listed.filter(|(before, _)| *before != customer) {
                self.unlist(id, before);
            }
            self.list(id, customer, waits);
        }
    }

    /// Takes what stood there out of the indexes.
    fn unfile(&mut self, id: ItemId, standing: &Standing) {
        match standing {
            Standing::Deferred(deferred) => {
                self.due.remove(&(deferred.until, deferred.request.asked_at, id));
            }
            Standing::Queued(item) if item.way == Way::Push => {
                let channel = &item.address.channel;
                match self.pushes.get_mut(channel) {
                    Some(count) if *count > 1 => *count -= 1,
                    _ => {
                        self.pushes.remove(channel);
                    }
                }
            }
            Standing::Queued(_) => {}
            Standing::Ended(ended) => {
                let Some(others) = self.ended.get_mut(&ended.ended_at) else { return };
                others.retain(|known| *known != id);
                if others.is_empty() {
                    self.ended.remove(&ended.ended_at);
                }
            }
        }
    }

    fn take(&mut self, id: ItemId) {
        if let Some(standing) = self.deliveries.remove(&id) {
            self.unfile(id, &standing);
            self.unlist(id, standing.customer());
        }
    }

    /// Forgets what ended long ago.
    fn expire(&mut self, at: At) {
        while let Some(since) = self.ended.get_min().map(|(since, _)| *since)
            && at.since(since) > SETTLED_FOR
        {
            for old in self.ended.remove(&since).into_iter().flatten() {
                self.void.remove(&old);
                self.take(old);
            }
        }
    }

    /// It is forgotten when the time after its end is over.
    fn forget_after(&mut self, id: ItemId, ended_at: At) {
        if let Some(others) = self.ended.get_mut(&ended_at) {
            insert(others, id);
        } else {
            self.ended.insert(ended_at, smallvec![id]);
        }
    }

    fn divide(&mut self, part: &custody::Part) {
        let mut partings = std::mem::take(&mut self.partings);
        for (place, carriers) in partings.places(part, |id| self.current(id)) {
            if self.people.contains_key(&place) {
                self.edit(place, |person| person.unlearn(&carriers));
            }
        }
        self.partings = partings;
        // What was asked for under an id that goes to the piece is listed there from now on.
        let aliases = part.aliases.iter().filter(|alias| **alias != part.customer);
        let ids: Vec<_> = aliases.copied().chain([part.customer]).collect();
        let holders: BTreeSet<_> = ids.iter().map(|id| self.current(*id)).collect();
        let listed = holders.into_iter().flat_map(|holder| self.standings_of(holder));
        let listed = listed.filter(|(_, standing)| ids.contains(&standing.customer()));
        let listed = listed.map(|(id, standing)| (id, standing.customer(), standing.waits()));
        let listed: Vec<_> = listed.collect();
        for (id, customer, _) in &listed {
            self.unlist(*id, *customer);
        }
        self.aliases.remove(&part.customer);
        for alias in ids.into_iter().filter(|id| *id != part.customer) {
            self.people.remove(&alias);
            self.aliases.insert(alias, part.customer);
        }
        for (id, customer, waits) in listed {
            self.list(id, customer, waits);
        }
    }

    fn forget(&mut self, customers: &[CustomerId]) {
        for customer in customers {
            // In what is left of a log an id may lead to somebody whom it does not lead to any more.
            let theirs = self.standings_of(*customer);
            let theirs = theirs.filter(|(_, standing)| customers.contains(&standing.customer()));
            for id in theirs.map(|(id, _)| id).collect::<Vec<_>>() {
                self.take(id);
            }
            self.people.remove(customer);
            self.partings.forget(*customer);
        }
        let aliases = self
            .aliases
            .iter()
            .filter(|(alias, survivor)| customers.contains(alias) || customers.contains(survivor));
        for alias in aliases.map(|(alias, _)| *alias).collect::<Vec<_>>() {
            self.aliases.remove(&alias);
        }
    }

    fn move_person(&mut self, from: CustomerId, to: CustomerId) {
        if let Some(absorbed) = self.people.remove(&from) {
            self.edit(to, |survivor| survivor.absorb(Arc::unwrap_or_clone(absorbed)));
        }
        let earlier = self.aliases.iter().filter(|(_, survivor)| **survivor == from);
        let earlier: Vec<_> = earlier.map(|(alias, _)| *alias).chain([from]).collect();
        for alias in earlier {
            self.aliases.insert(alias, to);
        }
    }

    fn restate_person(&mut self, customer: CustomerId, portion: &Portion) {
        self.edit(customer, |person| {
            portion.places.iter().for_each(|place| person.learn(place.clone()));
            portion.told.iter().for_each(|told| person.hear(told.clone()));
            portion.pushes.iter().for_each(|push| person.push(push.clone()));
        });
    }

    fn queue(&mut self, id: ItemId, item: &Arc<Item>, at: At) {
        if item.class == Class::Marketing {
            let push = Push { at, item: id, carrier: item.carrier, unanswered: true };
            self.edit(item.customer, |person| person.push(push));
        }
        for joined in &item.joined {
            self.put(*joined, &Standing::Queued(Arc::clone(item)));
        }
        self.put(id, &Standing::Queued(Arc::clone(item)));
    }

    fn settle(&mut self, id: ItemId, outcome: &Outcome, ended: &Standing) {
        let Some(Standing::Queued(item)) = self.deliveries.get(&id).cloned() else { return };
        // Nobody was disturbed by what was never tried. Of what failed nobody knows for sure.
        let untried = matches!(outcome, Outcome::Expired { .. } | Outcome::Suppressed { .. });
        if item.class == Class::Marketing && untried {
            let customer = self.current(item.customer);
            self.edit(customer, |person| person.pushes.retain(|push| push.item != id));
        }
        for joined in &item.joined {
            self.put(*joined, ended);
        }
        self.put(id, ended);
    }

    pub(super) fn evolve(&mut self, event: &Event, at: At) {
        match event {
            Event::AddressLearned { customer, address, carrier } => {
                let customer = self.current(*customer);
                self.edit(customer, |person| person.learn_address(address, *carrier));
            }
            Event::Followed { customer, channel, carrier, blocked, told_at } => {
                let customer = self.current(*customer);
                self.edit(customer, |person| {
                    let is =
                        |place: &&mut Place| (&place.channel, place.carrier) == (channel, *carrier);
                    if let Some(place) = person.places.iter_mut().find(is) {
                        place.blocked = *blocked;
                        place.followed_at = Some(*told_at);
                    }
                });
            }
            Event::Engaged { customer } => {
                self.edit(self.current(*customer), |person| {
                    person.pushes.iter_mut().for_each(|push| push.unanswered = false);
                });
            }
            Event::TraitTold { customer, told } => {
                self.edit(self.current(*customer), |person| person.hear(told.clone()));
            }
            Event::ConsentTold { customer, consent } => {
                self.edit(self.current(*customer), |person| person.consent = Some(*consent));
            }
            Event::PreferencesSet { customer, preferences } => {
                let customer = self.current(*customer);
                let preferences = preferences.clone();
                self.edit(customer, |person| {
                    person.change_rare(|rare| rare.preferences = preferences);
                });
            }
            Event::PersonMoved { from, to } => self.move_person(*from, *to),
            Event::PersonRestated { customer, portion, .. } => {
                self.restate_person(*customer, portion);
            }
            Event::WishesRestated { customer, consent, preferences, last } => {
                self.edit(*customer, |person| {
                    let known = person.consent.filter(|_| person.rare().parted);
                    person.consent = Consent::strictest(known, *consent);
                    person.change_rare(|rare| {
                        rare.preferences = preferences.clone();
                        rare.parted = !last;
                    });
                });
            }
            Event::Released { id, .. } => self.take(*id),
            Event::Queued { id, item } => self.queue(*id, item, at),
            Event::Deferred { id, .. } | Event::Begun { id, .. } => {
                if let Some(standing) = event.standing(self.deliveries.get(id), at) {
                    self.put(*id, &standing);
                }
            }
            Event::Ended { id, .. } | Event::Restated { id, .. } => {
                if let Some(standing) = event.standing(None, at) {
                    self.put(*id, &standing);
                }
                self.expire(at);
            }
            Event::Settled { id, outcome, .. } => {
                if let Some(ended) = event.standing(self.deliveries.get(id), at) {
                    self.settle(*id, outcome, &ended);
                }
                self.expire(at);
            }
            Event::ItemsVoided { items } => {
                for id in items {
                    self.void.insert(*id);
                    self.forget_after(*id, at);
                }
            }
            // Said before.
            Event::Handed { .. } | Event::RequestVoided { .. } => {}
            Event::Custody(event) => self.custody_evolve(event, at),
        }
    }

    fn custody_evolve(&mut self, event: &custody::Event, at: At) {
        match event {
            custody::Event::Divided(part) => self.divide(part),
            custody::Event::CustomersForgotten { customers, .. } => self.forget(customers),
            custody::Event::SplitBegun(_)
            | custody::Event::UpstreamMoved { .. }
            | custody::Event::RecordsMoved { .. }
            | custody::Event::ErasureDone { .. }
            | custody::Event::ErasureReported { .. } => {}
        }
        self.custody.evolve(event, true, at);
        // Who folds what is left of a log sees fewer ends, and forgets no later than here.
        self.expire(at);
    }
}
