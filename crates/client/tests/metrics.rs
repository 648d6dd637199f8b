//! What is counted through the `metrics` facade.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use bayeux::{Client, Error};
use bayeux_server::Server;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// The value of one counter or gauge, and the endpoint it is labelled with.
fn value(snapshotter: &Snapshotter, name: &str) -> Option<(String, f64)> {
    snapshotter.snapshot().into_vec().into_iter().find_map(|(key, _, _, value)| {
        let key = key.key();
        let endpoint = key.labels().find(|label| label.key() == "endpoint")?.value().to_owned();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(_) => return None,
        };
        (key.name() == name).then_some((endpoint, value))
    })
}

// One thread: the recorder is that of the thread.
#[tokio::test(flavor = "current_thread")]
async fn a_client_counts_what_it_does() -> Result<(), Error> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);

    let running = Server::builder().build().unwrap().bind("127.0.0.1:0").await.unwrap();
    let url = running.url().replace("://", "://ann:secret@");
    let client = Client::builder(&url).request_timeout(Duration::from_secs(1)).build()?;
    client.open().await?;
    let (endpoint, connected) = value(&snapshotter, "bayeux_connected").expect("a gauge");
    assert_eq!(connected, 1.0);
    assert!(endpoint.contains("127.0.0.1") && !endpoint.contains("secret"), "{endpoint}");

    client.subscribe("/a").await?;
    client.publish("/a", &1).await?;
    tokio::time::timeout(Duration::from_secs(20), client.receive()).await.expect("a message")?;
    client.request::<u32>("/service/nobody", &1).await.unwrap_err();
    client.publish_and_forget("/a/*", &1).await.unwrap_err();
    client.close().await?;

    // Snapshots take what was counted since the last one; the gauge keeps its value.
    let counted: std::collections::HashMap<_, _> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .filter_map(|(key, _, _, value)| match value {
            DebugValue::Counter(count) => Some((key.key().name().to_owned(), count)),
            DebugValue::Gauge(value) => Some((key.key().name().to_owned(), value.into_inner() as u64)),
            DebugValue::Histogram(_) => None,
        })
        .collect();
    assert_eq!(counted["bayeux_messages_received_total"], 1);
    assert_eq!(counted["bayeux_calls_failed_total"], 2);
    assert_eq!(counted["bayeux_closed_total"], 1);
    assert_eq!(counted["bayeux_connected"], 0);
    assert!(counted["bayeux_messages_sent_total"] >= 4, "{counted:?}");
    assert_eq!(counted["bayeux_connections_lost_total"], 0, "a silent service is no lost connection");
    running.shutdown().await;
    Ok(())
}
