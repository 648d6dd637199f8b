//! A subscription from a position on, whose messages are tracked until they are processed.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bayeux_proto::client::ReplayFallback;
use bayeux_proto::ext::replay::event_id;
use bayeux_proto::{Channel, Message};
use futures_core::Stream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::error::StoreError;
use super::memory::MemoryStore;
use super::store::ReplayStore;
use super::tracker::Tracker;
use crate::error::{Cause, Error};
use crate::stream::Subscription;

/// The options of a client that concern replay.
#[derive(Clone)]
pub(crate) struct ReplayOptions {
    pub(crate) store: Arc<dyn ReplayStore>,
    pub(crate) fallback: ReplayFallback,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self { store: Arc::new(MemoryStore::new()), fallback: ReplayFallback::default() }
    }
}

/// The messages of one channel from a position on: a [`Stream`] of [`Tracked`] payloads of type `T`, made by
/// [`Client::stream_from`](crate::Client::stream_from) or [`Client::messages_from`](crate::Client::messages_from).
///
/// Items can be errors that do not end the stream, as those of a [`Subscription`](crate::Subscription); an error of the
/// [`ReplayStore`] is one of them. A payload that does not have the type `T` counts as processed when its error is returned.
///
/// Dropping the stream unsubscribes, and saves the marker, for which it may block the thread for the time of one write.
pub struct ReplayStream<T> {
    messages: Subscription<Message>,
    tracker: Arc<Tracker>,
    save_every: u32,
    saving: Option<JoinHandle<Result<(), StoreError>>>,
    /// When the last message was returned.
    returned: Option<Instant>,
    decode: fn(Message) -> Result<T, Error>,
}

impl<T> ReplayStream<T> {
    pub(super) fn new(
        messages: Subscription<Message>,
        tracker: Arc<Tracker>,
        decode: fn(Message) -> Result<T, Error>,
    ) -> Self {
        Self { messages, tracker, save_every: 1, saving: None, returned: None, decode }
    }

    /// Saves the marker when that many messages were processed since the last time, and when no message waits. 0 counts as 1.
    /// Default: 1, so that after the end of a process at most the message in processing comes again. With more, as many come again,
    /// and fewer writes wait for the disk.
    #[must_use]
    pub fn save_every(mut self, messages: u32) -> Self {
        self.save_every = messages.max(1);
        self
    }

    /// The channel of the subscription, with its filter.
    pub fn channel(&self) -> &Channel {
        self.messages.channel()
    }

    /// The id of the last event that was processed, with all before it; `None` if there is none, and the stream did not begin after
    /// one. The store may have an older one.
    pub fn marker(&self) -> Option<i64> {
        self.tracker.marker()
    }

    /// How long ago the last message was returned; `None` before the first. A channel that is quiet for longer than its publishers are
    /// deserves a look: [`Client::last_activity`](crate::Client::last_activity) says how long ago the server last answered at all.
    pub fn last_message(&self) -> Option<Duration> {
        self.returned.map(|at| at.elapsed())
    }

    /// Returns the next message, and waits for it. Before that, saves the marker of the messages that were processed. Returns `None`
    /// if the client is closed and all received messages were taken.
    ///
    /// # Cancel safety
    /// No message is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Tracked<T>, Error>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// As [`next`](ReplayStream::next), as a `Result` of an `Option`, for loops with `?`.
    ///
    /// # Errors
    /// Returns the errors of [`next`](ReplayStream::next). They do not end the stream, except for those that end a
    /// [`Subscription`](crate::Subscription), and [`Error::is_replay_unavailable`].
    ///
    /// # Cancel safety
    /// No message is lost if the future is dropped.
    pub async fn try_next(&mut self) -> Result<Option<Tracked<T>>, Error> {
        self.next().await.transpose()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Tracked<T>, Error>>> {
        loop {
            if let Err(error) = std::task::ready!(self.poll_save(self.save_every, None, cx)) {
                return Poll::Ready(Some(Err(self.failed(error))));
            }
            let Poll::Ready(item) = Pin::new(&mut self.messages).poll_next(cx) else {
                let waker = cx.waker().clone();
                match self.poll_save(1, Some(&waker), cx) {
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(self.failed(error)))),
                    // Something may have been processed meanwhile, whose wake-up was for the save.
                    Poll::Ready(Ok(true)) => continue,
                    Poll::Ready(Ok(false)) | Poll::Pending => return Poll::Pending,
                }
            };
            return Poll::Ready(item.map(|message| message.and_then(|message| self.track(message))));
        }
    }

    /// Saves the marker if that many messages were processed. Returns whether it was saved.
    fn poll_save(
        &mut self,
        every: u32,
        waker: Option<&std::task::Waker>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, StoreError>> {
        if self.saving.is_none() {
            if !self.tracker.is_due(every, waker) {
                return Poll::Ready(Ok(false));
            }
            if !self.tracker.may_block() {
                return Poll::Ready(self.tracker.save().map(|()| true));
            }
            let tracker = Arc::clone(&self.tracker);
            self.saving = Some(tokio::task::spawn_blocking(move || tracker.save()));
        }
        let Some(saving) = &mut self.saving else { return Poll::Ready(Ok(false)) };
        let outcome = std::task::ready!(Pin::new(saving).poll(cx));
        self.saving = None;
        Poll::Ready(outcome.unwrap_or_else(|error| Err(StoreError::Other(error.into()))).map(|()| true))
    }

    fn track(&mut self, message: Message) -> Result<Tracked<T>, Error> {
        self.returned = Some(Instant::now());
        let id = event_id(&message);
        let channel = message.channel().clone();
        let processing = Processing { number: self.tracker.begin(id), tracker: Arc::clone(&self.tracker) };
        // An error ends the processing.
        let value = (self.decode)(message)?;
        Ok(Tracked { value, replay_id: id, channel, processing })
    }

    fn failed(&self, error: StoreError) -> Error {
        Error::new(format!("save the marker of {}", self.channel()), Cause::Store(Arc::new(error)))
    }
}

impl<T> Stream for ReplayStream<T> {
    type Item = Result<Tracked<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl<T> Drop for ReplayStream<T> {
    fn drop(&mut self) {
        self.tracker.leave();
        save_last(&self.tracker);
    }
}

impl<T> std::fmt::Debug for ReplayStream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayStream")
            .field("channel", self.channel())
            .field("marker", &self.marker())
            .finish_non_exhaustive()
    }
}

/// A message that is being processed. Dereferences to its payload.
///
/// The message counts as processed when this is dropped, unless the thread panics, or when [`ack`](Tracked::ack) is called. Keep it
/// until then: in particular, do not move the payload out of it before.
#[must_use = "a message counts as processed when it is dropped"]
pub struct Tracked<T> {
    value: T,
    replay_id: Option<i64>,
    channel: Channel,
    processing: Processing,
}

struct Processing {
    number: u64,
    tracker: Arc<Tracker>,
}

impl<T> Tracked<T> {
    /// The id of the event; `None` if the message has none.
    pub fn replay_id(&self) -> Option<i64> {
        self.replay_id
    }

    /// The channel of the message, without a filter.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The message is processed. When this returns, the marker is saved, as far as all messages before this one are processed too.
    ///
    /// # Errors
    /// Returns an error of the [`ReplayStore`]. The marker is saved with the next one.
    ///
    /// # Cancel safety
    /// If the future is dropped, the message counts as processed, and the marker is saved with the next one.
    pub async fn ack(self) -> Result<(), Error> {
        let Self { processing, channel, .. } = self;
        let tracker = Arc::clone(&processing.tracker);
        processing.end();
        let outcome = if tracker.may_block() {
            let saving = tokio::task::spawn_blocking(move || tracker.save()).await;
            saving.unwrap_or_else(|error| Err(StoreError::Other(error.into())))
        } else {
            tracker.save()
        };
        outcome.map_err(|error| {
            Error::new(format!("save the marker of {channel}"), Cause::Store(Arc::new(error)))
        })
    }

    /// Returns the payload of a message that is not to count as processed: it comes again after the end of the process, and so do all
    /// after it.
    pub fn unprocessed(self) -> T {
        let Self { value, processing, .. } = self;
        processing.abandon();
        value
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Tracked<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Tracked<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracked").field("replay_id", &self.replay_id).field("value", &self.value).finish()
    }
}

impl Processing {
    /// Without a save.
    fn end(mut self) {
        self.tracker.processed(std::mem::take(&mut self.number));
    }

    fn abandon(mut self) {
        self.number = 0;
    }
}

impl Drop for Processing {
    fn drop(&mut self) {
        // Numbers begin with 1. A message whose processing panicked is not processed.
        if self.number == 0 || std::thread::panicking() {
            return;
        }
        self.tracker.processed(self.number);
        if self.tracker.is_left() {
            save_last(&self.tracker);
        }
    }
}

/// Saves the marker when no stream does any more.
fn save_last(tracker: &Tracker) {
    if let Err(error) = tracker.save() {
        tracing::warn!(%error, "the last replay marker was not saved");
    }
}
