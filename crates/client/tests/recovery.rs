//! Back after a failure: of the server, of the link, of a part of either.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::time::{Duration, Instant};

use bayeux::{Backoff, Builder, Event, Events, FailureKind, LostCause, State, Transport};
use bayeux_server::Server;
use bayeux_testkit::{Answer, Peer, Request, RequestKind, TestServer};
use fixture::*;
use serde_json::{Value, json};

/// For a machine under load, on top of a bound that is documented.
const LEEWAY: Duration = Duration::from_secs(2);

/// All events up to the next `Connected`.
async fn until_connected(events: &mut Events) -> Vec<Event> {
    let mut told = Vec::new();
    while !matches!(told.last(), Some(Event::Connected { .. })) {
        told.push(event(events, |_| true).await);
    }
    told
}

fn place(told: &[Event], fits: impl Fn(&Event) -> bool) -> usize {
    told.iter().position(fits).unwrap_or_else(|| panic!("not told: {told:#?}"))
}

#[tokio::test]
async fn case_87_a_restarted_server_has_its_clients_back_within_the_backoff_and_a_second() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let (client, mut events) = watched(over(transport, &server.url())).await;
        client.subscribe("/a").await.unwrap();
        let mut stream = client.stream::<u32>("/b/*").await.unwrap();
        server.stop().await;
        lost(&mut events).await;
        // Long enough away for the delays to be at their cap, which is 100 ms here.
        event(&mut events, |event| matches!(event, Event::Retrying { failures: 5.., .. })).await;
        assert_eq!(client.state(), State::Unconnected);

        server.restart().await;
        let began = Instant::now();
        let told = until_connected(&mut events).await;
        server.publish("/a", "in the inbox");
        server.publish("/b/c", &7);
        assert_eq!(next(&client).await, r#""in the inbox""#);
        assert_eq!(within(stream.next()).await.unwrap().unwrap(), 7);
        assert!(began.elapsed() < millis(100) + Duration::from_secs(1), "{:?}", began.elapsed());

        let anew = place(&told, |event| matches!(event, Event::Rehandshaken));
        for name in ["/a", "/b/*"] {
            let restored = |event: &Event| matches!(event, Event::Resubscribed { channel, outcome: Ok(()), .. } if *channel == name);
            assert!(anew < place(&told, restored));
        }
        let gap = place(&told, |event| matches!(event, Event::GapPossible { .. }));
        let Event::GapPossible { channels, .. } = &told[gap] else { unreachable!() };
        assert_eq!(channels.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/a", "/b/*"]);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn ten_cuts_lose_nothing_repeat_nothing_and_keep_the_order() {
    const CUTS: u32 = 10;
    const BETWEEN: u32 = 150;
    for transport in BOTH {
        let server = TestServer::start().await;
        let (client, mut events) = watched(over(transport, &server.url())).await;
        client.subscribe("/n").await.unwrap();
        let publishing = tokio::spawn({
            let server = server.server();
            async move {
                for n in 0..(CUTS + 1) * BETWEEN {
                    server.publish("/n", &n).unwrap();
                    if n % 5 == 0 {
                        tokio::time::sleep(millis(1)).await;
                    }
                }
            }
        });
        for n in 0..(CUTS + 1) * BETWEEN {
            assert_eq!(next(&client).await, n.to_string());
            if n > 0 && n % BETWEEN == 0 && n / BETWEEN <= CUTS {
                server.network().cut();
            }
        }
        within(publishing).await.unwrap();
        assert_eq!(client.pending_count(), 0);
        assert_eq!(server.sessions().await.len(), 1, "the session is the same");
        within(client.close()).await.unwrap();
        assert_eq!(client.pending_count(), 0, "nothing came twice");

        let mut losses = 0;
        loop {
            match event(&mut events, |_| true).await {
                Event::Lost { .. } => losses += 1,
                Event::Closed(_) => break,
                told @ (Event::Rehandshaken | Event::GapPossible { .. }) => panic!("{told:?}"),
                _ => {}
            }
        }
        assert!(losses >= CUTS / 2, "only {losses} of {CUTS} cuts were felt");
    }
}

/// A peer that has three events once there is a subscription. The body with them is cut in its middle, and sent whole
/// in answer to a later connect.
async fn peer_that_cuts_a_body(ack: bool) -> Peer {
    let (mut subscribed, mut times, mut batch) = (false, 0, 0);
    Peer::start(move |request| {
        if request.kind == RequestKind::Upgrade {
            return Answer::accept();
        }
        subscribed |= request.has("/meta/subscribe");
        let mut replies = request.replies();
        let Some(connect) = request.message("/meta/connect") else {
            if ack && request.has("/meta/handshake") {
                replies[0]["ext"] = json!({"ack": true});
            }
            return Answer::messages(replies);
        };
        let asks = connect["advice"]["timeout"] == 0;
        if !asks && subscribed {
            times += 1;
        }
        if !asks && times > 2 {
            return request.decently();
        }
        if ack {
            batch += 1;
            replies[0]["ext"] = json!({"ack": batch});
        }
        if asks || !subscribed {
            return Answer::messages(replies);
        }
        let events = (1..=3).map(|n| json!({"channel": "/n", "data": n}));
        let body = Value::Array(events.chain(replies).collect()).to_string();
        match times {
            1 => Answer::cut_after(body.clone(), body.len() / 2),
            _ => Answer::body(body),
        }
    })
    .await
}

#[tokio::test]
async fn case_26_a_body_that_is_cut_in_the_middle_is_not_delivered_by_half() {
    for transport in BOTH {
        for ack in [true, false] {
            let peer = peer_that_cuts_a_body(ack).await;
            let (client, mut events) = watched(over(transport, &peer.url())).await;
            within(client.subscribe("/n")).await.unwrap();
            lost(&mut events).await;
            let told = until_connected(&mut events).await;
            // With the extension the server sends again what was in the body; without it nobody can know.
            let gap = told.iter().any(|event| matches!(event, Event::GapPossible { .. }));
            assert_eq!(gap, !ack, "{transport}: {told:?}");
            for n in 1..=3 {
                assert_eq!(next(&client).await, n.to_string(), "{transport} {ack}");
            }
            client.publish("/after", &1).await.unwrap();
            assert_eq!(client.pending_count(), 0, "each once");
            within(client.close()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn request_04_a_half_open_link_is_noticed_within_the_documented_bound() {
    // The advised timeout is long over WebSocket, so that it is the ping that notices.
    for (transport, advised, bound) in [
        (Transport::WebSocket, Duration::from_secs(30), Duration::from_secs(1) + millis(300)),
        (Transport::LongPolling, millis(700), millis(700) + millis(300)),
    ] {
        let server = TestServer::builder().options(move || Server::builder().timeout(advised)).start().await;
        let builder = over(transport, &server.url())
            .ping_interval(Duration::from_secs(1))
            .connect_timeout(millis(300))
            .request_timeout(millis(300));
        let (client, mut events) = watched(builder).await;
        client.subscribe("/a").await.unwrap();
        let stalled = Instant::now();
        server.network().stall();
        let noticed = event(&mut events, |event| matches!(event, Event::Lost { .. })).await;
        let elapsed = stalled.elapsed();
        assert!(elapsed < bound + LEEWAY, "{transport}: {elapsed:?} instead of {bound:?}");
        let Event::Lost { cause: LostCause::Transport(failure), .. } = noticed else { panic!("{noticed:?}") };
        assert_eq!(failure.kind(), FailureKind::Timeout, "{failure}");
        assert!(client.last_activity().unwrap() >= millis(300));

        server.network().forward();
        connected(&mut events).await;
        server.publish("/a", "again");
        assert_eq!(next(&client).await, r#""again""#);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn request_04_a_quiet_link_that_lives_is_not_taken_for_dead() {
    // Quiet for several times as long as it takes to notice a dead one.
    for (transport, advised) in
        [(Transport::WebSocket, Duration::from_secs(30)), (Transport::LongPolling, millis(500))]
    {
        let server = TestServer::builder().options(move || Server::builder().timeout(advised)).start().await;
        let builder = over(transport, &server.url())
            .ping_interval(Duration::from_secs(1))
            .request_timeout(Duration::from_secs(1));
        let (client, mut events) = watched(builder).await;
        let quiet = tokio::time::timeout(Duration::from_secs(3), lost(&mut events)).await;
        assert!(quiet.is_err(), "{transport}: {quiet:?}");
        assert!(client.last_activity().unwrap() < Duration::from_secs(3), "it answers all the same");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn request_08_an_established_session_leaves_a_websocket_whose_frames_vanish() {
    let peer = Peer::decent().await;
    let builder = quick(&peer.url()).connect_timeout(millis(100)).request_timeout(millis(100));
    let (client, mut events) = watched(builder).await;
    assert_eq!(client.transport(), Some(Transport::WebSocket));
    client.subscribe("/n").await.unwrap();
    // From now on something on the way lets the upgrade pass, and nothing after it.
    peer.follow(|request| match request.kind {
        RequestKind::Upgrade => Answer::accept_and_swallow(),
        _ => request.decently(),
    });
    peer.cut();
    let changed = event(&mut events, |event| matches!(event, Event::TransportChanged { .. })).await;
    let Event::TransportChanged { from, to, cause, .. } = changed else { unreachable!() };
    assert_eq!((from, to), (Transport::WebSocket, Transport::LongPolling));
    assert_eq!(cause.unwrap().kind(), FailureKind::Timeout);
    connected(&mut events).await;
    client.publish("/n", &1).await.unwrap();
    assert_eq!(peer.received("/meta/handshake").len(), 1, "the session is the same");
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn reconnect_now_makes_the_connection_anew_under_the_same_session() {
    for transport in BOTH {
        let server = TestServer::start().await;
        let (client, mut events) = watched(over(transport, &server.url())).await;
        client.subscribe("/a").await.unwrap();
        let (sessions, accepted) = (server.sessions().await, server.network().accepted());
        // The link is dead, and the user knows it long before any deadline.
        server.network().stall();
        within(client.reconnect_now()).await;
        lost(&mut events).await;
        server.network().forward();
        within(client.reconnect_now()).await;
        connected(&mut events).await;
        assert!(server.network().accepted() > accepted);
        assert_eq!(server.sessions().await, sessions);
        server.publish("/a", "here");
        assert_eq!(next(&client).await, r#""here""#);
        within(client.close()).await.unwrap();
        within(client.reconnect_now()).await;
        assert!(client.is_closed(), "a closed client stays closed");
    }
}

#[tokio::test]
async fn reconnect_now_does_not_wait_for_the_next_attempt() {
    for transport in BOTH {
        let server = TestServer::start().await;
        let hour = Duration::from_secs(3600);
        let builder = over(transport, &server.url()).retry(Backoff::exponential(hour..=hour));
        let (client, mut events) = watched(builder).await;
        server.network().refuse().await;
        server.network().cut();
        event(&mut events, |event| matches!(event, Event::Retrying { .. })).await;
        server.network().forward();
        within(client.reconnect_now()).await;
        connected(&mut events).await;
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_expires_while_the_link_is_down_is_replaced_and_the_gap_is_reported() {
    for transport in BOTH {
        let options = || Server::builder().timeout(millis(200)).max_interval(millis(200));
        let server = TestServer::builder().options(options).start().await;
        let (client, mut events) = watched(over(transport, &server.url())).await;
        client.subscribe("/a").await.unwrap();
        server.network().refuse().await;
        server.network().cut();
        lost(&mut events).await;
        within(async {
            while server.server().sessions() > 0 {
                tokio::time::sleep(millis(10)).await;
            }
        })
        .await;
        server.publish("/a", "nobody is there");
        server.network().forward();
        let told = until_connected(&mut events).await;
        let anew = place(&told, |event| matches!(event, Event::Rehandshaken));
        assert!(anew < place(&told, |event| matches!(event, Event::GapPossible { .. })));
        server.publish("/a", "again");
        assert_eq!(next(&client).await, r#""again""#);
        within(client.close()).await.unwrap();
    }
}

/// The reply to the first message of that name that comes from now on is `large`: behind a hundred events.
fn follow_with_a_large_batch(
    peer: &Peer,
    name: &'static str,
    mut large: impl FnMut(String) -> Answer + Send + 'static,
) {
    let mut done = false;
    peer.follow(move |request: &Request| {
        if request.name() == name && !std::mem::replace(&mut done, true) {
            let events = (0..100).map(|n| json!({"channel": "/n", "data": n}));
            return large(Value::Array(events.chain(request.replies()).collect()).to_string());
        }
        holding_briefly(request)
    });
}

/// As a decent server that holds connects for 200 ms.
fn holding_briefly(request: &Request) -> Answer {
    let mut replies = request.replies();
    for reply in replies.iter_mut().filter(|reply| !reply["advice"].is_null()) {
        reply["advice"]["timeout"] = json!(200);
    }
    match request.message("/meta/connect") {
        Some(connect) if connect["advice"]["timeout"] != 0 => Answer::messages(replies).after(millis(200)),
        _ if request.kind == RequestKind::Upgrade => Answer::accept(),
        _ => Answer::messages(replies),
    }
}

fn impatient(transport: Transport, peer: &Peer) -> Builder {
    over(transport, &peer.url()).ping_interval(Duration::from_secs(1)).request_timeout(millis(400))
}

#[tokio::test]
async fn case_57_request_11_a_slow_link_may_take_longer_than_any_deadline_while_bytes_arrive() {
    for (transport, name, pieces) in [
        (Transport::WebSocket, "/go", 40),
        (Transport::WebSocket, "/go", 200),
        (Transport::LongPolling, "/go", 40),
        (Transport::LongPolling, "/go", 200),
        (Transport::LongPolling, "/meta/connect", 40),
    ] {
        let peer = Peer::start(holding_briefly).await;
        let (client, mut events) = watched(impatient(transport, &peer)).await;
        client.subscribe("/n").await.unwrap();
        // Two seconds in all, whatever the pace.
        follow_with_a_large_batch(&peer, name, move |body| {
            Answer::drip(body.clone(), body.len() / pieces, millis(2000 / pieces as u64))
        });
        let began = Instant::now();
        let publishing = tokio::spawn({
            let client = client.clone();
            async move { client.publish("/go", &1).await }
        });
        for n in 0..100 {
            assert_eq!(next(&client).await, n.to_string());
        }
        assert!(began.elapsed() > Duration::from_secs(1), "it was slow: {:?}", began.elapsed());
        within(publishing).await.unwrap().unwrap();
        within(client.close()).await.unwrap();
        loop {
            match event(&mut events, |_| true).await {
                Event::Closed(_) => break,
                Event::Lost { cause, .. } => panic!("{transport} {name}: {cause}"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn case_57_once_no_more_bytes_arrive_the_deadline_counts() {
    for transport in BOTH {
        let peer = Peer::start(holding_briefly).await;
        let (client, mut events) = watched(impatient(transport, &peer)).await;
        let (mut done, mut stalled) = (false, false);
        peer.follow(move |request| {
            stalled &= request.kind != RequestKind::Upgrade;
            if request.name() == "/go" && !std::mem::replace(&mut done, true) {
                stalled = true;
                let body = Value::Array(request.replies()).to_string();
                return Answer::stall_after(body.clone(), body.len() / 2);
            }
            // Nothing comes behind half a frame: what did would be bytes that arrive.
            let behind = stalled && request.kind == RequestKind::Frame;
            if behind { Answer::silence() } else { holding_briefly(request) }
        });
        let began = Instant::now();
        let error = within(client.publish("/go", &1)).await.unwrap_err();
        assert!(error.is_timeout() && error.is_fate_unknown(), "{error}");
        let elapsed = began.elapsed();
        // The half of a frame comes after the reply to the connect before it, and puts the deadline off.
        assert!(elapsed >= millis(400) && elapsed < millis(600) + LEEWAY, "{elapsed:?}: {error}");
        if transport == Transport::WebSocket {
            // Behind half a frame nothing can come.
            lost(&mut events).await;
            connected(&mut events).await;
        }
        client.publish("/again", &1).await.unwrap();
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn case_22_a_session_that_the_server_must_have_dropped_is_not_asked_for_again() {
    for transport in BOTH {
        let peer = Peer::start(|request| {
            let mut replies = request.replies();
            let advice = json!({"reconnect": "retry", "interval": 0, "timeout": 100, "maxInterval": 200});
            if request.has("/meta/handshake") {
                replies[0]["advice"] = advice;
                return Answer::messages(replies);
            }
            match (request.message("/meta/connect"), request.nth) {
                (Some(message), 0) if message["clientId"] == "peer-0" => {
                    replies[0]["advice"] = advice;
                    Answer::messages(replies)
                }
                (Some(message), _) if message["clientId"] == "peer-0" => Answer::cut(),
                _ => request.decently(),
            }
        })
        .await;
        let client = over(transport, &peer.url()).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        event(&mut events, |event| matches!(event, Event::Rehandshaken)).await;
        connected(&mut events).await;
        assert!(peer.received("/meta/connect").len() > 2, "it was tried before");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn request_04_silence_on_long_polling_is_an_error_of_receivers() {
    let peer = Peer::decent().await;
    let builder = over(Transport::LongPolling, &peer.url());
    let client = opened(builder.outage_timeout(millis(200)).request_timeout(millis(100))).await;
    peer.follow(|_| Answer::cut());
    peer.cut();
    let error = within(client.receive()).await.unwrap_err();
    assert!(error.is_timeout() && error.is_retryable(), "{error}");
    assert!(error.to_string().contains(&peer.url()), "{error}");
    peer.follow(Request::decently);
    within(client.publish("/n", &1)).await.unwrap();
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn the_error_of_a_subscription_that_cannot_be_restored_names_its_channel() {
    for transport in BOTH {
        let peer = Peer::start(|request| match (request.name(), request.nth) {
            ("/kick", 0) => {
                let mut reply = Request::refusal_of(&request.messages[0], "402::session_unknown");
                reply["advice"] = json!({"reconnect": "handshake", "interval": 0});
                Answer::messages([reply])
            }
            ("/meta/subscribe", 1) => {
                Answer::messages([Request::refusal_of(&request.messages[0], "403::denied")])
            }
            _ => request.decently(),
        })
        .await;
        let client = open(transport, &peer.url()).await;
        client.subscribe("/n").await.unwrap();
        // Its reply says nothing of the publish, and to wait for its end would take long.
        client.publish_and_forget("/kick", &1).await.unwrap();
        let error = within(client.receive()).await.unwrap_err();
        assert_eq!(error.channel().map(bayeux::Channel::as_str), Some("/n"), "{error}");
        assert_eq!((error.code(), error.is_retryable()), (Some(403), false));
        assert!(error.to_string().contains("/n could not be restored"), "{error}");
        within(client.close()).await.unwrap();
    }
}
