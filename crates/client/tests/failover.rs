//! Several servers of one cluster.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use bayeux::{Client, ErrorKind, Event, Events};
use bayeux_testkit::TestServer;
use fixture::*;

async fn moved(events: &mut Events) -> (String, String) {
    match event(events, |event| matches!(event, Event::ServerChanged { .. })).await {
        Event::ServerChanged { from, to, .. } => (from, to),
        _ => unreachable!(),
    }
}

#[tokio::test]
async fn a_server_that_dies_is_left_for_the_next_and_subscriptions_are_restored() {
    for transport in BOTH {
        let (a, b) = (TestServer::start().await, TestServer::start().await);
        let client = over(transport, &a.url()).fallback_urls([b.url()]).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        connected(&mut events).await;
        client.subscribe("/news").await.unwrap();
        assert_eq!(client.url().as_str(), a.url());

        a.stop().await;
        let (from, to) = moved(&mut events).await;
        assert_eq!((from, to), (a.url(), b.url()));
        let gap = |event: &Event| matches!(event, Event::GapPossible { .. });
        event(&mut events, gap).await;
        connected(&mut events).await;
        assert_eq!(client.url().as_str(), b.url());
        b.publish("/news", "from b");
        assert_eq!(next(&client).await, r#""from b""#);

        // It sticks with the one that works, though the first is there again.
        a.restart().await;
        client.reconnect_now().await;
        connected(&mut events).await;
        b.publish("/news", "again");
        assert_eq!(next(&client).await, r#""again""#);

        b.stop().await;
        assert_eq!(moved(&mut events).await.1, a.url());
        connected(&mut events).await;
        a.publish("/news", "from a");
        assert_eq!(next(&client).await, r#""from a""#);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn opening_takes_the_first_server_that_is_there() {
    let (a, b) = (TestServer::start().await, TestServer::start().await);
    a.stop().await;
    for transport in BOTH {
        let client = opened(over(transport, &a.url()).fallback_urls([b.url()])).await;
        assert_eq!(client.url().as_str(), b.url());
        within(client.close()).await.unwrap();
    }
    b.stop().await;
    let client = quick(&a.url()).fallback_urls([b.url()]).build().unwrap();
    let error = within(client.open()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    let text = error.to_string();
    assert!([a, b].iter().all(|server| text.contains(&server.address().to_string())), "{text}");
}

#[tokio::test]
async fn a_session_is_resumed_at_the_server_that_has_it() {
    let (a, b) = (TestServer::start().await, TestServer::start().await);
    let client = opened(quick(&b.url())).await;
    let snapshot = within(client.suspend()).await.unwrap();
    let client = quick(&a.url()).fallback_urls([b.url()]).build().unwrap();
    let mut events = client.events();
    within(client.resume(&snapshot)).await.unwrap();
    assert_eq!(client.url().as_str(), b.url());
    within(client.close()).await.unwrap();
    while let Ok(Some(told)) = tokio::time::timeout(millis(50), events.next()).await {
        assert!(!matches!(told, Event::Rehandshaken | Event::ServerChanged { .. }), "{told:?}");
    }
    assert_eq!(
        within(quick(&a.url()).build().unwrap().resume(&snapshot)).await.unwrap_err().kind(),
        ErrorKind::Config
    );
}

#[test]
fn a_cluster_is_with_tls_or_without() {
    let mixed =
        Client::builder("https://a.example/cometd").fallback_urls(["http://b.example/cometd"]).build();
    assert_eq!(mixed.unwrap_err().kind(), ErrorKind::Config);
    let none = Client::builder("https://a.example/cometd").fallback_urls(["b.example"]).build();
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Config);
}
