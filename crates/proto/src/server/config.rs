//! The options of an engine.

use std::time::Duration;

use crate::channel::Channel;
use crate::transport::Transport;

/// The settings of an [`Engine`](super::Engine); the defaults are those of CometD, where it has the option.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How long a connect is held while there is nothing to deliver. Default: 30 s.
    pub timeout: Duration,
    /// The pause between connects that clients are advised. Default: none.
    pub interval: Duration,
    /// How long a session without a connect is kept, in addition to the interval. Default: 10 s.
    pub max_interval: Duration,
    /// How much longer a session is kept while a response, or frames for its socket, are not written yet because its
    /// client reads slowly. It starts when the response was handed out. Default: 5 min.
    pub response_timeout: Duration,
    /// Over how long clients return after a shutdown: each is advised a random pause of at most 1 ms for each session,
    /// and at most this. Default: 5 s.
    pub shutdown_spread: Duration,
    /// Whether the advice of handshake replies contains [`max_interval`](Self::max_interval), so that clients know from
    /// when on they need a new handshake. Default: false.
    pub handshake_reconnect: bool,
    /// Whether the acknowledge extension is granted to clients that offer it. Default: true.
    pub acknowledgements: bool,
    /// Whether the messages of [`Policy::welcome`](super::Policy::welcome) are sent with the handshake reply, and not
    /// with the first connect. Default: false.
    pub messages_during_handshake: bool,
    /// Whether events are sent only with replies to connects, and neither pushed to a socket nor sent with other
    /// replies. With the acknowledge extension this is always so. Default: false.
    pub connect_delivery_only: bool,
    /// How many messages may be queued for a session. Default: 10,000.
    pub max_queue: usize,
    /// How many bytes may be queued for a session. Each message counts with its text and about 100 bytes. Default: 16
    /// MiB.
    pub max_queue_bytes: usize,
    /// What happens to a message for a session whose queue is full. Default: the oldest are dropped.
    pub overflow: QueueOverflow,
    /// The size from which events are divided into several replies or frames, in bytes: CometD's clients accept 1 MiB
    /// at most. Default: 512 KiB.
    pub max_reply_bytes: usize,
    /// How many messages a request may contain. Default: 10,000.
    pub max_batch: usize,
    /// How many sessions may exist. Default: 1,000,000.
    pub max_sessions: usize,
    /// How many subscriptions a session may have. Default: 10,000.
    pub max_subscriptions: usize,
    /// How many subscriptions all sessions together may have; further ones are refused with `503::server_busy`.
    /// Default: 1,000,000.
    pub max_subscriptions_in_all: usize,
    /// How many bytes the engine keeps for clients: sessions, subscriptions, messages that are queued or being sent,
    /// and requests that are being worked on. When they are nearly used up, the fullest queues are emptied (they
    /// overflow). If that does not suffice, handshakes, subscriptions and publishes are refused with
    /// `503::server_busy`. Default: 512 MiB, which is 4 KiB for each of 125,000 sessions.
    pub max_memory: usize,
    /// How many steps of work one call does; it may be twice as many. The rest is left for the next call. A step takes
    /// about as long as delivering one message to one session. Default: 2,048, which is about a millisecond.
    pub max_steps: usize,
    /// The longest pause between connects that a client may ask for, with the `interval` of its advice. The session and
    /// its queue are kept that much longer. Longer pauses are cut to it. Default: 60 s.
    pub max_client_interval: Duration,
    /// After how long without activity a session is ended even if it connects. Default: never.
    pub max_inactivity: Option<Duration>,
    /// Whose messages count as activity. Default: the client's.
    pub activity: Activity,
    /// How many connects are held at once for one browser; its other sessions poll. Browsers open only few connections
    /// to one server. `None` is no limit, 0 holds none. Default: 1.
    pub max_sessions_per_browser: Option<usize>,
    /// The same for browsers that use HTTP/2, where all requests share one connection. Default: no limit.
    pub http2_max_sessions_per_browser: Option<usize>,
    /// How often sessions beyond that limit poll; zero refuses them. Default: 2 s.
    pub multi_session_interval: Duration,
    /// Whether a session may be used, over HTTP or over a new socket, without the cookie that it began with. A party
    /// that learns a client id can then use its session. Default: false.
    pub trust_client_session: bool,
    /// Whether the first message of a socket must be a handshake, so that no session moves to a new socket. Default:
    /// false.
    pub require_handshake_per_connection: bool,
    /// The HTTP status that answers a held connect if another connect of the same session arrives. Default: 500.
    pub duplicate_connect_status: u16,
    /// Channels and patterns whose messages are lazy, each with the longest time that they may be delayed. Default:
    /// none.
    pub lazy_channels: Vec<(Channel, Duration)>,
    /// Whether a session receives its own messages on channels that it is subscribed to. Default: true.
    pub broadcast_to_publisher: bool,
    /// The keys in the `ext` of a published message that are passed on to receivers. Others are removed, because they
    /// may be credentials. Default: `binary`.
    pub broadcast_ext: Vec<String>,
    /// The transports that are offered. Default: WebSocket and long-polling.
    pub transports: Vec<Transport>,
    /// The seed of session ids. It must be random in production: with it the ids can be guessed.
    pub seed: Seed,
}

/// The seed of session ids, which `Debug` does not show.
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
/// The queue of a session with the acknowledge extension is never shortened: the session ends instead, whatever is set
/// here, so that its client handshakes again and knows of the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueOverflow {
    /// The oldest messages are dropped.
    #[default]
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// The session ends.
    EndSession,
}

/// Whose messages count as activity of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activity {
    /// The client's: all messages that it sends, except connects.
    #[default]
    Client,
    /// The server's as well: all messages that it sends to the client, except replies to connects.
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
    fn debug_does_not_show_the_seed() {
        let config = Config { seed: [211; 32].into(), ..Config::default() };
        assert!(!format!("{config:?}").contains("211"));
    }
}
