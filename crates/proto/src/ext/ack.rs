//! x
use crate::message::Message;
/// x
pub fn agreed(reply: &Message) -> Option<u64> {
    match reply.ext_value("ack")? {
        serde_json::Value::Bool(true) => Some(0),
        serde_json::Value::Object(fields) if fields.get("enabled")?.as_bool()? => {
            Some(fields.get("batch").and_then(serde_json::Value::as_u64).unwrap_or(0))
        }
        _ => None,
    }
}
/// x
pub fn batch(message: &Message) -> Option<u64> {
    message.ext_value("ack")?.as_u64()
}
/// x
pub fn set_batch(message: &mut Message, batch: u64) {
    message.set_ext_value("ack", batch.into());
}
