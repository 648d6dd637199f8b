//! The HTTP stack: two clients on one cookie jar, one that may speak HTTP/2 and one that may upgrade.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri};
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::{Map, Value};
use url::Url;

use super::connector::Connector;
use super::cookies::{Jar, SavedCookies};
use super::options::{Choice, HttpOptions};
use super::secrets::Secrets;
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

type Slot = Mutex<Option<Client>>;

/// One client: its connections, and the proxies that they go through.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) hyper: legacy::Client<Connector, Full<Bytes>>,
    proxies: Arc<Matcher>,
    tunnels: bool,
}

impl Client {
    /// What a proxy that forwards a request wants to know of who asks. One that tunnels has been told already.
    pub(super) fn proxy_authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        if self.tunnels || uri.scheme_str() != Some("http") {
            return None;
        }
        self.proxies.intercept(uri)?.basic_auth().cloned()
    }
}

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
    pub(super) fn polling(&self, url: &Url) -> Result<Client, Error> {
        self.client(&self.polling, url, &[b"h2", b"http/1.1"])
    }

    /// The client for upgrades, which HTTP/2 does not have.
    pub(super) fn upgrading(&self, url: &Url) -> Result<Client, Error> {
        self.client(&self.upgrading, url, &[b"http/1.1"])
    }

    /// Drops the client for upgrades. It is not needed again before the next, and without TLS it is quickly made.
    pub(super) fn upgraded(&self, url: &Url) {
        if url.scheme() == "http" {
            self.upgrading.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    fn proxy(&self, url: &Url) -> Option<Intercept> {
        self.proxies().intercept(&url.as_str().parse().ok()?)
    }

    fn proxies(&self) -> Matcher {
        match &self.options.proxy.0 {
            Choice::None => Matcher::builder().build(),
            Choice::System => Matcher::from_system(),
            Choice::Url(proxy) => Matcher::builder().all(proxy.as_str()).build(),
        }
    }

    /// The proxy that a request to `url` goes through, for people: its URL without user and password.
    pub(super) fn proxy_of(&self, url: &Url) -> Option<String> {
        let shown = match &self.options.proxy.0 {
            Choice::Url(proxy) => super::options::display_proxy(proxy),
            _ => super::options::display_proxy(&Url::parse(&self.proxy(url)?.uri().to_string()).ok()?),
        };
        Some(format!("the proxy {shown}"))
    }

    fn client(&self, slot: &Slot, url: &Url, protocols: &[&[u8]]) -> Result<Client, Error> {
        /// How long a connection is kept that has nothing to do.
        const IDLE: Duration = Duration::from_secs(90);
        /// So much a server of HTTP/2 may send before it is taken. In the smallest pieces it takes much more to keep.
        const WINDOW: u32 = 512 * 1024;
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let server =
            url.as_str().parse::<Uri>().map_err(|error| Error::config(format!("the URL: {error}")))?;
        let proxies = Arc::new(self.proxies());
        let tunnels = !protocols.contains(&b"h2".as_slice());
        let connector = Connector::new(&self.options, Arc::clone(&proxies), &server, protocols, tunnels)?;
        let hyper = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(WINDOW)
            .build(connector);
        Ok(slot.insert(Client { hyper, proxies, tunnels }).clone())
    }
}
