//! Whole lives: the client's session against the server's engine, over both kinds of transport, in virtual time.

mod support;

use bayeux_proto::client::{self, CallError, CloseReason, Delivery, Event, Operation, SinkId, State};
use bayeux_proto::server::{self, Input, RemovedBecause};
use bayeux_proto::{Data, Transport};
use serde_json::json;
use support::{BOTH, INBOX, LongPolling, Pair, WebSocket, channel, config, millis, publish, secs, subscribe};

fn pair(transport: Transport) -> Pair {
    Pair::new(config(&[transport]), server::Config::default())
}

fn opened(transport: Transport) -> Pair {
    let mut it = pair(transport);
    assert!(it.done(Operation::Open).is_ok());
    assert_eq!(it.session().state(), State::Connected);
    it
}

fn count(it: &Pair, fits: impl Fn(&Event) -> bool) -> usize {
    it.events.iter().filter(|event| fits(event)).count()
}

#[test]
fn a_life_from_the_handshake_to_the_disconnect() {
    for transport in BOTH {
        let mut it = opened(transport);
        let stream = SinkId(1);
        it.done(subscribe("/chat/*", INBOX)).unwrap();
        it.done(subscribe("/chat/demo", stream)).unwrap();

        // Both ways.
        it.server_publishes("/chat/demo", json!("from the server"));
        it.run(Pair::round_trip());
        it.done(publish("/chat/demo", json!("from the client"))).unwrap();
        it.run(Pair::round_trip());
        it.server_publishes("/chat/other", json!("for one"));
        it.server_publishes("/chat/demo/deep", json!("for nobody"));
        it.run(Pair::round_trip());
        let both = ["\"from the server\"", "\"from the client\""];
        assert_eq!(it.received(stream), both, "{transport}");
        assert_eq!(it.received(INBOX), [both[0], both[1], "\"for one\""], "{transport}");

        // A service, and a batch.
        let quote = Operation::Request {
            channel: channel("/service/quote"),
            data: Data::from(json!("ACME")),
            timeout: None,
        };
        assert_eq!(it.done(quote).unwrap().data().as_str(), r#"{"echo":"ACME"}"#);
        let calls = it.batch((0..3).map(|n| publish("/chat/demo", json!(n))).collect());
        it.run(Pair::round_trip() * 2);
        assert!(calls.iter().all(|call| it.outcomes[call].is_ok()));
        assert_eq!(it.received(stream)[2..], ["0", "1", "2"]);

        // Hours of nothing.
        let before = it.connects;
        it.run(secs(3600));
        assert!(
            (110..=130).contains(&(it.connects - before)),
            "{} connects in an hour",
            it.connects - before
        );
        assert_eq!(it.session().state(), State::Connected);
        assert_eq!(count(&it, |event| matches!(event, Event::Lost { .. })), 0);

        // The end.
        it.done(Operation::Unsubscribe { channel: channel("/chat/demo"), sink: stream }).unwrap();
        it.server_publishes("/chat/demo", json!("late"));
        it.run(Pair::round_trip());
        assert_eq!(it.received(stream).len(), 5);
        assert_eq!(*it.received(INBOX).last().unwrap(), "\"late\"");
        it.done(Operation::Close).unwrap();
        it.run(secs(1));
        assert_eq!(it.removed, [RemovedBecause::Disconnected]);
        assert_eq!(it.engine.as_ref().unwrap().engine().sessions(), 0);
        assert_eq!(it.session().poll_timeout(), None);
    }
}

#[test]
fn a_restarted_server_is_found_again_and_the_subscriptions_with_it() {
    for transport in BOTH {
        let mut it = opened(transport);
        it.done(subscribe("/a", INBOX)).unwrap();
        it.run(secs(60));
        it.stop_server();
        it.run(secs(5));
        assert_eq!(it.session().state(), State::Unconnected);
        it.start_server();
        let back = it.now();
        while it.session().state() != State::Connected {
            it.run(millis(100));
            assert!(it.now().since(back) < secs(10), "{transport}: {:?}", it.session().state());
        }
        assert_eq!(it.clients.len(), 2, "a new session");
        assert_eq!(count(&it, |event| matches!(event, Event::GapPossible { .. })), 1);
        assert_eq!(count(&it, |event| matches!(event, Event::Resubscribed { outcome: Ok(()), .. })), 1);
        it.server_publishes("/a", json!(1));
        it.run(Pair::round_trip());
        assert_eq!(it.received(INBOX), ["1"]);
    }
}

#[test]
fn calls_wait_while_the_server_is_away() {
    for transport in BOTH {
        let mut settings = config(&[transport]);
        settings.delivery = Delivery::AtLeastOnce;
        let mut it = Pair::new(settings, server::Config::default());
        it.done(Operation::Open).unwrap();
        it.done(subscribe("/a", INBOX)).unwrap();
        it.stop_server();
        let calls: Vec<_> = (0..20).map(|n| it.call(publish("/a", json!(n)))).collect();
        it.run(secs(2));
        it.start_server();
        it.run(secs(8));
        for call in calls {
            assert!(it.outcomes[&call].is_ok(), "{transport}: {:?}", it.outcomes[&call]);
        }
        let numbers: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(it.received(INBOX), numbers);
    }
}

#[test]
fn a_short_cut_costs_neither_the_session_nor_a_message() {
    for transport in BOTH {
        let mut it = opened(transport);
        it.done(subscribe("/a", INBOX)).unwrap();
        for n in 0..5 {
            it.run(secs(15));
            // The event is on the wire when it is cut.
            it.server_publishes("/a", json!(2 * n));
            it.cut();
            it.server_publishes("/a", json!(2 * n + 1));
            it.run(secs(5));
            assert_eq!(it.session().state(), State::Connected, "{transport}");
        }
        let numbers: Vec<_> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(it.received(INBOX), numbers, "{transport}: each once, in order");
        assert_eq!(it.clients.len(), 1, "{transport}: the session is the same");
        assert_eq!(count(&it, |event| matches!(event, Event::GapPossible { .. })), 0);
    }
}

#[test]
fn an_outage_longer_than_the_server_keeps_a_session_costs_the_session_and_says_so() {
    for transport in BOTH {
        let mut settings = server::Config::default();
        settings.max_interval = secs(5);
        let mut it = Pair::new(config(&[transport]), settings);
        it.done(Operation::Open).unwrap();
        it.done(subscribe("/a", INBOX)).unwrap();
        it.run(secs(20));
        // As if the network were away: the server lives, and forgets.
        let engine = it.engine.take();
        it.cut();
        it.run(secs(20));
        it.engine = engine;
        it.tell_server(Input::Timeout);
        it.run(secs(31));
        assert_eq!(it.removed, [RemovedBecause::Expired], "{transport}");
        assert_eq!(it.session().state(), State::Connected);
        assert_eq!(count(&it, |event| matches!(event, Event::Rehandshaken)), 1);
        assert_eq!(count(&it, |event| matches!(event, Event::GapPossible { .. })), 1);
        it.server_publishes("/a", json!(1));
        it.run(Pair::round_trip());
        assert_eq!(it.received(INBOX), ["1"]);
    }
}

#[test]
fn the_server_ends_a_session() {
    for transport in BOTH {
        let mut it = opened(transport);
        it.run(secs(1));
        let id = it.clients[0].clone();
        it.tell_server(Input::Disconnect(id));
        it.run(secs(1));
        assert_eq!(it.session().state(), State::Disconnected, "{transport}");
        assert!(matches!(it.events.last(), Some(Event::Closed(CloseReason::Server(_)))));
        let error = it.done(publish("/a", json!(1))).unwrap_err();
        assert!(matches!(error, CallError::Closed(_)));
    }
}

#[test]
fn the_server_goes_down_in_good_order() {
    for transport in BOTH {
        let mut it = opened(transport);
        it.done(subscribe("/a", INBOX)).unwrap();
        it.run(secs(20));
        it.tell_server(Input::Shutdown);
        it.run(millis(10));
        it.engine = None;
        it.start_server();
        it.run(secs(10));
        assert_eq!(it.session().state(), State::Connected, "{transport}");
        it.server_publishes("/a", json!(1));
        it.run(Pair::round_trip());
        assert_eq!(it.received(INBOX), ["1"], "{transport}");
    }
}

#[test]
fn a_closed_session_is_opened_again() {
    for transport in BOTH {
        let mut it = opened(transport);
        it.done(subscribe("/a", INBOX)).unwrap();
        for life in 2..5 {
            it.done(Operation::Close).unwrap();
            it.run(secs(1));
            it.done(Operation::Open).unwrap();
            assert_eq!(it.clients.len(), life);
        }
        it.server_publishes("/a", json!(1));
        it.run(Pair::round_trip());
        assert_eq!(it.received(INBOX), ["1"]);
        assert_eq!(it.engine.as_ref().unwrap().engine().sessions(), 1);
    }
}

#[test]
fn case_40_a_thousand_publishes_come_back_in_their_order() {
    for transport in BOTH {
        let mut it = opened(transport);
        it.done(subscribe("/a", INBOX)).unwrap();
        let calls: Vec<_> = (0..1000).map(|n| it.call(publish("/a", json!(n)))).collect();
        it.run(secs(1));
        assert!(calls.iter().all(|call| it.outcomes[call].is_ok()));
        let numbers: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
        assert_eq!(it.received(INBOX), numbers, "{transport}");
    }
}

#[test]
fn case_54_ten_thousand_turns_and_a_thousand_lives_leave_nothing_behind() {
    for transport in BOTH {
        let mut settings = server::Config::default();
        settings.timeout = secs(5);
        let mut it = Pair::new(config(&[transport]), settings);
        it.done(Operation::Open).unwrap();
        it.run(secs(10_000));
        assert!(it.connects >= 2000);
        assert_eq!(it.session().pending(), 0);
        for _ in 0..200 {
            it.done(Operation::Close).unwrap();
            it.done(Operation::Open).unwrap();
        }
        it.run(secs(1));
        assert_eq!(it.engine.as_ref().unwrap().engine().sessions(), 1, "{transport}");
    }
}

#[test]
fn a_client_that_may_use_both_goes_on_over_long_polling_when_the_websocket_is_blocked() {
    let mut it = Pair::new(config(&BOTH), server::Config::default());
    it.done(Operation::Open).unwrap();
    it.done(subscribe("/a", INBOX)).unwrap();
    assert_eq!(it.session().transport(), WebSocket);
    it.run(secs(20));
    it.upgrades_refused = true;
    it.cut();
    it.run(secs(20));
    assert_eq!(it.session().transport(), LongPolling);
    assert_eq!(it.session().state(), State::Connected);
    assert_eq!(it.clients.len(), 1, "no new session for another transport");
    it.server_publishes("/a", json!(1));
    it.run(Pair::round_trip());
    assert_eq!(it.received(INBOX), ["1"]);

    // And comes back when that has ended.
    it.upgrades_refused = false;
    it.run(secs(360));
    assert_eq!(it.session().transport(), WebSocket);
    it.server_publishes("/a", json!(2));
    it.run(Pair::round_trip());
    assert_eq!(it.received(INBOX), ["1", "2"]);
    assert_eq!(it.clients.len(), 1);
}

#[test]
fn a_connection_made_anew_by_the_user_loses_nothing() {
    for transport in BOTH {
        let mut it = opened(transport);
        it.done(subscribe("/a", INBOX)).unwrap();
        for n in 0..10 {
            it.server_publishes("/a", json!(n));
            it.tell_client(client::Input::Reconnect);
            it.run(secs(40));
        }
        let numbers: Vec<_> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(it.received(INBOX), numbers, "{transport}");
    }
}
