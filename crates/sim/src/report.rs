//! What came of one or many lifetimes.

use std::fmt;
use std::time::Duration;

use crate::fault::Counts;
use crate::law::Violation;
use crate::trace::Trace;

/// Sums over lifetimes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// How many lifetimes were run.
    pub lifetimes: u64,
    /// How much virtual time they lasted.
    pub virtual_time: Duration,
    /// The faults that happened, by kind. A fault that was planned but met nothing is not counted.
    pub faults: Counts,
    /// How many calls users made.
    pub calls: u64,
    /// How many of them failed.
    pub failed_calls: u64,
    /// How many messages the server took.
    pub published: u64,
    /// How many messages reached receivers.
    pub delivered: u64,
    /// How many messages receivers missed, and were told of.
    pub missed: u64,
    /// How many messages were taken by the server more than once, because their senders allowed it.
    pub doubled: u64,
    /// How many sessions the server granted.
    pub sessions: u64,
    /// How often a client was connected.
    pub connections: u64,
}

impl Report {
    /// Adds another report to this.
    pub fn add(&mut self, other: &Self) {
        self.lifetimes += other.lifetimes;
        self.virtual_time += other.virtual_time;
        self.faults.add(&other.faults);
        self.calls += other.calls;
        self.failed_calls += other.failed_calls;
        self.published += other.published;
        self.delivered += other.delivered;
        self.missed += other.missed;
        self.doubled += other.doubled;
        self.sessions += other.sessions;
        self.connections += other.connections;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} lifetimes, {:.1} hours of virtual time",
            self.lifetimes,
            self.virtual_time.as_secs_f64() / 3600.0
        )?;
        writeln!(f, "{} sessions granted, {} times connected", self.sessions, self.connections)?;
        writeln!(f, "{} calls, {} of them failed", self.calls, self.failed_calls)?;
        writeln!(
            f,
            "{} messages taken by the server ({} of them more than once), {} delivered, {} missed and told",
            self.published, self.doubled, self.delivered, self.missed
        )?;
        writeln!(f, "{} faults:", self.faults.total())?;
        write!(f, "{}", self.faults)
    }
}

/// A lifetime in which a law was broken, with all that is needed to understand and to repeat it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Broken {
    /// The seed of the lifetime.
    pub seed: u64,
    /// What was broken.
    pub violation: Violation,
    /// All that happened.
    pub trace: Trace,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}seed {}: {}", self.trace, self.seed, self.violation)
    }
}

impl std::error::Error for Broken {}
