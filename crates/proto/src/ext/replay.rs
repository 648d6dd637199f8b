//! `ext.replay`: a subscription that begins after an event that was received before.
//!
//! The client [announces](announce) the extension in its handshake, and the server [confirms](is_confirmed) it in the reply. A
//! subscribe then [names](ask) the id of the event after which the server begins. Each event carries [its id](event_id) in its
//! payload. A server that does not keep that event any more [refuses](is_unavailable) the subscribe.

use serde_json::{Value, json};

use crate::error::BayeuxError;
use crate::message::Message;
use crate::object;

const KEY: &str = "replay";

/// The id that stands for "what comes from now on".
pub const TIP: i64 = -1;
/// The id that stands for "all that the server keeps".
pub const ALL: i64 = -2;

/// Announces the extension in a handshake: `{"replay": true}`.
pub fn announce(handshake: &mut Message) {
    handshake.set_ext_value(KEY, Value::Bool(true));
}

/// Whether a handshake reply confirms the extension, in any form but `false` and `null`.
pub fn is_confirmed(reply: &Message) -> bool {
    reply.ext_json(KEY).is_some_and(|json| json != "false" && json != "null")
}

/// Asks in a subscribe for the events of `channel` after the one of this id: `{"replay": {"/topic/T": 7}}`.
pub fn ask(subscribe: &mut Message, channel: &str, after: i64) {
    subscribe.set_ext_value(KEY, json!({ channel: after }));
}

/// The id of an event, which stands in its payload: `{"event": {"replayId": 7}}`. `None` if there is none.
pub fn event_id(event: &Message) -> Option<i64> {
    /// No id has more digits, with its sign and in quotes.
    const LONGEST: usize = 22;
    let id = object::field(object::field(event.data().as_str(), "event")?, "replayId")?;
    if id.len() > LONGEST {
        return None;
    }
    id.trim_matches('"').parse().ok().filter(|id| *id >= 0)
}

/// Whether the refusal of a subscribe says that its position is not kept. Salesforce has two texts: `400::The replayId {7} you
/// provided was invalid…`, and `400::The replayId for channel {/topic/T} wasn't found using the provided replay ID map`.
pub fn is_unavailable(error: &BayeuxError) -> bool {
    let text = error.as_str().to_ascii_lowercase();
    let about_replay = ["replayid", "replay id", "replay_id"].iter().any(|words| text.contains(words));
    about_replay && !matches!(error.code(), Some(401..=403 | 500..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::data::Data;

    fn event(data: &str) -> Message {
        Message::new(Channel::parse("/topic/T").unwrap()).with_data(Data::from_json(data).unwrap())
    }

    #[test]
    fn the_id_of_an_event_stands_in_its_payload() {
        for (data, id) in [
            (r#"{"event":{"createdDate":"x","replayId":7,"type":"created"},"sobject":{}}"#, Some(7)),
            (r#"{"schema":"s","payload":{"a":1},"event":{"replayId":0}}"#, Some(0)),
            (r#"{"event":{"replayId":"17"}}"#, Some(17)),
            (r#"{"event":{"replayId":9223372036854775807}}"#, Some(i64::MAX)),
            (r#"{"event":{"replayId":9223372036854775808}}"#, None),
            (r#"{"event":{"replayId":-3}}"#, None),
            (r#"{"event":{"replayId":1.5}}"#, None),
            (r#"{"event":{"replayId":{}}}"#, None),
            (r#"{"event":{"replayId":null}}"#, None),
            (r#"{"payload":{"event":{"replayId":7}}}"#, None),
            (r#"{"event":7}"#, None),
            (r#"[1]"#, None),
            ("null", None),
        ] {
            assert_eq!(event_id(&event(data)), id, "{data}");
        }
    }

    #[test]
    fn a_handshake_announces_and_its_reply_confirms() {
        let mut handshake = Message::meta(Channel::HANDSHAKE);
        assert!(!is_confirmed(&handshake));
        announce(&mut handshake);
        assert_eq!(handshake.ext().unwrap().as_str(), r#"{"replay":true}"#);
        assert!(is_confirmed(&handshake));
        for (ext, confirmed) in [
            (r#"{"replay":true,"payload.format":true}"#, true),
            (r#"{"replay":{}}"#, true),
            (r#"{"replay":false}"#, false),
            (r#"{"replay":null}"#, false),
            ("{}", false),
        ] {
            handshake.set_ext(Some(Data::from_json(ext).unwrap()));
            assert_eq!(is_confirmed(&handshake), confirmed, "{ext}");
        }
    }

    #[test]
    fn a_subscribe_asks_for_one_channel_with_its_filter() {
        let mut subscribe = Message::meta(Channel::SUBSCRIBE);
        ask(&mut subscribe, "/topic/T?Industry='Energy'", 7);
        assert_eq!(subscribe.ext().unwrap().as_str(), r#"{"replay":{"/topic/T?Industry='Energy'":7}}"#);
    }

    #[test]
    fn the_texts_of_a_position_that_is_not_kept() {
        for (error, unavailable) in [
            (
                "400::The replayId {7} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events.",
                true,
            ),
            ("400::The replayId for channel {/topic/T} wasn't found using the provided replay ID map", true),
            ("The Replay ID is too old", true),
            ("400::The channel is unknown", false),
            ("403::You may not use a replayId", false),
            ("401::Authentication invalid", false),
            ("503::server_busy, keep your replayId", false),
            ("", false),
        ] {
            assert_eq!(is_unavailable(&BayeuxError::parse(error)), unavailable, "{error}");
        }
    }
}
