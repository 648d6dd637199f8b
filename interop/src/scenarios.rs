//! What is tried with each peer over each transport.

use std::time::Duration;

use bayeux::{Client, ConnectionType, Error, ErrorKind};
use serde_json::{Value, json};

use crate::peer::Peer;

/// No scenario needs that long.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const NAMES: [&str; 7] =
    ["quickstart", "two clients", "wildcards", "batch", "refusals", "payloads", "service"];

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Whether a peer passes; `None` when it lacks what the scenario needs.
pub(crate) async fn run(name: &str, peer: &Peer, transport: ConnectionType) -> Option<Result<(), String>> {
    if name == "service" && !peer.has_services {
        return None;
    }
    let scenario = async {
        match name {
            "quickstart" => quickstart(peer, transport).await,
            "two clients" => two_clients(peer, transport).await,
            "wildcards" => wildcards(peer, transport).await,
            "batch" => batch(peer, transport).await,
            "refusals" => refusals(peer, transport).await,
            "payloads" => payloads(peer, transport).await,
            "service" => service(peer, transport).await,
            other => Err(format!("no scenario is called {other}").into()),
        }
    };
    Some(match tokio::time::timeout(LIMIT, scenario).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("not done within {LIMIT:?}")),
    })
}

async fn open(peer: &Peer, transport: ConnectionType) -> Result<Client, Error> {
    let client = Client::builder(&peer.url).connection_types([transport]).build()?;
    client.open().await?;
    Ok(client)
}

fn check(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}

async fn expect(client: &Client, channel: &str, data: &Value) -> Outcome {
    let message = client.receive().await?;
    let got: Value = message.data().decode()?;
    check(
        message.channel() == channel && got == *data,
        &format!("expected {channel} {data}, received {} {got}", message.channel()),
    )
}

async fn quickstart(peer: &Peer, transport: ConnectionType) -> Outcome {
    let client = open(peer, transport).await?;
    check(client.connection_type() == Some(transport), "another transport than the one asked for")?;
    client.subscribe("/chat/demo").await?;
    check(client.subscriptions() == ["/chat/demo"], "the subscription is not listed")?;
    let reply = client.publish("/chat/demo", &json!({"user": "ann", "chat": "hi"})).await?;
    check(reply.is_successful(), "the publish was not confirmed")?;
    expect(&client, "/chat/demo", &json!({"user": "ann", "chat": "hi"})).await?;
    client.unsubscribe("/chat/demo").await?;
    check(client.subscriptions().is_empty(), "the subscription is still listed")?;
    client.close().await?;
    check(client.is_closed(), "the client is not closed")?;
    let closed = client.receive().await.err().map(|error| error.kind());
    check(closed == Some(ErrorKind::Closed), "receive() does not say that the client is closed")
}

async fn two_clients(peer: &Peer, transport: ConnectionType) -> Outcome {
    let (ann, bob) = (open(peer, transport).await?, open(peer, ConnectionType::LongPolling).await?);
    ann.subscribe("/chat/two").await?;
    bob.subscribe("/chat/two").await?;
    for n in 0..50 {
        let from = if n % 2 == 0 { &ann } else { &bob };
        from.publish("/chat/two", &n).await?;
        expect(&ann, "/chat/two", &json!(n)).await?;
        expect(&bob, "/chat/two", &json!(n)).await?;
    }
    ann.close().await?;
    bob.close().await?;
    Ok(())
}

async fn wildcards(peer: &Peer, transport: ConnectionType) -> Outcome {
    let client = open(peer, transport).await?;
    let mut one = client.messages("/wild/*").await?;
    let mut many = client.stream::<i32>("/wild/**").await?;
    client.publish("/wild/a", &1).await?;
    client.publish("/wild/a/b", &2).await?;
    client.publish("/wild/c", &3).await?;
    for (channel, data) in [("/wild/a", 1), ("/wild/c", 3)] {
        let message = one.next().await.ok_or("the stream ended")??;
        check(
            message.channel() == channel && message.data().as_str() == data.to_string(),
            "/wild/* got another one",
        )?;
    }
    for data in 1..=3 {
        check(many.next().await.ok_or("the stream ended")?? == data, "/wild/** got another one")?;
    }
    client.close().await?;
    Ok(())
}

async fn batch(peer: &Peer, transport: ConnectionType) -> Outcome {
    let client = open(peer, transport).await?;
    let outcomes = client
        .batch(|batch| {
            batch.subscribe("/batch/a")?;
            (0..100).try_for_each(|n| batch.publish("/batch/a", &n))
        })
        .await?;
    check(
        outcomes.len() == 101 && outcomes.iter().all(Result::is_ok),
        "a message of the batch was not confirmed",
    )?;
    for n in 0..100 {
        expect(&client, "/batch/a", &json!(n)).await?;
    }
    client.close().await?;
    Ok(())
}

async fn refusals(peer: &Peer, transport: ConnectionType) -> Outcome {
    let client = open(peer, transport).await?;
    for outcome in [client.subscribe("/denied/a").await.err(), client.publish("/denied/a", &1).await.err()] {
        let error = outcome.ok_or("the server should have refused")?;
        check(error.code() == Some(403) && error.is_server(), &format!("refused otherwise: {error}"))?;
    }
    client.subscribe("/allowed/a").await?;
    client.publish("/allowed/a", &1).await?;
    expect(&client, "/allowed/a", &json!(1)).await?;
    client.close().await?;
    Ok(())
}

async fn payloads(peer: &Peer, transport: ConnectionType) -> Outcome {
    let client = open(peer, transport).await?;
    client.subscribe("/payloads").await?;
    let values = [
        json!(false),
        json!(0),
        json!(""),
        json!([]),
        json!({}),
        json!("ünïcödé \u{1F980} \"quoted\" \\ \n \u{2028}"),
        // Deeper arrays than that are refused by Jetty's JSON parser over HTTP.
        json!({"deep": {"a": {"b": {"c": [1.5, -2, true]}}}}),
        json!("x".repeat(40_000)),
    ];
    for value in &values {
        client.publish("/payloads", value).await?;
        expect(&client, "/payloads", value).await?;
    }
    client.close().await?;
    Ok(())
}

async fn service(peer: &Peer, transport: ConnectionType) -> Outcome {
    let client = open(peer, transport).await?;
    for n in 0..20 {
        let answer: Value = client.request("/service/echo", &json!({"n": n})).await?;
        check(answer == json!({"n": n}), "the service answered something else")?;
    }
    let refused =
        client.request::<Value>("/service/fail", &1).await.err().ok_or("the service should have refused")?;
    check(refused.code() == Some(500), &format!("refused otherwise: {refused}"))?;
    client.close().await?;
    Ok(())
}
