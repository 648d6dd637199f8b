//! One connection of the listener: served until it ends, or until a phase of it lasts too long.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::activity::{Activity, Late, Watched, later};
use crate::http_service::HttpService;
use crate::stream::Streams;

/// How much of a head is taken in, and how much of a response goes to the socket at once.
const BUFFER: usize = 128 * 1024;
/// How long the orderly end of a connection that was idle for too long may take.
const CLOSING: Duration = Duration::from_secs(1);

/// Why a connection ended.
enum End {
    Done(Result<(), Box<dyn std::error::Error + Send + Sync>>),
    Late(Late),
    Evicted,
    Stopped,
}

/// Serves a connection. The time for its first head runs from here: an encrypted connection would make its TLS handshake
/// within this time too, before this is called with what comes out of it.
pub(crate) async fn serve<T>(
    service: HttpService,
    io: T,
    activity: Arc<Activity>,
    max_streams: u32,
    mut stopped: watch::Receiver<()>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// After so long of silence a connection of HTTP/2 is asked whether it is alive.
    const ALIVE: Duration = Duration::from_secs(60);
    let mut builder = auto::Builder::new(Streams(*activity.phases()));
    // The time for a head is kept below, from the first moment on.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(BUFFER);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(ALIVE).max_concurrent_streams(max_streams);
    let io = TokioIo::new(Watched::new(io, Arc::clone(&activity)));
    let connection = builder.serve_connection_with_upgrades(io, TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let mut armed = Instant::now();
    let mut timer = pin!(sleep_until(armed));
    let mut stopping = false;
    let mut closing: Option<Instant> = None;
    loop {
        let served = poll_fn(|cx| {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(End::Done(result));
            }
            // What the connection does may have changed just now. A timer that is too early is left as it is.
            loop {
                let now = Instant::now();
                let deadline = match closing {
                    Some(at) => Some((at, Late::Head)),
                    None => activity.deadline(),
                };
                if let Some((at, late)) = deadline
                    && at <= now
                {
                    return Poll::Ready(End::Late(late));
                }
                let at = deadline.map_or_else(|| later(now, Duration::MAX), |(at, _)| at);
                if at < armed || armed <= now {
                    armed = at;
                    timer.as_mut().reset(at);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        });
        let end = tokio::select! {
            end = served => end,
            () = activity.evicted() => End::Evicted,
            _ = stopped.changed(), if !stopping => End::Stopped,
        };
        match end {
            End::Done(Ok(())) => return,
            End::Done(Err(error)) => return tracing::debug!(%error, "a connection ended"),
            End::Stopped => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            End::Late(Late::Idle) => {
                tracing::trace!("an idle connection is closed");
                closing = Some(later(Instant::now(), CLOSING));
                connection.as_mut().graceful_shutdown();
            }
            End::Late(late) => {
                if closing.is_none() {
                    tracing::debug!(?late, "a connection takes too long and is cut");
                }
                return;
            }
            End::Evicted => {
                return tracing::debug!(
                    "a connection that waits for a request is closed in favour of another"
                );
            }
        }
    }
}
