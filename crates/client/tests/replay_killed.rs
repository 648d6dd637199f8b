//! A consumer that is killed at any moment: nothing is lost, and at most the message in processing comes again.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;
#[path = "fixture/keeper.rs"]
mod keeper;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use bayeux::Transport;
use bayeux::replay::{FileStore, Replay};
use fixture::{opened, over};
use keeper::{CHANNEL, Keeper};
use serde_json::Value;

const URL: &str = "BAYEUX_TEST_CONSUMER_URL";
const STORE: &str = "BAYEUX_TEST_CONSUMER_STORE";
/// How often the consumer is killed.
const KILLS: usize = 200;

/// The consumer, if this is its process: prints the id of each message when it is processed.
#[tokio::test]
async fn consumer() {
    let (Ok(url), Ok(store)) = (std::env::var(URL), std::env::var(STORE)) else { return };
    let client =
        opened(over(Transport::LongPolling, &url).replay_store(FileStore::open(store).unwrap())).await;
    let mut stream = client.stream_from::<Value>(CHANNEL, Replay::All).await.unwrap();
    while let Some(message) = stream.try_next().await.unwrap() {
        println!("processed {}", message.replay_id().unwrap());
    }
}

/// Runs a consumer until it has processed `count` messages, and kills it. Returns the ids that it has processed.
fn run(url: &str, store: &std::path::Path, count: usize, after: Duration) -> Vec<i64> {
    let mut consumer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "consumer", "--nocapture"])
        .envs([(URL, url.as_ref()), (STORE, store.as_os_str())])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(consumer.stdout.take().unwrap()).lines();
    let mut ids = Vec::new();
    // What it printed before it was killed is read to the end.
    for line in lines.map_while(Result::ok) {
        if let Some(id) = line.strip_prefix("processed ") {
            ids.push(id.parse().unwrap());
        }
        if ids.len() == count {
            // At another point of its work each time.
            std::thread::sleep(after);
            consumer.kill().unwrap();
        }
    }
    consumer.wait().unwrap();
    ids
}

#[tokio::test]
async fn a_consumer_that_is_killed_loses_nothing_and_repeats_at_most_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("markers");
    let keeper = Keeper::start(1, 200_000).await;
    let mut random = fastrand::Rng::with_seed(15);
    let (mut last, mut repeated) = (0, 0);
    for round in 0..KILLS {
        let (url, path, count) = (keeper.url(), store.clone(), random.usize(1..8));
        let after = Duration::from_micros(random.u64(0..3000));
        let ids = tokio::task::spawn_blocking(move || run(&url, &path, count, after)).await.unwrap();
        let first = ids[0];
        assert!(first == last + 1 || first == last, "round {round}: after {last} came {ids:?}");
        repeated += usize::from(first == last);
        assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "round {round}: {ids:?}");
        last = *ids.last().unwrap();
        // What is processed need not be kept, so that a position that went back would be refused.
        keeper.drop_before(last - 1);
    }
    println!("{KILLS} kills, {last} messages, {repeated} of them twice");
}
