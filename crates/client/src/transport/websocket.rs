//! WebSocket: each batch is a text frame, and frames arrive at any time.
//!
//! Most sockets are idle most of the time. An idle one rests: it has no buffer, and waits for its connection to be readable.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bayeux_proto::client::{Failure, FailureKind};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use tokio::time::Instant;
use tokio_websockets::{
    ClientBuilder, CloseCode, Config, Limits, Message, WebSocketStream, proto::ProtocolError,
};
use url::Url;

use super::arriving::{Arriving, too_slow};
use super::connection::Connection;
use super::failure::{display_url, lost};
use super::http::HttpStack;
use super::outgoing::{Frame, NotReading, Outgoing};
use super::upgrade::{Io, upgrade};

type Socket = WebSocketStream<Connection>;
type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How often in a row a socket rests as soon as there is nothing to read: more often than it gets a frame while a session
/// opens. A busier one rests once it was idle between two checks.
const EAGER_RESTS: u8 = 16;

/// How many times the size of the largest message its fragments may take on the wire: one byte in a fragment takes three.
const OVERHEAD: u64 = 4;
/// And how much they may take in any case.
const OVERHEAD_AT_LEAST: u64 = 64 * 1024;

/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The socket, polled by the driver's task.
pub(crate) struct WebSocket {
    http: Arc<HttpStack>,
    url: Url,
    stage: Stage,
    outgoing: Outgoing,
    /// A ping waits to be written.
    pinging: bool,
    /// How many of the bytes that the socket has read were reported as progress.
    reported: u64,
    /// How many of them were in the frames that came out. Those in pieces took more, which does not count.
    framed: u64,
    /// How fast a message arrives that is not complete.
    arriving: Arriving,
    /// How many bytes had been read when the message before it was complete.
    complete: u64,
    /// Whether anything came or went since it was last looked whether it is quiet.
    active: bool,
    /// How often it may still rest at once.
    eager_rests: u8,
    /// The close frame of the peer.
    peer_close: Option<(u16, String)>,
    /// A socket in its closing handshake, while the next one may be opening.
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
    /// It could not be opened, or the connection is lost.
    Lost(Failure),
}

enum Stage {
    Closed,
    Opening(Task<Result<Box<dyn Io>, Failure>>),
    Open(Box<Socket>),
    Resting(Connection),
}

impl WebSocket {
    pub(crate) fn new(http: Arc<HttpStack>, url: Url) -> Self {
        let write_timeout = http.options.write_timeout();
        Self {
            http,
            url,
            stage: Stage::Closed,
            outgoing: Outgoing::new(write_timeout),
            pinging: false,
            reported: 0,
            framed: 0,
            arriving: Arriving::default(),
            complete: 0,
            active: false,
            eager_rests: 0,
            peer_close: None,
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
        self.pinging = false;
        self.peer_close = None;
        (self.reported, self.framed, self.eager_rests) = (0, 0, EAGER_RESTS);
        (self.arriving, self.complete) = (Arriving::default(), 0);
        self.stage = Stage::Opening(Box::pin(upgrade(Arc::clone(&self.http), self.url.clone(), headers)));
    }

    /// Sends a frame, as soon as it can.
    pub(crate) fn send(&mut self, frame: Bytes) {
        self.outgoing.push(Frame::Text(frame));
    }

    /// Sends a ping, if the socket is open.
    pub(crate) fn ping(&mut self) {
        self.pinging = matches!(self.stage, Stage::Open(_) | Stage::Resting(_));
    }

    /// Sends the waiting frames, then a close frame.
    pub(crate) fn close(&mut self) {
        self.wake();
        if let Stage::Open(socket) = std::mem::replace(&mut self.stage, Stage::Closed) {
            self.closing = Some(Box::pin(close(*socket, self.outgoing.take())));
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
        // The next socket does not wait for it.
        let _ = self.poll_closing(cx);
        loop {
            match &mut self.stage {
                Stage::Closed => return Poll::Pending,
                Stage::Opening(opening) => match opening.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(failure)) => return self.lose(failure),
                    Poll::Ready(Ok(io)) => self.stage = Stage::Resting(Connection::new(io)),
                },
                Stage::Resting(connection) => {
                    if self.outgoing.is_empty() && !self.pinging {
                        match connection.poll_readable(cx) {
                            Poll::Pending => return Poll::Pending,
                            Poll::Ready(Ok(())) => {}
                            Poll::Ready(Err(error)) => {
                                let failure = lost(&self.url, &error);
                                return self.lose(failure);
                            }
                        }
                    }
                    self.wake();
                }
                Stage::Open(socket) => {
                    if std::mem::take(&mut self.pinging) {
                        self.outgoing.push(Frame::Ping);
                    }
                    if let Err(why) = self.outgoing.write(socket, cx) {
                        let failure = self.not_reading(why);
                        return self.lose(failure);
                    }
                    let next = socket.poll_next_unpin(cx);
                    let read = socket.get_ref().read();
                    let reported = std::mem::replace(&mut self.reported, read);
                    self.active |= !next.is_pending();
                    if let Poll::Ready(Some(Ok(message))) = &next {
                        self.framed += wire_size(message);
                        if message.is_ping()
                            && let Err(why) = self.outgoing.answer(socket, message.as_payload().len())
                        {
                            let failure = self.not_reading(why);
                            return self.lose(failure);
                        }
                    }
                    if let Some(failure) = self.check_arrival(&next, read) {
                        return self.lose(failure);
                    }
                    return match next {
                        Poll::Pending if self.peer_close.is_some() => {
                            // The answer to its close is still to be written, which the peer may prevent.
                            if let Stage::Open(socket) = std::mem::replace(&mut self.stage, Stage::Closed) {
                                self.closing = Some(Box::pin(answer_close(*socket)));
                            }
                            let failure = self.end();
                            self.lose(failure)
                        }
                        Poll::Pending if reported != self.reported => Poll::Ready(WebSocketEvent::Arriving),
                        Poll::Pending if self.eager_rests > 0 && self.rest(cx) => {
                            self.eager_rests -= 1;
                            continue;
                        }
                        Poll::Pending => Poll::Pending,
                        Poll::Ready(Some(Ok(message))) if message.is_close() => {
                            self.peer_close =
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

    /// Whether it has a buffer, which it could do without if it is quiet.
    pub(crate) fn is_awake(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Lets it rest if nothing came or went since this was asked before.
    pub(crate) fn rest_if_quiet(&mut self, cx: &mut Context<'_>) {
        if !std::mem::take(&mut self.active) && self.rest(cx) {
            self.eager_rests = EAGER_RESTS;
        }
    }

    /// Gives the buffer back, if there is nothing in it and nothing on the way out.
    fn rest(&mut self, cx: &mut Context<'_>) -> bool {
        let Stage::Open(socket) = &mut self.stage else { return false };
        let is_empty = self.framed == socket.get_ref().read() && self.outgoing.is_empty() && !self.pinging;
        if !is_empty
            || self.peer_close.is_some()
            || !matches!(socket.poll_flush_unpin(cx), Poll::Ready(Ok(())))
        {
            return false;
        }
        if let Stage::Open(socket) = std::mem::replace(&mut self.stage, Stage::Closed) {
            self.stage = Stage::Resting(socket.into_inner());
        }
        true
    }

    /// Takes a buffer again.
    fn wake(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Resting(connection) => {
                let limits = Limits::default().max_payload_len(Some(self.http.max_message_size()));
                let builder = ClientBuilder::new().limits(limits).config(Config::default());
                Stage::Open(Box::new(builder.take_over(connection)))
            }
            other => other,
        };
    }

    /// Ready when no closing handshake is in progress.
    pub(crate) fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(closing) = &mut self.closing {
            std::task::ready!(closing.as_mut().poll(cx));
            self.closing = None;
        }
        Poll::Ready(())
    }

    /// Why the message that is arriving is given up, if it is.
    fn check_arrival(
        &mut self,
        next: &Poll<Option<Result<Message, tokio_websockets::Error>>>,
        read: u64,
    ) -> Option<Failure> {
        match next {
            Poll::Ready(Some(Ok(message))) if message.is_text() || message.is_binary() => {
                // What came with its end may belong to the next, which is then counted for less than it has.
                self.complete = read;
            }
            Poll::Ready(Some(Ok(control))) => {
                self.complete = read.min(self.complete + wire_size(control));
            }
            Poll::Ready(_) => return None,
            Poll::Pending => {}
        }
        let bytes = read - self.complete;
        if bytes == 0 {
            self.arriving.done();
            return None;
        }
        let cap = self.http.max_message_size();
        let rate = self.http.options.min_receive_rate;
        if self.arriving.is_too_slow(bytes, rate, Instant::now()) {
            return Some(too_slow("a message", &display_url(&self.url), rate));
        }
        if bytes > (cap as u64).saturating_mul(OVERHEAD).saturating_add(OVERHEAD_AT_LEAST) {
            let text = format!("a message of {} comes in fragments without end", display_url(&self.url));
            return Some(Failure::new(FailureKind::TooLarge, text));
        }
        None
    }

    fn not_reading(&self, why: NotReading) -> Failure {
        Failure::new(FailureKind::Timeout, format!("{} {why}", display_url(&self.url)))
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
            error => match &self.peer_close {
                Some(_) => self.end(),
                None => lost(&self.url, error),
            },
        }
    }

    /// The failure for the end of the stream, with the reason of the close frame if there was one.
    fn end(&self) -> Failure {
        // All that a close frame can carry.
        const SHOWN: usize = 123;
        let url = display_url(&self.url);
        match &self.peer_close {
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

/// The least that a message takes on the wire, in whatever pieces it comes (RFC 6455, section 5.2; servers do not mask).
/// More than what was read can thus never be accounted for.
fn wire_size(message: &Message) -> u64 {
    let payload = message.as_payload().len();
    let headers = match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        // Whole it would be 10, but in two pieces it is less.
        0x1_0000..=0x1_fffe => 8,
        _ => 10,
    };
    (headers + payload) as u64
}

/// Answers the peer's close, if it reads.
async fn answer_close(mut socket: Socket) {
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, async { while socket.next().await.is_some() {} }).await;
}

async fn close(mut socket: Socket, outgoing: impl Iterator<Item = Frame>) {
    let closing = async {
        for frame in outgoing {
            socket.feed(frame.into()).await?;
        }
        socket.send(Message::close(Some(CloseCode::NORMAL_CLOSURE), "")).await?;
        while socket.next().await.transpose()?.is_some() {}
        Ok::<_, tokio_websockets::Error>(())
    };
    // Whether the peer answers or not, the socket is done with.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Closed => "closed",
            Stage::Opening(_) => "opening",
            Stage::Open(_) => "open",
            Stage::Resting(_) => "resting",
        };
        f.debug_struct("WebSocket").field("stage", &stage).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::super::options::{HttpOptions, Proxy};
    use super::super::tls::TlsOptions;
    use super::*;

    /// A socket that is open already, and its other end.
    fn open() -> (WebSocket, DuplexStream) {
        let options = HttpOptions {
            tls: TlsOptions::new(),
            proxy: Proxy::none(),
            headers: HeaderMap::new(),
            cookies: Vec::new(),
            secure_cookies_over_http: false,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            max_message_size: 1024 * 1024,
            min_receive_rate: 100,
            subprotocol: None,
        };
        let url: Url = "http://127.0.0.1/cometd".parse().unwrap();
        let (here, there) = tokio::io::duplex(1024 * 1024);
        let mut socket =
            WebSocket::new(Arc::new(HttpStack::new(options, vec![url.clone()], &Default::default())), url);
        socket.stage = Stage::Resting(Connection::new(Box::new(here)));
        socket.eager_rests = EAGER_RESTS;
        (socket, there)
    }

    async fn next(socket: &mut WebSocket) -> WebSocketEvent {
        poll_fn(|cx| socket.poll_event(cx)).await
    }

    /// Whether nothing is there, and the socket rests.
    fn rests(socket: &mut WebSocket) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(socket.poll_event(&mut cx).is_pending());
        !socket.is_awake()
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len();
        let mut frame = vec![first];
        match length {
            0..=125 => frame.push(length as u8),
            126..=0xffff => frame.extend([126, (length >> 8) as u8, length as u8]),
            _ => frame.extend([127, 0, 0, 0, 0].into_iter().chain((length as u32).to_be_bytes())),
        }
        frame.extend_from_slice(payload);
        frame
    }

    async fn assert_receives(socket: &mut WebSocket, payload: &[u8]) {
        loop {
            match next(socket).await {
                WebSocketEvent::Received(body) => return assert_eq!(body, payload),
                WebSocketEvent::Arriving => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_quiet_socket_rests_and_nothing_is_lost() {
        let (mut socket, mut server) = open();
        for size in [0, 2, 125, 126, 511, 512, 513, 8191, 8192, 65535, 65536, 200_000] {
            let payload = vec![b'a'; size];
            server.write_all(&frame(0x81, &payload)).await.unwrap();
            assert_receives(&mut socket, &payload).await;
        }
        let (mut socket, mut server) = open();
        for size in [0, 2, 125, 126, 511, 512, 513, 8191, 8192, 65535] {
            assert!(rests(&mut socket), "before {size} bytes");
            let frame = frame(0x81, &vec![b'a'; size]);
            server.write_all(&frame[..1]).await.unwrap();
            assert!(matches!(next(&mut socket).await, WebSocketEvent::Arriving));
            assert!(!rests(&mut socket), "within {size} bytes");
            server.write_all(&frame[1..]).await.unwrap();
            assert_receives(&mut socket, &frame[frame.len() - size..]).await;
        }
    }

    #[tokio::test]
    async fn what_comes_in_pieces_keeps_a_socket_awake_and_nothing_is_lost() {
        let (mut socket, mut server) = open();
        // Two pieces take two bytes less than the whole would, which the beginning of a frame must not make up for.
        let half = vec![b'a'; 35_000];
        let mut bytes = frame(0x01, &half);
        bytes.extend(frame(0x80, &half));
        let last = frame(0x81, &[b'b'; 300]);
        bytes.extend(&last[..2]);
        server.write_all(&bytes).await.unwrap();
        assert_receives(&mut socket, &vec![b'a'; 70_000]).await;
        assert!(matches!(next(&mut socket).await, WebSocketEvent::Arriving));
        assert!(!rests(&mut socket));
        server.write_all(&last[2..]).await.unwrap();
        assert_receives(&mut socket, &[b'b'; 300]).await;
    }

    #[tokio::test]
    async fn a_socket_at_rest_sends_answers_pings_and_notices_the_end() {
        let (mut socket, mut server) = open();
        assert!(rests(&mut socket));
        socket.send(Bytes::from_static(b"[]"));
        assert!(rests(&mut socket));
        let mut sent = [0; 8];
        server.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent[..2], [0x81, 0x82]);

        socket.ping();
        assert!(rests(&mut socket));
        server.read_exact(&mut sent[..6]).await.unwrap();
        assert_eq!(sent[..2], [0x89, 0x80]);

        server.write_all(&frame(0x89, b"?")).await.unwrap();
        assert!(matches!(next(&mut socket).await, WebSocketEvent::Alive));
        assert!(rests(&mut socket));
        server.read_exact(&mut sent[..7]).await.unwrap();
        assert_eq!(sent[..2], [0x8a, 0x81]);

        drop(server);
        assert!(matches!(next(&mut socket).await, WebSocketEvent::Lost(_)));
    }

    #[tokio::test]
    async fn a_busy_socket_stays_awake_until_it_is_found_quiet() {
        let (mut socket, mut server) = open();
        for _ in 0..=2 * EAGER_RESTS {
            server.write_all(&frame(0x81, b"[]")).await.unwrap();
            assert_receives(&mut socket, b"[]").await;
            rests(&mut socket);
        }
        assert!(socket.is_awake());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        socket.rest_if_quiet(&mut cx);
        assert!(socket.is_awake(), "something came since it was looked before");
        socket.rest_if_quiet(&mut cx);
        assert!(rests(&mut socket));
        server.write_all(&frame(0x81, b"[]")).await.unwrap();
        assert_receives(&mut socket, b"[]").await;
        assert!(rests(&mut socket), "and it rests eagerly again");
    }
}
