//! The lane for all messages but connects and handshakes.

use super::contract::ExchangeId;
use super::failure::Failure;
use crate::time::Time;

/// Over HTTP at most one exchange occupies the lane. After failed exchanges the lane rests, longer after each.
#[derive(Debug, Default)]
pub(super) struct CallLane {
    busy: Option<Busy>,
    /// Nothing is sent before then, after exchanges failed.
    rest_until: Option<Time>,
    /// Exchanges that failed in a row.
    failures: u32,
    /// What the last of them failed with.
    last: Option<Failure>,
}

#[derive(Debug)]
struct Busy {
    exchange: ExchangeId,
    /// When to check whether a request still waits for this exchange: its reply may have come another way.
    check_at: Time,
}

impl CallLane {
    /// The lane carries this exchange from now on.
    pub(super) fn occupy(&mut self, exchange: ExchangeId, check_at: Time) {
        self.busy = Some(Busy { exchange, check_at });
    }

    /// The exchange that occupies the lane.
    pub(super) fn exchange(&self) -> Option<ExchangeId> {
        self.busy.as_ref().map(|busy| busy.exchange)
    }

    pub(super) fn carries(&self, exchange: ExchangeId) -> bool {
        self.exchange() == Some(exchange)
    }

    /// The response to an exchange is in. If it is the one that occupied the lane, the lane is free and has no
    /// failures. Returns whether it was.
    pub(super) fn answered(&mut self, exchange: ExchangeId) -> bool {
        let carried = self.carries(exchange);
        if carried {
            *self = Self::default();
        }
        carried
    }

    /// An exchange ended without a response. Returns whether it occupied the lane.
    pub(super) fn release(&mut self, exchange: ExchangeId) -> bool {
        self.busy.take_if(|busy| busy.exchange == exchange).is_some()
    }

    /// Frees the lane of whatever occupies it.
    pub(super) fn clear(&mut self) -> Option<ExchangeId> {
        self.busy.take().map(|busy| busy.exchange)
    }

    /// Bytes of the response to `exchange` came: it is checked no sooner than at `check_at`.
    pub(super) fn progress(&mut self, exchange: ExchangeId, check_at: Time) {
        if let Some(busy) = self.busy.as_mut().filter(|busy| busy.exchange == exchange) {
            busy.check_at = check_at;
        }
    }

    /// The exchange to check now.
    pub(super) fn due(&self, now: Time) -> Option<ExchangeId> {
        self.busy.as_ref().filter(|busy| busy.check_at <= now).map(|busy| busy.exchange)
    }

    pub(super) fn next_check(&self) -> Option<Time> {
        self.busy.as_ref().map(|busy| busy.check_at)
    }

    /// An exchange failed. Returns how many did in a row.
    pub(super) fn failed(&mut self, failure: &Failure) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(failure.clone());
        self.failures
    }

    /// Sends nothing before `until`.
    pub(super) fn rest(&mut self, until: Time) {
        self.rest_until = Some(until);
    }

    /// The end of the rest, if it is later than `now`.
    pub(super) fn rests_until(&self, now: Time) -> Option<Time> {
        self.rest_until.filter(|until| *until > now)
    }

    pub(super) fn last_failure(&self) -> Option<&Failure> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::failure::FailureKind;

    fn at(secs: u64) -> Time {
        Time::from_origin(Duration::from_secs(secs))
    }

    #[test]
    fn only_the_exchange_that_occupies_the_lane_frees_it() {
        let (one, other) = (ExchangeId(1), ExchangeId(2));
        let mut lane = CallLane::default();
        lane.occupy(one, at(10));
        lane.progress(other, at(99));
        assert!(!lane.answered(other) && !lane.release(other));
        assert_eq!((lane.due(at(9)), lane.due(at(10))), (None, Some(one)));
        lane.progress(one, at(20));
        assert_eq!(lane.next_check(), Some(at(20)));
        assert!(lane.release(one));
        assert_eq!(lane.exchange(), None);
    }

    #[test]
    fn a_response_ends_the_failures_and_the_rest() {
        let mut lane = CallLane::default();
        let failure = Failure::new(FailureKind::Lost, "cut");
        assert_eq!((lane.failed(&failure), lane.failed(&failure)), (1, 2));
        lane.rest(at(5));
        assert_eq!((lane.rests_until(at(4)), lane.rests_until(at(5))), (Some(at(5)), None));
        lane.occupy(ExchangeId(1), at(10));
        assert!(lane.answered(ExchangeId(1)));
        assert_eq!(lane.last_failure(), None);
        assert_eq!(lane.rests_until(at(4)), None);
        assert_eq!(lane.failed(&failure), 1);
    }
}
