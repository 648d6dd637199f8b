//! Calls while there is no connection, and those that were on their way when it broke.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::sync::Arc;
use std::time::Instant;

use bayeux::{
    Backoff, Client, Delivery, ErrorKind, Event, Events, Extension, Message, Offline, Transport, Veto,
};
use bayeux_testkit::{Answer, FaultProxy, Peer, Request, TestServer};
use fixture::*;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Calls of `publish`, begun in their order and waited for together.
fn publishing(client: &Client, numbers: std::ops::Range<u32>) -> JoinHandle<Vec<Result<(), bayeux::Error>>> {
    let client = client.clone();
    tokio::spawn(async move {
        let calls = numbers.map(|n| {
            let client = &client;
            async move { client.publish("/n", &n).await.map(drop) }
        });
        futures_util::future::join_all(calls).await
    })
}

fn published(peer: &Peer) -> Vec<u64> {
    peer.received("/n").iter().map(|message| message["data"].as_u64().unwrap()).collect()
}

/// Cuts the link, and waits until the client tries in vain to come back.
async fn goes_away(network: &FaultProxy, events: &mut Events) {
    network.refuse().await;
    network.cut();
    event(events, |event| matches!(event, Event::Retrying { failures: 2.., .. })).await;
}

#[tokio::test]
async fn calls_wait_for_the_connection_and_keep_their_order() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let network = FaultProxy::to(peer.address()).await;
        let (client, mut events) = watched(over(transport, &network.url())).await;
        within(client.publish("/n", &0)).await.unwrap();
        goes_away(&network, &mut events).await;
        let calls = publishing(&client, 1..50);
        let subscribing = tokio::spawn({
            let client = client.clone();
            async move { client.subscribe("/while/away").await }
        });
        tokio::task::yield_now().await;
        assert!(!calls.is_finished() && published(&peer).len() == 1);
        network.forward();
        for outcome in within(calls).await.unwrap() {
            outcome.unwrap();
        }
        within(subscribing).await.unwrap().unwrap();
        assert_eq!(published(&peer), (0..50).collect::<Vec<_>>());
        assert_eq!(peer.received("/meta/handshake").len(), 1);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn calls_that_waited_go_to_the_session_that_takes_the_place_of_the_old_one() {
    for transport in BOTH {
        let server = TestServer::start().await;
        let (client, mut events) = watched(over(transport, &server.url())).await;
        client.subscribe("/n").await.unwrap();
        server.stop().await;
        event(&mut events, |event| matches!(event, Event::Retrying { failures: 2.., .. })).await;
        let calls = publishing(&client, 0..20);
        tokio::task::yield_now().await;
        server.restart().await;
        for outcome in within(calls).await.unwrap() {
            outcome.unwrap();
        }
        // The subscription was there before them.
        for n in 0..20 {
            assert_eq!(next(&client).await, n.to_string());
        }
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_waited_too_long_fails_as_never_sent() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let network = FaultProxy::to(peer.address()).await;
        let (client, mut events) = watched(over(transport, &network.url()).call_timeout(millis(200))).await;
        goes_away(&network, &mut events).await;
        let began = Instant::now();
        let error = within(client.publish("/n", &1)).await.unwrap_err();
        assert!(began.elapsed() >= millis(190), "{:?}", began.elapsed());
        assert!(error.is_timeout() && error.is_retryable() && !error.is_fate_unknown(), "{error}");
        let error = within(client.request::<Value>("/service/a", &1)).await.unwrap_err();
        assert!(error.is_timeout() && !error.is_fate_unknown(), "{error}");
        network.forward();
        connected(&mut events).await;
        within(client.publish("/n", &2)).await.unwrap();
        assert_eq!(published(&peer), [2], "what was given up is not sent later");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn who_does_not_want_to_wait_is_refused_at_once() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let network = FaultProxy::to(peer.address()).await;
        let (client, mut events) = watched(over(transport, &network.url()).offline(Offline::Refuse)).await;
        goes_away(&network, &mut events).await;
        let error = within(client.publish("/n", &1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
        assert!(error.is_retryable() && !error.is_fate_unknown(), "{error}");
        let error = within(client.request::<Value>("/service/a", &1)).await.unwrap_err();
        assert!(error.is_transport() && !error.is_fate_unknown(), "{error}");
        network.forward();
        connected(&mut events).await;
        within(client.publish("/n", &2)).await.unwrap();
        assert_eq!(published(&peer), [2]);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn no_more_calls_wait_than_may() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let network = FaultProxy::to(peer.address()).await;
        let (client, mut events) = watched(over(transport, &network.url()).max_pending_calls(3)).await;
        goes_away(&network, &mut events).await;
        let calls = publishing(&client, 0..5);
        network.forward();
        let outcomes = within(calls).await.unwrap();
        assert!(outcomes[..3].iter().all(Result::is_ok), "{outcomes:?}");
        for outcome in &outcomes[3..] {
            let error = outcome.as_ref().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
            assert!(
                error.is_retryable() && !error.is_fate_unknown() && error.to_string().contains('3'),
                "{error}"
            );
        }
        assert_eq!(published(&peer), [0, 1, 2]);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn calls_that_wait_end_when_the_client_is_closed() {
    for transport in BOTH {
        let server = TestServer::start().await;
        let (client, mut events) = watched(over(transport, &server.url())).await;
        goes_away(server.network(), &mut events).await;
        let calls = publishing(&client, 0..5);
        tokio::task::yield_now().await;
        within(client.close()).await.unwrap();
        for outcome in within(calls).await.unwrap() {
            let error = outcome.unwrap_err();
            assert!(error.is_closed() && !error.is_fate_unknown(), "{error}");
        }
    }
}

/// Where the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// Before the server has read what was sent.
    Before,
    /// After that, and before it has replied.
    After,
}

/// A peer with a network before it, and what breaks in the way of the first five publishes.
async fn broken(cut: Cut) -> (Peer, FaultProxy) {
    let peer = Peer::start(move |request: &Request| match request.name() {
        "/n" if request.nth == 0 && cut == Cut::After => Answer::cut(),
        _ => request.decently(),
    })
    .await;
    let network = FaultProxy::to(peer.address()).await;
    (peer, network)
}

/// Tells when a publish is sent.
#[derive(Clone, Debug, Default)]
struct Sent(Arc<Notify>);

impl Extension for Sent {
    fn outgoing(&self, message: &mut Message) -> Result<(), Veto> {
        if message.channel() == "/n" {
            self.0.notify_one();
        }
        Ok(())
    }
}

/// Five publishes in a broken connection, which is mended then.
async fn publish_into(
    transport: Transport,
    cut: Cut,
    delivery: Delivery,
) -> (Vec<Result<(), bayeux::Error>>, Vec<Value>) {
    let (peer, network) = broken(cut).await;
    let sent = Sent::default();
    let builder = over(transport, &network.url()).delivery(delivery).extension(sent.clone());
    let (client, mut events) = watched(builder).await;
    peer.wait_for_messages("/meta/connect", 2).await;
    if cut == Cut::Before {
        network.stall();
    }
    let calls = publishing(&client, 0..5);
    if cut == Cut::Before {
        within(sent.0.notified()).await;
        // From there to the socket.
        tokio::time::sleep(millis(20)).await;
        network.cut();
        network.forward();
    }
    let outcomes = within(calls).await.unwrap();
    if cut == Cut::Before || transport == Transport::WebSocket {
        lost(&mut events).await;
        connected(&mut events).await;
    }
    within(client.publish("/after", &1)).await.unwrap();
    within(client.close()).await.unwrap();
    (outcomes, peer.received("/n"))
}

#[tokio::test]
async fn at_most_once_what_was_on_its_way_fails_with_its_fate_unknown_and_is_not_sent_again() {
    for transport in BOTH {
        for cut in [Cut::Before, Cut::After] {
            let (outcomes, arrived) = publish_into(transport, cut, Delivery::AtMostOnce).await;
            let arrived: Vec<_> = arrived.iter().map(|message| message["data"].as_u64().unwrap()).collect();
            assert!(arrived.windows(2).all(|pair| pair[0] < pair[1]), "{transport} {cut:?}: {arrived:?}");
            let error = outcomes[0].as_ref().unwrap_err();
            assert!(error.is_transport() && error.is_fate_unknown(), "{transport} {cut:?}: {error}");
            assert_eq!(arrived.contains(&0), cut == Cut::After);
            for (n, outcome) in outcomes.iter().enumerate() {
                match outcome {
                    Ok(()) => assert!(arrived.contains(&(n as u64)), "{n} is said to have arrived"),
                    Err(error) => assert!(error.is_fate_unknown(), "{n}: {error}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn at_least_once_what_was_on_its_way_is_sent_again_in_its_order() {
    for transport in BOTH {
        for cut in [Cut::Before, Cut::After] {
            let (outcomes, arrived) = publish_into(transport, cut, Delivery::AtLeastOnce).await;
            for outcome in outcomes {
                outcome.unwrap();
            }
            let numbers: Vec<_> = arrived.iter().map(|message| message["data"].as_u64().unwrap()).collect();
            // Those that were read before the cut, and then all of them that were not confirmed, in their order.
            let first = numbers.len() - 5;
            assert_eq!(numbers[first..], [0, 1, 2, 3, 4], "{transport} {cut:?}: {numbers:?}");
            assert!(numbers[..first].iter().copied().eq(0..first as u64), "{transport} {cut:?}: {numbers:?}");
            assert_eq!(first > 0, cut == Cut::After, "{transport} {cut:?}: {numbers:?}");
        }
    }
}

#[tokio::test]
async fn at_least_once_ends_with_the_time_of_the_call() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.name() {
            "/n" => Answer::cut(),
            _ => request.decently(),
        })
        .await;
        let builder = over(transport, &peer.url())
            .delivery(Delivery::AtLeastOnce)
            .call_timeout(millis(500))
            .retry(Backoff::exponential(millis(50)..=millis(50)));
        let (client, _events) = watched(builder).await;
        let began = Instant::now();
        let error = within(client.publish("/n", &1)).await.unwrap_err();
        assert!(began.elapsed() >= millis(400), "{:?}", began.elapsed());
        assert!(error.is_fate_unknown(), "{error}");
        let times = peer.received("/n").len();
        assert!((2..50).contains(&times), "sent {times} times");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_nothing_to_try_again() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.message("/n") {
            Some(message) => Answer::messages([Request::refusal_of(message, "403::no")]),
            None => request.decently(),
        })
        .await;
        let (client, _events) = watched(over(transport, &peer.url()).delivery(Delivery::AtLeastOnce)).await;
        let error = within(client.publish("/n", &json!(1))).await.unwrap_err();
        assert!(error.code() == Some(403) && !error.is_fate_unknown(), "{error}");
        assert_eq!(peer.received("/n").len(), 1);
        within(client.close()).await.unwrap();
    }
}
