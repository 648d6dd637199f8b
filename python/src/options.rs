//! The options of a client, as the package passes them: each has been checked for its type there.

use std::time::Duration;

use bayeux::{
    Backoff, Builder, Client, Delivery, Error, Offline, Overflow, Proxy, Retry, TlsOptions, Transport, Value,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A configuration error as Python's `ValueError`.
pub(crate) fn value_error(error: impl std::fmt::Display) -> PyErr {
    let text = error.to_string();
    PyValueError::new_err(text.strip_prefix("configuration: ").unwrap_or(&text).to_owned())
}

fn seconds(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value.extract()?).map_err(|_| {
        PyValueError::new_err(format!("{name} must be a number of seconds that is not negative"))
    })
}

fn some_seconds(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Duration>> {
    if value.is_none() { Ok(None) } else { seconds(value, name).map(Some) }
}

pub(crate) fn overflow(name: &str) -> PyResult<Overflow> {
    Ok(match name {
        "drop_oldest" => Overflow::DropOldest,
        "drop_newest" => Overflow::DropNewest,
        "close" => Overflow::Close,
        "pause" => Overflow::Pause,
        other => {
            return Err(PyValueError::new_err(format!(
                "{other:?} is not an overflow policy: use \"drop_oldest\", \"drop_newest\", \"close\" or \"pause\""
            )));
        }
    })
}

fn transport(name: &str) -> PyResult<Transport> {
    Transport::from_wire(name)
        .ok_or_else(|| PyValueError::new_err(format!("{name:?} is not a connection type")))
}

fn json(text: &str) -> PyResult<Value> {
    serde_json::from_str(text).map_err(value_error)
}

fn retry(options: &Bound<'_, PyDict>) -> PyResult<Retry> {
    let get = |name: &str| options.get_item(name).map(|value| value.filter(|value| !value.is_none()));
    let bound = |name: &str, default: f64| -> PyResult<Duration> {
        get(name)?.map_or(Ok(Duration::from_secs_f64(default)), |value| seconds(&value, name))
    };
    let (min, max) = (bound("min_delay", 1.0)?, bound("max_delay", 30.0)?);
    if min > max {
        return Err(PyValueError::new_err("min_delay must not be longer than max_delay"));
    }
    let mut backoff = Backoff::exponential(min..=max);
    if get("jitter")?.map_or(Ok(true), |value| value.extract())? {
        backoff = backoff.jittered();
    }
    let mut retry = Retry::new(backoff);
    if let Some(attempts) = get("max_attempts")? {
        retry = retry.max_attempts(attempts.extract()?);
    }
    if let Some(elapsed) = get("max_elapsed")? {
        retry = retry.max_elapsed(seconds(&elapsed, "max_elapsed")?);
    }
    if get("give_up_on_fatal")?.map_or(Ok(false), |value| value.extract())? {
        retry = retry.give_up_on_fatal();
    }
    Ok(retry)
}

fn tls(options: &Bound<'_, PyDict>) -> PyResult<TlsOptions> {
    let mut tls = TlsOptions::new();
    for (key, value) in options {
        let key: String = key.extract()?;
        tls = match &*key {
            "ca" => {
                let pems: Vec<Vec<u8>> = value.extract()?;
                pems.iter().try_fold(tls, |tls, pem| tls.ca_pem(pem)).map_err(value_error)?
            }
            "only_given_authorities" if value.extract()? => tls.only_given_authorities(),
            "client_certificate" => {
                let (chain, key): (Vec<u8>, Vec<u8>) = value.extract()?;
                tls.client_certificate_pem(&chain, &key).map_err(value_error)?
            }
            "pins" => {
                let pins: Vec<[u8; 32]> = value.extract()?;
                pins.into_iter().fold(tls, TlsOptions::pin_sha256)
            }
            "trust_anyone" if value.extract()? => tls.dangerously_trust_anyone(),
            _ => tls,
        };
    }
    Ok(tls)
}

/// A builder with these options.
pub(crate) fn builder(url: &str, options: &Bound<'_, PyDict>) -> PyResult<Builder> {
    let mut builder = Client::builder(url);
    for (key, value) in options {
        let key: String = key.extract()?;
        let time = || seconds(&value, &key);
        let some_time = || some_seconds(&value, &key);
        builder = match &*key {
            "connection_types" => {
                let names: Vec<String> = value.extract()?;
                builder.transports(names.iter().map(|name| transport(name)).collect::<PyResult<Vec<_>>>()?)
            }
            "fallback_urls" => builder.fallback_urls(value.extract::<Vec<String>>()?),
            "long_polling_url" => builder.long_polling_url(value.extract::<String>()?),
            "websocket_url" => builder.websocket_url(value.extract::<String>()?),
            "message_type_in_url" => builder.message_type_in_url(value.extract()?),
            "connection_timeout" => builder.outage_timeout(some_time()?.filter(|wait| !wait.is_zero())),
            "connect_timeout" => builder.connect_timeout(time()?),
            "request_timeout" => builder.request_timeout(time()?),
            "open_timeout" => builder.open_timeout(some_time()?),
            "retry_open" => builder.retry_open(value.extract()?),
            "close_timeout" => builder.close_timeout(time()?),
            "call_timeout" => builder.call_timeout(time()?),
            "auth_timeout" => builder.auth_timeout(time()?),
            "ping_interval" => builder.ping_interval(some_time()?),
            "max_advised_wait" => builder.max_advised_wait(time()?),
            "transport_cooldown" => builder.transport_cooldown(time()?),
            "retry" => builder.retry(retry(value.cast()?)?),
            "acknowledge" => builder.acknowledge(value.extract()?),
            "delivery" => builder.delivery(match &*value.extract::<String>()? {
                "at_most_once" => Delivery::AtMostOnce,
                "at_least_once" => Delivery::AtLeastOnce,
                other => {
                    return Err(PyValueError::new_err(format!(
                        "delivery={other:?}: use \"at_most_once\" or \"at_least_once\""
                    )));
                }
            }),
            "offline" => builder.offline(match &*value.extract::<String>()? {
                "wait" => Offline::Wait,
                "refuse" => Offline::Refuse,
                other => {
                    return Err(PyValueError::new_err(format!(
                        "offline={other:?}: use \"wait\" or \"refuse\""
                    )));
                }
            }),
            "max_message_size" => builder.max_message_size(value.extract()?),
            "min_receive_rate" => builder.min_receive_rate(value.extract()?),
            "max_send_size" => builder.max_send_size(value.extract()?),
            "max_pending_calls" => builder.max_pending_calls(value.extract()?),
            "inbox" => {
                let (messages, policy): (usize, String) = value.extract()?;
                builder.inbox(messages, overflow(&policy)?)
            }
            "inbox_bytes" => builder.inbox_bytes(value.extract()?),
            "stream_queue" => {
                let (messages, policy): (usize, String) = value.extract()?;
                builder.stream_queue(messages, overflow(&policy)?)
            }
            "stream_queue_bytes" => builder.stream_queue_bytes(value.extract()?),
            "proxy" => builder.proxy(match &*value.extract::<String>()? {
                "system" => Proxy::system(),
                "none" => Proxy::none(),
                url => Proxy::url(url).map_err(value_error)?,
            }),
            "headers" => {
                let pairs: Vec<(String, String)> = value.extract()?;
                pairs.iter().fold(builder, |builder, (name, value)| builder.header(name, value))
            }
            "cookies" => {
                let pairs: Vec<(String, String)> = value.extract()?;
                pairs.into_iter().fold(builder, |builder, (name, value)| builder.cookie(name, value))
            }
            "secure_cookies_over_http" => builder.secure_cookies_over_http(value.extract()?),
            "websocket_protocol" => builder.websocket_protocol(value.extract::<String>()?),
            "handshake_fields" => {
                let pairs: Vec<(String, String)> = value.extract()?;
                pairs.iter().try_fold(builder, |builder, (name, text)| {
                    Ok::<_, PyErr>(builder.handshake_field(name, json(text)?))
                })?
            }
            "handshake_ext" => {
                let pairs: Vec<(String, String)> = value.extract()?;
                pairs.iter().try_fold(builder, |builder, (name, text)| {
                    Ok::<_, PyErr>(builder.handshake_ext(name, json(text)?))
                })?
            }
            "tls" => builder.tls(tls(value.cast()?)?),
            other => return Err(PyTypeError::new_err(format!("{other:?} is not an option of a client"))),
        };
    }
    Ok(builder)
}

/// Checks a URL without making a client.
#[pyfunction]
pub(crate) fn check_url(url: &str) -> PyResult<()> {
    Client::builder(url).build().map(drop).map_err(|error: Error| value_error(error))
}
