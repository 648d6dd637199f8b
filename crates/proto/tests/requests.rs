//! Requests to services: matched with their answer, by id or without one, and bounded in time.

mod support;

use bayeux_proto::Data;
use bayeux_proto::client::{CallError, FailureKind, Input, Operation, SinkId, State};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, WebSocket, channel, millis, secs, subscribe};

#[test]
fn case_48_an_acknowledgement_does_not_answer_a_request_but_data_does() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        let held = it.take_held();
        let call = it.request("/service/quote", json!("ACME"));
        let sent = it.take_on("/service/quote");
        it.grant(&sent, json!({}));
        assert!(it.is_pending(call));
        let answer = json!({"channel": "/service/quote", "id": sent["id"], "data": {"price": 7}});
        if transport == WebSocket {
            it.push(json!([answer]));
        } else {
            let reply = json!({"channel": "/meta/connect", "id": held["id"], "successful": true});
            it.respond(&held, json!([answer, reply]));
        }
        assert_eq!(it.ok(call).data().as_str(), r#"{"price":7}"#);
        assert!(it.delivered.is_empty());
    }
}

#[test]
fn case_48_acknowledged_and_then_nothing_is_a_timeout() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    let call = it.request("/service/quote", json!("ACME"));
    let sent = it.take();
    it.grant(&sent, json!({}));
    it.elapse(secs(10) - millis(1));
    assert!(it.is_pending(call));
    it.elapse(millis(1));
    assert!(matches!(it.err(call), CallError::Timeout { fate_unknown: true, .. }));
}

#[test]
fn case_48_a_refusal_fails_the_request_at_once() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let call = it.request("/service/quote", json!("ACME"));
    let sent = it.take();
    it.refuse(&sent, "403::denied", json!({}));
    assert_eq!(it.err(call).server_error().unwrap().code(), Some(403));
}

#[test]
fn a_service_may_answer_with_data_and_refuse_in_one() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let call = it.request("/service/quote", json!("ACME"));
    let sent = it.take();
    it.refuse(&sent, "404::no such share", json!({"data": {"hint": "ACMF"}}));
    let CallError::Refused(reply) = it.err(call) else { panic!("{:?}", it.outcome(call)) };
    assert_eq!(reply.data().as_str(), r#"{"hint":"ACMF"}"#);
}

#[test]
fn request_09_an_answer_without_id_goes_to_the_oldest_request_on_its_channel() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    let first = it.request("/service/a", json!(1));
    let other = it.request("/service/b", json!(2));
    let second = it.request("/service/a", json!(3));
    it.push(json!([{"channel": "/service/a", "data": "one"}]));
    it.push(json!([{"channel": "/service/a", "data": "two"}]));
    assert_eq!(it.ok(first).data().as_str(), "\"one\"");
    assert_eq!(it.ok(second).data().as_str(), "\"two\"");
    assert!(it.is_pending(other));
}

#[test]
fn answers_in_another_order_go_to_the_requests_that_they_name() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    let first = it.request("/service/a", json!(1));
    let one = it.take();
    let second = it.request("/service/a", json!(2));
    let two = it.take();
    it.push(json!([{"channel": "/service/a", "id": two["id"], "data": "two"},
                   {"channel": "/service/a", "id": one["id"], "data": "one"}]));
    assert_eq!(it.ok(first).data().as_str(), "\"one\"");
    assert_eq!(it.ok(second).data().as_str(), "\"two\"");
}

#[test]
fn a_message_on_a_service_channel_that_answers_nothing_goes_to_its_receivers() {
    let mut it = Harness::connected(WebSocket);
    it.call(subscribe("/service/a", SinkId(3)));
    let call = it.request("/service/a", json!(1));
    let sent = it.take_if("/service/a").or_else(|| {
        it.take_held();
        it.take_if("/service/a")
    });
    let id = sent.unwrap()["id"].clone();
    it.push(json!([{"channel": "/service/a", "id": "another", "data": "news"},
                   {"channel": "/service/a", "id": id, "data": "answer"},
                   {"channel": "/service/a", "data": "more news"}]));
    assert_eq!(it.received(SinkId(3)), ["\"news\"", "\"more news\""]);
    it.ok(call);
}

#[test]
fn a_message_of_a_service_is_no_word_about_a_publish_to_its_channel() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.call(subscribe("/service/quote", SinkId(7)));
        let call = it.publish("/service/quote", json!("ACME"));
        let sent = it.wait_until("/service/quote");
        it.event("/service/quote", json!({"price": 7}));
        assert_eq!(it.received(SinkId(7)), [r#"{"price":7}"#]);
        assert!(it.is_pending(call));
        it.grant(&sent, json!({}));
        it.ok(call);
    }
}

#[test]
fn an_answer_that_comes_with_a_connect_is_not_the_reply_to_a_publish() {
    for successful in [true, false] {
        let mut it = Harness::connected(LongPolling);
        it.call(subscribe("/service/quote", SinkId(7)));
        let held = it.take_held();
        let call = it.publish("/service/quote", json!("ACME"));
        let sent = it.wait_until("/service/quote");
        let answer =
            json!({"channel": "/service/quote", "id": sent["id"], "successful": successful, "data": 7});
        let reply = json!({"channel": "/meta/connect", "id": held["id"], "successful": true});
        it.respond(&held, json!([answer, reply]));
        assert!(it.is_pending(call), "{:?}", it.outcomes);
        assert_eq!(it.received(SinkId(7)), ["7"]);
        it.grant(&sent, json!({}));
        it.ok(call);
    }
}

#[test]
fn a_reply_that_neither_grants_nor_brings_anything_is_a_refusal() {
    let mut it = Harness::connected(LongPolling);
    let call = it.publish("/a", json!(1));
    let sent = it.wait_until("/a");
    it.respond(&sent, json!([{"channel": "/a", "id": sent["id"]}]));
    assert!(matches!(it.err(call), CallError::Refused(_)));
}

#[test]
fn a_request_has_the_time_that_it_was_given() {
    for (timeout, turns) in [(secs(2), 0), (secs(62), 3)] {
        let mut it = Harness::connected(WebSocket);
        let call = it.call(Operation::Request {
            channel: channel("/service/slow"),
            data: Data::from(json!(1)),
            timeout: Some(timeout),
        });
        for _ in 0..turns {
            it.elapse(secs(20));
            let held = it.take_held();
            it.grant(&held, json!({}));
        }
        it.elapse(secs(2) - millis(1));
        assert!(it.is_pending(call));
        it.elapse(millis(1));
        let error = it.err(call);
        assert!(matches!(error, CallError::Timeout { fate_unknown: true, after, .. } if *after == timeout));
    }
}

#[test]
fn only_services_answer_requests() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let call = it.request("/a", json!(1));
    assert!(matches!(it.err(call), CallError::WrongChannel { .. }));
    it.nothing_sent();
}

#[test]
fn a_request_is_never_sent_twice_unless_the_server_cannot_have_seen_it() {
    for (kind, again) in [(FailureKind::Lost, false), (FailureKind::Unreachable, true)] {
        let mut it = Harness::connected(LongPolling);
        it.take_held();
        let call = it.request("/service/order", json!(1));
        let sent = it.take();
        it.fail(&sent, kind);
        assert_eq!(it.is_pending(call), again);
        it.elapse(secs(2));
        assert_eq!(it.take_if("/service/order").is_some(), again);
    }
}

#[test]
fn a_reply_that_grants_nothing_is_a_refusal_though_it_carries_data() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.take_held();
        let call = it.subscribe("/a");
        let sent = it.take();
        it.respond(
            &sent,
            json!([{"channel": "/meta/subscribe", "id": sent["id"], "subscription": "/a", "data": 1}]),
        );
        assert!(matches!(it.err(call), CallError::Refused(_)), "{transport}: {:?}", it.outcomes);
    }
}

#[test]
fn a_frame_that_arrives_slowly_puts_off_the_deadlines_of_what_may_be_in_it() {
    let mut it = Harness::connected(WebSocket);
    let call = it.publish("/a", json!(1));
    let sent = it.wait_until("/a");
    for _ in 0..3 {
        it.elapse(secs(9));
        it.input(Input::Arriving);
    }
    it.elapse(secs(9));
    assert!(it.is_pending(call));
    it.grant(&sent, json!({}));
    it.ok(call);
}

#[test]
fn a_socket_that_swallows_a_message_without_a_sound_is_closed_and_one_that_still_speaks_is_not() {
    for speaks in [false, true] {
        let mut it = Harness::connected(WebSocket);
        let call = it.publish("/a", json!(1));
        it.elapse(secs(5));
        if speaks {
            it.push(json!([{"channel": "/b", "data": 1}]));
        }
        it.elapse(secs(5));
        assert!(matches!(it.err(call), CallError::Timeout { fate_unknown: true, .. }));
        let (closed, state): (&[bool], _) =
            if speaks { (&[], State::Connected) } else { (&[false], State::Unconnected) };
        assert_eq!((it.closed.as_slice(), it.state()), (closed, state));
    }
}

#[test]
fn a_caller_that_waits_for_less_than_a_silence_means_costs_no_connection() {
    let mut it = Harness::connected(WebSocket);
    it.take_any();
    // Nothing has come for a while, as nothing had to.
    it.elapse(secs(25));
    let call = it.call(Operation::Request {
        channel: support::channel("/service/slow"),
        data: Data::from(json!(1)),
        timeout: Some(secs(1)),
    });
    it.elapse(secs(1));
    assert!(matches!(it.err(call), CallError::Timeout { fate_unknown: true, .. }));
    assert_eq!((it.state(), it.closed.len()), (State::Connected, 0));
}
