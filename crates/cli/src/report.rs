//! Messages, events and errors as JSON, in a form that scripts can rely on.

use bayeux::{CloseReason, Data, Error, ErrorKind, Event, LostCause, Message};
use serde_json::{Map, Value, json};

/// `{"channel": …, "data": …}`
pub(crate) fn message(message: &Message) -> Value {
    json!({"channel": message.channel().as_str(), "data": data(message.data())})
}

/// A payload; one that is nested deeper than this program follows is given as text.
pub(crate) fn data(data: &Data) -> Value {
    data.decode().unwrap_or_else(|_| Value::from(data.as_str()))
}

/// The server's reply, without the id of the session.
pub(crate) fn reply(reply: &Message) -> Value {
    let fields = reply.fields();
    let mut object = Map::new();
    object.insert("channel".into(), reply.channel().as_str().into());
    if let Some(id) = reply.id() {
        object.insert("id".into(), id.to_string().into());
    }
    object.insert("successful".into(), fields.successful.unwrap_or(false).into());
    if let Some(error) = &fields.error {
        object.insert("error".into(), error.as_str().into());
    }
    if reply.has_data() {
        object.insert("data".into(), data(reply.data()));
    }
    if let Some(ext) = reply.ext() {
        object.insert("ext".into(), data(ext));
    }
    for (name, value) in &fields.unknown {
        object.insert(name.clone(), data(value));
    }
    Value::Object(object)
}

/// `{"kind": …, "text": …, "code": …}`
pub(crate) fn error(error: &Error) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("kind".into(), kind(error.kind()).into());
    object.insert("text".into(), error.to_string().into());
    if let Some(code) = error.code() {
        object.insert("code".into(), code.into());
    }
    if error.is_fate_unknown() {
        object.insert("fate_unknown".into(), true.into());
    }
    object.insert("retryable".into(), error.is_retryable().into());
    object
}

fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Config => "config",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Transport => "transport",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Server => "server",
        ErrorKind::Closed => "closed",
        ErrorKind::Decode => "decode",
        ErrorKind::Auth => "auth",
        ErrorKind::Refused => "refused",
        ErrorKind::Busy => "busy",
        _ => "other",
    }
}

/// `{"event": …}` and what belongs to it.
pub(crate) fn event(event: &Event) -> Value {
    match event {
        Event::Connected { transport } => json!({"event": "connected", "transport": transport.as_str()}),
        Event::Lost { cause } => json!({"event": "lost", "cause": cause.to_string()}),
        Event::Retrying { delay, failures, cause } => json!({
            "event": "retrying", "in_ms": delay.as_millis() as u64, "failures": failures, "cause": cause.to_string(),
        }),
        Event::Rehandshaken => json!({"event": "rehandshaken"}),
        Event::Resubscribed { channel, outcome } => match outcome {
            Ok(()) => json!({"event": "resubscribed", "channel": channel.as_str(), "successful": true}),
            Err(error) => json!({
                "event": "resubscribed", "channel": channel.as_str(), "successful": false, "error": error.to_string(),
            }),
        },
        Event::GapPossible { channels } => {
            let channels: Vec<_> = channels.iter().map(|channel| channel.as_str()).collect();
            json!({"event": "gap_possible", "channels": channels})
        }
        Event::TransportChanged { from, to, cause } => json!({
            "event": "transport_changed", "from": from.as_str(), "to": to.as_str(),
            "cause": cause.as_ref().map(ToString::to_string),
        }),
        Event::AdviceChanged(known) => json!({"event": "advice_changed", "advice": advice(known)}),
        Event::Ignored { what } => json!({"event": "ignored", "what": what}),
        Event::SlowConsumer { channel, dropped } => json!({
            "event": "slow_consumer", "channel": channel.as_ref().map(|channel| channel.as_str()), "dropped": dropped,
        }),
        Event::EventsMissed(missed) => json!({"event": "events_missed", "count": missed}),
        Event::Closed(reason) => {
            json!({"event": "closed", "reason": close_reason(reason), "text": reason.to_string()})
        }
        other => json!({"event": "other", "text": format!("{other:?}")}),
    }
}

/// Times in milliseconds, as on the wire.
pub(crate) fn advice(advice: &bayeux::Advice) -> Value {
    let millis = |time: std::time::Duration| time.as_millis() as u64;
    let interval = advice.interval.map(|interval| match interval {
        bayeux::Interval::Wait(time) => json!(millis(time)),
        bayeux::Interval::Never => json!(-1),
    });
    json!({
        "reconnect": advice.reconnect.map(bayeux::Reconnect::as_str),
        "interval": interval,
        "timeout": advice.timeout.map(millis),
        "maxInterval": advice.max_interval.map(millis),
    })
}

/// A word for why a session ended.
pub(crate) fn close_reason(reason: &CloseReason) -> &'static str {
    match reason {
        CloseReason::Requested => "requested",
        CloseReason::Server(_) => "server",
        CloseReason::NoTransport { .. } => "no_transport",
        CloseReason::Failed(_) => "failed",
        CloseReason::OpenTimeout { .. } => "timeout",
        CloseReason::NoCredentials(_) => "no_credentials",
        _ => "not_open",
    }
}

/// One line for people: what happened to the connection, if they need to know.
pub(crate) fn sentence(event: &Event) -> Option<String> {
    Some(match event {
        Event::Lost { cause } => format!("connection lost: {}", short(cause)),
        Event::Retrying { delay, .. } => format!("trying again in {:.1} s", delay.as_secs_f64()),
        Event::Rehandshaken => {
            "the server has given us a new session; messages may have been missed".to_owned()
        }
        Event::Resubscribed { channel, outcome: Err(error) } => {
            format!("{channel} could not be restored: {error}")
        }
        Event::SlowConsumer { dropped, .. } => {
            format!("{dropped} messages were dropped: the output is too slow")
        }
        _ => return None,
    })
}

fn short(cause: &LostCause) -> String {
    cause.to_string()
}
