//! A listener of the server's own, for programs that serve nothing else.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::activity::{Activity, Phases};
use crate::connection;
use crate::server::Server;

impl Server {
    /// Listens at an address and serves every path, over HTTP/1.1 and cleartext HTTP/2. Port 0 selects a free port.
    ///
    /// Each phase of a connection has a time limit: see [`head_timeout`](crate::Builder::head_timeout),
    /// [`body_timeout`](crate::Builder::body_timeout), [`idle_timeout`](crate::Builder::idle_timeout),
    /// [`write_timeout`](crate::Builder::write_timeout) and [`response_timeout`](crate::Builder::response_timeout).
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(&self, address: impl ToSocketAddrs) -> std::io::Result<Running> {
        let listener = listen(address, self.options().listen_backlog).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        let task = tokio::spawn(accept(self.clone(), listener, stopped));
        Ok(Running { server: self.clone(), address, stop, task })
    }
}

async fn listen(address: impl ToSocketAddrs, backlog: u32) -> std::io::Result<TcpListener> {
    let mut last = None;
    for address in tokio::net::lookup_host(address).await? {
        match listen_at(address, backlog) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last
        .unwrap_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidInput, "the name has no address")))
}

fn listen_at(address: SocketAddr, backlog: u32) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that is started again can have its port at once. Windows means something else by it.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

/// A server that listens. Dropping it stops listening and closes all connections and WebSockets of the server at once;
/// [`shutdown`](Running::shutdown) lets them end in an orderly way.
#[derive(Debug)]
pub struct Running {
    server: Server,
    address: SocketAddr,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Returns the URL for clients: `http://ADDRESS/cometd`.
    pub fn url(&self) -> String {
        format!("http://{}/cometd", self.address)
    }

    /// Returns the address.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Stops listening, starts the shutdown of the server, and waits until the connections have ended, for
    /// [`shutdown_grace`](crate::Builder::shutdown_grace) at most.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connections that are still open.
    pub async fn shutdown(mut self) {
        self.server.shutdown();
        // The task may have ended by itself.
        let _ = self.stop.send(());
        let server = self.server.clone();
        let grace = server.options().shutdown_grace;
        let done = async { tokio::join!(&mut self.task, server.sockets_closed()) };
        if tokio::time::timeout(grace, done).await.is_err() {
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
    let most = server.options().max_connections.max(1);
    let mut connections = Connections::default();
    loop {
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            Some(_) = connections.tasks.join_next() => continue,
            _ = stopped.changed() => break,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                if is_out_of_files(&error) {
                    connections.evict_some();
                }
                connections.wait_for_an_end().await;
                continue;
            }
        };
        tokio::select! {
            () = connections.make_room(most) => connections.serve(&server, stream, &stopped),
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    // Each has learnt that it is to end.
    while connections.tasks.join_next().await.is_some() {}
}

/// The connections that are open.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// Those that may still be open, the oldest first, but for those that had work to do when they were looked at.
    open: VecDeque<Weak<Activity>>,
}

impl Connections {
    fn serve(&mut self, server: &Server, stream: TcpStream, stopped: &watch::Receiver<()>) {
        set_options(&stream);
        let activity = Activity::new(Phases::of(server.options()));
        self.open.push_back(Arc::downgrade(&activity));
        let service = server.service().on(Arc::clone(&activity));
        let streams = server.options().http2_max_streams;
        self.tasks.spawn(connection::serve(service, stream, activity, streams, stopped.clone()));
        // Those that have ended are forgotten before they are many.
        if self.open.len() > 2 * self.tasks.len() + 64 {
            self.open.retain(|activity| activity.strong_count() > 0);
        }
    }

    /// Closes some connections that wait for a request: a peer that opens many of those must not keep others out by
    /// opening more of them faster than they are closed.
    fn evict_some(&mut self) {
        const SOME: usize = 64;
        for _ in 0..SOME.min(self.tasks.len() / 4 + 1) {
            self.evict_one();
        }
    }

    /// Waits until a connection has ended; not for long, because what is missing may be had again by other means.
    async fn wait_for_an_end(&mut self) {
        const LONGEST: Duration = Duration::from_millis(50);
        tokio::select! {
            Some(_) = self.tasks.join_next() => {}
            () = tokio::time::sleep(LONGEST) => {}
        }
    }

    /// Waits until one more connection may be open, and closes some: connections that only wait for a request must not
    /// keep others out.
    async fn make_room(&mut self, most: usize) {
        /// If all are busy, so long until it is looked at again.
        const AGAIN: Duration = Duration::from_millis(50);
        while self.tasks.len() >= most {
            self.evict_one();
            tokio::select! {
                _ = self.tasks.join_next() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// Closes a connection that waits for a request: rather one that never had any, and of these the oldest.
    fn evict_one(&mut self) {
        /// So many are looked at, so that this takes no longer when there are many.
        const LOOK: usize = 32;
        let mut idle = None;
        for _ in 0..LOOK.min(self.open.len()) {
            let Some(weak) = self.open.pop_front() else { return };
            let Some(activity) = weak.upgrade() else { continue };
            match activity.is_waiting() {
                Some(false) => {
                    self.open.extend(idle.map(|(weak, _)| weak));
                    return activity.evict();
                }
                Some(true) if idle.is_none() => idle = Some((weak, activity)),
                _ => self.open.push_back(weak),
            }
        }
        if let Some((_, activity)) = idle {
            activity.evict();
        }
    }
}

/// Whether there are no more file descriptors: `ENFILE`, `EMFILE` or, on Windows, `WSAEMFILE`.
fn is_out_of_files(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24 | 10024))
}

fn set_options(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    /// How much of what is written may wait in the kernel before the network takes it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const UNSENT: u32 = 64 * 1024;
    // A response is written when the network has it, not when the kernel has: else a slow client's session would expire
    // while megabytes are on their way to it. It bounds what a client that does not read keeps in the kernel, too.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "cannot set TCP_NOTSENT_LOWAT");
    }
}
