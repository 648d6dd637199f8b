//! Nothing is left behind: no task, no socket, no memory that grows.
#![allow(clippy::unwrap_used)]

mod fixture;

use bayeux::ConnectionType;
use bayeux_testkit::{Answer, Peer};
use fixture::*;

/// Waits until no more tasks are alive than before.
async fn tasks_are_back_to(before: usize) {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    within(async {
        while alive() > before {
            tokio::time::sleep(millis(5)).await;
        }
    })
    .await;
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn case_53_nothing_is_left_after_a_drop_with_calls_in_flight() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.name() {
            "/held" => Answer::silence(),
            _ => request.decently(),
        })
        .await;
        let before = tasks();
        let client = open(transport, &peer.url()).await;
        let stream = client.stream::<u32>("/n").await.unwrap();
        let calls: Vec<_> = (0..5)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move { client.publish("/held", &n).await })
            })
            .collect();
        peer.wait_for(|request| request.name() == "/held").await;
        drop((client, stream));
        assert!(peer.open_connections() > 0, "the calls keep the client alive");
        for call in &calls {
            call.abort();
        }
        peer.wait_until_idle().await;
        drop(calls);
        tasks_are_back_to(before).await;
    }
}

#[tokio::test]
async fn no_socket_is_left_after_close_while_the_handle_lives_and_no_task_after_it() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let before = tasks();
        let client = open(transport, &peer.url()).await;
        client.publish("/a", &1).await.unwrap();
        within(client.close()).await.unwrap();
        peer.wait_until_idle().await;
        drop(client);
        tasks_are_back_to(before).await;
    }
}

#[tokio::test]
async fn bug_b04_a_failed_open_leaves_nothing_running() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.message("/meta/connect") {
            Some(message) => {
                let mut refusal = bayeux_testkit::Request::refusal_of(message, "500::no");
                refusal["advice"] = serde_json::json!({"reconnect": "none"});
                Answer::messages([refusal])
            }
            None => request.decently(),
        })
        .await;
        let before = tasks();
        let client = over(transport, &peer.url()).build().unwrap();
        assert!(within(client.open()).await.is_err());
        assert!(client.is_closed());
        peer.wait_until_idle().await;
        let requests = peer.received("/meta/connect").len();
        tokio::time::sleep(millis(200)).await;
        assert_eq!(peer.received("/meta/connect").len(), requests, "no loop runs on");
        drop(client);
        tasks_are_back_to(before).await;
    }
}

#[tokio::test]
async fn case_54_a_hundred_sessions_leave_no_socket_and_no_task() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let before = tasks();
        let client = over(transport, &peer.url()).build().unwrap();
        for _ in 0..100 {
            within(client.open()).await.unwrap();
            within(client.close()).await.unwrap();
        }
        peer.wait_until_idle().await;
        drop(client);
        tasks_are_back_to(before).await;
    }
}

#[tokio::test]
async fn an_abandoned_request_closes_its_connection() {
    let peer = Peer::start(|request| match request.name() {
        "/held" => Answer::silence(),
        _ => request.decently(),
    })
    .await;
    let client = opened(over(ConnectionType::LongPolling, &peer.url()).request_timeout(millis(200))).await;
    for n in 0..5 {
        assert!(within(client.publish("/held", &n)).await.unwrap_err().is_fate_unknown());
    }
    within(client.close()).await.unwrap();
    drop(client);
    peer.wait_until_idle().await;
}
