//! On a link that is slow but never stops, nothing is given up: whatever is waited for may be behind what arrives.

mod support;

use std::time::Duration;

use bayeux_proto::ConnectionType;
use bayeux_proto::client::{Event, Input, State};
use serde_json::json;
use support::{Harness, LongPolling, WebSocket, millis, secs};

/// Bytes keep coming for that long.
fn trickle(it: &mut Harness, transport: ConnectionType, pause: Duration, span: Duration) {
    let end = it.now() + span;
    let held = it.connects().pop();
    while it.now() < end {
        it.elapse(pause);
        match &held {
            Some(held) if transport == LongPolling => it.input(Input::Progress(held.exchange)),
            _ => it.input(Input::Arriving),
        }
    }
}

#[test]
fn bytes_that_come_steadily_put_off_all_that_waits_whatever_their_pace() {
    for transport in [WebSocket, LongPolling] {
        for pause in [millis(10), millis(500), millis(1249), millis(1251), secs(2), secs(9)] {
            let mut it = Harness::connected(transport);
            it.take_any();
            // The frame, or the response of the connect, begins to come.
            trickle(&mut it, transport, pause, secs(20));
            let calls = [it.subscribe("/a"), it.publish("/b", json!(1)), it.request("/service/c", json!(1))];
            trickle(&mut it, transport, pause, secs(60));
            assert_eq!(it.state(), State::Connected, "{transport} {pause:?}");
            assert_eq!(it.count(|event| matches!(event, Event::Lost { .. })), 0);
            for call in calls {
                assert!(it.is_pending(call), "{transport} {pause:?}");
            }
            // Then nothing comes, and all is given up.
            it.elapse(secs(10));
            assert_eq!(it.count(|event| matches!(event, Event::Lost { .. })), 1, "{transport} {pause:?}");
            it.elapse(secs(1));
            assert!(!it.is_pending(calls[1]), "{transport} {pause:?}");
        }
    }
}

#[test]
fn a_handshake_behind_a_slow_frame_is_waited_for() {
    for transport in [WebSocket, LongPolling] {
        let mut it = Harness::over(transport);
        let open = it.open();
        let handshake = it.take_on("/meta/handshake");
        for _ in 0..50 {
            it.elapse(millis(500));
            match transport {
                LongPolling => it.input(Input::Progress(handshake.exchange)),
                _ => it.input(Input::Arriving),
            }
        }
        assert!(it.is_pending(open));
        it.serve_one(&handshake);
        it.serve();
        it.ok(open);
    }
}

#[test]
fn many_small_frames_before_the_reply_to_a_connect_do_not_end_the_session() {
    let mut it = Harness::connected(WebSocket);
    it.take_any();
    for n in 0..200 {
        it.elapse(millis(500));
        it.push(json!([{"channel": "/a", "data": n}]));
    }
    assert_eq!(it.state(), State::Connected);
    assert_eq!(it.count(|event| matches!(event, Event::Lost { .. })), 0);
    // A call whose reply does not come is not waited for without end.
    let call = it.publish("/b", json!(1));
    for n in 0..20 {
        it.elapse(millis(500));
        it.push(json!([{"channel": "/a", "data": n}]));
    }
    it.err(call);
}

#[test]
fn quick_responses_on_one_connection_do_not_hide_that_the_other_is_dead() {
    let mut it = Harness::connected(LongPolling);
    it.take_any();
    for n in 0..39 {
        it.publish("/a", json!(n));
        let sent = it.take();
        it.input(Input::Progress(sent.exchange));
        it.elapse(millis(20));
        it.input(Input::Progress(sent.exchange));
        it.grant(&sent, json!({}));
        it.elapse(millis(980));
    }
    assert_eq!(it.state(), State::Connected);
    it.elapse(secs(1));
    assert_eq!(it.state(), State::Unconnected, "the held connect got no reply for 40 s");
}
