//! An engine, its peers, and what they cost.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bayeux_proto::codec::Decoder;
use bayeux_proto::server::{AllowAll, Config, Engine, Input, LinkId, LinkKind, Output, RemovedBecause};
use bayeux_proto::{Channel, Data, Time};
use bayeux_sim::ServerDriver;
use bytes::Bytes;
use serde_json::Value;

use super::ALLOCATED;

/// One test at a time: what is allocated is counted for the whole process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much more is allocated after `act` than before, and at most meanwhile.
pub(crate) fn allocated<T>(act: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let outcome = act();
    let kept = ALLOCATED.current_usage().saturating_sub(before);
    (outcome, kept, ALLOCATED.peak_usage().saturating_sub(before))
}

pub(crate) struct Server {
    pub(crate) driver: ServerDriver,
    /// What was sent over each link.
    pub(crate) sent: HashMap<LinkId, Vec<Bytes>>,
    pub(crate) statuses: HashMap<LinkId, u16>,
    pub(crate) ready: Vec<LinkId>,
    pub(crate) dropped: u64,
    pub(crate) removed: Vec<RemovedBecause>,
    /// Whether what is sent is kept, to be looked at.
    pub(crate) keep: bool,
}

impl Server {
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Self {
            driver: ServerDriver::new(config, AllowAll, Time::from_origin(Duration::from_secs(1000))),
            sent: HashMap::new(),
            statuses: HashMap::new(),
            ready: Vec::new(),
            dropped: 0,
            removed: Vec::new(),
            keep: true,
        }
    }

    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn link(&mut self) -> LinkId {
        self.driver.new_link()
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.driver.engine()
    }

    /// Time passes, and nobody calls the engine.
    pub(crate) fn oversleep(&mut self, span: Duration) {
        self.driver.set_now(self.driver.now() + span);
    }

    /// A link of which the shell knows the cookie.
    pub(crate) fn link_of(&mut self, cookie: &str) -> LinkId {
        self.driver.open(Some(cookie.into()), false)
    }

    /// One call, and all that comes out of it.
    pub(crate) fn handle(&mut self, input: Input) {
        self.driver.pass(input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.driver.poll() {
            match output {
                Output::Respond { link, messages, .. } | Output::Push { link, messages } if self.keep => {
                    self.sent.entry(link).or_default().push(messages);
                }
                Output::Reject { link, status, .. } => drop(self.statuses.insert(link, status)),
                Output::Close { link, code, .. } => drop(self.statuses.insert(link, code)),
                Output::Ready(link) => self.ready.push(link),
                Output::Dropped(_, count) => self.dropped += count,
                Output::Removed(_, because) => self.removed.push(because),
                _ => {}
            }
        }
        self.driver.assert_kept();
    }

    /// Goes on until nothing is left that need not wait. How many calls that takes.
    pub(crate) fn settle(&mut self) -> usize {
        let mut calls = 0;
        while self.engine().has_work() {
            assert_eq!(self.driver.wakes_at(), Some(self.driver.now()), "what is left is due at once");
            self.handle(Input::Timeout);
            calls += 1;
        }
        calls
    }

    pub(crate) fn advance(&mut self, span: Duration) {
        let until = self.driver.now() + span;
        while self.driver.wake_until(until) {
            self.drain();
        }
    }

    /// Hands messages in, and does no more than that one call does.
    pub(crate) fn receive(&mut self, link: LinkId, kind: LinkKind, json: &str) {
        let messages = Decoder::new().decode(&Bytes::copy_from_slice(json.as_bytes())).unwrap().messages;
        self.handle(Input::Received { link, kind, messages });
    }

    /// A request over HTTP, with one call.
    pub(crate) fn request(&mut self, json: &str) -> LinkId {
        let link = self.link();
        self.receive(link, LinkKind::Http, json);
        link
    }

    /// A request over HTTP, and all calls that it takes.
    pub(crate) fn post(&mut self, json: &str) -> Vec<Value> {
        let link = self.request(json);
        self.settle();
        self.messages(link)
    }

    /// What came over a link since the last time.
    pub(crate) fn messages(&mut self, link: LinkId) -> Vec<Value> {
        let sent = self.sent.remove(&link).unwrap_or_default();
        sent.iter().flat_map(|json| serde_json::from_slice::<Vec<Value>>(json).unwrap()).collect()
    }

    /// A session over HTTP, the first connect answered.
    pub(crate) fn session(&mut self) -> String {
        self.session_with("")
    }

    pub(crate) fn session_with(&mut self, more: &str) -> String {
        let id = self.handshake(more);
        self.post(&connect(&id, r#","advice":{"timeout":0}"#));
        id
    }

    pub(crate) fn handshake(&mut self, more: &str) -> String {
        let keep = std::mem::replace(&mut self.keep, true);
        let replies = self.post(&handshake(more));
        self.keep = keep;
        replies[0]["clientId"].as_str().unwrap_or_else(|| panic!("{replies:?}")).to_owned()
    }

    /// A session over a socket, the first connect answered.
    pub(crate) fn socket(&mut self) -> (String, LinkId) {
        let link = self.link();
        self.receive(link, LinkKind::WebSocket, &handshake(""));
        let id = self.messages(link)[0]["clientId"].as_str().unwrap().to_owned();
        self.receive(link, LinkKind::WebSocket, &connect(&id, r#","advice":{"timeout":0}"#));
        self.settle();
        self.messages(link);
        (id, link)
    }

    pub(crate) fn subscribe(&mut self, id: &str, channel: &str) {
        let replies = self.post(&subscribe(id, channel));
        assert_eq!(replies.last().unwrap()["successful"], true, "{replies:?}");
    }

    /// Over its socket: what a session asks for over HTTP says that it has left its socket.
    pub(crate) fn subscribe_over(&mut self, (id, link): &(String, LinkId), channel: &str) {
        self.receive(*link, LinkKind::WebSocket, &subscribe(id, channel));
        self.settle();
        let replies = self.messages(*link);
        assert_eq!(replies.last().unwrap()["successful"], true, "{replies:?}");
    }

    pub(crate) fn publish(&mut self, channel: &str, data: &Value) {
        let (channel, data) = (Channel::parse(channel).unwrap(), Data::from(data.clone()));
        self.handle(Input::Publish { channel, data });
    }

    pub(crate) fn hangs_up(&mut self, link: LinkId) {
        self.handle(Input::LinkClosed(link));
    }
}

pub(crate) fn handshake(more: &str) -> String {
    format!(
        r#"[{{"channel":"/meta/handshake","id":"1","version":"1.0","supportedConnectionTypes":["long-polling"]{more}}}]"#
    )
}

pub(crate) fn connect(id: &str, more: &str) -> String {
    format!(
        r#"[{{"channel":"/meta/connect","id":"2","clientId":"{id}","connectionType":"long-polling"{more}}}]"#
    )
}

pub(crate) fn subscribe(id: &str, channel: &str) -> String {
    array([change(id, "subscribe", channel)])
}

pub(crate) fn change(id: &str, what: &str, channel: &str) -> String {
    format!(r#"{{"channel":"/meta/{what}","clientId":"{id}","subscription":"{channel}"}}"#)
}

pub(crate) fn message(id: &str, channel: &str, data: &str) -> String {
    format!(r#"{{"channel":"{channel}","clientId":"{id}","data":{data}}}"#)
}

pub(crate) fn array(messages: impl IntoIterator<Item = String>) -> String {
    let mut json = String::from("[");
    for message in messages {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&message);
    }
    json.push(']');
    json
}
