//! Asking for a session: what is sent, what replies mean, and which transport carries it.

mod support;

use bayeux_proto::client::{CallError, CloseReason, Event, FailureKind, Input, State};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, WebSocket, config, millis, secs};

#[test]
fn case_01_no_common_transport_fails_the_open_and_ends_all_traffic() {
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    let handshake = it.take_on("/meta/handshake");
    it.grant(&handshake, json!({"clientId": "c", "supportedConnectionTypes": ["callback-polling"]}));

    let CallError::Closed(reason @ CloseReason::NoTransport { client, server, .. }) = it.err(open) else {
        panic!("{:?}", it.outcome(open));
    };
    assert_eq!((client, server), (&vec!["long-polling".to_owned()], &vec!["callback-polling".to_owned()]));
    assert!(reason.to_string().starts_with("405:"), "{reason}");
    assert_eq!(it.state(), State::Disconnected);
    it.elapse(secs(600));
    it.nothing_sent();
    assert_eq!(it.session().poll_timeout(), None);
}

#[test]
fn the_handshake_names_versions_and_transports_in_order_of_preference() {
    let mut it = Harness::new(config(&BOTH));
    it.open();
    let handshake = it.take_on("/meta/handshake");
    let message = handshake.message();
    assert_eq!(message["version"], "1.0");
    assert_eq!(message["minimumVersion"], "1.0");
    assert_eq!(message["supportedConnectionTypes"], json!(["websocket", "long-polling"]));
    assert_eq!(message["ext"], json!({"ack": true}));
    assert!(message.get("clientId").is_none());
    assert_eq!(handshake.transport, WebSocket);
}

#[test]
fn the_users_fields_are_sent_but_those_of_the_protocol_win() {
    let mut config = config(&[LongPolling]);
    config.ack = false;
    config.handshake_fields = json!({
        "channel": "/evil", "clientId": "x", "version": "9", "ext": {"a": 1}, "custom": [1],
    })
    .as_object()
    .unwrap()
    .clone();
    config.handshake_ext = json!({"b": 2}).as_object().unwrap().clone();
    let mut it = Harness::new(config);
    it.open();
    let handshake = it.take_on("/meta/handshake");
    assert_eq!(handshake["version"], "1.0");
    assert_eq!(handshake["ext"], json!({"a": 1, "b": 2}));
    assert_eq!(handshake["custom"], json!([1]));
    assert!(handshake.message().get("clientId").is_none());
}

#[test]
fn case_02_the_first_connect_asks_for_an_answer_at_once_and_the_second_does_not() {
    for transport in BOTH {
        let mut it = Harness::over(transport);
        let open = it.open();
        let handshake = it.take();
        it.serve_one(&handshake);
        let first = it.take_on("/meta/connect");
        assert_eq!(first["clientId"], "client-1");
        assert_eq!(first["connectionType"], transport.as_str());
        assert_eq!(first["advice"], json!({"timeout": 0}));
        assert!(it.is_pending(open), "messages do not flow yet");

        it.serve_one(&first);
        let second = it.take_on("/meta/connect");
        assert!(second.message().get("advice").is_none());
        assert_ne!(second["id"], first["id"]);
        assert_eq!(it.ok(open).channel(), &"/meta/handshake");
        assert_eq!(it.state(), State::Connected);
    }
}

#[test]
fn case_03_refused_for_good_means_one_handshake_and_all_calls_fail() {
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    let publish = it.publish("/a", json!(1));
    let handshake = it.take_on("/meta/handshake");
    it.refuse(&handshake, "403::handshake_denied", json!({"advice": {"reconnect": "none"}}));
    for call in [open, publish] {
        assert_eq!(it.err(call).server_error().unwrap().code(), Some(403));
    }
    assert_eq!(it.state(), State::Disconnected);
    it.elapse(secs(600));
    it.nothing_sent();
}

#[test]
fn case_04_refused_without_advice_is_tried_again_with_growing_pauses() {
    let mut settings = config(&[LongPolling]);
    settings.retry_open = true;
    settings.open_timeout = None;
    let mut it = Harness::new(settings);
    it.open();
    let mut refused = it.take_on("/meta/handshake");
    let mut pauses = Vec::new();
    for _ in 0..7 {
        it.refuse(&refused, "500::busy", json!({}));
        it.nothing_sent();
        let (again, pause) = it.wait_for("/meta/handshake");
        pauses.push(pause.as_secs());
        refused = again;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
}

#[test]
fn a_first_handshake_that_is_refused_without_advice_fails_the_open() {
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    let handshake = it.take();
    it.refuse(&handshake, "403::Handshake denied", json!({}));
    assert_eq!(it.err(open).server_error().unwrap().as_str(), "403::Handshake denied");
    it.elapse(secs(600));
    it.nothing_sent();
}

#[test]
fn case_05_advice_to_retry_means_a_handshake_never_a_connect_without_session() {
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    let handshake = it.take();
    it.refuse(&handshake, "503::busy", json!({"advice": {"reconnect": "retry", "interval": 0}}));
    let (again, pause) = it.wait_for("/meta/handshake");
    assert_eq!(pause, secs(1));
    it.serve_one(&again);
    it.serve();
    it.ok(open);
}

#[test]
fn case_06_the_advised_interval_is_the_least_pause_before_the_next_handshake() {
    let mut it = Harness::over(LongPolling);
    it.open();
    let handshake = it.take();
    it.refuse(&handshake, "503::busy", json!({"advice": {"reconnect": "handshake", "interval": 3000}}));
    let (_, pause) = it.wait_for("/meta/handshake");
    assert_eq!(pause, secs(3));
}

#[test]
fn case_07_connection_refused_five_times_then_up_over_the_preferred_transport() {
    let mut settings = config(&BOTH);
    settings.retry_open = true;
    settings.open_timeout = None;
    let mut it = Harness::new(settings);
    let open = it.open();
    let mut handshake = it.take_on("/meta/handshake");
    let mut pauses = Vec::new();
    for _ in 0..5 {
        assert_eq!(handshake.transport, WebSocket);
        it.fail(&handshake, FailureKind::Unreachable);
        let (again, pause) = it.wait_for("/meta/handshake");
        pauses.push(pause.as_secs());
        handshake = again;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16]);
    assert_eq!(handshake.transport, WebSocket);
    it.serve_one(&handshake);
    it.serve();
    it.ok(open);
    assert_eq!(it.session().transport(), WebSocket);
    assert_eq!(it.count(|event| matches!(event, Event::TransportChanged { .. })), 0);
}

#[test]
fn a_mistyped_address_is_told_at_once() {
    let mut it = Harness::new(config(&BOTH));
    let open = it.open();
    let handshake = it.take();
    it.fail(&handshake, FailureKind::UnknownHost);
    assert!(matches!(it.err(open), CallError::Closed(CloseReason::Failed(_))));
    it.elapse(secs(600));
    it.nothing_sent();
}

#[test]
fn case_08_a_refused_upgrade_sends_the_handshake_over_the_next_transport_at_once() {
    for status in [404, 200, 503] {
        let mut it = Harness::new(config(&BOTH));
        let open = it.open();
        let refused = it.take_on("/meta/handshake");
        it.fail(&refused, FailureKind::UpgradeRefused { status });
        let again = it.take_on("/meta/handshake");
        assert_eq!(again.transport, LongPolling);
        assert_eq!(again["supportedConnectionTypes"], refused["supportedConnectionTypes"]);
        let told = it.events.iter().find_map(|event| match event {
            Event::TransportChanged { from, to, cause: Some(cause), .. } => {
                Some((*from, *to, cause.http_status()))
            }
            _ => None,
        });
        assert_eq!(told, Some((WebSocket, LongPolling, Some(status))));
        it.serve_one(&again);
        it.serve();
        it.ok(open);
        assert_eq!(it.held().transport, LongPolling, "what failed a moment ago is left alone");
    }
}

#[test]
fn case_10_a_handshake_that_is_never_answered_is_given_up_and_its_socket_closed() {
    let mut it = Harness::new(config(&BOTH));
    let open = it.open();
    let silent = it.take();
    it.elapse(secs(20) - millis(1));
    assert!(it.closed.is_empty());
    it.nothing_sent();
    it.elapse(millis(1));
    assert_eq!(it.closed, [false]);
    let again = it.take_on("/meta/handshake");
    assert_eq!(again.transport, LongPolling);
    // A late reply to the first one is no reply to the second.
    it.push(
        json!([{"channel": "/meta/handshake", "id": silent["id"], "successful": true, "clientId": "late"}]),
    );
    assert!(it.is_pending(open));
    it.serve_one(&again);
    assert_eq!(it.take_on("/meta/connect")["clientId"], "client-1");
}

#[test]
fn when_no_transport_gets_through_the_error_tells_of_each() {
    let mut it = Harness::new(config(&BOTH));
    let open = it.open();
    let first = it.take();
    it.fail(&first, FailureKind::UpgradeRefused { status: 502 });
    let second = it.take();
    it.fail(&second, FailureKind::Http { status: 503 });
    let text = it.err(open).to_string();
    assert!(text.contains("websocket:") && text.contains("long-polling:"), "{text}");
}

#[test]
fn the_handshake_moves_the_session_to_the_best_transport_that_the_server_offers() {
    let mut it = Harness::new(config(&BOTH));
    it.open();
    let handshake = it.take();
    it.grant(&handshake, json!({"clientId": "c", "supportedConnectionTypes": ["long-polling"]}));
    assert_eq!(it.take_on("/meta/connect").transport, LongPolling);
    assert_eq!(it.closed, [true], "the socket is of no more use");
    assert_eq!(it.count(|event| matches!(event, Event::TransportChanged { cause: None, .. })), 1);
}

#[test]
fn a_server_that_names_no_transports_accepts_the_one_that_carried_its_reply() {
    let mut it = Harness::over(LongPolling);
    it.open();
    let handshake = it.take();
    it.grant(&handshake, json!({"clientId": "c"}));
    assert_eq!(it.take_on("/meta/connect").transport, LongPolling);
}

#[test]
fn a_grant_without_client_id_is_a_failure() {
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    let handshake = it.take();
    it.grant(&handshake, json!({}));
    assert!(it.err(open).to_string().contains("clientId"), "{:?}", it.err(open));
}

#[test]
fn a_websocket_whose_handshake_failed_is_not_left_open_beside_the_next_transport() {
    let mut it = Harness::new(config(&BOTH));
    it.open();
    let handshake = it.take();
    it.grant(&handshake, json!({}));
    assert_eq!(it.take_on("/meta/handshake").transport, LongPolling);
    assert_eq!(it.closed, [true]);
}

#[test]
fn a_response_without_a_reply_to_the_handshake_is_a_failure() {
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    let handshake = it.take();
    it.respond(&handshake, json!([]));
    assert!(matches!(it.err(open), CallError::Closed(CloseReason::Failed(failure))
        if failure.kind() == FailureKind::Malformed));
}

#[test]
fn case_55_the_first_connect_waits_for_the_events_that_come_with_the_handshake() {
    let mut it = Harness::over(WebSocket);
    it.handshake_extra = json!({"x-messages": 3});
    it.open();
    let handshake = it.take();
    it.serve_one(&handshake);
    it.push(json!([{"channel": "/a", "data": 1}, {"channel": "/a", "data": 2}]));
    it.nothing_sent();
    it.push(json!([{"channel": "/a", "data": 3}]));
    it.take_on("/meta/connect");

    for count in [json!({}), json!({"x-messages": 0})] {
        let mut it = Harness::over(WebSocket);
        it.handshake_extra = count;
        it.open();
        let handshake = it.take();
        it.serve_one(&handshake);
        it.take_on("/meta/connect");
    }
}

#[test]
fn events_that_were_promised_with_the_handshake_but_never_come_do_not_stop_the_session() {
    let mut it = Harness::over(WebSocket);
    it.handshake_extra = json!({"x-messages": 3});
    it.open();
    let handshake = it.take();
    it.serve_one(&handshake);
    let (_, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, secs(10));
}

#[test]
fn opening_takes_no_longer_than_it_may() {
    let mut settings = config(&[LongPolling]);
    settings.retry_open = true;
    let mut it = Harness::new(settings);
    let open = it.open();
    assert_eq!(it.fail_until_resolved(open, FailureKind::Unreachable), secs(30));
    assert!(matches!(it.err(open), CallError::Closed(CloseReason::OpenTimeout { last: Some(_), .. })));
    it.elapse(secs(600));
    it.nothing_sent();
}

#[test]
fn an_opening_that_is_refused_again_and_again_ends_with_the_servers_words() {
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    while it.is_pending(open) {
        if let Some(handshake) = it.take_if("/meta/handshake") {
            it.refuse(
                &handshake,
                "403::not you",
                json!({"advice": {"reconnect": "handshake", "interval": 0}}),
            );
        } else {
            it.jump();
        }
    }
    let error = it.err(open);
    assert!(matches!(error, CallError::Closed(CloseReason::OpenTimeout { .. })), "{error}");
    assert_eq!(error.server_error().unwrap().code(), Some(403));
    assert!(error.to_string().contains("not you"), "{error}");
}

#[test]
fn open_is_refused_while_open() {
    let mut it = Harness::connected(LongPolling);
    let again = it.open();
    assert_eq!(it.err(again), &CallError::AlreadyOpen);
    assert_eq!(it.state(), State::Connected);
}

#[test]
fn bug_b12_a_server_that_speaks_only_websocket_is_enough() {
    let mut it = Harness::over(WebSocket);
    it.handshake_extra = json!({"supportedConnectionTypes": ["websocket"]});
    let it = it.opened();
    assert_eq!(it.held().transport, WebSocket);
    assert_eq!(it.http_requests(), 0);
}

#[test]
fn bug_b08_a_refusal_without_channel_refuses_the_handshake_that_it_came_in_answer_to() {
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    let handshake = it.take();
    it.respond(&handshake, json!([{"error": "400::bad", "successful": false}]));
    assert_eq!(it.err(open).server_error().unwrap().code(), Some(400));
}

#[test]
fn an_upgrade_that_was_refused_is_not_tried_again_at_once() {
    let mut settings = config(&BOTH);
    settings.retry_open = true;
    let mut it = Harness::new(settings);
    let open = it.open();
    let refused = it.take();
    it.fail(&refused, FailureKind::UpgradeRefused { status: 404 });
    let second = it.take();
    it.fail(&second, FailureKind::Http { status: 503 });
    let (third, _) = it.wait_for("/meta/handshake");
    assert_eq!(third.transport, LongPolling);
    it.serve_one(&third);
    it.serve();
    it.ok(open);
}

#[test]
fn bytes_that_arrive_put_the_deadline_of_the_handshake_off() {
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    assert_eq!(it.session().last_received(), None);
    let handshake = it.take_on("/meta/handshake");
    it.elapse(secs(19));
    it.input(Input::Progress(handshake.exchange));
    it.elapse(secs(9));
    assert!(it.is_pending(open));
    it.elapse(secs(1));
    it.err(open);
}

#[test]
fn an_open_whose_handshake_was_granted_outlives_a_connect_that_fails() {
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    let handshake = it.take_on("/meta/handshake");
    it.serve_one(&handshake);
    let connect = it.take_on("/meta/connect");
    it.fail(&connect, FailureKind::Unreachable);
    assert!(it.is_pending(open));
    let (connect, _) = it.wait_for("/meta/connect");
    it.serve_one(&connect);
    it.ok(open);
}
