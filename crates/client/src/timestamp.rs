//! The timestamp extension of the client.

use std::time::SystemTime;

use bayeux_proto::Message;
use bayeux_proto::ext::timestamp;

use crate::clock::unix_ms;
use crate::extension::{Extension, Veto};

/// Stamps each outgoing message with the time at which it is sent, in the form of the specification
/// (`2026-11-25T08:15:30.12`, GMT).
///
/// The field `timestamp` of received messages is text in whatever form the server has:
/// [`Message::fields`](crate::Message::fields) gives it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timestamp;

impl Extension for Timestamp {
    fn outgoing(&self, message: &mut Message) -> Result<(), Veto> {
        timestamp::set(message, unix_ms(SystemTime::now()));
        Ok(())
    }
}
