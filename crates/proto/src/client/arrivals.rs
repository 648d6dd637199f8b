//! Arriving bytes put deadlines off: the reply may be behind them.

use std::time::Duration;

use super::contract::ExchangeId;
use crate::time::Time;

/// What has arrived, and when.
///
/// Deadlines are not moved whenever bytes arrive, which would touch all requests. When a deadline has passed, it is
/// checked here whether there was progress.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// When bytes came that all that waits may be behind.
    bytes: Option<Time>,
    /// When a whole frame came.
    frame: Option<Time>,
    /// The responses that have begun to arrive, since when, and when the last of each came.
    responses: Vec<(ExchangeId, Time, Time)>,
}

/// A response that takes longer than that to arrive is on a slow link, which it shares with the others.
const SLOW: Duration = Duration::from_millis(100);

impl Arrivals {
    /// A part of a frame came.
    pub(super) fn part(&mut self, now: Time) {
        self.bytes = Some(now);
    }

    /// A whole frame came. On a slow link there may be many before the one that is waited for.
    pub(super) fn frame(&mut self, now: Time) {
        self.frame = Some(now);
    }

    /// A part of a response came.
    pub(super) fn response(&mut self, exchange: ExchangeId, now: Time) {
        /// There are two lanes.
        const LANES: usize = 2;
        let known = self.responses.iter_mut().find(|(known, ..)| *known == exchange);
        let Some((_, first, last)) = known else {
            if self.responses.len() == LANES {
                self.responses.remove(0);
            }
            return self.responses.push((exchange, now, now));
        };
        *last = now;
        if now.since(*first) >= SLOW {
            self.bytes = Some(now);
        }
    }

    /// Until when a reply to what went out with `exchange` may take, for the bytes that came.
    pub(super) fn put_off(&self, exchange: ExchangeId, span: Duration) -> Time {
        let own = self.responses.iter().find(|(known, ..)| *known == exchange).map(|(.., last)| *last);
        own.max(self.bytes).map_or(Time::ZERO, |at| at + span)
    }

    /// The same for a connect or handshake, which whole frames put off too: it is the first thing that is sent when
    /// nothing else goes out any more, and the socket is not silent.
    pub(super) fn put_off_session(&self, exchange: ExchangeId, span: Duration) -> Time {
        let frame = self.frame.map_or(Time::ZERO, |at| at + span);
        self.put_off(exchange, span).max(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn a_slow_response_puts_off_all_and_a_quick_one_only_its_own() {
        const SPAN: Duration = Duration::from_secs(10);
        let (one, other) = (ExchangeId(1), ExchangeId(2));
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.put_off(one, SPAN), Time::ZERO);
        arrivals.response(one, at(1000));
        arrivals.response(one, at(1050));
        assert_eq!(arrivals.put_off(one, SPAN), at(11_050));
        assert_eq!(arrivals.put_off(other, SPAN), Time::ZERO);
        arrivals.response(one, at(1200));
        assert_eq!(arrivals.put_off(other, SPAN), at(11_200));
        // Many quick ones on another connection say nothing about this one.
        for n in 3..100 {
            arrivals.response(ExchangeId(n), at(n * 1000));
        }
        assert_eq!(arrivals.put_off(other, SPAN), at(11_200));
        assert_eq!(arrivals.responses.len(), 2);
    }

    #[test]
    fn whole_frames_put_off_only_what_keeps_the_session() {
        const SPAN: Duration = Duration::from_secs(10);
        let mut arrivals = Arrivals::default();
        arrivals.frame(at(1000));
        assert_eq!(arrivals.put_off(ExchangeId(1), SPAN), Time::ZERO);
        assert_eq!(arrivals.put_off_session(ExchangeId(1), SPAN), at(11_000));
        arrivals.part(at(2000));
        assert_eq!(arrivals.put_off(ExchangeId(1), SPAN), at(12_000));
    }
}
