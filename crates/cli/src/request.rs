//! `bayeux request`

use serde_json::value::RawValue;

use crate::args::Request;
use crate::failure::Failure;
use crate::{json, output, payload, session};

pub(crate) async fn run(options: Request) -> Result<(), Failure> {
    let data = payload::parse(&options.data)?;
    session::run(&options.url, &options.connection, async |client| {
        match client.request::<Box<RawValue>>(&options.channel, &data).await {
            Ok(answer) => Ok(output::print(json::one_line(answer.get()))?),
            Err(error) if error.is_timeout() && error.failure().is_none() => Err(Failure::ClientHint(
                error,
                "is there a service on this channel? A server without it does not say so",
            )),
            Err(error) => Err(error.into()),
        }
    })
    .await
}
