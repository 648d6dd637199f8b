//! `bayeux publish`

use bayeux::{Client, Error, Message};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use serde_json::value::RawValue;

use crate::args::Publish;
use crate::failure::{self, Failure};
use crate::{input, output, payload, report, session};

/// How many publishes are on their way at once: enough to fill the wire.
const PIPELINE: usize = 256;

pub(crate) async fn run(options: Publish) -> Result<(), Failure> {
    let once = match options.data.as_str() {
        "-" => None,
        json => Some(payload::parse(json)?),
    };
    session::run(&options.url, &options.connection, async |client| match once {
        Some(data) => {
            let reply = client.publish(&options.channel, &data).await?;
            Ok(output::print(report::reply(&reply))?)
        }
        None => publish_lines(client, &options.channel).await,
    })
    .await
}

/// Publishes each line; a bad one is told and passed over.
async fn publish_lines(client: &Client, channel: &str) -> Result<(), Failure> {
    let mut lines = input::stdin();
    let mut replies = FuturesOrdered::new();
    let mut worst = 0;
    let mut at_end = false;
    while !at_end || !replies.is_empty() {
        tokio::select! {
            biased;
            Some((number, reply)) = replies.next() => {
                worst = worst.max(tell(number, reply)?);
                // What follows would fail in the same way.
                at_end |= client.is_closed();
            }
            line = lines.next(), if !at_end && replies.len() < PIPELINE => {
                let Some(line) = line? else {
                    at_end = true;
                    continue;
                };
                match line.text.and_then(|text| parse(&text)) {
                    Ok(data) => {
                        let number = line.number;
                        replies.push_back(async move { (number, client.publish(channel, &data).await) });
                    }
                    Err(text) => {
                        output::error(&format!("line {} {text}", line.number));
                        worst = worst.max(2);
                    }
                }
            },
        }
    }
    if worst > 0 { Err(Failure::Told(worst)) } else { Ok(()) }
}

fn parse(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}: {}", payload::beginning(text)))
}

/// Prints an outcome; the exit code that it calls for.
fn tell(number: u64, reply: Result<Message, Error>) -> Result<u8, Failure> {
    match reply {
        Ok(reply) => output::print(report::reply(&reply)).map(|()| 0).map_err(Failure::from),
        Err(error) => {
            output::error(&format!("line {number}: {error}"));
            Ok(failure::code(&error))
        }
    }
}
