//! The testkit for tests in Python: the server in the process, the scripted peer and the network that fails.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bayeux_server::{Builder, Data, Request as Call, Server, ServiceError};
use bayeux_testkit::{Answer, Authority, FaultProxy, Peer, Request, RequestKind, TestServer};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::Value;

use crate::convert::{json_object, value_object};
use crate::options::value_error;
use crate::runtime::{Owner, block_on};

fn json(text: &str) -> PyResult<Value> {
    serde_json::from_str(text).map_err(value_error)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopped() -> PyErr {
    PyRuntimeError::new_err("this has been stopped")
}

/// A server in the process.
#[pyclass(frozen, module = "aiobayeux._native")]
pub(crate) struct NativeServer {
    owner: Owner,
    server: Mutex<Option<Arc<TestServer>>>,
    ca: Option<String>,
}

/// The options of the server, and its services.
#[derive(Clone)]
struct Plan {
    timeout: Option<Duration>,
    interval: Option<Duration>,
    max_interval: Option<Duration>,
    acknowledgements: bool,
    transports: Option<Vec<bayeux::Transport>>,
    max_message_size: Option<usize>,
    services: Vec<(String, Arc<Py<PyAny>>)>,
}

impl Plan {
    fn builder(&self) -> Builder {
        let mut builder = Server::builder().acknowledgements(self.acknowledgements);
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        if let Some(interval) = self.interval {
            builder = builder.interval(interval);
        }
        if let Some(max_interval) = self.max_interval {
            builder = builder.max_interval(max_interval);
        }
        if let Some(transports) = &self.transports {
            builder = builder.transports(transports.iter().copied());
        }
        if let Some(bytes) = self.max_message_size {
            builder = builder.max_message_size(bytes);
        }
        builder = builder
            .service("/service/echo", |call: Call| async move { Ok::<_, ServiceError>(Some(call.data)) });
        for (channel, function) in &self.services {
            let function = Arc::clone(function);
            builder = builder.service(&**channel, move |call: Call| {
                let function = Arc::clone(&function);
                async move {
                    // Python code may wait for the interpreter, which must not hold up the runtime.
                    let answer = tokio::task::spawn_blocking(move || serve(&function, &call)).await;
                    answer.unwrap_or_else(|_| Err(ServiceError::new(500, "the service panicked")))
                }
            });
        }
        builder
    }
}

/// Calls a service in Python with the payload; None is no answer.
fn serve(function: &Py<PyAny>, call: &Call) -> Result<Option<Data>, ServiceError> {
    let answer = Python::try_attach(|py| -> PyResult<Option<String>> {
        let answer = function.call1(py, (json_object(py, call.data.as_bytes())?,))?;
        if answer.is_none(py) {
            return Ok(None);
        }
        let dumps = py.import("json")?.getattr("dumps")?;
        dumps.call1((answer,))?.extract().map(Some)
    });
    match answer {
        None => Ok(None),
        Some(Ok(None)) => Ok(None),
        Some(Ok(Some(text))) => Ok(Some(Data::from_json(&text)?)),
        Some(Err(error)) => Err(ServiceError::new(500, &error.to_string())),
    }
}

fn seconds(value: Option<f64>) -> PyResult<Option<Duration>> {
    value.map(|value| Duration::try_from_secs_f64(value).map_err(value_error)).transpose()
}

impl NativeServer {
    fn server(&self) -> PyResult<Arc<TestServer>> {
        self.owner.check()?;
        lock(&self.server).clone().ok_or_else(stopped)
    }
}

#[pymethods]
impl NativeServer {
    #[new]
    #[pyo3(signature = (*, timeout=None, interval=None, max_interval=None, acknowledgements=true, connection_types=None,
        max_message_size=None, services=Vec::new(), tls=false, client_authority=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        timeout: Option<f64>,
        interval: Option<f64>,
        max_interval: Option<f64>,
        acknowledgements: bool,
        connection_types: Option<Vec<String>>,
        max_message_size: Option<usize>,
        services: Vec<(String, Py<PyAny>)>,
        tls: bool,
        client_authority: Option<String>,
    ) -> PyResult<Self> {
        let owner = Owner::new()?;
        let transports = connection_types
            .map(|names| {
                names
                    .iter()
                    .map(|name| {
                        bayeux::Transport::from_wire(name).ok_or_else(|| {
                            PyValueError::new_err(format!("{name:?} is not a connection type"))
                        })
                    })
                    .collect::<PyResult<Vec<_>>>()
            })
            .transpose()?;
        for (channel, _) in &services {
            bayeux::Channel::parse(channel).map_err(value_error)?;
        }
        let plan = Plan {
            timeout: seconds(timeout)?,
            interval: seconds(interval)?,
            max_interval: seconds(max_interval)?,
            acknowledgements,
            transports,
            max_message_size,
            services: services.into_iter().map(|(channel, function)| (channel, Arc::new(function))).collect(),
        };
        let mut builder = TestServer::builder().options(move || plan.builder());
        let authority = tls.then(Authority::new);
        if let Some(authority) = &authority {
            builder = builder.tls(authority.issue(&["localhost", "127.0.0.1"]));
        }
        if let Some(pem) = &client_authority {
            builder = builder.client_authority(pem);
        }
        let server = block_on(py, builder.start())?;
        let ca = authority.map(|authority| authority.pem().to_owned());
        Ok(Self { owner, server: Mutex::new(Some(Arc::new(server))), ca })
    }

    /// The certificate of the authority, if the server has TLS.
    #[getter]
    fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    #[getter]
    fn url(&self) -> PyResult<String> {
        Ok(self.server()?.url())
    }

    #[getter]
    fn address(&self) -> PyResult<(String, u16)> {
        let address = self.server()?.address();
        Ok((address.ip().to_string(), address.port()))
    }

    fn publish(&self, channel: &str, data: &str) -> PyResult<()> {
        let _guard = self.owner.enter()?;
        let data: Value = json(data)?;
        self.server()?.server().publish(channel, &data).map_err(value_error)
    }

    fn sessions(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let server = self.server()?;
        let sessions = block_on(py, async move { server.sessions().await })?;
        Ok(sessions.iter().map(|session| session.as_str().to_owned()).collect())
    }

    fn dismiss_sessions(&self, py: Python<'_>) -> PyResult<()> {
        let server = self.server()?;
        block_on(py, async move { server.dismiss_sessions().await })
    }

    /// Stops it as a crash does.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let server = self.server()?;
        block_on(py, async move { server.stop().await })
    }

    fn restart(&self, py: Python<'_>) -> PyResult<()> {
        let server = self.server()?;
        block_on(py, async move { server.restart().await })
    }

    fn cut(&self) -> PyResult<()> {
        self.server()?.network().cut();
        Ok(())
    }

    fn stall(&self) -> PyResult<()> {
        self.server()?.network().stall();
        Ok(())
    }

    fn delay(&self, by: f64) -> PyResult<()> {
        self.server()?.network().delay(Duration::try_from_secs_f64(by).map_err(value_error)?);
        Ok(())
    }

    fn refuse(&self, py: Python<'_>) -> PyResult<()> {
        let server = self.server()?;
        block_on(py, async move { server.network().refuse().await })
    }

    fn forward(&self) -> PyResult<()> {
        let _guard = self.owner.enter()?;
        self.server()?.network().forward();
        Ok(())
    }

    #[getter]
    fn open_connections(&self) -> PyResult<usize> {
        Ok(self.server()?.network().open_connections())
    }

    #[getter]
    fn accepted_connections(&self) -> PyResult<usize> {
        Ok(self.server()?.network().accepted())
    }

    /// Ends it for good.
    fn close(&self) -> PyResult<()> {
        let _guard = self.owner.enter()?;
        drop(lock(&self.server).take());
        Ok(())
    }
}

/// A network between clients and any server.
#[pyclass(frozen, module = "aiobayeux._native")]
pub(crate) struct NativeProxy {
    owner: Owner,
    proxy: Mutex<Option<Arc<FaultProxy>>>,
}

fn resolve(host: &str, port: u16) -> PyResult<SocketAddr> {
    (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| PyValueError::new_err(format!("{host} has no address")))
}

impl NativeProxy {
    fn proxy(&self) -> PyResult<Arc<FaultProxy>> {
        self.owner.check()?;
        lock(&self.proxy).clone().ok_or_else(stopped)
    }
}

#[pymethods]
impl NativeProxy {
    #[new]
    fn new(py: Python<'_>, host: &str, port: u16) -> PyResult<Self> {
        let owner = Owner::new()?;
        let proxy = block_on(py, FaultProxy::to(resolve(host, port)?))?;
        Ok(Self { owner, proxy: Mutex::new(Some(Arc::new(proxy))) })
    }

    #[getter]
    fn address(&self) -> PyResult<(String, u16)> {
        let address = self.proxy()?.address();
        Ok((address.ip().to_string(), address.port()))
    }

    fn lead_to(&self, host: &str, port: u16) -> PyResult<()> {
        self.proxy()?.lead_to(resolve(host, port)?);
        Ok(())
    }

    fn cut(&self) -> PyResult<()> {
        self.proxy()?.cut();
        Ok(())
    }

    fn stall(&self) -> PyResult<()> {
        self.proxy()?.stall();
        Ok(())
    }

    fn delay(&self, by: f64) -> PyResult<()> {
        self.proxy()?.delay(Duration::try_from_secs_f64(by).map_err(value_error)?);
        Ok(())
    }

    fn refuse(&self, py: Python<'_>) -> PyResult<()> {
        let proxy = self.proxy()?;
        block_on(py, async move { proxy.refuse().await })
    }

    fn forward(&self) -> PyResult<()> {
        let _guard = self.owner.enter()?;
        self.proxy()?.forward();
        Ok(())
    }

    #[getter]
    fn open_connections(&self) -> PyResult<usize> {
        Ok(self.proxy()?.open_connections())
    }

    #[getter]
    fn accepted_connections(&self) -> PyResult<usize> {
        Ok(self.proxy()?.accepted())
    }

    fn close(&self) -> PyResult<()> {
        let _guard = self.owner.enter()?;
        drop(lock(&self.proxy).take());
        Ok(())
    }
}

/// A server that follows a script.
#[pyclass(frozen, module = "aiobayeux._native")]
pub(crate) struct NativePeer {
    owner: Owner,
    peer: Mutex<Option<Arc<Peer>>>,
}

/// Calls the script, which returns the parts of an answer. What goes wrong there cuts the connection, and is shown.
fn follow(script: &Py<PyAny>, request: &Request) -> Answer {
    Python::try_attach(|py| {
        let answer = request_object(py, request)
            .and_then(|object| script.call1(py, (object,)))
            .and_then(|parts| answer(parts.bind(py), request));
        answer.unwrap_or_else(|error| {
            error.write_unraisable(py, Some(script.bind(py)));
            Answer::cut()
        })
    })
    .unwrap_or_else(Answer::cut)
}

fn request_object<'py>(py: Python<'py>, request: &Request) -> PyResult<Bound<'py, PyDict>> {
    let object = PyDict::new(py);
    let kind = match request.kind {
        RequestKind::Post => "post",
        RequestKind::Upgrade => "upgrade",
        RequestKind::Frame => "frame",
        _ => "other",
    };
    object.set_item("kind", kind)?;
    object.set_item("name", request.name())?;
    object.set_item("path", &request.path)?;
    object.set_item("headers", &request.headers)?;
    object.set_item("body", PyBytes::new(py, &request.body))?;
    object.set_item("messages", value_object(py, &Value::Array(request.messages.clone()))?)?;
    object.set_item("connection", request.connection)?;
    object.set_item("nth", request.nth)?;
    object.set_item("replies", value_object(py, &Value::Array(request.replies()))?)?;
    Ok(object)
}

fn answer(parts: &Bound<'_, PyAny>, request: &Request) -> PyResult<Answer> {
    let mut answer: Option<Answer> = None;
    for part in parts.try_iter()? {
        let part = part?;
        let name: String = part.get_item(0)?.extract()?;
        let at = |index: usize| part.get_item(index);
        let messages = || -> PyResult<Vec<Value>> {
            match json(&at(1)?.extract::<String>()?)? {
                Value::Array(messages) => Ok(messages),
                _ => Err(PyTypeError::new_err("messages are a list")),
            }
        };
        let bytes = || -> PyResult<Vec<u8>> { at(1)?.extract() };
        let time = |index: usize| -> PyResult<Duration> {
            Duration::try_from_secs_f64(at(index)?.extract()?).map_err(value_error)
        };
        let so_far =
            || answer.clone().ok_or_else(|| PyTypeError::new_err("an answer begins with what it says"));
        answer = Some(match &*name {
            "decently" => request.decently(),
            "messages" => Answer::messages(messages()?),
            "hold" => Answer::hold(messages()?),
            "status" => Answer::status(at(1)?.extract()?),
            "body" => Answer::body(bytes()?),
            "page" => Answer::page(at(1)?.extract()?, &at(2)?.extract::<String>()?),
            "raw" => Answer::raw(bytes()?),
            "cut_after" => Answer::cut_after(bytes()?, at(2)?.extract()?),
            "stall_after" => Answer::stall_after(bytes()?, at(2)?.extract()?),
            "drip" => Answer::drip(bytes()?, at(2)?.extract()?, time(3)?),
            "silence" => Answer::silence(),
            "cut" => Answer::cut(),
            "accept" => Answer::accept(),
            "accept_and_swallow" => Answer::accept_and_swallow(),
            "close" => Answer::close(at(1)?.extract()?, &at(2)?.extract::<String>()?),
            "header" => so_far()?.header(&at(1)?.extract::<String>()?, &at(2)?.extract::<String>()?),
            "after" => so_far()?.after(time(1)?),
            "then_cut" => so_far()?.then_cut(),
            other => return Err(PyTypeError::new_err(format!("an answer has no part {other:?}"))),
        });
    }
    answer.ok_or_else(|| PyTypeError::new_err("the script must return an Answer"))
}

impl NativePeer {
    fn peer(&self) -> PyResult<Arc<Peer>> {
        self.owner.check()?;
        lock(&self.peer).clone().ok_or_else(stopped)
    }
}

#[pymethods]
impl NativePeer {
    #[new]
    fn new(py: Python<'_>, script: Py<PyAny>) -> PyResult<Self> {
        let owner = Owner::new()?;
        let peer = block_on(py, Peer::start(move |request| follow(&script, request)))?;
        Ok(Self { owner, peer: Mutex::new(Some(Arc::new(peer))) })
    }

    #[getter]
    fn url(&self) -> PyResult<String> {
        Ok(self.peer()?.url())
    }

    #[getter]
    fn address(&self) -> PyResult<(String, u16)> {
        let address = self.peer()?.address();
        Ok((address.ip().to_string(), address.port()))
    }

    fn requests<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.peer()?.requests().iter().map(|request| request_object(py, request)).collect()
    }

    /// Sends messages, a JSON array, to all clients.
    fn push(&self, messages: &str) -> PyResult<()> {
        match json(messages)? {
            Value::Array(messages) => self.peer()?.push(messages),
            _ => return Err(PyTypeError::new_err("messages are a list")),
        }
        Ok(())
    }

    /// Sends a text frame on all WebSockets.
    fn push_text(&self, text: Vec<u8>) -> PyResult<()> {
        self.peer()?.push_text(&text);
        Ok(())
    }

    fn cut(&self) -> PyResult<()> {
        self.peer()?.cut();
        Ok(())
    }

    #[getter]
    fn open_connections(&self) -> PyResult<usize> {
        Ok(self.peer()?.open_connections())
    }

    fn close(&self) -> PyResult<()> {
        let _guard = self.owner.enter()?;
        drop(lock(&self.peer).take());
        Ok(())
    }
}

/// A certificate for `localhost` that nobody trusts, and its key, as PEM.
#[pyfunction]
pub(crate) fn throwaway_certificate() -> (String, String) {
    let identity = Authority::new().issue(&["localhost"]);
    (identity.chain_pem().to_owned(), identity.key_pem().to_owned())
}

/// The certificate of a new authority, and for a client the certificate and its key, as PEM.
#[pyfunction]
pub(crate) fn client_certificate() -> (String, String, String) {
    let authority = Authority::new();
    let identity = authority.issue_client("aiobayeux");
    (authority.pem().to_owned(), identity.chain_pem().to_owned(), identity.key_pem().to_owned())
}
