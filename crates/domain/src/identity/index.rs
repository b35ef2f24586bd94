use std::hint::black_box;

use triomphe::Arc;

/// So many tables, that growing or copying one is over in a millisecond with 10,000,000 entries.
const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 10;

/// Tables that [`Index::build`] fills at a time.
const GROUP: usize = SHARDS / 8;

/// From a hash to the entries of a [`Pages`](super::pages::Pages) that have it, in tables that
/// clones share until one of them changes.
///
/// Made for memory that is far away: a search waits for one line of it, mostly, where a table of
/// the library waits for two, and looks at an entry only when all 32 bits of its hash are the same.
/// Neither growing nor forgetting looks at entries.
///
/// No order is ever read from a table.
#[derive(Clone, Debug)]
pub(super) struct Index {
    shards: Vec<Arc<Table>>,
}

impl Default for Index {
    fn default() -> Self {
        let empty = Arc::new(Table::default());
        Self { shards: vec![empty; SHARDS] }
    }
}

impl Index {
    /// One that takes nothing until [`build`](Self::build).
    pub(super) fn unbuilt() -> Self {
        Self { shards: Vec::new() }
    }

    /// Takes all entries at once, which are numbered as their hashes are, table by table: each stays
    /// near while it is filled, where one entry after the other would wait for memory each time.
    /// Reads them once for each of a few groups of tables, so that little stands beside the tables
    /// themselves.
    pub(super) fn build(hashes: &[u32]) -> Self {
        let mut shards = Vec::with_capacity(SHARDS);
        for first in (0..SHARDS).step_by(GROUP) {
            let mut near: Vec<Vec<(u32, u32)>> = vec![Vec::new(); GROUP];
            for (entry, hash) in (0_u32..).zip(hashes) {
                let in_group = shard(*hash).checked_sub(first).and_then(|at| near.get_mut(at));
                if let Some(table) = in_group {
                    table.push((*hash, entry));
                }
            }
            shards.extend(near.into_iter().map(|entries| {
                let mut table = Table::with_room(entries.len());
                for (hash, entry) in entries {
                    table.put(hash, entry);
                }
                Arc::new(table)
            }));
        }
        Self { shards }
    }

    pub(super) fn find(&self, hash: u32, is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.shards[shard(hash)].find(hash, is)
    }

    /// Adds an entry, unless there is one that `is` it already: then says which. Entries that are
    /// `stale` never are, and leave when their place is needed.
    pub(super) fn insert(
        &mut self,
        hash: u32,
        entry: u32,
        is: impl FnMut(u32) -> bool,
        stale: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let table = self.shards.get_mut(shard(hash))?;
        Arc::make_mut(table).insert(hash, entry, is, &stale)
    }

    /// Reads the line on which an entry with this hash stands most likely.
    pub(super) fn approach(&self, hash: u32) {
        let table = &self.shards[shard(hash)];
        black_box(table.lines.get(table.home(hash)).map(|line| line.hashes[0]));
    }

    pub(super) fn remove(&mut self, hash: u32, entry: u32) {
        Arc::make_mut(&mut self.shards[shard(hash)]).remove(hash, entry);
    }
}

/// By the bits that [`Table::home`] does not use.
fn shard(hash: u32) -> usize {
    (hash >> (u32::BITS - SHARD_BITS)) as usize
}

/// Entries of one line.
const SLOTS: usize = 8;

/// What the processor fetches at once: entries with their hashes.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line {
    hashes: [u32; SLOTS],
    /// Each plus one, [`EMPTY`], or [`GONE`].
    entries: [u32; SLOTS],
}

impl Line {
    const NEW: Self = Self { hashes: [0; SLOTS], entries: [EMPTY; SLOTS] };

    /// Where the first entry with this hash stands that `is` it.
    fn slot(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<usize> {
        let mut same = marks(|slot| self.hashes[slot] == hash);
        while same != 0 {
            let slot = same.trailing_zeros() as usize / 8;
            let entry = self.entries[slot];
            if !is_free(entry) && is(entry - 1) {
                return Some(slot);
            }
            same &= same - 1;
        }
        None
    }

    fn find(&self, hash: u32, is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.slot(hash, is).map(|slot| self.entries[slot] - 1)
    }

    /// The first slot whose place can be taken.
    fn room(&self, stale: &impl Fn(u32) -> bool) -> Option<usize> {
        self.entries.iter().position(|entry| is_free(*entry) || stale(*entry - 1))
    }

    fn is_full(&self) -> bool {
        self.entries[SLOTS - 1] != EMPTY
    }
}

/// One bit for each slot, in a byte of its own: so the processor looks at all slots at once.
fn marks(is: impl Fn(usize) -> bool) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|slot| u8::from(is(slot))))
}

fn is_free(entry: u32) -> bool {
    // EMPTY or GONE, in one comparison.
    entry.wrapping_add(1) <= 1
}

/// Nothing has ever stood here: a search ends.
const EMPTY: u32 = 0;
/// Something stood here: a search goes on.
const GONE: u32 = u32::MAX;

/// An entry stands on the line of its hash, or on the next one that had room. The lines between are
/// full, so a search ends at the first that is not; and a line fills from its first slot on, so the
/// last one tells.
#[derive(Clone, Debug, Default)]
struct Table {
    lines: Vec<Line>,
    /// Slots that are not [`EMPTY`].
    used: usize,
}

impl Table {
    /// With room for so many entries and three quarters more.
    fn with_room(entries: usize) -> Self {
        let lines = entries / 4 + 1;
        Self { lines: vec![Line::NEW; lines], used: 0 }
    }

    /// The line on which an entry stands most likely; then comes [`next`](Self::next).
    fn home(&self, hash: u32) -> usize {
        // Where the hash lies among all hashes, there its line lies among all lines.
        let within = u64::from(hash << SHARD_BITS);
        usize::try_from((within * self.lines.len() as u64) >> u32::BITS).unwrap_or(0)
    }

    fn next(&self, place: usize) -> usize {
        if place + 1 < self.lines.len() { place + 1 } else { 0 }
    }

    fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut place = self.home(hash);
        for _ in &self.lines {
            let line = &self.lines[place];
            if let Some(found) = line.find(hash, &mut is) {
                return Some(found);
            }
            if !line.is_full() {
                return None;
            }
            place = self.next(place);
        }
        None
    }

    fn insert(
        &mut self,
        hash: u32,
        entry: u32,
        mut is: impl FnMut(u32) -> bool,
        stale: &impl Fn(u32) -> bool,
    ) -> Option<u32> {
        if self.used * 8 >= self.lines.len() * SLOTS * 7 {
            self.renew(stale);
        }
        let mut free = None;
        let mut place = self.home(hash);
        for _ in 0..self.lines.len() {
            let line = &self.lines[place];
            if let Some(found) = line.find(hash, &mut is) {
                return Some(found);
            }
            free = free.or_else(|| Some((place, line.room(stale)?)));
            if !line.is_full() {
                break;
            }
            place = self.next(place);
        }
        if let Some((place, slot)) = free {
            self.put_at(place, slot, hash, entry);
        }
        None
    }

    /// Leaves out what is gone, and makes room for as many as stay and more.
    fn renew(&mut self, stale: &impl Fn(u32) -> bool) {
        let stays = |entry: u32| !is_free(entry) && !stale(entry - 1);
        let staying = |line: &Line| line.entries.iter().filter(|entry| stays(**entry)).count();
        let mut table = Self::with_room(self.lines.iter().map(staying).sum::<usize>() + 1);
        for Line { hashes, entries } in &self.lines {
            for (hash, entry) in hashes.iter().zip(entries) {
                if stays(*entry) {
                    table.put(*hash, *entry - 1);
                }
            }
        }
        *self = table;
    }

    /// In the first slot that has room.
    fn put(&mut self, hash: u32, entry: u32) {
        let mut place = self.home(hash);
        for _ in 0..self.lines.len() {
            if let Some(slot) = self.lines[place].room(&|_| false) {
                return self.put_at(place, slot, hash, entry);
            }
            place = self.next(place);
        }
    }

    fn put_at(&mut self, place: usize, slot: usize, hash: u32, entry: u32) {
        let Line { hashes, entries } = &mut self.lines[place];
        self.used += usize::from(entries[slot] == EMPTY);
        (hashes[slot], entries[slot]) = (hash, entry + 1);
    }

    fn remove(&mut self, hash: u32, entry: u32) {
        let mut place = self.home(hash);
        for _ in 0..self.lines.len() {
            let line = &mut self.lines[place];
            let slot = line.slot(hash, |other| other == entry);
            if let Some(slot) = slot {
                line.entries[slot] = GONE;
                return;
            }
            if !line.is_full() {
                return;
            }
            place = self.next(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u32),
        Remove(usize),
        Forget(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        // Few hashes, all of one table, so that lines run over and hashes meet.
        let hash = prop_oneof![0_u32..40, Just(0x3F_FFFF), 0x3F_FFF0..0x3F_FFFF_u32];
        prop_oneof![
            6 => hash.prop_map(Step::Insert),
            3 => any::<usize>().prop_map(Step::Remove),
            1 => (0_u32..20).prop_map(Step::Forget),
        ]
    }

    proptest! {
        #[test]
        fn an_entry_is_found_by_its_hash_until_it_goes(
            steps in proptest::collection::vec(step(), 0..400)
        ) {
            let (mut index, mut known) = (Index::default(), BTreeMap::new());
            let (mut next, mut first) = (0_u32, 0_u32);
            for step in steps {
                match step {
                    Step::Insert(hash) => {
                        index.insert(hash, next, |_| false, |entry| entry < first);
                        known.insert(next, hash);
                        next += 1;
                    }
                    Step::Remove(place) if !known.is_empty() => {
                        let place = place % known.len();
                        let (entry, hash) = known.iter().nth(place).map(|(e, h)| (*e, *h)).unwrap();
                        known.remove(&entry);
                        index.remove(hash, entry);
                    }
                    Step::Remove(_) => {}
                    Step::Forget(more) => {
                        first = next.min(first + more);
                        known.retain(|entry, _| *entry >= first);
                    }
                }
                for (entry, hash) in &known {
                    prop_assert_eq!(index.find(*hash, |other| other == *entry), Some(*entry));
                }
                for hash in 0..60 {
                    index.find(hash, |other| {
                        let known = other < first || known.get(&other) == Some(&hash);
                        assert!(known, "{other} stands under another hash");
                        false
                    });
                }
            }
        }
    }

    #[test]
    fn what_is_built_at_once_is_found() {
        let hashes: Vec<u32> = (0..100_000_u32).map(|n| n.wrapping_mul(0x9E37_79B9)).collect();
        let index = Index::build(&hashes);
        for (entry, hash) in (0_u32..).zip(&hashes) {
            assert_eq!(index.find(*hash, |other| other == entry), Some(entry));
        }
    }
}
