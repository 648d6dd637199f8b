//! Batches: calls that travel together.

mod support;

use bayeux_proto::client::{CallError, FailureKind};
use serde_json::json;
use support::{BOTH, Harness, INBOX, LongPolling, publish, subscribe};

#[test]
fn case_39_the_messages_of_a_batch_travel_in_one_payload_and_each_has_its_result() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.take_held();
        let calls = it.batch((0..3).map(|n| publish("/a", json!(n))).collect());
        let sent = it.take_on("/a");
        it.nothing_sent();
        assert_eq!(sent.each("data"), [&json!(0), &json!(1), &json!(2)]);
        let mut ids: Vec<_> = sent.each("id").into_iter().map(|id| id.as_str().unwrap()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 3);
        it.respond(
            &sent,
            json!([{"channel": "/a", "id": sent.messages[0]["id"], "successful": true},
                   {"channel": "/a", "id": sent.messages[1]["id"], "successful": false, "error": "403::no"},
                   {"channel": "/a", "id": sent.messages[2]["id"], "successful": true}]),
        );
        it.ok(calls[0]);
        assert!(matches!(it.err(calls[1]), CallError::Refused(_)));
        it.ok(calls[2]);
    }
}

#[test]
fn a_batch_may_mix_subscriptions_and_messages() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let calls = it.batch(vec![subscribe("/a", INBOX), publish("/a", json!(1))]);
    let sent = it.take();
    assert_eq!(sent.channels(), ["/meta/subscribe", "/a"]);
    it.serve_one(&sent);
    calls.into_iter().for_each(|call| drop(it.ok(call).clone()));
}

#[test]
fn a_batch_stays_together_however_large_it_is_and_whatever_waits_beside_it() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    it.publish("/x", json!(1));
    let busy = it.take();
    let single = it.publish("/b", json!("y".repeat(200_000)));
    let batch = it.batch((0..5).map(|_| publish("/a", json!("x".repeat(100_000)))).collect());
    it.serve_one(&busy);
    let first = it.take();
    assert_eq!(first.channels(), ["/b"], "the batch does not fit beside it");
    it.serve_one(&first);
    let second = it.take();
    assert_eq!(second.messages.len(), 5);
    it.serve_one(&second);
    it.ok(single);
    batch.into_iter().for_each(|call| drop(it.ok(call).clone()));
}

#[test]
fn calls_of_one_burst_share_a_payload() {
    for transport in BOTH {
        let mut it = Harness::connected(transport);
        it.take_held();
        it.burst((0..10).map(|n| publish("/a", json!(n))));
        assert_eq!(it.take().messages.len(), 10);
    }
}

#[test]
fn a_batch_that_breaks_fails_as_a_whole() {
    let mut it = Harness::connected(LongPolling);
    it.take_held();
    let calls = it.batch((0..3).map(|n| publish("/a", json!(n))).collect());
    let sent = it.take();
    it.fail(&sent, FailureKind::Http { status: 500 });
    for call in calls {
        assert!(matches!(it.err(call), CallError::Transport { fate_unknown: true, .. }));
    }
}
