//! A peer that stops in the middle of something: each phase of a connection ends by itself, and disturbs nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use bayeux_server::{Builder, Running, Server};
use bytes::Bytes;
use serde_json::json;
use support::raw::{self, UPGRADE};
use support::*;
use tokio::io::AsyncWriteExt;

const SHORT: Duration = Duration::from_millis(200);
/// How long a session is kept where a client takes more than twice that time to read.
const KEPT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(3600);

/// A server whose phases never end, but for those that a test makes short.
fn patient() -> Builder {
    Server::builder()
        .head_timeout(LONG)
        .body_timeout(LONG)
        .idle_timeout(LONG)
        .write_timeout(LONG)
        .response_timeout(LONG)
        .socket_idle_timeout(LONG)
        .min_rate(0)
}

async fn start(builder: Builder) -> Running {
    builder.build().unwrap().bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn before_the_first_head_is_complete() {
    let running = start(patient().head_timeout(SHORT)).await;
    for begun in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n\r\nSM\r",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST /cometd HTTP/1.1\r\nHost: h\r\n",
        "GET /cometd HTTP/1.1\r\nConnection: Upgrade\r\n",
    ] {
        let mut stream = raw::open(&running).await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        raw::closed(&mut stream).await;
    }
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte() {
    let running = start(patient().head_timeout(SHORT)).await;
    let mut stream = raw::open(&running).await;
    let end = async {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::time::timeout(SOON, end).await.expect("its time is not put off");
}

#[tokio::test]
async fn in_the_head_of_a_later_request() {
    let running = start(patient().head_timeout(SHORT)).await;
    let mut stream = raw::open(&running).await;
    raw::ask(&mut stream, None, &json!([handshake()])).await;
    tokio::time::sleep(SHORT * 2).await;
    raw::ask(&mut stream, None, &json!([handshake()])).await;
    stream.write_all(b"POST /cometd HTTP/1.1\r\n").await.unwrap();
    raw::closed(&mut stream).await;
}

#[tokio::test]
async fn between_requests() {
    let running = start(patient().idle_timeout(SHORT)).await;
    let mut stream = raw::open(&running).await;
    raw::ask(&mut stream, None, &json!([handshake()])).await;
    raw::closed(&mut stream).await;

    let stream = raw::open(&running).await;
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post("http://h/").body(()).unwrap();
    let (response, mut body) = requests.send_request(request, false).unwrap();
    body.send_data(Bytes::from(json!([handshake()]).to_string()), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let ended = tokio::time::timeout(SOON, connection).await.expect("it is closed").unwrap();
    assert!(ended.is_ok_and(|()| true), "in good order");
}

#[tokio::test]
async fn in_a_body() {
    let running = start(patient().body_timeout(SHORT)).await;
    for begun in [
        "Content-Length: 100\r\n\r\n[",
        "Content-Length: 1\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n",
    ] {
        let mut stream = raw::open(&running).await;
        stream.write_all(format!("POST / HTTP/1.1\r\nHost: h\r\n{begun}").as_bytes()).await.unwrap();
        let (status, _) = raw::response(&mut stream, None).await;
        assert_eq!(status, 408, "{begun}");
        drop(raw::closed(&mut stream).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_too_slowly() {
    use tower::Service;
    let server = Server::builder().body_timeout(LONG).min_rate(100).build().unwrap();
    // One byte in a tenth of a second, for ever.
    let trickle = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(b" "))), ()))
    });
    let body = http_body_util::StreamBody::new(Box::pin(trickle));
    let began = tokio::time::Instant::now();
    let Ok(response) = server.service().call(http::Request::post("/").body(body).unwrap()).await;
    assert_eq!(response.status(), 408);
    assert!((10..13).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// A session that waits for a large event over HTTP/1.1 and has asked for it.
async fn large_response(running: &Running, bytes: usize) -> (tokio::net::TcpStream, String, String) {
    let server = running.server();
    let client = Client::connected(server, None).await;
    let id = bayeux_server::ClientId::new(&client.id);
    server.send(&id, "/a", &"x".repeat(bytes)).unwrap();
    let mut stream = raw::open(running).await;
    let ask = sign(&client.id, json!([connect(json!({}))])).to_string();
    stream.write_all(raw::post(client.cookie.as_deref(), &ask).as_bytes()).await.unwrap();
    (stream, client.id, client.cookie.unwrap())
}

#[tokio::test]
async fn a_response_that_is_not_read() {
    let running = start(patient().write_timeout(SHORT)).await;
    let (mut stream, ..) = large_response(&running, 8 << 20).await;
    raw::cut(&mut stream).await;
}

#[tokio::test]
async fn a_response_that_is_read_too_slowly() {
    for builder in
        [patient().response_timeout(SHORT * 2), patient().write_timeout(SHORT * 2).min_rate(100 << 20)]
    {
        let running = start(builder).await;
        let (mut stream, ..) = large_response(&running, 8 << 20).await;
        let read = async {
            let mut buffer = vec![0; 64 << 10];
            use tokio::io::AsyncReadExt;
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                tokio::time::sleep(SHORT / 20).await;
            }
        };
        tokio::time::timeout(SOON, read).await.expect("it is cut, long before it is read");
    }
}

#[tokio::test]
async fn the_session_of_a_client_that_reads_slowly_is_kept() {
    let running = start(patient().max_interval(KEPT)).await;
    let (mut stream, id, cookie) = large_response(&running, 4 << 20).await;
    let (status, _) = raw::response(&mut stream, Some((64 << 10, KEPT / 25))).await;
    assert_eq!(status, 200);
    let replies =
        raw::ask(&mut stream, Some(&cookie), &sign(&id, json!([connect(json!({"advice": {"timeout": 0}}))])))
            .await;
    assert_eq!(replies.last().unwrap()["successful"], true, "{replies:?}");
    let expired = async {
        while running.server().sessions() > 0 {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::time::timeout(SOON, expired).await.expect("its time starts when the response has been read");
}

#[tokio::test]
async fn the_session_of_a_socket_that_is_read_slowly_is_kept() {
    use tokio::io::AsyncReadExt;
    let running = start(patient().max_interval(KEPT)).await;
    let server = running.server();
    let mut stream = raw::websocket(&running).await;
    let mut events = server.events();
    stream.write_all(&raw::frame(0x81, json!([handshake()]).to_string().as_bytes())).await.unwrap();
    let Some(bayeux_server::SessionEvent::Added { session: id, .. }) = events.next().await else {
        panic!("no session")
    };
    server.send(&id, "/a", &"x".repeat(4 << 20)).unwrap();
    let mut buffer = vec![0; 64 << 10];
    let mut read = 0;
    while read < 4 << 20 {
        let more = stream.read(&mut buffer).await.unwrap();
        read += more;
        tokio::time::sleep(KEPT * u32::try_from(more).unwrap() / 25 / (64 << 10)).await;
        assert_eq!(server.sessions(), 1, "after {read} bytes");
    }
    assert!(matches!(events.next().await, Some(bayeux_server::SessionEvent::Removed { .. })));
}

#[tokio::test]
async fn a_response_over_http_2_that_is_not_read_harms_no_other() {
    let running = start(patient().write_timeout(SHORT)).await;
    let server = running.server();
    let client = Client::connected(server, None).await;
    server.send(&bayeux_server::ClientId::new(&client.id), "/a", &"x".repeat(1 << 20)).unwrap();
    let stream = raw::open(&running).await;
    let (mut requests, connection) = h2::client::Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(connection);
    let mut post = |messages: serde_json::Value| {
        let request = http::Request::post("http://h/").header("cookie", client.cookie.as_deref().unwrap());
        let (response, mut body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from(sign(&client.id, messages).to_string()), true).unwrap();
        response
    };
    let unread = post(json!([connect(json!({}))])).await.unwrap();
    let mut unread = unread.into_body();
    let reset = async {
        while let Some(Ok(_)) = unread.data().await {
            // Read, and nothing said of it: the window stays closed.
        }
        unread.data().await
    };
    tokio::time::timeout(SOON, reset).await.expect("the stream is reset");
    assert_eq!(post(json!([{"channel": "/a", "id": "1", "data": 1}])).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_socket_that_is_opened_and_not_used() {
    let running = start(patient().head_timeout(SHORT)).await;
    let mut socket = Socket::open(&running.url()).await;
    assert!(matches!(socket.next().await, Got::Close(1001, _)));
}

#[tokio::test]
async fn pings_keep_no_socket() {
    let running = start(patient().socket_idle_timeout(SHORT)).await;
    let mut stream = raw::websocket(&running).await;
    let end = async {
        while stream.write_all(&raw::frame(0x89, b"")).await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::time::timeout(SOON, end).await.expect("it is closed");
}

#[tokio::test]
async fn a_socket_that_is_not_read() {
    let running = start(patient().write_timeout(SHORT)).await;
    let server = running.server();
    let mut stream = raw::websocket(&running).await;
    let mut events = server.events();
    stream.write_all(&raw::frame(0x81, json!([handshake()]).to_string().as_bytes())).await.unwrap();
    let Some(bayeux_server::SessionEvent::Added { session: id, .. }) = events.next().await else {
        panic!("no session")
    };
    server.send(&id, "/a", &"x".repeat(8 << 20)).unwrap();
    raw::cut(&mut stream).await;
}

#[tokio::test]
async fn a_socket_that_does_not_answer_a_close_frame() {
    let running = start(patient().write_timeout(SHORT)).await;
    let server = running.server();
    let mut stream = raw::websocket(&running).await;
    server.shutdown();
    let received = raw::closed(&mut stream).await;
    assert_eq!(received[0], 0x88, "a close frame");
}

#[tokio::test]
async fn an_upgrade_that_is_not_completed() {
    let running = start(patient().head_timeout(SHORT)).await;
    let mut stream = raw::open(&running).await;
    stream.write_all(&UPGRADE.as_bytes()[..UPGRADE.len() - 2]).await.unwrap();
    raw::closed(&mut stream).await;
}

#[tokio::test]
async fn connections_that_wait_keep_nobody_out() {
    let running = start(patient().max_connections(5)).await;
    let mut silent = Vec::new();
    for begun in ["", "", "POST / HTT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""] {
        let mut stream = raw::open(&running).await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    for _ in 0..20 {
        let mut stream = raw::open(&running).await;
        raw::ask(&mut stream, None, &json!([handshake()])).await;
        // It is idle now, and so the next to go.
        silent.push(stream);
    }
}

#[tokio::test]
async fn connections_that_are_busy_are_not_closed_for_others() {
    let running = start(patient().max_connections(2)).await;
    let server = running.server();
    let mut held = Vec::new();
    for _ in 0..2 {
        let client = Client::connected(server, None).await;
        let mut stream = raw::open(&running).await;
        let ask = sign(&client.id, json!([connect(json!({}))])).to_string();
        stream.write_all(raw::post(client.cookie.as_deref(), &ask).as_bytes()).await.unwrap();
        held.push((stream, client));
    }
    let mut waiting = raw::open(&running).await;
    waiting.write_all(raw::post(None, &json!([handshake()]).to_string()).as_bytes()).await.unwrap();
    tokio::time::sleep(SHORT).await;
    for (stream, client) in &mut held {
        server.send(&bayeux_server::ClientId::new(&client.id), "/a", &1).unwrap();
        let (status, body) = raw::response(stream, None).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    }
    assert_eq!(raw::response(&mut waiting, None).await.0, 200, "it was only waiting for its turn");
}

#[tokio::test]
async fn a_held_connect_is_no_stall() {
    let builder = Server::builder().head_timeout(SHORT).body_timeout(SHORT).idle_timeout(SHORT);
    let builder = builder.write_timeout(SHORT).response_timeout(SHORT).timeout(SHORT * 5);
    let running = start(builder).await;
    let client = Client::connected(running.server(), None).await;
    let mut stream = raw::open(&running).await;
    let ask = sign(&client.id, json!([connect(json!({}))]));
    let replies = raw::ask(&mut stream, client.cookie.as_deref(), &ask).await;
    assert_eq!(replies[0]["successful"], true);
}
