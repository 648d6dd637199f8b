//! What goes into an engine and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::channel::Channel;
use crate::data::Data;
use crate::error::BayeuxError;
use crate::id::{ClientId, MessageId};
use crate::message::Message;

/// A way to a client: over HTTP one request and its response, else one WebSocket. Chosen by the shell, never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// What a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// A request that takes one response.
    Http,
    /// The same, but the response is a script that a browser runs. What is queued goes with the replies to connects only:
    /// scripts run in any order.
    Callback,
    /// A socket that takes frames at any time.
    WebSocket,
}

impl LinkKind {
    pub(super) const fn is_request(self) -> bool {
        matches!(self, Self::Http | Self::Callback)
    }
}

/// What happens to a server.
///
/// The enum is exhaustive, as [`Output`] is: both sides of the contract are complete.
#[derive(Debug)]
pub enum Input {
    /// What is known of a link, before anything comes over it. A shell that knows nothing of cookies need not say it;
    /// its links are trusted.
    LinkOpened {
        /// The link.
        link: LinkId,
        /// The cookie of the browser, if one came.
        browser: Option<Arc<str>>,
        /// The cookie that was issued with a socket earlier, if it came besides that. Either proves whose session it is.
        second: Option<Arc<str>>,
        /// Whether the requests of the browser share a connection, as in HTTP/2.
        multiplexed: bool,
    },
    /// The cookie that [`LinkOpened`](Self::LinkOpened) named did not come from the client: the shell has just issued it,
    /// with the response that opened the socket.
    CookieIssued(LinkId),
    /// Messages of a client.
    Received {
        /// The way they came.
        link: LinkId,
        /// What it is.
        kind: LinkKind,
        /// The messages.
        messages: Vec<Message>,
    },
    /// A link is gone: the response was written, the request was given up, or the socket was closed. The time after which
    /// a session expires starts here, not when the response is handed out, provided that
    /// [`LinkOpened`](Self::LinkOpened) was reported.
    LinkClosed(LinkId),
    /// What was pushed to a socket has not been written for a while: its client reads slowly. Its session is kept
    /// [`Config::response_timeout`](super::Config::response_timeout) longer, until [`Written`](Self::Written).
    Writing(LinkId),
    /// All that was pushed to a socket has been written, after [`Writing`](Self::Writing).
    Written(LinkId),
    /// The application publishes.
    Publish {
        /// The channel.
        channel: Channel,
        /// The payload.
        data: Data,
    },
    /// The application publishes what is in no hurry.
    PublishLazily {
        /// The channel.
        channel: Channel,
        /// The payload.
        data: Data,
        /// For how long it may wait for company.
        within: Duration,
    },
    /// The application sends to one session.
    Send {
        /// The session.
        session: ClientId,
        /// The channel.
        channel: Channel,
        /// The payload.
        data: Data,
    },
    /// A service answers, if it has an answer.
    Answer {
        /// The call.
        token: ServiceToken,
        /// The answer.
        answer: Result<Data, BayeuxError>,
    },
    /// The application ends a session.
    Disconnect(ClientId),
    /// The application ends a session and states why, which its client gets as the `error` of the `/meta/disconnect`.
    DisconnectBecause {
        /// The session.
        session: ClientId,
        /// Why.
        reason: BayeuxError,
    },
    /// The server goes down: everybody is told to handshake again, elsewhere or later.
    Shutdown,
    /// The clock on the wall, as the time since 1970 (UTC). The engine counts on from there and answers the timesync
    /// extension, which it does not before.
    WallClock(Duration),
    /// Nothing: the time that was asked for has come.
    Timeout,
}

/// What a server wants done.
///
/// The enum is exhaustive, so that a driver that does not know a variant does not compile.
#[derive(Debug)]
pub enum Output {
    /// Answer an HTTP request.
    Respond {
        /// The request.
        link: LinkId,
        /// The messages, as the array that goes over the wire. Receivers of the same message share it.
        messages: Bytes,
        /// The cookie to set: the browser that handshakes has none yet.
        browser: Option<Arc<str>>,
    },
    /// Send a frame.
    Push {
        /// The socket.
        link: LinkId,
        /// The messages, as the array that goes over the wire. Receivers of the same message share it.
        messages: Bytes,
    },
    /// Refuse an HTTP request, or close a socket for its fault.
    Reject {
        /// The link.
        link: LinkId,
        /// The HTTP status.
        status: u16,
        /// Why.
        reason: &'static str,
    },
    /// Close a socket that is not needed any more.
    Close {
        /// The socket.
        link: LinkId,
        /// The close code of the WebSocket.
        code: u16,
        /// Why.
        reason: &'static str,
    },
    /// Call the application's service.
    Service(ServiceCall),
    /// A session began.
    Added(ClientId),
    /// A session ended.
    Removed(ClientId, RemovedBecause),
    /// A session subscribed.
    Subscribed(ClientId, Channel),
    /// A session unsubscribed.
    Unsubscribed(ClientId, Channel),
    /// Messages of a session that does not fetch them were dropped.
    Dropped(ClientId, u64),
    /// The messages of a socket that had to wait are handled: more may be read from it. Comes only after
    /// [`Engine::is_busy`](super::Engine::is_busy) was true.
    Ready(LinkId),
    /// A handshake was refused, with this error.
    HandshakeRefused(LinkId, BayeuxError),
    /// A request was refused because it came without the cookie that the session began with. That is an attack, or a
    /// client that keeps no cookies (some do not for hosts that are numbers).
    WrongBrowser(LinkId),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovedBecause {
    /// The client said so.
    Disconnected,
    /// The client did not connect for too long.
    Expired,
    /// The application said so.
    Dismissed,
    /// There was no activity for too long.
    Inactive,
    /// Its queue was full, and nothing was to be lost.
    Overflowed,
    /// The server goes down.
    Shutdown,
}

/// A message on a service channel.
#[derive(Clone, Debug)]
pub struct ServiceCall {
    /// Who sent it.
    pub session: ClientId,
    /// The channel.
    pub channel: Channel,
    /// The payload.
    pub data: Data,
    /// What came in `ext`.
    pub ext: Option<Data>,
    /// What an answer must come with.
    pub token: ServiceToken,
}

/// To whom an answer goes.
#[derive(Clone, Debug)]
pub struct ServiceToken {
    pub(super) session: ClientId,
    pub(super) channel: Channel,
    pub(super) id: Option<MessageId>,
}
