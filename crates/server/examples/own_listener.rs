//! The server's service behind a listener of the application's own, with hyper.
//!
//! `cargo run -p bayeux-server --example own_listener`

use bayeux::{Client, Transport};
use bayeux_server::Server;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().build()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/cometd", listener.local_addr()?);
    let accepting = tokio::spawn(accept(listener, server.clone()));

    for transport in [Transport::WebSocket, Transport::LongPolling] {
        let client = Client::builder(&url).transports([transport]).build()?;
        client.open().await?;
        client.subscribe("/news").await?;
        server.publish("/news", &format!("hello over {transport}"))?;
        println!("received {}", client.receive().await?.data());
        client.close().await?;
    }
    server.shutdown();
    accepting.abort();
    Ok(())
}

/// Here an application looks at addresses, limits connections, or takes TLS off.
async fn accept(listener: TcpListener, server: Server) {
    while let Ok((stream, peer)) = listener.accept().await {
        println!("a connection from {}", peer.ip());
        let service = TowerToHyperService::new(server.service());
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            // With upgrades, which a WebSocket is. A client that breaks off is no failure of the server.
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}
