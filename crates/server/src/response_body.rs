//! The body of a response: written piece by piece, so that it is known how far the client has read.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bayeux_proto::server::Counter;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::activity::{Activity, Responding};
use crate::stream::StreamWatch;

/// So much is handed to the connection at once: a frame of HTTP/2.
const PIECE: usize = 16 * 1024;

/// The body of every response. It is there as a whole.
pub struct ResponseBody {
    rest: Bytes,
    /// Counts what is copied of a large one.
    counter: Option<Counter>,
    ends: Option<Responding>,
    activity: Option<Arc<Activity>>,
    stream: Option<Arc<StreamWatch>>,
}

impl ResponseBody {
    pub(crate) fn new(body: Bytes) -> Self {
        Self { rest: body, counter: None, ends: None, activity: None, stream: None }
    }

    /// A body that the engine counts.
    pub(crate) fn of_messages(body: Bytes, counter: &Counter) -> Self {
        let counter = (body.len() > PIECE).then(|| counter.clone());
        let mut this = Self::new(body);
        this.counter = counter;
        this
    }

    /// What ends when the body was written or given up, and the connection that writes it.
    pub(crate) fn ending(mut self, ends: Responding, activity: Option<Arc<Activity>>) -> Self {
        self.ends = Some(ends);
        self.activity = activity;
        self.stream = StreamWatch::of_this_task();
        if let Some(stream) = &self.stream {
            stream.progress();
        }
        self
    }

    fn end(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        match &self.activity {
            Some(activity) if self.rest.is_empty() => activity.handed_over(ends),
            _ => drop(ends),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(stream) = &self.stream {
            stream.progress();
        }
        let length = self.rest.len().min(PIECE);
        let mut piece = self.rest.split_to(length);
        if self.rest.is_empty() {
            if let Some(counter) = &self.counter {
                // It may wait in the connection for a peer that does not read, and must not keep the rest in memory.
                piece = counter.count(piece.to_vec());
                self.rest = Bytes::new();
            }
            self.end();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("unwritten", &self.rest.len()).finish_non_exhaustive()
    }
}
