//! Which transport is used, and what happens when one does not work.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bayeux::{Backoff, Event, FailureKind, Transport};
use bayeux_testkit::{Answer, FaultProxy, Peer, RequestKind, TestServer};
use fixture::*;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn kinds(peer: &Peer, kind: RequestKind) -> usize {
    peer.requests().iter().filter(|request| request.kind == kind).count()
}

#[tokio::test]
async fn case_7_a_refused_port_is_tried_again_until_it_answers_and_the_transport_stays() {
    let server = TestServer::start().await;
    let network = FaultProxy::to(server.address()).await;
    network.refuse().await;
    let retry = Backoff::exponential(millis(20)..=millis(80));
    let client = quick(&network.url()).retry(retry).retry_open(true).build().unwrap();
    let mut events = client.events();
    let opening = tokio::spawn({
        let client = client.clone();
        async move { client.open().await }
    });
    let mut delays = Vec::new();
    while delays.len() < 5 {
        let retrying = event(&mut events, |event| matches!(event, Event::Retrying { .. })).await;
        if let Event::Retrying { delay, cause, .. } = retrying {
            assert_eq!(cause.failure().unwrap().kind(), FailureKind::Unreachable);
            delays.push(delay);
        }
    }
    assert_eq!(delays, [20, 40, 80, 80, 80].map(millis));
    network.forward();
    within(opening).await.unwrap().unwrap();
    assert_eq!(client.transport(), Some(Transport::WebSocket));
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn case_8_a_refused_upgrade_moves_the_handshake_to_long_polling_at_once() {
    for status in [404, 200, 400, 426, 501] {
        let peer = Peer::start(move |request| match request.kind {
            RequestKind::Upgrade => Answer::status(status),
            _ => request.decently(),
        })
        .await;
        // A pause between attempts would show.
        let retry = Backoff::exponential(Duration::from_secs(15)..=Duration::from_secs(15));
        let client = quick(&peer.url()).retry(retry).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        assert_eq!(client.transport(), Some(Transport::LongPolling));
        let changed = event(&mut events, |event| matches!(event, Event::TransportChanged { .. })).await;
        let Event::TransportChanged { cause: Some(cause), .. } = changed else { unreachable!("{changed:?}") };
        assert_eq!(cause.http_status(), Some(status));
        assert_eq!(kinds(&peer, RequestKind::Upgrade), 1);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn case_9_an_upgrade_that_is_never_completed_costs_the_connect_timeout() {
    let peer = Peer::start(|request| match request.kind {
        RequestKind::Upgrade => Answer::silence(),
        _ => request.decently(),
    })
    .await;
    let began = Instant::now();
    let client = opened(quick(&peer.url()).connect_timeout(millis(300))).await;
    assert!(began.elapsed() >= millis(300) && began.elapsed() < Duration::from_secs(5));
    assert_eq!(client.transport(), Some(Transport::LongPolling));
    within(client.close()).await.unwrap();
    drop(client);
    peer.wait_until_idle().await;
}

#[tokio::test]
async fn case_10_a_handshake_that_vanishes_in_the_socket_costs_one_deadline() {
    let peer = Peer::start(|request| match request.kind {
        RequestKind::Upgrade => Answer::accept_and_swallow(),
        _ => request.decently(),
    })
    .await;
    let began = Instant::now();
    let client = opened(quick(&peer.url()).connect_timeout(millis(200)).request_timeout(millis(200))).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(client.transport(), Some(Transport::LongPolling));
    // The socket is gone; what is open is for long-polling.
    client.publish("/a", &1).await.unwrap();
    within(client.close()).await.unwrap();
    drop(client);
    peer.wait_until_idle().await;

    let alone = Peer::start(|_| Answer::accept_and_swallow()).await;
    let client = over(Transport::WebSocket, &alone.url())
        .connect_timeout(millis(200))
        .request_timeout(millis(200))
        .build()
        .unwrap();
    let error = within(client.open()).await.unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains(&alone.url()), "{error}");
}

#[tokio::test]
async fn case_11_a_dropped_socket_is_replaced_under_the_same_session() {
    let peer = Peer::start(|request| match request.name() {
        "/held" => Answer::silence(),
        _ => request.decently(),
    })
    .await;
    let client = over(Transport::WebSocket, &peer.url()).build().unwrap();
    let mut events = client.events();
    within(client.open()).await.unwrap();
    connected(&mut events).await;
    let calls: Vec<_> = (0..3)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.publish("/held", &n).await })
        })
        .collect();
    peer.wait_for_messages("/held", 3).await;
    peer.wait_for_messages("/meta/connect", 2).await;
    peer.cut();
    for call in calls {
        let error = within(call).await.unwrap().unwrap_err();
        assert!(error.is_transport() && error.is_fate_unknown(), "{error}");
    }
    connected(&mut events).await;
    let connects = peer.wait_for_messages("/meta/connect", 3).await;
    assert_eq!(connects[2]["advice"], json!({"timeout": 0}));
    assert_eq!(connects[2]["clientId"], connects[0]["clientId"]);
    assert_eq!(kinds(&peer, RequestKind::Upgrade), 2);
    assert_eq!(peer.received("/meta/handshake").len(), 1);
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn case_37_urls_of_all_shapes() {
    let peer = Peer::decent().await;
    let base = format!("http://{}", peer.address());
    for (url, handshake, publish) in [
        (format!("{base}/cometd"), "/cometd/handshake", "/cometd"),
        (format!("{base}/cometd/"), "/cometd/handshake", "/cometd/"),
        (format!("{base}/cometd?a=1&b=%20x"), "/cometd?a=1&b=%20x", "/cometd?a=1&b=%20x"),
        (format!("{base}/cometd#part"), "/cometd/handshake", "/cometd"),
        (base.clone(), "/handshake", "/"),
    ] {
        let before = peer.requests().len();
        let client = open(Transport::LongPolling, &url).await;
        client.publish("/a", &1).await.unwrap();
        within(client.close()).await.unwrap();
        let requests = peer.requests().split_off(before);
        let path = |name| requests.iter().find(|request| request.name() == name).unwrap().path.clone();
        assert_eq!((path("/meta/handshake").as_str(), path("/a").as_str()), (handshake, publish), "{url}");
        if !url.contains('?') {
            assert!(
                path("/meta/connect").ends_with("/connect")
                    && path("/meta/disconnect").ends_with("/disconnect")
            );
        }
        let before = peer.requests().len();
        let client = open(Transport::WebSocket, &url.replace("http://", "ws://")).await;
        within(client.close()).await.unwrap();
        assert_eq!(peer.requests()[before].path, publish, "an upgrade has no suffix");
    }
    let before = peer.requests().len();
    let client = opened(over(Transport::LongPolling, &peer.url()).message_type_in_url(false)).await;
    within(client.close()).await.unwrap();
    let posts = peer.requests().split_off(before);
    assert!(posts.iter().filter(|r| r.kind == RequestKind::Post).all(|request| request.path == "/cometd"));
}

#[tokio::test]
async fn case_37_an_ipv6_literal() {
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
        return eprintln!("this machine has no IPv6 loopback");
    };
    let address = listener.local_addr().unwrap();
    let peer = Peer::decent().await;
    let target = peer.address();
    let forwarding = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    for transport in BOTH {
        let client = open(transport, &format!("http://[::1]:{}/cometd", address.port())).await;
        client.publish("/a", &1).await.unwrap();
        within(client.close()).await.unwrap();
    }
    let hosts: Vec<_> = peer.requests().iter().filter_map(|r| r.header("host").map(str::to_owned)).collect();
    assert!(hosts.iter().all(|host| *host == format!("[::1]:{}", address.port())), "{hosts:?}");
    forwarding.abort();
}

#[tokio::test]
async fn case_40_a_thousand_publishes_take_two_requests_at_once_and_keep_their_order() {
    let peer = Peer::start(|request| match request.name() {
        "/n" => request.decently().after(millis(2)),
        _ => request.decently(),
    })
    .await;
    let client = open(Transport::LongPolling, &peer.url()).await;
    let calls = (0..1000).map(|n| {
        let client = client.clone();
        async move { client.publish("/n", &n).await }
    });
    for outcome in within(futures_util::future::join_all(calls)).await {
        outcome.unwrap();
    }
    let order: Vec<_> = peer.received("/n").iter().map(|message| message["data"].as_u64().unwrap()).collect();
    assert_eq!(order, (0..1000).collect::<Vec<_>>());
    assert_eq!(peer.most_in_flight(), 2, "one for the connect, one for all else");
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn bug_b12_request_08_a_server_that_has_nothing_but_websocket() {
    let peer = Peer::start(|request| match request.kind {
        RequestKind::Post => Answer::status(405),
        _ => request.decently(),
    })
    .await;
    let client = opened(quick(&peer.url())).await;
    assert_eq!(client.transport(), Some(Transport::WebSocket));
    assert_eq!(kinds(&peer, RequestKind::Post), 0, "the handshake goes over the preferred transport");
    assert_eq!(
        peer.received("/meta/handshake")[0]["supportedConnectionTypes"],
        json!(["websocket", "long-polling"])
    );
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn only_what_is_allowed_is_offered_and_used() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = open(transport, &peer.url()).await;
        assert_eq!(
            peer.received("/meta/handshake")[0]["supportedConnectionTypes"],
            json!([transport.as_str()])
        );
        within(client.close()).await.unwrap();
        let unused = if transport == Transport::WebSocket { RequestKind::Post } else { RequestKind::Upgrade };
        assert_eq!(kinds(&peer, unused), 0);
    }
}

#[tokio::test]
async fn bug_b14_the_first_connect_asks_to_be_answered_at_once() {
    for transport in BOTH {
        // This peer holds a connect that does not ask, as Faye does.
        let peer = Peer::decent().await;
        let client = open(transport, &peer.url()).await;
        let connects = peer.wait_for_messages("/meta/connect", 2).await;
        assert_eq!(connects[0]["advice"], json!({"timeout": 0}));
        assert_eq!(connects[1]["advice"], json!(null));
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_url_for_each_transport() {
    let socket = Peer::start(|request| match request.kind {
        RequestKind::Upgrade => Answer::status(404),
        _ => request.decently(),
    })
    .await;
    let polling = Peer::decent().await;
    let client =
        opened(quick("http://unused.invalid/").websocket_url(socket.url()).long_polling_url(polling.url()))
            .await;
    assert_eq!((kinds(&socket, RequestKind::Upgrade), kinds(&polling, RequestKind::Upgrade)), (1, 0));
    assert!(kinds(&polling, RequestKind::Post) > 0 && kinds(&socket, RequestKind::Post) == 0);
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn the_subprotocol_is_asked_for_and_must_be_granted() {
    let peer = Peer::start(|request| match request.header("sec-websocket-protocol") {
        Some(asked) if request.kind == RequestKind::Upgrade => {
            Answer::accept().header("sec-websocket-protocol", asked)
        }
        _ => request.decently(),
    })
    .await;
    let client = opened(over(Transport::WebSocket, &peer.url()).websocket_protocol("bayeux")).await;
    within(client.close()).await.unwrap();
    let ignorant = Peer::decent().await;
    let client = over(Transport::WebSocket, &ignorant.url()).websocket_protocol("bayeux").build().unwrap();
    let error = within(client.open()).await.unwrap_err();
    assert!(error.to_string().contains("subprotocol"), "{error}");
}

/// A way to a server whose connections can all die without a word, as when an address changes: new ones work.
struct Path {
    address: std::net::SocketAddr,
    /// How many connections were made.
    made: Arc<AtomicUsize>,
    /// How many of them are dead: the first ones.
    dead: Arc<AtomicUsize>,
    /// How many bytes went into dead ones.
    wasted: Arc<AtomicUsize>,
    forwarding: tokio::task::JoinHandle<()>,
}

impl Path {
    async fn to(target: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (made, dead, wasted) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let counts = (Arc::clone(&made), Arc::clone(&dead), Arc::clone(&wasted));
        let forwarding = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let nth = counts.0.fetch_add(1, Ordering::SeqCst);
                let (dead, wasted) = (Arc::clone(&counts.1), Arc::clone(&counts.2));
                connections.spawn(async move {
                    let far = TcpStream::connect(target).await.unwrap();
                    let ((mut up, mut down), (mut answers, mut requests)) =
                        (near.into_split(), far.into_split());
                    let is_dead = move || nth < dead.load(Ordering::SeqCst);
                    let dies = is_dead.clone();
                    let downwards = async move {
                        let mut buffer = vec![0; 16 * 1024];
                        while let Ok(count @ 1..) = answers.read(&mut buffer).await {
                            if !dies() {
                                down.write_all(&buffer[..count]).await.unwrap();
                            }
                        }
                    };
                    let upwards = async move {
                        let mut buffer = vec![0; 16 * 1024];
                        while let Ok(count @ 1..) = up.read(&mut buffer).await {
                            if is_dead() {
                                wasted.fetch_add(count, Ordering::SeqCst);
                            } else {
                                requests.write_all(&buffer[..count]).await.unwrap();
                            }
                        }
                    };
                    tokio::join!(upwards, downwards);
                });
            }
        });
        Self { address, made, dead, wasted, forwarding }
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    fn kill_all(&self) {
        self.dead.store(self.made(), Ordering::SeqCst);
    }

    fn wasted(&self) -> usize {
        self.wasted.load(Ordering::SeqCst)
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

/// A request has more bytes than that. What closes a connection over TLS and HTTP/2 has fewer.
const A_REQUEST: usize = 150;

#[tokio::test]
async fn no_connection_from_before_a_loss_is_used_again() {
    let server = TestServer::builder().options(holding_shortly).start().await;
    let path = Path::to(server.address()).await;
    let builder = over(Transport::LongPolling, &format!("http://{}/cometd", path.address));
    leaves_dead_connections(builder, &path, 2).await;
}

#[cfg(any(feature = "rustls-ring", feature = "rustls-aws-lc-rs"))]
#[tokio::test]
async fn no_connection_from_before_a_loss_is_used_again_over_http_2() {
    use bayeux::TlsOptions;
    use bayeux_testkit::Authority;

    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1"]);
    let server = TestServer::builder().options(holding_shortly).tls(identity).start().await;
    let path = Path::to(server.address()).await;
    let trust = TlsOptions::new().ca_pem(authority.pem().as_bytes()).unwrap().only_given_authorities();
    let builder = over(Transport::LongPolling, &format!("https://{}/cometd", path.address)).tls(trust);
    leaves_dead_connections(builder, &path, 1).await;
}

/// Held for so long that a busy machine does not take a late answer for a dead connection.
fn holding_shortly() -> bayeux_server::Builder {
    bayeux_server::Server::builder().timeout(Duration::from_secs(2))
}

async fn leaves_dead_connections(builder: bayeux::Builder, path: &Path, normal: usize) {
    let client = builder.request_timeout(Duration::from_secs(2)).build().unwrap();
    let mut events = client.events();
    within(client.open()).await.unwrap();
    connected(&mut events).await;
    for n in 0..20 {
        within(client.publish("/a", &n)).await.unwrap();
    }
    assert!(path.made() <= normal, "{} connections in normal operation", path.made());

    path.kill_all();
    lost(&mut events).await;
    // What is on its way when the loss is noticed is from before.
    let before = path.wasted();
    connected(&mut events).await;
    within(client.publish("/a", &1)).await.unwrap();
    assert!(path.wasted() < before + A_REQUEST, "{} bytes", path.wasted() - before);

    path.kill_all();
    let before = path.wasted();
    client.reconnect_now().await;
    within(client.publish("/a", &2)).await.unwrap();
    assert!(path.wasted() < before + A_REQUEST, "{} bytes", path.wasted() - before);
    within(client.close()).await.unwrap();
}
