//! The tests that `docs/testing-your-program.md` shows, as users write them, and that it shows these.

#![allow(clippy::unwrap_used, clippy::panic)]

// program
use bayeux::{Client, Error};

/// Confirms each order.
async fn confirm_orders(client: &Client) -> Result<(), Error> {
    client.subscribe("/orders").await?;
    loop {
        let order = match client.receive().await {
            Ok(message) => match message.data().decode::<u64>() {
                Ok(order) => order,
                // Whatever it is, it is no order.
                Err(_) => continue,
            },
            // The connection is lost for long; it is being restored.
            Err(error) if error.is_timeout() => continue,
            Err(error) => return Err(error),
        };
        while let Err(error) = client.publish("/confirmed", &order).await {
            if !error.is_retryable() {
                return Err(error);
            }
        }
    }
}
// end

// server
use bayeux_server::{SessionEvent, SessionEvents};
use bayeux_testkit::TestServer;

#[tokio::test]
async fn each_order_is_confirmed() {
    let server = TestServer::start().await;
    let mut events = server.server().events();
    let observer = Client::connect(&server.url()).await.unwrap();
    observer.subscribe("/confirmed").await.unwrap();

    let client = Client::connect(&server.url()).await.unwrap();
    let program = tokio::spawn(async move { confirm_orders(&client).await });
    subscribed(&mut events, "/orders").await;
    server.publish("/orders", &7);

    let confirmed: u64 = observer.receive().await.unwrap().data().decode().unwrap();
    assert_eq!(confirmed, 7);
    program.abort();
}

/// Waits until somebody has subscribed to the channel.
async fn subscribed(events: &mut SessionEvents, channel: &str) {
    while let Some(event) = events.next().await {
        if matches!(event, SessionEvent::Subscribed { channel: name, .. } if name == channel) {
            return;
        }
    }
    panic!("the server has ended");
}
// end

// peer
use bayeux_testkit::{Answer, Peer};
use serde_json::json;

#[tokio::test]
async fn a_confirmation_that_the_server_is_too_busy_for_is_sent_again() {
    let peer = Peer::start(|request| match request.name() {
        // Long-polling, so that each message has an HTTP status.
        "upgrade" => Answer::status(404),
        "/confirmed" if request.nth == 0 => Answer::status(503),
        _ => request.decently(),
    })
    .await;

    let client = Client::connect(&peer.url()).await.unwrap();
    let program = tokio::spawn(async move { confirm_orders(&client).await });
    peer.wait_for(|request| request.has("/meta/subscribe")).await;
    peer.push([json!({"channel": "/orders", "data": 7})]);

    let confirmed = peer.wait_for_messages("/confirmed", 2).await;
    assert_eq!(confirmed[0]["data"], 7);
    assert_eq!(confirmed[1]["data"], 7);
    program.abort();
}
// end

// network
#[tokio::test]
async fn a_cut_connection_loses_no_order() {
    let server = TestServer::start().await;
    let mut events = server.server().events();
    let observer = Client::connect(&server.url()).await.unwrap();
    observer.subscribe("/confirmed").await.unwrap();

    let client = Client::connect(&server.url()).await.unwrap();
    let mut connection = client.events();
    let program = tokio::spawn(async move { confirm_orders(&client).await });
    subscribed(&mut events, "/orders").await;

    // Nobody can connect while the order is published.
    server.network().refuse().await;
    server.network().cut();
    server.publish("/orders", &7);
    while !matches!(connection.next().await, Some(bayeux::Event::Lost { .. })) {}
    server.network().forward();

    let confirmed: u64 = loop {
        match observer.receive().await {
            Ok(message) => break message.data().decode().unwrap(),
            // The observer has lost its connection, too.
            Err(error) => assert!(error.is_timeout(), "{error}"),
        }
    };
    assert_eq!(confirmed, 7);
    program.abort();
}
// end

// clock
use std::time::Duration;

#[tokio::test]
async fn an_outage_is_reported_when_it_has_lasted_ten_minutes() {
    let server = TestServer::start().await;
    let client = Client::builder(server.url()).outage_timeout(Duration::from_secs(600)).build().unwrap();
    client.open().await.unwrap();

    server.stop().await;
    tokio::time::pause();
    let stopped = tokio::time::Instant::now();
    let error = client.receive().await.unwrap_err();
    assert!(error.is_timeout());
    assert!(stopped.elapsed() >= Duration::from_secs(600));
}

#[tokio::test]
async fn a_client_that_vanishes_is_forgotten_after_a_minute() {
    let options = || bayeux_server::Server::builder().max_interval(Duration::from_secs(60));
    let server = TestServer::builder().options(options).start().await;
    let mut events = server.server().events();
    let client = Client::connect(&server.url()).await.unwrap();
    let session = server.sessions().await.remove(0);

    server.network().refuse().await;
    server.network().cut();
    tokio::time::pause();
    let vanished = tokio::time::Instant::now();
    loop {
        if let Some(SessionEvent::Removed { session: removed, .. }) = events.next().await {
            assert_eq!(removed, session);
            break;
        }
    }
    assert!(vanished.elapsed() >= Duration::from_secs(60));
    drop(client);
}
// end

/// Each block of the page is a part of this file, and each part is a block of the page.
#[test]
fn the_page_shows_these_tests() {
    let page = include_str!("../../../docs/testing-your-program.md");
    let here = include_str!("testing_your_program.rs");
    let parts: Vec<&str> = here
        .split("\n// end\n")
        .filter_map(|text| text.rsplit_once("\n// "))
        .filter_map(|(_, part)| part.split_once('\n'))
        .map(|(_, part)| part.trim())
        .collect();
    let blocks: Vec<&str> = page
        .split("```rust\n")
        .skip(1)
        .filter_map(|text| text.split_once("\n```"))
        .map(|(block, _)| block.trim())
        .collect();
    assert_eq!(blocks.len(), 5);
    for block in &blocks {
        assert!(parts.contains(block), "not in the file:\n{block}");
    }
}
