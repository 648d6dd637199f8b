//! What both transports share: proxy, headers, cookies, caps.

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
    /// Whether cookies that are for TLS alone are sent without it too.
    pub(crate) secure_cookies_over_http: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) max_message_size: usize,
    /// In bytes per second.
    pub(crate) min_receive_rate: u32,
    pub(crate) subprotocol: Option<String>,
}

impl HttpOptions {
    /// How long a peer may read nothing of what waits for it.
    pub(super) fn reading_patience(&self) -> Duration {
        const TIMES: u32 = 3;
        const AT_LEAST: Duration = Duration::from_secs(1);
        // As good as for ever, for a timeout that is.
        const AT_MOST: Duration = Duration::from_secs(24 * 3600);
        self.request_timeout.saturating_mul(TIMES).clamp(AT_LEAST, AT_MOST)
    }
}

/// Which proxy to go through, for both transports.
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
    /// What the environment says: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`. The default.
    pub fn system() -> Self {
        Self(Choice::System)
    }

    /// None, whatever the environment says.
    pub fn none() -> Self {
        Self(Choice::None)
    }

    /// This one for everything: `http://`, `https://`, `socks5://` or `socks5h://`, with `user:password@` before
    /// the host when it asks for them. A WebSocket goes through an HTTP proxy in a tunnel (`CONNECT`).
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn url(url: &str) -> Result<Self, Error> {
        let invalid = |why: &str| Error::config(format!("the proxy URL cannot be used: {why}"));
        let parsed = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
        check_scheme(&parsed)?;
        match parsed.scheme() {
            "http" | "https" | "socks5" | "socks5h" | "socks4" | "socks4a" if parsed.has_host() => {
                Ok(Self(Choice::Url(parsed)))
            }
            "http" | "https" | "socks5" | "socks5h" | "socks4" | "socks4a" => {
                Err(invalid("it names no host"))
            }
            scheme => Err(invalid(&format!("{scheme}:// is no proxy; take http://, https:// or socks5h://"))),
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

/// The URL of a proxy as it may be shown: its scheme, host and port.
pub(super) fn display_proxy(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}
