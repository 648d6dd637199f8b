//! Servers that forget, refuse and end sessions.

use std::time::Duration;

use bayeux_testkit::{Answer, Request};
use serde_json::Value;

use super::outages::{BACK, HOT_LOOP, lost};
use super::stage::{NEWS, Stage};
use super::verdict::{Verdict, right_if};
use crate::outcome::Outcome;

/// How long a client may take until it handshakes again.
const AGAIN: Duration = Duration::from_secs(20);
/// How many connects with a dead session are too many.
const HOT: usize = 40;

/// The session is forgotten: each request with it is refused with this error and advice.
pub(super) async fn forgotten(stage: &Stage, error: &'static str, advice: Value) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, told) = (stage.mark(), stage.told());
    let dead = stage.since(0, "/meta/connect")[0]["clientId"].clone();
    let gone = dead.clone();
    stage.lie(move |request| {
        let first = request.messages.first()?;
        let uses_it = first["clientId"] == gone && first["channel"] != "/meta/handshake";
        uses_it.then(|| {
            let refuse = |message: &Value| {
                let mut reply = Request::refusal_of(message, error);
                if message["channel"] == "/meta/connect" {
                    reply["advice"] = advice.clone();
                }
                reply
            };
            Answer::messages(request.messages.iter().map(refuse))
        })
    });
    stage.release();
    let shaken = stage.until(AGAIN, || !stage.since(mark, "/meta/handshake").is_empty()).await;
    let in_vain =
        stage.since(mark, "/meta/connect").iter().filter(|connect| connect["clientId"] == dead).count();
    if in_vain > HOT {
        return Ok(Verdict::Wrong(HOT_LOOP));
    }
    if !shaken {
        return lost(stage, told).await;
    }
    let restored = || {
        let subscribes = stage.since(mark, "/meta/subscribe");
        subscribes.iter().any(|subscribe| subscribe["subscription"] == NEWS && subscribe["clientId"] != dead)
    };
    if !stage.until(AGAIN, restored).await {
        return Ok(Verdict::Wrong("subscription lost"));
    }
    Ok(right_if(stage.hears_again(BACK).await, "deaf"))
}
