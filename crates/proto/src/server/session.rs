//! One session, as the server sees it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::channels::{Place, SessionKey};
use super::contract::{LinkId, LinkKind};
use super::memory::{Charge, Meters};
use super::queue::Queue;
use crate::advice::Advice;
use crate::ext::timesync;
use crate::id::{ClientId, MessageId};
use crate::time::Time;

/// The state of one session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: ClientId,
    /// The cookie that the session began with; `None` when it began over something that has none.
    pub(super) browser: Option<Arc<str>>,
    /// How many links had been opened when the client sent that cookie first; 0 if it had it before the session. `None` while
    /// the client may be one without cookies.
    pub(super) cookie_since: Option<u64>,
    /// Whether it began with an HTTP request, and its client with it had the cookie issued.
    pub(super) began_over_http: bool,
    /// Whether a socket without the cookie was closed, so that its client opens one with it.
    pub(super) asked_for_cookie: bool,
    pub(super) subscriptions: BTreeSet<Place>,
    /// The socket to push to.
    pub(super) socket: Option<LinkId>,
    pub(super) held: Option<Box<Held>>,
    /// Whether a connect was answered before: the first is never held.
    pub(super) connected: bool,
    /// The transport that was advised last.
    pub(super) advised: Option<LinkKind>,
    /// Whether the client was advised that its browser has too many sessions.
    pub(super) one_of_many: bool,
    /// Whether events wait for a connect.
    pub(super) connect_only: bool,
    /// The pause before the next connect that the client was advised, or asked for.
    pub(super) interval: Duration,
    /// When the session is due: the held connect, or its end.
    pub(super) due: Time,
    /// When what is lazy has waited long enough.
    pub(super) lazy_due: Option<Time>,
    pub(super) active_at: Time,
    /// How many requests of this session are being handled: what is for it travels with the replies.
    pub(super) in_request: u32,
    /// There is something new in the queue.
    pub(super) dirty: bool,
    pub(super) queue: Queue,
    pub(super) weight: Weight,
    charge: Charge,
    /// How many messages were dropped and not reported yet.
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
    pub(super) fn new(id: ClientId, now: Time, queue: Queue, meters: &Meters) -> Self {
        Self {
            charge: meters.sessions.charge(0),
            weight: Weight { class: 0, fetched_at: now },
            id,
            browser: None,
            cookie_since: None,
            began_over_http: false,
            asked_for_cookie: false,
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
            in_request: 0,
            dirty: false,
            queue,
            dropped: 0,
            writing: 0,
        }
    }

    /// Whether its client may have opened a socket before it had the cookie that came with the handshake, and may learn so:
    /// once, because a client that keeps no cookies would open one after the other.
    pub(super) fn may_ask_for_cookie(&mut self, link: u64) -> bool {
        let is_early = self.cookie_since.is_none_or(|since| link <= since);
        self.began_over_http && is_early && !std::mem::replace(&mut self.asked_for_cookie, true)
    }

    /// Counts what it takes, after its browser or its held connect changed.
    pub(super) fn recharge(&mut self) {
        /// A session and its entries in the maps of sessions, ids, sockets, links and times, each with as much again as
        /// they may have free.
        const SESSION: usize = 2 * size_of::<Session>() + 512;
        /// What a held connect takes in other maps.
        const HELD: usize = 256;
        let browser = self.browser.as_ref().map_or(0, |browser| browser.len());
        let held = self.held.as_ref().map_or(0, |held| {
            let id = held.id.as_ref().and_then(MessageId::text).map_or(0, str::len);
            size_of::<Held>() + HELD + id
        });
        self.charge.set(SESSION + browser + held);
    }

    /// Notes how much is in the queue, after something was put in.
    pub(super) fn reweigh(&mut self, heavy: &mut Heavy, key: SessionKey) {
        let class = Weight::class(self.queue.bytes());
        if class != self.weight.class {
            self.weight.leave(heavy, key);
            self.weight.enter(heavy, key, class);
        }
    }

    /// Notes how much is in the queue, after the client fetched from it.
    pub(super) fn fetched(&mut self, heavy: &mut Heavy, key: SessionKey, now: Time) {
        self.weight.leave(heavy, key);
        self.weight.fetched_at = now;
        let class = Weight::class(self.queue.bytes());
        self.weight.enter(heavy, key, class);
    }
}

/// Sessions with much in their queue, the fullest last; of those of about the same size, the one that has not fetched for
/// longest.
pub(super) type Heavy = BTreeSet<(u8, Reverse<Time>, SessionKey)>;

/// How much is in the queue of a session, roughly, and when it last fetched from it.
#[derive(Debug)]
pub(super) struct Weight {
    /// The binary logarithm; 0 is little.
    class: u8,
    fetched_at: Time,
}

impl Weight {
    /// Less than so many bytes are little: such a queue is not emptied for others.
    const LITTLE: usize = 4096;

    fn class(bytes: usize) -> u8 {
        if bytes < Self::LITTLE { 0 } else { bytes.ilog2() as u8 }
    }

    pub(super) fn leave(&mut self, heavy: &mut Heavy, key: SessionKey) {
        if self.class > 0 {
            heavy.remove(&(self.class, Reverse(self.fetched_at), key));
            self.class = 0;
        }
    }

    fn enter(&mut self, heavy: &mut Heavy, key: SessionKey, class: u8) {
        self.class = class;
        if class > 0 {
            heavy.insert((class, Reverse(self.fetched_at), key));
        }
    }
}
