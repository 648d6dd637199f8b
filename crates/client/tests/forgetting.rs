//! Publishing without waiting for the outcome.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use bayeux::{CallError, Client, ErrorKind, Event, Offline};
use bayeux_testkit::{Answer, Peer, Request};
use fixture::*;
use futures_util::FutureExt;
use serde_json::json;

fn failed(event: &Event) -> bool {
    matches!(event, Event::PublishFailed { .. })
}

#[tokio::test]
async fn messages_are_taken_at_once_and_arrive_in_order() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = open(transport, &peer.url()).await;
        for n in 0..500 {
            within(client.publish_and_forget("/n", &n)).await.unwrap();
        }
        within(client.publish("/after", &json!(null))).await.unwrap();
        let numbers: Vec<u64> =
            peer.received("/n").iter().map(|message| message["data"].as_u64().unwrap()).collect();
        assert!(numbers.iter().copied().eq(0..500), "{} arrived", numbers.len());
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn the_reply_is_not_waited_for_and_a_refusal_is_an_event() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.message("/n") {
            Some(message) => {
                Answer::messages([Request::refusal_of(message, "403::publish_denied")]).after(millis(200))
            }
            None => request.decently(),
        })
        .await;
        let client = open(transport, &peer.url()).await;
        let mut events = client.events();
        let began = std::time::Instant::now();
        within(client.publish_and_forget("/n", &1)).await.unwrap();
        assert!(began.elapsed() < millis(200), "{:?}", began.elapsed());
        let Event::PublishFailed { channel, error, .. } = event(&mut events, failed).await else { panic!() };
        assert_eq!(channel, "/n");
        assert_eq!(error.server_error().unwrap().code(), Some(403));
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_message_that_is_lost_on_the_way_is_an_event() {
    for transport in BOTH {
        let peer =
            Peer::start(|request| if request.has("/n") { Answer::cut() } else { request.decently() }).await;
        let client = open(transport, &peer.url()).await;
        let mut events = client.events();
        within(client.publish_and_forget("/n", &1)).await.unwrap();
        let Event::PublishFailed { error, .. } = event(&mut events, failed).await else { panic!() };
        assert!(matches!(error, CallError::Transport { fate_unknown: true, .. }), "{error}");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_refused_at_once_is_an_error_and_no_event() {
    let closed = Client::builder("http://127.0.0.1:1/").build().unwrap();
    assert_eq!(within(closed.publish_and_forget("/n", &1)).await.unwrap_err().kind(), ErrorKind::Closed);
    for transport in BOTH {
        let peer =
            Peer::start(|request| if request.has("/n") { Answer::cut() } else { request.decently() }).await;
        let client = opened(over(transport, &peer.url()).max_send_size(300).offline(Offline::Refuse)).await;
        let mut events = client.events();
        let long = "x".repeat(300);
        for (channel, data, kind) in [
            ("no channel", "", ErrorKind::Invalid),
            ("/meta/connect", "", ErrorKind::Invalid),
            ("/n/*", "", ErrorKind::Invalid),
            ("/n", long.as_str(), ErrorKind::Invalid),
        ] {
            let error = within(client.publish_and_forget(channel, data)).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
        within(client.close()).await.unwrap();
        assert_eq!(within(client.publish_and_forget("/n", &1)).await.unwrap_err().kind(), ErrorKind::Closed);
        while let Ok(Some(told)) = tokio::time::timeout(millis(50), events.next()).await {
            assert!(!failed(&told), "{told:?}");
        }
    }
}

#[tokio::test]
async fn they_count_among_the_calls_that_wait() {
    for transport in BOTH {
        let peer =
            Peer::start(|request| if request.has("/n") { Answer::silence() } else { request.decently() })
                .await;
        let client = opened(over(transport, &peer.url()).max_pending_calls(3)).await;
        for n in 0..3 {
            within(client.publish_and_forget("/n", &n)).await.unwrap();
        }
        let error = within(client.publish_and_forget("/n", &3)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    }
}

#[tokio::test]
async fn a_message_is_not_taken_back_when_its_future_is_dropped() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = open(transport, &peer.url()).await;
        let mut call = Box::pin(client.publish_and_forget("/n", &1));
        assert!(call.as_mut().now_or_never().is_none());
        drop(call);
        peer.wait_for(|request| request.has("/n")).await;
        within(client.close()).await.unwrap();
    }
}
