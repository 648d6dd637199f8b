//! The hub: the engine behind its lock, and the ways out to the clients.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bayeux_proto::Time;
use bayeux_proto::codec::Decoder;
use bayeux_proto::server::{Counter, Engine, Input, LinkId, Memory, Output, ServiceCall};
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::cookie::Cookies;
use crate::handlers::{Handlers, busy, not_served};
use crate::options::Options;
use crate::session_events::{EventSource, SessionEvent, SessionEvents, SessionState};

/// What an HTTP request is answered with.
#[derive(Debug)]
pub(crate) enum Response {
    Messages { body: Bytes, cookie: Option<Arc<str>> },
    Reject { status: u16, reason: &'static str },
}

/// What the engine sends to a socket.
#[derive(Debug)]
pub(crate) enum Frame {
    Text(Bytes),
    Close(u16, &'static str),
}

impl Frame {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(body) => body.len(),
            Self::Close(..) => 0,
        }
    }
}

#[derive(Debug)]
enum Link {
    Request(oneshot::Sender<Response>),
    Socket(Outgoing),
}

/// The way to a socket. Dropping it ends the socket.
#[derive(Debug)]
struct Outgoing {
    frames: mpsc::Sender<Frame>,
    backlog: Arc<Backlog>,
    ready: Arc<Notify>,
    _alive: oneshot::Sender<()>,
}

/// How many bytes wait for a client to read them.
#[derive(Debug, Default)]
pub(crate) struct Backlog(AtomicUsize);

impl Backlog {
    /// So many bytes may wait; a client that falls further behind is dropped, and its session's queue goes on collecting.
    const MOST: usize = 8 * 1024 * 1024;
    /// The same while memory is scarce.
    const MOST_OF_FEW: usize = 256 * 1024;

    fn add(&self, bytes: usize, most: usize) -> bool {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        before == 0 || before.saturating_add(bytes) <= most
    }

    pub(crate) fn written(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A socket's end of the hub. The hub counts it until it is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) link: LinkId,
    pub(crate) outgoing: mpsc::Receiver<Frame>,
    pub(crate) backlog: Arc<Backlog>,
    /// Notified when the engine is done with the messages of a socket that was busy.
    pub(crate) ready: Arc<Notify>,
    /// Resolves when the socket is to be dropped.
    pub(crate) dropped: oneshot::Receiver<()>,
    hub: Arc<Hub>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.hub.link_closed(self.link);
        self.hub.sockets.send_modify(|sockets| *sockets -= 1);
    }
}

/// The one place where all connections of a server meet. The lock is held while the engine thinks, never while
/// anything is sent or waited for.
#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<State>,
    /// How many threads wait for the lock.
    waiting: AtomicUsize,
    max_batch: usize,
    handlers: Handlers,
    events: EventSource,
    origin: Instant,
    /// Rung when the engine wants to be called earlier than before.
    timer: Notify,
    last_link: AtomicU64,
    /// How many sockets are open.
    sockets: watch::Sender<usize>,
    /// A permit for each service call that may run.
    calls: Arc<Semaphore>,
    /// Counts what is made of messages before they are written.
    pub(crate) counter: Counter,
    pub(crate) options: Options,
}

#[derive(Debug)]
struct State {
    engine: Engine,
    links: Links,
}

type Links = HashMap<LinkId, Link>;

impl Hub {
    pub(crate) fn new(engine: Engine, handlers: Handlers, options: Options) -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicUsize::new(0),
            max_batch: engine.config().max_batch,
            counter: engine.counter(),
            state: Mutex::new(State { engine, links: HashMap::new() }),
            handlers,
            events: EventSource::new(options.max_event_bytes),
            origin: Instant::now(),
            timer: Notify::new(),
            last_link: AtomicU64::new(0),
            sockets: watch::Sender::new(0),
            calls: Arc::new(Semaphore::new(options.max_service_calls.min(Semaphore::MAX_PERMITS))),
            options,
        })
    }

    pub(crate) fn new_link(&self) -> LinkId {
        LinkId(self.last_link.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn events(self: &Arc<Self>) -> SessionEvents {
        let hub = Arc::downgrade(self);
        self.events.listen(move |then| hub.upgrade().map(|hub| hub.session_list(then)).unwrap_or_default())
    }

    /// The sessions there are; `then` is called before anything else happens to them.
    pub(crate) fn session_list(&self, then: impl FnOnce()) -> Vec<SessionState> {
        let state = self.lock();
        let list = state.engine.session_list();
        then();
        drop(state);
        list.into_iter().map(|(id, subscriptions)| SessionState { id, subscriptions }).collect()
    }

    pub(crate) fn sessions(&self) -> usize {
        self.lock().engine.sessions()
    }

    /// How much memory the engine takes.
    pub(crate) fn memory(&self) -> Memory {
        self.lock().engine.memory()
    }

    /// Whether nothing more should be read from a socket, until [`Socket::ready`] is notified.
    pub(crate) fn is_busy(&self, link: LinkId) -> bool {
        self.lock().engine.is_busy(link)
    }

    /// A decoder for what clients send.
    pub(crate) fn decoder(&self) -> Decoder {
        Decoder::for_requests(self.max_batch)
    }

    /// Hands a request in, after what is known of its link; the receiver gets the response of the engine.
    pub(crate) fn request(
        self: &Arc<Self>,
        link: LinkId,
        opened: Input,
        input: Input,
    ) -> oneshot::Receiver<Response> {
        let (respond, response) = oneshot::channel();
        let register = |links: &mut Links| drop(links.insert(link, Link::Request(respond)));
        self.hand_in(register, [opened, input]);
        response
    }

    /// A place for a socket, unless there are too many.
    pub(crate) fn socket(self: &Arc<Self>, cookies: Cookies, issued: bool) -> Option<Socket> {
        /// How many frames wait for a client that does not read.
        const FRAMES: usize = 1024;
        let most = self.options.max_connections;
        let fits = self.sockets.send_if_modified(|sockets| {
            let fits = *sockets < most;
            *sockets += usize::from(fits);
            fits
        });
        if !fits {
            return None;
        }
        let link = self.new_link();
        let (frames, outgoing) = mpsc::channel(FRAMES);
        let (alive, dropped) = oneshot::channel();
        let backlog = Arc::<Backlog>::default();
        let ready = Arc::<Notify>::default();
        let way =
            Outgoing { frames, backlog: Arc::clone(&backlog), ready: Arc::clone(&ready), _alive: alive };
        let register = |links: &mut Links| drop(links.insert(link, Link::Socket(way)));
        let Cookies { browser, socket_cookie } = cookies;
        let opened = Input::LinkOpened { link, browser, socket_cookie, multiplexed: false };
        self.hand_in(register, [opened].into_iter().chain(issued.then_some(Input::CookieIssued(link))));
        Some(Socket { link, outgoing, backlog, ready, dropped, hub: Arc::clone(self) })
    }

    pub(crate) fn open_sockets(&self) -> usize {
        *self.sockets.borrow()
    }

    /// Waits until no socket is open.
    pub(crate) async fn sockets_closed(&self) {
        // The sender is a field of this struct, so it exists.
        let _ = self.sockets.subscribe().wait_for(|sockets| *sockets == 0).await;
    }

    /// Closes all sockets with the reason that the server shuts down, also those without a session.
    pub(crate) fn shut_down(self: &Arc<Self>) {
        /// So many sockets are closed before others have the lock.
        const SLICE: usize = 1024;
        self.handle(Input::Shutdown);
        while self.lock().engine.has_work() {
            self.handle(Input::Timeout);
        }
        let links: Vec<LinkId> = self.lock().links.keys().copied().collect();
        for links in links.chunks(SLICE) {
            let state = self.lock();
            for link in links {
                // A socket that does not keep up is cut with the rest; one that has its close frame already gets no
                // second.
                let _ = state.push(*link, Frame::Close(1001, "the server is shutting down"), Backlog::MOST);
            }
        }
    }

    /// Cuts every socket and leaves every waiting request without an answer.
    pub(crate) fn cut(&self) {
        let links = std::mem::take(&mut self.lock().links);
        drop(links);
    }

    /// A request was given up, or a socket was closed.
    pub(crate) fn link_closed(self: &Arc<Self>, link: LinkId) {
        self.hand_in(|links| drop(links.remove(&link)), [Input::LinkClosed(link)]);
    }

    pub(crate) fn handle(self: &Arc<Self>, input: Input) {
        /// An application that publishes more than can be handed out at once does that work before it goes on.
        const PUBLISHED: usize = 64;
        let publishes =
            matches!(input, Input::Publish { .. } | Input::PublishLazily { .. } | Input::Send { .. });
        self.hand_in(|_| (), [input]);
        while publishes && self.lock().engine.published() > PUBLISHED {
            self.hand_in(|_| (), [Input::Timeout]);
        }
    }

    /// Registers a link, or removes it, and handles all that is to be reported of it, under one lock.
    fn hand_in(self: &Arc<Self>, register: impl FnOnce(&mut Links), inputs: impl IntoIterator<Item = Input>) {
        let mut calls = Vec::new();
        {
            let mut state = self.lock();
            let before = state.engine.poll_timeout();
            let now = Time::from_origin(self.origin.elapsed());
            register(&mut state.links);
            for input in inputs {
                state.engine.handle(input, now);
            }
            let mut broken = state.carry_out(&self.events, &mut calls);
            while let Some(link) = broken.pop() {
                tracing::warn!(link = link.0, "a socket does not keep up and is closed");
                state.links.remove(&link);
                state.engine.handle(Input::LinkClosed(link), now);
                broken.extend(state.carry_out(&self.events, &mut calls));
            }
            if state.engine.poll_timeout().is_some_and(|at| before.is_none_or(|before| at < before)) {
                self.timer.notify_one();
            }
        }
        for call in calls {
            self.serve(call);
        }
    }

    fn serve(self: &Arc<Self>, call: ServiceCall) {
        let Some(answer) = self.handlers.start(&call) else {
            tracing::debug!(channel = ?call.channel.as_str(), "no service has this channel");
            return self.handle(Input::Answer { token: call.token, answer: Err(not_served()) });
        };
        let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned() else {
            tracing::warn!(channel = %call.channel, "too many service calls at once");
            return self.handle(Input::Answer { token: call.token, answer: Err(busy()) });
        };
        let hub = Arc::clone(self);
        tokio::spawn(async move {
            let _permit = permit;
            let answer = match answer.await {
                Ok(Some(data)) => Ok(data),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            hub.handle(Input::Answer { token: call.token, answer });
        });
    }

    /// Keeps the engine's time until the hub is dropped.
    pub(crate) async fn keep_time(hub: std::sync::Weak<Self>) {
        /// How long a hub without sessions sleeps before it looks whether it is still wanted.
        const IDLE: std::time::Duration = std::time::Duration::from_secs(1);
        loop {
            let Some(strong) = hub.upgrade() else { return };
            if strong.lock().engine.has_work() {
                strong.handle(Input::Timeout);
                strong.let_others_in().await;
                continue;
            }
            let wake = strong.lock().engine.poll_timeout().map(|at| strong.origin + at.since_origin());
            let wake = wake.unwrap_or_else(|| Instant::now() + IDLE).min(Instant::now() + IDLE);
            // The wall clock may be set at any time.
            if strong.options.timesync {
                strong.set_wall_clock();
            }
            let rung: Pin<Box<_>> = Box::pin(async {
                tokio::select! {
                    () = tokio::time::sleep_until(wake) => {}
                    () = strong.timer.notified() => {}
                }
            });
            rung.await;
            strong.handle(Input::Timeout);
        }
    }

    fn set_wall_clock(self: &Arc<Self>) {
        if let Ok(unix) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            self.handle(Input::WallClock(unix));
        }
    }

    /// Between two slices of work, each task that waits for the lock gets it once. The lock itself does not order tasks
    /// by how long they have waited.
    async fn let_others_in(&self) {
        /// New tasks that keep coming for so long do not keep the work from being done.
        const LONGEST: usize = 100;
        tokio::task::yield_now().await;
        for _ in 0..LONGEST {
            if self.waiting.load(Ordering::Relaxed) == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        if let Ok(state) = self.state.try_lock() {
            return state;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        state
    }
}

impl State {
    /// Carries out the outputs of the engine. Returns the sockets whose queue was full.
    fn carry_out(&mut self, events: &EventSource, calls: &mut Vec<ServiceCall>) -> Vec<LinkId> {
        let mut broken = Vec::new();
        let most = if self.engine.is_full() { Backlog::MOST_OF_FEW } else { Backlog::MOST };
        while let Some(output) = self.engine.poll_output() {
            let event = match output {
                Output::Respond { link, messages, browser } => {
                    self.respond(link, Response::Messages { body: messages, cookie: browser });
                    continue;
                }
                Output::Push { link, messages } => {
                    if !self.push(link, Frame::Text(messages), most) {
                        broken.push(link);
                    }
                    continue;
                }
                Output::Reject { link, status, reason } => {
                    if matches!(self.links.get(&link), Some(Link::Socket(..))) {
                        self.push(link, Frame::Close(1008, reason), most);
                    } else {
                        self.respond(link, Response::Reject { status, reason });
                    }
                    continue;
                }
                Output::Close { link, code, reason } => {
                    self.push(link, Frame::Close(code, reason), most);
                    continue;
                }
                Output::Ready(link) => {
                    if let Some(Link::Socket(way)) = self.links.get(&link) {
                        way.ready.notify_one();
                    }
                    continue;
                }
                Output::Service(call) => {
                    calls.push(call);
                    continue;
                }
                Output::WrongBrowser(link) => {
                    tracing::warn!(
                        link = link.0,
                        "402::session_unknown: a request came without the cookie of its session; \
                         clients that keep no cookies need trust_client_session"
                    );
                    continue;
                }
                Output::Added(session) => SessionEvent::Added { session },
                Output::Removed(session, because) => SessionEvent::Removed { session, because },
                Output::Subscribed(session, channel) => SessionEvent::Subscribed { session, channel },
                Output::Unsubscribed(session, channel) => SessionEvent::Unsubscribed { session, channel },
                Output::Dropped(session, messages) => SessionEvent::Dropped { session, messages },
                Output::HandshakeRefused(link, error) => {
                    tracing::info!(link = link.0, error = ?error.to_string(), "a handshake was refused");
                    SessionEvent::HandshakeRefused { error }
                }
            };
            tracing::debug!(?event, "session event");
            events.push(event);
        }
        broken
    }

    fn respond(&mut self, link: LinkId, response: Response) {
        if let Some(Link::Request(respond)) = self.links.remove(&link) {
            // A client that has closed its connection meanwhile needs no response.
            let _ = respond.send(response);
        }
    }

    /// Whether the frame fit into the queue of the socket, or the socket does not exist any more.
    fn push(&self, link: LinkId, frame: Frame, most: usize) -> bool {
        match self.links.get(&link) {
            Some(Link::Socket(way)) => {
                way.backlog.add(frame.len(), most)
                    && !matches!(way.frames.try_send(frame), Err(mpsc::error::TrySendError::Full(_)))
            }
            _ => true,
        }
    }
}
