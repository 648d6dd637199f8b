//! Publishing: order, replies, and the fate of what was on its way.

mod support;

use bayeux_proto::client::{CallError, Delivery, Event, FailureKind, Offline, Operation, State};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, Sent, WebSocket, config, millis, publish, secs};

#[test]
fn case_30_a_reply_without_data_completes_the_publish_and_reaches_no_subscriber() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.subscribe("/a");
        it.serve();
        let call = it.publish("/a", json!({"x": 1}));
        let sent = it.take_on("/a");
        assert_eq!(sent["data"], json!({"x": 1}));
        assert_eq!(sent["clientId"], "client-1");
        it.grant(&sent, json!({}));
        assert!(it.ok(call).is_successful());
        assert!(it.delivered.is_empty());
    }
}

#[test]
fn a_refused_publish_fails_with_the_servers_words() {
    let mut it = Harness::connected(LongPolling);
    let call = it.publish("/a", json!(1));
    it.take_held();
    let sent = it.take_on("/a");
    it.refuse(&sent, "403:denied_by_security_policy:publish_denied", json!({}));
    let error = it.err(call).server_error().unwrap();
    assert_eq!((error.code(), error.text()), (Some(403), "publish_denied"));
    assert_eq!(it.state(), State::Connected);
}

#[test]
fn case_38_before_the_handshake_a_publish_fails_and_nothing_is_sent() {
    let mut it = Harness::over(LongPolling);
    let call = it.publish("/a", json!(1));
    assert!(matches!(it.err(call), CallError::Closed(_)));
    it.nothing_sent();
}

#[test]
fn case_38_during_a_rehandshake_a_publish_waits_and_goes_out_in_the_new_session() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    let call = it.publish("/a", json!(1));
    let handshake = it.take_on("/meta/handshake");
    it.nothing_sent();
    it.serve_one(&handshake);
    let sent = it.take_on("/a");
    assert_eq!(sent["clientId"], "client-2");
    it.serve_one(&sent);
    it.ok(call);
}

#[test]
fn case_40_a_thousand_publishes_keep_their_order_with_two_requests_at_most() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let calls = it.burst((0..1000).map(|n| publish("/a", json!(n))));
    let mut at_server = Vec::new();
    let mut requests = 0;
    while calls.iter().any(|call| it.is_pending(*call)) {
        assert!(it.http_requests() <= 2);
        let sent = it.take_on("/a");
        it.nothing_sent();
        at_server.extend(sent.each("data").into_iter().map(|data| data.as_u64().unwrap()));
        requests += 1;
        it.grant(&sent, json!({}));
    }
    assert_eq!(at_server, (0..1000).collect::<Vec<_>>());
    assert!(requests < 10, "{requests} requests: what waits travels together");
    assert!(calls.iter().all(|call| it.outcome(*call).is_ok()));
    let resolved: Vec<_> = it.story.iter().filter(|step| step.starts_with("resolve ")).skip(1).collect();
    assert!(resolved.windows(2).all(|two| two[0].len() < two[1].len() || two[0] < two[1]));
}

#[test]
fn a_payload_has_a_bounded_size() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    it.burst((0..100).map(|_| publish("/a", json!("x".repeat(10_000)))));
    let mut messages = 0;
    while messages < 100 {
        let sent = it.take_on("/a");
        messages += sent.messages.len();
        assert!(sent.messages.len() <= 4, "a frame of {} messages of 10 kB", sent.messages.len());
    }
}

#[test]
fn case_41_a_message_that_is_too_large_fails_alone() {
    let mut settings = config(&[LongPolling]);
    settings.max_send_size = 300;
    let mut it = Harness::new(settings).opened();
    let calls = it.batch(vec![
        publish("/a", json!(1)),
        publish("/a", json!("x".repeat(298))),
        publish("/a", json!("x".repeat(100))),
    ]);
    it.serve();
    it.ok(calls[0]);
    assert!(
        matches!(it.err(calls[1]), CallError::TooLarge { size: 301.., cap: 300, .. }),
        "{:?}",
        it.err(calls[1])
    );
    it.ok(calls[2]);
    assert_eq!(it.state(), State::Connected);
}

/// How many bytes were sent.
fn wire(sent: &Sent) -> usize {
    json!(sent.messages).to_string().len()
}

#[test]
fn what_counts_is_the_size_of_what_is_sent() {
    for transport in [LongPolling, WebSocket] {
        let mut settings = config(&[transport]);
        settings.max_send_size = 1000;
        let mut it = Harness::new(settings).opened();
        let mut largest = 0;
        for size in 600..1000 {
            let call = it.publish("/a", json!("x".repeat(size)));
            if !it.is_pending(call) {
                assert!(matches!(it.err(call), CallError::TooLarge { cap: 1000, .. }));
                continue;
            }
            let sent = it.take_on("/a");
            largest = largest.max(wire(&sent));
            it.grant(&sent, json!({}));
        }
        // The id of a message is not known when it is measured; ten digits are kept for it.
        assert!((985..=1000).contains(&largest), "{transport}: {largest}");
    }
}

#[test]
fn a_batch_that_is_too_large_goes_out_in_several_in_order() {
    let mut settings = config(&[WebSocket]);
    settings.max_send_size = 1000;
    let mut it = Harness::new(settings).opened();
    it.batch((0..20).map(|n| publish("/a", json!(format!("{n:0>200}")))).collect());
    let mut order = Vec::new();
    while order.len() < 20 {
        let sent = it.take_on("/a");
        assert!(wire(&sent) <= 1000);
        order.extend(sent.each("data").iter().map(|data| data.as_str().unwrap().parse::<u32>().unwrap()));
    }
    assert_eq!(order, (0..20).collect::<Vec<_>>());
}

#[test]
fn channels_that_cannot_be_published_to_are_refused_locally() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    for name in ["/meta/connect", "/a/*", "/**"] {
        let call = it.publish(name, json!(1));
        assert!(matches!(it.err(call), CallError::WrongChannel { .. }), "{name}");
    }
    it.nothing_sent();
}

#[test]
fn too_many_pending_calls_are_refused() {
    let mut settings = config(&[LongPolling]);
    settings.max_pending = 3;
    let mut it = Harness::new(settings).opened();
    let calls = it.burst((0..4).map(|n| publish("/a", json!(n))));
    assert_eq!(it.err(calls[3]), &CallError::too_many_pending(3));
    it.serve();
    let again = it.publish("/a", json!(5));
    it.serve();
    it.ok(again);
}

#[test]
fn at_most_once_a_publish_that_was_on_its_way_fails_and_says_that_its_fate_is_unknown() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.take_held();
        let call = it.publish("/a", json!(1));
        let sent = it.take();
        it.fail(&sent, FailureKind::Lost);
        assert!(matches!(it.err(call), CallError::Transport { fate_unknown: true, .. }));
        it.elapse(secs(5));
        it.serve();
        assert_eq!(it.state(), State::Connected);
        assert_eq!(it.story.iter().filter(|step| *step == "send /a").count(), 1);
    }
}

#[test]
fn what_the_server_cannot_have_seen_waits_for_its_next_turn() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.take_held();
        let call = it.publish("/a", json!(1));
        let sent = it.take();
        it.fail(&sent, FailureKind::Unreachable);
        assert!(it.is_pending(call));
        it.elapse(secs(1));
        it.serve();
        it.ok(call);
        assert_eq!(it.story.iter().filter(|step| *step == "send /a").count(), 2);
    }
}

#[test]
fn at_least_once_a_publish_is_sent_again_in_its_place() {
    for transport in BOTH {
        let mut settings = config(&[transport]);
        settings.delivery = Delivery::AtLeastOnce;
        let mut it = Harness::new(settings).opened();
        it.take_held();
        let first = it.publish("/a", json!(1));
        let sent = it.take();
        it.fail(&sent, FailureKind::Lost);
        let second = it.publish("/a", json!(2));
        assert!(it.is_pending(first));
        let again = it.wait_until("/a");
        assert_eq!(again.each("data"), [&json!(1), &json!(2)], "{transport}: the older one first");
        assert_eq!(again["id"], sent["id"], "the same message");
        it.grant(&again, json!({}));
        it.ok(first);
        it.ok(second);
    }
}

#[test]
fn at_least_once_keeps_the_order_with_what_was_asked_for_meanwhile() {
    let mut settings = config(&[LongPolling]);
    settings.delivery = Delivery::AtLeastOnce;
    let mut it = Harness::new(settings).opened();
    it.take_held();
    it.batch(vec![publish("/a", json!(1)), publish("/a", json!(2))]);
    let sent = it.take();
    it.publish("/a", json!(3));
    it.nothing_sent();
    it.fail(&sent, FailureKind::Lost);
    assert_eq!(it.wait_until("/a").each("data"), [&json!(1), &json!(2), &json!(3)]);
}

#[test]
fn at_least_once_ends_when_the_call_has_waited_long_enough() {
    let mut settings = config(&[LongPolling]);
    settings.delivery = Delivery::AtLeastOnce;
    let mut it = Harness::new(settings).opened();
    it.take_held();
    let begun = it.now();
    let call = it.publish("/a", json!(1));
    let mut times = 0;
    while it.is_pending(call) {
        let other = it.take_if("/a");
        match other {
            Some(sent) => {
                times += 1;
                assert!(times < 100, "without a pause");
                it.fail(&sent, FailureKind::Lost);
            }
            None => drop(it.jump()),
        }
    }
    assert_eq!(it.now().since(begun), secs(10));
    assert!((2..=5).contains(&times), "{times}");
    assert!(matches!(it.err(call), CallError::Timeout { .. }));
}

#[test]
fn a_publish_that_waits_to_be_sent_again_may_have_been_seen_before() {
    for (kind, fate_unknown) in [(FailureKind::Lost, true), (FailureKind::Unreachable, false)] {
        let mut settings = config(&[LongPolling]);
        settings.delivery = Delivery::AtLeastOnce;
        let mut it = Harness::new(settings).opened();
        it.take_held();
        let call = it.publish("/a", json!(1));
        // From now on nobody can be reached.
        let sent = it.take();
        it.fail(&sent, kind);
        it.cut(FailureKind::Unreachable);
        while it.is_pending(call) {
            it.jump();
            it.cut(FailureKind::Unreachable);
        }
        let error = it.err(call);
        let expected = matches!(error, CallError::Timeout { after, fate_unknown: told, .. }
            if *after == secs(10) && *told == fate_unknown);
        assert!(expected, "{kind:?}: {error:?}");
        assert_eq!(error.failure().map(|failure| failure.kind()), Some(kind));
        assert_eq!(error.to_string().starts_with("never sent within 10.0s"), !fate_unknown, "{error}");
    }
}

#[test]
fn offline_calls_wait_for_the_connection() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.fail(&held, FailureKind::Lost);
    let call = it.publish("/a", json!(1));
    it.nothing_sent();
    it.elapse(secs(1));
    it.serve();
    it.ok(call);
}

#[test]
fn offline_calls_fail_at_once_when_they_are_to() {
    let mut settings = config(&[LongPolling]);
    settings.offline = Offline::Refuse;
    let mut it = Harness::new(settings).opened();
    let held = it.take_held();
    it.fail(&held, FailureKind::Lost);
    let calls = it.batch(vec![
        publish("/a", json!(1)),
        Operation::Request { channel: support::channel("/service/a"), data: json!(1).into(), timeout: None },
    ]);
    for call in calls {
        assert_eq!(it.err(call), &CallError::Offline);
    }
    // Subscriptions are wishes for later, not messages for now.
    let subscribe = it.subscribe("/b");
    it.elapse(secs(1));
    it.serve();
    it.ok(subscribe);
    let call = it.publish("/a", json!(2));
    it.serve();
    it.ok(call);
}

#[test]
fn case_11_a_dropped_websocket_fails_each_call_once_and_the_session_goes_on_over_a_new_one() {
    let mut it = Harness::connected(WebSocket);
    let held = it.take_held();
    let calls = it.burst((0..3).map(|n| publish("/a", json!(n))));
    it.take_on("/a");
    it.fail(&held, FailureKind::Closed { code: 1006 });
    for call in calls {
        assert!(matches!(it.err(call), CallError::Transport { fate_unknown: true, .. }));
    }
    assert_eq!(it.state(), State::Unconnected);
    let (again, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, secs(1));
    assert_eq!((&again["clientId"], again.is_probe()), (&json!("client-1"), true));
    it.serve_one(&again);
    assert_eq!(it.state(), State::Connected);
    assert_eq!(it.count(|event| matches!(event, Event::Rehandshaken)), 0);
}

#[test]
fn a_publish_without_reply_times_out_and_its_request_is_given_up() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let lost = it.publish("/a", json!(1));
    let sent = it.take();
    let waits = it.publish("/a", json!(2));
    it.elapse(secs(10) - millis(1));
    assert!(it.is_pending(lost));
    it.nothing_sent();
    it.elapse(millis(1));
    assert!(matches!(it.err(lost), CallError::Timeout { fate_unknown: true, .. }));
    assert_eq!(it.cancelled, [sent.exchange]);
    // Its own time ends in the same moment: it was never sent.
    assert!(matches!(it.err(waits), CallError::Timeout { fate_unknown: false, .. }));
}

#[test]
fn a_forgotten_call_that_was_not_sent_yet_is_never_sent() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    it.publish("/a", json!(1));
    let sent = it.take();
    let forgotten = it.publish("/a", json!(2));
    let kept = it.publish("/a", json!(3));
    it.input(bayeux_proto::client::Input::Forget(forgotten));
    it.grant(&sent, json!({}));
    let next = it.take();
    assert_eq!(next.each("data"), [&json!(3)]);
    it.grant(&next, json!({}));
    it.ok(kept);
    assert!(it.is_pending(forgotten));
    assert_eq!(it.session().pending(), 0);
}

#[test]
fn a_vetoed_message_fails_alone_and_frees_its_lane() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let vetoed = it.publish("/a", json!(1));
    let sent = it.take();
    let waits = it.publish("/a", json!(2));
    it.veto(&sent, 0, "not today");
    assert_eq!(it.err(vetoed), &CallError::Vetoed("not today".to_owned()));
    it.serve();
    it.ok(waits);
}

#[test]
fn a_vetoed_message_does_not_free_the_lane_of_those_that_went_out_with_it() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let calls = it.batch(vec![publish("/a", json!(1)), publish("/a", json!(2))]);
    let sent = it.take();
    it.veto(&sent, 0, "not today");
    assert_eq!(it.err(calls[0]), &CallError::Vetoed("not today".to_owned()));
    let waits = it.publish("/a", json!(3));
    it.nothing_sent();
    it.grant(&sent, json!({}));
    it.ok(calls[1]);
    it.serve();
    it.ok(waits);
}

#[test]
fn bug_b09_a_reply_without_id_answers_the_oldest_publish_on_its_channel() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.take_held();
        let calls = it.batch(vec![publish("/a", json!(1)), publish("/b", json!(2)), publish("/a", json!(3))]);
        let sent = it.take();
        it.respond(
            &sent,
            json!([{"channel": "/a", "successful": true},
                   {"channel": "/a", "successful": false, "error": "403::no"},
                   {"channel": "/b", "successful": true}]),
        );
        it.ok(calls[0]);
        it.ok(calls[1]);
        it.err(calls[2]);
    }
}

#[test]
fn bug_b08_a_refusal_without_channel_fails_what_it_came_in_answer_to() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let calls = it.batch(vec![publish("/a", json!(1)), publish("/b", json!(2))]);
    let sent = it.take();
    it.respond(&sent, json!([{"error": "400::bad", "successful": false}]));
    for call in calls {
        assert_eq!(it.err(call).server_error().unwrap().code(), Some(400));
    }
    assert_eq!(it.state(), State::Connected);
}

#[test]
fn the_reply_to_another_channels_message_is_no_reply() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    let call = it.publish("/a", json!(1));
    let sent = it.take();
    it.push(json!([{"channel": "/b", "id": sent["id"], "successful": true}]));
    assert!(it.is_pending(call));
}

#[test]
fn at_least_once_a_publish_without_reply_is_sent_again_until_its_time_is_over() {
    let mut settings = config(&[LongPolling]);
    settings.delivery = Delivery::AtLeastOnce;
    settings.call_timeout = secs(25);
    let mut it = Harness::new(settings).opened();
    it.take_held();
    let call = it.publish("/a", json!(1));
    let first = it.take_on("/a");
    let (second, waited) = it.wait_for("/a");
    assert_eq!(waited, secs(10));
    assert_eq!(second["id"], first["id"]);
    // It cannot be sent now, but was before.
    it.fail(&second, FailureKind::Unreachable);
    let third = it.wait_until("/a");
    it.fail(&third, FailureKind::Unreachable);
    assert_eq!(it.session().pending(), 1);
    it.fail_until_resolved(call, FailureKind::Unreachable);
    assert!(matches!(it.err(call), CallError::Timeout { fate_unknown: true, .. }));
    assert_eq!(it.session().pending(), 0);
}

#[test]
fn bug_b08_an_error_without_channel_is_a_refusal_though_it_does_not_say_so() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let call = it.publish("/a", json!(1));
    let sent = it.take_on("/a");
    it.respond(&sent, json!([{"error": "403::no"}]));
    assert_eq!(it.err(call).server_error().unwrap().code(), Some(403));
}

#[test]
fn at_most_once_a_publish_without_reply_is_not_sent_again_though_there_is_time() {
    let mut settings = config(&[LongPolling]);
    settings.call_timeout = secs(25);
    let mut it = Harness::new(settings).opened();
    it.take_held();
    let call = it.publish("/a", json!(1));
    it.take_on("/a");
    it.elapse(secs(10));
    assert!(matches!(it.err(call), CallError::Timeout { fate_unknown: true, .. }));
    it.nothing_sent();
}
