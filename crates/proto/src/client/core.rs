//! What a session consists of, by lifetime, and the small steps that the rest of it shares.
//!
//! The parts (one file each, next to this one) have private fields and know nothing of each other. The files in `core/`
//! coordinate them. A file there calls only those after it in this list: `inputs`, `lifecycle`, `resuming`, `receiving`,
//! `handshaking`, `connecting`, `retrying`, `failover`, `failing`, `calling`, `replaying`, `delivering`, and this one. What
//! belongs before it in the list is returned as [`Next`].

mod calling;
mod connecting;
mod delivering;
mod failing;
mod failover;
mod handshaking;
mod inputs;
mod lifecycle;
mod receiving;
mod replaying;
mod resuming;
mod retrying;

use std::time::Duration;

use super::ack::Window;
use super::advised::{Advised, Capped};
use super::arrivals::Arrivals;
use super::attempts::Attempts;
use super::calls::Calls;
use super::cause::LostCause;
use super::config::Config;
use super::connect::Connect;
use super::contract::{AuthReason, CallId, ExchangeId, Lane, Transmit};
use super::credentials::{Credentials, Refresh};
use super::credits::{Credits, Missed};
use super::event::{Event, State};
use super::failure::{Failure, FailureKind};
use super::handshake::Handshake;
use super::lane::CallLane;
use super::liveness::Liveness;
use super::moving::Moving;
use super::outbox::Outbox;
use super::outcome::CloseReason;
use super::replays::Replays;
use super::servers::Servers;
use super::subscriptions::Subscriptions;
use super::transports::Transports;
use super::undecided::Undecided;
use crate::channel::Channel;
use crate::id::ClientId;
use crate::message::{Message, Subscription};
use crate::time::Time;
use crate::transport::Transport;

/// All parts of a session.
#[derive(Debug)]
pub(super) struct Core {
    config: Config,
    phase: Phase,
    // What lives as long as the client.
    transports: Transports,
    servers: Servers,
    advised: Advised,
    credentials: Credentials,
    attempts: Attempts,
    liveness: Liveness,
    arrivals: Arrivals,
    calls: Calls,
    subscriptions: Subscriptions,
    replays: Replays,
    credits: Credits,
    lane: CallLane,
    outbox: Outbox,
    /// The call that opens the session, until messages flow.
    opening: Option<Opening>,
    /// A failed attempt that the driver decides about.
    undecided: Option<Undecided>,
    /// Whether there was a session since the client was opened.
    had_session: bool,
    /// Counts the sessions that were granted.
    sessions: u64,
    /// The time of the last input.
    now: Time,
}

/// In which phase of its life a session is. Leaving a phase drops what belongs to it.
#[derive(Debug)]
enum Phase {
    Closed,
    Opening(Handshake),
    Established(Established),
    Closing(Closing),
}

/// What lives as long as one session at the server. A granted handshake or a resume builds it, and nothing else.
#[derive(Debug)]
struct Established {
    client_id: ClientId,
    flow: Flow,
    /// What is acknowledged of the events of this session.
    window: Window,
    /// The events that receivers had no credit for.
    missed: Missed,
    /// Messages may have been lost with a connection, and no event was emitted yet.
    gap: bool,
    /// A receiver is to begin at a position that only a new session can begin at.
    anew: bool,
    connect: Connect,
    moving: Moving,
}

/// Whether messages flow in an established session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Not yet: the subscriptions and the first connect are on their way.
    Connecting,
    Connected,
    /// Not any more.
    Unconnected,
}

/// A session that its user closes: it stays until the server has confirmed, or the deadline has passed.
#[derive(Debug)]
struct Closing {
    session: Established,
    calls: Vec<CallId>,
    deadline: Time,
    /// The server has confirmed; only the held connect is outstanding.
    confirmed: bool,
}

#[derive(Debug)]
struct Opening {
    call: CallId,
    deadline: Option<Time>,
    /// The first reply that granted a session.
    reply: Option<Box<Message>>,
}

/// What a step leaves to the steps above it.
#[derive(Debug)]
#[must_use]
enum Next {
    Nothing,
    /// The server has lost the session: ask for another.
    Rehandshake(LostCause),
    /// The session is over.
    Terminate(CloseReason),
}

impl Core {
    pub(super) fn new(config: Config) -> Self {
        Self {
            phase: Phase::Closed,
            transports: Transports::new(&config.transports),
            servers: Servers::new(&config.endpoint, &config.fallbacks),
            advised: Advised::new(config.max_advised_wait),
            credentials: Credentials::new(config.has_auth),
            attempts: Attempts::new(config.retry.clone(), config.seed),
            liveness: Liveness::new(config.ping_interval, config.request_timeout),
            arrivals: Arrivals::default(),
            calls: Calls::default(),
            subscriptions: Subscriptions::default(),
            replays: Replays::default(),
            credits: Credits::default(),
            lane: CallLane::default(),
            outbox: Outbox::default(),
            opening: None,
            undecided: None,
            had_session: false,
            sessions: 0,
            now: Time::ZERO,
            config,
        }
    }

    /// The public state, which follows from the phase.
    pub(super) fn state(&self) -> State {
        match &self.phase {
            Phase::Closed => State::Disconnected,
            Phase::Opening(_) => State::Handshaking,
            Phase::Established(session) => match session.flow {
                Flow::Connecting => State::Connecting,
                Flow::Connected => State::Connected,
                Flow::Unconnected => State::Unconnected,
            },
            Phase::Closing(_) => State::Disconnecting,
        }
    }

    pub(super) fn transport(&self) -> Transport {
        self.transports.current()
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    pub(super) fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    pub(super) fn subscriptions_mut(&mut self) -> &mut Subscriptions {
        &mut self.subscriptions
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    pub(super) fn lost_since(&self) -> Option<Time> {
        self.attempts.lost_since()
    }

    pub(super) fn last_received(&self) -> Time {
        self.liveness.last_received()
    }

    #[cfg(test)]
    pub(super) fn sessions(&self) -> u64 {
        self.sessions
    }

    /// The session at the server, if there is one.
    fn session(&self) -> Option<&Established> {
        match &self.phase {
            Phase::Established(session) | Phase::Closing(Closing { session, .. }) => Some(session),
            Phase::Closed | Phase::Opening(_) => None,
        }
    }

    fn session_mut(&mut self) -> Option<&mut Established> {
        match &mut self.phase {
            Phase::Established(session) | Phase::Closing(Closing { session, .. }) => Some(session),
            Phase::Closed | Phase::Opening(_) => None,
        }
    }

    /// The session at the server, unless it is being closed.
    fn established(&self) -> Option<&Established> {
        match &self.phase {
            Phase::Established(session) => Some(session),
            _ => None,
        }
    }

    fn established_mut(&mut self) -> Option<&mut Established> {
        match &mut self.phase {
            Phase::Established(session) => Some(session),
            _ => None,
        }
    }

    fn is_connected(&self) -> bool {
        self.established().is_some_and(|session| session.flow == Flow::Connected)
    }

    /// The session stays, but messages do not flow.
    fn disconnect(&mut self) {
        if let Phase::Established(session) = &mut self.phase {
            session.flow = Flow::Unconnected;
        }
    }

    /// Sends the next connect at `at`.
    fn connect_at(&mut self, at: Time) {
        if let Some(session) = self.established_mut() {
            session.connect.wait_until(at);
        }
    }

    /// The exchange of the handshake that waits for its reply.
    fn handshake_exchange(&self) -> Option<ExchangeId> {
        match &self.phase {
            Phase::Opening(handshake) => handshake.outstanding().map(|pending| pending.exchange()),
            _ => None,
        }
    }

    /// The exchange of the connect that waits for its reply.
    fn connect_exchange(&self) -> Option<ExchangeId> {
        self.session()?.connect.outstanding().map(|pending| pending.exchange())
    }

    /// Sends on a lane of `transport`, with the session's id on each message.
    fn send(&mut self, transport: Transport, lane: Lane, exchange: ExchangeId, mut messages: Vec<Message>) {
        if let Some(session) = self.session() {
            for message in &mut messages {
                message.fields_mut().client_id = Some(session.client_id.clone());
            }
        }
        let server = self.servers.current();
        self.outbox.send(Transmit { exchange, server, transport, lane, messages });
    }

    /// How long to wait at least after a failure, because the server asked for it with the failure.
    fn advised_pause(&mut self, failure: Option<&Failure>) -> Duration {
        let advised = failure.and_then(Failure::retry_after).unwrap_or_default();
        let (used, capped) = self.advised.cap("Retry-After", advised);
        self.report_capped(capped);
        used
    }

    fn report_capped(&mut self, capped: Option<Capped>) {
        if let Some(capped) = capped {
            self.outbox.event(capped.into());
        }
    }

    /// Notes that messages do not flow any more, and emits an event if they did.
    fn lost(&mut self, now: Time, cause: &LostCause) {
        let (proven, connected) = match &mut self.phase {
            Phase::Established(session) => (session.connect.lost(), session.flow == Flow::Connected),
            _ => (None, false),
        };
        self.attempts.lost(proven, now);
        if connected {
            self.outbox.event(Event::Lost { cause: cause.clone() });
        }
    }

    /// A failure that is nothing but silence.
    fn silence(&self, what: &str, waited: Duration) -> Failure {
        Failure::new(
            FailureKind::Timeout,
            format!("{}: no reply to the {what} within {waited:.1?}", self.servers.name()),
        )
    }

    /// A failure that is a response without the reply to what was sent.
    fn no_reply(&self, what: &str) -> Failure {
        let text = format!("{}: the response has no reply to the {what}", self.servers.name());
        Failure::new(FailureKind::Malformed, text)
    }

    /// The server refused the credentials of `generation`. Returns whether newer ones are there or being asked for,
    /// so that the caller should try again.
    fn refresh(&mut self, generation: u64, reason: AuthReason) -> bool {
        match self.credentials.refused(generation) {
            Refresh::Ask => {
                self.outbox.authenticate(reason);
                true
            }
            Refresh::TryAgain => true,
            Refresh::Hopeless => false,
        }
    }

    /// Returns a reply to something that needed no server.
    fn synthetic(channel: &'static str, about: Option<&Channel>) -> Message {
        let mut reply = Message::meta(channel);
        let fields = reply.fields_mut();
        fields.successful = Some(true);
        fields.subscription = about.map(|channel| Subscription::One(channel.as_str().to_owned()));
        reply
    }

    /// Whether a WebSocket may be open: for the transport in use, or for the one that a trial would leave.
    fn may_have_socket(&self) -> bool {
        let trial = self.session().and_then(|session| session.connect.trial());
        self.transport().is_duplex() || trial.is_some_and(Transport::is_duplex)
    }
}

impl Established {
    fn new(client_id: ClientId, window: Window, connect: Connect, gap: bool) -> Self {
        let (flow, missed, moving) = (Flow::Connecting, Missed::default(), Moving::default());
        Self { client_id, flow, window, missed, gap, anew: false, connect, moving }
    }
}
