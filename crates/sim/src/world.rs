//! The state of a simulated world, and the small steps that all its parts share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::client::{ExchangeId, Failure, FailureKind};
use bayeux_proto::server::{LinkId, ServiceToken};
use bayeux_proto::{Data, Time};
use bytes::Bytes;

use crate::chance::Chance;
use crate::client::Client;
use crate::fault::{Counts, Fate, Fault, Leg};
use crate::gate::Gate;
use crate::law::{Law, Violation};
use crate::ledger::Wrong;
use crate::post::Post;
use crate::queue::Queue;
use crate::scenario::{Repeated, Scenario, Step};
use crate::server::Server;
use crate::trace::Trace;

/// Clients, servers and a network in virtual time. Each part of what happens is an `impl` in a file of its own:
/// `http` and `socket` carry messages, `serving` and `acting` are the shells of the server and the clients above them,
/// and `life` runs it all.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) future: Queue<Happening>,
    pub(crate) chance: Chance,
    /// All servers: those of the first address, then those of its fallbacks.
    pub(crate) servers: Vec<Server>,
    /// How many servers share an address, behind a balancer with a sticky cookie.
    pub(crate) nodes: usize,
    /// Whether servers require the cookies that they set.
    pub(crate) cookies: bool,
    /// Who checks credentials, if servers require them.
    pub(crate) gate: Option<Arc<Gate>>,
    /// How likely a client or server is busy when something comes, so that it handles a burst.
    pub(crate) bursts: f64,
    pub(crate) clients: Vec<Client>,
    pub(crate) exchanges: BTreeMap<LinkId, Exchange>,
    pub(crate) sockets: BTreeMap<LinkId, Socket>,
    pub(crate) post: Post,
    pub(crate) trace: Trace,
    pub(crate) faults: Counts,
    pub(crate) violation: Option<Violation>,
    pub(crate) refusals: f64,
    pub(crate) service_answers: f64,
    pub(crate) calls: u64,
    pub(crate) failed_calls: u64,
    pub(crate) delivered: u64,
    /// Nothing goes wrong but that links are slow.
    pub(crate) is_only_slow: bool,
    /// Until when things go wrong.
    pub(crate) heals_at: Duration,
    /// How much longer calls may take, because links are slow.
    pub(crate) slack: Duration,
    last_link: u64,
}

/// Something that is to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A client's timer, if it was not set anew since.
    ClientTimer(usize, Time),
    /// A server's.
    ServerTimer(usize, Time),
    /// A client that was busy handles what has come meanwhile.
    ClientTurn(usize),
    /// A server does.
    ServerTurn(usize),
    /// A user does something.
    Step(usize, Step),
    /// A user does something again.
    Again(usize, Repeated),
    /// A user takes a message out of a receiver's queue.
    Drain(usize, bayeux_proto::client::SinkId),
    /// Something goes wrong.
    Fault(Fault),
    /// A server comes up.
    Up(usize),
    /// A server that was shut down is down.
    Down(usize),
    /// The server has written a response; how often it had come up by then.
    Written(usize, u32, LinkId),
    /// A client's source of credentials answers a question.
    Credentials(usize, u64),
    /// An HTTP request comes to the server.
    Request(LinkId, Bytes),
    /// Something of its response comes to the client.
    Response(LinkId, Outcome),
    /// The server notices that a request or socket is gone.
    Gone(LinkId),
    /// An upgrade ends.
    Upgraded(LinkId, Option<Failure>),
    /// A frame comes to the server.
    FrameUp(LinkId, Bytes),
    /// A frame comes to the client.
    FrameDown(LinkId, Bytes),
    /// A part of a frame comes to the client.
    Arriving(LinkId),
    /// The answer to a ping comes.
    Pong(LinkId),
    /// The client notices that its socket is gone.
    Lost(LinkId, Failure),
    /// A service has its answer.
    Answer(usize, ServiceToken, Data, u32),
}

/// What comes in answer to a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Part,
    Body(Bytes),
    Failed(Failure),
}

/// An HTTP request on its way.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) client: usize,
    pub(crate) id: ExchangeId,
    pub(crate) address: usize,
    pub(crate) server: usize,
    /// How often the server had come up when it was sent; `None` if it was down.
    pub(crate) epoch: Option<u32>,
    /// The cookie and the token that it carries.
    pub(crate) browser: Option<Arc<str>>,
    pub(crate) token: Option<u64>,
    /// The cookie that the response sets.
    pub(crate) sets: Option<Arc<str>>,
    /// The server waits to answer it.
    pub(crate) held: bool,
    /// It is one that middleboxes may repeat, a handshake or a connect.
    pub(crate) repeatable: bool,
    /// The client has given it up.
    pub(crate) given_up: bool,
}

/// A WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) client: usize,
    pub(crate) address: usize,
    pub(crate) server: usize,
    pub(crate) epoch: u32,
    pub(crate) open: bool,
    /// Frames that wait for the upgrade.
    pub(crate) waiting: Vec<Bytes>,
    /// Nothing passes, and nobody knows.
    pub(crate) stalled: bool,
    /// The server has closed it, and listens no more.
    pub(crate) closed: bool,
    /// The client has closed it.
    pub(crate) left: bool,
    /// Without a word.
    pub(crate) dropped: bool,
    /// When the last frame arrives, in each direction: frames keep their order.
    pub(crate) last_up: Time,
    pub(crate) last_down: Time,
    /// How many frames the server has written into a stalled socket.
    pub(crate) swallowed: u32,
}

impl World {
    pub(crate) fn new(scenario: &Scenario, keep_trace: bool) -> Self {
        let mut chance = Chance::new(scenario.seed, scenario.latency.clone(), scenario.weather);
        let clients: Vec<Client> = scenario
            .clients
            .iter()
            .enumerate()
            .map(|(number, actor)| Client::new(number, actor, scenario, chance.random.u64(..)))
            .collect();
        let gate = scenario.credentials.map(|_| Arc::new(Gate::default()));
        let servers = (0..scenario.addresses * scenario.nodes)
            .map(|number| Server::new(number, scenario.server.clone(), gate.clone()))
            .collect();
        let mut world = Self {
            now: Time::ZERO,
            future: Queue::new(),
            chance,
            servers,
            nodes: scenario.nodes,
            cookies: scenario.cookies,
            gate,
            bursts: scenario.bursts,
            clients,
            exchanges: BTreeMap::new(),
            sockets: BTreeMap::new(),
            post: Post::default(),
            trace: Trace::new(keep_trace),
            faults: Counts::default(),
            violation: None,
            refusals: scenario.refusals,
            service_answers: scenario.service_answers,
            calls: 0,
            failed_calls: 0,
            delivered: 0,
            is_only_slow: scenario.is_only_slow(),
            heals_at: scenario.heals_at(),
            slack: scenario.slack(),
            last_link: 0,
        };
        for (at, fault) in &scenario.faults {
            world.future.plan(Time::from_origin(*at), Happening::Fault(*fault));
        }
        for (client, actor) in scenario.clients.iter().enumerate() {
            for (at, step) in &actor.steps {
                world.future.plan(Time::from_origin(*at), Happening::Step(client, step.clone()));
            }
            for again in &actor.repeated {
                world.future.plan(Time::from_origin(again.from), Happening::Again(client, again.clone()));
            }
        }
        world
    }

    pub(crate) fn plan(&mut self, after: Duration, happening: Happening) {
        self.future.plan(self.now + after, happening);
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.line(self.now, line);
    }

    /// Lets the time pass, also for those who check credentials.
    pub(crate) fn set_now(&mut self, now: Time) {
        self.now = self.now.max(now);
        if let Some(gate) = &self.gate {
            gate.set_now(self.now);
        }
    }

    /// Keeps the first violation: what follows from it says less.
    pub(crate) fn check(&mut self, client: usize, outcome: Result<(), Wrong>) {
        if let Err((law, what)) = outcome
            && self.violation.is_none()
        {
            let violation = Violation { law, at: self.now, client, what };
            self.note(|| format!("**  {violation}"));
            self.violation = Some(violation);
        }
    }

    pub(crate) fn break_law(&mut self, client: usize, law: Law, what: String) {
        self.check(client, Err((law, what)));
    }

    /// What becomes of messages on one way, which is counted and told when it is trouble.
    pub(crate) fn fate(&mut self, leg: Leg, client: usize) -> Fate {
        let fate = self.chance.fate(leg, self.now);
        if fate != Fate::Arrive {
            self.faults.count(fate.name(leg));
            self.note(|| format!("!!  c{client} {}", fate.name(leg)));
        }
        fate
    }

    pub(crate) fn new_link(&mut self) -> LinkId {
        self.last_link += 1;
        LinkId(self.last_link)
    }

    pub(crate) fn is_up(&self, server: usize) -> bool {
        self.servers.get(server).is_some_and(|server| server.engine.is_some())
    }

    /// Whether a client or server has no time for what comes, so that more comes before it has.
    pub(crate) fn is_busy(&mut self) -> bool {
        !self.chance.is_search() && self.chance.chance(self.bursts)
    }

    /// Whether a token of a client is refused by the gateway in front of a server.
    pub(crate) fn is_unauthorized(&self, token: Option<u64>) -> bool {
        self.gate.as_ref().is_some_and(|gate| !token.is_some_and(|token| gate.is_valid(token)))
    }

    /// The server behind an address that a client's request reaches: the one that its cookie names, as long as that is up.
    pub(crate) fn balance(&mut self, client: usize, address: usize) -> usize {
        let first = address * self.nodes;
        let stuck = self.clients[client].jar(address).node;
        if let Some(stuck) = stuck.filter(|server| self.is_up(*server)) {
            return stuck;
        }
        let up: Vec<usize> = (first..first + self.nodes).filter(|server| self.is_up(*server)).collect();
        match up.len() {
            0 => first,
            1 => up[0],
            count => up[self.chance.random.usize(..count)],
        }
    }

    /// How much longer a client is cut off.
    pub(crate) fn cut_off(&self, client: usize) -> Duration {
        self.clients[client].cut_off_until.since(self.now)
    }

    /// How long what is late is late: often too long for somebody's patience.
    pub(crate) fn lateness(&mut self) -> Duration {
        self.chance.up_to(Duration::from_secs(20))
    }
}

/// What the transports of the real client report.
pub(crate) fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, format!("the simulated network: {kind:?}"))
}

/// The number of a message, which stands first in its payload.
pub(crate) fn number_of(data: &Data) -> Option<u32> {
    let digits = data.as_str().strip_prefix("{\"n\":")?;
    digits[..digits.find([',', '}'])?].parse().ok()
}

/// A payload with a number and some filling.
pub(crate) fn payload(number: u32, filling: usize) -> Data {
    let json = if filling == 0 {
        format!("{{\"n\":{number}}}")
    } else {
        format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(filling))
    };
    Data::from_json(&json).unwrap_or_else(|_| Data::from(serde_json::Value::Null))
}
