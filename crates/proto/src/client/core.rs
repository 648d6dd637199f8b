//! What a session knows, and the small steps that all its parts share.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value};

use super::ack::Window;
use super::arrivals::Arrivals;
use super::cause::LostCause;
use super::config::Config;
use super::contract::{AuthReason, CallId, ExchangeId, Lane, Output, SinkId, Transmit};
use super::event::{Event, State};
use super::failure::{Failure, FailureKind};
use super::moving::Moving;
use super::outcome::{CallError, CallResult, CloseReason};
use super::requests::Requests;
use super::retry::FailedAttempt;
use super::rooms::Rooms;
use super::servers::Servers;
use super::subscriptions::Subscriptions;
use super::transports::Transports;
use crate::advice::{Advice, Interval};
use crate::channel::Channel;
use crate::connection_type::ConnectionType;
use crate::id::{ClientId, MessageId};
use crate::message::{Message, Subscription};
use crate::time::Time;

/// A success that ends sooner than this was none.
const LASTING: Duration = Duration::from_secs(10);

/// The state of a session. Each part of its behaviour is an `impl` in a file of its own, which may use those below
/// it: `calls`, then `failover`, then `connect`, then `handshake`, then `receiving`, then `session`. What belongs above is
/// returned as [`Next`].
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) state: State,
    pub(super) transports: Transports,
    pub(super) servers: Servers,
    pub(super) advice: Advice,
    pub(super) client_id: Option<ClientId>,
    pub(super) requests: Requests,
    pub(super) subscriptions: Subscriptions,
    pub(super) handshake: Handshake,
    pub(super) handshake_reply: Option<Box<Message>>,
    pub(super) connect: Connect,
    /// What is acknowledged of the events of this session.
    pub(super) window: Window,
    pub(super) rooms: Rooms,
    pub(super) auth: Auth,
    pub(super) opening: Option<Opening>,
    pub(super) closing: Option<Closing>,
    /// Whether there was a session since the client was opened.
    pub(super) had_session: bool,
    /// Counts the sessions that were granted.
    pub(super) sessions: u64,
    /// Attempts that failed in a row, of any kind.
    pub(super) failures: u32,
    /// When the first of them did.
    pub(super) failing_since: Option<Time>,
    /// Successes in a row that did not last.
    pub(super) lapses: u32,
    pub(super) lost_since: Option<Time>,
    pub(super) last_cause: Option<LostCause>,
    pub(super) last_received: Time,
    /// When the ping went out that is not answered yet.
    pub(super) ping_sent: Option<Time>,
    /// What time it is, as far as was told.
    pub(super) now: Time,
    pub(super) lane: LaneState,
    pub(super) moving: Moving,
    pub(super) arrivals: Arrivals,
    pub(super) outputs: VecDeque<Output>,
    random: fastrand::Rng,
    pub(super) last_id: u64,
    last_exchange: u64,
}

/// What a part leaves to the parts above it.
#[derive(Debug)]
#[must_use]
pub(super) enum Next {
    Nothing,
    /// The session is gone at the server: ask for another.
    Rehandshake(LostCause),
    /// It is over.
    Terminate(CloseReason),
}

#[derive(Debug, PartialEq)]
pub(super) enum Handshake {
    Idle,
    /// To be sent then.
    Waiting(Time),
    NeedsCredentials,
    Sent(Sent),
}

#[derive(Debug, PartialEq)]
pub(super) struct Connect {
    pub(super) stage: ConnectStage,
    /// Since when connects succeed; `None` since the last loss.
    pub(super) proven: Option<Time>,
    /// Whether one ever succeeded in this session.
    pub(super) session_proven: bool,
    /// Successful connects in a row that came back at once with nothing.
    pub(super) idle_turns: u32,
    /// Events received since the outstanding connect was sent.
    pub(super) events: bool,
    /// Turns in a row whose batch was not acknowledged, because a receiver had no room for it.
    pub(super) held_turns: u32,
    /// Events that are still to come with the handshake, before the first connect.
    pub(super) handshake_events: u64,
    /// A better transport is being tried; this one works.
    pub(super) trial: Option<ConnectionType>,
    /// Messages may have been lost with the connection, and this was not told yet.
    pub(super) gap: bool,
}

#[derive(Debug, PartialEq)]
pub(super) enum ConnectStage {
    Idle,
    /// To be sent then.
    Waiting(Time),
    NeedsCredentials,
    Sent(Sent),
}

/// A message of the session's own that waits for its reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) id: u64,
    pub(super) exchange: ExchangeId,
    pub(super) at: Time,
    pub(super) deadline: Time,
    /// Which credentials it went out with.
    pub(super) generation: u64,
    /// A connect that asked to be answered at once.
    pub(super) probe: bool,
}

/// The lane for all but connects and handshakes.
#[derive(Debug, Default)]
pub(super) struct LaneState {
    /// The exchange that occupies it, over HTTP.
    pub(super) busy: Option<ExchangeId>,
    /// When it is looked at whether anybody still waits for that exchange: its answer may have come another way.
    pub(super) look_at: Time,
    /// Nothing is sent before then, after exchanges failed.
    pub(super) rest_until: Option<Time>,
    /// Exchanges that failed in a row.
    pub(super) failures: u32,
    /// What the last of them failed with.
    pub(super) last: Option<Failure>,
}

/// What is known of the credentials.
#[derive(Debug, Default)]
pub(super) struct Auth {
    /// Someone is being asked right now.
    pub(super) asking: bool,
    /// Counts the credentials that were given.
    pub(super) generation: u64,
    /// The server accepted nothing yet since they were given.
    pub(super) unproven: bool,
    /// They were given because the server refused others.
    pub(super) renewed: bool,
    pub(super) ext: Map<String, Value>,
}

#[derive(Debug)]
pub(super) struct Opening {
    pub(super) call: CallId,
    pub(super) deadline: Option<Time>,
}

#[derive(Debug)]
pub(super) struct Closing {
    pub(super) calls: Vec<CallId>,
    pub(super) deadline: Time,
    /// The server has confirmed; only the held connect is still out.
    pub(super) confirmed: bool,
}

impl Core {
    pub(super) fn new(config: Config) -> Self {
        Self {
            transports: Transports::new(&config.transports),
            servers: Servers::new(&config.endpoint, &config.fallbacks),
            random: fastrand::Rng::with_seed(config.seed),
            state: State::Disconnected,
            advice: Advice::default(),
            client_id: None,
            requests: Requests::default(),
            subscriptions: Subscriptions::default(),
            handshake: Handshake::Idle,
            handshake_reply: None,
            connect: Connect {
                stage: ConnectStage::Idle,
                proven: None,
                session_proven: false,
                idle_turns: 0,
                events: false,
                held_turns: 0,
                handshake_events: 0,
                trial: None,
                gap: false,
            },
            window: Window::default(),
            rooms: Rooms::default(),
            auth: Auth::default(),
            opening: None,
            closing: None,
            had_session: false,
            sessions: 0,
            failures: 0,
            failing_since: None,
            lapses: 0,
            lost_since: None,
            last_cause: None,
            last_received: Time::ZERO,
            ping_sent: None,
            now: Time::ZERO,
            lane: LaneState::default(),
            moving: Moving::default(),
            arrivals: Arrivals::default(),
            outputs: VecDeque::new(),
            last_id: 0,
            last_exchange: 0,
            config,
        }
    }

    pub(super) fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.emit(Output::Event(event));
    }

    pub(super) fn resolve(&mut self, call: Option<CallId>, result: CallResult) {
        if let Some(call) = call {
            self.emit(Output::Resolve(call, result));
        }
    }

    /// Takes back what was to go out over a socket and is not taken yet: the socket is gone, and another one would be
    /// opened for it, beside the attempt that the loss leads to.
    pub(super) fn withdraw_frames(&mut self) {
        self.outputs
            .retain(|output| !matches!(output, Output::Send(transmit) if transmit.transport.is_duplex()));
    }

    pub(super) fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn new_exchange(&mut self) -> ExchangeId {
        self.last_exchange += 1;
        ExchangeId(self.last_exchange)
    }

    pub(super) fn transport(&self) -> ConnectionType {
        self.transports.current()
    }

    /// Sends on a lane of the current transport, with the session's id on each message.
    pub(super) fn send(&mut self, lane: Lane, exchange: ExchangeId, messages: Vec<Message>) {
        self.send_over(self.transport(), lane, exchange, messages);
    }

    pub(super) fn send_over(
        &mut self,
        transport: ConnectionType,
        lane: Lane,
        exchange: ExchangeId,
        mut messages: Vec<Message>,
    ) {
        if let Some(client_id) = &self.client_id {
            for message in &mut messages {
                message.fields_mut().client_id = Some(client_id.clone());
            }
        }
        let server = self.servers.current();
        self.emit(Output::Send(Transmit { exchange, server, transport, lane, messages }));
    }

    /// The pause that the server asks for between connects; `None` when it wants no more of them.
    pub(super) fn interval(&self) -> Option<Duration> {
        match self.advice.interval {
            None => Some(Duration::ZERO),
            Some(Interval::Wait(span)) => Some(span.min(self.config.max_advised_wait)),
            Some(Interval::Never) => None,
        }
    }

    /// How long the server is asked to hold a connect.
    pub(super) fn hold(&self) -> Duration {
        self.advice.timeout.unwrap_or_default().min(self.config.max_advised_wait)
    }

    /// How long to wait at least after a failure, because the server said so with it.
    pub(super) fn advised_pause(&mut self, failure: Option<&Failure>) -> Duration {
        let advised = failure.and_then(Failure::retry_after).unwrap_or_default();
        self.cap("Retry-After", advised)
    }

    /// Cuts a wait that the server asks for to the longest that is allowed, and says so.
    pub(super) fn cap(&mut self, what: &'static str, advised: Duration) -> Duration {
        let used = advised.min(self.config.max_advised_wait);
        if used < advised {
            self.event(Event::AdviceCapped { what, advised, used });
        }
        used
    }

    /// The pause before something that failed that often in a row is tried again.
    pub(super) fn backoff(&mut self, failures: u32) -> Duration {
        self.config.retry.delay(failures.max(1), &mut self.random)
    }

    /// Attempts succeed again.
    pub(super) fn recovered(&mut self) {
        self.failures = 0;
        self.failing_since = None;
    }

    /// An attempt to connect failed. The pause before the next one, no shorter than the server asks for by its advice or
    /// with the failure; or why there
    /// is to be none.
    pub(super) fn attempt_failed(&mut self, cause: &LostCause, now: Time) -> Result<Duration, CloseReason> {
        self.failures = self.failures.saturating_add(1);
        // After a pause, whoever gives credentials may be asked again, even if the last ones were refused.
        self.auth.unproven = false;
        self.last_cause = Some(cause.clone());
        let failures = self.failures;
        let elapsed = now.since(*self.failing_since.get_or_insert(now));
        let Some(interval) = self.interval() else {
            return Err(match cause {
                LostCause::Refused(reply) | LostCause::SessionLost(reply) => {
                    CloseReason::Server(reply.clone())
                }
                LostCause::Transport(failure) => CloseReason::Failed(failure.clone()),
            });
        };
        let advised = self.advised_pause(cause.failure()).max(interval);
        let delay = match failures.saturating_add(self.relapses()) {
            0 | 1 => self.config.retry.first_delay(&mut self.random),
            row => self.backoff(row),
        };
        let delay = delay.max(advised);
        match self.config.retry.verdict(&FailedAttempt { cause, failures, elapsed, delay }) {
            Some(delay) => Ok(delay.max(advised)),
            None => Err(CloseReason::GaveUp { failures, elapsed, cause: Box::new(cause.clone()) }),
        }
    }

    /// How many failures the successes count for that did not last: success and failure in turn would be a loop
    /// without a growing pause else. The first is forgiven.
    pub(super) fn relapses(&self) -> u32 {
        self.lapses.saturating_sub(1)
    }

    /// The pause before something that is done at once, unless it was just done before.
    pub(super) fn pause_after_relapses(&mut self) -> Duration {
        match self.relapses() {
            0 => Duration::ZERO,
            relapses => self.backoff(relapses),
        }
    }

    /// Notes that messages flow no more, and says so once.
    pub(super) fn lost(&mut self, now: Time, cause: &LostCause) {
        if let Some(since) = self.connect.proven.take() {
            let lasted = now.since(since) >= LASTING;
            self.lapses = if lasted { 0 } else { self.lapses.saturating_add(1) };
        }
        if self.lost_since.is_none() {
            self.lost_since = Some(now);
        }
        if matches!(self.state, State::Connected) {
            self.event(Event::Lost { cause: cause.clone() });
        }
    }

    /// A failure that is nothing but silence.
    pub(super) fn silence(&self, what: &str, waited: Duration) -> Failure {
        Failure::new(
            FailureKind::Timeout,
            format!("{}: no reply to the {what} within {waited:.1?}", self.servers.name()),
        )
    }

    /// Why a message has not had its turn: what keeps the connection from being made, or the messages before it.
    pub(super) fn obstacle(&self) -> Option<Box<Failure>> {
        let cause = match self.state {
            State::Connected => self.lane.last.as_ref(),
            _ => self.last_cause.as_ref().and_then(LostCause::failure),
        };
        cause.cloned().map(Box::new)
    }

    /// A failure that is a response without what was asked for.
    pub(super) fn no_reply(&self, what: &str) -> Failure {
        let text = format!("{}: the response has no reply to the {what}", self.servers.name());
        Failure::new(FailureKind::Malformed, text)
    }

    /// The server refused credentials of that generation. Whether newer ones are there or being asked for, so that
    /// the caller should try again.
    pub(super) fn refresh(&mut self, generation: u64, reason: AuthReason) -> bool {
        if !self.config.has_auth {
            return false;
        }
        if generation == self.auth.generation && !self.auth.asking {
            // The first ones may have been remembered from long ago; those that took their place are fresh.
            if self.auth.unproven && self.auth.renewed {
                return false;
            }
            self.auth.asking = true;
            self.emit(Output::Authenticate(reason));
        }
        true
    }

    /// The server's reply to something that needed no server.
    pub(super) fn synthetic(channel: &'static str, about: Option<&Channel>) -> Message {
        let mut reply = Message::meta(channel);
        let fields = reply.fields_mut();
        fields.successful = Some(true);
        fields.subscription = about.map(|channel| Subscription::One(channel.as_str().to_owned()));
        reply
    }

    /// Whether a WebSocket may be open: for the transport in use, or for the one that a trial would leave.
    pub(super) fn may_have_socket(&self) -> bool {
        self.transport().is_duplex() || self.connect.trial.is_some_and(ConnectionType::is_duplex)
    }

    /// Ends the session: every call ends, everything is closed.
    pub(super) fn terminate(&mut self, reason: &CloseReason) {
        if self.state == State::Disconnected {
            return;
        }
        let closed = || CallError::Closed(reason.clone());
        for id in self.requests.ids(|_| true) {
            if let Some(request) = self.requests.remove(id) {
                self.resolve(request.call, Err(closed()));
            }
        }
        for channel in self.subscriptions.remote() {
            let waiting = self.subscriptions.take_waiting(&channel);
            if !waiting.is_empty() {
                // A wish that is said to have failed is none that outlives the session, unless it was granted before.
                self.subscriptions.change(&channel, |entry| {
                    let granted = entry.inbox_granted;
                    let kept = |sink: &SinkId| granted && *sink == SinkId::INBOX;
                    entry.sinks.retain(|sink| kept(sink) || !waiting.iter().any(|(_, waits)| waits == sink));
                });
            }
            for (call, _) in waiting {
                self.resolve(Some(call), Err(closed()));
            }
        }
        if let Some(opening) = self.opening.take() {
            self.resolve(Some(opening.call), Err(closed()));
        }
        for call in self.closing.take().map(|closing| closing.calls).unwrap_or_default() {
            self.resolve(Some(call), Ok(Self::synthetic(Channel::DISCONNECT, None)));
        }
        let connect = match self.connect.stage {
            ConnectStage::Sent(sent) => Some(sent.exchange),
            _ => None,
        };
        let handshake = match self.handshake {
            Handshake::Sent(sent) => Some(sent.exchange),
            _ => None,
        };
        if self.may_have_socket() {
            self.emit(Output::CloseWebSocket { graceful: true });
        }
        let own = connect.into_iter().chain(handshake).filter(|_| !self.transport().is_duplex());
        for exchange in own.chain(self.lane.busy).collect::<Vec<_>>() {
            self.emit(Output::Cancel(exchange));
        }
        self.lane = LaneState::default();
        self.subscriptions.keep_inbox_only();
        self.handshake = Handshake::Idle;
        self.connect.stage = ConnectStage::Idle;
        self.connect.proven = None;
        self.connect.trial = None;
        self.connect.gap = false;
        self.rooms.forget();
        self.client_id = None;
        self.auth.asking = false;
        self.state = State::Disconnected;
        self.event(Event::Closed(reason.clone()));
    }
}

impl Sent {
    /// Whether a reply is the one to this: it names its id, or no id at all.
    pub(super) fn is_answered_by(&self, reply: &Message) -> bool {
        reply.id().is_none_or(|id| *id == MessageId::from(self.id))
    }
}
