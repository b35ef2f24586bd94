use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mainstem_domain::ItemId;
use mainstem_domain::notification::Outcome;

/// More than ever come back at once; what does not fit is treated as unknown, which is safe.
const MOST: usize = 10_000;

/// What this process knows of items that it gave back, and nobody else can tell. Lost with the
/// process: then a reply token that LINE refuses counts as one that may have been used.
#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<ItemId, Known>>);

#[derive(Default)]
struct Known {
    /// Attempts of this process that did not use the reply token.
    unused: Vec<String>,
    /// It ended so, and notification could not be told.
    ended: Option<Outcome>,
}

impl Memory {
    /// This attempt has not used the reply token and never will.
    pub(crate) fn unused(&self, item: ItemId, attempt: String) {
        self.note(item, |known| known.unused.push(attempt));
    }

    /// Whether none of these attempts used the reply token.
    pub(crate) fn all_unused(
        &self,
        item: ItemId,
        attempts: impl IntoIterator<Item: AsRef<str>>,
    ) -> bool {
        let items = self.items();
        let unused = items.get(&item).map_or(&[][..], |known| &known.unused);
        attempts.into_iter().all(|attempt| unused.iter().any(|known| known == attempt.as_ref()))
    }

    /// It ended so, and notification could not be told.
    pub(crate) fn ended(&self, item: ItemId, outcome: Outcome) {
        self.note(item, |known| known.ended = Some(outcome));
    }

    /// How it ended, if notification could not be told.
    pub(crate) fn outcome(&self, item: ItemId) -> Option<Outcome> {
        self.items().get(&item)?.ended.clone()
    }

    pub(crate) fn forget(&self, item: ItemId) {
        self.items().remove(&item);
    }

    fn note(&self, item: ItemId, note: impl FnOnce(&mut Known)) {
        let mut items = self.items();
        if items.len() < MOST || items.contains_key(&item) {
            note(items.entry(item).or_default());
        }
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<ItemId, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
