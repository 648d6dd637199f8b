//! A client's session and a server's engine, joined by a wire that takes a millisecond, in virtual time.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::time::Duration;

use bayeux_proto::client::{self, CallId, CallResult, ExchangeId, Failure, FailureKind, Operation, Session};
use bayeux_proto::codec;
use bayeux_proto::server::{self, AllowAll, LinkId, LinkKind, RemovedBecause};
use bayeux_proto::{Channel, ClientId, Data, Time, Transport};
use bayeux_sim::{ClientDriver, Records, ServerDriver};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{LOOP, WebSocket, channel, millis, secs};

/// How long a packet takes.
const WIRE: Duration = Duration::from_millis(1);

pub(crate) struct Pair {
    client: ClientDriver,
    records: Records,
    /// `None` while the server is down.
    pub(crate) engine: Option<ServerDriver>,
    /// Something on the way refuses upgrades.
    pub(crate) upgrades_refused: bool,
    server: server::Config,
    wire: BTreeMap<(Time, u64), Packet>,
    count: u64,
    socket: Option<LinkId>,
    requests: HashMap<ExchangeId, LinkId>,
    pub(crate) clients: Vec<ClientId>,
    pub(crate) removed: Vec<RemovedBecause>,
    /// How many connects reached the server.
    pub(crate) connects: usize,
}

enum Packet {
    ToServer(LinkId, LinkKind, Bytes),
    GoneAtServer(LinkId),
    Response(LinkId, Bytes),
    Failed(ExchangeId, FailureKind),
    Frame(LinkId, Bytes),
    Closed(LinkId, FailureKind),
}

impl Pair {
    pub(crate) fn new(client: client::Config, server: server::Config) -> Self {
        let now = Time::from_origin(secs(1000));
        Self {
            client: ClientDriver::new(client, now),
            records: Records::default(),
            engine: Some(ServerDriver::new(server.clone(), AllowAll, now)),
            upgrades_refused: false,
            server,
            wire: BTreeMap::new(),
            count: 0,
            socket: None,
            requests: HashMap::new(),
            clients: Vec::new(),
            removed: Vec::new(),
            connects: 0,
        }
    }

    // What a user does.

    pub(crate) fn call(&mut self, operation: Operation) -> CallId {
        let call = self.client.call(operation);
        self.drain_client();
        call
    }

    pub(crate) fn batch(&mut self, operations: Vec<Operation>) -> Vec<CallId> {
        let calls = self.client.batch(operations);
        self.drain_client();
        calls
    }

    /// A call, and all the time that it needs.
    #[track_caller]
    pub(crate) fn done(&mut self, operation: Operation) -> CallResult {
        let call = self.call(operation);
        for _ in 0..LOOP {
            if let Some(outcome) = self.records.outcomes.remove(&call) {
                return outcome;
            }
            self.step(None);
        }
        panic!("the call has no outcome");
    }

    pub(crate) fn session(&self) -> &Session {
        self.client.session()
    }

    // What the server does.

    pub(crate) fn server_publishes(&mut self, name: &str, data: Value) {
        self.tell_server(server::Input::Publish { channel: channel(name), data: Data::from(data) });
    }

    pub(crate) fn tell_server(&mut self, input: server::Input) {
        if let Some(engine) = &mut self.engine {
            engine.set_now(self.client.now());
            engine.pass(input);
            self.drain_server();
        }
    }

    /// The server stops without a word.
    pub(crate) fn stop_server(&mut self) {
        self.engine = None;
        self.wire.clear();
        let lost = FailureKind::Lost;
        for exchange in self.requests.keys().copied().collect::<Vec<_>>() {
            self.send(Packet::Failed(exchange, lost));
        }
        if let Some(socket) = self.socket {
            self.send(Packet::Closed(socket, FailureKind::Closed { code: 1006 }));
        }
    }

    /// Another server at the same address, which knows nobody.
    pub(crate) fn start_server(&mut self) {
        self.server.seed[0] += 1;
        self.engine = Some(ServerDriver::new(self.server.clone(), AllowAll, self.now()));
    }

    /// All packets under way are lost, and the connections with them; the server does not know yet.
    pub(crate) fn cut(&mut self) {
        self.wire.clear();
        for exchange in self.requests.keys().copied().collect::<Vec<_>>() {
            self.send(Packet::Failed(exchange, FailureKind::Lost));
        }
        if let Some(socket) = self.socket {
            self.send(Packet::Closed(socket, FailureKind::Lost));
        }
    }

    // Time.

    pub(crate) fn now(&self) -> Time {
        self.client.now()
    }

    /// Lets that much time pass.
    #[track_caller]
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now() + span;
        for _ in 0..LOOP * 10 {
            if !self.step(Some(end)) {
                return;
            }
        }
        panic!("it goes round and round");
    }

    /// Goes to the next thing that happens, if it does before `end`.
    fn step(&mut self, end: Option<Time>) -> bool {
        let packet = self.wire.keys().next().map(|(at, _)| *at);
        let client = self.client.wakes_at();
        let server = self.engine.as_ref().and_then(ServerDriver::wakes_at);
        let next = [packet, client, server].into_iter().flatten().min();
        let Some(next) = next.filter(|next| end.is_none_or(|end| *next <= end)) else {
            self.client.set_now(end.unwrap_or(self.now()));
            return false;
        };
        self.client.set_now(next);
        if packet == Some(next) {
            let (_, packet) = self.wire.pop_first().expect("a packet is due");
            self.arrive(packet);
        } else if client == Some(next) {
            self.tell_client(client::Input::Timeout);
        } else {
            self.tell_server(server::Input::Timeout);
        }
        true
    }

    fn send(&mut self, packet: Packet) {
        self.count += 1;
        self.wire.insert((self.now() + WIRE, self.count), packet);
    }

    fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::ToServer(link, kind, body) => {
                let messages = self.client.decode(&body).unwrap();
                self.connects += messages.iter().filter(|one| one.channel() == Channel::CONNECT).count();
                self.tell_server(server::Input::Received { link, kind, messages });
            }
            Packet::GoneAtServer(link) => self.tell_server(server::Input::LinkClosed(link)),
            Packet::Response(link, body) => {
                self.tell_server(server::Input::LinkClosed(link));
                let exchange = self.requests.iter().find(|(_, other)| **other == link).map(|(id, _)| *id);
                let Some(exchange) = exchange else { return };
                self.requests.remove(&exchange);
                let messages = self.client.decode(&body).unwrap();
                self.tell_client(client::Input::Received { exchange: Some(exchange), messages });
            }
            Packet::Failed(exchange, kind) => {
                if self.requests.remove(&exchange).is_some() {
                    self.tell_client(client::Input::ExchangeFailed(exchange, Failure::new(kind, "failed")));
                }
            }
            Packet::Frame(link, body) if self.socket == Some(link) => {
                let messages = self.client.decode(&body).unwrap();
                self.tell_client(client::Input::Received { exchange: None, messages });
            }
            Packet::Closed(link, kind) if self.socket == Some(link) => {
                self.socket = None;
                self.tell_server(server::Input::LinkClosed(link));
                self.tell_client(client::Input::TransportLost(Failure::new(kind, "closed")));
            }
            Packet::Frame(..) | Packet::Closed(..) => {}
        }
    }

    pub(crate) fn tell_client(&mut self, input: client::Input) {
        self.client.pass(input);
        self.drain_client();
    }

    #[track_caller]
    fn drain_client(&mut self) {
        while let Some(output) = self.client.poll() {
            if let Some(output) = self.records.keep(output) {
                self.client_wants(output);
            }
        }
        self.client.assert_kept();
    }

    fn client_wants(&mut self, output: client::Output) {
        use client::Output;
        match output {
            Output::Send(transmit) => {
                let body = codec::encode(&transmit.messages);
                self.client_sends(transmit.exchange, transmit.transport, body);
            }
            Output::Cancel(exchange) => {
                if let Some(link) = self.requests.remove(&exchange) {
                    self.send(Packet::GoneAtServer(link));
                }
            }
            Output::CloseWebSocket { .. } => {
                if let Some(link) = self.socket.take() {
                    self.send(Packet::GoneAtServer(link));
                }
            }
            Output::Ping => self.tell_client(client::Input::Alive),
            _ => {}
        }
    }

    fn client_sends(&mut self, exchange: ExchangeId, transport: Transport, body: Bytes) {
        self.count += 1;
        let new = LinkId(self.count);
        let up = self.engine.is_some();
        if transport == WebSocket {
            let link = *self.socket.get_or_insert(new);
            if self.upgrades_refused && link == new {
                self.send(Packet::Closed(link, FailureKind::UpgradeRefused { status: 404 }));
            } else if up {
                self.send(Packet::ToServer(link, LinkKind::WebSocket, body));
            } else {
                self.send(Packet::Closed(link, FailureKind::Unreachable));
            }
        } else {
            self.requests.insert(exchange, new);
            assert!(self.requests.len() <= 2, "more than two requests");
            if up {
                self.send(Packet::ToServer(new, LinkKind::Http, body));
            } else {
                self.send(Packet::Failed(exchange, FailureKind::Unreachable));
            }
        }
    }

    fn drain_server(&mut self) {
        while let Some(output) = self.engine.as_mut().and_then(ServerDriver::poll) {
            self.server_wants(output);
        }
        self.engine.iter().for_each(ServerDriver::assert_kept);
    }

    fn server_wants(&mut self, output: server::Output) {
        use server::Output;
        match output {
            Output::Respond { link, messages, .. } => self.send(Packet::Response(link, messages)),
            Output::Push { link, messages } => self.send(Packet::Frame(link, messages)),
            Output::Reject { link, status, .. } => {
                match self.requests.iter().find(|(_, other)| **other == link) {
                    Some((exchange, _)) => self.send(Packet::Failed(*exchange, FailureKind::Http { status })),
                    None => self.send(Packet::Closed(link, FailureKind::Closed { code: 1011 })),
                }
            }
            Output::Close { link, code, .. } => self.send(Packet::Closed(link, FailureKind::Closed { code })),
            Output::Service(call) => {
                let answer = Ok(Data::from(json!({"echo": call.data.decode::<Value>().unwrap()})));
                self.tell_server(server::Input::Answer { token: call.token, answer });
            }
            Output::Added(id) => self.clients.push(id),
            Output::Removed(_, because) => self.removed.push(because),
            _ => {}
        }
    }

    /// How long the wire needs for a question and its answer.
    pub(crate) fn round_trip() -> Duration {
        WIRE * 2 + millis(1)
    }
}

/// What the session did for its user.
impl Deref for Pair {
    type Target = Records;

    fn deref(&self) -> &Records {
        &self.records
    }
}
