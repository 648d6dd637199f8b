//! Leaving a session to another process, and going on with it there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bayeux_proto::client::{
    AuthReason, CallError, CloseReason, Config, Event, FailureKind, Input, Operation, SessionSnapshot, State,
};
use serde_json::{Map, json};
use support::{BOTH, Harness, INBOX, LongPolling, WebSocket, config, secs, subscribe};

const STREAM: bayeux_proto::client::SinkId = bayeux_proto::client::SinkId(7);

/// A session with an inbox and a stream, whose server keeps what is not acknowledged.
fn before(config: Config) -> Harness {
    let mut it = Harness::new(config);
    it.handshake_extra = json!({"ext": {"ack": true}});
    it.connect_extra = json!({"ext": {"ack": 3}, "advice": {"timeout": 30_000, "interval": 0}});
    let mut it = it.opened();
    it.subscribe("/inbox");
    it.call(subscribe("/stream", STREAM));
    it.serve();
    it
}

fn left(mut it: Harness) -> SessionSnapshot {
    let snapshot = it.session().snapshot(false).expect("a session");
    let call = it.call(Operation::Suspend);
    assert!(it.ok(call).is_successful());
    assert_eq!(it.state(), State::Disconnected);
    it.nothing_sent();
    assert!(matches!(it.events.last(), Some(Event::Closed(CloseReason::Suspended))));
    let text = serde_json::to_string(&snapshot).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn resume(it: &mut Harness, snapshot: SessionSnapshot) -> bayeux_proto::client::CallId {
    it.call(Operation::Resume(Box::new(snapshot)))
}

#[test]
fn a_resumed_session_begins_with_a_connect_of_the_old_one() {
    for transport in BOTH {
        let snapshot = left(before(config(&[transport])));
        assert_eq!(snapshot.transport(), Some(transport));
        let mut after = Harness::new(config(&BOTH));
        let open = resume(&mut after, snapshot);
        let connect = after.take_on("/meta/connect");
        assert_eq!(connect.transport, transport);
        assert_eq!(connect["clientId"], "client-1");
        assert_eq!(connect["ext"], json!({"ack": 3}));
        assert_eq!(connect["advice"], json!({"timeout": 0}));
        assert!(connect["id"].as_str().unwrap().parse::<u64>().unwrap() > 4, "ids go on");

        after.serve_one(&connect);
        assert!(after.ok(open).is_successful());
        assert_eq!(after.state(), State::Connected);
        let names: Vec<_> = after.session().subscriptions().map(ToString::to_string).collect();
        assert_eq!(names, ["/inbox", "/stream"]);
        assert_eq!(after.count(|event| matches!(event, Event::Rehandshaken | Event::GapPossible { .. })), 0);
        // The next connect is held as long as the old session was told.
        let held = after.take_on("/meta/connect");
        after.elapse(secs(39));
        assert_eq!(after.state(), State::Connected);
        after.serve_one(&held);
    }
}

#[test]
fn what_was_seen_of_an_unfinished_batch_is_not_delivered_again() {
    let mut it = before(config(&[LongPolling]));
    let held = it.held();
    // The events came, the reply behind them did not.
    let bodies = json!([{"channel": "/inbox", "data": 1}, {"channel": "/inbox", "data": 2}]);
    it.respond(&held, bodies);
    assert_eq!(it.inbox(), ["1", "2"]);
    let going_on = it.session().snapshot(true).unwrap();
    let snapshot = left(it);
    for (snapshot, expected) in [(snapshot, vec!["3"]), (going_on, vec!["1", "2", "3"])] {
        let mut after = Harness::new(config(&[LongPolling]));
        resume(&mut after, snapshot);
        let connect = after.take_on("/meta/connect");
        assert_eq!(connect["ext"], json!({"ack": 3}));
        let reply =
            json!({"channel": "/meta/connect", "id": connect["id"], "successful": true, "ext": {"ack": 4}});
        let event = |data: u64| json!({"channel": "/inbox", "data": data});
        after.respond(&connect, json!([event(1), event(2), event(3), reply]));
        assert_eq!(after.inbox(), expected);
        assert_eq!(after.take_on("/meta/connect")["ext"], json!({"ack": 4}));
    }
}

#[test]
fn without_acknowledgements_a_gap_is_told() {
    let mut it = Harness::connected(WebSocket);
    it.subscribe("/a");
    it.serve();
    let snapshot = left(it);
    let mut after = Harness::new(config(&[WebSocket]));
    resume(&mut after, snapshot);
    after.serve();
    let told = |event: &Event| matches!(event, Event::GapPossible { channels, .. } if channels[0] == "/a");
    assert_eq!(after.count(told), 1);
}

#[test]
fn a_forgotten_session_is_replaced_before_the_open_is_done() {
    let snapshot = left(before(config(&[LongPolling])));
    let mut after = Harness::new(config(&[LongPolling]));
    let open = resume(&mut after, snapshot);
    let connect = after.take_on("/meta/connect");
    after.refuse(
        &connect,
        "402::session_unknown",
        json!({"advice": {"reconnect": "handshake", "interval": 0}}),
    );
    let handshake = after.take_on("/meta/handshake");
    assert!(handshake.message().get("clientId").is_none());
    after.serve_one(&handshake);
    let restored = after.take_on("/meta/subscribe");
    assert_eq!(restored.each("subscription"), ["/inbox", "/stream"]);
    assert!(after.is_pending(open));
    after.serve_one(&restored);
    after.serve();
    assert!(after.ok(open).is_successful());
    assert_eq!(after.count(|event| matches!(event, Event::Rehandshaken)), 1);
    assert_eq!(after.count(|event| matches!(event, Event::GapPossible { .. })), 1);
}

#[test]
fn the_inbox_stands_in_for_a_stream_until_that_is_there_again() {
    let snapshot = left(before(config(&[WebSocket])));
    let mut after = Harness::new(config(&[WebSocket]));
    resume(&mut after, snapshot);
    after.serve();
    after.event("/stream", json!(1));
    assert_eq!(after.inbox(), ["1"]);
    let call = after.call(subscribe("/stream", STREAM));
    assert!(after.ok(call).is_successful());
    after.nothing_sent();
    after.event("/stream", json!(2));
    after.event("/inbox", json!(3));
    assert_eq!(after.received(INBOX), ["1", "3"]);
    assert_eq!(after.received(STREAM), ["2"]);
    // Who asks for it in the inbox keeps it there.
    let mut other = Harness::new(config(&[WebSocket]));
    resume(&mut other, left(before(config(&[WebSocket]))));
    other.serve();
    other.subscribe("/stream");
    other.call(subscribe("/stream", STREAM));
    other.event("/stream", json!(4));
    assert_eq!((other.received(INBOX), other.received(STREAM)), (vec!["4".to_owned()], vec!["4".to_owned()]));
}

#[test]
fn a_server_out_of_reach_fails_the_resumption_at_once() {
    let snapshot = left(before(config(&[WebSocket])));
    let mut after = Harness::new(config(&[WebSocket]));
    let open = resume(&mut after, snapshot.clone());
    let connect = after.take_on("/meta/connect");
    after.fail(&connect, FailureKind::Unreachable);
    assert!(matches!(after.err(open), CallError::Closed(CloseReason::Failed(_))));
    assert_eq!(after.state(), State::Disconnected);
    // Unless it is to be tried again; and the snapshot is still good.
    let mut config = config(&[WebSocket]);
    config.retry_open = true;
    let mut after = Harness::new(config);
    let open = resume(&mut after, snapshot);
    let connect = after.take_on("/meta/connect");
    after.fail(&connect, FailureKind::Unreachable);
    let (connect, waited) = after.wait_for("/meta/connect");
    assert_eq!(waited, secs(1));
    after.serve_one(&connect);
    assert!(after.ok(open).is_successful());
}

#[test]
fn credentials_are_asked_for_before_the_first_connect() {
    let mut with_auth = config(&[LongPolling]);
    with_auth.has_auth = true;
    let mut after = Harness::new(with_auth.clone());
    let open = resume(&mut after, left(before(config(&[LongPolling]))));
    after.nothing_sent();
    assert_eq!(after.asked, [AuthReason::First]);
    after.input(Input::Credentials(Ok(Map::new())));
    after.serve();
    assert!(after.ok(open).is_successful());

    let mut after = Harness::new(with_auth);
    let open = resume(&mut after, left(before(config(&[LongPolling]))));
    after.input(Input::Credentials(Err("none".to_owned())));
    assert!(matches!(after.err(open), CallError::Closed(CloseReason::NoCredentials(_))));
}

#[test]
fn only_a_session_can_be_left() {
    let mut it = Harness::over(WebSocket);
    assert_eq!(it.session().snapshot(false), None);
    let call = it.call(Operation::Suspend);
    assert!(matches!(it.err(call), CallError::Closed(CloseReason::NotOpen)));

    let mut it = before(config(&[WebSocket]));
    let publish = it.publish("/a", json!(1));
    let secret = format!("{:?}", it.session().snapshot(true).unwrap());
    assert!(!secret.contains("client-1"), "{secret}");
    it.call(Operation::Suspend);
    assert!(matches!(it.err(publish), CallError::Closed(CloseReason::Suspended)));

    let mut it = before(config(&[WebSocket]));
    it.close();
    assert_eq!(it.session().snapshot(false), None, "a session that is being closed");
}

#[test]
fn a_snapshot_tells_what_was_subscribed_to_and_does_not_show_its_id() {
    let snapshot = left(before(config(&[LongPolling])));
    let names: Vec<_> = snapshot.subscriptions().map(|channel| channel.to_string()).collect();
    assert_eq!(names, ["/inbox", "/stream"]);
    let shown = format!("{snapshot:?}");
    assert!(shown.contains("long-polling") && shown.contains("/stream"), "{shown}");
    assert!(!shown.contains("client-1"), "{shown}");
}

#[test]
fn a_transport_that_the_user_does_not_want_is_not_resumed() {
    let snapshot = left(before(config(&[WebSocket])));
    let mut after = Harness::over(LongPolling);
    resume(&mut after, snapshot);
    assert_eq!(after.take_on("/meta/connect").transport, LongPolling);
}
