//! What a server can be told to do differently.

use std::time::Duration;

use crate::connection_type::ConnectionType;

/// The settings of an [`Engine`](super::Engine); the defaults are CometD's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How long a connect is held that has nothing to deliver. Default: 30 s.
    pub timeout: Duration,
    /// How long clients are asked to wait between connects. Default: none.
    pub interval: Duration,
    /// How long a session is kept, beyond the interval, that does not connect. Default: 10 s.
    pub max_interval: Duration,
    /// How many messages wait for a session that does not fetch them; then the oldest go. Default: 10,000.
    pub max_queue: usize,
    /// How many sessions there may be. Default: 1,000,000.
    pub max_sessions: usize,
    /// How many subscriptions a session may have. Default: 10,000.
    pub max_subscriptions: usize,
    /// Whether whoever publishes and subscribes gets its own messages. Default: true.
    pub broadcast_to_publisher: bool,
    /// The transports that are offered. Default: WebSocket and long-polling.
    pub transports: Vec<ConnectionType>,
    /// The seed of session ids. Whoever knows it can guess them: it must be random in production.
    pub seed: [u8; 32],
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            interval: Duration::ZERO,
            max_interval: Duration::from_secs(10),
            max_queue: 10_000,
            max_sessions: 1_000_000,
            max_subscriptions: 10_000,
            broadcast_to_publisher: true,
            transports: vec![ConnectionType::WebSocket, ConnectionType::LongPolling],
            seed: [0; 32],
        }
    }
}
