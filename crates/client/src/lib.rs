//! A client for CometD servers: the Bayeux protocol over WebSocket and HTTP long-polling.
//!
//! ```no_run
//! # async fn example() -> Result<(), bayeux::Error> {
//! let client = bayeux::Client::connect("https://example.com/cometd").await?;
//! client.subscribe("/chat/demo").await?;
//! client.publish("/chat/demo", &serde_json::json!({"user": "ann", "chat": "hi"})).await?;
//! while let Some(message) = client.try_next().await? {
//!     println!("{} {}", message.channel(), message.data());
//! }
//! client.close().await?;
//! # Ok(()) }
//! ```
//!
//! # Methods
//!
//! | method | effect |
//! |---|---|
//! | [`connect`](Client::connect), [`builder`](Client::builder), [`open`](Client::open) | open a session, with default options or with others |
//! | [`subscribe`](Client::subscribe), [`unsubscribe`](Client::unsubscribe), [`subscriptions`](Client::subscriptions) | choose the channels of the inbox |
//! | [`receive`](Client::receive), [`next`](Client::next), [`try_next`](Client::try_next), `Stream` | take messages from the inbox |
//! | [`stream`](Client::stream), [`messages`](Client::messages) | subscribe with a queue of its own, with decoded payloads or whole messages |
//! | [`stream_from`](Client::stream_from), [`messages_from`](Client::messages_from) | subscribe from a position in the past, without loss across processes: see [`replay`] |
//! | [`publish`](Client::publish), [`batch`](Client::batch), [`request`](Client::request) | send, and return the server's reply or the service's answer |
//! | [`events`](Client::events), [`state`](Client::state) | observe the connection and the session |
//! | [`suspend`](Client::suspend), [`resume`](Client::resume) | continue a session in another process |
//! | [`close`](Client::close), [`run`](Client::run) | end the session, or run code in a session |
//!
//! # Behaviour
//!
//! The client restores lost connections after delays that grow, with jitter. If the server has removed the session, the client
//! gets a new one. It restores all subscriptions before it emits [`Event::Connected`]. If messages may have been missed,
//! [`Event::GapPossible`] is emitted. Meta messages are handled by the client and not delivered. Every call ends, with a reply
//! or with an [`Error`] that says whether a retry can succeed.
//!
//! The client logs with [`tracing`]: events at level `debug`, and each body and frame at level `trace` of the target
//! `bayeux::wire`, without secrets.
//!
//! # Features
//!
//! - `rustls-ring` (on by default): TLS by [rustls](https://docs.rs/rustls) with the cryptography of `ring`.
//! - `rustls-aws-lc-rs`: TLS with the cryptography of `aws-lc-rs`. If both features are on, `ring` is used. A provider that the
//!   program has installed for rustls has precedence over both.
//! - `native-roots` (on by default): trusts the certificates that the operating system trusts.
//! - `webpki-roots`: includes the certificates that Mozilla trusts. They are used if `native-roots` is off, or with
//!   `TlsOptions::bundled_roots`.
//! - `tls`: enabled by the features above. Without it (`default-features = false`), the client supports `http://` and `ws://`
//!   only, and depends on no TLS crate. An `https://` or `wss://` URL is then an error of [`Builder::build`], and a SOCKS proxy
//!   an error of [`Proxy::url`].
//! - `redb` (off by default): `replay::RedbStore`, which keeps replay markers in a [redb](https://docs.rs/redb) database.
//! - `metrics` (off by default): metrics through the facade [`metrics`](https://docs.rs/metrics), each with the label
//!   `endpoint`: the gauge `bayeux_connected`; and the counters `bayeux_messages_received_total`,
//!   `bayeux_messages_sent_total`, `bayeux_messages_dropped_total`, `bayeux_calls_failed_total`,
//!   `bayeux_connections_lost_total`, `bayeux_retries_total`, `bayeux_rehandshakes_total`,
//!   `bayeux_resubscriptions_refused_total`, `bayeux_transport_changes_total`, `bayeux_gaps_possible_total` and
//!   `bayeux_closed_total`.

mod auth;
mod batch;
mod builder;
mod client;
mod clock;
mod driver;
mod drops;
mod error;
mod events;
mod extension;
mod filter;
mod operation;
mod queue;
mod receiver;
mod receiving;
pub mod replay;
mod retry;
mod sending;
mod shared;
mod sinks;
mod snapshot;
mod stream;
mod telemetry;
mod timestamp;
mod timesync;
mod transport;
mod waiting;
mod wire_log;

pub use auth::{Auth, AuthFuture, AuthReason, Credentials};
pub use batch::Batch;
pub use builder::Builder;
pub use client::Client;
pub use error::{Error, ErrorKind};
pub use events::Events;
pub use extension::{Extension, Veto};
pub use filter::{FilterFuture, Payload, PayloadFilter};
pub use queue::Overflow;
pub use retry::Retry;
pub use snapshot::SessionSnapshot;
pub use stream::Subscription;
pub use timestamp::Timestamp;
pub use timesync::TimeSync;
pub use transport::Proxy;
#[cfg(feature = "tls")]
pub use transport::TlsOptions;

/// The TLS library, for [`TlsOptions::config`].
#[cfg(feature = "tls")]
pub use rustls;

/// The library of headers, for [`Extension::headers`].
pub use http;

pub use bytes::Bytes;
pub use futures_core::Stream;
pub use http::{HeaderMap, HeaderName, HeaderValue};
pub use serde_json::{self, Map, Value};
pub use url::Url;

/// The channels in the field `subscription` of a message, see [`Fields`].
pub use bayeux_proto::Subscription as SubscriptionNames;
pub use bayeux_proto::client::{
    Backoff, CallError, CloseReason, Delivery, Event, FailedAttempt, Failure, FailureKind, LostCause,
    Offline, State, Verdict,
};
pub use bayeux_proto::ext::binary::{Binary, BinaryError};
pub use bayeux_proto::{
    Advice, BayeuxError, Channel, ChannelKind, ClientId, Data, Fields, Interval, InvalidChannel,
    InvalidReason, Message, MessageId, Reconnect, Transport,
};

/// The programs of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
