//! Several messages in one request or frame.

use bayeux_proto::client::{Operation, SinkId};
use bayeux_proto::{Channel, InvalidChannel};
use serde::Serialize;

use crate::error::Error;
use crate::operation::{encode, parse};

/// The messages of a [`Client::batch`](crate::Client::batch).
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) operations: Vec<(Operation, String)>,
}

impl Batch {
    /// Adds a publish.
    ///
    /// # Errors
    /// Returns an error if the channel name is invalid, or if `data` cannot be encoded as JSON.
    pub fn publish<C, T>(&mut self, channel: C, data: &T) -> Result<(), Error>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
        T: Serialize + ?Sized,
    {
        let channel = parse(channel, "publish")?;
        let data = encode(data, "publish")?;
        let name = format!("publish to {channel}");
        self.operations.push((Operation::Publish { channel, data }, name));
        Ok(())
    }

    /// Adds a subscription of the inbox.
    ///
    /// # Errors
    /// Returns an error if the channel name is invalid.
    pub fn subscribe<C>(&mut self, channel: C) -> Result<(), Error>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
    {
        let channel = parse(channel, "subscribe")?;
        let name = format!("subscribe to {channel}");
        self.operations.push((Operation::Subscribe { channel, sink: SinkId::INBOX }, name));
        Ok(())
    }

    /// Adds an unsubscription of the inbox.
    ///
    /// # Errors
    /// Returns an error if the channel name is invalid.
    pub fn unsubscribe<C>(&mut self, channel: C) -> Result<(), Error>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
    {
        let channel = parse(channel, "unsubscribe")?;
        let name = format!("unsubscribe from {channel}");
        self.operations.push((Operation::Unsubscribe { channel, sink: SinkId::INBOX }, name));
        Ok(())
    }
}
