//! The connect loop: one `/meta/connect` at a time, its deadlines, and the pause before the next.

mod support;

use bayeux_proto::Interval;
use bayeux_proto::client::{CallError, CloseReason, Event, Failure, FailureKind, Input, LostCause, State};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, WebSocket, millis, secs};

#[test]
fn case_14_refused_without_advice_is_tried_again_with_growing_pauses() {
    let mut it = Harness::connected(LongPolling);
    let held = it.held();
    it.refuse(&held, "500::busy", json!({}));
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let (again, pause) = it.wait_for("/meta/connect");
        assert_eq!(again["clientId"], "client-1", "the session is the same");
        assert!(again.is_probe());
        pauses.push(pause.as_secs());
        it.refuse(&again, "500::busy", json!({}));
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30]);
    assert_eq!(it.state(), State::Unconnected);
    assert_eq!(it.count(|event| matches!(event, Event::Lost { .. })), 1);
}

#[test]
fn case_15_refused_for_good_ends_the_session() {
    let mut it = Harness::connected(LongPolling);
    let waiting = it.publish("/a", json!(1));
    let held = it.held();
    it.refuse(&held, "403::go_away", json!({"advice": {"reconnect": "none"}}));
    assert!(it.err(waiting).to_string().contains("go_away"));
    assert!(matches!(it.events.last(), Some(Event::Closed(CloseReason::Server(_)))));
    it.take_on("/a");
    it.elapse(secs(600));
    it.nothing_sent();
    assert_eq!(it.session().poll_timeout(), None);
}

#[test]
fn case_16_advice_is_obeyed_on_a_successful_reply_too() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"reconnect": "none"}}));
    assert_eq!(it.state(), State::Disconnected);
    it.nothing_sent();

    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"reconnect": "handshake"}}));
    let (handshake, pause) = it.wait_for("/meta/handshake");
    assert!(pause.is_zero());
    it.serve_one(&handshake);
    it.serve();
    assert_eq!(it.held()["clientId"], "client-2");
}

#[test]
fn case_17_the_next_connect_waits_for_the_advised_interval_in_milliseconds() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.elapse(secs(5));
        let held = it.take_held();
        it.grant(&held, json!({"advice": {"interval": 2000}}));
        it.elapse(millis(1999));
        it.nothing_sent();
        it.elapse(millis(1));
        it.take_on("/meta/connect");
    }
}

#[test]
fn case_18_a_negative_interval_means_no_further_connect() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"interval": -1}}));
    it.elapse(secs(3600));
    it.nothing_sent();
    assert_eq!(it.state(), State::Disconnected);
    let Some(Event::Closed(CloseReason::Server(reply))) = it.events.last() else { panic!("{:?}", it.events) };
    let advice = reply.fields().advice.as_ref();
    assert_eq!(advice.and_then(|advice| advice.interval), Some(Interval::Never), "it says why");
}

#[test]
fn a_negative_interval_of_one_session_does_not_stop_the_next_that_the_user_opens() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"interval": -1, "reconnect": "none"}}));
    it.connect_extra = json!({});
    let open = it.open();
    it.serve();
    it.ok(open);
    it.held();
}

#[test]
fn case_19_a_held_connect_may_take_its_hold_time_and_the_network_delay() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        let held = it.take_held();
        it.elapse(secs(35));
        it.grant(&held, json!({}));
        let held = it.take_on("/meta/connect");
        it.elapse(secs(40) - millis(1));
        assert_eq!(it.state(), State::Connected);
        it.elapse(millis(1));
        assert_eq!(it.state(), State::Unconnected);
        match transport {
            WebSocket => assert_eq!(it.closed, [false]),
            _ => assert_eq!(it.cancelled, [held.exchange]),
        }
        let Some(Event::Lost { cause: LostCause::Transport(failure), .. }) =
            it.events.iter().find(|event| matches!(event, Event::Lost { .. }))
        else {
            panic!("{:?}", it.events);
        };
        assert_eq!(failure.kind(), FailureKind::Timeout);
    }
}

#[test]
fn case_20_the_first_connect_is_given_no_time_to_be_held() {
    let mut it = Harness::over(LongPolling);
    it.handshake_extra = json!({"advice": {"timeout": 30_000}});
    it.open();
    let handshake = it.take();
    it.serve_one(&handshake);
    let first = it.take_on("/meta/connect");
    it.elapse(secs(10) - millis(1));
    assert!(it.cancelled.is_empty());
    it.elapse(millis(1));
    assert_eq!(it.cancelled, [first.exchange]);
}

#[test]
fn case_21_a_late_reply_to_an_expired_connect_starts_no_second_loop() {
    let mut it = Harness::connected(WebSocket);
    let late = it.take_held();
    it.elapse(secs(40));
    let (probe, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, secs(1));
    it.push(json!([{"channel": "/meta/connect", "id": late["id"], "successful": true}]));
    it.nothing_sent();
    it.elapse(secs(5));
    it.nothing_sent();
    assert_eq!(it.connects().len(), 1);
    it.serve_one(&probe);
    it.take_on("/meta/connect");
    it.nothing_sent();
}

#[test]
fn case_22_after_longer_than_the_server_keeps_a_session_a_handshake_takes_the_place_of_the_connect() {
    let mut it = Harness::over(LongPolling);
    it.connect_extra = json!({"advice": {"timeout": 5000, "interval": 0, "maxInterval": 10_000}});
    it = it.opened();
    let mut connect = it.take_held();
    let begun = it.now();
    let mut connects = 0;
    let handshake_after = loop {
        it.fail(&connect, FailureKind::Unreachable);
        if it.take_if("/meta/handshake").is_some() {
            break it.now().since(begun);
        }
        it.jump();
        let sent = it.take_on("/meta/connect");
        connects += 1;
        assert!(connects < 20, "no handshake");
        connect = sent;
    };
    // The pauses of 1, 2, 4 and 8 s are within the 5 + 10 s; with 16 more they would not be.
    assert_eq!((connects, handshake_after), (4, secs(15)));
}

#[test]
fn case_23_24_26_a_response_that_is_no_answer_is_a_failure_that_is_tried_again() {
    for kind in [FailureKind::Http { status: 503 }, FailureKind::Malformed, FailureKind::TooLarge] {
        let mut it = Harness::connected(LongPolling);
        let held = it.take_held();
        it.fail(&held, kind);
        let Some(Event::Retrying { delay, cause, .. }) = it.events.last() else { panic!("{:?}", it.events) };
        assert_eq!(*delay, secs(1));
        let failure = cause.failure().unwrap();
        assert_eq!(failure.kind(), kind);
        assert_eq!(failure.http_status(), matches!(kind, FailureKind::Http { .. }).then_some(503));
        let (again, pause) = it.wait_for("/meta/connect");
        assert_eq!(pause, secs(1));
        it.serve_one(&again);
        assert_eq!(it.state(), State::Connected);
    }
}

#[test]
fn case_24_an_empty_array_in_answer_to_a_connect_is_a_failure() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.respond(&held, json!([]));
    assert_eq!(it.state(), State::Unconnected);
    let (_, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, secs(1));
}

#[test]
fn case_25_a_lone_object_is_an_answer() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.respond(&held, json!({"channel": "/meta/connect", "id": held["id"], "successful": true}));
    it.take_on("/meta/connect");
    assert_eq!(it.state(), State::Connected);
}

#[test]
fn case_27_unknown_fields_nulls_and_numeric_ids_are_tolerated() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    let id: u64 = held["id"].as_str().unwrap().parse().unwrap();
    it.respond(
        &held,
        json!([{"channel": "/meta/connect", "id": id, "successful": true, "ext": null, "advice": null,
                "clientId": 7, "novel": {"a": 1}}]),
    );
    it.take_on("/meta/connect");
    assert_eq!(it.state(), State::Connected);
}

#[test]
fn case_28_a_message_without_channel_is_told_and_the_rest_is_still_taken() {
    let mut it = Harness::connected(WebSocket);
    it.subscribe("/a");
    it.serve();
    it.push(json!([{"data": 1}, {"channel": "/a", "data": 2}]));
    assert_eq!(it.inbox(), ["2"]);
    assert_eq!(it.count(|event| matches!(event, Event::Ignored { .. })), 1);
}

#[test]
fn case_28_a_refusal_without_channel_does_not_refuse_what_has_a_reply_of_its_own_behind_it() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    let held = it.held();
    it.respond(
        &held,
        json!([{"error": "401::Request requires authentication", "successful": false},
               {"channel": "/a", "data": 1},
               {"channel": "/meta/connect", "id": held["id"], "successful": true}]),
    );
    assert_eq!(it.inbox(), ["1"]);
    assert_eq!(it.state(), State::Connected);
    assert_eq!(it.count(|event| matches!(event, Event::Ignored { .. })), 1);
    assert_eq!(it.count(|event| matches!(event, Event::Lost { .. })), 0);
}

#[test]
fn case_29_events_before_and_after_the_connect_reply_are_all_delivered_in_order() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.subscribe("/a");
        it.serve();
        let held = it.held();
        it.respond(
            &held,
            json!([{"channel": "/a", "data": 1},
                   {"channel": "/meta/connect", "id": held["id"], "successful": true},
                   {"channel": "/a", "data": 2}]),
        );
        assert_eq!(it.inbox(), ["1", "2"]);
        let connect = it.story.iter().rposition(|step| step == "send /meta/connect");
        let last = it.story.iter().position(|step| step == "deliver 2");
        assert!(last < connect, "all is taken in before the next connect: {:?}", it.story);
    }
}

#[test]
fn events_behind_the_reply_that_ends_the_session_are_delivered_too() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    let held = it.held();
    it.respond(
        &held,
        json!([{"channel": "/meta/connect", "id": held["id"], "successful": true, "advice": {"reconnect": "none"}},
               {"channel": "/a", "data": 1},
               {"channel": "/meta/disconnect", "successful": true}]),
    );
    assert_eq!(it.inbox(), ["1"]);
    assert_eq!(it.count(|event| matches!(event, Event::Closed(_))), 1);
}

#[test]
fn case_32_an_event_that_nobody_listens_to_does_not_stop_the_loop() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    it.event("/nobody", json!(1));
    assert!(it.delivered.is_empty());
    it.take_on("/meta/connect");
}

#[test]
fn bug_b14_the_open_does_not_wait_for_a_held_connect() {
    // A server that holds each connect that does not say otherwise answers the first one at once.
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    it.serve();
    it.ok(open);
    assert_eq!(it.connects().len(), 1, "and holds the second");
}

#[test]
fn bug_b09_a_reply_without_id_answers_the_outstanding_connect() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        let held = it.take_held();
        it.respond(&held, json!([{"channel": "/meta/connect", "successful": true}]));
        if transport == LongPolling {
            it.take_on("/meta/connect");
        }
        assert_eq!(it.state(), State::Connected);
    }
}

#[test]
fn request_11_bytes_that_arrive_put_the_deadline_off() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.elapse(secs(39));
    for _ in 0..6 {
        it.input(bayeux_proto::client::Input::Progress(held.exchange));
        it.elapse(secs(9));
    }
    assert_eq!(it.state(), State::Connected, "a large batch over a slow link is no failure");
    it.elapse(secs(1));
    assert_eq!(it.state(), State::Unconnected);

    let mut it = Harness::connected(WebSocket);
    it.elapse(secs(39));
    for _ in 0..6 {
        it.input(bayeux_proto::client::Input::Arriving);
        it.elapse(secs(9));
    }
    assert_eq!(it.state(), State::Connected);
    it.elapse(secs(1));
    assert_eq!(it.state(), State::Unconnected);
}

#[test]
fn request_04_silence_is_noticed_within_a_bound_whatever_the_transport() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.elapse(secs(40));
        assert_ne!(it.state(), State::Connected, "{transport}");
        assert!(it.session().lost_since().is_some());
    }
}

#[test]
fn a_server_that_never_holds_a_connect_is_not_asked_without_a_pause() {
    let mut it = Harness::connected(LongPolling);
    let begun = it.now();
    let mut turns = 0;
    while it.now().since(begun) < secs(60) {
        let (held, _) = it.wait_for("/meta/connect");
        it.grant(&held, json!({}));
        turns += 1;
        assert!(turns < 15, "{turns} connects within {:?} that brought nothing", it.now().since(begun));
    }
    // Events make it quick again.
    it.subscribe("/a");
    let (mut subscribe, _) = it.wait_for("/meta/subscribe");
    it.serve_one(&subscribe);
    let begun = it.now();
    for n in 0..50 {
        (subscribe, _) = it.wait_for("/meta/connect");
        it.respond(
            &subscribe,
            json!([{"channel": "/a", "data": n},
                   {"channel": "/meta/connect", "id": subscribe["id"], "successful": true}]),
        );
    }
    assert!(it.now().since(begun) <= secs(30), "only the first of them had to wait");
    assert_eq!(it.inbox().len(), 50);
}

#[test]
fn an_event_ends_the_pause_of_a_session_that_was_slowed_down_for_long() {
    let mut it = Harness::connected(WebSocket);
    it.subscribe("/a");
    it.serve();
    let mut pause = millis(0);
    while pause < secs(8) {
        let held = it.take_held();
        it.grant(&held, json!({}));
        pause = if it.connects().is_empty() { it.jump() } else { millis(0) };
    }
    let held = it.take_held();
    it.grant(&held, json!({}));
    it.nothing_sent();
    it.push(json!([{"channel": "/a", "data": 1}]));
    it.take_on("/meta/connect");
}

#[test]
fn a_connect_that_an_extension_refuses_is_tried_again_with_a_pause() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    let mut message = bayeux_proto::Message::meta("/meta/connect");
    message.set_id(Some(bayeux_proto::MessageId::new(held["id"].as_str().unwrap())));
    it.input(bayeux_proto::client::Input::Vetoed { message: Box::new(message), reason: "no".to_owned() });
    assert_eq!(it.state(), State::Unconnected);
}

#[test]
fn a_call_while_connects_fail_says_what_failed_when_the_session_ends() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.fail(&held, FailureKind::Lost);
    let waiting = it.publish("/a", json!(1));
    it.elapse(secs(10));
    assert!(matches!(it.err(waiting), CallError::Timeout { fate_unknown: false, .. }));
}

#[test]
fn a_pause_is_neither_ended_nor_prolonged_by_the_end_of_the_socket() {
    let mut it = Harness::connected(WebSocket);
    let held = it.take_held();
    it.refuse(&held, "500::try_later", json!({}));
    assert_eq!(it.state(), State::Unconnected);
    it.elapse(millis(500));
    it.fail(&held, FailureKind::Lost);
    it.elapse(millis(499));
    it.nothing_sent();
    it.elapse(millis(1));
    it.take_on("/meta/connect");
}

#[test]
fn a_socket_that_ends_between_two_connects_is_a_lost_connection() {
    let mut it = Harness::over(WebSocket);
    it.connect_extra = json!({"advice": {"interval": 5000}});
    it = it.opened();
    it.nothing_sent();
    let failure = Failure::new(FailureKind::Lost, "the socket is gone");
    it.input(Input::TransportLost(failure));
    assert_eq!(it.state(), State::Unconnected);
    assert_eq!(it.count(|event| matches!(event, Event::Lost { .. })), 1);
}

#[test]
fn what_was_to_go_out_over_a_socket_that_is_lost_in_the_same_moment_opens_no_other() {
    let mut it = Harness::connected(WebSocket);
    let held = it.held();
    // The shell takes in a reply and the end of the socket before it carries out what the reply led to.
    it.push_and_cut(json!([{"channel": "/meta/connect", "id": held["id"], "successful": true}]));
    it.nothing_sent();
    let (again, pause) = it.wait_for("/meta/connect");
    assert!(again.is_probe() && pause > millis(0), "one attempt, after a pause");
}

#[test]
fn case_22_the_pause_between_connects_is_no_time_away() {
    let mut it = Harness::over(LongPolling);
    it.connect_extra = json!({"advice": {"timeout": 20_000, "interval": 5000, "maxInterval": 20_000}});
    let mut it = it.opened();
    let (held, _) = it.wait_for("/meta/connect");
    it.fail(&held, FailureKind::Unreachable);
    // After 5, 10, 15, 23 and 39 s; the next would be after 69 s, and the session lasts for 45 s.
    for _ in 0..5 {
        let (connect, _) = it.wait_for("/meta/connect");
        it.fail(&connect, FailureKind::Unreachable);
    }
    it.wait_for("/meta/handshake");
}
