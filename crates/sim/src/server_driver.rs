//! A server's engine in the hands of a driver: inputs go in, outputs come out, time passes, and the contract is checked.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bayeux_proto::codec::{DecodeError, Decoder};
use bayeux_proto::server::{Config, Engine, Input, LinkId, LinkKind, Output, Policy};
use bayeux_proto::{ClientId, Message, Time};
use bytes::Bytes;

/// Holds an [`Engine`], and drives it by its contract: any number of inputs, then all outputs, then time passes.
///
/// The driver carries nothing out; its owner does. It knows which links are open and which sessions there are, and keeps
/// the first [breach](ServerDriver::breach) of the contract: a response to nothing, a frame for no socket, an event about a
/// session that has ended, a call that does more than its share of work.
#[derive(Debug)]
pub struct ServerDriver {
    engine: Engine,
    decoder: Decoder,
    now: Time,
    links: u64,
    /// Requests without a response.
    waiting: BTreeSet<LinkId>,
    /// The sockets that are open.
    sockets: BTreeSet<LinkId>,
    /// Links that were closed since all outputs were taken last: these may be about them.
    closed: Vec<LinkId>,
    alive: HashSet<ClientId>,
    /// The most steps that one call took.
    longest: u64,
    breach: Option<String>,
}

impl ServerDriver {
    /// A driver of an engine without sessions.
    pub fn new(config: Config, policy: impl Policy, now: Time) -> Self {
        Self {
            engine: Engine::new(config, Box::new(policy)),
            decoder: Decoder::new(),
            now,
            links: 0,
            waiting: BTreeSet::new(),
            sockets: BTreeSet::new(),
            closed: Vec::new(),
            alive: HashSet::new(),
            longest: 0,
            breach: None,
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets the time pass until then, without a stop. It never goes back.
    pub fn set_now(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// The requests that have no response yet, oldest first.
    pub fn waiting(&self) -> &BTreeSet<LinkId> {
        &self.waiting
    }

    /// Whether a socket is open.
    pub fn is_socket(&self, link: LinkId) -> bool {
        self.sockets.contains(&link)
    }

    /// How many links there were so far.
    pub fn links(&self) -> u64 {
        self.links
    }

    /// The most steps of work that one call has done since the last [`take_longest`](ServerDriver::take_longest).
    pub fn longest(&self) -> u64 {
        self.longest
    }

    /// The same, and begins anew.
    pub fn take_longest(&mut self) -> u64 {
        std::mem::take(&mut self.longest)
    }

    /// The first breach of the contract.
    pub fn breach(&self) -> Option<&str> {
        self.breach.as_deref()
    }

    /// Fails a test if the contract was broken.
    ///
    /// # Panics
    /// If there is a [breach](ServerDriver::breach).
    #[track_caller]
    pub fn assert_kept(&self) {
        assert!(self.breach.is_none(), "{}", self.breach().unwrap_or_default());
    }

    // What goes in.

    /// A new number for a link of which the shell knows nothing.
    pub fn new_link(&mut self) -> LinkId {
        self.links += 1;
        LinkId(self.links)
    }

    /// A new link, of which the shell knows the cookie, or that there is none.
    pub fn open(&mut self, browser: Option<Arc<str>>, multiplexed: bool) -> LinkId {
        let link = self.new_link();
        self.pass(Input::LinkOpened { link, browser, multiplexed, socket_cookie: None });
        link
    }

    /// Reads a body or a frame.
    ///
    /// # Errors
    /// If it is no array of messages.
    pub fn decode(&mut self, body: &Bytes) -> Result<Vec<Message>, DecodeError> {
        self.decoder.decode(body).map(|batch| batch.messages)
    }

    /// Passes an input. Its outputs are taken later, with those of others, by [`poll`](ServerDriver::poll).
    pub fn pass(&mut self, input: Input) {
        match &input {
            Input::Received { link, kind: LinkKind::WebSocket, .. } => {
                self.sockets.insert(*link);
            }
            Input::Received { link, .. } => {
                self.waiting.insert(*link);
            }
            Input::LinkClosed(link) => {
                self.closed.extend(self.waiting.take(link).or(self.sockets.take(link)));
            }
            _ => {}
        }
        let before = self.engine.steps();
        self.engine.handle(input, self.now);
        let steps = self.engine.steps() - before;
        self.longest = self.longest.max(steps);
        // A queue is moved or dropped as a whole, at four messages a step; a few may be, to stay in the budget of memory.
        let config = self.engine.config();
        let most = config.max_steps as u64 * 5 / 2 + config.max_queue as u64 + 1000;
        if steps > most {
            self.broken(format!("{steps} steps in one call, and {most} are permitted"));
        }
    }

    // What comes out.

    /// Takes the next output, for the owner to carry out. All must be taken before time passes.
    pub fn poll(&mut self) -> Option<Output> {
        let Some(output) = self.engine.poll_output() else {
            self.closed.clear();
            if self.engine.sessions() != self.alive.len() {
                let (sessions, known) = (self.engine.sessions(), self.alive.len());
                self.broken(format!("{sessions} sessions, and {known} by the events"));
            }
            return None;
        };
        let known = match &output {
            Output::Respond { link, .. } => self.waiting.remove(link) || self.closed.contains(link),
            Output::Push { link, .. } => self.sockets.contains(link) || self.closed.contains(link),
            Output::Reject { link, status, .. } => {
                let open = self.waiting.remove(link) || self.sockets.contains(link);
                (400..600).contains(status) && (open || self.closed.contains(link))
            }
            Output::Close { link, .. } => self.sockets.contains(link) || self.closed.contains(link),
            Output::Added(id) => self.alive.insert(id.clone()),
            Output::Removed(id, _) => self.alive.remove(id),
            Output::Subscribed(id, _) | Output::Unsubscribed(id, _) | Output::Dropped(id, _) => {
                self.alive.contains(id)
            }
            _ => true,
        };
        if !known {
            self.broken(format!("an output about what is not there: {output:?}"));
        }
        Some(output)
    }

    fn broken(&mut self, what: String) {
        self.breach.get_or_insert(what);
    }

    // Time.

    /// When the engine is to be called at the latest.
    pub fn wakes_at(&self) -> Option<Time> {
        self.engine.poll_timeout()
    }

    /// Goes on to the moment that the engine waits for, if that is not after `end`, and passes the timeout; otherwise to
    /// `end`. Returns whether there are outputs to take.
    pub fn wake_until(&mut self, end: Time) -> bool {
        match self.wakes_at().filter(|at| *at <= end) {
            Some(at) if self.breach.is_none() => {
                self.set_now(at);
                self.pass(Input::Timeout);
                true
            }
            _ => {
                self.set_now(end);
                false
            }
        }
    }
}
