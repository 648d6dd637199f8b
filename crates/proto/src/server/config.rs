//! What a server can be told to do differently.

use std::time::Duration;

use crate::channel::Channel;
use crate::transport::Transport;

/// The settings of an [`Engine`](super::Engine); the defaults are CometD's where it has any.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How long a connect is held that has nothing to deliver. Default: 30 s.
    pub timeout: Duration,
    /// How long clients are asked to wait between connects. Default: none.
    pub interval: Duration,
    /// How long a session is kept, beyond the interval, that does not connect. Default: 10 s.
    pub max_interval: Duration,
    /// How much longer a session is kept while a response, or what was pushed to its socket, has yet to be written, because
    /// its client reads slowly. It counts from the moment the response was handed out. Default: 5 min.
    pub response_timeout: Duration,
    /// Over how long the returns of clients are spread that are advised to handshake again because the server goes down:
    /// 1 ms for each session, and this at most. Default: 5 s.
    pub shutdown_spread: Duration,
    /// Whether clients are told [`max_interval`](Self::max_interval), so that they know when to handshake anew.
    /// Default: false.
    pub handshake_reconnect: bool,
    /// Whether the acknowledge extension is granted to those who offer it. Default: true.
    pub acknowledgements: bool,
    /// Whether what [`Policy::welcome`](super::Policy::welcome) says comes with the handshake reply, and not with the
    /// first connect. Default: false.
    pub messages_during_handshake: bool,
    /// Whether events wait for a connect, even if there is a socket to push them to or another reply to go with. With
    /// the acknowledge extension they always do. Default: false.
    pub connect_delivery_only: bool,
    /// How many messages wait for a session that does not fetch them. Default: 10,000.
    pub max_queue: usize,
    /// How many bytes these may have, with about 100 bytes for each besides its text. Default: 16 MiB.
    pub max_queue_bytes: usize,
    /// What happens when more come. Default: the oldest go.
    pub overflow: QueueOverflow,
    /// How many bytes of events go into one reply or frame, as long as there is more than one: CometD's clients take no
    /// more than 1 MiB at once. Default: 512 KiB.
    pub max_reply_bytes: usize,
    /// How many messages a request may have. Default: 10,000.
    pub max_batch: usize,
    /// How many sessions there may be. Default: 1,000,000.
    pub max_sessions: usize,
    /// How many subscriptions a session may have. Default: 10,000.
    pub max_subscriptions: usize,
    /// How many subscriptions all sessions may have together; one beyond is refused with `503::server_busy`.
    /// Default: 1,000,000.
    pub max_subscriptions_in_all: usize,
    /// How many bytes the engine keeps for clients: sessions, subscriptions, messages that wait or are being sent, and
    /// requests that are much work. When it is nearly used up, the sessions with the fullest queues lose them (they
    /// overflow), and if that is not enough, handshakes, subscriptions and publishes are refused with
    /// `503::server_busy`. Default: 512 MiB, which is 4 KiB for each of 125,000 sessions.
    pub max_memory: usize,
    /// How many steps of work one call does, at most about twice as many; what is left waits for the next. A step takes
    /// about as long as to hand one message to one session. Default: 2,048, which is about a millisecond.
    pub max_steps: usize,
    /// For how long a client may ask not to have to connect (the `interval` of its advice), because the server keeps the
    /// session and its messages that much longer. Longer ones are cut. Default: 60 s.
    pub max_client_interval: Duration,
    /// After how long without activity a session is ended, although it connects. Default: never.
    pub max_inactivity: Option<Duration>,
    /// Whose activity counts for that. Default: the client's.
    pub activity: Activity,
    /// How many connects are held at once for one browser, because browsers make only few connections to one server; the
    /// sessions of a browser's other windows poll. `None` is no limit, 0 holds none. Default: 1.
    pub max_sessions_per_browser: Option<usize>,
    /// The same for browsers that speak HTTP/2, where all requests share one connection. Default: no limit.
    pub http2_max_sessions_per_browser: Option<usize>,
    /// How often those poll; zero refuses them. Default: 2 s.
    pub multi_session_interval: Duration,
    /// Whether a session may be used, over HTTP or over a new socket, without the cookie that it began with. A party
    /// that learns a client id can then use its session. Default: false.
    pub trust_client_session: bool,
    /// Whether a socket must handshake before anything else, so that no session moves to a new socket. Default: false.
    pub require_handshake_per_connection: bool,
    /// The HTTP status for a held connect whose place another connect takes. Default: 500.
    pub duplicate_connect_status: u16,
    /// Channels and patterns whose messages may wait for company, for so long. Default: none.
    pub lazy_channels: Vec<(Channel, Duration)>,
    /// Whether a session gets its own messages on channels that it is subscribed to. Default: true.
    pub broadcast_to_publisher: bool,
    /// The keys of the `ext` of a published message that its receivers get to see. Others stay with the server, because
    /// they may be credentials. Default: `binary`.
    pub broadcast_ext: Vec<String>,
    /// The transports that are offered. Default: WebSocket and long-polling.
    pub transports: Vec<Transport>,
    /// The seed of session ids. With it they can be guessed: it must be random in production.
    pub seed: Seed,
}

/// The seed of session ids, which `Debug` does not tell.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl From<[u8; 32]> for Seed {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::ops::Deref for Seed {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::ops::DerefMut for Seed {
    fn deref_mut(&mut self) -> &mut [u8; 32] {
        &mut self.0
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// What happens to a message for a session whose queue is full.
///
/// A session that acknowledges what it gets loses nothing while it lives; it ends instead, whatever is set here, so that
/// its client handshakes anew and knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueOverflow {
    /// The oldest messages make room.
    #[default]
    DropOldest,
    /// The new message goes.
    DropNewest,
    /// The session ends.
    EndSession,
}

/// Whose activity keeps a session from being ended for lack of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activity {
    /// The client's: everything that it sends, but for connects.
    #[default]
    Client,
    /// The server's as well: everything that it sends to the client, but for replies to connects.
    ClientAndServer,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            interval: Duration::ZERO,
            max_interval: Duration::from_secs(10),
            response_timeout: Duration::from_secs(300),
            shutdown_spread: Duration::from_secs(5),
            handshake_reconnect: false,
            acknowledgements: true,
            messages_during_handshake: false,
            connect_delivery_only: false,
            max_queue: 10_000,
            max_queue_bytes: 16 * 1024 * 1024,
            overflow: QueueOverflow::default(),
            max_reply_bytes: 512 * 1024,
            max_batch: 10_000,
            max_sessions: 1_000_000,
            max_subscriptions: 10_000,
            max_subscriptions_in_all: 1_000_000,
            max_memory: 512 * 1024 * 1024,
            max_steps: 2048,
            max_client_interval: Duration::from_secs(60),
            max_inactivity: None,
            activity: Activity::default(),
            max_sessions_per_browser: Some(1),
            http2_max_sessions_per_browser: None,
            multi_session_interval: Duration::from_secs(2),
            trust_client_session: false,
            require_handshake_per_connection: false,
            duplicate_connect_status: 500,
            lazy_channels: Vec::new(),
            broadcast_to_publisher: true,
            broadcast_ext: vec!["binary".to_owned()],
            transports: vec![Transport::WebSocket, Transport::LongPolling],
            seed: Seed::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_tell_the_seed() {
        let config = Config { seed: [211; 32].into(), ..Config::default() };
        assert!(!format!("{config:?}").contains("211"));
    }
}
