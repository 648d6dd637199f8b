//! Bytes that a network spoils on their way to the client, over both transports: whatever comes, nothing panics and every
//! call ends, and when the network is honest again, messages flow again. What is spoilt is chosen by a seed, which is told
//! when a test fails; when which byte arrives is the machine's affair.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bayeux::{Backoff, Client, Transport};
use bayeux_server::Server;
use bayeux_testkit::TestServer;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Longer than any call may take, on a machine that is busy.
const BOUND: Duration = Duration::from_secs(30);
/// Clients for each transport, each with a seed of its own.
const CLIENTS: u64 = 8;
const CALLS: u64 = 25;

#[tokio::test]
async fn spoilt_http_responses_neither_hang_nor_end_a_client() {
    survive(Transport::LongPolling).await;
}

#[tokio::test]
async fn spoilt_frames_neither_hang_nor_end_a_client() {
    survive(Transport::WebSocket).await;
}

async fn survive(transport: Transport) {
    let options = || Server::builder().timeout(Duration::from_millis(300));
    let server = Arc::new(TestServer::builder().options(options).start().await);
    let clients: Vec<_> =
        (0..CLIENTS).map(|seed| tokio::spawn(one(Arc::clone(&server), transport, seed))).collect();
    for (seed, client) in clients.into_iter().enumerate() {
        let spoilt = client.await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(spoilt > 0, "seed {seed}: nothing was spoilt");
    }
}

/// How many chunks of bytes were spoilt for this client.
async fn one(server: Arc<TestServer>, transport: Transport, seed: u64) -> u64 {
    let noise = Noise::between(server.address(), seed).await;
    let client = Client::builder(format!("http://{}/cometd", noise.address))
        .transports([transport])
        .request_timeout(Duration::from_millis(300))
        .call_timeout(Duration::from_millis(300))
        .open_timeout(Duration::from_millis(600))
        .close_timeout(Duration::from_millis(300))
        .ping_interval(Duration::from_secs(1))
        .retry(Backoff::exponential(Duration::from_millis(10)..=Duration::from_millis(50)))
        .retry_open(true)
        .build()
        .unwrap();
    let channel = format!("/noise/{seed}");
    for call in 0..CALLS {
        // A call may fail as it likes, but it ends.
        let ended = async {
            if client.is_closed() {
                let _ = client.open().await;
            }
            let _ = client.subscribe(channel.as_str()).await;
            let _ = client.publish(channel.as_str(), &json!({ "call": call })).await;
        };
        timeout(BOUND, ended).await.expect("every call ends");
    }
    noise.honest.store(true, Ordering::Relaxed);
    timeout(BOUND, flows_again(&client, &channel)).await.expect("messages flow again");
    timeout(BOUND, client.close()).await.expect("closing ends").unwrap();
    noise.spoilt.load(Ordering::Relaxed)
}

/// Until a message has gone round. A server that seems to have said so may have closed the client, so it is opened again.
async fn flows_again(client: &Client, channel: &str) {
    let last = json!({ "last": true });
    loop {
        if client.is_closed() && client.open().await.is_err() {
            continue;
        }
        if client.subscribe(channel).await.is_err() || client.publish(channel, &last).await.is_err() {
            continue;
        }
        let arrives = async {
            while let Some(message) = client.next().await {
                if message.is_ok_and(|message| {
                    message.data().decode::<serde_json::Value>().ok().as_ref() == Some(&last)
                }) {
                    return true;
                }
            }
            false
        };
        if timeout(Duration::from_secs(2), arrives).await == Ok(true) {
            return;
        }
    }
}

/// A network that spoils what the server says.
struct Noise {
    address: SocketAddr,
    honest: Arc<AtomicBool>,
    spoilt: Arc<AtomicU64>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Noise {
    async fn between(target: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (honest, spoilt) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let state = (Arc::clone(&honest), Arc::clone(&spoilt));
        let accepting = tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(target).await else { continue };
                connections.spawn(carry(near, far, random.fork(), state.clone()));
            }
        });
        Self { address, honest, spoilt, accepting }
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(
    mut near: TcpStream,
    mut far: TcpStream,
    mut random: fastrand::Rng,
    (honest, spoilt): (Arc<AtomicBool>, Arc<AtomicU64>),
) {
    let (mut from_client, mut to_client) = near.split();
    let (mut from_server, mut to_server) = far.split();
    let up = tokio::io::copy(&mut from_client, &mut to_server);
    let down = async {
        let mut buffer = vec![0; 4096];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            let mut chunk = buffer[..count].to_vec();
            if !honest.load(Ordering::Relaxed) && random.u8(..3) == 0 {
                spoilt.fetch_add(1, Ordering::Relaxed);
                if !spoil(&mut chunk, &mut random) {
                    return;
                }
            }
            if to_client.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = up => {}
        () = down => {}
    }
}

/// Spoils a chunk; or says that the connection is to be cut instead.
fn spoil(chunk: &mut Vec<u8>, random: &mut fastrand::Rng) -> bool {
    let at = random.usize(..chunk.len());
    match random.u8(..6) {
        0 => return false,
        1 => chunk.truncate(at),
        2 => drop(chunk.drain(..at)),
        3 => chunk.extend_from_within(at..),
        4 => chunk[at] = random.u8(..),
        _ => {
            for _ in 0..1 + random.u8(..8) {
                let at = random.usize(..chunk.len());
                chunk[at] ^= 1 << random.u8(..8);
            }
        }
    }
    true
}
