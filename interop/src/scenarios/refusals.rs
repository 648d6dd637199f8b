//! What the server does not allow.

use std::time::Duration;

use serde_json::json;

use crate::cell::Cell;
use crate::outcome::{Outcome, check, refused};

pub(super) async fn messages(cell: &Cell<'_>) -> Outcome {
    let ann = cell.subject("ann").await?;
    ann.subscribe("/allowed/a").await?;
    refused(ann.subscribe("/denied/a").await, Some(403))?;
    refused(ann.publish("/denied/a", &json!(1)).await, Some(403))?;
    ann.publish("/allowed/a", &json!(1)).await?;
    ann.expect("/allowed/a", &json!(1)).await
}

pub(super) async fn handshake(cell: &Cell<'_>) -> Outcome {
    // One that is let in first, so that a server that refuses everybody does not pass.
    let ann = cell.subject("ann").await?;
    ann.close().await?;
    let opening = cell.try_subject("eve", true).await?;
    refused(opening.map(|_| "a session"), Some(403))?;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    check(cell.handshakes("eve") == 1, "the client came again although the server said never")
}
