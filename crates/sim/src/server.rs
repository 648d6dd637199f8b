//! A server in a simulated world: the real engine, and who is subscribed to what.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bayeux_proto::server::{Config, Denial, Input, LinkId, Policy};
use bayeux_proto::{BayeuxError, Channel, ClientId, Data, Message, Reconnect, Time, Transport};

use crate::client::Client;
use crate::gate::Gate;
use crate::server_driver::ServerDriver;
use crate::world::number_of;

#[derive(Debug)]
pub(crate) struct Server {
    number: usize,
    config: Config,
    gate: Option<Arc<Gate>>,
    /// `None` while it is down.
    pub(crate) engine: Option<ServerDriver>,
    /// Counts how often it came up.
    pub(crate) epoch: u32,
    pub(crate) timer: Option<Time>,
    /// What has come since the server became busy.
    pub(crate) inputs: Vec<Input>,
    pub(crate) busy: bool,
    /// The links of which the engine knows the cookies, and not yet the end.
    pub(crate) open: BTreeSet<LinkId>,
    pub(crate) granted: u64,
    /// Whether it may refuse what it is able to grant.
    pub(crate) moody: Arc<AtomicBool>,
    done: Done,
    /// The sessions in the order in which they began.
    sessions: BTreeMap<u64, Known>,
    by_id: HashMap<ClientId, u64>,
}

/// What the engine did, in order: it asks its policy at the very moment.
type Done = Arc<Mutex<Vec<Deed>>>;

/// One thing that the engine did.
#[derive(Debug)]
pub(crate) enum Deed {
    /// It granted a client a session.
    Began(ClientId, usize),
    /// It took a message.
    Took(ClientId, Channel, u32),
}

/// A session, as far as the laws are concerned.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) id: ClientId,
    pub(crate) owner: usize,
    pub(crate) subscriptions: BTreeSet<Channel>,
}

impl Server {
    pub(crate) fn new(number: usize, config: Config, gate: Option<Arc<Gate>>) -> Self {
        Self {
            number,
            config,
            gate,
            engine: None,
            epoch: 0,
            timer: None,
            inputs: Vec::new(),
            busy: false,
            open: BTreeSet::new(),
            granted: 0,
            moody: Arc::default(),
            done: Done::default(),
            sessions: BTreeMap::new(),
            by_id: HashMap::new(),
        }
    }

    /// Comes up without a memory. What it refuses is decided by `seed`.
    pub(crate) fn start(&mut self, refusals: f64, seed: u64, now: Time) {
        self.epoch += 1;
        let mut config = self.config.clone();
        // A server that knew the ids of its past, or of another, would not be one that comes back.
        config.seed[..4].copy_from_slice(&self.epoch.to_le_bytes());
        config.seed[4..12].copy_from_slice(&(self.number as u64).to_le_bytes());
        let policy = Moody {
            refusals,
            random: fastrand::Rng::with_seed(seed),
            moody: Arc::clone(&self.moody),
            gate: self.gate.clone(),
            done: Arc::clone(&self.done),
        };
        self.engine = Some(ServerDriver::new(config, policy, now));
    }

    pub(crate) fn speaks_websocket(&self) -> bool {
        self.config.transports.contains(&Transport::WebSocket)
    }

    pub(crate) fn crash(&mut self) {
        self.engine = None;
        self.timer = None;
        self.inputs.clear();
        self.open.clear();
        self.sessions.clear();
        self.by_id.clear();
    }

    /// What the engine did since this was asked last.
    pub(crate) fn take_done(&self) -> Vec<Deed> {
        std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner))
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

    pub(crate) fn session(&self, id: &ClientId) -> Option<&Known> {
        self.sessions.get(self.by_id.get(id)?)
    }

    pub(crate) fn session_mut(&mut self, id: &ClientId) -> Option<&mut Known> {
        self.sessions.get_mut(self.by_id.get(id)?)
    }

    /// Whom a message on a channel reaches, in the order in which their sessions began.
    pub(crate) fn reached(&self, channel: &Channel) -> impl Iterator<Item = &Known> {
        self.sessions
            .values()
            .filter(|known| known.subscriptions.iter().any(|pattern| pattern.matches(channel)))
    }
}

/// A policy that refuses subscriptions now and then, and tokens that are not valid; and keeps a record of what it permits.
struct Moody {
    refusals: f64,
    random: fastrand::Rng,
    moody: Arc<AtomicBool>,
    gate: Option<Arc<Gate>>,
    done: Done,
}

impl Moody {
    fn record(&self, deed: Deed) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(deed);
    }
}

impl Policy for Moody {
    fn may_handshake(&mut self, handshake: &Message) -> Result<(), Denial> {
        let Some(gate) = &self.gate else { return Ok(()) };
        let token = handshake.ext_value(Client::TOKEN).and_then(|token| token.as_u64());
        if token.is_some_and(|token| gate.is_valid(token)) {
            return Ok(());
        }
        let denial = Denial::with(BayeuxError::new(401, "", "expired"));
        // Some servers say that it is worth another attempt, others do not.
        Err(if self.random.u8(..4) == 0 { denial } else { denial.advise(Reconnect::Handshake) })
    }

    fn welcome(&mut self, session: &ClientId, handshake: &Message) -> Vec<(Channel, Data)> {
        let owner = handshake.ext_value(Client::NUMBER).and_then(|number| number.as_u64());
        let owner = owner.and_then(|number| usize::try_from(number).ok()).unwrap_or_default();
        self.record(Deed::Began(session.clone(), owner));
        Vec::new()
    }

    fn may_subscribe(&mut self, _: &ClientId, _: &Channel) -> Result<(), Denial> {
        let moody = self.moody.load(Ordering::Relaxed) && self.refusals > 0.0;
        if moody && self.random.f64() < self.refusals { Err(Denial::new()) } else { Ok(()) }
    }

    fn may_publish(&mut self, session: &ClientId, message: &Message) -> Result<(), Denial> {
        // Requests to services among them: those reach nobody else.
        if let Some(number) = number_of(message.data()) {
            self.record(Deed::Took(session.clone(), message.channel().clone(), number));
        }
        Ok(())
    }
}
