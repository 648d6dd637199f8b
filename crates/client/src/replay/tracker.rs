//! Which messages of a stream are processed, and how far its marker has got.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::error::StoreError;
use super::store::ReplayStore;

/// Shared by a stream and the messages that it has returned.
pub(super) struct Tracker {
    channel: String,
    store: Arc<dyn ReplayStore>,
    state: Mutex<State>,
    /// Held while the marker is saved, so that an older one never takes the place of a newer.
    saving: Mutex<()>,
    /// The stream is dropped: nobody else saves the marker.
    is_left: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The messages that were returned and are not processed yet, each with the id of the last message before it.
    open: BTreeMap<u64, Option<i64>>,
    /// The id of the last message that was returned.
    last: Option<i64>,
    /// The id of the last message that is processed, with all before it.
    marker: Option<i64>,
    saved: Option<i64>,
    /// How many messages were processed since the marker was saved.
    unsaved: u32,
    /// The stream, if it waits.
    waker: Option<Waker>,
}

impl Tracker {
    pub(super) fn new(channel: String, store: Arc<dyn ReplayStore>, begin: Option<i64>) -> Self {
        let state = State { last: begin, marker: begin, saved: begin, ..State::default() };
        let (state, saving) = (Mutex::new(state), Mutex::new(()));
        Self { channel, store, state, saving, is_left: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message with this id is returned. Returns its number.
    pub(super) fn begin(&self, id: Option<i64>) -> u64 {
        let mut state = self.state();
        state.next += 1;
        let (number, before) = (state.next, state.last);
        state.open.insert(number, before);
        state.last = id.or(before);
        number
    }

    /// The message of that number is processed.
    pub(super) fn processed(&self, number: u64) {
        let mut state = self.state();
        if state.open.remove(&number).is_none() {
            return;
        }
        state.marker = match state.open.first_key_value() {
            Some((_, before)) => *before,
            None => state.last,
        };
        state.unsaved = state.unsaved.saturating_add(1);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the marker is to be saved because that many messages were processed since. Otherwise, wakes the task when one is.
    pub(super) fn is_due(&self, every: u32, waker: Option<&Waker>) -> bool {
        let mut state = self.state();
        let due = state.marker != state.saved && state.unsaved >= every;
        if !due && let Some(waker) = waker {
            state.waker = Some(waker.clone());
        }
        due
    }

    /// The marker.
    pub(super) fn marker(&self) -> Option<i64> {
        self.state().marker
    }

    /// Saves the marker if it has advanced. Blocks.
    pub(super) fn save(&self) -> Result<(), StoreError> {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let (marker, unsaved) = {
            let state = self.state();
            match state.marker {
                Some(marker) if state.saved != Some(marker) => (marker, state.unsaved),
                _ => return Ok(()),
            }
        };
        let outcome = self.store.save(&self.channel, marker);
        let mut state = self.state();
        // After an error, the next attempt is made with the next messages.
        state.unsaved = state.unsaved.saturating_sub(unsaved);
        outcome?;
        state.saved = Some(marker);
        Ok(())
    }

    pub(super) fn may_block(&self) -> bool {
        self.store.may_block()
    }

    /// The stream is dropped.
    pub(super) fn leave(&self) {
        self.is_left.store(true, Ordering::Release);
    }

    pub(super) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::*;

    fn tracker() -> (Tracker, Arc<MemoryStore>) {
        let store = Arc::new(MemoryStore::new());
        (Tracker::new("/a".to_owned(), Arc::clone(&store) as _, Some(1)), store)
    }

    #[test]
    fn a_marker_never_passes_a_message_that_is_not_processed() {
        let (tracker, store) = tracker();
        let [two, none, five, seven] = [Some(2), None, Some(5), Some(7)].map(|id| tracker.begin(id));
        tracker.processed(five);
        assert_eq!(tracker.marker(), Some(1));
        assert!(!tracker.is_due(1, None));
        tracker.processed(two);
        assert_eq!(tracker.marker(), Some(2), "what has no id is not processed yet");
        tracker.processed(none);
        assert_eq!(tracker.marker(), Some(5));
        assert!(tracker.is_due(3, None));
        tracker.save().unwrap();
        assert!(!tracker.is_due(1, None));
        tracker.processed(seven);
        tracker.processed(seven);
        assert_eq!(tracker.marker(), Some(7));
        assert_eq!(store.load("/a").unwrap(), Some(5));
        tracker.save().unwrap();
        assert_eq!(store.load("/a").unwrap(), Some(7));
    }

    #[test]
    fn the_memory_it_takes_is_that_of_the_open_messages() {
        let (tracker, _) = tracker();
        let first = tracker.begin(Some(2));
        for id in 3..10_000 {
            let number = tracker.begin(Some(id));
            tracker.processed(number);
        }
        assert_eq!(tracker.state().open.len(), 1);
        tracker.processed(first);
        assert_eq!(tracker.marker(), Some(9_999));
    }

    #[test]
    fn after_a_fallback_the_marker_follows_the_order_of_messages() {
        let (tracker, store) = tracker();
        let old = tracker.begin(Some(1000));
        let new = tracker.begin(Some(3));
        tracker.processed(new);
        tracker.processed(old);
        tracker.save().unwrap();
        assert_eq!(store.load("/a").unwrap(), Some(3));
    }
}
