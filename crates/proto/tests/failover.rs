//! Several servers of one cluster: which is used, when the next is tried, and what becomes of the session.

mod support;

use bayeux_proto::client::{CallError, CloseReason, Config, Event, FailureKind, Operation, State};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, WebSocket, config, secs};

const DOWN: FailureKind = FailureKind::Unreachable;

/// Settings with as many servers: a, b, c.
fn cluster(servers: usize, transports: &[bayeux_proto::Transport]) -> Config {
    let mut config = config(transports);
    config.endpoint = "a".to_owned();
    config.fallbacks = ["b", "c"].iter().take(servers - 1).map(ToString::to_string).collect();
    config
}

fn changes(it: &Harness) -> String {
    let changes = it.events.iter().filter_map(|event| match event {
        Event::ServerChanged { from, to, .. } => Some(format!("{from}{to}")),
        _ => None,
    });
    changes.collect::<Vec<_>>().join(" ")
}

#[test]
fn opening_tries_the_servers_in_order_and_without_a_pause() {
    for transport in BOTH {
        let mut it = Harness::new(cluster(3, &[transport]));
        let open = it.open();
        for server in 0..2 {
            let handshake = it.take_on("/meta/handshake");
            assert_eq!(handshake.server, server);
            it.fail(&handshake, DOWN);
        }
        let handshake = it.take_on("/meta/handshake");
        assert_eq!(handshake.server, 2);
        it.serve_one(&handshake);
        it.serve();
        it.ok(open);
        assert_eq!(changes(&it), "ab bc");
        assert_eq!(it.session().server(), 2);
    }
}

#[test]
fn opening_fails_when_all_servers_have_failed_and_tells_of_each() {
    let mut it = Harness::new(cluster(2, &BOTH));
    let open = it.open();
    for server in [0, 1] {
        let handshake = it.take_on("/meta/handshake");
        assert_eq!((handshake.server, handshake.transport), (server, WebSocket));
        it.fail(&handshake, DOWN);
    }
    let text = it.err(open).to_string();
    assert_eq!(text.matches("; ").count(), 1, "{text}");
    assert_eq!(it.state(), State::Disconnected);
}

#[test]
fn every_transport_is_tried_before_the_next_server() {
    let mut it = Harness::new(cluster(2, &BOTH));
    it.open();
    for (server, transport) in [(0, WebSocket), (0, LongPolling), (1, WebSocket), (1, LongPolling)] {
        let handshake = it.take_on("/meta/handshake");
        assert_eq!((handshake.server, handshake.transport), (server, transport));
        it.fail(&handshake, FailureKind::Http { status: 503 });
    }
    assert_eq!(it.state(), State::Disconnected);
}

#[test]
fn rounds_over_all_servers_have_growing_pauses_between_them() {
    let mut config = cluster(3, &[LongPolling]);
    config.retry_open = true;
    config.open_timeout = None;
    let mut it = Harness::new(config);
    it.open();
    let mut seen = Vec::new();
    for _ in 0..9 {
        let (handshake, pause) = it.wait_for("/meta/handshake");
        seen.push((handshake.server, pause));
        it.fail(&handshake, DOWN);
    }
    let round = |pause| [(0, pause), (1, secs(0)), (2, secs(0))];
    assert_eq!(seen, [round(secs(0)), round(secs(1)), round(secs(2))].concat());
}

#[test]
fn a_broken_connection_is_made_again_to_the_same_server_first() {
    for transport in BOTH {
        let mut it = Harness::new(cluster(2, &[transport])).opened();
        it.elapse(secs(20));
        let held = it.take_held();
        it.fail(&held, FailureKind::Lost);
        let (connect, pause) = it.wait_for("/meta/connect");
        assert_eq!((connect.server, pause), (0, secs(1)));
        it.serve_one(&connect);
        assert_eq!(it.state(), State::Connected);
        assert_eq!(changes(&it), "");
    }
}

#[test]
fn a_server_that_does_not_come_back_is_left_and_the_next_asked_for_the_session() {
    for (transport, kind) in [
        (WebSocket, DOWN),
        (WebSocket, FailureKind::Timeout),
        (LongPolling, FailureKind::Http { status: 502 }),
    ] {
        let mut it = Harness::new(cluster(2, &[transport])).opened();
        it.subscribe("/a");
        it.serve();
        it.elapse(secs(20));
        let held = it.take_held();
        it.fail(&held, FailureKind::Lost);
        let (connect, _) = it.wait_for("/meta/connect");
        it.fail(&connect, kind);
        let (connect, pause) = it.wait_for("/meta/connect");
        assert_eq!((connect.server, pause), (1, secs(0)), "{kind:?}");
        assert_eq!(connect["clientId"], "client-1");
        it.refuse(&connect, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
        let (handshake, pause) = it.wait_for("/meta/handshake");
        assert_eq!((handshake.server, pause), (1, secs(0)));
        it.serve_one(&handshake);
        it.serve();
        assert_eq!((it.state(), changes(&it).as_str()), (State::Connected, "ab"));
        let gap = |event: &Event| matches!(event, Event::GapPossible { .. });
        assert_eq!(it.count(gap), 1, "the session of the other is gone");
        assert_eq!(it.session().subscriptions().count(), 1);
    }
}

#[test]
fn a_session_that_the_next_server_knows_goes_on_there() {
    let mut it = Harness::new(cluster(2, &[LongPolling])).opened();
    it.elapse(secs(20));
    let held = it.take_held();
    it.fail(&held, DOWN);
    let (connect, pause) = it.wait_for("/meta/connect");
    assert_eq!((connect.server, pause), (1, secs(0)), "nothing answers there: that needs no second look");
    it.serve_one(&connect);
    assert_eq!(it.state(), State::Connected);
    assert_eq!(it.count(|event| matches!(event, Event::Rehandshaken)), 0);
}

#[test]
fn reconnect_sticks_with_the_server_that_works() {
    let mut it = Harness::new(cluster(3, &[WebSocket]));
    it.open();
    let handshake = it.take();
    it.fail(&handshake, DOWN);
    it.serve();
    assert_eq!(it.session().server(), 1);
    for _ in 0..3 {
        it.elapse(secs(20));
        let held = it.take_held();
        it.fail(&held, FailureKind::Lost);
        let (connect, _) = it.wait_for("/meta/connect");
        assert_eq!(connect.server, 1);
        it.refuse(&connect, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
        let (handshake, _) = it.wait_for("/meta/handshake");
        assert_eq!(handshake.server, 1);
        it.serve_one(&handshake);
        it.serve();
        assert_eq!(it.state(), State::Connected);
    }
    assert_eq!(changes(&it), "ab");
}

#[test]
fn a_session_that_is_opened_anew_begins_with_the_first_server() {
    let mut it = Harness::new(cluster(2, &[LongPolling]));
    it.open();
    let handshake = it.take();
    it.fail(&handshake, DOWN);
    it.serve();
    assert_eq!(it.session().server(), 1);
    it.call(Operation::Close);
    it.serve();
    it.elapse(secs(20));
    it.open();
    assert_eq!(it.take_on("/meta/handshake").server, 0);
}

#[test]
fn when_no_server_can_be_reached_the_pauses_grow_and_all_are_tried() {
    let mut it = Harness::new(cluster(2, &[LongPolling])).opened();
    it.elapse(secs(20));
    let mut connect = it.take_held();
    let mut seen = Vec::new();
    for _ in 0..6 {
        it.fail(&connect, DOWN);
        let (next, pause) = it.wait_for("/meta/connect");
        seen.push((next.server, pause));
        connect = next;
    }
    let expected = [(1, 0), (0, 1), (1, 0), (0, 2), (1, 0), (0, 4)];
    assert_eq!(seen, expected.map(|(server, pause)| (server, secs(pause))));
}

#[test]
fn servers_that_take_a_session_and_drop_it_in_turn_are_slowed_down() {
    let mut it = Harness::new(cluster(2, &[LongPolling])).opened();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let held = it.take_held();
        it.fail(&held, DOWN);
        let (connect, pause) = it.wait_for("/meta/connect");
        pauses.push(pause);
        it.serve_one(&connect);
        assert_eq!(it.state(), State::Connected);
    }
    assert_eq!(pauses[0], secs(0));
    assert!(pauses[2..].windows(2).all(|two| two[0] <= two[1]) && pauses[7] > secs(10), "{pauses:?}");
}

#[test]
fn what_failed_before_is_forgotten_when_one_works() {
    let mut it = Harness::new(cluster(2, &[LongPolling]));
    it.open();
    let handshake = it.take();
    it.fail(&handshake, DOWN);
    it.serve();
    it.elapse(secs(20));
    let held = it.take_held();
    it.fail(&held, DOWN);
    let (connect, pause) = it.wait_for("/meta/connect");
    assert_eq!((connect.server, pause), (0, secs(0)));
}

#[test]
fn what_is_on_its_way_to_a_server_that_is_left_is_given_up() {
    let mut it = Harness::new(cluster(2, &[LongPolling])).opened();
    it.elapse(secs(20));
    let held = it.take_held();
    let publish = it.publish("/a", json!(1));
    let sent = it.take_on("/a");
    it.fail(&held, DOWN);
    assert_eq!(it.cancelled, [sent.exchange]);
    let error = it.err(publish);
    assert!(matches!(error, CallError::Transport { fate_unknown: true, .. }), "it may have arrived: {error}");
    let (connect, _) = it.wait_for("/meta/connect");
    it.serve_one(&connect);
    it.take_held();
    it.publish("/a", json!(2));
    assert_eq!(it.take_on("/a").server, 1);
}

#[test]
fn an_upgrade_that_is_refused_speaks_against_the_transport_and_not_the_server() {
    let mut it = Harness::new(cluster(2, &BOTH)).opened();
    it.elapse(secs(20));
    let held = it.take_held();
    it.fail(&held, FailureKind::Lost);
    let connect = loop {
        let (connect, _) = it.wait_for("/meta/connect");
        if connect.transport == LongPolling {
            break connect;
        }
        it.fail(&connect, FailureKind::UpgradeRefused { status: 404 });
    };
    assert_eq!(connect.server, 0);
    assert_eq!(changes(&it), "");
}

#[test]
fn a_server_that_refuses_the_session_for_good_is_the_last() {
    let mut it = Harness::new(cluster(2, &[LongPolling])).opened();
    let held = it.take_held();
    it.refuse(&held, "403::no", json!({"advice": {"reconnect": "none"}}));
    assert_eq!(it.state(), State::Disconnected);
    let told = it.events.iter().any(|event| matches!(event, Event::Closed(CloseReason::Server(_))));
    assert!(told, "what one says holds for all");
}

#[test]
fn a_snapshot_remembers_the_server() {
    let mut it = Harness::new(cluster(2, &[LongPolling]));
    it.open();
    let handshake = it.take();
    it.fail(&handshake, DOWN);
    it.serve();
    let snapshot = it.session().snapshot(false).unwrap();
    assert_eq!(snapshot.server(), 1);
    let mut it = Harness::new(cluster(2, &[LongPolling]));
    it.call(Operation::Resume(Box::new(snapshot.clone())));
    assert_eq!(it.take_on("/meta/connect").server, 1);
    let mut it = Harness::new(cluster(2, &[LongPolling]));
    it.call(Operation::Resume(Box::new(snapshot.at_server(7))));
    assert_eq!(it.take_on("/meta/connect").server, 0, "there is no such one");
}
