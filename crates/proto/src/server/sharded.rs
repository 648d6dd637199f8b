//! A map that grows in small steps: one table of a million entries takes long to grow, and everybody waits meanwhile.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

/// A map in many tables, so that none takes long to grow.
#[derive(Debug)]
pub(super) struct Sharded<K, V> {
    tables: Vec<HashTable<(K, V)>>,
    hasher: RandomState,
    len: usize,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        const TABLES: usize = 64;
        Self { tables: (0..TABLES).map(|_| HashTable::new()).collect(), hasher: RandomState::new(), len: 0 }
    }
}

impl<K: Hash + Eq, V> Sharded<K, V> {
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> (u64, usize) {
        let hash = self.hasher.hash_one(key);
        // The tables themselves use the other bits.
        (hash, (hash >> 32) as usize % self.tables.len())
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (hash, at) = self.place(key);
        self.tables[at].find(hash, |(known, _)| known.borrow() == key).map(|(_, value)| value)
    }

    pub(super) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (hash, at) = self.place(key);
        self.tables[at].find_mut(hash, |(known, _)| known.borrow() == key).map(|(_, value)| value)
    }

    pub(super) fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key).is_some()
    }

    /// The value that was there before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(known) = self.get_mut(&key) {
            return Some(std::mem::replace(known, value));
        }
        let (hash, at) = self.place(&key);
        let Self { tables, hasher, len } = self;
        tables[at].insert_unique(hash, (key, value), |(key, _)| hasher.hash_one(key));
        *len += 1;
        None
    }

    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (hash, at) = self.place(key);
        let Self { tables, hasher, len } = self;
        let table = &mut tables[at];
        let ((_, value), _) = table.find_entry(hash, |(known, _)| known.borrow() == key).ok()?.remove();
        *len -= 1;
        // What was needed once need not be kept for ever.
        if table.capacity() > 64 && table.len() < table.capacity() / 4 {
            table.shrink_to(table.len() * 2, |(key, _)| hasher.hash_one(key));
        }
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.tables.iter().flatten().map(|(key, value)| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    proptest::proptest! {
        #[test]
        fn it_is_a_map(changes in proptest::collection::vec((0..3_u8, 0..500_u64, 0..9_u8), 0..2000)) {
            let (mut sharded, mut model) = (Sharded::default(), HashMap::new());
            for (change, key, value) in changes {
                match change {
                    0 => proptest::prop_assert_eq!(sharded.remove(&key), model.remove(&key)),
                    1 => proptest::prop_assert_eq!(sharded.insert(key, value), model.insert(key, value)),
                    _ => proptest::prop_assert_eq!(sharded.get_mut(&key), model.get_mut(&key)),
                }
                proptest::prop_assert_eq!(sharded.contains_key(&key), model.contains_key(&key));
                proptest::prop_assert_eq!(sharded.len(), model.len());
            }
            let all: HashMap<_, _> = sharded.iter().map(|(key, value)| (*key, *value)).collect();
            proptest::prop_assert_eq!(all, model);
        }
    }

    /// How many entries were moved at once, at most, while so many came and went again.
    fn most_moved(entries: u64) -> usize {
        let mut map = Sharded::default();
        let mut most = 0;
        let mut change = |map: &mut Sharded<u64, ()>, key, comes: bool| {
            let (_, at) = map.place(&key);
            let before = map.tables[at].capacity();
            if comes {
                map.insert(key, ());
            } else {
                map.remove(&key);
            }
            if map.tables[at].capacity() != before {
                most = most.max(map.tables[at].len());
            }
        };
        for key in 0..entries {
            change(&mut map, key, true);
        }
        for key in 0..entries {
            change(&mut map, key, false);
        }
        assert!(map.tables.iter().map(HashTable::capacity).sum::<usize>() <= 64 * 128, "it shrinks again");
        most
    }

    #[test]
    fn it_grows_and_shrinks_in_small_steps() {
        let most = most_moved(200_000);
        assert!((1000..200_000 / 32).contains(&most), "{most}");
    }
}
