//! WebSocket: each batch is a text frame, and frames come as they please.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bayeux_proto::client::{Failure, FailureKind};
use bytes::Bytes;
use futures_sink::Sink;
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use tokio_websockets::{
    ClientBuilder, CloseCode, Config, Limits, Message, WebSocketStream, proto::ProtocolError,
};
use url::Url;

use super::failure::{display_url, lost};
use super::http::HttpStack;
use super::meter::Metered;
use super::upgrade::{Io, upgrade};

type Socket = WebSocketStream<Box<dyn Io>>;
type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// The socket, polled by the driver's task.
pub(crate) struct WebSocket {
    http: Arc<HttpStack>,
    url: Url,
    stage: Stage,
    /// Frames that wait to be written.
    outgoing: VecDeque<Outgoing>,
    unflushed: bool,
    /// A ping waits to be written.
    pinging: bool,
    /// How many bytes the socket has read, and how many of them were told of.
    read: Arc<AtomicU64>,
    told: u64,
    /// What the peer said when it closed.
    farewell: Option<(u16, String)>,
    /// A socket that says goodbye while the next may be opening.
    closing: Option<Task<()>>,
}

/// What happened to the socket.
#[derive(Debug)]
pub(crate) enum WebSocketEvent {
    /// A frame.
    Received(Bytes),
    /// A part of a frame has come.
    Arriving,
    /// A ping or the answer to one.
    Alive,
    /// It could not be opened, or it is gone.
    Lost(Failure),
}

/// What waits to be written.
enum Outgoing {
    Text(Bytes),
    Ping,
}

impl From<Outgoing> for Message {
    fn from(outgoing: Outgoing) -> Self {
        match outgoing {
            Outgoing::Text(frame) => Self::text(frame),
            Outgoing::Ping => Self::ping(Bytes::new()),
        }
    }
}

enum Stage {
    Closed,
    Opening(Task<Result<Box<dyn Io>, Failure>>),
    Open(Box<Socket>),
}

impl WebSocket {
    pub(crate) fn new(http: Arc<HttpStack>, url: Url) -> Self {
        Self {
            http,
            url,
            stage: Stage::Closed,
            outgoing: VecDeque::new(),
            unflushed: false,
            pinging: false,
            read: Arc::default(),
            told: 0,
            farewell: None,
            closing: None,
        }
    }

    /// Whether it is neither open nor opening.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    /// Starts an upgrade.
    pub(crate) fn open(&mut self, url: Url, headers: HeaderMap) {
        self.url = url;
        self.outgoing.clear();
        self.unflushed = false;
        self.pinging = false;
        self.farewell = None;
        self.stage = Stage::Opening(Box::pin(upgrade(Arc::clone(&self.http), self.url.clone(), headers)));
    }

    /// Sends a frame, as soon as it can.
    pub(crate) fn send(&mut self, frame: Bytes) {
        self.outgoing.push_back(Outgoing::Text(frame));
    }

    /// Asks the peer for a sign of life; a socket that is not open has none to give.
    pub(crate) fn ping(&mut self) {
        self.pinging = matches!(self.stage, Stage::Open(_));
    }

    /// Sends what waits, and says goodbye.
    pub(crate) fn close(&mut self) {
        if let Stage::Open(socket) = std::mem::replace(&mut self.stage, Stage::Closed) {
            self.closing = Some(Box::pin(goodbye(*socket, std::mem::take(&mut self.outgoing))));
        }
        self.outgoing.clear();
    }

    /// Drops the socket.
    pub(crate) fn abort(&mut self) {
        self.stage = Stage::Closed;
        self.outgoing.clear();
    }

    /// Writes what waits, and reads. A peer that does not read does not keep us from reading.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<WebSocketEvent> {
        // Whether it is done makes no difference to the next socket.
        let _ = self.poll_goodbye(cx);
        loop {
            match &mut self.stage {
                Stage::Closed => return Poll::Pending,
                Stage::Opening(opening) => match opening.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(failure)) => return self.lose(failure),
                    Poll::Ready(Ok(io)) => {
                        let io: Box<dyn Io> = Box::new(Metered { io, read: Arc::clone(&self.read) });
                        let limits = Limits::default().max_payload_len(Some(self.http.max_message_size()));
                        let socket =
                            ClientBuilder::new().limits(limits).config(Config::default()).take_over(io);
                        self.stage = Stage::Open(Box::new(socket));
                    }
                },
                Stage::Open(socket) => {
                    if std::mem::take(&mut self.pinging) {
                        self.outgoing.push_back(Outgoing::Ping);
                    }
                    if let Err(error) = write(socket, &mut self.outgoing, &mut self.unflushed, cx) {
                        // What was sent before the end, the reason of a close among it, is still to be read.
                        tracing::debug!(%error, "the WebSocket cannot be written to");
                    }
                    let next = socket.poll_next_unpin(cx);
                    let told = std::mem::replace(&mut self.told, self.read.load(Ordering::Relaxed));
                    return match next {
                        Poll::Pending if told != self.told => Poll::Ready(WebSocketEvent::Arriving),
                        Poll::Pending => Poll::Pending,
                        Poll::Ready(Some(Ok(message))) if message.is_close() => {
                            self.farewell =
                                message.as_close().map(|(code, why)| (code.into(), why.to_owned()));
                            continue;
                        }
                        Poll::Ready(Some(Ok(message))) if message.is_text() || message.is_binary() => {
                            Poll::Ready(WebSocketEvent::Received(message.into_payload().into()))
                        }
                        Poll::Ready(Some(Ok(_))) => Poll::Ready(WebSocketEvent::Alive),
                        Poll::Ready(Some(Err(error))) => {
                            let failure = self.failure(&error);
                            self.lose(failure)
                        }
                        Poll::Ready(None) => {
                            let failure = self.end();
                            self.lose(failure)
                        }
                    };
                }
            }
        }
    }

    /// Ready when no goodbye is being said.
    pub(crate) fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(closing) = &mut self.closing {
            std::task::ready!(closing.as_mut().poll(cx));
            self.closing = None;
        }
        Poll::Ready(())
    }

    fn lose(&mut self, failure: Failure) -> Poll<WebSocketEvent> {
        self.abort();
        Poll::Ready(WebSocketEvent::Lost(failure))
    }

    fn failure(&self, error: &tokio_websockets::Error) -> Failure {
        let url = display_url(&self.url);
        match error {
            tokio_websockets::Error::PayloadTooLong { .. } => {
                let cap = self.http.max_message_size();
                let text =
                    format!("a frame of {url} is larger than {cap} bytes; max_message_size raises the limit");
                Failure::new(FailureKind::TooLarge, text)
            }
            tokio_websockets::Error::Protocol(ProtocolError::InvalidUtf8) => {
                Failure::new(FailureKind::Malformed, format!("a frame of {url} is not UTF-8"))
            }
            error => match &self.farewell {
                Some(_) => self.end(),
                None => lost(&self.url, error),
            },
        }
    }

    /// The peer is gone, with or without a word.
    fn end(&self) -> Failure {
        const SHOWN: usize = 120;
        let url = display_url(&self.url);
        match &self.farewell {
            Some((code, why)) => {
                let why: String = why.chars().take(SHOWN).collect();
                let why = if why.is_empty() { why } else { format!(": {why}") };
                Failure::new(
                    FailureKind::Closed { code: *code },
                    format!("{url} closed the WebSocket ({code}{why})"),
                )
            }
            None => Failure::new(FailureKind::Lost, format!("{url} dropped the WebSocket")),
        }
    }
}

/// Hands over all that waits, then flushes once.
fn write(
    socket: &mut Socket,
    outgoing: &mut VecDeque<Outgoing>,
    unflushed: &mut bool,
    cx: &mut Context<'_>,
) -> Result<(), tokio_websockets::Error> {
    while !outgoing.is_empty() {
        match Pin::new(&mut *socket).poll_ready(cx)? {
            Poll::Pending => return Ok(()),
            Poll::Ready(()) => {
                if let Some(frame) = outgoing.pop_front() {
                    Pin::new(&mut *socket).start_send(frame.into())?;
                    *unflushed = true;
                }
            }
        }
    }
    if *unflushed && Pin::new(socket).poll_flush(cx)?.is_ready() {
        *unflushed = false;
    }
    Ok(())
}

async fn goodbye(mut socket: Socket, outgoing: VecDeque<Outgoing>) {
    let farewell = async {
        for frame in outgoing {
            socket.feed(frame.into()).await?;
        }
        socket.send(Message::close(Some(CloseCode::NORMAL_CLOSURE), "")).await?;
        while socket.next().await.transpose()?.is_some() {}
        Ok::<_, tokio_websockets::Error>(())
    };
    // Whether the peer answers or not, the socket is done with.
    let _ = tokio::time::timeout(GOODBYE, farewell).await;
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Closed => "closed",
            Stage::Opening(_) => "opening",
            Stage::Open(_) => "open",
        };
        f.debug_struct("WebSocket").field("stage", &stage).finish_non_exhaustive()
    }
}
