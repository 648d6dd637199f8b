//! What a peer says.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

/// What a [`Peer`](super::Peer) does about a [`Request`](super::Request).
///
/// What is said to a frame goes out as a frame, all else as an HTTP response.
#[derive(Clone, Debug)]
#[must_use = "an answer must be returned from the script"]
pub struct Answer {
    pub(super) says: Says,
    pub(super) after: Duration,
    pub(super) headers: Vec<(String, String)>,
    /// Whether the connection is cut after it.
    pub(super) then_cut: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Says {
    /// Messages now, and others when there is a reason to.
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
    fn new(says: Says) -> Self {
        Self { says, after: Duration::ZERO, headers: Vec::new(), then_cut: false }
    }

    /// These messages, as a JSON array.
    pub fn messages(messages: impl IntoIterator<Item = Value>) -> Self {
        Self::now_and_later(messages.into_iter().collect(), Vec::new())
    }

    pub(super) fn now_and_later(now: Vec<Value>, hold: Vec<Value>) -> Self {
        Self::new(Says::Messages { now, hold })
    }

    /// These messages, but not before [`Peer::push`](super::Peer::push) or a disconnect gives a reason to answer.
    pub fn hold(messages: impl IntoIterator<Item = Value>) -> Self {
        Self::now_and_later(Vec::new(), messages.into_iter().collect())
    }

    /// A response with this status and an empty body. To an upgrade that is a refusal.
    pub fn status(status: u16) -> Self {
        Self::new(Says::Body { status, body: Bytes::new() })
    }

    /// This text as it is: the body of a response with status 200, said to be JSON, or a text frame.
    pub fn body(body: impl Into<Bytes>) -> Self {
        Self::new(Says::Body { status: 200, body: body.into() })
    }

    /// This page, with that status.
    pub fn page(status: u16, html: &str) -> Self {
        let body = Bytes::copy_from_slice(html.as_bytes());
        Self::new(Says::Body { status, body }).header("content-type", "text/html")
    }

    /// These bytes, without HTTP or frames around them.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::new(Says::Raw(bytes.into()))
    }

    /// The first `sent` bytes of this body, then the connection is cut.
    pub fn cut_after(body: impl Into<Bytes>, sent: usize) -> Self {
        Self::new(Says::Partly { body: body.into(), sent, cut: true })
    }

    /// The first `sent` bytes of this body, then nothing more.
    pub fn stall_after(body: impl Into<Bytes>, sent: usize) -> Self {
        Self::new(Says::Partly { body: body.into(), sent, cut: false })
    }

    /// This body in pieces of so many bytes, each after a pause.
    pub fn drip(body: impl Into<Bytes>, piece: usize, every: Duration) -> Self {
        Self::new(Says::Drip { body: body.into(), piece: piece.max(1), every })
    }

    /// Nothing; the connection stays open.
    pub fn silence() -> Self {
        Self::new(Says::Silence)
    }

    /// Nothing; the connection is cut.
    pub fn cut() -> Self {
        Self::new(Says::Cut)
    }

    /// A WebSocket, to an upgrade.
    pub fn accept() -> Self {
        Self::new(Says::Accept { listens: true })
    }

    /// A WebSocket whose frames vanish, as behind some proxies: nothing that is sent over it arrives, and nothing
    /// comes.
    pub fn accept_and_swallow() -> Self {
        Self::new(Says::Accept { listens: false })
    }

    /// A close frame, and the end of the connection.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(Says::Close { code, reason: reason.to_owned() })
    }

    /// The same, with that header when it is an HTTP response.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, so much later.
    pub fn after(mut self, pause: Duration) -> Self {
        self.after = pause;
        self
    }

    /// The same, and the connection is cut once it is sent.
    pub fn then_cut(mut self) -> Self {
        self.then_cut = true;
        self
    }
}
