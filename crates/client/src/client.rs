//! The client: the handle, and the verbs that open and close. Those that send and receive stand above it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bayeux_proto::client::{CallError, CallId, CallResult, CloseReason, Operation, SinkId, State};
use bayeux_proto::{ConnectionType, Message};
use tokio::sync::{mpsc, oneshot};
use url::Url;

use crate::driver::{Driver, Parts};
use crate::error::{Cause, Error};
use crate::events::Events;
use crate::queue::Capacity;
use crate::receiver::Receiver;
use crate::shared::{Call, Command, Shared};
use crate::snapshot::SessionSnapshot;

/// How many wishes of handles may wait for the driver.
const COMMANDS: usize = 1024;

/// A client of a CometD server.
///
/// It is a handle: clones are the same client, and share its one inbox. The connection lives until
/// [`close`](Client::close), or until the last handle and the last stream are dropped; then it is cut without a
/// goodbye, and the server forgets the session after a while.
///
/// The client keeps itself connected. It re-handshakes when the server forgets it, restores its subscriptions before
/// it says that it is connected again, and tells all that happens as [`events`](Client::events).
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    /// The queues of streams that this handle makes.
    pub(crate) stream: Capacity,
    /// This handle's place in the inbox when it is used as a `Stream`.
    pub(crate) receiver: Receiver,
}

pub(crate) struct Inner {
    pub(crate) parts: Parts,
    /// The URLs that were given.
    urls: Vec<Url>,
    pub(crate) shared: Arc<Shared>,
    /// The way to the driver; there is none before the first `open`.
    driver: Mutex<Option<mpsc::Sender<Command>>>,
    last_call: AtomicU64,
    pub(crate) last_sink: AtomicU64,
}

impl Client {
    pub(crate) fn new(parts: Parts, urls: Vec<Url>, inbox: Capacity, stream: Capacity) -> Self {
        let patience = parts.patience;
        let shared = Arc::new(Shared::new(inbox));
        let endpoint: Arc<str> = parts.session.endpoint.as_str().into();
        let receiver = Receiver::new(Arc::clone(&shared.inbox), patience, endpoint);
        let inner = Inner {
            parts,
            urls,
            shared,
            driver: Mutex::new(None),
            last_call: AtomicU64::new(0),
            last_sink: AtomicU64::new(SinkId::INBOX.0),
        };
        Self { inner: Arc::new(inner), stream, receiver }
    }

    /// Opens the connection: handshakes over the preferred transport that works, restores the subscriptions of a
    /// closed client, and returns when messages flow.
    ///
    /// A client that was closed, by either side, can be opened again.
    ///
    /// # Errors
    /// When no transport gets through (at once, unless [`Builder::retry_open`](crate::Builder::retry_open) says otherwise), when the server
    /// refuses, when credentials cannot be had, or after [`Builder::open_timeout`](crate::Builder::open_timeout). The client is then closed.
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempt up; the client is then closed.
    pub async fn open(&self) -> Result<(), Error> {
        let reply = self.call(Operation::Open).await;
        reply.map(drop).map_err(|cause| Error::new("open", cause))
    }

    /// Opens the connection with the session of a [`SessionSnapshot`], as another client or process left it: with its
    /// id, its cookies, its transport and its subscriptions. If the server has forgotten it, a new session takes its
    /// place, and [`Event::Rehandshaken`](crate::Event::Rehandshaken) and [`Event::GapPossible`](crate::Event::GapPossible) tell so.
    ///
    /// With the acknowledge extension nothing is missed. Messages of channels that were streams come to the inbox
    /// until the stream is made again with [`stream`](Client::stream).
    ///
    /// # Errors
    /// As [`open`](Client::open); and when the snapshot is of another server, which must not get its secrets. The
    /// snapshot can be tried again.
    ///
    /// # Cancel safety
    /// As [`open`](Client::open).
    pub async fn resume(&self, snapshot: &SessionSnapshot) -> Result<(), Error> {
        let (session, cookies) = snapshot.parts(&self.inner.urls)?;
        let failed = |cause| Error::new("resume", cause);
        send(&self.start(), Command::RestoreCookies(Box::new(cookies))).await.map_err(failed)?;
        self.call(Operation::Resume(Box::new(session))).await.map(drop).map_err(failed)
    }

    /// Leaves the session without telling the server, which keeps it for a while (CometD's `maxInterval`, 10 s by
    /// default), and closes the client. The snapshot can be [resumed](Client::resume) here or in another process;
    /// what was received stays receivable here. Calls that wait fail: it is best to await them before.
    ///
    /// # Errors
    /// When there is no session: the client is closed, or is asking for one.
    ///
    /// # Cancel safety
    /// When the future is dropped, the session may have been left, and its snapshot lost; the client is closed then.
    pub async fn suspend(&self) -> Result<SessionSnapshot, Error> {
        self.take_snapshot("suspend", true).await
    }

    /// What is to be remembered of the session that goes on, in case this process ends without a chance to
    /// [`suspend`](Client::suspend). Whoever resumes it later may get messages again that this client got meanwhile.
    ///
    /// # Errors
    /// When there is no session: the client is closed, or is asking for one.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn snapshot(&self) -> Result<SessionSnapshot, Error> {
        self.take_snapshot("snapshot", false).await
    }

    async fn take_snapshot(&self, name: &'static str, leave: bool) -> Result<SessionSnapshot, Error> {
        let failed = |cause| Error::new(name, cause);
        let driver = self.driver().ok_or_else(|| failed(not_open()))?;
        let (reply, wait) = oneshot::channel();
        send(&driver, Command::Snapshot { leave, reply }).await.map_err(failed)?;
        let (session, cookies) = wait.await.ok().flatten().ok_or_else(|| failed(not_open()))?;
        Ok(SessionSnapshot::new(&self.inner.urls, session, cookies))
    }

    /// Closes the connection in good order: publishes that wait are sent, the server is told, sockets are closed.
    /// What was received stays receivable. A client that is closed already is left as it is.
    ///
    /// # Errors
    /// None today: the client is closed in any case, after [`Builder::close_timeout`](crate::Builder::close_timeout) at the latest.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the closing.
    pub async fn close(&self) -> Result<(), Error> {
        if self.driver().is_none() {
            return Ok(());
        }
        let reply = self.call(Operation::Close).await;
        reply.map(drop).map_err(|cause| Error::new("close", cause))
    }

    /// Opens, runs `scope`, and closes whatever its outcome is.
    ///
    /// ```no_run
    /// # use bayeux::{Client, Error};
    /// # async fn example() -> Result<(), Error> {
    /// let answer: String = Client::builder("https://example.com/cometd")
    ///     .build()?
    ///     .run(async |client| client.request("/service/echo", "hello").await)
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`open`](Client::open), and those of the scope.
    ///
    /// # Cancel safety
    /// Dropping the future cuts the connection when no other handle holds it.
    pub async fn run<T, E: From<Error>>(
        &self,
        scope: impl AsyncFnOnce(&Client) -> Result<T, E>,
    ) -> Result<T, E> {
        self.open().await?;
        let outcome = scope(self).await;
        self.close().await?;
        outcome
    }

    /// Where the connection stands.
    pub fn state(&self) -> State {
        self.inner.shared.status.borrow().state
    }

    /// The transport in use; `None` before the first handshake.
    pub fn connection_type(&self) -> Option<ConnectionType> {
        self.inner.shared.status.borrow().transport
    }

    /// Whether the client is closed, or was never opened.
    pub fn is_closed(&self) -> bool {
        self.state() == State::Disconnected
    }

    /// Why the client is closed; `None` while it is open.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.inner.shared.status.borrow().closed.clone()
    }

    /// How long ago the server was last heard of, be it only the answer to a ping; `None` before that.
    pub fn last_activity(&self) -> Option<Duration> {
        self.inner.shared.status.borrow().heard.map(|at| at.elapsed())
    }

    /// Drops the connection and makes it anew at once, or tries again at once while it is lost: for programs that know
    /// better than a deadline that the network has changed. The session and its subscriptions are kept if the server
    /// keeps them. Without the acknowledge extension a message that is on its way in that moment may be missed, which
    /// [`Event::GapPossible`](crate::Event::GapPossible) tells. A closed client stays closed.
    ///
    /// # Cancel safety
    /// Dropping the future before it is polled does nothing; after that the wish is carried out.
    pub async fn reconnect_now(&self) {
        if let Some(driver) = self.driver() {
            // A driver that is gone has nothing to reconnect.
            let _ = driver.send(Command::Reconnect).await;
        }
    }

    /// Every change of the connection's life from now on.
    pub fn events(&self) -> Events {
        self.inner.shared.listen()
    }

    /// The server's reply to the handshake: what it supports, its advice, its extensions.
    pub fn handshake(&self) -> Option<Arc<Message>> {
        self.inner.shared.handshake()
    }

    /// The URL that was given; of several, that of the server in use.
    pub fn url(&self) -> &Url {
        &self.inner.urls[self.inner.shared.status.borrow().server]
    }

    pub(crate) fn new_call(&self) -> CallId {
        CallId(self.inner.last_call.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn driver(&self) -> Option<mpsc::Sender<Command>> {
        self.inner.driver.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The way to the driver, which is started if there is none.
    fn start(&self) -> mpsc::Sender<Command> {
        let mut slot = self.inner.driver.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(driver) if !driver.is_closed() => driver.clone(),
            _ => {
                let (driver, commands) = mpsc::channel(COMMANDS);
                let task = Driver::new(self.inner.parts.clone(), commands, Arc::clone(&self.inner.shared));
                tokio::spawn(task.run());
                slot.insert(driver).clone()
            }
        }
    }

    pub(crate) async fn call(&self, operation: Operation) -> Result<Message, Cause> {
        let driver = match operation {
            Operation::Open | Operation::Resume(_) => self.start(),
            _ => self.driver().ok_or_else(not_open)?,
        };
        let (reply, wait) = oneshot::channel();
        let call = self.new_call();
        let forget = Forget { driver: &driver, call: Some(call) };
        send(&driver, Command::Call(Box::new(Call { id: call, operation, reply }))).await?;
        let outcome = answer(wait.await);
        forget.answered();
        outcome
    }
}

/// Tells the driver of a caller that waits no more, unless there was an answer.
pub(crate) struct Forget<'a> {
    pub(crate) driver: &'a mpsc::Sender<Command>,
    pub(crate) call: Option<CallId>,
}

impl Forget<'_> {
    pub(crate) fn answered(mut self) {
        self.call = None;
    }
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            // With a full channel the call runs to its end, which nobody waits for.
            let _ = self.driver.try_send(Command::Forget(call));
        }
    }
}

pub(crate) async fn send(driver: &mpsc::Sender<Command>, command: Command) -> Result<(), Cause> {
    // With room there is nothing to wait for: what is asked for first is then first in the queue, whatever the runtime
    // thinks of the task's share of time.
    match driver.try_send(command) {
        Ok(()) => Ok(()),
        Err(mpsc::error::TrySendError::Closed(_)) => Err(not_open()),
        Err(mpsc::error::TrySendError::Full(command)) => driver.send(command).await.map_err(|_| not_open()),
    }
}

pub(crate) fn answer(outcome: Result<CallResult, oneshot::error::RecvError>) -> Result<Message, Cause> {
    outcome.map_err(|_| not_open())?.map_err(Cause::Call)
}

pub(crate) fn not_open() -> Cause {
    Cause::Call(CallError::Closed(CloseReason::NotOpen))
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), stream: self.stream, receiver: self.receiver.fresh() }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.inner.parts.session.endpoint)
            .field("state", &self.state())
            .field("connection_type", &self.connection_type())
            .finish_non_exhaustive()
    }
}
