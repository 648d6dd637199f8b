//! The arguments of calls: channel names and payloads as users write them.

use bayeux_proto::{Channel, Data, InvalidChannel};
use serde::Serialize;

use crate::error::{Cause, Error};

pub(crate) fn parse<C>(channel: C, operation: &'static str) -> Result<Channel, Error>
where
    C: TryInto<Channel, Error: Into<InvalidChannel>>,
{
    channel.try_into().map_err(|error| Error::new(operation, Cause::Channel(error.into())))
}

pub(crate) fn encode(data: &(impl Serialize + ?Sized), operation: &'static str) -> Result<Data, Error> {
    Data::encode(data)
        .map_err(|error| Error::new(operation, Cause::Encode(format!("the payload is no JSON: {error}"))))
}
