//! `bayeux pipe`: a session that a program drives with JSON lines.

use bayeux::{Client, CloseReason, Error, Event};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::args::Pipe;
use crate::failure::{self, Failure};
use crate::{lines, report, session};

/// How many commands are carried out at once; the next line is read when one is done.
const AT_ONCE: usize = 1024;

/// A line of the input. Exactly one of the verbs must be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    subscribe: Option<String>,
    unsubscribe: Option<String>,
    publish: Option<String>,
    request: Option<String>,
    close: Option<bool>,
    #[serde(default)]
    data: Value,
    tag: Option<Value>,
}

enum Verb {
    Subscribe(String),
    Unsubscribe(String),
    Publish(String),
    Request(String),
    Close,
}

pub(crate) async fn run(options: Pipe) -> Result<(), Failure> {
    let client = session::client(&options.url, &options.connection)?;
    let mut events = client.events();
    if let Err(error) = client.open().await {
        lines::print(&error_line(&error, None))?;
        return Err(Failure::Told(failure::code(&error)));
    }
    let transport = client.connection_type().map(|transport| transport.as_str());
    lines::print(&json!({"type": "opened", "transport": transport}))?;
    let work = drive(&client, &mut events);
    tokio::select! {
        outcome = work => outcome,
        () = session::interrupted() => {
            client.close().await?;
            lines::print(&closed_line(&CloseReason::Requested))?;
            Err(Failure::Interrupted)
        }
    }
}

async fn drive(client: &Client, events: &mut bayeux::Events) -> Result<(), Failure> {
    let mut input = lines::Input::new();
    let mut running: FuturesUnordered<LocalBoxFuture<'_, Value>> = FuturesUnordered::new();
    let mut at_end = false;
    loop {
        if at_end && running.is_empty() && !client.is_closed() {
            client.close().await?;
        }
        tokio::select! {
            biased;
            Some(outcome) = running.next() => lines::print(&outcome)?,
            message = client.receive(), if !client.is_closed() || client.pending_count() > 0 => match message {
                Ok(message) => {
                    let mut line = report::message(&message);
                    line["type"] = "message".into();
                    lines::print(&line)?;
                }
                // The end is told by the event.
                Err(error) if error.is_closed() || client.is_closed() => {}
                Err(error) => lines::print(&error_line(&error, None))?,
            },
            Some(event) = events.next() => match event {
                Event::Closed(reason) => {
                    while let Some(outcome) = running.next().await {
                        lines::print(&outcome)?;
                    }
                    while client.pending_count() > 0 {
                        if let Ok(message) = client.receive().await {
                            let mut line = report::message(&message);
                            line["type"] = "message".into();
                            lines::print(&line)?;
                        }
                    }
                    lines::print(&closed_line(&reason))?;
                    return if reason == CloseReason::Requested { Ok(()) } else { Err(Failure::Told(3)) };
                }
                event => {
                    let mut line = report::event(&event);
                    line["type"] = "event".into();
                    lines::print(&line)?;
                }
            },
            line = input.next(), if !at_end && running.len() < AT_ONCE => match line? {
                None => at_end = true,
                Some(line) => match understand(&line) {
                    Ok((Verb::Close, ..)) => at_end = true,
                    Ok((verb, data, tag)) => running.push(Box::pin(carry_out(client, verb, data, tag))),
                    Err(text) => lines::print(&json!({"type": "error", "kind": "command", "text": text}))?,
                },
            },
        }
    }
}

fn understand(line: &str) -> Result<(Verb, Value, Option<Value>), String> {
    const VERBS: &str = "a command is an object with one of subscribe, unsubscribe, publish, request, close";
    let value: Value =
        serde_json::from_str(line).map_err(|error| format!("this line is no JSON: {error}"))?;
    if !value.is_object() {
        return Err(VERBS.to_owned());
    }
    let line: Line = serde_json::from_value(value).map_err(|error| format!("{error}; {VERBS}"))?;
    let verbs = [
        line.subscribe.map(Verb::Subscribe),
        line.unsubscribe.map(Verb::Unsubscribe),
        line.publish.map(Verb::Publish),
        line.request.map(Verb::Request),
        line.close.filter(|close| *close).map(|_| Verb::Close),
    ];
    let mut given = verbs.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(verb), None) => Ok((verb, line.data, line.tag)),
        _ => Err(VERBS.to_owned()),
    }
}

/// Carries a command out; the line that tells its outcome.
async fn carry_out(client: &Client, verb: Verb, data: Value, tag: Option<Value>) -> Value {
    let outcome = match &verb {
        Verb::Subscribe(channel) => {
            client.subscribe(channel).await.map(|()| json!({"type": "subscribed", "channel": channel}))
        }
        Verb::Unsubscribe(channel) => {
            client.unsubscribe(channel).await.map(|()| json!({"type": "unsubscribed", "channel": channel}))
        }
        Verb::Publish(channel) => client
            .publish(channel, &data)
            .await
            .map(|reply| json!({"type": "reply", "channel": channel, "reply": report::reply(&reply)})),
        Verb::Request(channel) => client
            .request::<Value>(channel, &data)
            .await
            .map(|answer| json!({"type": "reply", "channel": channel, "data": answer})),
        Verb::Close => Ok(Value::Null),
    };
    match outcome {
        Err(error) => error_line(&error, tag),
        Ok(mut line) => {
            if let Some(tag) = tag {
                line["tag"] = tag;
            }
            line
        }
    }
}

fn error_line(error: &Error, tag: Option<Value>) -> Value {
    let mut line = Map::from_iter([("type".to_owned(), Value::from("error"))]);
    line.extend(report::error(error));
    if let Some(tag) = tag {
        line.insert("tag".into(), tag);
    }
    Value::Object(line)
}

fn closed_line(reason: &CloseReason) -> Value {
    json!({"type": "closed", "reason": report::close_reason(reason), "text": reason.to_string()})
}
