//! The arguments of users: channel names, payloads and headers.

use bayeux_proto::{Channel, Data, InvalidChannel};
use http::{HeaderName, HeaderValue};
use serde::Serialize;

use crate::error::{Cause, Error};

pub(crate) fn parse<C>(channel: C, operation: &'static str) -> Result<Channel, Error>
where
    C: TryInto<Channel, Error: Into<InvalidChannel>>,
{
    channel.try_into().map_err(|error| Error::new(operation, Cause::Channel(error.into())))
}

pub(crate) fn encode(data: &(impl Serialize + ?Sized), operation: &'static str) -> Result<Data, Error> {
    Data::encode(data).map_err(|error| {
        Error::new(operation, Cause::Encode(format!("the payload cannot be encoded as JSON: {error}")))
    })
}

/// Parses a header, whose value is marked as sensitive. The error names the header without its value.
pub(crate) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Error> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Error::config(format!("{name:?} is not a valid header name")))?;
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        Error::config(format!("the value of the header {name} contains characters that headers cannot have"))
    })?;
    value.set_sensitive(true);
    Ok((parsed, value))
}
