//! What can go wrong between a client and a server.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A fault that a scenario plans for a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The socket of a client breaks; both ends are told.
    CutSocket {
        /// The client, counted from 0 in the order in which they were added.
        client: usize,
    },
    /// The socket of a client goes silent in both directions, and nobody is told.
    StallSocket {
        /// The client.
        client: usize,
    },
    /// Nothing passes between one client and the server. What is sent meanwhile is lost, or comes when it is over.
    Partition {
        /// The client.
        client: usize,
        /// For how long.
        span: Duration,
    },
    /// Upgrades to WebSocket are refused with an HTTP status, as some proxies do.
    RefuseUpgrades {
        /// The client.
        client: usize,
        /// For how long.
        span: Duration,
        /// The HTTP status.
        status: u16,
    },
    /// Upgrades succeed, but frames get lost: a proxy swallows them.
    SwallowFrames {
        /// The client.
        client: usize,
        /// For how long.
        span: Duration,
    },
    /// What the server sends to one client comes at that rate: steadily, in parts, one message behind the other.
    SlowLink {
        /// The client.
        client: usize,
        /// For how long.
        span: Duration,
        /// How many bytes come in a second.
        bytes_per_second: u32,
    },
    /// A server crashes, and comes back without a memory.
    Restart {
        /// The server, counted from 0: those of the first address, then those of the others.
        server: usize,
        /// How long it is down.
        down: Duration,
    },
    /// A server goes down in good order, notifies its clients, and comes back without a memory.
    Shutdown {
        /// The server.
        server: usize,
        /// How long it is down.
        down: Duration,
    },
}

impl Fault {
    /// When a world in which it begins at `at` is whole again.
    pub(crate) fn span(self) -> Duration {
        match self {
            Self::CutSocket { .. } | Self::StallSocket { .. } => Duration::ZERO,
            Self::Partition { span, .. }
            | Self::RefuseUpgrades { span, .. }
            | Self::SwallowFrames { span, .. }
            | Self::SlowLink { span, .. } => span,
            Self::Restart { down, .. } | Self::Shutdown { down, .. } => down,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CutSocket { .. } => "socket cut",
            Self::StallSocket { .. } => "socket stalled",
            Self::Partition { .. } => "partition",
            Self::RefuseUpgrades { .. } => "upgrades refused for a while",
            Self::SwallowFrames { .. } => "frames swallowed for a while",
            Self::SlowLink { .. } => "link slow for a while",
            Self::Restart { .. } => "server restarted",
            Self::Shutdown { .. } => "server shut down",
        }
    }
}

/// One way of messages through the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Leg {
    /// An HTTP request; whether it is a handshake or connect, which a middlebox may repeat.
    Request { repeatable: bool },
    /// Its response.
    Response,
    /// A WebSocket upgrade, there and back.
    Upgrade,
    /// A frame in either direction.
    Frame,
}

/// What becomes of messages on one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// They arrive.
    Arrive,
    /// They arrive late.
    Late,
    /// They vanish, and nobody is told. A socket is dead from then on.
    Vanish,
    /// The connection breaks before they arrive, and both ends are told.
    Break,
    /// The connection breaks in the middle of the body.
    CutBody,
    /// Nobody listens: they were not even sent.
    Unreachable,
    /// A gateway answers in place of the server.
    Status(u16),
    /// What arrives is no JSON.
    Garbage,
    /// They arrive in parts, with pauses between them.
    Trickle,
    /// They arrive twice; only one of the answers gets back.
    Twice,
}

impl Fate {
    /// All that can become of messages on such a way, but for their plain arrival.
    pub(crate) fn troubles(leg: Leg) -> &'static [Fate] {
        match leg {
            Leg::Request { repeatable: true } => {
                &[Self::Late, Self::Vanish, Self::Break, Self::Unreachable, Self::Twice]
            }
            Leg::Request { repeatable: false } => &[Self::Late, Self::Vanish, Self::Break, Self::Unreachable],
            Leg::Response => &[
                Self::Late,
                Self::Vanish,
                Self::Break,
                Self::CutBody,
                Self::Status(503),
                Self::Status(504),
                Self::Garbage,
                Self::Trickle,
            ],
            Leg::Upgrade => &[
                Self::Late,
                Self::Vanish,
                Self::Break,
                Self::Unreachable,
                Self::Status(403),
                Self::Status(503),
            ],
            Leg::Frame => &[Self::Late, Self::Vanish, Self::Break, Self::Garbage, Self::Trickle],
        }
    }

    pub(crate) fn name(self, leg: Leg) -> &'static str {
        match (self, leg) {
            (Self::Arrive, _) => "arrived",
            (Self::Late, Leg::Request { .. }) => "request late",
            (Self::Late, Leg::Response) => "response late",
            (Self::Late, Leg::Upgrade) => "upgrade late",
            (Self::Late, Leg::Frame) => "frame late",
            (Self::Vanish, Leg::Request { .. }) => "request lost",
            (Self::Vanish, Leg::Response) => "response lost",
            (Self::Vanish, Leg::Upgrade) => "upgrade lost",
            (Self::Vanish, Leg::Frame) => "socket stalled",
            (Self::Break, Leg::Request { .. }) => "request broken",
            (Self::Break, Leg::Response) => "response broken",
            (Self::Break, Leg::Upgrade) => "upgrade broken",
            (Self::Break, Leg::Frame) => "socket cut",
            (Self::CutBody, _) => "response cut mid-body",
            (Self::Unreachable, _) => "server unreachable",
            (Self::Status(_), Leg::Upgrade) => "upgrade refused",
            (Self::Status(_), _) => "gateway error",
            (Self::Garbage, _) => "body garbled",
            (Self::Trickle, _) => "body in parts",
            (Self::Twice, _) => "request doubled",
        }
    }
}

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    pub(crate) fn count(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// How often that happened.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// How much happened in all.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// What happened, and how often, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, count)| (*name, *count))
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.0 {
            writeln!(f, "  {count:>12}  {name}")?;
        }
        Ok(())
    }
}
