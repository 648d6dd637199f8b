//! What must hold in every lifetime.
//!
//! Where the laws are looser than their words, and why:
//!
//! - Backoff: the first attempt over another transport, right after the one before was left for its failures, may come
//!   after the advised interval; a session that the server has forgotten is asked for anew without the row's pause.
//! - Room: the events in the reply to a disconnect come whether there is room or not, for they do not come again.
//! - In order: not checked for messages that the server took twice, nor after it dropped some and said so; which of the
//!   missing it dropped, nobody knows, so that many may be missing without a word.
//!   Where servers work in slices, between which others have their turn, the messages of each client keep their order.
//! - Closed stream: a message that came in the same burst before its receiver gave the channel up may still be delivered.
//! - Outcome: a call that ends because its session does says nothing about its fate, and is believed.
//! - Progress: checked where nothing but slow links goes wrong, and for the direction in which events flow; not
//!   any more once a client has given up a request, because its response is carried to its end all the same.
//! - Requests that were given up, and frames in sockets that were dropped, do not reach the server late (connects and
//!   handshakes of sessions with acknowledgements do): what the server does for them may undo what was asked later, and
//!   no client could prevent it.

use std::fmt;

use bayeux_proto::Time;

/// A promise of the client or the server that every run is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Law {
    /// At most one `/meta/connect` is outstanding.
    OneConnect,
    /// Wanted subscriptions are restored before the client says that it is connected again.
    Restored,
    /// No retry without a delay that grows up to a cap: no attempt sooner than was said, and no hot loop.
    Backoff,
    /// The pause that the server advises between connects is kept.
    Advice,
    /// Every call resolves, once, and in time.
    CallsResolve,
    /// A call that fails says truly whether the server may have acted on it; one that succeeds was acted on.
    Outcome,
    /// Messages that may have been missed are told.
    GapTold,
    /// With the acknowledge extension, messages come in the order in which the server took them.
    InOrder,
    /// No message comes to a receiver more often than the server took it.
    OnceOnly,
    /// The server takes the messages of a client in the order in which they were published.
    PublishOrder,
    /// A publish that is not to be repeated reaches the server once at most.
    AtMostOnce,
    /// No message comes for a channel that its receiver does not want any more.
    ClosedStream,
    /// A receiver that must not lose anything is given no more than it has room for.
    Room,
    /// On a link that is slow and nothing else, no session is given up: bytes that arrive prove that it works.
    Progress,
    /// When the network is whole again, every client is connected again within a known time.
    Recovery,
    /// Nothing is left over when all is closed.
    Leak,
    /// Sessions and engines keep the contract with their drivers.
    Contract,
}

impl Law {
    /// The words of the law.
    pub fn words(self) -> &'static str {
        match self {
            Self::OneConnect => "at most one connect is outstanding",
            Self::Restored => "wanted subscriptions are restored before connected is said",
            Self::Backoff => "retries pause, longer each time, up to a cap",
            Self::Advice => "the advised interval is kept",
            Self::CallsResolve => "every call resolves, once and in time",
            Self::Outcome => "the outcome of a call is the truth",
            Self::GapTold => "what may have been missed is told",
            Self::InOrder => "acknowledged messages come in order",
            Self::OnceOnly => "no message comes twice",
            Self::PublishOrder => "the server takes messages in the order of the calls",
            Self::AtMostOnce => "at most once is never twice",
            Self::ClosedStream => "a closed stream gets nothing",
            Self::Room => "a receiver that pauses is not overrun",
            Self::Progress => "a link that progresses is not given up",
            Self::Recovery => "every client recovers within its bound",
            Self::Leak => "nothing is left over",
            Self::Contract => "the contract with the driver is kept",
        }
    }
}

/// A law that was broken.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// When.
    pub at: Time,
    /// By which client.
    pub client: usize,
    /// How.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, client {}: not so: {}: {}", self.at, self.client, self.law.words(), self.what)
    }
}
