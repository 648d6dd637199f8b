//! A program that ends in good order when the user presses ^C. It presses ^C by itself after a moment.
//!
//! `cargo run -p bayeux --example ctrl_c`

use std::time::Duration;

use bayeux::Client;
use bayeux_server::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().build()?;
    let running = server.bind("127.0.0.1:0").await?;
    let client = Client::connect(&running.url()).await?;
    client.subscribe("/clock").await?;

    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let mut stop = std::pin::pin!(stop());
    loop {
        tokio::select! {
            _ = ticks.tick() => server.publish("/clock", "tick")?,
            // Nothing is lost when the other branch is taken: the future can be dropped.
            message = client.receive() => println!("{}", message?.data()),
            () = &mut stop => break,
        }
    }
    println!("stopping");
    // Waiting publishes are sent, the session ends, and the sockets are closed.
    client.close().await?;
    running.shutdown().await;
    println!("closed: {}", client.is_closed());
    Ok(())
}

/// Waits for ^C, or in this example half a second.
async fn stop() {
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = tokio::time::sleep(Duration::from_millis(500)) => {}
    }
}
