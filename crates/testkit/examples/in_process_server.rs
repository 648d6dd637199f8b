//! A program and its server in one process: what it does when the server is started anew.
//!
//! `cargo run -p bayeux-testkit --example in_process_server`

use bayeux::{Client, Event};
use bayeux_testkit::TestServer;

#[tokio::main]
async fn main() -> Result<(), bayeux::Error> {
    let server = TestServer::start().await;
    let client = Client::connect(&server.url()).await?;
    client.subscribe("/news").await?;
    server.publish("/news", "hello");
    println!("received {}", client.receive().await?.data());
    println!("the server has {} session", server.sessions().await.len());

    let mut events = client.events();
    server.restart().await;
    while !matches!(events.next().await, Some(Event::Connected { .. })) {}
    println!("connected again, with the subscriptions {:?}", client.subscriptions());
    server.publish("/news", "hello again");
    println!("received {}", client.receive().await?.data());
    client.close().await
}
