//! How events get to their session: with a reply, pushed over a socket, or with the connect that is held for them.

use super::channels::SessionKey;
use super::contract::{LinkKind, Output};
use super::core::{Core, Reply, Turn};
use super::encoded::Encoded;
use super::session::Held;
use crate::channel::Channel;
use crate::ext::ack;
use crate::message::Message;
use crate::time::Time;

impl Core {
    /// Answers a request: events first, then the replies in the order of the requests.
    pub(super) fn reply(&mut self, turn: Turn) {
        let Turn { link, kind, now, replies, held, cookie, .. } = turn;
        let connects = replies.iter().any(|reply| matches!(reply, Reply::Connect(_)));
        let mut taken = super::queue::Taken::default();
        if let Some(key) = turn.session
            && let Some(session) = self.sessions.get_mut(&key)
        {
            session.in_request = false;
            // Whoever has a socket gets its events in order only if they all go there; and scripts run in any order.
            let is_way = match kind {
                LinkKind::WebSocket => true,
                LinkKind::Http => session.socket.is_none(),
                LinkKind::Callback => false,
            };
            if !turn.handshaken && (connects || (is_way && !session.connect_only && !held)) {
                taken = self.take_events(key);
            }
            self.mark_dirty(key);
        }
        let mut messages = taken.messages;
        messages.extend(replies.into_iter().map(|reply| match reply {
            Reply::Ready(reply) => reply,
            Reply::Connect(connect) => self.connect_reply(&connect, taken.batch, now),
        }));
        match kind {
            LinkKind::WebSocket if messages.is_empty() => {}
            LinkKind::WebSocket => self.emit(Output::Push { link, messages: Encoded::join(&messages) }),
            LinkKind::Http | LinkKind::Callback if held => {}
            LinkKind::Http | LinkKind::Callback => {
                if let Some(key) = turn.session {
                    self.response_handed_out(link, key, now);
                }
                self.emit(Output::Respond { link, messages: Encoded::join(&messages), browser: cookie });
            }
        }
    }

    /// Hands queues over to whoever can be reached now.
    pub(super) fn deliver(&mut self, now: Time) {
        self.pressed = false;
        while let Some(key) = self.dirty.pop() {
            let Some(session) = self.sessions.get_mut(&key) else { continue };
            session.dirty = false;
            let dropped = std::mem::take(&mut session.dropped);
            if dropped > 0 {
                let id = session.id.clone();
                self.emit(Output::Dropped(id, dropped));
            }
            self.deliver_to(key, now);
        }
    }

    fn deliver_to(&mut self, key: SessionKey, now: Time) {
        while let Some(session) = self.sessions.get(&key)
            && !session.in_request
            && session.queue.has_urgent()
        {
            match session.socket.filter(|_| !session.connect_only) {
                Some(link) => {
                    let events = self.take_events(key).messages;
                    self.emit(Output::Push { link, messages: Encoded::join(&events) });
                }
                None if session.held.is_some() => self.resume(key, now),
                None => return,
            }
        }
    }

    /// Answers the connect that a session holds.
    pub(super) fn resume(&mut self, key: SessionKey, now: Time) {
        let Some(held) = self.take_held(key) else { return };
        let taken = self.take_events(key);
        let mut messages = taken.messages;
        messages.push(self.connect_reply(&held, taken.batch, now));
        if held.kind.is_request() {
            self.response_handed_out(held.link, key, now);
        }
        self.release(&held, &messages);
        self.postpone_end(key, now);
    }

    /// Sends what a held connect is answered with.
    pub(super) fn release(&mut self, held: &Held, messages: &[Encoded]) {
        let (link, messages) = (held.link, Encoded::join(messages));
        self.emit(match held.kind {
            LinkKind::Http | LinkKind::Callback => Output::Respond { link, messages, browser: None },
            LinkKind::WebSocket => Output::Push { link, messages },
        });
    }

    /// The successful reply to a connect; with acknowledgements it says which batch it ends.
    pub(super) fn connect_reply(&self, held: &Held, batch: Option<u64>, now: Time) -> Encoded {
        let mut reply = Message::meta(Channel::CONNECT);
        reply.set_id(held.id.clone());
        let fields = reply.fields_mut();
        fields.successful = Some(true);
        fields.advice.clone_from(&held.advice);
        if let Some(batch) = batch {
            ack::set_batch(&mut reply, batch);
        }
        if let Some((request, received_ms)) = &held.timesync
            && let Some(now_ms) = self.wall_ms(now)
            && let Some(answer) = request.answer(*received_ms, now_ms)
        {
            answer.write(&mut reply);
        }
        Encoded::new(&reply)
    }
}
