//! Credentials: asked for once for any number of calls that wait, wherever the server hides its refusal.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bayeux::{AuthReason, Builder, Credentials, ErrorKind, Transport};
use bayeux_testkit::{Answer, Peer, Request, RequestKind};
use fixture::*;
use serde_json::{Value, json};

/// Gives `token-1`, `token-2` and so on, and counts how often it is asked.
fn with_tokens(builder: Builder, asked: &Arc<AtomicUsize>) -> Builder {
    let asked = Arc::clone(asked);
    builder.auth(move |_: AuthReason| {
        let token = format!("token-{}", asked.fetch_add(1, Ordering::SeqCst) + 1);
        async move { Ok(Credentials::bearer(&token)?.ext("token", token)) }
    })
}

fn bears(request: &Request, token: usize) -> bool {
    request.header("authorization") == Some(format!("Bearer token-{token}").as_str())
}

fn refused(message: &Value, error: &str, advice: Value) -> Value {
    let mut reply = Request::refusal_of(message, error);
    reply["advice"] = advice;
    reply
}

async fn works_with_the_second_token(transport: Transport, peer: &Peer, where_: &str) {
    let asked = Arc::default();
    let client = opened(with_tokens(over(transport, &peer.url()), &asked)).await;
    if where_ == "publish" {
        within(client.publish("/n", &1)).await.unwrap();
    }
    // A refusal of a connect comes when it comes.
    within(async {
        while asked.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(millis(5)).await;
        }
    })
    .await;
    within(client.subscribe("/n")).await.unwrap();
    within(client.publish("/n", &2)).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2, "{transport}: {where_}");
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn request_05_a_refusal_is_seen_wherever_it_is_hidden() {
    for transport in BOTH {
        // In the handshake of a second session, with advice to stop, and with the real reason in `ext`.
        let peer = Peer::start(|request| match (request.name(), request.nth) {
            ("/meta/connect", 1) => {
                let advice = json!({"reconnect": "handshake", "interval": 0});
                Answer::messages([refused(&request.messages[0], "402::session_unknown", advice)])
            }
            ("/meta/handshake", 1..) if !bears(request, 2) => {
                let advice = json!({"reconnect": "none"});
                let mut reply = refused(&request.messages[0], "403::Handshake denied", advice);
                reply["ext"] = json!({"sfdc": {"failureReason": "401::Authentication invalid"}});
                Answer::messages([reply])
            }
            _ => request.decently(),
        })
        .await;
        works_with_the_second_token(transport, &peer, "handshake").await;

        // In a connect, with advice to stop.
        let peer = Peer::start(|request| match request.message("/meta/connect") {
            Some(message) if request.nth == 0 => Answer::messages([refused(
                message,
                "401::Authentication invalid",
                json!({"reconnect": "none"}),
            )]),
            _ => request.decently(),
        })
        .await;
        works_with_the_second_token(transport, &peer, "connect").await;

        // In a publish.
        let peer = Peer::start(|request| match request.message("/n") {
            Some(message) if request.nth == 0 => {
                Answer::messages([Request::refusal_of(message, "401::expired")])
            }
            _ => request.decently(),
        })
        .await;
        works_with_the_second_token(transport, &peer, "publish").await;
    }
    // In a message without a channel, which only HTTP tells what it answers.
    let peer = Peer::start(|request| match request.name() {
        "/meta/connect" if request.nth == 1 => {
            Answer::messages([json!({"error": "401::Request requires authentication", "successful": false})])
        }
        _ => request.decently(),
    })
    .await;
    works_with_the_second_token(Transport::LongPolling, &peer, "without channel").await;
    // In the status of HTTP, and in that of the upgrade.
    let peer = Peer::start(|request| match request.kind {
        RequestKind::Post if request.name() == "/meta/connect" && request.nth == 1 => Answer::status(401),
        _ => request.decently(),
    })
    .await;
    works_with_the_second_token(Transport::LongPolling, &peer, "HTTP").await;
    let peer = Peer::start(|request| match (request.name(), request.nth) {
        ("/meta/connect", 1) => Answer::cut(),
        ("upgrade", 1..) if bears(request, 1) => Answer::status(401),
        _ => request.decently(),
    })
    .await;
    works_with_the_second_token(Transport::WebSocket, &peer, "upgrade").await;
}

#[tokio::test]
async fn request_05_any_number_of_refused_calls_ask_once() {
    for transport in BOTH {
        let peer = Peer::start(|request| {
            if request.has("/n") && !bears(request, 2) {
                return Answer::messages(
                    request.messages.iter().map(|m| Request::refusal_of(m, "401::expired")),
                );
            }
            request.decently()
        })
        .await;
        let asked = Arc::default();
        let client = opened(with_tokens(over(transport, &peer.url()), &asked)).await;
        let calls = (0..20).map(|n| {
            let client = client.clone();
            async move { client.publish("/n", &n).await }
        });
        for outcome in within(futures_util::future::join_all(calls)).await {
            outcome.unwrap();
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn request_05_an_open_websocket_is_reopened_with_the_new_credentials() {
    let peer = Peer::start(|request| match request.message("/n") {
        Some(message) if bears(request, 1) => {
            Answer::messages([Request::refusal_of(message, "401::expired")])
        }
        _ => request.decently(),
    })
    .await;
    let asked = Arc::default();
    let client = opened(with_tokens(over(Transport::WebSocket, &peer.url()), &asked)).await;
    within(client.publish("/n", &1)).await.unwrap();
    let upgrades: Vec<_> =
        peer.requests().into_iter().filter(|request| request.kind == RequestKind::Upgrade).collect();
    assert_eq!(upgrades.len(), 2);
    assert!(bears(&upgrades[0], 1) && bears(&upgrades[1], 2));
    assert_eq!(peer.received("/meta/handshake").len(), 1, "the session is kept");
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn credentials_that_are_refused_again_are_an_error_and_no_loop() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.message("/meta/handshake") {
            Some(message) => Answer::messages([refused(message, "401::no", json!({"reconnect": "none"}))]),
            None => request.decently(),
        })
        .await;
        let asked = Arc::default();
        let client = with_tokens(over(transport, &peer.url()), &asked).build().unwrap();
        let error = within(client.open()).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Server, Some(401)), "{error}");
        assert!(!error.to_string().contains("token-"), "{error}");
        assert!(asked.load(Ordering::SeqCst) <= 2);
        let handshakes = peer.received("/meta/handshake");
        assert!(handshakes.len() <= 2);
        assert_eq!(handshakes[0]["ext"]["token"], "token-1");
    }
}

#[tokio::test]
async fn a_source_that_fails_or_hangs_is_an_error() {
    let peer = Peer::decent().await;
    let failing = quick(&peer.url())
        .auth(|_: AuthReason| async { Err::<Credentials, _>("the vault is locked".into()) })
        .build()
        .unwrap();
    let error = within(failing.open()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.to_string().contains("the vault is locked"), "{error}");
    let hanging = quick(&peer.url())
        .auth(|_: AuthReason| std::future::pending())
        .auth_timeout(millis(50))
        .build()
        .unwrap();
    let error = within(hanging.open()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.to_string().contains("50ms"), "{error}");
    assert!(peer.requests().is_empty());
}
