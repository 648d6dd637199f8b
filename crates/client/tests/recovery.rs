//! A connection that breaks in all ways, and comes back.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::time::{Duration, Instant};

use bayeux::{ConnectionType, Event};
use bayeux_server::Server;
use bayeux_testkit::{Answer, Peer, Request, TestServer};
use fixture::*;
use serde_json::json;

#[tokio::test]
async fn a_server_that_was_killed_and_restarted() {
    for transport in BOTH {
        let server = TestServer::start().await;
        let client = over(transport, &server.url()).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        connected(&mut events).await;
        client.subscribe("/n").await.unwrap();
        server.stop().await;
        lost(&mut events).await;
        server.restart().await;
        event(&mut events, |event| matches!(event, Event::Rehandshaken)).await;
        event(&mut events, |event| matches!(event, Event::Resubscribed { outcome: Ok(()), .. })).await;
        connected(&mut events).await;
        server.publish("/n", "restored");
        assert_eq!(next(&client).await, r#""restored""#);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_half_open_connection_is_noticed_within_the_documented_bound() {
    for transport in BOTH {
        let hold = Duration::from_millis(500);
        let server = TestServer::builder().options(move || Server::builder().timeout(hold)).start().await;
        let builder =
            over(transport, &server.url()).request_timeout(millis(500)).ping_interval(Duration::from_secs(1));
        let client = builder.build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        connected(&mut events).await;
        server.network().stall();
        let began = Instant::now();
        lost(&mut events).await;
        // The connect should have been answered after `hold`, and its answer may take the request timeout; the rest is
        // for a machine under load.
        assert!(began.elapsed() < hold + millis(500) + Duration::from_secs(2), "{:?}", began.elapsed());
        server.network().forward();
        connected(&mut events).await;
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn case_26_a_cut_in_the_middle_of_a_body_costs_nothing_that_came_before() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.message("/meta/connect") {
            Some(message) if request.nth == 1 => {
                let events = json!([{"channel": "/n", "data": "half"}, Request::reply_to(message)]);
                Answer::cut_after(events.to_string(), 30)
            }
            _ => request.decently(),
        })
        .await;
        let client = over(transport, &peer.url()).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        client.subscribe("/n").await.ok();
        event(&mut events, |event| matches!(event, Event::Lost { .. })).await;
        connected(&mut events).await;
        assert_eq!(client.pending_count(), 0, "half a body is none");
        assert_eq!(peer.received("/meta/handshake").len(), 1);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn case_22_a_session_that_the_server_must_have_dropped_is_not_asked_for_again() {
    for transport in BOTH {
        let peer = Peer::start(|request| {
            let mut replies = request.replies();
            let advice = json!({"reconnect": "retry", "interval": 0, "timeout": 100, "maxInterval": 200});
            if request.has("/meta/handshake") {
                replies[0]["advice"] = advice;
                return Answer::messages(replies);
            }
            match (request.message("/meta/connect"), request.nth) {
                (Some(message), 0) if message["clientId"] == "peer-0" => {
                    replies[0]["advice"] = advice;
                    Answer::messages(replies)
                }
                (Some(message), _) if message["clientId"] == "peer-0" => Answer::cut(),
                _ => request.decently(),
            }
        })
        .await;
        let client = over(transport, &peer.url()).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        event(&mut events, |event| matches!(event, Event::Rehandshaken)).await;
        connected(&mut events).await;
        assert!(peer.received("/meta/connect").len() > 2, "it was tried before");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn case_57_wish_11_a_deadline_is_put_off_while_bytes_arrive() {
    for transport in BOTH {
        // A second and a half for the whole, of which each piece is well within the timeout.
        let peer = Peer::start(|request| match request.message("/n") {
            Some(message) => {
                let reply = json!([Request::reply_to(message)]).to_string();
                let padded = format!("{}{reply}", " ".repeat(300 - reply.len()));
                Answer::drip(padded, 20, millis(100))
            }
            None => request.decently(),
        })
        .await;
        let client = opened(over(transport, &peer.url()).request_timeout(millis(600))).await;
        let began = Instant::now();
        within(client.publish("/n", &1)).await.unwrap();
        assert!(began.elapsed() > millis(1200));
        within(client.close()).await.unwrap();

        // One that stops arriving is given up.
        let stalled = Peer::start(|request| match request.has("/n") {
            true => Answer::stall_after(vec![b' '; 300], 20),
            false => request.decently(),
        })
        .await;
        let client = opened(over(transport, &stalled.url()).request_timeout(millis(300))).await;
        assert!(within(client.publish("/n", &1)).await.unwrap_err().is_fate_unknown());
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn wish_04_silence_on_long_polling_is_told_to_receivers() {
    let peer = Peer::decent().await;
    let builder = over(ConnectionType::LongPolling, &peer.url());
    let client = opened(builder.connection_timeout(millis(200)).request_timeout(millis(100))).await;
    peer.follow(|_| Answer::cut());
    peer.cut();
    let error = within(client.receive()).await.unwrap_err();
    assert!(error.is_timeout() && error.is_retryable(), "{error}");
    assert!(error.to_string().contains(&peer.url()), "{error}");
    peer.follow(Request::decently);
    within(client.publish("/n", &1)).await.unwrap();
    within(client.close()).await.unwrap();
}
