//! What another process needs to continue a session.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::channel::Channel;
use crate::transport::Transport;

/// What another process needs to continue a session, as long as the server keeps it: its id, its transport,
/// what it has acknowledged, and its subscriptions.
///
/// It can be serialized. It permits to take the session over, so keep it like a password; `Debug` does
/// not show the id.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionSnapshot {
    pub(super) client_id: String,
    /// The server that has it.
    #[serde(default)]
    pub(super) server: usize,
    pub(super) transport: String,
    /// The last batch acknowledged, when the server agreed to acknowledgements.
    pub(super) ack: Option<u64>,
    /// How many events beyond that batch have been delivered.
    pub(super) seen: u64,
    /// Ids go on from here, so that no late reply is taken for another.
    pub(super) last_id: u64,
    pub(super) advice: Value,
    pub(super) inbox: Vec<String>,
    pub(super) streams: Vec<String>,
}

impl SessionSnapshot {
    /// The server that has the session: 0 is the one that it was configured with, others are its fallbacks.
    pub fn server(&self) -> usize {
        self.server
    }

    /// The same, for a session that is configured with that server in another place.
    #[must_use]
    pub fn at_server(mut self, server: usize) -> Self {
        self.server = server;
        self
    }

    /// The transport that was in use.
    pub fn transport(&self) -> Option<Transport> {
        Transport::from_wire(&self.transport)
    }

    /// The channels that were subscribed to, by the inbox and by streams.
    pub fn subscriptions(&self) -> impl Iterator<Item = Channel> {
        self.inbox.iter().chain(&self.streams).filter_map(|name| Channel::parse(name).ok())
    }
}

impl fmt::Debug for SessionSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSnapshot")
            .field("transport", &self.transport)
            .field("ack", &self.ack)
            .field("inbox", &self.inbox)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}
