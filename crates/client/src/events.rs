//! The events of a client as a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bayeux_proto::client::Event;
use futures_core::Stream;

/// How many events wait for a busy listener at most.
const MAX_EVENTS: usize = 256;

/// The events of a client, from the call of [`Client::events`](crate::Client::events) on: a [`Stream`] that ends when the client and
/// all its handles are dropped.
///
/// At most 256 events wait. If a listener falls further behind, the oldest are dropped, and [`Event::EventsMissed`] with their
/// number precedes the next one. Only waiting events take memory.
pub struct Events {
    listener: Arc<Listener>,
}

/// The listeners of a client.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Vec<Weak<Listener>>>);

#[derive(Debug, Default)]
struct Listener(Mutex<Waiting>);

/// What one listener has not taken yet.
#[derive(Debug, Default)]
struct Waiting {
    /// Shared, because some are large.
    events: VecDeque<Arc<Event>>,
    missed: u64,
    /// There will be no more.
    is_closed: bool,
    waker: Option<Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listeners {
    /// Adds a listener.
    pub(crate) fn listen(&self) -> Events {
        let listener = Arc::new(Listener::default());
        lock(&self.0).push(Arc::downgrade(&listener));
        Events { listener }
    }

    /// Emits an event to all listeners.
    pub(crate) fn emit(&self, event: Event) {
        let mut listeners = lock(&self.0);
        if listeners.is_empty() {
            return;
        }
        let event = Arc::new(event);
        let mut wakers = Vec::new();
        listeners.retain(|listener| {
            let listener = listener.upgrade();
            if let Some(listener) = &listener {
                wakers.extend(listener.push(Arc::clone(&event)));
            }
            listener.is_some()
        });
        // A woken task may add a listener at once.
        drop(listeners);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for listener in lock(&self.0).drain(..).filter_map(|listener| listener.upgrade()) {
            let mut waiting = lock(&listener.0);
            waiting.is_closed = true;
            let waker = waiting.waker.take();
            drop(waiting);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Listener {
    /// Adds an event. Returns the waker to wake.
    fn push(&self, event: Arc<Event>) -> Option<Waker> {
        let mut waiting = lock(&self.0);
        if waiting.events.len() >= MAX_EVENTS {
            waiting.events.pop_front();
            waiting.missed += 1;
        }
        waiting.events.push_back(event);
        waiting.waker.take()
    }
}

impl Events {
    /// Returns the next event, and waits for it. Returns `None` if the client is dropped.
    ///
    /// # Cancel safety
    /// No event is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        /// A larger capacity is released when no event waits.
        const FEW: usize = 8;
        let mut waiting = lock(&self.listener.0);
        if waiting.missed > 0 {
            return Poll::Ready(Some(Event::EventsMissed(std::mem::take(&mut waiting.missed))));
        }
        let Some(event) = waiting.events.pop_front() else {
            if waiting.is_closed {
                return Poll::Ready(None);
            }
            waiting.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if waiting.events.is_empty() && waiting.events.capacity() > FEW {
            waiting.events = VecDeque::new();
        }
        drop(waiting);
        Poll::Ready(Some(Arc::unwrap_or_clone(event)))
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(events: &mut Events) -> Poll<Option<Event>> {
        Pin::new(events).poll_next(&mut Context::from_waker(Waker::noop()))
    }

    fn number(event: Poll<Option<Event>>) -> u64 {
        match event {
            Poll::Ready(Some(Event::EventsMissed(number))) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_idle_listener_takes_no_memory_and_a_busy_one_a_bounded_amount() {
        let listeners = Listeners::default();
        let mut events = listeners.listen();
        let capacity = |events: &Events| lock(&events.listener.0).events.capacity();
        assert_eq!(capacity(&events), 0);
        for _ in 0..1000 {
            listeners.emit(Event::Rehandshaken);
        }
        assert!(capacity(&events) <= MAX_EVENTS);
        assert_eq!(number(poll(&mut events)), 1000 - MAX_EVENTS as u64);
        for _ in 0..MAX_EVENTS {
            assert!(matches!(poll(&mut events), Poll::Ready(Some(Event::Rehandshaken))));
        }
        assert!(poll(&mut events).is_pending());
        assert_eq!(capacity(&events), 0);
    }

    #[test]
    fn each_listener_gets_all_in_order_until_the_end() {
        let listeners = Listeners::default();
        listeners.emit(Event::Rehandshaken);
        let (mut one, mut other) = (listeners.listen(), listeners.listen());
        drop(listeners.listen());
        for n in 0..3 {
            listeners.emit(Event::EventsMissed(n));
        }
        assert_eq!(lock(&listeners.0).len(), 2, "a dropped listener is removed");
        drop(listeners);
        for events in [&mut one, &mut other] {
            assert_eq!([(); 3].map(|()| number(poll(events))), [0, 1, 2]);
            assert!(matches!(poll(events), Poll::Ready(None)));
        }
    }
}
