//! The session as a whole: what goes in, what comes out, and when to call again.

use super::ack::Place;
use super::cause::LostCause;
use super::config::Config;
use super::contract::{CallId, ExchangeId, Input, Operation, Output};
use super::core::{Auth, Closing, ConnectStage, Core, Handshake, LaneState, Next, Opening};
use super::event::{Event, State};
use super::failure::{Failure, FailureKind};
use super::outcome::{CallError, CloseReason};
use super::requests::Kind;
use super::snapshot::SessionSnapshot;
use crate::advice::Advice;
use crate::channel::{Channel, ChannelKind};
use crate::connection_type::ConnectionType;
use crate::message::{Message, Subscription};
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
                self.arriving(now);
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
        // What names no channel answers what nothing else in the response does.
        messages.sort_by_key(|message| message.channel().as_str().is_empty());
        // The events behind the word that ends the session are the last that come.
        let mut end = None;
        for message in messages {
            match self.message(exchange, message, now) {
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

    fn message(&mut self, exchange: Option<ExchangeId>, message: Message, now: Time) -> Next {
        if let Some(advice) = &message.fields().advice {
            let mut known = self.core.advice.clone();
            known.merge(advice);
            if known != self.core.advice {
                self.core.advice = known.clone();
                self.core.event(Event::AdviceChanged(known));
            }
        }
        match message.channel().kind() {
            ChannelKind::Meta => self.meta(exchange, message, now),
            ChannelKind::Service | ChannelKind::Broadcast if message.channel().as_str().is_empty() => {
                self.without_channel(exchange, &message, now)
            }
            ChannelKind::Service | ChannelKind::Broadcast => self.application(exchange, message, now),
        }
    }

    fn meta(&mut self, exchange: Option<ExchangeId>, message: Message, now: Time) -> Next {
        match message.channel().as_str() {
            Channel::HANDSHAKE => self.core.handshake_reply(exchange, message, now),
            Channel::CONNECT => self.core.connect_reply(exchange, message, now),
            Channel::DISCONNECT if message.id().is_none() && self.core.state != State::Disconnecting => {
                Next::Terminate(CloseReason::Server(Box::new(message)))
            }
            Channel::DISCONNECT | Channel::SUBSCRIBE | Channel::UNSUBSCRIBE => {
                match self.request_of(&message) {
                    Some(id) => self.core.reply(id, message, now),
                    None => Next::Nothing,
                }
            }
            other => {
                let what = format!("a message on {other}, which is no channel of the protocol");
                self.core.event(Event::Ignored { what });
                Next::Nothing
            }
        }
    }

    /// The request that a reply answers: by its id, or, since some servers leave the id out, the oldest that fits.
    fn request_of(&self, reply: &Message) -> Option<u64> {
        let requests = &self.core.requests;
        if let Some(id) = reply.id() {
            let id = id.number()?;
            return requests
                .get(id)
                .filter(|request| request.message.channel() == reply.channel())
                .map(|_| id);
        }
        let name = match &reply.fields().subscription {
            Some(Subscription::One(name)) => Some(Channel::from_wire(name)),
            _ => None,
        };
        requests.oldest(|request| {
            let about = match &request.kind {
                Kind::Subscribe(channel) | Kind::Unsubscribe(channel) => Some(channel),
                Kind::Publish | Kind::Service | Kind::Disconnect => None,
            };
            request.exchange.is_some()
                && request.message.channel() == reply.channel()
                && (name.is_none() || name.as_ref() == about)
        })
    }

    /// A message on a channel of the application: an event, or the reply to a publish, which has no data.
    fn application(&mut self, exchange: Option<ExchangeId>, message: Message, now: Time) -> Next {
        // Replies without data are no part of what the server keeps for us.
        let kept = message.has_data() || message.fields().successful.is_none();
        let place = if kept { self.core.place(exchange) } else { None };
        if kept {
            self.core.not_idle(now);
        }
        let seen = matches!(place, Some(Place::Again(_)));
        let is_reply = if seen {
            false
        } else if message.has_data() {
            // Services answer with data; anything else that carries data and grants nothing is an event.
            message.channel().is_service() || message.fields().successful.is_some()
        } else {
            message.id().is_some() || message.fields().successful.is_some()
        };
        if is_reply {
            let request = self.request_of(&message).filter(|id| {
                let kind = self.core.requests.get(*id).map(|request| &request.kind);
                !message.has_data() || kind == Some(&Kind::Service) || message.fields().successful.is_some()
            });
            if let Some(id) = request {
                return self.core.reply(id, message, now);
            }
            if !message.has_data() {
                return Next::Nothing;
            }
        }
        self.core.count_handshake_event(now);
        self.core.deliver(message, place);
        Next::Nothing
    }

    /// A message that names no channel. Salesforce refuses so: `{"error":"401::…","successful":false}`; it answers
    /// whatever it came in response to.
    fn without_channel(&mut self, exchange: Option<ExchangeId>, message: &Message, now: Time) -> Next {
        let what = match &message.fields().error {
            Some(error) => format!("a message without channel: {error}"),
            None => "a message without channel".to_owned(),
        };
        self.core.event(Event::Ignored { what });
        if message.fields().successful.is_none() && message.fields().error.is_none() {
            return Next::Nothing;
        }
        let with_channel = |channel: &Channel| {
            let mut reply = message.clone();
            reply.set_channel(channel.clone());
            reply
        };
        let handshake =
            matches!(self.core.handshake, Handshake::Sent(sent) if Some(sent.exchange) == exchange);
        let connect =
            matches!(self.core.connect.stage, ConnectStage::Sent(sent) if Some(sent.exchange) == exchange);
        if handshake {
            let reply = with_channel(&Channel::from_wire(Channel::HANDSHAKE));
            return self.core.handshake_reply(exchange, reply, now);
        }
        if connect {
            let reply = with_channel(&Channel::from_wire(Channel::CONNECT));
            return self.core.connect_reply(exchange, reply, now);
        }
        let ids = match (message.id().and_then(|id| id.number()), exchange) {
            (Some(id), _) => vec![id],
            (None, Some(exchange)) => self.core.requests.of_exchange(exchange),
            (None, None) => Vec::new(),
        };
        for id in ids {
            let Some(channel) = self.core.requests.get(id).map(|request| request.message.channel().clone())
            else {
                continue;
            };
            let next = self.core.reply(id, with_channel(&channel), now);
            self.follow(next, now);
        }
        Next::Nothing
    }

    /// The response of an HTTP exchange is in, whole.
    fn exchange_ended(&mut self, exchange: ExchangeId, now: Time) -> Next {
        let core = &mut self.core;
        if core.lane.busy == Some(exchange) {
            core.lane = LaneState::default();
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

    /// A frame is arriving, and whatever is waited for may be in it or behind it.
    fn arriving(&mut self, now: Time) {
        let core = &mut self.core;
        let span = core.config.request_timeout;
        // Deadlines are put off in steps, because each step touches all that waits.
        let step = now.since(core.last_received) >= span / 8;
        core.heard(now);
        if !step {
            return;
        }
        if let ConnectStage::Sent(sent) = &mut core.connect.stage {
            sent.deadline = sent.deadline.max(now + span);
        }
        if let Handshake::Sent(sent) = &mut core.handshake {
            sent.deadline = sent.deadline.max(now + span);
        }
        for id in core.requests.awaited() {
            core.requests.extend(id, now + span);
        }
    }

    fn progress(&mut self, exchange: ExchangeId, now: Time) {
        let core = &mut self.core;
        core.heard(now);
        let deadline = now + core.config.request_timeout;
        if core.lane.busy == Some(exchange) {
            core.lane.look_at = deadline;
        }
        if let ConnectStage::Sent(sent) = &mut core.connect.stage
            && sent.exchange == exchange
        {
            sent.deadline = sent.deadline.max(deadline);
        }
        if let Handshake::Sent(sent) = &mut core.handshake
            && sent.exchange == exchange
        {
            sent.deadline = sent.deadline.max(deadline);
        }
        for id in core.requests.of_exchange(exchange) {
            core.requests.extend(id, deadline);
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
            core.response_missed();
        }
        let ids = core.requests.of_exchange(exchange);
        core.fail_requests(&ids, &failure, now);
        core.rest_lane(now);
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
            // What went out over HTTP before a change of transports is not on this socket.
            let elsewhere = core.lane.busy.map(|busy| core.requests.of_exchange(busy)).unwrap_or_default();
            let mut sent = core.requests.sent();
            sent.retain(|id| !elsewhere.contains(id));
            core.fail_requests(&sent, failure, now);
        }
        match self.core.state {
            State::Disconnected => Next::Nothing,
            State::Disconnecting => Next::Terminate(CloseReason::Requested),
            State::Handshaking if matches!(self.core.handshake, Handshake::Sent(_)) => {
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
                State::Handshaking => core.emit(Output::CloseWebSocket { graceful: true }),
                State::Connecting | State::Connected | State::Unconnected => {
                    let planned = match core.connect.stage {
                        ConnectStage::Waiting(at) => at,
                        _ => now,
                    };
                    self.cut("the WebSocket is reopened with new credentials", true, now);
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
