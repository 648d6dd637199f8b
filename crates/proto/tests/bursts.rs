//! Bursts: several inputs before the outputs are taken. What an input of a burst gives up, the driver does not know yet, and it
//! may pass more about it.

mod support;

use bayeux_proto::Transport;
use bayeux_proto::client::{Event, FailureKind, Input, Operation, State};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, Sent, WebSocket, config, secs};

/// A session that acknowledges, whose connect is held.
fn acknowledged(transport: Transport) -> (Harness, Sent) {
    let mut it = Harness::over(transport);
    it.handshake_extra = json!({"ext": {"ack": true}});
    it.connect_extra = json!({"ext": {"ack": 1}, "advice": {"interval": 0, "timeout": 30_000}});
    let mut it = it.opened();
    it.subscribe("/a");
    it.serve();
    let held = it.take_held();
    it.events.clear();
    (it, held)
}

fn event_and_reply(held: &Sent, batch: u64) -> serde_json::Value {
    json!([{"channel": "/a", "data": batch},
        {"channel": "/meta/connect", "id": held["id"], "successful": true, "ext": {"ack": batch}}])
}

#[test]
fn what_comes_after_the_user_asked_for_a_new_connection_counts_once() {
    for transport in BOTH {
        let (mut it, held) = acknowledged(transport);
        it.be_busy(1);
        it.input(Input::Reconnect);
        it.respond(&held, event_and_reply(&held, 2));
        // The server sends again what was not acknowledged.
        let again = it.take_on("/meta/connect");
        assert_eq!(again["ext"]["ack"], 1, "{transport}");
        it.respond(&again, event_and_reply(&again, 2));
        assert_eq!(it.inbox(), ["2"], "{transport}");
        assert_eq!(it.take_on("/meta/connect")["ext"]["ack"], 2);
    }
}

#[test]
fn the_end_of_a_connection_that_the_user_gave_up_is_not_the_end_of_the_next() {
    for transport in BOTH {
        let (mut it, held) = acknowledged(transport);
        it.be_busy(1);
        it.input(Input::Reconnect);
        it.fail(&held, FailureKind::Lost);
        let again = it.take_on("/meta/connect");
        assert_eq!(it.count(|event| matches!(event, Event::Retrying { .. })), 0, "{transport}");
        it.respond(&again, event_and_reply(&again, 2));
        assert_eq!((it.state(), it.inbox()), (State::Connected, vec!["2".to_owned()]), "{transport}");
    }
}

#[test]
fn signs_of_life_of_a_connection_that_was_given_up_put_nothing_off() {
    for transport in BOTH {
        let (mut it, held) = acknowledged(transport);
        it.be_busy(2);
        it.input(Input::Reconnect);
        it.input(Input::Progress(held.exchange));
        it.input(if transport == WebSocket { Input::Arriving } else { Input::Progress(held.exchange) });
        let again = it.take_on("/meta/connect");
        it.elapse(secs(9));
        assert!(it.connects().iter().any(|sent| sent["id"] == again["id"]), "{transport}");
        it.elapse(secs(2));
        assert_eq!(it.count(|event| matches!(event, Event::Retrying { .. })), 1, "{transport}");
    }
}

#[test]
fn a_reply_in_the_burst_of_a_close_does_not_bring_the_session_back() {
    for transport in BOTH {
        let (mut it, held) = acknowledged(transport);
        it.be_busy(1);
        let close = it.call(Operation::Close);
        it.respond(&held, event_and_reply(&held, 2));
        it.serve();
        it.elapse(secs(10));
        it.ok(close);
        assert_eq!((it.state(), it.session().poll_timeout()), (State::Disconnected, None), "{transport}");
    }
}

#[test]
fn a_loss_in_the_burst_of_calls_costs_them_once() {
    let mut it = Harness::new(config(&[LongPolling])).opened();
    it.be_busy(2);
    let calls = [it.publish("/a", json!(1)), it.publish("/a", json!(2))];
    let held = it.held();
    it.fail(&held, FailureKind::Lost);
    it.elapse(secs(60));
    assert!(calls.iter().all(|call| !it.is_pending(*call)));
}
