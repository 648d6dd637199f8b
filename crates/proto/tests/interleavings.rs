//! What must hold whatever happens, in whatever order: calls, replies, failures and time, chosen by chance.
//!
//! The harness and its driver check at each step that at most one connect of a session is out and at most two HTTP requests
//! are, that no call is resolved twice, that outputs have an end, and that no moment is waited for that is past. Inputs come
//! one by one, or in bursts, after which the outputs are taken.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use bayeux_proto::client::{
    CallId, Config, Delivery, Event, FailureKind, Input, Offline, Operation, SinkId, State,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use support::{BOTH, Harness, LongPolling, WebSocket, channel, config, millis, publish, secs, subscribe};

/// One thing that happens. Numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open,
    Close,
    Publish(u8),
    Request,
    Subscribe(u8, u8),
    Unsubscribe(u8, u8),
    Batch(u8),
    Forget(u8),
    Reconnect,
    Room(u8, Option<u8>),
    Credentials(bool),
    Grant(u8),
    GrantWithEvents(u8),
    GrantWithAdvice(u8, u8),
    Refuse(u8, u8, u8),
    Nothing(u8),
    Stray(u8),
    Fail(u8, u8),
    Veto(u8),
    Event(u8),
    ServerDisconnect,
    Progress(u8),
    Alive,
    Elapse(u16),
    Jump,
    Busy(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Open),
        1 => Just(Step::Close),
        6 => any::<u8>().prop_map(Step::Publish),
        2 => Just(Step::Request),
        5 => any::<(u8, u8)>().prop_map(|(name, sink)| Step::Subscribe(name, sink)),
        3 => any::<(u8, u8)>().prop_map(|(name, sink)| Step::Unsubscribe(name, sink)),
        2 => any::<u8>().prop_map(Step::Batch),
        2 => any::<u8>().prop_map(Step::Forget),
        1 => Just(Step::Reconnect),
        2 => any::<(u8, Option<u8>)>().prop_map(|(sink, room)| Step::Room(sink, room)),
        2 => any::<bool>().prop_map(Step::Credentials),
        40 => any::<u8>().prop_map(Step::Grant),
        6 => any::<u8>().prop_map(Step::GrantWithEvents),
        3 => any::<(u8, u8)>().prop_map(|(which, advice)| Step::GrantWithAdvice(which, advice)),
        6 => any::<(u8, u8, u8)>().prop_map(|(which, error, advice)| Step::Refuse(which, error, advice)),
        2 => any::<u8>().prop_map(Step::Nothing),
        2 => any::<u8>().prop_map(Step::Stray),
        6 => any::<(u8, u8)>().prop_map(|(which, kind)| Step::Fail(which, kind)),
        1 => any::<u8>().prop_map(Step::Veto),
        4 => any::<u8>().prop_map(Step::Event),
        1 => Just(Step::ServerDisconnect),
        2 => any::<u8>().prop_map(Step::Progress),
        1 => Just(Step::Alive),
        6 => any::<u16>().prop_map(Step::Elapse),
        6 => Just(Step::Jump),
        8 => (1..6_u8).prop_map(Step::Busy),
    ];
    prop::collection::vec(step, 1..120)
}

fn settings() -> impl Strategy<Value = Config> {
    (any::<[bool; 6]>(), 0..4_usize).prop_map(|([auth, ack, again, refuse, retry_open, pings], order)| {
        let orders = [vec![WebSocket], vec![LongPolling], BOTH.to_vec(), vec![LongPolling, WebSocket]];
        let mut settings = config(&orders[order]);
        settings.has_auth = auth;
        settings.ack = ack;
        settings.delivery = if again { Delivery::AtLeastOnce } else { Delivery::AtMostOnce };
        settings.offline = if refuse { Offline::Refuse } else { Offline::Wait };
        settings.retry_open = retry_open;
        settings.ping_interval = pings.then_some(secs(20));
        settings.transport_cooldown = secs(60);
        settings
    })
}

const NAMES: [&str; 4] = ["/a", "/a/b", "/a/*", "/service/s"];
const ERRORS: [&str; 6] =
    ["402::session_unknown", "403::denied", "401::expired", "500::busy", "", "403::Unknown client"];
const KINDS: [FailureKind; 9] = [
    FailureKind::Lost,
    FailureKind::Unreachable,
    FailureKind::Http { status: 500 },
    FailureKind::Http { status: 401 },
    FailureKind::UpgradeRefused { status: 404 },
    FailureKind::UpgradeRefused { status: 503 },
    FailureKind::Timeout,
    FailureKind::Malformed,
    FailureKind::Tls,
];

fn pick<T: Clone>(of: &[T], which: u8) -> T {
    of[usize::from(which) % of.len()].clone()
}

fn advice(which: u8) -> Value {
    let choices = [
        json!({}),
        json!({"advice": {"reconnect": "retry", "interval": 0, "timeout": 30_000}}),
        json!({"advice": {"reconnect": "handshake", "interval": 0}}),
        json!({"advice": {"reconnect": "none"}}),
        json!({"advice": {"interval": 700, "maxInterval": 5000}}),
        json!({"advice": {"interval": -1}}),
        json!({"advice": {"timeout": 0}}),
    ];
    pick(&choices, which)
}

/// A session, and what its user waits for.
struct Run {
    it: Harness,
    calls: Vec<CallId>,
    batch: u64,
    /// How many batches were sent.
    sent: usize,
}

impl Run {
    fn new(settings: Config) -> Self {
        Self { it: Harness::new(settings), calls: Vec::new(), batch: 0, sent: 0 }
    }

    fn call(&mut self, operation: Operation) {
        let call = self.it.call(operation);
        self.calls.push(call);
    }

    fn step(&mut self, step: Step) {
        let sink = |sink: u8| SinkId(u64::from(sink % 3));
        match step {
            Step::Open => self.call(Operation::Open),
            Step::Close => self.call(Operation::Close),
            Step::Publish(name) => self.call(publish(pick(&["/a", "/a/b", "/service/s"], name), json!(1))),
            Step::Request => self.call(Operation::Request {
                channel: channel("/service/s"),
                data: json!(1).into(),
                timeout: None,
            }),
            Step::Subscribe(name, to) => self.call(subscribe(pick(&NAMES, name), sink(to))),
            Step::Unsubscribe(name, to) => {
                self.call(Operation::Unsubscribe { channel: channel(pick(&NAMES, name)), sink: sink(to) });
            }
            Step::Batch(size) => {
                let calls = self.it.batch((0..size % 5).map(|n| publish("/a", json!(n))).collect());
                self.calls.extend(calls);
            }
            Step::Forget(which) if !self.calls.is_empty() => {
                let call = self.calls.swap_remove(usize::from(which) % self.calls.len());
                self.it.input(Input::Forget(call));
            }
            Step::Forget(_) => {}
            Step::Reconnect => self.it.input(Input::Reconnect),
            Step::Room(to, room) => {
                let room = room.map(|room| (usize::from(room % 3), 1000));
                self.it.input(Input::Credit(sink(to), room));
            }
            Step::Credentials(given) => {
                let outcome = if given { Ok(Map::new()) } else { Err("none".to_owned()) };
                self.it.input(Input::Credentials(outcome));
            }
            Step::Event(name) if self.it.has_socket() => {
                self.it.push(json!([{"channel": pick(&NAMES[..2], name), "data": 1}]));
            }
            Step::ServerDisconnect if self.it.has_socket() => {
                self.it.push(json!([{"channel": "/meta/disconnect"}]));
            }
            Step::Event(_) | Step::ServerDisconnect => {}
            Step::Alive => self.it.input(Input::Alive),
            Step::Busy(inputs) => self.it.be_busy(inputs),
            Step::Elapse(milliseconds) => self.it.elapse(Duration::from_millis(milliseconds.into())),
            Step::Jump => {
                self.it.drain();
                if self.it.session().poll_timeout().is_some() {
                    self.it.jump();
                }
            }
            Step::Grant(which)
            | Step::GrantWithEvents(which)
            | Step::GrantWithAdvice(which, _)
            | Step::Refuse(which, ..)
            | Step::Nothing(which)
            | Step::Stray(which)
            | Step::Fail(which, _)
            | Step::Veto(which)
            | Step::Progress(which) => self.answer(&step, which),
        }
        self.sent += self.it.overlook();
        self.check_retries();
    }

    /// Something happens to a batch that is under way.
    fn answer(&mut self, step: &Step, which: u8) {
        if self.it.in_flight().is_empty() {
            return;
        }
        let sent = pick(self.it.in_flight(), which);
        let it = &mut self.it;
        self.batch += 1;
        let mut more = match sent.channel() {
            "/meta/handshake" => json!({
                "clientId": format!("c{}", self.batch),
                "supportedConnectionTypes": ["websocket", "long-polling"],
                "ext": {"ack": true},
            }),
            "/meta/connect" => json!({"ext": {"ack": self.batch}}),
            _ => json!({}),
        };
        match step {
            Step::Grant(_) => it.grant(&sent, more),
            Step::GrantWithEvents(_) => {
                let mut body =
                    vec![json!({"channel": "/a", "data": 1}), json!({"channel": "/a/b", "data": 2})];
                body.extend(sent.messages.iter().map(
                    |message| json!({"channel": message["channel"], "id": message["id"], "successful": true}),
                ));
                it.respond(&sent, Value::Array(body));
            }
            Step::GrantWithAdvice(_, kind) => {
                more["advice"] = advice(*kind)["advice"].clone();
                it.grant(&sent, more);
            }
            Step::Refuse(_, error, kind) => it.refuse(&sent, pick(&ERRORS, *error), advice(*kind)),
            Step::Nothing(_) => it.respond(&sent, json!([])),
            Step::Stray(_) if sent.transport == LongPolling => {
                it.respond(&sent, json!([{"error": "401::x"}]))
            }
            Step::Stray(_) => {
                it.push(json!([{"channel": sent["channel"], "id": "999999", "successful": false}]));
            }
            Step::Fail(_, kind) => it.fail(&sent, pick(&KINDS, *kind)),
            Step::Veto(_) if sent.messages.len() == 1 => it.veto(&sent, 0, "no"),
            Step::Progress(_) if sent.transport == LongPolling => it.input(Input::Progress(sent.exchange)),
            Step::Progress(_) => it.input(Input::Arriving),
            _ => {}
        }
    }

    /// Each pause before a connect is at least as long as the number of failures asks for, but for the one right after
    /// a change of transports: the failures of one do not delay the first attempt over another. (A handshake may take
    /// the place of a connect before its pause is over, when the server must have forgotten the session by then.)
    fn check_retries(&mut self) {
        let connecting = self.it.state() == State::Unconnected;
        let mut changed = false;
        for event in self.it.events.drain(..) {
            match event {
                Event::TransportChanged { cause: Some(_), .. } => changed = true,
                Event::Retrying { delay, failures, .. } if connecting => {
                    let least = secs(30.min(1 << (failures - 1).min(5)));
                    assert!(
                        std::mem::take(&mut changed) || delay >= least,
                        "{delay:?} after {failures} failures"
                    );
                }
                _ => {}
            }
        }
    }

    /// Silence: whatever was asked for has its outcome in the end.
    fn end(mut self) {
        self.it.elapse(secs(120));
        for call in &self.calls {
            assert!(!self.it.is_pending(*call), "{call:?} has no outcome, in state {:?}", self.it.state());
        }
        self.check_retries();
        let close = self.it.close();
        self.it.elapse(secs(10));
        assert_eq!(self.it.ok(close).channel(), &"/meta/disconnect");
        assert_eq!(self.it.state(), State::Disconnected);
        assert_eq!(self.it.session().poll_timeout(), None);
        assert_eq!(self.it.session().pending(), 0);
        assert_eq!(self.it.http_requests(), 0, "requests are left under way");
    }
}

/// A second or two of trials; `PROPTEST_CASES` asks for more.
fn bounded() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = asked.unwrap_or(100);
    ProptestConfig { cases, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(bounded())]

    #[test]
    fn whatever_happens_the_laws_hold(settings in settings(), steps in steps()) {
        let mut run = Run::new(settings);
        run.step(Step::Open);
        for step in steps {
            run.step(step);
        }
        run.end();
    }

    #[test]
    fn law_3_no_server_however_it_answers_is_asked_in_a_loop(
        settings in settings(),
        answers in prop::collection::vec((0..12_u8, any::<u8>()), 1..6),
    ) {
        // A server that answers each question at once, and always in the same ways.
        let mut run = Run::new(settings);
        run.step(Step::Open);
        let begun = run.it.now();
        let mut answers = answers.into_iter().cycle();
        while run.it.now().since(begun) < secs(600) && run.it.state() != State::Disconnected {
            if run.it.in_flight().is_empty() {
                if run.it.asked.pop().is_some() {
                    run.step(Step::Credentials(true));
                } else {
                    run.step(Step::Jump);
                }
                continue;
            }
            prop_assert!(run.sent < 300, "{} batches within {:?}", run.sent, run.it.now().since(begun));
            let (kind, more) = answers.next().unwrap();
            run.step(match kind {
                0..=4 => Step::Grant(0),
                5 => Step::GrantWithAdvice(0, more),
                6..=7 => Step::Refuse(0, more, more / 7),
                // Over a WebSocket, no answer is silence.
                8..=9 if run.it.has_socket() => Step::Jump,
                8 => Step::Nothing(0),
                9 => Step::Stray(0),
                _ => Step::Fail(0, more),
            });
        }
    }
}

#[test]
fn a_long_silence_is_no_busy_one() {
    let mut it = Harness::connected(LongPolling);
    it.cut(FailureKind::Lost);
    let mut jumps = 0;
    let end = it.now() + secs(3600);
    while it.now() < end {
        it.jump();
        jumps += 1;
        it.cut(FailureKind::Unreachable);
        assert!(jumps < 500, "the timers of an hour");
    }
    assert!(it.now().since(end) < millis(60_000));
}
