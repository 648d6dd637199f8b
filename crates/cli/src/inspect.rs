//! `bayeux inspect`

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use bayeux::{Client, ConnectionType, Message};
use serde_json::{Map, Value, json};

use crate::args::Inspect;
use crate::failure::Failure;
use crate::{lines, report, session};

/// What one transport gave.
struct Finding {
    transport: ConnectionType,
    outcome: Result<Reached, String>,
}

struct Reached {
    opened_in: Duration,
    round_trip: Option<Duration>,
    handshake: Option<std::sync::Arc<Message>>,
}

pub(crate) async fn run(options: Inspect) -> Result<(), Failure> {
    let mut transports = options.connection.transport.clone();
    if transports.is_empty() {
        transports = vec![ConnectionType::WebSocket, ConnectionType::LongPolling];
    }
    let mut findings = Vec::new();
    let mut last = None;
    for transport in transports {
        let outcome = match reach(&options, transport).await {
            Ok(reached) => Ok(reached),
            Err(Failure::Client(error)) => {
                let text = error.to_string();
                last = Some(error);
                Err(text)
            }
            Err(other) => return Err(other),
        };
        findings.push(Finding { transport, outcome });
    }
    if let (Some(error), true) = (last, findings.iter().all(|finding| finding.outcome.is_err())) {
        return Err(error.into());
    }
    if options.json { Ok(lines::print(&as_json(&options.url, &findings))?) } else { Ok(as_text(&findings)?) }
}

async fn reach(options: &Inspect, transport: ConnectionType) -> Result<Reached, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let mut connection = options.connection.clone();
    connection.transport = vec![transport];
    if connection.verbose {
        session::log("bayeux::wire=trace,bayeux=debug");
    }
    // Extensions answer only when they are spoken to.
    let client = session::builder(&options.url, &connection)?
        .handshake_ext("ack", true)
        .handshake_ext("timesync", json!({"tc": now, "l": 0, "o": 0}))
        .build()?;
    let start = Instant::now();
    client.open().await?;
    let opened_in = start.elapsed();
    let round_trip = round_trip(&client).await;
    let handshake = client.handshake();
    client.close().await?;
    Ok(Reached { opened_in, round_trip, handshake })
}

/// The shortest of a few round trips; a refusal takes as long as a reply.
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

fn facts(reply: &Message) -> Map<String, Value> {
    let fields = reply.fields();
    let mut facts = Map::new();
    facts.insert("version".into(), json!(fields.version));
    facts.insert("transports".into(), json!(fields.supported_connection_types));
    facts.insert("advice".into(), fields.advice.as_ref().map_or(Value::Null, report::advice));
    facts.insert("extensions".into(), reply.ext().map_or(Value::Null, report::data));
    for (name, value) in &fields.unknown {
        facts.insert(name.clone(), report::data(value));
    }
    facts
}

fn as_json(url: &str, findings: &[Finding]) -> Value {
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let transports: Vec<_> = findings
        .iter()
        .map(|finding| match &finding.outcome {
            Err(error) => json!({"transport": finding.transport.as_str(), "error": error}),
            Ok(reached) => json!({
                "transport": finding.transport.as_str(),
                "opened_in_ms": millis(reached.opened_in),
                "round_trip_ms": reached.round_trip.map(millis),
                "server": reached.handshake.as_deref().map(facts),
            }),
        })
        .collect();
    // The URL may hold a password; its place is known without it.
    json!({"host": url.rsplit('@').next().unwrap_or(url), "transports": transports})
}

fn as_text(findings: &[Finding]) -> std::io::Result<()> {
    use std::io::Write;
    const GOOD: Style = AnsiColor::Green.on_default();
    const BAD: Style = AnsiColor::Red.on_default();
    let mut out = anstream::stdout().lock();
    for finding in findings {
        let name = finding.transport.as_str();
        match &finding.outcome {
            Ok(reached) => {
                let trip =
                    reached.round_trip.map_or(String::new(), |trip| format!(", round trip {trip:.1?}"));
                writeln!(out, "{GOOD}{name:<13}{GOOD:#} works: opened in {:.1?}{trip}", reached.opened_in)?;
            }
            Err(error) => writeln!(out, "{BAD}{name:<13}{BAD:#} fails: {error}")?,
        }
    }
    let reply = findings.iter().find_map(|finding| finding.outcome.as_ref().ok()?.handshake.clone());
    for (name, value) in reply.as_deref().map(facts).unwrap_or_default() {
        let shown = match &value {
            Value::Null => "none".to_owned(),
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(", ")
            }
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        writeln!(out, "{name:<13} {shown}")?;
    }
    Ok(())
}
