//! Answers of the peer.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

/// How a [`Peer`](super::Peer) answers a [`Request`](super::Request).
///
/// The answer to a frame is sent as a frame, any other answer as an HTTP response.
#[derive(Clone, Debug)]
#[must_use = "an answer must be returned from the script"]
pub struct Answer {
    pub(super) action: Action,
    pub(super) after: Duration,
    pub(super) headers: Vec<(String, String)>,
    /// Whether the connection is cut after it.
    pub(super) then_cut: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Some messages now, and others after a push or a disconnect.
    Messages {
        now: Vec<Value>,
        hold: Vec<Value>,
    },
    Body {
        status: u16,
        body: Bytes,
    },
    Raw(Bytes),
    Partly {
        body: Bytes,
        sent: usize,
        cut: bool,
    },
    Drip {
        body: Bytes,
        piece: usize,
        every: Duration,
    },
    Silence,
    Cut,
    Accept {
        listens: bool,
    },
    Close {
        code: u16,
        reason: String,
    },
}

impl Answer {
    fn new(action: Action) -> Self {
        Self { action, after: Duration::ZERO, headers: Vec::new(), then_cut: false }
    }

    /// These messages, as a JSON array.
    pub fn messages(messages: impl IntoIterator<Item = Value>) -> Self {
        Self::now_and_later(messages.into_iter().collect(), Vec::new())
    }

    pub(super) fn now_and_later(now: Vec<Value>, hold: Vec<Value>) -> Self {
        Self::new(Action::Messages { now, hold })
    }

    /// These messages, sent at the next [`Peer::push`](super::Peer::push) or disconnect.
    pub fn hold(messages: impl IntoIterator<Item = Value>) -> Self {
        Self::now_and_later(Vec::new(), messages.into_iter().collect())
    }

    /// A response with this status and an empty body. It refuses an upgrade.
    pub fn status(status: u16) -> Self {
        Self::new(Action::Body { status, body: Bytes::new() })
    }

    /// This text, unchanged: as the body of a response with status 200 and a JSON content type, or as a text frame.
    pub fn body(body: impl Into<Bytes>) -> Self {
        Self::new(Action::Body { status: 200, body: body.into() })
    }

    /// This page with this status.
    pub fn page(status: u16, html: &str) -> Self {
        let body = Bytes::copy_from_slice(html.as_bytes());
        Self::new(Action::Body { status, body }).header("content-type", "text/html")
    }

    /// These bytes, without HTTP or a frame.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::new(Action::Raw(bytes.into()))
    }

    /// The first `sent` bytes of this body, then the connection is cut.
    pub fn cut_after(body: impl Into<Bytes>, sent: usize) -> Self {
        Self::new(Action::Partly { body: body.into(), sent, cut: true })
    }

    /// The first `sent` bytes of this body, then nothing more.
    pub fn stall_after(body: impl Into<Bytes>, sent: usize) -> Self {
        Self::new(Action::Partly { body: body.into(), sent, cut: false })
    }

    /// This body in pieces of this size, with a pause before each.
    pub fn drip(body: impl Into<Bytes>, piece: usize, every: Duration) -> Self {
        Self::new(Action::Drip { body: body.into(), piece: piece.max(1), every })
    }

    /// Nothing; the connection stays open.
    pub fn silence() -> Self {
        Self::new(Action::Silence)
    }

    /// Nothing; the connection is cut.
    pub fn cut() -> Self {
        Self::new(Action::Cut)
    }

    /// Accepts an upgrade.
    pub fn accept() -> Self {
        Self::new(Action::Accept { listens: true })
    }

    /// Accepts an upgrade, but discards all frames and sends none, as some proxies do.
    pub fn accept_and_swallow() -> Self {
        Self::new(Action::Accept { listens: false })
    }

    /// A close frame, and the end of the connection.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(Action::Close { code, reason: reason.to_owned() })
    }

    /// The same answer with this header, if it is an HTTP response.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same answer after this delay.
    pub fn after(mut self, pause: Duration) -> Self {
        self.after = pause;
        self
    }

    /// The same answer; the connection is cut after it.
    pub fn then_cut(mut self) -> Self {
        self.then_cut = true;
        self
    }
}
