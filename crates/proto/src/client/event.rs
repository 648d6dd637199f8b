//! What a session tells about its life.

use std::time::Duration;

use super::cause::LostCause;
use super::failure::Failure;
use super::outcome::{CallError, CloseReason};
use crate::advice::Advice;
use crate::channel::Channel;
use crate::connection_type::ConnectionType;

/// Where a session stands (the states of CometD's `BayeuxClient`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Not open, or closed.
    Disconnected,
    /// Asking for a session, for the first time or again.
    Handshaking,
    /// The session exists; its subscriptions and its first connect are on their way.
    Connecting,
    /// Messages flow.
    Connected,
    /// The connection is lost; the session is kept and tried again.
    Unconnected,
    /// Closing.
    Disconnecting,
}

/// A change in a session's life.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Messages flow: the session stands and every subscription that could be restored is.
    Connected {
        /// The transport in use.
        transport: ConnectionType,
    },
    /// Messages flow no more; the session tries to recover.
    Lost {
        /// Why.
        cause: LostCause,
    },
    /// A new attempt follows after a pause.
    Retrying {
        /// The pause.
        delay: Duration,
        /// How many attempts failed in a row.
        failures: u32,
        /// What the last one failed with.
        cause: LostCause,
    },
    /// A request with messages of calls failed: a subscribe, an unsubscribe, a publish, a request to a service, a
    /// disconnect. Each call ends by itself, or is sent again; a failed handshake or connect is a [`Event::Retrying`].
    RequestFailed {
        /// The channel of the first of the messages.
        channel: Channel,
        /// What the request failed with.
        failure: Failure,
        /// How many messages were in it.
        messages: usize,
        /// How many of them are sent again.
        repeated: usize,
        /// Nothing but connects and handshakes is sent before this is over.
        delay: Duration,
    },
    /// A new session takes the place of one that the server forgot.
    Rehandshaken,
    /// The outcome of restoring one subscription in a new session.
    Resubscribed {
        /// The channel.
        channel: Channel,
        /// Whether the server granted it; a refused one is tried again later.
        outcome: Result<(), CallError>,
    },
    /// Messages on these channels may have been missed: they were subscribed to in a session that is gone.
    GapPossible {
        /// The channels.
        channels: Vec<Channel>,
    },
    /// Another transport is used from now on.
    TransportChanged {
        /// The one before.
        from: ConnectionType,
        /// The one now.
        to: ConnectionType,
        /// Why the one before was left.
        cause: Option<Failure>,
    },
    /// Another server of the cluster is used from now on. If it does not know the session, a new one follows.
    ServerChanged {
        /// The one before.
        from: String,
        /// The one now.
        to: String,
        /// Why the one before was left.
        cause: Failure,
    },
    /// The server advises something else than before.
    AdviceChanged(Advice),
    /// The server asked for a longer wait than [`Config::max_advised_wait`](super::Config::max_advised_wait), which is
    /// used in its place.
    AdviceCapped {
        /// What was asked for: `interval` or `timeout` of the advice, or `Retry-After`.
        what: &'static str,
        /// How long it was to be.
        advised: Duration,
        /// How long it is.
        used: Duration,
    },
    /// Something came that makes no sense; it was passed over.
    Ignored {
        /// What it was.
        what: String,
    },
    /// A receiver does not keep up: this many messages were dropped since this was last told. Told by the shell, at most
    /// once a second for each receiver.
    SlowConsumer {
        /// The channel of the receiver; `None` for the inbox.
        channel: Option<Channel>,
        /// How many messages were dropped.
        dropped: u64,
    },
    /// A message that was published without waiting for its outcome did not get to the server, or may not have. Told
    /// by the shell.
    PublishFailed {
        /// The channel.
        channel: Channel,
        /// Why; whether the server may have it all the same, among it.
        error: CallError,
    },
    /// Whoever listens to events does not keep up: this many were dropped. Told by the shell.
    EventsMissed(u64),
    /// The session has ended.
    Closed(CloseReason),
}
