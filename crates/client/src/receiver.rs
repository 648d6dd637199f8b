//! The reading end of a queue, which waits for messages and reports outages.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bayeux_proto::Message;
use tokio::time::{Instant, Sleep};

use crate::error::{Cause, End, Error};
use crate::queue::{Next, Queue};

/// One reader of a queue. Several readers may share a queue; each message goes to one of them.
pub(crate) struct Receiver {
    queue: Arc<Queue>,
    reader: u64,
    outage_timeout: Option<Duration>,
    endpoint: Arc<str>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Receiver {
    pub(crate) fn new(queue: Arc<Queue>, outage_timeout: Option<Duration>, endpoint: Arc<str>) -> Self {
        let reader = queue.new_reader();
        Self { queue, reader, outage_timeout, endpoint, timer: None }
    }

    /// Another reader of the same queue.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(Arc::clone(&self.queue), self.outage_timeout, Arc::clone(&self.endpoint))
    }

    /// The next message, if it is there already.
    #[inline]
    pub(crate) fn take_ready(&self) -> Option<Message> {
        self.queue.take_ready()
    }

    /// The next message, or the error that takes its place.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        loop {
            let Poll::Ready(next) = self.queue.poll_next(self.reader, cx) else {
                self.timer = None;
                return Poll::Pending;
            };
            return Poll::Ready(match next {
                Next::Message(message) => Ok(message),
                Next::Error(cause) | Next::End(cause) => Err(Error::new("receive", cause)),
                Next::LostUntil(at) => {
                    let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
                    if timer.deadline() != at {
                        timer.as_mut().reset(at);
                    }
                    std::task::ready!(timer.as_mut().poll(cx));
                    self.timer = None;
                    match self
                        .outage_timeout
                        .and_then(|outage_timeout| self.queue.report_lost(Instant::now(), outage_timeout))
                    {
                        Some(after) => Err(Error::new(
                            "receive",
                            Cause::Lost { after, endpoint: self.endpoint.to_string() },
                        )),
                        // Another reader has reported it, or the outage is over.
                        None => continue,
                    }
                }
            });
        }
    }

    /// The next item of a stream, which ends if the user closes the client.
    pub(crate) fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let item = std::task::ready!(self.poll_receive(cx));
        let Err(error) = item else { return Poll::Ready(Some(item)) };
        Poll::Ready(match error.end() {
            None => Some(Err(error)),
            Some(End::Wanted) => None,
            Some(End::Unwanted) => self.queue.report_end().then_some(Err(error)),
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.queue.forget_reader(self.reader);
    }
}
