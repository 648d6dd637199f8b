//! Servers that send more than they should, and those that send again.

use std::time::Duration;

use bayeux_testkit::{Answer, Request};
use serde_json::{Value, json};

use super::judge::{BACK, back, lost};
use super::stage::{Stage, event};
use super::verdict::{FALSE_ACK, LOSES, LOSES_AND_SAYS, LOSES_IN_SILENCE, NO_ACK, TWICE, Verdict, right_if};
use crate::outcome::Outcome;
use crate::until::until;

/// The length of a large message, in bytes: more than a limit of 1 MiB allows.
const LARGE: usize = 2 * 1024 * 1024;
/// How many messages are a flood, and how many stand in one frame.
const FLOOD: usize = 20_000;
const FRAME: usize = 100;
/// How long the flood may take.
const FLOODED: Duration = Duration::from_secs(60);

/// A message is larger than some limits.
pub(super) async fn large(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    let reported = stage.reported();
    let data = Value::from("x".repeat(LARGE));
    stage.bring(vec![event(&data)]);
    if stage.receives_again(BACK).await && stage.received().contains(&data) {
        return Ok(Verdict::Right);
    }
    Ok(Verdict::Wrong(if stage.says_so(reported).await { LOSES_AND_SAYS } else { LOSES_IN_SILENCE }))
}

/// Many messages come while the user is busy with the first of them.
pub(super) async fn flood(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, reported) = (stage.mark(), stage.reported());
    let all: Vec<Value> = (0..FLOOD).map(Value::from).collect();
    for frame in all.chunks(FRAME) {
        stage.peer.push(frame.iter().map(event));
        tokio::task::yield_now().await;
    }
    until(FLOODED, || stage.received().len() >= FLOOD).await;
    if stage.received() != all {
        return Ok(Verdict::Wrong(if stage.says_so(reported).await {
            LOSES_AND_SAYS
        } else {
            LOSES_IN_SILENCE
        }));
    }
    back(stage, mark, reported).await
}

/// With the acknowledge extension, a response is cut in its midst, and then its messages are sent again.
pub(super) async fn sent_again(stage: &Stage) -> Outcome<Verdict> {
    acknowledged(stage, |nth, mut replies| {
        replies.insert(0, event(&json!("first")));
        let body = with_ack(replies, 2).to_string();
        let half = body.len() / 2;
        match nth {
            0 => Some(Answer::cut_after(body, half)),
            1 => Some(Answer::body(body)),
            _ => None,
        }
    })
    .await?;
    let mark = stage.mark();
    stage.release();
    let acked =
        |ack: i64| stage.since(mark, "/meta/connect").iter().any(|connect| connect["ext"]["ack"] == ack);
    if !until(BACK, || acked(2)).await {
        return Ok(Verdict::Wrong(NO_ACK));
    }
    let connects = stage.since(mark, "/meta/connect");
    if connects.iter().take(2).any(|connect| connect["ext"]["ack"] != 1) {
        return Ok(Verdict::Wrong(FALSE_ACK));
    }
    match stage.received().as_slice() {
        [only] if *only == json!("first") => Ok(Verdict::Right),
        [] => Ok(Verdict::Wrong(LOSES)),
        _ => Ok(Verdict::Wrong(TWICE)),
    }
}

/// With the acknowledge extension, a refusal claims that messages came with it.
pub(super) async fn false_ack(stage: &Stage) -> Outcome<Verdict> {
    acknowledged(stage, |nth, mut replies| {
        for reply in &mut replies {
            reply["successful"] = false.into();
            reply["error"] = "500::busy".into();
        }
        (nth == 0).then(|| Answer::body(with_ack(replies, 9).to_string()))
    })
    .await?;
    let mark = stage.mark();
    stage.release();
    if !until(BACK, || stage.since(mark, "/meta/connect").len() >= 2).await {
        return lost(stage, stage.reported()).await;
    }
    let connects = stage.since(mark, "/meta/connect");
    Ok(right_if(connects[1]["ext"]["ack"] == 1, FALSE_ACK))
}

/// A server that grants the extension, and has numbered 1 what it has sent; then `lie` is asked about each connect, which
/// it counts.
async fn acknowledged(
    stage: &Stage,
    lie: impl Fn(usize, Vec<Value>) -> Option<Answer> + Send + 'static,
) -> Outcome {
    let decent = stage.decent.clone();
    let granting = move |request: &Request| -> Option<Answer> {
        let mut replies = decent.replies(request);
        if request.has("/meta/handshake") {
            for reply in &mut replies {
                reply["ext"]["ack"] = true.into();
            }
            return Some(Answer::messages(replies));
        }
        let connect = request.message("/meta/connect")?;
        let Value::Array(replies) = with_ack(replies, 1) else { return None };
        Some(if connect["advice"]["timeout"] == 0 {
            Answer::messages(replies)
        } else {
            Answer::hold(replies)
        })
    };
    stage.lie(granting.clone());
    stage.settle().await?;
    let decent = stage.decent.clone();
    let mut nth = 0;
    stage.lie(move |request| {
        if !request.has("/meta/connect") {
            return granting(request);
        }
        nth += 1;
        lie(nth - 1, decent.replies(request)).or_else(|| granting(request))
    });
    Ok(())
}

fn with_ack(mut messages: Vec<Value>, ack: u32) -> Value {
    for reply in messages.iter_mut().filter(|message| message["channel"] == "/meta/connect") {
        reply["ext"]["ack"] = ack.into();
    }
    Value::Array(messages)
}
