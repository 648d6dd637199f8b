//! Extensions: their order, their refusals, their changes, their panics.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::sync::{Arc, Mutex};

use bayeux::{AuthReason, Client, ErrorKind, Extension, Message, Transport, Veto};
use bayeux_testkit::{Answer, Peer, Request};
use fixture::*;
use serde_json::json;

type Log = Arc<Mutex<Vec<String>>>;

struct Logging(&'static str, Log);

impl Extension for Logging {
    fn outgoing(&self, message: &mut Message) -> Result<(), Veto> {
        self.1.lock().unwrap().push(format!("{} > {}", self.0, message.channel()));
        Ok(())
    }

    fn incoming(&self, message: &mut Message) -> Result<(), Veto> {
        self.1.lock().unwrap().push(format!("{} < {}", self.0, message.channel()));
        Ok(())
    }
}

struct With<O, I>(O, I);

impl<O, I> Extension for With<O, I>
where
    O: Fn(&mut Message) -> Result<(), Veto> + Send + Sync + 'static,
    I: Fn(&mut Message) -> Result<(), Veto> + Send + Sync + 'static,
{
    fn outgoing(&self, message: &mut Message) -> Result<(), Veto> {
        self.0(message)
    }

    fn incoming(&self, message: &mut Message) -> Result<(), Veto> {
        self.1(message)
    }
}

fn pass(_: &mut Message) -> Result<(), Veto> {
    Ok(())
}

#[tokio::test]
async fn case_56_outgoing_in_reverse_order_incoming_in_order() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let log = Log::default();
        let client = opened(
            over(transport, &peer.url())
                .extension(Logging("a", Arc::clone(&log)))
                .extension(Logging("b", Arc::clone(&log))),
        )
        .await;
        let seen = log.lock().unwrap().clone();
        let handshake: Vec<_> = seen.iter().filter(|line| line.ends_with("handshake")).collect();
        assert_eq!(
            handshake,
            ["b > /meta/handshake", "a > /meta/handshake", "a < /meta/handshake", "b < /meta/handshake"]
        );
        client.publish("/n", &1).await.unwrap();
        let seen = log.lock().unwrap().clone();
        let publish: Vec<_> = seen.iter().filter(|line| line.ends_with("/n")).collect();
        assert_eq!(publish, ["b > /n", "a > /n", "a < /n", "b < /n"]);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn case_56_a_veto_fails_the_call_and_nothing_is_sent() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let log = Log::default();
        let refuse = |message: &mut Message| match message.channel().as_str() {
            "/secret" => Err(Veto::new("not outside of the house")),
            _ => Ok(()),
        };
        let client = opened(
            over(transport, &peer.url())
                .extension(Logging("behind", Arc::clone(&log)))
                .extension(With(refuse, pass)),
        )
        .await;
        let outcomes = client
            .batch(|batch| {
                batch.publish("/a", &1)?;
                batch.publish("/secret", &2)?;
                batch.publish("/b", &3)
            })
            .await
            .unwrap();
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
        let error = outcomes[1].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Vetoed);
        assert!(error.to_string().contains("not outside of the house"), "{error}");
        assert_eq!(within(client.publish("/secret", &4)).await.unwrap_err().kind(), ErrorKind::Vetoed);
        client.publish("/c", &5).await.unwrap();
        assert!(peer.received("/secret").is_empty());
        assert!(!log.lock().unwrap().iter().any(|line| line.contains("secret")), "it passes no further");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_veto_of_what_comes_in_hides_it() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let hide = |message: &mut Message| match message.data().as_str() {
            "\"spam\"" => Err(Veto::new("spam")),
            _ => Ok(()),
        };
        let (client, _) = receiving(over(transport, &peer.url()).extension(With(pass, hide)), &peer).await;
        peer.push(["spam", "ham"].map(|data| json!({"channel": "/n", "data": data})));
        assert_eq!(next(&client).await, r#""ham""#);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn what_an_extension_changes_is_what_travels_but_for_the_id() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let out = |message: &mut Message| {
            message.set_ext_value("token", json!("t"));
            message.set_id(Some(777_777_u64.into()));
            Ok(())
        };
        let into = |message: &mut Message| {
            if message.channel() == "/n" && message.has_data() {
                message.set_data(Some(json!({"was": message.data().as_str()}).into()));
            }
            Ok(())
        };
        let client = opened(over(transport, &peer.url()).extension(With(out, into))).await;
        client.subscribe("/n").await.unwrap();
        client.publish("/a", &1).await.unwrap();
        let sent = &peer.received("/a")[0];
        assert_eq!(sent["ext"]["token"], "t");
        assert_ne!(sent["id"], "777777");
        peer.wait_for_messages("/meta/connect", 2).await;
        peer.push([json!({"channel": "/n", "data": 1})]);
        assert_eq!(next(&client).await, r#"{"was":"1"}"#);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn case_33_case_56_an_extension_that_panics_is_passed_over_and_the_loop_runs_on() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let log = Log::default();
        let bomb = |_: &mut Message| -> Result<(), Veto> { panic!("a bug in an extension") };
        struct Headers;
        impl Extension for Headers {
            fn headers(&self, _: &mut http::HeaderMap) {
                panic!("a bug in another one");
            }
        }
        let client = opened(
            over(transport, &peer.url())
                .extension(With(bomb, bomb))
                .extension(Headers)
                .extension(Logging("sound", Arc::clone(&log))),
        )
        .await;
        client.subscribe("/n").await.unwrap();
        for n in 0..3 {
            let connects = if transport == Transport::LongPolling { 2 + n } else { 2 };
            peer.wait_for_messages("/meta/connect", connects).await;
            peer.push([json!({"channel": "/n", "data": n})]);
            assert_eq!(next(&client).await, n.to_string());
        }
        assert!(log.lock().unwrap().iter().any(|line| line == "sound < /n"), "others still see it");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_source_of_credentials_that_panics_is_an_error() {
    let peer = Peer::decent().await;
    let client = quick(&peer.url())
        .auth(|_: AuthReason| async {
            if true {
                panic!("a bug");
            }
            Ok(bayeux::Credentials::new())
        })
        .build()
        .unwrap();
    let error = within(client.open()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    assert!(client.is_closed());
}

#[tokio::test]
async fn a_retry_policy_that_panics_leaves_nobody_waiting() {
    let peer = Peer::decent().await;
    let retry = bayeux::Retry::default().decide(|_| panic!("a bug"));
    let client: Client = over(Transport::WebSocket, &peer.url()).retry(retry).build().unwrap();
    within(client.open()).await.unwrap();
    peer.follow(|request| match request.name() {
        "upgrade" => Answer::status(500),
        _ => Answer::messages(request.messages.iter().map(Request::reply_to)),
    });
    peer.cut();
    let error = within(client.receive()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
    assert!(client.is_closed());
    // A new task takes over.
    peer.follow(Request::decently);
    within(client.open()).await.unwrap();
    within(client.close()).await.unwrap();
}
