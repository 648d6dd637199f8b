//! Every public future, dropped at every point at which it waits: what its documentation says of that holds, and the
//! client goes on.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bayeux::{Client, Error, Event, State, Transport};
use bayeux_testkit::{Answer, Peer, Request, RequestKind, TestServer};
use fixture::*;
use futures_util::FutureExt;
use serde_json::{Value, json};

/// More waits than any future has.
const ENDLESS: usize = 200;

/// Where a future is dropped.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// After so many polls.
    polls: usize,
    /// Not at once then, but when it has been woken: what it waits for has happened, and it has not looked yet.
    woken: bool,
}

/// All points, in the order in which a future comes to them.
fn points() -> impl Iterator<Item = Point> {
    let both = |polls| [Point { polls, woken: false }, Point { polls, woken: true }];
    // A future that was not polled is not woken.
    (0..ENDLESS).flat_map(both).filter(|point| point.polls > 0 || !point.woken)
}

/// Polls a future as an executor does, that is when it asked for it, up to a point at which it is dropped. Its outcome,
/// if it came to that before.
async fn until<F: Future>(point: Point, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = point.polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if left == 0 && !point.woken => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Drops what `future` makes at every point at which it waits, each time with a look at what that left behind, until
/// it is done before it is dropped. How many points that were.
async fn at_every_point<T>(
    mut future: impl AsyncFnMut(Point) -> Option<T>,
    mut afterwards: impl AsyncFnMut(Point),
) -> usize {
    for (dropped, point) in points().enumerate() {
        let done = within(future(point)).await.is_some();
        afterwards(point).await;
        if done {
            return dropped;
        }
    }
    panic!("after {ENDLESS} polls it is not done");
}

/// A client with room for one call, so that one that is left pending would show.
async fn narrow(transport: Transport, peer: &Peer) -> Client {
    opened(over(transport, &peer.url()).max_pending_calls(1)).await
}

/// The client does what clients do, and has room for a call.
async fn goes_on(client: &Client) {
    // A call whose caller went away after it was sent is pending until its reply has come.
    within(async {
        while let Err(error) = client.publish("/mark", &1).await {
            assert_eq!(error.kind(), bayeux::ErrorKind::Busy, "{error}");
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.state(), State::Connected);
}

async fn comes_true(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(millis(1)).await;
        }
    })
    .await;
}

/// With yet another point at which it is dropped: when it takes too long.
async fn briefly<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::time::timeout(millis(1), future).await.ok().flatten()
}

fn names(client: &Client) -> Vec<String> {
    client.subscriptions().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn publish_request_and_batch_arrive_once_or_not_at_all() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.message("/service/echo") {
            Some(message) => {
                let answer = json!({"channel": "/service/echo", "id": message["id"], "data": 1});
                Answer::messages([Request::reply_to(message), answer])
            }
            None => request.decently(),
        })
        .await;
        let client = opened(over(transport, &peer.url()).max_pending_calls(2)).await;
        let goes_on = async |_: Point| goes_on(&client).await;
        let published =
            at_every_point(async |p| until(p, client.publish("/a", &json!(p.polls))).await, goes_on).await;
        at_every_point(async |p| until(p, client.publish_binary("/b", vec![p.polls as u8])).await, goes_on)
            .await;
        at_every_point(async |p| until(p, client.request::<Value>("/service/echo", &1)).await, goes_on).await;
        let batch = async |p| {
            let both = client.batch(|batch| {
                batch.publish("/c", &1)?;
                batch.publish("/d", &1)
            });
            until(p, both).await
        };
        at_every_point(batch, goes_on).await;
        assert!(published >= 2, "it waits at least once");
        // Taken back before it was sent, or carried out once; those of a batch together.
        for (name, most) in [("/a", published + 1), ("/b", ENDLESS), ("/service/echo", ENDLESS)] {
            let count = peer.received(name).len();
            assert!((1..=most).contains(&count), "{count} of {most} on {name}");
        }
        assert_eq!(peer.received("/c").len(), peer.received("/d").len());
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_publish_that_is_dropped_before_it_is_sent_is_taken_back() {
    for transport in BOTH {
        let server = TestServer::start().await;
        let client = opened(over(transport, &server.url()).max_pending_calls(1)).await;
        client.subscribe("/n").await.unwrap();
        let mut events = client.events();
        server.network().refuse().await;
        server.network().cut();
        event(&mut events, |event| matches!(event, Event::Retrying { .. })).await;
        // Offline it waits, and takes the one place there is.
        for n in 0..20 {
            let mut waiting = Box::pin(client.publish("/n", &n));
            assert!(tokio::time::timeout(millis(5), &mut waiting).await.is_err());
            let busy = client.publish("/n", &n).await.unwrap_err();
            assert_eq!(busy.kind(), bayeux::ErrorKind::Busy, "{busy}");
        }
        server.network().forward();
        connected(&mut events).await;
        within(client.publish("/n", "the only one")).await.unwrap();
        assert_eq!(next(&client).await, r#""the only one""#);
        assert_eq!(client.pending_count(), 0);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn subscribe_leaves_the_subscription_as_it_comes_and_unsubscribe_takes_it_back() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = narrow(transport, &peer).await;
        at_every_point(
            async |p| until(p, client.subscribe("/s")).await,
            async |p| {
                goes_on(&client).await;
                match within(client.unsubscribe("/s")).await {
                    Ok(()) => assert!(p.polls > 0),
                    Err(error) => assert!(error.to_string().contains("not subscribed"), "{error}"),
                }
                assert!(names(&client).is_empty(), "{p:?}");
            },
        )
        .await;
        at_every_point(
            async |p| {
                within(client.subscribe("/s")).await.unwrap();
                until(p, client.unsubscribe("/s")).await
            },
            async |p| {
                if p.polls > 0 {
                    comes_true(|| names(&client).is_empty()).await;
                }
                goes_on(&client).await;
            },
        )
        .await;
        within(client.close()).await.unwrap();
        // What the server knows is what the client says.
        assert!(peer.received("/meta/subscribe").len() >= peer.received("/meta/unsubscribe").len());
    }
}

#[tokio::test]
async fn a_stream_that_is_given_up_is_no_subscription() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = narrow(transport, &peer).await;
        let gone = async |_: Point| {
            comes_true(|| names(&client).is_empty()).await;
            goes_on(&client).await;
        };
        at_every_point(async |p| until(p, client.stream::<Value>("/t")).await.map(drop), gone).await;
        at_every_point(async |p| until(p, client.messages("/t")).await.map(drop), gone).await;
        at_every_point(async |p| until(p, client.binaries("/t")).await.map(drop), gone).await;
        comes_true(|| peer.received("/meta/subscribe").len() == peer.received("/meta/unsubscribe").len())
            .await;
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn an_open_that_is_given_up_leaves_a_closed_client() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = over(transport, &peer.url()).build().unwrap();
        let points = at_every_point(
            async |p| until(p, client.open()).await,
            async |p| {
                if p.polls > 1 && !client.is_closed() {
                    return;
                }
                comes_true(|| client.is_closed()).await;
                within(client.open()).await.unwrap();
                goes_on(&client).await;
                assert!(client.receive().now_or_never().is_none(), "{p:?}: a receiver waits");
                within(client.close()).await.unwrap();
            },
        )
        .await;
        assert!(points >= 2);
        within(client.close()).await.unwrap();
        drop(client);
        peer.wait_until_idle().await;
    }
}

#[tokio::test]
async fn an_open_is_given_up_at_every_stage_of_the_handshake() {
    for transport in BOTH {
        for stage in ["upgrade", "/meta/handshake", "/meta/connect"] {
            if transport == Transport::LongPolling && stage == "upgrade" {
                continue;
            }
            let peer = Peer::start(move |request| match request.name() {
                name if name == stage && request.nth == 0 => Answer::silence(),
                _ => request.decently(),
            })
            .await;
            let client = over(transport, &peer.url()).build().unwrap();
            let reached = peer.wait_for(|request| request.name() == stage);
            tokio::select! {
                opened = client.open() => panic!("{opened:?}"),
                _ = reached => {}
            }
            comes_true(|| client.is_closed()).await;
            peer.wait_until_idle().await;
            within(client.open()).await.unwrap();
            goes_on(&client).await;
            within(client.close()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_resume_that_is_given_up_leaves_the_snapshot_good() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        client.subscribe("/n").await.unwrap();
        let mut snapshot = within(client.suspend()).await.unwrap();
        for point in points() {
            let resumed = within(until(point, client.resume(&snapshot))).await;
            if resumed.is_none() {
                comes_true(|| client.is_closed()).await;
                within(client.resume(&snapshot)).await.unwrap();
                assert_eq!(client.subscriptions().len(), 1);
            }
            server.publish("/n", &point.polls);
            assert_eq!(next(&client).await, point.polls.to_string(), "{point:?}");
            if let Some(outcome) = resumed {
                outcome.unwrap();
                break;
            }
            snapshot = within(client.suspend()).await.unwrap();
        }
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_changes_nothing_and_a_suspension_leaves_or_does_not() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = narrow(transport, &peer).await;
        let goes_on_open = async |_: Point| goes_on(&client).await;
        at_every_point(async |p| until(p, client.snapshot()).await, goes_on_open).await;
        at_every_point(
            async |p| until(p, client.suspend()).await,
            async |p| {
                if p.polls > 0 {
                    // Let the wish be carried out, or not.
                    tokio::time::sleep(millis(20)).await;
                }
                if client.is_closed() {
                    within(client.open()).await.unwrap();
                }
                goes_on(&client).await;
            },
        )
        .await;
        assert!(peer.received("/meta/disconnect").is_empty(), "nobody said goodbye");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_close_that_is_given_up_is_carried_out() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = open(transport, &peer.url()).await;
        at_every_point(
            async |p| until(p, client.close()).await,
            async |p| {
                if p.polls == 0 {
                    return goes_on(&client).await;
                }
                comes_true(|| client.is_closed()).await;
                within(client.open()).await.unwrap();
                goes_on(&client).await;
            },
        )
        .await;
        within(client.close()).await.unwrap();
        let sessions = peer.received("/meta/handshake").len();
        assert_eq!(peer.received("/meta/disconnect").len(), sessions, "the server was told each time");
    }
}

#[tokio::test]
async fn a_scope_that_is_given_up_cuts_the_connection_of_the_last_handle() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        for point in points() {
            let client = over(transport, &peer.url()).build().unwrap();
            let scope = client.run(async |client| client.publish("/a", &1).await);
            let done = within(until(point, scope)).await;
            drop(client);
            peer.wait_until_idle().await;
            if let Some(outcome) = done {
                outcome.unwrap();
                break;
            }
        }
        assert!(!peer.received("/a").is_empty() && !peer.received("/meta/disconnect").is_empty());
    }
}

#[tokio::test]
async fn reconnect_now_is_carried_out_once_it_was_polled() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = narrow(transport, &peer).await;
        let mut events = client.events();
        assert!(until(Point { polls: 0, woken: false }, client.reconnect_now()).await.is_none());
        goes_on(&client).await;
        assert!(events.next().now_or_never().is_none(), "nothing happened");
        at_every_point(
            async |p| until(p, client.reconnect_now()).await,
            async |p| {
                if p.polls > 0 {
                    lost(&mut events).await;
                    connected(&mut events).await;
                }
                goes_on(&client).await;
            },
        )
        .await;
        within(client.close()).await.unwrap();
    }
}

/// What wants a place in the channel to the driver, which has none.
#[tokio::test]
async fn what_waits_for_the_driver_can_be_dropped_too() {
    // How many commands wait at most; more are not there before the driver has its turn, on this one thread.
    const COMMANDS: usize = 1024;
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = opened(over(transport, &peer.url())).await;
        let crowd = || {
            let mut crowd: Vec<_> = (0..COMMANDS).map(|n| Box::pin(publish(&client, n))).collect();
            for call in &mut crowd {
                assert!(call.as_mut().now_or_never().is_none());
            }
            crowd
        };
        let first = Point { polls: 1, woken: false };
        let calls = crowd();
        assert!(until(first, client.publish("/never", &1)).await.is_none());
        assert!(until(first, client.request::<Value>("/service/never", &1)).await.is_none());
        assert!(until(first, client.batch(|batch| batch.publish("/never", &1))).await.is_none());
        assert!(until(first, client.subscribe("/never")).await.is_none());
        assert!(until(first, client.stream::<Value>("/never")).await.is_none());
        assert!(until(first, client.snapshot()).await.is_none());
        assert!(until(first, client.suspend()).await.is_none());
        assert!(until(first, client.close()).await.is_none());
        for outcome in within(futures_util::future::join_all(calls)).await {
            outcome.unwrap();
        }
        // It was not asked for what found no place.
        goes_on(&client).await;
        assert!(peer.received("/never").is_empty() && peer.received("/service/never").is_empty());
        assert!(names(&client).is_empty());
        assert_eq!(peer.received("/crowd").len(), COMMANDS);

        // All of a crowd is given up: what found a place is taken back if there is time to, and nothing is left over.
        drop(crowd());
        goes_on(&client).await;
        within(client.close()).await.unwrap();
    }
}

async fn publish(client: &Client, n: usize) -> Result<(), Error> {
    client.publish("/crowd", &n).await.map(drop)
}

#[tokio::test]
async fn bug_b06_no_message_is_lost_to_a_receive_that_is_dropped() {
    const MESSAGES: u32 = 3000;
    for transport in BOTH {
        let server = TestServer::start().await;
        let client = open(transport, &server.url()).await;
        client.subscribe("/n").await.unwrap();
        let mut stream = client.stream::<u32>("/n").await.unwrap();
        let publishing = tokio::spawn({
            let server = server.server();
            async move {
                for n in 0..MESSAGES {
                    server.publish("/n", &n).unwrap();
                    if n % 7 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
        let mut dropped = 0;
        let (mut inbox, mut own) = (Vec::new(), Vec::new());
        within(async {
            for turn in 0.. {
                if inbox.len() + own.len() == 2 * MESSAGES as usize {
                    break;
                }
                // Not polled, dropped at once when it waits, dropped when it was woken, and taken.
                let point = Point { polls: [0, 1, 1, 2][turn % 4], woken: turn % 4 == 2 };
                let message = if turn % 8 < 4 {
                    briefly(until(point, client.receive())).await
                } else {
                    briefly(until(point, client.next())).await.map(Option::unwrap)
                };
                match message {
                    Some(message) => inbox.push(message.unwrap().data().decode::<u32>().unwrap()),
                    None => dropped += 1,
                }
                match briefly(until(point, stream.next())).await {
                    Some(item) => own.push(item.unwrap().unwrap()),
                    None => dropped += 1,
                }
            }
        })
        .await;
        publishing.await.unwrap();
        assert!(dropped > 100, "only {dropped} were dropped");
        assert_eq!(inbox, (0..MESSAGES).collect::<Vec<_>>());
        assert_eq!(own, (0..MESSAGES).collect::<Vec<_>>());
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn no_event_is_lost_to_a_next_that_is_dropped() {
    let peer = Peer::decent().await;
    let client = over(Transport::WebSocket, &peer.url()).build().unwrap();
    let (mut patient, mut hasty) = (client.events(), client.events());
    for _ in 0..20 {
        within(client.open()).await.unwrap();
        within(client.close()).await.unwrap();
    }
    drop(client);
    let (mut all, mut seen) = (Vec::new(), Vec::new());
    while let Some(event) = within(patient.next()).await {
        all.push(format!("{event:?}"));
    }
    for turn in 0.. {
        if let Some(next) = within(until(Point { polls: turn % 3, woken: false }, hasty.next())).await {
            match next {
                Some(event) => seen.push(format!("{event:?}")),
                None => break,
            }
        }
    }
    assert_eq!(seen, all);
    assert!(all.len() >= 40);
    assert_eq!(peer.requests().iter().filter(|request| request.kind == RequestKind::Upgrade).count(), 20);
}
