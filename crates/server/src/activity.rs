//! What a connection is doing, and until when it may go on with that.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::options::Options;

/// How long each phase of a connection may last; [`Builder`](crate::Builder) documents each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
    pub(crate) response: Duration,
    /// In bytes per second.
    pub(crate) min_rate: u32,
}

impl Phases {
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            head: options.head_timeout,
            idle: options.idle_timeout,
            write: options.write_timeout,
            response: options.response_timeout,
            min_rate: options.min_rate,
        }
    }

    /// Until when so many bytes are enough, which count since then.
    pub(crate) fn at_rate(&self, since: Instant, grace: Duration, bytes: u64) -> Instant {
        let earned = Duration::from_secs(bytes.checked_div(self.min_rate.into()).unwrap_or(u64::MAX / 4));
        later(later(since, grace), earned)
    }
}

/// That much later, or never.
pub(crate) fn later(since: Instant, span: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    since.checked_add(span.min(NEVER)).unwrap_or(since)
}

/// What a connection is doing: shared by its socket, its requests and the task that ends it.
#[derive(Debug)]
pub(crate) struct Activity {
    phases: Phases,
    state: Mutex<State>,
    evicted: Notify,
    /// How many bytes of requests that have not come as a whole, and of responses that were not written as a whole.
    buffered: Mutex<usize>,
}

#[derive(Debug)]
struct State {
    /// How many requests are being served: from their head until their response has been written.
    requests: usize,
    /// When that became none.
    since: Instant,
    served: bool,
    /// Whether requests share the connection, as in HTTP/2.
    multiplexed: bool,
    /// When the first byte of a head came, while no request is served.
    head: Option<Instant>,
    writing: Option<Writing>,
    /// Responses that were handed to the connection as a whole, and have yet to leave it.
    unflushed: Vec<Responding>,
    /// The socket is closed: nothing will leave it.
    closed: bool,
}

/// What the peer does not read as fast as it is written.
#[derive(Debug)]
struct Writing {
    since: Instant,
    progress: Instant,
    bytes: u64,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    Head,
    Idle,
    Write,
}

impl Activity {
    pub(crate) fn new(phases: Phases) -> Arc<Self> {
        let state = State {
            requests: 0,
            since: Instant::now(),
            served: false,
            multiplexed: false,
            head: None,
            writing: None,
            unflushed: Vec::new(),
            closed: false,
        };
        Arc::new(Self { phases, state: Mutex::new(state), evicted: Notify::new(), buffered: Mutex::new(0) })
    }

    pub(crate) fn phases(&self) -> &Phases {
        &self.phases
    }

    /// A request begins: its head has come.
    pub(crate) fn request(self: &Arc<Self>, multiplexed: bool) -> Serving {
        let mut state = self.lock();
        state.requests += 1;
        state.served = true;
        state.multiplexed = multiplexed;
        state.head = None;
        Serving(Arc::clone(self))
    }

    /// Until when the connection may go on as it does; `None` is for ever.
    pub(crate) fn deadline(&self) -> Option<(Instant, Late)> {
        let state = self.lock();
        let phase = if state.requests > 0 {
            None
        } else if !state.served {
            Some((later(state.since, self.phases.head), Late::Head))
        } else if let Some(head) = state.head {
            Some((later(head, self.phases.head), Late::Head))
        } else {
            Some((later(state.since, self.phases.idle), Late::Idle))
        };
        phase.into_iter().chain(self.writing_deadline(&state)).min_by_key(|(at, _)| *at)
    }

    /// Until when what is written must be read, if anything is.
    pub(crate) fn write_deadline(&self) -> Option<Instant> {
        self.writing_deadline(&self.lock()).map(|(at, _)| at)
    }

    fn writing_deadline(&self, state: &State) -> Option<(Instant, Late)> {
        state.writing.as_ref().map(|writing| {
            let stalled = later(writing.progress, self.phases.write);
            let rate = self.phases.at_rate(writing.since, self.phases.write, writing.bytes);
            // Over HTTP/2 there is always something to write when others read well; each response has its own time there.
            let whole = if state.multiplexed { Duration::MAX } else { self.phases.response };
            let whole = later(writing.since, whole);
            (stalled.min(rate).min(whole), Late::Write)
        })
    }

    /// Since when something waits for the peer to read.
    pub(crate) fn writing_since(&self) -> Option<Instant> {
        self.lock().writing.as_ref().map(|writing| writing.since)
    }

    /// Whether it waits for a request: such a connection may be closed when another one needs its place. If it does, whether
    /// it had one before.
    pub(crate) fn is_waiting(&self) -> Option<bool> {
        let state = self.lock();
        (state.requests == 0).then_some(state.served)
    }

    pub(crate) fn evict(&self) {
        self.evicted.notify_one();
    }

    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// A response was handed to the connection as a whole; it is over when the socket has taken it.
    pub(crate) fn handed_over(&self, responding: Responding) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            drop(responding);
        } else {
            state.unflushed.push(responding);
        }
    }

    /// The socket is closed.
    fn closed(&self) {
        self.lock().closed = true;
        // These know the connection, and would keep each other.
        self.flushed();
    }

    fn read(&self) {
        let mut state = self.lock();
        if state.requests == 0 && !state.multiplexed && state.head.is_none() {
            state.head = Some(Instant::now());
        }
    }

    fn blocked(&self) {
        let now = Instant::now();
        self.lock().writing.get_or_insert(Writing { since: now, progress: now, bytes: 0 });
    }

    fn wrote(&self, bytes: usize) {
        if let Some(writing) = &mut self.lock().writing {
            writing.progress = Instant::now();
            writing.bytes += bytes as u64;
        }
    }

    fn flushed(&self) {
        let done = {
            let mut state = self.lock();
            state.writing = None;
            std::mem::take(&mut state.unflushed)
        };
        // They lock what they end: not while this is locked.
        drop(done);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes so many bytes of the connection's budget. If nothing else has taken any, they always fit: a response may be
    /// larger than the budget.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize, most: usize) -> Option<Buffered> {
        let mut buffered = self.buffered.lock().unwrap_or_else(PoisonError::into_inner);
        if *buffered > 0 && buffered.saturating_add(bytes) > most {
            return None;
        }
        *buffered += bytes;
        Some(Buffered { activity: Arc::clone(self), bytes })
    }
}

/// A request that is being served.
#[derive(Debug)]
pub(crate) struct Serving(Arc<Activity>);

impl Serving {
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.requests -= 1;
        state.since = Instant::now();
    }
}

/// Bytes of a connection's budget.
#[derive(Debug)]
pub(crate) struct Buffered {
    activity: Arc<Activity>,
    bytes: usize,
}

impl Buffered {
    /// Takes more of it, if there is more.
    pub(crate) fn grow(&mut self, bytes: usize, most: usize) -> bool {
        let mut buffered = self.activity.buffered.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = buffered.saturating_add(bytes) <= most;
        if fits {
            *buffered += bytes;
            self.bytes += bytes;
        }
        fits
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        *self.activity.buffered.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
    }
}

/// What ends with a response: dropped when it has been written, or given up.
pub(crate) type Responding = Box<dyn std::any::Any + Send>;

/// A socket that records what happens on it.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    io: T,
    activity: Arc<Activity>,
    /// How many bytes were read since others had their turn.
    turn: usize,
}

impl<T> Watched<T> {
    pub(crate) fn new(io: T, activity: Arc<Activity>) -> Self {
        Self { io, activity, turn: 0 }
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        self.activity.closed();
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        /// After so many bytes others have their turn: a reader goes on as long as there is something, and in the
        /// smallest frames it is much work.
        const TURN: usize = 64 * 1024;
        if self.turn >= TURN {
            self.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let bytes = if buf.remaining() <= TURN {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            buf.filled().len() - before
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(TURN));
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
            let bytes = part.filled().len();
            buf.advance(bytes);
            bytes
        };
        self.turn += bytes;
        if bytes > 0 {
            self.activity.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> Watched<T> {
    fn record(&self, written: Poll<std::io::Result<usize>>) -> Poll<std::io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => self.activity.wrote(*bytes),
            Poll::Pending => self.activity.blocked(),
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.record(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.record(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        // The writer flushes when nothing is left to write.
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn activity() -> Arc<Activity> {
        let phases = Phases {
            head: 10 * SECOND,
            idle: 20 * SECOND,
            write: 30 * SECOND,
            response: 100 * SECOND,
            min_rate: 100,
        };
        Activity::new(phases)
    }

    /// Why the connection would end next, and in how many seconds.
    fn next(activity: &Activity) -> Option<(Late, u64)> {
        activity.deadline().map(|(at, late)| (late, (at - Instant::now()).as_secs()))
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_time() {
        let activity = activity();
        tokio::time::advance(SECOND).await;
        activity.read();
        assert_eq!(next(&activity), Some((Late::Head, 9)), "from the accept on, whatever comes");
        assert_eq!(activity.is_waiting(), Some(false));
        let serving = activity.request(false);
        assert_eq!((next(&activity), activity.is_waiting()), (None, None));
        drop(serving);
        assert_eq!((next(&activity), activity.is_waiting()), (Some((Late::Idle, 20)), Some(true)));
        tokio::time::advance(15 * SECOND).await;
        activity.read();
        tokio::time::advance(SECOND).await;
        activity.read();
        assert_eq!(next(&activity), Some((Late::Head, 9)), "from its first byte on");
        let first = activity.request(true);
        let second = activity.request(true);
        drop(first);
        assert_eq!(next(&activity), None);
        drop(second);
        activity.read();
        assert_eq!(
            next(&activity),
            Some((Late::Idle, 20)),
            "what HTTP/2 sends besides requests does not count"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_must_be_read() {
        let activity = activity();
        let _serving = activity.request(false);
        activity.blocked();
        assert_eq!(next(&activity), Some((Late::Write, 30)));
        for _ in 0..4 {
            tokio::time::advance(20 * SECOND).await;
            activity.wrote(10_000);
            activity.blocked();
        }
        assert_eq!(
            next(&activity),
            Some((Late::Write, 20)),
            "progress counts, but not longer than a response may take"
        );
        activity.flushed();
        assert_eq!(next(&activity), None);
        activity.blocked();
        for _ in 0..2 {
            tokio::time::advance(14 * SECOND).await;
            activity.wrote(10);
        }
        assert_eq!(next(&activity), Some((Late::Write, 2)), "a byte now and then is not enough");
    }

    #[tokio::test]
    async fn a_connection_and_what_has_yet_to_leave_it_do_not_keep_each_other() {
        let activity = activity();
        let (io, _peer) = tokio::io::duplex(8);
        let mut io = Watched::new(io, Arc::clone(&activity));
        activity.handed_over(Box::new(activity.request(false)));
        assert_eq!(activity.is_waiting(), None);
        io.flush().await.unwrap();
        assert_eq!(activity.is_waiting(), Some(true), "it is over when it was flushed");
        activity.handed_over(Box::new(activity.request(false)));
        drop(io);
        activity.handed_over(Box::new(activity.request(false)));
        assert_eq!(Arc::strong_count(&activity), 1);
    }

    #[tokio::test]
    async fn others_have_their_turn_however_much_there_is_to_read() {
        const MOST: usize = 64 * 1024;
        let (io, mut peer) = tokio::io::duplex(1 << 20);
        peer.write_all(&vec![0; 1 << 20]).await.unwrap();
        let mut io = Watched::new(io, activity());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for size in [MOST / 8, MOST, 4 * MOST] {
            let (mut bytes, mut read) = (vec![0; size], 0);
            loop {
                let mut buf = ReadBuf::new(&mut bytes);
                let Poll::Ready(outcome) = Pin::new(&mut io).poll_read(&mut cx, &mut buf) else { break };
                outcome.unwrap();
                read += buf.filled().len();
            }
            assert_eq!(read, MOST, "{size}");
        }
    }

    #[test]
    fn a_budget_is_shared_and_given_back() {
        let activity = activity();
        let large = activity.reserve(200, 100).expect("what is alone always fits");
        assert!(activity.reserve(1, 100).is_none());
        drop(large);
        let mut one = activity.reserve(50, 100).unwrap();
        let two = activity.reserve(40, 100).unwrap();
        assert!(one.grow(10, 100) && !one.grow(1, 100));
        drop(two);
        assert!(one.grow(40, 100));
        drop(one);
        assert!(activity.reserve(100, 100).is_some());
    }
}
