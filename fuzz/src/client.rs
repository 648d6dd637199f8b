//! A client's session in the hands of a script: a server that says anything, a network that does anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bayeux_proto::client::{
    CallId, Config, Delivery, Event, ExchangeId, Failure, FailureKind, Input, Lane, Offline, Operation,
    Output, Session, SessionSnapshot, SinkId, State, Transmit,
};
use bayeux_proto::codec::{Decoder, encode};
use bayeux_proto::ext::binary::Binary;
use bayeux_proto::{Channel, Data, Message, MessageId, Time, Transport};
use bytes::Bytes;

/// The session, and what is known of it from outside.
pub struct World {
    session: Session,
    config: Config,
    now: Time,
    decoder: Decoder,
    calls: u64,
    /// Calls without an outcome, those that somebody still waits for.
    waiting: BTreeSet<CallId>,
    resolved: BTreeSet<CallId>,
    /// The requests on their way over HTTP.
    exchanges: BTreeMap<ExchangeId, Transmit>,
    /// Whether a WebSocket is open or opening.
    socket: bool,
    /// The server that messages were sent to last.
    server: usize,
    /// The first message of the frame that was sent last.
    frame: Option<Message>,
    /// The connect that has no answer yet.
    connect: Option<Outstanding>,
    /// What was sent last, for replies that are to fit.
    asked: Vec<(Channel, MessageId)>,
    /// Who ever subscribed to what.
    desired: Vec<(Channel, SinkId)>,
    snapshot: Option<SessionSnapshot>,
    asking: bool,
    /// Another transport was chosen since the last attempt that failed.
    changed: bool,
    /// The session had a connect granted, or was resumed: it was of use.
    proven: bool,
}

struct Outstanding {
    id: Option<MessageId>,
    exchange: ExchangeId,
    duplex: bool,
}

impl World {
    /// A world with the settings of a line such as `ws lp ack auth`.
    pub fn new(settings: &str) -> Self {
        let mut config = Config::default();
        let words: Vec<&str> = settings.split_whitespace().collect();
        let has = |word: &str| words.contains(&word);
        let named = [("ws", Transport::WebSocket), ("lp", Transport::LongPolling)];
        let transports: Vec<_> = words
            .iter()
            .filter_map(|word| named.iter().find(|(name, _)| name == word).map(|(_, kind)| *kind))
            .take(2)
            .collect();
        if !transports.is_empty() && (transports.len() == 1 || transports[0] != transports[1]) {
            config.transports = transports;
        }
        config.ack = !has("noack");
        config.has_auth = has("auth");
        config.retry_open = has("retry");
        if has("again") {
            config.delivery = Delivery::AtLeastOnce;
        }
        if has("refuse") {
            config.offline = Offline::Refuse;
        }
        if has("quiet") {
            config.ping_interval = None;
        }
        if has("few") {
            config.max_pending = 3;
        }
        if has("cluster") {
            config.fallbacks = vec!["b".to_owned(), "c".to_owned()];
        }
        Self {
            session: Session::new(config.clone()),
            config,
            now: Time::ZERO,
            decoder: Decoder::new(),
            calls: 0,
            waiting: BTreeSet::new(),
            resolved: BTreeSet::new(),
            exchanges: BTreeMap::new(),
            socket: false,
            server: 0,
            frame: None,
            connect: None,
            asked: Vec::new(),
            desired: Vec::new(),
            snapshot: None,
            asking: false,
            changed: false,
            proven: false,
        }
    }

    /// Runs a script, then lets time pass in silence, then closes.
    pub fn run(script: &str) {
        let mut steps = crate::steps(script).peekable();
        let settings = steps.next_if(|(word, _)| *word == "=").map_or("", |(_, settings)| settings);
        let mut world = Self::new(settings);
        for (word, rest) in steps {
            world.step(word, rest);
        }
        world.silence();
        world.close();
    }

    fn step(&mut self, word: &str, rest: &str) {
        match word {
            "open" => drop(self.call(Operation::Open)),
            "resume" => {
                if let Some(snapshot) = self.snapshot.take() {
                    self.desired.extend(snapshot.subscriptions().map(|channel| (channel, SinkId::INBOX)));
                    self.proven = true;
                    self.call(Operation::Resume(Box::new(snapshot)));
                }
            }
            "close" => drop(self.call(Operation::Close)),
            "suspend" => {
                self.snapshot = self.session.snapshot(false);
                self.call(Operation::Suspend);
            }
            "snapshot" => self.snapshot = self.session.snapshot(true),
            "subscribe" | "unsubscribe" | "publish" | "request" | "bytes" => {
                if let Some(operation) = self.operation(word, rest) {
                    self.call(operation);
                }
            }
            "batch" => self.batch(rest),
            "forget" => {
                if let Some(call) = self.waiting.iter().nth(number(rest) as usize).copied() {
                    self.waiting.remove(&call);
                    self.handle(Input::Forget(call), 0);
                }
            }
            // Over the WebSocket, if there is one.
            "frame" if self.socket => self.receive(None, rest),
            // The response to the connect, or to the oldest of the others.
            "poll" => self.respond(Lane::Connect, rest),
            "response" => self.respond(Lane::Other, rest),
            "fail" => self.fail(rest),
            "progress" => {
                if let Some(exchange) = self.exchanges.keys().next().copied() {
                    self.handle(Input::Progress(exchange), 0);
                }
            }
            "arriving" if self.socket => self.handle(Input::Arriving, 0),
            "alive" if self.socket => self.handle(Input::Alive, 0),
            "reconnect" => self.handle(Input::Reconnect, 0),
            "veto" => self.veto(),
            "room" => {
                let mut numbers = rest.split_whitespace();
                let sink = SinkId(numbers.next().map_or(0, number) % 4);
                let room = numbers.next().map(|messages| (number(messages) as usize, 100));
                self.handle(Input::Credit(sink, room), 0);
            }
            "credentials" if self.asking => {
                self.asking = false;
                let outcome = match serde_json::from_str(rest) {
                    Ok(serde_json::Value::Object(keys)) => Ok(keys),
                    _ => Err("none".to_owned()),
                };
                self.handle(Input::Credentials(outcome), 0);
            }
            "wait" => self.pass(Duration::from_millis(number(rest).min(10_000_000))),
            "oversleep" => {
                self.now = self.now + Duration::from_millis(number(rest).min(10_000_000));
                self.handle(Input::Timeout, 0);
            }
            _ => {}
        }
    }

    fn operation(&mut self, word: &str, rest: &str) -> Option<Operation> {
        let mut words = rest.splitn(2, ' ');
        let channel = Channel::parse(words.next()?).ok()?;
        let data = words.next().unwrap_or("null");
        let sink = SinkId(number(data) % 4);
        let data = Data::from_json(data).unwrap_or_else(|_| Data::from(serde_json::Value::Null));
        Some(match word {
            "subscribe" => {
                self.desired.push((channel.clone(), sink));
                Operation::Subscribe { channel, sink }
            }
            "unsubscribe" => Operation::Unsubscribe { channel, sink },
            "publish" => Operation::Publish { channel, data },
            "request" => Operation::Request { channel, data, timeout: None },
            _ => Operation::PublishBinary { channel, binary: Binary::new(data.as_bytes().clone()) },
        })
    }

    fn batch(&mut self, rest: &str) {
        let calls: Vec<_> = rest
            .split(';')
            .take(10)
            .filter_map(|one| {
                let (word, rest) = one.trim().split_once(' ')?;
                let operation = self.operation(word, rest)?;
                Some((self.new_call(), operation))
            })
            .collect();
        let count = calls.len();
        self.handle(Input::Batch(calls), count);
    }

    fn new_call(&mut self) -> CallId {
        self.calls += 1;
        self.waiting.insert(CallId(self.calls));
        CallId(self.calls)
    }

    fn call(&mut self, operation: Operation) -> CallId {
        let call = self.new_call();
        self.handle(Input::Call(call, operation), 1);
        call
    }

    fn respond(&mut self, lane: Lane, json: &str) {
        let exchange =
            self.exchanges.iter().find(|(_, sent)| sent.lane == lane).map(|(exchange, _)| *exchange);
        if let Some(exchange) = exchange {
            self.receive(Some(exchange), json);
        }
    }

    fn receive(&mut self, exchange: Option<ExchangeId>, json: &str) {
        let failed = |kind| Failure::new(kind, "no messages");
        let Ok(batch) = self.decoder.decode(&Bytes::copy_from_slice(json.as_bytes())) else {
            return match exchange {
                Some(exchange) => self.exchange_failed(exchange, failed(FailureKind::Malformed)),
                None => {}
            };
        };
        let messages: Vec<Message> = batch.messages.into_iter().map(|message| self.fit(message)).collect();
        for message in &messages {
            let answers = |connect: &Outstanding| {
                let same_id = message.id().is_none() || message.id() == connect.id.as_ref();
                let nameless = message.channel().as_str().is_empty() && exchange == Some(connect.exchange);
                (message.channel() == &Channel::CONNECT && same_id) || nameless
            };
            if self.connect.as_ref().is_some_and(answers) {
                self.connect = None;
                self.proven |= message.is_successful();
            }
        }
        if let Some(exchange) = exchange {
            self.ended(exchange);
        }
        let count = messages.len();
        self.handle(Input::Received { exchange, messages }, count);
    }

    /// The id `@` is that of the newest request on the message's channel.
    fn fit(&mut self, mut message: Message) -> Message {
        let wants = message.id().is_some_and(|id| id.to_string() == "@");
        if wants && let Some(at) = self.asked.iter().rposition(|(channel, _)| channel == message.channel()) {
            let (_, id) = self.asked.remove(at);
            message.set_id(Some(id));
        }
        message
    }

    fn ended(&mut self, exchange: ExchangeId) {
        self.exchanges.remove(&exchange);
        if self.connect.as_ref().is_some_and(|connect| connect.exchange == exchange && !connect.duplex) {
            self.connect = None;
        }
    }

    fn exchange_failed(&mut self, exchange: ExchangeId, failure: Failure) {
        self.ended(exchange);
        self.handle(Input::ExchangeFailed(exchange, failure), 0);
    }

    /// `fail poll 401`, `fail response lost`, `fail socket upgrade 503`.
    fn fail(&mut self, rest: &str) {
        let mut words = rest.split_whitespace();
        let what = words.next().unwrap_or_default();
        let kind = words.next().unwrap_or_default();
        let status = words.next().unwrap_or(kind).parse().unwrap_or(500);
        let kind = match kind {
            "host" => FailureKind::UnknownHost,
            "unreachable" => FailureKind::Unreachable,
            "tls" => FailureKind::Tls,
            "proxy" => FailureKind::Proxy,
            "upgrade" => FailureKind::UpgradeRefused { status },
            "large" => FailureKind::TooLarge,
            "malformed" => FailureKind::Malformed,
            "timeout" => FailureKind::Timeout,
            "closed" => FailureKind::Closed { code: status },
            "lost" => FailureKind::Lost,
            _ => FailureKind::Http { status },
        };
        let failure = Failure::new(kind, rest);
        let lane = if what == "poll" { Lane::Connect } else { Lane::Other };
        if what == "socket" {
            if std::mem::take(&mut self.socket) {
                self.connect = self.connect.take().filter(|connect| !connect.duplex);
                self.handle(Input::TransportLost(failure), 0);
            }
        } else if let Some((exchange, _)) = self.exchanges.iter().find(|(_, sent)| sent.lane == lane) {
            self.exchange_failed(*exchange, failure);
        }
    }

    /// An extension refuses a message on its way: the first of the oldest request, or else of the last frame.
    fn veto(&mut self) {
        let oldest = self.exchanges.iter().next().map(|(exchange, sent)| (*exchange, sent.messages.clone()));
        let message = match oldest {
            Some((exchange, mut messages)) => {
                let message = messages.remove(0);
                match self.exchanges.get_mut(&exchange) {
                    Some(sent) if !messages.is_empty() => sent.messages = messages,
                    // Shells send no empty requests.
                    _ => self.ended(exchange),
                }
                Some(message)
            }
            None => self.frame.take().filter(|_| self.socket),
        };
        let Some(message) = message else { return };
        self.connect = self.connect.take().filter(|connect| connect.id.as_ref() != message.id());
        self.handle(Input::Vetoed { message: Box::new(message), reason: "so".to_owned() }, 1);
    }

    /// Time passes, and the session is called whenever it wants to be.
    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        for _ in 0..200 {
            let Some(next) = self.session.poll_timeout().filter(|next| *next <= until) else { break };
            self.now = next.max(self.now);
            self.handle(Input::Timeout, 0);
        }
        self.now = until;
        self.handle(Input::Timeout, 0);
    }

    /// Nothing comes any more: every call ends.
    fn silence(&mut self) {
        let longest = self.config.call_timeout + self.config.request_timeout;
        self.pass(longest * 8 + self.config.open_timeout.unwrap_or_default());
        assert!(
            self.waiting.is_empty(),
            "calls without an outcome: {:?} in {:?}",
            self.waiting,
            self.session
        );
    }

    fn close(&mut self) {
        self.call(Operation::Close);
        self.pass(self.config.close_timeout * 2);
        assert_eq!(self.session.state(), State::Disconnected);
        assert!(self.waiting.is_empty(), "calls without an outcome: {:?}", self.waiting);
        assert!(self.exchanges.is_empty(), "requests left behind: {:?}", self.exchanges);
        assert!(!self.socket, "a socket left behind");
    }

    fn handle(&mut self, input: Input, size: usize) {
        self.session.handle(input, self.now);
        self.drain(size);
        // A session that wants to be called at once, again and again, would keep a processor busy.
        for _ in 0..4 {
            if self.session.poll_timeout().is_none_or(|at| at > self.now) {
                break;
            }
            self.session.handle(Input::Timeout, self.now);
            self.drain(0);
        }
        let next = self.session.poll_timeout();
        assert!(
            next.is_none_or(|at| at > self.now),
            "at {:?} called for {next:?}: {:?}",
            self.now,
            self.session
        );
        if self.session.state() == State::Disconnected {
            assert_eq!(next, None, "a closed session wants nothing: {:?}", self.session);
            assert_eq!(self.session.pending(), 0);
        } else {
            assert!(next.is_some() || self.asking, "it would wait for ever: {:?}", self.session);
        }
        assert!(
            self.session.pending() <= self.config.max_pending + self.desired.len() + 1,
            "pending calls are bounded"
        );
    }

    fn drain(&mut self, size: usize) {
        let most = 64 + 8 * (size + self.waiting.len() + self.desired.len() + self.exchanges.len());
        for _ in 0..most {
            match self.session.poll_output() {
                Some(output) => self.output(output),
                None => return,
            }
        }
        panic!("more than {most} outputs for one input: {:?}", self.session);
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Send(transmit) => self.send(transmit),
            Output::Cancel(exchange) => self.ended(exchange),
            Output::CloseWebSocket { .. } => {
                self.socket = false;
                self.connect = self.connect.take().filter(|connect| !connect.duplex);
            }
            Output::Resolve(call, _) => {
                assert!(self.resolved.insert(call), "{call:?} has two outcomes");
                self.waiting.remove(&call);
            }
            Output::Deliver { sinks, messages } => {
                assert!(!sinks.is_empty() && !messages.is_empty(), "nobody is to get {messages:?}");
                for message in &messages {
                    for sink in &*sinks {
                        let is_desired = |(channel, who): &(Channel, SinkId)| {
                            who == sink && channel.matches(message.channel())
                        };
                        let known = self.desired.iter().any(is_desired);
                        assert!(known, "{sink:?} never asked for {}", message.channel());
                    }
                }
            }
            Output::Event(Event::TransportChanged { .. } | Event::ServerChanged { .. }) => {
                self.changed = true
            }
            Output::Event(Event::Retrying { delay, failures, cause, .. }) => {
                // The first attempt over another transport is made at once; so is the first handshake
                // after a session that was of use, when the interval that its server advised is over.
                let lapsed = self.session.state() == State::Handshaking && self.proven;
                let pauses = failures > 0 && !std::mem::take(&mut self.changed) && !lapsed;
                assert!(
                    !pauses || delay >= Duration::from_millis(5),
                    "a retry in {delay:?} after {failures} failures: {cause:?}"
                );
            }
            Output::Authenticate(_) => {
                assert!(self.config.has_auth && !self.asking, "asked twice at a time");
                self.asking = true;
            }
            Output::Event(Event::Closed(_)) => self.asking = false,
            Output::Event(_) | Output::Ping | Output::ResetCookies | Output::SubscriptionLost { .. } => {}
            Output::DecideRetry(_) => panic!("the session was not to ask"),
        }
    }

    fn send(&mut self, transmit: Transmit) {
        assert!(!transmit.messages.is_empty(), "an empty payload");
        let read = Decoder::new().decode(&encode(&transmit.messages)).expect("what is sent can be read");
        assert_eq!(read.messages.len(), transmit.messages.len());
        let duplex = transmit.transport.is_duplex();
        let moved = std::mem::replace(&mut self.server, transmit.server) != transmit.server;
        assert!(transmit.server <= self.config.fallbacks.len(), "not one of the user's: {transmit:?}");
        assert!(!(moved && self.socket), "a socket to another server is open: {transmit:?}");
        let elsewhere = self.exchanges.values().any(|sent| sent.server != transmit.server);
        assert!(!elsewhere, "requests to two servers: {transmit:?} and {:?}", self.exchanges);
        assert!(self.config.transports.contains(&transmit.transport), "not one of the user's: {transmit:?}");
        for message in &transmit.messages {
            let id = message.id().cloned();
            if message.channel() == &Channel::HANDSHAKE {
                // Whatever was asked in the session before is of no account any more.
                self.connect = None;
                self.proven = false;
            }
            if message.channel() == &Channel::CONNECT {
                assert_eq!(
                    (transmit.lane, transmit.messages.len()),
                    (Lane::Connect, 1),
                    "a connect goes alone"
                );
                assert!(self.connect.is_none(), "two connects at once: {:?}", self.session);
                self.connect = Some(Outstanding { id: id.clone(), exchange: transmit.exchange, duplex });
            }
            self.asked.extend(id.map(|id| (message.channel().clone(), id)));
        }
        let surplus = self.asked.len().saturating_sub(64);
        self.asked.drain(..surplus);
        if duplex {
            self.socket = true;
            self.frame = transmit.messages.into_iter().next();
        } else {
            let handshake = transmit.messages[0].channel() == &Channel::HANDSHAKE;
            let same_lane = self.exchanges.values().any(|sent| sent.lane == transmit.lane);
            assert!(handshake || !same_lane, "two requests on a lane: {transmit:?} and {:?}", self.exchanges);
            assert!(self.exchanges.len() < 3, "too many connections: {:?}", self.exchanges);
            let known = self.exchanges.insert(transmit.exchange, transmit);
            assert!(known.is_none(), "an exchange used twice: {known:?}");
        }
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}
