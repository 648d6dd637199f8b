//! Markers that live as long as the process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::error::StoreError;
use super::store::ReplayStore;

/// A [`ReplayStore`] in memory, for programs that start anew after each end.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<HashMap<String, i64>>);

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl ReplayStore for MemoryStore {
    fn load(&self, channel: &str) -> Result<Option<i64>, StoreError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(channel).copied())
    }

    fn save(&self, channel: &str, marker: i64) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(channel.to_owned(), marker);
        Ok(())
    }

    fn may_block(&self) -> bool {
        false
    }
}
