//! `bayeux inspect`

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use bayeux::{Client, Error, Message, Transport};
use serde_json::{Value, json};

use crate::args::{Connection, Inspect};
use crate::failure::Failure;
use crate::interrupt::interrupted;
use crate::json::{Object, one_line};
use crate::target::Target;
use crate::{failure, harmless, output, report, session};

/// The result for one transport.
struct Finding {
    transport: Transport,
    outcome: Result<Reached, Error>,
}

struct Reached {
    opened_in: Duration,
    round_trip: Option<Duration>,
    handshake: Option<std::sync::Arc<Message>>,
}

pub(crate) async fn run(options: Inspect) -> Result<(), Failure> {
    let target = Target::new(options.url.clone(), &options.connection)?;
    let mut transports = target.access.transport.clone();
    if transports.is_empty() {
        transports = vec![Transport::WebSocket, Transport::LongPolling];
    }
    if options.connection.verbose {
        session::log("bayeux::wire=trace,bayeux=debug");
    }
    let mut findings = Vec::new();
    for transport in transports {
        let outcome = tokio::select! {
            outcome = reach(&target, &options.connection, transport) => outcome,
            code = interrupted() => return Err(Failure::Interrupted(code)),
        };
        let outcome = match outcome {
            Ok(reached) => Ok(reached),
            // An invalid option fails with every transport.
            Err(Failure::Client(error)) if failure::code(&error) == 2 => return Err(error.into()),
            Err(Failure::Client(error)) => Err(error),
            Err(other) => return Err(other),
        };
        findings.push(Finding { transport, outcome });
    }
    if options.json {
        output::print_json(as_json(&target, &options.connection, &findings)?)?;
    } else {
        as_text(&findings)?;
    }
    let worked = findings.iter().any(|finding| finding.outcome.is_ok());
    match findings.into_iter().rev().find_map(|finding| finding.outcome.err()) {
        Some(error) if !worked => {
            // The errors have been printed above.
            if let Some(hint) = failure::hint(&error) {
                output::hint(&hint);
            }
            Err(Failure::Reported(failure::code(&error)))
        }
        _ => Ok(()),
    }
}

async fn reach(target: &Target, connection: &Connection, transport: Transport) -> Result<Reached, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let mut target = target.clone();
    target.access.transport = vec![transport];
    // A server mentions an extension in its reply only if the client asks for it.
    let client = session::builder(&target, connection)?
        .handshake_ext("ack", true)
        .handshake_ext("timesync", json!({"tc": now, "l": 0, "o": 0}))
        .build()?;
    if connection.events {
        session::print_events(&client);
    }
    let start = Instant::now();
    client.open().await?;
    let opened_in = start.elapsed();
    let round_trip = round_trip(&client).await;
    let handshake = client.handshake_reply();
    client.close().await?;
    Ok(Reached { opened_in, round_trip, handshake })
}

/// The shortest of five round trips. A refusal counts as well: it takes as long.
async fn round_trip(client: &Client) -> Option<Duration> {
    let mut best = None;
    for _ in 0..5 {
        let start = Instant::now();
        match client.publish("/service/bayeux-inspect", &Value::Null).await {
            Err(error) if !error.is_server() => return best,
            _ => best = Some(best.map_or(start.elapsed(), |best: Duration| best.min(start.elapsed()))),
        }
    }
    best
}

/// The contents of the handshake reply, as name and JSON.
fn facts(reply: &Message) -> Vec<(String, String)> {
    let fields = reply.fields();
    let mut facts = Vec::new();
    let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
    add("version", json!(fields.version).to_string());
    add("transports", json!(fields.supported_connection_types).to_string());
    add(
        "advice",
        fields.advice.as_ref().map_or("null".to_owned(), |advice| report::advice(advice).to_string()),
    );
    add("extensions", reply.ext().map_or("null".to_owned(), |ext| one_line(ext.as_str())));
    for (name, value) in &fields.unknown {
        add(name, one_line(value.as_str()));
    }
    facts
}

fn as_json(target: &Target, connection: &Connection, findings: &[Finding]) -> Result<Object, Failure> {
    let millis = |time: Duration| (time.as_secs_f64() * 100_000.0).round() / 100.0;
    let transports: Vec<_> = findings
        .iter()
        .map(|finding| {
            let object = Object::new().with("transport", finding.transport.as_str());
            match &finding.outcome {
                Err(error) => object.with("works", false).with_object("error", &report::error(error)),
                Ok(reached) => object
                    .with("works", true)
                    .with("opened_in_ms", millis(reached.opened_in))
                    .with("round_trip_ms", reached.round_trip.map(millis))
                    .with_object("server", &server(reached)),
            }
        })
        .collect();
    let client = session::client(target, connection)?;
    Ok(Object::new().with("url", session::shown_url(&client)).with_objects("transports", &transports))
}

fn server(reached: &Reached) -> Object {
    let facts = reached.handshake.as_deref().map(facts).unwrap_or_default();
    facts.iter().fold(Object::new(), |object, (name, value)| object.with_json(name, value))
}

fn as_text(findings: &[Finding]) -> std::io::Result<()> {
    const GOOD: Style = AnsiColor::Green.on_default();
    const BAD: Style = AnsiColor::Red.on_default();
    for finding in findings {
        let name = finding.transport.as_str();
        match &finding.outcome {
            Ok(reached) => {
                let trip =
                    reached.round_trip.map_or(String::new(), |trip| format!(", round trip {trip:.1?}"));
                output::print(format_args!(
                    "{GOOD}{name:<13}{GOOD:#} works: opened in {:.1?}{trip}",
                    reached.opened_in
                ))?;
            }
            Err(error) => output::print(format_args!(
                "{BAD}{name:<13}{BAD:#} fails: {}",
                harmless::text(&error.to_string())
            ))?,
        }
    }
    let reply = findings.iter().find_map(|finding| finding.outcome.as_ref().ok()?.handshake.clone());
    for (name, value) in reply.as_deref().map(facts).unwrap_or_default() {
        output::print(format_args!("{:<13} {}", harmless::text(&name), harmless::text(&shown(&value))))?;
    }
    Ok(())
}

/// A JSON value in a form for people.
fn shown(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(Value::Null) => "none".to_owned(),
        Ok(Value::String(text)) => text,
        Ok(Value::Array(items)) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            items.join(", ")
        }
        Ok(Value::Object(fields)) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| match value {
                    Value::String(text) => format!("{name} {text}"),
                    other => format!("{name} {other}"),
                })
                .collect();
            fields.join(", ")
        }
        _ => json.to_owned(),
    }
}
