//! What a session sent, as the server reads it.

use std::ops::Index;

use bayeux_proto::client::{ExchangeId, Lane, Transmit};
use bayeux_proto::{Time, Transport, codec};
use serde_json::{Value, json};

/// A batch of messages that the session sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) exchange: ExchangeId,
    pub(crate) server: usize,
    pub(crate) transport: Transport,
    pub(crate) lane: Lane,
    pub(crate) at: Time,
    pub(crate) messages: Vec<Value>,
    /// The ids that are not answered yet.
    pub(super) open: Vec<String>,
}

impl Sent {
    pub(super) fn new(transmit: Transmit, at: Time) -> Self {
        let body = codec::encode(&transmit.messages);
        let messages: Vec<Value> = serde_json::from_slice(&body).unwrap();
        let open = messages.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect();
        let Transmit { exchange, server, transport, lane, .. } = transmit;
        Self { exchange, server, transport, lane, at, messages, open }
    }

    /// The one message that the batch consists of.
    #[track_caller]
    pub(crate) fn message(&self) -> &Value {
        assert_eq!(self.messages.len(), 1, "{:?}", self.messages);
        &self.messages[0]
    }

    /// The channel of the first message.
    pub(crate) fn channel(&self) -> &str {
        self.messages[0]["channel"].as_str().unwrap()
    }

    pub(crate) fn channels(&self) -> Vec<&str> {
        self.messages.iter().map(|message| message["channel"].as_str().unwrap()).collect()
    }

    /// The value of a field in each message.
    pub(crate) fn each(&self, field: &str) -> Vec<&Value> {
        self.messages.iter().map(|message| &message[field]).collect()
    }

    /// Whether it is a connect that asks to be answered at once.
    pub(crate) fn is_probe(&self) -> bool {
        self["advice"]["timeout"] == json!(0)
    }
}

/// A field of the first message.
impl Index<&str> for Sent {
    type Output = Value;

    fn index(&self, field: &str) -> &Value {
        &self.messages[0][field]
    }
}

/// The reply to a message: its channel, id and subscription, and what more the test wants.
pub(super) fn reply(message: &Value, successful: bool, more: &Value) -> Value {
    let mut reply = json!({"channel": message["channel"], "id": message["id"], "successful": successful});
    if let Some(subscription) = message.get("subscription") {
        reply["subscription"] = subscription.clone();
    }
    merge(&mut reply, more);
    reply
}

/// Adds the fields of `more`; one that is `null` there is taken away.
pub(super) fn merge(object: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(object.as_object_mut().and_then(|fields| fields.remove(name))),
            value => object[name] = value.clone(),
        }
    }
}
