//! The engine: messages in, replies and deliveries out.

use super::channels::SessionKey;
use super::config::Config;
use super::contract::{Input, LinkId, LinkKind, Output, RemovedBecause};
use super::core::{Core, LinkFacts, Reply, Turn};
use super::policy::Policy;
use super::replies::{granted, invalid, refused, rehandshake, unknown_session};
use crate::channel::Channel;
use crate::error::BayeuxError;
use crate::message::Message;
use crate::time::Time;

/// All sessions of a server and the channels between them. It does no I/O and knows no clock.
///
/// After each [`handle`](Engine::handle) take all outputs from [`poll_output`](Engine::poll_output), then wait for the
/// next input, until [`poll_timeout`](Engine::poll_timeout) at the latest, and then hand in [`Input::Timeout`].
pub struct Engine(Core);

impl Engine {
    /// An engine without sessions.
    pub fn new(config: Config, policy: Box<dyn Policy>) -> Self {
        Self(Core::new(config, policy))
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.0.sessions.len()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.0.poll_output()
    }

    /// When to call again at the latest.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.0.poll_timeout()
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, input: Input, now: Time) {
        let core = &mut self.0;
        match input {
            Input::LinkOpened { link, browser, multiplexed } => {
                core.links.insert(link, LinkFacts { browser, multiplexed });
            }
            Input::Received { link, kind, messages } => core.received(link, kind, &messages, now),
            Input::LinkGone(link) => core.link_gone(link, now),
            Input::Publish { channel, data } => {
                core.broadcast(&Message::new(channel).with_data(data), None, None, now);
            }
            Input::PublishLazily { channel, data, within } => {
                core.broadcast(&Message::new(channel).with_data(data), Some(within), None, now);
            }
            Input::Send { session, channel, data } => {
                core.send(&session, &Message::new(channel).with_data(data), now);
            }
            Input::Answer { token, answer } => core.service_answer(token, answer, now),
            Input::Disconnect(session) => core.dismiss_by_id(&session, now),
            Input::Shutdown => core.shutdown(now),
            Input::WallClock(unix) => core.set_wall_clock(unix, now),
            Input::Timeout => {}
        }
        core.expire(now);
        core.deliver(now);
        core.end_overflowed();
    }
}

impl Core {
    fn received(&mut self, link: LinkId, kind: LinkKind, messages: &[Message], now: Time) {
        if self.down {
            return self.reject(link, 503, "the server is going down");
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
        let mut turn = Turn {
            link,
            kind,
            alone: messages.len() == 1,
            now,
            replies: Vec::with_capacity(messages.len()),
            session: None,
            handshaken: false,
            cookie: None,
            held: false,
            ended: Vec::new(),
        };
        for message in messages {
            self.message(&mut turn, message);
            if self.pressed {
                // A large batch must not fill the queues of those who could be reached.
                self.deliver(now);
            }
        }
        let ended = std::mem::take(&mut turn.ended);
        self.reply(turn);
        for key in ended {
            self.remove(key, RemovedBecause::Disconnected);
        }
    }

    fn message(&mut self, turn: &mut Turn, message: &Message) {
        if let Some(error) = invalid(message) {
            return self.answer(turn, message, refused(message, error, None));
        }
        if message.channel() == Channel::HANDSHAKE {
            return self.handshake(turn, message);
        }
        let is_connect = message.channel() == Channel::CONNECT;
        let Some(key) = self.session_of(turn, message) else {
            if is_connect && self.take_farewell(message) {
                return self.say_farewell(turn, message);
            }
            let advice = is_connect.then(rehandshake);
            return self.answer(turn, message, refused(message, unknown_session(), advice));
        };
        if let Some(session) = self.sessions.get_mut(&key) {
            session.in_request = true;
            if !is_connect {
                session.active_at = turn.now;
            }
        }
        self.postpone_end(key, turn.now);
        match message.channel().as_str() {
            Channel::CONNECT => self.connect(turn, key, message),
            Channel::SUBSCRIBE => self.subscribe(turn, key, message),
            Channel::UNSUBSCRIBE => self.unsubscribe(turn, key, message),
            Channel::DISCONNECT => self.disconnect(turn, key, message),
            _ if message.channel().is_meta() => {
                let error = BayeuxError::new(404, message.channel().as_str(), "unknown_meta_channel");
                self.answer(turn, message, refused(message, error, None));
            }
            _ => self.publish(turn, key, message),
        }
    }

    /// The session that a message names. All messages of one request are of one session, and a socket has one session:
    /// another's id, stolen or guessed, opens nothing. Over HTTP a session is its browser's besides.
    fn session_of(&mut self, turn: &mut Turn, message: &Message) -> Option<SessionKey> {
        let key = *self.by_id.get(message.fields().client_id.as_ref()?)?;
        let session = self.sessions.get(&key)?;
        if turn.session.is_some_and(|session| session != key) {
            return None;
        }
        match turn.kind {
            LinkKind::WebSocket => match self.sockets.get(&turn.link) {
                Some(bound) if *bound != key => return None,
                Some(_) => {}
                None if self.config.require_handshake_per_connection => return None,
                None => self.bind(key, turn.link),
            },
            LinkKind::Http | LinkKind::Callback => {
                let facts = self.links.get(&turn.link).filter(|_| !self.config.trust_client_session);
                if facts.is_some_and(|facts| session.browser.is_some() && session.browser != facts.browser) {
                    self.emit(Output::WrongBrowser(turn.link));
                    return None;
                }
                // Who speaks over HTTP, and waits for nothing over its socket, may have left that.
                if !session.held.as_ref().is_some_and(|held| held.kind == LinkKind::WebSocket) {
                    self.unbind(key);
                }
            }
        }
        turn.session = Some(key);
        Some(key)
    }

    /// Whether the session that a message names was ended by the server, and its client not told so yet.
    fn take_farewell(&mut self, message: &Message) -> bool {
        let Some(id) = &message.fields().client_id else { return false };
        let Some(key) = self.by_id.get(id).copied() else { return false };
        let Some((id, until)) = self.farewells.remove(&key) else { return false };
        self.by_id.remove(&id);
        self.due.remove(&(until, key));
        true
    }

    fn disconnect(&mut self, turn: &mut Turn, key: SessionKey, message: &Message) {
        if !self.resume_for_good(key, None, turn.now) {
            // There will be no connect to take them along.
            turn.replies.extend(self.take_rest(key).into_iter().map(Reply::Ready));
        }
        self.answer(turn, message, granted(message));
        turn.ended.push(key);
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("sessions", &self.sessions()).finish_non_exhaustive()
    }
}
