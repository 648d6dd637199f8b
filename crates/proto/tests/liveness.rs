//! Whether the other end is still there: pings, and a connection made anew because the user says so.

mod support;

use bayeux_proto::client::{Event, FailureKind, Input, State};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, WebSocket, config, millis, secs};

#[test]
fn bug_b13_pings_ask_a_quiet_websocket_and_an_answer_keeps_it() {
    let mut settings = config(&[WebSocket]);
    settings.ping_interval = Some(secs(20));
    let mut it = Harness::new(settings).opened();
    it.elapse(secs(19));
    it.push(json!([{"channel": "/a", "data": 1}]));
    let held = it.take_held();
    it.grant(&held, json!({}));
    it.elapse(secs(19));
    assert_eq!(it.pings, 0, "it is not quiet");
    it.elapse(secs(1));
    assert_eq!(it.pings, 1);
    it.elapse(secs(2));
    it.input(Input::Alive);
    assert_eq!(it.session().last_received(), Some(it.now()));
    it.elapse(secs(8));
    assert_eq!(it.state(), State::Connected);
    let held = it.take_held();
    it.grant(&held, json!({}));
    it.elapse(secs(20));
    assert_eq!(it.pings, 2);
    it.elapse(secs(10) - millis(1));
    assert_eq!(it.state(), State::Connected);
    it.elapse(millis(1));
    assert_eq!(it.state(), State::Unconnected);
    assert_eq!(it.closed, [false]);
    it.take_if("/meta/connect");
    let (probe, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, secs(1));
    assert!(probe.is_probe());
}

#[test]
fn no_pings_over_http_and_none_when_they_are_not_wanted() {
    for (transport, interval) in [(LongPolling, Some(secs(5))), (WebSocket, None)] {
        let mut settings = config(&[transport]);
        settings.ping_interval = interval;
        let mut it = Harness::new(settings).opened();
        it.elapse(secs(39));
        assert_eq!(it.pings, 0);
    }
}

#[test]
fn the_user_can_have_the_connection_made_anew_at_once() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.subscribe("/a");
        it.serve();
        let held = it.take_held();
        let call = it.publish("/a", json!(1));
        it.take();
        it.input(Input::Reconnect);
        assert!(it.err(call).to_string().contains("anew"));
        match transport {
            WebSocket => assert_eq!(it.closed, [false]),
            _ => assert!(it.cancelled.contains(&held.exchange) && it.cancelled.len() == 2),
        }
        let probe = it.take_on("/meta/connect");
        assert_eq!((&probe["clientId"], probe.is_probe()), (&json!("client-1"), true));
        it.serve_one(&probe);
        assert_eq!(it.state(), State::Connected);
        assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), 1);
    }
}

#[test]
fn the_user_can_cut_a_pause_short() {
    let mut it = Harness::connected(LongPolling);
    it.cut(FailureKind::Lost);
    it.input(Input::Reconnect);
    it.take_on("/meta/connect");

    let mut settings = config(&[LongPolling]);
    settings.retry_open = true;
    let mut it = Harness::new(settings);
    it.open();
    it.cut(FailureKind::Unreachable);
    it.nothing_sent();
    it.input(Input::Reconnect);
    it.take_on("/meta/handshake");
}

#[test]
fn a_connection_made_anew_costs_messages_only_if_some_could_be_on_their_way() {
    for (interval, expected) in [(0, 1), (5000, 0)] {
        let mut it = Harness::over(LongPolling);
        it.connect_extra = json!({"advice": {"interval": interval, "timeout": 30_000}});
        let mut it = it.opened();
        it.subscribe("/a");
        it.serve();
        it.input(Input::Reconnect);
        it.serve();
        assert_eq!(it.state(), State::Connected);
        let gaps = it.count(|event| matches!(event, Event::GapPossible { .. }));
        assert_eq!(gaps, expected, "{interval}");
    }
}
