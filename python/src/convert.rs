//! Rust values as Python objects.

use bayeux::{CloseReason, Error, ErrorKind, Event, Fields, LostCause, Message, Value};
use jiter::{JsonErrorType, PythonParse, StringCacheMode};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

/// How messages are given to Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As objects.
    Objects,
    /// As JSON text, for a loader of the user.
    Text,
}

impl Form {
    pub(crate) fn new(raw: bool) -> Self {
        if raw { Self::Text } else { Self::Objects }
    }
}

/// JSON as Python objects, as `json.loads` makes them.
pub(crate) fn json_object<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    const PARSE: PythonParse = PythonParse {
        allow_inf_nan: true,
        cache_mode: StringCacheMode::Keys,
        partial_mode: jiter::PartialMode::Off,
        catch_duplicate_keys: false,
        float_mode: jiter::FloatMode::Float,
    };
    PARSE.python_parse(py, json).or_else(|error| {
        // Lone surrogates, which JSON has and UTF-8 does not, and very deep values.
        let _: JsonErrorType = error.error_type;
        static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        LOADS.import(py, "json", "loads")?.call1((json,))
    })
}

/// A message as a dict, or as its JSON text.
pub(crate) fn message_object<'py>(
    py: Python<'py>,
    message: &Message,
    form: Form,
) -> PyResult<Bound<'py, PyAny>> {
    static NO_FIELDS: std::sync::LazyLock<Fields> = std::sync::LazyLock::new(Fields::default);
    if form == Form::Text {
        let json = bayeux_proto::codec::encode_message(message);
        return Ok(PyString::new(py, std::str::from_utf8(&json)?).into_any());
    }
    if *message.fields() != *NO_FIELDS {
        return json_object(py, &bayeux_proto::codec::encode_message(message));
    }
    let object = PyDict::new(py);
    object.set_item(intern!(py, "channel"), message.channel().as_str())?;
    if let Some(id) = message.id() {
        match id.number() {
            Some(number) => object.set_item(intern!(py, "id"), number.to_string())?,
            None => return json_object(py, &bayeux_proto::codec::encode_message(message)),
        }
    }
    if message.has_data() {
        object.set_item(intern!(py, "data"), json_object(py, message.data().as_bytes())?)?;
    }
    if let Some(ext) = message.ext() {
        object.set_item(intern!(py, "ext"), json_object(py, ext.as_bytes())?)?;
    }
    Ok(object.into_any())
}

/// The payload of a message, or its JSON text.
pub(crate) fn data_object<'py>(
    py: Python<'py>,
    message: &Message,
    form: Form,
) -> PyResult<Bound<'py, PyAny>> {
    match form {
        Form::Text => Ok(PyString::new(py, message.data().as_str()).into_any()),
        Form::Objects => json_object(py, message.data().as_bytes()),
    }
}

/// What an error says, from which the package makes its exceptions.
#[pyclass(frozen, get_all, module = "aiobayeux._native")]
pub(crate) struct Failure {
    /// The name of the kind.
    kind: &'static str,
    text: String,
    /// The server's reply that is the cause.
    reply: Option<Py<PyAny>>,
    /// The server's own error.
    error: Option<String>,
    channel: Option<String>,
    http_status: Option<u16>,
    is_fate_unknown: bool,
    is_retryable: bool,
    /// The session has ended.
    has_ended: bool,
    /// The two sides have no transport in common.
    no_transport: bool,
}

#[pymethods]
impl Failure {
    fn __repr__(&self) -> String {
        format!("<Failure {}: {}>", self.kind, self.text)
    }
}

/// An error as a `Failure`.
pub(crate) fn error_object<'py>(py: Python<'py>, error: &Error, form: Form) -> PyResult<Bound<'py, PyAny>> {
    let kind = match error.kind() {
        ErrorKind::Config => "config",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Transport => "transport",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Server => "server",
        ErrorKind::Closed => "closed",
        ErrorKind::Overflow => "overflow",
        ErrorKind::Decode => "decode",
        ErrorKind::Auth => "auth",
        ErrorKind::Vetoed => "vetoed",
        ErrorKind::Busy => "busy",
        _ => "other",
    };
    let reply = error.reply().map(|reply| message_object(py, reply, form)).transpose()?;
    let failure = Failure {
        kind,
        text: error.to_string(),
        reply: reply.map(Bound::unbind),
        error: error.server_error().map(|error| error.as_str().to_owned()),
        channel: error.channel().map(|channel| channel.as_str().to_owned()),
        http_status: error.http_status(),
        is_fate_unknown: error.is_fate_unknown(),
        is_retryable: error.is_retryable(),
        has_ended: error.close_reason().is_some(),
        no_transport: matches!(error.close_reason(), Some(CloseReason::NoTransport { .. })),
    };
    Ok(Bound::new(py, failure)?.into_any())
}

/// Why the server closed the session, as a `Failure`; None if another one closed it.
pub(crate) fn closed_by_server<'py>(
    py: Python<'py>,
    reason: &CloseReason,
    form: Form,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let CloseReason::Server(reply) = reason else { return Ok(None) };
    refusal_object(py, reply, reason.to_string(), true, form).map(Some)
}

/// A refusal of the server as a `Failure`.
pub(crate) fn refusal_object<'py>(
    py: Python<'py>,
    reply: &Message,
    text: String,
    has_ended: bool,
    form: Form,
) -> PyResult<Bound<'py, PyAny>> {
    let failure = Failure {
        kind: "server",
        text,
        reply: Some(message_object(py, reply, form)?.unbind()),
        error: reply.fields().error.as_ref().map(|error| error.as_str().to_owned()),
        channel: None,
        http_status: None,
        is_fate_unknown: false,
        is_retryable: false,
        has_ended,
        no_transport: false,
    };
    Ok(Bound::new(py, failure)?.into_any())
}

/// A `serde_json` value as Python objects.
pub(crate) fn value_object<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    json_object(py, value.to_string().as_bytes())
}

/// The name of an event, and what it has, as a dict.
pub(crate) fn event_object<'py>(
    py: Python<'py>,
    event: &Event,
) -> PyResult<(&'static str, Bound<'py, PyDict>)> {
    let fields = PyDict::new(py);
    let lost = |cause: &LostCause| -> PyResult<()> {
        fields.set_item("cause", cause.to_string())?;
        fields.set_item("is_fatal", cause.is_fatal())
    };
    let name = match event {
        Event::Connected { transport, .. } => {
            fields.set_item("transport", transport.as_str())?;
            "connected"
        }
        Event::Lost { cause, .. } => {
            lost(cause)?;
            "lost"
        }
        Event::Retrying { delay, failures, cause, .. } => {
            lost(cause)?;
            fields.set_item("delay", delay.as_secs_f64())?;
            fields.set_item("failures", failures)?;
            "retrying"
        }
        Event::RequestFailed { channel, failure, messages, repeated, delay, .. } => {
            fields.set_item("channel", channel.as_str())?;
            fields.set_item("cause", failure.to_string())?;
            fields.set_item("messages", messages)?;
            fields.set_item("repeated", repeated)?;
            fields.set_item("delay", delay.as_secs_f64())?;
            "request_failed"
        }
        Event::Rehandshaken => "rehandshaken",
        Event::Resubscribed { channel, outcome, .. } => {
            fields.set_item("channel", channel.as_str())?;
            fields.set_item("error", outcome.as_ref().err().map(ToString::to_string))?;
            "resubscribed"
        }
        Event::GapPossible { channels, .. } => {
            let names: Vec<_> = channels.iter().map(|channel| channel.as_str()).collect();
            fields.set_item("channels", names)?;
            "gap_possible"
        }
        Event::TransportChanged { from, to, cause, .. } => {
            fields.set_item("previous", from.as_str())?;
            fields.set_item("transport", to.as_str())?;
            fields.set_item("cause", cause.as_ref().map(ToString::to_string))?;
            "transport_changed"
        }
        Event::ServerChanged { from, to, cause, .. } => {
            fields.set_item("previous", from)?;
            fields.set_item("url", to)?;
            fields.set_item("cause", cause.to_string())?;
            "server_changed"
        }
        Event::AdviceChanged(advice) => {
            fields.set_item("reconnect", advice.reconnect.map(bayeux::Reconnect::as_str))?;
            fields.set_item("timeout", advice.timeout.map(|timeout| timeout.as_secs_f64()))?;
            let interval = match advice.interval {
                Some(bayeux::Interval::Wait(interval)) => Some(interval.as_secs_f64()),
                Some(bayeux::Interval::Never) => Some(-1.0),
                None => None,
            };
            fields.set_item("interval", interval)?;
            "advice_changed"
        }
        Event::AdviceCapped { what, advised, used, .. } => {
            fields.set_item("what", what)?;
            fields.set_item("advised", advised.as_secs_f64())?;
            fields.set_item("used", used.as_secs_f64())?;
            "advice_capped"
        }
        Event::Ignored { what, .. } => {
            fields.set_item("what", what)?;
            "ignored"
        }
        Event::CookiesWithheld { names, .. } => {
            fields.set_item("names", names)?;
            "cookies_withheld"
        }
        Event::SlowConsumer { channel, dropped, .. } => {
            fields.set_item("channel", channel.as_ref().map(|channel| channel.as_str()))?;
            fields.set_item("dropped", dropped)?;
            "slow_consumer"
        }
        Event::PublishFailed { channel, error, .. } => {
            fields.set_item("channel", channel.as_str())?;
            fields.set_item("error", error.to_string())?;
            "publish_failed"
        }
        Event::EventsMissed(missed) => {
            fields.set_item("missed", missed)?;
            "events_missed"
        }
        Event::Closed(reason) => {
            fields.set_item("reason", reason.to_string())?;
            fields.set_item(
                "is_requested",
                matches!(reason, CloseReason::Requested | CloseReason::Suspended),
            )?;
            "closed"
        }
        _ => {
            fields.set_item("text", format!("{event:?}"))?;
            "other"
        }
    };
    Ok((name, fields))
}
