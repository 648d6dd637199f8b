//! `bayeux pipe`: a session that a program drives with JSON lines. `docs/pipe.md` describes them.

use std::time::Duration;

use bayeux::{Client, CloseReason, Error, Event};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;

use crate::args::Pipe;
use crate::command::{self, Command, Misunderstood, Verb};
use crate::failure::{self, Failure};
use crate::input::{self, Line};
use crate::interrupt::interrupted;
use crate::json::Object;
use crate::{output, report, session};

/// How many commands are carried out at once; the next line is read when one is done.
const AT_ONCE: usize = 1024;

type Running<'a> = LocalBoxFuture<'a, (Option<String>, Object)>;

pub(crate) async fn run(options: Pipe) -> Result<(), Failure> {
    let client = session::client(&options.url, &options.connection)?;
    if options.connection.events {
        session::print_events(&client);
    }
    let outcome = drive(&client).await;
    if outcome.is_err() {
        // Whoever read the output has gone, say: the server need not wait for us.
        session::close(&client).await?;
    }
    outcome
}

/// From opening to the line that tells of the end.
async fn drive(client: &Client) -> Result<(), Failure> {
    let mut events = client.events();
    let mut opening = Box::pin(client.open());
    let mut open = false;
    // Events of the opening are told after it, in whichever order they and its outcome are seen.
    let mut early = Vec::new();
    let mut end = None;
    let mut interruption = Box::pin(interrupted());
    let mut signal = None;
    let mut lines = input::stdin();
    let mut running: FuturesUnordered<Running<'_>> = FuturesUnordered::new();
    let mut held = None;
    let mut subscribing: Vec<String> = Vec::new();
    let mut at_end = false;
    let mut closing: Option<LocalBoxFuture<'_, Result<(), Error>>> = None;
    loop {
        // One after the other for the same channel: an unsubscription would cut short what it is to undo.
        if held.as_ref().is_some_and(|command: &Command| !command.channel_is_in(&subscribing))
            && let Some(command) = held.take()
        {
            subscribing.extend(command.subscription().map(str::to_owned));
            running.push(Box::pin(carry_out(client, command)));
        }
        if at_end && held.is_none() && running.is_empty() && closing.is_none() {
            closing = Some(Box::pin(client.close()));
        }
        tokio::select! {
            biased;
            opened = &mut opening, if !open => {
                open = true;
                if opened.is_ok() {
                    let transport = client.connection_type().map(|transport| transport.as_str());
                    output::print(typed("opened").with("transport", transport))?;
                }
                for event in early.drain(..) {
                    output::print(event_line(&event))?;
                }
                if let Err(error) = opened {
                    return Err(not_opened(&error, end, &mut events).await?);
                }
            }
            // Events before what follows from them.
            Some(event) = events.next() => match event {
                Event::Closed(reason) if open => {
                    while let Some((_, outcome)) = running.next().await {
                        output::print(outcome)?;
                    }
                    while client.pending_count() > 0 {
                        if let Ok(message) = client.receive().await {
                            output::print(typed("message").followed_by(&report::message(&message)))?;
                        }
                    }
                    output::print(closed(&reason))?;
                    return match (signal, failure::close_code(&reason)) {
                        (Some(code), _) => Err(Failure::Interrupted(code)),
                        (None, 0) => Ok(()),
                        (None, code) => Err(Failure::Told(code)),
                    };
                }
                Event::Closed(reason) => end = Some(reason),
                event if !open => early.push(event),
                event => output::print(event_line(&event))?,
            },
            Some((channel, outcome)) = running.next() => {
                if let Some(at) = subscribing.iter().position(|busy| Some(busy) == channel.as_ref()) {
                    subscribing.swap_remove(at);
                }
                output::print(outcome)?;
            }
            message = client.receive(), if open && !client.is_closed() => match message {
                Ok(message) => output::print(typed("message").followed_by(&report::message(&message)))?,
                // The end is told by the event.
                Err(_) if client.is_closed() => {}
                Err(error) => output::print(typed("error").followed_by(&report::error(&error)))?,
            },
            code = &mut interruption => {
                if signal.replace(code).is_some() {
                    return Err(Failure::Interrupted(code));
                }
                interruption = Box::pin(interrupted());
                if !open {
                    output::print(closed(&CloseReason::Requested))?;
                    return Err(Failure::Interrupted(code));
                }
                closing = Some(Box::pin(client.close()));
            }
            // The end is told by the event.
            _ = async { match &mut closing { Some(closing) => closing.await, None => std::future::pending().await } },
                if !client.is_closed() => {}
            line = lines.next(), if open && !at_end && signal.is_none() && held.is_none() && running.len() < AT_ONCE => match line? {
                None => at_end = true,
                Some(line) => match understand(line) {
                    Ok(Command { verb: Verb::Close, .. }) => at_end = true,
                    Ok(command) => held = Some(command),
                    Err(wrong) => output::print(misunderstood(&wrong))?,
                },
            },
        }
    }
}

/// Tells why there is no session: the error of opening, and the end, which comes at about the same time.
async fn not_opened(
    error: &Error,
    end: Option<CloseReason>,
    events: &mut bayeux::Events,
) -> Result<Failure, Failure> {
    const SOON: Duration = Duration::from_secs(1);
    output::print(typed("error").followed_by(&report::error(error)))?;
    let ended = async {
        loop {
            match events.next().await {
                Some(Event::Closed(reason)) => return Some(reason),
                Some(_) => {}
                None => return None,
            }
        }
    };
    let end = match end {
        Some(reason) => Some(reason),
        None => tokio::time::timeout(SOON, ended).await.ok().flatten(),
    };
    if let Some(reason) = end {
        output::print(closed(&reason))?;
    }
    if let Some(hint) = failure::hint(error) {
        output::hint(&hint);
    }
    Ok(Failure::Told(failure::code(error)))
}

fn understand(line: Line) -> Result<Command, Misunderstood> {
    let number = line.number;
    let understood = match line.text {
        Ok(text) => command::parse(&text),
        Err(text) => Err(Misunderstood { text: format!("it {text}"), tag: None }),
    };
    understood.map_err(|wrong| Misunderstood { text: format!("line {number}: {}", wrong.text), ..wrong })
}

/// Carries a command out: its channel if it is about a subscription, and the line that tells its outcome.
async fn carry_out(client: &Client, command: Command) -> (Option<String>, Object) {
    let subscription = command.subscription().map(str::to_owned);
    let Command { verb, data, tag } = command;
    let outcome = match &verb {
        Verb::Subscribe(channel) => {
            client.subscribe(channel).await.map(|()| typed("subscribed").with("channel", channel))
        }
        Verb::Unsubscribe(channel) => {
            client.unsubscribe(channel).await.map(|()| typed("unsubscribed").with("channel", channel))
        }
        Verb::Publish(channel) => client.publish(channel, &data).await.map(|reply| {
            typed("reply").with("channel", channel).with_object("reply", &report::reply(&reply))
        }),
        Verb::Request(channel) => client
            .request::<Box<RawValue>>(channel, &data)
            .await
            .map(|answer| typed("reply").with("channel", channel).with_raw("data", Some(&answer))),
        Verb::Close => Ok(typed("closed")),
    };
    let line = outcome.unwrap_or_else(|error| typed("error").followed_by(&report::error(&error)));
    (subscription, line.with_raw("tag", tag.as_deref()))
}

fn typed(name: &str) -> Object {
    Object::new().with("type", name)
}

fn event_line(event: &Event) -> Object {
    typed("event").followed_by(&report::event(event))
}

fn misunderstood(wrong: &Misunderstood) -> Object {
    typed("error").with("kind", "command").with("text", &wrong.text).with_raw("tag", wrong.tag.as_deref())
}

fn closed(reason: &CloseReason) -> Object {
    typed("closed").with("reason", report::close_reason(reason)).with("text", reason.to_string())
}
