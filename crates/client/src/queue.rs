//! The queue between the driver and a receiver: bounded, and never in the driver's way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bayeux_proto::client::CloseReason;
use bayeux_proto::{Channel, Message};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use crate::error::Cause;

/// What happens to a message that finds its queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest message in the queue makes room: for feeds, where the newest counts most. The default.
    #[default]
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// The receiver ends, after what is in the queue, with an error that names the channel. The message that did not fit
    /// and all that come until the receiver is dropped are dropped, counted, and reported.
    Close,
    /// Nothing is dropped: the server keeps what does not fit, and sends it again when there is room. That needs the
    /// acknowledge extension; with a server that lacks it, the new message is dropped. Replies, connects and other
    /// receivers go on; their messages may come up to 5 s late while one receiver is full, because the server is
    /// asked less often.
    ///
    /// Those who publish are not held back, so this lasts for as long as the server's queue for this session has room.
    /// While one receiver is full, nothing of the session is acknowledged from the first message on that did not fit, and
    /// the server keeps that and all that comes after it, for all receivers: `bayeux-server` up to 10,000 messages or
    /// 16 MiB (its `max_queue` and `max_queue_bytes`), CometD's server up to its `maxQueue`, which is unlimited by default.
    /// A queue that is full there ends the session: the client handshakes anew, with
    /// [`Event::Rehandshaken`](crate::Event::Rehandshaken) and [`Event::GapPossible`](crate::Event::GapPossible), and so
    /// again each time it fills: after 10,000 messages, that is every 20 s at 500 messages a second. For a reader that is
    /// slower than the publishers for good, choose another policy.
    Pause,
}

/// How much a queue holds.
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
    /// Rung when a queue that was short of room has it again.
    roomy: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// How many messages are in them, and how many bytes those have.
    messages: usize,
    bytes: usize,
    end: Option<End>,
    lost: Option<Lost>,
    /// Who waits, by the number of the reader.
    wakers: Vec<(u64, Waker)>,
    last_reader: u64,
    /// The driver is to be told when half of the queue is free.
    short: bool,
}

#[derive(Debug)]
enum Item {
    /// Messages, one at least, in the room in which they came.
    Portion(VecDeque<Message>),
    /// Something that the receiver must be told between messages.
    Trouble(Box<Cause>),
}

impl State {
    /// Adds messages, whose room is taken over when there are many.
    fn add(&mut self, messages: Vec<Message>, bytes: usize) {
        /// Fewer are moved to the others: their room is small.
        const MANY: usize = 16;
        self.messages += messages.len();
        self.bytes += bytes;
        match self.items.back_mut() {
            Some(Item::Portion(last)) if messages.len() < MANY => last.extend(messages),
            _ if messages.is_empty() => {}
            _ => self.items.push_back(Item::Portion(messages.into())),
        }
    }

    /// Takes the first message out of the item at that place, if it has messages.
    #[inline]
    fn take(&mut self, at: usize) -> Option<Message> {
        let Some(Item::Portion(portion)) = self.items.get_mut(at) else { return None };
        let message = portion.pop_front()?;
        if portion.is_empty() {
            self.items.remove(at);
        }
        self.messages -= 1;
        self.bytes -= size(&message);
        Some(message)
    }
}

/// Why there will be no more.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) cause: Cause,
    /// Whether a stream has told it.
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    since: Instant,
    /// When a receiver is to be told next.
    report: Option<Instant>,
}

/// What a receiver gets.
#[derive(Debug)]
pub(crate) enum Next {
    Message(Message),
    Trouble(Cause),
    /// Nothing more will come.
    End(Cause),
    /// Nothing yet; and the connection is lost, which is to be told at that time if it still is.
    LostUntil(Instant),
}

impl Queue {
    pub(crate) fn new(capacity: Capacity, channel: Option<Channel>, roomy: Arc<Notify>) -> Self {
        Self { capacity, channel, state: Mutex::default(), roomy }
    }

    /// A panic while the lock is held cannot leave a queue half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds messages in their order. How many were dropped for want of room.
    pub(crate) fn push(&self, messages: Vec<Message>) -> u64 {
        let bytes: usize = messages.iter().map(size).sum();
        let mut state = self.lock();
        let mut dropped = 0;
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
        if let Some(end) = &mut state.end {
            // What comes after a client was closed is nobody's; what comes after an overflow is dropped by it.
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
            match self.capacity.overflow {
                // With the acknowledge extension the session does not even try.
                Overflow::DropNewest | Overflow::Pause => return 1,
                Overflow::Close => {
                    let cause = Cause::Overflow { channel: self.channel.clone(), dropped: 1 };
                    state.end = Some(End { cause, told: false });
                    return 1;
                }
                Overflow::DropOldest => {
                    while !fits(state) {
                        // What is not a message is small, rare, and must be told.
                        let Some(at) = state.items.iter().position(|item| matches!(item, Item::Portion(_)))
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

    /// How much fits, for a queue that must not lose anything. From then on [`Queue::poll_next`] tells when it gets
    /// roomy again after it was short.
    pub(crate) fn room(&self) -> Option<(usize, usize)> {
        if self.capacity.overflow != Overflow::Pause {
            return None;
        }
        let mut state = self.lock();
        let messages = self.capacity.messages.saturating_sub(state.messages);
        let bytes = self.capacity.bytes.saturating_sub(state.bytes);
        state.short = !self.is_roomy(messages, bytes);
        Some((messages, bytes))
    }

    fn is_roomy(&self, messages: usize, bytes: usize) -> bool {
        messages.saturating_mul(2) >= self.capacity.messages && bytes.saturating_mul(2) >= self.capacity.bytes
    }

    /// Adds something that the receiver must be told.
    pub(crate) fn push_trouble(&self, cause: Cause) {
        const ENOUGH: usize = 64;
        let mut state = self.lock();
        let troubles = state.items.iter().filter(|item| matches!(item, Item::Trouble(_))).count();
        if state.end.is_none() && troubles < ENOUGH {
            state.items.push_back(Item::Trouble(Box::new(cause)));
        }
        wake(state);
    }

    /// Nothing more will come; what is there stays.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut state = self.lock();
        state.lost = None;
        if state.end.is_none() {
            state.end = Some(End { cause: Cause::Close(reason), told: false });
        }
        wake(state);
    }

    /// More may come again.
    pub(crate) fn reopen(&self) {
        self.lock().end = None;
    }

    /// The connection is lost since then, or it is not.
    pub(crate) fn set_lost(&self, since: Option<Instant>, patience: Option<Duration>) {
        let mut state = self.lock();
        if state.lost.map(|lost| lost.since) != since {
            state.lost = since.map(|since| Lost {
                since,
                report: patience.and_then(|patience| since.checked_add(patience)),
            });
            wake(state);
        }
    }

    /// Puts off the next report of the loss by `patience`. Since when it is lost, if it is.
    pub(crate) fn report_lost(&self, now: Instant, patience: Duration) -> Option<Duration> {
        let mut state = self.lock();
        let lost = state.lost.as_mut()?;
        if lost.report.is_none_or(|report| report > now) {
            return None;
        }
        lost.report = now.checked_add(patience);
        Some(now - lost.since)
    }

    /// A number for a reader, under which it waits.
    pub(crate) fn new_reader(&self) -> u64 {
        let mut state = self.lock();
        state.last_reader += 1;
        state.last_reader
    }

    /// A reader waits no more.
    pub(crate) fn forget_reader(&self, reader: u64) {
        self.lock().wakers.retain(|(waiting, _)| *waiting != reader);
    }

    /// The next message, if it is there and nothing is to be told before it.
    #[inline]
    pub(crate) fn take_ready(&self) -> Option<Message> {
        let mut state = self.lock();
        let message = state.take(0)?;
        if state.short {
            self.took(state);
        }
        Some(message)
    }

    /// A message was taken out of a queue that was short of room.
    #[cold]
    fn took(&self, mut state: MutexGuard<'_, State>) {
        let messages = self.capacity.messages.saturating_sub(state.messages);
        let bytes = self.capacity.bytes.saturating_sub(state.bytes);
        if self.is_roomy(messages, bytes) {
            state.short = false;
            drop(state);
            self.roomy.notify_one();
        }
    }

    pub(crate) fn poll_next(&self, reader: u64, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.lock();
        if let Some(message) = state.take(0) {
            if state.short {
                self.took(state);
            }
            return Poll::Ready(Next::Message(message));
        }
        if let Some(Item::Trouble(cause)) = state.items.pop_front() {
            return Poll::Ready(Next::Trouble(*cause));
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

    /// Whether the end is told here for the first time.
    pub(crate) fn tell_end(&self) -> bool {
        self.lock().end.as_mut().is_some_and(|end| !std::mem::replace(&mut end.told, true))
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
        let Poll::Ready(Next::End(Cause::Overflow { channel: told, dropped })) = queue.poll_next(1, &mut cx)
        else {
            panic!("it goes on");
        };
        assert_eq!((told, dropped), (Some(channel), 23));
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
