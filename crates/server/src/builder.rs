//! The options of a server, each with a default.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::server::{Activity, AllowAll, Config, Engine, Policy, QueueOverflow};
use bayeux_proto::{Channel, Data, InvalidChannel, Transport};

use crate::cookie::SessionCookie;
use crate::handlers::{Handlers, Request, ServiceError};
use crate::hub::Hub;
use crate::options::Options;
use crate::server::Server;

/// Makes a [`Server`]. The defaults are CometD's where it has any.
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    config: Config,
    policy: Box<dyn Policy>,
    handlers: Handlers,
    options: Options,
}

impl Server {
    /// Begins with the defaults.
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            policy: Box::new(AllowAll),
            handlers: Handlers::default(),
            options: Options::default(),
        }
    }
}

impl Builder {
    /// How long a connect is held that has nothing to deliver; clients learn it and wait longer than that. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// How long clients are asked to wait between connects. Default: none, so that nothing is late.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.config.interval = interval;
        self
    }

    /// How long a session is kept, beyond the interval, that does not connect. What happens meanwhile waits for its client.
    /// Default: 10 s.
    pub fn max_interval(mut self, max_interval: Duration) -> Self {
        self.config.max_interval = max_interval;
        self
    }

    /// Whether clients are told [`max_interval`](Self::max_interval), so that they know when it is no use to connect any
    /// more. Default: false.
    pub fn handshake_reconnect(mut self, tell: bool) -> Self {
        self.config.handshake_reconnect = tell;
        self
    }

    /// Whether the acknowledge extension is granted to clients that offer it: what is lost on the way is sent again, for
    /// the price of a round trip between batches. Default: true.
    pub fn acknowledgements(mut self, grant: bool) -> Self {
        self.config.acknowledgements = grant;
        self
    }

    /// Whether the timesync extension is answered, which tells clients this machine's clock. Default: true.
    pub fn timesync(mut self, answer: bool) -> Self {
        self.options.timesync = answer;
        self
    }

    /// Whether what [`Policy::welcome`] says comes with the handshake reply, and not after it. Not all clients know of
    /// that. Default: false.
    pub fn messages_during_handshake(mut self, allow: bool) -> Self {
        self.config.messages_during_handshake = allow;
        self
    }

    /// Whether events wait for a connect, even if there is a socket to push them to or another reply to go with. With the
    /// acknowledge extension they always do. Default: false.
    pub fn connect_delivery_only(mut self, only: bool) -> Self {
        self.config.connect_delivery_only = only;
        self
    }

    /// The largest request body or frame, in bytes. Default: 1 MiB, so that nobody can fill the memory with one.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.options.max_message_size = bytes;
        self
    }

    /// How many messages one request or frame may have; the elements of their lists and fields that nobody knows may be
    /// twice as many. Default: 10,000, because each is answered.
    pub fn max_batch(mut self, messages: usize) -> Self {
        self.config.max_batch = messages;
        self
    }

    /// How many messages wait for a session that does not fetch them; see [`overflow`](Self::overflow). Default: 10,000.
    pub fn max_queue(mut self, messages: usize) -> Self {
        self.config.max_queue = messages.max(1);
        self
    }

    /// How many bytes these may have, with about 100 bytes for each besides its text. Default: 16 MiB.
    pub fn max_queue_bytes(mut self, bytes: usize) -> Self {
        self.config.max_queue_bytes = bytes;
        self
    }

    /// What happens to messages beyond; what is lost is told by [`SessionEvent::Dropped`](crate::SessionEvent::Dropped).
    /// Default: the oldest go.
    pub fn overflow(mut self, overflow: QueueOverflow) -> Self {
        self.config.overflow = overflow;
        self
    }

    /// How many bytes of events go into one response or frame, as long as there is more than one. Default: 512 KiB,
    /// because CometD's clients take no more than 1 MiB at once.
    pub fn max_reply_bytes(mut self, bytes: usize) -> Self {
        self.config.max_reply_bytes = bytes;
        self
    }

    /// How many sessions there may be; a handshake beyond is refused. Default: 1,000,000.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.config.max_sessions = sessions;
        self
    }

    /// How many subscriptions a session may have. Default: 10,000.
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.config.max_subscriptions = subscriptions;
        self
    }

    /// How many subscriptions all sessions may have together; one beyond is refused with `503::server_busy`.
    /// Default: 1,000,000.
    pub fn max_subscriptions_in_all(mut self, subscriptions: usize) -> Self {
        self.config.max_subscriptions_in_all = subscriptions;
        self
    }

    /// How many bytes of memory the server may use for its clients: sessions, subscriptions, messages that wait or are being
    /// sent, requests that are much work. [`Server::memory`] is how many it does use. When they are nearly used up, the
    /// sessions with the fullest queues lose them, as with [`overflow`](Self::overflow); if that is not enough, what clients
    /// ask for is refused with `503::server_busy`. Buffers of connections are not counted. Default: 512 MiB, which is 4 KiB
    /// for each of 125,000 sessions.
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.config.max_memory = bytes;
        self
    }

    /// For how long a client may ask not to have to connect, with the `interval` of its advice: for so long, and
    /// [`max_interval`](Self::max_interval), the session and its messages are kept. A longer one is cut. Default: 60 s.
    pub fn max_client_interval(mut self, interval: Duration) -> Self {
        self.config.max_client_interval = interval;
        self
    }

    /// How many WebSockets may be open; an upgrade beyond is refused. [`Server::bind`] accepts as many connections besides;
    /// beyond, it closes one that only waits for a request, or waits for one to end if all have requests to be answered.
    /// Default: 100,000.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.options.max_connections = connections;
        self
    }

    /// How many calls of services may run at once; a call beyond is answered with `503::too_many_calls`. Default: 10,000.
    pub fn max_service_calls(mut self, calls: usize) -> Self {
        self.options.max_service_calls = calls;
        self
    }

    /// How many connects are held at once for one browser, because browsers make only few connections to one server; its
    /// other windows poll. `None` is no limit, 0 holds none. Default: 1.
    pub fn max_sessions_per_browser(mut self, sessions: Option<usize>) -> Self {
        self.config.max_sessions_per_browser = sessions;
        self
    }

    /// The same for browsers that speak HTTP/2, where all requests share one connection. Default: no limit.
    pub fn http2_max_sessions_per_browser(mut self, sessions: Option<usize>) -> Self {
        self.config.http2_max_sessions_per_browser = sessions;
        self
    }

    /// How often those poll; zero refuses them. Default: 2 s.
    pub fn multi_session_interval(mut self, interval: Duration) -> Self {
        self.config.multi_session_interval = interval;
        self
    }

    /// Whether a session may be used without the [cookie](Self::session_cookie) that it began with. Default: false, so that
    /// a client id alone is no use to a thief: a request without the cookie, or over a new WebSocket that was opened
    /// without it, gets `402::session_unknown`.
    ///
    /// Clients that keep no cookies need it over HTTP, and those that move from HTTP to a WebSocket. The risk: client ids
    /// stand in every message, so they are in the logs of proxies and in traces, and with one of them anybody can receive the
    /// events of that session and publish in its name. A session that began on a WebSocket is issued a cookie with the upgrade;
    /// while its client has never sent that, it may move to another WebSocket by its id, as it may with CometD's server, but
    /// never to HTTP. A session that began over HTTP always needs its cookie. Its client may have opened a WebSocket before
    /// there was one, as Faye's does: the first such WebSocket is closed without an answer, so that the client opens another.
    pub fn trust_client_session(mut self, trust: bool) -> Self {
        self.config.trust_client_session = trust;
        self
    }

    /// Whether a socket must handshake before anything else. Then a session ends with its socket. Default: false.
    pub fn require_handshake_per_connection(mut self, require: bool) -> Self {
        self.config.require_handshake_per_connection = require;
        self
    }

    /// The HTTP status, from 400 on, for a held connect whose place another connect of the session takes. Default: 500.
    pub fn duplicate_connect_status(mut self, status: u16) -> Self {
        self.config.duplicate_connect_status = status.clamp(400, 599);
        self
    }

    /// After how long without activity a session is ended, although it connects. It is looked at with each connect.
    /// Default: never.
    pub fn max_inactivity(mut self, longest: Option<Duration>) -> Self {
        self.config.max_inactivity = longest;
        self
    }

    /// Whose activity counts for that. Default: the client's.
    pub fn activity(mut self, activity: Activity) -> Self {
        self.config.activity = activity;
        self
    }

    /// The name and attributes of the cookie that binds a session to its browser. Default: `BAYEUX_BROWSER`, for the path
    /// `/`, and not to be read by scripts, as CometD has it.
    pub fn session_cookie(mut self, cookie: SessionCookie) -> Self {
        self.options.cookie = cookie;
        self
    }

    /// How long a socket may send no message before it is closed, which must be longer than
    /// [`timeout`](Self::timeout) and [`interval`](Self::interval) together. Pings do not count. For its first message it
    /// has no longer than [`head_timeout`](Self::head_timeout). Default: 5 min.
    pub fn socket_idle_timeout(mut self, longest: Duration) -> Self {
        self.options.socket_idle_timeout = longest;
        self
    }

    /// How long the head of a request may take to arrive at [`Server::bind`]: the first from the moment the connection is
    /// accepted, the detection of the protocol included, each later one from its first byte. Then the connection is
    /// closed. Default: 30 s.
    pub fn head_timeout(mut self, longest: Duration) -> Self {
        self.options.head_timeout = longest;
        self
    }

    /// How long a request body may take to arrive as a whole; after its first 10 s it must have come at
    /// [`min_rate`](Self::min_rate) besides. A later one is answered with 408. Default: 30 s.
    pub fn body_timeout(mut self, longest: Duration) -> Self {
        self.options.body_timeout = longest;
        self
    }

    /// How long a connection of [`Server::bind`] may be idle between requests before it is closed. Default: 60 s.
    pub fn idle_timeout(mut self, longest: Duration) -> Self {
        self.options.idle_timeout = longest;
        self
    }

    /// How long a client may read nothing of what it is sent. Then its WebSocket or its connection of HTTP/1.1 is cut, and
    /// of HTTP/2 the stream reset. It is also the time for the answer to a close frame. Default: 30 s.
    pub fn write_timeout(mut self, longest: Duration) -> Self {
        self.options.write_timeout = longest;
        self
    }

    /// How long a client may take to read a response as a whole. Then it is cut. So long its session, whose
    /// [`max_interval`](Self::max_interval) begins when the response has been written, is kept besides; over WebSocket, while
    /// frames wait for a slow client. Default: 5 min.
    pub fn response_timeout(mut self, longest: Duration) -> Self {
        self.options.response_timeout = longest;
        self.config.response_timeout = longest;
        self
    }

    /// How many bytes per second a body must bring, on the average and after 10 s, and a connection or WebSocket take, after
    /// [`write_timeout`](Self::write_timeout), while anything waits to be read. 0 is no minimum. Default: 1,024, which the
    /// slowest mobile networks do.
    pub fn min_rate(mut self, bytes_per_second: u32) -> Self {
        self.options.min_rate = bytes_per_second;
        self
    }

    /// How many bytes of request bodies that have not come as a whole, and of responses that were not read as a whole, one
    /// connection of [`Server::bind`] may have at once. A request beyond is answered with 503; a single body or response may
    /// be larger. It matters for HTTP/2, where a connection has many. Default: 8 MiB.
    pub fn max_buffered_bytes(mut self, bytes: usize) -> Self {
        self.options.max_buffered_bytes = bytes;
        self
    }

    /// How many requests a connection of HTTP/2 may have at once at [`Server::bind`]; clients wait with more. Default: 100,
    /// the fewest that RFC 9113 recommends.
    pub fn http2_max_streams(mut self, streams: u32) -> Self {
        self.options.http2_max_streams = streams.max(1);
        self
    }

    /// How many bytes of [`SessionEvent`](crate::SessionEvent)s wait for a listener that does not read them. Beyond, the
    /// oldest are dropped and the listener gets [`SessionEvent::Missed`](crate::SessionEvent::Missed). Default: 64 MiB,
    /// which are some 400,000 events.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.options.max_event_bytes = bytes;
        self
    }

    /// How many connections the system may complete before [`Server::bind`] accepts them. The system may have a lower limit
    /// (`net.core.somaxconn`). Default: 1,024, so that many clients can come back at once.
    pub fn listen_backlog(mut self, connections: u32) -> Self {
        self.options.listen_backlog = connections;
        self
    }

    /// How long [`Running::shutdown`](crate::Running::shutdown) waits for connections to end. Default: 5 s.
    pub fn shutdown_grace(mut self, longest: Duration) -> Self {
        self.options.shutdown_grace = longest;
        self
    }

    /// Over how long the returns of clients are spread when the server goes down: each held connect advises a random pause, of
    /// 1 ms for each session and this at most, so that a successor is not overrun. Default: 5 s.
    pub fn shutdown_spread(mut self, longest: Duration) -> Self {
        self.config.shutdown_spread = longest;
        self
    }

    /// Whether a session gets its own messages on channels that it is subscribed to. Default: true.
    pub fn broadcast_to_publisher(mut self, broadcast: bool) -> Self {
        self.config.broadcast_to_publisher = broadcast;
        self
    }

    /// The keys of the `ext` of a published message that its receivers get to see. Others stay with the server, because
    /// they may be credentials. Default: `binary`, which marks binary payloads.
    pub fn broadcast_ext<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.config.broadcast_ext = keys.into_iter().map(Into::into).collect();
        self
    }

    /// The transports that are offered and taken, best first. Default: WebSocket and long-polling.
    ///
    /// Callback-polling (JSONP) is for browsers that have nothing better, and to be had when it is named here. Its responses
    /// are scripts, which the pages of every site may load and read, with the cookies that the browser sends along. No CORS
    /// layer keeps them out, and [`origins`](Self::origins) only as far as a browser states which site a script is loaded
    /// for (`Sec-Fetch-Site`, `Referer`), which old ones do not. Offer it only where everybody may read what is published,
    /// or where credentials come in messages and not in cookies.
    ///
    /// Its messages travel in URLs, which have 64 KiB at most. A page of another site whose cookies the browser keeps
    /// back needs [`trust_client_session`](Self::trust_client_session).
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        let transports: Vec<_> = transports.into_iter().collect();
        self.options.websocket = transports.contains(&Transport::WebSocket);
        self.options.long_polling = transports.contains(&Transport::LongPolling);
        self.options.callback_polling = transports.contains(&Transport::CallbackPolling);
        self.config.transports = transports;
        self
    }

    /// The origins whose pages may use the server, such as `https://example.com`, over every transport. Others get 403; who
    /// names no origin is no browser. Default: any.
    ///
    /// That default means that the pages of every web site can open a session from within the browser of a visitor who
    /// reaches this server, and receive and publish what your [`policy`](Self::policy) lets them: browsers keep them from
    /// reading responses of other sites, but not from opening WebSockets or sending requests. List the origins of your
    /// pages, or none at all if there are no pages. For pages of other sites that are to use long-polling put a CORS layer
    /// around the service besides.
    pub fn origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.options.origins.listed = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Lets pages of the same origin use the server, besides [`origins`](Self::origins), and no others: those that were
    /// loaded from the address that they ask. Only an IP address or `localhost` counts, because any site can have a name of
    /// its own resolve to your machine; list the origins that have names. Default: false.
    pub fn same_origin(mut self, same_origin: bool) -> Self {
        self.options.origins.same_origin = same_origin;
        self
    }

    /// The WebSocket subprotocol that clients must offer, and that is agreed on; an upgrade without it gets 400. Default:
    /// none, and what a client offers is not answered.
    ///
    /// # Panics
    /// When the name is none: that is a mistake in the program.
    #[allow(clippy::panic)]
    pub fn websocket_protocol(mut self, name: &str) -> Self {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match http::HeaderValue::from_str(name) {
            Ok(value) if !name.is_empty() && name.bytes().all(token) => {
                self.options.websocket_protocol = Some(value);
            }
            _ => panic!("{name:?} is not the name of a subprotocol"),
        }
        self
    }

    /// Makes the messages of a channel or pattern lazy: they go with the next message that is not, or alone after
    /// `within` at the latest. May be called several times; the shortest time that matches holds. Default: none is.
    ///
    /// # Panics
    /// When the name is none: that is a mistake in the program.
    #[allow(clippy::panic)]
    pub fn lazy<C>(mut self, channel: C, within: Duration) -> Self
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
    {
        match channel.try_into().map_err(Into::into) {
            Ok(channel) => self.config.lazy_channels.push((channel, within)),
            Err(error) => panic!("{error}"),
        }
        self
    }

    /// Who may do what. Default: everybody everything.
    ///
    /// Its methods are called while the server's lock is held: until one returns, no other client is served. They must not
    /// wait for anything, such as a database, and must not call this server, which would never return. Have what they need
    /// at hand, or let clients in and [`disconnect`](Server::disconnect) those that turn out not to be welcome.
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// Serves a service channel, or a pattern of them, with an async handler. What it returns goes to the caller as
    /// the answer to its message, as CometD's remote calls do; `None` is no answer. A message to a service channel without a
    /// handler is answered with the error `404::unknown_service`.
    ///
    /// # Panics
    /// When the name is none of a service channel: that is a mistake in the program.
    #[allow(clippy::panic)]
    pub fn service<C, F, R>(mut self, channel: C, handler: F) -> Self
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Data>, ServiceError>> + Send + 'static,
    {
        match channel.try_into().map_err(Into::into) {
            Ok(channel) if channel.is_service() => self.handlers.insert(channel, handler),
            Ok(channel) => panic!("{channel} is no service channel: those begin with /service/"),
            Err(error) => panic!("{error}"),
        }
        self
    }

    /// Makes the server.
    ///
    /// # Panics
    /// Outside of a tokio runtime: the server keeps time with a task of its own.
    pub fn build(self) -> Server {
        let mut config = self.config;
        config.seed = random_seed().into();
        let engine = Engine::new(config, self.policy);
        let hub = Hub::new(engine, self.handlers, self.options);
        tokio::spawn(Hub::keep_time(Arc::downgrade(&hub)));
        Server::new(hub)
    }
}

/// Session ids must not be guessed, so their seed is from the system.
#[allow(clippy::panic)]
fn random_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    if let Err(error) = getrandom::fill(&mut seed) {
        panic!("the system has no randomness: {error}");
    }
    seed
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("services", &self.handlers)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
