//! A client's session in the hands of a driver: inputs go in, outputs come out, time passes, and the contract is checked.

use std::collections::{BTreeMap, BTreeSet};

use bayeux_proto::client::{
    CallId, Config, Event, ExchangeId, Input, Lane, Operation, Output, Session, Transmit,
};
use bayeux_proto::codec::{DecodeError, Decoder};
use bayeux_proto::{Channel, Message, MessageId, Time};
use bytes::Bytes;

/// More outputs in a row than any burst of inputs needs: it is a loop.
const LOOP: usize = 10_000;
/// The session may ask that often to be called in one and the same moment.
const AT_ONCE: u32 = 10;

/// Holds a [`Session`], and drives it by its contract: any number of inputs, then all outputs, then time passes.
///
/// The driver carries nothing out; its owner does. It knows what is under way, and keeps the first
/// [breach](ClientDriver::breach) of the contract: a call that is resolved twice, a second connect, an output that does not fit
/// the configuration, a session that is busy without end.
#[derive(Debug)]
pub struct ClientDriver {
    session: Session,
    config: Config,
    decoder: Decoder,
    now: Time,
    calls: u64,
    waiting: BTreeSet<CallId>,
    /// Calls whose outcome nobody waits for; they may have one.
    forgotten: BTreeSet<CallId>,
    /// The requests that are under way over HTTP.
    exchanges: BTreeMap<ExchangeId, Lane>,
    /// A WebSocket is open or opening.
    socket: bool,
    /// The server that messages were sent to last.
    server: usize,
    connect: Option<Outstanding>,
    asking: bool,
    /// How much was passed, and how many outputs were taken, since the last time that there was none left.
    passed: usize,
    taken: usize,
    /// How often the session was woken in this moment.
    woken: u32,
    breach: Option<String>,
}

/// The connect that is not answered yet.
#[derive(Debug)]
struct Outstanding {
    id: Option<MessageId>,
    exchange: ExchangeId,
    duplex: bool,
}

impl ClientDriver {
    /// A driver of a session that is not open yet.
    pub fn new(config: Config, now: Time) -> Self {
        Self {
            session: Session::new(config.clone()),
            config,
            decoder: Decoder::new(),
            now,
            calls: 0,
            waiting: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            exchanges: BTreeMap::new(),
            socket: false,
            server: 0,
            connect: None,
            asking: false,
            passed: 0,
            taken: 0,
            woken: 0,
            breach: None,
        }
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session, for what changes nothing in the protocol.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The settings of the session.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets the time pass until then, without a stop. It never goes back.
    pub fn set_now(&mut self, now: Time) {
        if now > self.now {
            self.now = now;
            self.woken = 0;
        }
    }

    /// The calls that have no outcome yet, except for those that were forgotten.
    pub fn waiting(&self) -> &BTreeSet<CallId> {
        &self.waiting
    }

    /// The requests that are under way over HTTP, oldest first.
    pub fn exchanges(&self) -> &BTreeMap<ExchangeId, Lane> {
        &self.exchanges
    }

    /// Whether a WebSocket is open or opening.
    pub fn has_socket(&self) -> bool {
        self.socket
    }

    /// Whether the session waits for credentials.
    pub fn is_asking(&self) -> bool {
        self.asking
    }

    /// The first breach of the contract.
    pub fn breach(&self) -> Option<&str> {
        self.breach.as_deref()
    }

    /// Fails a test if the contract was broken.
    ///
    /// # Panics
    /// If there is a [breach](ClientDriver::breach).
    #[track_caller]
    pub fn assert_kept(&self) {
        assert!(self.breach.is_none(), "{}: {:?}", self.breach().unwrap_or_default(), self.session);
    }

    // What goes in.

    /// A new number for a call.
    pub fn new_call(&mut self) -> CallId {
        self.calls += 1;
        CallId(self.calls)
    }

    /// Passes a call. Its number.
    pub fn call(&mut self, operation: Operation) -> CallId {
        let call = self.new_call();
        self.pass(Input::Call(call, operation));
        call
    }

    /// Passes calls that belong into one batch. Their numbers.
    pub fn batch(&mut self, operations: impl IntoIterator<Item = Operation>) -> Vec<CallId> {
        let calls: Vec<_> = operations.into_iter().map(|operation| (self.new_call(), operation)).collect();
        let ids = calls.iter().map(|(call, _)| *call).collect();
        self.pass(Input::Batch(calls));
        ids
    }

    /// Reads a body or a frame.
    ///
    /// # Errors
    /// If it is no array of messages.
    pub fn decode(&mut self, body: &Bytes) -> Result<Vec<Message>, DecodeError> {
        self.decoder.decode(body).map(|batch| batch.messages)
    }

    /// Passes an input. Its outputs are taken later, with those of others, by [`poll`](ClientDriver::poll).
    pub fn pass(&mut self, input: Input) {
        self.passed += 1;
        match &input {
            Input::Call(call, _) => self.wait_for(*call),
            Input::Batch(calls) => calls.iter().for_each(|(call, _)| self.wait_for(*call)),
            Input::Forget(call) => self.forgotten.extend(self.waiting.take(call)),
            Input::Received { exchange, messages } => self.received(*exchange, messages),
            Input::ExchangeFailed(exchange, _) => self.ended(*exchange),
            Input::TransportLost(_) => self.socket_ended(),
            Input::Vetoed { message, .. } => {
                self.connect.take_if(|connect| connect.id.as_ref() == message.id());
            }
            Input::Credentials(_) => self.asking = false,
            _ => {}
        }
        self.session.handle(input, self.now);
    }

    /// An extension vetoed all messages of a request, which is not sent.
    pub fn vetoed(&mut self, exchange: ExchangeId) {
        self.ended(exchange);
    }

    fn wait_for(&mut self, call: CallId) {
        self.passed += 1;
        if !self.waiting.insert(call) {
            self.broken(format!("{call:?} is used twice"));
        }
    }

    fn received(&mut self, exchange: Option<ExchangeId>, messages: &[Message]) {
        self.passed += messages.len();
        for message in messages {
            let answers = |connect: &mut Outstanding| {
                let same_id = message.id().is_none() || message.id() == connect.id.as_ref();
                let nameless = message.channel().as_str().is_empty() && exchange == Some(connect.exchange);
                (message.channel() == Channel::CONNECT && same_id) || nameless
            };
            self.connect.take_if(answers);
        }
        if let Some(exchange) = exchange {
            self.ended(exchange);
        }
    }

    fn ended(&mut self, exchange: ExchangeId) {
        self.exchanges.remove(&exchange);
        self.connect.take_if(|connect| connect.exchange == exchange && !connect.duplex);
    }

    fn socket_ended(&mut self) {
        self.socket = false;
        self.connect.take_if(|connect| connect.duplex);
    }

    // What comes out.

    /// Takes the next output, for the owner to carry out. All must be taken before time passes.
    pub fn poll(&mut self) -> Option<Output> {
        let Some(output) = self.session.poll_output() else {
            (self.passed, self.taken) = (0, 0);
            return None;
        };
        self.taken += 1;
        if self.taken > LOOP
            && self.taken
                > LOOP + 8 * (self.passed + self.waiting.len() + self.session.subscriptions().count())
        {
            self.broken("the outputs have no end".to_owned());
            return None;
        }
        self.check(&output);
        Some(output)
    }

    fn check(&mut self, output: &Output) {
        match output {
            Output::Send(transmit) => self.sending(transmit),
            Output::Cancel(exchange) => self.ended(*exchange),
            Output::CloseWebSocket { .. } => self.socket_ended(),
            Output::Resolve(call, _) => {
                let known = self.waiting.remove(call) || self.forgotten.remove(call);
                self.require(known, || format!("{call:?} has an outcome, and nobody waits for one"));
            }
            Output::Deliver { sinks, messages } => {
                let some = !sinks.is_empty() && !messages.is_empty();
                self.require(some, || format!("a delivery of {messages:?} to {sinks:?}"));
            }
            Output::Authenticate(_) => {
                let first = !std::mem::replace(&mut self.asking, true);
                let what = || "credentials are asked for twice at a time, or in vain".to_owned();
                self.require(self.config.has_auth && first, what);
            }
            Output::DecideRetry(_) => {
                let what = || "the driver was not to decide about retries".to_owned();
                self.require(self.config.decide_retries, what);
            }
            Output::Event(Event::Closed(_)) => self.asking = false,
            _ => {}
        }
    }

    fn require(&mut self, kept: bool, what: impl FnOnce() -> String) {
        if !kept {
            self.broken(what());
        }
    }

    fn sending(&mut self, transmit: &Transmit) {
        let Transmit { exchange, server, transport, lane, messages } = transmit;
        let moved = std::mem::replace(&mut self.server, *server) != *server;
        let wrong = if messages.is_empty() {
            Some("an empty payload")
        } else if !self.config.transports.contains(transport) || *server > self.config.fallbacks.len() {
            Some("a transport or server that is not the user's")
        } else if moved && (self.socket || !self.exchanges.is_empty()) {
            Some("a socket, or requests, to two servers")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            self.broken(format!("{wrong}: {transmit:?}, under way are {:?}", self.exchanges));
        }
        for message in messages {
            match message.channel().as_str() {
                // Whatever was asked in the session before is of no account any more.
                Channel::HANDSHAKE => self.connect = None,
                Channel::CONNECT => {
                    let id = message.id().cloned();
                    let connect = Outstanding { id, exchange: *exchange, duplex: transport.is_duplex() };
                    if (*lane, messages.len()) != (Lane::Connect, 1) {
                        self.broken(format!("a connect goes alone: {messages:?}"));
                    }
                    if let Some(other) = self.connect.replace(connect) {
                        self.broken(format!("two connects are outstanding: {other:?}, {transmit:?}"));
                    }
                }
                _ => {}
            }
        }
        if transport.is_duplex() {
            self.socket = true;
            return;
        }
        let handshake = messages.first().is_some_and(|message| message.channel() == Channel::HANDSHAKE);
        let crowded =
            self.exchanges.len() >= 3 || (!handshake && self.exchanges.values().any(|other| other == lane));
        if self.exchanges.insert(*exchange, *lane).is_some() || crowded {
            self.broken(format!("a lane has one request at a time: {transmit:?}, {:?}", self.exchanges));
        }
    }

    fn broken(&mut self, what: String) {
        self.breach.get_or_insert(what);
    }

    // Time.

    /// When the session is to be called at the latest.
    pub fn wakes_at(&self) -> Option<Time> {
        self.session.poll_timeout()
    }

    /// Goes on to the moment that the session waits for, if that is not after `end`, and passes the timeout; otherwise to
    /// `end`. Returns whether there are outputs to take.
    pub fn wake_until(&mut self, end: Time) -> bool {
        match self.wakes_at().filter(|at| *at <= end) {
            Some(at) if self.breach.is_none() => {
                self.set_now(at);
                self.woken += 1;
                if self.woken > AT_ONCE {
                    self.broken(format!("at {:?} the session waits for {at:?}, again and again", self.now));
                }
                self.pass(Input::Timeout);
                true
            }
            _ => {
                self.set_now(end);
                false
            }
        }
    }
}
