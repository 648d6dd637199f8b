//! A client in a simulated world: the real session, its books, and its receivers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bayeux_proto::client::{CallId, ExchangeId, Session, SinkId};
use bayeux_proto::codec::Decoder;
use bayeux_proto::server::LinkId;
use bayeux_proto::{Channel, Time, client};

use super::ledger::{Ledger, WishId};
use super::scenario::{Actor, Overflow, Receiver};
use super::slow::Downlink;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) session: Session,
    pub(super) config: client::Config,
    pub(super) pauses: [Duration; 2],
    /// The pause between connects that the server advises.
    pub(super) interval: Duration,
    /// The exchange of the outstanding connect, over HTTP.
    pub(super) connect_exchange: Option<ExchangeId>,
    /// The id of the outstanding handshake.
    pub(super) handshake: Option<u64>,
    pub(super) ledger: Ledger,
    pub(super) decoder: Decoder,
    pub(super) receivers: BTreeMap<SinkId, Mailbox>,
    /// What the calls that wait are about.
    pub(super) about: HashMap<CallId, About>,
    pub(super) exchanges: BTreeMap<ExchangeId, LinkId>,
    pub(super) socket: Option<LinkId>,
    /// When its timer is set for.
    pub(super) timer: Option<Time>,
    /// Whether its user has it open.
    pub(super) wants_open: bool,
    /// Channels that the server refused to restore in this session.
    pub(super) refused: Vec<Channel>,
    pub(super) cut_off_until: Time,
    pub(super) upgrades_refused: (Time, u16),
    pub(super) frames_swallowed_until: Time,
    pub(super) downlink: Downlink,
    pub(super) last_call: u64,
}

/// What a call is about.
#[derive(Clone, Debug)]
pub(super) enum About {
    Open,
    Close,
    Subscribe(Channel, SinkId, WishId),
    Unsubscribe,
    /// When it was published.
    Message(u32, Time),
    Request(u32),
}

/// A receiver's queue, and what its user takes out of it.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) receiver: Receiver,
    pub(super) items: VecDeque<u32>,
    pub(super) dropped: u64,
    pub(super) ended: bool,
    /// Filled since the session was told how much fits.
    pub(super) filled: bool,
    /// Its user is at work.
    pub(super) draining: bool,
}

impl Client {
    pub(super) fn new(actor: &Actor, interval: Duration, seed: u64) -> Self {
        let mut config = actor.config.clone();
        config.seed = seed;
        let inbox = Receiver {
            sink: SinkId::INBOX,
            capacity: usize::MAX,
            overflow: Overflow::DropOldest,
            pace: Duration::from_millis(1),
        };
        let receivers = [inbox].into_iter().chain(actor.receivers.iter().copied());
        Self {
            session: Session::new(config.clone()),
            config,
            pauses: actor.pauses,
            interval,
            connect_exchange: None,
            handshake: None,
            ledger: Ledger::default(),
            decoder: Decoder::new(),
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
            last_call: 0,
        }
    }
}

impl Mailbox {
    fn new(receiver: Receiver) -> Self {
        Self { receiver, items: VecDeque::new(), dropped: 0, ended: false, filled: false, draining: false }
    }

    /// What the session is to be told about a receiver that must not lose anything.
    pub(super) fn room(&self) -> Option<(usize, usize)> {
        const BYTES: usize = 1 << 30;
        (self.receiver.overflow == Overflow::Pause)
            .then(|| (self.receiver.capacity.saturating_sub(self.items.len()), BYTES))
    }

    /// Puts a message in. Whether it was one too many.
    pub(super) fn push(&mut self, message: u32) -> bool {
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
