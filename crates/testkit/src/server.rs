//! The server of `bayeux-server` in the process of the test, behind a network that fails on demand.

#![allow(clippy::expect_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bayeux_server::{Builder, ClientId, Request, Running, Server, ServiceError, SessionEvent};
use serde::Serialize;

use crate::proxy::FaultProxy;
use crate::tls::Identity;

type Factory = Box<dyn Fn() -> Builder + Send + Sync>;

/// A CometD server on a free port of the loopback interface. By default it has one service: `/service/echo` replies with
/// the data of the request.
///
/// ```
/// use bayeux::Client;
/// use bayeux_testkit::TestServer;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bayeux::Error> {
/// let server = TestServer::start().await;
/// let client = Client::connect(&server.url()).await?;
/// let answer: String = client.request("/service/echo", "hello").await?;
/// assert_eq!(answer, "hello");
/// assert_eq!(server.server().sessions(), 1);
/// client.close().await
/// # }
/// ```
pub struct TestServer {
    network: FaultProxy,
    factory: Factory,
    /// `None` while it is stopped.
    running: Mutex<Option<Current>>,
}

struct Current {
    running: Running,
    sessions: Arc<Mutex<Vec<ClientId>>>,
    watching: tokio::task::JoinHandle<()>,
}

/// Builds a [`TestServer`].
#[must_use = "a builder does nothing until it is started"]
pub struct TestServerBuilder {
    factory: Factory,
    identity: Option<Identity>,
    client_authority: Option<String>,
}

impl TestServer {
    /// Starts a server with default options.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A builder for a server with other options.
    pub fn builder() -> TestServerBuilder {
        let echo = |request: Request| async move { Ok::<_, ServiceError>(Some(request.data)) };
        TestServerBuilder {
            factory: Box::new(move || Server::builder().service("/service/echo", echo)),
            identity: None,
            client_authority: None,
        }
    }

    /// The URL for clients. A restart does not change it.
    pub fn url(&self) -> String {
        self.network.url()
    }

    /// The address for clients. A restart does not change it.
    pub fn address(&self) -> SocketAddr {
        self.network.address()
    }

    /// The network in front of the server, which can be made to fail.
    pub fn network(&self) -> &FaultProxy {
        &self.network
    }

    /// The server itself.
    ///
    /// # Panics
    /// Panics while the server is stopped.
    pub fn server(&self) -> Server {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().expect("the server is stopped").running.server().clone()
    }

    /// Publishes to all subscribers of a channel.
    ///
    /// # Panics
    /// Panics if the channel is not a valid channel to publish to, if the data cannot be encoded as JSON, or while the
    /// server is stopped.
    pub fn publish(&self, channel: &str, data: &(impl Serialize + ?Sized)) {
        self.server().publish(channel, data).expect("it can be published");
    }

    /// The sessions, in the order in which they began.
    ///
    /// # Panics
    /// Panics while the server is stopped.
    pub async fn sessions(&self) -> Vec<ClientId> {
        let server = self.server();
        loop {
            let known = self.known_sessions();
            // The list follows the server's events, a moment after the server itself.
            if known.len() == server.sessions() {
                return known;
            }
            tokio::task::yield_now().await;
        }
    }

    fn known_sessions(&self) -> Vec<ClientId> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(Current::sessions).unwrap_or_default()
    }

    /// Ends all sessions: the server sends `/meta/disconnect` to their clients. A client that is between two connects over
    /// long-polling receives a reply that its session is unknown instead, and handshakes again.
    ///
    /// # Panics
    /// Panics while the server is stopped.
    pub async fn dismiss_sessions(&self) {
        for session in self.sessions().await {
            self.server().disconnect(&session);
        }
    }

    /// Stops the server as a crash does: closes the port and cuts all connections. Does nothing if it is stopped already.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the port closed and the server running.
    pub async fn stop(&self) {
        self.network.refuse().await;
        self.network.cut();
        // Dropping the server cuts its connections.
        drop(self.running.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Stops the server as a crash does, if it runs, and starts it on the same port with the same options, without sessions.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the server stopped.
    pub async fn restart(&self) {
        self.stop().await;
        let current = Current::start((self.factory)()).await;
        self.network.lead_to(current.running.local_addr());
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
        self.network.forward();
    }
}

impl TestServerBuilder {
    /// A function that returns the builder of the server; it is called at the start and at each restart. It replaces the
    /// default, including `/service/echo`.
    ///
    /// ```
    /// use bayeux_server::Server;
    /// use bayeux_testkit::TestServer;
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let options = || Server::builder().timeout(Duration::from_millis(100));
    /// let server = TestServer::builder().options(options).start().await;
    /// # drop(server); }
    /// ```
    pub fn options(mut self, options: impl Fn() -> Builder + Send + Sync + 'static) -> Self {
        self.factory = Box::new(options);
        self
    }

    /// Uses TLS with this certificate.
    pub fn tls(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Requires client certificates that are issued by the authority with this PEM certificate. Has an effect only together
    /// with [`tls`](TestServerBuilder::tls).
    pub fn client_authority(mut self, pem: &str) -> Self {
        self.client_authority = Some(pem.to_owned());
        self
    }

    /// Starts the server.
    pub async fn start(self) -> TestServer {
        let current = Current::start((self.factory)()).await;
        let tls = self.identity.map(|identity| identity.acceptor(self.client_authority.as_deref()));
        let network = FaultProxy::with_tls(current.running.local_addr(), tls).await;
        TestServer { network, factory: self.factory, running: Mutex::new(Some(current)) }
    }
}

impl Current {
    async fn start(builder: Builder) -> Self {
        let server = builder.build().expect("the options of the server are valid");
        let mut events = server.events();
        let running = server.bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let sessions: Arc<Mutex<Vec<ClientId>>> = Arc::default();
        let watched = Arc::clone(&sessions);
        let watching = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let anew = matches!(event, SessionEvent::Missed(_)).then(|| events.resync());
                let mut sessions = watched.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(anew) = anew {
                    *sessions = anew.into_iter().map(|session| session.id).collect();
                }
                match event {
                    SessionEvent::Added { session, .. } => sessions.push(session),
                    SessionEvent::Removed { session, .. } => sessions.retain(|known| *known != session),
                    _ => {}
                }
            }
        });
        Self { running, sessions, watching }
    }

    fn sessions(&self) -> Vec<ClientId> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl std::fmt::Debug for TestServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestServer").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for TestServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestServerBuilder").field("tls", &self.identity.is_some()).finish_non_exhaustive()
    }
}
