//! What routing remembers: every case once, and where to find it without looking through all.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};

use super::bindings::Bindings;
use super::case::{Case, CaseView, Stage};
use super::floor::Floor;
use super::open::{Key, REPEATED_WITHIN};
use super::pause::Pause;
use super::serial::Serial;
use crate::configuration::Priority;
use crate::custody::{Custody, Partings};
use crate::person::Carrier;
use crate::{At, BrandId, CaseId, CustomerId, QueueId, Refusal, RefusalCode};

/// What routing remembers.
///
/// Invariant: `put` and `take` alone change cases, so every index says
/// what the cases say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    cases: OrdMap<CaseId, Arc<Case>>,
    by_customer: OrdSet<(CustomerId, CaseId)>,
    /// Neither resolved nor closed nor cancelled.
    unfinished: OrdSet<CaseId>,
    /// Neither closed nor cancelled, and with a serial number, whoever's they are.
    machines: OrdMap<(Option<BrandId>, Serial), OrdSet<CaseId>>,
    /// When something is to become of a case by itself.
    deadlines: OrdSet<(At, CaseId)>,
    /// Open, in the order in which they are served: by priority, then by age.
    on_offer: OrdMap<QueueId, OrdSet<(Priority, At, CaseId)>>,
    /// By what they hang on, the last one last.
    purchases: OrdMap<CustomerId, Vector<Purchase>>,
    /// Aliases, and whose they became.
    absorbed: OrdMap<CustomerId, CustomerId>,
    /// The same the other way round: whose they became, and the alias.
    aliases: OrdSet<(CustomerId, CustomerId)>,
    /// How often the condition of a rule could not be evaluated.
    pub(super) rules_failed: u64,
    pub(super) paused: OrdMap<QueueId, Pause>,
    /// Conversations and staff.
    pub(super) floor: Floor,
    pub(super) custody: Custody,
    pub(super) bindings: Bindings,
    pub(super) partings: Partings,
}

/// The brand that a customer bought of last.
///
/// Noted when the brand changes, so its moment is that of the first purchase in a row of the same
/// brand; one that is told late, and was made before, changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    /// The brand.
    pub brand: BrandId,
    /// When, by the source's clock, and never later than it was told.
    pub at: At,
    /// What it hangs on; none, when nobody knows.
    pub carrier: Option<Carrier>,
}

impl State {
    /// A case by its id.
    #[must_use]
    pub fn case(&self, id: CaseId) -> Option<CaseView> {
        self.cases.get(&id).map(|case| CaseView { id, case: case.as_ref().clone() })
    }

    /// Cases in the order of their ids, from the one after `after` on.
    pub fn cases_after(&self, after: Option<CaseId>) -> impl Iterator<Item = (&CaseId, &Case)> {
        let later = self.cases.range((after.map_or(Unbounded, Excluded), Unbounded));
        later.map(|(id, case)| (id, case.as_ref()))
    }

    /// The same, but only those that somebody still has to do.
    pub fn unfinished_after(
        &self,
        after: Option<CaseId>,
    ) -> impl Iterator<Item = (&CaseId, &Case)> {
        let ids = self.unfinished.range((after.map_or(Unbounded, Excluded), Unbounded));
        ids.filter_map(|id| self.cases.get(id).map(|case| (id, case.as_ref())))
    }

    /// The case that a queue serves next: the most urgent, of these the oldest.
    #[must_use]
    pub fn next_on(&self, queue: &QueueId) -> Option<CaseView> {
        let (_, _, id) = self.on_offer.get(queue)?.get_min()?;
        self.case(*id)
    }

    /// How many cases are open on a queue.
    pub(super) fn open_on(&self, queue: &QueueId) -> usize {
        self.on_offer.get(queue).map_or(0, OrdSet::len)
    }

    /// Queues on which a case is open.
    pub(super) fn used_queues(&self) -> impl Iterator<Item = &QueueId> {
        self.on_offer.keys()
    }

    /// What a customer bought last.
    #[must_use]
    pub fn purchase(&self, customer: CustomerId) -> Option<&Purchase> {
        self.purchases.get(&customer)?.last()
    }

    /// Splits and erasures that are under way.
    #[must_use]
    pub fn custody(&self) -> &Custody {
        &self.custody
    }

    fn ids_of(&self, customer: CustomerId) -> impl Iterator<Item = CaseId> {
        let from = (customer, CaseId::LEAST);
        let ids = self.by_customer.range(from..).take_while(move |(whose, _)| *whose == customer);
        ids.map(|(_, id)| *id)
    }

    /// Those of a customer that are neither closed nor cancelled and about the same, by their age.
    fn wanted(&self, key: &Key) -> impl Iterator<Item = (At, CaseId)> {
        let known = self.ids_of(key.customer()).filter_map(|id| Some((id, self.cases.get(&id)?)));
        let same = known.filter(|(_, case)| !case.stage.is_over() && Key::of(case) == *key);
        same.map(|(id, case)| (case.opened_at, id))
    }

    /// All the cases of a customer, unfinished ones first.
    pub(super) fn cases_of(&self, customer: CustomerId) -> Vec<CaseView> {
        let mut cases: Vec<_> = self.ids_of(customer).filter_map(|id| self.case(id)).collect();
        cases.sort_by_key(|view| view.case.stage.is_finished());
        cases
    }

    /// What a customer bought last, by what it hangs on; the last one last.
    pub(super) fn purchases_of(&self, customer: CustomerId) -> impl Iterator<Item = &Purchase> {
        self.purchases.get(&customer).into_iter().flatten()
    }

    /// Forgets what a customer bought, as far as it hangs on one of these.
    pub(super) fn forget_purchases(&mut self, customer: CustomerId, carriers: &[Carrier]) {
        let Some(purchases) = self.purchases.get_mut(&customer) else { return };
        purchases.retain(|purchase| purchase.carrier.is_none_or(|one| !carriers.contains(&one)));
        if purchases.is_empty() {
            self.purchases.remove(&customer);
        }
    }

    /// Forgets what a customer bought.
    pub(super) fn forget_all_purchases(&mut self, customer: CustomerId) {
        self.purchases.remove(&customer);
    }

    /// Forgets everything of a customer.
    pub(super) fn forget(&mut self, customer: CustomerId, at: At) {
        self.floor.forget(customer, at);
        for id in self.ids_of(customer).collect::<Vec<_>>() {
            self.take(id);
        }
        self.forget_all_purchases(customer);
        self.bindings.forget(customer);
        self.partings.forget(customer);
        self.stand_alone(customer);
    }

    pub(super) fn known(&self, id: CaseId) -> Result<CaseView, Refusal> {
        self.case(id).ok_or_else(|| Refusal::not_found("case", id.as_str()))
    }

    pub(super) fn is_used(&self, id: CaseId) -> bool {
        self.cases.contains_key(&id)
    }

    /// A case that is about the same; see [`REPEATED_WITHIN`].
    pub(super) fn same(&self, key: &Key, at: At) -> Option<CaseId> {
        let known = self.wanted(key);
        let (_, id) = match key {
            Key::Serial(..) => known.min(),
            Key::Rule(..) | Key::Counter(..) => known
                .filter(|(opened_at, _)| at.since(*opened_at) < REPEATED_WITHIN)
                .filter(|(_, id)| self.unfinished.contains(id))
                .max(),
        }?;
        Some(id)
    }

    /// Cases of other customers about the same machine that are not over.
    pub(super) fn strangers(&self, case: &Case) -> Vec<CaseView> {
        let machine = case.serial().map(|serial| (case.brand.clone(), serial));
        let same = machine.and_then(|machine| self.machines.get(&machine)).into_iter().flatten();
        let same = same.filter_map(|id| self.case(*id));
        same.filter(|view| view.case.customer != case.customer).collect()
    }

    /// Refuses to reopen a closed case when a newer one is about the same machine.
    pub(super) fn not_replaced(&self, view: &CaseView) -> Result<(), Refusal> {
        let key = Key::of(&view.case);
        let is_serial = matches!(key, Key::Serial(..));
        let other = self.wanted(&key).filter(|(_, id)| is_serial && *id != view.id).min();
        other.map_or(Ok(()), |(_, other)| {
            Err(Refusal::new(
                RefusalCode::FailedPrecondition,
                "CASE_REPLACED",
                format!("case {other} is about the same machine as {}; go on with that", view.id),
            )
            .with("case", &other))
        })
    }

    /// Whose an id is now.
    #[must_use]
    pub fn current(&self, customer: CustomerId) -> CustomerId {
        let mut current = customer;
        // A circle cannot be, and must not hang anybody if it is.
        for _ in 0..=self.absorbed.len() {
            match self.absorbed.get(&current) {
                Some(survivor) => current = *survivor,
                None => break,
            }
        }
        current
    }

    /// Every id of a customer: the one of now, then what it absorbed, by whichever of them is given.
    #[must_use]
    pub fn ids(&self, customer: CustomerId) -> Vec<CustomerId> {
        let mut ids = vec![self.current(customer)];
        let mut looked = 0;
        while let Some(id) = ids.get(looked).copied() {
            let own = self.aliases.range((id, CustomerId::LEAST)..);
            let own = own.take_while(|(survivor, _)| *survivor == id).map(|(_, alias)| *alias);
            // A circle cannot be, and must not hang anybody if it is.
            let new: Vec<_> = own.filter(|alias| !ids.contains(alias)).collect();
            ids.extend(new);
            looked += 1;
        }
        ids
    }

    /// How often the condition of a rule could not be evaluated.
    #[must_use]
    pub fn rules_failed(&self) -> u64 {
        self.rules_failed
    }

    /// An id stands for another one from now on.
    fn absorb(&mut self, alias: CustomerId, survivor: CustomerId) {
        self.stand_alone(alias);
        self.absorbed.insert(alias, survivor);
        self.aliases.insert((survivor, alias));
    }

    /// An id stands for itself.
    fn stand_alone(&mut self, id: CustomerId) {
        if let Some(survivor) = self.absorbed.remove(&id) {
            self.aliases.remove(&(survivor, id));
        }
    }

    /// A piece of a customer who was taken apart stands for itself, and its aliases for it.
    pub(super) fn divide_aliases(&mut self, piece: CustomerId, aliases: &[CustomerId]) {
        self.stand_alone(piece);
        for alias in aliases.iter().filter(|alias| **alias != piece) {
            self.absorb(*alias, piece);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<At> {
        let case = self.deadlines.get_min().map(|(at, _)| *at);
        let hand_over = self.bindings.next_hand_over().map(|(at, _)| *at);
        [case, hand_over, self.floor.next_deadline()].into_iter().flatten().min()
    }

    /// Cases whose deadline has come by `at`, the earliest first.
    pub(super) fn due_until(&self, at: At) -> impl Iterator<Item = CaseView> {
        let come = self.deadlines.iter().take_while(move |(deadline, _)| *deadline <= at);
        come.filter_map(|(_, id)| self.case(*id))
    }

    pub(super) fn put(&mut self, id: CaseId, case: Case) {
        self.take(id);
        self.by_customer.insert((case.customer, id));
        if !case.stage.is_finished() {
            self.unfinished.insert(id);
        }
        if let Some(serial) = case.serial().filter(|_| !case.stage.is_over()) {
            let machine = (case.brand.clone(), serial);
            self.machines.entry(machine).or_default().insert(id);
        }
        self.deadlines.extend(case.deadline().map(|at| (at, id)));
        if case.stage == Stage::Open {
            self.on_offer.entry(case.queue.clone()).or_default().insert(place(id, &case));
        }
        self.cases.insert(id, Arc::new(case));
    }

    fn take(&mut self, id: CaseId) -> Option<Arc<Case>> {
        let case = self.cases.remove(&id)?;
        self.by_customer.remove(&(case.customer, id));
        self.unfinished.remove(&id);
        if let Some(serial) = case.serial().filter(|_| !case.stage.is_over()) {
            remove(&mut self.machines, &(case.brand.clone(), serial), &id);
        }
        if let Some(at) = case.deadline() {
            self.deadlines.remove(&(at, id));
        }
        remove(&mut self.on_offer, &case.queue, &place(id, &case));
        Some(case)
    }

    pub(super) fn change(&mut self, id: CaseId, change: impl FnOnce(&mut Case)) {
        if let Some(case) = self.take(id) {
            let mut case = Arc::unwrap_or_clone(case);
            change(&mut case);
            self.put(id, case);
        }
    }

    /// Behind those that are not newer; what hung on the same is replaced.
    pub(super) fn note_purchase(&mut self, customer: CustomerId, purchase: Purchase) {
        let purchases = self.purchases.entry(customer).or_default();
        purchases.retain(|known| known.carrier != purchase.carrier);
        let newer = purchases.iter().position(|known| known.at > purchase.at);
        purchases.insert(newer.unwrap_or(purchases.len()), purchase);
    }

    /// Everything of one customer becomes the other's; of two purchases that hang on the same the
    /// newer stays.
    pub(super) fn move_all(&mut self, from: CustomerId, to: CustomerId, at: At) {
        self.floor.move_all(from, to, at);
        self.stand_alone(to);
        self.absorb(from, to);
        self.bindings.move_all(from, to);
        for id in self.ids_of(from).collect::<Vec<_>>() {
            self.change(id, |case| case.customer = to);
        }
        for purchase in self.purchases.remove(&from).unwrap_or_default() {
            let kept = self.purchases.entry(to).or_default();
            let same = kept.iter().find(|kept| kept.carrier == purchase.carrier);
            if same.is_none_or(|kept| kept.at < purchase.at) {
                kept.retain(|kept| kept.carrier != purchase.carrier);
                // Of two of the same moment the survivor's is the last.
                let newer = kept.iter().position(|kept| kept.at >= purchase.at);
                kept.insert(newer.unwrap_or(kept.len()), purchase);
            }
        }
    }
}

fn place(id: CaseId, case: &Case) -> (Priority, At, CaseId) {
    (case.priority, case.opened_at, id)
}

pub(super) fn remove<K: Ord + Clone, V: Ord + Clone>(
    index: &mut OrdMap<K, OrdSet<V>>,
    key: &K,
    value: &V,
) {
    if let Some(values) = index.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            index.remove(key);
        }
    }
}
