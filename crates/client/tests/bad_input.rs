//! What is wrong at the other end: each is a typed error whose text names the URL and the cause, or is passed over; and
//! what was received before is not lost.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::time::{Duration, Instant};

use bayeux::{Client, Error, ErrorKind, Event, FailureKind, Overflow, Transport};
use bayeux_testkit::{Answer, Peer, Request, TestServer};
use fixture::*;
use serde_json::{Value, json};

async fn open_fails(builder: bayeux::Builder) -> Error {
    let client = builder.build().unwrap();
    let error = within(client.open()).await.unwrap_err();
    assert!(client.is_closed(), "a client that could not be opened is closed");
    assert!(within(client.next()).await.is_none_or(|item| item.is_err()));
    error
}

fn kind(error: &Error) -> FailureKind {
    error.failure().unwrap_or_else(|| unreachable!("{error} is a failure")).kind()
}

#[tokio::test]
async fn a_url_that_is_none() {
    let bad = [
        ("", "relative URL"),
        ("no url", "relative URL"),
        ("/cometd", "relative URL"),
        ("example.com/cometd", "relative URL"),
        ("ftp://example.com/cometd", "ftp"),
        ("http://", "empty host"),
        ("http://exa mple.com/", "invalid"),
        ("http://example.com:99999/", "port"),
        ("mailto:ann@example.com", "mailto"),
    ];
    for (url, why) in bad {
        let error = Client::builder(url).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(error.to_string().contains(why), "{url}: {error}");
        assert!(!error.is_retryable());
    }
    let error = Client::builder("ftp://ann:hunter2@example.com/?token=hunter3").build().unwrap_err();
    assert!(!error.to_string().contains("hunter"), "{error}");
    let error = Client::builder("http//ann:hunter2@example.com/?token=hunter3").build().unwrap_err();
    assert!(!error.to_string().contains("hunter"), "{error}");
}

#[tokio::test]
async fn a_host_that_does_not_resolve() {
    for transport in BOTH {
        let error =
            open_fails(over(transport, "http://ann:hunter2@no-such-host.invalid/cometd?key=hunter3")).await;
        assert_eq!(kind(&error), FailureKind::UnknownHost, "{error}");
        assert_eq!(error.kind(), ErrorKind::Transport);
        let text = error.to_string();
        assert!(text.contains("no-such-host.invalid") && text.contains("unknown host"), "{text}");
        assert!(!text.contains("hunter") && !format!("{error:?}").contains("hunter"), "{error:?}");
    }
}

#[tokio::test]
async fn a_port_that_is_closed() {
    let network = bayeux_testkit::FaultProxy::to(([127, 0, 0, 1], 9).into()).await;
    network.refuse().await;
    for transport in BOTH {
        let error = open_fails(over(transport, &network.url())).await;
        assert_eq!(kind(&error), FailureKind::Unreachable, "{error}");
        let text = error.to_string();
        assert!(text.contains(&network.url()) && text.contains("refused"), "{text}");
        assert!(error.is_retryable() && !error.is_fate_unknown());
    }
}

#[tokio::test]
async fn a_host_called_proxy_is_no_proxy() {
    let network = bayeux_testkit::FaultProxy::to(([127, 0, 0, 1], 9).into()).await;
    network.refuse().await;
    for transport in BOTH {
        let url = format!("http://{}/proxy-tunnel", network.address());
        let error = open_fails(over(transport, &url)).await;
        assert_eq!(kind(&error), FailureKind::Unreachable, "{error}");
    }
}

#[cfg(any(feature = "rustls-ring", feature = "rustls-aws-lc-rs"))]
#[tokio::test]
async fn a_certificate_that_nobody_trusts() {
    let authority = bayeux_testkit::Authority::new();
    let server = TestServer::builder().tls(authority.issue(&["127.0.0.1"])).start().await;
    for transport in BOTH {
        let error = open_fails(over(transport, &server.url())).await;
        assert_eq!(kind(&error), FailureKind::Tls, "{error}");
        assert!(error.to_string().contains(&server.url()), "{error}");
        assert!(!error.is_retryable());
    }
}

#[cfg(any(feature = "rustls-ring", feature = "rustls-aws-lc-rs"))]
#[tokio::test]
async fn a_server_that_speaks_no_tls() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let error = open_fails(over(transport, &server.url().replace("http://", "https://"))).await;
        assert_eq!(error.kind(), ErrorKind::Transport);
        assert_eq!(kind(&error), FailureKind::Tls, "{error}");
    }
}

#[tokio::test]
async fn case_23_an_http_error_with_a_page() {
    let page =
        "<html><head><title>503 Backend\n fetch failed</title></head>[{\"channel\":\"/meta/handshake\"}]";
    for transport in BOTH {
        for status in [500, 503, 404] {
            let peer = Peer::start(move |_| Answer::page(status, page)).await;
            let error = open_fails(over(transport, &peer.url())).await;
            assert_eq!(error.http_status(), Some(status), "{error}");
            assert_eq!(error.is_retryable(), status != 404);
            let text = error.to_string();
            assert!(text.contains(&peer.url()) && text.contains(&status.to_string()), "{text}");
            if transport == Transport::LongPolling {
                assert!(
                    text.contains("503 backend fetch failed") || text.contains("503 Backend fetch failed"),
                    "{text}"
                );
            }
        }
    }
    // On a connect it is a failure that is tried again, with the same session.
    let peer = Peer::start(move |request| match request.name() {
        "/meta/connect" if request.nth == 1 => Answer::page(503, page),
        _ => request.decently(),
    })
    .await;
    let client = over(Transport::LongPolling, &peer.url()).build().unwrap();
    let mut events = client.events();
    within(client.open()).await.unwrap();
    assert!(lost(&mut events).await.contains("503"));
    connected(&mut events).await;
    assert_eq!(peer.received("/meta/handshake").len(), 1);
    assert_eq!(peer.wait_for_messages("/meta/connect", 3).await[2]["advice"], json!({"timeout": 0}));
    within(client.close()).await.unwrap();
}

/// In errors and in events, over both transports, in every place in which a peer can write a text.
#[tokio::test]
async fn credentials_that_a_peer_repeats_are_not_shown() {
    const SECRETS: [&str; 6] = ["h34der", "4pi-key", "c00kie", "p4ssword", "3xt-token", "j4r-cookie"];
    let echo = SECRETS.join(" or ");
    let with_credentials = |transport, url: &str| {
        let url = url.replace("http://", "http://ann:p4ssword@");
        let key = json!({"key": "3xt-token"});
        over(transport, &url)
            .header("Authorization", "Bearer h34der")
            .header("X-Api-Key", "4pi-key")
            .cookie("own", "c00kie")
            .handshake_ext("auth", key)
    };
    let check = |text: String| {
        assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
        assert!(text.contains("… or …"), "the rest of the text is there: {text}");
    };
    for transport in BOTH {
        let (page, refusal, close) = (echo.clone(), echo.clone(), echo.clone());
        let peer = Peer::start(move |request| match (request.name(), request.nth) {
            ("/meta/handshake", _) => request.decently().header("set-cookie", "S=j4r-cookie"),
            ("/refused", _) => {
                let error = format!("403::{refusal}");
                Answer::messages([Request::refusal_of(&request.messages[0], &error)])
            }
            ("/page", _) => Answer::page(403, &format!("<title>{page}</title>")),
            ("/closed", _) => Answer::close(1008, &close),
            _ => request.decently(),
        })
        .await;
        let client = with_credentials(transport, &peer.url()).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        let error = within(client.publish("/refused", &1)).await.unwrap_err();
        assert_eq!(error.code(), Some(403));
        let text = format!("{error} {error:?} {:?}", error.server_error());
        if transport == Transport::LongPolling {
            check(text);
            let error = within(client.publish("/page", &1)).await.unwrap_err();
            check(format!("{error} {error:?} {:?}", error.failure()));
            let failed = event(&mut events, |event| matches!(event, Event::RequestFailed { .. })).await;
            check(format!("{failed:?}"));
        } else {
            // The peer sets its cookie with responses of HTTP.
            check(text.replace("j4r-cookie", "…"));
            let error = within(client.publish("/closed", &1)).await.unwrap_err();
            check(format!("{error} {error:?}").replace("j4r-cookie", "…"));
            check(lost(&mut events).await.replace("j4r-cookie", "…"));
        }
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn an_error_page_without_an_end_is_an_error_at_once() {
    let peer = Peer::start(|_| {
        Answer::raw("HTTP/1.1 500 Oh\r\ncontent-type: text/html\r\ncontent-length: 100000\r\n\r\n<html>")
    })
    .await;
    let began = Instant::now();
    let error = open_fails(over(Transport::LongPolling, &peer.url())).await;
    assert_eq!(error.http_status(), Some(500), "{error}");
    assert!(began.elapsed() < Duration::from_secs(8), "before the request timeout");
}

#[tokio::test]
async fn case_36_redirects() {
    let goal = Peer::decent().await;
    let goal_url = goal.url();
    for transport in BOTH {
        for status in [301, 302, 303, 307, 308] {
            let target = format!("{goal_url}?secret=hunter2");
            let peer = Peer::start(move |_| Answer::status(status).header("location", &target)).await;
            let error = open_fails(over(transport, &peer.url())).await;
            assert_eq!(error.http_status(), Some(status), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert!(error.to_string().contains(&goal_url), "it says where to: {error}");
        }
    }
    assert!(goal.requests().is_empty(), "nothing is carried to another origin");

    // On the same origin, those are followed that keep a POST a POST.
    let peer = Peer::start(|request| match request.path.as_str() {
        path if path.starts_with("/cometd") => Answer::status(307).header("location", "/moved"),
        _ => request.decently(),
    })
    .await;
    let client = open(Transport::LongPolling, &peer.url()).await;
    within(client.close()).await.unwrap();
    let endless = Peer::start(|_| Answer::status(308).header("location", "/cometd/again")).await;
    let error = open_fails(over(Transport::LongPolling, &endless.url())).await;
    assert!(error.to_string().contains("redirects more than"), "{error}");
    assert!(endless.requests().len() < 10);
}

/// Bodies that are no messages; each as the answer to a handshake, and later as that to a connect.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let mut deep_data = br#"[{"channel":"/n","data":"#.to_vec();
    deep_data.extend(vec![b'['; 100_000]);
    deep_data.extend(vec![b']'; 100_000]);
    deep_data.extend(b"}");
    vec![
        ("text", b"hello".to_vec()),
        ("a page", b"<html>Welcome to the hotel</html>".to_vec()),
        ("a number", b"42".to_vec()),
        ("truncated", br#"[{"channel":"/meta/connect","succ"#.to_vec()),
        ("rubbish behind", br#"[{"channel":"/n"}] tail"#.to_vec()),
        ("deep and truncated", deep_data),
        ("no UTF-8", b"[{\"channel\":\"/n\",\"data\":\"\xff\xfe\"}]".to_vec()),
    ]
}

#[tokio::test]
async fn case_26_malformed_bodies_fail_an_open() {
    for transport in BOTH {
        for (what, body) in malformed() {
            let peer = Peer::start(move |request| match request.name() {
                "upgrade" => Answer::accept(),
                _ => Answer::body(body.clone()),
            })
            .await;
            let error = open_fails(over(transport, &peer.url())).await;
            assert_eq!(kind(&error), FailureKind::Malformed, "{transport}, {what}: {error}");
            assert!(error.to_string().contains(&peer.url()), "{what}: {error}");
        }
    }
}

#[tokio::test]
async fn case_26_malformed_bodies_are_survived_and_lose_nothing_that_came_before() {
    for transport in BOTH {
        for (what, body) in malformed() {
            let peer = Peer::decent().await;
            let (client, mut events) = receiving(over(transport, &peer.url()), &peer).await;
            peer.push([json!({"channel": "/n", "data": "before"})]);
            if transport == Transport::WebSocket {
                peer.push_text(&body);
            } else {
                let mut bad = Some(body);
                peer.follow(move |request| match bad.take_if(|_| request.has("/meta/connect")) {
                    Some(body) => Answer::body(body),
                    None => request.decently(),
                });
            }
            let cause = lost(&mut events).await;
            assert!(cause.contains(&peer.url()), "{what}: {cause}");
            connected(&mut events).await;
            assert_eq!(next(&client).await, r#""before""#);
            client.publish("/n", &1).await.unwrap();
            assert_eq!(peer.received("/meta/handshake").len(), 1, "{what}: the session is kept");
            within(client.close()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn elements_that_are_no_messages_are_passed_over() {
    let deep: Vec<u8> = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    for transport in BOTH {
        for body in [deep.clone(), b"[1, null, \"x\", []]".to_vec()] {
            let peer = Peer::start(move |request| match request.name() {
                "upgrade" => Answer::accept(),
                _ => Answer::body(body.clone()),
            })
            .await;
            let impatient =
                over(transport, &peer.url()).connect_timeout(millis(200)).request_timeout(millis(200));
            let error = open_fails(impatient).await;
            assert!(matches!(kind(&error), FailureKind::Malformed | FailureKind::Timeout), "{error}");
        }
        let peer = Peer::decent().await;
        let (client, _) = receiving(over(transport, &peer.url()), &peer).await;
        peer.push([json!(1), json!([[]]), json!({"channel": "/n", "data": "after"}), json!(null)]);
        assert_eq!(next(&client).await, r#""after""#);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn deep_data_is_delivered_and_refused_where_it_is_decoded() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = open(transport, &peer.url()).await;
        let mut values = client.stream::<Value>("/n").await.unwrap();
        peer.wait_for_messages("/meta/connect", 2).await;
        let body = format!(r#"[{{"channel":"/n","data":{deep}}},{{"channel":"/n","data":1}}]"#);
        if transport == Transport::WebSocket {
            peer.push_text(body.as_bytes());
        } else {
            let mut body = Some(body);
            peer.follow(move |request| match body.take_if(|_| request.has("/meta/connect")) {
                Some(body) => {
                    let reply = Request::reply_to(&request.messages[0]).to_string();
                    Answer::body(format!("{},{reply}]", &body[..body.len() - 1]))
                }
                None => request.decently(),
            });
            peer.push([]);
        }
        assert_eq!(within(values.next()).await.unwrap().unwrap_err().kind(), ErrorKind::Decode);
        assert_eq!(within(values.next()).await.unwrap().unwrap(), 1);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn case_24_an_empty_answer_is_a_failure() {
    for body in ["", "[]"] {
        for transport in BOTH {
            let peer = Peer::start(move |request| match request.name() {
                "upgrade" => Answer::accept(),
                _ => Answer::body(body),
            })
            .await;
            let error = open_fails(
                over(transport, &peer.url()).connect_timeout(millis(300)).request_timeout(millis(300)),
            )
            .await;
            assert!(
                matches!(kind(&error), FailureKind::Malformed | FailureKind::Timeout),
                "{body:?}: {error}"
            );
        }
        let peer = Peer::start(move |request| match request.name() {
            "/meta/connect" if request.nth == 1 => Answer::body(body),
            _ => request.decently(),
        })
        .await;
        let client = over(Transport::LongPolling, &peer.url()).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        lost(&mut events).await;
        connected(&mut events).await;
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn case_25_a_lone_object_is_accepted() {
    for transport in BOTH {
        let peer = Peer::start(|request| {
            match (request.messages.as_slice(), request.name()) {
                // A held connect is held all the same.
                ([message], name) if name != "/meta/connect" || message["advice"]["timeout"] == 0 => {
                    Answer::body(request.replies()[0].to_string())
                }
                _ => request.decently(),
            }
        })
        .await;
        let client = open(transport, &peer.url()).await;
        client.publish("/a", &1).await.unwrap();
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn case_28_a_message_without_channel_is_reported_and_the_rest_is_processed() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let (client, mut events) = receiving(over(transport, &peer.url()), &peer).await;
        peer.push([
            json!({"channel": "/n", "data": 1}),
            json!({"data": "nowhere"}),
            json!({"channel": null, "data": "nowhere"}),
            json!({"channel": "/n", "data": 2}),
        ]);
        assert_eq!((next(&client).await.as_str(), next(&client).await.as_str()), ("1", "2"));
        let ignored = event(&mut events, |event| matches!(event, Event::Ignored { .. })).await;
        assert!(format!("{ignored:?}").contains("without channel"), "{ignored:?}");
        client.publish("/n", &3).await.unwrap();
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn replies_to_nothing_are_passed_over() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let (client, _) = receiving(over(transport, &peer.url()), &peer).await;
        peer.push([
            json!({"channel": "/meta/connect", "id": "999999", "successful": false, "advice": {"reconnect": "none"}}),
            json!({"channel": "/meta/subscribe", "id": "999998", "successful": false, "error": "403::no"}),
            json!({"channel": "/n", "id": "999997", "successful": true}),
            json!({"channel": "/meta/unheard-of", "successful": true}),
            json!({"channel": "/n", "data": "after"}),
        ]);
        assert_eq!(next(&client).await, r#""after""#);
        assert!(!client.is_closed());
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn case_42_more_than_the_cap_is_an_error_that_says_so() {
    for transport in BOTH {
        let large = json!({"channel": "/n", "data": "x".repeat(100_000)});
        let answer = large.clone();
        let peer = Peer::start(move |request| match request.name() {
            "upgrade" => Answer::accept(),
            _ => Answer::messages([answer.clone()]),
        })
        .await;
        let error = open_fails(over(transport, &peer.url()).max_message_size(50_000)).await;
        assert_eq!(kind(&error), FailureKind::TooLarge, "{error}");
        assert!(
            error.to_string().contains("max_message_size") && error.to_string().contains("50000"),
            "{error}"
        );
        assert!(!error.is_retryable());

        let peer = Peer::decent().await;
        let (client, mut events) =
            receiving(over(transport, &peer.url()).max_message_size(50_000), &peer).await;
        peer.push([large]);
        assert!(lost(&mut events).await.contains("max_message_size"));
        // What was in it is gone, and that is told.
        event(&mut events, |event| matches!(event, Event::GapPossible { .. })).await;
        connected(&mut events).await;
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn bug_b13_a_chunked_body_without_a_length_is_capped_too() {
    let mut body = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    for _ in 0..20 {
        body.push_str(&format!("2710\r\n{}\r\n", " ".repeat(10_000)));
    }
    let peer = Peer::start(move |_| Answer::raw(body.clone())).await;
    let error = open_fails(over(Transport::LongPolling, &peer.url()).max_message_size(50_000)).await;
    assert_eq!(kind(&error), FailureKind::TooLarge, "{error}");
}

#[tokio::test]
async fn case_41_a_message_that_is_too_large_to_send_fails_alone() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = opened(over(transport, &peer.url()).max_send_size(300)).await;
        let outcomes = client
            .batch(|batch| {
                batch.publish("/a", &1)?;
                batch.publish("/a", &"x".repeat(300))?;
                batch.publish("/a", &3)
            })
            .await
            .unwrap();
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
        let error = outcomes[1].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.contains("the 300 that may be sent") && text.contains("max_send_size"), "{text}");
        assert_eq!(peer.received("/a").len(), 2);
        client.publish("/a", &4).await.unwrap();
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_accepts_and_sends_nothing() {
    for transport in BOTH {
        let peer = Peer::start(|_| Answer::silence()).await;
        let began = Instant::now();
        let error = open_fails(
            over(transport, &peer.url()).connect_timeout(millis(200)).request_timeout(millis(200)),
        )
        .await;
        assert!(error.is_timeout() && error.to_string().contains(&peer.url()), "{error}");
        assert!(began.elapsed() < Duration::from_secs(5));
        peer.wait_until_idle().await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_without_a_word() {
    for transport in BOTH {
        let peer = Peer::start(|_| Answer::cut()).await;
        let error = open_fails(over(transport, &peer.url())).await;
        assert_eq!(kind(&error), FailureKind::Lost, "{error}");
        assert!(error.to_string().contains(&peer.url()), "{error}");
    }
}

#[tokio::test]
async fn rubbish_in_place_of_http_and_of_frames() {
    for transport in BOTH {
        let peer = Peer::start(|_| Answer::raw("SSH-2.0-OpenSSH_9.6\r\n").then_cut()).await;
        let error = open_fails(over(transport, &peer.url())).await;
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
        assert!(error.to_string().contains(&peer.url()), "{error}");
    }
    let peer = Peer::decent().await;
    let client = over(Transport::WebSocket, &peer.url()).build().unwrap();
    let mut events = client.events();
    within(client.open()).await.unwrap();
    for rubbish in
        [&b"\xff\xff\xff\xff"[..], b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", b"\xc1\x05hello", b"\x83\x00"]
    {
        peer.push_raw(rubbish.to_vec());
        lost(&mut events).await;
        connected(&mut events).await;
    }
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn a_queue_that_was_filled_before_the_fault_stays_full() {
    for transport in BOTH {
        let server = TestServer::start().await;
        let client = opened(over(transport, &server.url()).inbox(1000, Overflow::DropNewest)).await;
        client.subscribe("/n").await.unwrap();
        for n in 0..100 {
            client.publish("/n", &n).await.unwrap();
        }
        while client.pending_count() < 100 {
            tokio::task::yield_now().await;
        }
        server.stop().await;
        for n in 0..100 {
            assert_eq!(next(&client).await, n.to_string());
        }
        within(client.close()).await.unwrap();
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_tls_its_urls_are_refused_with_the_feature_that_has_it() {
    for url in ["https://example.com/cometd", "wss://example.com/cometd"] {
        let error = bayeux::Client::builder(url).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("rustls-ring"), "{error}");
    }
    for url in ["https://proxy.example", "socks5h://proxy.example:1080"] {
        let error = bayeux::Proxy::url(url).unwrap_err();
        assert!(error.to_string().contains("rustls-ring"), "{error}");
    }
}

#[tokio::test]
async fn a_busy_server_sends_when_to_come_back() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.name() {
            "/meta/handshake" | "upgrade" => Answer::status(503).header("retry-after", "17"),
            _ => request.decently(),
        })
        .await;
        let error = open_fails(over(transport, &peer.url())).await;
        assert_eq!(error.http_status(), Some(503));
        assert_eq!(error.failure().unwrap().retry_after(), Some(Duration::from_secs(17)), "{error}");
    }
}

#[tokio::test]
async fn gzip_under_all_its_names() {
    use std::io::Write;
    for name in ["gzip", "x-gzip", "X-GZIP", "GZip"] {
        let peer = Peer::start(move |request| match request.message("/zipped") {
            Some(message) => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(json!([Request::reply_to(message)]).to_string().as_bytes()).unwrap();
                Answer::body(gzip.finish().unwrap()).header("content-encoding", name)
            }
            None => request.decently(),
        })
        .await;
        let client = open(Transport::LongPolling, &peer.url()).await;
        let reply = within(client.publish("/zipped", &1)).await.unwrap();
        assert!(reply.is_successful(), "{name}");
        let request = peer.requests().into_iter().find(|request| request.has("/zipped")).unwrap();
        assert_eq!(request.header("accept-encoding"), Some("gzip"));
        within(client.close()).await.unwrap();
    }
    for (encoding, body) in [("gzip", &b"[]"[..]), ("gzip", b"\x1f\x8b\x08\0\0"), ("br", b"[]")] {
        let peer = Peer::start(move |request| match request.name() {
            "/zipped" => Answer::body(body).header("content-encoding", encoding),
            _ => request.decently(),
        })
        .await;
        let client = open(Transport::LongPolling, &peer.url()).await;
        let error = within(client.publish("/zipped", &1)).await.unwrap_err();
        assert_eq!(kind(&error), FailureKind::Malformed, "{error}");
        within(client.close()).await.unwrap();
    }
}
