//! Details of HTTP and of the opening of a WebSocket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use bayeux_server::{BuildError, Channel, SameSite, Server, SessionCookie};
use http::StatusCode;
use serde_json::json;
use support::raw;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn http_1_1_wants_one_valid_host() {
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let body = json!([handshake()]).to_string();
    for (version, headers, status) in [
        ("1.1", "Host: h\r\n", 200),
        ("1.1", "Host:\r\n", 200),
        ("1.1", "Host: [::1]:8080\r\n", 200),
        ("1.1", "", 400),
        ("1.1", "Host: a\r\nHost: a\r\n", 400),
        ("1.1", "Host: a b\r\n", 400),
        ("1.1", "Host: user@a\r\n", 400),
        ("1.1", "Host: a/b\r\n", 400),
        ("1.0", "", 200),
        ("1.0", "Host: a\r\n", 200),
        ("1.0", "Host: a\r\nHost: a\r\n", 400),
        ("1.0", "Host: a b\r\n", 400),
    ] {
        let mut stream = raw::open(&running).await;
        let request =
            format!("POST / HTTP/{version}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(raw::response(&mut stream, None).await.0, status, "HTTP/{version} {headers:?}");
    }
    let mut stream = raw::open(&running).await;
    stream.write_all(raw::UPGRADE.replace("Host: h\r\n", "").as_bytes()).await.unwrap();
    assert_eq!(raw::response(&mut stream, None).await.0, 400);
}

#[tokio::test]
async fn an_upgrade_needs_one_key_and_http_1_1() {
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let twice = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    for upgrade in [
        raw::UPGRADE.replace("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", twice),
        raw::UPGRADE.replace("HTTP/1.1", "HTTP/1.0"),
    ] {
        assert_ne!(upgrade, raw::UPGRADE);
        let mut stream = raw::open(&running).await;
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        assert_eq!(raw::response(&mut stream, None).await.0, 400, "{upgrade}");
    }
}

#[tokio::test]
async fn a_websocket_key_is_16_bytes_in_base_64() {
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    for (key, status) in [
        ("AAAAAAAAAAAAAAAAAAAAAA==", 101),
        ("AAAAAAAAAAAAAAAAAAAAAA", 400),
        ("AAAAAAAAAAAAAAAAAAAAAB==", 400),
        ("AAAAAAAAAAAAAAAAAAAA", 400),
        ("AAAAAAAAAAAAAAAAAAAAAAAA", 400),
        ("not base 64 at all!!!!==", 400),
        ("", 400),
    ] {
        let mut stream = raw::open(&running).await;
        stream.write_all(raw::UPGRADE.replace("AAAAAAAAAAAAAAAAAAAAAA==", key).as_bytes()).await.unwrap();
        assert_eq!(raw::response(&mut stream, None).await.0, status, "{key:?}");
    }
}

#[tokio::test]
async fn a_subprotocol_is_agreed_on_and_required() {
    let running =
        Server::builder().websocket_protocol("bayeux").build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let open = async |offered: &str| {
        let mut socket = Socket::open_with(&running.url(), &[("sec-websocket-protocol", offered)]).await?;
        // The peer checks that what it offered was selected.
        Ok::<_, StatusCode>(socket.ask(json!([handshake()])).await[0]["successful"].clone())
    };
    assert_eq!(open("bayeux").await, Ok(json!(true)));
    assert_eq!(open("other, bayeux").await, Ok(json!(true)));
    assert_eq!(open("other").await, Err(StatusCode::BAD_REQUEST));
    assert_eq!(open("bayeux2").await, Err(StatusCode::BAD_REQUEST));
    assert_eq!(Socket::open_with(&running.url(), &[]).await.err(), Some(StatusCode::BAD_REQUEST));
}

#[tokio::test]
async fn a_byte_order_mark_is_skipped() {
    let server = Server::builder().build().unwrap();
    let text = format!("\u{feff}{}", json!([handshake()]));
    let answer = call(server.service(), request(None, text.clone())).await;
    assert_eq!(answer.messages()[0]["successful"], true);
    for body in ["\u{feff}", "\u{feff}\u{feff}[]", "[\u{feff}]"] {
        assert_eq!(call(server.service(), request(None, body)).await.status, StatusCode::BAD_REQUEST);
    }
    let running = server.bind("127.0.0.1:0").await.unwrap();
    for frame in [Message::text(text.clone()), Message::binary(text.into_bytes())] {
        let mut socket = Socket::open(&running.url()).await;
        socket.send_raw(frame).await;
        assert_eq!(socket.messages().await[0]["successful"], true);
    }
}

#[tokio::test]
async fn origins_hold_for_every_transport() {
    for (builder, good) in [
        (Server::builder().origins(["https://example.com"]), "https://example.com"),
        (Server::builder().origins(["https://example.com"]).same_origin(true), "http://127.0.0.1"),
        (Server::builder().same_origin(true), "http://127.0.0.1"),
    ] {
        let server = builder.build().unwrap();
        let running = server.bind("127.0.0.1:0").await.unwrap();
        let good = match good {
            "http://127.0.0.1" => format!("http://{}", running.local_addr()),
            good => good.to_owned(),
        };
        for (origin, allowed) in [("https://evil.example", false), ("null", false), (&*good, true)] {
            let mut post = request(None, json!([handshake()]).to_string());
            post.headers_mut().insert("origin", origin.parse().unwrap());
            post.headers_mut().insert("host", running.local_addr().to_string().parse().unwrap());
            let expected = if allowed { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(call(server.service(), post).await.status, expected, "{origin}");
            let opened = Socket::open_with(&running.url(), &[("origin", origin)]).await.err();
            assert_eq!(opened, (!allowed).then_some(StatusCode::FORBIDDEN), "{origin}");
        }
        let post = request(None, json!([handshake()]).to_string());
        assert_eq!(call(server.service(), post).await.status, StatusCode::OK, "no browser");
    }
}

#[tokio::test]
async fn the_session_cookie_has_the_attributes_that_are_asked_for() {
    let attributes = async |cookie: SessionCookie| {
        let server = Server::builder().session_cookie(cookie).build().unwrap();
        let answer = call(server.service(), request(None, json!([handshake()]).to_string())).await;
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        format!("{}; {attributes}", pair.split('=').next().unwrap())
    };
    assert_eq!(attributes(SessionCookie::new()).await, "BAYEUX_BROWSER; Path=/; HttpOnly");
    let all = SessionCookie::new()
        .name("S")
        .path("/cometd")
        .domain("example.com")
        .max_age(Duration::from_secs(60))
        .secure(true)
        .http_only(false)
        .same_site(SameSite::None)
        .partitioned(true);
    let expected = "S; Path=/cometd; Domain=example.com; Max-Age=60; Secure; SameSite=None; Partitioned";
    assert_eq!(attributes(all.clone()).await, expected);
    assert_eq!(
        attributes(SessionCookie::new().same_site(SameSite::Strict)).await,
        "BAYEUX_BROWSER; Path=/; HttpOnly; SameSite=Strict"
    );
    assert_eq!(
        attributes(SessionCookie::new().same_site(SameSite::Lax)).await,
        "BAYEUX_BROWSER; Path=/; HttpOnly; SameSite=Lax"
    );

    let server = Server::builder().session_cookie(all).build().unwrap();
    let client = Client::handshake(&server, None).await;
    assert!(client.cookie.as_deref().unwrap().starts_with("S="));
    assert_eq!(client.connect(json!({})).await.messages()[0]["successful"], true);
    let mut other = client.clone();
    other.cookie = client.cookie.map(|cookie| cookie.replace("S=", "BAYEUX_BROWSER="));
    assert_eq!(other.connect(json!({})).await.messages()[0]["error"], "402::session_unknown");
}

#[tokio::test]
async fn invalid_options_are_errors_of_the_build() {
    let built = |builder: bayeux_server::Builder| builder.build().map(|_| ()).unwrap_err();
    let cookie = |cookie: SessionCookie| built(Server::builder().session_cookie(cookie));
    let quoted = |text: &str| text.to_owned();
    assert_eq!(cookie(SessionCookie::new().name("a=b")), BuildError::InvalidCookieName(quoted("a=b")));
    assert_eq!(cookie(SessionCookie::new().name("")), BuildError::InvalidCookieName(quoted("")));
    let forged = "/; Domain=evil.example";
    assert_eq!(cookie(SessionCookie::new().path(forged)), BuildError::InvalidCookieAttribute(quoted(forged)));
    assert_eq!(
        cookie(SessionCookie::new().domain("a\r\nb")),
        BuildError::InvalidCookieAttribute(quoted("a\r\nb"))
    );
    let answer = |_| async { Ok(None) };
    let builder = Server::builder().websocket_protocol("a, b").service("/service/fine", answer);
    assert_eq!(built(builder), BuildError::InvalidProtocol(quoted("a, b")), "the first mistake is returned");
    let channel = Channel::parse("/quotes").unwrap();
    assert_eq!(built(Server::builder().service("/quotes", answer)), BuildError::NoServiceChannel(channel));
    let invalid = built(Server::builder().service("service", answer));
    assert!(matches!(invalid, BuildError::InvalidChannel(_)), "{invalid}");
    let invalid = built(Server::builder().lazy("a/b", Duration::ZERO));
    assert!(matches!(invalid, BuildError::InvalidChannel(_)), "{invalid}");
}

#[test]
fn a_server_is_not_built_outside_of_a_runtime() {
    assert_eq!(Server::builder().build().map(|_| ()), Err(BuildError::NoRuntime));
}

#[tokio::test]
async fn a_websocket_is_issued_a_cookie_that_its_session_needs_over_http() {
    let server = Server::builder().build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let (mut socket, id) = Socket::connected(&running.url()).await;
    let subscribe = json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}]);
    socket.ask(sign(&id, subscribe)).await;
    let answer =
        call(server.service(), request(None, sign(&id, json!([connect(json!({}))])).to_string())).await;
    assert_eq!(answer.messages()[0]["error"], "402::session_unknown", "its id alone is not enough");
    server.publish("/a", &1).unwrap();
    assert_eq!(events(&socket.messages().await), [json!(1)], "its socket is still its own");

    let (mut stream, cookie) = cookie_of_upgrade(&running).await;
    let mut events = server.events();
    stream.write_all(&raw::frame(0x81, json!([handshake()]).to_string().as_bytes())).await.unwrap();
    let Some(bayeux_server::SessionEvent::Added { session: id, .. }) = events.next().await else {
        panic!("no session")
    };
    let ask = sign(id.as_str(), json!([connect(json!({"advice": {"timeout": 0}}))])).to_string();
    let answer = call(server.service(), request(Some(&cookie), ask)).await;
    assert_eq!(answer.messages()[0]["successful"], true, "it has moved to HTTP");

    let opened = Socket::open_with(&running.url(), &[("cookie", "BAYEUX_BROWSER=mine")]).await;
    assert!(opened.is_ok(), "and who has one gets no other");
}

/// The cookie of a 101, of a connection that asked for a WebSocket.
async fn cookie_of_upgrade(running: &bayeux_server::Running) -> (tokio::net::TcpStream, String) {
    let mut stream = raw::open(running).await;
    stream.write_all(raw::UPGRADE.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    (stream, cookie.split(';').next().unwrap().to_owned())
}

/// As Faye's clients do it, which then open the socket again.
#[tokio::test]
async fn a_socket_that_was_opened_during_the_handshake_is_closed_and_the_next_has_the_cookie() {
    let server = Server::builder().build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let (mut early, of_socket) = cookie_of_upgrade(&running).await;
    let client = Client::handshake(&server, None).await;
    let of_session = client.cookie.clone().unwrap();
    let name = |cookie: &str| cookie.split('=').next().unwrap().to_owned();
    assert_ne!(name(&of_socket), name(&of_session), "a client keeps both, whichever comes last");
    let ask = sign(&client.id, json!([connect(json!({"advice": {"timeout": 0}}))]));
    early.write_all(&raw::frame(0x81, ask.to_string().as_bytes())).await.unwrap();
    let mut frame = [0; 4];
    early.read_exact(&mut frame).await.unwrap();
    assert_eq!((frame[0], &frame[2..]), (0x88, &[0x03, 0xf0][..]), "closed with 1008, and not answered");
    let both = format!("{of_socket}; {of_session}");
    let mut next = Socket::open_with(&running.url(), &[("cookie", &both)]).await.unwrap();
    assert_eq!(next.ask(ask).await[0]["successful"], true);

    // Where the network is quick, the handshake has the cookie of the socket, and the session moves there.
    let (mut early, of_socket) = cookie_of_upgrade(&running).await;
    let client = Client::handshake(&server, Some(&of_socket)).await;
    assert_eq!(client.cookie.as_deref(), Some(&*of_socket), "no other cookie is set");
    let ask = sign(&client.id, json!([connect(json!({"advice": {"timeout": 0}}))]));
    early.write_all(&raw::frame(0x81, ask.to_string().as_bytes())).await.unwrap();
    assert_eq!(early.read_u8().await.unwrap(), 0x81, "it is answered");
}

#[tokio::test]
async fn an_upgrade_has_no_body() {
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    for (headers, status) in [
        ("Content-Length: 0\r\n", "101"),
        ("Content-Length: 5\r\n", "400"),
        ("Transfer-Encoding: chunked\r\n", "400"),
    ] {
        let mut stream = raw::open(&running).await;
        let ask = raw::UPGRADE.replace("Upgrade: websocket\r\n", &format!("Upgrade: websocket\r\n{headers}"));
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head[9..], status.as_bytes(), "{headers}");
    }
}

#[tokio::test]
async fn a_client_id_is_not_enough_to_take_a_session_over() {
    let server = Server::builder().build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let victim = Client::connected(&server, None).await;
    let mut thief = Socket::open(&running.url()).await;
    let reply = thief.ask(sign(&victim.id, json!([connect(json!({}))]))).await.remove(0);
    assert_eq!(reply["error"], "402::session_unknown");
    assert_eq!(reply["advice"]["reconnect"], "handshake");
    let trusting = Server::builder().trust_client_session(true).build().unwrap();
    let running = trusting.bind("127.0.0.1:0").await.unwrap();
    let client = Client::connected(&trusting, None).await;
    let mut socket = Socket::open(&running.url()).await;
    let reply =
        socket.ask(sign(&client.id, json!([connect(json!({"advice": {"timeout": 0}}))]))).await.remove(0);
    assert_eq!(reply["successful"], true);
}
