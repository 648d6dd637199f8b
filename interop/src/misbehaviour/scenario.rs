//! The rows of the table.

use std::pin::Pin;
use std::time::Duration;

use serde_json::json;

use super::stage::Stage;
use super::verdict::Verdict;
use super::way::Way;
use super::{outages, sessions};
use crate::outcome::Outcome;

/// How long a scenario may take in all.
const LIMIT: Duration = Duration::from_secs(150);

/// One row.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What the server does, or the network before it.
    pub(super) does: &'static str,
    /// What a client should do then.
    pub(super) right: &'static str,
    pub(super) way: Way,
    /// Whether it is about the acknowledge extension.
    pub(super) ack: bool,
    /// Whether it must be played with nothing else beside it: a client may use up the machine.
    pub(super) alone: bool,
    play: for<'a> fn(&'a Stage) -> Play<'a>,
}

type Play<'a> = Pin<Box<dyn Future<Output = Outcome<Verdict>> + Send + 'a>>;

impl Scenario {
    /// Plays it.
    pub(super) async fn play(&self, stage: &Stage) -> Outcome<Verdict> {
        match tokio::time::timeout(LIMIT, (self.play)(stage)).await {
            Ok(verdict) => verdict,
            Err(_) => Err(format!("not done within {LIMIT:?}").into()),
        }
    }
}

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "cut",
        does: "cuts the connection in the midst of a response to a connect, for 4 s",
        right: "connects again after a pause, with the same session",
        way: Way::LongPolling,
        ack: false,
        alone: false,
        play: |stage| Box::pin(outages::cut_in_body(stage)),
    },
    Scenario {
        name: "half-open",
        does: "does not hear the client, nor the client it, and no connection ends",
        right: "notices within a minute, and is back with the same session when the network is",
        way: Way::LongPolling,
        ack: false,
        alone: false,
        play: |stage| Box::pin(outages::half_open(stage)),
    },
    Scenario {
        name: "half-open socket",
        does: "the same",
        right: "the same",
        way: Way::WebSocket,
        ack: false,
        alone: false,
        play: |stage| Box::pin(outages::half_open(stage)),
    },
    Scenario {
        name: "402",
        does: "has forgotten the session: `402::session_unknown` and the advice `handshake`",
        right: "handshakes again and restores the subscription",
        way: Way::LongPolling,
        ack: false,
        alone: false,
        play: |stage| {
            Box::pin(sessions::forgotten(
                stage,
                "402::session_unknown",
                json!({"reconnect": "handshake", "interval": 0}),
            ))
        },
    },
    Scenario {
        name: "refused at once",
        does: "refuses each connect with the advice to try again at once, for 4 s",
        right: "tries again after pauses of its own",
        way: Way::LongPolling,
        ack: false,
        alone: true,
        play: |stage| Box::pin(outages::refused_at_once(stage)),
    },
];
