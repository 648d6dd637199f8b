//! A server's engine in the hands of a script: clients that send anything, over requests and sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::codec::Decoder;
use bayeux_proto::server::{
    AllowAll, Config, Engine, Input, LinkId, LinkKind, Output, QueueOverflow, ServiceToken,
};
use bayeux_proto::{BayeuxError, Channel, ClientId, Data, Message, Time};
use bytes::Bytes;

/// The engine, and what is known of it from outside.
pub struct World {
    engine: Engine,
    now: Time,
    links: u64,
    /// Requests without a response.
    waiting: BTreeSet<LinkId>,
    /// The sockets that are open, by their number in the script.
    sockets: BTreeMap<u64, LinkId>,
    /// Links that the engine has finished with, before their `LinkClosed` input.
    done: Vec<LinkId>,
    /// All sessions, in the order in which they began.
    known: Vec<ClientId>,
    alive: BTreeSet<String>,
    browser: Option<Arc<str>>,
    multiplexed: bool,
    calls: Vec<ServiceToken>,
    /// Whether work is left over from one step of the script to the next.
    slices: bool,
    /// How many steps of work the script may have caused so far.
    allowed: u64,
    /// What was allocated before.
    before: usize,
    /// How long the script is, and what it says is known of it.
    size: usize,
    /// How long the text is that a word of the script stands for, while it is played.
    expanded: usize,
}

impl World {
    /// A world with the settings of a line such as `small end`.
    pub fn new(settings: &str) -> Self {
        let mut config = Config::default();
        for word in settings.split_whitespace() {
            match word {
                "small" => config.max_queue = 2,
                "tiny" => config.max_reply_bytes = 64,
                "newest" => config.overflow = QueueOverflow::DropNewest,
                "end" => config.overflow = QueueOverflow::EndSession,
                "noack" => config.acknowledgements = false,
                "interval" => config.interval = Duration::from_millis(500),
                "welcome" => config.messages_during_handshake = true,
                "connects" => config.connect_delivery_only = true,
                "few" => (config.max_sessions, config.max_subscriptions, config.max_batch) = (2, 2, 4),
                "inactive" => config.max_inactivity = Some(Duration::from_secs(20)),
                "one" => config.multi_session_interval = Duration::ZERO,
                "trust" => config.trust_client_session = true,
                "strict" => config.require_handshake_per_connection = true,
                "recon" => config.handshake_reconnect = true,
                "poor" => config.max_memory = 64 * 1024,
                "slices" => config.max_steps = 3,
                "others" => config.broadcast_to_publisher = false,
                "lazy" => config
                    .lazy_channels
                    .extend(Channel::parse("/lazy/**").map(|channel| (channel, Duration::from_secs(2)))),
                _ => {}
            }
        }
        let slices = config.max_steps < 100;
        Self {
            slices,
            allowed: 1000,
            before: crate::ALLOCATED.current_usage(),
            size: 0,
            expanded: 0,
            engine: Engine::new(config, Box::new(AllowAll)),
            now: Time::ZERO,
            links: 0,
            waiting: BTreeSet::new(),
            sockets: BTreeMap::new(),
            done: Vec::new(),
            known: Vec::new(),
            alive: BTreeSet::new(),
            browser: None,
            multiplexed: false,
            calls: Vec::new(),
        }
    }

    /// Runs a script, then lets all clients fall silent.
    pub fn run(script: &str) {
        let mut steps = crate::steps(script).peekable();
        let settings = steps.next_if(|(word, _)| *word == "=").map_or("", |(_, settings)| settings);
        let mut world = Self::new(settings);
        world.size = script.len();
        for (word, rest) in steps {
            world.step(word, rest);
        }
        world.silence();
    }

    fn step(&mut self, word: &str, rest: &str) {
        match word {
            "browser" => self.browser = Some(rest.into()).filter(|name: &Arc<str>| !name.is_empty()),
            "multiplexed" => self.multiplexed = !self.multiplexed,
            "post" | "script" => {
                let kind = if word == "post" { LinkKind::Http } else { LinkKind::Callback };
                if let Some(messages) = self.messages(rest) {
                    let link = self.new_link();
                    self.waiting.insert(link);
                    let (browser, multiplexed) = (self.browser.clone(), self.multiplexed);
                    self.call(Input::LinkOpened { link, browser, second: None, multiplexed }, 0);
                    self.received(link, kind, messages);
                }
            }
            // A shell that knows nothing of cookies.
            "plain" => {
                if let Some(messages) = self.messages(rest) {
                    let link = self.new_link();
                    self.waiting.insert(link);
                    self.received(link, LinkKind::Http, messages);
                }
            }
            "frame" => {
                let (socket, json) = rest.split_once(' ').unwrap_or((rest, ""));
                if let Some(messages) = self.messages(json) {
                    let socket = number(socket) % 4;
                    let link = match self.sockets.get(&socket) {
                        Some(link) => *link,
                        None => {
                            let link = self.new_link();
                            self.sockets.insert(socket, link);
                            link
                        }
                    };
                    self.received(link, LinkKind::WebSocket, messages);
                }
            }
            // A socket of which the shell knows the cookie, and says when it is written to.
            "open" => {
                let socket = number(rest) % 4;
                if !self.sockets.contains_key(&socket) {
                    let link = self.new_link();
                    self.sockets.insert(socket, link);
                    let browser = self.browser.clone();
                    self.handle(Input::LinkOpened { link, browser, multiplexed: false }, 0);
                }
            }
            "issued" | "writing" | "written" => {
                if let Some(link) = self.sockets.get(&(number(rest) % 4)).copied() {
                    let input = match word {
                        "issued" => Input::CookieIssued(link),
                        "writing" => Input::Writing(link),
                        _ => Input::Written(link),
                    };
                    self.handle(input, 0);
                }
            }
            // What clients do, in short: `N` is the number of a session.
            "shake" => {
                let offer = r#"[{"channel":"/meta/handshake","id":"1","version":"1.0","supportedConnectionTypes":["long-polling"],"ext":{"ack":ACK}}]"#;
                self.step("post", &offer.replace("ACK", if rest == "ack" { "true" } else { "false" }));
            }
            "sub" | "unsub" => {
                let (session, channel) = rest.split_once(' ').unwrap_or((rest, "/a"));
                let what = format!("{word}scribe");
                self.step(
                    "post",
                    &format!(
                        r#"[{{"channel":"/meta/{what}","clientId":"@{session}","subscription":"{channel}"}}]"#
                    ),
                );
            }
            "pub" => {
                let (session, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let (count, channel) = rest.split_once(' ').unwrap_or((rest, "/a"));
                let one = format!(r#"{{"channel":"{channel}","clientId":"@{session}","data":1}}"#);
                let text = format!("[{}]", vec![one; number(count).clamp(1, 200) as usize].join(","));
                self.expanded = text.len();
                self.step("post", &text);
                self.expanded = 0;
            }
            "hold" | "ack" | "interval" => {
                let (session, value) = rest.split_once(' ').unwrap_or((rest, "0"));
                let value = number(value);
                let more = match word {
                    "ack" => format!(r#","ext":{{"ack":{value}}}"#),
                    "interval" => format!(r#","advice":{{"timeout":0,"interval":{value}}}"#),
                    _ => String::new(),
                };
                self.step("post", &format!(r#"[{{"channel":"/meta/connect","clientId":"@{session}","connectionType":"long-polling"{more}}}]"#));
            }
            "go" => self.handle(Input::Timeout, 0),
            "cut" => {
                if let Some(link) = self.sockets.remove(&(number(rest) % 4)) {
                    self.handle(Input::LinkClosed(link), 0);
                }
            }
            "abandon" => {
                if let Some(link) = self.waiting.pop_first() {
                    self.handle(Input::LinkClosed(link), 0);
                }
            }
            "publish" => {
                if let Some((channel, data)) = message(rest) {
                    self.handle(Input::Publish { channel, data }, 1);
                }
            }
            "lazily" => {
                let (within, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                if let Some((channel, data)) = message(rest) {
                    let within = Duration::from_millis(number(within).min(100_000));
                    self.handle(Input::PublishLazily { channel, data, within }, 1);
                }
            }
            "send" => {
                let (session, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                if let (Some(session), Some((channel, data))) = (self.session(session), message(rest)) {
                    self.handle(Input::Send { session, channel, data }, 1);
                }
            }
            "dismiss" => {
                if let Some(session) = self.session(rest) {
                    self.handle(Input::Disconnect(session), 0);
                }
            }
            "because" => {
                let (session, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                if let Some(session) = self.session(session) {
                    let reason = BayeuxError::new(403, "", reason);
                    self.handle(Input::DisconnectBecause { session, reason }, 0);
                }
            }
            "answer" => {
                if let Some(token) = self.calls.pop() {
                    let answer = Data::from_json(rest).map_err(|_| BayeuxError::new(500, "", rest));
                    self.handle(Input::Answer { token, answer }, 1);
                }
            }
            "shutdown" => self.handle(Input::Shutdown, 0),
            "clock" => self.handle(Input::WallClock(Duration::from_millis(number(rest))), 0),
            "wait" => self.pass(Duration::from_millis(number(rest).min(10_000_000))),
            _ => {}
        }
    }

    /// `@2` stands for the id of the third session.
    fn messages(&self, json: &str) -> Option<Vec<Message>> {
        let mut text = json.to_owned();
        for (index, id) in self.known.iter().enumerate().take(10) {
            text = text.replace(&format!("@{index}"), id.as_str());
        }
        Decoder::new()
            .decode(&Bytes::from(text))
            .ok()
            .filter(|batch| batch.skipped == 0)
            .map(|batch| batch.messages)
    }

    fn session(&self, index: &str) -> Option<ClientId> {
        self.known.get(number(index) as usize).cloned()
    }

    fn new_link(&mut self) -> LinkId {
        self.links += 1;
        LinkId(self.links)
    }

    fn received(&mut self, link: LinkId, kind: LinkKind, messages: Vec<Message>) {
        let names =
            |message: &Message| message.fields().subscription.as_ref().map_or(0, |names| names.names().len());
        let count = messages.iter().map(|message| 1 + names(message)).sum();
        self.handle(Input::Received { link, kind, messages }, count);
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        for _ in 0..100_000 {
            let Some(next) = self.engine.poll_timeout().filter(|next| *next <= until) else { break };
            self.now = next.max(self.now);
            self.handle(Input::Timeout, 0);
        }
        self.now = until;
        self.handle(Input::Timeout, 0);
    }

    /// Clients that send nothing any more leave nothing behind.
    fn silence(&mut self) {
        // A minute is the longest that a client may ask for, and this is much more.
        self.pass(Duration::from_secs(3600 + 3600));
        assert!(self.waiting.is_empty(), "requests without a response: {:?}", self.waiting);
        assert_eq!(self.engine.sessions(), 0, "sessions that never end");
        assert_eq!(self.engine.poll_timeout(), None, "something is left of them");
    }

    fn handle(&mut self, input: Input, size: usize) {
        // Each message is handed to each session at most once, and taken from its queue once.
        self.allowed += 64 + 8 * (size as u64 + 2) * (self.known.len() as u64 + 2);
        self.call(input, size);
        while !self.slices && self.engine.has_work() {
            self.call(Input::Timeout, size);
        }
        assert!(self.engine.steps() <= self.allowed, "{} steps of {}", self.engine.steps(), self.allowed);
        assert_eq!(self.engine.sessions(), self.alive.len(), "the events about sessions");
        if !self.slices {
            let next = self.engine.poll_timeout();
            assert!(next.is_none_or(|at| at > self.now), "at {:?} called for {next:?}", self.now);
        }
        self.check_memory();
    }

    fn call(&mut self, input: Input, size: usize) {
        let before = self.engine.steps();
        self.engine.handle(input, self.now);
        let most = self.engine.config().max_steps as u64 * 5 / 2 + 1000;
        assert!(self.engine.steps() - before <= most, "{} steps in one call", self.engine.steps() - before);
        self.drain(size);
        while let Some(link) = self.done.pop() {
            self.sockets.retain(|_, open| *open != link);
            self.engine.handle(Input::LinkClosed(link), self.now);
            self.drain(0);
        }
    }

    /// What is allocated is what the engine counts, but for what the script itself takes and what an empty engine does.
    fn check_memory(&self) {
        const EMPTY: usize = 64 * 1024;
        let taken = crate::ALLOCATED.current_usage().saturating_sub(self.before);
        let counted = self.engine.memory().total();
        // The text of a step, its copy without placeholders, and the body that it becomes.
        let own = 3 * self.expanded + 64 * self.size + 512 * (self.known.len() + self.waiting.len() + self.links as usize);
        assert!(
            taken <= counted + own + EMPTY,
            "{taken} bytes are allocated, {counted} counted, {own} our own"
        );
        let budget = self.engine.config().max_memory;
        assert!(counted <= budget + own + EMPTY, "{counted} bytes of {budget}");
    }

    fn drain(&mut self, size: usize) {
        let most = 200 + 8 * (size + 2) * (self.known.len() + 2);
        for _ in 0..most {
            match self.engine.poll_output() {
                Some(output) => self.output(output),
                None => return,
            }
        }
        panic!("more than {most} outputs for one input");
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Respond { link, messages, .. } => {
                assert!(self.waiting.remove(&link), "a response to nothing: {link:?}");
                self.done.push(link);
                readable(&messages);
            }
            Output::Push { link, messages } => {
                assert!(self.is_socket(link), "a frame for no socket: {link:?}");
                readable(&messages);
            }
            Output::Reject { link, status, .. } => {
                assert!(self.waiting.remove(&link) || self.is_socket(link), "nothing to reject: {link:?}");
                assert!((400..600).contains(&status), "{status}");
                self.done.push(link);
            }
            Output::Close { link, .. } => {
                assert!(self.is_socket(link), "no socket to close: {link:?}");
                self.done.push(link);
            }
            Output::Service(call) => {
                self.calls.push(call.token);
                let surplus = self.calls.len().saturating_sub(16);
                self.calls.drain(..surplus);
            }
            Output::Added(id) => {
                assert!(self.alive.insert(id.as_str().to_owned()), "an id twice");
                self.known.push(id);
            }
            Output::Removed(id, _) => assert!(self.alive.remove(id.as_str()), "{id:?} ended twice"),
            Output::Subscribed(id, _) | Output::Unsubscribed(id, _) | Output::Dropped(id, _) => {
                assert!(self.alive.contains(id.as_str()), "an event about {id:?}, which has ended");
            }
            _ => {}
        }
    }

    fn is_socket(&self, link: LinkId) -> bool {
        self.sockets.values().any(|open| *open == link)
    }
}

/// What goes over the wire is an array of messages, each with a channel.
fn readable(messages: &Bytes) {
    let batch = Decoder::new().decode(messages).expect("what is sent can be read");
    assert_eq!(batch.skipped, 0);
}

/// What an application may publish: the shell refuses other channels.
fn message(rest: &str) -> Option<(Channel, Data)> {
    let (channel, data) = rest.split_once(' ')?;
    let channel = Channel::parse(channel).ok().filter(|channel| !channel.is_wild() && !channel.is_meta())?;
    Some((channel, Data::from_json(data).ok()?))
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}
