//! The methods that receive: subscriptions, the inbox, and streams.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bayeux_proto::client::{Operation, SinkId};
use bayeux_proto::ext::binary::Binary;
use bayeux_proto::{Channel, InvalidChannel, Message};
use futures_core::Stream;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::client::{Client, not_open, send};
use crate::error::{Cause, Error};
use crate::operation::parse;
use crate::queue::{Capacity, Overflow, Queue};
use crate::receiver::Receiver;
use crate::shared::Command;
use crate::stream::Subscription;

impl Client {
    /// Subscribes to a channel, or to all channels that a pattern (`/chat/*`, `/chat/**`) matches. Their messages go to the inbox.
    /// Subscribing again has no effect. A subscription to a service channel is not sent to the server.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// client.subscribe("/chat/*").await?;
    /// # server.publish("/chat/demo", "hi")?;
    /// let message = client.receive().await?;
    /// assert_eq!(message.channel(), "/chat/demo");
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// A name outside the Bayeux grammar is sent as it is given, because some servers accept more. A name with a filter, such as
    /// Salesforce's `/topic/Accounts?Industry='Energy'`, receives the messages of the channel before the `?`. A message does not say
    /// which filter it passed: with several subscriptions to one channel, each receiver gets each message that the server sends for
    /// any of them, once.
    ///
    /// # Errors
    /// Returns an error if the name is invalid, if the server refuses, or if no reply arrives in time; then
    /// [`Error::failure`](crate::Error::failure) is the failure of the last attempt.
    ///
    /// # Cancel safety
    /// If the future is dropped, the subscription may exist or not. [`unsubscribe`](Client::unsubscribe) removes it.
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

    /// Removes a subscription of the inbox.
    ///
    /// # Errors
    /// Returns an error if there is no such subscription, or if the server does not confirm. The client drops the subscription in any
    /// case.
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

    /// The granted subscriptions of the inbox and of streams, ordered by name.
    pub fn subscriptions(&self) -> Vec<Channel> {
        self.inner.shared.subscriptions()
    }

    /// Subscribes to a channel or pattern with a stream that has a queue of its own. Each payload is decoded to `T` by the task that
    /// reads the stream. The messages do not go to the inbox. Dropping the stream unsubscribes.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// #[derive(serde::Deserialize)]
    /// struct Price {
    ///     symbol: String,
    ///     price: f64,
    /// }
    ///
    /// let mut prices = client.stream::<Price>("/prices").await?;
    /// # server.publish("/prices", &serde_json::json!({"symbol": "ABC", "price": 1.5}))?;
    /// let first = prices.try_next().await?.expect("the client is open");
    /// assert_eq!((&*first.symbol, first.price), ("ABC", 1.5));
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`subscribe`](Client::subscribe).
    ///
    /// # Cancel safety
    /// If the future is dropped, the client unsubscribes.
    pub async fn stream<T: DeserializeOwned>(
        &self,
        channel: impl TryInto<Channel, Error: Into<InvalidChannel>>,
    ) -> Result<Subscription<T>, Error> {
        self.attach(parse(channel, "stream")?, |message| {
            let decoded = message.data().decode();
            decoded.map_err(|error| {
                let what = format!("message on {}", message.channel());
                Error::new(
                    what,
                    Cause::Decode(format!("the payload does not have the expected type: {error}")),
                )
            })
        })
        .await
    }

    /// As [`stream`](Client::stream), with whole messages, which name their channel and keep their payload as it was received.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// let mut chat = client.messages("/chat/**").await?;
    /// # server.publish("/chat/a/b", "hi")?;
    /// let message = chat.try_next().await?.expect("the client is open");
    /// assert_eq!(message.channel(), "/chat/a/b");
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`subscribe`](Client::subscribe).
    ///
    /// # Cancel safety
    /// If the future is dropped, the client unsubscribes.
    pub async fn messages(
        &self,
        channel: impl TryInto<Channel, Error: Into<InvalidChannel>>,
    ) -> Result<Subscription<Message>, Error> {
        self.attach(parse(channel, "stream")?, Ok).await
    }

    /// As [`stream`](Client::stream), with the bytes that others send with [`publish_binary`](Client::publish_binary) or CometD's
    /// binary extension. Another message is an `Err` item, which does not end the stream.
    ///
    /// # Errors
    /// Returns the errors of [`subscribe`](Client::subscribe).
    ///
    /// # Cancel safety
    /// If the future is dropped, the client unsubscribes.
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

    /// Returns a handle of the same client whose new streams have queues of at most `messages` messages, with this policy, instead
    /// of those of [`Builder::stream_queue`](crate::Builder::stream_queue). 0 counts as 1.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// use bayeux::Overflow;
    ///
    /// let orders = client.with_stream_queue(100, Overflow::Pause).stream::<u64>("/orders").await?;
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_stream_queue(&self, messages: usize, overflow: Overflow) -> Self {
        let stream = Capacity { messages: messages.max(1), overflow, ..self.stream };
        Self { stream, ..self.clone() }
    }

    /// Returns a handle of the same client whose new streams have queues of at most `bytes` bytes of payloads, instead of those of
    /// [`Builder::stream_queue_bytes`](crate::Builder::stream_queue_bytes).
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// use bayeux::Overflow;
    ///
    /// let small = client.with_stream_queue(100, Overflow::DropOldest).with_stream_queue_bytes(1024 * 1024);
    /// let photos = small.messages("/photos").await?;
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_stream_queue_bytes(&self, bytes: usize) -> Self {
        let stream = Capacity { bytes, ..self.stream };
        Self { stream, ..self.clone() }
    }

    async fn attach<T>(
        &self,
        channel: Channel,
        decode: fn(Message) -> Result<T, Error>,
    ) -> Result<Subscription<T>, Error> {
        let failed = |cause| Error::new(format!("subscribe to {channel}"), cause);
        let driver = self.driver().ok_or_else(|| failed(not_open()))?;
        let queue = self.stream_queue(self.stream, &channel);
        let (sink, subscription) = self.receiver(driver, &channel, queue, decode).await.map_err(failed)?;
        self.call(Operation::Subscribe { channel: channel.clone(), sink }).await.map_err(failed)?;
        Ok(subscription)
    }

    /// A queue for one channel.
    pub(crate) fn stream_queue(&self, capacity: Capacity, channel: &Channel) -> Queue {
        Queue::new(capacity, Some(channel.clone()), Arc::clone(&self.inner.shared.credit_freed))
    }

    /// Attaches a queue to the session as the receiver of a channel that is about to be subscribed to. A drop detaches it.
    pub(crate) async fn receiver<T>(
        &self,
        driver: mpsc::Sender<Command>,
        channel: &Channel,
        queue: Queue,
        decode: fn(Message) -> Result<T, Error>,
    ) -> Result<(SinkId, Subscription<T>), Cause> {
        let sink = SinkId(self.inner.last_sink.fetch_add(1, Ordering::Relaxed) + 1);
        let queue = Arc::new(queue);
        let attached = Box::new((sink, channel.clone(), Arc::clone(&queue)));
        send(&driver, Command::Attach(attached)).await?;
        let parts = &self.inner.parts;
        let receiver = Receiver::new(queue, parts.outage_timeout, parts.session.endpoint.as_str().into());
        Ok((sink, Subscription::new(channel.clone(), sink, receiver, driver, decode)))
    }

    /// Returns the next message of the inbox, and waits for it if the inbox is empty.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// client.subscribe("/chat/demo").await?;
    /// client.publish("/chat/demo", "hi").await?;
    /// let message = client.receive().await?;
    /// assert_eq!(message.data().decode::<String>()?, "hi");
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error
    /// - if an outage lasts for [`Builder::outage_timeout`](crate::Builder::outage_timeout) (a timeout; the client goes on restoring
    ///   the connection, and this can be called again),
    /// - if a subscription could not be restored ([`Error::channel`](crate::Error::channel) names it; the client tries again),
    /// - if the inbox is empty and its queue overflowed with [`Overflow::Close`], the server closed the session, or the client is
    ///   closed.
    ///
    /// # Cancel safety
    /// No message is lost if the future is dropped.
    pub async fn receive(&self) -> Result<Message, Error> {
        if let Some(message) = self.receiver.take_ready() {
            return Ok(message);
        }
        let mut receiver = self.receiver.fresh();
        std::future::poll_fn(|cx| receiver.poll_receive(cx)).await
    }

    /// As [`receive`](Client::receive), but returns `None` if the client is closed and the inbox is empty. If the server closed the
    /// session, one error precedes the `None`.
    ///
    /// # Cancel safety
    /// No message is lost if the future is dropped.
    pub async fn next(&self) -> Option<Result<Message, Error>> {
        if let Some(message) = self.receiver.take_ready() {
            return Some(Ok(message));
        }
        let mut receiver = self.receiver.fresh();
        std::future::poll_fn(|cx| receiver.poll_item(cx)).await
    }

    /// As [`next`](Client::next), as a `Result` of an `Option`, for loops with `?`.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// client.subscribe("/chat/demo").await?;
    /// # server.publish("/chat/demo", "hi")?;
    /// while let Some(message) = client.try_next().await? {
    ///     println!("{} {}", message.channel(), message.data());
    ///     client.close().await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`receive`](Client::receive), except that a client that its user closed is no error.
    ///
    /// # Cancel safety
    /// No message is lost if the future is dropped.
    pub async fn try_next(&self) -> Result<Option<Message>, Error> {
        self.next().await.transpose()
    }

    /// The number of messages in the inbox.
    pub fn pending_count(&self) -> usize {
        self.inner.shared.inbox.len()
    }
}

impl Stream for Client {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_item(cx)
    }
}
