//! Services: async functions that answer on service channels, with typed requests, errors, and messages of their own.
//!
//! `cargo run -p bayeux-server --example services`

use std::sync::{Arc, OnceLock};

use bayeux::Client;
use bayeux_server::{Data, Request, Server, ServiceError};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Order {
    item: String,
    count: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The handle exists when the server is built, and the services need it.
    let handle: Arc<OnceLock<Server>> = Arc::default();
    let for_orders = Arc::clone(&handle);
    let server = Server::builder()
        .service("/service/orders", move |request: Request| place(request, Arc::clone(&for_orders)))
        .build()?;
    let _ = handle.set(server.clone());
    let running = server.bind("127.0.0.1:0").await?;

    let client = Client::connect(&running.url()).await?;
    client.subscribe("/orders").await?;
    let answer: Value = client.request("/service/orders", &json!({"item": "tea", "count": 2})).await?;
    println!("the answer: {answer}");
    println!("everybody receives {}", client.receive().await?.data());
    for wrong in [json!({"item": "tea", "count": 0}), json!("tea")] {
        if let Err(error) = client.request::<Value>("/service/orders", &wrong).await {
            println!("{wrong}: {error}");
        }
    }
    client.close().await?;
    running.shutdown().await;
    Ok(())
}

async fn place(request: Request, handle: Arc<OnceLock<Server>>) -> Result<Option<Data>, ServiceError> {
    // A payload that does not fit is answered with 400.
    let order: Order = request.data.decode()?;
    if order.count == 0 {
        return Err(ServiceError::new(422, "an order has at least one item"));
    }
    if let Some(server) = handle.get() {
        let news = json!({"item": order.item, "count": order.count});
        server.publish("/orders", &news).map_err(|error| ServiceError::new(500, &error.to_string()))?;
    }
    Ok(Some(Data::encode(&json!({"accepted": order.count}))?))
}
