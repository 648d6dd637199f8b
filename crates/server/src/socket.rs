//! One WebSocket of a client.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bayeux_proto::codec::{DecodeError, Decoder};
use bayeux_proto::server::{Input, LinkKind};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_websockets::{CloseCode, Error, Limits, Message, ServerBuilder, WebSocketStream};

use crate::activity::{Activity, Phases, Watched, later};
use crate::hub::{Frame, Hub, Socket};
use crate::text::without_bom;

/// So many frames are written before the socket is read from again.
const BURST: usize = 64;
/// So many pings may come while the answers to earlier ones cannot be written. The library queues an answer to each, and
/// RFC 6455 would have one for all: a peer that pings on and does not read is cut.
const PINGS: u32 = 100;
/// An answer keeps the buffer that its ping came in: so many bytes may come while one waits.
const BESIDE_PINGS: usize = 4 * 1024 * 1024;
/// A client that has not read everything after this reads slowly, and its session is not to expire for that.
const SLOW: Duration = Duration::from_millis(50);

/// What a socket has to do next.
enum Step {
    Outgoing(Frame),
    Received(Message),
    Failed(Error),
    Flushed,
    /// The messages that came are handled.
    Ready,
    /// The session is to be kept although its client reads slowly.
    Slow,
    Idle,
    Stalled,
    /// Either side has no more use for it.
    End,
}

/// How a socket ends.
enum Ending {
    /// Close it: the peer does not read, or has closed the connection.
    Cut,
    /// Close it with a code and a reason, because of what the peer did.
    Fault(CloseCode, &'static str),
    /// Close it with what is queued already, and wait for the peer to close.
    Closing,
}

/// Serves a socket until either side has had enough.
pub(crate) async fn serve<T: AsyncRead + AsyncWrite + Unpin>(hub: Arc<Hub>, place: Socket, io: T) {
    let phases = Phases { response: Duration::MAX, ..Phases::of(&hub.options) };
    let activity = Activity::new(phases);
    let limits = Limits::default().max_payload_len(Some(hub.options.max_message_size));
    let socket = ServerBuilder::new().limits(limits).serve(Watched::new(io, Arc::clone(&activity)));
    Serving {
        socket,
        outgoing: Queued::default(),
        place,
        decoder: hub.decoder(),
        busy: false,
        activity,
        // Who opens a socket is to use it at once.
        silent: (Instant::now(), hub.options.head_timeout.min(hub.options.socket_idle_timeout)),
        pings: 0,
        beside_pings: 0,
        reported_slow: false,
        hub,
    }
    .run()
    .await;
}

/// What was given to the socket and has not been flushed.
#[derive(Debug, Default)]
struct Queued {
    any: bool,
    blocked: bool,
    bytes: usize,
}

struct Serving<T> {
    hub: Arc<Hub>,
    place: Socket,
    socket: WebSocketStream<Watched<T>>,
    decoder: Decoder,
    /// Whether its messages are still being handled: nothing more is read from it meanwhile.
    busy: bool,
    activity: Arc<Activity>,
    outgoing: Queued,
    /// Since when no message came, and how long that may last. Pings do not count: they would keep a socket that no session
    /// uses for ever.
    silent: (Instant, Duration),
    /// How many pings have come since the last flush, and how many bytes since the first of them.
    pings: u32,
    beside_pings: usize,
    /// Whether it was reported that the client reads slowly.
    reported_slow: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Serving<T> {
    async fn run(mut self) {
        let mut armed = Instant::now();
        let ending = {
            let mut timer = pin!(tokio::time::sleep_until(armed));
            let mut reads_first = true;
            loop {
                let step = self.step(timer.as_mut(), &mut armed, reads_first).await;
                reads_first = matches!(step, Step::Outgoing(_));
                if let Some(ending) = self.take(step) {
                    break ending;
                }
            }
        };
        match ending {
            Ending::Cut => {}
            Ending::Fault(code, reason) => self.close(code, reason).await,
            Ending::Closing => self.wait_for_close().await,
        }
    }

    /// Waits for what is to be done next. It reads while it writes: two peers that only write would wait for each other.
    async fn step(&mut self, mut timer: Pin<&mut Sleep>, armed: &mut Instant, reads_first: bool) -> Step {
        let ready = Arc::clone(&self.place.ready);
        // One that is dropped passes what it was notified of on to the next.
        let mut ready = pin!(ready.notified());
        poll_fn(|cx| {
            if self.outgoing.any {
                match self.socket.poll_flush_unpin(cx) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Step::Flushed),
                    Poll::Ready(Err(error)) => return Poll::Ready(Step::Failed(error)),
                    Poll::Pending => self.outgoing.blocked = true,
                }
            }
            if Pin::new(&mut self.place.dropped).poll(cx).is_ready() {
                return Poll::Ready(Step::End);
            }
            if self.busy && ready.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Step::Ready);
            }
            for reads in [reads_first, !reads_first] {
                if reads {
                    if !self.busy
                        && let Poll::Ready(message) = self.socket.poll_next_unpin(cx)
                    {
                        return Poll::Ready(match message {
                            Some(Ok(message)) => Step::Received(message),
                            Some(Err(error)) => Step::Failed(error),
                            None => Step::End,
                        });
                    }
                } else if !self.outgoing.any
                    && let Poll::Ready(frame) = self.place.outgoing.poll_recv(cx)
                {
                    return Poll::Ready(frame.map_or(Step::End, Step::Outgoing));
                }
            }
            loop {
                let now = Instant::now();
                let (at, step) = self.deadline();
                if at <= now {
                    return Poll::Ready(step);
                }
                // A timer that is too early is left as it is: every message puts the deadline off.
                if at < *armed || *armed <= now {
                    *armed = at;
                    timer.as_mut().reset(at);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn deadline(&self) -> (Instant, Step) {
        // A client is not silent while it is not read from.
        let idle = later(self.silent.0, if self.busy { Duration::MAX } else { self.silent.1 });
        let mut next = (idle, Step::Idle);
        if self.outgoing.blocked {
            let slow = self.activity.writing_since().filter(|_| !self.reported_slow);
            let slow = slow.map(|since| (later(since, SLOW), Step::Slow));
            let stalled = self.activity.write_deadline().map(|at| (at, Step::Stalled));
            for (at, step) in slow.into_iter().chain(stalled) {
                if at < next.0 {
                    next = (at, step);
                }
            }
        }
        next
    }

    /// Does a step. How the socket ends, if it does.
    fn take(&mut self, step: Step) -> Option<Ending> {
        if let Step::Received(message) = &step
            && self.pings > 0
        {
            self.beside_pings += message.as_payload().len();
        }
        match step {
            Step::Outgoing(frame) => return self.queue(frame),
            Step::Flushed => self.flushed(),
            Step::Ready => {
                // It may have been notified of earlier messages.
                self.busy = self.hub.is_busy(self.place.link);
                self.silent.0 = Instant::now();
            }
            Step::Received(message) if message.is_ping() => {
                self.outgoing.any = true;
                self.pings += 1;
                if self.pings > PINGS {
                    return Some(self.unread_pongs());
                }
            }
            Step::Received(_) if self.beside_pings > BESIDE_PINGS => return Some(self.unread_pongs()),
            // Answered by the library, and flushed before it ends.
            Step::Received(message) if message.is_close() => self.outgoing.any = true,
            Step::Received(message) if message.is_text() || message.is_binary() => {
                self.silent = (Instant::now(), self.hub.options.socket_idle_timeout);
                return self.received(message).err().map(|(code, reason)| Ending::Fault(code, reason));
            }
            Step::Received(_) => {}
            Step::Failed(Error::PayloadTooLong { .. }) => {
                return Some(Ending::Fault(CloseCode::MESSAGE_TOO_BIG, "the frame is too large"));
            }
            Step::Failed(Error::Protocol(_)) => {
                // The library has queued a close frame that names the fault.
                return Some(Ending::Fault(CloseCode::PROTOCOL_ERROR, "a protocol error"));
            }
            Step::Slow => {
                self.reported_slow = true;
                self.hub.handle(Input::Writing(self.place.link));
            }
            Step::Idle => return Some(Ending::Fault(CloseCode::GOING_AWAY, "no message came for too long")),
            Step::Stalled => {
                tracing::debug!("a socket is not read from and is cut");
                return Some(Ending::Cut);
            }
            Step::Failed(_) | Step::End => return Some(Ending::Cut),
        }
        None
    }

    fn unread_pongs(&self) -> Ending {
        tracing::debug!(link = self.place.link.0, "a peer pings and does not read the answers, and is cut");
        Ending::Cut
    }

    /// Queues a frame and those that wait behind it, to be flushed at once.
    fn queue(&mut self, first: Frame) -> Option<Ending> {
        self.outgoing.any = true;
        let mut next = Some(first);
        for left in (0..BURST).rev() {
            let Some(frame) = next else { break };
            self.outgoing.bytes += frame.len();
            let (message, closes) = match frame {
                Frame::Text(body) => (Message::text(body), false),
                Frame::Close(code, reason) => {
                    let code = CloseCode::try_from(code).unwrap_or(CloseCode::NORMAL_CLOSURE);
                    (Message::close(Some(code), reason), true)
                }
            };
            // It fails when the peer has closed.
            if self.socket.start_send_unpin(message).is_err() {
                return Some(Ending::Cut);
            }
            if closes {
                return Some(Ending::Closing);
            }
            next = if left > 0 { self.place.outgoing.try_recv().ok() } else { None };
        }
        None
    }

    fn flushed(&mut self) {
        let queued = std::mem::take(&mut self.outgoing);
        self.place.backlog.written(queued.bytes);
        (self.pings, self.beside_pings) = (0, 0);
        if std::mem::take(&mut self.reported_slow) {
            self.hub.handle(Input::Written(self.place.link));
        }
    }

    fn received(&mut self, message: Message) -> Result<(), (CloseCode, &'static str)> {
        let is_text = message.is_text();
        let body: Bytes = message.into_payload().into();
        match self.decoder.decode(&without_bom(body)) {
            Ok(batch) if batch.skipped == 0 => {
                let messages = batch.messages;
                let link = self.place.link;
                self.hub.handle(Input::Received { link, kind: LinkKind::WebSocket, messages });
                self.busy = self.hub.is_busy(link);
                Ok(())
            }
            Err(DecodeError::TooMany { .. }) => {
                Err((CloseCode::POLICY_VIOLATION, "too many messages at once"))
            }
            _ if is_text => Err((CloseCode::INVALID_FRAME_PAYLOAD_DATA, "no array of messages")),
            _ => Err((CloseCode::UNSUPPORTED_DATA, "binary data that is no array of messages")),
        }
    }

    /// Closes the socket of a peer that is at fault; whether it reads that is its affair.
    async fn close(&mut self, code: CloseCode, reason: &str) {
        /// A socket that is dropped with something unread is reset, and the close frame with it. For so long it is read, and
        /// so much.
        const LINGER: Duration = Duration::from_secs(2);
        const REST: usize = 4 * 1024 * 1024;
        let closing = async {
            // The library may have queued one already.
            let _ = self.socket.start_send_unpin(Message::close(Some(code), reason));
            self.socket.flush().await
        };
        if !matches!(tokio::time::timeout(self.hub.options.write_timeout, closing).await, Ok(Ok(()))) {
            return;
        }
        let rest = async {
            let mut scratch = [0; 4096];
            let mut rest = REST;
            while let Ok(read @ 1..) = self.socket.get_mut().read(&mut scratch).await
                && read < rest
            {
                rest -= read;
            }
        };
        let _ = tokio::time::timeout(LINGER, rest).await;
    }

    /// Waits until the peer has read the close frame and answered it.
    async fn wait_for_close(&mut self) {
        let answered = async {
            let mut rest = BESIDE_PINGS;
            // What comes meanwhile is not answered any more.
            while let Some(Ok(message)) = self.socket.next().await
                && message.as_payload().len() < rest
            {
                rest -= message.as_payload().len().max(1);
            }
        };
        let _ = tokio::time::timeout(self.hub.options.write_timeout, answered).await;
    }
}

#[cfg(test)]
mod tests {
    use bayeux_proto::server::{AllowAll, Config, Engine};
    use tokio::io::{AsyncWriteExt, DuplexStream};
    use tokio::sync::mpsc;

    use super::*;

    /// A socket with nothing to do, the way to give it frames, and its peer.
    fn serving() -> (Serving<DuplexStream>, mpsc::Sender<Frame>, DuplexStream) {
        let engine = Engine::new(Config::default(), Box::new(AllowAll));
        let hub = Hub::new(engine, Default::default(), Default::default());
        let mut place = hub.socket(Default::default(), false).unwrap();
        let (frames, outgoing) = mpsc::channel(1000);
        place.outgoing = outgoing;
        let (io, peer) = tokio::io::duplex(1 << 20);
        let activity = Activity::new(Phases::of(&hub.options));
        let serving = Serving {
            socket: ServerBuilder::new().serve(Watched::new(io, Arc::clone(&activity))),
            outgoing: Queued::default(),
            decoder: hub.decoder(),
            busy: false,
            activity,
            silent: (Instant::now(), Duration::from_secs(1)),
            pings: 0,
            beside_pings: 0,
            reported_slow: false,
            place,
            hub,
        };
        (serving, frames, peer)
    }

    #[tokio::test]
    async fn a_stream_of_frames_is_written_in_bursts_so_that_the_client_is_heard_in_between() {
        let (mut serving, frames, _peer) = serving();
        for _ in 0..200 {
            frames.try_send(Frame::Text(Bytes::from_static(b"[]"))).unwrap();
        }
        let first = serving.place.outgoing.recv().await.unwrap();
        assert!(serving.queue(first).is_none());
        assert_eq!(serving.place.outgoing.len(), 200 - BURST);
    }

    #[tokio::test(start_paused = true)]
    async fn while_its_messages_are_handled_a_socket_is_written_to_but_neither_read_nor_idle() {
        let (mut serving, frames, mut peer) = serving();
        // An empty ping.
        peer.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.unwrap();
        serving.busy = true;
        let mut armed = Instant::now();
        let mut timer = pin!(tokio::time::sleep_until(armed));
        let step = serving.step(timer.as_mut(), &mut armed, true);
        assert!(tokio::time::timeout(Duration::from_secs(3600), step).await.is_err());
        frames.try_send(Frame::Text(Bytes::from_static(b"[]"))).unwrap();
        let step = serving.step(timer.as_mut(), &mut armed, true).await;
        assert!(matches!(step, Step::Outgoing(Frame::Text(_))));
        // It comes between two steps.
        serving.place.ready.notify_one();
        let step = serving.step(timer.as_mut(), &mut armed, true).await;
        assert!(matches!(step, Step::Ready));
        assert!(serving.take(step).is_none() && !serving.busy);
        let step = serving.step(timer.as_mut(), &mut armed, true).await;
        assert!(matches!(step, Step::Received(message) if message.is_ping()));
        let step = serving.step(timer.as_mut(), &mut armed, true).await;
        assert!(matches!(step, Step::Idle), "from now on it is");
    }
}
