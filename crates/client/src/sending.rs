//! The methods that send: publishes, requests and batches.

use bayeux_proto::client::{CallError, CloseReason, Operation};
use bayeux_proto::ext::binary::Binary;
use bayeux_proto::{Channel, InvalidChannel, Message};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::client::{Client, Forget, answer, not_open, send};
use crate::error::{Cause, Error};
use crate::operation::{encode, parse};
use crate::shared::{Call, Command, ForgottenPublish};

impl Client {
    /// Publishes `data` to a broadcast or service channel, and returns the server's reply.
    ///
    /// Calls keep their order: the server gets the message of an earlier call first. While the connection is being restored, calls
    /// wait for up to [`Builder::call_timeout`](crate::Builder::call_timeout).
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// client.publish("/chat/demo", &serde_json::json!({"user": "ann", "chat": "hi"})).await?;
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if messages cannot be published to the channel, if `data` cannot be encoded as JSON or is too large, if an
    /// extension vetoes the message, if the server refuses it ([`Error::code`] is the reason), if the connection is lost, or if no
    /// reply arrives in time. In the last two cases [`Error::is_fate_unknown`] says whether the server may have received it.
    ///
    /// # Cancel safety
    /// If the future is dropped before the message is sent, the message is not sent.
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

    /// Publishes without waiting for the server's reply. Returns when the client has accepted the message, which is then sent in the
    /// order of the calls, and waits for the connection as with [`publish`](Client::publish). It counts towards
    /// [`max_pending_calls`](crate::Builder::max_pending_calls) until the server has replied.
    ///
    /// If it fails later, [`Event::PublishFailed`](crate::Event::PublishFailed) is emitted, and the metric of failed calls counts it.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// for reading in 0..1000 {
    ///     client.publish_and_forget("/readings", &reading).await?;
    /// }
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the message is not accepted: messages cannot be published to the channel, `data` cannot be encoded as JSON
    /// or is too large, an extension vetoes the message, the client is closed, too many calls wait
    /// ([`ErrorKind::Busy`](crate::ErrorKind::Busy)), or there is no connection and [`Builder::offline`](crate::Builder::offline) is
    /// [`Offline::Refuse`](crate::Offline::Refuse).
    ///
    /// # Cancel safety
    /// If the future is dropped after it was polled, the message may be sent.
    pub async fn publish_and_forget<C, T>(&self, channel: C, data: &T) -> Result<(), Error>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
        T: Serialize + ?Sized,
    {
        let channel = parse(channel, "publish")?;
        let data = encode(data, "publish")?;
        let failed = |cause| Error::new(format!("publish to {channel}"), cause);
        let driver = self.driver().ok_or_else(|| failed(not_open()))?;
        let (taken, wait) = oneshot::channel();
        let publish = ForgottenPublish { id: self.new_call(), channel: channel.clone(), data, taken };
        send(&driver, Command::PublishAndForget(Box::new(publish))).await.map_err(failed)?;
        let outcome = wait.await.unwrap_or(Err(CallError::Closed(CloseReason::NotOpen)));
        outcome.map_err(|error| failed(Cause::Call(error)))
    }

    /// Publishes bytes to a broadcast or service channel, as CometD's binary extension does: in Z85, which takes 25 % more than the
    /// bytes. Receivers decode them with [`Binary::read`](crate::Binary::read) or [`binaries`](Client::binaries).
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// let mut photos = client.binaries("/photos").await?;
    /// client.publish_binary("/photos", vec![0xff, 0xd8, 0xff]).await?;
    /// let photo = photos.try_next().await?.expect("the client is open");
    /// assert_eq!(&photo.data[..], [0xff, 0xd8, 0xff]);
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`publish`](Client::publish).
    ///
    /// # Cancel safety
    /// If the future is dropped before the message is sent, the message is not sent.
    pub async fn publish_binary<C>(&self, channel: C, bytes: impl Into<Binary>) -> Result<Message, Error>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
    {
        let channel = parse(channel, "publish")?;
        let operation = Operation::PublishBinary { channel: channel.clone(), binary: bytes.into() };
        self.call(operation).await.map_err(|cause| Error::new(format!("publish to {channel}"), cause))
    }

    /// Sends `data` to a service channel and returns the answer of the service (CometD's remote call): the data of the message with
    /// the same id.
    ///
    /// ```
    /// # use bayeux_server::{Data, Request, Server, ServiceError};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let double = |request: Request| async move {
    /// #     let number: u32 = request.data.decode()?;
    /// #     Ok::<_, ServiceError>(Some(Data::encode(&(2 * number))?))
    /// # };
    /// # let running = Server::builder().service("/service/double", double).build()?.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// let answer: u32 = client.request("/service/double", &21).await?;
    /// assert_eq!(answer, 42);
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`publish`](Client::publish), and an error if the channel is not a service channel, or if the answer does
    /// not have the type `T`.
    ///
    /// # Cancel safety
    /// If the future is dropped before the message is sent, the message is not sent.
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
        answer.data().decode().map_err(|error| {
            failed(Cause::Decode(format!("the answer does not have the expected type: {error}")))
        })
    }

    /// Sends several messages in one HTTP request or one WebSocket frame, which the server handles in order. Returns one result for
    /// each message, in the order of the calls in `build`. A batch that is larger than
    /// [`Builder::max_send_size`](crate::Builder::max_send_size) is sent in parts.
    ///
    /// ```
    /// # use bayeux_server::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::builder().build()?;
    /// # let running = server.bind("127.0.0.1:0").await?;
    /// # let client = bayeux::Client::connect(&running.url()).await?;
    /// let results = client
    ///     .batch(|batch| {
    ///         batch.publish("/a", &1)?;
    ///         batch.publish("/b", &2)
    ///     })
    ///     .await?;
    /// assert!(results.iter().all(Result::is_ok));
    /// # client.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the error of `build`; then nothing is sent. Also returns an error if the client was never opened.
    ///
    /// # Cancel safety
    /// If the future is dropped before the messages are sent, they are not sent.
    pub async fn batch(
        &self,
        build: impl FnOnce(&mut Batch) -> Result<(), Error>,
    ) -> Result<Vec<Result<Message, Error>>, Error> {
        let mut batch = Batch::default();
        build(&mut batch)?;
        let driver = self.driver().ok_or_else(|| Error::new("batch", not_open()))?;
        let mut calls = Vec::new();
        let mut waits = Vec::new();
        for (operation, name) in batch.operations {
            let (reply, wait) = oneshot::channel();
            let id = self.new_call();
            calls.push(Call { id, operation, reply });
            waits.push((Forget { driver: &driver, call: Some(id) }, name, wait));
        }
        send(&driver, Command::Batch(calls.into())).await.map_err(|cause| Error::new("batch", cause))?;
        let mut outcomes = Vec::new();
        for (forget, name, wait) in waits {
            let outcome = answer(wait.await);
            forget.answered();
            outcomes.push(outcome.map_err(|cause| Error::new(name, cause)));
        }
        Ok(outcomes)
    }
}
