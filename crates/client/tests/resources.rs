//! Nothing is left behind: no task, and no socket.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::future::{Future, poll_fn};
use std::pin::pin;

use bayeux::{Client, Transport};
use bayeux_testkit::{Answer, FaultProxy, Peer, Request, TestServer};
use fixture::*;
use serde_json::json;
use tokio::runtime::Runtime;

/// A runtime for the client alone, whose tasks are all the client's.
struct Apart(Option<Runtime>);

impl Apart {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self(Some(runtime.unwrap()))
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().unwrap()
    }

    /// Runs a part of the test there.
    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (done, outcome) = tokio::sync::oneshot::channel();
        let task = self.runtime().spawn(async move {
            let _ = done.send(within(work).await);
        });
        let outcome = outcome.await.unwrap();
        task.await.unwrap();
        outcome
    }

    fn tasks(&self) -> usize {
        self.runtime().metrics().num_alive_tasks()
    }

    /// Waits until no more tasks are there than that.
    async fn has_no_more_tasks_than(&self, most: usize) {
        within(async {
            while self.tasks() > most {
                tokio::time::sleep(millis(2)).await;
            }
        })
        .await;
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

/// The one task that a client is while there are handles.
const DRIVER: usize = 1;

async fn holding_peer() -> Peer {
    Peer::start(|request| match request.name() {
        "/held" => Answer::silence(),
        _ => request.decently(),
    })
    .await
}

#[tokio::test]
async fn case_53_nothing_is_left_after_a_drop_with_calls_in_flight() {
    for transport in BOTH {
        let peer = holding_peer().await;
        let apart = Apart::new();
        let url = peer.url();
        let (client, stream) = apart
            .run(async move {
                let client = open(transport, &url).await;
                let stream = client.stream::<u32>("/n").await.unwrap();
                (client, stream)
            })
            .await;
        let calls: Vec<_> = (0..5)
            .map(|n| {
                let client = client.clone();
                apart.runtime().spawn(async move { client.publish("/held", &n).await.map(drop) })
            })
            .collect();
        peer.wait_for(|request| request.name() == "/held").await;
        drop((client, stream));
        assert!(peer.open_connections() > 0 && apart.tasks() > 5, "the calls keep the client alive");
        calls.iter().for_each(|call| call.abort());
        peer.wait_until_idle().await;
        apart.has_no_more_tasks_than(0).await;
        assert!(peer.received("/meta/disconnect").is_empty(), "it was cut, not closed");
    }
}

#[tokio::test]
async fn case_53_nothing_is_left_after_a_drop_in_the_middle_of_an_attempt() {
    for transport in BOTH {
        // Half-open from the beginning, refused from the beginning, and lost on the way.
        for way in ["stalled", "refused", "lost"] {
            let peer = Peer::decent().await;
            let network = FaultProxy::to(peer.address()).await;
            match way {
                "stalled" => network.stall(),
                "refused" => network.refuse().await,
                _ => {}
            }
            let apart = Apart::new();
            let client = over(transport, &network.url()).retry_open(true).build().unwrap();
            let mut events = client.events();
            let opening = apart.runtime().spawn({
                let client = client.clone();
                async move { client.open().await }
            });
            match way {
                "stalled" => {
                    within(async {
                        while network.open_connections() == 0 {
                            tokio::time::sleep(millis(1)).await;
                        }
                    })
                    .await;
                }
                "refused" => {
                    event(&mut events, |event| matches!(event, bayeux::Event::Retrying { .. })).await;
                }
                _ => {
                    connected(&mut events).await;
                    network.stall();
                    network.cut();
                    lost(&mut events).await;
                }
            }
            opening.abort();
            let _ = opening.await;
            drop(client);
            network.wait_until_idle().await;
            apart.has_no_more_tasks_than(0).await;
            // Whoever listens hears that nothing more will come.
            while within(events.next()).await.is_some() {}
        }
    }
}

#[tokio::test]
async fn after_a_close_no_socket_is_left_while_the_handle_lives() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let apart = Apart::new();
        let url = peer.url();
        let client = apart
            .run(async move {
                let client = open(transport, &url).await;
                client.publish("/a", &1).await.unwrap();
                client.close().await.unwrap();
                client
            })
            .await;
        peer.wait_until_idle().await;
        apart.has_no_more_tasks_than(DRIVER).await;
        drop(client);
        apart.has_no_more_tasks_than(0).await;
    }
}

#[tokio::test]
async fn after_a_disconnect_by_the_server_no_socket_is_left() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let apart = Apart::new();
        let url = peer.url();
        let client = apart.run(async move { open(transport, &url).await }).await;
        peer.wait_for_messages("/meta/connect", 2).await;
        peer.push([json!({"channel": "/meta/disconnect"})]);
        peer.wait_until_idle().await;
        apart.has_no_more_tasks_than(DRIVER).await;
        assert!(client.is_closed());
    }
}

#[tokio::test]
async fn bug_b04_a_failed_open_leaves_nothing_running() {
    for transport in BOTH {
        for way in ["status", "advice", "silence", "cut"] {
            let peer = Peer::start(move |request| match (request.message("/meta/connect"), way) {
                (Some(connect), "advice") => {
                    let mut refusal = Request::refusal_of(connect, "500::no");
                    refusal["advice"] = json!({"reconnect": "none"});
                    Answer::messages([refusal])
                }
                (_, "advice") => request.decently(),
                (_, "status") => Answer::status(503),
                (_, "cut") => Answer::cut(),
                _ => Answer::silence(),
            })
            .await;
            let apart = Apart::new();
            // Only silence lasts as long as the client has patience; the rest must not be cut short on a busy machine.
            let patience = millis(if way == "silence" { 400 } else { 10_000 });
            let builder = over(transport, &peer.url()).connect_timeout(patience).request_timeout(patience);
            let client = builder.build().unwrap();
            let opening = client.clone();
            let outcome = apart.run(async move { opening.open().await }).await;
            assert!(outcome.is_err() && client.is_closed(), "{way}");
            peer.wait_until_idle().await;
            apart.has_no_more_tasks_than(DRIVER).await;
            let requests = peer.requests().len();
            // Several times the pause between attempts.
            tokio::time::sleep(millis(150)).await;
            assert_eq!(peer.requests().len(), requests, "{transport} {way}: no loop runs on");
            drop(client);
            apart.has_no_more_tasks_than(0).await;
        }
    }
}

#[tokio::test]
async fn case_54_a_hundred_sessions_leave_no_socket_and_no_task() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let network = FaultProxy::to(peer.address()).await;
        let apart = Apart::new();
        let client = over(transport, &network.url()).build().unwrap();
        for _ in 0..100 {
            let again = client.clone();
            apart
                .run(async move {
                    again.open().await.unwrap();
                    again.close().await.unwrap();
                })
                .await;
            // Not one more than of a single session.
            apart.has_no_more_tasks_than(DRIVER).await;
            network.wait_until_idle().await;
        }
        assert_eq!(peer.received("/meta/disconnect").len(), 100);
        drop(client);
        apart.has_no_more_tasks_than(0).await;
    }
}

#[tokio::test]
async fn ten_losses_leave_one_connection_for_each_lane() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let network = FaultProxy::to(peer.address()).await;
        let apart = Apart::new();
        let client = over(transport, &network.url()).build().unwrap();
        let mut events = client.events();
        let opening = client.clone();
        apart.run(async move { opening.open().await }).await.unwrap();
        connected(&mut events).await;
        for _ in 0..10 {
            network.cut();
            lost(&mut events).await;
            connected(&mut events).await;
        }
        within(client.publish("/a", &1)).await.unwrap();
        let most = if transport == Transport::WebSocket { 1 } else { 2 };
        within(async {
            while network.open_connections() > most {
                tokio::time::sleep(millis(2)).await;
            }
        })
        .await;
        within(client.close()).await.unwrap();
        network.wait_until_idle().await;
    }
}

/// Receives so many messages. The most tasks that there were whenever it waited for one.
async fn received_with(client: &Client, messages: u32) -> usize {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut most = 0;
    for n in 0..messages {
        let mut receive = pin!(client.receive());
        let message = poll_fn(|cx| {
            let polled = receive.as_mut().poll(cx);
            most = most.max(alive());
            polled
        })
        .await;
        assert_eq!(message.unwrap().data().to_string(), n.to_string());
    }
    most
}

#[tokio::test]
async fn bug_b16_receiving_makes_no_tasks() {
    const MESSAGES: u32 = 500;
    for transport in BOTH {
        let server = TestServer::start().await;
        let apart = Apart::new();
        let url = server.url();
        let client = apart
            .run(async move {
                let client = open(transport, &url).await;
                client.subscribe("/n").await.unwrap();
                client
            })
            .await;
        let publisher = server.server();
        let publishing = tokio::spawn(async move {
            for n in 0..MESSAGES {
                publisher.publish("/n", &n).unwrap();
                if n % 3 == 0 {
                    tokio::time::sleep(millis(1)).await;
                }
            }
        });
        let before = apart.tasks();
        let receiving = client.clone();
        let most = apart.run(async move { received_with(&receiving, MESSAGES).await }).await;
        within(publishing).await.unwrap();
        // Besides those of before there is the one that receives, and over HTTP each lane may have got its connection.
        assert!(most <= before + 1 + 2, "{transport}: {most} tasks after {before}");
        apart.run(async move { client.close().await }).await.unwrap();
    }
}

#[tokio::test]
async fn an_abandoned_request_closes_its_connection() {
    let peer = holding_peer().await;
    let client = opened(over(Transport::LongPolling, &peer.url()).request_timeout(millis(200))).await;
    for n in 0..5 {
        assert!(within(client.publish("/held", &n)).await.unwrap_err().is_fate_unknown());
    }
    within(client.close()).await.unwrap();
    drop(client);
    peer.wait_until_idle().await;
}
