//! The extensions of a client, which are Python's: payloads cross to the event loop and back.

use std::sync::Arc;

use bayeux::{
    AuthFuture, AuthReason, Credentials, FilterFuture, HeaderMap, HeaderName, HeaderValue, Payload,
    PayloadFilter, Veto,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::port::Inner;

/// What the extensions are asked.
pub(crate) enum Question {
    Outgoing(Payload),
    Incoming(Payload),
    /// The server refused the credentials.
    Authenticate,
}

/// What they answer.
#[derive(Debug)]
pub(crate) enum Verdict {
    Unchanged,
    Pass(Vec<u8>, Vec<(String, String)>),
    Refuse(String),
}

impl Question {
    /// A tuple of the direction, the body and the headers.
    pub(crate) fn into_object(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let (name, payload) = match self {
            Self::Outgoing(payload) => ("outgoing", payload),
            Self::Incoming(payload) => ("incoming", payload),
            Self::Authenticate => ("authenticate", Payload::default()),
        };
        let headers = PyDict::new(py);
        for (name, value) in &payload.headers {
            headers.set_item(name.as_str(), String::from_utf8_lossy(value.as_bytes()))?;
        }
        let body = PyBytes::new(py, &payload.body);
        Ok(PyTuple::new(py, [name.into_pyobject(py)?.into_any(), body.into_any(), headers.into_any()])?
            .into_any())
    }
}

/// The extensions of the client with that token.
pub(crate) struct Extensions {
    pub(crate) port: Arc<Inner>,
    pub(crate) client: u64,
}

impl Extensions {
    fn ask(&self, payload: Payload, question: fn(Payload) -> Question) -> FilterFuture {
        let answer = self.port.ask(self.client, question(payload.clone()));
        Box::pin(async move {
            match answer.await {
                Ok(Verdict::Unchanged) => Ok(payload),
                Ok(Verdict::Pass(body, headers)) => {
                    Ok(Payload { body: body.into(), headers: header_map(headers)? })
                }
                Ok(Verdict::Refuse(reason)) => Err(Veto::new(reason)),
                Err(_) => Err(Veto::new("the event loop of the client does not run")),
            }
        })
    }
}

impl PayloadFilter for Extensions {
    fn outgoing(&self, payload: Payload) -> FilterFuture {
        self.ask(payload, Question::Outgoing)
    }

    fn incoming(&self, payload: Payload) -> FilterFuture {
        self.ask(payload, Question::Incoming)
    }
}

fn header_map(pairs: Vec<(String, String)>) -> Result<HeaderMap, Veto> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let invalid = |_| Veto::new(format!("an extension set an invalid header named {name:?}"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(()))?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| invalid(()))?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}

/// The `authenticate` of the client's auth extension. It returns no credentials: the extension adds them to the payloads.
pub(crate) fn auth(
    port: Arc<Inner>,
    client: u64,
) -> impl Fn(AuthReason) -> AuthFuture + Send + Sync + 'static {
    move |reason| {
        if matches!(reason, AuthReason::First) {
            return Box::pin(async { Ok(Credentials::new()) });
        }
        let answer = port.ask(client, Question::Authenticate);
        Box::pin(async move {
            match answer.await {
                Ok(Verdict::Refuse(reason)) => Err(reason.into()),
                Ok(_) => Ok(Credentials::new()),
                Err(_) => Err("the event loop of the client does not run".into()),
            }
        })
    }
}
