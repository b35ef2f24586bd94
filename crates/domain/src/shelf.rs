use std::fmt;
use std::hash::BuildHasher as _;
use std::marker::PhantomData;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use triomphe::Arc;

/// An id that is derived, so that its characters are spread evenly.
pub(crate) trait Derived: Copy + Ord {
    /// The letter of its kind, and 16 characters of Crockford base 32.
    fn as_bytes(&self) -> &[u8; 17];
}

/// A map by derived ids, for millions of them, whose clones share all that does not change.
///
/// Where an ordered map waits for memory at each of its levels, here only a table of some 30 entries
/// (at a million) is far away: it stands under the first three characters of its ids. It is
/// serialised in the order of the ids.
#[derive(Clone)]
pub(crate) struct Shelf<K, V> {
    tables: Arc<Tables<K, V>>,
    len: usize,
}

/// Under the first, the second and the third character.
type Tables<K, V> = Fan<Fan<Fan<Table<K, V>>>>;

type Table<K, V> = HashTable<(K, V)>;

/// One of the digits of Crockford base 32 in each place.
#[derive(Clone)]
struct Fan<T>([Option<Arc<T>>; 32]);

impl<T> Default for Fan<T> {
    fn default() -> Self {
        Self([const { None }; 32])
    }
}

impl<T: Clone + Default> Fan<T> {
    fn get(&self, digit: usize) -> Option<&T> {
        self.0[digit].as_deref()
    }

    fn get_mut(&mut self, digit: usize) -> Option<&mut T> {
        self.0[digit].as_mut().map(Arc::make_mut)
    }

    fn get_or_add(&mut self, digit: usize) -> &mut T {
        Arc::make_mut(self.0[digit].get_or_insert_default())
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten().map(Arc::as_ref)
    }
}

/// The value of a digit of Crockford base 32, which keeps their order: of bytes that are none, any.
const DIGITS: [u8; 256] = {
    let mut digits = [0; 256];
    let (mut value, alphabet) = (0, b"0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    while value < 32 {
        digits[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

fn place<K: Derived>(key: &K) -> [usize; 3] {
    let bytes = key.as_bytes();
    [1, 2, 3].map(|index| usize::from(DIGITS[usize::from(bytes[index])]))
}

/// The same in every process: ids are digests, which nobody can choose.
fn hash<K: Derived>(key: &K) -> u64 {
    FixedState::default().hash_one(key.as_bytes())
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self { tables: Arc::default(), len: 0 }
    }
}

impl<K: Derived, V: Clone> Shelf<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let [first, second, third] = place(key);
        let table = self.tables.get(first)?.get(second)?.get(third)?;
        table.find(hash(key), |(known, _)| known == key).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let table = self.table_mut(key)?;
        table.find_mut(hash(key), |(known, _)| known == key).map(|(_, value)| value)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// What stood there before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let [first, second, third] = place(&key);
        let tables = Arc::make_mut(&mut self.tables);
        let table = tables.get_or_add(first).get_or_add(second).get_or_add(third);
        match table.entry(hash(&key), |(known, _)| *known == key, |(known, _)| hash(known)) {
            Entry::Occupied(mut known) => Some(std::mem::replace(&mut known.get_mut().1, value)),
            Entry::Vacant(free) => {
                free.insert((key, value));
                self.len += 1;
                None
            }
        }
    }

    /// What stood there before.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        // A table that is shared is not copied for nothing.
        self.get(key)?;
        let table = self.table_mut(key)?;
        let found = table.find_entry(hash(key), |(known, _)| known == key).ok()?;
        let ((_, value), _) = found.remove();
        self.len -= 1;
        Some(value)
    }

    fn table_mut(&mut self, key: &K) -> Option<&mut Table<K, V>> {
        let [first, second, third] = place(key);
        Arc::make_mut(&mut self.tables).get_mut(first)?.get_mut(second)?.get_mut(third)
    }

    fn tables(&self) -> impl Iterator<Item = &Table<K, V>> {
        self.tables.iter().flat_map(Fan::iter).flat_map(Fan::iter)
    }

    /// In the order of nothing.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.tables().flatten().map(|(_, value)| value)
    }

    /// In the order of the ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.tables().flat_map(|table| {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            entries
        })
    }
}

impl<K: Derived, V: Clone + PartialEq> PartialEq for Shelf<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let mut entries = self.tables().flatten();
        self.len == other.len && entries.all(|(key, value)| other.get(key) == Some(value))
    }
}

impl<K: Derived + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for Shelf<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, value)| (key, value))).finish()
    }
}

impl<K: Derived + Serialize, V: Clone + Serialize> Serialize for Shelf<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, K, V> Deserialize<'de> for Shelf<K, V>
where
    K: Derived + Deserialize<'de>,
    V: Clone + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(PhantomData<(K, V)>);

        impl<'de, K, V> Visitor<'de> for Entries<K, V>
        where
            K: Derived + Deserialize<'de>,
            V: Clone + Deserialize<'de>,
        {
            type Value = Shelf<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map by derived ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut found = Shelf::default();
                while let Some((key, value)) = map.next_entry()? {
                    found.insert(key, value);
                }
                Ok(found)
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ItemId;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, u8),
        Remove(u16),
        Change(u16, u8),
        /// From here on a clone is compared with what was there.
        Keep,
    }

    fn id(number: u16) -> ItemId {
        ItemId::derive(&number.to_string())
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..400_u16, any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
            3 => (0..400_u16).prop_map(Step::Remove),
            2 => (0..400_u16, any::<u8>()).prop_map(|(key, value)| Step::Change(key, value)),
            1 => Just(Step::Keep),
        ]
    }

    fn holds(shelf: &Shelf<ItemId, u8>, model: &BTreeMap<ItemId, u8>) {
        let entries: Vec<_> = shelf.iter().copied().collect();
        assert_eq!(entries, model.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>());
        assert!((0..400).all(|key| shelf.get(&id(key)) == model.get(&id(key))));
        assert_eq!(shelf.len, model.len());
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_a_clone_stays_as_it_was(
            steps in proptest::collection::vec(step(), 1..300),
        ) {
            let (mut shelf, mut model) = (Shelf::default(), BTreeMap::new());
            let mut kept = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        let before = model.insert(id(key), value);
                        prop_assert_eq!(shelf.insert(id(key), value), before);
                    }
                    Step::Remove(key) => {
                        prop_assert_eq!(shelf.remove(&id(key)), model.remove(&id(key)));
                    }
                    Step::Change(key, value) => {
                        let (one, other) = (shelf.get_mut(&id(key)), model.get_mut(&id(key)));
                        prop_assert_eq!(&one, &other);
                        if let (Some(one), Some(other)) = (one, other) {
                            (*one, *other) = (value, value);
                        }
                    }
                    Step::Keep => kept.push((shelf.clone(), model.clone())),
                }
            }
            kept.push((shelf, model));
            for (shelf, model) in &kept {
                holds(shelf, model);
                let json = serde_json::to_string(shelf).unwrap();
                prop_assert_eq!(&json, &serde_json::to_string(model).unwrap());
                let again: Shelf<ItemId, u8> = serde_json::from_str(&json).unwrap();
                prop_assert!(again == *shelf);
                for (other, other_model) in &kept {
                    prop_assert_eq!(shelf == other, model == other_model);
                }
            }
        }
    }
}
