//! A closed client is opened again.
#![allow(clippy::unwrap_used)]

mod fixture;

use bayeux_testkit::{Answer, Peer, Request, TestServer};
use fixture::*;

#[tokio::test]
async fn bug_b05_reopening_works_and_restores_the_inbox_subscriptions() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        client.subscribe("/n").await.unwrap();
        let mut stream = client.stream::<u32>("/s").await.unwrap();
        for round in 0..3 {
            within(client.close()).await.unwrap();
            server.publish("/n", "unheard");
            within(client.open()).await.unwrap();
            server.publish("/n", &round);
            assert_eq!(next(&client).await, round.to_string());
        }
        assert!(within(stream.next()).await.is_none(), "a stream ends with its session");
        let mut again = client.stream::<u32>("/s").await.unwrap();
        drop(stream);
        server.publish("/s", &1);
        assert_eq!(
            within(again.next()).await.unwrap().unwrap(),
            1,
            "an old stream takes nothing from a new one"
        );
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn bug_b04_an_open_that_failed_can_be_repeated() {
    for transport in BOTH {
        let peer = Peer::start(|_| Answer::status(503)).await;
        let client = over(transport, &peer.url()).build().unwrap();
        for _ in 0..2 {
            assert_eq!(within(client.open()).await.unwrap_err().http_status(), Some(503));
            assert!(client.is_closed());
            within(client.close()).await.unwrap();
        }
        peer.follow(Request::decently);
        within(client.open()).await.unwrap();
        client.publish("/a", &1).await.unwrap();
        within(client.close()).await.unwrap();
    }
}
