//! Handshakes: a new session, or a refusal.

use std::time::Duration;

use super::channels::SessionKey;
use super::contract::{LinkId, LinkKind, Output};
use super::core::{Core, Reply, Turn};
use super::queue::Queue;
use super::replies::{granted, refused, server_busy, stop};
use super::session::Session;
use crate::advice::{Advice, Interval, Reconnect};
use crate::error::BayeuxError;
use crate::ext::ack;
use crate::id::ClientId;
use crate::message::Message;
use crate::transport::Transport;

/// How long a client waits before it tries again whether there is memory for it.
const BUSY: Duration = Duration::from_secs(5);

/// The names of transports, as far as they are such as transports have. Others are not repeated.
fn names(names: &[String]) -> String {
    const MOST: usize = 10;
    const LONGEST: usize = 32;
    let is_name = |name: &&str| {
        (1..=LONGEST).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    names.iter().take(MOST).map(String::as_str).filter(is_name).collect::<Vec<_>>().join(",")
}

impl Core {
    pub(super) fn handshake(&mut self, turn: &mut Turn, message: &Message) {
        if let Err((error, advice)) = self.may_handshake(message) {
            self.emit(Output::HandshakeRefused(turn.link, error.clone()));
            return self.answer(turn, message, refused(message, error, Some(advice)));
        }
        let (key, id) = self.new_session_id();
        let acknowledged = self.config.acknowledgements && ack::is_offered(message);
        self.add_session(turn, key, id.clone(), acknowledged);
        for (channel, data) in self.policy.welcome(&id, message) {
            self.enqueue(key, self.encode(&Message::new(channel).with_data(data)), None, turn.now);
        }
        let taken = self.config.messages_during_handshake.then(|| self.take_events(key));
        let mut reply = granted(message);
        let fields = reply.fields_mut();
        fields.client_id = Some(id);
        fields.version = Some("1.0".to_owned());
        fields.minimum_version = Some("1.0".to_owned());
        fields.supported_connection_types = Some(self.transport_names());
        fields.advice = Some(self.advice(self.config.interval));
        fields.handshake_messages = taken.as_ref().map(|taken| taken.messages.len() as u64);
        if acknowledged {
            ack::grant(&mut reply, taken.as_ref().and_then(|taken| taken.batch));
        }
        self.answer(turn, message, reply);
        turn.replies.extend(taken.into_iter().flat_map(|taken| taken.messages).map(Reply::Ready));
        turn.session = Some(key);
        turn.handshaken = true;
    }

    fn may_handshake(&mut self, message: &Message) -> Result<(), (BayeuxError, Advice)> {
        if self.sessions.len() >= self.config.max_sessions {
            return Err((BayeuxError::new(503, "", "too_many_sessions"), stop()));
        }
        if self.is_full() {
            let advice = Advice {
                reconnect: Some(Reconnect::Handshake),
                interval: Some(Interval::Wait(BUSY)),
                ..Advice::default()
            };
            return Err((server_busy(), advice));
        }
        // A client whose handshake does not speak of transports finds out which there are; one that offers none is refused.
        let fields = message.fields();
        if let Some(offered) = &fields.supported_connection_types
            && !fields.known_transports().any(|kind| self.config.transports.contains(&kind))
        {
            let args = format!("c[{}],s[{}]", names(offered), names(&self.transport_names()));
            return Err((BayeuxError::new(405, &args, "no_transport"), stop()));
        }
        self.policy.may_handshake(message).map_err(|denial| {
            let (error, reconnect) = denial.handshake_error();
            (error, Advice { reconnect: Some(reconnect), ..Advice::default() })
        })
    }

    fn transport_names(&self) -> Vec<String> {
        self.config.transports.iter().copied().map(Transport::as_str).map(str::to_owned).collect()
    }

    fn add_session(&mut self, turn: &mut Turn, key: SessionKey, id: ClientId, acknowledged: bool) {
        let queue = Queue::new(acknowledged, &self.meters.queues);
        let mut session = Box::new(Session::new(id.clone(), turn.now, queue, &self.meters));
        session.interval = self.config.interval;
        session.connect_only |= self.config.connect_delivery_only;
        session.in_request = 1;
        turn.entered = true;
        let facts = turn.facts.as_ref();
        session.browser = facts.and_then(|facts| facts.browser.clone());
        session.cookie_since = facts.filter(|facts| !facts.issued && facts.browser.is_some()).map(|_| 0);
        session.began_over_http = turn.kind.is_request();
        if turn.kind.is_request() && session.browser.is_none() && facts.is_some() {
            let cookie = self.new_browser_id();
            session.browser = Some(cookie.clone());
            turn.cookie = Some(cookie);
        }
        session.recharge();
        self.sessions.insert(key, session);
        self.by_id.insert(id.clone(), key);
        self.postpone_end(key, turn.now);
        if turn.kind == LinkKind::WebSocket {
            self.leave_socket(turn.link);
            self.bind(key, turn.link);
        }
        self.emit(Output::Added(id));
    }

    /// A socket that handshakes again begins a new session; the old one is left to expire.
    fn leave_socket(&mut self, link: LinkId) {
        let Some(old) = self.sockets.remove(&link) else { return };
        if let Some(session) = self.sessions.get_mut(&old) {
            session.socket = None;
        }
        self.take_held(old);
    }

    /// A session moves to a socket, and leaves the one it had.
    pub(super) fn bind(&mut self, key: SessionKey, link: LinkId) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let old = session.socket.replace(link);
        self.sockets.insert(link, key);
        let Some(old) = old.filter(|old| *old != link) else { return };
        if session.held.as_ref().is_some_and(|held| held.link == old) {
            self.take_held(key);
        }
        self.sockets.remove(&old);
        self.emit(Output::Close { link: old, code: 1000, reason: "the session has another socket" });
    }
}
