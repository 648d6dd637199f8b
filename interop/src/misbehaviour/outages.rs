//! Servers and networks that fail while the session lives on.

use std::time::Duration;

use bayeux_testkit::{Answer, Request, RequestKind};
use serde_json::json;

use super::judge::{back, is_hot};
use super::stage::{Stage, event};
use super::verdict::{HOT_LOOP, NOT_NOTICED, Verdict};
use crate::outcome::Outcome;
use crate::until::until;

/// How long a connect is held that is answered with another's reply.
const HELD: Duration = Duration::from_millis(500);
/// How long a client may take to send what follows a reply.
const GOES_ON: Duration = Duration::from_secs(3);
/// How long a client may take to notice that the network has failed: the advised timeout and more than all of them add.
const NOTICED: Duration = Duration::from_secs(60);

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

/// Connects are answered with a reply to something else.
pub(super) async fn another_id(stage: &Stage) -> Outcome<Verdict> {
    let decent = stage.decent.clone();
    rides_out(stage, move |request| {
        let mut replies = decent.replies(request);
        for reply in &mut replies {
            reply["id"] = "another".into();
        }
        Answer::messages(replies).after(HELD)
    })
    .await
}

/// Nothing arrives any more in either direction, and no connection ends.
pub(super) async fn half_open(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, reported) = (stage.mark(), stage.reported());
    stage.network.stall();
    // What was just answered may go on over a new connection, which proves nothing.
    tokio::time::sleep(GOES_ON).await;
    let before = stage.network.accepted();
    let noticed = until(NOTICED, || stage.network.accepted() > before).await || stage.says_so(reported).await;
    stage.network.forward();
    if !noticed {
        return Ok(Verdict::Wrong(NOT_NOTICED));
    }
    back(stage, mark, reported).await
}

/// Connects are answered badly for a while, then well again: the client is to come back with its session.
pub(super) async fn rides_out(
    stage: &Stage,
    bad: impl Fn(&Request) -> Answer + Send + 'static,
) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, reported) = (stage.mark(), stage.reported());
    stage.lie(move |request| {
        if !request.has("/meta/connect") && !request.has("/meta/handshake") {
            return None;
        }
        Some(bad(request))
    });
    stage.release();
    if is_hot(stage, mark).await {
        return Ok(Verdict::Wrong(HOT_LOOP));
    }
    stage.behave();
    back(stage, mark, reported).await
}

/// The WebSocket is closed with this code, and each that follows for a while, if `again`.
pub(super) async fn closed(stage: &Stage, code: u16, again: bool) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, reported) = (stage.mark(), stage.reported());
    if again {
        stage.lie(move |request| (request.kind == RequestKind::Frame).then(|| Answer::close(code, "")));
    }
    let [high, low] = code.to_be_bytes();
    // A close frame of two bytes.
    stage.peer.push_raw(vec![0x88, 2, high, low]);
    if again {
        if is_hot(stage, mark).await {
            return Ok(Verdict::Wrong(HOT_LOOP));
        }
        stage.behave();
    }
    back(stage, mark, reported).await
}

/// A frame over WebSocket is cut short of being JSON.
pub(super) async fn broken_frame(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, reported) = (stage.mark(), stage.reported());
    stage.peer.push_text(b"[{\"channel\":\"/ne");
    back(stage, mark, reported).await
}
