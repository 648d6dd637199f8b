//! The client: the handle with the verbs.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bayeux_proto::client::{CallError, CallId, CallResult, CloseReason, Operation, SinkId, State};
use bayeux_proto::ext::binary::Binary;
use bayeux_proto::{Channel, ConnectionType, InvalidChannel, Message};
use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use url::Url;

use crate::batch::Batch;
use crate::driver::{Driver, Parts};
use crate::error::{Cause, Error};
use crate::events::Events;
use crate::operation::{encode, parse};
use crate::queue::{Capacity, Overflow, Queue};
use crate::receiver::Receiver;
use crate::shared::{Command, Shared};
use crate::snapshot::SessionSnapshot;
use crate::stream::Subscription;

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
    inner: Arc<Inner>,
    /// The queues of streams that this handle makes.
    stream: Capacity,
    /// This handle's place in the inbox when it is used as a `Stream`.
    receiver: Receiver,
}

struct Inner {
    parts: Parts,
    url: Url,
    shared: Arc<Shared>,
    /// The way to the driver; there is none before the first `open`.
    driver: Mutex<Option<mpsc::Sender<Command>>>,
    last_call: AtomicU64,
    last_sink: AtomicU64,
}

impl Client {
    pub(crate) fn new(parts: Parts, url: Url, inbox: Capacity, stream: Capacity) -> Self {
        let patience = parts.patience;
        let shared = Arc::new(Shared::new(inbox));
        let endpoint: Arc<str> = parts.session.endpoint.as_str().into();
        let receiver = Receiver::new(Arc::clone(&shared.inbox), patience, endpoint);
        let inner = Inner {
            parts,
            url,
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
        let (session, cookies) = snapshot.parts(&self.inner.url)?;
        let failed = |cause| Error::new("resume", cause);
        send(&self.start(), Command::RestoreCookies(cookies)).await.map_err(failed)?;
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
        Ok(SessionSnapshot::new(&self.inner.url, session, cookies))
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

    /// Receives the messages of a channel, or of all that a pattern (`/chat/*`, `/chat/**`) matches, in the inbox.
    /// Subscribing twice is the same as once. A service channel needs no word of the server's.
    ///
    /// # Errors
    /// When the name is none, when the server refuses, or when it does not answer in time.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the subscription as it comes; [`unsubscribe`](Client::unsubscribe) takes it back.
    pub async fn subscribe<C>(&self, channel: C) -> Result<(), Error>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
    {
        let channel = parse(channel, "subscribe")?;
        let operation = Operation::Subscribe { channel: channel.clone(), sink: SinkId::INBOX };
        self.call(operation)
            .await
            .map(drop)
            .map_err(|cause| Error::new(format!("subscribe to {channel}"), cause))
    }

    /// Receives the messages of a channel no more.
    ///
    /// # Errors
    /// When there is no such subscription, or the server does not confirm; it is gone in any case.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the unsubscription.
    pub async fn unsubscribe<C>(&self, channel: C) -> Result<(), Error>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
    {
        let channel = parse(channel, "unsubscribe")?;
        let operation = Operation::Unsubscribe { channel: channel.clone(), sink: SinkId::INBOX };
        self.call(operation)
            .await
            .map(drop)
            .map_err(|cause| Error::new(format!("unsubscribe from {channel}"), cause))
    }

    /// The current subscriptions, of the inbox and of streams, in the order of their names.
    pub fn subscriptions(&self) -> Vec<Channel> {
        self.inner.shared.subscriptions().to_vec()
    }

    /// Sends `data` to a broadcast or service channel and returns the server's reply.
    ///
    /// Calls keep their order: what is published first arrives first. While the connection is being restored they
    /// wait, up to the request timeout.
    ///
    /// # Errors
    /// When the channel cannot be published to, when `data` is no JSON or too large, when the server refuses
    /// ([`Error::code`] tells why), or when the connection breaks or no reply comes in time; then
    /// [`Error::is_fate_unknown`] tells whether the server may have it all the same.
    ///
    /// # Cancel safety
    /// Dropping the future takes a message back that was not sent yet.
    pub async fn publish<C, T>(&self, channel: C, data: &T) -> Result<Message, Error>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
        T: Serialize + ?Sized,
    {
        let channel = parse(channel, "publish")?;
        let data = encode(data, "publish")?;
        let operation = Operation::Publish { channel: channel.clone(), data };
        self.call(operation).await.map_err(|cause| Error::new(format!("publish to {channel}"), cause))
    }

    /// Sends bytes to a broadcast or service channel, as CometD's binary extension does: in Z85, which takes a quarter
    /// more than the bytes. Receivers take them out with [`Binary::read`](crate::Binary::read), or with
    /// [`binaries`](Client::binaries).
    ///
    /// # Errors
    /// As [`publish`](Client::publish).
    ///
    /// # Cancel safety
    /// As [`publish`](Client::publish).
    pub async fn publish_binary<C>(&self, channel: C, bytes: impl Into<Binary>) -> Result<Message, Error>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
    {
        let channel = parse(channel, "publish")?;
        let operation = Operation::PublishBinary { channel: channel.clone(), binary: bytes.into() };
        self.call(operation).await.map_err(|cause| Error::new(format!("publish to {channel}"), cause))
    }

    /// Sends `data` to a service channel and returns the service's answer (CometD's remote call): the message with
    /// data that carries the id of this one.
    ///
    /// # Errors
    /// As [`publish`](Client::publish); and when the channel is no service channel, or the answer does not fit `T`.
    ///
    /// # Cancel safety
    /// As [`publish`](Client::publish).
    pub async fn request<T>(
        &self,
        channel: impl TryInto<Channel, Error: Into<InvalidChannel>>,
        data: &(impl Serialize + ?Sized),
    ) -> Result<T, Error>
    where
        T: DeserializeOwned,
    {
        let channel = parse(channel, "request")?;
        let data = encode(data, "request")?;
        let operation = Operation::Request { channel: channel.clone(), data, timeout: None };
        let failed = |cause| Error::new(format!("request to {channel}"), cause);
        let answer = self.call(operation).await.map_err(failed)?;
        answer
            .data()
            .decode()
            .map_err(|error| failed(Cause::Decode(format!("the answer does not fit: {error}"))))
    }

    /// Sends several messages in one payload, which the server handles in order. The outcomes are in the order of
    /// the calls in `build`.
    ///
    /// ```no_run
    /// # async fn example(client: bayeux::Client) -> Result<(), bayeux::Error> {
    /// let outcomes = client
    ///     .batch(|batch| {
    ///         batch.publish("/a", &1)?;
    ///         batch.publish("/b", &2)
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When `build` fails; then nothing is sent. Each message has its own outcome.
    ///
    /// # Cancel safety
    /// As [`publish`](Client::publish).
    pub async fn batch(
        &self,
        build: impl FnOnce(&mut Batch) -> Result<(), Error>,
    ) -> Result<Vec<Result<Message, Error>>, Error> {
        let mut batch = Batch::default();
        build(&mut batch)?;
        let mut calls = Vec::new();
        let mut waits = Vec::new();
        for (operation, name) in batch.operations {
            let (reply, wait) = oneshot::channel();
            let call = self.new_call();
            calls.push((call, operation, reply));
            waits.push((call, name, wait));
        }
        let driver = self.driver().ok_or_else(|| Error::new("batch", not_open()))?;
        let mut forget = Forget { driver: &driver, calls: waits.iter().map(|(call, ..)| *call).collect() };
        send(&driver, Command::Batch(calls)).await.map_err(|cause| Error::new("batch", cause))?;
        let mut outcomes = Vec::new();
        for (call, name, wait) in waits {
            let outcome = answer(wait.await);
            forget.calls.retain(|waiting| *waiting != call);
            outcomes.push(outcome.map_err(|cause| Error::new(name, cause)));
        }
        Ok(outcomes)
    }

    /// Receives the messages of a channel or pattern as a stream with a bounded queue of its own, each payload
    /// decoded to `T` in the task that reads the stream. They do not go to the inbox. Dropping the stream
    /// unsubscribes.
    ///
    /// # Errors
    /// As [`subscribe`](Client::subscribe).
    ///
    /// # Cancel safety
    /// Dropping the future takes the subscription back.
    pub async fn stream<T: DeserializeOwned>(
        &self,
        channel: impl TryInto<Channel, Error: Into<InvalidChannel>>,
    ) -> Result<Subscription<T>, Error> {
        self.attach(parse(channel, "stream")?, |message| {
            let decoded = message.data().decode();
            decoded.map_err(|error| {
                let what = format!("message on {}", message.channel());
                Error::new(what, Cause::Decode(format!("the payload does not fit: {error}")))
            })
        })
        .await
    }

    /// As [`stream`](Client::stream), but with whole messages, which name their channel and keep their payload raw.
    ///
    /// # Errors
    /// As [`subscribe`](Client::subscribe).
    ///
    /// # Cancel safety
    /// Dropping the future takes the subscription back.
    pub async fn messages(
        &self,
        channel: impl TryInto<Channel, Error: Into<InvalidChannel>>,
    ) -> Result<Subscription<Message>, Error> {
        self.attach(parse(channel, "stream")?, Ok).await
    }

    /// As [`stream`](Client::stream), of bytes that others send with [`publish_binary`](Client::publish_binary) or
    /// CometD's binary extension. A message that is not such is one `Err` item.
    ///
    /// # Errors
    /// As [`subscribe`](Client::subscribe).
    ///
    /// # Cancel safety
    /// Dropping the future takes the subscription back.
    pub async fn binaries(
        &self,
        channel: impl TryInto<Channel, Error: Into<InvalidChannel>>,
    ) -> Result<Subscription<Binary>, Error> {
        self.attach(parse(channel, "stream")?, |message| {
            let failed = |text| Error::new(format!("message on {}", message.channel()), Cause::Decode(text));
            match Binary::read(&message) {
                Some(binary) => binary.map_err(|error| failed(error.to_string())),
                None => Err(failed("the message is not marked as binary".to_owned())),
            }
        })
        .await
    }

    /// A handle of the same client whose streams have queues for that many messages, with that policy when they are
    /// full, in place of those of [`Builder::stream_queue`](crate::Builder::stream_queue).
    ///
    /// ```no_run
    /// # async fn example(client: bayeux::Client) -> Result<(), bayeux::Error> {
    /// use bayeux::Overflow;
    ///
    /// let orders = client.with_stream_queue(100, Overflow::Pause).stream::<u64>("/orders").await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_stream_queue(&self, messages: usize, overflow: Overflow) -> Self {
        let stream = Capacity { messages: messages.max(1), overflow, ..self.stream };
        Self { stream, ..self.clone() }
    }

    async fn attach<T>(
        &self,
        channel: Channel,
        decode: fn(Message) -> Result<T, Error>,
    ) -> Result<Subscription<T>, Error> {
        let failed = |cause| Error::new(format!("subscribe to {channel}"), cause);
        let driver = self.driver().ok_or_else(|| failed(not_open()))?;
        let sink = SinkId(self.inner.last_sink.fetch_add(1, Ordering::Relaxed) + 1);
        let queue = Arc::new(Queue::new(self.stream, Arc::clone(&self.inner.shared.roomy)));
        send(&driver, Command::Attach(sink, channel.clone(), Arc::clone(&queue))).await.map_err(failed)?;
        let receiver = Receiver::new(
            queue,
            self.inner.parts.patience,
            self.inner.parts.session.endpoint.as_str().into(),
        );
        // From here on a drop detaches.
        let subscription = Subscription::new(channel.clone(), sink, receiver, driver, decode);
        self.call(Operation::Subscribe { channel: channel.clone(), sink }).await.map_err(failed)?;
        Ok(subscription)
    }

    /// The next message of the inbox; waits until there is one.
    ///
    /// # Errors
    /// When the connection stays lost for [`Builder::connection_timeout`](crate::Builder::connection_timeout) (a timeout: the client goes on trying, and
    /// so may the caller), when a subscription could not be restored (it is tried again), when the server closed the
    /// session, or when the client is closed and the inbox is empty.
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
    pub async fn receive(&self) -> Result<Message, Error> {
        let mut receiver = self.receiver.fresh();
        std::future::poll_fn(|cx| receiver.poll_receive(cx)).await
    }

    /// As [`receive`](Client::receive), but `None` once the client is closed and the inbox is empty. When the server
    /// closed the session, that is told once as an error before.
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
    pub async fn next(&self) -> Option<Result<Message, Error>> {
        let mut receiver = self.receiver.fresh();
        std::future::poll_fn(|cx| receiver.poll_item(cx)).await
    }

    /// How many messages wait in the inbox.
    pub fn pending_count(&self) -> usize {
        self.inner.shared.inbox.len()
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
        Events::new(self.inner.shared.events.subscribe())
    }

    /// The server's reply to the handshake: what it supports, its advice, its extensions.
    pub fn handshake(&self) -> Option<Arc<Message>> {
        self.inner.shared.handshake()
    }

    /// The URL that was given.
    pub fn url(&self) -> &Url {
        &self.inner.url
    }

    fn new_call(&self) -> CallId {
        CallId(self.inner.last_call.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn driver(&self) -> Option<mpsc::Sender<Command>> {
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

    async fn call(&self, operation: Operation) -> Result<Message, Cause> {
        let driver = match operation {
            Operation::Open | Operation::Resume(_) => self.start(),
            _ => self.driver().ok_or_else(not_open)?,
        };
        let (reply, wait) = oneshot::channel();
        let call = self.new_call();
        let mut forget = Forget { driver: &driver, calls: vec![call] };
        send(&driver, Command::Call(call, operation, reply)).await?;
        let outcome = answer(wait.await);
        forget.calls.clear();
        outcome
    }
}

/// Tells the driver of callers that wait no more.
struct Forget<'a> {
    driver: &'a mpsc::Sender<Command>,
    calls: Vec<CallId>,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        for call in self.calls.drain(..) {
            // With a full channel the call runs to its end, which nobody waits for.
            let _ = self.driver.try_send(Command::Forget(call));
        }
    }
}

async fn send(driver: &mpsc::Sender<Command>, command: Command) -> Result<(), Cause> {
    // With room there is nothing to wait for: what is asked for first is then first in the queue, whatever the runtime
    // thinks of the task's share of time.
    match driver.try_send(command) {
        Ok(()) => Ok(()),
        Err(mpsc::error::TrySendError::Closed(_)) => Err(not_open()),
        Err(mpsc::error::TrySendError::Full(command)) => driver.send(command).await.map_err(|_| not_open()),
    }
}

fn answer(outcome: Result<CallResult, oneshot::error::RecvError>) -> Result<Message, Cause> {
    outcome.map_err(|_| not_open())?.map_err(Cause::Call)
}

fn not_open() -> Cause {
    Cause::Call(CallError::Closed(CloseReason::NotOpen))
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), stream: self.stream, receiver: self.receiver.fresh() }
    }
}

impl Stream for Client {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_item(cx)
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
