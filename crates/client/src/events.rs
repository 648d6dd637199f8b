//! The client's life as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bayeux_proto::client::Event;
use futures_core::Stream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Every change of a connection's life, from [`Client::events`](crate::Client::events) on: a `Stream` that ends when
/// the client is gone. A listener that falls more than 256 events behind gets an [`Event::EventsMissed`].
pub struct Events {
    next: Next,
}

type Next = Pin<Box<dyn Future<Output = (Option<Event>, broadcast::Receiver<Event>)> + Send + Sync>>;

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self { next: Box::pin(receive(receiver)) }
    }

    /// The next event; `None` when the client is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

async fn receive(mut receiver: broadcast::Receiver<Event>) -> (Option<Event>, broadcast::Receiver<Event>) {
    let event = match receiver.recv().await {
        Ok(event) => Some(event),
        Err(RecvError::Lagged(missed)) => Some(Event::EventsMissed(missed)),
        Err(RecvError::Closed) => None,
    };
    (event, receiver)
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let (event, receiver) = std::task::ready!(self.next.as_mut().poll(cx));
        self.next = Box::pin(receive(receiver));
        Poll::Ready(event)
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
