//! A stream of typed messages with a queue of its own.
//!
//! `cargo run -p bayeux --example typed_stream`

use bayeux::Client;
use bayeux_server::Server;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
struct Trade {
    symbol: String,
    price: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().build()?;
    let running = server.bind("127.0.0.1:0").await?;

    let client = Client::connect(&running.url()).await?;
    let mut trades = client.stream::<Trade>("/trades/*").await?;
    server.publish("/trades/ACME", &json!({"symbol": "ACME", "price": 17.5}))?;
    server.publish("/trades/ACME", "this is no trade")?;
    server.publish("/trades/UMBR", &json!({"symbol": "UMBR", "price": 3.25}))?;

    for _ in 0..3 {
        match trades.next().await {
            Some(Ok(Trade { symbol, price })) => println!("{symbol} at {price}"),
            // One payload that does not fit is one error; the stream goes on.
            Some(Err(error)) => println!("not a trade: {error}"),
            None => break,
        }
    }
    client.close().await?;
    running.shutdown().await;
    Ok(())
}
