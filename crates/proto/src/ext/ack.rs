//! `ext.ack`, the acknowledge extension: events of a lost reply are sent again.
//!
//! The client [offers](offer) it in its handshake and the server [grants](grant) it in the reply. From then on each
//! connect [says](set_batch) the number of the last batch of events that the client is done with, and each successful
//! reply says the number of the batch that it ends. What is not acknowledged is sent again with the next reply, oldest
//! first, for as long as the session lives.
//!
//! Nothing is acknowledged in the other direction, and only connects and their replies carry numbers.

use serde_json::{Value, json};

use crate::message::Message;

const KEY: &str = "ack";

/// Offers the extension in a handshake: `{"ack": true}`.
pub fn offer(handshake: &mut Message) {
    handshake.set_ext_value(KEY, Value::Bool(true));
}

/// Whether a handshake offers the extension. Only a literal `true` does, as CometD's server has it.
pub fn is_offered(handshake: &Message) -> bool {
    handshake.ext_json(KEY) == Some("true")
}

/// Grants the extension in a handshake reply.
///
/// Plainly it is `{"ack": true}`, and the client begins with batch 0. When events come with the reply they are a batch
/// of their own, whose number the client must begin with: `{"ack": {"enabled": true, "batch": 1}}`.
pub fn grant(reply: &mut Message, batch: Option<u64>) {
    let value = match batch {
        None => Value::Bool(true),
        Some(batch) => json!({ "enabled": true, "batch": batch }),
    };
    reply.set_ext_value(KEY, value);
}

/// The batch to begin with, if a handshake reply grants the extension in either form.
pub fn agreed(reply: &Message) -> Option<u64> {
    match reply.ext_value(KEY)? {
        Value::Bool(true) => Some(0),
        Value::Object(fields) if fields.get("enabled")?.as_bool()? => {
            Some(fields.get("batch").and_then(Value::as_u64).unwrap_or(0))
        }
        _ => None,
    }
}

/// The number in a connect or its reply; `None` when there is none, or it is no whole number from zero on.
pub fn batch(message: &Message) -> Option<u64> {
    /// No number of a batch has more digits.
    const LONGEST: usize = 20;
    let number = message.ext_json(KEY).filter(|json| json.len() <= LONGEST)?;
    serde_json::from_str::<Value>(number).ok()?.as_u64()
}

/// Puts a number into a connect or its reply.
pub fn set_batch(message: &mut Message, batch: u64) {
    message.set_ext_value(KEY, batch.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::data::Data;

    fn message(channel: &'static str, ext: &str) -> Message {
        let mut message = Message::meta(channel);
        message.set_ext(Some(Data::from_json(ext).unwrap()));
        message
    }

    #[test]
    fn case_58_only_a_literal_true_offers_and_a_silent_server_grants_nothing() {
        let mut handshake = Message::meta(Channel::HANDSHAKE);
        assert!(!is_offered(&handshake));
        offer(&mut handshake);
        assert!(is_offered(&handshake));
        assert_eq!(handshake.ext().unwrap().as_str(), r#"{"ack":true}"#);
        for ext in
            ["{}", "[]", "1", r#"{"ack":false}"#, r#"{"ack":"true"}"#, r#"{"ack":1}"#, r#"{"ack":null}"#]
        {
            assert!(!is_offered(&message(Channel::HANDSHAKE, ext)), "{ext}");
            assert_eq!(agreed(&message(Channel::HANDSHAKE, ext)), None, "{ext}");
        }
    }

    #[test]
    fn case_58_connects_count_from_zero_and_other_keys_of_ext_stay() {
        assert_eq!(agreed(&message(Channel::HANDSHAKE, r#"{"ack":true}"#)), Some(0));
        for number in [0, 1, 2, u64::MAX] {
            let mut connect = message(Channel::CONNECT, r#"{"token":"x"}"#);
            set_batch(&mut connect, number);
            assert_eq!(batch(&connect), Some(number));
            assert_eq!(connect.ext_value("token"), Some("x".into()));
        }
        for ext in
            [r#"{"ack":-1}"#, r#"{"ack":1.5}"#, r#"{"ack":"7"}"#, r#"{"ack":{}}"#, r#"{"ack":true}"#, "{}"]
        {
            assert_eq!(batch(&message(Channel::CONNECT, ext)), None, "{ext}");
        }
    }

    #[test]
    fn case_60_a_grant_may_name_the_batch_to_begin_with() {
        let mut reply = Message::meta(Channel::HANDSHAKE);
        grant(&mut reply, Some(4));
        assert_eq!(agreed(&reply), Some(4));
        grant(&mut reply, None);
        assert_eq!(reply.ext().unwrap().as_str(), r#"{"ack":true}"#);
        for (ext, begin) in [
            (r#"{"ack":{"enabled":true}}"#, Some(0)),
            (r#"{"ack":{"enabled":true,"batch":"4"}}"#, Some(0)),
            (r#"{"ack":{"enabled":false,"batch":4}}"#, None),
            (r#"{"ack":{"batch":4}}"#, None),
        ] {
            assert_eq!(agreed(&message(Channel::HANDSHAKE, ext)), begin, "{ext}");
        }
    }
}
