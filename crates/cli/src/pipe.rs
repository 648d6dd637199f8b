//! `bayeux pipe`: a session that another program controls with JSON lines. `docs/pipe.md` describes the format.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bayeux::{Client, CloseReason, Error, Event, Events};
use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};

use crate::args::Pipe;
use crate::command::{self, Asked, Misunderstood};
use crate::failure::{self, Failure};
use crate::input::{self, Line};
use crate::interrupt::Interruptions;
use crate::target::Target;
use crate::under_way::UnderWay;
use crate::{line, output, session};

pub(crate) async fn run(options: Pipe) -> Result<(), Failure> {
    let target = Target::new(options.url, &options.connection)?;
    let client = session::client(&target, &options.connection)?;
    if options.connection.events {
        session::print_events(&client);
    }
    let mut events = client.events();
    let mut interruptions = Interruptions::new();
    let outcome = tokio::select! {
        outcome = async {
            open(&client, &mut events, &mut interruptions).await?;
            drive(&client, &mut events, &mut interruptions).await
        } => outcome,
        () = output::reader_closed() => Err(Failure::ClosedPipe),
    };
    if outcome.is_err() {
        // Otherwise the server would keep the session until it expires.
        session::close(&client).await?;
    }
    outcome
}

/// Opens the client, prints the outcome, and then the events that were emitted meanwhile.
async fn open(
    client: &Client,
    events: &mut Events,
    interruptions: &mut Interruptions,
) -> Result<(), Failure> {
    // With `--wait`, there may be many events: only the latest are kept.
    const KEPT: usize = 256;
    let mut early = VecDeque::new();
    let mut missed = 0;
    let mut opening = Box::pin(client.open());
    let opened = loop {
        tokio::select! {
            biased;
            opened = &mut opening => break opened,
            Some(event) = events.next() => {
                if early.len() == KEPT {
                    early.pop_front();
                    missed += 1;
                }
                early.push_back(event);
            }
            code = interruptions.next() => {
                output::print_json(line::closed(&CloseReason::Requested))?;
                return Err(Failure::Interrupted(code));
            }
        }
    };
    if opened.is_ok() {
        let transport = client.transport().map(|transport| transport.as_str());
        output::print_json(line::typed("opened").with("transport", transport))?;
    }
    if missed > 0 {
        output::print_json(line::event(&Event::EventsMissed(missed)))?;
    }
    let mut end = None;
    for event in early {
        match event {
            Event::Closed(reason) => end = Some(reason),
            event => output::print_json(line::event(&event))?,
        }
    }
    match opened {
        Ok(()) => Ok(()),
        Err(error) => Err(not_opened(&error, end, events).await?),
    }
}

/// Prints why there is no session: the error of opening, and the `closed` event, which is emitted at about the same time.
async fn not_opened(
    error: &Error,
    end: Option<CloseReason>,
    events: &mut Events,
) -> Result<Failure, Failure> {
    const SOON: Duration = Duration::from_secs(1);
    output::print_json(line::error(error))?;
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
        output::print_json(line::closed(&reason))?;
    }
    if let Some(hint) = failure::hint(error) {
        output::hint(&hint);
    }
    Ok(Failure::Reported(failure::code(error)))
}

/// Carries out commands and prints what arrives, until the `closed` line.
async fn drive(
    client: &Client,
    events: &mut Events,
    interruptions: &mut Interruptions,
) -> Result<(), Failure> {
    let mut lines = input::stdin();
    let mut under_way = UnderWay::new(client);
    let mut signal = None;
    let mut at_end = false;
    let mut closing = std::pin::pin!(Fuse::terminated());
    let mut close_asked = false;
    loop {
        if !close_asked && (signal.is_some() || at_end && under_way.is_empty()) {
            close_asked = true;
            closing.set(client.close().fuse());
        }
        tokio::select! {
            // Events come first, before what follows from them. Messages come last, so that many of them do not delay
            // commands and signals.
            biased;
            Some(event) = events.next() => match event {
                Event::Closed(reason) => {
                    print_the_rest(client, &mut under_way).await?;
                    output::print_json(line::closed(&reason))?;
                    return match (signal, failure::close_code(&reason)) {
                        (Some(code), _) => Err(Failure::Interrupted(code)),
                        (None, 0) => Ok(()),
                        (None, code) => Err(Failure::Reported(code)),
                    };
                }
                event => output::print_json(line::event(&event))?,
            },
            code = interruptions.next() => if signal.replace(code).is_some() {
                return Err(Failure::Interrupted(code));
            },
            // The `closed` event follows.
            _ = &mut closing, if !closing.is_terminated() => {}
            Some(outcome) = under_way.next() => output::print_json(outcome)?,
            line = lines.next(), if !at_end && signal.is_none() && under_way.has_capacity() => match line? {
                None => at_end = true,
                Some(line) => match understand(line) {
                    Ok(Asked::Close) => at_end = true,
                    Ok(Asked::Command(command)) => under_way.begin(command),
                    Err(wrong) => output::print_json(line::misunderstood(&wrong))?,
                },
            },
            message = client.receive(), if !client.is_closed() => match message {
                Ok(message) => output::print_json(line::message(&message))?,
                // The `closed` event follows.
                Err(_) if client.is_closed() => {}
                Err(error) => output::print_json(line::error(&error))?,
            },
        }
    }
}

/// Prints outcomes and messages that arrived before the end.
async fn print_the_rest(client: &Client, under_way: &mut UnderWay<'_>) -> io::Result<()> {
    while let Some(outcome) = under_way.next().await {
        output::print_json(outcome)?;
    }
    while client.pending_count() > 0 {
        if let Ok(message) = client.receive().await {
            output::print_json(line::message(&message))?;
        }
    }
    Ok(())
}

fn understand(line: Line) -> Result<Asked, Misunderstood> {
    let number = line.number;
    let understood = match line.text {
        Ok(text) => command::parse(&text),
        Err(text) => Err(Misunderstood { text: format!("it {text}"), tag: None }),
    };
    understood.map_err(|wrong| Misunderstood { text: format!("line {number}: {}", wrong.text), ..wrong })
}
