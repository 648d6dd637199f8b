//! The acknowledge extension: which events the server need not keep any more, and which it sends again.
//!
//! Each connect carries the ack id of the last batch that is done with. The server keeps what came after it, and
//! sends all of that again, from its first message on, with each reply to a connect that carries the same ack id. So
//! the place of an event among those of one turn shows whether it was seen before.

/// What is acknowledged, and what has been seen beyond that.
#[derive(Debug)]
pub(super) struct Window {
    agreed: bool,
    batch: u64,
    /// How many events beyond the batch have been seen.
    seen: u64,
    /// The place of the next event of this turn.
    place: u64,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It came for the first time.
    New(u64),
    /// It was seen at this place before.
    Again(u64),
}

impl Window {
    /// The window of a session, `seen` events beyond `batch`; `None` if the server has not agreed to acknowledgements.
    pub(super) fn new(batch: Option<u64>, seen: u64) -> Self {
        Self { agreed: batch.is_some(), batch: batch.unwrap_or(0), seen, place: 0 }
    }

    /// The ack id of the next connect.
    pub(super) fn batch(&self) -> Option<u64> {
        self.agreed.then_some(self.batch)
    }

    /// How many events beyond the batch have been seen.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// A connect goes out: whatever comes begins at the first event that is not acknowledged.
    pub(super) fn turn(&mut self) {
        self.place = 0;
    }

    /// The place of the event that just came in answer to a connect; `None` if the server does not keep events.
    pub(super) fn place(&mut self) -> Option<Place> {
        if !self.agreed {
            return None;
        }
        let place = self.place;
        self.place += 1;
        if place < self.seen {
            return Some(Place::Again(place));
        }
        self.seen = place + 1;
        Some(Place::New(place))
    }

    /// Whether the events that come next in answer to a connect were not seen before.
    pub(super) fn is_at_new(&self) -> bool {
        !self.agreed || self.place >= self.seen
    }

    /// That many new events came in answer to a connect.
    pub(super) fn pass(&mut self, events: u64) {
        if self.agreed {
            self.place += events;
            self.seen = self.place;
        }
    }

    /// The reply to the connect carries the ack id of the batch that it ends: all that was seen is done with.
    pub(super) fn close(&mut self, batch: u64) {
        if self.agreed {
            self.batch = batch;
            self.seen = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(window: &mut Window, events: usize) -> Vec<Place> {
        window.turn();
        (0..events).filter_map(|_| window.place()).collect()
    }

    #[test]
    fn what_is_sent_again_is_known_by_its_place() {
        use Place::{Again, New};
        let mut window = Window::new(Some(0), 0);
        assert_eq!(places(&mut window, 2), [New(0), New(1)]);
        // The reply never came.
        assert_eq!(places(&mut window, 3), [Again(0), Again(1), New(2)]);
        assert_eq!(places(&mut window, 1), [Again(0)]);
        assert_eq!(places(&mut window, 3), [Again(0), Again(1), Again(2)]);
        window.turn();
        assert!(!window.is_at_new());
        assert_eq!((0..3).filter_map(|_| window.place()).collect::<Vec<_>>(), [Again(0), Again(1), Again(2)]);
        assert!(window.is_at_new());
        window.pass(2);
        assert_eq!((window.seen(), window.place()), (5, Some(New(5))));
        assert_eq!(places(&mut window, 6), [Again(0), Again(1), Again(2), Again(3), Again(4), Again(5)]);
        window.close(4);
        assert_eq!(window.batch(), Some(4));
        assert_eq!(places(&mut window, 1), [New(0)]);
    }

    #[test]
    fn without_an_agreement_there_are_no_places() {
        let mut window = Window::new(None, 0);
        assert_eq!(places(&mut window, 2), []);
        window.close(7);
        assert_eq!(window.batch(), None);
    }
}
