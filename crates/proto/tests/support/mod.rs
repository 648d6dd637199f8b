//! Drives a client's session in virtual time, with the server's side in the test's hands.
//!
//! The [`Harness`] keeps to the contract of the session: one input, then all outputs, then the next input, at the
//! latest when `poll_timeout` says. What a session must never do, it checks at each step.

// Each test file uses a part of this.
#![allow(dead_code, unused_imports)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

mod sent;
mod story;
mod world;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bayeux_proto::client::{
    AuthReason, Backoff, CallError, CallId, CallResult, Config, Event, ExchangeId, FailedAttempt, Failure,
    FailureKind, Input, Lane, Operation, Output, Retry, Session, SinkId, State, Verdict,
};
use bayeux_proto::codec::Decoder;
use bayeux_proto::{Channel, Data, Message, Time, Transport};
use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) use bayeux_proto::Transport::{LongPolling, WebSocket};
pub(crate) use sent::Sent;
pub(crate) use world::World;

pub(crate) const INBOX: SinkId = SinkId::INBOX;
pub(crate) const BOTH: [Transport; 2] = [WebSocket, LongPolling];

/// More outputs, or timers at one moment, than any test needs: it is a loop.
const LOOP: usize = 10_000;

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn channel(name: &str) -> Channel {
    Channel::parse(name).unwrap()
}

/// Settings whose delays can be told beforehand: 1 s, 2 s, 4 s … 30 s. No pings unless a test is about them.
pub(crate) fn config(transports: &[Transport]) -> Config {
    let mut config = Config::default();
    config.transports = transports.to_vec();
    config.retry = Retry::new(Backoff::exponential(secs(1)..=secs(30)));
    config.ping_interval = None;
    config
}

pub(crate) fn publish(name: &str, data: Value) -> Operation {
    Operation::Publish { channel: channel(name), data: Data::from(data) }
}

pub(crate) fn subscribe(name: &str, sink: SinkId) -> Operation {
    Operation::Subscribe { channel: channel(name), sink }
}

pub(crate) type Decide = Box<dyn FnMut(&FailedAttempt) -> Verdict>;

pub(crate) struct Harness {
    pub(crate) session: Session,
    decoder: Decoder,
    now: Time,
    calls: u64,
    /// Batches that the test has not looked at yet.
    sent: VecDeque<Sent>,
    /// Batches that are not answered yet, looked at or not.
    in_flight: Vec<Sent>,
    pub(crate) outcomes: BTreeMap<CallId, CallResult>,
    pub(crate) events: Vec<Event>,
    pub(crate) delivered: Vec<(SinkId, Message)>,
    /// What happened, in order, for tests about the order of things.
    pub(crate) story: Vec<String>,
    pub(crate) lost: Vec<(Vec<SinkId>, Channel, CallError)>,
    pub(crate) asked: Vec<AuthReason>,
    pub(crate) cancelled: Vec<ExchangeId>,
    /// For each closed WebSocket, whether gracefully.
    pub(crate) closed: Vec<bool>,
    pub(crate) pings: usize,
    pub(crate) cookie_resets: usize,
    /// Decides about failed attempts.
    pub(crate) decide: Option<Decide>,
    /// What [`Harness::serve`] adds to its replies to handshakes and connects.
    pub(crate) handshake_extra: Value,
    pub(crate) connect_extra: Value,
    granted: u64,
}

impl Harness {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            session: Session::new(config),
            decoder: Decoder::new(),
            // Not the origin, so that "never" and "at the beginning" cannot be mixed up.
            now: Time::from_origin(secs(1000)),
            calls: 0,
            sent: VecDeque::new(),
            in_flight: Vec::new(),
            outcomes: BTreeMap::new(),
            events: Vec::new(),
            delivered: Vec::new(),
            story: Vec::new(),
            lost: Vec::new(),
            asked: Vec::new(),
            cancelled: Vec::new(),
            closed: Vec::new(),
            pings: 0,
            decide: None,
            cookie_resets: 0,
            handshake_extra: json!({}),
            connect_extra: json!({"advice": {"reconnect": "retry", "interval": 0, "timeout": 30_000}}),
            granted: 0,
        }
    }

    /// A session that may use that transport only, not open yet.
    pub(crate) fn over(transport: Transport) -> Self {
        Self::new(config(&[transport]))
    }

    /// A session over that transport whose second connect is held by the server.
    pub(crate) fn connected(transport: Transport) -> Self {
        Self::over(transport).opened()
    }

    /// Opens the session, at a server that grants everything.
    pub(crate) fn opened(mut self) -> Self {
        let open = self.open();
        self.serve();
        assert!(self.ok(open).is_successful());
        assert_eq!(self.session.state(), State::Connected);
        self
    }

    // What goes in.

    pub(crate) fn input(&mut self, input: Input) {
        self.session.handle(input, self.now);
        self.drain();
    }

    pub(crate) fn call(&mut self, operation: Operation) -> CallId {
        let call = self.new_call();
        self.input(Input::Call(call, operation));
        call
    }

    pub(crate) fn batch(&mut self, operations: Vec<Operation>) -> Vec<CallId> {
        let calls: Vec<_> = operations.into_iter().map(|operation| (self.new_call(), operation)).collect();
        let ids = calls.iter().map(|(call, _)| *call).collect();
        self.input(Input::Batch(calls));
        ids
    }

    /// Calls that are handed in before the outputs are taken, as a driver does with a burst.
    pub(crate) fn burst(&mut self, operations: impl IntoIterator<Item = Operation>) -> Vec<CallId> {
        let mut ids = Vec::new();
        for operation in operations {
            let call = self.new_call();
            self.session.handle(Input::Call(call, operation), self.now);
            ids.push(call);
        }
        self.drain();
        ids
    }

    pub(crate) fn new_call(&mut self) -> CallId {
        self.calls += 1;
        CallId(self.calls)
    }

    pub(crate) fn open(&mut self) -> CallId {
        self.call(Operation::Open)
    }

    pub(crate) fn close(&mut self) -> CallId {
        self.call(Operation::Close)
    }

    pub(crate) fn subscribe(&mut self, name: &str) -> CallId {
        self.call(subscribe(name, INBOX))
    }

    pub(crate) fn unsubscribe(&mut self, name: &str, sink: SinkId) -> CallId {
        self.call(Operation::Unsubscribe { channel: channel(name), sink })
    }

    pub(crate) fn publish(&mut self, name: &str, data: Value) -> CallId {
        self.call(publish(name, data))
    }

    pub(crate) fn request(&mut self, name: &str, data: Value) -> CallId {
        self.call(Operation::Request { channel: channel(name), data: Data::from(data), timeout: None })
    }

    // The server's side.

    /// The next batch that the session sent.
    #[track_caller]
    pub(crate) fn take(&mut self) -> Sent {
        self.sent.pop_front().expect("nothing was sent")
    }

    /// The next batch that the session sent, if there is one.
    pub(crate) fn take_any(&mut self) -> Option<Sent> {
        self.sent.pop_front()
    }

    /// The next batch, which begins with a message on that channel.
    #[track_caller]
    pub(crate) fn take_on(&mut self, name: &str) -> Sent {
        let sent = self.take();
        assert_eq!(sent.channel(), name, "{sent:?}");
        sent
    }

    #[track_caller]
    pub(crate) fn nothing_sent(&self) {
        assert!(self.sent.is_empty(), "{:?}", self.sent);
    }

    /// The connect that is not answered.
    #[track_caller]
    pub(crate) fn held(&self) -> Sent {
        self.connects().pop().expect("no connect is out")
    }

    pub(crate) fn connects(&self) -> Vec<Sent> {
        self.in_flight.iter().filter(|sent| sent.lane == Lane::Connect).cloned().collect()
    }

    /// The HTTP requests that are under way.
    pub(crate) fn http_requests(&self) -> usize {
        self.in_flight.iter().filter(|sent| sent.transport == LongPolling).count()
    }

    /// Grants each message of a batch; `more` is added to each reply.
    pub(crate) fn grant(&mut self, sent: &Sent, more: Value) {
        let replies = sent.messages.iter().map(|message| sent::reply(message, true, &more)).collect();
        self.respond(sent, Value::Array(replies));
    }

    /// Refuses each message of a batch.
    pub(crate) fn refuse(&mut self, sent: &Sent, error: &str, more: Value) {
        let mut more = more;
        more["error"] = error.into();
        let replies = sent.messages.iter().map(|message| sent::reply(message, false, &more)).collect();
        self.respond(sent, Value::Array(replies));
    }

    /// Answers a batch with exactly this.
    pub(crate) fn respond(&mut self, sent: &Sent, body: Value) {
        self.respond_with(sent, &body.to_string());
    }

    pub(crate) fn respond_with(&mut self, sent: &Sent, body: &str) {
        let messages = self.decode(body);
        let exchange = (sent.transport == LongPolling).then_some(sent.exchange);
        match exchange {
            Some(exchange) => self.in_flight.retain(|other| other.exchange != exchange),
            None => self.settle(&messages),
        }
        self.input(Input::Received { exchange, messages });
    }

    /// A frame that the server sends over the WebSocket.
    pub(crate) fn push(&mut self, body: Value) {
        let messages = self.decode(&body.to_string());
        self.settle(&messages);
        self.input(Input::Received { exchange: None, messages });
    }

    /// A frame, and the end of the socket, handed in before the outputs are taken, as a driver does with a burst.
    pub(crate) fn push_and_cut(&mut self, body: Value) {
        let messages = self.decode(&body.to_string());
        self.settle(&messages);
        self.session.handle(Input::Received { exchange: None, messages }, self.now);
        self.in_flight.clear();
        self.input(Input::TransportLost(Failure::new(FailureKind::Lost, "cut")));
    }

    /// An event for a subscriber: by itself over a WebSocket, with the held connect over HTTP.
    pub(crate) fn event(&mut self, name: &str, data: Value) {
        let event = json!({"channel": name, "data": data});
        if self.session.transport() == WebSocket {
            self.push(json!([event]));
        } else {
            let held = self.held();
            let reply = sent::reply(held.message(), true, &json!({}));
            self.respond(&held, json!([event, reply]));
        }
    }

    /// The HTTP exchange fails, or the WebSocket breaks.
    pub(crate) fn fail(&mut self, sent: &Sent, kind: FailureKind) {
        self.fail_with(sent, Failure::new(kind, format!("as the test wants: {kind:?}")));
    }

    /// The same with a failure of the test's.
    pub(crate) fn fail_with(&mut self, sent: &Sent, failure: Failure) {
        if sent.transport == LongPolling {
            self.in_flight.retain(|other| other.exchange != sent.exchange);
            self.input(Input::ExchangeFailed(sent.exchange, failure));
        } else {
            self.in_flight.retain(|other| other.transport == LongPolling);
            self.input(Input::TransportLost(failure));
        }
    }

    /// Everything that is under way fails.
    pub(crate) fn cut(&mut self, kind: FailureKind) {
        while let Some(sent) = self.in_flight.first().cloned() {
            self.fail(&sent, kind);
        }
        self.sent.clear();
    }

    /// Plays a server that grants everything and holds connects, until there is nothing to answer.
    pub(crate) fn serve(&mut self) {
        while let Some(sent) = self.sent.pop_front() {
            self.serve_one(&sent);
        }
    }

    pub(crate) fn serve_one(&mut self, sent: &Sent) {
        match sent.channel() {
            Channel::HANDSHAKE => {
                self.granted += 1;
                let mut more = json!({
                    "clientId": format!("client-{}", self.granted),
                    "version": "1.0",
                    "supportedConnectionTypes": ["websocket", "long-polling"],
                });
                sent::merge(&mut more, &self.handshake_extra);
                self.grant(sent, more);
            }
            Channel::CONNECT if sent.is_probe() => {
                let more = self.connect_extra.clone();
                self.grant(sent, more);
            }
            Channel::CONNECT => {}
            _ => self.grant(sent, json!({})),
        }
    }

    fn decode(&mut self, body: &str) -> Vec<Message> {
        self.decoder.decode(&Bytes::copy_from_slice(body.as_bytes())).unwrap().messages
    }

    /// Over a WebSocket, replies are what ends a batch. One without id answers the oldest message on its channel.
    fn settle(&mut self, messages: &[Message]) {
        for anonymous in messages.iter().filter(|message| message.id().is_none()) {
            let answered = |sent: &Sent| sent.transport == WebSocket && anonymous.channel() == sent.channel();
            if anonymous.fields().successful.is_some()
                && let Some(at) = self.in_flight.iter().position(answered)
            {
                self.in_flight.remove(at);
            }
        }
        for id in messages.iter().filter_map(|message| Some(message.id()?.to_string())) {
            self.in_flight.retain_mut(|sent| {
                if sent.transport == WebSocket {
                    sent.open.retain(|open| *open != id);
                }
                !sent.open.is_empty()
            });
        }
    }

    // Time.

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Jumps to the moment that the session waits for. How far that was.
    #[track_caller]
    pub(crate) fn jump(&mut self) -> Duration {
        let at = self.session.poll_timeout().expect("the session waits for nothing");
        let before = self.now;
        self.now = self.now.max(at);
        self.input(Input::Timeout);
        self.now.since(before)
    }

    /// Lets that much time pass, with a stop at each moment that the session waits for.
    #[track_caller]
    pub(crate) fn elapse(&mut self, span: Duration) {
        let end = self.now + span;
        let mut stuck = 0;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            stuck = if at > self.now { 0 } else { stuck + 1 };
            assert!(stuck < 10, "the session waits for {at:?}, which is past, again and again");
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    /// Lets time pass until something is sent. What it is, and how long that took.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, name: &str) -> (Sent, Duration) {
        let before = self.now;
        for _ in 0..LOOP {
            if self.sent.is_empty() {
                self.jump();
            } else {
                let sent = self.take_on(name);
                return (sent, self.now.since(before));
            }
        }
        panic!("nothing was sent on {name}");
    }

    // What came out.

    #[track_caller]
    pub(crate) fn outcome(&self, call: CallId) -> &CallResult {
        self.outcomes.get(&call).expect("the call has no outcome yet")
    }

    #[track_caller]
    pub(crate) fn ok(&self, call: CallId) -> &Message {
        match self.outcome(call) {
            Ok(reply) => reply,
            Err(error) => panic!("the call failed: {error}"),
        }
    }

    #[track_caller]
    pub(crate) fn err(&self, call: CallId) -> &CallError {
        self.outcome(call).as_ref().expect_err("the call succeeded")
    }

    pub(crate) fn is_pending(&self, call: CallId) -> bool {
        !self.outcomes.contains_key(&call)
    }

    /// The payloads that a receiver got, in order.
    pub(crate) fn received(&self, sink: SinkId) -> Vec<String> {
        let own = self.delivered.iter().filter(|(to, _)| *to == sink);
        own.map(|(_, message)| message.data().as_str().to_owned()).collect()
    }

    pub(crate) fn inbox(&self) -> Vec<String> {
        self.received(INBOX)
    }

    pub(crate) fn count(&self, fits: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| fits(event)).count()
    }

    pub(crate) fn state(&self) -> State {
        self.session.state()
    }

    fn drain(&mut self) {
        for _ in 0..LOOP {
            let Some(output) = self.session.poll_output() else { return };
            self.output(output);
        }
        panic!("the outputs have no end");
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Send(transmit) => {
                let sent = Sent::new(transmit, self.now);
                self.story.push(format!("send {}", sent.channels().join(" ")));
                self.in_flight.push(sent.clone());
                self.sent.push_back(sent);
                self.check_lanes();
            }
            Output::Cancel(exchange) => {
                self.in_flight.retain(|sent| sent.exchange != exchange);
                self.cancelled.push(exchange);
            }
            Output::CloseWebSocket { graceful } => {
                self.in_flight.retain(|sent| sent.transport == LongPolling);
                self.closed.push(graceful);
            }
            Output::Ping => self.pings += 1,
            Output::ResetCookies => self.cookie_resets += 1,
            Output::Deliver { sinks, messages } => {
                for message in messages {
                    self.story.push(format!("deliver {}", message.data()));
                    self.delivered.extend(sinks.iter().map(|sink| (*sink, message.clone())));
                }
            }
            Output::Resolve(call, result) => {
                self.story.push(format!("resolve {}", call.0));
                let before = self.outcomes.insert(call, result);
                assert!(before.is_none(), "{call:?} was resolved twice: {before:?}");
            }
            Output::SubscriptionLost { sinks, channel, error } => self.lost.push((sinks, channel, error)),
            Output::Event(event) => {
                let text = format!("{event:?}");
                let name: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
                self.story.push(name);
                self.events.push(event);
            }
            Output::Authenticate(reason) => self.asked.push(reason),
            Output::DecideRetry(failed) => {
                let decide = self.decide.as_mut().expect("the harness was given nobody who decides");
                let verdict = decide(&failed);
                self.session.handle(Input::RetryDecided(verdict), self.now);
            }
        }
    }

    /// At most one connect of a session is out, and at most two HTTP requests are.
    fn check_lanes(&self) {
        let connects = self.connects();
        let twice = connects
            .iter()
            .any(|one| connects.iter().filter(|other| other["clientId"] == one["clientId"]).count() > 1);
        assert!(!twice, "two connects are outstanding: {connects:?}");
        assert!(self.http_requests() <= 2, "more than two HTTP requests: {:?}", self.in_flight);
    }
}
