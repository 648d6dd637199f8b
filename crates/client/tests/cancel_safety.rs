//! Every public future, dropped after any number of polls: nothing is lost, and the client goes on.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use bayeux::Client;
use bayeux_testkit::TestServer;
use fixture::*;
use serde_json::Value;

/// Polls a future so many times, letting all else run between, then drops it. Whether it was done before.
async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if polled {
            return true;
        }
        tokio::time::sleep(millis(1)).await;
    }
    false
}

/// The client still does all that a client does.
async fn goes_on(client: &Client) {
    within(client.subscribe("/check")).await.unwrap();
    // Through the client itself, so that a connection that is being made anew is waited for.
    within(client.publish("/check", "mark")).await.unwrap();
    while next(client).await != r#""mark""# {}
    assert_eq!(within(client.request::<u32>("/service/echo", &7)).await.unwrap(), 7);
}

#[tokio::test]
async fn calls_can_be_dropped_at_every_point() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        for polls in 0..12 {
            dropped_after(polls, client.publish("/a", &1)).await;
            dropped_after(polls, client.request::<Value>("/service/echo", &1)).await;
            dropped_after(polls, client.batch(|batch| batch.publish("/a", &1))).await;
            dropped_after(polls, client.subscribe("/s")).await;
            dropped_after(polls, client.unsubscribe("/s")).await;
            dropped_after(polls, client.stream::<Value>("/t")).await;
            dropped_after(polls, client.messages("/t")).await;
            dropped_after(polls, client.snapshot()).await;
            goes_on(&client).await;
        }
        // A stream that was given up is no subscription.
        within(async {
            while client.subscriptions().iter().any(|channel| channel == "/t") {
                tokio::time::sleep(millis(1)).await;
            }
        })
        .await;
        for polls in 0..12 {
            dropped_after(polls, client.reconnect_now()).await;
            goes_on(&client).await;
        }
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn open_and_close_can_be_dropped_at_every_point() {
    let server = TestServer::start().await;
    for transport in BOTH {
        for polls in 0..20 {
            let client = over(transport, &server.url()).build().unwrap();
            let done = dropped_after(polls, client.open()).await;
            if !done {
                within(async {
                    while !client.is_closed() {
                        tokio::time::sleep(millis(1)).await;
                    }
                })
                .await;
                within(client.open()).await.unwrap();
            }
            goes_on(&client).await;
            dropped_after(polls, client.close()).await;
            within(client.close()).await.unwrap();
            within(client.open()).await.unwrap();
            goes_on(&client).await;
            within(client.close()).await.unwrap();
            let scope = client.run(async |client| client.publish("/a", &1).await);
            dropped_after(polls, scope).await;
        }
    }
}

#[tokio::test]
async fn bug_b06_no_message_is_lost_to_a_receive_that_is_dropped() {
    const MESSAGES: u64 = 1000;
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        client.subscribe("/n").await.unwrap();
        let mut stream = client.stream::<u64>("/n").await.unwrap();
        let publishing = async {
            for n in 0..MESSAGES {
                server.publish("/n", &n);
                if n % 10 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let receiving = async {
            let mut got = Vec::new();
            while got.len() < MESSAGES as usize {
                // Given up nearly every time, before it is polled, after, or by a race that others win.
                dropped_after(0, client.receive()).await;
                tokio::select! {
                    biased;
                    () = tokio::task::yield_now() => {}
                    message = client.receive() => got.push(message.unwrap().data().decode::<u64>().unwrap()),
                }
                if got.len() % 2 == 1
                    && let Ok(message) = tokio::time::timeout(millis(1), client.next()).await
                {
                    got.push(message.unwrap().unwrap().data().decode().unwrap());
                }
            }
            got
        };
        let ((), got) = within(async { tokio::join!(publishing, receiving) }).await;
        assert_eq!(got, (0..MESSAGES).collect::<Vec<_>>());
        for n in 0..MESSAGES {
            dropped_after(0, stream.next()).await;
            assert_eq!(within(stream.next()).await.unwrap().unwrap(), n);
        }
        within(client.close()).await.unwrap();
    }
}
