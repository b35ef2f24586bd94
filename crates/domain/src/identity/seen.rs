use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use triomphe::Arc;

use super::entry::short;
use super::index::Index;
use super::pack::joined;
use crate::{At, ChannelId};

/// How long a delivery of an event is remembered, so that a later one leaves no second trace.
pub const SEEN_FOR: Duration = Duration::from_hours(3 * 24);

/// How many events are remembered at most; the oldest goes first, and is counted.
pub const SEEN_AT_MOST: usize = 1_000_000;

/// The events that were taken lately, each with all that tells it from others: two are never taken
/// for one.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    entries: Queue,
    pub(super) index: Index,
    /// Differs between processes, so that nobody who chooses ids can make them meet.
    seed: RandomState,
    forgotten_early: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Entry {
    at: At,
    #[serde(with = "super::saved::bytes")]
    key: Key,
}

/// The channel and the id of an event or a message, with a byte between them that no channel has.
pub(super) type Key = SmallVec<[u8; 48]>;

impl Entry {
    pub(super) fn at(&self) -> At {
        self.at
    }
}

/// Entries in blocks that clones share until one of them changes. Entries are numbered from 0, and
/// from 0 again after 2^32.
#[derive(Clone, Debug, Default)]
struct Queue {
    blocks: VecDeque<Arc<Vec<Entry>>>,
    /// The number of the oldest one.
    first: u32,
    len: usize,
}

/// Entries of one block; 2^32 is a multiple of it, so that numbers tell the place.
const BLOCK: u32 = 1_024;

impl Queue {
    fn get(&self, number: u32) -> &Entry {
        let place = (number.wrapping_sub(self.first) + self.first % BLOCK) as usize;
        let block = BLOCK as usize;
        &self.blocks[place / block][place % block]
    }

    /// Whether an entry has this number that was not forgotten.
    fn holds(&self, number: u32) -> bool {
        (number.wrapping_sub(self.first) as usize) < self.len
    }

    fn oldest(&self) -> Option<&Entry> {
        (self.len > 0).then(|| self.get(self.first))
    }

    fn forget_oldest(&mut self) {
        self.first = self.first.wrapping_add(1);
        self.len -= 1;
        if self.first.is_multiple_of(BLOCK) {
            self.blocks.pop_front();
        }
    }

    /// The number of the next one.
    fn next(&self) -> Option<u32> {
        u32::try_from(self.len).ok().map(|len| self.first.wrapping_add(len))
    }

    fn push(&mut self, entry: Entry) {
        if self.blocks.back().is_none_or(|block| block.len() == BLOCK as usize) {
            self.blocks.push_back(Arc::new(Vec::with_capacity(BLOCK as usize)));
        }
        if let Some(block) = self.blocks.back_mut() {
            Arc::make_mut(block).push(entry);
            self.len += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        let gone = (self.first % BLOCK) as usize;
        self.blocks.iter().flat_map(|block| block.iter()).skip(gone)
    }
}

/// What tells an event or a message from others, before it is a [`Key`].
#[derive(Clone, Copy)]
struct Name<'a> {
    channel: &'a [u8],
    id: &'a [u8],
}

impl<'a> Name<'a> {
    fn new(channel: &'a ChannelId, id: &'a str) -> Self {
        Self { channel: channel.as_str().as_bytes(), id: id.as_bytes() }
    }

    fn of(key: &'a Key) -> Self {
        let end = key.iter().position(|byte| *byte == 0).unwrap_or(key.len());
        Self { channel: &key[..end], id: key.get(end + 1..).unwrap_or_default() }
    }

    fn key(self) -> Key {
        joined([self.channel, &[0], self.id])
    }

    fn is(self, key: &Key) -> bool {
        let other = Name::of(key);
        (self.channel, self.id) == (other.channel, other.id)
    }
}

impl Seen {
    /// Whether an event was taken within [`SEEN_FOR`] before `at`.
    pub(super) fn has(&self, channel: &ChannelId, id: &str, at: At) -> bool {
        if self.entries.len == 0 {
            return false;
        }
        let name = Name::new(channel, id);
        let number = self.number(self.hash(name), name);
        number.is_some_and(|number| at.since(self.entries.get(number).at) <= SEEN_FOR)
    }

    /// By what an event is found.
    pub(super) fn hash_of(&self, channel: &ChannelId, id: &str) -> u32 {
        self.hash(Name::new(channel, id))
    }

    fn number(&self, hash: u32, name: Name<'_>) -> Option<u32> {
        let is = |number| self.entries.holds(number) && name.is(&self.entries.get(number).key);
        self.index.find(hash, is)
    }

    fn hash(&self, name: Name<'_>) -> u32 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(name.channel);
        hasher.write(name.id);
        short(hasher.finish())
    }

    pub(super) fn take(&mut self, channel: &ChannelId, id: &str, at: At) {
        self.take_name(Name::new(channel, id), at);
    }

    fn take_name(&mut self, name: Name<'_>, at: At) {
        while let Some(oldest) = self.entries.oldest()
            && (at.since(oldest.at) > SEEN_FOR || self.entries.len >= SEEN_AT_MOST)
        {
            self.forgotten_early += u64::from(at.since(oldest.at) <= SEEN_FOR);
            self.entries.forget_oldest();
        }
        let hash = self.hash(name);
        let Some(number) = self.entries.next() else { return };
        let Self { entries, index, .. } = self;
        let is = |number| entries.holds(number) && name.is(&entries.get(number).key);
        // What was forgotten is not looked up once more: it leaves when its place is needed.
        let forgotten = |number| !entries.holds(number);
        if let Some(known) = index.insert(hash, number, is, forgotten) {
            if at.since(entries.get(known).at) <= SEEN_FOR {
                return;
            }
            // A record that was moved: it came behind newer ones, which are all that is forgotten.
            index.remove(hash, known);
            index.insert(hash, number, |_| false, forgotten);
        }
        self.entries.push(Entry { at, key: name.key() });
    }

    /// How many were forgotten before their time, because there were too many.
    pub(super) fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    /// Oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn from_entries(entries: Vec<Entry>, forgotten_early: u64) -> Self {
        let mut seen = Self { forgotten_early, ..Self::default() };
        for entry in entries {
            seen.take_name(Name::of(&entry.key), entry.at);
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Seen {
        fn take_event(&mut self, number: usize, at: At) {
            self.take(&"c".parse().unwrap(), &format!("e{number}"), at);
        }

        fn has_event(&self, number: usize, at: At) -> bool {
            self.has(&"c".parse().unwrap(), &format!("e{number}"), at)
        }
    }

    #[test]
    fn the_oldest_goes_first_and_is_counted() {
        let mut seen = Seen::default();
        let at = At::from_millis(1);
        for number in 0..=SEEN_AT_MOST {
            seen.take_event(number, at);
        }
        assert!(!seen.has_event(0, at));
        assert!(seen.has_event(1, at) && seen.has_event(SEEN_AT_MOST, at));
        assert_eq!((seen.entries.len, seen.forgotten_early()), (SEEN_AT_MOST, 1));
    }

    #[test]
    fn what_comes_behind_newer_ones_hides_nothing_that_is_newer_still() {
        let mut seen = Seen::default();
        let (early, late) = (At::from_millis(0), At::from_millis(1).after(SEEN_FOR));
        seen.take_event(1, late);
        seen.take_event(2, early);
        seen.take_event(2, late);
        assert!(seen.has_event(2, late.after(SEEN_FOR)));
        seen.take_event(2, early);
        assert!(seen.has_event(2, late.after(SEEN_FOR)));
        let again = Seen::from_entries(seen.entries().cloned().collect(), 0);
        assert!(again == seen && again.has_event(2, late.after(SEEN_FOR)));
    }

    #[test]
    fn an_event_is_forgotten_after_its_time() {
        let mut seen = Seen::default();
        seen.take_event(1, At::from_millis(0));
        let last = At::from_millis(0).after(SEEN_FOR);
        let after = last.after(Duration::from_millis(1));
        assert!(seen.has_event(1, last) && !seen.has_event(1, after));
        seen.take_event(2, after);
        assert_eq!((seen.entries.len, seen.forgotten_early()), (1, 0));
        assert!(!seen.has_event(1, after) && seen.has_event(2, after));
    }
}
