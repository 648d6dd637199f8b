//! Requests to services: a reply without data only says that the request was accepted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bayeux_proto::client::{CallError, FailureKind, State};
use serde_json::json;
use support::{BOTH, Harness, WebSocket, secs};

#[test]
fn a_service_that_is_slow_to_answer_speaks_not_against_the_connection() {
    let mut it = Harness::connected(WebSocket);
    let call = it.request("/service/slow", json!(1));
    it.serve();
    it.elapse(secs(10));
    assert!(matches!(it.err(call), CallError::Timeout { fate_unknown: true, .. }));
    assert_eq!(it.state(), State::Connected);
    assert!(it.closed.is_empty(), "the WebSocket works");
}

#[test]
fn an_answer_finds_its_request_after_the_connection_broke() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        let call = it.request("/service/slow", json!(1));
        let request = it.take_on("/service/slow");
        it.grant(&request, json!({}));
        it.cut(FailureKind::Lost);
        assert!(it.is_pending(call), "accepted is accepted");
        let (connect, _) = it.wait_for("/meta/connect");
        it.serve_one(&connect);
        it.serve();
        let answer = json!([{"channel": "/service/slow", "id": request["id"], "data": "done"}]);
        if transport == WebSocket {
            it.push(answer);
        } else {
            let held = it.held();
            it.respond(&held, answer);
        }
        assert_eq!(it.ok(call).data().as_str(), "\"done\"");
    }
}

#[test]
fn an_answer_that_was_to_come_in_a_session_that_is_gone_is_waited_for_no_more() {
    let mut it = Harness::connected(WebSocket);
    let call = it.request("/service/slow", json!(1));
    it.serve();
    let held = it.held();
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    assert!(matches!(it.err(call), CallError::Transport { fate_unknown: true, .. }));
}
