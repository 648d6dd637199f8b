//! Three days of an org in virtual time: every event of a durable channel exactly once, in order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use bayeux::replay::{FileStore, Replay, ReplayStream};
use bayeux::{Event, Events};
use bayeux_salesforce::{Login, PlatformEvent, Salesforce};
use bayeux_testkit::FakeSalesforce;
use serde::Deserialize;
use serde_json::json;

const ORDERS: &str = "/event/Order__e";
const BURST: u64 = 100_000;

#[derive(Debug, Deserialize)]
struct Order {
    n: u64,
}

struct Consumer {
    client: bayeux::Client,
    stream: ReplayStream<PlatformEvent<Order>>,
    events: Events,
}

async fn consumer(org: &FakeSalesforce, path: &std::path::Path) -> Consumer {
    let salesforce =
        Salesforce::login(Login::client_credentials(org.url(), "app", "app-secret")).await.unwrap();
    let store = FileStore::open_for(path, salesforce.owner()).unwrap();
    let client = salesforce
        .client()
        .proxy(bayeux::Proxy::none())
        .outage_timeout(None)
        .replay_store(store)
        .build()
        .unwrap();
    let events = client.events();
    client.open().await.unwrap();
    let stream = client.stream_from(ORDERS, Replay::All).await.unwrap().save_every(1000);
    Consumer { client, stream, events }
}

#[tokio::test(start_paused = true)]
async fn three_days() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("markers");
    let org = FakeSalesforce::start().await;
    let began = tokio::time::Instant::now();
    let mut published = 0_u64;
    let mut publish = |count: u64| {
        for _ in 0..count {
            published += 1;
            org.platform_event(ORDERS, json!({"n": published}));
        }
        published
    };
    let mut it = consumer(&org, &path).await;
    let mut next = 1;
    let mut reported_gaps = 0;
    for minute in 0..3 * 24 * 60_u64 {
        let newest = match minute {
            // A burst of changes.
            3000 => publish(BURST),
            _ => publish(1 + minute % 3),
        };
        match minute {
            // Sessions are reset, some of them in the middle of other trouble.
            _ if minute % 137 == 136 => org.change_node(),
            1900 | 2500 => org.disconnect(),
            // An outage of 20 minutes.
            2000 => org.outage(true),
            2020 => org.outage(false),
            _ if minute % 301 == 300 => org.cut(),
            // The consumer stops, and its marker is not kept any more when it starts again.
            4000 => {
                let Consumer { client, stream, .. } = it;
                drop(stream);
                client.close().await.unwrap();
                drop(client);
                org.drop_events();
                let first = newest + 1;
                publish(5);
                it = consumer(&org, &path).await;
                // That, and nothing else, is reported as missed.
                while let Some(event) = it.events.next().await {
                    if let Event::ReplayUnavailable { .. } = event {
                        reported_gaps += 1;
                        break;
                    }
                }
                next = first;
            }
            _ => {}
        }
        if !(2000..2020).contains(&minute) {
            while next <= publish(0) {
                let message = it.stream.next().await.unwrap().unwrap();
                assert_eq!(message.payload.n, next, "in minute {minute}");
                next += 1;
            }
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let total = publish(0);
    assert_eq!((next, reported_gaps), (total + 1, 1));
    let handshakes = org.received("/meta/handshake").len();
    let (logins, connects) = (org.logins().len(), org.received("/meta/connect").len());
    println!(
        "{:?} of virtual time: {total} events, {handshakes} handshakes, {connects} connects, {logins} logins",
        began.elapsed()
    );
    assert!(logins >= 36, "tokens are valid for 2 h: {logins}");
    assert!(handshakes >= 24, "a cookie is valid for 3 h: {handshakes}");
}
