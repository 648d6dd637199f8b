//! The verbs that receive: subscriptions, the inbox, and streams.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bayeux_proto::client::{Operation, SinkId};
use bayeux_proto::ext::binary::Binary;
use bayeux_proto::{Channel, InvalidChannel, Message};
use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::client::{Client, not_open, send};
use crate::error::{Cause, Error};
use crate::operation::parse;
use crate::queue::{Capacity, Overflow, Queue};
use crate::receiver::Receiver;
use crate::shared::Command;
use crate::stream::Subscription;

impl Client {
    /// Receives the messages of a channel, or of all that a pattern (`/chat/*`, `/chat/**`) matches, in the inbox.
    /// Subscribing twice is the same as once. A service channel needs no word of the server's.
    ///
    /// A name that the Bayeux grammar does not have is sent as it is given, because some servers accept more. A name with
    /// a filter, such as Salesforce's `/topic/Accounts?Industry='Energy'`, receives what arrives on the channel before the
    /// `?`. A message does not say which filter let it through: with several subscriptions to one channel, each receiver
    /// gets what the server sends for any of them, once.
    ///
    /// # Errors
    /// If the name is invalid, if the server refuses, or if it does not answer in time:
    /// [`Error::failure`](crate::Error::failure) is then what the last attempt failed with.
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
        self.inner.shared.subscriptions()
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

    /// A handle of the same client whose streams have queues of at most that many bytes of payloads, in place of
    /// [`Builder::stream_queue_bytes`](crate::Builder::stream_queue_bytes).
    ///
    /// ```no_run
    /// # async fn example(client: bayeux::Client) -> Result<(), bayeux::Error> {
    /// use bayeux::Overflow;
    ///
    /// let small = client.with_stream_queue(100, Overflow::DropOldest).with_stream_queue_bytes(1024 * 1024);
    /// let photos = small.messages("/photos").await?;
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
        let sink = SinkId(self.inner.last_sink.fetch_add(1, Ordering::Relaxed) + 1);
        let queue = Arc::new(Queue::new(
            self.stream,
            Some(channel.clone()),
            Arc::clone(&self.inner.shared.credit_freed),
        ));
        let attached = Box::new((sink, channel.clone(), Arc::clone(&queue)));
        send(&driver, Command::Attach(attached)).await.map_err(failed)?;
        let receiver = Receiver::new(
            queue,
            self.inner.parts.outage_timeout,
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
    /// When the connection stays lost for [`Builder::outage_timeout`](crate::Builder::outage_timeout) (a timeout: the client goes on trying, and
    /// so may the caller), when a subscription could not be restored (it is tried again), when the server closed the
    /// session, or when the client is closed and the inbox is empty.
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
    pub async fn receive(&self) -> Result<Message, Error> {
        if let Some(message) = self.receiver.take_ready() {
            return Ok(message);
        }
        let mut receiver = self.receiver.fresh();
        std::future::poll_fn(|cx| receiver.poll_receive(cx)).await
    }

    /// As [`receive`](Client::receive), but `None` once the client is closed and the inbox is empty. When the server
    /// closed the session, that is told once as an error before.
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
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
    /// # let server = Server::builder().build();
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

    /// How many messages wait in the inbox.
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
