//! Dropped messages, reported at a limited rate: a slow receiver must not cost more than a fast one.

use std::collections::HashMap;
use std::time::Duration;

use bayeux_proto::client::{Event, SinkId};
use bayeux_proto::{Channel, Time};

/// The least time between two reports for one receiver.
const PAUSE: Duration = Duration::from_secs(1);

/// The receivers whose messages were dropped recently.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    late: HashMap<SinkId, Late, foldhash::fast::RandomState>,
    /// When the next report is due.
    next: Option<Time>,
}

#[derive(Debug)]
struct Late {
    /// The channel of a stream; `None` for the inbox.
    channel: Option<Channel>,
    /// How many were dropped since the last report.
    dropped: u64,
    reported: Time,
}

impl Late {
    fn report(&mut self, now: Time) -> Event {
        self.reported = now;
        Event::slow_consumer(self.channel.clone(), std::mem::take(&mut self.dropped))
    }
}

impl Drops {
    /// Counts dropped messages of a receiver. Returns an event if one is due; the first one is.
    pub(crate) fn add(
        &mut self,
        sink: SinkId,
        channel: Option<&Channel>,
        dropped: u64,
        now: Time,
    ) -> Option<Event> {
        if let Some(late) = self.late.get_mut(&sink) {
            late.dropped += dropped;
            let at = late.reported + PAUSE;
            if at > now {
                self.next = Some(self.next.map_or(at, |next| next.min(at)));
                return None;
            }
            return Some(late.report(now));
        }
        let mut late = Late { channel: channel.cloned(), dropped, reported: now };
        let event = late.report(now);
        self.late.insert(sink, late);
        Some(event)
    }

    /// When [`Drops::due`] has events.
    pub(crate) fn next(&self) -> Option<Time> {
        self.next
    }

    /// The events that are due.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Event> {
        if self.next.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.next = None;
        let mut events = Vec::new();
        self.late.retain(|_, late| {
            let at = late.reported + PAUSE;
            if at > now {
                if late.dropped > 0 {
                    self.next = Some(self.next.map_or(at, |next| next.min(at)));
                }
                return true;
            }
            // A receiver without drops since then is removed.
            let any = late.dropped > 0;
            if any {
                events.push(late.report(now));
            }
            any
        });
        events
    }

    /// Removes a receiver. Returns the event that was not due yet.
    pub(crate) fn forget(&mut self, sink: SinkId, now: Time) -> Option<Event> {
        self.late.remove(&sink).filter(|late| late.dropped > 0).map(|mut late| late.report(now))
    }

    /// The events that were not due yet, at the end of the session.
    pub(crate) fn end(&mut self, now: Time) -> Vec<Event> {
        self.next = None;
        let late = std::mem::take(&mut self.late).into_values();
        late.filter(|late| late.dropped > 0).map(|mut late| late.report(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_origin(Duration::from_millis(millis))
    }

    fn sum(events: impl IntoIterator<Item = Event>) -> u64 {
        let dropped = |event| match event {
            Event::SlowConsumer { dropped, .. } => dropped,
            other => panic!("{other:?}"),
        };
        events.into_iter().map(dropped).sum()
    }

    #[test]
    fn every_drop_is_reported_once_at_a_limited_rate() {
        let mut drops = Drops::default();
        let (mut sum_of_all, mut events) = (0, 0);
        for millis in 0..10_000 {
            for sink in 0..3 {
                let event = drops.add(SinkId(sink), None, 2, at(millis));
                events += event.iter().count();
                sum_of_all += sum(event);
            }
            let due = drops.due(at(millis));
            events += due.len();
            sum_of_all += sum(due);
        }
        assert!(events <= 3 * 10, "{events}");
        sum_of_all += sum(drops.forget(SinkId(0), at(10_000)));
        sum_of_all += sum(drops.end(at(10_000)));
        assert_eq!(sum_of_all, 3 * 2 * 10_000);
        assert!(drops.late.is_empty() && drops.next().is_none());
    }

    #[test]
    fn the_first_drop_is_reported_at_once_and_the_last_within_the_pause() {
        let mut drops = Drops::default();
        assert_eq!(sum(drops.add(SinkId(1), None, 1, at(0))), 1);
        assert_eq!(drops.next(), None);
        assert_eq!(sum(drops.add(SinkId(1), None, 5, at(1))), 0);
        assert_eq!(drops.next(), Some(at(1000)));
        assert_eq!(sum(drops.due(at(999))), 0);
        assert_eq!(sum(drops.due(at(1000))), 5);
        assert_eq!(drops.next(), None);
    }
}
