//! The scripted server speaks HTTP well enough for clients other than ours.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bayeux_testkit::Peer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn exchange(peer: &Peer, request: &str) -> String {
    let mut stream = TcpStream::connect(peer.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    let whole = async {
        while !response.ends_with(b"]") {
            assert_ne!(stream.read_buf(&mut response).await.unwrap(), 0, "the peer says no more");
        }
    };
    let whole = tokio::time::timeout(Duration::from_secs(10), whole).await;
    let response = String::from_utf8(response).unwrap();
    assert!(whole.is_ok(), "no messages within 10 s, but {response}");
    response
}

#[tokio::test]
async fn a_request_may_come_in_chunks() {
    let peer = Peer::start(|request| request.decently()).await;
    let head = "POST /cometd HTTP/1.1\r\nhost: peer\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = "1a;note=1\r\n[{\"channel\":\"/news\",\"id\":\r\n5\r\n\"1\"}]\r\n0\r\ntrailer: 1\r\n\r\n";
    exchange(&peer, &format!("{head}{body}")).await;
    assert_eq!(peer.received("/news"), [serde_json::json!({"channel": "/news", "id": "1"})]);
}

#[tokio::test]
async fn messages_are_said_to_be_json() {
    let peer = Peer::start(|request| request.decently()).await;
    let body = "[{\"channel\":\"/news\",\"id\":\"1\"}]";
    let length = body.len();
    let request = format!("POST /cometd HTTP/1.1\r\nhost: peer\r\ncontent-length: {length}\r\n\r\n{body}");
    let response = exchange(&peer, &request).await;
    assert!(response.contains("\r\ncontent-type: application/json\r\n"), "{response}");
}
