//! Subscriptions that begin in the past, and what a lost connection or session means for them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use bayeux_proto::Transport;
use bayeux_proto::client::{
    CallError, Config, Event, FailureKind, Input, Operation, Replay, ReplayFallback, SinkId, Verdict,
};
use serde_json::{Value, json};
use support::{BOTH, Harness, INBOX, LongPolling, Sent, WebSocket, channel, config, secs};

const STREAM: SinkId = SinkId(1);
const OTHER: SinkId = SinkId(2);
const FILTERED: &str = "/topic/T?Industry='Energy'";

fn from(name: &str, sink: SinkId, begin: Replay) -> Operation {
    falling_back(name, sink, begin, ReplayFallback::All)
}

fn falling_back(name: &str, sink: SinkId, begin: Replay, fallback: ReplayFallback) -> Operation {
    Operation::SubscribeFrom { channel: channel(name), sink, begin, fallback }
}

fn announcing(transport: Transport) -> Config {
    let mut config = config(&[transport]);
    config.replay = true;
    config.ack = false;
    config
}

/// An open session at a server that supports replay, as Salesforce does; it holds the second connect.
fn open(transport: Transport) -> Harness {
    opened(announcing(transport))
}

fn opened(config: Config) -> Harness {
    let mut it = Harness::new(config);
    it.handshake_extra = json!({"ext": {"replay": true, "payload.format": true}});
    let open = it.open();
    let handshake = it.take_on("/meta/handshake");
    assert_eq!(handshake["ext"]["replay"], true);
    it.serve_one(&handshake);
    it.serve();
    it.ok(open);
    it
}

fn event(id: i64) -> Value {
    json!({"event": {"replayId": id}})
}

/// The ids that a receiver got, in order.
fn ids(it: &Harness, sink: SinkId) -> Vec<i64> {
    let parse =
        |data: String| serde_json::from_str::<Value>(&data).unwrap()["event"]["replayId"].as_i64().unwrap();
    it.received(sink).into_iter().map(parse).collect()
}

fn replays(sent: &Sent) -> &Value {
    &sent["ext"]["replay"]
}

/// The next subscribe, after all that comes before it was granted.
fn next_subscribe(it: &mut Harness) -> Sent {
    for _ in 0..20 {
        match it.take_any() {
            Some(sent) if sent.channel() == "/meta/subscribe" => return sent,
            Some(sent) => it.serve_one(&sent),
            None => drop(it.jump()),
        }
    }
    panic!("nothing subscribes");
}

/// The server has lost the session, as Salesforce says it.
fn lose_session(it: &mut Harness) {
    let held = it.held();
    it.refuse(&held, "403::Unknown client", json!({"advice": {"reconnect": "handshake", "interval": 0}}));
}

fn unavailable(id: i64) -> String {
    format!(
        "400::The replayId {{{id}}} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."
    )
}

#[test]
fn a_subscription_says_where_it_begins() {
    for transport in BOTH {
        for (begin, id) in
            [(Replay::Tip, -1), (Replay::All, -2), (Replay::After(17), 17), (Replay::After(0), 0)]
        {
            let mut it = open(transport);
            let call = it.call(from("/topic/T", STREAM, begin));
            let sent = next_subscribe(&mut it);
            assert_eq!(replays(&sent), &json!({"/topic/T": id}));
            it.serve_one(&sent);
            it.ok(call);
        }
    }
}

#[test]
fn a_new_session_asks_for_what_came_after_the_newest_event() {
    for transport in BOTH {
        let mut it = open(transport);
        it.call(from("/topic/T", STREAM, Replay::After(3)));
        it.call(from(FILTERED, OTHER, Replay::After(100)));
        it.serve();
        for id in [4, 9, 5] {
            it.event("/topic/T", event(id));
            it.serve();
        }
        assert_eq!(ids(&it, STREAM), [4, 9], "an older one is no news, and does not move the position back");
        assert_eq!(ids(&it, OTHER), [0_i64; 0], "that filter is at 100");
        lose_session(&mut it);
        let first = next_subscribe(&mut it);
        let mut asked: Vec<Value> =
            first.messages.iter().map(|message| message["ext"]["replay"].clone()).collect();
        asked.sort_by_key(Value::to_string);
        assert_eq!(asked, [json!({"/topic/T": 9}), json!({FILTERED: 100})]);
        it.serve_one(&first);
        it.serve();
        assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), 0, "nothing can be missed");
        for id in [8, 9, 10, 10] {
            it.event("/topic/T", event(id));
            it.serve();
        }
        assert_eq!(ids(&it, STREAM), [4, 9, 10], "each once");
    }
}

#[test]
fn without_a_first_event_a_gap_is_reported() {
    let mut it = open(LongPolling);
    it.call(from("/topic/T", STREAM, Replay::Tip));
    it.serve();
    lose_session(&mut it);
    let sent = next_subscribe(&mut it);
    assert_eq!(replays(&sent), &json!({"/topic/T": -1}));
    assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), 1);
}

#[test]
fn what_a_lost_connection_may_have_carried_is_replayed_in_a_new_session() {
    for transport in BOTH {
        let mut it = open(transport);
        it.call(from("/topic/T", STREAM, Replay::Tip));
        it.subscribe("/topic/U");
        it.serve();
        it.event("/topic/T", event(4));
        it.serve();
        let held = it.held();
        it.fail(&held, FailureKind::Lost);
        let (handshake, waited) = it.wait_for("/meta/handshake");
        assert_eq!(waited, secs(1), "the pause after a failure stays");
        it.serve_one(&handshake);
        let sent = next_subscribe(&mut it);
        let asked: Vec<&Value> = sent.messages.iter().map(|message| &message["ext"]["replay"]).collect();
        assert_eq!(
            asked,
            [&json!({"/topic/T": 4}), &Value::Null],
            "a channel without replay has no position"
        );
        it.serve_one(&sent);
        it.serve();
        let gaps = it.events.iter().filter_map(|event| match event {
            Event::GapPossible { channels, .. } => Some(channels.clone()),
            _ => None,
        });
        assert_eq!(gaps.collect::<Vec<_>>(), [[channel("/topic/U")]], "only the channel without replay");
        it.event("/topic/T", event(5));
        assert_eq!(ids(&it, STREAM), [4, 5]);
    }
}

#[test]
fn with_acknowledgements_or_before_sending_nothing_is_lost_and_the_session_stays() {
    let mut with_acks = announcing(LongPolling);
    with_acks.ack = true;
    let mut it = Harness::new(with_acks);
    it.handshake_extra = json!({"ext": {"replay": true, "ack": true}});
    it.connect_extra["ext"] = json!({"ack": 1});
    it.open();
    it.serve();
    it.call(from("/topic/T", STREAM, Replay::After(4)));
    it.serve();
    let held = it.held();
    it.fail(&held, FailureKind::Lost);
    it.wait_for("/meta/connect");

    let mut it = open(LongPolling);
    it.call(from("/topic/T", STREAM, Replay::After(4)));
    it.serve();
    let held = it.held();
    it.fail(&held, FailureKind::Unreachable);
    it.wait_for("/meta/connect");
}

#[test]
fn failing_connections_are_tried_again_with_growing_pauses() {
    let mut it = open(LongPolling);
    it.call(from("/topic/T", STREAM, Replay::After(4)));
    it.serve();
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let held = it.held();
        it.fail(&held, FailureKind::Lost);
        let (handshake, waited) = it.wait_for("/meta/handshake");
        pauses.push(waited.as_secs());
        it.serve_one(&handshake);
        while let Some(sent) = it.take_any() {
            // The connects fail at once.
            if sent.channel() == "/meta/connect" { break } else { it.serve_one(&sent) }
        }
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
}

#[test]
fn a_user_who_gives_up_is_heeded_before_a_new_session_is_asked_for() {
    let mut config = announcing(LongPolling);
    config.decide_retries = true;
    let mut it = opened(config);
    it.decide = Some(Box::new(|_| Verdict::GiveUp));
    it.call(from("/topic/T", STREAM, Replay::After(4)));
    it.serve();
    let held = it.held();
    it.fail(&held, FailureKind::Lost);
    assert_eq!(it.count(|event| matches!(event, Event::Closed(_))), 1);
}

#[test]
fn what_is_not_kept_any_more_follows_the_users_choice_at_first() {
    for (fallback, then) in
        [(ReplayFallback::All, Some(-2)), (ReplayFallback::Tip, Some(-1)), (ReplayFallback::Fail, None)]
    {
        for error in [
            unavailable(7),
            "400::The replayId for channel {/topic/T} wasn't found using the provided replay ID map"
                .to_owned(),
        ] {
            let mut it = open(LongPolling);
            let call = it.call(falling_back("/topic/T", STREAM, Replay::After(7), fallback));
            let sent = next_subscribe(&mut it);
            it.refuse(&sent, &error, json!({}));
            let told = |event: &Event| matches!(event, Event::ReplayUnavailable { after: Some(7), fallback: to, .. } if *to == fallback);
            assert_eq!(it.count(told), 1, "{:?}", it.events);
            let Some(then) = then else {
                let CallError::ReplayUnavailable { after, .. } = it.err(call) else {
                    panic!("{:?}", it.outcomes)
                };
                assert_eq!(*after, Some(7));
                it.nothing_sent();
                assert_eq!(it.session().subscriptions().count(), 0);
                continue;
            };
            assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), 1);
            let again = next_subscribe(&mut it);
            assert_eq!(replays(&again), &json!({"/topic/T": then}));
            it.serve_one(&again);
            it.ok(call);
            it.event("/topic/T", event(2));
            assert_eq!(ids(&it, STREAM), [2], "the ids have begun anew");
        }
    }
}

#[test]
fn what_is_not_kept_any_more_follows_the_users_choice_on_resubscription() {
    for fallback in [ReplayFallback::All, ReplayFallback::Tip, ReplayFallback::Fail] {
        let mut it = open(LongPolling);
        it.call(falling_back("/topic/T", STREAM, Replay::After(7), fallback));
        it.serve();
        lose_session(&mut it);
        let sent = next_subscribe(&mut it);
        it.refuse(&sent, &unavailable(7), json!({}));
        if fallback == ReplayFallback::Fail {
            let [(sinks, _, CallError::ReplayUnavailable { .. })] = &it.lost[..] else {
                panic!("{:?}", it.lost)
            };
            assert_eq!(sinks, &[STREAM]);
            it.serve();
            it.elapse(secs(25));
            assert!(
                !it.story.iter().rev().take(3).any(|step| step.contains("subscribe")),
                "it is not tried again"
            );
        } else {
            let again = next_subscribe(&mut it);
            assert_eq!(replays(&again)["/topic/T"], if fallback == ReplayFallback::All { -2 } else { -1 });
            it.serve_one(&again);
            it.serve();
            assert_eq!(it.count(|event| matches!(event, Event::Resubscribed { outcome: Ok(()), .. })), 1);
            assert!(it.lost.is_empty());
        }
        assert_eq!(it.state(), bayeux_proto::client::State::Connected);
    }
}

#[test]
fn other_refusals_are_what_they_were() {
    let mut it = open(LongPolling);
    let call = it.call(from("/topic/T", STREAM, Replay::After(7)));
    let sent = next_subscribe(&mut it);
    it.refuse(&sent, "403::denied", json!({}));
    assert!(matches!(it.err(call), CallError::Refused(_)));
    assert_eq!(it.count(|event| matches!(event, Event::ReplayUnavailable { .. })), 0);
    // A position is not to blame for what is refused without any.
    let call = it.call(from("/topic/T", STREAM, Replay::All));
    let sent = next_subscribe(&mut it);
    it.refuse(&sent, &unavailable(-2), json!({}));
    assert!(matches!(it.err(call), CallError::Refused(_)));
}

#[test]
fn each_receiver_follows_its_own_choice() {
    let mut it = open(LongPolling);
    let first = it.call(falling_back("/topic/T", STREAM, Replay::After(5), ReplayFallback::Fail));
    let second = it.call(falling_back("/topic/T", OTHER, Replay::After(7), ReplayFallback::All));
    let sent = next_subscribe(&mut it);
    assert_eq!(replays(&sent), &json!({"/topic/T": 5}), "from the earliest on");
    it.refuse(&sent, &unavailable(5), json!({}));
    assert!(matches!(it.err(first), CallError::ReplayUnavailable { after: Some(5), .. }));
    let sent = next_subscribe(&mut it);
    assert_eq!(replays(&sent), &json!({"/topic/T": 7}));
    it.serve_one(&sent);
    it.ok(second);
    it.event("/topic/T", event(8));
    assert_eq!((ids(&it, STREAM), ids(&it, OTHER)), (vec![], vec![8]));
}

#[test]
fn a_second_receiver_that_begins_earlier_gets_its_events_in_a_new_session() {
    for transport in BOTH {
        let mut it = open(transport);
        it.call(from("/topic/T", STREAM, Replay::Tip));
        it.serve();
        it.event("/topic/T", event(9));
        it.serve();
        let call = it.call(from("/topic/T", OTHER, Replay::After(3)));
        assert!(it.is_pending(call));
        let sent = next_subscribe(&mut it);
        assert_eq!(sent["clientId"], "client-2");
        assert_eq!(replays(&sent), &json!({"/topic/T": 3}));
        it.serve_one(&sent);
        it.serve();
        it.ok(call);
        for id in [4, 9, 10] {
            it.event("/topic/T", event(id));
            it.serve();
        }
        assert_eq!((ids(&it, STREAM), ids(&it, OTHER)), (vec![9, 10], vec![4, 9, 10]));
        // One that begins with what comes now needs no new session.
        let call = it.call(from("/topic/T", SinkId(3), Replay::Tip));
        it.ok(call);
    }
}

#[test]
fn a_channel_that_was_left_begins_in_the_past_in_a_new_session_only() {
    let mut it = open(LongPolling);
    it.call(from("/topic/T", STREAM, Replay::Tip));
    it.serve();
    it.unsubscribe("/topic/T", STREAM);
    it.serve();
    it.call(from("/topic/T", OTHER, Replay::After(3)));
    let sent = next_subscribe(&mut it);
    assert_eq!((&sent["clientId"], replays(&sent)), (&json!("client-2"), &json!({"/topic/T": 3})));
}

#[test]
fn what_a_receiver_could_not_take_comes_again_in_a_new_session() {
    for transport in BOTH {
        let mut it = open(transport);
        it.call(from("/topic/T", STREAM, Replay::Tip));
        it.call(from("/topic/T", OTHER, Replay::Tip));
        it.serve();
        for id in [4, 5, 6] {
            it.event("/topic/T", event(id));
            it.serve();
        }
        let call = it.call(Operation::ReplayAgain { channel: channel("/topic/T"), sink: STREAM, after: 4 });
        it.ok(call);
        let sent = next_subscribe(&mut it);
        assert_eq!((&sent["clientId"], replays(&sent)), (&json!("client-2"), &json!({"/topic/T": 4})));
        it.serve_one(&sent);
        it.serve();
        for id in [5, 6, 7] {
            it.event("/topic/T", event(id));
            it.serve();
        }
        assert_eq!((ids(&it, STREAM), ids(&it, OTHER)), (vec![4, 5, 6, 5, 6, 7], vec![4, 5, 6, 7]));
        let call = it.call(Operation::ReplayAgain { channel: channel("/topic/U"), sink: STREAM, after: 4 });
        assert!(matches!(it.err(call), CallError::NotSubscribed(_)));
    }
}

#[test]
fn the_inbox_gets_nothing_twice_beside_a_replayed_stream() {
    let mut it = open(WebSocket);
    it.subscribe("/topic/T");
    it.call(from("/topic/T", STREAM, Replay::Tip));
    it.serve();
    it.event("/topic/T", event(1));
    it.push(json!([{"channel": "/topic/T", "data": {"event": {"replayId": 2}}}, {"channel": "/topic/T", "data": {"event": {"replayId": 1}}}]));
    assert_eq!((ids(&it, INBOX), ids(&it, STREAM)), (vec![1, 2], vec![1, 2]));
    it.event("/topic/T", json!("no id"));
    assert_eq!(it.inbox().len(), 3, "what has no id is delivered");
}

#[test]
fn events_of_the_session_before_do_not_overtake_those_that_are_replayed() {
    let mut it = open(LongPolling);
    it.call(from("/topic/T", STREAM, Replay::After(3)));
    it.serve();
    it.publish("/a", json!(1));
    let publish = it.take_on("/a");
    lose_session(&mut it);
    let (handshake, _) = it.wait_for("/meta/handshake");
    it.serve_one(&handshake);
    // The response to a request of the old session comes late, with an event.
    let reply = json!({"channel": "/a", "id": publish["id"], "successful": true});
    it.respond(&publish, json!([{"channel": "/topic/T", "data": event(9)}, reply]));
    it.serve();
    it.event("/topic/T", event(4));
    it.serve();
    it.event("/topic/T", event(9));
    assert_eq!(ids(&it, STREAM), [4, 9]);
}

#[test]
fn a_server_without_replay_is_said_to_be_one() {
    let mut it = Harness::new(announcing(LongPolling));
    it.open();
    it.serve();
    for begin in [Replay::All, Replay::After(3)] {
        let call = it.call(from("/topic/T", STREAM, begin));
        assert!(matches!(it.err(call), CallError::ReplayUnavailable { after: None, .. }));
    }
    let call = it.call(from("/topic/T", STREAM, Replay::Tip));
    let sent = next_subscribe(&mut it);
    assert_eq!(sent["ext"], Value::Null);
    it.serve_one(&sent);
    it.ok(call);
    it.event("/topic/T", event(4));
    it.serve();
    lose_session(&mut it);
    next_subscribe(&mut it);
    assert_eq!(it.count(|event| matches!(event, Event::GapPossible { .. })), 1);
}

#[test]
fn a_server_that_is_not_asked_is_taken_to_support_it() {
    let mut it = Harness::connected(LongPolling);
    it.call(from("/topic/T", STREAM, Replay::After(3)));
    let sent = next_subscribe(&mut it);
    assert_eq!(replays(&sent), &json!({"/topic/T": 3}));
}

#[test]
fn patterns_services_and_meta_channels_have_no_past() {
    let mut it = open(LongPolling);
    for name in ["/topic/*", "/topic/**", "/service/a", "/meta/connect"] {
        let call = it.call(from(name, STREAM, Replay::Tip));
        assert!(matches!(it.err(call), CallError::WrongChannel { .. }), "{name}");
    }
}

#[test]
fn a_disconnect_by_the_server_is_survived_if_that_is_wanted() {
    for transport in BOTH {
        let mut config = announcing(transport);
        config.survive_disconnect = true;
        let mut it = opened(config);
        it.call(from("/topic/T", STREAM, Replay::After(3)));
        it.serve();
        let disconnect = json!({"channel": "/meta/disconnect", "successful": true});
        if transport == WebSocket {
            it.push(json!([disconnect]));
        } else {
            let held = it.held();
            it.respond(&held, json!([disconnect]));
        }
        let (handshake, _) = it.wait_for("/meta/handshake");
        it.serve_one(&handshake);
        let sent = next_subscribe(&mut it);
        assert_eq!(replays(&sent), &json!({"/topic/T": 3}));
        it.serve_one(&sent);
        it.serve();
        assert_eq!(it.count(|event| matches!(event, Event::Closed(_))), 0);
        assert_eq!(it.state(), bayeux_proto::client::State::Connected);
    }
}

#[test]
fn a_closed_session_forgets_the_positions_of_streams() {
    let mut it = open(LongPolling);
    it.call(from("/topic/T", STREAM, Replay::After(3)));
    it.serve();
    it.close();
    it.serve();
    it.elapse(secs(10));
    it.open();
    it.serve();
    it.subscribe("/topic/T");
    assert_eq!(next_subscribe(&mut it)["ext"], Value::Null);
    it.input(Input::Reconnect);
}
