//! A slow consumer: what becomes of messages that its queue cannot take.
//!
//! `cargo run -p bayeux --example backpressure`

use bayeux::{Client, Event, Overflow};
use bayeux_server::Server;

const MESSAGES: u32 = 1000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().build()?;
    let running = server.bind("127.0.0.1:0").await?;
    let client = Client::connect(&running.url()).await?;
    let mut events = client.events();

    // One queue drops the oldest, the other makes the server wait.
    let mut newest = client.with_stream_queue(10, Overflow::DropOldest).stream::<u32>("/feed/a").await?;
    let mut all = client.with_stream_queue(10, Overflow::Pause).stream::<u32>("/feed/b").await?;
    for number in 1..=MESSAGES {
        server.publish("/feed/a", &number)?;
        server.publish("/feed/b", &number)?;
    }

    // Messages are dropped while nobody reads; an event reports it.
    loop {
        match events.next().await {
            Some(Event::SlowConsumer { channel, dropped, .. }) => {
                println!("{channel:?}: {dropped} messages were dropped");
                break;
            }
            Some(_) => {}
            None => return Err("the client has closed".into()),
        }
    }
    let mut last = 0;
    let mut received = 0;
    while last < MESSAGES {
        last = newest.next().await.ok_or("the stream has ended")??;
        received += 1;
    }
    println!("/feed/a: {received} of {MESSAGES} messages, the newest among them");
    for expected in 1..=MESSAGES {
        assert_eq!(all.next().await.ok_or("the stream has ended")??, expected);
    }
    println!("/feed/b: all {MESSAGES} messages, in their order");
    client.close().await?;
    running.shutdown().await;
    Ok(())
}
