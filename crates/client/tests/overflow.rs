//! Receivers that do not keep up: each policy does what it says, and nobody else feels it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::time::{Duration, Instant};

use bayeux::{Channel, Client, ErrorKind, Event, Events, Overflow, State, Transport};
use bayeux_server::{Server, ServiceError};
use bayeux_testkit::{Peer, TestServer};
use fixture::*;
use serde_json::json;

const ALL: [Overflow; 4] = [Overflow::DropOldest, Overflow::DropNewest, Overflow::Close, Overflow::Pause];

/// How many messages `SlowConsumer` told to be dropped until the client was closed, for each receiver.
async fn dropped(events: &mut Events) -> Vec<(Option<Channel>, u64)> {
    let mut told: Vec<(Option<Channel>, u64)> = Vec::new();
    loop {
        match event(events, |_| true).await {
            Event::SlowConsumer { channel, dropped, .. } => {
                match told.iter_mut().find(|(known, _)| *known == channel) {
                    Some((_, sum)) => *sum += dropped,
                    None => told.push((channel, dropped)),
                }
            }
            told @ (Event::EventsMissed(_) | Event::Lost { .. } | Event::GapPossible { .. }) => {
                panic!("{told:?}")
            }
            Event::Closed(_) => return told,
            _ => {}
        }
    }
}

/// All that was published before has come to the client.
async fn all_has_come(client: &Client, server: &TestServer) {
    let mut last = within(client.with_stream_queue(5, Overflow::DropOldest).messages("/last")).await.unwrap();
    server.publish("/last", &1);
    within(last.next()).await.unwrap().unwrap();
}

/// What the inbox has, to its end.
async fn rest(client: &Client) -> Vec<String> {
    let mut rest = Vec::new();
    while let Some(item) = within(client.next()).await {
        rest.push(
            item.map_or_else(|error| format!("{:?}", error.kind()), |message| message.data().to_string()),
        );
    }
    rest
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn each_policy_keeps_its_messages_and_the_dropped_ones_are_reported() {
    for transport in BOTH {
        for (overflow, kept, lost) in [
            (Overflow::DropOldest, numbers(90..100), 90),
            (Overflow::DropNewest, numbers(0..10), 90),
            // What comes after the end is dropped, too.
            (Overflow::Close, [numbers(0..10), vec![format!("{:?}", ErrorKind::Overflow)]].concat(), 90),
        ] {
            let server = TestServer::start().await;
            let client = over(transport, &server.url()).inbox(10, overflow).build().unwrap();
            let mut events = client.events();
            within(client.open()).await.unwrap();
            client.subscribe("/n").await.unwrap();
            let mut stream = client.with_stream_queue(10, overflow).stream::<u32>("/*").await.unwrap();
            for n in 0..100 {
                server.publish("/n", &n);
            }
            // It goes to the stream of all channels, too.
            all_has_come(&client, &server).await;
            assert!(client.pending_count() <= 10);
            assert_eq!(client.state(), State::Connected);
            within(client.close()).await.unwrap();
            assert_eq!(rest(&client).await, kept, "{transport} {overflow:?}");

            let mut streamed = Vec::new();
            while let Some(item) = within(stream.next()).await {
                streamed.push(item.map_or_else(|error| format!("{:?}", error.kind()), |n| n.to_string()));
            }
            let kept = match overflow {
                Overflow::DropOldest => [numbers(91..100), numbers(1..2)].concat(),
                _ => kept,
            };
            assert_eq!(streamed, kept, "{transport} {overflow:?}");
            let mut told = dropped(&mut events).await;
            told.sort_by_key(|(channel, _)| channel.is_some());
            assert_eq!(told, [(None, lost), (Some("/*".parse().unwrap()), lost + 1)], "{overflow:?}");
        }
    }
}

#[tokio::test]
async fn whatever_a_slow_reader_misses_is_counted() {
    const MESSAGES: u32 = 3000;
    for transport in BOTH {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
            let server = TestServer::start().await;
            let client = over(transport, &server.url()).inbox(20, overflow).build().unwrap();
            let mut events = client.events();
            within(client.open()).await.unwrap();
            client.subscribe("/n").await.unwrap();
            let counting = tokio::spawn(async move { dropped(&mut events).await });
            let publishing = tokio::spawn({
                let server = server.server();
                async move {
                    for n in 0..MESSAGES {
                        server.publish("/n", &n).unwrap();
                        if n % 50 == 0 {
                            tokio::time::sleep(millis(1)).await;
                        }
                    }
                }
            });
            let mut got: Vec<u32> = Vec::new();
            while !publishing.is_finished() {
                if let Ok(message) = tokio::time::timeout(millis(1), client.receive()).await {
                    got.push(message.unwrap().data().decode().unwrap());
                    tokio::task::yield_now().await;
                }
            }
            all_has_come(&client, &server).await;
            within(client.close()).await.unwrap();
            got.extend(rest(&client).await.iter().map(|n| n.parse::<u32>().unwrap()));
            assert!(got.is_sorted() && got.windows(2).all(|pair| pair[0] != pair[1]), "in order, each once");
            let lost: u64 = within(counting).await.unwrap().iter().map(|(_, lost)| lost).sum();
            assert!(lost > 0, "it was too fast to be slow");
            assert_eq!(got.len() as u64 + lost, u64::from(MESSAGES), "{transport} {overflow:?}");
        }
    }
}

#[tokio::test]
async fn large_messages_do_not_pile_up_before_their_reader_has_its_turn() {
    const MESSAGES: usize = 100;
    let text = "x".repeat(64 * 1024);
    let peer = Peer::decent().await;
    let client = open(Transport::WebSocket, &peer.url()).await;
    client.subscribe("/n").await.unwrap();
    // In a task of its own, for which the runtime has turns, unlike for what it is started with.
    let reading = tokio::spawn(async move {
        let mut most = 0;
        for _ in 0..MESSAGES {
            within(client.receive()).await.unwrap();
            most = most.max(client.pending_count());
        }
        most
    });
    for _ in 0..MESSAGES {
        peer.push([json!({"channel": "/n", "data": text})]);
    }
    let most = within(reading).await.unwrap();
    assert!(most <= 8, "{most} waited at a time");
}

/// Keeps sessions for a second, and tells so.
fn strict_server() -> bayeux_server::Builder {
    Server::builder()
        .timeout(millis(200))
        .max_interval(Duration::from_secs(1))
        .handshake_reconnect(true)
        .service("/service/echo", |request| async move { Ok::<_, ServiceError>(Some(request.data)) })
}

async fn a_full_queue_delays_nothing_else(transport: Transport, overflow: Overflow) {
    let server = TestServer::builder().options(strict_server).start().await;
    let builder = over(transport, &server.url()).inbox(3, overflow).request_timeout(Duration::from_secs(5));
    let client = builder.build().unwrap();
    let mut events = client.events();
    within(client.open()).await.unwrap();
    client.subscribe("/full").await.unwrap();
    let _full = client.with_stream_queue(3, overflow).stream::<u32>("/full").await.unwrap();
    let mut other = client.stream::<u32>("/other").await.unwrap();
    for n in 0..10 {
        server.publish("/full", &n);
    }
    // Longer than the session is kept without connects.
    let began = Instant::now();
    let mut n = 0;
    while began.elapsed() < millis(1800) {
        // From the task that would have to make room.
        within(client.publish("/other", &n)).await.unwrap();
        assert_eq!(within(client.request::<u32>("/service/echo", &n)).await.unwrap(), n);
        assert_eq!(within(other.next()).await.unwrap().unwrap(), n);
        n += 1;
    }
    // Late by half of what the session is kept for, when the other receiver asks for a pause; else at once.
    let least = if overflow == Overflow::Pause { 3 } else { 10 };
    assert!(n >= least, "{transport} {overflow:?}: only {n} rounds");
    assert_eq!(client.state(), State::Connected);
    assert_eq!(server.sessions().await.len(), 1);
    within(client.subscribe("/more")).await.unwrap();
    within(client.unsubscribe("/more")).await.unwrap();
    within(client.close()).await.unwrap();
    let told = dropped(&mut events).await;
    assert_eq!(told.is_empty(), overflow == Overflow::Pause, "{told:?}");
}

#[tokio::test]
async fn request_12_a_full_queue_delays_no_reply_no_connect_and_no_other_stream() {
    let all = BOTH.into_iter().flat_map(|transport| ALL.map(|overflow| (transport, overflow)));
    let all = all.map(|(transport, overflow)| a_full_queue_delays_nothing_else(transport, overflow));
    futures_util::future::join_all(all).await;
}

#[tokio::test]
async fn request_12_pause_brings_five_thousand_messages_through_a_queue_of_ten() {
    const MESSAGES: u32 = 5000;
    for transport in BOTH {
        // Small replies, because each is sent again until all of it has found room.
        let server = TestServer::builder().options(|| strict_server().max_reply_bytes(2048)).start().await;
        let client = over(transport, &server.url()).inbox(10, Overflow::Pause).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        client.subscribe("/n").await.unwrap();
        for n in 0..MESSAGES {
            server.publish("/n", &n);
        }
        for n in 0..MESSAGES {
            if n % 1000 == 999 {
                // Longer than the session is kept without connects.
                tokio::time::sleep(millis(1100)).await;
            }
            assert!(client.pending_count() <= 10);
            assert_eq!(next(&client).await, n.to_string());
        }
        assert_eq!(server.sessions().await.len(), 1);
        within(client.close()).await.unwrap();
        assert_eq!(client.pending_count(), 0);
        assert!(dropped(&mut events).await.is_empty());
    }
}

#[tokio::test]
async fn pause_without_the_acknowledge_extension_drops_the_newest_and_reports_them() {
    for transport in BOTH {
        let server = TestServer::builder().options(|| strict_server().acknowledgements(false)).start().await;
        let client = over(transport, &server.url()).inbox(10, Overflow::Pause).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        client.subscribe("/n").await.unwrap();
        for n in 0..100 {
            server.publish("/n", &n);
        }
        all_has_come(&client, &server).await;
        within(client.close()).await.unwrap();
        assert_eq!(rest(&client).await, numbers(0..10));
        assert_eq!(dropped(&mut events).await, [(None, 90)]);
    }
}

#[tokio::test]
async fn a_stream_that_its_policy_closed_does_not_end_the_client() {
    for transport in BOTH {
        let server = TestServer::start().await;
        let client = open(transport, &server.url()).await;
        let mut small = client.with_stream_queue(2, Overflow::Close).stream::<u32>("/n").await.unwrap();
        let mut large = client.stream::<u32>("/n").await.unwrap();
        for n in 0..5 {
            server.publish("/n", &n);
        }
        for n in 0..5 {
            assert_eq!(within(large.next()).await.unwrap().unwrap(), n);
        }
        assert_eq!(within(small.next()).await.unwrap().unwrap(), 0);
        assert_eq!(within(small.next()).await.unwrap().unwrap(), 1);
        let error = within(small.next()).await.unwrap().unwrap_err();
        assert_eq!(error.channel().map(Channel::as_str), Some("/n"));
        assert!(
            error.is_overflow()
                && !error.is_closed()
                && error.to_string().contains("the queue of /n was full"),
            "{error}"
        );
        assert!(within(small.next()).await.is_none());
        drop(small);
        let mut again = client.stream::<u32>("/n").await.unwrap();
        server.publish("/n", &5);
        assert_eq!(within(again.next()).await.unwrap().unwrap(), 5);
        assert_eq!(within(large.next()).await.unwrap().unwrap(), 5);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn the_limit_in_bytes_counts_next_to_the_limit_in_messages() {
    for transport in BOTH {
        let server = TestServer::start().await;
        let builder = over(transport, &server.url()).inbox_bytes(50).stream_queue_bytes(30);
        let client = opened(builder).await;
        client.subscribe("/n").await.unwrap();
        let mut stream = client.messages("/n").await.unwrap();
        let mut narrow = client.with_stream_queue_bytes(10).messages("/n").await.unwrap();
        let mut single = client.with_stream_queue_bytes(0).messages("/n").await.unwrap();
        for n in 0..10 {
            // Ten bytes with the quotes.
            server.publish("/n", &format!("text-00{n}"));
        }
        all_has_come(&client, &server).await;
        within(client.close()).await.unwrap();
        assert_eq!(rest(&client).await.len(), 5, "{transport}");
        for (stream, messages) in [(&mut stream, 3), (&mut narrow, 1), (&mut single, 1)] {
            let mut last = String::new();
            for _ in 0..messages {
                last = within(stream.next()).await.unwrap().unwrap().data().to_string();
            }
            assert_eq!(last, "\"text-009\"", "{transport}");
            assert!(within(stream.next()).await.is_none());
        }
    }
}
