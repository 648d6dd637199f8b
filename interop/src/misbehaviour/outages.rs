//! Servers and networks that fail while the session lives on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bayeux_testkit::{Answer, Request};
use serde_json::json;

use super::stage::{Stage, event};
use super::verdict::Verdict;
use crate::outcome::Outcome;

/// For how long connects are answered badly.
const OUTAGE: Duration = Duration::from_secs(4);
/// How many attempts in that time are no longer a retry with a growing pause.
const HOT: usize = 40;
/// After how many it is enough: a client that waits for an answer leaves the machine to the others.
const ENOUGH: usize = 150;
/// How long a client may take until it is back.
pub(super) const BACK: Duration = Duration::from_secs(45);

/// How long a client may take to notice that the network is gone: the advised timeout and more than all of them add.
const NOTICED: Duration = Duration::from_secs(60);

pub(super) const HOT_LOOP: &str = "hot loop";
pub(super) const SILENT: &str = "stops in silence";
pub(super) const GIVES_UP: &str = "stops, says so";
pub(super) const DEAF: &str = "goes on, hears nothing";
const NEW_SESSION: &str = "new session";

/// The body of a connect reply with an event is cut in its midst.
pub(super) async fn cut_in_body(stage: &Stage) -> Outcome<Verdict> {
    let decent = stage.decent.clone();
    rides_out(stage, move |request| {
        let mut replies = vec![event(&json!("cut"))];
        replies.extend(decent.replies(request));
        let body = serde_json::Value::Array(replies).to_string();
        let half = body.len() / 2;
        Answer::cut_after(body, half)
    })
    .await
}

/// Connects are refused with the advice to try again at once.
pub(super) async fn refused_at_once(stage: &Stage) -> Outcome<Verdict> {
    rides_out(stage, |request| {
        let refuse = |message| {
            let mut reply = Request::refusal_of(message, "500::busy");
            reply["advice"] = json!({"reconnect": "retry", "interval": 0});
            reply
        };
        Answer::messages(request.messages.iter().map(refuse))
    })
    .await
}

/// Nothing arrives any more in either direction, and no connection ends.
pub(super) async fn half_open(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, told) = (stage.mark(), stage.told());
    let before = stage.network.accepted();
    stage.network.stall();
    let noticed =
        stage.until(NOTICED, || stage.network.accepted() > before).await || stage.says_so(told).await;
    stage.network.forward();
    if !noticed {
        return Ok(Verdict::Wrong("does not notice"));
    }
    back(stage, mark, told).await
}

/// Connects are answered badly for a while, then well again: the client is to come back with its session.
pub(super) async fn rides_out(
    stage: &Stage,
    bad: impl Fn(&Request) -> Answer + Send + 'static,
) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, told) = (stage.mark(), stage.told());
    let answered = AtomicUsize::new(0);
    stage.lie(move |request| {
        if !request.has("/meta/connect") && !request.has("/meta/handshake") {
            return None;
        }
        let enough = answered.fetch_add(1, Ordering::Relaxed) >= ENOUGH;
        Some(if enough { Answer::silence() } else { bad(request) })
    });
    stage.release();
    tokio::time::sleep(OUTAGE).await;
    if stage.attempts(mark) > HOT {
        return Ok(Verdict::Wrong(HOT_LOOP));
    }
    stage.behave();
    back(stage, mark, told).await
}

/// Whether the client comes back with its session, now that all is well again.
async fn back(stage: &Stage, mark: usize, told: usize) -> Outcome<Verdict> {
    if !stage.hears_again(BACK).await {
        return lost(stage, told).await;
    }
    let new = !stage.since(mark, "/meta/handshake").is_empty();
    Ok(if new { Verdict::Wrong(NEW_SESSION) } else { Verdict::Right })
}

/// What a client does that does not come back.
pub(super) async fn lost(stage: &Stage, told: usize) -> Outcome<Verdict> {
    let mark = stage.mark();
    if stage.until(BACK / 2, || stage.attempts(mark) > 0).await {
        return Ok(Verdict::Wrong(DEAF));
    }
    Ok(Verdict::Wrong(if stage.says_so(told).await { GIVES_UP } else { SILENT }))
}
