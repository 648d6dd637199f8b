//! Filters: code of the user that sees each body and frame as a whole, and may take its time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bayeux_proto::Message;
use bayeux_proto::client::ExchangeId;
use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderMap;
use url::Url;

use crate::extension::Veto;

/// What a [`PayloadFilter`] sees and returns.
#[derive(Clone, Default)]
pub struct Payload {
    /// The messages: a JSON array.
    pub body: Bytes,
    /// The headers of an outgoing request: those of the credentials and of the [extensions](crate::Extension), to which others can be
    /// added. Over a WebSocket they are sent only if the payload opens it. For an incoming payload, the headers of the response;
    /// empty over a WebSocket.
    pub headers: HeaderMap,
}

/// Omits what may be secret.
impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers: Vec<_> = self.headers.keys().collect();
        f.debug_struct("Payload").field("body", &self.body.len()).field("headers", &headers).finish()
    }
}

/// The future of a [`PayloadFilter`].
pub type FilterFuture = Pin<Box<dyn Future<Output = Result<Payload, Veto>> + Send>>;

/// Code that sees each outgoing and incoming body or frame as text and can change or veto it, without blocking the client.
///
/// For programs that must have the whole payload or that wait for something, as an extension of another language does. An
/// [`Extension`](crate::Extension) costs less.
///
/// Outgoing payloads pass the extensions first and the filter last, incoming ones the filter first. Frames of a WebSocket pass one at
/// a time in each direction, and while one is incoming nothing else is read. Requests of long-polling pass independently of each
/// other. A filter that waits for a call of its own client therefore waits for itself. A filter that takes longer than the reply
/// may take (see [`Builder::request_timeout`](crate::Builder::request_timeout)) is given up, and the request fails. If a filter panics, the
/// payload is vetoed.
pub trait PayloadFilter: Send + Sync + 'static {
    /// Called with each payload before it is sent. The ids of the messages must not be changed, or their replies are ignored.
    ///
    /// # Errors
    /// A [`Veto`] prevents sending. The calls whose messages are in the payload fail with
    /// [`ErrorKind::Vetoed`](crate::ErrorKind::Vetoed).
    fn outgoing(&self, payload: Payload) -> FilterFuture;

    /// Called with each received payload before the client handles it.
    ///
    /// # Errors
    /// A [`Veto`] has the effect of a broken connection: the request fails, or the WebSocket is closed.
    fn incoming(&self, payload: Payload) -> FilterFuture;
}

/// A request or frame on its way out.
pub(crate) struct Outgoing {
    pub(crate) exchange: ExchangeId,
    pub(crate) server: usize,
    /// The URL of a request; `None` for a frame.
    pub(crate) url: Option<Url>,
    /// For the case of a veto.
    pub(crate) messages: Vec<Message>,
}

/// A payload that has passed the filter, or was vetoed.
pub(crate) enum Filtered {
    Outgoing(Outgoing, Result<Payload, Veto>),
    /// Without an exchange it is a frame.
    Incoming(Option<ExchangeId>, Result<Payload, Veto>),
}

/// The payloads that pass the filter at the moment, polled by the driver's task.
#[derive(Default)]
pub(crate) struct Filtering {
    filter: Option<Arc<dyn PayloadFilter>>,
    outgoing: Vec<(Outgoing, Pass)>,
    incoming: Vec<(Option<ExchangeId>, FilterFuture)>,
}

enum Pass {
    /// A frame that waits for those before it.
    Waiting(Payload),
    Passing(FilterFuture),
}

impl Filtering {
    pub(crate) fn new(filter: Option<Arc<dyn PayloadFilter>>) -> Self {
        Self { filter, ..Self::default() }
    }

    /// Whether there is a filter.
    pub(crate) fn is_on(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether a received frame has not passed yet, behind which nothing may be read.
    pub(crate) fn has_frame(&self) -> bool {
        self.incoming.iter().any(|(exchange, _)| exchange.is_none())
    }

    pub(crate) fn send(&mut self, outgoing: Outgoing, payload: Payload) {
        self.outgoing.push((outgoing, Pass::Waiting(payload)));
    }

    pub(crate) fn receive(&mut self, exchange: Option<ExchangeId>, payload: Payload) {
        if let Some(filter) = &self.filter {
            let pass = guarded(|| filter.incoming(payload));
            self.incoming.push((exchange, pass));
        }
    }

    /// Gives a request up.
    pub(crate) fn cancel(&mut self, exchange: ExchangeId) {
        self.outgoing.retain(|(outgoing, _)| outgoing.exchange != exchange);
        self.incoming.retain(|(received, _)| *received != Some(exchange));
    }

    /// The WebSocket is given up, with all frames.
    pub(crate) fn drop_frames(&mut self) {
        self.outgoing.retain(|(outgoing, _)| outgoing.url.is_some());
        self.incoming.retain(|(exchange, _)| exchange.is_some());
    }

    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Filtered> {
        for at in 0..self.incoming.len() {
            if let Poll::Ready(outcome) = self.incoming[at].1.as_mut().poll(cx) {
                let (exchange, _) = self.incoming.remove(at);
                return Poll::Ready(Filtered::Incoming(exchange, outcome));
            }
        }
        let Some(filter) = &self.filter else { return Poll::Pending };
        let mut frame_passes = false;
        for at in 0..self.outgoing.len() {
            let (outgoing, pass) = &mut self.outgoing[at];
            // Frames keep their order.
            if outgoing.url.is_none() && std::mem::replace(&mut frame_passes, true) {
                continue;
            }
            if let Pass::Waiting(payload) = pass {
                let payload = std::mem::take(payload);
                *pass = Pass::Passing(guarded(|| filter.outgoing(payload)));
            }
            if let Pass::Passing(future) = pass
                && let Poll::Ready(outcome) = future.as_mut().poll(cx)
            {
                let (outgoing, _) = self.outgoing.remove(at);
                return Poll::Ready(Filtered::Outgoing(outgoing, outcome));
            }
        }
        Poll::Pending
    }
}

/// Runs code of the user, whose panic must not end the client.
fn guarded(start: impl FnOnce() -> FilterFuture) -> FilterFuture {
    let panicked = || {
        tracing::error!("a payload filter panicked");
        Veto::new("the filter panicked")
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(start)) {
        Err(_) => Box::pin(std::future::ready(Err(panicked()))),
        Ok(future) => Box::pin(
            std::panic::AssertUnwindSafe(future)
                .catch_unwind()
                .map(move |outcome| outcome.unwrap_or_else(|_| Err(panicked()))),
        ),
    }
}

impl std::fmt::Debug for Filtering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filtering")
            .field("outgoing", &self.outgoing.len())
            .field("incoming", &self.incoming.len())
            .finish()
    }
}
