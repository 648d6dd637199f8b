//! A client's session in the hands of a script: a server that says anything, a network that does anything.

use std::collections::BTreeMap;
use std::time::Duration;

use bayeux_proto::client::{
    CallId, Config, Delivery, Event, ExchangeId, Failure, FailureKind, Input, Lane, Offline, Operation, Output,
    SessionSnapshot, SinkId, State, Transmit,
};
use bayeux_proto::codec::{Decoder, encode};
use bayeux_proto::ext::binary::Binary;
use bayeux_proto::{Channel, Data, Message, MessageId, Time, Transport};
use bayeux_sim::ClientDriver;
use bytes::Bytes;

/// The session with its driver, which checks the contract, and what else is known of it from outside.
pub struct Client {
    driver: ClientDriver,
    /// The requests on their way over HTTP.
    exchanges: BTreeMap<ExchangeId, Transmit>,
    /// The first message of the frame that was sent last.
    frame: Option<Message>,
    /// What was sent last, for replies that are to fit.
    asked: Vec<(Channel, MessageId)>,
    /// Who ever subscribed to what.
    desired: Vec<(Channel, SinkId)>,
    snapshot: Option<SessionSnapshot>,
    /// How many inputs more are passed before the outputs are taken, and how much was passed since.
    busy: u64,
    passed: usize,
    /// Another transport was chosen since the last attempt that failed.
    changed: bool,
    /// The session had a connect granted, or was resumed: it was of use.
    proven: bool,
}

impl Client {
    /// A client with the settings of a line such as `ws lp ack auth`.
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
            driver: ClientDriver::new(config, Time::ZERO),
            exchanges: BTreeMap::new(),
            frame: None,
            asked: Vec::new(),
            desired: Vec::new(),
            snapshot: None,
            busy: 0,
            passed: 0,
            changed: false,
            proven: false,
        }
    }

    /// Runs a script, then lets time pass in silence, then closes.
    pub fn run(script: &str) {
        let mut steps = crate::steps(script).peekable();
        let settings = steps.next_if(|(word, _)| *word == "=").map_or("", |(_, settings)| settings);
        let mut client = Self::new(settings);
        for (word, rest) in steps {
            client.step(word, rest);
        }
        client.silence();
        client.close();
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
                self.snapshot = self.driver.session().snapshot(false);
                self.call(Operation::Suspend);
            }
            "snapshot" => self.snapshot = self.driver.session().snapshot(true),
            "subscribe" | "unsubscribe" | "publish" | "request" | "bytes" => {
                if let Some(operation) = self.operation(word, rest) {
                    self.call(operation);
                }
            }
            "batch" => self.batch(rest),
            "forget" => {
                if let Some(call) = self.driver.waiting().iter().nth(number(rest) as usize).copied() {
                    self.handle(Input::Forget(call), 0);
                }
            }
            // Over the WebSocket, if there is one.
            "frame" if self.driver.has_socket() => self.receive(None, rest),
            // The response to the connect, or to the oldest of the others.
            "poll" => self.respond(Lane::Connect, rest),
            "response" => self.respond(Lane::Other, rest),
            "fail" => self.fail(rest),
            "progress" => {
                if let Some(exchange) = self.exchanges.keys().next().copied() {
                    self.handle(Input::Progress(exchange), 0);
                }
            }
            "arriving" if self.driver.has_socket() => self.handle(Input::Arriving, 0),
            "alive" if self.driver.has_socket() => self.handle(Input::Alive, 0),
            "reconnect" => self.handle(Input::Reconnect, 0),
            "veto" => self.veto(),
            "room" => {
                let mut numbers = rest.split_whitespace();
                let sink = SinkId(numbers.next().map_or(0, number) % 4);
                let room = numbers.next().map(|messages| (number(messages) as usize, 100));
                self.handle(Input::Credit(sink, room), 0);
            }
            // A driver with much to do passes more before it takes the outputs.
            "busy" => self.busy = number(rest).min(20),
            "credentials" if self.driver.is_asking() => {
                let outcome = match serde_json::from_str(rest) {
                    Ok(serde_json::Value::Object(keys)) => Ok(keys),
                    _ => Err("none".to_owned()),
                };
                self.handle(Input::Credentials(outcome), 0);
            }
            "wait" => self.pass(Duration::from_millis(number(rest).min(10_000_000))),
            "oversleep" => {
                let span = Duration::from_millis(number(rest).min(10_000_000));
                self.driver.set_now(self.driver.now() + span);
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
                Some((self.driver.new_call(), operation))
            })
            .collect();
        let count = calls.len();
        self.handle(Input::Batch(calls), count);
    }

    fn call(&mut self, operation: Operation) -> CallId {
        let call = self.driver.new_call();
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
        let Ok(messages) = self.driver.decode(&Bytes::copy_from_slice(json.as_bytes())) else {
            return match exchange {
                Some(exchange) => self.exchange_failed(exchange, failed(FailureKind::Malformed)),
                None => {}
            };
        };
        let messages: Vec<Message> = messages.into_iter().map(|message| self.fit(message)).collect();
        let granted = |message: &Message| message.channel() == &Channel::CONNECT && message.is_successful();
        self.proven |= messages.iter().any(granted);
        if let Some(exchange) = exchange {
            self.exchanges.remove(&exchange);
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

    fn exchange_failed(&mut self, exchange: ExchangeId, failure: Failure) {
        self.exchanges.remove(&exchange);
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
            if self.driver.has_socket() {
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
                    _ => {
                        self.exchanges.remove(&exchange);
                        self.driver.vetoed(exchange);
                    }
                }
                Some(message)
            }
            None => self.frame.take().filter(|_| self.driver.has_socket()),
        };
        let Some(message) = message else { return };
        self.handle(Input::Vetoed { message: Box::new(message), reason: "so".to_owned() }, 1);
    }

    /// Time passes, and the session is called whenever it wants to be.
    fn pass(&mut self, span: Duration) {
        self.settle();
        let until = self.driver.now() + span;
        for _ in 0..200 {
            if !self.driver.wake_until(until) {
                break;
            }
            self.settle();
        }
        self.driver.set_now(until);
        self.driver.pass(Input::Timeout);
        self.settle();
    }

    /// Nothing comes any more: every call ends.
    fn silence(&mut self) {
        let config = self.driver.config();
        let longest = config.call_timeout + config.request_timeout;
        let span = longest * 8 + config.open_timeout.unwrap_or_default();
        self.pass(span);
        let waiting = self.driver.waiting();
        assert!(waiting.is_empty(), "calls without an outcome: {waiting:?} in {:?}", self.driver.session());
    }

    fn close(&mut self) {
        self.call(Operation::Close);
        self.pass(self.driver.config().close_timeout * 2);
        assert_eq!(self.driver.session().state(), State::Disconnected);
        assert!(self.driver.waiting().is_empty(), "calls without an outcome: {:?}", self.driver.waiting());
        assert!(self.exchanges.is_empty(), "requests left behind: {:?}", self.exchanges);
        assert!(!self.driver.has_socket(), "a socket left behind");
    }

    fn handle(&mut self, input: Input, size: usize) {
        self.driver.pass(input);
        self.passed += size;
        match self.busy.checked_sub(1) {
            Some(left) => self.busy = left,
            None => self.settle(),
        }
    }

    /// Takes all outputs, and checks what must hold then.
    fn settle(&mut self) {
        self.busy = 0;
        self.drain();
        // A session that wants to be called at once, again and again, would keep a processor busy.
        for _ in 0..4 {
            if self.driver.wakes_at().is_none_or(|at| at > self.driver.now()) {
                break;
            }
            self.driver.pass(Input::Timeout);
            self.drain();
        }
        let (session, now) = (self.driver.session(), self.driver.now());
        let next = session.poll_timeout();
        assert!(next.is_none_or(|at| at > now), "at {now:?} called for {next:?}: {session:?}");
        if session.state() == State::Disconnected {
            assert_eq!(next, None, "a closed session wants nothing: {session:?}");
            assert_eq!(session.pending(), 0);
        } else {
            assert!(next.is_some() || self.driver.is_asking(), "it would wait for ever: {session:?}");
        }
        assert!(
            session.pending() <= self.driver.config().max_pending + self.desired.len() + 1,
            "pending calls are bounded"
        );
    }

    fn drain(&mut self) {
        let known = self.driver.waiting().len() + self.desired.len() + self.exchanges.len();
        // Each input of a burst is good for as many as one alone.
        let most = 64 * 20 + 8 * (std::mem::take(&mut self.passed) + known);
        for _ in 0..most {
            match self.driver.poll() {
                Some(output) => self.output(output),
                None => return self.driver.assert_kept(),
            }
        }
        panic!("more than {most} outputs for one burst: {:?}", self.driver.session());
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Send(transmit) => self.send(transmit),
            Output::Cancel(exchange) => drop(self.exchanges.remove(&exchange)),
            Output::Deliver { sinks, messages } => {
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
                let lapsed = self.driver.session().state() == State::Handshaking && self.proven;
                let pauses = failures > 0 && !std::mem::take(&mut self.changed) && !lapsed;
                assert!(
                    !pauses || delay >= Duration::from_millis(5),
                    "a retry in {delay:?} after {failures} failures: {cause:?}"
                );
            }
            _ => {}
        }
    }

    fn send(&mut self, transmit: Transmit) {
        let read = Decoder::new().decode(&encode(&transmit.messages)).expect("what is sent can be read");
        assert_eq!(read.messages.len(), transmit.messages.len());
        for message in &transmit.messages {
            if message.channel() == &Channel::HANDSHAKE {
                self.proven = false;
            }
            self.asked.extend(message.id().cloned().map(|id| (message.channel().clone(), id)));
        }
        let surplus = self.asked.len().saturating_sub(64);
        self.asked.drain(..surplus);
        if transmit.transport.is_duplex() {
            self.frame = transmit.messages.into_iter().next();
        } else {
            self.exchanges.insert(transmit.exchange, transmit);
        }
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}
