//! Requests that the peer received, and the answers of a correct server.

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::Answer;

/// A request, upgrade or frame that a [`Peer`](super::Peer) received.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The kind of request.
    pub kind: RequestKind,
    /// The path and query of the URL.
    pub path: String,
    /// The headers, with lowercase names; for a frame, those of the upgrade.
    pub headers: Vec<(String, String)>,
    /// The body or payload.
    pub body: Bytes,
    /// The Bayeux messages in it; empty if it is not JSON.
    pub messages: Vec<Value>,
    /// The number of the connection; the first is 0.
    pub connection: usize,
    /// The number of earlier requests with the same [`name`](Request::name).
    pub nth: usize,
}

/// The kinds of [`Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestKind {
    /// A POST of messages.
    Post,
    /// A WebSocket upgrade.
    Upgrade,
    /// A WebSocket frame.
    Frame,
    /// Another HTTP request.
    Other,
}

impl Request {
    /// The channel of the first message; `upgrade` for an upgrade; empty otherwise.
    pub fn name(&self) -> &str {
        match self.kind {
            RequestKind::Upgrade => "upgrade",
            _ => self.messages.first().and_then(|message| message["channel"].as_str()).unwrap_or(""),
        }
    }

    /// The first message on this channel.
    pub fn message(&self, channel: &str) -> Option<&Value> {
        self.messages.iter().find(|message| message["channel"] == channel)
    }

    /// Whether there is a message on this channel.
    pub fn has(&self, channel: &str) -> bool {
        self.message(channel).is_some()
    }

    /// The value of a header, by its lowercase name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A successful reply to a message, with its channel, id, client id and subscription.
    pub fn reply_to(message: &Value) -> Value {
        let mut reply = json!({"channel": message["channel"], "id": message["id"], "successful": true});
        for field in ["clientId", "subscription"] {
            if !message[field].is_null() {
                reply[field] = message[field].clone();
            }
        }
        reply
    }

    /// A reply that refuses a message.
    pub fn refusal_of(message: &Value, error: &str) -> Value {
        let mut reply = Self::reply_to(message);
        reply["successful"] = false.into();
        reply["error"] = error.into();
        reply
    }

    /// The successful replies to all messages. A handshake is granted the session `peer-0`, `peer-1` and so on, with
    /// both transports; a connect is advised a timeout of 30 s.
    pub fn replies(&self) -> Vec<Value> {
        self.messages.iter().map(|message| self.decent_reply(message)).collect()
    }

    fn decent_reply(&self, message: &Value) -> Value {
        let mut reply = Self::reply_to(message);
        match message["channel"].as_str() {
            Some("/meta/handshake") => {
                reply["version"] = "1.0".into();
                reply["clientId"] = format!("peer-{}", self.nth).into();
                reply["supportedConnectionTypes"] = json!(["websocket", "long-polling"]);
                reply["advice"] = json!({"reconnect": "retry", "interval": 0, "timeout": 30_000});
            }
            Some("/meta/connect") => {
                reply["advice"] = json!({"reconnect": "retry", "interval": 0, "timeout": 30_000});
            }
            _ => {}
        }
        reply
    }

    /// The answer of a correct server without other clients: it grants everything, answers a connect at once if the
    /// connect asks for that, and holds other connects until [`Peer::push`](super::Peer::push) is called or the session
    /// ends.
    pub fn decently(&self) -> Answer {
        match self.kind {
            RequestKind::Upgrade => Answer::accept(),
            RequestKind::Other => Answer::status(400),
            RequestKind::Post | RequestKind::Frame => {
                let held = |message: &&Value| {
                    message["channel"] == "/meta/connect" && message["advice"]["timeout"] != 0
                };
                let (hold, now): (Vec<_>, Vec<_>) = self.messages.iter().partition(held);
                let now = now.into_iter().map(|message| self.decent_reply(message)).collect();
                let hold = hold.into_iter().map(|message| self.decent_reply(message)).collect();
                Answer::now_and_later(now, hold)
            }
        }
    }
}
