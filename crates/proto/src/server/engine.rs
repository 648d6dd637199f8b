//! The engine: messages in, replies and deliveries out.

use std::sync::Arc;

use super::channels::SessionKey;
use super::config::Config;
use super::contract::{Input, LinkId, LinkKind, Output, RemovedBecause};
use super::core::{Core, Dismissed, LinkFacts, Reply, Turn};
use super::encoded::Counter;
use super::lanes::Lane;
use super::memory::Memory;
use super::policy::Policy;
use super::replies::{granted, invalid, refused, rehandshake, unknown_session};
use super::session::Session;
use super::work::{Job, LONGEST_LANE};
use crate::channel::Channel;
use crate::error::BayeuxError;
use crate::id::ClientId;
use crate::message::Message;
use crate::time::Time;

/// All sessions of a server and the channels between them. It does no I/O and has no clock.
///
/// Pass any number of inputs to [`handle`](Engine::handle), then take all outputs from
/// [`poll_output`](Engine::poll_output), then wait for the next input, until [`poll_timeout`](Engine::poll_timeout) at
/// the latest, and then pass [`Input::Timeout`].
///
/// Each call does a bounded amount of work, at most about twice [`Config::max_steps`], besides what it is to drop a few queues. If work is left,
/// [`poll_timeout`](Engine::poll_timeout) returns a time that has passed, and the next call continues, with all clients
/// in turn. The messages of one request or socket are handled in order, and so are those that the application
/// publishes.
pub struct Engine(Core);

impl Engine {
    /// Returns an engine without sessions.
    pub fn new(config: Config, policy: Box<dyn Policy>) -> Self {
        Self(Core::new(config, policy))
    }

    /// Returns the options.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Returns the number of sessions.
    pub fn sessions(&self) -> usize {
        self.0.sessions.len()
    }

    /// Returns the sessions and their subscriptions, in the order in which the sessions began.
    pub fn session_list(&self) -> Vec<(ClientId, Vec<Channel>)> {
        let Core { sessions, channels, .. } = &self.0;
        let mut keys: Vec<_> = sessions.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| **key);
        let subscriptions = |session: &Session| {
            let mut names: Vec<Channel> =
                session.subscriptions.iter().map(|place| channels.name(*place).clone()).collect();
            names.sort_unstable();
            names
        };
        keys.into_iter().map(|(_, session)| (session.id.clone(), subscriptions(session))).collect()
    }

    /// Returns how much memory is in use for clients; what is allocated is never more.
    pub fn memory(&self) -> Memory {
        self.0.memory()
    }

    /// Counts what a shell makes of messages and keeps until it is written, a script around them for instance.
    pub fn counter(&self) -> Counter {
        Counter::new(&self.0.meters.messages)
    }

    /// Returns the number of subscriptions of all sessions.
    pub fn subscriptions(&self) -> usize {
        self.0.channels.subscriptions()
    }

    /// Returns how many steps of work were done so far. A step takes about as long as delivering one message to one
    /// session.
    pub fn steps(&self) -> u64 {
        self.0.steps
    }

    /// Returns whether work is left that can be done at once.
    pub fn has_work(&self) -> bool {
        self.0.has_work()
    }

    /// Returns whether messages of this socket wait to be handled. If so, read nothing from it until [`Output::Ready`] is
    /// emitted.
    pub fn is_busy(&self, link: LinkId) -> bool {
        self.0.waiting.contains_key(&link)
    }

    /// Returns how many messages of the application wait to be delivered.
    pub fn published(&self) -> usize {
        self.0.lanes.waiting(Lane::Application)
    }

    /// Returns whether memory is scarce, so that clients that do not read should be cut early.
    pub fn is_full(&self) -> bool {
        self.0.is_scarce()
    }

    /// Returns the next output, or `None` if there is nothing to do until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.0.poll_output()
    }

    /// Returns when to pass [`Input::Timeout`] at the latest.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.0.poll_timeout()
    }

    /// Handles what happened at `now`.
    pub fn handle(&mut self, input: Input, now: Time) {
        let core = &mut self.0;
        core.now = now;
        match input {
            Input::LinkOpened { link, browser, socket_cookie, multiplexed } => {
                return core.link_opened(link, browser, socket_cookie, multiplexed);
            }
            Input::CookieIssued(link) => return core.cookie_issued(link),
            Input::LinkClosed(link) => return core.link_closed(link, now),
            Input::Writing(link) => return core.writing(link, now),
            Input::Written(link) => return core.written(link, now),
            Input::WallClock(unix) => return core.set_wall_clock(unix, now),
            Input::Received { link, kind, messages } => core.received(link, kind, messages, now),
            Input::Publish { channel, data } => {
                core.publish_to_all(&Message::new(channel).with_data(data), None, now);
            }
            Input::PublishLazily { channel, data, within } => {
                core.publish_to_all(&Message::new(channel).with_data(data), Some(within), now);
            }
            Input::Send { session, channel, data } => {
                core.send(session, &Message::new(channel).with_data(data), now);
            }
            Input::Answer { token, answer } => core.service_answer(token, answer, now),
            Input::Disconnect(session) => core.dismiss_by_id(&session, None, now),
            Input::DisconnectBecause { session, reason } => core.dismiss_by_id(&session, Some(reason), now),
            Input::Shutdown => core.shutdown(),
            Input::Timeout => {}
        }
        core.work(now);
    }
}

impl Core {
    fn link_opened(
        &mut self,
        link: LinkId,
        browser: Option<Arc<str>>,
        socket_cookie: Option<Arc<str>>,
        multiplexed: bool,
    ) {
        /// A link and its entries in other maps, with as much again as they may have free.
        const LINK: usize = 320;
        let cost = LINK + browser.iter().chain(&socket_cookie).map(|cookie| cookie.len()).sum::<usize>();
        let charge = self.meters.sessions.charge(cost);
        self.links_opened += 1;
        let (newest, number) = (self.last_key, self.links_opened);
        let facts = LinkFacts {
            browser,
            socket_cookie,
            multiplexed,
            issued: false,
            newest,
            number,
            closing: false,
            _charge: charge,
        };
        self.links.insert(link, facts);
    }

    fn received(&mut self, link: LinkId, kind: LinkKind, messages: Vec<Message>, now: Time) {
        if self.down {
            return self.reject(link, 503, "the server is shutting down");
        }
        if self.links.get(&link).is_some_and(|facts| facts.closing) {
            return;
        }
        let handshakes = messages.iter().filter(|message| message.channel() == Channel::HANDSHAKE).count();
        if messages.is_empty() {
            return self.reject(link, 400, "no messages");
        }
        if messages.len() > self.config.max_batch {
            return self.reject(link, 413, "too many messages at once");
        }
        if handshakes > 0 && messages.len() > 1 {
            return self.reject(link, 400, "a handshake must be alone");
        }
        let lane = self.lane(link, kind, &messages[0]);
        let facts = self.links.get(&link).map(LinkFacts::copy);
        let turn = Turn::new(link, kind, facts, messages, now);
        if self.has_no_place_for(&turn, lane) {
            return match kind {
                LinkKind::WebSocket => {
                    self.emit(Output::Close { link, code: 1013, reason: "the server is busy" });
                }
                LinkKind::Http | LinkKind::Callback => self.reject(link, 503, "the server is busy"),
            };
        }
        self.start(lane, Job::Request(Box::new(turn)), now);
    }

    /// A socket's frames are handled in order, and so are the requests of a session.
    fn lane(&self, link: LinkId, kind: LinkKind, first: &Message) -> Lane {
        match kind {
            LinkKind::WebSocket => Lane::Link(link),
            LinkKind::Http | LinkKind::Callback => {
                let session = first.fields().client_id.as_ref().and_then(|id| self.by_id.get(id));
                session.map_or(Lane::Link(link), |key| Lane::Session(*key))
            }
        }
    }

    /// Whether too much waits already for a request that will have to wait, too.
    fn has_no_place_for(&self, turn: &Turn, lane: Lane) -> bool {
        let waiting = self.lanes.waiting(lane);
        waiting >= LONGEST_LANE
            || ((waiting > 0 || !turn.alone)
                && self.meters.requests.bytes() + turn.cost() > self.budget_of_memory().requests())
    }

    /// Goes on with a request. Whether it is done.
    pub(super) fn go_on(&mut self, turn: &mut Turn, end: u64, now: Time) -> bool {
        turn.now = now;
        loop {
            self.end_overflowed(now);
            if self.pressed {
                // A large batch must not fill the queues of sessions that can be reached.
                self.deliver(end, now);
            }
            if self.steps >= end
                && (turn.messages.len() > 0 || turn.names.is_some() || turn.fan_out.is_some())
            {
                return false;
            }
            if let Some(mut fan_out) = turn.fan_out.take() {
                if !self.fan_out(&mut fan_out, end, now) {
                    turn.fan_out = Some(fan_out);
                    return false;
                }
            } else if let Some((message, at)) = turn.names.take() {
                self.go_on_with_names(turn, message, at, end);
            } else if let Some(message) = turn.messages.next() {
                self.steps += message.work();
                self.message(turn, message);
            } else {
                self.reply(turn);
                return true;
            }
        }
    }

    fn message(&mut self, turn: &mut Turn, owned: Message) {
        let message = &owned;
        if let Some(error) = invalid(message) {
            return self.answer(turn, message, refused(message, error, None));
        }
        if message.channel() == Channel::HANDSHAKE {
            return self.handshake(turn, message);
        }
        let is_connect = message.channel() == Channel::CONNECT;
        let Some(key) = self.session_of(turn, message) else {
            if is_connect && let Some(last_message) = self.take_dismissed(message) {
                return self.answer_dismissed(turn, message, last_message.reason);
            }
            let advice = is_connect.then(rehandshake);
            return self.answer(turn, message, refused(message, unknown_session(), advice));
        };
        if let Some(session) = self.sessions.get_mut(&key) {
            session.in_request += u32::from(!std::mem::replace(&mut turn.entered, true));
            if !is_connect {
                session.active_at = turn.now;
            }
        }
        self.postpone_end(key, turn.now);
        match message.channel().as_str() {
            Channel::CONNECT => self.connect(turn, key, message),
            Channel::SUBSCRIBE | Channel::UNSUBSCRIBE => self.change_subscriptions(turn, owned),
            Channel::DISCONNECT => self.disconnect(turn, key, message),
            _ if message.channel().is_meta() => {
                let error = BayeuxError::new(404, message.channel().as_str(), "unknown_meta_channel");
                self.answer(turn, message, refused(message, error, None));
            }
            _ => self.publish(turn, key, message),
        }
    }

    /// The session that a message names. All messages of one request are of one session, and a socket has one session:
    /// another's id, stolen or guessed, opens nothing. A session is its browser's besides: requests, and sockets that
    /// take it over, need its cookie.
    fn session_of(&mut self, turn: &mut Turn, message: &Message) -> Option<SessionKey> {
        let key = *self.by_id.get(message.fields().client_id.as_ref()?)?;
        if turn.session.is_some_and(|session| session != key) {
            return None;
        }
        match turn.kind {
            LinkKind::WebSocket => match self.sockets.get(&turn.link).copied() {
                Some(bound) if bound != key => return None,
                Some(_) => {}
                None if self.config.require_handshake_per_connection => return None,
                None if !self.is_of_browser(key, turn) => return None,
                // Nothing can be pushed to a socket that was closed meanwhile.
                None if turn.closed => {}
                None => self.bind(key, turn.link),
            },
            LinkKind::Http | LinkKind::Callback => {
                if !self.is_of_browser(key, turn) {
                    return None;
                }
                let session = self.sessions.get(&key)?;
                // A client that uses HTTP, and waits for nothing over its socket, may have left the socket.
                if !session.held.as_ref().is_some_and(|held| held.kind == LinkKind::WebSocket) {
                    self.unbind(key);
                }
            }
        }
        turn.session = Some(key);
        Some(key)
    }

    /// The reply to a client whose session, which the message names, was ended by the server.
    fn take_dismissed(&mut self, message: &Message) -> Option<Dismissed> {
        let key = *self.by_id.get(message.fields().client_id.as_ref()?)?;
        let last_message = self.dismissed.remove(&key)?;
        self.by_id.remove(&last_message.id);
        self.due.remove(&(last_message.until, key));
        Some(last_message)
    }

    fn disconnect(&mut self, turn: &mut Turn, key: SessionKey, message: &Message) {
        // Connects before it in the request are answered while there is a session.
        self.answer_connects(turn);
        if !self.resume_for_good(key, None, turn.now) {
            // There will be no connect to take them along.
            turn.replies.extend(self.take_rest(key).into_iter().map(Reply::Ready));
        }
        self.answer(turn, message, granted(message));
        self.remove(key, RemovedBecause::Disconnected);
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("sessions", &self.sessions()).finish_non_exhaustive()
    }
}
