//! A network that fails on demand.

#![allow(clippy::expect_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A network between a client and a server: it forwards TCP connections, and fails on demand.
///
/// ```
/// use bayeux::Client;
/// use bayeux_testkit::{FaultProxy, TestServer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bayeux::Error> {
/// let server = TestServer::start().await;
/// let network = FaultProxy::to(server.address()).await;
/// let client = Client::connect(&network.url()).await?;
/// let mut events = client.events();
/// network.cut();
/// while !matches!(events.next().await, Some(bayeux::Event::Connected { .. })) {}
/// assert_eq!(network.open_connections(), 1);
/// client.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    network: Arc<Network>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct Network {
    target: Mutex<SocketAddr>,
    tls: Option<TlsAcceptor>,
    fault: watch::Sender<Fault>,
    /// Counts the cuts.
    cuts: watch::Sender<u64>,
    open: watch::Sender<usize>,
    accepted: watch::Sender<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Stall,
    Delay(Duration),
}

impl FaultProxy {
    /// Starts a network on a free port that forwards to the server at `target`.
    pub async fn to(target: SocketAddr) -> Self {
        Self::with_tls(target, None).await
    }

    pub(crate) async fn with_tls(target: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let network = Arc::new(Network {
            target: Mutex::new(target),
            tls,
            fault: watch::Sender::new(Fault::None),
            cuts: watch::Sender::new(0),
            open: watch::Sender::new(0),
            accepted: watch::Sender::new(0),
        });
        let accepting = Mutex::new(Some(tokio::spawn(accept(listener, Arc::clone(&network)))));
        Self { address, network, accepting }
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that clients connect to: `http://ADDRESS/cometd`.
    pub fn url(&self) -> String {
        let scheme = if self.network.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/cometd", self.address)
    }

    /// Forwards to another server from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.network.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Ends all faults: new connections are accepted, and bytes are forwarded. Connections that lost bytes in a stall are
    /// cut.
    pub fn forward(&self) {
        self.become_faulty(Fault::None);
    }

    /// Makes the network half-open: connections stay open and new ones are accepted, but bytes are discarded in both
    /// directions.
    pub fn stall(&self) {
        self.become_faulty(Fault::Stall);
    }

    /// Delays all bytes by this time, in each direction.
    pub fn delay(&self, by: Duration) {
        self.become_faulty(Fault::Delay(by));
    }

    /// Cuts all connections. New ones are accepted.
    pub fn cut(&self) {
        self.network.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Refuses new connections until another fault or [`forward`](FaultProxy::forward) is set. Open connections are not
    /// affected.
    ///
    /// # Cancel safety
    /// If the future is dropped, the network refuses connections all the same.
    pub async fn refuse(&self) {
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = accepting {
            task.abort();
            // The task is aborted, as intended.
            let _ = task.await;
        }
    }

    /// The number of open connections.
    pub fn open_connections(&self) -> usize {
        *self.network.open.borrow()
    }

    /// The number of connections that were accepted since the start.
    pub fn accepted(&self) -> usize {
        *self.network.accepted.borrow()
    }

    /// Waits until no connection is open.
    ///
    /// # Panics
    /// Panics if that takes longer than 10 s.
    pub async fn wait_until_idle(&self) {
        let mut open = self.network.open.subscribe();
        let idle = open.wait_for(|open| *open == 0);
        tokio::time::timeout(Duration::from_secs(10), idle)
            .await
            .expect("connections are still open after 10 s")
            .expect("the network is there");
    }

    fn become_faulty(&self, fault: Fault) {
        self.network.fault.send_replace(fault);
        let mut accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        if accepting.is_none() {
            let listener = std::net::TcpListener::bind(self.address).expect("the port is still free");
            listener.set_nonblocking(true).expect("a socket can be made non-blocking");
            let listener = TcpListener::from_std(listener).expect("there is a runtime");
            *accepting = Some(tokio::spawn(accept(listener, Arc::clone(&self.network))));
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = accepting {
            task.abort();
        }
        self.cut();
    }
}

async fn accept(listener: TcpListener, network: Arc<Network>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        network.accepted.send_modify(|accepted| *accepted += 1);
        network.open.send_modify(|open| *open += 1);
        let network = Arc::clone(&network);
        let mut cuts = network.cuts.subscribe();
        tokio::spawn(async move {
            let _counted = Counted(&network.open);
            // Send without delay: a test sees only the delays that it sets.
            let _ = client.set_nodelay(true);
            tokio::select! {
                _ = cuts.changed() => {}
                () = carry(client, &network) => {}
            }
        });
    }
}

struct Counted<'a>(&'a watch::Sender<usize>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

async fn carry(mut client: TcpStream, network: &Network) {
    if *network.fault.borrow() == Fault::Stall {
        return swallow(&mut client, network).await;
    }
    let target = *network.target.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = server.set_nodelay(true);
    match &network.tls {
        None => both_ways(client, server, network).await,
        Some(tls) => {
            if let Ok(client) = tls.accept(client).await {
                both_ways(client, server, network).await;
            }
        }
    }
}

async fn both_ways(client: impl AsyncRead + AsyncWrite, server: TcpStream, network: &Network) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    // If one direction ends, so does the other: HTTP and WebSocket do not use half-closed connections.
    tokio::select! {
        () = one_way(&mut from_client, &mut to_server, network) => {}
        () = one_way(&mut from_server, &mut to_client, network) => {}
    }
}

async fn one_way(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), network: &Network) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            let _ = to.shutdown().await;
            return;
        };
        let fault = *network.fault.borrow();
        match fault {
            Fault::None => {}
            Fault::Delay(by) => tokio::time::sleep(by).await,
            Fault::Stall => return swallow(from, network).await,
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Discards bytes until the stall is over.
async fn swallow(from: &mut (impl AsyncRead + Unpin), network: &Network) {
    let mut fault = network.fault.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    tokio::select! {
        _ = fault.wait_for(|fault| *fault != Fault::Stall) => {}
        () = async { while let Ok(1..) = from.read(&mut buffer).await {} } => {}
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("fault", &*self.fault.borrow())
            .field("open", &*self.open.borrow())
            .finish_non_exhaustive()
    }
}
