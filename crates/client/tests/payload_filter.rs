//! Payload filters: they see whole bodies and frames, may wait, and veto.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bayeux::{
    Client, Error, FilterFuture, HeaderValue, Payload, PayloadFilter, Transport, Veto, serde_json::Value,
};
use bayeux_testkit::{Answer, Peer, TestServer};
use tokio::sync::Notify;

/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Replaces words in both directions, notes what passed, and waits, vetoes or panics if a payload asks for it.
#[derive(Clone, Default)]
struct Recorder {
    outgoing: Arc<Mutex<Vec<String>>>,
    incoming: Arc<Mutex<Vec<(String, bool)>>>,
    gate: Arc<Notify>,
    held: Arc<AtomicUsize>,
    deaf: Arc<AtomicBool>,
}

fn text(payload: &Payload) -> String {
    String::from_utf8(payload.body.to_vec()).unwrap()
}

impl PayloadFilter for Recorder {
    fn outgoing(&self, mut payload: Payload) -> FilterFuture {
        let this = self.clone();
        let body = text(&payload);
        assert!(!body.contains("panic at once"), "asked for");
        Box::pin(async move {
            this.outgoing.lock().unwrap().push(body.clone());
            assert!(!body.contains("panic later"), "asked for");
            if body.contains("wait") {
                this.held.fetch_add(1, Ordering::SeqCst);
                this.gate.notified().await;
            }
            if body.contains("hang") {
                std::future::pending::<()>().await;
            }
            if body.contains("veto") {
                return Err(Veto::new("not this one"));
            }
            payload.body = body.replace("secret", "hidden").into();
            payload.headers.insert("x-filter", HeaderValue::from_static("passed"));
            Ok(payload)
        })
    }

    fn incoming(&self, mut payload: Payload) -> FilterFuture {
        let this = self.clone();
        Box::pin(async move {
            let body = text(&payload);
            tokio::task::yield_now().await;
            this.incoming.lock().unwrap().push((body.clone(), payload.headers.contains_key("content-type")));
            if this.deaf.load(Ordering::SeqCst) {
                return Err(Veto::new("not that one"));
            }
            payload.body = body.replace("hidden", "found").into();
            Ok(payload)
        })
    }
}

async fn open(url: &str, transport: Transport, filter: &Recorder) -> Client {
    let client = Client::builder(url)
        .transports([transport])
        .payload_filter(filter.clone())
        .request_timeout(PATIENCE)
        .build()
        .unwrap();
    client.open().await.unwrap();
    client
}

const BOTH: [Transport; 2] = [Transport::LongPolling, Transport::WebSocket];

#[tokio::test]
async fn a_filter_changes_what_is_sent_and_received() {
    for transport in BOTH {
        let (server, filter) = (TestServer::start().await, Recorder::default());
        let client = open(&server.url(), transport, &filter).await;
        client.subscribe("/a").await.unwrap();
        client.publish("/a", "secret").await.unwrap();
        let message = client.receive().await.unwrap();
        assert_eq!(message.data().as_str(), "\"found\"");
        client.close().await.unwrap();
        let outgoing = filter.outgoing.lock().unwrap().clone();
        for channel in ["/meta/handshake", "/meta/connect", "/meta/subscribe", "/meta/disconnect"] {
            assert!(outgoing.iter().any(|body| body.contains(channel)), "{channel} {outgoing:?}");
        }
        let with_headers = filter.incoming.lock().unwrap().iter().all(|(_, headers)| *headers);
        assert_eq!(with_headers, transport == Transport::LongPolling);
    }
}

#[tokio::test]
async fn the_headers_of_a_filter_are_sent() {
    for transport in BOTH {
        let (peer, filter) = (Peer::decent().await, Recorder::default());
        let client = open(&peer.url(), transport, &filter).await;
        let requests = peer.requests();
        assert!(!requests.is_empty());
        for request in &requests {
            assert_eq!(request.header("x-filter"), Some("passed"), "{request:?}");
        }
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_veto_fails_the_call_and_nothing_else() {
    for transport in BOTH {
        let (server, filter) = (TestServer::start().await, Recorder::default());
        let client = open(&server.url(), transport, &filter).await;
        for word in ["veto", "panic at once", "panic later"] {
            let error = client.publish("/a", word).await.unwrap_err();
            assert!(error.is_vetoed(), "{word} {error}");
        }
        assert!(client.publish("/a", "veto").await.unwrap_err().to_string().contains("not this one"));
        client.publish("/a", "fine").await.unwrap();
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_veto_of_the_handshake_fails_the_opening() {
    for transport in BOTH {
        let (server, filter) = (TestServer::start().await, Recorder::default());
        let client = Client::builder(server.url())
            .transports([transport])
            .payload_filter(filter.clone())
            .handshake_ext("why", "veto")
            .build()
            .unwrap();
        let error = client.open().await.unwrap_err();
        assert!(error.to_string().contains("not this one"), "{error}");
        assert!(client.is_closed());
    }
}

#[tokio::test]
async fn a_slow_filter_keeps_the_order_of_frames() {
    let (server, filter) = (TestServer::start().await, Recorder::default());
    let client = open(&server.url(), Transport::WebSocket, &filter).await;
    client.subscribe("/a").await.unwrap();
    client.publish_and_forget("/a", "wait").await.unwrap();
    while filter.held.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    for number in 0..5 {
        client.publish_and_forget("/a", &number).await.unwrap();
    }
    // Nothing is sent behind the frame that waits, but what arrives is received.
    server.publish("/a", "from the server");
    assert_eq!(client.receive().await.unwrap().data().as_str(), "\"from the server\"");
    filter.gate.notify_one();
    let mut received = Vec::new();
    for _ in 0..6 {
        received.push(client.receive().await.unwrap().data().decode::<Value>().unwrap());
    }
    assert_eq!(received, ["wait".into(), 0.into(), 1.into(), 2.into(), 3.into(), Value::from(4)]);
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_filter_that_hangs_fails_the_call_in_time() {
    for transport in BOTH {
        let (server, filter) = (TestServer::start().await, Recorder::default());
        let client = Client::builder(server.url())
            .transports([transport])
            .payload_filter(filter.clone())
            .request_timeout(Duration::from_millis(300))
            .build()
            .unwrap();
        client.open().await.unwrap();
        let call = tokio::time::timeout(PATIENCE, client.publish("/a", "hang")).await;
        let error: Error = call.expect("it ends").unwrap_err();
        assert!(error.is_timeout(), "{transport} {error}");
        // Its lane and its socket are free again.
        tokio::time::timeout(PATIENCE, async { while client.publish("/a", "fine").await.is_err() {} })
            .await
            .expect("the client goes on");
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_veto_of_what_is_received_is_a_lost_connection() {
    for transport in BOTH {
        let (server, filter) = (TestServer::start().await, Recorder::default());
        let client = open(&server.url(), transport, &filter).await;
        let mut events = client.events();
        filter.deaf.store(true, Ordering::SeqCst);
        let error = client.publish("/a", 1_u8.to_string().as_str()).await.unwrap_err();
        assert!(error.is_transport() && error.to_string().contains("not that one"), "{error}");
        filter.deaf.store(false, Ordering::SeqCst);
        if transport == Transport::WebSocket {
            while !matches!(events.next().await, Some(bayeux::Event::Connected { .. })) {}
        }
        client.publish("/a", "fine").await.unwrap();
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_a_server_sends_before_it_closes_the_socket_is_handled_first() {
    let peer = Peer::start(|request| match request.name() {
        "/meta/connect" if request.nth == 1 => {
            let mut replies = request.replies();
            replies[0]["advice"] = bayeux::serde_json::json!({"reconnect": "none"});
            replies[0]["successful"] = false.into();
            replies[0]["error"] = "403::over".into();
            Answer::messages(replies).then_cut()
        }
        _ => request.decently(),
    })
    .await;
    let filter = Recorder::default();
    let client = open(&peer.url(), Transport::WebSocket, &filter).await;
    let error = client.receive().await.unwrap_err();
    assert_eq!(error.code(), Some(403), "{error}");
    assert!(error.reply().is_some() && client.is_closed());
}
