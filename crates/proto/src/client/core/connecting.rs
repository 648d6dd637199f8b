//! The connect loop: exactly one `/meta/connect` at a time, and the pause before the next.

use std::time::Duration;

use super::{Core, Flow, Next, Phase};
use crate::advice::{Advice, Interval, Reconnect};
use crate::channel::Channel;
use crate::client::cause::{LostCause, server_error};
use crate::client::connect::Answered;
use crate::client::contract::{AuthReason, ExchangeId, Lane};
use crate::client::diagnosis::{Diagnosis, diagnose, is_limit};
use crate::client::event::Event;
use crate::client::failure::{Failure, FailureKind};
use crate::client::moving::is_refused;
use crate::client::outcome::CloseReason;
use crate::client::pending::Pending;
use crate::client::undecided::Then;
use crate::ext::ack;
use crate::message::Message;
use crate::time::Time;
use crate::transport::Transport;

/// A transport that was left without a plain refusal is tried again after this part of the cool-down.
const DOUBT: u32 = 10;

impl Core {
    /// Plans the first connect of a session, after the events that come with its handshake.
    pub(super) fn schedule_first_connect(&mut self, now: Time) -> Next {
        let events = self.established().is_some_and(|session| session.connect.awaits_handshake_events());
        let pause = if events { Some(self.config.request_timeout) } else { self.advised.interval() };
        self.schedule_connect(pause, now)
    }

    /// An event came before the first connect: it may be the last of those that come with a handshake.
    pub(super) fn count_handshake_event(&mut self, now: Time) {
        let interval = self.advised.interval().unwrap_or_default();
        if let Some(session) = self.established_mut()
            && session.connect.handshake_event_received()
        {
            session.connect.wait_until(now + interval);
        }
    }

    fn schedule_connect(&mut self, pause: Option<Duration>, now: Time) -> Next {
        let Some(pause) = pause else {
            return Next::Terminate(CloseReason::Server(Box::new(never_again())));
        };
        self.connect_at(now + pause);
        Next::Nothing
    }

    /// Sends the connect that was planned, when its time has come.
    pub(super) fn send_due_connect(&mut self, now: Time) {
        let due = self.established().is_some_and(|session| session.connect.is_due(now));
        if !due || self.credentials.asking() {
            return;
        }
        self.undecided = None;
        self.begin_trial(now);
        // What waits goes first: the subscriptions of a new session.
        self.flush(now);
        let Phase::Established(session) = &mut self.phase else { return };
        let (id, exchange) = (self.outbox.new_id(), self.outbox.new_exchange());
        let mut message = Message::meta(Channel::CONNECT).with_id(id);
        let fields = message.fields_mut();
        fields.connection_type = Some(self.transports.current().as_str().to_owned());
        let probe = session.connect.is_probe();
        if probe {
            fields.advice = Some(Advice { timeout: Some(Duration::ZERO), ..Advice::default() });
        }
        if let Some(batch) = session.window.batch() {
            ack::set_batch(&mut message, batch);
        }
        session.window.turn();
        let hold = if probe { Duration::ZERO } else { self.advised.hold() };
        let within = hold.saturating_add(self.config.request_timeout);
        session.connect.sent(Pending::new(id, exchange, self.credentials.generation(), now, within));
        self.send(self.transport(), Lane::Connect, exchange, vec![message]);
    }

    /// Handles a reply on `/meta/connect`; `by` is the exchange that brought it.
    pub(super) fn connect_reply(&mut self, by: Option<ExchangeId>, reply: Message, now: Time) -> Next {
        let Some(session) = self.session_mut() else { return Next::Nothing };
        let Some(answered) = session.connect.answered_by(&reply) else { return Next::Nothing };
        if self.cancel_overtaken(answered.pending(), by) {
            self.unread();
        }
        if matches!(self.phase, Phase::Closing(_)) {
            return Next::Nothing;
        }
        if reply.is_successful() {
            self.connect_granted(&answered, reply, now)
        } else {
            self.connect_refused(answered.pending(), reply, now)
        }
    }

    /// A server may answer with the response to another request. The response to the request that asked is then
    /// cancelled, because the next of its kind must not go out beside it. Returns whether there was one.
    pub(super) fn cancel_overtaken(&mut self, pending: &Pending, by: Option<ExchangeId>) -> bool {
        let overtaken = !self.transport().is_duplex() && by != Some(pending.exchange());
        if overtaken {
            self.outbox.cancel(pending.exchange());
        }
        overtaken
    }

    fn connect_granted(&mut self, answered: &Answered, reply: Message, now: Time) -> Next {
        self.credentials.accepted();
        let Phase::Established(session) = &mut self.phase else { return Next::Nothing };
        if let Some(left) = session.moving.works() {
            self.transports.avoid(left, now, self.config.transport_cooldown / DOUBT);
        }
        if session.flow == Flow::Unconnected {
            // The connection carries messages again, which are to be settled before it counts as connected.
            session.flow = Flow::Connecting;
        }
        if let Some(from) = session.connect.end_trial() {
            if from.is_duplex() {
                // What the server sent over it before the change may still be on its way.
                self.outbox.close_websocket(true);
                self.unread();
            }
            let to = self.transport();
            self.outbox.event(Event::TransportChanged { from, to, cause: None });
        }
        if let Some(batch) = ack::batch(&reply) {
            self.end_batch(batch);
        }
        match reply.fields().advice.as_ref().and_then(|advice| advice.reconnect) {
            Some(Reconnect::None) => return Next::Terminate(CloseReason::Server(Box::new(reply))),
            Some(Reconnect::Handshake) => return Next::Rehandshake(LostCause::SessionLost(Box::new(reply))),
            Some(Reconnect::Retry) | None => {}
        }
        self.attempts.succeeded();
        self.servers.works();
        let Phase::Established(session) = &mut self.phase else { return Next::Nothing };
        let brake = match session.connect.succeeded(answered, now) {
            0 => Duration::ZERO,
            turns => self.attempts.backoff(turns),
        };
        let brake = brake.max(self.hold_back());
        let next = self.schedule_connect(self.advised.interval().map(|interval| interval.max(brake)), now);
        self.announce_connected();
        next
    }

    /// Reports that messages flow, once the first connect is answered and all subscriptions are settled.
    pub(super) fn announce_connected(&mut self) {
        let recovering = self
            .established()
            .is_some_and(|session| session.flow != Flow::Connected && session.connect.is_proven());
        if !recovering || self.subscriptions.any_restoring() {
            return;
        }
        self.report_gap();
        if let Phase::Established(session) = &mut self.phase {
            session.flow = Flow::Connected;
        }
        self.outbox.event(Event::Connected { transport: self.transports.current() });
        if let Some(opening) = self.opening.take() {
            let reply = opening.reply.map(|reply| *reply);
            let reply = reply.unwrap_or_else(|| Self::synthetic(Channel::HANDSHAKE, None));
            self.outbox.resolve(Some(opening.call), Ok(reply));
        }
    }

    fn connect_refused(&mut self, pending: &Pending, reply: Message, now: Time) -> Next {
        let advised = reply.fields().advice.as_ref().and_then(|advice| advice.reconnect);
        if self.is_trial() {
            return self.end_trial(now);
        }
        let diagnosis = diagnose(&reply);
        // Advice to stop is not final as long as there may be credentials that the server accepts.
        let error = server_error(&reply);
        let forbidden =
            advised == Some(Reconnect::None) && error.code() == Some(403) && !is_limit(error.as_str());
        if diagnosis == Diagnosis::Credentials || forbidden {
            let reason = AuthReason::Refused(server_error(&reply));
            if self.refresh(pending.generation(), reason) {
                self.lost(now, &LostCause::Refused(Box::new(reply)));
                return self.wait_for_credentials(now);
            }
        }
        match advised {
            Some(Reconnect::Handshake) => self.session_unknown(LostCause::SessionLost(Box::new(reply)), now),
            Some(Reconnect::None) => Next::Terminate(CloseReason::Server(Box::new(reply))),
            Some(Reconnect::Retry) | None if diagnosis == Diagnosis::SessionUnknown => {
                self.session_unknown(LostCause::SessionLost(Box::new(reply)), now)
            }
            Some(Reconnect::Retry) | None => {
                self.connect_again(LostCause::Refused(Box::new(reply)), false, now)
            }
        }
    }

    /// Whether a refusal says that the session is not known over a transport where it was only tried, or where it was moved
    /// just now. It goes on over the one before, to which the advice to handshake, at once, does not apply.
    pub(super) fn goes_on_elsewhere(&self, reply: &Message) -> bool {
        let advised = || reply.fields().advice.as_ref().and_then(|advice| advice.reconnect);
        let unknown = || {
            advised() == Some(Reconnect::Handshake)
                || (advised() != Some(Reconnect::None) && diagnose(reply) == Diagnosis::SessionUnknown)
        };
        reply.channel() == Channel::CONNECT
            && !reply.is_successful()
            && (self.is_trial() || self.established().is_some_and(|session| session.moving.is_on_probation()))
            && unknown()
    }

    /// The server does not know the session over this transport. If the session was moved here just now, the server
    /// may know it over the transport before.
    fn session_unknown(&mut self, cause: LostCause, now: Time) -> Next {
        let before = self.established_mut().and_then(|session| session.moving.is_unknown(&cause));
        let Some(before) = before else { return Next::Rehandshake(cause) };
        let text =
            format!("{}: the session is not known over {}: {cause}", self.servers.name(), self.transport());
        self.go_back(before, &Failure::new(FailureKind::Lost, text));
        self.lost(now, &cause);
        self.disconnect();
        self.schedule_connect(self.advised.interval(), now)
    }

    /// Moves the session back to the transport that it was moved away from.
    fn go_back(&mut self, to: Transport, cause: &Failure) {
        let from = self.transport();
        if from.is_duplex() {
            self.outbox.close_websocket(true);
        }
        self.transports.switch(to);
        self.outbox.event(Event::TransportChanged { from, to, cause: Some(cause.clone()) });
    }

    fn wait_for_credentials(&mut self, now: Time) -> Next {
        let asking = self.credentials.asking();
        let Some(session) = self.established_mut() else { return Next::Nothing };
        if session.flow == Flow::Connected {
            session.flow = Flow::Unconnected;
        }
        if asking {
            session.connect.need_credentials();
        } else {
            session.connect.wait_until(now);
        }
        Next::Nothing
    }

    /// Continues after credentials came, or could not be obtained.
    pub(super) fn connect_with_credentials(&mut self, outcome: &Result<(), String>, now: Time) -> Next {
        if !self.established().is_some_and(|session| session.connect.needs_credentials()) {
            return Next::Nothing;
        }
        match outcome {
            Ok(()) => {
                let pause = self.attempts.pause_after_relapses();
                self.schedule_connect(Some(pause), now)
            }
            Err(text) if self.opening.is_some() => {
                Next::Terminate(CloseReason::NoCredentials(text.to_owned()))
            }
            Err(text) => {
                let failure =
                    Failure::new(FailureKind::Http { status: 401 }, format!("no credentials: {text}"));
                self.connect_again(LostCause::Transport(failure), false, now)
            }
        }
    }

    /// The connect, or the transport under it, failed.
    pub(super) fn connect_failed(&mut self, mut failure: Failure, now: Time) -> Next {
        let Some(session) = self.session_mut() else { return Next::Nothing };
        let pending = session.connect.abandon();
        let generation = pending.map_or(self.credentials.generation(), |pending| pending.generation());
        if matches!(self.phase, Phase::Closing(_)) {
            return Next::Nothing;
        }
        if self.is_trial() {
            if !failure.is_before_sending() {
                self.unread();
            }
            return self.end_trial(now);
        }
        self.attempts.note_cause(LostCause::Transport(failure.clone()));
        let unauthorized = failure.http_status() == Some(401);
        if unauthorized && self.refresh(generation, AuthReason::HttpRefused(401)) {
            self.lost(now, &LostCause::Transport(failure));
            return self.wait_for_credentials(now);
        }
        let Phase::Established(session) = &mut self.phase else { return Next::Nothing };
        if let Some(cause) = session.moving.asked_in_vain(&failure) {
            self.unread();
            return Next::Rehandshake(cause);
        }
        // What the server had sent when the connection broke is lost, unless it keeps it until it is acknowledged.
        session.gap |= session.window.batch().is_none() && !failure.is_before_sending();
        if self.is_out_of_order(&failure) {
            match self.change_server(&failure, now) {
                Ok(()) => return self.connect_elsewhere(failure, now),
                Err(all) => failure = all,
            }
        }
        let resuming = self.opening.as_ref().is_some_and(|opening| opening.reply.is_none());
        if resuming && !self.config.retry_open && failure.is_out_of_reach() {
            return Next::Terminate(CloseReason::Failed(failure));
        }
        let before = self.established_mut().and_then(|session| session.moving.is_silent(&failure));
        if let Some(before) = before {
            self.go_back(before, &failure);
            return self.connect_again(LostCause::Transport(failure), false, now);
        }
        let changed = self.change_transport(&failure, now);
        self.connect_again(LostCause::Transport(failure), changed, now)
    }

    /// Continues the same session at another server, without a pause: the server may know it, and answers if it does
    /// not. Loss and return in turn are slowed down as always.
    fn connect_elsewhere(&mut self, failure: Failure, now: Time) -> Next {
        self.lost(now, &LostCause::Transport(failure));
        self.disconnect();
        let pause = self.attempts.pause_after_relapses();
        let pause = self.advised.interval().map(|interval| interval.max(pause));
        self.schedule_connect(pause, now)
    }

    /// Moves the session to another transport if the one in use has failed often enough. Returns whether it did.
    fn change_transport(&mut self, failure: &Failure, now: Time) -> bool {
        let Phase::Established(session) = &mut self.phase else { return false };
        if !session.moving.strike(failure) {
            return false;
        }
        let Some(to) = self.transports.alternative() else { return false };
        let from = self.transports.current();
        if from.is_duplex() {
            // It may be open: what failed need not be the socket.
            self.outbox.close_websocket(true);
        }
        if is_refused(failure) {
            self.transports.avoid(from, now, self.config.transport_cooldown);
        }
        self.transports.switch(to);
        session.moving.moved(from, failure);
        self.outbox.event(Event::TransportChanged { from, to, cause: Some(failure.clone()) });
        true
    }

    /// Tries, between two turns of a connection that works, whether a better transport works again. The session stays
    /// the same, and moves only if the server answers its next connect there.
    fn begin_trial(&mut self, now: Time) {
        let Phase::Established(session) = &mut self.phase else { return };
        let from = self.transports.current();
        let settled = session.flow == Flow::Connected && !session.connect.is_holding();
        // If a socket is left, the replies that are still to come with it are lost, and the events that come with
        // them.
        let settled = settled && (!from.is_duplex() || self.calls.sent().is_empty());
        if let Some(better) = self.transports.better(now).filter(|_| settled) {
            session.connect.begin_trial(from);
            self.transports.switch(better);
        }
    }

    fn is_trial(&self) -> bool {
        self.session().is_some_and(|session| session.connect.trial().is_some())
    }

    /// The better transport does not work yet: back to the one that does.
    fn end_trial(&mut self, now: Time) -> Next {
        self.abandon_trial(now);
        self.schedule_connect(self.advised.interval(), now)
    }

    pub(super) fn abandon_trial(&mut self, now: Time) {
        if let Some(back) = self.session_mut().and_then(|session| session.connect.end_trial()) {
            if self.transport().is_duplex() {
                self.outbox.close_websocket(true);
            }
            self.transports.avoid_current(now, self.config.transport_cooldown);
            self.transports.switch(back);
        }
    }

    /// Plans the connect after a failed one, or gives the session up if the server must have done so by then.
    fn connect_again(&mut self, cause: LostCause, changed: bool, now: Time) -> Next {
        self.lost(now, &cause);
        self.disconnect();
        self.attempt_failed(cause, Then::Connect { changed }, now)
    }

    /// Returns a failure if the deadline of the outstanding connect has passed.
    pub(super) fn expire_connect(&mut self, now: Time) -> Option<Failure> {
        let session = match &mut self.phase {
            Phase::Established(session) => session,
            Phase::Closing(closing) => &mut closing.session,
            Phase::Closed | Phase::Opening(_) => return None,
        };
        let pending = session.connect.outstanding_mut()?;
        if !pending.expire(&self.arrivals, self.config.request_timeout, now) {
            return None;
        }
        let pending = *pending;
        if !self.transport().is_duplex() {
            self.outbox.cancel(pending.exchange());
        }
        Some(self.silence("connect", now.since(pending.sent_at())))
    }

    /// Drops the outstanding connect, whose session or connection is of no use any more.
    pub(super) fn abandon_connect(&mut self) {
        if let Some(pending) = self.session_mut().and_then(|session| session.connect.abandon())
            && !self.transport().is_duplex()
        {
            self.outbox.cancel(pending.exchange());
        }
    }
}

/// Stands for a reply if the server's advice was a negative interval.
fn never_again() -> Message {
    let mut message = Message::meta(Channel::CONNECT);
    let fields = message.fields_mut();
    fields.successful = Some(false);
    fields.error =
        Some(crate::error::BayeuxError::parse("the server advised a negative interval: no more connects"));
    fields.advice = Some(Advice { interval: Some(Interval::Never), ..Advice::default() });
    message
}
