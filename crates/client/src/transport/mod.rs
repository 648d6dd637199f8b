//! The transports: bytes out, bytes in, failures told. They know nothing of the protocol.

mod arriving;
mod body;
mod connection;
mod cookies;
mod failure;
mod http;
mod long_polling;
mod options;
mod outgoing;
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
pub use tls::TlsOptions;
