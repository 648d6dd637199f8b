//! A replay extension of a user's: what it needs to see, it sees.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bayeux::{Error, Event, Extension, Message, Transport, Veto};
use bayeux_testkit::{Answer, Peer, Request};
use fixture::{connected, event, next, over, within};
use serde_json::{Value, json};

const NEW_EVENTS: i64 = -1;

/// Asks, with each subscription, for what came after the last event that was seen of the channel; from now on, when
/// the server says that it keeps that no more. The form is Salesforce's.
#[derive(Clone, Default)]
struct Replay(Arc<Mutex<HashMap<String, i64>>>);

impl Extension for Replay {
    fn outgoing(&self, message: &mut Message) -> Result<(), Veto> {
        if message.channel() == "/meta/subscribe"
            && let Some(channels) = &message.fields().subscription
        {
            let seen = self.0.lock().unwrap();
            let from = |name: &String| (name.clone(), json!(seen.get(name).unwrap_or(&NEW_EVENTS)));
            let replay: serde_json::Map<_, _> = channels.names().iter().map(from).collect();
            drop(seen);
            message.set_ext_value("replay", Value::Object(replay));
        }
        Ok(())
    }

    fn incoming(&self, message: &mut Message) -> Result<(), Veto> {
        let mut seen = self.0.lock().unwrap();
        let too_old =
            message.fields().error.as_ref().is_some_and(|error| error.as_str().contains("replayId"));
        if message.channel() == "/meta/subscribe" && too_old {
            for name in message.fields().subscription.iter().flat_map(|channels| channels.names()) {
                seen.insert(name.clone(), NEW_EVENTS);
            }
        }
        let id = message.data().decode::<Value>().ok().and_then(|data| data["event"]["replayId"].as_i64());
        if let Some(id) = id {
            seen.insert(message.channel().to_string(), id);
        }
        Ok(())
    }
}

fn replay_event(id: i64) -> Value {
    json!({"channel": "/topic/a", "data": {"event": {"replayId": id}}})
}

async fn replays_over(transport: Transport) -> Result<(), Error> {
    let mut forget = false;
    let peer = Peer::start(move |request: &Request| {
        // The session is lost once: at the connect after the subscription.
        if let Some(connect) = request.message("/meta/connect").filter(|_| std::mem::take(&mut forget)) {
            let mut refusal = Request::refusal_of(connect, "403::Unknown client");
            refusal["advice"] = json!({"reconnect": "handshake", "interval": 0});
            return Answer::messages([refusal]);
        }
        if let Some(subscribe) = request.message("/meta/subscribe") {
            let from =
                subscribe["ext"]["replay"]["/topic/a"].as_i64().expect("each subscription says from where");
            if from == 7 {
                return Answer::messages([Request::refusal_of(
                    subscribe,
                    "400::The replayId {7} is too old",
                )]);
            }
            forget = from == NEW_EVENTS && subscribe["clientId"] == "peer-0";
            return Answer::messages([Request::reply_to(subscribe)]);
        }
        request.decently()
    })
    .await;
    let replay = Replay::default();
    let client = over(transport, &peer.url()).extension(replay.clone()).build()?;
    let mut events = client.events();
    within(client.open()).await?;
    connected(&mut events).await;
    within(client.subscribe("/topic/a")).await?;
    peer.push([replay_event(7)]);
    assert_eq!(next(&client).await, r#"{"event":{"replayId":7}}"#);

    if transport == Transport::WebSocket {
        // There a connect goes on being held when an event comes.
        client.reconnect_now().await;
    }
    // The new session is asked for what came after 7; that is too old, so for what comes now.
    let refused = |event: &Event| matches!(event, Event::Resubscribed { outcome: Err(_), .. });
    let granted = |event: &Event| matches!(event, Event::Resubscribed { outcome: Ok(()), .. });
    event(&mut events, refused).await;
    let told = within(client.receive()).await.expect_err("a refused restoration is told to the receiver");
    assert_eq!(told.code(), Some(400));
    event(&mut events, granted).await;
    peer.push([replay_event(9)]);
    assert_eq!(next(&client).await, r#"{"event":{"replayId":9}}"#);
    assert_eq!(replay.0.lock().unwrap()["/topic/a"], 9);
    within(client.close()).await
}

#[tokio::test]
async fn request_02_subscriptions_are_restored_from_the_last_event_seen_over_websocket() -> Result<(), Error>
{
    replays_over(Transport::WebSocket).await
}

#[tokio::test]
async fn request_02_subscriptions_are_restored_from_the_last_event_seen_over_long_polling()
-> Result<(), Error> {
    replays_over(Transport::LongPolling).await
}
