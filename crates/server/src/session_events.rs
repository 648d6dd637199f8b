//! The events of sessions, for listeners.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bayeux_proto::server::RemovedBecause;
use bayeux_proto::{BayeuxError, Channel, ClientId};
use tokio::sync::Notify;

/// Lists the sessions, and calls what it is given before anything else happens to them.
type ListSessions = Box<dyn Fn(&dyn Fn()) -> Vec<SessionState> + Send + Sync>;

/// A change among the sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A session began.
    #[non_exhaustive]
    Added {
        /// The session.
        session: ClientId,
    },
    /// A session ended.
    #[non_exhaustive]
    Removed {
        /// The session.
        session: ClientId,
        /// Why it ended.
        because: RemovedBecause,
    },
    /// A session subscribed to a channel or pattern.
    #[non_exhaustive]
    Subscribed {
        /// The session.
        session: ClientId,
        /// The channel or pattern.
        channel: Channel,
    },
    /// A session unsubscribed from a channel or pattern.
    #[non_exhaustive]
    Unsubscribed {
        /// The session.
        session: ClientId,
        /// The channel or pattern.
        channel: Channel,
    },
    /// Messages were dropped, because a session did not fetch them and its queue was full.
    #[non_exhaustive]
    Dropped {
        /// The session.
        session: ClientId,
        /// How many messages were dropped.
        messages: u64,
    },
    /// A handshake was refused.
    #[non_exhaustive]
    HandshakeRefused {
        /// The error that the client got.
        error: BayeuxError,
    },
    /// This many events were dropped, because this listener did not read them in time: its list of sessions is out of
    /// date. [`SessionEvents::resync`] returns the current one.
    Missed(u64),
}

/// Constructors of the variants that may get more fields, for tests of code that handles events.
impl SessionEvent {
    /// Returns a [`SessionEvent::Added`].
    pub fn added(session: ClientId) -> Self {
        Self::Added { session }
    }

    /// Returns a [`SessionEvent::Removed`].
    pub fn removed(session: ClientId, because: RemovedBecause) -> Self {
        Self::Removed { session, because }
    }

    /// Returns a [`SessionEvent::Subscribed`].
    pub fn subscribed(session: ClientId, channel: Channel) -> Self {
        Self::Subscribed { session, channel }
    }

    /// Returns a [`SessionEvent::Unsubscribed`].
    pub fn unsubscribed(session: ClientId, channel: Channel) -> Self {
        Self::Unsubscribed { session, channel }
    }

    /// Returns a [`SessionEvent::Dropped`].
    pub fn dropped(session: ClientId, messages: u64) -> Self {
        Self::Dropped { session, messages }
    }

    /// Returns a [`SessionEvent::HandshakeRefused`].
    pub fn handshake_refused(error: BayeuxError) -> Self {
        Self::HandshakeRefused { error }
    }
}

/// A session and its subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionState {
    /// The session.
    pub id: ClientId,
    /// Its channels and patterns.
    pub subscriptions: Vec<Channel>,
}

/// The events of sessions, from the call of [`Server::events`](crate::Server::events) on.
///
/// Events are kept until every listener has read them, however many events one request causes. If a listener leaves
/// more than [`max_event_bytes`](crate::Builder::max_event_bytes) unread, it gets [`SessionEvent::Missed`] and
/// continues with the oldest event that is still kept.
pub struct SessionEvents {
    list: ListSessions,
    log: Arc<EventLog>,
    reader: u64,
}

impl SessionEvents {
    /// Returns the next event; `None` if the server no longer exists and all events were read.
    ///
    /// # Cancel safety
    /// No event is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<SessionEvent> {
        loop {
            let changed = self.log.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Before the log is looked at, so that nothing falls in between.
            changed.as_mut().enable();
            match self.log.lock().read(self.reader) {
                Read::Event(event) => return Some(event),
                Read::End => return None,
                Read::Nothing => {}
            }
            changed.await;
        }
    }

    /// Returns the current sessions, in the order in which they began. The events that [`next`](Self::next) returns
    /// after it happened later: together they miss nothing. It takes the server's lock, and time and memory in
    /// proportion to the sessions and their subscriptions.
    pub fn resync(&mut self) -> Vec<SessionState> {
        (self.list)(&|| self.log.lock().skip(self.reader))
    }
}

impl fmt::Debug for SessionEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionEvents").finish_non_exhaustive()
    }
}

impl Drop for SessionEvents {
    fn drop(&mut self) {
        self.log.lock().leave(self.reader);
    }
}

/// Where the events of a server come from. When it is dropped there will be no more.
#[derive(Debug)]
pub(crate) struct EventSource(Arc<EventLog>);

/// The events that some listener has not read yet.
#[derive(Debug)]
struct EventLog {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// Each with what it costs.
    events: VecDeque<(SessionEvent, usize)>,
    /// The number of the first of them.
    first: u64,
    bytes: usize,
    most_bytes: usize,
    /// The number of the event that each listener reads next.
    readers: HashMap<u64, u64>,
    last_reader: u64,
    ended: bool,
}

enum Read {
    Event(SessionEvent),
    Nothing,
    End,
}

impl EventSource {
    pub(crate) fn new(most_bytes: usize) -> Self {
        let state = State {
            events: VecDeque::new(),
            first: 0,
            bytes: 0,
            most_bytes,
            readers: HashMap::new(),
            last_reader: 0,
            ended: false,
        };
        Self(Arc::new(EventLog { state: Mutex::new(state), changed: Notify::new() }))
    }

    pub(crate) fn listen(
        &self,
        list: impl Fn(&dyn Fn()) -> Vec<SessionState> + Send + Sync + 'static,
    ) -> SessionEvents {
        let reader = self.0.lock().join();
        SessionEvents { list: Box::new(list), log: Arc::clone(&self.0), reader }
    }

    pub(crate) fn push(&self, event: SessionEvent) {
        if self.0.lock().push(event) {
            self.0.changed.notify_waiters();
        }
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_waiters();
    }
}

impl EventLog {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// A new listener, for what comes from now on.
    fn join(&mut self) -> u64 {
        self.last_reader += 1;
        let end = self.end();
        self.readers.insert(self.last_reader, end);
        self.last_reader
    }

    /// Whether anybody listens.
    fn push(&mut self, event: SessionEvent) -> bool {
        if self.readers.is_empty() {
            return false;
        }
        let cost = cost(&event);
        self.bytes += cost;
        self.events.push_back((event, cost));
        while self.bytes > self.most_bytes && self.events.len() > 1 {
            self.forget_first();
        }
        true
    }

    fn read(&mut self, reader: u64) -> Read {
        let (first, end) = (self.first, self.end());
        let Some(next) = self.readers.get_mut(&reader) else { return Read::End };
        if *next < first {
            let missed = first - std::mem::replace(next, first);
            return Read::Event(SessionEvent::Missed(missed));
        }
        if *next >= end {
            return if self.ended { Read::End } else { Read::Nothing };
        }
        let index = usize::try_from(*next - first).unwrap_or(usize::MAX);
        *next += 1;
        let only = self.readers.len() == 1;
        let event = match self.events.get(index) {
            // The usual case: there is no other listener, so no copy is needed.
            Some(_) if only && index == 0 => self.forget_first(),
            Some((event, _)) => Some(event.clone()),
            None => None,
        };
        if !only {
            self.trim();
        }
        event.map_or(Read::Nothing, Read::Event)
    }

    fn skip(&mut self, reader: u64) {
        let end = self.end();
        if let Some(next) = self.readers.get_mut(&reader) {
            *next = end;
        }
        self.trim();
    }

    fn leave(&mut self, reader: u64) {
        self.readers.remove(&reader);
        self.trim();
    }

    /// Removes the events that all listeners have read.
    fn trim(&mut self) {
        let needed = self.readers.values().copied().min().unwrap_or(u64::MAX);
        while self.first < needed && !self.events.is_empty() {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) -> Option<SessionEvent> {
        let (event, cost) = self.events.pop_front()?;
        self.first += 1;
        self.bytes -= cost;
        if self.events.is_empty() && self.events.capacity() > 1024 {
            // Many events happened once; that is no reason to keep the capacity for them.
            self.events.shrink_to(64);
        }
        Some(event)
    }
}

/// What an event keeps in memory, at most.
fn cost(event: &SessionEvent) -> usize {
    /// The entry itself, and what the allocator adds to the texts.
    const ENTRY: usize = size_of::<(SessionEvent, usize)>() + 64;
    ENTRY
        + match event {
            SessionEvent::Added { session }
            | SessionEvent::Removed { session, .. }
            | SessionEvent::Dropped { session, .. } => session.as_str().len(),
            SessionEvent::Subscribed { session, channel }
            | SessionEvent::Unsubscribed { session, channel } => {
                session.as_str().len() + channel.as_str().len()
            }
            SessionEvent::HandshakeRefused { error } => error.to_string().len(),
            SessionEvent::Missed(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> SessionEvent {
        SessionEvent::Added { session: ClientId::new(&number.to_string()) }
    }

    #[test]
    fn nothing_is_kept_that_nobody_will_read() {
        let log = EventSource::new(1 << 20);
        let mut state = log.0.lock();
        state.push(event(0));
        assert_eq!((state.events.len(), state.bytes), (0, 0));
        let (one, two) = (state.join(), state.join());
        for number in 0..100 {
            state.push(event(number));
        }
        for number in 0..100 {
            assert!(matches!(state.read(one), Read::Event(read) if read == event(number)));
        }
        assert_eq!(state.events.len(), 100);
        for number in 0..100 {
            assert!(matches!(state.read(two), Read::Event(read) if read == event(number)));
            assert_eq!(state.events.len() as u64, 99 - number);
        }
        assert!(matches!(state.read(two), Read::Nothing));
        state.push(event(1));
        state.leave(one);
        state.leave(two);
        assert_eq!((state.events.len(), state.bytes), (0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_the_rest_is_counted() {
        let log = EventSource::new(10_000);
        let mut state = log.0.lock();
        let slow = state.join();
        for number in 0..1_000_000 {
            state.push(event(number));
            assert!(state.bytes <= 10_000);
        }
        let kept = state.events.len() as u64;
        assert!(
            matches!(state.read(slow), Read::Event(SessionEvent::Missed(missed)) if missed == 1_000_000 - kept)
        );
        assert!(matches!(state.read(slow), Read::Event(read) if read == event(1_000_000 - kept)));
    }
}
