//! What goes into an engine and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::channel::Channel;
use crate::data::Data;
use crate::error::BayeuxError;
use crate::id::{ClientId, MessageId};
use crate::message::Message;

/// A connection to a client: over HTTP one request and its response, else one WebSocket. The driver chooses the number,
/// each only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// What a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// An HTTP request, which gets one response.
    Http,
    /// The same, but the response is a script that a browser runs. Queued messages are sent with replies to connects
    /// only, because scripts run in any order.
    Callback,
    /// A WebSocket, to which frames can be sent at any time.
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
    /// Reports a link before its first messages. A driver without cookies may leave it out; its links are trusted.
    LinkOpened {
        /// The link.
        link: LinkId,
        /// The cookie of the browser, if one came.
        browser: Option<Arc<str>>,
        /// The cookie that was issued with a socket earlier, if it came besides that. Either proves whose session it is.
        socket_cookie: Option<Arc<str>>,
        /// Whether the requests of the browser share a connection, as in HTTP/2.
        multiplexed: bool,
    },
    /// The cookie of [`LinkOpened`](Self::LinkOpened) did not come from the client: the driver has just issued it, with
    /// the response that opened the socket.
    CookieIssued(LinkId),
    /// Messages of a client.
    Received {
        /// The link that they came over.
        link: LinkId,
        /// The kind of the link.
        kind: LinkKind,
        /// The messages.
        messages: Vec<Message>,
    },
    /// A link was closed: the response was written, the request was given up, or the socket was closed. If
    /// [`LinkOpened`](Self::LinkOpened) was reported, the time after which a session expires starts here, and not when
    /// the response is handed out.
    LinkClosed(LinkId),
    /// Frames that were pushed to a socket wait to be written, because its client reads slowly. Its session is kept
    /// [`Config::response_timeout`](super::Config::response_timeout) longer, until [`Written`](Self::Written).
    Writing(LinkId),
    /// All frames that were pushed to a socket have been written, after [`Writing`](Self::Writing).
    Written(LinkId),
    /// The application publishes a message.
    Publish {
        /// The channel.
        channel: Channel,
        /// The payload.
        data: Data,
    },
    /// The application publishes a lazy message.
    PublishLazily {
        /// The channel.
        channel: Channel,
        /// The payload.
        data: Data,
        /// How long the message may be delayed.
        within: Duration,
    },
    /// The application sends a message to one session.
    Send {
        /// The session.
        session: ClientId,
        /// The channel.
        channel: Channel,
        /// The payload.
        data: Data,
    },
    /// The answer of a service.
    Answer {
        /// The token of the call.
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
    /// The server shuts down: all clients are advised to handshake again, elsewhere or later.
    Shutdown,
    /// The wall clock, as the time since 1970 (UTC). From then on the engine answers the timesync extension.
    WallClock(Duration),
    /// The time of [`Engine::poll_timeout`](super::Engine::poll_timeout) has come.
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
        /// The cookie to set, for a browser that handshakes and has none yet.
        browser: Option<Arc<str>>,
    },
    /// Send a frame.
    Push {
        /// The socket.
        link: LinkId,
        /// The messages, as the array that goes over the wire. Receivers of the same message share it.
        messages: Bytes,
    },
    /// Refuse an HTTP request, or close a socket because of an error of its client.
    Reject {
        /// The link.
        link: LinkId,
        /// The HTTP status.
        status: u16,
        /// Why.
        reason: &'static str,
    },
    /// Close a socket in an orderly way.
    Close {
        /// The socket.
        link: LinkId,
        /// The close code of the WebSocket.
        code: u16,
        /// Why.
        reason: &'static str,
    },
    /// Call a service of the application.
    Service(ServiceCall),
    /// A session began.
    Added(ClientId),
    /// A session ended.
    Removed(ClientId, RemovedBecause),
    /// A session subscribed.
    Subscribed(ClientId, Channel),
    /// A session unsubscribed.
    Unsubscribed(ClientId, Channel),
    /// This many messages were dropped, because the queue of the session was full.
    Dropped(ClientId, u64),
    /// The waiting messages of a socket are handled: more may be read from it. Emitted only after
    /// [`Engine::is_busy`](super::Engine::is_busy) was true.
    Ready(LinkId),
    /// A handshake was refused, with this error.
    HandshakeRefused(LinkId, BayeuxError),
    /// A request was refused because it came without the cookie that the session began with. The cause is an attack, or a
    /// client that keeps no cookies (some keep none for IP addresses).
    WrongBrowser(LinkId),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovedBecause {
    /// The client disconnected.
    Disconnected,
    /// The client did not connect in time.
    Expired,
    /// The application ended it.
    Dismissed,
    /// There was no activity for [`Config::max_inactivity`](super::Config::max_inactivity).
    Inactive,
    /// Its queue was full, and no message may be dropped.
    Overflowed,
    /// The server shut down.
    Shutdown,
}

/// A message on a service channel.
#[derive(Clone, Debug)]
pub struct ServiceCall {
    /// The session that sent it.
    pub session: ClientId,
    /// The channel.
    pub channel: Channel,
    /// The payload.
    pub data: Data,
    /// The `ext` of the message.
    pub ext: Option<Data>,
    /// Identifies the call in [`Input::Answer`].
    pub token: ServiceToken,
}

/// Identifies a call of a service.
#[derive(Clone, Debug)]
pub struct ServiceToken {
    pub(super) session: ClientId,
    pub(super) channel: Channel,
    pub(super) id: Option<MessageId>,
}
