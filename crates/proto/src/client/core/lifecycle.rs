//! The life of a session: opened, lost, restored, closed.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Closing, Core, Established, Flow, Next, Opening, Phase};
use crate::advice::{Advice, Interval};
use crate::channel::Channel;
use crate::client::cause::LostCause;
use crate::client::contract::{CallId, ExchangeId};
use crate::client::event::Event;
use crate::client::failure::{Failure, FailureKind};
use crate::client::liveness::Check;
use crate::client::outcome::{CallError, CloseReason};
use crate::client::snapshot::SessionSnapshot;
use crate::client::undecided::Then;
use crate::message::Message;
use crate::time::Time;

impl Core {
    pub(super) fn open(&mut self, call: CallId, from: Option<SessionSnapshot>, now: Time) -> Next {
        if !matches!(self.phase, Phase::Closed) {
            self.outbox.resolve(Some(call), Err(CallError::AlreadyOpen));
            return Next::Nothing;
        }
        let deadline = self.config.open_timeout.map(|span| now + span);
        self.opening = Some(Opening { call, deadline, reply: None });
        self.attempts.begin();
        // What was advised to a session that its user closed is no advice to this one: never to connect again, say.
        self.advised.begin(Advice::default());
        self.credentials.begin();
        self.had_session = false;
        self.transports.reset();
        self.servers.begin_at(from.as_ref().map_or(0, SessionSnapshot::server));
        if let Some(snapshot) = from {
            return self.resume_session(&snapshot, now);
        }
        self.start_handshake(Duration::ZERO, now);
        Next::Nothing
    }

    pub(super) fn close(&mut self, call: CallId, now: Time) {
        let deadline = now + self.config.close_timeout;
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Closed => {
                self.outbox.resolve(Some(call), Ok(Self::synthetic(Channel::DISCONNECT, None)));
            }
            Phase::Closing(mut closing) => {
                closing.calls.push(call);
                self.phase = Phase::Closing(closing);
            }
            Phase::Established(mut session) if session.flow != Flow::Unconnected => {
                session.connect.plan_none();
                self.phase =
                    Phase::Closing(Closing { session, calls: vec![call], deadline, confirmed: false });
                self.enqueue_disconnect(now);
            }
            // The server cannot be reached.
            phase => {
                self.phase = phase;
                self.end(&CloseReason::Requested, vec![call]);
            }
        }
    }

    /// The caller does not wait any more.
    pub(super) fn forget(&mut self, call: CallId) -> Next {
        if self.opening.as_ref().is_some_and(|opening| opening.call == call) {
            return Next::Terminate(CloseReason::Requested);
        }
        self.forget_call(call);
        Next::Nothing
    }

    /// Does what a step below has left to be done.
    pub(super) fn follow(&mut self, next: Next, now: Time) {
        match next {
            Next::Nothing => {}
            Next::Rehandshake(cause) => self.rehandshake(cause, now),
            Next::Terminate(reason) => self.terminate(&reason),
        }
    }

    /// The session is lost at the server: asks for another.
    fn rehandshake(&mut self, cause: LostCause, now: Time) {
        if self.established().is_none() {
            return;
        }
        self.abandon_connect();
        self.lost(now, &cause);
        self.void_subscription_requests();
        self.fail_accepted(now);
        let Some(session) = self.established() else { return };
        // A session that never had a successful connect was lost at once: to ask again without a pause would be a
        // loop, and to ask with the same cookies may have the same result.
        if !session.connect.was_ever_proven() {
            self.outbox.reset_cookies();
            let next = self.attempt_failed(cause, Then::Handshake, now);
            return self.follow(next, now);
        }
        let delay = self.attempts.pause_after_relapses().max(self.advised.interval().unwrap_or_default());
        if !delay.is_zero() {
            let failures = self.attempts.failures();
            self.outbox.event(Event::Retrying { delay, failures, cause });
        }
        self.start_handshake(delay, now);
    }

    /// Leaves the session for a new one if events may have been lost that the server can replay, or if a receiver is to begin at a
    /// position that this session cannot begin at. In this session, the events that still come would count as newer than those.
    pub(super) fn replay_in_new_session(&mut self, now: Time) {
        // A failed attempt is decided about first.
        let Some(session) = self.established().filter(|_| self.undecided.is_none()) else { return };
        let is_needed = session.anew || (session.gap && self.replays.covers_any());
        if !is_needed {
            return;
        }
        // The pause after a failure stays.
        let planned = session.connect.waits_until().map(|at| at.since(now)).unwrap_or_default();
        let why = "events that may have been missed are replayed in a new session";
        if self.may_have_socket() {
            self.cut(why, true, now);
        } else {
            self.abandon_connect();
            self.lost(now, &LostCause::Transport(Failure::new(FailureKind::Lost, why)));
        }
        self.void_subscription_requests();
        self.fail_accepted(now);
        let relapses = self.attempts.pause_after_relapses();
        let delay = planned.max(relapses).max(self.advised.interval().unwrap_or_default());
        self.start_handshake(delay, now);
    }

    /// Ends the session: every call ends, everything is closed.
    pub(super) fn terminate(&mut self, reason: &CloseReason) {
        match &mut self.phase {
            Phase::Closed => {}
            Phase::Closing(closing) => {
                let calls = std::mem::take(&mut closing.calls);
                self.end(&CloseReason::Requested, calls);
            }
            Phase::Opening(_) | Phase::Established(_) => self.end(reason, Vec::new()),
        }
    }

    /// Ends the session. `closers` are the calls that asked for it.
    fn end(&mut self, reason: &CloseReason, closers: Vec<CallId>) {
        let closed = || CallError::Closed(reason.clone());
        for id in self.calls.ids(|_| true) {
            if let Some(request) = self.calls.remove(id) {
                self.outbox.resolve(request.call(), Err(closed()));
            }
        }
        for channel in self.subscriptions.remote() {
            let waiting = self.subscriptions.take_waiting(&channel);
            if !waiting.is_empty() {
                // A subscription whose call fails does not outlive the session, unless it was granted before.
                self.subscriptions.drop_receivers(&channel, &waiting, true);
            }
            for (call, _) in waiting {
                self.outbox.resolve(Some(call), Err(closed()));
            }
        }
        if let Some(opening) = self.opening.take() {
            self.outbox.resolve(Some(opening.call), Err(closed()));
        }
        for call in closers {
            self.outbox.resolve(Some(call), Ok(Self::synthetic(Channel::DISCONNECT, None)));
        }
        if self.may_have_socket() {
            self.outbox.close_websocket(true);
        }
        if !self.transport().is_duplex() {
            for exchange in self.connect_exchange().into_iter().chain(self.handshake_exchange()) {
                self.outbox.cancel(exchange);
            }
        }
        if let Some(exchange) = self.lane.clear() {
            self.outbox.cancel(exchange);
        }
        self.lane = Default::default();
        self.phase = Phase::Closed;
        self.undecided = None;
        self.subscriptions.keep_inbox_only();
        self.keep_all_replays();
        self.credentials.withdraw_question();
        self.outbox.event(Event::Closed(reason.clone()));
    }

    /// The response of an HTTP exchange is in, whole.
    pub(super) fn exchange_ended(&mut self, exchange: ExchangeId, now: Time) -> Next {
        if self.lane.answered(exchange) {
            self.miss_replies(exchange);
        }
        if self.handshake_exchange() == Some(exchange) {
            let failure = self.no_reply("handshake");
            return self.handshake_failed(failure, now);
        }
        if self.connect_exchange() == Some(exchange) {
            let failure = self.no_reply("connect");
            return self.connect_failed(failure, now);
        }
        Next::Nothing
    }

    /// Bytes of a response arrived.
    pub(super) fn progress(&mut self, exchange: ExchangeId, now: Time) {
        self.liveness.received(now);
        self.arrivals.response(exchange, now);
        self.lane.progress(exchange, now + self.config.request_timeout);
    }

    pub(super) fn exchange_failed(&mut self, exchange: ExchangeId, failure: Failure, now: Time) -> Next {
        self.lane.release(exchange);
        if self.handshake_exchange() == Some(exchange) {
            return self.handshake_failed(failure, now);
        }
        if self.connect_exchange() == Some(exchange) {
            return self.connect_failed(failure, now);
        }
        if !failure.is_before_sending() {
            self.unread();
        }
        self.fail_exchange(exchange, failure, now);
        Next::Nothing
    }

    /// When the next ping is due, or the answer to the last one overdue. Over HTTP the held connect shows as much.
    pub(super) fn next_ping(&self, session: &Established) -> Option<Time> {
        let watched = self.transport().is_duplex()
            && session.flow == Flow::Connected
            && session.connect.trial().is_none();
        if watched { self.liveness.next_check() } else { None }
    }

    /// Sends a ping, or gives up a transport that did not answer the last one.
    pub(super) fn check_liveness(&mut self, now: Time) {
        if self.established().is_none_or(|session| self.next_ping(session).is_none()) {
            return;
        }
        match self.liveness.check(now) {
            None => {}
            Some(Check::Ping) => self.outbox.ping(),
            Some(Check::Silent(waited)) => {
                let failure = self.silence("ping", waited);
                self.give_up_transport(&failure, now);
            }
        }
    }

    /// Closes a transport that does not answer. What was on it has failed.
    pub(super) fn give_up_transport(&mut self, failure: &Failure, now: Time) {
        let next = if self.transport().is_duplex() {
            self.outbox.close_websocket(false);
            self.transport_lost(failure, now)
        } else {
            self.connect_failed(failure.clone(), now)
        };
        self.follow(next, now);
    }

    /// The WebSocket is lost, and all that was on it.
    pub(super) fn transport_lost(&mut self, failure: &Failure, now: Time) -> Next {
        if !self.transport().is_duplex() {
            return Next::Nothing;
        }
        self.outbox.withdraw_frames();
        if self.session().is_none_or(|session| session.connect.trial().is_none()) {
            self.fail_frames(failure, now);
        }
        match &self.phase {
            Phase::Closed => Next::Nothing,
            Phase::Closing(_) => {
                let channel = Channel::from_wire(Channel::DISCONNECT);
                let (failure, delay) = (failure.clone(), Duration::ZERO);
                self.outbox.event(Event::RequestFailed { channel, failure, messages: 1, repeated: 0, delay });
                Next::Terminate(CloseReason::Requested)
            }
            Phase::Opening(handshake) if handshake.outstanding().is_some() => {
                self.handshake_failed(failure.clone(), now)
            }
            Phase::Opening(_) => Next::Nothing,
            Phase::Established(session) => {
                // A pause between attempts is not cut short by the end of a socket that was of no use anyway.
                let connect = &session.connect;
                let pausing = session.flow == Flow::Unconnected
                    && (connect.waits_until().is_some() || connect.needs_credentials());
                if pausing { Next::Nothing } else { self.connect_failed(failure.clone(), now) }
            }
        }
    }

    /// The user knows that the connection is of no use any more, or that waiting is over.
    pub(super) fn reconnect(&mut self, now: Time) -> Next {
        match &mut self.phase {
            Phase::Closed | Phase::Closing(_) => {}
            Phase::Opening(handshake) => {
                if handshake.is_waiting() {
                    handshake.wait_until(now);
                    self.undecided = None;
                }
            }
            Phase::Established(_) => {
                self.cut("the connection is made anew, as asked for", false, now);
                self.connect_at(now);
            }
        }
        Next::Nothing
    }

    /// Gives the connection up, but not the session.
    fn cut(&mut self, why: &str, graceful: bool, now: Time) {
        let duplex = self.transport().is_duplex();
        let lane = self.lane.clear();
        let Phase::Established(session) = &mut self.phase else { return };
        let failure = Failure::new(FailureKind::Lost, why);
        // Over a WebSocket events come at any time; over HTTP they come with replies.
        let awaited = duplex || session.connect.outstanding().is_some() || lane.is_some();
        session.gap |= session.window.batch().is_none() && awaited;
        self.undecided = None;
        self.abandon_connect();
        self.abandon_trial(now);
        if self.transport().is_duplex() {
            self.outbox.close_websocket(graceful);
        }
        if let Some(exchange) = lane {
            self.outbox.cancel(exchange);
        }
        let sent = self.calls.sent();
        self.fail_requests(&sent, &failure, now);
        self.lost(now, &LostCause::Transport(failure));
        self.disconnect();
    }

    /// An extension of the user's vetoed a message.
    pub(super) fn vetoed(&mut self, message: &Message, reason: &str, now: Time) -> Next {
        let failure = || {
            let text = format!("an extension vetoed the message on {}: {reason}", message.channel());
            Failure::new(FailureKind::Lost, text)
        };
        if let Phase::Opening(handshake) = &self.phase
            && handshake.outstanding().is_some_and(|pending| pending.is(message))
        {
            return Next::Terminate(CloseReason::Failed(failure()));
        }
        if let Some(session) = self.session()
            && session.connect.outstanding().is_some_and(|pending| pending.is(message))
        {
            return self.connect_failed(failure(), now);
        }
        if let Some(id) = message.id().and_then(|id| id.number()) {
            let exchange = self.calls.get(id).and_then(|request| request.exchange());
            self.veto(id, reason, now);
            if let Some(exchange) = exchange
                && self.calls.of_exchange(exchange).is_empty()
            {
                self.lane.release(exchange);
            }
        }
        Next::Nothing
    }

    /// Credentials came, or could not be obtained.
    pub(super) fn credentials(&mut self, outcome: Result<Map<String, Value>, String>, now: Time) -> Next {
        const WHY: &str = "the WebSocket is reopened with new credentials";
        let (given, outcome) = match outcome {
            Ok(ext) => (Some(ext), Ok(())),
            Err(text) => (None, Err(text)),
        };
        let Some(renewed) = self.credentials.answered(given) else { return Next::Nothing };
        let duplex = self.transport().is_duplex();
        match &outcome {
            // An open socket keeps the headers it was opened with.
            Ok(()) if renewed && duplex => match &mut self.phase {
                Phase::Opening(_) => {
                    self.outbox.close_websocket(true);
                    self.fail_frames(&Failure::new(FailureKind::Lost, WHY), now);
                    if let Phase::Opening(handshake) = &mut self.phase
                        && handshake.outstanding().is_some()
                    {
                        handshake.wait_until(now);
                    }
                }
                Phase::Established(session) => {
                    let planned = session.connect.waits_until().unwrap_or(now);
                    self.cut(WHY, true, now);
                    let pause = self.attempts.pause_after_relapses();
                    self.connect_at(planned.max(now + pause));
                }
                Phase::Closing(_) | Phase::Closed => {}
            },
            Ok(()) => {}
            Err(text) => self.fail_refused(text, now),
        }
        let next = self.handshake_with_credentials(&outcome, now);
        self.follow(next, now);
        self.connect_with_credentials(&outcome, now)
    }

    /// Why nothing is sent although nothing failed: the server asked for a pause before the next connect.
    fn advised_silence(&self) -> Option<LostCause> {
        let session = self.established()?;
        session.connect.waits_until()?;
        let Some(Interval::Wait(advised)) = self.advised.advice().interval else { return None };
        let used = self.advised.interval()?;
        let mut text = format!(
            "{} granted the session and advised to wait {} before the next connect",
            self.servers.name(),
            spoken(advised)
        );
        if used < advised {
            text = format!("{text}; max_advised_wait reduces that to {}", spoken(used));
        }
        Some(LostCause::Transport(Failure::new(FailureKind::Timeout, text)))
    }

    /// Ends an opening that takes too long.
    pub(super) fn expire_opening(&mut self) {
        let after = self.config.open_timeout.unwrap_or_default();
        let last = self.attempts.last_cause().cloned().or_else(|| self.advised_silence());
        let last = last.map(Box::new);
        self.terminate(&CloseReason::OpenTimeout { after, last });
    }
}

/// A wait for people, who cannot read a large number of seconds.
fn spoken(wait: Duration) -> String {
    const DAY: f64 = 86_400.0;
    match wait.as_secs_f64() {
        seconds if seconds >= 2.0 * DAY => format!("{:.0} days", seconds / DAY),
        seconds if seconds >= 7_200.0 => format!("{:.0} h", seconds / 3_600.0),
        _ => format!("{wait:.1?}"),
    }
}
