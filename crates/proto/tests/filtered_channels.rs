//! Channels with a filter, as Salesforce has them: asked for as they are given; their messages come on the plain channel.

mod support;

use bayeux_proto::client::{Event, FailureKind, SinkId};
use serde_json::json;
use support::{Harness, INBOX, LongPolling, WebSocket, subscribe};

const FILTERED: &str = "/topic/T?Industry='Energy'";

#[test]
fn its_messages_reach_the_inbox_and_streams() {
    for transport in [LongPolling, WebSocket] {
        let mut it = Harness::connected(transport);
        it.take_any();
        let stream = SinkId(1);
        let inbox = it.subscribe(FILTERED);
        let sent = it.take_on("/meta/subscribe");
        assert_eq!(sent["subscription"], FILTERED);
        it.grant(&sent, json!({"subscription": FILTERED}));
        it.ok(inbox);
        let call = it.call(subscribe("/topic/T?Industry='Media'", stream));
        it.serve();
        it.ok(call);
        it.event("/topic/T", json!(1));
        it.event("/topic/U", json!(2));
        assert_eq!((it.inbox(), it.received(stream)), (vec!["1".to_owned()], vec!["1".to_owned()]));
    }
}

#[test]
fn with_the_plain_channel_beside_it_each_message_comes_once() {
    let mut it = Harness::connected(WebSocket);
    it.take_any();
    it.subscribe(FILTERED);
    it.subscribe("/topic/T");
    it.serve();
    it.event("/topic/T", json!(1));
    assert_eq!(it.inbox(), ["1"]);
    let call = it.unsubscribe(FILTERED, INBOX);
    let sent = it.take_on("/meta/unsubscribe");
    assert_eq!(sent["subscription"], FILTERED);
    it.serve_one(&sent);
    it.ok(call);
    it.event("/topic/T", json!(2));
    assert_eq!(it.inbox(), ["1", "2"], "the plain one is still there");
    it.unsubscribe("/topic/T", INBOX);
    it.serve();
    it.event("/topic/T", json!(3));
    assert_eq!(it.inbox(), ["1", "2"]);
}

#[test]
fn it_is_restored_as_it_was_given() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe(FILTERED);
    it.serve();
    let held = it.held();
    it.refuse(&held, "402::unknown", json!({"advice": {"reconnect": "handshake"}}));
    let (handshake, _) = it.wait_for("/meta/handshake");
    it.serve_one(&handshake);
    let sent = it.take_on("/meta/subscribe");
    assert_eq!(sent["subscription"], FILTERED);
    it.serve_one(&sent);
    it.serve();
    let gap = |event: &Event| matches!(event, Event::GapPossible { channels, .. } if channels == &[support::channel(FILTERED)]);
    assert_eq!(it.count(gap), 1);
    it.event("/topic/T", json!(1));
    assert_eq!(it.inbox(), ["1"]);
    it.cut(FailureKind::Lost);
}
