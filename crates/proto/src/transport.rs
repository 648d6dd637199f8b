//! Connection types: the names of the transports.

use std::fmt;

/// How messages travel (Bayeux specification, section 6; CometD adds `websocket`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Transport {
    /// One WebSocket for everything.
    WebSocket,
    /// HTTP requests, one of which the server holds until there is something to say.
    LongPolling,
    /// JSONP: for browsers of old, spoken only by servers here.
    CallbackPolling,
}

impl Transport {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::LongPolling => "long-polling",
            Self::CallbackPolling => "callback-polling",
        }
    }

    /// The type of that name; `None` for one that we do not know, such as Lyrion's `streaming`.
    pub fn from_wire(name: &str) -> Option<Self> {
        [Self::WebSocket, Self::LongPolling, Self::CallbackPolling]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// Whether both sides may send at any time, so that replies are not tied to requests.
    pub const fn is_duplex(self) -> bool {
        matches!(self, Self::WebSocket)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
