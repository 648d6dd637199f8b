//! `bayeux publish`

use bayeux::{Client, Error, ErrorKind, Message};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::io::AsyncBufRead;

use crate::args::Publish;
use crate::failure::{self, Failure};
use crate::payload::{self, Source};
use crate::target::Target;
use crate::values::Values;
use crate::{arguments, output, report, session};

/// How many publishes may wait for their replies: enough to keep the connection busy.
const PIPELINE: usize = 256;

/// The client's default for the largest message that it sends.
const MAX_SIZE: usize = 1024 * 1024;

const LARGER: &str = "--max-message-size sends larger ones, if the server accepts them";

pub(crate) async fn run(options: Publish) -> Result<(), Failure> {
    const USAGE: &str = "bayeux publish [URL] <CHANNEL> <JSON|-|@FILE>";
    let (url, rest) = arguments::before_channel(options.url, options.channel.into_iter().chain(options.data));
    let mut rest = rest.into_iter();
    let channel = rest.next().ok_or_else(|| arguments::missing("CHANNEL", USAGE))?;
    let data = rest.next().ok_or_else(|| arguments::missing("JSON|-|@FILE", USAGE))?;
    let target = Target::new(url, &options.connection)?;
    let source = payload::source(&data).await?;
    let largest = options.connection.max_message_size.unwrap_or(MAX_SIZE);
    session::run(&target, &options.connection, async |client| match source {
        Source::Given(data) => match client.publish(&channel, &data).await {
            Ok(reply) => Ok(output::print_json(report::reply(&reply))?),
            Err(error) if is_too_large(&error, data.get(), largest) => {
                Err(Failure::ClientHint(error, LARGER))
            }
            Err(error) => Err(error.into()),
        },
        Source::Stream { name, values } => publish_all(client, &channel, &name, values, largest).await,
    })
    .await
}

/// Publishes each value. An invalid value is reported and skipped.
async fn publish_all(
    client: &Client,
    channel: &str,
    name: &str,
    mut values: Values<impl AsyncBufRead + Unpin>,
    largest: usize,
) -> Result<(), Failure> {
    let mut replies = FuturesOrdered::new();
    let mut worst = 0;
    let mut at_end = false;
    let mut too_large = false;
    while !at_end || !replies.is_empty() {
        tokio::select! {
            biased;
            Some((line, refused, reply)) = replies.next() => {
                if refused {
                    too_large = true;
                }
                worst = worst.max(print_outcome(name, line, reply)?);
                // The values that follow would fail in the same way.
                at_end |= client.is_closed();
            }
            value = values.next(), if !at_end && replies.len() < PIPELINE => {
                let value = value.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", read_from(name))))?;
                let Some(value) = value else {
                    at_end = true;
                    continue;
                };
                let line = value.line;
                match value.json {
                    Ok(data) => {
                        replies.push_back(async move {
                            let reply = client.publish(channel, &data).await;
                            let refused =
                                reply.as_ref().is_err_and(|error| is_too_large(error, data.get(), largest));
                            (line, refused, reply)
                        });
                    }
                    Err(text) => {
                        output::error(&format!("{name}line {line} {text}"));
                        worst = worst.max(2);
                    }
                }
            },
        }
    }
    if too_large {
        output::hint(LARGER);
    }
    if worst > 0 { Err(Failure::Reported(worst)) } else { Ok(()) }
}

/// Whether the client returned an error because the message is too large. Nearly all of its size is the payload.
fn is_too_large(error: &Error, data: &str, largest: usize) -> bool {
    error.kind() == ErrorKind::Invalid && data.len().saturating_add(4096) > largest
}

fn read_from(name: &str) -> &str {
    if name.is_empty() { "standard input" } else { name.trim_end_matches(": ") }
}

/// Prints the outcome of one publish and returns its exit code.
fn print_outcome(name: &str, line: u64, reply: Result<Message, Error>) -> Result<u8, Failure> {
    match reply {
        Ok(reply) => output::print_json(report::reply(&reply)).map(|()| 0).map_err(Failure::from),
        Err(error) => {
            output::error(&format!("{name}line {line}: {error}"));
            Ok(failure::code(&error))
        }
    }
}
