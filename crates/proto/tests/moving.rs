//! A session that is moved to another transport, and is not known there, or finds nobody there.

mod support;

use bayeux_proto::Transport;
use bayeux_proto::client::{Event, FailureKind, State};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, Sent, WebSocket, config, secs};

/// A session over the first of the transports, whose next connect goes out over the other, after four failures.
fn moved(order: [Transport; 2]) -> (Harness, Sent) {
    let mut it = Harness::new(config(&order)).opened();
    it.subscribe("/a");
    it.serve();
    it.elapse(secs(20));
    let mut connect = it.held();
    while it.take_any().is_some() {}
    for _ in 0..4 {
        assert_eq!(connect.transport, order[0]);
        it.fail(&connect, FailureKind::Lost);
        (connect, _) = it.wait_for("/meta/connect");
    }
    assert_eq!(connect.transport, order[1]);
    it.events.clear();
    (it, connect)
}

fn unknown(it: &mut Harness, connect: &Sent) {
    it.refuse(connect, "402::session_unknown", json!({"advice": {"reconnect": "handshake", "interval": 0}}));
}

#[test]
fn a_session_that_is_not_known_over_the_other_transport_is_asked_for_over_the_first() {
    for order in [BOTH, [LongPolling, WebSocket]] {
        let (mut it, connect) = moved(order);
        unknown(&mut it, &connect);
        let back = it.take_on("/meta/connect");
        assert_eq!((back.transport, back["clientId"].clone()), (order[0], json!("client-1")));
        it.serve_one(&back);
        assert_eq!(it.state(), State::Connected);
        assert_eq!(it.count(|event| matches!(event, Event::Rehandshaken)), 0);
        let changed = |event: &Event| matches!(event, Event::TransportChanged { from, to, cause: Some(_), .. } if (*from, *to) == (order[1], order[0]));
        assert_eq!(it.count(changed), 1);
    }
}

#[test]
fn a_session_that_goes_back_keeps_the_interval_that_it_had_there() {
    for order in [BOTH, [LongPolling, WebSocket]] {
        let mut it = Harness::new(config(&order));
        it.connect_extra = json!({"advice": {"reconnect": "retry", "interval": 2000, "timeout": 30_000}});
        it.open();
        it.serve();
        let mut connect = it.wait_for("/meta/connect").0;
        for _ in 0..4 {
            it.fail(&connect, FailureKind::Lost);
            connect = it.wait_for("/meta/connect").0;
        }
        assert_eq!(connect.transport, order[1]);
        unknown(&mut it, &connect);
        for _ in 0..2 {
            let (back, pause) = it.wait_for("/meta/connect");
            assert_eq!((back.transport, pause), (order[0], secs(2)));
            it.grant(&back, json!({}));
        }
    }
}

#[test]
fn a_session_that_is_known_over_neither_is_given_up_after_one_question() {
    for silent in [false, true] {
        let (mut it, connect) = moved(BOTH);
        unknown(&mut it, &connect);
        let back = it.take_on("/meta/connect");
        if silent {
            it.elapse(secs(10));
        } else {
            unknown(&mut it, &back);
        }
        let (handshake, _) = it.wait_for("/meta/handshake");
        it.serve_one(&handshake);
        it.serve();
        assert_eq!(it.state(), State::Connected, "{silent}");
        assert_eq!(it.count(|event| matches!(event, Event::Rehandshaken)), 1);
    }
}

#[test]
fn a_session_that_the_server_forgot_without_a_move_is_replaced_at_once() {
    let mut it = Harness::new(config(&BOTH)).opened();
    let held = it.take_held();
    unknown(&mut it, &held);
    it.take_on("/meta/handshake");
}

#[test]
fn a_server_that_answers_over_neither_transport_says_nothing_against_the_first() {
    let (mut it, connect) = moved(BOTH);
    // It is frozen: the connect over long-polling gets no answer either.
    assert_eq!(connect.transport, LongPolling);
    it.elapse(secs(10));
    let (back, _) = it.wait_for("/meta/connect");
    assert_eq!(back.transport, WebSocket);
    it.serve_one(&back);
    assert_eq!(it.state(), State::Connected);
    assert_eq!(it.session().transport(), WebSocket);
    assert_eq!(it.count(|event| matches!(event, Event::Rehandshaken)), 0);
}

#[test]
fn whichever_transport_answers_first_is_used_and_the_pauses_grow() {
    let (mut it, mut connect) = moved(BOTH);
    let mut order = Vec::new();
    for _ in 0..6 {
        order.push(connect.transport);
        it.fail(&connect, FailureKind::Timeout);
        (connect, _) = it.wait_for("/meta/connect");
    }
    assert_eq!(order, [LongPolling, WebSocket, LongPolling, WebSocket, LongPolling, WebSocket]);
    let pauses: Vec<_> = it
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Retrying { delay, .. } => Some(delay.as_secs()),
            _ => None,
        })
        .collect();
    assert_eq!(pauses, [16, 0, 30, 0, 30, 0]);
    assert_eq!(connect.transport, LongPolling);
    it.serve_one(&connect);
    assert_eq!((it.state(), it.session().transport()), (State::Connected, LongPolling));
}

#[test]
fn an_answer_that_is_no_success_keeps_the_session_where_it_is() {
    let (mut it, connect) = moved(BOTH);
    it.fail(&connect, FailureKind::Http { status: 503 });
    let (next, _) = it.wait_for("/meta/connect");
    assert_eq!(next.transport, LongPolling);
}
