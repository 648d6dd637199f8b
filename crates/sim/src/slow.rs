//! Slow links: what comes to a client comes in parts, one behind the other, as fast as its link allows.

use std::time::Duration;

use bayeux_proto::Time;

use crate::world::World;

/// How many bytes come at a time: a segment of TCP on a modest path.
const SEGMENT: u64 = 536;
/// What each message takes beside its body: headers of HTTP or of a frame, and of TCP.
const ENVELOPE: u64 = 60;
/// Large messages come in no more parts than that.
const MOST_PARTS: u64 = 64;

/// The link of one client, in the direction in which events flow. Both transports and all connections share it.
#[derive(Debug, Default)]
pub(crate) struct Downlink {
    bytes_per_second: u64,
    /// Until when it is slow. What is still on its way then comes at once.
    until: Time,
    /// When all that is on its way has come.
    free_at: Time,
    /// The client gave up something that was on its way. A real connection stops then; this one carries it to its end, and
    /// the client does not see that what it waits for is behind it.
    pub(crate) carries_on: bool,
}

impl Downlink {
    pub(crate) fn slow_down(&mut self, bytes_per_second: u32, until: Time) {
        self.bytes_per_second = u64::from(bytes_per_second.max(1));
        self.until = until;
    }

    /// When the parts of a message arrive, and when it is there, if its first byte comes at `start` at the earliest.
    fn transfer(&mut self, bytes: usize, start: Time) -> (Vec<Time>, Time) {
        if start >= self.until {
            return (Vec::new(), start);
        }
        let bytes = bytes as u64 + ENVELOPE;
        let start = start.max(self.free_at);
        let span = Duration::from_millis(bytes * 1000 / self.bytes_per_second);
        let end = (start + span).min(self.until.max(start));
        self.free_at = end;
        let parts = bytes.div_ceil(SEGMENT).min(MOST_PARTS);
        let span = end.since(start);
        let arrivals = (1..parts).map(|part| start + span.mul_f64(part as f64 / parts as f64));
        (arrivals.collect(), end)
    }
}

impl World {
    /// The same from now on, for a message to a client that would come after `latency` if its link were fast.
    pub(crate) fn transfer(
        &mut self,
        client: usize,
        bytes: usize,
        latency: Duration,
    ) -> (Vec<Duration>, Duration) {
        let now = self.now;
        let (parts, end) = self.clients[client].downlink.transfer(bytes, now + latency);
        (parts.into_iter().map(|at| at.since(now)).collect(), end.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn messages_come_one_behind_the_other_in_parts() {
        let mut link = Downlink::default();
        assert_eq!(link.transfer(10_000, at(5)), (vec![], at(5)), "a fast link");
        link.slow_down(1000, at(60_000));
        let (parts, end) = link.transfer(1940, at(10));
        assert_eq!(parts, [at(510), at(1010), at(1510)]);
        assert_eq!(end, at(2010));
        assert_eq!(link.transfer(40, at(20)), (vec![], at(2110)), "behind the first");
        let (parts, end) = link.transfer(1_000_000, at(3000));
        assert_eq!((parts.len(), end), (63, at(60_000)), "the rest comes when the link is fast again");
        assert_eq!(link.transfer(40, at(61_000)), (vec![], at(61_000)));
    }
}
