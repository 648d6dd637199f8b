//! The client as the package uses it. No method waits: each call's outcome goes to the port of the event loop.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bayeux::serde_json::value::RawValue;
use bayeux::{
    Channel, Client, Error, Event, LostCause, Message, SessionSnapshot, State, Stream, Subscription,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::convert::{
    Form, closed_by_server, data_object, error_object, event_object, json_object, message_object,
};
use crate::filter::{self, Extensions};
use crate::options::{self, value_error};
use crate::port::{Outcome, Port};
use crate::runtime::Owner;

/// A client, whose results go to the port.
#[pyclass(frozen, module = "aiobayeux._native")]
pub(crate) struct NativeClient {
    client: Client,
    inbox: Source<Client>,
    port: Py<Port>,
    form: Form,
    owner: Owner,
}

/// Where messages come from: the inbox, or a stream.
struct Source<S> {
    token: u64,
    state: Mutex<SourceState<S>>,
}

struct SourceState<S> {
    stream: S,
    waker: std::task::Waker,
    /// What follows the messages that were taken.
    next: Option<Option<Error>>,
}

/// What a source has: items, and what follows them if that is not a message.
enum Taken {
    Items(Vec<Message>),
    Failed(Error),
    Ended,
    Nothing,
}

impl<S: Stream<Item = Result<Message, Error>> + Unpin> Source<S> {
    fn new(stream: S, port: &Port, token: u64) -> Self {
        let state = SourceState { stream, waker: port.waker(token), next: None };
        Self { token, state: Mutex::new(state) }
    }

    /// Takes what is there. If nothing is, the token goes to the port once something is.
    fn take(&self, most: usize) -> Taken {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        let mut messages = Vec::new();
        let mut cx = Context::from_waker(&state.waker);
        while messages.len() < most && state.next.is_none() {
            match Pin::new(&mut state.stream).poll_next(&mut cx) {
                Poll::Ready(Some(Ok(message))) => messages.push(message),
                Poll::Ready(Some(Err(error))) => state.next = Some(Some(error)),
                Poll::Ready(None) => state.next = Some(None),
                Poll::Pending => break,
            }
        }
        if !messages.is_empty() {
            return Taken::Items(messages);
        }
        match state.next.take() {
            Some(Some(error)) => Taken::Failed(error),
            Some(None) => Taken::Ended,
            None => Taken::Nothing,
        }
    }
}

impl Taken {
    /// A list of items, a `Failure`, False at the end, or None if there is nothing yet.
    fn into_object<'py>(
        self,
        py: Python<'py>,
        form: Form,
        item: fn(Python<'py>, &Message, Form) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self {
            Self::Items(messages) => {
                let list = PyList::empty(py);
                for message in &messages {
                    list.append(item(py, message, form)?)?;
                }
                list.into_any()
            }
            Self::Failed(error) => error_object(py, &error, form)?,
            Self::Ended => false.into_pyobject(py)?.to_owned().into_any(),
            Self::Nothing => py.None().into_bound(py),
        })
    }
}

fn raw(json: &str) -> PyResult<Box<RawValue>> {
    RawValue::from_string(json.to_owned())
        .map_err(|error| PyValueError::new_err(format!("not JSON: {error}")))
}

fn outcome(result: Result<Message, Error>, form: Form) -> Outcome {
    match result {
        Ok(message) => Outcome::Message(Box::new(message), form),
        Err(error) => Outcome::Failed(error, form),
    }
}

fn nothing(result: Result<(), Error>, form: Form) -> Outcome {
    match result {
        Ok(()) => Outcome::Nothing,
        Err(error) => Outcome::Failed(error, form),
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Disconnected => "disconnected",
        State::Handshaking => "handshaking",
        State::Connecting => "connecting",
        State::Connected => "connected",
        State::Unconnected => "unconnected",
        State::Disconnecting => "disconnecting",
        _ => "unknown",
    }
}

#[pymethods]
impl NativeClient {
    /// A client that is not open. `token` marks its messages at the port, and `raw` returns messages as JSON text.
    #[new]
    #[pyo3(signature = (port, token, url, options, *, raw=false, extended=false, auth=false))]
    fn new(
        port: &Bound<'_, Port>,
        token: u64,
        url: &str,
        options: &Bound<'_, PyDict>,
        raw: bool,
        extended: bool,
        auth: bool,
    ) -> PyResult<Self> {
        let (owner, inner) = (port.get().owner.clone(), &port.get().inner);
        owner.check()?;
        let mut builder = options::builder(url, options)?;
        if extended {
            builder = builder.payload_filter(Extensions { port: inner.clone(), client: token });
        }
        if auth {
            builder = builder.auth(filter::auth(inner.clone(), token));
        }
        let client = builder.build().map_err(value_error)?;
        let inbox = Source::new(client.clone(), port.get(), token);
        Ok(Self { client, inbox, port: port.clone().unbind(), form: Form::new(raw), owner })
    }

    /// Opens the client. Without `patient`, the server's refusal is the outcome, even if it advises to try again.
    fn open(&self, token: u64, patient: bool) -> PyResult<()> {
        let (client, form) = (self.client.clone(), self.form);
        self.port.get().start(token, async move {
            let mut events = client.events();
            let refused = async {
                while let Some(event) = events.next().await {
                    if let Event::Retrying { cause: LostCause::Refused(reply), .. } = event {
                        return reply;
                    }
                }
                std::future::pending().await
            };
            tokio::select! {
                biased;
                opened = client.open() => nothing(opened, form),
                reply = refused, if !patient => {
                    // Closes the client at once, not only soon after the attempt was dropped.
                    let _ = client.close().await;
                    Outcome::Refused(reply, form)
                }
            }
        })
    }

    fn close(&self, token: u64) -> PyResult<()> {
        let (client, form) = (self.client.clone(), self.form);
        self.port.get().start(token, async move { nothing(client.close().await, form) })
    }

    fn subscribe(&self, token: u64, channel: String) -> PyResult<()> {
        let (client, form) = (self.client.clone(), self.form);
        self.port.get().start(token, async move { nothing(client.subscribe(&*channel).await, form) })
    }

    fn unsubscribe(&self, token: u64, channel: String) -> PyResult<()> {
        let (client, form) = (self.client.clone(), self.form);
        self.port.get().start(token, async move { nothing(client.unsubscribe(&*channel).await, form) })
    }

    /// Publishes JSON text.
    fn publish(&self, token: u64, channel: String, json: &str) -> PyResult<()> {
        let (client, form, data) = (self.client.clone(), self.form, raw(json)?);
        self.port.get().start(token, async move { outcome(client.publish(&*channel, &data).await, form) })
    }

    fn publish_and_forget(&self, token: u64, channel: String, json: &str) -> PyResult<()> {
        let (client, form, data) = (self.client.clone(), self.form, raw(json)?);
        self.port
            .get()
            .start(token, async move { nothing(client.publish_and_forget(&*channel, &data).await, form) })
    }

    fn publish_binary(&self, token: u64, channel: String, bytes: Vec<u8>) -> PyResult<()> {
        let (client, form) = (self.client.clone(), self.form);
        self.port
            .get()
            .start(token, async move { outcome(client.publish_binary(&*channel, bytes).await, form) })
    }

    fn request(&self, token: u64, channel: String, json: &str) -> PyResult<()> {
        let (client, form, data) = (self.client.clone(), self.form, raw(json)?);
        self.port.get().start(token, async move {
            match client.request::<Box<RawValue>>(&*channel, &data).await {
                Err(error) => Outcome::Failed(error, form),
                Ok(answer) if form == Form::Text => Outcome::Text(answer.get().to_owned()),
                Ok(answer) => {
                    Outcome::Object(Box::new(
                        move |py| Ok(json_object(py, answer.get().as_bytes())?.unbind()),
                    ))
                }
            }
        })
    }

    /// Sends several messages at once: pairs of `subscribe` or `unsubscribe` and a channel, or triples of `publish`, a
    /// channel and JSON text.
    fn batch(&self, token: u64, operations: Vec<(String, String, Option<String>)>) -> PyResult<()> {
        let (client, form) = (self.client.clone(), self.form);
        let operations = operations
            .into_iter()
            .map(|(kind, channel, json)| Ok((kind, channel, json.as_deref().map(raw).transpose()?)))
            .collect::<PyResult<Vec<_>>>()?;
        self.port.get().start(token, async move {
            let results = client
                .batch(|batch| {
                    operations.iter().try_for_each(|(kind, channel, data)| match (&**kind, data) {
                        ("subscribe", _) => batch.subscribe(&**channel),
                        ("unsubscribe", _) => batch.unsubscribe(&**channel),
                        (_, Some(data)) => batch.publish(&**channel, data),
                        (_, None) => Ok(()),
                    })
                })
                .await;
            match results {
                Ok(results) => Outcome::Messages(results, form),
                Err(error) => Outcome::Failed(error, form),
            }
        })
    }

    /// Leaves the session (`leave`) or copies it. The outcome is the snapshot as JSON text.
    fn snapshot(&self, token: u64, leave: bool) -> PyResult<()> {
        let (client, form) = (self.client.clone(), self.form);
        self.port.get().start(token, async move {
            let snapshot = if leave { client.suspend().await } else { client.snapshot().await };
            match snapshot {
                Ok(snapshot) => match serde_json::to_string(&snapshot) {
                    Ok(text) => Outcome::Text(text),
                    Err(error) => {
                        Outcome::Object(Box::new(move |_| Err(PyValueError::new_err(error.to_string()))))
                    }
                },
                Err(error) => Outcome::Failed(error, form),
            }
        })
    }

    fn resume(&self, token: u64, snapshot: &str) -> PyResult<()> {
        let snapshot: SessionSnapshot = serde_json::from_str(snapshot).map_err(|error| {
            PyValueError::new_err(format!("this is not a snapshot of a session: {error}"))
        })?;
        let (client, form) = (self.client.clone(), self.form);
        self.port.get().start(token, async move { nothing(client.resume(&snapshot).await, form) })
    }

    fn reconnect_now(&self, token: u64) -> PyResult<()> {
        let client = self.client.clone();
        self.port.get().start(token, async move {
            client.reconnect_now().await;
            Outcome::Nothing
        })
    }

    /// Takes messages of the inbox, if there are any.
    fn take<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyAny>> {
        let _guard = self.owner.enter()?;
        self.inbox.take(most).into_object(py, self.form, message_object)
    }

    /// Opens a stream with a queue of its own; its outcome is a `NativeStream`. `whole` gives messages instead of payloads.
    #[pyo3(signature = (token, channel, *, source, whole, queue, queue_bytes=None))]
    fn stream(
        &self,
        token: u64,
        channel: String,
        source: u64,
        whole: bool,
        queue: Option<(usize, String)>,
        queue_bytes: Option<usize>,
    ) -> PyResult<()> {
        let mut client = self.client.clone();
        if let Some((messages, policy)) = queue {
            client = client.with_stream_queue(messages, options::overflow(&policy)?);
        }
        if let Some(bytes) = queue_bytes {
            client = client.with_stream_queue_bytes(bytes);
        }
        let (form, owner) = (self.form, self.owner.clone());
        let port = Python::attach(|py| self.port.clone_ref(py));
        self.port.get().start(token, async move {
            match client.messages(&*channel).await {
                Err(error) => Outcome::Failed(error, form),
                Ok(subscription) => Outcome::Object(Box::new(move |py| {
                    let name = subscription.channel().as_str().to_owned();
                    let state = Source::new(subscription, port.get(), source);
                    let stream = NativeStream { source: Mutex::new(Some(state)), name, whole, form, owner };
                    Ok(Py::new(py, stream)?.into_any())
                })),
            }
        })
    }

    fn events(&self, token: u64) -> PyResult<NativeEvents> {
        self.owner.check()?;
        Ok(NativeEvents { events: Mutex::new(self.client.events()), waker: self.port.get().waker(token) })
    }

    /// The last reply to a handshake.
    fn handshake_reply<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.client.handshake_reply().map(|reply| message_object(py, &reply, self.form)).transpose()
    }

    #[getter]
    fn state(&self) -> &'static str {
        state_name(self.client.state())
    }

    #[getter]
    fn transport(&self) -> Option<&'static str> {
        self.client.transport().map(|transport| transport.as_str())
    }

    #[getter]
    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    #[getter]
    fn close_reason(&self) -> Option<String> {
        self.client.close_reason().map(|reason| reason.to_string())
    }

    /// Why the server closed the session, as a `Failure`, if it did.
    fn closed_by_server<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let reason = self.client.close_reason();
        Ok(reason.map(|reason| closed_by_server(py, &reason, self.form)).transpose()?.flatten())
    }

    #[getter]
    fn last_activity(&self) -> Option<f64> {
        let _guard = self.owner.enter().ok()?;
        self.client.last_activity().map(|ago| ago.as_secs_f64())
    }

    #[getter]
    fn url(&self) -> String {
        self.client.url().to_string()
    }

    fn subscriptions(&self) -> Vec<String> {
        self.client.subscriptions().iter().map(|channel| channel.as_str().to_owned()).collect()
    }

    fn pending_count(&self) -> usize {
        let state = self.inbox.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.stream.pending_count()
    }

    #[getter]
    fn token(&self) -> u64 {
        self.inbox.token
    }
}

/// A subscription with a queue of its own.
#[pyclass(frozen, module = "aiobayeux._native")]
pub(crate) struct NativeStream {
    /// `None` once it is closed.
    source: Mutex<Option<Source<Subscription<Message>>>>,
    name: String,
    whole: bool,
    form: Form,
    owner: Owner,
}

#[pymethods]
impl NativeStream {
    #[getter]
    fn channel(&self) -> &str {
        &self.name
    }

    /// Takes items, if there are any.
    fn take<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyAny>> {
        let _guard = self.owner.enter()?;
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = source.as_ref().map_or(Taken::Ended, |source| source.take(most));
        drop(source);
        taken.into_object(py, self.form, if self.whole { message_object } else { data_object })
    }

    /// Unsubscribes.
    fn close(&self) -> PyResult<()> {
        let _guard = self.owner.enter()?;
        drop(self.source.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }
}

/// The events of a client.
#[pyclass(frozen, module = "aiobayeux._native")]
pub(crate) struct NativeEvents {
    events: Mutex<bayeux::Events>,
    waker: std::task::Waker,
}

#[pymethods]
impl NativeEvents {
    /// The next event as a pair of its name and a dict, None if there is none yet, False at the end.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Pin::new(&mut *events).poll_next(&mut Context::from_waker(&self.waker));
        drop(events);
        Ok(match next {
            Poll::Ready(Some(event)) => event_object(py, &event)?.into_pyobject(py)?.into_any(),
            Poll::Ready(None) => false.into_pyobject(py)?.to_owned().into_any(),
            Poll::Pending => py.None().into_bound(py),
        })
    }
}

/// Checks the name of a channel, with the text of the client's own error.
#[pyfunction]
pub(crate) fn check_channel(name: &Bound<'_, PyAny>) -> PyResult<()> {
    let name: &str = name
        .extract()
        .map_err(|_| PyTypeError::new_err(format!("a channel is a str, not {}", name.get_type())))?;
    Channel::parse(name).map(drop).map_err(value_error)
}

/// JSON text as Python objects, as received messages are decoded.
#[pyfunction]
pub(crate) fn loads<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    json_object(py, json)
}
