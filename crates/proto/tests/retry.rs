//! How often, how long and after what pauses a session tries again, and when it has had enough.

mod support;

use std::sync::{Arc, Mutex};

use bayeux_proto::Time;
use bayeux_proto::client::{
    Backoff, CallError, CallId, CloseReason, Config, Event, FailedAttempt, Failure, FailureKind, Input,
    LostCause, Operation, Output, Retry, Session, State, Verdict,
};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, WebSocket, config, millis, secs};

fn plain() -> Retry {
    Retry::new(Backoff::exponential(secs(1)..=secs(30)))
}

fn with(retry: Retry) -> Config {
    let mut settings = config(&[LongPolling]);
    settings.retry = retry;
    settings
}

/// An open session whose driver decides about failed attempts.
fn decided(decide: impl FnMut(&FailedAttempt) -> Verdict + 'static) -> Harness {
    let mut settings = with(plain());
    settings.decide_retries = true;
    let mut it = Harness::new(settings).opened();
    it.decide = Some(Box::new(decide));
    it
}

/// How the session ended, if it did.
fn end(it: &Harness) -> Option<CloseReason> {
    it.events.iter().find_map(|event| match event {
        Event::Closed(reason) => Some(reason.clone()),
        _ => None,
    })
}

/// Fails each connect, and tells how many there were, until the session ends or the time is over.
fn fail_connects(it: &mut Harness, kind: FailureKind, minutes: u64) -> usize {
    let begun = it.now();
    let mut failed = 0;
    while it.state() != State::Disconnected && it.now().since(begun) < secs(60 * minutes) {
        match it.connects().pop() {
            Some(connect) => {
                failed += 1;
                assert!(failed < 1000, "within {:?}", it.now().since(begun));
                it.fail(&connect, kind);
            }
            None => drop(it.jump()),
        }
    }
    failed
}

#[test]
fn law_3_by_default_it_tries_for_ever_with_growing_capped_and_jittered_pauses() {
    let mut settings = config(&[LongPolling]);
    settings.retry = Retry::default();
    settings.seed = 42;
    let mut it = Harness::new(settings).opened();
    fail_connects(&mut it, FailureKind::Unreachable, 60);
    let pauses: Vec<_> = it
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Retrying { delay, .. } => Some(*delay),
            _ => None,
        })
        .collect();
    assert!(pauses.len() > 100);
    for (n, pause) in pauses.iter().enumerate() {
        let full = secs(30.min(1 << n.min(10)));
        // The first is anywhere up to its length.
        let least = if n == 0 { millis(10) } else { full / 2 };
        assert!(*pause <= full && *pause >= least, "{n}: {pause:?} of {full:?}");
    }
    assert!(pauses[10..].windows(2).any(|two| two[0] != two[1]), "they are jittered");
    assert_eq!(it.state(), State::Unconnected);
}

#[test]
fn law_3_the_same_seed_gives_the_same_pauses_and_another_gives_others() {
    let pauses = |seed| {
        let mut settings = config(&[LongPolling]);
        settings.retry = Retry::default();
        settings.seed = seed;
        let mut it = Harness::new(settings).opened();
        fail_connects(&mut it, FailureKind::Unreachable, 5);
        it.now()
    };
    assert_eq!(pauses(1), pauses(1));
    assert_ne!(pauses(1), pauses(2));
}

#[test]
fn request_07_so_many_attempts_and_no_more() {
    for transport in BOTH {
        let mut settings = with(plain().max_attempts(3));
        settings.transports = vec![transport];
        let mut it = Harness::new(settings).opened();
        let waiting = it.publish("/a", json!(1));
        let kind = FailureKind::Unreachable;
        assert_eq!(fail_connects(&mut it, kind, 60), 3);
        let Some(CloseReason::GaveUp { failures: 3, elapsed, cause, .. }) = end(&it) else {
            panic!("{:?}", end(&it))
        };
        assert_eq!(elapsed, secs(1 + 2));
        assert_eq!(cause.failure().unwrap().kind(), kind);
        assert_eq!(end(&it).unwrap().failure(), cause.failure());
        assert!(matches!(it.err(waiting), CallError::Closed(CloseReason::GaveUp { .. })));
        it.elapse(secs(600));
        assert!(it.connects().is_empty());
    }
}

#[test]
fn a_success_begins_the_count_anew() {
    let mut it = Harness::new(with(plain().max_attempts(2))).opened();
    for _ in 0..5 {
        it.elapse(secs(15));
        let held = it.take_held();
        it.fail(&held, FailureKind::Lost);
        assert_eq!(it.state(), State::Unconnected);
        let (probe, pause) = it.wait_for("/meta/connect");
        assert_eq!(pause, secs(1));
        it.serve_one(&probe);
        assert_eq!(it.state(), State::Connected);
    }
}

#[test]
fn so_long_and_no_longer() {
    let mut it = Harness::new(with(plain().max_elapsed(secs(60)))).opened();
    fail_connects(&mut it, FailureKind::Unreachable, 60);
    let Some(CloseReason::GaveUp { elapsed, .. }) = end(&it) else { panic!("{:?}", end(&it)) };
    // 1 + 2 + 4 + 8 + 16 + 30 s.
    assert_eq!(elapsed, secs(61));
}

#[test]
fn the_budget_holds_for_handshakes_too() {
    let mut settings = with(plain().max_attempts(4));
    settings.retry_open = true;
    settings.open_timeout = None;
    let mut it = Harness::new(settings);
    let open = it.open();
    it.fail_until_resolved(open, FailureKind::Unreachable);
    assert!(matches!(it.err(open), CallError::Closed(CloseReason::GaveUp { failures: 4, .. })));
}

#[test]
fn the_user_decides_with_all_that_is_known() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let mut it = decided(move |failed| {
        noted.lock().unwrap().push((failed.failures, failed.elapsed, failed.delay));
        match failed.failures {
            1 => Verdict::RetryAfter(millis(100)),
            2 => Verdict::Retry,
            3 => Verdict::RetryAfter(millis(0)),
            _ => Verdict::GiveUp,
        }
    });
    let begun = it.now();
    assert_eq!(fail_connects(&mut it, FailureKind::Lost, 60), 4);
    assert_eq!(
        *seen.lock().unwrap(),
        [
            (1, millis(0), secs(1)),
            (2, millis(100), secs(2)),
            (3, millis(2100), secs(4)),
            (4, millis(2110), secs(8)),
        ]
    );
    assert_eq!(it.now().since(begun), millis(2110), "no pause is shorter than 10 ms");
    assert!(matches!(end(&it), Some(CloseReason::GaveUp { failures: 4, .. })));
}

#[test]
fn the_user_decides_about_handshakes_too() {
    let mut it = decided(|failed| match failed.failures {
        1 => Verdict::RetryAfter(millis(300)),
        _ => Verdict::GiveUp,
    });
    let held = it.take_held();
    it.refuse(&held, "402::unknown", json!({"advice": {"reconnect": "handshake"}}));
    let (handshake, _) = it.wait_for("/meta/handshake");
    it.fail(&handshake, FailureKind::Lost);
    let (handshake, pause) = it.wait_for("/meta/handshake");
    assert_eq!(pause, millis(300));
    it.fail(&handshake, FailureKind::Lost);
    assert!(matches!(end(&it), Some(CloseReason::GaveUp { failures: 2, .. })), "{:?}", end(&it));
}

#[test]
fn without_a_decision_the_next_attempt_follows_after_the_usual_pause() {
    let mut settings = with(plain());
    settings.decide_retries = true;
    settings.retry_open = true;
    let mut session = Session::new(settings);
    let begun = Time::from_origin(secs(1));
    session.handle(Input::Call(CallId(1), Operation::Open), begun);
    let handshake = |session: &mut Session| {
        let mut sent = None;
        while let Some(output) = session.poll_output() {
            if let Output::Send(transmit) = output {
                sent = Some(transmit.exchange);
            }
        }
        sent
    };
    let first = handshake(&mut session).unwrap();
    session.handle(Input::ExchangeFailed(first, Failure::new(FailureKind::Lost, "cut")), begun);
    assert_eq!(handshake(&mut session), None);
    let due = session.poll_timeout().unwrap();
    assert_eq!(due, begun + secs(1));
    session.handle(Input::Timeout, due);
    assert!(handshake(&mut session).is_some());
    // It comes too late for that attempt.
    session.handle(Input::RetryDecided(Verdict::GiveUp), due);
    assert_eq!(session.state(), State::Handshaking);
}

#[test]
fn the_servers_interval_is_longer_than_the_users_word() {
    let mut it = decided(|_| Verdict::RetryAfter(millis(20)));
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"interval": 5000}}));
    let (connect, _) = it.wait_for("/meta/connect");
    it.fail(&connect, FailureKind::Lost);
    let (_, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, secs(5));
}

#[test]
fn what_waiting_does_not_mend_is_given_up_at_once_when_that_is_wanted() {
    for (kind, fatal) in [
        (FailureKind::Tls, true),
        (FailureKind::UnknownHost, true),
        (FailureKind::Http { status: 403 }, true),
        (FailureKind::Unreachable, false),
        (FailureKind::Http { status: 503 }, false),
        (FailureKind::Timeout, false),
    ] {
        let mut it = Harness::new(with(plain().give_up_on_fatal())).opened();
        let held = it.take_held();
        it.fail(&held, kind);
        assert_eq!(it.state() == State::Disconnected, fatal, "{kind:?}");
    }
}

#[test]
fn a_refusal_for_want_of_rights_is_fatal_and_a_lost_session_is_not() {
    let mut it = Harness::new(with(plain().give_up_on_fatal())).opened();
    let held = it.take_held();
    it.refuse(&held, "403::no more of you", json!({}));
    let Some(CloseReason::GaveUp { failures: 1, cause, .. }) = end(&it) else { panic!("{:?}", end(&it)) };
    assert!(matches!(*cause, LostCause::Refused(_)));

    let mut it = Harness::new(with(plain().give_up_on_fatal())).opened();
    let held = it.take_held();
    it.refuse(&held, "403::Unknown client", json!({"advice": {"reconnect": "handshake"}}));
    assert_eq!(it.state(), State::Handshaking);
}

#[test]
fn the_lane_for_messages_rests_longer_after_each_failure() {
    let mut settings = config(&[LongPolling]);
    settings.call_timeout = secs(1000);
    let mut it = Harness::new(settings).opened();
    it.take_held();
    it.publish("/a", json!(1));
    let mut sent = it.take();
    let mut pauses = Vec::new();
    for _ in 0..4 {
        it.fail(&sent, FailureKind::Unreachable);
        let begun = it.now();
        sent = loop {
            match it.take_if("/a") {
                Some(sent) => break sent,
                None => drop(it.jump()),
            }
        };
        pauses.push(it.now().since(begun).as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
    // A success ends that.
    it.serve_one(&sent);
    let call = it.publish("/a", json!(2));
    it.take_on("/a");
    assert!(it.is_pending(call));
}

#[test]
fn a_websocket_is_retried_like_any_other() {
    let mut settings = config(&[WebSocket]);
    settings.retry = plain().max_attempts(5);
    let mut it = Harness::new(settings).opened();
    assert_eq!(fail_connects(&mut it, FailureKind::Closed { code: 1006 }, 60), 5);
}

#[test]
fn pauses_alone_are_a_policy_too() {
    let backoff = Backoff::exponential(secs(3)..=secs(3));
    let retry = Retry::from(backoff.clone());
    let shown = format!("{retry:?}");
    assert_eq!(shown, format!("{:?}", Retry::new(backoff)));
    assert!(shown.contains("3s") && shown.contains("max_attempts: None"), "{shown}");
}
