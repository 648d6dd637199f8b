//! The verbs that send: publishes, requests and batches.

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
    /// Sends `data` to a broadcast or service channel and returns the server's reply.
    ///
    /// Calls keep their order: what is published first arrives first. While the connection is being restored they
    /// wait, up to [`Builder::call_timeout`](crate::Builder::call_timeout).
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

    /// Publishes without waiting for the server's reply: returns when the client has taken the message, which then goes
    /// out in the order of the calls, or waits for the connection as [`publish`](Client::publish) does. It counts among the
    /// [`max_pending_calls`](crate::Builder::max_pending_calls) until the server has answered.
    ///
    /// What becomes of it later is told only if it fails: as [`Event::PublishFailed`](crate::Event::PublishFailed), and in
    /// the count of failed calls.
    ///
    /// ```no_run
    /// # async fn example(client: bayeux::Client) -> Result<(), bayeux::Error> {
    /// for reading in 0..1000 {
    ///     client.publish_and_forget("/readings", &reading).await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the message is refused before it is sent: the channel cannot be published to, `data` is no JSON or too large,
    /// the client is closed, too many calls wait ([`ErrorKind::Busy`](crate::ErrorKind::Busy)), there is no connection and
    /// [`Builder::offline`](crate::Builder::offline) refuses, or an extension does.
    ///
    /// # Cancel safety
    /// A message of which the future was polled once may go out when it is dropped, and fails as any that was taken.
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
