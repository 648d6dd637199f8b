//! The options of a client, each with a default.

use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::Transport;
use bayeux_proto::client::{Config, Delivery, Offline};
use http::{HeaderMap, HeaderName};
use serde_json::Value;
use url::Url;

use crate::auth::Auth;
use crate::client::Client;
use crate::driver::{Parts, Urls};
use crate::error::Error;
use crate::extension::{Extension, Extensions};
use crate::filter::PayloadFilter;
use crate::operation::header;
use crate::queue::{Capacity, Overflow};
use crate::replay::{ReplayFallback, ReplayOptions, ReplayStore};
use crate::retry::{Decide, Retry};
use crate::transport::{HttpOptions, HttpStack, Proxy, TlsOptions, check_scheme, display_url};

/// The options of a [`Client`], from [`Client::builder`].
///
/// Every timeout, queue and size has a limit with a default, which the method documents.
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
    outage_timeout: Option<Duration>,
    auth_timeout: Duration,
    decide_retry: Option<Decide>,
    replay: ReplayOptions,
    inbox: Capacity,
    stream: Capacity,
    extensions: Extensions,
    filter: Option<Arc<dyn PayloadFilter>>,
    auth: AuthSlot,
}

#[derive(Default)]
struct AuthSlot(Option<Arc<dyn Auth>>);

impl Client {
    /// Opens a session with default options: [`builder`](Client::builder)`(url).build()?`, then [`open`](Client::open).
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let running = Server::builder().build()?.bind("127.0.0.1:0").await?;
    /// # let url = running.url();
    /// let client = bayeux::Client::connect(&url).await?;
    /// assert_eq!(client.state(), bayeux::State::Connected);
    /// client.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the URL is invalid, and the errors of [`open`](Client::open).
    ///
    /// # Cancel safety
    /// Dropping the future gives up the attempt and drops the client.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let client = Self::builder(url).build()?;
        client.open().await?;
        Ok(client)
    }

    /// Starts a client for a server's URL: `http://`, `https://`, `ws://` or `wss://`. `ws` means the same as `http`, and `wss` the
    /// same as `https`: the option [`transports`](Builder::transports) chooses the transport.
    ///
    /// ```
    /// use bayeux::{Client, Transport};
    /// use std::time::Duration;
    ///
    /// let client = Client::builder("https://example.com/cometd")
    ///     .transports([Transport::LongPolling])
    ///     .connect_timeout(Duration::from_secs(5))
    ///     .header("X-Tenant", "acme")
    ///     .build()?;
    /// assert!(client.is_closed());
    /// # Ok::<(), bayeux::Error>(())
    /// ```
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        const BYTES: usize = 64 * 1024 * 1024;
        let mut session = Config::default();
        session.replay = true;
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
            outage_timeout: Some(Duration::from_secs(10)),
            auth_timeout: Duration::from_secs(30),
            decide_retry: None,
            replay: ReplayOptions::default(),
            inbox: capacity(65_536),
            stream: capacity(16_384),
            extensions: Extensions::default(),
            filter: None,
            auth: AuthSlot::default(),
        }
    }

    /// The transports to use, the preferred one first. If one is refused or does not answer, the client uses the next. Default:
    /// WebSocket, then long-polling.
    #[doc(alias = "connection_types")]
    pub fn transports(mut self, order: impl IntoIterator<Item = Transport>) -> Self {
        self.session.transports = order.into_iter().collect();
        self
    }

    /// More URLs of the same cluster, in the order in which they are tried. Default: none.
    ///
    /// If a server cannot be reached, or if the connection to it is lost and cannot be restored, the client tries the next URL at
    /// once, and after the last one the first. It waits only after all of them have failed, for a delay that grows from round to
    /// round as [`retry`](Builder::retry) specifies. It stays with the server that works. Opening a closed client starts with the
    /// first URL again.
    ///
    /// A server that is new to the session may not know it. The client then gets a new session, and the events
    /// [`ServerChanged`](crate::Event::ServerChanged), [`Rehandshaken`](crate::Event::Rehandshaken) and
    /// [`GapPossible`](crate::Event::GapPossible) are emitted.
    ///
    /// Cookies of a server are sent to its own host name only. Over long-polling, CometD's server finds a session by its cookie, so
    /// a URL that names the same server by another host name loses the session, and messages may be missed. The session is kept over
    /// a WebSocket, if the server sets its cookie for the common domain, or if it trusts the client id alone (CometD's
    /// `trustClientSession`).
    ///
    /// All servers get the same headers, cookies of [`cookie`](Builder::cookie) and credentials. Add only URLs that may have them.
    pub fn fallback_urls<U: Into<String>>(mut self, urls: impl IntoIterator<Item = U>) -> Self {
        self.fallback_urls.extend(urls.into_iter().map(Into::into));
        self
    }

    /// The URL for long-polling. Default: the URL given to [`Client::builder`].
    pub fn long_polling_url(mut self, url: impl Into<String>) -> Self {
        self.polling_url = Some(url.into());
        self
    }

    /// The URL for WebSocket. Default: the URL given to [`Client::builder`].
    pub fn websocket_url(mut self, url: impl Into<String>) -> Self {
        self.websocket_url = Some(url.into());
        self
    }

    /// Whether a request with a single meta message adds the message type to the URL, as in `/cometd/connect`, so that proxies and
    /// logs can distinguish the held connect from other requests. Default: true, as in CometD's clients. A URL with a query is never
    /// changed.
    pub fn message_type_in_url(mut self, add: bool) -> Self {
        self.suffix = add;
        self
    }

    /// How long an outage may last until receivers get a timeout error. The client goes on restoring the connection, and the
    /// receiver can be read again. Default: 10 s, so that a program notices an outage but not every lost connection. `None`: no
    /// error.
    #[doc(alias = "connection_timeout")]
    pub fn outage_timeout(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.outage_timeout = wait.into();
        self
    }

    /// How long making a connection may take: name resolution, TCP, TLS, the proxy and the WebSocket upgrade. Default: 10 s.
    pub fn connect_timeout(mut self, wait: Duration) -> Self {
        self.http.connect_timeout = wait;
        self.session.connect_timeout = wait;
        self
    }

    /// How long the server may take to reply, in addition to the time for which it is asked to hold a connect (CometD's
    /// `maxNetworkDelay`). The timeout starts again while a response is arriving. A broken connection is detected this long after
    /// the reply was due. Default: 10 s.
    pub fn request_timeout(mut self, wait: Duration) -> Self {
        self.session.request_timeout = wait;
        self
    }

    /// How long [`open`](Client::open) may take in total. Default: 30 s. `None`: no limit.
    pub fn open_timeout(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.session.open_timeout = wait.into();
        self
    }

    /// Whether [`open`](Client::open) tries again, until [`open_timeout`](Builder::open_timeout), if no transport works. Default:
    /// false, so that a mistyped address is an error at once.
    pub fn retry_open(mut self, retry: bool) -> Self {
        self.session.retry_open = retry;
        self
    }

    /// How long [`close`](Client::close) may take. Default: 5 s.
    pub fn close_timeout(mut self, wait: Duration) -> Self {
        self.session.close_timeout = wait;
        self
    }

    /// The delays between attempts to connect, and when to give up. A [`Backoff`](crate::Backoff) alone never gives up. Default: 1 s
    /// doubling to 30 s, with jitter, without end.
    ///
    /// With jitter, the first delay after a loss is between zero and its full length, so that the clients of a server do not all
    /// come back at once. A longer interval from the server's advice, or from `Retry-After`, is obeyed up to
    /// [`max_advised_wait`](Builder::max_advised_wait).
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

    /// How long a WebSocket may be idle before the client sends a ping. `None`: no pings. Default: 20 s; less than 1 s counts as 1 s.
    ///
    /// A server that does not answer is detected this long plus [`request_timeout`](Builder::request_timeout) after the last byte
    /// from it. Over long-polling the held connect serves as the heartbeat, and a dead server is detected `request_timeout` after
    /// the server should have answered that.
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.session.ping_interval = interval.into();
        self
    }

    /// Whether to offer the acknowledge extension. With it, each message arrives once and in order across any number of lost
    /// connections, as long as the server keeps the session. Default: true. The server may not support it.
    pub fn acknowledge(mut self, offer: bool) -> Self {
        self.session.ack = offer;
        self
    }

    /// What happens to a publish that was sent but not confirmed when the connection was lost. Default: [`Delivery::AtMostOnce`]: the
    /// call fails, and [`Error::is_fate_unknown`] is true because the server may have received it.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.session.delivery = delivery;
        self
    }

    /// What happens to a publish or a request while there is no connection. Default: [`Offline::Wait`].
    pub fn offline(mut self, offline: Offline) -> Self {
        self.session.offline = offline;
        self
    }

    /// How long a call may wait before it is sent, while the connection is being restored or while earlier messages are unanswered,
    /// and how long it may take in total if it is sent more than once. Default: 10 s.
    ///
    /// Once it is sent, its reply may take [`request_timeout`](Builder::request_timeout). A call thus ends after the sum of both at
    /// the latest, 20 s by default, or later while bytes keep arriving. A call that was never sent ends after `call_timeout`, and its
    /// error says so.
    pub fn call_timeout(mut self, wait: Duration) -> Self {
        self.session.call_timeout = wait;
        self
    }

    /// The longest wait that a server can ask for, with the `interval` and `timeout` of its advice or with `Retry-After`. A longer
    /// one is reduced to this, and [`Event::AdviceCapped`](crate::Event::AdviceCapped) is emitted. Default: 1 h, longer than most
    /// maintenance takes, so that a mistaken value cannot stop the client for good.
    pub fn max_advised_wait(mut self, wait: Duration) -> Self {
        self.session.max_advised_wait = wait;
        self
    }

    /// How long a transport that was refused is not tried again. Default: 5 min.
    pub fn transport_cooldown(mut self, wait: Duration) -> Self {
        self.session.transport_cooldown = wait;
        self
    }

    /// The largest response body or frame, in bytes after decompression. A larger one is a failure of the connection. Default:
    /// 16 MiB, because servers put many messages into one response.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.http.max_message_size = bytes;
        self
    }

    /// The lowest average rate, in bytes per second, at which a response body or a WebSocket message may arrive, checked once it has
    /// been arriving for 30 s. A slower one is a failure of the connection. The time before its first byte does not count. Default:
    /// 100, which is far below the rate of the slowest links. 0: no limit.
    pub fn min_receive_rate(mut self, bytes_per_second: u32) -> Self {
        self.http.min_receive_rate = bytes_per_second;
        self
    }

    /// The largest request body or frame to send, in bytes. A larger message is an error, and a larger
    /// [`batch`](Client::batch) is sent in parts. What [extensions](crate::Extension) add does not count. Default: 1 MiB, as in
    /// CometD's Java client, which is also the limit of `bayeux-server`.
    pub fn max_send_size(mut self, bytes: usize) -> Self {
        self.session.max_send_size = bytes;
        self
    }

    /// How many calls may wait for their reply at the same time. Another call fails with
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy). Default: 10,000.
    pub fn max_pending_calls(mut self, calls: usize) -> Self {
        self.session.max_pending = calls;
        self
    }

    /// The limit of the inbox in messages, and what happens if it overflows. Default: 65,536 messages and
    /// [`Overflow::DropOldest`]. [`inbox_bytes`](Builder::inbox_bytes) sets the limit in bytes.
    ///
    /// Dropped messages are counted, and [`Event::SlowConsumer`](crate::Event::SlowConsumer) with their number is emitted at most
    /// once a second. A limit of 0 is an error of [`build`](Builder::build).
    pub fn inbox(mut self, messages: usize, overflow: Overflow) -> Self {
        self.inbox = Capacity { messages, overflow, ..self.inbox };
        self
    }

    /// The limit of the inbox in bytes of payloads. A message that is larger than the limit still fits an empty queue, because it
    /// could not be delivered otherwise. Default: 64 MiB.
    pub fn inbox_bytes(mut self, bytes: usize) -> Self {
        self.inbox.bytes = bytes;
        self
    }

    /// The limit of each stream's queue in messages, and what happens if it overflows, as for [`inbox`](Builder::inbox). Default:
    /// 16,384 messages and [`Overflow::DropOldest`]. [`Client::with_stream_queue`] sets it for single streams.
    pub fn stream_queue(mut self, messages: usize, overflow: Overflow) -> Self {
        self.stream = Capacity { messages, overflow, ..self.stream };
        self
    }

    /// The limit of each stream's queue in bytes of payloads, as for [`inbox_bytes`](Builder::inbox_bytes). Default: 64 MiB.
    pub fn stream_queue_bytes(mut self, bytes: usize) -> Self {
        self.stream.bytes = bytes;
        self
    }

    /// Which certificates to trust, and the client certificate. Default: the certificates that the operating system trusts.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.http.tls = tls;
        self
    }

    /// The proxy, for both transports. Default: the proxy that the environment variables name.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.http.proxy = proxy;
        self
    }

    /// Adds a header to each HTTP request, the WebSocket upgrade included. A name may be added several times. An invalid name or value
    /// is an error of [`build`](Builder::build), which does not contain the value.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.headers.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Adds a cookie to each HTTP request.
    ///
    /// Cookies that the server sets are kept for this client alone: at most 50 per domain and 300 in total, of 4 KiB each, of which a
    /// request carries at most 16 KiB. Cookies for a public suffix, such as `co.uk`, are not kept.
    pub fn cookie(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.http.cookies.push((name.into(), value.into()));
        self
    }

    /// Whether cookies that the server marks as `Secure` are sent over plain `http://` and `ws://` too, as a server behind a proxy that
    /// adds TLS may need. Everybody on the path can read them. Default: false. Then
    /// [`Event::CookiesWithheld`](crate::Event::CookiesWithheld) names the cookies that were not sent. Loopback addresses always get
    /// them.
    pub fn secure_cookies_over_http(mut self, send: bool) -> Self {
        self.http.secure_cookies_over_http = send;
        self
    }

    /// Where the markers of [`Client::stream_from`] are kept. Default: in memory, for as long as the client lives.
    pub fn replay_store(mut self, store: impl ReplayStore) -> Self {
        self.replay.store = Arc::new(store);
        self
    }

    /// How a stream of [`Client::stream_from`] goes on if the server does not keep the event after which it is to begin, when it begins
    /// and when it is restored. Default: [`ReplayFallback::All`].
    pub fn replay_fallback(mut self, fallback: ReplayFallback) -> Self {
        self.replay.fallback = fallback;
        self
    }

    /// Whether handshakes announce replay (`{"ext": {"replay": true}}`). If they do, a server that does not confirm it is taken not to
    /// support it; if they do not, each server is taken to support it. Default: true.
    pub fn announce_replay(mut self, announce: bool) -> Self {
        self.session.replay = announce;
        self
    }

    /// Whether the client gets a new session if the server sends a `/meta/disconnect` by itself, as Salesforce does before maintenance.
    /// Default: false; the client is closed then.
    pub fn reopen_after_disconnect(mut self, reopen: bool) -> Self {
        self.session.survive_disconnect = reopen;
        self
    }

    /// The WebSocket subprotocol to request. Default: none, as in CometD.
    pub fn websocket_protocol(mut self, name: impl Into<String>) -> Self {
        self.http.subprotocol = Some(name.into());
        self
    }

    /// Adds a field to each handshake. Fields of the protocol itself cannot be replaced.
    pub fn handshake_field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.session.handshake_fields.insert(name.into(), value.into());
        self
    }

    /// Adds a key to the `ext` field of each handshake.
    pub fn handshake_ext(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.session.handshake_ext.insert(key.into(), value.into());
        self
    }

    /// Adds an [`Extension`], which sees all messages.
    pub fn extension(mut self, extension: impl Extension) -> Self {
        self.extensions.add(extension);
        self
    }

    /// The [`PayloadFilter`], which sees each body and frame as a whole. Default: none.
    pub fn payload_filter(mut self, filter: impl PayloadFilter) -> Self {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// The source of [`Credentials`](crate::Credentials), which sets headers of requests and the `ext` of handshakes. Default: none.
    pub fn auth(mut self, auth: impl Auth) -> Self {
        self.auth.0 = Some(Arc::new(auth));
        self
    }

    /// How long [`Auth::credentials`] may take. Default: 30 s.
    pub fn auth_timeout(mut self, wait: Duration) -> Self {
        self.auth_timeout = wait;
        self
    }

    /// Creates the client, which is not open yet. It starts no task and makes no connection.
    ///
    /// # Errors
    /// Returns an error if a URL, a header, a cookie, the list of transports, the WebSocket subprotocol or the limit of a queue is
    /// invalid. The error names the option and the reason.
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
                return Err(Error::config("the URLs of a cluster must all use TLS, or none of them"));
            }
            servers.push(Urls { polling: url.clone(), websocket: url.clone() });
            urls.push(url);
        }
        if self.inbox.messages == 0 || self.stream.messages == 0 {
            return Err(Error::config("a queue must have a limit of at least one message"));
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
        if let Some(name) = &http.subprotocol {
            // The grammar of a subprotocol is that of a header name (RFC 6455, section 4.1).
            HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Error::config(format!("{name:?} is not a valid WebSocket subprotocol")))?;
        }
        http.request_timeout = session.request_timeout;
        http.cookies.iter().try_for_each(|(name, value)| check_cookie(name, value))?;
        let all =
            servers.iter().flat_map(|server| [server.polling.clone(), server.websocket.clone()]).collect();
        let parts = Parts {
            http: Arc::new(HttpStack::new(http, all, &session.handshake_ext)),
            session,
            servers,
            suffix: self.suffix,
            extensions: self.extensions,
            filter: self.filter,
            auth: self.auth.0,
            auth_timeout: self.auth_timeout,
            decide_retry: self.decide_retry,
            outage_timeout: self.outage_timeout,
        };
        Ok(Client::new(parts, self.replay, urls, self.inbox, self.stream))
    }
}

/// Parses a server's URL, with `ws` and `wss` as `http` and `https`: they are the same server.
fn parse_url(text: &str) -> Result<Url, Error> {
    let invalid =
        |why: String| Error::config(format!("{:?} is not a valid URL of a server: {why}", shown(text)));
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
    // `Url` can change the scheme between special ones.
    url.set_scheme(scheme).map_err(|()| invalid("its scheme cannot be changed".to_owned()))?;
    if !url.has_host() {
        return Err(invalid("it names no host".to_owned()));
    }
    check_scheme(&url)?;
    url.set_fragment(None);
    Ok(url)
}

/// The text of a URL without what may be secret in it.
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
                    "{other} is a transport for browsers, which this client does not support"
                )));
            }
        }
    }
    if known.is_empty() {
        return Err(Error::config("the list of transports is empty"));
    }
    Ok(known)
}

/// The characters of RFC 6265, section 4.1.1, and in values some more that browsers take.
fn check_cookie(name: &str, value: &str) -> Result<(), Error> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(Error::config(format!("{name:?} is not a valid cookie name")));
    }
    if value.chars().any(|c| c.is_ascii_control() || c == ';' || !c.is_ascii()) {
        return Err(Error::config(format!(
            "the value of the cookie {name} contains characters that cookies cannot have"
        )));
    }
    Ok(())
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let (name, value) = header(name, value)?;
        headers.append(name, value);
    }
    Ok(headers)
}

impl std::fmt::Debug for Builder {
    /// Omits what may be secret: values of headers, cookies and handshake fields, and passwords in URLs.
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
