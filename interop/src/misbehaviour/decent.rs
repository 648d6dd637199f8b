//! The replies of a correct server. Each scenario departs from it in one thing.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bayeux_testkit::{Answer, Request, RequestKind};
use serde_json::{Value, json};

use super::way::Way;

/// How long a connect is held over HTTP, in ms, as the advice has it: short, so that a client that waits for an answer
/// in vain finds out soon.
const HOLD: u64 = 4000;
/// The same over WebSocket, where a held connect is answered at the end only.
const HOLD_FRAME: u64 = 20_000;

/// A decent server, with the memory that it needs.
#[derive(Clone, Debug)]
pub(super) struct Decent {
    advice: Value,
    /// The sessions that have connected.
    connected: Arc<Mutex<HashSet<String>>>,
}

impl Decent {
    pub(super) fn new(way: Way) -> Self {
        let timeout = if way == Way::LongPolling { HOLD } else { HOLD_FRAME };
        let advice = json!({"reconnect": "retry", "interval": 0, "timeout": timeout});
        Self { advice, connected: Arc::default() }
    }

    /// Grants everything, answers the first connect of a session at once, and holds all others.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        match request.kind {
            RequestKind::Post | RequestKind::Frame => {
                let replies = self.replies(request);
                if self.holds(request) { Answer::hold(replies) } else { Answer::messages(replies) }
            }
            _ => request.decently(),
        }
    }

    /// The replies to all messages of a request, with advice.
    pub(super) fn replies(&self, request: &Request) -> Vec<Value> {
        let mut replies = request.replies();
        for reply in replies.iter_mut().filter(|reply| !reply["advice"].is_null()) {
            reply["advice"] = self.advice.clone();
        }
        replies
    }

    /// Whether a connect among the messages has to wait.
    fn holds(&self, request: &Request) -> bool {
        let Some(connect) = request.message("/meta/connect") else { return false };
        let session = connect["clientId"].as_str().unwrap_or_default().to_owned();
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let first = connected.insert(session);
        !first && connect["advice"]["timeout"] != 0
    }
}
