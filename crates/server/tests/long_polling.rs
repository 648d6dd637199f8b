//! Requests and responses, through the tower service without TCP and in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use bayeux_server::{RemovedBecause, Request, Server, ServiceError, SessionEvent, Transport};
use http::StatusCode;
use http_body_util::Full;
use serde_json::{Value, json};
use support::*;

async fn raw(server: &Server, body: impl Into<bytes::Bytes>) -> Answer {
    call(server.service(), request(None, body)).await
}

/// The server still does what it should.
async fn is_healthy(server: &Server) {
    let client = Client::connected(server, None).await;
    assert_eq!(client.post(json!([{"channel": "/a", "id": "1", "data": 1}])).await[0]["successful"], true);
}

#[tokio::test(start_paused = true)]
async fn the_browser_cookie_is_set_once_and_belongs_to_the_session() {
    let server = Server::builder().build().unwrap();
    let answer = raw(&server, json!([handshake()]).to_string()).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    let (pair, attributes) = cookie.split_once(';').unwrap();
    let value = pair.strip_prefix("BAYEUX_BROWSER=").unwrap();
    assert!(value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{cookie}");
    assert_eq!(attributes, " Path=/; HttpOnly");
    assert_eq!(answer.headers["content-type"], "application/json;charset=UTF-8");

    let with_cookie = Client::handshake(&server, Some("a=b; BAYEUX_BROWSER=mine")).await;
    let again = with_cookie.connect(json!({})).await;
    assert_eq!((again.set_cookie(), &again.messages()[0]["successful"]), (None, &json!(true)));
    let mut thief = with_cookie.clone();
    for cookie in [None, Some("BAYEUX_BROWSER=other".to_owned()), Some("BAYEUX_BROWSER=".to_owned())] {
        thief.cookie = cookie;
        let reply = thief.connect(json!({})).await.messages().remove(0);
        assert_eq!(reply["error"], "402::session_unknown");
        assert_eq!(reply["advice"]["reconnect"], "handshake");
    }
    assert!(raw(&server, json!([{"channel": "/a", "id": "1"}]).to_string()).await.set_cookie().is_none());

    let server = Server::builder().trust_client_session(true).build().unwrap();
    let mut client = Client::handshake(&server, None).await;
    client.cookie = None;
    assert_eq!(client.connect(json!({})).await.messages()[0]["successful"], true);
}

#[tokio::test(start_paused = true)]
async fn case_68_a_handshake_with_company_is_rejected_as_a_whole() {
    let server = Server::builder().build().unwrap();
    let body = json!([handshake(), {"channel": "/a", "id": "1", "data": 1}]).to_string();
    assert_eq!(raw(&server, body).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connect_is_held_until_its_time_or_an_event() {
    let server = Server::builder().timeout(Duration::from_secs(45)).build().unwrap();
    let client = Client::connected(&server, None).await;
    client.post(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}])).await;
    let began = tokio::time::Instant::now();
    assert_eq!(client.connect(json!({})).await.messages().len(), 1);
    assert!(began.elapsed().abs_diff(Duration::from_secs(45)) < Duration::from_secs(1));
    let held = client.held().await;
    server.publish("/a", &1).unwrap();
    assert_eq!(events(&held.await.unwrap().messages()), [json!(1)]);
    let held = client.held().await;
    server.publish_lazily("/a", &2, Duration::from_secs(5)).unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(events(&held.await.unwrap().messages()), [json!(2)]);
    assert!(began.elapsed().abs_diff(Duration::from_secs(5)) < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn case_70_a_second_connect_takes_the_place_of_the_first() {
    for (server, status) in [(Server::builder(), 500), (Server::builder().duplicate_connect_status(200), 400)]
    {
        let server = server.build().unwrap();
        let client = Client::connected(&server, None).await;
        client.post(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}])).await;
        let first = client.held().await;
        let second = client.held().await;
        assert_eq!(first.await.unwrap().status, status);
        server.publish("/a", &1).unwrap();
        assert_eq!(events(&second.await.unwrap().messages()), [json!(1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn case_71_the_second_session_of_a_browser_polls() {
    let server = Server::builder().multi_session_interval(Duration::from_secs(3)).build().unwrap();
    let first = Client::connected(&server, None).await;
    let second = Client::connected(&server, first.cookie.as_deref()).await;
    let held = first.held().await;
    let advice = second.connect(json!({})).await.messages()[0]["advice"].clone();
    assert_eq!(advice, json!({"reconnect": "retry", "interval": 3_000, "multiple-clients": true}));
    let body = sign(&second.id, json!([connect(json!({}))])).to_string();
    let mut over_http_2 = request(second.cookie.as_deref(), body);
    *over_http_2.version_mut() = http::Version::HTTP_2;
    let service = server.service();
    let task = tokio::spawn(call(service, over_http_2));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!task.is_finished(), "over HTTP/2 there is no limit");
    assert!(!held.is_finished());
}

#[tokio::test(start_paused = true)]
async fn case_75_a_publishers_own_event_comes_with_the_reply() {
    let server = Server::builder().build().unwrap();
    let client = Client::connected(&server, None).await;
    client.post(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}])).await;
    let held = client.held().await;
    let messages = client.post(json!([{"channel": "/a", "id": "1", "data": 1}])).await;
    assert_eq!((messages.len(), events(&messages)), (2, vec![json!(1)]));
    assert!(!held.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_starts_the_clock_of_its_session() {
    let server = Server::builder().build().unwrap();
    let mut events = server.events();
    let client = Client::connected(&server, None).await;
    let held = client.held().await;
    held.abort();
    let began = tokio::time::Instant::now();
    while !matches!(events.next().await, Some(SessionEvent::Removed { because: RemovedBecause::Expired, .. }))
    {
    }
    assert!(began.elapsed().abs_diff(Duration::from_secs(10)) < Duration::from_secs(2));
    assert_eq!(server.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn case_84_bodies_that_do_harm_are_refused() {
    let server = Server::builder().max_message_size(300_000).build().unwrap();
    let deep = format!("[{}{}]", "[".repeat(100_000), "]".repeat(100_000));
    let deep_data =
        format!(r#"[{{"channel":"/a","id":"1","data":{}1{}}}]"#, "[".repeat(100_000), "]".repeat(100_000));
    let bomb: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1];
    for (body, status) in [
        (vec![b' '; 300_001], 413),
        (bomb.to_vec(), 400),
        (deep.into_bytes(), 400),
        (b"[{\"channel\":\"\xff\"}]".to_vec(), 400),
        (Vec::new(), 400),
        (b"[]".to_vec(), 400),
        (b"[1]".to_vec(), 400),
        (b"[{\"channel\":\"/a\"".to_vec(), 400),
        (b"message=%5B%5D".to_vec(), 400),
        (format!("[{}]", vec!["{}"; 10_001].join(",")).into_bytes(), 413),
    ] {
        let start = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
        assert_eq!(raw(&server, body).await.status, status, "{start}");
    }
    let reply = raw(&server, deep_data).await.messages().remove(0);
    assert_eq!(reply["error"], "402::session_unknown", "deep data is nobody's concern but the receiver's");
    let mut compressed = request(None, bomb.to_vec());
    compressed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(call(server.service(), compressed).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    is_healthy(&server).await;
}

#[tokio::test(start_paused = true)]
async fn case_84_a_body_that_does_not_come_is_not_waited_for() {
    use tower::Service;
    let server = Server::builder().body_timeout(Duration::from_secs(7)).build().unwrap();
    let body = http_body_util::StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<bytes::Bytes>, std::io::Error>,
    >());
    let began = tokio::time::Instant::now();
    let Ok(response) = server.service().call(http::Request::post("/").body(body).unwrap()).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(began.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn case_85_a_preflight_is_answered_and_other_methods_are_not() {
    let server = Server::builder().build().unwrap();
    for (method, status) in [("OPTIONS", 200), ("GET", 400), ("PUT", 400)] {
        let request = http::Request::builder().method(method).uri("/cometd").body(Full::default()).unwrap();
        assert_eq!(call(server.service(), request).await.status, status, "{method}");
    }
    let server = Server::builder().transports([Transport::WebSocket]).build().unwrap();
    assert_eq!(raw(&server, json!([handshake()]).to_string()).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_or_is_overrun_answers_its_caller() {
    let server = Server::builder()
        .max_service_calls(1)
        .service("/service/*", |request: Request| {
            assert_ne!(request.data.as_str(), "\"at once\"", "the handler itself");
            async move {
                match request.data.as_str() {
                    "\"slow\"" => std::future::pending().await,
                    "\"later\"" => panic!("its future"),
                    _ => Ok::<_, ServiceError>(Some(request.data)),
                }
            }
        })
        .build()
        .unwrap();
    let client = Client::connected(&server, None).await;
    let ask = async |data: &str| -> Value {
        client.post(json!([{"channel": "/service/x", "id": "7", "data": data}])).await;
        let messages = client.connect(json!({"advice": {"timeout": 1_000}})).await.messages();
        messages[0].clone()
    };
    assert_eq!(ask("later").await["error"], "500::the service failed");
    assert_eq!(ask("at once").await["error"], "500::the service failed");
    assert_eq!(ask("hello").await["data"], "hello");
    assert_eq!(ask("slow").await["channel"], "/meta/connect");
    let refused = ask("hello").await;
    assert_eq!((&refused["error"], &refused["id"]), (&json!("503::too_many_calls"), &json!("7")));
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_this_machine_is_told_if_allowed() {
    let ask =
        json!([{"channel": "/meta/handshake", "id": "1", "ext": {"timesync": {"tc": 5, "l": 0, "o": 0}}}]);
    for told in [true, false] {
        let server = Server::builder().timesync(told).build().unwrap();
        tokio::task::yield_now().await;
        let reply = raw(&server, ask.to_string()).await.messages().remove(0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        match reply["ext"]["timesync"]["ts"].as_u64() {
            Some(ts) => assert!(told && u128::from(ts).abs_diff(now) < 60_000),
            None => assert!(!told),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_answers_held_connects_and_refuses_what_comes_later() {
    let server = Server::builder().build().unwrap();
    let client = Client::connected(&server, None).await;
    let held = client.held().await;
    server.shutdown();
    let reply = held.await.unwrap().messages().remove(0);
    assert_eq!((&reply["successful"], &reply["advice"]["reconnect"]), (&json!(true), &json!("handshake")));
    assert_eq!(raw(&server, json!([handshake()]).to_string()).await.status, StatusCode::SERVICE_UNAVAILABLE);
}
