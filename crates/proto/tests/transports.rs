//! Which transport carries an established session: leaving one that fails, and coming back to the better one.

mod support;

use bayeux_proto::Transport;
use bayeux_proto::client::{Event, FailureKind, Input, State};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, WebSocket, config, secs};

fn transport_changes(it: &Harness) -> Vec<(Transport, Transport)> {
    let changes = it.events.iter().filter_map(|event| match event {
        Event::TransportChanged { from, to, .. } => Some((*from, *to)),
        _ => None,
    });
    changes.collect()
}

#[test]
fn a_transport_that_fails_again_and_again_is_left_without_a_new_handshake() {
    let mut it = Harness::new(config(&BOTH)).opened();
    it.elapse(secs(20));
    let mut connect = it.take_held();
    let mut pauses = Vec::new();
    for _ in 0..4 {
        assert_eq!(connect.transport, WebSocket);
        it.fail(&connect, FailureKind::Lost);
        let (next, pause) = it.wait_for("/meta/connect");
        connect = next;
        pauses.push(pause);
    }
    assert_eq!(pauses, [secs(1), secs(2), secs(4), secs(0)], "another transport is tried at once");
    assert_eq!(connect.transport, LongPolling);
    assert_eq!(connect["clientId"], "client-1");
    assert_eq!(connect["connectionType"], "long-polling");
    assert_eq!(transport_changes(&it), [(WebSocket, LongPolling)]);
    it.serve_one(&connect);
    assert_eq!(it.state(), State::Connected);
    assert_eq!(it.count(|event| matches!(event, Event::Rehandshaken)), 0);
}

#[test]
fn a_websocket_that_is_left_is_closed_though_it_works() {
    let mut it = Harness::new(config(&BOTH)).opened();
    it.elapse(secs(20));
    let mut connect = it.take_held();
    for _ in 0..4 {
        assert_eq!(connect.transport, WebSocket);
        it.veto(&connect, 0, "no");
        (connect, _) = it.wait_for("/meta/connect");
    }
    assert_eq!(connect.transport, LongPolling);
    assert_eq!(it.closed, [true]);
}

#[test]
fn request_08_an_upgrade_that_is_refused_speaks_louder_against_the_websocket() {
    let mut it = Harness::new(config(&BOTH)).opened();
    it.elapse(secs(20));
    let held = it.take_held();
    it.fail(&held, FailureKind::Lost);
    let mut attempts = 0;
    let connect = loop {
        let (connect, _) = it.wait_for("/meta/connect");
        if connect.transport == LongPolling {
            break connect;
        }
        attempts += 1;
        it.fail(&connect, FailureKind::UpgradeRefused { status: 404 });
    };
    assert_eq!(attempts, 2);
    it.serve_one(&connect);
    assert_eq!(it.state(), State::Connected);
}

/// A session that went over to long-polling because its upgrade was refused.
fn fallen_back() -> Harness {
    let mut it = Harness::new(config(&BOTH));
    it.open();
    let refused = it.take();
    it.fail(&refused, FailureKind::UpgradeRefused { status: 404 });
    it.serve();
    assert_eq!(it.state(), State::Connected);
    it
}

/// Lets the connects of a session go round for that long.
fn idle(it: &mut Harness, seconds: u64) {
    for _ in 0..seconds / 20 {
        it.elapse(secs(20));
        let held = it.take_held();
        it.grant(&held, json!({}));
    }
}

#[test]
fn a_better_transport_is_tried_after_its_rest_and_taken_when_it_works() {
    let mut it = fallen_back();
    it.subscribe("/a");
    it.serve();
    idle(&mut it, 280);
    assert_eq!(it.take_held().transport, LongPolling);
    idle(&mut it, 20);
    let trial = it.take_held();
    assert_eq!((trial.transport, trial.is_probe()), (WebSocket, true));
    assert_eq!(trial["clientId"], "client-1");
    // What is asked for meanwhile does not wait for the outcome.
    let call = it.publish("/a", json!(1));
    let sent = it.take_on("/a");
    assert_eq!(sent.transport, LongPolling);
    it.serve_one(&trial);
    assert_eq!(it.session().transport(), WebSocket);
    it.serve_one(&sent);
    it.ok(call);
    it.take_held();
    it.publish("/a", json!(2));
    assert_eq!(it.take_on("/a").transport, WebSocket);
    assert_eq!(it.state(), State::Connected);
    assert_eq!(it.count(|event| matches!(event, Event::Lost { .. })), 0);
}

#[test]
fn a_better_transport_that_does_not_work_yet_costs_nothing() {
    for kind in [FailureKind::UpgradeRefused { status: 404 }, FailureKind::Unreachable] {
        let mut it = fallen_back();
        idle(&mut it, 300);
        let trial = it.take_held();
        assert_eq!(trial.transport, WebSocket);
        let call = it.publish("/a", json!(1));
        it.fail(&trial, kind);
        assert_eq!(it.take_held().transport, LongPolling);
        it.serve();
        it.ok(call);
        assert_eq!(it.state(), State::Connected);
        assert_eq!(it.count(|event| matches!(event, Event::Lost { .. } | Event::Retrying { .. })), 0);
        // The next trial is as far away as the first was.
        idle(&mut it, 280);
        assert_eq!(it.take_held().transport, LongPolling);
        idle(&mut it, 20);
        assert_eq!(it.take_held().transport, WebSocket);
    }
}

#[test]
fn a_better_transport_that_swallows_everything_costs_no_call() {
    let mut it = fallen_back();
    idle(&mut it, 300);
    let trial = it.take_held();
    assert_eq!(trial.transport, WebSocket);
    for _ in 0..4 {
        let call = it.publish("/a", json!(1));
        it.serve();
        it.ok(call);
        it.elapse(secs(3));
    }
    assert_eq!(it.held().transport, LongPolling, "the trial is over");
    assert_eq!(it.state(), State::Connected);
    assert_eq!(it.count(|event| matches!(event, Event::Lost { .. })), 0);
}

#[test]
fn a_connection_that_lasted_has_lasted_whatever_became_of_a_trial() {
    let mut it = fallen_back();
    // Two that did not last, then one that does.
    for _ in 0..2 {
        let held = it.take_held();
        it.fail(&held, FailureKind::Unreachable);
        it.elapse(secs(8));
        it.serve();
    }
    idle(&mut it, 300);
    let trial = it.take_held();
    it.fail(&trial, FailureKind::UpgradeRefused { status: 404 });
    let held = it.take_held();
    it.fail(&held, FailureKind::Unreachable);
    let (_, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, secs(1));
}

#[test]
fn a_failed_trial_does_not_undercut_the_advised_interval() {
    let mut it = fallen_back();
    idle(&mut it, 280);
    it.elapse(secs(20));
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"interval": 2000}}));
    let (trial, _) = it.wait_for("/meta/connect");
    assert_eq!(trial.transport, WebSocket);
    it.fail(&trial, FailureKind::UpgradeRefused { status: 404 });
    let (back, pause) = it.wait_for("/meta/connect");
    assert_eq!((back.transport, pause), (LongPolling, secs(2)));
}

#[test]
fn a_session_that_is_not_known_in_a_trial_keeps_the_interval_of_the_transport_that_it_goes_back_to() {
    for error in ["402::session_unknown", "403::Unknown client", "500::elsewhere"] {
        let mut it = fallen_back();
        idle(&mut it, 280);
        it.elapse(secs(20));
        let held = it.take_held();
        it.grant(&held, json!({"advice": {"interval": 2000}}));
        let (trial, _) = it.wait_for("/meta/connect");
        it.refuse(&trial, error, json!({"advice": {"reconnect": "handshake", "interval": 0}}));
        for _ in 0..2 {
            let (back, pause) = it.wait_for("/meta/connect");
            assert_eq!((back.transport, pause), (LongPolling, secs(2)), "{error}");
            it.grant(&back, json!({}));
        }
    }
}

#[test]
fn a_trial_that_the_server_answered_into_a_broken_socket_may_have_cost_messages() {
    let mut it = fallen_back();
    it.subscribe("/a");
    it.serve();
    idle(&mut it, 300);
    let trial = it.take_held();
    it.fail(&trial, FailureKind::Lost);
    assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), 1);
}

#[test]
fn a_better_transport_that_is_no_websocket_takes_over_and_the_socket_is_closed() {
    for (ack, gaps) in [(false, 1), (true, 0)] {
        let mut it = Harness::new(config(&[LongPolling, WebSocket]));
        it.handshake_extra = json!({"ext": {"ack": ack}});
        it.open();
        let failed = it.take();
        it.fail(&failed, FailureKind::Http { status: 503 });
        it.serve();
        assert_eq!(it.session().transport(), WebSocket);
        it.subscribe("/a");
        it.serve();
        idle(&mut it, 300);
        let trial = it.take_held();
        assert_eq!(trial.transport, LongPolling);
        it.closed.clear();
        it.serve_one(&trial);
        assert_eq!(it.session().transport(), LongPolling);
        assert_eq!(it.closed, [true]);
        // What the server had just sent over the socket is not read any more; with acknowledgements it sends it again.
        assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), gaps, "with ack: {ack}");
    }
}

#[test]
fn a_trial_under_way_ends_when_the_user_has_the_connection_made_anew() {
    let mut it = fallen_back();
    idle(&mut it, 300);
    let trial = it.take_held();
    assert_eq!(trial.transport, WebSocket);
    it.input(Input::Reconnect);
    let connect = it.take_on("/meta/connect");
    assert_eq!(connect.transport, LongPolling);
    it.story.clear();
    it.fail(&connect, FailureKind::Unreachable);
    assert_eq!(it.state(), State::Unconnected, "nothing says yet that the way is free");
    assert!(!it.story.contains(&"Connected".to_owned()));
}

#[test]
fn a_session_that_is_left_during_a_trial_goes_on_over_the_transport_that_works() {
    let mut it = fallen_back();
    idle(&mut it, 300);
    assert_eq!(it.take_held().transport, WebSocket);
    let snapshot = it.session().snapshot(false).unwrap();
    assert_eq!(snapshot.transport(), Some(LongPolling));
}

#[test]
fn what_failed_in_one_life_is_tried_again_in_the_next() {
    let mut it = fallen_back();
    it.close();
    it.serve();
    it.elapse(secs(5));
    assert_eq!(it.state(), State::Disconnected);
    it.open();
    assert_eq!(it.take_on("/meta/handshake").transport, WebSocket);
}

#[test]
fn a_better_transport_is_not_tried_while_the_connection_is_lost() {
    let mut it = fallen_back();
    idle(&mut it, 280);
    it.elapse(secs(20));
    let held = it.take_held();
    it.fail(&held, FailureKind::Unreachable);
    let (connect, _) = it.wait_for("/meta/connect");
    assert_eq!(connect.transport, LongPolling);
}

#[test]
fn a_transport_that_was_left_in_doubt_is_tried_again_soon_and_a_busy_server_speaks_softly_against_it() {
    let mut it = Harness::new(config(&BOTH)).opened();
    it.elapse(secs(20));
    let mut connect = it.take_held();
    for _ in 0..4 {
        assert_eq!(connect.transport, WebSocket);
        it.fail(&connect, FailureKind::UpgradeRefused { status: 503 });
        (connect, _) = it.wait_for("/meta/connect");
    }
    assert_eq!(connect.transport, LongPolling);
    it.serve_one(&connect);
    idle(&mut it, 20);
    assert_eq!(it.take_held().transport, LongPolling);
    idle(&mut it, 20);
    assert_eq!(it.take_held().transport, WebSocket);
}

#[test]
fn a_websocket_over_which_a_handshake_was_refused_is_not_left_open_beside_the_first_transport() {
    let mut settings = config(&[LongPolling, WebSocket]);
    settings.retry_open = true;
    let mut it = Harness::new(settings);
    it.open();
    let first = it.take();
    it.fail(&first, FailureKind::Timeout);
    let second = it.take();
    assert_eq!(second.transport, WebSocket);
    let closed = it.closed.len();
    it.refuse(&second, "503::busy", json!({"advice": {"reconnect": "handshake"}}));
    assert_eq!(it.closed.len(), closed + 1);
    let (third, _) = it.wait_for("/meta/handshake");
    assert_eq!(third.transport, LongPolling);
}
