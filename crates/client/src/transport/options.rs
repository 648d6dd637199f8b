//! The options that both transports share.

use std::time::Duration;

use http::HeaderMap;
use url::Url;

use super::tls::{TlsOptions, check_scheme};
use crate::error::Error;

/// The settings of the HTTP stack.
#[derive(Clone, Debug)]
pub(crate) struct HttpOptions {
    pub(crate) tls: TlsOptions,
    pub(crate) proxy: Proxy,
    pub(crate) headers: HeaderMap,
    pub(crate) cookies: Vec<(String, String)>,
    /// Whether `Secure` cookies are sent without TLS too.
    pub(crate) secure_cookies_over_http: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) max_message_size: usize,
    /// In bytes per second.
    pub(crate) min_receive_rate: u32,
    pub(crate) subprotocol: Option<String>,
}

impl HttpOptions {
    /// How long the peer may read nothing while data waits to be sent.
    pub(super) fn write_timeout(&self) -> Duration {
        const TIMES: u32 = 3;
        const AT_LEAST: Duration = Duration::from_secs(1);
        // Keeps the sums of times from overflowing.
        const AT_MOST: Duration = Duration::from_secs(24 * 3600);
        self.request_timeout.saturating_mul(TIMES).clamp(AT_LEAST, AT_MOST)
    }
}

/// The proxy of a client, for both transports.
#[derive(Clone, Default)]
pub struct Proxy(pub(crate) Choice);

#[derive(Clone, Default)]
pub(crate) enum Choice {
    #[default]
    System,
    None,
    Url(Url),
}

impl Proxy {
    /// The proxy that the environment variables `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name. The default.
    pub fn system() -> Self {
        Self(Choice::System)
    }

    /// No proxy, whatever the environment variables are.
    pub fn none() -> Self {
        Self(Choice::None)
    }

    /// This proxy for all connections: an `http://`, `https://`, `socks5://` or `socks5h://` URL, with `user:password@` before the host if
    /// the proxy requires them. A WebSocket uses a tunnel (`CONNECT`) through an HTTP proxy.
    ///
    /// # Errors
    /// Returns an error if the URL is invalid.
    pub fn url(url: &str) -> Result<Self, Error> {
        let invalid = |why: &str| Error::config(format!("the proxy URL cannot be used: {why}"));
        let parsed = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
        check_scheme(&parsed)?;
        match parsed.scheme() {
            "http" | "https" | "socks5" | "socks5h" | "socks4" | "socks4a" if parsed.has_host() => {
                Ok(Self(Choice::Url(parsed)))
            }
            "http" | "https" | "socks5" | "socks5h" | "socks4" | "socks4a" => Err(invalid("it has no host")),
            scheme => Err(invalid(&format!(
                "{scheme}:// is not a scheme of a proxy; use http://, https:// or socks5h://"
            ))),
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Choice::System => f.write_str("Proxy(system)"),
            Choice::None => f.write_str("Proxy(none)"),
            Choice::Url(url) => write!(f, "Proxy({})", display_proxy(url)),
        }
    }
}

/// The URL of a proxy without secrets: its scheme, host and port.
pub(super) fn display_proxy(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}
