//! The transports that a client is given.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    LongPolling,
    WebSocket,
    /// Both, WebSocket first.
    Fallback,
}

impl Way {
    /// For the table.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::LongPolling => "long-polling",
            Self::WebSocket => "websocket",
            Self::Fallback => "both",
        }
    }
}
