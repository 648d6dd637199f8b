//! What every program does.

use std::time::Duration;

use bayeux::Transport;
use serde_json::{Value, json};

use crate::cell::Cell;
use crate::outcome::{Outcome, check};
use crate::until::until;

/// How long nothing must come to be sure that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);
/// How long a reply may take on a busy machine.
const ANSWERED: Duration = Duration::from_secs(20);

pub(super) async fn quickstart(cell: &Cell<'_>) -> Outcome {
    let ann = cell.subject("ann").await?;
    ann.subscribe("/chat/demo").await?;
    ann.publish("/chat/demo", &json!({"user": "ann", "chat": "hi"})).await?;
    ann.expect("/chat/demo", &json!({"user": "ann", "chat": "hi"})).await?;
    ann.unsubscribe("/chat/demo").await?;
    // Some clients do not wait for the server, and what they publish next may overtake it on another connection.
    let answered = until(ANSWERED, || ann.received("/meta/unsubscribe")).await;
    check(answered, format!("the unsubscription was not answered within {ANSWERED:?}"))?;
    ann.publish("/chat/demo", &json!("for nobody")).await?;
    let received = ann.receives_within(SILENCE).await;
    check(received.is_none(), format!("after the unsubscription still came {received:?}"))?;
    // Some clients keep quiet about what they did not ask for.
    check(!ann.received("for nobody"), "the server still sends what the client unsubscribed from")?;
    check(ann.is_connected().await?, "the client does not say that it is connected")?;
    let upgraded = ann.received("HTTP/1.1 101");
    check(upgraded == (cell.transport == Transport::WebSocket), "another transport was used than asked for")?;
    ann.close().await?;
    check(!ann.is_connected().await?, "the closed client says that it is connected")?;
    // The same person again.
    let ann = cell.subject("ann again").await?;
    ann.subscribe("/chat/demo").await?;
    ann.publish("/chat/demo", &json!(2)).await?;
    ann.expect("/chat/demo", &json!(2)).await
}

pub(super) async fn push(cell: &Cell<'_>) -> Outcome {
    let ann = cell.subject("ann").await?;
    ann.subscribe("/push/a").await?;
    ann.subscribe("/deep/**").await?;
    for n in 0..5 {
        cell.server.publish("/push/a", &json!({"n": n})).await?;
        ann.expect("/push/a", &json!({"n": n})).await?;
        cell.server.publish("/push/b", &json!("for nobody")).await?;
        cell.server.publish("/deep/a/b", &json!([n])).await?;
        ann.expect("/deep/a/b", &json!([n])).await?;
    }
    Ok(())
}

pub(super) async fn chat(cell: &Cell<'_>) -> Outcome {
    let (ann, bob) = (cell.subject("ann").await?, cell.other("bob").await?);
    ann.subscribe("/chat/two").await?;
    bob.subscribe("/chat/two").await?;
    for n in 0..50 {
        let data = json!({"n": n, "chat": "hello"});
        if n % 2 == 0 { &ann } else { &bob }.publish("/chat/two", &data).await?;
        ann.expect("/chat/two", &data).await?;
        bob.expect("/chat/two", &data).await?;
    }
    Ok(())
}

pub(super) async fn wildcards(cell: &Cell<'_>) -> Outcome {
    let (one, many) = (cell.subject("one").await?, cell.subject("many").await?);
    let bob = cell.other("bob").await?;
    one.subscribe("/wild/*").await?;
    many.subscribe("/wild/**").await?;
    for (channel, data) in [("/wild", 0), ("/wild/a", 1), ("/wild/a/b", 2), ("/wilder/a", 3), ("/wild/c", 4)]
    {
        bob.publish(channel, &json!(data)).await?;
    }
    for (channel, data) in [("/wild/a", 1), ("/wild/c", 4)] {
        one.expect(channel, &json!(data)).await?;
    }
    for (channel, data) in [("/wild/a", 1), ("/wild/a/b", 2), ("/wild/c", 4)] {
        many.expect(channel, &json!(data)).await?;
    }
    Ok(())
}

pub(super) async fn payloads(cell: &Cell<'_>) -> Outcome {
    let (ann, bob) = (cell.subject("ann").await?, cell.other("bob").await?);
    ann.subscribe("/payloads").await?;
    bob.subscribe("/payloads").await?;
    for value in values() {
        for from in [&ann, &bob] {
            from.publish("/payloads", &value).await.map_err(|error| format!("{value}: {error}"))?;
            ann.expect("/payloads", &value).await?;
            bob.expect("/payloads", &value).await?;
        }
    }
    Ok(())
}

fn values() -> Vec<Value> {
    vec![
        json!(false),
        json!(0),
        json!(""),
        json!([]),
        json!({}),
        Value::Null,
        json!([null, false, 0, ""]),
        json!("ünïcödé \u{1F980} \"quoted\" \\ \n \u{2028} \u{0} \u{7f} \u{FFFD} 漢字 עברית"),
        json!({"a": 1.5, "b": -2, "c": 9_007_199_254_740_991_i64, "d": 1e-7, "e": true}),
        // Arrays in an array in there would be too much for Jetty's parser of HTTP bodies.
        json!({"deep": {"a": {"b": {"c": [1, {"d": 2}, true]}}}}),
    ]
}
