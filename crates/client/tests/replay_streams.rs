//! Streams from a position on: what a program receives across sessions, connections, full queues and its own ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;
#[path = "fixture/keeper.rs"]
mod keeper;

use std::sync::Arc;

use bayeux::replay::{FileStore, MemoryStore, Replay, ReplayFallback, ReplayStore, ReplayStream, StoreError};
use bayeux::{Builder, Client, Event, Overflow, Transport};
use fixture::*;
use keeper::{CHANNEL, Keeper};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
struct Numbered {
    payload: Payload,
}

#[derive(Debug, Deserialize)]
struct Payload {
    n: i64,
}

/// Takes that many messages, each processed at once.
async fn take(stream: &mut ReplayStream<Numbered>, count: usize) -> Vec<i64> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let message = within(stream.next()).await.unwrap().unwrap();
        assert_eq!(message.replay_id(), Some(message.payload.n));
        assert_eq!(message.channel(), CHANNEL);
        taken.push(message.payload.n);
    }
    taken
}

fn polling(keeper: &Keeper) -> Builder {
    over(Transport::LongPolling, &keeper.url())
}

async fn from(client: &Client, begin: Replay) -> ReplayStream<Numbered> {
    within(client.stream_from(CHANNEL, begin)).await.unwrap()
}

#[tokio::test]
async fn the_next_process_begins_after_the_last_processed_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("markers");
    let keeper = Keeper::start(1, 5).await;
    let client = opened(polling(&keeper).replay_store(FileStore::open(&path).unwrap())).await;
    let mut stream = from(&client, Replay::All).await;
    assert_eq!(take(&mut stream, 2).await, [1, 2]);
    let third = within(stream.next()).await.unwrap().unwrap();
    assert_eq!(stream.marker(), Some(2));
    assert_eq!(third.unprocessed().payload.n, 3);
    drop(stream);
    within(client.close()).await.unwrap();
    drop(client);

    let client = opened(polling(&keeper).replay_store(FileStore::open(&path).unwrap())).await;
    let mut stream = from(&client, Replay::Tip).await;
    assert_eq!(keeper.asked(), [-2, 2]);
    assert_eq!(take(&mut stream, 3).await, [3, 4, 5]);
    keeper.publish(1);
    assert_eq!(take(&mut stream, 1).await, [6]);
    // A position of the user's has precedence over the marker.
    drop(stream);
    let mut stream = from(&client, Replay::After(4)).await;
    assert_eq!(take(&mut stream, 2).await, [5, 6]);
}

#[tokio::test]
async fn an_acknowledged_message_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("markers");
    let saved = || {
        let text = std::fs::read_to_string(&path).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["markers"][CHANNEL].as_i64()
    };
    let keeper = Keeper::start(1, 5).await;
    let client = opened(polling(&keeper).replay_store(FileStore::open(&path).unwrap())).await;
    let mut stream = from(&client, Replay::All).await;
    let first = within(stream.next()).await.unwrap().unwrap();
    let second = within(stream.next()).await.unwrap().unwrap();
    within(first.ack()).await.unwrap();
    assert_eq!(saved(), Some(1));
    drop(second);
    // The next message is returned when the marker of those before is saved.
    let third = within(stream.next()).await.unwrap().unwrap();
    assert_eq!(saved(), Some(2));
    let fourth = within(stream.next()).await.unwrap().unwrap();
    drop(fourth);
    within(client.close()).await.unwrap();
    let rest: Vec<_> = futures_util::StreamExt::collect(&mut stream).await;
    drop(rest);
    assert_eq!(saved(), Some(2), "the third is not processed");
    drop(stream);
    drop(third);
    assert_eq!(saved(), Some(5), "the last guard saves the marker itself");
}

#[tokio::test]
async fn a_message_whose_processing_panics_comes_again() {
    let keeper = Keeper::start(1, 3).await;
    let store = Arc::new(MemoryStore::new());
    let client = opened(polling(&keeper).replay_store(Arc::clone(&store))).await;
    let mut stream = from(&client, Replay::All).await;
    let panicking = tokio::spawn(async move {
        while let Some(message) = stream.next().await {
            assert_ne!(message.unwrap().payload.n, 2, "as the test wants");
        }
    });
    assert!(within(panicking).await.unwrap_err().is_panic());
    let mut stream = from(&client, Replay::All).await;
    assert_eq!(store.load(CHANNEL).unwrap(), Some(1));
    assert_eq!(take(&mut stream, 2).await, [2, 3]);
}

#[tokio::test]
async fn a_lost_session_is_followed_by_one_that_begins_after_the_newest_event() {
    for transport in BOTH {
        let keeper = Keeper::start(1, 3).await;
        let (client, mut events) = watched(over(transport, &keeper.url())).await;
        let mut stream = from(&client, Replay::After(1)).await;
        assert_eq!(take(&mut stream, 2).await, [2, 3]);
        keeper.keep(2);
        keeper.forget();
        keeper.peer.push([]);
        if transport == Transport::WebSocket {
            // There a connect goes on being held.
            client.reconnect_now().await;
        }
        event(&mut events, |event| matches!(event, Event::Rehandshaken)).await;
        assert_eq!(take(&mut stream, 2).await, [4, 5]);
        connected(&mut events).await;
        keeper.publish(1);
        assert_eq!(take(&mut stream, 1).await, [6]);
        within(client.close()).await.unwrap();
        assert!(within(stream.next()).await.is_none());
    }
}

#[tokio::test]
async fn what_a_lost_connection_carried_is_replayed() {
    for transport in BOTH {
        let keeper = Keeper::start(1, 1).await;
        let (client, mut events) = watched(over(transport, &keeper.url())).await;
        let mut stream = from(&client, Replay::All).await;
        assert_eq!(take(&mut stream, 1).await, [1]);
        // They were sent, and did not arrive.
        keeper.keep(3);
        keeper.peer.cut();
        event(&mut events, |event| matches!(event, Event::Rehandshaken)).await;
        assert_eq!(take(&mut stream, 3).await, [2, 3, 4]);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_fit_the_queue_is_asked_for_again() {
    const COUNT: i64 = 100;
    for transport in BOTH {
        let keeper = Keeper::start(1, COUNT).await;
        let client = opened(over(transport, &keeper.url())).await;
        let small = client.with_stream_queue(20, Overflow::DropOldest);
        let mut events = client.events();
        let mut stream: ReplayStream<Numbered> =
            within(small.stream_from(CHANNEL, Replay::All)).await.unwrap();
        assert_eq!(take(&mut stream, COUNT as usize).await, (1..=COUNT).collect::<Vec<_>>());
        keeper.publish(1);
        assert_eq!(take(&mut stream, 1).await, [COUNT + 1]);
        assert!(keeper.asked().len() > 2, "{:?}", keeper.asked());
        within(client.close()).await.unwrap();
        drop((client, small, stream));
        while let Some(event) = within(events.next()).await {
            assert!(!matches!(event, Event::SlowConsumer { .. } | Event::GapPossible { .. }), "{event:?}");
        }
    }
}

#[tokio::test]
async fn a_position_that_is_not_kept_follows_the_users_choice() {
    let keeper = Keeper::start(10, 12).await;
    for (fallback, first) in [(ReplayFallback::All, 10), (ReplayFallback::Tip, 13)] {
        let store = Arc::new(MemoryStore::new());
        store.save(CHANNEL, 3).unwrap();
        let (client, mut events) =
            watched(polling(&keeper).replay_fallback(fallback).replay_store(Arc::clone(&store))).await;
        let mut stream = from(&client, Replay::Tip).await;
        event(&mut events, |event| matches!(event, Event::ReplayUnavailable { after: Some(3), .. })).await;
        if fallback == ReplayFallback::Tip {
            keeper.publish(1);
        }
        assert_eq!(take(&mut stream, 1).await, [first]);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_may_not_miss_anything_ends_and_keeps_its_marker() {
    let keeper = Keeper::start(1, 3).await;
    let store = Arc::new(MemoryStore::new());
    let client =
        opened(polling(&keeper).replay_fallback(ReplayFallback::Fail).replay_store(Arc::clone(&store))).await;
    let mut stream = from(&client, Replay::All).await;
    assert_eq!(take(&mut stream, 3).await, [1, 2, 3]);
    keeper.keep(10);
    keeper.drop_before(9);
    keeper.forget();
    keeper.peer.push([]);
    let error = within(stream.next()).await.unwrap().unwrap_err();
    assert!(error.is_replay_unavailable(), "{error}");
    assert!(error.to_string().contains("does not keep the event 3 of /topic/T"), "{error}");
    assert!(within(stream.next()).await.is_none(), "it has ended");
    drop(stream);
    assert_eq!(store.load(CHANNEL).unwrap(), Some(3));
    let error = within(client.stream_from::<Value>(CHANNEL, Replay::All)).await.unwrap_err();
    assert!(error.is_replay_unavailable() && error.code() == Some(400), "{error}");
    assert_eq!(store.load(CHANNEL).unwrap(), Some(3));
}

#[tokio::test]
async fn a_server_without_replay_is_an_error_that_says_so() {
    let keeper = Keeper::start(1, 3).await;
    keeper.confirm_nothing();
    let client = opened(polling(&keeper)).await;
    let error = within(client.stream_from::<Value>(CHANNEL, Replay::All)).await.unwrap_err();
    assert!(
        error.is_replay_unavailable() && error.to_string().contains("does not support replay"),
        "{error}"
    );
    within(client.stream_from::<Value>(CHANNEL, Replay::Tip)).await.unwrap();
    within(client.close()).await.unwrap();
    let client = opened(polling(&keeper).announce_replay(false)).await;
    let mut stream = from(&client, Replay::After(1)).await;
    assert_eq!(take(&mut stream, 2).await, [2, 3]);
}

#[tokio::test]
async fn a_payload_of_another_type_is_an_error_and_does_not_come_again() {
    let keeper = Keeper::start(1, 2).await;
    let store = Arc::new(MemoryStore::new());
    let client = opened(polling(&keeper).replay_store(Arc::clone(&store))).await;
    let mut stream = within(client.stream_from::<String>(CHANNEL, Replay::All)).await.unwrap();
    within(stream.next()).await.unwrap().unwrap_err();
    within(stream.next()).await.unwrap().unwrap_err();
    drop(stream);
    assert_eq!(store.load(CHANNEL).unwrap(), Some(2));
}

struct Broken;

impl ReplayStore for Broken {
    fn load(&self, channel: &str) -> Result<Option<i64>, StoreError> {
        if channel == CHANNEL { Ok(None) } else { Err(StoreError::Other("no load".into())) }
    }

    fn save(&self, _: &str, marker: i64) -> Result<(), StoreError> {
        if marker == 2 { Err(StoreError::Other("no space".into())) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_store_that_fails_is_an_item_and_the_stream_goes_on() {
    let keeper = Keeper::start(1, 4).await;
    let client = opened(polling(&keeper).replay_store(Broken)).await;
    let error = within(client.stream_from::<Value>("/topic/U", Replay::All)).await.unwrap_err();
    assert_eq!(error.kind(), bayeux::ErrorKind::Store);
    let mut stream = from(&client, Replay::All).await;
    assert_eq!(take(&mut stream, 2).await, [1, 2]);
    let error = within(stream.next()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("no space") && error.store_error().is_some(), "{error}");
    assert_eq!(take(&mut stream, 1).await, [3]);
    let message = within(stream.next()).await.unwrap().unwrap();
    within(message.ack()).await.unwrap();
}

#[tokio::test]
async fn fewer_writes_if_that_is_wanted() {
    struct Counting(std::sync::atomic::AtomicU64);
    impl ReplayStore for Counting {
        fn load(&self, _: &str) -> Result<Option<i64>, StoreError> {
            Ok(None)
        }
        fn save(&self, _: &str, _: i64) -> Result<(), StoreError> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }
    }
    let keeper = Keeper::start(1, 100).await;
    let store = Arc::new(Counting(0.into()));
    let client = opened(polling(&keeper).replay_store(Arc::clone(&store))).await;
    let mut stream = from(&client, Replay::All).await.save_every(10);
    take(&mut stream, 100).await;
    drop(stream);
    assert_eq!(store.0.load(std::sync::atomic::Ordering::Relaxed), 10);
}
