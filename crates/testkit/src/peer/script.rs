//! The peer as a test sees it.

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

/// A server whose every answer is up to the test, over HTTP long-polling and WebSocket. It keeps all that it receives.
///
/// ```
/// use bayeux::{Client, Transport};
/// use bayeux_testkit::{Answer, Peer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bayeux::Error> {
/// // A server that knows no WebSocket, and whose first publish goes wrong.
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
    /// A peer on a free port; the script is asked about each request.
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

    /// A peer that does everything [decently](Request::decently).
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

    /// Answers by another script from now on.
    pub fn follow(&self, script: impl FnMut(&Request) -> Answer + Send + 'static) {
        *self.stage.script.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(script);
    }

    /// All that came so far, in its order.
    pub fn requests(&self) -> Vec<Request> {
        self.stage.received.borrow().clone()
    }

    /// All messages on a channel that came so far.
    pub fn received(&self, channel: &str) -> Vec<Value> {
        let requests = self.stage.received.borrow();
        let messages = requests.iter().flat_map(|request| &request.messages);
        messages.filter(|message| message["channel"] == channel).cloned().collect()
    }

    /// Waits for a request that fits, and counts those that came before.
    ///
    /// # Panics
    /// When none comes within 10 s; with all that came instead.
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

    /// Waits until there are so many messages on a channel.
    ///
    /// # Panics
    /// When they do not come within 10 s.
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

    /// Sends messages to all clients: as a frame to each WebSocket, and before the reply to each held connect.
    pub fn push(&self, messages: impl IntoIterator<Item = Value>) {
        self.say(Word::Push(messages.into_iter().collect()));
    }

    /// Sends bytes to all WebSockets, without a frame around them.
    pub fn push_raw(&self, bytes: impl Into<bytes::Bytes>) {
        self.say(Word::Raw(bytes.into()));
    }

    /// Sends a text frame to all WebSockets.
    pub fn push_text(&self, text: &[u8]) {
        self.say(Word::Raw(super::frame::encode(super::frame::TEXT, text).into()));
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.say(Word::Cut);
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        *self.stage.open.borrow()
    }

    /// How many HTTP requests there were at once, at most.
    pub fn most_in_flight(&self) -> usize {
        self.stage.in_flight.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Waits until no connection is open.
    ///
    /// # Panics
    /// When that takes longer than 10 s.
    pub async fn wait_until_idle(&self) {
        let mut open = self.stage.open.subscribe();
        let idle =
            tokio::time::timeout(Duration::from_secs(10), open.wait_for(|open| *open == 0)).await.is_ok();
        assert!(idle, "{} connections are still open after 10 s", self.open_connections());
    }

    fn say(&self, word: Word) {
        // With no connection there is nobody to hear it.
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
            // A client that breaks off is what many tests are about.
            let _ = connection::serve(client, number, &stage, words).await;
            stage.open.send_modify(|open| *open -= 1);
        });
    }
}
