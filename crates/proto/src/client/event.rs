//! The states of a session, and the events that it emits.

use std::time::Duration;

use super::cause::LostCause;
use super::failure::Failure;
use super::outcome::{CallError, CloseReason};
use super::replay::ReplayFallback;
use crate::advice::Advice;
use crate::channel::Channel;
use crate::transport::Transport;

/// The state of a session (the states of CometD's `BayeuxClient`).
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
    /// Messages flow: there is a session, and every subscription that could be restored is.
    #[non_exhaustive]
    Connected {
        /// The transport in use.
        transport: Transport,
    },
    /// Messages do not flow any more; the session tries to recover.
    #[non_exhaustive]
    Lost {
        /// Why.
        cause: LostCause,
    },
    /// An attempt failed, and a new one follows after a pause.
    #[non_exhaustive]
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
    #[non_exhaustive]
    RequestFailed {
        /// The channel of the first of the messages.
        channel: Channel,
        /// What the request failed with.
        failure: Failure,
        /// How many messages were in it.
        messages: usize,
        /// How many of them are sent again.
        repeated: usize,
        /// The pause after it, in which only connects and handshakes are sent.
        delay: Duration,
    },
    /// A new session takes the place of one that the server has lost.
    Rehandshaken,
    /// The outcome of restoring one subscription in a new session.
    #[non_exhaustive]
    Resubscribed {
        /// The channel.
        channel: Channel,
        /// Whether the server granted it; a refused one is tried again later.
        outcome: Result<(), CallError>,
    },
    /// Messages on these channels may have been missed: they were subscribed to in a session that was lost, or the
    /// connection was lost with messages on it.
    #[non_exhaustive]
    GapPossible {
        /// The channels.
        channels: Vec<Channel>,
    },
    /// The server does not keep the event after which a replayed subscription was to begin. What came between is missed,
    /// unless it is replayed by [`ReplayFallback::All`].
    ReplayUnavailable {
        /// The channel.
        channel: Channel,
        /// The id of the event; `None` if the server does not support replay.
        after: Option<i64>,
        /// How the subscription goes on.
        fallback: ReplayFallback,
    },
    /// Another transport is used from now on.
    #[non_exhaustive]
    TransportChanged {
        /// The one before.
        from: Transport,
        /// The one now.
        to: Transport,
        /// Why the one before was left.
        cause: Option<Failure>,
    },
    /// Another server of the cluster is used from now on. If it does not know the session, a re-handshake follows.
    #[non_exhaustive]
    ServerChanged {
        /// The one before.
        from: String,
        /// The one now.
        to: String,
        /// Why the one before was left.
        cause: Failure,
    },
    /// The server's advice has changed.
    AdviceChanged(Advice),
    /// The server asked for a longer wait than [`Config::max_advised_wait`](super::Config::max_advised_wait), which is
    /// used in its place.
    #[non_exhaustive]
    AdviceCapped {
        /// What was asked for: `interval` or `timeout` of the advice, or `Retry-After`.
        what: &'static str,
        /// What the server asked for.
        advised: Duration,
        /// What is used.
        used: Duration,
    },
    /// Something arrived that is not part of the protocol; it was ignored.
    #[non_exhaustive]
    Ignored {
        /// What it was.
        what: String,
    },
    /// Cookies that the server marked as `Secure` were not sent, because the URL is without TLS. A server that knows
    /// a session by such a cookie refuses it then. Emitted by the client.
    #[non_exhaustive]
    CookiesWithheld {
        /// The names of all that were withheld so far.
        names: Vec<String>,
    },
    /// A receiver does not keep up: this many messages were dropped since the last event of this kind. Emitted by the
    /// client, at most once a second for each receiver.
    #[non_exhaustive]
    SlowConsumer {
        /// The channel of the receiver; `None` for the inbox.
        channel: Option<Channel>,
        /// How many messages were dropped.
        dropped: u64,
    },
    /// A message that was published without waiting for its outcome did not get to the server, or may not have.
    /// Emitted by the client.
    #[non_exhaustive]
    PublishFailed {
        /// The channel.
        channel: Channel,
        /// Why it failed; it states whether the server may have it all the same.
        error: CallError,
    },
    /// A receiver of events does not keep up: this many events were dropped. Emitted by the client.
    EventsMissed(u64),
    /// The session has ended.
    Closed(CloseReason),
}

/// Constructors of the variants that may get more fields: for a driver that emits events of its own, and for tests of
/// code that handles events.
impl Event {
    /// Returns an [`Event::Connected`].
    pub fn connected(transport: Transport) -> Self {
        Self::Connected { transport }
    }

    /// Returns an [`Event::Lost`].
    pub fn lost(cause: LostCause) -> Self {
        Self::Lost { cause }
    }

    /// Returns an [`Event::Retrying`].
    pub fn retrying(delay: Duration, failures: u32, cause: LostCause) -> Self {
        Self::Retrying { delay, failures, cause }
    }

    /// Returns an [`Event::RequestFailed`].
    pub fn request_failed(
        channel: Channel,
        failure: Failure,
        messages: usize,
        repeated: usize,
        delay: Duration,
    ) -> Self {
        Self::RequestFailed { channel, failure, messages, repeated, delay }
    }

    /// Returns an [`Event::Resubscribed`].
    pub fn resubscribed(channel: Channel, outcome: Result<(), CallError>) -> Self {
        Self::Resubscribed { channel, outcome }
    }

    /// Returns an [`Event::GapPossible`].
    pub fn gap_possible(channels: Vec<Channel>) -> Self {
        Self::GapPossible { channels }
    }

    /// Returns an [`Event::TransportChanged`].
    pub fn transport_changed(from: Transport, to: Transport, cause: Option<Failure>) -> Self {
        Self::TransportChanged { from, to, cause }
    }

    /// Returns an [`Event::ServerChanged`].
    pub fn server_changed(from: String, to: String, cause: Failure) -> Self {
        Self::ServerChanged { from, to, cause }
    }

    /// Returns an [`Event::AdviceCapped`].
    pub fn advice_capped(what: &'static str, advised: Duration, used: Duration) -> Self {
        Self::AdviceCapped { what, advised, used }
    }

    /// Returns an [`Event::Ignored`].
    pub fn ignored(what: String) -> Self {
        Self::Ignored { what }
    }

    /// Returns an [`Event::CookiesWithheld`].
    pub fn cookies_withheld(names: Vec<String>) -> Self {
        Self::CookiesWithheld { names }
    }

    /// Returns an [`Event::SlowConsumer`].
    pub fn slow_consumer(channel: Option<Channel>, dropped: u64) -> Self {
        Self::SlowConsumer { channel, dropped }
    }

    /// Returns an [`Event::PublishFailed`].
    pub fn publish_failed(channel: Channel, error: CallError) -> Self {
        Self::PublishFailed { channel, error }
    }
}
