//! How much the receivers can take, and which events the server must keep for one of them.

use std::collections::BTreeMap;

use super::contract::SinkId;

/// The receivers that must not lose anything, with what they have room for. Others take whatever comes.
#[derive(Debug, Default)]
pub(super) struct Rooms(BTreeMap<SinkId, Room>);

#[derive(Debug, Default)]
struct Room {
    messages: usize,
    bytes: usize,
    /// The first event, by its place in the window, that it had no room for: it waits for that one, and for all that
    /// come after it.
    missed: Option<u64>,
}

impl Rooms {
    /// What a receiver has room for; `None` for one that takes whatever comes.
    pub(super) fn set(&mut self, sink: SinkId, room: Option<(usize, usize)>) {
        match room {
            None => {
                self.0.remove(&sink);
            }
            Some((messages, bytes)) => {
                let known = self.0.entry(sink).or_default();
                (known.messages, known.bytes) = (messages, bytes);
            }
        }
    }

    /// Whether all receivers take whatever comes.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a receiver waits for an event that the server must send again.
    pub(super) fn any_missed(&self) -> bool {
        self.0.values().any(|room| room.missed.is_some())
    }

    /// The place of the first event that a receiver waits for.
    pub(super) fn first_missed(&self) -> Option<u64> {
        self.0.values().filter_map(|room| room.missed).min()
    }

    /// Whether a receiver that waits could take something now.
    pub(super) fn any_ready(&self) -> bool {
        self.0.values().any(|room| room.missed.is_some() && room.has_space())
    }

    /// Nothing that was missed can come again.
    pub(super) fn forget(&mut self) {
        self.0.values_mut().for_each(|room| room.missed = None);
    }

    /// The events before `end` have been seen: whoever has caught up waits no more.
    pub(super) fn settle(&mut self, end: u64) {
        for room in self.0.values_mut() {
            room.missed = room.missed.filter(|missed| *missed < end);
        }
    }

    /// Which receivers on the `route` of the event at `place` take it now; `None` when all do. Those that saw it
    /// before do not, and neither do those that wait for an earlier one.
    pub(super) fn admit(
        &mut self,
        route: &[SinkId],
        place: u64,
        size: usize,
        is_new: bool,
    ) -> Option<Vec<SinkId>> {
        if self.0.is_empty() && is_new {
            return None;
        }
        let mut admitted: Vec<SinkId> =
            route.iter().filter(|sink| is_new && !self.0.contains_key(sink)).copied().collect();
        for (sink, room) in &mut self.0 {
            let due = room.missed.map_or(is_new, |missed| missed == place);
            let routed = route.contains(sink);
            if due && routed && !room.has_space() {
                room.missed = Some(place);
            } else if due {
                room.missed = room.missed.map(|_| place + 1);
                if routed {
                    room.messages -= 1;
                    room.bytes = room.bytes.saturating_sub(size);
                    admitted.push(*sink);
                }
            }
        }
        // The order of the route is the order of delivery.
        admitted.sort_by_key(|sink| route.iter().position(|routed| routed == sink));
        (admitted.len() < route.len()).then_some(admitted)
    }
}

impl Room {
    /// One message may be larger than what is left, or nothing could ever be received that is larger than all.
    fn has_space(&self) -> bool {
        self.messages > 0 && self.bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: SinkId = SinkId(1);
    const OTHER: SinkId = SinkId(2);

    #[test]
    fn a_full_receiver_waits_and_the_others_do_not() {
        let mut rooms = Rooms::default();
        rooms.set(SMALL, Some((1, 100)));
        let both = [SMALL, OTHER];
        assert_eq!(rooms.admit(&both, 0, 10, true), None);
        assert_eq!(rooms.admit(&both, 1, 10, true), Some(vec![OTHER]));
        assert_eq!(rooms.admit(&[OTHER], 2, 10, true), None);
        assert_eq!(rooms.admit(&both, 3, 10, true), Some(vec![OTHER]));
        rooms.settle(4);
        assert!(rooms.any_missed() && !rooms.any_ready());

        // The same again, with room for one.
        rooms.set(SMALL, Some((1, 100)));
        assert!(rooms.any_ready());
        assert_eq!(rooms.admit(&both, 0, 10, false), Some(vec![]));
        assert_eq!(rooms.admit(&both, 1, 10, false), Some(vec![SMALL]));
        assert_eq!(rooms.admit(&[OTHER], 2, 10, false), Some(vec![]));
        assert_eq!(rooms.admit(&both, 3, 10, false), Some(vec![]));
        assert_eq!(rooms.admit(&[OTHER], 4, 10, true), None);
        rooms.settle(5);
        assert!(rooms.any_missed());

        // And once more, with room for all; new ones come behind.
        rooms.set(SMALL, Some((2, 100)));
        for (place, route) in [(0, &both[..]), (1, &both), (2, &[OTHER])] {
            assert_eq!(rooms.admit(route, place, 10, false), Some(vec![]), "{place}");
        }
        assert_eq!(rooms.admit(&both, 3, 10, false), Some(vec![SMALL]));
        assert_eq!(rooms.admit(&[OTHER], 4, 10, false), Some(vec![]));
        assert_eq!(rooms.admit(&[OTHER], 5, 10, true), None);
        assert_eq!(rooms.admit(&both, 6, 10, true), None);
        rooms.settle(7);
        assert!(!rooms.any_missed());
    }

    #[test]
    fn bytes_count_but_one_large_message_may_pass() {
        let mut rooms = Rooms::default();
        rooms.set(SMALL, Some((5, 100)));
        assert_eq!(rooms.admit(&[SMALL], 0, 1000, true), None);
        assert_eq!(rooms.admit(&[SMALL], 1, 1, true), Some(vec![]));
        rooms.forget();
        assert!(!rooms.any_missed());
    }

    #[test]
    fn those_that_take_an_event_do_so_in_the_order_of_the_route() {
        const FULL: SinkId = SinkId(3);
        for route in [[SMALL, OTHER, FULL], [OTHER, FULL, SMALL]] {
            let mut rooms = Rooms::default();
            rooms.set(SMALL, Some((1, 100)));
            rooms.set(FULL, Some((0, 0)));
            let expected = route.into_iter().filter(|sink| *sink != FULL).collect();
            assert_eq!(rooms.admit(&route, 0, 10, true), Some(expected));
        }
    }
}
