//! One session, as the server sees it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::contract::{LinkId, LinkKind};
use super::queue::Queue;
use crate::advice::Advice;
use crate::channel::Channel;
use crate::ext::timesync;
use crate::id::{ClientId, MessageId};
use crate::time::Time;

/// What the server keeps of a client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: ClientId,
    /// The cookie that the session began with; `None` when it began over something that has none.
    pub(super) browser: Option<Arc<str>>,
    /// Whether the client has sent that cookie, or must send it: a socket may have been opened by a client without cookies.
    pub(super) keeps_cookie: bool,
    pub(super) subscriptions: BTreeSet<Channel>,
    /// The socket to push to.
    pub(super) socket: Option<LinkId>,
    pub(super) held: Option<Box<Held>>,
    /// Whether a connect was answered before: the first is never held.
    pub(super) connected: bool,
    /// The transport that was advised last.
    pub(super) advised: Option<LinkKind>,
    /// Whether the client was told that its browser has too many sessions.
    pub(super) one_of_many: bool,
    /// Whether events wait for a connect.
    pub(super) connect_only: bool,
    /// The pause before the next connect that the client was told, or asked for.
    pub(super) interval: Duration,
    /// When the session is due: the held connect, or its end.
    pub(super) due: Time,
    /// When what is lazy has waited long enough.
    pub(super) lazy_due: Option<Time>,
    pub(super) active_at: Time,
    /// A request of this session is being handled: what is for it travels with the replies.
    pub(super) in_request: bool,
    /// There is something new in the queue.
    pub(super) dirty: bool,
    pub(super) queue: Queue,
    /// How many messages were dropped and not told of.
    pub(super) dropped: u64,
    /// How many responses, or bursts of frames, have yet to be written.
    pub(super) writing: u32,
}

/// A connect that waits for something to deliver.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) link: LinkId,
    pub(super) kind: LinkKind,
    pub(super) id: Option<MessageId>,
    /// What the reply advises.
    pub(super) advice: Option<Advice>,
    /// The browser that holds it, if those are counted.
    pub(super) browser: Option<Arc<str>>,
    /// What the client wants to know of the time, and when it asked.
    pub(super) timesync: Option<(timesync::Request, i64)>,
}

impl Session {
    pub(super) fn new(id: ClientId, now: Time, queue: Queue) -> Self {
        Self {
            id,
            browser: None,
            keeps_cookie: false,
            subscriptions: BTreeSet::new(),
            socket: None,
            held: None,
            connected: false,
            advised: None,
            one_of_many: false,
            connect_only: queue.is_acknowledged(),
            interval: Duration::ZERO,
            due: now,
            lazy_due: None,
            active_at: now,
            in_request: false,
            dirty: false,
            queue,
            dropped: 0,
            writing: 0,
        }
    }
}
