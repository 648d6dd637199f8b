//! The state of an engine, and the small steps that all its parts share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::browsers::Browsers;
use super::channels::{Channels, Place, SessionKey};
use super::config::{Activity, Config, QueueOverflow};
use super::contract::{LinkId, LinkKind, Output};
use super::encoded::Encoded;
use super::lanes::{Lane, Lanes};
use super::memory::{Budget, Charge, Memory, Meters};
use super::policy::Policy;
use super::queue::{Bounds, Pushed, Taken};
use super::session::{Heavy, Held, Session};
use super::sharded::Sharded;
use super::work::{FanOut, Job};
use crate::error::BayeuxError;
use crate::ext::timesync;
use crate::id::ClientId;
use crate::message::Message;
use crate::time::Time;

/// The state of an engine. Each part of its behaviour is an `impl` in a file of its own, which may use those below it:
/// `delivery`, then `ending`, then `publishing` and `subscribing`, then `connect`, then `handshake`, then `engine`.
/// `work` decides when each has its turn.
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) policy: Box<dyn Policy>,
    pub(super) sessions: Sharded<SessionKey, Box<Session>>,
    pub(super) by_id: Sharded<ClientId, SessionKey>,
    pub(super) channels: Channels,
    /// What drivers reported of their links.
    pub(super) links: Sharded<LinkId, LinkFacts>,
    /// How many links were opened so far.
    pub(super) links_opened: u64,
    /// The session of each socket.
    pub(super) sockets: Sharded<LinkId, SessionKey>,
    /// The session whose connect each HTTP request holds.
    pub(super) holding: Sharded<LinkId, SessionKey>,
    /// The session of each request whose response, or socket whose frames, have yet to be written.
    pub(super) writing: Sharded<LinkId, SessionKey>,
    pub(super) browsers: Browsers,
    /// When each session is due, also those that ended and whose clients do not know.
    pub(super) due: BTreeSet<(Time, SessionKey)>,
    /// When lazy messages have waited long enough.
    pub(super) lazy: BTreeSet<(Time, SessionKey)>,
    /// Sessions that the server ended, until their clients know or the session would have expired.
    pub(super) dismissed: Sharded<SessionKey, Dismissed>,
    /// Sessions with something new in their queue.
    pub(super) dirty: VecDeque<SessionKey>,
    /// Sessions whose queue overflowed.
    pub(super) overflowed: VecDeque<SessionKey>,
    /// Sessions with much in their queue, the fullest last.
    pub(super) heavy: Heavy,
    /// What sessions that ended are still subscribed to.
    pub(super) leaving: VecDeque<(SessionKey, BTreeSet<Place>)>,
    /// The sessions that existed when the shutdown began.
    pub(super) going_down: VecDeque<SessionKey>,
    /// Over how long the returns of their clients are spread.
    pub(super) return_within: Duration,
    /// What is not done yet.
    pub(super) lanes: Lanes<Job>,
    /// The lanes of the links whose requests wait in one.
    pub(super) waiting: Sharded<LinkId, Lane>,
    /// Sessions that a message reaches, while it is handed out.
    pub(super) reached: Vec<SessionKey>,
    /// How much was done so far.
    pub(super) steps: u64,
    /// When the last call was.
    pub(super) now: Time,
    pub(super) meters: Meters,
    /// A queue fills up that could perhaps be emptied.
    pub(super) pressed: bool,
    pub(super) down: bool,
    outputs: VecDeque<Output>,
    random: ChaCha12Rng,
    pub(super) last_key: SessionKey,
    /// The clock on the wall at the origin of time, in milliseconds.
    wall_ms: Option<i64>,
}

/// A session that the server ended and whose client does not know.
#[derive(Debug)]
pub(super) struct Dismissed {
    pub(super) id: ClientId,
    /// Until when its client may still ask for it.
    pub(super) until: Time,
    /// Why it was ended, if that was given.
    pub(super) reason: Option<BayeuxError>,
    pub(super) _charge: Charge,
}

/// What is known of a link.
#[derive(Debug)]
pub(super) struct LinkFacts {
    pub(super) browser: Option<Arc<str>>,
    /// Another cookie that came with it.
    pub(super) socket_cookie: Option<Arc<str>>,
    pub(super) multiplexed: bool,
    /// The client did not send the cookie: it was issued when the socket was opened.
    pub(super) issued: bool,
    /// The last session that had begun when it was opened.
    pub(super) newest: SessionKey,
    /// How many links had been opened, this one included.
    pub(super) number: u64,
    /// It was closed so that the client opens it again: what comes meanwhile is not read.
    pub(super) closing: bool,
    pub(super) _charge: Charge,
}

impl LinkFacts {
    pub(super) fn copy(&self) -> Facts {
        Facts {
            browser: self.browser.clone(),
            socket_cookie: self.socket_cookie.clone(),
            multiplexed: self.multiplexed,
            issued: self.issued,
            newest: self.newest,
            number: self.number,
        }
    }
}

/// One request or frame, while it is handled.
pub(super) struct Turn {
    pub(super) link: LinkId,
    pub(super) kind: LinkKind,
    /// Whether it is of one message.
    pub(super) alone: bool,
    /// What is known of its link.
    pub(super) facts: Option<Facts>,
    pub(super) now: Time,
    /// What is left of it.
    pub(super) messages: std::vec::IntoIter<Message>,
    /// The message that is being handled, if that takes longer, and which of its names comes next.
    pub(super) names: Option<(Message, usize)>,
    /// The message that is being handed out.
    pub(super) fan_out: Option<FanOut>,
    /// The events that go with its replies, if they were taken already.
    pub(super) events: Vec<Encoded>,
    pub(super) replies: Vec<Reply>,
    /// The session that it is of.
    pub(super) session: Option<SessionKey>,
    /// Whether that session knows that a request of it is being handled.
    pub(super) entered: bool,
    pub(super) handshaken: bool,
    /// The cookie to set.
    pub(super) cookie: Option<Arc<str>>,
    /// Whether its answer has to wait.
    pub(super) held: bool,
    /// Whether its link was closed, so that no answer can be sent.
    pub(super) closed: bool,
    /// Whether it is in a lane.
    pub(super) waits: bool,
    /// What it costs while it waits.
    pub(super) charge: Option<Charge>,
}

/// What a request goes by that is known of its link.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) browser: Option<Arc<str>>,
    pub(super) socket_cookie: Option<Arc<str>>,
    pub(super) multiplexed: bool,
    pub(super) issued: bool,
    pub(super) newest: SessionKey,
    pub(super) number: u64,
}

impl Turn {
    pub(super) fn new(
        link: LinkId,
        kind: LinkKind,
        facts: Option<Facts>,
        messages: Vec<Message>,
        now: Time,
    ) -> Self {
        Self {
            link,
            kind,
            alone: messages.len() == 1,
            facts,
            now,
            replies: Vec::with_capacity(messages.len().min(16)),
            messages: messages.into_iter(),
            names: None,
            fan_out: None,
            events: Vec::new(),
            session: None,
            entered: false,
            handshaken: false,
            cookie: None,
            held: false,
            closed: false,
            waits: false,
            charge: None,
        }
    }

    /// About how many bytes it takes, with the replies that are to come.
    pub(super) fn cost(&self) -> usize {
        /// What a reply takes besides what it repeats.
        const REPLY: usize = 512;
        let waiting = self.messages.as_slice().iter().chain(self.names.iter().map(|(message, _)| message));
        size_of::<Self>() + waiting.map(|message| REPLY + message.cost()).sum::<usize>()
    }
}

/// A reply of a turn.
pub(super) enum Reply {
    Ready(Encoded),
    /// A successful one to a connect, to be written when it is known what goes with it.
    Connect(Held),
}

impl Core {
    pub(super) fn new(config: Config, policy: Box<dyn Policy>) -> Self {
        Self {
            random: ChaCha12Rng::from_seed(*config.seed),
            config,
            policy,
            sessions: Sharded::default(),
            by_id: Sharded::default(),
            channels: Channels::default(),
            links: Sharded::default(),
            links_opened: 0,
            sockets: Sharded::default(),
            holding: Sharded::default(),
            writing: Sharded::default(),
            browsers: Browsers::default(),
            due: BTreeSet::new(),
            lazy: BTreeSet::new(),
            dismissed: Sharded::default(),
            dirty: VecDeque::new(),
            overflowed: VecDeque::new(),
            heavy: Heavy::new(),
            leaving: VecDeque::new(),
            going_down: VecDeque::new(),
            return_within: Duration::ZERO,
            lanes: Lanes::default(),
            waiting: Sharded::default(),
            reached: Vec::new(),
            steps: 0,
            now: Time::ZERO,
            meters: Meters::default(),
            pressed: false,
            down: false,
            outputs: VecDeque::new(),
            last_key: 0,
            wall_ms: None,
        }
    }

    pub(super) fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn reject(&mut self, link: LinkId, status: u16, reason: &'static str) {
        self.emit(Output::Reject { link, status, reason });
    }

    /// How much memory is in use.
    pub(super) fn memory(&self) -> Memory {
        Memory {
            sessions: self.meters.sessions.bytes(),
            subscriptions: self.channels.memory(),
            queues: self.meters.queues.bytes(),
            messages: self.meters.messages.bytes(),
            requests: self.meters.requests.bytes(),
        }
    }

    pub(super) fn budget_of_memory(&self) -> Budget {
        Budget(self.config.max_memory)
    }

    /// Whether so much memory is in use that queues have to be emptied.
    pub(super) fn is_scarce(&self) -> bool {
        self.memory().total() > self.budget_of_memory().queues()
    }

    /// Whether so much memory is in use that nothing new is taken in.
    pub(super) fn is_full(&self) -> bool {
        self.memory().total() > self.budget_of_memory().all()
    }

    pub(super) fn encode(&self, message: &Message) -> Encoded {
        Encoded::new(message, &self.meters.messages)
    }

    pub(super) fn join(&self, messages: &[Encoded]) -> bytes::Bytes {
        Encoded::join(messages, &self.meters.messages)
    }

    /// A key that was never used, and an id that cannot be guessed: 160 random bits in base 32.
    pub(super) fn new_session_id(&mut self) -> (SessionKey, ClientId) {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        self.last_key += 1;
        loop {
            let id = self.random_text::<32>(DIGITS);
            if !self.by_id.contains_key(id.as_str()) {
                return (self.last_key, ClientId::new(&id));
            }
        }
    }

    /// A cookie in the reference's form.
    pub(super) fn new_browser_id(&mut self) -> Arc<str> {
        // 32 of the 36 digits, so that all are equally likely.
        self.random_text::<16>(b"0123456789abcdefghijklmnopqrstuv").into()
    }

    fn random_text<const LENGTH: usize>(&mut self, digits: &[u8; 32]) -> String {
        let mut bytes = [0; LENGTH];
        self.random.fill_bytes(&mut bytes);
        bytes.iter().map(|byte| char::from(digits[usize::from(byte % 32)])).collect()
    }

    /// A random time, in whole milliseconds, up to a bound.
    pub(super) fn random_within(&mut self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random.next_u64() % longest.saturating_add(1).max(1))
    }

    pub(super) fn set_wall_clock(&mut self, unix: Duration, now: Time) {
        let since = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.wall_ms = Some(since(unix).saturating_sub(since(now.since_origin())));
    }

    /// The clock on the wall, if it is known.
    pub(super) fn wall_ms(&self, now: Time) -> Option<i64> {
        let since = i64::try_from(now.since_origin().as_millis()).unwrap_or(i64::MAX);
        self.wall_ms.map(|origin| origin.saturating_add(since))
    }

    /// A reply, with what the client wants to know of the time.
    pub(super) fn answer(&self, turn: &mut Turn, request: &Message, mut reply: Message) {
        if request.channel().is_meta()
            && let Some(wall) = self.wall_ms(turn.now)
            && let Some(answer) = timesync::Request::read(request).and_then(|sync| sync.answer(wall, wall))
        {
            answer.write(&mut reply);
        }
        turn.replies.push(Reply::Ready(self.encode(&reply)));
    }

    pub(super) fn set_due(&mut self, key: SessionKey, due: Time) {
        if let Some(session) = self.sessions.get_mut(&key) {
            self.due.remove(&(session.due, key));
            session.due = due;
            self.due.insert((due, key));
        }
    }

    /// The clock that ends the session starts anew.
    pub(super) fn postpone_end(&mut self, key: SessionKey, now: Time) {
        if let Some(session) = self.sessions.get(&key).filter(|session| session.held.is_none()) {
            let slow = if session.writing > 0 { self.config.response_timeout } else { Duration::ZERO };
            let due = now + session.interval + self.config.max_interval + slow;
            self.set_due(key, due);
        }
    }

    pub(super) fn mark_dirty(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(&key).filter(|session| !session.dirty) {
            session.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Puts a message into a session's queue. A lazy one may wait there for so long.
    pub(super) fn enqueue(&mut self, key: SessionKey, message: Encoded, lazy: Option<Duration>, now: Time) {
        let bounds = Bounds {
            messages: self.config.max_queue.max(1),
            bytes: self.config.max_queue_bytes,
            overflow: self.config.overflow,
        };
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if self.config.activity == Activity::ClientAndServer {
            session.active_at = now;
        }
        let capacity = session.queue.capacity();
        match session.queue.push(message, lazy.is_some(), bounds) {
            Pushed::Lost(lost) => session.dropped += lost,
            Pushed::Full => self.overflowed.push_back(key),
        }
        if session.queue.capacity() != capacity {
            // All its entries were moved.
            self.steps += session.queue.work();
        }
        session.reweigh(&mut self.heavy, key);
        self.pressed |= session.queue.is_filling(bounds);
        match lazy.map(|within| now + within) {
            Some(at) if session.lazy_due.is_none_or(|due| at < due) => {
                if let Some(due) = session.lazy_due.replace(at) {
                    self.lazy.remove(&(due, key));
                }
                self.lazy.insert((at, key));
            }
            _ => {}
        }
        if lazy.is_none() || session.dropped > 0 {
            self.mark_dirty(key);
        }
    }

    /// Takes what goes with one reply or frame.
    pub(super) fn take_events(&mut self, key: SessionKey) -> Taken {
        let Some(session) = self.sessions.get_mut(&key) else { return Taken::default() };
        let taken = session.queue.take(self.config.max_reply_bytes);
        self.steps += taken.messages.len() as u64 / 8;
        session.fetched(&mut self.heavy, key, self.now);
        if session.queue.is_all_sent()
            && let Some(due) = session.lazy_due.take()
        {
            self.lazy.remove(&(due, key));
        }
        taken
    }

    /// Takes what a session was never sent, because it ends.
    pub(super) fn take_rest(&mut self, key: SessionKey) -> Vec<Encoded> {
        let Some(session) = self.sessions.get_mut(&key) else { return Vec::new() };
        self.steps += session.queue.work();
        let rest = session.queue.take_rest();
        session.fetched(&mut self.heavy, key, self.now);
        rest
    }

    /// A session loses its queue, so that there is memory for others; one that may lose nothing ends.
    pub(super) fn unburden(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        self.steps += session.queue.work();
        if session.queue.is_acknowledged() || self.config.overflow == QueueOverflow::EndSession {
            // It ends, and its queue with it, so that it is not found here again.
            session.weight.leave(&mut self.heavy, key);
            return self.overflowed.push_back(key);
        }
        session.dropped += session.queue.clear();
        session.reweigh(&mut self.heavy, key);
        self.mark_dirty(key);
    }

    /// A session has no socket any more. It may take it up again by speaking over it.
    pub(super) fn unbind(&mut self, key: SessionKey) {
        if let Some(old) = self.sessions.get_mut(&key).and_then(|session| session.socket.take()) {
            self.sockets.remove(&old);
        }
    }

    /// Takes the connect that a session holds, with all that is noted of it.
    pub(super) fn take_held(&mut self, key: SessionKey) -> Option<Held> {
        let session = self.sessions.get_mut(&key)?;
        let held = session.held.take()?;
        session.recharge();
        self.holding.remove(&held.link);
        self.steps += 1;
        if let Some(browser) = &held.browser {
            self.browsers.release(browser);
        }
        Some(*held)
    }
}
