//! The settings of a client session.

use std::time::Duration;

use serde_json::{Map, Value};

use super::retry::Retry;
use crate::transport::Transport;

/// The settings of a [`Session`](super::Session). All waits are bounded; the defaults are CometD's where it has any.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The name of the server in errors and events. Default: "the server".
    pub endpoint: String,
    /// The names of the other servers of the same cluster, in the order in which they are tried when one cannot be
    /// reached. Default: none.
    pub fallbacks: Vec<String>,
    /// The transports to use, the preferred one first. Default: WebSocket, then long-polling.
    pub transports: Vec<Transport>,
    /// Whether all transports talk to the same host and port, so that if one cannot be reached, the others cannot
    /// either. Default: true.
    pub same_endpoint: bool,
    /// How long a reply may take, not counting the time that the server is asked to hold a connect
    /// (CometD's `maxNetworkDelay`). Default: 10 s.
    pub request_timeout: Duration,
    /// How long a call waits for its turn while the connection is being restored, and in all if it is sent more than
    /// once. Default: 10 s.
    pub call_timeout: Duration,
    /// What happens to a publish that was on its way when the connection broke. Default: at most once.
    pub delivery: Delivery,
    /// What happens to a publish or request while there is no connection. Default: it waits.
    pub offline: Offline,
    /// How much longer the first message on a new connection may take. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long opening may take in all; `None` for no limit. Default: 30 s.
    pub open_timeout: Option<Duration>,
    /// Whether opening tries again when no transport gets through, instead of failing at once. Default: false,
    /// so that a mistyped address is an error at once.
    pub retry_open: bool,
    /// How long closing may take. Default: 5 s.
    pub close_timeout: Duration,
    /// The delays between attempts, and when to stop. Default: 1 s doubling to 30 s, jittered, without end.
    pub retry: Retry,
    /// Whether the driver decides about each attempt after a failure, within what `retry` permits:
    /// [`Output::DecideRetry`](super::Output::DecideRetry) is emitted after each failed attempt. Default: false.
    pub decide_retries: bool,
    /// The longest wait that a server can ask for: with the `interval` and `timeout` of its advice, and with
    /// `Retry-After`. A longer one is cut to this, and [`Event::AdviceCapped`](super::Event::AdviceCapped) is emitted.
    /// Default: 1 h, which maintenance takes, while a number in the wrong unit does not stop a client for good.
    pub max_advised_wait: Duration,
    /// How long a refused transport is left alone. Default: 5 min.
    pub transport_cooldown: Duration,
    /// How long a WebSocket may be quiet before a ping asks whether the server is still there; `None` for no pings.
    /// A lost server is noticed this long and `request_timeout` after the last bytes came from it. Default: 20 s.
    pub ping_interval: Option<Duration>,
    /// Whether to offer the acknowledge extension, with which the server sends again what did not arrive.
    /// Default: true.
    pub ack: bool,
    /// Whether to announce the replay extension in handshakes. If it is announced and the server does not confirm it, replayed
    /// subscriptions follow their [`ReplayFallback`](super::ReplayFallback). Default: false.
    pub replay: bool,
    /// Whether a `/meta/disconnect` that the server sends by itself ends the session only, so that a new one is asked for, and not
    /// the client. Default: false.
    pub survive_disconnect: bool,
    /// How many calls may wait for their reply at once. Default: 10,000.
    pub max_pending: usize,
    /// The largest batch to send, in bytes as it is sent; a larger message is refused, and a larger batch is divided.
    /// Default: 1 MiB (CometD's `maxSendBayeuxMessageSize`).
    pub max_send_size: usize,
    /// Fields added to each handshake; those of the protocol win.
    pub handshake_fields: Map<String, Value>,
    /// Keys added to the `ext` of each handshake.
    pub handshake_ext: Map<String, Value>,
    /// Whether the driver can provide credentials: [`Output::Authenticate`](super::Output::Authenticate) is emitted
    /// only then.
    pub has_auth: bool,
    /// The seed of the jitter.
    pub seed: u64,
}

/// What happens to a publish that was on its way when the connection broke, so that it is not known whether the
/// server has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// It fails, with `fate_unknown` in the error. The server gets it once or not at all.
    #[default]
    AtMostOnce,
    /// It is sent again, until it is confirmed or `call_timeout` is over. The server may get it twice.
    AtLeastOnce,
}

/// What happens to a publish or request while there is no connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Offline {
    /// It waits for the connection, for `call_timeout` at most, and at most `max_pending` calls do.
    #[default]
    Wait,
    /// It fails at once.
    Refuse,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: "the server".to_owned(),
            fallbacks: Vec::new(),
            transports: vec![Transport::WebSocket, Transport::LongPolling],
            same_endpoint: true,
            request_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(10),
            delivery: Delivery::default(),
            offline: Offline::default(),
            connect_timeout: Duration::from_secs(10),
            open_timeout: Some(Duration::from_secs(30)),
            retry_open: false,
            close_timeout: Duration::from_secs(5),
            retry: Retry::default(),
            decide_retries: false,
            max_advised_wait: Duration::from_secs(3600),
            ping_interval: Some(Duration::from_secs(20)),
            ack: true,
            replay: false,
            survive_disconnect: false,
            transport_cooldown: Duration::from_secs(300),
            max_pending: 10_000,
            max_send_size: 1024 * 1024,
            handshake_fields: Map::new(),
            handshake_ext: Map::new(),
            has_auth: false,
            seed: 0,
        }
    }
}
