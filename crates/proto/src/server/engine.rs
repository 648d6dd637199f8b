//! The engine: messages in, replies and deliveries out.

use super::channels::SessionKey;
use super::config::Config;
use super::contract::{Input, LinkId, LinkKind, Output, RemovedBecause};
use super::core::{Core, LinkFacts, Reply, Turn, Untold};
use super::policy::Policy;
use super::replies::{granted, invalid, refused, rehandshake, unknown_session};
use super::session::Session;
use crate::channel::Channel;
use crate::error::BayeuxError;
use crate::id::ClientId;
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

    /// The sessions there are and what each is subscribed to, in the order in which they began.
    pub fn session_list(&self) -> Vec<(ClientId, Vec<Channel>)> {
        let mut keys: Vec<_> = self.0.sessions.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| **key);
        let subscriptions = |session: &Session| session.subscriptions.iter().cloned().collect();
        keys.into_iter().map(|(_, session)| (session.id.clone(), subscriptions(session))).collect()
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
                core.links.insert(link, LinkFacts { browser, multiplexed, issued: false });
            }
            Input::CookieIssued(link) => core.cookie_issued(link),
            Input::Received { link, kind, messages } => core.received(link, kind, &messages, now),
            Input::LinkGone(link) => core.link_gone(link, now),
            Input::Writing(link) => core.writing(link, now),
            Input::Written(link) => core.written(link, now),
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
            Input::Disconnect(session) => core.dismiss_by_id(&session, None, now),
            Input::DisconnectBecause { session, reason } => core.dismiss_by_id(&session, Some(reason), now),
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
            if is_connect && let Some(farewell) = self.take_farewell(message) {
                return self.say_farewell(turn, message, farewell.reason);
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
                None => self.bind(key, turn.link),
            },
            LinkKind::Http | LinkKind::Callback => {
                if !self.is_of_browser(key, turn) {
                    return None;
                }
                let session = self.sessions.get(&key)?;
                // Who speaks over HTTP, and waits for nothing over its socket, may have left that.
                if !session.held.as_ref().is_some_and(|held| held.kind == LinkKind::WebSocket) {
                    self.unbind(key);
                }
            }
        }
        turn.session = Some(key);
        Some(key)
    }

    /// What a client is still to be told whose session, which the message names, was ended by the server.
    fn take_farewell(&mut self, message: &Message) -> Option<Untold> {
        let key = *self.by_id.get(message.fields().client_id.as_ref()?)?;
        let farewell = self.farewells.remove(&key)?;
        self.by_id.remove(&farewell.id);
        self.due.remove(&(farewell.until, key));
        Some(farewell)
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
