//! `bayeux subscribe`

use std::io::IsTerminal;
use std::time::Duration;

use bayeux::Client;

use crate::args::{Connection, Subscribe, TimeLimit};
use crate::failure::Failure;
use crate::json::Object;
use crate::target::Target;
use crate::{arguments, output, report, session};

pub(crate) async fn run(options: Subscribe) -> Result<(), Failure> {
    let (url, channels) = arguments::before_channel(options.url.clone(), options.channels.clone());
    if channels.is_empty() {
        return Err(arguments::missing("CHANNEL", "bayeux subscribe [URL] <CHANNEL>..."));
    }
    let target = Target::new(url, &options.connection)?;
    session::run(&target, &options.connection, async |client| {
        subscribe(client, &channels, &options.connection).await?;
        tokio::select! {
            outcome = print_messages(client, &options) => outcome,
            // The time of `--for` is over: a success.
            () = over(options.time) => Ok(()),
            () = output::reader_closed() => Err(Failure::ClosedPipe),
        }
    })
    .await
}

async fn subscribe(client: &Client, channels: &[String], options: &Connection) -> Result<(), Failure> {
    for channel in channels {
        client.subscribe(channel).await?;
        if options.events {
            output::print_event(Object::new().with("event", "subscribed").with("channel", channel));
        }
    }
    if std::io::stderr().is_terminal() && !options.events {
        let transport = client.transport().map(|transport| format!(" over {transport}"));
        output::note(&format!(
            "subscribed to {}{}; ^C ends",
            channels.join(", "),
            transport.unwrap_or_default()
        ));
    }
    Ok(())
}

/// Completes after `time`; never, if there is none.
async fn over(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

async fn print_messages(client: &Client, options: &Subscribe) -> Result<(), Failure> {
    let mut printed = 0;
    while options.count.is_none_or(|count| printed < count) {
        match client.receive().await {
            Ok(message) => output::print_json(report::message(&message))?,
            Err(error) if error.is_timeout() && !client.is_closed() => {
                return Err(lost(client, options.connection.outage_timeout));
            }
            Err(error) => return Err(error.into()),
        }
        printed += 1;
    }
    Ok(())
}

fn lost(client: &Client, TimeLimit(limit): TimeLimit) -> Failure {
    let within = limit.map(|time| format!(" within {}", humantime::format_duration(time)));
    Failure::Lost(format!(
        "the connection to {} was not restored{}",
        session::shown_url(client),
        within.unwrap_or_default()
    ))
}
