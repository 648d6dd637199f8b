//! Who may do what: a token for a session, and channels that are for reading only.
//!
//! `cargo run -p bayeux-server --example policy`

use bayeux::Client;
use bayeux_server::{Channel, ClientId, Denial, Message, Policy, Server};
use serde_json::json;

struct Rules;

impl Policy for Rules {
    fn may_handshake(&mut self, handshake: &Message) -> Result<(), Denial> {
        // A real one would check a signature, or ask a table of tokens.
        if handshake.ext_value("token") == Some(json!("open sesame")) { Ok(()) } else { Err(Denial::new()) }
    }

    fn may_subscribe(&mut self, _: &ClientId, channel: &Channel) -> Result<(), Denial> {
        if channel.as_str().starts_with("/private/") { Err(Denial::new()) } else { Ok(()) }
    }

    fn may_publish(&mut self, _: &ClientId, message: &Message) -> Result<(), Denial> {
        if message.channel().as_str().starts_with("/news/") { Err(Denial::new()) } else { Ok(()) }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().policy(Rules).build()?;
    let running = server.bind("127.0.0.1:0").await?;

    if let Err(error) = Client::connect(&running.url()).await {
        println!("without a token: {error}");
    }
    let client = Client::builder(running.url()).handshake_ext("token", "open sesame").build()?;
    client.open().await?;
    client.subscribe("/news/today").await?;
    println!("subscribed to {:?}", client.subscriptions());
    if let Err(error) = client.subscribe("/private/ann").await {
        println!("{error}");
    }
    if let Err(error) = client.publish("/news/today", "mine").await {
        println!("{error}");
    }
    // The policy is for clients; the application itself may do everything.
    server.publish("/news/today", "ours")?;
    println!("received {}", client.receive().await?.data());
    client.close().await?;
    running.shutdown().await;
    Ok(())
}
