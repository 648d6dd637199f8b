//! The extensions that come with the client, against a server that knows them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, SystemTime};

use bayeux::{Binary, Client, Error, ErrorKind, TimeSync, Timestamp, Transport};
use bayeux_server::Server;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);
const BOTH: [Transport; 2] = [Transport::WebSocket, Transport::LongPolling];

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

#[tokio::test]
async fn case_65_the_clock_of_a_server_on_loopback_is_found_to_two_milliseconds() -> Result<(), Error> {
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    for transport in BOTH {
        let time = TimeSync::new();
        let client =
            Client::builder(running.url()).transports([transport]).extension(time.clone()).build()?;
        client.open().await?;
        let offset = time.offset_ms().expect("the server answers");
        // On a busy machine one way can take all of the time.
        let lag = time.lag().unwrap().as_millis();
        let off = u128::from(offset.unsigned_abs());
        assert!(off <= lag + 2, "{offset} ms off, {lag} ms away, with one and the same clock");
        let there = time.server_time().unwrap();
        let apart = there.duration_since(SystemTime::now()).unwrap_or_else(|earlier| earlier.duration());
        assert!(apart.as_millis() <= off + lag + 1000, "{apart:?}");
        assert!(time.local_time(there).is_some());
        client.close().await?;
    }
    running.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn bytes_arrive_as_they_were_sent() -> Result<(), Error> {
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    for transport in BOTH {
        let client = Client::builder(running.url()).transports([transport]).build()?;
        client.open().await?;
        let mut blobs = client.binaries("/blobs").await?;
        for size in [0, 1, 2, 3, 4, 5, 1000] {
            let bytes: Vec<u8> = (0..size).map(|n| (n * 7) as u8).collect();
            client.publish_binary("/blobs", bytes.clone()).await?;
            assert_eq!(in_time(blobs.next()).await.unwrap()?.data, bytes);
        }
        let mut part = Binary::new(vec![1, 2, 3]);
        part.last = false;
        part.meta = Some(bayeux::Data::encode(&json!({"name": "a.bin"})).unwrap());
        client.publish_binary("/blobs", part.clone()).await?;
        assert_eq!(in_time(blobs.next()).await.unwrap()?, part);

        // One that is none is one error, and the stream goes on.
        client.publish("/blobs", &"text").await?;
        assert_eq!(in_time(blobs.next()).await.unwrap().unwrap_err().kind(), ErrorKind::Decode);
        client.publish_binary("/blobs", "more").await?;
        assert_eq!(in_time(blobs.next()).await.unwrap()?.data, "more");
        client.close().await?;
    }
    running.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn messages_are_stamped_with_the_time_they_are_sent_at() -> Result<(), Error> {
    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let client = Client::builder(running.url()).extension(Timestamp).build()?;
    client.open().await?;
    client.subscribe("/a").await?;
    client.publish("/a", &1).await?;
    let message = in_time(client.receive()).await?;
    let stamp = message.fields().timestamp.clone().expect("a stamp");
    assert!(stamp.len() == 22 && stamp.as_bytes()[10] == b'T', "{stamp}");
    client.close().await?;
    running.shutdown().await;
    Ok(())
}
