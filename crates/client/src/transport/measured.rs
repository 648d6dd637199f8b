//! A connection of HTTP from which no more is taken than its responses have. An HTTP library passes over what is no response
//! (informational heads, pings, settings, padding) without a limit, and as long as there is more to read it reads on.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// After so many bytes other work gets its turn, and no more are read at once.
const TURN: usize = 64 * 1024;
/// So much a connection may send besides: more than the library reads ahead.
const HTTP1: u64 = 1024 * 1024;
const HTTP2: u64 = 768 * 1024;
/// So much for the head of each response.
const HEAD: u64 = 512 * 1024;
/// And so much for each byte of its body: one that comes in a piece of its own takes 10.
const PER_BYTE: u64 = 16;
/// But no more than this at once, whatever came before.
const SAVED: u64 = 2 * 1024 * 1024;

/// A connection that fails if it sends more than its allowance.
pub(super) struct Measured<T> {
    io: T,
    /// Whether it goes to a proxy that forwards requests.
    forwarded: bool,
    /// What was read since other work had its turn.
    turn: usize,
    allowance: Allowance,
}

/// How many bytes may come in all.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    allowed: AtomicU64,
    read: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
#[error("the server sends much that belongs to no response")]
struct Unasked;

impl Allowance {
    /// The head of a response has come.
    pub(super) fn head(&self) {
        self.raise(HEAD);
    }

    /// So many bytes of a body have come.
    pub(super) fn body(&self, bytes: usize) {
        self.raise(PER_BYTE.saturating_mul(bytes as u64));
    }

    /// What follows is no HTTP.
    pub(super) fn lift(&self) {
        self.0.allowed.store(u64::MAX, Ordering::Relaxed);
    }

    fn raise(&self, by: u64) {
        let most = self.0.read.load(Ordering::Relaxed).saturating_add(SAVED);
        let raised = |allowed: u64| Some(allowed.saturating_add(by).min(most.max(allowed)));
        let _ = self.0.allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, raised);
    }

    /// So many bytes have come. Whether that many may.
    fn take(&self, bytes: usize) -> bool {
        let read = self.0.read.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        read <= self.0.allowed.load(Ordering::Relaxed)
    }
}

impl<T: Connection> Measured<T> {
    pub(super) fn new(io: T, forwarded: bool) -> Self {
        let base = if io.connected().is_negotiated_h2() { HTTP2 } else { HTTP1 };
        let counts = Counts { allowed: AtomicU64::new(base), read: AtomicU64::new(0) };
        Self { io, forwarded, turn: 0, allowance: Allowance(Arc::new(counts)) }
    }
}

impl<T: Connection> Connection for Measured<T> {
    fn connected(&self) -> Connected {
        // A response has the allowance of its connection among its extensions.
        self.io.connected().proxy(self.forwarded).extra(self.allowance.clone())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Measured<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.turn >= TURN {
            self.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let outcome = if buffer.remaining() <= TURN {
            Pin::new(&mut self.io).poll_read(cx, buffer)
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(TURN));
            let outcome = Pin::new(&mut self.io).poll_read(cx, &mut part);
            let bytes = part.filled().len();
            buffer.advance(bytes);
            outcome
        };
        if outcome.is_pending() {
            self.turn = 0;
        }
        let bytes = buffer.filled().len() - before;
        self.turn += bytes;
        if self.allowance.take(bytes) { outcome } else { Poll::Ready(Err(io::Error::other(Unasked))) }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Measured<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buffer.initialize_unfilled();
            buffer.advance(buffer.remaining());
            Poll::Ready(Ok(()))
        }
    }

    impl Connection for Endless {
        fn connected(&self) -> Connected {
            Connected::new()
        }
    }

    fn so_far(measured: &Measured<Endless>) -> u64 {
        measured.allowance.0.read.load(Ordering::Relaxed)
    }

    /// How many bytes come.
    async fn read(measured: &mut Measured<Endless>) -> u64 {
        let before = so_far(measured);
        let mut buffer = [0; 4096];
        while so_far(measured) - before < 4 * HTTP1 && measured.read(&mut buffer).await.is_ok() {}
        so_far(measured) - before
    }

    #[tokio::test]
    async fn no_more_is_taken_than_responses_have() {
        let mut measured = Measured::new(Endless, false);
        let allowance = measured.allowance.clone();
        assert_eq!(read(&mut measured).await, HTTP1 + 4096, "one piece is over it");
        allowance.head();
        allowance.body(1000);
        assert_eq!(read(&mut measured).await / 4096, (HEAD + 1000 * PER_BYTE) / 4096);
        for _ in 0..1000 {
            allowance.head();
        }
        assert_eq!(read(&mut measured).await, SAVED + 4096, "what was not used is not kept for ever");
        allowance.lift();
        assert_eq!(read(&mut measured).await, 4 * HTTP1);
    }

    #[tokio::test]
    async fn other_work_has_its_turn() {
        let mut measured = Measured::new(Endless, false);
        measured.allowance.lift();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for size in [1, 4096, TURN, 1024 * 1024] {
            let mut bytes = vec![0; size];
            let before = so_far(&measured);
            while Pin::new(&mut measured).poll_read(&mut cx, &mut ReadBuf::new(&mut bytes)).is_ready() {}
            assert_eq!(so_far(&measured) - before, TURN as u64, "{size}");
        }
    }
}
