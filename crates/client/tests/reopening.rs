//! A closed client is opened again.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use bayeux::{Client, CloseReason, ErrorKind, Event, State, Transport};
use bayeux_testkit::{Answer, Peer, Request, TestServer};
use fixture::*;
use futures_util::FutureExt;
use serde_json::json;

/// All that a client does works, its subscription to `/n` among it.
async fn works(client: &Client, server: &TestServer, n: u32) {
    assert_eq!((client.state(), client.close_reason()), (State::Connected, None));
    assert_eq!(client.subscriptions().iter().map(ToString::to_string).collect::<Vec<_>>(), ["/n"]);
    server.publish("/n", &n);
    assert_eq!(next(client).await, n.to_string());
    let mut stream = within(client.stream::<u32>("/s")).await.unwrap();
    within(client.publish("/s", &n)).await.unwrap();
    assert_eq!(within(stream.next()).await.unwrap().unwrap(), n);
    assert_eq!(within(client.request::<u32>("/service/echo", &n)).await.unwrap(), n);
    drop(stream);
    within(async {
        while client.subscriptions().len() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn bug_b05_reopening_works_any_number_of_times_and_restores_the_subscriptions_of_the_inbox() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        client.subscribe("/n").await.unwrap();
        for n in 0..5 {
            works(&client, &server, n).await;
            within(client.close()).await.unwrap();
            assert_eq!(server.server().sessions(), 0);
            server.publish("/n", "unheard");
            within(client.open()).await.unwrap();
            assert_eq!(server.server().sessions(), 1);
        }
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_received_before_is_readable_while_it_is_closed_and_after() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        client.subscribe("/n").await.unwrap();
        for n in 0..4 {
            within(client.publish("/n", &n)).await.unwrap();
        }
        within(async {
            while client.pending_count() < 4 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        within(client.close()).await.unwrap();
        assert_eq!([next(&client).await, next(&client).await], ["0", "1"]);
        within(client.open()).await.unwrap();
        server.publish("/n", &4);
        assert_eq!([next(&client).await, next(&client).await, next(&client).await], ["2", "3", "4"]);
        within(client.close()).await.unwrap();
        assert!(within(client.next()).await.is_none());
    }
}

#[tokio::test]
async fn a_receiver_that_waits_ends_with_one_session_and_another_waits_in_the_next() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        client.subscribe("/n").await.unwrap();
        for n in 0..3 {
            let (got, first) = tokio::sync::oneshot::channel();
            let receiving = tokio::spawn({
                let client = client.clone();
                async move {
                    got.send(client.receive().await.unwrap().data().to_string()).unwrap();
                    client.next().await.is_none()
                }
            });
            server.publish("/n", &n);
            assert_eq!(within(first).await.unwrap(), n.to_string());
            within(client.close()).await.unwrap();
            assert!(within(receiving).await.unwrap(), "it ends");
            within(client.open()).await.unwrap();
        }
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn streams_end_with_their_session_and_take_nothing_from_those_of_the_next() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        let mut old = client.stream::<u32>("/s").await.unwrap();
        within(client.close()).await.unwrap();
        assert!(client.subscriptions().is_empty());
        within(client.open()).await.unwrap();
        let mut new = client.stream::<u32>("/s").await.unwrap();
        assert!(within(old.next()).await.is_none());
        drop(old);
        server.publish("/s", &1);
        assert_eq!(within(new.next()).await.unwrap().unwrap(), 1);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn after_the_server_closed_it() {
    for transport in BOTH {
        for way in ["disconnect", "advice"] {
            let peer = Peer::decent().await;
            let (client, _) = receiving(over(transport, &peer.url()), &peer).await;
            let mut events = client.events();
            match way {
                "disconnect" => peer.push([json!({"channel": "/meta/disconnect"})]),
                _ => {
                    peer.follow(|request| match request.message("/meta/connect") {
                        Some(connect) => {
                            let mut refusal = Request::refusal_of(connect, "402::go away");
                            refusal["advice"] = json!({"reconnect": "none"});
                            Answer::messages([refusal])
                        }
                        None => request.decently(),
                    });
                    within(client.reconnect_now()).await;
                }
            }
            event(&mut events, |event| matches!(event, Event::Closed(CloseReason::Server(_)))).await;
            assert_eq!(within(client.receive()).await.unwrap_err().kind(), ErrorKind::Server);
            peer.follow(Request::decently);
            within(client.open()).await.unwrap();
            // "Never again" was said to the session that is gone.
            assert_eq!((client.state(), client.close_reason()), (State::Connected, None));
            peer.wait_for_messages("/meta/connect", 2).await;
            let restored =
                peer.received("/meta/subscribe").iter().filter(|m| m["subscription"] == "/n").count();
            assert_eq!(restored, 2, "{transport} {way}");
            within(client.publish("/a", &1)).await.unwrap();
            within(client.close()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn bug_b04_after_an_open_that_failed() {
    for transport in BOTH {
        let peer = Peer::start(|_| Answer::status(503)).await;
        let client = over(transport, &peer.url()).build().unwrap();
        for _ in 0..3 {
            let error = within(client.open()).await.unwrap_err();
            assert_eq!((error.http_status(), error.is_retryable()), (Some(503), true), "{error}");
            assert!(client.is_closed());
            assert!(matches!(client.close_reason(), Some(CloseReason::Failed(_))));
            assert!(within(client.receive()).await.is_err(), "nothing to wait for");
        }
        peer.follow(Request::decently);
        within(client.open()).await.unwrap();
        assert_eq!(client.close_reason(), None);
        client.publish("/a", &1).await.unwrap();
        assert!(client.receive().now_or_never().is_none(), "a receiver waits again");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn after_a_handshake_that_was_refused() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.message("/meta/handshake") {
            Some(handshake) if request.nth < 2 => {
                let mut refusal = Request::refusal_of(handshake, "403::not you");
                refusal["advice"] = json!({"reconnect": "none"});
                Answer::messages([refusal])
            }
            _ => request.decently(),
        })
        .await;
        let client = over(transport, &peer.url()).build().unwrap();
        for _ in 0..2 {
            assert_eq!(within(client.open()).await.unwrap_err().code(), Some(403));
        }
        within(client.open()).await.unwrap();
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn after_an_open_that_was_dropped() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        client.subscribe("/n").await.unwrap();
        within(client.close()).await.unwrap();
        for n in 0..10 {
            // At once, in the middle, and at the end.
            if tokio::time::timeout(millis(n / 3), client.open()).await.is_err() {
                within(async {
                    // Had it succeeded in that moment, it is being closed.
                    while client.open().await.is_err_and(|error| error.kind() == ErrorKind::Busy) {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
            }
            works(&client, &server, n as u32).await;
            within(client.close()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_close_and_an_open_in_one_breath() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        client.subscribe("/n").await.unwrap();
        // Without a connection there is nobody to say goodbye to: the end comes in the same turn as the beginning.
        let mut events = client.events();
        server.network().refuse().await;
        server.network().cut();
        event(&mut events, |event| matches!(event, Event::Retrying { .. })).await;
        server.network().forward();
        let (closed, opened) = tokio::join!(within(client.close()), within(client.open()));
        closed.unwrap();
        opened.unwrap();
        works(&client, &server, 1).await;
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn another_transport_may_be_used_the_next_time() {
    let peer = Peer::start(|request| match request.name() {
        "upgrade" => Answer::status(503),
        _ => request.decently(),
    })
    .await;
    let client = opened(quick(&peer.url())).await;
    assert_eq!(client.transport(), Some(Transport::LongPolling));
    within(client.close()).await.unwrap();
    peer.follow(Request::decently);
    within(client.open()).await.unwrap();
    assert_eq!(client.transport(), Some(Transport::WebSocket), "the preferred one works again");
    within(client.close()).await.unwrap();
}
