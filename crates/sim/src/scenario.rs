//! What is to happen: who the clients are, what they do, and what goes wrong.

use std::ops::RangeInclusive;
use std::time::Duration;

use bayeux_proto::client::SinkId;
use bayeux_proto::{Channel, client, server};

use crate::fault::Fault;

/// A world to be: clients, a server, a network between them, and a plan for all three. The same scenario with the
/// same seed always goes the same way.
///
/// ```
/// use std::time::Duration;
/// use bayeux_sim::{Actor, Fault, Scenario, Step};
/// use bayeux_proto::{Channel, client};
///
/// let news = Channel::parse("/news").unwrap();
/// let seconds = Duration::from_secs;
/// let mut config = client::Config::default();
/// config.call_timeout = seconds(5);
/// let client = Actor::new(config)
///     .at(seconds(0), Step::Open)
///     .at(seconds(1), Step::subscribe(news.clone()))
///     .every(seconds(2)..=seconds(60), seconds(1), Step::publish(news));
/// let report = Scenario::new(1)
///     .client(client)
///     .fault(seconds(20), Fault::Restart { server: 0, down: seconds(5) })
///     .run()
///     .unwrap_or_else(|broken| panic!("{broken}"));
/// assert_eq!(report.faults.of("server restarted"), 1);
/// assert!(report.delivered > 40);
/// ```
#[derive(Clone, Debug)]
pub struct Scenario {
    pub(crate) seed: u64,
    pub(crate) server: server::Config,
    pub(crate) clients: Vec<Actor>,
    pub(crate) faults: Vec<(Duration, Fault)>,
    pub(crate) weather: Weather,
    pub(crate) latency: RangeInclusive<Duration>,
    pub(crate) refusals: f64,
    pub(crate) service_answers: f64,
    pub(crate) addresses: usize,
    pub(crate) nodes: usize,
    pub(crate) cookies: bool,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) bursts: f64,
}

/// Credentials that the servers, and the gateways in front of them, require: tokens, which every client gets from a source.
/// A token is valid for a while. It stands in handshakes, and in the head of each request and upgrade. When nothing goes
/// wrong any more, all tokens are revoked, and those that are given from then on are valid for ever.
#[derive(Clone, Copy, Debug)]
pub struct Credentials {
    /// How long a token is valid.
    pub lifetime: Duration,
    /// How long the source takes for a token, at most.
    pub pause: Duration,
    /// How likely the source has none.
    pub failures: f64,
    /// How likely it gives one that is not valid any more.
    pub stale: f64,
}

/// Faults that come by chance.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// The probability that something becomes of a way through the network other than arrival.
    pub(crate) trouble: f64,
    /// Until when.
    pub(crate) until: Duration,
}

impl Scenario {
    /// A server with its defaults, no clients, and a network of 1 to 20 ms without faults.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            server: server::Config::default(),
            clients: Vec::new(),
            faults: Vec::new(),
            weather: Weather::default(),
            latency: Duration::from_millis(1)..=Duration::from_millis(20),
            refusals: 0.0,
            service_answers: 1.0,
            addresses: 1,
            nodes: 1,
            cookies: false,
            credentials: None,
            bursts: 0.0,
        }
    }

    /// The server's settings, for each time it comes up.
    #[must_use]
    pub fn server(mut self, config: server::Config) -> Self {
        self.server = config;
        self
    }

    /// Adds a client.
    #[must_use]
    pub fn client(mut self, client: Actor) -> Self {
        self.clients.push(client);
        self
    }

    /// Plans a fault.
    #[must_use]
    pub fn fault(mut self, at: Duration, fault: Fault) -> Self {
        self.faults.push((at, fault));
        self
    }

    /// Lets things go wrong by chance until a time: each request, response, upgrade and frame is lost, late, broken,
    /// cut, garbled or doubled with this probability. Default: never.
    #[must_use]
    pub fn trouble(mut self, probability: f64, until: Duration) -> Self {
        self.weather = Weather { trouble: probability, until };
        self
    }

    /// How long one way through the network takes. Default: 1 to 20 ms.
    #[must_use]
    pub fn latency(mut self, range: RangeInclusive<Duration>) -> Self {
        self.latency = range;
        self
    }

    /// How likely the server is to refuse a subscription that it granted before, as long as things go wrong by
    /// chance. Default: 0.
    #[must_use]
    pub fn refusals(mut self, probability: f64) -> Self {
        self.refusals = probability;
        self
    }

    /// How likely the service `/service/echo` is to answer at all. Default: 1.
    #[must_use]
    pub fn service_answers(mut self, probability: f64) -> Self {
        self.service_answers = probability;
        self
    }

    /// How many addresses each client knows, to fail over from one to the next, and how many servers there are behind each,
    /// with a balancer that keeps a client at its server by a cookie. Default: one of one. The servers know nothing of each
    /// other's sessions.
    #[must_use]
    pub fn servers(mut self, addresses: usize, nodes: usize) -> Self {
        (self.addresses, self.nodes) = (addresses.max(1), nodes.max(1));
        self
    }

    /// Whether servers set a cookie, and require it of those who use a session. Default: no.
    #[must_use]
    pub fn cookies(mut self, required: bool) -> Self {
        self.cookies = required;
        self
    }

    /// Lets the servers require credentials. Default: none.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// How likely a client or a server is busy when something comes, for a few milliseconds, and handles it then with all that
    /// has come meanwhile, before it looks at what is to be done. Default: 0.
    #[must_use]
    pub fn bursts(mut self, probability: f64) -> Self {
        self.bursts = probability;
        self
    }

    /// Whether nothing goes wrong but that links are slow.
    pub(crate) fn is_only_slow(&self) -> bool {
        let slow = |(_, fault): &(Duration, Fault)| matches!(fault, Fault::SlowLink { .. });
        self.weather.trouble == 0.0 && !self.faults.is_empty() && self.faults.iter().all(slow)
    }

    /// How much longer a call may take because a link is slow.
    pub(crate) fn slack(&self) -> Duration {
        let slow = self.faults.iter().filter(|(_, fault)| matches!(fault, Fault::SlowLink { .. }));
        slow.map(|(_, fault)| fault.span()).sum()
    }

    /// When the last planned thing is over.
    pub(crate) fn heals_at(&self) -> Duration {
        let faults = self.faults.iter().map(|(at, fault)| *at + fault.span());
        let steps = self.clients.iter().flat_map(|client| client.steps.iter().map(|(at, _)| *at));
        let repeated = self.clients.iter().flat_map(|client| client.repeated.iter().map(|again| again.until));
        faults.chain(steps).chain(repeated).chain([self.weather.until]).max().unwrap_or_default()
    }

    /// Within which time after the last fault every client is connected again: the longest time that passes until a
    /// silent connect is noticed, a pause between attempts, an attempt that hears that its session is gone, another
    /// pause, and the handshake of a new session, with each transport that it may try.
    pub fn recovery_bound(&self) -> Duration {
        let bound = |client: &Actor| {
            let config = &client.config;
            let notice = self.server.timeout + self.server.interval + config.request_timeout;
            let pause = client.pauses[1].max(self.server.interval);
            let attempt = config.connect_timeout + config.request_timeout;
            let asked = self.credentials.map_or(Duration::ZERO, |credentials| credentials.pause);
            let rounds =
                1 + config.transports.len() * self.addresses + usize::from(self.credentials.is_some());
            notice + (pause + attempt + asked) * u32::try_from(rounds).unwrap_or(u32::MAX)
        };
        self.clients.iter().map(bound).max().unwrap_or_default()
    }
}

/// A client and what its user does.
#[derive(Clone, Debug)]
pub struct Actor {
    pub(crate) config: client::Config,
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) steps: Vec<(Duration, Step)>,
    pub(crate) repeated: Vec<Repeated>,
    pub(crate) pauses: [Duration; 2],
}

impl Actor {
    /// A client with an inbox, whose user does nothing yet.
    pub fn new(config: client::Config) -> Self {
        let pauses = [Duration::from_secs(1), Duration::from_secs(30)];
        Self { config, receivers: Vec::new(), steps: Vec::new(), repeated: Vec::new(), pauses }
    }

    /// Says how long the pauses between its attempts are, when [`client::Config::retry`] is not the default.
    #[must_use]
    pub fn pauses(mut self, range: RangeInclusive<Duration>) -> Self {
        self.pauses = [*range.start(), *range.end()];
        self
    }

    /// Adds a receiver: a stream of messages with a queue of its own.
    #[must_use]
    pub fn receiver(mut self, receiver: Receiver) -> Self {
        self.receivers.push(receiver);
        self
    }

    /// Plans a step.
    #[must_use]
    pub fn at(mut self, at: Duration, step: Step) -> Self {
        self.steps.push((at, step));
        self
    }

    /// Plans a step again and again.
    #[must_use]
    pub fn every(mut self, within: RangeInclusive<Duration>, pause: Duration, step: Step) -> Self {
        let (from, until) = (*within.start(), *within.end());
        self.repeated.push(Repeated { from, until, pause: pause.max(Duration::from_millis(1)), step });
        self
    }
}

/// A step that is done again and again.
#[derive(Clone, Debug)]
pub(crate) struct Repeated {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    pub(crate) pause: Duration,
    pub(crate) step: Step,
}

/// A receiver of messages, with a bounded queue and a user who takes messages out.
#[derive(Clone, Copy, Debug)]
pub struct Receiver {
    /// Its name; [`SinkId::INBOX`] for the inbox.
    pub sink: SinkId,
    /// How many messages its queue holds.
    pub capacity: usize,
    /// What happens to more.
    pub overflow: Overflow,
    /// How long its user takes for a message.
    pub pace: Duration,
}

/// What happens to a message that finds its queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest goes.
    DropOldest,
    /// The new one goes.
    DropNewest,
    /// The receiver ends.
    Close,
    /// Nothing goes: the server keeps what does not fit, if it acknowledges.
    Pause,
}

/// What a user does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Open the client.
    Open,
    /// Close it.
    Close,
    /// Subscribe a receiver.
    Subscribe(Channel, SinkId),
    /// Unsubscribe it.
    Unsubscribe(Channel, SinkId),
    /// Publish a message, with this many bytes of filling.
    Publish(Channel, usize),
    /// Ask a service, with a time for the answer.
    Request(Channel, Option<Duration>),
    /// Do several things in one payload.
    Batch(Vec<Step>),
    /// Say that the network has changed.
    Reconnect,
}

impl Step {
    /// Subscribe the inbox.
    pub fn subscribe(channel: Channel) -> Self {
        Self::Subscribe(channel, SinkId::INBOX)
    }

    /// Publish a small message.
    pub fn publish(channel: Channel) -> Self {
        Self::Publish(channel, 0)
    }
}
