//! When to try again, with the user's own decision.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::client::{Backoff, FailedAttempt, Retry as Policy, Verdict};

/// What a client does after an attempt to connect failed: how long it waits, and when it gives up. The default waits as
/// [`Backoff`] does, and never gives up.
#[derive(Clone, Default)]
pub struct Retry {
    policy: Policy,
    decide: Option<Decide>,
}

pub(crate) type Decide = Arc<dyn Fn(&FailedAttempt) -> Verdict + Send + Sync>;

impl Retry {
    /// Waits as `backoff` says between attempts, without end.
    pub fn new(backoff: Backoff) -> Self {
        Self { policy: Policy::new(backoff), decide: None }
    }

    /// Gives up after this many failed attempts in a row. Default: never.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.policy = self.policy.max_attempts(attempts);
        self
    }

    /// Gives up after attempts have failed for this long without a success. Default: never.
    #[must_use]
    pub fn max_elapsed(mut self, elapsed: Duration) -> Self {
        self.policy = self.policy.max_elapsed(elapsed);
        self
    }

    /// Calls `decide` after each failed attempt that the budget permits to repeat. `decide` runs on the client's own task and
    /// must not block. Takes the place of an earlier `decide`.
    #[must_use]
    pub fn decide(mut self, decide: impl Fn(&FailedAttempt) -> Verdict + Send + Sync + 'static) -> Self {
        self.decide = Some(Arc::new(decide));
        self
    }

    /// Gives up at once after failures that waiting does not mend: a certificate that is not trusted, a host name that
    /// does not exist, credentials that the server refuses. [`Retry::decide`] is not called for those.
    #[must_use]
    pub fn give_up_on_fatal(mut self) -> Self {
        self.policy = self.policy.give_up_on_fatal();
        self
    }

    pub(crate) fn into_parts(self) -> (Policy, Option<Decide>) {
        (self.policy, self.decide)
    }
}

impl From<Backoff> for Retry {
    fn from(backoff: Backoff) -> Self {
        Self::new(backoff)
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("policy", &self.policy).field("decide", &self.decide.is_some()).finish()
    }
}
