//! A failed attempt that the driver decides about.

use std::time::Duration;

use super::cause::LostCause;
use super::retry::{FailedAttempt, Verdict};

/// The next attempt is planned already, with the usual pause, so that nothing hangs if the driver does not decide.
#[derive(Debug)]
pub(super) struct Undecided {
    failed: FailedAttempt,
    advised: Duration,
    then: Then,
}

/// What follows after the pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Handshake,
    /// A connect of the same session; over another transport if it `changed`.
    Connect {
        changed: bool,
    },
}

impl Undecided {
    /// `advised` is the shortest pause that the server permits.
    pub(super) fn new(failed: FailedAttempt, advised: Duration, then: Then) -> Self {
        Self { failed, advised, then }
    }

    /// Returns the pause before the next attempt, what the last one failed with, and what the next one is; or the failed
    /// attempt if it was the last.
    pub(super) fn decide(self, verdict: Verdict) -> Result<(Duration, LostCause, Then), FailedAttempt> {
        match verdict.pause(&self.failed, self.advised) {
            Some(pause) => Ok((pause, self.failed.cause, self.then)),
            None => Err(self.failed),
        }
    }
}
