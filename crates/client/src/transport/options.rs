//! What both transports share: proxy, headers, cookies, caps.

use std::time::Duration;

use http::HeaderMap;
use url::Url;

use super::tls::TlsOptions;
use crate::error::Error;

/// The settings of the HTTP stack.
#[derive(Clone, Debug)]
pub(crate) struct HttpOptions {
    pub(crate) tls: TlsOptions,
    pub(crate) proxy: Proxy,
    pub(crate) headers: HeaderMap,
    pub(crate) cookies: Vec<(String, String)>,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_message_size: usize,
    pub(crate) subprotocol: Option<String>,
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
            Choice::Url(url) => write!(f, "Proxy({})", super::failure::display_url(url)),
        }
    }
}
