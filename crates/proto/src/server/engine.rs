//! The engine: messages in, replies and deliveries out.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::channels::{Channels, SessionKey};
use super::config::Config;
use super::contract::{Input, LinkId, LinkKind, Output, RemovedBecause, ServiceCall, ServiceToken};
use super::policy::Policy;
use super::session::{Held, Session};
use crate::advice::{Advice, Interval, Reconnect};
use crate::channel::{Channel, ChannelKind};
use crate::codec;
use crate::data::Data;
use crate::error::BayeuxError;
use crate::id::{ClientId, MessageId};
use crate::message::{Message, Subscription};
use crate::time::Time;

/// All sessions of a server and the channels between them. It does no I/O and knows no clock.
///
/// After each [`handle`](Engine::handle) take all outputs from [`poll_output`](Engine::poll_output), then wait for the
/// next input, until [`poll_timeout`](Engine::poll_timeout) at the latest, and then hand in [`Input::Timeout`].
pub struct Engine {
    config: Config,
    policy: Box<dyn Policy>,
    random: ChaCha12Rng,
    sessions: HashMap<SessionKey, Session>,
    by_id: HashMap<ClientId, SessionKey>,
    /// The session of each socket.
    sockets: HashMap<LinkId, SessionKey>,
    /// The session whose connect each HTTP request holds.
    holding: HashMap<LinkId, SessionKey>,
    due: BTreeSet<(Time, SessionKey)>,
    channels: Channels,
    /// Sessions with something new in their queue.
    dirty: BTreeSet<SessionKey>,
    outputs: VecDeque<Output>,
    last_key: SessionKey,
    down: bool,
}

/// The replies to one request or frame.
#[derive(Default)]
struct Replies {
    messages: Vec<Bytes>,
    /// The session that the request is for.
    session: Option<SessionKey>,
    handshaken: bool,
    held: bool,
    /// Sessions that end with this request, once it is answered.
    ended: Vec<SessionKey>,
}

impl Engine {
    /// An engine without sessions.
    pub fn new(config: Config, policy: Box<dyn Policy>) -> Self {
        Self {
            random: ChaCha12Rng::from_seed(config.seed),
            config,
            policy,
            sessions: HashMap::new(),
            by_id: HashMap::new(),
            sockets: HashMap::new(),
            holding: HashMap::new(),
            due: BTreeSet::new(),
            channels: Channels::default(),
            dirty: BTreeSet::new(),
            outputs: VecDeque::new(),
            last_key: 0,
            down: false,
        }
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call again at the latest.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, input: Input, now: Time) {
        match input {
            Input::Received { link, kind, messages } => self.received(link, kind, messages, now),
            Input::LinkGone(link) => self.link_gone(link, now),
            Input::Publish { channel, data } => self.broadcast(&channel, &data, None),
            Input::Send { session, channel, data } => {
                let message = codec::encode_message(&Message::new(channel).with_data(data));
                self.send(&session, message);
            }
            Input::Answer { token, answer } => self.answer(token, answer),
            Input::Disconnect(session) => self.dismiss(&session),
            Input::Shutdown => self.shutdown(),
            Input::Timeout => {}
        }
        self.expire(now);
        self.deliver(now);
    }

    fn received(&mut self, link: LinkId, kind: LinkKind, messages: Vec<Message>, now: Time) {
        if self.down {
            return self.reject(link, 503, "the server is going down");
        }
        let handshakes = messages.iter().filter(|message| message.channel() == Channel::HANDSHAKE).count();
        if messages.is_empty() {
            return self.reject(link, 400, "no messages");
        }
        if handshakes > 0 && messages.len() > 1 {
            return self.reject(link, 400, "a handshake must be alone");
        }
        let alone = messages.len() == 1;
        let mut replies = Replies::default();
        for message in messages {
            self.message(link, kind, &message, alone, &mut replies, now);
        }
        self.reply(link, kind, replies);
    }

    /// Answers a request: events first, then the replies in the order of the requests.
    fn reply(&mut self, link: LinkId, kind: LinkKind, replies: Replies) {
        let mut messages = Vec::new();
        if let Some(session) = replies.session.and_then(|key| self.sessions.get_mut(&key)) {
            session.in_request = false;
            if !replies.handshaken && !replies.held {
                messages = session.take_queue();
            }
        }
        messages.extend(replies.messages);
        match kind {
            LinkKind::WebSocket if !messages.is_empty() => {
                self.outputs.push_back(Output::Push { link, messages })
            }
            LinkKind::WebSocket => {}
            LinkKind::Http if replies.held => {}
            LinkKind::Http => {
                self.outputs.push_back(Output::Respond { link, messages, handshaken: replies.handshaken });
            }
        }
        for key in replies.ended {
            self.remove(key, RemovedBecause::Disconnected);
        }
    }

    fn message(
        &mut self,
        link: LinkId,
        kind: LinkKind,
        message: &Message,
        alone: bool,
        replies: &mut Replies,
        now: Time,
    ) {
        if message.channel() == Channel::HANDSHAKE {
            return self.handshake(link, kind, message, replies, now);
        }
        if let Some(error) = invalid(message) {
            return replies.messages.push(refusal(message, error, None));
        }
        let Some(key) = self.session_of(message, link, kind, replies) else {
            let advice = (message.channel() == Channel::CONNECT).then(rehandshake_advice);
            let error = BayeuxError::parse("402::session_unknown");
            return replies.messages.push(refusal(message, error, advice));
        };
        if let Some(session) = self.sessions.get_mut(&key) {
            session.in_request = true;
            if session.held.is_none() {
                let due = now + self.config.interval + self.config.max_interval;
                self.set_due(key, due);
            }
        }
        match message.channel().as_str() {
            Channel::CONNECT => self.connect(key, link, kind, message, alone, replies, now),
            Channel::SUBSCRIBE => self.subscribe(key, message, replies),
            Channel::UNSUBSCRIBE => self.unsubscribe(key, message, replies),
            Channel::DISCONNECT => self.disconnect(key, message, replies),
            _ if message.channel().kind() == ChannelKind::Meta => {
                let error = BayeuxError::new(404, message.channel().as_str(), "unknown_meta_channel");
                replies.messages.push(refusal(message, error, None));
            }
            _ => self.publish(key, message, replies),
        }
    }

    /// The session that a message names. All messages of one request are of one session, and a socket has one
    /// session: another's id, stolen or guessed, opens nothing.
    fn session_of(
        &mut self,
        message: &Message,
        link: LinkId,
        kind: LinkKind,
        replies: &mut Replies,
    ) -> Option<SessionKey> {
        let key = *self.by_id.get(message.fields().client_id.as_ref()?)?;
        if replies.session.is_some_and(|session| session != key) {
            return None;
        }
        if kind == LinkKind::WebSocket {
            match self.sockets.get(&link) {
                Some(bound) if *bound != key => return None,
                Some(_) => {}
                None => self.bind(key, link),
            }
        }
        replies.session = Some(key);
        Some(key)
    }

    /// A session moves to a socket, and leaves the one it had.
    fn bind(&mut self, key: SessionKey, link: LinkId) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let old = session.socket.replace(link);
        if session.held.as_ref().is_some_and(|held| Some(held.link) == old) {
            session.held = None;
        }
        self.sockets.insert(link, key);
        if let Some(old) = old {
            self.sockets.remove(&old);
            self.outputs.push_back(Output::Close {
                link: old,
                code: 1000,
                reason: "the session has another socket",
            });
        }
    }

    fn handshake(
        &mut self,
        link: LinkId,
        kind: LinkKind,
        message: &Message,
        replies: &mut Replies,
        now: Time,
    ) {
        let denied = if self.sessions.len() >= self.config.max_sessions {
            Some(BayeuxError::new(503, "", "too_many_sessions"))
        } else {
            let allowed = self.policy.may_handshake(message);
            allowed
                .err()
                .map(|denial| denial.0.unwrap_or_else(|| BayeuxError::parse("403::handshake_denied")))
        };
        if let Some(error) = denied {
            let advice = Advice { reconnect: Some(Reconnect::None), ..Advice::default() };
            return replies.messages.push(refusal(message, error, Some(advice)));
        }
        let id = self.new_client_id();
        self.last_key += 1;
        let key = self.last_key;
        let due = now + self.config.interval + self.config.max_interval;
        self.sessions.insert(key, Session::new(id.clone(), due));
        self.due.insert((due, key));
        self.by_id.insert(id.clone(), key);
        if kind == LinkKind::WebSocket {
            // A socket that handshakes again begins a new session; the old one is left to expire.
            if let Some(old) = self.sockets.remove(&link).and_then(|old| self.sessions.get_mut(&old)) {
                old.socket = None;
                old.held = None;
            }
            self.bind(key, link);
        }
        self.outputs.push_back(Output::Added(id.clone()));
        let mut reply = reply_to(message);
        let fields = reply.fields_mut();
        fields.successful = Some(true);
        fields.client_id = Some(id);
        fields.version = Some("1.0".to_owned());
        fields.minimum_version = Some("1.0".to_owned());
        fields.supported_connection_types =
            Some(self.config.transports.iter().map(|kind| kind.as_str().to_owned()).collect());
        fields.advice = Some(self.advice(None));
        replies.messages.push(codec::encode_message(&reply));
        replies.session = Some(key);
        replies.handshaken = true;
    }

    #[allow(clippy::too_many_arguments)]
    fn connect(
        &mut self,
        key: SessionKey,
        link: LinkId,
        kind: LinkKind,
        message: &Message,
        alone: bool,
        replies: &mut Replies,
        now: Time,
    ) {
        self.drop_held(key);
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let asked = message.fields().advice.as_ref();
        let timeout =
            asked.and_then(|advice| advice.timeout).unwrap_or(self.config.timeout).min(self.config.timeout);
        let interval = asked.and_then(|advice| match advice.interval {
            Some(Interval::Wait(interval)) => Some(interval),
            _ => None,
        });
        let advise = asked.is_some() || session.advised != Some(kind);
        session.advised = Some(kind);
        if kind == LinkKind::Http && session.socket.is_some() {
            // The client went over to HTTP: nothing is pushed to the old socket any more.
            let old = session.socket.take();
            self.sockets.retain(|socket, _| Some(*socket) != old);
        }
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let nothing_to_say = kind == LinkKind::WebSocket || (alone && !session.has_queued());
        let hold = session.connected && nothing_to_say && !timeout.is_zero();
        session.connected = true;
        let held = Held { link, kind, id: message.id().cloned(), until: now + timeout, advise, interval };
        if hold {
            let until = held.until;
            session.held = Some(held);
            session.in_request = false;
            if kind == LinkKind::Http {
                self.holding.insert(link, key);
                replies.held = true;
            }
            self.set_due(key, until);
        } else {
            replies.messages.push(self.connect_reply(&held));
            let due = now + interval.unwrap_or(self.config.interval) + self.config.max_interval;
            self.set_due(key, due);
        }
    }

    fn connect_reply(&self, held: &Held) -> Bytes {
        let mut reply = Message::meta(Channel::CONNECT);
        reply.set_id(held.id.clone());
        let fields = reply.fields_mut();
        fields.successful = Some(true);
        fields.advice = held.advise.then(|| self.advice(held.interval));
        codec::encode_message(&reply)
    }

    fn advice(&self, interval: Option<std::time::Duration>) -> Advice {
        Advice {
            reconnect: Some(Reconnect::Retry),
            interval: Some(Interval::Wait(interval.unwrap_or(self.config.interval))),
            timeout: Some(self.config.timeout),
            ..Advice::default()
        }
    }

    /// A second connect takes the place of one that is held: over HTTP the first is refused.
    fn drop_held(&mut self, key: SessionKey) {
        let Some(held) = self.sessions.get_mut(&key).and_then(|session| session.held.take()) else { return };
        if held.kind == LinkKind::Http {
            self.holding.remove(&held.link);
            self.reject(held.link, 500, "another connect took the place of this one");
        }
    }

    fn subscribe(&mut self, key: SessionKey, message: &Message, replies: &mut Replies) {
        let outcome = self.each_channel(message, "403::subscription_missing", |engine, name| {
            let channel =
                Channel::parse(name).map_err(|_| BayeuxError::parse("403::subscription_invalid"))?;
            engine.subscribe_one(key, &channel)
        });
        replies.messages.push(confirmation(message, outcome));
    }

    fn subscribe_one(&mut self, key: SessionKey, channel: &Channel) -> Result<(), BayeuxError> {
        let Some(session) = self.sessions.get_mut(&key) else { return Ok(()) };
        match channel.kind() {
            ChannelKind::Meta => {
                return Err(BayeuxError::new(403, "denied_by_security_policy", "subscribe_denied"));
            }
            // Whoever uses a service hears from it; there is nothing to record.
            ChannelKind::Service => return Ok(()),
            ChannelKind::Broadcast => {}
        }
        self.policy.may_subscribe(&session.id, channel).map_err(|denial| denial.error("subscribe_denied"))?;
        if session.subscriptions.len() >= self.config.max_subscriptions {
            return Err(BayeuxError::new(403, "", "too_many_subscriptions"));
        }
        if self.channels.subscribe(channel, key) {
            session.subscriptions.insert(channel.clone());
            self.outputs.push_back(Output::Subscribed(session.id.clone(), channel.clone()));
        }
        Ok(())
    }

    fn unsubscribe(&mut self, key: SessionKey, message: &Message, replies: &mut Replies) {
        let outcome = self.each_channel(message, "403::subscription_missing", |engine, name| {
            let channel =
                Channel::parse(name).map_err(|_| BayeuxError::parse("403::subscription_invalid"))?;
            if channel.is_service() {
                return Ok(());
            }
            match engine.channels.unsubscribe(&channel, key) {
                None => return Err(BayeuxError::parse("400::channel_missing")),
                Some(false) => {}
                Some(true) => {
                    if let Some(session) = engine.sessions.get_mut(&key) {
                        session.subscriptions.remove(&channel);
                        engine.outputs.push_back(Output::Unsubscribed(session.id.clone(), channel));
                    }
                }
            }
            Ok(())
        });
        replies.messages.push(confirmation(message, outcome));
    }

    /// Handles a list in order, up to the first failure; what came before it stays done.
    fn each_channel(
        &mut self,
        message: &Message,
        missing: &str,
        mut act: impl FnMut(&mut Self, &str) -> Result<(), BayeuxError>,
    ) -> Result<(), BayeuxError> {
        match &message.fields().subscription {
            Some(subscription) if !subscription.names().is_empty() => {
                subscription.names().iter().try_for_each(|name| act(self, name))
            }
            _ => Err(BayeuxError::parse(missing)),
        }
    }

    fn disconnect(&mut self, key: SessionKey, message: &Message, replies: &mut Replies) {
        replies.messages.push(confirmation(message, Ok(())));
        self.resume_for_good(key);
        replies.ended.push(key);
    }

    fn publish(&mut self, key: SessionKey, message: &Message, replies: &mut Replies) {
        let Some(session) = self.sessions.get(&key) else { return };
        let id = session.id.clone();
        let outcome = if message.channel().is_wild() {
            Err(BayeuxError::new(400, message.channel().as_str(), "publish_to_pattern"))
        } else {
            self.policy.may_publish(&id, message).map_err(|denial| denial.error("publish_denied"))
        };
        let granted = outcome.is_ok();
        replies.messages.push(confirmation(message, outcome));
        if !granted {
            return;
        }
        if message.channel().is_service() {
            let (channel, data) = (message.channel().clone(), message.data().clone());
            let token =
                ServiceToken { session: id.clone(), channel: channel.clone(), id: message.id().cloned() };
            self.outputs.push_back(Output::Service(ServiceCall { session: id, channel, data, token }));
        } else {
            let except = (!self.config.broadcast_to_publisher).then_some(key);
            self.broadcast(message.channel(), message.data(), except);
        }
    }

    /// Encodes a message once, for all who get it. Neither the publisher's session nor its message id travel on.
    fn broadcast(&mut self, channel: &Channel, data: &Data, except: Option<SessionKey>) {
        let route = self.channels.route(channel);
        if route.is_empty() {
            return;
        }
        let message = codec::encode_message(&Message::new(channel.clone()).with_data(data.clone()));
        for key in route.iter().filter(|key| Some(**key) != except) {
            if let Some(session) = self.sessions.get_mut(key) {
                session.enqueue(message.clone(), self.config.max_queue);
                self.dirty.insert(*key);
            }
        }
    }

    fn send(&mut self, session: &ClientId, message: Bytes) {
        if let Some(key) = self.by_id.get(session).copied()
            && let Some(session) = self.sessions.get_mut(&key)
        {
            session.enqueue(message, self.config.max_queue);
            self.dirty.insert(key);
        }
    }

    fn answer(&mut self, token: ServiceToken, answer: Result<Data, BayeuxError>) {
        let mut message = Message::new(token.channel);
        message.set_id(token.id);
        message.fields_mut().successful = Some(answer.is_ok());
        match answer {
            Ok(data) => message.set_data(Some(data)),
            Err(error) => message.fields_mut().error = Some(error),
        }
        self.send(&token.session, codec::encode_message(&message));
    }

    /// Hands queues over to whoever can be reached now.
    fn deliver(&mut self, now: Time) {
        for key in std::mem::take(&mut self.dirty) {
            let Some(session) = self.sessions.get_mut(&key) else { continue };
            let dropped = session.take_dropped();
            if dropped > 0 {
                self.outputs.push_back(Output::Dropped(session.id.clone(), dropped));
            }
            if session.in_request || !session.has_queued() {
                continue;
            }
            if let Some(link) = session.socket {
                let messages = session.take_queue();
                self.outputs.push_back(Output::Push { link, messages });
            } else if session.held.is_some() {
                self.resume(key, now);
            }
        }
    }

    /// Answers the connect that a session holds.
    fn resume(&mut self, key: SessionKey, now: Time) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let Some(held) = session.held.take() else { return };
        let mut messages = session.take_queue();
        messages.push(self.connect_reply(&held));
        self.release(&held, messages);
        let due = now + held.interval.unwrap_or(self.config.interval) + self.config.max_interval;
        self.set_due(key, due);
    }

    fn release(&mut self, held: &Held, messages: Vec<Bytes>) {
        let link = held.link;
        match held.kind {
            LinkKind::Http => {
                self.holding.remove(&link);
                self.outputs.push_back(Output::Respond { link, messages, handshaken: false });
            }
            LinkKind::WebSocket => self.outputs.push_back(Output::Push { link, messages }),
        }
    }

    /// Answers the connect that a session holds, for the last time.
    fn resume_for_good(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let Some(held) = session.held.take() else { return };
        let mut messages = session.take_queue();
        let mut reply = Message::meta(Channel::CONNECT);
        reply.set_id(held.id.clone());
        let fields = reply.fields_mut();
        fields.successful = Some(true);
        fields.advice = Some(Advice { reconnect: Some(Reconnect::None), ..Advice::default() });
        messages.push(codec::encode_message(&reply));
        self.release(&held, messages);
    }

    fn dismiss(&mut self, session: &ClientId) {
        let Some(key) = self.by_id.get(session).copied() else { return };
        let mut farewell = Message::meta(Channel::DISCONNECT);
        farewell.fields_mut().successful = Some(true);
        let farewell = codec::encode_message(&farewell);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.enqueue(farewell, self.config.max_queue);
            if let Some(link) = session.socket {
                let messages = session.take_queue();
                self.outputs.push_back(Output::Push { link, messages });
            }
        }
        self.resume_for_good(key);
        self.remove(key, RemovedBecause::Dismissed);
    }

    fn shutdown(&mut self) {
        self.down = true;
        let keys: Vec<SessionKey> = self.sessions.keys().copied().collect();
        for key in keys {
            if let Some(session) = self.sessions.get_mut(&key)
                && let Some(held) = session.held.take()
            {
                let mut messages = session.take_queue();
                let mut reply = Message::meta(Channel::CONNECT);
                reply.set_id(held.id.clone());
                reply.fields_mut().successful = Some(true);
                reply.fields_mut().advice = Some(rehandshake_advice());
                messages.push(codec::encode_message(&reply));
                self.release(&held, messages);
            }
            if let Some(link) = self.sessions.get(&key).and_then(|session| session.socket) {
                self.outputs.push_back(Output::Close {
                    link,
                    code: 1001,
                    reason: "the server is going down",
                });
            }
            self.remove(key, RemovedBecause::Shutdown);
        }
    }

    fn link_gone(&mut self, link: LinkId, now: Time) {
        let key = self.sockets.remove(&link).or_else(|| self.holding.remove(&link));
        let Some(session) = key.and_then(|key| self.sessions.get_mut(&key)) else { return };
        if session.socket == Some(link) {
            session.socket = None;
        }
        if session.held.as_ref().is_some_and(|held| held.link == link) {
            session.held = None;
            let due = now + self.config.interval + self.config.max_interval;
            if let Some(key) = key {
                self.set_due(key, due);
            }
        }
    }

    /// Answers the connects whose time is over, and ends the sessions that nobody fetches from.
    fn expire(&mut self, now: Time) {
        while let Some((at, key)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            match self.sessions.get(&key).map(|session| session.held.is_some()) {
                Some(true) => self.resume(key, now),
                Some(false) => self.remove(key, RemovedBecause::Expired),
                None => {
                    self.due.remove(&(at, key));
                }
            }
        }
    }

    fn set_due(&mut self, key: SessionKey, due: Time) {
        if let Some(session) = self.sessions.get_mut(&key) {
            self.due.remove(&(session.due, key));
            session.due = due;
            self.due.insert((due, key));
        }
    }

    fn remove(&mut self, key: SessionKey, because: RemovedBecause) {
        let Some(session) = self.sessions.remove(&key) else { return };
        self.due.remove(&(session.due, key));
        self.by_id.remove(&session.id);
        for channel in &session.subscriptions {
            self.channels.unsubscribe(channel, key);
        }
        if let Some(link) = session.socket {
            self.sockets.remove(&link);
            if because == RemovedBecause::Expired {
                self.outputs.push_back(Output::Close { link, code: 1000, reason: "the session has expired" });
            }
        }
        if let Some(held) = session.held {
            self.holding.remove(&held.link);
        }
        self.outputs.push_back(Output::Removed(session.id, because));
    }

    fn reject(&mut self, link: LinkId, status: u16, reason: &'static str) {
        self.outputs.push_back(Output::Reject { link, status, reason });
    }

    /// 160 random bits in base 32, after the count of sessions, which makes it unique besides.
    fn new_client_id(&mut self) -> ClientId {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let mut bytes = [0; 32];
        self.random.fill_bytes(&mut bytes);
        let secret: String = bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect();
        ClientId::new(&format!("{:x}{secret}", self.last_key + 1))
    }
}

/// What is wrong with a message in itself.
fn invalid(message: &Message) -> Option<BayeuxError> {
    if message.channel().as_str().is_empty() {
        return Some(BayeuxError::parse("400::channel_missing"));
    }
    if Channel::parse(message.channel().as_str()).is_err() {
        return Some(BayeuxError::parse("405::channel_invalid"));
    }
    let valid = |id: &MessageId| id.to_string().bytes().all(|byte| byte.is_ascii_alphanumeric());
    if message.id().is_some_and(|id| !valid(id)) {
        return Some(BayeuxError::parse("405::message_id_invalid"));
    }
    None
}

fn reply_to(message: &Message) -> Message {
    let mut reply = Message::new(message.channel().clone());
    reply.set_id(message.id().cloned());
    if let Some(subscription) = &message.fields().subscription {
        let echo: Subscription = subscription.clone();
        reply.fields_mut().subscription = Some(echo);
    }
    reply
}

fn confirmation(message: &Message, outcome: Result<(), BayeuxError>) -> Bytes {
    match outcome {
        Ok(()) => {
            let mut reply = reply_to(message);
            reply.fields_mut().successful = Some(true);
            codec::encode_message(&reply)
        }
        Err(error) => refusal(message, error, None),
    }
}

fn refusal(message: &Message, error: BayeuxError, advice: Option<Advice>) -> Bytes {
    let mut reply = reply_to(message);
    let fields = reply.fields_mut();
    fields.successful = Some(false);
    fields.error = Some(error);
    fields.advice = advice;
    codec::encode_message(&reply)
}

fn rehandshake_advice() -> Advice {
    Advice {
        reconnect: Some(Reconnect::Handshake),
        interval: Some(Interval::Wait(std::time::Duration::ZERO)),
        ..Advice::default()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}
