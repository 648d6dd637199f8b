//! Whether the server is still there: pings on a quiet WebSocket.

use std::time::Duration;

use crate::time::Time;

/// When the server was last heard, and which ping is not answered.
#[derive(Debug)]
pub(super) struct Liveness {
    interval: Option<Duration>,
    reply_within: Duration,
    last_received: Time,
    /// When the ping went out that is not answered yet.
    ping_sent: Option<Time>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Send a ping.
    Ping,
    /// The last ping was not answered within this time.
    Silent(Duration),
}

/// More pings than that prove nothing more.
const SHORTEST: Duration = Duration::from_secs(1);

impl Liveness {
    /// Pings after `interval` without a sign of life; `None` for no pings.
    pub(super) fn new(interval: Option<Duration>, reply_within: Duration) -> Self {
        let interval = interval.map(|interval| interval.max(SHORTEST));
        Self { interval, reply_within, last_received: Time::ZERO, ping_sent: None }
    }

    /// Something came from the server, be it only the answer to a ping.
    pub(super) fn received(&mut self, now: Time) {
        self.last_received = now;
        self.ping_sent = None;
    }

    /// When something last came.
    pub(super) fn last_received(&self) -> Time {
        self.last_received
    }

    /// When the next ping is due, or the answer to the last one overdue.
    pub(super) fn next_check(&self) -> Option<Time> {
        let interval = self.interval?;
        Some(match self.ping_sent {
            None => self.last_received + interval,
            Some(at) => at + self.reply_within,
        })
    }

    /// Takes what is due.
    pub(super) fn check(&mut self, now: Time) -> Option<Check> {
        if self.next_check()? > now {
            return None;
        }
        if let Some(at) = self.ping_sent.take() {
            return Some(Check::Silent(now.since(at)));
        }
        self.ping_sent = Some(now);
        Some(Check::Ping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_origin(Duration::from_secs(secs))
    }

    #[test]
    fn a_quiet_server_is_pinged_and_a_silent_one_reported() {
        let mut liveness = Liveness::new(Some(Duration::from_secs(20)), Duration::from_secs(10));
        liveness.received(at(5));
        assert_eq!((liveness.check(at(24)), liveness.check(at(25))), (None, Some(Check::Ping)));
        assert_eq!(liveness.next_check(), Some(at(35)));
        liveness.received(at(30));
        assert_eq!(liveness.next_check(), Some(at(50)));
        assert_eq!(liveness.check(at(50)), Some(Check::Ping));
        assert_eq!(liveness.check(at(61)), Some(Check::Silent(Duration::from_secs(11))));
    }

    #[test]
    fn there_are_never_many_pings_and_none_if_not_wanted() {
        let often = Liveness::new(Some(Duration::ZERO), Duration::from_secs(10));
        assert_eq!(often.next_check(), Some(at(1)));
        assert_eq!(Liveness::new(None, Duration::from_secs(10)).next_check(), None);
    }
}
