//! What servers do besides passing messages on: answers of services, of extensions, and for browsers.

use std::time::Duration;

use bayeux::Transport;
use serde_json::json;

use crate::cell::Cell;
use crate::outcome::{Outcome, check, refused};

pub(super) async fn request(cell: &Cell<'_>) -> Outcome {
    let ann = cell.subject("ann").await?;
    for n in 0..20 {
        let answer = ann.request("/service/echo", &json!({"n": n})).await?;
        check(answer == json!({"n": n}), format!("the service answered {answer} to {n}"))?;
    }
    let (first, second) = (json!("first"), json!("second"));
    let both =
        tokio::try_join!(ann.request("/service/echo", &first), ann.request("/service/echo", &second),)?;
    check(both == (first, second), "two questions at once got other answers")?;
    refused(ann.request("/service/fail", &json!(1)).await, Some(500))
}

pub(super) async fn timesync(cell: &Cell<'_>) -> Outcome {
    let ann = cell.subject("ann").await?;
    // Connects carry it too.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let log = ann.tap.log();
    let lines = || log.lines().filter(|line| line.contains("timesync"));
    check(lines().any(|line| line.contains("> ")), "the client did not ask")?;
    let answered =
        lines().any(|line| line.contains("< ") && line.contains("\"tc\"") && line.contains("\"ts\""));
    check(answered, "the server did not answer")
}

pub(super) async fn windows(cell: &Cell<'_>) -> Outcome {
    let [one, two] = cell.windows(["one", "two"]).await?;
    for window in [&one, &two] {
        window.subscribe("/windows").await?;
    }
    // Both have connected more than once by now.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for n in 0..3 {
        cell.server.publish("/windows", &json!(n)).await?;
        for window in [&one, &two] {
            window.expect("/windows", &json!(n)).await?;
        }
    }
    let reported = one.tap.log().contains("\"multiple-clients\":true");
    check(
        reported != (cell.transport == Transport::WebSocket),
        "the advice multiple-clients is for polling alone",
    )
}
