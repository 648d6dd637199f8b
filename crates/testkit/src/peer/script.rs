//! The scripted peer.

#![allow(clippy::expect_used, clippy::panic)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::answer::Answer;
use super::connection::{self, Stage, Word};
use super::request::Request;

/// A server that answers every request as the test specifies, over HTTP long-polling and WebSocket. It records all
/// requests.
///
/// ```
/// use bayeux::{Client, Transport};
/// use bayeux_testkit::{Answer, Peer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bayeux::Error> {
/// // A server without WebSocket, whose first reply to a publish is an error page.
/// let peer = Peer::start(|request| match request.name() {
///     "upgrade" => Answer::status(404),
///     "/news" if request.nth == 0 => Answer::page(503, "<title>Busy</title>"),
///     _ => request.decently(),
/// })
/// .await;
/// let client = Client::connect(&peer.url()).await?;
/// assert_eq!(client.transport(), Some(Transport::LongPolling));
/// let error = client.publish("/news", "hello").await.unwrap_err();
/// assert_eq!(error.http_status(), Some(503));
/// client.publish("/news", "hello").await?;
/// assert_eq!(peer.received("/news").len(), 2);
/// client.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct Peer {
    address: SocketAddr,
    stage: Arc<Stage>,
    task: JoinHandle<()>,
}

impl Peer {
    /// Starts a peer on a free port. It calls the script for each request.
    pub async fn start(script: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let stage = Arc::new(Stage {
            script: Mutex::new(Box::new(script)),
            received: watch::Sender::new(Vec::new()),
            words: broadcast::Sender::new(1024),
            open: watch::Sender::new(0),
            in_flight: Mutex::default(),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&stage)));
        Self { address, stage, task }
    }

    /// Starts a peer that answers every request [correctly](Request::decently).
    pub async fn decent() -> Self {
        Self::start(Request::decently).await
    }

    /// The URL for clients: `http://ADDRESS/cometd`.
    pub fn url(&self) -> String {
        format!("http://{}/cometd", self.address)
    }

    /// The address for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Uses another script from now on.
    pub fn follow(&self, script: impl FnMut(&Request) -> Answer + Send + 'static) {
        *self.stage.script.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(script);
    }

    /// All requests received so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.stage.received.borrow().clone()
    }

    /// All messages received so far on a channel.
    pub fn received(&self, channel: &str) -> Vec<Value> {
        let requests = self.stage.received.borrow();
        let messages = requests.iter().flat_map(|request| &request.messages);
        messages.filter(|message| message["channel"] == channel).cloned().collect()
    }

    /// Waits for a request that matches. Requests that were received before count too.
    ///
    /// # Panics
    /// Panics if none is received within 10 s, and prints all requests.
    pub async fn wait_for(&self, fits: impl Fn(&Request) -> bool) -> Request {
        let mut received = self.stage.received.subscribe();
        let found = received.wait_for(|requests| requests.iter().any(&fits));
        if let Ok(Ok(requests)) = tokio::time::timeout(Duration::from_secs(10), found).await
            && let Some(request) = requests.iter().find(|request| fits(request))
        {
            return request.clone();
        }
        panic!("no such request within 10 s, but {:#?}", self.requests());
    }

    /// Waits until this number of messages was received on a channel.
    ///
    /// # Panics
    /// Panics if they are not received within 10 s.
    pub async fn wait_for_messages(&self, channel: &str, count: usize) -> Vec<Value> {
        let mut received = self.stage.received.subscribe();
        let come = received.wait_for(|requests| {
            let messages = requests.iter().flat_map(|request| &request.messages);
            messages.filter(|message| message["channel"] == channel).count() >= count
        });
        let come = tokio::time::timeout(Duration::from_secs(10), come).await.is_ok();
        assert!(come, "not {count} messages on {channel} within 10 s, but {:#?}", self.requests());
        self.received(channel)
    }

    /// Sends messages to all clients: as a frame on each WebSocket, and before the reply to each held connect.
    pub fn push(&self, messages: impl IntoIterator<Item = Value>) {
        self.say(Word::Push(messages.into_iter().collect()));
    }

    /// Sends bytes on all WebSockets without a frame.
    pub fn push_raw(&self, bytes: impl Into<bytes::Bytes>) {
        self.say(Word::Raw(bytes.into()));
    }

    /// Sends a text frame on all WebSockets.
    pub fn push_text(&self, text: &[u8]) {
        self.say(Word::Raw(super::frame::encode(super::frame::TEXT, text).into()));
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.say(Word::Cut);
    }

    /// The number of open connections.
    pub fn open_connections(&self) -> usize {
        *self.stage.open.borrow()
    }

    /// The largest number of HTTP requests that were in progress at once.
    pub fn most_in_flight(&self) -> usize {
        self.stage.in_flight.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Waits until no connection is open.
    ///
    /// # Panics
    /// Panics if that takes longer than 10 s.
    pub async fn wait_until_idle(&self) {
        let mut open = self.stage.open.subscribe();
        let idle =
            tokio::time::timeout(Duration::from_secs(10), open.wait_for(|open| *open == 0)).await.is_ok();
        assert!(idle, "{} connections are still open after 10 s", self.open_connections());
    }

    fn say(&self, word: Word) {
        // This fails only if there is no connection.
        let _ = self.stage.words.send(word);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, stage: Arc<Stage>) {
    for number in 0.. {
        let Ok((client, _)) = listener.accept().await else { continue };
        let stage = Arc::clone(&stage);
        let words = stage.words.subscribe();
        stage.open.send_modify(|open| *open += 1);
        tokio::spawn(async move {
            // Many tests end connections early.
            let _ = connection::serve(client, number, &stage, words).await;
            stage.open.send_modify(|open| *open -= 1);
        });
    }
}
