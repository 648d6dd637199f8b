//! What the application sees of sessions, and does with them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use bayeux_server::{
    BayeuxError, ClientId, Denial, Message, Policy, RemovedBecause, Server, SessionEvent, SessionState,
};
use serde_json::json;
use support::*;

fn names(from: usize, count: usize) -> serde_json::Value {
    (from..from + count).map(|number| format!("/a/{number}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_keeps_up_misses_nothing_however_much_happens_at_once() {
    let server = Server::builder().max_subscriptions(100_000).max_batch(25_000).build().unwrap();
    let mut events = server.events();
    let client = Client::handshake(&server, None).await;
    let batch: Vec<_> = (0..10)
        .map(|part| json!({"channel": "/meta/subscribe", "id": "s", "subscription": names(part * 5_000, 5_000)}))
        .collect();
    client.post(json!(batch)).await;
    assert!(matches!(events.next().await, Some(SessionEvent::Added { .. })));
    for number in 0..50_000 {
        match events.next().await {
            Some(SessionEvent::Subscribed { session: id, channel, .. }) => {
                assert_eq!((id.as_str(), channel.as_str()), (&*client.id, &*format!("/a/{number}")));
            }
            other => panic!("{number}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_does_not_keep_up_is_told_and_can_list_what_is_true() {
    let server = Server::builder().max_event_bytes(10_000).build().unwrap();
    let mut events = server.events();
    let first = Client::handshake(&server, None).await;
    let second = Client::handshake(&server, None).await;
    first.post(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": names(0, 1000)}])).await;
    first.post(json!([{"channel": "/meta/unsubscribe", "id": "u", "subscription": names(0, 998)}])).await;
    let missed = match events.next().await {
        Some(SessionEvent::Missed(missed)) => missed,
        other => panic!("{other:?}"),
    };
    assert!(missed > 1_900, "{missed}");
    let state = |state: &SessionState| {
        (
            state.id.as_str().to_owned(),
            state.subscriptions.iter().map(|name| name.as_str().to_owned()).collect(),
        )
    };
    let now: Vec<(String, Vec<String>)> = events.resync().iter().map(state).collect();
    let mut subscriptions = now[0].1.clone();
    subscriptions.sort();
    assert_eq!((&now[0].0, subscriptions), (&first.id, vec!["/a/998".to_owned(), "/a/999".to_owned()]));
    assert_eq!(now[1], (second.id.clone(), vec![]));
    assert_eq!(now.len(), 2);
    assert_eq!(server.session_list().len(), 2);
    server.disconnect(&ClientId::new(&second.id));
    let next = events.next().await;
    let expected = SessionEvent::removed(ClientId::new(&second.id), RemovedBecause::Dismissed);
    assert_eq!(next, Some(expected), "and what came after it, at once");
}

#[tokio::test(start_paused = true)]
async fn every_listener_gets_every_event_and_the_end() {
    let server = Server::builder().build().unwrap();
    let (mut one, mut two) = (server.events(), server.events());
    let client = Client::handshake(&server, None).await;
    let added = Some(SessionEvent::added(ClientId::new(&client.id)));
    assert_eq!((one.next().await, two.next().await), (added.clone(), added));
    let waiting = tokio::spawn(async move { one.next().await });
    tokio::task::yield_now().await;
    drop((server, client));
    assert_eq!(tokio::time::timeout(SOON, waiting).await.expect("the end").unwrap(), None);
    assert_eq!(two.next().await, None);
    assert_eq!(two.resync(), []);
}

struct NoEntry;

impl Policy for NoEntry {
    fn may_handshake(&mut self, _: &Message) -> Result<(), Denial> {
        Err(Denial::with(BayeuxError::new(403, "", "no entry")))
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_handshake_is_an_event() {
    let server = Server::builder().policy(NoEntry).build().unwrap();
    let mut events = server.events();
    let answer = call(server.service(), request(None, json!([handshake()]).to_string())).await;
    assert_eq!(answer.messages()[0]["error"], "403::no entry");
    match events.next().await {
        Some(SessionEvent::HandshakeRefused { error, .. }) => assert_eq!(error.to_string(), "403::no entry"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_ended_with_a_reason() {
    let server = Server::builder().build().unwrap();
    let client = Client::connected(&server, None).await;
    let held = client.held().await;
    server.disconnect_because(&ClientId::new(&client.id), BayeuxError::new(403, "", "banned"));
    let farewell = held.await.unwrap().messages().remove(0);
    assert_eq!(
        (&farewell["channel"], &farewell["error"]),
        (&json!("/meta/disconnect"), &json!("403::banned"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_exist_answers_at_once() {
    let server = Server::builder().build().unwrap();
    let client = Client::connected(&server, None).await;
    let mut replies = client.post(json!([{"channel": "/service/none", "id": "7", "data": 1}])).await;
    if replies.len() == 1 {
        replies.extend(client.connect(json!({"advice": {"timeout": 0}})).await.messages());
    }
    let answer = replies.iter().find(|reply| reply.get("error").is_some()).expect("an error");
    assert_eq!(answer["error"], "404::unknown_service");
    assert_eq!((&answer["channel"], &answer["id"]), (&json!("/service/none"), &json!("7")));
}

#[tokio::test]
async fn what_is_printed_of_a_server_is_no_lock() {
    let server = Server::builder().build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let _socket = Socket::open(&running.url()).await;
    assert_eq!(format!("{server:?}"), "Server { sockets: 1, .. }");
    for text in [format!("{running:?}"), format!("{:?}", server.service()), format!("{:?}", server.events())]
    {
        for lock in ["Mutex", "Semaphore", "engine", "poisoned"] {
            assert!(!text.contains(lock), "{text}");
        }
    }
}

#[tokio::test]
async fn the_grace_of_a_shutdown_is_an_option() {
    let server = Server::builder().shutdown_grace(Duration::from_millis(50)).build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let _deaf = Socket::open(&running.url()).await;
    let began = std::time::Instant::now();
    tokio::time::timeout(SOON, running.shutdown()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "not the default");
}

#[tokio::test]
async fn many_may_come_back_at_once() {
    // Nobody accepts while this thread connects them.
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let address = running.local_addr();
    let connect = || std::net::TcpStream::connect_timeout(&address, SOON);
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|most| most.trim().parse().ok());
    let count = most.unwrap_or(1024_usize).min(600);
    let streams: Vec<_> = (0..count).map(|_| connect().expect("a place in the backlog")).collect();
    assert_eq!(streams.len(), count);
}
