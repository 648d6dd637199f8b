//! The acknowledge extension: each event once and in order, whatever is lost, and receivers that take their time.

mod support;

use bayeux_proto::Transport;
use bayeux_proto::client::{Event, FailureKind, Input, Operation, SinkId, State};
use serde_json::{Value, json};
use support::{BOTH, Harness, LongPolling, Sent, WebSocket, config, millis, secs, subscribe};

const SLOW: SinkId = SinkId(1);

/// A session whose server acknowledges, subscribed to `/a`, after its first connect was answered with batch 1.
fn acknowledged(transport: Transport) -> Harness {
    let mut it = Harness::over(transport);
    it.handshake_extra = json!({"ext": {"ack": true}});
    it.connect_extra = json!({"ext": {"ack": 1}, "advice": {"timeout": 30_000}});
    it = it.opened();
    it.subscribe("/a");
    it.serve();
    it
}

fn events(numbers: &[u64]) -> Vec<Value> {
    numbers.iter().map(|n| json!({"channel": "/a", "data": n})).collect()
}

/// Events, and the reply to the connect which ends the batch.
fn turn(it: &mut Harness, connect: &Sent, numbers: &[u64], batch: u64) {
    let mut body = events(numbers);
    let id = &connect["id"];
    body.push(json!({"channel": "/meta/connect", "id": id, "successful": true, "ext": {"ack": batch}}));
    it.respond(connect, Value::Array(body));
}

#[test]
fn case_58_connects_say_which_batch_is_done_with_when_the_server_agreed() {
    for transport in BOTH {
        let mut it = Harness::over(transport);
        it.handshake_extra = json!({"ext": {"ack": true}});
        it.open();
        let handshake = it.take();
        assert_eq!(handshake["ext"]["ack"], true);
        it.serve_one(&handshake);
        for batch in 0..3 {
            let connect = it.take_on("/meta/connect");
            assert_eq!(connect["ext"], json!({"ack": batch}));
            it.grant(&connect, json!({"ext": {"ack": batch + 1}}));
        }
        // Other messages carry nothing.
        it.publish("/a", json!(1));
        let publish = it.take_if("/a").or_else(|| {
            it.take_held();
            it.take_if("/a")
        });
        assert!(publish.unwrap().message().get("ext").is_none());
    }
}

#[test]
fn case_58_a_server_that_is_silent_about_it_hears_nothing_of_it() {
    for reply in [json!({}), json!({"ext": {"ack": false}}), json!({"ext": {"ack": {"enabled": false}}})] {
        let mut it = Harness::over(LongPolling);
        it.handshake_extra = reply;
        it.open();
        let handshake = it.take();
        it.serve_one(&handshake);
        let connect = it.take_on("/meta/connect");
        assert!(connect.message().get("ext").is_none());
        it.grant(&connect, json!({"ext": {"ack": 5}}));
        assert!(it.take_held().message().get("ext").is_none());
    }
}

#[test]
fn the_extension_is_not_offered_when_it_is_not_wanted() {
    let mut settings = config(&[LongPolling]);
    settings.ack = false;
    let mut it = Harness::new(settings);
    it.handshake_extra = json!({"ext": {"ack": true}});
    it.open();
    let handshake = it.take();
    assert!(handshake.message().get("ext").is_none());
    it.serve_one(&handshake);
    assert!(it.take_on("/meta/connect").message().get("ext").is_none());
}

#[test]
fn case_59_what_was_lost_with_a_reply_is_delivered_once_and_in_order() {
    let mut it = acknowledged(LongPolling);
    let held = it.take_held();
    assert_eq!(held["ext"]["ack"], 1);
    // Batch 2 with m1 and m2 is lost on its way.
    it.fail(&held, FailureKind::Lost);
    let (again, _) = it.wait_for("/meta/connect");
    assert_eq!(again["ext"]["ack"], 1);
    turn(&mut it, &again, &[1, 2, 3], 3);
    assert_eq!(it.inbox(), ["1", "2", "3"]);
    assert_eq!(it.take_held()["ext"]["ack"], 3);
}

#[test]
fn law_7_events_that_came_before_the_reply_was_lost_are_not_delivered_again() {
    let mut it = acknowledged(WebSocket);
    let held = it.take_held();
    it.push(Value::Array(events(&[1, 2])));
    it.fail(&held, FailureKind::Lost);
    let (again, _) = it.wait_for("/meta/connect");
    assert_eq!(again["ext"]["ack"], 1, "the batch did not end");
    turn(&mut it, &again, &[1, 2, 3], 3);
    assert_eq!(it.inbox(), ["1", "2", "3"]);

    // Twice in a row, and with less the first time than the second.
    let held = it.take_held();
    it.push(Value::Array(events(&[4])));
    it.fail(&held, FailureKind::Lost);
    let (again, _) = it.wait_for("/meta/connect");
    it.push(Value::Array(events(&[4, 5])));
    it.fail(&again, FailureKind::Lost);
    let (again, _) = it.wait_for("/meta/connect");
    turn(&mut it, &again, &[4, 5, 6], 6);
    assert_eq!(it.inbox(), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), 0);
}

#[test]
fn case_60_the_first_connect_begins_where_the_handshake_ended() {
    let mut it = Harness::over(LongPolling);
    it.handshake_extra = json!({"ext": {"ack": {"enabled": true, "batch": 4}}});
    it.open();
    let handshake = it.take();
    it.serve_one(&handshake);
    assert_eq!(it.take_on("/meta/connect")["ext"]["ack"], 4);
}

#[test]
fn case_61_an_unsuccessful_connect_acknowledges_nothing() {
    let mut it = acknowledged(LongPolling);
    let held = it.take_held();
    it.refuse(&held, "500::busy", json!({"ext": {"ack": 9}}));
    let (again, _) = it.wait_for("/meta/connect");
    assert_eq!(again["ext"]["ack"], 1);
}

#[test]
fn case_62_a_new_session_begins_to_count_anew() {
    let mut it = acknowledged(LongPolling);
    let held = it.take_held();
    turn(&mut it, &held, &[1], 7);
    let held = it.take_held();
    it.refuse(&held, "402::session_unknown", json!({"advice": {"reconnect": "handshake"}}));
    let handshake = it.take_on("/meta/handshake");
    it.serve_one(&handshake);
    let subscribe = it.take_on("/meta/subscribe");
    it.serve_one(&subscribe);
    let connect = it.take_on("/meta/connect");
    assert_eq!(connect["ext"]["ack"], 0);
    turn(&mut it, &connect, &[1], 1);
    assert_eq!(it.inbox(), ["1", "1"], "another session's first event is another event");
}

#[test]
fn law_7_replies_are_not_counted_among_the_events() {
    let mut it = acknowledged(WebSocket);
    let held = it.take_held();
    it.publish("/x", json!(1));
    let publish = it.take();
    it.push(json!([{"channel": "/a", "data": 1},
                   {"channel": "/x", "id": publish["id"], "successful": true},
                   {"channel": "/a", "data": 2}]));
    it.fail(&held, FailureKind::Lost);
    let (again, _) = it.wait_for("/meta/connect");
    turn(&mut it, &again, &[1, 2, 3], 2);
    assert_eq!(it.inbox(), ["1", "2", "3"]);
}

#[test]
fn law_7_over_http_events_in_other_responses_are_no_part_of_the_window() {
    let mut it = acknowledged(LongPolling);
    it.take_held();
    it.publish("/x", json!(1));
    let publish = it.take();
    it.respond(
        &publish,
        json!([{"channel": "/a", "data": 0}, {"channel": "/x", "id": publish["id"], "successful": true}]),
    );
    let held = it.held();
    turn(&mut it, &held, &[1, 2], 2);
    assert_eq!(it.inbox(), ["0", "1", "2"]);
}

#[test]
fn request_12_a_receiver_without_room_gets_no_more_than_it_can_take_and_the_session_lives_on() {
    for transport in BOTH {
        let mut it = acknowledged(transport);
        it.call(subscribe("/a", SLOW));
        it.serve();
        it.input(Input::Credit(SLOW, Some((2, 1000))));
        let held = it.take_held();
        turn(&mut it, &held, &[1, 2, 3, 4], 2);
        assert_eq!(it.received(SLOW), ["1", "2"]);
        assert_eq!(it.inbox(), ["1", "2", "3", "4"], "the other receiver does not wait for it");

        // The batch is not acknowledged, and connects go on, with pauses.
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let (connect, pause) = it.wait_for("/meta/connect");
            pauses.push(u64::try_from(pause.as_millis()).unwrap());
            assert_eq!(connect["ext"]["ack"], 1);
            turn(&mut it, &connect, &[1, 2, 3, 4], 2);
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(it.received(SLOW), ["1", "2"]);
        assert_eq!(it.state(), State::Connected);

        // As soon as there is room, the rest is asked for.
        it.input(Input::Credit(SLOW, Some((1, 1000))));
        let connect = it.take_on("/meta/connect");
        turn(&mut it, &connect, &[1, 2, 3, 4, 5], 3);
        assert_eq!(it.received(SLOW), ["1", "2", "3"]);
        it.input(Input::Credit(SLOW, Some((10, 1000))));
        let (connect, _) = it.wait_for("/meta/connect");
        assert_eq!(connect["ext"]["ack"], 1);
        turn(&mut it, &connect, &[1, 2, 3, 4, 5, 6], 4);
        assert_eq!(it.received(SLOW), ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(it.inbox(), ["1", "2", "3", "4", "5", "6"], "each once");
        let connect = it.take_on("/meta/connect");
        assert_eq!(connect["ext"]["ack"], 4, "and now all is done with");
    }
}

#[test]
fn a_receiver_without_room_that_goes_away_holds_nobody_up() {
    let mut it = acknowledged(LongPolling);
    it.call(subscribe("/a", SLOW));
    it.serve();
    it.input(Input::Credit(SLOW, Some((0, 0))));
    let held = it.take_held();
    turn(&mut it, &held, &[1], 2);
    it.nothing_sent();
    it.input(Input::Credit(SLOW, None));
    it.unsubscribe("/a", SLOW);
    let connect = it.take_on("/meta/connect");
    turn(&mut it, &connect, &[1], 2);
    assert_eq!(it.take_held()["ext"]["ack"], 2);
    assert_eq!(it.inbox(), ["1"]);
}

#[test]
fn replies_reach_the_caller_while_a_receiver_has_no_room() {
    let mut it = acknowledged(WebSocket);
    it.input(Input::Credit(support::INBOX, Some((0, 0))));
    let held = it.take_held();
    turn(&mut it, &held, &[1, 2], 2);
    let call = it.publish("/a", json!(3));
    it.serve();
    it.ok(call);
    assert!(it.inbox().is_empty());
}

#[test]
fn without_the_extension_room_is_no_reason_to_lose_anything() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    it.input(Input::Credit(support::INBOX, Some((0, 0))));
    for n in 0..3 {
        it.event("/a", json!(n));
    }
    assert_eq!(it.inbox(), ["0", "1", "2"], "the shell decides what to do with them");
}

#[test]
fn the_pauses_of_a_receiver_without_room_stay_below_what_the_server_keeps_a_session_for() {
    let mut it = acknowledged(LongPolling);
    it.input(Input::Credit(support::INBOX, Some((0, 0))));
    let mut connect = it.take_held();
    it.grant(&connect, json!({"advice": {"maxInterval": 3000}, "ext": {"ack": 2}}));
    let mut longest = millis(0);
    for _ in 0..10 {
        let (next, pause) = it.wait_for("/meta/connect");
        connect = next;
        longest = longest.max(pause);
        turn(&mut it, &connect, &[1], 3);
    }
    assert!(longest <= millis(1500), "{longest:?}");
    assert!(longest > millis(0));
    assert!(longest < secs(3));
}

#[test]
fn case_42_request_10_a_response_that_is_too_large_is_told_and_its_events_come_again() {
    let mut it = acknowledged(LongPolling);
    let held = it.take_held();
    it.fail(&held, FailureKind::TooLarge);
    let Some(Event::Lost { cause, .. }) = it.events.iter().find(|event| matches!(event, Event::Lost { .. }))
    else {
        panic!("{:?}", it.events);
    };
    assert_eq!(cause.failure().unwrap().kind(), FailureKind::TooLarge);
    let (again, _) = it.wait_for("/meta/connect");
    turn(&mut it, &again, &[1, 2], 2);
    assert_eq!(it.inbox(), ["1", "2"]);
    assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), 0);
}

#[test]
fn case_42_without_acknowledgements_the_loss_is_told() {
    let mut it = Harness::connected(LongPolling);
    it.subscribe("/a");
    it.serve();
    let held = it.take_held();
    it.fail(&held, FailureKind::TooLarge);
    it.elapse(secs(1));
    it.serve();
    assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), 1);
}

#[test]
fn a_session_that_is_left_while_its_receiver_has_no_room_loses_nothing() {
    let mut it = acknowledged(LongPolling);
    it.input(Input::Credit(support::INBOX, Some((2, 1000))));
    let held = it.take_held();
    turn(&mut it, &held, &[1, 2, 3, 4], 2);
    assert_eq!(it.inbox(), ["1", "2"]);
    let snapshot = it.session().snapshot(false).unwrap();

    let mut after = Harness::over(LongPolling);
    after.call(Operation::Resume(Box::new(snapshot)));
    let connect = after.take_on("/meta/connect");
    turn(&mut after, &connect, &[1, 2, 3, 4, 5], 3);
    assert_eq!(after.inbox(), ["3", "4", "5"]);
}

#[test]
fn events_without_data_and_answers_that_say_success_have_their_places_too() {
    let mut it = acknowledged(WebSocket);
    it.subscribe("/service/quote");
    let mut held = it.take_held();
    let events = json!([
        {"channel": "/a"},
        {"channel": "/service/quote", "data": 7, "successful": true},
        {"channel": "/a", "data": 1},
    ]);
    it.push(events.clone());
    for _ in 0..2 {
        // What came before the reply comes again with the next one.
        it.fail(&held, FailureKind::Lost);
        (held, _) = it.wait_for("/meta/connect");
        it.push(events.clone());
    }
    let delivered: Vec<_> = it.delivered.iter().map(|(_, message)| message.data().as_str()).collect();
    assert_eq!(delivered, ["null", "7", "1"]);
}

#[test]
fn room_is_no_reason_for_a_connect_that_is_out_or_that_nobody_waits_for() {
    let mut it = acknowledged(LongPolling);
    it.input(Input::Credit(support::INBOX, Some((0, 0))));
    let held = it.take_held();
    turn(&mut it, &held, &[1], 2);
    let (held, _) = it.wait_for("/meta/connect");
    it.input(Input::Credit(support::INBOX, Some((1, 1000))));
    it.nothing_sent();
    turn(&mut it, &held, &[1], 2);
    let held = it.take_held();
    it.grant(&held, json!({"advice": {"interval": 5000}, "ext": {"ack": 3}}));
    it.input(Input::Credit(support::INBOX, Some((5, 1000))));
    it.elapse(millis(4999));
    it.nothing_sent();
}
