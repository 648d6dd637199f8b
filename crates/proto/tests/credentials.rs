//! Credentials: asked for when they are needed, once for all that need them, wherever the refusal stands.

mod support;

use bayeux_proto::client::{AuthReason, CallError, CloseReason, FailureKind, Input, SinkId, State};
use serde_json::{Map, Value, json};
use support::{BOTH, Harness, LongPolling, Sent, WebSocket, config, secs};

fn with_auth(transport: bayeux_proto::Transport) -> Harness {
    let mut settings = config(&[transport]);
    settings.has_auth = true;
    Harness::new(settings)
}

fn token(text: &str) -> Input {
    let mut ext = Map::new();
    ext.insert("token".to_owned(), text.into());
    Input::Credentials(Ok(ext))
}

/// A connected session with the token "first".
fn authenticated(transport: bayeux_proto::Transport) -> Harness {
    let mut it = with_auth(transport);
    let open = it.open();
    it.input(token("first"));
    it.serve();
    it.ok(open);
    it.asked.clear();
    it
}

#[test]
fn they_are_asked_for_before_the_first_handshake_and_go_out_with_it() {
    let mut it = with_auth(LongPolling);
    it.open();
    it.nothing_sent();
    assert_eq!(it.asked, [AuthReason::First]);
    it.input(token("first"));
    let handshake = it.take_on("/meta/handshake");
    assert_eq!(handshake["ext"], json!({"ack": true, "token": "first"}));
}

#[test]
fn no_credentials_no_session() {
    let mut it = with_auth(LongPolling);
    let open = it.open();
    it.input(Input::Credentials(Err("no vault".to_owned())));
    assert!(
        matches!(it.err(open), CallError::Closed(CloseReason::NoCredentials(text)) if text == "no vault")
    );
    it.nothing_sent();
}

#[test]
fn credentials_that_are_refused_fresh_are_not_asked_for_in_a_loop() {
    let mut it = with_auth(LongPolling);
    let open = it.open();
    for (asked, remembered) in [(1, "old"), (2, "bad")] {
        assert_eq!(it.asked.len(), asked);
        it.input(token(remembered));
        let handshake = it.take();
        assert_eq!(handshake["ext"]["token"], remembered);
        it.refuse(&handshake, "401::no", json!({}));
    }
    assert_eq!(it.asked.len(), 2);
    assert_eq!(it.err(open).server_error().unwrap().code(), Some(401));

    // But whoever opens again may have better ones.
    let open = it.open();
    assert_eq!(it.asked.len(), 3);
    it.input(token("good"));
    let handshake = it.take();
    assert_eq!(handshake["ext"]["token"], "good");
    it.serve_one(&handshake);
    it.serve();
    it.ok(open);
}

#[test]
fn a_session_that_was_refused_fresh_credentials_asks_again_after_a_pause() {
    let mut it = authenticated(LongPolling);
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    for round in 1..4 {
        let (handshake, pause) = it.wait_for("/meta/handshake");
        assert_eq!(pause.is_zero(), round == 1);
        it.refuse(&handshake, "401::expired", json!({}));
        assert_eq!(it.asked.len(), round);
        it.input(token("still bad"));
        let again = it.take_on("/meta/handshake");
        it.refuse(&again, "401::expired", json!({}));
        it.nothing_sent();
    }
    let (handshake, _) = it.wait_for("/meta/handshake");
    it.serve_one(&handshake);
    it.serve();
    assert_eq!(it.state(), State::Connected);
}

/// The places in which a server can hide that a token has expired.
#[derive(Clone, Copy, Debug)]
enum Hidden {
    Connect,
    ConnectThatStops,
    Http,
    Publish,
    Subscribe,
    WithoutChannel,
}

#[test]
fn request_05_wherever_the_refusal_stands_the_token_is_renewed_and_the_session_goes_on() {
    use Hidden::{Connect, ConnectThatStops, Http, Publish, Subscribe, WithoutChannel};
    for place in [Connect, ConnectThatStops, Http, Publish, Subscribe, WithoutChannel] {
        let mut it = authenticated(LongPolling);
        let held = it.take_held();
        let call = match place {
            Publish => Some(it.publish("/a", json!(1))),
            Subscribe => Some(it.subscribe("/a")),
            _ => None,
        };
        match place {
            Connect => it.refuse(&held, "401::Authentication invalid", json!({})),
            ConnectThatStops => {
                it.refuse(&held, "401::Authentication invalid", json!({"advice": {"reconnect": "none"}}));
            }
            Http => it.fail(&held, FailureKind::Http { status: 401 }),
            WithoutChannel => {
                it.respond(
                    &held,
                    json!([{"error": "401::Request requires authentication", "successful": false}]),
                );
            }
            Publish | Subscribe => {
                let sent = it.take();
                it.refuse(&sent, "401::Authentication invalid", json!({}));
            }
        }
        assert_eq!(it.asked.len(), 1, "{place:?}");
        it.nothing_sent();
        it.input(token("second"));
        it.serve();
        assert_eq!(it.state(), State::Connected, "{place:?}");
        if let Some(call) = call {
            it.ok(call);
        }
        assert!(it.cookie_resets == 0);
    }
}

#[test]
fn request_05_the_reason_that_salesforce_hides_in_a_refused_handshake_counts() {
    let mut it = authenticated(LongPolling);
    let held = it.take_held();
    it.refuse(&held, "403::Unknown client", json!({"advice": {"reconnect": "handshake"}}));
    let handshake = it.take();
    it.refuse(
        &handshake,
        "403::Handshake denied",
        json!({"ext": {"sfdc": {"failureReason": "401::Authentication invalid"}}, "advice": {"reconnect": "none"}}),
    );
    let [AuthReason::Refused(error)] = &it.asked[..] else { panic!("{:?}", it.asked) };
    assert_eq!(error.as_str(), "401::Authentication invalid");
    it.input(token("second"));
    let again = it.take_on("/meta/handshake");
    assert_eq!(again["ext"]["token"], "second");
}

#[test]
fn request_05_many_refusals_ask_once() {
    let mut it = authenticated(WebSocket);
    let held = it.take_held();
    let calls = [it.publish("/a", json!(1)), it.publish("/a", json!(2)), it.subscribe("/b")];
    for _ in 0..3 {
        let sent = it.take();
        it.refuse(&sent, "401::expired", json!({}));
    }
    it.refuse(&held, "401::expired", json!({}));
    assert_eq!(it.asked.len(), 1);
    it.input(token("second"));
    it.serve();
    for call in calls {
        it.ok(call);
    }
    assert_eq!(it.state(), State::Connected);
    assert_eq!(it.asked.len(), 1);
}

#[test]
fn request_05_an_open_socket_is_opened_anew_with_the_new_credentials() {
    let mut it = authenticated(WebSocket);
    it.subscribe("/a");
    it.serve();
    it.take_held();
    let call = it.publish("/a", json!(1));
    let sent = it.take();
    it.refuse(&sent, "401::expired", json!({}));
    assert!(it.closed.is_empty());
    it.input(token("second"));
    assert_eq!(it.closed, [true], "it keeps the headers that it was opened with");
    let probe = it.take_on("/meta/connect");
    assert!(probe.is_probe());
    it.serve_one(&probe);
    it.serve();
    it.ok(call);
    let gaps = it.count(|event| matches!(event, bayeux_proto::client::Event::GapPossible { .. }));
    assert_eq!(gaps, 1, "what the server sent into the old socket meanwhile is gone");
}

#[test]
fn a_second_refusal_of_the_same_call_is_final() {
    for transport in BOTH {
        let mut it = authenticated(transport);
        it.take_held();
        let call = it.publish("/a", json!(1));
        let sent = it.take();
        it.refuse(&sent, "401::expired", json!({}));
        it.input(token("second"));
        let again = it.wait_until("/a");
        it.refuse(&again, "401::expired", json!({}));
        assert_eq!(it.err(call).server_error().unwrap().code(), Some(401));
    }
}

#[test]
fn so_is_one_of_a_subscription_that_might_be_asked_for_as_often_as_one_likes() {
    let mut it = authenticated(LongPolling);
    it.take_held();
    let call = it.subscribe("/a");
    let sent = it.take();
    it.refuse(&sent, "401::expired", json!({}));
    it.input(token("second"));
    let again = it.wait_until("/meta/subscribe");
    it.refuse(&again, "401::expired", json!({}));
    assert_eq!(it.err(call).server_error().unwrap().code(), Some(401));
}

/// The session is lost while a publish is out, and while the next handshake is out, the late answer to the publish
/// has the credentials renewed. The handshake that still has the old ones.
fn renewed_during_the_handshake(it: &mut Harness) -> Sent {
    let held = it.take_held();
    it.publish("/a", json!(1));
    let late = it.take_on("/a");
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    let handshake = it.take_on("/meta/handshake");
    it.refuse(&late, "401::expired", json!({}));
    it.input(token("second"));
    assert_eq!(it.asked.len(), 1);
    handshake
}

#[test]
fn a_handshake_that_went_out_with_the_old_credentials_goes_out_again_with_those_that_came_meanwhile() {
    for refused in [true, false] {
        let mut it = authenticated(LongPolling);
        let handshake = renewed_during_the_handshake(&mut it);
        if refused {
            it.refuse(&handshake, "401::expired", json!({}));
        } else {
            it.fail(&handshake, FailureKind::Http { status: 401 });
        }
        assert_eq!(it.asked.len(), 1, "they are there already");
        let again = it.take_on("/meta/handshake");
        assert_eq!(again["ext"]["token"], "second");
        it.serve_one(&again);
        it.serve();
        assert_eq!(it.state(), State::Connected);
    }
}

#[test]
fn a_handshake_whose_socket_is_left_for_new_credentials_goes_out_again_over_the_next() {
    let mut it = authenticated(WebSocket);
    let unanswered = it.publish("/b", json!(2));
    it.wait_until("/b");
    renewed_during_the_handshake(&mut it);
    assert_eq!(it.closed, [true]);
    assert!(matches!(it.err(unanswered), CallError::Transport { fate_unknown: true, .. }));
    let again = it.take_on("/meta/handshake");
    assert_eq!(again["ext"]["token"], "second");
    it.serve_one(&again);
    it.serve();
    assert_eq!(it.state(), State::Connected);
}

#[test]
fn calls_that_were_refused_fail_when_no_new_credentials_can_be_had() {
    let mut it = authenticated(LongPolling);
    it.take_held();
    let call = it.publish("/a", json!(1));
    let sent = it.take();
    it.refuse(&sent, "401::expired", json!({}));
    it.input(Input::Credentials(Err("no vault".to_owned())));
    assert_eq!(it.err(call), &CallError::NoCredentials("no vault".to_owned()));
}

#[test]
fn a_subscription_that_was_refused_fails_when_no_new_credentials_can_be_had() {
    let mut it = authenticated(LongPolling);
    it.take_held();
    let calls = [it.subscribe("/a"), it.call(support::subscribe("/a", SinkId(7)))];
    let sent = it.take_on("/meta/subscribe");
    it.refuse(&sent, "401::expired", json!({}));
    it.input(Input::Credentials(Err("no vault".to_owned())));
    for call in calls {
        assert_eq!(it.err(call), &CallError::NoCredentials("no vault".to_owned()));
    }
    // Nothing is left of it that a later call would wait for.
    let again = it.subscribe("/a");
    it.serve();
    it.ok(again);
}

#[test]
fn without_anybody_to_ask_a_refusal_is_just_that() {
    let mut it = Harness::connected(LongPolling);
    let held = it.take_held();
    it.refuse(&held, "401::expired", json!({}));
    assert!(it.asked.is_empty());
    let (_, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, secs(1));
}

#[test]
fn credentials_that_nobody_asked_for_are_ignored() {
    let mut it = authenticated(LongPolling);
    it.take_held();
    it.input(token("unasked"));
    it.nothing_sent();
    assert_eq!(it.state(), State::Connected);
    let ext: Value = it.held()["ext"].clone();
    assert!(ext.is_null());
}

#[test]
fn a_session_that_gets_no_new_credentials_tries_again_after_a_pause() {
    let mut it = authenticated(LongPolling);
    let held = it.take_held();
    it.refuse(&held, "401::expired", json!({}));
    assert_eq!(it.state(), State::Unconnected);
    it.input(Input::Credentials(Err("no vault".to_owned())));
    let (connect, pause) = it.wait_for("/meta/connect");
    assert_eq!((pause, it.state()), (secs(1), State::Unconnected));
    it.refuse(&connect, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    let (handshake, _) = it.wait_for("/meta/handshake");
    it.refuse(&handshake, "401::expired", json!({}));
    it.input(Input::Credentials(Err("no vault".to_owned())));
    let (handshake, pause) = it.wait_for("/meta/handshake");
    assert!(!pause.is_zero());
    it.serve_one(&handshake);
    it.serve();
    assert_eq!(it.state(), State::Connected);
}

#[test]
fn a_connect_that_went_out_with_the_old_credentials_does_not_ask_for_newer_ones() {
    let mut it = authenticated(LongPolling);
    let held = it.take_held();
    it.publish("/a", json!(1));
    let sent = it.take();
    it.refuse(&sent, "401::expired", json!({}));
    it.input(token("second"));
    it.serve();
    it.fail(&held, FailureKind::Http { status: 401 });
    assert_eq!(it.asked.len(), 1);
    it.take_on("/meta/connect");
}

#[test]
fn while_they_are_asked_for_nothing_is_due_and_what_was_not_refused_waits() {
    let mut it = with_auth(LongPolling);
    it.connect_extra = json!({"advice": {"interval": 1000}});
    it.open();
    it.input(token("first"));
    it.serve();
    let refused = it.publish("/a", json!(1));
    let sent = it.take();
    it.refuse(&sent, "401::expired", json!({}));
    let waits = it.publish("/a", json!(2));
    it.elapse(secs(5));
    it.nothing_sent();
    it.input(Input::Credentials(Err("no vault".to_owned())));
    assert_eq!(it.err(refused), &CallError::NoCredentials("no vault".to_owned()));
    it.serve();
    it.ok(waits);
}

#[test]
fn only_a_refusal_that_is_about_rights_asks_for_credentials() {
    for (error, asked) in [("403::forbidden", 1), ("500::broken", 0)] {
        let mut it = authenticated(LongPolling);
        let held = it.take_held();
        it.refuse(&held, error, json!({"advice": {"reconnect": "none"}}));
        assert_eq!(it.asked.len(), asked, "{error}");
        assert_eq!(it.state() == State::Disconnected, asked == 0, "{error}");
    }
    let mut it = authenticated(LongPolling);
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    let handshake = it.take_on("/meta/handshake");
    it.fail(&handshake, FailureKind::Http { status: 503 });
    assert!(it.asked.is_empty());
    let mut it = authenticated(LongPolling);
    let call = it.publish("/a", json!(1));
    let sent = it.wait_until("/a");
    it.fail(&sent, FailureKind::Lost);
    assert!(matches!(it.err(call), CallError::Transport { fate_unknown: true, .. }));
    assert!(it.asked.is_empty());
}

#[test]
fn new_credentials_for_a_socket_do_not_undercut_the_advised_interval() {
    let mut it = with_auth(WebSocket);
    it.connect_extra = json!({"advice": {"interval": 5000}});
    it.open();
    it.input(token("first"));
    it.serve();
    it.publish("/a", json!(1));
    let sent = it.take();
    it.refuse(&sent, "401::expired", json!({}));
    it.input(token("second"));
    assert_eq!(it.closed, [true]);
    let (_, pause) = it.wait_for("/meta/connect");
    assert_eq!(pause, secs(5));
}
