//! Connection types: the names of the transports.

use std::fmt;

/// How messages travel (Bayeux specification, section 6; CometD adds `websocket`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Transport {
    /// One WebSocket for everything.
    WebSocket,
    /// HTTP requests, one of which the server holds until there is something to deliver.
    LongPolling,
    /// JSONP, for old browsers. Only the server of this project supports it.
    CallbackPolling,
}

impl Transport {
    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::LongPolling => "long-polling",
            Self::CallbackPolling => "callback-polling",
        }
    }

    /// Returns the transport with that name on the wire; `None` if it is unknown, such as Lyrion's `streaming`.
    pub fn from_wire(name: &str) -> Option<Self> {
        [Self::WebSocket, Self::LongPolling, Self::CallbackPolling]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// Returns whether both sides may send at any time, so that replies are not tied to requests.
    pub const fn is_duplex(self) -> bool {
        matches!(self, Self::WebSocket)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
