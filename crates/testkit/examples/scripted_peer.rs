//! A server that does what a test wants: here it cuts a reply in the middle.
//!
//! `cargo run -p bayeux-testkit --example scripted_peer`

use bayeux::Client;
use bayeux_testkit::{Answer, Peer};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), bayeux::Error> {
    let peer = Peer::start(|request| match request.name() {
        "upgrade" => Answer::status(404),
        "/orders" if request.nth == 0 => Answer::cut_after("[{\"channel\": \"/orders\"}]", 7),
        _ => request.decently(),
    })
    .await;
    let client = Client::connect(&peer.url()).await?;
    client.subscribe("/news").await?;

    match client.publish("/orders", &17).await {
        Ok(_) => println!("published"),
        Err(error) => println!("{error}; the server may have it: {}", error.is_fate_unknown()),
    }
    client.publish("/orders", &17).await?;
    println!("the server has received {:?}", peer.received("/orders"));

    peer.push([json!({"channel": "/news", "data": "pushed"})]);
    println!("received {}", client.receive().await?.data());
    client.close().await
}
