//! Closing, by either side, and opening again.

mod support;

use bayeux_proto::client::{CallError, CloseReason, Event, FailureKind, Input, SinkId, State};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, WebSocket, config, millis, secs, subscribe};

#[test]
fn case_49_closing_waits_for_both_replies_and_closes_the_socket() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        let held = it.take_held();
        let close = it.close();
        assert_eq!(it.state(), State::Disconnecting);
        let disconnect = it.take_on("/meta/disconnect");
        assert_eq!(disconnect["clientId"], "client-1");
        it.grant(&disconnect, json!({}));
        assert!(it.is_pending(close), "the connect is still out");
        it.grant(&held, json!({"advice": {"reconnect": "none"}}));
        it.ok(close);
        assert_eq!(it.state(), State::Disconnected);
        assert_eq!(it.closed, if transport == WebSocket { vec![true] } else { vec![] });
        assert!(matches!(it.events.last(), Some(Event::Closed(CloseReason::Requested))));
        it.elapse(secs(600));
        it.nothing_sent();
    }
}

#[test]
fn case_49_a_silent_server_does_not_keep_the_session_from_closing() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        let held = it.take_held();
        let close = it.close();
        it.take_on("/meta/disconnect");
        it.elapse(secs(5) - millis(1));
        assert!(it.is_pending(close));
        it.elapse(millis(1));
        it.ok(close);
        if transport == LongPolling {
            assert!(it.cancelled.contains(&held.exchange));
            assert_eq!(it.http_requests(), 0, "nothing is left behind");
        }
    }
}

#[test]
fn case_49_a_server_that_confirms_but_keeps_the_connect_is_waited_for_a_second() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let close = it.close();
    let disconnect = it.take();
    it.grant(&disconnect, json!({}));
    it.elapse(secs(1));
    it.ok(close);
}

#[test]
fn what_was_asked_for_before_the_close_is_sent_before_it() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    it.burst([support::publish("/a", json!(1)), bayeux_proto::client::Operation::Close]);
    assert_eq!(it.take().channels(), ["/a", "/meta/disconnect"]);
    let late = it.publish("/a", json!(2));
    assert!(matches!(it.err(late), CallError::Closed(CloseReason::Requested)));
}

#[test]
fn case_50_close_twice() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let calls = [it.close(), it.close()];
    assert_eq!(it.take().channels(), ["/meta/disconnect"]);
    it.nothing_sent();
    it.elapse(secs(5));
    calls.into_iter().for_each(|call| drop(it.ok(call).clone()));
    let third = it.close();
    it.ok(third);
}

#[test]
fn case_50_close_before_and_during_the_handshake() {
    let mut it = Harness::over(LongPolling);
    let close = it.close();
    it.ok(close);
    it.nothing_sent();

    let mut it = Harness::over(LongPolling);
    let open = it.open();
    let handshake = it.take();
    let close = it.close();
    it.ok(close);
    assert!(matches!(it.err(open), CallError::Closed(CloseReason::Requested)));
    assert_eq!(it.cancelled, [handshake.exchange]);
    it.elapse(secs(600));
    it.nothing_sent();
}

#[test]
fn case_50_close_as_soon_as_the_session_is_granted() {
    for transport in BOTH {
        let mut it = Harness::over(transport);
        let open = it.open();
        let handshake = it.take();
        it.serve_one(&handshake);
        let connect = it.take_on("/meta/connect");
        let close = it.close();
        let disconnect = it.take_on("/meta/disconnect");
        it.grant(&disconnect, json!({}));
        it.grant(&connect, json!({}));
        it.ok(close);
        it.err(open);
        it.elapse(secs(600));
        it.nothing_sent();
    }
}

#[test]
fn case_50_close_while_connects_fail() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        let held = it.take_held();
        it.fail(&held, FailureKind::Lost);
        let close = it.close();
        it.ok(close);
        it.elapse(secs(600));
        it.nothing_sent();
    }
}

#[test]
fn case_50_the_connect_fails_while_closing() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        let held = it.take_held();
        let close = it.close();
        it.take_on("/meta/disconnect");
        it.fail(&held, FailureKind::Lost);
        it.elapse(secs(5));
        it.ok(close);
        it.nothing_sent();
        assert_eq!(it.count(|event| matches!(event, Event::Retrying { .. })), 0);
    }
}

#[test]
fn what_comes_behind_the_word_that_ends_the_session_starts_nothing() {
    let mut it = Harness::connected(WebSocket);
    let held = it.take_held();
    it.story.clear();
    it.push(json!([
        {"channel": "/meta/disconnect"},
        {"channel": "/meta/connect", "id": held["id"], "successful": false, "advice": {"reconnect": "handshake"}},
    ]));
    assert_eq!(it.state(), State::Disconnected);
    let told: Vec<_> = it.story.iter().filter(|step| *step != "AdviceChanged").collect();
    assert_eq!(told, ["Closed"], "neither a loss nor an attempt to make it good");
    assert_eq!(it.cookie_resets, 0);
}

#[test]
fn case_51_bug_b10_the_server_ends_the_session() {
    for push in [
        json!([{"channel": "/meta/disconnect"}]),
        json!([{"channel": "/meta/disconnect", "successful": true}]),
    ] {
        let mut it = Harness::connected(WebSocket);
        it.take_held();
        let call = it.publish("/a", json!(1));
        it.take();
        it.push(push);
        assert_eq!(it.state(), State::Disconnected);
        it.err(call);
        let Some(Event::Closed(CloseReason::Server(_))) = it.events.last() else {
            panic!("{:?}", it.events.last());
        };
        it.elapse(secs(600));
        it.nothing_sent();
    }
}

#[test]
fn case_51_over_http_it_comes_with_the_held_connect() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.respond(
        &held,
        json!([{"channel": "/meta/disconnect"},
               {"channel": "/meta/connect", "id": held["id"], "successful": true, "advice": {"reconnect": "none"}}]),
    );
    assert_eq!(it.state(), State::Disconnected);
    assert_eq!(it.count(|event| matches!(event, Event::Closed(_))), 1);
    it.nothing_sent();
}

#[test]
fn case_52_giving_the_open_up_fails_every_call_and_sends_nothing_more() {
    let mut it = Harness::over(LongPolling);
    let open = it.open();
    let calls = it.burst([support::publish("/a", json!(1)), subscribe("/a", SinkId(1))]);
    it.take();
    it.input(Input::Forget(open));
    for call in calls {
        assert!(matches!(it.err(call), CallError::Closed(_)));
    }
    it.nothing_sent();
    assert_eq!(it.http_requests(), 0);
    it.elapse(secs(600));
    it.nothing_sent();
    let it = it.opened();
    assert_eq!(it.held()["clientId"], "client-1");
}

#[test]
fn case_52_all_that_waits_fails_when_the_session_is_closed_without_a_connection() {
    let mut it = Harness::connected(WebSocket);
    let held = it.take_held();
    it.fail(&held, FailureKind::Lost);
    let calls = it.burst([
        support::publish("/a", json!(1)),
        subscribe("/a", SinkId(1)),
        bayeux_proto::client::Operation::Request {
            channel: support::channel("/service/a"),
            data: json!(1).into(),
            timeout: None,
        },
    ]);
    it.close();
    for call in calls {
        assert!(matches!(it.err(call), CallError::Closed(CloseReason::Requested)));
    }
    it.nothing_sent();
}

#[test]
fn bug_b04_a_failed_open_leaves_nothing_running() {
    let mut settings = config(&[LongPolling]);
    settings.open_timeout = Some(secs(3));
    let mut it = Harness::new(settings);
    let open = it.open();
    let handshake = it.take();
    it.serve_one(&handshake);
    let connect = it.take();
    it.refuse(&connect, "500::no", json!({}));
    assert!(it.is_pending(open));
    it.elapse(secs(3));
    it.err(open);
    it.serve();
    it.elapse(secs(600));
    it.nothing_sent();
    assert_eq!(it.session().poll_timeout(), None);
}

#[test]
fn bug_b05_a_closed_session_can_be_opened_again_and_the_inbox_keeps_its_subscriptions() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.subscribe("/inbox");
        it.call(subscribe("/stream", SinkId(5)));
        it.serve();
        it.close();
        it.serve();
        it.elapse(secs(5));
        assert_eq!(it.state(), State::Disconnected);

        let open = it.open();
        let handshake = it.take_on("/meta/handshake");
        it.serve_one(&handshake);
        let subscribe = it.take_on("/meta/subscribe");
        assert_eq!(subscribe.each("subscription"), ["/inbox"], "the stream ended with its session");
        it.serve_one(&subscribe);
        it.serve();
        it.ok(open);
        assert_eq!(it.held()["clientId"], "client-2");
        it.event("/inbox", json!(1));
        assert_eq!(it.inbox(), ["1"]);
    }
}

#[test]
fn law_5_every_call_has_an_outcome_when_the_session_ends() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    let mut calls = it.batch(vec![support::publish("/a", json!(1)), subscribe("/a", SinkId(1))]);
    calls.push(it.request("/service/a", json!(1)));
    calls.push(it.unsubscribe("/a", SinkId(1)));
    calls.push(it.call(subscribe("/b", SinkId(1))));
    calls.push(it.call(subscribe("/b", SinkId(2))));
    it.grant(&held, json!({"advice": {"reconnect": "none"}}));
    for call in calls {
        it.outcome(call);
    }
    assert_eq!(it.session().pending(), 0);
}

#[test]
fn a_server_that_knows_the_session_no_more_is_not_asked_again_to_end_it() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    let close = it.close();
    let sent = it.take_on("/meta/disconnect");
    it.refuse(&sent, "402::session_unknown", json!({}));
    it.nothing_sent();
    it.grant(&held, json!({}));
    it.ok(close);
    assert_eq!(it.state(), State::Disconnected);
}

#[test]
fn a_disconnect_that_answers_something_else_does_not_end_the_session() {
    let mut it = Harness::connected(WebSocket);
    it.push(json!([{"channel": "/meta/disconnect", "id": "999", "successful": true}]));
    assert_eq!(it.state(), State::Connected);
}
