//! `bayeux publish`

use bayeux::{Client, Error, Message};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use serde_json::Value;

use crate::args::Publish;
use crate::failure::{self, Failure};
use crate::{lines, report, session};

/// How many publishes are on their way at once: enough to fill the wire.
const PIPELINE: usize = 256;

pub(crate) async fn run(options: Publish) -> Result<(), Failure> {
    let once = match options.data.as_str() {
        "-" => None,
        json => Some(parse(json)?),
    };
    let client = session::open(&options.url, &options.connection).await?;
    let work = async {
        match once {
            Some(data) => {
                let reply = client.publish(&options.channel, &data).await?;
                Ok(lines::print(&report::reply(&reply))?)
            }
            None => publish_lines(&client, &options.channel).await,
        }
    };
    session::until_interrupted(&client, work).await
}

fn parse(json: &str) -> Result<Value, Failure> {
    serde_json::from_str(json).map_err(|error| {
        Failure::Usage(format!(
            "the payload is no JSON: {error}; a text is written as '\"text\"', with quotes"
        ))
    })
}

/// Publishes each line; a bad one is told and passed over.
async fn publish_lines(client: &Client, channel: &str) -> Result<(), Failure> {
    let mut input = lines::Input::new();
    let mut replies = FuturesOrdered::new();
    let mut worst = 0;
    let mut number = 0_u64;
    let mut at_end = false;
    while !at_end || !replies.is_empty() {
        tokio::select! {
            biased;
            Some(reply) = replies.next() => worst = worst.max(tell(reply)?),
            line = input.next(), if !at_end && replies.len() < PIPELINE => match line? {
                None => at_end = true,
                Some(line) => {
                    number += 1;
                    match serde_json::from_str::<Value>(&line) {
                        Ok(data) => replies.push_back(async move { client.publish(channel, &data).await }),
                        Err(error) => {
                            anstream::eprintln!("line {number} is no JSON: {error}");
                            worst = worst.max(2);
                        }
                    }
                }
            },
        }
    }
    if worst > 0 { Err(Failure::Told(worst)) } else { Ok(()) }
}

/// Prints an outcome; the exit code that it calls for.
fn tell(reply: Result<Message, Error>) -> Result<u8, Failure> {
    match reply {
        Ok(reply) => lines::print(&report::reply(&reply)).map(|()| 0).map_err(Failure::from),
        Err(error) => {
            anstream::eprintln!("{error}");
            Ok(failure::code(&error))
        }
    }
}
