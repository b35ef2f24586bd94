use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstem_domain::ItemId;
use mainstem_domain::notification::Outcome;

/// More than ever come back at once; what does not fit is treated as unknown, which is safe.
const MOST: usize = 10_000;

/// What this process knows of items that it gave back, and the broker cannot tell. Lost with the
/// process: then a reply token that LINE refuses counts as one that may have been used.
#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<ItemId, Known>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// None of the attempts can have replied.
    NeverReplied,
    /// It ended so, and notification could not be told.
    Ended(Outcome),
}

impl Memory {
    pub(crate) fn keep(&self, item: ItemId, known: Known) {
        let mut items = self.items();
        if items.len() < MOST || items.contains_key(&item) {
            items.insert(item, known);
        }
    }

    pub(crate) fn of(&self, item: ItemId) -> Option<Known> {
        self.items().get(&item).cloned()
    }

    pub(crate) fn forget(&self, item: ItemId) {
        self.items().remove(&item);
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<ItemId, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
