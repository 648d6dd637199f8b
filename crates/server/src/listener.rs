//! A listener of the server's own, for programs that serve nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::server::Server;

/// How long connections may take to end when the server goes down.
const GRACE: Duration = Duration::from_secs(5);

impl Server {
    /// Listens at an address and serves every path of it, over HTTP/1.1 and cleartext HTTP/2. Port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(&self, address: impl ToSocketAddrs) -> std::io::Result<Running> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        let task = tokio::spawn(accept(self.clone(), listener, stopped));
        Ok(Running { server: self.clone(), address, stop, task })
    }
}

/// A server that listens. Dropping it stops listening and cuts what is open, all sockets of the server among it;
/// [`shutdown`](Running::shutdown) is kinder.
#[derive(Debug)]
pub struct Running {
    server: Server,
    address: SocketAddr,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// The URL for clients: `http://ADDRESS/cometd`.
    pub fn url(&self) -> String {
        format!("http://{}/cometd", self.address)
    }

    /// The address.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The server behind it.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Stops listening, tells all clients, and waits until their connections are done, for 5 s at most.
    ///
    /// # Cancel safety
    /// Dropping the future cuts what is still open.
    pub async fn shutdown(mut self) {
        self.server.shutdown();
        // The task may have ended by itself.
        let _ = self.stop.send(());
        let server = self.server.clone();
        let done = async { tokio::join!(&mut self.task, server.sockets_closed()) };
        if tokio::time::timeout(GRACE, done).await.is_err() {
            tracing::debug!("some connections did not end in time and are cut");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        self.server.cut();
    }
}

async fn accept(server: Server, listener: TcpListener, mut stopped: watch::Receiver<()>) {
    /// How long a client may take to send the head of a request.
    const HEAD: Duration = Duration::from_secs(30);
    /// After so long of silence a connection of HTTP/2 is asked whether it is alive.
    const ALIVE: Duration = Duration::from_secs(60);
    let most = server.max_connections();
    let graceful = GracefulShutdown::new();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = listener.accept(), if connections.len() < most => stream,
            Some(_) = connections.join_next() => continue,
            _ = stopped.changed() => break,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(error) => {
                // No more file descriptors, say: others may be closed meanwhile.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(ALIVE);
        let service = TowerToHyperService::new(server.service());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
