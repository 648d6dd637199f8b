//! Messages that were dropped, told at a bounded rate: a receiver that does not keep up must not cost more than one that
//! does.

use std::collections::HashMap;
use std::time::Duration;

use bayeux_proto::client::{Event, SinkId};
use bayeux_proto::{Channel, Time};

/// How often a receiver's drops are told at most.
const PAUSE: Duration = Duration::from_secs(1);

/// The receivers whose messages were dropped of late.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    late: HashMap<SinkId, Late, foldhash::fast::RandomState>,
    /// When something is to be told next.
    next: Option<Time>,
}

#[derive(Debug)]
struct Late {
    /// The channel of a stream; `None` for the inbox.
    channel: Option<Channel>,
    /// How many were dropped since this was told.
    dropped: u64,
    told: Time,
}

impl Late {
    fn tell(&mut self, now: Time) -> Event {
        self.told = now;
        Event::SlowConsumer { channel: self.channel.clone(), dropped: std::mem::take(&mut self.dropped) }
    }
}

impl Drops {
    /// Messages of a receiver were dropped. What is to be told of it now: the first is told at once.
    pub(crate) fn add(
        &mut self,
        sink: SinkId,
        channel: Option<&Channel>,
        dropped: u64,
        now: Time,
    ) -> Option<Event> {
        if let Some(late) = self.late.get_mut(&sink) {
            late.dropped += dropped;
            let at = late.told + PAUSE;
            if at > now {
                self.next = Some(self.next.map_or(at, |next| next.min(at)));
                return None;
            }
            return Some(late.tell(now));
        }
        let mut late = Late { channel: channel.cloned(), dropped, told: now };
        let event = late.tell(now);
        self.late.insert(sink, late);
        Some(event)
    }

    /// When [`Drops::due`] has something to tell.
    pub(crate) fn next(&self) -> Option<Time> {
        self.next
    }

    /// What is to be told now.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Event> {
        if self.next.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.next = None;
        let mut events = Vec::new();
        self.late.retain(|_, late| {
            let at = late.told + PAUSE;
            if at > now {
                if late.dropped > 0 {
                    self.next = Some(self.next.map_or(at, |next| next.min(at)));
                }
                return true;
            }
            // One that has kept up for so long is forgotten.
            let any = late.dropped > 0;
            if any {
                events.push(late.tell(now));
            }
            any
        });
        events
    }

    /// What is still to be told of a receiver that is gone.
    pub(crate) fn forget(&mut self, sink: SinkId, now: Time) -> Option<Event> {
        self.late.remove(&sink).filter(|late| late.dropped > 0).map(|mut late| late.tell(now))
    }

    /// What is still to be told at the end.
    pub(crate) fn end(&mut self, now: Time) -> Vec<Event> {
        self.next = None;
        let late = std::mem::take(&mut self.late).into_values();
        late.filter(|late| late.dropped > 0).map(|mut late| late.tell(now)).collect()
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
    fn every_drop_is_told_once_and_seldom() {
        let mut drops = Drops::default();
        let (mut told, mut events) = (0, 0);
        for millis in 0..10_000 {
            for sink in 0..3 {
                let event = drops.add(SinkId(sink), None, 2, at(millis));
                events += event.iter().count();
                told += sum(event);
            }
            let due = drops.due(at(millis));
            events += due.len();
            told += sum(due);
        }
        assert!(events <= 3 * 10, "{events}");
        told += sum(drops.forget(SinkId(0), at(10_000)));
        told += sum(drops.end(at(10_000)));
        assert_eq!(told, 3 * 2 * 10_000);
        assert!(drops.late.is_empty() && drops.next().is_none());
    }

    #[test]
    fn the_first_is_told_at_once_and_the_last_within_the_pause() {
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
