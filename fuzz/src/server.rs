//! A server's engine in the hands of a script: clients that send anything, over requests and sockets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::codec::Decoder;
use bayeux_proto::server::{
    AllowAll, Config, Input, LinkId, LinkKind, Output, QueueOverflow, ServiceToken,
};
use bayeux_proto::{BayeuxError, Channel, ClientId, Data, Message, Time};
use bayeux_sim::ServerDriver;
use bytes::Bytes;

/// The engine with its driver, which checks the contract, and what else is known of it from outside.
pub struct Server {
    driver: ServerDriver,
    /// The sockets that are open, by their number in the script.
    sockets: BTreeMap<u64, LinkId>,
    /// Links that the engine has finished with, before their `LinkClosed` input.
    done: Vec<LinkId>,
    /// All sessions, in the order in which they began.
    known: Vec<ClientId>,
    browser: Option<Arc<str>>,
    multiplexed: bool,
    calls: Vec<ServiceToken>,
    /// How many inputs more are passed before the outputs are taken, and how much was passed since.
    busy: u64,
    passed: usize,
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

impl Server {
    /// A server with the settings of a line such as `small end`.
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
            driver: ServerDriver::new(config, AllowAll, Time::ZERO),
            busy: 0,
            passed: 0,
            sockets: BTreeMap::new(),
            done: Vec::new(),
            known: Vec::new(),
            browser: None,
            multiplexed: false,
            calls: Vec::new(),
        }
    }

    /// Runs a script, then lets all clients fall silent.
    pub fn run(script: &str) {
        let mut steps = crate::steps(script).peekable();
        let settings = steps.next_if(|(word, _)| *word == "=").map_or("", |(_, settings)| settings);
        let mut server = Self::new(settings);
        server.size = script.len();
        for (word, rest) in steps {
            server.step(word, rest);
        }
        server.silence();
    }

    fn step(&mut self, word: &str, rest: &str) {
        match word {
            "browser" => self.browser = Some(rest.into()).filter(|name: &Arc<str>| !name.is_empty()),
            "multiplexed" => self.multiplexed = !self.multiplexed,
            "post" | "script" => {
                let kind = if word == "post" { LinkKind::Http } else { LinkKind::Callback };
                if let Some(messages) = self.messages(rest) {
                    let link = self.driver.open(self.browser.clone(), self.multiplexed);
                    self.received(link, kind, messages);
                }
            }
            // A shell that knows nothing of cookies.
            "plain" => {
                if let Some(messages) = self.messages(rest) {
                    let link = self.driver.new_link();
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
                            let link = self.driver.new_link();
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
                    let link = self.driver.open(self.browser.clone(), false);
                    self.sockets.insert(socket, link);
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
            // A shell with much to do passes more before it takes the outputs.
            "busy" => self.busy = number(rest).min(20),
            "cut" => {
                if let Some(link) = self.sockets.remove(&(number(rest) % 4)) {
                    self.handle(Input::LinkClosed(link), 0);
                }
            }
            "abandon" => {
                if let Some(link) = self.driver.waiting().first().copied() {
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

    fn received(&mut self, link: LinkId, kind: LinkKind, messages: Vec<Message>) {
        let names =
            |message: &Message| message.fields().subscription.as_ref().map_or(0, |names| names.names().len());
        let count = messages.iter().map(|message| 1 + names(message)).sum();
        self.handle(Input::Received { link, kind, messages }, count);
    }

    fn pass(&mut self, span: Duration) {
        self.settle();
        let until = self.driver.now() + span;
        for _ in 0..100_000 {
            let Some(next) = self.driver.wakes_at().filter(|next| *next <= until) else { break };
            self.driver.set_now(next);
            self.handle(Input::Timeout, 0);
        }
        self.driver.set_now(until);
        self.handle(Input::Timeout, 0);
    }

    /// Clients that send nothing any more leave nothing behind.
    fn silence(&mut self) {
        // A minute is the longest that a client may ask for, and this is much more.
        self.pass(Duration::from_secs(3600 + 3600));
        let waiting = self.driver.waiting();
        assert!(waiting.is_empty(), "requests without a response: {waiting:?}");
        assert_eq!(self.driver.engine().sessions(), 0, "sessions that never end");
        assert_eq!(self.driver.wakes_at(), None, "something is left of them");
    }

    fn handle(&mut self, input: Input, size: usize) {
        // Each message is handed to each session at most once, and taken from its queue once.
        self.allowed += 64 + 8 * (size as u64 + 2) * (self.known.len() as u64 + 2);
        self.passed += size + 2;
        self.driver.pass(input);
        match self.busy.checked_sub(1) {
            Some(left) => self.busy = left,
            None => self.settle(),
        }
    }

    /// Takes all outputs, and checks what must hold then.
    fn settle(&mut self) {
        self.busy = 0;
        let size = std::mem::take(&mut self.passed);
        self.drain(size);
        while !self.slices && self.driver.engine().has_work() {
            self.driver.pass(Input::Timeout);
            self.drain(size);
        }
        let (engine, now) = (self.driver.engine(), self.driver.now());
        assert!(engine.steps() <= self.allowed, "{} steps of {}", engine.steps(), self.allowed);
        if !self.slices {
            let next = engine.poll_timeout();
            assert!(next.is_none_or(|at| at > now), "at {now:?} called for {next:?}");
        }
        self.check_memory();
    }

    /// What is allocated is what the engine counts, but for what the script itself takes and what an empty engine does.
    fn check_memory(&self) {
        const EMPTY: usize = 64 * 1024;
        let taken = crate::ALLOCATED.current_usage().saturating_sub(self.before);
        let counted = self.driver.engine().memory().total();
        // The text of a step, its copy without placeholders, and the body that it becomes.
        let own = 3 * self.expanded + 64 * self.size + 512 * (self.known.len() + self.driver.links() as usize);
        assert!(
            taken <= counted + own + EMPTY,
            "{taken} bytes are allocated, {counted} counted, {own} our own"
        );
        let budget = self.driver.engine().config().max_memory;
        assert!(counted <= budget + own + EMPTY, "{counted} bytes of {budget}");
    }

    fn drain(&mut self, size: usize) {
        let most = 200 + 8 * (size + 2) * (self.known.len() + 2);
        for _ in 0..most {
            match self.driver.poll() {
                Some(output) => self.output(output),
                None => {
                    self.driver.assert_kept();
                    let Some(link) = self.done.pop() else { return };
                    self.sockets.retain(|_, open| *open != link);
                    self.driver.pass(Input::LinkClosed(link));
                }
            }
        }
        panic!("more than {most} outputs for one burst");
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Respond { link, messages, .. } => {
                self.done.push(link);
                readable(&messages);
            }
            Output::Push { messages, .. } => readable(&messages),
            Output::Reject { link, .. } | Output::Close { link, .. } => self.done.push(link),
            Output::Service(call) => {
                self.calls.push(call.token);
                let surplus = self.calls.len().saturating_sub(16);
                self.calls.drain(..surplus);
            }
            Output::Added(id) => self.known.push(id),
            _ => {}
        }
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
