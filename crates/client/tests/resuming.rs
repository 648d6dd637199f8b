//! A session that goes on in another client, as in another process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use bayeux::{Client, Error, Event, SessionSnapshot, State, Transport};
use bayeux_server::Server;
use futures_util::FutureExt;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

fn client(url: &str, transport: Transport) -> Client {
    Client::builder(url).transports([transport]).build().unwrap()
}

/// Through the text that a file would hold.
fn through_a_file(snapshot: &SessionSnapshot) -> SessionSnapshot {
    serde_json::from_str(&serde_json::to_string(snapshot).unwrap()).unwrap()
}

async fn received(client: &Client) -> Value {
    let message = tokio::time::timeout(PATIENCE, client.receive()).await.expect("a message in time");
    message.unwrap().data().decode().unwrap()
}

async fn resumes_over(transport: Transport) -> Result<(), Error> {
    let server = Server::builder().build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let before = client(&running.url(), transport);
    before.open().await?;
    before.subscribe("/inbox").await?;
    let stream = before.stream::<u32>("/stream").await?;
    server.publish("/inbox", &1).unwrap();
    assert_eq!(received(&before).await, 1);

    let snapshot = before.suspend().await?;
    assert_eq!(before.state(), State::Disconnected);
    assert!(before.receive().await.unwrap_err().is_closed());
    drop((before, stream));
    // The server keeps what comes while nobody is there.
    server.publish("/inbox", &2).unwrap();
    server.publish("/stream", &3).unwrap();
    assert_eq!(server.sessions(), 1);

    let snapshot = through_a_file(&snapshot);
    let names: Vec<_> = snapshot.subscriptions().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["/inbox", "/stream"]);
    let after = client(&running.url(), transport);
    let mut events = after.events();
    after.resume(&snapshot).await?;
    assert_eq!(after.transport(), Some(transport));
    assert_eq!(server.sessions(), 1, "the same session");
    assert_eq!([received(&after).await, received(&after).await], [2, 3]);

    // A stream takes its channel over again.
    let mut stream = after.stream::<u32>("/stream").await?;
    server.publish("/stream", &4).unwrap();
    server.publish("/inbox", &5).unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap(), 4);
    assert_eq!(received(&after).await, 5);
    after.publish("/inbox", &6).await?;
    assert_eq!(received(&after).await, 6);
    after.close().await?;
    while let Some(Some(event)) = events.next().now_or_never() {
        assert!(!matches!(event, Event::Rehandshaken), "resumed without a handshake");
    }
    running.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_session_goes_on_over_websocket() -> Result<(), Error> {
    resumes_over(Transport::WebSocket).await
}

#[tokio::test]
async fn a_session_goes_on_over_long_polling() -> Result<(), Error> {
    resumes_over(Transport::LongPolling).await
}

#[tokio::test]
async fn a_session_that_the_server_has_forgotten_is_replaced_and_the_gap_is_reported() -> Result<(), Error> {
    let first = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let before = client(&first.url(), Transport::WebSocket);
    before.open().await?;
    before.subscribe("/a").await?;
    let snapshot = before.suspend().await?;
    let address = first.local_addr();
    first.shutdown().await;

    let server = Server::builder().build().unwrap();
    let second = server.bind(address).await.unwrap();
    let after = client(&second.url(), Transport::WebSocket);
    let mut events = after.events();
    after.resume(&snapshot).await?;
    let mut told = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        told.push(event);
    }
    assert!(told.iter().any(|event| matches!(event, Event::Rehandshaken)), "{told:?}");
    assert!(told.iter().any(|event| matches!(event, Event::GapPossible { .. })), "{told:?}");
    server.publish("/a", &json!("again")).unwrap();
    assert_eq!(received(&after).await, "again");
    after.close().await?;
    second.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_snapshot_of_a_session_that_goes_on_can_be_resumed_after_a_crash() -> Result<(), Error> {
    let server = Server::builder().build().unwrap();
    let running = server.bind("127.0.0.1:0").await.unwrap();
    let before = client(&running.url(), Transport::LongPolling);
    before.open().await?;
    before.subscribe("/a").await?;
    let snapshot = before.snapshot().await?;
    assert_eq!(before.state(), State::Connected);
    server.publish("/a", &1).unwrap();
    assert_eq!(received(&before).await, 1);
    // Nobody closes.
    drop(before);
    server.publish("/a", &2).unwrap();

    let after = client(&running.url(), Transport::LongPolling);
    after.resume(&snapshot).await?;
    let mut last = received(&after).await;
    if last == 1 {
        // It had not been acknowledged.
        last = received(&after).await;
    }
    assert_eq!(last, 2);
    after.close().await?;
    running.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_snapshot_goes_to_no_other_server_and_shows_no_secret() -> Result<(), Error> {
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let before = client(&running.url(), Transport::WebSocket);
    assert!(before.suspend().await.unwrap_err().is_closed(), "never opened");
    before.open().await?;
    let id = before.handshake_reply().unwrap().fields().client_id.clone().unwrap();
    let snapshot = before.suspend().await?;
    assert!(!format!("{snapshot:?}").contains(id.as_str()));
    assert!(before.suspend().await.unwrap_err().is_closed(), "suspended already");

    let elsewhere = client("http://127.0.0.1:1/cometd", Transport::WebSocket);
    let error = elsewhere.resume(&snapshot).await.unwrap_err().to_string();
    assert!(error.contains("not with http://127.0.0.1:1"), "{error}");
    // Back where it was.
    before.resume(&snapshot).await?;
    before.close().await?;
    running.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn resuming_without_a_server_fails_at_once() {
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let before = client(&running.url(), Transport::WebSocket);
    before.open().await.unwrap();
    let snapshot = before.suspend().await.unwrap();
    running.shutdown().await;
    let error =
        tokio::time::timeout(PATIENCE, before.resume(&snapshot)).await.expect("an answer").unwrap_err();
    assert!(error.is_transport(), "{error}");
    assert!(before.is_closed());
    assert!(before.close_reason().is_some(), "who hears of the failure can ask for its reason");
}
