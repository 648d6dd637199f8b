//! The transports: they send and receive bytes and report failures, without any knowledge of the protocol.

mod arriving;
mod body;
mod cause;
mod connection;
mod connector;
mod cookies;
mod failure;
mod gunzip;
mod http;
mod long_polling;
mod measured;
mod options;
mod outgoing;
mod request;
mod secrets;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod upgrade;
mod websocket;

pub(crate) use cookies::SavedCookies;
pub(crate) use http::HttpStack;
pub(crate) use long_polling::{LongPolling, LongPollingEvent};
pub(crate) use options::HttpOptions;
pub(crate) use websocket::{WebSocket, WebSocketEvent};

pub(crate) use failure::display_url;
pub use options::Proxy;
#[cfg(feature = "tls")]
pub use tls::TlsOptions;
#[cfg(not(feature = "tls"))]
pub(crate) use tls::TlsOptions;
pub(crate) use tls::check_scheme;
