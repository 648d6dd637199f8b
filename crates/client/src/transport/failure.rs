//! From the errors of the HTTP stack to failures that a person can read.

use std::error::Error;
use std::io;

use bayeux_proto::client::{Failure, FailureKind};
use url::Url;

/// A URL as it may be shown: without user, password and the values of its query.
pub(crate) fn display_url(url: &Url) -> String {
    let mut shown = url.clone();
    // Only URLs without a host refuse this, and those have no user either.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    let keys: Vec<String> = url.query_pairs().map(|(key, _)| format!("{key}=…")).collect();
    shown.set_query(None);
    shown.set_fragment(None);
    if keys.is_empty() { shown.to_string() } else { format!("{shown}?{}", keys.join("&")) }
}

/// A request that got no response.
pub(super) fn from_reqwest(error: &reqwest::Error, url: &Url) -> Failure {
    let url = display_url(url);
    let cause = root_cause(error);
    if let Some(tls) = find::<rustls::Error>(error) {
        return Failure::new(FailureKind::Tls, format!("TLS with {url} failed: {tls}"));
    }
    if error.is_connect() {
        if is_proxy(error) {
            return Failure::new(FailureKind::Proxy, format!("the proxy to {url} refused: {cause}"));
        }
        if is_resolution(error) {
            return Failure::new(
                FailureKind::UnknownHost,
                format!("cannot reach {url}: unknown host: {cause}"),
            );
        }
        let cause =
            if error.is_timeout() { "no connection within the connect timeout".to_owned() } else { cause };
        return Failure::new(FailureKind::Unreachable, format!("cannot reach {url}: {cause}"));
    }
    Failure::new(FailureKind::Lost, format!("the connection to {url} broke: {cause}"))
}

/// A response that broke off.
pub(super) fn broken_body(error: &reqwest::Error, url: &Url) -> Failure {
    let kind = if error.is_decode() { FailureKind::Malformed } else { FailureKind::Lost };
    Failure::new(kind, format!("the response of {} broke off: {}", display_url(url), root_cause(error)))
}

pub(super) fn lost(url: &Url, error: &dyn Error) -> Failure {
    Failure::new(
        FailureKind::Lost,
        format!("the connection to {} broke: {}", display_url(url), root_cause(error)),
    )
}

/// The innermost error says it best; the ones around it repeat themselves.
pub(super) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The resolver's errors are told apart from others of the connector only by their text.
fn is_resolution(error: &dyn Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.to_string().contains("dns error") {
            return true;
        }
        cause = inner.source();
    }
    false
}

fn is_proxy(error: &dyn Error) -> bool {
    // The outermost text has the URL, whose host may be called anything.
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if text.contains("proxy") || text.contains("tunnel") {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// Finds an error in a chain; those of TLS hide inside I/O errors, which may hide in I/O errors themselves.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref::<T>() {
            return Some(found);
        }
        // The source of an I/O error is that of the error in it: to follow it would pass that over.
        cause = match inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(custom) => Some(custom),
            None => inner.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_tls_is_found_in_nested_io_errors() {
        let tls = rustls::Error::HandshakeNotComplete;
        let nested = io::Error::other(io::Error::other(tls.clone()));
        assert_eq!(find::<rustls::Error>(&nested), Some(&tls));
        assert_eq!(find::<rustls::Error>(&io::Error::from(io::ErrorKind::BrokenPipe)), None);
    }

    #[test]
    fn a_shown_url_has_no_secrets() {
        let url = Url::parse("https://ann:secret@host:8443/cometd?token=abc&x=1#f").unwrap();
        assert_eq!(display_url(&url), "https://host:8443/cometd?token=…&x=…");
        assert_eq!(display_url(&Url::parse("http://h/").unwrap()), "http://h/");
    }
}
