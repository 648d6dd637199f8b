//! The bounded queue between the driver and a receiver. It never blocks the driver.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bayeux_proto::client::CloseReason;
use bayeux_proto::{Channel, Message};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use bayeux_proto::ext::replay::event_id;

use crate::error::Cause;

/// What happens if a message does not fit the queue of a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest messages in the queue are dropped. For feeds, whose newest messages matter most. The default.
    #[default]
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// The receiver ends, after the messages in the queue, with an error of the kind
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) that names the channel. The message that did not fit, and all that
    /// arrive until the receiver is dropped, are dropped and counted.
    Close,
    /// Nothing is dropped: the server keeps the messages that do not fit, and sends them again once the queue has credit. This
    /// needs the acknowledge extension; without it, the new message is dropped. Replies, connects and other receivers
    /// continue, but their messages may arrive up to 5 s late while one queue is full, because the client sends fewer
    /// connects.
    ///
    /// Publishers are not slowed down, so this works until the server's queue for the session is full. While one receiver is
    /// full, the client acknowledges no message from the first one on that did not fit, and the server keeps them for all
    /// receivers: `bayeux-server` up to 10,000 messages or 16 MiB (its options `max_queue` and `max_queue_bytes`), CometD's
    /// server up to its `maxQueue`, which is unlimited by default. A full queue there ends the session: the client gets a
    /// new one, and [`Event::Rehandshaken`](crate::Event::Rehandshaken) and
    /// [`Event::GapPossible`](crate::Event::GapPossible) are emitted. That repeats each time the queue is full: after 10,000
    /// messages, that is every 20 s at 500 messages a second. For a reader that is always slower than the publishers, choose
    /// another policy.
    Pause,
}

/// The limits of a queue, and its policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) overflow: Overflow,
}

/// The queue of the inbox or of one stream. One lock, held for a push or a pop.
#[derive(Debug)]
pub(crate) struct Queue {
    capacity: Capacity,
    /// The channel of a stream; `None` for the inbox.
    channel: Option<Channel>,
    state: Mutex<State>,
    /// Notified when a queue that was low on credit has it again.
    credit_freed: Arc<Notify>,
    /// What does not fit is asked for again: it is not dropped.
    is_replayed: bool,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// How many messages are in them, and how many bytes those have.
    messages: usize,
    bytes: usize,
    end: Option<End>,
    /// The id of the last message of a replayed stream that fitted; those after it are to come again.
    gap_after: Option<i64>,
    lost: Option<Lost>,
    /// The waiting readers, by their numbers.
    wakers: Vec<(u64, Waker)>,
    last_reader: u64,
    /// The driver waits until half of the queue is free.
    is_low: bool,
}

#[derive(Debug)]
enum Item {
    /// Messages, at least one, in the allocation in which they arrived.
    Messages(VecDeque<Message>),
    /// An error that the receiver gets between messages.
    Error(Box<Cause>),
}

impl State {
    /// Adds messages, and keeps their allocation if there are many.
    fn add(&mut self, messages: Vec<Message>, bytes: usize) {
        /// Fewer are moved to the last allocation.
        const MANY: usize = 16;
        self.messages += messages.len();
        self.bytes += bytes;
        match self.items.back_mut() {
            Some(Item::Messages(last)) if messages.len() < MANY => last.extend(messages),
            _ if messages.is_empty() => {}
            _ => self.items.push_back(Item::Messages(messages.into())),
        }
    }

    /// The id of the last message that has one.
    fn last_id(&self) -> Option<i64> {
        let messages = self.items.iter().rev().filter_map(|item| match item {
            Item::Messages(messages) => Some(messages.iter().rev()),
            Item::Error(_) => None,
        });
        messages.flatten().find_map(event_id)
    }

    /// Removes the first message of the item at that index, if it has messages.
    #[inline]
    fn take(&mut self, at: usize) -> Option<Message> {
        let Some(Item::Messages(messages)) = self.items.get_mut(at) else { return None };
        let message = messages.pop_front()?;
        if messages.is_empty() {
            self.items.remove(at);
        }
        self.messages -= 1;
        self.bytes -= size(&message);
        Some(message)
    }
}

/// Why no more messages follow.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) cause: Cause,
    /// Whether a stream has returned it.
    is_reported: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    since: Instant,
    /// When a receiver gets the next error.
    report: Option<Instant>,
}

/// The next item for a receiver.
#[derive(Debug)]
pub(crate) enum Next {
    Message(Message),
    Error(Cause),
    /// Nothing more will come.
    End(Cause),
    /// Nothing yet. The connection is lost, which is reported at that time if it still is.
    LostUntil(Instant),
}

impl Queue {
    pub(crate) fn new(capacity: Capacity, channel: Option<Channel>, credit_freed: Arc<Notify>) -> Self {
        Self { capacity, channel, state: Mutex::default(), credit_freed, is_replayed: false }
    }

    /// The queue of a replayed stream.
    pub(crate) fn replayed(mut self) -> Self {
        self.is_replayed = true;
        self
    }

    /// A panic while the lock is held cannot leave a queue half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds messages in order. Returns how many were dropped because the queue was full.
    pub(crate) fn push(&self, messages: Vec<Message>) -> u64 {
        let bytes: usize = messages.iter().map(size).sum();
        let mut state = self.lock();
        let mut dropped = 0;
        if state.gap_after.is_some() {
            return 0;
        }
        let all_fit = state.end.is_none()
            && state.messages + messages.len() <= self.capacity.messages
            && state.bytes.saturating_add(bytes) <= self.capacity.bytes;
        if all_fit {
            state.add(messages, bytes);
        } else {
            for message in messages {
                dropped += self.push_one(&mut state, message);
            }
        }
        wake(state);
        dropped
    }

    fn push_one(&self, state: &mut State, message: Message) -> u64 {
        if state.gap_after.is_some() {
            return 0;
        }
        if let Some(end) = &mut state.end {
            // After a close, messages have no receiver. After an overflow, they count as dropped.
            return match &mut end.cause {
                Cause::Overflow { dropped, .. } => {
                    *dropped += 1;
                    1
                }
                _ => 0,
            };
        }
        let size = size(&message);
        let fits = |state: &State| {
            state.messages < self.capacity.messages
                && (state.messages == 0 || state.bytes.saturating_add(size) <= self.capacity.bytes)
        };
        let mut dropped = 0;
        if !fits(state) {
            if self.is_replayed && state.end.is_none() {
                state.gap_after = state.last_id();
                if state.gap_after.is_some() {
                    return 0;
                }
                // Without ids nothing can be asked for again.
                let cause = Cause::Overflow { channel: self.channel.clone(), dropped: 1 };
                state.end = Some(End { cause, is_reported: false });
                return 1;
            }
            match self.capacity.overflow {
                // With the acknowledge extension the session does not even try.
                Overflow::DropNewest | Overflow::Pause => return 1,
                Overflow::Close => {
                    let cause = Cause::Overflow { channel: self.channel.clone(), dropped: 1 };
                    state.end = Some(End { cause, is_reported: false });
                    return 1;
                }
                Overflow::DropOldest => {
                    while !fits(state) {
                        // Errors are small and rare, and must be reported.
                        let Some(at) = state.items.iter().position(|item| matches!(item, Item::Messages(_)))
                        else {
                            break;
                        };
                        dropped += u64::from(state.take(at).is_some());
                    }
                }
            }
        }
        state.add(vec![message], size);
        dropped
    }

    /// The free capacity in messages and bytes, for a queue that must not drop messages. After that, taking messages notifies
    /// `credit_freed` once half of the queue is free.
    pub(crate) fn credit(&self) -> Option<(usize, usize)> {
        if self.capacity.overflow != Overflow::Pause {
            return None;
        }
        let mut state = self.lock();
        let messages = self.capacity.messages.saturating_sub(state.messages);
        let bytes = self.capacity.bytes.saturating_sub(state.bytes);
        state.is_low = !self.has_credit(messages, bytes);
        Some((messages, bytes))
    }

    /// The id of the last message that fitted, if those after it are to come again and half of the queue is free. They are added
    /// from then on.
    pub(crate) fn take_gap(&self) -> Option<i64> {
        let mut state = self.lock();
        let messages = self.capacity.messages.saturating_sub(state.messages);
        let bytes = self.capacity.bytes.saturating_sub(state.bytes);
        if self.has_credit(messages, bytes) { state.gap_after.take() } else { None }
    }

    /// Whether [`take_gap`](Queue::take_gap) would return something.
    pub(crate) fn has_gap(&self) -> bool {
        let state = self.lock();
        let messages = self.capacity.messages.saturating_sub(state.messages);
        let bytes = self.capacity.bytes.saturating_sub(state.bytes);
        state.gap_after.is_some() && self.has_credit(messages, bytes)
    }

    fn has_credit(&self, messages: usize, bytes: usize) -> bool {
        messages.saturating_mul(2) >= self.capacity.messages && bytes.saturating_mul(2) >= self.capacity.bytes
    }

    /// Adds an error that the receiver gets between messages.
    pub(crate) fn push_error(&self, cause: Cause) {
        const ENOUGH: usize = 64;
        let mut state = self.lock();
        let errors = state.items.iter().filter(|item| matches!(item, Item::Error(_))).count();
        if state.end.is_none() && errors < ENOUGH {
            state.items.push_back(Item::Error(Box::new(cause)));
        }
        wake(state);
    }

    /// Ends the queue with an error, after the messages in it.
    pub(crate) fn fail(&self, cause: Cause) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(End { cause, is_reported: false });
        }
        wake(state);
    }

    /// Ends the queue. Messages in it can still be taken.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut state = self.lock();
        state.lost = None;
        if state.end.is_none() {
            state.end = Some(End { cause: Cause::Close(reason), is_reported: false });
        }
        wake(state);
    }

    /// Lets messages be added again.
    pub(crate) fn reopen(&self) {
        self.lock().end = None;
    }

    /// Sets since when the connection is lost, or that it is not.
    pub(crate) fn set_lost(&self, since: Option<Instant>, outage_timeout: Option<Duration>) {
        let mut state = self.lock();
        if state.lost.map(|lost| lost.since) != since {
            state.lost = since.map(|since| Lost {
                since,
                report: outage_timeout.and_then(|outage_timeout| since.checked_add(outage_timeout)),
            });
            wake(state);
        }
    }

    /// Delays the next report of the outage by `outage_timeout`. Returns how long the connection has been lost, if it is.
    pub(crate) fn report_lost(&self, now: Instant, outage_timeout: Duration) -> Option<Duration> {
        let mut state = self.lock();
        let lost = state.lost.as_mut()?;
        if lost.report.is_none_or(|report| report > now) {
            return None;
        }
        lost.report = now.checked_add(outage_timeout);
        Some(now - lost.since)
    }

    /// A number for a reader, under which it waits.
    pub(crate) fn new_reader(&self) -> u64 {
        let mut state = self.lock();
        state.last_reader += 1;
        state.last_reader
    }

    /// Removes a reader that no longer waits.
    pub(crate) fn forget_reader(&self, reader: u64) {
        self.lock().wakers.retain(|(waiting, _)| *waiting != reader);
    }

    /// The next message, if there is one and no error precedes it.
    #[inline]
    pub(crate) fn take_ready(&self) -> Option<Message> {
        let mut state = self.lock();
        let message = state.take(0)?;
        if state.is_low {
            self.took(state);
        }
        Some(message)
    }

    /// A message was taken from a queue that was low on credit.
    #[cold]
    fn took(&self, mut state: MutexGuard<'_, State>) {
        let messages = self.capacity.messages.saturating_sub(state.messages);
        let bytes = self.capacity.bytes.saturating_sub(state.bytes);
        if self.has_credit(messages, bytes) {
            state.is_low = false;
            drop(state);
            self.credit_freed.notify_one();
        }
    }

    pub(crate) fn poll_next(&self, reader: u64, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.lock();
        if let Some(message) = state.take(0) {
            if state.is_low {
                self.took(state);
            }
            return Poll::Ready(Next::Message(message));
        }
        if let Some(Item::Error(cause)) = state.items.pop_front() {
            return Poll::Ready(Next::Error(*cause));
        }
        if let Some(end) = &state.end {
            return Poll::Ready(Next::End(end.cause.clone()));
        }
        match state.wakers.iter_mut().find(|(waiting, _)| *waiting == reader) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => state.wakers.push((reader, cx.waker().clone())),
        }
        match state.lost.and_then(|lost| lost.report) {
            Some(report) => Poll::Ready(Next::LostUntil(report)),
            None => Poll::Pending,
        }
    }

    /// Whether this is the first report of the end.
    pub(crate) fn report_end(&self) -> bool {
        self.lock().end.as_mut().is_some_and(|end| !std::mem::replace(&mut end.is_reported, true))
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().messages
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let wakers = std::mem::take(&mut state.wakers);
    drop(state);
    wakers.into_iter().for_each(|(_, waker)| waker.wake());
}

fn size(message: &Message) -> usize {
    message.data().as_bytes().len()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl std::task::Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_queue_that_overflowed_counts_all_that_it_drops() {
        let capacity = Capacity { messages: 10, bytes: 1000, overflow: Overflow::Close };
        let channel = Channel::parse("/a").unwrap();
        let queue = Queue::new(capacity, Some(channel.clone()), Arc::new(Notify::new()));
        let some = |count| vec![Message::new(channel.clone()); count];
        assert_eq!(queue.push(some(25)), 15);
        assert_eq!(queue.push(some(7)), 7);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            assert!(matches!(queue.poll_next(1, &mut cx), Poll::Ready(Next::Message(_))));
        }
        assert_eq!(queue.push(some(1)), 1);
        let Poll::Ready(Next::End(Cause::Overflow { channel: named, dropped })) = queue.poll_next(1, &mut cx)
        else {
            panic!("the queue has not ended");
        };
        assert_eq!((named, dropped), (Some(channel), 23));
    }

    #[test]
    fn any_number_of_readers_wait_without_waking_each_other() {
        let capacity = Capacity { messages: 10, bytes: 1000, overflow: Overflow::DropOldest };
        let queue = Queue::new(capacity, None, Arc::new(Notify::new()));
        let woken = Arc::new(Counting::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        for _ in 0..100 {
            let reader = queue.new_reader();
            assert!(queue.poll_next(reader, &mut cx).is_pending());
            assert!(queue.poll_next(reader, &mut cx).is_pending(), "polled twice, it waits once");
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        queue.forget_reader(1);
        queue.close(CloseReason::Requested);
        assert_eq!(woken.0.load(Ordering::Relaxed), 99);
    }
}
