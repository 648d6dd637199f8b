//! An engine in virtual time, with clients that speak JSON to it.

// Each test file uses its part.
#![allow(dead_code, clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::needless_pass_by_value)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::codec::Decoder;
use bayeux_proto::server::{AllowAll, Config, Input, LinkId, LinkKind, Output, Policy};
use bayeux_proto::server::{RemovedBecause, ServiceCall};
use bayeux_proto::{Channel, ClientId, Data, Time};
use bayeux_sim::ServerDriver;
use bytes::Bytes;
use serde_json::{Value, json};

/// A server and all that came out of it.
pub(crate) struct Server {
    driver: ServerDriver,
    /// What requests are.
    pub(crate) requests: LinkKind,
    /// Links that were not closed.
    open: Vec<LinkId>,
    /// The responses of requests, by their link.
    responses: HashMap<LinkId, Response>,
    frames: HashMap<LinkId, Vec<Bytes>>,
    closed: HashMap<LinkId, u16>,
    pub(crate) removed: Vec<RemovedBecause>,
    pub(crate) dropped: u64,
    pub(crate) wrong_browsers: usize,
    /// The errors of handshakes that were refused.
    pub(crate) refused: Vec<String>,
    pub(crate) calls: Vec<ServiceCall>,
}

/// What a request was answered with.
#[derive(Clone, Debug)]
pub(crate) enum Response {
    Messages(Vec<Value>, Option<Arc<str>>),
    Status(u16),
}

/// A session, as its client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) cookie: Option<Arc<str>>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::with_policy(AllowAll, change)
    }

    pub(crate) fn with_policy(policy: impl Policy, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Self {
            driver: ServerDriver::new(config, policy, Time::from_origin(Duration::from_secs(1000))),
            requests: LinkKind::Http,
            open: Vec::new(),
            responses: HashMap::new(),
            frames: HashMap::new(),
            closed: HashMap::new(),
            removed: Vec::new(),
            dropped: 0,
            wrong_browsers: 0,
            refused: Vec::new(),
            calls: Vec::new(),
        }
    }

    pub(crate) fn sessions(&self) -> usize {
        self.driver.engine().sessions()
    }

    /// Whether a session exists, without touching it.
    pub(crate) fn alive(&self, client: &Client) -> bool {
        self.driver.engine().session_list().iter().any(|(id, _)| id.as_str() == client.id)
    }

    pub(crate) fn handle(&mut self, input: Input) {
        self.driver.pass(input);
        self.drain();
    }

    /// Lets time pass; whatever is due meanwhile happens when it is due.
    pub(crate) fn advance(&mut self, span: Duration) {
        let until = self.driver.now() + span;
        while self.driver.wake_until(until) {
            self.drain();
            let now = self.driver.now();
            assert!(self.driver.wakes_at().is_none_or(|next| next > now), "what is due at {now:?} is done");
        }
    }

    pub(crate) fn advance_ms(&mut self, ms: u64) {
        self.advance(Duration::from_millis(ms));
    }

    fn drain(&mut self) {
        while let Some(output) = self.driver.poll() {
            match output {
                Output::Respond { link, messages, browser } => {
                    self.respond(link, Response::Messages(array(&messages), browser));
                }
                Output::Reject { link, status, .. } => self.respond(link, Response::Status(status)),
                Output::Push { link, messages } => self.frames.entry(link).or_default().push(messages),
                Output::Close { link, code, .. } => {
                    self.closed.insert(link, code);
                }
                Output::Service(call) => self.calls.push(call),
                Output::Removed(_, because) => self.removed.push(because),
                Output::Dropped(_, count) => self.dropped += count,
                Output::WrongBrowser(_) => self.wrong_browsers += 1,
                Output::HandshakeRefused(_, error) => self.refused.push(error.to_string()),
                _ => {}
            }
        }
        self.driver.assert_kept();
    }

    fn respond(&mut self, link: LinkId, response: Response) {
        assert!(self.responses.insert(link, response).is_none(), "one response to a request");
    }

    fn open(&mut self, cookie: Option<Arc<str>>, multiplexed: bool) -> LinkId {
        let link = self.driver.open(cookie, multiplexed);
        self.open.push(link);
        link
    }

    /// Whether a link was still open.
    fn close(&mut self, link: LinkId) -> bool {
        let before = self.open.len();
        self.open.retain(|open| *open != link);
        self.open.len() < before
    }

    /// Sends a request whose response may come later.
    pub(crate) fn request(&mut self, cookie: Option<&Arc<str>>, messages: Value) -> LinkId {
        self.request_over(cookie, false, messages)
    }

    pub(crate) fn request_over(
        &mut self,
        cookie: Option<&Arc<str>>,
        multiplexed: bool,
        messages: Value,
    ) -> LinkId {
        let link = self.open(cookie.cloned(), multiplexed);
        let messages = decode(&messages);
        self.handle(Input::Received { link, kind: self.requests, messages });
        link
    }

    /// The response to a request, if it has come.
    pub(crate) fn response(&mut self, link: LinkId) -> Option<Response> {
        let response = self.responses.remove(&link)?;
        if self.close(link) {
            self.handle(Input::LinkClosed(link));
        }
        Some(response)
    }

    /// The messages of a response that must have come.
    pub(crate) fn messages(&mut self, link: LinkId) -> Vec<Value> {
        match self.response(link) {
            Some(Response::Messages(messages, _)) => messages,
            other => panic!("no messages but {other:?}"),
        }
    }

    pub(crate) fn status(&mut self, link: LinkId) -> u16 {
        match self.response(link) {
            Some(Response::Status(status)) => status,
            other => panic!("no status but {other:?}"),
        }
    }

    /// Sends a request that is answered at once.
    pub(crate) fn post(&mut self, client: &Client, messages: Value) -> Vec<Value> {
        let link = self.request(client.cookie.as_ref(), client.sign(messages));
        self.messages(link)
    }

    /// Gives a request up, or closes a socket.
    pub(crate) fn lose(&mut self, link: LinkId) {
        self.close(link);
        self.handle(Input::LinkClosed(link));
    }

    /// A session over HTTP that has not connected yet.
    pub(crate) fn handshake(&mut self) -> Client {
        self.handshake_with(None, json!({}))
    }

    pub(crate) fn handshake_with(&mut self, cookie: Option<&Arc<str>>, more: Value) -> Client {
        let link = self.request(cookie, json!([handshake(more)]));
        let Some(Response::Messages(messages, set_cookie)) = self.response(link) else { panic!("no reply") };
        assert_eq!(messages[0]["successful"], true, "{messages:?}");
        assert_eq!(set_cookie.is_some(), cookie.is_none(), "a cookie is set when there is none");
        Client { id: text(&messages[0]["clientId"]), cookie: set_cookie.or_else(|| cookie.cloned()) }
    }

    /// A session over HTTP whose first connect was answered.
    pub(crate) fn connected(&mut self) -> Client {
        let client = self.handshake();
        self.connect_at_once(&client);
        client
    }

    /// A connect that is answered at once.
    pub(crate) fn connect_at_once(&mut self, client: &Client) -> Vec<Value> {
        let link = self.connect(client, json!({"advice": {"timeout": 0}}));
        self.messages(link)
    }

    /// A connect over HTTP, with more fields.
    pub(crate) fn connect(&mut self, client: &Client, more: Value) -> LinkId {
        let message = client.sign(json!([connect(more)]));
        self.request(client.cookie.as_ref(), message)
    }

    pub(crate) fn subscribe(&mut self, client: &Client, channel: &str) {
        let replies =
            self.post(client, json!([{"channel": "/meta/subscribe", "id": "s", "subscription": channel}]));
        assert_eq!(replies.last().unwrap()["successful"], true, "{replies:?}");
    }

    /// Opens a socket without a cookie.
    pub(crate) fn socket(&mut self) -> LinkId {
        self.socket_of(None)
    }

    /// Opens a socket with a cookie that the client sends.
    pub(crate) fn socket_of(&mut self, cookie: Option<&Arc<str>>) -> LinkId {
        self.open(cookie.cloned(), false)
    }

    /// Opens a socket with two cookies that the client sends.
    pub(crate) fn socket_with_second(
        &mut self,
        cookie: &Arc<str>,
        socket_cookie: Option<Arc<str>>,
    ) -> LinkId {
        let link = self.driver.new_link();
        self.open.push(link);
        let browser = Some(Arc::clone(cookie));
        self.handle(Input::LinkOpened { link, browser, socket_cookie, multiplexed: false });
        link
    }

    /// Opens a socket without a cookie, to which the shell issues one.
    pub(crate) fn socket_issued(&mut self, cookie: &Arc<str>) -> LinkId {
        let link = self.socket_of(Some(cookie));
        self.handle(Input::CookieIssued(link));
        link
    }

    /// Sends a frame, and takes all that came over the socket since.
    pub(crate) fn send(&mut self, socket: LinkId, messages: Value) -> Vec<Value> {
        let messages = decode(&messages);
        self.handle(Input::Received { link: socket, kind: LinkKind::WebSocket, messages });
        self.pushed(socket)
    }

    /// All messages that came over a socket.
    pub(crate) fn pushed(&mut self, socket: LinkId) -> Vec<Value> {
        self.frames(socket).iter().flat_map(array).collect()
    }

    pub(crate) fn frames(&mut self, socket: LinkId) -> Vec<Bytes> {
        self.frames.remove(&socket).unwrap_or_default()
    }

    /// With which code a socket was closed.
    pub(crate) fn closed(&self, socket: LinkId) -> Option<u16> {
        self.closed.get(&socket).copied()
    }

    /// A session over a socket of its own whose first connect was answered.
    pub(crate) fn socket_connected(&mut self, more: Value) -> (Client, LinkId) {
        let socket = self.socket();
        let replies = self.send(socket, json!([handshake(more)]));
        let client = Client { id: text(&replies[0]["clientId"]), cookie: None };
        let replies = self.send(socket, client.sign(json!([connect(json!({"advice": {"timeout": 0}}))])));
        assert_eq!(replies.last().unwrap()["successful"], true, "{replies:?}");
        (client, socket)
    }

    pub(crate) fn publish(&mut self, name: &str, data: Value) {
        self.handle(Input::Publish { channel: channel(name), data: data.into() });
    }

    pub(crate) fn send_to(&mut self, client: &Client, name: &str, data: Value) {
        let session = ClientId::new(&client.id);
        self.handle(Input::Send { session, channel: channel(name), data: data.into() });
    }

    pub(crate) fn disconnect(&mut self, client: &Client) {
        self.handle(Input::Disconnect(ClientId::new(&client.id)));
    }
}

impl Client {
    /// The messages, with the client's id in those that have none.
    pub(crate) fn sign(&self, mut messages: Value) -> Value {
        for message in messages.as_array_mut().unwrap() {
            if message.get("clientId").is_none() {
                message["clientId"] = json!(self.id);
            }
        }
        messages
    }
}

pub(crate) fn handshake(more: Value) -> Value {
    let message = json!({"channel": "/meta/handshake", "id": "h", "version": "1.0",
        "supportedConnectionTypes": ["websocket", "long-polling"]});
    merged(message, more)
}

pub(crate) fn connect(more: Value) -> Value {
    merged(json!({"channel": "/meta/connect", "id": "c", "connectionType": "long-polling"}), more)
}

pub(crate) fn publish(channel: &str, data: Value) -> Value {
    json!({"channel": channel, "id": "p", "data": data})
}

fn merged(mut message: Value, more: Value) -> Value {
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}

pub(crate) fn channel(name: &str) -> Channel {
    Channel::parse(name).unwrap()
}

/// The payloads of the events among the messages.
pub(crate) fn events(messages: &[Value]) -> Vec<Value> {
    messages.iter().filter_map(|message| message.get("data").cloned()).collect()
}

/// The last message, which is the reply to a connect.
pub(crate) fn connect_reply(messages: &[Value]) -> &Value {
    let reply = messages.last().expect("a reply");
    assert_eq!(reply["channel"], "/meta/connect", "{messages:?}");
    reply
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn decode(messages: &Value) -> Vec<bayeux_proto::Message> {
    Decoder::new().decode(&Bytes::from(messages.to_string())).unwrap().messages
}

fn array(messages: &Bytes) -> Vec<Value> {
    serde_json::from_slice(messages).expect("an array")
}

/// `data` as the engine takes it.
pub(crate) fn data(value: Value) -> Data {
    value.into()
}
