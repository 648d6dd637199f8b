//! The options of a server, each with a default.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::server::{AllowAll, Config, Engine, Policy};
use bayeux_proto::{Channel, Data, InvalidChannel};

use crate::handlers::{Handlers, Request, ServiceError};
use crate::hub::Hub;
use crate::server::Server;

/// Makes a [`Server`]. The defaults are CometD's where it has any.
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    config: Config,
    policy: Box<dyn Policy>,
    handlers: Handlers,
    max_message_size: usize,
}

impl Server {
    /// Begins with the defaults.
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            policy: Box::new(AllowAll),
            handlers: Handlers::default(),
            max_message_size: 1024 * 1024,
        }
    }
}

impl Builder {
    /// How long a connect is held that has nothing to deliver. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// How long clients are asked to wait between connects. Default: none.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.config.interval = interval;
        self
    }

    /// How long a session is kept, beyond the interval, that does not connect. Default: 10 s.
    pub fn max_interval(mut self, max_interval: Duration) -> Self {
        self.config.max_interval = max_interval;
        self
    }

    /// The largest request body or frame, in bytes. Default: 1 MiB, so that nobody can fill the memory with one.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// How many messages wait for a session that does not fetch them; then the oldest go, and
    /// [`SessionEvent::Dropped`](crate::SessionEvent::Dropped) tells. Default: 10,000.
    pub fn max_queue(mut self, messages: usize) -> Self {
        self.config.max_queue = messages.max(1);
        self
    }

    /// How many sessions there may be; a handshake beyond is refused. Default: 1,000,000.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.config.max_sessions = sessions;
        self
    }

    /// Whether whoever publishes and subscribes gets its own messages. Default: true.
    pub fn broadcast_to_publisher(mut self, broadcast: bool) -> Self {
        self.config.broadcast_to_publisher = broadcast;
        self
    }

    /// Who may do what. Default: everybody everything.
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// Serves a service channel, or a pattern of them, with an async handler. What it returns goes to the caller as
    /// the answer to its message, as CometD's remote calls do; `None` is no answer.
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
        config.seed = random_seed();
        let engine = Engine::new(config, self.policy);
        let hub = Hub::new(engine, self.handlers, self.max_message_size);
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
            .field("max_message_size", &self.max_message_size)
            .finish_non_exhaustive()
    }
}
