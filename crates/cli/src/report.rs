//! Messages, events and errors as JSON objects, in a form that programs can rely on. `docs/pipe.md` describes it.

use std::time::Duration;

use bayeux::{CloseReason, Error, ErrorKind, Event, Failure, FailureKind, LostCause, Message};
use serde_json::json;

use crate::json::Object;

/// `{"channel": …, "data": …}`
pub(crate) fn message(message: &Message) -> Object {
    Object::new().with("channel", message.channel().as_str()).with_data("data", message.data())
}

/// The server's reply, without the id of the session.
pub(crate) fn reply(reply: &Message) -> Object {
    let fields = reply.fields();
    let mut object = Object::new()
        .with("channel", reply.channel().as_str())
        .with_some("id", reply.id().map(ToString::to_string))
        .with("successful", fields.successful.unwrap_or(false))
        .with_some("error", fields.error.as_ref().map(|error| error.as_str()));
    if reply.has_data() {
        object = object.with_data("data", reply.data());
    }
    if let Some(ext) = reply.ext() {
        object = object.with_data("ext", ext);
    }
    fields.unknown.iter().fold(object, |object, (name, value)| object.with_data(name, value))
}

/// `{"kind": …, "text": …}`, and `code`, `failure`, `http_status`, `fate_unknown` where they apply.
pub(crate) fn error(error: &Error) -> Object {
    Object::new()
        .with("kind", kind(error.kind()))
        .with("text", error.to_string())
        .with_some("code", error.code())
        .with_some("failure", error.failure().map(failure))
        .with_some("http_status", error.http_status())
        .with_some("fate_unknown", error.is_fate_unknown().then_some(true))
        .with("retryable", error.is_retryable())
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

/// A word for what happened to the connection.
fn failure(failure: &Failure) -> &'static str {
    match failure.kind() {
        FailureKind::UnknownHost => "unknown_host",
        FailureKind::Unreachable => "unreachable",
        FailureKind::Tls => "tls",
        FailureKind::Proxy => "proxy",
        FailureKind::UpgradeRefused { .. } => "upgrade_refused",
        FailureKind::Http { .. } => "http",
        FailureKind::TooLarge => "too_large",
        FailureKind::Malformed => "malformed",
        FailureKind::Timeout => "timeout",
        FailureKind::Closed { .. } => "closed",
        FailureKind::Lost => "lost",
        _ => "other",
    }
}

fn cause(cause: &LostCause) -> &'static str {
    match cause {
        LostCause::Transport(failed) => failure(failed),
        LostCause::Refused(_) => "refused",
        LostCause::SessionLost(_) => "session_lost",
        _ => "other",
    }
}

/// `{"event": …}` and what belongs to it.
pub(crate) fn event(event: &Event) -> Object {
    let named = |name: &str| Object::new().with("event", name);
    match event {
        Event::Connected { transport } => named("connected").with("transport", transport.as_str()),
        Event::Lost { cause: why } => named("lost").with("cause", cause(why)).with("text", why.to_string()),
        Event::Retrying { delay, failures, cause: why } => named("retrying")
            .with("in_ms", millis(*delay))
            .with("failures", failures)
            .with("cause", cause(why))
            .with("text", why.to_string()),
        Event::Rehandshaken => named("rehandshaken"),
        Event::Resubscribed { channel, outcome } => named("resubscribed")
            .with("channel", channel.as_str())
            .with("successful", outcome.is_ok())
            .with_some("text", outcome.as_ref().err().map(ToString::to_string)),
        Event::GapPossible { channels } => {
            let channels: Vec<_> = channels.iter().map(|channel| channel.as_str()).collect();
            named("gap_possible").with("channels", channels)
        }
        Event::TransportChanged { from, to, cause } => named("transport_changed")
            .with("from", from.as_str())
            .with("to", to.as_str())
            .with_some("cause", cause.as_ref().map(failure))
            .with_some("text", cause.as_ref().map(ToString::to_string)),
        Event::AdviceChanged(known) => named("advice_changed").with_object("advice", &advice(known)),
        Event::Ignored { what } => named("ignored").with("text", what),
        Event::SlowConsumer { dropped, .. } => named("slow_consumer").with("dropped", dropped),
        Event::EventsMissed(missed) => named("events_missed").with("count", missed),
        Event::Closed(reason) => {
            named("closed").with("reason", close_reason(reason)).with("text", reason.to_string())
        }
        other => named("other").with("text", format!("{other:?}")),
    }
}

/// Times in milliseconds, as on the wire; only what the server gave.
pub(crate) fn advice(advice: &bayeux::Advice) -> Object {
    let interval = advice.interval.map(|interval| match interval {
        bayeux::Interval::Wait(time) => json!(millis(time)),
        bayeux::Interval::Never => json!(-1),
    });
    Object::new()
        .with_some("reconnect", advice.reconnect.map(bayeux::Reconnect::as_str))
        .with_some("interval", interval)
        .with_some("timeout", advice.timeout.map(millis))
        .with_some("maxInterval", advice.max_interval.map(millis))
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// A word for why a session ended.
pub(crate) fn close_reason(reason: &CloseReason) -> &'static str {
    match reason {
        CloseReason::NotOpen => "not_open",
        CloseReason::Requested => "requested",
        CloseReason::Suspended => "suspended",
        CloseReason::Server(_) => "server",
        CloseReason::NoTransport { .. } => "no_transport",
        CloseReason::Failed(_) => "failed",
        CloseReason::GaveUp { .. } => "gave_up",
        CloseReason::OpenTimeout { .. } => "open_timeout",
        CloseReason::NoCredentials(_) => "no_credentials",
        _ => "other",
    }
}
