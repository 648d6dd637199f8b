//! The whole job on one page: a server in the process, a client over each transport, messages between them.
//!
//! `cargo run -p bayeux --example quickstart`, or with a server of yours: `… --example quickstart -- URL`.

use bayeux::{Client, Error, Transport};
use bayeux_server::{Request, Server, ServiceError};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(url) = std::env::args().nth(1) {
        return Ok(both_transports(&url).await?);
    }
    let server = Server::builder()
        .service("/service/echo", |request: Request| async move { Ok::<_, ServiceError>(Some(request.data)) })
        .build()?;
    let running = server.bind("127.0.0.1:0").await?;
    println!("serving at {}", running.url());
    both_transports(&running.url()).await?;

    // A client whose options are the defaults needs five lines.
    let client = Client::connect(&running.url()).await?;
    let answer: Value = client.request("/service/echo", &json!({"ping": 1})).await?;
    println!("/service/echo answered {answer}");
    client.close().await?;

    running.shutdown().await;
    Ok(())
}

async fn both_transports(url: &str) -> Result<(), Error> {
    let ann = open(url, Transport::WebSocket).await?;
    let bob = open(url, Transport::LongPolling).await?;
    for client in [&ann, &bob] {
        client.subscribe("/chat/*").await?;
        println!("connected over {}, subscribed to {:?}", transport(client), client.subscriptions());
    }
    ann.publish("/chat/demo", &json!({"user": "ann", "chat": "hello over WebSocket"})).await?;
    bob.publish("/chat/demo", &json!({"user": "bob", "chat": "hello over long-polling"})).await?;
    for client in [&ann, &bob] {
        for _ in 0..2 {
            let message = client.receive().await?;
            println!("{:>12} received {} {}", transport(client), message.channel(), message.data());
        }
    }
    ann.close().await?;
    bob.close().await
}

async fn open(url: &str, transport: Transport) -> Result<Client, Error> {
    let client = Client::builder(url).transports([transport]).build()?;
    client.open().await?;
    Ok(client)
}

fn transport(client: &Client) -> String {
    client.transport().map(|transport| transport.to_string()).unwrap_or_default()
}
