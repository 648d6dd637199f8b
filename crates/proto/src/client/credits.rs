//! How much the receivers can take, and which events the server must keep for one of them.

use std::collections::BTreeMap;

use super::contract::SinkId;

/// The receivers that must not lose anything, with what they have credit for. Others take whatever comes.
#[derive(Debug, Default)]
pub(super) struct Credits(BTreeMap<SinkId, Credit>);

#[derive(Debug, Default)]
struct Credit {
    messages: usize,
    bytes: usize,
    /// The first event, by its place in the window, that it had no credit for: it waits for that one, and for all that
    /// come after it.
    missed: Option<u64>,
}

impl Credits {
    /// What a receiver has credit for; `None` for one that takes whatever comes.
    pub(super) fn set(&mut self, sink: SinkId, credit: Option<(usize, usize)>) {
        match credit {
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
        self.0.values().any(|credit| credit.missed.is_some())
    }

    /// The place of the first event that a receiver waits for.
    pub(super) fn first_missed(&self) -> Option<u64> {
        self.0.values().filter_map(|credit| credit.missed).min()
    }

    /// Whether a receiver that waits could take something now.
    pub(super) fn any_ready(&self) -> bool {
        self.0.values().any(|credit| credit.missed.is_some() && credit.has_space())
    }

    /// Nothing that was missed can come again.
    pub(super) fn forget(&mut self) {
        self.0.values_mut().for_each(|credit| credit.missed = None);
    }

    /// The events before `end` have been seen: whoever has caught up waits no more.
    pub(super) fn settle(&mut self, end: u64) {
        for credit in self.0.values_mut() {
            credit.missed = credit.missed.filter(|missed| *missed < end);
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
        for (sink, credit) in &mut self.0 {
            let due = credit.missed.map_or(is_new, |missed| missed == place);
            let routed = route.contains(sink);
            if due && routed && !credit.has_space() {
                credit.missed = Some(place);
            } else if due {
                credit.missed = credit.missed.map(|_| place + 1);
                if routed {
                    credit.messages -= 1;
                    credit.bytes = credit.bytes.saturating_sub(size);
                    admitted.push(*sink);
                }
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
        let mut credits = Credits::default();
        credits.set(SMALL, Some((1, 100)));
        let both = [SMALL, OTHER];
        assert_eq!(credits.admit(&both, 0, 10, true), None);
        assert_eq!(credits.admit(&both, 1, 10, true), Some(vec![OTHER]));
        assert_eq!(credits.admit(&[OTHER], 2, 10, true), None);
        assert_eq!(credits.admit(&both, 3, 10, true), Some(vec![OTHER]));
        credits.settle(4);
        assert!(credits.any_missed() && !credits.any_ready());

        // The same again, with credit for one.
        credits.set(SMALL, Some((1, 100)));
        assert!(credits.any_ready());
        assert_eq!(credits.admit(&both, 0, 10, false), Some(vec![]));
        assert_eq!(credits.admit(&both, 1, 10, false), Some(vec![SMALL]));
        assert_eq!(credits.admit(&[OTHER], 2, 10, false), Some(vec![]));
        assert_eq!(credits.admit(&both, 3, 10, false), Some(vec![]));
        assert_eq!(credits.admit(&[OTHER], 4, 10, true), None);
        credits.settle(5);
        assert!(credits.any_missed());

        // And once more, with credit for all; new ones come behind.
        credits.set(SMALL, Some((2, 100)));
        for (place, route) in [(0, &both[..]), (1, &both), (2, &[OTHER])] {
            assert_eq!(credits.admit(route, place, 10, false), Some(vec![]), "{place}");
        }
        assert_eq!(credits.admit(&both, 3, 10, false), Some(vec![SMALL]));
        assert_eq!(credits.admit(&[OTHER], 4, 10, false), Some(vec![]));
        assert_eq!(credits.admit(&[OTHER], 5, 10, true), None);
        assert_eq!(credits.admit(&both, 6, 10, true), None);
        credits.settle(7);
        assert!(!credits.any_missed());
    }

    #[test]
    fn bytes_count_but_one_large_message_may_pass() {
        let mut credits = Credits::default();
        credits.set(SMALL, Some((5, 100)));
        assert_eq!(credits.admit(&[SMALL], 0, 1000, true), None);
        assert_eq!(credits.admit(&[SMALL], 1, 1, true), Some(vec![]));
        credits.forget();
        assert!(!credits.any_missed());
    }

    #[test]
    fn those_that_take_an_event_do_so_in_the_order_of_the_route() {
        const FULL: SinkId = SinkId(3);
        for route in [[SMALL, OTHER, FULL], [OTHER, FULL, SMALL]] {
            let mut credits = Credits::default();
            credits.set(SMALL, Some((1, 100)));
            credits.set(FULL, Some((0, 0)));
            let expected = route.into_iter().filter(|sink| *sink != FULL).collect();
            assert_eq!(credits.admit(&route, 0, 10, true), Some(expected));
        }
    }
}
