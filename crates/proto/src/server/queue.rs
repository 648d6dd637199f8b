//! What waits for one client: bounded, and with the acknowledge extension kept until the client has it.

use std::collections::VecDeque;

use super::config::QueueOverflow;
use super::encoded::Encoded;
use super::memory::{Charge, Meter};

/// The messages for one client, oldest first.
///
/// With acknowledgements the front of the queue is what was sent and is not acknowledged yet, each with the number of the
/// batch that it was sent in; behind it stands what was never sent.
#[derive(Debug)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// What the entries cost, their messages among it.
    bytes: usize,
    charge: Charge,
    /// How many of the entries were sent already.
    sent: usize,
    /// How many of those that were not are urgent: all but the lazy ones.
    urgent: usize,
    /// The number of the batch that the next reply ends; `None` without acknowledgements.
    batch: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    message: Encoded,
    batch: u64,
    lazy: bool,
}

/// How much may wait, and what happens to more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) overflow: QueueOverflow,
}

/// What became of a message for a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It was queued, and so many messages were dropped for it; mostly none.
    Lost(u64),
    /// The queue is full, and no message may be dropped.
    Full,
}

/// What goes with one reply or frame.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) messages: Vec<Encoded>,
    /// The number that the client acknowledges them with.
    pub(super) batch: Option<u64>,
}

/// What an entry costs besides its message, with its part of the spare capacity.
const ENTRY: usize = 2 * size_of::<Entry>();

impl Queue {
    pub(super) fn new(acknowledged: bool, meter: &Meter) -> Self {
        let (batch, charge) = (acknowledged.then_some(1), meter.charge(0));
        Self { entries: VecDeque::new(), bytes: 0, charge, sent: 0, urgent: 0, batch }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How much work it is to do something with all of them.
    pub(super) fn work(&self) -> u64 {
        self.entries.len() as u64 / 4
    }

    /// How many it may have before they are moved.
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// What they cost: the bytes of each message, as if it were in no other queue, and an entry for each.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Loses all messages. How many that were.
    pub(super) fn clear(&mut self) -> u64 {
        let lost = self.entries.len();
        self.entries = VecDeque::new();
        (self.bytes, self.sent, self.urgent) = (0, 0, 0);
        self.charge.set(0);
        lost as u64
    }

    fn recharge(&mut self) {
        /// So many entries may be kept for what comes.
        const SPARE: usize = 32;
        let most = SPARE.max(4 * self.entries.len());
        if self.entries.capacity() > most {
            self.entries.shrink_to(2 * self.entries.len());
        }
        /// What a queue that is not empty takes in the lists of queues.
        const LISTED: usize = 128;
        let capacity = self.entries.capacity();
        self.charge.set(if capacity > 0 { LISTED + capacity * size_of::<Entry>() } else { 0 });
    }

    fn cost(message: &Encoded) -> usize {
        message.len() + ENTRY
    }

    /// Whether clients acknowledge what they got.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.batch.is_some()
    }

    /// Whether an urgent message waits that was never sent.
    pub(super) fn has_urgent(&self) -> bool {
        self.urgent > 0
    }

    /// Whether something was sent that is not acknowledged.
    pub(super) fn has_unacknowledged(&self) -> bool {
        self.sent > 0
    }

    /// Whether everything was sent.
    pub(super) fn is_all_sent(&self) -> bool {
        self.sent == self.entries.len()
    }

    /// Whether more than half of the limit is taken by messages that were never sent.
    pub(super) fn is_filling(&self, bounds: Bounds) -> bool {
        let unsent = self.entries.len() - self.sent;
        self.urgent > 0 && (unsent > bounds.messages / 2 || self.bytes > bounds.bytes / 2)
    }

    /// Lazy messages are urgent from now on.
    pub(super) fn hurry(&mut self) {
        for entry in self.entries.iter_mut().skip(self.sent) {
            entry.lazy = false;
        }
        self.urgent = self.entries.len() - self.sent;
    }

    pub(super) fn push(&mut self, message: Encoded, lazy: bool, bounds: Bounds) -> Pushed {
        let mut lost = 0;
        while !self.entries.is_empty() && !self.has_room(&message, bounds) {
            // What was sent may be sent again by its place, so none of it can go.
            if self.is_acknowledged() || bounds.overflow == QueueOverflow::EndSession {
                return Pushed::Full;
            }
            if bounds.overflow == QueueOverflow::DropNewest {
                return Pushed::Lost(1);
            }
            self.pop_front();
            lost += 1;
        }
        self.bytes += Self::cost(&message);
        self.urgent += usize::from(!lazy);
        if self.entries.len() == self.entries.capacity() {
            // By less than a vector grows by itself: many queues may grow at once.
            self.entries.reserve_exact(4.max(self.entries.len() / 8));
        }
        self.entries.push_back(Entry { message, batch: 0, lazy });
        self.recharge();
        Pushed::Lost(lost)
    }

    fn has_room(&self, message: &Encoded, bounds: Bounds) -> bool {
        self.entries.len() < bounds.messages && self.bytes.saturating_add(Self::cost(message)) <= bounds.bytes
    }

    fn pop_front(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= Self::cost(&entry.message);
        if self.sent > 0 {
            self.sent -= 1;
        } else {
            self.urgent -= usize::from(!entry.lazy);
        }
        Some(entry)
    }

    /// The client has all batches up to that one. A number that was never sent counts as the last that was.
    pub(super) fn acknowledge(&mut self, batch: u64) {
        while self.sent > 0 && self.entries.front().is_some_and(|entry| entry.batch <= batch) {
            self.pop_front();
        }
        self.recharge();
    }

    /// Takes what goes with one reply: new messages of at most `budget` bytes, but at least one if there is any.
    ///
    /// With acknowledgements this is a copy that begins with all that was sent and is not acknowledged, which counts in
    /// the budget but is never cut: clients know by its place what they have seen.
    pub(super) fn take(&mut self, budget: usize) -> Taken {
        match self.batch {
            None => Taken { messages: self.drain(budget), batch: None },
            Some(batch) => self.copy(batch, budget),
        }
    }

    /// Takes what was never sent, for a client that will not come back to acknowledge it. As long as something that was
    /// sent may be lost there is nothing to take: what comes after a gap would be out of order.
    pub(super) fn take_rest(&mut self) -> Vec<Encoded> {
        if self.has_unacknowledged() {
            return Vec::new();
        }
        (self.bytes, self.urgent) = (0, 0);
        let rest = std::mem::take(&mut self.entries);
        self.recharge();
        rest.into_iter().map(|entry| entry.message).collect()
    }

    fn drain(&mut self, budget: usize) -> Vec<Encoded> {
        let mut messages = Vec::new();
        let mut size = 0;
        while let Some(next) = self.entries.front() {
            size += next.message.len();
            if size > budget && !messages.is_empty() {
                break;
            }
            messages.extend(self.pop_front().map(|entry| entry.message));
        }
        self.recharge();
        messages
    }

    fn copy(&mut self, batch: u64, budget: usize) -> Taken {
        let mut messages = Vec::new();
        let mut size = 0;
        for (at, entry) in self.entries.iter_mut().enumerate() {
            size += entry.message.len();
            let is_new = at >= self.sent;
            if is_new && size > budget && at > 0 {
                break;
            }
            if is_new {
                entry.batch = batch;
                self.urgent -= usize::from(!entry.lazy);
            }
            messages.push(entry.message.clone());
        }
        self.sent = messages.len();
        self.batch = Some(batch + 1);
        Taken { messages, batch: Some(batch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::data::Data;
    use crate::message::Message;

    const WIDE: Bounds = Bounds { messages: 100, bytes: 1 << 20, overflow: QueueOverflow::DropOldest };

    fn message(text: &str) -> Encoded {
        let channel = Channel::parse("/a").unwrap();
        Encoded::new(&Message::new(channel).with_data(Data::encode(text).unwrap()), &Meter::default())
    }

    fn queue(acknowledged: bool, texts: &[&str]) -> Queue {
        let mut queue = Queue::new(acknowledged, &Meter::default());
        for text in texts {
            assert_eq!(queue.push(message(text), false, WIDE), Pushed::Lost(0));
        }
        queue
    }

    fn texts(taken: &Taken) -> Vec<String> {
        let json = Encoded::join(&taken.messages, &Meter::default());
        let values: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
        values.iter().map(|value| value["data"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn case_59_what_is_not_acknowledged_is_sent_again_before_what_is_new() {
        let mut queue = queue(true, &["m1", "m2"]);
        let first = queue.take(WIDE.bytes);
        assert_eq!((texts(&first), first.batch), (vec!["m1".to_owned(), "m2".to_owned()], Some(1)));
        assert!(!queue.has_urgent() && queue.has_unacknowledged());
        queue.push(message("m3"), false, WIDE);
        queue.acknowledge(0);
        let again = queue.take(WIDE.bytes);
        assert_eq!((texts(&again).join(" "), again.batch), ("m1 m2 m3".to_owned(), Some(2)));
        queue.acknowledge(1);
        let rest = queue.take(WIDE.bytes);
        assert_eq!((texts(&rest).join(" "), rest.batch), ("m3".to_owned(), Some(3)));
        queue.acknowledge(3);
        assert!(!queue.has_unacknowledged());
        assert_eq!(queue.bytes, 0);
        assert_eq!(queue.take(WIDE.bytes).batch, Some(4), "an empty reply ends a batch, too");
    }

    #[test]
    fn what_was_never_sent_cannot_be_acknowledged() {
        let mut queue = queue(true, &["m1"]);
        queue.acknowledge(u64::MAX);
        assert_eq!(texts(&queue.take(WIDE.bytes)).join(" "), "m1");
        queue.push(message("m2"), false, WIDE);
        queue.acknowledge(u64::MAX);
        assert_eq!(texts(&queue.take(WIDE.bytes)).join(" "), "m2");
    }

    #[test]
    fn a_reply_has_a_budget_for_what_is_new() {
        let mut queue = queue(true, &["m1", "m2", "m3"]);
        let two = 2 * message("m1").len();
        let first = queue.take(two);
        assert_eq!((texts(&first).join(" "), first.batch), ("m1 m2".to_owned(), Some(1)));
        assert!(queue.has_urgent());
        let again = queue.take(two);
        assert_eq!((texts(&again).join(" "), again.batch), ("m1 m2".to_owned(), Some(2)), "no room for more");
        queue.acknowledge(2);
        let rest = queue.take(1);
        assert_eq!((texts(&rest).join(" "), rest.batch), ("m3".to_owned(), Some(3)));
        assert_eq!(texts(&queue.take(1)).join(" "), "m3", "what was sent is never cut");
        queue.acknowledge(4);
        assert!(queue.entries.is_empty());
    }

    #[test]
    fn the_rest_is_what_was_never_sent_and_leaves_no_gap() {
        let mut queue = queue(true, &["m1"]);
        let batch = queue.take(WIDE.bytes).batch.unwrap();
        queue.push(message("m2"), false, WIDE);
        assert!(queue.take_rest().is_empty());
        queue.acknowledge(batch);
        assert_eq!(texts(&Taken { messages: queue.take_rest(), batch: None }).join(" "), "m2");
        assert!(queue.is_all_sent() && !queue.has_urgent());
    }

    #[test]
    fn without_acknowledgements_what_is_taken_is_gone() {
        let mut queue = queue(false, &["m1", "m2", "m3"]);
        assert_eq!(texts(&queue.take(1)).join(" "), "m1");
        assert_eq!(texts(&queue.take(WIDE.bytes)).join(" "), "m2 m3");
        assert!(queue.take(WIDE.bytes).messages.is_empty());
        assert_eq!((queue.bytes, queue.urgent), (0, 0));
    }

    #[test]
    fn case_78_a_full_queue_follows_its_policy() {
        let bounds = |overflow| Bounds { messages: 2, bytes: 1 << 20, overflow };
        let outcome = |acknowledged, overflow| {
            let mut queue = queue(acknowledged, &["m1", "m2"]);
            let pushed = queue.push(message("m3"), false, bounds(overflow));
            (pushed, texts(&queue.take(WIDE.bytes)).join(" "))
        };
        assert_eq!(outcome(false, QueueOverflow::DropOldest), (Pushed::Lost(1), "m2 m3".to_owned()));
        assert_eq!(outcome(false, QueueOverflow::DropNewest), (Pushed::Lost(1), "m1 m2".to_owned()));
        assert_eq!(outcome(false, QueueOverflow::EndSession), (Pushed::Full, "m1 m2".to_owned()));
        assert_eq!(outcome(true, QueueOverflow::DropOldest), (Pushed::Full, "m1 m2".to_owned()));

        let mut queue = queue(false, &["m1", "m2"]);
        let narrow = Bounds { bytes: 2 * Queue::cost(&message("m1")), ..bounds(QueueOverflow::DropOldest) };
        assert_eq!(queue.push(message("a long text"), false, narrow), Pushed::Lost(2));
        assert_eq!(texts(&queue.take(WIDE.bytes)).join(" "), "a long text", "one always fits");
    }

    #[test]
    fn case_80_lazy_messages_wait_for_company_or_for_their_time() {
        let mut queue = Queue::new(false, &Meter::default());
        queue.push(message("lazy"), true, WIDE);
        assert!(!queue.has_urgent());
        queue.push(message("m1"), false, WIDE);
        assert!(queue.has_urgent());
        assert_eq!(texts(&queue.take(WIDE.bytes)).join(" "), "lazy m1");
        queue.push(message("lazy"), true, WIDE);
        queue.hurry();
        assert!(queue.has_urgent());
        queue.take(WIDE.bytes);
        assert!(!queue.has_urgent());
    }

    #[test]
    fn the_limit_in_bytes_counts_what_an_entry_costs_and_what_was_needed_once_is_given_back() {
        let meter = Meter::default();
        let mut queue = Queue::new(false, &meter);
        let bounds = Bounds { messages: 100_000, bytes: 64 * 1024, overflow: QueueOverflow::DropOldest };
        let message = message("");
        let mut lost = 0;
        for _ in 0..10_000 {
            if let Pushed::Lost(more) = queue.push(message.clone(), false, bounds) {
                lost += more;
            }
        }
        assert!(queue.len() < bounds.bytes / size_of::<Entry>(), "{} entries", queue.len());
        assert_eq!(queue.len() as u64 + lost, 10_000);
        assert!((queue.len() * size_of::<Entry>()..=bounds.bytes).contains(&meter.bytes()));
        queue.take(usize::MAX);
        assert!(meter.bytes() <= 128 + 32 * size_of::<Entry>(), "{}", meter.bytes());
        drop(queue);
        assert_eq!(meter.bytes(), 0);
    }

    proptest::proptest! {
        /// Whatever is lost on the way, a client that acknowledges what it got has each message once and in order.
        #[test]
        fn nothing_is_lost_or_doubled(steps in proptest::collection::vec((0u8..4, 0usize..200), 1..200)) {
            let mut queue = Queue::new(true, &Meter::default());
            let (mut pushed, mut received, mut acknowledged, mut seen) = (0, Vec::new(), 0, 0);
            for (step, budget) in steps {
                match step {
                    0 | 1 => {
                        queue.push(message(&pushed.to_string()), step == 1, Bounds { messages: 1000, ..WIDE });
                        pushed += 1;
                    }
                    _ => {
                        queue.acknowledge(acknowledged);
                        let taken = queue.take(budget);
                        let all = texts(&taken);
                        if step == 2 {
                            // The reply arrives: what was seen before is known by its place.
                            received.extend(all.into_iter().skip(seen));
                            (acknowledged, seen) = (taken.batch.unwrap(), 0);
                        } else {
                            // The events arrive, their reply does not.
                            let fresh = all.len().saturating_sub(seen);
                            received.extend(all.into_iter().skip(seen));
                            seen += fresh;
                        }
                    }
                }
            }
            loop {
                queue.acknowledge(acknowledged);
                let taken = queue.take(100);
                if taken.messages.is_empty() {
                    break;
                }
                received.extend(texts(&taken).into_iter().skip(seen));
                (acknowledged, seen) = (taken.batch.unwrap(), 0);
            }
            let expected: Vec<String> = (0..pushed).map(|n: usize| n.to_string()).collect();
            proptest::prop_assert_eq!(received, expected);
        }
    }
}
