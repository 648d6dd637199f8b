//! Drives a client's session in virtual time, with the server's side in the test's hands.
//!
//! The [`Harness`] is the server and the network around a [`ClientDriver`], which checks at each step what a session must
//! never do.

// Each test file uses a part of this.
#![allow(dead_code, unused_imports)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

mod pair;
mod sent;
mod story;

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bayeux_proto::client::{
    AuthReason, Backoff, CallError, CallId, CallResult, Config, ExchangeId, FailedAttempt, Failure,
    FailureKind, Input, Lane, Operation, Output, Retry, Session, SinkId, State, Verdict,
};
use bayeux_proto::{Channel, Data, Message, Time, Transport};
use bayeux_sim::{ClientDriver, Records};
use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) use bayeux_proto::Transport::{LongPolling, WebSocket};
pub(crate) use pair::Pair;
pub(crate) use sent::Sent;

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
    pub(crate) driver: ClientDriver,
    records: Records,
    /// Batches that the test has not looked at yet.
    sent: VecDeque<Sent>,
    /// Batches that are not answered yet, looked at or not.
    in_flight: Vec<Sent>,
    /// What happened, in order, for tests about the order of things.
    pub(crate) story: Vec<String>,
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
    /// How many inputs are to be passed before the outputs are taken.
    busy: u8,
}

impl Harness {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            // Not the origin, so that "never" and "at the beginning" cannot be mixed up.
            driver: ClientDriver::new(config, Time::from_origin(secs(1000))),
            records: Records::default(),
            sent: VecDeque::new(),
            in_flight: Vec::new(),
            story: Vec::new(),
            asked: Vec::new(),
            cancelled: Vec::new(),
            closed: Vec::new(),
            pings: 0,
            decide: None,
            cookie_resets: 0,
            handshake_extra: json!({}),
            connect_extra: json!({"advice": {"reconnect": "retry", "interval": 0, "timeout": 30_000}}),
            granted: 0,
            busy: 0,
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
        assert_eq!(self.state(), State::Connected);
        self
    }

    // What goes in.

    pub(crate) fn input(&mut self, input: Input) {
        self.driver.pass(input);
        self.drain_unless_busy();
    }

    pub(crate) fn call(&mut self, operation: Operation) -> CallId {
        let call = self.driver.call(operation);
        self.drain_unless_busy();
        call
    }

    pub(crate) fn batch(&mut self, operations: Vec<Operation>) -> Vec<CallId> {
        let calls = self.driver.batch(operations);
        self.drain_unless_busy();
        calls
    }

    /// So many inputs more are passed before the outputs are taken, unless time passes.
    pub(crate) fn be_busy(&mut self, inputs: u8) {
        self.busy = inputs;
    }

    fn drain_unless_busy(&mut self) {
        match self.busy.checked_sub(1) {
            Some(left) => self.busy = left,
            None => self.drain(),
        }
    }

    /// Calls that are handed in before the outputs are taken, as a driver does with a burst.
    pub(crate) fn burst(&mut self, operations: impl IntoIterator<Item = Operation>) -> Vec<CallId> {
        let ids = operations.into_iter().map(|operation| self.driver.call(operation)).collect();
        self.drain();
        ids
    }

    pub(crate) fn new_call(&mut self) -> CallId {
        self.driver.new_call()
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
        self.driver.pass(Input::Received { exchange: None, messages });
        self.in_flight.clear();
        self.input(Input::TransportLost(Failure::new(FailureKind::Lost, "cut")));
    }

    /// An event for a subscriber: by itself over a WebSocket, with the held connect over HTTP.
    pub(crate) fn event(&mut self, name: &str, data: Value) {
        let event = json!({"channel": name, "data": data});
        if self.session().transport() == WebSocket {
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
        self.driver.decode(&Bytes::copy_from_slice(body.as_bytes())).unwrap()
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
        self.driver.now()
    }

    /// Jumps to the moment that the session waits for. How far that was.
    #[track_caller]
    pub(crate) fn jump(&mut self) -> Duration {
        self.drain();
        let at = self.driver.wakes_at().expect("the session waits for nothing");
        let before = self.now();
        self.driver.set_now(at);
        self.input(Input::Timeout);
        self.now().since(before)
    }

    /// Lets that much time pass, with a stop at each moment that the session waits for.
    #[track_caller]
    pub(crate) fn elapse(&mut self, span: Duration) {
        self.drain();
        let end = self.now() + span;
        while self.driver.wake_until(end) {
            self.drain();
        }
        self.driver.assert_kept();
    }

    /// Lets time pass until something is sent. What it is, and how long that took.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, name: &str) -> (Sent, Duration) {
        let before = self.now();
        for _ in 0..LOOP {
            if self.sent.is_empty() {
                self.jump();
            } else {
                let sent = self.take_on(name);
                return (sent, self.now().since(before));
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

    pub(crate) fn inbox(&self) -> Vec<String> {
        self.received(INBOX)
    }

    pub(crate) fn session(&self) -> &Session {
        self.driver.session()
    }

    pub(crate) fn state(&self) -> State {
        self.session().state()
    }

    #[track_caller]
    pub(crate) fn drain(&mut self) {
        self.busy = 0;
        while let Some(output) = self.driver.poll() {
            self.tell(&output);
            if let Some(output) = self.records.keep(output) {
                self.output(output);
            }
        }
        self.driver.assert_kept();
    }

    /// Adds to the story what the user gets to see.
    fn tell(&mut self, output: &Output) {
        match output {
            Output::Deliver { messages, .. } => {
                self.story.extend(messages.iter().map(|message| format!("deliver {}", message.data())));
            }
            Output::Resolve(call, _) => self.story.push(format!("resolve {}", call.0)),
            Output::Event(event) => {
                let text = format!("{event:?}");
                self.story.push(text.chars().take_while(char::is_ascii_alphanumeric).collect());
            }
            _ => {}
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Send(transmit) => {
                let sent = Sent::new(transmit, self.now());
                self.story.push(format!("send {}", sent.channels().join(" ")));
                self.in_flight.push(sent.clone());
                self.sent.push_back(sent);
                assert!(self.http_requests() <= 2, "more than two HTTP requests: {:?}", self.in_flight);
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
            Output::Authenticate(reason) => self.asked.push(reason),
            Output::DecideRetry(failed) => {
                let decide = self.decide.as_mut().expect("the harness was given nobody who decides");
                let verdict = decide(&failed);
                self.driver.pass(Input::RetryDecided(verdict));
            }
            Output::Resolve(..)
            | Output::Deliver { .. }
            | Output::Event(_)
            | Output::SubscriptionLost { .. } => {}
        }
    }
}

/// What the session did for its user.
impl Deref for Harness {
    type Target = Records;

    fn deref(&self) -> &Records {
        &self.records
    }
}

impl DerefMut for Harness {
    fn deref_mut(&mut self) -> &mut Records {
        &mut self.records
    }
}
