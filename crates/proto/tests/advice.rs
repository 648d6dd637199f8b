//! Advice: obeyed wherever it stands, in milliseconds, and merged over what is known.

mod support;

use bayeux_proto::Interval;
use bayeux_proto::client::{Event, FailureKind};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, WebSocket, millis, secs};

fn last_interval(it: &Harness) -> Option<Interval> {
    it.events.iter().rev().find_map(|event| match event {
        Event::AdviceChanged(advice) => Some(advice.interval),
        _ => None,
    })?
}

#[test]
fn law_4_advice_is_taken_from_any_reply_successful_or_not() {
    for transport in BOTH {
        for channel in ["/a", "/meta/subscribe", "/meta/connect"] {
            for successful in [true, false] {
                let mut it = Harness::connected(transport);
                let held = it.take_held();
                it.elapse(secs(20));
                let sent = match channel {
                    "/a" => {
                        it.publish("/a", json!(1));
                        it.take()
                    }
                    "/meta/subscribe" => {
                        it.subscribe("/b");
                        it.take()
                    }
                    _ => held.clone(),
                };
                let advice = json!({"advice": {"interval": 3000}});
                if successful {
                    it.grant(&sent, advice);
                } else {
                    it.refuse(&sent, "403:denied:denied", advice);
                }
                if channel != "/meta/connect" {
                    it.grant(&held, json!({}));
                }
                let (_, pause) = it.wait_for("/meta/connect");
                assert_eq!(pause, secs(3), "{transport} {channel} {successful}");
            }
        }
    }
}

#[test]
fn law_4_and_from_an_event() {
    let mut it = Harness::connected(WebSocket);
    let held = it.take_held();
    it.push(json!([{"channel": "/a", "data": 1, "advice": {"interval": 1500}}]));
    assert_eq!(last_interval(&it), Some(Interval::Wait(millis(1500))));
    it.grant(&held, json!({}));
    let (_, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, millis(1500));
}

#[test]
fn bug_b01_the_interval_is_milliseconds() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"interval": 3}}));
    let (_, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, millis(3));
}

#[test]
fn bug_b07_a_part_of_the_advice_leaves_the_rest_as_it_was() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"reconnect": "retry"}}));
    let held = it.take_on("/meta/connect");
    // The timeout of 30 s is still known: the deadline is 40 s, not 10 s and not for ever.
    it.elapse(secs(40) - millis(1));
    assert!(it.cancelled.is_empty());
    it.elapse(millis(1));
    assert_eq!(it.cancelled, [held.exchange]);
}

#[test]
fn unchanged_advice_is_not_told_again() {
    let mut it = Harness::connected(LongPolling);
    let told = |it: &Harness| it.count(|event| matches!(event, Event::AdviceChanged(_)));
    let before = told(&it);
    for _ in 0..3 {
        let held = it.take_held();
        it.grant(&held, json!({"advice": {"reconnect": "retry", "interval": 0, "timeout": 30_000}}));
        it.elapse(secs(1));
    }
    assert_eq!(told(&it), before);
}

#[test]
fn an_unknown_word_of_advice_stops_the_session() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.refuse(&held, "400::odd", json!({"advice": {"reconnect": "perhaps"}}));
    it.elapse(secs(600));
    it.nothing_sent();
}

#[test]
fn a_failure_does_not_undercut_the_advised_interval() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"interval": 20_000}}));
    let (connect, _) = it.wait_for("/meta/connect");
    it.fail(&connect, FailureKind::Http { status: 500 });
    let (_, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, secs(20));
}

#[test]
fn the_old_sessions_word_to_handshake_is_no_advice_to_the_new_one() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake", "interval": 0}}));
    it.handshake_extra = json!({});
    it.connect_extra = json!({});
    it.serve();
    let held = it.held();
    it.grant(&held, json!({}));
    it.take_on("/meta/connect");
}

#[test]
fn advice_beyond_all_reason_does_no_harm() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"interval": 1e300, "timeout": 1e300, "maxInterval": 1e300}}));
    it.elapse(secs(3599));
    it.nothing_sent();
    // As long as the longest wait that is allowed, and no longer.
    it.elapse(secs(2));
    it.take_on("/meta/connect");
}
