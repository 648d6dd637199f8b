//! `bayeux request`

use bayeux::{Error, FailureKind};
use serde_json::value::RawValue;

use crate::args::Request;
use crate::failure::Failure;
use crate::target::Target;
use crate::{arguments, json, output, payload, session};

pub(crate) async fn run(options: Request) -> Result<(), Failure> {
    const USAGE: &str = "bayeux request [URL] <CHANNEL> <JSON|-|@FILE>";
    let (url, rest) = arguments::before_channel(options.url, options.channel.into_iter().chain(options.data));
    let mut rest = rest.into_iter();
    let channel = rest.next().ok_or_else(|| arguments::missing("CHANNEL", USAGE))?;
    let data = rest.next().ok_or_else(|| arguments::missing("JSON|-|@FILE", USAGE))?;
    let target = Target::new(url, &options.connection)?;
    let data = payload::source(&data).await?.only().await?;
    session::run(&target, &options.connection, async |client| {
        match client.request::<Box<RawValue>>(&channel, &data).await {
            Ok(answer) => Ok(output::print_json(json::one_line(answer.get()))?),
            Err(error) if error.is_timeout() && is_without_answer(&error) => Err(Failure::ClientHint(
                error,
                "check that the server has a service on this channel; without one, the server sends no reply",
            )),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// Whether the request failed only because no reply arrived.
fn is_without_answer(error: &Error) -> bool {
    error.failure().is_none_or(|failure| failure.kind() == FailureKind::Timeout)
}
