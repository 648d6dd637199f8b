//! What a server asks to be waited for: obeyed, but not without a bound.

mod support;

use std::time::Duration;

use bayeux_proto::client::{CloseReason, Event, Failure, FailureKind, State};
use serde_json::json;
use support::{BOTH, Harness, LongPolling, Sent, WebSocket, config, millis, secs};

fn busy(it: &mut Harness, sent: &Sent, kind: FailureKind, wait: Option<Duration>) {
    it.fail_with(sent, Failure::new(kind, "busy").with_retry_after(wait));
}

fn retrying(it: &Harness) -> Vec<Duration> {
    let told = it.events.iter().filter_map(|event| match event {
        Event::Retrying { delay, .. } => Some(*delay),
        _ => None,
    });
    told.collect()
}

fn capped(it: &Harness) -> Vec<(&'static str, Duration)> {
    let told = it.events.iter().filter_map(|event| match event {
        Event::AdviceCapped { what, used, .. } => Some((*what, *used)),
        _ => None,
    });
    told.collect()
}

#[test]
fn retry_after_is_waited_for_by_handshakes_connects_and_requests() {
    for status in [429, 503] {
        let kind = FailureKind::Http { status };
        let mut settings = config(&[LongPolling]);
        settings.retry_open = true;
        settings.open_timeout = None;
        let mut it = Harness::new(settings);
        it.open();
        let handshake = it.take_on("/meta/handshake");
        busy(&mut it, &handshake, kind, Some(secs(120)));
        let (handshake, pause) = it.wait_for("/meta/handshake");
        assert_eq!(pause, secs(120));
        assert_eq!(retrying(&it), [secs(120)]);
        it.serve_one(&handshake);
        it.serve();
        assert_eq!(it.state(), State::Connected);

        let held = it.held();
        busy(&mut it, &held, kind, Some(secs(45)));
        let (connect, pause) = it.wait_for("/meta/connect");
        assert_eq!(pause, secs(45));
        assert_eq!(retrying(&it)[1..], [secs(45)]);
        // A shorter one does not shorten the pause.
        busy(&mut it, &connect, kind, Some(millis(1)));
        let (connect, pause) = it.wait_for("/meta/connect");
        assert_eq!(pause, secs(2));
        it.serve_one(&connect);
        it.serve();

        let begun = it.now();
        it.subscribe("/a");
        let subscribe = it.take_on("/meta/subscribe");
        busy(&mut it, &subscribe, kind, Some(secs(5)));
        let again = loop {
            match it.take_any() {
                Some(sent) if sent.channel() == "/meta/subscribe" => break sent,
                Some(_) => {}
                None => drop(it.jump()),
            }
        };
        assert_eq!(it.now().since(begun), secs(5));
        it.serve_one(&again);
        let told = |event: &Event| matches!(event, Event::RequestFailed { delay, .. } if *delay == secs(5));
        assert_eq!(it.count(told), 1);
    }
}

#[test]
fn another_transport_to_the_same_server_waits_as_long() {
    let mut settings = config(&BOTH);
    settings.open_timeout = None;
    let mut it = Harness::new(settings);
    it.open();
    let handshake = it.take_on("/meta/handshake");
    assert_eq!(handshake.transport, WebSocket);
    busy(&mut it, &handshake, FailureKind::UpgradeRefused { status: 503 }, Some(secs(20)));
    let (handshake, pause) = it.wait_for("/meta/handshake");
    assert_eq!((handshake.transport, pause), (LongPolling, secs(20)));
    assert_eq!(retrying(&it), [secs(20)]);
}

#[test]
fn a_longer_wait_than_is_allowed_is_cut_and_told() {
    let mut settings = config(&[LongPolling]);
    settings.max_advised_wait = secs(90);
    let mut it = Harness::new(settings).opened();
    let held = it.held();
    busy(&mut it, &held, FailureKind::Http { status: 503 }, Some(Duration::MAX));
    let (_, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, secs(90));
    assert_eq!(capped(&it), [("Retry-After", secs(90))]);
}

#[test]
fn advice_of_two_to_the_fortieth_does_not_silence_the_client() {
    const HUGE: u64 = 1 << 40;
    for (cap, transport) in [(3600, LongPolling), (3600, WebSocket), (60, LongPolling), (60, WebSocket)] {
        let mut settings = config(&[transport]);
        settings.max_advised_wait = secs(cap);
        let mut it = Harness::new(settings);
        it.connect_extra = json!({"advice": {"interval": HUGE, "timeout": HUGE, "maxInterval": HUGE}});
        let mut it = it.opened();
        assert_eq!(capped(&it), [("interval", secs(cap)), ("timeout", secs(cap))]);
        let (connect, pause) = it.wait_for("/meta/connect");
        assert_eq!(pause, secs(cap));
        // Nor does it keep the client from noticing that the connect gets no reply.
        let begun = it.now();
        it.cut(FailureKind::Lost);
        let (_, pause) = it.wait_for("/meta/connect");
        assert_eq!(pause, secs(cap), "the interval is kept after a loss, too");
        assert!(it.now().since(begun) <= secs(cap));
        drop(connect);
    }
    let mut settings = config(&[LongPolling]);
    settings.max_advised_wait = secs(60);
    let mut it = Harness::new(settings);
    it.connect_extra = json!({"advice": {"timeout": HUGE}});
    let mut it = it.opened();
    it.elapse(secs(69));
    assert_eq!(it.state(), State::Connected);
    it.elapse(secs(2));
    assert_eq!(it.state(), State::Unconnected);
    // The same again is not told again.
    assert_eq!(capped(&it), [("timeout", secs(60))]);
}

#[test]
fn an_opening_that_is_told_to_come_back_later_ends_in_its_time() {
    let mut settings = config(&[LongPolling]);
    settings.retry_open = true;
    let mut it = Harness::new(settings);
    let open = it.open();
    let handshake = it.take_on("/meta/handshake");
    busy(&mut it, &handshake, FailureKind::Http { status: 503 }, Some(secs(600)));
    it.elapse(secs(30));
    assert_eq!(it.err(open).failure().and_then(Failure::http_status), Some(503));
    assert!(it.events.iter().any(|event| matches!(event, Event::Closed(CloseReason::OpenTimeout { .. }))));
}

#[test]
fn an_opening_that_waits_for_an_advised_interval_says_so() {
    for (interval, parts) in [
        (1_u64 << 40, &["advised to wait 12726 days", "max_advised_wait reduces that to 3600.0s"][..]),
        (50 * 60_000, &["advised to wait 3000.0s"]),
    ] {
        for transport in BOTH {
            let mut it = Harness::new(config(&[transport]));
            let open = it.open();
            let handshake = it.take_on("/meta/handshake");
            let advice = json!({"reconnect": "retry", "interval": interval});
            it.grant(
                &handshake,
                json!({"clientId": "c", "version": "1.0", "advice": advice,
                    "supportedConnectionTypes": ["websocket", "long-polling"]}),
            );
            it.elapse(secs(3599));
            let error = it.err(open);
            let text = error.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            assert_eq!(error.failure().map(Failure::kind), Some(FailureKind::Timeout));
        }
    }
}

#[test]
fn an_interval_advised_at_a_shutdown_is_waited_for_before_the_return() {
    for transport in [LongPolling, WebSocket] {
        for reconnect in ["retry", "handshake"] {
            let mut it = Harness::connected(transport);
            let held = it.held();
            it.take_any();
            let advice = json!({"advice": {"reconnect": reconnect, "interval": 7000}});
            it.grant(&held, advice);
            it.cut(FailureKind::Lost);
            let begun = it.now();
            while it.take_any().is_none() {
                it.jump();
            }
            assert!(it.now().since(begun) >= secs(7), "{transport} {reconnect}");
            assert!(it.now().since(begun) <= secs(8), "{transport} {reconnect}");
        }
    }
}
