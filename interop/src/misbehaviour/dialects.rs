//! Servers whose messages are valid but unusual.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bayeux_testkit::{Answer, Request};
use serde_json::{Value, json};

use super::judge::{BACK, HOT, back, lost};
use super::stage::{Stage, event};
use super::verdict::{
    ANOTHER_ORDER, DEAF, FAILURE, HOT_LOOP, LOSES, NEVER_ENDS, SAYS_DONE, TWO_CONNECTS, Verdict, right_if,
};
use crate::outcome::Outcome;
use crate::until::until;

/// How many connects are answered oddly.
const ODD: usize = 5;
/// How long each is held.
const HELD: Duration = Duration::from_millis(200);
/// How long they may take in all; after failures they come with pauses between them.
const ALL: Duration = Duration::from_secs(15);
/// The next connect comes sooner than this after at least one of the answers but the first, if they are taken for what they are: a
/// pause after a failure is longer.
const TAKEN: Duration = Duration::from_millis(350);
/// How long something may take that can happen at once.
const SOON: Duration = Duration::from_secs(10);

/// Each response to a connect is made from an event and the replies; the client is to go on and to deliver the event.
pub(super) async fn odd(
    stage: &Stage,
    odd: impl Fn(Value, Vec<Value>) -> Value + Send + 'static,
) -> Outcome<Verdict> {
    let verdict = understood(stage, odd).await?;
    let delivered = stage.received().contains(&json!("odd"));
    Ok(if verdict == Verdict::Right { right_if(delivered, LOSES) } else { verdict })
}

/// The same, of a form that has no place for the event.
pub(super) async fn understood(
    stage: &Stage,
    odd: impl Fn(Value, Vec<Value>) -> Value + Send + 'static,
) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, reported) = (stage.mark(), stage.reported());
    let decent = stage.decent.clone();
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let asked = Arc::clone(&times);
    stage.lie(move |request| {
        request.message("/meta/connect")?;
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        let body = odd(event(&json!("odd")), decent.replies(request));
        Some(Answer::body(body.to_string()).after(HELD))
    });
    stage.release();
    until(ALL, || stage.since(mark, "/meta/connect").len() > ODD).await;
    let times = times.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // The first reply may still be taken for what it is, and have made the next impossible.
    let taken = times.windows(2).skip(1).any(|two| two[1] - two[0] < HELD + TAKEN);
    if times.len() > HOT {
        return Ok(Verdict::Wrong(HOT_LOOP));
    }
    if times.len() > 2 && !taken {
        return Ok(Verdict::Wrong(FAILURE));
    }
    stage.behave();
    let verdict = back(stage, mark, reported).await?;
    Ok(if verdict == Verdict::Right { right_if(taken, FAILURE) } else { verdict })
}

/// The advice of the replies to connects is this.
pub(super) async fn advised(stage: &Stage, advice: Value) -> Outcome<Verdict> {
    odd(stage, move |event, mut replies| {
        for reply in &mut replies {
            reply["advice"] = advice.clone();
        }
        array(event, replies)
    })
    .await
}

/// An event, and the replies after it.
pub(super) fn array(event: Value, replies: Vec<Value>) -> Value {
    Value::Array(std::iter::once(event).chain(replies).collect())
}

/// Events stand before and after the reply to a connect.
pub(super) async fn around(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    let decent = stage.decent.clone();
    stage.once(move |request| {
        let mut messages = vec![event(&json!(1)), event(&json!(2))];
        messages.extend(decent.replies(request));
        messages.extend([event(&json!(3)), event(&json!(4))]);
        Answer::messages(messages)
    });
    until(SOON, || stage.received().len() >= 4).await;
    let mut received = stage.received();
    if received == [json!(1), json!(2), json!(3), json!(4)] {
        return Ok(Verdict::Right);
    }
    received.sort_by_key(Value::as_i64);
    received.dedup();
    Ok(Verdict::Wrong(if received.len() < 4 { LOSES } else { ANOTHER_ORDER }))
}

/// Events with data that count as false or as nothing in some languages.
pub(super) async fn falsy(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    let data = [json!(false), json!(0), json!(""), json!([]), json!(null), json!("end")];
    stage.bring(data.iter().map(event).collect());
    until(SOON, || stage.received().contains(&json!("end"))).await;
    Ok(right_if(stage.received() == data, LOSES))
}

/// A connect is answered twice in one frame.
pub(super) async fn answered_twice(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, reported) = (stage.mark(), stage.reported());
    let connects = stage.peer.received("/meta/connect");
    let held = connects.last().ok_or("there is no connect")?;
    let reply = Request::reply_to(held);
    stage.peer.push([reply.clone(), reply]);
    if !until(SOON, || stage.attempts(mark) > 0).await {
        return lost(stage, reported).await;
    }
    let second = until(SOON / 3, || stage.attempts(mark) > 1).await;
    Ok(right_if(!second, TWO_CONNECTS))
}

/// A subscription is granted in a reply without an id.
pub(super) async fn subscribed_without_id(stage: &Stage) -> Outcome<Verdict> {
    stage.open().await?;
    let decent = stage.decent.clone();
    stage.lie(move |request| {
        request.message("/meta/subscribe")?;
        Some(Answer::messages(decent.replies(request).into_iter().map(without_id)))
    });
    Ok(right_if(stage.ends(stage.user.subscribe("/odd")).await.is_some(), NEVER_ENDS))
}

/// A message without its id.
pub(super) fn without_id(mut message: Value) -> Value {
    if let Some(fields) = message.as_object_mut() {
        fields.remove("id");
    }
    message
}

/// A publish is not answered.
pub(super) async fn unanswered(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    stage.lie(|request| request.has("/silent").then(Answer::silence));
    Ok(match stage.ends(stage.user.publish("/silent", &json!(1))).await {
        None => Verdict::Wrong(NEVER_ENDS),
        Some(Ok(())) => Verdict::Wrong(SAYS_DONE),
        Some(Err(_)) => right_if(stage.receives_again(BACK).await, DEAF),
    })
}
