//! A client in a simulated world: the real session, its books, and its receivers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bayeux_proto::client::{CallId, ExchangeId, Session, SinkId};
use bayeux_proto::codec::Decoder;
use bayeux_proto::server::LinkId;
use bayeux_proto::{Channel, Time, client};

use crate::ledger::{Ledger, WishId};
use crate::scenario::{Actor, Overflow, Receiver};
use crate::slow::Downlink;

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) session: Session,
    pub(crate) config: client::Config,
    pub(crate) pauses: [Duration; 2],
    /// The pause between connects that the server advises.
    pub(crate) interval: Duration,
    /// The exchange of the outstanding connect, over HTTP.
    pub(crate) connect_exchange: Option<ExchangeId>,
    /// The id of the outstanding handshake.
    pub(crate) handshake: Option<u64>,
    pub(crate) ledger: Ledger,
    pub(crate) decoder: Decoder,
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
    pub(crate) last_call: u64,
}

/// What a call is about.
#[derive(Clone, Debug)]
pub(crate) enum About {
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
    pub(crate) fn new(actor: &Actor, interval: Duration, seed: u64) -> Self {
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
