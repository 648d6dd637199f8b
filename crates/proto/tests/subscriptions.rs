//! Subscriptions: one at the server for any number of receivers, and where a message goes.

mod support;

use bayeux_proto::Channel;
use bayeux_proto::client::{CallError, Event, FailureKind, Input, Output, SinkId};
use bayeux_proto::codec::Decoder;
use bytes::Bytes;
use serde_json::json;
use support::{BOTH, Harness, LongPolling, WebSocket, channel, subscribe};

const ONE: SinkId = SinkId(1);
const TWO: SinkId = SinkId(2);
const THREE: SinkId = SinkId(3);

#[test]
fn case_43_two_receivers_share_one_subscription_until_the_last_has_gone() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.take_held();
        let first = it.call(subscribe("/foo", ONE));
        let sent = it.take_on("/meta/subscribe");
        assert_eq!(sent.message()["subscription"], "/foo");
        let second = it.call(subscribe("/foo", TWO));
        it.nothing_sent();
        assert!(it.is_pending(second), "nobody knows yet whether it is granted");
        it.serve_one(&sent);
        it.ok(first);
        it.ok(second);
        let third = it.call(subscribe("/foo", THREE));
        it.ok(third);
        it.nothing_sent();

        for sink in [ONE, THREE] {
            let call = it.unsubscribe("/foo", sink);
            assert!(it.ok(call).is_successful());
            it.nothing_sent();
        }
        let last = it.unsubscribe("/foo", TWO);
        let sent = it.take_on("/meta/unsubscribe");
        assert_eq!(sent.message()["subscription"], "/foo");
        it.serve_one(&sent);
        it.ok(last);
        assert_eq!(it.session().subscriptions().count(), 0);
    }
}

#[test]
fn case_44_a_refused_subscription_fails_and_leaves_nothing_behind() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    let calls = [it.call(subscribe("/foo", ONE)), it.call(subscribe("/foo", TWO))];
    let sent = it.take_on("/meta/subscribe");
    it.refuse(&sent, "403:denied_by_security_policy:subscribe_denied", json!({}));
    for call in calls {
        assert_eq!(it.err(call).server_error().unwrap().code(), Some(403));
    }
    it.event("/foo", json!(1));
    assert!(it.delivered.is_empty());
    assert_eq!(it.session().subscriptions().count(), 0);
    it.call(subscribe("/foo", ONE));
    it.take_on("/meta/subscribe");
}

#[test]
fn case_45_an_event_reaches_each_receiver_once_the_most_exact_name_first() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.batch(vec![subscribe("/a/*", ONE), subscribe("/a/b", TWO), subscribe("/**", THREE)]);
        it.serve();
        it.event("/a/b", json!(1));
        let order: Vec<_> = it.delivered.iter().map(|(sink, _)| *sink).collect();
        assert_eq!(order, [TWO, ONE, THREE]);
    }
}

#[test]
fn case_46_one_star_takes_one_segment_and_two_take_any() {
    let mut it = Harness::connected(WebSocket);
    it.batch(vec![subscribe("/foo/*", ONE), subscribe("/foo/**", TWO)]);
    it.serve();
    for name in ["/foo", "/foo/a", "/foo/a/b", "/foobar"] {
        it.event(name, json!(name));
    }
    assert_eq!(it.received(ONE), ["\"/foo/a\""]);
    assert_eq!(it.received(TWO), ["\"/foo/a\"", "\"/foo/a/b\""]);
}

#[test]
fn case_47_names_are_normalised_on_both_ways_and_bad_ones_never_get_into_a_session() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    it.call(subscribe("/foo/", ONE));
    let sent = it.take_on("/meta/subscribe");
    assert_eq!(sent.message()["subscription"], "/foo");
    it.serve_one(&sent);
    let again = it.call(subscribe("/foo", ONE));
    it.ok(again);
    it.nothing_sent();
    it.event("/foo/", json!(1));
    assert_eq!(it.received(ONE), ["1"]);
    for bad in ["/", "", "foo", "/a//b", "/foo/*/bar", "/a\tb", "/a?\u{9b}x"] {
        assert!(Channel::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn case_31_falsy_data_is_delivered() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.subscribe("/a");
        it.serve();
        for data in [json!(false), json!(0), json!(""), json!(null)] {
            it.event("/a", data);
        }
        assert_eq!(it.inbox(), ["false", "0", "\"\"", "null"]);
    }
}

#[test]
fn case_33_no_receiver_stands_in_the_way_of_another_or_of_the_loop() {
    // Receivers are the shell's: the session only names them, all at once, and goes on.
    let mut it = Harness::connected(LongPolling);
    it.batch(vec![subscribe("/a", ONE), subscribe("/a", TWO)]);
    it.serve();
    it.event("/a", json!(1));
    it.take_on("/meta/connect");
    assert_eq!((it.received(ONE).len(), it.received(TWO).len()), (1, 1));
}

#[test]
fn meta_channels_cannot_be_subscribed_to() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let call = it.subscribe("/meta/connect");
    assert!(matches!(it.err(call), CallError::WrongChannel { .. }));
    it.nothing_sent();
}

#[test]
fn a_service_channel_is_listened_to_without_a_word_to_the_server() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    let call = it.call(subscribe("/service/news", ONE));
    it.ok(call);
    it.nothing_sent();
    it.event("/service/news", json!(1));
    assert_eq!(it.received(ONE), ["1"]);
    let call = it.unsubscribe("/service/news", ONE);
    it.ok(call);
    it.nothing_sent();
}

#[test]
fn what_was_never_subscribed_to_cannot_be_unsubscribed_from() {
    let mut it = Harness::connected(LongPolling);
    it.call(subscribe("/a", ONE));
    it.serve();
    let call = it.unsubscribe("/a", TWO);
    assert_eq!(it.err(call), &CallError::NotSubscribed(channel("/a")));
    it.nothing_sent();
}

#[test]
fn a_subscription_that_was_asked_for_before_the_session_stands_is_asked_for_once() {
    let mut it = Harness::over(WebSocket);
    it.open();
    let calls = [it.call(subscribe("/a", ONE)), it.call(subscribe("/b", ONE))];
    it.serve();
    for call in calls {
        it.ok(call);
    }
    it.event("/a", json!(1));
    assert_eq!(it.received(ONE), ["1"]);
    let asked = it.story.iter().filter(|step| step.contains("/meta/subscribe")).collect::<Vec<_>>();
    assert_eq!(asked, ["send /meta/subscribe /meta/subscribe"]);
}

#[test]
fn a_subscription_that_is_taken_back_before_its_turn_is_never_sent() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    it.publish("/x", json!(1));
    let busy = it.take();
    let subscribed = it.call(subscribe("/a", ONE));
    let unsubscribed = it.unsubscribe("/a", ONE);
    assert_eq!(it.err(subscribed), &CallError::NotSubscribed(channel("/a")));
    it.ok(unsubscribed);
    it.serve_one(&busy);
    it.nothing_sent();
}

#[test]
fn a_subscription_that_is_taken_back_on_its_way_is_unsubscribed_at_the_server() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    it.call(subscribe("/a", ONE));
    let subscribe = it.take_on("/meta/subscribe");
    let unsubscribed = it.unsubscribe("/a", ONE);
    let unsubscribe = it.take_on("/meta/unsubscribe");
    it.serve_one(&subscribe);
    it.serve_one(&unsubscribe);
    it.ok(unsubscribed);
    assert_eq!(it.session().subscriptions().count(), 0);
    it.event("/a", json!(1));
    assert!(it.delivered.is_empty());
}

#[test]
fn a_receiver_that_goes_unheard_still_unsubscribes() {
    let mut it = Harness::connected(LongPolling);
    it.call(subscribe("/a", ONE));
    it.serve();
    it.publish("/x", json!(1));
    let busy = it.take_on("/x");
    let call = it.unsubscribe("/a", ONE);
    it.input(Input::Forget(call));
    it.serve_one(&busy);
    it.take_on("/meta/unsubscribe");
}

#[test]
fn an_event_that_rides_before_the_reply_to_the_subscribe_is_delivered() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    it.call(subscribe("/a", ONE));
    let sent = it.take();
    it.push(json!([{"channel": "/a", "data": 1},
                   {"channel": "/meta/subscribe", "id": sent["id"], "subscription": "/a", "successful": true}]));
    assert_eq!(it.received(ONE), ["1"]);
}

#[test]
fn bug_b15_a_list_of_subscriptions_in_a_reply_is_understood() {
    let mut it = Harness::connected(WebSocket);
    it.take_held();
    let call = it.call(subscribe("/a", ONE));
    let sent = it.take();
    it.push(
        json!([{"channel": "/meta/subscribe", "id": sent["id"], "subscription": ["/a"], "successful": true}]),
    );
    it.ok(call);

    // And a reply that grants nothing is a refusal.
    let call = it.call(subscribe("/b", ONE));
    let sent = it.take();
    it.push(json!([{"channel": "/meta/subscribe", "id": sent["id"], "subscription": ["/b"]}]));
    assert!(matches!(it.err(call), CallError::Refused(_)));
}

#[test]
fn bug_b09_a_reply_without_id_is_matched_by_its_subscription() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.take_held();
        let calls = it.batch(vec![subscribe("/a", ONE), subscribe("/b", ONE)]);
        let sent = it.take();
        it.respond(
            &sent,
            json!([{"channel": "/meta/subscribe", "subscription": "/b", "successful": false, "error": "403::no"},
                   {"channel": "/meta/subscribe", "subscription": "/a", "successful": true}]),
        );
        it.ok(calls[0]);
        it.err(calls[1]);
    }
}

#[test]
fn a_second_receiver_of_a_subscription_that_could_not_be_restored_asks_again() {
    let mut it = Harness::connected(LongPolling);
    it.call(subscribe("/a", ONE));
    it.serve();
    let held = it.take_held();
    it.refuse(&held, "402::x", json!({"advice": {"reconnect": "handshake"}}));
    let handshake = it.take();
    it.serve_one(&handshake);
    let refused = it.take_on("/meta/subscribe");
    it.refuse(&refused, "503::later", json!({}));
    it.take_on("/meta/connect");

    let call = it.call(subscribe("/a", TWO));
    let again = it.take_on("/meta/subscribe");
    it.refuse(&again, "403::no", json!({}));
    it.err(call);
    assert_eq!(it.lost.last().unwrap().0, [ONE], "the first one is still to be restored");

    // Its own receiver asks: then the answer is final, and nothing is tried again behind its back.
    let call = it.call(subscribe("/a", ONE));
    let again = it.take_on("/meta/subscribe");
    it.refuse(&again, "403::no", json!({}));
    it.err(call);
    assert_eq!(it.session().subscriptions().count(), 0);
    it.elapse(support::secs(30));
    assert_eq!(it.take_if("/meta/subscribe").map(|sent| sent.messages), None);
}

#[test]
fn the_version_of_the_subscriptions_tells_of_changes() {
    let mut it = Harness::connected(LongPolling);
    let before = it.session().subscriptions_version();
    it.subscribe("/a");
    it.serve();
    assert_ne!(it.session().subscriptions_version(), before);
    let names: Vec<_> = it.session().subscriptions().map(Channel::as_str).collect();
    assert_eq!(names, ["/a"]);
}

#[test]
fn a_subscribe_that_is_not_found_fails_at_once_and_one_that_comes_too_often_does_not() {
    for (status, fails) in [(404, true), (403, true), (429, false), (503, false)] {
        let mut it = Harness::connected(LongPolling);
        it.take_held();
        let call = it.subscribe("/a");
        let sent = it.take();
        it.fail(&sent, FailureKind::Http { status });
        assert_eq!(!it.is_pending(call), fails, "{status}");
        if fails {
            let CallError::Transport { failure, .. } = it.err(call) else { panic!("{status}") };
            assert_eq!(failure.http_status(), Some(status));
        }
    }
}

#[test]
fn a_subscribe_that_broke_on_its_way_is_sent_again() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.take_held();
        let call = it.subscribe("/a");
        let sent = it.take();
        it.fail(&sent, FailureKind::Lost);
        assert!(it.is_pending(call), "asking twice is the same as asking once");
        let again = it.wait_until("/meta/subscribe");
        it.serve_one(&again);
        it.ok(call);
        assert_eq!(it.count(|event| matches!(event, Event::Resubscribed { .. })), 0);
    }
}

#[test]
fn a_receiver_that_waits_no_more_hears_nothing_and_the_other_does() {
    let mut it = Harness::connected(LongPolling);
    let [first, second] = [ONE, TWO].map(|sink| it.call(subscribe("/a", sink)));
    it.input(Input::Forget(first));
    it.serve();
    it.ok(second);
    assert!(it.is_pending(first));
}

#[test]
fn an_event_for_nobody_is_handed_to_nobody() {
    let mut it = Harness::connected(WebSocket);
    it.story.clear();
    it.event("/nobody", json!(1));
    assert!(it.story.is_empty(), "{:?}", it.story);
}

#[test]
fn events_of_one_frame_for_the_same_receivers_are_handed_over_together() {
    let mut it = Harness::connected(WebSocket);
    it.subscribe("/a");
    it.serve();
    let body = br#"[{"channel": "/a", "data": 1}, {"channel": "/a", "data": 2}]"#;
    let messages = Decoder::new().decode(&Bytes::from_static(body)).unwrap().messages;
    it.driver.pass(Input::Received { exchange: None, messages });
    let mut sizes = Vec::new();
    while let Some(output) = it.driver.poll() {
        let Output::Deliver { messages, .. } = output else { continue };
        sizes.push(messages.len());
    }
    assert_eq!(sizes, [2]);
}
