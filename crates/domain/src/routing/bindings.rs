//! What routing remembers of bindings and of the codes that make them.

use std::collections::BTreeMap;

use imbl::{OrdMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};

use super::binding::{
    Binding, BindingView, EndedWhy, HandOver, IssuedCode, Made, Nonce, RefusedWhy,
};
use super::state::State;
use crate::person::Carrier;
use crate::{At, BrandId, CustomerId, StaffId};

/// What routing remembers of bindings.
///
/// Invariant: `change` alone changes bindings, so both indexes say what the bindings say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bindings {
    /// Everything that was ever bound, in the order of [`Binding`]: by when.
    by_customer: OrdMap<CustomerId, Vector<Binding>>,
    /// Those in force.
    bound: OrdMap<StaffId, OrdSet<(CustomerId, Option<BrandId>)>>,
    /// Whoever has a binding in force or had one.
    ever: OrdMap<StaffId, OrdSet<CustomerId>>,
    /// Until their time is up.
    codes: OrdMap<Nonce, Code>,
    expiries: OrdSet<(At, Nonce)>,
    refused: Refused,
    /// Hand-overs that are not through, and since when they are due. By whom they leave.
    handing: OrdMap<StaffId, (At, HandOver)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Code {
    issued: IssuedCode,
    revoked: bool,
}

/// How many presented codes bound nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Their time was up.
    pub expired: u64,
    /// They were revoked.
    pub revoked: u64,
    /// They were none of ours.
    pub forged: u64,
}

/// Each with when it ended and why: by staff, or when a newer one of the same brand was made.
fn ends(held: &Vector<Binding>) -> Vec<(&Binding, Option<(At, EndedWhy)>)> {
    let mut newer: BTreeMap<_, &Binding> = BTreeMap::new();
    let ended = held.iter().rev().map(|binding| {
        let replaced = newer.insert(&binding.brand, binding).map(|next| {
            let why = match next.made {
                Made::Code { .. } => EndedWhy::Replaced,
                Made::HandOver { .. } => EndedWhy::HandedOver,
            };
            (next.bound_at, why)
        });
        let ended = binding.ended.as_ref().map(|ended| (ended.at, EndedWhy::ByStaff));
        (binding, ended.into_iter().chain(replaced).min_by_key(|(at, _)| *at))
    });
    let mut ended: Vec<_> = ended.collect();
    ended.reverse();
    ended
}

impl Bindings {
    fn held(&self, customer: CustomerId) -> impl Iterator<Item = &Binding> {
        self.by_customer.get(&customer).into_iter().flatten()
    }

    /// The one that is in force for exactly this brand, or for all.
    fn exact(&self, customer: CustomerId, brand: Option<&BrandId>) -> Option<&Binding> {
        let held = self.by_customer.get(&customer)?;
        let last = held.iter().rev().find(|binding| binding.brand.as_ref() == brand)?;
        last.ended.is_none().then_some(last)
    }

    fn change(&mut self, customer: CustomerId, change: impl FnOnce(&mut Vector<Binding>)) {
        let mut held = self.by_customer.remove(&customer).unwrap_or_default();
        for (binding, end) in ends(&held) {
            if end.is_none() {
                let place = (customer, binding.brand.clone());
                remove(&mut self.bound, &binding.staff, &place);
            }
            remove(&mut self.ever, &binding.staff, &customer);
        }
        change(&mut held);
        for (binding, end) in ends(&held) {
            let staff = &binding.staff;
            if end.is_none() {
                let place = (customer, binding.brand.clone());
                self.bound.entry(staff.clone()).or_default().insert(place);
            }
            self.ever.entry(staff.clone()).or_default().insert(customer);
        }
        if !held.is_empty() {
            self.by_customer.insert(customer, held);
        }
    }

    /// In its place by time, instead of the same one, if that is there.
    pub(super) fn put(&mut self, customer: CustomerId, binding: &Binding) {
        self.change(customer, |held| {
            held.retain(|known| !known.is_same(binding));
            let place = held.iter().position(|known| known > binding);
            held.insert(place.unwrap_or(held.len()), binding.clone());
        });
    }

    /// Everything of one customer is the other's. Of two that are in force for one brand the newer
    /// one stays so.
    pub(super) fn move_all(&mut self, from: CustomerId, to: CustomerId) {
        let mut moved = Vector::new();
        self.change(from, |held| moved = std::mem::take(held));
        for binding in &moved {
            self.put(to, binding);
        }
    }

    /// Forgets what hangs on one of these.
    pub(super) fn forget_carried(&mut self, customer: CustomerId, carriers: &[Carrier]) {
        let theirs = |binding: &Binding| binding.carrier.is_some_and(|one| carriers.contains(&one));
        if self.held(customer).any(theirs) {
            self.change(customer, |held| held.retain(|binding| !theirs(binding)));
        }
    }

    /// Forgets everything that a customer was ever bound by.
    pub(super) fn forget(&mut self, customer: CustomerId) {
        if self.by_customer.contains_key(&customer) {
            self.change(customer, Vector::clear);
        }
    }

    /// Everything that a customer was ever bound by, the newest first.
    pub(super) fn newest_first(&self, customer: CustomerId) -> impl Iterator<Item = &Binding> {
        self.by_customer.get(&customer).into_iter().flat_map(|held| held.iter().rev())
    }

    /// A code is good from now on; those whose time is up are forgotten.
    pub(super) fn issue(&mut self, code: &IssuedCode, at: At) {
        self.sweep(at);
        let known = Code { issued: code.clone(), revoked: false };
        self.expiries.insert((code.expires_at, code.nonce));
        self.codes.insert(code.nonce, known);
    }

    /// A code is good no more.
    pub(super) fn revoke(&mut self, nonce: Nonce) {
        if let Some(code) = self.codes.get_mut(&nonce) {
            code.revoked = true;
        }
    }

    fn sweep(&mut self, at: At) {
        while let Some((expires_at, nonce)) = self.expiries.get_min().copied() {
            if at < expires_at {
                break;
            }
            self.expiries.remove(&(expires_at, nonce));
            self.codes.remove(&nonce);
        }
    }

    pub(super) fn is_revoked(&self, nonce: Nonce) -> bool {
        self.codes.get(&nonce).is_some_and(|code| code.revoked)
    }

    pub(super) fn count_refused(&mut self, why: RefusedWhy) {
        let count = match why {
            RefusedWhy::Expired => &mut self.refused.expired,
            RefusedWhy::Revoked => &mut self.refused.revoked,
            RefusedWhy::Forged => &mut self.refused.forged,
        };
        *count = count.saturating_add(1);
    }

    pub(super) fn begin_hand_over(&mut self, hand_over: &HandOver, at: At) {
        self.handing.insert(hand_over.from.clone(), (at, hand_over.clone()));
    }

    pub(super) fn end_hand_over(&mut self, from: &StaffId) {
        self.handing.remove(from);
    }

    /// The hand-over that has to go on first, and since when.
    pub(super) fn next_hand_over(&self) -> Option<&(At, HandOver)> {
        self.handing.values().min_by_key(|(at, _)| *at)
    }

    pub(super) fn is_handing(&self, from: &StaffId) -> bool {
        self.handing.contains_key(from)
    }

    /// The bindings that somebody has in force, by customer.
    pub(super) fn of_staff(&self, staff: &StaffId) -> impl Iterator<Item = (CustomerId, &Binding)> {
        let bound = self.bound.get(staff).into_iter().flatten();
        bound.filter_map(|(customer, brand)| {
            Some((*customer, self.exact(*customer, brand.as_ref())?))
        })
    }
}

impl State {
    /// Who a customer is bound to towards a brand: by the brand's own binding, else by that for all
    /// brands. Without a brand: by that for all brands alone.
    #[must_use]
    pub fn bound_staff(&self, customer: CustomerId, brand: Option<&BrandId>) -> Option<StaffId> {
        self.binding(customer, brand).map(|binding| binding.staff.clone())
    }

    /// The binding by which [`bound_staff`](Self::bound_staff) answers.
    #[must_use]
    pub fn binding(&self, customer: CustomerId, brand: Option<&BrandId>) -> Option<&Binding> {
        let own = brand.and_then(|brand| self.binding_for(customer, Some(brand)));
        own.or_else(|| self.binding_for(customer, None))
    }

    /// The binding that is in force for exactly this brand; none: that for all brands.
    #[must_use]
    pub fn binding_for(&self, customer: CustomerId, brand: Option<&BrandId>) -> Option<&Binding> {
        self.bindings.exact(customer, brand)
    }

    /// Everything that a customer was ever bound by, in the order in which it was made.
    pub fn bindings_of(&self, customer: CustomerId) -> impl Iterator<Item = BindingView> {
        let held = self.bindings.by_customer.get(&customer).into_iter().flat_map(ends);
        held.map(move |(binding, end)| BindingView { customer, binding: binding.clone(), end })
    }

    /// Customers who have a binding to somebody in force, in the order of their ids, from this one on.
    pub fn bound_to(
        &self,
        staff: &StaffId,
        from: Option<CustomerId>,
    ) -> impl Iterator<Item = CustomerId> {
        let bound = self.bindings.bound.get(staff);
        let from = (from.unwrap_or(CustomerId::LEAST), None);
        let bound = bound.into_iter().flat_map(move |bound| bound.range(from.clone()..));
        let mut last = None;
        bound
            .map(|(customer, _)| *customer)
            .filter(move |customer| last.replace(*customer) != Some(*customer))
    }

    /// Customers who are bound to somebody or once were, in the order of their ids, from this one
    /// on.
    pub fn ever_bound_to(
        &self,
        staff: &StaffId,
        from: Option<CustomerId>,
    ) -> impl Iterator<Item = CustomerId> {
        let ever = self.bindings.ever.get(staff);
        let from = from.unwrap_or(CustomerId::LEAST);
        ever.into_iter().flat_map(move |ever| ever.range(from..)).copied()
    }

    /// Who a customer was bound to at a moment, towards a brand, as
    /// [`bound_staff`](Self::bound_staff) answers for now.
    #[must_use]
    pub fn bound_staff_at(
        &self,
        customer: CustomerId,
        brand: Option<&BrandId>,
        at: At,
    ) -> Option<StaffId> {
        let held: Vec<_> = self.bindings_of(customer).filter(|view| view.held(at)).collect();
        let exact =
            |brand: Option<&BrandId>| held.iter().find(|view| view.binding.brand.as_ref() == brand);
        let view = brand.and_then(|brand| exact(Some(brand))).or_else(|| exact(None));
        view.map(|view| view.binding.staff.clone())
    }

    /// A code that was issued and whose time was not up when the next one was issued, and whether it
    /// is revoked.
    #[must_use]
    pub fn issued_code(&self, nonce: Nonce) -> Option<(&IssuedCode, bool)> {
        self.bindings.codes.get(&nonce).map(|code| (&code.issued, code.revoked))
    }

    /// How many presented codes bound nobody, since ever.
    #[must_use]
    pub fn refused_codes(&self) -> Refused {
        self.bindings.refused
    }
}

fn remove<V: Ord + Clone>(index: &mut OrdMap<StaffId, OrdSet<V>>, staff: &StaffId, value: &V) {
    if let Some(values) = index.get_mut(staff) {
        values.remove(value);
        if values.is_empty() {
            index.remove(staff);
        }
    }
}
