//! `bayeux request`

use serde_json::value::RawValue;

use crate::args::Request;
use crate::failure::Failure;
use crate::{json, output, payload, session};

pub(crate) async fn run(options: Request) -> Result<(), Failure> {
    let data = payload::parse(&options.data)?;
    session::run(&options.url, &options.connection, async |client| {
        let answer: Box<RawValue> = client.request(&options.channel, &data).await?;
        Ok(output::print(json::one_line(answer.get()))?)
    })
    .await
}
