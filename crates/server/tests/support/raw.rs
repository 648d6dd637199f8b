//! Peers that send bytes of their own choice, and read when they like.

use std::time::Duration;

use bayeux_server::Running;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::SOON;

/// A connection with a small buffer for what it receives, so that a peer that does not read is soon noticed.
pub(crate) async fn open(running: &Running) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(running.local_addr()).await.unwrap()
}

/// Waits until the server closes a connection; what it sent before.
pub(crate) async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    let end = async {
        let mut buffer = [0; 65_536];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            received.extend_from_slice(&buffer[..read]);
        }
    };
    tokio::time::timeout(SOON, end).await.expect("the server closes it");
    received
}

/// Whether the server has closed a connection whose peer never reads.
pub(crate) async fn cut(stream: &mut TcpStream) {
    let cut = async {
        while stream.write_all(b"\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, cut).await.expect("the server cuts it");
}

/// A POST with a body.
pub(crate) fn post(cookie: Option<&str>, body: &str) -> String {
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
    format!("POST /cometd HTTP/1.1\r\nHost: h\r\n{cookie}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Reads one response that has a `Content-Length`, so much at a time and after such pauses.
pub(crate) async fn response(stream: &mut TcpStream, pace: Option<(usize, Duration)>) -> (u16, Vec<u8>) {
    let read = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a response"));
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap_or("0").parse().unwrap();
        let mut body = vec![0; length];
        let (piece, pause) = pace.unwrap_or((length.max(1), Duration::ZERO));
        for piece in body.chunks_mut(piece) {
            stream.read_exact(piece).await.expect("the rest of the response");
            tokio::time::sleep(pause).await;
        }
        (status, body)
    };
    tokio::time::timeout(SOON, read).await.expect("a response")
}

/// Asks for something over a connection.
pub(crate) async fn ask(stream: &mut TcpStream, cookie: Option<&str>, messages: &Value) -> Vec<Value> {
    stream.write_all(post(cookie, &messages.to_string()).as_bytes()).await.unwrap();
    let (status, body) = response(stream, None).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

/// The head of a request for a WebSocket.
pub(crate) const UPGRADE: &str = "GET /cometd HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// A WebSocket, opened.
pub(crate) async fn websocket(running: &Running) -> TcpStream {
    let mut stream = open(running).await;
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    assert_eq!(response(&mut stream, None).await.0, 101);
    stream
}

/// A frame as clients send it, masked with zeros.
pub(crate) fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first_byte];
    match payload.len() {
        length @ ..=125 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ ..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
