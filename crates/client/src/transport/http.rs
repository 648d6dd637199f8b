//! The HTTP stack: two clients on one cookie jar, one that may speak HTTP/2 and one that may upgrade.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::redirect;
use serde_json::{Map, Value};
use url::Url;

use super::cause::root_cause;
use super::cookies::{Jar, SavedCookies};
use super::options::{Choice, HttpOptions};
use super::secrets::Secrets;
use super::tls;
use crate::error::Error;

/// Built once for a client; what TLS needs is made on first use.
#[derive(Debug)]
pub(crate) struct HttpStack {
    pub(super) options: HttpOptions,
    pub(super) jar: Arc<Jar>,
    secrets: Secrets,
    polling: Slot,
    upgrading: Slot,
}

type Slot = Mutex<Option<reqwest::Client>>;

impl HttpStack {
    pub(crate) fn new(options: HttpOptions, urls: Vec<Url>, ext: &Map<String, Value>) -> Self {
        let proxy = match &options.proxy.0 {
            Choice::Url(proxy) => Some(proxy),
            _ => None,
        };
        let mut secrets = Secrets::of(&options.headers, urls.iter().chain(proxy));
        secrets.add_ext(ext);
        let jar = Arc::new(Jar::new(options.cookies.clone(), urls, options.secure_cookies_over_http));
        Self { options, jar, secrets, polling: Slot::default(), upgrading: Slot::default() }
    }

    /// Takes credentials that are sent from now on, which are not to be shown.
    pub(crate) fn keep_secret(&self, headers: &HeaderMap, ext: &Map<String, Value>) {
        self.secrets.renew(headers, ext);
    }

    /// What a peer wrote, with `…` for each of this client's credentials in it.
    pub(crate) fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.secrets.mask(text, &self.jar.values())
    }

    /// Forgets the cookies that servers set.
    pub(crate) fn reset_cookies(&self) {
        self.jar.reset();
    }

    /// The cookies, to be restored in another process.
    pub(crate) fn save_cookies(&self) -> SavedCookies {
        self.jar.save()
    }

    /// Takes the cookies of another process.
    pub(crate) fn restore_cookies(&self, saved: &SavedCookies) -> Result<(), serde_json::Error> {
        self.jar.restore(saved)
    }

    /// The names of the cookies that were withheld for want of TLS since this was asked last.
    pub(crate) fn newly_withheld_cookies(&self) -> Option<Vec<String>> {
        self.jar.newly_withheld()
    }

    /// All that were withheld since they were forgotten last.
    pub(crate) fn withheld_cookies(&self) -> Vec<String> {
        self.jar.withheld()
    }

    /// Forgets which cookies were withheld.
    pub(crate) fn forget_withheld_cookies(&self) {
        self.jar.forget_withheld();
    }

    /// Leaves all connections: further requests get new ones, over HTTP/2 too. Those that are kept idle are closed, those
    /// in use when their request ends.
    pub(crate) fn leave_connections(&self) {
        for slot in [&self.polling, &self.upgrading] {
            slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// How many messages a body or frame may have. A message takes a few hundred bytes in memory, however short it is.
    pub(crate) fn max_messages(&self) -> usize {
        const AT_LEAST: usize = 1024;
        const BYTES_EACH: usize = 128;
        (self.options.max_message_size / BYTES_EACH).max(AT_LEAST)
    }

    pub(crate) fn max_message_size(&self) -> usize {
        self.options.max_message_size
    }

    /// The client for requests: HTTP/1.1, or HTTP/2 when TLS agrees on it.
    pub(super) fn polling(&self, url: &Url) -> Result<reqwest::Client, Error> {
        self.client(&self.polling, url, &[b"h2", b"http/1.1"])
    }

    /// The client for upgrades, which HTTP/2 does not have.
    pub(super) fn upgrading(&self, url: &Url) -> Result<reqwest::Client, Error> {
        self.client(&self.upgrading, url, &[b"http/1.1"])
    }

    /// Drops the client for upgrades. It is not needed again before the next, and without TLS it is quickly made.
    pub(super) fn upgraded(&self, url: &Url) {
        if url.scheme() == "http" {
            self.upgrading.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// The HTTP proxy that a plain WebSocket to `url` must tunnel through, if it must.
    pub(super) fn tunnel(&self, url: &Url) -> Option<Intercept> {
        self.proxy(url).filter(|proxy| matches!(proxy.uri().scheme_str(), Some("http")))
    }

    fn proxy(&self, url: &Url) -> Option<Intercept> {
        let matcher = match &self.options.proxy.0 {
            Choice::None => return None,
            Choice::System => Matcher::from_system(),
            Choice::Url(proxy) => Matcher::builder().all(proxy.as_str()).build(),
        };
        matcher.intercept(&url.as_str().parse().ok()?)
    }

    /// The proxy that a request to `url` goes through, for people: its URL without user and password.
    pub(super) fn proxy_of(&self, url: &Url) -> Option<String> {
        let shown = match &self.options.proxy.0 {
            Choice::Url(proxy) => super::options::display_proxy(proxy),
            _ => super::options::display_proxy(&Url::parse(&self.proxy(url)?.uri().to_string()).ok()?),
        };
        Some(format!("the proxy {shown}"))
    }

    fn client(&self, slot: &Slot, url: &Url, protocols: &[&[u8]]) -> Result<reqwest::Client, Error> {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let mut builder = tls::configure(reqwest::Client::builder(), &self.options.tls, url, protocols)?
            // The user's headers after ours, so that they win.
            .user_agent(concat!("bayeux/", env!("CARGO_PKG_VERSION")))
            .default_headers(self.options.headers.clone())
            .cookie_provider(Arc::clone(&self.jar))
            .connect_timeout(self.options.connect_timeout)
            .redirect(redirect::Policy::none())
            .referer(false)
            .tcp_nodelay(true);
        if !protocols.contains(&b"h2".as_slice()) {
            builder = builder.http1_only();
        }
        builder = match &self.options.proxy.0 {
            Choice::System => builder,
            Choice::None => builder.no_proxy(),
            Choice::Url(proxy) => {
                let proxy = reqwest::Proxy::all(proxy.as_str())
                    .map_err(|error| Error::config(format!("the proxy URL cannot be used: {error}")))?;
                builder.proxy(proxy)
            }
        };
        let client = builder.build().map_err(|error| {
            Error::config(format!("the HTTP client cannot be built: {}", root_cause(&error)))
        })?;
        Ok(slot.insert(client).clone())
    }
}
