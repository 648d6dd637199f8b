//! The options of the shell around the engine.

use std::time::Duration;

use crate::cookie::SessionCookie;
use crate::origin::Origins;

/// All options but those of the engine; [`Builder`](crate::Builder) documents each.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) max_message_size: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_service_calls: usize,
    pub(crate) max_buffered_bytes: usize,
    pub(crate) max_event_bytes: usize,
    pub(crate) http2_max_streams: u32,
    pub(crate) listen_backlog: u32,
    pub(crate) head_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) min_rate: u32,
    pub(crate) socket_idle_timeout: Duration,
    pub(crate) shutdown_grace: Duration,
    pub(crate) origins: Origins,
    pub(crate) cookie: SessionCookie,
    /// The subprotocol that a WebSocket must offer.
    pub(crate) websocket_protocol: Option<http::HeaderValue>,
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
            max_buffered_bytes: 8 * 1024 * 1024,
            max_event_bytes: 64 * 1024 * 1024,
            http2_max_streams: 100,
            listen_backlog: 1024,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(300),
            min_rate: 1024,
            socket_idle_timeout: Duration::from_secs(300),
            shutdown_grace: Duration::from_secs(5),
            origins: Origins::default(),
            cookie: SessionCookie::default(),
            websocket_protocol: None,
            websocket: true,
            long_polling: true,
            callback_polling: false,
            timesync: true,
        }
    }
}
