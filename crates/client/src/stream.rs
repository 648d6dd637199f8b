//! One subscription as a stream of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use bayeux_proto::client::SinkId;
use bayeux_proto::{Channel, Message};
use futures_core::Stream;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::receiver::Receiver;
use crate::shared::Command;

/// The messages of one channel or pattern: a [`Stream`] of payloads of type `T`, made by [`Client::stream`](crate::Client::stream),
/// [`Client::messages`](crate::Client::messages) or [`Client::binaries`](crate::Client::binaries).
///
/// Items can be errors that do not end the stream: a payload that does not have the type `T`, an outage that lasts for
/// [`Builder::outage_timeout`](crate::Builder::outage_timeout), a subscription that could not be restored yet.
///
/// The stream ends after the received messages if the client is closed. Dropping it unsubscribes. It keeps the session open as a
/// [`Client`](crate::Client) does.
pub struct Subscription<T> {
    channel: Channel,
    sink: SinkId,
    receiver: Receiver,
    /// Also keeps the driver running.
    driver: mpsc::Sender<Command>,
    decode: fn(Message) -> Result<T, Error>,
}

impl<T> Subscription<T> {
    pub(crate) fn new(
        channel: Channel,
        sink: SinkId,
        receiver: Receiver,
        driver: mpsc::Sender<Command>,
        decode: fn(Message) -> Result<T, Error>,
    ) -> Self {
        Self { channel, sink, receiver, driver, decode }
    }

    /// The channel or pattern of the subscription.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Returns the next item, and waits for it. Returns `None` if the client is closed and all received messages were taken.
    ///
    /// # Cancel safety
    /// No item is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// As [`next`](Subscription::next), as a `Result` of an `Option`, for loops with `?`.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// let mut prices = client.stream::<f64>("/prices").await?;
    /// # server.publish("/prices", &1.5)?;
    /// while let Some(price) = prices.try_next().await? {
    ///     assert_eq!(price, 1.5);
    ///     client.close().await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`next`](Subscription::next). They do not end the stream, which can be read again, except that
    /// of a queue with [`Overflow::Close`](crate::Overflow::Close) and of a session that the server closed.
    ///
    /// # Cancel safety
    /// No item is lost if the future is dropped.
    pub async fn try_next(&mut self) -> Result<Option<T>, Error> {
        self.next().await.transpose()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        let item = std::task::ready!(self.receiver.poll_item(cx));
        Poll::Ready(item.map(|message| message.and_then(self.decode)))
    }
}

impl<T> Stream for Subscription<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        let (driver, detach) = (self.driver.clone(), Command::Detach(self.sink));
        if let Err(mpsc::error::TrySendError::Full(detach)) = driver.try_send(detach)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { driver.send(detach).await });
        }
    }
}

impl<T> std::fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("channel", &self.channel).finish_non_exhaustive()
    }
}
