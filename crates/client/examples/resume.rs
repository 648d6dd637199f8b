//! A session that another process goes on with, without missing a message.
//!
//! `cargo run -p bayeux --example resume`

use bayeux::{Client, SessionSnapshot};
use bayeux_server::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().build()?;
    let running = server.bind("127.0.0.1:0").await?;

    let before = Client::connect(&running.url()).await?;
    before.subscribe("/news").await?;
    server.publish("/news", "first")?;
    println!("before: {}", before.receive().await?.data());

    // It holds secrets: the id of the session, and its cookies.
    let file = std::env::temp_dir().join(format!("bayeux-resume-{}.json", std::process::id()));
    std::fs::write(&file, serde_json::to_vec(&before.suspend().await?)?)?;
    drop(before);
    server.publish("/news", "published while nobody was there")?;

    // This would be another process.
    let snapshot: SessionSnapshot = serde_json::from_slice(&std::fs::read(&file)?)?;
    std::fs::remove_file(&file)?;
    let after = Client::builder(running.url()).build()?;
    after.resume(&snapshot).await?;
    println!("after: {}", after.receive().await?.data());
    after.close().await?;
    running.shutdown().await;
    Ok(())
}
