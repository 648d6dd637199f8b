//! The connect loop: exactly one `/meta/connect` at a time, and the pause before the next.

use std::time::Duration;

use super::cause::{LostCause, server_error};
use super::contract::{AuthReason, ExchangeId, Lane, Output};
use super::core::{ConnectStage, Core, Next, Sent};
use super::diagnosis::{Diagnosis, diagnose};
use super::event::{Event, State};
use super::failure::{Failure, FailureKind};
use super::moving::is_refused;
use super::outcome::CloseReason;
use crate::advice::{Advice, Interval, Reconnect};
use crate::channel::Channel;
use crate::connection_type::ConnectionType;
use crate::ext::ack;
use crate::message::Message;
use crate::time::Time;

/// A transport that was left without a clear word against it is tried again after this part of the cool-down.
const DOUBT: u32 = 10;
/// That many connects in a row may come back at once with nothing before they are slowed down.
const IDLE_TURNS: u32 = 5;
/// What "at once" is.
const AT_ONCE: Duration = Duration::from_millis(100);

impl Core {
    /// Plans the first connect of a new session, after the events that come with its handshake.
    pub(super) fn schedule_first_connect(&mut self, events: u64, now: Time) -> Next {
        self.connect.idle_turns = 0;
        self.connect.handshake_events = events;
        let pause = if events > 0 { Some(self.config.request_timeout) } else { self.interval() };
        self.schedule_connect(pause, now)
    }

    /// An event came before the first connect: it may be the last of those that come with a handshake.
    pub(super) fn count_handshake_event(&mut self, now: Time) {
        if self.connect.handshake_events > 0 {
            self.connect.handshake_events -= 1;
            if self.connect.handshake_events == 0 && matches!(self.connect.stage, ConnectStage::Waiting(_)) {
                self.connect.stage = ConnectStage::Waiting(now + self.interval().unwrap_or_default());
            }
        }
    }

    fn schedule_connect(&mut self, pause: Option<Duration>, now: Time) -> Next {
        match pause {
            Some(pause) => {
                self.connect.stage = ConnectStage::Waiting(now + pause);
                Next::Nothing
            }
            None => Next::Terminate(CloseReason::Server(Box::new(never_again()))),
        }
    }

    /// Sends the connect that was planned, when its time has come.
    pub(super) fn send_due_connect(&mut self, now: Time) {
        if !matches!(self.connect.stage, ConnectStage::Waiting(at) if at <= now) || self.auth.asking {
            return;
        }
        self.begin_trial(now);
        // What waits goes first: the subscriptions of a new session.
        self.flush(now);
        // The first connect, and each after a failure, asks to be answered at once: that proves the way.
        let probe = self.connect.proven.is_none() || self.connect.trial.is_some();
        let id = self.new_id();
        let exchange = self.new_exchange();
        let mut message = Message::meta(Channel::CONNECT).with_id(id);
        let fields = message.fields_mut();
        fields.connection_type = Some(self.transport().as_str().to_owned());
        if probe {
            fields.advice = Some(Advice { timeout: Some(Duration::ZERO), ..Advice::default() });
        }
        if let Some(batch) = self.window.batch() {
            ack::set_batch(&mut message, batch);
        }
        self.window.turn();
        let hold = if probe { Duration::ZERO } else { self.hold() };
        let deadline = now + hold + self.config.request_timeout;
        let generation = self.auth.generation;
        self.connect.events = false;
        self.connect.stage = ConnectStage::Sent(Sent { id, exchange, at: now, deadline, generation, probe });
        self.send(Lane::Connect, exchange, vec![message]);
    }

    /// A reply on `/meta/connect`, and the exchange that brought it.
    pub(super) fn connect_reply(&mut self, by: Option<ExchangeId>, reply: Message, now: Time) -> Next {
        let ConnectStage::Sent(sent) = self.connect.stage else { return Next::Nothing };
        if !sent.is_answered_by(&reply) {
            return Next::Nothing;
        }
        if self.cancel_overtaken(sent, by) {
            self.unread();
        }
        self.connect.stage = ConnectStage::Idle;
        if self.state == State::Disconnecting {
            return Next::Nothing;
        }
        if reply.is_successful() {
            self.connect_granted(sent, reply, now)
        } else {
            self.connect_refused(sent, reply, now)
        }
    }

    /// A server has answered with the response to another request: what would still come with the one that it was
    /// asked in is not waited for, as the next of its kind must not go out beside it. Whether there was one.
    pub(super) fn cancel_overtaken(&mut self, sent: Sent, by: Option<ExchangeId>) -> bool {
        let overtaken = !self.transport().is_duplex() && by != Some(sent.exchange);
        if overtaken {
            self.emit(Output::Cancel(sent.exchange));
        }
        overtaken
    }

    fn connect_granted(&mut self, sent: Sent, reply: Message, now: Time) -> Next {
        self.auth.unproven = false;
        if let Some(left) = self.moving.works() {
            self.transports.avoid(left, now, self.config.transport_cooldown / DOUBT);
        }
        if let Some(from) = self.connect.trial.take() {
            if from.is_duplex() {
                // What the server sent over it before it saw the change may still be on its way.
                self.emit(Output::CloseWebSocket { graceful: true });
                self.unread();
            }
            self.event(Event::TransportChanged { from, to: self.transport(), cause: None });
        }
        if self.state == State::Unconnected {
            // The way is free again for what is to be settled before messages flow.
            self.state = State::Connecting;
        }
        if let Some(batch) = ack::batch(&reply) {
            self.end_batch(batch);
        }
        match reply.fields().advice.as_ref().and_then(|advice| advice.reconnect) {
            Some(Reconnect::None) => return Next::Terminate(CloseReason::Server(Box::new(reply))),
            Some(Reconnect::Handshake) => return Next::Rehandshake(LostCause::SessionLost(Box::new(reply))),
            Some(Reconnect::Retry) | None => {}
        }
        self.recovered();
        self.servers.works();
        self.connect.proven.get_or_insert(now);
        self.connect.session_proven = true;
        self.lost_since = None;
        let quick = !sent.probe && !self.connect.events && now.since(sent.at) < AT_ONCE;
        self.connect.idle_turns = if quick { self.connect.idle_turns.saturating_add(1) } else { 0 };
        let brake = self.connect.idle_turns.saturating_sub(IDLE_TURNS);
        let brake = if brake > 0 { self.backoff(brake) } else { Duration::ZERO };
        let brake = brake.max(self.hold_back());
        let next = self.schedule_connect(self.interval().map(|interval| interval.max(brake)), now);
        self.announce_connected();
        next
    }

    /// An event came: the turns of the loop are not idle. Some servers put the events of a reply behind it.
    pub(super) fn not_idle(&mut self, now: Time) {
        self.connect.events = true;
        if std::mem::take(&mut self.connect.idle_turns) > IDLE_TURNS
            && matches!(self.connect.stage, ConnectStage::Waiting(_))
            && let Some(interval) = self.interval()
        {
            self.connect.stage = ConnectStage::Waiting(now + interval);
        }
    }

    /// Says that messages flow, once the first connect is answered and all subscriptions are settled.
    pub(super) fn announce_connected(&mut self) {
        let recovering = matches!(self.state, State::Connecting | State::Unconnected);
        if !recovering || self.connect.proven.is_none() || self.subscriptions.any_restoring() {
            return;
        }
        self.tell_gap();
        self.state = State::Connected;
        self.event(Event::Connected { transport: self.transport() });
        if let Some(opening) = self.opening.take() {
            let reply = self.handshake_reply.as_deref().cloned();
            self.resolve(
                Some(opening.call),
                Ok(reply.unwrap_or_else(|| Self::synthetic(Channel::HANDSHAKE, None))),
            );
        }
    }

    fn connect_refused(&mut self, sent: Sent, reply: Message, now: Time) -> Next {
        let advised = reply.fields().advice.as_ref().and_then(|advice| advice.reconnect);
        if self.connect.trial.is_some() {
            return self.end_trial(now);
        }
        let diagnosis = diagnose(&reply);
        // Advice to stop is not final as long as there may be credentials that the server likes better.
        let forbidden = advised == Some(Reconnect::None) && server_error(&reply).code() == Some(403);
        if diagnosis == Diagnosis::Credentials || forbidden {
            let reason = AuthReason::Refused(server_error(&reply));
            if self.refresh(sent.generation, reason) {
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

    /// The server does not know the session over this transport. If it was moved here just now, it may know it over the
    /// one before.
    fn session_unknown(&mut self, cause: LostCause, now: Time) -> Next {
        let Some(before) = self.moving.is_unknown(&cause) else { return Next::Rehandshake(cause) };
        let text =
            format!("{}: the session is not known over {}: {cause}", self.servers.name(), self.transport());
        self.go_back(before, &Failure::new(FailureKind::Lost, text));
        self.lost(now, &cause);
        self.state = State::Unconnected;
        self.schedule_connect(self.interval(), now)
    }

    /// Moves the session back to the transport that it was moved away from.
    fn go_back(&mut self, to: ConnectionType, cause: &Failure) {
        let from = self.transport();
        if from.is_duplex() {
            self.emit(Output::CloseWebSocket { graceful: true });
        }
        self.transports.switch(to);
        self.event(Event::TransportChanged { from, to, cause: Some(cause.clone()) });
    }

    fn wait_for_credentials(&mut self, now: Time) -> Next {
        if self.state == State::Connected {
            self.state = State::Unconnected;
        }
        self.connect.stage =
            if self.auth.asking { ConnectStage::NeedsCredentials } else { ConnectStage::Waiting(now) };
        Next::Nothing
    }

    /// Goes on after credentials came, or did not.
    pub(super) fn connect_with_credentials(&mut self, outcome: Result<(), String>, now: Time) -> Next {
        if self.connect.stage != ConnectStage::NeedsCredentials {
            return Next::Nothing;
        }
        match outcome {
            Ok(()) => {
                let pause = self.pause_after_relapses();
                self.schedule_connect(Some(pause), now)
            }
            Err(text) if self.opening.is_some() => Next::Terminate(CloseReason::NoCredentials(text)),
            Err(text) => {
                let failure =
                    Failure::new(FailureKind::Http { status: 401 }, format!("no credentials: {text}"));
                self.connect_again(LostCause::Transport(failure), false, now)
            }
        }
    }

    /// The connect, or the transport under it, failed.
    pub(super) fn connect_failed(&mut self, mut failure: Failure, now: Time) -> Next {
        let generation = match self.connect.stage {
            ConnectStage::Sent(sent) => sent.generation,
            _ => self.auth.generation,
        };
        self.connect.stage = ConnectStage::Idle;
        if self.state == State::Disconnecting {
            return Next::Nothing;
        }
        if self.connect.trial.is_some() {
            if !failure.is_before_sending() {
                self.unread();
            }
            return self.end_trial(now);
        }
        self.last_cause = Some(LostCause::Transport(failure.clone()));
        let unauthorized = failure.http_status() == Some(401);
        if unauthorized && self.refresh(generation, AuthReason::HttpRefused(401)) {
            self.lost(now, &LostCause::Transport(failure));
            return self.wait_for_credentials(now);
        }
        if let Some(cause) = self.moving.asked_in_vain() {
            self.unread();
            return Next::Rehandshake(cause);
        }
        // What the server had sent when the connection broke is gone, unless it keeps it until we confirm.
        self.connect.gap |= self.window.batch().is_none() && !failure.is_before_sending();
        if self.is_out_of_order(&failure) {
            match self.change_server(&failure, now) {
                Ok(()) => return self.connect_elsewhere(failure, now),
                Err(all) => failure = all,
            }
        }
        let resuming = self.opening.is_some() && self.handshake_reply.is_none();
        if resuming && !self.config.retry_open && failure.is_out_of_reach() {
            return Next::Terminate(CloseReason::Failed(failure));
        }
        if let Some(before) = self.moving.is_silent(&failure) {
            self.go_back(before, &failure);
            return self.connect_again(LostCause::Transport(failure), false, now);
        }
        let changed = self.change_transport(&failure, now);
        self.connect_again(LostCause::Transport(failure), changed, now)
    }

    /// Goes on with the same session at another server, without a pause: it may know it, and if it does not, it says
    /// so. Loss and return in turn are slowed down as ever.
    fn connect_elsewhere(&mut self, failure: Failure, now: Time) -> Next {
        self.lost(now, &LostCause::Transport(failure));
        self.state = State::Unconnected;
        let pause = self.pause_after_relapses();
        let pause = self.interval().map(|interval| interval.max(pause));
        self.schedule_connect(pause, now)
    }

    /// Moves an established session to another transport, when the one in use has failed often enough. Whether it did.
    fn change_transport(&mut self, failure: &Failure, now: Time) -> bool {
        if !self.moving.strike(failure) {
            return false;
        }
        let Some(to) = self.transports.alternative() else { return false };
        let from = self.transport();
        if from.is_duplex() {
            // It may be open: what failed need not be the socket.
            self.emit(Output::CloseWebSocket { graceful: true });
        }
        if is_refused(failure) {
            self.transports.avoid(from, now, self.config.transport_cooldown);
        }
        self.transports.switch(to);
        self.moving.moved(from, failure);
        self.event(Event::TransportChanged { from, to, cause: Some(failure.clone()) });
        true
    }

    /// Tries, between two turns of a connection that works, whether a better transport works again. The session is
    /// the same; only if the server takes its next connect there, everything moves.
    fn begin_trial(&mut self, now: Time) {
        let settled = self.state == State::Connected && self.connect.held_turns == 0;
        // A socket that is left takes the replies that are still to come with it, and the events that ride on them.
        let settled = settled && (!self.transport().is_duplex() || self.requests.sent().is_empty());
        if let Some(better) = self.transports.better(now).filter(|_| settled) {
            self.connect.trial = Some(self.transport());
            self.transports.switch(better);
        }
    }

    /// The better transport does not work yet: back to the one that does.
    fn end_trial(&mut self, now: Time) -> Next {
        self.abandon_trial(now);
        self.schedule_connect(self.interval(), now)
    }

    pub(super) fn abandon_trial(&mut self, now: Time) {
        if let Some(back) = self.connect.trial.take() {
            if self.transport().is_duplex() {
                self.emit(Output::CloseWebSocket { graceful: true });
            }
            self.transports.avoid_current(now, self.config.transport_cooldown);
            self.transports.switch(back);
        }
    }

    /// Plans the connect after a failed one; or gives the session up when the server must have done so by now
    /// (CometD's `BayeuxClient` counts the same: timeout, interval and maxInterval).
    /// The failures of one transport do not delay the first attempt over another: the session would be gone by then.
    fn connect_again(&mut self, cause: LostCause, changed: bool, now: Time) -> Next {
        self.lost(now, &cause);
        self.state = State::Unconnected;
        let pause = match self.attempt_failed(&cause, now) {
            Ok(_) if changed => {
                let advised = cause.failure().and_then(Failure::retry_after).unwrap_or_default();
                self.interval().unwrap_or_default().max(advised.min(self.config.max_advised_wait))
            }
            Ok(pause) => pause,
            Err(reason) => return Next::Terminate(reason),
        };
        if let Some(kept) = self.advice.max_interval.filter(|kept| !kept.is_zero()) {
            let away = now.since(self.lost_since.unwrap_or(now)) + pause;
            let held = self.hold() + self.interval().unwrap_or_default();
            if away > held + kept {
                return Next::Rehandshake(cause);
            }
        }
        self.event(Event::Retrying { delay: pause, failures: self.failures, cause });
        self.schedule_connect(Some(pause), now)
    }

    /// The deadline of the outstanding connect has passed.
    pub(super) fn expire_connect(&mut self, now: Time) -> Option<Failure> {
        let span = self.config.request_timeout;
        let ConnectStage::Sent(sent) = &mut self.connect.stage else { return None };
        if sent.deadline <= now {
            sent.deadline = sent.deadline.max(self.arrivals.put_off_session(sent.exchange, span));
        }
        let sent = *sent;
        if sent.deadline > now {
            return None;
        }
        if !self.transport().is_duplex() {
            self.emit(Output::Cancel(sent.exchange));
        }
        Some(self.silence("connect", now.since(sent.at)))
    }

    /// Drops the outstanding connect, whose session is of no use any more.
    pub(super) fn abandon_connect(&mut self) {
        if let ConnectStage::Sent(sent) = self.connect.stage
            && !self.transport().is_duplex()
        {
            self.emit(Output::Cancel(sent.exchange));
        }
        self.connect.stage = ConnectStage::Idle;
    }
}

/// What stands for a reply when the server's advice was a negative interval.
fn never_again() -> Message {
    let mut message = Message::meta(Channel::CONNECT);
    let fields = message.fields_mut();
    fields.successful = Some(false);
    fields.error =
        Some(crate::error::BayeuxError::parse("the server advised a negative interval: no more connects"));
    fields.advice = Some(Advice { interval: Some(Interval::Never), ..Advice::default() });
    message
}
