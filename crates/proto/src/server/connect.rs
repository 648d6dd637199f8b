//! Connects: held until there is something to deliver, answered at once, or refused.

use std::time::Duration;

use super::channels::SessionKey;
use super::contract::{LinkKind, RemovedBecause};
use super::core::{Core, Reply, Turn};
use super::replies::{last_message, refused, stop, unknown_session};
use super::session::Held;
use crate::advice::{Advice, Interval, Reconnect};
use crate::error::BayeuxError;
use crate::ext::{ack, timesync};
use crate::message::Message;
use crate::time::Time;

impl Core {
    pub(super) fn connect(&mut self, turn: &mut Turn, key: SessionKey, message: &Message) {
        if turn.closed {
            return;
        }
        self.drop_held(key);
        if turn.kind.is_request() {
            // The client went over to HTTP: nothing is pushed to its socket any more.
            self.unbind(key);
        }
        if self.is_inactive(key, turn.now) {
            return self.end_inactive(turn, key, message);
        }
        let timesync = timesync::Request::read(message).zip(self.wall_ms(turn.now));
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if let Some(batch) = ack::batch(message) {
            session.queue.acknowledge(batch);
            session.fetched(&mut self.heavy, key, turn.now);
        }
        let asked = message.fields().advice.as_ref();
        let timeout = match asked.and_then(|advice| advice.timeout) {
            Some(timeout) => timeout.min(self.config.timeout),
            // What was lost is sent again without delay.
            None if session.queue.has_unacknowledged() => Duration::ZERO,
            None => self.config.timeout,
        };
        session.interval = match asked.and_then(|advice| advice.interval) {
            Some(Interval::Wait(interval)) => interval.min(self.config.max_client_interval),
            _ => self.config.interval,
        };
        let may_hold = match turn.kind {
            LinkKind::WebSocket => !session.connect_only || !session.queue.has_urgent(),
            LinkKind::Http | LinkKind::Callback => turn.alone && !session.queue.has_urgent(),
        };
        let hold = may_hold && session.connected && !timeout.is_zero();
        session.connected = true;
        let advise = asked.is_some() || session.advised != Some(turn.kind);
        session.advised = Some(turn.kind);
        let is_one_of_many = may_hold && self.is_one_of_many(turn, key);
        if is_one_of_many && self.config.multi_session_interval.is_zero() {
            let error = BayeuxError::new(403, "", "multiple_clients");
            let advice = Advice { multiple_clients: Some(true), ..stop() };
            self.answer(turn, message, refused(message, error, Some(advice)));
            return self.postpone_end(key, turn.now);
        }
        let advice = self.connect_advice(key, advise, is_one_of_many);
        let mut held = Held {
            link: turn.link,
            kind: turn.kind,
            id: message.id().cloned(),
            advice,
            browser: None,
            timesync,
        };
        if hold && !is_one_of_many {
            held.browser = self.limit_for(turn).and_then(|_| self.sessions.get(&key)?.browser.clone());
            self.hold(turn, key, held, turn.now + timeout);
        } else {
            turn.replies.push(Reply::Connect(held));
            self.postpone_end(key, turn.now);
        }
    }

    fn hold(&mut self, turn: &mut Turn, key: SessionKey, held: Held, until: Time) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if held.kind.is_request() {
            self.holding.insert(held.link, key);
            turn.held = true;
        }
        if let Some(browser) = &held.browser {
            self.browsers.hold(browser);
        }
        session.held = Some(Box::new(held));
        session.recharge();
        self.set_due(key, until);
    }

    /// A second connect takes the place of one that is held: over HTTP the first is refused.
    fn drop_held(&mut self, key: SessionKey) {
        if let Some(held) = self.take_held(key)
            && held.kind.is_request()
        {
            let status = self.config.duplicate_connect_status;
            self.reject(held.link, status, "another connect took the place of this one");
        }
    }

    /// How many connects may be held for the browser that this request is from; `None` is no limit.
    fn limit_for(&self, turn: &Turn) -> Option<usize> {
        let facts = turn.facts.as_ref().filter(|_| turn.kind.is_request())?;
        if facts.multiplexed {
            self.config.http2_max_sessions_per_browser
        } else {
            self.config.max_sessions_per_browser
        }
    }

    fn is_one_of_many(&self, turn: &Turn, key: SessionKey) -> bool {
        let browser = self.sessions.get(&key).and_then(|session| session.browser.as_ref());
        browser
            .zip(self.limit_for(turn))
            .is_some_and(|(browser, limit)| self.browsers.is_full(browser, limit))
    }

    /// What the reply to a connect advises. Once a client polls because its browser has several sessions, it must get
    /// advice when it need not poll any more.
    fn connect_advice(&mut self, key: SessionKey, advise: bool, is_one_of_many: bool) -> Option<Advice> {
        let every = self.config.multi_session_interval;
        let session = self.sessions.get_mut(&key)?;
        let was_one_of_many = std::mem::replace(&mut session.one_of_many, is_one_of_many);
        if is_one_of_many {
            session.interval = every;
            return Some(Advice {
                reconnect: Some(Reconnect::Retry),
                interval: Some(Interval::Wait(every)),
                multiple_clients: Some(true),
                ..Advice::default()
            });
        }
        let interval = session.interval;
        (advise || was_one_of_many)
            .then(|| Advice { multiple_clients: was_one_of_many.then_some(false), ..self.advice(interval) })
    }

    /// What clients are advised that have nothing special about them.
    pub(super) fn advice(&self, interval: Duration) -> Advice {
        Advice {
            reconnect: Some(Reconnect::Retry),
            interval: Some(Interval::Wait(interval)),
            timeout: Some(self.config.timeout),
            max_interval: self.config.handshake_reconnect.then_some(self.config.max_interval),
            ..Advice::default()
        }
    }

    fn is_inactive(&self, key: SessionKey, now: Time) -> bool {
        self.config
            .max_inactivity
            .zip(self.sessions.get(&key))
            .is_some_and(|(longest, session)| now.since(session.active_at) > longest)
    }

    /// A session that only connects is ended, and its client gets the reason at once.
    fn end_inactive(&mut self, turn: &mut Turn, key: SessionKey, message: &Message) {
        self.remove(key, RemovedBecause::Inactive);
        self.answer_dismissed(turn, message, None);
    }

    /// The answer to the connect of a session that the server has ended.
    pub(super) fn answer_dismissed(
        &mut self,
        turn: &mut Turn,
        message: &Message,
        reason: Option<BayeuxError>,
    ) {
        turn.replies.push(Reply::Ready(self.encode(&last_message(reason))));
        self.answer(turn, message, refused(message, unknown_session(), Some(stop())));
    }
}
