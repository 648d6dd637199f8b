//! Messages, events and errors as JSON objects, in the stable format of `docs/pipe.md`.

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
        ErrorKind::Vetoed => "vetoed",
        ErrorKind::Overflow => "overflow",
        ErrorKind::Busy => "busy",
        _ => "other",
    }
}

/// A word for the kind of failure.
fn failure(failure: &Failure) -> &'static str {
    match failure.kind() {
        FailureKind::UnknownHost => "unknown_host",
        FailureKind::Unreachable => "unreachable",
        FailureKind::Tls => "tls",
        FailureKind::Proxy => "proxy",
        FailureKind::LocalLimit => "local_limit",
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

/// `{"event": …}` and the fields of the event.
pub(crate) fn event(event: &Event) -> Object {
    let named = |name: &str| Object::new().with("event", name);
    match event {
        Event::Connected { transport, .. } => named("connected").with("transport", transport.as_str()),
        Event::Lost { cause: why, .. } => {
            named("lost").with("cause", cause(why)).with("text", why.to_string())
        }
        Event::Retrying { delay, failures, cause: why, .. } => named("retrying")
            .with("in_ms", millis(*delay))
            .with("failures", failures)
            .with("cause", cause(why))
            .with("text", why.to_string()),
        Event::RequestFailed { channel, failure: why, messages, repeated, delay, .. } => {
            named("request_failed")
                .with("channel", channel.as_str())
                .with("cause", failure(why))
                .with("text", why.to_string())
                .with("messages", messages)
                .with("repeated", repeated)
                .with("in_ms", millis(*delay))
        }
        Event::Rehandshaken => named("rehandshaken"),
        Event::Resubscribed { channel, outcome, .. } => named("resubscribed")
            .with("channel", channel.as_str())
            .with("successful", outcome.is_ok())
            .with_some("text", outcome.as_ref().err().map(ToString::to_string)),
        Event::GapPossible { channels, .. } => {
            let channels: Vec<_> = channels.iter().map(|channel| channel.as_str()).collect();
            named("gap_possible").with("channels", channels)
        }
        Event::ReplayUnavailable { channel, after, fallback } => named("replay_unavailable")
            .with("channel", channel.as_str())
            .with_some("after", *after)
            .with("fallback", format!("{fallback:?}").to_lowercase()),
        Event::TransportChanged { from, to, cause, .. } => named("transport_changed")
            .with("from", from.as_str())
            .with("to", to.as_str())
            .with_some("cause", cause.as_ref().map(failure))
            .with_some("text", cause.as_ref().map(ToString::to_string)),
        Event::ServerChanged { from, to, cause, .. } => named("server_changed")
            .with("from", from)
            .with("to", to)
            .with("cause", failure(cause))
            .with("text", cause.to_string()),
        Event::AdviceChanged(known) => named("advice_changed").with_object("advice", &advice(known)),
        Event::AdviceCapped { what, advised, used, .. } => named("advice_capped")
            .with("what", what)
            .with("advised_ms", millis(*advised))
            .with("used_ms", millis(*used)),
        Event::Ignored { what, .. } => named("ignored").with("text", what),
        Event::CookiesWithheld { names, .. } => named("cookies_withheld").with("names", names),
        Event::SlowConsumer { channel, dropped, .. } => named("slow_consumer")
            .with_some("channel", channel.as_ref().map(|channel| channel.as_str()))
            .with("dropped", dropped),
        Event::PublishFailed { channel, error, .. } => {
            named("publish_failed").with("channel", channel.as_str()).with("text", error.to_string())
        }
        Event::EventsMissed(missed) => named("events_missed").with("count", missed),
        Event::Closed(reason) => {
            named("closed").with("reason", close_reason(reason)).with("text", reason.to_string())
        }
        other => named("other").with("text", format!("{other:?}")),
    }
}

/// The advice that the server sent, with times in milliseconds.
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

#[cfg(test)]
mod tests {
    use bayeux::{Advice, CallError, Channel, Interval, Reconnect, Transport};
    use serde_json::Value;

    use super::*;

    const PAGE: &str = include_str!("../../../docs/pipe.md");

    fn channel(name: &str) -> Channel {
        Channel::parse(name).unwrap()
    }

    fn lost() -> Failure {
        Failure::new(FailureKind::Lost, "it broke")
    }

    fn refusal() -> Box<Message> {
        Box::new(Message::new(channel("/meta/connect")))
    }

    /// Each event has the documented format, and the page lists each of its fields.
    #[test]
    fn events_are_as_documented() {
        let cause = LostCause::Transport(lost());
        let text = json!("it broke");
        let mut known = Advice::default();
        known.reconnect = Some(Reconnect::Retry);
        known.interval = Some(Interval::Never);
        known.timeout = Some(Duration::from_secs(30));
        let channels = || vec![channel("/a"), channel("/b")];
        let resubscribed = |outcome| Event::resubscribed(channel("/a"), outcome);
        let changed = |cause| Event::transport_changed(Transport::WebSocket, Transport::LongPolling, cause);
        for (event, expected) in [
            (
                Event::connected(Transport::LongPolling),
                json!({"event": "connected", "transport": "long-polling"}),
            ),
            (Event::lost(cause.clone()), json!({"event": "lost", "cause": "lost", "text": text})),
            (
                Event::retrying(Duration::from_millis(1500), 2, cause),
                json!({"event": "retrying", "in_ms": 1500, "failures": 2, "cause": "lost", "text": text}),
            ),
            (
                Event::request_failed(channel("/a"), lost(), 3, 2, Duration::from_secs(1)),
                json!({"event": "request_failed", "channel": "/a", "cause": "lost", "text": text, "messages": 3,
                    "repeated": 2, "in_ms": 1000}),
            ),
            (Event::Rehandshaken, json!({"event": "rehandshaken"})),
            (resubscribed(Ok(())), json!({"event": "resubscribed", "channel": "/a", "successful": true})),
            (
                resubscribed(Err(CallError::Vetoed("no".to_owned()))),
                json!({"event": "resubscribed", "channel": "/a", "successful": false,
                    "text": "an extension vetoed the message: no"}),
            ),
            (Event::gap_possible(channels()), json!({"event": "gap_possible", "channels": ["/a", "/b"]})),
            (
                changed(Some(lost())),
                json!({"event": "transport_changed", "from": "websocket", "to": "long-polling", "cause": "lost",
                    "text": text}),
            ),
            (changed(None), json!({"event": "transport_changed", "from": "websocket", "to": "long-polling"})),
            (
                Event::server_changed(
                    "a".to_owned(),
                    "b".to_owned(),
                    Failure::new(FailureKind::Unreachable, "refused"),
                ),
                json!({"event": "server_changed", "from": "a", "to": "b", "cause": "unreachable", "text": "refused"}),
            ),
            (
                Event::AdviceChanged(known),
                json!({"event": "advice_changed",
                    "advice": {"reconnect": "retry", "interval": -1, "timeout": 30000}}),
            ),
            (
                Event::advice_capped("interval", Duration::from_secs(7200), Duration::from_secs(3600)),
                json!({"event": "advice_capped", "what": "interval", "advised_ms": 7_200_000,
                    "used_ms": 3_600_000}),
            ),
            (
                Event::cookies_withheld(vec!["sid".to_owned()]),
                json!({"event": "cookies_withheld", "names": ["sid"]}),
            ),
            (
                Event::slow_consumer(Some(channel("/a")), 3),
                json!({"event": "slow_consumer", "channel": "/a", "dropped": 3}),
            ),
            (
                Event::publish_failed(channel("/a"), CallError::Offline),
                json!({"event": "publish_failed", "channel": "/a", "text": CallError::Offline.to_string()}),
            ),
            (Event::ignored("it".to_owned()), json!({"event": "ignored", "text": "it"})),
            (Event::slow_consumer(None, 3), json!({"event": "slow_consumer", "dropped": 3})),
            (Event::EventsMissed(4), json!({"event": "events_missed", "count": 4})),
            (
                Event::Closed(CloseReason::Requested),
                json!({"event": "closed", "reason": "requested", "text": "the client was closed"}),
            ),
        ] {
            let printed: Value = serde_json::from_str(&super::event(&event).to_string()).unwrap();
            assert_eq!(printed, expected);
            let name = printed["event"].as_str().unwrap();
            for word in printed.as_object().unwrap().keys().map(String::as_str).chain([name]) {
                assert!(
                    PAGE.contains(&format!("`{word}`")) || word == "event",
                    "{name}: {word} is not documented"
                );
            }
        }
    }

    #[test]
    fn each_word_is_its_own_and_documented() {
        let reasons = [
            (CloseReason::NotOpen, "not_open"),
            (CloseReason::Requested, "requested"),
            (CloseReason::Suspended, "suspended"),
            (CloseReason::Server(refusal()), "server"),
            (CloseReason::no_transport(vec![], vec![]), "no_transport"),
            (CloseReason::Failed(lost()), "failed"),
            (CloseReason::gave_up(1, Duration::ZERO, LostCause::Transport(lost())), "gave_up"),
            (CloseReason::open_timeout(Duration::ZERO, None), "open_timeout"),
            (CloseReason::NoCredentials(String::new()), "no_credentials"),
        ];
        let failures = [
            (FailureKind::UnknownHost, "unknown_host"),
            (FailureKind::Unreachable, "unreachable"),
            (FailureKind::Tls, "tls"),
            (FailureKind::Proxy, "proxy"),
            (FailureKind::LocalLimit, "local_limit"),
            (FailureKind::UpgradeRefused { status: 400 }, "upgrade_refused"),
            (FailureKind::Http { status: 400 }, "http"),
            (FailureKind::TooLarge, "too_large"),
            (FailureKind::Malformed, "malformed"),
            (FailureKind::Timeout, "timeout"),
            (FailureKind::Closed { code: 1001 }, "closed"),
            (FailureKind::Lost, "lost"),
        ];
        let causes =
            [(LostCause::Refused(refusal()), "refused"), (LostCause::SessionLost(refusal()), "session_lost")];
        let kinds = [
            (ErrorKind::Config, "config"),
            (ErrorKind::Invalid, "invalid"),
            (ErrorKind::Transport, "transport"),
            (ErrorKind::Timeout, "timeout"),
            (ErrorKind::Server, "server"),
            (ErrorKind::Closed, "closed"),
            (ErrorKind::Decode, "decode"),
            (ErrorKind::Auth, "auth"),
            (ErrorKind::Vetoed, "vetoed"),
            (ErrorKind::Overflow, "overflow"),
            (ErrorKind::Busy, "busy"),
        ];
        let words = (reasons.iter().map(|(reason, word)| (close_reason(reason), *word)))
            .chain(failures.map(|(kind, word)| (failure(&Failure::new(kind, "")), word)))
            .chain(causes.iter().map(|(why, word)| (cause(why), *word)))
            .chain(kinds.map(|(of, word)| (kind(of), word)));
        for (printed, word) in words {
            assert_eq!(printed, word);
            assert!(PAGE.contains(&format!("`{word}`")), "{word} is not documented");
        }
    }
}
