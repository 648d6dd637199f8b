//! The connection under a WebSocket: it counts what is read and written, so that a large frame on a slow link is seen to
//! arrive and a peer that reads nothing is noticed, and can wait for more without a buffer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::upgrade::Io;

pub(super) struct Connection {
    io: Box<dyn Io>,
    /// How many bytes were read.
    read: u64,
    /// How many bytes were written.
    written: u64,
    /// What came while nobody had a buffer for it.
    ahead: Bytes,
}

impl Connection {
    pub(super) fn new(io: Box<dyn Io>) -> Self {
        Self { io, read: 0, written: 0, ahead: Bytes::new() }
    }

    /// How many bytes were read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// How many bytes were written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    fn count_written(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &outcome {
            self.written += *count as u64;
        }
        outcome
    }

    /// Waits until something can be read, be it the end.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        const FIRST: usize = 512;
        if self.ahead.is_empty() {
            let mut first = [0; FIRST];
            let mut buffer = ReadBuf::new(&mut first);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            self.ahead = Bytes::copy_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = if self.ahead.is_empty() {
            Pin::new(&mut self.io).poll_read(cx, buffer)
        } else {
            let length = buffer.remaining().min(self.ahead.len());
            buffer.put_slice(&self.ahead[..length]);
            self.ahead.advance(length);
            Poll::Ready(Ok(()))
        };
        self.read += (buffer.filled().len() - before) as u64;
        outcome
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.count_written(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.count_written(outcome)
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
