//! Attempts to connect that fail: how many, for how long, and the pause before the next.

use std::time::Duration;

use super::cause::LostCause;
use super::retry::{FailedAttempt, Retry};
use crate::time::Time;

/// A connection that is lost sooner than this was no success.
const LASTING: Duration = Duration::from_secs(10);

/// Lives as long as the client: failures are counted over sessions, transports and servers.
#[derive(Debug)]
pub(super) struct Attempts {
    retry: Retry,
    random: fastrand::Rng,
    /// Attempts that failed in a row, of any kind.
    failures: u32,
    /// When the first of them failed.
    failing_since: Option<Time>,
    /// Successes in a row that did not last.
    lapses: u32,
    lost_since: Option<Time>,
    last_cause: Option<LostCause>,
}

impl Attempts {
    pub(super) fn new(retry: Retry, seed: u64) -> Self {
        Self {
            retry,
            random: fastrand::Rng::with_seed(seed),
            failures: 0,
            failing_since: None,
            lapses: 0,
            lost_since: None,
            last_cause: None,
        }
    }

    /// The client is opened: nothing that was before counts.
    pub(super) fn begin(&mut self) {
        self.failures = 0;
        self.failing_since = None;
        self.lapses = 0;
        self.lost_since = None;
        self.last_cause = None;
    }

    /// Attempts that failed in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Since when messages do not flow.
    pub(super) fn lost_since(&self) -> Option<Time> {
        self.lost_since
    }

    /// What the last attempt failed with.
    pub(super) fn last_cause(&self) -> Option<&LostCause> {
        self.last_cause.as_ref()
    }

    pub(super) fn note_cause(&mut self, cause: LostCause) {
        self.last_cause = Some(cause);
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.failing_since = None;
        self.lost_since = None;
    }

    /// Messages do not flow any more. `proven` is since when they did.
    pub(super) fn lost(&mut self, proven: Option<Time>, now: Time) {
        if let Some(since) = proven {
            let lasted = now.since(since) >= LASTING;
            self.lapses = if lasted { 0 } else { self.lapses.saturating_add(1) };
        }
        self.lost_since.get_or_insert(now);
    }

    /// Counts a failed attempt.
    pub(super) fn failed(&mut self, cause: &LostCause, now: Time) {
        self.failures = self.failures.saturating_add(1);
        self.last_cause = Some(cause.clone());
        self.failing_since.get_or_insert(now);
    }

    /// The pause after the attempt that was just counted, no shorter than `advised`. Returns an error if the budget is
    /// spent or the cause is not to be tried again.
    pub(super) fn plan(
        &mut self,
        cause: LostCause,
        advised: Duration,
        now: Time,
    ) -> Result<FailedAttempt, FailedAttempt> {
        let delay = match self.failures.saturating_add(self.relapses()) {
            0 | 1 => self.retry.first_delay(&mut self.random),
            row => self.backoff(row),
        };
        let elapsed = now.since(self.failing_since.unwrap_or(now));
        let failed = FailedAttempt { cause, failures: self.failures, elapsed, delay: delay.max(advised) };
        if self.retry.permits(&failed) { Ok(failed) } else { Err(failed) }
    }

    /// The pause before something that failed `failures` times in a row is tried again.
    pub(super) fn backoff(&mut self, failures: u32) -> Duration {
        self.retry.delay(failures.max(1), &mut self.random)
    }

    /// The pause before something that is done at once, unless it was done just before.
    pub(super) fn pause_after_relapses(&mut self) -> Duration {
        match self.relapses() {
            0 => Duration::ZERO,
            relapses => self.backoff(relapses),
        }
    }

    /// How many failures the successes count for that did not last: otherwise success and failure in turn would be a
    /// loop without a growing pause. The first does not count.
    fn relapses(&self) -> u32 {
        self.lapses.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::backoff::Backoff;
    use crate::client::failure::{Failure, FailureKind};

    fn at(secs: u64) -> Time {
        Time::from_origin(Duration::from_secs(secs))
    }

    fn cause() -> LostCause {
        LostCause::Transport(Failure::new(FailureKind::Lost, "cut"))
    }

    fn attempts(retry: impl FnOnce(Retry) -> Retry) -> Attempts {
        let backoff = Backoff::exponential(Duration::from_secs(1)..=Duration::from_secs(30));
        Attempts::new(retry(Retry::new(backoff)), 1)
    }

    fn fail(attempts: &mut Attempts, advised: u64, now: Time) -> Result<u64, u32> {
        attempts.failed(&cause(), now);
        let planned = attempts.plan(cause(), Duration::from_secs(advised), now);
        planned.map(|failed| failed.delay.as_secs()).map_err(|failed| failed.failures)
    }

    #[test]
    fn pauses_grow_until_an_attempt_succeeds() {
        let mut attempts = attempts(|retry| retry);
        assert_eq!([0, 1, 3].map(|now| fail(&mut attempts, 0, at(now))), [Ok(1), Ok(2), Ok(4)]);
        assert_eq!(fail(&mut attempts, 60, at(7)), Ok(60), "no shorter than advised");
        attempts.succeeded();
        assert_eq!(fail(&mut attempts, 0, at(100)), Ok(1));
    }

    #[test]
    fn the_budget_counts_attempts_and_time() {
        let mut few = attempts(|retry| retry.max_attempts(2));
        assert_eq!([0, 1].map(|now| fail(&mut few, 0, at(now))), [Ok(1), Err(2)]);
        let mut short = attempts(|retry| retry.max_elapsed(Duration::from_secs(5)));
        assert_eq!([10, 14, 15].map(|now| fail(&mut short, 0, at(now))), [Ok(1), Ok(2), Err(3)]);
        short.begin();
        assert_eq!(fail(&mut short, 0, at(100)), Ok(1));
    }

    #[test]
    fn successes_that_do_not_last_count_as_failures_after_the_first() {
        let mut attempts = attempts(|retry| retry);
        let pauses = [1, 2, 3, 4].map(|n| {
            attempts.lost(Some(at(100 * n)), at(100 * n + 9));
            let pause = attempts.pause_after_relapses().as_secs();
            attempts.succeeded();
            pause
        });
        assert_eq!(pauses, [0, 1, 2, 4]);
        attempts.lost(Some(at(1000)), at(1010));
        assert_eq!(attempts.pause_after_relapses(), Duration::ZERO);
    }

    #[test]
    fn the_loss_begins_once() {
        let mut attempts = attempts(|retry| retry);
        attempts.lost(None, at(1));
        attempts.lost(None, at(2));
        assert_eq!(attempts.lost_since(), Some(at(1)));
        attempts.succeeded();
        assert_eq!(attempts.lost_since(), None);
    }
}
