//! What the shell around the engine is told to do differently.

use std::time::Duration;

/// The settings of everything but the engine; [`Builder`](crate::Builder) documents each.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) max_message_size: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_service_calls: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) socket_idle_timeout: Duration,
    /// The origins whose pages may open a socket; `None` is any.
    pub(crate) origins: Option<Vec<String>>,
    pub(crate) websocket: bool,
    pub(crate) long_polling: bool,
    pub(crate) callback_polling: bool,
    pub(crate) timesync: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_message_size: 1024 * 1024,
            max_connections: 100_000,
            max_service_calls: 10_000,
            body_timeout: Duration::from_secs(30),
            socket_idle_timeout: Duration::from_secs(300),
            origins: None,
            websocket: true,
            long_polling: true,
            callback_polling: false,
            timesync: true,
        }
    }
}
