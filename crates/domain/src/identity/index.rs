use std::sync::Arc;

use hashbrown::HashTable;

/// So many tables, that growing or copying one is over in a millisecond with 10,000,000 entries.
const SHARDS: usize = 1_024;

/// Tables that [`Index::build`] fills at a time.
const GROUP: usize = SHARDS / 8;

/// From a hash to the entries of a [`Pages`](super::pages::Pages) that have it, in tables that
/// clones share until one of them changes.
///
/// No order is ever read from a table.
#[derive(Clone, Debug)]
pub(super) struct Index {
    shards: Vec<Arc<HashTable<u32>>>,
}

impl Default for Index {
    fn default() -> Self {
        let empty = Arc::new(HashTable::new());
        Self { shards: vec![empty; SHARDS] }
    }
}

impl Index {
    /// One that takes nothing until [`build`](Self::build).
    pub(super) fn unbuilt() -> Self {
        Self { shards: Vec::new() }
    }

    /// Takes all entries at once, table by table: each stays near while it is filled, where one
    /// entry after the other would wait for memory each time. Reads them once for each of a few
    /// groups of tables, so that little stands beside the tables themselves.
    pub(super) fn build(entries: &(impl Iterator<Item = (u64, u32)> + Clone)) -> Self {
        let mut shards = Vec::with_capacity(SHARDS);
        for first in (0..SHARDS).step_by(GROUP) {
            let mut near: Vec<Vec<(u64, u32)>> = vec![Vec::new(); GROUP];
            for (hash, entry) in entries.clone() {
                let in_group = shard(hash).checked_sub(first).and_then(|at| near.get_mut(at));
                if let Some(table) = in_group {
                    table.push((hash, entry));
                }
            }
            shards.extend(near.into_iter().map(|entries| {
                let mut table = HashTable::with_capacity(entries.len());
                for (hash, entry) in entries {
                    // It has room for all, so no hash is asked for again.
                    table.insert_unique(hash, entry, |_| hash);
                }
                Arc::new(table)
            }));
        }
        Self { shards }
    }

    pub(super) fn find(&self, hash: u64, is: impl FnMut(&u32) -> bool) -> Option<u32> {
        self.shards[shard(hash)].find(hash, is).copied()
    }

    /// Adds an entry that is not there; `again` tells the hashes of entries that are.
    pub(super) fn insert(&mut self, hash: u64, entry: u32, again: impl Fn(&u32) -> u64) {
        if let Some(table) = self.shards.get_mut(shard(hash)) {
            Arc::make_mut(table).insert_unique(hash, entry, again);
        }
    }

    pub(super) fn remove(&mut self, hash: u64, entry: u32) {
        let table = Arc::make_mut(&mut self.shards[shard(hash)]);
        if let Ok(found) = table.find_entry(hash, |known| *known == entry) {
            found.remove();
        }
    }
}

/// By bits that the table itself does not use first.
fn shard(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}
