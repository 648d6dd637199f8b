//! Streams of HTTP/2: each is ended by itself when its response is not read, while the connection goes on.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::activity::{Phases, later};

tokio::task_local! {
    /// The stream that the task serves.
    static STREAM: Arc<StreamWatch>;
}

/// How far the response of a stream has got.
#[derive(Debug, Default)]
pub(crate) struct StreamWatch {
    response: Mutex<Option<Response>>,
    begun: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Response {
    since: Instant,
    progress: Instant,
}

impl StreamWatch {
    pub(crate) fn of_this_task() -> Option<Arc<Self>> {
        STREAM.try_with(Arc::clone).ok()
    }

    /// The peer has read so much that more was taken of the response.
    pub(crate) fn progress(&self) {
        let now = Instant::now();
        let mut response = self.response.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *response {
            Some(response) => response.progress = now,
            None => {
                *response = Some(Response { since: now, progress: now });
                self.begun.notify_one();
            }
        }
    }

    /// Resolves when the response has not been read for too long.
    async fn stalled(&self, phases: &Phases) {
        self.begun.notified().await;
        loop {
            let response = *self.response.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(response) = response else { return };
            let at = later(response.progress, phases.write).min(later(response.since, phases.response));
            if at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(at).await;
        }
    }
}

/// Runs the streams of a connection, each in a task that ends when its response is not read.
#[derive(Clone, Debug)]
pub(crate) struct Streams(pub(crate) Phases);

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let phases = self.0;
        let watch = Arc::<StreamWatch>::default();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = STREAM.scope(Arc::clone(&watch), stream) => {}
                // Dropping a stream resets it.
                () = watch.stalled(&phases) => tracing::debug!("a response over HTTP/2 is not read and is given up"),
            }
        });
    }
}
