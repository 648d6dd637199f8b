//! The options of a client, each with a default.

use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::Transport;
use bayeux_proto::client::{Config, Delivery, Offline};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use crate::auth::Auth;
use crate::client::Client;
use crate::driver::{Parts, Urls};
use crate::error::Error;
use crate::extension::{Extension, Extensions};
use crate::queue::{Capacity, Overflow};
use crate::retry::{Decide, Retry};
use crate::transport::{HttpOptions, HttpStack, Proxy, TlsOptions, display_url};

/// Makes a [`Client`]. Every wait and every size has a bound and a default, named at its method.
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    url: String,
    fallback_urls: Vec<String>,
    polling_url: Option<String>,
    websocket_url: Option<String>,
    suffix: bool,
    session: Config,
    http: HttpOptions,
    headers: Vec<(String, String)>,
    patience: Option<Duration>,
    auth_timeout: Duration,
    decide_retry: Option<Decide>,
    inbox: Capacity,
    stream: Capacity,
    extensions: Extensions,
    auth: AuthSlot,
}

#[derive(Default)]
struct AuthSlot(Option<Arc<dyn Auth>>);

impl Client {
    /// Opens a connection with default options: `builder(url).build()?` and [`open`](Client::open).
    ///
    /// # Errors
    /// As those two.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let client = Self::builder(url).build()?;
        client.open().await?;
        Ok(client)
    }

    /// Begins with the server's URL, `http://`, `https://`, `ws://` or `wss://`; all options have defaults.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        const BYTES: usize = 64 * 1024 * 1024;
        let session = Config::default();
        let http = HttpOptions {
            tls: TlsOptions::new(),
            proxy: Proxy::system(),
            headers: HeaderMap::new(),
            cookies: Vec::new(),
            secure_cookies_over_http: false,
            connect_timeout: session.connect_timeout,
            request_timeout: session.request_timeout,
            max_message_size: 16 * 1024 * 1024,
            min_receive_rate: 100,
            subprotocol: None,
        };
        let capacity = |messages| Capacity { messages, bytes: BYTES, overflow: Overflow::default() };
        Self {
            url,
            fallback_urls: Vec::new(),
            polling_url: None,
            websocket_url: None,
            suffix: true,
            session,
            http,
            headers: Vec::new(),
            patience: Some(Duration::from_secs(10)),
            auth_timeout: Duration::from_secs(30),
            decide_retry: None,
            inbox: capacity(65_536),
            stream: capacity(16_384),
            extensions: Extensions::default(),
            auth: AuthSlot::default(),
        }
    }

    /// The transports to use, the preferred one first. Default: WebSocket, then long-polling. The next is tried when
    /// one is refused or does not answer.
    pub fn transports(mut self, order: impl IntoIterator<Item = Transport>) -> Self {
        self.session.transports = order.into_iter().collect();
        self
    }

    /// Further URLs of the same cluster, in the order in which they are tried. When a server cannot be reached, or the
    /// connection to it broke and could not be made again, the next is tried at once, and after the last the first; a pause
    /// comes when all have failed, and grows from round to round as [`retry`](Builder::retry) says. The one that works is
    /// kept. Opening a closed client begins with the first again. Default: none.
    ///
    /// The cookies that a server sets go back to its own host name only, as the rules for cookies are. Over long-polling
    /// CometD's server finds a session by its cookie, so a URL that names the same server by another host name loses the
    /// session: a new one takes its place there, and messages may be missed. A server that sets its cookie for the common
    /// domain, that trusts the client id alone (CometD's `trustClientSession`), or a WebSocket, keeps it.
    ///
    /// A server that is new to the session is asked for it, and if it does not know it, a new one takes its place:
    /// [`Event::ServerChanged`](crate::Event::ServerChanged), [`Event::Rehandshaken`](crate::Event::Rehandshaken) and
    /// [`Event::GapPossible`](crate::Event::GapPossible) tell. All of them get the same headers, cookies of
    /// [`cookie`](Builder::cookie) and credentials, so name only those that may have them.
    pub fn fallback_urls<U: Into<String>>(mut self, urls: impl IntoIterator<Item = U>) -> Self {
        self.fallback_urls.extend(urls.into_iter().map(Into::into));
        self
    }

    /// Another URL for long-polling than that given to [`Client::builder`].
    pub fn long_polling_url(mut self, url: impl Into<String>) -> Self {
        self.polling_url = Some(url.into());
        self
    }

    /// Another URL for WebSocket than that given to [`Client::builder`].
    pub fn websocket_url(mut self, url: impl Into<String>) -> Self {
        self.websocket_url = Some(url.into());
        self
    }

    /// Whether a request with a single meta message adds its name to the URL, as in `/cometd/connect`, which helps
    /// proxies and logs to tell the long poll from the rest. Default: true, as CometD's clients. A URL with a query is
    /// always left alone.
    pub fn message_type_in_url(mut self, add: bool) -> Self {
        self.suffix = add;
        self
    }

    /// How long the connection may stay lost until receivers are told with a timeout error; the client goes on
    /// trying. Default: 10 s. `None`: they wait for ever.
    pub fn outage_timeout(mut self, patience: impl Into<Option<Duration>>) -> Self {
        self.patience = patience.into();
        self
    }

    /// How long making a connection may take: name, TCP, TLS, proxy and WebSocket upgrade. Default: 10 s.
    pub fn connect_timeout(mut self, wait: Duration) -> Self {
        self.http.connect_timeout = wait;
        self.session.connect_timeout = wait;
        self
    }

    /// How long a reply may take, not counting the time for which the server is asked to hold a connect (CometD's
    /// `maxNetworkDelay`). It is put off while a response is arriving. A broken connection is noticed this long after
    /// the server should have answered. Default: 10 s.
    pub fn request_timeout(mut self, wait: Duration) -> Self {
        self.session.request_timeout = wait;
        self
    }

    /// How long opening may take in all. Default: 30 s. `None`: for ever.
    pub fn open_timeout(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.session.open_timeout = wait.into();
        self
    }

    /// Whether opening tries again, within its timeout, when no transport gets through. Default: false, so that a
    /// mistyped address is told at once.
    pub fn retry_open(mut self, retry: bool) -> Self {
        self.session.retry_open = retry;
        self
    }

    /// How long closing may take. Default: 5 s.
    pub fn close_timeout(mut self, wait: Duration) -> Self {
        self.session.close_timeout = wait;
        self
    }

    /// The delays between attempts to connect, and when to give up; a [`Backoff`](crate::Backoff) alone never does.
    /// Default: 1 s doubling to 30 s, jittered, without end. With jitter the first delay after a loss is anywhere between
    /// nothing and its length, so that the clients of a server do not come back all at once. A longer interval that the
    /// server advises is obeyed, and so is `Retry-After`, up to [`max_advised_wait`](Builder::max_advised_wait).
    ///
    /// ```
    /// use bayeux::{Backoff, Client, Retry};
    /// use std::time::Duration;
    ///
    /// let backoff = Backoff::exponential(Duration::from_millis(200)..=Duration::from_secs(60)).jittered();
    /// let retry = Retry::new(backoff).max_elapsed(Duration::from_secs(3600)).give_up_on_fatal();
    /// let client = Client::builder("https://example.com/cometd").retry(retry).build()?;
    /// # Ok::<(), bayeux::Error>(())
    /// ```
    pub fn retry(mut self, retry: impl Into<Retry>) -> Self {
        let (policy, decide) = retry.into().into_parts();
        self.session.retry = policy;
        self.session.decide_retries = decide.is_some();
        self.decide_retry = decide;
        self
    }

    /// How long a WebSocket may be quiet before a ping asks whether the server is still there; `None` for no pings.
    /// A server that is gone is noticed this long, and [`request_timeout`](Builder::request_timeout), after it was
    /// last heard of. Default: 20 s; less than 1 s counts as 1 s. Over long-polling the held connect tells: a server that
    /// is gone is noticed `request_timeout` after it should have answered that.
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.session.ping_interval = interval.into();
        self
    }

    /// Whether to offer the acknowledge extension, with which each message arrives once and in order across any number
    /// of broken connections, for as long as the server keeps the session. Default: true. The server may decline.
    pub fn acknowledge(mut self, offer: bool) -> Self {
        self.session.ack = offer;
        self
    }

    /// What becomes of a publish that was on its way when the connection broke. Default:
    /// [`Delivery::AtMostOnce`]: it fails, and [`Error::is_fate_unknown`] says that the server may have it.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.session.delivery = delivery;
        self
    }

    /// What becomes of a publish or request while there is no connection. Default: [`Offline::Wait`].
    pub fn offline(mut self, offline: Offline) -> Self {
        self.session.offline = offline;
        self
    }

    /// How long a call waits for its turn, while the connection is being restored or while messages before it hang, and in
    /// all if it is sent more than once. Default: 10 s. Once it is sent, its reply may take
    /// [`request_timeout`](Builder::request_timeout): a call ends after both together at the latest, 20 s by default, or
    /// later only while bytes keep arriving. One that was never sent ends after `call_timeout`, and its error says so.
    pub fn call_timeout(mut self, wait: Duration) -> Self {
        self.session.call_timeout = wait;
        self
    }

    /// The longest wait that a server can ask for: with the `interval` and `timeout` of its advice, and with
    /// `Retry-After` on a failed request. A longer one is cut to this, and
    /// [`Event::AdviceCapped`](crate::Event::AdviceCapped) is emitted. Default: 1 h: longer than most maintenance takes,
    /// while a number that was meant otherwise does not silence the client for good.
    pub fn max_advised_wait(mut self, wait: Duration) -> Self {
        self.session.max_advised_wait = wait;
        self
    }

    /// How long a refused transport is left alone before it is tried again. Default: 5 min.
    pub fn transport_cooldown(mut self, wait: Duration) -> Self {
        self.session.transport_cooldown = wait;
        self
    }

    /// The largest response body or frame, in bytes, after decompression. Default: 16 MiB, because servers put many
    /// messages into one response. A larger one is a failure of the connection.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.http.max_message_size = bytes;
        self
    }

    /// How many bytes a second a response body or a WebSocket message must have arrived with on average, once it has been
    /// arriving for 30 s; one that is slower is a failure of the connection. The time before its first byte does not
    /// count. Default: 100, of which the slowest links carry a multiple; 0 for no limit.
    pub fn min_receive_rate(mut self, bytes_per_second: u32) -> Self {
        self.http.min_receive_rate = bytes_per_second;
        self
    }

    /// The largest frame or request body to send, in bytes: a larger message is refused, and a
    /// [`batch`](Client::batch) that is larger goes out in several. What [extensions](crate::Extension) add does not count.
    /// Default: 1 MiB, as CometD's Java client, and as this project's server takes.
    pub fn max_send_size(mut self, bytes: usize) -> Self {
        self.session.max_send_size = bytes;
        self
    }

    /// How many calls may wait for their reply at once. Default: 10,000.
    pub fn max_pending_calls(mut self, calls: usize) -> Self {
        self.session.max_pending = calls;
        self
    }

    /// How many messages wait in the inbox, and what happens to more. Default: 65,536 messages of 64 MiB in all, and
    /// [`Overflow::DropOldest`]. What is dropped is counted, and [`Event::SlowConsumer`](crate::Event::SlowConsumer) with
    /// the sum is emitted at most once a second.
    pub fn inbox(mut self, messages: usize, overflow: Overflow) -> Self {
        self.inbox = Capacity { messages: messages.max(1), overflow, ..self.inbox };
        self
    }

    /// The same for each stream. Default: 16,384 messages of 64 MiB in all, and [`Overflow::DropOldest`].
    pub fn stream_queue(mut self, messages: usize, overflow: Overflow) -> Self {
        self.stream = Capacity { messages: messages.max(1), overflow, ..self.stream };
        self
    }

    /// Whom to trust over TLS, and as whom to come. Default: whom the operating system trusts.
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.http.tls = tls;
        self
    }

    /// Which proxy to go through. Default: what the environment says.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.http.proxy = proxy;
        self
    }

    /// A header for each HTTP request, the WebSocket upgrade among them.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// A cookie for each HTTP request. The cookies that the server sets are kept besides, for this client alone: at most 50
    /// of a domain and 300 in all, of 4 KiB each, of which a request carries at most 16 KiB. None is kept for a domain
    /// under which anybody can have a name, as `co.uk`.
    pub fn cookie(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.http.cookies.push((name.into(), value.into()));
        self
    }

    /// Whether cookies that the server marks as `Secure` are sent over plain `http://` and `ws://` too, as a server behind a
    /// proxy that adds TLS may need. Anybody on the way can read them. Default: false;
    /// [`Event::CookiesWithheld`](crate::Event::CookiesWithheld) names those that were withheld. Loopback addresses always get
    /// them.
    pub fn secure_cookies_over_http(mut self, send: bool) -> Self {
        self.http.secure_cookies_over_http = send;
        self
    }

    /// The WebSocket subprotocol to ask for. Default: none, as CometD.
    pub fn websocket_protocol(mut self, name: impl Into<String>) -> Self {
        self.http.subprotocol = Some(name.into());
        self
    }

    /// A field for each handshake message. The protocol's own fields win.
    pub fn handshake_field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.session.handshake_fields.insert(name.into(), value.into());
        self
    }

    /// A key for the `ext` of each handshake message.
    pub fn handshake_ext(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.session.handshake_ext.insert(key.into(), value.into());
        self
    }

    /// Adds an extension.
    pub fn extension(mut self, extension: impl Extension) -> Self {
        self.extensions.add(extension);
        self
    }

    /// Whom to ask for credentials. Default: nobody.
    pub fn auth(mut self, auth: impl Auth) -> Self {
        self.auth.0 = Some(Arc::new(auth));
        self
    }

    /// How long the answer to that may take. Default: 30 s.
    pub fn auth_timeout(mut self, wait: Duration) -> Self {
        self.auth_timeout = wait;
        self
    }

    /// Makes the client, not yet open.
    ///
    /// # Errors
    /// When a URL, a header, a cookie or the list of transports cannot be used; the error says which, and why.
    pub fn build(self) -> Result<Client, Error> {
        let url = parse_url(&self.url)?;
        let polling_url =
            self.polling_url.as_deref().map(parse_url).transpose()?.unwrap_or_else(|| url.clone());
        let websocket_url =
            self.websocket_url.as_deref().map(parse_url).transpose()?.unwrap_or_else(|| url.clone());
        let mut urls = vec![url];
        let mut servers = vec![Urls { polling: polling_url, websocket: websocket_url }];
        for text in &self.fallback_urls {
            let url = parse_url(text)?;
            if url.scheme() != urls[0].scheme() {
                return Err(Error::config("all URLs of a cluster must be with TLS, or all without"));
            }
            servers.push(Urls { polling: url.clone(), websocket: url.clone() });
            urls.push(url);
        }
        let mut session = self.session;
        session.transports = checked_transports(&session.transports)?;
        session.same_endpoint = servers[0].polling.origin() == servers[0].websocket.origin();
        session.endpoint = display_url(&urls[0]);
        session.fallbacks = urls[1..].iter().map(display_url).collect();
        session.has_auth = self.auth.0.is_some();
        session.seed = fastrand::u64(..);
        let mut http = self.http;
        http.headers = headers(&self.headers)?;
        http.request_timeout = session.request_timeout;
        http.cookies.iter().try_for_each(|(name, value)| check_cookie(name, value))?;
        let all =
            servers.iter().flat_map(|server| [server.polling.clone(), server.websocket.clone()]).collect();
        let parts = Parts {
            http: Arc::new(HttpStack::new(http, all)),
            session,
            servers,
            suffix: self.suffix,
            extensions: self.extensions,
            auth: self.auth.0,
            auth_timeout: self.auth_timeout,
            decide_retry: self.decide_retry,
            patience: self.patience,
        };
        Ok(Client::new(parts, urls, self.inbox, self.stream))
    }
}

/// Takes `ws` and `wss` for `http` and `https`: they are the same server.
fn parse_url(text: &str) -> Result<Url, Error> {
    let invalid = |why: String| Error::config(format!("{:?} is no URL of a server: {why}", shown(text)));
    let mut url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
    let scheme = match url.scheme() {
        "http" | "ws" => "http",
        "https" | "wss" => "https",
        other => {
            return Err(invalid(format!(
                "it begins with {other}:// instead of http://, https://, ws:// or wss://"
            )));
        }
    };
    // `Url` does not change the scheme between special ones without a reason to.
    url.set_scheme(scheme).map_err(|()| invalid("its scheme cannot be changed".to_owned()))?;
    if !url.has_host() {
        return Err(invalid("it names no host".to_owned()));
    }
    url.set_fragment(None);
    Ok(url)
}

/// What was given, without what may be a secret in it.
fn shown(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) => display_url(&url),
        Err(_) => {
            let text = text.rsplit('@').next().unwrap_or(text);
            text.split(['?', '#']).next().unwrap_or(text).chars().take(120).collect()
        }
    }
}

fn checked_transports(order: &[Transport]) -> Result<Vec<Transport>, Error> {
    let mut known: Vec<Transport> = Vec::new();
    for kind in order {
        match kind {
            Transport::WebSocket | Transport::LongPolling if known.contains(kind) => {}
            Transport::WebSocket | Transport::LongPolling => known.push(*kind),
            other => {
                return Err(Error::config(format!(
                    "{other} is a transport for browsers, which this client lacks"
                )));
            }
        }
    }
    if known.is_empty() {
        return Err(Error::config("there must be at least one connection type"));
    }
    Ok(known)
}

/// The characters of RFC 6265, section 4.1.1, and in values some more that browsers take.
fn check_cookie(name: &str, value: &str) -> Result<(), Error> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(Error::config(format!("{name:?} is no name of a cookie")));
    }
    if value.chars().any(|c| c.is_ascii_control() || c == ';' || !c.is_ascii()) {
        return Err(Error::config(format!(
            "the value of the cookie {name} has characters that cookies cannot have"
        )));
    }
    Ok(())
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Error::config(format!("{name:?} is no name of a header")))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            Error::config(format!("the value of the header {name} has characters that headers cannot have"))
        })?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(headers)
}

impl std::fmt::Debug for Builder {
    /// Without what may be secret: values of headers, cookies and handshake fields, and passwords in URLs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Builder")
            .field("url", &shown(&self.url))
            .field("fallback_urls", &self.fallback_urls.iter().map(|url| shown(url)).collect::<Vec<_>>())
            .field("transports", &self.session.transports)
            .field("headers", &headers)
            .field("tls", &self.http.tls)
            .field("proxy", &self.http.proxy)
            .field("extensions", &self.extensions.count())
            .field("auth", &self.auth.0.is_some())
            .finish_non_exhaustive()
    }
}
