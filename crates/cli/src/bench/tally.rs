//! Counts of received messages, and their latencies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Notify;

/// Counted by all clients together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    received: AtomicU64,
    failed: AtomicU64,
    wanted: AtomicU64,
    reached: Notify,
    times: Mutex<Option<Times>>,
}

#[derive(Debug)]
struct Times {
    latency: Histogram<u64>,
    last: Instant,
}

impl Tally {
    fn times(&self) -> MutexGuard<'_, Option<Times>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resets all counts.
    pub(crate) fn reset(&self) {
        self.received.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
        self.wanted.store(u64::MAX, Ordering::Relaxed);
        *self.times() = None;
    }

    /// Counts a received message and its latency.
    pub(crate) fn message(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let now = Instant::now();
        {
            let mut times = self.times();
            let times = times.get_or_insert_with(|| Times { latency: histogram(), last: now });
            times.latency.saturating_record(micros.max(1));
            times.last = now;
        }
        if self.received.fetch_add(1, Ordering::Relaxed) + 1 >= self.wanted.load(Ordering::Relaxed) {
            self.reached.notify_one();
        }
    }

    /// Counts a publish that failed.
    pub(crate) fn failure(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// When the last message was received.
    pub(crate) fn last(&self) -> Instant {
        self.times().as_ref().map_or_else(Instant::now, |times| times.last)
    }

    /// The latencies in microseconds.
    pub(crate) fn latency(&self) -> Histogram<u64> {
        self.times().as_ref().map_or_else(histogram, |times| times.latency.clone())
    }

    /// Waits until this number of messages was received.
    pub(crate) async fn reaches(&self, wanted: u64) {
        self.wanted.store(wanted, Ordering::Relaxed);
        if self.received() < wanted {
            self.reached.notified().await;
        }
    }
}

/// From 1 µs to 1 min with three digits, as the load test has it.
#[allow(clippy::expect_used)]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are right")
}
