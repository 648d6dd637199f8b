//! The methods that subscribe from a position on.

use std::sync::Arc;

use bayeux_proto::client::{Operation, Replay};
use bayeux_proto::{Channel, InvalidChannel, Message};
use serde::de::DeserializeOwned;

use super::error::StoreError;
use super::stream::ReplayStream;
use super::tracker::Tracker;
use crate::client::{Client, not_open};
use crate::error::{Cause, Error};
use crate::operation::parse;
use crate::queue::{Capacity, Overflow};

impl Client {
    /// Subscribes to a channel from a position on, at a server that keeps the events of the channel. Each payload is decoded to `T` by
    /// the task that reads the stream, and is tracked until it is processed. See [`replay`](crate::replay) for what is guaranteed.
    ///
    /// The marker of the channel in the store of [`Builder::replay_store`](crate::Builder::replay_store) has precedence over
    /// [`Replay::Tip`] and [`Replay::All`], which are for the first time. [`Replay::After`] has precedence over the marker.
    ///
    /// The queue of the stream has the limits of [`Builder::stream_queue`](crate::Builder::stream_queue), but not its policy: it never
    /// drops a message. What does not fit is asked for again once half of the queue is free. That takes a new session if the server
    /// does not support the acknowledge extension.
    ///
    /// # Errors
    /// Returns the errors of [`stream`](Client::stream); an error of the store; and, as
    /// [`Error::is_replay_unavailable`](crate::Error::is_replay_unavailable), that the server does not support replay, or that it does
    /// not keep the position any more and [`ReplayFallback::Fail`](super::ReplayFallback::Fail) is set. Patterns and service channels
    /// cannot be replayed.
    ///
    /// # Cancel safety
    /// If the future is dropped, the client unsubscribes.
    pub async fn stream_from<T: DeserializeOwned>(
        &self,
        channel: impl TryInto<Channel, Error: Into<InvalidChannel>>,
        begin: Replay,
    ) -> Result<ReplayStream<T>, Error> {
        self.attach_from(parse(channel, "stream")?, begin, |message| {
            message.data().decode().map_err(|error| {
                let text = format!("the payload does not have the expected type: {error}");
                Error::new(format!("message on {}", message.channel()), Cause::Decode(text))
            })
        })
        .await
    }

    /// As [`stream_from`](Client::stream_from), with whole messages.
    ///
    /// # Errors
    /// Returns the errors of [`stream_from`](Client::stream_from).
    ///
    /// # Cancel safety
    /// If the future is dropped, the client unsubscribes.
    pub async fn messages_from(
        &self,
        channel: impl TryInto<Channel, Error: Into<InvalidChannel>>,
        begin: Replay,
    ) -> Result<ReplayStream<Message>, Error> {
        self.attach_from(parse(channel, "stream")?, begin, Ok).await
    }

    async fn attach_from<T>(
        &self,
        channel: Channel,
        begin: Replay,
        decode: fn(Message) -> Result<T, Error>,
    ) -> Result<ReplayStream<T>, Error> {
        let failed = |cause| Error::new(format!("subscribe to {channel}"), cause);
        let driver = self.driver().ok_or_else(|| failed(not_open()))?;
        let options = self.inner.replay.clone();
        let begin = match begin {
            Replay::Tip | Replay::All => {
                let (store, name) = (Arc::clone(&options.store), channel.to_string());
                let loading = tokio::task::spawn_blocking(move || store.load(&name)).await;
                let loaded = loading.unwrap_or_else(|error| Err(StoreError::Other(error.into())));
                let marker = loaded.map_err(|error| failed(Cause::Store(Arc::new(error))))?;
                marker.map_or(begin, Replay::After)
            }
            begin => begin,
        };
        let marker = match begin {
            Replay::After(id) => Some(id),
            _ => None,
        };
        let capacity = Capacity { overflow: Overflow::Pause, ..self.stream };
        let queue = self.stream_queue(capacity, &channel).replayed();
        let (sink, messages) = self.receiver(driver, &channel, queue, Ok).await.map_err(failed)?;
        let fallback = options.fallback;
        let operation = Operation::SubscribeFrom { channel: channel.clone(), sink, begin, fallback };
        self.call(operation).await.map_err(failed)?;
        let tracker = Tracker::new(channel.to_string(), options.store, marker);
        Ok(ReplayStream::new(messages, Arc::new(tracker), decode))
    }
}
