//! Whatever goes wrong with a request, of whatever kind: its call says with what, and an event does so when it happens.

mod support;

use bayeux_proto::Transport;
use bayeux_proto::client::{CallId, Event, Failure, FailureKind, State};
use serde_json::json;
use support::{Harness, LongPolling, Sent, WebSocket, config, secs};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Handshake,
    Connect,
    Subscribe,
    Unsubscribe,
    Publish,
    Request,
    Disconnect,
}

const KINDS: [Kind; 7] = [
    Kind::Handshake,
    Kind::Connect,
    Kind::Subscribe,
    Kind::Unsubscribe,
    Kind::Publish,
    Kind::Request,
    Kind::Disconnect,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    Status(u16),
    /// A page of HTML, which the shell tells as a malformed body; so is an empty one.
    Html,
    /// The connection breaks.
    Cut,
    /// An array without a reply.
    NoReply,
    /// Nothing at all.
    Stall,
}

const TROUBLES: [Trouble; 11] = [
    Trouble::Status(400),
    Trouble::Status(401),
    Trouble::Status(403),
    Trouble::Status(413),
    Trouble::Status(429),
    Trouble::Status(500),
    Trouble::Status(503),
    Trouble::Html,
    Trouble::Cut,
    Trouble::NoReply,
    Trouble::Stall,
];

impl Trouble {
    fn kind(self) -> FailureKind {
        match self {
            Self::Status(status) => FailureKind::Http { status },
            Self::Html | Self::NoReply => FailureKind::Malformed,
            Self::Cut => FailureKind::Lost,
            Self::Stall => FailureKind::Timeout,
        }
    }

    fn befall(self, it: &mut Harness, sent: &Sent) {
        match self {
            Self::Status(_) | Self::Html | Self::Cut => it.fail(sent, self.kind()),
            Self::NoReply => it.respond(sent, json!([])),
            Self::Stall => {}
        }
    }
}

fn failure_of(event: &Event) -> Option<&Failure> {
    match event {
        Event::RequestFailed { failure, .. } => Some(failure),
        Event::Lost { cause, .. } | Event::Retrying { cause, .. } => cause.failure(),
        Event::Closed(reason) => reason.failure(),
        Event::TransportChanged { cause, .. } => cause.as_ref(),
        _ => None,
    }
}

fn tells(it: &Harness, kind: FailureKind) -> bool {
    it.events.iter().filter_map(failure_of).any(|failure| failure.kind() == kind)
}

/// Begins what is to fail: the call, and what went out for it.
fn begin(it: &mut Harness, kind: Kind) -> (Option<CallId>, Sent) {
    let (call, name) = match kind {
        Kind::Handshake => (Some(it.open()), "/meta/handshake"),
        Kind::Connect => (None, "/meta/connect"),
        Kind::Subscribe => (Some(it.subscribe("/new")), "/meta/subscribe"),
        Kind::Unsubscribe => (Some(it.unsubscribe("/old", support::INBOX)), "/meta/unsubscribe"),
        Kind::Publish => (Some(it.publish("/a", json!(1))), "/a"),
        Kind::Request => (Some(it.request("/service/a", json!(1))), "/service/a"),
        Kind::Disconnect => (Some(it.close()), "/meta/disconnect"),
    };
    let sent = if kind == Kind::Connect { it.held() } else { it.take_on(name) };
    (call, sent)
}

#[test]
fn each_failure_of_each_kind_of_message_is_in_the_error_and_told_when_it_happens() {
    for kind in KINDS {
        for trouble in TROUBLES {
            let mut it = Harness::over(LongPolling);
            if kind != Kind::Handshake {
                it = it.opened();
                it.subscribe("/old");
                it.serve();
                it.take_any();
            }
            it.events.clear();
            let begun = it.now();
            let (call, sent) = begin(&mut it, kind);
            trouble.befall(&mut it, &sent);
            if trouble == Trouble::Stall {
                let bound = if kind == Kind::Connect { secs(41) } else { secs(21) };
                while !tells(&it, trouble.kind())
                    && it.now().since(begun) < bound
                    && it.state() != State::Disconnected
                {
                    it.jump();
                }
            }
            assert!(tells(&it, trouble.kind()), "{kind:?} {trouble:?}: {:?}", it.events);
            // A close ends all the same, and its caller need not know more.
            let Some(call) = call.filter(|_| kind != Kind::Disconnect) else { continue };
            // Whatever is sent again meets with the same.
            while it.is_pending(call) {
                match it.take_any() {
                    Some(again) if again.channel() == sent.channel() => trouble.befall(&mut it, &again),
                    Some(_) => {}
                    None => drop(it.jump()),
                }
            }
            assert!(it.now().since(begun) <= secs(20), "{kind:?} {trouble:?}");
            let error = it.err(call);
            let failure = error.failure().unwrap_or_else(|| panic!("{kind:?} {trouble:?}: {error}"));
            assert_eq!(failure.kind(), trouble.kind(), "{kind:?} {trouble:?}: {error}");
        }
    }
}

#[test]
fn a_subscribe_that_a_server_is_too_busy_for_says_so_when_its_time_is_over() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let call = it.subscribe("/a");
    let begun = it.now();
    while it.is_pending(call) {
        match it.take_any() {
            Some(sent) => it.fail(&sent, FailureKind::Http { status: 503 }),
            None => drop(it.jump()),
        }
    }
    assert_eq!(it.now().since(begun), secs(10));
    let error = it.err(call);
    assert_eq!(error.failure().and_then(Failure::http_status), Some(503));
    assert!(error.to_string().contains("Http { status: 503 }"), "{error}");
    let told: Vec<_> = it
        .events
        .iter()
        .filter_map(|event| match event {
            Event::RequestFailed { channel, repeated, messages: 1, delay, .. } => {
                Some((channel.as_str(), *repeated, *delay))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told[..2], [("/meta/subscribe", 1, secs(1)), ("/meta/subscribe", 1, secs(2))]);
}

#[test]
fn a_subscribe_over_a_websocket_that_gets_no_reply_is_told_too() {
    let mut it = Harness::connected(WebSocket);
    let call = it.subscribe("/a");
    it.elapse(secs(9));
    // The socket is not silent, so that it is not given up.
    it.push(json!([{"channel": "/x", "data": 1}]));
    it.elapse(secs(1));
    assert_eq!(it.err(call).failure().map(Failure::kind), Some(FailureKind::Timeout));
    assert!(tells(&it, FailureKind::Timeout));
    assert_eq!(it.state(), State::Connected);
}

#[test]
fn a_publish_that_was_never_sent_says_so_and_why() {
    for transport in [LongPolling, WebSocket] as [Transport; 2] {
        let mut it = Harness::new(config(&[transport])).opened();
        it.cut(FailureKind::Lost);
        let call = it.publish("/a", json!(1));
        while it.is_pending(call) {
            it.jump();
            it.cut(FailureKind::Unreachable);
        }
        let error = it.err(call);
        assert!(error.to_string().starts_with("never sent within 10.0s: "), "{error}");
        assert_eq!(error.failure().map(Failure::kind), Some(FailureKind::Unreachable));
    }
}
