//! From the errors of the HTTP stack to failures that a person can read.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use bayeux_proto::client::{Failure, FailureKind};
use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use hyper_util::client::legacy;
use url::Url;

use super::cause::{find, root_cause};
use super::connector::ProxyRefused;
use super::tls;

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
///
/// `proxy` names the proxy that it went through, if it did.
pub(super) fn broken(error: &legacy::Error, url: &Url, proxy: impl FnOnce() -> Option<String>) -> Failure {
    let shown = display_url(url);
    let cause = root_cause(error);
    if let Some(text) = tls::explain(error) {
        return Failure::new(FailureKind::Tls, format!("TLS with {shown} failed: {text}"));
    }
    if let Some(failure) = local_limit(error, url) {
        return failure;
    }
    if error.is_connect() {
        let proxy = proxy();
        if find::<ProxyRefused>(error).is_some() {
            let proxy = proxy.unwrap_or_else(|| "the proxy".to_owned());
            let text = format!("{proxy} did not let a request to {shown} through: {cause}");
            return Failure::new(FailureKind::Proxy, text);
        }
        let (target, through) = match &proxy {
            Some(proxy) => (proxy.as_str(), format!(", which is needed for {shown}")),
            None => (shown.as_str(), String::new()),
        };
        if is_resolution(error) {
            let text = format!("cannot reach {target}{through}: unknown host: {cause}");
            return Failure::new(FailureKind::UnknownHost, text);
        }
        let cause =
            if is_timeout(error) { "no connection within the connect timeout".to_owned() } else { cause };
        let kind = if proxy.is_some() { FailureKind::Proxy } else { FailureKind::Unreachable };
        return Failure::new(kind, format!("cannot reach {target}{through}: {cause}"));
    }
    Failure::new(FailureKind::Lost, format!("the connection to {shown} broke: {cause}"))
}

/// A connection that this machine could not make, wherever it was to go.
fn local_limit(error: &(dyn Error + 'static), url: &Url) -> Option<Failure> {
    // EMFILE and ENFILE, which `io::ErrorKind` has no name for.
    const FILES: [i32; 2] = [24, 23];
    let code = find::<io::Error>(error).and_then(deepest_code)?;
    (cfg!(unix) && FILES.contains(&code)).then(|| {
        let text = format!(
            "no connection to {} can be opened: too many open files: the limit of this process (`ulimit -n`) or of \
             the machine is reached",
            display_url(url)
        );
        Failure::new(FailureKind::LocalLimit, text)
    })
}

/// The system's code of an I/O error, or of that in it.
fn deepest_code(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        let inner = error.get_ref()?;
        find::<io::Error>(inner).and_then(deepest_code)
    })
}

/// How long the server asks to wait (RFC 9110, section 10.2.3): seconds, or a date, which is taken by the server's own
/// clock if the response has its time. At most a day.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        let date = |text: &str| httpdate::parse_http_date(text.trim()).ok();
        let until = date(value)?;
        let now = headers.get(DATE).and_then(|now| date(now.to_str().ok()?)).unwrap_or_else(SystemTime::now);
        // One that is past asks for nothing.
        until.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(LONGEST))
}

/// A response that broke off.
pub(super) fn broken_body(error: &hyper::Error, url: &Url) -> Failure {
    let text = format!("the response of {} broke off: {}", display_url(url), root_cause(error));
    Failure::new(FailureKind::Lost, text)
}

pub(super) fn lost(url: &Url, error: &dyn Error) -> Failure {
    Failure::new(
        FailureKind::Lost,
        format!("the connection to {} broke: {}", display_url(url), root_cause(error)),
    )
}

/// The resolver's errors are distinguished from others of the connector only by their text.
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

/// Whether it took too long to connect: to one of the addresses, or in all.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    find::<tokio::time::error::Elapsed>(error).is_some()
        || find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_open_files_is_a_limit_of_this_machine_however_deep_it_lies() {
        let url = Url::parse("http://host/").unwrap();
        for code in [24, 23] {
            let error = io::Error::other(io::Error::other(io::Error::from_raw_os_error(code)));
            let failure = local_limit(&error, &url).unwrap();
            assert_eq!(failure.kind(), FailureKind::LocalLimit);
            assert!(failure.to_string().contains("ulimit -n"), "{failure}");
        }
        assert_eq!(local_limit(&io::Error::from_raw_os_error(111), &url), None);
    }

    #[test]
    fn retry_after_in_both_forms() {
        let of = |value: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        const DAY: u64 = 24 * 3600;
        assert_eq!(retry_after(&HeaderMap::new()), None);
        assert_eq!(of("7", None), Some(7));
        assert_eq!(of(" 0 ", None), Some(0));
        assert_eq!(of("99999999999999999999999", None), Some(DAY));
        for nonsense in ["", "-1", "1.5", "soon", "+3"] {
            assert_eq!(of(nonsense, None), None, "{nonsense:?}");
        }
        let (now, later) = ("Fri, 31 Dec 1999 23:59:00 GMT", "Fri, 31 Dec 1999 23:59:59 GMT");
        assert_eq!(of(later, Some(now)), Some(59), "by the server's clock");
        assert_eq!(of(now, Some(later)), Some(0));
        assert_eq!(of(later, None), Some(0), "it is past");
        assert_eq!(of("Fri, 31 Dec 9999 23:59:59 GMT", None), Some(DAY));
        assert_eq!(of("Friday, 31-Dec-99 23:59:59 GMT", Some(now)), Some(59), "the obsolete forms too");
    }

    #[test]
    fn a_shown_url_has_no_secrets() {
        let url = Url::parse("https://ann:secret@host:8443/cometd?token=abc&x=1#f").unwrap();
        assert_eq!(display_url(&url), "https://host:8443/cometd?token=…&x=…");
        assert_eq!(display_url(&Url::parse("http://h/").unwrap()), "http://h/");
    }
}
