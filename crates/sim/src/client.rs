//! A client in a simulated world: the real session, its books, and its receivers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::client::{CallId, ExchangeId, Input, SinkId};
use bayeux_proto::server::LinkId;
use bayeux_proto::{Channel, Time, client, server};
use serde_json::json;

use crate::client_driver::ClientDriver;
use crate::ledger::{DesiredId, Ledger};
use crate::scenario::{Actor, Credentials, Overflow, Receiver, Scenario};
use crate::slow::Downlink;

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) driver: ClientDriver,
    /// What has come since the client became busy.
    pub(crate) inputs: Vec<Queued>,
    pub(crate) busy: bool,
    /// Its user asks for a new connection in the burst that it handles.
    pub(crate) hurried: bool,
    pub(crate) config: client::Config,
    pub(crate) pauses: [Duration; 2],
    /// The pause between connects that the server advises.
    pub(crate) interval: Duration,
    /// The exchange of the outstanding connect, over HTTP.
    pub(crate) connect_exchange: Option<ExchangeId>,
    /// The id of the outstanding handshake.
    pub(crate) handshake: Option<u64>,
    pub(crate) ledger: Ledger,
    pub(crate) receivers: BTreeMap<SinkId, Mailbox>,
    /// What the calls that wait are about.
    pub(crate) about: HashMap<CallId, About>,
    pub(crate) exchanges: BTreeMap<ExchangeId, LinkId>,
    pub(crate) socket: Option<LinkId>,
    /// When its timer is set for.
    pub(crate) timer: Option<Time>,
    /// Whether its user has it open.
    pub(crate) wants_open: bool,
    /// Channels that the server refused to restore in this session.
    pub(crate) refused: Vec<Channel>,
    pub(crate) cut_off_until: Time,
    pub(crate) upgrades_refused: (Time, u16),
    pub(crate) frames_swallowed_until: Time,
    pub(crate) downlink: Downlink,
    /// The cookies of each address.
    jars: Vec<Jar>,
    /// Where it gets credentials, if it needs any.
    pub(crate) source: Option<Credentials>,
    /// The token that its requests carry.
    pub(crate) token: Option<u64>,
    /// The number of the question for credentials that is open, or was last.
    pub(crate) question: u64,
}

/// What comes to a client that may be busy.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) input: Input,
    /// What its user wants no more from then on.
    pub(crate) unwanted: Option<(SinkId, Channel)>,
}

/// The cookies of one address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jar {
    /// The server's own, which names the browser.
    pub(crate) browser: Option<Arc<str>>,
    /// The balancer's, which names the server.
    pub(crate) node: Option<usize>,
}

/// What a call is about.
#[derive(Clone, Debug)]
pub(crate) enum About {
    Open,
    Close,
    Subscribe(Channel, SinkId, DesiredId),
    Unsubscribe,
    /// When it was published.
    Message(u32, Time),
    Request(u32),
}

/// A receiver's queue, and what its user takes out of it.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) receiver: Receiver,
    pub(crate) items: VecDeque<u32>,
    pub(crate) dropped: u64,
    pub(crate) ended: bool,
    /// Filled since the session was told how much fits.
    pub(crate) filled: bool,
    /// Its user is at work.
    pub(crate) draining: bool,
}

impl Client {
    /// The key in the `ext` of a handshake with which a client says which it is.
    pub(crate) const NUMBER: &str = "number";
    /// The key for its token.
    pub(crate) const TOKEN: &str = "token";

    pub(crate) fn new(number: usize, actor: &Actor, scenario: &Scenario, seed: u64) -> Self {
        let mut config = actor.config.clone();
        config.seed = seed;
        // By this the books know whose a session is.
        config.handshake_ext.insert(Self::NUMBER.to_owned(), json!(number));
        config.has_auth |= scenario.credentials.is_some();
        config.fallbacks = (1..scenario.addresses).map(|address| format!("server {address}")).collect();
        let sliced = scenario.server.max_steps < server::Config::default().max_steps;
        let inbox = Receiver {
            sink: SinkId::INBOX,
            capacity: usize::MAX,
            overflow: Overflow::DropOldest,
            pace: Duration::from_millis(1),
        };
        let receivers = [inbox].into_iter().chain(actor.receivers.iter().copied());
        Self {
            driver: ClientDriver::new(config.clone(), Time::ZERO),
            inputs: Vec::new(),
            busy: false,
            hurried: false,
            config,
            pauses: actor.pauses,
            interval: scenario.server.interval,
            connect_exchange: None,
            handshake: None,
            ledger: Ledger::new(sliced),
            receivers: receivers.map(|receiver| (receiver.sink, Mailbox::new(receiver))).collect(),
            about: HashMap::new(),
            exchanges: BTreeMap::new(),
            socket: None,
            timer: None,
            wants_open: false,
            refused: Vec::new(),
            cut_off_until: Time::ZERO,
            upgrades_refused: (Time::ZERO, 0),
            frames_swallowed_until: Time::ZERO,
            downlink: Downlink::default(),
            jars: vec![Jar::default(); scenario.addresses],
            source: scenario.credentials,
            token: None,
            question: 0,
        }
    }
}

impl Client {
    pub(crate) fn jar(&self, address: usize) -> &Jar {
        &self.jars[address]
    }

    /// A response comes, which sets the balancer's cookie and perhaps the server's.
    pub(crate) fn set_cookies(&mut self, address: usize, node: usize, browser: Option<Arc<str>>) {
        let jar = &mut self.jars[address];
        jar.node = Some(node);
        if browser.is_some() {
            jar.browser = browser;
        }
    }

    pub(crate) fn reset_cookies(&mut self) {
        self.jars.fill(Jar::default());
    }
}

impl Mailbox {
    fn new(receiver: Receiver) -> Self {
        Self { receiver, items: VecDeque::new(), dropped: 0, ended: false, filled: false, draining: false }
    }

    /// What the session is to be told about a receiver that must not lose anything.
    pub(crate) fn room(&self) -> Option<(usize, usize)> {
        const BYTES: usize = 1 << 30;
        (self.receiver.overflow == Overflow::Pause)
            .then(|| (self.receiver.capacity.saturating_sub(self.items.len()), BYTES))
    }

    /// Puts a message in. Whether it was one too many.
    pub(crate) fn push(&mut self, message: u32) -> bool {
        if self.ended {
            return false;
        }
        self.filled = true;
        let full = self.items.len() >= self.receiver.capacity;
        match self.receiver.overflow {
            _ if !full => self.items.push_back(message),
            Overflow::DropOldest => {
                self.items.pop_front();
                self.items.push_back(message);
            }
            Overflow::DropNewest | Overflow::Pause => {}
            Overflow::Close => self.ended = true,
        }
        self.dropped += u64::from(full);
        full
    }
}
