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
    pub(super) fn reply(&mut self, turn: &mut Turn) {
        if let Some(key) = turn.session.filter(|_| turn.entered)
            && let Some(session) = self.sessions.get_mut(&key)
        {
            session.in_request -= 1;
            // A session with a socket gets its events in order only if they all go there; and scripts run in any order.
            let is_way = match turn.kind {
                LinkKind::WebSocket => true,
                LinkKind::Http => session.socket.is_none(),
                LinkKind::Callback => false,
            };
            if !turn.handshaken && is_way && !session.connect_only && !turn.held && !turn.closed {
                self.answer_connects(turn);
                if turn.events.is_empty() {
                    turn.events = self.take_events(key).messages;
                }
            }
            self.mark_dirty(key);
        }
        self.answer_connects(turn);
        if turn.closed {
            return;
        }
        let (link, mut messages) = (turn.link, std::mem::take(&mut turn.events));
        messages.extend(turn.replies.drain(..).filter_map(|reply| match reply {
            Reply::Ready(reply) => Some(reply),
            Reply::Connect(_) => None,
        }));
        match turn.kind {
            LinkKind::WebSocket if messages.is_empty() => {}
            LinkKind::WebSocket => {
                let messages = self.copied(&messages);
                self.emit(Output::Push { link, messages });
            }
            LinkKind::Http | LinkKind::Callback if turn.held => {}
            LinkKind::Http | LinkKind::Callback => {
                if let Some(key) = turn.session {
                    self.response_handed_out(link, key, turn.now);
                }
                let messages = self.copied(&messages);
                self.emit(Output::Respond { link, messages, browser: turn.cookie.take() });
            }
        }
    }

    /// Writes the replies to the connects of a request, now that nothing more can come to go with them.
    pub(super) fn answer_connects(&mut self, turn: &mut Turn) {
        if !turn.replies.iter().any(|reply| matches!(reply, Reply::Connect(_))) {
            return;
        }
        let key = turn.session.filter(|_| !turn.closed && !turn.handshaken);
        let taken = key.map(|key| self.take_events(key)).unwrap_or_default();
        turn.events.extend(taken.messages);
        for reply in &mut turn.replies {
            if let Reply::Connect(connect) = reply {
                *reply = Reply::Ready(self.connect_reply(connect, taken.batch, turn.now));
            }
        }
    }

    /// Delivers the queues of sessions that can be reached now.
    pub(super) fn deliver(&mut self, end: u64, now: Time) {
        while let Some(key) = self.dirty.pop_front() {
            let Some(session) = self.sessions.get_mut(&key) else { continue };
            self.steps += 1;
            session.dirty = false;
            let dropped = std::mem::take(&mut session.dropped);
            if dropped > 0 {
                let id = session.id.clone();
                self.emit(Output::Dropped(id, dropped));
            }
            self.deliver_to(key, end, now);
            if self.steps >= end {
                return;
            }
        }
        self.pressed = false;
    }

    fn deliver_to(&mut self, key: SessionKey, end: u64, now: Time) {
        // However little may be done at once, each turn delivers something.
        let mut first = true;
        while let Some(session) = self.sessions.get(&key)
            && session.in_request == 0
            && session.queue.has_urgent()
        {
            if !std::mem::take(&mut first) && self.steps >= end && session.socket.is_some() {
                // It goes on after the others.
                return self.mark_dirty(key);
            }
            match session.socket.filter(|_| !session.connect_only) {
                Some(link) => {
                    let events = self.take_events(key).messages;
                    let messages = self.copied(&events);
                    self.emit(Output::Push { link, messages });
                }
                None if session.held.is_some() => self.resume(key, now),
                None => return,
            }
        }
    }

    /// The array of these messages. To copy much is work.
    fn copied(&mut self, messages: &[Encoded]) -> bytes::Bytes {
        const STEP: u64 = 4096;
        let joined = self.join(messages);
        if messages.len() > 1 {
            self.steps += joined.len() as u64 / STEP;
        }
        joined
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
        let (link, messages) = (held.link, self.copied(messages));
        self.emit(match held.kind {
            LinkKind::Http | LinkKind::Callback => Output::Respond { link, messages, browser: None },
            LinkKind::WebSocket => Output::Push { link, messages },
        });
    }

    /// The successful reply to a connect; with acknowledgements it has the number of the batch that it ends.
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
        self.encode(&reply)
    }
}
