//! Recovery: lost connections, lost sessions, and what is told about them.

mod support;

use bayeux_proto::client::{Event, Failure, FailureKind, Input, LostCause, SinkId, State};
use serde_json::{Value, json};
use support::{BOTH, Harness, INBOX, LongPolling, WebSocket, config, millis, secs};

fn unknown() -> Value {
    json!({"advice": {"reconnect": "handshake", "interval": 0}})
}

#[test]
fn case_12_a_lost_session_is_replaced_at_once_and_its_subscriptions_are_restored() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.subscribe("/a");
        it.call(support::subscribe("/b/*", SinkId(7)));
        it.serve();
        it.elapse(secs(20));
        let held = it.take_held();
        it.refuse(&held, "402::session_unknown", unknown());
        assert_eq!(it.state(), State::Handshaking);

        let handshake = it.take_on("/meta/handshake");
        assert!(handshake.message().get("clientId").is_none());
        it.serve_one(&handshake);
        let subscribe = it.take_on("/meta/subscribe");
        assert_eq!(subscribe.each("subscription"), ["/a", "/b/*"]);
        let connect = it.take_on("/meta/connect");
        for sent in [&subscribe, &connect] {
            assert!(sent.each("clientId").iter().all(|id| *id == "client-2"), "{sent:?}");
        }
        it.serve_one(&connect);
        assert_eq!(it.state(), State::Connecting, "not before the subscriptions are restored");
        it.serve_one(&subscribe);
        assert_eq!(it.state(), State::Connected);

        it.take_held();
        it.event("/b/x", json!("still here"));
        assert_eq!(it.received(SinkId(7)), ["\"still here\""]);
    }
}

#[test]
fn case_13_the_many_words_for_an_unknown_session_mean_the_same() {
    for error in ["403::Unknown client", "402::Unknown client", "401:x:Unknown client"] {
        for more in [unknown(), json!({})] {
            let mut it = Harness::connected(LongPolling);
            let held = it.take_held();
            it.refuse(&held, error, more.clone());
            let (handshake, pause) = it.wait_for("/meta/handshake");
            assert!(pause.is_zero(), "{error} {more}");
            it.serve_one(&handshake);
            it.serve();
            assert_eq!(it.held()["clientId"], "client-2");
        }
    }
}

#[test]
fn law_2_connected_is_said_after_all_is_restored_and_each_failure_is_told_and_tried_again() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/good");
    it.call(support::subscribe("/bad", SinkId(7)));
    it.serve();
    let connected = |it: &Harness| it.count(|event| matches!(event, Event::Connected { .. }));
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", unknown());
    let handshake = it.take();
    it.serve_one(&handshake);
    let subscribe = it.take_on("/meta/subscribe");
    let connect = it.take_on("/meta/connect");
    it.serve_one(&connect);
    assert_eq!(connected(&it), 1, "not connected again yet");
    let [bad, good] = &subscribe.messages[..] else { panic!("{subscribe:?}") };
    it.respond(
        &subscribe,
        json!([{"channel": "/meta/subscribe", "id": bad["id"], "subscription": "/bad", "successful": false,
                "error": "503::later"},
               {"channel": "/meta/subscribe", "id": good["id"], "subscription": "/good", "successful": true}]),
    );
    assert_eq!(connected(&it), 2);
    let (sinks, channel, error) = &it.lost[0];
    assert_eq!((sinks.as_slice(), channel.as_str()), (&[SinkId(7)][..], "/bad"));
    assert_eq!(error.server_error().unwrap().code(), Some(503));
    let outcomes: Vec<_> = it
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Resubscribed { channel, outcome, .. } => Some((channel.as_str(), outcome.is_ok())),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [("/bad", false), ("/good", true)]);

    // It is tried again, with growing pauses, until it is granted.
    it.take_held();
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let (again, pause) = it.wait_for("/meta/subscribe");
        assert_eq!(again["subscription"], "/bad");
        pauses.push(pause.as_secs());
        it.refuse(&again, "503::later", json!({}));
    }
    assert_eq!(pauses, [1, 2, 4]);
    let (again, _) = it.wait_for("/meta/subscribe");
    it.serve_one(&again);
    it.elapse(secs(20));
    it.nothing_sent();
    it.event("/bad", json!(1));
    assert_eq!(it.received(SinkId(7)), ["1"]);
}

#[test]
fn bug_b03_a_subscription_that_cannot_be_restored_is_not_lost_silently() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", unknown());
    let handshake = it.take();
    it.serve_one(&handshake);
    let subscribe = it.take_on("/meta/subscribe");
    it.refuse(&subscribe, "403::denied", json!({}));
    assert_eq!(it.lost.len(), 1);
    assert_eq!(it.lost[0].0, [INBOX]);
    let wanted: Vec<_> = it.session().subscriptions().map(|channel| channel.as_str()).collect();
    assert_eq!(wanted, ["/a"], "it is still wanted");
}

#[test]
fn request_01_a_subscription_whose_request_was_lost_with_the_connection_is_asked_for_again() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.subscribe("/a");
        it.serve();
        let held = it.take_held();
        it.refuse(&held, "402::session_unknown", unknown());
        let handshake = it.take();
        it.serve_one(&handshake);
        it.take_on("/meta/subscribe");
        it.cut(FailureKind::Lost);
        assert_eq!(it.state(), State::Unconnected);
        // The session goes on, and asks before it says that it is connected.
        it.elapse(secs(5));
        it.serve();
        it.elapse(secs(5));
        assert_eq!(it.state(), State::Connected, "{transport}");
        assert!(it.lost.is_empty(), "{transport}: {:?}", it.lost);
        assert_eq!(it.story.iter().filter(|step| *step == "send /meta/subscribe").count(), 3);
        assert_eq!(it.count(|event| matches!(event, Event::Resubscribed { outcome: Ok(()), .. })), 1);
    }
}

#[test]
fn law_6_a_new_session_says_that_messages_may_have_been_missed() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), 0);
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", unknown());
    it.serve();
    let gaps: Vec<_> = it
        .events
        .iter()
        .filter_map(|event| match event {
            Event::GapPossible { channels, .. } => Some(channels.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(gaps, [[support::channel("/a")]]);
    let told = it.story.iter().position(|step| step == "GapPossible");
    let connected = it.story.iter().rposition(|step| step == "Connected");
    assert!(told < connected);
}

#[test]
fn law_6_so_does_a_lost_connection_unless_the_server_sends_again_what_was_lost() {
    for (ack, kind, expected) in [
        (false, FailureKind::Lost, 1),
        (false, FailureKind::Http { status: 502 }, 1),
        (false, FailureKind::Unreachable, 0),
        (true, FailureKind::Lost, 0),
    ] {
        let mut it = Harness::over(LongPolling);
        if ack {
            it.handshake_extra = json!({"ext": {"ack": true}});
        }
        it = it.opened();
        it.subscribe("/a");
        it.serve();
        let held = it.take_held();
        it.fail(&held, kind);
        it.elapse(secs(1));
        it.serve();
        assert_eq!(it.state(), State::Connected);
        assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), expected, "{ack} {kind:?}");
    }
}

#[test]
fn law_6_and_so_does_a_lost_response_because_events_ride_on_any() {
    for (ack, kind, expected) in [
        (false, FailureKind::Lost, 1),
        (false, FailureKind::Malformed, 1),
        (false, FailureKind::Unreachable, 0),
        (true, FailureKind::Lost, 0),
    ] {
        let mut it = Harness::over(LongPolling);
        if ack {
            it.handshake_extra = json!({"ext": {"ack": true}});
        }
        it = it.opened();
        it.subscribe("/a");
        it.serve();
        it.publish("/b", json!(1));
        let sent = it.take_on("/b");
        it.fail(&sent, kind);
        assert_eq!(it.state(), State::Connected);
        assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), expected, "{ack} {kind:?}");
    }
}

#[test]
fn bug_b02_sessions_that_are_refused_at_once_are_not_asked_for_without_a_pause() {
    for transport in BOTH {
        let mut settings = config(&[transport]);
        settings.open_timeout = None;
        let mut it = Harness::new(settings);
        it.handshake_extra = json!({"advice": {"interval": 0}});
        let open = it.open();
        let begun = it.now();
        let mut connects = 0;
        while it.now().since(begun) < secs(60) {
            let connect = it.wait_until("/meta/connect");
            connects += 1;
            assert!(connects <= 7, "{transport}: {connects} sessions in less than a minute");
            it.refuse(&connect, "402::session_unknown", unknown());
        }
        assert!(it.is_pending(open));
        assert_ne!(it.state(), State::Connected);
        assert!(it.cookie_resets > 0, "the cookies may be at fault");
    }
}

#[test]
fn request_06_sessions_that_do_not_last_are_asked_for_with_growing_pauses() {
    // Each session gets as far as its second connect: a success, but not one that lasts.
    let mut it = Harness::connected(LongPolling);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        it.elapse(millis(50));
        let held = it.take_held();
        it.refuse(&held, "402::session_unknown", unknown());
        let (handshake, pause) = it.wait_for("/meta/handshake");
        pauses.push(pause.as_secs());
        it.serve_one(&handshake);
        it.serve();
    }
    assert_eq!(pauses, [0, 1, 2, 4, 8, 16], "the first time is forgiven");
    // One that lasts makes good for them.
    it.elapse(secs(15));
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", unknown());
    it.take_on("/meta/handshake");
}

#[test]
fn law_3_connections_that_do_not_last_are_made_again_with_growing_pauses() {
    let mut it = Harness::connected(WebSocket);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        it.elapse(millis(50));
        let held = it.take_held();
        it.fail(&held, FailureKind::Closed { code: 1011 });
        let (probe, pause) = it.wait_for("/meta/connect");
        pauses.push(pause.as_secs());
        it.serve_one(&probe);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
}

#[test]
fn law_1_a_reply_with_another_id_is_no_reply_to_the_outstanding_connect() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.subscribe("/a");
        it.serve();
        let held = it.take_held();
        let stray = json!([{"channel": "/meta/connect", "id": "999", "successful": true},
                           {"channel": "/meta/connect", "id": "abc", "successful": false,
                            "error": "402::x", "advice": {"reconnect": "handshake"}}]);
        if transport == WebSocket {
            it.push(stray);
            it.nothing_sent();
            assert_eq!(it.held()["id"], held["id"]);
        } else {
            it.respond(&held, stray);
            // The request is over and its answer did not come: a failure, with a pause.
            it.nothing_sent();
            assert_eq!(it.state(), State::Unconnected);
        }
        assert_eq!(it.count(|event| matches!(event, Event::Rehandshaken)), 0);
    }
}

#[test]
fn a_publish_that_is_refused_for_an_unknown_session_goes_out_again_in_the_new_one() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.take_held();
        let call = it.publish("/a", json!(1));
        let sent = it.take();
        it.refuse(&sent, "402::session_unknown", json!({}));
        it.serve();
        it.ok(call);
        assert_eq!(it.count(|event| matches!(event, Event::Rehandshaken)), 1);
        assert_eq!(it.story.iter().filter(|step| *step == "send /a").count(), 2);
        assert_eq!(it.state(), State::Connected);
    }
}

#[test]
fn a_hung_request_of_the_old_session_does_not_block_the_new_one() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    let held = it.take_held();
    // A subscription whose response never comes, and then the session is lost.
    let call = it.subscribe("/b");
    let hung = it.take_on("/meta/subscribe");
    it.refuse(&held, "402::session_unknown", unknown());
    let handshake = it.take();
    it.serve_one(&handshake);
    assert_eq!(it.cancelled, [hung.exchange]);
    let subscribe = it.take_on("/meta/subscribe");
    assert_eq!(subscribe.each("subscription"), ["/a", "/b"]);
    it.serve_one(&subscribe);
    it.serve();
    it.ok(call);
    assert_eq!(it.state(), State::Connected);
}

#[test]
fn a_subscription_in_the_making_waits_no_longer_because_the_session_is_lost() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    let call = it.subscribe("/b");
    it.refuse(&held, "402::session_unknown", unknown());
    assert_eq!(it.fail_until_resolved(call, FailureKind::Unreachable), secs(10));
}

#[test]
fn a_subscription_that_is_being_restored_is_not_lost_because_the_next_session_is_long_in_coming() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", unknown());
    let handshake = it.take();
    it.serve_one(&handshake);
    it.take_on("/meta/subscribe");
    let connect = it.take_on("/meta/connect");
    it.refuse(&connect, "402::session_unknown", unknown());
    let begun = it.now();
    while it.now().since(begun) < secs(120) {
        let (handshake, _) = it.wait_for("/meta/handshake");
        it.fail(&handshake, FailureKind::Unreachable);
    }
    assert!(it.lost.is_empty(), "{:?}", it.lost);
    assert_eq!(it.count(|event| matches!(event, Event::Resubscribed { .. })), 0);
    let subscribe = it.wait_until("/meta/subscribe");
    assert_eq!(subscribe.each("subscription"), ["/a"]);
    it.serve_one(&subscribe);
    it.serve();
    assert_eq!(it.state(), State::Connected);
}

#[test]
fn a_subscription_that_was_taken_back_and_asked_for_again_goes_once_into_the_new_session() {
    let mut it = Harness::connected(WebSocket);
    let held = it.take_held();
    let first = it.subscribe("/a");
    let taken_back = it.unsubscribe("/a", INBOX);
    let second = it.subscribe("/a");
    for _ in 0..3 {
        it.take();
    }
    it.refuse(&held, "402::session_unknown", unknown());
    let subscribe = it.wait_until("/meta/subscribe");
    assert_eq!(subscribe.channels(), ["/meta/subscribe"]);
    it.serve_one(&subscribe);
    it.serve();
    it.err(first);
    it.ok(taken_back);
    it.ok(second);
    assert_eq!(it.story.iter().filter(|step| step.contains("/meta/subscribe")).count(), 3);
}

#[test]
fn what_comes_back_from_the_old_session_waits_until_the_subscriptions_are_restored_in_the_new_one() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    let held = it.take_held();
    it.publish("/b", json!(1));
    let old = it.take_on("/b");
    it.refuse(&held, "402::session_unknown", unknown());
    let handshake = it.take_on("/meta/handshake");
    it.serve_one(&handshake);
    // The lane is still taken.
    assert!(it.take_if("/meta/subscribe").is_none());
    it.refuse(&old, "402::session_unknown", unknown());
    let sent = it.wait_until("/meta/subscribe");
    assert_eq!(sent.channels(), ["/meta/subscribe", "/b"]);
}

#[test]
fn subscriptions_whose_restoring_did_not_get_out_stay_before_what_was_asked_for_meanwhile() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", unknown());
    let handshake = it.take_on("/meta/handshake");
    it.publish("/b", json!(1));
    it.serve_one(&handshake);
    for _ in 0..2 {
        let sent = it.wait_until("/meta/subscribe");
        assert_eq!(sent.channels(), ["/meta/subscribe", "/b"]);
        it.fail(&sent, FailureKind::Unreachable);
    }
}

#[test]
fn request_03_the_life_of_a_connection_is_told_in_order() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    it.story.clear();
    let held = it.take_held();
    it.fail(&held, FailureKind::Lost);
    let (probe, _) = it.wait_for("/meta/connect");
    it.refuse(&probe, "402::session_unknown", unknown());
    it.elapse(secs(5));
    it.serve();
    let told: Vec<_> =
        it.story.iter().filter(|step| !step.contains(' ') && *step != "AdviceChanged").collect();
    assert_eq!(told, ["Lost", "Retrying", "Rehandshaken", "GapPossible", "Resubscribed", "Connected"]);
    assert!(matches!(&it.events[it.events.len() - 1], Event::Connected { transport: LongPolling, .. }));
}

#[test]
fn case_11_events_go_on_after_the_connection_was_lost_and_found() {
    let mut it = Harness::connected(WebSocket);
    it.subscribe("/a");
    it.serve();
    let held = it.take_held();
    it.fail(&held, FailureKind::Lost);
    it.elapse(secs(1));
    it.serve();
    it.push(json!([{"channel": "/a", "data": 1}]));
    assert_eq!(it.inbox(), ["1"]);
    assert_eq!(it.session().lost_since(), None);
    assert!(matches!(
        it.events.iter().find(|event| matches!(event, Event::Lost { .. })),
        Some(Event::Lost { cause: LostCause::Transport(_), .. })
    ));
}

#[test]
fn law_6_what_the_server_never_granted_cannot_have_been_missed() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/service/a");
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    it.serve();
    assert_eq!(it.state(), State::Connected);
    assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), 0);
}

#[test]
fn a_late_word_about_the_old_session_does_not_end_the_new_one() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    let call = it.publish("/a", json!(1));
    let late = it.take_on("/a");
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    it.serve();
    assert_eq!(it.state(), State::Connected);
    it.refuse(&late, "402::session_unknown", json!({}));
    assert_eq!(it.state(), State::Connected);
    let again = it.take_on("/a");
    assert_eq!(again["clientId"], "client-2");
    it.serve_one(&again);
    it.ok(call);
}

#[test]
fn the_end_of_a_socket_during_a_pause_between_handshakes_prolongs_nothing() {
    let mut it = Harness::connected(WebSocket);
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    let handshake = it.take_on("/meta/handshake");
    it.refuse(&handshake, "500::busy", json!({}));
    it.input(Input::TransportLost(Failure::new(FailureKind::Lost, "cut")));
    let (_, pause) = it.wait_for("/meta/handshake");
    assert_eq!(pause, secs(1));
}
