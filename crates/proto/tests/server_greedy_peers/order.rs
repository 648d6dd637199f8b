//! Order: slices change when something is done, and not in which order a publisher's messages come.

use std::collections::HashMap;
use std::time::Duration;

use bayeux_proto::server::{Input, LinkId, LinkKind, QueueOverflow};
use bayeux_proto::{BayeuxError, ClientId};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::harness::{Server, alone, array, change, connect, handshake, message};

#[test]
fn later_frames_of_a_socket_wait_behind_its_earlier_ones_and_it_is_said_when_they_are_done() {
    let _alone = alone();
    let mut server = Server::with(|config| config.max_steps = 10);
    let (listener, ear) = server.socket();
    server.subscribe_over(&(listener, ear), "/a");
    let (id, socket) = server.socket();
    let batch = |from: usize| array((from..from + 100).map(|n| message(&id, "/a", &n.to_string())));
    server.receive(socket, LinkKind::WebSocket, &batch(0));
    assert!(server.engine().is_busy(socket));
    server.receive(socket, LinkKind::WebSocket, &batch(100));
    assert!(server.ready.is_empty() && server.messages(socket).is_empty());
    while server.sent.get(&socket).is_none_or(|frames| frames.is_empty()) {
        server.handle(Input::Timeout);
    }
    assert!(server.engine().is_busy(socket) && server.ready.is_empty(), "the second is not done");
    server.settle();
    assert_eq!(server.ready, [socket], "once, when both are done");
    assert!(!server.engine().is_busy(socket));
    assert_eq!(numbers(&server.messages(ear)), Vec::from_iter(0..200));
    let replies = server.messages(socket);
    assert_eq!(replies.len(), 200);
    server.receive(socket, LinkKind::WebSocket, &array([message(&id, "/a", "7")]));
    assert_eq!(server.ready.len(), 1, "what does not wait needs no word");
}

#[test]
fn who_unsubscribes_while_a_message_is_handed_out_gets_nothing_after_the_reply() {
    let _alone = alone();
    let mut server = Server::with(|config| config.max_steps = 8);
    let sessions: Vec<_> = (0..200).map(|_| server.socket()).collect();
    for session in &sessions {
        server.subscribe_over(session, "/a");
    }
    server.publish("/a", &json!(1));
    assert!(server.engine().has_work());
    let (id, link) = &sessions[199];
    server.receive(*link, LinkKind::WebSocket, &array([change(id, "unsubscribe", "/a")]));
    assert!(server.engine().has_work(), "it did not wait for the message");
    assert_eq!(server.messages(*link).len(), 1);
    server.settle();
    assert!(server.messages(*link).is_empty());
    assert_eq!(numbers(&server.messages(sessions[198].1)), [1]);
}

#[test]
fn a_request_that_is_given_up_while_it_waits_is_done_and_takes_no_events_along() {
    let _alone = alone();
    for kind in [LinkKind::Http, LinkKind::WebSocket] {
        let mut server = Server::with(|config| config.max_steps = 8);
        let (listener, ear) = server.socket();
        server.subscribe_over(&(listener, ear), "/a");
        let id = server.session();
        server.subscribe(&id, "/own");
        let link = server.link();
        let batch = (0..100).map(|n| message(&id, "/a", &n.to_string()));
        let connect = connect(&id, "");
        let all = array(batch.chain([connect.trim_matches(['[', ']']).to_owned()]));
        server.receive(link, kind, &all);
        if kind == LinkKind::WebSocket {
            server.receive(link, kind, &array([message(&id, "/a", "100")]));
        }
        assert!(server.engine().has_work());
        server.hangs_up(link);
        server.publish("/own", &json!("kept"));
        server.settle();
        let count = if kind == LinkKind::WebSocket { 101 } else { 100 };
        assert_eq!(numbers(&server.messages(ear)), Vec::from_iter(0..count));
        assert!(server.messages(link).is_empty());
        let events = server.post(&super::harness::connect(&id, ""));
        assert_eq!(events[0]["data"], "kept", "{kind:?}: {events:?}");
        server.advance(Duration::from_secs(600));
        assert_eq!((server.engine().sessions(), server.engine().memory().total()), (0, 0));
    }
}

#[test]
fn a_request_without_the_cookie_of_its_session_stays_refused_when_its_link_is_closed_while_it_waits() {
    let _alone = alone();
    for kind in [LinkKind::Http, LinkKind::Callback, LinkKind::WebSocket] {
        for issued in [false, true] {
            let mut server = Server::with(|config| config.max_steps = 8);
            let (listener, ear) = server.socket();
            server.subscribe_over(&(listener, ear), "/a");
            let own = server.link_of("own");
            server.receive(own, LinkKind::Http, &super::harness::handshake(""));
            let id = server.messages(own)[0]["clientId"].as_str().unwrap().to_owned();
            server.hangs_up(own);
            let link = server.link_of(if issued { "own" } else { "other" });
            if issued {
                server.handle(Input::CookieIssued(link));
            }
            server.receive(link, kind, &array((0..100).map(|n| message(&id, "/a", &n.to_string()))));
            assert!(server.engine().has_work());
            server.hangs_up(link);
            server.settle();
            assert!(numbers(&server.messages(ear)).is_empty(), "{kind:?}, {issued}");
        }
    }
}

/// The numbers among the payloads.
fn numbers(messages: &[Value]) -> Vec<u64> {
    messages.iter().filter_map(|message| message["data"].as_u64()).collect()
}

#[derive(Clone, Debug)]
enum Step {
    /// A publisher sends so many messages in one frame or request.
    Batch(usize, usize),
    Application(usize),
    /// An acknowledging receiver connects; whether the reply arrives.
    Fetch(bool),
    Call,
    /// Somebody comes, begins more than one slice of work, and leaves before it is done.
    Visit(Leaving),
}

#[derive(Clone, Copy, Debug)]
enum Leaving {
    Says,
    HangsUp,
    IsSentAway,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize, 1..30_usize).prop_map(|(who, count)| Step::Batch(who, count)),
        1 => (1..5_usize).prop_map(Step::Application),
        1 => any::<bool>().prop_map(Step::Fetch),
        4 => Just(Step::Call),
        1 => prop_oneof![Just(Leaving::Says), Just(Leaving::HangsUp), Just(Leaving::IsSentAway)].prop_map(Step::Visit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever the size of the slices, each receiver gets the messages of each publisher once and in order, and each
    /// request its replies in order.
    #[test]
    fn each_publisher_is_heard_once_and_in_order(
        max_steps in 1..40_usize,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let _alone = alone();
        let mut server = Server::with(|config| {
            config.max_steps = max_steps;
            config.overflow = QueueOverflow::EndSession;
        });
        let receivers: Vec<_> = (0..5).map(|_| server.socket()).collect();
        for receiver in &receivers {
            server.subscribe_over(receiver, "/a/*");
        }
        let acked = server.session_with(r#","ext":{"ack":true}"#);
        server.subscribe(&acked, "/a/*");
        let (one, other) = (server.socket(), server.socket());
        let poster = server.session();
        let mut sent: HashMap<String, u64> = HashMap::new();
        let mut expected: HashMap<LinkId, usize> = HashMap::new();
        let mut batch = 0;
        let mut got: Vec<Value> = Vec::new();
        // Visitors whose sessions end.
        let mut ending = Vec::new();
        // Since the last reply that arrived.
        let mut unsure = 0;
        for step in steps {
            match step {
                Step::Batch(who, count) => {
                    let (id, link) = match who {
                        0 => one.clone(),
                        1 => other.clone(),
                        _ => (poster.clone(), server.link()),
                    };
                    let name = format!("/a/{who}");
                    let next = sent.entry(name.clone()).or_default();
                    let messages: Vec<_> =
                        (0..count as u64).map(|n| message(&id, &name, &(*next + n).to_string())).collect();
                    *next += count as u64;
                    *expected.entry(link).or_default() += count;
                    let kind = if who == 2 { LinkKind::Http } else { LinkKind::WebSocket };
                    server.receive(link, kind, &array(messages));
                    prop_assert_eq!(server.statuses.get(&link), None);
                }
                Step::Application(count) => {
                    for _ in 0..count {
                        let next = sent.entry("/a/x".to_owned()).or_default();
                        let number = *next;
                        *next += 1;
                        server.publish("/a/x", &json!(number));
                    }
                }
                Step::Fetch(arrives) => {
                    let more = format!(r#","advice":{{"timeout":0}},"ext":{{"ack":{batch}}}"#);
                    let link = server.request(&connect(&acked, &more));
                    server.settle();
                    let messages = server.messages(link);
                    let events: Vec<_> =
                        messages.iter().filter(|message| message.get("data").is_some()).cloned().collect();
                    if arrives {
                        got.extend(events.into_iter().skip(unsure));
                        unsure = 0;
                        batch = messages.last().unwrap()["ext"]["ack"].as_u64().unwrap();
                    } else {
                        let fresh = events.len().saturating_sub(unsure);
                        got.extend(events.into_iter().skip(unsure));
                        unsure += fresh;
                    }
                }
                Step::Call => server.handle(Input::Timeout),
                Step::Visit(leaving) => {
                    let link = server.link();
                    server.receive(link, LinkKind::WebSocket, &handshake(""));
                    let id = server.messages(link)[0]["clientId"].as_str().unwrap().to_owned();
                    let mut asked: Vec<_> = (0..30)
                        .flat_map(|n| {
                            let name = format!("/b/{n}");
                            [change(&id, "subscribe", &name), message(&id, &name, "1"), change(&id, "unsubscribe", &name)]
                        })
                        .collect();
                    if let Leaving::Says = leaving {
                        asked.push(format!(r#"{{"channel":"/meta/disconnect","clientId":"{id}"}}"#));
                        asked.push(change(&id, "subscribe", "/a/*"));
                    }
                    server.receive(link, LinkKind::WebSocket, &array(asked));
                    match leaving {
                        Leaving::Says => ending.push(id),
                        Leaving::HangsUp => server.hangs_up(link),
                        Leaving::IsSentAway => {
                            let session = ClientId::new(&id);
                            let reason = BayeuxError::new(403, "", "enough");
                            server.handle(Input::DisconnectBecause { session, reason });
                            ending.push(id);
                        }
                    }
                }
            }
        }
        server.settle();
        let more = format!(r#","advice":{{"timeout":0}},"ext":{{"ack":{batch}}}"#);
        let rest = server.post(&connect(&acked, &more));
        got.extend(rest.into_iter().filter(|message| message.get("data").is_some()).skip(unsure));
        let mut all = vec![got];
        all.extend(receivers.iter().map(|(_, link)| server.messages(*link)));
        for received in all {
            let mut heard: HashMap<String, u64> = HashMap::new();
            for message in received.iter().filter(|message| message.get("data").is_some()) {
                let next = heard.entry(message["channel"].as_str().unwrap().to_owned()).or_default();
                prop_assert_eq!(message["data"].as_u64(), Some(*next));
                *next += 1;
            }
            prop_assert_eq!(&heard, &sent);
        }
        for (link, count) in expected {
            prop_assert_eq!(server.messages(link).len(), count, "replies");
        }
        prop_assert_eq!(server.engine().memory().requests, 0);
        prop_assert_eq!(server.engine().subscriptions(), receivers.len() + 1);
        let alive = server.engine().session_list();
        prop_assert!(alive.iter().all(|(id, _)| !ending.iter().any(|ended| ended == id.as_str())));
    }
}
