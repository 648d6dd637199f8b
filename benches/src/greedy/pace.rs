//! How fast the attacker sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// So many bytes a second, over all connections.
#[derive(Clone, Debug)]
pub(crate) struct Pace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    per_second: usize,
    sent: AtomicUsize,
    began: std::sync::OnceLock<Instant>,
}

impl Pace {
    pub(crate) fn new(per_second: usize) -> Self {
        Self(Arc::new(Shared { per_second, sent: AtomicUsize::new(0), began: std::sync::OnceLock::new() }))
    }

    /// Waits until that many bytes may be sent.
    pub(crate) async fn take(&self, bytes: usize) {
        let began = *self.0.began.get_or_init(Instant::now);
        let before = self.0.sent.fetch_add(bytes, Ordering::Relaxed);
        let due = began + Duration::from_secs_f64(before as f64 / self.0.per_second as f64);
        tokio::time::sleep_until(due).await;
    }

    /// How many bytes were sent so far.
    pub(crate) fn sent(&self) -> usize {
        self.0.sent.load(Ordering::Relaxed)
    }
}
