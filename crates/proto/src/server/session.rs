//! One session, as the server sees it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::contract::{LinkId, LinkKind};
use crate::channel::Channel;
use crate::id::{ClientId, MessageId};
use crate::time::Time;

/// What the server keeps of a client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: ClientId,
    pub(super) subscriptions: BTreeSet<Channel>,
    /// The socket to push to.
    pub(super) socket: Option<LinkId>,
    pub(super) held: Option<Held>,
    /// Whether a connect was answered before: the first is never held.
    pub(super) connected: bool,
    /// The transport that was advised last.
    pub(super) advised: Option<LinkKind>,
    /// When the session is due: the held connect, or its end.
    pub(super) due: Time,
    /// A request of this session is being handled: what is for it travels with the replies.
    pub(super) in_request: bool,
    queue: VecDeque<Bytes>,
    dropped: u64,
}

/// A connect that waits for something to deliver.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) link: LinkId,
    pub(super) kind: LinkKind,
    pub(super) id: Option<MessageId>,
    pub(super) until: Time,
    pub(super) advise: bool,
    /// The pause that the client asked for instead of the configured one.
    pub(super) interval: Option<Duration>,
}

impl Session {
    pub(super) fn new(id: ClientId, due: Time) -> Self {
        Self {
            id,
            subscriptions: BTreeSet::new(),
            socket: None,
            held: None,
            connected: false,
            advised: None,
            due,
            in_request: false,
            queue: VecDeque::new(),
            dropped: 0,
        }
    }

    pub(super) fn enqueue(&mut self, message: Bytes, cap: usize) {
        if self.queue.len() >= cap {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.queue.push_back(message);
    }

    pub(super) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn take_queue(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.queue).into()
    }

    /// How many messages were dropped since this was last asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}
