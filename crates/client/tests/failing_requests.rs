//! Requests that fail over long-polling: the call's error has the cause, and an event is emitted when it happens.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use bayeux::{Event, FailureKind, Transport};
use bayeux_testkit::{Answer, Peer};
use fixture::*;

#[tokio::test]
async fn a_subscribe_that_fails_returns_the_cause() {
    let html = || Answer::page(200, "<html><title>Sign in</title></html>");
    let answers: [(fn() -> Answer, FailureKind); 5] = [
        (|| Answer::status(503), FailureKind::Http { status: 503 }),
        (|| Answer::status(403), FailureKind::Http { status: 403 }),
        (html, FailureKind::Malformed),
        (|| Answer::body(""), FailureKind::Malformed),
        (Answer::cut, FailureKind::Lost),
    ];
    for (answer, kind) in answers {
        let peer = Peer::decent().await;
        let builder = over(Transport::LongPolling, &peer.url()).call_timeout(millis(300));
        let client = builder.build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        peer.follow(
            move |request| {
                if request.has("/meta/subscribe") { answer() } else { request.decently() }
            },
        );
        let error = within(client.subscribe("/a")).await.unwrap_err();
        assert_eq!(error.failure().map(|failure| failure.kind()), Some(kind), "{error}");
        let told = event(&mut events, |event| matches!(event, Event::RequestFailed { .. })).await;
        let Event::RequestFailed { channel, failure, .. } = told else { unreachable!() };
        assert_eq!((channel.as_str(), failure.kind()), ("/meta/subscribe", kind));
        within(client.close()).await.unwrap();
    }
}
