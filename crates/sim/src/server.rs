//! The server in a simulated world: the real engine, and who is subscribed to what.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bayeux_proto::codec::Decoder;
use bayeux_proto::server::{Config, Denial, Engine, Policy};
use bayeux_proto::{Channel, ClientId, Time, Transport};

#[derive(Debug)]
pub(crate) struct Server {
    config: Config,
    /// `None` while it is down.
    pub(crate) engine: Option<Engine>,
    /// Counts how often it came up.
    pub(crate) epoch: u32,
    pub(crate) decoder: Decoder,
    pub(crate) timer: Option<Time>,
    pub(crate) granted: u64,
    /// Whether it may refuse what it is able to grant.
    pub(crate) moody: Arc<AtomicBool>,
    /// The sessions in the order in which they began.
    sessions: BTreeMap<u64, Known>,
    by_id: HashMap<ClientId, u64>,
}

/// A session, as far as the laws are concerned.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) id: ClientId,
    pub(crate) owner: usize,
    pub(crate) subscriptions: BTreeSet<Channel>,
}

impl Server {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            engine: None,
            epoch: 0,
            decoder: Decoder::new(),
            timer: None,
            granted: 0,
            moody: Arc::default(),
            sessions: BTreeMap::new(),
            by_id: HashMap::new(),
        }
    }

    /// Comes up without a memory. What it refuses is decided by `seed`.
    pub(crate) fn start(&mut self, refusals: f64, seed: u64) {
        self.epoch += 1;
        let mut config = self.config.clone();
        // A server that knew the ids of its past would not be one that comes back.
        config.seed[..4].copy_from_slice(&self.epoch.to_le_bytes());
        let policy =
            Moody { refusals, random: fastrand::Rng::with_seed(seed), moody: Arc::clone(&self.moody) };
        self.engine = Some(Engine::new(config, Box::new(policy)));
    }

    pub(crate) fn speaks_websocket(&self) -> bool {
        self.config.transports.contains(&Transport::WebSocket)
    }

    pub(crate) fn crash(&mut self) {
        self.engine = None;
        self.timer = None;
        self.sessions.clear();
        self.by_id.clear();
    }

    pub(crate) fn begin(&mut self, id: ClientId, owner: usize) {
        self.granted += 1;
        self.by_id.insert(id.clone(), self.granted);
        self.sessions.insert(self.granted, Known { id, owner, subscriptions: BTreeSet::new() });
    }

    pub(crate) fn end(&mut self, id: &ClientId) {
        if let Some(key) = self.by_id.remove(id) {
            self.sessions.remove(&key);
        }
    }

    pub(crate) fn session(&mut self, id: &ClientId) -> Option<&mut Known> {
        self.sessions.get_mut(self.by_id.get(id)?)
    }

    /// Whom a message on a channel reaches, in the order in which their sessions began.
    pub(crate) fn reached(&self, channel: &Channel) -> impl Iterator<Item = &Known> {
        self.sessions
            .values()
            .filter(|known| known.subscriptions.iter().any(|pattern| pattern.matches(channel)))
    }
}

/// A policy that refuses subscriptions now and then.
struct Moody {
    refusals: f64,
    random: fastrand::Rng,
    moody: Arc<AtomicBool>,
}

impl Policy for Moody {
    fn may_subscribe(&mut self, _: &ClientId, _: &Channel) -> Result<(), Denial> {
        let moody = self.moody.load(Ordering::Relaxed) && self.refusals > 0.0;
        if moody && self.random.f64() < self.refusals { Err(Denial::new()) } else { Ok(()) }
    }
}
