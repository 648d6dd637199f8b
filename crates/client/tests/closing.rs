//! Closing: in good order, within its time, from any state.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bayeux::{CloseReason, ErrorKind, Event, State, Transport};
use bayeux_testkit::{Answer, FaultProxy, Peer, Request, RequestKind};
use fixture::*;
use serde_json::json;

#[tokio::test]
async fn case_49_a_held_connect_comes_back_and_the_socket_is_closed_with_1000() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = open(transport, &peer.url()).await;
        peer.wait_for_messages("/meta/connect", 2).await;
        let began = Instant::now();
        within(client.close()).await.unwrap();
        assert!(began.elapsed() < millis(900), "nothing is waited for that has come");
        assert_eq!(peer.received("/meta/disconnect").len(), 1);
        if transport == Transport::WebSocket {
            let farewell =
                peer.wait_for(|request| request.kind == RequestKind::Other && request.path == "close").await;
            assert_eq!(farewell.body[..2], 1000_u16.to_be_bytes());
        }
        peer.wait_until_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_49_the_close_frame_goes_out_even_when_the_client_is_dropped_at_once() {
    for _ in 0..20 {
        let peer = Peer::decent().await;
        let client = open(Transport::WebSocket, &peer.url()).await;
        within(client.close()).await.unwrap();
        drop(client);
        peer.wait_for(|request| request.path == "close").await;
    }
}

#[tokio::test]
async fn case_49_a_silent_server_cannot_hold_up_a_close() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = opened(over(transport, &peer.url()).close_timeout(millis(300))).await;
        peer.wait_for_messages("/meta/connect", 2).await;
        peer.follow(|_| Answer::silence());
        let began = Instant::now();
        within(client.close()).await.unwrap();
        assert!(began.elapsed() >= millis(300) && began.elapsed() < Duration::from_secs(3));
        assert!(client.is_closed());
        drop(client);
        peer.wait_until_idle().await;
    }
}

#[tokio::test]
async fn what_waits_is_sent_before_the_disconnect() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.name() {
            "/slow" => request.decently().after(millis(50)),
            _ => request.decently(),
        })
        .await;
        let client = open(transport, &peer.url()).await;
        let calls: Vec<_> = (0..10)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move { client.publish("/slow", &n).await })
            })
            .collect();
        peer.wait_for(|request| request.name() == "/slow").await;
        within(client.close()).await.unwrap();
        for call in calls {
            within(call).await.unwrap().unwrap();
        }
        assert_eq!(peer.received("/slow").len(), 10);
    }
}

#[tokio::test]
async fn case_50_close_from_any_state_and_any_number_of_times() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = over(transport, &peer.url()).build().unwrap();
        within(client.close()).await.unwrap();
        assert!(peer.requests().is_empty(), "before the handshake there is nothing to close");

        within(client.open()).await.unwrap();
        let (one, two) = tokio::join!(within(client.close()), within(client.close()));
        one.unwrap();
        two.unwrap();
        within(client.close()).await.unwrap();
        assert_eq!(peer.received("/meta/disconnect").len(), 1);

        // In the middle of a handshake.
        peer.follow(|_| Answer::silence());
        let opening = tokio::spawn({
            let client = client.clone();
            async move { client.open().await }
        });
        peer.wait_for(|request| request.nth == 1 && matches!(request.name(), "upgrade" | "/meta/handshake"))
            .await;
        within(client.close()).await.unwrap();
        let error = within(opening).await.unwrap().unwrap_err();
        assert!(error.is_closed(), "{error}");
        assert!(matches!(client.close_reason(), Some(CloseReason::Requested)));
        drop(client);
        peer.wait_until_idle().await;
    }
}

#[tokio::test]
async fn case_50_close_while_connects_fail_ends_the_attempts() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let network = FaultProxy::to(peer.address()).await;
        let client = over(transport, &network.url()).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        network.refuse().await;
        network.cut();
        // From within the listener that hears of the failure.
        event(&mut events, |event| matches!(event, Event::Retrying { failures: 2.., .. })).await;
        within(client.close()).await.unwrap();
        assert_eq!(client.state(), State::Disconnected);
        network.forward();
        let accepted = network.accepted();
        tokio::time::sleep(millis(300)).await;
        assert_eq!(network.accepted(), accepted, "no reconnect");
    }
}

#[tokio::test]
async fn case_51_bug_b10_a_disconnect_by_the_server_ends_the_session() {
    for transport in BOTH {
        for farewell in [
            json!({"channel": "/meta/disconnect"}),
            json!({"channel": "/meta/disconnect", "successful": true}),
        ] {
            let peer = Peer::decent().await;
            let (client, mut events) = receiving(over(transport, &peer.url()), &peer).await;
            peer.push([json!({"channel": "/n", "data": "last"}), farewell]);
            event(&mut events, |event| matches!(event, Event::Closed(CloseReason::Server(_)))).await;
            assert_eq!(next(&client).await, r#""last""#, "what came before is not lost");
            let error = within(client.receive()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Server);
            assert!(error.to_string().contains("disconnected by the server"), "{error}");
            assert!(client.publish("/n", &1).await.unwrap_err().is_closed());
            assert_eq!(peer.received("/meta/handshake").len(), 1, "no reconnect");
            drop(client);
            peer.wait_until_idle().await;
        }
    }
}

#[tokio::test]
async fn bug_b10_a_disconnect_by_the_server_is_an_event_and_the_client_can_be_opened_again() {
    let peer = Peer::decent().await;
    let client = open(Transport::WebSocket, &peer.url()).await;
    client.subscribe("/n").await.unwrap();
    peer.push([json!({"channel": "/meta/disconnect"})]);
    assert_eq!(within(client.receive()).await.unwrap_err().kind(), ErrorKind::Server);
    within(client.open()).await.unwrap();
    peer.push([json!({"channel": "/n", "data": 1})]);
    assert_eq!(next(&client).await, "1", "subscriptions are restored");
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn pending_calls_end_with_the_session() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.name() {
            "/held" => Answer::silence(),
            _ => request.decently(),
        })
        .await;
        let client = Arc::new(opened(over(transport, &peer.url()).close_timeout(millis(200))).await);
        let call = tokio::spawn({
            let client = Arc::clone(&client);
            async move { client.publish("/held", &1).await }
        });
        peer.wait_for(|request| request.name() == "/held").await;
        within(client.close()).await.unwrap();
        let error = within(call).await.unwrap().unwrap_err();
        assert!(error.is_closed(), "{error}");
    }
}

#[tokio::test]
async fn a_refused_disconnect_closes_all_the_same() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.name() {
            "/meta/disconnect" => {
                Answer::messages([Request::refusal_of(&request.messages[0], "402::session_unknown")])
            }
            _ => request.decently(),
        })
        .await;
        let client = open(transport, &peer.url()).await;
        within(client.close()).await.unwrap();
        assert!(matches!(client.close_reason(), Some(CloseReason::Requested)));
    }
}
