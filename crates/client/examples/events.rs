//! What a client reports when its connection is cut and its server loses its memory.
//!
//! `cargo run -p bayeux --example events`

use bayeux::{Client, Event};
use bayeux_testkit::TestServer;

#[tokio::main]
async fn main() -> Result<(), bayeux::Error> {
    let server = TestServer::start().await;
    let client = Client::builder(server.url()).build()?;
    let mut events = client.events();
    client.open().await?;
    client.subscribe("/news").await?;
    until_connected(&mut events).await;

    println!("-- the connection is cut");
    server.network().cut();
    until_connected(&mut events).await;

    println!("-- the server is started anew, without its sessions");
    server.restart().await;
    until_connected(&mut events).await;

    client.close().await?;
    while let Some(event) = events.next().await {
        println!("{event:?}");
        if matches!(event, Event::Closed(_)) {
            break;
        }
    }
    Ok(())
}

async fn until_connected(events: &mut bayeux::Events) {
    while let Some(event) = events.next().await {
        match &event {
            Event::Lost { cause, .. } => println!("lost: {cause}"),
            Event::Retrying { delay, failures, .. } => {
                println!("trying again in {:.1} s, failures: {failures}", delay.as_secs_f64());
            }
            Event::GapPossible { channels, .. } => println!("messages may be missing on {channels:?}"),
            Event::Resubscribed { channel, outcome, .. } => {
                println!("{channel} restored: {}", outcome.is_ok())
            }
            Event::Connected { transport, .. } => {
                println!("connected over {transport}");
                return;
            }
            other => println!("{other:?}"),
        }
    }
}
