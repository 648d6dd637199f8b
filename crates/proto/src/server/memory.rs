//! How much memory an engine takes, and how much it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes an engine keeps for its peers. What is allocated is never more than what is counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// The sessions, and what is known of links and browsers.
    pub sessions: usize,
    /// The subscriptions and the names of their channels.
    pub subscriptions: usize,
    /// The places of messages in the queues of sessions.
    pub queues: usize,
    /// The encoded messages, once each however many queues they are in, and the frames and responses that were made of
    /// them, until they are written.
    pub messages: usize,
    /// Requests that are not answered yet because they are much work.
    pub requests: usize,
}

impl Memory {
    /// All of it, which [`Config::max_memory`](super::Config::max_memory) limits.
    pub fn total(&self) -> usize {
        [self.sessions, self.subscriptions, self.queues, self.messages, self.requests]
            .into_iter()
            .fold(0, usize::saturating_add)
    }
}

/// Counts the bytes of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter(Arc<AtomicUsize>);

impl Meter {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts so many bytes until the charge is dropped.
    pub(super) fn charge(&self, bytes: usize) -> Charge {
        let mut charge = Charge { meter: self.clone(), bytes: 0 };
        charge.set(bytes);
        charge
    }
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    meter: Meter,
    bytes: usize,
}

impl Charge {
    /// It is so many bytes from now on.
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.meter.0.fetch_add(bytes, Ordering::Relaxed);
            self.meter.0.fetch_sub(self.bytes, Ordering::Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The meters of an engine.
#[derive(Debug, Default)]
pub(super) struct Meters {
    pub(super) sessions: Meter,
    pub(super) queues: Meter,
    pub(super) messages: Meter,
    pub(super) requests: Meter,
}

/// The parts of a budget that are kept for one kind of use, so that no use leaves nothing for the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget(pub(super) usize);

impl Budget {
    /// More subscriptions than this are refused.
    pub(super) fn subscriptions(self) -> usize {
        self.0 / 4
    }

    /// More work than this does not wait.
    pub(super) fn requests(self) -> usize {
        self.0 / 8
    }

    /// Beyond this in all, the sessions with the fullest queues lose them.
    pub(super) fn queues(self) -> usize {
        self.0 / 8 * 7
    }

    /// Beyond this in all, nothing new is taken in. It is more than the one before: new things are refused only
    /// when no queue is left to be emptied.
    pub(super) fn all(self) -> usize {
        self.0 / 16 * 15
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_is_counted_until_it_is_dropped() {
        let meter = Meter::default();
        let mut one = meter.charge(10);
        let two = meter.charge(5);
        one.set(3);
        assert_eq!(meter.bytes(), 8);
        drop(two);
        assert_eq!(meter.bytes(), 3);
        drop(one);
        assert_eq!(meter.bytes(), 0);
    }
}
