//! Whether to try again, and when: the delays, a budget, and a word of the user's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::cause::LostCause;

/// What a session does after an attempt failed: how long it waits, and when it has had enough. The default waits as
/// [`Backoff`] does, and never has enough.
#[derive(Clone, Default)]
pub struct Retry {
    backoff: Backoff,
    max_attempts: Option<u32>,
    max_elapsed: Option<Duration>,
    decide: Option<Decide>,
}

type Decide = Arc<dyn Fn(&FailedAttempt<'_>) -> Verdict + Send + Sync>;

/// An attempt to connect that failed, for [`Retry::decide`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FailedAttempt<'a> {
    /// Why.
    pub cause: &'a LostCause,
    /// How many attempts failed in a row, this one among them.
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
    /// Waits so between attempts, without end.
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, ..Self::default() }
    }

    /// Gives up when that many attempts failed in a row. Default: never.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Gives up when attempts have failed for that long, without one success. Default: never.
    #[must_use]
    pub fn max_elapsed(mut self, elapsed: Duration) -> Self {
        self.max_elapsed = Some(elapsed);
        self
    }

    /// Asks `decide` after each failed attempt that the budget allows to repeat. It is called on the session's own
    /// task and must not block.
    #[must_use]
    pub fn decide(mut self, decide: impl Fn(&FailedAttempt<'_>) -> Verdict + Send + Sync + 'static) -> Self {
        self.decide = Some(Arc::new(decide));
        self
    }

    /// Gives up at once after failures that waiting does not mend: a certificate that is not trusted, a host name that
    /// does not exist, credentials that the server refuses. Takes the place of [`Retry::decide`].
    #[must_use]
    pub fn give_up_on_fatal(self) -> Self {
        self.decide(|failed| if failed.cause.is_fatal() { Verdict::GiveUp } else { Verdict::Retry })
    }

    /// The pause before the first attempt after a loss.
    pub(super) fn first_delay(&self, random: &mut fastrand::Rng) -> Duration {
        self.backoff.first_delay(random)
    }

    /// The pause after `failures` failed attempts.
    pub(super) fn delay(&self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        self.backoff.delay(failures, random)
    }

    /// The pause before the next attempt; `None` when there is to be none.
    pub(super) fn verdict(&self, failed: &FailedAttempt<'_>) -> Option<Duration> {
        let spent = self.max_attempts.is_some_and(|most| failed.failures >= most)
            || self.max_elapsed.is_some_and(|most| failed.elapsed >= most);
        if spent {
            return None;
        }
        match self.decide.as_ref().map_or(Verdict::Retry, |decide| decide(failed)) {
            Verdict::Retry => Some(failed.delay),
            Verdict::RetryAfter(delay) => Some(delay.max(Backoff::FLOOR)),
            Verdict::GiveUp => None,
        }
    }
}

impl From<Backoff> for Retry {
    fn from(backoff: Backoff) -> Self {
        Self::new(backoff)
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("backoff", &self.backoff)
            .field("max_attempts", &self.max_attempts)
            .field("max_elapsed", &self.max_elapsed)
            .field("decide", &self.decide.is_some())
            .finish()
    }
}
