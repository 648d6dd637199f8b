//! The timestamp extension of the client.

use std::time::SystemTime;

use bayeux_proto::Message;
use bayeux_proto::ext::timestamp;

use crate::clock::unix_ms;
use crate::extension::{Extension, Veto};

/// An [`Extension`] that adds the time of sending to each outgoing message, in the form of the Bayeux specification
/// (`2026-11-25T08:15:30.12`, GMT).
///
/// [`Message::fields`](crate::Message::fields) returns the field `timestamp` of received messages as text, in the form that the server
/// chose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timestamp;

impl Extension for Timestamp {
    fn outgoing(&self, message: &mut Message) -> Result<(), Veto> {
        timestamp::set(message, unix_ms(SystemTime::now()));
        Ok(())
    }
}
