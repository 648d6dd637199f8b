//! Peers that ask for as much as they can, of a server with real sockets: what they ask for is done in slices, and others are
//! served between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bayeux_server::{Server, SessionEvent};
use http::StatusCode;
use serde_json::{Value, json};
use support::*;

fn subscribe(id: &str, channel: &str) -> Value {
    sign(id, json!([{"channel": "/meta/subscribe", "id": "s", "subscription": channel}]))
}

fn publishes(id: &str, channel: &str, numbers: std::ops::Range<usize>) -> Value {
    let messages: Vec<Value> =
        numbers.map(|n| json!({"channel": channel, "id": n.to_string(), "data": n})).collect();
    sign(id, json!(messages))
}

/// Frames until so many messages have come.
async fn collect(socket: &mut Socket, count: usize) -> Vec<Value> {
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.extend(socket.messages().await);
    }
    messages
}

#[tokio::test]
async fn what_is_much_work_is_done_in_order_and_the_socket_is_read_again() {
    let server = Server::builder().build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let mut ears = Vec::new();
    for _ in 0..20 {
        let (mut socket, id) = Socket::connected(&running.url()).await;
        socket.ask(subscribe(&id, "/a")).await;
        ears.push(socket);
    }
    let (mut socket, id) = Socket::connected(&running.url()).await;
    // Each is more than is done at once.
    for batch in 0..3 {
        socket.send(publishes(&id, "/a", batch * 1000..(batch + 1) * 1000)).await;
    }
    let replies = collect(&mut socket, 3000).await;
    let ids: Vec<_> = replies.iter().map(|reply| reply["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..3000).map(|n| n.to_string()).collect::<Vec<_>>());
    for ear in &mut ears {
        assert_eq!(events(&collect(ear, 3000).await), (0..3000).map(|n| json!(n)).collect::<Vec<_>>());
    }
    assert_eq!(server.memory().requests, 0);
    // And the socket is as good as before.
    let replies = socket.ask(publishes(&id, "/b", 0..1)).await;
    assert_eq!(replies[0]["successful"], true);
    running.shutdown().await;
}

#[tokio::test]
async fn what_the_application_publishes_in_bulk_comes_whole_and_in_order() {
    let server = Server::builder().build().unwrap();
    let mut clients = Vec::new();
    for _ in 0..30 {
        let client = Client::connected(&server, None).await;
        client.post(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a/*"}])).await;
        clients.push(client);
    }
    for n in 0..1000 {
        server.publish("/a/b", &n).unwrap();
    }
    for client in clients {
        let mut got = Vec::new();
        while got.len() < 1000 {
            got.extend(events(&client.connect(json!({})).await.messages()));
        }
        assert_eq!(got, (0..1000).map(|n| json!(n)).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_server_without_memory_says_that_it_is_busy_until_it_has_some() {
    let server = Server::builder().max_memory(256 * 1024).build().unwrap();
    let mut clients = Vec::new();
    let refused = loop {
        let reply = call(server.service(), request(None, json!([handshake()]).to_string())).await;
        let cookie = reply.set_cookie();
        let reply = reply.messages().remove(0);
        if reply["successful"] == false {
            break reply;
        }
        clients.push((reply["clientId"].as_str().unwrap().to_owned(), cookie));
        assert!(clients.len() < 1000, "{:?}", server.memory());
    };
    assert_eq!(refused["error"], "503::server_busy");
    assert_eq!(refused["advice"]["reconnect"], "handshake");
    assert!(server.memory().total() <= 256 * 1024);
    for (id, cookie) in clients.drain(..).take(10) {
        let goodbye = sign(&id, json!([{"channel": "/meta/disconnect", "id": "d"}])).to_string();
        call(server.service(), request(cookie.as_deref(), goodbye)).await;
    }
    let client = Client::connected(&server, None).await;
    assert!(!client.id.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_limits_can_be_set() {
    let server = Server::builder()
        .max_subscriptions_in_all(1)
        .max_client_interval(std::time::Duration::from_secs(5))
        .max_batch(3)
        .build()
        .unwrap();
    let mut events = server.events();
    let client = Client::connected(&server, None).await;
    let two = json!([{"channel": "/meta/subscribe", "id": "s", "subscription": ["/a", "/b"]}]);
    assert_eq!(client.post(two).await[0]["error"], "503::server_busy");
    let four = publishes(&client.id, "/a", 0..4).to_string();
    let answer = call(server.service(), request(client.cookie.as_deref(), four)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let began = tokio::time::Instant::now();
    let reply =
        client.connect(json!({"advice": {"timeout": 0, "interval": 3_600_000}})).await.messages().remove(0);
    assert_eq!(reply["advice"]["interval"], 5000);
    while !matches!(events.next().await, Some(SessionEvent::Removed { .. })) {}
    assert!(began.elapsed() < std::time::Duration::from_secs(17), "{:?}", began.elapsed());
    assert_eq!(server.memory().total(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_said_without_its_words() {
    let server = Server::builder().build().unwrap();
    for body in ["\"\\u001b[31m\"", "<\u{1b}[31m>", "[{\"channel\":\"/a\"},\"\u{9b}\"", "[\u{202e}]"] {
        let answer = call(server.service(), request(None, body.to_owned())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.body.len() < 100 && answer.body.is_ascii(), "{:?}", answer.body);
        assert!(!answer.body.windows(4).any(|part| part == b"\\u{1" || part == b"[31m"), "{:?}", answer.body);
    }
}
