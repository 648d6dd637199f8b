//! How much the receivers can take, and which events the server must keep for one of them.

use std::collections::BTreeMap;

use super::contract::SinkId;

/// The receivers that must not lose anything, with their credit. Others take whatever comes. Lives as long as the
/// client.
#[derive(Debug, Default)]
pub(super) struct Credits(BTreeMap<SinkId, Credit>);

#[derive(Debug, Default)]
struct Credit {
    messages: usize,
    bytes: usize,
}

/// The first event, by its place in the window, that each receiver had no credit for: the receiver waits for that
/// one, and for all that come after it. Lives as long as a session, since the events cannot come again in another.
#[derive(Debug, Default)]
pub(super) struct Missed(BTreeMap<SinkId, u64>);

impl Credits {
    /// Sets the credit of a receiver; `None` for one that takes whatever comes.
    pub(super) fn set(&mut self, sink: SinkId, credit: Option<(usize, usize)>) {
        match credit {
            None => {
                self.0.remove(&sink);
            }
            Some((messages, bytes)) => {
                self.0.insert(sink, Credit { messages, bytes });
            }
        }
    }

    /// Whether all receivers take whatever comes.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Missed {
    /// Whether a receiver waits for an event that the server must send again.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// The place of the first event that a receiver waits for.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.values().min().copied()
    }

    /// Whether a receiver that waits could take something now.
    pub(super) fn any_ready(&self, credits: &Credits) -> bool {
        self.0.keys().any(|sink| credits.0.get(sink).is_some_and(Credit::has_space))
    }

    /// A receiver takes whatever comes from now on.
    pub(super) fn forget(&mut self, sink: SinkId) {
        self.0.remove(&sink);
    }

    /// The events before `end` have been seen: a receiver that has caught up waits no more.
    pub(super) fn settle(&mut self, end: u64) {
        self.0.retain(|_, missed| *missed < end);
    }

    /// Which receivers on the `route` of the event at `place` take it now; `None` if all do. Those that saw it
    /// before do not, and neither do those that wait for an earlier one.
    pub(super) fn admit(
        &mut self,
        credits: &mut Credits,
        route: &[SinkId],
        place: u64,
        size: usize,
        is_new: bool,
    ) -> Option<Vec<SinkId>> {
        if credits.0.is_empty() && is_new {
            return None;
        }
        let mut admitted: Vec<SinkId> =
            route.iter().filter(|sink| is_new && !credits.0.contains_key(sink)).copied().collect();
        for (sink, credit) in &mut credits.0 {
            let missed = self.0.get_mut(sink);
            let due = missed.as_deref().map_or(is_new, |missed| *missed == place);
            let routed = route.contains(sink);
            if !due {
                continue;
            }
            if routed && !credit.has_space() {
                self.0.insert(*sink, place);
                continue;
            }
            if let Some(missed) = missed {
                *missed = place + 1;
            }
            if routed {
                credit.messages -= 1;
                credit.bytes = credit.bytes.saturating_sub(size);
                admitted.push(*sink);
            }
        }
        // The order of the route is the order of delivery.
        admitted.sort_by_key(|sink| route.iter().position(|routed| routed == sink));
        (admitted.len() < route.len()).then_some(admitted)
    }
}

impl Credit {
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
        let (mut credits, mut missed) = (Credits::default(), Missed::default());
        credits.set(SMALL, Some((1, 100)));
        let both = [SMALL, OTHER];
        assert_eq!(missed.admit(&mut credits, &both, 0, 10, true), None);
        assert_eq!(missed.admit(&mut credits, &both, 1, 10, true), Some(vec![OTHER]));
        assert_eq!(missed.admit(&mut credits, &[OTHER], 2, 10, true), None);
        assert_eq!(missed.admit(&mut credits, &both, 3, 10, true), Some(vec![OTHER]));
        missed.settle(4);
        assert!(missed.any() && !missed.any_ready(&credits));

        // The same again, with credit for one.
        credits.set(SMALL, Some((1, 100)));
        assert!(missed.any_ready(&credits));
        assert_eq!(missed.admit(&mut credits, &both, 0, 10, false), Some(vec![]));
        assert_eq!(missed.admit(&mut credits, &both, 1, 10, false), Some(vec![SMALL]));
        assert_eq!(missed.admit(&mut credits, &[OTHER], 2, 10, false), Some(vec![]));
        assert_eq!(missed.admit(&mut credits, &both, 3, 10, false), Some(vec![]));
        assert_eq!(missed.admit(&mut credits, &[OTHER], 4, 10, true), None);
        missed.settle(5);
        assert!(missed.any());

        // And once more, with credit for all; new ones come behind.
        credits.set(SMALL, Some((2, 100)));
        for (place, route) in [(0, &both[..]), (1, &both), (2, &[OTHER])] {
            assert_eq!(missed.admit(&mut credits, route, place, 10, false), Some(vec![]), "{place}");
        }
        assert_eq!(missed.admit(&mut credits, &both, 3, 10, false), Some(vec![SMALL]));
        assert_eq!(missed.admit(&mut credits, &[OTHER], 4, 10, false), Some(vec![]));
        assert_eq!(missed.admit(&mut credits, &[OTHER], 5, 10, true), None);
        assert_eq!(missed.admit(&mut credits, &both, 6, 10, true), None);
        missed.settle(7);
        assert!(!missed.any());
    }

    #[test]
    fn bytes_count_but_one_large_message_may_pass() {
        let (mut credits, mut missed) = (Credits::default(), Missed::default());
        credits.set(SMALL, Some((5, 100)));
        assert_eq!(missed.admit(&mut credits, &[SMALL], 0, 1000, true), None);
        assert_eq!(missed.admit(&mut credits, &[SMALL], 1, 1, true), Some(vec![]));
        assert_eq!(missed.first(), Some(1));
        missed.forget(SMALL);
        assert!(!missed.any());
    }

    #[test]
    fn those_that_take_an_event_do_so_in_the_order_of_the_route() {
        const FULL: SinkId = SinkId(3);
        for route in [[SMALL, OTHER, FULL], [OTHER, FULL, SMALL]] {
            let (mut credits, mut missed) = (Credits::default(), Missed::default());
            credits.set(SMALL, Some((1, 100)));
            credits.set(FULL, Some((0, 0)));
            let expected = route.into_iter().filter(|sink| *sink != FULL).collect();
            assert_eq!(missed.admit(&mut credits, &route, 0, 10, true), Some(expected));
        }
    }
}
