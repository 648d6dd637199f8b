//! The frames that wait to be written to a WebSocket, and the timeout for a peer that does not read.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_sink::Sink;
use tokio::time::{Instant, Sleep};
use tokio_websockets::{Message, WebSocketStream};

use super::connection::Connection;

type Socket = WebSocketStream<Connection>;

/// How many answers to pings may wait to be written. A peer that reads takes each before it sends the next ping; on a slow
/// link, a large frame may be in front of a few.
const PONGS: usize = 16;
/// How many times as long as a peer may read nothing a frame may wait for the frames before it.
const TURNS: u32 = 4;

/// The frames to be written, and how it gets on.
pub(super) struct Outgoing {
    frames: VecDeque<(Instant, Frame)>,
    unflushed: bool,
    /// How many bytes the connection will have written when all is written that the socket was handed.
    handed: u64,
    /// The same, when each answer to a ping is written.
    pongs: VecDeque<u64>,
    /// Where it stands still.
    stall: Option<Stall>,
    /// How long the peer may read nothing while frames wait.
    write_timeout: Duration,
}

#[derive(Debug)]
pub(super) enum Frame {
    Text(Bytes),
    Ping,
}

impl From<Frame> for Message {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Text(text) => Self::text(text),
            Frame::Ping => Self::ping(Bytes::new()),
        }
    }
}

#[derive(Debug)]
struct Stall {
    written: u64,
    timer: Pin<Box<Sleep>>,
}

/// Why the peer is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotReading {
    /// It read nothing, or not enough, for this long.
    For(Duration),
    /// It sent this many pings meanwhile.
    Pings(usize),
}

impl Outgoing {
    pub(super) fn new(write_timeout: Duration) -> Self {
        Self {
            frames: VecDeque::new(),
            unflushed: false,
            handed: 0,
            pongs: VecDeque::new(),
            stall: None,
            write_timeout,
        }
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.frames.push_back((Instant::now(), frame));
    }

    /// Whether no frame waits to be handed to the socket.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Forgets all that waits.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.write_timeout);
    }

    /// Takes the frames that were not handed to the socket.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Frame> + use<> {
        let frames = std::mem::take(&mut self.frames);
        self.clear();
        frames.into_iter().map(|(_, frame)| frame)
    }

    /// The socket answers a ping with so many bytes of payload. Fails if too many answers wait already.
    pub(super) fn answer(&mut self, socket: &Socket, payload: usize) -> Result<(), NotReading> {
        let written = socket.get_ref().written();
        while self.pongs.front().is_some_and(|end| *end <= written) {
            self.pongs.pop_front();
        }
        self.hand_over(payload);
        self.pongs.push_back(self.handed);
        if self.pongs.len() > PONGS { Err(NotReading::Pings(PONGS)) } else { Ok(()) }
    }

    fn hand_over(&mut self, payload: usize) {
        // Masked, as all that a client sends (RFC 6455, section 5.2).
        let header = match payload {
            0..=125 => 6,
            126..=0xffff => 8,
            _ => 14,
        };
        self.handed += (header + payload) as u64;
        self.unflushed = true;
    }

    /// Hands over all that waits, then flushes once. Fails if the peer does not read.
    pub(super) fn write(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Result<(), NotReading> {
        match self.poll_write(socket, cx) {
            Ok(Poll::Pending) => return self.wait(socket.get_ref().written(), cx),
            Ok(Poll::Ready(())) if !self.unflushed => {}
            Ok(Poll::Ready(())) => {
                self.unflushed = false;
                self.handed = socket.get_ref().written();
                self.pongs.clear();
            }
            Err(error) => {
                // What was sent before the end, the reason of a close among it, is still to be read.
                tracing::debug!(%error, "the WebSocket cannot be written to");
            }
        }
        self.stall = None;
        Ok(())
    }

    fn poll_write(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, tokio_websockets::Error> {
        while !self.frames.is_empty() {
            if Pin::new(&mut *socket).poll_ready(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
            if let Some((_, frame)) = self.frames.pop_front() {
                let message = Message::from(frame);
                let payload = message.as_payload().len();
                Pin::new(&mut *socket).start_send(message)?;
                self.hand_over(payload);
            }
        }
        if self.unflushed { Ok(Pin::new(socket).poll_flush(cx)?) } else { Ok(Poll::Ready(())) }
    }

    /// Something waits because the peer does not read fast enough, or at all.
    fn wait(&mut self, written: u64, cx: &mut Context<'_>) -> Result<(), NotReading> {
        let now = Instant::now();
        let turn = self.write_timeout.saturating_mul(TURNS);
        if self.frames.front().is_some_and(|(since, _)| now.duration_since(*since) >= turn) {
            return Err(NotReading::For(turn));
        }
        let stall = self.stall.get_or_insert_with(|| Stall {
            written,
            timer: Box::pin(tokio::time::sleep_until(now + self.write_timeout)),
        });
        if stall.written != written {
            stall.written = written;
            stall.timer.as_mut().reset(now + self.write_timeout);
        }
        match stall.timer.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(NotReading::For(self.write_timeout)),
        }
    }
}

impl std::fmt::Display for NotReading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::For(wait) => write!(f, "did not read what was sent for {wait:.1?}"),
            Self::Pings(pings) => write!(f, "sent {pings} pings without reading an answer"),
        }
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").field("frames", &self.frames.len()).finish_non_exhaustive()
    }
}
