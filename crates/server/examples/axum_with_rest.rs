//! CometD beside REST in one axum application: what is posted over HTTP reaches the subscribers.
//!
//! `cargo run -p bayeux-server --example axum_with_rest`

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bayeux::Client;
use bayeux_server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().build()?;
    let app = Router::new()
        .route_service("/cometd", server.service())
        // Clients add the name of a meta message to the URL.
        .route_service("/cometd/{*rest}", server.service())
        .route("/news", post(post_news))
        .with_state(server.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let client = Client::connect(&format!("http://{address}/cometd")).await?;
    client.subscribe("/news").await?;
    let response = post_to(address, "/news", "hello").await?;
    println!("POST /news: {}", response.lines().next().unwrap_or_default());
    println!("received {}", client.receive().await?.data());

    client.close().await?;
    server.shutdown();
    serving.abort();
    Ok(())
}

async fn post_news(State(server): State<Server>, text: String) -> StatusCode {
    match server.publish("/news", &text) {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

/// What `curl --data TEXT URL` does.
async fn post_to(address: std::net::SocketAddr, path: &str, text: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}
