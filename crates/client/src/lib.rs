//! A client for CometD servers: the Bayeux protocol over WebSocket and HTTP long-polling.
//!
//! ```no_run
//! # async fn example() -> Result<(), bayeux::Error> {
//! let client = bayeux::Client::connect("https://example.com/cometd").await?;
//! client.subscribe("/chat/demo").await?;
//! client.publish("/chat/demo", &serde_json::json!({"user": "ann", "chat": "hi"})).await?;
//! while let Some(message) = client.next().await.transpose()? {
//!     println!("{} {}", message.channel(), message.data());
//! }
//! client.close().await?;
//! # Ok(()) }
//! ```
//!
//! # The verbs
//!
//! | verb | what it does |
//! |---|---|
//! | [`connect`](Client::connect), [`builder`](Client::builder), [`open`](Client::open) | opens a session, with defaults or with options |
//! | [`subscribe`](Client::subscribe), [`unsubscribe`](Client::unsubscribe), [`subscriptions`](Client::subscriptions) | chooses what reaches the inbox |
//! | [`receive`](Client::receive), [`next`](Client::next), `Stream` | takes messages from the inbox |
//! | [`stream`](Client::stream), [`messages`](Client::messages) | gives a channel a queue of its own, typed or raw |
//! | [`publish`](Client::publish), [`batch`](Client::batch), [`request`](Client::request) | sends, and returns the server's reply or the service's answer |
//! | [`events`](Client::events), [`state`](Client::state) | tells how the connection fares |
//! | [`suspend`](Client::suspend), [`resume`](Client::resume) | leaves a session to another process, and goes on with it |
//! | [`close`](Client::close), [`run`](Client::run) | ends the session in good order, or a scope with it |
//!
//! # What it takes care of
//!
//! It stays connected: a lost connection is restored after a growing, jittered delay, a session that the server
//! forgot is replaced, and all subscriptions are restored before [`Event::Connected`] is told. Messages that may have
//! been missed meanwhile are told as [`Event::GapPossible`]. Meta messages are handled inside and never shown as
//! messages. Every call ends, in a reply or an [`Error`] that says whether trying again can help.
//!
//! The client logs with [`tracing`]: its events at `debug`, and each body and frame at `trace` of the target
//! `bayeux::wire`, without secrets.
//!
//! # Features
//!
//! - `metrics` (off by default): counts through the facade [`metrics`](https://docs.rs/metrics), each with the label
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
mod operation;
mod queue;
mod receiver;
mod receiving;
mod retry;
mod sending;
mod shared;
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
pub use queue::Overflow;
pub use retry::Retry;
pub use snapshot::SessionSnapshot;
pub use stream::Subscription;
pub use timestamp::Timestamp;
pub use timesync::TimeSync;
pub use transport::{Proxy, TlsOptions};

pub use bayeux_proto::client::{
    Backoff, CallError, CloseReason, Delivery, Event, FailedAttempt, Failure, FailureKind, LostCause,
    Offline, State, Verdict,
};
pub use bayeux_proto::ext::binary::{Binary, BinaryError};
pub use bayeux_proto::{
    Advice, BayeuxError, Channel, Data, Interval, InvalidChannel, Message, MessageId, Reconnect, Transport,
};

/// The programs of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
