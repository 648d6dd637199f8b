//! Servers that try to make a client keep or compute without bound. What the client allocates is counted, so these tests
//! have a program of their own, and take turns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bayeux::{Builder, Client, Event, FailureKind, Transport};
use bayeux_testkit::{Answer, Peer, RequestKind};
use fixture::*;
use futures_util::{SinkExt, StreamExt};
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Mutex, MutexGuard};
use tokio_websockets::{Message, ServerBuilder};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

static TURN: Mutex<()> = Mutex::const_new(());

/// What is allocated from here on.
struct Measured {
    before: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Measured {
    async fn from_now() -> Self {
        let turn = TURN.lock().await;
        ALLOCATED.reset_peak_usage();
        Self { before: ALLOCATED.current_usage(), _turn: turn }
    }

    /// Counts anew; what was allocated so far does not count.
    fn restart(&mut self) {
        ALLOCATED.reset_peak_usage();
        self.before = ALLOCATED.current_usage();
    }

    /// At its highest, in KiB.
    fn peak(&self) -> usize {
        ALLOCATED.peak_usage().saturating_sub(self.before) / 1024
    }
}

/// A server for one WebSocket that grants a session, and then leaves the bare connection to the test.
struct Socket {
    listener: TcpListener,
}

impl Socket {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // What the kernel keeps of unread answers is of no interest.
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self { listener: socket.listen(8).unwrap() }
    }

    fn url(&self) -> String {
        format!("http://{}/cometd", self.listener.local_addr().unwrap())
    }

    async fn connected(&self) -> TcpStream {
        self.held().await.0
    }

    /// The connection, and the connect that is to be held.
    async fn held(&self) -> (TcpStream, Value) {
        let (stream, _) = self.listener.accept().await.unwrap();
        let (_, mut socket) = ServerBuilder::new().accept(stream).await.unwrap();
        loop {
            let frame = socket.next().await.unwrap().unwrap();
            let Some(text) = frame.as_text() else { continue };
            let messages: Vec<Value> = serde_json::from_str(text).unwrap();
            for message in messages {
                let mut reply = json!({
                    "channel": message["channel"], "id": message["id"], "successful": true,
                    "clientId": "abcdefgh", "advice": {"reconnect": "retry", "interval": 0, "timeout": 60_000},
                });
                match message["channel"].as_str().unwrap() {
                    "/meta/handshake" => {
                        reply["version"] = json!("1.0");
                        reply["supportedConnectionTypes"] = json!(["websocket"]);
                    }
                    "/meta/connect" if message["advice"]["timeout"] != 0 => {
                        return (socket.into_inner(), message);
                    }
                    _ => {}
                }
                socket.send(Message::text(json!([reply]).to_string())).await.unwrap();
            }
        }
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(short as u8),
        long => frame.extend([126, (long >> 8) as u8, long as u8]),
    }
    frame.extend_from_slice(payload);
    frame
}

/// Writes the same again and again, until the other side has had enough.
async fn flood(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).await.is_ok() {}
}

/// A client whose first session over that socket is flooded with these bytes. The text with which it was lost.
async fn flooded(socket: &Socket, client: &Client, bytes: Vec<u8>) -> String {
    let mut events = client.events();
    let flooding = async {
        let mut stream = socket.connected().await;
        flood(&mut stream, &bytes).await;
    };
    let losing = async {
        within(client.open()).await.unwrap();
        lost(&mut events).await
    };
    within(async { tokio::join!(flooding, losing).1 }).await
}

#[tokio::test]
async fn pings_from_a_server_that_reads_nothing_end_the_connection() {
    let measured = Measured::from_now().await;
    for payload in [0, 1, 125] {
        let socket = Socket::new();
        let client = over(Transport::WebSocket, &socket.url()).build().unwrap();
        let many = frame(0x89, &vec![b'p'; payload]).repeat(2_000);
        let text = flooded(&socket, &client, many).await;
        assert!(text.contains("pings") && text.contains(&socket.url()), "{text}");
    }
    assert!(measured.peak() < 4 * 1024, "{} KiB", measured.peak());
}

#[tokio::test]
async fn pings_inside_a_message_end_the_connection_too() {
    let measured = Measured::from_now().await;
    let socket = Socket::new();
    let client = over(Transport::WebSocket, &socket.url()).build().unwrap();
    // Fragments that never end, each behind a ping.
    let mut stream_of = frame(0x01, b"[");
    let more: Vec<u8> = [frame(0x89, &[b'p'; 125]), frame(0x00, b" ")].concat().repeat(2_000);
    stream_of.extend(&more);
    let mut events = client.events();
    let flooding = async {
        let mut stream = socket.connected().await;
        stream.write_all(&stream_of).await.unwrap();
        flood(&mut stream, &more).await;
    };
    let losing = async {
        within(client.open()).await.unwrap();
        lost(&mut events).await
    };
    let text = within(async { tokio::join!(flooding, losing).1 }).await;
    assert!(text.contains("pings") || text.contains("fragments"), "{text}");
    assert!(measured.peak() < 4 * 1024, "{} KiB", measured.peak());
}

#[tokio::test]
async fn pings_that_are_answered_cost_nothing_however_many() {
    const ROUNDS: usize = 2_000;
    const PINGS: usize = 10;
    let measured = Measured::from_now().await;
    let socket = Socket::new();
    let client = over(Transport::WebSocket, &socket.url()).build().unwrap();
    let pinging = async {
        let mut stream = socket.connected().await;
        let pings = frame(0x89, b"ping").repeat(PINGS);
        // Each answer has a header, a mask and the payload.
        let mut answers = vec![0; PINGS * (2 + 4 + 4)];
        for _ in 0..ROUNDS {
            stream.write_all(&pings).await.unwrap();
            stream.read_exact(&mut answers).await.unwrap();
        }
        stream
    };
    let opening = async { within(client.open()).await.unwrap() };
    within(async { tokio::join!(pinging, opening) }).await;
    assert!(measured.peak() < 1024, "{} KiB", measured.peak());
}

#[tokio::test]
async fn fragments_without_end_end_the_connection() {
    for fragment in [&b""[..], b"x"] {
        let measured = Measured::from_now().await;
        let socket = Socket::new();
        let builder = over(Transport::WebSocket, &socket.url()).max_message_size(64 * 1024);
        let client = builder.build().unwrap();
        let mut events = client.events();
        let flooding = async {
            let mut stream = socket.connected().await;
            stream.write_all(&frame(0x01, b"[")).await.unwrap();
            flood(&mut stream, &frame(0x00, fragment).repeat(2_000)).await;
        };
        let losing = async {
            within(client.open()).await.unwrap();
            event(&mut events, |event| matches!(event, Event::Lost { .. })).await
        };
        let Event::Lost { cause, .. } = within(async { tokio::join!(flooding, losing).1 }).await else {
            panic!()
        };
        assert_eq!(cause.failure().unwrap().kind(), FailureKind::TooLarge, "{cause}");
        assert!(measured.peak() < 2 * 1024, "{} KiB", measured.peak());
    }
}

#[tokio::test]
async fn a_message_in_fragments_of_a_byte_takes_a_small_multiple_of_its_size() {
    const SIZE: usize = 200_000;
    let measured = Measured::from_now().await;
    let socket = Socket::new();
    let client = over(Transport::WebSocket, &socket.url()).build().unwrap();
    let answering = async {
        let (mut stream, connect) = socket.held().await;
        let reply = json!([{
            "channel": "/meta/connect", "id": connect["id"], "successful": true, "padding": "x".repeat(SIZE),
        }]);
        let text = reply.to_string();
        let (first, rest) = text.as_bytes().split_at(1);
        stream.write_all(&frame(0x01, first)).await.unwrap();
        for part in rest.chunks(1_000) {
            let fragments: Vec<u8> = part.iter().flat_map(|byte| frame(0x00, &[*byte])).collect();
            stream.write_all(&fragments).await.unwrap();
        }
        stream.write_all(&frame(0x80, b"")).await.unwrap();
        // The next connect.
        stream.read_u8().await.unwrap();
        stream
    };
    let opening = async { within(client.open()).await.unwrap() };
    within(async { tokio::join!(answering, opening) }).await;
    assert!(measured.peak() < 6 * SIZE / 1024 + 512, "{} KiB", measured.peak());
}

#[tokio::test]
async fn a_server_that_reads_nothing_but_gives_signs_of_life_is_given_up() {
    let measured = Measured::from_now().await;
    let socket = Socket::new();
    let client = over(Transport::WebSocket, &socket.url())
        .request_timeout(millis(400))
        .call_timeout(millis(400))
        .build()
        .unwrap();
    let mut events = client.events();
    let server = async {
        let mut stream = socket.connected().await;
        // Events, which need no answer.
        let event = frame(0x81, br#"[{"channel":"/n","data":1}]"#);
        while stream.write_all(&event).await.is_ok() {
            tokio::time::sleep(millis(20)).await;
        }
    };
    let publishing = async {
        within(client.open()).await.unwrap();
        let long = "x".repeat(500_000);
        let publishing = async {
            loop {
                let _ = client.publish("/up", &long).await;
            }
        };
        tokio::select! {
            text = lost(&mut events) => text,
            () = publishing => unreachable!(),
        }
    };
    within(async { tokio::join!(server, publishing) }).await;
    assert!(measured.peak() < 40 * 1024, "{} KiB", measured.peak());
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn a_close_that_is_never_read_ends_the_connection() {
    let measured = Measured::from_now().await;
    let socket = Socket::new();
    let client = over(Transport::WebSocket, &socket.url()).build().unwrap();
    let mut events = client.events();
    let server = async {
        let mut stream = socket.connected().await;
        stream.write_all(&frame(0x88, b"\x03\xe9bye\x1b[2J")).await.unwrap();
        // The connection stays open, and further frames may not come: what follows a close does not count.
        let _ = tokio::time::timeout(millis(500), flood(&mut stream, &frame(0x89, b"ping"))).await;
        stream
    };
    let losing = async {
        within(client.open()).await.unwrap();
        lost(&mut events).await
    };
    let (_stream, text) = within(async { tokio::join!(server, losing) }).await;
    assert!(text.contains("1001: bye\\u{1b}[2J"), "{text}");
    assert!(measured.peak() < 2 * 1024, "{} KiB", measured.peak());
}

/// An HTTP response in chunks of so many bytes.
fn chunked(body: &str, piece: usize) -> Vec<u8> {
    let mut response =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.as_bytes().chunks(piece) {
        response.extend(format!("{:x}\r\n", chunk.len()).bytes());
        response.extend_from_slice(chunk);
        response.extend(b"\r\n");
    }
    response.extend(b"0\r\n\r\n");
    response
}

#[tokio::test]
async fn a_body_in_chunks_of_a_byte_takes_a_small_multiple_of_its_size() {
    const SIZE: usize = 100_000;
    let measured = Measured::from_now().await;
    let peer = Peer::start(|request| match request.message("/big") {
        Some(message) => {
            let reply = json!([{
                "channel": "/big", "id": message["id"], "successful": true, "padding": "x".repeat(SIZE),
            }]);
            Answer::raw(chunked(&reply.to_string(), 1))
        }
        None => request.decently(),
    })
    .await;
    let client = open(Transport::LongPolling, &peer.url()).await;
    within(client.publish("/big", &1)).await.unwrap();
    // The scripted server keeps six bytes for each, and its text.
    assert!(measured.peak() < 20 * SIZE / 1024, "{} KiB", measured.peak());
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn a_body_that_promises_much_and_sends_little_costs_what_it_sends() {
    let measured = Measured::from_now().await;
    let peer = Peer::start(|request| match request.name() {
        "/big" => Answer::raw(&b"HTTP/1.1 200 OK\r\ncontent-length: 16000000\r\n\r\n[{"[..]),
        _ => request.decently(),
    })
    .await;
    let builder = over(Transport::LongPolling, &peer.url()).request_timeout(millis(300));
    let client = opened(builder).await;
    for _ in 0..3 {
        within(client.publish("/big", &1)).await.unwrap_err();
    }
    assert!(measured.peak() < 1024, "{} KiB", measured.peak());
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn a_gzip_bomb_stops_at_the_limit() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(b"[").unwrap();
    for _ in 0..200 {
        bomb.write_all(&[b' '; 1024 * 1024]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    for status in ["200 OK", "500 Internal Server Error"] {
        let measured = Measured::from_now().await;
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-encoding: X-GZip\r\ncontent-length: {}\r\n\r\n",
            bomb.len()
        );
        let response: Vec<u8> = [head.as_bytes(), &bomb].concat();
        let peer = Peer::start(move |request| match request.name() {
            "/bomb" => Answer::raw(response.clone()),
            _ => request.decently(),
        })
        .await;
        let builder = over(Transport::LongPolling, &peer.url()).max_message_size(1024 * 1024);
        let client = opened(builder).await;
        let error = within(client.publish("/bomb", &1)).await.unwrap_err();
        if status.starts_with("200") {
            assert_eq!(error.failure().unwrap().kind(), FailureKind::TooLarge, "{error}");
        } else {
            assert_eq!(error.http_status(), Some(500), "{error}");
        }
        assert!(measured.peak() < 6 * 1024, "{} KiB", measured.peak());
        within(client.close()).await.unwrap();
    }
}

/// A few bytes on the wire become a message of some hundred bytes in memory, and gzip makes the few fewer.
#[tokio::test]
async fn small_messages_without_number_stop_at_the_limit() {
    const LIMIT: usize = 4 * 1024 * 1024;
    // What this test allocates would count in others that run beside it.
    let mut measured = Measured::from_now().await;
    let repeated = |element: &str| element.repeat(LIMIT / element.len() - 50);
    for body in [
        format!("[{}0]", repeated("{},")),
        format!("[{}0]", repeated(r#"{"a":1},"#)),
        format!("[{}0]", repeated(r#"{"channel":"/a","data":1},"#)),
        format!(r#"[{{{}"z":0}}]"#, repeated(r#""a":0,"#)),
        format!(r#"[{{"channel":"/meta/subscribe","subscription":[{}"/a"]}}]"#, repeated("\"/\",")),
    ] {
        let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        zip.write_all(body.as_bytes()).unwrap();
        let zip = zip.finish().unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", zip.len());
        let response: Vec<u8> = [head.as_bytes(), &zip].concat();
        let peer = Peer::start(move |request| match request.name() {
            "/go" => Answer::raw(response.clone()),
            _ => request.decently(),
        })
        .await;
        let client = opened(over(Transport::LongPolling, &peer.url()).max_message_size(LIMIT)).await;
        measured.restart();
        let error = within(client.publish("/go", &1)).await.unwrap_err();
        assert_eq!(error.failure().unwrap().kind(), FailureKind::TooLarge, "{error}");
        assert!(error.to_string().contains("max_message_size"), "{error}");
        assert!(measured.peak() < 48 * 1024, "{} KiB", measured.peak());
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn however_many_cookies_come_requests_stay_small() {
    let measured = Measured::from_now().await;
    let mut nth = 0;
    let peer = Peer::start(move |request| {
        nth += 1;
        (0..90).fold(request.decently(), |answer, n| {
            answer.header("set-cookie", &format!("c{nth}x{n}={}; Path=/", "v".repeat(3_900)))
        })
    })
    .await;
    let client = opened(over(Transport::LongPolling, &peer.url()).cookie("mine", "1")).await;
    for n in 0..13 {
        within(client.publish("/a", &n)).await.unwrap();
    }
    let cookies = |request: &bayeux_testkit::Request| request.header("cookie").unwrap_or_default().to_owned();
    let posts: Vec<_> =
        peer.requests().iter().filter(|request| request.kind == RequestKind::Post).map(cookies).collect();
    assert!(posts.len() > 13 && posts.iter().all(|cookies| cookies.len() <= 16 * 1024));
    assert!(posts.last().unwrap().contains("mine=1"));
    assert!(measured.peak() < 8 * 1024, "{} KiB", measured.peak());
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn text_of_a_server_forges_no_line_and_moves_no_cursor() {
    const EVIL: &str = "a\u{1b}[2J\u{7}\u{9b}31m\u{202e}\u{2028}b";
    let _turn = TURN.lock().await;
    let page = format!("<html><title>{EVIL}\n2026 INFO forged</title></html>");
    let raw = |head: &str| format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n").into_bytes();
    let answers: Vec<(&str, Script)> = vec![
        (
            "title",
            Box::new({
                let page = page.clone();
                move || Answer::page(503, &page)
            }),
        ),
        ("plain", Box::new(|| Answer::page(500, EVIL))),
        ("location", Box::new(move || Answer::raw(raw("302 Found\r\nlocation: http://h/\u{9b}31m\u{202e}")))),
        ("reason", Box::new(move || Answer::raw(raw("500 \u{9b}31m\u{202e}")))),
        ("encoding", Box::new(move || Answer::raw(raw("200 OK\r\ncontent-encoding: \u{9b}31m\u{202e}")))),
        ("retry", Box::new(move || Answer::raw(raw("503 No\r\nretry-after: \u{9b}31m\u{202e}")))),
        ("json", Box::new(|| Answer::body(format!("[{{\"channel\":\"{EVIL}\"}}")))),
    ];
    for (name, answer) in answers {
        let peer = Peer::start(move |request| match request.name() {
            "/evil" => answer(),
            _ => request.decently(),
        })
        .await;
        let client = open(Transport::LongPolling, &peer.url()).await;
        let error = within(client.publish("/evil", &1)).await.unwrap_err();
        clean(name, &format!("{error} {error:?} {:?}", error.failure()));
        within(client.close()).await.unwrap();
    }
    for transport in BOTH {
        let peer = Peer::start(|request| match request.message("/evil") {
            Some(message) => {
                let mut refusal = bayeux_testkit::Request::refusal_of(message, EVIL);
                refusal["advice"] = json!({"reconnect": "retry", EVIL: 1});
                Answer::messages([refusal, json!({"channel": format!("/meta/{EVIL}"), "data": EVIL})])
            }
            None => request.decently(),
        })
        .await;
        let client = over(transport, &peer.url()).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        let error = within(client.publish("/evil", &1)).await.unwrap_err();
        clean("refusal", &format!("{error} {error:?} {:?}", error.server_error()));
        assert_eq!(error.server_error().unwrap().as_str(), EVIL, "the value is as it came");
        let Event::Ignored { what, .. } = event(&mut events, |e| matches!(e, Event::Ignored { .. })).await
        else {
            panic!()
        };
        clean("ignored", &what);
        let message = client.stream::<u32>("/typed").await.unwrap();
        peer.push([json!({"channel": "/typed", "data": EVIL})]);
        let mut message = message;
        let error = within(message.next()).await.unwrap().unwrap_err();
        clean("decode", &error.to_string());
        drop(message);
        within(client.close()).await.unwrap();
    }
    let peer = Peer::start(|request| match request.name() {
        "/evil" => Answer::close(4000, EVIL),
        _ => request.decently(),
    })
    .await;
    let client = over(Transport::WebSocket, &peer.url()).build().unwrap();
    let mut events = client.events();
    within(client.open()).await.unwrap();
    let error = within(client.publish("/evil", &1)).await.unwrap_err();
    clean("close", &format!("{error} {error:?}"));
    let text = lost(&mut events).await;
    assert!(text.contains("4000: a\\u{1b}"), "{text}");
    clean("lost", &text);
    within(client.close()).await.unwrap();
}

type Script = Box<dyn Fn() -> Answer + Send + Sync>;

fn clean(name: &str, text: &str) {
    let bad = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2028}');
    assert!(!text.contains(bad), "{name}: {text:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_given_up() {
    let _turn = TURN.lock().await;
    let body = format!("[{}]", " ".repeat(100_000));
    let peer = Peer::start(move |request| match request.name() {
        "/slow" => Answer::drip(body.clone(), 1, Duration::from_secs(1)),
        _ => request.decently(),
    })
    .await;
    let client = open(Transport::LongPolling, &peer.url()).await;
    // By the paused clock, which runs when all wait.
    let error = tokio::time::timeout(Duration::from_secs(600), client.publish("/slow", &1))
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("min_receive_rate"), "{error}");
    let _ = client.close().await;
}

/// A server that answers the first bytes of each connection with the same bytes, again and again. How many it could send.
fn flooding(bytes: &'static [u8]) -> (String, Arc<AtomicU64>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&sent);
    // In threads of its own, which no work of the client holds up.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let counting = Arc::clone(&counting);
            std::thread::spawn(move || {
                let many = bytes.repeat(64 * 1024 / bytes.len());
                let _ = stream.read(&mut [0; 4096]);
                while let Ok(count @ 1..) = stream.write(&many) {
                    counting.fetch_add(count as u64, Ordering::Relaxed);
                }
            });
        }
    });
    (url, sent)
}

/// How the first attempt to open a session ended, and how much the server could send until then.
async fn given_up(builder: Builder, sent: &AtomicU64) -> (String, u64) {
    let client = builder
        .open_timeout(Duration::from_secs(60))
        .connect_timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    let mut events = client.events();
    let failing = async {
        let is_end = |event: &Event| matches!(event, Event::Retrying { .. } | Event::Closed { .. });
        let failed = event(&mut events, is_end).await;
        let sent = sent.load(Ordering::Relaxed);
        within(client.close()).await.unwrap();
        (format!("{failed:?}"), sent)
    };
    tokio::join!(client.open(), failing).1
}

#[tokio::test]
async fn heads_that_are_no_response_end_the_connection() {
    /// What is read, and what lies in the buffers of two kernels.
    const MOST: u64 = 32 * 1024 * 1024;
    let long: &[u8] =
        Box::leak(format!("HTTP/1.1 103 Early\r\na: {}\r\n\r\n", "x".repeat(30_000)).into_bytes().into());
    let heads = [
        &b"HTTP/1.1 100 \r\n\r\n"[..],
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
        b"HTTP/1.1 199 \r\n\r\n",
        long,
    ];
    for (transport, head) in BOTH.into_iter().flat_map(|transport| heads.map(|head| (transport, head))) {
        let measured = Measured::from_now().await;
        let (url, sent) = flooding(head);
        let (failed, sent) = given_up(over(transport, &url), &sent).await;
        assert!(failed.contains("belongs to no response"), "{failed}");
        assert!(sent < MOST, "{sent} bytes for {transport}");
        assert!(measured.peak() < 4 * 1024, "{} KiB", measured.peak());
    }
}

/// A server of HTTP/2 that takes a connection and then sends the same again and again, be it on the stream of the first
/// request. How many bytes it could send.
#[cfg(any(feature = "rustls-ring", feature = "rustls-aws-lc-rs"))]
mod http2 {
    use bayeux::TlsOptions;
    use bayeux::rustls::ServerConfig;
    use bayeux::rustls::pki_types::pem::PemObject;
    use bayeux::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use bayeux_testkit::Authority;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// Where the server is, who says so, and what it sent.
    async fn flooding(first: Vec<u8>, again: Vec<u8>) -> (String, TlsOptions, Arc<AtomicU64>) {
        let authority = Authority::new();
        let identity = authority.issue(&["127.0.0.1"]);
        let chain =
            CertificateDer::pem_slice_iter(identity.chain_pem().as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).unwrap();
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/cometd", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.write_all(&[frame(4, 0, 0, b""), frame(4, 1, 0, b"")].concat()).await;
                // The preface, and the request.
                let _ = stream.read(&mut [0; 8192]).await;
                let _ = tokio::time::timeout(millis(200), stream.read(&mut [0; 8192])).await;
                let _ = stream.write_all(&first).await;
                let many = again.repeat(16 * 1024 / again.len() + 1);
                while stream.write_all(&many).await.is_ok() {
                    counting.fetch_add(many.len() as u64, Ordering::Relaxed);
                }
            }
        });
        (url, TlsOptions::new().ca_pem(authority.pem().as_bytes()).unwrap(), sent)
    }

    #[tokio::test]
    async fn frames_that_are_no_response_end_the_connection() {
        const MOST: u64 = 32 * 1024 * 1024;
        // `:status: 103` and `:status: 200`; the same with many headers that the table of the connection has.
        let informational = frame(1, 4, 1, b"\x08\x03103");
        let many = [&b"\x08\x03103\x40\x01a\x20"[..], &[b'v'; 32], &[0xbe; 50]].concat();
        let ok = frame(1, 4, 1, b"\x88");
        for (what, first, again) in [
            ("heads", Vec::new(), informational),
            ("long heads", Vec::new(), frame(1, 4, 1, &many)),
            ("pings", Vec::new(), frame(6, 0, 0, b"12345678")),
            ("settings", Vec::new(), frame(4, 0, 0, b"")),
            ("unknown frames", Vec::new(), frame(0xbb, 0, 0, &[0; 100])),
            ("padding", ok.clone(), frame(0, 8, 1, &[&[200][..], b" ", &[0; 200]].concat())),
            ("empty data", ok, frame(0, 0, 1, b"")),
        ] {
            let measured = Measured::from_now().await;
            let (url, tls, sent) = flooding(first, again).await;
            let (failed, sent) = given_up(over(Transport::LongPolling, &url).tls(tls), &sent).await;
            let ours = failed.contains("belongs to no response");
            // Of empty frames the library counts the excess itself.
            assert!(ours || failed.contains("excessive load"), "{what}: {failed}");
            assert!(sent < MOST, "{what}: {sent} bytes");
            assert!(measured.peak() < 16 * 1024, "{what}: {} KiB", measured.peak());
        }
    }
}
