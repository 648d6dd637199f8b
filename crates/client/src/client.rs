//! The handle of a client, with the methods that open and close it. The files `sending` and `receiving` have the others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bayeux_proto::client::{CallError, CallId, CallResult, CloseReason, Operation, SinkId, State};
use bayeux_proto::{Message, Transport};
use tokio::sync::{mpsc, oneshot};
use url::Url;

use crate::driver::{Driver, Parts};
use crate::error::{Cause, Error};
use crate::events::Events;
use crate::queue::Capacity;
use crate::receiver::Receiver;
use crate::replay::ReplayOptions;
use crate::shared::{Call, Command, Shared};
use crate::snapshot::SessionSnapshot;

/// How many commands of handles may wait for the driver.
const COMMANDS: usize = 1024;

/// A client of a CometD server, with one session at a time.
///
/// A `Client` is a handle: clones are the same client, and share one inbox. The session lasts until [`close`](Client::close), or
/// until the last handle and the last stream are dropped. Then the connection is closed without a `/meta/disconnect`, and the
/// server removes the session after a timeout.
///
/// The client restores lost connections, gets a new session if the server has removed the old one, and restores the
/// subscriptions before it emits [`Event::Connected`](crate::Event::Connected). Every change is emitted as one of the
/// [`events`](Client::events).
///
/// `Client` is a [`Stream`](futures_core::Stream) of the messages in the inbox.
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    /// The queues of streams that this handle makes.
    pub(crate) stream: Capacity,
    /// This handle's place in the inbox when it is used as a `Stream`.
    pub(crate) receiver: Receiver,
}

pub(crate) struct Inner {
    pub(crate) parts: Parts,
    /// Not known to the driver, whose end is not awaited: a store can be opened again once the last handle is dropped.
    pub(crate) replay: ReplayOptions,
    /// The URLs that were given.
    urls: Vec<Url>,
    pub(crate) shared: Arc<Shared>,
    /// The channel to the driver; `None` before the first `open`.
    driver: Mutex<Option<mpsc::Sender<Command>>>,
    last_call: AtomicU64,
    pub(crate) last_sink: AtomicU64,
}

impl Client {
    pub(crate) fn new(
        parts: Parts,
        replay: ReplayOptions,
        urls: Vec<Url>,
        inbox: Capacity,
        stream: Capacity,
    ) -> Self {
        let outage_timeout = parts.outage_timeout;
        let shared = Arc::new(Shared::new(inbox));
        let endpoint: Arc<str> = parts.session.endpoint.as_str().into();
        let receiver = Receiver::new(Arc::clone(&shared.inbox), outage_timeout, endpoint);
        let inner = Inner {
            parts,
            replay,
            urls,
            shared,
            driver: Mutex::new(None),
            last_call: AtomicU64::new(0),
            last_sink: AtomicU64::new(SinkId::INBOX.0),
        };
        Self { inner: Arc::new(inner), stream, receiver }
    }

    /// Opens a session: sends a handshake over the preferred transport that works, restores the subscriptions of a closed client, and
    /// returns when the first connect has been answered.
    ///
    /// A closed client can be opened again, whether the user or the server closed it.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let running = Server::builder().build()?.bind("127.0.0.1:0").await?;
    /// use bayeux::{Client, State};
    ///
    /// let client = Client::builder(running.url()).build()?;
    /// client.open().await?;
    /// assert_eq!(client.state(), State::Connected);
    /// client.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if no transport works (at once, unless [`Builder::retry_open`](crate::Builder::retry_open) is set), if the
    /// server refuses the handshake, if the [`Auth`](crate::Auth) returns no credentials, if
    /// [`Builder::open_timeout`](crate::Builder::open_timeout) has passed, or if the client is open already
    /// ([`ErrorKind::Busy`](crate::ErrorKind::Busy)). Except in the last case, the client is then closed.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the attempt. The client is then closed.
    pub async fn open(&self) -> Result<(), Error> {
        let http = &self.inner.parts.http;
        if self.is_closed() {
            http.forget_withheld_cookies();
        }
        let reply = self.call(Operation::Open).await;
        reply.map(drop).map_err(|cause| Error::new("open", cause).withheld(http.withheld_cookies()))
    }

    /// Opens the client with the session of a [`SessionSnapshot`]: with its client id, cookies, transport and subscriptions. If the
    /// server has removed the session, the client gets a new one, and [`Event::Rehandshaken`](crate::Event::Rehandshaken) and
    /// [`Event::GapPossible`](crate::Event::GapPossible) are emitted.
    ///
    /// With the acknowledge extension no message is missed. Messages of channels that were streams go to the inbox until
    /// [`stream`](Client::stream) is called for them again.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let running = Server::builder().build()?.bind("127.0.0.1:0").await?;
    /// # let url = running.url();
    /// let before = bayeux::Client::connect(&url).await?;
    /// before.subscribe("/chat/demo").await?;
    /// let snapshot = before.suspend().await?;
    ///
    /// let after = bayeux::Client::builder(&url).build()?;
    /// after.resume(&snapshot).await?;
    /// after.publish("/chat/demo", "hi").await?;
    /// assert_eq!(after.receive().await?.channel(), "/chat/demo");
    /// # after.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the snapshot is of another server, which must not get its secrets, and the errors of
    /// [`open`](Client::open). The snapshot can be used again.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the attempt. The client is then closed.
    pub async fn resume(&self, snapshot: &SessionSnapshot) -> Result<(), Error> {
        let (session, cookies) = snapshot.parts(&self.inner.urls)?;
        let http = &self.inner.parts.http;
        if self.is_closed() {
            http.forget_withheld_cookies();
        }
        let failed = |cause| Error::new("resume", cause).withheld(http.withheld_cookies());
        send(&self.start(), Command::RestoreCookies(Box::new(cookies))).await.map_err(failed)?;
        self.call(Operation::Resume(Box::new(session))).await.map(drop).map_err(failed)
    }

    /// Leaves the session without ending it, and closes the client. The server keeps the session for a while (CometD's
    /// `maxInterval`, 10 s by default). The snapshot can be [resumed](Client::resume) by this or another process.
    ///
    /// Received messages can still be taken from the inbox. Calls that wait for their reply fail, so await them first.
    ///
    /// # Errors
    /// Returns an error if there is no session: the client is closed, or it is handshaking.
    ///
    /// # Cancel safety
    /// If the future is dropped, the session may have been left and the snapshot lost. The client is closed then.
    pub async fn suspend(&self) -> Result<SessionSnapshot, Error> {
        self.take_snapshot("suspend", true).await
    }

    /// Returns a snapshot of the session, which continues, in case this process ends without a [`suspend`](Client::suspend). A client
    /// that resumes it later may receive messages again that this client received after the snapshot.
    ///
    /// # Errors
    /// Returns an error if there is no session: the client is closed, or it is handshaking.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
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

    /// Closes the client: sends the publishes that wait, ends the session with `/meta/disconnect`, and closes the sockets. Received
    /// messages can still be taken. Has no effect on a closed client.
    ///
    /// # Errors
    /// Returns no error today. The client is closed after [`Builder::close_timeout`](crate::Builder::close_timeout) at the latest.
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

    /// Opens the client, runs `scope`, and closes the client whatever the result of `scope` is.
    ///
    /// ```
    /// # use bayeux_server::{Data, Request, Server, ServiceError};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let echo = |request: Request| async move { Ok::<_, ServiceError>(Some(request.data)) };
    /// # let running = Server::builder().service("/service/echo", echo).build()?.bind("127.0.0.1:0").await?;
    /// use bayeux::{Client, Error};
    ///
    /// let answer: String = Client::builder(running.url())
    ///     .build()?
    ///     .run(async |client| client.request("/service/echo", "hello").await)
    ///     .await?;
    /// assert_eq!(answer, "hello");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`open`](Client::open) and those of `scope`.
    ///
    /// # Cancel safety
    /// If the future is dropped, the client stays open, unless no other handle exists.
    pub async fn run<T, E: From<Error>>(
        &self,
        scope: impl AsyncFnOnce(&Client) -> Result<T, E>,
    ) -> Result<T, E> {
        self.open().await?;
        let outcome = scope(self).await;
        self.close().await?;
        outcome
    }

    /// The state of the client.
    pub fn state(&self) -> State {
        self.inner.shared.status.borrow().state
    }

    /// The transport in use; `None` before the first handshake.
    pub fn transport(&self) -> Option<Transport> {
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

    /// The time since the last byte from the server, answers to pings included; `None` before the first.
    pub fn last_activity(&self) -> Option<Duration> {
        self.inner.shared.status.borrow().last_received.map(|at| at.elapsed())
    }

    /// Closes the connection and makes a new one at once; if the connection is lost already, tries again without waiting for the
    /// delay. For programs that learn of a network change before any timeout passes.
    ///
    /// The session and its subscriptions are kept if the server still has them. Without the acknowledge extension, messages that are
    /// on their way may be missed, and [`Event::GapPossible`](crate::Event::GapPossible) is emitted. A closed client stays closed.
    ///
    /// # Cancel safety
    /// Dropping the future before it is polled does nothing. After that the client reconnects.
    pub async fn reconnect_now(&self) {
        if let Some(driver) = self.driver() {
            // A driver that has ended has nothing to reconnect.
            let _ = driver.send(Command::Reconnect).await;
        }
    }

    /// A stream of all changes of the connection and the session from now on.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let running = Server::builder().build()?.bind("127.0.0.1:0").await?;
    /// use bayeux::{Client, Event};
    ///
    /// let client = Client::builder(running.url()).build()?;
    /// let mut events = client.events();
    /// client.open().await?;
    /// while let Some(event) = events.next().await {
    ///     if let Event::Connected { transport, .. } = event {
    ///         println!("connected over {transport}");
    ///         break;
    ///     }
    /// }
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    pub fn events(&self) -> Events {
        self.inner.shared.listen()
    }

    /// The server's last handshake reply: the transports it supports, its advice, its extensions; `None` before the first.
    pub fn handshake_reply(&self) -> Option<Arc<Message>> {
        self.inner.shared.handshake_reply()
    }

    /// The URL of the server in use.
    pub fn url(&self) -> &Url {
        &self.inner.urls[self.inner.shared.status.borrow().server]
    }

    pub(crate) fn new_call(&self) -> CallId {
        CallId(self.inner.last_call.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn driver(&self) -> Option<mpsc::Sender<Command>> {
        self.inner.driver.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the channel to the driver, which is started if it does not run.
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

/// Notifies the driver that a caller no longer waits, unless the call was answered.
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
            // If the channel is full, the call continues, and its result is dropped.
            let _ = self.driver.try_send(Command::Forget(call));
        }
    }
}

pub(crate) async fn send(driver: &mpsc::Sender<Command>, command: Command) -> Result<(), Cause> {
    // Without waiting, if there is capacity: the order of calls is then the order in the queue, even if the task has used up
    // its cooperative budget.
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
            .field("transport", &self.transport())
            .finish_non_exhaustive()
    }
}
