//! `bayeux request`

use serde_json::Value;

use crate::args::Request;
use crate::failure::Failure;
use crate::{lines, session};

pub(crate) async fn run(options: Request) -> Result<(), Failure> {
    let data: Value = serde_json::from_str(&options.data)
        .map_err(|error| Failure::Usage(format!("the payload is no JSON: {error}")))?;
    let client = session::open(&options.url, &options.connection).await?;
    let work = async {
        let answer: Value = client.request(&options.channel, &data).await?;
        Ok(lines::print(&answer)?)
    };
    session::until_interrupted(&client, work).await
}
