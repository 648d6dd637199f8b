//! Sockets over loopback, with another WebSocket implementation at the client's end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use bayeux_server::{Server, Transport};
use http::StatusCode;
use serde_json::json;
use support::*;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn case_79_a_session_moves_to_a_new_socket_with_all_that_waits() {
    let server = Server::builder().build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let (mut old, id) = Socket::connected(&running.url()).await;
    old.ask(sign(&id, json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}]))).await;
    // The old socket only seems alive.
    let mut new = Socket::open(&running.url()).await;
    let first = new.ask(sign(&id, json!([connect(json!({"advice": {"timeout": 0}}))]))).await;
    assert_eq!(first[0]["successful"], true);
    assert!(matches!(old.next().await, Got::Close(1000, _)));
    server.publish("/a", &"new").unwrap();
    assert_eq!(events(&new.messages().await), [json!("new")]);

    drop(new);
    drop(old);
    let mut third = Socket::open(&running.url()).await;
    server.publish("/a", &"missed or pushed").unwrap();
    let replies = third.ask(sign(&id, json!([connect(json!({"advice": {"timeout": 0}}))]))).await;
    assert_eq!(replies.last().unwrap()["successful"], true, "no handshake was needed: {replies:?}");
    running.shutdown().await;
}

#[tokio::test]
async fn a_session_that_began_by_post_goes_on_over_a_socket() {
    let server = Server::builder().build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let client = Client::handshake(&server, None).await;
    let cookie = client.cookie.clone().unwrap();
    let mut socket = Socket::open_with(&running.url(), &[("cookie", &cookie)]).await.unwrap();
    let replies = socket.ask(sign(&client.id, json!([connect(json!({}))]))).await;
    assert_eq!(replies[0]["successful"], true);
    let subscribe = json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}]);
    socket.ask(sign(&client.id, subscribe)).await;
    server.publish("/a", &1).unwrap();
    assert_eq!(events(&socket.messages().await), [json!(1)]);
}

#[tokio::test]
async fn case_84_frames_that_do_harm_end_their_socket_and_no_other() {
    let server = Server::builder().max_message_size(10_000).build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let (mut good, id) = Socket::connected(&running.url()).await;
    let deep = format!("[{}", "[".repeat(9_000));
    for (frame, code) in [
        (Message::text("x".repeat(10_001)), 1009),
        (Message::text("nonsense"), 1007),
        (Message::text(deep), 1007),
        (Message::text("[1]"), 1007),
        (Message::binary(&b"[{\"channel\":\"\xff\"}]"[..]), 1003),
        (Message::binary(&b"\x00"[..]), 1003),
        (Message::text("[]"), 1008),
        (Message::text(json!([handshake(), handshake()]).to_string()), 1008),
    ] {
        let mut bad = Socket::open(&running.url()).await;
        bad.send_raw(frame.clone()).await;
        let got = bad.next().await;
        assert!(matches!(&got, Got::Close(got, _) if *got == code), "{code}: {got:?}");
    }
    let publish = json!([{"channel": "/a", "id": "1", "data": 1}]);
    assert_eq!(good.ask(sign(&id, publish)).await[0]["successful"], true);
}

#[tokio::test]
async fn case_85_pages_of_other_origins_may_open_no_socket() {
    let server = Server::builder().origins(["https://example.com"]).build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let open = async |origin: &[(&'static str, &str)]| Socket::open_with(&running.url(), origin).await.err();
    assert_eq!(open(&[("origin", "https://evil.example")]).await, Some(StatusCode::FORBIDDEN));
    assert_eq!(open(&[("origin", "null")]).await, Some(StatusCode::FORBIDDEN));
    assert_eq!(open(&[("origin", "https://example.com")]).await, None);
    assert_eq!(open(&[]).await, None, "no browser");
}

#[tokio::test]
async fn sockets_may_be_too_many_or_not_offered() {
    let running = Server::builder().max_connections(2).build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let first = Socket::open(&running.url()).await;
    let _second = Socket::open(&running.url()).await;
    assert_eq!(Socket::open_with(&running.url(), &[]).await.err(), Some(StatusCode::SERVICE_UNAVAILABLE));
    drop(first);
    let freed = async {
        while Socket::open_with(&running.url(), &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, freed).await.expect("a place is free again");

    let server = Server::builder().transports([Transport::LongPolling]).build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    assert_eq!(Socket::open_with(&running.url(), &[]).await.err(), Some(StatusCode::BAD_REQUEST));
}

#[tokio::test]
async fn a_silent_socket_is_closed() {
    let server = Server::builder().socket_idle_timeout(Duration::from_millis(100)).build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let mut socket = Socket::open(&running.url()).await;
    assert!(matches!(socket.next().await, Got::Close(1001, _)));
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_socket_but_not_the_server_its_memory() {
    let server = Server::builder().max_queue_bytes(1024 * 1024).build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let mut events = server.events();
    let (mut socket, id) = Socket::connected(&running.url()).await;
    socket.ask(sign(&id, json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}]))).await;
    let large = "x".repeat(256 * 1024);
    let dropped = async {
        loop {
            server.publish("/a", &large).unwrap();
            tokio::select! {
                event = events.next() => {
                    if let Some(bayeux_server::SessionEvent::Dropped { messages: count, .. }) = event {
                        return count;
                    }
                }
                () = tokio::task::yield_now() => {}
            }
        }
    };
    let count = tokio::time::timeout(SOON, dropped).await.expect("what is lost is told");
    assert!(count > 0);
}

#[tokio::test]
async fn a_shutdown_says_goodbye_to_every_socket_and_waits_for_it() {
    let server = Server::builder().build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let (mut holding, id) = Socket::connected(&running.url()).await;
    let (mut idle, _) = Socket::connected(&running.url()).await;
    holding.send(sign(&id, json!([connect(json!({}))]))).await;
    let publish = json!([{"channel": "/a", "id": "1", "data": 1}]);
    holding.ask(sign(&id, publish)).await;
    let url = running.url();
    let down = tokio::spawn(running.shutdown());
    let reply = holding.messages().await.remove(0);
    assert_eq!(
        (&reply["channel"], &reply["advice"]["reconnect"]),
        (&json!("/meta/connect"), &json!("handshake"))
    );
    assert!(matches!(holding.next().await, Got::Close(1001, _)));
    assert!(matches!(idle.next().await, Got::Close(1001, _)));
    assert_eq!((holding.next().await, idle.next().await), (Got::End, Got::End));
    tokio::time::timeout(Duration::from_secs(4), down).await.expect("no need to wait for the grace").unwrap();
    let address = url.trim_start_matches("http://").trim_end_matches("/cometd").to_owned();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_shutdown_says_goodbye_to_sockets_without_a_session_as_well() {
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let mut silent = Socket::open(&running.url()).await;
    let down = tokio::spawn(running.shutdown());
    assert!(matches!(silent.next().await, Got::Close(1001, _)));
    assert_eq!(silent.next().await, Got::End);
    tokio::time::timeout(Duration::from_secs(4), down).await.expect("no need to wait for the grace").unwrap();
}

#[tokio::test]
async fn a_shutdown_waits_only_so_long_for_a_socket_that_does_not_answer() {
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let _deaf = Socket::open(&running.url()).await;
    tokio::time::timeout(SOON, running.shutdown()).await.expect("five seconds at most");
}
