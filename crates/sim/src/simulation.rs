//! A lifetime made up from a seed.

use std::time::Duration;

use bayeux_proto::client::{self, Backoff, Delivery, Offline, SinkId};
use bayeux_proto::{Channel, Transport, server};
use fastrand::Rng;

use crate::fault::Fault;
use crate::report::{Broken, Report};
use crate::scenario::{Actor, Credentials, Overflow, Receiver, Scenario, Step};
use crate::trace::Trace;

/// A lifetime of a few clients and a server, all of it from one seed: their settings, their transports, their streams,
/// what their users do, and what goes wrong.
///
/// ```
/// use bayeux_sim::Simulation;
///
/// for seed in 0..10 {
///     Simulation::new(seed).run().unwrap_or_else(|broken| panic!("{broken}"));
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Simulation {
    scenario: Scenario,
}

/// How long the users do things and things go wrong, at most.
const LONGEST: Duration = Duration::from_secs(180);

impl Simulation {
    /// The lifetime of that seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed ^ 0x5eed);
        let length = LONGEST.mul_f64(random.f64().mul_add(0.9, 0.1));
        let mut scenario = Scenario::new(seed).server(server_config(&mut random));
        // Some networks only have the planned faults, some are bad all the time.
        if random.f64() < 0.8 {
            scenario = scenario.trouble(0.25 * random.f64() * random.f64(), length);
            scenario = scenario.refusals(if random.bool() { 0.2 } else { 0.0 });
        }
        scenario = scenario.service_answers(if random.bool() { 1.0 } else { 0.7 });
        if random.u8(..4) == 0 {
            scenario = scenario.latency(Duration::from_millis(1)..=Duration::from_millis(800));
        }
        let clients = random.usize(1..=3);
        for _ in 0..clients {
            scenario = scenario.client(actor(&mut random, length));
        }
        scenario = surroundings(scenario, &mut random);
        let servers = scenario.addresses * scenario.nodes;
        for _ in 0..random.usize(0..=4) {
            let at = length.mul_f64(random.f64());
            let fault = fault(&mut random, clients, servers, length.saturating_sub(at));
            scenario = scenario.fault(at, fault);
        }
        // In some worlds nothing goes wrong but that links are slow: there no client may give up.
        if random.u8(..8) == 0 {
            scenario = slow_links(scenario, &mut random, length);
        }
        Self { scenario }
    }

    /// The plan that was made up.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Lives the lifetime.
    ///
    /// # Errors
    /// When a law was broken.
    pub fn run(&self) -> Result<Report, Box<Broken>> {
        self.scenario.run()
    }

    /// Lives the lifetime, and keeps the trace.
    ///
    /// # Errors
    /// When a law was broken.
    pub fn trace(&self) -> Result<(Report, Trace), Box<Broken>> {
        self.scenario.trace()
    }
}

/// What is around the clients: several servers, cookies, credentials, and how busy all are.
fn surroundings(mut scenario: Scenario, random: &mut Rng) -> Scenario {
    scenario = match random.u8(..4) {
        0 => scenario.servers(random.usize(2..=3), 1),
        1 => scenario.servers(random.usize(1..=2), random.usize(1..=3)),
        _ => scenario,
    };
    scenario = scenario.cookies(random.bool());
    if random.u8(..3) == 0 {
        scenario = scenario.credentials(Credentials {
            lifetime: seconds(random.u64(5..=120)),
            pause: Duration::from_millis(random.u64(0..=3000)),
            failures: if random.bool() { 0.2 * random.f64() } else { 0.0 },
            stale: if random.bool() { 0.3 * random.f64() } else { 0.0 },
        });
    }
    scenario.bursts(if random.u8(..4) == 0 { 0.0 } else { 0.5 * random.f64() })
}

fn slow_links(mut scenario: Scenario, random: &mut Rng, length: Duration) -> Scenario {
    scenario.faults.clear();
    // A receiver that takes one message a turn would not be done with them in time.
    scenario.server.interval = Duration::ZERO;
    scenario.credentials = None;
    let mut scenario = scenario.trouble(0.0, Duration::ZERO).refusals(0.0);
    for client in 0..scenario.clients.len() {
        let start = length.mul_f64(0.5 * random.f64());
        let span = length.saturating_sub(start).mul_f64(random.f64());
        // From a modem's worst hour to a mobile network's.
        let bytes_per_second = random.u32(400..=20_000);
        scenario = scenario.fault(start, Fault::SlowLink { client, span, bytes_per_second });
        let events = Step::Publish(concrete(random), random.usize(..20_000));
        let pause = Duration::from_millis(random.u64(1000..=10_000));
        scenario.clients[client] =
            scenario.clients[client].clone().every(start..=start + span, pause, events);
    }
    scenario
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn server_config(random: &mut Rng) -> server::Config {
    let mut config = server::Config::default();
    config.timeout = seconds(random.u64(2..=30));
    config.interval =
        if random.u8(..5) == 0 { Duration::from_millis(random.u64(100..=3000)) } else { Duration::ZERO };
    config.max_interval = seconds(random.u64(3..=20));
    if random.u8(..8) == 0 {
        config.max_queue = random.usize(5..=20);
    }
    if random.u8(..3) == 0 {
        config.max_steps = random.usize(1..=30);
    }
    config.trust_client_session = random.u8(..4) == 0;
    config.broadcast_to_publisher = true;
    if random.u8(..8) == 0 {
        config.transports = vec![Transport::LongPolling];
    }
    config
}

fn actor(random: &mut Rng, length: Duration) -> Actor {
    let mut config = client::Config::default();
    config.transports = match random.u8(..4) {
        0 => vec![Transport::LongPolling],
        1 => vec![Transport::LongPolling, Transport::WebSocket],
        _ => vec![Transport::WebSocket, Transport::LongPolling],
    };
    config.ack = random.bool();
    config.retry_open = random.bool();
    config.delivery = if random.bool() { Delivery::AtLeastOnce } else { Delivery::AtMostOnce };
    if random.u8(..4) == 0 {
        config.offline = Offline::Refuse;
    }
    config.transport_cooldown = seconds(random.u64(5..=300));
    config.ping_interval = (random.u8(..6) > 0).then(|| seconds(random.u64(5..=30)));
    if random.bool() {
        config.open_timeout = None;
    }
    let (shortest, longest) = (Duration::from_millis(random.u64(100..=2000)), seconds(random.u64(4..=30)));
    config.retry = Backoff::exponential(shortest..=longest).jittered().into();
    let mut actor = Actor::new(config).pauses(shortest..=longest);
    let streams = random.u64(0..=2);
    for sink in 1..=streams {
        actor = actor.receiver(receiver(random, SinkId(sink)));
    }
    let start = length.mul_f64(0.2 * random.f64());
    actor = actor.at(start, Step::Open);
    for _ in 0..random.usize(5..=40) {
        let at = start + length.saturating_sub(start).mul_f64(random.f64());
        actor = actor.at(at, step(random, streams, 0));
    }
    if random.u8(..4) == 0 {
        let at = start + length.saturating_sub(start).mul_f64(random.f64());
        actor = actor.at(at, Step::Close);
        if random.u8(..4) > 0 {
            let pause = seconds(15).mul_f64(random.f64());
            actor = actor.at((at + pause).min(length), Step::Open);
        }
    }
    actor
}

fn receiver(random: &mut Rng, sink: SinkId) -> Receiver {
    let overflow = match random.u8(..6) {
        0 => Overflow::DropOldest,
        1 => Overflow::DropNewest,
        2 => Overflow::Close,
        _ => Overflow::Pause,
    };
    let pace = Duration::from_millis(random.u64(1..=400));
    Receiver { sink, capacity: random.usize(1..=8), overflow, pace }
}

fn step(random: &mut Rng, streams: u64, depth: u8) -> Step {
    let sink = SinkId(random.u64(0..=streams));
    match random.u8(..20) {
        0..=5 => Step::Subscribe(pattern(random), sink),
        6 | 7 => Step::Unsubscribe(pattern(random), sink),
        8..=14 => Step::Publish(concrete(random), if random.u8(..8) == 0 { 2000 } else { 0 }),
        15 | 16 => {
            let timeout = random.bool().then(|| seconds(random.u64(1..=10)));
            Step::Request(Channel::from_wire("/service/echo"), timeout)
        }
        17 if depth == 0 => Step::Reconnect,
        18 | 19 if depth == 0 => {
            Step::Batch((0..random.usize(2..=5)).map(|_| step(random, streams, 1)).collect())
        }
        _ => Step::Publish(concrete(random), 0),
    }
}

fn concrete(random: &mut Rng) -> Channel {
    Channel::from_wire(["/a/x", "/a/y", "/b"][random.usize(..3)])
}

fn pattern(random: &mut Rng) -> Channel {
    Channel::from_wire(["/a/x", "/a/*", "/b", "/**", "/a/y"][random.usize(..5)])
}

fn fault(random: &mut Rng, clients: usize, servers: usize, rest: Duration) -> Fault {
    let client = random.usize(..clients);
    let server = random.usize(..servers);
    let span = rest.min(seconds(60)).mul_f64(random.f64());
    match random.u8(..10) {
        0 | 1 => Fault::CutSocket { client },
        2 => Fault::StallSocket { client },
        3 | 4 => Fault::Partition { client, span },
        5 => Fault::RefuseUpgrades { client, span, status: if random.bool() { 403 } else { 503 } },
        6 => Fault::SwallowFrames { client, span },
        7 => Fault::Shutdown { server, down: span.min(seconds(10)) },
        _ => Fault::Restart { server, down: span },
    }
}
