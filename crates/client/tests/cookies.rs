//! Cookies: one jar a client, for both transports, empty after the end.
#![allow(clippy::unwrap_used)]

mod fixture;

use bayeux::{Event, Proxy, Transport};
use bayeux_testkit::{Answer, Peer, Request};
use fixture::*;

fn cookies(request: &Request) -> Vec<String> {
    let header = request.header("cookie").unwrap_or_default();
    let mut cookies: Vec<_> = header.split("; ").filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
    cookies.sort();
    cookies
}

/// Gives each session cookies of its own, over HTTP as over the upgrade.
async fn baking() -> Peer {
    let mut sessions = 0;
    Peer::start(move |request| match request.name() {
        "/meta/handshake" if request.kind == bayeux_testkit::RequestKind::Post => {
            sessions += 1;
            request
                .decently()
                .header("set-cookie", &format!("BAYEUX_BROWSER=browser-{sessions}; Path=/; HttpOnly"))
                .header("set-cookie", "sticky=node-7; Path=/cometd")
        }
        "upgrade" => Answer::accept().header("set-cookie", "socket=yes; Path=/"),
        _ => request.decently(),
    })
    .await
}

#[tokio::test]
async fn case_34_case_35_each_client_has_a_jar_of_its_own() {
    let peer = baking().await;
    let (one, two) =
        (open(Transport::LongPolling, &peer.url()).await, open(Transport::LongPolling, &peer.url()).await);
    one.publish("/one", &1).await.unwrap();
    two.publish("/two", &2).await.unwrap();
    let of = |channel| cookies(&peer.requests().into_iter().find(|request| request.has(channel)).unwrap());
    assert_eq!(of("/one"), ["BAYEUX_BROWSER=browser-1", "sticky=node-7"]);
    assert_eq!(of("/two"), ["BAYEUX_BROWSER=browser-2", "sticky=node-7"]);
    let first = peer.requests().into_iter().find(|request| request.name() == "/meta/handshake").unwrap();
    assert!(cookies(&first).is_empty());

    within(one.close()).await.unwrap();
    let before = peer.requests().len();
    within(one.open()).await.unwrap();
    let again = peer.requests().split_off(before);
    let handshake = again.iter().find(|request| request.name() == "/meta/handshake").unwrap();
    assert!(cookies(handshake).is_empty(), "the jar is empty after a disconnect");
    within(one.close()).await.unwrap();
    within(two.close()).await.unwrap();
}

#[tokio::test]
async fn case_34_the_upgrade_carries_the_jar_and_fills_it() {
    let peer = baking().await;
    let client = open(Transport::WebSocket, &peer.url()).await;
    peer.wait_for_messages("/meta/connect", 2).await;
    peer.cut();
    let again = peer.wait_for(|request| request.name() == "upgrade" && request.nth == 1).await;
    assert_eq!(cookies(&again), ["socket=yes"]);
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn case_35_a_cookie_that_has_expired_is_removed() {
    let peer = Peer::start(|request| match request.name() {
        "/meta/handshake" => request.decently().header("set-cookie", "a=1").header("set-cookie", "b=2"),
        "/meta/subscribe" => request.decently().header("set-cookie", "a=; Max-Age=0"),
        "/x" => request.decently().header("set-cookie", "b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        _ => request.decently(),
    })
    .await;
    let client = open(Transport::LongPolling, &format!("{}?all=one", peer.url())).await;
    client.subscribe("/n").await.unwrap();
    client.publish("/x", &1).await.unwrap();
    client.publish("/y", &1).await.unwrap();
    let of = |channel| cookies(&peer.requests().into_iter().find(|request| request.has(channel)).unwrap());
    assert_eq!(of("/meta/subscribe"), ["a=1", "b=2"]);
    assert_eq!(of("/x"), ["b=2"]);
    assert!(of("/y").is_empty());
    within(client.close()).await.unwrap();
}

#[tokio::test]
async fn the_users_cookies_go_everywhere_and_stay() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = opened(over(transport, &peer.url()).cookie("mine", "1").cookie("too", "2")).await;
        within(client.close()).await.unwrap();
        within(client.open()).await.unwrap();
        within(client.close()).await.unwrap();
        let requests = peer.requests();
        let carriers = requests.iter().filter(|request| request.kind != bayeux_testkit::RequestKind::Other);
        for request in carriers {
            assert_eq!(cookies(request), ["mine=1", "too=2"], "{}", request.name());
        }
    }
}

#[tokio::test]
async fn an_invalid_cookie_is_an_error() {
    for (name, value) in [("a;b", "1"), ("", "1"), ("a", "1; Path=/x"), ("a", "1\r\nx: y"), ("a=b", "1")] {
        let error = quick("http://example.com/").cookie(name, value).build().unwrap_err();
        assert_eq!(error.kind(), bayeux::ErrorKind::Config, "{name:?}={value:?}");
    }
}

#[tokio::test]
async fn cookies_with_one_name_go_out_with_longer_paths_first() {
    for transport in BOTH {
        let peer = Peer::start(|request| {
            let answer = if request.name() == "upgrade" { Answer::accept() } else { request.decently() };
            answer
                .header("set-cookie", "S=root; Path=/")
                .header("set-cookie", "S=app; Path=/cometd")
                .header("set-cookie", "a=1; Path=/")
        })
        .await;
        for _ in 0..5 {
            let client = over(transport, &peer.url()).build().unwrap();
            let mut events = client.events();
            within(client.open()).await.unwrap();
            connected(&mut events).await;
            let before = peer.requests().len();
            peer.cut();
            connected(&mut events).await;
            let headers: Vec<_> = peer
                .requests()
                .split_off(before)
                .iter()
                .filter_map(|r| r.header("cookie").map(str::to_owned))
                .collect();
            assert!(
                !headers.is_empty() && headers.iter().all(|header| header == "S=app; S=root; a=1"),
                "{headers:?}"
            );
            within(client.close()).await.unwrap();
        }
    }
}

/// A server without TLS that knows its sessions by a cookie for TLS alone, reached through a proxy because loopback
/// addresses count as secure.
async fn insisting() -> Peer {
    Peer::start(|request| {
        let known = request.header("cookie").unwrap_or_default().contains("BAYEUX_BROWSER=1");
        match request.message("/meta/connect") {
            Some(connect) if !known => {
                Answer::messages([Request::refusal_of(connect, "402::session_unknown")])
            }
            _ => request.decently().header("set-cookie", "BAYEUX_BROWSER=1; Path=/; Secure; HttpOnly"),
        }
    })
    .await
}

#[tokio::test]
async fn a_secure_cookie_that_is_withheld_is_named() {
    let peer = insisting().await;
    let through = || Proxy::url(&format!("http://{}", peer.address())).unwrap();
    let builder = || over(Transport::LongPolling, "http://192.0.2.1/cometd").proxy(through());
    let client = builder().open_timeout(millis(500)).build().unwrap();
    let mut events = client.events();
    let error = within(client.open()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("BAYEUX_BROWSER") && text.contains("secure_cookies_over_http"), "{text}");
    let withheld = event(&mut events, |event| matches!(event, Event::CookiesWithheld { .. })).await;
    let Event::CookiesWithheld { names, .. } = withheld else { unreachable!() };
    assert_eq!(names, ["BAYEUX_BROWSER"]);

    let client = opened(builder().secure_cookies_over_http(true)).await;
    client.publish("/a", &1).await.unwrap();
    within(client.close()).await.unwrap();
}
