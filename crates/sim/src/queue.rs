//! The future: what is to happen, in the order of virtual time.

use std::collections::BTreeMap;

use bayeux_proto::Time;

/// What is to happen, ordered by time, and by the order of planning within one instant.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    items: BTreeMap<(Time, u64), T>,
    planned: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { items: BTreeMap::new(), planned: 0 }
    }

    pub(crate) fn plan(&mut self, at: Time, item: T) {
        self.planned += 1;
        self.items.insert((at, self.planned), item);
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        self.items.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, T)> {
        self.items.pop_first().map(|((at, _), item)| (at, item))
    }

    /// What is to happen up to `until`, with the handles by which it can be taken out of turn.
    pub(crate) fn upcoming(&self, until: Time) -> impl Iterator<Item = ((Time, u64), &T)> {
        self.items.range(..=(until, u64::MAX)).map(|(key, item)| (*key, item))
    }

    pub(crate) fn take(&mut self, key: (Time, u64)) -> Option<T> {
        self.items.remove(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}
