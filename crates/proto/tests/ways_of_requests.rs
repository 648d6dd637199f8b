//! Requests keep to the way that they went out on, and what is said about their fate is true.

#![allow(clippy::panic)]

mod support;

use bayeux_proto::Data;
use bayeux_proto::client::{CallError, CallId, Delivery, Event, FailureKind, Input, Operation, SinkId};
use serde_json::{Value, json};
use support::{
    BOTH, Harness, INBOX, LongPolling, Sent, WebSocket, channel, config, publish, secs, subscribe,
};

const STREAM: SinkId = SinkId(7);

fn gaps(it: &Harness) -> usize {
    it.count(|event| matches!(event, Event::GapPossible { .. }))
}

#[test]
fn a_publish_that_was_sent_once_and_waits_again_has_an_unknown_fate() {
    let mut config = config(&[WebSocket]);
    config.delivery = Delivery::AtLeastOnce;
    let mut it = Harness::new(config).opened();
    let call = it.publish("/a", json!(1));
    it.take_held();
    let sent = it.take_on("/a");
    it.fail(&sent, FailureKind::Lost);
    it.fail_until_resolved(call, FailureKind::Unreachable);
    assert!(matches!(it.err(call), CallError::Timeout { fate_unknown: true, .. }), "{:?}", it.err(call));
}

/// The next sending of a publish, with the server granting what comes before it.
fn next_publish(it: &mut Harness) -> Sent {
    for _ in 0..100 {
        match it.take_any() {
            Some(sent) if sent.channel() == "/a" => return sent,
            Some(sent) => it.serve_one(&sent),
            None => {
                it.jump();
            }
        }
    }
    panic!("it is not sent again");
}

/// At least once: refused by a session that is gone, sent again and lost, and refused by a second session.
fn seen_and_then_refused_twice() -> (Harness, CallId) {
    let mut config = config(&[LongPolling]);
    config.delivery = Delivery::AtLeastOnce;
    let mut it = Harness::new(config).opened();
    let call = it.publish("/a", json!(1));
    let unknown = json!({"advice": {"reconnect": "handshake"}});
    it.take_held();
    let first = it.take_on("/a");
    it.refuse(&first, "402::session_unknown", unknown.clone());
    let second = next_publish(&mut it);
    it.fail(&second, FailureKind::Lost);
    let third = next_publish(&mut it);
    it.refuse(&third, "402::session_unknown", unknown);
    (it, call)
}

#[test]
fn a_publish_that_may_have_been_taken_and_is_then_refused_is_sent_again_while_there_is_time() {
    let (mut it, call) = seen_and_then_refused_twice();
    assert!(it.is_pending(call));
    let fourth = next_publish(&mut it);
    it.grant(&fourth, json!({}));
    it.ok(call);
}

#[test]
fn a_publish_that_may_have_been_taken_is_never_said_to_be_refused_for_want_of_a_session() {
    let (mut it, call) = seen_and_then_refused_twice();
    let end = it.now() + secs(120);
    while it.is_pending(call) && it.now() < end {
        match it.take_any() {
            Some(sent) if sent.channel() == "/a" => {
                it.refuse(&sent, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
            }
            Some(sent) => it.serve_one(&sent),
            None => {
                it.jump();
            }
        }
    }
    let error = it.err(call);
    let unknown = matches!(
        error,
        CallError::Transport { fate_unknown: true, .. } | CallError::Timeout { fate_unknown: true, .. }
    );
    assert!(unknown, "{error:?}");
}

#[test]
fn a_publish_that_never_got_out_is_known_to_have_no_effect() {
    let mut it = Harness::connected(LongPolling);
    it.cut(FailureKind::Unreachable);
    let call = it.publish("/a", json!(1));
    it.fail_until_resolved(call, FailureKind::Unreachable);
    assert!(matches!(it.err(call), CallError::Timeout { fate_unknown: false, .. }));
}

#[test]
fn events_may_have_been_lost_with_the_response_of_a_publish() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    for (kind, told) in [(FailureKind::Unreachable, 0), (FailureKind::Lost, 1)] {
        it.publish("/b", json!(1));
        let (sent, _) = it.wait_for("/b");
        it.fail(&sent, kind);
        assert_eq!(gaps(&it), told, "{kind:?}");
        // What was certainly not sent is sent again.
        if let Some(again) = it.take_if("/b") {
            it.grant(&again, json!({}));
        }
        it.elapse(secs(5));
        it.serve();
    }
}

#[test]
fn events_may_have_been_lost_with_a_response_that_took_too_long() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    let call = it.publish("/b", json!(1));
    it.elapse(secs(11));
    assert!(matches!(it.err(call), CallError::Timeout { fate_unknown: true, .. }));
    assert_eq!(gaps(&it), 1);
}

#[test]
fn events_may_have_been_pushed_into_a_quiet_socket_that_is_made_anew() {
    let mut it = Harness::connected(WebSocket);
    it.subscribe("/a");
    it.serve();
    // The connect is answered, and the next waits for its time.
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"interval": 5000}}));
    it.input(Input::Reconnect);
    it.serve();
    assert_eq!(gaps(&it), 1);
}

#[test]
fn a_deadline_that_the_caller_set_is_not_put_off_by_a_body_that_trickles_in() {
    let mut it = Harness::connected(LongPolling);
    let data = Data::from(Value::from(1));
    let timeout = Some(secs(3));
    let call = it.call(Operation::Request { channel: channel("/service/a"), data, timeout });
    it.take_held();
    let sent = it.take_on("/service/a");
    it.elapse(secs(2));
    it.input(Input::Progress(sent.exchange));
    it.elapse(secs(1));
    assert!(matches!(it.err(call), CallError::Timeout { .. }));
}

#[test]
fn unsubscribing_one_of_two_receivers_leaves_the_subscription_that_waits_to_be_sent_to_the_other() {
    let mut it = Harness::connected(LongPolling);
    // The lane is occupied, so that subscriptions wait.
    it.publish("/b", json!(1));
    it.take_held();
    let busy = it.take_on("/b");
    let call = it.subscribe("/a");
    it.call(subscribe("/a", STREAM));
    it.unsubscribe("/a", STREAM);
    it.grant(&busy, json!({}));
    let sent = it.take_on("/meta/subscribe");
    it.serve_one(&sent);
    it.ok(call);
    it.event("/a", json!(1));
    assert_eq!(it.inbox(), ["1"]);
}

#[test]
fn an_unsubscription_that_is_sent_again_stays_before_a_later_subscription() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    it.unsubscribe("/a", INBOX);
    let (first, _) = it.wait_for("/meta/unsubscribe");
    it.subscribe("/a");
    it.fail(&first, FailureKind::Lost);
    let (again, _) = it.wait_for("/meta/unsubscribe");
    assert_eq!(again.channels(), ["/meta/unsubscribe", "/meta/subscribe"]);
}

#[test]
fn a_socket_that_cannot_be_opened_takes_no_request_with_it_that_went_out_over_http() {
    let mut it = Harness::new(config(&[LongPolling, WebSocket])).opened();
    let call = it.publish("/a", json!(1));
    let held = it.take_held();
    let sent = it.take_on("/a");
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    let handshake = it.take_on("/meta/handshake");
    it.fail(&handshake, FailureKind::Http { status: 503 });
    let handshake = it.take_on("/meta/handshake");
    assert_eq!(handshake.transport, WebSocket);
    it.fail(&handshake, FailureKind::UpgradeRefused { status: 400 });
    assert!(it.is_pending(call));
    it.grant(&sent, json!({}));
    it.ok(call);
}

#[test]
fn a_late_reply_to_a_subscription_of_the_old_session_says_nothing_about_the_new_one() {
    let mut it = Harness::connected(LongPolling);
    let call = it.subscribe("/a");
    let held = it.take_held();
    let old = it.take_on("/meta/subscribe");
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    let handshake = it.take_on("/meta/handshake");
    it.grant(&old, json!({}));
    it.serve_one(&handshake);
    assert!(it.is_pending(call));
    let new = it.take_on("/meta/subscribe");
    assert_ne!(new["id"], old["id"]);
    it.serve_one(&new);
    it.ok(call);
}

/// The session is lost, and while the subscription to `/a` is being restored, the inbox asks for it too; that call
/// fails with the session, and another is opened.
fn ask_while_it_is_restored_then_close_and_open(it: &mut Harness) {
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    let (handshake, _) = it.wait_for("/meta/handshake");
    it.serve_one(&handshake);
    let call = it.subscribe("/a");
    it.cut(FailureKind::Unreachable);
    it.close();
    it.elapse(secs(20));
    assert!(matches!(it.err(call), CallError::Closed(_)), "{:?}", it.err(call));
    let open = it.open();
    it.serve();
    it.ok(open);
}

#[test]
fn a_subscription_that_failed_with_the_end_of_the_session_is_not_restored_in_the_next() {
    let mut it = Harness::connected(LongPolling);
    it.call(subscribe("/a", STREAM));
    it.serve();
    ask_while_it_is_restored_then_close_and_open(&mut it);
    assert_eq!(it.session().subscriptions().count(), 0);
}

#[test]
fn a_subscription_that_the_inbox_had_survives_a_call_that_asks_for_it_again_and_fails_with_the_session() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    ask_while_it_is_restored_then_close_and_open(&mut it);
    assert_eq!(it.session().subscriptions().count(), 1);
}

#[test]
fn a_subscription_of_a_stream_that_the_inbox_joined_is_one_that_the_inbox_had() {
    let mut it = Harness::connected(LongPolling);
    it.call(subscribe("/a", STREAM));
    it.serve();
    let joined = it.subscribe("/a");
    it.ok(joined);
    ask_while_it_is_restored_then_close_and_open(&mut it);
    assert_eq!(it.session().subscriptions().count(), 1);
}

#[test]
fn a_subscription_that_the_inbox_gave_up_is_not_restored_because_it_once_had_it() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.call(subscribe("/a", STREAM));
    it.serve();
    it.unsubscribe("/a", INBOX);
    ask_while_it_is_restored_then_close_and_open(&mut it);
    assert_eq!(it.session().subscriptions().count(), 0);
}

#[test]
fn nor_is_one_that_the_inbox_lost_because_the_server_refused_it() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.call(subscribe("/a", STREAM));
    it.serve();
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    let handshake = it.take_on("/meta/handshake");
    it.serve_one(&handshake);
    let call = it.subscribe("/a");
    let restoring = it.take_on("/meta/subscribe");
    it.refuse(&restoring, "403::denied", json!({}));
    it.err(call);
    it.serve();
    ask_while_it_is_restored_then_close_and_open(&mut it);
    assert_eq!(it.session().subscriptions().count(), 0);
}

#[test]
fn a_stream_that_gives_a_subscription_up_takes_nothing_from_the_inbox() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.call(subscribe("/a", STREAM));
    it.serve();
    it.unsubscribe("/a", STREAM);
    ask_while_it_is_restored_then_close_and_open(&mut it);
    assert_eq!(it.session().subscriptions().count(), 1);
}

#[test]
fn calls_go_out_over_a_new_transport_when_those_before_them_have_come_back_over_the_old_one() {
    let mut it = Harness::new(config(&BOTH));
    it.open();
    let refused = it.take();
    it.fail(&refused, FailureKind::UpgradeRefused { status: 404 });
    it.serve();
    // Until the better transport is tried again.
    for _ in 0..14 {
        it.elapse(secs(20));
        let held = it.take_held();
        it.grant(&held, json!({}));
    }
    it.elapse(secs(20));
    let held = it.take_held();
    it.publish("/a", json!(1));
    let first = it.take_on("/a");
    assert_eq!(first.transport, LongPolling);
    it.grant(&held, json!({}));
    let trial = it.take_held();
    assert_eq!(trial.transport, WebSocket);
    it.publish("/a", json!(2));
    it.grant(&trial, json!({}));
    assert!(it.take_if("/a").is_none(), "the first is still under way");
    it.grant(&first, json!({}));
    it.take_held();
    let second = it.take_on("/a");
    assert_eq!((second.transport, &second["data"]), (WebSocket, &json!(2)));
}

#[test]
fn a_subscription_asked_for_while_it_waits_to_be_restored_ends_in_time() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    let unknown = json!({"advice": {"reconnect": "handshake"}});
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", unknown.clone());
    let handshake = it.take_on("/meta/handshake");
    it.serve_one(&handshake);
    // The new session is lost before it has granted the subscription again.
    it.take_on("/meta/subscribe");
    let probe = it.take_on("/meta/connect");
    it.refuse(&probe, "402::session_unknown", unknown);
    let call = it.call(subscribe("/a", STREAM));
    it.fail_until_resolved(call, FailureKind::Unreachable);
    assert!(matches!(it.err(call), CallError::Timeout { .. }), "{:?}", it.err(call));
}

#[test]
fn a_socket_is_not_left_for_a_better_transport_while_a_reply_is_to_come_over_it() {
    let mut it = Harness::new(config(&[LongPolling, WebSocket]));
    it.open();
    let refused = it.take();
    it.fail(&refused, FailureKind::Http { status: 503 });
    it.serve();
    let turn = |it: &mut Harness| {
        it.elapse(secs(20));
        let held = it.take_held();
        it.grant(&held, json!({}));
    };
    // Until a moment before the better transport is tried again.
    (0..14).for_each(|_| turn(&mut it));
    it.elapse(secs(11));
    let held = it.take_held();
    assert_eq!(held.transport, WebSocket);
    let call = it.publish("/a", json!(1));
    let sent = it.take_on("/a");
    it.elapse(secs(9));
    it.grant(&held, json!({}));
    assert_eq!(it.held().transport, WebSocket, "the publish has no reply yet");
    it.grant(&sent, json!({}));
    it.ok(call);
    turn(&mut it);
    assert_eq!(it.held().transport, LongPolling);
}

#[test]
fn a_request_whose_time_is_over_takes_no_other_of_the_same_exchange_with_it() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let data = Data::from(Value::from(1));
    let request = Operation::Request { channel: channel("/service/a"), data, timeout: Some(secs(3)) };
    let calls = it.batch(vec![request, publish("/a", json!(1))]);
    let sent = it.take();
    it.elapse(secs(3));
    assert!(matches!(it.err(calls[0]), CallError::Timeout { .. }));
    assert!(it.cancelled.is_empty());
    it.grant(&sent, json!({}));
    it.ok(calls[1]);
}

/// A request whose response is lost without a sound; the answer comes with the held connect.
fn answered_another_way() -> (Harness, Sent) {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    it.take_if("/meta/connect");
    let held = it.held();
    let call = it.request("/service/a", json!(1));
    let sent = it.take_on("/service/a");
    let answer = json!({"channel": "/service/a", "id": sent["id"], "successful": true, "data": 1});
    it.respond(&held, json!([answer, {"channel": "/meta/connect", "id": held["id"], "successful": true}]));
    it.ok(call);
    (it, sent)
}

#[test]
fn an_exchange_whose_answer_came_another_way_does_not_hold_its_lane_for_ever() {
    let (mut it, sent) = answered_another_way();
    it.elapse(secs(5));
    let publish = it.publish("/a", json!(1));
    assert!(it.cancelled.is_empty(), "its response has its time");
    it.elapse(secs(5));
    assert_eq!(it.cancelled, [sent.exchange]);
    assert_eq!(
        it.count(|event| matches!(event, Event::GapPossible { .. })),
        1,
        "events ride on any response"
    );
    it.take_if("/meta/connect");
    let sent = it.take_on("/a");
    it.grant(&sent, json!({}));
    it.ok(publish);
}

#[test]
fn an_exchange_whose_answer_came_another_way_is_not_given_up_while_its_response_arrives() {
    let (mut it, sent) = answered_another_way();
    it.elapse(secs(8));
    it.input(Input::Progress(sent.exchange));
    it.elapse(secs(9));
    assert!(it.cancelled.is_empty());
    it.elapse(secs(1));
    assert_eq!(it.cancelled, [sent.exchange]);
}

#[test]
fn a_connect_answered_with_another_response_is_not_left_open_beside_the_next() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    it.publish("/b", json!(1));
    let held = it.take_held();
    let sent = it.take_on("/b");
    let answers = json!([
        {"channel": "/meta/connect", "id": held["id"], "successful": true},
        {"channel": "/b", "id": sent["id"], "successful": true},
    ]);
    it.respond(&sent, answers);
    // The harness knows of two at a time at most; events may have been on their way with the one that is given up.
    assert_eq!((it.connects().len(), gaps(&it)), (1, 1));
    assert_ne!(it.held()["id"], held["id"]);
}

#[test]
fn a_handshake_answered_with_another_response_is_not_left_open() {
    let mut it = Harness::connected(LongPolling);
    it.publish("/b", json!(1));
    let held = it.take_held();
    let late = it.take_on("/b");
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    let handshake = it.take_on("/meta/handshake");
    let grant = json!([{
        "channel": "/meta/handshake", "id": handshake["id"], "successful": true, "clientId": "other",
        "version": "1.0", "supportedConnectionTypes": ["long-polling"],
    }]);
    it.respond(&late, grant);
    assert_eq!(it.connects().len(), 1);
    assert_eq!(it.http_requests(), 1, "the handshake is over");
}
