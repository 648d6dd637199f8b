//! Whether to try again, and when: the delays and a budget.

use std::time::Duration;

use super::backoff::Backoff;
use super::cause::LostCause;

/// What a session does after an attempt failed: how long it waits, and when it gives up. The default waits as
/// [`Backoff`] does, and never gives up.
#[derive(Clone, Debug, Default)]
pub struct Retry {
    backoff: Backoff,
    max_attempts: Option<u32>,
    max_elapsed: Option<Duration>,
    give_up_on_fatal: bool,
}

/// An attempt to connect that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// Why.
    pub cause: LostCause,
    /// How many attempts failed in a row, including this one.
    pub failures: u32,
    /// How long ago the first of them failed.
    pub elapsed: Duration,
    /// The pause that would follow.
    pub delay: Duration,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Try again after the usual pause.
    Retry,
    /// Try again after this pause, or after a longer one if the server advised it; never sooner than after 10 ms.
    RetryAfter(Duration),
    /// End the session with this failure.
    GiveUp,
}

impl Retry {
    /// Waits between attempts as `backoff` defines, and never gives up.
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, ..Self::default() }
    }

    /// Gives up after this many failed attempts in a row. Default: never.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Gives up after attempts have failed for this long without a success. Default: never.
    #[must_use]
    pub fn max_elapsed(mut self, elapsed: Duration) -> Self {
        self.max_elapsed = Some(elapsed);
        self
    }

    /// Gives up at once after failures that persist until the configuration is changed: a certificate that is not trusted, a host name that
    /// does not exist, credentials that the server refuses.
    #[must_use]
    pub fn give_up_on_fatal(mut self) -> Self {
        self.give_up_on_fatal = true;
        self
    }

    /// The pause before the first attempt after a loss.
    pub(super) fn first_delay(&self, random: &mut fastrand::Rng) -> Duration {
        self.backoff.first_delay(random)
    }

    /// The pause after `failures` failed attempts.
    pub(super) fn delay(&self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        self.backoff.delay(failures, random)
    }

    /// Whether another attempt may follow.
    pub(super) fn permits(&self, failed: &FailedAttempt) -> bool {
        let spent = self.max_attempts.is_some_and(|most| failed.failures >= most)
            || self.max_elapsed.is_some_and(|most| failed.elapsed >= most);
        let fatal = self.give_up_on_fatal && failed.cause.is_fatal();
        !spent && !fatal
    }
}

impl Verdict {
    /// The pause before the next attempt, which is no shorter than `advised`; `None` if there is to be none.
    pub(super) fn pause(self, failed: &FailedAttempt, advised: Duration) -> Option<Duration> {
        match self {
            Self::Retry => Some(failed.delay),
            Self::RetryAfter(delay) => Some(delay.max(Backoff::FLOOR).max(advised)),
            Self::GiveUp => None,
        }
    }
}

impl From<Backoff> for Retry {
    fn from(backoff: Backoff) -> Self {
        Self::new(backoff)
    }
}
