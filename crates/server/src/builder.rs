//! The options of a server, each with a default.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::server::{Activity, AllowAll, Config, Engine, Policy, QueueOverflow};
use bayeux_proto::{Channel, Data, InvalidChannel, Transport};
use tokio::runtime::Handle;

use crate::cookie::{SessionCookie, is_token};
use crate::error::BuildError;
use crate::handlers::{Handlers, Request, ServiceError};
use crate::hub::Hub;
use crate::options::Options;
use crate::server::Server;

/// Builds a [`Server`]. The defaults are those of CometD, where it has the option.
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    config: Config,
    policy: Box<dyn Policy>,
    handlers: Handlers,
    options: Options,
    /// What is wrong with the options, for `build`.
    mistake: Option<BuildError>,
}

impl Server {
    /// Returns a builder with the default options.
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            policy: Box::new(AllowAll),
            handlers: Handlers::default(),
            options: Options::default(),
            mistake: None,
        }
    }
}

impl Builder {
    /// How long a connect is held while there is nothing to deliver. Clients get it as advice and wait longer than
    /// that. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// The pause between connects that clients are advised. Default: none, so that no message is delayed.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.config.interval = interval;
        self
    }

    /// How long a session without a connect is kept, in addition to the interval. Messages for it are queued during
    /// that time. Default: 10 s.
    pub fn max_interval(mut self, max_interval: Duration) -> Self {
        self.config.max_interval = max_interval;
        self
    }

    /// Whether the advice of handshake replies contains [`max_interval`](Self::max_interval), so that clients know from
    /// when on they need a new handshake. Default: false.
    pub fn handshake_reconnect(mut self, advise: bool) -> Self {
        self.config.handshake_reconnect = advise;
        self
    }

    /// Whether the acknowledge extension is granted to clients that offer it: messages that a client did not
    /// acknowledge are sent again, at the cost of a round trip between batches. Default: true.
    pub fn acknowledgements(mut self, grant: bool) -> Self {
        self.config.acknowledgements = grant;
        self
    }

    /// Whether the timesync extension is answered, which gives clients the time of this machine's clock. Default: true.
    pub fn timesync(mut self, answer: bool) -> Self {
        self.options.timesync = answer;
        self
    }

    /// Whether the messages of [`Policy::welcome`] are sent with the handshake reply, and not after it. Not all clients
    /// support that. Default: false.
    pub fn messages_during_handshake(mut self, allow: bool) -> Self {
        self.config.messages_during_handshake = allow;
        self
    }

    /// Whether events are sent only with replies to connects, and neither pushed to a WebSocket nor sent with other
    /// replies. With the acknowledge extension this is always so. Default: false.
    pub fn connect_delivery_only(mut self, only: bool) -> Self {
        self.config.connect_delivery_only = only;
        self
    }

    /// The largest request body or frame, in bytes. Default: 1 MiB, so that a single request cannot fill the memory.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.options.max_message_size = bytes;
        self
    }

    /// How many messages one request or frame may contain. The elements of their lists and their unknown fields may be
    /// twice as many. Default: 10,000, because each message needs a reply.
    pub fn max_batch(mut self, messages: usize) -> Self {
        self.config.max_batch = messages;
        self
    }

    /// How many messages may be queued for a session; [`overflow`](Self::overflow) decides what happens to more.
    /// Default: 10,000.
    pub fn max_queue(mut self, messages: usize) -> Self {
        self.config.max_queue = messages.max(1);
        self
    }

    /// How many bytes may be queued for a session. Each message counts with its text and about 100 bytes. Default: 16
    /// MiB.
    pub fn max_queue_bytes(mut self, bytes: usize) -> Self {
        self.config.max_queue_bytes = bytes;
        self
    }

    /// What happens to a message for a session whose queue is full.
    /// [`SessionEvent::Dropped`](crate::SessionEvent::Dropped) is emitted for dropped messages. Default: the oldest are
    /// dropped.
    pub fn overflow(mut self, overflow: QueueOverflow) -> Self {
        self.config.overflow = overflow;
        self
    }

    /// The size from which events are divided into several responses or frames, in bytes. Default: 512 KiB, because
    /// CometD's clients accept 1 MiB at most.
    pub fn max_reply_bytes(mut self, bytes: usize) -> Self {
        self.config.max_reply_bytes = bytes;
        self
    }

    /// How many sessions may exist; further handshakes are refused. Default: 1,000,000.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.config.max_sessions = sessions;
        self
    }

    /// How many subscriptions a session may have. Default: 10,000.
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.config.max_subscriptions = subscriptions;
        self
    }

    /// How many subscriptions all sessions together may have; further ones are refused with `503::server_busy`.
    /// Default: 1,000,000.
    pub fn max_subscriptions_in_all(mut self, subscriptions: usize) -> Self {
        self.config.max_subscriptions_in_all = subscriptions;
        self
    }

    /// How many bytes of memory the server may use for its clients: for sessions, subscriptions, messages that are
    /// queued or being sent, and requests that are being worked on. [`Server::memory`] returns how many it uses.
    ///
    /// When they are nearly used up, the fullest queues are emptied, as with [`overflow`](Self::overflow). If that does
    /// not suffice, handshakes, subscriptions and publishes are refused with `503::server_busy`. Buffers of connections
    /// are not counted. Default: 512 MiB, which is 4 KiB for each of 125,000 sessions.
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.config.max_memory = bytes;
        self
    }

    /// The longest pause between connects that a client may ask for, with the `interval` of its advice. The session and
    /// its queue are kept for that time and [`max_interval`](Self::max_interval). Longer pauses are cut to it. Default:
    /// 60 s.
    pub fn max_client_interval(mut self, interval: Duration) -> Self {
        self.config.max_client_interval = interval;
        self
    }

    /// How many WebSockets may be open; further upgrades are refused. [`Server::bind`] accepts as many connections in
    /// addition. Beyond that it closes a connection that waits for a request, or, if there is none, accepts no more
    /// until one ends. Default: 100,000.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.options.max_connections = connections;
        self
    }

    /// How many calls of services may run at once; further calls are answered with `503::too_many_calls`. Default:
    /// 10,000.
    pub fn max_service_calls(mut self, calls: usize) -> Self {
        self.options.max_service_calls = calls;
        self
    }

    /// How many connects are held at once for one browser; its other sessions poll. Browsers open only few connections
    /// to one server, and a held connect occupies one. `None` is no limit, 0 holds none. Default: 1.
    pub fn max_sessions_per_browser(mut self, sessions: Option<usize>) -> Self {
        self.config.max_sessions_per_browser = sessions;
        self
    }

    /// The same for browsers that use HTTP/2, where all requests share one connection. Default: no limit.
    pub fn http2_max_sessions_per_browser(mut self, sessions: Option<usize>) -> Self {
        self.config.http2_max_sessions_per_browser = sessions;
        self
    }

    /// How often sessions beyond [`max_sessions_per_browser`](Self::max_sessions_per_browser) poll; zero refuses them.
    /// Default: 2 s.
    pub fn multi_session_interval(mut self, interval: Duration) -> Self {
        self.config.multi_session_interval = interval;
        self
    }

    /// Whether a session may be used without the [cookie](Self::session_cookie) that it began with. Default: false: a
    /// request without the cookie, or over a WebSocket that was opened without it, gets `402::session_unknown`, so that
    /// a client id alone does not give access to a session.
    ///
    /// Clients that keep no cookies need it over HTTP, and those that move from HTTP to a WebSocket. The risk: client
    /// ids are part of every message, so they appear in logs of proxies and in traces, and with one of them anyone can
    /// receive the events of that session and publish in its name. A session that began on a WebSocket is issued a
    /// cookie with the upgrade; while its client has never sent that, it may move to another WebSocket by its id, as it
    /// may with CometD's server, but never to HTTP. A session that began over HTTP always needs its cookie. Its client
    /// may have opened a WebSocket before there was one, as Faye's does: the first such WebSocket is closed without an
    /// answer, so that the client opens another.
    pub fn trust_client_session(mut self, trust: bool) -> Self {
        self.config.trust_client_session = trust;
        self
    }

    /// Whether the first message of a WebSocket must be a handshake. If so, a session ends with its WebSocket. Default:
    /// false.
    pub fn require_handshake_per_connection(mut self, require: bool) -> Self {
        self.config.require_handshake_per_connection = require;
        self
    }

    /// The HTTP status, 400 or higher, that answers a held connect if another connect of the same session arrives.
    /// Default: 500.
    pub fn duplicate_connect_status(mut self, status: u16) -> Self {
        self.config.duplicate_connect_status = status.clamp(400, 599);
        self
    }

    /// After how long without activity a session is ended even if it connects. It is checked with each connect.
    /// Default: never.
    pub fn max_inactivity(mut self, longest: Option<Duration>) -> Self {
        self.config.max_inactivity = longest;
        self
    }

    /// Whose messages count as activity for [`max_inactivity`](Self::max_inactivity). Default: the client's.
    pub fn activity(mut self, activity: Activity) -> Self {
        self.config.activity = activity;
        self
    }

    /// The name and attributes of the cookie that binds a session to its browser. Default: as in CometD,
    /// `BAYEUX_BROWSER`, for the path `/`, and not readable by scripts.
    pub fn session_cookie(mut self, cookie: SessionCookie) -> Self {
        self.options.cookie = cookie;
        self
    }

    /// How long a WebSocket may send no message before it is closed. It must be longer than [`timeout`](Self::timeout)
    /// and [`interval`](Self::interval) together. Pings do not count. The first message must arrive within
    /// [`head_timeout`](Self::head_timeout). Default: 5 min.
    pub fn socket_idle_timeout(mut self, longest: Duration) -> Self {
        self.options.socket_idle_timeout = longest;
        self
    }

    /// How long the head of a request may take to arrive at [`Server::bind`] before the connection is closed. For the
    /// first request the time starts when the connection is accepted and includes the detection of the protocol; for
    /// each later one it starts with its first byte. Default: 30 s.
    pub fn head_timeout(mut self, longest: Duration) -> Self {
        self.options.head_timeout = longest;
        self
    }

    /// How long a request body may take to arrive completely; after its first 10 s it must also have arrived at
    /// [`min_rate`](Self::min_rate). A later body is answered with 408. Default: 30 s.
    pub fn body_timeout(mut self, longest: Duration) -> Self {
        self.options.body_timeout = longest;
        self
    }

    /// How long a connection of [`Server::bind`] may be idle between requests before it is closed. Default: 60 s.
    pub fn idle_timeout(mut self, longest: Duration) -> Self {
        self.options.idle_timeout = longest;
        self
    }

    /// How long a client may read nothing of what is sent to it. After that, its WebSocket or HTTP/1.1 connection is
    /// closed, or its HTTP/2 stream is reset. It is also the time limit for the answer to a close frame. Default: 30 s.
    pub fn write_timeout(mut self, longest: Duration) -> Self {
        self.options.write_timeout = longest;
        self
    }

    /// How long a client may take to read a complete response before it is cut off. Its session is kept for that time:
    /// [`max_interval`](Self::max_interval) starts when the response has been written. The same holds for a WebSocket
    /// while frames are queued for a slow client. Default: 5 min.
    pub fn response_timeout(mut self, longest: Duration) -> Self {
        self.options.response_timeout = longest;
        self.config.response_timeout = longest;
        self
    }

    /// The average rate, in bytes per second, at which a request body must arrive, measured after 10 s, and at which a
    /// connection or WebSocket must read what is sent to it, measured after [`write_timeout`](Self::write_timeout). 0
    /// is no minimum. Default: 1,024, which the slowest mobile networks reach.
    pub fn min_rate(mut self, bytes_per_second: u32) -> Self {
        self.options.min_rate = bytes_per_second;
        self
    }

    /// How many bytes one connection of [`Server::bind`] may occupy with incomplete request bodies and with responses
    /// that are not read completely. Further requests are answered with 503; a single body or response may be larger.
    /// It matters for HTTP/2, where one connection carries many requests. Default: 8 MiB.
    pub fn max_buffered_bytes(mut self, bytes: usize) -> Self {
        self.options.max_buffered_bytes = bytes;
        self
    }

    /// How many requests an HTTP/2 connection may have at once at [`Server::bind`]; clients delay further ones.
    /// Default: 100, the lowest value that RFC 9113 recommends.
    pub fn http2_max_streams(mut self, streams: u32) -> Self {
        self.options.http2_max_streams = streams.max(1);
        self
    }

    /// How many bytes of [`SessionEvent`](crate::SessionEvent)s are kept for a listener that does not read them. Beyond
    /// that, the oldest are dropped and the listener gets [`SessionEvent::Missed`](crate::SessionEvent::Missed).
    /// Default: 64 MiB, which is about 400,000 events.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.options.max_event_bytes = bytes;
        self
    }

    /// How many connections the operating system may complete before [`Server::bind`] accepts them. The system may have
    /// a lower limit (`net.core.somaxconn`). Default: 1,024, so that many clients can reconnect at once.
    pub fn listen_backlog(mut self, connections: u32) -> Self {
        self.options.listen_backlog = connections;
        self
    }

    /// How long [`Running::shutdown`](crate::Running::shutdown) waits for connections to end. Default: 5 s.
    pub fn shutdown_grace(mut self, longest: Duration) -> Self {
        self.options.shutdown_grace = longest;
        self
    }

    /// Over how long clients return after a shutdown, so that the next server is not overloaded: each held connect is
    /// answered with a random pause of at most 1 ms for each session, and at most this. Default: 5 s.
    pub fn shutdown_spread(mut self, longest: Duration) -> Self {
        self.config.shutdown_spread = longest;
        self
    }

    /// Whether a session receives its own messages on channels that it is subscribed to. Default: true.
    pub fn broadcast_to_publisher(mut self, broadcast: bool) -> Self {
        self.config.broadcast_to_publisher = broadcast;
        self
    }

    /// The keys in the `ext` of a published message that are passed on to receivers. Others are removed, because they
    /// may be credentials. Default: `binary`, which marks binary payloads.
    pub fn broadcast_ext<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.config.broadcast_ext = keys.into_iter().map(Into::into).collect();
        self
    }

    /// The transports that are offered and accepted, best first. Default: WebSocket and long-polling.
    ///
    /// Callback-polling (JSONP) is for browsers that support nothing better, and is available only if it is named here.
    /// Its responses are scripts, which the pages of every site may load and read, with the cookies that the browser
    /// sends along. No CORS layer prevents that, and [`origins`](Self::origins) only as far as a browser states which
    /// site loads a script (`Sec-Fetch-Site`, `Referer`), which old ones do not. Offer it only if anyone may read what
    /// is published, or if credentials are in messages and not in cookies.
    ///
    /// Its messages travel in URLs, which may have 64 KiB. A page of another site whose cookies the browser withholds
    /// needs [`trust_client_session`](Self::trust_client_session).
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        let transports: Vec<_> = transports.into_iter().collect();
        self.options.websocket = transports.contains(&Transport::WebSocket);
        self.options.long_polling = transports.contains(&Transport::LongPolling);
        self.options.callback_polling = transports.contains(&Transport::CallbackPolling);
        self.config.transports = transports;
        self
    }

    /// The origins whose pages may use the server, such as `https://example.com`, over every transport. Others get 403.
    /// Requests without an origin are allowed, because they do not come from a page. Default: any.
    ///
    /// With the default, the pages of every web site can open a session from the browser of a visitor who can reach
    /// this server, and receive and publish what the [`policy`](Self::policy) permits: browsers prevent pages from
    /// reading the responses of other sites, but not from opening WebSockets or sending requests. List the origins of
    /// your pages, or an empty list if there are no pages. Pages of other sites need a CORS layer around the service in
    /// addition if they use long-polling.
    pub fn origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.options.origins.listed = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Whether pages of the same origin may use the server, in addition to [`origins`](Self::origins), and no others:
    /// pages that were loaded from the address that they send requests to. This holds only for IP addresses and
    /// `localhost`, because any site can resolve a name of its own to your machine; list origins with names. Default:
    /// false.
    pub fn same_origin(mut self, same_origin: bool) -> Self {
        self.options.origins.same_origin = same_origin;
        self
    }

    /// The WebSocket subprotocol that clients must offer and that is agreed on. An upgrade without it gets 400.
    /// Default: none, and subprotocols that clients offer are ignored.
    pub fn websocket_protocol(mut self, name: &str) -> Self {
        match http::HeaderValue::from_str(name) {
            Ok(value) if is_token(name) => self.options.websocket_protocol = Some(value),
            _ => self.mistaken(BuildError::InvalidProtocol(name.to_owned())),
        }
        self
    }

    /// Makes the messages of a channel or pattern lazy: they are sent with the next message that is not lazy, or alone
    /// after `within`. If several patterns match a channel, the shortest time is used. Default: no channel is lazy.
    pub fn lazy<C>(mut self, channel: C, within: Duration) -> Self
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
    {
        match channel.try_into().map_err(Into::into) {
            Ok(channel) => self.config.lazy_channels.push((channel, within)),
            Err(error) => self.mistaken(error.into()),
        }
        self
    }

    /// Decides what clients may do. Default: everything is permitted.
    ///
    /// Its methods are called while the server's lock is held: until one returns, no other client is served. They must
    /// not wait for anything, such as a database, and must not call this server, which would never return. Keep the
    /// data that they need in memory, or let clients in and [`disconnect`](Server::disconnect) those that turn out not
    /// to be permitted.
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// Serves a service channel, or a pattern of them, with an async handler. Its result is sent to the caller as the
    /// answer to its message, as in CometD's remote calls; `None` sends no answer. A message to a service channel
    /// without a handler is answered with the error `404::unknown_service`.
    pub fn service<C, F, R>(mut self, channel: C, handler: F) -> Self
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Data>, ServiceError>> + Send + 'static,
    {
        match channel.try_into().map_err(Into::into) {
            Ok(channel) if channel.is_service() => self.handlers.insert(channel, handler),
            Ok(channel) => self.mistaken(BuildError::NoServiceChannel(channel)),
            Err(error) => self.mistaken(error.into()),
        }
        self
    }

    /// Builds the server, whose time a task of the tokio runtime keeps.
    ///
    /// # Errors
    /// Returns an error if the name of a channel, of a subprotocol or of the cookie is invalid, if there is no tokio
    /// runtime, or if the operating system provides no random numbers.
    pub fn build(self) -> Result<Server, BuildError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        self.options.cookie.check()?;
        let runtime = Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let mut config = self.config;
        // Session ids must not be guessed, so their seed is from the system.
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| BuildError::NoRandomness(error.to_string()))?;
        config.seed = seed.into();
        let engine = Engine::new(config, self.policy);
        let hub = Hub::new(engine, self.handlers, self.options);
        runtime.spawn(Hub::keep_time(Arc::downgrade(&hub)));
        Ok(Server::new(hub))
    }

    /// Keeps the first mistake.
    fn mistaken(&mut self, mistake: BuildError) {
        self.mistake.get_or_insert(mistake);
    }
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
