//! An outage of an hour, in a moment.
//!
//! `cargo run -p bayeux-testkit --example paused_clock`

use std::time::{Duration, Instant};

use bayeux::Client;
use bayeux_testkit::TestServer;

// The clock can be paused in the current-thread runtime only.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), bayeux::Error> {
    let server = TestServer::start().await;
    let client = Client::builder(server.url()).outage_timeout(Duration::from_secs(3600)).build()?;
    client.open().await?;

    server.stop().await;
    let real = Instant::now();
    tokio::time::pause();
    let paused = tokio::time::Instant::now();
    if let Err(error) = client.receive().await {
        println!("{error}");
    }
    println!(
        "{} s of the paused clock, {:.1} s of the real one",
        paused.elapsed().as_secs(),
        real.elapsed().as_secs_f64()
    );

    // The clock runs again before the program talks to the server.
    tokio::time::resume();
    server.restart().await;
    client.reconnect_now().await;
    let answer: String = client.request("/service/echo", "back").await?;
    println!("{answer}");
    client.close().await
}
