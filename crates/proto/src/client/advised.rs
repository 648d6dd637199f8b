//! The server's advice as far as it is followed: waits are cut to the longest that the user permits.

use std::time::Duration;

use super::event::Event;
use crate::advice::{Advice, Interval};

/// The advice of the server so far. It outlives a session, except for what to do next (`reconnect`).
#[derive(Debug)]
pub(super) struct Advised {
    advice: Advice,
    longest: Duration,
}

/// An advised wait that is not followed as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capped {
    what: &'static str,
    advised: Duration,
    used: Duration,
}

impl From<Capped> for Event {
    fn from(Capped { what, advised, used }: Capped) -> Self {
        Self::AdviceCapped { what, advised, used }
    }
}

impl Advised {
    pub(super) fn new(longest: Duration) -> Self {
        Self { advice: Advice::default(), longest }
    }

    /// The client is opened, with the advice of the session that it resumes.
    pub(super) fn begin(&mut self, advice: Advice) {
        self.advice = advice;
    }

    /// Another session begins: what the last one was to do next is no advice to it.
    pub(super) fn begin_session(&mut self) {
        self.advice.reconnect = None;
    }

    /// The advice as the server gave it.
    pub(super) fn advice(&self) -> &Advice {
        &self.advice
    }

    /// Merges new advice. Returns whether it changed anything, and which new waits are capped.
    pub(super) fn merge(&mut self, advice: &Advice) -> Option<Vec<Capped>> {
        let mut merged = self.advice.clone();
        merged.merge(advice);
        if merged == self.advice {
            return None;
        }
        let before = std::mem::replace(&mut self.advice, merged);
        let mut capped = Vec::new();
        let Advice { interval, timeout, .. } = self.advice;
        if let Some(Interval::Wait(interval)) = interval.filter(|_| interval != before.interval) {
            capped.extend(self.cap("interval", interval).1);
        }
        if let Some(timeout) = timeout.filter(|_| timeout != before.timeout) {
            capped.extend(self.cap("timeout", timeout).1);
        }
        Some(capped)
    }

    /// Cuts a wait that the server asks for to the longest permitted one.
    pub(super) fn cap(&self, what: &'static str, advised: Duration) -> (Duration, Option<Capped>) {
        let used = advised.min(self.longest);
        (used, (used < advised).then_some(Capped { what, advised, used }))
    }

    /// The pause between connects; `None` if the server wants no more of them.
    pub(super) fn interval(&self) -> Option<Duration> {
        match self.advice.interval {
            None => Some(Duration::ZERO),
            Some(Interval::Wait(span)) => Some(span.min(self.longest)),
            Some(Interval::Never) => None,
        }
    }

    /// How long the server is asked to hold a connect.
    pub(super) fn hold(&self) -> Duration {
        self.advice.timeout.unwrap_or_default().min(self.longest)
    }

    /// How long the server keeps a session that does not connect, if it said so.
    pub(super) fn kept(&self) -> Option<Duration> {
        self.advice.max_interval.filter(|kept| !kept.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_waits_are_capped_and_reported_once() {
        let longest = Duration::from_secs(10);
        let mut advised = Advised::new(longest);
        let advice = Advice {
            interval: Some(Interval::Wait(Duration::from_secs(60))),
            timeout: Some(Duration::from_secs(5)),
            ..Advice::default()
        };
        let capped = Capped { what: "interval", advised: Duration::from_secs(60), used: longest };
        assert_eq!(advised.merge(&advice), Some(vec![capped]));
        assert_eq!(advised.merge(&advice), None);
        assert_eq!((advised.interval(), advised.hold()), (Some(longest), Duration::from_secs(5)));
        let longer = Advice { timeout: Some(Duration::from_secs(11)), ..Advice::default() };
        assert_eq!(advised.merge(&longer).unwrap().len(), 1, "the interval was reported before");
        assert_eq!(advised.hold(), longest);
        advised.merge(&Advice { interval: Some(Interval::Never), ..Advice::default() });
        assert_eq!(advised.interval(), None);
    }
}
