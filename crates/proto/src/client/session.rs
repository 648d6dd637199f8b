//! The session as a whole: what goes in, what comes out, and when to call again.

use super::cause::LostCause;
use super::config::Config;
use super::contract::{CallId, ExchangeId, Input, Operation, Output};
use super::core::{Auth, Closing, ConnectStage, Core, Handshake, LaneState, Next, Opening};
use super::event::{Event, State};
use super::failure::{Failure, FailureKind};
use super::outcome::{CallError, CloseReason};
use super::snapshot::SessionSnapshot;
use super::subscriptions::SubscriptionChanges;
use crate::advice::Advice;
use crate::channel::Channel;
use crate::connection_type::ConnectionType;
use crate::message::Message;
use crate::time::Time;

/// A client's session with a server, from the first handshake to the last disconnect and over any number of
/// re-handshakes between them. It does no I/O and knows no clock.
///
/// After each [`handle`](Session::handle) take all outputs from [`poll_output`](Session::poll_output), then wait for
/// the next input, until [`poll_timeout`](Session::poll_timeout) at the latest, and then hand in [`Input::Timeout`].
#[derive(Debug)]
pub struct Session {
    core: Core,
}

impl Session {
    /// A session that is not open yet.
    pub fn new(config: Config) -> Self {
        Self { core: Core::new(config) }
    }

    /// Where the session stands.
    pub fn state(&self) -> State {
        self.core.state
    }

    /// The transport in use, or to be used.
    pub fn transport(&self) -> ConnectionType {
        self.core.transport()
    }

    /// The server in use, or to be used: 0 is the one that the session is configured with, others are its fallbacks.
    pub fn server(&self) -> usize {
        self.core.servers.current()
    }

    /// Since when messages do not flow, if they should.
    pub fn lost_since(&self) -> Option<Time> {
        self.core.lost_since
    }

    /// When the server was last heard of; `None` before that.
    pub fn last_received(&self) -> Option<Time> {
        Some(self.core.last_received).filter(|at| *at > Time::ZERO)
    }

    /// What must be remembered to go on with the session elsewhere; `None` when there is none. With `goes_on` the
    /// session is not left now: whoever resumes it later may get events again that this one gets meanwhile.
    pub fn snapshot(&self, goes_on: bool) -> Option<SessionSnapshot> {
        self.core.snapshot(goes_on)
    }

    /// How many calls wait for their reply.
    pub fn pending(&self) -> usize {
        self.core.requests.len()
    }

    /// The subscriptions that the server granted and that are still wanted.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Channel> {
        self.core.subscriptions.current()
    }

    /// A number that changes whenever [`Session::subscriptions`] may have.
    pub fn subscriptions_version(&self) -> u64 {
        self.core.subscriptions.version()
    }

    /// Which of [`Session::subscriptions`] may have changed since this was asked for: cheaper to follow than to read
    /// all of them.
    pub fn take_subscription_changes(&mut self) -> SubscriptionChanges {
        self.core.subscriptions.take_changes()
    }

    /// The next thing to do. Calls that were handed in together go out together: they are put into payloads only
    /// when nothing else is left to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.core.next_output() {
            return Some(output);
        }
        self.core.flush(self.core.now);
        self.core.next_output()
    }

    /// When to call again at the latest.
    pub fn poll_timeout(&self) -> Option<Time> {
        let core = &self.core;
        let connect = match core.connect.stage {
            ConnectStage::Waiting(at) if !core.auth.asking => Some(at),
            ConnectStage::Sent(sent) => Some(sent.deadline),
            _ => None,
        };
        let handshake = match core.handshake {
            Handshake::Waiting(at) => Some(at),
            Handshake::Sent(sent) => Some(sent.deadline),
            Handshake::Idle | Handshake::NeedsCredentials => None,
        };
        let request = core.requests.next_deadline().map(|(at, _)| at);
        let retry =
            if core.client_id.is_some() { core.subscriptions.next_retry().map(|(at, _)| at) } else { None };
        let opening = core.opening.as_ref().and_then(|opening| opening.deadline);
        let closing = core.closing.as_ref().map(|closing| closing.deadline);
        let rest = core.lane.rest_until.filter(|until| *until > core.now && core.requests.len() > 0);
        let lane = core.lane.busy.map(|_| core.lane.look_at);
        let ping = core.next_ping();
        [connect, handshake, request, retry, opening, closing, rest, lane, ping].into_iter().flatten().min()
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, input: Input, now: Time) {
        self.core.now = now;
        let next = match input {
            Input::Call(call, Operation::Open) => self.open(call, None, now),
            Input::Call(call, Operation::Resume(snapshot)) => self.open(call, Some(*snapshot), now),
            Input::Call(call, Operation::Suspend) => self.core.suspend(call),
            Input::Call(call, Operation::Close) => self.close(call, now),
            Input::Call(call, operation) => {
                let group = self.core.requests.group();
                self.core.call(call, operation, group, now);
                Next::Nothing
            }
            Input::Batch(calls) => {
                let group = self.core.requests.group();
                for (call, operation) in calls {
                    self.core.call(call, operation, group, now);
                }
                Next::Nothing
            }
            Input::Forget(call) => self.forget(call),
            Input::Received { exchange, messages } => {
                self.received(exchange, messages, now);
                Next::Nothing
            }
            Input::Progress(exchange) => {
                self.progress(exchange, now);
                Next::Nothing
            }
            Input::ExchangeFailed(exchange, failure) => self.exchange_failed(exchange, failure, now),
            Input::TransportLost(failure) => self.transport_lost(&failure, now),
            Input::Vetoed { message, reason } => self.vetoed(&message, &reason, now),
            Input::Credentials(outcome) => self.credentials(outcome, now),
            Input::Arriving => {
                self.core.heard(now);
                self.core.arrivals.part(now);
                Next::Nothing
            }
            Input::Alive => {
                self.core.heard(now);
                Next::Nothing
            }
            Input::Room(sink, room) => {
                self.core.room(sink, room, now);
                Next::Nothing
            }
            Input::Reconnect => self.reconnect(now),
            Input::Timeout => Next::Nothing,
        };
        self.follow(next, now);
        self.advance(now);
    }

    /// Does what the parts left to be done.
    fn follow(&mut self, next: Next, now: Time) {
        match next {
            Next::Nothing => {}
            Next::Rehandshake(cause) => self.rehandshake(cause, now),
            Next::Terminate(reason) => {
                let reason =
                    if self.core.state == State::Disconnecting { CloseReason::Requested } else { reason };
                self.core.terminate(&reason);
            }
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Time) {
        let expired = self.core.expire_handshake(now).map(|failure| self.core.handshake_failed(failure, now));
        self.follow(expired.unwrap_or(Next::Nothing), now);
        if let Some(failure) = self.core.expire_connect(now) {
            self.give_up_transport(&failure, now);
        }
        if let Some(failure) = self.core.ping(now) {
            self.give_up_transport(&failure, now);
        }
        if self.core.expire_requests(now) {
            let failure = self.core.silence("last message", self.core.config.request_timeout);
            self.give_up_transport(&failure, now);
        }
        self.core.free_lane(now);
        if self.core.opening.as_ref().is_some_and(|opening| opening.deadline.is_some_and(|at| at <= now)) {
            let after = self.core.config.open_timeout.unwrap_or_default();
            let last = self.core.last_cause.clone().map(Box::new);
            self.core.terminate(&CloseReason::OpenTimeout { after, last });
        }
        let closed = self.core.closing.as_ref().is_some_and(|closing| {
            let connect_is_out = matches!(self.core.connect.stage, ConnectStage::Sent(_));
            closing.deadline <= now || (closing.confirmed && !connect_is_out)
        });
        if closed {
            self.core.terminate(&CloseReason::Requested);
        }
        if self.core.client_id.is_some() {
            self.core.retry_subscriptions(now);
        }
        self.core.announce_connected();
        self.core.send_due_handshake(now);
        self.core.send_due_connect(now);
    }

    fn open(&mut self, call: CallId, from: Option<SessionSnapshot>, now: Time) -> Next {
        let core = &mut self.core;
        if core.state != State::Disconnected {
            core.resolve(Some(call), Err(CallError::AlreadyOpen));
            return Next::Nothing;
        }
        core.opening = Some(Opening { call, deadline: core.config.open_timeout.map(|span| now + span) });
        core.recovered();
        core.lapses = 0;
        core.lost_since = None;
        core.last_cause = None;
        core.handshake_reply = None;
        // What was advised to a session that its user closed is no advice to this one: never to connect again, say.
        core.advice = Advice::default();
        // Credentials that were never accepted are asked for anew.
        if core.auth.unproven {
            core.auth = Auth::default();
        }
        core.had_session = false;
        core.transports.reset();
        core.servers.begin_at(from.as_ref().map_or(0, SessionSnapshot::server));
        if let Some(snapshot) = from {
            return core.resume_session(&snapshot, now);
        }
        core.start_handshake(std::time::Duration::ZERO, now);
        Next::Nothing
    }

    fn close(&mut self, call: CallId, now: Time) -> Next {
        let core = &mut self.core;
        if let Some(closing) = &mut core.closing {
            closing.calls.push(call);
            return Next::Nothing;
        }
        if core.state == State::Disconnected {
            core.resolve(Some(call), Ok(Core::synthetic(Channel::DISCONNECT, None)));
            return Next::Nothing;
        }
        let deadline = now + core.config.close_timeout;
        core.closing = Some(Closing { calls: vec![call], deadline, confirmed: false });
        let reachable = core.client_id.is_some() && core.state != State::Unconnected;
        if !reachable {
            return Next::Terminate(CloseReason::Requested);
        }
        core.state = State::Disconnecting;
        core.enqueue_disconnect(now);
        if !matches!(core.connect.stage, ConnectStage::Sent(_)) {
            core.connect.stage = ConnectStage::Idle;
        }
        Next::Nothing
    }

    fn forget(&mut self, call: CallId) -> Next {
        if self.core.opening.as_ref().is_some_and(|opening| opening.call == call) {
            return Next::Terminate(CloseReason::Requested);
        }
        self.core.forget(call);
        Next::Nothing
    }

    fn rehandshake(&mut self, cause: LostCause, now: Time) {
        let core = &mut self.core;
        if matches!(core.state, State::Disconnected | State::Handshaking | State::Disconnecting) {
            return;
        }
        core.abandon_connect();
        core.lost(now, &cause);
        core.void_subscription_requests();
        core.fail_accepted(now);
        // A session that never got to a connect was lost at once: to ask again without a pause would be a loop, and
        // to ask with the same cookies may be the same again.
        let delay = if core.connect.session_proven {
            core.pause_after_relapses().max(core.interval().unwrap_or_default())
        } else {
            core.emit(Output::ResetCookies);
            match core.attempt_failed(&cause, now) {
                Ok(delay) => delay,
                Err(reason) => return core.terminate(&reason),
            }
        };
        if !delay.is_zero() {
            let failures = core.failures;
            core.event(Event::Retrying { delay, failures, cause });
        }
        core.start_handshake(delay, now);
    }

    fn received(&mut self, exchange: Option<ExchangeId>, mut messages: Vec<Message>, now: Time) {
        if self.core.state == State::Disconnected {
            return;
        }
        self.core.heard(now);
        if exchange.is_none() {
            self.core.arrivals.frame(now);
        }
        // What names no channel answers what nothing else in the response does.
        messages.sort_by_key(|message| message.channel().as_str().is_empty());
        // The events behind the word that ends the session are the last that come.
        let mut end = None;
        for message in self.core.deliver_run(exchange, messages, now) {
            match self.core.message(exchange, message, now) {
                last @ Next::Terminate(_) => drop(end.get_or_insert(last)),
                next if end.is_none() => self.follow(next, now),
                _ => {}
            }
        }
        if let Some(end) = end {
            return self.follow(end, now);
        }
        if let Some(exchange) = exchange {
            let next = self.exchange_ended(exchange, now);
            self.follow(next, now);
        }
    }

    /// The response of an HTTP exchange is in, whole.
    fn exchange_ended(&mut self, exchange: ExchangeId, now: Time) -> Next {
        let core = &mut self.core;
        if core.lane.busy == Some(exchange) {
            core.lane = LaneState::default();
            core.miss_replies(exchange);
        }
        if matches!(core.handshake, Handshake::Sent(sent) if sent.exchange == exchange) {
            let failure = core.no_reply("handshake");
            return core.handshake_failed(failure, now);
        }
        if matches!(core.connect.stage, ConnectStage::Sent(sent) if sent.exchange == exchange) {
            let failure = core.no_reply("connect");
            return core.connect_failed(failure, now);
        }
        Next::Nothing
    }

    /// Bytes of a response are arriving.
    fn progress(&mut self, exchange: ExchangeId, now: Time) {
        let core = &mut self.core;
        core.heard(now);
        core.arrivals.response(exchange, now);
        if core.lane.busy == Some(exchange) {
            core.lane.look_at = now + core.config.request_timeout;
        }
    }

    fn exchange_failed(&mut self, exchange: ExchangeId, failure: Failure, now: Time) -> Next {
        let core = &mut self.core;
        if core.lane.busy == Some(exchange) {
            core.lane.busy = None;
        }
        if matches!(core.handshake, Handshake::Sent(sent) if sent.exchange == exchange) {
            return core.handshake_failed(failure, now);
        }
        if matches!(core.connect.stage, ConnectStage::Sent(sent) if sent.exchange == exchange) {
            return core.connect_failed(failure, now);
        }
        if !failure.is_before_sending() {
            core.unread();
        }
        core.fail_exchange(exchange, failure, now);
        Next::Nothing
    }

    /// A transport that does not answer is closed, and what was on it has failed.
    fn give_up_transport(&mut self, failure: &Failure, now: Time) {
        let next = if self.core.transport().is_duplex() {
            self.core.emit(Output::CloseWebSocket { graceful: false });
            self.transport_lost(failure, now)
        } else {
            self.core.connect_failed(failure.clone(), now)
        };
        self.follow(next, now);
    }

    /// The WebSocket is gone, and all that was on it.
    fn transport_lost(&mut self, failure: &Failure, now: Time) -> Next {
        let core = &mut self.core;
        if !core.transport().is_duplex() {
            return Next::Nothing;
        }
        core.withdraw_frames();
        if core.connect.trial.is_none() {
            core.fail_frames(failure, now);
        }
        match core.state {
            State::Disconnected => Next::Nothing,
            State::Disconnecting => {
                let channel = Channel::from_wire(Channel::DISCONNECT);
                let (failure, delay) = (failure.clone(), std::time::Duration::ZERO);
                core.event(Event::RequestFailed { channel, failure, messages: 1, repeated: 0, delay });
                Next::Terminate(CloseReason::Requested)
            }
            State::Handshaking if matches!(core.handshake, Handshake::Sent(_)) => {
                self.core.handshake_failed(failure.clone(), now)
            }
            State::Handshaking => Next::Nothing,
            State::Connecting | State::Connected | State::Unconnected => {
                // A pause between attempts is not cut short by the end of a socket that was of no use anyway.
                let pausing = self.core.state == State::Unconnected
                    && matches!(
                        self.core.connect.stage,
                        ConnectStage::Waiting(_) | ConnectStage::NeedsCredentials
                    );
                if pausing { Next::Nothing } else { self.core.connect_failed(failure.clone(), now) }
            }
        }
    }

    /// The user knows that the connection is of no use any more, or that waiting is over.
    fn reconnect(&mut self, now: Time) -> Next {
        let core = &mut self.core;
        match core.state {
            State::Disconnected | State::Disconnecting => Next::Nothing,
            State::Handshaking => {
                if let Handshake::Waiting(_) = core.handshake {
                    core.handshake = Handshake::Waiting(now);
                }
                Next::Nothing
            }
            State::Connecting | State::Connected | State::Unconnected => {
                self.cut("the connection is made anew, as asked for", false, now);
                self.core.connect.stage = ConnectStage::Waiting(now);
                Next::Nothing
            }
        }
    }

    /// Gives the connection up, but not the session.
    fn cut(&mut self, why: &str, graceful: bool, now: Time) {
        let core = &mut self.core;
        let failure = Failure::new(FailureKind::Lost, why);
        // Over a WebSocket events come at any time; over HTTP they ride on replies.
        let awaited = core.transport().is_duplex()
            || matches!(core.connect.stage, ConnectStage::Sent(_))
            || core.lane.busy.is_some();
        core.connect.gap |= core.window.batch().is_none() && awaited;
        core.abandon_connect();
        core.abandon_trial(now);
        if core.transport().is_duplex() {
            core.emit(Output::CloseWebSocket { graceful });
        }
        if let Some(exchange) = core.lane.busy.take() {
            core.emit(Output::Cancel(exchange));
        }
        let sent = core.requests.sent();
        core.fail_requests(&sent, &failure, now);
        core.lost(now, &LostCause::Transport(failure));
        core.state = State::Unconnected;
    }

    fn vetoed(&mut self, message: &Message, reason: &str, now: Time) -> Next {
        let core = &mut self.core;
        let answers = |sent: &super::core::Sent| message.id().is_some() && sent.is_answered_by(message);
        let failure = || {
            let text = format!("an extension refused the message on {}: {reason}", message.channel());
            Failure::new(FailureKind::Lost, text)
        };
        if matches!(&core.handshake, Handshake::Sent(sent) if answers(sent)) {
            return Next::Terminate(CloseReason::Failed(failure()));
        }
        if matches!(&core.connect.stage, ConnectStage::Sent(sent) if answers(sent)) {
            return core.connect_failed(failure(), now);
        }
        if let Some(id) = message.id().and_then(|id| id.number()) {
            let exchange = core.requests.get(id).and_then(|request| request.exchange);
            core.veto(id, reason, now);
            if exchange.is_some_and(|exchange| {
                core.requests.of_exchange(exchange).is_empty() && core.lane.busy == Some(exchange)
            }) {
                core.lane.busy = None;
            }
        }
        Next::Nothing
    }

    fn credentials(
        &mut self,
        outcome: Result<serde_json::Map<String, serde_json::Value>, String>,
        now: Time,
    ) -> Next {
        let core = &mut self.core;
        if !std::mem::take(&mut core.auth.asking) {
            return Next::Nothing;
        }
        const WHY: &str = "the WebSocket is reopened with new credentials";
        let renewed = core.auth.generation > 0;
        let outcome = outcome.map(|ext| {
            core.auth.generation += 1;
            core.auth.unproven = true;
            core.auth.renewed = renewed;
            core.auth.ext = ext;
        });
        match &outcome {
            // An open socket keeps the headers it was opened with.
            Ok(()) if renewed && core.transport().is_duplex() => match core.state {
                State::Handshaking => {
                    core.emit(Output::CloseWebSocket { graceful: true });
                    core.fail_frames(&Failure::new(FailureKind::Lost, WHY), now);
                    if matches!(core.handshake, Handshake::Sent(_)) {
                        core.handshake = Handshake::Waiting(now);
                    }
                }
                State::Connecting | State::Connected | State::Unconnected => {
                    let planned = match core.connect.stage {
                        ConnectStage::Waiting(at) => at,
                        _ => now,
                    };
                    self.cut(WHY, true, now);
                    let pause = self.core.pause_after_relapses();
                    self.core.connect.stage = ConnectStage::Waiting(planned.max(now + pause));
                }
                State::Disconnecting | State::Disconnected => {}
            },
            Ok(()) => {}
            Err(text) => core.fail_refused(text, now),
        }
        let next = self.core.handshake_with_credentials(outcome.clone(), now);
        self.follow(next, now);
        self.core.connect_with_credentials(outcome, now)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::client::contract::SinkId;
    use crate::error::BayeuxError;

    /// A session over a WebSocket, and a server that answers each message in a frame of its own.
    struct Served {
        session: Session,
        calls: u64,
        /// The server has forgotten the session, and says so once.
        forgotten: bool,
    }

    impl Served {
        fn open() -> Self {
            let config = Config { transports: vec![ConnectionType::WebSocket], ..Config::default() };
            let mut served = Self { session: Session::new(config), calls: 0, forgotten: false };
            served.call(Operation::Open);
            served
        }

        fn call(&mut self, operation: Operation) {
            self.calls += 1;
            self.handle(Input::Call(CallId(self.calls), operation));
        }

        fn handle(&mut self, input: Input) {
            let mut inputs = VecDeque::from([input]);
            while let Some(input) = inputs.pop_front() {
                self.session.handle(input, Time::ZERO);
                while let Some(output) = self.session.poll_output() {
                    if let Output::Send(transmit) = output {
                        let replies = transmit.messages.iter().filter_map(|message| self.reply(message));
                        let frames: Vec<_> = replies.collect();
                        inputs.extend(
                            frames
                                .into_iter()
                                .map(|reply| Input::Received { exchange: None, messages: vec![reply] }),
                        );
                    }
                }
            }
        }

        fn reply(&mut self, message: &Message) -> Option<Message> {
            let mut reply = Message::new(message.channel().clone());
            reply.set_id(message.id().cloned());
            let fields = reply.fields_mut();
            fields.successful = Some(true);
            match message.channel().as_str() {
                Channel::HANDSHAKE => {
                    fields.client_id = Some(crate::id::ClientId::new("client"));
                    fields.supported_connection_types = Some(vec!["websocket".to_owned()]);
                }
                Channel::CONNECT if std::mem::take(&mut self.forgotten) => {
                    fields.successful = Some(false);
                    fields.error = Some(BayeuxError::parse("402::unknown"));
                }
                // The next is held.
                Channel::CONNECT if message.fields().advice.is_none() => return None,
                _ => {}
            }
            Some(reply)
        }

        fn visits(&self) -> u64 {
            self.session.core.subscriptions.visits()
        }
    }

    /// How many subscriptions are looked at while that many are made, and while they are restored.
    fn work(count: u64) -> [u64; 2] {
        let mut served = Served::open();
        for n in 0..count {
            let channel = Channel::from_wire(&format!("/a/{n}"));
            served.call(Operation::Subscribe { channel, sink: SinkId(n) });
        }
        assert_eq!(served.session.core.subscriptions.current().count() as u64, count);
        let made = served.visits();
        served.forgotten = true;
        served.handle(Input::Reconnect);
        assert!(!served.forgotten);
        assert_eq!(served.session.state(), State::Connected);
        assert_eq!(served.session.core.sessions, 2);
        for n in 0..count {
            let channel = Channel::from_wire(&format!("/a/{n}"));
            served.handle(Input::Forget(CallId(n)));
            served.call(Operation::Unsubscribe { channel, sink: SinkId(n) });
        }
        [made, served.visits() - made]
    }

    #[test]
    fn the_work_for_a_subscription_does_not_grow_with_their_number() {
        for count in [100, 1000] {
            let [made, restored] = work(count);
            assert!(made <= 2 * count, "{count}: {made}");
            assert!(restored <= 10 * count, "{count}: {restored}");
        }
    }
}
