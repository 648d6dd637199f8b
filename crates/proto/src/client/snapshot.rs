//! What another process needs to continue a session.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::advice::Advice;
use crate::channel::Channel;
use crate::id::ClientId;
use crate::transport::Transport;

/// What another process needs to continue a session, as long as the server keeps it: its id, its transport,
/// what it has acknowledged, and its subscriptions.
///
/// It can be serialized. It permits to take the session over, so keep it like a password; `Debug` does
/// not show the id.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionSnapshot {
    client_id: String,
    /// The server that has it.
    #[serde(default)]
    server: usize,
    transport: String,
    /// The last batch acknowledged, when the server agreed to acknowledgements.
    ack: Option<u64>,
    /// How many events beyond that batch have been delivered.
    seen: u64,
    /// Ids go on from here, so that no late reply is taken for another.
    last_id: u64,
    advice: Value,
    inbox: Vec<String>,
    streams: Vec<String>,
}

impl SessionSnapshot {
    /// The snapshot of a session over `transport`, without acknowledgements, advice and subscriptions. Its message ids
    /// go on after `last_id`.
    pub(super) fn new(client_id: &ClientId, server: usize, transport: Transport, last_id: u64) -> Self {
        Self {
            client_id: client_id.as_str().to_owned(),
            server,
            transport: transport.as_str().to_owned(),
            ack: None,
            seen: 0,
            last_id,
            advice: Advice::default().to_json(),
            inbox: Vec::new(),
            streams: Vec::new(),
        }
    }

    /// Adds what is acknowledged: a batch, if the server has agreed, and how many events beyond it were delivered.
    pub(super) fn with_acknowledged(self, batch: Option<u64>, seen: u64) -> Self {
        Self { ack: batch, seen, ..self }
    }

    pub(super) fn with_advice(self, advice: &Advice) -> Self {
        Self { advice: advice.to_json(), ..self }
    }

    /// Adds the channels that the inbox receives, and those of streams.
    pub(super) fn with_subscriptions<'a>(
        self,
        inbox: impl Iterator<Item = &'a Channel>,
        streams: impl Iterator<Item = &'a Channel>,
    ) -> Self {
        let name = |channel: &Channel| channel.as_str().to_owned();
        Self { inbox: inbox.map(name).collect(), streams: streams.map(name).collect(), ..self }
    }

    pub(super) fn client_id(&self) -> ClientId {
        ClientId::new(&self.client_id)
    }

    pub(super) fn acknowledged(&self) -> (Option<u64>, u64) {
        (self.ack, self.seen)
    }

    pub(super) fn last_id(&self) -> u64 {
        self.last_id
    }

    pub(super) fn advice(&self) -> Option<Advice> {
        let json = serde_json::value::to_raw_value(&self.advice).ok()?;
        Some(Advice::from_json(json.get()).unwrap_or_default())
    }

    /// The channels that the inbox receives.
    pub(super) fn inbox(&self) -> impl Iterator<Item = Channel> {
        self.inbox.iter().filter_map(|name| Channel::parse(name).ok())
    }

    /// The channels of streams.
    pub(super) fn streams(&self) -> impl Iterator<Item = Channel> {
        self.streams.iter().filter_map(|name| Channel::parse(name).ok())
    }

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
        self.inbox().chain(self.streams())
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
