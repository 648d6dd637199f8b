//! A client, a scripted server, and the line between them, on which everything is written down.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bayeux::Transport;
use bayeux_testkit::{Answer, FaultProxy, Peer, Request};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::decent::Decent;
use super::way::Way;
use crate::driven::Driver;
use crate::outcome::{Failed, Outcome};
use crate::tap::Tap;
use crate::until::until;
use crate::user::{Open, Plain, User};

/// The channel that the user is subscribed to.
pub(super) const NEWS: &str = "/news";
/// How long a client may take to open or to subscribe with a server that does nothing wrong.
const SETTLED: Duration = Duration::from_secs(30);
/// How long a call may take: longer than the deadlines of all clients.
const ENDS: Duration = Duration::from_secs(40);
/// How long a user is busy with a first message who is slow.
const BUSY: Duration = Duration::from_secs(3);
/// How often something new is published while a client is expected back.
const BEACON: Duration = Duration::from_millis(250);
/// How often a held connect is answered, less than the advised timeout.
const ANSWERED: Duration = Duration::from_millis(1500);
/// How many errors of one user are kept.
const ERRORS: usize = 100;

/// One cell: a user of one client, and a server of its own.
pub(super) struct Stage {
    pub(super) peer: Arc<Peer>,
    /// Between the user and the peer.
    pub(super) network: FaultProxy,
    pub(super) decent: Decent,
    pub(super) user: Arc<User>,
    tap: Tap,
    options: Open,
    received: Arc<Mutex<Received>>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct Received {
    messages: Vec<(String, Value)>,
    errors: Vec<String>,
}

impl Stage {
    pub(super) async fn start(way: Way, plain: Plain, driver: Option<&Arc<Driver>>) -> Outcome<Self> {
        let decent = Decent::new(way);
        let script = decent.clone();
        let peer = Arc::new(Peer::start(move |request| script.answer(request)).await);
        let network = FaultProxy::to(peer.address()).await;
        let tap = Tap::start(network.address()).await?;
        let transport = match way {
            Way::LongPolling => Transport::LongPolling,
            Way::WebSocket | Way::Fallback => Transport::WebSocket,
        };
        let mut options = Open::new(tap.address, "/cometd", transport);
        options.plain = Some(Plain { fallback: way == Way::Fallback, ..plain });
        let user = Arc::new(match driver {
            Some(driver) => User::Driven(driver.user()),
            None => User::ours(&options)?,
        });
        let mut tasks = JoinSet::new();
        if way != Way::WebSocket {
            tasks.spawn(answer_held(Arc::clone(&peer)));
        }
        let (tasks, received) = (Mutex::new(tasks), Arc::default());
        Ok(Self { peer, network, decent, user, tap, options, received, tasks })
    }

    /// Opens the client, and listens to it from then on.
    pub(super) async fn open(&self) -> Result<(), Failed> {
        let opened = self.user.open(&self.options).await;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Others are slow by themselves.
        let busy = matches!(*self.user, User::Ours(..)) && self.options.plain.is_some_and(|plain| plain.slow);
        tasks.spawn(listen(Arc::clone(&self.user), Arc::clone(&self.received), busy));
        opened
    }

    /// Opens the client, subscribes to [`NEWS`], and waits until a connect is held.
    pub(super) async fn settle(&self) -> Outcome {
        let settled = async {
            self.open().await?;
            self.user.subscribe(NEWS).await?;
            if !until(SETTLED, || self.peer.received("/meta/connect").len() >= 2).await {
                return Err("the client does not connect a second time".into());
            }
            Ok(())
        };
        let settled = tokio::time::timeout(SETTLED, settled).await;
        settled.unwrap_or_else(|_| Err(format!("not open and subscribed within {SETTLED:?}").into()))
    }

    /// Answers by this from now on, where it has an answer, and decently where it has none.
    pub(super) fn lie(&self, mut lie: impl FnMut(&Request) -> Option<Answer> + Send + 'static) {
        let decent = self.decent.clone();
        self.peer.follow(move |request| lie(request).unwrap_or_else(|| decent.answer(request)));
    }

    /// Answers the next connect by this, and decently from then on.
    pub(super) fn once(&self, answer: impl Fn(&Request) -> Answer + Send + 'static) {
        let mut done = false;
        self.lie(move |request| {
            let now = request.has("/meta/connect") && !std::mem::replace(&mut done, true);
            now.then(|| answer(request))
        });
        self.release();
    }

    /// Answers the next connect with these messages before the reply.
    pub(super) fn bring(&self, messages: Vec<Value>) {
        let decent = self.decent.clone();
        self.once(move |request| Answer::messages(messages.iter().cloned().chain(decent.replies(request))));
    }

    /// Answers decently from now on.
    pub(super) fn behave(&self) {
        self.lie(|_| None);
    }

    /// Answers a connect that is held over HTTP.
    pub(super) fn release(&self) {
        self.peer.push([]);
    }

    /// Publishes.
    pub(super) fn publish(&self, data: &Value) {
        self.peer.push([event(data)]);
    }

    /// How many requests came so far.
    pub(super) fn mark(&self) -> usize {
        self.peer.requests().len()
    }

    /// The messages on this channel that came after a mark.
    pub(super) fn since(&self, mark: usize, channel: &str) -> Vec<Value> {
        let requests = self.peer.requests();
        let messages = requests.iter().skip(mark).flat_map(|request| &request.messages);
        messages.filter(|message| message["channel"] == channel).cloned().collect()
    }

    /// How often it was tried to connect or to handshake after a mark.
    pub(super) fn attempts(&self, mark: usize) -> usize {
        self.since(mark, "/meta/connect").len() + self.since(mark, "/meta/handshake").len()
    }

    /// What becomes of a call; `None` when it does not end.
    pub(super) async fn ends<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(ENDS, call).await.ok()
    }

    /// The messages that the user received.
    pub(super) fn received(&self) -> Vec<Value> {
        self.received_all().messages.iter().map(|(_, data)| data.clone()).collect()
    }

    fn received_all(&self) -> std::sync::MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the user receives of what is published from now on.
    pub(super) async fn receives_again(&self, limit: Duration) -> bool {
        let again = async {
            while !self.received().contains(&json!("again")) {
                self.publish(&json!("again"));
                tokio::time::sleep(BEACON).await;
            }
        };
        tokio::time::timeout(limit, again).await.is_ok()
    }

    /// How many failures were reported to the user: events, errors.
    pub(super) fn reported(&self) -> usize {
        self.user.reported().len() + self.received_all().errors.len()
    }

    /// Whether a failure was reported since, or the client shows that it is not connected.
    pub(super) async fn says_so(&self, reported: usize) -> bool {
        self.reported() > reported || matches!(self.user.is_connected().await, Ok(false))
    }

    /// The wire log, and the reports to the user.
    pub(super) fn log(&self) -> (String, Vec<String>) {
        let mut reported = self.user.reported();
        reported.extend(self.received_all().errors.iter().cloned());
        (self.tap.log(), reported)
    }

    /// Sends the user away.
    pub(super) async fn end(self) {
        // A scenario may have left the peer or the network in a state in which nothing ends.
        self.behave();
        let _ = tokio::time::timeout(Duration::from_secs(4), self.user.close()).await;
        let mut tasks = self.tasks.into_inner().unwrap_or_else(PoisonError::into_inner);
        tasks.shutdown().await;
    }
}

/// An event on [`NEWS`].
pub(super) fn event(data: &Value) -> Value {
    json!({"channel": NEWS, "data": data})
}

async fn listen(user: Arc<User>, received: Arc<Mutex<Received>>, mut busy: bool) {
    loop {
        let next = user.next().await;
        let failed = next.is_err();
        {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            match next {
                Ok(message) => received.messages.push(message),
                Err(_) if received.errors.len() == ERRORS => return,
                Err(error) => received.errors.push(error.to_string()),
            }
        }
        if failed {
            tokio::time::sleep(BEACON).await;
        } else if std::mem::replace(&mut busy, false) {
            tokio::time::sleep(BUSY).await;
        }
    }
}

/// Answers what is held over HTTP before the client must think that it never will be.
async fn answer_held(peer: Arc<Peer>) {
    loop {
        tokio::time::sleep(ANSWERED).await;
        peer.push([]);
    }
}
