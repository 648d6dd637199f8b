//! Peers that want more than their share: what a server keeps for them is counted, byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use bayeux_server::{Builder, ClientId, Running, Server, SessionEvent, Transport};
use bytes::Bytes;
use http_body_util::BodyExt;
use peak_alloc::PeakAlloc;
use serde_json::json;
use support::raw::{self, frame};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, MutexGuard};
use tower::Service;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The allocator counts for all tests of this file, so only one may run.
static ALONE: Mutex<()> = Mutex::const_new(());

const MIB: usize = 1 << 20;
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(3600);

/// What is allocated from now on.
struct Measured {
    before: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Measured {
    async fn new() -> Self {
        let alone = ALONE.lock().await;
        MEMORY.reset_peak_usage();
        Self { before: MEMORY.current_usage(), _alone: alone }
    }

    /// Counts from here.
    fn restart(&mut self) {
        MEMORY.reset_peak_usage();
        self.before = MEMORY.current_usage();
    }

    /// The most that was allocated at once.
    fn assert_peak(&self, most: usize) {
        let peak = MEMORY.peak_usage().saturating_sub(self.before);
        assert!(peak <= most, "{} KiB, more than {} KiB", peak >> 10, most >> 10);
    }

    /// What is allocated now, as soon as it is as little as that.
    async fn assert_returns_to(&self, most: usize) {
        let returned = async {
            while MEMORY.current_usage().saturating_sub(self.before) > most {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(SOON, returned).await.is_err() {
            panic!("{} KiB are kept", MEMORY.current_usage().saturating_sub(self.before) >> 10);
        }
    }
}

async fn start(builder: Builder) -> Running {
    builder.build().unwrap().bind("127.0.0.1:0").await.unwrap()
}

/// Writes the same again and again and never reads, until the server closes the connection; how many bytes it took.
async fn flood(stream: &mut tokio::net::TcpStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    let flood = async {
        while let Ok(more) = stream.write(bytes).await {
            // Whole frames only, as long as they are taken.
            if more < bytes.len() && stream.write_all(&bytes[more..]).await.is_err() {
                break;
            }
            written += bytes.len();
            assert!(written < 512 * MIB, "it is never closed");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), flood).await.expect("it is closed");
    written
}

#[tokio::test]
async fn pings_whose_answers_are_not_read() {
    for payload in [&[0; 125][..], b""] {
        let measured = Measured::new().await;
        let running = start(Server::builder()).await;
        let mut stream = raw::websocket(&running).await;
        let pings = frame(0x89, payload).repeat(1000);
        flood(&mut stream, &pings).await;
        measured.assert_peak(MIB);
    }
}

#[tokio::test]
async fn pings_between_large_messages_keep_not_their_buffers() {
    let measured = Measured::new().await;
    let running = start(Server::builder()).await;
    let mut stream = raw::websocket(&running).await;
    let large = json!([{"channel": "/a", "clientId": "none", "data": "x".repeat(900 << 10)}]).to_string();
    flood(&mut stream, &[frame(0x81, large.as_bytes()), frame(0x89, &[0; 125]).repeat(2)].concat()).await;
    measured.assert_peak(16 * MIB);
}

#[tokio::test]
async fn pings_of_a_peer_that_reads_are_all_answered() {
    let _measured = Measured::new().await;
    let running = start(Server::builder()).await;
    let stream = raw::websocket(&running).await;
    let (mut read, mut write) = stream.into_split();
    for _ in 0..500 {
        write.write_all(&frame(0x89, b"12345678").repeat(50)).await.unwrap();
        let mut pongs = [0; 50 * 10];
        tokio::time::timeout(SOON, read.read_exact(&mut pongs)).await.expect("every pong").unwrap();
        assert!(pongs.chunks(10).all(|pong| pong == b"\x8a\x0812345678"));
    }
}

#[tokio::test]
async fn messages_whose_replies_are_not_read() {
    let measured = Measured::new().await;
    let running = start(Server::builder().write_timeout(SHORT)).await;
    let mut stream = raw::websocket(&running).await;
    let message = json!([{"channel": "/a", "id": "1", "clientId": "none", "data": 1}]).to_string();
    flood(&mut stream, &frame(0x81, message.as_bytes()).repeat(100)).await;
    // The backlog of a socket, which is 8 MiB of frames or 1,024 of them.
    measured.assert_peak(10 * MIB);
}

#[tokio::test]
async fn fragments_without_end() {
    for fragment in [&b""[..], b"x"] {
        let measured = Measured::new().await;
        let running = start(Server::builder().head_timeout(SHORT)).await;
        let mut stream = raw::websocket(&running).await;
        stream.write_all(&frame(0x01, b"[")).await.unwrap();
        flood(&mut stream, &frame(0x00, fragment).repeat(1000)).await;
        measured.assert_peak(4 * MIB);
    }
}

#[tokio::test]
async fn frames_without_content() {
    for first_byte in [0x8a, 0x81, 0x82] {
        let measured = Measured::new().await;
        let running = start(Server::builder().head_timeout(SHORT)).await;
        let mut stream = raw::websocket(&running).await;
        flood(&mut stream, &frame(first_byte, b"").repeat(1000)).await;
        measured.assert_peak(MIB);
    }
}

#[tokio::test]
async fn faults_are_answered_with_a_close_frame_and_what_follows_is_not_kept() {
    let long_close = [&1000_u16.to_be_bytes()[..], &[b'x'; 124]].concat();
    for (bytes, code) in [
        (frame(0xc1, b"[]"), 1002),
        (frame(0x83, b"[]"), 1002),
        (frame(0x80, b"[]"), 1002),
        (frame(0x09, b""), 1002),
        (vec![0x81, 0x02, b'[', b']'], 1002),
        (frame(0x88, b"\x03"), 1002),
        (frame(0x88, &1005_u16.to_be_bytes()), 1002),
        (frame(0x88, &long_close), 1002),
        (frame(0x81, b"\xff\xfe"), 1007),
        (frame(0x81, b"nonsense"), 1007),
        (frame(0x82, b"\x00\x01"), 1003),
        (vec![0x81, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0], 1009),
        ([frame(0x01, &vec![b' '; 600 << 10]), frame(0x80, &vec![b' '; 600 << 10])].concat(), 1009),
    ] {
        let measured = Measured::new().await;
        let running = start(Server::builder()).await;
        let mut stream = raw::websocket(&running).await;
        stream.write_all(&bytes).await.unwrap();
        let mut close = [0; 4];
        tokio::time::timeout(SOON, stream.read_exact(&mut close)).await.expect("a close frame").unwrap();
        assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, code), "{:?}", &bytes[..2]);
        flood(&mut stream, &frame(0x81, b"[]").repeat(1000)).await;
        measured.assert_peak(8 * MIB);
    }
}

#[tokio::test]
async fn a_body_in_pieces_of_one_byte() {
    let mut measured = Measured::new().await;
    let running = start(Server::builder()).await;
    let mut stream = raw::open(&running).await;
    let text =
        json!([{"channel": "/a", "clientId": "none", "id": "1", "data": "x".repeat(MIB - 1000)}]).to_string();
    let mut request = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for byte in text.bytes() {
        request.extend([b'1', b'\r', b'\n', byte, b'\r', b'\n']);
    }
    request.extend(b"0\r\n\r\n");
    measured.restart();
    stream.write_all(&request).await.unwrap();
    let (status, body) = raw::response(&mut stream, None).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    // The buffer, which doubles, and what was decoded from it.
    measured.assert_peak(5 * MIB);
}

#[tokio::test]
async fn a_body_that_is_larger_than_it_may_be() {
    let measured = Measured::new().await;
    let running = start(Server::builder().max_message_size(MIB)).await;
    let mut stream = raw::open(&running).await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    flood(&mut stream, &[b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat()).await;
    measured.assert_peak(4 * MIB);

    let mut stream = raw::open(&running).await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n").await.unwrap();
    assert_eq!(raw::response(&mut stream, None).await.0, 413, "it is not waited for");
}

#[tokio::test]
async fn requests_without_end_whose_responses_are_not_read() {
    let measured = Measured::new().await;
    let running = start(Server::builder().write_timeout(SHORT)).await;
    let mut stream = raw::open(&running).await;
    flood(&mut stream, raw::post(None, &json!([handshake()]).to_string()).repeat(10).as_bytes()).await;
    // Many sessions have begun: those are counted elsewhere.
    let sessions = running.server().sessions();
    measured.assert_peak(2 * MIB + sessions * 4096);
}

#[tokio::test]
async fn a_large_response_that_is_not_read() {
    let mut measured = Measured::new().await;
    let running = start(Server::builder().write_timeout(SHORT).max_interval(Duration::from_secs(3))).await;
    measured.restart();
    let client = Client::connected(running.server(), None).await;
    running.server().send(&ClientId::new(&client.id), "/a", &"x".repeat(8 * MIB)).unwrap();
    let mut stream = raw::open(&running).await;
    let ask = sign(&client.id, json!([connect(json!({}))])).to_string();
    stream.write_all(raw::post(client.cookie.as_deref(), &ask).as_bytes()).await.unwrap();
    raw::cut(&mut stream).await;
    measured.assert_returns_to(MIB).await;
}

/// Sessions with acknowledgements, each with a message of 1 MiB that waits.
async fn sessions_with_large_messages(server: &Server, count: usize) -> Vec<(String, String)> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        let mut hello = handshake();
        hello["ext"] = json!({"ack": true});
        let answer = call(server.service(), request(None, json!([hello]).to_string())).await;
        let id = answer.messages()[0]["clientId"].as_str().unwrap().to_owned();
        server.send(&ClientId::new(&id), "/a", &"x".repeat(MIB)).unwrap();
        sessions.push((id, answer.set_cookie().unwrap()));
    }
    sessions
}

#[tokio::test]
async fn responses_over_http_2_whose_window_is_closed() {
    const SESSIONS: usize = 40;
    let mut measured = Measured::new().await;
    let builder = Server::builder().write_timeout(Duration::from_secs(2)).max_interval(LONG);
    let running = start(builder.max_buffered_bytes(4 * MIB)).await;
    let sessions = sessions_with_large_messages(running.server(), SESSIONS).await;
    measured.restart();
    let stream = raw::open(&running).await;
    let (mut requests, connection) =
        h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(connection);
    let mut responses = Vec::new();
    for (id, cookie) in &sessions {
        let request = http::Request::post("http://h/").header("cookie", cookie).body(()).unwrap();
        let (response, mut body) = requests.send_request(request, false).unwrap();
        let ask = sign(id, json!([connect(json!({"ext": {"ack": 0}}))]));
        body.send_data(Bytes::from(ask.to_string()), true).unwrap();
        responses.push(response);
    }
    let mut unread = Vec::new();
    let mut refused = 0;
    for response in responses {
        let response = response.await.unwrap();
        match response.status().as_u16() {
            200 => unread.push(response.into_body()),
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!((1..=4).contains(&unread.len()) && refused >= SESSIONS - 4, "{} and {refused}", unread.len());
    // The budget, one response that is being made, and the streams themselves.
    measured.assert_peak(7 * MIB);
    for mut body in unread {
        let reset = async { while body.data().await.is_some_and(|data| data.is_ok()) {} };
        tokio::time::timeout(SOON, reset).await.expect("a stream that makes no progress is reset");
    }
    measured.assert_returns_to(2 * MIB).await;
    assert_eq!(running.server().sessions(), SESSIONS, "they get their messages when they read");
}

#[tokio::test]
async fn streams_over_http_2_are_few() {
    let _measured = Measured::new().await;
    let running = start(Server::builder().http2_max_streams(7)).await;
    let stream = raw::open(&running).await;
    let (requests, mut connection) = h2::client::handshake(stream).await.unwrap();
    let drive = async {
        loop {
            tokio::select! {
                _ = &mut connection => panic!("it ended"),
                () = tokio::time::sleep(Duration::from_millis(10)) => {
                    if requests.current_max_send_streams() == 7 {
                        break;
                    }
                }
            }
        }
    };
    tokio::time::timeout(SOON, drive).await.expect("its settings");
}

#[tokio::test]
async fn bodies_over_http_2_share_a_budget() {
    let measured = Measured::new().await;
    let running = start(Server::builder().max_buffered_bytes(2 * MIB).max_message_size(MIB)).await;
    let stream = raw::open(&running).await;
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut statuses = Vec::new();
    let mut bodies = Vec::new();
    for _ in 0..16 {
        let mut requests = requests.clone().ready().await.unwrap();
        let (response, mut body) =
            requests.send_request(http::Request::post("http://h/").body(()).unwrap(), false).unwrap();
        let half = async {
            let mut left = MIB / 2;
            while left > 0 {
                body.reserve_capacity(left);
                let Some(Ok(capacity)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else {
                    break;
                };
                let piece = capacity.min(left);
                if body.send_data(vec![b' '; piece].into(), false).is_err() {
                    break;
                }
                left -= piece;
            }
        };
        tokio::time::timeout(SOON, half).await.expect("it is taken, or refused");
        bodies.push(body);
        statuses.push(response);
    }
    let refused = async {
        for response in statuses.drain(4..) {
            assert_eq!(response.await.unwrap().status(), 503);
        }
    };
    tokio::time::timeout(SOON, refused).await.expect("what does not fit is refused");
    measured.assert_peak(8 * MIB);
}

#[tokio::test]
async fn events_for_a_listener_that_does_not_read_them() {
    let mut measured = Measured::new().await;
    let server = Server::builder().max_event_bytes(MIB).build().unwrap();
    let mut events = server.events();
    let client = Client::connected(&server, None).await;
    measured.restart();
    let change = |verb: &str| {
        let names: Vec<String> = (0..1000).map(|number| format!("/{}/{number}", "x".repeat(500))).collect();
        json!([{"channel": format!("/meta/{verb}"), "id": "s", "subscription": names}])
    };
    for _ in 0..20 {
        client.post(change("subscribe")).await;
        client.post(change("unsubscribe")).await;
    }
    measured.assert_peak(12 * MIB);
    let mut missed = 0;
    let mut read = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(50), events.next()).await {
        match event {
            SessionEvent::Missed(count) => missed += count,
            _ => read += 1,
        }
    }
    assert_eq!(missed + read, 40_001, "each was read or counted");
    assert!(missed > 0);
}

/// What a server counts for messages that are on their way, while the response is looked at piece by piece.
#[tokio::test]
async fn the_last_piece_of_a_response_and_the_script_around_it_are_counted_until_they_are_written() {
    const DATA: usize = 100 << 10;
    let _measured = Measured::new().await;
    for script in [false, true] {
        let transports = [Transport::LongPolling, Transport::CallbackPolling];
        let server = Server::builder().transports(transports).build().unwrap();
        let client = Client::connected(&server, None).await;
        client.post(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}])).await;
        server.publish("/a", &"x".repeat(DATA)).unwrap();
        let messages = sign(&client.id, json!([connect(json!({}))])).to_string();
        let mut request = request(client.cookie.as_deref(), messages.clone());
        if script {
            *request.method_mut() = http::Method::GET;
            let query: String = messages.bytes().map(|byte| format!("%{byte:02X}")).collect();
            *request.uri_mut() = format!("/cometd?message={query}").parse().unwrap();
        }
        let Ok(response) = server.service().call(request).await;
        let counted = || server.memory().messages;
        let mut body = response.into_body();
        assert!(counted() >= DATA, "{}", counted());
        let mut last = Bytes::new();
        while let Some(piece) = body.frame().await {
            last = piece.unwrap().into_data().unwrap();
        }
        drop(body);
        assert!(counted() >= last.len() && counted() < DATA / 2, "{} for {}", counted(), last.len());
        drop(last);
        assert_eq!(counted(), 0);
    }
}
