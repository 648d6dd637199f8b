//! What goes into a session and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::event::Event;
use super::failure::Failure;
use super::outcome::CallResult;
use super::replay::{Replay, ReplayFallback};
use super::retry::{FailedAttempt, Verdict};
use super::snapshot::SessionSnapshot;
use crate::channel::Channel;
use crate::data::Data;
use crate::error::BayeuxError;
use crate::ext::binary::Binary;
use crate::message::Message;
use crate::transport::Transport;

/// A call that waits for its outcome. The driver chooses the number, each only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// A local receiver of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub u64);

impl SinkId {
    /// The receiver whose subscriptions outlive a session: they are restored when a closed session is opened again.
    pub const INBOX: Self = Self(0);
}

/// One batch of messages on its way: over HTTP a request and its response, over a WebSocket a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

/// What a user asks for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Open the session: resolves when messages flow.
    Open,
    /// Continue a session of another process: resolves as [`Operation::Open`].
    Resume(Box<SessionSnapshot>),
    /// Receive the messages of a channel or pattern.
    Subscribe {
        /// The channel.
        channel: Channel,
        /// Who receives.
        sink: SinkId,
    },
    /// Receive the messages of a channel from a position on, at a server that keeps them. No message comes twice. If messages may
    /// have been lost with a connection, they are asked for again, in a new session.
    SubscribeFrom {
        /// The channel; no pattern.
        channel: Channel,
        /// Who receives.
        sink: SinkId,
        /// Where to begin.
        begin: Replay,
        /// What happens if the server does not keep that position.
        fallback: ReplayFallback,
    },
    /// Receive again what came after an event, because the receiver could not take it: in a new session.
    ReplayAgain {
        /// The channel of an [`Operation::SubscribeFrom`].
        channel: Channel,
        /// Who receives.
        sink: SinkId,
        /// The id of the last event that the receiver has.
        after: i64,
    },
    /// End a subscription.
    Unsubscribe {
        /// The channel.
        channel: Channel,
        /// Who received.
        sink: SinkId,
    },
    /// Send a message; resolves with the server's reply.
    Publish {
        /// The channel, service or broadcast.
        channel: Channel,
        /// The payload.
        data: Data,
    },
    /// Send bytes, in the form of the binary extension; resolves with the server's reply.
    PublishBinary {
        /// The channel, service or broadcast.
        channel: Channel,
        /// The bytes, and their metadata.
        binary: Binary,
    },
    /// Send a message on a service channel; resolves with the answer that carries data.
    Request {
        /// The service channel.
        channel: Channel,
        /// The payload.
        data: Data,
        /// How long the answer may take; `None` for the session's `request_timeout`.
        timeout: Option<Duration>,
    },
    /// Close the session: the server is notified.
    Close,
    /// Leave the session without notifying the server, so that another process can continue it.
    Suspend,
}

/// What happens to a session.
///
/// The enum is exhaustive, as [`Output`] is: both sides of the contract are complete.
#[derive(Debug)]
pub enum Input {
    /// A user's call.
    Call(CallId, Operation),
    /// Calls whose messages belong into one batch.
    Batch(Vec<(CallId, Operation)>),
    /// The caller does not wait any more: the outcome is not needed, nor is the message if it was not sent yet.
    Forget(CallId),
    /// Messages arrived: over HTTP in the response of an exchange, over a WebSocket in a frame.
    Received {
        /// The exchange that they answer, over HTTP.
        exchange: Option<ExchangeId>,
        /// The messages, in the order they stood in.
        messages: Vec<Message>,
    },
    /// Bytes of a response are arriving: its deadline is put off.
    Progress(ExchangeId),
    /// A part of a WebSocket frame arrived: deadlines are put off.
    Arriving,
    /// A frame without a message arrived over the WebSocket: the answer to a ping.
    Alive,
    /// The credit of a receiver that must not lose anything, in messages and bytes; `None` for a receiver without a
    /// limit. With the acknowledge extension it gets no more than that, and the server keeps the rest.
    Credit(SinkId, Option<(usize, usize)>),
    /// The user asks for a new connection at once, because the network has changed, say.
    Reconnect,
    /// An HTTP exchange failed.
    ExchangeFailed(ExchangeId, Failure),
    /// The WebSocket could not be opened, or broke.
    TransportLost(Failure),
    /// An extension vetoed a message of an exchange.
    Vetoed {
        /// The message.
        message: Box<Message>,
        /// The reason that the extension gave.
        reason: String,
    },
    /// The credentials that were asked for: keys for the `ext` of handshakes. Headers are the driver's.
    Credentials(Result<Map<String, Value>, String>),
    /// The answer to [`Output::DecideRetry`].
    RetryDecided(Verdict),
    /// The time of [`Session::poll_timeout`](super::Session::poll_timeout) has come.
    Timeout,
}

/// What a session wants done.
///
/// The enum is exhaustive, so that a driver that does not know a variant does not compile.
#[derive(Debug)]
pub enum Output {
    /// Send these messages. Open the WebSocket first if it is not open.
    Send(Transmit),
    /// Abandon an HTTP exchange. No input about it may follow; those that were passed before this output was taken are
    /// ignored.
    Cancel(ExchangeId),
    /// Close the WebSocket. No input about it may follow, as for an abandoned exchange. If `graceful`, messages that wait in it
    /// are sent first.
    CloseWebSocket {
        /// Whether to send a close frame.
        graceful: bool,
    },
    /// Ping the server over the WebSocket, and answer with [`Input::Alive`] when it does.
    Ping,
    /// Remove the cookies that the server set: it refuses the sessions that belong to them.
    ResetCookies,
    /// Deliver messages to these receivers, in this order.
    Deliver {
        /// The receivers.
        sinks: Arc<[SinkId]>,
        /// The messages: those that came in a row and have the same receivers.
        messages: Vec<Message>,
    },
    /// A call has ended.
    Resolve(CallId, CallResult),
    /// The subscription of these receivers could not be restored. It is asked for again later.
    SubscriptionLost {
        /// The receivers.
        sinks: Vec<SinkId>,
        /// The channel.
        channel: Channel,
        /// The server's refusal.
        error: super::outcome::CallError,
    },
    /// Emit an event.
    Event(Event),
    /// An attempt to connect failed, and the [`Retry`](super::Retry) permits another: decide whether it takes place,
    /// and pass [`Input::RetryDecided`]. Emitted only if [`Config::decide_retries`](super::Config::decide_retries) is
    /// set. Without an answer, the next attempt follows after the usual pause.
    DecideRetry(FailedAttempt),
    /// Ask for credentials, and pass [`Input::Credentials`].
    Authenticate(AuthReason),
}

/// Why credentials are asked for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AuthReason {
    /// There are none yet.
    First,
    /// The server refused the last ones with a Bayeux error.
    Refused(BayeuxError),
    /// The server refused the last ones with an HTTP status.
    HttpRefused(u16),
}

/// Which of the two lanes of a session a batch takes. Each lane has at most one HTTP exchange at a time, so that no
/// message waits behind the long poll (the two-connection rule of the Bayeux specification, section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// For `/meta/connect` alone.
    Connect,
    /// For everything else.
    Other,
}

/// Messages to be sent together.
#[derive(Debug)]
pub struct Transmit {
    /// The number of this exchange, for the response or the failure.
    pub exchange: ExchangeId,
    /// The server: 0 is the one that the session is configured with, others are its fallbacks. A WebSocket that may
    /// be open is closed before one to another server is asked for.
    pub server: usize,
    /// The transport.
    pub transport: Transport,
    /// The lane.
    pub lane: Lane,
    /// The messages.
    pub messages: Vec<Message>,
}
